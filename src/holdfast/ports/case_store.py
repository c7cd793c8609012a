"""Where cases live: an append-only journal, rows that are derived from it, and the evidence that it cites.

Every change happens inside :meth:`CaseStore.write`: one transaction, one writer at a time, all of it or nothing. What
has been committed survives a crash of the process and of the machine. Rows, the evidence index and the outbox can be
derived from the journal again (``spec/case.md`` §6), and so can facts, from the evidence that it cites; the journal,
the blobs, the policies and the trust documents can not.

Methods block; a panel calls them from one worker thread.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Head:
    """Where the journal ends: the number, digest (hex) and time of its last event; 0, zeros and "" when empty."""

    seq: int
    digest: str
    at: str


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as it lies in the journal. ``case`` is None for what is about a queue or about many cases."""

    seq: int
    digest: str
    case: str | None
    kind: str
    at: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class CaseRow:
    """What a list shows of a case. Times are RFC 3339 (``conventions.md`` §2(3)), digests hex."""

    case: str
    opened_seq: int
    """Number of its first event: the order of lists, and the cursor of their pages."""
    last_seq: int
    queue: str
    run: str
    subject: str | None
    requester: str | None
    opened_at: str
    changed_at: str
    stands: str
    """The gate's word (``gate.md`` §4)."""
    reasons: str
    """JSON text: a list of ``{"code","lane","says"}``."""
    policy: str
    vector: str | None
    """Digest of the lane vector last appraised."""
    trust: str | None
    bundle: str | None
    """Digest of the newest evidence; an event cites it once it changed the vector."""
    clear_until: str | None
    released_early: int
    relied: int
    claimed_by: str | None
    claimed_until: str | None
    consumer: str | None
    handed_until: str | None
    handed_at: str | None
    """When a consumer acknowledged it."""
    flags: int
    """How many cases it relied on are no longer let through (``case.md`` §8(4))."""
    due_at: str | None
    """When time alone can change what the gate says."""


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which rows, in which order. ``after`` is the ``opened_seq`` of the last row of the page before. What is left out
    asks for nothing; everything that is given has to hold."""

    run: str | None = None
    queue: str | None = None
    stands: tuple[str, ...] = ()
    claimed_by: str | None = None
    claimed_at: str | None = None
    """Only claims that last beyond this time."""
    requester: str | None = None
    lane: str | None = None
    """With ``lane_state``: cases one lane of which was last appraised as that."""
    lane_state: str | None = None
    released_early: bool = False
    flagged: bool = False
    stale: bool = False
    """Only cases whose label came to mean another artifact while they were open."""
    subject_prefix: str | None = None
    """Only subjects that begin with exactly these characters."""
    opened_since: str | None = None
    after: int | None = None
    limit: int = 50
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What the evidence of a case names (``case.md`` §6), as far as it is disclosed there; derived like rows."""

    case: str
    queue: str
    opened_seq: int
    opened_at: str
    run_at: str | None = None
    """When the closing statement claims to be made."""
    label: str | None = None
    """The model name that was asked for."""
    artifact: str | None = None
    """Digest (hex) of what answered, as it was declared (``case.md`` §6(2))."""
    upstream: str | None = None
    served: str | None = None
    """The model name that the answer carries."""
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class CaseMarks:
    """What happened to a case, as far as statistics ask. Each is 0 or 1 but ``recalls``, which counts."""

    cleared: int = 0
    """Whether it ever reached CLEAR."""
    released_early: int = 0
    rejected: int = 0
    rejected_late: int = 0
    """Whether it was rejected after it had been let through."""
    recalls: int = 0
    stale: int = 0
    """Whether its label came to mean another artifact while it was open."""


@dataclass(frozen=True, slots=True)
class LaneMark:
    """One lane of a case as last appraised. ``span_ms``: from the opening to the first appraisal that had it proven,
    to two significant digits; None before."""

    lane: str
    state: str
    span_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LabelHead:
    """What a label newly means: the artifact of its newest run, when that was, which case showed it (None when it was
    reported), and the number of the event by which it came to mean that (None for its first)."""

    label: str
    artifact: str
    at: str
    case: str | None
    moved_seq: int | None


@dataclass(frozen=True, slots=True)
class LabelMove:
    """A label that came to mean another artifact, by the event ``seq``."""

    seq: int
    label: str
    at: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class SeriesTotal:
    """Counts over the cases of one queue, one label and one artifact; both are None where they were not disclosed."""

    queue: str
    label: str | None
    artifact: str | None
    upstream: str | None
    served: str | None
    first_at: str
    last_at: str
    cases: int
    cleared: int
    released_early: int
    rejected: int
    rejected_late: int
    recalled: int
    stale: int


class LaneSpans(NamedTuple):
    """How many cases of a queue, label and artifact had a lane first proven after that long, by lane and span. There
    are tens of thousands of them."""

    queue: str
    label: str | None
    artifact: str | None
    lane: str
    span_ms: int
    cases: int


@dataclass(frozen=True, slots=True)
class LedAct:
    """The tool of an act, and what it does outside."""

    tool: str
    effect: str


