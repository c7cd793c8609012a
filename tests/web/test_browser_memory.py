"""The page of a memory in a real browser: unlock, find, judge, take along, erase, on a narrow screen, in the dark.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import axe
from tests.helpers.browser import IN_A_BROWSER, Browser, Page, connect
from tests.helpers.fake_gateway import FakeGateway
from tests.helpers.memory import PASSPHRASE, RUNS, MemoryWorld, User
from tests.helpers.memory_pages import NodeHTTP, asked
from tests.helpers.panel import open_panel
from tests.helpers.xss import CORPUS
from tests.web.test_browser import CONTRAST

pytestmark = [*IN_A_BROWSER]
OPENED = "!document.getElementById('open').hidden && document.getElementById('found').textContent"
LOCKED = "!document.getElementById('locked').hidden"
STANDINGS = "[...document.querySelectorAll('#rows > .memory-row')].map((node) => node.dataset.standing)"


@dataclass
class Scene:
    """A panel in front of a memory node, one of its users, and a browser."""

    url: str
    world: MemoryWorld
    user: User
    http: NodeHTTP
    browser: Browser
    gateway: FakeGateway

    async def tab(self, **options: Any) -> Page:
        """The page, locked."""
        page = await self.browser.page(**options)
        await page.go(f"{self.url}/memory")
        await page.wait(LOCKED)
        return page

    async def unlocked(self, key: str = "", **options: Any) -> Page:
        """The page, opened with the user's key or another."""
        page = await self.tab(**options)
        await fill(page, "api-key", key or self.user.key)
        await page.click("#by-key button")
        await page.wait(OPENED)
        return page


async def fill(page: Page, field: str, text: str) -> None:
    """Click into a field of this id and type."""
    await page.click(f"#{field}")
    await page.type(text)


async def row(page: Page, identifier: str) -> str:
    """The selector of an opened row, with its history there."""
    found = f"#rows [data-row={identifier}]"
    if not await page.run(f"document.querySelector('{found}').open"):
        await page.click(f"{found} > summary")
    await page.wait(f"document.querySelector('{found} [data-part=history] li')")
    return found


def downloaded(file: Path) -> bytes:
    """A file once the browser has it whole: it is written under another name first."""
    for _ in range(1_500):
        if file.exists():
            return file.read_bytes()
        time.sleep(0.02)
    raise AssertionError(f"{file.name} was never downloaded")


@pytest.fixture
def play(chromium: str, tmp_path: Path) -> Callable[[Callable[[Scene], Awaitable[None]]], None]:
    """Runs a scene."""

    def run(scene: Callable[[Scene], Awaitable[None]]) -> None:
        async def act() -> None:
            world = MemoryWorld(tmp_path)
            client, http = asked(world)
            try:
                async with open_panel() as panel, connect(chromium) as browser:
                    panel.service.memory = client
                    await scene(Scene(panel.url, world, await world.user(), http, browser, panel.gateway))
            finally:
                world.close()

        asyncio.run(act())

    return run


async def furnished(user: User) -> dict[str, str]:
    """Rows of every standing; their ids by standing, and by ``other`` (contradicts one) and ``said`` (in a run)."""
    rows = {"withdrawn": (await user.note("I had a boat."))["id"]}
    await user.ask("POST", f"/v1/memories/{rows['withdrawn']}/withdraw")
    rows["aging"] = (await user.note("I train for a marathon.", categories=["productivity"]))["id"]
    user.world.sleep(20)
    rows["contradicted"] = (await user.note("I live in Lisbon.", slot="residence", categories=["identity"]))["id"]
    rows["other"] = (await user.note("I live in Porto.", slot="residence", categories=["identity"]))["id"]
    application = await user.application()
    rows["background"] = (await application.note("The user reads long books about harbours."))["id"]
    rows["said"] = (await user.say("I like long walks.", run=RUNS[0]))["memories"][0]["id"]
    rows["earned"] = (await user.note("I like old sea charts of the Atlantic coast.", categories=["interests"]))["id"]
    await user.find("sea charts", run=RUNS[1], limit=1)
    return rows


