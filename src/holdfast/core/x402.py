"""x402 version 2 as bytes: requirements, payloads, answers, and who signed a payment (``spec/payments.md`` §1 to §5).

Three steps with three names. ``parse_`` takes headers and JSON objects apart and looks at nothing but their form;
:func:`verify_payment` compares a payload with requirements and recovers its signer; whether the chain will pay is
asked elsewhere (``nodes/facilitator``). Amounts are base units of the asset, times unix seconds, addresses lower case.

Rules: JSON is strict; a number has one spelling (a decimal string); what a payer signed has exactly the members that
are signed, so nothing beside them can pass for agreed. Other members of x402's objects are somebody else's: they are
kept where an object is passed on and never interpreted. Signatures are packed by hand (EIP-712).

Each refusal has a code of ours and the reason that x402 clients know it by (:func:`reason_of`).
Not covered: other networks than ``eip155``, signatures of contracts (EIP-1271, EIP-6492), x402 version 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from holdfast.core import canonical, evm
from holdfast.core.encoding import b64_decode, b64_encode, sha256
from holdfast.errors import HoldfastError, MalformedError, RefusedError

VERSION = 2
"""``x402Version`` of everything here."""
MAX_HEADER_CHARACTERS = 24 << 10
"""Longest header value; a server's whole header block is bounded at 32 KiB (``nodes/server.py``)."""
EXACT, UPTO = "exact", "upto"
"""Schemes: the whole signed amount, or any amount up to it."""
PERMIT2 = "0x000000000022d473030f116ddee9f6b43ac78ba3"
"""Permit2, at one address on every chain that has it."""
EXACT_PROXY = "0x402085c248eea27d92e8b30b2c58ed07f9e20001"
UPTO_PROXY = "0x4020a4f3b7b90cca423b9fabcc0ce57c6c240002"
"""x402's contracts that Permit2 payments name as spender."""
DEADLINE_MARGIN_S = 6
"""A payment has to hold so much longer, for the block that takes it (as x402's own facilitators ask)."""
SPONSORING = "eip2612GasSponsoring"
"""Extension by which a payer signs the allowance for Permit2 as well (EIP-2612)."""

Method: TypeAlias = Literal["eip3009", "permit2-exact", "permit2-upto"]
JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

_NETWORK = re.compile(r"eip155:([1-9][0-9]{0,17})\Z")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}\Z")
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,77})\Z")
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*\Z")
_MAX_WORD = 2**256 - 1
_MAX_SIGNATURE_BYTES = 4096

_TRANSFER_TYPE = evm.keccak256(
    b"TransferWithAuthorization(address from,address to,uint256 value,"
    b"uint256 validAfter,uint256 validBefore,bytes32 nonce)"
)
_PERMISSIONS = b"TokenPermissions(address token,uint256 amount)"
_EXACT_WITNESS = b"Witness(address to,uint256 validAfter)"
_UPTO_WITNESS = b"Witness(address to,address facilitator,uint256 validAfter)"
_PERMIT = (
    b"PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,"
    b"Witness witness)" + _PERMISSIONS
)
_PERMISSIONS_TYPE = evm.keccak256(_PERMISSIONS)
_WITNESS_TYPES = {EXACT: evm.keccak256(_EXACT_WITNESS), UPTO: evm.keccak256(_UPTO_WITNESS)}
_PERMIT_TYPES = {EXACT: evm.keccak256(_PERMIT + _EXACT_WITNESS), UPTO: evm.keccak256(_PERMIT + _UPTO_WITNESS)}
_PERMIT2_DOMAIN_TYPE = evm.keccak256(b"EIP712Domain(string name,uint256 chainId,address verifyingContract)")
_PERMIT2_NAME = evm.keccak256(b"Permit2")
_IDENTITY_TAG = b"urn:holdfast:payment-authorization:v1\x00"


# --- forms (§1) -------------------------------------------------------------------------------------------------------


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError("x402.members", f"{name} is an object", param=name)
    return value


def _member(value: Mapping[str, Any], name: str) -> Any:
    if name not in value:
        raise MalformedError("x402.members", f"{name} is missing", param=name)
    return value[name]


