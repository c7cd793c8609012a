"""Acts that people propose in the place of others, over a network of real processes: denied and amended at its panel,
let through by its gate, carried out by an executor that is killed, and waited for by a workflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.processes import NetworkProcess, holdfast, network, wait_for
from tests.integration.test_acts import Led, Receiver, receiver, stop  # noqa: F401 - a fixture among them

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]
WORKFLOW = """
type = "urn:holdfast:workflow:v1"
name = "noted"
tools = [{ name = "blind", effect = "send", queue = "default" }]
result = { from = "$.note" }

[[steps]]
name = "note"
kind = "action"
tool = "blind"
arguments = { text = "far too much" }
seconds = 600
"""


@dataclass
class People:
    """Who decides at a network's panel, and the key of its executors."""

    net: NetworkProcess
    keys: dict[str, str]
    folder: Path

    def ask(self, who: str, path: str, value: Any = None) -> Any:
        body = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(self.net.ready["panel"] + path, body, {"content-type": "application/json"})
        request.add_header("authorization", f"Bearer {self.keys[who]}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def case(self, run: str) -> dict[str, Any] | None:
        """The case of an act, once it says what it is."""
        found = self.ask("rita", f"/v1/cases?run={run}").get("cases", [])
        return found[0] if found and any(event["kind"] == "led" for event in found[0]["events"]) else None

    def amend(self, who: str, run: str, text: str) -> str:
        """Propose another act in the place of one; the run of the other."""
        case = wait_for(lambda: self.case(run), 60, "its case")["id"]
        asked = {"arguments": json.dumps({"text": text}), "reason": "too much"}

        def told() -> dict[str, Any]:
            self.ask(who, f"/v1/cases/{case}/view", {})
            found: dict[str, Any] = self.ask(who, f"/v1/cases/{case}/amend", asked)
            return {} if found.get("error", {}).get("code") == "case.lanes_moved" else found

        found = wait_for(told, 60, "the amendment")
        assert "run" in found, found
        return str(found["run"])

    @property
    def key_file(self) -> str:
        """Where the executors' key lies."""
        path = self.folder / "executor.key"
        path.write_text(self.keys["executor"])
        return f"file:{path}"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    folder = tmp_path_factory.mktemp("amended")
    with network(folder / "net") as net:
        keys = {}
        for name in ("rita", "sam"):
            assert holdfast("people", "add", name, "--role", "reviewer", "--state", str(net.state)).returncode == 0
            keys[name] = key_of(net, name, "case:decide", "--person", name)
        keys["executor"] = key_of(net, "executor", "queue:take")
        yield People(net, keys, folder)


def key_of(net: NetworkProcess, label: str, scope: str, *more: str) -> str:
    """A new key of the panel, which reads cases too."""
    words = ["--label", label, "--scope", scope, "--scope", "case:read", *more, "--json", "--state", str(net.state)]
    return str(json.loads(holdfast("api-key", "add", *words).stdout)["key"])


def act(led: Led, people: People, *more: str) -> list[str]:
    return led.command("--api-key", people.key_file, *more)


def start(led: Led, people: People) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "holdfast.cli", *act(led, people, "--every", "0.2")]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def over(led: Led, run: str) -> bool:
    return led.words().get(run, {}).get("word") == "over"


def test_what_people_proposed_in_an_acts_place_is_carried_out_once_and_what_they_denied_never(
    people: People,
    receiver: Receiver,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    led = Led(people.net, receiver, tmp_path, "amended")
    first = led.propose("keyed", "far too much")["run"]
    between = people.amend("rita", first, "less")
    last = people.amend("sam", between, "the least")
    too_long = people.amend("rita", led.propose("blind", "much")["run"], "longer than the owner of this agent allows")
    led.ask(led.agent["run"], led.agent["capability"], "close", {"result": "done"})
    wait_for(lambda: (people.case(last) or {}).get("state") == "CLEAR", 90, "the gate")
    alone = holdfast(*act(led, people, "--once", "--no-amended"))
    assert alone.returncode == 0, alone.stderr
    assert not receiver.arrived

    receiver.go.clear()
    process = start(led, people)
    assert receiver.something.wait(90)  # it has arrived, and is not answered
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    receiver.go.set()
    process = start(led, people)
    try:
        wait_for(lambda: over(led, last), 120, "the act")
        wait_for(lambda: led.words().get(too_long, {}).get("word") == "dropped", 60, "the refusal")
    finally:
        stop(process)

    words = led.words()
    assert receiver.arrived == {("/keyed", last): 1}
    assert (words[last]["came"], words[last]["amends"], words[last]["stands"]) == ("result", first, "CLEAR")
    assert words[too_long]["dropped"]["code"] == "agent.allow"
    assert not {first, between} & words.keys()
    listed = holdfast("agent", "acts", str(led.file), "--state", str(people.net.state))
    assert f"proposed by a person in the place of {first}" in listed.stdout
    again = holdfast(*act(led, people, "--once"))
    assert again.returncode == 0, again.stderr
    assert receiver.arrived == {("/keyed", last): 1}
    told = people.net.get(f"/v1/runs/{last}/children")["children"]
    assert [child["kind"] for child in told] == ["step", "step"]  # reserved, and its outcome: the agent run was closed
    denied = people.ask("rita", f"/v1/cases?run={first}")["cases"][0]
    assert denied["state"] == "REJECTED"
    assert [event["body"] for event in denied["events"] if event["kind"] == "amended"] == [{"run": between}]


def test_a_workflow_waits_for_what_a_person_proposed_and_goes_on_with_what_came_of_it(
    people: People,
    receiver: Receiver,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    led = Led(people.net, receiver, tmp_path, "noted")  # for its agent file: acts are the workflow's
    path, state = tmp_path / "noted.toml", str(people.net.state)
    path.write_text(WORKFLOW)
    words = ["workflow", "run", str(path), "--state", state, "--once", "--json", "--panel-key", people.key_file]
    running = subprocess.Popen([sys.executable, "-m", "holdfast.cli", *words], stdout=subprocess.PIPE, text=True)
    try:
        record = people.net.state / "agents" / "noted.jsonl"
        proposed = wait_for(lambda: [line for line in lines(record) if line["word"] == "proposed"], 60, "the act")
        first = proposed[0]["run"]
        other = people.amend("rita", first, "less")
        process = start(led, people)
        try:
            printed, _ = running.communicate(timeout=120)
        finally:
            stop(process)
    finally:
        if running.poll() is None:
            running.kill()
            running.communicate()
    assert running.returncode == 0, printed
    assert receiver.arrived == {("/blind", other): 1}
    closed = [line for line in lines(record) if line["word"] == "closed"]
    assert len(closed) == 1
    shown = holdfast("workflow", "list", "--state", state, "--workflow", "noted", "--json").stdout
    assert other in shown
    assert first not in shown


def lines(path: Path) -> list[dict[str, Any]]:
    """What an agent's record has by now."""
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []
