"""The panel's pages in front of a real gateway with an agent run: what a browser needs to look at one.

    async with agent_pages(folder) as pages:
        agent = await pages.agent()
        page = await pages.tab(browser, "ada", "reviewer")
        await page.go(f"{pages.url}/agents/{agent['run']}")

The clock stands still but for :meth:`FakeClock.advance`; the gateway's and the panel's steps are taken by hand.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.service import PanelService
from holdfast.ports.settings import Secret
from holdfast.web.app import create_app
from tests.helpers.browser import Browser, Page
from tests.helpers.case_world import CaseWorld
from tests.helpers.gateway_world import PANEL_KEY, World
from tests.helpers.panel import serving
from tests.helpers.upstreams import MODEL
from tests.unit.nodes.gateway.test_agents import AUTHORIZED, lead, post

TOOLS = (
    {"name": "rates", "effect": "read"},
    {"name": "search", "effect": "read"},
    {"name": "wire", "effect": "pay", "queue": "default"},
)
"""What the agents here declare unless a test says otherwise."""


async def open_agent(world: World, *, parent: str | None = None, queue: str | None = None, **agent: Any) -> Any:
    """An agent run; ``queue`` has it reviewed."""
    headers = [*AUTHORIZED]
    headers += [("x-holdfast-parent", parent)] if parent else []
    headers += [("x-holdfast-queue", queue)] if queue else []
    whole = {"name": "treasurer", "goal": "Keep the reserve above 100", "tools": list(TOOLS), **agent}
    reply = await post(world, "/v1/runs", {"agent": whole}, headers)
    assert reply.status == 200, reply.body
    return reply.json()


async def step(world: World, agent: Any, value: Any) -> Any:
    """A step of it."""
    reply = await lead(world, agent, "steps", value)
    assert reply.status == 200, reply.body
    return reply.json()


def call(tool: str, arguments: Any, **came: Any) -> dict[str, Any]:
    """A step of kind tool."""
    return {"kind": "tool", "tool": tool, "arguments": arguments, **came}


async def ask(world: World, parent: str, text: str = "hi", **more: Any) -> Any:
    """A turn under it; the whole answer."""
    value = {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}
    reply = await post(world, "/v1/chat/completions", value, [*AUTHORIZED, ("x-holdfast-parent", parent)])
    assert reply.status == 200, reply.body
    return reply.json()


@dataclass
class AgentPages:
    """A panel at ``url``."""

    cases: CaseWorld
    url: str
    service: PanelService

    @property
    def world(self) -> World:
        """The gateway's."""
        return self.cases.world

    async def tab(self, browser: Browser, name: str = "", *roles: str, **options: Any) -> Page:
        """A new tab of somebody with these roles, who is signed in; of nobody without a name."""
        page = await browser.page(**options)
        if name:
            (_, cookie), *_ = await self.cases.let_in(name, *roles)
            key, _, value = cookie.partition("=")
            await page.call("Network.setCookie", name=key, value=value, url=self.url)
        return page

    async def look(self) -> None:
        """The panel takes in what there is, and looks at it."""
        await self.cases.pull()
        await self.world.clock.advance(3)
        await self.cases.look_at_all()
        await self.cases.tick()

    async def settle(self, number: int = 1) -> None:
        """A round becomes final, and the panel hears of it."""
        await self.cases.settle(number)
        await self.look()

    async def agent(self, **more: Any) -> Any:
        """An agent run with a child of every kind, some of them in a final round."""
        world, advance = self.world, self.world.clock.advance
        agent = await open_agent(world, **more)
        await advance(0.2)
        await ask(world, agent["run"], "What is due?")
        await advance(1.4)
        await step(world, agent, call("rates", {"pair": "EUR/USD"}, result={"rate": "1.07"}))
        await advance(0.3)
        act = await step(world, agent, call("wire", {"to": "0xabc", "amount": "5"}))
        await step(world, agent, {"kind": "hint", "name": "plan", "attributes": {"gen_ai.system": "x"}})
        below = await open_agent(world, parent=agent["run"], name="researcher")
        await advance(0.8)
        await step(world, below, call("search", {"q": "fees"}, error="nothing was found"))
        await lead(world, below, "close", {"result": "no fees"})
        await self.settle()
        await step(world, agent, {"kind": "outcome", "of": act["run"], "result": {"transaction": "0x1"}})
        await advance(0.5)
        second = await step(world, agent, call("wire", {"to": "0xdef", "amount": "70000"}))
        await self.look()
        return {**agent, "act": act["run"], "second": second["run"], "below": below["run"]}


@contextlib.asynccontextmanager
async def agent_pages(folder: Path, **config: Any) -> AsyncIterator[AgentPages]:
    """A started world and its pages; everything is stopped at the end."""
    cases = await CaseWorld(folder).start()
    try:
        async with serving(cases.world.app(), lifespan="off") as gateway:
            settings = PanelConfig(gateway=gateway, workspace_key=Secret(PANEL_KEY, "test"), **config)
            service = PanelService(settings, cases.world.clock, cases.metrics, cases.review, cases.house)
            cases.service, cases.app = service, create_app(service)
            await service.start()
            try:
                async with serving(cases.app, lifespan="off") as url:
                    yield AgentPages(cases, url, service)
            finally:
                await service.close()
    finally:
        await cases.stop()
