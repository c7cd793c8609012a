"""A real gateway process, killed at its work again and again, while it delivers to a real log: what it acknowledged is
there afterwards, and each of its statements stands in the log once."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import hashlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from holdfast.adapters.chain_evm import Deployment
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.cli import development
from holdfast.cli.development import SERVICES, Layout
from holdfast.client.log import LogReader
from holdfast.core.notes import parse_checkpoint_text, parse_note
from holdfast.core.rounds import ChainDomain
from holdfast.core.statements import Execution, Statement, parse_envelope, parse_statement
from tests.helpers import crashes
from tests.helpers.ports import free_ports
from tests.helpers.processes import fetch, wait_for

pytestmark = pytest.mark.enable_socket
MODEL = "holdfast-builtin"


@dataclass
class Promises:
    """What callers saw: the last mark of each run, and the statements that its end named."""

    marks: dict[str, dict[str, Any]] = field(default_factory=dict)
    closed: dict[str, set[str]] = field(default_factory=dict)

    def note(self, value: dict[str, Any]) -> None:
        holdfast = value.get("holdfast")
        if holdfast is None:
            return
        if "mark" in holdfast:
            self.marks[holdfast["run"]] = holdfast["mark"]
        if "statements" in holdfast:
            self.closed[holdfast["run"]] = {item["digest"] for item in holdfast["statements"]}


def prepare(state: Path, port: int) -> tuple[Layout, str]:
    """Keys, trust and settings of a gateway without a network around it."""
    layout = Layout(state, port)
    keys = development.make_keys(layout)
    nowhere = Deployment(ChainDomain(31337, "0x" + "11" * 20), 0)
    development.make_trust(layout, keys, nowhere, dt.datetime.now(dt.UTC))
    overrides = state / "own.toml"
    overrides.write_text(
        "[gateway]\ndiscover = false\nbuiltin_tokens_per_second = 40\nmark_ms = 20\n[log]\nwitnesses = []\n"
    )
    development.write_settings(layout, development.settings_of(layout, keys), overrides)
    return layout, layout.key("workspace.token").read_text().strip()


def start(layout: Layout, key: str, node: str = "gateway") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "holdfast.cli.host", str(layout.state / development.SETTINGS_FILE), node]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(b"go\n")
    process.stdin.flush()

    def ready() -> bool:
        try:
            return "ready" in fetch(layout.url(node) + "/readyz", key=key)
        except OSError:
            assert process.poll() is None, f"the {node} ended by itself"
            return False

    wait_for(ready, 60, f"the start of the {node}")
    return process


async def call(layout: Layout, key: str, promises: Promises, chance: random.Random, until: float) -> None:
    """One caller: asks until the time is over or the gateway is gone."""
    headers = {"authorization": f"Bearer {key}"}
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=20)) as session:
            while time.monotonic() < until:
                streamed = chance.random() < 0.7
                body = {
                    "model": MODEL,
                    "stream": streamed,
                    "messages": [{"role": "user", "content": "What is a lane?"}],
                }
                async with session.post(layout.url("gateway") + "/v1/chat/completions", json=body) as answer:
                    async for value in read(answer, streamed=streamed):
                        promises.note(value)


async def read(answer: aiohttp.ClientResponse, *, streamed: bool) -> AsyncIterator[dict[str, Any]]:
    if not streamed:
        yield json.loads(await answer.read())
        return
    async for line in answer.content:
        text = line.strip()
        if text.startswith(b"data: {"):
            yield json.loads(text[6:])


def test_a_killed_gateway_loses_and_doubles_nothing_it_acknowledged(tmp_path: Path) -> None:
    layout, key = prepare(tmp_path, free_ports(len(SERVICES)))
    promises, chance = Promises(), random.Random("kills")
    sizes: list[int] = []
    """Entries in the log at each kill."""

    async def callers(process: subprocess.Popen[bytes]) -> None:
        span = chance.uniform(0.2, 1.0)
        until = time.monotonic() + span + 5
        tasks = [asyncio.create_task(call(layout, key, promises, chance, until)) for _ in range(6)]
        await asyncio.sleep(span)
        process.kill()
        process.wait()
        _close_input(process)
        await asyncio.gather(*tasks)
        sizes.append(len(await logged(layout)))

    log = start(layout, key, "log")
    try:
        for _ in range(crashes.kills()):
            process = start(layout, key)
            asyncio.run(callers(process))
        assert promises.marks, "nothing was acknowledged before the kills"
        assert sizes[-1] > 0, "nothing was delivered before the kills"
        process = start(layout, key)
        try:
            check(layout, key, promises)
            check_log(layout, key, promises, sizes[-1])
        finally:
            end(process)
    finally:
        end(log)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(20)
    _close_input(process)


async def logged(layout: Layout) -> list[bytes]:
    """Every entry of the log, by the checkpoint it serves now."""
    http = AiohttpHTTP()
    reader = LogReader(http, layout.url("log"))
    try:
        size = parse_checkpoint_text(parse_note(await reader.checkpoint()).text).size
        return await reader.entries(0, size, size) if size else []
    finally:
        await http.close()


def check_log(layout: Layout, key: str, promises: Promises, before: int) -> None:
    """Delivered again and again over the kills, the log holds every statement of every run exactly once."""
    expected = {run: set(statements_of(layout, key, run)) for run in promises.marks.keys() | promises.closed.keys()}
    wanted = set().union(*expected.values())

    def delivered() -> list[Statement]:
        found = [parse_statement(parse_envelope(entry)) for entry in asyncio.run(logged(layout))]
        return found if wanted <= {statement.digest for statement in found} else []

    found: list[Statement] = wait_for(delivered, 30, "the delivery of every statement")
    assert len(found) > before, "nothing was left to deliver after the last kill: the test did not test"
    digests = [statement.digest for statement in found]
    assert len(digests) == len(set(digests)), "a statement stands in the log twice"
    for run, known in expected.items():
        mine = [statement for statement in found if statement.run == run and statement.kind != "payment"]
        assert {statement.digest for statement in mine} == known, f"{run} is in the log as something else too"
    routes = Counter(statement.run for statement in found if statement.kind == "route")
    closings = Counter(item.run for item in found if isinstance(item.body, Execution) and item.body.closing)
    charges = Counter(statement.run for statement in found if statement.kind == "payment")
    assert set(charges.values()) <= {1}, "a run was charged twice"
    told = [statement.attester for statement in found if statement.kind == "identity"]
    assert len(told) == len(set(told)) == 1, "the gateway told its key document more than once"
    for run in {statement.run for statement in found if statement.kind != "identity"}:
        assert (routes[run], closings[run]) == (1, 1), f"{run} has another number of routes or ends in the log"


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def check(layout: Layout, key: str, promises: Promises) -> None:
    interrupted = 0
    for run, digests in promises.closed.items():
        assert statements_of(layout, key, run).keys() == digests, f"the end of {run} was acknowledged and is lost"
    for run, mark in promises.marks.items():
        found = statements_of(layout, key, run)
        closings = [item for item in found.values() if item["predicateType"] == "urn:holdfast:execution:v1"]
        assert len(closings) == 1, f"{run} has {len(closings)} closing statements"
        named = closings[0]["predicate"]["marks"]
        assert named is not None, f"a mark of {run} was acknowledged and is lost"
        assert named["seq"] >= mark["seq"]
        if named["seq"] == mark["seq"]:
            assert named["parts"] == mark["parts"]
        interrupted += closings[0]["predicate"]["event"] == "interrupted"
    assert interrupted, "no kill interrupted a run: the test did not test"


def statements_of(layout: Layout, key: str, run: str) -> dict[str, dict[str, Any]]:
    """Digest to payload of the statements that the gateway now holds of a run. What it cost is told when it is charged,
    a moment later, and is no part of its end."""
    bundle = fetch(f"{layout.url('gateway')}/v1/runs/{run}/bundle", key=key)
    payloads = [
        base64.b64decode(item["envelope"]["payload"]) for item in bundle["journal"] if item["kind"] == "statement"
    ]
    found = {hashlib.sha256(payload).hexdigest(): json.loads(payload) for payload in payloads}
    return {digest: value for digest, value in found.items() if value["predicateType"] != "urn:holdfast:payment:v1"}
