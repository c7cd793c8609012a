"""The gateway's write-ahead log, seen as runs (``records`` has the bytes).

Rules: an OPEN record is durable before the upstream is called, a MARK before it leaves, a CLOSE before the terminal
frame. Every method returns only when its record is durable. A run without a CLOSE when the ledger is opened was
interrupted; :meth:`Ledger.unclosed` names it with its last mark, and the service closes it with a signed statement.

Not covered: finding a run by id (``adapters.run_index_sql``) and delivery to the log (``outbox``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from holdfast.core.attempts import Attempt
from holdfast.core.encoding import hex_decode
from holdfast.core.statements import MarkReference, parse_envelope
from holdfast.errors import MalformedError, UsageError
from holdfast.nodes.gateway import records
from holdfast.nodes.gateway.records import ADDED, ASKED, CLOSE, FOLLOW, MARK, OPEN, TURNED, StoredRecord
from holdfast.nodes.gateway.turn import NOBODY, Opening, SignedStatement, parse_opening
from holdfast.ports.storage import RECORD_OVERHEAD_BYTES, Committer, RecordLog


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record lies: the position at which it starts."""

    start: int


@dataclass(frozen=True)
class LedgerRecord:
    """One record as it was read back; decoded when somebody looks at it."""

    start: int
    end: int
    kind: int
    payload: bytes

    @cached_property
    def record(self) -> StoredRecord:
        return records.decode(self.payload)


@dataclass(frozen=True, slots=True)
class ShownMark:
    """A mark that left: when (RFC 3339), and its object (``parts.md`` §7)."""

    at: str
    mark: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"at": self.at, "mark": self.mark}


FILES_READ = 4
"""Which blob of an OPEN record holds what was read in files."""
CRASHED = "gateway.interrupted"
"""Outcome of a run that its gateway's process did not live to close."""
SENT_LAST = "sent/last"
"""What the last document for an upstream is sealed as: each key encrypts one text."""


@dataclass(slots=True)
class Interrupted:
    """A run that was open when the process ended."""

    opening: Opening
    place: Place
    marks: list[ShownMark] = field(default_factory=list)
    """The first mark that left and the last."""
    added: set[str] = field(default_factory=set)
    """Digests of other nodes' statements that were durable."""
    admitted: bytes = b""
    """The admissions that it names (``admitting.pack``), of which some may not have become records of their own."""
    turned: Sequence[Mapping[str, Any]] = ()
    """Whom it was taken to (``Way.to_json``), where that was more than the one that its opening names."""

    @property
    def attempts(self) -> tuple[Attempt, ...] | None:
        """Whom it may have been taken to: nobody knows how far the last of them came. None where nobody knows at
        all."""
        if self.turned:
            return tuple(
                Attempt(item["upstream"], item["why"], item["end"] or CRASHED, item["sent"]) for item in self.turned
            )
        begins = self.opening.begins
        if begins is None:
            return None
        return () if begins == NOBODY else (Attempt(self.opening.upstream, begins, CRASHED, sent=True),)

    @property
    def known(self) -> Opening:
        """The opening; a recall that was not durable was not asked a model with either, and is not named."""
        kept = self.opening.recall in self.added
        return self.opening if kept else replace(self.opening, recall=None)

    def reference(self) -> MarkReference | None:
        """The last mark, as the closing statement names it."""
        last = self.marks[-1].mark if self.marks else None
        return MarkReference(last["seq"], hex_decode(last["parts"], 32)) if last else None


