"""The private path at the gateway: what is refused, what is sealed, and what nobody learns."""

from __future__ import annotations

import datetime as dt
import json
import random
from dataclasses import replace
from email.utils import format_datetime
from typing import Any

import pytest

from holdfast.core import binary_http, ohttp
from holdfast.core.encoding import sha256_hex
from holdfast.core.hpke import AES_128_GCM, CHACHA20_POLY1305
from holdfast.core.statements import Execution, Route, SealedPath
from holdfast.errors import HoldfastError
from holdfast.nodes.gateway import oblivious
from holdfast.nodes.gateway import request as request_module
from holdfast.nodes.gateway.oblivious import Replays, plain_refusal
from tests.helpers.asgi import request
from tests.helpers.clock import FakeClock
from tests.helpers.gateway import ask
from tests.helpers.gateway_world import KEY, World, play
from tests.helpers.sealed_path import (
    CONFIGURATION,
    RELAY,
    RELAY_KEY,
    SETTINGS,
    SealedClient,
    chat_body,
    open_chunks,
    sealed_app,
)
from tests.helpers.upstreams import ScriptedUpstream, chat_chunks

SECRET_WORDS = "my-most-private-words"


def runs_of(world: World) -> int:
    return len(list(world.ledger.replay()))


# --- refusals


def test_nobody_without_a_key_has_anything_opened() -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world), key="hf_nobody")
        message, _ = client.seal(chat_body())
        reply = await client.post(message)
        assert (reply.status, reply.code, runs_of(world)) == (401, "auth.wrong", 0)

    play(story)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda message: b"", "ohttp.truncated"),
        (lambda message: message[:50], "ohttp.truncated"),
        (lambda message: b"\x02" + message[1:], "ohttp.key_id"),
        (lambda message: message[:-1] + bytes([message[-1] ^ 1]), "ohttp.open"),
        (lambda message: message[:5] + b"\x00\x02" + message[7:], "ohttp.suite"),
        (lambda message: message[:5] + b"\x00\x03" + message[7:], "ohttp.open"),
        (lambda message: message[:7] + bytes(32) + message[39:], None),
    ],
    ids=["empty", "cut", "another-key", "changed", "unknown-suite", "downgraded-suite", "weak-point"],
)
def test_a_request_that_does_not_open_is_never_answered(change: Any, code: str | None) -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world))
        message, _ = client.seal(chat_body())
        reply = await client.post(change(message))
        assert reply.status == 400
        assert code is None or reply.code == code
        assert runs_of(world) == 0

    play(story)


@pytest.mark.parametrize("content_type", ["application/json", "message/bhttp", ""])
def test_another_media_type_is_refused(content_type: str) -> None:
    async def story(world: World) -> None:
        headers = [("authorization", f"Bearer {RELAY_KEY}"), ("content-type", content_type)]
        reply = await request(sealed_app(world), "POST", "/v1/ohttp", b"x" * 100, headers)
        assert (reply.status, reply.code) == (415, "ohttp.media_type")

    play(story)


def test_a_request_of_one_kind_does_not_open_as_the_other() -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world))
        message, _ = client.seal(chat_body())
        assert (await client.post(message, chunked=True)).code in ("ohttp.chunk", "ohttp.truncated", "ohttp.open")
        assert runs_of(world) == 0

    play(story)


def test_a_sealed_request_over_the_bound_is_refused_unread() -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world, replace(SETTINGS, request_bytes=2048)))
        message, _ = client.seal(b"x" * 4000)
        assert (await client.post(message)).code == "request.too_large"

    play(story)


def test_a_body_inside_over_its_own_bound_is_refused_sealed() -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world, replace(SETTINGS, inner_bytes=1024)))
        reply = await client.chat(user="x" * 2000)
        assert reply.inner.status == 413
        assert reply.json()["error"]["code"] == "request.too_large"

    play(story)


def test_a_replayed_request_is_refused_and_runs_nothing_again() -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world))
        message, _ = client.seal(chat_body())
        assert (await client.post(message)).status == 200
        before = runs_of(world)
        again = await client.post(message)
        assert (again.status, again.code, runs_of(world)) == (400, "ohttp.replayed", before)

    play(story)


def test_a_request_sealed_anew_under_a_seen_key_is_a_replay_too() -> None:
    """Whoever sends one ephemeral key twice is no honest client, whatever stands behind it."""

    async def story(world: World) -> None:
        app = sealed_app(world)
        first, _ = SealedClient(app).seal(chat_body())
        second, _ = SealedClient(app).seal(chat_body(seed=2))
        assert first[7:39] == second[7:39]
        assert (await SealedClient(app).post(first)).status == 200
        assert (await SealedClient(app).post(second)).code == "ohttp.replayed"

    play(story)


