"""What every store of blobs keeps (ports/blobs.py): the local disk, one that forgets unsynced writes, Walrus, and S3.

Walrus is the blob store of this project behind its HTTP API, with and without sealing; S3 is moto's server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.adapters.blobs_files import FileBlobs
from holdfast.adapters.blobs_s3 import S3Blobs, make_client
from holdfast.adapters.blobs_walrus import WalrusBlobs
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core.encoding import sha256_hex
from holdfast.errors import MalformedError, UnavailableError, UsageError
from holdfast.ports.blobs import Blobs
from holdfast.ports.storage import Storage
from tests.helpers import s3, walrus
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


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3.server() as url:
        yield url


NO_S3 = pytest.mark.skipif(not s3.PYTHON, reason=s3.WHY_NOT)


@pytest.fixture(
    params=[
        "files",
        "simulated",
        "walrus",
        "walrus-sealed",
        "walrus-near",
        pytest.param("s3", marks=[NO_S3, pytest.mark.enable_socket]),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        url = request.getfixturevalue("s3_url")
        name = sha256_hex(request.node.name.encode())[:32]
        s3.client(url).create_bucket(Bucket=name)
        return Store(
            lambda: S3Blobs(s3.client(url), name, "blobs/"),
            lambda: s3.Bucket(url, name),  # type: ignore[arg-type,return-value]
        )
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


@NO_S3
@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("bucket", "endpoint"), [("missing", None), ("models", "http://127.0.0.1:1")], ids=["no-bucket", "nobody"]
)
def test_an_s3_store_that_says_no_is_unavailable(s3_url: str, bucket: str, endpoint: str | None) -> None:
    blobs = S3Blobs(s3.client(endpoint or s3_url), bucket)
    for work in (blobs.put(b"x"), blobs.get("0" * 64)):
        with pytest.raises(UnavailableError) as caught:
            asyncio.run(work)
        assert caught.value.code == "blob.s3"


def test_half_a_key_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        make_client(None, "us-east-1", "key", None)
    assert caught.value.code == "blob.s3_keys"
