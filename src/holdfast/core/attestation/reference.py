"""Reference values: which measurements a trust document admits (``spec/attestation.md`` §7).

The ``value`` of a measurement names registers and what they must hold; some are asked for by every value of a format,
because without them the rest would admit any software. It may ask for least versions and list the TCB statuses that
are good enough. Empty means no: a value that names nothing is malformed.

Not covered: for whom and when a value counts; that stands beside it in the trust document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.attestation.dcap import SGX, STATUSES, TDX
from holdfast.core.encoding import hex_decode
from holdfast.errors import MalformedError

_TDX_NAMES = dict.fromkeys(("mr_td", "rt_mr0", "rt_mr1", "rt_mr2", "rt_mr3", "mr_seam", "mr_config_id"), 48)
_TDX_NAMES |= {"mr_owner": 48, "mr_owner_config": 48, "mr_service_td": 48, "td_attributes": 8, "xfam": 8}
_NAMES: Mapping[str, Mapping[str, int]] = {
    "nitro": {f"pcr{index}": 48 for index in range(32)},
    TDX: _TDX_NAMES,
    SGX: {"mr_enclave": 32, "mr_signer": 32, "attributes": 16},
    "snp": {
        "measurement": 48,
        "family_id": 16,
        "image_id": 16,
        "host_data": 32,
        "id_key_digest": 48,
        "author_key_digest": 48,
    },
    "nvidia": {f"measurement{index}": 48 for index in range(1, 256)},
}
"""What a value may name, and its size in bytes."""
_REQUIRED = {
    "nitro": ("pcr0",),
    TDX: ("mr_td", "rt_mr1", "rt_mr2"),
    SGX: ("mr_enclave",),
    "snp": ("measurement",),
    "nvidia": (),
}
"""What a value must name: image, kernel and application; MRTD alone is the virtual firmware's, whatever it starts."""
_LEAST = {"nitro": (), TDX: (), SGX: ("isv_svn",), "nvidia": ()} | {
    "snp": ("boot_loader", "tee", "snp", "microcode", "fmc", "guest_svn")
}
_TEES = {"aws-nitro": "nitro", "amd-sev-snp": "snp", "nvidia": "nvidia"}


@dataclass(frozen=True, slots=True)
class ReferenceValue:
    """One admitted set of measurements."""

    tee: str
    measurements: Mapping[str, bytes]
    least: Mapping[str, int] = field(default_factory=dict)
    """Security versions by part that must at least be reached."""
    tcb: tuple[str, ...] = ("UpToDate",)
    """TCB statuses that are good enough; of DCAP only."""


def parse_reference_value(form: str, value: Mapping[str, Any]) -> ReferenceValue:
    """The ``value`` of a measurement of a format. Raises ``attestation.reference`` or ``encoding.hex``."""
    rest: dict[str, Any] = dict(value)
    if form == "insecure-dev":
        return ReferenceValue("software", {})
    tee: Any = rest.pop("tee", None) if form == "intel-dcap" else _TEES[form]
    if form == "intel-dcap" and tee not in (SGX, TDX):
        raise MalformedError("attestation.reference", "a measurement of intel-dcap says whether tee is sgx or tdx")
    least: Any = rest.pop("least", {})
    tcb: Any = rest.pop("tcb", ["UpToDate"]) if form == "intel-dcap" else ["UpToDate"]
    if not isinstance(tcb, list) or not tcb or any(item not in STATUSES or item == "Revoked" for item in tcb):
        raise MalformedError("attestation.reference", "tcb lists statuses of Intel's, and Revoked is never one")
    if not isinstance(least, dict) or any(
        name not in _LEAST[tee] or not isinstance(number, int) or isinstance(number, bool) or number < 0
        for name, number in least.items()
    ):
        raise MalformedError("attestation.reference", f"least versions are numbers of: {', '.join(_LEAST[tee])}")
    if not rest or not rest.keys() <= _NAMES[tee].keys() or not rest.keys() >= set(_REQUIRED[tee]):
        raise MalformedError(
            "attestation.reference", f"a {tee} measurement names at least {', '.join(_REQUIRED[tee]) or 'one register'}"
        )
    registers = {name: hex_decode(text, _NAMES[tee][name]) for name, text in rest.items()}
    return ReferenceValue(tee, registers, least, tuple(tcb))
