"""The shipped tools that read: what they refuse to reach, and what they give."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.agents.tool import Scope, ToolError
from holdfast.agents.tools.files import MAX_BYTES
from holdfast.agents.tools.kinds import make_tool
from holdfast.agents.world import World
from holdfast.core.agent_files import ToolFile, parse_agent_file
from holdfast.errors import HoldfastError, UsageError
from holdfast.ports.http import Answer
from holdfast.ports.json_rpc import AnsweredError
from holdfast.ports.settings import Secret
from tests.helpers.admissions import DataNode, admitted, refused
from tests.helpers.sources import definition_of

RUN = "018f5c2e-0000-7000-8000-000000000001"
ADDRESS = "0x" + "ab" * 20
NODES = {"data": "http://data.test", "memory": "http://memory.test", "chain": "http://chain.test"}


class Scripted:
    """HTTP, JSON-RPC and a gateway that answer what a test put in, by path or method."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any, str | None]] = []

    async def request(self, method: str, *more: Any, **how: Any) -> Any:
        if not how:  # JSON-RPC
            self.asked.append((method, list(more), None))
            answer = self.answers[method]
            if isinstance(answer, Exception):
                raise answer
            return answer
        headers = how["headers"]
        body = json.loads(how["body"]) if how["body"] else None
        self.asked.append((more[0], body, headers.get("authorization", headers.get("x-api-key"))))
        return Answer(200, json.dumps(self.answers[more[0]]).encode())

    async def infer(self, request: Mapping[str, Any], parent: str) -> tuple[str, Mapping[str, Any]]:
        self.asked.append(("infer", dict(request), parent))
        return RUN, self.answers["infer"]


def tool_file(kind: str, settings: Mapping[str, Any] | None = None, allow: str = "") -> ToolFile:
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in (settings or {}).items())
    text = f'[agent]\nname = "a"\nmodel = "m"\n[[tools]]\nname = "t"\nkind = "{kind}"\neffect = "read"\n'
    return parse_agent_file((text + f"[tools.allow]\n{allow}\n[tools.settings]\n{lines}").encode()).tools["t"]


def made(file: ToolFile, folder: Path, answers: Mapping[str, Any] | None = None) -> tuple[Any, Scripted]:
    scripted = Scripted(answers or {})
    world = World(scripted, folder, NODES, scripted, lambda _: scripted, Secret("workspace", "test"))
    return make_tool(file, world), scripted