class Ledger:
    """Durable runs of one gateway."""

    def __init__(self, log: RecordLog, commit: Committer) -> None:
        self._log = log
        self._commit = commit
        self._open: dict[str, int] = {}
        """Where the openings of runs lie that are not closed."""

    @property
    def end(self) -> int:
        """Position after the last durable record."""
        return self._log.durable

    async def open_run(
        self,
        opening: Opening,
        sealed_request: bytes,
        disclosed: bytes = b"",
        sealed_sent: bytes = b"",
        admitted: bytes = b"",
        read: bytes = b"",
    ) -> Place:
        """Make an opening durable. ``sealed_request`` is empty where nothing may be kept; ``disclosed`` are parts of
        the request as JSON (``sealed.md`` §3); ``sealed_sent`` is kept where something was carried in;
        ``admitted`` are the admissions that the run will name, for whoever closes it (``admitting.pack``); ``read``
        is what was read in its caller's files, sealed."""
        kept = [sealed_request, disclosed, sealed_sent, admitted, read]
        while len(kept) > 2 and not kept[-1]:
            kept.pop()
        place = await self._write(OPEN, records.encode(opening.header(), kept))
        self._open[opening.run] = place.start
        return place

    async def mark(self, run: str, shown: ShownMark) -> Place:
        """Make a mark durable."""
        return await self._write(MARK, records.encode({"run": run, **shown.to_json()}))

    async def close_run(
        self,
        opening: Opening,
        closed_at: str,
        outcome: str,
        statements: tuple[SignedStatement, SignedStatement],
        *,
        marks: Sequence[ShownMark] = (),
        sealed: bytes = b"",
        published: bytes = b"",
        disclosed: bytes = b"",
        usage: Mapping[str, int] | None = None,
        sealed_sent: bytes = b"",
        agent: Mapping[str, Any] | None = None,
    ) -> Place:
        """Make the closing statements durable, with the sealed response, in mode ``individual`` the blob, the parts
        of the response that are disclosed, what went upstream last where that is another document than the opening's
        (sealed as :data:`SENT_LAST`) and, of a run that is paid for, what it reports to have used. ``agent``: of an
        agent run, the idempotency key that it was closed under and what it spent."""
        route, execution = statements
        header: dict[str, Any] = {"run": opening.run, "closed_at": closed_at, "outcome": outcome}
        if usage is not None:
            header["usage"] = dict(usage)
        if agent is not None:
            header["agent"] = dict(agent)
        if marks:
            header["marks"] = [shown.to_json() for shown in marks]
        if route.salt is not None and execution.salt is not None:
            header["salts"] = [route.salt.hex(), execution.salt.hex()]
        entries = [b"" if item.entry == item.envelope else item.entry for item in statements]
        blobs = (route.envelope, execution.envelope, *entries, sealed, published, disclosed)
        if sealed_sent:
            blobs = (*blobs, sealed_sent)
        place = await self._write(CLOSE, records.encode(header, blobs))
        self._open.pop(opening.run, None)
        return place

    async def follow_up(self, run: str, at: str, envelope: bytes, entry: bytes) -> Place:
        """Make a follow-up statement durable."""
        return await self._write(FOLLOW, records.encode({"run": run, "at": at}, (envelope, entry)))

    async def add(
        self,
        run: str,
        at: str,
        signed: SignedStatement,
        attestation: bytes = b"",
        proof: bytes = b"",
        recall: Mapping[str, str] | None = None,
    ) -> Place:
        """Make a statement of another node about a run durable, with the attestation that it presented (JSON) or, of a
        proof, what opens its record: the salt and the sealed document. ``recall`` is what opens a recall's."""
        header: dict[str, Any] = {"run": run, "at": at}
        if signed.salt is not None:
            header["salt"] = signed.salt.hex()
        entry = b"" if signed.entry == signed.envelope else signed.entry
        if recall is not None:
            header["recall"] = dict(recall)
        return await self._write(ADDED, records.encode(header, (signed.envelope, entry, attestation, proof)))

    async def asked_again(self, run: str, at: str, times: int) -> Place:
        """Make durable that a run is about to be asked again, for the ``times``-th time."""
        return await self._write(ASKED, records.encode({"run": run, "at": at, "times": times}))

    async def turned(self, run: str, attempts: Sequence[Mapping[str, Any]]) -> Place:
        """Make durable whom a run was taken to, before it is taken to the last of them."""
        return await self._write(TURNED, records.encode({"run": run, "attempts": list(attempts)}))

    async def _write(self, kind: int, payload: bytes) -> Place:
        end = await self._commit.commit(kind, payload)
        return Place(end - RECORD_OVERHEAD_BYTES - len(payload))

    def read(self, place: int) -> LedgerRecord:
        """The record that starts at a position; raises ``run.expired`` when it was dropped."""
        if place < self._log.begin:
            raise UsageError("run.expired", "what was stored of this run is past its retention", status=410)
        record = self._log.record_at(place)
        return LedgerRecord(place, record.position, record.kind, record.payload)

    def replay(self, after: int = 0) -> Iterator[LedgerRecord]:
        """Durable records from a position on, in order."""
        start = max(after, self._log.begin)
        for record in self._log.records(start):
            yield LedgerRecord(start, record.position, record.kind, record.payload)
            start = record.position

    def unclosed(self) -> list[Interrupted]:
        """Runs without a CLOSE, oldest first: for recovery, before the first new run."""
        waiting: dict[str, Interrupted] = {}
        for item in self.replay():
            header = item.record.header
            if item.kind == OPEN:
                opening = parse_opening(header)
                admitted = (*item.record.blobs, b"", b"", b"")[3]
                waiting[opening.run] = Interrupted(opening, Place(item.start), admitted=admitted)
            elif item.kind == MARK and header["run"] in waiting:
                shown = waiting[header["run"]].marks
                shown[1:] = [ShownMark(header["at"], header["mark"])]
            elif item.kind == TURNED and header["run"] in waiting:
                waiting[header["run"]].turned = header["attempts"]
            elif item.kind == ADDED and header["run"] in waiting:
                waiting[header["run"]].added.add(parse_envelope(parse_added(item.record).envelope).digest)
            elif item.kind == CLOSE:
                waiting.pop(header["run"], None)
        self._open = {run: item.place.start for run, item in waiting.items()}
        return list(waiting.values())

    def drop_before(self, position: int) -> None:
        """Give up whole segments before a position (retention), and before the oldest run that is open: without its
        opening nobody could close it, nor an agent run over all its children."""
        self._commit.drop_before(min((position, *list(self._open.values()))))

    async def close(self) -> None:
        await self._commit.close()