def test_a_wrong_key_opens_nothing_and_says_so(play):
    async def act(scene: Scene) -> None:
        page = await scene.tab()
        await fill(page, "api-key", scene.user.key[:-4] + "AAAA")
        await page.click("#by-key button")
        await page.wait("document.querySelector('#memory-trouble .trouble')")
        assert await page.run(LOCKED)
        assert await page.run("document.getElementById('open').hidden")
        assert await page.run("document.getElementById('api-key').value") == ""

    play(act)


def test_rows_of_every_standing_are_shown_with_a_word_and_a_shape_of_their_own(play):
    async def act(scene: Scene) -> None:
        await furnished(scene.user)
        page = await scene.unlocked()
        assert set(await page.run(STANDINGS)) == {"earned", "aging", "background", "contradicted"}
        await page.run("document.getElementById('standing').value = 'withdrawn'")
        await page.click("#find button")
        await page.wait(f"{STANDINGS}.join() === 'withdrawn'")
        shapes = await page.run(
            "[...document.querySelectorAll('.memory-legend .shape')].map((node) => getComputedStyle(node).maskImage)"
        )
        assert len(set(shapes)) == 5
        assert await page.run(
            "[...document.querySelectorAll('#rows .memory-word')].map((node) => node.textContent)"
        ) == ["withdrawn"]
        assert page.complaints == []

    play(act)


def test_a_row_says_where_it_came_from_and_where_it_was_used(play):
    async def act(scene: Scene) -> None:
        rows = await furnished(scene.user)
        page = await scene.unlocked()
        links = "[...document.querySelectorAll('%s [data-part=%s] a')].map((node) => node.getAttribute('href'))"
        found = await row(page, rows["earned"])
        assert await page.run(links % (found, "used")) == [f"/runs/{RUNS[1]}"]
        assert "you wrote it down" in await page.run(f"document.querySelector('{found}').innerText")
        found = await row(page, rows["said"])
        assert await page.run(links % (found, "sources")) == [f"/runs/{RUNS[0]}"]
        found = await row(page, rows["background"])
        text = await page.run(f"document.querySelector('{found}').innerText")
        assert "a model said or derived it" in text
        assert "nowhere yet" in text
        await page.run("document.getElementById('query').value = 'atlantic'")
        await page.click("#find button")
        await page.wait(f"document.querySelector('#rows .memory-row').dataset.row === '{rows['earned']}'")
        assert (await scene.user.row(rows["earned"]))["used"] == 1, "looking is no recall"
        assert page.complaints == []

    play(act)


def test_contradictions_stand_side_by_side_until_one_is_confirmed(play):
    async def act(scene: Scene) -> None:
        rows = await furnished(scene.user)
        page = await scene.unlocked()
        assert await page.run("[...document.querySelectorAll('.memory-pair .memory-row')].length") == 2
        tops = (
            "[...document.querySelectorAll('.memory-pair .memory-row')].map((node) => node.getBoundingClientRect().y)"
        )
        first, second = await page.run(tops)
        assert first == second
        found = await row(page, rows["other"])
        await page.click(f"{found} [data-act=confirm]")
        await page.wait(f"document.querySelector('#rows [data-row={rows['other']}]').dataset.standing === 'earned'")
        assert (await scene.user.row(rows["contradicted"]))["standing"] == "contradicted"
        assert (await scene.user.row(rows["other"]))["confirmed"] == 1
        assert await page.run("document.activeElement.closest('.memory-row').dataset.row") == rows["other"]
        assert page.complaints == []

    play(act)


