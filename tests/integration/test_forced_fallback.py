"""Forced fallbacks, against real servers that go wrong: header, carrier, statement and lane always name who served.

Every way to fail is tried whole and streamed, with a fallback that may be used and under a policy that forbids it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.helpers import upstreams as fake
from tests.helpers.live_gateway import LiveGateway, Reply, question, serving, sse, upstream
from tests.helpers.upstreams import Behaviour, Server

pytestmark = pytest.mark.enable_socket

NO_FALLBACK = {"fallback": "none"}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""A PNG of one pixel."""
WAYS = [pytest.param(False, id="whole"), pytest.param(True, id="stream")]


@dataclass
class Pair:
    """A gateway whose first upstream does whatever a test wants, and whose second is well."""

    gateway: LiveGateway
    first: Server
    second: Server

    def ask(self, first: Behaviour, *, stream: bool, route: dict[str, Any] | None = None, **more: Any) -> Told:
        self.first.behaviour, self.second.behaviour = first, fake.chat_server
        given = more | ({"holdfast": {"route": route}} if route is not None else {})
        reply = self.gateway.post(question(model=fake.MODEL, stream=stream, **given))
        return Told(self.gateway, reply, stream=stream)


class Told:
    """What the four places say of one run."""

    def __init__(self, gateway: LiveGateway, reply: Reply, *, stream: bool) -> None:
        self.status, self.headers = reply.status, reply.headers
        self.run = reply.headers["x-holdfast-run"]
        streamed = stream and reply.status == 200
        self.events = [json.loads(item) for item in sse(reply) if item != "[DONE]"] if streamed else []
        self.value = json.loads(reply.body) if not streamed else self.events[-1]
        self.statement = gateway.statements(self.run)[0]["predicate"]
        self.lanes = gateway.get(f"/v1/runs/{self.run}")["lanes"]

    def name(self, upstream: str, *attempts: tuple[str, str, str, bool]) -> None:
        """Header, carrier, statement and lanes agree on who was turned to last and on every attempt."""
        told = [dict(zip(("upstream", "why", "end", "sent"), item, strict=True)) for item in attempts]
        assert self.statement["upstream"] == upstream
        assert self.statement["attempts"] == told
        failed = dict.fromkeys(item[0] for item in attempts if item[0] != upstream)
        assert self.statement["fallback_from"] == list(failed)
        assert self.headers["x-holdfast-upstream"] == upstream
        if "holdfast" in self.value:
            assert self.value["holdfast"]["route"] == {"upstream": upstream, "attempts": told}
        says = self.lanes["route"]["says"]
        for code, _, end, _ in attempts:
            assert code in says
            assert end == "served" or end in says
        assert f"upstream {upstream} served this turn" in says or attempts[-1][2] != "served"
        saw = [hop["node"] for hop in self.lanes["privacy"]["hops"] if hop["plaintext"] == "yes"]
        assert [code for code in saw if code in ("first", "second")] == list(
            dict.fromkeys(item[0] for item in attempts if item[3])
        )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with Server() as first, Server() as second:
        addresses = (
            upstream(first.base_url, code="first", fallback="second"),
            upstream(second.base_url, code="second"),
        )
        limits = {"upstream_seconds": 20, "idle_seconds": 1, "mark_ms": 10}
        with serving(tmp_path_factory.mktemp("pair"), upstreams=addresses, builtin=False, **limits) as gateway:
            yield Pair(gateway, first, second)


BEFORE = [
    pytest.param(fake.hang_up(), "upstream.unreachable", id="closes-before-a-byte"),
    pytest.param(fake.reset(), "upstream.unreachable", id="resets"),
    pytest.param(fake.garbage(), "upstream.protocol", id="speaks-no-http"),
    *(pytest.param(fake.refuse(status), f"upstream.status.{status}", id=str(status)) for status in (429, 500, 503)),
]


@pytest.mark.parametrize("stream", WAYS)
@pytest.mark.parametrize(("behaviour", "end"), BEFORE)
def test_what_fails_before_its_first_byte_is_replaced_and_named(
    pair: Pair, behaviour: Behaviour, end: str, stream: bool
) -> None:
    told = pair.ask(behaviour, stream=stream)
    assert told.status == 200
    told.name("second", ("first", "first", end, True), ("second", "fallback", "served", True))


@pytest.mark.parametrize("stream", WAYS)
@pytest.mark.parametrize(("behaviour", "end"), BEFORE)
def test_under_no_fallback_nobody_else_is_ever_sent_what_was_asked(
    pair: Pair, behaviour: Behaviour, end: str, stream: bool
) -> None:
    told = pair.ask(behaviour, stream=stream, route=NO_FALLBACK)
    assert told.status != 200
    assert told.value["error"]["code"] == end.rpartition(".")[0] if "status" in end else end
    told.name("first", ("first", "first", end, True))
    assert len(told.statement["policy"]) == 64


