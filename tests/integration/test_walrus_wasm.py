"""Ids over a grid of sizes and shards, against Walrus' own encoder. ``HOLDFAST_WALRUS`` names its ``node_modules``."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from holdfast.core.walrus import blob_id, encode_id, encoding_of

MODULES = os.environ.get("HOLDFAST_WALRUS", "")
SCRIPT = Path(__file__).parents[2] / "bench" / "peer_walrus.cjs"
SIZES = (0, 1, 2, 3, 27, 28, 29, 55, 56, 57, 100, 1024, 5000, 65_537, 1 << 20)
WIDE = {100: (0, 1, 4555, 4556, 4557, 300_000, 1 << 20, 1 << 22), 1000: (1, 445_556, 445_557, 1 << 22)}
NARROW = dict.fromkeys((4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 31, 64), SIZES)
GRID = [
    (shards, size)
    for shards, sizes in (NARROW | WIDE).items()
    for size in sizes
    if size <= encoding_of(shards).max_blob_bytes
]


@pytest.mark.slow
@pytest.mark.skipif(not MODULES or not shutil.which("node"), reason="HOLDFAST_WALRUS names no packages, or no Node.js")
def test_every_id_is_that_of_the_official_encoder(tmp_path: Path) -> None:
    files = {size: tmp_path / str(size) for _, size in GRID}
    for size, path in files.items():
        path.write_bytes(hashlib.shake_128(f"grid{size}".encode()).digest(size))
    lines = "\n".join(f"{shards} {files[size]} 1" for shards, size in GRID)
    command = ["node", str(SCRIPT), MODULES]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=300, check=True)
    theirs = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    assert len(theirs) == len(GRID)
    ours = [encode_id(blob_id(files[size].read_bytes(), shards)) for shards, size in GRID]
    different = [case for case, our, their in zip(GRID, ours, theirs, strict=True) if our != their]
    assert different == []
