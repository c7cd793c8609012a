"""The examples, as a newcomer runs them: against a network of ``holdfast up``, from the files as they are."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.ports import free_ports
from tests.helpers.processes import NetworkProcess, fetch, holdfast, network, wait_for

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
PAYEE = "0x00000000000000000000000000000000000a11ce"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples, as a clone has them."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


@pytest.fixture(scope="module")
def net(home: Path) -> Iterator[NetworkProcess]:
    with network(home / ".holdfast") as found:
        yield found


@contextlib.contextmanager
def inbox(home: Path) -> Iterator[tuple[int, list[str]]]:
    """The moderation example's receiver, and what it printed once it has ended."""
    port, printed = free_ports(1), list[str]()
    command = [sys.executable, str(home / "examples/moderation/inbox.py"), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: "error" in fetch_or_none(f"http://127.0.0.1:{port}/flags"), what="the inbox")
        yield port, printed
    finally:
        process.terminate()
        printed += process.communicate(timeout=20)[0].splitlines()


def fetch_or_none(url: str) -> str:
    """``error`` where somebody answers at all."""
    try:
        fetch(url, key="none")
    except (ValueError, ConnectionError):
        return "error"
    except OSError:
        return ""
    return "error"


def file_of(home: Path, name: str, *changes: tuple[str, str]) -> str:
    """An example's agent file, with the ports of this network."""
    path = home / "examples" / name
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return str(path)


def led(net: NetworkProcess, path: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What happened in a run of an agent, and how it ended."""
    done = holdfast("agent", "run", path, "--state", str(net.state), "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return events, events[-1]


def carried_out(net: NetworkProcess, path: str, count: int) -> list[dict[str, Any]]:
    """The acts of the journal, once so many are over."""

    def over() -> list[dict[str, Any]]:
        done = holdfast("agent", "act", path, "--state", str(net.state), "--once", "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        shown = json.loads(holdfast("agent", "acts", path, "--state", str(net.state), "--json").stdout)["acts"]
        return shown if [item["word"] for item in shown] == ["over"] * count else []

    wait_for(lambda: bool(over()), what="the acts", seconds=90)
    return over()


def test_a_moderation_queue_is_fed_by_an_agent_and_moves_on_proof(net: NetworkProcess, home: Path) -> None:
    with inbox(home) as (port, printed):
        path = file_of(home, "moderation/moderator.toml", ("127.0.0.1:8791", f"127.0.0.1:{port}"))
        events, ended = led(net, path)
        assert [event["what"] for event in events].count("proposed") == len(ended["acts"]) == 2
        acts = carried_out(net, path, 2)
        assert {item["act"] for item in acts} == set(ended["acts"])
        again = holdfast("agent", "act", path, "--state", str(net.state), "--once", "--json")
        assert (again.returncode, again.stdout) == (0, "")
    assert sorted(line.partition(":")[0] for line in printed) == ["0142.txt", "0143.txt"]


def test_a_treasury_pays_only_what_waited_for_proof(net: NetworkProcess, home: Path) -> None:
    second = {item["name"]: item["url"] for item in net.ready["data_nodes"]}["data-2"]
    path = file_of(home, "treasury/treasurer.toml", ("http://127.0.0.1:8518", second))
    assert balance(net) == 0
    events, ended = led(net, path)
    told = {event["name"]: json.loads(event["text"]) for event in events if event["what"] == "result"}
    assert told["price_north"]["admission"] != told["price_south"]["admission"]
    assert told["risk"]["outputs"]["probabilities"]["data"][0] > 0.9
    assert balance(net) == 0  # proposed, and nothing more
    (act,) = carried_out(net, path, 1)
    assert (act["act"], act["tool"], act["effect"]) == (ended["acts"][0], "pay", "pay")
    assert balance(net) == 10**15
    lanes = json.loads(holdfast("run", "show", ended["run"], "--state", str(net.state), "--json").stdout)["lanes"]
    assert lanes["bytes"]["state"] == "proven"


def balance(net: NetworkProcess) -> int:
    """What the payee has, in wei."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_getBalance", "params": [PAYEE, "latest"]}).encode()
    request = urllib.request.Request(f"{net.ready['chain']}/", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return int(json.load(answer)["result"], 16)
