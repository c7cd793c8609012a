"""Paying for what is asked, within the limits that a wallet's owner set (``spec/client.md`` §6).

A :class:`Wallet` signs: what ``core.paying`` allows, once the record has it on disk. A :class:`Payer` keeps a wallet's
sessions at one gateway, and each request is an :class:`Attempt`: it is asked which headers to send, and told what came
back. At most one authorization is signed for a request, whatever the server answers.

Rules: nothing is signed before it is entered. A server that wants another payment after it got one is refused, and so
is one that does not say what it wants. What a server says of a transfer is its word; where it does not fit what was
signed, the record says so and the answer is handed out all the same.

Not covered: whether the charge is right (``core.payments``), the allowance for Permit2 (``holdfast pay approve``).
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from holdfast.adapters.spending_sqlite import Spending, SpendingRecord
from holdfast.core import canonical
from holdfast.core.paying import (
    NONCE_BYTES,
    Limits,
    Seller,
    Terms,
    appraise_terms,
    authorization_digest,
    build_allowance,
    build_authorization,
    build_payload,
    parse_asked,
    require_same,
    verify_settlement,
)
from holdfast.core.x402 import (
    PaymentRequired,
    Permit2Authorization,
    SettleResponse,
    build_header,
    identity_of,
    parse_header,
    parse_settle_response,
)
from holdfast.errors import HoldfastError, RefusedError, UsageError
from holdfast.ports.clock import Clock

PAYMENT_REQUIRED = 402
SESSION = "x-upto-session"
"""Header that names an authorization which further requests may use."""
SIGNATURE, RESPONSE = "payment-signature", "payment-response"
SESSION_MARGIN_S = 15
"""A session whose authorization runs out sooner is not used any more."""
_SESSION = re.compile(r"[\x21-\x7e]{1,256}\Z")


class PaymentSigner(Protocol):
    """A secp256k1 key that holds money (``adapters/signer_secp256k1.py``)."""

    @property
    def address(self) -> str:
        """Its address."""
        ...

    def sign(self, message: bytes) -> bytes:
        """65 bytes over a 32-byte digest."""
        ...


class Tokens(Protocol):
    """What a wallet asks chains that its owner chose (``client/tokens.py``)."""

    async def allowance(self, network: str, token: str, owner: str) -> int:
        """Base units that Permit2 may move."""
        ...

    async def permit_nonce(self, network: str, token: str, owner: str) -> int:
        """How many EIP-2612 permits the token has taken from an owner."""
        ...


@dataclass(frozen=True, slots=True)
class Paid:
    """What was signed for a request, or stood already. Amounts are base units."""

    identity: str
    """Of the authorization, hex (``payments.md`` §5(6))."""
    payer: str
    payee: str
    network: str
    asset: str
    scheme: str
    authorised: int
    """The most that can be taken, over all requests of the session."""
    new: bool
    """Whether it was signed for this very request."""
    said: SettleResponse | None = None
    """What the server says of a transfer; None where it says nothing yet."""
    trouble: str | None = None
    """A code, where that does not fit what was signed."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A payment that may be sent."""

    paid: Paid
    terms: Terms
    header: str
    expires_at: int


