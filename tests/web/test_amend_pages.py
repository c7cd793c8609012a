"""The form for other arguments in an act's place: offered for acts alone, and what it leads to."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.helpers import asgi
from tests.helpers.agent_pages import AgentPages, agent_pages, call, open_agent, step
from tests.helpers.case_world import HOST
from tests.unit.nodes.gateway.test_agents import lead

pytestmark = pytest.mark.enable_socket


def play(story: Callable[[AgentPages], Awaitable[None]], folder: Path) -> None:
    async def main() -> None:
        async with agent_pages(folder) as pages:
            await story(pages)

    asyncio.run(main())


async def act_of(pages: AgentPages) -> tuple[Any, str]:
    """An agent run, and the case of its act."""
    agent = await open_agent(pages.world)
    act = await step(pages.world, agent, call("wire", {"to": "0xabc", "amount": "5"}))
    await pages.look()
    return agent, (await pages.cases.case(act["run"]))["id"]


async def page_of(pages: AgentPages, case: str, who: Any) -> str:
    reply = await asgi.request(pages.cases.app, "GET", f"/cases/{case}", headers=[HOST, ("accept", "text/html"), *who])
    assert reply.status == 200
    return reply.body.decode()


async def send(pages: AgentPages, case: str, who: Any, text: str, **changes: str) -> asgi.Reply:
    fields = {name: re.search(rf'name="{name}" value="([^"]*)"', text)[1] for name in ("token", "lanes")}  # type: ignore[index]
    fields |= {"arguments": '{"to": "0xabc", "amount": "1"}', "reason": "too much at once", **changes}
    kind = ("content-type", "application/x-www-form-urlencoded")
    origin = ("origin", f"http://{HOST[1]}")
    return await asgi.request(
        pages.cases.app, "POST", f"/cases/{case}/amend", urlencode(fields).encode(), [HOST, kind, origin, *who]
    )


def test_other_arguments_are_proposed_from_the_page_and_the_page_of_the_other_act_is_shown(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        rita = await pages.cases.let_in("rita", "reviewer")
        chat = await pages.cases.ask()
        _, case = await act_of(pages)
        text = await page_of(pages, case, rita)
        assert "Propose other arguments" in text
        plain = (await pages.cases.case(chat))["id"]
        assert "Propose other arguments" not in await page_of(pages, plain, rita)
        reply = await send(pages, case, rita, text, arguments="[1]")
        assert reply.status == 400
        assert "JSON object" in html.unescape(reply.body.decode())
        reply = await send(pages, case, rita, text)
        assert reply.status == 303, reply.body
        other = (reply.header("location") or "").removeprefix("/cases/")
        assert "somebody else decides its case" in await page_of(pages, other, rita)
        assert "Propose other arguments" not in await page_of(pages, case, rita)

    play(story, tmp_path)


def test_of_a_closed_agent_run_the_page_says_what_to_do(tmp_path: Path) -> None:
    async def story(pages: AgentPages) -> None:
        rita = await pages.cases.let_in("rita", "reviewer")
        agent, case = await act_of(pages)
        text = await page_of(pages, case, rita)
        await lead(pages.world, agent, "close", {"result": 1})
        reply = await send(pages, case, rita, text)
        assert reply.status == 409
        assert "have it proposed anew" in html.unescape(reply.body.decode())

    play(story, tmp_path)
