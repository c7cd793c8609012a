"""Proof documents: what a run in mode ZKML is proved by, and the commitment to it in the log (``inference.md`` §5).

``parse_proof_document`` turns bytes into a value that cannot exist malformed; ``record_of`` commits to those bytes;
``verify_proof_document`` opens the record of a ``proved`` statement and holds what it opens against the ``computed``
one: the same documents, the same circuit, and the circuit's public numbers those of the documents.

Rules: the document holds the run's content and its key, so it never goes into the log. Not covered: whether the proof
verifies, and whether the verification key is that of the artifact (``ports.prover``).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.circuits import CircuitSettings, parse_settings, quantise, rescale, show_instance, split_instances
from holdfast.core.computations import BoundTree, Computation
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode, sha256, sha256_hex
from holdfast.core.inference import Given, Tensor, make_tensor, parse_inference, read_elements
from holdfast.core.parts import commit
from holdfast.core.statements import Execution, Statement, is_run_id
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError

PROOF_TYPE = "urn:holdfast:proof:v1"
"""``type`` of a proof document (``inference.md`` §5(3))."""
RECORD_DOMAIN = b"urn:holdfast:proof-record:v1\x00"
"""What the preimage of a record begins with (``inference.md`` §5(3))."""
SYSTEM = "ezkl"
"""The only proof system there is (``inference.md`` §5(3))."""
SALT_BYTES = 32
"""Size of a record's salt (``inference.md`` §5(3))."""
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""Larger documents are refused unread (``inference.md`` §5(3))."""
MAX_NAMES = 64
"""Inputs, and outputs, of a model."""
INPUT_TYPE, OUTPUT_TYPE = "float32", "float64"
"""Element types of what goes into a circuit and of what comes out of it (``inference.md`` §5(2))."""
_MEMBERS = frozenset(
    {
        "type",
        "run",
        "system",
        "version",
        "proof",
        "instances",
        "inputs",
        "outputs",
        "settings",
        "verification_key",
        "srs",
        "document",
        "request",
        "response",
        "key",
    }
)


@dataclass(frozen=True, slots=True)
class ProofDocument:
    """A proof and everything that it is held against."""

    run: str
    version: str
    proof: bytes
    instances: tuple[str, ...]
    """The circuit's public numbers, inputs and then outputs (``circuits.show_instance``)."""
    inputs: tuple[str, ...]
    """Names of the model's inputs in the circuit's order."""
    outputs: tuple[str, ...]
    settings: CircuitSettings
    verification_key: bytes
    srs: str
    """Digest (hex) of the structured reference string's file."""
    document: str
    """``request`` or ``sent``: the name that the request's salts are made with."""
    request: str
    response: str
    key: bytes
    """The run's pseudo-random key, 32 bytes."""

    @property
    def raw(self) -> bytes:
        """The document's canonical bytes: what a record commits to."""
        return canonical.encode(
            {
                "type": PROOF_TYPE,
                "run": self.run,
                "system": SYSTEM,
                "version": self.version,
                "proof": self.proof.hex(),
                "instances": list(self.instances),
                "inputs": list(self.inputs),
                "outputs": list(self.outputs),
                "settings": b64_encode(self.settings.raw),
                "verification_key": b64_encode(self.verification_key),
                "srs": self.srs,
                "document": self.document,
                "request": self.request,
                "response": self.response,
                "key": self.key.hex(),
            }
        )


