"""The panel's pages on a socket, over a case world with people and webhooks: what a browser needs to be somebody.

    async with live_pages(folder) as pages:
        case = await pages.held()
        page = await pages.tab(browser, "ada", "approver")
        await page.go(f"{pages.url}/cases/{case}")

The clock stands still but for :meth:`CaseWorld.world.clock.advance`; the gateway's steps are taken by hand.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.adapters.webhooks_sql import SQLWebhookStore
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.service import PanelService
from holdfast.nodes.panel.webhooks import Webhooks
from holdfast.ports.http import Answer
from holdfast.review.webhooks import Limits
from holdfast.web.app import create_app
from tests.helpers.browser import Browser, Page
from tests.helpers.case_world import URL, CaseWorld
from tests.helpers.panel import serving
from tests.helpers.webhooks import URL as HOOK_URL
from tests.helpers.webhooks import Receivers, hook


@dataclass
class Told:
    """Webhooks over a case world, and who receives them."""

    webhooks: Webhooks
    receivers: Receivers
    world: CaseWorld

    async def work(self) -> int:
        """Follow the journal and make every attempt that is due; returns how many those were."""
        while await self.webhooks.follow_once():
            pass
        attempts = 0
        for known in self.webhooks._hooks:
            outcomes = [await task for task in await self.webhooks.begin(known)]
            await self.webhooks.settle(known, outcomes)
            attempts += len(outcomes)
        return attempts

    async def give_up(self) -> None:
        """Let every delivery that waits fail until its time is over."""
        self.receivers.answers[HOOK_URL] = lambda: Answer(500, b"no database")
        await self.work()
        for _ in range(4):
            await self.world.world.clock.advance(20)
            await self.work()
        del self.receivers.answers[HOOK_URL]


async def add_webhooks(world: CaseWorld) -> Told:
    """Tell one endpoint of the default queue; deliveries are given up after a minute."""
    receivers = Receivers()
    limits = Limits(first_retry_s=15.0, longest_retry_s=15.0, give_up_s=50.0)
    webhooks = Webhooks(
        world.review,
        world.review.store,
        SQLWebhookStore(f"sqlite:///{world.folder / 'webhooks.sqlite'}"),
        (hook(),),
        receivers,
        world.world.clock,
        limits,
        lambda: 1.0,
    )
    await webhooks.start()
    return Told(webhooks, receivers, world)


@dataclass
class LivePages:
    """A panel at ``url``."""

    world: CaseWorld
    url: str
    service: PanelService
    told: Told

    async def tab(self, browser: Browser, name: str, *roles: str, **options: Any) -> Page:
        """A new tab of somebody with these roles, who is signed in; of nobody without a name."""
        page = await browser.page(**options)
        if name:
            (_, cookie), *_ = await self.world.let_in(name, *roles)
            key, _, value = cookie.partition("=")
            await page.call("Network.setCookie", name=key, value=value, url=self.url)
        return page

    async def held(self) -> str:
        """A case in HOLD; its id."""
        run = await self.world.ask()
        await self.world.pull()
        await self.look()
        return str((await self.world.case(run))["id"])

    async def look(self) -> None:
        """Fetch what is due for every case, some moments later."""
        await self.world.world.clock.advance(3)
        await self.world.look_at_all()
        await self.world.tick()
        self.world.review.notify()

    async def settle(self, number: int = 1, **more: Any) -> None:
        """A round becomes final, and the panel hears of it."""
        await self.world.settle(number, **more)
        await self.look()


@contextlib.asynccontextmanager
async def live_pages(folder: Path, **config: Any) -> AsyncIterator[LivePages]:
    """A started world and its pages; everything is stopped at the end."""
    world = await CaseWorld(folder).start()
    try:
        told = await add_webhooks(world)
        service = PanelService(
            PanelConfig(gateway=URL, **config),
            world.world.clock,
            world.metrics,
            world.review,
            world.house,
            told.webhooks,
        )
        async with serving(create_app(service), lifespan="off") as url:
            yield LivePages(world, url, service, told)
        await told.webhooks.close()
    finally:
        await world.stop()
