"""Streams that tell pages that something moved: when they say so, when they end, and who gets one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from holdfast.nodes.panel import live
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.service import PanelService
from holdfast.review.events import SYSTEM
from holdfast.review.roles import OPERATOR
from holdfast.web.app import create_app
from tests.helpers.case_world import URL, CaseWorld
from tests.helpers.panel import serving

pytestmark = pytest.mark.enable_socket
UNKNOWN = "01900000-0000-4000-8000-000000000001"


class Panel:
    """A case world's panel on a socket."""

    def __init__(self, world: CaseWorld, http: aiohttp.ClientSession, url: str, service: PanelService) -> None:
        self.world, self.http, self.url, self.service = world, http, url, service

    def stream(self, path: str, *headers: tuple[str, str]) -> Any:
        return self.http.get(self.url + path, headers=dict(headers))

    async def status(self, path: str, *headers: tuple[str, str]) -> int:
        async with self.stream(path, *headers) as answer:
            found: int = answer.status
            return found

    async def held(self) -> dict[str, Any]:
        run = await self.world.ask()
        await self.world.pull()
        await self.world.look_at_all()
        return await self.world.case(run)


Story = Callable[[Panel], Awaitable[None]]


def play(story: Story, folder: Path, *, people: bool = False, **config: Any) -> None:
    async def main() -> None:
        world = await CaseWorld(folder).start()
        house = world.house if people else None
        service = PanelService(
            PanelConfig(gateway=URL, **config), world.world.clock, world.metrics, world.review, house
        )
        try:
            async with serving(create_app(service), lifespan="off") as url, aiohttp.ClientSession() as http:
                await story(Panel(world, http, url, service))
        finally:
            await world.stop()

    asyncio.run(main())


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[str]:
    """Names of the events of a stream; ``still here`` for a heartbeat."""
    async for line in answer.content:
        text = line.decode().strip()
        if text.startswith("event: "):
            yield text.removeprefix("event: ")
        elif text.startswith(": "):
            yield text.removeprefix(": ")


async def next_of(found: AsyncIterator[str], seconds: float = 5) -> str:
    async with asyncio.timeout(seconds):
        return await anext(found)


async def nothing_of(found: AsyncIterator[str]) -> bool:
    """Whether a stream stays silent for as long as it takes to hear of something."""
    with contextlib.suppress(TimeoutError):
        await next_of(found, 0.4)
        return False
    return True


async def until_closed(panel: Panel) -> None:
    async with asyncio.timeout(30):
        while panel.service.open_streams:  # noqa: ASYNC110 (nobody tells when a socket is gone)
            await asyncio.sleep(0.01)


# --- refusals -------------------------------------------------------------------------------------------------------


def test_there_is_no_stream_of_what_is_not_there(tmp_path):
    async def story(panel: Panel) -> None:
        for path in (f"/cases/{UNKNOWN}/events", "/queues/none/events"):
            assert await panel.status(path) == 404
        assert panel.service.open_streams == 0

    play(story, tmp_path)


def test_somebody_without_a_role_gets_no_stream(tmp_path):
    async def story(panel: Panel) -> None:
        case = await panel.held()
        await panel.world.let_in("ada", "admin")
        olga = await panel.world.let_in("olga", "policy_owner")
        assert await panel.status(f"/cases/{case['id']}/events", olga[0]) == 403
        assert await panel.status("/queues/default/events", olga[0]) == 200

    play(story, tmp_path, people=True)


def test_more_streams_than_allowed_are_refused_until_one_ends(tmp_path):
    async def story(panel: Panel) -> None:
        async with panel.stream("/queues/default/events") as first:
            assert first.status == 200
            async with panel.stream("/queues/default/events") as second:
                assert second.status == 503
                assert (await second.json())["error"]["code"] == "panel.streams"
        await until_closed(panel)
        assert await panel.status("/queues/default/events") == 200

    play(story, tmp_path, max_streams=1)


# --- what is told ----------------------------------------------------------------------------------------------------


