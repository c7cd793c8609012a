"""What becomes of a workflow's acts: the gate's word from the panel, and what came of it from whoever carried it out.

An act is proposed here and carried out by an executor (``spec/acts.md``), which knows by the record that it may. What
came of it stands in the executor's journal once it is told; a case that was rejected or recalled stands in the panel.
Until one of these is so, it waits.

An act that is waited for no longer is taken back: it is reserved here, as an executor would, so that no executor can,
and then its outcome is told. Where an executor was first, what comes of it is waited for. An act that a person proposed
in the place of another is waited for, and taken back, as that one.

Not covered: an executor whose journal is not on this machine. Then nothing is known of an outcome here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Protocol

from holdfast.agents.act_journal import ActState, read_journal
from holdfast.agents.runs import AgentRun, RecordedRun
from holdfast.agents.workflows.engine import Came, Refused, Runs, Waits
from holdfast.core import canonical
from holdfast.core.agents import act_digest
from holdfast.core.encoding import sha256_hex, time_decode
from holdfast.core.statements import is_run_id
from holdfast.errors import HoldfastError, MalformedError
from holdfast.ports.clock import Clock
from holdfast.ports.storage import Storage

WITHDRAWN_DOMAIN = b"urn:holdfast:workflow-withdrawn:v1"
_SAID = {"REJECTED": "workflow.act_rejected", "RECALLED": "workflow.act_recalled"}
REPLACED = "agent.replaced"
"""The gateway's code for an act in whose place another was proposed."""
_TOLD = ("told", "over")
"""Words of an executor's journal after which the gateway has the outcome."""
_AMENDED_WITHIN = dt.timedelta(seconds=15)
"""A panel names the act that stands in the place of another directly after it rejected that one."""
_READ_S = 0.5
"""An executor's journal is read at most so often, however many acts wait."""


class Recorder(Protocol):
    """The record of what was opened and proposed here (``acts.md`` §1(2))."""

    def opened(self, run: str, capability: str, gateway: str, agent: Mapping[str, Any]) -> None: ...

    def proposed(self, run: str, capability: str, agent: str, digest: str) -> None: ...

    def closed(self, run: str) -> None: ...


class Cases(Protocol):
    """A panel (``client.panel.PanelClient``)."""

    async def cases(self, states: tuple[str, ...] = (), **query: Any) -> dict[str, Any]: ...

    async def case(self, case: str) -> dict[str, Any]: ...


