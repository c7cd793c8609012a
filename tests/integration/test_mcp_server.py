"""``holdfast mcp serve`` as other people's hosts use it: the SDK's own client, over a process's standard streams and
over HTTP, against a whole network.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from holdfast.verifier.lanes import LANES
from tests.helpers.processes import NetworkProcess, fetch, holdfast, network, wait_for

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]
PASSPHRASE = "eleven lanes and no colour"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    with network(tmp_path_factory.mktemp("mcp") / "state") as found:
        passphrase = tmp_path_factory.mktemp("passphrase") / "passphrase"
        passphrase.write_text(PASSPHRASE)
        state = ["--state", str(found.state)]
        assert holdfast("memory", "key", "new", *state, "--passphrase", f"file:{passphrase}").returncode == 0
        assert holdfast("memory", "add", "I keep bees in Oslo.", *state).returncode == 0
        yield found


def serve(net: NetworkProcess, *options: str) -> list[str]:
    return ["-m", "holdfast.cli", "mcp", "serve", "--state", str(net.state), *options]


def talk(work: Callable[[Client], Awaitable[Any]], *arguments: str, mode: str = "auto", **environment: str) -> Any:
    """What a host finds out over a server's standard streams."""

    async def run() -> Any:
        start = StdioServerParameters(command=sys.executable, args=[*arguments], env={**os.environ, **environment})
        async with Client(stdio_client(start), mode=mode) as client:
            return await work(client)

    return asyncio.run(run())


async def until(question: Callable[[], Awaitable[Any]], enough: Callable[[Any], Any]) -> Any:
    """Ask until the answer is enough, for half a minute."""
    for _ in range(60):
        told = await question()
        if enough(told):
            return told
        await asyncio.sleep(0.5)
    raise AssertionError(f"never came: {told}")


@dataclass
class Found:
    """What one host found out, in one conversation."""

    parent: str
    refused: list[Any]
    runs_of_refused: int
    told: Any
    told_as_text: str
    listed: list[str]
    judged: Any
    bundle: str
    damaged: Any
    case: Any
    sources: list[Any]
    admitted: Any
    rows: list[Any]


async def converse(net: NetworkProcess, parent: str, client: Client) -> Found:
    async def call(name: str, **arguments: Any) -> Any:
        told = await client.call_tool(name, arguments)
        assert not told.is_error, told.content
        return told.structured_content

    before = len(runs(net))
    beyond = ({"parent": parent}, {"queue": "default"}, {"settlement": "private"})
    refused = [await client.call_tool("ask", {"question": "x", **more}) for more in beyond]
    runs_of_refused = len(runs(net)) - before
    raw = await client.call_tool("ask", {"question": "What is 3 times 4?"})
    told = raw.structured_content
    listed = [item.uri for item in (await client.list_resources()).resources]
    required = ["bytes=proven:signature", "computation=proven", "settlement=proven"]
    judged = await until(
        lambda: call("verify", run=told["run"], require=required),
        lambda found: found["lanes"]["settlement"]["state"] == "proven",
    )
    bundle = (await client.read_resource(listed[0])).contents[0].text
    cases = await until(lambda: call("case", run=told["run"]), lambda found: found["cases"])
    return Found(
        parent,
        refused,
        runs_of_refused,
        told,
        raw.content[0].text,
        listed,
        judged,
        bundle,
        await client.call_tool("verify", {"bundle": bundle.replace('"run":"', '"run":"0', 1)}),
        (await call("case", case=cases["cases"][0]["id"]))["cases"][0],
        (await call("admit"))["sources"],
        await call("admit", source="demo-clock", parameters={"zone": "utc"}),
        (await call("recall", query="bees"))["rows"],
    )


@pytest.fixture(scope="module")
def found(net: NetworkProcess) -> Found:
    body = {"agent": {"name": "guest", "tools": []}}
    parent = fetch(f"{net.ready['gateway']}/v1/runs", key=net.key, body=json.dumps(body).encode())["run"]
    options = serve(net, "--parent", parent, "--queue", "default")
    told: Found = talk(lambda client: converse(net, parent, client), *options)
    return told


def runs(net: NetworkProcess) -> set[str]:
    return {item["run"] for item in fetch(f"{net.ready['gateway']}/v1/runs?limit=200", key=net.key)["runs"]}


def test_what_a_model_writes_names_no_parent_or_queue_and_asks_nobody(found: Found) -> None:
    codes = {json.loads(told.content[0].text)["error"]["code"] for told in found.refused if told.is_error}
    assert codes == {"mcp.arguments"}
    assert found.runs_of_refused == 0


def test_evidence_that_was_damaged_is_refused(found: Found) -> None:
    assert found.damaged.is_error


