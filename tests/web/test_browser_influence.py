"""Asking again without rows of memory in a real browser: from a case file and from the page of a run.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.service import PanelService
from holdfast.ports.settings import Secret
from holdfast.web.app import create_app
from tests.helpers import axe
from tests.helpers.browser import IN_A_BROWSER, Browser, Page, connect
from tests.helpers.case_world import CaseWorld
from tests.helpers.gateway_world import KEY
from tests.helpers.influenced import CELLO, LISBON, influenced
from tests.helpers.memory import MemoryWorld
from tests.helpers.memory_pages import asked
from tests.helpers.panel import serving
from tests.helpers.recalls import USER, USER_KEY
from tests.helpers.upstreams import MODEL

pytestmark = [*IN_A_BROWSER]
ROWS = "document.querySelectorAll('.recalled-row').length"
ANSWERED = "document.querySelectorAll('#influences .influence').length"
SIDES = "JSON.stringify([...document.querySelectorAll('#influences .influence-text')].map((node) => node.innerText))"


@dataclasses.dataclass
class Scene:
    """A panel with pages in front of a real gateway, a case, and somebody's cookie."""

    url: str
    world: CaseWorld
    memory: MemoryWorld
    case: str
    run: str
    cookie: tuple[str, str]
    browser: Browser

    async def tab(self, path: str, **options: Any) -> Page:
        page = await self.browser.page(**options)
        await axe.prepare(page)
        await page.call("Network.setCookie", name=self.cookie[0], value=self.cookie[1], url=self.url)
        await page.go(self.url + path)
        return page


@asynccontextmanager
async def scene(chromium: str, folder: Path) -> AsyncIterator[Scene]:
    world, memory = await CaseWorld(folder).start(), MemoryWorld(folder)
    try:
        case = await influenced(world)
        run = (await world.get(f"/v1/cases/{case}", *world.reader())).json()["run"]
        ((_, cookie), *_) = await world.let_in("rea", "reviewer")
        client, _ = asked(memory)
        async with serving(world.world.app(), lifespan="off") as gateway:
            config = PanelConfig(gateway=gateway, workspace_key=Secret(KEY, "test"))
            service = PanelService(config, world.world.clock, world.metrics, world.review, world.house, memory=client)
            async with (
                service_started(service),
                serving(create_app(service), lifespan="off") as url,
                connect(chromium) as browser,
            ):
                session = (service.access.cookie_name, cookie.partition("=")[2])
                yield Scene(url, world, memory, case, run, session, browser)
    finally:
        memory.close()
        await world.stop()


@asynccontextmanager
async def service_started(service: PanelService) -> AsyncIterator[None]:
    await service.start()
    try:
        yield
    finally:
        await service.close()


def test_a_reviewer_asks_a_case_again_and_sees_all_answers_beside_each_other(chromium: str, tmp_path: Path) -> None:
    async def act() -> None:
        async with scene(chromium, tmp_path) as at:
            page = await at.tab(f"/cases/{at.case}")
            await page.wait(f"{ROWS} === 2")
            await page.click(f"[data-row={CELLO}] [data-influence] button")
            await page.wait(f"{ANSWERED} === 1")
            original, answer, control = json.loads(await page.run(SIDES))
            assert (original, control) == ("The cello.", "The cello.")
            assert answer == "I do not know what you play."
            await page.click(".recalled-again button")
            await page.wait(f"{ANSWERED} === 2")
            labels = "[...document.querySelectorAll('#influences .tag')].map((node) => node.textContent)"
            assert set(await page.run(labels)) == {"a re-run, not proof"}
            assert await axe.violations(page) == []
            await page.screenshot(tmp_path / "case.png")
            narrow = await at.tab(f"/cases/{at.case}", width=390, dark=True)
            await narrow.wait(f"{ROWS} === 2")
            await narrow.click(".recalled-again button")
            await narrow.wait(f"{ANSWERED} === 1")
            assert await narrow.run("document.documentElement.scrollWidth <= innerWidth")
            await narrow.screenshot(tmp_path / "narrow.png")

    asyncio.run(act())


def test_whoever_asked_a_run_asks_it_again_on_its_page(chromium: str, tmp_path: Path) -> None:
    async def act() -> None:
        async with scene(chromium, tmp_path) as at:
            page = await at.tab("/about")
            body = {"model": MODEL, "messages": [{"role": "user", "content": "What do I play?"}], "memory": USER}
            asked_for = f"""fetch('/ask', {{method: 'POST', body: {json.dumps(json.dumps(body))}, headers: {{
                'content-type': 'application/json', 'x-holdfast-memory-key': '{USER_KEY}',
                'x-holdfast-token': document.querySelector('meta[name=holdfast-token]').content }} }})
                .then(async (answer) => {{ await answer.text(); return answer.headers.get('x-holdfast-run'); }})"""
            run = await page.run(asked_for)
            await page.go(f"{at.url}/runs/{run}")
            await page.wait(f"{ROWS} === 2")
            await page.click(f"[data-row={LISBON}] [data-influence] button")
            await page.wait(f"{ANSWERED} === 1")
            assert await page.run("document.querySelector('#influences .influence-text del') !== null")
            assert await axe.violations(page) == []
            # A key in this tab opens no history of a row that is not its own, and the page says so.
            user = await at.memory.user()
            kept = json.dumps(json.dumps({"owner": "rea", "key": user.key}))
            await page.run(f"sessionStorage.setItem('holdfast-memory-key', {kept})")
            await page.go(f"{at.url}/runs/{run}")
            await page.click(f"[data-row={CELLO}] [data-history]")
            said = f"document.querySelector('[data-row={CELLO}] .memory-history li')?.textContent"
            await page.wait(f"{said} === 'No row of the key in this tab'")
            # Somewhere else the capability is not at hand: the rows are there, and no way to ask.
            await page.go(f"{at.url}/runs/{at.run}")
            await page.wait(f"{ROWS} === 2")
            assert not await page.run("document.querySelector('[data-influence]') !== null")

    asyncio.run(act())


def test_without_scripts_the_form_answers_with_a_page(chromium: str, tmp_path: Path) -> None:
    async def act() -> None:
        async with scene(chromium, tmp_path) as at:
            page = await at.tab(f"/cases/{at.case}", scripts=False)
            await page.click(".recalled-again button")
            await page.wait(
                "location.pathname.endsWith('/influence') && document.querySelectorAll('.tag').length === 2"
            )
            assert await page.run("document.querySelector('.crumb a').getAttribute('href')") == f"/cases/{at.case}"

    asyncio.run(act())
