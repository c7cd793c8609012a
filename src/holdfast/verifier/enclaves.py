"""Attestations in a bundle: does this one put the node's key into an enclave, at the time of its statements?

``spec/lanes.md`` §3(4), ``spec/attestation.md``. Each presented attestation gets one answer:

* ``hardware``: it verifies, binds the node's key document, and the trust document admits its root and measurements;
* ``development``: it verifies, but is of a software key, a simulated enclave, a development root, or debug mode;
* ``bad``: something is wrong with it;
* ``expired``: it holds, and had run out by the time of the statements;
* ``undated``: it holds for what the statements claim, and no quorum has dated them within the bound;
* ``unread``: nobody can tell, and ``says`` why.

Not covered: what follows for the lane (``verifier.appraisal``).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from holdfast.core.attestation.binding import Bound
from holdfast.core.attestation.evidence import FORMATS, EvidenceFile, parse_evidence
from holdfast.core.bundles import AttestationItem
from holdfast.core.encoding import sha256_hex
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError, UndecidedError
from holdfast.verifier.attestation.appraise import Expected, appraise_attestation, read_references
from holdfast.verifier.attestation.claims import VerifiedAttestation
from holdfast.verifier.attestation.insecure import verify_insecure
from holdfast.verifier.attestation.verify import verify_attestation
from holdfast.verifier.transcript import ENCLAVE, Answer, Transcript

EnclaveAnswer: TypeAlias = Literal["hardware", "development", "bad", "expired", "undated", "unread"]
"""What an attestation comes to; see the module's first lines."""
_SPEC = "lanes.md §3(4)"
_TIMES = ("attestation.expired", "attestation.not_yet_valid")
_UNBOUND = Bound()


@dataclass(frozen=True, slots=True)
class CheckedAttestation:
    """One presented attestation with its answer."""

    form: str
    answer: EnclaveAnswer
    says: str
    digest: str
    """SHA-256 of the evidence, hex."""
    code: str = ""
    """Why it is not ``hardware``, as the transcript has it."""
    bound: Bound = _UNBOUND
    """What it binds, where it holds."""
    fresh: bool = False
    """Whether it holds and answers the nonce that was asked with."""


class _Found(NamedTuple):
    """An answer on its way."""

    answer: EnclaveAnswer
    says: str
    code: str = ""
    bound: Bound = _UNBOUND


@dataclass(frozen=True, slots=True)
class Moment:
    """When the statements of a node were made, as far as anybody knows."""

    start: dt.datetime
    """The earliest time that one of them claims."""
    end: dt.datetime
    """When a quorum had dated the last of them, or else the time asked about."""
    doubt: str | None = None
    """What speaks against these times, in a sentence."""
    late: bool = False
    """Whether no quorum has dated them, and more time has passed than the policy's bound."""


def check_attestation(
    item: AttestationItem, moment: Moment | None, trust: Trust, record: Transcript, nonce: bytes | None = None
) -> CheckedAttestation:
    """Judge one attestation by the trust document; ``moment`` is None when its node signed nothing here.

    With a ``nonce`` it must answer it. A signature of ``insecure-dev`` answers none, and is not asked to.
    """
    if item.format == "insecure-dev":
        found = _software(item, trust)
        sure: Answer = "cannot_tell" if found.answer == "development" else "no"
        record.note(ENCLAVE, _SPEC, sure, found.says, found.code)
    elif item.format not in FORMATS:
        found = _Found("unread", f"This version does not read {item.format} evidence.", "enclave.format")
        record.note(ENCLAVE, _SPEC, "cannot_tell", found.says, found.code)
    else:
        found = _hardware(item, moment, trust, record, nonce)
    fresh = nonce is not None and item.format != "insecure-dev" and found.answer in ("hardware", "development")
    return CheckedAttestation(
        item.format, found.answer, found.says, sha256_hex(item.evidence), found.code, found.bound, fresh
    )


def _software(item: AttestationItem, trust: Trust) -> _Found:
    roots = tuple(root.certificate for root in trust.current.enclave_roots if root.kind == "insecure-dev")
    try:
        verify_insecure(item.evidence, item.node, roots, Transcript())
    except HoldfastError:
        return _Found("bad", "The attestation of the key does not verify.", "enclave.attestation")
    says = "A throw-away development root vouches for the key."
    return _Found("development", says, "enclave.development", Bound(key_document=item.node))


