"""NVIDIA GPU attestation reports: an SPDM measurement exchange (``spec/attestation.md`` §4.4, DMTF DSP0274 1.1).

A report is the verifier's request, the GPU's response, and a signature over both. ``parse_nvidia`` reads it whole.

Not covered: the signature and the chain (``verifier.attestation.nvidia``); what measurements should be, which NVIDIA
publishes as signed files of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.errors import MalformedError

REQUEST_BYTES = 37
"""GET_MEASUREMENTS: four bytes, a nonce of 32, a slot (DSP0274 §10.11)."""
SIGNATURE_BYTES = 96
"""r and s of P-384."""
_REQUEST = bytes([0x11, 0xE0, 0x01, 0xFF])
"""SPDM 1.1, GET_MEASUREMENTS, signature asked for, all measurements."""
_RESPONSE = bytes([0x11, 0x60])
_DMTF = 1
_DRIVER, _VBIOS = 3, 6
"""Fields of the opaque data, as NVIDIA's verifier numbers them."""


@dataclass(frozen=True, slots=True)
class NVIDIAReport:
    """One parsed, unverified report."""

    signed: bytes
    signature: bytes
    nonce: bytes
    measurements: Mapping[int, bytes]
    driver_version: str | None
    vbios_version: str | None


def _measurements(raw: bytes, count: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    for _ in range(count):
        size = int.from_bytes(raw[at + 2 : at + 4], "little")
        block = raw[at + 4 : at + 4 + size]
        value = block[3:]
        if raw[at + 1 : at + 2] != bytes([_DMTF]) or len(block) != size or size < 3:
            raise MalformedError("nvidia.measurements", "a measurement block ends early or is not of DMTF's form")
        if int.from_bytes(block[1:3], "little") != len(value) or raw[at] in found:
            raise MalformedError(
                "nvidia.measurements", "a measurement has another size than it says, or a number twice"
            )
        found[raw[at]] = value
        at += 4 + size
    if at != len(raw):
        raise MalformedError("nvidia.measurements", "measurements are shorter than their record")
    return found


def _opaque(raw: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(raw):
        kind, size = int.from_bytes(raw[at : at + 2], "little"), int.from_bytes(raw[at + 2 : at + 4], "little")
        value = raw[at + 4 : at + 4 + size]
        if at + 4 + size > len(raw):
            raise MalformedError("nvidia.opaque", "a field of the opaque data ends early")
        found.setdefault(kind, value)
        at += 4 + size
    return found


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.rstrip(b"\x00").decode("ascii", "backslashreplace")


def parse_nvidia(raw: bytes) -> NVIDIAReport:
    """Bytes of a report to an :class:`NVIDIAReport`. Raises ``nvidia.*``; checks no signature."""
    body = raw[REQUEST_BYTES:-SIGNATURE_BYTES]
    if len(raw) <= REQUEST_BYTES + SIGNATURE_BYTES or not raw.startswith(_REQUEST) or not body.startswith(_RESPONSE):
        raise MalformedError("nvidia.spdm", "expected an SPDM 1.1 measurement request and its signed response")
    size = int.from_bytes(body[5:8], "little")
    rest = body[8 + size :]
    if len(rest) < 34 or int.from_bytes(rest[32:34], "little") != len(rest) - 34:
        raise MalformedError("nvidia.spdm", "the response is not as long as it says")
    opaque = _opaque(rest[34:])
    vbios = opaque.get(_VBIOS)
    return NVIDIAReport(
        signed=raw[:-SIGNATURE_BYTES],
        signature=raw[-SIGNATURE_BYTES:],
        nonce=raw[4:36],
        measurements=_measurements(body[8 : 8 + size], body[4]),
        driver_version=_text(opaque.get(_DRIVER)),
        vbios_version=None if vbios is None else vbios[::-1].hex(),
    )
