"""Signed offers and receipts in x402's published form, extension ``offer-receipt`` version 1 (``spec/payments.md`` §9).

An :class:`Offer` is what a resource server asks, a :class:`Receipt` says that it was paid. Each is signed in one of two
formats: EIP-712 (a 65-byte signature over :func:`typed_data`) or JWS (Ed25519 over :func:`jws_input`). ``parse_offer``
and ``parse_receipt`` read either; ``verify_signer`` and ``verify_key`` say who signed.

Rules: what was signed is taken as it was transmitted and never rebuilt from what stands around it; ``acceptIndex`` is
signed by nobody and means nothing here.

Not covered: whether the signer may speak for the resource (trust says so), and what a receipt leaves out. It names no
request, no answer, no charge and, by its authors' choice, no amount: the payment document does (``statement.md`` §4.6).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical, evm
from holdfast.core.encoding import b64_decode
from holdfast.core.keys import PublicKey, verify_signature
from holdfast.core.x402 import parse_signature
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError

EXTENSION = "offer-receipt"
"""The extension's name in ``extensions`` of x402's objects."""
VERSION = 1
MAX_JWS_CHARACTERS = 16_384
"""Longer ones are refused unread."""
_MAX_TEXT = 2048
_MAX_NUMBER = 2**53 - 1
_OPTIONAL = ("validUntil", "transaction")
"""Members that EIP-712 signs as 0 or empty where there is nothing to say, and a JWS leaves out."""
_DOMAIN_TYPE = evm.keccak256(b"EIP712Domain(string name,string version,uint256 chainId)")
_OFFER_TYPE = evm.keccak256(
    b"Offer(uint256 version,string resourceUrl,string scheme,string network,string asset,string payTo,"
    b"string amount,uint256 validUntil)"
)
_RECEIPT_TYPE = evm.keccak256(
    b"Receipt(uint256 version,string network,string resourceUrl,string payer,uint256 issuedAt,string transaction)"
)


@dataclass(frozen=True, slots=True)
class Offer:
    """What is asked for a resource, as in x402's requirements; ``valid_until`` is unix seconds, 0 for ever."""

    resource_url: str
    scheme: str
    network: str
    asset: str
    pay_to: str
    amount: str
    valid_until: int = 0

    @property
    def payload(self) -> dict[str, Any]:
        """The signed members, in x402's names."""
        return {
            "version": VERSION,
            "resourceUrl": self.resource_url,
            "scheme": self.scheme,
            "network": self.network,
            "asset": self.asset,
            "payTo": self.pay_to,
            "amount": self.amount,
            "validUntil": self.valid_until,
        }


@dataclass(frozen=True, slots=True)
class Receipt:
    """That a resource was paid for and served. ``issued_at`` is unix seconds; an empty transaction is left unsaid."""

    network: str
    resource_url: str
    payer: str
    issued_at: int
    transaction: str = ""

    @property
    def payload(self) -> dict[str, Any]:
        """The signed members, in x402's names."""
        return {
            "version": VERSION,
            "network": self.network,
            "resourceUrl": self.resource_url,
            "payer": self.payer,
            "issuedAt": self.issued_at,
            "transaction": self.transaction,
        }


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed offer or receipt as it was read. ``message`` is what is signed: an EIP-712 digest, or a JWS's input."""

    content: Offer | Receipt
    format: str
    message: bytes
    signature: bytes
    key_id: str | None
    """``kid`` of a JWS. A name, and no proof of anything."""


# --- making -----------------------------------------------------------------------------------------------------------


def typed_data(content: Offer | Receipt) -> bytes:
    """The EIP-712 digest (32 bytes) that is signed. The domain's chain is 1 by the extension's rule, whatever the
    network of the payment is."""
    if isinstance(content, Offer):
        name, kind = b"x402 offer", _OFFER_TYPE
    else:
        name, kind = b"x402 receipt", _RECEIPT_TYPE
    separator = evm.keccak256(_DOMAIN_TYPE + evm.keccak256(name) + evm.keccak256(b"1") + evm.word(1))
    words = (
        evm.word(value) if isinstance(value, int) else evm.keccak256(value.encode())
        for value in content.payload.values()
    )
    return evm.typed_data_digest(separator, evm.keccak256(kind + b"".join(words)))


