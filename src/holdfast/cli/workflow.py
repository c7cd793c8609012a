"""``holdfast workflow``: run workflows, list executions, put a definition to a journal again (``spec/workflows.md``).

A definition is a TOML file, or a Python file in which ``workflow`` is one (``holdfast.core.workflows.build``). What was
done lies in one journal beside the network's description, for its owner alone; runs, lists and replays read it there.

Not covered: carrying acts out. Whoever may (``holdfast agent act``) takes them from their queues.
"""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.network import DEFAULT_STATE, Network, gateway_options
from holdfast.cli.output import clean_line, emit, emit_json, paint, read_file
from holdfast.cli.times import parse_moment
from holdfast.core import canonical
from holdfast.core.workflows.build import Workflow
from holdfast.core.workflows.definitions import Definition, parse_workflow_toml
from holdfast.core.workflows.replays import Compared, replay
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.agents.workflows.journal import Journal, Listed

JOURNAL = Path("workflows") / "journal.sqlite"
"""Where in a state folder executions lie."""
_STATE = click.option("--state", metavar="DIR", help=f"State folder of 'holdfast up'.  [default: {DEFAULT_STATE}]")
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="JSON documents instead of text.")
_JOURNAL = click.option(
    "--journal",
    "journal_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Where executions lie.  [default: {JOURNAL} in the state folder]",
)
_COLOURS = {"equal": "proven", "differs": "refuted", "unknown": "unknown", "not_reached": "not_applicable"}


@click.group()
def workflow() -> None:
    """Do what a file declares, again and again: admit facts, ask models, decide by rules, propose acts."""


@workflow.command("run")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True)
@gateway_options
@click.option("--once", is_flag=True, help="Start one execution now, and end when it has ended.")
@click.option("--no-wait", is_flag=True, help="With --once: end when nothing is left to do but wait for the gate.")
@click.option("--dry-run", "dry", is_flag=True, help="Do everything but acts; show them instead.")
@click.option("--backfill", metavar="FROM", help="First make up for the times of a schedule since then.")
@click.option("--input", "given", metavar="FILE", help="With --once: JSON that steps find at $.trigger.data.")
@click.option(
    "--at-once", type=click.IntRange(1, 256), default=8, show_default=True, help="Executions moved at a time."
)
@_JOURNAL
@click.option("--data", "data", multiple=True, metavar="[NAME=]URL", help="Data nodes.  [default: the network's]")
@click.option("--chain", metavar="URL", help="The chain whose blocks start something.  [default: the network's]")
@click.option("--panel", metavar="URL", help="Who says how acts' cases stand.  [default: the network's]")
@click.option("--panel-key", metavar="REF", help="API key of the panel: file:PATH or env:NAME.")
@click.option(
    "--acts",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The journal of whoever carries the acts out.  [default: agents/NAME.acts in the state folder]",
)
@click.option("--listen", default="127.0.0.1:8790", show_default=True, metavar="HOST:PORT", help="For deliveries.")
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="REF",
    help="Of deliveries: file:PATH or env:NAME; WORKFLOW=REF is that one's alone.",
)
@click.option("--celery", metavar="BROKER", help="Be a Celery worker, with beat, over this broker.")
@_AS_JSON
def run(paths: tuple[str, ...], network: Network, as_json: bool, **options: Any) -> int:
    """Run the workflows of FILE... whenever their triggers say so, until Ctrl-C; or once.

    What was begun before goes on where it was. Acts are proposed and wait for their queues; nothing here carries one
    out. Exit code with --once: 0 done, 1 failed, 3 when it waits still.
    """
    from holdfast.cli.workflow_running import Plan, run_workflows  # noqa: PLC0415 - the base install has no HTTP client

    definitions = [read_definition(path) for path in paths]
    if len({item.name for item in definitions}) != len(definitions):
        raise UsageError("workflow.twice", "two of these files are of one workflow")
    since = options.pop("backfill")
    given = options.pop("given")
    if not options["once"] and (options["no_wait"] or given is not None):
        raise UsageError("workflow.once", "--no-wait and --input belong to --once")
    if options["once"] and options["celery"] is not None:
        raise UsageError("workflow.once", "a worker runs until it is stopped: --celery does not go with --once")
    plan = Plan(
        definitions,
        journal=options.pop("journal_path") or state_of(network) / JOURNAL,
        state=state_of(network),
        since=None if since is None else parse_moment(since),
        given=None if given is None else canonical.decode_exact(read_file(given)),
        **options,
    )
    return run_workflows(plan, network, as_json=as_json)


