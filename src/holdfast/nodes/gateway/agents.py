"""Agent runs: opened and closed by hand, with children in between (``spec/agents.md``).

What is open is in memory and in the write-ahead log, so an agent run outlives its gateway's process: its opening keeps
what it may do, without what was asked, which only its capability opens. A step is opened and closed in one commit. One
that a crash cut in two is closed as interrupted and was never told: it is neither an act nor an outcome, and its key is
free.

Not covered: turns of models, which ``service`` opens and :meth:`Agents.child` lets in, and what children come to
(``verifier.children``).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import canonical
from holdfast.core.agents import (
    CALLER,
    Amendment,
    Child,
    Plan,
    StepAsk,
    closing_document,
    parse_act_step,
    parse_agent_request,
    parse_amended,
    parse_plan,
    parse_step,
)
from holdfast.core.encoding import time_decode, time_encode
from holdfast.core.parts import Commitment, commit_parts, map_parts, pseudo_random_key
from holdfast.core.pricing import format_decimal
from holdfast.core.sealing import seal_document
from holdfast.core.statements import Execution, parse_envelope
from holdfast.errors import MalformedError, RefusedError, UsageError
from holdfast.nodes.gateway.budgets import Budgets, read_limit, told, told_of_closed
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.ledger import Interrupted, Ledger, Place, parse_closing
from holdfast.nodes.gateway.records import CLOSE, OPEN
from holdfast.nodes.gateway.request import Options, parse_options
from holdfast.nodes.gateway.retries import Retry, Turnstile, parse_retry
from holdfast.nodes.gateway.turn import (
    Identity,
    Opening,
    SignedStatement,
    close_statements,
    disclosed_parts,
    make_run_id,
    parse_opening,
    reader_of,
)
from holdfast.nodes.gateway.wraps import Wraps
from holdfast.ports.clock import Clock
from holdfast.ports.run_index import RunRow

_LOG = logging.getLogger("holdfast.gateway")
AGENT, STEP = "agent", "step"
"""Endpoints of statements (``statement.md`` §4.1)."""
INTERRUPTED = "gateway.interrupted"
"""The outcome of what a crash cut off."""
ABANDONED_AFTER = dt.timedelta(days=7)
"""How long an agent run may stay open (``agents.md`` §2(3))."""
_HOUR_S = 3600.0
_READ_AT_ONCE = 64
"""Records that are read before others get their turn."""
MAX_BODY_BYTES = 1 << 20
"""Of what opens an agent run, tells a step or closes one (``agents.md`` §2(4)): far below what one record holds."""


@dataclass(slots=True)
class _Open:
    """One open agent run."""

    opening: Opening
    plan: Plan
    requester: str | None = None
    """The person whose key opened it, where it is one's: whoever reviews its acts must be somebody else."""
    above: int = 0
    """Agent runs above it."""
    depth: int = 0
    """The least ``depth`` of it and of those above."""
    children: set[str] = field(default_factory=set)
    joining: int = 0
    """Children that are being opened."""
    ending: bool = False
    acts: set[str] = field(default_factory=set)
    """Runs of the acts that it proposed."""
    told: dict[str, str] = field(default_factory=dict)
    """Those of which the outcome was told, and the step that told it (empty while it is written)."""
    replaced: dict[str, str] = field(default_factory=dict)
    """Those in whose place another was proposed, and the other."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A run that was made here: its opening, secret and key."""

    opening: Opening
    secret: bytes
    key: bytes
    request: Commitment


