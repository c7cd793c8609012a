"""Pays what is owed back: ordinary transfers from an account of the seller (``spec/collection.md`` §5(2)).

One debt at a time. Its transaction is durable before it is sent and keeps its nonce through every replacement, so one
debt is paid by one transfer whatever crashes. It counts as paid when the token's own event of this transfer lies under
as many blocks as asked for. A debt whose transaction did nothing (the account was empty), or whose nonce somebody else
has used, gets a new one after a while.

Not covered: an account that others send from at the same time costs delays. Debts of other gateways' runs are theirs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from holdfast.client.chain import ChainReader, Fees
from holdfast.core import canonical, evm
from holdfast.core.captures import transfer_call, transferred
from holdfast.core.encoding import hex_decode
from holdfast.core.transactions import UnsignedTransaction
from holdfast.core.x402 import chain_id_of
from holdfast.errors import HoldfastError, MalformedError, UnavailableError
from holdfast.nodes.gateway.books import Books
from holdfast.nodes.gateway.collector import Judge
from holdfast.nodes.gateway.refunds import Refunds
from holdfast.ports.clock import Clock
from holdfast.ports.signer import Signer
from holdfast.ports.storage import Storage
from holdfast.ports.till_store import Authorization, Debt

_LOG = logging.getLogger("holdfast.gateway.payouts")
FILE = "payout.json"
"""The transaction that is on its way, in the state folder."""
GAS = 100_000
"""About twice what a transfer of an ordinary token uses."""
AGAIN_S, BUMP_S, MISSING_S, RETRY_S = 10.0, 60.0, 30.0, 300.0
"""When a transaction is sent again; gets a higher fee; is given up because its nonce is used by another; and how long
a debt is left alone after a transaction that did nothing. Seconds."""
_BUMP_PERCENT = 125


@dataclass(slots=True)
class _Payout:
    """The transfer that pays one debt."""

    run: str
    nonce: int
    token: str
    to: str
    amount: int
    versions: list[bytes]
    """Raw transactions with this nonce, oldest first: one of them at most is ever mined."""
    sent_at: float = 0.0
    made_at: float = 0.0
    missing_since: float | None = None

    def record(self) -> bytes:
        """As it is kept."""
        return canonical.encode(
            {
                "run": self.run,
                "nonce": self.nonce,
                "token": self.token,
                "to": self.to,
                "amount": str(self.amount),
                "versions": [raw.hex() for raw in self.versions],
            }
        )


class Payouts:
    """See the module. ``signer`` is the account that pays, of the chain that ``network`` names."""

    def __init__(
        self,
        books: Books,
        refunds: Refunds,
        judge: Judge,
        chain: ChainReader,
        signer: Signer,
        storage: Storage,
        clock: Clock,
        *,
        network: str,
        depth: int,
        poll_s: float = 1.0,
    ) -> None:
        self._books = books
        self._store = books.store
        self._refunds = refunds
        self._judge = judge
        self._chain = chain
        self._signer = signer
        self._storage = storage
        self._clock = clock
        self._network = network
        self._chain_id = chain_id_of(network)
        self._depth = depth
        self._poll_s = poll_s
        self._left_alone: dict[str, float] = {}
        """Runs whose debt is not tried before a monotonic second."""
        self._known = False
        self._payout = self._load()
        self.trouble = ""
        """Why nothing is paid back now, or empty."""

    async def work(self) -> None:
        """Pay, for ever."""
        while True:
            try:
                await self.step()
                self.trouble = ""
            except Exception as error:  # noqa: BLE001 - the chain or the store: debts wait
                if str(error) != self.trouble:
                    _LOG.warning("refunds wait: %s", error)
                self.trouble = str(error)
            await self._clock.sleep(self._poll_s)

    async def step(self) -> None:
        """The next thing for the debt that is being paid, or for the next one. Raises ``chain.*``."""
        await self._require_chain()
        if self._payout is None:
            await self._begin()
        if self._payout is not None:
            await self._follow(self._payout)

    async def _require_chain(self) -> None:
        if not self._known:
            found = await self._chain.chain_id()
            if found != self._chain_id:
                raise UnavailableError("chain.other", f"the endpoint serves chain {found}, not {self._chain_id}")
            self._known = True

    # --- choosing -----------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        now = self._clock.monotonic()
        for debt in await self._books.call(self._store.debts):
            if self._left_alone.get(debt.run, 0.0) > now:
                continue
            found = await self._authorization(debt)
            if found is not None and await self._is_ours(debt):
                await self._make(debt, found)
                return

    async def _is_ours(self, debt: Debt) -> bool:
        """Whether this gateway's run is owed for. One that nobody can judge waits, and keeps no other one waiting."""
        try:
            return await self._judge.of(debt.run) is not None
        except HoldfastError as error:
            _LOG.warning("the refund for run %s waits: %s", debt.run, error)
            self._left_alone[debt.run] = self._clock.monotonic() + RETRY_S
            return False

    async def _authorization(self, debt: Debt) -> Authorization | None:
        """What the debt's run was paid by, where it can be paid back from here."""
        hold = await self._books.call(self._store.hold_of, debt.run)
        if hold is None or hold.identity is None:
            return None
        found = await self._books.call(self._store.authorization, hold.identity)
        return found if found is not None and found.new.network == self._network else None

    async def _make(self, debt: Debt, found: Authorization) -> None:
        """Sign a transfer and keep it; it is not sent yet."""
        payout = _Payout(debt.run, await self._chain.nonce(), found.new.asset, found.new.payer, debt.amount, [])
        self._sign(payout, await self._chain.fees())
        self._keep(payout)

    def _sign(self, payout: _Payout, fees: Fees) -> None:
        call = transfer_call(payout.token, payout.to, payout.amount)
        unsigned = UnsignedTransaction(
            self._chain_id, payout.nonce, fees.priority, fees.maximum, GAS, call.to, 0, call.data
        )
        payout.versions.append(unsigned.signed(self._signer.sign(unsigned.digest())))
        payout.made_at, payout.sent_at = self._clock.monotonic(), 0.0

    # --- following ----------------------------------------------------------------------------------------------------

    async def _follow(self, payout: _Payout) -> None:
        for raw in payout.versions:
            digest = evm.keccak256(raw)
            mined = await self._chain.mined(digest)
            if mined is None:
                continue
            payout.missing_since = None
            if await self._chain.height() - mined.block < self._depth:
                return
            if transferred(payout.token, self._chain.account, payout.to, payout.amount, mined.events):
                await self._paid(payout, "0x" + digest.hex())
            else:
                _LOG.error("the refund for run %s did nothing: look at the account's tokens", payout.run)
                self._drop(payout)
            return
        await self._push(payout)

    async def _paid(self, payout: _Payout, transaction: str) -> None:
        await self._refunds.repay(payout.run, transaction)
        self._payout = None
        self._storage.save(FILE, b"")

    def _drop(self, payout: _Payout) -> None:
        self._left_alone[payout.run] = self._clock.monotonic() + RETRY_S
        self._payout = None
        self._storage.save(FILE, b"")

    async def _push(self, payout: _Payout) -> None:
        """In no block: send it, again after a while, later with more fee; or give it up, for another one has its
        nonce."""
        now = self._clock.monotonic()
        if await self._chain.nonce() > payout.nonce:
            payout.missing_since = now if payout.missing_since is None else payout.missing_since
            if now - payout.missing_since >= MISSING_S:
                _LOG.warning("somebody else sends from %s: a refund gets another nonce", self._chain.account)
                self._payout = None
                self._storage.save(FILE, b"")
            return
        payout.missing_since = None
        if payout.sent_at and now - payout.made_at >= BUMP_S:
            fees = await self._chain.fees()
            more = len(payout.versions)
            raised = (fees.maximum * _BUMP_PERCENT**more) // 100**more
            self._sign(payout, Fees(min(raised, (fees.priority * _BUMP_PERCENT**more) // 100**more + more), raised))
            self._keep(payout)
        if not payout.sent_at or now - payout.sent_at >= AGAIN_S:
            payout.sent_at = now or 1e-9
            said = await self._chain.send(payout.versions[-1])
            if "insufficient funds" in said:
                raise UnavailableError("chain.funds", f"{self._chain.account} cannot pay for gas on {self._network}")

    # --- keeping ------------------------------------------------------------------------------------------------------

    def _keep(self, payout: _Payout) -> None:
        self._storage.save(FILE, payout.record())
        self._payout = payout

    def _load(self) -> _Payout | None:
        """What an earlier process was paying. Raises ``refund.state``."""
        raw = self._storage.load(FILE)
        if not raw:
            return None
        try:
            value = canonical.decode_object(raw)
            versions = [hex_decode(text) for text in value["versions"]]
            return _Payout(value["run"], value["nonce"], value["token"], value["to"], int(value["amount"]), versions)
        except (HoldfastError, KeyError, TypeError, ValueError) as error:
            raise MalformedError(
                "refund.state", f"{FILE} does not hold a transaction", hint="restore a copy"
            ) from error
