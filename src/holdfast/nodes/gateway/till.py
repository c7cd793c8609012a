"""The till: what a request may cost, who pays for it, what is set aside, and what it cost (``spec/payments.md`` §10).

Four steps with four names. *Quote*: the cap, from the request and the price card. *Take*: a payment is checked against
what was asked, by this node and by the facilitator, or an account or session is named. *Hold*: the cap is set aside,
durably, before the upstream is called. *Charge*: what the run costs, computed from its closing record, off the answer's
path; its step (a signed ``payment`` statement with its document) is written with it.

Rules: no answer waits for a block, and none for a charge. A hold without a run is given up, and a run that closed
without its charge is charged, when the till starts (:meth:`Till.recover`). Nothing is held twice and no authorization
accepted twice: the store sees to both.

Not covered: HTTP (``checkout``), captures (``collector``), delivery of the steps to the log.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.client.facilitator import Facilitator
from holdfast.core import canonical, payments, pricing, x402
from holdfast.core.canonical import encode_known
from holdfast.core.encoding import sha256_hex, time_decode, time_encode
from holdfast.core.payments import build_payment_document
from holdfast.core.statements import (
    Tree,
    parse_tree,
)
from holdfast.core.x402 import Method, PaymentPayload, PaymentRequirements, VerifiedPayment
from holdfast.errors import HoldfastError, RefusedError, UsageError
from holdfast.nodes.gateway.books import Books
from holdfast.nodes.gateway.budgets import terms_of
from holdfast.nodes.gateway.prices import Quote, Selling, base_units, credit_rate
from holdfast.nodes.gateway.request import Ask
from holdfast.nodes.gateway.steps import About, StepSigner
from holdfast.nodes.gateway.turn import Identity, Opening
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics
from holdfast.ports.till_store import Account, Hold, NewAuthorization, NewCharge, NewHold, Step

_LOG = logging.getLogger("holdfast.gateway.till")
SESSION_BYTES = 16
_ASK_AGAIN_S = 0.5
"""How often a facilitator that does not answer is asked who it is."""
_SESSIONS = 4096
"""Most sessions that are remembered; of others the store is asked."""
_FRESH_S = 60.0
"""How long what it said of itself is believed."""


@dataclass(frozen=True, slots=True)
class Tender:
    """What a caller offers to pay with: a payment, as parsed and as the exact bytes that were sent, or the name of a
    session; neither of them for an account or for nothing at all."""

    payment: PaymentPayload | None = None
    raw: bytes = b""
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Closing:
    """What the durable closing record of a run says of what it cost."""

    run: str
    execution: str
    """Digest (hex) of the closing execution statement."""
    response: Tree | None
    usage: Mapping[str, int] | None
    """Tokens as the answer reports them, by the names of a charge's lines."""


def usage_of(document: Mapping[str, Any] | None) -> dict[str, int] | None:
    """What a response document says was used; None where it says nothing. A count that no price can be multiplied with
    counts as the largest that can: the cap bounds it."""
    found = payments.reported_usage(document or {})
    return {name: min(count, pricing.MOST) for name, count in found.items() if count or name != "images"} or None


