"""Peers that pip and npm give, each below ``.bench/``, at the version in ``peers.txt`` or :data:`NPM`.

Installing is done once, bounded in time, and never counted. ``HOLDFAST_BENCH_PEERS=off`` leaves every peer out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PINS = HERE / "peers.txt"
_INSTALL_S = 900
_RUN_S = 180
_VERSION = r"(?:\[[A-Za-z0-9,._-]+\])?==[A-Za-z0-9.+!_-]+"
_PIN = re.compile(rf"([A-Za-z0-9._-]+){_VERSION}(?: +[A-Za-z0-9._-]+{_VERSION})*\Z")


NPM = {"walrus-wasm": "@mysten/walrus-wasm@0.3.0"}
"""Peers that run under Node.js, at the version that ratios are quoted for."""


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


def run_node(name: str, script: str, given: str) -> list[dict[str, Any]]:
    """Run a script beside this file under Node.js, with the folder of a peer's packages as its argument.

    ``given`` is its input, and what it prints are lines of JSON. Raises :class:`MissingError`.
    """
    if os.environ.get("HOLDFAST_BENCH_PEERS") == "off":
        raise MissingError("left out with HOLDFAST_BENCH_PEERS=off")
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise MissingError("no Node.js and npm here")
    folder = HERE.parent / ".bench" / NPM[name].replace("/", "-")
    install = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), NPM[name]]
    try:
        if not (folder / "node_modules").is_dir():
            print(f"installing {NPM[name]} into {folder.relative_to(HERE.parent)} (once) …", flush=True)
            subprocess.run(install, check=True, capture_output=True, timeout=_INSTALL_S)
        command = [node, str(HERE / script), str(folder / "node_modules")]
        done = subprocess.run(command, check=True, capture_output=True, timeout=_RUN_S, input=given, text=True)
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"{NPM[name]} took too long") from error
    except subprocess.CalledProcessError as error:
        raise MissingError(f"{NPM[name]} failed: {str(error.stderr)[-300:]}") from error
    return [json.loads(line) for line in done.stdout.splitlines()]
