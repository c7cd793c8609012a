"""From a clean clone to the first settled and verified answer, as somebody does it who has just found the project.

Clones the repository as it is committed, lets ``dev.py`` install what it needs (not timed), then takes the time of the
rest, each step by the clone's own commands: ``up``, one question, its settlement proven, bundle and trust exported, and
``holdfast verify`` accepting them. Wanted: < 60 s. Uncommitted changes are not in a clone, and so not in the figure.

``python bench/first_answer.py``
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import at_most, figure  # beside this file
from network import Network, caller, running

ROOT = Path(__file__).resolve().parents[1]
INSTALL_S = 900
STEP_S = 60
REQUIRED = "settlement=proven:development"


def clean() -> dict[str, str]:
    """The environment without what would lead a clone to another environment than its own."""
    ours = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "HOLDFAST_KEY"}
    found = {name: value for name, value in os.environ.items() if name not in ours}
    own = str(Path(sys.prefix) / "bin")
    found["PATH"] = os.pathsep.join(item for item in found.get("PATH", "").split(os.pathsep) if item != own)
    return found


def step(clone: Path, *command: str, seconds: float = STEP_S) -> str:
    """One command in the clone; its standard output."""
    done = subprocess.run(command, cwd=clone, env=clean(), check=False, capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-600:]}")
    return done.stdout


async def ask(network: Network) -> str:
    """One question; returns its run once its settlement is proven."""
    async with caller(network) as asking:
        run: str = await asking.ask()
        view = await asking.settled(run, STEP_S)
        if view is None or view["lanes"]["settlement"]["state"] != "proven":
            raise SystemExit(f"run {run} was not settled within {STEP_S} s")
        return run


def verified(clone: Path, folder: Path, port: int) -> float:
    """Seconds from the start of ``up`` to an accepting ``verify``."""
    holdfast = [str(clone / ".venv" / "bin" / "holdfast")]
    up = [sys.executable, str(clone / "dev.py"), "up"]
    with running(up, folder, port, cwd=clone, env=clean()) as network:
        figure("ready", network.ready_s, "s", at_most(8))
        run = asyncio.run(ask(network))
        figure("settlement proven", time.monotonic() - network.started, "s")
        bundle, trust, state = (str(folder / name) for name in ("bundle.json", "trust.json", "state"))
        step(clone, *holdfast, "run", "export", run, "--state", state, "-o", bundle)
        step(clone, *holdfast, "trust", "export", "--state", state, "-o", trust)
        step(clone, *holdfast, "verify", bundle, "--trust", trust, "--require", REQUIRED)
        return time.monotonic() - network.started


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=19_600)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hf-first-") as name:
        folder, clone = Path(name), Path(name) / "holdfast"
        step(folder, "git", "clone", "-q", "--depth", "1", ROOT.as_uri(), str(clone))
        began = time.monotonic()
        step(clone, sys.executable, "dev.py", "holdfast", "--version", seconds=INSTALL_S)
        figure("cloned and installed (not counted)", time.monotonic() - began, "s")
        seconds = verified(clone, folder, options.port)
        figure("clean clone to first settled and verified answer, after the install", seconds, "s", at_most(60))


if __name__ == "__main__":
    main()
