"""Requests that contracts make for runs of models, and what fulfils them (``spec/onchain.md``).

``pack_parts`` and ``unpack_parts`` are inverses. ``document_of`` writes the one JSON document that has given parts.
``build_fulfilment`` gathers, from a run that is final, what the contract ``Inference`` checks.

Rules: nothing here is believed by the contract, and what the contract said is believed only behind the depth that its
reader waits for. Not covered: sending anything, and which requests are served (``nodes.gateway.asked``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical, evm
from holdfast.core.canonical import NumberText
from holdfast.core.encoding import sha256
from holdfast.core.parts import MAX_PARTS, Commitment, Part, map_parts
from holdfast.core.statements import Execution, Statement
from holdfast.errors import HoldfastError, MalformedError, RefusedError

MAX_DOCUMENT_BYTES = 16_384
"""Packed parts of one document (``onchain.md`` §2)."""
MAX_DOCUMENT_PARTS = 128
"""Parts of one document (``onchain.md`` §2)."""
STATES = ("unknown", "open", "fulfilled", "refuted", "refused", "expired", "cancelled", "recalled")
"""How a request stands, by the contract's numbers (``onchain.md`` §3)."""
FINAL, PROVED = 1, 2
"""What a target is told of a result (``onchain.md`` §6)."""
_LENGTH_BYTES = 2


@dataclass(frozen=True, slots=True)
class Ask:
    """Everything that a request's id is made of (``onchain.md`` §3). Addresses lower-case, digests 32 bytes."""

    number: int
    asker: str
    node: str
    """Who alone may fulfil it; the zero address: anybody."""
    artifact: bytes
    """The artifact that has to run; zeros: what the label means."""
    target: str
    gas_limit: int
    fee: int
    """Base units of the chain's coin."""
    deadline: int
    """Unix seconds."""
    document: bytes
    """Keccak-256 of the packed parts."""

    def to_tuple(self) -> tuple[Any, ...]:
        """The members in the order of the contract's struct."""
        return (
            self.number,
            self.asker,
            self.node,
            self.artifact,
            self.target,
            self.gas_limit,
            self.fee,
            self.deadline,
            self.document,
        )


@dataclass(frozen=True, slots=True)
class Requested:
    """A request as its event tells it."""

    identity: bytes
    ask: Ask
    packed: bytes
    """The parts of its document (``onchain.md`` §2)."""
    block: int


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a request."""

    state: str
    reason: str
    """A code; of what was fulfilled, empty."""
    block: int
    payee: str = ""
    mode: int = 0
    proof: int = 0
    """:data:`FINAL` or :data:`PROVED`; of what was not fulfilled, 0."""
    called: bool = False
    """Whether the target took the result."""
    closure: tuple[Any, ...] = ()
    response: bytes = b""
    """The packed parts of the response."""


def ask_of(values: Sequence[Any]) -> Ask:
    """The contract's struct as it decodes, to an :class:`Ask`."""
    number, asker, node, artifact, target, gas_limit, fee, deadline, document = values
    return Ask(
        number, asker.lower(), node.lower(), bytes(artifact), target.lower(), gas_limit, fee, deadline, bytes(document)
    )


def ask_id(chain_id: int, contract: str, ask: Ask) -> bytes:
    """The id of a request: Keccak-256 over chain, contract and everything about it (``onchain.md`` §3)."""

    def word_of(value: object) -> bytes:
        if isinstance(value, str):
            return bytes(12) + evm.address_bytes(value)
        return value if isinstance(value, bytes) else evm.word(int(str(value)))

    return evm.keccak256(b"".join(map(word_of, (chain_id, contract, *ask.to_tuple()))))


def ask_nonce(identity: bytes, payee: str) -> str:
    """The nonce of a run that ``payee`` may fulfil a request with: 64 hex digits (``onchain.md`` §4)."""
    return evm.keccak256(identity + bytes(12) + evm.address_bytes(payee)).hex()


