"""What is due is moved on, so much at a time; what sleeps is a row, and what a trigger starts is begun."""

import asyncio
import datetime as dt
from dataclasses import replace

from holdfast.agents.workflows.engine import Came
from holdfast.agents.workflows.journal import Journal
from holdfast.agents.workflows.service import Service
from holdfast.agents.workflows.triggers import ScheduleTrigger
from holdfast.core.workflows.build import Workflow, case
from holdfast.errors import UnavailableError
from tests.helpers.clock import FakeClock, settle
from tests.helpers.workflows import CAUSE, Outside, engine_of, reserve


class Whole:
    """A service, its clock and what is outside."""

    def __init__(self, definition, *, at_once=8, dry=False):
        self.journal, self.clock, self.outside, self.said = Journal(":memory:"), FakeClock(), Outside(), []
        self.definition = definition
        self.engine = engine_of(self.journal, self.outside, self.clock)
        self.service = Service(
            self.journal, self.engine, self.clock, [definition], dry=dry, at_once=at_once, say=self.said.append
        )
        self.start = self.service.starter(definition)

    async def pass_time(self, task, seconds, step=1.0):
        for _ in range(int(seconds / step)):
            await self.clock.advance(step)
            await settle(60)
            if task.done():
                break

    def states(self):
        return [item.state for item in self.journal.listed()]


def test_an_execution_that_waits_goes_on_when_something_came_of_its_act():
    async def story():
        whole = Whole(reserve())
        whole.start(CAUSE)
        task = asyncio.ensure_future(whole.service.run(until_idle=True))
        await whole.pass_time(task, 5)
        assert whole.states() == ["open"]
        [act] = whole.outside.proposed
        whole.outside.gate[act] = Came(act, result="0xhash")
        await whole.pass_time(task, 60)
        assert task.done()
        assert whole.states() == ["done"]

    asyncio.run(story())


def test_a_hundred_that_sleep_are_no_tasks():
    async def story():
        whole = Whole(reserve(limits={"rate": {"executions": 1000, "seconds": 1}}), at_once=4)
        for number in range(100):
            whole.start(replace(CAUSE, key=f"{number:032x}"))
        task = asyncio.ensure_future(whole.service.run())
        await whole.pass_time(task, 30, 0.5)
        assert len(whole.outside.acts()) == 100
        assert len(asyncio.all_tasks()) < 12
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())


def test_a_schedule_starts_and_skips_while_as_many_as_may_be_are_there():
    async def story():
        definition = (
            Workflow("w", limits={"concurrency": 1, "overlap": "skip"})
            .on("schedule", every_s=10)
            .tool("wire", "pay", "q")
            .action("pay", "wire", {})
            .definition()
        )
        whole = Whole(definition)
        whole.service.follow(ScheduleTrigger(definition, whole.journal, whole.start, whole.said.append))
        task = asyncio.ensure_future(whole.service.run())
        await whole.pass_time(task, 25)
        assert whole.states() == ["skipped", "open"]
        assert any("skipped" in line for line in whole.said)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())


class Broken:
    """A trigger that cannot be asked at first."""

    def __init__(self):
        self.asked = 0

    async def look(self, now):
        self.asked += 1
        if self.asked == 1:
            raise UnavailableError("chain.unreachable", "nobody is there")
        return now + dt.timedelta(days=1)


def test_a_trigger_that_cannot_be_asked_is_said_and_asked_again_later():
    async def story():
        whole = Whole(Workflow("w").cases("choice", case(1)).definition())
        trigger = Broken()
        whole.service.follow(trigger)
        task = asyncio.ensure_future(whole.service.run())
        await whole.pass_time(task, 9)
        assert trigger.asked == 1
        await whole.pass_time(task, 5)
        assert trigger.asked == 2
        assert "chain.unreachable" in whole.said[0]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())


def test_a_dry_service_proposes_nothing():
    async def story():
        whole = Whole(reserve(), dry=True)
        whole.start(CAUSE)
        task = asyncio.ensure_future(whole.service.run(until_idle=True))
        await whole.pass_time(task, 10)
        assert whole.states() == ["done"]
        assert whole.outside.acts() == []
        assert whole.journal.listed()[0].dry

    asyncio.run(story())
