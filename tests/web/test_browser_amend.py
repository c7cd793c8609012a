"""Other arguments in an act's place, proposed in a real browser: what was typed stays, and the other act is shown next.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import axe
from tests.helpers.agent_pages import AgentPages, agent_pages, call, open_agent, step
from tests.helpers.browser import IN_A_BROWSER, Browser, Page, connect

pytestmark = [*IN_A_BROWSER]
FORM = "details[data-keep=amend]"
FITS = "document.documentElement.scrollWidth <= innerWidth"
TYPED = "document.getElementById('arguments').value"


def enact(chromium: str, folder: Path, story: Callable[[AgentPages, Browser], Awaitable[None]]) -> None:
    async def main() -> None:
        async with agent_pages(folder) as pages, connect(chromium) as browser:
            await story(pages, browser)

    asyncio.run(main())


async def act_of(pages: AgentPages) -> tuple[str, str]:
    """An act that waits: its run and its case."""
    agent = await open_agent(pages.world)
    act = await step(pages.world, agent, call("wire", {"to": "0xabc", "amount": "70000"}))
    await pages.look()
    return act["run"], str((await pages.cases.case(act["run"]))["id"])


async def fill(page: Page, arguments: str, reason: str) -> None:
    """Open the form where it is closed, put other arguments into it, say why."""
    if not await page.run(f"document.querySelector('{FORM}').open"):
        await page.click(f"{FORM} summary")
    for field, text in (("arguments", arguments), ("reason-amend", reason)):
        await page.run(f"document.getElementById('{field}').focus(), document.getElementById('{field}').select()")
        await page.type(text)


async def events(pages: AgentPages, case: str) -> list[dict[str, Any]]:
    told = await pages.cases.get(f"/v1/cases/{case}", *pages.cases.reader())
    found: list[dict[str, Any]] = told.json()["events"]
    return found


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 390)], ids=str)
def test_somebody_denies_an_act_and_proposes_another_and_somebody_else_decides_that(
    chromium: str, tmp_path: Path, dark: bool, width: int
) -> None:
    async def story(pages: AgentPages, browser: Browser) -> None:
        run, case = await act_of(pages)
        page = await pages.tab(browser, "rita", "reviewer", "approver", dark=dark, width=width)
        await axe.prepare(page)
        await page.go(f"{pages.url}/cases/{case}")
        await page.click(f"{FORM} summary")
        assert json.loads(await page.run(TYPED)) == {"to": "0xabc", "amount": "70000"}  # the act's own, to begin with
        assert "somebody else decides it" in await page.run(f"document.querySelector('{FORM}').innerText")
        await pages.cases.post(
            f"/v1/cases/{case}/comment", b'{"text": "who asked?"}', *await pages.cases.let_in("ben", "reviewer")
        )
        await page.wait("document.querySelector('.happening[data-event=commented]')")
        assert json.loads(await page.run(TYPED)) == {"to": "0xabc", "amount": "70000"}  # after it refreshed itself, too
        assert await page.run(f"document.querySelector('{FORM}').open")
        assert await axe.violations(page) == []
        assert await page.run(FITS)

        await fill(page, '{"to": "0xabc", "amount": 1', "too much at once")
        await page.click(f"{FORM} .button")
        await page.wait("document.querySelector('.trouble')")
        assert await page.run(TYPED) == '{"to": "0xabc", "amount": 1'  # nothing that was typed is lost
        assert await page.run("document.getElementById('reason-amend').value") == "too much at once"
        assert await page.run(f"document.querySelector('{FORM}').open")
        assert [item["kind"] for item in await events(pages, case) if item["kind"] == "decided"] == []
        assert await page.run(FITS)

        await fill(page, '{"to": "0xabc", "amount": "1.50"}', "too much at once")
        await page.click(f"{FORM} .button")
        await page.wait(f"location.pathname.startsWith('/cases/') && !location.pathname.includes('{case}')")
        other = (await page.run("location.pathname")).removeprefix("/cases/")
        await page.wait("document.querySelector('.case-word')")
        await pages.look()  # the panel takes in what it is
        await page.go(f"{pages.url}/cases/{other}")
        text = await page.run("document.body.innerText")
        assert "1.50" in text
        assert "somebody else decides its case" in text
        for act in ("approve", "reject", "amend"):
            assert await page.run(f"document.querySelector('details[data-keep={act}]')") is None
        assert await axe.violations(page) == []
        assert await page.run(FITS)
        said = {item["kind"]: item["body"] for item in await events(pages, case)}
        assert said["decided"]["act"] == "reject"
        assert said["amended"]["run"] != run
        [opened] = [item for item in await events(pages, other) if item["kind"] == "opened"]
        assert (opened["body"]["run"], opened["body"]["requester"]) == (said["amended"]["run"], "rita")

        await page.go(f"{pages.url}/cases/{case}")
        await page.click(f"a[href='/cases/{other}']")  # the denied one leads to what stands in its place
        await page.wait(f"location.pathname === '/cases/{other}'")
        await page.run(f"document.querySelector(`a[href='/cases/{case}']`).click()")  # and back
        await page.wait(f"location.pathname === '/cases/{case}'")
        assert not await page.run(f"document.querySelector('{FORM}')")

        await pages.look()
        sam = await pages.tab(browser, "sam", "reviewer", "approver", dark=dark, width=width)
        await sam.go(f"{pages.url}/cases/{other}")
        await sam.click("details[data-keep=approve] summary")
        await sam.run("document.getElementById('reason-approve').focus()")
        await sam.type("that much is fine")
        await sam.click("details[data-keep=approve] .button-main")
        await sam.wait("document.querySelector('.happening[data-event=decided]')")
        assert sam.complaints == []
        assert [text for text in page.complaints if "400" not in text] == []  # the refused form is told to the console

    enact(chromium, tmp_path, story)