class GatedActs:
    """Acts of one gateway. ``panel`` None: nobody says how cases stand, so an act waits until its outcome is here or
    its time is over. ``executor`` None: no outcome is known here."""

    def __init__(
        self,
        runs: Runs,
        record: Recorder,
        gateway: str,
        panel: Cases | None,
        executor: Storage | None,
        clock: Clock,
    ) -> None:
        self._runs = runs
        self._record = record
        self._gateway = gateway
        self._panel = panel
        self._executor = executor
        self._now, self._monotonic = clock.now, clock.monotonic
        self._states: Mapping[str, ActState] = {}
        self._read_at: float | None = None

    async def opened(self, agent: AgentRun, plan: Mapping[str, Any]) -> None:
        """An agent run is open."""
        self._record.opened(agent.run, agent.capability, self._gateway, plan)

    async def proposed(self, agent: AgentRun, act: RecordedRun, tool: str, arguments: Mapping[str, Any]) -> None:
        """An act is proposed: from here on an executor takes it for one of its agent's."""
        digest = act_digest({"kind": "tool", "tool": tool, "arguments": dict(arguments)})
        self._record.proposed(act.run, act.capability, agent.run, digest)

    async def closed(self, agent: AgentRun) -> None:
        """An agent run is closed."""
        self._record.closed(agent.run)

    async def look(self, agent: AgentRun, act: str, capability: str) -> Waits | Came | Refused:
        """How an act stands. One that is refused is taken back, so that no reopening of its case carries it out."""
        state = self._state(act)
        if state is not None and state.word in _TOLD and (state.came or state.why is not None):
            return _came(state)
        if state is not None and state.begun:
            return Waits(act)  # what the gate says now comes too late: what comes of it counts
        case = await self._case(act)
        code = _SAID.get(str(case.get("state"))) if case else None
        if code is None:
            return Waits(act)
        if case["state"] == "REJECTED":
            other = await self._amended(str(case.get("id")))
            if other is not None or self._is_news(case):
                return Waits(other or act)
        says = "; ".join(str(item.get("says")) for item in case.get("reasons") or [] if isinstance(item, dict))
        refused = Refused(code, says or f"its case is {case['state']}")
        taken = await self._take(agent, act, capability, f"{refused.code}: {refused.says}")
        return Waits(act) if taken == REPLACED else refused  # the panel has yet to name what stands in its place

    async def withdraw(self, agent: AgentRun, act: str, capability: str, why: str) -> bool:
        """Reserve the act, so that no executor carries it out, and tell its outcome. One that a person proposed in the
        place of ours has a capability that is not ours: its agent run's does (``agents.md`` §4(5))."""
        return await self._take(agent, act, capability, why) is None

    async def _take(self, agent: AgentRun, act: str, capability: str, why: str) -> str | None:
        """Take an act back; the code of the refusal where that cannot be done."""
        itself = AgentRun(act, capability or agent.capability, agent.attester, agent.settlement)
        try:
            await self._runs.step(itself, {"kind": "reserved", "of": act}, idempotency_key=_key(act, "reserved"))
        except HoldfastError as error:
            if error.code in ("agent.reserved", "agent.outcome", REPLACED):
                return error.code
            raise
        told = {"kind": "outcome", "of": act, "error": f"it was not carried out: {why}"[:8000]}
        try:
            await self._runs.step(agent, told, idempotency_key=_key(act, "outcome"))
        except HoldfastError as error:
            if not error.code.startswith("agent."):
                raise
            await self._runs.step(itself, told, idempotency_key=_key(act, "own-outcome"))
        return None

    def _state(self, act: str) -> ActState | None:
        now = self._monotonic()
        if self._executor is not None and (self._read_at is None or now - self._read_at >= _READ_S):
            self._states, self._read_at = read_journal(self._executor), now
        return self._states.get(act)

    async def _amended(self, case: str) -> str | None:
        """The act that a person proposed in the place of a rejected one (``case.md`` §4)."""
        told = await self._panel.case(case) if self._panel is not None else {}
        for event in told.get("events") or []:
            body = event.get("body") if isinstance(event, dict) and event.get("kind") == "amended" else None
            if isinstance(body, dict) and is_run_id(body.get("run")):
                return str(body["run"])
        return None

    def _is_news(self, case: Mapping[str, Any]) -> bool:
        """Whether a case was rejected only just: an act that is amended is rejected first, and then named."""
        try:
            changed = time_decode(case.get("changed_at"))
        except MalformedError:
            return False
        return abs(self._now() - changed) < _AMENDED_WITHIN

    async def _case(self, act: str) -> dict[str, Any]:
        if self._panel is None:
            return {}
        told = await self._panel.cases(run=act)
        found = told.get("cases")
        first = found[0] if isinstance(found, list) and found else {}
        return first if isinstance(first, dict) and first.get("run") == act else {}


def _came(state: ActState) -> Came:
    if "result" in state.came:
        return Came(state.act, result=canonical.decode_exact(state.came["result"].encode()))
    if "error" in state.came:
        return Came(state.act, error=str(canonical.decode_exact(state.came["error"].encode())))
    return Came(state.act, error=f"not known whether it happened: {state.why}")


def _key(act: str, what: str) -> str:
    return sha256_hex(b"\0".join((WITHDRAWN_DOMAIN, act.encode(), what.encode())))
