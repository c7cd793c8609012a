"""The chat page in a real browser: what an answer can never do, the route strip, conversations, small screens.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.verifier.lanes import LANES
from holdfast.web.assets import Assets
from holdfast.web.chat import CELLS, SCRIPT
from tests.helpers import axe
from tests.helpers.browser import IN_A_BROWSER, Browser, Page, connect
from tests.helpers.fake_gateway import FakeGateway, four_nodes
from tests.helpers.images import data_url, png
from tests.helpers.panel import PanelWorld, open_panel
from tests.helpers.xss import CORPUS, HEAVY
from tests.web.test_browser import CONTRAST

pytestmark = [*IN_A_BROWSER]

Scene = Callable[[PanelWorld, Browser], Awaitable[None]]
Play = Callable[..., None]
NARROW = 390
AT_WORK = "document.querySelector('[data-keys]')?.hidden === false"
"""The page's scripts have run: keys and forms do something from here on."""
HARMLESS = """(node) => {
  const tags = ['P', 'UL', 'OL', 'LI', 'PRE', 'CODE', 'STRONG', 'EM', 'DEL', 'H4', 'H5', 'H6', 'HR', 'BLOCKQUOTE', 'A',
    'SPAN', 'DIV', 'TABLE', 'THEAD', 'TBODY', 'TR', 'TH', 'TD'];
  const attributes = ['href', 'rel', 'target', 'referrerpolicy', 'class', 'tabindex', 'start', 'data-language'];
  return [...node.querySelectorAll('*')].flatMap((each) => [
    ...(tags.includes(each.tagName) ? [] : [each.outerHTML]),
    ...[...each.attributes].filter((a) => !attributes.includes(a.name)).map((a) => `${each.tagName} ${a.name}`),
    ...(each.tagName !== 'A' || (['https:', 'http:'].includes(each.protocol) && !each.username && !each.password
      && each.rel.includes('noopener')) ? [] : [each.outerHTML]),
  ]);
}"""
"""Elements and attributes that no answer may bring into a page; nothing where all is well."""


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
    """Write a question and send it, once the page does anything."""
    await page.wait(AT_WORK)
    while not await page.run("document.activeElement.id === 'prompt'"):  # what is above it may still grow
        await page.click("#prompt")
    await page.type(question)
    await page.wait("document.getElementById('prompt').value !== ''")
    await page.press("Enter", 13, "\r")


async def answered(page: Page, count: int = 1) -> None:
    await page.wait(f"document.querySelectorAll('.talk').length === {count} && !document.querySelector('[data-busy]')")


async def opened(panel: PanelWorld, browser: Browser, **options: Any) -> Page:
    """A tab with the chat page, its script at work."""
    page = await browser.page(**options)
    await page.go(panel.url + "/chat")
    await page.wait("document.querySelector('#conversations') && document.querySelector('#model').value")
    await page.wait(AT_WORK)
    return page


async def rendered(page: Page, texts: tuple[str, ...]) -> list[dict[str, Any]]:
    """What the markdown module makes of each text: its text content, and what is not harmless in it."""
    script = (
        f"import('{Assets().prefix}/chat/markdown.js').then(({{ render }}) => {{ const harmless = {HARMLESS};"
        f"return {json.dumps(texts)}.map((text) => {{ const node = document.createElement('div');"
        "document.body.append(node); render(node, text); const found = harmless(node);"
        "const whole = node.textContent; node.remove(); return { found, whole } }) })"
    )
    made: list[dict[str, Any]] = await page.run(script)
    return made


# ---- what an answer can never do -------------------------------------------------------------------------------------


