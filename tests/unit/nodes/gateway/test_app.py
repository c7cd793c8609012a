"""The gateway's HTTP shape in memory: what leaves when something breaks under it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from holdfast.core import canonical
from holdfast.core.parts import verify_document
from holdfast.core.statements import Execution
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.gateway.app import GatewayApp, _event, _hung_up
from tests.helpers import asgi
from tests.helpers.gateway import ask
from tests.helpers.gateway_world import KEY, SHARED_KEY, World, play
from tests.helpers.upstreams import MODEL, ScriptedUpstream, chat_chunk, chat_chunks, chat_completion

AUTHORIZED = [("authorization", f"Bearer {KEY}")]


def body(**more: Any) -> bytes:
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **more}).encode()


async def post(world: World, **more: Any) -> asgi.Reply:
    return await asgi.request(world.app(), "POST", "/v1/chat/completions", body(**more), AUTHORIZED)


async def closing(world: World) -> Execution:
    """The one closing execution statement that the log gets."""
    await world.deliver()
    [found] = [item.body for item in world.log.statements() if isinstance(item.body, Execution) and item.body.closing]
    return found


class Buggy(ScriptedUpstream):
    """Has a bug of its own: raises what no upstream may raise."""

    async def complete(self, path: str, body: bytes, *, timeout_s: float) -> Any:
        raise ZeroDivisionError("a bug")


# Bugs and failing disks.


def test_a_bug_while_answering_is_a_500_that_says_nothing_and_still_closes_the_run() -> None:
    async def story(world: World) -> None:
        reply = await post(world)
        assert (reply.status, reply.code) == (500, "internal.error")
        assert "a bug" not in reply.body.decode()
        assert world.gateway.under_way == 0
        found = await closing(world)
        assert (found.event, found.outcome) == ("failed", "gateway.error")

    play(story, upstream=Buggy())


def test_a_bug_within_a_stream_breaks_it_off_without_an_end_and_closes_the_run() -> None:
    async def story(world: World) -> None:
        reply = await post(world, stream=True)
        assert reply.status == 200
        assert not reply.complete
        assert b"[DONE]" not in reply.body
        assert b"a bug" not in reply.body
        assert world.gateway.under_way == 0
        found = await closing(world)
        assert (found.event, found.outcome) == ("generated", "gateway.error")

    script: list[Any] = [*chat_chunks()[:3], ZeroDivisionError("a bug")]
    play(story, upstream=ScriptedUpstream(streams=[script]))


@pytest.mark.parametrize("after", range(1, 12))
@pytest.mark.parametrize("stream", [False, True])
def test_a_disk_that_fails_lets_no_end_leave(after: int, stream: bool) -> None:
    """Wherever the disk fails: no closing statement leaves that is not durable, and nothing pretends to be whole."""

    async def story(world: World) -> None:
        world.disk.fail_after(after)
        reply = await post(world, stream=stream)
        if reply.status == 200 and b'"statements"' in reply.body:
            durable = {record.kind for record in world.ledger.replay()}
            assert 3 in durable, "a closing was named that is not on the disk"
            return
        assert b"[DONE]" not in reply.body
        if reply.status != 200:
            assert reply.status == 503
            assert reply.code in {"wal.stopped", "storage.failed"}

    play(story)


def test_an_answer_too_large_for_a_record_is_signed_and_only_not_kept() -> None:
    huge = json.dumps(chat_completion("x" * (2 << 20))).encode()

    async def story(world: World) -> None:
        run = await world.gateway.open(ask(), "first")
        text = await world.gateway.answer(run)
        found = await closing(world)
        assert (found.outcome, found.response is not None) == ("complete", True)
        assert found.response is not None
        verify_document("response", text, run.id, run.secret, found.response)
        documents = [item["document"] for item in await world.journal(run.id, run.secret) if item["kind"] == "document"]
        assert documents == ["request"]

    play(story, upstream=ScriptedUpstream(answers=[huge]))


def test_a_request_too_large_for_a_record_opens_no_run() -> None:
    async def story(world: World) -> None:
        big = json.dumps({"model": MODEL, "prompt": "x" * (2 << 20)}).encode()
        app = world.app(request_bytes=4 << 20)
        reply = await asgi.request(app, "POST", "/v1/completions", big, AUTHORIZED)
        assert (reply.status, reply.code) == (400, "wal.record_size")
        assert world.ledger.end == 0
        assert world.gateway.under_way == 0

    play(story)


# Clients.


def test_a_body_that_never_becomes_whole_opens_no_run() -> None:
    async def story(world: World) -> None:
        app = world.app(request_seconds=0.05)
        gone = await asgi.request(app, "POST", "/v1/chat/completions", [body()[:10], b""], AUTHORIZED, disconnect=True)
        assert gone.code == "request.disconnected"
        slow = await asgi.request(
            app, "POST", "/v1/chat/completions", [body()[:10], body()[10:]], AUTHORIZED, delay_seconds=0.1
        )
        assert (slow.status, slow.code) == (408, "request.slow")
        assert world.ledger.end == 0

    play(story)


def test_whether_a_client_has_gone_is_seen_without_waiting() -> None:
    event = asyncio.Event()

    async def waits() -> dict[str, Any]:
        await event.wait()
        return {"type": "http.disconnect"}

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def more() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def main() -> None:
        assert not _hung_up(waits)
        assert _hung_up(gone)
        assert not _hung_up(more)
        event.set()
        assert _hung_up(waits)

    asyncio.run(main())


def test_an_event_is_one_line_whatever_white_space_its_json_has() -> None:
    assert _event(b'{"a":\n1,\r\n"b":2}') == b'data: {"a": 1,  "b":2}\n\n'
    assert canonical.decode_object(_event(b'{"a":\n1}')[6:]) == {"a": 1}


# Reading.


def test_a_node_that_is_not_ready_says_why() -> None:
    async def story(world: World) -> None:
        app = world.app()
        inner = app.app.app
        assert isinstance(inner, GatewayApp)
        inner._readiness = lambda: {"outbox": "it stopped"}
        reply = await asgi.request(app, "GET", "/readyz")
        assert (reply.status, reply.code) == (503, "node.not_ready")
        assert "outbox: it stopped" in reply.json()["error"]["message"]
        assert (await asgi.request(app, "GET", "/healthz")).json() == {"alive": True}

    play(story)


def test_models_are_asked_for_when_none_were_there_at_the_start() -> None:
    upstream = ScriptedUpstream(offered=[])

    async def story(world: World) -> None:
        app = world.app()
        assert (await asgi.request(app, "GET", "/v1/models", headers=AUTHORIZED)).json()["data"] == []
        upstream.offered = ScriptedUpstream().offered
        listed = (await asgi.request(app, "GET", "/v1/models", headers=AUTHORIZED)).json()["data"]
        assert [item["id"] for item in listed] == [MODEL]

    play(story, upstream=upstream)


def test_a_key_that_many_have_asks_and_reads_nothing_back() -> None:
    """OpenGradient's clients send one key for all: with it each would read what the others asked."""

    async def story(world: World) -> None:
        app, key = world.app(), ("authorization", f"Bearer {SHARED_KEY}")
        body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}).encode()
        asked = await asgi.request(app, "POST", "/v1/chat/completions", body, [key])
        assert asked.status == 200
        run, capability = asked.header("x-holdfast-run"), asked.header("x-holdfast-capability") or ""
        for path in ("/v1/runs", "/v1/openings", f"/v1/runs/{run}", f"/v1/runs/{run}/bundle", f"/v1/runs/{run}/wrap"):
            refused = await asgi.request(app, "GET", path, headers=[key])
            assert (refused.status, refused.code) == (401, "auth.capability")
        assert (await asgi.request(app, "GET", "/v1/models", headers=[key])).status == 200
        opened = await asgi.request(app, "GET", f"/v1/runs/{run}", headers=[("x-holdfast-capability", capability)])
        assert opened.status == 200

    play(story)


