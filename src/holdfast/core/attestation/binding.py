"""What an attestation binds a key with: the binding record, and the two layouts it travels in (``attestation.md`` §5).

A binding record names a key document, and may name a TLS key and an OHTTP key configuration, each by SHA-256. A Nitro
document carries the record itself; a report has 64 bytes to spare and carries its digest and the nonce's.

The 68 bytes that nitriding-based enclaves put into a Nitro document are read too. They bind a TLS certificate and an
application's key, and no key document.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.encoding import hex_decode, sha256
from holdfast.errors import MalformedError

BINDING_DOMAIN = b"urn:holdfast:binding:v1\x00"
"""First bytes of a binding record (``attestation.md`` §5)."""
RECORD_BYTES = len(BINDING_DOMAIN) + 3 * 32
"""Size of a binding record."""
REPORT_DATA_BYTES = 64
"""What the hardware of TDX, SGX and SEV-SNP signs for its caller."""
_NOTHING = bytes(32)
_MULTIHASH = b"\x12\x20"
"""Prefix of a SHA-256 multihash, as nitriding writes it."""


@dataclass(frozen=True, slots=True)
class Bound:
    """SHA-256 digests (hex) of what an attestation binds; None where it binds nothing of the kind."""

    key_document: str | None = None
    tls_spki: str | None = None
    """Of the TLS certificate's public key (DER SubjectPublicKeyInfo)."""
    hpke: str | None = None
    """Of the OHTTP key configuration (RFC 9458 §3)."""
    tls_certificate: str | None = None
    """nitriding: of the TLS certificate."""
    application_key: str | None = None
    """nitriding: of what the application registered, often its signing key (DER)."""

    def to_json(self) -> dict[str, str | None]:
        return {
            "key_document": self.key_document,
            "tls_spki": self.tls_spki,
            "hpke": self.hpke,
            "tls_certificate": self.tls_certificate,
            "application_key": self.application_key,
        }


def build_binding(key_document: str, *, tls_spki: bytes | None = None, hpke: bytes | None = None) -> bytes:
    """A binding record: the hex digest of a key document, and SHA-256 digests (32 bytes) of the others."""
    others = [_NOTHING if digest is None else digest for digest in (tls_spki, hpke)]
    if any(len(digest) != 32 for digest in others):
        raise MalformedError("attestation.binding_record", "digests in a binding record have 32 bytes")
    return BINDING_DOMAIN + hex_decode(key_document, 32) + b"".join(others)


def parse_binding(record: bytes) -> Bound:
    """A binding record to what it names. Raises ``attestation.binding_record``."""
    if len(record) != RECORD_BYTES or not record.startswith(BINDING_DOMAIN):
        raise MalformedError("attestation.binding_record", f"a binding record has {RECORD_BYTES} bytes and its domain")
    start = len(BINDING_DOMAIN)
    digests = [record[start + 32 * place : start + 32 * place + 32] for place in range(3)]
    if digests[0] == _NOTHING:
        raise MalformedError("attestation.binding_record", "a binding record names a key document")
    document, tls, hpke = (None if digest == _NOTHING else digest.hex() for digest in digests)
    return Bound(document, tls, hpke)


def read_user_data(user_data: bytes | None) -> Bound:
    """What the user data of a Nitro document binds: a record of ours, nitriding's 68 bytes, or nothing we know."""
    if user_data is not None and user_data.startswith(BINDING_DOMAIN):
        return parse_binding(user_data)
    if user_data is not None and len(user_data) == 68 and user_data[:2] == user_data[34:36] == _MULTIHASH:
        return Bound(tls_certificate=user_data[2:34].hex(), application_key=user_data[36:].hex())
    return Bound()


def build_report_data(record: bytes, nonce: bytes | None = None) -> bytes:
    """The 64 bytes for a report: SHA-256 of the record, then SHA-256 of the nonce or zeros."""
    return sha256(record) + (_NOTHING if nonce is None else sha256(nonce))
