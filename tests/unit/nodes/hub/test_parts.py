"""Whole files in a store: cut, sealed where there is a secret, checked when they come back; and uploads nobody ends."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.adapters.blobs_files import FileBlobs
from holdfast.adapters.blobs_walrus import WalrusBlobs
from holdfast.adapters.storage_files import FileStorage
from holdfast.core.encoding import sha256_hex
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.hub import parts as parts_module
from holdfast.nodes.hub.parts import FileParts, check_secret
from holdfast.ports.blobs import Blobs
from holdfast.ports.storage import Storage
from tests.helpers import walrus
from tests.helpers.asgi import request
from tests.helpers.hub import ADA, Hub, safetensors
from tests.helpers.log import AppHTTP

SECRET = b"s" * 32
FILES = {"config.json": b'{"secret": "recipe"}', "w.safetensors": safetensors(a=tuple(float(i) for i in range(500)))}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "PART_BYTES", 256)


class Forgetful(FileBlobs):
    """Loses what it took, or refuses to take anything."""

    lost = False
    full = False

    async def put(self, data: bytes) -> str:
        if self.full:
            raise UnavailableError("blob.s3", "no room")
        return await super().put(data)

    async def get(self, digest: str) -> bytes | None:
        return None if self.lost else await super().get(digest)


def stored(folder: Path, name: str) -> list[bytes]:
    return [path.read_bytes() for path in (folder / name).rglob("*") if path.is_file()]


def with_store(
    tmp_path: Path,
    story: Callable[[Hub], Awaitable[None]],
    *,
    secret: bytes | None = None,
    store: Callable[[Storage], Blobs] | None = None,
) -> None:
    def make(storage: Storage) -> FileParts:
        there = FileBlobs(FileStorage(tmp_path / "store"), "b") if store is None else store(storage)
        return FileParts(storage, there, secret)

    async def body() -> None:
        hub = Hub(tmp_path / "hub", parts=make)
        try:
            await story(hub)
        finally:
            await hub.close()

    asyncio.run(body())


async def fetched(hub: Hub, artifact: str, name: str, begin: int | None = None) -> bytes:
    headers = [] if begin is None else [("range", f"bytes={begin}-")]
    reply = await request(hub.app, "GET", f"/v1/hub/artifacts/{artifact}/files/{name}", headers=headers)
    assert reply.status == (200 if begin is None else 206)
    return reply.body


@pytest.mark.parametrize("secret", [None, SECRET])
def test_what_is_pushed_comes_back_whole_and_from_an_offset(tmp_path: Path, secret: bytes | None) -> None:
    async def story(hub: Hub) -> None:
        artifact = (await hub.push(FILES))["artifact"]
        for name, data in FILES.items():
            assert await fetched(hub, artifact, name) == data
        data = FILES["w.safetensors"]
        for begin in (1, 255, 256, 257, len(data) - 1):
            assert await fetched(hub, artifact, "w.safetensors", begin) == data[begin:]
        other = (await hub.push({**FILES, "w.safetensors": safetensors(a=(1.0,))}))["artifact"]
        assert (await hub.service.diff(artifact, other))["tensors"][0]["change"] == "changed"
        again = await hub.restart()
        assert await fetched(again, artifact, "config.json") == FILES["config.json"]
        assert (await again.send(FILES["config.json"])) == sha256_hex(FILES["config.json"])
        await again.close()

    with_store(tmp_path, story, secret=secret)
    assert not stored(tmp_path / "hub", "blobs")
    assert not stored(tmp_path / "hub", "uploads")


def test_with_a_secret_no_byte_of_a_file_lies_anywhere(tmp_path: Path) -> None:
    async def story(hub: Hub) -> None:
        await hub.push(FILES)

    with_store(tmp_path, story, secret=SECRET)
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [data for data in kept if b"recipe" in data or FILES["w.safetensors"][-64:] in data]
    assert stored(tmp_path / "store", "b")


def test_an_empty_file_is_kept_too(tmp_path: Path) -> None:
    async def story(hub: Hub) -> None:
        artifact = (await hub.push({"empty.txt": b""}))["artifact"]
        assert await fetched(hub, artifact, "empty.txt") == b""

    with_store(tmp_path, story, secret=SECRET)


def test_on_walrus_too(tmp_path: Path) -> None:
    def make(storage: Storage) -> Blobs:
        return WalrusBlobs(walrus.make_network(AppHTTP({walrus.URL: walrus.make_store()})), storage)

    async def story(hub: Hub) -> None:
        artifact = (await hub.push(FILES))["artifact"]
        assert await fetched(hub, artifact, "w.safetensors") == FILES["w.safetensors"]

    with_store(tmp_path, story, secret=SECRET, store=make)


@pytest.mark.parametrize("secret", [None, SECRET])
def test_a_damaged_part_is_never_content(tmp_path: Path, secret: bytes | None) -> None:
    async def story(hub: Hub) -> None:
        digest = await hub.send(FILES["config.json"])
        (path,) = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        with pytest.raises(HoldfastError, match=r"blob\.corrupt"):
            await asyncio.to_thread(hub.files.read, digest, 0, 10)

    with_store(tmp_path, story, secret=secret)


def test_another_secret_opens_nothing(tmp_path: Path) -> None:
    async def first(hub: Hub) -> None:
        await hub.send(FILES["config.json"])

    async def second(hub: Hub) -> None:
        with pytest.raises(HoldfastError, match=r"blob\.sealed"):
            await asyncio.to_thread(hub.files.read, sha256_hex(FILES["config.json"]), 0, 10)

    with_store(tmp_path, first, secret=SECRET)
    with_store(tmp_path, second, secret=b"t" * 32)


def test_what_a_store_lost_says_so_and_what_it_refused_can_be_tried_again(tmp_path: Path) -> None:
    store = Forgetful(FileStorage(tmp_path / "store"), "b")
    data = FILES["w.safetensors"]

    async def story(hub: Hub) -> None:
        digest, store.full = sha256_hex(data), True
        await hub.ask("POST", "/v1/hub/uploads", {"digest": digest, "size": len(data)})
        reply = await request(hub.app, "PUT", f"/v1/hub/uploads/{digest}?offset=0&size={len(data)}", data, [ADA])
        assert reply.code == "blob.s3"
        assert hub.files.size(digest) is None
        store.full = False
        reply = await hub.ask("POST", "/v1/hub/uploads", {"digest": digest, "size": len(data)})
        assert reply.json()["complete"], "nothing is sent a second time"
        assert hub.files.size(digest) == len(data)
        store.lost = True
        with pytest.raises(HoldfastError, match=r"blob\.lost"):
            await asyncio.to_thread(hub.files.read, digest, 0, 10)

    with_store(tmp_path, story, store=lambda _: store)


def test_an_upload_that_ended_before_it_was_moved_is_moved(tmp_path: Path) -> None:
    async def body() -> None:
        hub = Hub(tmp_path)
        digest = sha256_hex(b"whole")
        (tmp_path / "uploads").mkdir(exist_ok=True)
        (tmp_path / "uploads" / digest).write_bytes(b"whole")
        reply = await hub.ask("POST", "/v1/hub/uploads", {"digest": digest, "size": 5})
        assert reply.json() == {"digest": digest, "offset": 5, "complete": True}
        assert hub.files.size(digest) == 5
        wrong = sha256_hex(b"other")
        (tmp_path / "uploads" / wrong).write_bytes(b"whole")
        assert (await hub.ask("POST", "/v1/hub/uploads", {"digest": wrong, "size": 5})).code == "artifact.digest"
        await hub.close()

    asyncio.run(body())


@pytest.mark.parametrize("damage", [b"{}", b'{"size":1,"part_bytes":1,"parts":[1]}', b"[]", b"\x00"])
def test_a_damaged_list_is_no_file(tmp_path: Path, damage: bytes) -> None:
    async def story(hub: Hub) -> None:
        digest = await hub.send(FILES["config.json"])
        (path,) = [path for path in (tmp_path / "hub" / "parts").rglob("*") if path.is_file()]
        path.write_bytes(damage)
        with pytest.raises(HoldfastError) as caught:
            hub.files.size(digest)
        assert caught.value.code.startswith(("hub.state", "json."))

    with_store(tmp_path, story)


def test_a_store_is_not_asked_before_the_hub_is_started(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    storage.save("file", b"x")
    parts = FileParts(storage, FileBlobs(storage))
    with pytest.raises(UnavailableError, match=r"hub\.state"):
        parts.keep(sha256_hex(b"x"), 1, storage.open("file"))


def test_a_secret_has_its_size() -> None:
    assert check_secret(SECRET) == SECRET
    with pytest.raises(HoldfastError, match=r"blob\.secret"):
        check_secret(b"short")


# --- uploads that nobody ends -----------------------------------------------------------------------------------------

DAY = dt.timedelta(days=1)


def test_an_upload_that_nobody_goes_on_with_is_thrown_away(tmp_path: Path) -> None:
    async def body() -> None:
        hub = Hub(tmp_path)
        now = hub.clock.now()
        for data in (b"aaaa", b"bbbb"):
            digest = sha256_hex(data)
            await hub.ask("POST", "/v1/hub/uploads", {"digest": digest, "size": 4})
            await request(hub.app, "PUT", f"/v1/hub/uploads/{digest}?offset=0&size=4", data[:2], [ADA])
        assert hub.files.sweep(now, 7) == 0
        assert hub.files.sweep(now + 6 * DAY, 7) == 0
        second = sha256_hex(b"bbbb")
        await request(hub.app, "PUT", f"/v1/hub/uploads/{second}?offset=2&size=4", b"b", [ADA])
        assert hub.files.sweep(now + 6.5 * DAY, 7) == 0
        hub = await hub.restart()
        assert hub.files.sweep(now + 7 * DAY, 7) == 1, "it counts over a restart"
        assert [path.name for path in (tmp_path / "uploads").iterdir()] == [second], "what grew stays"
        assert hub.files.begin(sha256_hex(b"aaaa"), 4) == 0
        assert await hub.send(b"aaaa") == sha256_hex(b"aaaa")
        assert hub.files.sweep(now + 14 * DAY, 7) == 1
        await hub.close()

    asyncio.run(body())


def test_an_upload_that_is_written_to_right_now_stays(tmp_path: Path) -> None:
    async def body() -> None:
        hub = Hub(tmp_path)
        digest = sha256_hex(b"aaaa")
        hub.files.begin(digest, 4)
        assert hub.files.sweep(hub.clock.now(), 1) == 0
        with hub.files._open[digest].lock:
            assert hub.files.sweep(hub.clock.now() + DAY, 1) == 0
        assert hub.files.sweep(hub.clock.now() + DAY, 1) == 1
        await hub.close()

    asyncio.run(body())
