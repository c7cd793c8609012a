"""Collects what runs cost: decides each authorization's one capture, has it carried out, and says how it ended
(``spec/collection.md``).

Rules, in the order in which they protect:

1. A decision is one transaction of the store, made before anything is handed to the facilitator; it holds amount, runs,
   job and the statements of what lapses. Whatever crashes afterwards, the same decision is carried out.
2. Handing in is repeatable: the job's id is made of what was signed. A lost answer, a lost job and a new process all
   lead to handing it in again.
3. An end is one transaction with the statements that tell of it. Where the chain can be read it has the last word;
   where it cannot, the facilitator's word is all there is, and the statement is this gateway's word about that.

Silence of the facilitator, the chain or the secure layer costs time and nothing else. Several gateways may share a
store: each decides for the runs that are its own, and the store lets one of them decide.

Not covered: what is decided (``core/collection.py``), delivery of statements (``delivery``), refunds (``refunds``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from holdfast.client.facilitator import CaptureJob, Facilitator
from holdfast.client.transfers import Transfers
from holdfast.core import canonical, x402
from holdfast.core.collection import Claim, Decision, Margins, Standing, Take, Terms, Wait, decide, is_spent
from holdfast.core.encoding import time_decode, time_encode
from holdfast.core.x402 import VerifiedPayment
from holdfast.errors import ConflictError, HoldfastError, RefusedError, UnavailableError
from holdfast.nodes.gateway.books import Books
from holdfast.nodes.gateway.standing import Generation
from holdfast.nodes.gateway.steps import StepSigner
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics
from holdfast.ports.till_store import Authorization, Hold, Step

_LOG = logging.getLogger("holdfast.gateway.collector")
PAGE = 500
"""Authorizations that are read at once."""
AT_ONCE = 32
"""Captures that the facilitator is asked about at once."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
"""Pauses between two looks at a capture; they double."""
WATCHED_S = 900.0
"""So long after its end a capture's transaction is looked at again, lest a reorganisation has undone it."""
NOT_CAPTURED = "payment.not_captured"
"""Why a capture failed that its facilitator calls a success, and the chain does not."""
FAILED = "payment.failed"
"""Why a capture failed where the facilitator's reason is none that is known here."""


class Judge(Protocol):
    """Who says how far runs have come (``standing.Standings``)."""

    async def generation(self) -> Generation:
        """Changes whenever the standing of any run may have."""
        ...

    async def of(self, run: str) -> Standing | None:
        """The standing of a run; None where it is another gateway's."""
        ...


@dataclass(slots=True)
class _Flight:
    """One capture that was decided and has not ended, as this process knows it."""

    handed_in: bool = False
    next_at: float = 0.0
    """Monotonic seconds before which it is left alone."""
    wait_s: float = FIRST_WAIT_S
    trouble: str = ""
    """Why it makes no progress, or empty."""
    disputed: bool = False
    """The facilitator calls it a success, and the chain does not show it."""


@dataclass(slots=True)
class _Ended:
    """A capture that ended a while ago."""

    found: Authorization
    until: float
    undone: bool = False


