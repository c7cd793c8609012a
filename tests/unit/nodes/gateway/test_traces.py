"""Spans at a gateway: whose they are, which become hints, and what sending them again does."""

from __future__ import annotations

import gzip
import json
from typing import Any

from holdfast.core.bundles import parse_bundle
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers import asgi
from tests.helpers.gateway_world import KEY, OTHER_KEY, World, play
from tests.unit.core.test_otlp import attribute, request, span

NOBODY = "019b76da-a800-70c8-9215-35f11ffa1fae"
JSON = ("content-type", "application/json")


def spans(run: str, count: int = 1, **more: Any) -> bytes:
    """So many spans of an agent run."""
    named = [attribute("holdfast.agent_run", stringValue=run), attribute("gen_ai.system", stringValue="x")]
    return request(*({**span(), "spanId": f"{number:016x}", "attributes": named, **more} for number in range(count)))


async def send(world: World, body: bytes, *headers: tuple[str, str], key: str = KEY) -> asgi.Reply:
    given = [("authorization", f"Bearer {key}"), JSON, *headers]
    return await asgi.request(world.app(), "POST", "/v1/traces", body, given)


async def opened(world: World, **agent: Any) -> dict[str, Any]:
    body = json.dumps({"agent": {"name": "traced", "tools": [], **agent}}).encode()
    reply = await asgi.request(world.app(), "POST", "/v1/runs", body, [("authorization", f"Bearer {KEY}")])
    told: dict[str, Any] = reply.json()
    return told


async def children(world: World, run: str) -> list[dict[str, Any]]:
    headers = [("authorization", f"Bearer {KEY}")]
    reply = await asgi.request(world.app(), "GET", f"/v1/runs/{run}/children", headers=headers)
    found: list[dict[str, Any]] = reply.json()["children"]
    return found


def refused(reply: asgi.Reply) -> tuple[int, str]:
    assert reply.status == 200, reply.body
    told = reply.json().get("partialSuccess", {"rejectedSpans": "0", "errorMessage": ""})
    return int(told["rejectedSpans"]), told["errorMessage"]


def test_spans_take_a_key_of_the_workspace_whose_agent_run_they_name() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        nobody = [("authorization", "Bearer no"), JSON]
        reply = await asgi.request(world.app(), "POST", "/v1/traces", spans(agent["run"]), nobody)
        assert (reply.status, reply.code) == (401, "auth.wrong")
        reply = await asgi.request(world.app(), "GET", "/v1/traces", headers=nobody)
        assert reply.status == 405
        count, why = refused(await send(world, spans(agent["run"]), key=OTHER_KEY))
        assert (count, why.partition(";")[0]) == (1, "agent.workspace")
        count, why = refused(await send(world, spans(NOBODY)))
        assert (count, why.partition(";")[0]) == (1, "agent.workspace")
        assert await children(world, agent["run"]) == []

    play(story)


def test_a_run_that_is_none_or_closed_takes_no_span() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        held = [("x-holdfast-capability", agent["capability"])]
        closed = await asgi.request(world.app(), "POST", f"/v1/runs/{agent['run']}/close", b'{"result":1}', held)
        assert closed.status == 200
        count, why = refused(await send(world, spans(agent["run"], 2)))
        assert (count, why.partition(";")[0]) == (2, "agent.closed")
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode()
        turn = await asgi.request(
            world.app(), "POST", "/v1/chat/completions", body, [("authorization", f"Bearer {KEY}"), JSON]
        )
        if turn.status == 200:
            count, why = refused(await send(world, spans(turn.json()["holdfast"]["run"])))
            assert (count, why.partition(";")[0]) == (1, "agent.none")

    play(story)


def test_spans_count_against_the_limit_and_the_rest_of_a_batch_is_kept() -> None:
    async def story(world: World) -> None:
        agent = await opened(world, limits={"steps": 3})
        count, why = refused(await send(world, spans(agent["run"], 5)))
        assert (count, why.partition(";")[0]) == (2, "agent.steps")
        assert len(await children(world, agent["run"])) == 3

    play(story)


def test_a_batch_that_is_sent_again_adds_nothing_and_another_content_is_refused() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        first, again = [await send(world, spans(agent["run"], 4)) for _ in range(2)]
        assert refused(first) == (0, "")
        assert first.body == again.body
        before = await children(world, agent["run"])
        assert len(before) == 4
        count, why = refused(await send(world, spans(agent["run"], 1, name="another name")))
        assert (count, why.partition(";")[0]) == (1, "agent.key")
        assert await children(world, agent["run"]) == before

    play(story)


def test_of_spans_under_one_pair_of_ids_in_one_request_the_first_counts() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        first, other = json.loads(spans(agent["run"])), json.loads(spans(agent["run"], name="better"))
        both = {"resourceSpans": [*first["resourceSpans"], *other["resourceSpans"], *first["resourceSpans"]]}
        reply = await send(world, json.dumps(both).encode())
        count, why = refused(reply)
        assert (count, why.partition(";")[0]) == (1, "agent.key")
        [kept] = reply.json()["holdfast"]
        assert [child["run"] for child in await children(world, agent["run"])] == [kept["run"]]

    play(story)


def test_what_is_compressed_is_read_and_bounded() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        packed = gzip.compress(spans(agent["run"]))
        assert refused(await send(world, packed, ("content-encoding", "gzip"))) == (0, "")
        for body, encoding, code in (
            (packed, "br", "otlp.encoding"),
            (b"no gzip", "gzip", "otlp.encoding"),
            (packed[:-9], "gzip", "otlp.encoding"),
            (gzip.compress(b" " * (5 << 20)), "gzip", "otlp.encoding"),
        ):
            assert (await send(world, body, ("content-encoding", encoding))).code == code
        assert len(await children(world, agent["run"])) == 1

    play(story)


def test_a_hint_is_the_word_of_whoever_traced_and_no_lane_rests_on_it() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        [kept] = (await send(world, spans(agent["run"]))).json()["holdfast"]
        [child] = await children(world, agent["run"])
        assert (child["run"], child["kind"], child["queue"]) == (kept["run"], "step", None)
        headers = [("x-holdfast-capability", kept["capability"])]
        raw = await asgi.request(world.app(), "GET", f"/v1/runs/{child['run']}/bundle", headers=headers)
        bundle = parse_bundle(raw.body)
        [asked] = [item["text"] for item in raw.json()["journal"] if item.get("document") == "request"]
        told = json.loads(asked)
        assert (told["kind"], told["name"], told["attributes"]["trace"]) == ("hint", "chat llama", kept["trace"])
        lanes = appraise(bundle, world.trust, parse_policy(DEFAULT_POLICY), bundle.exported_at).lanes
        assert (lanes["computation"].state, lanes["computation"].basis) == ("unknown", "operator_claim")
        assert {lanes[name].state for name in ("inputs", "memory", "judgement")} <= {"not_applicable", "unknown"}

    play(story)
