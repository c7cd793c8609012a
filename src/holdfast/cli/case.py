"""``holdfast case``: one case with its lanes and its journal, as a file too; and a person's acts on it.

Rules:

* Reading leaves nothing in the journal, but shows no evidence either. ``open`` is a person's act: the journal keeps who
  had which lanes before them, and whoever decides has opened the case first.
* A person signs in with their password, which is asked for in the terminal or read by reference. What is kept is the
  session (``cli.panel``). No act of a person is done with a key.
* No act makes a case CLEAR. The gate does, when all that its queue asks for is there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

import click

from holdfast.cli.output import (
    clean,
    clean_line,
    emit,
    emit_json,
    hanging,
    lane_lines,
    read_file,
    wants_colour,
    write_file,
    written_option,
)
from holdfast.cli.panel import Panel, anybody_options, marks, panel_options, person_options, read_password
from holdfast.cli.policy import policy_lines
from holdfast.cli.queue import STATES, listed_rows, rows_lines
from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, hex_decode, time_encode
from holdfast.core.sealing import open_sealed_answer
from holdfast.core.statements import is_run_id
from holdfast.errors import HoldfastError, MalformedError, UsageError
from holdfast.verifier.queue_policy import parse_queue_policy_document

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
_NO_COLOR = click.option("--no-color", is_flag=True, help="No colours.")
_REASON = click.option("--reason", required=True, metavar="TEXT", help="Why; it stays in the journal for good.")
_ROLE = click.option("--role", metavar="ROLE", help="The role you act in, where you hold several.")
_LANES = click.option("--lanes", metavar="HEX", help="Digest of the lanes you decide on.  [default: as you opened it]")
MAX_RELEASE_S = 315_576_000
"""Longest early release that can be asked for; the queue's policy sets the real bound (``gate.md`` §2)."""


@click.group()
def case() -> None:
    """Read cases, export them, act on them under your own name."""


@case.command("list")
@click.option("--run", metavar="ID", help="Only cases of this run.")
@click.option("--queue", metavar="NAME", help="Only cases of this queue.")
@STATES
@click.option("--limit", default=20, type=click.IntRange(1, 100), show_default=True, help="How many.")
@click.option("--after", metavar="N", type=click.IntRange(min=0), help="Go on after this position.")
@panel_options
@_AS_JSON
@_NO_COLOR
def list_cases(
    panel: Panel,
    run: str | None,
    queue: str | None,
    states: tuple[str, ...],
    limit: int,
    after: int | None,
    as_json: bool,
    no_color: bool,
) -> None:
    """List cases, oldest first: where each stands, why, and its eleven lanes."""
    if run is not None and not is_run_id(run):
        raise UsageError("usage.run", "a run id is a UUID in lower case", param="run")
    page = panel.ask(lambda client: client.cases(states, run=run, queue=queue, limit=limit, after=after))
    rows = listed_rows(page)
    if as_json:
        emit_json({"cases": rows, "after": page.get("after")})
        return
    if not rows:
        emit("no such cases")
    colour = wants_colour(no_color=no_color)
    for line in list(rows_lines(rows))[1:]:
        emit(line, colour=colour)
    if page.get("after") is not None:
        emit()
        emit(clean_line(f"there is more: --after {page['after']}"))


@case.command("show")
@click.argument("case_id", metavar="ID")
@panel_options
@_AS_JSON
@_NO_COLOR
def show(panel: Panel, case_id: str, as_json: bool, no_color: bool) -> None:
    """Print case ID: where it stands and why, its lanes, what its queue asks, its journal.

    The evidence is not shown and the journal does not grow; 'holdfast case open' shows it to a person.
    """
    _show(panel, panel.ask(lambda client: client.case(case_id)), as_json=as_json, no_color=no_color)


