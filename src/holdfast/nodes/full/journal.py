"""What a full node must not forget, and the order in which it becomes durable (``spec/round.md`` §6).

One write-ahead log holds, per origin: every checked entry with the opinion on it, every vote signed, every finality
message signed, every checkpoint cosigned, what final rounds said where that differs from the own opinion, evidence of
equivocation and of double signing; and of the node: every verdict on a registered node, and the trust version accepted
last. Verdict blobs and round files lie beside it.

Rules:

* **Asked before signed, durable before released.** A signing method looks up what was signed before, commits the
  record, and only then returns the signature. A lock makes the three one step.
* In one (origin, epoch, number, attempt) one content, in one (origin, number) at most one finality message, and never a
  cosignature for a smaller tree. Finality messages are made in rising order of rounds, so one number remembers all.
* Replaying the records gives the same state again; nothing else is read at a start.

Not covered: when to sign (``settle.py``, ``witness.py``), and what a crash does to the disk (``adapters/wal.py``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from holdfast.core import rounds
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.registry import verdict_digest
from holdfast.core.rounds import Candidate, ChainDomain, FinalityMessage, VerdictEntry, Vote
from holdfast.errors import ConflictError
from holdfast.nodes.full.decide import NOTHING_SETTLED, Settled
from holdfast.nodes.full.ledger import Ledger, Row
from holdfast.ports.signer import Signer
from holdfast.ports.storage import Committer, Record

ENTRIES, VOTE, FINALITY, SKIPPED, COSIGNED, CHECKPOINT = range(1, 7)
ADOPTED, REVISED, EQUIVOCATION, OFFENCE, PUNISHED, TRUST, TRUST_APPLIED, VERDICT = range(7, 15)
"""Record kinds; numbers are never reused."""
VOTES_KEPT_ROUNDS = 4096
"""Votes of rounds this far behind are forgotten, and nothing that old is ever signed again."""


class _Entries(msgspec.Struct, array_like=True):
    origin: str
    begin: int
    rows: list[Row]


class _Vote(msgspec.Struct, array_like=True):
    origin: str
    epoch: int
    number: int
    attempt: int
    previous: bytes
    size: int
    root: bytes
    verdict_root: bytes
    blob_id: bytes
    signature: bytes


class _Finality(msgspec.Struct, array_like=True):
    origin: str
    epoch: int
    number: int
    content: bytes
    signature: bytes


class _Skipped(msgspec.Struct, array_like=True):
    origin: str
    number: int


class _Cosigned(msgspec.Struct, array_like=True):
    origin: str
    size: int
    root: bytes
    note: bytes


class _Checkpoint(msgspec.Struct, array_like=True):
    origin: str
    note: bytes
    seen_ms: int


class _Adopted(msgspec.Struct, array_like=True):
    origin: str
    number: int
    size: int
    root: bytes
    content: bytes
    differing: list[tuple[int, bytes, str]]
    contested: list[int]


class _Revised(msgspec.Struct, array_like=True):
    origin: str
    codes: list[tuple[int, str]]


class _Equivocation(msgspec.Struct, array_like=True):
    origin: str
    at_ms: int
    first: bytes
    second: bytes
    root: bytes
    proof: list[bytes]


class _Offence(msgspec.Struct, array_like=True):
    kind: str
    first: bytes
    second: bytes


class _Verdict(msgspec.Struct, array_like=True):
    chain_id: int
    contract: str
    attestation: int
    evidence: bytes
    accepted: bool
    signature: bytes


class _Trust(msgspec.Struct, array_like=True):
    version: int
    digest: str


class _TrustApplied(msgspec.Struct, array_like=True):
    version: int


_TYPES: dict[int, type[msgspec.Struct]] = {
    ENTRIES: _Entries,
    VOTE: _Vote,
    FINALITY: _Finality,
    SKIPPED: _Skipped,
    COSIGNED: _Cosigned,
    CHECKPOINT: _Checkpoint,
    ADOPTED: _Adopted,
    REVISED: _Revised,
    EQUIVOCATION: _Equivocation,
    OFFENCE: _Offence,
    PUNISHED: _Offence,
    TRUST: _Trust,
    TRUST_APPLIED: _TrustApplied,
    VERDICT: _Verdict,
}
_DECODERS = {kind: msgspec.msgpack.Decoder(shape) for kind, shape in _TYPES.items()}
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class SignedVote:
    """A vote of this node and the candidate it was for, so that exactly the same can be sent again."""

    candidate: Candidate
    vote: Vote


@dataclass(frozen=True, slots=True)
class SignedVerdict:
    """What this node said of one attestation in a registry (``spec/registry.md`` §5)."""

    evidence: bytes
    """SHA-256 of what was judged."""
    accepted: bool
    signature: bytes


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Two notes signed by one log that cannot both be true.

    With equal sizes they contradict each other directly (``root`` empty). With different sizes, ``root`` is what the
    bigger tree has at the smaller size, ``proof`` (RFC 9162 consistency) shows it, and the smaller note says otherwise.
    """

    origin: str
    at: dt.datetime
    first: bytes
    second: bytes
    root: bytes = b""
    proof: tuple[bytes, ...] = ()

    @property
    def id(self) -> str:
        """SHA-256 of both notes, hex."""
        return sha256_hex(self.first + b"\x00" + self.second)

    def to_json(self) -> dict[str, Any]:
        """As ``GET /v1/equivocations`` shows it."""
        return {
            "id": self.id,
            "origin": self.origin,
            "seen_at": time_encode(self.at),
            "notes": [self.first.decode(), self.second.decode()],
            "root": self.root.hex() or None,
            "proof": [item.hex() for item in self.proof],
        }


