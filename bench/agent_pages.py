"""An agent run of many steps, opened in the panel: what the server takes, and when a browser has painted it.

The panel asks a real gateway over loopback, whose settlement is made by hand: every child is in a final round. *Cold*
is the first look at a gateway that keeps nothing in memory of any run, as when its process began, through a panel that
has compiled its templates, as it does when it starts: children that were not looked at in time come without lanes, and
the page says so; *whole* is when the last of them has its lanes. *Warm* is every look after that. Browser, panel and
gateway share the machine, and panel and gateway a process, so each page is also told by the processor time of that
process, which does not depend on what else the machine does.

Figure wanted: a 200-step agent opens in < 300 ms, from the navigation to the first rows of its tree on the screen. No
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from figures import at_most, figure  # beside this file

from holdfast.adapters.clock_system import SystemClock
from holdfast.web.app import _load
from tests.helpers import asgi
from tests.helpers.agent_pages import AgentPages, agent_pages, ask, call, open_agent, step
from tests.helpers.browser import Browser, Page, find_chromium, open_browser

TIMES = 15
HTML = [("host", "127.0.0.1"), ("accept", "text/html")]
LOOKS = 8
ROWS = """const look = () => {
  if (!document.querySelector(".tree-row")) return requestAnimationFrame(look);
  const channel = new MessageChannel(); // its message comes once the frame that begins now is painted
  channel.port1.onmessage = () => { globalThis.rowsAt = performance.now(); };
  requestAnimationFrame(() => channel.port2.postMessage(0));
};
requestAnimationFrame(look);"""
"""Tells when the first rows were painted."""
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


@dataclass(frozen=True, slots=True)
class Opened:
    """One whole page without a socket between browser and panel."""

    wall_ms: float
    busy_ms: float
    """Processor time of panel and gateway."""
    text: str

    @property
    def unseen(self) -> int:
        """Runs without lanes yet."""
        return self.text.count("tree-unseen")


async def opened(pages: AgentPages, run: str) -> Opened:
    """Ask for the page once."""
    began, busy = time.perf_counter(), time.process_time()
    reply = await asgi.request(pages.cases.app, "GET", f"/agents/{run}", headers=HTML)
    if reply.status != 200:
        raise SystemExit(f"{reply.status} {reply.body[:300]!r}")
    took = time.perf_counter() - began
    return Opened(1000 * took, 1000 * (time.process_time() - busy), reply.body.decode())


def forget(pages: AgentPages) -> None:
    """The gateway keeps nothing in memory of any run."""
    trees, evidence = pages.world.desk.trees, pages.world.evidence
    kept = (trees._openings, trees._looked, evidence._settled, evidence._proofs, evidence._blobs)  # noqa: SLF001
    for each in kept:
        each.clear()


async def server(pages: AgentPages, run: str, steps: int) -> None:
    """Cold, whole and warm."""
    await asyncio.to_thread(_load()[1].compile)
    forget(pages)
    began = time.perf_counter()
    cold = await opened(pages, run)
    while (await opened(pages, run)).unseen:
        pass
    whole = (time.perf_counter() - began) * 1000
    warm = [await opened(pages, run) for _ in range(TIMES)]
    note = f"({cold.unseen} of {steps} children without lanes yet)"
    figure("cold: the page is answered", cold.wall_ms, "ms", at_most(300), note)
    figure("cold: processor time of panel and gateway", cold.busy_ms, "ms")
    figure("cold: every child has its lanes", whole, "ms", note="(asked again and again)")
    walls = [each.wall_ms for each in warm]
    note = f"(median of {TIMES}; slowest {max(walls):.0f} ms; {len(warm[0].text) // 1024} KiB)"
    figure("warm: the page is answered", statistics.median(walls), "ms", at_most(300), note)
    figure("warm: processor time of panel and gateway", statistics.median(each.busy_ms for each in warm), "ms")


async def browser(pages: AgentPages, run: str, chromium: Browser) -> None:
    """First paint, first rows, and when the tree can be moved over, from the navigation's begin."""
    painted, rows, ready, busy = [], [], [], []
    page = await chromium.page()
    await page.call("Page.addScriptToEvaluateOnNewDocument", source=ROWS)
    await page.call("Performance.enable", timeDomain="threadTicks")
    for _ in range(LOOKS + 1):
        await page.go(f"{pages.url}/agents/{run}")
        await page.wait("document.querySelector('[role=treeitem][tabindex=\"0\"]') && globalThis.rowsAt")
        busy.append(await _thread_ms(page))
        painted.append(float(await page.run(PAINTED)))
        rows.append(float(await page.run("rowsAt")))
        ready.append(float(await page.run("performance.getEntriesByType('navigation')[0].domComplete")))
        await asyncio.sleep(1)  # the page has asked for what moved
    note = f"(slowest {max(painted[1:]):.0f} ms; the first of all {painted[0]:.0f} ms)"  # that one loads what stays
    figure("browser: first paint", statistics.median(painted[1:]), "ms", at_most(300), note)
    note = f"(slowest {max(rows[1:]):.0f} ms; the first of all {rows[0]:.0f} ms)"
    figure("browser: first rows of the tree", statistics.median(rows[1:]), "ms", at_most(300), note)
    figure(
        "browser: loaded with its scripts", statistics.median(ready[1:]), "ms", note=f"(slowest {max(ready):.0f} ms)"
    )
    figure("browser: processor time of the page's thread", statistics.median(busy[1:]), "ms")


async def _thread_ms(page: Page) -> float:
    """Since the navigation."""
    told = (await page.call("Performance.getMetrics"))["metrics"]
    return next(1000 * float(item["value"]) for item in told if item["name"] == "TaskDuration")


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
