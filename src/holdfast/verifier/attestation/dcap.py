"""Verify Intel DCAP quotes of SGX and TDX with the collateral given (``spec/attestation.md`` §4.3).

The steps are Intel's, and in one order: collateral, path of the platform, revocation, quoting enclave, quote, TCB.
What does not depend on the quote, :func:`verify_collateral` does once for the same bytes and remembers; times are
compared every time.

Not covered: Intel's relaunch and grace-period advice, which is policy.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache

from holdfast.core.attestation.binding import Bound
from holdfast.core.attestation.certificates import LIST_SIGN_BIT, Certificate, Revocations, parse_authority
from holdfast.core.attestation.dcap import (
    SGX,
    STATUSES,
    Collateral,
    EnclaveReport,
    Identity,
    Level,
    Module,
    PlatformIdentity,
    Quote,
    TCBInfo,
    TDReport,
    parse_collateral,
    parse_pck,
)
from holdfast.core.attestation.roots import describe_root
from holdfast.core.encoding import sha256
from holdfast.errors import MalformedError, RefusedError, UndecidedError
from holdfast.verifier.attestation.chain import (
    Span,
    note_time,
    verify_authorities,
    verify_leaf,
    verify_named,
    verify_raw,
)
from holdfast.verifier.attestation.claims import VerifiedAttestation
from holdfast.verifier.transcript import ENCLAVE, Transcript

_SPEC = "attestation.md §4.3"
_OUT_OF_DATE = {
    "UpToDate": "OutOfDate",
    "SWHardeningNeeded": "OutOfDate",
    "ConfigurationNeeded": "OutOfDateConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded": "OutOfDateConfigurationNeeded",
}
"""What a platform's status becomes when its quoting enclave or TDX module is out of date (Intel's rule)."""


@dataclass(frozen=True, slots=True)
class VerifiedCollateral:
    """Collateral whose signatures and chains hold, with the span for which all of it is valid."""

    tcb_info: TCBInfo
    identity: Identity
    revocations: Revocations
    roots: frozenset[bytes]
    """Where its chains end."""
    issuer: bytes
    """The authority (DER) that issued the platform's certificate and signed its revocation list."""
    revoked_authorities: frozenset[int]
    span: Span


@dataclass(frozen=True, slots=True)
class _Platform:
    """A platform's certificate under its authorities."""

    certificate: Certificate
    identity: PlatformIdentity
    root: bytes
    span: Span


@lru_cache(maxsize=64)
def verify_collateral(raw: bytes, roots: tuple[bytes, ...]) -> VerifiedCollateral:
    """Everything of collateral that no quote is needed for (``attestation.md`` §4.3.1). No time is judged."""
    found = parse_collateral(raw)
    spans = [
        _signed_document(found.tcb_chain, roots, found.root_crl, found.tcb_info_signed, found.tcb_info_signature),
        _signed_document(found.identity_chain, roots, found.root_crl, found.identity_signed, found.identity_signature),
    ]
    ends = frozenset((found.tcb_chain[-1].raw, found.identity_chain[-1].raw, found.pck_crl_chain[-1].raw))
    issuer, root = _list_issuers(found, roots)
    _verify_list(found.root_crl, root)
    _verify_list(found.pck_crl, issuer)
    spans += [Span(item.issued, item.next_update) for item in (found.tcb_info, found.identity)]
    spans += [Span(item.this_update, item.next_update) for item in (found.root_crl, found.pck_crl)]
    span = spans[0]
    for other in spans[1:]:
        span = span.within(other.start, other.end)
    serials = found.root_crl.serials
    return VerifiedCollateral(found.tcb_info, found.identity, found.pck_crl, ends, issuer.raw, serials, span)


def _signed_document(
    chain: tuple[Certificate, ...], roots: tuple[bytes, ...], revoked: Revocations, message: bytes, signature: bytes
) -> Span:
    if len(chain) < 2:
        raise MalformedError("certificate.count", "a chain goes from Intel's signing certificate to its root")
    authorities = verify_authorities(tuple(item.raw for item in chain[1:]), roots)
    span = verify_leaf(chain[0], authorities)
    if chain[0].serial in revoked.serials:
        raise RefusedError("attestation.revoked", "the certificate that signed the collateral is revoked")
    if chain[0].key.algorithm != "p256":
        raise RefusedError("attestation.leaf", "Intel signs collateral with P-256")
    verify_raw("p256", chain[0].key.point, message, signature, "Intel's TCB documents")
    return span


def _list_issuers(found: Collateral, roots: tuple[bytes, ...]) -> tuple[Certificate, Certificate]:
    """The authority that issued the platform's revocation list, and the root that issued the other."""
    chain = found.pck_crl_chain
    authorities = verify_authorities(tuple(item.raw for item in chain), roots)
    return chain[0], authorities.root


def _verify_list(revocations: Revocations, issuer: Certificate) -> None:
    signs = issuer.usages is None or LIST_SIGN_BIT in issuer.usages
    if revocations.issuer != issuer.subject or not signs:
        raise RefusedError("attestation.chain", "a revocation list is not by the authority that should have issued it")
    verify_named(issuer.key, revocations.signature_algorithm, revocations.signed, revocations.signature)


