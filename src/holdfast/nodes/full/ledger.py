"""What a full node knows of one log: the tree, an opinion on every entry, and what final rounds said.

Owned by one task (the follower appends, the settler reads and adopts); nothing here does I/O. The same rows that are
appended here are what the journal keeps on disk, so a restart replays them and arrives at the same ledger.

It is also the :class:`~holdfast.verifier.checks.History` for checking: what counts there for an earlier statement is
the final verdict once there is one, else the own opinion, so that nodes that were outvoted do not go on differing.

Memory: about 110 bytes an entry (digest, run, time, codes, two positions), see ``bench/full_node.py``; a step of a
payment that is told once takes about 300 more, and so does
a computation.
"""

from __future__ import annotations

import hashlib
import uuid
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from holdfast.core.positions import PositionIndex
from holdfast.core.rounds import VerdictEntry
from holdfast.core.statements import CLOSING_EVENTS
from holdfast.nodes.full.decide import CANNOT_TELL, OK, Opinion
from holdfast.nodes.full.tree import VerifiedTree
from holdfast.verifier.checks import EntryCheck, KnownStatement

_NO_RUN = bytes(16)


class Row(NamedTuple):
    """One checked entry, as the journal keeps it."""

    leaf: bytes
    """RFC 9162 leaf hash, 32 bytes."""
    digest: bytes
    """Deduplication digest, 32 bytes."""
    code: str
    possible: tuple[str, ...]
    """See :class:`~holdfast.nodes.full.decide.Opinion`."""
    seen_ms: int
    """When this node first saw it under a checkpoint, unix milliseconds."""
    attester: str
    """Claimed attester, hex; empty when the entry is no statement."""
    run: str
    kind: str
    event: str
    nonce: str
    upstream: str
    settlement: str
    journal: str = ""
    """Of a ``journal`` statement (``statement.md`` §4.4): whose head it is. Absent from what older versions wrote."""
    seq: int = 0
    """Of a ``journal`` statement: the number of the event."""
    pays: str = ""
    """Of a ``payment`` statement: the step that it is about (``verifier.checks.step_of``)."""
    binds: str = ""
    """What a statement ties together: of a computation documents, of an admission times, of a route that nobody served
    (``KnownStatement.binds``)."""


def row(leaf: bytes, check: EntryCheck, possible: tuple[str, ...], seen_ms: int) -> Row:
    """The row of a checked entry; ``possible`` is not empty when the own verdict depends on a missed moment."""
    code = CANNOT_TELL if possible else check.code
    digest, statement, known = bytes.fromhex(check.digest), check.statement, check.remember(0)
    if statement is None or known is None:
        return Row(leaf, digest, code, possible, seen_ms, "", "", "", "", "", "", "")
    return Row(
        leaf,
        digest,
        code,
        possible,
        seen_ms,
        statement.attester,
        known.run,
        known.kind,
        known.event or "",
        known.nonce or "",
        known.upstream or "",
        known.settlement or "",
        known.journal or "",
        known.seq or 0,
        known.pays or "",
        known.binds or "",
    )


class _Heads:
    """Heads of one journal that were acceptable when they were noted: index and number of each, in log order. Sixteen
    bytes each, and only those that an admitted panel signed."""

    def __init__(self) -> None:
        self.indices = array("Q")
        self.numbers = array("Q")

    def note(self, index: int, number: int) -> None:
        place = bisect_left(self.indices, index)
        if place == len(self.indices) or self.indices[place] != index:
            self.indices.insert(place, index)
            self.numbers.insert(place, number)


