"""From an agent run's tree to a re-run of one turn and back, in a real browser: by the keyboard, beside the tree,
without scripts, and on a narrow screen.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.helpers import axe
from tests.helpers.agent_pages import AgentPages, agent_pages
from tests.helpers.browser import IN_A_BROWSER, Browser, Page, connect
from tests.web.test_agent_again import Stood, stood

pytestmark = [*IN_A_BROWSER]
ASKS = "[...document.querySelectorAll('a.tree-again:not(.tag)')].map((node) => node.textContent).join(', ')"
RERUNS = "document.querySelector('a.tag.tree-again')?.textContent"
FITS = "document.documentElement.scrollWidth <= innerWidth"

Story = Callable[[AgentPages, Browser, Stood], Awaitable[None]]


def enact(chromium: str, folder: Path, story: Story) -> None:
    async def main() -> None:
        async with agent_pages(folder) as pages, connect(chromium) as browser:
            await story(pages, browser, await stood(pages))

    asyncio.run(main())


async def enter(page: Page, link: str, until: str) -> None:
    """Press a link or a button as somebody without a pointer would."""
    await page.run(f"document.querySelector('{link}').focus()")
    assert await page.run(f"document.activeElement.matches('{link}')")
    await page.press("Enter", 13, "\r")
    await page.wait(until)


def test_a_reviewer_goes_from_the_tree_to_a_re_run_and_sees_it_marked_there(chromium: str, tmp_path: Path) -> None:
    async def story(pages: AgentPages, browser: Browser, at: Stood) -> None:
        page = await pages.tab(browser, "rea", "reviewer")
        await axe.prepare(page)
        await page.go(f"{pages.url}/agents/{at.run}")
        await page.wait(f"{ASKS} === 'ask again without a source, ask again without a row'")
        assert await axe.violations(page) == []
        await enter(page, "a.tree-again", f"location.pathname === '{at.step(1)}' && location.hash === '#again'")
        await enter(page, "#again [data-read]", "document.querySelector('#again form button')")
        assert await axe.violations(page) == []
        await enter(page, "#again form button", "document.querySelectorAll('#influence .tag').length === 2")
        assert await axe.violations(page) == []
        await page.go(f"{pages.url}/agents/{at.run}")
        await page.wait(f"{RERUNS} === 're-run 1×, no part of this run'")
        assert await page.run("document.querySelectorAll('[role=treeitem]').length") == 3
        assert await axe.violations(page) == []
        # Beside the tree, where there is room, the same form is reached.
        await page.click(f'[id="run-{at.turns[2]}"] .tree-link')
        await page.wait("document.querySelector('#detail-place .detail-again [data-read]')")
        await page.click("#detail-place .detail-again [data-read]")
        await page.wait("document.querySelector('#detail-place .recalled-row form button')")
        assert page.complaints == []

    enact(chromium, tmp_path, story)


def test_the_way_to_a_re_run_needs_no_script_and_fits_a_narrow_screen(chromium: str, tmp_path: Path) -> None:
    async def story(pages: AgentPages, browser: Browser, at: Stood) -> None:
        page = await pages.tab(browser, "rea", "reviewer", width=390, dark=True, scripts=False)
        await page.go(f"{pages.url}/agents/{at.run}")
        await page.wait(f"{ASKS} === 'ask again without a source, ask again without a row'")
        assert await page.run(FITS)
        await enter(page, "a.tree-again", "location.hash === '#again'")
        await enter(page, "#again [data-read]", "document.querySelector('#again form button')")
        assert await page.run(FITS)
        await enter(page, "#again form button", "document.querySelectorAll('#influence .tag').length === 2")
        await page.go(f"{pages.url}/agents/{at.run}")
        await page.wait(f"{RERUNS} === 're-run 1×, no part of this run'")
        assert await page.run(FITS)

    enact(chromium, tmp_path, story)
