# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title Alpha: OpenGradient's inference hub over `Inference` (spec/onchain.md §11)
@license Apache-2.0
@notice
    `run` in the layout that OpenGradient's clients call. What a model answers is not there when a transaction ends, so
    `run` asks `Inference` and says so: its output is empty and marked as a simulation's, and the event that names the
    request has its id, under which the answer is read once it is final.
@dev
    Makes parts of what is asked (parts.md §3): numbers as `value` or `value`e-`decimals`, tensors as nested lists.
"""

MAX_DOCUMENT: constant(uint256) = 16384  # as in Inference.vy
MAX_TENSORS: constant(uint256) = 8
MAX_VALUES: constant(uint256) = 120  # of one tensor; a document has at most 128 parts
MAX_STRINGS: constant(uint256) = 16
MAX_RANK: constant(uint256) = 4
PERIOD: constant(uint256) = 3600  # seconds until a request expires


struct Number:
    value: int128
    decimals: int128


struct NumberTensor:
    name: String[64]
    values: DynArray[Number, MAX_VALUES]
    shape: DynArray[uint32, MAX_RANK]


struct StringTensor:
    name: String[64]
    values: DynArray[String[256], MAX_STRINGS]


struct JsonScalar:
    name: String[64]
    value: String[64]


struct ModelInput:
    numbers: DynArray[NumberTensor, MAX_TENSORS]
    strings: DynArray[StringTensor, MAX_TENSORS]


struct ModelOutput:
    numbers: DynArray[NumberTensor, 1]
    strings: DynArray[StringTensor, 1]
    jsons: DynArray[JsonScalar, 1]
    is_simulation_result: bool


struct ModelInferenceRequest:
    mode: uint8
    modelCID: String[256]
    input: ModelInput


interface Inference:
    def request(
        document: Bytes[MAX_DOCUMENT],
        artifact: bytes32,
        node: address,
        target: address,
        gas_limit: uint256,
        period: uint256,
    ) -> bytes32: payable


event InferenceResult:
    output: ModelOutput


event ModelInferenceEvent:
    inferenceID: String[78]  # the request's id as a decimal number
    request: ModelInferenceRequest
    response: ModelOutput


inference: public(immutable(address))
node: public(immutable(address))  # who serves what is asked here


@deploy
def __init__(inference_contract: address, serving_node: address):
    assert inference_contract.is_contract, "alpha.contract"
    inference = inference_contract
    node = serving_node


@internal
@pure
def _packed(label: Bytes[512], content: Bytes[256]) -> Bytes[772]:
    return concat(
        slice(convert(len(label), bytes32), 30, 2), label, slice(convert(len(content), bytes32), 30, 2), content
    )


@internal
@pure
def _check_name(name: Bytes[64]):
    """
    @dev A name that needs escaping in a path, or that reads as a place in a list, is refused
    """
    assert len(name) != 0, "alpha.name"
    digits: bool = True
    for at: uint256 in range(len(name), bound=64):
        letter: uint256 = convert(slice(name, at, 1), uint256)
        assert letter != 0 and letter != 47 and letter != 126, "alpha.name"  # NUL, "/" and "~"
        digits = digits and letter >= 48 and letter <= 57
    assert not digits, "alpha.name"


@internal
@pure
def _number(number: Number) -> Bytes[256]:
    assert number.decimals >= 0 and number.decimals <= 64, "alpha.decimals"
    sign: Bytes[1] = b""
    size: uint256 = convert(abs(convert(number.value, int256)), uint256)
    if number.value < 0:
        sign = b"-"
    exponent: Bytes[80] = b""
    if number.decimals != 0:
        exponent = concat(b"e-", convert(uint2str(convert(number.decimals, uint256)), Bytes[78]))
    return concat(sign, convert(uint2str(size), Bytes[78]), exponent)


@internal
@pure
def _place(flat: uint256, shape: DynArray[uint32, MAX_RANK]) -> (Bytes[78], Bytes[316]):
    """
    @dev The first index of an element and its whole path below its tensor; `-` and nothing for a scalar
    """
    if len(shape) == 0:
        return b"-", b""
    rest: uint256 = flat
    path: Bytes[316] = b""
    first: Bytes[78] = b""
    for axis: uint256 in range(MAX_RANK):
        if axis == len(shape):
            break
        size: uint256 = convert(shape[len(shape) - 1 - axis], uint256)
        first = convert(uint2str(rest % size), Bytes[78])
        path = convert(concat(b"/", first, path), Bytes[316])
        rest = rest // size
    return first, path


@internal
@pure
def _add(document: Bytes[MAX_DOCUMENT], part: Bytes[772]) -> Bytes[MAX_DOCUMENT]:
    assert len(document) + len(part) <= MAX_DOCUMENT, "alpha.size"
    return convert(concat(document, part), Bytes[MAX_DOCUMENT])


@internal
@pure
def _head(model: Bytes[256], mode: uint8) -> Bytes[MAX_DOCUMENT]:
    """
    @dev The parts of model and mode
    """
    assert len(model) != 0, "alpha.model"
    assert mode < 3, "alpha.mode"
    name: Bytes[7] = b"VANILLA"
    if mode == 1:
        name = b"ZKML"
    elif mode == 2:
        name = b"TEE"
    return concat(self._packed(b"field|-|-|s|/mode", name), self._packed(b"model|-|-|s|/model", model))


@internal
@pure
def _document(model: Bytes[256], mode: uint8, input: ModelInput) -> Bytes[MAX_DOCUMENT]:
    document: Bytes[MAX_DOCUMENT] = self._head(model, mode)
    first: Bytes[78] = b""
    path: Bytes[316] = b""
    for tensor: NumberTensor in input.numbers:
        name: Bytes[64] = convert(tensor.name, Bytes[64])
        self._check_name(name)
        count: uint256 = 1
        for size: uint32 in tensor.shape:
            count *= convert(size, uint256)
        assert count == len(tensor.values) and count != 0, "alpha.shape"
        flat: uint256 = 0
        for number: Number in tensor.values:
            first, path = self._place(flat, tensor.shape)
            label: Bytes[512] = concat(b"input|-|", first, b"|n|/inputs/", name, path)
            document = self._add(document, self._packed(label, self._number(number)))
            flat += 1
    for tensor: StringTensor in input.strings:
        name: Bytes[64] = convert(tensor.name, Bytes[64])
        self._check_name(name)
        assert len(tensor.values) != 0, "alpha.shape"
        flat: uint256 = 0
        for text: String[256] in tensor.values:
            first = convert(uint2str(flat), Bytes[78])
            label: Bytes[512] = concat(b"input|-|", first, b"|s|/inputs/", name, b"/", first)
            document = self._add(document, self._packed(label, convert(text, Bytes[256])))
            flat += 1
    return document


@external
def run(modelId: String[256], inferenceMode: uint8, modelInput: ModelInput) -> ModelOutput:
    """
    @notice Ask for a run. The output is empty: the answer is read under the id in `ModelInferenceEvent` once it is final
    """
    document: Bytes[MAX_DOCUMENT] = self._document(convert(modelId, Bytes[256]), inferenceMode, modelInput)
    id: bytes32 = extcall Inference(inference).request(document, empty(bytes32), node, empty(address), 0, PERIOD)
    output: ModelOutput = empty(ModelOutput)
    output.is_simulation_result = True
    asked: ModelInferenceRequest = ModelInferenceRequest(mode=inferenceMode, modelCID=modelId, input=modelInput)
    log ModelInferenceEvent(inferenceID=uint2str(convert(id, uint256)), request=asked, response=output)
    log InferenceResult(output=output)
    return output