class _Names:
    """Few different strings, many uses: each string once, a number for it."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._names)
            self._names.append(name)
        return number

    def name(self, number: int) -> str:
        return self._names[number]


class Ledger:
    """See the module. Implements :class:`~holdfast.nodes.full.decide.View` and ``verifier.checks.History``."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.tree = VerifiedTree()
        self._names = _Names()
        self._digests = bytearray()
        self._runs = bytearray()
        self._seen_ms = array("Q")
        self._codes = array("I")
        self._attesters = array("I")
        self._facts = array("I")  # kind, event, upstream and settlement as one name
        self._nonces: dict[int, str] = {}
        self._possible: dict[int, tuple[str, ...]] = {}
        self._by_digest = PositionIndex(self._digest_at)
        self._closings = PositionIndex(self._run_key_at)
        self._heads: dict[tuple[str, str], _Heads] = {}
        self._unnoted: dict[int, tuple[str, int]] = {}
        """Heads that do not stand as acceptable (yet): a final round or a new trust may still say so."""
        self._pays: dict[int, str] = {}
        self._binds: dict[int, str] = {}
        self._proofs: list[int] = []
        """Where the log holds ``proved`` statements."""
        self._payments: dict[tuple[str, int], int] = {}
        """By step and number of its attester: the first payment statement about it that stands as acceptable."""
        self._final_codes: dict[int, str] = {}
        self._to_add: dict[int, str] = {}
        self.final_size = 0
        """Entries whose final verdicts are known here."""

    # What the log holds

    @property
    def size(self) -> int:
        """Entries appended so far."""
        return self.tree.size

    def root_at(self, size: int) -> bytes | None:
        """See :meth:`VerifiedTree.root_at`."""
        return self.tree.root_at(size)

    def append(self, item: Row) -> None:
        """Add the next entry."""
        index = self.size
        digest_before = self._by_digest.find(item.digest)
        self.tree.append(item.leaf)
        self._digests += item.digest
        self._runs += uuid.UUID(item.run).bytes if item.run else _NO_RUN
        self._seen_ms.append(item.seen_ms)
        self._codes.append(self._names.number(item.code))
        self._attesters.append(self._names.number(item.attester))
        facts = f"{item.kind} {item.event} {item.upstream} {item.settlement}"
        self._facts.append(self._names.number(facts))
        if item.nonce:
            self._nonces[index] = item.nonce
        if item.possible:
            self._possible[index] = item.possible
        # A digest occurs twice only in a log that does not deduplicate. The first acceptable one counts.
        if digest_before is None or self._standing(digest_before).startswith("refuted:"):
            self._by_digest.put(item.digest, index)
        if item.journal:
            self._unnoted[index] = (item.journal, item.seq)
        if item.pays:
            self._pays[index] = item.pays
        if item.binds:
            self._binds[index] = item.binds
        if item.event == "proved":
            self._proofs.append(index)
        self._note(index)

    # What was found out

    def opinion(self, index: int) -> Opinion:
        """The own opinion on an entry."""
        return Opinion(self._digest_at(index), self._own(index), self._possible.get(index, ()))

    def final_code(self, index: int) -> str:
        """The final verdict; the own one where none is known."""
        return self._final_codes.get(index, self._own(index))

    def superseding(self) -> Mapping[int, str]:
        """What this node would add on entries of final rounds."""
        return self._to_add

    def unproved(self) -> list[int]:
        """Proofs of which the own opinion is ``cannot_tell`` because nobody here has checked them."""
        return [index for index in self._proofs if self._own(index) == CANNOT_TELL and index not in self._possible]

    def late_within(self, begin: int, end: int) -> bool:
        """Whether an opinion on an entry from ``begin`` up to ``end`` depends on a moment this node missed."""
        return any(begin <= index < end for index in self._possible)

    def seen_ms(self, index: int) -> int:
        """When the entry was first seen under a checkpoint, unix milliseconds."""
        return self._seen_ms[index]

    def attester(self, index: int) -> str:
        """Claimed attester of an entry, hex; empty for none."""
        return self._names.name(self._attesters[index])

    def indices_by(self, attesters: set[str], since: int = 0) -> Iterator[int]:
        """Entries whose claimed attester is one of these."""
        wanted = {number for number, name in enumerate(self._names._names) if name in attesters}  # noqa: SLF001
        return (index for index in range(since, self.size) if self._attesters[index] in wanted)

    def revise(self, index: int, code: str) -> None:
        """A new own opinion on an entry (trust has changed). If its round is final, this node would add it there."""
        final = self.final_code(index)
        self._codes[index] = self._names.number(code)
        self._possible.pop(index, None)
        if index < self.final_size:
            if final == code:
                self._final_codes.pop(index, None)
                self._to_add.pop(index, None)
            else:
                self._final_codes[index] = final
                self._to_add[index] = code
        self._note(index)

    # What rounds said

    def adopt(self, verdicts: Iterable[VerdictEntry], size: int, contested: Sequence[int] = ()) -> None:
        """Take in the verdicts of the next final round, which covers the log up to ``size``.

        Late opinions become what the round says. Where it says ``cannot_tell`` and this node can tell, it would add
        that later, unless the entry was ``contested`` in the round: then saying it again would only cost a round.
        """
        for verdict in verdicts:
            index, code = verdict.index, verdict.code
            self._to_add.pop(index, None)
            if self._possible.pop(index, None) is not None:
                self._codes[index] = self._names.number(code)
            own = self._own(index)
            if own == code:
                self._final_codes.pop(index, None)
            else:
                self._final_codes[index] = code
                if code == CANNOT_TELL and index not in contested:
                    self._to_add[index] = own
            self._note(index)
        self.final_size = max(self.final_size, size)
        self.tree.forget_before(self.final_size)

    def give_up_adding(self, indices: Iterable[int]) -> None:
        """Stop proposing superseding verdicts that others did not share."""
        for index in indices:
            self._to_add.pop(index, None)

    # History for checks

    def known(self, digest: str) -> KnownStatement | None:
        """The earlier statement with this digest (hex)."""
        index = self._by_digest.find(bytes.fromhex(digest))
        if index is None:
            return None
        kind, event, upstream, settlement = self._names.name(self._facts[index]).split(" ")
        if not kind:
            return None
        return KnownStatement(
            index=index,
            run=str(uuid.UUID(bytes=bytes(self._runs[index * 16 : index * 16 + 16]))),
            kind=kind,
            code=self._standing(index),
            event=event or None,
            nonce=self._nonces.get(index),
            upstream=upstream or None,
            settlement=settlement or None,
            attester=self.attester(index),
            pays=self._pays.get(index),
            binds=self._binds.get(index),
        )

    def closing(self, run: str, attester: str) -> str | None:
        """Digest (hex) of an attester's first closing execution of a run that stands as ``ok``."""
        index = self._closings.find(_run_key(uuid.UUID(run).bytes, attester))
        return None if index is None or self._standing(index) != OK else self._digest_at(index).hex()

    def head(self, attester: str, journal: str, before: int) -> int | None:
        """The number in an attester's newest head of a journal, among entries before this index that stand as ``ok``.
        Those that do rise, so the last of them is the highest."""
        heads = self._heads.get((attester, journal))
        if heads is None:
            return None
        for place in range(bisect_left(heads.indices, before) - 1, -1, -1):
            if self._standing(heads.indices[place]) == OK:
                return heads.numbers[place]
        return None

    def paid(self, step: str, attester: str) -> str | None:
        """Digest (hex) of an attester's first payment statement about a step that stands as ``ok``."""
        index = self._payments.get((step, self._names.number(attester)))
        return None if index is None or self._standing(index) != OK else self._digest_at(index).hex()

    def index_of(self, digest: bytes) -> int | None:
        """Where the log holds this digest (32 bytes)."""
        return self._by_digest.find(digest)

    def _note(self, index: int) -> None:
        """Remember of an acceptable entry what later ones are judged by."""
        self._note_closing(index)
        if index in self._unnoted and self._standing(index) == OK:
            journal, number = self._unnoted.pop(index)
            self._heads.setdefault((self.attester(index), journal), _Heads()).note(index, number)

        if index in self._pays and self._standing(index) == OK:
            step = (self._pays[index], self._attesters[index])
            first = self._payments.get(step)
            if first is None or index < first or self._standing(first) != OK:
                self._payments[step] = index

    def _note_closing(self, index: int) -> None:
        kind, event, *_ = self._names.name(self._facts[index]).split(" ")
        if kind != "execution" or event not in CLOSING_EVENTS or self._standing(index) != OK:
            return
        key = self._run_key_at(index)
        first = self._closings.find(key)
        if first is None or index < first or self._standing(first) != OK:
            self._closings.put(key, index)

    def _own(self, index: int) -> str:
        return self._names.name(self._codes[index])

    def _standing(self, index: int) -> str:
        return self._final_codes.get(index, self._own(index))

    def _digest_at(self, index: int) -> bytes:
        return bytes(self._digests[index * 32 : index * 32 + 32])

    def _run_key_at(self, index: int) -> bytes:
        return _run_key(bytes(self._runs[index * 16 : index * 16 + 16]), self.attester(index))


def _run_key(run: bytes, attester: str) -> bytes:
    """A run as one attester tells of it. Run ids of version 7 begin with the time; hashed, they spread."""
    return hashlib.sha256(run + attester.encode()).digest()
