"""A contract ``Workflow`` as one reads it without a chain library: calls, answers, events (``spec/onchain.md`` §12).

Rules: what an endpoint answers is held against itself. A result without how it stands, in a state that nobody knows, or
with another response than its hash says is refused; a request is a workflow's only where its id follows from it and all
of its terms are the workflow's.

Not covered: whether the endpoint tells what the chain says, and what final rounds say (``adapters``, ``verifier``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import abi, evm
from holdfast.core.asks import Ask, Requested, ask_id, ask_of, unpack_parts
from holdfast.core.parts import Part
from holdfast.errors import MalformedError, RefusedError

STANDS = ("none", "final", "proved", "recalled")
"""How a result stands now, by its number (``onchain.md`` §12(5))."""
MODES = ("VANILLA", "ZKML", "TEE")
"""By their numbers (§6(1))."""
MAX_KEPT_BYTES = 2_048
"""Of a response that is kept whole (§12(4))."""
GAS = 2_500_000
"""What a workflow's requests give its own call (§12(2))."""
CONSTRUCTOR: tuple[abi.Kind, ...] = ("address", "bytes", "bytes32", "address", "uint256", "uint256", "uint256")
FUNCTIONS: Mapping[str, tuple[abi.Kind, ...]] = {
    **dict.fromkeys(("run", "stop", "due", "result", "getInferenceResult"), ()),
    **dict.fromkeys(("inference", "owner", "artifact", "node", "fee", "every", "period", "document"), ()),
    **dict.fromkeys(("stopped", "open_request", "asked_at", "results"), ()),
    **dict.fromkeys(("withdraw", "result_before", "getLastInferenceResults"), ("uint256",)),
    "value": ("bytes",),
    "on_inference": ("bytes32", "bytes", "bytes32", "uint8", "uint8"),
}
"""Every function of the contract, and what it takes."""
_RESULT: tuple[abi.Kind, ...] = (
    ("bytes32", "bytes32", "bytes32", "uint256", "uint256", "uint8", "uint8", "bytes"),
    "uint8",
)
_NOTHING = (bytes(32), bytes(32), bytes(32), 0, 0, 0, 0, b"")
_ASK: tuple[abi.Kind, ...] = (
    "uint256",
    "address",
    "address",
    "bytes32",
    "address",
    "uint256",
    "uint256",
    "uint256",
    "bytes32",
)
_EVENTS: Mapping[str, tuple[tuple[abi.Kind, ...], tuple[abi.Kind, ...]]] = {
    "Asked": (("bytes32", "address"), ()),
    "Kept": (("bytes32",), ("uint256", "uint8")),
    "Stopped": ((), ()),
}
_REQUESTED: tuple[tuple[abi.Kind, ...], tuple[abi.Kind, ...]] = ("bytes32", "address", "address"), (_ASK, "bytes")


@dataclass(frozen=True, slots=True)
class Kept:
    """A result that a workflow keeps."""

    stands: str
    """One of :data:`STANDS`, at the newest block; never ``none``."""
    identity: bytes
    """Of the request."""
    statement: bytes
    """Digest of the closing statement."""
    response_hash: bytes
    round: int
    at: int
    """Unix seconds."""
    mode: int
    response: bytes
    """Packed parts (§2(1)); empty where the contract keeps their hash alone."""

    @property
    def parts(self) -> tuple[Part, ...] | None:
        """The response's parts; None where they are not kept. Raises ``ask.document``."""
        return unpack_parts(self.response) if self.response else None


@dataclass(frozen=True, slots=True)
class Asking:
    """What a workflow asks: what all its requests have in common (§12(1), (2))."""

    address: str
    artifact: bytes
    node: str
    fee: int
    document: bytes
    """Packed parts."""


def call_data(function: str, arguments: Sequence[Any]) -> bytes:
    """A call of the contract; of ``constructor`` what stands behind its code. Raises ``flow.function``, ``evm.*``."""
    if function == "constructor":
        return abi.encode(CONSTRUCTOR, arguments)
    if function not in FUNCTIONS:
        raise MalformedError("flow.function", "the contract has no such function")
    kinds = FUNCTIONS[function]
    return abi.selector(function, kinds) + abi.encode(kinds, arguments)


