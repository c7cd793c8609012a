"""walrus: blob ids and quilts (walrus.md)."""

from __future__ import annotations

import base64
from typing import Any

from reference import walrus
from reference.cases import Writer
from reference.text import b64, named, sha

PATCHES = [
    ("second", {}, named("walrus/second", 70)),
    ("first", {"kind": "card", "a": "b"}, b"a small blob"),
    ("third", {}, b""),
]


def write(out: Writer) -> None:
    """Write the suite."""
    ids(out)
    mismatches(out)
    texts(out)
    quilts(out)
    patch_ids(out)
    sealed(out)


def ids(out: Writer) -> None:
    """Ids of blobs."""

    def case(name: str, why: str, shards: int, data: bytes) -> None:
        out.case(
            f"walrus/id-{name}",
            why,
            spec="walrus.md §4",
            run=["walrus-blob-id", "--shards", str(shards), "blob.bin"],
            result={"id": walrus.text(walrus.blob_id(data, shards))},
            files={"blob.bin": data},
        )

    case("empty", "No bytes are stored as zeros of one symbol each; the length tells them from zeros.", 10, b"")
    case("zeros", "As many zeros as the matrix of the empty blob has: other length, other id.", 10, bytes(56))
    case("one-byte", "The symbol has two bytes at least.", 10, b"x")
    case("full-matrix", "Exactly as many bytes as fit with two each.", 10, named("walrus/full", 56))
    case("one-more", "One byte more, and every symbol grows by two.", 10, named("walrus/more", 57))
    case("smallest-network", "Four shards: rows have one recovery symbol, columns two.", 4, named("walrus/4", 100))
    case("five-shards", "f is still one: three source rows and four columns.", 5, named("walrus/5", 100))
    case("odd-levels", "Seven leaves: two levels get a node of zeros.", 7, named("walrus/7", 33))
    case("many-originals", "More originals than recovery symbols, in two groups.", 13, named("walrus/13", 200))
    case("long-symbol", "Symbols of 66 bytes: one whole block and a short one.", 4, named("walrus/66", 6 * 66))
    case("hundred-shards", "Transforms of 64 points, two groups.", 100, named("walrus/100", 4000))


def mismatches(out: Writer) -> None:
    """Bytes that are not what was asked for."""
    data = named("walrus/verified", 300)
    good = walrus.text(walrus.blob_id(data, 10))

    def case(
        name: str, why: str, raw: bytes, shards: int = 10, code: str | None = None, identifier: str = good
    ) -> None:
        out.case(
            f"walrus/verify-{name}",
            why,
            spec="walrus.md §1(4)",
            run=["verify-walrus-blob", "--shards", str(shards), "--id", identifier, "blob.bin"],
            expect="reject" if code else "accept",
            code=code,
            bug="SUBSTITUTION" if code else None,
            files={"blob.bin": raw},
        )

    bad = "walrus.mismatch"
    case("blob", "The bytes that the id is of.", data)
    case(
        "one-bit",
        "An aggregator changed one bit: a model with one other weight would run under the old name.",
        data[:-1] + bytes([data[-1] ^ 1]),
        code=bad,
    )
    case("cut", "An aggregator left the last byte out.", data[:-1], code=bad)
    case(
        "padded",
        "A zero at the end is in the same symbol, which zeros filled before; only the length tells.",
        data + b"\x00",
        code=bad,
    )
    case("other-shards", "An id of another network is no id here, even of the same bytes.", data, 13, bad)


def texts(out: Writer) -> None:
    """Spellings of an id."""
    good = walrus.text(named("walrus/text"))

    def case(name: str, why: str, spelled: str, code: str | None = None) -> None:
        out.case(
            f"walrus/text-{name}",
            why,
            spec="walrus.md §1(5)",
            run=["decode", "walrus-id", "id.txt"],
            expect="malformed" if code else "accept",
            code=code,
            bug="SECOND_SPELLING" if code else None,
            files={"id.txt": spelled},
        )

    bad = "walrus.id"
    case("id", "An id.", good)
    case("padding", "Padding is a second spelling.", good + "=", bad)
    case(
        "standard-alphabet",
        "+ and / are a second spelling of - and _.",
        base64.b64encode(b"\xff" * 32).decode().rstrip("="),
        bad,
    )
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    case(
        "unused-bits",
        "The last character has two bits that belong to no byte.",
        good[:-1] + last[last.index(good[-1]) + 1],
        bad,
    )
    case("short", "A character is missing.", good[:-1], bad)


