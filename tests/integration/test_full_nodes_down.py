"""Four full nodes, each a process of its own: one down, two down, all back (``round.md`` §3(5), ``lanes.md`` §3(3)).

``holdfast up`` makes the network once and is stopped; every node then runs by itself with ``holdfast node``, from the
same settings file, and is killed and started again by its pid.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.processes import NetworkProcess, fetch, network, wait_for

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]
ALONE = ("chain", "log", "full-1", "full-2", "full-3", "full-4", "gateway")


class Nodes:
    """The nodes of a network, one process each."""

    def __init__(self, made: NetworkProcess) -> None:
        self.ready = made.ready
        self.key = made.key
        self._log = made.state / "nodes.log"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def url(self, name: str) -> str:
        full = {node["name"]: node["url"] for node in self.ready["full_nodes"]}
        return str(full.get(name) or self.ready[name])

    def start(self, *names: str) -> None:
        """Start nodes and wait until each says that it is ready."""
        for name in names:
            command = [sys.executable, "-m", "holdfast.cli", "node", name, "--config", str(self.ready["settings"])]
            with self._log.open("ab") as log:
                self._running[name] = subprocess.Popen(command, stdout=log, stderr=log)
            wait_for(lambda name=name: self.answers(name), 60, f"the start of {name}")  # type: ignore[misc]

    def answers(self, name: str) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url(name)}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self, *names: str) -> None:
        for name in names:
            process = self._running.pop(name)
            process.kill()
            process.wait(10)

    def stop(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)

    def ask(self) -> str:
        body = {"model": "holdfast-builtin", "messages": [{"role": "user", "content": "What is a lane?"}]}
        answer = fetch(self.url("gateway") + "/v1/chat/completions", key=self.key, body=json.dumps(body).encode())
        assert answer["choices"][0]["message"]["content"]
        return str(answer["holdfast"]["run"])

    def settlement(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = fetch(f"{self.url('gateway')}/v1/runs/{run}", key=self.key)["lanes"]["settlement"]
        return found

    def proven(self, run: str) -> None:
        wait_for(lambda: self.settlement(run)["state"] == "proven", 60, f"the settlement of {run}")

    def says(self, run: str, words: str) -> str:
        """What the lane says, once it says these words."""

        def look() -> str:
            lane = self.settlement(run)
            assert lane["state"] == "pending"
            return str(lane["says"]) if words in lane["says"] else ""

        return str(wait_for(look, 40, f"that the lane says {words!r}"))


@contextlib.contextmanager
def alone(state: Path) -> Iterator[Nodes]:
    with network(state) as made:
        assert made.stop() == 0
    nodes = Nodes(made)
    try:
        nodes.start(*ALONE)
        yield nodes
    finally:
        nodes.stop()


def test_one_full_node_down_settles_two_down_wait_and_say_why_and_all_back_catch_up(tmp_path: Path) -> None:
    with alone(tmp_path / "state") as nodes:
        nodes.kill("full-4")
        one_down = nodes.ask()
        nodes.proven(one_down)

        nodes.kill("full-3")
        two_down = [nodes.ask()]
        says = nodes.says(two_down[0], "do not answer")
        assert "2 of 4 full nodes do not answer the gateway: full-3, full-4" in says
        assert "more than two thirds of the stake has to vote" in says
        two_down.append(nodes.ask())
        assert "2 of 4 full nodes do not answer" in nodes.says(two_down[1], "do not answer")
        before = _journal(nodes, two_down[0])

        nodes.start("full-3", "full-4")
        for run in two_down:
            nodes.proven(run)
        after = _journal(nodes, two_down[0])
        assert after[: len(before)] == before
        assert any(item["kind"] == "silence" and item["silent"] == ["full-3", "full-4"] for item in before)
        nodes.proven(nodes.ask())


def _journal(nodes: Nodes, run: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fetch(f"{nodes.url('gateway')}/v1/runs/{run}/bundle", key=nodes.key)["journal"]
    return found