@case.command("open")
@click.argument("case_id", metavar="ID")
@click.option("-o", "--output", metavar="FILE", help="Where to write the evidence; - for standard output.")
@click.option("--queue", metavar="NAME", help="ID is a run: open a case for it in this queue.")
@click.option("--subject", metavar="TEXT", help="With --queue: what the decision is about.")
@person_options
@_AS_JSON
@_NO_COLOR
def open_case(
    panel: Panel,
    case_id: str,
    output: str | None,
    queue: str | None,
    subject: str | None,
    as_json: bool,
    no_color: bool,
) -> None:
    """Open case ID in your own name: as 'show', and the journal keeps that you had these lanes before you.

    With --queue, ID is a run whose caller named no queue: a case is opened for it. Where nobody is known to have asked
    for that run you count as who did, and somebody else decides its case.
    """
    if queue is not None:
        _open_for_run(panel, case_id, queue, subject, output, as_json=as_json)
        return
    if subject is not None:
        raise UsageError("usage.arguments", "--subject goes with --queue", param="subject")
    told = panel.ask(lambda client: client.act(case_id, "view", {}))
    evidence, unread = told.pop("bundle", None), told.pop("unread", None)
    if not isinstance(evidence, str):
        raise MalformedError("panel.answer", "the panel sent no evidence")
    raw = b64_decode(evidence)
    if output is not None:
        write_file(output, raw)
        if output == "-":
            return
    from holdfast.review.contents import content_of  # noqa: PLC0415 - with the panel's commands alone

    content = content_of(raw, now())
    if as_json:
        said = None if content is None else [{"who": who, "text": text} for who, text in content.said]
        framing = None if content is None else list(content.framing)
        emit_json({**told, "said": said, "framing": framing, "unread": unread})
        return
    _show(panel, told, as_json=False, no_color=no_color)
    emit()
    if content is None:
        emit(clean_line(f"what was asked and answered cannot be read: {unread}"))
        return
    for who, text in [*(("framing", text) for text in content.framing), *content.said]:
        emit(clean_line(who))
        for line in text.splitlines():
            for shown in hanging("    ", clean_line(line)):
                emit(shown)


@case.command("unseal")
@click.argument("case_id", metavar="ID")
@click.argument("answer", metavar="[ANSWER]", required=False, type=click.Path(exists=True, dir_okay=False))
@panel_options
@_AS_JSON
def unseal(panel: Panel, case_id: str, answer: str | None, as_json: bool) -> None:
    """Open a sealed answer, once the gate lets case ID go: the capability of its run, or the text of ANSWER, the file
    with the body that the gateway gave.

    Whether the text is what was signed, 'holdfast verify' says of the run's bundle with that capability.
    """
    told = panel.ask(lambda client: client.unseal(case_id))
    secret = hex_decode(told.get("capability"), 32)
    text = None
    if answer is not None:
        text = open_sealed_answer(canonical.decode(read_file(answer)), secret).decode()
    if as_json:
        emit_json({**told, "answer": text})
        return
    emit(told["capability"] if text is None else text)


def _open_for_run(
    panel: Panel, run: str, queue: str, subject: str | None, output: str | None, *, as_json: bool
) -> None:
    if not is_run_id(run):
        raise UsageError("usage.run", "a run id is a UUID in lower case", param="run")
    if output is not None:
        raise UsageError("usage.arguments", "a case that was just opened has no evidence yet", param="output")
    _print_case(panel.ask(lambda client: client.open_case(run, queue, subject)), as_json=as_json)


@case.command("export")
@click.argument("case_id", metavar="ID")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write it; - for standard output.")
@click.option("--without-evidence", is_flag=True, help="Leave the run's bundle out.")
@panel_options
@written_option
def export(panel: Panel, case_id: str, output: str, without_evidence: bool, as_json: bool) -> None:
    """Write case ID to a file that 'holdfast audit FILE' judges without the panel.

    It holds the case's events, every policy and lane vector that they name, and the run's bundle as it is now.
    """

    async def fetch(client: Any) -> tuple[dict[str, Any], str]:
        told = await client.export(case_id)
        run = _run_of(told)
        if without_evidence:
            return told, "left out"
        try:
            raw = await client.bundle(run)
        except HoldfastError as error:
            return told, f"not to be had now: {error.message}"
        told["bundle"] = raw.decode("utf-8")
        return told, f"{len(raw)} bytes"

    told, evidence = panel.ask(fetch)
    write_file(output, canonical.encode(told) + b"\n")
    events = told["events"]
    if as_json:
        emit_json({"case": case_id, "events": len(events), "evidence": evidence, "written": output})
        return
    click.echo(clean_line(f"case {case_id}, {len(events)} events, evidence: {evidence}"), err=True)


