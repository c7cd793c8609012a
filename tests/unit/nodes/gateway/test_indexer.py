"""Rows wait in memory and reach the index together with the cursors that speak of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from holdfast.nodes.gateway.outbox import CURSOR
from tests.helpers.gateway_world import World, play


def test_a_cursor_is_stored_with_the_rows_it_speaks_of_and_not_before(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        index = world.indexer.index
        assert (index.cursor(CURSOR), index.run(run)) == (0, None)
        await world.indexer.flush()
        stored = index.run(run)
        assert stored is not None
        assert stored.execution_index == 1
        assert index.cursor(CURSOR) == world.ledger.end

    play(story, tmp_path)


def test_what_waits_is_seen_at_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert await world.indexer.highest_entry() == -1
        run = await world.answer()
        await world.deliver()
        row = await world.indexer.run(run)
        assert row is not None
        assert row.execution_index == 1
        assert await world.indexer.highest_entry() == 1
        await world.stop()
        await world.start()
        assert await world.indexer.highest_entry() == 1

    play(story, tmp_path)


def test_an_entry_that_is_logged_while_the_highest_is_first_looked_up_counts(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.answer()
        await asyncio.gather(world.indexer.highest_entry(), world.deliver())
        assert await world.indexer.highest_entry() == len(world.log.entries) - 1 == 1

    play(story, tmp_path)


def test_a_row_that_was_read_before_a_write_is_told_with_what_is_being_written(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        await world.indexer.flush()
        world.indexer.changed(run, asked_again=7)
        row, _ = await asyncio.gather(world.indexer.run(run), world.indexer.flush())
        assert row is not None
        assert row.asked_again == 7

    play(story, tmp_path)


def test_what_others_added_to_a_run_outlives_a_write_in_between(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        await world.indexer.flush()
        await world.indexer.added(run, 10)
        await asyncio.gather(world.indexer.added(run, 20), world.indexer.flush())
        await world.indexer.flush()
        row = await world.indexer.run(run)
        assert row is not None
        assert [place for place, _, _ in row.additions] == [10, 20]

    play(story, tmp_path)
