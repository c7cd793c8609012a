"""Delivery to the log: at least once, in order, for ever trying, and never past what was refused for the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.client.log_writer import Accepted
from holdfast.core.statements import Execution, parse_envelope, parse_statement
from holdfast.errors import RefusedError, UnavailableError
from holdfast.nodes.gateway.outbox import CURSOR
from tests.helpers.clock import settle
from tests.helpers.gateway import ask
from tests.helpers.gateway_world import World, play


def test_a_route_stands_before_its_execution_and_runs_in_the_order_they_closed() -> None:
    async def story(world: World) -> None:
        runs = [await world.answer() for _ in range(5)]
        await world.deliver()
        statements = [parse_statement(parse_envelope(entry)) for entry in world.log.entries]
        assert [item.run for item in statements] == [run for run in runs for _ in range(2)]
        assert [item.kind for item in statements] == ["route", "execution"] * 5

    play(story)


def test_a_log_that_is_silent_loses_nothing_and_moves_no_cursor() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        world.log.silent = True
        with pytest.raises(UnavailableError):
            await world.outbox.deliver()
        assert world.outbox.delivered == 0
        assert world.outbox.backlog_bytes > 0
        world.log.silent = False
        await world.deliver()
        assert world.outbox.backlog_bytes == 0
        assert (await world.row(run)).execution_index == 1

    play(story)


def test_an_entry_refused_for_the_moment_is_sent_again_and_one_refused_for_good_is_left(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        refused = await world.answer()
        answers: list[str | None] = ["log.busy", "log.entry"]
        append = world.log.append

        async def refusing(entries: Sequence[bytes]) -> list[Accepted]:
            code = answers.pop(0) if answers else None
            if code is None:
                return await append(entries)
            return [Accepted("ab" * 32, None, code) for _ in entries]

        world.log.append = refusing  # type: ignore[method-assign]
        with pytest.raises(RefusedError):
            await world.outbox.deliver()
        assert world.outbox.delivered == 0
        await world.deliver()
        assert world.outbox.delivered == world.ledger.end
        assert (await world.row(refused)).logged_at is None
        kept = await world.answer()
        await world.deliver()
        assert (await world.row(kept)).execution_index == 1
        await world.indexer.flush()
        assert world.indexer.index.cursor(CURSOR) == world.ledger.end

    play(story, tmp_path)


def test_a_restart_sends_at_most_what_was_not_noted_and_nothing_is_logged_twice(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        for _ in range(3):
            await world.answer()
        await world.deliver()
        await world.answer()
        await world.stop()
        await world.start()
        assert 0 < world.outbox.delivered < world.ledger.end
        await world.deliver()
        world.outbox._sent = 0
        await world.deliver()
        assert len(world.log.entries) == len(set(world.log.entries)) == 8

    play(story, tmp_path)


def test_a_published_document_is_at_the_log_before_its_statements() -> None:
    async def story(world: World) -> None:
        await world.answer(settlement="individual")
        order: list[str] = []
        append, put_blob = world.log.append, world.log.put_blob

        async def appending(entries: Sequence[bytes]) -> list[Accepted]:
            order.append("entries")
            return await append(entries)

        async def putting(data: bytes) -> str:
            order.append("blob")
            return await put_blob(data)

        world.log.append, world.log.put_blob = appending, putting  # type: ignore[method-assign]
        await world.deliver()
        assert order == ["blob", "entries"]

    play(story)


def test_a_follow_up_is_delivered_after_what_it_follows() -> None:
    async def story(world: World) -> None:
        run = await world.gateway.open(ask(), "first")
        await world.gateway.answer(run)
        await world.gateway.disconnected(run)
        await world.deliver()
        last = parse_statement(parse_envelope(world.log.entries[-1])).body
        assert isinstance(last, Execution)
        assert last.event == "disconnected"
        row = await world.row(run.id)
        assert (row.route_index, row.execution_index) == (0, 1)

    play(story)


def test_the_task_waits_longer_after_each_failure_and_goes_on_when_the_log_is_back() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        world.log.silent = True
        task = asyncio.create_task(world.outbox.work())
        for _ in range(50):
            await settle()
            await asyncio.sleep(0.002)
        assert world.outbox.trouble
        world.log.silent = False
        for _ in range(100):
            await world.clock.advance(0.2)
            await asyncio.sleep(0.002)
            if (await world.row(run)).logged_at is not None:
                break
        assert (await world.row(run)).execution_index == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    play(story)