def _exactly(value: object, name: str, *members: str) -> dict[str, Any]:
    found = _object(value, name)
    if found.keys() != set(members):
        raise MalformedError("x402.members", f"{name} has exactly {', '.join(members)}", param=name)
    return found


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise MalformedError("x402.members", f"{name} is a string", param=name)
    return value


def _number(value: object, name: str) -> int:
    """A decimal string of 0 to 2^256 - 1 in its shortest form."""
    if not isinstance(value, str) or _NUMBER.match(value) is None or (found := int(value)) > _MAX_WORD:
        raise MalformedError("x402.number", f"{name} is a decimal string of an unsigned 256-bit integer", param=name)
    return found


def _address(value: object, name: str) -> str:
    if not isinstance(value, str) or _ADDRESS.match(value) is None:
        raise MalformedError("x402.address", f"{name} is 0x and 40 hex digits", param=name)
    return value.lower()


def _bytes(value: object, name: str, size_bytes: int | None = None) -> bytes:
    if not isinstance(value, str) or len(value) > 2 + 2 * _MAX_SIGNATURE_BYTES or _HEX.match(value) is None:
        raise MalformedError("x402.hex", f"{name} is 0x and hex digits", param=name)
    found = bytes.fromhex(value[2:])
    if size_bytes is not None and len(found) != size_bytes:
        raise MalformedError("x402.hex", f"{name} has {size_bytes} bytes", param=name)
    return found


def chain_id_of(network: str) -> int:
    """The chain id in ``eip155:<chain id>``; raises ``x402.network``."""
    match = _NETWORK.match(network)
    if match is None:
        raise MalformedError("x402.network", "networks are eip155:<chain id>", param="network")
    return int(match[1])


def parse_header(text: str) -> dict[str, Any]:
    """A header value (base64 of one JSON object) to that object. Raises ``x402.header``, ``encoding.*``, ``json.*``."""
    if len(text) > MAX_HEADER_CHARACTERS:
        raise MalformedError("x402.header", f"a payment header has at most {MAX_HEADER_CHARACTERS} characters")
    return canonical.decode_object(b64_decode(text))


def build_header(value: Mapping[str, Any]) -> str:
    """An object as a header value. It has to fit (``x402.header``): a server refuses a longer one unread."""
    text = b64_encode(canonical.encode_exact(value))
    if len(text) > MAX_HEADER_CHARACTERS:
        raise MalformedError("x402.header", f"a payment header has at most {MAX_HEADER_CHARACTERS} characters")
    return text


# --- objects (§2) -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PaymentRequirements:
    """What a server asks for: one entry of ``accepts``."""

    scheme: str
    network: str
    asset: str
    amount: int
    """Base units: the price (``exact``), the cap at verification or the charge at settlement (``upto``)."""
    pay_to: str
    max_timeout_s: int
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def chain_id(self) -> int:
        """Of :attr:`network`."""
        return chain_id_of(self.network)

    def to_json(self) -> dict[str, Any]:
        """As x402 writes it."""
        return {
            "scheme": self.scheme,
            "network": self.network,
            "asset": self.asset,
            "amount": str(self.amount),
            "payTo": self.pay_to,
            "maxTimeoutSeconds": self.max_timeout_s,
            "extra": dict(self.extra),
        }


@dataclass(frozen=True, slots=True)
class PaymentRequired:
    """What comes with status 402."""

    accepts: tuple[PaymentRequirements, ...]
    """The entries that are understood here; :attr:`others` counts the rest."""
    error: str | None = None
    resource: Mapping[str, Any] | None = None
    extensions: Mapping[str, Any] | None = None
    others: int = 0

    def to_json(self) -> dict[str, Any]:
        """As x402 writes it."""
        members = {"error": self.error, "resource": self.resource, "extensions": self.extensions}
        return {
            "x402Version": VERSION,
            "accepts": [each.to_json() for each in self.accepts],
            **{name: value for name, value in members.items() if value is not None},
        }


