"""Reading runs back: who may, how many may watch, and that a change reaches whoever waits for it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from holdfast.core.bundles import parse_bundle
from holdfast.core.payments import explain
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.gateway.desk import _view
from holdfast.ports.run_index import RunRow
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.gateway import ask
from tests.helpers.gateway_world import World, play
from tests.helpers.network import RUN, Network, at, bundle_of
from tests.helpers.payment_documents import Paid


@pytest.mark.parametrize("run", ["", "x", "../wal", "01900000-0000-1000-8000-000000000001", "01900000-0000-7000-8000"])
def test_what_is_no_run_id_is_refused_before_anything_is_looked_up(run: str) -> None:
    async def story(world: World) -> None:
        with pytest.raises(HoldfastError) as refused:
            await world.desk.find(run, "first", None)
        assert refused.value.code == "run.id"

    play(story)


def test_a_run_opens_to_its_workspace_or_its_capability_and_to_nothing_else() -> None:
    async def story(world: World) -> None:
        run, other = [await world.gateway.open(ask(), "first") for _ in range(2)]
        for item in (run, other):
            await world.gateway.answer(item)
        assert (await world.desk.find(run.id, "first", None))[1] is None
        assert (await world.desk.find(run.id, None, run.secret.hex()))[1] == run.secret
        for workspace, capability, code in (
            ("second", None, "run.unknown"),
            (None, None, "run.unknown"),
            (None, other.secret.hex(), "run.unknown"),
            ("second", other.secret.hex(), "run.unknown"),
            ("first", other.secret.hex(), "run.unknown"),
            (None, "00", "encoding.hex"),
            (None, "AB" * 32, "encoding.hex"),
        ):
            with pytest.raises(HoldfastError) as refused:
                await world.desk.find(run.id, workspace, capability)
            assert refused.value.code == code
        missing = "01900000-0000-7000-8000-000000000001"
        for workspace, capability in (("first", None), (None, run.secret.hex())):
            with pytest.raises(HoldfastError) as refused:
                await world.desk.find(missing, workspace, capability)
            assert (refused.value.code, refused.value.status) == ("run.unknown", 404)

    play(story)


def test_a_run_is_found_while_it_is_still_under_way() -> None:
    async def story(world: World) -> None:
        run = await world.gateway.open(ask(), "first")
        shown = await world.desk.show(await world.row(run.id))
        assert shown["outcome"] is None
        assert shown["lanes"]["bytes"]["state"] == "pending"
        assert [item["run"] for item in (await world.desk.recent("first", 5))["runs"]] == [run.id]
        await world.gateway.answer(run)
        assert (await world.desk.show(await world.row(run.id)))["outcome"] == "complete"

    play(story)


async def upcoming(events: Any) -> dict[str, Any]:
    async with asyncio.timeout(5):
        found: dict[str, Any] = json.loads(await anext(events))
        return found


def test_a_watcher_sees_each_change_of_its_run_and_no_other() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        events = world.desk.events(run)
        assert (await upcoming(events))["lanes"]["settlement"]["state"] == "pending"
        nothing = asyncio.ensure_future(anext(events))
        await world.answer()
        await asyncio.sleep(0.25)
        assert not nothing.done()
        await world.deliver()
        await world.cosign(4)
        world.finalise(world.candidate())
        await world.follow()
        async with asyncio.timeout(5):
            view = json.loads(await nothing)
            while view["lanes"]["settlement"]["state"] != "proven":
                view = await upcoming(events)
        await events.aclose()  # type: ignore[attr-defined]
        assert world.changes.watchers == 0

    play(story)


def test_many_changes_at_once_become_one_view() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        events = world.desk.events(run)
        await upcoming(events)
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await world.deliver()
        for _ in range(50):
            world.changes.notify()
        async with asyncio.timeout(5):
            assert json.loads(await waiting)["run"] == run
        again = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.3)
        assert not again.done()
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)

    play(story)


def test_watchers_beyond_the_limit_are_refused_and_make_room_when_they_leave() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        watching = [world.desk.events(run) for _ in range(8)]
        for events in watching:
            await anext(events)
        with pytest.raises(UnavailableError) as refused:
            await anext(world.desk.events(run))
        assert refused.value.code == "gateway.watchers"
        await watching[0].aclose()  # type: ignore[attr-defined]
        await anext(last := world.desk.events(run))
        for events in (*watching[1:], last):
            await events.aclose()  # type: ignore[attr-defined]
        assert world.changes.watchers == 0

    play(story)


def test_a_run_tells_its_payments_line_by_line_where_their_documents_are_in_the_bundle() -> None:
    row = RunRow(RUN, "claims", "2026-01-01T12:00:00.000Z", "chat.completions", 0)

    def told(*items: dict[str, Any]) -> dict[str, Any]:
        bundle = parse_bundle(bundle_of([*Network().journal(), *items]))
        return _view(row, appraise(bundle, Network().trust(), parse_policy(DEFAULT_POLICY), at(60)), [])

    charged = Paid()
    assert "payments" not in told()
    assert "payments" not in told(charged.statement_item())
    assert told(*charged.items())["payments"] == [{"digest": charged.digest, "lines": explain(charged.document)}]
