"""Routes on the chat page, in a real browser: a fallback is told before the answer's text, and a policy goes along.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from tests.helpers import axe
from tests.helpers.browser import IN_A_BROWSER, Browser, connect
from tests.helpers.fake_gateway import FakeGateway, four_nodes
from tests.helpers.panel import PanelWorld, open_panel
from tests.web.test_browser_chat import answered, ask, opened

pytestmark = [*IN_A_BROWSER]

Scene = Callable[[PanelWorld, Browser], Awaitable[None]]
Play = Callable[..., None]
EARLIER = "018f4e9a-2222-7abc-8def-0123456789ab"
FELL = {
    "upstream": "second",
    "attempts": [
        {"upstream": "first", "why": "first", "end": "upstream.status.503", "sent": True},
        {"upstream": "second", "why": "fallback", "end": None, "sent": True},
    ],
}
DIFFERS = "[...document.querySelectorAll('.talk:last-child .differs li')].map((line) => line.textContent)"


@pytest.fixture
def play(chromium: str) -> Play:
    def run(scene: Scene, gateway: FakeGateway | None = None) -> None:
        async def act() -> None:
            async with open_panel(gateway, four_nodes()) as panel, connect(chromium) as browser:
                await scene(panel, browser)

        asyncio.run(act())

    return run


def test_a_fallback_is_told_while_the_answer_has_not_come_and_before_it_on_the_page(play: Play) -> None:
    gateway = FakeGateway()
    gateway.route, gateway.hold_after = FELL, 1

    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "Who serves this?")
        await page.wait("document.querySelector('.differs li')")
        assert await page.run(DIFFERS) == ["first failed (upstream.status.503); what you asked may have reached it."]
        assert await page.run("document.querySelector('.cell[data-lane=route] .cell-short').textContent") == (
            "second, not first"
        )
        assert await page.run(
            "Boolean(document.querySelector('.differs').compareDocumentPosition(document.querySelector('.answer'))"
            " & Node.DOCUMENT_POSITION_FOLLOWING)"
        )
        gateway.go.set()
        await answered(page)
        assert (await page.run("document.querySelector('#differing li').textContent")) == "route: turn 1"

    play(scene, gateway)


def test_an_answer_from_a_cache_is_told_as_one_before_it_on_the_page(play: Play) -> None:
    gateway = FakeGateway()
    gateway.route = {"upstream": "first", "attempts": [], "cached": True, "cached_run": EARLIER}
    gateway.hold_after = 1

    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "Who serves this?")
        await page.wait("document.querySelector('.differs li')")
        assert await page.run(DIFFERS) == [f"Nobody was asked: it is the answer that run {EARLIER} was given."]
        assert await page.run("document.querySelector('.cell[data-lane=route] .cell-short').textContent") == (
            "first, from the gateway's cache"
        )
        gateway.go.set()
        await answered(page)

    play(scene, gateway)


def test_turns_that_differ_are_told_by_their_numbers_lane_by_lane(play: Play) -> None:
    gateway = FakeGateway()

    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "One")
        await answered(page)
        assert await page.run("document.getElementById('differing').hidden")
        gateway.route = FELL
        await ask(page, "Two")
        await answered(page, 2)
        gateway.route = None
        await ask(page, "Three")
        await answered(page, 3)
        await page.wait("!document.getElementById('differing').hidden")
        lines = await page.run("[...document.querySelectorAll('#differing li')].map((line) => line.textContent)")
        assert lines == ["route: turn 2"]

    play(scene, gateway)


def test_a_conversations_policy_goes_along_with_its_questions_and_stays_with_it(play: Play) -> None:
    gateway = FakeGateway()

    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await page.run(
            "document.getElementById('policy-box').open = true;"
            "document.getElementById('policy-fallback').click();"
            "document.querySelector('#policy-models input').click();"
            "const price = document.getElementById('policy-price'); price.value = '0.05';"
            "price.dispatchEvent(new Event('change', { bubbles: true })); 0"
        )
        assert await page.run("document.getElementById('policy-says').textContent") == (
            "holdfast-responder, no fallback, at most 0.05 USD"
        )
        assert await axe.violations(page) == []
        await ask(page, "First")
        await answered(page)
        asked = {"models": {"allow": ["holdfast-responder"]}, "fallback": "none", "max_usd": "0.05"}
        assert [json.loads(item or "null") for item in gateway.policies] == [asked]
        kept = await page.run("location.hash")
        await page.run("location.hash = ''; 0")
        await page.wait("document.getElementById('policy-says').textContent === 'wherever the gateway sends it'")
        await ask(page, "Another conversation")
        await answered(page)
        assert gateway.policies[-1] is None
        await page.run(f"location.hash = {json.dumps(kept)}; 0")
        await page.wait("document.getElementById('policy-fallback').checked")
        await ask(page, "Second")
        await answered(page, 2)
        assert json.loads(gateway.policies[-1] or "null") == asked

    play(scene, gateway)


def test_a_price_that_is_none_holds_the_question_back(play: Play) -> None:
    gateway = FakeGateway()

    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await page.run(
            "var price = document.getElementById('policy-price'); price.value = 'cheap';"
            "price.dispatchEvent(new Event('change', { bubbles: true })); 0"
        )
        assert not await page.run("document.getElementById('policy-trouble').hidden")
        await ask(page, "How much?")
        assert gateway.asked == []
        await page.run("price.value = '';price.dispatchEvent(new Event('change', { bubbles: true })); 0")
        await page.press("Enter", 13, "\r")
        await answered(page)
        assert gateway.policies == [None]

    play(scene, gateway)


GONE = """
new Promise((told) => {
  indexedDB.open("holdfast-chat/" + document.body.dataset.owner).onsuccess = ({ target: { result: base } }) => {
    const change = base.transaction("conversations", "readwrite");
    change.objectStore("conversations").getAll().onsuccess = ({ target }) => {
      const route = { models: { allow: ["a-model-of-before"] } };
      for (const kept of target.result) change.objectStore("conversations").put({ ...kept, route });
    };
    change.oncomplete = () => told(true);
  };
})"""
"""Every conversation that is kept may go to one model alone, which is not offered any more."""


def test_a_policy_is_not_widened_by_a_change_where_its_models_are_not_offered_any_more(play: Play) -> None:
    gateway = FakeGateway()

    async def scene(panel: PanelWorld, browser: Browser) -> None:
        page = await opened(panel, browser)
        await ask(page, "First")
        await answered(page)
        await page.run(GONE)
        kept = str(await page.run("location.hash"))
        await page.go("about:blank")
        await page.go(panel.url + "/chat" + kept)
        await page.wait("document.getElementById('policy-says').textContent === 'a-model-of-before'")
        await page.run(
            "document.getElementById('policy-box').open = true; document.getElementById('policy-fallback').click(); 0"
        )
        await ask(page, "Second")
        await answered(page, 2)
        assert json.loads(gateway.policies[-1] or "null") == {
            "models": {"allow": ["a-model-of-before"]},
            "fallback": "none",
        }

    play(scene, gateway)
