"""X.509 certificates and revocation lists as vendors of enclaves write them (``spec/attestation.md`` §3).

``parse_certificate`` reads strict DER into a :class:`Certificate`; ``parse_pem`` reads the one spelling of PEM;
``parse_revocations`` reads a CRL. Names are bytes and compared as bytes.

Why not the parser of ``cryptography``: it warns of AMD's certificates (their serial number is zero) and says that it
will refuse them, and it reads extensions lazily, with errors of its own (``docs/adr``). Signatures and points of curves
are checked by ``cryptography``, in ``verifier.attestation.chain``.

Not covered: whether a signature holds, name constraints, policies; a critical extension that is not read here is kept
in ``unread_critical`` and refused where paths are checked.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from holdfast.core.attestation import der
from holdfast.core.encoding import b64_decode, b64_encode, sha256_hex
from holdfast.errors import MalformedError

MAX_CERTIFICATE_BYTES = 4096
"""Larger certificates are refused unread; AMD's and NVIDIA's have up to 1,700 bytes."""
MAX_CERTIFICATES = 8
"""A chain has at most so many; NVIDIA's have five."""
MAX_REVOCATIONS_BYTES = 1024 * 1024
"""Larger revocation lists are refused unread."""
BASIC_CONSTRAINTS, KEY_USAGE = "2.5.29.19", "2.5.29.15"
DIGITAL_SIGNATURE_BIT, CERTIFICATE_SIGN_BIT, LIST_SIGN_BIT = 0, 5, 6
"""Bits of the key usage (RFC 5280 §4.2.1.3)."""
_VERSION_3 = 2
_EC_KEY = "1.2.840.10045.2.1"
_RSA_KEY = "1.2.840.113549.1.1.1"
_CURVES = {"1.2.840.10045.3.1.7": ("p256", 65), "1.3.132.0.34": ("p384", 97)}
"""Curve to its name and the size of an uncompressed point (RFC 5480, SEC 1)."""
_ECDSA = {"1.2.840.10045.4.3.2": "ecdsa-sha256", "1.2.840.10045.4.3.3": "ecdsa-sha384"}
_PSS = "1.2.840.113549.1.1.10"
_MGF1 = "1.2.840.113549.1.1.8"
_SHA384 = "2.16.840.1.101.3.4.2.2"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n((?:[A-Za-z0-9+/=]{1,64}\n)+)-----END CERTIFICATE-----(\n|\Z)")


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """A public key: ``p256`` or ``p384`` with an uncompressed point, ``rsa`` with modulus and exponent."""

    algorithm: str
    point: bytes
    modulus: int = 0
    exponent: int = 0


