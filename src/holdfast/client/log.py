"""Reading a transparency log over HTTP: checkpoints, tiles, entries and proofs, all verified (``spec/log.md`` §6).

Two layers. :class:`LogReader` fetches and parses and believes nothing. :class:`LogClient` stands on it and returns only
what was verified against a checkpoint signed by the log:

1. A checkpoint parses, is of the expected origin and is signed by one of the log's keys.
2. It extends the newest checkpoint this client has verified, by a consistency proof made from tiles; two roots for one
   size raise ``log.equivocation`` with both notes.
3. Entries are hashed here, and the tree over them leads to the checkpoint's root.

A log that signs a tree and does not serve it raises ``log.withheld``.

The transport is handed in (:class:`holdfast.ports.http.HTTP`), so everything here runs in memory too.
Not covered: quorums of cosignatures and rounds (``verifier``), and writing (the gateway's outbox).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass

from holdfast.core import canonical, merkle, notes, tiles
from holdfast.core.encoding import hex_decode
from holdfast.core.notes import VerifiedCheckpoint, VerifierKey
from holdfast.core.tiles import Tile
from holdfast.errors import MalformedError, RefusedError, UnavailableError
from holdfast.ports.http import HTTP, Answer

_OK, _NOT_FOUND = 200, 404
_PARALLEL = 8
"""Tiles fetched at once."""
_CACHED_TILES = 512
"""Full hash tiles kept, 8 KiB each."""


class LogReader:
    """Fetches from one log and parses. Nothing it returns is verified."""

    def __init__(self, http: HTTP, url: str, *, timeout_s: float = 10.0) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._cache: OrderedDict[Tile, list[bytes]] = OrderedDict()

    async def _get(self, path: str, max_bytes: int) -> Answer:
        answer = await self._http.request("GET", f"{self._url}/{path}", timeout_s=self._timeout_s, max_bytes=max_bytes)
        if answer.status not in {_OK, _NOT_FOUND}:
            raise UnavailableError("log.unavailable", f"the log answered {answer.status} for {path}")
        return answer

    async def checkpoint(self) -> bytes:
        """The newest checkpoint note."""
        answer = await self._get("checkpoint", notes.MAX_NOTE_BYTES)
        if answer.status != _OK:
            raise UnavailableError("log.unavailable", "the log has no checkpoint yet")
        return answer.body

    async def index_of(self, digest: str) -> int | None:
        """Where the log says it put a statement (or commitment entry) with this digest; ``None`` if it knows none."""
        hex_decode(digest, 32)
        answer = await self._get(f"v1/index/{digest}", 4096)
        if answer.status == _NOT_FOUND:
            return None
        value = canonical.decode_object(answer.body)
        index = value.get("index")
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index <= merkle.MAX_SIZE:
            raise MalformedError("log.index_answer", "expected an index")
        return index

    async def _tile_bytes(self, tile: Tile, max_bytes: int) -> tuple[bytes, bool]:
        """The bytes of a tile, or of the full tile once the log has removed a partial one (tlog-tiles)."""
        answer = await self._get(tile.path, max_bytes)
        if answer.status == _NOT_FOUND and tile.width < tiles.WIDTH:
            answer = await self._get(Tile(tile.level, tile.index).path, max_bytes)
            if answer.status == _OK:
                return answer.body, True
        if answer.status != _OK:
            raise RefusedError("log.withheld", f"the log does not serve {tile.path}", status=502)
        return answer.body, False

    async def tile(self, tile: Tile) -> list[bytes]:
        """The hashes of one tile."""
        if (cached := self._cache.get(tile)) is not None:
            self._cache.move_to_end(tile)
            return cached
        raw, full = await self._tile_bytes(tile, tiles.WIDTH * merkle.HASH_BYTES)
        found = tiles.parse_hashes(raw, tiles.WIDTH if full else tile.width)[: tile.width]
        if tile.width == tiles.WIDTH:
            self._cache[tile] = found
            if len(self._cache) > _CACHED_TILES:
                self._cache.popitem(last=False)
        return found

    async def bundle(self, index: int, size: int) -> list[bytes]:
        """The entries of bundle ``index`` in the tree of ``size`` entries."""
        tile = Tile(tiles.ENTRIES, index, tiles.width_at(tiles.ENTRIES, index, size))
        raw, full = await self._tile_bytes(tile, tiles.MAX_BUNDLE_BYTES)
        return tiles.parse_bundle(raw, tiles.WIDTH if full else tile.width)[: tile.width]

    async def entries(self, begin: int, end: int, size: int) -> list[bytes]:
        """Entries ``begin`` up to ``end`` of the tree of ``size`` entries."""
        if not 0 <= begin <= end <= size:
            raise MalformedError("log.index_range", f"no entries {begin} to {end} in a tree of {size}")
        first = begin // tiles.WIDTH
        bundles = await _gather([self.bundle(index, size) for index in range(first, -(-end // tiles.WIDTH))])
        joined = [entry for bundle in bundles for entry in bundle]
        return joined[begin - first * tiles.WIDTH : end - first * tiles.WIDTH]

    async def hashes(self, ranges: Sequence[tuple[int, int]], size: int) -> list[bytes]:
        """Subtree hashes from the tiles of the tree of ``size`` entries; ranges as ``core.merkle`` plans them."""
        needed = tiles.tiles_for(ranges, size)
        found = await _gather([self.tile(tile) for tile in needed])
        return tiles.hashes_from(ranges, size, dict(zip(needed, found, strict=True)))


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A verified proof that an entry is in a tree."""

    index: int
    size: int
    leaf: bytes
    """Leaf hash (RFC 9162)."""
    proof: tuple[bytes, ...]


