"""Agent runs for readers: which there are, and one as a tree with everything that is told of its children
(``spec/agents.md`` §6).

What a child was is told as far as its opening keeps it: its kind, the name of a tool that the agent run declared, the
act that an outcome belongs to. Arguments, results, goals and names of hints are content, and need a capability.

Appraising takes milliseconds for each child, so a tree is given as long as its reader waits: children that were not
looked at by then come without lanes, and say so. What is not settled is looked at again when its evidence may have
changed, and after :data:`FRESH_S` in any case.

Not covered: leading an agent run (``agents``), and checking a parent's list (``verifier.children``).
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.encoding import sha256_hex
from holdfast.core.payments import parse_payment_document
from holdfast.errors import MalformedError, UsageError
from holdfast.nodes.gateway.agents import AGENT, STEP
from holdfast.nodes.gateway.changes import Changes
from holdfast.nodes.gateway.evidence import EvidenceDesk
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.ledger import Ledger
from holdfast.nodes.gateway.turn import Opening, parse_opening
from holdfast.ports.run_index import RunRow
from holdfast.review.facts import artifact_basis, facts_of
from holdfast.verifier.appraisal import Appraisal

MOST_ROWS = 1000
"""Children in one answer, at all depths."""
MOST_LISTED = 100
"""Agent runs in one answer."""
FRESH_S = 5.0
"""How old what is told of an unsettled run may be."""
_KEPT = 16_384
_PAUSE_S = 0.5
"""Changes within this time are one."""
_AT_A_TIME = 200
STATES = ("open", "closed")
"""What a list can be narrowed to."""


Spending = Callable[[RunRow], Mapping[str, Any] | None]
"""What an agent run spends on its children (``agents.Agents.spending``)."""


@dataclass(frozen=True, slots=True)
class _Looked:
    """What was told of a run, and what that rested on."""

    key: tuple[Any, ...]
    at: float
    told: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Wait:
    """Until when (monotonic seconds) runs are still looked at; None for as long as it takes."""

    until: float | None


class AgentTrees:
    """See the module. Safe for one event loop."""

    def __init__(
        self, ledger: Ledger, indexer: Indexer, evidence: EvidenceDesk, changes: Changes, *, most_watchers: int
    ) -> None:
        self._ledger = ledger
        self._indexer = indexer
        self._evidence = evidence
        self._changes = changes
        self._clock = evidence.clock
        self._most_watchers = most_watchers
        self._openings: OrderedDict[str, Opening] = OrderedDict()
        self._looked: OrderedDict[str, _Looked] = OrderedDict()

    # The list

    async def listed(
        self, workspace: str, name: str | None, state: str | None, before: int, limit: int, spending: Spending
    ) -> dict[str, Any]:
        """A workspace's agent runs, newest first; ``next`` goes into the next ``before``. Those past their retention
        are left out: nobody knows their names any more. Raises ``agent.state``."""
        if state is not None and state not in STATES:
            raise MalformedError("agent.state", f"state is one of {', '.join(STATES)}", param="state")
        found: list[dict[str, Any]] = []
        while True:
            rows = await self._indexer.agents(workspace, before, _AT_A_TIME)
            counts = await self._indexer.count_children([row.run for row in rows])
            for row in rows:
                before = row.open_place
                opening = self._opening(row)
                if opening is None or name not in (None, _plan(opening)["name"]):
                    continue
                if state == ("open" if row.outcome else "closed"):
                    continue
                told = {"children": counts.get(row.run, 0), "spend": spending(row)}
                found.append({**_agent_of(row, opening), **told})
                if len(found) == limit:
                    return {"agents": found, "next": before}
            if len(rows) < _AT_A_TIME:
                return {"agents": found, "next": None}

    # The tree

    async def tree(self, row: RunRow, after: int, within_s: float | None) -> dict[str, Any]:
        """An agent run and everything below it, from behind the place ``after`` on; ``next`` goes into the next
        ``after``. Raises ``agent.none`` and ``run.expired``."""
        if row.endpoint != AGENT:
            raise UsageError("agent.none", "this run is no agent run", status=404)
        opening = parse_opening(self._ledger.read(row.open_place).record.header)
        until = None if within_s is None else self._clock.monotonic() + within_s
        wait, room = _Wait(until), iter(range(MOST_ROWS))
        own = await self._look(row, wait)
        children, last = await self._below(row.run, after, room, wait)
        return {**_agent_of(row, opening), **own, "children": children, "next": last}

    async def _below(
        self, run: str, after: int, room: Iterator[int], wait: _Wait
    ) -> tuple[list[dict[str, Any]], int | None]:
        told: list[dict[str, Any]] = []
        place = after
        for row in await self._indexer.children(run):
            if row.open_place <= after:
                continue
            if next(room, None) is None:
                return told, place
            place = row.open_place
            opening = self._opening(row)
            child = {
                "run": row.run,
                "kind": row.endpoint,
                "opened_at": row.opened_at,
                "closed_at": row.closed_at,
                "outcome": row.outcome,
                "queue": row.queue,
                "asked_again": row.asked_again or 0,
                "step": None if opening is None else _step_of(opening),
                **await self._look(row, wait),
            }
            if row.endpoint == AGENT and opening is not None:
                plan = _plan(opening)
                child["agent"] = {"name": plan["name"], "tools": plan["tools"]}
            if row.endpoint == AGENT or (child["step"] or {}).get("act"):
                child["children"], child["next"] = await self._below(row.run, -1, room, wait)
            told.append(child)
        return told, None

    async def events(self, row: RunRow) -> AsyncIterator[bytes]:
        """The digest of the tree whenever it is another one; empty bytes every 15 s to keep the line alive."""
        last = ""
        with self._changes.watching(self._most_watchers):
            while True:
                waiter = self._changes.waiter()
                known = await self._indexer.run(row.run) or row
                tree = await self.tree(known, -1, None)
                digest = sha256_hex(json.dumps(tree, separators=(",", ":")).encode())
                if digest != last:
                    last = digest
                    yield digest.encode()
                try:
                    async with asyncio.timeout(15):
                        await waiter.wait()
                        await asyncio.sleep(_PAUSE_S)
                except TimeoutError:
                    yield b""

    # One run

    async def _look(self, row: RunRow, wait: _Wait) -> dict[str, Any]:
        key = (row, self._evidence.known, self._evidence.noted)
        found, now = self._looked.get(row.run), self._clock.monotonic()
        if found is not None and found.key == key and now - found.at <= FRESH_S:
            return found.told
        if wait.until is not None and now >= wait.until:
            return {"lanes": None, "rests": None, "cost": None}
        opening = self._opening(row)
        if opening is None:
            return {"lanes": None, "rests": None, "cost": None}
        appraisal, _ = await self._evidence.view(row)
        lanes = {name: {"state": lane.state, "basis": lane.basis} for name, lane in appraisal.lanes.items()}
        rests = None if row.endpoint in (AGENT, STEP) else _rests(opening, appraisal)
        told = {"lanes": lanes, "rests": rests, "cost": await self._cost(row)}
        _keep(self._looked, row.run, _Looked(key, self._clock.monotonic(), told))
        return told

    async def _cost(self, row: RunRow) -> dict[str, Any] | None:
        """What was charged for a run, and how far its payment came; None where nobody told of one."""
        if row.endpoint in (AGENT, STEP):
            return None
        documents = [parse_payment_document(told.step.document) for told in await self._evidence.steps(row.run)]
        if not documents:
            return None
        charged = next((document.charge for document in reversed(documents) if document.charge is not None), None)
        return {"usd": None if charged is None else charged.usd, "event": documents[-1].event}

    def _opening(self, row: RunRow) -> Opening | None:
        """What is kept of a run's opening; None past its retention."""
        found = self._openings.get(row.run)
        if found is None:
            try:
                found = parse_opening(self._ledger.read(row.open_place).record.header)
            except UsageError as error:
                if error.code != "run.expired":
                    raise
                return None
        _keep(self._openings, row.run, found)
        return found


