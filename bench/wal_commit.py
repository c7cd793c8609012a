"""Group commit: latency alone, throughput together, inline against a writer thread.

Run: ``python bench/wal_commit.py [folder]``. Prints one line a case; the folder should be on the disk that matters. No
value is wanted and there is no peer: it is here to choose between our own two ways.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wal import GroupCommit, WriteAheadLog

PAYLOAD = b"x" * 900


async def measure(root: Path, mode: Literal["inline", "thread"], tasks: int, each: int) -> str:
    committer = GroupCommit(WriteAheadLog(FileStorage(root / f"{mode}-{tasks}"), "wal"), mode=mode)
    spent: list[float] = []

    async def worker() -> None:
        for _ in range(each):
            started = time.perf_counter()
            await committer.commit(1, PAYLOAD)
            spent.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(tasks)))
    seconds = time.perf_counter() - started
    await committer.close()
    spent.sort()
    p50, p99 = (spent[int(len(spent) * share)] * 1e6 for share in (0.5, 0.99))
    return f"{mode:7} c={tasks:<3} {len(spent) / seconds:9,.0f} commits/s   p50 {p50:7.0f} us   p99 {p99:7.0f} us"


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    modes: tuple[Literal["inline", "thread"], ...] = ("inline", "thread")
    with tempfile.TemporaryDirectory(dir=folder) as root:
        for mode in modes:
            for tasks, each in ((1, 2000), (64, 150)):
                sys.stdout.write(asyncio.run(measure(Path(root), mode, tasks, each)) + "\n")


if __name__ == "__main__":
    main()
