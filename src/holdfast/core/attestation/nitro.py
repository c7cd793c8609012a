"""AWS Nitro attestation documents: COSE_Sign1 around a CBOR map (``spec/attestation.md`` §4.1).

``parse_nitro`` reads the one spelling that the Nitro security module writes: untagged, algorithm ES384 as the only
protected parameter, no unprotected ones, a payload with the members that AWS lists, within the sizes that AWS gives.

Not covered: the signature and the chain (``verifier.attestation.nitro``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.attestation import cbor
from holdfast.core.attestation.certificates import MAX_CERTIFICATES
from holdfast.errors import MalformedError

PROTECTED = bytes.fromhex("a1013822")
"""The protected parameters: {1: -35}, which is ES384 (RFC 9053 §2.1)."""
SIGNATURE_BYTES = 96
"""r and s of P-384, 48 bytes each (RFC 9053 §2.1)."""
PCR_BYTES = 48
"""A platform configuration register holds a SHA-384."""
_LIMITS = {"public_key": 1024, "user_data": 512, "nonce": 512}
"""Largest sizes of what the enclave's caller gave, as AWS documents them."""
_MEMBERS = frozenset({"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"})
_MAX_CERTIFICATE_BYTES = 1024
_MAX_MODULE_ID = 256
_LAST_MILLISECOND = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last moment that a calendar shows."""


@dataclass(frozen=True, slots=True)
class NitroDocument:
    """One parsed, unverified document."""

    signed: bytes
    """The COSE Sig_structure: what the signature is over (RFC 9052 §4.4)."""
    signature: bytes
    module_id: str
    claimed_time: dt.datetime
    pcrs: Mapping[int, bytes]
    certificate: bytes
    """The leaf (DER), whose key signed."""
    authorities: tuple[bytes, ...]
    """From the issuer of the leaf to the root: ``cabundle`` the other way round."""
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None


def _bytes(value: object, most: int, what: str) -> bytes:
    if not isinstance(value, bytes) or not 1 <= len(value) <= most:
        raise MalformedError("nitro.fields", f"{what} is a byte string of 1 to {most} bytes")
    return value


def _given(payload: Mapping[Any, Any], name: str) -> bytes | None:
    value = payload.get(name)
    if value is None:
        return None
    if not isinstance(value, bytes) or len(value) > _LIMITS[name]:
        raise MalformedError("nitro.fields", f"{name} is null or a byte string of at most {_LIMITS[name]} bytes")
    return value


def _pcrs(value: object) -> dict[int, bytes]:
    if not isinstance(value, dict) or not 1 <= len(value) <= 32:
        raise MalformedError("nitro.pcrs", "pcrs is a map of 1 to 32 registers")
    for index, register in value.items():
        if not isinstance(index, int) or not 0 <= index < 32:
            raise MalformedError("nitro.pcrs", "a register has a number from 0 to 31")
        if not isinstance(register, bytes) or len(register) != PCR_BYTES:
            raise MalformedError("nitro.pcrs", f"a register has {PCR_BYTES} bytes")
    return value


def parse_nitro(raw: bytes) -> NitroDocument:
    """Bytes of a document to a :class:`NitroDocument`. Raises ``nitro.*`` or ``cbor.*``; checks no signature."""
    outer = cbor.decode(raw)
    if not isinstance(outer, list) or len(outer) != 4:
        raise MalformedError("nitro.cose", "a COSE_Sign1 has four items")
    protected, unprotected, body, signature = outer
    if protected != PROTECTED or unprotected != {} or not isinstance(unprotected, dict):
        raise MalformedError("nitro.cose", "the one header is algorithm ES384, protected")
    if not isinstance(body, bytes) or not isinstance(signature, bytes) or len(signature) != SIGNATURE_BYTES:
        raise MalformedError(
            "nitro.cose", f"payload and signature are byte strings, the latter of {SIGNATURE_BYTES} bytes"
        )
    payload = cbor.decode(body, indefinite=True)
    if not isinstance(payload, dict) or not _MEMBERS <= payload.keys() <= _MEMBERS | _LIMITS.keys():
        raise MalformedError("nitro.fields", "the payload has the members that AWS lists and no other")
    module, moment, bundle = payload["module_id"], payload["timestamp"], payload["cabundle"]
    if not isinstance(module, str) or not 1 <= len(module) <= _MAX_MODULE_ID or payload["digest"] != "SHA384":
        raise MalformedError("nitro.fields", "module_id is a text and digest is SHA384")
    if not isinstance(moment, int) or not 0 < moment <= _LAST_MILLISECOND:
        raise MalformedError("nitro.fields", "timestamp counts milliseconds since 1970")
    if not isinstance(bundle, list) or not 1 <= len(bundle) < MAX_CERTIFICATES:
        raise MalformedError("nitro.fields", f"cabundle lists 1 to {MAX_CERTIFICATES - 1} certificates")
    head = cbor.encode_head(4, 4) + cbor.encode_text("Signature1")
    return NitroDocument(
        signed=head + cbor.encode_bytes(protected) + cbor.encode_bytes(b"") + cbor.encode_bytes(body),
        signature=signature,
        module_id=module,
        claimed_time=dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=moment),
        pcrs=_pcrs(payload["pcrs"]),
        certificate=_bytes(payload["certificate"], _MAX_CERTIFICATE_BYTES, "certificate"),
        authorities=tuple(_bytes(item, _MAX_CERTIFICATE_BYTES, "an item of cabundle") for item in reversed(bundle)),
        public_key=_given(payload, "public_key"),
        user_data=_given(payload, "user_data"),
        nonce=_given(payload, "nonce"),
    )
