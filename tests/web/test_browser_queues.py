"""Queues and case files in a real browser: live, by keyboard, on a narrow screen, in the dark.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.service import PanelService
from holdfast.review.events import SYSTEM, Actor
from holdfast.web.app import create_app
from tests.helpers.browser import Browser, connect, find_chromium, launch
from tests.helpers.case_world import URL, CaseWorld
from tests.helpers.panel import serving
from tests.web.test_browser import CONTRAST

pytestmark = [
    pytest.mark.enable_socket,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on the PATH"),
]

Scene = Callable[[CaseWorld, str, Browser], Awaitable[None]]


@pytest.fixture(scope="module")
def chromium() -> Iterator[str]:
    with launch() as address:
        yield address


@pytest.fixture
def play(chromium: str, tmp_path: Path) -> Callable[[Scene], None]:
    """Runs a scene with a panel over a gateway in memory."""

    def run(scene: Scene) -> None:
        async def act() -> None:
            world = await CaseWorld(tmp_path).start()
            service = PanelService(PanelConfig(gateway=URL), world.world.clock, world.metrics, world.review)
            try:
                async with serving(create_app(service), lifespan="off") as url, connect(chromium) as browser:
                    await scene(world, url, browser)
            finally:
                await world.stop()

        asyncio.run(act())

    return run


async def held(world: CaseWorld) -> str:
    """A case in HOLD; its id."""
    run = await world.ask()
    await world.pull()
    await world.look_at_all()
    found: str = (await world.case(run))["id"]
    return found


async def settle(world: CaseWorld) -> None:
    """Its round becomes final, and the panel hears of it."""
    await world.settle()
    await world.world.clock.advance(3)
    await world.look_at_all()


def test_a_case_goes_from_hold_to_clear_before_the_eyes_of_whoever_looks(play):
    async def scene(world: CaseWorld, url: str, browser: Browser) -> None:
        case = await held(world)
        page, queue = await browser.page(), await browser.page()
        await page.go(f"{url}/cases/{case}")
        await queue.go(f"{url}/queues/default")
        word = "document.querySelector('.case-word .stands').dataset.stands"
        assert await page.run(word) == "HOLD"
        assert "settlement is pending" in await page.run("document.querySelector('.why').innerText")
        await page.click("details[data-lane=bytes] summary")
        await settle(world)
        await page.wait(f"{word} === 'CLEAR'")
        await queue.wait("document.querySelector('.case').dataset.stands === 'CLEAR'")
        asked = [request for request in page.requests if request.endswith(f"/cases/{case}")]
        assert len(asked) <= 4, "a page that hears of what moves does not keep asking"
        assert any(request.endswith(f"/cases/{case}/events") for request in page.requests)
        assert await page.run("document.querySelector('details[data-lane=bytes]').open"), "what was open stays open"
        assert await page.run("document.getElementById('announce').textContent") == "The case is CLEAR"
        assert await page.run("document.activeElement.closest('details')?.dataset.lane") == "bytes"
        assert await page.run("document.querySelector('.why')") is None
        assert page.complaints == queue.complaints == []

    play(scene)


def test_a_queue_is_walked_with_the_keyboard(play):
    async def scene(world: CaseWorld, url: str, browser: Browser) -> None:
        cases = [await held(world) for _ in range(3)][::-1]
        page = await browser.page()
        await page.go(f"{url}/queues/default")
        focused = "document.activeElement.closest('.case')?.id ?? ''"
        await page.press("j", 74, "j")
        assert await page.run(focused) == f"case-{cases[0]}"
        await page.press("j", 74, "j")
        await page.press("j", 74, "j")
        await page.press("k", 75, "k")
        assert await page.run(focused) == f"case-{cases[1]}"
        await page.press("Enter", 13, "\r")
        await page.wait(f"location.pathname === '/cases/{cases[1]}'")
        assert page.complaints == []

    play(scene)


def test_the_slider_leads_to_what_was_shown_then(play):
    async def scene(world: CaseWorld, url: str, browser: Browser) -> None:
        case = await held(world)
        await settle(world)
        page = await browser.page()
        await page.go(f"{url}/cases/{case}")
        await page.run("[...document.querySelectorAll('.happening[data-event=held] a')].at(-1).click()")
        await page.wait(
            "document.querySelector('#stop') && document.querySelector('.stands').dataset.stands === 'HOLD'"
        )
        differing = "[...document.querySelectorAll('tr[data-differs=true]')].map((row) => row.dataset.lane).join()"
        assert await page.run(differing) == "settlement"
        await page.run(
            "(() => { const s = document.getElementById('stop'); s.focus(); s.value = s.max; "
            "s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change')); })()"
        )
        await page.wait("document.querySelector('.stands').dataset.stands === 'CLEAR'")
        assert await page.run(differing) == ""
        assert page.complaints == []

    play(scene)


def test_an_early_release_and_its_recall_are_seen_as_they_happen(play):
    async def scene(world: CaseWorld, url: str, browser: Browser) -> None:
        case = await held(world)
        page = await browser.page()
        await page.go(f"{url}/cases/{case}")
        word = "document.querySelector('.case-word .stands').dataset.stands"
        assert await page.run(word) == "HOLD"
        await world.let_in("ada", "approver")
        ada = Actor("person", "ada")
        until = world.world.clock.now() + dt.timedelta(minutes=10)

        def release() -> None:
            world.desk.view(ada, case)
            world.desk.release(ada, case, until=until, reason="the customer waits")

        await world.review.call(release)
        await page.wait(f"{word} === 'PROVISIONAL'")
        await page.wait("document.querySelector('.happening[data-event=released] .ahead')")
        assert "ada" in await page.run("document.querySelector('.decided').innerText")
        lanes = (await world.get(f"/v1/cases/{case}")).json()["lanes"]
        await world.review.call(world.desk.recall, SYSTEM, lanes["bytes"]["evidence"][0], "the key was stolen")
        await page.wait(f"{word} === 'RECALLED'")
        assert await page.run("document.querySelector('.tag-early') !== null"), "the mark stays for good"
        assert page.complaints == []

    play(scene)


def test_the_slider_stops_where_evidence_arrived(play):
    async def scene(world: CaseWorld, url: str, browser: Browser) -> None:
        case = await held(world)
        await settle(world)
        seq = (await world.get(f"/v1/cases/{case}")).json()["events"][-1]["seq"]
        page = await browser.page()
        await page.go(f"{url}/cases/{case}/at/{seq}")
        arrival = (
            "[...document.querySelectorAll('#ticks option')].findIndex((o) => o.dataset.path.startsWith('known/'))"
        )
        assert await page.run(arrival) >= 0
        await page.run(
            f"(() => {{ const s = document.getElementById('stop'); s.value = {arrival}; "
            "s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change')); })()"
        )
        await page.wait("location.pathname.includes('/known/')")
        await page.wait("document.querySelectorAll('.readings thead th').length === 4")
        assert page.complaints == []

    play(scene)


def test_without_a_stream_a_page_still_comes_to_show_what_moved(play):
    async def scene(world: CaseWorld, url: str, browser: Browser) -> None:
        case = await held(world)
        page = await browser.page()
        await page.call(
            "Page.addScriptToEvaluateOnNewDocument",
            source="""
            window.EventSource = class extends EventTarget {
                static CLOSED = 2; readyState = 2;
                constructor() { super(); setTimeout(() => this.dispatchEvent(new Event('error')), 10); }
                close() {}
            };
            const every = setInterval; window.setInterval = (act, ms) => every(act, Math.min(ms, 200));
        """,
        )
        await page.go(f"{url}/cases/{case}")
        await settle(world)
        await page.wait("document.querySelector('.case-word .stands').dataset.stands === 'CLEAR'")
        assert page.complaints == []

    play(scene)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_can_be_read_and_fit_a_phone(play, dark: bool):
    async def scene(world: CaseWorld, url: str, browser: Browser) -> None:
        case = await held(world)
        seq = (await world.case((await world.get(f"/v1/cases/{case}")).json()["run"]))["events"][-1]["seq"]
        lanes = (await world.get(f"/v1/cases/{case}")).json()["lanes"]
        page = await browser.page(width=360, dark=dark)
        for path in (
            "/queues",
            "/queues/default",
            f"/cases/{case}",
            f"/cases/{case}/at/{seq}",
            f"/cases/{case}/report",
            f"/cases/{case}/evidence/{lanes['bytes']['evidence'][0]}",
            "/statistics",
        ):
            await page.go(url + path)
            assert await page.run(CONTRAST) == [], path
            assert await page.run("document.documentElement.scrollWidth") <= 360, path
            assert page.complaints == [], path

    play(scene)
