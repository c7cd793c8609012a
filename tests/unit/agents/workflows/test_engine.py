"""An execution is moved on by its journal, tells everything once, and waits for the gate before it goes on."""

import asyncio

import pytest

from holdfast.agents.workflows.engine import Came, Refused
from holdfast.agents.workflows.journal import Journal
from holdfast.core.workflows.build import Workflow, case
from holdfast.errors import RefusedError, UnavailableError, UsageError
from tests.helpers.clock import START, FakeClock
from tests.helpers.workflows import Outside, engine_of, reserve, started


@pytest.fixture
def journal():
    found = Journal(":memory:")
    yield found
    found.close()


class Run:
    """One execution, its clock and what is outside."""

    def __init__(self, journal, definition=None, *, dry=False):
        self.journal, self.clock, self.outside, self.seen = journal, FakeClock(), Outside(), []
        self.definition = definition or reserve()
        self.id = started(journal, self.definition, dry=dry)
        self.engine = engine_of(journal, self.outside, self.clock, watch=self.seen.append)

    async def advance(self, seconds=0.0):
        await self.clock.advance(seconds)
        return await self.engine.advance(self.id)

    def step(self, name):
        return self.journal.load(self.id)[1].records[name]

    @property
    def state(self):
        return self.journal.find(self.id).state

    @property
    def act(self):
        return self.step("pay").run


def test_an_execution_goes_to_its_act_and_sleeps(journal):
    async def story():
        run = Run(journal)
        until = await run.advance()
        assert (until - START).total_seconds() == 1
        assert run.outside.asked == ["price", "advice"]
        assert [child["tool"] for child in run.outside.children] == ["workflow", "admission", "rule", "wire"]
        assert run.outside.acts()[0]["arguments"] == {"amount": "5"}
        assert run.outside.children[0]["arguments"]["definition"] == run.definition.digest
        assert run.outside.proposed[run.act] == 1
        assert run.state == "open"

    asyncio.run(story())


def test_what_came_of_the_act_ends_it(journal):
    async def story():
        run = Run(journal)
        await run.advance()
        run.outside.gate[run.act] = Came(run.act, result="0xhash")
        assert await run.advance(1) is None
        assert run.state == "done"
        assert run.outside.closed == [
            {"result": {"definition": run.definition.digest, "execution": run.id, "result": "0xhash"}}
        ]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (Refused("workflow.act_rejected", "a person said no"), "workflow.act_rejected"),
        (Refused("workflow.act_recalled", "its evidence fell"), "workflow.act_recalled"),
        (Came("x", error="not known whether it happened"), "workflow.act_failed"),
    ],
)
def test_an_act_that_was_not_carried_out_fails_the_execution_and_is_not_proposed_again(journal, found, code):
    async def story():
        run = Run(journal)
        await run.advance()
        run.outside.gate[run.act] = found
        assert await run.advance(1) is None
        assert run.state == "failed"
        assert run.outside.closed[0]["error"].startswith(code)
        assert len(run.outside.acts()) == 1

    asyncio.run(story())


def test_an_act_that_nobody_let_through_in_time_is_taken_back(journal):
    async def story():
        run = Run(journal)
        await run.advance()
        act = run.act
        await run.advance(100)
        assert run.outside.withdrawn == [act]
        assert run.outside.closed[0]["error"].startswith("workflow.act_expired")

    asyncio.run(story())


def test_an_act_that_somebody_carries_out_is_waited_for_whatever_the_time(journal):
    async def story():
        run = Run(journal)
        await run.advance()
        run.outside.begun.add(run.act)
        assert await run.advance(100) is not None
        assert run.state == "open"
        assert run.outside.closed == []
        run.outside.gate[run.act] = Came(run.act, result="late")
        assert await run.advance(100) is None
        assert run.state == "done"
        assert run.outside.withdrawn == []

    asyncio.run(story())


def test_an_amended_act_is_waited_for_anew_and_what_came_of_it_is_the_steps_result(journal):
    async def story():
        run = Run(journal)
        await run.advance()
        own = run.act
        for before, after in ((own, "once"), ("once", "again")):
            run.outside.amended[before] = after
            await run.advance(90)
            assert run.step("pay").run == after
        assert run.state == "open"
        run.outside.gate["again"] = Came("again", result="less")
        assert await run.advance(90) is None
        assert run.state == "done"
        assert run.step("pay").output == {"run": "again", "result": "less"}
        assert len(run.outside.acts()) == 1
        assert run.outside.withdrawn == []

    asyncio.run(story())


def test_an_act_that_turns_out_to_be_amended_when_its_time_is_over_is_waited_for(journal):
    async def story():
        run = Run(journal)
        await run.advance()
        run.outside.amended[run.act] = "other"
        await run.advance(100)
        assert run.step("pay").run == "other"
        assert run.state == "open"
        await run.advance(100)
        assert run.state == "failed"
        assert run.outside.withdrawn == ["other"]

    asyncio.run(story())