def build_typed(content: Offer | Receipt, signature: bytes) -> dict[str, Any]:
    """The object of format ``eip712``: a signature of 65 bytes over :func:`typed_data`."""
    return {"format": "eip712", "payload": content.payload, "signature": f"0x{signature.hex()}"}


def jws_input(content: Offer | Receipt, key: PublicKey) -> bytes:
    """What an Ed25519 key signs for format ``jws``: header and payload. Raises ``offer.key`` for another key."""
    payload = {name: value for name, value in content.payload.items() if value or name not in _OPTIONAL}
    header: dict[str, canonical.JSON] = {"alg": "EdDSA", "kid": key_id_of(key)}
    return _url(canonical.encode(header)).encode() + b"." + _url(canonical.encode(payload)).encode()


def build_jws(signing_input: bytes, signature: bytes) -> dict[str, Any]:
    """The object of format ``jws``: what :func:`jws_input` gave, and 64 bytes over it."""
    return {"format": "jws", "signature": f"{signing_input.decode()}.{_url(signature)}"}


def key_id_of(key: PublicKey) -> str:
    """The ``kid`` of an Ed25519 key: a DID URL that holds the key itself. Raises ``offer.key`` for another key."""
    if key.algorithm != "ed25519":
        raise UsageError("offer.key", "offers and receipts of format jws are signed by Ed25519 keys")
    jwk: dict[str, canonical.JSON] = {"crv": "Ed25519", "kty": "OKP", "x": _url(key.public)}
    return f"did:jwk:{_url(canonical.encode(jwk))}#0"