def _hardware(
    item: AttestationItem, moment: Moment | None, trust: Trust, record: Transcript, nonce: bytes | None
) -> _Found:
    admission = trust.admission(item.node)
    roots = tuple(root.certificate for root in trust.current.enclave_roots if root.kind == item.format)
    missing = ""
    if not roots:
        missing = f"{item.format} evidence was presented; trust admits no root that it could end at."
    elif admission is None or moment is None:
        missing = f"{item.format} evidence was presented for a node that signed nothing here or is not admitted."
    if missing or admission is None or moment is None:
        record.note(ENCLAVE, _SPEC, "cannot_tell", missing, "enclave.not_judged")
        return _Found("unread", missing, "enclave.not_judged")
    expected = Expected(
        start=moment.start,
        end=moment.end,
        key_document=item.node,
        nonce=nonce,
        references=read_references(trust.current.measurements),
        roles=admission.key_document.roles,
    )
    try:
        file = parse_evidence(item.format, item.evidence)
        if item.format == "nvidia":
            return _beside(file, roots, moment, record)
        claims = verify_attestation(item.format, file, roots, moment.start, record)
        bound = appraise_attestation(claims, expected, record).bound
    except UndecidedError as error:
        record.error(ENCLAVE, _SPEC, error)
        says = f"{item.format} evidence was presented, and cannot be decided: {error.message}."
        return _Found("unread", says, error.code)
    except HoldfastError as error:
        if isinstance(error, RefusedError) and error.code in _TIMES:
            return _at_another_time(item.format, error, record)
        record.error(ENCLAVE, _SPEC, error)
        return _Found("bad", f"{item.format} evidence does not hold: {error.message}.", error.code)
    return _conclude(claims, moment, trust, record)._replace(bound=bound)


def _beside(file: EvidenceFile, roots: tuple[bytes, ...], moment: Moment, record: Transcript) -> _Found:
    """GPU evidence stands beside an enclave's: it binds no key (``attestation.md`` §9.3)."""
    claims = verify_attestation("nvidia", file, roots, moment.start, record)
    for says in claims.unchecked:
        record.note(ENCLAVE, "attestation.md §9", "cannot_tell", says, "attestation.offline")
    says = "The signature and chain of a GPU's report hold. It binds no key, so it says nothing of this one."
    return _Found("unread", says, "attestation.offline")


def _at_another_time(form: str, error: HoldfastError, record: Transcript) -> _Found:
    """The evidence is genuine and speaks of another time than that of the statements."""
    if error.code == "attestation.expired":
        says = f"{form} evidence had run out before the statements were made: {error.message}."
        record.note(ENCLAVE, _SPEC, "cannot_tell", says, "enclave.expired")
        return _Found("expired", says, "enclave.expired")
    says = f"{form} evidence is younger than the statements: {error.message}."
    record.note(ENCLAVE, _SPEC, "cannot_tell", says, "enclave.not_yet")
    return _Found("unread", says, "enclave.not_yet")


def _conclude(claims: VerifiedAttestation, moment: Moment, trust: Trust, record: Transcript) -> _Found:
    """What a good attestation comes to, once the times of the statements and the kind of root are looked at."""
    if moment.doubt is not None:
        says = f"The attestation holds, and does not help: {moment.doubt}"
        record.note(ENCLAVE, _SPEC, "cannot_tell", says, "enclave.doubt")
        return _Found("unread", says, "enclave.doubt")
    stand_in = any(root.development for root in trust.current.enclave_roots if root.certificate == claims.root)
    if claims.development or stand_in or trust.development or claims.debug is not False:
        if claims.debug is not False:
            why = "in debug mode"
        elif claims.development:
            why = f"simulated: the chain ends at {claims.root_name}, which never counts as hardware"
        else:
            why = "simulated, under a development root or trust"
        says = f"The signing key was held by a {claims.tee} enclave that is {why}: not by a real one."
        record.note(ENCLAVE, _SPEC, "cannot_tell", says, "enclave.development")
        return _Found("development", says, "enclave.development")
    if moment.end > claims.valid_until:
        says = "The attestation ran out before a quorum had dated the statements."
        record.note(ENCLAVE, _SPEC, "cannot_tell", says, "enclave.expired")
        return _Found("expired", says, "enclave.expired")
    if moment.late:
        says = (
            "The attestation holds for the time that the statements claim, which no quorum has dated within the bound."
        )
        record.note(ENCLAVE, _SPEC, "cannot_tell", says, "enclave.undated")
        return _Found("undated", says, "enclave.undated")
    says = (
        f"The signing key was held by a {claims.tee} enclave with admitted measurements when the statements were made; "
        f"the chain ends at {claims.root_name}."
    )
    record.note(ENCLAVE, _SPEC, "yes", says)
    return _Found("hardware", says)