class LogClient:
    """Verified reads of one log; remembers the newest checkpoint it has verified."""

    def __init__(self, reader: LogReader, origin: str, keys: Iterable[VerifierKey]) -> None:
        self._reader = reader
        self._origin = origin
        self._keys = tuple(keys)
        self.known: VerifiedCheckpoint | None = None
        """The newest verified checkpoint; set it to one kept from earlier to go on from there."""

    async def latest(self) -> VerifiedCheckpoint:
        """The newest checkpoint, verified and consistent with everything seen before.

        An answer older than what is known is checked against it too; the known one is returned then.
        """
        fetched = notes.verify_checkpoint(await self._reader.checkpoint(), self._origin, self._keys)
        known = self.known
        if known is not None:
            if fetched.size < known.size:
                await self.consistency(fetched, known)
                return known
            await self.consistency(known, fetched)
        self.known = fetched
        return fetched

    async def consistency(self, old: VerifiedCheckpoint, new: VerifiedCheckpoint) -> list[bytes]:
        """The verified proof that ``new`` extends ``old``; raises ``log.equivocation`` or ``log.consistency``."""
        notes.refuse_equivocation(old, new)
        if old.size > new.size:
            raise RefusedError("log.consistency", f"a tree of {new.size} does not extend one of {old.size}")
        ranges = merkle.consistency_ranges(old.size, new.size)
        proof = await self._reader.hashes(ranges, new.size)
        notes.verify_extension(old, new, proof)
        return proof

    async def inclusion(self, index: int, checkpoint: VerifiedCheckpoint) -> Inclusion:
        """The verified proof that some entry has ``index`` under ``checkpoint``; its leaf hash is in the result."""
        size = checkpoint.size
        if not 0 <= index < size:
            raise RefusedError("log.inclusion", f"there is no entry {index} in a tree of {size}")
        place = index // tiles.WIDTH
        leaves = await self._reader.tile(Tile(0, place, tiles.width_at(0, place, size)))
        proof = await self._reader.hashes(merkle.inclusion_ranges(index, size), size)
        leaf = leaves[index % tiles.WIDTH]
        merkle.verify_inclusion(leaf, index, size, proof, checkpoint.root)
        return Inclusion(index, size, leaf, tuple(proof))

    async def entry(self, index: int, checkpoint: VerifiedCheckpoint) -> bytes:
        """Entry ``index``, verified."""
        found = await self.entries(index, index + 1, checkpoint)
        return found[0]

    async def entries(self, begin: int, end: int, checkpoint: VerifiedCheckpoint) -> list[bytes]:
        """Entries ``begin`` up to ``end`` under ``checkpoint``, each bundle verified against the root."""
        if not 0 <= begin <= end <= checkpoint.size:
            raise RefusedError("log.inclusion", f"no entries {begin} to {end} in a tree of {checkpoint.size}")
        first = begin // tiles.WIDTH
        indices = range(first, -(-end // tiles.WIDTH) if end > begin else first)
        bundles = await _gather([self._verified_bundle(index, checkpoint) for index in indices])
        joined = [entry for bundle in bundles for entry in bundle]
        return joined[begin - first * tiles.WIDTH : end - first * tiles.WIDTH]

    async def _verified_bundle(self, index: int, checkpoint: VerifiedCheckpoint) -> list[bytes]:
        """A bundle whose every entry is bound to the root.

        The proof for the bundle's first entry needs the hashes of all others: inside the bundle they are computed here,
        outside they come from tiles. If it leads to the root, every entry of the bundle is the one that was signed for.
        """
        size = checkpoint.size
        entries = await self._reader.bundle(index, size)
        leaves = [merkle.leaf_hash(entry) for entry in entries]
        begin = index * tiles.WIDTH
        end = begin + len(leaves)
        ranges = merkle.inclusion_ranges(begin, size)
        outside = [item for item in ranges if item[0] >= end or item[1] <= begin]
        fetched = dict(zip(outside, await self._reader.hashes(outside, size), strict=True))
        proof = [
            fetched[item] if item in fetched else merkle.root(leaves[item[0] - begin : item[1] - begin])
            for item in ranges
        ]
        merkle.verify_inclusion(leaves[0], begin, size, proof, checkpoint.root)
        return entries

    async def index_of(self, digest: str) -> int | None:
        """Where the log says it put a statement. A hint: verify it by fetching the entry."""
        return await self._reader.index_of(digest)


async def _gather(fetches: Sequence[Coroutine[None, None, list[bytes]]]) -> list[list[bytes]]:
    """Run fetches, a few at once; the first failure ends the others."""
    gate = asyncio.Semaphore(_PARALLEL)

    async def one(fetch: Coroutine[None, None, list[bytes]]) -> list[bytes]:
        async with gate:
            return await fetch

    if len(fetches) == 1:
        return [await fetches[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(fetch)) for fetch in fetches]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        for fetch in fetches:
            fetch.close()
    return [task.result() for task in tasks]
