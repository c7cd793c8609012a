"""The log's HTTP shape: who may write, what is cached, and that every refusal has the one error shape."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core import notes, tiles
from holdfast.core.encoding import b64_encode, sha256_hex
from holdfast.nodes.edge import Edge
from holdfast.nodes.log.app import FRESH, IMMUTABLE, create_app
from tests.helpers import asgi
from tests.helpers import log as helper
from tests.helpers.clock import FakeClock
from tests.helpers.log import commitment, digest, entry

AUTH = [("authorization", f"Bearer {helper.TOKEN}")]


def run(scenario: Callable[[Edge], Awaitable[None]], **settings: object) -> None:
    async def life() -> None:
        clock = FakeClock()
        service = helper.make_service(SimulatedDisk().mount(), clock, helper.config(**settings))
        app = create_app(service, lambda: b"metrics")
        async with asgi.running(app):
            await scenario(app)

    asyncio.run(life())


async def post(app: Edge, value: object, headers: Sequence[tuple[str, str]] = AUTH) -> asgi.Reply:
    return await asgi.request(app, "POST", "/v1/entries", json.dumps(value).encode(), headers)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "auth.missing"),
        ([("authorization", "Basic abc")], "auth.missing"),
        ([("authorization", "Bearer ")], "auth.missing"),
        ([("authorization", "Bearer wrong")], "auth.wrong"),
        ([("authorization", f"Bearer {helper.TOKEN}x")], "auth.wrong"),
        ([("authorization", "Bearer wörng")], "auth.wrong"),
    ],
)
def test_writing_needs_the_token(headers: list[tuple[str, str]], code: str) -> None:
    async def scenario(app: Edge) -> None:
        for method, target in (("POST", "/v1/entries"), ("PUT", "/v1/blobs")):
            reply = await asgi.request(app, method, target, b"{}", headers)
            assert (reply.status, reply.code) == (401, code)

    run(scenario)


def test_without_a_configured_token_nobody_writes() -> None:
    async def scenario(app: Edge) -> None:
        reply = await post(app, {"entries": []})
        assert (reply.status, reply.code) == (401, "auth.wrong")

    run(scenario, token=None)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "json.syntax"),
        (b"[]", 400, "json.object"),
        (b"{}", 400, "log.request"),
        (b'{"entries":{}}', 400, "log.request"),
        (b'{"entries":[],"more":1}', 400, "log.request"),
        (b'{"entries":[1]}', 400, "encoding.base64"),
        (b'{"entries":["*"]}', 400, "encoding.base64"),
        (b'{"entries":[],"entries":[]}', 400, "json.duplicate_key"),
        (b'{"entries":["","",""]}', 413, "log.request_entries"),
        (b'{"entries":["' + b"A" * 4000 + b'"]}', 413, "request.too_large"),
    ],
)
def test_requests_that_are_none_are_refused(body: bytes, status: int, code: str) -> None:
    async def scenario(app: Edge) -> None:
        reply = await asgi.request(app, "POST", "/v1/entries", body, AUTH)
        assert (reply.status, reply.code) == (status, code)

    run(scenario, request_entries=2, request_bytes=2048, blob_bytes=1024)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/tile/0/000", 404),
        ("GET", "/tile/0/0", 404),
        ("GET", "/tile/../signed", 404),
        ("GET", "/tile/0/000.p/1/../../../../../signed", 404),
        ("GET", "/v1/index/" + "0" * 64, 404),
        ("GET", "/v1/index/xyz", 400),
        ("GET", "/v1/blobs/" + "0" * 64, 404),
        ("GET", "/v1/blobs/..signed", 400),
        ("GET", "/v1/entries", 405),
        ("POST", "/checkpoint", 405),
        ("DELETE", "/v1/blobs", 405),
    ],
)
def test_what_is_not_there_is_refused_in_the_one_shape(method: str, target: str, status: int) -> None:
    async def scenario(app: Edge) -> None:
        reply = await asgi.request(app, method, target)
        assert reply.status == status
        assert reply.code

    run(scenario)


def test_a_busy_log_says_when_to_come_back() -> None:
    async def scenario(app: Edge) -> None:
        await post(app, {"entries": [b64_encode(entry(0))]})
        reply = await post(app, {"entries": [b64_encode(entry(1))]})
        assert (reply.status, reply.code, reply.header("retry-after")) == (503, "log.busy", "1")

    run(scenario, backlog_entries=1)


def test_a_large_blob_is_refused() -> None:
    async def scenario(app: Edge) -> None:
        reply = await asgi.request(app, "PUT", "/v1/blobs", bytes(1500), AUTH)
        assert (reply.status, reply.code) == (413, "log.blob_size")

    run(scenario, blob_bytes=1024, request_bytes=2048)


def test_entries_are_answered_with_digests_and_indices() -> None:
    async def scenario(app: Edge) -> None:
        reply = await post(app, {"entries": [b64_encode(raw) for raw in (entry(0), commitment(1), b"{}", entry(0))]})
        results = reply.json()["results"]
        assert results[0] == {"digest": digest(0), "index": 0}
        assert results[1] == {"digest": sha256_hex(commitment(1)), "index": 1}
        assert results[2]["error"]["code"] == "envelope.fields"
        assert results[3] == results[0]
        found = await asgi.request(app, "GET", f"/v1/index/{digest(0)}")
        assert (found.json(), found.header("cache-control")) == ({"index": 0}, "no-store")

    run(scenario)


def test_static_reads_have_the_caching_that_their_nature_allows() -> None:
    async def life() -> None:
        service = helper.make_service(SimulatedDisk().mount(), FakeClock())
        app = create_app(service)
        async with asgi.running(app):
            await service.append([entry(0), entry(1)])
            await service.publish()
            checkpoint = await asgi.request(app, "GET", "/checkpoint")
            assert checkpoint.header("cache-control") == FRESH
            assert checkpoint.header("content-type") == "text/plain; charset=utf-8"
            verified = notes.verify_checkpoint(checkpoint.body, helper.ORIGIN, helper.log_keys())
            assert verified.size == 2
            tile = await asgi.request(app, "GET", "/tile/entries/000.p/2")
            assert tile.header("cache-control") == IMMUTABLE
            assert tile.header("content-type") == "application/octet-stream"
            assert tiles.parse_bundle(tile.body, 2) == [entry(0), entry(1)]

    asyncio.run(life())


def test_blobs_are_put_and_fetched() -> None:
    async def scenario(app: Edge) -> None:
        put = await asgi.request(app, "PUT", "/v1/blobs", b"disclosed", AUTH)
        assert put.json() == {"blob": sha256_hex(b"disclosed")}
        got = await asgi.request(app, "GET", f"/v1/blobs/{sha256_hex(b'disclosed')}")
        assert (got.body, got.header("cache-control")) == (b"disclosed", IMMUTABLE)

    run(scenario)


def test_health_readiness_and_metrics() -> None:
    async def scenario(app: Edge) -> None:
        assert (await asgi.request(app, "GET", "/healthz")).status == 200
        assert (await asgi.request(app, "GET", "/readyz")).status == 200
        assert (await asgi.request(app, "GET", "/metrics")).body == b"metrics"
        about = (await asgi.request(app, "GET", "/v1/log")).json()
        assert about["origin"] == helper.ORIGIN

    run(scenario)


def test_what_the_lifespan_opened_is_closed_last() -> None:
    closed: list[str] = []

    async def close() -> None:
        closed.append("http")

    async def life() -> None:
        async with asgi.running(create_app(helper.make_service(SimulatedDisk().mount(), FakeClock()), None, close)):
            assert closed == []

    asyncio.run(life())
    assert closed == ["http"]
