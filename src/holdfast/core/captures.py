"""The calls that take a payment's money, and what the chain says about them afterwards (``spec/payments.md`` §6).

Calls are packed by hand, for the same contracts whose signatures ``core/x402.py`` packs. That money moved is read from
the token's own events and from nothing else: not from a transaction's status, not from a contract in between, not from
whoever says so. Why it did not is read from the revert data, in the words of the contracts in use.

Not covered: sending (``nodes/facilitator``), gas, tokens that move another amount than they were asked to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.core import evm
from holdfast.core.x402 import (
    EXACT_PROXY,
    UPTO_PROXY,
    AllowancePermit,
    Permit2Authorization,
    TransferAuthorization,
    VerifiedPayment,
    address_word,
)
from holdfast.errors import RefusedError, UsageError


def selector(signature: str) -> bytes:
    """The first four bytes of the Keccak-256 of a function's or an error's signature."""
    return evm.keccak256(signature.encode())[:4]


MAX_BATCH = 256
"""Authorizations in one call of ``Captures.vy``."""
_PERMIT = "((address,uint256),uint256,uint256)"
_PERMIT2612 = "(uint256,uint256,bytes32,bytes32,uint8)"
_UPTO_WITNESS, _EXACT_WITNESS = "(address,address,uint256)", "(address,uint256)"
TRANSFER = selector("transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)")
CAPTURE = selector("capture((address,address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)[])")
SETTLE_EXACT = selector(f"settle({_PERMIT},address,{_EXACT_WITNESS},bytes)")
SETTLE_UPTO = selector(f"settle({_PERMIT},uint256,address,{_UPTO_WITNESS},bytes)")
SETTLE_EXACT_PERMIT = selector(f"settleWithPermit({_PERMIT2612},{_PERMIT},address,{_EXACT_WITNESS},bytes)")
SETTLE_UPTO_PERMIT = selector(f"settleWithPermit({_PERMIT2612},{_PERMIT},uint256,address,{_UPTO_WITNESS},bytes)")
BALANCE_OF, ALLOWANCE = selector("balanceOf(address)"), selector("allowance(address,address)")
TRANSFER_TO = selector("transfer(address,uint256)")
AUTHORIZATION_STATE = selector("authorizationState(address,bytes32)")
NONCE_BITMAP = selector("nonceBitmap(address,uint256)")

TRANSFERRED = evm.keccak256(b"Transfer(address,address,uint256)")
AUTHORIZATION_USED = evm.keccak256(b"AuthorizationUsed(address,bytes32)")
REFUSED = evm.keccak256(b"Refused(address,bytes32,address,bytes)")
_ERROR = selector("Error(string)")


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent to a contract."""

    to: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a transaction, as its receipt lists it."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes


# --- calls ------------------------------------------------------------------------------------------------------------


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(32) for value in values)


def _dynamic(value: bytes) -> bytes:
    """``bytes`` as the ABI has it: its length, then itself in whole words."""
    return len(value).to_bytes(32) + value + bytes(-len(value) % 32)


def _transfer_words(authorization: TransferAuthorization, signature: bytes) -> bytes:
    return (
        address_word(authorization.payer)
        + address_word(authorization.to)
        + _words(authorization.value, authorization.valid_after, authorization.valid_before)
        + authorization.nonce
        + bytes(31)
        + signature[64:]
        + signature[:64]
    )


def capture_call(payment: VerifiedPayment) -> Call:
    """The call that takes one payment by itself."""
    authorization = payment.payload.authorization
    if isinstance(authorization, TransferAuthorization):
        return Call(payment.requirements.asset, TRANSFER + _transfer_words(authorization, payment.signature))
    return _settle_call(authorization, payment.amount, payment.signature, payment.permit)


def _settle_call(
    authorization: Permit2Authorization, amount: int, signature: bytes, allowance: AllowancePermit | None
) -> Call:
    upto = authorization.facilitator is not None
    head = b""
    if allowance is not None:
        sponsor = allowance.signature
        head = _words(allowance.value, allowance.deadline) + sponsor[:64] + bytes(31) + sponsor[64:]
    head += address_word(authorization.token)
    head += _words(authorization.amount, authorization.nonce, authorization.deadline)
    if upto:
        head += _words(amount)
    head += address_word(authorization.payer) + address_word(authorization.to)
    if authorization.facilitator is not None:
        head += address_word(authorization.facilitator)
    head += _words(authorization.valid_after)
    chosen = (SETTLE_UPTO_PERMIT if upto else SETTLE_EXACT_PERMIT) if allowance else None
    function = chosen or (SETTLE_UPTO if upto else SETTLE_EXACT)
    data = function + head + _words(len(head) + 32) + _dynamic(signature)
    return Call(UPTO_PROXY if upto else EXACT_PROXY, data)


def batch_call(contract: str, payments: Sequence[VerifiedPayment]) -> Call:
    """The call of ``Captures.vy`` at ``contract`` that takes several EIP-3009 payments; raises ``capture.batch``."""
    if not 0 < len(payments) <= MAX_BATCH:
        raise UsageError("capture.batch", f"a batch has 1 to {MAX_BATCH} payments")
    rows = []
    for payment in payments:
        authorization = payment.payload.authorization
        if not isinstance(authorization, TransferAuthorization):
            raise UsageError("capture.batch", "only EIP-3009 payments are captured together")
        rows.append(address_word(payment.requirements.asset) + _transfer_words(authorization, payment.signature))
    return Call(contract, CAPTURE + _words(32, len(rows)) + b"".join(rows))


