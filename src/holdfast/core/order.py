"""What a run came after, by the places at which runs opened and closed in one write-ahead log (``spec/agents.md`` §10).

Pure. A place is a number that grows; whoever kept the log says them. Two rules: who stands above a run, and what closed
before it there. :func:`came_after` tells it as a gateway answers it, page by page.

Not covered: what an answer is held against by whoever reads it (``review.led``), and the evidence of each run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

AGENT, STEP = "agent", "step"
"""Endpoints of agent runs and of their steps (§1)."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A run in its gateway's log."""

    run: str
    workspace: str
    endpoint: str
    parent: str | None
    opened: int
    closed: int | None
    """None while it is open."""


@dataclass(frozen=True, slots=True)
class Below:
    """A run that closed below agent runs."""

    run: str
    under: tuple[str, ...]
    """The agent runs that it is below, from the uppermost down."""
    place: int


@dataclass(frozen=True, slots=True)
class CameAfter:
    """One page of what a run came after."""

    under: tuple[tuple[str, int], ...] = ()
    """Agent runs, the nearest first, and before which place the run came after what closed there."""
    children: tuple[Below, ...] = ()
    """What closed below the uppermost of them, by place."""
    more: bool = False
    """Whether others follow behind the last place."""


def stands_above(above: Placed, below: Placed) -> bool:
    """Whether a run's parent is an agent run that it was led under: of its workspace, and opened before it."""
    kinds = above.endpoint == AGENT and below.endpoint in (AGENT, STEP)
    return kinds and above.workspace == below.workspace and above.opened < below.opened


def came_after(run: str, known: Mapping[str, Placed], after: int, most: int) -> CameAfter:
    """The page behind the place ``after``, of at most ``most`` runs; ``known`` has the run, those above it, and
    everything below the uppermost of these."""
    line = _line(known[run], known)
    if not line:
        return CameAfter()
    until = max(before for _, before in line)
    children = _children(known)
    found = [item for item in _below(line[-1][0], children, ()) if after < item.place < until]
    found.sort(key=lambda item: item.place)
    return CameAfter(tuple((agent.run, before) for agent, before in line), tuple(found[:most]), more=len(found) > most)


def _line(row: Placed, known: Mapping[str, Placed]) -> list[tuple[Placed, int]]:
    """The agent runs above a run, the nearest first; a closed agent run came after what is below itself too."""
    found = [(row, row.closed)] if row.endpoint == AGENT and row.closed is not None else []
    while (above := known.get(row.parent or "")) is not None and stands_above(above, row):
        found.append((above, row.opened))
        row = above
    return found


def _children(known: Mapping[str, Placed]) -> dict[str, list[Placed]]:
    found: dict[str, list[Placed]] = {}
    for row in known.values():
        above = known.get(row.parent or "")
        if above is not None and above.workspace == row.workspace and above.opened < row.opened:
            found.setdefault(above.run, []).append(row)
    return found


def _below(agent: Placed, children: Mapping[str, list[Placed]], above: tuple[str, ...]) -> Iterator[Below]:
    """What closed below an agent run, and in agent runs below that one whether these closed or not."""
    under = (*above, agent.run)
    for child in children.get(agent.run, []):
        if child.closed is not None:
            yield Below(child.run, under, child.closed)
        if child.endpoint == AGENT:
            yield from _below(child, children, under)
