"""Captures on one chain: jobs into transactions, transactions into blocks, blocks into certainty.

One task per network does everything in turn, so that nonces are handed out in one place. A turn (:meth:`Network.step`):

1. Look at every nonce that does not count yet. A version of its transaction in a block under enough others ends its
   jobs. One that was in a block and is not any more was undone by a reorganisation, and is sent again.
2. Put waiting jobs into new transactions: EIP-3009 payments together, the others each by itself after the chain was
   asked whether it would work. The transaction is durable before it is sent.
3. Send again what is in no block, after a while with more fee and the same nonce.

Rules: a nonce is never given up. One that cannot be used as it was meant (an endpoint that refuses the transaction for
good) is used by one that does nothing, and its jobs wait again. Silence of the chain ends a turn and nothing else: what
was durable is taken up in the next. That money moved is read from events of its token alone (``core/captures.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from holdfast.client.chain import ChainReader, Fees, Mined
from holdfast.core import evm, x402
from holdfast.core.captures import Call, batch_call, capture_call, captured, refusal_of, refusals
from holdfast.core.encoding import sha256_hex
from holdfast.core.opengradient_settlement import Batch, build_batch, settle_call, settled_root
from holdfast.core.transactions import UnsignedTransaction, parse_transaction
from holdfast.core.x402 import TransferAuthorization, VerifiedPayment, reason_of
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from holdfast.nodes.facilitator.config import NetworkConfig
from holdfast.nodes.facilitator.jobs import DataJob, Ending, Flight, Job, Purpose, Settled
from holdfast.nodes.facilitator.ledger import Ledger
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics

_LOG = logging.getLogger(__name__)

TRANSFER_GAS, PERMIT_GAS, SPONSORED_GAS = 150_000, 250_000, 350_000
"""Gas of a capture by itself; about twice what it uses on the test token."""
BATCH_GAS, BATCH_EACH_GAS = 60_000, 75_000
"""Gas of a batch and of each payment in it; 220 of them stay below the 2^24 that EIP-7825 allows a transaction."""
SETTLE_GAS = 300_000
"""Gas of a batch's root: an event."""
VOID_GAS = 21_000
"""Gas of a transaction that does nothing."""
BUMP_PERCENT = 125
"""Fee of a replacement; public pools ask for 110."""
MAX_ATTEMPTS = 3
"""Transactions that a job is part of before it is given up as reverted."""
EARLY = ("payment.early", "payment.too_early")
"""What a chain says of a payment that it will take later."""
MISSING_S = 15.0
"""How long a nonce may be used without a transaction of ours to be seen: endpoints behind one name differ so long."""
_REFUSED_FOR_GOOD = ("gas limit", "intrinsic gas", "oversized", "too large", "invalid sender", "chain id")


@dataclass(slots=True)
class Errand:
    """A call that is no capture and shares the account's nonces: a relayed heartbeat, the root of a batch."""

    call: Call
    gas: int
    purpose: Purpose
    landed: asyncio.Future[bytes] | None = None
    data: list[DataJob] = field(default_factory=list)