class Agents:
    """See the module."""

    def __init__(
        self,
        identity: Identity,
        ledger: Ledger,
        indexer: Indexer,
        clock: Clock,
        *,
        random_bytes: Callable[[int], bytes],
        on_closed: Callable[[str, str], None],
        wraps: Wraps,
    ) -> None:
        self._identity = identity
        self._ledger = ledger
        self._indexer = indexer
        self._clock = clock
        self._random = random_bytes
        self._on_closed = on_closed
        self._wraps = wraps
        self._open: dict[str, _Open] = {}
        self._turnstile = Turnstile()
        self.budgets = Budgets()
        """What the open ones spend."""

    # Children

    def is_reviewed(self, run: str | None) -> bool:
        """Whether this is an open agent run that the workspace's panel can read (``sealed.md`` §2(2))."""
        state = self._open.get(run or "")
        return state is not None and state.opening.wrap is not None

    @contextlib.asynccontextmanager
    async def child(
        self, parent: str | None, workspace: str, *, sealed: bool = False, agent: bool = False
    ) -> AsyncIterator[Callable[[str], None]]:
        """Let a child in while it is opened; what is yielded is told its run once that is durable. Raises
        ``agent.closed``, ``agent.workspace``, ``agent.steps``, ``agent.depth`` and ``agent.sealed`` (``agents.md`` §3).
        A parent that is no agent run of this gateway is the caller's word."""
        state = None if parent is None else await self._admit(parent, workspace, sealed=sealed, agent=agent)
        if state is None:
            yield _joined_nobody
            return
        state.joining += 1
        try:
            yield state.children.add
        finally:
            state.joining -= 1

    async def _admit(self, parent: str, workspace: str, *, sealed: bool, agent: bool) -> _Open | None:
        state = self._open.get(parent)
        if state is None:
            row = await self._indexer.run(parent)
            if row is not None and row.endpoint == AGENT:
                raise UsageError("agent.closed", "this agent run is closed: nothing can name it any more", status=409)
            return None
        if state.opening.workspace != workspace:
            raise UsageError("agent.workspace", "there is no such agent run for this key", status=404)
        if sealed:
            raise UsageError("agent.sealed", "what came sealed cannot show which turns belong together")
        if state.ending:
            raise UsageError("agent.closed", "this agent run is being closed", status=409)
        if len(state.children) + state.joining >= state.plan.steps:
            raise RefusedError("agent.steps", f"this agent run has {state.plan.steps} children, its limit", status=429)
        if agent and state.above + 1 >= state.depth:
            raise RefusedError("agent.depth", f"at most {state.depth} agent runs stand above each other", status=429)
        return state

    # Opening

    async def open(
        self,
        body: bytes,
        headers: Mapping[bytes, bytes],
        workspace: str,
        settlement: str,
        requester: str | None = None,
    ) -> dict[str, Any]:
        """Open an agent run for a workspace; ``requester`` is the person whose key asks, where it is one's. Raises
        ``agent.*``, ``request.*`` and ``json.*``."""
        retry = parse_retry(headers, headers.get(b"authorization", b""), "/v1/runs", body)

        async def once() -> dict[str, Any]:
            before = await self._told_before(retry)
            return before or await self._open_run(body, headers, workspace, settlement, requester, retry)

        return await self._turnstile.run(retry, once)

    async def _open_run(
        self,
        body: bytes,
        headers: Mapping[bytes, bytes],
        workspace: str,
        settlement: str,
        requester: str | None,
        retry: Retry | None,
    ) -> dict[str, Any]:
        value = _read(body)
        plan = parse_agent_request(value)
        options = _plain(parse_options({}, headers, settlement))
        async with self.child(options.parent_run, workspace, agent=True) as joined:
            kept = {"plan": plan.to_json(), "requester": requester}
            made = self._make(AGENT, value, options, workspace, kept, requester, retry)
            await self._begin(made, canonical.encode_exact(value))
            joined(made.opening.run)
        self._open[made.opening.run] = self._state(made.opening, plan, requester)
        self.budgets.open(made.opening.run, options.parent_run, read_limit(plan.spend))
        return self._told(made.opening, made.secret)

    def _state(self, opening: Opening, plan: Plan, requester: str | None) -> _Open:
        above = self._open.get(opening.parent_run or "")
        if above is None:
            return _Open(opening, plan, requester, depth=plan.depth)
        return _Open(opening, plan, requester, above.above + 1, min(plan.depth, above.depth))

    async def _begin(self, made: _Made, text: bytes) -> None:
        opening = made.opening
        self._indexer.opening(opening.run)
        place = await self._ledger.open_run(opening, *_kept(made, "request", text, made.request))
        self._indexer.opened(opening, place.start)

    # Steps

    async def step(self, row: RunRow, secret: bytes, body: bytes, headers: Mapping[bytes, bytes]) -> dict[str, Any]:
        """Record a step of an open agent run, or tell of an act to itself. Raises ``agent.*``, ``request.*`` and
        ``json.*``."""
        retry = parse_retry(headers, secret, f"/v1/runs/{row.run}/steps", body)

        async def once() -> dict[str, Any]:
            tell = self._tell_act if row.endpoint == STEP else self._step
            return await self._told_before(retry) or await tell(row, body, headers, retry)

        return await self._turnstile.run(retry, once)

    async def _step(
        self, row: RunRow, body: bytes, headers: Mapping[bytes, bytes], retry: Retry | None
    ) -> dict[str, Any]:
        state = self._find(row)
        asked = parse_step(_read(body), state.plan)
        if asked.kind == "reserved":
            raise UsageError("agent.step", "a reservation is told to the act itself", hint="POST /v1/runs/{act}/steps")
        options = self._step_options(state.opening, asked.act.queue if asked.act is not None else None, headers)
        if asked.of is not None:
            self._refuse_outcome(state, asked.of)
        async with self.child(row.run, row.workspace) as joined:
            kept = {"kind": asked.kind, "act": asked.act is not None, "of": asked.of, "tool": asked.tool}
            if asked.act is not None:
                kept["effect"] = asked.act.effect
            made = self._make(STEP, asked.request, options, row.workspace, {"step": kept}, state.requester, retry)
            if asked.of is not None:
                state.told[asked.of] = made.opening.run
            try:
                statements = await self._at_once(made, asked)
            except BaseException:
                state.told.pop(asked.of or "", None)
                raise
            joined(made.opening.run)
        if asked.act is not None:
            state.acts.add(made.opening.run)
        return self._told(made.opening, made.secret, _named(statements))

    def _step_options(self, parent: Opening, queue: str | None, headers: Mapping[bytes, bytes]) -> Options:
        """A step settles as its agent run does, and names the queue that its tool has."""
        named = {**headers, b"x-holdfast-parent": parent.run.encode()}
        if queue is not None:
            named[b"x-holdfast-queue"] = queue.encode()
        options = _plain(parse_options({}, named, parent.settlement))
        if options.queue != queue or options.settlement != parent.settlement:
            raise UsageError(
                "agent.step", "the queue of an act is its tool's, and a step settles as its agent run does"
            )
        return options

    @staticmethod
    def _refuse_outcome(state: _Open, act: str) -> None:
        if act not in state.acts:
            raise UsageError("agent.outcome", "this is no act that the agent run proposed", param="of")
        if act in state.told:
            raise _told_already("outcome")

    # What is told to an act itself

    async def _tell_act(
        self, row: RunRow, body: bytes, headers: Mapping[bytes, bytes], retry: Retry | None
    ) -> dict[str, Any]:
        """Record that an act is reserved, or its outcome, below the act (``agents.md`` §4(5)): each once, whatever
        became of its agent run."""
        act = parse_opening(self._ledger.read(row.open_place).record.header)
        if not _step_of(act).get("act") or row.close_place is None or row.outcome == INTERRUPTED:
            raise UsageError("agent.none", "this run is no agent run and no act", hint="open one with POST /v1/runs")
        asked = parse_act_step(_read(body), row.run)
        options = self._step_options(act, None, headers)
        async with self._turnstile.alone(row.run):
            await self._refuse_told(act, asked.kind)
            kept = {"kind": asked.kind, "act": False, "of": asked.of}
            told, wraps = {"step": kept}, act.wrap is not None
            made = self._make(STEP, asked.request, options, row.workspace, told, act.requester, retry, wraps=wraps)
            above = self._open.get(act.parent_run or "")
            if above is not None and asked.kind == "outcome":
                above.told[row.run] = made.opening.run  # before anything waits: nobody tells it to the agent run now
            try:
                statements = await self._at_once(made, asked)
            except BaseException:
                if above is not None and asked.kind == "outcome":
                    above.told.pop(row.run, None)
                raise
        return self._told(made.opening, made.secret, _named(statements))

    # Another proposal in an act's place

    async def amend(
        self, row: RunRow, body: bytes, headers: Mapping[bytes, bytes], requester: str | None
    ) -> dict[str, Any]:
        """Propose other arguments in an act's place (``agents.md`` §4(6)); ``requester`` is who asks for it, where
        that is known; else it is whoever opened the agent run. Raises ``agent.*``, ``request.*`` and ``json.*``."""
        retry = parse_retry(headers, headers.get(b"authorization", b""), f"/v1/runs/{row.run}/amend", body)

        async def once() -> dict[str, Any]:
            return await self._told_before(retry) or await self._amend(row, body, headers, requester, retry)

        return await self._turnstile.run(retry, once)

    async def _amend(
        self, row: RunRow, body: bytes, headers: Mapping[bytes, bytes], requester: str | None, retry: Retry | None
    ) -> dict[str, Any]:
        act = parse_opening(self._ledger.read(row.open_place).record.header)
        state = self._open.get(act.parent_run or "")
        if not _step_of(act).get("act") or row.outcome == INTERRUPTED:
            raise UsageError("agent.replaces", "this run is no act")
        if state is None:
            hint = "deny the act, and have it proposed anew in an agent run that is open"
            raise UsageError("agent.closed", "the agent run that proposed it is closed", status=409, hint=hint)
        tool = state.plan.tools[_step_of(act)["tool"]]
        amends = Amendment(row.run, _step_of(act).get("first", row.run))
        asked = parse_amended(_read(body), tool, amends)
        options = self._step_options(state.opening, tool.queue, headers)
        async with self._turnstile.alone(row.run):  # whoever would reserve it meanwhile waits
            await self._refuse_told(act, "reserved")
            async with self.child(act.parent_run, row.workspace) as joined:
                kept = {"kind": "tool", "act": True, "of": None, "tool": tool.name, "effect": tool.effect}
                kept |= {"replaces": amends.replaces, "first": amends.first}
                who = requester or state.requester
                made = self._make(STEP, asked.request, options, row.workspace, {"step": kept}, who, retry)
                statements = await self._at_once(made, asked)
                joined(made.opening.run)
            state.replaced[row.run] = made.opening.run
            state.acts.add(made.opening.run)
        return self._told(made.opening, made.secret, _named(statements))

    async def _refuse_told(self, act: Opening, kind: str) -> None:
        """Raises ``agent.reserved``, ``agent.replaced`` and ``agent.outcome`` for what was told of an act already, or
        proposed in its place. An agent run that is
        open knows its outcomes; of one that is closed the steps are read, which cannot become more."""
        told, parent = await self._told_of(act.run, act.run), act.parent_run or ""
        if parent not in self._open and "outcome" not in told:
            told |= await self._told_of(parent, act.run)
        above = self._open.get(parent)
        if above is not None and act.run in above.told:
            told.add("outcome")
        if above is not None and act.run in above.replaced:
            told.add("replaced")
        if kind == "reserved" and "replaced" in told:
            raise UsageError("agent.replaced", "another act was proposed in the place of this one", status=409)
        if "outcome" in told or kind in told:
            raise _told_already("outcome" if "outcome" in told else kind)

    async def _told_of(self, parent: str, act: str) -> set[str]:
        """Kinds of the steps below a run that tell of an act."""
        found = set()
        for number, row in enumerate(await self._indexer.children(parent)):
            if number % _READ_AT_ONCE == _READ_AT_ONCE - 1:
                await asyncio.sleep(0)  # others are answered meanwhile
            if row.endpoint == STEP and row.outcome != INTERRUPTED:
                step = _step_of(parse_opening(self._ledger.read(row.open_place).record.header))
                found |= {step["kind"]} if step.get("of") == act else set()
                found |= {"replaced"} if step.get("replaces") == act else set()
        return found

    async def _at_once(self, made: _Made, asked: StepAsk) -> tuple[SignedStatement, SignedStatement]:
        """Open and close a step: two records, one wait."""
        text = canonical.encode_exact(asked.request)
        answer = canonical.encode_exact(asked.response)
        response = commit_parts("response", map_parts("response", asked.response), made.key)
        opening, now = made.opening, self._clock.now()
        execution = Execution("generated", "complete", response.tree, None, CALLER)
        statements = close_statements(self._identity, opening, execution, now=now, key=made.key)
        self._indexer.opening(opening.run)
        place, end = await asyncio.gather(  # in this order: tasks begin as they were made
            self._ledger.open_run(opening, *_kept(made, "request", text, made.request)),
            self._close(made, execution, statements, now, answer, response),
        )
        self._indexer.opened(opening, place.start)
        self._over(opening, execution, now, end.start)
        return statements

    # Closing

    async def close(self, row: RunRow, secret: bytes, body: bytes, headers: Mapping[bytes, bytes]) -> dict[str, Any]:
        """Close an agent run over its children. Raises ``agent.*`` and ``json.*``."""
        retry = parse_retry(headers, secret, f"/v1/runs/{row.run}/close", body)

        async def once() -> dict[str, Any]:
            before = await self._closed_before(row.run, secret, retry)
            return before or await self._close_run(row, secret, body, retry)

        return await self._turnstile.run(retry, once)

    async def _close_run(self, row: RunRow, secret: bytes, body: bytes, retry: Retry | None) -> dict[str, Any]:
        state = self._find(row)
        value = _read(body)
        closing_document(value, ())  # what is refused, is refused before anything
        if state.joining or state.ending:
            raise _still_open(state.joining)
        state.ending = True
        try:
            children = await self._children(state)
            spent = self._spent(row.run)
            document = closing_document(value, children, None if state.plan.spend is None else spent)
            key = pseudo_random_key(row.run, secret)
            response = commit_parts("response", map_parts("response", document), key)
            made = _Made(state.opening, secret, key, response)
            execution = Execution("generated", "complete", response.tree, None, CALLER)
            now = self._clock.now()
            statements = close_statements(self._identity, state.opening, execution, now=now, key=key)
            text = canonical.encode_exact(document)
            kept = {"spent": spent} if retry is None else {"spent": spent, "retry": retry.kept(row.run)}
            place = await self._close(made, execution, statements, now, text, response, kept)
        finally:
            state.ending = False
        self._forget(row.run)
        self._over(state.opening, execution, now, place.start)
        return self._told(state.opening, secret, _named(statements))

    async def _children(self, state: _Open) -> list[Child]:
        rows = [await self._indexer.run(run) for run in state.children]
        known = sorted((row for row in rows if row is not None), key=lambda row: row.open_place)
        ended = [(row, row.close_place) for row in known if row.close_place is not None]
        if len(ended) < len(state.children):
            raise _still_open(len(state.children) - len(ended))
        return [Child(row.run, row.endpoint, self._closing(place)) for row, place in ended]

    def _spent(self, run: str) -> str:
        purse = self.budgets.of(run)
        return "0" if purse is None else format_decimal(purse.spent)

    def _forget(self, run: str) -> None:
        self._open.pop(run, None)
        self.budgets.close(run)

    def spending(self, row: RunRow) -> dict[str, Any] | None:
        """What an agent run spends on its children; None of any other run, and past its retention."""
        if row.endpoint != AGENT:
            return None
        purse = self.budgets.of(row.run)
        if purse is not None:
            return told(purse)
        try:
            opening = parse_opening(self._ledger.read(row.open_place).record.header)
        except UsageError as error:
            if error.code != "run.expired":
                raise
            return None
        plan = parse_plan((opening.agent or {}).get("plan"))
        kept = {} if row.close_place is None else self._ledger.read(row.close_place).record.header.get("agent", {})
        return told_of_closed(read_limit(plan.spend), kept.get("spent"))

    def _closing(self, place: int) -> str:
        return parse_envelope(parse_closing(self._ledger.read(place).record).envelopes[1]).digest

    def _find(self, row: RunRow) -> _Open:
        state = self._open.get(row.run)
        if state is not None:
            return state
        if row.endpoint != AGENT:
            raise UsageError("agent.none", "this run is no agent run", hint="open one with POST /v1/runs")
        raise UsageError("agent.closed", "this agent run is closed", status=409)

    # The same again

    async def _told_before(self, retry: Retry | None) -> dict[str, Any] | None:
        """What was answered under a key; None where it is new, or what it led to was cut off and never told. Raises
        ``agent.key``."""
        row = None if retry is None else await self._indexer.asked_under(retry.name)
        if retry is None or row is None or row.outcome == INTERRUPTED:
            return None
        opening = parse_opening(self._ledger.read(row.open_place).record.header)
        kept = opening.retry or {}
        retry.require_same(kept)
        closing = row.close_place if row.endpoint == STEP else None  # an agent run was told before it was closed
        statements = None if closing is None else self._statements(closing)
        return self._told(opening, retry.secret(row.run, kept), statements)

    async def _closed_before(self, run: str, secret: bytes, retry: Retry | None) -> dict[str, Any] | None:
        """What was answered when an agent run was closed under a key; None where it was not. Raises ``agent.key``."""
        row = None if retry is None else await self._indexer.run(run)
        if retry is None or row is None or row.close_place is None:
            return None
        kept = self._ledger.read(row.close_place).record.header.get("agent", {}).get("retry")
        if kept is None or kept["name"] != retry.name:
            return None
        retry.require_same(kept)
        opening = parse_opening(self._ledger.read(row.open_place).record.header)
        return self._told(opening, secret, self._statements(row.close_place))

    def _statements(self, place: int) -> list[tuple[str, str]]:
        """Kind and digest of what a closing record holds."""
        route, execution = parse_closing(self._ledger.read(place).record).envelopes
        return [("route", parse_envelope(route).digest), ("execution", parse_envelope(execution).digest)]

    # Starting again

    def restore(self, interrupted: list[Interrupted]) -> list[Interrupted]:
        """Take up the agent runs that were open, of all runs that were; returns the others, which were cut off."""
        kept = [item for item in interrupted if item.opening.endpoint == AGENT]
        for item in kept:  # oldest first: a parent comes before its children
            known = item.opening.agent or {}
            self._open[item.opening.run] = self._state(
                item.opening, parse_plan(known.get("plan")), known.get("requester")
            )
        if kept:
            for record in self._ledger.replay():
                if record.kind == OPEN:
                    self._rejoin(parse_opening(record.record.header))
                elif record.kind == CLOSE:
                    header = record.record.header
                    self._ended(header["run"], header["outcome"], header.get("usage"))
            for item in interrupted:
                if item.opening.endpoint != AGENT:
                    self._ended(item.opening.run, INTERRUPTED, None)
        return [item for item in interrupted if item.opening.endpoint != AGENT]

    def _rejoin(self, opening: Opening) -> None:
        if opening.endpoint == AGENT:
            plan = parse_plan((opening.agent or {}).get("plan"))
            self.budgets.open(opening.run, opening.parent_run, read_limit(plan.spend))
        self.budgets.replay(opening.run, opening.parent_run, opening.budget)
        step = _step_of(opening)
        state = self._open.get(opening.parent_run or "")
        if state is not None:
            state.children.add(opening.run)
            if step.get("act"):
                state.acts.add(opening.run)
            if "replaces" in step:
                state.replaced[step["replaces"]] = opening.run
        if step.get("kind") == "outcome":  # of an act of the agent run's, or told to the act itself
            for open_run in self._open.values():
                if step["of"] in open_run.acts:
                    open_run.told[step["of"]] = opening.run

    def _ended(self, run: str, outcome: str, usage: Mapping[str, int] | None) -> None:
        """What was closed counts what it used; a step that a crash cut off proposed nothing and told of nothing."""
        self.budgets.settle(run, usage)
        self.budgets.close(run)
        if outcome != INTERRUPTED:
            return
        for state in self._open.values():
            state.acts.discard(run)
            state.told = {act: step for act, step in state.told.items() if step != run}
            state.replaced = {act: step for act, step in state.replaced.items() if step != run}

    async def work(self) -> None:
        """Close what nobody closed, once an hour, for ever."""
        while True:
            await self.sweep()
            await self._clock.sleep(_HOUR_S)

    async def sweep(self) -> None:
        """Close the agent runs that are open for too long (``agents.md`` §2(3))."""
        horizon = self._clock.now() - ABANDONED_AFTER
        for run, state in list(self._open.items()):
            if time_decode(state.opening.opened_at) >= horizon or state.joining or state.ending:
                continue
            execution = Execution("interrupted", "agent.abandoned", None, None, CALLER)
            now = self._clock.now()
            statements = close_statements(self._identity, state.opening, execution, now=now)
            kept = {"spent": self._spent(run)}
            self._forget(run)
            closed_at = state.opening.stamp(now)
            place = await self._ledger.close_run(state.opening, closed_at, execution.outcome, statements, agent=kept)
            self._over(state.opening, execution, now, place.start)
            _LOG.warning("agent run %s was closed by nobody for %d days", run, ABANDONED_AFTER.days)

    # What runs have in common

    def _make(
        self,
        endpoint: str,
        request: dict[str, Any],
        options: Options,
        workspace: str,
        kept: Mapping[str, Any],
        requester: str | None,
        retry: Retry | None,
        *,
        wraps: bool = False,
    ) -> _Made:
        """A run of this caller's own making: nothing of it is sent to anybody. ``wraps``: the run above it was made
        readable for the workspace's panel, and so is this one."""
        now = self._clock.now()
        private = options.settlement == "private"
        read = wraps or options.queue is not None or self.is_reviewed(options.parent_run)
        run = make_run_id(int(now.timestamp() * 1000), self._random(16), timed=not private)
        secret = self._random(32)
        key = pseudo_random_key(run, secret)
        bound = commit_parts("request", map_parts("request", request), key)
        opening = Opening(
            run=run,
            opened_at=time_encode(now),
            workspace=workspace,
            endpoint=endpoint,
            streamed=False,
            settlement=options.settlement,
            nonce=options.nonce,
            parent_run=options.parent_run,
            request=bound.tree,
            sent=bound.tree,
            rewrites=(),
            upstream=CALLER,
            reader=reader_of(key),
            queue=options.queue,
            requester=requester if options.queue is not None else None,
            wrap=self._wraps.make(workspace, run, secret) if read and not private else None,
            subject=options.subject,
            agent=kept,
            retry=None if retry is None else retry.kept(run, secret),
        )
        return _Made(opening, secret, key, bound)

    async def _close(
        self,
        made: _Made,
        execution: Execution,
        statements: tuple[SignedStatement, SignedStatement],
        now: dt.datetime,
        text: bytes,
        response: Commitment,
        agent: Mapping[str, Any] | None = None,
    ) -> Place:
        sealed, shown = _kept(made, "response", text, response)
        return await self._ledger.close_run(
            made.opening,
            made.opening.stamp(now),
            execution.outcome,
            statements,
            sealed=sealed,
            disclosed=shown,
            agent=agent,
        )

    def _over(self, opening: Opening, execution: Execution, now: dt.datetime, place: int) -> None:
        outcome = execution.outcome
        self._indexer.changed(opening.run, outcome=outcome, closed_at=opening.stamp(now), close_place=place)
        self._on_closed(opening.run, outcome)

    def _told(
        self, opening: Opening, secret: bytes, statements: Sequence[tuple[str, str]] | None = None
    ) -> dict[str, Any]:
        """What the caller gets of a run; ``statements`` are kinds and digests."""
        shown: dict[str, Any] = {
            "run": opening.run,
            "capability": secret.hex(),
            "attester": self._identity.attester,
            "settlement": opening.settlement,
        }
        if opening.queue is not None:
            shown["queue"] = opening.queue
        if statements is not None:
            shown["statements"] = [{"kind": kind, "digest": digest} for kind, digest in statements]
        return shown