class Wallet:
    """A key, what may be done with it, and what was done with it."""

    def __init__(
        self,
        signer: PaymentSigner,
        limits: Limits,
        record: SpendingRecord,
        clock: Clock,
        *,
        tokens: Tokens | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """``tokens`` None: allowances are taken to be there, and none is signed along."""
        self.limits = limits
        self.record = record
        self.clock = clock
        self._signer = signer
        self._tokens = tokens
        self._random_bytes = random_bytes

    @property
    def address(self) -> str:
        """Who pays."""
        return self._signer.address

    def now(self) -> int:
        """Unix seconds."""
        return int(self.clock.now().timestamp())

    async def pay(self, asked: PaymentRequired, seller: Seller, resource: str) -> Signed:
        """Sign the best of what is asked that is allowed. It is in the record before it is signed.

        Raises ``paying.*`` as :func:`~holdfast.core.paying.appraise_terms` and the record do, ``paying.allowance``
        where Permit2 may not move enough and the server submits no allowance, and ``chain.*``.
        """
        at = self.now()
        terms, nonce = await self._choose(appraise_terms(asked, self.limits, seller, at))
        entry = terms.requirements
        authorization = build_authorization(terms, self.address, self._random_bytes(NONCE_BYTES), at)
        identity = identity_of(authorization, chain_id=entry.chain_id, asset=entry.asset).hex()
        expires_at = at + entry.max_timeout_s
        spending = Spending(
            identity,
            at,
            self.address,
            entry.network,
            entry.asset,
            entry.scheme,
            entry.amount,
            entry.pay_to,
            expires_at,
            resource,
            canonical.encode_exact({**asked.to_json(), "accepts": [entry.to_json()]}),
        )
        await asyncio.to_thread(self.record.reserve, spending, terms.limit)
        extensions = None
        if nonce is not None and isinstance(authorization, Permit2Authorization):
            allowance = build_allowance(authorization, nonce)
            domain = {name: str(entry.extra[name]) for name in ("name", "version")}
            extensions = allowance.extension(self._signer.sign(allowance.digest(chain_id=entry.chain_id, **domain)))
        signature = self._signer.sign(authorization_digest(authorization, entry))
        payload = build_payload(terms, authorization, signature, extensions).to_json()
        header = build_header(payload)
        await asyncio.to_thread(self.record.sent, identity, canonical.encode_exact(payload))
        paid = Paid(
            identity, self.address, entry.pay_to, entry.network, entry.asset, entry.scheme, entry.amount, new=True
        )
        return Signed(paid, terms, header, expires_at)

    async def _choose(self, found: tuple[Terms, ...]) -> tuple[Terms, int | None]:
        """The first that can be paid as allowances stand, and the nonce of the allowance to sign along, if any."""
        refusal: RefusedError | None = None
        for terms in found:
            entry = terms.requirements
            if terms.method == "eip3009" or self._tokens is None:
                return terms, None
            if await self._tokens.allowance(entry.network, entry.asset, self.address) >= entry.amount:
                return terms, None
            if terms.sponsored and all(isinstance(entry.extra.get(name), str) for name in ("name", "version")):
                return terms, await self._tokens.permit_nonce(entry.network, entry.asset, self.address)
            refusal = RefusedError(
                "paying.allowance",
                f"Permit2 may not move {entry.amount} base units of {entry.asset} for {self.address}",
                hint="allow it once with 'holdfast pay approve'",
            )
        if refusal is None:
            raise UsageError("paying.nothing", "there is nothing to choose from")
        raise refusal


@dataclass(frozen=True, slots=True)
class _Session:
    name: str
    signed: Signed


class Payer:
    """A wallet at one gateway, with the sessions that it opened there."""

    def __init__(self, wallet: Wallet) -> None:
        self.wallet = wallet
        self._sessions: dict[str, _Session] = {}

    def attempt(self, url: str, seller: Seller) -> Attempt:
        """One request to a URL."""
        session = self._sessions.get(url)
        if session is not None and session.signed.expires_at - SESSION_MARGIN_S <= self.wallet.now():
            session = None
        return Attempt(self, url, seller, session)

    def keep(self, url: str, session: _Session | None) -> None:
        """What further requests to a URL may use."""
        if session is None:
            self._sessions.pop(url, None)
        else:
            self._sessions[url] = session


class Attempt:
    """One request until it is answered: send :attr:`headers`; :meth:`again` says whether to send once more."""

    def __init__(self, payer: Payer, url: str, seller: Seller, session: _Session | None) -> None:
        self.headers: Mapping[str, str] = {} if session is None else {SESSION: session.name}
        self.paid: Paid | None = None if session is None else replace(session.signed.paid, new=False)
        self._payer = payer
        self._url = url
        self._seller = seller
        self._session = session
        self._signed: Signed | None = None

    async def again(self, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        """Look at an answer; True asks to send once more with the :attr:`headers` as they are now.

        Raises ``paying.*``, ``x402.*``, ``encoding.*``, ``json.*`` or ``chain.*``; then nothing more is sent.
        """
        if status != PAYMENT_REQUIRED:
            return False
        asked = parse_asked(headers, body)
        if self._signed is not None:
            require_same(self._signed.terms.asked, asked or self._signed.terms.asked)
        if self._session is not None:
            self._payer.keep(self._url, None)
        if asked is None:
            if self._session is None:
                raise RefusedError("paying.unsaid", "the server wants to be paid and does not say what")
            self._session, self.paid, self.headers = None, None, {}
            return True
        self._session = None
        self._signed = await self._payer.wallet.pay(asked, self._seller, self._url)
        self.paid, self.headers = self._signed.paid, {SIGNATURE: self._signed.header}
        return True

    async def answered(self, headers: Mapping[str, str], run: str) -> Paid | None:
        """Take down what the answer says of the payment; None where nothing was paid."""
        signed = self._signed or (self._session.signed if self._session is not None else None)
        if signed is None or self.paid is None:
            return None
        name = headers.get(SESSION, "")
        if signed.terms.method == "permit2-upto" and _SESSION.match(name) is not None:
            self._payer.keep(self._url, _Session(name, signed))
        record, identity = self._payer.wallet.record, self.paid.identity
        capability = headers.get("x-holdfast-capability")
        await asyncio.to_thread(record.served, identity, run, self._payer.wallet.now(), capability)
        said, trouble = _read_response(headers.get(RESPONSE), signed)
        if said is not None or trouble is not None:
            told = None if said is None else canonical.encode_exact(said.to_json())
            await asyncio.to_thread(record.told, identity, told, trouble)
        self.paid = replace(self.paid, said=said, trouble=trouble)
        return self.paid


def _read_response(header: str | None, signed: Signed) -> tuple[SettleResponse | None, str | None]:
    """A server's word on a transfer, and the code of what is wrong with it."""
    if header is None:
        return None, None
    said = None
    try:
        said = parse_settle_response(parse_header(header))
        verify_settlement(said, signed.terms.requirements, signed.paid.payer)
    except HoldfastError as error:
        return said, error.code
    return said, None


def unpaid(headers: Mapping[str, str], body: bytes, where: str) -> RefusedError:
    """The error for an answer of status 402 to somebody who pays nothing."""
    try:
        asked = parse_asked(headers, body)
    except HoldfastError:
        asked = None
    ways = asked.accepts if asked is not None else ()
    what = "; ".join(f"{'at most ' if way.scheme == 'upto' else ''}{way.amount} of {way.asset}" for way in ways)
    return RefusedError(
        "paying.asked",
        f"{where} wants to be paid{f' ({what})' if what else ''}",
        hint="'holdfast chat --pay' pays from a wallet within its limits: docs/howto/pay.md; a workspace with a key "
        "can be given credit: holdfast credit grant WORKSPACE DOLLARS",
        status=PAYMENT_REQUIRED,
    )
