"""Handing cases to the consumers of a queue: under a lease, and only while the gate lets them through
(``spec/case.md`` §5).

Not covered: what a consumer did with a case that it was handed.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from holdfast.core.encoding import time_encode
from holdfast.core.statements import is_code
from holdfast.errors import ConflictError, UsageError
from holdfast.ports.case_store import CaseFilter
from holdfast.review.bench import Bench
from holdfast.review.cases import LET_THROUGH, Case
from holdfast.review.events import Actor
from holdfast.review.permissions import check_lease
from holdfast.review.queues import empty_policy
from holdfast.review.views import MAX_PAGE, CaseView, views
from holdfast.review.work import Work

HAND_OUT_S = 60
"""How long a consumer has to acknowledge a case (``case.md`` §5)."""


@dataclass(frozen=True, slots=True)
class HandOut:
    """A case that the gate let through, handed to one consumer until ``until``."""

    view: CaseView
    consumer: str
    key: str
    """Idempotency key (hex)."""
    until: dt.datetime
    bundle: bytes


@dataclass(frozen=True, slots=True)
class Next:
    """What a queue has for a consumer: at most one case that the gate let through, and apart from it, only when asked
    for, cases that it holds: to look at, under no lease, without their evidence."""

    handed: HandOut | None
    held: tuple[CaseView, ...] = ()


class HandOver(Bench):
    """Commands of consumers."""

    def hand_out(
        self,
        actor: Actor,
        queue: str,
        consumer: str,
        *,
        include_hold: bool = False,
        lease_s: int = HAND_OUT_S,
        hold_limit: int = 20,
    ) -> Next:
        """The oldest case of a queue that the gate lets through at this moment and that nobody has claimed, under a
        lease; None when there is none.

        Freshness applies again: what ran out since is held again and passed over. With ``include_hold`` the cases that
        are held are shown as well, apart and labelled, without their evidence.
        """
        self._permit(actor, "take")
        check_lease(lease_s)
        empty_policy(queue)
        if not is_code(consumer):
            raise UsageError("case.consumer", "a consumer's name is a code", param="consumer")
        handed = None
        while handed is None:
            with self._begin() as work:
                row = work.writer.next_of(queue, time_encode(work.at))
                if row is None:
                    break
                handed = self._hand(work, actor, row.case, consumer, lease_s)
        held: tuple[CaseView, ...] = ()
        if include_hold:
            with self._store.read() as reader:
                which = CaseFilter(queue=queue, stands=("HOLD",), limit=min(hold_limit, MAX_PAGE))
                held = tuple(views(reader, reader.rows(which)))
        if handed is None:
            return Next(None, held)
        case, raw = handed
        with self._store.read() as reader:
            (view,) = views(reader, reader.rows_of([case.id]))
        lease = case.lease
        if lease is None:
            raise ConflictError("case.lease", "the hand-out was taken back")
        return Next(HandOut(view, lease.consumer, lease.key, lease.until, raw), held)

    def _hand(self, work: Work, actor: Actor, case: str, consumer: str, lease_s: int) -> tuple[Case, bytes] | None:
        """Ask the gate again; hand the case out when it still lets it through."""
        found = self._ask_again(work, case, "hand-out")
        key = found.hand_out_key
        if found.state not in LET_THROUGH or key is None:
            return None
        until = work.at + dt.timedelta(seconds=lease_s)
        body = {"consumer": consumer, "key": key, "until": time_encode(until)}
        self._note(work, case, "handed_out", actor, body)
        return work.case(case), self._newest(work, case)[1]

    def acknowledge(self, actor: Actor, case: str, consumer: str, key: str) -> Case:
        """The consumer has done its work: the case is handed over. Again is harmless. Raises ``case.lease`` when
        another consumer has it by now. A case that was recalled meanwhile is handed over all the same, for so it was:
        the answer's state says that it has to be taken back."""
        return self._end_lease(actor, case, consumer, key, "handed_over")

    def unseal(self, actor: Actor, case: str) -> Case:
        """Note that a case's answer is opened for whoever was given it sealed (``sealed.md`` §6). The gate is asked
        again, for this moment; raises ``case.held`` unless it lets the case through."""
        self._permit(actor, "unseal")
        with self._begin() as work:
            found = self._settle(work, self._look(work, case, None), "hand-out")
            if found.state in LET_THROUGH:
                self._note(work, case, "unsealed", actor, {})
        if found.state not in LET_THROUGH:
            why = " ".join(reason.says for reason in found.reasons[:1])
            raise ConflictError(
                "case.held",
                f"the gate does not let this case go: it is {found.state}. {why}".strip(),
                hint="ask again once it is CLEAR",
            )
        return found

    def give_back(self, actor: Actor, case: str, consumer: str, key: str) -> Case:
        """The consumer cannot do it: the case is free for the next one."""
        return self._end_lease(actor, case, consumer, key, "handed_back")

    def _end_lease(self, actor: Actor, case: str, consumer: str, key: str, kind: str) -> Case:
        self._permit(actor, "take")
        with self._begin() as work:
            found = work.case(case)
            lease = found.lease
            if lease is None or lease.key != key or lease.consumer != consumer:
                raise ConflictError("case.lease", f"{consumer} does not hold this case", hint="ask for the next one")
            if work.at >= lease.until and found.holder(work.at) is not None:
                raise ConflictError("case.lease", f"{found.claimed_by} took this case on after the lease was over")
            if found.handed_over_at is None:
                self._note(work, case, kind, actor, {"consumer": consumer, "key": key})
            return work.case(case)