def quilts(out: Writer) -> None:
    """Quilts and their patches."""
    raw, placed = walrus.quilt(PATCHES, 10)
    data = {name: (tags, content) for name, tags, content in PATCHES}

    def case(
        name: str,
        why: str,
        given: bytes,
        code: str | None = None,
        result: dict[str, Any] | None = None,
        shards: int = 10,
    ) -> None:
        out.case(
            f"walrus/quilt-{name}",
            why,
            spec="walrus.md §5",
            run=["read-quilt", "--shards", str(shards), "quilt.bin"],
            expect="malformed" if code else "accept",
            code=code,
            bug="WRONG_PART" if code else None,
            result=result,
            files={"quilt.bin": given},
        )

    def seen(patches: list[tuple[str, int, int]], contents: dict[str, tuple[dict[str, str], bytes]]) -> dict[str, Any]:
        return {
            "patches": [
                {
                    "identifier": name,
                    "start": start,
                    "end": end,
                    "tags": contents[name][0],
                    "data": b64(contents[name][1]),
                }
                for name, start, end in patches
            ]
        }

    bad = "walrus.quilt"
    case("three-patches", "Three patches, one with tags, one without content.", raw, result=seen(placed, data))
    big = [("one", {}, named("walrus/one", 900)), ("two", {}, named("walrus/two", 300))]
    large, places = walrus.quilt(big, 13)
    case(
        "many-columns",
        "A patch over several columns.",
        large,
        result=seen(places, {n: (t, c) for n, t, c in big}),
        shards=13,
    )
    z = len(raw) // 28

    def change(column: int, at: int, new: bytes) -> bytes:
        changed = bytearray(raw)
        for offset, byte in enumerate(new):
            row, inside = divmod(at + offset, z)
            changed[(row * 7 + column) * z + inside] = byte
        return bytes(changed)

    first, second = placed[0], placed[1]
    case("one-byte-less", "A quilt is a whole matrix.", raw[:-1], bad)
    case("version", "Another version of the index may mean anything.", change(0, 0, b"\x02"), bad)
    case("index-length", "An index that is longer than its ten columns.", change(0, 1, b"\xff\xff"), bad)
    case(
        "backwards",
        "A patch that ends before it begins would hand out somebody else's columns.",
        change(0, 6, bytes(2)),
        bad,
    )
    case("outside", "A patch that ends outside the matrix.", change(0, 6, b"\x09\x00"), bad)
    case(
        "renamed",
        "The patch says another name than the index: one blob would pass for another.",
        change(first[1], 9, b"F"),
        bad,
    )
    case(
        "patch-length",
        "The length of a patch reaches into the next: its content would grow by another's.",
        change(second[1], 1, b"\xff\x0f"),
        bad,
    )
    case("mask", "An unknown bit of the mask.", change(second[1], 5, b"\x02"), bad)
    case(
        "order",
        "Patches out of order: a reader that searches by name would miss one.",
        walrus.quilt(PATCHES, 10, backwards=True)[0],
        bad,
    )


def patch_ids(out: Writer) -> None:
    """Ids of patches."""
    blob = named("walrus/quilt")

    def case(name: str, why: str, raw: bytes, code: str | None = None) -> None:
        out.case(
            f"walrus/patch-id-{name}",
            why,
            spec="walrus.md §5(6)",
            run=["decode", "walrus-patch-id", "id.txt"],
            expect="malformed" if code else "accept",
            code=code,
            bug="WRONG_PART" if code else None,
            files={"id.txt": walrus.text(raw)},
        )

    bad = "walrus.patch_id"
    case("first", "Columns 1 and 2 of a quilt.", blob + b"\x01\x01\x00\x03\x00")
    case("version", "Another version.", blob + b"\x02\x01\x00\x03\x00", bad)
    case("nothing", "No column.", blob + b"\x01\x03\x00\x03\x00", bad)
    case("blob", "The id of the whole quilt is no id of a patch.", blob, bad)


def sealed(out: Writer) -> None:
    """Sealed blobs."""
    secret, data = named("walrus/secret"), b"weights that are nobody else's"
    good = walrus.seal(secret, data)

    def case(
        name: str,
        why: str,
        raw: bytes,
        code: str | None = None,
        digest: bytes = sha(data),
        key: bytes = secret,
        kind: str = "reject",
    ) -> None:
        out.case(
            f"walrus/sealed-{name}",
            why,
            spec="walrus.md §6",
            run=["open-blob", "--secret", key.hex(), "--digest", digest.hex(), "sealed.bin"],
            expect=kind if code else "accept",
            code=code,
            bug="SUBSTITUTION" if code else None,
            result=None if code else {"data": b64(data)},
            files={"sealed.bin": raw},
        )

    bad = "blob.sealed"
    case("blob", "A sealed blob.", good)
    case("one-bit", "One bit of the sealed content changed.", good[:-20] + bytes([good[-20] ^ 1]) + good[-19:], bad)
    case(
        "other-content",
        "Another content under the same secret: whoever serves blobs would choose what a digest means.",
        walrus.seal(secret, b"other"),
        bad,
    )
    case("other-secret", "The secret of another store opens nothing.", good, bad, key=named("walrus/other"))
    case("version", "Another version of the form.", b"\x02" + good[1:], "blob.version", kind="malformed")
    case("open", "Content that is not sealed does not pass for sealed content.", data, "blob.version", kind="malformed")
