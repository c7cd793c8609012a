"""Conversations in a real browser: looking through them, titles, branches, files, single keys.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.helpers import axe
from tests.helpers.browser import IN_A_BROWSER, Browser, Page
from tests.helpers.panel import PanelWorld
from tests.web.test_browser_chat import answered, ask, opened
from tests.web.test_browser_chat import play as play  # noqa: PLC0414  # a fixture
from tests.web.test_browser_memory import downloaded

pytestmark = [*IN_A_BROWSER]
TITLES = "[...document.querySelectorAll('#conversations a')].map((link) => link.textContent)"
TURNS = "document.querySelectorAll('.talk').length"
TITLE = "document.getElementById('title').textContent"


async def begun(page: Page, question: str, answer: str, panel: PanelWorld) -> None:
    """A new conversation with one turn."""
    panel.gateway.answer = answer
    await page.click(".chat-list > a")
    await page.wait(f"{TURNS} === 0")
    await ask(page, question)
    await answered(page)


async def write(page: Page, field: str, text: str) -> None:
    await page.click(f"#{field}")
    await page.run(f"document.getElementById('{field}').select()")
    await page.type(text)


def test_titles_and_texts_are_looked_through_here_and_nowhere_else(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await begun(page, "Where is Lisbon?", "By the Tagus.", panel)
        await begun(page, "What is a fugue?", "A piece for several voices, as Bach wrote them.", panel)
        await page.go(panel.url + "/chat?again")
        await page.wait(f"{TITLES}.length === 2")
        before = len(page.requests)
        await write(page, "look", "BACH voices")
        await page.wait(f"{TITLES}.length === 1")
        assert await page.run(TITLES) == ["What is a fugue?"]
        assert "as Bach wrote" in await page.run("document.querySelector('#conversations .found').textContent")
        await write(page, "look", "lisbon")
        await page.wait(f"{TITLES}[0] === 'Where is Lisbon?'")
        assert await page.run("document.querySelector('#conversations .found').hidden")
        await write(page, "look", "lisbon bach")
        await page.wait("!document.getElementById('nothing-found').hidden")
        await page.press("Escape", 27)
        await page.wait(f"{TITLES}.length === 2")
        assert [url for url in page.requests[before:] if "/events" not in url and "/icons/" not in url] == []

    play(scene)


def test_a_conversation_is_renamed_and_keeps_its_name(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await begun(page, "First?", "Yes.", panel)
        await page.click("#rename")
        await write(page, "title-field", "<b>Maps</b>   and  charts")
        await page.press("Enter", 13, "\r")
        await page.wait(f"{TITLE} === '<b>Maps</b> and charts'")
        assert await page.run(TITLES) == ["<b>Maps</b> and charts"]
        await page.click("#rename")
        await page.press("Escape", 27)
        await page.wait("document.activeElement.id === 'rename'")
        there = await page.run("location.hash")
        await page.go(panel.url + "/chat?again" + there)
        await page.wait(f"{TITLE} === '<b>Maps</b> and charts'")

    play(scene)


def test_a_branch_is_a_conversation_of_its_own_up_to_that_turn(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await begun(page, "One?", "First answer.", panel)
        await ask(page, "Two?")
        await answered(page, 2)
        run = await page.run("document.querySelector('.talk').dataset.run")
        here = await page.run("location.hash")
        await page.click(".talk:first-child [data-act=branch]")
        await page.wait(f"location.hash !== '{here}' && {TURNS} === 1")
        assert await page.run("document.querySelector('.talk').dataset.run") == run
        await ask(page, "Otherwise?")
        await answered(page, 2)
        said = [message["content"] for message in panel.gateway.asked[-1]["messages"]]
        assert said == ["One?", "First answer.", "Otherwise?"]
        await page.go(panel.url + "/chat?again" + here)
        await page.wait(f"{TURNS} === 2")
        questions = "[...document.querySelectorAll('.question')].map((node) => node.textContent)"
        assert await page.run(questions) == ["One?", "Two?"]
        assert len(await page.run(TITLES)) == 2
        # Forgetting the one takes nothing from the other.
        await page.click(f"#conversations li:has(a[href='{here}']) button")
        await page.wait(f"{TITLES}.length === 1")
        await page.click("#conversations a")
        await page.wait(f"{TURNS} === 2")
        assert await page.run(questions) == ["One?", "Otherwise?"]

    play(scene)


def test_a_conversation_becomes_a_file_and_no_capability_is_in_it_unless_ticked(play, tmp_path: Path):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        where = {"behavior": "allow", "downloadPath": str(tmp_path), "browserContextId": page.context}
        await browser.call("Browser.setDownloadBehavior", where)
        await begun(page, "What of <b>this</b>?\nAnd that?", "**Bold** | `code`", panel)
        run = await page.run("document.querySelector('.talk').dataset.run")
        title = await page.run(TITLE)
        await page.click("#export")
        assert await page.run("document.getElementById('export-secrets-line').hidden")
        await page.click("#export-form [value=yes]")
        name = await page.run(
            f"import(document.querySelector('script[src$=\"chat/page.js\"]').src.replace('page.js', 'export.js'))"
            f".then((made) => made.fileName({json.dumps(title)}, 'json'))"
        )
        written = json.loads(await asyncio.to_thread(downloaded, tmp_path / name))
        [turn] = written["turns"]
        assert (turn["run"], turn["answer"], turn["parent"]) == (run, "**Bold** | `code`", None)
        assert "capability" not in turn
        assert "signed by nobody" in written["says"]
        assert "state" not in written
        await page.click("#export")
        await page.run("document.querySelector('#export-form [value=markdown]').checked = true")
        await page.click("#export-form [value=yes]")
        text = (await asyncio.to_thread(downloaded, tmp_path / name.replace(".json", ".md"))).decode()
        assert "```text\nWhat of <b>this</b>?\nAnd that?\n```\n\n## Answered\n\n```text\n**Bold** | `code`\n```" in text
        assert f"run {run}" in text

    play(scene)


def test_what_opens_runs_is_in_a_file_only_where_it_is_kept_and_ticked(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        made = (
            "import(document.querySelector('script[src$=\"chat/page.js\"]').src.replace('page.js', 'export.js'))"
            ".then(({ asJSON, capabilities }) => { const turn = { id: 'a', parent: null, at: 0, model: 'm', served: '',"
            "question: 'q', answer: 'a', bound: 1, outcome: 'complete', run: 'r', capability: 'secret', lanes: null };"
            "const talk = { title: 't', created: 0, head: 'a' };"
            "return [capabilities([turn]), ...[false, true].map((secrets) => asJSON(talk, [turn], { secrets }))] })"
        )
        count, without, ticked = await page.run(made)
        assert count == 1
        assert "secret" not in without
        assert json.loads(ticked)["turns"][0]["capability"] == "secret"

    play(scene)


def test_single_keys_move_ask_and_list_themselves(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await begun(page, "One?", "First.", panel)
        await ask(page, "Two?")
        await answered(page, 2)
        await page.type("rnj?")
        assert await page.run("document.getElementById('prompt').value") == "rnj?"  # whoever writes, writes
        await page.run("document.getElementById('prompt').value = ''; document.activeElement.blur()")
        await page.press("k", 75, "k")
        await page.wait("document.activeElement === document.querySelectorAll('.talk')[1]")
        await page.press("k", 75, "k")
        await page.wait("document.activeElement === document.querySelectorAll('.talk')[0]")
        await page.press("w", 87, "w")
        await page.wait("document.querySelector('.talk [data-act=source]').getAttribute('aria-pressed') === 'true'")
        await page.press("/", 191, "/")
        await page.wait("document.activeElement.id === 'look'")
        assert await page.run("document.getElementById('look').value") == ""
        await page.run("document.activeElement.blur()")
        await page.press("?", 191, "?")
        await page.wait("document.getElementById('keys').open")
        assert await page.run("document.querySelectorAll('#keys dt').length") == 13
        await axe.prepare(page)
        await page.click("#keys button")
        await page.press("i", 73, "i")
        await page.wait("document.activeElement.id === 'prompt'")
        await page.run("document.activeElement.blur()")
        await page.press("n", 78, "n")
        await page.wait(f"{TURNS} === 0 && document.activeElement.id === 'prompt'")
        assert page.complaints == []

    play(scene)


def test_whoever_is_here_for_the_first_time_finds_something_to_ask(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await page.click("[data-try]")
        wanted = await page.run("document.querySelector('[data-try]').textContent")
        assert await page.run("document.getElementById('prompt').value") == wanted
        assert panel.gateway.asked == []
        await page.press("Enter", 13, "\r")
        await answered(page)
        assert not await page.run("document.querySelector('.tries').checkVisibility()")

    play(scene)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_with_a_head_and_dialogs_breaks_no_rule(play, dark, tmp_path: Path):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        for width in (390, 1280):
            page = await opened(panel, browser, width=width, dark=dark, calm=True)
            await axe.prepare(page)
            await page.go(panel.url + "/chat?prepared")
            assert await axe.violations(page) == []
            await page.screenshot(tmp_path / f"first-{width}-{dark}.png")
            await ask(page, "A question whose title is rather long, so that it has to end somewhere in a list?")
            await answered(page)
            await page.run("document.getElementById('list').open = true")
            await page.screenshot(tmp_path / f"turn-{width}-{dark}.png")
            await page.run("document.querySelector('.model-about').open = true")
            await page.click("#rename")
            assert await axe.violations(page) == []
            assert await page.run("document.documentElement.scrollWidth") <= width
            await page.press("Escape", 27)
            await page.click("#export")
            assert await axe.violations(page) == []
            await page.screenshot(tmp_path / f"export-{width}-{dark}.png")

    play(scene)