def offers_extension(offers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``extensions`` of a ``PaymentRequired``; one offer for each entry of ``accepts``, in its order."""
    numbered = [{**offer, "acceptIndex": index} for index, offer in enumerate(offers)]
    return _extension("offers", numbered, {"type": "array", "items": _SHAPE})


def receipt_extension(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """``extensions`` of a ``SettleResponse`` with success. A server makes one only for a transfer that happened."""
    return _extension("receipt", dict(receipt), _SHAPE)


_SHAPE = {
    "type": "object",
    "properties": {
        "format": {"enum": ["eip712", "jws"]},
        "acceptIndex": {"type": "integer"},
        "payload": {"type": "object"},
        "signature": {"type": "string"},
    },
    "required": ["format", "signature"],
}


def _extension(name: str, value: object, shape: Mapping[str, Any]) -> dict[str, Any]:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {name: shape},
        "required": [name],
    }
    return {EXTENSION: {"info": {name: value}, "schema": schema}}


# --- reading ----------------------------------------------------------------------------------------------------------


def parse_offer(value: object) -> Signed:
    """A signed offer; raises ``offer.*``, ``json.*`` or ``x402.*``. Nothing is checked but its form."""
    return _parse(value, receipt=False)


def parse_receipt(value: object) -> Signed:
    """A signed receipt, likewise."""
    return _parse(value, receipt=True)


def verify_signer(signed: Signed, signer: str) -> None:
    """Check that an address (lower case) signed one of format ``eip712``; raises ``offer.signature``."""
    if signed.format != "eip712":
        raise RefusedError("offer.signature", "no address signed this")
    try:
        found = evm.recover(signed.message, signed.signature)
    except HoldfastError as error:
        raise RefusedError("offer.signature", "the signature is nobody's") from error
    if found != signer:
        raise RefusedError("offer.signature", f"{found} signed this, not {signer}")


def verify_key(signed: Signed, key: PublicKey) -> None:
    """Check that a key signed one of format ``jws`` and is the one it names; raises ``offer.signature``."""
    if signed.format != "jws" or signed.key_id != key_id_of(key):
        raise RefusedError("offer.signature", "another key is named, or none")
    try:
        verify_signature(key, signed.message, signed.signature)
    except RefusedError as error:
        raise RefusedError("offer.signature", "the key that is named did not sign this") from error


def _parse(value: object, *, receipt: bool) -> Signed:
    if not isinstance(value, dict) or value.get("format") not in ("eip712", "jws"):
        raise MalformedError("offer.format", "an offer or receipt has the format eip712 or jws")
    members = {"format", "signature"} | ({"payload"} if value["format"] == "eip712" else set())
    if value.keys() - (set() if receipt else {"acceptIndex"}) != members or not isinstance(value["signature"], str):
        raise MalformedError(
            "offer.members", f"of format {value['format']}, it has exactly {', '.join(sorted(members))}"
        )
    if value["format"] == "jws":
        return _parse_jws(value["signature"], receipt=receipt)
    content = _content(value["payload"], receipt=receipt)
    text = value["signature"]
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise MalformedError("offer.encoding", "a signature is 0x and hex digits") from error
    if not text.startswith("0x") or len(raw) != 65 or text != f"0x{raw.hex()}":
        raise MalformedError("offer.encoding", "a signature is 0x and 130 lower-case hex digits")
    return Signed(content, "eip712", typed_data(content), parse_signature(raw), None)


def _parse_jws(text: str, *, receipt: bool) -> Signed:
    pieces = text.split(".")
    if len(text) > MAX_JWS_CHARACTERS or len(pieces) != 3:
        raise MalformedError("offer.encoding", f"a JWS has three pieces and at most {MAX_JWS_CHARACTERS} characters")
    header, payload = canonical.decode_object(_unurl(pieces[0])), canonical.decode_object(_unurl(pieces[1]))
    if header.keys() - {"jwk"} != {"alg", "kid"} or header["alg"] != "EdDSA" or not isinstance(header["kid"], str):
        raise MalformedError("offer.header", "the header names the algorithm EdDSA and a key")
    message = f"{pieces[0]}.{pieces[1]}".encode()
    return Signed(_content(payload, receipt=receipt), "jws", message, _unurl(pieces[2]), header["kid"])


def _content(value: object, *, receipt: bool) -> Offer | Receipt:
    names = _RECEIPT if receipt else _OFFER
    least = {name for name, (_, optional) in names.items() if not optional}
    if not isinstance(value, dict) or not least <= value.keys() <= names.keys():
        raise MalformedError("offer.members", f"the payload has {', '.join(names)}")
    if type(value["version"]) is not int or value["version"] != VERSION:
        raise MalformedError("offer.version", f"version is {VERSION}")
    for name, found in value.items():
        kind = names[name][0]
        if type(found) is not kind or (isinstance(found, int) and not 0 <= found <= _MAX_NUMBER):
            raise MalformedError("offer.members", f"{name} is a {'number' if kind is int else 'string'}")
        if isinstance(found, str) and len(found) > _MAX_TEXT:
            raise MalformedError("offer.members", f"{name} has at most {_MAX_TEXT} characters")
    if receipt:
        return Receipt(
            value["network"], value["resourceUrl"], value["payer"], value["issuedAt"], value.get("transaction", "")
        )
    return Offer(
        value["resourceUrl"],
        value["scheme"],
        value["network"],
        value["asset"],
        value["payTo"],
        value["amount"],
        value.get("validUntil", 0),
    )


_OFFER: dict[str, tuple[type, bool]] = {
    "version": (int, False),
    "resourceUrl": (str, False),
    "scheme": (str, False),
    "network": (str, False),
    "asset": (str, False),
    "payTo": (str, False),
    "amount": (str, False),
    "validUntil": (int, True),
}
_RECEIPT: dict[str, tuple[type, bool]] = {
    "version": (int, False),
    "network": (str, False),
    "resourceUrl": (str, False),
    "payer": (str, False),
    "issuedAt": (int, False),
    "transaction": (str, True),
}


def _url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unurl(text: str) -> bytes:
    if "+" in text or "/" in text:
        raise MalformedError("offer.encoding", "a piece of a JWS is base64url")
    try:
        return b64_decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))
    except MalformedError as error:
        raise MalformedError("offer.encoding", "a piece of a JWS is base64url, in its one spelling") from error
