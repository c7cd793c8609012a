"""Workflows against a real gateway: the command killed at its work again and again, and deliveries over HTTP."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.storage_files import FileStorage
from holdfast.agents.act_journal import ActJournal
from holdfast.agents.runs import AgentRun, AgentRuns
from holdfast.agents.workflows.hooks import Hook
from holdfast.agents.workflows.journal import Journal
from holdfast.cli.workflow_hooks import serving_hooks
from holdfast.core.agents import act_digest
from holdfast.core.workflows.moves import Cause
from holdfast.core.workflows.replays import replay
from holdfast.errors import HoldfastError
from holdfast.review.webhooks import sign
from tests.helpers import crashes
from tests.helpers.live_gateway import KEY, MODEL, LiveGateway, serving

pytestmark = pytest.mark.enable_socket
FROM = "2026-01-01T00:00:00Z"
WORKFLOW = f"""
type = "urn:holdfast:workflow:v1"
name = "killed"
trigger = {{kind = "schedule", cron = "0 0 1 1 *"}}
tools = [{{name = "wire", effect = "pay", queue = "payments"}}]
result = {{from = "$.pay.result"}}

[[steps]]
name = "first"
kind = "rule"
cases = [{{result = {{at = {{from = "$.trigger.key"}}}}}}]

[[steps]]
name = "opinion"
kind = "inference"
request = {{model = "{MODEL}", messages = [{{role = "user", content = "What is a lane?"}}]}}

[[steps]]
name = "choice"
kind = "rule"
cases = [{{when = [{{value = "$.opinion.text", type = "text"}}], result = {{pay = true}}}}]

[[steps]]
name = "pay"
kind = "action"
if = "$.choice.result.pay"
tool = "wire"
arguments = {{for = {{from = "$.first.result.at"}}}}
"""


class Command:
    """``holdfast workflow run`` in a folder, as a process of its own."""

    def __init__(self, folder: Path, gateway: LiveGateway) -> None:
        self.folder = folder
        self.file = folder / "killed.toml"
        self.file.write_text(WORKFLOW)
        self.words = [sys.executable, "-m", "holdfast.cli", "workflow", "run", str(self.file)]
        self.words += ["--gateway", gateway.url, "--key", f"file:{folder / 'key'}", "--once", "--no-wait"]
        self.words += ["--backfill", FROM, "--journal", str(self.journal)]
        (folder / "key").write_text(KEY)

    @property
    def journal(self) -> Path:
        return self.folder / "journal.sqlite"

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self.words, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self) -> tuple[int, str, str]:
        process = self.start()
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err


def kill_at_work(command: Command, chance: random.Random) -> None:
    """Start it, and end it without a word at some step."""
    process = command.start()
    assert process.stdout is not None
    for _ in range(chance.randint(1, 9)):
        if not process.stdout.readline():
            break
    process.kill()
    process.communicate()


def told(gateway: LiveGateway) -> Counter[str]:
    """What the gateway has: agent runs, steps, turns."""
    return Counter(row["kind"] for row in gateway.runs())


async def carry_out(gateway: LiveGateway, folder: Path) -> None:
    """An executor's journal and word for every act that the record names."""
    http = AiohttpHTTP()
    journal = ActJournal(FileStorage(folder / ".holdfast" / "agents" / "killed.acts"))
    runs, now = AgentRuns(http, gateway.url, KEY), SystemClock().now()
    lines = (folder / ".holdfast" / "agents" / "killed.jsonl").read_text().splitlines()
    opened = {line["run"]: line for line in map(json.loads, lines) if line["word"] == "opened"}
    acts = {line["run"]: line for line in map(json.loads, lines) if line["word"] == "proposed"}
    try:
        for act, line in acts.items():
            arguments = {"for": "2026-01-01T00:00:00.000Z"}
            assert line["digest"] == act_digest({"kind": "tool", "tool": "wire", "arguments": arguments})
            taken = {"case": "c", "queue": "payments", "key": "00", "capability": line["capability"]}
            journal.write(act, "taken", now, {**taken, "agent": line["agent"]})
            prepared = {"reserved": act, "tool": "wire", "effect": "pay", "digest": line["digest"], "arguments": "{}"}
            journal.write(act, "prepared", now, {**prepared, "bytes": ""})
            journal.write(act, "begun", now, {})
            journal.write(act, "ended", now, {"result": '"0xhash"'})
            agent = AgentRun(line["agent"], opened[line["agent"]]["capability"], "", "")
            outcome = await runs.outcome(agent, act, result="0xhash", idempotency_key=journal.key("outcome", act))
            journal.write(act, "told", now, {"run": outcome.run})
        assert len(acts) == 1
    finally:
        journal.close()
        await http.close()


