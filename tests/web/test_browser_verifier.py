"""The verifier of the pages in a real browser, over the vectors: the same modules and commands as under Node.js.

A few cases of each suite by default; all that are covered where ``HOLDFAST_EXAMPLES`` is 100 or more. Skipped without
a Chromium.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.conformance.test_browser_verifier import VECTORS, complaint, is_covered, load_cases, not_covered, some_of
from tests.helpers.browser import IN_A_BROWSER, Page, open_browser

pytestmark = [*IN_A_BROWSER]

ROOT = VECTORS.parent
SERVED = ("src/holdfast/web/static/verify", "src/holdfast/web/static/seal", "tests/conformance/browser")
ALL = int(os.environ.get("HOLDFAST_EXAMPLES", "30")) >= 100
RUN = """(async () => {
  const { run } = await import("/tests/conformance/browser/commands.mjs");
  const { run: words, files } = %s;
  const read = (name) => Uint8Array.from(atob(files[name]), (character) => character.charCodeAt(0));
  return run(words, read);
})()"""


async def blank(_request: web.Request) -> web.Response:
    """A page with nothing in it, for modules to be loaded into."""
    return web.Response(text='<!doctype html><link rel="icon" href="data:,">', content_type="text/html")


async def serve() -> tuple[web.AppRunner, str]:
    """The modules as they lie in the repository, behind a server on loopback."""
    app = web.Application()
    for folder in SERVED:
        app.router.add_static(f"/{folder}", ROOT / folder)
    app.router.add_get("/", blank)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def answer(page: Page, folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    """What the modules in the page say to one command line; files go along with it."""
    named = {word: folder / word for word in case["run"] if (folder / word).is_file()}
    files = {word: base64.b64encode(path.read_bytes()).decode() for word, path in named.items()}
    found: dict[str, Any] = await page.run(RUN % json.dumps({"run": case["run"], "files": files}))
    return found


def test_every_covered_vector_comes_out_the_same_in_a_browser() -> None:
    cases = [case for case in load_cases() if is_covered(case[0], not_covered())]
    cases = cases if ALL else list(some_of(cases))

    async def act() -> dict[str, str]:
        runner, url = await serve()
        try:
            async with open_browser() as browser:
                page = await browser.page()
                await page.go(url)
                found = {name: complaint(case, await answer(page, folder, case)) for name, folder, case in cases}
                assert page.complaints == []
                return {name: why for name, why in found.items() if why is not None}
        finally:
            await runner.cleanup()

    assert asyncio.run(act()) == {}