def test_a_run_past_its_retention_is_gone_and_says_so() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.indexer.flush()
        world.ledger.read = lambda _place: (_ for _ in ()).throw(_expired())  # type: ignore[method-assign, assignment]
        reply = await asgi.request(world.app(), "GET", f"/v1/runs/{run}", headers=AUTHORIZED)
        assert (reply.status, reply.code) == (410, "run.expired")

    play(story)


def _expired() -> HoldfastError:
    return HoldfastError("run.expired", "past its retention", status=410)


def test_what_the_log_keeps_from_us_is_unavailable_and_not_a_bug() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        await world.cosign(4)
        await world.follow()
        world.tree.silent = True
        for tail in ("", "/bundle", "/events"):
            reply = await asgi.request(world.app(), "GET", f"/v1/runs/{run}{tail}", headers=AUTHORIZED)
            assert (reply.status, reply.code) == (503, "log.unavailable")
        assert world.changes.watchers == 0

    play(story)


# Streams.


def test_a_stream_without_any_event_ends_whole_and_marked() -> None:
    async def story(world: World) -> None:
        reply = await post(world, stream=True)
        assert reply.complete
        assert reply.body.endswith(b"data: [DONE]\n\n")
        found = await closing(world)
        assert (found.event, found.outcome) == ("generated", "upstream.unfinished")
        assert found.marks is not None

    play(story, upstream=ScriptedUpstream(streams=[[]]))


def test_a_stream_that_ends_before_its_answer_is_not_called_complete() -> None:
    """The upstream said that it is done; that a choice has no finish reason is said and signed."""

    async def story(world: World) -> None:
        reply = await post(world, stream=True)
        assert b'"outcome":"upstream.unfinished"' in reply.body
        found = await closing(world)
        assert (found.event, found.outcome) == ("generated", "upstream.unfinished")
        assert found.response is not None

    script: list[Any] = [chat_chunk({"content": "a"}, index=0), chat_chunk({"content": "b"}, index=1)]
    play(story, upstream=ScriptedUpstream(streams=[[*script, chat_chunk({}, index=0, finish_reason="stop")]]))


def test_a_stream_of_two_choices_ends_when_both_have() -> None:
    script: list[Any] = [
        chat_chunk({"content": "a"}, index=0),
        chat_chunk({"content": "b"}, index=1),
        chat_chunk({}, index=1, finish_reason="stop"),
        chat_chunk({}, index=0, finish_reason="length"),
    ]

    async def story(world: World) -> None:
        reply = await post(world, stream=True)
        frames = [json.loads(line[6:]) for line in reply.body.decode().split("\n\n") if line.startswith("data: {")]
        assert [frame["holdfast"]["outcome"] for frame in frames if "outcome" in frame.get("holdfast", {})] == [
            "complete"
        ]
        assert frames[-1]["choices"][0]["finish_reason"] == "length"

    play(story, upstream=ScriptedUpstream(streams=[script]))


def test_a_failing_index_keeps_no_answer_from_leaving() -> None:
    async def story(world: World) -> None:
        async def failing(*_: Any) -> Any:
            raise UnavailableError("index.failed", "the database is away")

        call = world.indexer.call
        world.indexer.call = failing  # type: ignore[method-assign, assignment]
        assert (await post(world)).status == 200
        assert (await post(world, stream=True)).body.endswith(b"data: [DONE]\n\n")
        world.indexer.call = call  # type: ignore[method-assign]

    play(story)
