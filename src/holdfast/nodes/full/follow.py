"""Following one log: from its newest checkpoint to an opinion on every entry.

A step asks the log for its checkpoint and works towards it, a bounded chunk at a time:

1. The note parses and the log's key, as trust names it, has signed it.
2. It does not contradict what the log signed before. If it does, both notes are kept as evidence and the log is not
   followed any further.
3. The entries of the next chunk, hashed onto the tree built here, give the checkpoint's root (or, while a backlog is
   worked off, a tree that the checkpoint extends by a consistency proof). Entries that do not are not looked at.
4. Every entry is checked (``verifier.checks``) and the opinion becomes durable.

A log that signs a checkpoint and does not serve what is under it leaves this node behind: it says so in its status and
votes for nothing it has not seen.

**When was an entry first seen?** Between two looks at the log lies the time at which an entry appeared. A node that
looks every second knows it to the second. A node that was down for an hour does not: what then depends on the moment
(was the claim backdated, had the key been revoked?) is called ``cannot_tell``, and the verdicts for the earliest and
the latest moment are remembered as possible ones.

Not covered: cosigning (``witness.py``) and rounds (``settle.py``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast.core import merkle, notes
from holdfast.core.notes import VerifiedCheckpoint, VerifierKey
from holdfast.core.trust import Admission, Trust
from holdfast.errors import HoldfastError, RefusedError, UndecidedError
from holdfast.nodes.full.journal import Equivocation, Journal
from holdfast.nodes.full.ledger import Row, row
from holdfast.ports.clock import Clock
from holdfast.verifier.checks import CANNOT_TELL, OK, CheckPolicy, EntryCheck, History, check_entry

CHUNK_ENTRIES = 512
"""Entries fetched, checked and committed together."""
SLICE_ENTRIES = 16
"""Entries checked before other tasks of the loop get a turn: a few milliseconds."""
PROOF_CODES = frozenset({OK, "refuted:proof"})
"""What can be found of a ``proved`` statement that is acceptable itself (``spec/inference.md`` §5(5))."""
_TIMELY_REASONS = frozenset({"refuted:backdated", "refuted:key-expired", "refuted:key-revoked"})
"""Refusals that depend on when the entry was first seen (``spec/statement.md`` §7, steps 3 and 6)."""

TrustSource = Callable[[], Trust]
"""The trust that is accepted now; raises ``trust.missing`` (undecided) without one."""


class LogSource(Protocol):
    """What a follower reads of a log (``client.log.LogReader``). Nothing it returns is believed."""

    async def checkpoint(self) -> bytes:
        """The newest checkpoint note."""
        ...

    async def entries(self, begin: int, end: int, size: int) -> list[bytes]:
        """Entries ``begin`` up to ``end`` of the tree with ``size`` entries."""
        ...

    async def hashes(self, ranges: Sequence[tuple[int, int]], size: int) -> list[bytes]:
        """Subtree hashes out of the tiles of the tree with ``size`` entries (ranges as ``core.merkle`` plans them)."""
        ...


@dataclass(frozen=True, slots=True)
class Sighting:
    """A checkpoint of ``size`` was first seen at ``at_ms`` (unix milliseconds)."""

    size: int
    at_ms: int


def log_key(trust: Trust, origin: str, at: dt.datetime) -> VerifierKey:
    """The key that signs the checkpoints of ``origin``; raises ``log.untrusted`` when trust names none for now."""
    entry = trust.log(origin)
    if entry is None or not entry.valid_from <= at < entry.valid_until:
        raise UndecidedError("log.untrusted", f"trust admits no log {origin!r} at this time")
    admission = trust.admission(entry.node)
    key = admission.key_document.key_for("log") if admission is not None else None
    if admission is None or key is None or admission.refusal(at, at) is not None:
        raise UndecidedError("log.untrusted", f"trust admits no log key for {origin!r} at this time")
    return VerifierKey(origin, notes.ED25519, key.public)


def examine(
    entry: bytes, *, index: int, earliest_ms: int, latest_ms: int, trust: Trust, policy: CheckPolicy, history: History
) -> tuple[EntryCheck, tuple[str, ...]]:
    """Check one entry that appeared between two moments (unix milliseconds).

    Returns the check for the latest moment, and, if an earlier moment gives another verdict, both verdicts.
    """

    def check(at: dt.datetime) -> EntryCheck:
        return check_entry(entry, index=index, seen_at=at, trust=trust, policy=policy, history=history)

    latest = _moment(latest_ms)
    found = check(latest)
    if found.code not in _TIMELY_REASONS or found.statement is None:
        return found, ()
    earliest = max(_moment(earliest_ms), min(found.statement.claimed_at, latest))
    before = check(earliest)
    return found, () if before.code == found.code else (before.code, found.code)


def _moment(at_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC)


class Follower:
    """Follows one log. Its :meth:`step` is called by one task."""

    def __init__(
        self,
        origin: str,
        *,
        log: LogSource,
        journal: Journal,
        clock: Clock,
        trust: TrustSource,
        policy: CheckPolicy | None = None,
    ) -> None:
        self.origin = origin
        self.problem = ""
        """Why this node is behind, for people; empty when it is not."""
        self.seen: VerifiedCheckpoint | None = None
        """The newest checkpoint that the log has signed, its entries verified or not."""
        self._log = log
        self._journal = journal
        self._state = journal.origins[origin]
        self._clock = clock
        self._trust = trust
        self._policy = policy or CheckPolicy()
        self._sightings: list[Sighting] = []
        self._not_yet_ms = self._state.seen_ms
        """At this moment the log had no entry beyond the verified ones."""
        self._forming = asyncio.Lock()
        """Held while opinions are formed under one trust: what a new trust touches is all there before it asks."""

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    async def step(self) -> bool:
        """One look at the log and at most one chunk of entries; whether there is more to do at once.

        Problems are kept in :attr:`problem`; a failing disk is raised.
        """
        if self._state.stopped:
            self.problem = "this log signed two histories; it is not followed any more"
            return False
        try:
            raw = await self._log.checkpoint()
            checkpoint = self._verify(raw)
            await self.notice(checkpoint)
            return await self._advance(checkpoint)
        except HoldfastError as error:
            if error.code.startswith(("wal.", "storage.")):
                raise
            self.problem = f"{error.code}: {error.message}"
            return False

    def _verify(self, raw: bytes) -> VerifiedCheckpoint:
        key = log_key(self._trust(), self.origin, self._clock.now())
        return notes.verify_checkpoint(raw, self.origin, [key])

    async def notice(self, checkpoint: VerifiedCheckpoint) -> None:
        """A checkpoint signed by the log, from wherever. Keeps evidence if it contradicts what is known."""
        now_ms = self._now_ms()
        size = checkpoint.size
        known_root = self._state.ledger.root_at(size)
        if known_root is not None and known_root != checkpoint.root:
            await self._accuse(checkpoint, known_root)
            return
        if self.seen is not None and self.seen.size == size and self.seen.root != checkpoint.root:
            await self._record(Equivocation(self.origin, self._clock.now(), self.seen.raw, checkpoint.raw))
            return
        if size == self._state.ledger.size:
            self._not_yet_ms = max(self._not_yet_ms, now_ms)
        elif size > self._state.ledger.size and (not self._sightings or size > self._sightings[-1].size):
            self._sightings.append(Sighting(size, now_ms))
        if self.seen is None or size >= self.seen.size:
            self.seen = checkpoint

    async def _accuse(self, checkpoint: VerifiedCheckpoint, known_root: bytes) -> None:
        """The log signed ``checkpoint``; the verified entries say otherwise. Find the pair of notes that proves it."""
        ledger, own_note = self._state.ledger, self._state.note
        now = self._clock.now()
        if not own_note:
            raise RefusedError("log.contradiction", "the checkpoint does not match the entries the log served")
        own = notes.parse_checkpoint_text(notes.parse_note(own_note).text)
        if own.size == checkpoint.size:
            await self._record(Equivocation(self.origin, now, own_note, checkpoint.raw))
        elif checkpoint.size < own.size:
            proof = ledger.tree.consistency_proof(checkpoint.size, own.size)
            if proof is not None:
                await self._record(Equivocation(self.origin, now, checkpoint.raw, own_note, known_root, tuple(proof)))
        elif checkpoint.size <= ledger.size:
            raise RefusedError("log.contradiction", "the checkpoint does not match the entries the log served")

    async def _record(self, found: Equivocation) -> None:
        await self._journal.record_equivocation(found)
        self.problem = "this log signed two histories; it is not followed any more"

    async def _advance(self, target: VerifiedCheckpoint) -> bool:
        """Fetch, verify and check the next chunk under the log's checkpoint.

        A newer one, which a peer or the log itself has shown, is the target only when the log's answer has nothing new:
        what it serves is taken first.
        """
        ledger = self._state.ledger
        if self._state.stopped:
            return False
        if target.size <= ledger.size:
            self.problem = ""
            await self._note_progress(target)
            if self.seen is None or self.seen.size <= ledger.size:
                return False
            target = self.seen
        begin, end = ledger.size, min(target.size, ledger.size + CHUNK_ENTRIES)
        entries = await self._log.entries(begin, end, target.size)
        if len(entries) != end - begin:
            raise RefusedError("log.withheld", f"the log served {len(entries)} of entries {begin} to {end}")
        leaves = [merkle.leaf_hash(entry) for entry in entries]
        grown = ledger.tree.extended_root(leaves)
        if not await self._fits(grown, end, target):
            await self._look_for_fork(target)
            return False
        await self._check(entries, leaves)
        self.problem = ""
        await self._note_progress(target)
        return ledger.size < target.size

    async def _fits(self, grown: bytes, size: int, target: VerifiedCheckpoint) -> bool:
        """Whether the tree of ``size`` with root ``grown`` is the target or one that the target extends."""
        if size == target.size:
            return grown == target.root
        proof = await self._log.hashes(merkle.consistency_ranges(size, target.size), target.size)
        try:
            merkle.verify_consistency(size, grown, target.size, target.root, proof)
        except RefusedError:
            return False
        return True

    async def _look_for_fork(self, target: VerifiedCheckpoint) -> None:
        """The entries served are not those of the checkpoint. Is only the serving wrong, or did the log fork?

        It forked if its own tiles, which do lead to the new root, hold another beginning than an older note says.
        """
        if self._state.note:
            old = notes.parse_checkpoint_text(notes.parse_note(self._state.note).text)
            if 0 < old.size <= target.size:
                ranges = merkle.consistency_ranges(old.size, target.size)
                proof = await self._log.hashes(ranges, target.size)
                nodes = [(index << level, (index + 1) << level) for level, index in merkle.range_nodes(0, old.size)]
                beginning = merkle.fold(await self._log.hashes(nodes, target.size))
                try:
                    merkle.verify_consistency(old.size, beginning, target.size, target.root, proof)
                except RefusedError:
                    beginning = old.root
                if beginning != old.root:
                    now = self._clock.now()
                    found = Equivocation(self.origin, now, self._state.note, target.raw, beginning, tuple(proof))
                    await self._record(found)
                    return
        self.seen = None  # look again from the log's next answer
        raise RefusedError("log.withheld", f"the log does not serve the entries under its checkpoint of {target.size}")

    async def _check(self, entries: Sequence[bytes], leaves: Sequence[bytes]) -> None:
        """Form an opinion on each entry and make all of them durable."""
        async with self._forming:
            await self._form(entries, leaves, self._trust())

    async def _form(self, entries: Sequence[bytes], leaves: Sequence[bytes], trust: Trust) -> None:
        ledger = self._state.ledger
        rows: list[Row] = []
        begin = ledger.size
        for place, (entry, leaf) in enumerate(zip(entries, leaves, strict=True)):
            index = begin + place
            earliest_ms, latest_ms = self._interval(index)
            check, possible = examine(
                entry,
                index=index,
                earliest_ms=earliest_ms,
                latest_ms=latest_ms,
                trust=trust,
                policy=self._policy,
                history=ledger,
            )
            item = row(leaf, check, possible, latest_ms)
            ledger.append(item)
            rows.append(item)
            if place % SLICE_ENTRIES == SLICE_ENTRIES - 1:
                await asyncio.sleep(0)
        await self._journal.record_entries(self.origin, begin, rows)

    def _interval(self, index: int) -> tuple[int, int]:
        """Between which moments entry ``index`` appeared."""
        earliest = self._not_yet_ms
        for sighting in self._sightings:
            if sighting.size > index:
                return min(earliest, sighting.at_ms), sighting.at_ms
            earliest = sighting.at_ms
        return earliest, self._now_ms()

    async def _note_progress(self, target: VerifiedCheckpoint) -> None:
        """Remember the newest checkpoint that is wholly verified."""
        ledger = self._state.ledger
        done = [sighting for sighting in self._sightings if sighting.size <= ledger.size]
        if done:
            self._not_yet_ms = max(self._not_yet_ms, done[-1].at_ms)
            self._sightings = self._sightings[len(done) :]
        if target.size != ledger.size:
            return
        known = notes.parse_checkpoint_text(notes.parse_note(self._state.note).text) if self._state.note else None
        if known is None or known.size < target.size:
            await self._journal.record_checkpoint(self.origin, target.raw, self._not_yet_ms)

    async def recheck(self, before: Trust, after: Trust) -> int:
        """Form new opinions where the change of trust may matter; returns how many changed.

        Looks only at entries whose attester's admission changed, and for a new revocation only at those first seen
        since the key is suspect. Entries are read from the log again and must still be the same.
        """
        changed = _changed_admissions(before, after)
        if not changed or self._state.stopped:
            return 0
        async with self._forming:
            return await self._form_again(changed, after)

    async def _form_again(self, changed: Mapping[str, dt.datetime | None], after: Trust) -> int:
        ledger = self._state.ledger
        revised: list[tuple[int, str]] = []
        for index in list(ledger.indices_by(set(changed))):
            since = changed[ledger.attester(index)]
            seen_ms = ledger.seen_ms(index)
            if since is not None and seen_ms < since.timestamp() * 1000:
                continue
            entry = (await self._log.entries(index, index + 1, ledger.size))[0]
            mine = ledger.opinion(index)
            check = check_entry(
                entry, index=index, seen_at=_moment(seen_ms), trust=after, policy=self._policy, history=ledger
            )
            if check.code == CANNOT_TELL and mine.code in PROOF_CODES:
                continue  # trust says nothing of a proof: what was found of it stays
            if check.digest == mine.digest.hex() and not mine.late and check.code != mine.code:
                ledger.revise(index, check.code)
                revised.append((index, check.code))
            await asyncio.sleep(0)
        if revised:
            await self._journal.record_revised(self.origin, revised)
        return len(revised)


def _changed_admissions(before: Trust, after: Trust) -> dict[str, dt.datetime | None]:
    """Attesters whose admission differs, with the moment since which that matters (None: always)."""
    changed: dict[str, dt.datetime | None] = {}
    for digest in _attesters(before.current.nodes) | _attesters(after.current.nodes):
        old, new = before.admission(digest), after.admission(digest)
        if old == new:
            continue
        only_revoked = (
            old is not None
            and new is not None
            and new.revoked is not None
            and old.revoked is None
            and (old.valid_from, old.valid_until) == (new.valid_from, new.valid_until)
        )
        changed[digest] = new.revoked.suspect_since if only_revoked and new and new.revoked else None
    return changed


def _attesters(admissions: Iterable[Admission]) -> set[str]:
    return {admission.key_document.digest for admission in admissions}
