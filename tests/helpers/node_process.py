"""Real node processes for integration tests: start, wait until ready, kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from holdfast.errors import UnavailableError
from holdfast.ports.http import HTTP

READY_SECONDS = 30.0
"""Longest wait for a process to answer ``/readyz``."""


class Process:
    """One node as ``python -m MODULE CONFIG``."""

    def __init__(self, module: str, config: Path, url: str) -> None:
        self.url = url
        self._path = config.with_suffix(".out")
        self._output = self._path.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(config)],
            stdout=self._output,
            stderr=self._output,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    async def ready(self, http: HTTP) -> None:
        """Wait until the node says that it can do its work."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert self.alive, self.output()
            with contextlib.suppress(UnavailableError):
                if (await http.request("GET", f"{self.url}/readyz", timeout_s=1)).status == 200:
                    return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{self.url} was not ready in {READY_SECONDS} s")

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nobody says goodbye."""
        self._process.kill()
        self._end()

    def stop(self) -> int:
        """SIGTERM and wait; returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._end()

    def wait(self) -> int:
        """Wait for a process that ends by itself; returns the exit code."""
        return self._end()

    def output(self) -> str:
        """What it wrote so far, in all lives with this configuration."""
        return self._path.read_text("utf-8")

    def _end(self) -> int:
        code = self._process.wait(timeout=READY_SECONDS)
        self._output.close()
        return code

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None


@contextlib.asynccontextmanager
async def started(module: str, config: Path, url: str, http: HTTP) -> AsyncIterator[Process]:
    """A process that is ready, and gone after the block however that ends."""
    process = Process(module, config, url)
    try:
        await process.ready(http)
        yield process
    finally:
        if process.alive:
            process.kill()