@lru_cache(maxsize=256)
def _platform(chain: tuple[bytes, ...], roots: tuple[bytes, ...]) -> _Platform:
    if len(chain) < 2:
        raise MalformedError("certificate.count", "a chain goes from the platform's certificate to Intel's root")
    authorities = verify_authorities(chain[1:], roots)
    leaf = parse_authority(chain[0])
    span = verify_leaf(leaf, authorities)
    if leaf.key.algorithm != "p256":
        raise RefusedError("attestation.leaf", "platforms sign with P-256")
    return _Platform(leaf, parse_pck(leaf), authorities.root.raw, span)


def verify_dcap(
    quote: Quote,
    collateral: bytes,
    bound: Bound,
    roots: tuple[bytes, ...],
    at: dt.datetime,
    record: Transcript,
) -> VerifiedAttestation:
    """Collateral, chain, signatures and TCB of a quote (``attestation.md`` §4.3). Raises ``attestation.*``."""
    if not roots:
        raise UndecidedError("attestation.roots", "no root is admitted for evidence of this format")
    intel = verify_collateral(collateral, roots)
    record.note(
        ENCLAVE,
        _SPEC,
        "yes",
        "Intel signed the TCB levels, the identity of the quoting enclave and the revocation lists.",
    )
    platform = _platform(quote.chain, roots)
    record.note(
        ENCLAVE,
        _SPEC,
        "yes",
        f"The platform's chain of {len(quote.chain)} certificates ends at {describe_root(platform.root)}.",
    )
    if intel.roots != {platform.root}:
        raise RefusedError("attestation.collateral", "the collateral ends at another root than the platform")
    if quote.chain[1] != intel.issuer:
        raise RefusedError("attestation.collateral", "the collateral's revocation list is of another authority")
    above = {parse_authority(raw).serial for raw in quote.chain[1:-1]}
    if platform.certificate.serial in intel.revocations.serials or above & intel.revoked_authorities:
        raise RefusedError("attestation.revoked", "the platform's certificate or its authority is revoked")
    record.note(ENCLAVE, _SPEC, "yes", "Neither the platform's certificate nor its authority is on a revocation list.")
    _verify_signatures(quote, platform.certificate.key.point)
    record.note(ENCLAVE, _SPEC, "yes", "The platform signed its quoting enclave, and the quoting enclave the quote.")
    status, advisories = _judge_tcb(quote, platform.identity, intel)
    note_time(platform.span.within(intel.span.start, intel.span.end), at, record)
    if status == "Revoked":
        raise RefusedError("attestation.tcb", "Intel has revoked this TCB level")
    says = f"Intel says of this platform's firmware: {status}."
    record.note(
        ENCLAVE,
        _SPEC,
        "yes" if status == "UpToDate" else "cannot_tell",
        says,
        None if status == "UpToDate" else "attestation.tcb",
    )
    span = platform.span.within(intel.span.start, intel.span.end)
    return VerifiedAttestation(
        form="intel-dcap",
        tee=quote.tee,
        root=platform.root,
        measurements=_measurements(quote.body),
        debug=quote.body.debug,
        bound=bound,
        valid_from=span.start,
        valid_until=span.end,
        report_data=quote.body.report_data,
        nonce=quote.body.report_data[32:],
        nonce_is_digest=True,
        tcb_status=status,
        advisories=advisories,
        versions=_versions(quote.body),
        details={"fmspc": platform.identity.fmspc.hex(), "quote_version": str(quote.version)},
        unchecked=("When the quote was made: it carries no time. A nonce shows that it is fresh.",),
    )


def _verify_signatures(quote: Quote, point: bytes) -> None:
    verify_raw("p256", point, quote.qe_report.raw, quote.qe_report_signature, "the quoting enclave's report")
    expected = sha256(quote.attestation_key + quote.qe_authentication) + bytes(32)
    if quote.qe_report.report_data != expected:
        raise RefusedError("attestation.signature", "the quoting enclave vouches for another attestation key")
    verify_raw("p256", b"\x04" + quote.attestation_key, quote.signed, quote.signature, "the quote")


def _measurements(body: EnclaveReport | TDReport) -> dict[str, bytes]:
    if isinstance(body, EnclaveReport):
        return {"mr_enclave": body.mr_enclave, "mr_signer": body.mr_signer, "attributes": body.attributes}
    found = {"mr_td": body.mr_td}
    found |= {f"rt_mr{number}": value for number, value in enumerate(body.rt_mr)}
    found |= {"mr_seam": body.mr_seam, "mr_config_id": body.mr_config_id, "mr_owner": body.mr_owner}
    found |= {"mr_owner_config": body.mr_owner_config, "td_attributes": body.td_attributes, "xfam": body.xfam}
    return found if body.mr_service_td is None else {**found, "mr_service_td": body.mr_service_td}


