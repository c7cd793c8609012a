"""image: enclave images and what they measure (attestation.md §12). One change in each case."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from typing import Any

from reference.cases import Writer
from reference.hardware import FAR, LONG_AGO, Pairs, cbor
from reference.text import named
from reference.x509 import EC, certificate, leaf_extensions, pem

KERNEL, CMDLINE = named("eif/kernel", 64) * 8, b"reboot=k panic=30 pci=off nomodules console=ttyS0"
INIT, APPLICATION, MORE = named("eif/init", 48) * 5, named("eif/application", 48) * 9, named("eif/more", 33)
METADATA = json.dumps({"ImageName": "holdfast-gateway", "ImageVersion": "1"}).encode()
NUMBERS = {"kernel": 1, "cmdline": 2, "ramdisk": 3, "signature": 4, "metadata": 5}
USUAL = [
    ("kernel", KERNEL),
    ("cmdline", CMDLINE),
    ("metadata", METADATA),
    ("ramdisk", INIT),
    ("ramdisk", APPLICATION),
]
"""In the order of AWS's tools."""
SIGNER = EC("eif/signer")
CERTIFICATE = certificate("image", SIGNER, "image", SIGNER, leaf_extensions(), start=LONG_AGO, end=FAR)


def image(
    parts: list[tuple[str, bytes]],
    *,
    version: int = 4,
    flags: int = 0,
    magic: bytes = b".eif",
    reserved: int = 0,
    unused: int = 0,
    count: int | None = None,
    places: Callable[[list[int], list[int]], None] | None = None,
    section: Callable[[list[bytearray]], None] | None = None,
    tail: bytes = b"",
    crc: int | None = None,
) -> bytes:
    """An image; every argument makes something wrong on purpose."""
    sections, offsets, sizes, at = [], [0] * 32, [0] * 32, 548
    for place, (kind, data) in enumerate(parts):
        raw = bytearray(NUMBERS[kind].to_bytes(2, "big") + bytes(2) + len(data).to_bytes(8, "big") + data)
        offsets[place], sizes[place] = at, len(data)
        at += len(raw)
        sections.append(raw)
    if places is not None:
        places(offsets, sizes)
    if section is not None:
        section(sections)
    header = magic + version.to_bytes(2, "big") + flags.to_bytes(2, "big")
    header += (1 << 30).to_bytes(8, "big") + (2).to_bytes(8, "big")
    header += reserved.to_bytes(2, "big") + (len(parts) if count is None else count).to_bytes(2, "big")
    header += b"".join(number.to_bytes(8, "big") for number in offsets + sizes) + unused.to_bytes(4, "big")
    body = b"".join(sections) + tail
    return header + (zlib.crc32(header + body) if crc is None else crc).to_bytes(4, "big") + body


def extended(*pieces: bytes) -> str:
    """attestation.md §12.3."""
    return hashlib.sha384(bytes(48) + hashlib.sha384(b"".join(pieces)).digest()).hexdigest()


def signature(certificate: Any, *, more: dict[str, Any] | None = None, times: int = 1) -> bytes:
    """A signature section, its byte strings as given."""
    one = {"signing_certificate": certificate, "signature": list(named("eif/signature", 96)), **(more or {})}
    return cbor([Pairs(one.items())] * times)