@workflow.command("check")
@click.argument("path", metavar="FILE")
@_AS_JSON
def check(path: str, as_json: bool) -> None:
    """Read FILE and show what it means: digest, trigger, steps, tools. Nobody is asked for anything."""
    found = read_definition(path)
    if as_json:
        emit_json({"digest": found.digest, "definition": canonical.decode(found.document)})
        return
    emit(f"{found.name}  {found.digest}")
    emit(clean_line(f"starts     {_trigger_words(found)}"))
    for step in found.steps:
        emit(clean_line(f"{step.kind:<10} {step.name}{'' if step.condition is None else f'  if {step.condition}'}"))
    for tool in found.tools.values():
        emit(clean_line(f"acts       {tool.name}  {tool.effect}, proposed to the queue {tool.queue}"))


@workflow.command("list")
@_STATE
@_JOURNAL
@click.option("--workflow", "name", metavar="NAME", help="Of this workflow alone.")
@click.option("--stands", metavar="STATE", help="waiting, open, closing, done, failed or skipped.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@_AS_JSON
def list_executions(
    state: str | None, journal_path: Path | None, name: str | None, stands: str | None, limit: int, as_json: bool
) -> None:
    """List executions, the newest first: how each stands, and what it waits for."""
    from holdfast.agents.workflows.journal import STATES  # noqa: PLC0415 - agents come with holdfast[node]

    if stands is not None and stands not in STATES:
        raise UsageError("workflow.state", f"an execution is one of {', '.join(STATES)}", param="stands")
    with open_journal(state, journal_path) as journal:
        found = journal.listed(workflow=name, state=stands, limit=limit)
        if as_json:
            emit_json({"executions": [_shown(journal, item) for item in found]})
            return
        for item in found:
            for line in _lines(journal, item):
                emit(clean_line(line))
        if not found:
            emit("none")


@workflow.command("replay")
@click.argument("execution", metavar="EXECUTION")
@click.option("--definition", "path", metavar="FILE", help="Another definition than the one it ran under.")
@_STATE
@_JOURNAL
@_AS_JSON
def replay_execution(
    execution: str, path: str | None, state: str | None, journal_path: Path | None, as_json: bool
) -> int:
    """Put a definition to what was written down of EXECUTION, and say step by step what would differ.

    Nothing is asked of anybody and nothing is sent. EXECUTION is an id or its beginning. Exit code: 0 everything is
    equal, 1 something differs, 3 something cannot be known.
    """
    with open_journal(state, journal_path) as journal:
        item = journal.find(execution)
        own, known = journal.load(item.id)
    definition = own if path is None else read_definition(path)
    found = replay(definition, known)
    if as_json:
        steps = [{"step": one.step, "kind": one.kind, "state": one.state, "says": one.says} for one in found]
        emit_json(
            {
                "label": "replay",
                "execution": item.id,
                "ran_under": own.digest,
                "replayed_under": definition.digest,
                "steps": steps,
            }
        )
        return _replay_code(found)
    emit(clean_line(f"replay of {item.id[:16]} ({item.workflow}), from what was written down; nothing was sent"))
    if definition.digest != own.digest:
        emit(f"under {definition.digest[:16]} instead of {own.digest[:16]}")
    for one in found:
        rest = clean_line(f"{one.kind:<10} {one.step}: {one.says}")
        emit(f"{paint(f'{one.state:<11}', _COLOURS[one.state])} {rest}")
    return _replay_code(found)


def _replay_code(found: tuple[Compared, ...]) -> int:
    states = {one.state for one in found}
    if "differs" in states:
        return 1
    return 3 if "unknown" in states else 0


# Reading


def read_definition(path: str) -> Definition:
    """A definition from TOML, or from a Python file's ``workflow``. Raises ``workflow.*``."""
    if not path.endswith(".py"):
        return parse_workflow_toml(read_file(path).decode("utf-8", "replace"))
    if not Path(path).is_file():
        raise UsageError("output.file", f"cannot read {path}")
    made = runpy.run_path(path).get("workflow")
    found = made.definition() if isinstance(made, Workflow) else made
    if not isinstance(found, Definition):
        raise UsageError("workflow.python", f"{path} makes no workflow", hint="it sets 'workflow' to one")
    return found


def state_of(network: Network) -> Path:
    """The folder where the network is described; the usual one where it is named by a URL."""
    described = Path(network.described_by)
    return described.parent if described.is_file() else Path(DEFAULT_STATE)


class open_journal:  # noqa: N801 - used as a function is
    """A journal that is there already; raises ``workflow.journal``."""

    def __init__(self, state: str | None, path: Path | None) -> None:
        self._path = path or Path(state or DEFAULT_STATE) / JOURNAL
        self._journal: Journal | None = None

    def __enter__(self) -> Journal:
        from holdfast.agents.workflows.journal import Journal  # noqa: PLC0415 - as above

        if not self._path.is_file():
            raise UsageError(
                "workflow.journal", f"no executions are kept in {self._path}", hint="holdfast workflow run FILE"
            )
        self._journal = Journal(self._path)
        return self._journal

    def __exit__(self, *_: object) -> None:
        if self._journal is not None:
            self._journal.close()


# Showing


def _trigger_words(found: Definition) -> str:
    told = {name: item for name, item in found.trigger.to_json().items() if item is not None and name != "kind"}
    return " ".join([found.trigger.kind, *(f"{name}={item}" for name, item in told.items())])


def _steps(journal: Journal, item: Listed) -> list[dict[str, Any]]:
    definition, known = journal.load(item.id)
    found = []
    for step in definition.steps:
        record = known.records.get(step.name)
        if record is not None:
            found.append(
                {
                    "step": step.name,
                    "kind": step.kind,
                    "state": record.state,
                    "attempt": record.attempt,
                    "run": record.run,
                    "code": record.code,
                }
            )
    return found


def _shown(journal: Journal, item: Listed) -> dict[str, Any]:
    return {
        "execution": item.id,
        "workflow": item.workflow,
        "definition": item.definition,
        "trigger": {"kind": item.kind, "key": item.key, "at": item.at},
        "dry_run": item.dry,
        "state": item.state,
        "started_at": item.told_at,
        "ended_at": item.ended_at,
        "next_at": item.next_at,
        "run": item.run,
        "ending": item.ending,
        "trouble": item.trouble,
        "steps": _steps(journal, item),
    }


def _lines(journal: Journal, item: Listed) -> list[str]:
    dry = "  dry" if item.dry else ""
    lines = [f"{item.id[:16]}  {item.state:<8} {item.workflow}  {item.kind} {item.key}{dry}"]
    steps = _steps(journal, item)
    if steps:
        lines.append("    " + "; ".join(f"{one['step']} {one['state']}" for one in steps))
    if item.run is not None:
        lines.append(f"    agent run {item.run}")
    ending: Mapping[str, Any] = item.ending or {}
    if ending.get("code"):
        lines.append(f"    {ending['code']}: {ending.get('says')}")
    if item.trouble is not None:
        lines.append(f"    tried again at {item.next_at}: {item.trouble}")
    return lines
