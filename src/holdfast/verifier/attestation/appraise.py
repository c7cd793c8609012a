"""Appraise a verified attestation: binding, nonce, measurements, debug, firmware (``spec/attestation.md`` §5 to §7).

What nobody gave to compare with is noted as *cannot tell*: the transcript says what its reader still owes.

Not covered: whether the attestation verified, which its type says; and times, which verification judged.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.attestation.binding import Bound, build_binding
from holdfast.core.attestation.reference import ReferenceValue, parse_reference_value
from holdfast.core.encoding import sha256, time_decode
from holdfast.errors import RefusedError
from holdfast.verifier.attestation.claims import VerifiedAttestation
from holdfast.verifier.transcript import ENCLAVE, Transcript

_REPORTS = ("intel-dcap", "amd-sev-snp")
"""Formats whose report holds the digest of a binding record."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference value with whom, when and what it is for (``trust.md`` §1, ``measurements``)."""

    form: str
    role: str
    value: ReferenceValue
    valid_from: dt.datetime
    valid_until: dt.datetime
    debug: bool

    def admits(self, start: dt.datetime, end: dt.datetime) -> bool:
        """Whether it holds for the whole span."""
        return self.valid_from <= start and end < self.valid_until


@dataclass(frozen=True, slots=True)
class Expected:
    """What an attestation is compared with."""

    start: dt.datetime
    end: dt.datetime
    """The span for which a reference value must hold."""
    key_document: str | None = None
    """Hex digest of the key document that must be bound."""
    nonce: bytes | None = None
    references: Sequence[Reference] | None = None
    """None where nobody gave any; an empty sequence admits nothing."""
    roles: Collection[str] | None = None
    """Roles of the node; None where any role will do."""
    allow_debug: bool = False


@dataclass(frozen=True, slots=True)
class AppraisedAttestation:
    """An attestation that nothing speaks against."""

    claims: VerifiedAttestation
    bound: Bound
    """As verified, or the key document that was expected and found."""
    reference: Reference | None
    """The reference value that fits, None where there was nothing to compare with."""


def read_references(measurements: Sequence[Mapping[str, Any]]) -> tuple[Reference, ...]:
    """The ``measurements`` of a parsed trust document."""
    return tuple(
        Reference(
            form=item["kind"],
            role=item["role"],
            value=parse_reference_value(item["kind"], item["value"]),
            valid_from=time_decode(item["valid_from"]),
            valid_until=time_decode(item["valid_until"]),
            debug=item["debug"],
        )
        for item in measurements
    )


def appraise_attestation(claims: VerifiedAttestation, expected: Expected, record: Transcript) -> AppraisedAttestation:
    """Compare claims with what is expected of them; raises ``attestation.*`` for the first thing that is wrong."""
    if claims.development and claims.form != "insecure-dev":
        says = f"It ends at {claims.root_name}: it is no hardware's word, whatever else holds."
        record.note(ENCLAVE, "attestation.md §10.1", "cannot_tell", says, "attestation.development")
    bound = _appraise_binding(claims, expected.key_document, record)
    _appraise_nonce(claims, expected.nonce, record)
    reference = _appraise_measurements(claims, expected, record)
    _appraise_debug(claims, reference, expected, record)
    _appraise_tcb(claims, reference, record)
    for says in claims.unchecked:
        record.note(ENCLAVE, "attestation.md §9", "cannot_tell", says, "attestation.offline")
    return AppraisedAttestation(claims, bound, reference)


def _appraise_binding(claims: VerifiedAttestation, key_document: str | None, record: Transcript) -> Bound:
    spec = "attestation.md §5"
    if key_document is None:
        record.note(ENCLAVE, spec, "cannot_tell", "No key document was given to compare with.", "attestation.unbound")
        return claims.bound
    bound = claims.bound
    if claims.form in _REPORTS and bound.key_document is None and claims.report_data is not None:
        plain = sha256(build_binding(key_document))
        bound = Bound(key_document) if claims.report_data[:32] == plain else bound
    if bound.key_document != key_document:
        raise RefusedError("attestation.binding", "the attestation binds another key document, or none")
    record.note(ENCLAVE, spec, "yes", f"The attestation binds the key document {key_document[:12]}.")
    return bound


def _appraise_nonce(claims: VerifiedAttestation, nonce: bytes | None, record: Transcript) -> None:
    spec = "attestation.md §5"
    if nonce is None:
        record.note(ENCLAVE, spec, "cannot_tell", "No nonce was given to compare with.", "attestation.no_nonce")
        return
    if claims.nonce != (sha256(nonce) if claims.nonce_is_digest else nonce):
        raise RefusedError("attestation.nonce", "the attestation answers another nonce, or none")
    record.note(ENCLAVE, spec, "yes", "The attestation answers the nonce that was given: it is fresh.")


def _fits(claims: VerifiedAttestation, reference: Reference) -> bool:
    value = reference.value
    return (
        reference.form == claims.form
        and value.tee == claims.tee
        and bool(value.measurements)
        and all(claims.measurements.get(name) == register for name, register in value.measurements.items())
        and all(claims.versions.get(name, -1) >= number for name, number in value.least.items())
    )


def _appraise_measurements(claims: VerifiedAttestation, expected: Expected, record: Transcript) -> Reference | None:
    spec = "attestation.md §7"
    if expected.references is None:
        record.note(
            ENCLAVE, spec, "cannot_tell", "No reference values were given to compare with.", "attestation.unmeasured"
        )
        return None
    found = [
        reference
        for reference in expected.references
        if _fits(claims, reference)
        and (expected.roles is None or reference.role in expected.roles)
        and reference.admits(expected.start, expected.end)
    ]
    if not found:
        raise RefusedError(
            "attestation.measurement", "no reference value for this role and time has these measurements"
        )
    # Of several that fit, the one that asks least of debug and firmware decides: each of them admits by itself.
    best = max(found, key=lambda item: (claims.tcb_status in item.value.tcb, item.debug))
    record.note(ENCLAVE, spec, "yes", f"The measurements are those of a reference value for {best.role}.")
    return best


def _appraise_debug(
    claims: VerifiedAttestation, reference: Reference | None, expected: Expected, record: Transcript
) -> None:
    spec = "attestation.md §6"
    if claims.debug is None:
        record.note(
            ENCLAVE, spec, "cannot_tell", "The evidence does not say whether it is in debug mode.", "attestation.debug"
        )
    elif not claims.debug:
        record.note(ENCLAVE, spec, "yes", "It is not in debug mode.")
    elif expected.allow_debug or (reference is not None and reference.debug):
        says = "It is in debug mode, which was allowed: its host can look inside, and it is no better than development."
        record.note(ENCLAVE, spec, "cannot_tell", says, "attestation.debug")
    else:
        raise RefusedError("attestation.debug", "it is in debug mode: its host can look inside")


def _appraise_tcb(claims: VerifiedAttestation, reference: Reference | None, record: Transcript) -> None:
    status = claims.tcb_status
    if status is None:
        return
    spec = "attestation.md §7"
    if reference is None:
        if status.startswith("OutOfDate"):
            raise RefusedError("attestation.tcb", f"the platform's firmware is {status}")
    elif status not in reference.value.tcb:
        raise RefusedError("attestation.tcb", f"the reference value does not admit firmware that is {status}")
    if status == "UpToDate":
        record.note(ENCLAVE, spec, "yes", "The platform's firmware is up to date.")
    else:
        more = f" ({', '.join(claims.advisories)})" if claims.advisories else ""
        record.note(ENCLAVE, spec, "cannot_tell", f"The platform's firmware is {status}{more}.", "attestation.tcb")