@dataclass(frozen=True, slots=True)
class TransferAuthorization:
    """What an EIP-3009 payer signs."""

    payer: str
    to: str
    value: int
    valid_after: int
    valid_before: int
    nonce: bytes
    """32 bytes, chosen by the payer; used once for ever with this payer and token."""

    def to_json(self) -> dict[str, Any]:
        """As x402 writes it."""
        return {
            "from": self.payer,
            "to": self.to,
            "value": str(self.value),
            "validAfter": str(self.valid_after),
            "validBefore": str(self.valid_before),
            "nonce": "0x" + self.nonce.hex(),
        }


@dataclass(frozen=True, slots=True)
class Permit2Authorization:
    """What a Permit2 payer signs."""

    payer: str
    token: str
    amount: int
    spender: str
    nonce: int
    deadline: int
    to: str
    facilitator: str | None
    """Who alone may submit it (``upto``); ``None`` for ``exact``."""
    valid_after: int

    def to_json(self) -> dict[str, Any]:
        """As x402 writes it."""
        named = {} if self.facilitator is None else {"facilitator": self.facilitator}
        return {
            "from": self.payer,
            "permitted": {"token": self.token, "amount": str(self.amount)},
            "spender": self.spender,
            "nonce": str(self.nonce),
            "deadline": str(self.deadline),
            "witness": {"to": self.to, **named, "validAfter": str(self.valid_after)},
        }


