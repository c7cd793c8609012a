"""What the MCP server's tools do, without MCP: each takes arguments that its schema allows and gives a JSON object.

An answer is given once its statements bind it and never before. Lanes are judged here, with this desk's trust, and
stand side by side. Which workspace asks, under which agent run and for which queue is fixed when the desk is made.

Not covered: the protocol (``agents.mcp_server``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from holdfast.agents.mcp_schemas import MAX_ROWS
from holdfast.client.data import DataClient, judge_admission
from holdfast.client.gateway import GatewayClient
from holdfast.client.memory import MemoryClient
from holdfast.client.panel import PanelClient, parse_lanes, parse_listed, parse_row
from holdfast.core import canonical
from holdfast.core.admissions import parse_admission
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import time_encode
from holdfast.core.statements import is_run_id, parse_envelope
from holdfast.errors import UnavailableError, UsageError
from holdfast.ports.settings import Secret
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.lanes import Lane
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy, parse_requirement

MOST_KEPT = 256
"""Runs whose capability is kept, newest first; what is older is read as the workspace's key may."""
RUNS = "holdfast://runs/"
BUNDLE = "/bundle"
JSON = dict[str, Any]
Part = TypeVar("Part")


class Desk:
    """See the module. A part that is None is not offered: :attr:`offered` names what is."""

    def __init__(
        self,
        gateway: GatewayClient,
        *,
        panel: PanelClient | None = None,
        data: DataClient | None = None,
        memory: tuple[MemoryClient, Secret] | None = None,
        model: str | None = None,
        parent: str | None = None,
        queue: str | None = None,
    ) -> None:
        self._gateway = gateway
        self._panel = panel
        self._data = data
        self._memory = memory
        self._model = model
        self._parent = parent
        self._queue = queue
        self._capabilities: OrderedDict[str, str] = OrderedDict()

    @property
    def offered(self) -> tuple[str, ...]:
        """Names of the tools that there is something behind."""
        parts = {"case": self._panel, "admit": self._data, "recall": self._memory}
        return ("ask", "verify", *(name for name, part in parts.items() if part is not None))

    @property
    def runs(self) -> tuple[str, ...]:
        """Runs that were asked here and are kept, newest first."""
        return tuple(reversed(self._capabilities))

    async def call(self, name: str, arguments: Mapping[str, Any]) -> JSON:
        """One tool; raises what its node answers, and ``mcp.*``."""
        if name not in self.offered:
            raise UsageError(
                "mcp.tool", f"there is no tool {name[:64]!r} here", hint=f"there is {', '.join(self.offered)}"
            )
        calls = {"ask": self.ask, "verify": self.verify, "case": self.case, "admit": self.admit, "recall": self.recall}
        return await calls[name](arguments)

    async def ask(self, arguments: Mapping[str, Any]) -> JSON:
        """Ask a model; the answer, bound, and its lanes."""
        model = arguments.get("model") or self._model or await self._first_model()
        instructions = arguments.get("instructions")
        messages = [] if instructions is None else [{"role": "system", "content": instructions}]
        messages.append({"role": "user", "content": arguments["question"]})
        bound = await self._gateway.ask(
            {"model": model, "messages": messages}, parent_run=self._parent, queue=self._queue
        )
        turn = bound.turn
        self._keep(turn.run, turn.capability)
        judged = await self._gateway.appraise(turn.run, turn.capability)
        return {
            "run": turn.run,
            "answer": turn.text,
            "outcome": turn.outcome,
            "model": str(turn.response.get("model", model)),
            "checked": bound.attester.checked.says,
            "bundle": f"{RUNS}{turn.run}{BUNDLE}",
            "trust": _trust(judged),
            "lanes": _lanes(judged.lanes),
        }

    async def verify(self, arguments: Mapping[str, Any]) -> JSON:
        """Judge a bundle with this desk's trust. Raises ``mcp.arguments``, ``bundle.*`` and ``policy.*``."""
        _exactly_one(arguments, "run", "bundle")
        required = [parse_requirement(text) for text in arguments.get("require", ())]
        if "run" in arguments:
            run = arguments["run"]
            judged = await self._gateway.appraise(run, self._capabilities.get(run))
        else:
            bundle = parse_bundle(arguments["bundle"].encode())
            judged = appraise(bundle, self._gateway.trust, parse_policy(DEFAULT_POLICY), bundle.exported_at)
        return {
            "run": judged.run,
            "bundle_digest": judged.bundle_digest,
            "at": time_encode(judged.at),
            "policy": {"name": judged.policy_name, "digest": judged.policy_digest},
            "trust": _trust(judged),
            "lanes": _lanes(judged.lanes),
            "checks": [check.to_json() for check in judged.transcript],
            "requirements": [
                {"requirement": str(item), "answer": item.answer(judged.lanes[item.lane])} for item in required
            ],
        }

    async def case(self, arguments: Mapping[str, Any]) -> JSON:
        """Cases as the panel has them; the panel's word."""
        panel = _there(self._panel)
        _exactly_one(arguments, "case", "run", "queue")
        if "case" in arguments:
            rows: Sequence[Any] = [await panel.case(arguments["case"])]
        else:
            limit = arguments.get("limit", MAX_ROWS)
            told = await panel.cases(run=arguments.get("run"), queue=arguments.get("queue"), limit=limit)
            rows = parse_listed(told, "cases")
        return {"cases": [_case(parse_row(row)) for row in rows]}

    async def admit(self, arguments: Mapping[str, Any]) -> JSON:
        """A fact from outside with the lane that it comes to, or the sources that there are."""
        data = _there(self._data)
        if "source" not in arguments:
            return {"sources": [_source(item) for item in parse_listed(await data.sources(), "sources")]}
        shown = await data.admit(arguments["source"], arguments.get("parameters", {}))
        document = parse_admission(shown.document)
        return {
            "value": None if document.value is None else document.value.to_json(),
            "refusal": None
            if document.refusal is None
            else {"code": document.refusal.code, "says": document.refusal.says},
            "statement": parse_envelope(shown.envelope).digest,
            "document": canonical.decode(shown.document),
            "lanes": _lanes({"inputs": judge_admission(shown, self._gateway.trust)}),
        }

    async def recall(self, arguments: Mapping[str, Any]) -> JSON:
        """Rows as the memory node finds them, each with its standing."""
        memory, key = _there(self._memory)
        body: canonical.JSON = {"query": arguments["query"], "limit": arguments.get("limit", 10)}
        told = canonical.decode_object(await memory.send("POST", "/memories/search", key.reveal(), body))
        return {"rows": parse_listed(told, "memories")}

    async def read(self, uri: str) -> bytes:
        """The bundle that a resource's URI names; raises ``mcp.resource`` and what the gateway answers."""
        run = uri.removeprefix(RUNS).removesuffix(BUNDLE)
        if uri != f"{RUNS}{run}{BUNDLE}" or not is_run_id(run):
            raise UsageError("mcp.resource", "there is no such resource", hint=f"{RUNS}RUN{BUNDLE}", status=404)
        return await self._gateway.bundle(run, self._capabilities.get(run))

    def _keep(self, run: str, capability: str) -> None:
        self._capabilities[run] = capability
        while len(self._capabilities) > MOST_KEPT:
            self._capabilities.popitem(last=False)

    async def _first_model(self) -> str:
        models = await self._gateway.models()
        if not models:
            raise UnavailableError("mcp.model", "the gateway offers no model", hint="connect one, or name another")
        return models[0]


def _exactly_one(arguments: Mapping[str, Any], *names: str) -> None:
    if sum(name in arguments for name in names) != 1:
        raise UsageError("mcp.arguments", f"give exactly one of {', '.join(names)}")


def _there(part: Part | None) -> Part:
    if part is None:
        raise UsageError("mcp.tool", "this tool has nothing behind it here")
    return part


def _lanes(lanes: Mapping[str, Lane]) -> JSON:
    return {name: lane.to_json() for name, lane in lanes.items()}


def _trust(judged: Appraisal) -> JSON | None:
    if judged.trust_digest is None:
        return None
    return {"digest": judged.trust_digest, "pinned": judged.trust_pin, "development": judged.trust_development}


def _case(row: Mapping[str, Any]) -> JSON:
    """A row without its journal, which is read at the panel."""
    kept = ("id", "run", "queue", "state", "opened_at", "changed_at", "policy", "subject", "reasons")
    return {**{name: row.get(name) for name in kept}, "lanes": _lanes(parse_lanes(row["lanes"]))}


def _source(item: Mapping[str, Any]) -> JSON:
    return {name: item.get(name) for name in ("id", "title", "parameters", "fresh_s", "digest")}
