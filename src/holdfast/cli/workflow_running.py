"""Puts together what runs workflows: journal, engine, triggers, the listener for deliveries, and lines for people.

Not covered: what any of them does (``holdfast.agents.workflows``).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import json
import secrets as random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.json_rpc_aiohttp import BatchingJSONRPC
from holdfast.adapters.storage_files import FileStorage
from holdfast.agents.record import Record
from holdfast.agents.runs import AgentRuns
from holdfast.agents.workflows.acts import GatedActs
from holdfast.agents.workflows.asking import NodesAsker
from holdfast.agents.workflows.engine import Acts, Engine, Progress
from holdfast.agents.workflows.hooks import Hook
from holdfast.agents.workflows.journal import Journal, Listed
from holdfast.agents.workflows.service import Service
from holdfast.agents.workflows.triggers import AdmissionTrigger, BlockTrigger, ScheduleTrigger, backfill
from holdfast.cli.network import Network, parse_url, read_key
from holdfast.cli.output import clean_line, emit
from holdfast.cli.panel import find_panel
from holdfast.cli.ways import choose_trust, direct_way
from holdfast.cli.workflow_hooks import serving_hooks
from holdfast.client.data import DataClient
from holdfast.client.panel import PanelClient
from holdfast.core.statements import is_code
from holdfast.core.trust import Trust
from holdfast.core.workflows.definitions import Definition
from holdfast.core.workflows.moves import Cause
from holdfast.errors import ConflictError, UsageError
from holdfast.nodes.server import split_listen
from holdfast.ports.clock import Clock
from holdfast.review.webhooks import parse_secrets

Open = Callable[[], contextlib.AbstractAsyncContextManager[tuple[Engine, Service]]]
WAITS = 3
"""Exit code of what waits still."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a command line asks for."""

    definitions: Sequence[Definition]
    journal: Path
    state: Path
    once: bool
    no_wait: bool
    dry: bool
    since: dt.datetime | None
    given: Any
    at_once: int
    data: tuple[str, ...]
    chain: str | None
    panel: str | None
    panel_key: str | None
    acts: Path | None
    listen: str
    secrets: tuple[str, ...]
    celery: str | None = None


class View:
    """What happens, a line each: text, or JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def happened(self, told: Progress) -> None:
        """A step, or the execution, came on."""
        if self._as_json:
            self._line({"what": "progress", **{name: getattr(told, name) for name in told.__slots__}})
            return
        where = f"{told.step}: {told.state}" if told.step else told.state
        emit(clean_line(f"{told.execution[:16]}  {where}{f'  {told.says}' if told.says else ''}"))

    def say(self, text: str) -> None:
        """Something else."""
        if self._as_json:
            self._line({"what": "said", "says": text})
        else:
            emit(clean_line(text))

    def act(self, execution: str, step: str, asked: Any) -> None:
        """An act that a dry run shows."""
        if self._as_json:
            self._line({"what": "act", "execution": execution, "step": step, "would_propose": asked})
        else:
            shown = json.dumps(asked, ensure_ascii=False)
            emit(clean_line(f"{execution[:16]}  {step}: would propose {shown}"))

    @staticmethod
    def _line(value: Any) -> None:
        click.echo(json.dumps(value, ensure_ascii=False))


def run_workflows(plan: Plan, network: Network, *, as_json: bool) -> int:
    """Run them; the exit code."""
    trust = choose_trust(network, None, None, private=False)
    journal, view, clock = Journal(plan.journal), View(as_json=as_json), SystemClock()

    def open_world() -> contextlib.AbstractAsyncContextManager[tuple[Engine, Service]]:
        return _world(plan, network, trust, journal, clock, view)

    try:
        if plan.celery is not None:
            return _run_on_celery(plan, plan.celery, journal, clock, open_world)
        return asyncio.run(_run(plan, journal, view, open_world))
    finally:
        journal.close()


async def _run(plan: Plan, journal: Journal, view: View, open_world: Open) -> int:
    ours = set(journal.unended(item.name for item in plan.definitions))
    async with open_world() as (_, service):
        await service.run(until_idle=plan.once, until_waiting=plan.no_wait)
    own = [journal.find(item) for item in sorted(ours | service.told)]
    _show_acts(journal, own, view)
    return _code(own)


def _run_on_celery(plan: Plan, broker: str, journal: Journal, clock: Clock, open_world: Open) -> int:
    """Be a worker until it is stopped; its exit code."""
    try:
        from celery import Celery  # noqa: PLC0415 - an extra of its own

        from holdfast.agents.workflows.on_celery import register  # noqa: PLC0415 - it needs Celery
    except ImportError as error:
        raise UsageError(
            "workflow.celery", "Celery is not installed here", hint="pip install 'holdfast[node,celery]'"
        ) from error
    app = Celery("holdfast", broker=broker)
    app.conf.update(
        beat_schedule_filename=str(plan.journal.parent / "beat"),
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
    )
    loop = register(app, journal, clock, open_world)
    try:
        worker = app.Worker(pool="threads", concurrency=plan.at_once, beat=True, loglevel="WARNING", quiet=True)
        worker.start()
        return int(worker.exitcode or 0)
    finally:
        loop.close()


@contextlib.asynccontextmanager
async def _world(
    plan: Plan, network: Network, trust: Trust | None, journal: Journal, clock: Clock, view: View
) -> AsyncIterator[tuple[Engine, Service]]:
    """Engine and service over the network, with what starts by a person's word started and triggers followed."""
    async with contextlib.AsyncExitStack() as stack:
        _own(stack, journal, plan.journal, clock)
        engine, data = await _engine(stack, plan, network, trust, journal, clock, view)
        service = Service(journal, engine, clock, plan.definitions, dry=plan.dry, at_once=plan.at_once, say=view.say)
        for definition in plan.definitions:
            _start(plan, service, definition, clock.now(), view)
        if not plan.once:
            await _follow(stack, plan, network, journal, service, data, clock, view)
        yield engine, service