def test_a_deadline_takes_back_what_waits(journal):
    async def story():
        run = Run(journal, reserve(limits={"seconds": 50}))
        await run.advance()
        act = run.act
        assert await run.advance(50) is None
        assert run.outside.withdrawn == [act]
        assert run.outside.closed[0]["error"].startswith("workflow.deadline")

    asyncio.run(story())


def test_a_dry_execution_proposes_nothing_and_shows_the_act(journal):
    async def story():
        run = Run(journal, dry=True)
        assert await run.advance() is None
        assert run.state == "done"
        assert run.outside.acts() == []
        assert run.step("pay").input == {"arguments": {"amount": "5"}, "tool": "wire"}
        assert run.outside.asked == ["price", "advice"]
        assert run.outside.told("workflow")[0]["arguments"]["dry_run"] is True

    asyncio.run(story())


def test_a_silent_node_is_asked_again_later_and_each_attempt_is_told(journal):
    async def story():
        run = Run(journal)
        run.outside.answers["price"] = [UnavailableError("http.unreachable", "nobody")] * 2
        until = await run.advance()
        assert (until - START).total_seconds() == 1
        assert await run.advance(0.5) == until
        await run.advance(0.5)
        await run.advance(2)
        assert run.state == "open"
        told = run.outside.told("admission")
        assert [child["arguments"]["attempt"] for child in told] == [1, 2, 3]
        assert ["error" in child for child in told] == [True, True, False]

    asyncio.run(story())


def test_attempts_have_an_end(journal):
    async def story():
        run = Run(journal)
        run.outside.answers["price"] = [UnavailableError("http.unreachable", "nobody")] * 9
        for _ in range(5):
            await run.advance(10)
        assert run.state == "failed"
        assert run.outside.asked == ["price"] * 3

    asyncio.run(story())


def test_what_is_refused_for_good_is_asked_once(journal):
    async def story():
        run = Run(journal)
        run.outside.answers["advice"] = UsageError("request.model", "no such model")
        assert await run.advance() is None
        assert run.outside.asked == ["price", "advice"]
        assert run.outside.closed[0]["error"].startswith("request.model")

    asyncio.run(story())


def test_an_optional_step_may_fail(journal):
    async def story():
        spared = (
            Workflow("w")
            .admission("price", "rates", optional=True, retry={"attempts": 1})
            .cases("choice", case("gone", {"value": "$.price.value.text", "type": "decimal"}), otherwise="none")
            .definition()
        )
        run = Run(journal, spared)
        run.outside.answers["price"] = RefusedError("source.stale", "too old")
        assert await run.advance() is None
        assert run.state == "done"
        assert run.step("choice").output == {"result": "none"}

    asyncio.run(story())


def test_a_gateway_that_is_silent_stops_an_execution_and_fails_none(journal):
    async def story():
        run = Run(journal)
        run.outside.silent = 3
        for seconds in (0, 1, 2, 5):
            await run.advance(seconds)
        assert run.state == "open"
        assert run.outside.opened == 1
        assert len(run.outside.acts()) == 1

    asyncio.run(story())


def test_a_proposal_that_was_not_answered_is_the_same_proposal(journal):
    async def story():
        run = Run(journal)
        original = run.outside.step

        async def step(agent, body, *, idempotency_key=None):
            if body["tool"] == "wire" and not run.outside.acts():
                run.outside.silent = 1
            return await original(agent, body, idempotency_key=idempotency_key)

        run.outside.step = step
        await run.advance()
        assert run.step("pay").state == "asked"
        await run.advance(1)
        assert run.step("pay").state == "waiting"
        assert len(run.outside.acts()) == 1

    asyncio.run(story())


def test_the_limit_of_steps_holds_and_ends_the_execution(journal):
    async def story():
        run = Run(journal)
        run.outside.most_steps = 2
        assert await run.advance() is None
        assert run.state == "failed"
        assert run.outside.closed[0]["error"].startswith("agent.steps")
        assert len(run.outside.children) == 2

    asyncio.run(story())


def test_an_execution_that_another_process_moves_is_left_alone(journal):
    async def story():
        run = Run(journal)
        assert journal.lease(run.id, "other", START, START.replace(hour=1))
        assert await run.advance() is None
        assert run.outside.opened == 0

    asyncio.run(story())


def test_progress_is_told_as_it_happens(journal):
    async def story():
        run = Run(journal)
        await run.advance()
        assert [(item.step, item.state) for item in run.seen] == [
            (None, "open"),
            ("price", "asked"),
            ("price", "done"),
            ("advice", "asked"),
            ("advice", "done"),
            ("choice", "asked"),
            ("choice", "done"),
            ("pay", "asked"),
            ("pay", "waiting"),
        ]

    asyncio.run(story())