def test_what_does_not_open_uses_up_no_memory() -> None:
    """A stranger with a captured header could otherwise make the gateway refuse the request that it belongs to."""

    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world))
        message, _ = client.seal(chat_body())
        assert (await client.post(message[:-1] + b"?")).code == "ohttp.open"
        assert (await client.post(message)).status == 200

    play(story)


def test_replays_are_remembered_for_a_time_and_within_a_bound() -> None:
    clock = FakeClock()
    replays = Replays(10.0, 3, clock.monotonic)
    for name in (b"a", b"b", b"c"):
        replays.refuse(name)
    with pytest.raises(HoldfastError) as found:
        replays.refuse(b"c")
    assert found.value.code == "ohttp.replayed"
    replays.refuse(b"d")
    assert len(replays) == 3
    clock._elapsed = 11.0
    replays.refuse(b"c")
    assert len(replays) == 1


@pytest.mark.parametrize(("off_s", "refused"), [(0, False), (-599, False), (599, False), (-601, True), (601, True)])
def test_a_date_at_another_time_is_refused_whether_it_was_seen_or_not(off_s: int, refused: bool) -> None:
    async def story(world: World) -> None:
        date = format_datetime(world.clock.now() + dt.timedelta(seconds=off_s), usegmt=True)
        reply = await SealedClient(sealed_app(world)).chat(fields=(("date", date),))
        assert (reply.inner.status == 400) is refused
        assert not refused or reply.json()["error"]["code"] == "ohttp.date"

    play(story)


@pytest.mark.parametrize("ahead_s", [0, 300, 599])
def test_a_dated_request_is_never_run_twice(ahead_s: int) -> None:
    """It is remembered until its own date refuses it, also where its sender's clock goes ahead."""

    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world))
        date = format_datetime(world.clock.now() + dt.timedelta(seconds=ahead_s), usegmt=True)
        inner = binary_http.Request(
            "POST", "https", "gateway.test", "/v1/chat/completions", (("date", date),), chat_body()
        )
        message, context = client.seal(binary_http.build_request(inner))
        assert (await client.post(message)).status == 200
        before = runs_of(world)
        for _ in range(20):
            await world.clock.advance(100)
            again = await client.post(message)
            sealed = again.status == 200
            assert not sealed or b"ohttp.date" in binary_http.parse_response(context.open(again.body)).content
            assert runs_of(world) == before

    play(story)


def test_a_date_that_is_none_is_refused() -> None:
    async def story(world: World) -> None:
        reply = await SealedClient(sealed_app(world)).chat(fields=(("date", "yesterday"),))
        assert reply.json()["error"]["code"] == "ohttp.date"

    play(story)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/runs"),
        ("GET", "/v1/openings"),
        ("GET", "/metrics"),
        ("POST", "/v1/ohttp"),
        ("GET", "/v1/ohttp/keys"),
        ("GET", "/v1/runs/0198c2a0-0000-7000-8000-000000000000/wrap"),
        ("POST", "/v1/models"),
        ("GET", "/v1/chat/completions"),
        ("GET", "/v1/runs/../openings"),
    ],
)
def test_nothing_of_a_workspace_is_read_from_inside(method: str, path: str) -> None:
    async def story(world: World) -> None:
        await world.answer()
        reply = await SealedClient(sealed_app(world)).ask(method, path)
        assert reply.inner.status == 404
        assert reply.json()["error"]["code"] == "request.not_found"

    play(story)


def test_a_key_inside_opens_nothing() -> None:
    """The caller inside is the relay, whatever it says it is."""

    async def story(world: World) -> None:
        run = await world.answer()
        client = SealedClient(sealed_app(world))
        reply = await client.ask("GET", f"/v1/runs/{run}", fields=(("authorization", f"Bearer {KEY}"),))
        assert (reply.inner.status, reply.json()["error"]["code"]) == (401, "auth.capability")

    play(story)


def test_a_run_of_one_caller_is_closed_to_another_of_the_same_relay() -> None:
    async def story(world: World) -> None:
        app = sealed_app(world)
        run = (await SealedClient(app, name="one").chat()).header("x-holdfast-run")
        assert run is not None
        other = await SealedClient(app, name="other").ask("GET", f"/v1/runs/{run}/bundle")
        assert other.inner.status == 401

    play(story)