def transfer_call(token: str, to: str, amount: int) -> Call:
    """The call by which whoever sends it gives tokens away: how money is given back."""
    return Call(token, TRANSFER_TO + address_word(to) + _words(amount))


# --- what happened ----------------------------------------------------------------------------------------------------


def captured(payments: Sequence[VerifiedPayment], events: Sequence[Event]) -> list[bool]:
    """For each payment of one transaction whether its token says that exactly this transfer happened in it.

    Each ``Transfer`` counts for one payment only, and an EIP-3009 payment needs its own ``AuthorizationUsed`` too.
    """
    transfers: Counter[tuple[str, bytes, bytes, bytes]] = Counter()
    used = set()
    for event in events:
        if len(event.topics) != 3:
            continue
        if event.topics[0] == TRANSFERRED and len(event.data) == 32:
            transfers[event.address, event.topics[1], event.topics[2], event.data] += 1
        elif event.topics[0] == AUTHORIZATION_USED:
            used.add((event.address, event.topics[1], event.topics[2]))
    found = []
    for payment in payments:
        token, payer = payment.requirements.asset, address_word(payment.payer)
        authorization = payment.payload.authorization
        moved = (token, payer, address_word(authorization.to), payment.amount.to_bytes(32))
        happened = transfers[moved] > 0
        if isinstance(authorization, TransferAuthorization):
            happened = happened and (token, payer, authorization.nonce) in used
        transfers[moved] -= happened
        found.append(happened)
    return found


def transferred(token: str, payer: str, to: str, amount: int, events: Sequence[Event]) -> bool:
    """Whether a token says that exactly this transfer happened in a transaction with these events."""
    topics = (TRANSFERRED, address_word(payer), address_word(to))
    return any((event.address, event.topics, event.data) == (token, topics, amount.to_bytes(32)) for event in events)


def refusals(contract: str, events: Sequence[Event]) -> dict[tuple[str, str, bytes], bytes]:
    """Of a batch: (token, payer, nonce) of what a token refused, and the beginning of its revert data."""
    found = {}
    for event in events:
        if event.address == contract and len(event.topics) == 4 and event.topics[0] == REFUSED:
            payer, token = ("0x" + topic[12:].hex() for topic in (event.topics[1], event.topics[3]))
            size = int.from_bytes(event.data[32:64])
            found[token, payer, event.topics[2]] = event.data[64 : 64 + min(size, len(event.data))]
    return found


def revert_text(data: bytes) -> str:
    """The text of ``Error(string)``, lower case; empty for anything else. May be cut short."""
    if data[:4] != _ERROR or len(data) < 68:
        return ""
    size = int.from_bytes(data[36:68])
    return data[68 : 68 + min(size, len(data))].decode("utf-8", "replace").lower()


_REPLAYED = {
    selector(text) for text in ("InvalidNonce()", "AuthorizationAlreadyUsed()", "AuthorizationUsedOrCanceled()")
}
_EXPIRED = {selector(text) for text in ("SignatureExpired(uint256)", "AuthorizationExpired()")}
_SIGNATURE = {
    selector(text)
    for text in (
        "InvalidSigner()",
        "InvalidSignature()",
        "InvalidSignatureLength()",
        "InvalidContractSignature()",
        "SignerMismatch()",
    )
}
_BALANCE = {selector("ERC20InsufficientBalance(address,uint256,uint256)")}
_ALLOWANCE = {selector("ERC20InsufficientAllowance(address,uint256,uint256)")}
_OVER_CAP = {selector("AmountExceedsPermitted()"), selector("InvalidAmount(uint256)")}
_UNAUTHORIZED, _EARLY = selector("UnauthorizedFacilitator()"), selector("PaymentTooEarly()")
_SPONSORING_AMOUNT = selector("Permit2612AmountMismatch()")


def refusal_of(data: bytes) -> RefusedError:
    """Why a contract refused a capture, from its revert data; ``payment.simulation`` where it did not say."""
    start, text = data[:4], revert_text(data)
    if start in _REPLAYED or "authorization is used" in text:
        return RefusedError("payment.replayed", "the authorization was used before, or was taken back")
    if start in _EXPIRED or "authorization is expired" in text:
        return RefusedError("payment.expired", "the payment is expired")
    if "authorization is not yet valid" in text:
        return RefusedError("payment.early", "the payment is not valid yet")
    if start == _EARLY:
        return RefusedError("payment.too_early", "the payment is not valid yet")
    if start in _SIGNATURE or "invalid signature" in text:
        return RefusedError("payment.signature", "the contract takes the signature for somebody else's")
    if start in _BALANCE or "amount exceeds balance" in text:
        return RefusedError("payment.balance", "the payer does not have so much")
    if start in _ALLOWANCE or "amount exceeds allowance" in text:
        return RefusedError("payment.allowance", "the payer has not allowed Permit2 to move so much")
    if start in _OVER_CAP:
        return RefusedError("payment.over_cap", "the charge is above the signed cap")
    if start == _UNAUTHORIZED:
        return RefusedError("payment.unauthorized", "the payment names another facilitator")
    if start == _SPONSORING_AMOUNT:
        return RefusedError("payment.sponsoring_amount", "the allowance is not of the signed amount")
    return RefusedError("payment.simulation", "the capture would fail on the chain, which does not say why")