@dataclass(frozen=True, slots=True)
class Offence:
    """Two messages of one full node of which only one is allowed; ``kind`` is ``votes`` or ``finality``."""

    kind: str
    first: bytes
    second: bytes
    """Each message as canonical JSON, as ``core.rounds`` writes it."""


@dataclass
class OriginState:
    """Everything durable about one origin."""

    ledger: Ledger
    note: bytes = b""
    """The newest log checkpoint whose entries are all verified here."""
    seen_ms: int = 0
    """When that checkpoint was seen, unix milliseconds; entries after it appeared later."""
    cosigned_size: int = 0
    cosigned_root: bytes = b""
    cosigned_note: bytes = b""
    """The checkpoint note cosigned last: half of the evidence should another of its size turn up."""
    votes: dict[tuple[int, int, int], SignedVote] = field(default_factory=dict)
    """(epoch, number, attempt) to what was signed there."""
    spoken: int = 0
    """Newest round this node has spoken on, or has decided to be silent on for ever."""
    last_finality: FinalityMessage | None = None
    adopted: Settled = NOTHING_SETTLED
    """Newest final round whose verdicts are in the ledger."""
    equivocations: list[Equivocation] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        """The log has contradicted itself; nothing of it is believed any more."""
        return bool(self.equivocations)


