"""The enclave that a node's settings name: a real one of the machine it runs in, one that is simulated, or none."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.adapters.enclave_insecure import InsecureEnclave, InsecureModule, load_or_create_insecure_root
from holdfast.adapters.enclave_nitro import NitroEnclave, NSMDevice
from holdfast.adapters.enclave_snp import SNPEnclave
from holdfast.adapters.enclave_tdx import TDXEnclave
from holdfast.errors import UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.enclave import Enclave

ENCLAVE_ROOT = "insecure-enclave-root.pem"
"""In the state folder: the root of a simulated enclave that nobody named another for."""


def open_enclave(kind: str, clock: Clock, state: Path, *, root: Path | None, collateral: Path | None) -> Enclave | None:
    """What the setting ``enclave`` of a node names. Raises ``enclave.setting`` for settings that say two things."""
    if collateral is not None and kind not in ("tdx", "snp"):
        raise UsageError("enclave.setting", "collateral stands beside reports of tdx and snp", param="enclave")
    if root is not None and kind != "insecure":
        raise UsageError("enclave.setting", "only a simulated enclave has a root of its own", param="enclave")
    match kind:
        case "insecure":
            found = load_or_create_insecure_root(root or state / ENCLAVE_ROOT, clock.now())
            return InsecureEnclave(InsecureModule(found, clock, os.urandom))
        case "nitro":
            return NitroEnclave(NSMDevice())
        case "tdx":
            return TDXEnclave(collateral)
        case "snp":
            return SNPEnclave(_read(collateral))
        case _:
            return None


def _read(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise UsageError("enclave.setting", f"cannot read {path}: {error.strerror}") from error
