"""Files on the chat page, in a real browser: attached, dropped and pasted, sent with the question, and quotes that lead
into them (``spec/files.md`` §8). Names and texts of files stay text.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.helpers import axe
from tests.helpers.browser import IN_A_BROWSER, Browser, Page
from tests.helpers.panel import PanelWorld
from tests.helpers.xss import CORPUS
from tests.web.test_browser_chat import Play, answered, ask, opened, play

__all__ = ["play"]
pytestmark = [*IN_A_BROWSER]
SENTENCE = "The south pump ran for forty days without a stop."
TOLD: dict[str, Any] = {
    "file": 1,
    "name": "pumps.pdf",
    "characters": 1200,
    "chunks": 2,
    "pages": 2,
    "notes": ["pages-empty"],
    "extractor": {"name": "pypdf", "version": "7"},
    "shown": [{"chunk": 1, "page": 1, "start": 0, "end": 900}],
    "left_out": 1,
}
QUOTE: dict[str, Any] = {
    "start": 0,
    "end": len(SENTENCE),
    "file": 1,
    "page": 2,
    "file_start": 900,
    "file_end": 900 + len(SENTENCE),
    "before": "Before it. ",
    "text": SENTENCE,
    "after": " Behind it.",
}


async def give(page: Page, name: str, text: str, how: str = "choose") -> None:
    """Attach a file as a person would: by the button's chooser, by dropping it, or by pasting it."""
    events = {
        "choose": "input.files = data.files; input.dispatchEvent(new Event('change'))",
        "drop": "form.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}))",
        "paste": "prompt.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}))",
    }
    await page.run(
        "(() => { const data = new DataTransfer(), input = document.getElementById('attach-input'),"
        "form = document.getElementById('ask'), prompt = document.getElementById('prompt');"
        f"data.items.add(new File([{json.dumps(text)}], {json.dumps(name)}, {{type: 'text/plain'}}));"
        f"{events[how]} }})()"
    )


async def waiting(page: Page, count: int) -> None:
    await page.wait(f"document.querySelectorAll('#attached li').length === {count}")