def _keep(kept: OrderedDict[str, Any], run: str, value: Any) -> None:
    kept[run] = value
    kept.move_to_end(run)
    while len(kept) > _KEPT:
        kept.popitem(last=False)


def _plan(opening: Opening) -> dict[str, Any]:
    """What an agent run may do, as its opening keeps it."""
    plan: dict[str, Any] = (opening.agent or {})["plan"]
    return plan


def _agent_of(row: RunRow, opening: Opening) -> dict[str, Any]:
    plan = _plan(opening)
    return {
        "run": row.run,
        "name": plan["name"],
        "opened_at": row.opened_at,
        "closed_at": row.closed_at,
        "outcome": row.outcome,
        "queue": row.queue,
        "parent_run": row.parent_run,
        "settlement": opening.settlement,
        "tools": plan["tools"],
        "limits": plan["limits"],
    }


def _step_of(opening: Opening) -> dict[str, Any] | None:
    """Of a step what it is; None for other runs."""
    step = (opening.agent or {}).get("step")
    if step is None:
        return None
    return {"kind": step["kind"], "tool": step.get("tool"), "act": step["act"], "of": step["of"]}


def _rests(opening: Opening, appraisal: Appraisal) -> dict[str, Any]:
    """What a turn stood on, by digests and by what is disclosed of it."""
    facts = facts_of(appraisal)
    artifact = None
    if facts.artifact is not None:
        basis = artifact_basis(None if facts.computed is not None else facts.upstream)
        artifact = {"digest": facts.artifact, "basis": basis}
    return {
        "upstream": opening.upstream,
        "label": facts.label,
        "served": facts.served,
        "artifact": artifact,
        "admissions": list(opening.admissions),
        "recall": opening.recall,
    }
