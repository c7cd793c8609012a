"""The desk: every command about cases, each one transaction (``spec/case.md`` §4 to §9).

What a command shares with the others is in ``bench``, who may give it in ``permissions``. Rooms of their own have what
comes in (``intake``), what people do with one case (``acts``) and what consumers are handed (``hand_over``); here are
time that passes, what relied on what, policies, reading, and decisions on their way into the log.

Not covered: who somebody is (``review.people``), signing decisions (a :class:`~holdfast.review.outbox.DecisionLog`
does), and what a consumer did with a case it was handed. Blocking, and not thread-safe: one worker thread calls it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.bundles import build_bundle
from holdfast.core.encoding import hex_decode, time_decode, time_encode
from holdfast.core.rounds import Candidate, FinalityMessage
from holdfast.errors import UsageError
from holdfast.ports.case_store import CaseFilter, CaseReader, CaseRow, Head
from holdfast.review.acts import Acts
from holdfast.review.audit import AuditReport, audit_store
from holdfast.review.background import Background, background_of
from holdfast.review.bench import parsed
from holdfast.review.cases import LET_THROUGH, Case
from holdfast.review.disclosure import closed_bundle
from holdfast.review.events import GATE, SYSTEM, Actor, Event, parse_event, parse_text
from holdfast.review.export import export_case
from holdfast.review.facts import MAX_NAME
from holdfast.review.hand_over import HandOver
from holdfast.review.labels import report_label
from holdfast.review.led import Led, note_led
from holdfast.review.outbox import DecisionLog, WaitingAct
from holdfast.review.permissions import acting_role
from holdfast.review.queues import Move, PolicyChange, Queue, appraisal_policy, moved, policy_of_queue
from holdfast.review.reading import Reading, Stop, read_at, read_known, stop_at
from holdfast.review.recall import Recalled, RecallPlan, order_recall, plan_recall, standing_on
from holdfast.review.statistics import Statistics, statistics_of
from holdfast.review.views import MAX_PAGE, CaseFile, CaseView, case_file, views
from holdfast.review.work import load_case, rows_by_id
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.gate import decide, vector_of
from holdfast.verifier.overturned import refuted_statements
from holdfast.verifier.queue_policy import QueuePolicy, parse_queue_policy

MOST_PASSES = 3
"""How often one page of a list is read again because cases on it moved."""
MAX_LOOKED_AT = 500
"""Most cases that one change of policy looks at beyond those that are let through."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What a turn of the panel looked at, what moved, and whether there is more to look at right away."""

    seen: int
    moved: tuple[tuple[str, str, str], ...]
    """(case, state before, state after)."""
    more: bool
    recalled: tuple[Recalled, ...] = ()
    """What was recalled since the last turn because trust no longer stands behind what it rested on."""


