"""axe-core in a page of the browser that tests drive: the engine that says which accessibility rules a page breaks.

The engine comes with a package of the ``dev`` extra; ``HOLDFAST_AXE`` names a newer ``axe.min.js``. It is put into the
page over the DevTools protocol with the page's content security policy set aside for that tab alone, because a page of
ours lets no script in.
"""

from __future__ import annotations

import importlib.resources
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from tests.helpers.browser import Page

GRAVE = ("serious", "critical")
"""What no page may have."""


@cache
def engine() -> str:
    """The engine's source."""
    named = os.environ.get("HOLDFAST_AXE")
    if named:
        return Path(named).read_text("utf-8")
    return importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")


async def prepare(page: Page) -> None:
    """Let the engine into this tab; before the page is loaded."""
    await page.call("Page.setBypassCSP", enabled=True)


async def violations(page: Page, *grades: str) -> list[str]:
    """The rules that the page breaks, one line for each element; without ``grades``, those of :data:`GRAVE`."""
    await page.run(f"{engine()}; undefined")
    found: list[dict[str, Any]] = json.loads(
        await page.run("axe.run(document, { resultTypes: ['violations'] }).then((r) => JSON.stringify(r.violations))")
    )
    return [
        f"{item['impact']} {item['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for item in found
        if item["impact"] in (grades or GRAVE)
        for node in item["nodes"]
    ]


async def rules_run(page: Page) -> int:
    """How many rules the engine looked at on this page that apply to it; a page that none applies to was not looked
    at."""
    await page.run(f"{engine()}; undefined")
    return int(await page.run("axe.run(document).then((r) => r.passes.length + r.violations.length)"))
