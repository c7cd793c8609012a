"""What every store of blobs keeps (ports/blobs.py): the local disk, a disk that forgets unsynced writes, and Walrus.

Walrus is the blob store of this project behind its HTTP API, with and without sealing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.adapters.blobs_files import FileBlobs
from holdfast.adapters.blobs_walrus import WalrusBlobs
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core.encoding import sha256_hex
from holdfast.errors import MalformedError, UnavailableError
from holdfast.ports.blobs import Blobs
from holdfast.ports.storage import Storage
from tests.helpers import walrus
from tests.helpers.log import AppHTTP


@dataclass(frozen=True)
class Store:
    """Opens the same store again and again, and knows where it keeps the content."""

    open: Callable[[], Blobs]
    content: Callable[[], Storage]
    folder: str = "blobs"


def on_walrus(secret: bytes | None = None, *, near: bool = False) -> Store:
    there, here = SimulatedDisk(), SimulatedDisk()
    mount = there.mount

    def opened() -> Blobs:
        http = AppHTTP({walrus.URL: walrus.make_store(mount())})
        own = here.mount()
        near_by = FileBlobs(own) if near else None
        return WalrusBlobs(walrus.make_network(http), own, secret=secret, near=near_by)

    return Store(opened, here.mount if near else mount)


@pytest.fixture(params=["files", "simulated", "walrus", "walrus-sealed", "walrus-near"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "files":
        return Store(lambda: FileBlobs(FileStorage(tmp_path / "root")), lambda: FileStorage(tmp_path / "root"))
    if request.param == "simulated":
        disk = SimulatedDisk()
        return Store(lambda: FileBlobs(disk.mount()), disk.mount)
    secret = bytes(32) if request.param == "walrus-sealed" else None
    return on_walrus(secret, near=request.param == "walrus-near")


def names_below(storage: Storage, folder: str) -> list[str]:
    """Files two levels below, which is where every store here keeps them."""
    prefixes = [f"{folder}/{first}{second}" for first in ALPHABET for second in ALPHABET]
    return [f"{prefix}/{name}" for prefix in prefixes for name in storage.list_names(prefix)]


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.mark.parametrize("digest", ["", "ab", "A" * 64, "../" + "a" * 61, "g" * 64, "a" * 63])
def test_a_name_that_is_no_digest_is_refused(store: Store, digest: str) -> None:
    with pytest.raises(MalformedError) as caught:
        asyncio.run(store.open().get(digest))
    assert caught.value.code == "encoding.hex"


def test_a_damaged_blob_is_an_error_and_never_content(store: Store) -> None:
    digest = asyncio.run(store.open().put(b"content"))
    storage = store.content()
    (name,) = names_below(storage, store.folder)
    kept = storage.load(name)
    assert kept is not None
    storage.save(name, kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(UnavailableError) as caught:
        asyncio.run(store.open().get(digest))
    assert caught.value.code in {"blob.corrupt", "walrus.unavailable"}


def test_an_unknown_blob_is_nothing(store: Store) -> None:
    assert asyncio.run(store.open().get("0" * 64)) is None


@pytest.mark.parametrize("data", [b"", b"x", b"content" * 10_000], ids=["empty", "small", "large"])
def test_a_blob_is_found_by_its_digest_after_opening_again(store: Store, data: bytes) -> None:
    blobs = store.open()
    assert asyncio.run(blobs.put(data)) == sha256_hex(data)
    assert asyncio.run(blobs.put(data)) == sha256_hex(data)
    assert asyncio.run(store.open().get(sha256_hex(data))) == data
