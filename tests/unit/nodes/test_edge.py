"""The shared HTTP edge: whatever goes wrong has one shape, bodies are bounded, bugs give nothing away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from holdfast.errors import ConflictError, RefusedError
from holdfast.nodes.edge import (
    Edge,
    Limits,
    Message,
    _BoundedBody,
    bearer_token,
    create_app,
    json_response,
    read_json,
    require_token,
)
from holdfast.ports.settings import Secret
from tests.helpers.asgi import call, running


async def echo(request: Request) -> Response:
    return json_response(await read_json(request))


async def bug(_: Request) -> Response:
    raise ValueError("the database password is hunter2")


async def refuse(_: Request) -> Response:
    raise ConflictError("log.fenced", "another sequencer holds the lease")


async def need_key(request: Request) -> Response:
    require_token(request.headers.get("authorization"), Secret("right", "env:X"))
    return json_response({"in": True})


async def broken_stream(_: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        raise RefusedError("upstream.gone", "it went away")

    return StreamingResponse(body())


ROUTES = [
    Route("/echo", echo, methods=["POST"]),
    Route("/bug", bug),
    Route("/refuse", refuse),
    Route("/key", need_key),
    Route("/stream", broken_stream),
]
WAITING: dict[str, str] = {}
APP = create_app(
    ROUTES, readiness=lambda: WAITING, metrics=lambda: b"x 1\n", limits=Limits(body_bytes=64, body_seconds=0.2)
)


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/none", 404, "request.not_found"),
        ("GET", "/echo", 405, "request.method"),
        ("DELETE", "/healthz", 405, "request.method"),
        ("POST", "/echo/", 404, "request.not_found"),
        ("GET", "/refuse", 409, "log.fenced"),
        ("GET", "/bug", 500, "internal.error"),
        ("GET", "/key", 401, "auth.missing"),
    ],
)
def test_every_error_has_the_one_shape(method: str, target: str, status: int, code: str) -> None:
    reply = call(APP, method, target)
    assert (reply.status, reply.code) == (status, code)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "json.syntax"),
        (b"{", "json.syntax"),
        (b"[]", "json.object"),
        (b"null", "json.object"),
        (b'{"a":1,"a":2}', "json.duplicate_key"),
        (b'{"a":NaN}', "json.number"),
        (b"\xff", "json.utf8"),
        (b'{"a":"\\ud800"}', "json.surrogate"),
    ],
)
def test_a_body_that_is_not_strict_json_is_malformed(body: bytes, code: str) -> None:
    reply = call(APP, "POST", "/echo", body)
    assert (reply.status, reply.code) == (400, code)


def test_a_bug_gives_away_its_id_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        reply = call(APP, "GET", "/bug")
    assert b"hunter2" not in reply.body
    assert b"ValueError" not in reply.body
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.error_id in reply.json()["error"]["message"]
    assert record.exc_info is not None


def test_an_announced_size_over_the_limit_is_refused_unread() -> None:
    reply = call(APP, "POST", "/echo", b"", headers=[("content-length", "65")])
    assert (reply.status, reply.code) == (413, "request.too_large")
    assert reply.header("connection") == "close"


def test_a_body_over_the_limit_is_refused_while_it_comes() -> None:
    reply = call(APP, "POST", "/echo", [b"x" * 40] * 1000)
    assert (reply.status, reply.code) == (413, "request.too_large")


def test_a_body_at_the_limit_is_read() -> None:
    body = b'{"a":"' + b"x" * 56 + b'"}'
    assert len(body) == 64
    assert call(APP, "POST", "/echo", [body[:10], body[10:]]).status == 200


def test_a_slow_body_is_refused_as_a_whole_not_per_piece() -> None:
    reply = call(APP, "POST", "/echo", [b" "] * 30, delay_seconds=0.05)
    assert (reply.status, reply.code) == (408, "request.slow")
    assert reply.header("connection") == "close"


def test_a_caller_that_hangs_up_leaves_no_error(caplog: pytest.LogCaptureFixture) -> None:
    reply = call(APP, "POST", "/echo", [b"{", b"}"], disconnect=True)
    assert reply.status == 0
    assert caplog.records == []


def test_an_error_after_the_start_breaks_the_response_off(caplog: pytest.LogCaptureFixture) -> None:
    reply = call(APP, "GET", "/stream")
    assert (reply.status, reply.body, reply.complete) == (200, b"half", False)
    assert "upstream.gone" in caplog.text


def test_a_wrong_method_names_the_right_ones() -> None:
    assert call(APP, "GET", "/echo").header("allow") == "POST"


def test_a_wrong_key_is_refused() -> None:
    assert call(APP, "GET", "/key", headers=[("authorization", "Bearer wrong")]).code == "auth.wrong"
    assert call(APP, "GET", "/key", headers=[("authorization", "Basic right")]).code == "auth.missing"
    assert call(APP, "GET", "/key").header("www-authenticate") == "Bearer"
    assert call(APP, "GET", "/key", headers=[("authorization", "bearer right")]).status == 200


def test_no_accepted_key_means_no() -> None:
    with pytest.raises(RefusedError) as caught:
        require_token("Bearer anything")
    assert caught.value.code == "auth.wrong"


@pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer ", "Bearer   ", "right"])
def test_a_header_without_token_is_missing(value: str | None) -> None:
    with pytest.raises(RefusedError) as caught:
        bearer_token(value)
    assert (caught.value.code, caught.value.status) == ("auth.missing", 401)


def test_a_node_that_waits_is_alive_and_not_ready() -> None:
    WAITING["chain"] = "no answer since 10 s"
    try:
        assert call(APP, "GET", "/healthz").status == 200
        reply = call(APP, "GET", "/readyz")
        assert (reply.status, reply.code) == (503, "node.not_ready")
        assert "no answer since 10 s" in reply.json()["error"]["message"]
    finally:
        WAITING.clear()
    assert call(APP, "GET", "/readyz").json() == {"ready": True}


def test_metrics_are_prometheus_text() -> None:
    reply = call(APP, "GET", "/metrics")
    assert reply.body == b"x 1\n"
    assert reply.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"


def test_without_metrics_there_is_no_such_path() -> None:
    assert call(create_app([], readiness=dict), "GET", "/metrics").code == "request.not_found"


def test_the_lifespan_reaches_the_node() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        seen.append("start")
        yield
        seen.append("stop")

    async def scenario() -> None:
        async with running(create_app([], readiness=dict, lifespan=lifespan)):
            assert seen == ["start"]

    asyncio.run(scenario())
    assert seen == ["start", "stop"]


def test_an_error_wrapped_by_a_task_group_keeps_its_code() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [RefusedError("log.gone", "gone", status=410)])])

    reply = call(Edge(app), "GET", "/")
    assert (reply.status, reply.code) == (410, "log.gone")


@pytest.mark.parametrize("late", [False, True])
def test_a_task_that_somebody_else_ends_while_its_body_arrives_is_not_called_slow(late: bool) -> None:
    async def story() -> None:
        async def nothing_comes() -> Message:
            return await asyncio.get_running_loop().create_future()

        body = _BoundedBody(nothing_comes, Limits(body_seconds=60))
        task = asyncio.ensure_future(body())
        await asyncio.sleep(0)
        if late:  # at the very moment when the time is over too
            body._expire(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