class Collector:
    """See the module. ``transfers`` reads the chain, where one is configured; ``idle_s`` is how long an authorization
    serves without a run; ``on_step`` hears of runs that got steps."""

    def __init__(
        self,
        books: Books,
        facilitator: Facilitator,
        judge: Judge,
        signer: StepSigner,
        clock: Clock,
        metrics: Metrics,
        margins: Margins,
        *,
        transfers: Transfers | None = None,
        idle_s: int = 90,
        poll_s: float = 0.5,
        scan_s: float = 2.0,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._books = books
        self._store = books.store
        self._facilitator = facilitator
        self._judge = judge
        self._signer = signer
        self._clock = clock
        self._metrics = metrics
        self._margins = margins
        self._transfers = transfers
        self._idle_s = idle_s
        self._poll_s = poll_s
        self._scan_s = scan_s
        self._scan_at = 0.0
        self._on_step = on_step
        self._seen: dict[str, tuple[object, int]] = {}
        """Closed authorizations that wait: what they and the secure layer were when last looked at, and until when."""
        self._flights: dict[str, _Flight] = {}
        self._ended: dict[str, _Ended] = {}

    # --- life ---------------------------------------------------------------------------------------------------------

    async def work(self) -> None:
        """Collect, for ever. A facilitator that hangs must not keep decisions from being made in time, so the three
        things go on beside each other; each outlives whatever fails in it."""
        await asyncio.gather(*(self._repeat(part) for part in (self.decide_due, self.carry_all, self.watch_ended)))

    async def _repeat(self, part: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await part()
            except Exception as error:  # noqa: BLE001 - the store, trust, a proof: money waits, none is given up
                _LOG.exception("collecting waits: %s", error)
            self._show()
            await self._clock.sleep(self._poll_s)

    async def step(self) -> None:
        """Decide what is due, carry on what was decided, look again at what has ended: one turn of each."""
        await self.decide_due()
        await self.carry_all()
        await self.watch_ended()
        self._show()

    def _show(self) -> None:
        self._metrics.level("holdfast_gateway_captures_open", len(self._flights))
        self._metrics.level(
            "holdfast_gateway_captures_disputed", sum(flight.disputed for flight in self._flights.values())
        )
        self._metrics.level("holdfast_gateway_captures_undone", sum(ended.undone for ended in self._ended.values()))

    def trouble_of(self, identity: str) -> str:
        """Why a capture makes no progress, as far as this process knows; empty where nothing is the matter."""
        flight, ended = self._flights.get(identity), self._ended.get(identity)
        if flight is not None:
            return flight.trouble
        return "a reorganisation of the chain has undone this capture" if ended is not None and ended.undone else ""

    # --- deciding -----------------------------------------------------------------------------------------------------

    async def decide_due(self) -> None:
        """Decide what has to be decided by now, or can be."""
        at = int(self._clock.now().timestamp())
        generation = await self._judge.generation()
        waiting = set()
        for found in await self._all("closed"):
            waiting.add(found.new.identity)
            await self._try_look(found, at, generation)
        self._seen = {identity: seen for identity, seen in self._seen.items() if identity in waiting}
        for found in await self._spent(at):
            await self._books.call(self._store.close_authorization, found.new.identity)
            await self._try_look(replace(found, stands="closed"), at, generation)

    async def _all(self, stands: str) -> list[Authorization]:
        found: list[Authorization] = []
        while True:
            page = await self._books.call(self._store.uncollected, (stands,), after=_after(found), limit=PAGE)
            found += page
            if len(page) < PAGE:
                return found

    async def _spent(self, at: int) -> list[Authorization]:
        """Open authorizations that serve no more; looked for now and then."""
        now = self._clock.monotonic()
        if now < self._scan_at:
            return []
        self._scan_at = now + self._scan_s
        return [found for found in await self._all("open") if self._is_spent(found, at)]

    def _is_spent(self, found: Authorization, at: int) -> bool:
        idle_s = 0 if found.held else at - int(time_decode(found.last_at).timestamp())
        return is_spent(terms_of(found), self._margins, at=at, left=found.left, idle_s=idle_s, most_idle_s=self._idle_s)

    async def _try_look(self, found: Authorization, at: int, generation: Generation) -> None:
        """What cannot be decided about one authorization keeps no other one from it."""
        try:
            await self._look(found, at, generation)
        except HoldfastError as error:
            _LOG.exception("authorization %s waits: %s", found.new.identity[:12], error)

    async def _look(self, found: Authorization, at: int, generation: Generation) -> None:
        """Decide one closed authorization, if it is due and there is news since it was last looked at."""
        identity = found.new.identity
        news = (found.held, found.charged, found.last_at, generation)
        seen = self._seen.get(identity)
        if seen is not None and seen[0] == news and at < seen[1]:
            return
        holds = [
            hold
            for hold in await self._books.call(self._store.holds_of, identity)
            if hold.stands in ("held", "charged")
        ]
        claims = await self._claims(holds)
        if claims is None:
            return
        decision = decide(terms_of(found), claims, self._margins, at=at, closed=True)
        if isinstance(decision, Wait):
            self._seen[identity] = news, decision.until
            return
        await self._settle(found, decision)

    async def _claims(self, holds: Sequence[Hold]) -> list[Claim] | None:
        """What the runs on an authorization cost and how far they have come; None where its first run is another
        gateway's: that one decides."""
        claims: list[Claim] = []
        for hold in holds:
            standing = await self._judge.of(hold.run)
            if standing is None and not claims:
                return None
            claims.append(Claim(hold.run, hold.amount if hold.stands == "charged" else None, standing or "pending"))
        return claims

    async def _settle(self, found: Authorization, decision: Decision) -> None:
        """Make a decision durable."""
        if isinstance(decision, Wait):
            return
        now = self._clock.now()
        identity, at = found.new.identity, time_encode(now)
        for run in decision.cut_off:
            if not await self._books.call(self._store.release, run, at):
                return  # it was charged just now: the next look sees that
            _LOG.warning("run %s was still under way when its payment had to be decided: it costs nothing", run)
        steps = [
            step for run, reason in decision.lapsed if (step := await self._follow(run, "lapsed", now, reason=reason))
        ]
        try:
            if isinstance(decision, Take):
                job = x402.job_id_of(bytes.fromhex(identity))
                runs = [run for run, _ in decision.taken]
                await self._books.call(self._store.begin_capture, identity, decision.amount, runs, job, at, steps=steps)
            else:
                await self._books.call(self._store.lapse, identity, decision.reason, at, steps=steps)
        except ConflictError as error:
            _LOG.info("authorization %s was decided elsewhere: %s", identity[:12], error)
            return
        self._seen.pop(identity, None)
        for _, reason in decision.lapsed:
            self._metrics.count("holdfast_gateway_payments_total", reason)
        self._tell(steps)

    async def _follow(
        self,
        run: str,
        event: str,
        now: dt.datetime,
        *,
        captured: int | None = None,
        transaction: str | None = None,
        reason: str | None = None,
    ) -> Step | None:
        """The step that follows a run's charge; None where its charge was never told."""
        steps = await self._books.call(self._store.steps_of, run)
        charged = next((item.step for item in steps if item.step.event == "charged"), None)
        if charged is None:
            return None
        return self._signer.follow(charged, event, at=now, captured=captured, transaction=transaction, reason=reason)

    def _tell(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._on_step(step.run)

    # --- carrying out -------------------------------------------------------------------------------------------------

    async def carry_all(self) -> None:
        """Do the next thing for each capture that was decided and has not ended."""
        found = await self._all("capturing")
        open_now = {item.new.identity for item in found}
        self._flights = {name: flight for name, flight in self._flights.items() if name in open_now}
        gate = asyncio.Semaphore(AT_ONCE)

        async def carry(item: Authorization) -> None:
            async with gate:
                await self._carry(item)

        await asyncio.gather(*(carry(item) for item in found))

    async def _carry(self, found: Authorization) -> None:
        """The next thing for one capture. What fails is tried again later."""
        flight = self._flights.setdefault(found.new.identity, _Flight())
        now = self._clock.monotonic()
        if now < flight.next_at:
            return
        try:
            job = await self._ask(found, flight)
            flight.trouble = ""
            if job is not None and job.ended:
                await self._conclude(found, flight, job)
        except HoldfastError as error:
            if flight.trouble != error.message:
                _LOG.warning("capture %s waits: %s", found.new.identity[:12], error, extra={"code": error.code})
            flight.trouble = error.message
        flight.next_at = now + flight.wait_s
        flight.wait_s = min(flight.wait_s * 2, LONGEST_WAIT_S)

    async def _ask(self, found: Authorization, flight: _Flight) -> CaptureJob | None:
        """Hand a capture in, once in each life of this process and whenever the facilitator does not know it; else ask
        how far it has come. Raises ``facilitator.*`` or ``http.*``."""
        if flight.handed_in and found.job is not None:
            job = await self._facilitator.job(found.job)
            if job is not None:
                return job
        payment = payment_of(found)
        try:
            job = await self._facilitator.settle(payment.payload, payment.requirements)
        except RefusedError as error:
            if error.code != "payment.replayed":
                raise
            return await self._taken_elsewhere(found, payment)
        flight.handed_in = True
        return job

    async def _taken_elsewhere(self, found: Authorization, payment: VerifiedPayment) -> CaptureJob:
        """The facilitator was handed this authorization for another capture: not by this gateway. It will never take
        what was decided; whether something was taken nevertheless is the chain's to say."""
        reason = x402.reason_of("payment.replayed", payment.method)
        refused = x402.SettleResponse(False, found.new.network, "", found.new.payer, None, reason)
        return CaptureJob(found.job or "", "failed", refused)

    async def _conclude(self, found: Authorization, flight: _Flight, job: CaptureJob) -> None:
        """A facilitator says how a capture ended: look at the chain where that can be done, and end it."""
        payment, said = payment_of(found), job.result
        if said is None:
            return
        if not said.success:
            await self._conclude_failure(found, payment, x402.code_of(said.error_reason, payment.method) or FAILED)
            return
        if not said.transaction or said.amount not in (None, found.capture):
            raise UnavailableError("facilitator.answer", "the facilitator says that it took another amount")
        if self._transfers is None:
            await self._end(found, transaction=said.transaction)
            return
        finding = await self._transfers.look(payment, said.transaction)
        if finding == "moved":
            await self._end(found, transaction=said.transaction)
            return
        if finding == "young":
            return
        if not flight.disputed:
            flight.disputed = True
            text = "in no block" if finding == "missing" else "in a block, and this transfer did not happen in it"
            _LOG.error(
                "the facilitator says that it captured %s by %s, which is %s",
                found.new.identity[:12],
                said.transaction,
                text,
            )
        flight.trouble = "the facilitator says that it was captured, and the chain does not show it"
        over = self._clock.now().timestamp() > terms_of(found).deadline + self._margins.capture_s
        if over and not await self._transfers.used(payment):
            await self._end(found, reason=NOT_CAPTURED)

    async def _conclude_failure(self, found: Authorization, payment: VerifiedPayment, reason: str) -> None:
        """A facilitator says that nothing was taken. Where the chain says that the authorization was used all the same,
        its transaction decides; one that its payer took back shows none."""
        if self._transfers is not None and await self._transfers.used(payment):
            transaction = await self._transfers.find(payment, int(time_decode(found.at).timestamp()))
            if transaction is not None:
                _LOG.error("the facilitator says that %s failed; %s took it", found.new.identity[:12], transaction)
                if await self._transfers.look(payment, transaction) == "moved":
                    await self._end(found, transaction=transaction)
                return
        await self._end(found, reason=reason)

    async def _end(self, found: Authorization, *, transaction: str | None = None, reason: str | None = None) -> None:
        """Make an end durable, with the statements that tell of it."""
        now, identity = self._clock.now(), found.new.identity
        steps = []
        for hold in await self._books.call(self._store.holds_of, identity):
            if hold.stands != "capturing":
                continue
            if transaction is not None:
                taken = found.new.cap if found.new.scheme == x402.EXACT else hold.amount
                step = await self._follow(hold.run, "captured", now, captured=taken, transaction=transaction)
            else:
                step = await self._follow(hold.run, "failed", now, reason=reason)
            steps += [step] if step is not None else []
        at = time_encode(now)
        ended = await self._books.call(
            self._store.end_capture, identity, at, transaction=transaction, reason=reason, steps=steps
        )
        self._flights.pop(identity, None)
        if not ended:
            return
        self._metrics.count("holdfast_gateway_payments_total", reason or "captured")
        if transaction is not None and self._transfers is not None:
            done = replace(found, stands="captured", transaction=transaction)
            self._ended[identity] = _Ended(done, self._clock.monotonic() + WATCHED_S)
        self._tell(steps)

    # --- after the end ------------------------------------------------------------------------------------------------

    async def watch_ended(self) -> None:
        """Look again whether captures that ended a while ago still stand on the chain. One that does not is said, and
        waits for its bytes to be sent again: nothing is taken twice, for the nonce is one."""
        now = self._clock.monotonic()
        for identity, ended in list(self._ended.items()):
            if now > ended.until and not ended.undone:
                del self._ended[identity]
                continue
            if self._transfers is None or ended.found.transaction is None:
                continue
            try:
                finding = await self._transfers.look(payment_of(ended.found), ended.found.transaction)
            except HoldfastError:
                continue
            undone = finding in ("missing", "other")
            if undone and not ended.undone:
                _LOG.error("capture %s was undone by a reorganisation of the chain", identity[:12])
            ended.undone = undone


# --- what the store holds, as values ----------------------------------------------------------------------------------


def terms_of(found: Authorization) -> Terms:
    """What was signed, as the decision looks at it."""
    deadline = int(time_decode(found.new.deadline).timestamp())
    return Terms(found.new.timing, found.new.scheme, found.new.cap, deadline)


def payment_of(found: Authorization) -> VerifiedPayment:
    """The payment that a decided capture asks for. It is verified again, at the time at which it was accepted: what the
    store holds is sent to nobody otherwise. Raises ``payment.*``."""
    payload = x402.parse_payload(canonical.decode_object(found.new.payload))
    asked = x402.parse_requirements(canonical.decode_object(found.new.requirements))
    if asked.scheme == x402.UPTO and found.capture is not None:
        asked = replace(asked, amount=found.capture)
    facilitator = getattr(payload.authorization, "facilitator", None) or ""
    # The stamp of what came sealed tells the minute only, and may lie before what was valid when it was accepted.
    at = max(int(time_decode(found.at).timestamp()), payload.authorization.valid_after)
    return x402.verify_payment(payload, asked, at=at, facilitator=facilitator, settling=True)


def _after(found: Sequence[Authorization]) -> str:
    return f"{found[-1].new.deadline} {found[-1].new.identity}" if found else ""
