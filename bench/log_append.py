"""Log append: entries a second from parsed requests to a signed, durable checkpoint, with fdatasync.

Run: ``python bench/log_append.py [--entries N] [--folder DIR]``. Batches of 256 envelopes of about 700 bytes, eight
writers at once, everything a writer's request passes through but HTTP: parsing, dedup, the write-ahead log, tiles,
checkpoints. The folder should be on the disk that matters. Floor: 20,000 entries/s.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519

from holdfast.adapters.blobs_files import FileBlobs
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.signer_files import FileSigner
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.core import statements
from holdfast.core.encoding import sha256, sha256_hex
from holdfast.nodes.log.config import LogConfig
from holdfast.nodes.log.service import LogService
from holdfast.ports.storage import Committer, RecordLog

BATCH = 256
WRITERS = 8
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
    sys.stdout.write(
        f"log append: {len(entries):,} entries of {size} bytes, {WRITERS} writers, {BATCH} a request\n"
        f"  acknowledged (durable order)    {len(entries) / acknowledged:10,.0f} entries/s\n"
        f"  under a signed checkpoint       {rate:10,.0f} entries/s   ({rate / FLOOR:.1f} x the floor of {FLOOR:,})\n"
        f"  for one second of processor     {len(entries) / busy:10,.0f} entries\n"
        f"  one request                     p50 {p50:.1f} ms   p99 {p99:.1f} ms\n"
    )
    return 0 if rate >= FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())