def pack_parts(parts: Iterable[Part]) -> bytes:
    """Parts as the contract takes them: of each, two bytes of length and the label, two bytes of length and the bytes.

    Raises ``ask.document`` where they do not fit."""
    packed = bytearray()
    count = 0
    for part in parts:
        count += 1
        for field in (part.label, part.data):
            if len(field) >= 1 << 8 * _LENGTH_BYTES:
                raise _too_large()
            packed += len(field).to_bytes(_LENGTH_BYTES) + field
    if len(packed) > MAX_DOCUMENT_BYTES or count > MAX_DOCUMENT_PARTS:
        raise _too_large()
    return bytes(packed)


def _too_large() -> MalformedError:
    return MalformedError(
        "ask.document",
        f"on chain a document has at most {MAX_DOCUMENT_PARTS} parts and {MAX_DOCUMENT_BYTES} bytes",
        hint="write tensors as base64: each is one part then",
    )


def unpack_parts(packed: bytes) -> tuple[Part, ...]:
    """The way back; raises ``ask.document``."""
    fields: list[bytes] = []
    at = 0
    while at < len(packed):
        size = int.from_bytes(packed[at : at + _LENGTH_BYTES])
        at += _LENGTH_BYTES + size
        if at > len(packed):
            raise MalformedError("ask.document", "the packed parts end within one")
        fields.append(packed[at - size : at])
    if not fields or len(fields) % 2 or len(packed) > MAX_DOCUMENT_BYTES or len(fields) > 2 * MAX_DOCUMENT_PARTS:
        raise MalformedError("ask.document", "these bytes are no packed parts")
    return tuple(map(Part, fields[::2], fields[1::2]))


