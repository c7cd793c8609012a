"""From acknowledged to final: how long, and at which rate it saturates. A whole development network on one machine.

Starts ``holdfast up`` on a fresh folder, measures start-up and memory, the first question's way to a settled and
verified answer, then open-loop rates of runs for some seconds each; for a sample of runs the time from their closing
statement to the final round is read from their chronology. Wanted: p95 <= 10 s at 50 runs/s, ready < 8 s, < 600 MB.

``python bench/settlement.py [--rates 50 100 200] [--seconds 15]``
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

SAMPLE = 120
"""Runs whose chronology is read after each rate."""
QUESTION = {"model": "holdfast-builtin", "messages": [{"role": "user", "content": "What is a lane?"}]}


def memory_mb(pid: int) -> float:
    """Resident memory of a process and its children."""
    total = 0.0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(folder.name) == pid or int(fields[1]) == pid:
                status = (folder / "status").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
        except (OSError, IndexError, ValueError):
            continue
    return total


class Caller:
    """Asks one gateway."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def ask(self) -> str:
        """One run; returns its id when it is acknowledged."""
        async with self._session.post(f"{self._url}/v1/chat/completions", json=QUESTION) as answer:
            value = await answer.json()
            return str(value["holdfast"]["run"])

    async def view(self, run: str) -> dict[str, Any]:
        async with self._session.get(f"{self._url}/v1/runs/{run}") as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def until_settled(self, run: str, seconds: float) -> dict[str, Any]:
        """The run once its settlement is not pending."""
        deadline = time.monotonic() + seconds
        while True:
            view = await self.view(run)
            if view["lanes"]["settlement"]["state"] != "pending":
                return view
            if time.monotonic() > deadline:
                raise SystemExit(f"run {run} did not settle in {seconds:.0f} s: {view['lanes']['settlement']['says']}")
            await asyncio.sleep(0.2)


def moment(view: dict[str, Any], code: str) -> dt.datetime:
    """When something of this code happened first."""
    found = next(item for item in view["chronology"] if item["code"] == code)
    return dt.datetime.fromisoformat(found["at"])


async def rate(caller: Caller, per_second: float, seconds: float, wait: float) -> str:
    """Runs at a fixed rate; returns a line of the table."""
    tasks = []
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        tasks.append(asyncio.create_task(caller.ask()))
        await asyncio.sleep(max(0.0, len(tasks) / per_second - elapsed))
    runs = await asyncio.gather(*tasks)
    answered = len(runs) / (time.monotonic() - began)
    await caller.until_settled(runs[-1], wait)
    times = []
    for run in random.Random(1).sample(runs, min(SAMPLE, len(runs))):
        view = await caller.until_settled(run, wait)
        times.append((moment(view, "final") - moment(view, "answered")).total_seconds())
    times.sort()
    p50, p95 = times[len(times) // 2], times[min(len(times) - 1, len(times) * 95 // 100)]
    return f"{per_second:8.0f} {answered:12.1f} {len(runs):8} {p50:10.2f} {p95:10.2f} {times[-1]:10.2f}"


async def measure(ready: dict[str, Any], rates: list[float], seconds: float, pid: int, started: float) -> None:
    headers = {"authorization": f"Bearer {ready['key']}"}
    connector = aiohttp.TCPConnector(limit=512)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        caller = Caller(session, ready["gateway"])
        run = await caller.ask()
        await caller.until_settled(run, 60)
        print(f"first settled answer after                {time.monotonic() - started:6.1f} s   from the start of `up`")
        print(f"memory of all processes, idle             {memory_mb(pid):6.0f} MB  wanted < 600")
        print("\n  asked/s   answered/s     runs      p50 s      p95 s      max s   (closing statement -> final)")
        for per_second in rates:
            print(await rate(caller, per_second, seconds, 180), flush=True)
        print(f"\nmemory of all processes, afterwards       {memory_mb(pid):6.0f} MB")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[50, 100, 200])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--port", type=int, default=19_300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "own.toml"
        own.write_text("[gateway]\ndiscover = false\nbuiltin_tokens_per_second = 0\n")
        state = ["--state", str(Path(folder) / "state"), "--config", str(own), "--port", str(options.port)]
        started = time.monotonic()
        command = [sys.executable, "-m", "holdfast.cli", "up", "--json", *state]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            ready: dict[str, Any] = {}
            while not ready.get("ready"):
                ready = json.loads(process.stdout.readline())
            print(f"ready after                               {time.monotonic() - started:6.1f} s   wanted < 8")
            asyncio.run(measure(ready, options.rates, options.seconds, process.pid, started))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


if __name__ == "__main__":
    main()