def parse_proof_document(raw: bytes) -> ProofDocument:
    """Bytes to a :class:`ProofDocument`; raises ``proof.*``, ``circuit.*``, ``json.*`` or ``encoding.*``."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise MalformedError("proof.size", f"a proof document has at most {MAX_DOCUMENT_BYTES} bytes")
    value = canonical.decode_signed(raw)
    if value.keys() != _MEMBERS or value["type"] != PROOF_TYPE:
        raise _malformed(f"not the members of a {PROOF_TYPE}")
    if not is_run_id(value["run"]) or value["document"] not in ("request", "sent"):
        raise _malformed("a proof names its run, and its request is request or sent")
    if value["system"] != SYSTEM:
        raise _malformed(f"the only proof system is {SYSTEM}")
    texts = [value[name] for name in ("version", "proof", "request", "response")]
    if not all(isinstance(text, str) for text in texts) or not 0 < len(texts[0]) <= 64:
        raise _malformed("version, proof, request and response are strings")
    settings = parse_settings(b64_decode(value["settings"]))
    instances = value["instances"]
    if not isinstance(instances, list):
        raise _malformed("instances are a list")
    split_instances(settings, instances)
    return ProofDocument(
        run=value["run"],
        version=value["version"],
        proof=hex_decode(value["proof"]),
        instances=tuple(instances),
        inputs=_names(value["inputs"], len(settings.input_scales)),
        outputs=_names(value["outputs"], len(settings.output_scales)),
        settings=settings,
        verification_key=b64_decode(value["verification_key"]),
        srs=hex_decode(value["srs"], 32).hex(),
        document=value["document"],
        request=value["request"],
        response=value["response"],
        key=hex_decode(value["key"], 32),
    )


def _names(value: object, count: int) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _malformed("inputs and outputs are lists of names")
    if len(value) != count or len(set(value)) != count or count > MAX_NAMES:
        raise _malformed("every input and output of the circuit has a name of its own")
    return tuple(value)


def record_of(document: bytes, salt: bytes) -> bytes:
    """The commitment to a document's exact bytes (``inference.md`` §5(3)), 32 bytes."""
    if len(salt) != SALT_BYTES:
        raise UsageError("proof.salt", f"the salt of a record has {SALT_BYTES} bytes")
    return sha256(RECORD_DOMAIN + salt + document)


def verify_proof_document(proved: Statement, computed: Statement, raw: bytes, salt: bytes) -> ProofDocument:
    """Open the record of a ``proved`` statement (``inference.md`` §5(5)), apart from the proof itself.

    Raises ``proof.*``, ``circuit.*`` and, of a document that the node never should have committed to, what its parser
    raises.
    """
    after, before = proved.body, computed.body
    if not isinstance(after, Execution) or not isinstance(before, Execution) or before.computation is None:
        raise RefusedError("proof.statement", "it is about no computation")
    if after.proof != record_of(raw, salt):
        raise RefusedError("proof.record", "the document is not what the statement commits to")
    if after.computation != before.computation or proved.run != computed.run:
        raise RefusedError("proof.statement", "it tells of another computation than the one that it follows")
    document = parse_proof_document(raw)
    if document.run != proved.run:
        raise RefusedError("proof.statement", "the document is of another run")
    verify_circuit(document, before.computation)
    bound = commit(document.document, document.request.encode(), document.key).tree
    if BoundTree(bound.root, bound.size) != before.computation.request:
        raise RefusedError("proof.request", "the request in the document is not the one that was computed")
    if commit("response", document.response.encode(), document.key).tree != before.response:
        raise RefusedError("proof.response", "the response in the document is not the one that was given")
    verify_instances(document, before.computation.artifact)
    return document


def verify_circuit(document: ProofDocument, computation: Computation) -> None:
    """The settings and the verification key are those that the computation names; raises ``proof.circuit``."""
    circuit = computation.circuit
    digests = sha256_hex(document.settings.raw), sha256_hex(document.verification_key)
    if circuit is None or digests != (circuit.settings, circuit.verification_key):
        raise RefusedError("proof.circuit", "the circuit in the document is not the one that was computed with")


