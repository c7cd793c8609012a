"""The MCP server in one process with the SDK's own client: what it lists, and what it refuses before it asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

from holdfast.agents.mcp_desk import MOST_KEPT, Desk
from holdfast.agents.mcp_schemas import OFFERS
from holdfast.agents.mcp_server import check_arguments, make_server
from holdfast.errors import HoldfastError, RefusedError
from holdfast.verifier.lanes import LANES

RUN = "019b76da-a800-70c8-9215-35f11ffa1fae"


class NobodyAsked:
    """Stands where a gateway or a panel would be, and fails a test that asks it."""

    trust = None

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")


class Broken:
    """A panel that answers with an error."""

    async def case(self, case: str) -> Any:
        raise RefusedError("auth.wrong", "this key is not known here", status=401)


def nobody(**parts: Any) -> Desk:
    gateway: Any = NobodyAsked()
    return Desk(gateway, **parts)


def with_client(desk: Desk, work: Callable[[Client], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with Client(make_server(desk)) as client:
            return await work(client)

    return asyncio.run(run())


def call(desk: Desk, name: str, arguments: dict[str, Any]) -> Any:
    return with_client(desk, lambda client: client.call_tool(name, arguments))


def code_of(result: Any) -> str:
    assert result.is_error
    assert result.structured_content is None
    return str(json.loads(result.content[0].text)["error"]["code"])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ask", {}),
        ("ask", {"question": ""}),
        ("ask", {"question": "x", "parent": RUN}),
        ("ask", {"question": "x", "queue": "default"}),
        ("ask", {"question": "x", "key": "hf_x"}),
        ("ask", {"question": 7}),
        ("verify", {"run": "../x"}),
        ("verify", {"run": RUN, "trust": "{}"}),
        ("case", {"case": RUN, "decide": "clear"}),
        ("case", {"queue": "No Code"}),
        ("case", {"queue": "default", "limit": 5000}),
        ("admit", {"source": "x", "parameters": {"a": {"b": 1}}}),
        ("admit", {"source": "x", "url": "http://127.0.0.1"}),
        ("recall", {"query": "x", "owner": "somebody"}),
    ],
)
def test_arguments_that_no_schema_names_are_refused_before_anybody_is_asked(name: str, arguments: Any) -> None:
    parts: Any = NobodyAsked()
    desk = nobody(panel=parts, data=parts, memory=(parts, parts))
    assert code_of(call(desk, name, arguments)) == "mcp.arguments"


@pytest.mark.parametrize("arguments", [{}, {"run": RUN, "bundle": "{}"}])
def test_what_is_to_be_judged_is_named_once(arguments: dict[str, Any]) -> None:
    assert code_of(call(nobody(), "verify", arguments)) == "mcp.arguments"


def test_a_bundle_that_is_none_is_an_error_and_no_verdict() -> None:
    assert code_of(call(nobody(), "verify", {"bundle": "{}"})).startswith("bundle.")


@pytest.mark.parametrize("name", ["case", "admit", "recall", "release", "decide"])
def test_a_tool_with_nothing_behind_it_is_not_there(name: str) -> None:
    assert code_of(call(nobody(), name, {"query": "x"} if name == "recall" else {})) == "mcp.tool"


def test_an_error_keeps_its_code() -> None:
    panel: Any = Broken()
    assert code_of(call(nobody(panel=panel), "case", {"case": RUN})) == "auth.wrong"


@pytest.mark.parametrize(
    "uri",
    ["holdfast://runs/x/bundle", f"holdfast://runs/{RUN}", "file:///etc/passwd", f"holdfast://runs/{RUN}/bundle/.."],
)
def test_a_resource_that_is_no_bundle_is_not_there(uri: str) -> None:
    async def read(client: Client) -> str:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(uri)
        return refused.value.message

    assert with_client(nobody(), read).startswith("mcp.resource: ")


def test_only_what_there_is_something_behind_is_listed() -> None:
    part: Any = NobodyAsked()

    async def names(client: Client) -> list[str]:
        return [tool.name for tool in (await client.list_tools()).tools]

    assert with_client(nobody(), names) == ["ask", "verify"]
    assert with_client(nobody(panel=part, data=part, memory=(part, part)), names) == list(OFFERS)


def test_what_asks_or_signs_does_not_claim_to_read_only() -> None:
    part: Any = NobodyAsked()

    async def tools(client: Client) -> dict[str, Any]:
        return {tool.name: tool.annotations for tool in (await client.list_tools()).tools}

    hints = with_client(nobody(panel=part, data=part, memory=(part, part)), tools)
    assert {name for name, hint in hints.items() if hint.read_only_hint} == {"verify", "case", "recall"}
    assert not any(hint.destructive_hint for hint in hints.values())
    assert {name for name, hint in hints.items() if hint.open_world_hint} == {"ask", "admit"}


@pytest.mark.parametrize("name", OFFERS)
def test_schemas_are_closed_and_are_schemas(name: str) -> None:
    offer = OFFERS[name]
    assert offer.arguments["additionalProperties"] is False
    Draft202012Validator.check_schema(offer.arguments)
    Draft202012Validator.check_schema(offer.result)


@pytest.mark.parametrize("name", ["ask", "verify"])
def test_every_lane_is_told_and_none_sums_them_up(name: str) -> None:
    lanes = OFFERS[name].result["properties"]["lanes"]
    assert tuple(lanes["properties"]) == LANES == tuple(lanes["required"])
    assert not {"verified", "score", "state", "verdict"} & OFFERS[name].result["properties"].keys()


def test_capabilities_are_kept_for_the_newest_runs_only() -> None:
    desk = nobody()
    for number in range(MOST_KEPT + 3):
        desk._keep(f"run-{number}", "00")
    assert len(desk.runs) == MOST_KEPT
    assert desk.runs[0] == f"run-{MOST_KEPT + 2}"
    assert "run-2" not in desk.runs


def test_arguments_of_a_tool_that_nobody_knows_are_left_to_the_desk() -> None:
    check_arguments("nobody", {"x": 1})
    with pytest.raises(HoldfastError, match=r"mcp\.tool"):
        asyncio.run(nobody().call("nobody", {}))
