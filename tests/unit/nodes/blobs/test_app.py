"""The blob store over HTTP: what it refuses, and what a publisher and an aggregator of Walrus answer."""

import asyncio
import json

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core import quilt, walrus
from holdfast.core.quilt import Patch
from tests.helpers import asgi
from tests.helpers.walrus import SHARDS, TOKEN, make_store

WRITER = [("authorization", f"Bearer {TOKEN.reveal()}")]
DATA = b"content of a model"
ID = walrus.encode_id(walrus.blob_id(DATA, SHARDS))


def call(app, method: str, path: str, body: bytes = b"", headers=()) -> asgi.Reply:
    return asyncio.run(asgi.request(app, method, path, body, list(headers)))


def test_nobody_writes_without_the_token() -> None:
    app = make_store()
    for headers in ([], [("authorization", "Bearer other")]):
        assert call(app, "PUT", "/v1/blobs", DATA, headers).status == 401
    assert call(make_store(token=None), "PUT", "/v1/blobs", DATA, WRITER).status == 401
    assert call(app, "GET", f"/v1/blobs/{ID}").code == "blob.missing"


@pytest.mark.parametrize("epochs", ["0", "-1", "x", "1e3", ""])
def test_epochs_are_a_number(epochs: str) -> None:
    assert call(make_store(), "PUT", f"/v1/blobs?epochs={epochs}", DATA, WRITER).code == "blob.epochs"


def test_a_blob_that_is_too_large_is_refused() -> None:
    assert call(make_store(blob_bytes=1024), "PUT", "/v1/blobs", bytes(1025), WRITER).status == 413


@pytest.mark.parametrize("path", ["AAAA", "A" * 43 + "=", "../" + "A" * 40, "by-quilt-patch-id/AAAA"])
def test_what_is_no_id_is_refused(path: str) -> None:
    assert call(make_store(), "GET", f"/v1/blobs/{path}").status in {400, 404}


def test_a_damaged_file_is_an_error_and_never_content() -> None:
    storage = SimulatedDisk().mount()
    app = make_store(storage)
    call(app, "PUT", "/v1/blobs", DATA, WRITER)
    storage.save(f"blobs/{ID[:2]}/{ID[2:]}", bytes(32) + DATA)
    assert call(app, "GET", f"/v1/blobs/{ID}").code == "blob.corrupt"


def test_a_blob_is_new_once_and_its_answer_is_that_of_a_publisher() -> None:
    app = make_store()
    first = call(app, "PUT", "/v1/blobs?epochs=10", DATA, WRITER).json()
    created = first["newlyCreated"]["blobObject"]
    assert created["blobId"] == ID
    assert created["size"] == len(DATA)
    assert created["storage"]["endEpoch"] == 10
    assert created["storage"]["storageSize"] == walrus.encoding_of(SHARDS).encoded_bytes(len(DATA))
    again = call(app, "PUT", "/v1/blobs?epochs=10", DATA, WRITER).json()
    assert again == {"alreadyCertified": {"blobId": ID, "endEpoch": 10}}


def test_a_blob_is_read_by_its_id_and_may_be_kept_for_ever() -> None:
    app = make_store()
    call(app, "PUT", "/v1/blobs", DATA, WRITER)
    reply = call(app, "GET", f"/v1/blobs/{ID}")
    assert reply.body == DATA
    assert "immutable" in (reply.header("cache-control") or "")


def test_patches_are_read_by_their_ids_and_by_their_names() -> None:
    app = make_store()
    raw, placed = quilt.build_quilt([Patch("a/b", b"first"), Patch("c", b"second")], SHARDS)
    call(app, "PUT", "/v1/blobs", raw, WRITER)
    identifier = walrus.blob_id(raw, SHARDS)
    for item in placed:
        patch_id = quilt.encode_patch_id(identifier, item.start, item.end)
        assert call(app, "GET", f"/v1/blobs/by-quilt-patch-id/{patch_id}").body == item.patch.data
        named = f"/v1/blobs/by-quilt-id/{walrus.encode_id(identifier)}/{item.patch.identifier}"
        assert call(app, "GET", named).body == item.patch.data
    missing = quilt.encode_patch_id(identifier, 5, 6)
    assert call(app, "GET", f"/v1/blobs/by-quilt-patch-id/{missing}").code == "blob.missing"


def test_a_blob_that_is_no_quilt_has_no_patches() -> None:
    app = make_store()
    call(app, "PUT", "/v1/blobs", DATA, WRITER)
    assert call(app, "GET", f"/v1/blobs/by-quilt-id/{ID}/a").code == "walrus.quilt"


def test_the_store_says_for_how_many_shards_it_computes() -> None:
    assert json.loads(call(make_store(), "GET", "/v1/store").body)["shards"] == SHARDS
