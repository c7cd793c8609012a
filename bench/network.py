"""A whole development network for a bench: started as users start it, asked as callers ask, ended with the block."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import selectors
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

QUESTION = {"model": "holdfast-builtin", "messages": [{"role": "user", "content": "What is a lane?"}]}
READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Network:
    """What ``up --json`` said when it was ready, how long that took, and the process that said it."""

    ready: dict[str, Any]
    ready_s: float
    started: float
    pid: int

    def memory_mb(self) -> float:
        """Resident memory of the process and its children."""
        total = 0.0
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                if self.pid in (int(folder.name), int(fields[1])):
                    status = (folder / "status").read_text().splitlines()
                    total += sum(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
            except (OSError, IndexError, ValueError):
                continue
        return total


@contextlib.contextmanager
def running(
    up: Sequence[str],
    folder: Path,
    port: int,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    gateway: str = "",
) -> Iterator[Network]:
    """Start ``up`` (a command line up to that word) on a fresh state below ``folder``, and end it. The built-in
    responder answers as fast as it can, for its pace is not the network's; ``gateway`` are more of its settings."""
    settings = folder / "own.toml"
    settings.write_text("[gateway]\ndiscover = false\nbuiltin_tokens_per_second = 0\n" + gateway)
    command = [*up, "--json", "--state", str(folder / "state"), "--config", str(settings), "--port", str(port)]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=cwd, env=env)
    try:
        ready = _ready(process, started + READY_S)
        yield Network(ready, time.monotonic() - started, started, process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[bytes], deadline: float) -> dict[str, Any]:
    """The ready line; events before it are read over."""
    if process.stdout is None:
        raise SystemExit("the network has no output to read")
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            line = process.stdout.readline()
            if not line:
                raise SystemExit("the network ended before it was ready")
            found: dict[str, Any] = json.loads(line)
            if found.get("ready"):
                return found
    raise SystemExit(f"the network was not ready within {READY_S:.0f} s")


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

    async def view(self, run: str) -> dict[str, Any] | None:
        """A run with its lanes and its chronology; None while a busy network cannot show it."""
        async with self._session.get(f"{self._url}/v1/runs/{run}") as answer:
            found: dict[str, Any] = await answer.json()
            return found if answer.status == 200 else None

    async def settled(self, run: str, seconds: float) -> dict[str, Any] | None:
        """The run once its settlement is not pending; None when that takes longer."""
        deadline = time.monotonic() + seconds
        while True:
            view = await self.view(run)
            if view is not None and view["lanes"]["settlement"]["state"] != "pending":
                return view
            if time.monotonic() > deadline:
                return None
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def caller(network: Network) -> AsyncIterator[Caller]:
    """A :class:`Caller` with the development workspace's key."""
    headers = {"authorization": f"Bearer {network.ready['key']}"}
    connector = aiohttp.TCPConnector(limit=512)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        yield Caller(session, network.ready["gateway"])


def moment(view: dict[str, Any], code: str) -> dt.datetime:
    """When something of this code happened first."""
    found = next(item for item in view["chronology"] if item["code"] == code)
    return dt.datetime.fromisoformat(found["at"])
