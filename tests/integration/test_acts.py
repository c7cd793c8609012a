"""Acts over a network of real processes: let through by its gate, carried out by an executor that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.storage_files import FileStorage
from holdfast.agents.act_journal import read_journal
from holdfast.agents.record import Record
from holdfast.core.agents import act_digest
from tests.helpers import crashes
from tests.helpers.processes import NetworkProcess, fetch, holdfast, network, wait_for

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]


@dataclass
class Receiver:
    """What is sent to, by path; says when something arrived, and answers when it is let."""

    arrived: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each act was done, by path: ``/keyed`` knows keys, ``/blind`` does whatever comes."""
    something: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    found.go.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            act = json.loads(self.rfile.read(int(self.headers["content-length"])))["act"]
            assert self.headers["idempotency-key"] == f'"{act}"'
            if self.path == "/blind" or not found.arrived[self.path, act]:
                found.arrived[self.path, act] += 1
            found.something.set()
            found.go.wait(30)
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    found.go.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    with network(tmp_path_factory.mktemp("network")) as found:
        yield found


class Led:
    """An agent that is led by hand: its file, its record and its acts."""

    def __init__(self, net: NetworkProcess, receiver: Receiver, folder: Path, name: str) -> None:
        tools = [("blind", False), ("keyed", True)]
        text = f'[agent]\nname = "{name}"\nmodel = "m"\n'
        for tool, keeps in tools:
            text += (
                f'[[tools]]\nname = "{tool}"\nkind = "send"\neffect = "send"\nqueue = "default"\n'
                f"allow = {{ text = {{ characters = 20 }} }}\n"
                f'settings = {{ to = "{receiver.url}/{tool}", idempotent = {str(keeps).lower()} }}\n'
            )
        self.name, self.file = name, folder / "agent.toml"
        self.file.write_text(text)
        self.net, self._gateway = net, net.ready["gateway"]
        declared = [{"name": tool, "effect": "send", "queue": "default"} for tool, _ in tools]
        body = json.dumps({"agent": {"name": name, "tools": declared}}).encode()
        self.agent = fetch(f"{self._gateway}/v1/runs", key=net.ready["key"], body=body)
        self.record = Record(net.state / "agents" / f"{name}.jsonl")
        self.record.opened(self.agent["run"], self.agent["capability"], self._gateway, {"name": name})

    def ask(self, run: str, capability: str, what: str, value: Any = None) -> Any:
        data = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(f"{self._gateway}/v1/runs/{run}/{what}", data=data)
        request.add_header("x-holdfast-capability", capability)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def propose(self, tool: str, text: str) -> dict[str, Any]:
        asked = {"kind": "tool", "tool": tool, "arguments": {"text": text}}
        act = self.ask(self.agent["run"], self.agent["capability"], "steps", asked)
        self.record.proposed(act["run"], act["capability"], self.agent["run"], act_digest(asked))
        return act

    def command(self, *more: str) -> list[str]:
        return ["agent", "act", str(self.file), "--state", str(self.net.state), "--lease", "30", *more]

    def start(self) -> subprocess.Popen[str]:
        """An executor that goes on until it is stopped."""
        words = [sys.executable, "-m", "holdfast.cli", *self.command("--every", "0.2")]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def words(self) -> dict[str, dict[str, Any]]:
        """Its journal, as anybody may read it while it works."""
        folder = self.net.state / "agents" / f"{self.name}.acts"
        if not folder.is_dir():
            return {}
        return {act: state.to_json() for act, state in read_journal(FileStorage(folder)).items()}


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def test_an_act_is_carried_out_once_let_through_and_another_agents_is_left_alone(
    net: NetworkProcess, receiver: Receiver, tmp_path: Path
) -> None:
    led = Led(net, receiver, tmp_path, "notifier")
    (tmp_path / "other").mkdir()
    other = Led(net, receiver, tmp_path / "other", "other")
    theirs = other.propose("blind", "theirs")
    act = led.propose("blind", "hello")
    refused = led.propose("blind", "far longer than the owner of the agent allows")
    led.ask(led.agent["run"], led.agent["capability"], "close", {"result": "done"})
    process = led.start()
    try:
        wait_for(lambda: led.words().get(act["run"], {}).get("word") == "over", 90, "the act")
        wait_for(lambda: led.words().get(refused["run"], {}).get("word") == "dropped", 60, "the refusal")
    finally:
        stop(process)
    told = led.words()
    assert (told[act["run"]]["stands"], told[act["run"]]["came"]) == ("CLEAR", "result")
    assert told[refused["run"]]["dropped"]["code"] == "agent.allow"
    assert theirs["run"] not in told
    assert receiver.arrived == {("/blind", act["run"]): 1}
    kinds = [child["kind"] for child in led.ask(act["run"], act["capability"], "children")["children"]]
    assert kinds == ["step", "step"]  # that it was reserved, and its outcome: the agent run was closed
    listed = holdfast("agent", "acts", str(led.file), "--state", str(net.state))
    assert listed.returncode == 0
    assert f"over        {act['run']}" in listed.stdout
    again = holdfast(*led.command("--once"))
    assert again.returncode == 0, again.stderr
    assert receiver.arrived == {("/blind", act["run"]): 1}


def test_an_executor_that_is_killed_while_it_acts_never_acts_twice(
    net: NetworkProcess, receiver: Receiver, tmp_path: Path
) -> None:
    led = Led(net, receiver, tmp_path, "killed")
    for number in range(crashes.kills()):
        acts = {tool: led.propose(tool, f"number {number}") for tool in ("blind", "keyed")}
        receiver.go.clear()
        receiver.something.clear()
        process = led.start()
        assert receiver.something.wait(90)  # it has arrived, and is not answered
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        receiver.go.set()
        process = led.start()
        try:
            wait_for(
                lambda acts=acts: all(led.words().get(act["run"], {}).get("word") == "over" for act in acts.values()),
                120,
                "both acts",
            )
        finally:
            stop(process)
        words = led.words()
        for tool, act in acts.items():
            assert receiver.arrived[f"/{tool}", act["run"]] == 1
            state = words[act["run"]]
            assert state["came"] == "result" or (tool == "blind" and state["not_known"]), state
