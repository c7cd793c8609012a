"""Tool calls and tool results, with the official ``openai`` client unchanged: they pass both ways, and each is a part.

The upstream here is scripted: asked with tools it calls one, told the tool's result it answers with it.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any, Self

import openai
import pytest

from holdfast.core.encoding import hex_decode
from holdfast.core.parts import verify_document
from holdfast.core.statements import parse_tree
from tests.helpers import upstreams as fake
from tests.helpers.live_gateway import KEY, LiveGateway, serving, upstream
from tests.helpers.upstreams import FaultyServer

pytestmark = pytest.mark.enable_socket
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
ASKED: Any = {"role": "user", "content": "Do I need an umbrella in Oslo?"}
ARGUMENTS = '{"city": "Oslo",  "unit":"celsius"}'
"""With its white space: arguments are a string of the model's, and nobody spells them anew."""
RESULT = '{"sky":"rain","celsius":7.0}'
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}


async def call_a_tool(request: fake.Request, writer: asyncio.StreamWriter) -> bool:
    """The scripted upstream."""
    if request.method == "GET":
        return await fake.chat_server(request, writer)
    asked = request.json()
    assert asked["tools"] == TOOLS
    last = asked["messages"][-1]
    if last["role"] == "tool":
        assert asked["messages"][-2]["tool_calls"] == [CALL]
        said = {"role": "assistant", "content": f"The tool says {last['content']}: take one."}
        message, finish, pieces = said, "stop", [{"role": "assistant"}, {"content": said["content"]}]
    else:
        message, finish = {"role": "assistant", "content": None, "tool_calls": [CALL]}, "tool_calls"
        head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
        halves = (ARGUMENTS[:9], ARGUMENTS[9:])
        pieces = [{"role": "assistant", "content": None, "tool_calls": [head]}]
        pieces += [{"tool_calls": [{"index": 0, "function": {"arguments": half}}]} for half in halves]
    base = {"id": "chatcmpl-1", "created": 1, "model": fake.MODEL}
    if not asked.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return await fake.answer({**base, "object": "chat.completion", "choices": [choice]})(request, writer)
    frames: list[Any] = [
        {**base, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in pieces
    ]
    frames.append({**frames[-1], "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return await fake.events([json.dumps(frame).encode() for frame in frames])(request, writer)


class Server:
    """The upstream on loopback, in a thread of its own."""

    def __init__(self) -> None:
        self.base_url = ""
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="upstream")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        async def main() -> None:
            async with FaultyServer(call_a_tool) as server:
                self.base_url = server.base_url
                self._ready.set()
                await asyncio.to_thread(self._stop.wait)

        asyncio.run(main())


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with (
        Server() as server,
        serving(tmp_path_factory.mktemp("tools"), upstreams=(upstream(server.base_url),), builtin=False) as live,
    ):
        yield live


@pytest.fixture
def client(gateway: LiveGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0) as made:
        yield made


def bound(gateway: LiveGateway, client: openai.OpenAI, ours: dict[str, Any]) -> dict[str, bytes]:
    """Every part of a run (label without its last member's place to bytes) that its signed roots bind."""
    headers = {"authorization": openai.Omit(), "x-holdfast-capability": ours["capability"]}
    bundle: Any = client.get(f"/runs/{ours['run']}/bundle", cast_to=object, options={"headers": headers})
    trees: dict[str, Any] = {}
    for statement in gateway.statements(ours["run"]):
        predicate = statement["predicate"]
        trees |= {name: predicate[name] for name in ("request", "response") if predicate.get(name)}
    found = {}
    for item in bundle["journal"]:
        if item["kind"] == "document":
            name, secret = item["document"], hex_decode(ours["capability"], 32)
            tree = parse_tree(trees[name])
            checked = verify_document(name, item["text"].encode(), ours["run"], secret, tree)
            found |= {f"{name} {part.label.decode().rpartition('|')[2]}": part.data for part in checked.parts}
    return found


def check_call(found: dict[str, bytes]) -> None:
    """The call's name and arguments are parts of the response, byte for byte."""
    base = "response /choices/0/message/tool_calls/0"
    assert found[f"{base}/id"] == b"call_1"
    assert found[f"{base}/function/name"] == b"weather"
    assert found[f"{base}/function/arguments"] == ARGUMENTS.encode()


def test_a_tool_call_and_its_result_pass_unchanged_and_are_parts(gateway: LiveGateway, client: openai.OpenAI) -> None:
    first = client.chat.completions.create(model=fake.MODEL, messages=[ASKED], tools=TOOLS)
    [call] = first.choices[0].message.tool_calls or []
    assert first.choices[0].finish_reason == "tool_calls"
    assert call.model_dump(exclude_none=True) == CALL
    ours = (first.model_extra or {})["holdfast"]
    found = bound(gateway, client, ours)
    check_call(found)
    assert found["request /tools/0/function/name"] == b"weather"

    told: Any = {"role": "tool", "tool_call_id": call.id, "content": RESULT}
    said: Any = first.choices[0].message.model_dump(exclude_none=True)
    second = client.chat.completions.create(
        model=fake.MODEL,
        messages=[ASKED, said, told],
        tools=TOOLS,
        extra_body={"holdfast": {"parent_run": ours["run"]}},
    )
    assert second.choices[0].message.content == f"The tool says {RESULT}: take one."
    later = (second.model_extra or {})["holdfast"]
    found = bound(gateway, client, later)
    assert found["request /messages/1/tool_calls/0/function/arguments"] == ARGUMENTS.encode()
    assert found["request /messages/2/tool_call_id"] == b"call_1"
    assert found["request /messages/2/content"] == RESULT.encode()
    assert {item["predicate"]["parent_run"] for item in gateway.statements(later["run"])} == {ours["run"]}


def test_a_streamed_tool_call_is_rebuilt_by_the_client_and_bound_as_the_whole_one(
    gateway: LiveGateway, client: openai.OpenAI
) -> None:
    frames = list(client.chat.completions.create(model=fake.MODEL, messages=[ASKED], tools=TOOLS, stream=True))
    deltas = [call for frame in frames for choice in frame.choices for call in choice.delta.tool_calls or []]
    assert deltas[0].function is not None
    assert deltas[0].function.name == "weather"
    assert "".join(call.function.arguments or "" for call in deltas if call.function) == ARGUMENTS
    assert frames[-1].choices[0].finish_reason == "tool_calls"
    first, last = ((frame.model_extra or {}).get("holdfast") for frame in (frames[0], frames[-1]))
    assert first is not None
    assert last is not None
    assert last["outcome"] == "complete"
    check_call(bound(gateway, client, first | last))


def test_a_streamed_answer_to_a_tool_result_passes(client: openai.OpenAI) -> None:
    messages: Any = [
        ASKED,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": RESULT},
    ]
    frames = client.chat.completions.create(model=fake.MODEL, messages=messages, tools=TOOLS, stream=True)
    text = "".join(frame.choices[0].delta.content or "" for frame in frames if frame.choices)
    assert text == f"The tool says {RESULT}: take one."
