"""Attacks on whoever leads agents and carries out acts: at its disk, its clock, its nodes and what they answer."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.agents.acting import Tooling
from holdfast.agents.runner import Runner
from holdfast.agents.tool import Act, Scope, ToolError
from holdfast.agents.workflows.hooks import read_delivery
from holdfast.agents.workflows.journal import Journal
from holdfast.cli.workflow_running import secrets_of
from holdfast.core.agent_files import parse_agent_file
from holdfast.errors import RefusedError
from holdfast.ports.settings import Secret
from holdfast.review.webhooks import sign
from tests.helpers.acting import LEASE_S, ActCase, ActingWorld, FakeTool, run_of, start
from tests.helpers.clock import FakeClock
from tests.helpers.gateway_world import ADA_KEY, KEY, PANEL_KEY, World, play
from tests.helpers.led_agents import FILE, Look, Talker, calls, in_turn, led, offers_of, says
from tests.helpers.workflows import START, Outside, engine_of, reserve, started
from tests.unit.nodes.gateway.test_agents import LOOK, TOOLS, WIRE, lead, opened, post

# A journal


@pytest.mark.parametrize("told", [True, False])
def test_a_journal_that_was_put_back_or_copied_makes_nothing_happen_twice(told: bool) -> None:
    async def story() -> None:
        world = ActingWorld([ActCase(run_of(1), "blind")])
        now, before = SimulatedDisk(1), SimulatedDisk(2)
        late = start(world, before, before.mount())  # the same journal, as it was before it knew of the act
        early = start(world, now, now.mount())
        assert early.journal.id == late.journal.id
        await early.executor._empty("queue-blind", [])
        world.cases[run_of(1)].over = False  # its acknowledgement was lost, and its lease ran out
        world.clock.time += LEASE_S + 1
        if not told:  # it ended before it could tell what came of it
            world.outcomes.clear()
        await late.executor.round()
        assert world.effects() == {run_of(1): 1}
        assert late.journal.state(run_of(1)).dropped["code"] == ("agent.outcome" if told else "agent.reserved")

    asyncio.run(story())


def test_a_process_that_stood_still_writes_nothing_over_what_another_did_meanwhile() -> None:
    journal, clock = Journal(":memory:"), FakeClock(START)

    class Asleep(Outside):
        """Its machine is put to sleep while a model is asked, and another one takes the execution over."""

        async def infer(self, *asked: Any) -> Any:
            given = await super().infer(*asked)
            if self.asked.count("advice") == 1:
                await clock.advance(3_600.0)
                await engine_of(journal, self, clock, "two").advance(execution)
                self.between = journal.load(execution)[1].records
            return given

    outside, execution = Asleep(), started(journal, reserve())
    asyncio.run(engine_of(journal, outside, clock).advance(execution))
    assert journal.load(execution)[1].records == outside.between
    assert (outside.between["pay"].state, len(outside.acts())) == ("waiting", 1)


# Whoever is asked


def test_whoever_was_shown_a_secret_and_says_it_back_puts_it_before_no_model_and_into_no_step(tmp_path: Path) -> None:
    secret = "Bearer 0123456789abcdef0123"

    class Echo(Look):
        async def call(self, arguments: Any, scope: Scope) -> Any:
            shown = scope.secrets["key"].reveal()
            if arguments["at"] == "error":
                raise ToolError(f"401: {shown} is not known here")
            return {"headers": {"authorization": [shown]}, shown.split()[1]: "x"}

    talker = Talker(voice=in_turn(calls(("look", {"at": "rates"}), ("look", {"at": "error"})), says("done")))

    async def story(world: World) -> None:
        agent, file = led(world, tmp_path), parse_agent_file(FILE.encode())
        offers = offers_of(file, {"look": Echo(), "wire": agent.wire})
        offers["look"].secrets["key"] = Secret(secret, "env:KEY")  # type: ignore[index]
        await Runner(file, offers, agent.runs, agent.runner._model, world.clock).run("go")
        for said in (json.dumps(agent.said), json.dumps(talker.asked)):
            assert said.count("[secret]") >= 3
            assert secret.split()[1] not in said

    play(story, upstream=talker)


@pytest.mark.parametrize("answer", [float("nan"), "x" * 1_000_000, json.loads("[" * 80 + "]" * 80), "\ud800"])
def test_what_a_receiver_answers_does_not_keep_an_act_from_being_told(answer: Any) -> None:
    class Odd(FakeTool):
        async def carry_out(self, act: Act, prepared: bytes) -> Any:
            await super().carry_out(act, prepared)
            return {"answer": answer}

    async def story() -> None:
        world, disk = ActingWorld([ActCase(run_of(1), "blind")]), SimulatedDisk(1)
        running = start(world, disk, disk.mount())
        running.executor._tools = {"blind": Tooling(Odd(world, disk, "blind"), "queue-blind")}
        assert await running.executor.round() == 1
        [told] = world.outcomes.values()
        assert "no JSON" in told["result"]["not_kept"] or "bytes" in told["result"]["not_kept"]

    asyncio.run(story())


def test_a_delivery_to_one_workflow_starts_no_other() -> None:
    ours, theirs = bytes(24), bytes([1]) * 24
    files = {"file:ours": ours, "file:theirs": theirs, "file:a=b": ours}
    named = ("pays=file:ours", "notes=file:theirs")
    pays, notes = ([files[item] for item in secrets_of(named, name)] for name in ("pays", "notes"))
    sent = {"webhook-id": "msg_1", "webhook-timestamp": str(int(START.timestamp()))}
    sent["webhook-signature"] = sign([theirs], "msg_1", int(START.timestamp()), b"{}")
    assert read_delivery(notes, sent, b"{}", START).key == "msg_1"
    with pytest.raises(RefusedError) as caught:
        read_delivery(pays, sent, b"{}", START)
    assert caught.value.code == "workflow.signature"
    assert secrets_of((*named, "file:a=b"), "pays") == ["file:ours", "file:a=b"]


# A gateway's store


def test_what_is_past_its_retention_takes_no_child_from_an_agent_run_that_is_open(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        for _ in range(5):  # more than a segment of the write-ahead log
            assert (await lead(world, agent, "steps", {**LOOK, "result": "x" * 300_000})).status == 200
        world.ledger.drop_before(world.ledger.end)
        assert (await lead(world, agent, "steps", LOOK)).status == 200
        await world.stop()
        await world.start()
        assert (await lead(world, agent, "close", {"result": 1})).status == 200
        assert len((await world.desk.children(await world.row(agent["run"])))["children"]) == 6
        world.ledger.drop_before(world.ledger.end)
        await opened(world)
        assert world.wal.begin > 0

    play(story, tmp_path)


def test_a_second_executor_that_asks_at_that_moment_does_not_make_an_outcome_look_told() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        act = (await lead(world, agent, "steps", WIRE)).json()
        reserved = {"kind": "reserved", "of": act["run"]}
        assert (await lead(world, act, "steps", reserved)).status == 200
        assert (await lead(world, agent, "close", {"result": 1})).status == 200
        outcome = {"kind": "outcome", "of": act["run"], "result": "paid"}
        second, told = await asyncio.gather(lead(world, act, "steps", reserved), lead(world, act, "steps", outcome))
        assert (second.code, told.status) == ("agent.reserved", 200)

    play(story)


def test_what_closed_before_an_act_is_told_of_it_while_the_index_is_written() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        inner = await opened(world, agent["run"])
        await world.indexer.flush()  # the index has it as one that is open
        assert (await lead(world, inner, "close", {"result": 1})).status == 200
        act = (await lead(world, agent, "steps", WIRE)).json()["run"]
        row, busy = await world.row(act), threading.Event()
        occupied = asyncio.get_running_loop().run_in_executor(world.indexer._worker, busy.wait)
        asked = asyncio.ensure_future(world.indexer.children(agent["run"]))
        one = asyncio.ensure_future(world.indexer.run(inner["run"]))
        await asyncio.sleep(0)
        written = asyncio.ensure_future(world.indexer.flush())  # its answers are of before this
        await asyncio.sleep(0)
        busy.set()
        closed = next(child for child in await asked if child.run == inner["run"])
        assert (closed.outcome, (await one).outcome) == ("complete", "complete")
        await asyncio.gather(occupied, written)
        assert [child["run"] for child in (await world.desk.led(row, 0))["children"]] == [inner["run"]]
        assert world.indexer._writing == []

    play(story)


# A key of the workspace


def test_only_the_panels_key_names_somebody_else_as_who_asks_for_another_act() -> None:
    async def story(world: World) -> None:
        ada = [("authorization", f"Bearer {ADA_KEY}")]
        agent = (await post(world, "/v1/runs", {"agent": {"name": "a", "tools": TOOLS}}, ada)).json()

        async def amend(key: str, *headers: tuple[str, str]) -> tuple[str | None, str | None]:
            act = (await lead(world, agent, "steps", WIRE)).json()["run"]
            sent = [("authorization", f"Bearer {key}"), *headers]
            reply = await post(world, f"/v1/runs/{act}/amend", {"arguments": {}}, sent)
            return (
                (reply.code, None) if reply.status != 200 else (None, (await world.row(reply.json()["run"])).requester)
            )

        bob, herself = ("x-holdfast-requester", "bob"), ("x-holdfast-requester", "ada")
        assert await amend(KEY, bob) == ("request.requester", None)
        assert await amend(KEY, herself) == ("request.requester", None)
        assert await amend(ADA_KEY, bob) == ("request.requester", None)
        assert await amend(PANEL_KEY, ("x-holdfast-requester", "B o b")) == ("request.requester", None)
        assert await amend(PANEL_KEY, bob) == (None, "bob")
        assert await amend(ADA_KEY, herself) == await amend(ADA_KEY) == (None, "ada")
        assert await amend(KEY) == (None, "ada"), "a key of programs is no way round who opened the agent run"

    play(story)