@dataclass(frozen=True)
class Certificate:
    """One certificate. ``issuer`` and ``subject`` are the exact bytes of the names."""

    raw: bytes
    signed: bytes
    """The to-be-signed part, as it was signed."""
    serial: int
    issuer: bytes
    subject: bytes
    not_before: dt.datetime
    not_after: dt.datetime
    key: SubjectKey
    extensions: Mapping[str, bytes]
    """By object identifier: the content of the extension's octet string."""
    unread_critical: tuple[str, ...]
    is_authority: bool
    path_length: int | None
    usages: frozenset[int] | None
    signature_algorithm: str
    """``ecdsa-sha256``, ``ecdsa-sha384`` or ``rsa-pss-sha384``."""
    signature: bytes

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all bytes, hex."""
        return sha256_hex(self.raw)


@dataclass(frozen=True, slots=True)
class Revocations:
    """A revocation list: who issued it, for which span, and the serial numbers on it."""

    signed: bytes
    issuer: bytes
    this_update: dt.datetime
    next_update: dt.datetime
    serials: frozenset[int]
    signature_algorithm: str
    signature: bytes


def _is_sha384(element: der.Element) -> bool:
    parts = der.sequence(element, 1, 2)
    return der.identifier(parts[0]) == _SHA384 and [part.raw for part in parts[1:]] in ([], [b"\x05\x00"])


def _algorithm(element: der.Element) -> str:
    parts = der.sequence(element, 1, 2)
    name = der.identifier(parts[0])
    if name in _ECDSA and len(parts) == 1:
        return _ECDSA[name]
    if name == _PSS and len(parts) == 2:
        given = {part.tag: der.elements(part.content) for part in der.sequence(parts[1], 3, 4)}
        hashed, mask, salt = (given.get(der.CONTEXT + number, []) for number in range(3))
        trailer = given.get(der.CONTEXT + 3, [])
        if len(hashed) == len(mask) == len(salt) == 1 and _is_sha384(hashed[0]):
            function = der.sequence(mask[0], 2, 2)
            plain = [der.integer(item) for item in trailer] in ([], [1])
            if (
                der.identifier(function[0]) == _MGF1
                and _is_sha384(function[1])
                and plain
                and der.integer(salt[0]) == 48
            ):
                return "rsa-pss-sha384"
    raise MalformedError(
        "certificate.algorithm", "signatures are ECDSA with SHA-256 or SHA-384, or RSA-PSS with SHA-384"
    )


def _subject_key(element: der.Element) -> SubjectKey:
    algorithm, bits = der.sequence(element, 2, 2)
    parts = der.sequence(algorithm, 2, 2)
    kind, key = der.identifier(parts[0]), der.bits(bits)
    if kind == _EC_KEY:
        curve, size = _CURVES.get(der.identifier(parts[1]), ("", 0))
        if len(key) == size and key[0] == 4:
            return SubjectKey(curve, key)
    elif kind == _RSA_KEY and parts[1].raw == b"\x05\x00":
        modulus, exponent = map(der.integer, der.sequence(der.single(key, der.SEQUENCE), 2, 2))
        if 2048 <= modulus.bit_length() <= 4096 and modulus & 1 and exponent == 65537:
            return SubjectKey("rsa", b"", modulus, exponent)
    raise MalformedError("certificate.key", "keys are points of P-256 or P-384, or RSA of 2048 to 4096 bits")


def _extensions(element: der.Element) -> tuple[dict[str, bytes], list[str]]:
    found: dict[str, bytes] = {}
    critical = []
    for item in der.sequence(der.single(element.content, der.SEQUENCE), 1):
        parts = der.sequence(item, 2, 3)
        name = der.identifier(parts[0])
        if name in found:
            raise MalformedError("certificate.extension", f"the extension {name} appears twice")
        if len(parts) == 3 and der.boolean(parts[1]):
            critical.append(name)
        found[name] = der.octets(parts[-1])
    return found, critical


def _basic_constraints(raw: bytes | None) -> tuple[bool, int | None]:
    if raw is None:
        return False, None
    parts = der.sequence(der.single(raw, der.SEQUENCE), 0, 2)
    if not parts:
        return False, None
    authority = der.boolean(parts[0])
    length = der.integer(parts[1]) if len(parts) == 2 else None
    if (not authority and length is not None) or (length is not None and length < 0):
        raise MalformedError("certificate.extension", "a path length belongs to an authority and is not negative")
    return authority, length


def read_spki(raw: bytes) -> bytes:
    """The SubjectPublicKeyInfo (DER, its exact bytes) of a certificate of any algorithm. Raises ``certificate.*`` or
    ``der.*``; checks no signature, and nothing else of what the certificate says."""
    if len(raw) > MAX_CERTIFICATE_BYTES:
        raise MalformedError("certificate.size", f"a certificate has at most {MAX_CERTIFICATE_BYTES} bytes")
    signed, _, _ = der.sequence(der.single(raw, der.SEQUENCE), 3, 3)
    fields = der.sequence(signed, 7, 10)
    if fields[0].tag != der.CONTEXT:
        raise MalformedError("certificate.version", "certificates are of version 3")
    return der.expect(fields[6], der.SEQUENCE).raw


def parse_certificate(raw: bytes) -> Certificate:
    """DER bytes to a :class:`Certificate` (version 3). Raises ``certificate.*`` or ``der.*``; checks no signature."""
    if len(raw) > MAX_CERTIFICATE_BYTES:
        raise MalformedError("certificate.size", f"a certificate has at most {MAX_CERTIFICATE_BYTES} bytes")
    signed, algorithm, signature = der.sequence(der.single(raw, der.SEQUENCE), 3, 3)
    fields = der.sequence(signed, 8, 8)
    if fields[0].tag != der.CONTEXT or der.integer(der.single(fields[0].content, der.INTEGER)) != _VERSION_3:
        raise MalformedError("certificate.version", "certificates are of version 3")
    if fields[2].raw != algorithm.raw:
        raise MalformedError("certificate.algorithm", "the algorithm inside and outside of what is signed differ")
    validity = der.sequence(fields[4], 2, 2)
    extensions, critical = _extensions(der.expect(fields[7], der.CONTEXT + 3))
    authority, path_length = _basic_constraints(extensions.get(BASIC_CONSTRAINTS))
    usage = extensions.get(KEY_USAGE)
    return Certificate(
        raw=raw,
        signed=signed.raw,
        serial=der.integer(fields[1]),
        issuer=der.expect(fields[3], der.SEQUENCE).raw,
        subject=der.expect(fields[5], der.SEQUENCE).raw,
        not_before=der.time(validity[0]),
        not_after=der.time(validity[1]),
        key=_subject_key(fields[6]),
        extensions=extensions,
        unread_critical=tuple(name for name in critical if name not in (BASIC_CONSTRAINTS, KEY_USAGE)),
        is_authority=authority,
        path_length=path_length,
        usages=None if usage is None else der.named_bits(der.single(usage, der.BIT_STRING)),
        signature_algorithm=_algorithm(algorithm),
        signature=der.bits(signature),
    )


parse_authority = lru_cache(maxsize=256)(parse_certificate)
"""As :func:`parse_certificate`, remembered: an authority's certificate comes with every document it stands above."""


