"""``holdfast policy``: read a queue's policy before a queue does, and say what it asks in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from holdfast.cli.output import clean, clean_line, emit, emit_json, read_file
from holdfast.core import canonical
from holdfast.verifier.queue_policy import QueuePolicy, in_words, parse_queue_policy, span_in_words


@click.group()
def policy() -> None:
    """Read queue policies: what a queue asks of a case before it lets it go."""


@policy.command("check")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def check(file: str, as_json: bool) -> None:
    """Read a queue policy strictly and say what it asks.

    FILE is TOML as a queue reads it, - for standard input. The digest is that of its canonical form: comments, white
    space and order change nothing in it.
    """
    found = parse_queue_policy(read_file(file).decode("utf-8", "surrogateescape"))
    if as_json:
        emit_json(policy_json(found))
        return
    for line in policy_lines(found):
        emit(clean(line))


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