@case.command("sign-in")
@click.argument("name")
@click.option("--password", metavar="REF", help="file:PATH or env:NAME.  [default: asked for in the terminal]")
@person_options
@_AS_JSON
def sign_in(panel: Panel, name: str, password: str | None, as_json: bool) -> None:
    """Sign in to the panel as NAME, for the acts of a person.

    The session is kept in the state folder, in a file of mode 0600, until it ends or 'holdfast case sign-out'.
    """
    given = read_password(password)
    session = panel.ask(lambda client: client.sign_in(name, given), nameless=True)
    panel.keep_session(session)
    if as_json:
        emit_json({"who": session.who, "kept": str(panel.session_file)})
        return
    roles = session.who.get("roles")
    held = ", ".join(map(str, roles)) if isinstance(roles, list) else ""
    emit(clean_line(f"signed in as {session.who.get('name')}: {held or 'no roles'}"))
    emit(clean_line(f"the session is kept in {panel.session_file}"))


@case.command("sign-out")
@person_options
@_AS_JSON
def sign_out(panel: Panel, as_json: bool) -> None:
    """End the session that 'sign-in' began, here and at the panel."""
    try:
        panel.ask(lambda client: client.sign_out())
    finally:
        panel.forget_session()
    if as_json:
        emit_json({"signed_out": panel.url, "forgotten": str(panel.session_file)})
        return
    emit("signed out")


@case.command("comment")
@click.argument("case_id", metavar="ID")
@click.argument("text")
@person_options
@_AS_JSON
def comment(panel: Panel, case_id: str, text: str, as_json: bool) -> None:
    """Say TEXT about case ID. It stays for good."""
    _acted(panel, case_id, "comment", {"text": text}, as_json=as_json)


@case.command("claim")
@click.argument("case_id", metavar="ID")
@click.option("--lease", metavar="SECONDS", type=click.IntRange(1, 86_400), help="How long.  [default: 900]")
@person_options
@_AS_JSON
def claim(panel: Panel, case_id: str, lease: int | None, as_json: bool) -> None:
    """Take case ID on, so that nobody else decides it meanwhile. Again renews."""
    _acted(panel, case_id, "claim", {} if lease is None else {"lease_s": lease}, as_json=as_json)


@case.command("let-go")
@click.argument("case_id", metavar="ID")
@person_options
@_AS_JSON
def let_go(panel: Panel, case_id: str, as_json: bool) -> None:
    """Give your claim on case ID back."""
    _acted(panel, case_id, "let-go", {}, as_json=as_json)


@case.command("decide")
@click.argument("case_id", metavar="ID")
@click.argument("act", type=click.Choice(["approve", "reject"]))
@_REASON
@_ROLE
@_LANES
@person_options
@_AS_JSON
def decide(
    panel: Panel, case_id: str, act: str, reason: str, role: str | None, lanes: str | None, as_json: bool
) -> None:
    """Approve or reject case ID, which you have opened with its lanes as they are now.

    An approval alone clears nothing: the gate does, when all that the queue asks for is there.
    """
    _acted(panel, case_id, "decide", {"act": act, "reason": reason, "role": role, "lanes": lanes}, as_json=as_json)


@case.command("release")
@click.argument("case_id", metavar="ID")
@click.option(
    "--for", "seconds", required=True, metavar="SECONDS", type=click.IntRange(1, MAX_RELEASE_S), help="How long."
)
@_REASON
@_ROLE
@_LANES
@person_options
@_AS_JSON
def release(
    panel: Panel, case_id: str, seconds: int, reason: str, role: str | None, lanes: str | None, as_json: bool
) -> None:
    """Let case ID go before its proof, by your name, for SECONDS: PROVISIONAL, and marked for good."""
    until = time_encode(now() + dt.timedelta(seconds=seconds))
    _acted(panel, case_id, "release", {"until": until, "reason": reason, "role": role, "lanes": lanes}, as_json=as_json)


