"""Log append: entries a second from parsed requests to a signed, durable checkpoint, with fdatasync.

Run: ``python bench/log_append.py [--entries N] [--folder DIR]``. Batches of 256 envelopes of about 700 bytes, eight
writers at once, everything a writer's request passes through but HTTP: parsing, dedup, the write-ahead log, tiles,
checkpoints. The folder should be on the disk that matters. Wanted: 20,000 entries/s. Peer in the same run: pymerkle's
tree in memory, which hashes and knows no disk, no dedup and no signature.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import peers  # beside this file
from cryptography.hazmat.primitives.asymmetric import ed25519
from figures import at_least, figure, no_peer, ratio

from holdfast.adapters.blobs_files import FileBlobs
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.signer_files import FileSigner
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.core import merkle, statements
from holdfast.core.encoding import sha256, sha256_hex
from holdfast.nodes.log.config import LogConfig
from holdfast.nodes.log.service import LogService
from holdfast.ports.storage import Committer, RecordLog

BATCH = 256
WRITERS = 8
PEER_ENTRIES = 20_000
"""Entries that the peer gets: it is slower, and a bench is bounded."""
FLOOR = 20_000
"""Entries a second that the design asks for."""


def make_entries(count: int) -> list[bytes]:
    """Envelopes of the size of a route statement."""
    key_id, padding = sha256_hex(b"key"), "0" * 350
    entries = []
    for number in range(count):
        payload = b'{"number":%d,"padding":"%s"}' % (number, padding.encode())
        entries.append(statements.build_envelope(payload, key_id, sha256(payload) * 2))
    return entries


def make_service(root: Path) -> LogService:
    """A log as ``python -m holdfast.nodes.log`` builds it, without HTTP and witnesses."""
    storage = FileStorage(root)
    config = LogConfig(state=root, backlog_entries=10_000_000)

    def open_records() -> tuple[RecordLog, Committer]:
        log = WriteAheadLog(storage, "wal", config.segment_bytes)
        return log, GroupCommit(log)

    async def offload(call: Callable[[], None]) -> None:
        await asyncio.to_thread(call)

    return LogService(
        config,
        storage=storage,
        open_records=open_records,
        signer=FileSigner(ed25519.Ed25519PrivateKey.generate(), "log"),
        clock=SystemClock(),
        blobs=FileBlobs(storage),
        http=AiohttpHTTP(),
        metrics=MemoryMetrics(),
        offload=offload,
    )


async def measure(service: LogService, entries: list[bytes]) -> tuple[float, float, list[float]]:
    """Seconds until the last acknowledgement, until the last checkpoint, and of each request."""
    batches = [entries[begin : begin + BATCH] for begin in range(0, len(entries), BATCH)]
    spent: list[float] = []

    async def writer(place: int) -> None:
        for batch in batches[place::WRITERS]:
            started = time.perf_counter()
            await service.append(batch)
            spent.append(time.perf_counter() - started)

    async with service.running():
        started = time.perf_counter()
        await asyncio.gather(*(writer(place) for place in range(WRITERS)))
        acknowledged = time.perf_counter() - started
        await service.publish()
        published = time.perf_counter() - started
        assert service.describe()["published"] == len(entries)
    return acknowledged, published, sorted(spent)


def tree_alone(entries: list[bytes]) -> tuple[float, float]:
    """(entries a second of CPU into our tree with a root per batch, microseconds for an inclusion proof from its
    leaves), without the log around it."""
    began = time.process_time()
    tree = merkle.CompactRange()
    for begin in range(0, len(entries), BATCH):
        tree.extend(map(merkle.leaf_hash, entries[begin : begin + BATCH]))
        tree.root()
    appended = time.process_time() - began
    hashes = TileHashes([merkle.leaf_hash(entry) for entry in entries])
    began = time.process_time()
    for index in range(1, 51):
        hashes.prove(index * (len(entries) // 51))
    return len(entries) / appended, (time.process_time() - began) / 50 * 1e6


class TileHashes:
    """Complete subtrees by level, as tiles hold them."""

    def __init__(self, leaves: list[bytes]) -> None:
        self._size = len(leaves)
        self._levels = [leaves]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            pairs = zip(below[::2], below[1::2], strict=False)
            self._levels.append([merkle.node_hash(left, right) for left, right in pairs])

    def prove(self, index: int) -> list[bytes]:
        """The inclusion proof of one entry."""
        return [
            merkle.fold([self._levels[level][place] for level, place in merkle.range_nodes(begin, end)])
            for begin, end in merkle.inclusion_ranges(index, self._size)
        ]


def main() -> int:
    """Print the figures; exit 1 below the floor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    entries = make_entries(options.entries)
    with tempfile.TemporaryDirectory(dir=options.folder) as root:
        busy = time.process_time()
        acknowledged, published, spent = asyncio.run(measure(make_service(Path(root)), entries))
        busy = time.process_time() - busy
    rate = len(entries) / published
    p50, p99 = (spent[int(len(spent) * share)] * 1000 for share in (0.5, 0.99))
    size = sum(map(len, entries)) // len(entries)
    print(f"log append: {len(entries):,} entries of {size} bytes, {WRITERS} writers, {BATCH} a request")
    figure("acknowledged (durable order)", len(entries) / acknowledged, "entries/s")
    figure("under a signed checkpoint", rate, "entries/s", at_least(FLOOR))
    figure("for one second of processor", len(entries) / busy, "entries")
    figure("one request, p50", p50, "ms")
    figure("one request, p99", p99, "ms")
    peer = "pymerkle, in memory"
    count = min(len(entries), PEER_ENTRIES)
    try:
        found = peers.run("pymerkle", "peer_pymerkle.py", str(count), str(size))
    except peers.MissingError as error:
        no_peer(peer, str(error))
    else:
        note = "(ours parses, writes, syncs and signs as well)"
        ratio(f"{peer}: entries of one core, all of the log", len(entries) / busy, found["entries"], note=note)
        tree, prove_us = tree_alone(entries[:count])
        ratio(f"{peer}: entries of one core, the tree alone", tree, found["entries"])
        ratio(f"{peer}: inclusion proofs", found["proof_us"], prove_us)
    return 0 if rate >= FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())