def test_a_row_is_corrected_withdrawn_and_erased_for_whoever_writes_so(play):
    async def act(scene: Scene) -> None:
        made = (await scene.user.note("I like old maps."))["id"]
        page = await scene.unlocked()
        found = await row(page, made)
        await page.click(f"{found} [data-act=correct-box] summary")
        await page.run(f"document.querySelector('{found} textarea').value = ''")
        await page.click(f"{found} textarea")
        await page.type("I like new maps.")
        await page.click(f"{found} [data-act=correct-box] button")
        await page.wait(
            f"document.querySelector('#rows .memory-row') && !document.querySelector('#rows [data-row={made}]')"
        )
        new = await page.run("document.querySelector('#rows .memory-row').dataset.row")
        assert (await scene.user.row(new))["memory"] == "I like new maps."
        found = await row(page, new)
        await page.click(f"{found} [data-act=withdraw]")
        await page.wait("document.querySelectorAll('#rows .memory-row').length === 0")
        assert (await scene.user.row(new))["standing"] == "withdrawn"
        await page.run("document.getElementById('standing').value = 'withdrawn'")
        await page.click("#find button")
        await page.wait("document.querySelectorAll('#rows .memory-row').length === 2")
        found = await row(page, new)
        assert await page.run(f"document.querySelector('{found} [data-act=confirm]').hidden")
        await page.click(f"{found} [data-act=erase-box] summary")
        before = len(scene.http.sent)
        await page.click(f"{found} [data-act=erase-box] input")
        await page.type("yes")
        await page.click(f"{found} [data-act=erase-box] button")
        await page.run("new Promise((done) => setTimeout(done, 50))")
        assert len(scene.http.sent) == before, "another word erases nothing"
        await page.run(f"document.querySelector('{found} [data-act=erase-box] input').value = ''")
        await page.click(f"{found} [data-act=erase-box] input")
        await page.type("erase")
        await page.click(f"{found} [data-act=erase-box] button")
        await page.wait("document.querySelectorAll('#rows .memory-row').length === 1")
        assert (await scene.user.send("GET", f"/v1/memories/{new}")).status == 404
        assert page.complaints == []

    play(act)


def test_a_key_is_kept_for_this_tab_only_where_its_owner_ticks_so_and_never_elsewhere(play):
    async def act(scene: Scene) -> None:
        secret = scene.user.key.partition(".")[2]
        held = "JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])"
        page = await scene.unlocked()
        assert secret not in await page.run(held)
        await page.go(f"{scene.url}/memory")
        await page.wait(LOCKED)
        await page.click("#keep")
        await fill(page, "api-key", scene.user.key)
        await page.click("#by-key button")
        await page.wait(OPENED)
        assert secret not in await page.run("JSON.stringify([{...localStorage}, document.cookie])")
        await page.go(f"{scene.url}/memory")
        await page.wait(OPENED)
        assert not any(secret in url for url in page.requests)
        await page.click("#lock")
        await page.wait(LOCKED)
        assert secret not in await page.run(held)
        assert scene.user.id not in await page.run("document.documentElement.outerHTML")
        assert (await scene.user.send("GET", "/v1/me")).status == 200, "locking a page ends no key"
        assert page.complaints == []

    play(act)


def test_a_passphrase_opens_the_rows_and_locking_ends_its_session(play):
    async def act(scene: Scene) -> None:
        await scene.user.note("I like old maps.")
        page = await scene.tab()
        await fill(page, "user-id", scene.user.id)
        await fill(page, "passphrase", PASSPHRASE)
        await page.click("#by-passphrase button")
        await page.wait(OPENED)
        token = scene.http.sent[-1][2]["x-api-key"]
        await page.click("#lock")
        await page.wait(LOCKED)
        assert (await User(scene.world, scene.user.id, token).send("GET", "/v1/me")).status == 401
        assert page.complaints == []

    play(act)


def test_an_export_is_a_file_that_its_passphrase_opens(play, tmp_path):
    async def act(scene: Scene) -> None:
        await scene.user.note("I like old maps.")
        page = await scene.unlocked()
        folder = tmp_path / "downloads"
        where = {"behavior": "allow", "downloadPath": str(folder), "browserContextId": page.context}
        await scene.browser.call("Browser.setDownloadBehavior", where)
        await fill(page, "export-passphrase", "one")
        await fill(page, "export-again", "two")
        await page.click("#export button")
        await page.wait("document.querySelector('#memory-trouble .trouble')")
        await page.run("document.getElementById('export').reset()")
        await fill(page, "export-passphrase", PASSPHRASE)
        await fill(page, "export-again", PASSPHRASE)
        await page.click("#export button")
        await page.wait("document.getElementById('announce').textContent === 'Exported'")
        export = json.loads(await asyncio.to_thread(downloaded, folder / "memory.json"))
        other = await scene.world.user("another passphrase of somebody")
        taken = await other.ask("POST", "/v1/import", {"export": export, "passphrase": PASSPHRASE})
        assert taken
        assert [item["memory"] for item in await other.find("maps")] == ["I like old maps."]
        assert page.complaints == []

    play(act)