def _read(body: bytes) -> Any:
    """The JSON of a body; raises ``agent.size`` and ``json.*``. A record that is refused only when it is written would
    leave its opening waited for."""
    if len(body) > MAX_BODY_BYTES:
        raise UsageError("agent.size", f"what is told of an agent run has at most {MAX_BODY_BYTES} bytes", status=413)
    return canonical.decode_exact(body)


def _named(statements: Iterable[SignedStatement]) -> list[tuple[str, str]]:
    return [(item.kind, item.digest) for item in statements]


def _step_of(opening: Opening) -> Mapping[str, Any]:
    """What is kept of a step; empty where it is none."""
    return (opening.agent or {}).get("step") or {}


def _told_already(kind: str) -> UsageError:
    if kind == "reserved":
        return UsageError("agent.reserved", "somebody has taken this act on already", status=409)
    return UsageError("agent.outcome", "what came of this act was told already", param="of", status=409)


def _joined_nobody(_run: str) -> None:
    """What is told of a child whose parent is nobody's here."""


def _kept(made: _Made, document: str, text: bytes, commitment: Commitment) -> tuple[bytes, bytes]:
    """What is stored of a document: sealed under the run's secret, and the parts that its workspace is shown."""
    if made.opening.settlement == "private":
        return b"", b""
    shown = b"" if made.opening.wrap is None else canonical.encode_known(disclosed_parts(document, commitment))
    return seal_document(made.key, document, text), shown


def _plain(options: Options) -> Options:
    """Options of a run that no model answers; raises ``request.sealed`` and ``request.settlement``."""
    if options.sealed:
        raise UsageError("request.sealed", "there is no answer here that could be sealed")
    if options.settlement == "individual":
        raise MalformedError("request.settlement", "agent runs settle batch or private", param="settlement")
    return options


def _still_open(count: int) -> UsageError:
    return UsageError(
        "agent.open", f"{count} children are open still", hint="close it once they have ended", status=409
    )
