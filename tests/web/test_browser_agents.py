"""An agent run's tree in a real browser: moved over with keys, current while it is open, and nothing serious for axe.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.helpers import axe
from tests.helpers.agent_pages import AgentPages, agent_pages, call, open_agent, step
from tests.helpers.browser import IN_A_BROWSER, Browser, Page, connect
from tests.helpers.xss import CORPUS

pytestmark = [*IN_A_BROWSER]
FOCUS = "document.activeElement.querySelector('.tree-link')?.textContent"
ITEMS = "document.querySelectorAll('[role=treeitem]').length"
READY = "document.querySelector('[role=treeitem][tabindex=\"0\"]')"
FITS = "document.documentElement.scrollWidth <= innerWidth"


Story = Callable[[AgentPages, Browser], Awaitable[None]]


def enact(chromium: str, folder: Path, story: Story) -> None:
    async def main() -> None:
        async with agent_pages(folder) as pages, connect(chromium) as browser:
            await story(pages, browser)

    asyncio.run(main())


async def press(page: Page, *keys: str) -> None:
    codes = {"ArrowDown": 40, "ArrowUp": 38, "ArrowLeft": 37, "ArrowRight": 39, "Home": 36, "End": 35, "Enter": 13}
    for key in keys:
        await page.press(key, codes[key])


def test_a_tree_is_moved_over_with_keys_and_shows_a_child_beside_it(chromium: str, tmp_path: Path) -> None:
    async def story(pages: AgentPages, browser: Browser) -> None:
        agent = await pages.agent(queue="default")
        page = await pages.tab(browser, "rea", "reviewer")
        await axe.prepare(page)
        await page.go(f"{pages.url}/agents/{agent['run']}")
        await page.wait(READY)
        assert await page.run("document.querySelectorAll('[role=treeitem][tabindex=\"0\"]').length") == 1
        await page.run(f"{READY}.focus()")
        await press(page, "ArrowDown")
        assert await page.run(FOCUS) == "rates"
        await press(page, "End", "ArrowUp", "ArrowUp")
        assert await page.run(FOCUS) == "search"
        await press(page, "ArrowLeft")
        assert await page.run(FOCUS) == "researcher"
        await press(page, "ArrowLeft")
        assert await page.run("document.activeElement.getAttribute('aria-expanded')") == "false"
        await press(page, "ArrowDown")
        assert await page.run(FOCUS) == "wire: what came of it"
        await press(page, "ArrowUp", "ArrowRight", "ArrowRight")
        assert await page.run(FOCUS) == "search"
        await press(page, "Home", "ArrowDown", "Enter")
        await page.wait("document.querySelector('#detail-place h1')?.textContent === 'rates'")
        await page.click("#detail-place [data-read]")
        await page.wait("document.querySelector('#detail-place .step-text')?.textContent.includes('EUR/USD')")
        assert await axe.violations(page) == []
        assert page.complaints == []

    enact(chromium, tmp_path, story)


def test_a_tree_stays_current_and_keeps_what_was_folded_up_and_where_the_focus_was(
    chromium: str, tmp_path: Path
) -> None:
    async def story(pages: AgentPages, browser: Browser) -> None:
        agent = await pages.agent()
        page = await browser.page()
        await page.go(f"{pages.url}/agents/{agent['run']}")
        await page.wait(READY)
        await page.run(f"document.getElementById('run-{agent['below']}').focus()")
        await press(page, "ArrowLeft")
        before = await page.run(ITEMS)
        await step(pages.world, agent, call("rates", {"pair": "X"}, result=1))
        pages.world.changes.notify()
        await page.wait(f"{ITEMS} === {before + 1}")
        assert await page.run("document.activeElement.id") == f"run-{agent['below']}"
        assert await page.run("document.activeElement.getAttribute('aria-expanded')") == "false"
        await pages.settle(2)
        await page.wait(f"document.querySelector('#run-{agent['second']} [data-stands]').dataset.stands === 'CLEAR'")

    enact(chromium, tmp_path, story)


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 390)], ids=str)
def test_pages_of_agents_break_no_grave_rule_and_run_nothing_that_an_agent_says(
    chromium: str, tmp_path: Path, dark: bool, width: int
) -> None:
    async def story(pages: AgentPages, browser: Browser) -> None:
        agent = await open_agent(pages.world, queue="default", goal="\n".join(CORPUS).replace("\x00", ""))
        texts = [text for text in CORPUS if "\x00" not in text]
        await step(pages.world, agent, call("rates", {text: text for text in texts}, result="\n".join(texts)))
        act = await step(pages.world, agent, call("wire", {text: text for text in texts}))
        hint = {"kind": "hint", "name": texts[0], "attributes": {text: text for text in texts}}
        said = await step(pages.world, agent, hint)
        other = await open_agent(pages.world, queue="default")
        await pages.look()
        page = await pages.tab(browser, "rea", "reviewer", dark=dark, width=width)
        await axe.prepare(page)
        base = f"/agents/{agent['run']}"
        read = [f"{base}/steps/{child['run']}?read=1" for child in (act, said)]
        for path in ("/agents", base, *read, f"{base}/with", f"{base}/with/{other['run']}?read=1"):
            await page.go(pages.url + path)
            await page.wait("document.querySelector('main h1')")
            await page.run("document.querySelectorAll('main details').forEach((node) => { node.open = true })")
            assert await axe.violations(page) == [], path
            assert await page.run(FITS), path
            assert await page.run("typeof hit") == "undefined"
        assert [url for url in page.requests if not url.startswith((pages.url, "data:"))] == []
        assert page.complaints == []

    enact(chromium, tmp_path, story)