def test_everything_is_erased_for_whoever_writes_their_user_id(play):
    async def act(scene: Scene) -> None:
        await scene.user.note("I like old maps.")
        page = await scene.unlocked()
        await fill(page, "erase-user", "usr_somebody")
        await page.click("#erase button")
        await page.wait("document.querySelector('#memory-trouble .trouble')")
        assert (await scene.user.send("GET", "/v1/me")).status == 200
        await page.run("document.getElementById('erase').reset()")
        await fill(page, "erase-user", scene.user.id)
        await page.click("#erase button")
        await page.wait(LOCKED)
        assert (await scene.user.send("GET", "/v1/me")).status == 401
        assert await page.run("document.getElementById('rows').childElementCount") == 0
        assert page.complaints == []

    play(act)


def test_a_key_that_is_no_owners_is_offered_no_owners_acts(play):
    async def act(scene: Scene) -> None:
        made = (await scene.user.note("I like old maps."))["id"]
        reader = await scene.user.application("memories:read")
        page = await scene.unlocked(reader.key)
        found = await row(page, made)
        for act_of_owner in (f"{found} [data-act=confirm]", f"{found} [data-act=correct-box]", "#export", "#erase"):
            assert await page.run(f"document.querySelector('{act_of_owner}').offsetParent") is None
        assert not await page.run("document.getElementById('not-owner').hidden")

    play(act)


def test_what_rows_say_is_text_whatever_it_looks_like(play):
    async def act(scene: Scene) -> None:
        texts = [text for text in CORPUS if text.strip()]
        for text in texts:
            members = {"memory": text, "agent_id": text[:200], "slot": "one-value"}
            reply = await scene.user.send("POST", "/v1/memories", members)
            assert reply.status in (201, 400), reply.body
        page = await scene.browser.page()
        await page.call(
            "Page.addScriptToEvaluateOnNewDocument", source="globalThis.hits = 0; globalThis.hit = () => hits++"
        )
        await page.go(f"{scene.url}/memory")
        await page.wait(LOCKED)
        await fill(page, "api-key", scene.user.key)
        await page.click("#by-key button")
        await page.wait(OPENED)
        shown = await page.run("[...document.querySelectorAll('#rows .memory-claim')].map((node) => node.textContent)")
        assert len(shown) > 40
        assert set(shown) <= set(texts)
        assert (
            await page.run("document.querySelectorAll('#rows :is(script, img, svg, iframe, a[href], base)').length")
            == 0
        )
        await row(page, await page.run("document.querySelector('#rows .memory-row').dataset.row"))
        assert await page.run("document.querySelectorAll('#pairs .memory-pair').length") == 20
        assert "20 of" in await page.run("document.getElementById('pairs-more').textContent")
        assert await page.run("hits") == 0
        assert not any("evil" in url for url in page.requests)
        assert page.complaints == []

    play(act)


async def chatting(scene: Scene, **options: Any) -> Page:
    """The chat page with the user's key given to it."""
    page = await scene.browser.page(**options)
    await page.go(f"{scene.url}/chat")
    await page.wait("document.getElementById('no-conversations') && document.getElementById('model').value")
    await page.click("#carry > summary")
    await fill(page, "carry-key", scene.user.key)
    await page.click("#carry-unlock")
    await page.wait("!document.getElementById('carry-open').hidden")
    return page


async def say(page: Page, text: str, count: int) -> None:
    """Ask, and wait for the answer."""
    await page.run("document.getElementById('carry').open = false")
    await fill(page, "prompt", text)
    await page.press("Enter", 13, "\r")
    await page.wait(f"document.querySelectorAll('.talk').length === {count} && !document.querySelector('[data-busy]')")


