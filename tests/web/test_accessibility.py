"""axe-core finds nothing serious on any page, in light and in dark, signed in and not, wide and narrow.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.helpers import axe
from tests.helpers.browser import IN_A_BROWSER, Page, connect
from tests.helpers.fake_gateway import FakeGateway, four_nodes
from tests.helpers.live_pages import LivePages, live_pages
from tests.helpers.panel import open_panel

pytestmark = [*IN_A_BROWSER]
ROLES = ("admin", "approver", "reviewer", "auditor", "policy_owner")
OPEN_ALL = "document.querySelectorAll('main details').forEach((node) => { node.open = true })"
THEMES = pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 1280), (True, 360)], ids=str)


async def look(page: Page, base: str, paths: list[str]) -> dict[str, list[str]]:
    """What axe-core finds on these pages, with everything folded and then with everything open."""
    found: dict[str, list[str]] = {}
    for path in paths:
        await page.go(base + path)
        lines = await axe.violations(page)
        await page.run(OPEN_ALL)
        lines += await axe.violations(page)
        if lines:
            found[path] = lines
    return found


@THEMES
def test_pages_of_runs_and_rounds_break_no_grave_rule(chromium: str, dark: bool, width: int) -> None:
    async def act() -> None:
        gateway = FakeGateway()
        async with open_panel(gateway, four_nodes()) as panel, connect(chromium) as browser:
            run = gateway.add_run()
            await gateway.advance(run)
            page = await browser.page(dark=dark, width=width)
            await axe.prepare(page)
            paths = [
                "/",
                "/chat",
                f"/runs/{run.run}",
                "/runs/01900000-0000-7000-8000-000000000009",
                "/rounds",
                "/rounds/1",
            ]
            assert await look(page, panel.url, [*paths, "/rounds/99", "/about"]) == {}

    asyncio.run(act())


async def everything(pages: LivePages) -> list[str]:
    """The paths of a panel in use: a clear case, a held one that is somebody's, a dead letter."""
    clear = await pages.held()
    await pages.settle()
    await pages.told.give_up()
    held = await pages.held()
    first, second = [await pages.world.get(f"/v1/cases/{case}") for case in (clear, held)]
    lane = first.json()["lanes"]["settlement"]["evidence"][0]
    seq = second.json()["events"][-1]["seq"]
    return [
        "/queues",
        "/queues/default",
        "/queues/default?state=RECALLED",
        f"/cases/{clear}",
        f"/cases/{held}",
        f"/cases/{held}/at/{seq}",
        f"/cases/{held}/report",
        f"/cases/{clear}/evidence/{lane}",
        "/queues/default?lane=settlement&is=pending",
        "/statistics",
        f"/recall?evidence={lane}",
        "/recall",
        "/webhooks",
        "/people",
        "/account",
        "/audit",
        "/queues/none",
    ]


@THEMES
def test_pages_of_cases_and_people_break_no_grave_rule(chromium: str, tmp_path: Path, dark: bool, width: int) -> None:
    async def act() -> None:
        async with live_pages(tmp_path) as pages, connect(chromium) as browser:
            paths = await everything(pages)
            stranger = await pages.tab(browser, "", dark=dark, width=width)
            page = await pages.tab(browser, "ada", *ROLES, dark=dark, width=width)
            await axe.prepare(page)
            await axe.prepare(stranger)
            assert await look(page, pages.url, paths) == {}
            strange = ["/sign-in", "/sign-in/code", *(path for path in paths if path.startswith("/cases/"))]
            assert await look(stranger, pages.url, strange) == {}
            await page.go(pages.url + paths[4])
            await page.press("?", 191, "?")
            await page.wait("document.getElementById('keys').open")
            assert await axe.violations(page) == []

    asyncio.run(act())


def test_a_broken_page_is_found(chromium: str, tmp_path: Path) -> None:
    """The engine runs, and what is wrong is in its answer."""

    async def act() -> None:
        async with live_pages(tmp_path) as pages, connect(chromium) as browser:
            page = await pages.tab(browser, "")
            await axe.prepare(page)
            await page.go(f"{pages.url}/queues")
            assert await axe.rules_run(page) > 15
            assert await axe.violations(page) == []
            await page.run(
                "document.querySelector('main').append(Object.assign(document.createElement('input'), {id: 'bare'}))"
            )
            assert [line.split(":")[0] for line in await axe.violations(page)] == ["critical label"]

    asyncio.run(act())
