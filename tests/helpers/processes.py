"""Real processes for integration tests: a development network, a lone gateway. Loopback only; ended by pid."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.cli.development import SERVICES
from tests.helpers.ports import free_ports


@dataclass
class NetworkProcess:
    """A running ``holdfast up``."""

    process: subprocess.Popen[str]
    ready: Mapping[str, Any]
    state: Path

    @property
    def key(self) -> str:
        return str(self.ready["key"])

    def get(self, path: str) -> Any:
        """A JSON answer of the gateway."""
        return fetch(self.ready["gateway"] + path, key=self.key)

    def stop(self) -> int:
        """Ctrl-C, and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


def fetch(url: str, *, key: str, body: bytes | None = None, timeout_s: float = 20) -> Any:
    """One request, its answer as JSON; HTTP errors give their body."""
    request = urllib.request.Request(url, data=body, headers={"authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def holdfast(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """One command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "holdfast.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        input=stdin,
    )


@contextlib.contextmanager
def network(state: Path, *options: str, port: int | None = None) -> Iterator[NetworkProcess]:
    """``holdfast up`` in a folder; stopped at the end if the test did not."""
    base = port or free_ports(len(SERVICES))
    command = [sys.executable, "-m", "holdfast.cli", "up", "--json", "--state", str(state), "--port", str(base)]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    try:
        yield NetworkProcess(process, _await_ready(process), state)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()
            process.wait(5)
        assert process.stdout is not None
        process.stdout.close()


def _await_ready(process: subprocess.Popen[str]) -> Mapping[str, Any]:
    """The ready line, which is the first; everything before it goes to standard error."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"holdfast up ended with {process.wait(5)}")
    found: Mapping[str, Any] = json.loads(line)
    if found.get("ready") is not True:
        raise RuntimeError(f"holdfast up began with {found}")
    return found


def processes_of(words: str) -> dict[int, str]:
    """Command lines by pid of the processes that name something, such as a state folder."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if words in command and int(folder.name) != os.getpid():
                found[int(folder.name)] = command
    return found


def wait_for(question: Any, seconds: float = 30.0, what: str = "it") -> Any:
    """Ask until the answer is not falsy."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = question()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen within {seconds:.0f} s")
