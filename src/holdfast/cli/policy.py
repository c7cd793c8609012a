"""``holdfast policy``: read a queue's policy before a queue does, say what it asks in words, and what it would move.

What is wrong with a policy is said with the line it stands in. With a network the panel is asked which open cases of
the queue would stand elsewhere under it, and why; nothing is changed by asking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

from holdfast.cli.network import DEFAULT_STATE
from holdfast.cli.output import clean, clean_line, emit, emit_json, hanging, read_file
from holdfast.cli.panel import KEY_VARIABLE, find_panel
from holdfast.core import canonical
from holdfast.errors import MalformedError, UsageError
from holdfast.verifier.gate import GATE_STATES
from holdfast.verifier.queue_policy import QueuePolicy, in_words, parse_queue_policy, span_in_words

MOVES, UNSEEN = 1, 3
"""Exit codes: cases would move; none of those looked at would, and there are others."""
_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=")


@click.group()
def policy() -> None:
    """Read queue policies: what a queue asks of a case before it lets it go."""


@policy.command("check")
@click.argument("file")
@click.option("--queue", metavar="NAME", help="Say which open cases of this queue would move.")
@click.option("--state", metavar="DIR", help=f"State folder of the network.  [default: {DEFAULT_STATE}]")
@click.option("--panel", "url", metavar="URL", help="A panel, instead of a state folder.")
@click.option("--api-key", metavar="REF", help=f"Key of the panel: file:PATH or env:NAME; else ${KEY_VARIABLE}.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def check(file: str, queue: str | None, state: str | None, url: str | None, api_key: str | None, as_json: bool) -> int:
    """Read a queue policy strictly and say what it asks.

    FILE is TOML as a queue reads it, - for standard input. The digest is that of its canonical form: comments, white
    space and order change nothing in it.

    With --queue, --state or --panel the network's panel says which open cases of the queue would move under it, from
    what to what, and why. Exit code 1 when some would, 3 when none of those looked at would and there are others.
    """
    raw = read_file(file)
    found = read_policy(raw, file)
    change = None
    if (queue, state, url) != (None, None, None):
        if queue not in (None, found.name):
            raise UsageError(
                "queue.name", f"this is a policy for the queue {found.name}, not for {queue}", param="name"
            )
        panel = find_panel(state, url, api_key)
        change = parse_change(panel.ask(lambda client: client.check(found.name, raw)))
    if as_json:
        emit_json(policy_json(found) | ({} if change is None else {"change": change}))
    else:
        for line in policy_lines(found):
            emit(clean(line))
        for line in change_lines(change) if change is not None else ():
            emit(line)
    if change is None or not (change["moves"] or change["left"]):
        return 0
    return MOVES if change["moves"] else UNSEEN


def read_policy(raw: bytes, file: str) -> QueuePolicy:
    """A policy's bytes to what it says; raises ``queue_policy.*`` with the line that is meant, where there is one."""
    text = raw.decode("utf-8", "surrogateescape")
    try:
        return parse_queue_policy(text)
    except MalformedError as error:
        line = line_of(text, error.param) if error.param is not None else None
        where = f"{file}, line {line}: " if line is not None else f"{file}: "
        hint = error.hint or "spec/gate.md, section 2, says what a policy can ask"
        raise MalformedError(error.code, where + error.message, hint=hint, param=error.param) from error


def line_of(text: str, name: str) -> int | None:
    """The line, from 1, that says ``name`` (like ``require.settlement.states``), or that begins its table."""
    table, found, near = "", None, None
    for number, line in enumerate(text.splitlines(), 1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header is not None:
            table = header[1]
            here = table
        elif key is not None:
            here = f"{table}.{key[1]}" if table else key[1]
        else:
            continue
        if here == name or (found is None and here.endswith(f".{name}")):
            found = number
            if here == name:
                break
        if near is None and name.startswith(f"{here}."):
            near = number
    return found or near


def parse_change(told: dict[str, Any]) -> dict[str, Any]:
    """What a policy would move, as a panel says it; raises ``panel.answer``."""
    moves = told.get("moves")
    fits = isinstance(moves, list) and all(isinstance(told.get(name), str) for name in ("queue", "before", "after"))
    if not fits or not all(type(told.get(name)) is int for name in ("seen", "left")):
        raise MalformedError("panel.answer", "the panel does not say what would move")
    for move in moves or ():
        states = isinstance(move, dict) and {move.get("before"), move.get("after")} <= set(GATE_STATES)
        if not states or not isinstance(move.get("reasons"), list):
            raise MalformedError("panel.answer", "a move goes from one state of the gate to another, for reasons")
    return told


def change_lines(change: Mapping[str, Any]) -> Iterator[str]:
    """What a policy would move, one case after the other."""
    yield ""
    if change["before"] == change["after"]:
        yield clean_line(f"The queue {change['queue']} has this policy already.")
    else:
        yield clean_line(f"instead of policy {change['before']} in the queue {change['queue']}:")
    unseen = f"; {change['left']} held ones were not looked at" if change["left"] else ""
    yield f"{change['seen']} open cases looked at, {len(change['moves'])} would move{unseen}"
    for move in change["moves"]:
        yield ""
        yield clean_line(f"{move['before']} -> {move['after']}  case {move.get('case')}, run {move.get('run')}")
        for reason in move["reasons"]:
            yield from hanging("", clean_line(f"{reason.get('code')}: {reason.get('says')}"))
        if not move["reasons"]:
            yield "    nothing is missing"


def policy_json(found: QueuePolicy) -> dict[str, Any]:
    """Name, digest and canonical form."""
    return {"name": found.name, "digest": found.digest, "document": canonical.decode(found.document)}


def policy_lines(found: QueuePolicy) -> Iterator[str]:
    """What a policy asks, one requirement a line."""
    yield f"policy {found.name}"
    yield f"digest {found.digest}"
    yield ""
    for lane, need in found.require.items():
        says = f"{_either(need.states)}{' by ' + _either(need.bases) if need.bases else ''}"
        age = f", younger than {span_in_words(need.max_age_s)}" if need.max_age_s is not None else ""
        age += f", without a {' or a '.join(need.refuse)}" if need.refuse else ""
        yield f"{lane:<12} {says}{age}"
    if not found.require:
        yield "Asks nothing of any lane: nothing is ever clear under this policy."
    yield "No lane may be refuted, whether it is asked for or not."
    yield ""
    asked = found.judgement
    if asked is None:
        yield "people       nobody has to decide"
    else:
        number = "1 person" if asked.reviewers == 1 else f"{asked.reviewers} people"
        yield f"people       {number} acting as {in_words(asked.role)}"
        for name, text in (("rule", asked.rule), ("threshold", asked.threshold), ("framing", asked.framing)):
            yield f"  {name:<10} {'not recorded' if text is None else clean_line(text)}"
    early = found.early_release
    if early is None:
        yield "early        nothing is released early"
    else:
        yield f"early        {_either(early.roles)}, for at most {span_in_words(early.max_s)}"


def _either(names: tuple[str, ...]) -> str:
    return " or ".join(map(in_words, names))
