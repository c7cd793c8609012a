"""An agent run of many steps, opened in the panel: what the server takes, and when a browser has painted it.

The panel asks a real gateway over loopback, whose settlement is made by hand: every child is in a final round. *Cold*
is the first look after the gateway's process began: children that were not looked at in time come without lanes, and
the page says so; *whole* is when the last of them has its lanes. Figure wanted: a 200-step agent opens in < 300 ms. No
peer: nothing that pip installs shows such runs.

``python bench/agent_pages.py --steps N``.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from figures import at_most, figure  # beside this file

from holdfast.adapters.clock_system import SystemClock
from tests.helpers import asgi
from tests.helpers.agent_pages import AgentPages, agent_pages, ask, call, open_agent, step
from tests.helpers.browser import Browser, find_chromium, open_browser

TIMES = 15
HTML = [("host", "127.0.0.1"), ("accept", "text/html")]
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"


async def agent_of(pages: AgentPages, steps: int) -> str:
    """An agent run with so many children: turns, calls, acts, in a final round."""
    agent = await open_agent(pages.world)
    for number in range(steps):
        kind = number % 10
        if kind == 0:
            await ask(pages.world, agent["run"])
        elif kind == 1:
            await step(pages.world, agent, call("wire", {"to": "0xabc", "amount": str(number)}))
        else:
            await step(pages.world, agent, call("rates", {"n": str(number)}, result=number))
    await pages.settle()
    return str(agent["run"])


async def opened(pages: AgentPages, run: str) -> tuple[float, str]:
    """One whole page without a socket between browser and panel: milliseconds, and its text."""
    began = time.perf_counter()
    reply = await asgi.request(pages.cases.app, "GET", f"/agents/{run}", headers=HTML)
    if reply.status != 200:
        raise SystemExit(f"{reply.status} {reply.body[:300]!r}")
    return (time.perf_counter() - began) * 1000, reply.body.decode()


async def server(pages: AgentPages, run: str, steps: int) -> None:
    """Cold, whole and warm."""
    began = time.perf_counter()
    cold, text = await opened(pages, run)
    unseen = text.count("tree-unseen")
    while "tree-unseen" in (await opened(pages, run))[1]:
        pass
    whole = (time.perf_counter() - began) * 1000
    warm = [(await opened(pages, run))[0] for _ in range(TIMES)]
    note = f"({unseen} of {steps} children without lanes yet)"
    figure("cold: the page is answered", cold, "ms", at_most(300), note)
    figure("cold: every child has its lanes", whole, "ms", note="(asked again and again)")
    note = f"(median of {TIMES}; slowest {max(warm):.0f} ms; {len(text) // 1024} KiB)"
    figure("warm: the page is answered", statistics.median(warm), "ms", at_most(300), note)


async def browser(pages: AgentPages, run: str, chromium: Browser) -> None:
    """First paint, and when the tree can be moved over, from the navigation's begin."""
    painted, ready = [], []
    page = await chromium.page()
    for _ in range(6):
        await page.go(f"{pages.url}/agents/{run}")
        await page.wait("document.querySelector('[role=treeitem][tabindex=\"0\"]')")
        painted.append(float(await page.run(PAINTED)))
        ready.append(float(await page.run("performance.getEntriesByType('navigation')[0].domComplete")))
    painted, ready = painted[1:], ready[1:]  # the first loads styles and scripts that stay
    figure("browser: first paint", statistics.median(painted), "ms", at_most(300), f"(slowest {max(painted):.0f} ms)")
    figure("browser: loaded with its scripts", statistics.median(ready), "ms", note=f"(slowest {max(ready):.0f} ms)")


async def measure(steps: int) -> None:
    """All of it, in one process."""
    with tempfile.TemporaryDirectory() as folder:
        async with agent_pages(Path(folder)) as pages:
            run = await agent_of(pages, steps)
            pages.world.desk.trees._clock = SystemClock()  # noqa: SLF001 (the world's clock stands still)
            await server(pages, run, steps)
            if find_chromium() is not None:
                async with open_browser() as chromium:
                    await browser(pages, run, chromium)


def main(arguments: Any = None) -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--steps", type=int, default=200)
    asyncio.run(measure(parser.parse_args(arguments).steps))


if __name__ == "__main__":
    main()
