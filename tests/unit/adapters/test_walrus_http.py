"""Walrus over HTTP: neither publisher nor aggregator is believed. Refusals first."""

import asyncio
import json
from dataclasses import replace

import pytest

from holdfast.adapters.blobs_walrus import WalrusBlobs
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core import walrus
from holdfast.core.encoding import sha256_hex
from holdfast.core.quilt import Patch, encode_patch_id, parse_patch_id
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.ports.http import Answer
from tests.helpers.log import AppHTTP
from tests.helpers.walrus import SHARDS, URL, LyingHTTP, make_network, make_store

OTHER = walrus.encode_id(walrus.blob_id(b"another", SHARDS))


def code_of(call) -> str:
    with pytest.raises(HoldfastError) as caught:
        asyncio.run(call)
    return caught.value.code


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body[:-1] + bytes([body[-1] ^ 1]),
        lambda body: body[:-1],
        lambda body: body + b"\x00",
        lambda body: b"",
    ],
    ids=["one-bit", "cut", "padded", "empty"],
)
def test_what_an_aggregator_changes_is_never_handed_out(change) -> None:
    http = LyingHTTP(make_store(), "GET", lambda answer: replace(answer, body=change(answer.body)))
    network = make_network(http)
    identifier = asyncio.run(network.store(b"content of a model"))
    assert code_of(network.fetch(identifier)) == "walrus.mismatch"


def test_a_publisher_that_stores_something_else_is_refused() -> None:
    said = json.dumps({"alreadyCertified": {"blobId": OTHER}}).encode()
    network = make_network(LyingHTTP(make_store(), "PUT", lambda answer: replace(answer, body=said)))
    assert code_of(network.store(b"content")) == "walrus.publisher"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"newlyCreated":{}}',
        b'{"newlyCreated":{"blobObject":{"blobId":7}}}',
        b'{"alreadyCertified":[]}',
    ],
)
def test_an_answer_that_names_no_blob_is_refused(body: bytes) -> None:
    network = make_network(LyingHTTP(make_store(), "PUT", lambda answer: replace(answer, body=body)))
    assert code_of(network.store(b"content")) == "walrus.answer"


@pytest.mark.parametrize(
    ("status", "code"), [(500, "walrus.unavailable"), (429, "walrus.unavailable"), (403, "walrus.refused")]
)
def test_a_status_is_no_content(status: int, code: str) -> None:
    for method, call in (("PUT", lambda network: network.store(b"x")), ("GET", lambda network: network.fetch(OTHER))):
        http = LyingHTTP(make_store(), method, lambda answer: Answer(status, b"content"))
        assert code_of(call(make_network(http))) == code


def test_without_a_publisher_nothing_is_sent() -> None:
    http = AppHTTP({URL: make_store()})
    assert code_of(make_network(http, publisher="").store(b"content")) == "walrus.config"
    assert http.requests == []


def test_a_writer_without_the_token_is_refused() -> None:
    assert code_of(make_network(token=None).store(b"content")) == "walrus.refused"


def test_an_id_in_another_spelling_is_refused_before_anything_is_sent() -> None:
    http = AppHTTP({URL: make_store()})
    assert code_of(make_network(http).fetch("A" * 42 + "/")) == "walrus.id"
    assert http.requests == []


def test_a_network_of_another_size_says_another_id() -> None:
    network = make_network(shards=13)
    assert code_of(network.store(b"content")) == "walrus.publisher"


def test_a_blob_that_nobody_has_is_nothing() -> None:
    assert asyncio.run(make_network().fetch(OTHER)) is None


def test_patches_come_out_of_a_quilt_that_was_checked() -> None:
    network = make_network()
    patches = [Patch("card", b"# A model", {"kind": "text"}), Patch("manifest", b"{}")]

    async def scenario() -> None:
        ids = await network.store_quilt(patches)
        assert [await network.fetch_patch(ids[patch.identifier]) for patch in patches] == patches
        blob, start, _ = walrus.parse_id(OTHER), 1, 2
        assert await network.fetch_patch(_patch_id(blob, start)) is None

    asyncio.run(scenario())


def test_columns_without_a_patch_are_refused() -> None:
    network = make_network()

    async def scenario() -> None:
        ids = await network.store_quilt([Patch("one", b"1")])
        quilt_id = walrus.parse_id(await network.store((await network.fetch(_blob_of(ids["one"]))) or b""))
        await network.fetch_patch(_patch_id(quilt_id, 5))

    with pytest.raises(RefusedError) as caught:
        asyncio.run(scenario())
    assert caught.value.code == "walrus.patch"


def _patch_id(blob: bytes, start: int) -> str:
    return encode_patch_id(blob, start, start + 1)


def _blob_of(patch_id: str) -> str:
    return walrus.encode_id(parse_patch_id(patch_id)[0])


def test_blobs_that_the_aggregator_lost_are_said_to_be_lost() -> None:
    app = make_store()
    http = AppHTTP({URL: app})
    blobs = WalrusBlobs(make_network(http), SimulatedDisk().mount())
    digest = asyncio.run(blobs.put(b"content"))
    http.apps[URL] = make_store()
    with pytest.raises(UnavailableError) as caught:
        asyncio.run(blobs.get(digest))
    assert caught.value.code == "blob.lost"


def test_what_is_sealed_stands_nowhere_in_the_open() -> None:
    disk = SimulatedDisk()
    content = b"weights that nobody else should read" * 4
    http = AppHTTP({URL: make_store(disk.mount())})
    blobs = WalrusBlobs(make_network(http), SimulatedDisk().mount(), secret=bytes(range(32)))
    digest = asyncio.run(blobs.put(content))
    identifier = blobs.walrus_id(digest)
    assert identifier is not None
    stored = asyncio.run(make_network(http).fetch(identifier))
    assert stored is not None
    assert content[:16] not in stored
    other = WalrusBlobs(make_network(http), SimulatedDisk().mount(), secret=bytes(32))
    other._storage.save(f"walrus/{digest[:2]}/{digest[2:]}", identifier.encode())
    with pytest.raises(RefusedError) as caught:
        asyncio.run(other.get(digest))
    assert caught.value.code == "blob.sealed"


def test_a_record_that_is_damaged_is_an_error() -> None:
    storage = SimulatedDisk().mount()
    blobs = WalrusBlobs(make_network(), storage)
    digest = sha256_hex(b"content")
    storage.save(f"walrus/{digest[:2]}/{digest[2:]}", b"no id")
    with pytest.raises(UnavailableError) as caught:
        asyncio.run(blobs.get(digest))
    assert caught.value.code == "blob.corrupt"


def test_an_address_with_an_impossible_number_of_shards_is_refused_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        make_network(shards=3)
    assert caught.value.code == "walrus.shards"
    assert issubclass(MalformedError, HoldfastError)
