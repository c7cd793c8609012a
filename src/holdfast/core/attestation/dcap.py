"""Intel DCAP quotes of SGX and TDX, and the collateral to judge them by (``spec/attestation.md`` §4.3).

``parse_quote`` reads quotes of version 3, 4 and 5 with an ECDSA P-256 attestation key and the platform's certificate
chain inside; ``parse_collateral`` the JSON in which Intel's answers travel together; ``parse_pck`` the extension in
which Intel says of which platform and firmware a certificate is. ``parse_tcb_info`` and ``parse_identity`` read what
Intel signs about firmware levels.

Not covered: every signature and every comparison (``verifier.attestation.dcap``); quotes with an EPID key, and quotes
that name their platform by an encrypted id instead of a certificate.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.attestation import der
from holdfast.core.attestation.certificates import (
    Certificate,
    Revocations,
    parse_authority,
    parse_pem,
    parse_revocations,
)
from holdfast.core.encoding import hex_decode
from holdfast.errors import MalformedError, UndecidedError

ECDSA_P256 = 2
"""``att_key_type`` of the quotes that are read (Intel DCAP quoting library API, appendix A)."""
INTEL_QE = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
"""Vendor id of Intel's quoting enclave, the only one there is collateral for."""
SGX_BYTES, TDX_BYTES, TDX_15_BYTES = 384, 584, 648
"""Sizes of the bodies: an SGX report, a TD report of TDX 1.0 and of 1.5."""
MAX_PADDING_BYTES = 16 * 1024
"""Zeros that may follow a quote; some platforms hand out a fixed buffer."""
MAX_LEVELS = 64
"""TCB levels and TDX module identities in one document of Intel."""
SGX, TDX = "sgx", "tdx"
STATUSES = (
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "Revoked",
)
"""What Intel says of a TCB level."""
_HEADER_BYTES = 48
_TEE_TYPES = {0: SGX, 0x81: TDX}
_BODY_KINDS = {1: (SGX, SGX_BYTES), 2: (TDX, TDX_BYTES), 3: (TDX, TDX_15_BYTES)}
_PCK_CHAIN, _QE_REPORT = 5, 6
"""Kinds of certification data: a PEM chain, and a QE report around other data."""
_PLATFORM_IDS = {1: 36, 2: 276, 3: 404}
"""Kinds that name the platform by an id, plain or encrypted, to their sizes."""
_COLLATERAL = frozenset(
    {
        "pck_crl_issuer_chain",
        "root_ca_crl",
        "pck_crl",
        "tcb_info_issuer_chain",
        "tcb_info",
        "tcb_info_signature",
        "qe_identity_issuer_chain",
        "qe_identity",
        "qe_identity_signature",
    }
)
_PCK_EXTENSION = "1.2.840.113741.1.13.1"
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class EnclaveReport:
    """An SGX report body, of the quoting enclave or of the enclave that is quoted."""

    raw: bytes
    cpu_svn: bytes
    misc_select: bytes
    attributes: bytes
    mr_enclave: bytes
    mr_signer: bytes
    isv_prod_id: int
    isv_svn: int
    report_data: bytes

    @property
    def debug(self) -> bool:
        """The DEBUG attribute: the host can read the enclave's memory."""
        return bool(self.attributes[0] & 2)


@dataclass(frozen=True, slots=True)
class TDReport:
    """A TD report body of TDX 1.0, or of 1.5 with two fields more."""

    raw: bytes
    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: bytes
    td_attributes: bytes
    xfam: bytes
    mr_td: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    rt_mr: tuple[bytes, bytes, bytes, bytes]
    report_data: bytes
    current_tcb_svn: bytes | None
    """TDX 1.5: the versions that run now, after an update under a running domain (``TEE_TCB_SVN_2``)."""
    mr_service_td: bytes | None

    @property
    def debug(self) -> bool:
        """Any bit of the group "TD under debug" (TUD): the host can read the domain's memory."""
        return self.td_attributes[0] != 0

    @property
    def keeps_exceptions_out(self) -> bool:
        """SEPT_VE_DISABLE: the host cannot raise exceptions in the domain by taking its pages away."""
        return bool(self.td_attributes[3] & 0x10)