class Till:
    """The till of one gateway."""

    def __init__(
        self,
        selling: Selling,
        books: Books,
        identity: Identity,
        clock: Clock,
        metrics: Metrics,
        *,
        random_bytes: Callable[[int], bytes],
        facilitator: Facilitator | None = None,
        gather_s: float = 0.1,
    ) -> None:
        """``gather_s``: how long charges gather once one waits, so that no hold has to wait for many commits."""
        self.selling = selling
        self.books = books
        self.identity = identity
        self.clock = clock
        self._metrics = metrics
        self._random = random_bytes
        self._steps = StepSigner(identity, random_bytes)
        self._facilitator = facilitator
        self._gather_s = gather_s
        self._sessions: OrderedDict[str, NewAuthorization] = OrderedDict()
        """What was signed, by session; whether it still serves is for the store to say."""
        self._granted: set[str] = set()
        self._holds: dict[str, Hold | None] = {}
        """Holds of runs under way in this process; None while one is being written."""
        self._closed: asyncio.Queue[Closing] = asyncio.Queue()
        self._behind: set[asyncio.Task[None]] = set()
        self.submitter: str | None = None
        """The facilitator's address, once it said so."""
        self.on_charged: Callable[[str], None] = lambda _run: None
        """Told of each run whose charge is durable."""

    # Accounts

    async def account(self, name: str) -> Account:
        """A workspace's credit; it gets the free credit once, whenever it is first looked at."""
        if name not in self._granted and self.selling.free_credit and not self.selling.required:
            at = time_encode(self.clock.now())
            await self.books.call(self.books.store.grant, name, self.selling.free_credit, f"free:{name}", at)
        self._granted.add(name)
        return await self.books.call(self.books.store.account, name)

    async def open_account(self, name: str) -> None:
        """See that the free credit was granted; at once where it was."""
        if name not in self._granted:
            await self.account(name)

    # Taking

    def visit(
        self, tender: Tender, *, account: str | None, told: bool, resource: Mapping[str, str], og: bool = False
    ) -> Visit:
        """One request on its way through the till. ``account`` is the workspace whose credit pays where nothing else
        is tendered; ``told`` says whether payment documents may name it; ``og`` that OpenGradient's client asks, which
        expects a single offer."""
        return Visit(self, tender, account, told=told, resource=resource, og=og)

    async def verify(
        self, payload: PaymentPayload, asked: PaymentRequirements, path: str, at: dt.datetime
    ) -> VerifiedPayment:
        """Check a payment against what was asked: here, then by the facilitator, which asks the chain. Raises
        ``payment.*`` (402), or ``facilitator.*`` where nobody can say."""
        if self._facilitator is None:
            raise UsageError("payment.untaken", "this gateway takes no payments over x402", status=402)
        _check_resource(payload, path)
        try:
            payment = x402.verify_payment(
                payload, asked, at=int(at.timestamp()), facilitator=self.submitter or "", settling=False
            )
        except RefusedError as error:
            raise _unpaid(error.code, error.message) from error
        token = self.selling.token
        if token is not None and payment.expires_at < at.timestamp() + token.least_s:
            raise _unpaid("payment.deadline", "the payment does not hold long enough to be captured after the answer")
        word = await self._facilitator.verify(payload, asked)
        if not word.valid:
            reason = word.invalid_reason or ""
            refused = _unpaid("payment.refused", f"the facilitator refuses the payment: {reason[:128]}")
            refused.code = x402.code_of(reason, payment.method) or refused.code
            raise refused
        return payment

    async def signed(self, session: str) -> NewAuthorization | None:
        """What was signed for a session; None for one that is not known here."""
        found = self._sessions.get(session)
        if found is None:
            known = await self.books.call(self.books.store.by_session, session)
            if known is None:
                return None
            found = known.new
            self._sessions[session] = found
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        return found

    def session_name(self) -> str:
        """A fresh name of a session."""
        digits = bytearray(self._random(SESSION_BYTES))
        digits[6], digits[8] = 0x40 | digits[6] & 0x0F, 0x80 | digits[8] & 0x3F
        text = digits.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    # Holding

    async def hold(self, order: NewHold) -> None:
        """Set a run's cap aside. Raises what the store refused it with; a caller that goes away meanwhile leaves no
        hold behind."""
        self._holds[order.run] = None
        task = asyncio.ensure_future(self.books.hold(order))
        try:
            self._holds[order.run] = await asyncio.shield(task)
        except asyncio.CancelledError:
            self._later(self._undo(order.run, task))
            raise
        except BaseException:
            self._holds.pop(order.run, None)
            raise

    def abandon(self, run: str) -> None:
        """The run never opened: give its hold up, behind the caller's back."""
        self._later(self._undo(run, None))

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    async def _undo(self, run: str, task: asyncio.Future[Hold] | None) -> None:
        try:
            if task is not None:
                await task
            await self.books.call(self.books.store.release, run, time_encode(self.clock.now()))
        except HoldfastError as error:  # it was refused: there is nothing to give up
            _LOG.info("run %s holds nothing: %s", run, error)
        except Exception:  # noqa: BLE001 - whatever the database says: the next start gives it up
            _LOG.exception("the hold of run %s is given up at the next start", run)
        finally:
            self._holds.pop(run, None)

    # Charging

    def closed(self, closing: Closing) -> None:
        """A run's closing record is durable: charge it soon."""
        self._closed.put_nowait(closing)

    async def work(self, find: Callable[[str], Awaitable[Closing | None]]) -> None:
        """Charge what closed, for ever; first of all what an earlier process left."""
        await self.recover(find)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._meet_facilitator())
            tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            waiting = [await self._closed.get()]
            await asyncio.sleep(self._gather_s)
            while not self._closed.empty():
                waiting.append(self._closed.get_nowait())
            for closing in waiting:  # each by itself: one that cannot be charged holds no other up
                self._later(self._charge_surely(closing))

    async def _charge_surely(self, closing: Closing) -> None:
        """Charge a run, trying again for as long as the store is not there."""
        delay = 0.1
        while True:
            try:
                await self.charge(closing)
            except HoldfastError as error:
                _LOG.error("run %s is not charged: %s", closing.run, error, extra={"code": error.code})
                return
            except Exception:  # noqa: BLE001 - whatever the database says: the record is durable, and is charged later
                _LOG.exception("run %s is not charged yet", closing.run)
                await self.clock.sleep(delay)
                delay = min(delay * 2, 5.0)
            else:
                return

    async def charge(self, closing: Closing) -> bool:
        """Charge a run from its closing record. False where it was charged before."""
        hold = self._holds.get(closing.run) or await self.books.call(self.books.store.hold_of, closing.run)
        if hold is None:
            return False
        terms = canonical.decode_object(hold.terms)
        now = payments.claimed_time(self.clock.now(), coarse=terms["coarse"])
        costs = pricing.charge(
            terms["prices"],
            None if closing.usage is None else pricing.Usage(**closing.usage),
            pricing.parse_rate(terms["rate"]),
            at_most=hold.cap,
        )
        step = self._step(hold, terms, closing, costs, now)
        fresh = await self.books.charge(NewCharge(hold.run, costs.amount, time_encode(now), (step,)))
        self._holds.pop(closing.run, None)
        if fresh:
            self._metrics.count("holdfast_gateway_charges_total", terms["scheme"])
            self.on_charged(closing.run)
        return fresh

    def _step(
        self, hold: Hold, terms: Mapping[str, Any], closing: Closing, costs: pricing.Charge, now: dt.datetime
    ) -> Step:
        """The document of ``charged`` and its signed statement: offer, authorisation and charge in one
        (``statement.md`` §4.6(4))."""
        document = build_payment_document(
            "charged",
            run=hold.run,
            at=now,
            asked=hold.cap,
            charge=costs,
            rate=pricing.parse_rate(terms["rate"]),
            request=parse_tree(terms["request"]),
            response=closing.response,
            price_card=terms["price_card"],
            deadline=None if terms["deadline"] is None else time_decode(terms["deadline"]),
            authorised=None if terms["authorised"] is None else int(terms["authorised"]),
            **{name: terms[name] for name in ("timing", "scheme", "network", "asset", "payer", "payee")},
            authorisation=terms["authorisation"],
        )
        about = About(terms["nonce"], terms["parent_run"], terms["coarse"], terms["settlement"] == "private")
        return self._steps.sign_about(document, about, (closing.execution,))

    # Recovery

    async def recover(self, find: Callable[[str], Awaitable[Closing | None]]) -> int:
        """Charge or give up what an earlier process of this gateway held. ``find`` reads a run's closing record; None
        where the run never opened. Returns how many there were."""
        waiting = [
            hold
            for hold in await self.books.call(self.books.store.held)
            if hold.run not in self._holds and canonical.decode_object(hold.terms)["attester"] == self.identity.attester
        ]
        for hold in waiting:
            closing = await find(hold.run)
            if closing is None:
                await self.books.call(self.books.store.release, hold.run, time_encode(self.clock.now()))
            else:
                self._later(self._charge_surely(closing))
        if waiting:
            _LOG.warning("%d runs were held when the process ended: they are charged or given up now", len(waiting))
        return len(waiting)

    # The facilitator

    async def _meet_facilitator(self) -> None:
        """Learn who submits payments, and keep it fresh."""
        token = self.selling.token
        while self._facilitator is not None and token is not None:
            try:
                said = await self._facilitator.supported()
            except HoldfastError as error:
                if self.submitter is None:
                    _LOG.info("the facilitator does not say who it is yet: %s", error)
                await self.clock.sleep(_ASK_AGAIN_S)
                continue
            self.submitter = said.kinds.get((x402.UPTO, token.network))
            await self.clock.sleep(_FRESH_S)

    def close(self) -> None:
        """Let go of the store. What was not charged or given up by now is at the next start."""
        for task in self._behind:
            task.cancel()
        self.books.close()


