"""A reviewer goes from an answer in a case file into the caller's file and back, in a real browser (``spec/files.md``
§8): by the keyboard, without scripts, and on a narrow screen.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.helpers import axe
from tests.helpers.agent_pages import AgentPages, agent_pages
from tests.helpers.browser import IN_A_BROWSER, Browser, Page, connect
from tests.helpers.filed import filed, saying
from tests.helpers.xss import CORPUS
from tests.unit.nodes.gateway.test_attaching import file

pytestmark = [*IN_A_BROWSER]
SENTENCE = "The south pump ran for forty days without a stop."
OTHER = "The north pump was taken out in May, and nobody put it back."
LINES = [f"Entry {number}: nothing to tell.\n" for number in range(200)]
HOSTILE = " ".join(text for text in CORPUS if text.isprintable())
TEXT = "".join([*LINES[:90], SENTENCE, "\n", *LINES[90:], HOSTILE, "\n", OTHER])
SAID = f"The report says: {SENTENCE} Of the other it says: {OTHER} And this: {HOSTILE}"
ENDS = "[...document.querySelectorAll('.said-line, .quote-found, .attached-file')]"
FITS = f"document.documentElement.scrollWidth <= 390 && {ENDS}.every((node) => node.scrollWidth <= node.clientWidth)"

Story = Callable[[AgentPages, Browser, str], Awaitable[None]]


def enact(chromium: str, folder: Path, story: Story) -> None:
    async def main() -> None:
        async with agent_pages(folder) as pages, connect(chromium) as browser:
            content = [{"type": "text", "text": "How long did they run?"}, file(TEXT, f"pumps {CORPUS[2]}.txt")]
            _, case = await filed(pages.cases, content, saying(SAID))
            await story(pages, browser, f"{pages.url}/cases/{case}")

    asyncio.run(main())


async def follow(page: Page, link: str, target: str) -> None:
    """Press a link as somebody without a pointer would, and see that it leads to what is on the screen."""
    await page.run(f"document.querySelector('{link}').focus()")
    await page.press("Enter", 13)
    await page.wait(f"location.hash === '#{target}' && document.querySelector(':target')?.id === '{target}'")
    box = "document.querySelector(':target').getBoundingClientRect()"
    await page.wait(f"{box}.bottom > 0 && {box}.top < innerHeight && {box}.height > 0")


def test_a_reviewer_goes_from_a_quote_to_its_span_and_back(chromium: str, tmp_path: Path) -> None:
    async def story(pages: AgentPages, browser: Browser, case: str) -> None:
        page = await pages.tab(browser, "rea", "reviewer", width=1280)
        await page.call("Page.addScriptToEvaluateOnNewDocument", source="window.hits = 0; window.hit = () => hits++")
        await axe.prepare(page)
        await page.go(case)
        await page.wait("document.querySelector('#cited-1')")
        assert await page.run("document.querySelector('#cited-1').textContent") == f" {SENTENCE} "
        await follow(page, "#cited-1", "quote-1")
        assert await page.run("document.querySelector(':target mark').textContent.trim()") == SENTENCE
        place = TEXT.index(SENTENCE) - 1
        await follow(page, "#quote-1 a:last-of-type", f"file-1-at-{place}")
        assert await page.run("document.querySelector(':target').textContent.trim()") == SENTENCE
        await follow(page, "#quote-1 a", "cited-1")
        assert await page.run("window.hits") == 0
        assert [url for url in page.requests if not url.startswith(pages.url)] == []
        assert await axe.violations(page) == []
        await page.screenshot(tmp_path / "wide.png")

    enact(chromium, tmp_path, story)


def test_links_of_quotes_lead_without_scripts_on_a_narrow_screen_in_the_dark(chromium: str, tmp_path: Path) -> None:
    async def story(pages: AgentPages, browser: Browser, case: str) -> None:
        page = await pages.tab(browser, "rea", "reviewer", width=390, dark=True, scripts=False)
        await axe.prepare(page)
        await page.go(case)
        await page.wait("document.querySelector('#cited-2')")
        await follow(page, "#cited-2", "quote-2")
        await follow(page, "#quote-2 a:last-of-type", f"file-1-at-{TEXT.index(OTHER) - 1}")
        assert await page.run("document.querySelector(':target').textContent.trim()") == OTHER
        assert await page.run(FITS)
        await page.screenshot(tmp_path / "narrow.png")
        await page.call("Emulation.setScriptExecutionDisabled", value=False)  # the engine of axe is a script
        await page.call("Page.reload")
        await page.wait("document.querySelector(':target')")
        assert await axe.violations(page) == []

    enact(chromium, tmp_path, story)