@dataclass(frozen=True, slots=True)
class PaymentPayload:
    """A payment as its payer sends it. Nothing here was checked."""

    accepted: PaymentRequirements
    authorization: TransferAuthorization | Permit2Authorization
    signature: bytes
    resource: Mapping[str, Any] | None = None
    extensions: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As x402 writes it."""
        permit = isinstance(self.authorization, Permit2Authorization)
        name = "permit2Authorization" if permit else "authorization"
        members = {"resource": self.resource, "extensions": self.extensions}
        return {
            "x402Version": VERSION,
            "payload": {name: self.authorization.to_json(), "signature": "0x" + self.signature.hex()},
            "accepted": self.accepted.to_json(),
            **{name: value for name, value in members.items() if value is not None},
        }


def parse_requirements(value: object) -> PaymentRequirements:
    """One entry of ``accepts``; raises ``x402.*``. Other members than those named are not looked at."""
    found = _object(value, "paymentRequirements")
    scheme, network = _text(_member(found, "scheme"), "scheme"), _text(_member(found, "network"), "network")
    if scheme not in (EXACT, UPTO):
        raise MalformedError("x402.scheme", f"schemes are {EXACT} and {UPTO}", param="scheme")
    chain_id_of(network)
    timeout = _member(found, "maxTimeoutSeconds")
    if type(timeout) is not int or not 0 <= timeout <= 2**53 - 1:
        raise MalformedError("x402.number", "maxTimeoutSeconds is an integer", param="maxTimeoutSeconds")
    extra = found.get("extra")
    return PaymentRequirements(
        scheme,
        network,
        _address(_member(found, "asset"), "asset"),
        _number(_member(found, "amount"), "amount"),
        _address(_member(found, "payTo"), "payTo"),
        timeout,
        {} if extra is None else _object(extra, "extra"),
    )


def _require_version(value: Mapping[str, Any]) -> None:
    if value.get("x402Version") != VERSION or type(value["x402Version"]) is not int:
        raise MalformedError("x402.version", f"x402Version is {VERSION}", param="x402Version")


def _optional_object(value: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    found = value.get(name)
    return None if found is None else _object(found, name)


def parse_payment_required(value: object) -> PaymentRequired:
    """What a server asks for. Entries of other networks and schemes are counted and left out; any other fault in an
    entry is one of the whole (``x402.*``): nobody should pay a server that cannot say what it wants."""
    found = _object(value, "paymentRequired")
    _require_version(found)
    listed = _member(found, "accepts")
    if not isinstance(listed, list):
        raise MalformedError("x402.members", "accepts is a list", param="accepts")
    entries, others = [], 0
    for entry in listed:
        try:
            entries.append(parse_requirements(entry))
        except MalformedError as error:
            if error.code not in ("x402.scheme", "x402.network"):
                raise
            others += 1
    said = found.get("error")
    return PaymentRequired(
        tuple(entries),
        None if said is None else _text(said, "error"),
        _optional_object(found, "resource"),
        _optional_object(found, "extensions"),
        others,
    )


def parse_payload(value: object) -> PaymentPayload:
    """A payment payload of scheme ``exact`` (EIP-3009 or Permit2) or ``upto`` (Permit2); raises ``x402.*``."""
    found = _object(value, "paymentPayload")
    _require_version(found)
    accepted = parse_requirements(_member(found, "accepted"))
    inner = _object(_member(found, "payload"), "payload")
    signature = _bytes(_member(inner, "signature"), "signature")
    if inner.keys() == {"authorization", "signature"} and accepted.scheme == EXACT:
        authorization: TransferAuthorization | Permit2Authorization = _parse_transfer(inner["authorization"])
    elif inner.keys() == {"permit2Authorization", "signature"}:
        authorization = _parse_permit(inner["permit2Authorization"], accepted.scheme)
    else:
        raise MalformedError("x402.members", f"no payload of scheme {accepted.scheme} has these members")
    return PaymentPayload(
        accepted, authorization, signature, _optional_object(found, "resource"), _optional_object(found, "extensions")
    )


def _parse_transfer(value: object) -> TransferAuthorization:
    found = _exactly(value, "authorization", "from", "to", "value", "validAfter", "validBefore", "nonce")
    return TransferAuthorization(
        _address(found["from"], "from"),
        _address(found["to"], "to"),
        _number(found["value"], "value"),
        _number(found["validAfter"], "validAfter"),
        _number(found["validBefore"], "validBefore"),
        _bytes(found["nonce"], "nonce", 32),
    )


def _parse_permit(value: object, scheme: str) -> Permit2Authorization:
    found = _exactly(value, "permit2Authorization", "from", "permitted", "spender", "nonce", "deadline", "witness")
    permitted = _exactly(found["permitted"], "permitted", "token", "amount")
    named = ("facilitator",) if scheme == UPTO else ()
    witness = _exactly(found["witness"], "witness", "to", *named, "validAfter")
    return Permit2Authorization(
        _address(found["from"], "from"),
        _address(permitted["token"], "token"),
        _number(permitted["amount"], "amount"),
        _address(found["spender"], "spender"),
        _number(found["nonce"], "nonce"),
        _number(found["deadline"], "deadline"),
        _address(witness["to"], "to"),
        _address(witness["facilitator"], "facilitator") if named else None,
        _number(witness["validAfter"], "validAfter"),
    )


def parse_facilitator_request(value: object) -> tuple[PaymentPayload, PaymentRequirements]:
    """The body of ``/verify`` and ``/settle``; raises ``x402.*``."""
    found = _object(value, "request")
    _require_version(found)
    payload = parse_payload(_member(found, "paymentPayload"))
    return payload, parse_requirements(_member(found, "paymentRequirements"))


@dataclass(frozen=True, slots=True)
class VerifyResponse:
    """What a facilitator says of a payment before it is captured. It is that facilitator's word, and proves nothing."""

    valid: bool
    payer: str | None = None
    invalid_reason: str | None = None
    invalid_message: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As x402 writes it."""
        members = {
            "invalidReason": self.invalid_reason,
            "invalidMessage": self.invalid_message,
            "payer": self.payer,
        }
        return {"isValid": self.valid, **{name: value for name, value in members.items() if value is not None}}


def parse_verify_response(value: object) -> VerifyResponse:
    """A facilitator's answer; raises ``x402.*``. Valid and a reason why not contradict each other."""
    found = _object(value, "verifyResponse")
    valid = _member(found, "isValid")
    if not isinstance(valid, bool):
        raise MalformedError("x402.members", "isValid is true or false", param="isValid")
    reason = _optional_text(found, "invalidReason")
    if valid == (reason is not None):
        raise MalformedError("x402.members", "invalidReason stands exactly where isValid is false")
    return VerifyResponse(valid, _optional_address(found, "payer"), reason, _optional_text(found, "invalidMessage"))