def _versions(body: EnclaveReport | TDReport) -> dict[str, int]:
    return {"isv_prod_id": body.isv_prod_id, "isv_svn": body.isv_svn} if isinstance(body, EnclaveReport) else {}


# --- TCB levels -----------------------------------------------------------------------------------------------------


def _masked(value: bytes, mask: bytes) -> bytes:
    return bytes(left & right for left, right in zip(value, mask, strict=True))


def _by_version(levels: tuple[Level, ...], isv_svn: int, what: str) -> Level:
    """The first level whose version is not above: Intel lists them from the newest down."""
    found = next((level for level in levels if level.isv_svn <= isv_svn), None)
    if found is None:
        raise RefusedError("attestation.tcb", f"Intel lists no level for {what}")
    return found


def _judge_tcb(quote: Quote, platform: PlatformIdentity, intel: VerifiedCollateral) -> tuple[str, tuple[str, ...]]:
    """The status of the platform and the advisories about it (``attestation.md`` §4.3.6)."""
    info, identity = intel.tcb_info, intel.identity
    expected = ("SGX", "QE") if quote.tee == SGX else ("TDX", "TD_QE")
    if (info.id, identity.id) != expected:
        raise RefusedError("attestation.collateral", f"the collateral is not of {quote.tee}")
    if (info.fmspc, info.pce_id) != (platform.fmspc, platform.pce_id):
        raise RefusedError("attestation.collateral", "the collateral is of another kind of platform")
    enclave = _judge_quoting_enclave(quote.qe_report, identity)
    if not isinstance(quote.body, TDReport):
        return _together(_platform_level(platform, None, info), [enclave])
    body = quote.body
    if not body.keeps_exceptions_out:
        raise RefusedError("attestation.td_attributes", "the domain lets its host raise exceptions in it (SEPT_VE)")
    found = []
    for versions in (body.tee_tcb_svn, body.current_tcb_svn):
        if versions is not None:
            module = _judge_module(body, versions, info)
            below = [enclave] if module is None else [enclave, module]
            found.append(_together(_platform_level(platform, versions, info), below))
    # What the domain began with and what runs now: the worse of the two counts.
    status = max((one for one, _ in found), key=STATUSES.index)
    return status, tuple(dict.fromkeys(advisory for _, advisories in found for advisory in advisories))


def _together(level: Level, below: list[Level]) -> tuple[str, tuple[str, ...]]:
    """The status of a platform with what it rests on, and the advisories about all of it."""
    status, advisories = level.status, dict.fromkeys(level.advisories)
    for other in below:
        status = _with(status, other.status)
        advisories |= dict.fromkeys(other.advisories)
    return status, tuple(advisories)


def _with(status: str, other: str) -> str:
    """The platform's status once that of something it rests on is known."""
    if other == "Revoked":
        return other
    return _OUT_OF_DATE.get(status, status) if other.startswith("OutOfDate") else status


def _judge_quoting_enclave(report: EnclaveReport, identity: Identity) -> Level:
    right = (
        _masked(report.misc_select, identity.misc_mask) == _masked(identity.misc_select, identity.misc_mask)
        and _masked(report.attributes, identity.attributes_mask)
        == _masked(identity.attributes, identity.attributes_mask)
        and report.mr_signer == identity.mr_signer
        and report.isv_prod_id == identity.isv_prod_id
    )
    if not right or report.debug:
        raise RefusedError("attestation.quoting_enclave", "the quoting enclave is not the one that Intel describes")
    return _by_version(identity.levels, report.isv_svn, "the quoting enclave")


def _platform_level(platform: PlatformIdentity, tdx: bytes | None, info: TCBInfo) -> Level:
    for level in info.levels:
        if platform.pce_svn < level.pce_svn or not _reaches(platform.components, level.sgx_components):
            continue
        if tdx is not None:
            # From version 1 of the TDX module on its own levels judge the first two components (Intel's rule).
            start = 2 if tdx[1] else 0
            if not _reaches(tuple(tdx[start:]), level.tdx_components[start:]):
                continue
        return level
    raise RefusedError("attestation.tcb", "Intel lists no level that this platform reaches")


def _reaches(has: tuple[int, ...], needs: tuple[int, ...]) -> bool:
    return all(left >= right for left, right in zip(has, needs, strict=True))


def _judge_module(body: TDReport, versions: bytes, info: TCBInfo) -> Level | None:
    """The TDX module's own level; None for version 0, which the platform's levels judge."""
    version = versions[1]
    module = info.module if version == 0 else _named(info.modules, f"TDX_{version:02X}")
    right = (
        module is not None
        and body.mr_signer_seam == module.mr_signer
        and _masked(body.seam_attributes, module.mask) == _masked(module.attributes, module.mask)
    )
    if module is None or not right:
        raise RefusedError("attestation.tdx_module", "the TDX module is not one that Intel describes")
    return None if version == 0 else _by_version(module.levels, versions[0], "the TDX module")


def _named(modules: tuple[Module, ...], name: str) -> Module | None:
    return next((module for module in modules if module.id.upper() == name.upper()), None)