def parse_revocations(raw: bytes) -> Revocations:
    """DER bytes of a CRL (version 2) to :class:`Revocations`. Raises ``certificate.*`` or ``der.*``; no signature."""
    if len(raw) > MAX_REVOCATIONS_BYTES:
        raise MalformedError("certificate.size", f"a revocation list has at most {MAX_REVOCATIONS_BYTES} bytes")
    signed, algorithm, signature = der.sequence(der.single(raw, der.SEQUENCE), 3, 3)
    fields = der.sequence(signed, 6, 7)
    if der.integer(fields[0]) != 1 or fields[1].raw != algorithm.raw:
        raise MalformedError("certificate.version", "a revocation list is of version 2 and names its algorithm twice")
    rest = fields[5:]
    serials: set[int] = set()
    if rest[0].tag == der.SEQUENCE:
        for entry in der.sequence(rest.pop(0)):
            parts = der.sequence(entry, 2, 3)
            der.time(parts[1])
            serials.add(der.integer(parts[0]))
    if len(rest) != 1:
        raise MalformedError("certificate.extension", "a revocation list has extensions")
    _, critical = _extensions(der.expect(rest[0], der.CONTEXT))
    if critical:
        raise MalformedError("certificate.extension", f"the critical extension {critical[0]} is not read")
    return Revocations(
        signed=signed.raw,
        issuer=der.expect(fields[2], der.SEQUENCE).raw,
        this_update=der.time(fields[3]),
        next_update=der.time(fields[4]),
        serials=frozenset(serials),
        signature_algorithm=_algorithm(algorithm),
        signature=der.bits(signature),
    )


def parse_pem(text: bytes) -> tuple[bytes, ...]:
    """PEM certificates one after the other, in the one spelling of RFC 7468 §3 with line feeds, to their DER bytes.

    The last line break may be missing. Raises ``certificate.pem``.
    """
    try:
        rest = text.decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedError("certificate.pem", "PEM is ASCII") from error
    found: list[bytes] = []
    while rest:
        match = _PEM.match(rest)
        if match is None or len(found) == MAX_CERTIFICATES:
            raise MalformedError(
                "certificate.pem", f"expected 1 to {MAX_CERTIFICATES} PEM certificates and nothing else"
            )
        raw = b64_decode(match[1].replace("\n", ""))
        if match[1] != _lines(raw):
            raise MalformedError("certificate.pem", "PEM lines have 64 letters")
        found.append(raw)
        rest = rest[match.end() :]
    if not found:
        raise MalformedError("certificate.pem", "there is no certificate")
    return tuple(found)


def _lines(raw: bytes) -> str:
    text = b64_encode(raw)
    return "".join(text[start : start + 64] + "\n" for start in range(0, len(text), 64))


def build_pem(certificates: tuple[bytes, ...]) -> bytes:
    """DER certificates as PEM; the result parses."""
    return "".join(
        f"-----BEGIN CERTIFICATE-----\n{_lines(raw)}-----END CERTIFICATE-----\n" for raw in certificates
    ).encode()


def parse_certificates(data: bytes) -> tuple[bytes, ...]:
    """PEM, or DER certificates one after the other, to the DER bytes of each. Raises ``certificate.*`` or ``der.*``."""
    if data.startswith(b"-----"):
        return parse_pem(data)
    found = tuple(element.raw for element in der.elements(data))
    if not 1 <= len(found) <= MAX_CERTIFICATES:
        raise MalformedError("certificate.count", f"expected 1 to {MAX_CERTIFICATES} certificates")
    return found
