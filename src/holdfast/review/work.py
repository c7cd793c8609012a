"""One command's transaction: the events it adds, and the rows that follow from them (``spec/case.md`` §2, §6).

A :class:`Work` chains events onto the journal's head as it finds it, folds each into its case at once, and writes all
of it when the block ends, so that a command reads what it has itself just said. Nothing is written when it raises.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import time_decode
from holdfast.errors import UsageError
from holdfast.ports.case_store import CaseMarks, CaseReader, CaseRow, CaseStore, CaseWriter
from holdfast.review.cases import Case, apply_event, fold, row_of
from holdfast.review.events import GATE, Actor, Event, build_event, is_case_id, parse_event, time_text
from holdfast.review.queues import policy_of_queue
from holdfast.verifier.queue_policy import QueuePolicy
from holdfast.verifier.reliance import Reliance


@dataclass(slots=True)
class _Held:
    """A case in hand: its fold, the row as it lies in the store (None while new), and what the fold does not say."""

    case: Case
    row: CaseRow | None
    bundle: str | None
    due_at: dt.datetime | None
    marks: CaseMarks = field(default_factory=CaseMarks)
    """As they lie in the store."""


class Work:
    """One transaction under way. ``at`` never goes back from one event to the next, whatever the clock does."""

    def __init__(self, writer: CaseWriter, now: dt.datetime, folded: Mapping[str, Case] | None = None) -> None:
        head = writer.head()
        self._folded = folded or {}
        self.writer = writer
        self.at = now.replace(microsecond=now.microsecond // 1000 * 1000)
        if head.at:
            self.at = max(self.at, time_decode(head.at))
        self._seq, self._digest = head.seq, head.digest
        self._events: list[Event] = []
        self._held: dict[str, _Held] = {}
        self._small: dict[str, dict[str, Any]] = {}
        self._unfolded: dict[str, list[Event]] = {}
        self._shown: dict[str, str] = {}
        self._new_shown: dict[str, str] = {}
        self._blobs: dict[tuple[str, str], bytes] = {}
        self._named: list[tuple[str, str]] = []
        self._afresh: set[str] = set()
        self._resting: dict[str, Mapping[str, str]] = {}
        self._reliances: dict[str, bytes] = {}
        self._policies: dict[str, QueuePolicy] = {}
        self._opened: dict[tuple[str, str], str] = {}
        self._waiting: list[int] = []
        self._later: list[Callable[[CaseWriter], None]] = []
        self._trusts: dict[str, bytes] = {}
        self.touched: set[tuple[str, str]] = set()
        """(case, queue) of every case that this transaction changed what is shown of; the case is empty for a policy.
        Whole once it is finished."""
        self._alike: dict[str, list[str]] = {"recalled": [], "marked_stale": []}

    @property
    def next_seq(self) -> int:
        """The number that the next event will have."""
        return self._seq + 1

    # Cases

    def case(self, case: str) -> Case:
        """A case by its id; raises ``case.unknown``."""
        return self._hold(case).case

    def bundle_of(self, case: str) -> str | None:
        """Digest of a case's newest evidence."""
        return self._hold(case).bundle

    def due_at_of(self, case: str) -> dt.datetime | None:
        """When time alone can next change what the gate says of a case."""
        return self._hold(case).due_at

    def current_row(self, case: str) -> CaseRow:
        """The row of a case as this transaction will leave it."""
        held = self._hold(case)
        return row_of(held.case, bundle=held.bundle, due_at=held.due_at)

    def has(self, case: str) -> bool:
        """Whether the case is in hand already."""
        return case in self._held

    def _hold(self, case: str) -> _Held:
        held = self._held.get(case)
        if held is None:
            row = self.writer.row(case) if is_case_id(case) else None
            if row is None:
                raise UsageError("case.unknown", f"there is no case {case[:64]}", param="case", status=404)
            found = self._folded.get(case)
            if found is None or found.last_seq != row.last_seq:
                found = load_case(self.writer, case)
            marks = found.marks
            for event in self._unfolded.pop(case, []):
                found = apply_event(found, event)
            self._small.pop(case, None)  # the whole row will be written
            for cases in self._alike.values():
                cases[:] = [other for other in cases if other != case]  # and so will its marks
            held = _Held(found, row, row.bundle, time_decode(row.due_at) if row.due_at else None, marks)
            self._held[case] = held
        return held

    def folded(self) -> dict[str, Case]:
        """Every case in hand as this transaction leaves it: what the next one may begin with once this is committed,
        for as long as the row names the same last event."""
        return {case: held.case for case, held in self._held.items()}

    def opened(self, run: str, queue: str) -> str | None:
        """The case of a run in a queue, if there is one."""
        found = self._opened.get((run, queue))
        if found is None:
            row = self.writer.row_of_run(run, queue)
            found = row.case if row is not None else None
        return found

    def current(self, row: CaseRow) -> CaseRow:
        """A row as this transaction will leave it."""
        if row.case in self._small:
            return replace(row, **self._small[row.case])
        held = self._held.get(row.case)
        return row if held is None else row_of(held.case, bundle=held.bundle, due_at=held.due_at)

    def shown(self, case: str) -> str | None:
        """What is shown of a case's lanes (JSON text)."""
        if case not in self._shown:
            held = self._hold(case)
            self._shown |= self.writer.shown([case]) if held.row is not None else {}
        return self._shown.get(case)

    def show(self, case: str, shown: str) -> None:
        """Replace what is shown of a case's lanes."""
        self._shown[case] = self._new_shown[case] = shown

    def keep(self, case: str, digest: str, raw: bytes) -> None:
        """Keep a bundle or lane vector that an event names, or that is the newest."""
        self._blobs[case, digest] = raw

    def keep_trust(self, digest: str, payload: bytes) -> None:
        """Keep the trust document that an appraisal was made under, for good."""
        self._trusts[digest] = payload

    def blob(self, case: str, digest: str) -> bytes | None:
        """A bundle or lane vector of a case."""
        found = self._blobs.get((case, digest))
        return self.writer.blob(case, digest) if found is None else found

    def index(self, case: str, digests: Iterable[str], *, afresh: bool = False) -> None:
        """Note the evidence that a case's lanes name; ``afresh`` forgets what they named before."""
        if afresh:
            self._named = [item for item in self._named if item[0] != case]
            self._afresh.add(case)
        self._named += [(case, digest) for digest in digests]

    def rest(self, case: str, relied: Iterable[Reliance]) -> None:
        """Note what a case rests on in trust, instead of what it rested on before (``case.md`` §8(5))."""
        found: dict[str, str] = {}
        for item in relied:
            self._reliances[item.name] = item.document
            found[item.name] = max(found.get(item.name, ""), time_text(item.until))
        self._resting[case] = found

    def policy(self, queue: str) -> QueuePolicy:
        """The policy that a queue has now; read once."""
        if queue not in self._policies:
            self._policies[queue] = policy_of_queue(self.writer, queue)
        return self._policies[queue]

    def set_policy(self, policy: QueuePolicy) -> None:
        """Give a queue this policy, from here on."""
        self.writer.put_policy(policy.digest, policy.document)
        self.writer.set_queue(policy.name, policy.digest)
        self._policies[policy.name] = policy
        self.touched.add(("", policy.name))

    def set_latest(self, case: str, *, bundle: str | None, due_at: dt.datetime | None) -> None:
        """Note what the fold does not say."""
        held = self._hold(case)
        held.bundle, held.due_at = bundle, due_at

    # Events

    def emit(
        self,
        kind: str,
        actor: Actor,
        *,
        case: str | None,
        body: Mapping[str, Any],
        cause: str | None = None,
        lanes: str | None = None,
        policy: str | None = None,
    ) -> Event:
        """Add one event, and fold it into its case."""
        event = build_event(
            self._seq + 1,
            self._digest,
            self.at,
            kind,
            actor,
            case=case,
            body=body,
            cause=cause,
            lanes=lanes,
            policy=policy,
        )
        self._seq, self._digest = event.seq, event.digest
        self._events.append(event)
        if "document" in body and kind != "policy_changed":
            self._waiting.append(event.seq)
        if case is not None and kind == "opened":
            self._held[case] = _Held(apply_event(None, event), None, None, None)
            self._opened[str(body["run"]), str(body["queue"])] = case
        elif case is not None and case in self._held:
            held = self._held[case]
            held.case = apply_event(held.case, event)
        elif case is not None:
            self._unfolded.setdefault(case, []).append(event)
        return event

    def emit_alike(self, kind: str, rows: Sequence[CaseRow], bodies: Sequence[Mapping[str, Any]], cause: str) -> None:
        """Add an event of the gate to many cases that are only known by their rows: ``recalled``, ``flagged`` or
        ``marked_stale``.

        What it changes of a row is written as such, without reading the journal of each case.
        """
        texts: dict[int, str] = {}  # reasons by body: most cases share one
        for row, body in zip(rows, bodies, strict=True):
            self.touched.add((row.case, row.queue))
            event = self.emit(
                kind, GATE, case=row.case, body=body, cause=cause, lanes=row.vector, policy=row.policy or None
            )
            if self.has(row.case):
                held = self._held[row.case]
                held.due_at = self.at if kind == "marked_stale" else held.due_at
                continue
            change: dict[str, Any] = {"case": row.case, "last_seq": event.seq, "changed_at": time_text(self.at)}
            if kind == "recalled":
                if id(body) not in texts:
                    texts[id(body)] = canonical.encode_known(body["reasons"]).decode()
                change |= {"stands": "RECALLED", "reasons": texts[id(body)], "clear_until": None, "due_at": None}
            elif kind == "flagged":
                change |= {"flags": row.flags + 1}
            else:  # what the gate says of its people may be another thing now: the next turn asks
                change |= {"due_at": time_text(self.at)}
            if kind in self._alike:
                self._alike[kind].append(row.case)
            self._small[row.case] = self._small.get(row.case, {}) | change

    def later(self, act: Callable[[CaseWriter], None]) -> None:
        """Do this once rows and events are written."""
        self._later.append(act)

    def finish(self) -> None:
        """Write everything. The caller's transaction commits it."""
        writer = self.writer
        writer.append([event.stored for event in self._events])
        new, changed, marks = [], [], {}
        for held in self._held.values():
            if held.case.marks != held.marks:
                marks[held.case.id] = held.case.marks
            row = row_of(held.case, bundle=held.bundle, due_at=held.due_at)
            if held.row is None:
                new.append(row)
            elif row != held.row:
                changed.append(asdict(row))
            if row != held.row or row.case in self._new_shown:
                self.touched.add((row.case, row.queue))
        writer.put_rows(new)
        writer.update_rows(changed)
        for names in dict.fromkeys(tuple(sorted(change)) for change in self._small.values()):
            writer.update_rows([change for change in self._small.values() if tuple(sorted(change)) == names])
        writer.put_marks(marks)
        writer.mark_recalled(self._alike["recalled"])
        writer.mark_stale(self._alike["marked_stale"])
        for digest, payload in self._trusts.items():
            writer.put_trust(digest, payload)
        writer.put_blobs([(case, digest, raw) for (case, digest), raw in self._blobs.items()])
        writer.show(self._new_shown)
        writer.index_evidence(self._named, self._afresh)
        writer.rest(self._reliances, self._resting)
        writer.wait(self._waiting)
        for act in self._later:
            act(writer)


@contextlib.contextmanager
def begin(store: CaseStore, now: dt.datetime, folded: Mapping[str, Case] | None = None) -> Iterator[Work]:
    """A transaction whose events are written when the block ends, and none of them when it raises. ``folded`` are cases
    as earlier transactions left them."""
    with store.write() as writer:
        work = Work(writer, now, folded)
        yield work
        work.finish()


def load_case(reader: CaseReader, case: str) -> Case:
    """A case from its journal; raises ``case.unknown`` or ``case.history``."""
    found = fold(parse_event(stored.raw) for stored in reader.events_of(case))
    if found is None:
        raise UsageError("case.unknown", f"there is no case {case[:64]}", param="case", status=404)
    return found


def rows_by_id(reader: CaseReader, cases: Collection[str]) -> dict[str, CaseRow]:
    """Rows of many cases, in the order in which they were opened."""
    found = sorted(reader.rows_of(cases), key=lambda row: row.opened_seq)
    return {row.case: row for row in found}
