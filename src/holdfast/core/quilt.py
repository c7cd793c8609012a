"""Quilts: many small blobs in one Walrus blob, each readable by itself (``spec/walrus.md`` §5; Walrus' ``QuiltV1``).

A quilt fills the matrix of source symbols column by column. The first columns hold the index; each *patch* begins in
a column of its own, so that whoever has those columns has the patch.

Rules: pure. Building sorts patches by the bytes of their identifiers and takes the smallest symbol that fits, so the
same patches are the same quilt. Parsing takes any quilt whose parts agree with its index, and no other.

Not covered: privacy of one patch from readers of another; a private blob is encrypted before it becomes a patch.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.core.walrus import MAX_SYMBOL_BYTES, Encoding, encoding_of
from holdfast.errors import MalformedError, UsageError

VERSION = 1
"""First byte of an index, of a patch and of the tail of a patch id (``QuiltVersionV1``)."""
MAX_INDEX_COLUMNS = 10
"""Columns that an index may take (``MAX_NUM_SLIVERS_FOR_QUILT_INDEX``)."""
_INDEX_HEADER = 5
"""Version and a 32-bit length before an index."""
_PATCH_HEADER = 6
"""Version, a 32-bit length of what follows, and a mask before each patch."""
_HAS_TAGS = 1
"""Bit of the mask: tags follow the identifier."""
_MAX_TEXT_BYTES = 65_535
"""An identifier, and all tags of a patch together, have 16-bit lengths."""
_PATCH_ID = re.compile(r"[A-Za-z0-9_-]{50}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Patch:
    """One blob of a quilt."""

    identifier: str
    data: bytes
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlacedPatch:
    """A patch and the columns it stands in, ``start`` up to, not including, ``end``."""

    patch: Patch
    start: int
    end: int


def encode_patch_id(blob_id: bytes, start: int, end: int) -> str:
    """The id of a patch as text: blob id, version, columns."""
    raw = blob_id + bytes([VERSION]) + start.to_bytes(2, "little") + end.to_bytes(2, "little")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def parse_patch_id(text: object) -> tuple[bytes, int, int]:
    """Blob id, first column, and the column behind the last. Raises ``walrus.patch_id``."""
    if isinstance(text, str) and _PATCH_ID.match(text):
        raw = base64.urlsafe_b64decode(text + "==")
        start, end = int.from_bytes(raw[33:35], "little"), int.from_bytes(raw[35:], "little")
        if raw[32] == VERSION and start < end and encode_patch_id(raw[:32], start, end) == text:
            return raw[:32], start, end
    raise MalformedError("walrus.patch_id", "a patch id is 50 characters of URL-safe base64: blob id, version, columns")


def build_quilt(patches: Sequence[Patch], shards: int) -> tuple[bytes, list[PlacedPatch]]:
    """The bytes of a quilt and where its patches stand, sorted by identifier.

    Raises ``walrus.patches`` (none, too many, one identifier twice, a text too long) and ``walrus.quilt_size``.
    """
    encoding = encoding_of(shards)
    ordered = sorted(patches, key=lambda patch: patch.identifier.encode())
    names = [patch.identifier for patch in ordered]
    if not names or len(names) >= encoding.secondary:
        raise UsageError("walrus.patches", f"a quilt of {shards} shards takes 1 to {encoding.secondary - 1} patches")
    if len(set(names)) != len(names):
        raise UsageError("walrus.patches", "two patches of a quilt have one identifier")
    written = [_write_patch(patch) for patch in ordered]
    index_bytes = len(_write_index([PlacedPatch(patch, 0, 0) for patch in ordered]))
    symbol = _symbol_bytes(encoding, index_bytes, [len(raw) for raw in written])
    height = symbol * encoding.primary
    column = -(-index_bytes // height)
    placed = []
    for patch, raw in zip(ordered, written, strict=True):
        start, column = column, column - -len(raw) // height
        placed.append(PlacedPatch(patch, start, column))
    columns = b"".join(_fill(raw, height) for raw in (_write_index(placed), *written))
    columns = columns.ljust(height * encoding.secondary, b"\x00")
    return _transpose(columns, encoding.secondary, encoding.primary, symbol), placed


def parse_quilt(data: bytes, shards: int) -> list[PlacedPatch]:
    """The patches of a quilt. Raises ``walrus.quilt``."""
    encoding = encoding_of(shards)
    symbol, rest = divmod(len(data), encoding.primary * encoding.secondary)
    if rest or not symbol or symbol % 2 or symbol > MAX_SYMBOL_BYTES:
        raise MalformedError("walrus.quilt", f"{len(data)} bytes are no quilt of {shards} shards")
    height = symbol * encoding.primary
    columns = _transpose(data, encoding.primary, encoding.secondary, symbol)
    index = _Reader(columns[: MAX_INDEX_COLUMNS * height])
    index.expect(VERSION, "the version of the index")
    size = index.integer(4)
    entries = _Reader(index.take(size))
    column = -(-(_INDEX_HEADER + size) // height)
    found: list[PlacedPatch] = []
    for _ in range(entries.length()):
        end, identifier, tags = entries.integer(2), entries.text(), entries.tags()
        if not column < end <= encoding.secondary or (found and _name(found[-1]) >= identifier.encode()):
            raise MalformedError("walrus.quilt", "patches of an index stand in order, each in columns of its own")
        data_of = _read_patch(columns[column * height : end * height], identifier, tags)
        found.append(PlacedPatch(Patch(identifier, data_of, tags), column, end))
        column = end
    entries.end()
    return found


def _name(placed: PlacedPatch) -> bytes:
    return placed.patch.identifier.encode()


def _symbol_bytes(encoding: Encoding, index_bytes: int, sizes: Sequence[int]) -> int:
    """The smallest even symbol for which everything finds a column. Raises ``walrus.quilt_size``."""
    rows = encoding.primary

    def fits(symbol: int) -> bool:
        height = symbol * rows
        index = -(-index_bytes // height)
        return index <= MAX_INDEX_COLUMNS and index - sum(-size // height for size in sizes) <= encoding.secondary

    low, high = 1, MAX_SYMBOL_BYTES
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    if not fits(low):
        raise UsageError("walrus.quilt_size", f"these patches do not fit into one quilt of {encoding.shards} shards")
    return low + low % 2


def _write_patch(patch: Patch) -> bytes:
    """A patch with its header, identifier and tags."""
    identifier = _write_text(patch.identifier)
    tags = _write_tags(patch.tags) if patch.tags else b""
    if max(len(identifier), len(tags)) > _MAX_TEXT_BYTES:
        raise UsageError("walrus.patches", "an identifier, and all tags of a patch, have at most 65,535 bytes")
    body = len(identifier).to_bytes(2, "little") + identifier
    if tags:
        body += len(tags).to_bytes(2, "little") + tags
    body += patch.data
    return bytes([VERSION]) + len(body).to_bytes(4, "little") + bytes([_HAS_TAGS if tags else 0]) + body


def _read_patch(raw: bytes, identifier: str, tags: Mapping[str, str]) -> bytes:
    """The content of a patch that must be the one of the index."""
    reader = _Reader(raw)
    reader.expect(VERSION, "the version of a patch")
    size, mask = reader.integer(4), reader.integer(1)
    body = _Reader(reader.take(size))
    named = _Reader(body.take(body.integer(2)))
    said = named.text()
    named.end()
    if mask == _HAS_TAGS:
        inner = _Reader(body.take(body.integer(2)))
        tagged: Mapping[str, str] = inner.tags()
        inner.end()
    else:
        tagged = {}
    if mask not in {0, _HAS_TAGS} or said != identifier or dict(tagged) != dict(tags):
        raise MalformedError("walrus.quilt", f"the patch {identifier!r} says another name or other tags than the index")
    return body.rest()


def _write_index(placed: Sequence[PlacedPatch]) -> bytes:
    entries = [
        item.end.to_bytes(2, "little") + _write_text(item.patch.identifier) + _write_tags(item.patch.tags)
        for item in placed
    ]
    body = _write_length(len(entries)) + b"".join(entries)
    return bytes([VERSION]) + len(body).to_bytes(4, "little") + body


def _fill(raw: bytes, height: int) -> bytes:
    """Zeros up to the end of the last column."""
    return raw.ljust(-(-len(raw) // height) * height, b"\x00")


def _transpose(symbols: bytes, rows: int, columns: int, size: int) -> bytes:
    """A matrix of symbols, row by row, to the same column by column."""
    places = (at * size for column in range(columns) for at in range(column, rows * columns, columns))
    return b"".join([symbols[place : place + size] for place in places])


# BCS, as far as an index needs it: lengths are unsigned LEB128, texts and maps have their length before them.


def _write_length(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _write_text(text: str) -> bytes:
    raw = text.encode()
    return _write_length(len(raw)) + raw


def _write_tags(tags: Mapping[str, str]) -> bytes:
    entries = sorted((_write_text(name), _write_text(value)) for name, value in tags.items())
    return _write_length(len(entries)) + b"".join(name + value for name, value in entries)


class _Reader:
    """Reads forward and refuses what is not there. Raises ``walrus.quilt``."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        if len(found) != count:
            raise MalformedError("walrus.quilt", "a quilt ends within a part of it")
        self._at += count
        return found

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def integer(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def expect(self, number: int, what: str) -> None:
        if self.integer(1) != number:
            raise MalformedError("walrus.quilt", f"{what} is not {number}")

    def length(self) -> int:
        """An unsigned LEB128 number below 2^32, in its shortest spelling."""
        number, shift = 0, 0
        while True:
            byte = self.integer(1)
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 28:
                raise MalformedError("walrus.quilt", "a length has more than 32 bits")
        if (shift and not byte) or number >= 1 << 32:
            raise MalformedError("walrus.quilt", "a length is not in its shortest spelling")
        return number

    def text(self) -> str:
        try:
            return self.take(self.length()).decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedError("walrus.quilt", "a text is no UTF-8") from None

    def tags(self) -> dict[str, str]:
        """A map, its keys in order and each there once."""
        found: dict[str, str] = {}
        before = b""
        for _ in range(self.length()):
            name = self.text()
            if found and _write_text(name) <= before:
                raise MalformedError("walrus.quilt", "tags are not in order, or one is there twice")
            before = _write_text(name)
            found[name] = self.text()
        return found

    def end(self) -> None:
        if self._at != len(self._data):
            raise MalformedError("walrus.quilt", "something follows the end of a part of a quilt")
