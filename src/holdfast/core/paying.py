"""What a payer is willing to sign, and what it signs (``spec/client.md`` §6). Pure: limits, keys, time come in.

:func:`parse_asked` reads an answer of status 402. :func:`appraise_terms` holds each thing that it asks against the
payer's own limits and against the server's own signed offers; what is left, best first, may be signed. ``build_…``
makes what is signed and what is sent.

Rules: a limit that nobody set is zero. What a server says of itself (a name, an amount, a facilitator) widens nothing.
``upto`` comes before ``exact``: of the first the charge is taken, of the second all that was signed.

Not covered: what was spent before (``adapters.spending_sqlite``), signing and sending (``client.paying``), and whether
the payee takes more than it should (``core.payments``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical, evm
from holdfast.core.keys import PublicKey
from holdfast.core.offers import EXTENSION, Offer, parse_offer, verify_key, verify_signer
from holdfast.core.x402 import (
    EXACT,
    EXACT_PROXY,
    PERMIT2,
    SPONSORING,
    UPTO,
    UPTO_PROXY,
    Method,
    PaymentPayload,
    PaymentRequired,
    PaymentRequirements,
    Permit2Authorization,
    SettleResponse,
    TransferAuthorization,
    address_word,
    parse_header,
    parse_payment_required,
    permit_digest,
    transfer_digest,
)
from holdfast.errors import HoldfastError, MalformedError, RefusedError

DAY_S = 86_400
"""What is signed in so many seconds counts together."""
BACKDATED_S = 600
"""So long before now an authorization begins to hold: clocks differ (as x402's own clients do)."""
NONCE_BYTES = 32
_PERMIT_TYPE = evm.keccak256(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
_ORDER: Mapping[Method, int] = {"permit2-upto": 0, "eip3009": 1, "permit2-exact": 2}


# --- limits -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AssetLimit:
    """How much of one asset may be signed away, base units."""

    network: str
    asset: str
    """Lower case."""
    per_request: int
    per_day: int
    """In any :data:`DAY_S`, counted by what was signed, taken or not (ADR 0054)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a payer allows. With nothing in it, nothing is signed."""

    assets: tuple[AssetLimit, ...] = ()
    payees: frozenset[str] = frozenset()
    """Addresses that may be paid beside the one that trust admits with the server's key document."""
    longest_s: int = DAY_S
    """Longest time for which an authorization may hold."""
    offer_required: bool = False
    """Whether a server must sign what it offers. What it signs is compared in any case."""

    def of(self, network: str, asset: str) -> AssetLimit | None:
        """The limit of an asset, if it may be used at all."""
        return next((item for item in self.assets if (item.network, item.asset) == (network, asset)), None)


@dataclass(frozen=True, slots=True)
class Seller:
    """Who is asked, as far as it was checked."""

    path: str
    """Path of the resource that was asked for."""
    payee: str | None = None
    """Where it is paid, by a key document that trust admits."""
    key: PublicKey | None = None
    """What it signs offers with."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Something that is asked and that may be signed."""

    requirements: PaymentRequirements
    limit: AssetLimit
    method: Method
    sponsored: bool
    """Whether the server has the allowance for Permit2 submitted that the payer signs beside it."""
    asked: PaymentRequired


# --- reading ----------------------------------------------------------------------------------------------------------


def parse_asked(headers: Mapping[str, str], body: bytes) -> PaymentRequired | None:
    """What an answer of status 402 asks; None where it does not say (a session that is over).

    Raises ``paying.altered`` where header and body differ, ``x402.*``, ``encoding.*`` or ``json.*``.
    """
    header = headers.get("payment-required")
    if header is None:
        return None
    value = parse_header(header)
    try:
        shown = canonical.decode(body) if body else None
    except HoldfastError:
        shown = None  # a page for people, say; the header is what counts
    if isinstance(shown, dict) and "accepts" in shown and shown["accepts"] != value.get("accepts"):
        raise RefusedError("paying.altered", "the server asks for one thing in the header and another in the body")
    return parse_payment_required(value)


def require_same(before: PaymentRequired, after: PaymentRequired) -> None:
    """Refuse the second 402 of one question, after a payment: nothing is signed twice for one answer.

    Raises ``paying.altered`` where it asks for something else than before, else ``paying.loop``.
    """
    if before.accepts != after.accepts:
        raise RefusedError(
            "paying.altered", "the server asks for something else than was signed for", hint="ask another server"
        )
    why = f": {after.error}" if after.error else ""
    raise RefusedError(
        "paying.loop",
        f"the server does not take the payment that it asked for{why}",
        hint="it may hold what was signed until that runs out; 'holdfast pay history' shows it",
    )


# --- judging ----------------------------------------------------------------------------------------------------------


def appraise_terms(asked: PaymentRequired, limits: Limits, seller: Seller, at: int) -> tuple[Terms, ...]:
    """What may be signed of what is asked, best first; never empty.

    Raises ``paying.nothing``, ``paying.asset``, ``paying.payee``, ``paying.longest``, ``paying.incomplete``,
    ``paying.per_request`` or ``paying.offer``: of several entries the reason of the one that came furthest.
    """
    refusals, found = [], []
    offers = _offers(asked)
    checks = _checks(limits, seller, offers, at)
    for entry in asked.accepts:
        why, rank = None, 0
        for rank, check in enumerate(checks):  # noqa: B007 - how far it came is wanted afterwards
            why = check(entry)
            if why is not None:
                break
        limit = limits.of(entry.network, entry.asset)
        if why is not None:
            refusals.append((rank, why))
        elif limit is not None:
            found.append(Terms(entry, limit, _method(entry), _is_sponsored(asked), asked))
    if found:
        return tuple(sorted(found, key=lambda terms: _ORDER[terms.method]))
    if not refusals:
        raise RefusedError(
            "paying.nothing",
            f"the server asks for nothing that can be paid here ({asked.others} ways on other networks or schemes)",
        )
    raise max(refusals, key=lambda item: item[0])[1]


Check = Callable[[PaymentRequirements], RefusedError | None]


def _checks(limits: Limits, seller: Seller, offers: Sequence[object] | None, at: int) -> tuple[Check, ...]:
    """In the order of ``client.md`` §6(3)."""

    def asset(entry: PaymentRequirements) -> RefusedError | None:
        if limits.of(entry.network, entry.asset) is not None:
            return None
        return RefusedError(
            "paying.asset",
            f"no limit is set for asset {entry.asset} on {entry.network}, so none of it is spent",
            hint="name it in the wallet's file, with what may be spent of it",
        )

    def payee(entry: PaymentRequirements) -> RefusedError | None:
        if entry.pay_to == seller.payee or entry.pay_to in limits.payees:
            return None
        return RefusedError(
            "paying.payee",
            f"the money would go to {entry.pay_to}, which is not where trust says that this gateway is paid",
            hint="name the address among the wallet's payees if you know whose it is",
        )

    def longest(entry: PaymentRequirements) -> RefusedError | None:
        if 0 < entry.max_timeout_s <= limits.longest_s:
            return None
        return RefusedError(
            "paying.longest",
            f"the authorization would hold for {entry.max_timeout_s} s, and {limits.longest_s} are allowed",
            hint="raise longest_s in the wallet's file if that is meant",
        )

    def complete(entry: PaymentRequirements) -> RefusedError | None:
        if entry.scheme == UPTO:
            missing = [] if _facilitator(entry) else ["facilitatorAddress"]
        else:
            named = ("name", "version") if _method(entry) == "eip3009" else ()
            missing = [name for name in named if not isinstance(entry.extra.get(name), str)]
        if not missing:
            return None
        return RefusedError("paying.incomplete", f"the server does not say its {', '.join(missing)} (in extra)")

    def amount(entry: PaymentRequirements) -> RefusedError | None:
        limit = limits.of(entry.network, entry.asset)
        most = 0 if limit is None else limit.per_request
        if entry.amount <= most:
            return None
        return RefusedError(
            "paying.per_request",
            f"{entry.amount} base units are asked for one request, and {most} are allowed",
            hint="raise per_request in the wallet's file if it is worth it",
        )

    def offered(entry: PaymentRequirements) -> RefusedError | None:
        if offers is None and not limits.offer_required:
            return None
        if any(_is_offered(item, entry, seller, at) for item in offers or ()):
            return None
        return RefusedError(
            "paying.offer",
            "the server has signed no offer of exactly what it asks, with the key that was checked",
            hint="ask another server; what it asks now is nothing that it could be held to",
        )

    return asset, payee, longest, complete, amount, offered


def _method(entry: PaymentRequirements) -> Method:
    if entry.scheme == UPTO:
        return "permit2-upto"
    return "permit2-exact" if entry.extra.get("assetTransferMethod") == "permit2" else "eip3009"


def _is_sponsored(asked: PaymentRequired) -> bool:
    return isinstance((asked.extensions or {}).get(SPONSORING), dict)


def _facilitator(entry: PaymentRequirements) -> str | None:
    """The one who alone may submit an ``upto`` payment; None where it is no address."""
    try:
        return evm.parse_address(str(entry.extra.get("facilitatorAddress")).lower())
    except MalformedError:
        return None


def _offers(asked: PaymentRequired) -> Sequence[object] | None:
    """The signed offers that came along; None where the server makes none."""
    extension = (asked.extensions or {}).get(EXTENSION)
    if extension is None:
        return None
    info = extension.get("info") if isinstance(extension, dict) else None
    listed = info.get("offers") if isinstance(info, dict) else None
    return listed if isinstance(listed, list) else ()


def _is_offered(item: object, entry: PaymentRequirements, seller: Seller, at: int) -> bool:
    """Whether a signed offer is of exactly this entry, still holds, and is by the seller."""
    try:
        signed = parse_offer(item)
        if signed.format == "jws":
            if seller.key is None:
                return False
            verify_key(signed, seller.key)
        else:
            verify_signer(signed, entry.pay_to)
    except HoldfastError:
        return False
    offer = signed.content
    if not isinstance(offer, Offer) or (offer.valid_until and offer.valid_until < at):
        return False
    says = (offer.scheme, offer.network, offer.asset.lower(), offer.pay_to.lower(), offer.amount)
    asks = (entry.scheme, entry.network, entry.asset, entry.pay_to, str(entry.amount))
    return says == asks and _path_of(offer.resource_url) == seller.path


def _path_of(url: str) -> str:
    """A server may be reached under several hosts; what it sells has one path."""
    _, _, rest = url.partition("://")
    _, slash, path = rest.partition("/")
    return slash + path.partition("?")[0]


# --- signing ----------------------------------------------------------------------------------------------------------


def build_authorization(
    terms: Terms, payer: str, nonce: bytes, at: int
) -> TransferAuthorization | Permit2Authorization:
    """What the payer (an address) signs for; ``nonce`` is 32 random bytes that are used once."""
    asked = terms.requirements
    begins, ends = max(0, at - BACKDATED_S), at + asked.max_timeout_s
    if terms.method == "eip3009":
        return TransferAuthorization(payer, asked.pay_to, asked.amount, begins, ends, nonce)
    upto = terms.method == "permit2-upto"
    return Permit2Authorization(
        payer,
        asked.asset,
        asked.amount,
        UPTO_PROXY if upto else EXACT_PROXY,
        int.from_bytes(nonce),
        ends,
        asked.pay_to,
        _facilitator(asked) if upto else None,
        begins,
    )


def authorization_digest(
    authorization: TransferAuthorization | Permit2Authorization, asked: PaymentRequirements
) -> bytes:
    """The 32 bytes that are signed (``payments.md`` §3, §4)."""
    if isinstance(authorization, Permit2Authorization):
        return permit_digest(authorization, chain_id=asked.chain_id)
    domain = {name: str(asked.extra.get(name)) for name in ("name", "version")}
    return transfer_digest(authorization, chain_id=asked.chain_id, token=asked.asset, **domain)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a payer signs so that Permit2 may move exactly one payment (EIP-2612, ``payments.md`` §4(5))."""

    owner: str
    asset: str
    amount: int
    nonce: int
    """How many the token has taken from this owner."""
    deadline: int

    def digest(self, *, chain_id: int, name: str, version: str) -> bytes:
        """The 32 bytes that are signed, in the token's own domain."""
        words = (evm.word(number) for number in (self.amount, self.nonce, self.deadline))
        struct = _PERMIT_TYPE + address_word(self.owner) + address_word(PERMIT2) + b"".join(words)
        separator = evm.domain_separator(name, version, chain_id, self.asset)
        return evm.typed_data_digest(separator, evm.keccak256(struct))

    def extension(self, signature: bytes) -> dict[str, Any]:
        """As it stands in a payload's ``extensions``."""
        info = {
            "from": self.owner,
            "asset": self.asset,
            "spender": PERMIT2,
            "amount": str(self.amount),
            "nonce": str(self.nonce),
            "deadline": str(self.deadline),
            "signature": "0x" + signature.hex(),
            "version": "1",
        }
        return {SPONSORING: {"info": info}}


def build_allowance(authorization: Permit2Authorization, nonce: int) -> Allowance:
    """The allowance of exactly one payment, that runs out with it."""
    owner, asset = authorization.payer, authorization.token
    return Allowance(owner, asset, authorization.amount, nonce, authorization.deadline)


def build_payload(
    terms: Terms,
    authorization: TransferAuthorization | Permit2Authorization,
    signature: bytes,
    extensions: Mapping[str, Any] | None = None,
) -> PaymentPayload:
    """What is sent."""
    return PaymentPayload(terms.requirements, authorization, signature, terms.asked.resource, extensions)


# --- afterwards -------------------------------------------------------------------------------------------------------


def verify_settlement(said: SettleResponse, asked: PaymentRequirements, payer: str) -> None:
    """Hold a server's word that money moved against what was signed. Raises ``paying.not_moved``,
    ``paying.other_payment`` or ``paying.other_amount``."""
    if not said.success:
        raise RefusedError("paying.not_moved", f"by the server's word nothing moved: {said.error_reason}")
    if said.network != asked.network or said.payer not in (None, payer):
        raise RefusedError("paying.other_payment", "the server tells of a payment that this client did not sign")
    if said.amount is None:
        return
    if said.amount > asked.amount or (asked.scheme == EXACT and said.amount != asked.amount):
        raise RefusedError(
            "paying.other_amount", f"by the server's word {said.amount} base units moved, of {asked.amount} signed"
        )
