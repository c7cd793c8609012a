"""Streamed answers in the chat page, in a real browser: whatever was done to them, no byte is shown that no mark binds.

A gateway binds its answer and then lies. Everything that the page ever showed is recorded while it happens, and each of
it has to be a beginning of the true answer that ends where a mark did. ``HOLDFAST_EXAMPLES`` sets how many streams are
damaged at random. Skipped without a Chromium.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.encoding import time_encode
from holdfast.core.statements import Execution
from holdfast.core.trust import build_trust_chain
from tests.helpers import bound_answer
from tests.helpers.bound_answer import BoundAnswer, network
from tests.helpers.browser import IN_A_BROWSER, Page, open_browser
from tests.helpers.damage import DAMAGES, damaged
from tests.helpers.fake_gateway import FakeGateway
from tests.helpers.network import UNTIL
from tests.helpers.panel import PanelWorld, open_panel
from tests.web.test_browser_chat import answered, ask, opened

pytestmark = [*IN_A_BROWSER]

EXAMPLES = max(8, int(os.environ.get("HOLDFAST_EXAMPLES", "30")) // 2)
ANSWER = " ".join(f"piece{number}" for number in range(26))
PREFIXES = {" ".join(ANSWER.split(" ")[: 6 * marks + 1]) for marks in range(5)} | {ANSWER, ""}
"""What marks bind of it: after pieces 1, 7, 13, 19, 25 and at the end."""
RECORD = """(() => { globalThis.shown = new Set(); const look = () => {
  for (const node of document.querySelectorAll('.answer')) globalThis.shown.add(node.textContent); };
  new MutationObserver(look).observe(document.getElementById('talk'),
    { childList: true, subtree: true, characterData: true }); return true; })()"""
Alter = Callable[[list[bytes]], list[bytes]]


async def said(alter: Alter | None, page: Page, panel: PanelWorld) -> tuple[set[str], str, str]:
    """Ask once: everything that was ever shown, what went wrong in words, and what was checked."""
    panel.gateway.alter = alter
    await page.run("location.hash = ''")
    await page.wait("!document.querySelector('.talk')")
    await page.run("globalThis.shown.clear()")
    await ask(page, "Go on.")
    await answered(page)
    shown = set(await page.run("[...globalThis.shown]"))
    trouble = await page.run("document.querySelector('.turn-trouble').innerText")
    checked = await page.run("document.querySelector('.checked-here')?.textContent ?? ''")
    return shown, trouble, checked


def trust_now() -> bytes:
    """A trust file that admits the gateway for as long as anybody runs this."""
    payload = network().trust_version().replace(time_encode(UNTIL).encode(), b"2999-01-01T00:00:00.000Z")
    return build_trust_chain([network().sign_trust(payload)])


def play(scene: Callable[[PanelWorld, Page], Any], **config: Any) -> None:
    async def act() -> None:
        gateway = FakeGateway()
        gateway.answer = ANSWER
        options = {"trust": Path("nowhere.json"), **config}
        async with open_panel(gateway, [], **options) as panel, open_browser() as browser:
            page = await opened(panel, browser)
            await page.run(RECORD)
            await scene(panel, page)

    asyncio.run(act())


def test_an_honest_answer_is_shown_whole_and_says_what_was_checked() -> None:
    async def scene(panel: PanelWorld, page: Page) -> None:
        shown, trouble, checked = await said(None, page, panel)
        assert (trouble, ANSWER in shown, shown <= PREFIXES) == ("", True, True)
        for words in ("6 marks held", "What was asked is what the route binds", "What is shown is what the closing"):
            assert words in checked
        assert "the one that this browser saw first; no trust here vouches for it" in checked
        assert "6 marks checked in this page" in await page.run("document.querySelector('.turn-status').textContent")
        assert page.complaints == []

    play(scene)


def test_no_unbound_byte_is_shown_of_a_stream_that_was_damaged_in_any_of_these_ways() -> None:
    async def scene(panel: PanelWorld, page: Page) -> None:
        for name, damage in DAMAGES.items():
            source = random.Random(7)
            shown, trouble, checked = await said(partial(damage, source=source), page, panel)
            assert shown <= PREFIXES, name
            assert ANSWER not in shown or "closing" in trouble or "mark" in trouble, name
            assert trouble, name
            assert "No: " in checked or "Cannot tell: " in checked, name

    play(scene)


def test_no_unbound_byte_is_shown_of_streams_damaged_at_random() -> None:
    async def scene(panel: PanelWorld, page: Page) -> None:
        for seed in range(EXAMPLES):
            shown, trouble, _ = await said(partial(damaged, source=random.Random(seed)), page, panel)
            assert shown <= PREFIXES, seed
            assert trouble, seed

    play(scene)


def test_what_was_not_bound_is_neither_kept_nor_sent_on() -> None:
    async def scene(panel: PanelWorld, page: Page) -> None:
        await said(partial(DAMAGES["corrupted"], source=random.Random(3)), page, panel)
        panel.gateway.alter = None
        await ask(page, "And then?")
        await answered(page, 2)
        for message in panel.gateway.asked[-1]["messages"]:
            assert message["role"] == "user" or message["content"] in PREFIXES

    play(scene)


def test_an_answer_to_another_nonce_is_noticed_at_the_end() -> None:
    async def scene(panel: PanelWorld, page: Page) -> None:
        _, trouble, _ = await said(None, page, panel)
        await said(None, page, panel)
        first, second = panel.gateway.nonces
        assert trouble == ""
        assert len({first, second, None}) == 3, "one is drawn for each question"
        panel.gateway.other_nonce = first
        _, trouble, checked = await said(None, page, panel)
        assert "their nonce is not the one that was drawn here" in trouble
        assert "No: " in checked

    play(scene)


def test_the_first_page_shows_no_unbound_byte_either() -> None:
    async def scene(panel: PanelWorld, page: Page) -> None:
        await page.go(panel.url + "/")
        await page.run(RECORD.replace("'talk'", "'turns'"))
        for count, name in enumerate(DAMAGES, 1):
            panel.gateway.alter = partial(DAMAGES[name], source=random.Random(7))
            await page.click("#prompt")
            await page.type("Go on.")
            await page.press("Enter", 13, "\r")
            await page.wait(f"document.querySelectorAll('.turn').length === {count}")
            await page.wait("!document.querySelector('.answer[data-busy]')")
            assert set(await page.run("[...globalThis.shown]")) <= PREFIXES, name
            assert await page.run("document.querySelector('.turn:last-child .turn-trouble').textContent"), name
        panel.gateway.alter = None
        await page.type("And an honest one?")
        await page.press("Enter", 13, "\r")
        await page.wait("document.querySelector('.turn:last-child .checked-here')?.textContent.includes('closing')")
        assert ANSWER in set(await page.run("[...globalThis.shown]"))
        for message in panel.gateway.asked[-1]["messages"]:
            assert message["role"] == "user" or message["content"] in PREFIXES

    play(scene)


def test_another_question_than_was_asked_is_noticed_at_the_end() -> None:
    async def scene(panel: PanelWorld, page: Page) -> None:
        close = BoundAnswer._close

        def lie(self: BoundAnswer) -> list[dict[str, str]]:
            self.request = json.dumps({**json.loads(self.request), "temperature": 2}).encode()
            return close(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BoundAnswer, "_close", lie)
            _, trouble, checked = await said(None, page, panel)
        assert "binds another question" in trouble
        assert "No: The route binds another question" in checked

    play(scene)


def told(texts: list[bytes], **route: Any) -> list[bytes]:
    """The events with an account of the route in the first frame and in the last."""
    frames = [json.loads(text) for text in texts]
    for frame in (frames[0], frames[-1]):
        frame["holdfast"] = {**frame.get("holdfast", {}), "route": route}
    return [json.dumps(frame).encode() for frame in frames]


SERVED = {"upstream": "stub", "why": "first", "end": "served", "sent": True}


@pytest.mark.parametrize(
    "route",
    [
        {"upstream": "trusted", "attempts": [{**SERVED, "upstream": "trusted"}]},
        {"upstream": "stub", "attempts": [{**SERVED, "upstream": "other", "end": "upstream.timeout"}, SERVED]},
        {
            "upstream": "stub",
            "attempts": [SERVED],
            "cached": True,
            "cached_run": "018f4e9a-2222-7abc-8def-0123456789ab",
        },
    ],
    ids=["another-upstream", "a-fallback", "a-cache"],
)
def test_another_route_than_is_signed_is_noticed_at_the_end_and_taken_back(route: dict[str, Any]) -> None:
    async def scene(panel: PanelWorld, page: Page) -> None:
        _, trouble, checked = await said(lambda texts: told(texts, **route), page, panel)
        assert "told of another way than the route statement" in trouble
        assert "No: " in checked
        strip = await page.run("document.querySelector('.route-strip').innerText")
        assert not any(name in strip for name in ("trusted", "other", "cache"))
        assert await page.run("document.querySelectorAll('.differs li').length") == 0

    play(scene)


def test_the_route_that_is_signed_is_told_as_checked() -> None:
    async def scene(panel: PanelWorld, page: Page) -> None:
        _, trouble, checked = await said(lambda texts: told(texts, upstream="stub", attempts=[SERVED]), page, panel)
        assert trouble == ""
        assert "What the answer told of its way is what the route statement says" in checked

    play(scene)


def test_an_answer_that_is_signed_as_cut_off_is_not_told_as_whole() -> None:
    async def scene(panel: PanelWorld, page: Page) -> None:
        def cut(*args: Any, **more: Any) -> Execution:
            return Execution(args[0], "upstream.unfinished", *args[2:], **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bound_answer, "Execution", cut)
            _, trouble, checked = await said(None, page, panel)
        assert "does not call the answer whole" in trouble
        assert "No: " in checked

    play(scene)


def test_a_gateway_with_another_key_than_before_is_asked_nothing() -> None:
    async def scene(panel: PanelWorld, page: Page) -> None:
        await said(None, page, panel)
        asked = len(panel.gateway.asked)
        await page.run("localStorage.setItem('holdfast.gateway.key', '0'.repeat(64))")
        await page.run("location.hash = ''")
        await page.wait("!document.querySelector('.talk')")
        await ask(page, "Still there?")
        await page.wait("document.querySelector('.turn-trouble [role=alert]')")
        assert "another key than this browser saw first" in await page.run("document.body.innerText")
        assert len(panel.gateway.asked) == asked

    play(scene)


def test_a_key_that_trust_admits_is_told_as_that(tmp_path: Path) -> None:
    trust = tmp_path / "trust.json"
    trust.write_bytes(trust_now())

    async def scene(panel: PanelWorld, page: Page) -> None:
        _, trouble, checked = await said(None, page, panel)
        assert trouble == ""
        assert "admitted by this panel's trust, version 1" in checked

    play(scene, trust=trust)


def test_a_key_that_trust_does_not_admit_is_asked_nothing() -> None:
    async def scene(panel: PanelWorld, page: Page) -> None:
        await ask(page, "Anybody there?")
        await page.wait("document.querySelector('.turn-trouble [role=alert]')")
        assert "does not admit the key" in await page.run("document.body.innerText")
        assert panel.gateway.asked == []

    play(scene, trust=Path(__file__).parents[2] / "vectors" / "shared" / "trust.json")
