"""What is tried against a memory node, and how often it did harm: ten suites, each made from a seed.

The same suites are tests (``tests/simulation/test_memory_suites.py``); here they try more and print counts, once for
the seed that they were written with and once for one that nothing was fitted to. Wanted is no harm at all. *Worked* is
what has to go on working beside it: a node that answers nothing would come to no harm either.

What they do not try: a client with its owner's own key that calls a page its owner's words, or a reader of the
process while rows are open; ``docs/spec-gaps.md`` has both.

``python bench/memory_suites.py [SUITE …] [--count 200] [--users 1000] [--seeds 1 2]``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import figures

from tests.helpers.memory_suites import SUITES
from tests.helpers.memory_suites.tally import Tally


def tell(name: str, told: Tally, seconds: float) -> bool:
    """Print one suite; whether it came to no harm and everything else worked."""
    tried, worked = sum(told.attempts.values()), sum(told.controls.values())
    note = f"of {tried:,} attempts in {len(told.attempts)} variants; harm is: {told.harm}"
    clean = figures.figure(f"{name}: harm done", len(told.harmed), "", figures.at_most(0), note)
    share = (worked - len(told.missed)) / worked
    whole = figures.figure(f"{name}: worked", share, "", figures.at_least(1), f"of {worked:,}; {seconds:.0f} s")
    for variant, times in sorted(told.attempts.items()):
        harmed = sum(text.startswith(f"{variant}: ") for text in told.harmed)
        print(f"    {variant:40} {harmed:6,} of {times:,}")
    for text in [*told.harmed[:3], *told.missed[:3]]:
        print(f"    ! {text}")
    return clean and whole


def main() -> None:
    """The suites that are named, or all."""
    parser = argparse.ArgumentParser(description="what is tried against a memory node")
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    chosen = parser.parse_args()
    clean = True
    for seed in chosen.seeds:
        print(f"\nseed {seed}{' (held out: nothing was fitted to it)' if seed > 1 else ''}", flush=True)
        for name in chosen.suites or SUITES:
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                count = chosen.users if name == "isolation" else chosen.count
                told = asyncio.run(SUITES[name](Path(folder), seed, count))
            clean = tell(name, told, time.monotonic() - began) and clean
    if not clean:
        sys.exit("harm was done")


if __name__ == "__main__":
    main()