def parse_result(data: bytes) -> Kept | None:
    """What ``result`` and ``result_before`` answer; None where there is none. Raises ``evm.abi``, ``flow.stands`` and
    ``flow.response``."""
    values, stands = abi.decode(_RESULT, data)
    identity, statement, response_hash, number, at, mode, state, response = values
    if stands == 0:
        if values != _NOTHING:
            raise RefusedError("flow.stands", "a result is told, and that there is none")
        return None
    if stands not in (state, STANDS.index("recalled")) or state not in (1, 2) or mode >= len(MODES):
        raise RefusedError("flow.stands", "a result is final or proved, in a mode, and stands so or was recalled")
    if len(response) > MAX_KEPT_BYTES or (response and evm.keccak256(response) != response_hash):
        raise RefusedError("flow.response", "the response is not the one that was handed over")
    return Kept(STANDS[stands], identity, statement, response_hash, number, at, mode, response)


def parse_value(data: bytes) -> tuple[bytes, str, int, int]:
    """What ``value`` answers: the part's bytes, how the result stands, its round, and when it came. Raises ``evm.abi``
    and ``flow.stands``."""
    value, stands, number, at = abi.decode(("bytes", "uint8", "uint256", "uint256"), data)
    if not 0 < stands < len(STANDS):
        raise RefusedError("flow.stands", "a value is told with how it stands")
    return value, STANDS[stands], number, at


def part_of(kept: Kept, label: bytes) -> bytes:
    """One part of a result that is kept whole, as ``value`` reads it; raises ``flow.part``."""
    for part in kept.parts or ():
        if part.label == label:
            return part.data
    raise RefusedError("flow.part", "the result has no such part, or is not kept whole")


def parse_event(workflow: str, log: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """An event of a workflow: its name and what it says. Raises ``flow.event`` and ``evm.abi``."""
    for name, (keys, plain) in _EVENTS.items():
        kinds = (*keys, *plain)
        if log["topics"][:1] == [evm.keccak256(abi.signature(name, kinds).encode())]:
            known, said = _event(workflow, log, keys, plain)
            names = {"Asked": ("id", "by"), "Kept": ("id", "round", "state")}.get(name, ())
            told = dict(zip(names, (*known, *said), strict=True))
            if told.get("state", 1) not in (1, 2):
                raise RefusedError("flow.stands", "what is kept is final or proved")
            return name, told
    raise MalformedError("flow.event", "this is no event of a workflow")


def read_request(chain_id: int, inference: str, asking: Asking, log: Mapping[str, Any]) -> Requested:
    """The request that a ``Requested`` event of the contract ``inference`` tells of, where it is this workflow's.
    Raises ``flow.event``, ``evm.abi``, ``ask.open``, ``ask.document`` and ``flow.request``."""
    keys, plain = _REQUESTED
    if log["topics"][:1] != [evm.keccak256(abi.signature("Requested", (*keys, *plain)).encode())]:
        raise MalformedError("flow.event", "this is no request")
    (identity, asker, node), (values, packed) = _event(inference, log, keys, plain)
    ask = ask_of(values)
    if ask_id(chain_id, inference, ask) != identity or (ask.asker, ask.node) != (asker, node):
        raise RefusedError("ask.open", "the request does not hash to its id here")
    if evm.keccak256(packed) != ask.document:
        raise RefusedError("ask.document", "the document is not the one that was asked")
    if not _is_of(asking, ask, packed):
        raise RefusedError("flow.request", "the request has other terms than the workflow")
    return Requested(identity, ask, packed, 0)


def _is_of(asking: Asking, ask: Ask, packed: bytes) -> bool:
    own = (asking.address, asking.address, GAS, asking.node, asking.artifact, asking.fee, asking.document)
    return own == (ask.asker, ask.target, ask.gas_limit, ask.node, ask.artifact, ask.fee, packed)


def _event(
    address: str, log: Mapping[str, Any], keys: Sequence[abi.Kind], plain: Sequence[abi.Kind]
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Indexed and other values of an event whose first topic was looked at."""
    if log["address"] != address:
        raise RefusedError("flow.event", "another contract said so")
    if len(log["topics"]) != 1 + len(keys):
        raise MalformedError("flow.event", "an event has as many topics as it has keys, and its own")
    return abi.decode(keys, b"".join(log["topics"][1:])), abi.decode(plain, log["data"])