@pytest.mark.parametrize("stream", WAYS)
def test_what_says_something_of_the_request_is_no_reason_to_ask_another(pair: Pair, stream: bool) -> None:
    told = pair.ask(fake.refuse(400), stream=stream)
    assert told.status == 400
    told.name("first", ("first", "first", "upstream.status.400", True))


@pytest.mark.parametrize("route", [None, NO_FALLBACK])
def test_a_stream_that_breaks_off_ends_unfinished_and_nobody_goes_on_for_it(
    pair: Pair, route: dict[str, Any] | None
) -> None:
    told = pair.ask(fake.cut_stream(after=3), stream=True, route=route)
    assert told.status == 200
    assert told.value["error"]["code"] == "upstream.protocol"
    told.name("first", ("first", "first", "upstream.protocol", True))
    assert "served this turn" not in told.lanes["route"]["says"]


@pytest.mark.parametrize("route", [None, NO_FALLBACK])
def test_what_breaks_after_a_tool_call_was_shown_is_not_asked_of_another(
    pair: Pair, route: dict[str, Any] | None
) -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"what"'}}
    events = [fake.chat_chunk({"role": "assistant"}), fake.chat_chunk({"tool_calls": [call]})]
    pieces = [b"data: " + payload + b"\n\n" for payload in events]
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
    told = pair.ask(fake.raw_stream(pieces, clean=False), stream=True, route=route, tools=tools)
    assert any("tool_calls" in event["choices"][0]["delta"] for event in told.events if event.get("choices"))
    told.name("first", ("first", "first", "upstream.protocol", True))


@pytest.mark.parametrize("route", [None, NO_FALLBACK])
def test_images_are_replaced_and_named_like_any_answer(pair: Pair, route: dict[str, Any] | None) -> None:
    pair.first.behaviour = fake.refuse(503)
    pair.second.behaviour = fake.answer({"created": 1, "data": [{"b64_json": PIXEL}]})
    body = {"model": fake.MODEL, "prompt": "one pixel", "n": 1, **({"holdfast": {"route": route}} if route else {})}
    reply = pair.gateway.post(json.dumps(body).encode(), "/v1/images/generations")
    told = Told(pair.gateway, reply, stream=False)
    busy = ("first", "first", "upstream.status.503", True)
    if route is None:
        assert reply.status == 200
        told.name("second", busy, ("second", "fallback", "served", True))
    else:
        told.name("first", busy)


@pytest.mark.parametrize("route", [None, NO_FALLBACK])
def test_a_whole_answer_that_is_cut_was_shown_to_nobody(pair: Pair, route: dict[str, Any] | None) -> None:
    told = pair.ask(fake.cut_body(), stream=False, route=route)
    broken = ("first", "first", "upstream.protocol", True)
    if route is None:
        told.name("second", broken, ("second", "fallback", "served", True))
    else:
        told.name("first", broken)


def test_the_first_content_of_a_stream_says_already_who_serves_and_who_failed(pair: Pair) -> None:
    told = pair.ask(fake.refuse(503), stream=True)
    first = next(event for event in told.events if "holdfast" in event)
    assert first["holdfast"]["route"]["upstream"] == "second"
    assert [item["end"] for item in first["holdfast"]["route"]["attempts"]] == ["upstream.status.503", None]
    shown = told.events[: told.events.index(first)]
    assert not any(event["choices"][0]["delta"].get("content") for event in shown)


@pytest.mark.parametrize("stream", WAYS)
def test_a_provider_that_calls_its_model_otherwise_is_a_claim_and_both_names_are_told(pair: Pair, stream: bool) -> None:
    chunks = [
        json.dumps(json.loads(chunk) | {"model": "other-model"}).encode() for chunk in fake.chat_chunks("Hello there.")
    ]
    lying = fake.events(chunks) if stream else fake.answer(fake.chat_completion(model="other-model"))
    told = pair.ask(lying, stream=stream)
    told.name("first", ("first", "first", "served", True))
    told.lanes = pair.gateway.get_with(told.run, told.headers["x-holdfast-capability"])["lanes"]
    lane = told.lanes["artifact"]
    assert (lane["state"], lane["basis"]) == ("unknown", "provider_claim")
    assert "'other-model'" in lane["says"]
    assert f"{fake.MODEL!r} was asked for" in lane["says"]


