"""Steps of an agent: what the runner and its gateway add to each call, above the model and the tool.

One gateway process with everything on and a log node behind it; the model and the tool are in this process and answer
at once, so what is left of a call is checking it, telling the gateway, two durable records under one wait, and going
on. Measured is from one result to the next of calls in one answer, and the same for proposed acts, each of which
is also synced into the record of the agent. The disk's own sync stands beside it, for most of a step is that.

Wanted: <= 5 ms at the median. No peer: frameworks that lead agents record nothing that is durable.

``python bench/agent_steps.py [--steps 400]``
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from figures import at_most, figure  # beside this file
from gateway import holdfast, stub, sync_ms  # beside this file

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.agents.record import Record
from holdfast.agents.runner import Happening, Runner, make_offer
from holdfast.agents.runs import AgentRuns
from holdfast.agents.tool import Act, Fate, Scope
from holdfast.core.agent_files import parse_agent_file

FILE = """
[agent]
name = "bench"
model = "none"
goal = "Call tools"
[limits]
turns = 1000
steps = 10000
[[tools]]
name = "look"
kind = "files"
effect = "read"
allow = { at = "any" }
[[tools]]
name = "wire"
kind = "evm_transaction"
effect = "pay"
queue = "default"
allow = { at = "any" }
"""
RESULT = {"rate": "1.0842", "as_of": "2026-01-01T00:00:00.000Z", "text": "x" * 500}
CALLS = 20
"""Calls in one answer."""


class Tool:
    """Reads and acts, at once."""

    name, description, effect = "tool", "A tool.", "pay"
    parameters: Mapping[str, Any] = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}


class Look(Tool):
    async def call(self, arguments: Mapping[str, Any], scope: Scope) -> Any:
        del arguments, scope
        return RESULT


class Wire(Tool):
    async def prepare(self, act: Act) -> bytes:
        raise NotImplementedError(act)

    async def carry_out(self, act: Act, prepared: bytes) -> Any:
        raise NotImplementedError(act, prepared)

    async def look(self, act: Act, prepared: bytes) -> Fate:
        raise NotImplementedError(act, prepared)


class Model:
    """Calls one tool many times, and then no more."""

    def __init__(self, tool: str, calls: int) -> None:
        self._tool, self._left = tool, calls

    async def ask(self, request: Mapping[str, Any], parent: str) -> tuple[str, Mapping[str, Any]]:
        del request
        count = min(CALLS, self._left)
        self._left -= count
        calls = [
            {"id": f"c{number}", "function": {"name": self._tool, "arguments": f'{{"at":"{number}"}}'}}
            for number in range(count)
        ]
        return parent, {"choices": [{"message": {"content": "done", "tool_calls": calls}}]}


async def lead(url: str, key: str, tool: str, calls: int, folder: Path) -> list[float]:
    """Milliseconds from each step to the next in one answer."""
    file, moments = parse_agent_file(FILE.encode()), list[tuple[str, float]]()
    tools: dict[str, Any] = {"look": Look(), "wire": Wire()}
    offers = {name: make_offer(item, tools[name], {}) for name, item in file.tools.items()}
    http = AiohttpHTTP()

    def note(told: Happening) -> None:
        moments.append((told.what, time.perf_counter()))

    try:
        runner = Runner(
            file,
            offers,
            AgentRuns(http, url, key),
            Model(tool, calls),
            SystemClock(),
            record=Record(folder / "r"),
            watch=note,
        )
        ended = await runner.run()
    finally:
        await http.close()
    if ended.error is not None:
        raise SystemExit(ended.error)
    pairs = itertools.pairwise(moments)
    return [(end - begin) * 1e3 for (_, begin), (what, end) in pairs if what in ("result", "proposed")]


def main() -> None:
    """Measure, and say what was found."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=400)
    steps = options.parse_args().steps
    with tempfile.TemporaryDirectory() as place, stub() as upstream:
        folder = Path(place)
        with holdfast(upstream, folder / "gateway", 21_400) as server:
            url = server.url.removesuffix("/v1/chat/completions")
            asyncio.run(lead(url, server.key, "look", CALLS, folder))  # warm
            looked = asyncio.run(lead(url, server.key, "look", steps, folder))
            proposed = asyncio.run(lead(url, server.key, "wire", steps, folder))
        disk = sync_ms(folder)
    figure("one sync of this disk, p50", disk, "ms")
    for name, found in (("a call that reads, p50", looked), ("an act that is proposed, p50", proposed)):
        figure(name, statistics.median(found), "ms", at_most(5))
        figure(name.replace("p50", "p99"), sorted(found)[int(len(found) * 0.99)], "ms")


if __name__ == "__main__":
    main()