class Journal:
    """The durable memory of one full node. Safe for many tasks of one event loop."""

    def __init__(self, origins: Iterable[str], committer: Committer, signer: Signer) -> None:
        self.origins = {origin: OriginState(Ledger(origin)) for origin in origins}
        self.trust_accepted: tuple[int, str] | None = None
        self.trust_applied = 0
        """The version that every opinion is based on; entries may still have to be checked against the accepted one."""
        self.offences: dict[tuple[bytes, bytes], Offence] = {}
        """Not yet punished on chain."""
        self._punished: set[tuple[bytes, bytes]] = set()
        self._verdicts: dict[tuple[int, str, int], SignedVerdict] = {}
        self._commit = committer
        self._signer = signer
        self._lock = asyncio.Lock()

    # Start

    def replay(self, records: Iterable[Record]) -> None:
        """Take in what earlier lives wrote, in order. Origins that are no longer followed are left alone."""
        for record in records:
            decoder = _DECODERS.get(record.kind)
            if decoder is None:
                raise ConflictError(
                    "journal.kind",
                    f"the journal holds a record of unknown kind {record.kind}",
                    hint="a newer version of this program wrote it; do not go back",
                )
            self._apply(decoder.decode(record.payload))

    def _apply(self, record: Any) -> None:
        if isinstance(record, _Trust):
            self.trust_accepted = (record.version, record.digest)
        elif isinstance(record, _TrustApplied):
            self.trust_applied = record.version
        elif isinstance(record, _Offence):
            self._apply_offence(record)
        elif isinstance(record, _Verdict):
            key = (record.chain_id, record.contract, record.attestation)
            self._verdicts[key] = SignedVerdict(record.evidence, record.accepted, record.signature)
        elif record.origin in self.origins:
            self._apply_to_origin(self.origins[record.origin], record)

    def _apply_to_origin(self, state: OriginState, record: Any) -> None:
        match record:
            case _Entries():
                for item in record.rows[max(0, state.ledger.size - record.begin) :]:
                    state.ledger.append(item)
            case _Vote():
                self._remember_vote(state, record)
            case _Finality():
                state.spoken = record.number
                state.last_finality = FinalityMessage(
                    record.origin, record.epoch, record.number, record.content, record.signature
                )
            case _Skipped():
                state.spoken = record.number
            case _Cosigned():
                state.cosigned_size, state.cosigned_root, state.cosigned_note = record.size, record.root, record.note
            case _Checkpoint():
                state.note, state.seen_ms = record.note, record.seen_ms
            case _Adopted():
                verdicts = [VerdictEntry(index, digest, code) for index, digest, code in record.differing]
                state.ledger.adopt(verdicts, record.size, record.contested)
                state.adopted = Settled(record.number, record.size, record.root, record.content)
            case _Revised():
                for index, code in record.codes:
                    state.ledger.revise(index, code)
            case _:
                at = dt.datetime.fromtimestamp(record.at_ms / 1000, dt.UTC)
                state.equivocations.append(
                    Equivocation(record.origin, at, record.first, record.second, record.root, tuple(record.proof))
                )

    def _apply_offence(self, record: _Offence) -> None:
        key = (record.first, record.second)
        if record.kind:
            self.offences[key] = Offence(record.kind, record.first, record.second)
        else:
            self.offences.pop(key, None)
            self._punished.add(key)

    def _remember_vote(self, state: OriginState, record: _Vote) -> None:
        candidate = Candidate(
            record.origin,
            record.epoch,
            record.number,
            record.attempt,
            record.previous,
            record.size,
            record.root,
            record.verdict_root,
            record.blob_id,
        )
        state.votes[record.epoch, record.number, record.attempt] = SignedVote(
            candidate, _vote(candidate, record.signature)
        )
        floor = record.number - VOTES_KEPT_ROUNDS
        for key in [key for key in state.votes if key[1] <= floor]:
            del state.votes[key]

    async def _write(self, kind: int, *records: msgspec.Struct) -> None:
        """Commit, then apply: memory never runs ahead of the disk."""
        await self._commit.commit_many([(kind, _encode(record)) for record in records])
        for record in records:
            self._apply(record)

    # Signing

    async def sign_vote(self, domain: ChainDomain, candidate: Candidate) -> Vote:
        """The vote for ``candidate``, recorded before it is returned.

        The same content again gives the same vote; another content in the same attempt raises ``round.already_signed``,
        and so does a round so old that its votes were forgotten.
        """
        async with self._lock:
            state = self.origins[candidate.origin]
            before = state.votes.get((candidate.epoch, candidate.number, candidate.attempt))
            if before is not None:
                rounds.check_never_twice(before.candidate.content, candidate.content)
                return before.vote
            newest = max((number for _, number, _ in state.votes), default=0)
            if candidate.number <= newest - VOTES_KEPT_ROUNDS:
                raise ConflictError("round.already_signed", "too old to know whether something was signed there")
            digest = rounds.vote_digest(
                domain, candidate.origin, candidate.epoch, candidate.number, candidate.attempt, candidate.content
            )
            signature = self._signer.sign(digest)
            await self._write(
                VOTE,
                _Vote(
                    candidate.origin,
                    candidate.epoch,
                    candidate.number,
                    candidate.attempt,
                    candidate.previous,
                    candidate.size,
                    candidate.root,
                    candidate.verdict_root,
                    candidate.blob_id,
                    signature,
                ),
            )
            return _vote(candidate, signature)

    async def sign_finality(self, domain: ChainDomain, final: Candidate) -> FinalityMessage | None:
        """The one finality message for a round, recorded before it is returned; None when the round had its chance."""
        async with self._lock:
            state = self.origins[final.origin]
            if final.number <= state.spoken:
                last = state.last_finality
                if last is not None and (last.number, last.epoch, last.content) == (
                    final.number,
                    final.epoch,
                    final.content,
                ):
                    return last
                return None
            digest = rounds.finality_digest(domain, final.origin, final.epoch, final.number, final.content)
            record = _Finality(final.origin, final.epoch, final.number, final.content, self._signer.sign(digest))
            await self._write(FINALITY, record)
            return state.last_finality

    def verdict(self, registry: ChainDomain, attestation: int) -> SignedVerdict | None:
        """What this node said of an attestation, if it did."""
        return self._verdicts.get((registry.chain_id, registry.contract, attestation))

    async def sign_verdict(
        self, registry: ChainDomain, attestation: int, evidence: bytes, *, accepted: bool
    ) -> SignedVerdict:
        """The one verdict on an attestation, recorded before it is returned.

        The same again gives the same signature; another one raises ``registry.already_signed``.
        """
        async with self._lock:
            before = self.verdict(registry, attestation)
            if before is not None:
                if (before.evidence, before.accepted) != (evidence, accepted):
                    raise ConflictError("registry.already_signed", "this node said something else of it")
                return before
            digest = verdict_digest(registry, attestation, evidence, accepted=accepted)
            signature = self._signer.sign(digest)
            about = (registry.chain_id, registry.contract, attestation)
            await self._write(VERDICT, _Verdict(*about, evidence, accepted, signature))
            return SignedVerdict(evidence, accepted, signature)

    async def stay_silent(self, origin: str, number: int) -> None:
        """Never speak on rounds up to ``number`` (this node was no member of their epoch)."""
        async with self._lock:
            if number > self.origins[origin].spoken:
                await self._write(SKIPPED, _Skipped(origin, number))

    async def record_cosigned(self, origin: str, size: int, root: bytes, note: bytes) -> None:
        """Remember the checkpoint that is about to be cosigned. The caller holds the origin's witness lock."""
        await self._write(COSIGNED, _Cosigned(origin, size, root, note))

    # Knowing

    async def record_entries(self, origin: str, begin: int, rows: Sequence[Row]) -> None:
        """Make opinions durable that the ledger already holds, from entry ``begin`` on.

        Here memory runs ahead of the disk, because an entry's check reads those before it. Losing an opinion loses no
        promise: it is formed again, and what was signed on its strength is remembered by itself.
        """
        await self._write(ENTRIES, _Entries(origin, begin, list(rows)))

    async def record_checkpoint(self, origin: str, note: bytes, seen_ms: int) -> None:
        """All entries under this checkpoint are verified."""
        await self._write(CHECKPOINT, _Checkpoint(origin, note, seen_ms))

    async def record_adopted(
        self, final: Candidate, verdicts: Sequence[VerdictEntry], contested: Sequence[int]
    ) -> None:
        """The verdicts of the next final round. Only what differs from the own opinion is written, and taken in as of
        then: an opinion may change while this becomes durable."""
        ledger = self.origins[final.origin].ledger
        record = _Adopted(
            final.origin,
            final.number,
            final.size,
            final.root,
            final.content,
            _differing(ledger, verdicts),
            sorted(set(contested)),
        )
        await self._commit.commit_many([(ADOPTED, _encode(record))])
        self._apply(msgspec.structs.replace(record, differing=_differing(ledger, verdicts)))

    async def record_revised(self, origin: str, codes: Sequence[tuple[int, str]]) -> None:
        """New own opinions after trust has changed."""
        await self._write(REVISED, _Revised(origin, list(codes)))

    async def record_equivocation(self, found: Equivocation) -> None:
        """Keep evidence against a log; the same pair is kept once."""
        async with self._lock:
            if any(found.id == known.id for known in self.origins[found.origin].equivocations):
                return
            at_ms = int(found.at.timestamp() * 1000)
            record = _Equivocation(found.origin, at_ms, found.first, found.second, found.root, list(found.proof))
            await self._write(EQUIVOCATION, record)

    async def record_offence(self, offence: Offence) -> None:
        """Keep evidence against a full node until it is on chain; the same pair is kept once."""
        async with self._lock:
            key = (offence.first, offence.second)
            if key not in self.offences and key not in self._punished:
                await self._write(OFFENCE, _Offence(offence.kind, *key))

    async def record_punished(self, offence: Offence) -> None:
        """The offence needs no more work."""
        await self._write(PUNISHED, _Offence("", offence.first, offence.second))

    async def record_trust(self, version: int, digest: str) -> None:
        """The trust version accepted now; it is never rolled back."""
        if self.trust_accepted != (version, digest):
            await self._write(TRUST, _Trust(version, digest))

    async def record_trust_applied(self, version: int) -> None:
        """Every opinion is now based on this trust version."""
        if self.trust_applied != version:
            await self._write(TRUST_APPLIED, _TrustApplied(version))


def _differing(ledger: Ledger, verdicts: Iterable[VerdictEntry]) -> list[tuple[int, bytes, str]]:
    """What a round says of entries otherwise than the own opinion, or of entries that were final before."""
    found = []
    for verdict in verdicts:
        mine = ledger.opinion(verdict.index)
        if verdict.code != mine.code or mine.late or verdict.index < ledger.final_size:
            found.append((verdict.index, verdict.statement_digest, verdict.code))
    return found


def _vote(candidate: Candidate, signature: bytes) -> Vote:
    return Vote(candidate.origin, candidate.epoch, candidate.number, candidate.attempt, candidate.content, signature)