@pytest.mark.slow
def test_a_command_killed_at_its_work_goes_on_and_does_nothing_twice(tmp_path: Path) -> None:
    chance = random.Random("workflow kills")
    with serving(tmp_path / "net") as gateway:
        command = Command(tmp_path, gateway)
        for _ in range(crashes.kills()):
            kill_at_work(command, chance)
        code, out, err = command.finish()
        assert code == 3, (out, err)  # it waits for the gate
        found = told(gateway)
        assert found["agent"] == 1, found
        assert found["step"] == 4, found  # what it is for, two rules, and one act
        asyncio.run(carry_out(gateway, tmp_path))
        code, out, err = command.finish()
        assert code == 0, (out, err)
        journal = Journal(command.journal)
        [listed] = journal.listed()
        assert (listed.state, listed.ending["result"]) == ("done", "0xhash")
        assert [item.state for item in replay(*journal.load(listed.id))] == ["equal"] * 4
        capability = journal.capability(listed.id)
        journal.close()
        shown = gateway.get_with(f"{listed.run}/children", capability)
        assert shown["outcome"] == "complete"
        assert Counter(child["kind"] for child in shown["children"])["step"] == 5  # the act and its outcome too


async def reserve(gateway: LiveGateway, act: str, capability: str) -> str:
    """What an executor is answered that would carry an act out now."""
    http = AiohttpHTTP()
    try:
        itself = AgentRun(act, capability, "", "")
        await AgentRuns(http, gateway.url).step(itself, {"kind": "reserved", "of": act})
    except HoldfastError as error:
        return error.code
    finally:
        await http.close()
    return "reserved"


def test_an_act_that_nobody_let_through_in_time_can_be_carried_out_by_nobody(tmp_path: Path) -> None:
    with serving(tmp_path / "net") as gateway:
        command = Command(tmp_path, gateway)
        command.file.write_text(WORKFLOW + "seconds = 1\n")
        command.words.remove("--no-wait")
        code, out, err = command.finish()
        assert code == 1, (out, err)
        assert "workflow.act_expired" in out
        lines = map(json.loads, (tmp_path / ".holdfast" / "agents" / "killed.jsonl").read_text().splitlines())
        [act] = [line for line in lines if line["word"] == "proposed"]
        refused = asyncio.run(reserve(gateway, act["run"], act["capability"]))
        assert refused in ("agent.reserved", "agent.outcome")


def deliver(url: str, body: bytes, key: bytes, delivery: str = "msg_1") -> tuple[int, Any]:
    stamp = int(time.time())
    headers = {"webhook-id": delivery, "webhook-timestamp": str(stamp), "content-type": "application/json"}
    headers["webhook-signature"] = sign([key], delivery, stamp, body)
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_delivery_over_http_starts_something_where_its_signature_holds() -> None:
    key, causes = bytes(range(32)), list[Cause]()

    async def story() -> None:
        hooks = {"night": Hook([key], causes.append, SystemClock().now)}
        async with serving_hooks(hooks, "127.0.0.1", 0) as url:
            send = asyncio.to_thread
            assert await send(deliver, f"{url}/hooks/night", b'{"n":1}', key) == (202, {"delivery": "msg_1"})
            status, refused = await send(deliver, f"{url}/hooks/night", b"{}", bytes(32))
            assert (status, refused["error"]["code"]) == (401, "workflow.signature")
            status, refused = await send(deliver, f"{url}/hooks/day", b"{}", key)
            assert (status, refused["error"]["code"]) == (404, "workflow.unknown")
            status, _ = await send(deliver, f"{url}/hooks/night", b" " * 300_000, key)
            assert status == 413

    asyncio.run(story())
    assert [cause.key for cause in causes] == ["msg_1"]


def test_an_address_that_is_taken_is_said() -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(Exception, match=r"node\.listen"):
                async with serving_hooks({}, "127.0.0.1", port):
                    pass

    asyncio.run(story())