@dataclass(frozen=True, slots=True)
class SettleResponse:
    """What a facilitator says of a capture; the ``PAYMENT-RESPONSE`` header carries it."""

    success: bool
    network: str
    transaction: str
    """``0x`` and 64 hex digits; empty where there is none (nothing to move, or nothing moved)."""
    payer: str | None = None
    amount: int | None = None
    error_reason: str | None = None
    error_message: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As x402 writes it."""
        members = {
            "errorReason": self.error_reason,
            "errorMessage": self.error_message,
            "payer": self.payer,
            "amount": None if self.amount is None else str(self.amount),
        }
        return {
            "success": self.success,
            "transaction": self.transaction,
            "network": self.network,
            **{name: value for name, value in members.items() if value is not None},
        }


def parse_settle_response(value: object) -> SettleResponse:
    """A facilitator's answer; raises ``x402.*``. Success and a reason why not contradict each other."""
    found = _object(value, "settleResponse")
    success = _member(found, "success")
    if not isinstance(success, bool):
        raise MalformedError("x402.members", "success is true or false", param="success")
    transaction = _text(_member(found, "transaction"), "transaction")
    if transaction:
        transaction = "0x" + _bytes(transaction, "transaction", 32).hex()
    network = _text(_member(found, "network"), "network")
    chain_id_of(network)
    reason, amount = _optional_text(found, "errorReason"), found.get("amount")
    if success == (reason is not None):
        raise MalformedError("x402.members", "errorReason stands exactly where success is false")
    return SettleResponse(
        success,
        network,
        transaction,
        _optional_address(found, "payer"),
        None if amount is None else _number(amount, "amount"),
        reason,
        _optional_text(found, "errorMessage"),
    )


def _optional_text(value: Mapping[str, Any], name: str) -> str | None:
    found = value.get(name)
    return None if found is None else _text(found, name)


def _optional_address(value: Mapping[str, Any], name: str) -> str | None:
    found = value.get(name)
    return None if found is None else _address(found, name)


# --- what is signed (§3, §4) ------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _token_separator(name: str, version: str, chain_id: int, token: str) -> bytes:
    return evm.domain_separator(name, version, chain_id, token)


@lru_cache(maxsize=64)
def _permit2_separator(chain_id: int) -> bytes:
    return evm.keccak256(_PERMIT2_DOMAIN_TYPE + _PERMIT2_NAME + evm.word(chain_id) + address_word(PERMIT2))


def address_word(address: str) -> bytes:
    """A parsed address as one ABI word."""
    return bytes(12) + bytes.fromhex(address[2:])


def transfer_digest(
    authorization: TransferAuthorization, *, chain_id: int, token: str, name: str, version: str
) -> bytes:
    """The 32 bytes that an EIP-3009 payer signs. ``name`` and ``version`` are of the token's EIP-712 domain (§3)."""
    struct = (
        _TRANSFER_TYPE
        + address_word(authorization.payer)
        + address_word(authorization.to)
        + authorization.value.to_bytes(32)
        + authorization.valid_after.to_bytes(32)
        + authorization.valid_before.to_bytes(32)
        + authorization.nonce
    )
    return evm.typed_data_digest(_token_separator(name, version, chain_id, token), evm.keccak256(struct))


def permit_digest(authorization: Permit2Authorization, *, chain_id: int) -> bytes:
    """The 32 bytes that a Permit2 payer signs (§4)."""
    scheme = EXACT if authorization.facilitator is None else UPTO
    named = b"" if authorization.facilitator is None else address_word(authorization.facilitator)
    permitted = evm.keccak256(_PERMISSIONS_TYPE + address_word(authorization.token) + authorization.amount.to_bytes(32))
    witness = evm.keccak256(
        _WITNESS_TYPES[scheme] + address_word(authorization.to) + named + authorization.valid_after.to_bytes(32)
    )
    struct = (
        _PERMIT_TYPES[scheme]
        + permitted
        + address_word(authorization.spender)
        + authorization.nonce.to_bytes(32)
        + authorization.deadline.to_bytes(32)
        + witness
    )
    return evm.typed_data_digest(_permit2_separator(chain_id), evm.keccak256(struct))


def parse_signature(signature: bytes) -> bytes:
    """65 bytes with ``v`` 27 or 28 and a low ``s``; ``v`` 0 and 1 are read as these. Raises ``payment.signature``."""
    if len(signature) == evm.SIGNATURE_BYTES and signature[64] in (0, 1):
        signature = signature[:64] + bytes([signature[64] + 27])
    try:
        evm.check_signature_form(signature)
    except MalformedError as error:
        raise RefusedError("payment.signature", f"not a signature that is taken here: {error.message}") from error
    return signature