def verify_instances(document: ProofDocument, artifact: str) -> None:
    """The circuit's public numbers are the inputs of the request and the outputs of the response, at the scales of its
    settings; raises ``proof.inputs`` and ``proof.outputs``."""
    settings = document.settings
    inputs, outputs = split_instances(settings, document.instances)
    try:
        given = public_inputs(document.inputs, settings, canonical.decode_exact(document.request.encode()))
    except HoldfastError as error:
        raise RefusedError("proof.inputs", f"the request is none for this circuit: {error.message}") from error
    if given != inputs:
        raise RefusedError("proof.inputs", "what was proved is about other inputs")
    shown = _shown_outputs(document.response, artifact)
    if not shown or not shown.keys() <= set(document.outputs):
        raise RefusedError("proof.outputs", "the response shows no outputs of the circuit")
    for name, scale, shape, numbers in zip(
        document.outputs, settings.output_scales, settings.output_shapes, outputs, strict=True
    ):
        if name in shown and shown[name] != Tensor(OUTPUT_TYPE, shape, _doubles(numbers, scale)):
            raise RefusedError("proof.outputs", "what was proved is about other outputs")


def public_inputs(names: Sequence[str], settings: CircuitSettings, request: object) -> list[list[int]]:
    """The numbers that a circuit is given for a request: one item, one tensor for every input, of its exact shape.

    Raises ``infer.*`` and ``circuit.number``."""
    inference = parse_inference(request)
    if inference.mode != "ZKML" or len(inference.items) != 1:
        raise MalformedError("infer.batch", "mode ZKML takes one item", param="inputs")
    item = inference.items[0]
    if item.keys() != set(names):
        raise MalformedError("infer.inputs", f"the circuit takes {', '.join(names)}"[:200], param="inputs")
    found = []
    for name, scale, shape in zip(names, settings.input_scales, settings.input_shapes, strict=True):
        found.append(_numbers(item[name], name, scale, shape))
    return found


def _numbers(given: Given, name: str, scale: int, shape: tuple[int, ...]) -> list[int]:
    place = f"inputs.{name[:64]}"
    if given.shape != shape:
        raise MalformedError("infer.shape", f"the circuit takes the shape {list(shape)}", param=place)
    return [quantise(value, scale) for value in read_elements(make_tensor(given, INPUT_TYPE, place))]


def circuit_outputs(names: Sequence[str], settings: CircuitSettings, instances: Sequence[str]) -> Mapping[str, Tensor]:
    """What a circuit gave, by the names of its outputs; raises ``circuit.*``."""
    _, outputs = split_instances(settings, instances)
    return {
        name: Tensor(OUTPUT_TYPE, shape, _doubles(numbers, scale))
        for name, scale, shape, numbers in zip(
            names, settings.output_scales, settings.output_shapes, outputs, strict=True
        )
    }


def instances_of(inputs: Sequence[Sequence[int]]) -> list[list[str]]:
    """Numbers of inputs as a prover takes them."""
    return [[show_instance(number) for number in numbers] for numbers in inputs]


def _doubles(numbers: Sequence[int], scale: int) -> bytes:
    return struct.pack(f"<{len(numbers)}d", *(rescale(number, scale) for number in numbers))


def _shown_outputs(response: str, artifact: str) -> dict[str, Tensor]:
    """Outputs by name, as a response in mode ZKML shows them; raises ``proof.outputs``."""
    try:
        value: Any = canonical.decode_exact(response.encode())
        outputs = value["outputs"]
        item = outputs[0] if isinstance(outputs, list) and len(outputs) == 1 else outputs
        if value["mode"] != "ZKML" or value["artifact"] != artifact or not isinstance(item, dict):
            raise RefusedError("proof.outputs", "the response is of another mode or artifact")
        shown = parse_inference({"model": "outputs", "inputs": item}).items[0]
        return {name: make_tensor(given, OUTPUT_TYPE, name) for name, given in shown.items()}
    except (MalformedError, KeyError, TypeError, IndexError) as error:
        raise RefusedError("proof.outputs", "the response holds no outputs that can be read") from error


def _malformed(message: str) -> MalformedError:
    return MalformedError("proof.fields", message)
