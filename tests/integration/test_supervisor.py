"""``holdfast up`` when one of its processes ends, and when somebody ends it too early: what serves goes on serving."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.development import SERVICES
from tests.helpers.ports import free_ports
from tests.helpers.processes import NetworkProcess, fetch, network, processes_of, wait_for

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    with network(tmp_path_factory.mktemp("supervised")) as found:
        yield found


def ask(net: NetworkProcess) -> str:
    body = {"model": "holdfast-builtin", "messages": [{"role": "user", "content": "What is a lane?"}]}
    answer = fetch(net.ready["gateway"] + "/v1/chat/completions", key=net.key, body=json.dumps(body).encode())
    return str(answer["holdfast"]["run"])


def settlement(net: NetworkProcess, run: str) -> str:
    return str(net.get(f"/v1/runs/{run}")["lanes"]["settlement"]["state"])


def kill_worker(net: NetworkProcess, node: str) -> None:
    """kill -9 to the worker that hosts a node."""
    (pid,) = [pid for pid, command in processes_of(str(net.state)).items() if "cli.host" in command and node in command]
    os.kill(pid, signal.SIGKILL)


def events(net: NetworkProcess, *wanted: str) -> list[dict[str, Any]]:
    """Read on until an event of each of these kinds was told, in this order."""
    assert net.process.stdout is not None
    found, waiting = [], list(wanted)
    while waiting:
        value = json.loads(net.process.stdout.readline())
        found.append(value)
        if value["event"] == waiting[0]:
            waiting.pop(0)
    return found


def test_answers_go_on_while_the_full_nodes_are_killed_and_settle_when_they_are_started_again(
    net: NetworkProcess,
) -> None:
    before = ask(net)
    kill_worker(net, "full-1")
    during = ask(net)
    assert settlement(net, during) == "pending"
    ended, restarted = (item for item in events(net, "worker_ended", "worker_restarted") if "worker" in item)
    assert ended["nodes"] == restarted["nodes"] == ["full-1", "full-2", "full-3", "full-4"]
    assert "SIGKILL" in ended["reason"]
    assert ended["restart_in_s"] > 0
    for run in (before, during):
        wait_for(lambda run=run: settlement(net, run) == "proven", 40, "settlement")  # type: ignore[misc]
    assert net.process.poll() is None


def test_a_gateway_that_is_killed_is_started_again_and_keeps_what_it_answered(net: NetworkProcess) -> None:
    run = ask(net)
    kill_worker(net, "gateway")
    assert [item["worker"] for item in events(net, "worker_ended", "worker_restarted") if "worker" in item] == [
        "gateway",
        "gateway",
    ]
    wait_for(lambda: settlement(net, run) == "proven", 40, "settlement")
    assert ask(net) != run


def test_nothing_is_left_when_it_is_stopped_while_a_restart_is_pending(tmp_path: Path) -> None:
    with network(tmp_path / "state") as net:
        kill_worker(net, "full-1")
        events(net, "worker_ended", "worker_restarted")
        kill_worker(net, "full-1")
        (ended,) = (item for item in events(net, "worker_ended") if "worker" in item)
        assert ended["restart_in_s"] >= 1.0
        assert net.stop() == 0
        assert not processes_of(str(tmp_path / "state"))


@pytest.mark.parametrize("step", range(3))
def test_stopped_before_it_was_ready_it_exits_130_says_nothing_wrong_and_leaves_nothing(
    tmp_path: Path, step: int
) -> None:
    """Stopped once as many steps were told; the next start goes on from there."""
    state = tmp_path / "state"
    base = free_ports(len(SERVICES))
    command = [sys.executable, "-m", "holdfast.cli", "up", "--json", "--state", str(state), "--port", str(base)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for _ in range(step):
        assert json.loads(process.stderr.readline())["event"] == "starting"
    with process:
        try:
            if step == 0:
                wait_for(lambda: len(processes_of(str(state))) > 1, 30, "the first worker")
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "unreachable" not in err
    assert "Traceback" not in err
    assert not processes_of(str(state))
    with network(state, port=base) as net:
        assert ask(net)


def test_the_ready_line_is_the_first_on_standard_output_and_progress_goes_to_standard_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "holdfast.cli", "up", "--json", "--state", str(tmp_path / "state")]
    process = subprocess.Popen(
        [*command, "--port", str(free_ports(len(SERVICES)))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        try:
            assert json.loads(process.stdout.readline())["ready"] is True
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert all("event" in json.loads(line) for line in out.splitlines())
    assert [json.loads(line)["event"] for line in err.splitlines()].count("starting") >= 3