def _own(stack: contextlib.AsyncExitStack, journal: Journal, path: Path, clock: Clock) -> None:
    """Give back what a process held that is gone, and look at every act that waits; where another one works on the
    journal too, leave it its leases and its pauses."""
    try:
        lock = FileStorage(path.parent).lock(f"{path.name}.lock")
    except ConflictError:
        return
    stack.callback(lock.release)
    journal.release_all()
    journal.look_again(clock.now())


async def _engine(
    stack: contextlib.AsyncExitStack,
    plan: Plan,
    network: Network,
    trust: Trust | None,
    journal: Journal,
    clock: Clock,
    view: View,
) -> tuple[Engine, dict[str | None, DataClient]]:
    http = AiohttpHTTP()
    stack.push_async_callback(http.close)
    gateway = await stack.enter_async_context(direct_way(network, trust))
    data = _data_nodes(plan, network, http)
    runs = AgentRuns(http, network.gateway, network.require_key())
    acts_of = _acts_of(plan, runs, network, _panel(plan, network, http), clock)
    engine = Engine(
        journal, runs, NodesAsker(gateway, data), acts_of, clock, owner=random.token_hex(8), watch=view.happened
    )
    return engine, data


def _acts_of(
    plan: Plan, runs: AgentRuns, network: Network, panel: PanelClient | None, clock: Clock
) -> Callable[[str], Acts]:
    """What becomes of the acts of each workflow: its record, and its executor's journal, lie under its name."""

    @functools.cache
    def acts_of(workflow: str) -> Acts:
        executor = FileStorage(plan.acts or plan.state / "agents" / f"{workflow}.acts")
        record = Record(plan.state / "agents" / f"{workflow}.jsonl")
        return GatedActs(runs, record, network.gateway, panel, executor, clock)

    return acts_of


def _data_nodes(plan: Plan, network: Network, http: AiohttpHTTP) -> dict[str | None, DataClient]:
    usual = network.given.get("data")
    urls: dict[str | None, str] = {item["name"]: item["url"] for item in network.given.get("data_nodes", ())}
    urls |= {None: usual} if isinstance(usual, str) else {}
    for text in plan.data:
        name, sign, url = text.partition("=")
        named = sign and is_code(name)
        urls[name if named else None] = parse_url(url if named else text, "--data")
    return {name: DataClient(http, url, network.key) for name, url in urls.items()}


def _panel(plan: Plan, network: Network, http: AiohttpHTTP) -> PanelClient | None:
    url = plan.panel or network.panel
    if url is None:
        return None
    found = find_panel(None, url, plan.panel_key)
    return PanelClient(http, found.url, found.key)


def _start(plan: Plan, service: Service, definition: Definition, now: dt.datetime, view: View) -> None:
    """What starts by a person's word: one execution, or the times that are to be made up for."""
    start = service.starter(definition)
    if plan.since is not None:
        view.say(f"{definition.name}: {backfill(definition, start, plan.since, now)} times are made up for")
    elif plan.once or definition.trigger.kind == "manual":
        start(Cause("manual", random.token_hex(16), now, plan.given))


async def _follow(
    stack: contextlib.AsyncExitStack,
    plan: Plan,
    network: Network,
    journal: Journal,
    service: Service,
    data: dict[str | None, DataClient],
    clock: Clock,
    view: View,
) -> None:
    hooks: dict[str, Hook] = {}
    for definition in plan.definitions:
        start, trigger = service.starter(definition), definition.trigger
        if trigger.kind == "schedule":
            service.follow(ScheduleTrigger(definition, journal, start, view.say))
        elif trigger.kind == "block":
            chain = BatchingJSONRPC(plan.chain or network.require("chain"))
            stack.push_async_callback(chain.close)
            service.follow(BlockTrigger(definition, journal, start, chain))
        elif trigger.kind == "admission":
            node = data.get(trigger.node)
            if node is None:
                raise UsageError("workflow.node", f"no data node is known here as {trigger.node or 'the usual one'}")
            service.follow(AdmissionTrigger(definition, journal, start, node.source))
        elif trigger.kind == "webhook":
            given = secrets_of(plan.secrets, definition.name)
            keys = [key for item in given for key in parse_secrets(read_key(item).reveal())]
            if not keys:
                raise UsageError("workflow.secret", f"{definition.name} starts by deliveries: --secret says whose")
            hooks[definition.name] = Hook(keys, start, clock.now)
    if hooks:
        host, port = split_listen(plan.listen)
        url = await stack.enter_async_context(serving_hooks(hooks, host, port))
        for name in hooks:
            view.say(f"{name} starts by deliveries to {url}/hooks/{name}")


def secrets_of(given: Sequence[str], workflow: str) -> list[str]:
    """References of the secrets that start a workflow: those that name it, and those that name none."""
    found = []
    for text in given:
        name, sign, reference = text.partition("=")
        named = bool(sign) and is_code(name)  # a path may hold the sign too
        if not named or name == workflow:
            found.append(reference if named else text)
    return found


def _show_acts(journal: Journal, own: Sequence[Listed], view: View) -> None:
    for item in own:
        if item.dry:
            definition, known = journal.load(item.id)
            for step in definition.steps:
                record = known.records.get(step.name)
                if step.kind == "action" and record is not None and record.state == "done":
                    view.act(item.id, step.name, record.input)


def _code(own: Sequence[Listed]) -> int:
    states = {item.state for item in own}
    if states & {"failed", "skipped"}:
        return 1
    return WAITS if states & {"waiting", "open", "closing"} else 0
