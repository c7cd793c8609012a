"""Agents that are led in a test: a model whose answers a test writes, tools that remember, and a gateway in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.agents.record import Record
from holdfast.agents.runner import Happening, Offer, Runner, make_offer
from holdfast.agents.runs import AgentRun, AgentRuns, RecordedRun
from holdfast.agents.tool import Act, Fate, Happened, Scope
from holdfast.client.errors import parse_error
from holdfast.core import canonical
from holdfast.core.agent_files import AgentFile, parse_agent_file
from holdfast.core.agents import parse_children
from holdfast.core.bundles import DocumentItem, parse_bundle
from holdfast.ports.upstream import UpstreamAnswer
from tests.helpers import asgi
from tests.helpers.gateway_world import KEY, World
from tests.helpers.log import AppHTTP
from tests.helpers.upstreams import MODEL, ScriptedUpstream, chat_completion

GATEWAY = "http://gateway"
FILE = f"""
[agent]
name = "treasurer"
model = "{MODEL}"
goal = "Keep the reserve above 100"

[[tools]]
name = "look"
kind = "files"
effect = "read"
allow = {{ at = "any" }}

[[tools]]
name = "wire"
kind = "evm_transaction"
effect = "pay"
queue = "treasury"
allow = {{ to = ["0xabc"], amount = {{ most = "10" }} }}
"""


def calls(*asked: tuple[str, Any]) -> dict[str, Any]:
    """A model's message that calls tools; arguments that are a text stand as they are."""
    listed = [
        {
            "id": f"c{number}",
            "type": "function",
            "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
        }
        for number, (name, given) in enumerate(asked)
    ]
    return {"role": "assistant", "content": None, "tool_calls": listed}


def says(text: str) -> dict[str, Any]:
    """A model's message that ends it."""
    return {"role": "assistant", "content": text}


Voice = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""A chat request to the message that answers it."""


@dataclass
class Talker(ScriptedUpstream):
    """An upstream whose answers follow from what it is asked."""

    voice: Voice = field(default=lambda _: says("done"))
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def complete(self, path: str, body: bytes, *, timeout_s: float) -> UpstreamAnswer:
        assert timeout_s > 0
        request = json.loads(body)
        self.asked.append(request)
        message = self.voice(request)
        whole = {**chat_completion(), "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        return UpstreamAnswer(200, "application/json", json.dumps(whole).encode())


def in_turn(*messages: Mapping[str, Any]) -> Voice:
    """One message after another, the last one for ever."""
    left = list(messages)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


@dataclass
class Look:
    """A tool that reads: it gives what a test put in and remembers what it was asked."""

    gives: Any = field(default_factory=lambda: {"eur": "1.07"})
    asked: list[Any] = field(default_factory=list)
    name: str = "look"
    description: str = "Looks."
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {"at": {"type": "string"}}}
    )

    async def call(self, arguments: Mapping[str, Any], scope: Scope) -> Any:
        self.asked.append(dict(arguments))
        given = self.gives(arguments) if callable(self.gives) else self.gives
        if isinstance(given, Exception):
            raise given
        return given


@dataclass
class Wire:
    """A tool that pays: nothing of it may be called by a runner."""

    carried_out: list[Act] = field(default_factory=list)
    name: str = "wire"
    description: str = "Pays."
    effect: str = "pay"
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: {
            "type": "object",
            "properties": {"to": {"type": "string"}, "amount": {"type": "string"}},
            "required": ["to", "amount"],
        }
    )

    async def prepare(self, act: Act) -> bytes:
        self.carried_out.append(act)
        return b""

    async def carry_out(self, act: Act, prepared: bytes) -> Any:
        self.carried_out.append(act)

    async def look(self, act: Act, prepared: bytes) -> Happened | Fate:
        self.carried_out.append(act)
        return Fate.UNKNOWN


class WorldModel:
    """The gateway of a world as an agent's model."""

    def __init__(self, world: World) -> None:
        self._app = world.app()

    async def ask(self, request: Mapping[str, Any], parent: str) -> tuple[str, Mapping[str, Any]]:
        headers = [("authorization", f"Bearer {KEY}"), ("x-holdfast-parent", parent)]
        reply = await asgi.request(self._app, "POST", "/v1/chat/completions", json.dumps(request).encode(), headers)
        if reply.status != 200:
            raise parse_error(reply.status, reply.body, GATEWAY)
        document = canonical.decode_exact(reply.body)
        carrier = document.pop("holdfast")
        return str(carrier["run"]), document


@dataclass
class Led:
    """One agent around a world: what leads it, and what was seen."""

    runner: Runner
    runs: AgentRuns
    look: Look
    wire: Wire
    record: Path
    seen: list[Happening] = field(default_factory=list)
    said: list[Mapping[str, Any]] = field(default_factory=list)
    """Bodies of the steps that were told."""
    capabilities: dict[str, str] = field(default_factory=dict)
    """Of the steps."""

    def watch_steps(self) -> None:
        """Note what is told to the gateway, and the capabilities that come back."""
        step = self.runs.step

        async def watched(agent: AgentRun, body: Mapping[str, Any], **more: Any) -> RecordedRun:
            self.said.append(body)
            made = await step(agent, body, **more)
            self.capabilities[made.run] = made.capability
            return made

        self.runs.step = watched  # type: ignore[method-assign]

    def what(self, kind: str) -> list[Happening]:
        return [item for item in self.seen if item.what == kind]


def led(world: World, folder: Path, *, text: str = FILE, look: Look | None = None, http: Any = None) -> Led:
    """A runner of an agent file whose tools are a :class:`Look` and a :class:`Wire`."""
    file = parse_agent_file(text.encode())
    first, second, seen = look or Look(), Wire(), list[Happening]()
    offers = offers_of(file, {"look": first, "wire": second})
    runs = AgentRuns(http or AppHTTP({GATEWAY: world.app()}), GATEWAY, KEY)
    record = folder / "agents" / "record.jsonl"
    runner = Runner(
        file, offers, runs, WorldModel(world), world.clock, record=Record(record), gateway=GATEWAY, watch=seen.append
    )
    whole = Led(runner, runs, first, second, record, seen)
    whole.watch_steps()
    return whole


def offers_of(file: AgentFile, tools: Mapping[str, Any]) -> dict[str, Offer]:
    """The tools of a file, each by its name."""
    return {name: make_offer(tool, tools[name], {}) for name, tool in file.tools.items()}


async def documents(world: World, run: str, capability: str) -> dict[str, Any]:
    """Request and response of a run, as its bundle discloses them."""
    reply = await asgi.request(
        world.app(), "GET", f"/v1/runs/{run}/bundle", headers=[("x-holdfast-capability", capability)]
    )
    assert reply.status == 200, reply.body
    items = [entry.item for entry in parse_bundle(reply.body).journal]
    found = [item for item in items if isinstance(item, DocumentItem)]
    return {item.document: canonical.decode_exact(item.text.encode()) for item in found}


async def listed(world: World, run: str, capability: str) -> Sequence[str]:
    """The endpoints of an agent run's children, as its answer lists them."""
    shown = await documents(world, run, capability)
    return [child.endpoint for child in parse_children(shown["response"])]