def test_no_text_becomes_anything_but_text_and_safe_links(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await browser.page()
        await page.go(panel.url + "/about")
        await page.run("window.hits = 0; window.hit = () => { window.hits += 1 }; 0")
        for text, made in zip(CORPUS, await rendered(page, CORPUS), strict=True):
            assert made["found"] == [], text
        await asyncio.sleep(0.2)
        assert await page.run("window.hits") == 0
        assert [url for url in page.requests if not url.startswith(panel.url)] == []

    play(scene)


def test_a_conversation_made_of_attacks_stays_text_everywhere(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        attack = " ".join(text for text in CORPUS if "\x00" not in text)
        panel.gateway.answer = attack + "\n\n" + "\n\n".join(CORPUS)
        panel.gateway.served = CORPUS[0]
        panel.gateway.models = [CORPUS[2], *panel.gateway.models]
        call = {"name": CORPUS[2], "arguments": json.dumps({CORPUS[4]: CORPUS[0]})}
        calls = [{"index": 0, "id": CORPUS[2], "type": "function", "function": call}]
        panel.gateway.first_delta = {"reasoning_content": attack, "tool_calls": calls}
        page = await browser.page()
        await page.call("Page.addScriptToEvaluateOnNewDocument", source="window.hits = 0; window.hit = () => hits++")
        await page.go(panel.url + "/chat")
        await ask(page, CORPUS[2])
        await answered(page)
        await page.wait("document.querySelector('.cell[data-lane=route] .cell-short').textContent")
        assert await page.run(f"({HARMLESS})(document.querySelector('.answer'))") == []
        assert await page.run("document.querySelector('.question').textContent") == CORPUS[2]
        assert await page.run("document.querySelector('#conversations a').textContent") == CORPUS[2]
        assert await page.run("document.querySelector('.cell[data-lane=route] .cell-short').textContent") == CORPUS[0]
        assert await page.run("document.querySelectorAll('img, iframe, main script, main style').length") == 0
        await page.run("document.querySelector('[data-act=source]').click()")
        assert await page.run("document.querySelector('.answer').children.length") == 0
        await page.go(panel.url + "/chat" + await page.run("location.hash"))
        await page.wait("document.querySelector('.answer')?.textContent.length > 100")
        assert await page.run("window.hits") == 0
        assert [url for url in page.requests if not url.startswith(panel.url)] == []

    play(scene)


def test_a_link_says_where_it_leads_when_its_text_does_not(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await browser.page()
        await page.go(panel.url + "/about")
        made = await rendered(page, ("[https://bank.example](https://evil.example/)", "[a](https://a.example/)"))
        assert [each["whole"] for each in made] == ["https://bank.example (evil.example)", "a (a.example)"]

    play(scene)


def test_dear_texts_are_read_in_one_go(play):
    """Each would take hours, or the whole stack, where reading looked at anything again and again."""

    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await browser.page()
        await page.go(panel.url + "/about")
        for text in HEAVY:
            assert (await rendered(page, (text,)))[0]["found"] == []

    play(scene)


@pytest.mark.parametrize(
    ("text", "tags", "whole"),
    [
        ("a **b** *c* `d` ~~e~~", ["P", "STRONG", "EM", "CODE", "DEL"], "a b c d e"),
        ("# One #\n\ntext\n### Three", ["H4", "P", "H6"], "OnetextThree"),
        ("- a\n- b\n  - c\n\n1. d\n2) e", ["UL", "LI", "LI", "UL", "LI", "OL", "LI", "LI"], "abcde"),
        ("```py\nx = '*y*'\n```\nz", ["PRE", "CODE", "P"], "x = '*y*'z"),
        ("```\nstill open **x**", ["PRE", "CODE"], "still open **x**"),
        ("> a\n> - b", ["BLOCKQUOTE", "P", "UL", "LI"], "ab"),
        ("a | b\n--|:-:\n1 | 2", ["DIV", "TABLE", "THEAD", "TR", "TH", "TH", "TBODY", "TR", "TD", "TD"], "ab12"),
        ("2 * 3 * 4, snake_case_name, \\*not\\*", ["P"], "2 * 3 * 4, snake_case_name, *not*"),
        ("see https://a.example/x_y_z.", ["P", "A"], "see https://a.example/x_y_z."),
        ("a\n\n---\n\nb", ["P", "HR", "P"], "ab"),
        ("one\ntwo", ["P"], "one\ntwo"),
        ("", [], ""),
    ],
)
def test_markdown_is_set_as_people_expect(play, text, tags, whole):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await browser.page()
        await page.go(panel.url + "/about")
        script = (
            f"import('{Assets().prefix}/chat/markdown.js').then(({{ render }}) => {{"
            f"const node = document.createElement('div'); render(node, {json.dumps(text)});"
            "return [[...node.querySelectorAll('*')].map((each) => each.tagName), node.textContent] })"
        )
        assert await page.run(script) == [tags, whole]

    play(scene)


# ---- the route strip -------------------------------------------------------------------------------------------------


def test_every_turn_has_its_cells_and_each_moves_with_its_own_lane(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "What is a holdfast?")
        await answered(page)
        assert await page.run("[...document.querySelectorAll('.cell')].map((cell) => cell.dataset.lane)") == [
            cell["lane"] for cell in CELLS
        ]
        settlement = "document.querySelector('.cell[data-lane=settlement]')"
        await page.wait(f"{settlement}.dataset.state === 'pending' && {settlement}.title.startsWith('Answered')")
        (run,) = panel.gateway.runs.values()
        before = await page.run("[...document.querySelectorAll('.cell')].map((cell) => cell.dataset.state)")
        for _ in range(5):
            await panel.gateway.advance(run)
        await page.wait(f"{settlement}.dataset.state === 'proven'")
        assert await page.run(f"{settlement}.querySelector('.cell-basis').textContent") == "development"
        after = await page.run("[...document.querySelectorAll('.cell')].map((cell) => cell.dataset.state)")
        assert after[:-1] == before[:-1]  # no other cell took anything from it
        assert await page.run("document.querySelector('.cell[data-lane=route] .cell-short').textContent") == (
            panel.gateway.served
        )
        assert page.complaints == []

    play(scene)


def test_a_cell_opens_the_lanes_that_it_is_about(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "Why?")
        await answered(page)
        await page.wait("document.querySelector('.talk details[data-lane=bytes]').dataset.state === 'proven'")
        assert await page.run("document.querySelector('.talk-lanes').hidden")
        await page.click(".cell[data-lane=computation]")
        opened_lanes = "[...document.querySelectorAll('.talk details.lane[open]')].map((lane) => lane.dataset.lane)"
        assert await page.run(opened_lanes) == ["enclave", "bytes", "computation"]
        assert await page.run("document.querySelectorAll('.talk details.lane').length") == len(LANES)
        assert (
            await page.run("document.querySelector('.talk details[data-lane=bytes] .copy').dataset.copy.length") == 64
        )
        await page.click(".cell[data-lane=payment]")
        assert await page.run(opened_lanes) == ["payment"]
        assert await page.run("document.querySelectorAll('.cell[aria-expanded=true]').length") == 1
        await page.click(".cell[data-lane=payment]")
        assert await page.run("document.querySelector('.talk-lanes').hidden")

    play(scene)


def test_a_turn_that_went_otherwise_says_so_before_its_answer(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "First?")
        await answered(page)
        await page.wait("document.querySelector('.talk details[data-lane=bytes]').dataset.state === 'proven'")
        assert await page.run("document.querySelector('.differs').hidden")
        panel.gateway.served = "another-model"
        await ask(page, "Second?")
        await answered(page, 2)
        await page.wait(
            "document.querySelectorAll('.talk')[1].querySelector('details[data-lane=bytes]').dataset.state === 'proven'"
        )
        differs = "document.querySelectorAll('.talk')[1].querySelector('.differs')"
        assert await page.run(f"{differs}.innerText") == (
            "The answer names another-model; the one before named holdfast-responder."
        )
        assert await page.run(
            f"!!({differs}.compareDocumentPosition({differs}.parentNode.querySelector('.answer')) & 4)"
        )
        run = list(panel.gateway.runs.values())[1]
        run.lanes["enclave"].update(state="refuted", basis=None)
        await panel.gateway.changed(run)
        await page.wait(
            f"{differs}.innerText.includes('enclave is refuted; in the turn before it was unknown (development)')"
        )

    play(scene)


# ---- conversations ---------------------------------------------------------------------------------------------------


def test_conversations_stay_in_the_browser_and_can_be_forgotten(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "First?")
        await answered(page)
        await ask(page, "Second?")
        await answered(page, 2)
        messages = panel.gateway.asked[-1]["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant", "user"]
        await page.wait("document.querySelectorAll('.talk details[data-lane=bytes][data-state=proven]').length === 2")
        there = await page.run("location.hash")
        await page.go(panel.url + "/chat?again" + there)
        await answered(page, 2)
        await page.wait("document.querySelectorAll('.cell[data-lane=route][data-state=proven]').length === 2")
        assert await page.run("document.querySelector('#conversations a').textContent") == "First?"
        await page.click(".chat-list > a")
        await page.wait("document.querySelectorAll('.talk').length === 0")
        await ask(page, "Other?")
        await answered(page)
        assert len(panel.gateway.asked[-1]["messages"]) == 1
        assert await page.run("document.querySelectorAll('#conversations li').length") == 2
        await page.run("history.back()")
        await page.run("history.back()")
        await answered(page, 2)
        await page.run("[...document.querySelectorAll('#conversations button')].forEach((button) => button.click())")
        await page.wait("document.querySelectorAll('#conversations li, .talk').length === 0")
        await page.go(panel.url + "/chat?later" + there)
        await page.wait("!document.getElementById('no-conversations').hidden")
        assert await page.run("document.querySelectorAll('.talk').length") == 0
        assert page.complaints == []

    play(scene)


IN_STORE = """
new Promise(async (told) => {
  const names = (await indexedDB.databases()).map((each) => each.name);
  let found = 0;
  for (const name of names.filter((each) => each.startsWith("holdfast-chat"))) {
    const base = await new Promise((got) => (indexedDB.open(name).onsuccess = ({ target }) => got(target.result)));
    const counting = base.transaction("turns").objectStore("turns").count();
    found += await new Promise((counted) => (counting.onsuccess = () => counted(counting.result)));
    base.close();
  }
  told(found);
})
"""


def test_a_conversation_that_was_not_opened_is_forgotten_with_its_turns(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "Kept nowhere?")
        await answered(page)
        await page.wait("document.querySelector('.talk details[data-lane=bytes]').dataset.state === 'proven'")
        await page.go(panel.url + "/chat?again")
        await page.wait("document.querySelectorAll('#conversations li').length === 1")
        assert await page.run(IN_STORE) == 1
        await page.click("#conversations button")
        await page.wait("document.querySelectorAll('#conversations li').length === 0")
        assert await page.run(IN_STORE) == 0

    play(scene)


def test_two_tabs_show_the_same_conversations(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        other = await opened(panel, browser, beside=page)
        await ask(page, "Here?")
        await answered(page)
        await other.wait("document.querySelector('#conversations a')?.textContent === 'Here?'")
        await other.go(panel.url + "/chat" + await page.run("location.hash"))
        await other.wait("document.querySelector('.talk .answer')?.textContent.length > 100")
        await other.run("document.querySelector('#conversations button').click()")
        await page.wait("document.querySelectorAll('#conversations li, .talk').length === 0")

    play(scene)


def test_asking_again_and_otherwise_keeps_what_was_answered_before(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "First?")
        await answered(page)
        panel.gateway.answer = "Another answer."
        await page.click("[data-act=retry]")
        await page.wait("document.querySelector('.answer').textContent === 'Another answer.'")
        await answered(page)
        assert [message["content"] for message in panel.gateway.asked[-1]["messages"]] == ["First?"]
        assert await page.run("document.querySelector('.siblings-at').textContent") == "2 of 2"
        await page.click("[data-act=edit]")
        assert await page.run("document.getElementById('prompt').value") == "First?"
        await page.run("document.getElementById('prompt').value = ''")
        await ask(page, "Otherwise?")
        await page.wait("document.querySelector('.question').textContent === 'Otherwise?'")
        await answered(page)
        for at in ("2 of 3", "1 of 3"):
            await page.run("document.querySelector('[data-act=older]').click()")
            await page.wait(f"document.querySelector('.siblings-at').textContent === '{at}'")
        assert "A holdfast is the part of a kelp" in await page.run("document.querySelector('.answer').textContent")
        await ask(page, "And then?")
        await answered(page, 2)
        messages = panel.gateway.asked[-1]["messages"]
        assert [message["content"] for message in messages][::2] == ["First?", "And then?"]
        assert "A holdfast is the part of a kelp" in messages[1]["content"]
        assert page.complaints == []

    play(scene)


def test_stopping_reaches_the_gateway_and_keeps_what_came(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        panel.gateway.hold_after = 9
        page = await opened(panel, browser)
        await ask(page, "Go on for long.")
        await page.wait("document.querySelector('.answer')?.textContent.length > 20")
        await page.click("#send")
        await page.wait("document.querySelector('.turn-status').textContent.startsWith('You stopped it')")
        async with asyncio.timeout(30):
            while not panel.gateway.disconnected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await page.go(panel.url + "/chat?again" + await page.run("location.hash"))
        await page.wait("document.querySelector('.answer')?.textContent.length > 20")
        assert page.complaints == []

    play(scene)


def test_a_broken_answer_keeps_what_marks_bound_and_nothing_of_the_rest(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        panel.gateway.break_after = 9
        page = await opened(panel, browser)
        await ask(page, "Break, please.")
        await page.wait("document.querySelector('.turn-trouble [role=alert]')")
        assert "broke the answer off" in await page.run("document.querySelector('.turn-trouble').innerText")
        whole = await page.run("document.querySelector('.answer').textContent")
        assert whole == " ".join(panel.gateway.answer.split(" ")[:7]), "the second mark covers seven pieces"

    play(scene)


def test_a_gateway_that_is_down_is_named_and_no_lane_waits_for_anything(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        panel.gateway.down = True
        await ask(page, "Anybody there?")
        await page.wait("document.querySelector('.turn-trouble [role=alert]')")
        assert "The gateway is being restarted." in await page.run("document.querySelector('.turn-trouble').innerText")
        assert await page.run("document.querySelector('.route-strip').hidden")
        panel.gateway.down = False
        await page.click("[data-act=retry]")
        await page.wait("document.querySelector('.answer').textContent.length > 100")

    play(scene)


# ---- images ----------------------------------------------------------------------------------------------------------


def test_an_image_is_shown_once_it_is_bound_and_says_what_was_asked(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        panel.gateway.images = (data_url(png(40, 30)),)
        panel.gateway.answer = "one two three four five six"
        panel.gateway.hold_after = 4
        page = await opened(panel, browser)
        await ask(page, "a grey bar")
        await page.wait("document.querySelector('.answer')?.textContent.includes('one')")
        assert await page.run("document.querySelectorAll('.picture').length") == 0
        panel.gateway.go.set()
        await answered(page)
        await page.wait("document.querySelector('.picture img')?.naturalWidth === 40")
        assert await page.run("document.querySelector('.picture img').alt") == "a grey bar"
        assert await page.run("document.querySelector('.picture a').download") == "image-1.png"
        await page.click(".picture-whole")
        assert await page.run("document.querySelector('.picture-whole').getAttribute('aria-pressed')") == "true"
        kept = await page.run("location.href")
        await page.go(panel.url + "/about")
        await page.go(kept)
        await page.wait("document.querySelector('.picture img')?.naturalWidth === 40")
        assert page.complaints == []

    play(scene)


@pytest.mark.parametrize(
    "url",
    [
        "https://images.example/1.png",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:image/png;base64,PHN2ZyBvbmxvYWQ9ImhpdCgpIi8+",
        "javascript:hit()",
        'data:image/png;base64,iVBORw0KGgo=" onerror="hit()',
        "",
    ],
)
def test_what_is_no_image_is_never_made_one(play, url):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        panel.gateway.images = (url,)
        page = await opened(panel, browser)
        await page.run("window.hits = 0; window.hit = () => { window.hits += 1 }; 0")
        await ask(page, "Draw")
        await answered(page)
        await page.wait("document.querySelector('.picture')")
        assert await page.run("document.querySelectorAll('.talk img').length") == 0
        assert "is not shown" in await page.run("document.querySelector('.picture').textContent")
        assert await page.run("window.hits") == 0
        assert [url for url in page.requests if not url.startswith(panel.url)] == []

    play(scene)


def test_the_picker_marks_models_that_draw(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        panel.gateway.outputs = {panel.gateway.models[0]: ["image"]}
        page = await opened(panel, browser)
        assert "makes images" in await page.run("document.querySelector('#model :checked').textContent")
        assert await page.run("document.getElementById('prompt').placeholder") == "Say what is to be drawn"

    play(scene)


# ---- the picker, and what every page promises ------------------------------------------------------------------------


def test_the_picker_says_what_a_model_costs_and_what_it_cannot_prove(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        panel.gateway.prices = {"gpt-4o-mini": {"input": "0.15", "output": "0.6"}}
        page = await opened(panel, browser)
        assert await page.run("document.querySelectorAll('.model-about [data-model]:not([hidden])').length") == 1
        await page.run(
            "document.querySelector('.model-about').open = true; const model = document.getElementById('model');"
            "model.value = 'gpt-4o-mini'; model.dispatchEvent(new Event('change'))"
        )
        about = await page.run("document.querySelector('.model-about').innerText")
        assert "0.15 USD for a million tokens in, 0.6 USD for a million tokens out" in about
        said = "document.querySelector('.ceilings [data-lane=%s] dd').innerText.replaceAll(/\\s+/g, ' ')"
        assert (await page.run(said % "artifact")).startswith(
            "unknown provider claim: which model ran is its provider's word"
        )
        assert (await page.run(said % "bytes")).startswith("proven signature:")
        lanes = "[...document.querySelectorAll('[data-model]:not([hidden]) > .ceilings > div')]"
        assert await page.run(f"{lanes}.map((node) => node.dataset.lane)") == [*LANES]
        assert "$0.15 / $0.6 per million" in await page.run("document.querySelector('#model :checked').textContent")
        await ask(page, "So?")
        await answered(page)
        assert panel.gateway.asked[-1]["model"] == "gpt-4o-mini"
        await page.go(panel.url + "/chat")
        await page.wait("document.getElementById('model').value === 'gpt-4o-mini'")

    play(scene)


def test_a_browser_whose_store_never_answers_asks_and_keeps_nothing(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        silent = "IDBFactory.prototype.open = () => ({})"
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=silent)
        await page.go(panel.url + "/chat?silent")
        await ask(page, "Small?")
        await answered(page)
        assert not await page.run("document.getElementById('not-kept').hidden")
        assert page.complaints == []

    play(scene)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_has_contrast_and_the_page_fits_a_phone(play, dark):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        panel.gateway.answer = (
            "# A\n\n> quoted [link](https://a.example/)\n\n```py\nx\n```\n\na | b\n--|--\n1 | 2\n\n"
            + "long" * 80
            + "\n\n`"
            + "code" * 60
            + "`"
        )
        panel.gateway.prices = {panel.gateway.models[0]: {"input": "0.15", "output": "0.60001"}}
        for width in (NARROW, 1280):
            page = await opened(panel, browser, width=width, dark=dark, calm=True)
            await axe.prepare(page)
            await page.go(panel.url + "/chat?prepared")
            await ask(page, "Small?")
            await answered(page)
            await page.wait("document.querySelector('.talk details[data-lane=bytes]').dataset.state === 'proven'")
            await page.run("document.querySelectorAll('.talk-lanes').forEach((node) => node.hidden = false)")
            await page.run("document.querySelectorAll('details').forEach((node) => node.open = true)")
            assert await page.run(CONTRAST) == []
            assert await page.run("document.documentElement.scrollWidth") <= width
            send = "document.getElementById('send').getBoundingClientRect().right"
            assert await page.run(f"{send} <= document.querySelector('.ask-box').getBoundingClientRect().right")
            assert await axe.violations(page) == []
            small = await page.run(
                "[...document.querySelectorAll('main button, main summary')].filter((e) => e.checkVisibility())"
                ".map((e) => [e.className || e.id, e.getBoundingClientRect()])"
                ".filter(([, r]) => r.height < 24 || r.width < 24).map(([name]) => name)"
            )
            assert small == []  # WCAG 2.2 §2.5.8

    play(scene)


def test_the_page_weighs_less_than_250_kilobytes_before_the_first_answer(play):
    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await asyncio.sleep(0.3)
        assert 5_000 < page.received_bytes < 250_000
        loaded = {url.partition("/static/")[2].partition("/")[2] for url in page.requests if url.endswith(".js")}
        assert loaded == {*Assets().imported(SCRIPT), SCRIPT, "theme.js"}  # named in the page: asked for at once
        assert all(url.startswith(panel.url) for url in page.requests)
        assert page.complaints == []

    play(scene)
