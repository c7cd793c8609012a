"""Queues and case files in a real browser: live, by keyboard, on a narrow screen, in the dark.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.service import PanelService
from holdfast.review.events import SYSTEM, Actor
from holdfast.web.app import create_app
from tests.helpers.browser import IN_A_BROWSER, Browser, Page, connect
from tests.helpers.case_world import URL, CaseWorld
from tests.helpers.live_pages import LivePages, live_pages
from tests.helpers.panel import serving
from tests.web.test_browser import CONTRAST

pytestmark = [*IN_A_BROWSER]

Scene = Callable[[CaseWorld, str, Browser], Awaitable[None]]
InPerson = Callable[[LivePages, Browser], Awaitable[None]]
WORD = "document.querySelector('.case-word .stands').dataset.stands"
FOCUS = "document.activeElement.closest('details')?.dataset.keep ?? document.activeElement.tagName"
CODES = {key: ord(key.upper()) for key in "acdehjkmnor"} | {"?": 191, "/": 191, "Enter": 13, "Escape": 27}


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


@pytest.fixture
def enact(chromium: str, tmp_path: Path) -> Callable[[InPerson], None]:
    """Runs a scene with a panel that knows people."""

    def run(scene: InPerson) -> None:
        async def act() -> None:
            async with live_pages(tmp_path) as pages, connect(chromium) as browser:
                await scene(pages, browser)

        asyncio.run(act())

    return run


async def press(page: Page, *keys: str) -> None:
    """Press keys one after the other, as a hand does."""
    for key in keys:
        await page.press(key, CODES[key], "\r" if key == "Enter" else key if len(key) == 1 else "")


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
        await page.wait(f"{differing} === 'settlement'")
        await page.run(
            "(() => { const s = document.getElementById('stop'); s.focus(); s.value = s.max; "
            "s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change')); })()"
        )
        await page.wait(
            "document.querySelector('.stands').dataset.stands === 'CLEAR' && document.readyState === 'complete'"
        )
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
        lanes = (await world.get(f"/v1/cases/{case}", *world.reader())).json()["lanes"]
        await world.review.call(world.desk.recall, SYSTEM, lanes["bytes"]["evidence"][0], "the key was stolen")
        await page.wait(f"{word} === 'RECALLED'")
        assert await page.run("document.querySelector('.tag-early') !== null"), "the mark stays for good"
        assert page.complaints == []

    play(scene)


def test_the_slider_stops_where_evidence_arrived(play):
    async def scene(world: CaseWorld, url: str, browser: Browser) -> None:
        case = await held(world)
        await settle(world)
        seq = (await world.get(f"/v1/cases/{case}", *world.reader())).json()["events"][-1]["seq"]
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
        seq = (await world.case((await world.get(f"/v1/cases/{case}", *world.reader())).json()["run"]))["events"][-1][
            "seq"
        ]
        lanes = (await world.get(f"/v1/cases/{case}", *world.reader())).json()["lanes"]
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


# --- people ---------------------------------------------------------------------------------------------------------


def test_an_early_release_by_form_is_marked_and_its_recall_is_seen_live(enact):
    async def scene(pages: LivePages, browser: Browser) -> None:
        case = await pages.held()
        page, watcher = await pages.tab(browser, "ada", "approver"), await pages.tab(browser, "vic", "viewer")
        await page.go(f"{pages.url}/cases/{case}")
        await watcher.go(f"{pages.url}/queues/default")
        await press(page, "e")
        assert await page.run("document.activeElement.id") == "minutes"
        await page.run("document.getElementById('reason-release').focus()")
        await page.type("the customer waits")
        await page.click("details[data-keep=release] .button-main")
        await page.wait(f"{WORD} === 'PROVISIONAL'")
        assert "released early" in await page.run("document.querySelector('.case-word').innerText")
        assert "What was let go ahead of" in await page.run("document.querySelector('.why').innerText")
        await watcher.wait("document.querySelector('.case').dataset.stands === 'PROVISIONAL'")
        assert await watcher.run("document.querySelector('.case .tag-early').textContent") == "released early"
        await pages.settle(codes={0: "refuted:signature"})
        await page.wait(f"{WORD} === 'RECALLED'")
        await watcher.wait("document.querySelector('.case').dataset.stands === 'RECALLED'")
        assert "released early" in await page.run("document.querySelector('.case-word').innerText"), "the mark stays"
        assert await page.run("document.getElementById('announce').textContent") == "The case is RECALLED"
        assert page.complaints == watcher.complaints == []

    enact(scene)


def test_the_keys_of_a_case_file_lead_to_its_acts(enact):
    async def scene(pages: LivePages, browser: Browser) -> None:
        case = await pages.held()
        page = await pages.tab(browser, "ada", "approver")
        await page.go(f"{pages.url}/cases/{case}")
        for key, act, field in (
            ("a", "approve", "reason-approve"),
            ("r", "reject", "reason-reject"),
            ("e", "release", "minutes"),
            ("m", "comment", "text"),
            ("d", "dependants", "target"),
        ):
            await press(page, key)
            assert await page.run("document.activeElement.id") == field
            await press(page, "Escape")
            assert await page.run(f"document.querySelector('details[data-keep={act}]').open") is False
            assert await page.run("document.activeElement.tagName") == "SUMMARY"
            assert await page.run(FOCUS) == act
        await press(page, "c")
        await page.wait("document.querySelector('[data-key=c]').textContent === 'Let go'")
        await page.wait("document.activeElement.id === 'acts-title'")
        await press(page, "c")
        await page.wait("document.querySelector('[data-key=c]').textContent === 'Claim'")
        await page.wait("document.activeElement.id === 'acts-title'")
        await press(page, "m")
        await page.type("c a r e: ask the customer?")
        await page.click("details[data-keep=comment] .button")
        await page.wait("document.querySelector('.happening[data-event=commented]')")
        events = (await pages.world.get(f"/v1/cases/{case}", *pages.world.reader())).json()["events"]
        assert [event["kind"] for event in events if event["actor"]["kind"] == "person"].count("commented") == 1
        assert not [event for event in events if event["kind"] in ("decided", "released")], "keys alone decide nothing"
        assert page.complaints == []

    enact(scene)


def test_no_key_fires_while_somebody_types_or_holds_a_modifier(enact):
    async def scene(pages: LivePages, browser: Browser) -> None:
        case = await pages.held()
        page = await pages.tab(browser, "ada", "approver")
        await page.go(f"{pages.url}/cases/{case}")
        await press(page, "m")
        await press(page, "c", "a", "r", "e", "o", "j", "?")
        assert await page.run("document.getElementById('text').value") == "careoj?"
        assert await page.run("document.querySelectorAll('details[open]').length") == 1
        assert await page.run("document.getElementById('keys').open") is False
        await press(page, "Escape")
        await page.call("Input.dispatchKeyEvent", type="keyDown", key="a", code="KeyA", modifiers=2)
        await page.call("Input.dispatchKeyEvent", type="keyUp", key="a", code="KeyA", modifiers=2)
        assert await page.run("document.querySelectorAll('details.act[open]').length") == 0
        assert await page.run(WORD) == "HOLD"
        assert await page.run("document.getElementById('text').value") == "careoj?", "what was written is still there"

    enact(scene)


def test_lanes_are_walked_and_opened_to_their_evidence_with_the_keyboard(enact):
    async def scene(pages: LivePages, browser: Browser) -> None:
        case = await pages.held()
        page = await pages.tab(browser, "ada", "approver")
        await page.go(f"{pages.url}/cases/{case}")
        lane = "document.activeElement.closest('details.lane')?.dataset.lane"
        await press(page, "j", "j")
        assert await page.run(lane) == "bytes"
        await press(page, "o")
        assert await page.run("document.querySelector('details[data-lane=bytes]').open")
        assert "/evidence/" in await page.run("document.activeElement.getAttribute('href')")
        await press(page, "Escape")
        assert await page.run("document.querySelector('details[data-lane=bytes]').open") is False
        await press(page, "k")
        assert await page.run(lane) == "enclave"
        assert page.complaints == []

    enact(scene)


def test_the_list_of_keys_shows_what_is_there_closes_with_escape_and_switches_them_off(enact):
    async def scene(pages: LivePages, browser: Browser) -> None:
        case = await pages.held()
        page, viewer = await pages.tab(browser, "ada", "approver"), await pages.tab(browser, "vic", "viewer")
        shown = "[...document.querySelectorAll('#keys dl > div:not([hidden]) kbd')].map((k) => k.textContent).join('')"
        for tab, keys in ((page, "jkocaremd?Esc"), (viewer, "jko?Esc")):
            await tab.go(f"{pages.url}/cases/{case}")
            await press(tab, "?")
            assert await tab.run("document.getElementById('keys').open")
            assert await tab.run(shown) == keys
            assert await tab.run("document.getElementById('keys').contains(document.activeElement)")
            await press(tab, "a")
            assert await tab.run("document.querySelectorAll('details.act[open]').length") == 0, "not from behind"
            await press(tab, "Escape")
            assert await tab.run("document.getElementById('keys').open") is False
        await press(page, "?")
        await page.click("#keys-on")
        await press(page, "Escape", "a")
        assert await page.run("document.querySelectorAll('details.act[open]').length") == 0
        await page.go(f"{pages.url}/cases/{case}")
        await press(page, "a")
        assert await page.run("document.querySelectorAll('details.act[open]').length") == 0, "it is remembered"
        await page.click("[data-keys]")
        await page.click("#keys-on")
        await press(page, "Escape", "a")
        assert await page.run("document.activeElement.id") == "reason-approve"
        assert page.complaints == viewer.complaints == []

    enact(scene)


def test_everything_on_a_queue_page_is_reached_with_tab_and_a_case_is_opened_by_hand(enact):
    async def scene(pages: LivePages, browser: Browser) -> None:
        case, run = await pages.held(), await pages.world.ask(queue=None)
        page = await pages.tab(browser, "rita", "reviewer")
        await page.go(f"{pages.url}/queues/default")
        await page.run("document.querySelectorAll('details').forEach((node) => { node.open = true })")
        wanted = (
            "[...document.querySelectorAll('a, button, input:not([type=hidden]), summary')]"
            ".filter((node) => node.checkVisibility() && !node.disabled)"
        )
        await page.run(f"window.wanted = new Set({wanted}); document.body.focus(); undefined")
        for _ in range(3 * await page.run("window.wanted.size")):  # a date has a stop for each of its parts
            await page.press("Tab", 9)
            await page.run("window.wanted.delete(document.activeElement)")
        left = await page.run("[...window.wanted].map((node) => node.outerHTML.slice(0, 120))")
        assert left == []
        await page.go(f"{pages.url}/queues/default")
        await press(page, "/")
        assert await page.run("document.activeElement.closest('.filters') !== null")
        await press(page, "n")
        assert await page.run("document.activeElement.id") == "run"
        await page.type(run)
        await press(page, "Enter")
        await page.wait("location.pathname.startsWith('/cases/') && document.querySelector('.case-word')")
        opened = await page.run("location.pathname.split('/').pop()")
        assert opened != case
        assert (await pages.world.get(f"/v1/cases/{opened}", *pages.world.reader())).json()["run"] == run
        assert page.complaints == []

    enact(scene)


def test_the_slider_moves_with_the_arrow_keys_and_says_where_it_is(enact):
    async def scene(pages: LivePages, browser: Browser) -> None:
        case = await pages.held()
        await pages.settle()
        events = (await pages.world.get(f"/v1/cases/{case}", *pages.world.reader())).json()["events"]
        seqs = [event["seq"] for event in events if event["lanes"]]
        page = await browser.page()
        await page.go(f"{pages.url}/cases/{case}/at/{seqs[0]}")
        before = await page.run("location.pathname")
        await page.run("document.getElementById('stop').focus()")
        await page.press("ArrowRight", 39)
        assert await page.run("document.getElementById('stop').getAttribute('aria-valuetext')")
        await page.wait(f"location.pathname !== {before!r} && document.getElementById('stop')")
        await page.go(f"{pages.url}/cases/{case}/at/{seqs[-1]}")
        await page.wait("document.querySelector('.stands').dataset.stands === 'CLEAR'")
        assert page.complaints == []

    enact(scene)


def test_a_recall_is_confirmed_on_a_page_that_says_what_it_reaches(enact):
    async def scene(pages: LivePages, browser: Browser) -> None:
        case = await pages.held()
        await pages.settle()
        page = await pages.tab(browser, "ada", "approver")
        await page.go(f"{pages.url}/cases/{case}")
        await page.click("details[data-lane=settlement] summary")
        await page.click("details[data-lane=settlement] .recall")
        await page.wait("location.pathname === '/recall' && document.querySelector('h1')")
        assert "Let through on it: 1" in await page.run("document.querySelector('main').innerText")
        await page.run("document.getElementById('cause').focus()")
        await page.type("the finality key was stolen")
        await page.click("main .button-main")
        await page.wait("document.querySelector('main').innerText.includes('1 case is recalled')")
        await page.go(f"{pages.url}/cases/{case}")
        assert await page.run(WORD) == "RECALLED"
        assert page.complaints == []

    enact(scene)