def document_of(parts: Sequence[Part], document: str = "request") -> bytes:
    """The JSON text of the document whose parts these are, in any order. Where members of an object could be
    elements of a list as well, they are. Raises ``ask.parts`` where no document has exactly these parts."""
    top: dict[str, Any] = {}
    try:
        for part in sorted(parts):
            _, _, _, kind, path = part.label.decode().split("|", 4)
            names = [name.replace("~1", "/").replace("~0", "~") for name in path.split("/")[1:]]
            if len(names) > canonical.MAX_DEPTH:
                raise _no_document()
            place = top
            for name in names[:-1]:
                place = place.setdefault(name, {})
            place[names[-1]] = _value(kind, part.data)
        text = canonical.encode_exact({name: _listed(value) for name, value in top.items()})
        found = map_parts(document, canonical.decode_exact(text))
    except (HoldfastError, ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
        raise _no_document() from error
    if found != sorted(parts) or len(parts) > MAX_PARTS:
        raise _no_document()
    return text


def _no_document() -> MalformedError:
    return MalformedError("ask.parts", "no document has these parts", hint="map a document to parts: parts.md §3")


def _value(kind: str, data: bytes) -> Any:
    match kind:
        case "s":
            return data.decode()
        case "n":
            return NumberText(data.decode())
        case "l":
            return {b"true": True, b"false": False, b"null": None}[data]
        case "o":
            return {}
        case _:
            return []


def _listed(value: Any) -> Any:
    """Objects whose members are called 0, 1, 2 … as lists."""
    if not isinstance(value, dict):
        return value
    items = {name: _listed(item) for name, item in value.items()}
    if items and items.keys() == {str(number) for number in range(len(items))}:
        return [items[str(number)] for number in range(len(items))]
    return items


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    """A verdict of a final round with its path, as evidence of a run has it (``bundle.md``)."""

    number: int
    index: int
    digest: str
    code: str
    position: int
    size: int
    proof: tuple[bytes, ...]

    def to_tuple(self) -> tuple[Any, ...]:
        """The members in the order of the contract's struct."""
        return (self.number, self.index, self.position, self.size, list(self.proof))


@dataclass(frozen=True, slots=True)
class FinalRun:
    """The three statements of a computed run and the newest final verdict on each, by digest (hex)."""

    computed: Statement
    route: Statement
    closing: Statement
    verdicts: Mapping[str, ShownVerdict]
    proved: Statement | None = None
    """What the inference node signed once it had proved the run, if there is a final verdict on it."""

    @property
    def statements(self) -> tuple[Statement, Statement, Statement]:
        """In the order of the log."""
        return self.computed, self.route, self.closing

    @property
    def refuted(self) -> tuple[Statement, ShownVerdict] | None:
        """The first statement that a final round refutes, and its verdict."""
        for statement in (*self.statements, *([self.proved] if self.proved else [])):
            verdict = self.verdicts.get(statement.digest)
            if verdict is not None and verdict.code.startswith("refuted:"):
                return statement, verdict
        return None

    @property
    def settled(self) -> bool:
        """Whether a final round calls each of them ``ok``."""
        return all(map(self._stands, self.statements))

    @property
    def is_proved(self) -> bool:
        """Whether a final round calls its proof ``ok``."""
        return self.proved is not None and self._stands(self.proved)

    def _stands(self, statement: Statement) -> bool:
        verdict = self.verdicts.get(statement.digest)
        return verdict is not None and verdict.code == "ok"


def build_fulfilment(
    ask: Ask, payee: str, packed: bytes, request: Commitment, response: Commitment, run: FinalRun
) -> tuple[Any, ...]:
    """The arguments of the contract's ``fulfil`` (``onchain.md`` §5). ``packed`` are the parts as they were asked,
    ``request`` and ``response`` the documents as they were bound. Raises ``ask.parts``, ``ask.document`` and
    ``ask.statement``."""
    asked = unpack_parts(packed)
    places = {part: place for place, part in enumerate(asked)}
    if sorted(asked) != list(request.parts) or len(places) != len(asked):
        raise RefusedError("ask.parts", "the run was asked something else than the request")
    if not run.settled:
        raise RefusedError("ask.verdict", "no final round calls every statement of this run ok", hint="wait for it")
    computed, route, closing = (statement.envelope.payload for statement in run.statements)
    shown = (
        bytes(places[part] for part in request.parts),
        b"".join(request.salts),
        b"".join(response.salts),
        run.computed.run.encode(),
        computed,
        _find(computed, b'"event":"computed"'),
        _find(computed, b'"request":{"root":"'),
        closing,
        _find(closing, b'"event":"generated"'),
        route,
        _find(route, b'"nonce":"'),
        run.verdicts[run.computed.digest].to_tuple(),
        run.verdicts[run.route.digest].to_tuple(),
        run.verdicts[run.closing.digest].to_tuple(),
        *_proof(run),
    )
    return ask.to_tuple(), payee, packed, pack_parts(response.parts), shown


def _proof(run: FinalRun) -> tuple[bytes, int, tuple[Any, ...]]:
    """The statement that the run was proved, where its ``event`` stands, and its verdict; nothing without one."""
    if run.proved is None or not run.is_proved:
        return b"", 0, (0, 0, 0, 0, [])
    payload = run.proved.envelope.payload
    return payload, _find(payload, b'"event":"proved"'), run.verdicts[run.proved.digest].to_tuple()


def _find(payload: bytes, member: bytes) -> int:
    found = payload.find(member)
    if found < 0:
        raise RefusedError("ask.statement", "the run was closed by another statement than a fulfilment takes")
    return found


def build_refutation(ask: Ask, payee: str, statement: Statement, verdict: ShownVerdict) -> tuple[Any, ...]:
    """The arguments of the contract's ``refute`` (``onchain.md`` §7)."""
    payload = statement.envelope.payload
    return ask.to_tuple(), payee, payload, _find(payload, b'"nonce":"'), verdict.code, verdict.to_tuple()


def closure_of(run: FinalRun) -> tuple[Any, ...]:
    """The contract's ``Closure`` of a run that fulfilled a request (``onchain.md`` §7)."""
    order = (run.closing, run.computed, run.route)
    digests = [sha256(statement.envelope.payload) for statement in order]
    return (*digests, *(run.verdicts[statement.digest].number for statement in order))


def is_closing_pair(computed: Statement, closing: Statement) -> bool:
    """Whether these are the two statements that :func:`build_fulfilment` shows: computed and closed by an answer."""
    first, last = computed.body, closing.body
    return (
        isinstance(first, Execution)
        and isinstance(last, Execution)
        and (first.event, last.event) == ("computed", "generated")
        and computed.digest in closing.parents
    )
