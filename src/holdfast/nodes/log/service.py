"""The sequencer: gives entries their order, makes it durable, builds the tree and signs its checkpoints.

In the order in which things happen to an entry (``spec/log.md`` §5):

1. It is parsed; one that is known already gets the index it has.
2. It gets the next index and goes to the write-ahead log. When that is durable, and this process is still the only
   sequencer, the writer is answered. From here on the entry cannot be lost or get another index.
3. Within the window (or as soon as enough entries wait) the tree grows: tiles and bundles are written and durable.
4. The new checkpoint is signed only if the last signed one, read back from storage, is the one this tree grew from. It
   is durable before anybody sees it, and then it is published.
5. Witnesses are asked; their cosignatures are added to the published checkpoint as they come.

Anything that fails in 2 to 4 stops the node for writing (``log.stopped``): it goes on serving what is published, and a
restart recovers from storage. There is no state from which it could sign two trees of one size: the order is durable
before the tree grows, and the tree is a function of the order.

One event loop; nothing here is called from another thread except what is handed to ``offload``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import merkle, notes, tiles
from holdfast.core.encoding import hex_decode
from holdfast.core.notes import Checkpoint, Note, NoteSignature, VerifiedCheckpoint, VerifierKey
from holdfast.core.tiles import Tile
from holdfast.errors import ConflictError, HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.nodes.log.config import LogConfig
from holdfast.nodes.log.digests import Digests
from holdfast.nodes.log.entries import Entry, parse_entry
from holdfast.nodes.log.fence import Fence
from holdfast.nodes.log.tree import PUBLIC, LogTree, public_name
from holdfast.nodes.log.witnesses import Witness
from holdfast.ports.blobs import Blobs
from holdfast.ports.clock import Clock
from holdfast.ports.http import HTTP
from holdfast.ports.metrics import Metric, Metrics
from holdfast.ports.signer import Signer
from holdfast.ports.storage import Committer, Record, RecordLog, Storage

_LOG = logging.getLogger(__name__)

ENTRIES_KIND = 1
"""Record kind: an index (u64, big-endian) and, from it on, entries as in an entry bundle."""
SIGNED = "signed"
"""Storage name of the last signed checkpoint: what this log has committed itself to."""
PUBLISHED = f"{PUBLIC}/checkpoint"
"""Storage name of the checkpoint that readers get, with the cosignatures collected so far."""

_GATHER_SECONDS = 0.01
"""Shortest wait for neighbours before a checkpoint; what one turn of a gateway sends comes within it."""

METRICS = (
    Metric("holdfast_log_entries_total", "count", "Entries sequenced"),
    Metric("holdfast_log_known_total", "count", "Entries that were sent again"),
    Metric("holdfast_log_refused_total", "count", "Entries that do not parse", ("code",)),
    Metric("holdfast_log_size", "level", "Entries under the published checkpoint"),
    Metric("holdfast_log_waiting", "level", "Sequenced entries without a checkpoint"),
    Metric("holdfast_log_commit_seconds", "distribution", "From a request's entries to their durable order"),
    Metric("holdfast_log_publish_seconds", "distribution", "Writing tiles and signing a checkpoint"),
    Metric("holdfast_log_cosignatures", "level", "Cosignatures on the published checkpoint"),
    Metric("holdfast_log_witness_errors_total", "count", "Failed requests for a cosignature", ("witness",)),
)

OpenRecords = Callable[[], tuple[RecordLog, Committer]]
"""Opens (and so recovers) the write-ahead log; called once the fence is taken."""
Offload = Callable[[Callable[[], None]], Awaitable[None]]
"""Runs a blocking call off the event loop."""


async def run_inline(call: Callable[[], None]) -> None:
    """An :data:`Offload` that does not: for tests, and storage that never waits."""
    call()


@dataclass(frozen=True, slots=True)
class Sequenced:
    """The answer for one entry: its index, or why it has none."""

    digest: str
    """Hex; empty when the entry does not parse."""
    index: int | None
    error: HoldfastError | None = None

    def to_json(self) -> dict[str, Any]:
        """As ``POST /v1/entries`` answers."""
        if self.error is not None:
            return {"digest": self.digest, **self.error.to_json()}
        return {"digest": self.digest, "index": self.index}


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A sequenced entry that no checkpoint covers yet."""

    entry: bytes
    leaf: bytes


