"""Walrus blob ids, computed here (``spec/walrus.md`` §3 and §4).

An id commits to every symbol of the two-dimensional code (RS2) that a blob is stored in, so whoever holds the bytes can
compute the id, and bytes that an aggregator sends are checked by computing it again.

Rules: pure. One spelling: 43 characters of URL-safe base64 without padding. The number of shards is an argument,
because the same bytes have another id for another number; Walrus itself has 1000.

Not covered: whether anybody stores the blob, for how long, and who paid.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import add

from holdfast.core import reed_solomon
from holdfast.core._planes import merge, split
from holdfast.errors import MalformedError, RefusedError, UsageError

MAINNET_SHARDS = 1000
"""Shards of Walrus' own networks (Walrus documentation, "Properties")."""
MIN_SHARDS = 4
"""Below four shards none may be faulty, so nothing is redundant and there is no code."""
MAX_SHARDS = 1000
"""More than any network has; bounds what a caller can make us compute."""
ENCODING_RS2 = 1
"""The encoding type that stands first in what an id hashes (``EncodingType::RS2``)."""
ID_BYTES = 32
"""Size of an id (BLAKE2b-256)."""
MAX_SYMBOL_BYTES = 65_534
"""Largest symbol: its length is an even 16-bit number (``walrus.md`` §3(2))."""
_ID_TEXT = re.compile(r"[A-Za-z0-9_-]{43}\Z", re.ASCII)
_EMPTY = bytes(ID_BYTES)
_blake2b = hashlib.blake2b
_START, _ABOVE = _blake2b(digest_size=32), _blake2b(b"\x01", digest_size=32)
"""What every hash begins with, and every hash of two nodes (``walrus.md`` §4(2))."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """Shape of the code for a number of shards: rows and columns that hold the blob itself."""

    shards: int
    primary: int
    """Rows of source symbols (n - 2f)."""
    secondary: int
    """Columns of source symbols (n - f)."""

    @property
    def max_blob_bytes(self) -> int:
        """The longest blob that fits."""
        return self.primary * self.secondary * MAX_SYMBOL_BYTES

    def symbol_bytes(self, size: int) -> int:
        """Length of each symbol for a blob of ``size`` bytes: even, at least 2. Raises ``walrus.size``."""
        if size > self.max_blob_bytes:
            raise UsageError(
                "walrus.size",
                f"{size} bytes do not fit into {self.shards} shards",
                hint=f"at most {self.max_blob_bytes} bytes do",
                status=413,
            )
        symbols = self.primary * self.secondary
        exact = -(-max(size, 1) // symbols)
        return exact + exact % 2

    def encoded_bytes(self, size: int) -> int:
        """What a blob of ``size`` bytes takes on all shards together (``walrus.md`` §3(6)). Raises ``walrus.size``."""
        symbol = self.symbol_bytes(size)
        return self.shards * ((self.primary + self.secondary) * symbol + 64 * self.shards + 32)


def encoding_of(shards: int) -> Encoding:
    """The code for a number of shards. Raises ``walrus.shards``."""
    if not MIN_SHARDS <= shards <= MAX_SHARDS:
        raise UsageError("walrus.shards", f"a network has {MIN_SHARDS} to {MAX_SHARDS} shards, not {shards}")
    faulty = (shards - 1) // 3
    return Encoding(shards, shards - 2 * faulty, shards - faulty)


def encode_id(identifier: bytes) -> str:
    """An id as text."""
    return base64.urlsafe_b64encode(identifier).rstrip(b"=").decode("ascii")


def parse_id(text: object) -> bytes:
    """The 32 bytes of an id. Raises ``walrus.id`` for any other spelling."""
    if isinstance(text, str) and _ID_TEXT.match(text):
        identifier = base64.urlsafe_b64decode(text + "=")
        if encode_id(identifier) == text:
            return identifier
    raise MalformedError("walrus.id", "a blob id is 43 characters of URL-safe base64 without padding")


def blob_id(data: bytes, shards: int = MAINNET_SHARDS) -> bytes:
    """The id of a blob (``walrus.md`` §4). Raises ``walrus.shards``, ``walrus.size``.

    Costs three hashes for each pair of shards, whatever the size: a second or two for 1000.
    """
    encoding = encoding_of(shards)
    size = encoding.symbol_bytes(len(data))
    step = size + 1
    rows, lines = [], []
    before, root, leaves = b"", b"", list[bytes]()
    for symbols in _expanded(data, encoding, size):
        if symbols != before:  # what a short blob is filled up with is many rows of zeros
            before = symbols
            view = memoryview(symbols) if size > 1024 else symbols  # small slices are faster as copies
            leaves = _hashes(_START, [view[at : at + step] for at in range(0, len(symbols), step)])
            root = _root(leaves)
        rows.append(root)
        lines.append(leaves)
    columns = _roots(lines)
    pairs = [_leaf(primary + secondary) for primary, secondary in zip(rows, reversed(columns), strict=True)]
    return _hash(bytes([ENCODING_RS2]) + len(data).to_bytes(8, "little") + _root(pairs))


def verify_blob(data: bytes, identifier: bytes, shards: int = MAINNET_SHARDS) -> bytes:
    """``data``, once its id is the expected one. Raises ``walrus.mismatch``, and what :func:`blob_id` raises."""
    found = blob_id(data, shards)
    if found != identifier:
        raise RefusedError(
            "walrus.mismatch",
            f"these bytes have the blob id {encode_id(found)}, not {encode_id(identifier)}",
            hint=f"it was computed for {shards} shards; ask another aggregator if that is right",
        )
    return data


def _hash(data: bytes) -> bytes:
    return _blake2b(data, digest_size=32).digest()


def _leaf(data: bytes) -> bytes:
    return _blake2b(b"\x00" + data, digest_size=32).digest()


def _hashes(start: hashlib.blake2b, messages: Iterable[bytes | memoryview]) -> list[bytes]:
    """Hashes of messages behind what ``start`` has read. A copy of a state takes less than making one: a blob has three
    hashes for each pair of shards."""
    copy, found = start.copy, []
    for message in messages:
        state = copy()
        state.update(message)
        found.append(state.digest())
    return found


def _root(hashes: Sequence[bytes]) -> bytes:
    """Root of a tree over leaf hashes; a level of odd length gets one node of zeros (``walrus.md`` §4(2))."""
    level = list(hashes)
    while len(level) > 1:
        if len(level) % 2:
            level.append(_EMPTY)
        nodes = iter(level)
        level = _hashes(_ABOVE, map(add, nodes, nodes))
    return level[0]


def _roots(lines: Iterable[Sequence[bytes]]) -> list[bytes]:
    """Roots of the trees whose first leaves stand in the first line, second leaves in the second, and so on."""
    level = list(lines)
    empty = [_EMPTY] * len(level[0])
    while len(level) > 1:
        if len(level) % 2:
            level.append(empty)
        made: dict[tuple[int, int], list[bytes]] = {}
        """By the lines that they are made of: of one pair that comes again, the same nodes."""
        pairs = list(zip(level[::2], level[1::2], strict=True))
        for low, high in pairs:
            if (id(low), id(high)) not in made:
                made[id(low), id(high)] = _hashes(_ABOVE, map(add, low, high))
        level = [made[id(low), id(high)] for low, high in pairs]
    return list(level[0])


def _expanded(data: bytes, encoding: Encoding, size: int) -> Iterable[bytes]:
    """The rows of the expanded matrix, first to last: symbols of ``size`` bytes, a byte of zero before each."""
    primary, secondary, shards = encoding.primary, encoding.secondary, encoding.shards
    padded = data.ljust(primary * secondary * size, b"\x00")
    width = secondary * size
    cells = [
        [padded[row * width + at : row * width + at + size] for row in range(primary)] for at in range(0, width, size)
    ]
    sources = [split(b"".join(column), size) for column in cells]
    for low, high in reed_solomon.encode(sources, shards - secondary):
        column = merge(low, high, size)
        cells.append([column[at : at + size] for at in range(1, len(column), size + 1)])
    sources = [split(b"".join(row), size) for row in zip(*cells, strict=True)]
    yield from (merge(low, high, size) for low, high in sources)
    yield from (merge(low, high, size) for low, high in reed_solomon.encode(sources, shards - primary))