def test_an_answer_comes_bound_with_every_lane(net: NetworkProcess, found: Found) -> None:
    told = found.told
    assert json.loads(found.told_as_text) == told
    assert "12" in told["answer"]
    assert tuple(told["lanes"]) == LANES
    assert told["lanes"]["bytes"]["state"] == "proven"
    assert told["lanes"]["computation"]["state"] == "unknown"
    assert told["trust"]["development"] is True
    assert net.key not in found.told_as_text + found.bundle


def test_its_bundle_is_a_resource_that_verifies_offline(net: NetworkProcess, found: Found, tmp_path: Path) -> None:
    assert found.listed == [found.told["bundle"]]
    (tmp_path / "bundle.json").write_text(found.bundle)
    trust = str(tmp_path / "trust.json")
    assert holdfast("trust", "export", "--state", str(net.state), "-o", trust).returncode == 0
    checked = holdfast("verify", str(tmp_path / "bundle.json"), "--trust", trust, "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["bundle"]["run"] == found.told["run"]


def test_requirements_are_told_one_by_one(found: Found) -> None:
    answers = [item["answer"] for item in found.judged["requirements"]]
    assert answers == ["yes", "cannot_tell", "yes"]
    assert not {"verified", "verdict", "score"} & found.judged.keys()


def test_what_is_asked_stands_under_the_agent_run_and_in_the_queue_that_the_owner_named(
    net: NetworkProcess, found: Found
) -> None:
    children = fetch(f"{net.ready['gateway']}/v1/runs/{found.parent}/children", key=net.key)["children"]
    assert [child["run"] for child in children] == [found.told["run"]]
    assert (found.case["run"], found.case["queue"]) == (found.told["run"], "default")
    assert tuple(found.case["lanes"]) == LANES
    assert len(found.case["policy"]) == 64


def test_facts_are_admitted_and_rows_found_each_with_how_it_stands(found: Found) -> None:
    assert "demo-clock" in {item["id"] for item in found.sources}
    assert found.admitted["refusal"] is None
    assert list(found.admitted["lanes"]) == ["inputs"]
    assert len(found.admitted["statement"]) == 64
    assert any("bees" in row["memory"] and row["standing"] for row in found.rows)


def test_a_host_of_an_older_protocol_gets_what_there_are_keys_for_and_no_more(net: NetworkProcess) -> None:
    async def names(client: Client) -> list[str]:
        return [tool.name for tool in (await client.list_tools()).tools]

    options = ["-m", "holdfast.cli", "mcp", "serve", "--gateway", net.ready["gateway"], "--key", "env:GIVEN"]
    assert talk(names, *options, mode="legacy", GIVEN=net.key) == ["ask", "verify"]


# --- over HTTP --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def listening(net: NetworkProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text("a-token\n")
    options = serve(net, "--listen", "127.0.0.1:0", "--token-file", str(token))
    process = subprocess.Popen([sys.executable, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().removeprefix("listening: ").strip()
    finally:
        process.terminate()
        process.wait(10)
        with contextlib.suppress(OSError):
            process.stdout.close()


def knock(url: str, **headers: str) -> int:
    """The status of one initialize."""
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
    }
    given = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    request = urllib.request.Request(url, json.dumps(body).encode(), {**given, **headers})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_whoever_shows_no_token_is_answered_nothing(listening: str) -> None:
    assert wait_for(lambda: knock(listening, authorization="Bearer a-token") == 200, what="the server")
    assert knock(listening) == 401
    assert knock(listening, authorization="Bearer another") == 401


def test_a_web_page_and_a_name_that_points_here_are_refused(listening: str) -> None:
    shown = {"authorization": "Bearer a-token"}
    assert knock(listening, **shown, origin="https://example.org") == 403
    assert knock(listening, **shown, host="example.org") == 421


def test_the_same_tools_are_there_over_http(listening: str) -> None:
    import httpx2  # noqa: PLC0415 - comes with the SDK
    from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415

    async def run() -> Any:
        async with (
            httpx2.AsyncClient(headers={"authorization": "Bearer a-token"}, timeout=60) as http,
            Client(streamable_http_client(listening, http_client=http)) as client,
        ):
            listed = [tool.name for tool in (await client.list_tools()).tools]
            return listed, await client.call_tool("ask", {"question": "What is 3 times 4?"})

    listed, told = asyncio.run(run())
    assert listed == ["ask", "verify", "case", "admit", "recall"]
    assert "12" in told.structured_content["answer"]


def test_another_machine_is_not_listened_to() -> None:
    done = holdfast("mcp", "serve", "--gateway", "http://127.0.0.1:1", "--listen", "0.0.0.0:1")
    assert done.returncode == 2
    assert "mcp.listen" in done.stderr