class LogService:
    """One log. :meth:`open` recovers, :meth:`running` also keeps publishing; then :meth:`append` and the reads."""

    def __init__(
        self,
        config: LogConfig,
        *,
        storage: Storage,
        open_records: OpenRecords,
        signer: Signer,
        clock: Clock,
        blobs: Blobs,
        http: HTTP,
        metrics: Metrics,
        offload: Offload = run_inline,
    ) -> None:
        self.config = config
        self.key = VerifierKey(config.origin, notes.ED25519, signer.key.public)
        """The key that checkpoints are verified with."""
        self._storage = storage
        self._open_records = open_records
        self._signer = signer
        self.clock = clock
        """Time, also for the witnesses' pauses."""
        self._blobs = blobs
        self._metrics = metrics
        self._offload = offload
        self._fence = Fence(storage)
        self._committer: Committer | None = None
        self._failure: HoldfastError | None = None
        self._digests = Digests()
        """The digest of every sequenced entry, its order durable or not."""
        self._durable = 0
        """Entries whose order is durable."""
        self._waiting: deque[_Waiting] = deque()
        """Entries from the tree's size on, in order."""
        self._positions: deque[tuple[int, int]] = deque()
        """(write-ahead log position, number of entries up to it), for forgetting records."""
        self._tree = LogTree()
        self._signed: VerifiedCheckpoint | None = None
        self._published: Note | None = None
        self._published_at = 0.0
        """When the last checkpoint was published, monotonic seconds."""
        self._publishing = asyncio.Lock()
        self._saving = asyncio.Lock()
        """Held while the published checkpoint is written: of two writers one would take the other's temporary file,
        and the log would stop over it."""
        self._work = asyncio.Event()
        """Set while entries wait for a checkpoint."""
        self._enough = asyncio.Event()
        """Set when so many wait that the window ends."""
        self._ahead: set[str] = set()
        """Witnesses that know more entries than this log."""
        self._witnesses = [Witness(address, http, self) for address in config.witnesses]

    # Life

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Recover, publish and collect cosignatures until the block ends; then publish the rest and let go."""
        await self.open()
        tasks = [asyncio.create_task(self._publish_for_ever(), name="log-publisher")]
        tasks += [asyncio.create_task(witness.run(), name="log-witness") for witness in self._witnesses]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.close()

    async def open(self) -> None:
        """Take the fence and recover. Raises ``storage.locked``, ``log.state`` or ``wal.corrupt``."""
        self._fence.take()
        try:
            await self._recover_state()
        except BaseException:
            await self._let_go()
            raise

    async def _recover_state(self) -> None:
        """From storage to a published checkpoint over everything that is durable."""
        signed_raw = self._storage.load(SIGNED)
        size = 0
        if signed_raw is not None:
            self._signed = notes.verify_checkpoint(signed_raw, self.config.origin, [self.key])
            size = self._signed.size
            self._tree = LogTree.load(self._storage.load, size)
            if self._tree.root() != self._signed.root:
                raise MalformedError(
                    "log.state", "the stored tiles are not what was signed", hint="restore the state from a copy"
                )
            self._digests.load(self._storage.load, size)
        records, self._committer = self._open_records()
        for record in records.records(records.begin):
            self._recover(record)
        self._durable = len(self._digests)
        self._load_published()
        await self.publish()

    def _recover(self, record: Record) -> None:
        """Take up entries that were sequenced; those under the signed checkpoint are in the tree already."""
        if record.kind != ENTRIES_KIND:
            raise MalformedError("log.state", f"unknown record of kind {record.kind} in the write-ahead log")
        first, entries = _parse_entries(record.payload)
        known = len(self._digests)
        if first > known:
            raise MalformedError("log.state", f"entries {known} to {first} are missing from the write-ahead log")
        for raw in entries[known - first :]:
            self._take(parse_entry(raw))
        self._positions.append((record.position, first + len(entries)))

    def _load_published(self) -> None:
        """Serve the checkpoint with its cosignatures if it is the signed one, else the signed one."""
        if self._signed is None:
            return
        raw = self._storage.load(PUBLISHED)
        with contextlib.suppress(MalformedError):
            if raw is not None and (note := notes.parse_note(raw)).text == self._signed.note.text:
                self._published = note
        if self._published is None:
            self._published = self._signed.note

    async def close(self) -> None:
        """Publish what is sequenced, then let go."""
        try:
            if self._failure is None and self._committer is not None:
                await self._committer.commit_many(())
                await self.publish()
        except HoldfastError as error:
            _LOG.warning("not everything was published: %s", error.code)
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        """Close the write-ahead log and let the next sequencer in."""
        if self._committer is not None:
            with contextlib.suppress(HoldfastError):
                await self._committer.close()
        self._fence.release()

    def waiting_for(self) -> dict[str, str]:
        """Why this node is not ready, by name; empty when it is."""
        if self._failure is not None:
            return {"storage": f"stopped: {self._failure.message}"}
        if self._published is None:
            return {"log": "no checkpoint yet"}
        return {}

    def _stop(self, error: HoldfastError) -> UnavailableError:
        """Accept nothing more; the disk or another sequencer said no."""
        if self._failure is None:
            self._failure = error
            _LOG.error("the log stopped: %s", error)
        return UnavailableError(
            "log.stopped", f"this log takes no entries: {self._failure.message}", hint="restart this node"
        )

    # Writing

    async def append(self, raw_entries: Sequence[bytes]) -> list[Sequenced]:
        """Sequence entries; the answers, in their order, are durable. Raises ``log.stopped`` and ``log.busy``."""
        if self._failure is not None:
            raise self._stop(self._failure)
        if self._committer is None:
            raise UnavailableError("log.starting", "this log is not open yet")
        if len(raw_entries) > self.config.request_entries:
            raise UsageError(
                "log.request_entries", f"at most {self.config.request_entries} entries in one request", status=413
            )
        if len(self._waiting) + len(raw_entries) > self.config.backlog_entries:
            raise UnavailableError("log.busy", "too many entries wait for a checkpoint", hint="try again in a second")
        started = self.clock.monotonic()
        results: list[Sequenced] = []
        first = len(self._digests)
        fresh: list[bytes] = []
        for raw in raw_entries:
            try:
                entry = parse_entry(raw)
            except MalformedError as error:
                self._metrics.count("holdfast_log_refused_total", error.code)
                results.append(Sequenced("", None, error))
                continue
            index = self._digests.find(entry.digest)
            if index is None:
                index = self._take(entry)
                fresh.append(raw)
            results.append(Sequenced(entry.digest.hex(), index))
        known = len(results) - len(fresh) - sum(result.error is not None for result in results)
        # The order is fixed from here on, whether or not the caller is still there to hear of it.
        await asyncio.shield(asyncio.ensure_future(self._make_durable(first, fresh)))
        self._metrics.count("holdfast_log_entries_total", amount=len(fresh))
        self._metrics.count("holdfast_log_known_total", amount=known)
        self._metrics.observe("holdfast_log_commit_seconds", self.clock.monotonic() - started)
        return results

    def _take(self, entry: Entry) -> int:
        """Give an entry the next index, in memory."""
        index = self._digests.append(entry.digest)
        self._waiting.append(_Waiting(entry.raw, merkle.leaf_hash(entry.raw)))
        return index

    async def _make_durable(self, first: int, fresh: list[bytes]) -> None:
        """Commit entries ``first`` and on (or wait for those before) and check that this is still the sequencer."""
        committer = self._committer
        if committer is None:
            raise UnavailableError("log.starting", "this log is not open yet")
        try:
            records = _entries_records(first, fresh, self.config.segment_bytes // 2)
            positions = await committer.commit_many((ENTRIES_KIND, payload) for _, payload in records)
            self._fence.check()
            self._positions.extend(zip(positions, (end for end, _ in records), strict=True))
            self._durable = max(self._durable, first + len(fresh) if fresh else 0)
        except HoldfastError as error:
            raise self._stop(error) from error
        if self._failure is not None:
            raise self._stop(self._failure)
        self._work.set()
        if len(self._waiting) >= self.config.batch_entries:
            self._enough.set()

    # Publishing

    async def _publish_for_ever(self) -> None:
        while self._failure is None:
            await self._work.wait()
            window = asyncio.ensure_future(self.clock.sleep(self._pause_seconds()))
            enough = asyncio.ensure_future(self._enough.wait())
            try:
                await asyncio.wait({window, enough}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                window.cancel()
                enough.cancel()
            try:
                await self.publish()
            except HoldfastError:
                return
            except Exception as error:
                self._stop(UnavailableError("log.stopped", f"publishing failed: {type(error).__name__}"))
                raise

    def _pause_seconds(self) -> float:
        """How long waiting entries may still wait: what is left of the window since the last checkpoint.

        The first entries after a quiet time wait for their neighbours only, so an answer on an idle log is soon logged.
        """
        window = self.config.window_ms / 1000
        return max(min(_GATHER_SECONDS, window), window - (self.clock.monotonic() - self._published_at))

    async def publish(self) -> None:
        """Bring the tree up to everything that is durable, sign it and publish it. A failure stops the log."""
        if self._failure is not None:
            raise self._stop(self._failure)
        async with self._publishing:
            self._work.clear()
            self._enough.clear()
            started = self.clock.monotonic()
            count = self._durable - self._tree.size
            if count == 0 and self._published is not None:
                return
            old_size = self._tree.size
            try:
                for _ in range(count):
                    waiting = self._waiting.popleft()
                    self._tree.append(waiting.entry, waiting.leaf)
                checkpoint = Checkpoint(self.config.origin, self._tree.size, self._tree.root())
                files = self._tree.take_files() | self._digests.new_files(old_size, self._tree.size)
                if files:
                    await self._offload(lambda: self._storage.save_all(files))
                await self._sign(checkpoint)
            except HoldfastError as error:
                raise self._stop(error) from error
            self._published_at = self.clock.monotonic()
            self._forget_records()
            self._remove_partial_tiles(old_size)
            self._metrics.level("holdfast_log_size", checkpoint.size)
            self._metrics.level("holdfast_log_waiting", len(self._waiting))
            self._metrics.observe("holdfast_log_publish_seconds", self.clock.monotonic() - started)
        if self._durable > self._tree.size:
            self._work.set()
        for witness in self._witnesses:
            witness.wake()

    async def _sign(self, checkpoint: Checkpoint) -> None:
        """Sign and publish, provided that nobody else has signed since; durable before it is seen."""
        self._fence.check()
        raw = self._storage.load(SIGNED)
        if raw != (self._signed.raw if self._signed is not None else None):
            raise RefusedError("log.fenced", "the last signed checkpoint is not ours; another sequencer wrote it")
        if self._signed is not None and checkpoint.size < self._signed.size:
            raise RefusedError("log.consistency", "a checkpoint never covers less than the one before")
        note = notes.sign_checkpoint(checkpoint, self.key, self._signer.sign)
        signed = notes.verify_checkpoint(note, self.config.origin, [self.key])
        if self._signed is not None:
            notes.refuse_equivocation(self._signed, signed)
            notes.verify_extension(self._signed, signed, self.consistency_proof(self._signed.size, signed.size))
        await self._offload(lambda: self._storage.save(SIGNED, note))
        self._fence.check()
        self._signed = signed
        self._published = signed.note
        async with self._saving:
            await self._offload(lambda: self._storage.save(PUBLISHED, note))

    def _forget_records(self) -> None:
        """Let go of write-ahead records whose entries are in durable tiles under a signed checkpoint."""
        last = 0
        while self._positions and self._positions[0][1] <= self._tree.size:
            last = self._positions.popleft()[0]
        if last and self._committer is not None:
            self._committer.drop_before(last)

    def _remove_partial_tiles(self, old_size: int) -> None:
        """Remove the partial versions of tiles that have become full (tlog-tiles, "Partial Tiles")."""
        for tile in tiles.new_tiles(old_size, self._tree.size):
            if tile.width < tiles.WIDTH or not tiles.width_at(tile.level, tile.index, old_size):
                continue
            folder = f"{public_name(tile)}.p"
            try:
                for name in self._storage.list_names(folder):
                    self._storage.remove(f"{folder}/{name}")
            except UnavailableError as error:
                _LOG.warning("partial tiles were not removed: %s", error)

    # Cosignatures

    @property
    def signed(self) -> VerifiedCheckpoint | None:
        """The last signed checkpoint."""
        return self._signed

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        """A proof from the stored tiles of the tree of ``new_size``."""
        ranges = merkle.consistency_ranges(old_size, new_size)
        needed = tiles.tiles_for(ranges, new_size)
        return tiles.hashes_from(ranges, new_size, {tile: self._hashes(tile) for tile in needed})

    def _hashes(self, tile: Tile) -> list[bytes]:
        raw = self._storage.load(public_name(tile))
        if raw is None and tile.width < tiles.WIDTH:
            raw = self._storage.load(public_name(Tile(tile.level, tile.index)))
            raw = None if raw is None else raw[: tile.width * merkle.HASH_BYTES]
        if raw is None:
            raise UnavailableError("log.state", f"{tile.path} is missing", hint="restore the state from a copy")
        return tiles.parse_hashes(raw, tile.width)

    async def add_cosignatures(self, checkpoint: VerifiedCheckpoint, lines: Sequence[NoteSignature]) -> None:
        """Add verified cosignatures to the published checkpoint if it is still this one."""
        if self._published is None or self._published.text != checkpoint.note.text:
            return
        merged = self._published.with_signatures(lines)
        if merged != self._published:
            self._published = merged
            self._metrics.level("holdfast_log_cosignatures", len(merged.signatures) - 1)
            async with self._saving:
                await self._offload(lambda: self._save_published(merged))

    def _save_published(self, note: Note) -> None:
        """Keep cosignatures over a restart; losing them costs another round of asking, so a failure is only noted."""
        if note is not self._published:
            return
        try:
            self._storage.save(PUBLISHED, note.raw)
        except UnavailableError as error:
            _LOG.warning("cosignatures were not saved: %s", error)

    def witness_ahead(self, name: str, size: int) -> None:
        """A witness says that it cosigned more entries than this log has ever signed. If most do, stop.

        That happens when the state was restored from an old copy. Going on would sign a second history.
        """
        self._ahead.add(name)
        if 2 * len(self._ahead) > len(self._witnesses):
            self._stop(ConflictError("log.rolled_back", f"witnesses have cosigned {size} entries; this state is older"))

    def witness_failed(self, name: str, error: HoldfastError) -> None:
        """Count and log a failed request for a cosignature."""
        self._metrics.count("holdfast_log_witness_errors_total", name)
        _LOG.warning("no cosignature from %s: %s", name, error)

    # Reading

    def checkpoint(self) -> bytes:
        """The newest published checkpoint with the cosignatures collected so far; ``log.starting`` before the first."""
        if self._published is None:
            raise UnavailableError("log.starting", "this log has no checkpoint yet")
        return self._published.raw

    def tile(self, path: str) -> bytes:
        """The bytes of a published tile or bundle. Raises ``tile.path`` and ``log.no_tile``, both as 404."""
        try:
            tile = tiles.parse_path(path)
        except MalformedError as error:
            raise UsageError(error.code, error.message, status=404) from error
        size = 0 if self._signed is None else self._signed.size
        if tiles.width_at(tile.level, tile.index, size) >= tile.width:
            raw = self._storage.load(public_name(tile))
            if raw is not None:
                return raw
        raise UsageError("log.no_tile", "no checkpoint covers this tile, or its full version replaced it", status=404)

    def index_of(self, digest: str) -> int:
        """The index of the entry with this digest; raises ``log.unknown_digest`` as 404."""
        index = self._digests.find(hex_decode(digest, merkle.HASH_BYTES))
        if index is None or index >= self._durable:
            raise UsageError("log.unknown_digest", "no entry with this digest was sequenced", status=404)
        return index

    def describe(self) -> dict[str, Any]:
        """What this log says of itself: origin, verifier key, sizes, witnesses."""
        return {
            "origin": self.config.origin,
            "key": str(self.key),
            "published": 0 if self._signed is None else self._signed.size,
            "sequenced": self._durable,
            "witnesses": [str(witness.key) for witness in self._witnesses],
        }

    async def put_blob(self, data: bytes) -> str:
        """Keep a blob; raises ``log.blob_size``."""
        if len(data) > self.config.blob_bytes:
            raise UsageError("log.blob_size", f"a blob has at most {self.config.blob_bytes} bytes", status=413)
        return await self._blobs.put(data)

    async def blob(self, digest: str) -> bytes:
        """A blob by its SHA-256 (hex); raises ``log.no_blob`` as 404."""
        data = await self._blobs.get(digest)
        if data is None:
            raise UsageError("log.no_blob", "there is no blob with this digest", status=404)
        return data


def _entries_records(first: int, entries: Sequence[bytes], limit_bytes: int) -> list[tuple[int, bytes]]:
    """Entries as record payloads of about ``limit_bytes`` at most, each with the number of entries up to its end."""
    records: list[tuple[int, bytes]] = []
    begin, size_bytes = 0, 0
    for place, entry in enumerate(entries):
        if place > begin and size_bytes + len(entry) > limit_bytes:
            records.append((first + place, (first + begin).to_bytes(8) + tiles.encode_bundle(entries[begin:place])))
            begin, size_bytes = place, 0
        size_bytes += 2 + len(entry)
    if entries:
        payload = (first + begin).to_bytes(8) + tiles.encode_bundle(entries[begin:])
        records.append((first + len(entries), payload))
    return records


def _parse_entries(payload: bytes) -> tuple[int, list[bytes]]:
    """An entries record to its first index and entries."""
    count, place = 0, 8
    while place < len(payload):
        place += 2 + int.from_bytes(payload[place : place + 2])
        count += 1
    return int.from_bytes(payload[:8]), tiles.parse_bundle(payload[8:], count)
