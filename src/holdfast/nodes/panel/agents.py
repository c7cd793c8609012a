"""What the pages show of agent runs, parsed once from what the gateway said (``spec/agents.md``).

Rules:
* Lanes of children lie side by side; nothing here reduces them, neither to the least nor to the most frequent.
* A child that was not looked at yet has no lanes, which is none of the six states.
* Costs are added up as far as somebody told them, beside how many turns nobody told of.

Not covered: cases of acts (``holdfast.web.agents``), and what was said (it needs a capability).
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from holdfast.core.agents import Tool
from holdfast.core.canonical import JSON
from holdfast.core.encoding import time_decode
from holdfast.core.pricing import format_decimal, parse_decimal
from holdfast.errors import MalformedError
from holdfast.nodes.panel.shape import as_count, as_list, as_object, as_text
from holdfast.nodes.panel.views import WORDS, parse_run_id
from holdfast.verifier.lanes import BASES, LANES, STATES

AGENT, STEP = "agent", "step"
AXIS = 1000
"""How finely the time axis is divided: a child begins and ends at so many parts of the whole."""
KINDS = {
    "turn": "Turns of models",
    "call": "Calls that read",
    "act": "Acts that are proposed",
    "reserved": "Acts that were taken to be carried out",
    "outcome": "What came of acts",
    "hint": "Hints, which prove nothing",
    "agent": "Agent runs below it",
    "gone": "Past their retention",
}
"""What a child is, and the word for many."""


@dataclass(frozen=True, slots=True)
class LaneState:
    """One lane of a run: its state and basis alone."""

    name: str
    state: str
    basis: str | None

    @property
    def word(self) -> str:
        """State and basis as words."""
        basis = f", {self.basis.replace('_', ' ')}" if self.basis else ""
        return f"{WORDS[self.state]}{basis}"

    def to_json(self) -> dict[str, JSON]:
        return {"state": self.state, "basis": self.basis}


@dataclass(frozen=True, slots=True)
class Rests:
    """What a turn stood on."""

    upstream: str
    label: str | None
    served: str | None
    artifact: str | None
    artifact_basis: str | None
    admissions: tuple[str, ...]
    recall: str | None

    def to_json(self) -> dict[str, JSON]:
        artifact: JSON = None
        if self.artifact is not None:
            artifact = {"digest": self.artifact, "basis": self.artifact_basis}
        return {
            "upstream": self.upstream,
            "label": self.label,
            "served": self.served,
            "artifact": artifact,
            "admissions": list(self.admissions),
            "recall": self.recall,
        }


@dataclass(frozen=True, slots=True)
class Cost:
    """What was charged for a run, in US dollars, and how far its payment came."""

    usd: str | None
    event: str

    def to_json(self) -> dict[str, JSON]:
        return {"usd": self.usd, "event": self.event}


@dataclass(frozen=True, slots=True)
class ChildRun:
    """One run below an agent run."""

    run: str
    kind: str
    """Its endpoint."""
    what: str
    """One of :data:`KINDS`."""
    title: str
    effect: str | None
    """Of a call or an act: what its tool does outside, as the agent run declared it."""
    of: str | None
    """Of an outcome: the run of the act."""
    opened_at: str
    closed_at: str | None
    outcome: str | None
    queue: str | None
    lanes: tuple[LaneState, ...] | None
    """None where it was not looked at yet."""
    rests: Rests | None
    cost: Cost | None
    children: tuple[ChildRun, ...] = ()
    next: int | None = None
    """Where the rest of its children begins, where not all are here."""
    asked_again: int = 0
    """How often it was asked again without some of what it stood on. Re-runs are nobody's children."""

    @property
    def stood_on(self) -> tuple[str, ...]:
        """What it can be asked again without, in words: a row of memory, a source. Nothing where it is not known."""
        rests = self.rests if self.what == "turn" and self.closed_at is not None else None
        if rests is None:
            return ()
        return (*(["a row"] if rests.recall is not None else []), *(["a source"] if rests.admissions else []))

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            "run": self.run,
            "kind": self.kind,
            "what": self.what,
            "title": self.title,
            "effect": self.effect,
            "of": self.of,
            "opened_at": self.opened_at,
            "closed_at": self.closed_at,
            "outcome": self.outcome,
            "queue": self.queue,
            "lanes": lanes_json(self.lanes),
            "rests": None if self.rests is None else self.rests.to_json(),
            "cost": None if self.cost is None else self.cost.to_json(),
            "asked_again": self.asked_again,
        }
        if self.what in (AGENT, "act"):
            value |= {"children": [child.to_json() for child in self.children], "next": self.next}
        return value