def write(out: Writer) -> None:
    """Images that measure, and what is no image."""

    def case(name: str, why: str, raw: bytes, code: str | None = None, **result: Any) -> None:
        out.case(
            f"image/{name}",
            why,
            spec="attestation.md §12",
            run=["measure-image", "image.eif"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_EVIDENCE" if code else None,
            result=result or None,
            files={"image.eif": raw},
        )

    registers = {
        "pcr0": extended(KERNEL, CMDLINE, INIT, APPLICATION),
        "pcr1": extended(KERNEL, CMDLINE, INIT),
        "pcr2": extended(APPLICATION),
    }
    case(
        "usual",
        "Kernel, command line, metadata, the first ramdisk and the application's.",
        image(USUAL),
        version=4,
        architecture="x86_64",
        memory=1 << 30,
        cpus=2,
        sections=[[kind, len(data)] for kind, data in USUAL],
        registers=registers,
    )
    other = [*USUAL[:2], ("metadata", b"{}"), *USUAL[3:]]
    case("other-metadata", "Metadata is not measured.", image(other), registers=registers)
    case("aarch64", "Another architecture.", image(USUAL, flags=1), architecture="aarch64", registers=registers)
    older = [part for part in USUAL if part[0] != "metadata"]
    case("version-3", "An image from before metadata.", image(older, version=3), version=3, registers=registers)
    alone = {**registers, "pcr0": extended(KERNEL, CMDLINE, INIT), "pcr2": extended()}
    case("one-ramdisk", "Without an application its register is that of nothing.", image(USUAL[:4]), registers=alone)
    three = {
        **registers,
        "pcr0": extended(KERNEL, CMDLINE, INIT, APPLICATION, MORE),
        "pcr2": extended(APPLICATION, MORE),
    }
    case(
        "three-ramdisks",
        "All but the first are the application's.",
        image([*USUAL, ("ramdisk", MORE)]),
        registers=three,
    )
    shown = pem(CERTIFICATE)
    signed = {**registers, "pcr8": extended(CERTIFICATE)}
    for name, spelled in (("signed", list(shown)), ("signed-as-bytes", shown)):
        case(
            name,
            "A signed image: register 8 is the certificate's, in DER.",
            image([*USUAL, ("signature", signature(spelled))]),
            registers=signed,
        )

    def flip(raw: bytes, at: int) -> bytes:
        return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]

    good = image(USUAL)
    case("cut-in-the-header", "The bytes end inside the header.", good[:547], "eif.size")
    case("cut", "The last byte is missing.", good[:-1], "eif.sections")
    case("empty", "Nothing.", b"", "eif.size")
    case("other-magic", "Another file.", image(USUAL, magic=b".elf"), "eif.version")
    case("version-5", "A version whose layout is not known.", image(USUAL, version=5), "eif.version")
    case("kernel-changed", "One bit of the kernel.", flip(good, 600), "eif.crc")
    case("other-crc", "Another checksum.", image(USUAL, crc=1), "eif.crc")
    case("more-flags", "A flag that means nothing here.", image(USUAL, flags=2), "eif.header")
    case("reserved", "What is reserved is zero.", image(USUAL, reserved=1), "eif.header")
    case("unused", "What is unused is zero.", image(USUAL, unused=1), "eif.header")
    case("two-sections", "No ramdisk.", image(USUAL[:2]), "eif.sections")
    case("no-ramdisk", "Metadata in its place.", image(USUAL[:3]), "eif.sections")
    case("too-many", "More sections than there are places.", image(USUAL, count=33), "eif.sections")
    case("one-more-told", "A section that is not there.", image(USUAL, count=6), "eif.sections")
    case("one-less-told", "A section that nobody told of would not be measured.", image(USUAL, count=4), "eif.sections")
    case(
        "tail",
        "Bytes behind the last section, which AWS's checksum leaves out.",
        image(USUAL, tail=b"x" * 5),
        "eif.sections",
    )
    case(
        "kernel-second",
        "Another order measures to something else.",
        image([USUAL[1], USUAL[0], *USUAL[2:]]),
        "eif.sections",
    )
    case("two-kernels", "A second kernel.", image([*USUAL, USUAL[0]]), "eif.sections")
    case("two-metadata", "Metadata twice.", image([*USUAL[:3], *USUAL[2:]]), "eif.sections")
    case("metadata-of-version-3", "Version 3 has none.", image(USUAL, version=3), "eif.sections")
    bad = ("signature", signature(list(shown)))
    case("signature-first", "A signature before what it signs.", image([*USUAL[:3], bad, *USUAL[3:]]), "eif.sections")
    case("two-signatures", "Two signature sections.", image([*USUAL, bad, bad]), "eif.sections")

    def shift(offsets: list[int], _sizes: list[int]) -> None:
        offsets[3] += 1

    def shrink(_offsets: list[int], sizes: list[int]) -> None:
        sizes[3] -= 1

    def beyond(offsets: list[int], _sizes: list[int]) -> None:
        offsets[9] = 548

    def huge(_offsets: list[int], sizes: list[int]) -> None:
        sizes[4] = 2**64 - 1

    case(
        "other-offset",
        "A section that begins elsewhere than the header says.",
        image(USUAL, places=shift),
        "eif.sections",
    )
    case("other-size", "Header and section disagree about a size.", image(USUAL, places=shrink), "eif.sections")
    case("place-of-nothing", "A place for a section that is not counted.", image(USUAL, places=beyond), "eif.sections")
    case("huge-size", "A section larger than the file.", image(USUAL, places=huge), "eif.sections")

    def unknown(sections: list[bytearray]) -> None:
        sections[4][1] = 6

    def flagged(sections: list[bytearray]) -> None:
        sections[4][3] = 1

    case("unknown-section", "A type that means nothing.", image(USUAL, section=unknown), "eif.sections")
    case("section-flags", "A section with flags.", image(USUAL, section=flagged), "eif.sections")
    twice = ("signature", signature(list(shown), times=2))
    case("signed-twice", "Which of two certificates would register 8 hold?", image([*USUAL, twice]), "eif.signature")
    extra = ("signature", signature(list(shown), more={"x": 1}))
    case("signature-with-more", "A member that means nothing.", image([*USUAL, extra]), "eif.signature")
    number = ("signature", signature([300]))
    case("signature-of-numbers", "A list of numbers that are no bytes.", image([*USUAL, number]), "eif.signature")
    text = ("signature", signature("text"))
    case("signature-of-text", "A certificate as text.", image([*USUAL, text]), "eif.signature")
    case("signature-of-noise", "No CBOR.", image([*USUAL, ("signature", b"\xff")]), "cbor.type")
    none = ("signature", signature(list(b"no certificate")))
    case("signature-without-certificate", "No PEM.", image([*USUAL, none]), "certificate.pem")
    large = ("signature", bytes(32 * 1024 + 1))
    case("signature-too-large", "More than is read.", image([*USUAL, large]), "eif.signature")
