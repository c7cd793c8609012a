"""Ids of Walrus blobs, beside the official WebAssembly in the same run: one core, processor time, best of several.

Both compute every id, small ones often enough that its compiler is done with them; ids that differ end the bench.
Figures wanted: at least its speed with 10 and 100 shards, and at most 1.3 times its time with 1000. For a kibibyte on
10 shards that is out of Python's reach: 342 hashes take as long as all of it takes there.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from pathlib import Path

import peers  # beside this file
from figures import at_least, figure, no_peer, ratio

from holdfast.core.walrus import blob_id, encode_id

GRID = (
    (10, 1 << 10),
    (10, 1 << 20),
    (100, 1 << 10),
    (100, 1 << 20),
    (100, 1 << 24),
    (1000, 1 << 10),
    (1000, 1 << 20),
    (1000, 1 << 24),
)
"""Shards and bytes."""


def runs_of(shards: int, size: int) -> int:
    """How often each is computed: small ones often enough that the first does not count."""
    return 2 if shards == 1000 else 3 if size > 1 << 22 else 60


def main() -> None:
    """Print the figures."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = {size: Path(folder) / str(size) for _, size in GRID}
        for size, path in files.items():
            path.write_bytes(hashlib.shake_128(f"walrus{size}".encode()).digest(size))
        lines = [f"{shards} {files[size]} {runs_of(shards, size)}" for shards, size in GRID]
        try:
            theirs = peers.run_node("walrus-wasm", "peer_walrus.cjs", "\n".join(lines))
        except peers.MissingError as error:
            theirs = []
            no_peer("the official WebAssembly", str(error))
        for number, (shards, size) in enumerate(GRID):
            data = files[size].read_bytes()
            best, identifier = float("inf"), b""
            for _ in range(runs_of(shards, size)):
                began = time.process_time()
                identifier = blob_id(data, shards)
                best = min(best, time.process_time() - began)
            name = f"{shards} shards, {size:,} bytes"
            figure(name, best * 1e3, "ms")
            if theirs:
                if theirs[number]["id"] != encode_id(identifier):
                    sys.exit(f"{name}: the ids differ")
                wanted = at_least(1 / 1.3 if shards == 1000 else 1)
                ratio("the official WebAssembly, same id", 1 / best, 1e3 / theirs[number]["ms"], wanted)


if __name__ == "__main__":
    main()
