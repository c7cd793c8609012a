"""Peers that pip gives, each in a virtual environment of its own below ``.bench/``, at the version in ``peers.txt``.

Installing is done once, bounded in time, and never counted. ``HOLDFAST_BENCH_PEERS=off`` leaves every peer out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PINS = HERE / "peers.txt"
_INSTALL_S = 900
_RUN_S = 180
_VERSION = r"(?:\[[A-Za-z0-9,._-]+\])?==[A-Za-z0-9.+!_-]+"
_PIN = re.compile(rf"([A-Za-z0-9._-]+){_VERSION}(?: +[A-Za-z0-9._-]+{_VERSION})*\Z")


class MissingError(Exception):
    """A peer that cannot be measured here; says why."""


def pins() -> dict[str, str]:
    """Name of each peer to what pip gets: itself first, then what it is measured with."""
    lines = [line.partition("#")[0].strip() for line in PINS.read_text().splitlines()]
    found = {}
    for line in filter(None, lines):
        match = _PIN.match(line)
        if match is None:
            raise SystemExit(f"{PINS.name}: {line!r} is not NAME[EXTRA]==VERSION …")
        found[match[1]] = line
    return found


def python_of(name: str) -> Path:
    """The interpreter that has a peer installed; raises :class:`MissingError`."""
    if os.environ.get("HOLDFAST_BENCH_PEERS") == "off":
        raise MissingError("left out with HOLDFAST_BENCH_PEERS=off")
    requirements = pins()[name].split()
    requirement = requirements[0]
    folder = HERE.parent / ".bench" / "-".join(requirements).replace("[", "-").replace("]", "")
    python = folder / "bin" / "python"
    done = folder / "installed"
    if done.exists():
        return python
    print(f"installing {requirement} into {folder.relative_to(HERE.parent)} (once) …", flush=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements],
    ):
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_INSTALL_S)
        except subprocess.TimeoutExpired as error:
            raise MissingError(f"{requirement} was not installed within {_INSTALL_S} s") from error
        except subprocess.CalledProcessError as error:
            why = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise MissingError(f"pip could not install {requirement}: {' '.join(why)}") from error
    done.touch()
    return python


def run(name: str, script: str, *arguments: str) -> dict[str, float]:
    """Run a script beside this file with a peer's interpreter; the one JSON line that it prints. Raises
    :class:`MissingError`."""
    command = [str(python_of(name)), str(HERE / script), *arguments]
    try:
        done = subprocess.run(command, check=True, capture_output=True, timeout=_RUN_S)
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"{script} took longer than {_RUN_S} s") from error
    except subprocess.CalledProcessError as error:
        raise MissingError(f"{script} failed: {error.stderr.decode(errors='replace')[-300:]}") from error
    found: dict[str, float] = json.loads(done.stdout)
    return found
