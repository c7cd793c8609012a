"""What an act or an agent run came after (``spec/agents.md`` §10): for whoever recalls what relied on it.

Read from the index and from the openings of agent runs: who stands above a run, and which runs below those closed
before it was opened, with the evidence that their lanes name. Places are positions in the write-ahead log, so their
order is that in which this gateway made things durable.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from holdfast.core.order import Below, CameAfter, Placed, came_after, stands_above
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
        rows = await self._above(row)
        found = _page(row, rows, after)
        if any(after < before for _, before in found.under):
            rows |= await self._below(rows[found.under[-1][0]])
            found = _page(row, rows, after)
        return {
            "run": row.run,
            "act": self._act(row),
            "under": [{"run": run, "before": before} for run, before in found.under],
            "children": [await self._child(rows[child.run], child) for child in found.children],
            "more": found.more,
        }

    async def _above(self, row: RunRow) -> dict[str, RunRow]:
        """A run and the agent runs that stand above it."""
        found = {row.run: row}
        while row.parent_run is not None:
            above = await self._indexer.run(row.parent_run)
            if above is None or not stands_above(_placed(above), _placed(row)):
                break
            found[above.run] = row = above
        return found

    async def _below(self, top: RunRow) -> dict[str, RunRow]:
        """Every run below an agent run."""
        found: dict[str, RunRow] = {}
        agents = [top.run]
        while agents:
            for child in await self._indexer.children(agents.pop()):
                found[child.run] = child
                if child.endpoint == AGENT:
                    agents.append(child.run)
        return found

    async def _child(self, row: RunRow, child: Below) -> dict[str, Any]:
        named: set[str] = set()
        with _kept():
            appraisal, _ = await self._evidence.view(row)
            named.update(digest for lane in appraisal.lanes.values() for digest in lane.evidence)
        return {"run": row.run, "under": list(child.under), "place": child.place, "evidence": sorted(named)}

    def _act(self, row: RunRow) -> dict[str, str] | None:
        """The tool of an act and its effect, as its agent run declared it."""
        if row.endpoint != STEP or row.queue is None:
            return None
        step: Mapping[str, Any] = {}
        with _kept():
            step = (parse_opening(self._ledger.read(row.open_place).record.header).agent or {}).get("step", {})
        return {"tool": step["tool"], "effect": step["effect"]} if step.get("act") and "effect" in step else None


def _page(row: RunRow, rows: Mapping[str, RunRow], after: int) -> CameAfter:
    return came_after(row.run, {run: _placed(item) for run, item in rows.items()}, after, MOST)


def _placed(row: RunRow) -> Placed:
    return Placed(row.run, row.workspace, row.endpoint, row.parent_run, row.open_place, row.close_place)


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """Of what is past its retention nothing more is told; whoever asks goes on."""
    try:
        yield
    except UsageError as error:
        if error.code != "run.expired":
            raise
