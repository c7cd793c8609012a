"""Upstream clients side by side: ours and aiohttp behind the same adapter, against the stub in a process of its own.

Run: ``python bench/upstream_client.py [--seconds S]``. Prints requests and events a second of this process's CPU time
and their ratios, because cores are shared: wall-clock rates move with the neighbours, CPU per request much less.
Wanted: 20,000 streamed events a second of CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import uvloop
from figures import at_least, figure, ratio  # beside this file

from holdfast.adapters.upstream_openai import OpenAIUpstream, OpenAIUpstreamConfig

Client = Literal["direct", "aiohttp"]
CLIENTS: tuple[Client, ...] = ("direct", "aiohttp")
STUB = Path(__file__).parent / "stub_upstream.py"
BODY = b'{"model":"stub","messages":[{"role":"user","content":"What is a round?"}]}'
STREAM = b'{"model":"stub","stream":true,"messages":[{"role":"user","content":"What is a round?"}]}'
EVENTS_FLOOR = 20_000
CASES = (("whole, 1 at once", 1, False), ("whole, 64 at once", 64, False), ("streams, 16 at once", 16, True))


async def measure(client: Client, url: str, at_once: int, *, stream: bool, seconds: float) -> tuple[float, float]:
    """(units a second of CPU, units a second of wall time); a unit is a request, or an event of a stream."""
    upstream = OpenAIUpstream(OpenAIUpstreamConfig(client, url, http_client=client))
    units = 0
    deadline = 0.0

    async def work() -> None:
        nonlocal units
        while time.perf_counter() < deadline:
            if stream:
                async for _ in upstream.stream("/chat/completions", STREAM, timeout_s=30, idle_timeout_s=30):
                    units += 1
            else:
                await upstream.complete("/chat/completions", BODY, timeout_s=30)
                units += 1

    deadline = time.perf_counter() + seconds / 4
    await asyncio.gather(*(work() for _ in range(at_once)))
    units = 0
    started, used = time.perf_counter(), time.process_time()
    deadline = started + seconds
    await asyncio.gather(*(work() for _ in range(at_once)))
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    await upstream.close()
    return units / cpu, units / wall


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each case and client (default 2)")
    seconds = parser.parse_args().seconds
    ok = True
    with subprocess.Popen([sys.executable, str(STUB)], stdout=subprocess.PIPE) as stub:
        try:
            assert stub.stdout is not None
            url = json.loads(stub.stdout.readline())["url"]
            for name, at_once, stream in CASES:
                rates = {
                    client: uvloop.run(measure(client, url, at_once, stream=stream, seconds=seconds))
                    for client in CLIENTS
                }
                unit = "events" if stream else "requests"
                for client, (cpu, wall) in rates.items():
                    print(f"{name:20} {client:8} {cpu:10,.0f} {unit}/s of CPU {wall:10,.0f}/s")
                ok &= figure(name, rates["direct"][0], f"{unit}/s", at_least(EVENTS_FLOOR) if stream else None)
                ratio(f"aiohttp: {name}", rates["direct"][0], rates["aiohttp"][0])
        finally:
            stub.terminate()
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