@case.command("reopen")
@click.argument("case_id", metavar="ID")
@_REASON
@_LANES
@person_options
@_AS_JSON
def reopen(panel: Panel, case_id: str, reason: str, lanes: str | None, as_json: bool) -> None:
    """Begin again with case ID, which was rejected or recalled."""
    _acted(panel, case_id, "reopen", {"reason": reason, "lanes": lanes}, as_json=as_json)


@case.command("relate")
@click.argument("case_id", metavar="CASE")
@click.option("--case", "dependant", metavar="ID", help="A case that relied on it.")
@click.option("--reference", metavar="TEXT", help="Something outside that relied on it.")
@anybody_options
@_AS_JSON
def relate(panel: Panel, case_id: str, dependant: str | None, reference: str | None, as_json: bool) -> None:
    """Say what relied on CASE: if it is recalled, so is that."""
    if (dependant is None) == (reference is None):
        raise UsageError("usage.arguments", "name either --case or --reference")
    named = {"case": dependant} if dependant is not None else {"reference": reference}
    told = panel.ask(lambda client: client.act(case_id, "dependants", named))
    if as_json:
        emit_json(told)
        return
    from holdfast.client.panel import parse_listed  # noqa: PLC0415 - the client comes with holdfast[node]

    emit(clean_line(f"what relied on case {case_id}:"))
    for item in parse_listed(told, "dependants"):
        emit(clean_line(f"    {item.get('kind')} {item.get('target')}"))


@case.command("recall")
@click.option("--evidence", required=True, metavar="DIGEST", help="SHA-256 of the evidence, as a lane names it.")
@click.option("--cause", metavar="TEXT", help="Why; it stays in the journal for good.")
@click.option("--dry-run", is_flag=True, help="Only say what would be reached.")
@person_options
@_AS_JSON
def recall(panel: Panel, evidence: str, cause: str | None, dry_run: bool, as_json: bool) -> None:
    """Recall every case that was let through on evidence, and all that relied on them, as an approver.

    With --dry-run nothing is changed: it says which cases and outside references a recall would reach now.
    """
    if dry_run:
        _print_plan(panel.ask(lambda client: client.recall_plan(evidence)), as_json=as_json)
        return
    if cause is None:
        raise UsageError("usage.arguments", "a recall has a --cause; --dry-run says what it would reach", param="cause")
    told = panel.ask(lambda client: client.recall(evidence, cause))
    if as_json:
        emit_json(told)
        return
    cases, references = told.get("cases"), told.get("references")
    if not isinstance(cases, list) or not isinstance(references, list):
        raise MalformedError("panel.answer", "a recall names cases and references")
    emit(f"recalled {len(cases)}" if cases else "nothing was left to recall")
    for name in cases:
        emit(clean_line(f"    {name}"))
    for line in _outside(references):
        emit(line)