# --- verification (§5) ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AllowancePermit:
    """The allowance for Permit2 that a payer signed beside a payment (EIP-2612). The token judges its signature."""

    value: int
    deadline: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class VerifiedPayment:
    """A payment whose payer signed for these requirements. Made by :func:`verify_payment` alone.

    Says nothing of the chain: the payer may have no money, may have used the nonce, may void it a second later.
    """

    payload: PaymentPayload
    requirements: PaymentRequirements
    method: Method
    payer: str
    amount: int
    """What is to be captured, base units."""
    cap: int
    """What was authorised."""
    expires_at: int
    """Unix seconds from which on the chain refuses it."""
    identity: bytes
    """32 bytes that name the authorization: the same for whatever else is done with it."""
    signature: bytes
    """65 bytes, ``v`` 27 or 28."""
    permit: AllowancePermit | None = None


def identity_of(authorization: TransferAuthorization | Permit2Authorization, *, chain_id: int, asset: str) -> bytes:
    """What can be captured once: SHA-256 over chain, the contract that counts the nonces, payer and nonce (§5)."""
    if isinstance(authorization, TransferAuthorization):
        contract, nonce = asset, authorization.nonce
    else:
        contract, nonce = PERMIT2, authorization.nonce.to_bytes(32)
    return sha256(
        _IDENTITY_TAG
        + chain_id.to_bytes(32)
        + bytes.fromhex(contract[2:])
        + bytes.fromhex(authorization.payer[2:])
        + nonce
    )


def job_id_of(identity: bytes) -> str:
    """The id of the one job that an authorization can have: ``payment-`` and a UUID (version 8) made of it (§7)."""
    digits = bytearray(identity[:16])
    digits[6] = 0x80 | digits[6] & 0x0F
    digits[8] = 0x80 | digits[8] & 0x3F
    text = digits.hex()
    return f"payment-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def method_of(payload: PaymentPayload) -> Method:
    """How the money would move."""
    if isinstance(payload.authorization, TransferAuthorization):
        return "eip3009"
    return "permit2-exact" if payload.authorization.facilitator is None else "permit2-upto"


def verify_payment(
    payload: PaymentPayload,
    requirements: PaymentRequirements,
    *,
    at: int,
    facilitator: str,
    settling: bool = False,
) -> VerifiedPayment:
    """Compare and recover, in the order of §5; ``facilitator`` is the address that would submit the payment.

    ``settling``: the amount of an ``upto`` requirement is the charge, not the cap. Raises ``payment.*``, refused.
    """
    accepted = payload.accepted
    if accepted.scheme != requirements.scheme:
        raise RefusedError("payment.scheme", "the payment is for another scheme than is asked")
    if accepted.network != requirements.network:
        raise RefusedError("payment.network", "the payment is for another network than is asked")
    if isinstance(payload.authorization, TransferAuthorization):
        return _verify_transfer(payload, payload.authorization, requirements, at)
    return _verify_permit(payload, payload.authorization, requirements, at, facilitator, settling=settling)


def _verify_transfer(
    payload: PaymentPayload, authorization: TransferAuthorization, requirements: PaymentRequirements, at: int
) -> VerifiedPayment:
    name, version = requirements.extra.get("name"), requirements.extra.get("version")
    if not isinstance(name, str) or not isinstance(version, str):
        raise RefusedError("payment.domain", "the requirements do not name the token's EIP-712 domain")
    if authorization.to != requirements.pay_to:
        raise RefusedError("payment.payee", "the payment goes to somebody else")
    if authorization.value != requirements.amount:
        raise RefusedError("payment.amount", "the payment is of another amount")
    if authorization.valid_before < at + DEADLINE_MARGIN_S:
        raise RefusedError("payment.expired", "the payment is expired, or is before it can be in a block")
    if authorization.valid_after > at:
        raise RefusedError("payment.early", "the payment is not valid yet")
    chain_id = requirements.chain_id
    digest = transfer_digest(authorization, chain_id=chain_id, token=requirements.asset, name=name, version=version)
    signature = _require_signer(authorization.payer, digest, payload.signature)
    return VerifiedPayment(
        payload,
        requirements,
        "eip3009",
        authorization.payer,
        authorization.value,
        authorization.value,
        authorization.valid_before,
        identity_of(authorization, chain_id=chain_id, asset=requirements.asset),
        signature,
    )