def test_files_go_with_the_question_and_again_with_the_next_one(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        for number, how in enumerate(("choose", "drop", "paste"), 1):
            await give(page, f"{how}.txt", f"text of {how}", how)
            await waiting(page, number)
        await page.click("#attached li:nth-child(2) button")
        await waiting(page, 2)
        await ask(page, "What is in them?")
        await answered(page)
        await waiting(page, 0)
        content = panel.gateway.asked[-1]["messages"][0]["content"]
        assert content[0] == {"type": "text", "text": "What is in them?"}
        assert [part["file"]["filename"] for part in content[1:]] == ["choose.txt", "paste.txt"]
        sent = content[1]["file"]["file_data"]
        assert base64.b64decode(sent.partition(",")[2]) == b"text of choose"
        await page.wait("document.querySelector('.cell[data-lane=inputs]').innerText.includes('files: 2')")
        await ask(page, "And now?")
        await answered(page, 2)
        messages = panel.gateway.asked[-1]["messages"]
        assert messages[0]["content"] == content
        assert messages[-1]["content"] == "And now?"

    play(scene)


def test_files_are_kept_with_their_turn_and_asked_again_with_it(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await give(page, "kept.txt", "kept text")
        await waiting(page, 1)
        await ask(page, "First?")
        await answered(page)
        await page.run("location.reload()")
        await page.wait("document.querySelector('.files-read li')?.textContent.includes('kept.txt')")
        await page.click('[data-act="retry"]')
        await page.wait(
            "!document.querySelector('[data-busy]') && document.querySelector('.siblings-at').textContent === '2 of 2'"
        )
        assert panel.gateway.asked[-1]["messages"][0]["content"][1]["file"]["filename"] == "kept.txt"

    play(scene)


def test_a_quote_leads_into_its_file_and_what_was_read_is_told(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        panel.gateway.answer = SENTENCE
        panel.gateway.said_of_files = {"files": [TOLD], "quotes": [QUOTE]}
        page = await opened(panel, browser)
        await give(page, "pumps.pdf", "x")
        await waiting(page, 1)
        await ask(page, "How long?")
        await answered(page)
        read = await page.run("document.querySelector('.files-read').innerText")
        assert "2 pages, 1,200 characters read by pypdf 7, 1 of 2 chunks stood before the model; pages empty" in read
        await page.click(".quote-link")
        await page.wait("document.getElementById('quote').open")
        assert await page.run("document.querySelector('#quote mark').textContent") == SENTENCE
        assert "page 2" in await page.run("document.querySelector('.quote-where').textContent")
        await axe.prepare(page)
        assert await axe.violations(page) == []
        await page.press("Escape", 27)
        await page.wait("!document.getElementById('quote').open")

    play(scene)


def test_a_quote_is_a_link_in_the_answer_itself(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        said = f"He \U0001f600 wrote: **{SENTENCE[:19]}**\n\n> {SENTENCE[20:]}\n\n{SENTENCE}"
        start = len(said) - len(SENTENCE)
        panel.gateway.answer = said
        elsewhere = {**QUOTE, "text": "these words are in no answer at all, whatever is told"}
        panel.gateway.said_of_files = {
            "files": [TOLD],
            "quotes": [{**QUOTE, "start": start, "end": len(said)}, elsewhere, {**QUOTE, "file": 9}],
        }
        page = await opened(panel, browser)
        await give(page, "pumps.pdf", "x")
        await waiting(page, 1)
        await ask(page, "How long?")
        await answered(page)
        await page.wait("document.querySelectorAll('.answer .cite').length === 1")
        cited = "[...document.querySelectorAll('.answer .cited')].map((node) => node.textContent).join('')"
        assert await page.run(cited) == SENTENCE
        assert await page.run("document.querySelector('.answer .cited').closest('p, blockquote').tagName") == "P"
        label = await page.run("document.querySelector('.cite').getAttribute('aria-label')")
        assert label == "Quote 1: pumps.pdf, page 2, characters 900 to 949"
        await page.click(".cite")
        await page.wait("document.getElementById('quote').open")
        assert await page.run("document.querySelector('#quote mark').textContent") == SENTENCE
        await page.press("Escape", 27)
        await page.wait("!document.getElementById('quote').open")
        await axe.prepare(page)
        assert await axe.violations(page) == []
        await page.click('[data-act="source"]')
        await page.wait("!document.querySelector('.answer .cite')")
        assert await page.run("document.querySelector('.answer').textContent") == said

    play(scene)


def test_names_and_texts_of_files_stay_text(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        attack = " ".join(text for text in CORPUS if "\x00" not in text)
        hostile = dict.fromkeys(("before", "text", "after"), attack)
        panel.gateway.said_of_files = {
            "files": [{**TOLD, "name": attack, "notes": [attack]}],
            "quotes": [QUOTE | hostile],
        }
        page = await browser.page()
        await page.call("Page.addScriptToEvaluateOnNewDocument", source="window.hits = 0; window.hit = () => hits++")
        await page.go(panel.url + "/chat")
        await page.wait("document.querySelector('#model').value")
        await give(page, attack, "x")
        await waiting(page, 1)
        await ask(page, "What?")
        await answered(page)
        await page.click(".quote-link")
        await page.wait("document.getElementById('quote').open")
        inside = "document.querySelectorAll('.talk-files *, #quote *, #attached *')"
        tags = await page.run(f"[...new Set([...{inside}].map((node) => node.tagName))].sort()")
        assert set(tags) <= {"BUTTON", "DIV", "H2", "LI", "MARK", "OL", "P", "UL"}
        assert await page.run("window.hits") == 0
        assert [url for url in page.requests if not url.startswith(panel.url)] == []

    play(scene)


def test_what_is_too_much_is_said_and_not_sent(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await give(page, "empty.txt", "")
        await page.wait("document.getElementById('attach-trouble').textContent.includes('empty.txt')")
        await give(page, "large.txt", "x" * (6 << 20))
        await page.wait("document.getElementById('attach-trouble').textContent.includes('too large')")
        await waiting(page, 0)

    play(scene)
