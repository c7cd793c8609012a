"""``holdfast queue``: what waits in a panel's queues, and the work that their gates let through.

Rules: rows show lanes, reasons and where a case stands, and nothing that was asked or answered. ``next`` hands out what
the gate lets through at that moment, under a lease and a key; what is held is shown only when it is asked for, apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from holdfast.cli.output import clean_line, emit, emit_json, wants_colour
from holdfast.cli.panel import Panel, panel_options, row_lines
from holdfast.cli.webhooks import webhooks
from holdfast.errors import MalformedError, UsageError
from holdfast.verifier.gate import GATE_STATES

NOTHING = 3
"""Exit code of ``next`` when there is nothing to hand out now: ask again later."""
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
_CONSUMER = click.option("--consumer", required=True, metavar="WHO", help="Who works on it: a code, such as desk-1.")
_HELD_KEY = click.option("--key", required=True, metavar="HEX", help="Key of the hand-out, as 'next' printed it.")
STATES = click.option(
    "--stands",
    "states",
    multiple=True,
    type=click.Choice(GATE_STATES),
    metavar="STATE",
    help=f"Only cases that stand there: {', '.join(GATE_STATES)}; may be repeated.",
)
"""Narrows a list of cases."""


@click.group()
def queue() -> None:
    """Look into a panel's queues, take work that their gates let through."""


queue.add_command(webhooks)


@queue.command("list")
@panel_options
@_AS_JSON
def list_queues(panel: Panel, as_json: bool) -> None:
    """List the queues: policy, and how many cases stand where."""
    told = panel.ask(lambda client: client.queues())
    queues = listed_queues(told)
    if as_json:
        emit_json(told)
        return
    if not queues:
        emit("no queues yet")
    for found in queues:
        emit(clean_line(found["name"]))
        own = "" if found.get("authored") else ", the empty one: nothing is ever clear in this queue"
        emit(clean_line(f"    policy {found['policy']}{own}"))
        counts = found["counts"]
        emit("    " + "  ".join(f"{state} {counts.get(state, 0)}" for state in GATE_STATES))
    trouble = told.get("trouble")
    for name, says in sorted(trouble.items()) if isinstance(trouble, dict) else ():
        emit(clean_line(f"policy file of {name}: not in force as it stands: {says}"))