class Network:
    """One chain; see the module's rules."""

    def __init__(
        self,
        config: NetworkConfig,
        chain: ChainReader,
        sign: Callable[[bytes], bytes],
        *,
        ledger: Ledger,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.config = config
        self.name = config.network
        self.account = chain.account
        self.chain = chain
        self.trouble: HoldfastError | None = UnavailableError("chain.starting", "the chain was not asked yet")
        """Why this network makes no progress now."""
        self._chain_id = x402.chain_id_of(config.network)
        self._captures = config.captures.lower() if config.captures else None
        self._sign = sign
        self._ledger = ledger
        self._clock = clock
        self._metrics = metrics
        self._together: deque[Job] = deque()
        self._alone: deque[Job] = deque()
        self._errands: deque[Errand] = deque()
        self._wake = asyncio.Event()
        self._begun = False
        self._fees: tuple[float, Fees] | None = None
        self._gap_since: float | None = None
        self._code: set[str] = set()
        for job in ledger.open_jobs(self.name):
            self._queue(job)

    # --- from outside -------------------------------------------------------------------------------------------------

    @property
    def flights(self) -> dict[int, Flight]:
        """Nonces that do not count yet."""
        return self._ledger.flights.setdefault(self.name, {})

    @property
    def waiting(self) -> int:
        """Jobs that are in no transaction."""
        return len(self._together) + len(self._alone)

    def submit(self, job: Job) -> None:
        """Have a durable job captured."""
        self._queue(job)
        self._wake.set()

    async def relay(self, call: Call, gas: int) -> bytes:
        """Send a call that somebody else wants sent; the hash of the transaction once it is in a block. Raises what
        the contract says against it (``heartbeat.refused``)."""
        data = await self.chain.revert_of(call)
        if data is not None:
            text = data[68:].rstrip(b"\x00").decode("utf-8", "replace") if len(data) > 68 else "the contract"
            raise RefusedError("heartbeat.refused", f"the registry refuses it: {text}", status=400)
        landed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._errands.append(Errand(call, gas, "heartbeat", landed))
        self._wake.set()
        return await landed

    def settle(self, batch: Batch, rows: list[DataJob]) -> None:
        """Have the root of a batch named on this chain. Its document is published already."""
        if self.config.settlement is None:
            raise UsageError("settlement.unset", f"{self.name} has no settlement contract")
        call = settle_call(self.config.settlement, batch, sha256_hex(batch.document))
        self._errands.append(Errand(call, SETTLE_GAS, "data", data=rows))
        self._wake.set()

    async def simulate(self, payment: VerifiedPayment) -> None:
        """Ask the chain whether it would carry the capture out; raises ``payment.*``, or ``chain.*`` when silent."""
        data, known = await asyncio.gather(self.chain.revert_of(capture_call(payment)), self._known(payment))
        if data is None and known is None:
            return
        raise await self._diagnose(payment, data or b"") if known is None else known

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take turns for ever. Ends only with the ledger (``wal.stopped``) or a bug."""
        while True:
            try:
                await self.step()
                self.trouble = None
            except UnavailableError as error:
                if not error.code.startswith("chain."):
                    raise
                self.trouble = error
                _LOG.warning("%s: %s", self.name, error)
            self._metrics.level("holdfast_facilitator_waiting", self.waiting, self.name)
            self._metrics.level("holdfast_facilitator_flying", len(self.flights), self.name)
            await self._pause()

    async def _pause(self) -> None:
        """Until there is work: a job, or the next look at what is on its way."""
        busy = self.flights or self.waiting or self._errands or self.trouble
        timer = asyncio.ensure_future(self._clock.sleep(self.config.poll_ms / 1000)) if busy else None
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({task for task in (timer, woken) if task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            if timer is not None:
                timer.cancel()
        if self._wake.is_set() and self.config.batch_wait_ms:
            await self._clock.sleep(self.config.batch_wait_ms / 1000)
        self._wake.clear()

    async def step(self) -> None:
        """One turn. Raises ``chain.*`` when the chain does not answer; everything else goes on in the next turn."""
        if not self._begun:
            await self._begin()
        if self.flights:
            await self._watch()
        await self._launch()
        await self._send_again()

    async def _begin(self) -> None:
        found = await self.chain.chain_id()
        if found != self._chain_id:
            raise UnavailableError("chain.other", f"the endpoint of {self.name} serves chain {found}")
        if self._captures is not None and not await self.chain.has_code(self._captures):
            raise UnavailableError("chain.captures", f"there is no contract at {self._captures}")
        used = await self.chain.nonce()
        known = self._ledger.next_nonce
        known[self.name] = max(known.get(self.name, 0), used)
        self._begun = True

    def _queue(self, job: Job) -> None:
        alone = job.alone or self._captures is None or job.payment.method != "eip3009"
        (self._alone if alone else self._together).append(job)

    # --- 1. looking ---------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        used = await self.chain.nonce()
        flights = sorted(self.flights.values(), key=lambda flight: flight.nonce)
        looking = asyncio.gather(*(self._find(flight) for flight in flights))
        height, found = await asyncio.gather(self.chain.height(), looking)
        for flight, seen in zip(flights, found, strict=True):
            if seen is None:
                await self._missing(flight, used)
                continue
            digest, mined = seen
            flight.block, flight.missing_since = mined.block, None
            if flight.landed is not None and not flight.landed.done():
                flight.landed.set_result(digest)
            for job in flight.jobs:
                if not job.ended.is_set():
                    job.transaction = "0x" + digest.hex()
            if height - mined.block >= self.config.depth:
                await self._land(flight, digest, mined)
        await self._mend(used)

    async def _find(self, flight: Flight) -> tuple[bytes, Mined] | None:
        hashes = flight.hashes
        answers = await asyncio.gather(*(self.chain.mined(digest) for digest in hashes))
        return next(((digest, mined) for digest, mined in zip(hashes, answers, strict=True) if mined), None)

    async def _missing(self, flight: Flight, used: int) -> None:
        """No version of a transaction is in a block: not yet, not any more, or somebody else used the nonce."""
        now = self._clock.monotonic()
        if flight.block is not None:
            flight.block, flight.last_sent = None, 0.0
            self._metrics.count("holdfast_facilitator_undone_total", amount=max(1, len(flight.jobs)))
            for job in flight.jobs:
                if not job.ended.is_set():
                    job.transaction = ""
        if used <= flight.nonce:
            flight.missing_since = None
        elif flight.missing_since is None:
            flight.missing_since = now
        elif now - flight.missing_since >= MISSING_S:
            _LOG.warning("%s: somebody else sends from %s: nonce %d", self.name, self.account, flight.nonce)
            await self._close(flight, [], [job for job in flight.jobs if not job.ended.is_set()])

    async def _mend(self, used: int) -> None:
        """Take up nonces again that the chain has lost after they counted: a reorganisation deeper than the depth."""
        lowest = min(self.flights, default=self._ledger.next_nonce.get(self.name, used))
        if used >= lowest:
            self._gap_since = None
            return
        now = self._clock.monotonic()
        if self._gap_since is None:
            self._gap_since = now
        if now - self._gap_since < MISSING_S:
            return
        self._gap_since = None
        for nonce in range(used, lowest):
            versions = self._ledger.versions_of(self.name, nonce)
            _LOG.error("%s: what counted was undone; nonce %d is sent again", self.name, nonce)
            if versions:
                self.flights[nonce] = Flight(self.name, nonce, "capture", [], versions)
            else:
                await self._make(nonce, "void", [], Call(self.account, b""), VOID_GAS)

    async def _land(self, flight: Flight, digest: bytes, mined: Mined) -> None:
        """A transaction counts: say of each of its jobs how it ended, or let it wait again."""
        if flight.data and await self._settled(flight, digest, mined):
            return
        jobs = [job for job in flight.jobs if not job.ended.is_set()]
        moved = captured([job.payment for job in jobs], mined.events)
        said = refusals(self._captures, mined.events) if self._captures else {}
        endings, again = [], []
        for job, happened in zip(jobs, moved, strict=True):
            if happened:
                endings.append(self._succeeded(job, digest))
                continue
            code = None if digest in flight.void else await self._why(job, mined, said, len(flight.jobs))
            ending = await self._failed(job, code)
            if ending is None:
                again.append(job)
            else:
                endings.append(ending)
        await self._close(flight, endings, again)

    async def _settled(self, flight: Flight, digest: bytes, mined: Mined) -> bool:
        """Whether a batch's root was named, in the contract's own event; if so its rows are settled."""
        batch = build_batch([job.row for job in flight.data])
        if settled_root(self.config.settlement or "", mined.events) != batch.root:
            return False
        now, blob = self._clock.now(), sha256_hex(batch.document)
        await self._ledger.settle(Settled(tuple(flight.data), batch.root, blob, "0x" + digest.hex(), now), flight)
        return True

    async def _why(
        self, job: Job, mined: Mined, said: dict[tuple[str, str, bytes], bytes], together: int
    ) -> str | None:
        """The code for which nothing moved in a transaction that counts; ``None`` if it is worth another one."""
        authorization = job.payment.payload.authorization
        if together > 1:
            if not isinstance(authorization, TransferAuthorization):
                return None
            data = said.get((job.payment.requirements.asset, job.payment.payer, authorization.nonce))
            code = refusal_of(data or b"").code
            return None if code in ("payment.simulation", *EARLY) else code
        if mined.success:
            return "payment.event"
        data = await self.chain.revert_of(capture_call(job.payment))
        return None if data is None else (await self._diagnose(job.payment, data)).code

    async def _failed(self, job: Job, code: str | None) -> Ending | None:
        """How a job ends whose money did not move for ``code``; ``None`` if it shall wait for another transaction."""
        if code is None:
            if job.attempts < MAX_ATTEMPTS:
                return None
            code = "payment.reverted"
        if earlier := await self._earlier(job):
            return self._succeeded(job, earlier)
        return Ending(job, "failed", "", reason_of(code, job.payment.method), self._clock.now())

    async def _earlier(self, job: Job) -> bytes | None:
        """The transaction by which we did capture a job that looked lost and was sent again."""
        for digest in job.earlier:
            mined = await self.chain.mined(digest)
            if mined is not None and captured([job.payment], mined.events) == [True]:
                if await self.chain.height() - mined.block < self.config.depth:
                    raise UnavailableError("chain.shallow", f"{job.id} was captured and does not count yet")
                return digest
        return None

    def _succeeded(self, job: Job, digest: bytes) -> Ending:
        return Ending(job, "succeeded", "0x" + digest.hex(), None, self._clock.now())

    async def _close(self, flight: Flight, endings: Sequence[Ending], again: Sequence[Job]) -> None:
        await self._ledger.end(endings, flight)
        for row in flight.data:
            row.status = "queued"
        for job in again:
            job.earlier += flight.hashes
            job.alone, job.status, job.transaction = True, "queued", ""
            self._queue(job)
        self._count(endings)

    def _count(self, endings: Sequence[Ending]) -> None:
        for ending in endings:
            self._metrics.count("holdfast_facilitator_ended_total", ending.status)
            spent = (ending.at - ending.job.created_at).total_seconds()
            self._metrics.observe("holdfast_facilitator_capture_seconds", max(0.0, spent))

    # --- 2. new transactions ------------------------------------------------------------------------------------------

    async def _launch(self) -> None:
        early: list[Job] = []
        try:
            await self._launch_until(early)
        finally:
            self._alone.extend(early)

    async def _launch_until(self, early: list[Job]) -> None:
        """New transactions until no more may fly; jobs whose time has not come on the chain are put into ``early``."""
        while len(self.flights) < self.config.transactions_at_once:
            if self._errands:
                errand = self._errands[0]
                made = await self._make(self._next(), errand.purpose, [], errand.call, errand.gas, errand.data)
                self._errands.popleft()
                made.landed = errand.landed
                await self._broadcast(made)
            elif self._alone:
                await self._launch_alone(early)
            elif self._together:
                await self._launch_together()
            else:
                return

    def _next(self) -> int:
        return self._ledger.next_nonce[self.name]

    async def _launch_alone(self, early: list[Job]) -> None:
        job = self._alone[0]
        try:
            ending = await self._hopeless(job)
        except RefusedError:
            early.append(self._alone.popleft())
            return
        if ending is None:
            call = capture_call(job.payment)
            gas = TRANSFER_GAS
            if job.payment.method != "eip3009":
                gas = PERMIT_GAS if job.payment.permit is None else SPONSORED_GAS
            flight = await self._make(self._next(), "capture", [job], call, gas)
            self._alone.popleft()
            await self._broadcast(flight)
            return
        await self._ledger.end([ending])
        self._alone.popleft()
        self._count([ending])

    async def _hopeless(self, job: Job) -> Ending | None:
        """How a job ends without a transaction, since none could capture it any more. Raises what the chain says of
        one that it will take later: its clock is its newest block's."""
        if job.payment.expires_at <= self._clock.now().timestamp():
            return await self._failed(job, "payment.expired")
        try:
            await self.simulate(job.payment)
        except RefusedError as error:
            if error.code in EARLY:
                raise
            return await self._failed(job, error.code)
        return None

    async def _launch_together(self) -> None:
        now = self._clock.now().timestamp()
        jobs = [self._together[place] for place in range(min(self.config.batch, len(self._together)))]
        late = [job for job in jobs if job.payment.expires_at <= now and not job.ended.is_set()]
        good = [job for job in jobs if job.payment.expires_at > now]
        endings = [ending for job in late if (ending := await self._failed(job, "payment.expired"))]
        if endings:
            await self._ledger.end(endings)
        flight = None
        if len(good) == 1:
            self._alone.append(good[0])
        elif good and self._captures is not None:
            call = batch_call(self._captures, [job.payment for job in good])
            gas = BATCH_GAS + BATCH_EACH_GAS * len(good)
            flight = await self._make(self._next(), "capture", good, call, gas)
        for _ in jobs:
            self._together.popleft()
        self._count(endings)
        if flight is not None:
            await self._broadcast(flight)

    async def _make(
        self, nonce: int, purpose: Purpose, jobs: list[Job], call: Call, gas: int, data: Sequence[DataJob] = ()
    ) -> Flight:
        """Sign a transaction and keep it; it is not sent yet."""
        fees = await self._now_fees()
        unsigned = UnsignedTransaction(self._chain_id, nonce, fees.priority, fees.maximum, gas, call.to, 0, call.data)
        raw = unsigned.signed(self._sign(unsigned.digest()))
        flight = Flight(self.name, nonce, purpose, jobs, [raw], data=list(data))
        if purpose == "void":
            flight.void.add(evm.keccak256(raw))
        await self._ledger.sent(flight, purpose)
        for job in jobs:
            job.attempts += 1
            job.status, job.updated_at = "processing", self._clock.now()
        self._metrics.count("holdfast_facilitator_transactions_total", purpose)
        return flight

    async def _now_fees(self) -> Fees:
        now = self._clock.monotonic()
        if self._fees is None or now - self._fees[0] > 1.0:
            self._fees = now, self._capped(await self.chain.fees())
        return self._fees[1]

    def _capped(self, fees: Fees) -> Fees:
        limit = self.config.max_fee_per_gas
        if limit is None or fees.maximum <= limit:
            return fees
        return Fees(min(fees.priority, limit), limit)

    # --- 3. sending ---------------------------------------------------------------------------------------------------

    async def _send_again(self) -> None:
        now = self._clock.monotonic()
        for flight in sorted(self.flights.values(), key=lambda flight: flight.nonce):
            if flight.block is not None:
                continue
            if flight.last_sent and now - flight.first_sent >= self.config.bump_s:
                await self._replace(flight)
            elif not flight.last_sent or now - flight.last_sent >= self.config.rebroadcast_s:
                await self._broadcast(flight)

    async def _broadcast(self, flight: Flight) -> None:
        now = self._clock.monotonic() or 1e-9
        said = await self.chain.send(flight.versions[-1])
        flight.first_sent, flight.last_sent = flight.first_sent or now, now
        if "insufficient funds" in said:
            raise UnavailableError("chain.funds", f"{self.account} cannot pay for gas on {self.name}")
        if any(words in said for words in _REFUSED_FOR_GOOD) and not flight.void:
            _LOG.error("%s: nonce %d is used for nothing: %s", self.name, flight.nonce, said)
            await self._replace(flight, void=True)
        elif said and "nonce" not in said and "underpriced" not in said:
            _LOG.warning("%s: nonce %d: %s", self.name, flight.nonce, said)

    async def _replace(self, flight: Flight, *, void: bool = False) -> None:
        """Another version of a transaction: with more fee, or with nothing in it. One nonce, so one of them counts."""
        last = _unsigned(flight.versions[-1])
        fees = Fees(last.max_priority_fee * BUMP_PERCENT // 100 + 1, last.max_fee * BUMP_PERCENT // 100 + 1)
        limit = self.config.max_fee_per_gas
        if limit is not None and fees.maximum > limit:
            flight.first_sent = self._clock.monotonic() or 1e-9
            await self._broadcast(flight)
            return
        call, gas = (Call(self.account, b""), VOID_GAS) if void else (Call(last.to or "", last.data), last.gas)
        unsigned = UnsignedTransaction(
            self._chain_id, flight.nonce, fees.priority, fees.maximum, gas, call.to, 0, call.data
        )
        raw = unsigned.signed(self._sign(unsigned.digest()))
        flight.versions.append(raw)
        if void:
            flight.void.add(evm.keccak256(raw))
        await self._ledger.sent(flight, "void" if void else flight.purpose)
        flight.first_sent = flight.last_sent = 0.0
        self._metrics.count("holdfast_facilitator_replaced_total")
        await self._broadcast(flight)

    # --- why not ------------------------------------------------------------------------------------------------------

    async def _known(self, payment: VerifiedPayment) -> RefusedError | None:
        """A call to an address without code succeeds, and moves nothing."""
        wanted = [payment.requirements.asset]
        if payment.method != "eip3009":
            wanted += [capture_call(payment).to, x402.PERMIT2]
        unknown = [address for address in wanted if address not in self._code]
        if unknown:
            answers = await asyncio.gather(*(self.chain.has_code(address) for address in unknown))
            self._code |= {address for address, there in zip(unknown, answers, strict=True) if there}
        if payment.requirements.asset not in self._code:
            return RefusedError("payment.contract", "there is no token at this address")
        if not self._code.issuperset(wanted):
            return RefusedError("payment.proxy", "the contracts of this scheme are not on this chain")
        return None

    async def _diagnose(self, payment: VerifiedPayment, data: bytes) -> RefusedError:
        error = refusal_of(data)
        if error.code != "payment.simulation":
            return error
        asset, payer = payment.requirements.asset, payment.payer
        with contextlib.suppress(UnavailableError):
            if await self.chain.balance(asset, payer) < payment.amount:
                return RefusedError("payment.balance", "the payer does not have so much")
            if payment.method != "eip3009" and await self.chain.allowance(asset, payer) < payment.amount:
                return RefusedError("payment.allowance", "the payer has not allowed Permit2 to move so much")
        return error


def _unsigned(raw: bytes) -> UnsignedTransaction:
    """A transaction of ours again, without its signature."""
    found = parse_transaction(raw)
    return UnsignedTransaction(
        found.chain_id,
        found.nonce,
        found.max_priority_fee,
        found.max_fee,
        found.gas,
        found.to,
        found.value,
        found.data,
    )
