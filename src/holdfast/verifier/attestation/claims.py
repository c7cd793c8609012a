"""What a verified attestation says (``spec/attestation.md`` §8): one type for all formats, made by ``verify`` alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.core.attestation.binding import Bound
from holdfast.core.attestation.roots import describe_root, is_hardware_root, vendor_name
from holdfast.core.canonical import JSON
from holdfast.core.encoding import sha256_hex, time_encode


@dataclass(frozen=True, slots=True)
class VerifiedAttestation:
    """Claims whose signature and chain hold. Whether they are the right ones, ``appraise`` says."""

    form: str
    """The format, which is also the kind of its roots and measurements."""
    tee: str
    """``nitro``, ``tdx``, ``sgx``, ``snp``, ``nvidia`` or ``software``."""
    root: bytes
    """The certificate (or, of ``insecure-dev``, the key) that the chain ended at."""
    measurements: Mapping[str, bytes]
    debug: bool | None
    """Whether the host can look inside; None where the evidence cannot tell."""
    bound: Bound
    valid_from: dt.datetime
    valid_until: dt.datetime
    """The span for which every certificate, list and document of the vendor that was used is valid."""
    report_data: bytes | None = None
    """What the enclave had signed for itself: 64 bytes of a report, the user data of a Nitro document."""
    nonce: bytes | None = None
    """What a verifier had put in: as it came, or its SHA-256 where ``nonce_is_digest``."""
    nonce_is_digest: bool = False
    made_at: dt.datetime | None = None
    """When it was made, by the hardware's own clock; None where the evidence carries no time."""
    tcb_status: str | None = None
    advisories: tuple[str, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    """Security versions by part, where reference values may ask for a least one."""
    details: Mapping[str, str] = field(default_factory=dict)
    """What else a person may want to see."""
    unchecked: tuple[str, ...] = ()
    """What cannot be checked offline, in sentences."""

    @property
    def root_digest(self) -> str:
        """SHA-256 of the root, hex."""
        return sha256_hex(self.root)

    @property
    def root_name(self) -> str:
        """The vendor's name, or that it is no vendor's that is known here."""
        if self.form == "insecure-dev":
            return "a throw-away development root"
        return describe_root(self.root)

    @property
    def is_vendor_root(self) -> bool:
        """Whether the chain ended at a root that a vendor published (``attestation.md`` §10)."""
        return vendor_name(self.root) is not None

    @property
    def development(self) -> bool:
        """Whether it is no hardware's word whatever anybody configures (``attestation.md`` §10.1)."""
        return not is_hardware_root(self.form, self.root)

    def to_json(self) -> dict[str, JSON]:
        """The claims as ``holdfast attestation verify --json`` shows them."""
        return {
            "format": self.form,
            "tee": self.tee,
            "root": {"sha256": self.root_digest, "name": self.root_name, "vendor": self.is_vendor_root},
            "measurements": {name: value.hex() for name, value in self.measurements.items()},
            "debug": self.debug,
            "development": self.development,
            "bound": {**self.bound.to_json()},
            "report_data": None if self.report_data is None else self.report_data.hex(),
            "nonce": None if self.nonce is None else self.nonce.hex(),
            "nonce_is_digest": self.nonce_is_digest,
            "made_at": None if self.made_at is None else time_encode(self.made_at),
            "tcb": {
                "status": self.tcb_status,
                "advisories": list(self.advisories),
                "versions": dict(self.versions),
            },
            "valid_from": time_encode(self.valid_from),
            "valid_until": time_encode(self.valid_until),
            "details": dict(self.details),
            "unchecked": list(self.unchecked),
        }
