"""A person proposes other arguments in an act's place: it is denied, the other waits, and somebody else decides."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from holdfast.ports.http import Answer
from tests.helpers import asgi
from tests.helpers.case_world import CaseWorld, play_cases
from tests.unit.nodes.panel.test_led import AUTHORIZED, LOOK, WIRE, opened, post, step

OTHER = '{"amount": "1.50"}'


async def waiting(world: CaseWorld) -> tuple[Any, dict[str, Any]]:
    """An agent run and the case of its act."""
    agent = await opened(world)
    await step(world, agent, LOOK)
    act = (await step(world, agent, WIRE))["run"]
    await world.pull()
    await world.look_at_all()
    return agent, await world.case(act)


async def amend(world: CaseWorld, case: str, who: tuple[tuple[str, str], ...], **changes: Any) -> asgi.Reply:
    await world.post(f"/v1/cases/{case}/view", b"", *who)
    body = {"arguments": OTHER, "reason": "too much at once", **changes}
    return await world.post(f"/v1/cases/{case}/amend", json.dumps(body).encode(), *who)


async def people(world: CaseWorld) -> tuple[Any, Any]:
    return await world.let_in("rita", "reviewer", "approver"), await world.let_in("sam", "reviewer", "approver")


def test_what_is_no_act_or_no_object_is_refused_and_nothing_is_denied(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        rita, _ = await people(world)
        run = await world.ask()
        _, case = await waiting(world)
        chat = await world.case(run)
        assert (await amend(world, chat["id"], rita)).code == "case.no_act"
        for wrong, code in (("[]", "panel.form"), ("{", "json.syntax"), ('{"a":1,"a":2}', "json.duplicate_key")):
            reply = await amend(world, case["id"], rita, arguments=wrong)
            assert reply.code == code
        viewer = await world.let_in("vera", "viewer")
        assert (await amend(world, case["id"], viewer)).status == 403
        assert (await world.case(case["run"]))["state"] == "HOLD"

    play_cases(story, tmp_path)


def test_the_act_is_denied_and_the_other_waits_for_somebody_else(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        rita, sam = await people(world)
        agent, case = await waiting(world)
        reply = await amend(world, case["id"], rita)
        assert reply.status == 200, reply.body
        other = reply.json()
        before = await world.case(case["run"])
        assert before["state"] == "REJECTED"
        assert [event["body"] for event in before["events"] if event["kind"] == "amended"] == [{"run": other["run"]}]
        assert (other["queue"], other["state"]) == (case["queue"], "HOLD")
        assert other["events"][0]["body"]["requester"] == "rita"
        await world.pull()
        await world.settle()
        await world.world.clock.advance(3)
        await world.look_at_all()
        assert len((await world.get("/v1/cases", *rita)).json()["cases"]) == 2
        body = json.dumps({"act": "reject", "reason": "no"}).encode()
        await world.post(f"/v1/cases/{other['id']}/view", b"", *rita)
        assert (await world.post(f"/v1/cases/{other['id']}/decide", body, *rita)).code == "case.own_run"
        await world.post(f"/v1/cases/{other['id']}/view", b"", *sam)
        assert (await world.post(f"/v1/cases/{other['id']}/decide", body, *sam)).status == 200
        assert (await amend(world, case["id"], sam)).code == "case.amended"
        document = await shown(world, other["run"], agent)
        assert document["replaces"] == case["run"]

    play_cases(story, tmp_path)


async def shown(world: CaseWorld, run: str, agent: Any) -> Any:
    """The request of an act, as its agent run's gateway keeps it: read by proposing the same again."""
    row = await world.world.row(run)
    kept = world.world.ledger.read(row.open_place).record.header["agent"]["step"]
    assert row.parent_run == agent["run"]
    return kept


def test_of_a_closed_agent_run_nothing_is_denied_and_it_says_what_to_do(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        rita, _ = await people(world)
        agent, case = await waiting(world)
        await step(world, agent, {"result": 1}, "close")
        reply = await amend(world, case["id"], rita)
        assert (reply.status, reply.code) == (409, "agent.closed")
        assert "proposed anew" in reply.json()["error"]["hint"]
        assert (await world.case(case["run"]))["state"] == "HOLD"

    play_cases(story, tmp_path)


def test_what_was_cut_off_in_between_leaves_it_denied_and_is_sent_again(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        rita, sam = await people(world)
        _, case = await waiting(world)
        world.http.altered[f"/v1/runs/{case['run']}/amend"] = Answer(503, b"{}")
        reply = await amend(world, case["id"], rita)
        assert reply.status >= 500
        assert "is denied" in reply.json()["error"]["hint"]
        assert (await world.case(case["run"]))["state"] == "REJECTED"
        world.http.altered.clear()
        assert (await amend(world, case["id"], sam)).code == "case.state"
        assert (await amend(world, case["id"], rita)).status == 200
        cases = (await world.get("/v1/cases", *rita)).json()["cases"]
        assert sorted(item["state"] for item in cases) == ["HOLD", "REJECTED"]

    play_cases(story, tmp_path)


def test_an_act_that_is_reserved_or_replaced_is_not_replaced_and_one_that_is_replaced_not_reserved(
    tmp_path: Path,
) -> None:
    async def story(world: CaseWorld) -> None:
        agent = await opened(world)
        acts = [await step(world, agent, WIRE) for _ in range(3)]

        async def propose(act: Any, *headers: tuple[str, str]) -> asgi.Reply:
            path = f"/v1/runs/{act['run']}/amend"
            return await asgi.request(
                world.world.app(), "POST", path, b'{"arguments":{"amount":"1"}}', [AUTHORIZED, *headers]
            )

        async def reserve(act: Any) -> asgi.Reply:
            body = json.dumps({"kind": "reserved", "of": act["run"]}).encode()
            held = [("x-holdfast-capability", act["capability"])]
            return await asgi.request(world.world.app(), "POST", f"/v1/runs/{act['run']}/steps", body, held)

        assert (await propose(agent)).code == "agent.replaces"
        assert (await propose(acts[0], ("x-holdfast-requester", "No Name"))).code == "request.requester"
        assert (await reserve(acts[0])).status == 200
        assert (await propose(acts[0])).code == "agent.reserved"
        replies = await asyncio.gather(reserve(acts[1]), propose(acts[1]), propose(acts[1]), reserve(acts[1]))
        assert sorted(reply.status for reply in replies) == [200, 409, 409, 409]
        key = ("idempotency-key", "one")
        first = await propose(acts[2], key)
        assert (await propose(acts[2], key)).body == first.body
        assert (await propose(acts[2])).code == "agent.replaced"
        assert (await reserve(acts[2])).code == "agent.replaced"
        await world.world.stop()
        await world.world.start()
        assert (await reserve(acts[2])).code == "agent.replaced"
        await post(
            world, f"/v1/runs/{agent['run']}/close", {"result": 1}, ("x-holdfast-capability", agent["capability"])
        )
        assert (await reserve(acts[2])).code == "agent.replaced"
        assert (await reserve(first.json())).status == 200

    play_cases(story, tmp_path)