def _verify_permit(
    payload: PaymentPayload,
    authorization: Permit2Authorization,
    requirements: PaymentRequirements,
    at: int,
    facilitator: str,
    *,
    settling: bool,
) -> VerifiedPayment:
    upto = authorization.facilitator is not None
    if authorization.spender != (UPTO_PROXY if upto else EXACT_PROXY):
        raise RefusedError("payment.spender", "the payment names another spender than the scheme's contract")
    if authorization.to != requirements.pay_to:
        raise RefusedError("payment.payee", "the payment goes to somebody else")
    if upto and authorization.facilitator != facilitator:
        raise RefusedError("payment.facilitator", "the payment names another facilitator")
    if authorization.deadline < at + DEADLINE_MARGIN_S:
        raise RefusedError("payment.expired", "the payment is expired, or is before it can be in a block")
    if authorization.valid_after > at:
        raise RefusedError("payment.early", "the payment is not valid yet")
    if upto and settling:
        if requirements.amount > authorization.amount:
            raise RefusedError("payment.cap", "the charge is above the signed cap")
    elif authorization.amount != requirements.amount:
        raise RefusedError("payment.amount", "the payment is of another amount")
    if authorization.token != requirements.asset:
        raise RefusedError("payment.asset", "the payment is in another token")
    chain_id = requirements.chain_id
    digest = permit_digest(authorization, chain_id=chain_id)
    signature = _require_signer(authorization.payer, digest, payload.signature)
    return VerifiedPayment(
        payload,
        requirements,
        "permit2-upto" if upto else "permit2-exact",
        authorization.payer,
        requirements.amount,
        authorization.amount,
        authorization.deadline + 1,
        identity_of(authorization, chain_id=chain_id, asset=requirements.asset),
        signature,
        _verify_sponsoring(payload, authorization, at),
    )


def _require_signer(payer: str, digest: bytes, signature: bytes) -> bytes:
    form = parse_signature(signature)
    try:
        signer = evm.recover(digest, form)
    except HoldfastError as error:
        raise RefusedError("payment.signature", "no key makes this signature") from error
    if signer != payer:
        raise RefusedError("payment.signature", "somebody else signed, or something else was signed")
    return form


def _verify_sponsoring(payload: PaymentPayload, authorization: Permit2Authorization, at: int) -> AllowancePermit | None:
    """The EIP-2612 permit in the extension, if there is one with its ``info`` filled in (§4(5))."""
    entry = (payload.extensions or {}).get(SPONSORING)
    info = entry.get("info") if isinstance(entry, dict) else None
    if not isinstance(info, dict) or "signature" not in info:
        return None
    try:
        owner, asset = _address(_member(info, "from"), "from"), _address(_member(info, "asset"), "asset")
        spender, value = _address(_member(info, "spender"), "spender"), _number(_member(info, "amount"), "amount")
        deadline = _number(_member(info, "deadline"), "deadline")
        signature = _bytes(info["signature"], "signature", evm.SIGNATURE_BYTES)
    except MalformedError as error:
        raise RefusedError("payment.sponsoring", f"{SPONSORING}: {error.message}") from error
    if owner != authorization.payer:
        raise RefusedError("payment.sponsoring_payer", "the allowance is somebody else's")
    if asset != authorization.token:
        raise RefusedError("payment.sponsoring_asset", "the allowance is in another token")
    if spender != PERMIT2:
        raise RefusedError("payment.sponsoring_spender", "the allowance is not for Permit2")
    if deadline < at + DEADLINE_MARGIN_S:
        raise RefusedError("payment.sponsoring_expired", "the allowance is expired")
    if value != authorization.amount:
        raise RefusedError("payment.sponsoring_amount", "the allowance is not of the signed amount")
    return AllowancePermit(value, deadline, signature)


# --- reasons (§5) -----------------------------------------------------------------------------------------------------