def test_the_relays_own_key_reads_no_run_that_came_through_it() -> None:
    """The relay knows who asked; what its key opens at the gateway must not tell it what."""

    async def story(world: World) -> None:
        app = sealed_app(world)
        asked = await SealedClient(app, key=KEY).chat()
        run, capability = asked.header("x-holdfast-run"), asked.header("x-holdfast-capability") or ""
        key = ("authorization", f"Bearer {KEY}")
        for path in (f"/v1/runs/{run}", f"/v1/runs/{run}/bundle", f"/v1/runs/{run}/events"):
            reply = await request(app, "GET", path, headers=[key])
            assert (reply.status, reply.code) == (404, "run.unknown")
        assert (await request(app, "GET", "/v1/runs", headers=[key])).json() == {"runs": []}
        opened = await request(app, "GET", f"/v1/runs/{run}", headers=[key, ("x-holdfast-capability", capability)])
        assert opened.status == 200

    play(story)


def test_a_sealed_run_that_names_a_queue_is_read_by_its_workspace() -> None:
    """Whoever names a queue asks for its reviewers to see the run."""

    async def story(world: World) -> None:
        app = sealed_app(world)
        run = (await SealedClient(app, key=KEY).chat(fields=(("x-holdfast-queue", "default"),))).header(
            "x-holdfast-run"
        )
        reply = await request(app, "GET", f"/v1/runs/{run}", headers=[("authorization", f"Bearer {KEY}")])
        assert reply.status == 200

    play(story)