@dataclass(frozen=True, slots=True)
class Quote:
    """One parsed, unverified quote."""

    version: int
    tee: str
    """``sgx`` or ``tdx``."""
    signed: bytes
    """Header and body: what the attestation key signed."""
    body: EnclaveReport | TDReport
    signature: bytes
    """r ‖ s by the attestation key."""
    attestation_key: bytes
    """Its point, 64 bytes."""
    qe_report: EnclaveReport
    qe_report_signature: bytes
    """r ‖ s by the platform's certified key."""
    qe_authentication: bytes
    chain: tuple[bytes, ...]
    """DER certificates: the platform's (PCK), its issuer, Intel's root."""


@dataclass(frozen=True, slots=True)
class PlatformIdentity:
    """What Intel says in a PCK certificate."""

    fmspc: bytes
    pce_id: bytes
    components: tuple[int, ...]
    """The sixteen component versions."""
    pce_svn: int


@dataclass(frozen=True, slots=True)
class Level:
    """One TCB level: what a platform must at least have, and what Intel says of it."""

    sgx_components: tuple[int, ...]
    tdx_components: tuple[int, ...]
    pce_svn: int
    isv_svn: int
    status: str
    advisories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Module:
    """What a TDX module must look like: signer, attributes under a mask, and its levels."""

    id: str
    mr_signer: bytes
    attributes: bytes
    mask: bytes
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class TCBInfo:
    """Intel's list of TCB levels for one kind of platform."""

    id: str
    issued: dt.datetime
    next_update: dt.datetime
    fmspc: bytes
    pce_id: bytes
    levels: tuple[Level, ...]
    module: Module | None
    modules: tuple[Module, ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """What Intel's quoting enclave must look like."""

    id: str
    issued: dt.datetime
    next_update: dt.datetime
    misc_select: bytes
    misc_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mr_signer: bytes
    isv_prod_id: int
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class Collateral:
    """Intel's answers, parsed; nothing of it is verified."""

    tcb_info: TCBInfo
    tcb_info_signed: bytes
    tcb_info_signature: bytes
    identity: Identity
    identity_signed: bytes
    identity_signature: bytes
    tcb_chain: tuple[Certificate, ...]
    identity_chain: tuple[Certificate, ...]
    pck_crl_chain: tuple[Certificate, ...]
    root_crl: Revocations
    pck_crl: Revocations


class _Reader:
    """Takes bytes off the front; running out is a malformed quote."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        end = self._at + size
        if end > len(self._data):
            raise MalformedError("quote.truncated", "the quote ends inside a field")
        found, self._at = self._data[self._at : end], end
        return found

    def number(self, size: int) -> int:
        """The next little-endian number."""
        return int.from_bytes(self.take(size), "little")

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Refuse what is left over."""
        if self._at != len(self._data):
            raise MalformedError("quote.trailing", "bytes follow the last field")


def _enclave_report(raw: bytes) -> EnclaveReport:
    return EnclaveReport(
        raw=raw,
        cpu_svn=raw[:16],
        misc_select=raw[16:20],
        attributes=raw[48:64],
        mr_enclave=raw[64:96],
        mr_signer=raw[128:160],
        isv_prod_id=int.from_bytes(raw[256:258], "little"),
        isv_svn=int.from_bytes(raw[258:260], "little"),
        report_data=raw[320:384],
    )


def _td_report(raw: bytes) -> TDReport:
    fields = _Reader(raw)
    take = fields.take
    return TDReport(
        raw=raw,
        tee_tcb_svn=take(16),
        mr_seam=take(48),
        mr_signer_seam=take(48),
        seam_attributes=take(8),
        td_attributes=take(8),
        xfam=take(8),
        mr_td=take(48),
        mr_config_id=take(48),
        mr_owner=take(48),
        mr_owner_config=take(48),
        rt_mr=(take(48), take(48), take(48), take(48)),
        report_data=take(64),
        current_tcb_svn=take(16) if len(raw) == TDX_15_BYTES else None,
        mr_service_td=fields.rest() or None,
    )


def _certification(reader: _Reader) -> tuple[int, bytes]:
    kind, size = reader.number(2), reader.number(4)
    return kind, reader.take(size)


def parse_quote(raw: bytes) -> Quote:
    """Bytes of a quote to a :class:`Quote`. Raises ``quote.*``, ``certificate.*``; checks no signature.

    Raises ``attestation.platform`` (undecided) for quotes that do not carry the platform's certificate chain.
    """
    reader = _Reader(raw)
    header = reader.take(_HEADER_BYTES)
    version, key_type = int.from_bytes(header[:2], "little"), int.from_bytes(header[2:4], "little")
    tee = _TEE_TYPES.get(int.from_bytes(header[4:8], "little"))
    if version not in (3, 4, 5) or tee is None or (version == 3 and tee != SGX):
        raise MalformedError("quote.version", "quotes of SGX and TDX have version 3, 4 or 5")
    if key_type != ECDSA_P256 or header[12:28] != INTEL_QE:
        raise MalformedError("quote.key", "quotes are signed with ECDSA P-256 by Intel's quoting enclave")
    signed = header
    size = SGX_BYTES if tee == SGX else TDX_BYTES
    if version == 5:
        kind = reader.take(6)
        expected = _BODY_KINDS.get(int.from_bytes(kind[:2], "little"))
        if expected is None or expected[0] != tee or expected[1] != int.from_bytes(kind[2:], "little"):
            raise MalformedError("quote.body", "the body is of another kind or size than it says")
        signed, size = signed + kind, expected[1]
    body = reader.take(size)
    inner = _Reader(reader.take(reader.number(4)))
    padding = reader.rest()
    if any(padding) or len(padding) > MAX_PADDING_BYTES:
        raise MalformedError("quote.trailing", f"nothing but zeros follows a quote, at most {MAX_PADDING_BYTES}")
    signature, key = inner.take(64), inner.take(64)
    if version > 3:
        kind_number, content = _certification(inner)
        inner.end()
        if kind_number != _QE_REPORT:
            raise MalformedError("quote.certification", "expected a report of the quoting enclave")
        inner = _Reader(content)
    qe_report, qe_signature = _enclave_report(inner.take(SGX_BYTES)), inner.take(64)
    authentication = inner.take(inner.number(2))
    kind_number, content = _certification(inner)
    inner.end()
    if kind_number != _PCK_CHAIN and _PLATFORM_IDS.get(kind_number) != len(content):
        raise MalformedError("quote.certification", "the certification data are of a kind or size that nobody writes")
    if kind_number != _PCK_CHAIN:
        raise UndecidedError(
            "attestation.platform", "the quote names its platform without the certificate that would vouch for it"
        )
    return Quote(
        version=version,
        tee=tee,
        signed=signed + body,
        body=_enclave_report(body) if tee == SGX else _td_report(body),
        signature=signature,
        attestation_key=key,
        qe_report=qe_report,
        qe_report_signature=qe_signature,
        qe_authentication=authentication,
        chain=parse_pem(content.removesuffix(b"\x00")),
    )


def parse_pck(certificate: Certificate) -> PlatformIdentity:
    """The SGX extension of a platform's certificate. Raises ``quote.pck`` or ``der.*``."""
    raw = certificate.extensions.get(_PCK_EXTENSION)
    if raw is None:
        raise MalformedError("quote.pck", "the platform's certificate has no SGX extension")
    found = _identified(der.single(raw, der.SEQUENCE))
    tcb, fmspc, pce_id = (found.get(f"{_PCK_EXTENSION}.{number}") for number in (2, 4, 3))
    if tcb is None or fmspc is None or pce_id is None:
        raise MalformedError("quote.pck", "the SGX extension names no TCB, platform or PCE")
    versions = _identified(tcb)
    numbers = [versions.get(f"{_PCK_EXTENSION}.2.{number}") for number in range(1, 18)]
    values = [der.integer(item) for item in numbers if item is not None]
    if len(values) != 17 or len(der.octets(fmspc)) != 6 or len(der.octets(pce_id)) != 2:
        raise MalformedError("quote.pck", "the SGX extension has sixteen components, a PCE version and two ids")
    return PlatformIdentity(der.octets(fmspc), der.octets(pce_id), tuple(values[:16]), values[16])


def _identified(element: der.Element) -> dict[str, der.Element]:
    """A sequence of pairs of an object identifier and a value."""
    found: dict[str, der.Element] = {}
    for item in der.sequence(element):
        pair = der.sequence(item, 2, 2)
        name = der.identifier(pair[0])
        if name in found:
            raise MalformedError("quote.pck", f"{name} appears twice")
        found[name] = pair[1]
    return found


def _time(value: object) -> dt.datetime:
    if not isinstance(value, str) or _TIME.match(value) is None:
        raise MalformedError("collateral.time", "times are RFC 3339 in UTC with whole seconds")
    try:
        return dt.datetime.fromisoformat(value)
    except ValueError as error:
        raise MalformedError("collateral.time", "no such moment") from error


def _hex(value: object, size: int) -> bytes:
    """Hex as Intel writes it inside of what it signs, in upper case; one spelling is no matter there."""
    return hex_decode(value.lower() if isinstance(value, str) else value, size)


def _number(value: object, most: int = 65535) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise MalformedError("collateral.fields", f"expected a number from 0 to {most}")
    return value


def _object(value: object, *names: str) -> Mapping[str, Any]:
    """An object with at least these members; Intel may add others, and its signature covers them."""
    if not isinstance(value, dict) or not value.keys() >= set(names):
        raise MalformedError("collateral.fields", f"expected an object with {', '.join(names)}")
    return value


def _listed(value: object) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_LEVELS:
        raise MalformedError("collateral.fields", f"expected a list of at most {MAX_LEVELS}")
    return value


def _components(tcb: Mapping[str, Any], name: str) -> tuple[int, ...]:
    found = tuple(_number(_object(item, "svn")["svn"], 255) for item in _listed(tcb.get(name, [])))
    if len(found) not in (0, 16):
        raise MalformedError("collateral.fields", "a level has sixteen components")
    return found


def _level(value: object) -> Level:
    entry = _object(value, "tcb", "tcbStatus")
    tcb, status, advisories = _object(entry["tcb"]), entry["tcbStatus"], _listed(entry.get("advisoryIDs", []))
    if status not in STATUSES or not all(isinstance(item, str) for item in advisories):
        raise MalformedError("collateral.status", f"{status!r} is no TCB status")
    return Level(
        sgx_components=_components(tcb, "sgxtcbcomponents"),
        tdx_components=_components(tcb, "tdxtcbcomponents"),
        pce_svn=_number(tcb.get("pcesvn", 0)),
        isv_svn=_number(tcb.get("isvsvn", 0)),
        status=status,
        advisories=tuple(advisories),
    )


def _module(value: object, name: object) -> Module:
    entry = _object(value, "mrsigner", "attributes", "attributesMask")
    if not isinstance(name, str):
        raise MalformedError("collateral.fields", "a module has a name")
    return Module(
        id=name,
        mr_signer=_hex(entry["mrsigner"], 48),
        attributes=_hex(entry["attributes"], 8),
        mask=_hex(entry["attributesMask"], 8),
        levels=tuple(_level(item) for item in _listed(entry.get("tcbLevels", []))),
    )


def parse_tcb_info(raw: bytes) -> TCBInfo:
    """Intel's TCB info (version 3). Raises ``collateral.*`` or ``json.*``."""
    value = _object(
        canonical.decode_object(raw),
        "id",
        "version",
        "issueDate",
        "nextUpdate",
        "fmspc",
        "pceId",
        "tcbType",
        "tcbLevels",
    )
    if value["version"] != 3 or value["tcbType"] != 0 or value["id"] not in ("SGX", "TDX"):
        raise MalformedError("collateral.version", "TCB info has version 3, type 0, and is of SGX or TDX")
    levels = tuple(_level(item) for item in _listed(value["tcbLevels"]))
    if any(not level.sgx_components or (value["id"] == "TDX" and not level.tdx_components) for level in levels):
        raise MalformedError("collateral.fields", "a level has sixteen components")
    modules = [_object(item, "id") for item in _listed(value.get("tdxModuleIdentities", []))]
    return TCBInfo(
        id=value["id"],
        issued=_time(value["issueDate"]),
        next_update=_time(value["nextUpdate"]),
        fmspc=_hex(value["fmspc"], 6),
        pce_id=_hex(value["pceId"], 2),
        levels=levels,
        module=_module(value["tdxModule"], "TDX") if "tdxModule" in value else None,
        modules=tuple(_module(item, item["id"]) for item in modules),
    )


def parse_identity(raw: bytes) -> Identity:
    """Intel's identity of the quoting enclave (version 2). Raises ``collateral.*`` or ``json.*``."""
    names = "id version issueDate nextUpdate miscselect miscselectMask attributes attributesMask mrsigner isvprodid"
    value = _object(canonical.decode_object(raw), *names.split(), "tcbLevels")
    if value["version"] != 2 or value["id"] not in ("QE", "TD_QE"):
        raise MalformedError("collateral.version", "an enclave identity has version 2 and is of QE or TD_QE")
    return Identity(
        id=value["id"],
        issued=_time(value["issueDate"]),
        next_update=_time(value["nextUpdate"]),
        misc_select=_hex(value["miscselect"], 4),
        misc_mask=_hex(value["miscselectMask"], 4),
        attributes=_hex(value["attributes"], 16),
        attributes_mask=_hex(value["attributesMask"], 16),
        mr_signer=_hex(value["mrsigner"], 32),
        isv_prod_id=_number(value["isvprodid"]),
        levels=tuple(_level(item) for item in _listed(value["tcbLevels"])),
    )


def _chain(value: str) -> tuple[Certificate, ...]:
    return tuple(parse_authority(raw) for raw in parse_pem(value.encode("utf-8")))


def parse_collateral(raw: bytes) -> Collateral:
    """Collateral as JSON: Intel's answers as texts, signatures and revocation lists in hex. Raises ``collateral.*``.

    The member names are those that collateral services use; a ``pck_certificate_chain`` is allowed and not read, since
    quotes carry their own.
    """
    value = canonical.decode_object(raw)
    if value.keys() - {"pck_certificate_chain"} != _COLLATERAL:
        raise MalformedError("collateral.fields", f"expected exactly: {', '.join(sorted(_COLLATERAL))}")
    if not all(isinstance(value[name], str) for name in _COLLATERAL):
        raise MalformedError("collateral.fields", "members are strings")
    tcb_info, identity = value["tcb_info"].encode("utf-8"), value["qe_identity"].encode("utf-8")
    return Collateral(
        tcb_info=parse_tcb_info(tcb_info),
        tcb_info_signed=tcb_info,
        tcb_info_signature=hex_decode(value["tcb_info_signature"], 64),
        identity=parse_identity(identity),
        identity_signed=identity,
        identity_signature=hex_decode(value["qe_identity_signature"], 64),
        tcb_chain=_chain(value["tcb_info_issuer_chain"]),
        identity_chain=_chain(value["qe_identity_issuer_chain"]),
        pck_crl_chain=_chain(value["pck_crl_issuer_chain"]),
        root_crl=parse_revocations(hex_decode(value["root_ca_crl"])),
        pck_crl=parse_revocations(hex_decode(value["pck_crl"])),
    )