def test_a_stream_tells_of_its_case_and_of_no_other(tmp_path):
    async def story(panel: Panel) -> None:
        one, other = await panel.held(), await panel.held()
        async with panel.stream(f"/cases/{one['id']}/events") as answer:
            assert answer.content_type == "text/event-stream"
            found = events(answer)
            await panel.world.review.call(panel.world.desk.add_dependant, SYSTEM, other["id"], reference="a note")
            assert await nothing_of(found)
            await panel.world.review.call(panel.world.desk.add_dependant, SYSTEM, one["id"], reference="a note")
            assert await next_of(events(answer)) == "moved"

    play(story, tmp_path)


def test_a_queue_hears_of_evidence_of_openings_and_of_its_policy(tmp_path):
    async def story(panel: Panel) -> None:
        async with panel.stream("/queues/default/events") as answer:
            found = events(answer)
            case = await panel.held()
            assert await next_of(found) == "moved"
            await asyncio.sleep(2 * live.PAUSE_S)
            assert case["state"] == "HOLD"
            await panel.world.settle()
            await panel.world.world.clock.advance(3)
            await panel.world.look_at_all()
            assert await next_of(found) == "moved"
            text = (panel.world.queues / "default.toml").read_text() + "\n[require.route]\nstates = ['proven']\n"
            change = panel.world.desk.change_policy
            await panel.world.review.call(change, SYSTEM, "default", text + "bases = ['signature']\n")
            assert await next_of(found) == "moved"

    play(story, tmp_path)


def test_a_hundred_changes_are_few_messages(tmp_path):
    async def story(panel: Panel) -> None:
        case = await panel.held()
        async with panel.stream(f"/cases/{case['id']}/events") as answer:
            found, told = events(answer), 0
            for number in range(100):
                note = f"note {number}"
                await panel.world.review.call(panel.world.desk.add_dependant, SYSTEM, case["id"], reference=note)
            with contextlib.suppress(TimeoutError):
                while True:
                    assert await next_of(found, 3 * live.PAUSE_S) == "moved"
                    told += 1
            assert 1 <= told < 50

    play(story, tmp_path)


def test_a_stream_holds_nothing_of_the_case(tmp_path):
    async def story(panel: Panel) -> None:
        case = await panel.held()
        async with panel.stream(f"/cases/{case['id']}/events") as answer:
            await panel.world.review.call(panel.world.desk.add_dependant, SYSTEM, case["id"], reference="a secret")
            raw = b""
            async with asyncio.timeout(30):
                while b"moved" not in raw:
                    raw += await answer.content.readline()
            assert raw == b"retry: 3000\n\nevent: moved\n"

    play(story, tmp_path)


# --- how it ends -----------------------------------------------------------------------------------------------------


def test_a_reader_who_leaves_ends_the_stream_at_once(tmp_path):
    async def story(panel: Panel) -> None:
        async with panel.stream("/queues/default/events") as answer:
            assert answer.status == 200
            assert panel.service.open_streams == 1
            answer.close()
        await until_closed(panel)
        assert panel.world.review._watches == {}

    play(story, tmp_path)


@pytest.mark.parametrize("how", ["role", "session"])
def test_a_stream_ends_with_the_role_and_with_the_session(tmp_path, how):
    async def story(panel: Panel) -> None:
        case = await panel.held()
        await panel.world.let_in("ada", "admin")
        rita = await panel.world.let_in("rita", "viewer")
        async with panel.stream(f"/cases/{case['id']}/events", rita[0]) as answer:
            found = events(answer)
            if how == "role":
                panel.world.people.set_roles(OPERATOR, "rita", ("policy_owner",))
            else:
                panel.world.people.sign_out(rita[0][1].partition("=")[2])
            await panel.world.review.call(panel.world.desk.add_dependant, SYSTEM, case["id"], reference="a note")
            told = await next_of(found)
            assert told == "over"
            with pytest.raises(StopAsyncIteration):
                await next_of(found)
        await until_closed(panel)

    play(story, tmp_path, people=True)


def test_a_heartbeat_looks_at_the_reader_too(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.1)

    async def story(panel: Panel) -> None:
        await panel.world.let_in("ada", "admin")
        rita = await panel.world.let_in("rita", "viewer")
        async with panel.stream("/queues/default/events", rita[0]) as answer:
            found = events(answer)
            assert await next_of(found) == "still here"
            panel.world.people.sign_out(rita[0][1].partition("=")[2])
            async with asyncio.timeout(30):
                async for told in found:
                    last = told
            assert last == "over"

    play(story, tmp_path, people=True)