class Desk(Acts, HandOver):
    """Commands about cases."""

    # --- time passes ---

    def tick(self, actor: Actor = SYSTEM, *, limit: int = 100) -> Tick:
        """Look again at cases that time, another trust or another policy may have moved. Call it again at once while
        ``more`` is set: what is let through comes first."""
        self._permit(actor, "system")
        with self._begin() as work:
            trust = self._believed
            due = work.writer.due(time_encode(work.at), trust.digest if trust else None, limit)
            shifts = []
            for row in due:
                before = work.case(row.case).state
                after = self._settle(work, self._look(work, row.case, None), "time").state
                if after != before:
                    shifts.append((row.case, before, after))
        recalled, self._recalled = tuple(self._recalled), []
        return Tick(len(due), tuple(shifts), len(due) == limit, recalled)

    def confirm(self, actor: Actor, cases: Sequence[str]) -> dict[str, str]:
        """Where cases stand at this moment: the gate is asked again, as when a case is handed out. By case."""
        self._permit(actor, "system")
        with self._begin() as work:
            return {case: self._ask_again(work, case, "hand-out").state for case in cases}

    # --- what relied on what ---

    def add_dependant(
        self, actor: Actor, case: str, *, dependant: str | None = None, reference: str | None = None
    ) -> Case:
        """Note that another case, or something outside, relied on a case: a recalled case recalls it at once."""
        self._permit(actor, "add_dependant")
        if (dependant is None) == (reference is None):
            raise UsageError("case.dependant", "name either a case or an outside reference", param="dependant")
        if reference is not None:
            parse_text(reference, "reference")
        kind, target = ("case", dependant) if dependant is not None else ("reference", str(reference))
        with self._begin() as work:
            found = work.case(case)
            if kind == "case":
                work.case(str(target))
            if (kind, target) in found.dependants:
                return found
            if target == case:
                raise UsageError("case.dependant", "a case does not rely on itself", param="dependant")
            self._note(work, case, "dependant_added", actor, {"kind": kind, "target": target})
            work.writer.add_dependant(case, kind, str(target))
            if kind == "case" and found.state == "RECALLED":
                said = f"it relied on case {case}, which was recalled: {found.recalled[-1]}"
                order_recall(work, GATE, None, [str(target)], said, evidence=None)
            return work.case(case)

    def led_place(self, agent: str) -> int:
        """Up to which place what closed below an agent run is known."""
        with self._store.read() as reader:
            return reader.led_place(agent)

    def note_led(self, actor: Actor, run: str, led: Led) -> None:
        """Note what the cases of a run came after (``case.md`` §8(9)). Said again it changes nothing."""
        self._permit(actor, "note")
        with self._begin() as work:
            for row in work.writer.rows(CaseFilter(run=run, limit=MAX_PAGE)):
                note_led(work, row.case, led)

    def recall(self, actor: Actor, evidence: str, cause: str) -> Recalled:
        """Recall every case that was let through on this evidence (digest, hex), and all that relied on them."""
        held = self._permit(actor, "recall")
        parse_text(cause, "cause")
        hex_decode(evidence, 32)
        role = acting_role(actor, held, {"approver"}, None, "recall") if actor.kind == "person" else None
        with self._begin() as work:
            direct = standing_on(work.writer, evidence)
            return order_recall(work, actor, role, direct, cause.strip().rstrip("."), evidence=evidence)

    def plan_recall(self, actor: Actor, evidence: str) -> RecallPlan:
        """What :meth:`recall` would reach for this evidence (digest, hex) now; nothing is changed."""
        self._permit(actor, "recall")
        hex_decode(evidence, 32)
        with self._store.read() as reader:
            return plan_recall(reader, evidence)

    def take_verdicts(
        self, actor: Actor, candidate: Candidate, messages: Sequence[FinalityMessage], blob: bytes
    ) -> Recalled:
        """Recall every case that was let through on a statement that a final round refuted, in one transaction.

        Nothing is believed but what the trust in force calls final: raises what ``refuted_statements`` raises.
        """
        self._permit(actor, "note")
        with self._begin() as work:
            if self._believed is None:
                return Recalled()
            refuted = refuted_statements(candidate, messages, blob, self._believed)
            work.writer.note_recalled(refuted)
            direct = work.writer.relying(refuted)
            said = f"final round {candidate.number} refuted statements that it stood on"
            return order_recall(work, SYSTEM, None, direct, said, evidence=candidate.content.hex())

    def note_label(self, actor: Actor, label: str, artifact: str) -> tuple[str, ...]:
        """Somebody who knows says that a label means another artifact (digest, hex) from now on (``case.md`` §8(8)).

        Open cases that stand on what it meant before are marked, and the gate is asked again about those that are let
        through; returns these. Saying again what is known changes nothing. Raises ``case.label`` and ``encoding.*``.
        """
        self._permit(actor, "note_label")
        if not 0 < len(label) <= MAX_NAME or not label.isprintable():
            raise UsageError("case.label", f"a label is a name of 1 to {MAX_NAME} characters", param="label")
        artifact = hex_decode(artifact, 32).hex()
        with self._begin() as work:
            moved = report_label(work, actor, label, artifact)
            self._ask_about(work, moved)
        return tuple(moved)

    # --- policies ---

    def change_policy(self, actor: Actor, queue: str, text: str) -> PolicyChange:
        """Give a queue a policy (TOML). What the old one let through is looked at in the same transaction; held cases
        follow now and in the next turns."""
        self._permit(actor, "change_policy")
        policy = _policy_for(queue, text)
        with self._begin() as work:
            before = policy_of_queue(work.writer, queue)
            known = work.writer.queue(queue) is not None
            if known and before.digest == policy.digest:
                return PolicyChange(queue, policy.digest, before.digest, (), 0, 0)
            body = {"queue": queue, "before": before.digest if known else None, "document": policy.document.decode()}
            work.emit("policy_changed", actor, case=None, body=body, policy=policy.digest)
            work.set_policy(policy)
            moves, seen = [], 0
            for row in _open_cases(work.writer, queue, policy.digest):
                seen += 1
                state = work.case(row.case).state
                after = self._settle(work, self._look(work, row.case, None), "policy")
                if after.state != state:
                    moves.append(Move(row.case, row.run, state, after.state, after.reasons))
            work.later(lambda writer: writer.mark_due(queue, time_encode(work.at), policy.digest))
            left = _count_open(work.writer, queue) - seen
        return PolicyChange(queue, policy.digest, before.digest, tuple(moves), seen, max(left, 0))

    def what_if(self, actor: Actor, queue: str, text: str) -> PolicyChange:
        """Which open cases a policy would move, and why; nothing is changed."""
        self._permit(actor, "list")
        policy, trust = _policy_for(queue, text), self._trust()
        with self._store.read() as reader:
            at = _moment(reader, self._clock.now())
            before = policy_of_queue(reader, queue)
            rows = list(_open_cases(reader, queue, None))
            moves = []
            for row in rows:
                raw = reader.blob(row.case, row.bundle or "")
                bundle = parsed(raw) if raw is not None else parsed(build_bundle(row.run, at, []))
                vector = vector_of(appraise(bundle, trust, appraisal_policy(policy), at))
                case = load_case(reader, row.case)
                result = decide(policy, vector, case.decisions, case.release, case.history, at)
                move = moved(row.case, row.run, row.stands, result)
                if move is not None:
                    moves.append(move)
            left = _count_open(reader, queue) - len(rows)
        return PolicyChange(queue, policy.digest, before.digest, tuple(moves), len(rows), max(left, 0))

    def queues(self, actor: Actor) -> list[Queue]:
        """Every queue with a policy or a case, by name."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            authored, counts = reader.queues(), reader.counts()
            names = sorted({*authored, *(queue for queue, _ in counts)})
            return [
                Queue(
                    name,
                    policy_of_queue(reader, name),
                    name in authored,
                    {stands: number for (queue, stands), number in counts.items() if queue == name},
                )
                for name in names
            ]

    # --- reading ---

    def cases(self, actor: Actor, which: CaseFilter | None = None) -> list[CaseView]:
        """One page of cases, without their evidence. ``after`` is the last row's ``opened_seq``.

        Whatever would be shown as let through, and that time or trust may have moved since it was last looked at, is
        looked at first: no list says CLEAR of what is not (``case.md`` §5(3)). A row that moves out of what was asked
        for once too often stays on the page, as it stands now.
        """
        self._permit(actor, "list")
        which = which or CaseFilter()
        if not 1 <= which.limit <= MAX_PAGE:
            raise UsageError("case.limit", f"a page has 1 to {MAX_PAGE} cases", param="limit")
        rows: list[CaseRow] = []
        for _ in range(MOST_PASSES):
            with self._store.read() as reader:
                rows = reader.rows(which)
                due = self._due_of(reader, rows)
                if not due:
                    return list(views(reader, rows))
            self.confirm(SYSTEM, due)
        with self._store.read() as reader:
            now = rows_by_id(reader, [row.case for row in rows])
            return list(views(reader, [now[row.case] for row in rows]))

    def cases_of_runs(self, actor: Actor, runs: Collection[str]) -> dict[str, list[CaseRow]]:
        """The cases of many runs by run, as they stand at this moment: as :meth:`cases`, without lanes."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            rows = reader.rows_of_runs(runs)
            due = self._due_of(reader, rows)
        if due:
            self.confirm(SYSTEM, due)
            with self._store.read() as reader:
                rows = reader.rows_of_runs(runs)
        found: dict[str, list[CaseRow]] = {}
        for row in sorted(rows, key=lambda row: row.opened_seq):
            found.setdefault(row.run, []).append(row)
        return found

    def _due_of(self, reader: CaseReader, rows: Iterable[CaseRow]) -> list[str]:
        """Those that are let through as they were last looked at, and may not be at this moment."""
        trust, at = self._trust(), time_encode(_moment(reader, self._clock.now()))
        trusted = trust.digest if trust is not None else None
        return [
            row.case
            for row in rows
            if row.stands in LET_THROUGH and (row.trust != trusted or (row.due_at is not None and row.due_at <= at))
        ]

    def case(self, actor: Actor, case: str) -> CaseFile:
        """One case with its journal, without its evidence: :meth:`view` opens that. Raises ``case.unknown``."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            row = reader.row(case)
            due = self._due_of(reader, [row] if row is not None else [])
        if due:
            self.confirm(SYSTEM, due)
        with self._store.read() as reader:
            return case_file(reader, case, None)

    def evidence(self, actor: Actor, case: str) -> bytes:
        """A case's newest evidence as a bundle, for checks elsewhere: decisions that stand in the log are in it with
        their documents (:func:`~holdfast.review.decisions.without_documents` leaves those out). What was asked and
        answered is in it for the panel itself alone: people open the case for that (:meth:`view`). Raises
        ``case.unknown``."""
        self._permit(actor, "evidence")
        with self._store.read() as reader:
            row = reader.row(case)
            if row is None:
                raise UsageError("case.unknown", f"there is no case {case[:64]}", param="case", status=404)
            raw = reader.blob(case, row.bundle) if row.bundle is not None else None
        if raw is None:
            raw = build_bundle(row.run, time_decode(row.opened_at), [])
        return raw if actor.kind == "system" else closed_bundle(raw)

    def lanes_then(self, actor: Actor, case: str, digest: str) -> bytes:
        """The lane vector's document that an event of this case names: what somebody had before them then."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            found = reader.blob(case, digest)
        if found is None:
            raise UsageError("case.unknown", "no event of this case names that", param="digest", status=404)
        return found

    def reading(self, actor: Actor, case: str, seq: int) -> Reading:
        """The case at one of its events, as shown then and as now known about then (``reading``)."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            return read_at(reader, case, seq, self._trust())

    def reading_known(self, actor: Actor, case: str, known: int) -> Reading:
        """The case when the evidence at a position arrived, in the same readings."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            return read_known(reader, case, known, self._trust())

    def stop_at(self, actor: Actor, case: str, moment: dt.datetime) -> Stop:
        """The last moment of a case that can be asked about and is not later than this."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            return stop_at(reader, case, moment)

    def background(self, actor: Actor, case: str) -> Background:
        """What there is to tell of a case beyond its row and journal (``background``). Raises ``case.unknown``."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            return background_of(reader, case, self._trust(), self._clock.now())

    def statistics(self, actor: Actor, queue: str | None = None) -> Statistics:
        """Counts over all cases, or those of a queue, by label and artifact (``statistics``)."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            return statistics_of(reader, queue)

    def export(self, actor: Actor, case: str) -> dict[str, Any]:
        """One case as a document that can be judged without the panel (``case.md`` §11), without its evidence. Raises
        ``case.unknown``."""
        self._permit(actor, "export")
        with self._store.read() as reader:
            if reader.row(case) is None:
                raise UsageError("case.unknown", f"there is no case {case[:64]}", param="case", status=404)
            return export_case(reader, case, _moment(reader, self._clock.now()))

    def head(self, actor: Actor) -> Head:
        """The journal's end: publish it, and nobody can shorten the journal unseen."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            return reader.head()

    def journal(self, actor: Actor, after: int, limit: int) -> list[Event]:
        """Events of all cases and policies after a number, in order."""
        self._permit(actor, "audit")
        with self._store.read() as reader:
            return [parse_event(stored.raw) for stored in reader.events(after, limit)]

    def audit(self, actor: Actor, published: Head | None = None) -> AuditReport:
        """Read the whole journal again: chain, meaning, rows, and a head that was published earlier."""
        self._permit(actor, "audit")
        with self._store.read() as reader:
            return audit_store(reader, published)

    def anchor(self, nonce: bytes, actor: Actor = SYSTEM) -> Event:
        """Append an event that says nothing and holds 32 random bytes: its digest can be told to anybody
        (``case.md`` §9)."""
        self._permit(actor, "system")
        with self._begin() as work:
            return work.emit("anchored", actor, case=None, body={"nonce": nonce.hex()})

    # --- decisions on their way into the log ---

    def waiting(self, actor: Actor = SYSTEM, *, limit: int = 100, after: int = 0) -> list[WaitingAct]:
        """Acts that no statement in the log stands for yet, oldest first, from event ``after`` on."""
        self._permit(actor, "system")
        with self._store.read() as reader:
            return [_waiting_act(reader, parse_event(stored.raw)) for stored in reader.waiting(limit, after)]

    def note_statement(self, seq: int, statement: str, actor: Actor = SYSTEM) -> None:
        """The act of event ``seq`` stands in the log as this statement (digest, hex). Again is harmless."""
        self._permit(actor, "system")
        hex_decode(statement, 32)
        with self._begin() as work:
            found = work.writer.events(seq - 1, 1)
            if not found or not work.writer.done(seq):
                return
            event = parse_event(found[0].raw)
            case = event.case or str(event.body["lead"])
            self._note(work, case, "statement_logged", actor, {"event": seq, "statement": statement})

    def log_decisions(self, log: DecisionLog, *, limit: int = 100) -> int:
        """Hand what waits to the decision log, oldest first, until it cannot take more. Returns how many it took."""
        taken = 0
        for act in self.waiting(limit=limit):
            statement = log.record(act)
            if statement is None:
                break
            self.note_statement(act.seq, statement)
            taken += 1
        return taken