@dataclass(frozen=True, slots=True)
class Closing:
    """A CLOSE record taken apart."""

    envelopes: tuple[bytes, bytes]
    entries: tuple[bytes, bytes]
    sealed: bytes
    published: bytes
    disclosed: bytes
    """Parts of the response as JSON, or empty (``sealed.md`` §3)."""
    salts: tuple[bytes, ...]
    """What opens the commitments, in mode ``private``; empty otherwise."""
    marks: tuple[ShownMark, ...]
    """The first and the last mark of a stream."""
    usage: Mapping[str, int] | None = None
    """What a run that is paid for reports to have used, by the names of a charge's lines."""
    sealed_sent: bytes = b""
    """What went upstream last, where the opening's was not the last."""


def parse_closing(record: StoredRecord) -> Closing:
    """Blobs of a CLOSE record; raises ``records.damaged``."""
    if len(record.blobs) not in (6, 7, 8):  # six: from before parts were disclosed
        raise MalformedError("records.damaged", "a closing record has seven blobs, or eight")
    route, execution, first, second, sealed, published, disclosed, sent = (*record.blobs, b"", b"")[:8]
    salts = tuple(hex_decode(salt, 32) for salt in record.header.get("salts", ()))
    marks = tuple(ShownMark(item["at"], item["mark"]) for item in record.header.get("marks", ()))
    entries = (first or route, second or execution)
    usage = record.header.get("usage")
    return Closing((route, execution), entries, sealed, published, disclosed, salts, marks, usage, sent)


@dataclass(frozen=True, slots=True)
class Added:
    """An ADDED record taken apart."""

    at: str
    envelope: bytes
    entry: bytes
    salt: bytes | None
    """What opens the commitment, in mode ``private``."""
    attestation: bytes
    """What the other node presented of its key, as JSON, or empty."""
    proof: bytes = b""
    """Of a proof or an admission: the salt (32 bytes) and the document sealed under the run's key, or empty."""
    recall: Mapping[str, str] | None = None
    """What opens a recall's record: its document, and the salt in hex."""


def parse_added(record: StoredRecord) -> Added:
    """Blobs of an ADDED record; raises ``records.damaged``."""
    if len(record.blobs) not in (3, 4):
        raise MalformedError("records.damaged", "a record of another node's statement has three blobs, or four")
    envelope, entry, attestation, proof = (*record.blobs, b"")[:4]
    salt = record.header.get("salt")
    return Added(
        record.header["at"],
        envelope,
        entry or envelope,
        None if salt is None else hex_decode(salt, 32),
        attestation,
        proof,
        record.header.get("recall"),
    )
