"""The pages in a real browser: streaming, live lanes, keyboard, narrow screens, themes, contrast, no scripts.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from holdfast.web.assets import Assets
from holdfast.web.typeset import typeset
from tests.helpers.browser import IN_A_BROWSER, Browser, Page, connect
from tests.helpers.fake_gateway import STAGES, FakeGateway, four_nodes
from tests.helpers.panel import PanelWorld, open_panel

pytestmark = [*IN_A_BROWSER]

Scene = Callable[[PanelWorld, Browser], Awaitable[None]]

NARROW = 360
"""CSS pixels of a small phone."""
CONTRAST = """(() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgba(getComputedStyle(node).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255, 255];
  };
  const bad = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    const style = getComputedStyle(node);
    if (!own || node.closest('.visually-hidden, .skip, option')) continue;
    if (!node.checkVisibility({ visibilityProperty: true })) continue;
    const [a, b] = [light(rgba(style.color)), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push(`${node.className || node.tagName} ${ratio.toFixed(2)} ${node.textContent.trim()}`);
  }
  return bad;
})()"""


Play = Callable[..., None]


@pytest.fixture
def play(chromium: str) -> Play:
    """Runs a scene with a panel of its own and tabs of its own."""

    def run(scene: Scene, gateway: FakeGateway | None = None, **config: Any) -> None:
        async def act() -> None:
            async with open_panel(gateway, four_nodes(), **config) as panel, connect(chromium) as browser:
                await scene(panel, browser)

        asyncio.run(act())

    return run


async def ask(page: Page, question: str) -> None:
    await page.click("#prompt")
    await page.type(question)
    await page.press("Enter", 13, "\r")


@contextlib.asynccontextmanager
async def quiet(page: Page) -> AsyncIterator[None]:
    """Nothing in the block may make the browser complain."""
    yield
    assert page.complaints == []


def test_an_answer_streams_and_its_lanes_move_one_by_one(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await browser.page()
        async with quiet(page):
            panel.gateway.hold_after = 9
            await page.go(panel.url + "/")
            await ask(page, "What is a holdfast?")
            await page.wait("document.querySelector('.answer').textContent.length > 20")
            assert await page.run("document.querySelector('.answer').hasAttribute('data-busy')")
            assert await page.run("document.querySelector('[data-lane=bytes]').dataset.state") == "pending"
            panel.gateway.go.set()
            await page.wait("document.querySelector('details[data-lane=bytes]').dataset.state === 'proven'")
            await page.wait("!document.querySelector('.answer[data-busy]')")
            [run] = panel.gateway.runs.values()
            while STAGES[run.stage] != "voted":
                await panel.gateway.advance(run)
            await page.wait(
                "document.querySelector('.live-says').textContent.startsWith('2 of 4 full nodes have voted')"
            )
            await panel.gateway.advance(run)
            await page.wait("document.querySelector('details[data-lane=settlement]').dataset.state === 'proven'")
            assert (
                await page.run("document.querySelector('[data-lane=settlement] .lane-basis').textContent")
                == "development"
            )
            assert await page.run("document.querySelectorAll('details.lane').length") == 11
            assert await page.run("document.querySelectorAll('details.lane[data-state=proven]').length") == 3
            await page.wait("document.getElementById('announce').textContent.includes('settlement: proven')")
        assert all(url.startswith(panel.url) for url in page.requests)

    play(scene)


def test_a_lane_opens_with_the_keyboard_to_what_it_says_and_does_not_say(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        run = panel.gateway.add_run()
        await panel.gateway.advance(run)
        page = await browser.page()
        async with quiet(page):
            await page.go(f"{panel.url}/runs/{run.run}")
            await page.run("document.querySelector('details[data-lane=bytes] summary').focus()")
            await page.press("Enter", 13, "\r")
            await page.wait("document.querySelector('details[data-lane=bytes]').open")
            body = await page.run("document.querySelector('details[data-lane=bytes] .lane-body').innerText")
            assert "That they are true." in body
            assert "14 of 14 disclosed parts" in body
            assert await page.run("document.querySelector('details[data-lane=bytes] .copy').dataset.copy.length") == 64
            for _ in range(3):
                await page.press("Tab", 9)
            outline = await page.run("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid"

    play(scene)


def test_an_open_lane_stays_open_and_focused_while_lanes_change(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        run = panel.gateway.add_run()
        page = await browser.page()
        async with quiet(page):
            await page.go(f"{panel.url}/runs/{run.run}")
            await page.run("document.querySelector('details[data-lane=settlement]').open = true")
            await page.run("document.querySelector('details[data-lane=settlement] summary').focus()")
            for _ in range(6):
                await panel.gateway.advance(run)
            await page.wait("document.querySelector('details[data-lane=settlement]').dataset.state === 'proven'")
            assert await page.run("document.querySelector('details[data-lane=settlement]').open")
            assert await page.run("document.activeElement.closest('[data-lane]').dataset.lane") == "settlement"

    play(scene)


def test_the_page_of_a_run_grows_its_time_axis_and_evidence(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        run = panel.gateway.add_run()
        page = await browser.page()
        async with quiet(page):
            await page.go(f"{panel.url}/runs/{run.run}")
            await panel.gateway.advance(run)
            await page.wait("document.querySelectorAll('#axis .moment').length === 3")
            assert await page.run("!document.querySelector('#axis .moment[data-kind=move] .ahead').hidden")
            assert await page.run("document.querySelectorAll('#axis .settled').length") == 0
            for _ in range(5):
                await panel.gateway.advance(run)
            await page.wait("document.querySelectorAll('#axis .settled').length === 1")
            await page.wait("document.querySelectorAll('#evidence tbody tr').length === 4")
            assert await page.run("document.getElementById('outcome').textContent") == "complete"
            assert await page.run("!document.querySelector('#axis .moment[data-kind=move] .ahead').hidden")

    play(scene)


def test_the_server_and_the_script_draw_the_same_axis(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        run = panel.gateway.add_run()
        for number in range(4):
            run.note(panel.gateway.now(), "marked", f"Mark {number}.")
        for _ in range(6):
            await panel.gateway.advance(run)
        live, still = await browser.page(), await browser.page(scripts=False)
        for page in (live, still):
            await page.go(f"{panel.url}/runs/{run.run}")
        await live.wait("document.getElementById('axis').matches(':has(*)')")
        await asyncio.sleep(0.5)
        script = "document.getElementById('axis').textContent.replace(/\\s+/g, '')"
        drawn = await live.run(script)
        await still.call("Emulation.setScriptExecutionDisabled", value=False)
        assert await still.run(script) == drawn

    play(scene)


def test_a_conversation_survives_a_reload_and_ends_when_asked(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await browser.page()
        async with quiet(page):
            await page.go(panel.url + "/")
            for count, question in enumerate(("First?", "Second?"), 1):
                await ask(page, question)
                await page.wait(f"document.querySelectorAll('.turn').length === {count}")
                await page.wait("!document.querySelector('.answer[data-busy]')")
            messages = panel.gateway.asked[-1]["messages"]
            assert [message["role"] for message in messages] == ["user", "assistant", "user"]
            assert not await page.run("document.querySelector('.turn .turn-lanes').open")
            await page.go(panel.url + "/")
            await page.wait("document.querySelectorAll('.turn').length === 2")
            await page.wait(
                "document.querySelectorAll('.turn-lanes details[data-lane=bytes][data-state=proven]').length === 2"
            )
            await page.click("#new")
            await page.wait(
                "document.querySelectorAll('.turn').length === 0 && document.querySelectorAll('.runs li').length === 2"
            )

    play(scene, FakeGateway(auto_s=0.05))


def test_stopping_an_answer_reaches_the_gateway(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await browser.page()
        async with quiet(page):
            panel.gateway.hold_after = 9
            await page.go(panel.url + "/")
            await ask(page, "Go on for long.")
            await page.wait("document.querySelector('.bound').textContent.length > 10")
            await page.click("#send")
            await page.wait("document.querySelector('.turn-status').textContent.startsWith('You stopped it')")
            async with asyncio.timeout(30):
                while not panel.gateway.disconnected:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    play(scene)


def test_a_broken_answer_keeps_what_came_and_says_that_it_broke(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        panel.gateway.break_after = 9
        page = await browser.page()
        await page.go(panel.url + "/")
        await ask(page, "Break, please.")
        await page.wait("document.querySelector('.turn-trouble [role=alert]')")
        assert "broke the answer off" in await page.run("document.querySelector('.turn-trouble').innerText")
        shown = await page.run("document.querySelector('.bound').textContent")
        assert shown
        assert panel.gateway.answer.startswith(shown)
        assert "Cannot tell: " in await page.run("document.querySelector('.checked-here').textContent")

    play(scene)


def test_a_gateway_that_is_down_is_named_and_the_page_works_again_later(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await browser.page()
        await page.go(panel.url + "/")
        panel.gateway.down = True
        await ask(page, "Anybody there?")
        await page.wait("document.querySelector('.turn-trouble [role=alert]')")
        assert "The gateway is being restarted." in await page.run("document.querySelector('.turn-trouble').innerText")
        assert await page.run("document.querySelector('.turn-lanes').hidden")  # no run: no lane waits for anything
        panel.gateway.down = False
        await ask(page, "And now?")
        await page.wait("document.querySelectorAll('.bound')[1]?.textContent.length > 100")

    play(scene)


def test_a_copy_button_copies_the_whole_digest(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        run = panel.gateway.add_run()
        page = await browser.page()
        await browser.call("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"], "origin": panel.url})
        async with quiet(page):
            await page.go(f"{panel.url}/runs/{run.run}")
            await page.call("Page.bringToFront")
            await page.click(".facts .copy")
            await page.wait("document.querySelector('.facts .copy').hasAttribute('data-done')")
            assert await page.run("document.getElementById('announce').textContent") == "Copied"

    play(scene)


def test_rounds_stay_current_while_they_are_looked_at(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await browser.page()
        async with quiet(page):
            await page.go(panel.url + "/rounds")
            assert await page.run("document.querySelectorAll('.rounds tbody tr').length") == 8
            for node in panel.nodes:
                node.add(9, "open", [])
            await page.wait("document.querySelectorAll('.rounds tbody tr').length === 9")

    play(scene)


def test_without_scripts_people_can_ask_and_read(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await browser.page(scripts=False)
        await page.go(panel.url + "/")
        await page.click("#prompt")
        await page.type("Without scripts?")
        await page.click("#send")
        async with asyncio.timeout(30):
            while not panel.gateway.asked:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        await page.call("Emulation.setScriptExecutionDisabled", value=False)
        text = await page.run("document.body.innerText")
        assert "Without scripts?" in text
        assert "A holdfast is the part of a kelp" in text
        assert await page.run("document.querySelectorAll('details.lane').length") >= 11

    play(scene)


@pytest.mark.parametrize(
    "text",
    [
        "say `x` and **so**, <b>not</b> this",
        "# One\n\nText\n## Two\n```py\nx = '<i>' & \"y\"\n```\nafter",
        "```\nstill open",
        "`a``b` ** c ** `unclosed",
        "",
    ],
)
def test_the_server_and_the_script_set_texts_alike(play, text):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await browser.page()
        await page.go(panel.url + "/about")
        script = (
            f"import('{Assets().prefix}/typeset.js').then((module) => {{ const node = document.createElement('p');"
            f"module.typeset(node, {json.dumps(text)}); return [node.innerHTML, node.textContent] }})"
        )
        drawn, content = await page.run(script)
        assert drawn == str(typeset(text)).replace("&#34;", '"').replace("&#39;", "'")
        assert content == text

    play(scene)


def test_the_theme_follows_the_system_until_somebody_chooses(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await browser.page(dark=True)
        async with quiet(page):
            await page.go(panel.url + "/about")
            ground = "getComputedStyle(document.documentElement).backgroundColor"
            dark = await page.run(ground)
            await page.click("#theme")
            light = await page.run(ground)
            assert light != dark
            await page.go(panel.url + "/rounds")
            assert await page.run(ground) == light

    play(scene)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_has_contrast_and_no_page_is_wider_than_a_phone(play, dark):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        run = panel.gateway.add_run("Why?")
        for state, lane in zip(("proven", "refuted", "expired", "unknown"), run.lanes.values(), strict=False):
            lane["state"] = state
        for _ in range(6):
            await panel.gateway.advance(run)
        for width in (NARROW, 1280):
            page = await browser.page(width=width, dark=dark, calm=True)
            for path in ("/", f"/runs/{run.run}", "/rounds", "/rounds/7", "/about", "/nowhere"):
                await page.go(panel.url + path)
                await page.run("document.querySelectorAll('details').forEach((node) => node.open = true)")
                assert await page.run(CONTRAST) == [], path
                assert await page.run("document.documentElement.scrollWidth") <= width, (path, width)

    play(scene, access_key=None)


def test_less_motion_means_none(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        run = panel.gateway.add_run()
        page = await browser.page(calm=True)
        await page.go(f"{panel.url}/runs/{run.run}")
        assert await page.run("document.getAnimations().length") == 0
        moving = await browser.page()
        await moving.go(f"{panel.url}/runs/{run.run}")
        assert await moving.run("document.getAnimations().length") > 0

    play(scene)


def test_fingers_find_every_control_on_a_phone(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await browser.page(width=NARROW)
        await page.go(panel.url + "/")
        await ask(page, "Small?")
        await page.wait("!document.querySelector('.answer[data-busy]')")
        small = await page.run(
            "[...document.querySelectorAll('button, summary, select, .nav a')].filter((e) => e.checkVisibility())"
            ".map((e) => [e.className || e.id || e.textContent, e.getBoundingClientRect()])"
            ".filter(([, r]) => r.height < 24 || r.width < 24).map(([name]) => name)"
        )
        assert small == []  # WCAG 2.2 §2.5.8: 24 by 24 CSS pixels

    play(scene)


def test_the_first_page_weighs_less_than_100_kilobytes(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        for _ in range(30):
            panel.gateway.add_run()
        page = await browser.page()
        async with quiet(page):
            await page.go(panel.url + "/")
            await page.wait("document.querySelectorAll('.runs li').length === 30")
            await asyncio.sleep(0.3)
        assert 5_000 < page.received_bytes < 100_000

    play(scene)