def _policy_for(queue: str, text: str) -> QueuePolicy:
    policy = parse_queue_policy(text)
    if policy.name != queue:
        raise UsageError("queue.name", f"this is a policy for {policy.name}, not for {queue}", param="name")
    return policy


def _moment(reader: CaseReader, now: dt.datetime) -> dt.datetime:
    head = reader.head()
    return max(now, time_decode(head.at)) if head.at else now


def _open_cases(reader: CaseReader, queue: str, other_than: str | None) -> Iterator[CaseRow]:
    """Open cases of a queue: all that are let through, and many that are held."""
    for stands in LET_THROUGH:
        yield from reader.open_of_queue(queue, (stands,), 2**31 - 1, other_than)
    yield from reader.open_of_queue(queue, ("HOLD",), MAX_LOOKED_AT, other_than)


def _count_open(reader: CaseReader, queue: str) -> int:
    counts = reader.counts()
    return sum(counts.get((queue, stands), 0) for stands in ("HOLD", *LET_THROUGH))


def _waiting_act(reader: CaseReader, event: Event) -> WaitingAct:
    body, case = event.body, event.case or str(event.body["lead"])
    row = reader.row(case)
    if row is None:
        raise UsageError("case.unknown", f"there is no case {case}", status=404)
    cases: tuple[str, ...] = ()
    if event.case is None and body["cases"]["size"] > 1:
        cases = tuple(str(stored.case) for stored in reader.events(event.seq, body["cases"]["size"]))
    bundle = reader.blob(case, row.bundle) if row.bundle is not None else None
    return WaitingAct(
        event.seq,
        event.digest,
        str(body["document"]).encode(),
        row.run,
        case,
        event.lanes or "",
        event.policy or "",
        cases,
        bundle,
    )