def call(tool: Any, arguments: Mapping[str, Any], secrets: Mapping[str, Secret] | None = None) -> Any:
    return asyncio.run(tool.call(arguments, Scope(RUN, secrets or {})))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("admission", {}),
        ("admission", {"source": "rates", "sources": ["x"]}),
        ("admission", {"source": 1}),
        ("files", {}),
        ("files", {"folder": "nowhere"}),
        ("get", {"sources": "rates"}),
        ("hub", {"label": "risk"}),
        ("recall", {"most": "ten"}),
        ("evm_read", {"url": "chain.test"}),
    ],
)
def test_settings_that_a_kind_does_not_have_are_refused(tmp_path: Path, kind: str, settings: Mapping[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        made(tool_file(kind, settings), tmp_path)
    assert caught.value.code in ("tool.settings", "tool.node")


# Files


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with texts, and a secret beside it that links lead to."""
    (tmp_path / "secret.txt").write_text("the reserve of others is empty\n")
    shelf = tmp_path / "shelf"
    (shelf / "deep").mkdir(parents=True)
    (shelf / "a.txt").write_text("The reserve is 120.\nNothing else.\n")
    (shelf / "deep" / "b.txt").write_text("A reserve of old.\n")
    (shelf / "binary").write_bytes(b"\xff\xfe reserve")
    (shelf / "large.txt").write_text("reserve " * (MAX_BYTES // 8 + 1))
    (shelf / ".hidden").write_text("reserve")
    (shelf / "link.txt").symlink_to(tmp_path / "secret.txt")
    (shelf / "out").symlink_to(tmp_path)
    os.mkfifo(shelf / "pipe")
    return shelf


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "/etc/passwd",
        "link.txt",
        "out/secret.txt",
        "deep/../a.txt",
        "deep",
        "pipe",
        ".hidden",
        "binary",
        "large.txt",
        "",
        "a.txt/",
        "a\x00.txt",
    ],
)
def test_nothing_outside_of_the_folder_is_read(shelf: Path, path: str) -> None:
    tool, _ = made(tool_file("files", {"folder": "shelf"}), shelf.parent)
    with pytest.raises(ToolError) as caught:
        call(tool, {"path": path})
    assert "empty" not in caught.value.text


def test_a_search_finds_lines_in_texts_of_the_folder_alone(shelf: Path) -> None:
    tool, _ = made(tool_file("files", {"folder": "shelf"}), shelf.parent)
    found = call(tool, {"query": "Reserve"})
    assert [(hit["file"], hit["line"]) for hit in found["hits"]] == [("a.txt", 1), ("deep/b.txt", 1)]
    assert found["more"] is False
    assert call(tool, {"path": "deep/b.txt"}) == {"file": "deep/b.txt", "text": "A reserve of old.\n"}
    for arguments in ({}, {"query": "a", "path": "a.txt"}):
        with pytest.raises(ToolError):
            call(tool, arguments)


def test_a_folder_that_changes_meanwhile_leads_nowhere_else(shelf: Path) -> None:
    tool, _ = made(tool_file("files", {"folder": "shelf"}), shelf.parent)
    (shelf / "deep" / "b.txt").unlink()
    (shelf / "deep").rmdir()
    (shelf / "deep").symlink_to(shelf.parent)
    with pytest.raises(ToolError):
        call(tool, {"path": "deep/secret.txt"})


# Nodes


def test_an_admission_is_its_value_and_its_statement(tmp_path: Path) -> None:
    signed = DataNode().sign(admitted())
    answers = {"http://data.test/v1/admit": signed.presented.to_json()}
    tool, node = made(tool_file("admission", {"source": "ecb.rates"}, 'pair = "any"'), tmp_path, answers)
    assert tool.parameters["properties"] == {"pair": {"type": "string"}}
    told = call(tool, {"pair": "EUR/USD"})
    assert told["admission"] == signed.digest
    assert told["value"]["text"] == "1.0842"
    question = {"source": "ecb.rates", "parameters": {"pair": "EUR/USD"}}
    assert node.asked == [("http://data.test/v1/admit", question, "Bearer workspace")]


def test_a_refusal_of_the_source_has_no_value(tmp_path: Path) -> None:
    signed = DataNode().sign(refused())
    answers = {"http://data.test/v1/admit": signed.presented.to_json()}
    told = call(made(tool_file("admission", {"source": "s"}), tmp_path, answers)[0], {})
    assert told["value"] is None
    assert told["refused"]


def test_the_workspace_key_goes_to_no_node_that_a_file_names(tmp_path: Path) -> None:
    signed = DataNode().sign(admitted())
    answers = {"http://other.test/v1/admit": signed.presented.to_json()}
    tool, node = made(tool_file("admission", {"source": "s", "url": "http://other.test"}), tmp_path, answers)
    call(tool, {})
    call(tool, {}, {"key": Secret("its-own", "test")})
    assert [asked[2] for asked in node.asked] == [None, "Bearer its-own"]


def test_a_url_that_no_source_would_fetch_is_not_fetched(tmp_path: Path) -> None:
    request = {"url": "https://rates.example/rate/{pair}", "addresses": []}
    definition = definition_of(SimpleNamespace(port=1), None, request=request)  # type: ignore[arg-type]
    signed = DataNode().sign(admitted())
    answers = {
        "http://data.test/v1/sources/s": {"definition": json.loads(definition.raw)},
        "http://data.test/v1/admit": signed.presented.to_json(),
    }
    tool, node = made(tool_file("get", {"sources": ["s"]}), tmp_path, answers)
    for url in (
        "https://evil.test/",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "https://rates.example/rate/../admin",
        "https://rates.example/rate/EUR-USD?to=evil.test",
        "https://rates.example@evil.test/rate/EUR-USD",
    ):
        with pytest.raises(ToolError) as caught:
            call(tool, {"url": url})
        assert "no source" in caught.value.text
    assert {asked[0] for asked in node.asked} == {"http://data.test/v1/sources/s"}
    assert call(tool, {"url": "https://rates.example/rate/EUR-USD"})["admission"] == signed.digest
    assert node.asked[-1][1] == {"source": "rates", "parameters": {"pair": "EUR-USD"}}


def test_a_recall_needs_the_owners_key_and_shows_how_rows_stand(tmp_path: Path) -> None:
    row = {"id": "r", "memory": "Likes tea", "standing": "earned", "authority": "user", "sources": [{"secret": 1}]}
    answers = {"http://memory.test/v1/memories/search": {"memories": [row], "at": "now"}}
    tool, node = made(tool_file("recall"), tmp_path, answers)
    with pytest.raises(ToolError):
        call(tool, {"query": "tea"})
    told = call(tool, {"query": "tea"}, {"key": Secret("owner", "test")})
    assert told["rows"][0]["standing"] == "earned"
    assert "sources" not in told["rows"][0]
    [(_, body, key)] = node.asked
    assert (key, body["run"], body["standings"]) == ("owner", RUN, ["earned", "aging"])


def test_an_inference_is_a_child_of_the_agent_run(tmp_path: Path) -> None:
    answers = {"infer": {"outputs": {"score": {"dtype": "float32", "shape": [], "data": [0.5]}}, "artifact": "ab"}}
    tool, gateway = made(tool_file("hub", {"model": "risk"}), tmp_path, answers)
    told = call(tool, {"inputs": {"x": [1]}})
    assert (told["run"], told["artifact"]) == (RUN, "ab")
    assert gateway.asked == [("infer", {"model": "risk", "mode": "VANILLA", "inputs": {"x": [1]}}, RUN)]
    with pytest.raises(ToolError):
        call(made(tool_file("hub", {"model": "risk"}), tmp_path, {"infer": {}})[0], {"inputs": {}})


def test_a_chain_is_read_at_one_block(tmp_path: Path) -> None:
    answers = {"eth_blockNumber": "0x10", "eth_getBalance": "0x0de0b6b3a7640000", "eth_call": "0x01"}
    tool, chain = made(tool_file("evm_read"), tmp_path, answers)
    assert call(tool, {"read": "balance", "address": ADDRESS}) == {"block": 16, "wei": "1000000000000000000"}
    assert call(tool, {"read": "call", "address": ADDRESS, "data": "0x70a08231"}) == {"block": 16, "data": "0x01"}
    assert chain.asked[-1] == ("eth_call", [{"to": ADDRESS, "data": "0x70a08231"}, "0x10"], None)


@pytest.mark.parametrize(
    ("arguments", "answers"),
    [
        ({"read": "balance", "address": "0x" + "zz" * 20}, {}),
        ({"read": "call", "address": ADDRESS, "data": "0x1"}, {}),
        ({"read": "balance", "address": ADDRESS}, {"eth_blockNumber": None}),
        ({"read": "balance", "address": ADDRESS}, {"eth_blockNumber": "0x1", "eth_getBalance": "0xzz"}),
        ({"read": "call", "address": ADDRESS}, {"eth_blockNumber": "0x1", "eth_call": {"data": "x"}}),
        ({"read": "call", "address": ADDRESS}, {"eth_blockNumber": "0x1", "eth_call": AnsweredError(3, "reverted")}),
    ],
)
def test_what_is_no_answer_of_a_chain_is_an_error(tmp_path: Path, arguments: Any, answers: Any) -> None:
    with pytest.raises((ToolError, HoldfastError)):
        call(made(tool_file("evm_read"), tmp_path, answers)[0], arguments)