@pytest.mark.parametrize("stream", WAYS)
@pytest.mark.parametrize("route", [None, NO_FALLBACK])
def test_nothing_was_sent_to_a_server_that_nobody_runs(
    tmp_path_factory: pytest.TempPathFactory, stream: bool, route: dict[str, Any] | None
) -> None:
    with Server() as second, contextlib.ExitStack() as stack:
        first = stack.enter_context(Server())
        addresses = (
            upstream(first.base_url, code="first", fallback="second"),
            upstream(second.base_url, code="second"),
        )
        with serving(tmp_path_factory.mktemp("gone"), upstreams=addresses, builtin=False) as gateway:
            stack.close()  # the first listed its models, and is gone
            given = {"holdfast": {"route": route}} if route is not None else {}
            told = Told(gateway, gateway.post(question(model=fake.MODEL, stream=stream, **given)), stream=stream)
            unsent = ("first", "first", "upstream.unreachable", False)
            if route is None:
                told.name("second", unsent, ("second", "fallback", "served", True))
            else:
                told.name("first", unsent)


@pytest.mark.parametrize("stream", WAYS)
def test_a_busy_upstream_is_asked_again_after_as_long_as_it_says(
    tmp_path_factory: pytest.TempPathFactory, stream: bool
) -> None:
    left = [fake.refuse(429, retry_after="0"), fake.hang_up()]

    async def recovering(request: fake.Request, writer: Any) -> bool:
        behaviour = left.pop(0) if left else fake.chat_server
        return await behaviour(request, writer)

    with Server(recovering) as only:
        more: dict[str, Any] = {"upstreams": (upstream(only.base_url, code="first"),), "builtin": False}
        with serving(tmp_path_factory.mktemp("busy"), retries=2, retry_ms=1, **more) as gateway:
            reply = gateway.post(question(model=fake.MODEL, stream=stream))
            told = Told(gateway, reply, stream=stream)
            told.name(
                "first",
                ("first", "first", "upstream.status.429", True),
                ("first", "retry", "upstream.unreachable", True),
                ("first", "retry", "served", True),
            )
            left.append(fake.refuse(503))
            refused = gateway.post(question(model=fake.MODEL, stream=stream, holdfast={"route": {"retries": 0}}))
            Told(gateway, refused, stream=stream).name("first", ("first", "first", "upstream.status.503", True))


def test_a_request_that_no_policy_can_serve_opens_no_run_and_sends_nothing(pair: Pair) -> None:
    asked: list[bytes] = []

    async def watching(request: fake.Request, writer: Any) -> bool:
        asked.append(request.body)
        return await fake.chat_server(request, writer)

    pair.first.behaviour = pair.second.behaviour = watching
    before = pair.gateway.runs(limit=200)
    body = question(model=fake.MODEL, holdfast={"route": {"plaintext": "enclave", "max_usd": "0.5"}})
    header = 'x-holdfast-route: {"providers":{"deny":["second"]}}'
    reply = pair.gateway.post(body, headers=[header])
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["code"]) == (403, "route.policy")
    assert "first: the request's plaintext is enclave" in error["hint"]
    assert "max_usd is 0.5, and the request has no price" in error["hint"]
    assert "second: the conversation's providers.deny names second" in error["hint"]
    assert asked == []
    assert pair.gateway.runs(limit=200) == before


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"holdfast": {"route": {"fallbacks": "none"}}}, "route.fields"),
        ({"holdfast": {"route": {"show_after": {"lanes": ["bytes=proven"]}}}, "stream": True}, "route.stream"),
    ],
)
def test_a_policy_that_is_none_or_cannot_be_kept_refuses(pair: Pair, more: dict[str, Any], code: str) -> None:
    assert pair.gateway.post(question(model=fake.MODEL, **more)).code == code


def test_an_answer_is_shown_once_its_lanes_hold_and_withheld_where_they_do_not(pair: Pair) -> None:
    pair.first.behaviour = fake.chat_server

    def ask(lane: str) -> Reply:
        route = {"show_after": {"lanes": [lane], "within_s": 1}}
        return pair.gateway.post(question(model=fake.MODEL, holdfast={"route": route}))

    shown = ask("bytes=proven:signature")
    assert shown.status == 200
    assert json.loads(shown.body)["choices"]
    withheld = ask("settlement=proven")
    value = json.loads(withheld.body)
    assert (withheld.status, value["error"]["code"]) == (504, "route.withheld")
    assert "choices" not in value
    assert "settlement=proven" in value["error"]["message"]
    view = pair.gateway.get_with(value["holdfast"]["run"], value["holdfast"]["capability"])
    assert view["outcome"] == "complete"