@dataclass(frozen=True, slots=True)
class LedChild:
    """A run below agent runs: where it closed among theirs, and the evidence (digests, hex) that its lanes name."""

    run: str
    under: tuple[str, ...]
    place: int
    evidence: tuple[str, ...]


class CaseReader(Protocol):
    """A consistent view."""

    def head(self) -> Head:
        """Where the journal ends."""
        ...

    def row(self, case: str) -> CaseRow | None:
        """One case by its id."""
        ...

    def row_of_run(self, run: str, queue: str) -> CaseRow | None:
        """The case of a run in a queue."""
        ...

    def rows(self, which: CaseFilter) -> list[CaseRow]:
        """One page."""
        ...

    def rows_of(self, cases: Collection[str]) -> list[CaseRow]:
        """Many cases by their ids, in no order; unknown ids are left out."""
        ...

    def rows_of_runs(self, runs: Collection[str]) -> list[CaseRow]:
        """The cases of many runs, in no order."""
        ...

    def due(self, at: str, trust: str | None, limit: int) -> list[CaseRow]:
        """Cases whose ``due_at`` has come, and cases that are let through and were appraised under another trust; then
        held ones of another trust, then recalled ones."""
        ...

    def next_of(self, queue: str, at: str) -> CaseRow | None:
        """The oldest case of a queue that is CLEAR or PROVISIONAL, not handed over, and neither under a lease nor
        claimed at ``at``."""
        ...

    def open_of_queue(self, queue: str, stands: Collection[str], limit: int, other_than: str | None) -> list[CaseRow]:
        """Cases of a queue in one of these states that are not handed over, oldest first; ``other_than`` leaves out
        those decided under that policy."""
        ...

    def counts(self) -> dict[tuple[str, str], int]:
        """Cases by (queue, stands)."""
        ...

    def events_of(self, case: str) -> list[StoredEvent]:
        """The journal of one case, in order."""
        ...

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        """The whole journal, in order, beyond a number."""
        ...

    def blob(self, case: str, digest: str) -> bytes | None:
        """A bundle or lane vector of a case, by digest."""
        ...

    def shown(self, cases: Collection[str]) -> dict[str, str]:
        """What is shown of the lanes of these cases (JSON text), as last appraised."""
        ...

    def policy(self, digest: str) -> bytes | None:
        """A queue policy's canonical document."""
        ...

    def queue(self, name: str) -> str | None:
        """Digest of the policy of a queue that has one."""
        ...

    def queues(self) -> dict[str, str]:
        """Every queue that has a policy, and its digest."""
        ...

    def relying(self, evidence: Collection[str]) -> list[str]:
        """Cases that were let through since their last reopening, are not RECALLED, and whose lanes have named any of
        this evidence since, in the order in which they were opened; and those not RECALLED that came after a run whose
        lanes named it (:meth:`CaseWriter.lead`)."""
        ...

    def reliances(self) -> dict[str, bytes]:
        """By name, the document of everything in trust that a case rested on when it was let through."""
        ...

    def resting(self, name: str, since: str, before: str | None = None) -> list[str]:
        """Cases that were let through since their last reopening, are not RECALLED, and rest on ``name`` until
        ``since`` or later, and earlier than ``before`` where that is given."""
        ...

    def dependants(self, case: str) -> list[tuple[str, str]]:
        """(``case`` or ``reference``, target) of what relied on a case, in the order in which it was said."""
        ...

    def bases(self, case: str) -> list[str]:
        """The cases that a case relied on."""
        ...

    def reach(self, cases: Collection[str]) -> set[str]:
        """Every case that relied on one of these, or came after their runs, at any remove; cycles end."""
        ...

    def references(self, cases: Collection[str]) -> list[tuple[str, str]]:
        """(case, outside reference) of what relied on these from outside."""
        ...

    def acts_of(self, cases: Collection[str]) -> dict[str, LedAct]:
        """Those of these cases that are acts of an agent run."""
        ...

    def led_place(self, agent: str) -> int:
        """The greatest place of a run below an agent run that is known; 0 for none."""
        ...

    def led_by_recalled(self, case: str) -> str | None:
        """A run that the case came after and whose own case stands RECALLED, or whose evidence was recalled."""
        ...

    def trust(self, digest: str) -> bytes | None:
        """The payload of a trust document that an appraisal was made under."""
        ...

    def facts(self, cases: Collection[str]) -> dict[str, CaseFacts]:
        """What the evidence of these cases names; unknown ids are left out."""
        ...

    def marks(self, cases: Collection[str]) -> dict[str, CaseMarks]:
        """What happened to these cases; those nobody looked at are left out."""
        ...

    def stale(self, cases: Collection[str]) -> set[str]:
        """Those of these cases whose label came to mean another artifact while they were open."""
        ...

    def lane_marks(self, case: str) -> dict[str, LaneMark]:
        """The lanes of a case by name."""
        ...

    def named(self, case: str) -> set[tuple[str, str]]:
        """(``source`` or ``row``, digest) of what the lanes ``inputs`` and ``memory`` of a case rest on."""
        ...

    def naming(self, kind: str, value: str, limit: int, other_than: str | None = None) -> list[CaseRow]:
        """Cases that name the same: kind ``artifact``, ``label``, ``source`` or ``row``; the newest first. Of a label,
        ``other_than`` leaves out those with this artifact and those without one."""
        ...

    def standing_on(self, label: str, artifact: str) -> list[CaseRow]:
        """Open cases (let through or held, and not handed over) with this label and artifact, oldest first."""
        ...

    def label(self, label: str) -> LabelHead | None:
        """What a label means by now."""
        ...

    def label_moves(self, label: str | None = None) -> list[LabelMove]:
        """Every move of a label, or of all, in order."""
        ...

    def totals(self, queue: str | None) -> list[SeriesTotal]:
        """Counts over all cases, or those of a queue."""
        ...

    def spans(self, queue: str | None) -> list[LaneSpans]:
        """Times to proof over all cases, or those of a queue, ascending within their lane."""
        ...

    def waiting(self, limit: int, after: int = 0) -> list[StoredEvent]:
        """Events after a number with a decision document that no statement has been logged for yet, oldest first."""
        ...


