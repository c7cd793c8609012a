"""Appraise what a node submitted to the registry, as a full node does before it votes (``spec/registry.md`` §5).

Everything is compared with the key document, the key document with the evidence, and the evidence with trust, at the
time of the submission's block: the same submission gets the same answer from everybody with the same trust document,
whenever they look.

Not covered: whether the endpoint answers, and signing the verdict (``nodes/full/registry.py``).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from holdfast.core import evm
from holdfast.core.attestation.evidence import parse_evidence
from holdfast.core.encoding import sha256_hex
from holdfast.core.keys import KeyDocument, parse_key_document
from holdfast.core.registry import (
    KIND_ROLES,
    Submission,
    challenge_nonce,
    measurement_hash,
    ohttp_config,
    p256_coordinates,
)
from holdfast.core.trust import Trust
from holdfast.errors import MalformedError, RefusedError
from holdfast.verifier.attestation.appraise import Expected, appraise_attestation, read_references
from holdfast.verifier.attestation.claims import VerifiedAttestation
from holdfast.verifier.attestation.verify import verify_attestation
from holdfast.verifier.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the chain says of a submission besides what was submitted."""

    kind: int
    predecessor: bytes
    """SHA-256 of the node's key document in force then; 32 zero bytes for none."""
    nonce: bytes
    """The challenge, 32 bytes."""
    at: dt.datetime
    """Time of the block."""


@dataclass(frozen=True, slots=True)
class AppraisedRegistration:
    """A submission that nothing speaks against; made by :func:`appraise_registration` alone."""

    document: KeyDocument
    claims: VerifiedAttestation


def appraise_registration(
    submission: Submission, circumstances: Circumstances, trust: Trust, record: Transcript
) -> AppraisedRegistration:
    """Every check of ``registry.md`` §5(4) in its order.

    Raises :class:`MalformedError` or :class:`RefusedError` for the first one that fails, which is a reason to refuse,
    and :class:`UndecidedError` where trust or collateral is missing, which is a reason to say nothing.
    """
    document = parse_key_document(submission.document)
    _check_role(document, circumstances.kind)
    _check_parts(document, submission)
    _check_certificate(document, submission.certificate, circumstances.at)
    _check_predecessor(document, circumstances.predecessor)
    claims = _check_evidence(document, submission, circumstances, trust, record)
    return AppraisedRegistration(document, claims)


def _check_role(document: KeyDocument, kind: int) -> None:
    role = KIND_ROLES.get(kind)
    if role is None or role not in document.roles:
        raise RefusedError("registration.role", f"the key document has not the role of kind {kind}")


def _check_parts(document: KeyDocument, submission: Submission) -> None:
    """What was submitted beside the key document says what it says."""
    key = document.key_for("opengradient")
    if key is None or key.public != submission.signing_key:
        raise RefusedError("registration.signing_key", "the signing key is not the key document's")
    if submission.payment != (document.payment or evm.ZERO_ADDRESS):
        raise RefusedError("registration.payment", "the payment address is not the key document's")
    if submission.ohttp != ohttp_config(document):
        raise RefusedError("registration.ohttp", "the OHTTP configuration is not the key document's")
    if submission.statement_key != p256_coordinates(document):
        raise RefusedError("registration.statement_key", "the statement key is not the key document's")


def _check_certificate(document: KeyDocument, der: bytes, at: dt.datetime) -> None:
    """A leaf for the document's TLS key: clients take it as their only root, so an authority could vouch for others."""
    check_leaf(der, at)
    spki = (
        x509.load_der_x509_certificate(der).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    if document.tls is None or sha256_hex(spki) != document.tls:
        raise RefusedError("registration.tls", "the certificate is for another key than the key document names")


def check_leaf(der: bytes, at: dt.datetime) -> None:
    """Whether clients may take a certificate as their only root (``registry.md`` §5(5)): a leaf, and valid then.

    Raises ``registration.certificate`` and ``registration.certificate_authority``.
    """
    try:
        found = x509.load_der_x509_certificate(der)
        version, extensions = found.version, found.extensions
        start, end = found.not_valid_before_utc, found.not_valid_after_utc
        found.public_key()
    except ValueError as error:
        raise MalformedError("registration.certificate", "the certificate does not parse") from error
    except Exception as error:  # what is well formed and not supported has many types there
        raise RefusedError("registration.certificate", f"the certificate cannot be read: {error}") from error
    if version is not x509.Version.v3:
        raise RefusedError("registration.certificate", "the certificate is not X.509 version 3")
    if not start <= at <= end:
        raise RefusedError("registration.certificate", "the certificate does not run at that time")
    try:
        basic = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound as error:
        raise RefusedError(
            "registration.certificate_authority", "the certificate does not say that it is no authority"
        ) from error
    try:
        signs = extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        signs = False
    if basic.ca or signs:
        raise RefusedError("registration.certificate_authority", "the certificate is an authority's")


def _check_predecessor(document: KeyDocument, predecessor: bytes) -> None:
    if predecessor == bytes(32) or predecessor.hex() in (document.digest, document.predecessor):
        return
    raise RefusedError("registration.predecessor", "the key document does not name the one in force")


def _check_evidence(
    document: KeyDocument, submission: Submission, circumstances: Circumstances, trust: Trust, record: Transcript
) -> VerifiedAttestation:
    form = submission.form
    insecure = form == "insecure-dev"
    if insecure and not trust.development:
        raise RefusedError("registration.simulated", "there is no enclave, and trust is not for development")
    roots = tuple(root.certificate for root in trust.current.enclave_roots if root.kind == form)
    file = parse_evidence(form, submission.evidence)
    claims = verify_attestation(form, file, roots, circumstances.at, record, key_document=document.digest)
    expected = Expected(
        start=circumstances.at,
        end=circumstances.at,
        key_document=document.digest,
        # A throw-away root's word answers no challenge and measures nothing.
        nonce=None if insecure else challenge_nonce(circumstances.nonce),
        references=None if insecure else read_references(trust.current.measurements),
        roles=document.roles,
        allow_debug=insecure,
    )
    bound = appraise_attestation(claims, expected, record).bound
    if bound.tls_spki not in (None, document.tls) or (
        bound.hpke is not None and (document.ohttp_digest is None or bound.hpke != document.ohttp_digest.hex())
    ):
        raise RefusedError("registration.binding", "the evidence binds other keys than the key document names")
    if measurement_hash(form, claims.tee, claims.measurements) != submission.measurement:
        raise RefusedError("registration.measurement", "the evidence is of other software than was registered")
    stand_in = any(root.development for root in trust.current.enclave_roots if root.certificate == claims.root)
    if (claims.development or stand_in) and not trust.development:
        raise RefusedError("registration.simulated", "the enclave is simulated, and trust is not for development")
    return claims
