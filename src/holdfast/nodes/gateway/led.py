"""What an act or an agent run came after (``spec/agents.md`` §10): for whoever recalls what relied on it.

Read from the index and from the openings of agent runs: who stands above a run, and which runs below those closed
before it was opened, with the evidence that their lanes name. Places are positions in the write-ahead log, so their
order is that in which this gateway made things durable.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from holdfast.errors import UsageError
from holdfast.nodes.gateway.agents import AGENT, STEP
from holdfast.nodes.gateway.evidence import EvidenceDesk
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.ledger import Ledger
from holdfast.nodes.gateway.turn import parse_opening
from holdfast.ports.run_index import RunRow

MOST = 500
"""Runs told of in one answer."""


class Led:
    """Answers ``GET /v1/runs/{id}/led``."""

    def __init__(self, ledger: Ledger, indexer: Indexer, evidence: EvidenceDesk) -> None:
        self._ledger = ledger
        self._indexer = indexer
        self._evidence = evidence

    async def show(self, row: RunRow, after: int) -> dict[str, Any]:
        """What a run came after, of the runs that closed at a place behind ``after``; ``more`` says that there are
        others, which the next answer tells."""
        line = await self._line(row)
        under = [{"run": agent.run, "before": before} for agent, before in line]
        told: dict[str, Any] = {"run": row.run, "act": self._act(row), "under": under, "children": [], "more": False}
        if not line:
            return told
        until = max(before for _, before in line)
        if after >= until:
            return told
        found = [item async for item in self._below(line[-1][0], ()) if after < (item[0].close_place or -1) < until]
        found.sort(key=lambda item: item[0].close_place or 0)
        told["more"] = len(found) > MOST
        told["children"] = [await self._child(child, agents) for child, agents in found[:MOST]]
        return told

    async def _line(self, row: RunRow) -> list[tuple[RunRow, int]]:
        """The agent runs that stand above a run, the nearest first, and before which place it came after theirs; a
        closed agent run came after its own."""
        found: list[tuple[RunRow, int]] = []
        if row.endpoint == AGENT and row.close_place is not None:
            found.append((row, row.close_place))
        below = row
        while row.endpoint in (AGENT, STEP) and below.parent_run is not None:
            above = await self._indexer.run(below.parent_run)
            if above is None or above.endpoint != AGENT or above.workspace != row.workspace:
                break
            found.append((above, below.open_place))
            below = above
        return found

    async def _below(self, agent: RunRow, above: tuple[str, ...]) -> AsyncIterator[tuple[RunRow, tuple[str, ...]]]:
        """Every run below an agent run, and the agent runs that it is below of, from ``agent`` down."""
        agents = (*above, agent.run)
        for child in await self._indexer.children(agent.run):
            yield child, agents
            if child.endpoint == AGENT:
                async for item in self._below(child, agents):
                    yield item

    async def _child(self, row: RunRow, agents: tuple[str, ...]) -> dict[str, Any]:
        named: set[str] = set()
        with _kept():
            appraisal, _ = await self._evidence.view(row)
            named.update(digest for lane in appraisal.lanes.values() for digest in lane.evidence)
        return {"run": row.run, "under": list(agents), "place": row.close_place, "evidence": sorted(named)}

    def _act(self, row: RunRow) -> dict[str, str] | None:
        """The tool of an act and its effect, as its agent run declared it."""
        if row.endpoint != STEP or row.queue is None:
            return None
        step: Mapping[str, Any] = {}
        with _kept():
            step = (parse_opening(self._ledger.read(row.open_place).record.header).agent or {}).get("step", {})
        return {"tool": step["tool"], "effect": step["effect"]} if step.get("act") and "effect" in step else None


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """Of what is past its retention nothing more is told; whoever asks goes on."""
    try:
        yield
    except UsageError as error:
        if error.code != "run.expired":
            raise