REASONS: Mapping[str, tuple[str, str, str]] = {
    "payment.scheme": ("unsupported_scheme", "unsupported_scheme", "invalid_upto_evm_scheme"),
    "payment.network": ("network_mismatch", "network_mismatch", "invalid_upto_evm_network_mismatch"),
    "payment.domain": ("missing_eip712_domain",) * 3,
    "payment.payee": (
        "invalid_exact_evm_payload_recipient_mismatch",
        "invalid_permit2_recipient_mismatch",
        "invalid_permit2_recipient_mismatch",
    ),
    "payment.amount": (
        "invalid_exact_evm_payload_authorization_value_mismatch",
        "permit2_amount_mismatch",
        "permit2_amount_mismatch",
    ),
    "payment.cap": ("invalid_upto_evm_payload_settlement_exceeds_amount",) * 3,
    "payment.over_cap": ("upto_amount_exceeds_permitted",) * 3,
    "payment.asset": ("permit2_token_mismatch",) * 3,
    "payment.spender": ("invalid_permit2_spender",) * 3,
    "payment.facilitator": ("upto_facilitator_mismatch",) * 3,
    "payment.unauthorized": ("upto_unauthorized_facilitator",) * 3,
    "payment.expired": (
        "invalid_exact_evm_payload_authorization_valid_before",
        "permit2_deadline_expired",
        "permit2_deadline_expired",
    ),
    "payment.early": (
        "invalid_exact_evm_payload_authorization_valid_after",
        "permit2_not_yet_valid",
        "permit2_not_yet_valid",
    ),
    "payment.too_early": ("permit2_payment_too_early",) * 3,
    "payment.signature": (
        "invalid_exact_evm_payload_signature",
        "invalid_permit2_signature",
        "invalid_permit2_signature",
    ),
    "payment.replayed": ("invalid_exact_evm_nonce_already_used", "permit2_invalid_nonce", "permit2_invalid_nonce"),
    "payment.balance": (
        "invalid_exact_evm_insufficient_balance",
        "permit2_insufficient_balance",
        "permit2_insufficient_balance",
    ),
    "payment.allowance": ("permit2_allowance_required",) * 3,
    "payment.proxy": ("permit2_proxy_not_deployed",) * 3,
    "payment.contract": ("asset_not_deployed_contract",) * 3,
    "payment.simulation": (
        "invalid_exact_evm_transaction_simulation_failed",
        "permit2_simulation_failed",
        "permit2_simulation_failed",
    ),
    "payment.reverted": ("transaction_failed", "transaction_failed", "invalid_upto_evm_transaction_failed"),
    "payment.event": ("invalid_exact_evm_transfer_event_mismatch",) * 3,
    "payment.sponsoring": ("invalid_eip2612_extension_format",) * 3,
    "payment.sponsoring_payer": ("eip2612_from_mismatch",) * 3,
    "payment.sponsoring_asset": ("eip2612_asset_mismatch",) * 3,
    "payment.sponsoring_spender": ("eip2612_spender_not_permit2",) * 3,
    "payment.sponsoring_expired": ("eip2612_deadline_expired",) * 3,
    "payment.sponsoring_amount": ("permit2_2612_amount_mismatch",) * 3,
    "payment.unserved_network": ("unsupported_network",) * 3,
    "payment.unserved_asset": ("unsupported_asset",) * 3,
    "payment.unserved_payee": ("unsupported_payee",) * 3,
}
"""Our code to x402's reason for EIP-3009, ``exact`` over Permit2 and ``upto``. The last three are reasons of ours: no
facilitator of theirs refuses for these."""
_PLACES: Mapping[str, int] = {"eip3009": 0, "permit2-exact": 1, "permit2-upto": 2}


def reason_of(code: str, method: Method) -> str:
    """The reason that x402 clients know a refusal by; raises ``KeyError`` for what is no refusal of a payment."""
    return REASONS[code][_PLACES[method]]


def code_of(reason: str | None, method: Method) -> str | None:
    """Our code for a reason of x402 (``payments.md`` §5(5)); None for none, and for one that is not in the table."""
    return next((code for code in REASONS if reason and reason_of(code, method) == reason), None)
