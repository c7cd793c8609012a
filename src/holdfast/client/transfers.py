"""Look on the chain for the transfer that a payment asked for, whatever anybody says about it
(``spec/payments.md`` §6, ``spec/collection.md`` §4).

:meth:`Transfers.look` asks about one transaction, :meth:`Transfers.used` whether the payment can still be taken, and
:meth:`Transfers.find` searches for the transaction that took it. Rules: the token's own events count and nothing else;
an endpoint that does not answer is ``chain.*`` and no finding. The endpoint is believed.

Not covered: tokens that move another amount than they were asked to.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from holdfast.client.chain import ChainReader
from holdfast.core.captures import AUTHORIZATION_USED, TRANSFERRED, captured
from holdfast.core.x402 import TransferAuthorization, VerifiedPayment, address_word
from holdfast.errors import UnavailableError

Finding: TypeAlias = Literal["moved", "young", "missing", "other"]
"""The transfer lies deep enough; it is in a block, but not under enough others; the transaction is in no block; it is,
and this transfer did not happen in it."""
WINDOW = 2_000
"""Blocks whose events are asked for at once: what public endpoints answer."""
MOST_WINDOWS = 50
"""How far back is searched at most."""


class Transfers:
    """Questions about payments to one chain."""

    def __init__(self, chain: ChainReader, depth: int, chain_id: int) -> None:
        self._chain = chain
        self._depth = depth
        self._chain_id = chain_id
        self._known = False

    async def look(self, payment: VerifiedPayment, transaction: str) -> Finding:
        """What a transaction (``0x`` and hex) did for a payment. Raises ``chain.*``."""
        await self._require_chain()
        mined = await self._chain.mined(bytes.fromhex(transaction[2:]))
        if mined is None:
            return "missing"
        if not captured([payment], mined.events)[0]:
            return "other"
        return "moved" if await self._chain.height() - mined.block >= self._depth else "young"

    async def used(self, payment: VerifiedPayment) -> bool:
        """Whether a payment was taken, or taken back by its payer: it can move nothing (more). Raises ``chain.*``."""
        await self._require_chain()
        authorization = payment.payload.authorization
        if isinstance(authorization, TransferAuthorization):
            return await self._chain.authorization_used(payment.requirements.asset, payment.payer, authorization.nonce)
        return await self._chain.permit_used(payment.payer, authorization.nonce)

    async def find(self, payment: VerifiedPayment, since: int) -> str | None:
        """The transaction that took a payment, searched for back to a unix second. None where there is none that the
        chain shows. Raises ``chain.*``."""
        await self._require_chain()
        last = await self._chain.height()
        for _ in range(MOST_WINDOWS):
            first = max(0, last - WINDOW + 1)
            found = await self._find_between(payment, first, last)
            if found is not None or first == 0 or await self._chain.block_time(first) < since:
                return found
            last = first - 1
        return None

    async def _require_chain(self) -> None:
        """Another chain would know nothing of any payment, and so refute all of them."""
        if not self._known:
            found = await self._chain.chain_id()
            if found != self._chain_id:
                raise UnavailableError("chain.other", f"the endpoint serves chain {found}, not {self._chain_id}")
            self._known = True

    async def _find_between(self, payment: VerifiedPayment, first: int, last: int) -> str | None:
        authorization, token = payment.payload.authorization, payment.requirements.asset
        payer = address_word(payment.payer)
        if isinstance(authorization, TransferAuthorization):
            topics = [AUTHORIZATION_USED, payer, authorization.nonce]
        else:
            topics = [TRANSFERRED, payer, address_word(authorization.to)]
        for digest, _ in await self._chain.events(token, topics, first, last):
            if await self._took(payment, digest):
                return "0x" + digest.hex()
        return None

    async def _took(self, payment: VerifiedPayment, digest: bytes) -> bool:
        """Whether a transaction took this payment and no other one that looks like it."""
        authorization = payment.payload.authorization
        if not isinstance(authorization, TransferAuthorization):
            data = await self._chain.input_of(digest)
            if data is None or authorization.nonce.to_bytes(32) not in data:
                return False
        mined = await self._chain.mined(digest)
        return mined is not None and captured([payment], mined.events)[0]