def _print_plan(told: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(told)
        return
    from holdfast.client.panel import parse_listed  # noqa: PLC0415 - as above

    for name, says in (("direct", "let through on it"), ("dependants", "relied on those")):
        rows = parse_listed(told, name)
        emit(f"{says}: {len(rows)}")
        for row in rows:
            emit(clean_line(f"    {row.get('state')!s:<12} {row.get('case')}  queue {row.get('queue')}"))
    for line in _outside(parse_listed(told, "references")):
        emit(line)
    emit("nothing was changed")


def _outside(references: list[Any]) -> Iterator[str]:
    """Who has to be told outside the panel."""
    if references:
        yield f"outside, to be told by you: {len(references)}"
    for item in references:
        if isinstance(item, dict):
            yield clean_line(f"    {item.get('reference')}  relied on case {item.get('case')}")


def now() -> dt.datetime:
    """This machine's time."""
    from holdfast.adapters.clock_system import SystemClock  # noqa: PLC0415 - picked where it is wanted

    return SystemClock().now()


def _acted(panel: Panel, case_id: str, act: str, body: Mapping[str, Any], *, as_json: bool) -> None:
    """One act of a person, and where the case stands after it."""
    given = {name: value for name, value in body.items() if value is not None}
    _print_case(panel.ask(lambda client: client.act(case_id, act, given)), as_json=as_json)


def _print_case(told: dict[str, Any], *, as_json: bool) -> None:
    """Where a case stands, and why."""
    if as_json:
        emit_json(told)
        return
    from holdfast.client.panel import parse_row  # noqa: PLC0415 - the client comes with holdfast[node]

    row = parse_row(told)
    emit(clean_line(f"{row['id']} stands {row['state']}"))
    for line in _why(row):
        emit(line)


def _show(panel: Panel, told: dict[str, Any], *, as_json: bool, no_color: bool) -> None:
    if as_json:
        emit_json(told)
        return
    colour = wants_colour(no_color=no_color)
    for line in case_lines(told, panel.url):
        emit(line, colour=colour)


def case_lines(told: dict[str, Any], url: str) -> Iterator[str]:
    """A case file as text."""
    from holdfast.client.panel import parse_lanes, parse_listed, parse_row  # noqa: PLC0415 - as above

    row = parse_row(told)
    yield clean_line(f"case    {row['id']}")
    yield clean_line(f"queue   {row['queue']}, run {row['run']}")
    yield clean_line(f"stands  {row['state']}; opened {row['opened_at']}, changed {row['changed_at']}")
    for mark in marks(row):
        yield from hanging("", clean_line(mark))
    yield clean_line(f"as told by {url}; 'holdfast case export' and 'holdfast audit' judge for yourself")
    yield ""
    yield "why"
    yield from _why(row)
    yield ""
    yield clean_line(f"lanes {row.get('lanes_digest') or 'were not appraised yet'}")
    yield from lane_lines(parse_lanes(row["lanes"]))
    yield ""
    if isinstance(told.get("policy_document"), dict):
        policy = parse_queue_policy_document(canonical.encode(told["policy_document"]))
        yield from (clean(line) for line in policy_lines(policy))
        yield ""
    yield "journal"
    for event in parse_listed(told, "events"):
        yield from event_lines(event)


def _why(row: Mapping[str, Any]) -> Iterator[str]:
    if not row["reasons"]:
        yield "    nothing is missing"
    for reason in row["reasons"]:
        yield from hanging("", clean_line(f"{reason['code']}: {reason['says']}"))


def event_lines(event: Mapping[str, Any]) -> Iterator[str]:
    """One event: number, time, kind, who, and what they said."""
    actor, body = event.get("actor"), event.get("body")
    if not isinstance(actor, dict) or not isinstance(body, dict):
        raise MalformedError("panel.answer", "an event has an actor and a body")
    who = str(actor.get("kind")) if actor.get("kind") == actor.get("id") else f"{actor.get('kind')} {actor.get('id')}"
    if actor.get("key") is not None:
        who = f"{who} (API key {actor['key']})"
    yield clean_line(f"{event.get('seq')!s:>6}  {event.get('at')}  {event.get('kind')!s:<16}  {who}")
    for name in ("act", "role", "reason", "text", "until", "consumer", "because", "target", "base", "statement"):
        if body.get(name) is not None:
            yield from hanging(f"    {name:<10}", clean_line(str(body[name])))
    reasons = body.get("reasons")
    if isinstance(reasons, list) and reasons:
        codes = dict.fromkeys(str(reason.get("code")) for reason in reasons if isinstance(reason, dict))
        yield from hanging("    because   ", clean_line(", ".join(codes)))


def _run_of(told: Mapping[str, Any]) -> str:
    """The run of an exported case: its first event says it."""
    from holdfast.client.panel import first_event  # noqa: PLC0415 - as above

    body = first_event(told).get("body")
    run = body.get("run") if isinstance(body, dict) else None
    if not is_run_id(run):
        raise MalformedError("panel.answer", "the case does not say which run it is of")
    return str(run)
