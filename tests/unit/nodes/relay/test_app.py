"""What a relay passes on, what it refuses, and what nobody finds in it afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from holdfast.errors import UnavailableError
from holdfast.nodes.relay.billing import MARKER
from holdfast.nodes.relay.metrics import METRICS
from tests.helpers.asgi import Reply, request
from tests.helpers.clock import settle
from tests.helpers.relay import KEY, OTHER_KEY, QUOTA, SEALED, RelayWorld, ScriptedAnswer

BODY = bytes.fromhex("01002000010001") + b"e" * 32 + b"a secret that only the gateway opens"
CHUNKED = {"content-type": "message/ohttp-chunked-res"}


def play(story: Callable[[RelayWorld], Awaitable[None]], **world: Any) -> None:
    asyncio.run(story(RelayWorld(**world)))  # type: ignore[arg-type]


async def post(
    world: RelayWorld, body: Any = BODY, headers: Any = SEALED, path: str = "/v1/ohttp", **more: Any
) -> Reply:
    return await request(world.app(), "POST", path, body, headers, **more)


# --- refusals


@pytest.mark.parametrize("headers", [[], [("authorization", "Bearer nobody")]])
def test_nobody_without_a_key_is_passed_on(headers: list[tuple[str, str]]) -> None:
    async def story(world: RelayWorld) -> None:
        reply = await post(world, headers=[*headers, ("content-type", "message/ohttp-req")])
        assert (reply.status, world.forwarder.passed) == (401, [])

    play(story)


@pytest.mark.parametrize("content_type", ["application/json", "message/ohttp-res", "", "message/ohttp-req2"])
def test_only_sealed_requests_are_passed_on(content_type: str) -> None:
    async def story(world: RelayWorld) -> None:
        reply = await post(world, b'{"messages":[]}', [SEALED[0], ("content-type", content_type)])
        assert (reply.status, reply.code, world.forwarder.passed) == (415, "relay.media_type", [])

    play(story)


def test_an_empty_request_is_refused() -> None:
    async def story(world: RelayWorld) -> None:
        reply = await post(world, b"")
        assert (reply.status, reply.code) == (400, "relay.empty")

    play(story)


def test_a_request_over_the_bound_is_refused_before_it_is_passed_on() -> None:
    async def story(world: RelayWorld) -> None:
        app = world.app(request_bytes=1024)
        reply = await request(app, "POST", "/v1/ohttp", [b"x" * 600, b"x" * 600], SEALED)
        assert (reply.status, reply.code, world.forwarder.passed) == (413, "request.too_large", [])
        assert world.admission._accounts["first"].open == 0

    play(story)


def test_over_quota_says_when_to_come_back() -> None:
    async def story(world: RelayWorld) -> None:
        await post(world)
        reply = await post(world)
        assert (reply.status, reply.code, reply.header("retry-after")) == (429, "relay.requests", "60")
        other = await post(world, headers=[("authorization", f"Bearer {OTHER_KEY}"), SEALED[1]])
        assert other.status == 200

    play(story, quota=replace(QUOTA, requests=1))


def test_a_gateway_that_the_relay_does_not_know_is_refused() -> None:
    async def story(world: RelayWorld) -> None:
        reply = await post(world, headers=[*SEALED, ("x-tee-id", "ab" * 32)])
        assert (reply.status, reply.code, world.forwarder.passed) == (404, "relay.gateway", [])

    play(story)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/ohttp", 405),
        ("POST", "/v1/ohttp/keys", 405),
        ("GET", "/v1/runs", 404),
        ("POST", "/v1/chat/completions", 404),
    ],
)
def test_there_is_nothing_else(method: str, path: str, status: int) -> None:
    async def story(world: RelayWorld) -> None:
        reply = await request(world.app(), method, path, b"", SEALED)
        assert reply.status == status
        assert reply.code

    play(story)


def test_too_many_at_once_are_told_to_wait() -> None:
    async def story(world: RelayWorld) -> None:
        reply = await post(world)
        assert (reply.status, reply.code) == (503, "relay.busy")
        assert world.passages.open == 0

    play(story, at_once=0)


@pytest.mark.parametrize(("code", "status"), [("forward.unreachable", 502), ("forward.timeout", 504)])
def test_a_gateway_that_fails_is_said_and_frees_its_place(code: str, status: int) -> None:
    async def story(world: RelayWorld) -> None:
        world.forwarder.answers = [UnavailableError(code, "it did", status=status)]
        reply = await post(world)
        assert (reply.status, reply.code) == (status, code)
        assert (world.passages.open, world.admission._accounts["first"].open) == (0, 0)

    play(story)


def test_an_answer_that_breaks_off_has_no_end() -> None:
    async def story(world: RelayWorld) -> None:
        broken = ScriptedAnswer([b"one", b"two"], headers=CHUNKED, error=UnavailableError("forward.protocol", "cut"))
        world.forwarder.answers = [broken]
        reply = await post(world)
        assert (reply.status, reply.body, reply.complete) == (200, b"onetwo", False)
        assert broken.aborted
        assert world.passages.open == 0

    play(story)


def test_a_plaintext_frame_that_is_none_breaks_the_answer_off() -> None:
    async def story(world: RelayWorld) -> None:
        world.target.billing_frames = True
        world.forwarder.answers = [ScriptedAnswer([b"n" * 16 + b"\nnot a frame"], headers=CHUNKED)]
        reply = await post(world)
        assert not reply.complete

    play(story)


# --- what is passed on


def test_of_the_caller_nothing_is_passed_on_but_a_closed_list() -> None:
    async def story(world: RelayWorld) -> None:
        telling = [
            ("user-agent", "one-of-a-kind/7"),
            ("cookie", "id=1"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-holdfast-subject", "somebody"),
            ("accept-language", "gsw"),
            ("accept", "text/html, Message/OHTTP-Chunked-Res;q=0.3, */*"),
            ("x-ohttp-stream", "TRUE"),
        ]
        await post(world, headers=[*SEALED, *telling])
        [passed] = world.forwarder.passed
        assert passed == {
            "path": "/v1/ohttp",
            "body": BODY,
            "content_type": "message/ohttp-req",
            "accept": "message/ohttp-chunked-res",
            "fields": (("x-ohttp-stream", "true"),),
            "timeout_s": 60,
            "idle_timeout_s": 10,
        }

    play(story)


def test_two_callers_look_alike() -> None:
    async def story(world: RelayWorld) -> None:
        await post(world, headers=[SEALED[0], ("content-type", "Message/OHTTP-req; charset=x"), ("accept", "*/*")])
        other = [("authorization", f"Bearer {OTHER_KEY}"), ("content-type", "message/ohttp-req")]
        await post(world, headers=other, path="/api/v1/chat/ohttp")
        first, second = world.forwarder.passed
        assert first == second

    play(story)


def test_of_the_gateway_nothing_is_passed_back_but_a_closed_list() -> None:
    async def story(world: RelayWorld) -> None:
        headers = {
            "content-type": "message/ohttp-res",
            "content-length": "6",
            "set-cookie": "id=1",
            "x-holdfast-run": "0190",
            "x-inference-cost-opg": "17",
            "server": "one",
        }
        world.forwarder.answers = [ScriptedAnswer([b"sealed"], headers=headers)]
        reply = await post(world)
        assert (reply.status, reply.body) == (200, b"sealed")
        assert sorted(reply.headers) == [
            ("cache-control", "no-store"),
            ("content-length", "6"),
            ("content-type", "message/ohttp-res"),
        ]

    play(story)


def test_an_unsealed_refusal_of_the_gateway_is_passed_back_as_it_is() -> None:
    async def story(world: RelayWorld) -> None:
        said = {"content-type": "application/json", "retry-after": "7"}
        world.forwarder.answers = [ScriptedAnswer([b'{"error":"busy"}'], 503, said)]
        reply = await post(world)
        assert (reply.status, reply.body, reply.header("retry-after")) == (503, b'{"error":"busy"}', "7")
        assert reply.header("content-type") == "application/json"

    play(story)


def test_pieces_are_passed_on_one_by_one() -> None:
    async def story(world: RelayWorld) -> None:
        pieces = [b"n" * 16, b"\x10" + b"x" * 16, b"\x00" + b"f" * 16]
        world.forwarder.answers = [ScriptedAnswer(list(pieces), headers=CHUNKED)]
        sent: list[bytes] = []
        app = world.app()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body" and message["body"]:
                sent.append(message["body"])

        done = [{"type": "http.request", "body": BODY, "more_body": False}]

        async def receive() -> Any:
            return done.pop() if done else await asyncio.Event().wait()

        headers = [(name.encode(), value.encode()) for name, value in SEALED]
        scope = {"type": "http", "method": "POST", "path": "/v1/ohttp", "query_string": b"", "headers": headers}
        await app(scope, receive, send)
        assert sent == pieces

    play(story)


def test_a_billing_frame_is_taken_out() -> None:
    async def story(world: RelayWorld) -> None:
        world.target.billing_frames = True
        frame = MARKER + (2).to_bytes(4) + b"{}"
        pieces = [b"n" * 16 + b"\x10" + b"x" * 16, frame, b"\x00" + b"f" * 16]
        world.forwarder.answers = [ScriptedAnswer(pieces, headers={**CHUNKED, "content-length": "900"})]
        reply = await post(world)
        assert reply.body == b"n" * 16 + b"\x10" + b"x" * 16 + b"\x00" + b"f" * 16
        assert reply.header("content-length") is None

    play(story)


def test_a_caller_that_goes_away_takes_its_request_along() -> None:
    async def story(world: RelayWorld) -> None:
        hang = asyncio.Event()

        class Slow(ScriptedAnswer):
            async def read(self) -> bytes:
                await hang.wait()
                return b""

        slow = Slow([], headers=CHUNKED)
        world.forwarder.answers = [slow]
        messages: list[Any] = [
            {"type": "http.request", "body": BODY, "more_body": False},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Any:
            return messages.pop(0) if messages else await hang.wait()

        async def send(_: Any) -> None:
            return None

        headers = [(name.encode(), value.encode()) for name, value in SEALED]
        scope = {"type": "http", "method": "POST", "path": "/v1/ohttp", "query_string": b"", "headers": headers}
        async with asyncio.timeout(5):
            await world.app()(scope, receive, send)
        assert slow.aborted
        assert world.metrics.counts == {("holdfast_relay_requests_total", "gone"): 1}

    play(story)


def test_answers_leave_at_ticks_where_they_are_set() -> None:
    async def story(world: RelayWorld) -> None:
        world.forwarder.answers = [ScriptedAnswer([b"one", b"two"], headers=CHUNKED)]
        task = asyncio.create_task(post(world))
        await settle()
        assert not task.done()
        await world.clock.advance(0.05)
        assert not task.done()
        await world.clock.advance(0.05)
        assert (await task).body == b"onetwo"

    play(story, tick_s=0.05)


# --- what is kept

_OF_ANY_LINE = {"created", "msecs", "relativeCreated", "thread", "process", "lineno"}
"""Numbers that the logging module puts beside any line: some of their digits are those of a size by chance."""


def test_no_line_and_no_number_ties_a_caller_to_a_request(caplog: pytest.LogCaptureFixture) -> None:
    """The decision of ``relay.md`` §3: nothing is written of a request but how many ended how."""
    caplog.set_level(logging.DEBUG)

    async def story(world: RelayWorld) -> None:
        await world.targets.ask(world.target)
        world.forwarder.answers = [
            ScriptedAnswer([b"sealed"]),
            UnavailableError("forward.unreachable", "gone", status=502),
            ScriptedAnswer([b"half"], headers=CHUNKED, error=UnavailableError("forward.protocol", "cut")),
        ]
        for _ in range(3):
            await post(world, headers=[*SEALED, ("x-tee-id", world.network.gateway_document.digest)])
        await post(world, b"", headers=[("authorization", "Bearer hf_guess"), SEALED[1]])
        reply = await request(world.app(), "GET", "/metrics")
        lines = [
            record.getMessage()
            + repr({name: value for name, value in vars(record).items() if name not in _OF_ANY_LINE})
            for record in caplog.records
            if "asyncio" not in record.name
        ]
        written = "\n".join([*lines, reply.body.decode()])
        digest = world.network.gateway_document.digest
        for telling in (
            "127.0.0.1",
            KEY,
            "hf_guess",
            "first",
            "second",
            digest,
            digest[:12],
            "gateway.test",
            str(len(BODY)),
        ):
            assert telling not in written, telling
        assert "holdfast_relay_requests_total" in written
        assert len(lines) == 2, lines

    play(story)


def test_no_metric_has_a_label_but_how_requests_ended() -> None:
    assert {label for metric in METRICS for label in metric.labels} == {"outcome"}
    assert [metric.name for metric in METRICS if metric.kind == "distribution"] == []


# --- reading


def test_keys_and_proof_are_the_same_bytes_for_everybody() -> None:
    async def story(world: RelayWorld) -> None:
        waiting = await request(world.app(), "GET", "/v1/ohttp/keys")
        assert (waiting.status, waiting.code) == (503, "relay.keys")
        await world.targets.ask(world.target)
        app, digest = world.app(), world.network.gateway_document.digest
        asked = world.identity.asked
        found = [
            await request(app, "GET", path, headers=headers)
            for path in ("/v1/ohttp/keys/proof", f"/v1/ohttp/keys/proof?gateway=0x{digest}")
            for headers in ([], SEALED, [("user-agent", "other")])
        ]
        assert len({reply.body for reply in found}) == 1
        assert world.identity.asked == asked
        keys = await request(app, "GET", "/v1/ohttp/keys")
        assert keys.header("content-type") == "application/ohttp-keys"
        assert keys.body == world.network.gateway_document.ohttp_keys

    play(story)


def test_a_gateway_named_twice_is_refused() -> None:
    async def story(world: RelayWorld) -> None:
        reply = await request(world.app(), "GET", "/v1/ohttp/keys?gateway=a&gateway=b")
        assert (reply.status, reply.code) == (400, "request.gateway")

    play(story)


def test_it_says_who_it_is_and_whom_it_knows() -> None:
    async def story(world: RelayWorld) -> None:
        await world.targets.ask(world.target)
        app = world.app()
        assert (await request(app, "GET", "/v1/identity")).json()["node"] == "ab" * 32
        assert len((await request(app, "GET", "/v1/gateways")).json()["gateways"]) == 1
        assert (await request(app, "GET", "/healthz")).json() == {"alive": True}
        assert (await request(app, "GET", "/readyz")).json() == {"ready": True}

    play(story)