def test_a_chat_carries_rows_along_and_remembers_only_where_its_owner_ticks_so(play):
    async def act(scene: Scene) -> None:
        page = await chatting(scene)
        await say(page, "I live in Lisbon.", 1)
        assert scene.gateway.asked[-1]["holdfast"] == {"memory": {"user": scene.user.id, "recall": True}}
        assert scene.gateway.memory_keys == [scene.user.key]
        assert await scene.user.find("Lisbon") == []
        await page.run(
            "document.getElementById('carry-recall').click(); document.getElementById('carry-remember').click()"
        )
        await say(page, "I live in Porto.", 2)
        assert "holdfast" not in scene.gateway.asked[-1]
        assert scene.gateway.memory_keys[-1] is None
        await page.wait("document.getElementById('carry-says').textContent.includes('1 claim kept')")
        (found,) = await scene.user.find("Porto")
        assert (found["sources"][0]["kind"], found["sources"][0]["id"]) == ("run", [*scene.gateway.runs][-1])
        sent = len(scene.http.sent)
        await page.click(".talk:last-child [data-act=retry]")
        await page.wait("!document.querySelector('[data-busy]')")
        await page.wait("document.querySelector('.siblings-at').textContent")
        assert len(scene.http.sent) == sent, "asking the same again is no saying"
        held = await page.run("JSON.stringify([{...sessionStorage}, {...localStorage}])")
        assert scene.user.key.partition(".")[2] not in held
        await page.run("document.getElementById('carry').open = true")
        await page.click("#carry-forget")
        await page.wait("document.getElementById('carry-open').hidden")
        await say(page, "I live in Braga.", 3)
        assert scene.gateway.memory_keys[-1] is None
        kept = (await scene.user.ask("GET", "/v1/memories"))["data"]
        assert [row["id"] for row in kept] == [found["id"]], "nothing was kept of it"
        assert page.complaints == []

    play(act)


def test_a_chat_says_when_a_key_opens_nothing(play):
    async def act(scene: Scene) -> None:
        page = await scene.browser.page(width=390, dark=True)
        await axe.prepare(page)
        await page.go(f"{scene.url}/chat")
        await page.wait("document.getElementById('model').value")
        await page.click("#carry > summary")
        await fill(page, "carry-key", scene.user.key[:-4] + "AAAA")
        await page.press("Enter", 13, "\r")
        await page.wait("!document.getElementById('carry-trouble').hidden")
        assert await page.run("document.getElementById('carry-open').hidden")
        assert scene.gateway.asked == [], "a key is no question"
        assert await axe.violations(page) == []
        assert await page.run("document.documentElement.scrollWidth") <= 390

    play(act)


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 1280), (True, 390)], ids=str)
def test_the_page_breaks_no_grave_rule_and_fits(play, dark, width):
    async def act(scene: Scene) -> None:
        rows = await furnished(scene.user)
        page = await scene.browser.page(dark=dark, width=width)
        await axe.prepare(page)
        await page.go(f"{scene.url}/memory")
        await page.wait(LOCKED)
        assert await axe.violations(page) == []
        await fill(page, "api-key", scene.user.key)
        await page.click("#by-key button")
        await page.wait(OPENED)
        await row(page, rows["earned"])
        await row(page, rows["contradicted"])
        await page.run("document.querySelectorAll('main details').forEach((node) => { node.open = true })")
        await page.wait("[...document.querySelectorAll('[data-part=history]')].every((list) => list.children.length)")
        assert await axe.rules_run(page) > 15
        assert await axe.violations(page) == []
        assert await page.run(CONTRAST) == []
        assert await page.run("document.documentElement.scrollWidth") <= width

    play(act)


def test_an_address_that_names_a_row_leads_to_it(play) -> None:
    async def scene(at: Scene) -> None:
        first = (await at.user.note("I like old maps."))["id"]
        await at.user.note("I live in Lisbon.")
        page = await at.browser.page()
        await page.go(f"{at.url}/memory#{first}")
        await page.wait(LOCKED)
        await fill(page, "api-key", at.user.key)
        await page.click("#by-key button")
        await page.wait("document.querySelector('#rows > .memory-row[open] [data-part=history] li')")
        rows = "[...document.querySelectorAll('#rows > .memory-row')].map((node) => node.dataset.row)"
        found = await page.run(rows)
        assert (found[0], len(found), found.count(first)) == (first, 2, 1)

    play(scene)