def test_a_json_body_over_its_bounds_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty megabytes of JSON hold the event loop for seconds, and anybody who may use a relay can send them."""

    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world, replace(SETTINGS, inner_bytes=8 << 10)))
        parsed: list[bytes] = []
        decode = oblivious.canonical.decode_exact
        monkeypatch.setattr(oblivious.canonical, "decode_exact", lambda text: (parsed.append(text), decode(text))[1])
        monkeypatch.setattr(request_module, "MAX_PARTS", 100)
        for content, code in ((chat_body(x="y" * 9000), "request.too_large"), (chat_body(x=[0] * 200), "parts.count")):
            message, _ = client.seal(content)
            reply = await client.post(message)
            assert (reply.code, parsed) == (code, [])

    play(story)


def test_what_is_wrong_inside_is_said_sealed() -> None:
    async def story(world: World) -> None:
        reply = await SealedClient(sealed_app(world)).chat(holdfast={SECRET_WORDS: 1})
        assert (reply.outer.status, reply.inner.status) == (200, 400)
        assert SECRET_WORDS.encode() in reply.inner.content
        assert SECRET_WORDS.encode() not in reply.outer.body

    play(story)


def test_bytes_inside_that_are_no_request_are_refused_sealed() -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world))
        message, context = client.seal(b"\x07nonsense")
        reply = await client.post(message)
        inner = binary_http.parse_response(context.open(reply.body))
        assert json.loads(inner.content)["error"]["code"] == "bhttp.framing"

    play(story)


# --- answers of our profile


@pytest.mark.parametrize("suite", [AES_128_GCM, CHACHA20_POLY1305], ids=lambda suite: suite.name)
@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_comes_back_sealed(suite: Any, chunked: bool) -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world), suite=suite)
        reply = await client.ask(content=chat_body(), chunked=chunked)
        value = reply.json()
        assert reply.inner.status == 200
        assert value["choices"]
        assert value["holdfast"]["settlement"] == "private"
        assert reply.header("x-holdfast-run") == value["holdfast"]["run"]
        assert [name for name, _ in reply.outer.headers if name.startswith("x-")] == []
        expected = ohttp.CHUNKED_RESPONSE_TYPE if chunked else ohttp.RESPONSE_TYPE
        assert reply.outer.header("content-type") == expected

    play(story)


def test_a_stream_comes_back_event_by_event() -> None:
    async def story(world: World) -> None:
        reply = await SealedClient(sealed_app(world)).chat(stream=True)
        assert reply.header("content-type") == "text/event-stream; charset=utf-8"
        events = reply.inner.content.split(b"\n\n")
        assert events[-2] == b"data: [DONE]"
        assert len(reply.chunks) >= len(events)

    play(story, upstream=ScriptedUpstream(streams=[chat_chunks()]))


def test_a_stream_that_breaks_off_has_no_last_chunk() -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world))
        inner = binary_http.Request("POST", "https", "gateway.test", "/v1/chat/completions", (), chat_body(stream=True))
        message, context = client.seal(binary_http.build_request(inner))
        reply = await client.post(message)
        assert not reply.complete
        with pytest.raises(HoldfastError) as found:
            open_chunks(context, reply.body)
        assert found.value.code == "ohttp.truncated"

    script: list[Any] = [*chat_chunks()[:3], ZeroDivisionError("a bug")]
    play(story, upstream=ScriptedUpstream(streams=[script]))


def test_a_private_run_is_read_by_its_capability() -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world))
        asked = await client.chat()
        run, capability = asked.header("x-holdfast-run"), asked.header("x-holdfast-capability")
        assert capability is not None
        shown = await client.ask("GET", f"/v1/runs/{run}", fields=(("x-holdfast-capability", capability),))
        assert shown.inner.status == 200
        assert shown.json()["run"] == run
        bundle = await client.ask("GET", f"/v1/runs/{run}/bundle", fields=(("x-holdfast-capability", capability),))
        assert bundle.json()["type"] == "urn:holdfast:bundle:v1"

    play(story)


def test_what_anybody_may_read_is_read_from_inside() -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world))
        for path in ("/v1/models", "/v1/identity", "/v1/network"):
            assert (await client.ask("GET", path)).inner.status == 200, path

    play(story)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("multiple", [64, 4096])
def test_padded_answers_have_few_sizes(stream: bool, multiple: int) -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world, replace(SETTINGS, padding_bytes=multiple)))
        reply = await client.chat(stream=stream)
        content = sum(len(chunk) for chunk in reply.chunks)
        size = content if stream else len(reply.outer.body) - 16 - 16
        assert size % multiple == 0
        assert reply.inner.status == 200

    play(story, upstream=ScriptedUpstream(streams=[chat_chunks()]))


# --- statements


def test_the_route_says_how_it_came_and_no_more_of_when_than_the_minute() -> None:
    async def story(world: World) -> None:
        await world.clock.advance(73.5)
        reply = await SealedClient(sealed_app(world)).chat(holdfast={"settlement": "batch"})
        await world.deliver()
        route, execution = world.log.statements()
        assert isinstance(route.body, Route)
        assert route.body.path == SealedPath(sha256_hex(CONFIGURATION.encoded), "aes-128-gcm", "binary-http", RELAY)
        assert route.run == reply.header("x-holdfast-run")
        assert route.run[14] == "4"
        assert {item.claimed_at.second + item.claimed_at.microsecond for item in (route, execution)} == {0}
        row = await world.row(route.run)
        assert row.opened_at.endswith(":00.000Z")
        assert row.closed_at.endswith(":00.000Z")

    play(story)


def test_a_direct_turn_beside_it_says_nothing_of_a_path() -> None:
    async def story(world: World) -> None:
        headers = [("authorization", f"Bearer {KEY}")]
        await request(sealed_app(world), "POST", "/v1/chat/completions", chat_body(), headers)
        await world.deliver()
        [route, _] = world.log.statements()
        assert isinstance(route.body, Route)
        assert route.body.path is None
        assert route.run[14] == "7"

    play(story)


def test_a_sealed_run_that_a_crash_cut_short_is_closed_as_coarsely() -> None:
    async def story(world: World) -> None:
        await world.clock.advance(30.0)
        path = SealedPath("11" * 32, "aes-128-gcm", "binary-http", None)
        await world.gateway.open(ask(), "relay", path=path)
        await world.stop()
        world.disk.crash()
        await world.start()
        await world.deliver()
        route, execution = world.log.statements()
        assert isinstance(route.body, Route)
        assert isinstance(execution.body, Execution)
        assert (route.body.path, execution.body.event) == (path, "interrupted")
        assert execution.claimed_at.second == 0

    play(story)


# --- the profile of OpenGradient's clients


def test_a_json_body_is_answered_without_a_binary_message() -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world), suite=CHACHA20_POLY1305)
        message, context = client.seal(chat_body())
        reply = await client.post(message, headers=[("accept", ohttp.RESPONSE_TYPE)])
        value = json.loads(context.open(reply.body))
        assert value["choices"]
        await world.deliver()
        [route, _] = world.log.statements()
        assert isinstance(route.body, Route)
        assert route.body.path is not None
        assert (route.body.path.profile, route.body.settlement) == ("json", "batch")

    play(story)


@pytest.mark.parametrize("headers", [[("x-ohttp-stream", "true")], [("accept", ohttp.CHUNKED_RESPONSE_TYPE)], []])
def test_a_json_stream_has_an_event_in_every_chunk(headers: list[tuple[str, str]]) -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world), suite=CHACHA20_POLY1305)
        message, context = client.seal(b"  " + chat_body(stream=True))
        reply = await client.post(message, headers=headers)
        assert reply.header("content-type") == ohttp.CHUNKED_RESPONSE_TYPE
        chunks = open_chunks(context, reply.body)
        assert chunks[-1] == b""
        assert chunks[-2] == b"data: [DONE]\n\n"
        assert all(chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") for chunk in chunks[:-1])

    play(story, upstream=ScriptedUpstream(streams=[chat_chunks()]))


@pytest.mark.parametrize("member", ["user", "metadata", "x-request-id", "request_id"])
def test_members_that_could_tell_the_caller_go_no_further(member: str) -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world))
        message, _ = client.seal(chat_body(endpoint="chat", temperature=0.5, **{member: SECRET_WORDS}))
        assert (await client.post(message)).status == 200
        [(_, sent)] = world.upstream.sent  # type: ignore[attr-defined]
        assert SECRET_WORDS.encode() not in sent
        assert b'"endpoint"' not in sent
        assert b"0.5" in sent

    play(story)


@pytest.mark.parametrize("endpoint", ["web_search", 1, {"a": 1}, "chat.completions"])
def test_another_endpoint_is_refused(endpoint: Any) -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world))
        message, _ = client.seal(chat_body(endpoint=endpoint))
        reply = await client.post(message)
        assert (reply.status, reply.code) == (400, "ohttp.endpoint")

    play(story)


@pytest.mark.parametrize(
    "content",
    [
        chat_body(holdfast={SECRET_WORDS: True}),
        b'{"' + SECRET_WORDS.encode() + b'":1,"' + SECRET_WORDS.encode() + b'":2}',
        b'{"messages":"' + SECRET_WORDS.encode(),
        chat_body(model=SECRET_WORDS),
        chat_body(tee_secret=SECRET_WORDS),
    ],
)
def test_a_refusal_in_the_clear_holds_no_word_of_the_request(content: bytes) -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world))
        message, _ = client.seal(content)
        reply = await client.post(message)
        assert 400 <= reply.status < 500
        assert reply.code
        assert SECRET_WORDS.encode() not in reply.body

    play(story)


def test_a_refusal_that_has_no_code_is_said_in_the_one_shape() -> None:
    value = json.loads(plain_refusal(b"<html>secret</html>"))
    assert value["error"]["code"] == "request.refused"
    assert b"secret" not in plain_refusal(b"secret")


def test_a_json_body_in_a_chunked_request_is_refused() -> None:
    async def story(world: World) -> None:
        client = SealedClient(sealed_app(world))
        message, _ = client.seal(chat_body(), chunked=True)
        assert (await client.post(message, chunked=True)).code == "ohttp.profile"

    play(story)


# --- keys


def test_keys_are_the_same_for_everybody_and_by_either_path() -> None:
    async def story(world: World) -> None:
        app = sealed_app(world)
        wanted = ohttp.build_key_configurations([CONFIGURATION])
        plain = await request(app, "GET", "/v1/ohttp/keys")
        by_accept = await request(app, "GET", "/v1/ohttp/config", headers=[("accept", "application/ohttp-keys")])
        assert plain.body == by_accept.body == wanted
        assert plain.header("content-type") == "application/ohttp-keys"

    play(story)


def test_a_configuration_for_opengradients_clients_is_signed_or_not_shown() -> None:
    async def sign(*shown: Any) -> dict[str, Any]:
        return {"shown": [item.hex() if isinstance(item, bytes) else item for item in shown]}

    async def story(world: World) -> None:
        reply = await request(sealed_app(world), "GET", "/v1/ohttp/config")
        assert (reply.status, reply.code) == (404, "ohttp.config")
        signed = await request(sealed_app(world, sign_configuration=sign), "GET", "/v1/ohttp/config")
        public = CONFIGURATION.public.hex()
        assert signed.json() == {"shown": [1, 0x20, 1, 3, public, f"010020{public}000400010003"]}

    play(story)


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/ohttp"), ("POST", "/v1/ohttp/keys")])
def test_paths_take_their_method(method: str, path: str) -> None:
    async def story(world: World) -> None:
        reply = await request(sealed_app(world), method, path)
        assert reply.status == 405
        assert reply.header("allow")

    play(story)


def test_no_bytes_from_outside_raise_anything_but_our_errors() -> None:
    async def story(world: World) -> None:
        client, rng = SealedClient(sealed_app(world)), random.Random(7)
        good = binary_http.build_request(binary_http.Request("POST", "https", "a", "/v1/chat/completions", (), b"{}"))
        for _ in range(300):
            content = bytearray(good if rng.random() < 0.5 else chat_body())
            for _ in range(rng.randrange(1, 4)):
                content[rng.randrange(len(content))] = rng.randrange(256)
            message, _ = client.seal(bytes(content))
            reply = await client.post(message)
            assert reply.status < 500 or reply.code != "internal.error"

    play(story)
