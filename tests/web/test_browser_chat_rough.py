"""The chat page under hostile words and on bad connections: nothing runs, nothing is lost, and what broke is said.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from holdfast.web.assets import Assets
from tests.helpers.browser import IN_A_BROWSER, Browser, Page, open_browser
from tests.helpers.fake_gateway import FakeGateway
from tests.helpers.panel import PanelWorld, open_panel
from tests.helpers.xss import CORPUS
from tests.web.test_browser_chat import HARMLESS, Play, answered, ask, opened
from tests.web.test_browser_chat import play as play  # noqa: PLC0414  # a fixture

pytestmark = [*IN_A_BROWSER]
TURNS = "document.querySelectorAll('.talk').length"
QUESTIONS = "[...document.querySelectorAll('.question')].map((node) => node.textContent)"
ANSWERS = "[...document.querySelectorAll('.answer')].map((node) => node.textContent)"
TROUBLE = "document.querySelector('.turn-trouble [role=alert]')?.innerText"
SENTINEL = """
window.hits = 0;
window.hit = () => hits++;
window.refused = [];
addEventListener("securitypolicyviolation", (event) => refused.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
"""Counts what runs, and what only the page's policy kept from running or loading."""
SHELL = "document.querySelectorAll('img, iframe, base, form, object, embed, svg, math, link, meta, main script').length"
PLAIN = tuple(text for text in CORPUS if "\x00" not in text)
FENCED = re.compile(r"^(`{3,})text\n.*?\n\1$", re.DOTALL | re.MULTILINE)
KEPT = """
new Promise((told) => {
  indexedDB.open("holdfast-chat/" + document.body.dataset.owner).onsuccess = ({ target: { result: base } }) => {
    base.transaction("turns").objectStore("turns").getAll().onsuccess = ({ target }) => told(target.result);
  };
})"""
"""Every turn as this browser keeps it."""
CUTTING = """
const real = fetch;
window.fetch = async (url, options) => {
  const response = await real(url, options);
  if (url !== "/ask") return response;
  const reader = response.body.getReader();
  const body = new ReadableStream({
    start: (stream) => void (window.cut = () => stream.error(new TypeError("network error"))),
    pull: async (stream) => {
      const { value, done } = await reader.read();
      if (done) stream.close();
      else stream.enqueue(value);
    },
  });
  return new Response(body, response);
};
0
"""
"""Lets a test end an answer as a browser does whose connection goes: emulation leaves what is on its way alone."""
OFFLINE = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
ONLINE = OFFLINE | {"offline": False}
SLOW = {"offline": False, "latency": 150, "downloadThroughput": 6_000, "uploadThroughput": 6_000}


async def guarded(panel: PanelWorld, browser: Browser) -> Page:
    """A tab with the chat page that counts what runs and what its policy refused."""
    page = await browser.page()
    await page.call("Page.addScriptToEvaluateOnNewDocument", source=SENTINEL)
    await page.go(panel.url + "/chat")
    await page.wait("document.getElementById('no-conversations') && document.querySelector('#model').value")
    return page


async def unharmed(page: Page, panel: PanelWorld) -> None:
    assert await page.run("[hits, ...refused]") == [0]
    assert [url for url in page.requests if not url.startswith((panel.url, "blob:" + panel.url))] == []


async def put(page: Page, question: str) -> None:
    """Ask in a tab that need not be in front."""
    field = "document.getElementById('prompt')"
    await page.run(f"{field}.value = {json.dumps(question)}; {field}.form.requestSubmit()")


def module(name: str) -> str:
    return f"import('{Assets().prefix}/chat/{name}.js')"


# ---- hostile words ---------------------------------------------------------------------------------------------------


def test_hostile_names_titles_and_findings_are_texts_in_every_place(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        models = [text.strip() for text in PLAIN if "\n" not in text and "\t" not in text]
        panel.gateway.models = models
        panel.gateway.served = CORPUS[2]
        page = await guarded(panel, browser)
        shell = await page.run(SHELL)
        offered = await page.run("[...document.getElementById('model').options].map((option) => option.value)")
        assert set(offered) == set(models)
        await ask(page, "needle " + " ".join(PLAIN))
        await answered(page)
        await page.wait("document.querySelector('.cell[data-lane=route] .cell-short').textContent")
        for title in PLAIN:
            await page.run(
                "document.getElementById('rename').click();"
                f"document.getElementById('title-field').value = {json.dumps(title)};"
                "document.getElementById('title-form').requestSubmit()"
            )
            shown = re.sub(r"\s+", " ", await page.run("document.getElementById('title').textContent"))
            assert shown == await page.run("document.querySelector('#conversations a').textContent")
            assert await page.run("document.getElementById('title').children.length") == 0
        await page.run(
            "const look = document.getElementById('look'); look.value = 'onerror';"
            "look.dispatchEvent(new Event('input'))"
        )
        await page.wait("document.querySelector('#conversations .found')?.textContent.includes('onerror')")
        assert await page.run(SHELL) == shell
        await unharmed(page, panel)

    play(scene)


def test_hostile_answers_are_cut_anywhere_and_bring_no_element(play):
    """Every payload is set as far as it has come, one character after another."""

    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await guarded(panel, browser)
        found = await page.run(
            f"{module('markdown')}.then(({{ render }}) => {{ const harmless = {HARMLESS};"
            "const node = document.createElement('div'); document.body.append(node); const bad = [];"
            f"for (const text of {json.dumps(CORPUS)}) for (let end = 1; end <= text.length; end += 1) {{"
            "render(node, text.slice(0, end)); bad.push(...harmless(node)) }"
            "node.remove(); return bad })"
        )
        assert found == []
        await unharmed(page, panel)

    play(scene)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "<img src=x onerror=hit()>", "code": "x.y", "hint": {"a": 1}}},
        {"error": {"message": {"html": 1}, "code": "x.y"}},
        {"error": "<script>hit()</script>"},
        {},
        None,
        [1],
    ],
    ids=repr,
)
def test_refusals_of_any_shape_are_told_in_words(play, body):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await guarded(panel, browser)
        await page.run(
            "const real = fetch; window.fetch = (url, ...rest) => url !== '/ask' ? real(url, ...rest) :"
            f"Promise.resolve(new Response({json.dumps(json.dumps(body))}, {{ status: 502 }}))"
        )
        await ask(page, "Anybody?")
        await page.wait(TROUBLE)
        told = await page.run(TROUBLE)
        message = (body or {}).get("error", None) if isinstance(body, dict) else None
        wanted = (
            message["message"] if isinstance(message, dict) and isinstance(message["message"], str) else "status 502"
        )
        assert wanted in told
        assert await page.run("document.querySelector('.turn-trouble').querySelectorAll('img, script').length") == 0
        await page.wait("!document.querySelector('[data-busy]')")
        assert await page.run("document.querySelector('#send').className.includes('busy')") is False
        await unharmed(page, panel)

    play(scene)