class Visit:
    """One request on its way through the till. ``state`` says what came of it."""

    def __init__(
        self,
        till: Till,
        tender: Tender,
        account: str | None,
        *,
        told: bool,
        resource: Mapping[str, str],
        og: bool,
    ) -> None:
        self._till = till
        self._tender = tender
        self._account = account
        self._told = told
        self.resource = resource
        self._og = og
        self._quote: Quote | None = None
        self._terms: dict[str, Any] = {}
        self._order: dict[str, Any] = {}
        self.session: str | None = None
        """The session that further requests may name, once this one is held."""
        self.state: str | None = None
        """``authorised`` (something was signed) or ``credit``, once the cap is held."""

    @property
    def method(self) -> Method | None:
        """How the money would move, of a payment that is tendered."""
        return None if self._tender.payment is None else x402.method_of(self._tender.payment)

    def budget(self) -> dict[str, Any] | None:
        """The most that the request can cost, once it was admitted."""
        return None if self._quote is None else terms_of(self._quote.prices, self._quote.most)

    async def admit(self, ask: Ask, model: str) -> None:
        """Quote the request and check who pays. Nothing is held yet. Raises ``pricing.*``, ``payment.*`` or
        ``facilitator.*``."""
        at = payments.claimed_time(self._till.clock.now(), coarse=not self._told)
        quote = self._quote = self._till.selling.quote(ask, model)
        if self._tender.payment is not None:
            await self._admit_payment(self._tender.payment, ask, quote, at)
        elif self._tender.session is not None:
            await self._admit_session(self._tender.session, ask, quote, at)
        elif self._account is not None:
            await self._till.open_account(self._account)
            rate = credit_rate(at)
            self._order = {"account": self._account, "cap": quote.cap(rate)}
            self._agree(rate, scheme="credit", timing="credit", payer=self._account if self._told else None)
        else:
            raise _unpaid("payment.required", "this costs something, and nothing was offered for it")

    async def _admit_payment(self, payload: PaymentPayload, ask: Ask, quote: Quote, at: dt.datetime) -> None:
        self._refuse_unprovable(ask)
        token = self._till.selling.token
        asked = self._till.selling.requirements(quote, at, self._till.submitter).get(x402.method_of(payload))
        if token is None or asked is None:
            raise _unpaid("payment.scheme", "payments of this kind are not taken here")
        payment = await self._till.verify(payload, asked, self.resource["path"], self._till.clock.now())
        rate = token.rate_at(at)
        identity = payment.identity.hex()
        session = self._till.session_name() if payment.method == "permit2-upto" else None
        deadline = time_encode(dt.datetime.fromtimestamp(min(payment.expires_at, _LATEST), dt.UTC))
        new = NewAuthorization(
            identity,
            payment.payer,
            asked.pay_to,
            asked.network,
            asked.asset,
            asked.scheme,
            token.timing,
            payment.cap,
            deadline,
            self._tender.raw,
            canonical.encode_exact(asked.to_json()),
            session,
        )
        cap = asked.amount if asked.scheme == x402.EXACT else quote.cap(rate)
        exposure = base_units(token.exposure_usd, rate)
        self._order = {"identity": identity, "cap": cap, "accept": new, "exposure": exposure}
        self._sign(new, rate)

    async def _admit_session(self, session: str, ask: Ask, quote: Quote, at: dt.datetime) -> None:
        self._refuse_unprovable(ask)
        token = self._till.selling.token
        found = await self._till.signed(session)
        if token is None or found is None or found.asset != token.asset:
            raise _unpaid("payment.session", "the session expired or is exhausted")
        left_s = (time_decode(found.deadline) - self._till.clock.now()).total_seconds()
        if left_s <= token.least_s:
            raise _unpaid("payment.session", "the session expired or is exhausted")
        rate = token.rate_at(at)
        exposure = base_units(token.exposure_usd, rate)
        self._order = {"identity": found.identity, "cap": quote.cap(rate), "exposure": exposure}
        self._sign(found, rate)

    def _refuse_unprovable(self, ask: Ask) -> None:
        """Whose run nobody can prove cannot be paid on proof: said before a byte is sent."""
        token = self._till.selling.token
        if token is not None and token.timing == "on_proof" and ask.options.settlement == "private":
            raise UsageError(
                "payment.unprovable",
                "money is taken here only for runs that are proved, and nobody ever checks a private one",
                hint="settle batch, or pay from an account's credit",
                param="holdfast.settlement",
            )

    def _sign(self, new: NewAuthorization, rate: pricing.Rate) -> None:
        self._agree(
            rate,
            scheme=new.scheme,
            timing=new.timing,
            network=new.network,
            asset=new.asset,
            payer=new.payer,
            payee=new.payee,
            authorised=str(new.cap),
            authorisation=sha256_hex(new.payload),
            deadline=new.deadline,
        )
        self.session = new.session

    def _agree(self, rate: pricing.Rate, *, scheme: str, timing: str, payer: str | None, **more: str) -> None:
        quote = self._quote
        self._terms = {
            "attester": self._till.identity.attester,
            "model": quote.model if quote else "",
            "prices": dict(quote.prices) if quote else {},
            "price_card": self._till.selling.card.digest,
            "rate": rate.to_json(),
            "scheme": scheme,
            "timing": timing,
            "network": rate.network,
            "asset": rate.asset,
            "payer": payer,
            "payee": None,
            "authorised": None,
            "authorisation": None,
            "deadline": None,
            **more,
        }

    async def hold(self, opening: Opening) -> None:
        """Set the cap aside for a run that is about to open; it is on disk after :meth:`durable`. Raises
        ``payment.*``."""
        terms = self._terms | statement_terms(opening)
        order = NewHold(opening.run, at=opening.stamp(self._till.clock.now()), terms=encode_known(terms), **self._order)
        try:
            await self._till.hold(order)
        except RefusedError as error:
            if self._tender.session is not None and error.code in ("payment.exhausted", "payment.closed"):
                raise _unpaid("payment.session", "the session expired or is exhausted") from error
            raise
        self.state = "credit" if order.account is not None else "authorised"

    async def durable(self) -> None:
        """Wait until what was held is on disk."""
        await self._till.books.sync()

    def abandon(self, run: str) -> None:
        """The run did not open after all."""
        self._till.abandon(run)

    def closed(self, closing: Closing) -> None:
        """The run closed."""
        self._till.closed(closing)

    def offers(self) -> dict[Method, PaymentRequirements]:
        """What may be signed for this request; nothing before it was quoted, or where nothing but credit pays."""
        if self._quote is None:
            return {}
        found = self._till.selling.requirements(self._quote, self._till.clock.now(), self._till.submitter)
        if self._og:
            return {method: asked for method, asked in found.items() if asked.scheme == x402.UPTO}
        return found


_LATEST = int(dt.datetime(9999, 12, 31, tzinfo=dt.UTC).timestamp())
"""What a payer signs may hold for ever; a time cannot."""


def statement_terms(opening: Opening) -> dict[str, Any]:
    """What the statements of a run's payment need of its opening, kept with the hold."""
    return {
        "request": opening.request.to_json(),
        "settlement": opening.settlement,
        "coarse": opening.coarse,
        "nonce": opening.nonce,
        "parent_run": opening.parent_run,
    }


def _unpaid(code: str, message: str) -> RefusedError:
    return RefusedError(code, message, status=402)


def _check_resource(payload: PaymentPayload, path: str) -> None:
    """A payment that says it is for another path is for another path, though nobody signed that."""
    url = (payload.resource or {}).get("url")
    if not isinstance(url, str):
        return
    _, found, rest = url.partition("://")
    if found and "/" + rest.partition("/")[2].partition("?")[0] != path:
        raise _unpaid("payment.resource", "the payment says that it is for another address")
