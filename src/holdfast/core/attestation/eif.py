"""Enclave image files (EIF) of AWS Nitro: strict reading, measuring, and building (``spec/attestation.md`` §12).

An image is a header, then sections one after the other: kernel, command line, perhaps metadata, ramdisks, perhaps a
signature. Registers are SHA-384 over sections, extended once from zeros: 0 over kernel, command line and every ramdisk,
1 over kernel, command line and the first ramdisk, 2 over the other ramdisks, 8 over the certificate that signed.

Not covered: whether a signature verifies (the hypervisor refuses an image otherwise), and registers 3 and 4, which
depend on the machine that runs it.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from holdfast.core.attestation import cbor
from holdfast.core.attestation.certificates import parse_pem
from holdfast.core.attestation.nitro import PCR_BYTES
from holdfast.errors import MalformedError, UsageError

Bytes: TypeAlias = bytes | memoryview
MAGIC = b".eif"
VERSIONS = (3, 4)
"""Image versions with this layout; 4 brought metadata."""
MAX_SECTIONS = 32
_HEADER = struct.Struct(">4sHHQQHH32Q32QI")
HEADER_BYTES = _HEADER.size + 4
"""548: the fields, then the CRC-32 of everything else."""
_SECTION = struct.Struct(">HHQ")
KINDS = {1: "kernel", 2: "cmdline", 3: "ramdisk", 4: "signature", 5: "metadata"}
"""Section types by number."""
_NUMBERS = {name: number for number, name in KINDS.items()}
ARCHITECTURES = ("x86_64", "aarch64")
"""By the first bit of the header's flags."""
_MAX_SIGNATURE_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its kind and bytes."""

    kind: str
    data: Bytes


@dataclass(frozen=True, slots=True)
class EnclaveImage:
    """A parsed image; its sections are in an order that boots."""

    version: int
    architecture: str
    memory_bytes: int
    """Memory by default, where whoever runs it names none."""
    cpus: int
    sections: tuple[Section, ...]
    crc32: int

    def data(self, kind: str) -> list[Bytes]:
        """The bytes of every section of a kind."""
        return [section.data for section in self.sections if section.kind == kind]


def parse_image(raw: Bytes) -> EnclaveImage:
    """Bytes of an image to an :class:`EnclaveImage`. Raises ``eif.*``; copies nothing."""
    view = memoryview(raw)
    if len(view) < HEADER_BYTES:
        raise MalformedError("eif.size", f"an image has at least {HEADER_BYTES} bytes")
    fields = _HEADER.unpack_from(view)
    magic, version, flags, memory, cpus, reserved, count = fields[:7]
    offsets, sizes, unused = fields[7:39], fields[39:71], fields[71]
    if magic != MAGIC or version not in VERSIONS:
        raise MalformedError("eif.version", "this is no enclave image of version 3 or 4")
    if flags > 1 or reserved or unused:
        raise MalformedError("eif.header", "only the bit of the architecture is used, and what is reserved is zero")
    if not 3 <= count <= MAX_SECTIONS or any(offsets[count:]) or any(sizes[count:]):
        raise MalformedError("eif.sections", f"an image has 3 to {MAX_SECTIONS} sections, and places for no more")
    sections, at = [], HEADER_BYTES
    for offset, size in zip(offsets[:count], sizes[:count], strict=True):
        section, at = _read_section(view, at, offset, size)
        sections.append(section)
    if at != len(view):
        raise MalformedError("eif.sections", f"{len(view) - at} bytes follow the last section")
    found = int.from_bytes(view[HEADER_BYTES - 4 : HEADER_BYTES], "big")
    if _crc32(view[: HEADER_BYTES - 4], view[HEADER_BYTES:]) != found:
        raise MalformedError("eif.crc", "the image is damaged: its CRC is of other bytes")
    _require_order([section.kind for section in sections], version)
    return EnclaveImage(version, ARCHITECTURES[flags], memory, cpus, tuple(sections), found)


def _read_section(view: memoryview, at: int, offset: int, size: int) -> tuple[Section, int]:
    start = at + _SECTION.size
    if offset != at or start + size > len(view):
        raise MalformedError("eif.sections", "sections stand one after the other, where the header says")
    number, flags, told = _SECTION.unpack_from(view, at)
    if number not in KINDS or flags or told != size:
        raise MalformedError("eif.sections", "a section has a known type, no flags, and the header's size")
    return Section(KINDS[number], view[start : start + size]), start + size


def _require_order(kinds: Sequence[str], version: int) -> None:
    """What is measured comes in the order in which it is measured; a signature stands at the end."""
    rest = [kind for kind in kinds[2:] if kind != "metadata"]
    body = rest[:-1] if rest[-1:] == ["signature"] else rest
    once = kinds.count("metadata") <= (1 if version > VERSIONS[0] else 0)
    if list(kinds[:2]) != ["kernel", "cmdline"] or not body or set(body) != {"ramdisk"} or not once:
        raise MalformedError("eif.sections", "an image is kernel, command line, ramdisks and perhaps a signature")
    if "signature" in kinds and kinds[-1] != "signature":
        raise MalformedError("eif.sections", "a signature stands at the end")


def measure_image(image: EnclaveImage) -> dict[str, bytes]:
    """Registers of an image as its enclave will show them: ``pcr0``, ``pcr1``, ``pcr2``, and ``pcr8`` when signed.

    Raises ``eif.signature`` for a signature section that names no certificate.
    """
    start, ramdisks = image.data("kernel") + image.data("cmdline"), image.data("ramdisk")
    found = {
        "pcr0": extend(start + ramdisks),
        "pcr1": extend(start + ramdisks[:1]),
        "pcr2": extend(ramdisks[1:]),
    }
    for signature in image.data("signature"):
        found["pcr8"] = extend([_signing_certificate(bytes(signature))])
    return found


def extend(pieces: Iterable[Bytes]) -> bytes:
    """A register of zeros extended by the SHA-384 of some bytes."""
    inner = hashlib.sha384()
    for piece in pieces:
        inner.update(piece)
    return hashlib.sha384(bytes(PCR_BYTES) + inner.digest()).digest()


def _signing_certificate(raw: bytes) -> bytes:
    """DER of the certificate in a signature section: a CBOR list of one signature with its certificate in PEM.

    Byte strings are lists of numbers there: that is how the tools of AWS write them.
    """
    if len(raw) > _MAX_SIGNATURE_BYTES:
        raise MalformedError("eif.signature", f"a signature has at most {_MAX_SIGNATURE_BYTES} bytes")
    value = cbor.decode(raw)
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
        raise MalformedError("eif.signature", "an image has one signature")
    if value[0].keys() != {"signing_certificate", "signature"}:
        raise MalformedError("eif.signature", "a signature has a certificate and a signature")
    return parse_pem(_as_bytes(value[0]["signing_certificate"]))[0]


def _as_bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, list) and all(isinstance(item, int) and 0 <= item < 256 for item in value):
        return bytes(value)
    raise MalformedError("eif.signature", "a certificate is bytes, or a list of them")


def build_image(
    kernel: bytes,
    cmdline: bytes,
    ramdisks: Sequence[bytes],
    metadata: bytes,
    *,
    architecture: str = "x86_64",
    memory_bytes: int = 1 << 30,
    cpus: int = 2,
) -> bytes:
    """An unsigned image of version 4. The same arguments give the same bytes; the result parses."""
    if architecture not in ARCHITECTURES or not 1 <= len(ramdisks) <= MAX_SECTIONS - 3:
        raise UsageError(
            "eif.build", f"an image has 1 to {MAX_SECTIONS - 3} ramdisks, for {' or '.join(ARCHITECTURES)}"
        )
    parts = [("kernel", kernel), ("cmdline", cmdline), ("metadata", metadata)]
    parts += [("ramdisk", data) for data in ramdisks]
    offsets, at = [], HEADER_BYTES
    for _, data in parts:
        offsets.append(at)
        at += _SECTION.size + len(data)
    empty = [0] * (MAX_SECTIONS - len(parts))
    sizes = [len(data) for _, data in parts]
    flags = ARCHITECTURES.index(architecture)
    header = _HEADER.pack(
        MAGIC, VERSIONS[-1], flags, memory_bytes, cpus, 0, len(parts), *offsets, *empty, *sizes, *empty, 0
    )
    body = b"".join(_SECTION.pack(_NUMBERS[kind], 0, len(data)) + data for kind, data in parts)
    return header + _crc32(header, body).to_bytes(4, "big") + body


def _crc32(header: Bytes, body: Bytes) -> int:
    return zlib.crc32(body, zlib.crc32(header))