def test_an_exported_conversation_holds_nothing_that_is_active(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await guarded(panel, browser)
        made: list[str] = await page.run(
            f"{module('export')}.then(({{ asMarkdown }}) => {json.dumps(CORPUS)}.map((text) => asMarkdown("
            "{ title: text }, [{ question: text, answer: `${text}\\n\\n${text}`, served: text, at: 0, run: text }])))"
        )
        for text, file in zip(CORPUS, made, strict=True):
            outside = FENCED.sub("", file)
            assert file.count(f"\n{text}\n") >= 2, text  # as it was written
            assert re.findall(r"(?<!\\)[<>`\[\]!&]|://", outside) == [], outside
            assert outside.count("\n") == 11, outside
        await unharmed(page, panel)

    play(scene)


# ---- bad connections -------------------------------------------------------------------------------------------------


def test_without_a_connection_the_page_says_so_and_asks_again_once_there_is_one(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await page.call("Network.emulateNetworkConditions", **OFFLINE)
        await ask(page, "Anybody?")
        await page.wait(TROUBLE)
        assert "This browser is offline." in await page.run(TROUBLE)
        assert panel.gateway.asked == []
        await page.call("Network.emulateNetworkConditions", **ONLINE)
        await page.click("[data-act=retry]")
        await page.wait("document.querySelector('.answer').textContent.length > 100")
        await answered(page)
        assert await page.run(TURNS) == 1

    play(scene)


def test_a_connection_that_ends_in_the_middle_keeps_what_was_marked(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        panel.gateway.hold_after = 9
        page = await opened(panel, browser)
        await page.run(CUTTING)
        await ask(page, "Go on for long.")
        await page.wait("document.querySelector('.answer')?.textContent.length > 20")
        marked = await page.run("document.querySelector('.answer').textContent.slice(0, 20)")
        await page.call("Network.emulateNetworkConditions", **OFFLINE)
        await page.run("cut()")
        await page.wait(TROUBLE)
        assert (
            await page.run(TROUBLE)
            == "The connection broke.\n\nWhat was marked until then stays bound; the rest is not shown."
        )
        assert (await page.run("document.querySelector('.answer').textContent")).startswith(marked)
        await page.call("Network.emulateNetworkConditions", **ONLINE)
        panel.gateway.hold_after = None
        await page.click("[data-act=retry]")
        await page.wait("document.querySelector('.siblings-at').textContent === '2 of 2'")
        await page.wait("document.querySelector('.answer').textContent.length > 100")

    play(scene)


def test_a_slow_network_brings_the_same_answer(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await page.call("Network.emulateNetworkConditions", **SLOW)
        await ask(page, "Slowly?")
        await answered(page)
        await page.run("document.querySelector('[data-act=source]').click()")
        assert await page.run("document.querySelector('.answer').textContent") == panel.gateway.answer

    play(scene)


def test_an_answer_that_was_left_in_the_middle_is_broken_and_keeps_its_run(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        panel.gateway.hold_after = 9
        page = await opened(panel, browser)
        await ask(page, "Go on for long.")
        await page.wait("document.querySelector('.answer')?.textContent.length > 20")
        run = await page.run("document.querySelector('.talk').dataset.run")
        there = await page.run("location.hash")
        await page.call("Page.reload")
        await page.wait("document.querySelector('.turn-status')?.textContent.startsWith('Broken off')")
        assert await page.run("document.querySelector('.talk').dataset.run") == run
        await page.call("Page.close")
        other = await opened(panel, browser, beside=page)
        await other.run(f"location.hash = '{there}'")
        await other.wait("document.querySelector('.turn-status')?.textContent.startsWith('Broken off')")
        panel.gateway.hold_after = None
        await other.click("[data-act=retry]")
        await other.wait("document.querySelector('.answer').textContent.length > 100")

    play(scene)


def test_going_back_and_forth_while_an_answer_comes_shows_each_conversation_as_it_is(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "First?")
        await answered(page)
        await page.click(".chat-list > a")
        await page.wait(f"{TURNS} === 0")
        panel.gateway.hold_after = 9
        await ask(page, "Second?")
        await page.wait("document.querySelector('.answer')?.textContent.length > 20")
        # From the second through the empty page to the first and all the way back, faster than anything is read.
        await page.run("history.go(-2)")
        await page.wait(f"{QUESTIONS}.join() === 'First?'")
        await page.run("history.back(), history.forward(), history.go(2)")
        await page.wait(f"{QUESTIONS}.join() === 'Second?' && !document.querySelector('[data-busy]')")
        assert (await page.run("document.querySelector('.turn-status').textContent")).startswith("You stopped it")
        assert await page.run("document.querySelector('.answer').textContent.length > 20")
        panel.gateway.hold_after = None
        await ask(page, "Third?")
        await answered(page, 2)
        assert await page.run("document.querySelectorAll('#conversations li').length") == 2
        assert page.complaints == []

    play(scene)


def test_two_tabs_that_ask_at_once_lose_neither_answer(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "First?")
        await answered(page)
        other = await opened(panel, browser, beside=page)
        await other.run(f"location.hash = '{await page.run('location.hash')}'")
        await answered(other)
        panel.gateway.hold_after = 9
        for tab, question in ((page, "Here?"), (other, "There?")):
            await put(tab, question)
        for tab in (page, other):
            await tab.wait("[...document.querySelectorAll('.answer')].at(-1).textContent.length > 20")
        panel.gateway.go.set()
        for tab in (page, other):
            await tab.wait("!document.querySelector('[data-busy]')")
        for tab in (page, other):
            await tab.wait(f"{ANSWERS}.every((text) => text.length > 100)")
        while not all(turn["outcome"] == "complete" for turn in await page.run(KEPT)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for tab in (page, other):
            await tab.go(panel.url + "/chat?again" + await tab.run("location.hash"))
            await tab.wait(f"{TURNS} > 1")
        kept = await page.run(KEPT)
        assert sorted(turn["question"] for turn in kept) == ["First?", "Here?", "There?"]
        assert {turn["outcome"] for turn in kept} == {"complete"}
        assert {turn["answer"] for turn in kept} == {panel.gateway.answer}
        assert len({turn["run"] for turn in kept}) == 3

    play(scene)


def test_a_tab_that_watches_takes_nothing_from_an_answer_that_comes_in_beside_it(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "First?")
        await answered(page)
        other = await opened(panel, browser, beside=page)
        await other.run(f"location.hash = '{await page.run('location.hash')}'")
        await answered(other)
        panel.gateway.hold_after = 9
        await ask(page, "Second?")
        await other.wait(f"{TURNS} === 2")
        await put(other, "Third?")
        await page.wait("[...document.querySelectorAll('.answer')].at(-1).textContent.length > 20")
        panel.gateway.go.set()
        for tab in (page, other):
            await tab.wait(
                f"{QUESTIONS}.join() === 'First?,Second?,Third?' && {ANSWERS}.every((text) => text.length > 100)"
            )

    play(scene)


SEALED = """
new Promise((told) => {
  indexedDB.open("holdfast-chat/" + document.body.dataset.owner).onsuccess = ({ target: { result: base } }) => {
    const change = base.transaction("turns", "readwrite");
    change.objectStore("turns").getAll().onsuccess = ({ target }) => {
      for (const turn of target.result) change.objectStore("turns").put({ ...turn, private: true });
    };
    change.oncomplete = () => told(true);
  };
})"""
"""Every turn that is kept becomes one that was asked privately."""


def test_what_was_sealed_is_not_sent_in_the_clear_by_going_on_asking_again_or_writing_anew(play: Play) -> None:
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "My secret")
        await answered(page)
        await page.run(SEALED)
        kept = str(await page.run("location.hash"))
        await page.go("about:blank")
        await page.go(panel.url + "/chat" + kept)
        await page.wait(f"{TURNS} === 1")
        asked = len(panel.gateway.asked)
        await ask(page, "And now?")
        await page.wait(TROUBLE)
        assert "was sealed" in await page.run(TROUBLE)
        for act in ("retry", "retry"):
            await page.run(f"document.querySelector('.talk [data-act={act}]').click()")
            await page.wait("!document.querySelector('[data-busy]')")
            await page.wait(TROUBLE)
        await page.run("document.querySelector('.talk [data-act=edit]').click()")
        await page.press("Enter", 13, "\r")
        await page.wait(TROUBLE)
        assert len(panel.gateway.asked) == asked
        await page.run("location.hash = ''")
        await page.wait(f"{TURNS} === 0")
        await ask(page, "Something else")
        await answered(page)
        assert [item["messages"][0]["content"] for item in panel.gateway.asked[asked:]] == ["Something else"]

    play(scene)


def test_a_question_that_is_asked_while_the_private_path_is_being_checked_is_not_sent_in_the_clear() -> None:
    async def act() -> None:
        async with open_panel(FakeGateway(), [], relay="http://127.0.0.1:9") as panel, open_browser() as browser:
            page = await opened(panel, browser)
            await page.run(
                "(() => { document.getElementById('private').open = true;"
                "document.getElementById('private-on').click();"
                "document.getElementById('prompt').value = 'My secret';"
                "document.getElementById('prompt').form.requestSubmit(); return true; })()"
            )
            await page.wait(TROUBLE)
            await page.wait("!document.querySelector('[data-busy]')")
            assert panel.gateway.asked == []

    asyncio.run(act())