@queue.command("show")
@click.argument("name")
@STATES
@click.option("--limit", default=20, type=click.IntRange(1, 100), show_default=True, help="How many.")
@click.option("--after", metavar="N", type=click.IntRange(min=0), help="Go on after this position.")
@panel_options
@_AS_JSON
@click.option("--no-color", is_flag=True, help="No colours.")
def show(
    panel: Panel, name: str, states: tuple[str, ...], limit: int, after: int | None, as_json: bool, no_color: bool
) -> None:
    """Show the cases of queue NAME, oldest first: where each stands, why, and its eleven lanes.

    Nothing that was asked or answered is shown.
    """

    async def ask(client: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return await client.queues(), await client.cases(states, queue=name, limit=limit, after=after)

    told, page = panel.ask(ask)
    found = next((item for item in listed_queues(told) if item["name"] == name), None)
    if found is None:
        known = ", ".join(item["name"] for item in listed_queues(told)) or "none"
        raise UsageError("queue.unknown", f"there is no queue {name}", hint=f"there is: {known}", status=404)
    rows = listed_rows(page)
    if as_json:
        emit_json({"queue": found, "cases": rows, "after": page.get("after")})
        return
    colour = wants_colour(no_color=no_color)
    emit(clean_line(f"queue  {name}, policy {found['policy']}"))
    emit("       " + "  ".join(f"{state} {found['counts'].get(state, 0)}" for state in GATE_STATES))
    for line in rows_lines(rows):
        emit(line, colour=colour)
    if page.get("after") is not None:
        emit()
        emit(clean_line(f"there is more: --after {page['after']}"))


@queue.command("next")
@click.argument("name")
@_CONSUMER
@click.option("--lease", metavar="SECONDS", type=click.IntRange(1, 86_400), help="How long you have.  [default: 60]")
@click.option("--include-hold", is_flag=True, help="Show also what is held: apart, labelled, under no lease.")
@panel_options
@_AS_JSON
@click.option("--no-color", is_flag=True, help="No colours.")
def take(
    panel: Panel,
    name: str,
    consumer: str,
    lease: int | None,
    include_hold: bool,
    as_json: bool,
    no_color: bool,
) -> int:
    """Take the oldest case of queue NAME that its gate lets through at this moment.

    It is yours until the lease ends. Say 'holdfast queue done' when the work is done; the same key for the same work
    shows you what you did already. Exit code 3 when there is nothing now.
    """
    told = panel.ask(lambda client: client.next(name, consumer, include_hold=include_hold, lease_s=lease))
    handed = told.get("handed")
    if handed is not None and not (isinstance(handed, dict) and isinstance(handed.get("case"), dict)):
        raise MalformedError("panel.answer", "a hand-out names its case")
    held = listed_rows(told, "held") if include_hold else []
    row = _row(handed["case"]) if handed is not None else None
    if as_json:
        emit_json(told)
        return 0 if handed is not None else NOTHING
    colour = wants_colour(no_color=no_color)
    if handed is None or row is None:
        emit("nothing to hand out now")
    else:
        emit(clean_line(f"case      {row['id']}"))
        emit(clean_line(f"consumer  {handed.get('consumer')}"))
        emit(clean_line(f"key       {handed.get('key')}"))
        emit(clean_line(f"until     {handed.get('until')}"))
        emit(clean_line(f"evidence  {panel.url}{row.get('evidence', '')}"))
        for line in rows_lines([row]):
            emit(line, colour=colour)
    if include_hold:
        emit()
        emit(f"held, and not handed out: {len(held)}")
        for line in rows_lines(held):
            emit(line, colour=colour)
    return 0 if handed is not None else NOTHING


@queue.command("done")
@click.argument("case")
@_CONSUMER
@_HELD_KEY
@panel_options
@_AS_JSON
def done(panel: Panel, case: str, consumer: str, key: str, as_json: bool) -> int:
    """Say that the work on CASE is done: it is handed over and not handed out again.

    Exit code 1 when the case was recalled or rejected meanwhile: then what was done has to be taken back.
    """
    told = panel.ask(lambda client: client.end_lease(case, "done", consumer, key))
    state = _state(told)
    back = state in ("RECALLED", "REJECTED")
    if as_json:
        emit_json(told)
    else:
        emit(clean_line(f"{case} is handed over; it stands {state}"))
        if back:
            emit("What was done with it has to be taken back.")
    return 1 if back else 0


@queue.command("give-back")
@click.argument("case")
@_CONSUMER
@_HELD_KEY
@panel_options
@_AS_JSON
def give_back(panel: Panel, case: str, consumer: str, key: str, as_json: bool) -> None:
    """Give CASE back undone: it is free for the next one who asks."""
    told = panel.ask(lambda client: client.end_lease(case, "give-back", consumer, key))
    if as_json:
        emit_json(told)
        return
    emit(clean_line(f"{case} is given back; it stands {_state(told)}"))


def listed_queues(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The queues of a panel's answer; raises ``panel.answer``."""
    from holdfast.client.panel import parse_listed  # noqa: PLC0415 - the client comes with holdfast[node]

    found = parse_listed(told, "queues")
    for item in found:
        fits = isinstance(item.get("name"), str) and isinstance(item.get("policy"), str)
        if not fits or not isinstance(item.get("counts"), dict):
            raise MalformedError("panel.answer", "a queue has a name, a policy and counts")
    return found


def listed_rows(told: Mapping[str, Any], name: str = "cases") -> list[dict[str, Any]]:
    """The rows of a panel's answer, without the journals that come with them; raises ``panel.answer``."""
    from holdfast.client.panel import parse_listed  # noqa: PLC0415 - the client comes with holdfast[node]

    return [_row(item) for item in parse_listed(told, name)]


def _row(value: dict[str, Any]) -> dict[str, Any]:
    from holdfast.client.panel import parse_row  # noqa: PLC0415 - the client comes with holdfast[node]

    return {key: item for key, item in parse_row(value).items() if key != "events"}


def rows_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Rows one below the other."""
    from holdfast.client.panel import parse_lanes  # noqa: PLC0415 - the client comes with holdfast[node]

    for row in rows:
        yield ""
        yield from row_lines(row, parse_lanes(row["lanes"]))


def _state(told: Mapping[str, Any]) -> str:
    state = told.get("state")
    if state not in GATE_STATES:
        raise MalformedError("panel.answer", "the panel does not say where the case stands")
    return str(state)
