"""Cases come, and evidence of their runs comes (``spec/case.md`` §3, §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.core.bundles import Bundle, StatementItem, build_bundle
from holdfast.core.statements import Route, is_run_id
from holdfast.errors import HoldfastError, RefusedError, UsageError
from holdfast.ports.case_store import CaseFilter
from holdfast.review.bench import Bench, parsed, shows_decision
from holdfast.review.cases import Case
from holdfast.review.decisions import carry_decisions
from holdfast.review.events import Actor, parse_text
from holdfast.review.queues import empty_policy
from holdfast.review.views import MAX_PAGE
from holdfast.review.work import Work

LED = ("agent", "step")
"""Endpoints of what comes after other runs (``case.md`` §8(9))."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A case to open: a run, a queue, what the decision is about, and who asked for the run."""

    run: str
    queue: str
    subject: str | None = None
    requester: str | None = None


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What became of one run's evidence: the lanes that are still pending in one of its cases, or why it was not taken
    in."""

    run: str
    pending: tuple[str, ...]
    trouble: HoldfastError | None = None
    came_after_unknown: bool = False
    """Whether it is an act or a closed agent run, and one of its cases does not say yet what it came after."""
    overtaken: bool = False
    """Whether what is there of one of its cases was exported later, so that this was not looked at."""


class Intake(Bench):
    """Commands that open cases and take in evidence."""

    def open(
        self, actor: Actor, run: str, queue: str, *, subject: str | None = None, requester: str | None = None
    ) -> Case:
        """Open a case for a run in a queue; the case that is there already when there is one. A queue nobody wrote a
        policy for refuses it and says so."""
        return self.open_many(actor, [Opening(run, queue, subject, requester)])[0]

    def open_by_hand(self, actor: Actor, run: str, queue: str, *, subject: str | None = None) -> tuple[Case, bool]:
        """Open a case for a run whose caller named no queue; says whether it is new. Raises ``queue.unknown`` for a
        queue without a policy.

        Who asked for the run is taken from its other cases. Where none says so, whoever opens the case counts as the
        requester: nobody opens a case of their own run and then decides it (``case.md`` §4(7)).
        """
        self._permit(actor, "open")
        with self._begin() as work:
            if work.writer.queue(queue) is None:
                hint = "give it a policy first: 'holdfast policy --help'"
                raise UsageError("queue.unknown", f"no queue {queue[:64]} has a policy here", hint=hint, status=404)
            others = [work.case(row.case) for row in work.writer.rows(CaseFilter(run=run, limit=MAX_PAGE))]
            requester = next((case.requester for case in others if case.requester is not None), actor.id)
            opening = Opening(run, queue, subject, requester)
            _check_opening(opening)
            known = work.opened(run, queue)
            return self._open(work, actor, opening), known is None

    def open_many(self, actor: Actor, openings: Sequence[Opening]) -> list[Case]:
        """Open several cases in one transaction."""
        self._permit(actor, "open")
        for opening in openings:
            _check_opening(opening)
        with self._begin() as work:
            return [self._open(work, actor, opening) for opening in openings]

    def _open(self, work: Work, actor: Actor, opening: Opening) -> Case:
        known = work.opened(opening.run, opening.queue)
        if known is not None:
            return work.case(known)
        case, policy = self._new_id(), work.policy(opening.queue)
        body = {
            "queue": opening.queue,
            "run": opening.run,
            "subject": opening.subject,
            "requester": opening.requester,
        }
        work.emit("opened", actor, case=case, body=body, policy=policy.digest)
        raw = build_bundle(opening.run, work.at, [])
        return self._settle(work, self._look(work, case, raw), "opened")

    def note_bundle(self, actor: Actor, case: str, raw: bytes) -> Case:
        """Take in evidence for a case. What was exported earlier than what is there changes nothing; what is there of
        decisions stays there, for a gateway's bundle knows nothing of them. Raises ``bundle.*`` for bytes that are no
        bundle, and ``case.other_run`` for another run's."""
        self._permit(actor, "note")
        bundle = parsed(raw)
        with self._begin() as work:
            found = work.case(case)
            if bundle.run != found.run:
                raise RefusedError("case.other_run", f"this is evidence of run {bundle.run}, not of {found.run}")
            self._note_evidence(work, case, bundle, raw)
            return work.case(case)

    def take_in(self, actor: Actor, evidence: Sequence[tuple[str, bytes]]) -> list[TakenIn]:
        """Take in evidence of many runs, (run, bundle) each, for every case of each run: in one transaction, so that
        what one round moves is on disk together. A bundle that is none is told beside its run and stops no other."""
        self._permit(actor, "note")
        read = [(run, raw, _read_evidence(run, raw)) for run, raw in evidence]
        taken: list[TakenIn] = []
        with self._begin() as work:
            for run, raw, bundle in read:
                if isinstance(bundle, HoldfastError):
                    taken.append(TakenIn(run, (), bundle))
                    continue
                pending: dict[str, None] = {}
                unknown = overtaken = False
                for row in work.writer.rows(CaseFilter(run=run, limit=MAX_PAGE)):
                    overtaken = overtaken or bundle.exported_at < self._held(work, row.case)[0]
                    pending |= dict.fromkeys(self._note_evidence(work, row.case, bundle, raw))
                    unknown = unknown or work.case(row.case).led is None
                led = unknown and _is_led(bundle)
                taken.append(TakenIn(run, tuple(pending), came_after_unknown=led, overtaken=overtaken))
        return taken

    def _note_evidence(self, work: Work, case: str, bundle: Bundle, raw: bytes) -> list[str]:
        """New evidence for one case, unless what is there was exported later. Returns the lanes that are pending."""
        exported_at, decides = self._held(work, case)
        if bundle.exported_at >= exported_at:
            look = self._look(work, case, carry_decisions(self._newest(work, case)[1], raw) if decides else raw)
            if look.bundle == bundle.digest:
                self._briefs[bundle.digest] = bundle.exported_at, shows_decision(bundle)
            self._settle(work, look, "evidence")
        else:
            look = self._look(work, case, None)
            self._settle(work, look, "time")
        return [lane.name for lane in look.vector.lanes.values() if lane.state == "pending"]


def _check_opening(opening: Opening) -> None:
    if not is_run_id(opening.run):
        raise UsageError("case.run", "run is a run id", param="run")
    empty_policy(opening.queue)
    for name, value in (("subject", opening.subject), ("requester", opening.requester)):
        if value is not None:
            parse_text(value, name)


def _is_led(bundle: Bundle) -> bool:
    """Whether this is a step or an agent run that is closed."""
    statements = (entry.item.statement for entry in bundle.journal if isinstance(entry.item, StatementItem))
    return any(isinstance(item.body, Route) and item.body.endpoint in LED for item in statements)


def _read_evidence(run: str, raw: bytes) -> Bundle | HoldfastError:
    """A bundle of a run, or what is wrong with it."""
    try:
        bundle = parsed(raw)
    except HoldfastError as error:
        return error
    if bundle.run != run:
        return RefusedError("case.other_run", f"this is evidence of run {bundle.run}, not of {run}")
    return bundle
