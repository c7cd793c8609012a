"""Certificate paths up to a root, and the signatures below them (``spec/attestation.md`` §3).

Rules: a root is one of those given, byte for byte; its own signature proves nothing and is not looked at. Every
certificate above the leaf is an authority that may sign certificates, its path length holds, each issuer's name is the
name above it, and no critical extension goes unread. The leaf is no authority.

:func:`verify_authorities` does not depend on a time and remembers its answers, since one chain of authorities stands
above thousands of documents; spans are compared with a time afterwards, every time.

Not covered: revocation, except where a format brings its lists (``verifier.attestation.dcap``).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from holdfast.core.attestation.certificates import (
    CERTIFICATE_SIGN_BIT,
    DIGITAL_SIGNATURE_BIT,
    MAX_CERTIFICATES,
    Certificate,
    SubjectKey,
    parse_authority,
)
from holdfast.core.attestation.roots import describe_root
from holdfast.core.encoding import time_encode
from holdfast.errors import MalformedError, RefusedError, UndecidedError
from holdfast.verifier.transcript import ENCLAVE, Transcript

_CURVES: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}
_SIZES = {"p256": 32, "p384": 48}
_SHA256, _SHA384 = ec.ECDSA(hashes.SHA256()), ec.ECDSA(hashes.SHA384())
_BY_CURVE = {"p256": _SHA256, "p384": _SHA384}
_BY_NAME = {"ecdsa-sha256": _SHA256, "ecdsa-sha384": _SHA384}
_PSS = padding.PSS(padding.MGF1(hashes.SHA384()), 48)


@dataclass(frozen=True, slots=True)
class Span:
    """The time for which several things are valid at once; both ends belong to it."""

    start: dt.datetime
    end: dt.datetime

    def within(self, start: dt.datetime, end: dt.datetime) -> Span:
        """What is left of it inside another span."""
        return Span(max(self.start, start), min(self.end, end))

    def require(self, at: dt.datetime) -> None:
        """Refuse a time outside; raises ``attestation.not_yet_valid`` or ``attestation.expired``."""
        if at < self.start:
            raise RefusedError("attestation.not_yet_valid", f"it is valid from {time_encode(self.start)} on")
        if at > self.end:
            raise RefusedError("attestation.expired", f"it was valid until {time_encode(self.end)}")


@dataclass(frozen=True, slots=True)
class Authorities:
    """A checked chain of authorities: who issued the leaf, the root it ends at, and when all of them are valid."""

    issuer: Certificate
    root: Certificate
    span: Span


@lru_cache(maxsize=512)
def _elliptic(curve: str, point: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve], point)
    except ValueError as error:
        raise MalformedError("certificate.key", "a public key is no point of its curve") from error


@lru_cache(maxsize=64)
def _rsa(modulus: int, exponent: int) -> rsa.RSAPublicKey:
    try:
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise MalformedError("certificate.key", "an RSA key is out of bounds") from error


def verify_named(key: SubjectKey, algorithm: str, message: bytes, signature: bytes) -> None:
    """A signature as X.509 writes it; raises ``attestation.chain``."""
    try:
        if key.algorithm == "rsa" and algorithm == "rsa-pss-sha384":
            _rsa(key.modulus, key.exponent).verify(signature, message, _PSS, hashes.SHA384())
            return
        if key.algorithm != "rsa" and algorithm in _BY_NAME:
            _elliptic(key.algorithm, key.point).verify(signature, message, _BY_NAME[algorithm])
            return
    except InvalidSignature as error:
        raise RefusedError("attestation.chain", "a signature in the certificate chain does not verify") from error
    raise RefusedError("attestation.chain", f"a {key.algorithm} key does not sign with {algorithm}")


def verify_raw(curve: str, point: bytes, message: bytes, signature: bytes, what: str) -> None:
    """r ‖ s over SHA-256 (P-256) or SHA-384 (P-384) of a message; raises ``attestation.signature``."""
    size = _SIZES[curve]
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    try:
        _elliptic(curve, point).verify(encode_dss_signature(r, s), message, _BY_CURVE[curve])
    except InvalidSignature as error:
        raise RefusedError("attestation.signature", f"the signature of {what} does not verify") from error


def _require_issuer(child: Certificate, parent: Certificate) -> None:
    if child.issuer != parent.subject:
        raise RefusedError("attestation.chain", "a certificate names another issuer than the one above it")
    verify_named(parent.key, child.signature_algorithm, child.signed, child.signature)


def _require_readable(certificate: Certificate) -> None:
    if certificate.unread_critical:
        name = certificate.unread_critical[0]
        raise RefusedError("attestation.critical_extension", f"the critical extension {name} is not understood")


def _require_authority(certificate: Certificate, below: int) -> None:
    """An authority that may stand above so many others."""
    _require_readable(certificate)
    signs = certificate.usages is None or CERTIFICATE_SIGN_BIT in certificate.usages
    if not certificate.is_authority or not signs:
        raise RefusedError("attestation.authority", "a certificate that is no authority stands above another")
    if certificate.path_length is not None and certificate.path_length < below:
        raise RefusedError("attestation.path_length", "more authorities stand below a certificate than it allows")


@lru_cache(maxsize=256)
def verify_authorities(chain: tuple[bytes, ...], roots: tuple[bytes, ...]) -> Authorities:
    """Authorities, from the one that issued the leaf to a root (``attestation.md`` §3). No time is judged."""
    if not 1 <= len(chain) <= MAX_CERTIFICATES:
        raise MalformedError("certificate.count", f"a chain has 1 to {MAX_CERTIFICATES} certificates")
    if chain[-1] not in roots:
        raise RefusedError("attestation.root", f"the chain ends at {describe_root(chain[-1])}: not at an admitted root")
    certificates = [parse_authority(raw) for raw in chain]
    for below, certificate in enumerate(certificates):
        _require_authority(certificate, below)
    for child, parent in pairwise(certificates):
        _require_issuer(child, parent)
    start = max(certificate.not_before for certificate in certificates)
    end = min(certificate.not_after for certificate in certificates)
    return Authorities(certificates[0], certificates[-1], Span(start, end))


def verify_leaf(leaf: Certificate, authorities: Authorities) -> Span:
    """A leaf under its authorities; the span for which the whole path is valid. Raises ``attestation.*``."""
    _require_readable(leaf)
    if leaf.is_authority or (leaf.usages is not None and DIGITAL_SIGNATURE_BIT not in leaf.usages):
        raise RefusedError("attestation.leaf", "the certificate of the key that signed is not one of a signing key")
    _require_issuer(leaf, authorities.issuer)
    return authorities.span.within(leaf.not_before, leaf.not_after)


def verify_path(
    leaf: Certificate, above: tuple[bytes, ...], roots: tuple[bytes, ...], spec: str, record: Transcript
) -> tuple[Span, Certificate]:
    """The whole path of a leaf, with its line in the transcript: the span of its validity, and its root."""
    if not roots:
        raise UndecidedError("attestation.roots", "no root is admitted for evidence of this format")
    authorities = verify_authorities(above, roots)
    span = verify_leaf(leaf, authorities)
    says = f"The chain of {len(above) + 1} certificates ends at {describe_root(authorities.root.raw)}."
    record.note(ENCLAVE, spec, "yes", says)
    return span, authorities.root


def note_time(span: Span, at: dt.datetime, record: Transcript) -> None:
    """Refuse a time outside of the span, or note that it lies within."""
    span.require(at)
    says = f"Everything it rests on is valid from {time_encode(span.start)} to {time_encode(span.end)}."
    record.note(ENCLAVE, "attestation.md §3.7", "yes", says)