@dataclass(frozen=True, slots=True)
class Spend:
    """What children cost by the gateway's count, in US dollars, and what may be spent (``agents.md`` §8)."""

    limit: str | None
    """None where there is no limit."""
    spent: str | None
    """None where nobody kept it."""
    held: str

    def to_json(self) -> dict[str, JSON]:
        return {"unit": "USD", "limit": self.limit, "spent": self.spent, "held": self.held}


@dataclass(frozen=True, slots=True)
class AgentHead:
    """What is told of an agent run beside its children."""

    run: str
    name: str
    opened_at: str
    closed_at: str | None
    outcome: str | None
    queue: str | None
    parent_run: str | None
    settlement: str
    tools: tuple[Tool, ...]
    limits: Mapping[str, str]
    spend: Spend | None
    """None where the gateway does not tell."""

    def to_json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "name": self.name,
            "opened_at": self.opened_at,
            "closed_at": self.closed_at,
            "outcome": self.outcome,
            "queue": self.queue,
            "parent_run": self.parent_run,
            "settlement": self.settlement,
            "tools": [tool.to_json() for tool in self.tools],
            "limits": dict(self.limits),
            "spend": None if self.spend is None else self.spend.to_json(),
        }


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One line of the list."""

    head: AgentHead
    children: int

    def to_json(self) -> dict[str, Any]:
        return {**self.head.to_json(), "children": self.children}


@dataclass(frozen=True, slots=True)
class AgentList:
    """A page of agent runs; ``next`` is where older ones begin."""

    agents: tuple[AgentRow, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class LaneGroup:
    """Children whose lane has the same state and basis."""

    lane: LaneState
    children: tuple[ChildRun, ...]


@dataclass(frozen=True, slots=True)
class Spent:
    """What children cost, as far as somebody told it."""

    usd: str
    charged: int
    """How many turns it is the sum of."""
    open: int
    """Turns whose payment has begun, and of which nothing is charged yet."""
    untold: int
    """Turns that nobody told the cost of."""

    def to_json(self) -> dict[str, JSON]:
        return {"usd": self.usd, "charged": self.charged, "open": self.open, "untold": self.untold}


@dataclass(frozen=True, slots=True)
class AgentTree:
    """An agent run with everything below it."""

    head: AgentHead
    lanes: tuple[LaneState, ...] | None
    children: tuple[ChildRun, ...]
    next: int | None
    every: Mapping[str, ChildRun] = field(default_factory=dict)
    """All children at every depth, by run, in their order."""

    @property
    def unseen(self) -> tuple[str, ...]:
        """The runs that were not looked at yet."""
        own = [] if self.lanes is not None else [self.head.run]
        return (*own, *(child.run for child in self.every.values() if child.lanes is None))

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """How many there are of each kind."""
        found = {what: sum(child.what == what for child in self.every.values()) for what in KINDS}
        return tuple((what, count) for what, count in found.items() if count)

    @property
    def differing(self) -> tuple[tuple[str, tuple[LaneGroup, ...]], ...]:
        """Lane by lane, where children differ: each state and basis that there is, with its children."""
        return tuple((name, groups) for place, name in enumerate(LANES) if len(groups := self._groups(place)) > 1)

    def _groups(self, place: int) -> tuple[LaneGroup, ...]:
        found: dict[LaneState, list[ChildRun]] = {}
        for child in self.every.values():
            if child.lanes is not None:
                found.setdefault(child.lanes[place], []).append(child)
        return tuple(LaneGroup(lane, tuple(children)) for lane, children in found.items())

    @property
    def spent(self) -> Spent:
        """What turns cost, at every depth."""
        turns = [child for child in self.every.values() if child.what == "turn"]
        told = [child.cost for child in turns if child.cost is not None]
        charged = [parse_decimal(cost.usd) for cost in told if cost.usd is not None]
        total = format_decimal(sum(charged, Fraction(0)))
        return Spent(total, len(charged), len(told) - len(charged), len(turns) - len(told))

    def axis(self, now: dt.datetime) -> Axis:
        """The common time axis."""
        return _axis(self, now)

    def to_json(self) -> dict[str, Any]:
        return {
            **self.head.to_json(),
            "lanes": lanes_json(self.lanes),
            "children": [child.to_json() for child in self.children],
            "next": self.next,
            "unseen": list(self.unseen),
            "spent": self.spent.to_json(),
            "differing": {
                name: [{**group.lane.to_json(), "runs": [child.run for child in group.children]} for group in groups]
                for name, groups in self.differing
            },
        }


@dataclass(frozen=True, slots=True)
class Bar:
    """Where a child lies on the axis: its beginning and its extent in parts of :data:`AXIS`, and its times in
    milliseconds."""

    start: int
    extent: int
    offset_ms: int
    span_ms: int | None
    """None while it is open."""
    waits: bool
    """Whether it lasts because something is awaited: an act, until its outcome was told."""


@dataclass(frozen=True, slots=True)
class Axis:
    """All bars by run, and how long the whole is."""

    bars: Mapping[str, Bar]
    whole_ms: int
    open: bool


def _axis(tree: AgentTree, now: dt.datetime) -> Axis:
    begin = time_decode(tree.head.opened_at)
    told = {child.of: time_decode(child.opened_at) for child in tree.every.values() if child.what == "outcome"}
    spans = {}
    for child in tree.every.values():
        start = time_decode(child.opened_at)
        end = None if child.closed_at is None else time_decode(child.closed_at)
        if child.what == "act":
            end = told.get(child.run)
        spans[child.run] = (start, end)
    last = None if tree.head.closed_at is None else time_decode(tree.head.closed_at)
    ends = [end for _, end in spans.values() if end is not None] + [start for start, _ in spans.values()]
    until = max([last or max(now, begin), *ends])
    whole_ms = max(_ms(until - begin), 1)

    def bar(child: ChildRun) -> Bar:
        start, end = spans[child.run]
        offset, over = _ms(start - begin), _ms((end or until) - begin)
        place = min(max(offset, 0) * AXIS // whole_ms, AXIS)
        extent = max((over - offset) * AXIS // whole_ms, 0)
        return Bar(
            place, min(extent, AXIS - place), offset, None if end is None else over - offset, child.what == "act"
        )

    return Axis({child.run: bar(child) for child in tree.every.values()}, whole_ms, open=last is None)


def _ms(span: dt.timedelta) -> int:
    return span // dt.timedelta(milliseconds=1)


# --- parsing ----------------------------------------------------------------------------------------------------------


def parse_agents(value: object) -> AgentList:
    """``GET /v1/agents`` of the gateway. Raises ``panel.shape`` and ``panel.run_id``."""
    fields = as_object(value, "the agent runs")
    rows = [
        AgentRow(_head(item), as_count(item.get("children"), "the number of children"))
        for item in _objects(fields.get("agents"), "agent runs")
    ]
    return AgentList(tuple(rows), _place(fields.get("next")))


def parse_tree(value: object) -> AgentTree:
    """``GET /v1/runs/{id}/tree`` of the gateway. Raises ``panel.shape``, ``panel.lanes`` and ``panel.run_id``."""
    fields = as_object(value, "an agent run")
    head = _head(fields)
    children = _children(fields.get("children"), head.tools)
    every = {child.run: child for child in _walk(children)}
    return AgentTree(
        head, _lanes(fields.get("lanes")), _with_titles(children, every), _place(fields.get("next")), every
    )


def _with_titles(children: tuple[ChildRun, ...], every: dict[str, ChildRun]) -> tuple[ChildRun, ...]:
    """Outcomes are called by the act that they belong to; ``every`` is brought up to date."""
    found = []
    for child in children:
        below = _with_titles(child.children, every)
        act = every.get(child.of or "")
        title = child.title if act is None else f"{act.title}: {child.title}"
        known = _replaced(child, title, below)
        every[child.run] = known
        found.append(known)
    return tuple(found)


def _replaced(child: ChildRun, title: str, below: tuple[ChildRun, ...]) -> ChildRun:
    if title == child.title and below == child.children:
        return child
    values = {name: getattr(child, name) for name in ChildRun.__slots__}
    return ChildRun(**{**values, "title": title, "children": below})


def _walk(children: Iterable[ChildRun]) -> Iterator[ChildRun]:
    for child in children:
        yield child
        yield from _walk(child.children)


def _head(fields: Mapping[str, Any]) -> AgentHead:
    limits = {str(name): str(limit) for name, limit in as_object(fields.get("limits"), "limits").items()}
    parent = fields.get("parent_run")
    return AgentHead(
        run=parse_run_id(fields.get("run")),
        name=as_text(fields.get("name"), "name"),
        opened_at=_time(fields.get("opened_at")),
        closed_at=_maybe_time(fields.get("closed_at")),
        outcome=_maybe(fields.get("outcome"), "outcome"),
        queue=_maybe(fields.get("queue"), "queue"),
        parent_run=None if parent is None else parse_run_id(parent),
        settlement=as_text(fields.get("settlement"), "settlement"),
        tools=_tools(fields),
        limits=limits,
        spend=_spend(fields.get("spend")),
    )


def _spend(value: object) -> Spend | None:
    if value is None:
        return None
    fields = as_object(value, "what is spent")
    found = Spend(_usd(fields.get("limit")), _usd(fields.get("spent")), as_text(fields.get("held"), "held"))
    parse_decimal(found.held)
    return found


def _usd(value: object) -> str | None:
    """An amount in US dollars; raises ``pricing.decimal``."""
    if value is not None:
        parse_decimal(value)
    return _maybe(value, "an amount")


def _tools(fields: Mapping[str, Any]) -> tuple[Tool, ...]:
    return tuple(
        Tool(
            as_text(item.get("name"), "name"), as_text(item.get("effect"), "effect"), _maybe(item.get("queue"), "queue")
        )
        for item in _objects(fields.get("tools"), "tools")
    )


def _objects(value: object, what: str) -> list[dict[str, Any]]:
    return [as_object(item, what) for item in as_list(value, what)]


def _children(value: object, tools: Sequence[Tool]) -> tuple[ChildRun, ...]:
    effects = {tool.name: tool.effect for tool in tools}
    return tuple(_child(item, effects) for item in _objects(value, "children"))


def _child(fields: Mapping[str, Any], effects: Mapping[str, str]) -> ChildRun:
    kind, step, agent = as_text(fields.get("kind"), "kind"), fields.get("step"), fields.get("agent")
    rests = _rests(fields.get("rests"))
    tool, of, what = None, None, "turn"
    title = (rests.label if rests is not None else None) or kind.replace(".", " ").replace("_", " ")
    declared: tuple[Tool, ...] = ()
    if agent is None and step is None and kind in (AGENT, STEP):
        what, title = "gone", f"{kind} past its retention"
    elif agent is not None:
        own = as_object(agent, "an agent")
        what, title, declared = AGENT, as_text(own.get("name"), "name"), _tools(own)
    elif step is not None:
        step = as_object(step, "a step")
        of = None if step.get("of") is None else parse_run_id(step["of"])
        tool = _maybe(step.get("tool"), "tool")
        what = as_text(step.get("kind"), "kind")
        if what == "tool":
            what = "act" if step.get("act") is True else "call"
        if what not in KINDS:
            raise MalformedError("panel.shape", "a step is of a kind that there is")
        title = tool or {"outcome": "what came of it", "reserved": "taken to be carried out"}.get(what, what)
    cost = fields.get("cost")
    if cost is not None:
        told = as_object(cost, "a cost")
        cost = Cost(_usd(told.get("usd")), as_text(told.get("event"), "event"))
    return ChildRun(
        run=parse_run_id(fields.get("run")),
        kind=kind,
        what=what,
        title=title,
        effect=effects.get(tool or ""),
        of=of,
        opened_at=_time(fields.get("opened_at")),
        closed_at=_maybe_time(fields.get("closed_at")),
        outcome=_maybe(fields.get("outcome"), "outcome"),
        queue=_maybe(fields.get("queue"), "queue"),
        lanes=_lanes(fields.get("lanes")),
        rests=rests,
        cost=cost,
        children=_children(fields.get("children", []), declared),
        next=_place(fields.get("next")),
        asked_again=as_count(fields.get("asked_again", 0), "how often it was asked again"),
    )


def _rests(value: object) -> Rests | None:
    if value is None:
        return None
    fields = as_object(value, "what a turn stood on")
    artifact = fields.get("artifact")
    known = {} if artifact is None else as_object(artifact, "an artifact")
    return Rests(
        upstream=as_text(fields.get("upstream"), "upstream"),
        label=_maybe(fields.get("label"), "label"),
        served=_maybe(fields.get("served"), "served"),
        artifact=_maybe(known.get("digest"), "digest"),
        artifact_basis=_maybe(known.get("basis"), "basis"),
        admissions=tuple(as_text(item, "an admission") for item in as_list(fields.get("admissions"), "admissions")),
        recall=_maybe(fields.get("recall"), "recall"),
    )


def _lanes(value: object) -> tuple[LaneState, ...] | None:
    if value is None:
        return None
    fields = as_object(value, "lanes")
    if set(fields) != set(LANES):
        raise MalformedError("panel.lanes", "a run has exactly the eleven lanes")
    found = []
    for name in LANES:
        lane = as_object(fields[name], f"lane {name}")
        state, basis = lane.get("state"), lane.get("basis")
        if state not in STATES or (basis is not None and basis not in BASES):
            raise MalformedError("panel.lane", f"lane {name} has no known state and basis")
        found.append((state, basis))
    return _lane_states(tuple(found))


@functools.lru_cache(maxsize=1024)
def _lane_states(told: tuple[tuple[str, str | None], ...]) -> tuple[LaneState, ...]:
    """States and bases in the order of the lanes; most children of a tree have the same ones, so they are made once."""
    return tuple(LaneState(name, state, basis) for name, (state, basis) in zip(LANES, told, strict=True))


def lanes_json(lanes: Sequence[LaneState] | None) -> dict[str, JSON] | None:
    """Lanes for programs; None where there are none yet."""
    return None if lanes is None else {lane.name: lane.to_json() for lane in lanes}


def _maybe(value: object, what: str) -> str | None:
    return None if value is None else as_text(value, what)


def _time(value: object) -> str:
    text = as_text(value, "a time")
    time_decode(text)
    return text


def _maybe_time(value: object) -> str | None:
    return None if value is None else _time(value)


def _place(value: object) -> int | None:
    return None if value is None else as_count(value, "a place")
