"""AMD SEV-SNP attestation reports (``spec/attestation.md`` §4.2), as AMD's publication 56860 lays them out.

``parse_snp`` reads the 1,184 bytes; ``parse_vcek`` the extensions in which AMD says of which chip and firmware a
certificate is; ``parse_certificate_table`` what a host hands its guests beside a report. Versions 2 to 5 of reports
share the layout of what is read here.

Not covered: signatures and the chain (``verifier.attestation.snp``), reports signed by a VLEK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.core.attestation import der
from holdfast.core.attestation.certificates import Certificate
from holdfast.errors import MalformedError

REPORT_BYTES = 1184
"""Size of a report (table 23)."""
SIGNED_BYTES = 0x2A0
"""What the signature is over: everything before it."""
VERSIONS = range(2, 6)
"""Report versions with this layout."""
_POLICY_RESERVED = 1 << 17
"""This bit of the guest policy is one (table 10)."""
_POLICY_DEBUG = 1 << 19
_ECDSA_P384_SHA384 = 1
_TCB_IDENTIFIERS = {
    "boot_loader": "1.3.6.1.4.1.3704.1.3.1",
    "tee": "1.3.6.1.4.1.3704.1.3.2",
    "snp": "1.3.6.1.4.1.3704.1.3.3",
    "microcode": "1.3.6.1.4.1.3704.1.3.8",
    "fmc": "1.3.6.1.4.1.3704.1.3.9",
}
"""Extensions of a VCEK with a version each (AMD publication 57230, table 9)."""
_PRODUCT, _CHIP = "1.3.6.1.4.1.3704.1.2", "1.3.6.1.4.1.3704.1.4"
_IA5_STRING = 0x16
VCEK = "63da758d-e664-4564-adc5-f4b93be8accd"
ASK = "4ab7b379-bbac-4fe4-a02f-05aef327c782"
ARK = "c0b406a4-a803-4952-9743-3fb6014cd0ae"
"""Names of certificates in a host's table (AMD publication 56421, §4.1.8.1)."""
MAX_TABLE_BYTES = 64 * 1024
"""Larger tables are refused unread."""
_ENTRY_BYTES = 24


def read_tcb(raw: bytes, product: str) -> dict[str, int]:
    """The eight bytes of a TCB version as numbers by part; Turin and later order them in another way."""
    if product.startswith(("Milan", "Genoa", "Siena", "Bergamo")):
        return {"boot_loader": raw[0], "tee": raw[1], "snp": raw[6], "microcode": raw[7]}
    return {"fmc": raw[0], "boot_loader": raw[1], "tee": raw[2], "snp": raw[3], "microcode": raw[7]}


@dataclass(frozen=True, slots=True)
class SNPReport:
    """One parsed, unverified report; numbers are little-endian there."""

    signed: bytes
    signature: bytes
    """r ‖ s, 48 bytes each, big-endian."""
    version: int
    guest_svn: int
    policy: int
    vmpl: int
    signing_key: int
    """0 VCEK, 1 VLEK."""
    masked_chip: bool
    report_data: bytes
    measurement: bytes
    fields: Mapping[str, bytes]
    """``family_id``, ``image_id``, ``host_data``, ``id_key_digest``, ``author_key_digest``, ``report_id``."""
    current_tcb: bytes
    reported_tcb: bytes
    committed_tcb: bytes
    launch_tcb: bytes
    chip_id: bytes

    @property
    def debug(self) -> bool:
        """Whether the guest's owner allowed debugging, so that the host can read its memory."""
        return bool(self.policy & _POLICY_DEBUG)


@dataclass(frozen=True, slots=True)
class ChipIdentity:
    """What AMD says in a VCEK: the product, the chip, and the firmware versions the key stands for."""

    product: str
    chip_id: bytes
    tcb: Mapping[str, int]