class CaseWriter(CaseReader, Protocol):
    """One transaction."""

    def append(self, events: Sequence[StoredEvent]) -> None:
        """Put events at the journal's end; raises ``case_store.head`` when they do not continue it."""
        ...

    def put_rows(self, rows: Sequence[CaseRow]) -> None:
        """Insert new cases."""
        ...

    def update_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Set members of rows; each names its ``case``, and all name the same members."""
        ...

    def put_blobs(self, blobs: Sequence[tuple[str, str, bytes]]) -> None:
        """Keep bundles and vectors: (case, digest, bytes). Again is harmless."""
        ...

    def drop_blob(self, case: str, digest: str) -> None:
        """Let go of evidence that nothing cites."""
        ...

    def show(self, shown: Mapping[str, str]) -> None:
        """Replace what is shown of the lanes of these cases (JSON text)."""
        ...

    def put_policy(self, digest: str, document: bytes) -> None:
        """Keep a queue policy for good; again is harmless."""
        ...

    def set_queue(self, name: str, digest: str) -> None:
        """From now on a queue has this policy."""
        ...

    def mark_due(self, queue: str, at: str, other_than: str) -> None:
        """Make every open case of a queue due that was decided under another policy."""
        ...

    def index_evidence(self, named: Sequence[tuple[str, str]], afresh: Collection[str] = ()) -> None:
        """Add evidence that lanes name: (case, digest). What the lanes of the cases ``afresh`` named before is
        forgotten first."""
        ...

    def rest(self, reliances: Mapping[str, bytes], cases: Mapping[str, Mapping[str, str]]) -> None:
        """Replace what these cases rest on in trust: by case, the names and until when; and keep the documents behind
        the names."""
        ...

    def put_trust(self, digest: str, payload: bytes) -> None:
        """Keep a trust document for good; again is harmless."""
        ...

    def put_facts(self, facts: CaseFacts) -> None:
        """Replace what the evidence of a case names."""
        ...

    def put_marks(self, marks: Mapping[str, CaseMarks]) -> None:
        """Replace what happened to cases whose facts are there."""
        ...

    def mark_recalled(self, cases: Sequence[str]) -> None:
        """Count one more recall for each of these cases."""
        ...

    def mark_stale(self, cases: Sequence[str]) -> None:
        """The labels of these cases have come to mean another artifact."""
        ...

    def put_lanes(self, case: str, lanes: Sequence[LaneMark]) -> None:
        """Replace these lanes of a case whose facts are there. A span that is there stays: it is of the first proof."""
        ...

    def name(self, case: str, named: Collection[tuple[str, str]]) -> None:
        """Replace what the lanes ``inputs`` and ``memory`` of a case rest on: (kind, digest)."""
        ...

    def point_label(self, head: LabelHead) -> None:
        """A label means this by now."""
        ...

    def add_move(self, move: LabelMove) -> None:
        """Keep the move of a label."""
        ...

    def lead(
        self, case: str, act: LedAct | None, under: Sequence[tuple[str, int]], children: Sequence[LedChild]
    ) -> None:
        """A case came, in each of these agent runs, after what closed there before a place; and these are runs below
        them that were not known."""
        ...

    def note_recalled(self, evidence: Collection[str]) -> None:
        """This evidence was recalled: what comes after it later is recalled at once."""
        ...

    def add_dependant(self, case: str, kind: str, target: str) -> bool:
        """Note that something relied on a case; False when that was known."""
        ...

    def wait(self, seqs: Sequence[int]) -> None:
        """These events carry documents for the decision log."""
        ...

    def done(self, seq: int) -> bool:
        """A statement for this event is in the log; False when it was not waiting."""
        ...


class CaseStore(Protocol):
    """The tables of one panel."""

    def read(self) -> AbstractContextManager[CaseReader]:
        """A consistent view; nothing is written."""
        ...

    def write(self) -> AbstractContextManager[CaseWriter]:
        """One transaction: committed when the block ends, undone when it raises. There is one writer at a time."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
