"""Owes back what was taken for runs that are refuted afterwards (``spec/collection.md`` §5).

A run whose money was taken is looked at until it is final, with each round and now and then, and again whenever a
verdict was superseded or trust has changed, also while no process was there to see it. A refutation then leaves a debt:
one transaction of the store, with the signed statement that tells of it. The debt stays, whatever becomes known later.
What came from credit is given back at once; what came over a chain is paid by an ordinary transfer, which
:meth:`Refunds.repay` notes.

Not covered: sending that transfer, and runs whose evidence is past its retention.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable

from holdfast.core import x402
from holdfast.core.collection import REFUTED
from holdfast.core.encoding import sha256, time_decode, time_encode
from holdfast.errors import ConflictError, UsageError
from holdfast.nodes.gateway.books import Books
from holdfast.nodes.gateway.collector import PAGE, Judge
from holdfast.nodes.gateway.standing import Generation
from holdfast.nodes.gateway.steps import StepSigner
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics
from holdfast.ports.till_store import Debt, Hold, Step

_LOG = logging.getLogger("holdfast.gateway.refunds")
AT_ONCE = 32
"""Runs that are looked at in one turn: each look costs an appraisal, and answers must not wait for many of them."""
BY_ACCOUNT = "account"
"""What a debt of credit is paid by."""
_MOST = 10_000
"""Runs of an account that are looked at again when verdicts or trust change."""
AGAIN_S = 60.0
"""How often runs that are not final are looked at without news of the secure layer: a proof or a verdict may not have
been there to fetch."""
_RECENT = dt.timedelta(days=1)
"""Runs so young may not have been final when the last process ended."""


class Refunds:
    """See the module. ``on_step`` hears of runs that got steps."""

    def __init__(
        self,
        books: Books,
        judge: Judge,
        signer: StepSigner,
        clock: Clock,
        metrics: Metrics,
        *,
        attester: str,
        poll_s: float = 1.0,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._books = books
        self._store = books.store
        self._judge = judge
        self._signer = signer
        self._clock = clock
        self._metrics = metrics
        self._poll_s = poll_s
        self._on_step = on_step
        self._waiting: dict[str, None] = {}
        """Runs to look at, in order."""
        self._pending: dict[str, None] = {}
        """Runs that were not final when last looked at."""
        self._again_at = 0.0
        """Monotonic second at which they are looked at in any case."""
        self._generation: Generation | None = None
        self._cursor = f"refuted:{attester}"
        self._done: int | None = None
        """What stands for the verdicts and the trust under which everything was looked at; kept in the store."""

    async def work(self) -> None:
        """Watch, for ever."""
        while True:
            try:
                await self.step()
            except Exception as error:  # noqa: BLE001 - the store, trust, a proof: the next turn looks again
                _LOG.exception("looking for refutations waits: %s", error)
            await self._clock.sleep(self._poll_s)

    def watch(self, run: str) -> None:
        """Money may have been taken for a run: look at it until it is final."""
        self._waiting[run] = None

    async def step(self) -> None:
        """Look at some of the runs that there is news about."""
        generation = await self._judge.generation()
        now = _mark(generation)
        if self._done is None:
            self._done = await self._books.call(self._store.cursor, self._cursor)
            await self._watch_taken_since(self._clock.now() - _RECENT if self._done == now else None)
        elif self._generation is not None and generation[1:] != self._generation[1:]:
            await self._watch_taken_since(None)
        elif generation != self._generation or self._clock.monotonic() >= self._again_at:
            self._waiting |= self._pending
            self._pending = {}
            self._again_at = self._clock.monotonic() + AGAIN_S
        self._generation = generation
        for run in list(self._waiting)[:AT_ONCE]:
            del self._waiting[run]
            self._pending[run] = None  # until it is known otherwise: whatever fails now is looked at again
            if await self._look(run):
                del self._pending[run]
        if not self._waiting and self._done != now:
            await self._books.call(self._store.logged, {}, self._cursor, now)
            self._done = now
        self._metrics.level("holdfast_gateway_refunds_due", len(await self.debts()))

    async def debts(self) -> list[Debt]:
        """What is owed and was not paid yet, oldest first."""
        return await self._books.call(self._store.debts)

    async def _watch_taken_since(self, since: dt.datetime | None) -> None:
        """Each run that money was taken for (at ``since`` or later) and nothing is owed for: it may be refuted now."""
        debts = await self._all_debts()
        owed = {debt.run for debt in debts}
        for debt in debts:
            hold = await self._books.call(self._store.hold_of, debt.run)
            if debt.repaid_at is None and hold is not None and hold.account is not None:
                await self.repay(debt.run, BY_ACCOUNT)  # a crash came between the debt and its payment
        place = ""
        while True:
            page = await self._books.call(self._store.uncollected, ("captured",), after=place, limit=PAGE)
            for found in page:
                if since is None or time_decode(found.last_at) >= since:
                    self._watch_taken(await self._books.call(self._store.holds_of, found.new.identity), owed)
            if len(page) < PAGE:
                break
            place = f"{page[-1].new.deadline} {page[-1].new.identity}"
        for account in await self._books.call(self._store.accounts):
            holds = await self._books.call(self._store.history, account=account.name, limit=_MOST)
            self._watch_taken((hold for hold in holds if since is None or time_decode(hold.at) >= since), owed)

    def _watch_taken(self, holds: Iterable[Hold], owed: set[str]) -> None:
        for hold in holds:
            if _is_taken(hold) and hold.run not in owed:
                self.watch(hold.run)

    async def _look(self, run: str) -> bool:
        """Whether nothing more is to be expected of a run before verdicts or trust change."""
        standing = await self._judge.of(run)
        if standing == "refuted":
            hold = await self._books.call(self._store.hold_of, run)
            if hold is not None and _is_taken(hold):
                await self._owe(hold)
        return standing != "pending"

    async def _owe(self, hold: Hold) -> None:
        """Write a debt down, with the statement that tells of it."""
        now = self._clock.now()
        steps = await self._steps_to_debt(hold, now)
        if steps is None:
            _LOG.error("run %s is refuted, and nothing was told of its charge: its debt has no statement", hold.run)
        amount = await self._taken(hold)
        try:
            fresh = await self._books.call(
                self._store.owe, hold.run, amount, REFUTED, time_encode(now), steps=steps or ()
            )
        except ConflictError as error:
            _LOG.error("the debt for run %s cannot be written down: %s", hold.run, error)
            return
        if not fresh:
            return
        _LOG.warning("run %s is refuted after it was paid: %d are owed back", hold.run, amount)
        self._metrics.count("holdfast_gateway_payments_total", "refund_due")
        self._on_step(hold.run)
        if hold.account is not None:
            await self.repay(hold.run, BY_ACCOUNT)

    async def _taken(self, hold: Hold) -> int:
        """What was taken for a run: its charge, or all that was signed of ``exact``."""
        if hold.identity is not None:
            found = await self._books.call(self._store.authorization, hold.identity)
            if found is not None and found.new.scheme == x402.EXACT:
                return found.new.cap
        return hold.amount or 0

    async def _steps_to_debt(self, hold: Hold, now: dt.datetime) -> list[Step] | None:
        """The statement of a debt; of credit also the one that it was taken, which nobody told before."""
        told = {item.step.event: item.step for item in await self._books.call(self._store.steps_of, hold.run)}
        steps: list[Step] = []
        if hold.account is not None and "charged" in told and "captured" not in told:
            taken = self._signer.follow(told["charged"], "captured", at=now, captured=hold.amount)
            steps.append(taken)
            told["captured"] = taken
        if "captured" not in told:
            return None
        steps.append(self._signer.follow(told["captured"], "refund_due", at=now, reason=REFUTED))
        return steps

    async def repay(self, run: str, transaction: str) -> bool:
        """Note that a debt was paid, by a transaction (``0x`` and hex) or to the account. False where that was noted
        before. Raises ``refund.unknown`` where nothing is owed. Whether the transaction did it asks whoever calls."""
        told = {item.step.event: item.step for item in await self._books.call(self._store.steps_of, run)}
        debt = next((item for item in await self._all_debts() if item.run == run), None)
        if debt is None:
            raise UsageError("refund.unknown", "nothing is owed for this run", status=404)
        now = self._clock.now()
        steps: list[Step] = []
        if "refund_due" in told:
            paid = None if transaction == BY_ACCOUNT else transaction
            steps.append(self._signer.follow(told["refund_due"], "refunded", at=now, transaction=paid))
        fresh = await self._books.call(self._store.repay, run, transaction, time_encode(now), steps=steps)
        if fresh:
            self._metrics.count("holdfast_gateway_payments_total", "refunded")
            self._on_step(run)
        return fresh

    async def _all_debts(self) -> list[Debt]:
        return await self._books.call(self._store.debts, unpaid=False)


def _mark(generation: Generation) -> int:
    """The newest superseding verdict and trust, as a number that a cursor holds; above 0."""
    return 1 + int.from_bytes(sha256(f"{generation[1]} {generation[2]}".encode())[:7])


def _is_taken(hold: Hold) -> bool:
    """Whether money was taken for a run: captured, or charged to an account."""
    return bool(hold.amount) and hold.stands == ("charged" if hold.account is not None else "captured")
