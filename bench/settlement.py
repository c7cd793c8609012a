"""From acknowledged to final: how long, and at which rate it saturates. A whole development network on one machine.

Starts ``holdfast up`` on a fresh folder, measures start-up and memory, then open-loop rates of runs for some seconds
each; for a sample of runs the time from their closing statement to the final round is read from their chronology. Then
it looks for the rate at which the 95th percentile passes ten seconds: doubling, then halving the gap, within a budget.
Wanted: p95 <= 10 s at 50 runs/s on two cores, ready < 8 s, < 600 MB. No peer: nothing that pip installs settles.

``python bench/settlement.py [--seconds 12] [--budget 300]``
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import at_most, figure  # beside this file
from network import Caller, Network, caller, moment, running

SAMPLE = 120
"""Runs whose chronology is read after each rate."""
RATE = 50.0
"""Runs a second that should settle in time."""
BOUND_S = 10.0
"""The 95th percentile that should hold, seconds."""
STEPS = 3
"""How often the gap around the saturation is halved."""
PATIENCE_S = 60.0
"""A run that is not settled by then is late, whatever it becomes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One rate: asked and answered per second, and the times to final, seconds."""

    asked: float
    answered: float
    runs: int
    times: tuple[float, ...]

    def at(self, share: float) -> float:
        """A percentile of the times."""
        return self.times[min(len(self.times) - 1, int(len(self.times) * share))]

    def __str__(self) -> str:
        shown = f"{self.at(0.5):10.2f} {self.at(0.95):10.2f} {self.times[-1]:10.2f}"
        return f"{self.asked:9.0f} {self.answered:12.1f} {self.runs:8} {shown}"


async def at_rate(ask: Caller, per_second: float, seconds: float) -> Row:
    """Runs at a fixed rate, whatever the answers do; returns when the last of them is settled or given up."""
    tasks = []
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        tasks.append(asyncio.create_task(ask.ask()))
        await asyncio.sleep(max(0.0, len(tasks) / per_second - elapsed))
    runs = await asyncio.gather(*tasks)
    answered = len(runs) / (time.monotonic() - began)
    patience = 1.0 if await ask.settled(runs[-1], PATIENCE_S) is not None else 0.0
    times = []
    for run in random.Random(1).sample(runs, min(SAMPLE, len(runs))):
        view = await ask.settled(run, patience)
        late = view is None or not any(item["code"] == "final" for item in view["chronology"])
        times.append(PATIENCE_S if view is None or late else _seconds(view))
    return Row(per_second, answered, len(runs), tuple(sorted(times)))


def _seconds(view: dict[str, Any]) -> float:
    return (moment(view, "final") - moment(view, "answered")).total_seconds()


async def saturation(ask: Caller, first: Row, seconds: float, budget_s: float) -> tuple[float, float | None]:
    """The largest rate found whose p95 holds, and the smallest found whose does not (None: there was no time)."""
    until = time.monotonic() + budget_s
    holds, fails = (first.asked, None) if first.at(0.95) <= BOUND_S else (0.0, first.asked)
    steps = 0
    while time.monotonic() < until and steps < STEPS:
        rate = holds * 2 if fails is None else (holds + fails) / 2
        steps += fails is not None
        row = await at_rate(ask, rate, seconds)
        print(row, flush=True)
        if row.at(0.95) <= BOUND_S and row.answered > 0.9 * row.asked:
            holds = rate
        else:
            fails = rate
    return holds, fails


async def measure(network: Network, seconds: float, budget_s: float) -> None:
    """Everything that takes a running network."""
    async with caller(network) as ask:
        if await ask.settled(await ask.ask(), PATIENCE_S) is None:
            raise SystemExit(f"the first run did not settle in {PATIENCE_S:.0f} s")
        figure("first settled answer, from the start of `up`", time.monotonic() - network.started, "s")
        figure("memory of all processes, idle", network.memory_mb(), "MB", at_most(600))
        print("\n  asked/s   answered/s     runs      p50 s      p95 s      max s   (closing statement -> final)")
        row = await at_rate(ask, RATE, seconds)
        print(row, flush=True)
        holds, fails = await saturation(ask, row, seconds, budget_s)
        print()
        figure(f"acknowledged to final, p95 at {RATE:.0f} runs/s", row.at(0.95), "s", at_most(BOUND_S))
        cores = os.cpu_count()
        if fails is None:
            figure(f"p95 still holds on {cores} cores, shared with the load", holds, "runs/s", note="(budget spent)")
        else:
            note = f"(it holds at {holds:.0f}; {cores} cores, shared with the load)"
            figure(f"saturates: p95 passes {BOUND_S:.0f} s, or answers lag behind", fails, "runs/s", note=note)
        figure("memory of all processes, afterwards", network.memory_mb(), "MB")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--budget", type=float, default=300, help="seconds for the search (default 300)")
    parser.add_argument("--port", type=int, default=19_300)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running([sys.executable, "-m", "holdfast.cli", "up"], Path(folder), options.port) as network,
    ):
        figure("ready", network.ready_s, "s", at_most(8))
        asyncio.run(measure(network, options.seconds, options.budget))


if __name__ == "__main__":
    main()