def _little(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def parse_snp(raw: bytes) -> SNPReport:
    """Bytes of a report to a :class:`SNPReport`. Raises ``snp.*``; checks no signature."""
    if len(raw) != REPORT_BYTES:
        raise MalformedError("snp.size", f"a report has {REPORT_BYTES} bytes")
    version, policy, flags = _little(raw[:4]), _little(raw[8:16]), _little(raw[0x48:0x4C])
    if version not in VERSIONS:
        raise MalformedError("snp.version", f"report version {version} is not read")
    if not policy & _POLICY_RESERVED or _little(raw[0x34:0x38]) != _ECDSA_P384_SHA384:
        raise MalformedError("snp.fields", "a reserved bit of the policy is one, and signatures are ECDSA P-384")
    r, s = _little(raw[0x2A0:0x2E8]), _little(raw[0x2E8:0x330])
    if any(raw[0x330:]) or any(raw[0x2D0:0x2E8]) or any(raw[0x318:0x330]):
        raise MalformedError("snp.padding", "what follows r, s and the signature is zero")
    return SNPReport(
        signed=raw[:SIGNED_BYTES],
        signature=r.to_bytes(48, "big") + s.to_bytes(48, "big"),
        version=version,
        guest_svn=_little(raw[4:8]),
        policy=policy,
        vmpl=_little(raw[0x30:0x34]),
        signing_key=flags >> 2 & 7,
        masked_chip=bool(flags & 2),
        report_data=raw[0x50:0x90],
        measurement=raw[0x90:0xC0],
        fields={
            "family_id": raw[0x10:0x20],
            "image_id": raw[0x20:0x30],
            "host_data": raw[0xC0:0xE0],
            "id_key_digest": raw[0xE0:0x110],
            "author_key_digest": raw[0x110:0x140],
            "report_id": raw[0x140:0x160],
        },
        current_tcb=raw[0x38:0x40],
        reported_tcb=raw[0x180:0x188],
        committed_tcb=raw[0x1E0:0x1E8],
        launch_tcb=raw[0x1F0:0x1F8],
        chip_id=raw[0x1A0:0x1E0],
    )


def parse_vcek(certificate: Certificate) -> ChipIdentity:
    """The extensions of a chip's certificate. Raises ``snp.vcek`` or ``der.*``."""
    found = certificate.extensions
    if _PRODUCT not in found or _CHIP not in found:
        raise MalformedError("snp.vcek", "the certificate names no product or no chip")
    product = der.single(found[_PRODUCT], _IA5_STRING).content.decode("latin-1")
    tcb = {
        name: der.integer(der.single(found[identifier], der.INTEGER))
        for name, identifier in _TCB_IDENTIFIERS.items()
        if identifier in found
    }
    return ChipIdentity(product, found[_CHIP], tcb)


def parse_certificate_table(raw: bytes) -> dict[str, bytes]:
    """A host's certificate table to certificates (DER) by name; an empty table to none. Raises ``snp.table``.

    Entries of 16 bytes of name (in the order in which it is written), offset and length (little-endian) up to one of
    zeros. Each lies behind the entries and inside of the table, and no name occurs twice.
    """
    found: dict[str, bytes] = {}
    if len(raw) > MAX_TABLE_BYTES:
        raise MalformedError("snp.table", f"a certificate table has at most {MAX_TABLE_BYTES} bytes")
    spans: list[tuple[str, int, int]] = []
    for at in range(0, len(raw), _ENTRY_BYTES):
        entry = raw[at : at + _ENTRY_BYTES]
        if len(entry) != _ENTRY_BYTES:
            break
        if not any(entry):
            for name, start, size in spans:
                if start < at + _ENTRY_BYTES or start + size > len(raw) or size == 0:
                    raise MalformedError("snp.table", "a certificate lies outside of its table")
                if name in found:
                    raise MalformedError("snp.table", f"the certificate {name} occurs twice")
                found[name] = raw[start : start + size]
            return found
        spans.append((_name(entry[:16]), _little(entry[16:20]), _little(entry[20:24])))
    if raw:
        raise MalformedError("snp.table", "a certificate table ends with an entry of zeros")
    return found


def _name(raw: bytes) -> str:
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
