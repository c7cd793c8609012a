"""What every store of blobs keeps (ports/blobs.py), over the local disk and a disk that forgets unsynced writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.adapters.blobs_files import FileBlobs
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core.encoding import sha256_hex
from holdfast.errors import MalformedError, UnavailableError
from holdfast.ports.blobs import Blobs
from holdfast.ports.storage import Storage


@pytest.fixture(params=["files", "simulated"])
def mount(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Storage]:
    """Something that opens the same storage again and again."""
    if request.param == "files":
        return lambda: FileStorage(tmp_path / "root")
    return SimulatedDisk().mount


@pytest.mark.parametrize("digest", ["", "ab", "A" * 64, "../" + "a" * 61, "g" * 64, "a" * 63])
def test_a_name_that_is_no_digest_is_refused(mount: Callable[[], Storage], digest: str) -> None:
    with pytest.raises(MalformedError) as caught:
        asyncio.run(FileBlobs(mount()).get(digest))
    assert caught.value.code == "encoding.hex"


def test_a_damaged_blob_is_an_error_and_never_content(mount: Callable[[], Storage]) -> None:
    storage = mount()
    digest = asyncio.run(FileBlobs(storage).put(b"content"))
    storage.save(f"blobs/{digest[:2]}/{digest[2:]}", b"c0ntent")
    with pytest.raises(UnavailableError) as caught:
        asyncio.run(FileBlobs(mount()).get(digest))
    assert caught.value.code == "blob.corrupt"


def test_an_unknown_blob_is_nothing(mount: Callable[[], Storage]) -> None:
    assert asyncio.run(FileBlobs(mount()).get("0" * 64)) is None


@pytest.mark.parametrize("data", [b"", b"x", b"content" * 10_000], ids=["empty", "small", "large"])
def test_a_blob_is_found_by_its_digest_after_opening_again(mount: Callable[[], Storage], data: bytes) -> None:
    blobs: Blobs = FileBlobs(mount())
    assert asyncio.run(blobs.put(data)) == sha256_hex(data)
    assert asyncio.run(blobs.put(data)) == sha256_hex(data)
    assert asyncio.run(FileBlobs(mount()).get(sha256_hex(data))) == data
