# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title Workflow: one question, asked again and again, whose answers are kept with how they stand (spec/onchain.md §12)
@license Apache-2.0
@notice
    Whoever wants it pokes it: `run` asks `Inference` the same document again once its pause is over. What comes back is
    kept only when `Inference` hands it over, which is when final rounds call the whole closure `ok`. Every read gives
    the value together with how it stands now: final, proved, or recalled since.
@dev
    `getInferenceResult` and `getLastInferenceResults` have the layout of OpenGradient's workflows, whose clients read
    them. Their layout has no place for how a result stands, so what was recalled is no result there.
"""

MAX_DOCUMENT: constant(uint256) = 16384  # as in Inference.vy
MAX_QUESTION: constant(uint256) = 4096
MAX_KEPT: constant(uint256) = 2048  # bytes of a response that is kept whole; of a longer one its hash is
HISTORY: constant(uint256) = 16  # results that are kept
GAS: constant(uint256) = 2_500_000  # what keeping a result is given
MAX_PARTS: constant(uint256) = 128
MAX_TENSORS: constant(uint256) = 4  # in OpenGradient's layout
MAX_VALUES: constant(uint256) = 48
MAX_DIGITS: constant(uint256) = 36  # of an int128

OPEN: constant(uint256) = 1  # of a request of `Inference`
RECALLED: constant(uint256) = 7


struct Result:
    id: bytes32  # of the request
    statement: bytes32  # digest of the closing statement
    response_hash: bytes32  # Keccak-256 of the packed parts
    round: uint256  # the last of the rounds that it rests on
    at: uint256  # unix seconds: when it was handed over
    mode: uint8  # 0 VANILLA, 1 ZKML, 2 TEE
    state: uint8  # 1 final, 2 and proved
    response: Bytes[MAX_KEPT]  # packed parts; empty where there are more bytes of them


struct Number:
    value: int128
    decimals: int128


struct NumberTensor:
    name: String[64]
    values: DynArray[Number, MAX_VALUES]
    shape: DynArray[uint32, 4]


struct StringTensor:
    name: String[64]
    values: DynArray[String[64], 1]


struct JsonScalar:
    name: String[64]
    value: String[64]


struct ModelOutput:
    numbers: DynArray[NumberTensor, MAX_TENSORS]
    strings: DynArray[StringTensor, 1]
    jsons: DynArray[JsonScalar, 1]
    is_simulation_result: bool


interface Inference:
    def request(
        document: Bytes[MAX_DOCUMENT],
        artifact: bytes32,
        node: address,
        target: address,
        gas_limit: uint256,
        period: uint256,
    ) -> bytes32: payable
    def state(id: bytes32) -> uint256: view
    def fulfilling_round() -> uint256: view


event Asked:
    id: indexed(bytes32)
    by: indexed(address)


event Kept:
    id: indexed(bytes32)
    round: uint256
    state: uint8


event Stopped:
    pass


inference: public(immutable(address))
owner: public(immutable(address))
artifact: public(immutable(bytes32))  # the one artifact that may run; empty: what the label means then
node: public(immutable(address))  # who alone may serve; empty: anybody
fee: public(immutable(uint256))  # of each run
every: public(immutable(uint256))  # seconds between two runs, at least
period: public(immutable(uint256))  # seconds until a request expires
document: public(Bytes[MAX_QUESTION])  # packed parts

stopped: public(bool)
open_request: public(bytes32)  # the newest request
asked_at: public(uint256)
results: public(uint256)  # how many were kept, ever
ring: HashMap[uint256, Result]


@deploy
@payable
def __init__(
    inference_: address,
    document_: Bytes[MAX_QUESTION],
    artifact_: bytes32,
    node_: address,
    fee_: uint256,
    every_: uint256,
    period_: uint256,
):
    assert inference_.is_contract, "flow.inference"
    assert staticcall Inference(inference_).fulfilling_round() == 0, "flow.inference"
    assert len(document_) != 0, "flow.document"
    assert every_ != 0 or fee_ == 0, "flow.every"  # or anybody could have all of its money paid out at once
    assert period_ != 0 and period_ <= 30 * 86400, "flow.period"
    inference = inference_
    owner = msg.sender
    artifact = artifact_
    node = node_
    fee = fee_
    every = every_
    period = period_
    self.document = document_


@external
@payable
def __default__():
    """
    @notice Money for runs, and fees that come back
    """
    pass


# --- asking -----------------------------------------------------------------------------------------------------------


@internal
@view
def _due() -> uint256:
    if self.asked_at == 0:
        return 0
    return self.asked_at + every


@external
@view
def due() -> uint256:
    """
    @notice When it may be run next, in unix seconds
    """
    return self._due()


@external
@payable
def run():
    """
    @notice Ask once more. Anybody may, once it is due; the fee is the workflow's
    """
    assert not self.stopped, "flow.stopped"
    assert block.timestamp >= self._due(), "flow.early"
    if self.open_request != empty(bytes32):
        assert staticcall Inference(inference).state(self.open_request) != OPEN, "flow.open"
    assert self.balance >= fee, "flow.funds"
    self.asked_at = block.timestamp
    id: bytes32 = extcall Inference(inference).request(
        self.document, artifact, node, self, GAS, period, value=fee
    )
    self.open_request = id
    log Asked(id=id, by=msg.sender)


@external
def stop():
    """
    @notice Ask no more; what was kept stays. The owner alone can, and for good
    """
    assert msg.sender == owner, "flow.owner"
    self.stopped = True
    log Stopped()


@external
def withdraw(amount: uint256):
    """
    @notice Take money out. The owner alone can
    """
    assert msg.sender == owner, "flow.owner"
    raw_call(owner, b"", value=amount)


@external
def on_inference(id: bytes32, response: Bytes[MAX_DOCUMENT], statement: bytes32, mode: uint8, state: uint8):
    """
    @notice A result, from `Inference` alone, which looked at final rounds
    """
    assert msg.sender == inference, "flow.caller"
    assert id == self.open_request, "flow.request"
    assert state == 1 or state == 2, "flow.state"
    kept: Bytes[MAX_KEPT] = b""
    if len(response) <= MAX_KEPT:
        kept = convert(slice(response, 0, len(response)), Bytes[MAX_KEPT])
    round: uint256 = staticcall Inference(inference).fulfilling_round()
    self.ring[self.results % HISTORY] = Result(
        id=id,
        statement=statement,
        response_hash=keccak256(response),
        round=round,
        at=block.timestamp,
        mode=mode,
        state=state,
        response=kept,
    )
    self.results += 1
    log Kept(id=id, round=round, state=state)


# --- reading ----------------------------------------------------------------------------------------------------------


@internal
@view
def _get(back: uint256) -> (Result, uint8):
    """
    @dev The newest result but `back`, and how it stands now: 0 there is none, 1 final, 2 proved, 3 recalled
    """
    if back >= min(self.results, HISTORY):
        return empty(Result), 0
    found: Result = self.ring[(self.results - 1 - back) % HISTORY]
    if staticcall Inference(inference).state(found.id) == RECALLED:
        return found, 3
    return found, found.state


@external
@view
def result() -> (Result, uint8):
    """
    @notice The newest result, and how it stands now: 0 there is none, 1 final, 2 proved, 3 recalled
    """
    return self._get(0)


@external
@view
def result_before(back: uint256) -> (Result, uint8):
    """
    @notice The same of an older one: 0 is the newest, and at most 15
    """
    return self._get(back)


@internal
@pure
def _word(document: Bytes[MAX_KEPT], at: uint256) -> uint256:
    return convert(slice(document, at, 2), uint256)


@external
@view
def value(label: Bytes[256]) -> (Bytes[1024], uint8, uint256, uint256):
    """
    @notice The bytes of one part of the newest result, how it stands now, the round it rests on, and when it came.
        Reverts where there is no such part
    """
    found: Result = empty(Result)
    stands: uint8 = 0
    found, stands = self._get(0)
    assert stands != 0, "flow.none"
    at: uint256 = 0
    for part: uint256 in range(MAX_PARTS):
        if at + 4 > len(found.response):
            break
        size: uint256 = self._word(found.response, at)
        bytes_at: uint256 = at + 2 + size
        bytes_size: uint256 = self._word(found.response, bytes_at)
        if size == len(label) and keccak256(slice(found.response, at + 2, size)) == keccak256(label):
            return convert(slice(found.response, bytes_at + 2, bytes_size), Bytes[1024]), stands, found.round, found.at
        at = bytes_at + 2 + bytes_size
    raise "flow.part"


# --- in OpenGradient's layout -----------------------------------------------------------------------------------------


@external
@view
def getInferenceResult() -> ModelOutput:
    """
    @notice The newest result as their clients read it; empty and marked as a simulation's where there is none
    """
    return self._output(0)


@external
@view
def getLastInferenceResults(numResults: uint256) -> DynArray[ModelOutput, HISTORY]:
    """
    @notice The newest results, newest first
    """
    found: DynArray[ModelOutput, HISTORY] = []
    for back: uint256 in range(HISTORY):
        if back >= min(numResults, self.results):
            break
        found.append(self._output(back))
    return found


@internal
@view
def _output(back: uint256) -> ModelOutput:
    """
    @dev Tensors of numbers in a result's parts: `…/outputs/NAME/shape/I` and `…/outputs/NAME/data/I`
    """
    output: ModelOutput = empty(ModelOutput)
    found: Result = empty(Result)
    stands: uint8 = 0
    found, stands = self._get(back)
    if stands == 0 or stands == 3 or len(found.response) == 0:
        output.is_simulation_result = True
        return output
    # Parts stand in label order, in which 10 comes before 2: first the shapes, whose product says how many values.
    for turn: uint256 in range(2):
        at: uint256 = 0
        for part: uint256 in range(MAX_PARTS):
            if at + 4 > len(found.response):
                break
            size: uint256 = self._word(found.response, at)
            label: Bytes[256] = convert(slice(found.response, at + 2, min(size, 256)), Bytes[256])
            bytes_at: uint256 = at + 2 + size
            bytes_size: uint256 = self._word(found.response, bytes_at)
            text: Bytes[64] = convert(slice(found.response, bytes_at + 2, min(bytes_size, 64)), Bytes[64])
            at = bytes_at + 2 + bytes_size
            name: Bytes[64] = b""
            kind: uint256 = 0
            index: uint256 = 0
            name, kind, index = self._path(label)
            assert kind != 4, "flow.layout"  # base64, and strings
            if kind == 0 or kind == 3:
                continue
            place: uint256 = self._place(output.numbers, name)
            if place == len(output.numbers):
                output.numbers.append(NumberTensor(name=convert(name, String[64]), values=[], shape=[]))
            if turn == 0 and kind == 1:
                assert index == len(output.numbers[place].shape), "flow.layout"
                output.numbers[place].shape.append(convert(self._natural(text), uint32))
            if turn == 1 and kind == 2:
                if len(output.numbers[place].values) == 0:
                    count: uint256 = 1
                    for length: uint32 in output.numbers[place].shape:
                        count *= convert(length, uint256)
                    assert count <= MAX_VALUES, "flow.layout"
                    for i: uint256 in range(count, bound=MAX_VALUES):
                        output.numbers[place].values.append(Number(value=0, decimals=0))
                output.numbers[place].values[index] = self._number(text)
    return output


@internal
@pure
def _place(numbers: DynArray[NumberTensor, MAX_TENSORS], name: Bytes[64]) -> uint256:
    place: uint256 = 0
    for tensor: NumberTensor in numbers:
        if keccak256(tensor.name) == keccak256(name):
            break
        place += 1
    return place


@internal
@pure
def _path(label: Bytes[256]) -> (Bytes[64], uint256, uint256):
    """
    @dev Of `output|-|I|n|/outputs/NAME/KIND/I`: name, kind (1 shape, 2 data, 3 dtype, 4 another, 0 no output) and index
    """
    bars: uint256 = 0
    slashes: DynArray[uint256, 5] = []
    for i: uint256 in range(256):
        if i == len(label):
            break
        letter: uint256 = convert(slice(label, i, 1), uint256)
        if letter == 124 and bars < 4:  # |
            bars += 1
        if letter == 47 and bars == 4:  # /
            assert len(slashes) < 5, "flow.layout"
            slashes.append(i)
    if len(slashes) < 3 or slice(label, 0, 7) != b"output|":
        return b"", 0, 0
    name_size: uint256 = slashes[2] - slashes[1] - 1
    assert name_size <= 64, "flow.layout"
    name: Bytes[64] = convert(slice(label, slashes[1] + 1, name_size), Bytes[64])
    end: uint256 = len(label)
    if len(slashes) > 3:
        end = slashes[3]
    kind_text: Bytes[256] = slice(label, slashes[2] + 1, end - slashes[2] - 1)
    if kind_text == b"dtype":
        return name, 3, 0
    if len(slashes) != 4:
        return name, 4, 0
    index: uint256 = self._natural(convert(slice(label, end + 1, min(len(label) - end - 1, 64)), Bytes[64]))
    if kind_text == b"shape":
        return name, 1, index
    if kind_text == b"data":
        return name, 2, index
    return name, 4, 0


@internal
@pure
def _natural(text: Bytes[64]) -> uint256:
    number: uint256 = 0
    assert len(text) != 0 and len(text) <= 9, "flow.layout"
    for i: uint256 in range(9):
        if i == len(text):
            break
        digit: uint256 = convert(slice(text, i, 1), uint256)
        assert digit >= 48 and digit <= 57, "flow.layout"
        number = 10 * number + digit - 48
    return number


@internal
@pure
def _number(text: Bytes[64]) -> Number:
    """
    @dev A JSON number as `value` and `decimals`. One that does not fit reverts: it is read with `value`
    """
    mantissa: int256 = 0
    decimals: int256 = 0
    exponent: int256 = 0
    negative: bool = False
    below: bool = False  # behind the point
    power: bool = False  # behind the e
    down: bool = False
    digits: uint256 = 0
    assert len(text) != 0 and len(text) < 64, "flow.number"
    for i: uint256 in range(64):
        if i == len(text):
            break
        letter: uint256 = convert(slice(text, i, 1), uint256)
        if letter >= 48 and letter <= 57:
            digit: int256 = convert(letter - 48, int256)
            if power:
                exponent = 10 * exponent + digit
                assert exponent < 1000, "flow.number"
            else:
                mantissa = 10 * mantissa + digit
                digits += 1
                assert digits <= MAX_DIGITS, "flow.number"
                if below:
                    decimals += 1
        elif letter == 46:  # .
            below = True
        elif letter == 101 or letter == 69:  # e, E
            power = True
        elif letter == 45:  # -
            if power:
                down = True
            else:
                negative = True
        else:
            assert letter == 43, "flow.number"  # +
    if down:
        exponent = -exponent
    decimals -= exponent
    for i: uint256 in range(MAX_DIGITS):
        if decimals >= 0:
            break
        mantissa *= 10
        decimals += 1
    assert decimals >= 0 and decimals <= 64 and mantissa <= convert(max_value(int128), int256), "flow.number"
    if negative:
        mantissa = -mantissa
    return Number(value=convert(mantissa, int128), decimals=convert(decimals, int128))
