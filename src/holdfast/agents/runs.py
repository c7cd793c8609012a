"""Agent runs at a gateway, as whoever leads them asks for them (``spec/agents.md``): open, step, close, children.

Rules: an answer is bounded and decoded strictly, and what it names has the form that it should have; an error in the
one shape (``conventions.md`` §6) becomes the error it was. A key and a capability go into headers, never into a URL.
What may have to be said twice takes an idempotency key: whoever heard no answer says the same again under it.

The transport is handed in (``ports/http.py``). Not covered: what a gateway's word is worth. Whether children are the
parent's, bundles show (``verifier.children``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from holdfast.client.errors import parse_error
from holdfast.core import canonical
from holdfast.core.encoding import hex_decode
from holdfast.core.statements import is_run_id
from holdfast.errors import HoldfastError, MalformedError
from holdfast.ports.http import HTTP

MAX_ANSWER_BYTES = 16 << 20
"""Largest answer that is read: ten thousand children with eleven lanes each, side by side."""
TIMEOUT_S = 30.0
PARENT, CAPABILITY, IDEMPOTENCY = "x-holdfast-parent", "x-holdfast-capability", "idempotency-key"


@dataclass(frozen=True, slots=True)
class AgentRun:
    """An agent run that is open. Whoever has ``capability`` leads it."""

    run: str
    capability: str = field(repr=False)
    attester: str
    settlement: str


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run that was closed: a step, or an agent run at its end."""

    run: str
    capability: str = field(repr=False)
    statements: Mapping[str, str]
    """Kind to digest (hex)."""
    queue: str | None = None
    """The review queue, of an act."""


class AgentRuns:
    """The agent runs of one gateway. ``key`` is a workspace key; leading an open run takes its capability alone."""

    def __init__(self, http: HTTP, gateway: str, key: str | None = None, *, timeout_s: float = TIMEOUT_S) -> None:
        self._http = http
        self._url = gateway.rstrip("/")
        self._key = key
        self._timeout_s = timeout_s

    async def open(
        self,
        agent: Mapping[str, Any],
        *,
        parent: str | None = None,
        settlement: str | None = None,
        idempotency_key: str | None = None,
    ) -> AgentRun:
        """Open an agent run; ``agent`` is the member of its request (``agents.md`` §2(1)). Raises ``agent.*``,
        ``auth.*``, ``agent.answer`` and ``http.*``."""
        headers = {} if self._key is None else {"authorization": f"Bearer {self._key}"}
        headers |= {} if parent is None else {PARENT: parent}
        headers |= {} if settlement is None else {"x-holdfast-settlement": settlement}
        told = await self._post("/v1/runs", {"agent": dict(agent)}, headers, idempotency_key)
        run, capability = _run_of(told)
        attester, settled = told.get("attester"), told.get("settlement")
        if not isinstance(attester, str) or not isinstance(settled, str):
            raise _other_answer("an agent run has an attester and a settlement")
        return AgentRun(run, capability, attester, settled)

    async def call(
        self,
        agent: AgentRun,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        result: Any = None,
        error: str | None = None,
        idempotency_key: str | None = None,
    ) -> RecordedRun:
        """Record a call of a tool that reads: what it gave, or its error."""
        body = {"kind": "tool", "tool": tool, "arguments": dict(arguments), **_came_of(result, error)}
        return await self.step(agent, body, idempotency_key=idempotency_key)

    async def propose(
        self, agent: AgentRun, tool: str, arguments: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> RecordedRun:
        """Propose an act: its run is a case of its tool's queue."""
        body = {"kind": "tool", "tool": tool, "arguments": dict(arguments)}
        return await self.step(agent, body, idempotency_key=idempotency_key)

    async def outcome(
        self,
        agent: AgentRun,
        act: str,
        *,
        result: Any = None,
        error: str | None = None,
        idempotency_key: str | None = None,
    ) -> RecordedRun:
        """Tell what came of an act, once."""
        body = {"kind": "outcome", "of": act, **_came_of(result, error)}
        return await self.step(agent, body, idempotency_key=idempotency_key)

    async def hint(self, agent: AgentRun, name: str, attributes: Mapping[str, Any]) -> RecordedRun:
        """Keep something beside it on which no lane rests."""
        return await self.step(agent, {"kind": "hint", "name": name, "attributes": dict(attributes)})

    async def step(
        self, agent: AgentRun, body: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> RecordedRun:
        """Record a step of any kind (``agents.md`` §4(1)). Raises ``agent.*``, ``auth.*``, ``agent.answer`` and
        ``http.*``."""
        told = await self._post(_path(agent, "steps"), body, {CAPABILITY: agent.capability}, idempotency_key)
        return _recorded(told)

    async def close(
        self,
        agent: AgentRun,
        *,
        result: Any = None,
        error: str | None = None,
        idempotency_key: str | None = None,
    ) -> RecordedRun:
        """Close it over its children; raises ``agent.open`` while one is open."""
        body, headers = _came_of(result, error), {CAPABILITY: agent.capability}
        return _recorded(await self._post(_path(agent, "close"), body, headers, idempotency_key))

    async def children(self, agent: AgentRun) -> dict[str, Any]:
        """Its children side by side, lane by lane, as its gateway tells it."""
        answer = await self._http.request(
            "GET",
            self._url + _path(agent, "children"),
            headers={CAPABILITY: agent.capability},
            timeout_s=self._timeout_s,
            max_bytes=MAX_ANSWER_BYTES,
        )
        if answer.status != 200:
            raise parse_error(answer.status, answer.body, self._url)
        return canonical.decode_object(answer.body)

    async def _post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str], key: str | None
    ) -> dict[str, Any]:
        sent = {"content-type": "application/json", **headers} | ({} if key is None else {IDEMPOTENCY: key})
        answer = await self._http.request(
            "POST",
            self._url + path,
            body=canonical.encode_exact(dict(body)),
            headers=sent,
            timeout_s=self._timeout_s,
            max_bytes=MAX_ANSWER_BYTES,
        )
        if answer.status != 200:
            raise parse_error(answer.status, answer.body, self._url)
        return canonical.decode_object(answer.body)


def _came_of(result: Any, error: str | None) -> dict[str, Any]:
    return {"result": result} if error is None else {"error": error}


def _path(agent: AgentRun, what: str) -> str:
    return f"/v1/runs/{quote(agent.run, safe='')}/{what}"


def _run_of(told: Mapping[str, Any]) -> tuple[str, str]:
    run, capability = told.get("run"), told.get("capability")
    if not isinstance(run, str) or not is_run_id(run) or not isinstance(capability, str):
        raise _other_answer("it names no run with a capability")
    try:
        hex_decode(capability, 32)
    except HoldfastError as error:
        raise _other_answer("a capability is 64 hex digits") from error
    return run, capability


def _recorded(told: Mapping[str, Any]) -> RecordedRun:
    run, capability = _run_of(told)
    listed, queue = told.get("statements"), told.get("queue")
    if not isinstance(listed, list) or not all(
        isinstance(item, dict) and isinstance(item.get("kind"), str) and isinstance(item.get("digest"), str)
        for item in listed
    ):
        raise _other_answer("a run that was closed has statements")
    statements = {item["kind"]: item["digest"] for item in listed}
    return RecordedRun(run, capability, statements, queue if isinstance(queue, str) else None)


def _other_answer(message: str) -> MalformedError:
    return MalformedError("agent.answer", f"the gateway answered otherwise than a gateway does: {message}")
