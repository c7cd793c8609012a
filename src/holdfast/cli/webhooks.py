"""``holdfast queue webhooks``: who a panel tells of what its gates let through, and what could not be delivered.

Rules: reading takes an API key with ``queue:read`` or a person's session; sending again, dropping and enabling are a
person's acts (``webhook.md`` §6). An endpoint is shown without the path of its address; of what it answered, one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from holdfast.cli.output import clean_line, emit, emit_json, hanging
from holdfast.cli.panel import Panel, anybody_options, person_options
from holdfast.errors import MalformedError, UsageError

LISTS = ("dead", "waiting", "dropped")
"""What is listed; what was delivered is counted."""
MOST = 100
"""Deliveries in one answer."""
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")


@click.group("webhooks")
def webhooks() -> None:
    """See who is told by webhook; send again or drop what was given up."""


@webhooks.command("list")
@anybody_options
@_AS_JSON
def list_webhooks(panel: Panel, as_json: bool) -> None:
    """List the endpoints: queue, how many deliveries stand where, what stands in the way."""
    told = panel.ask(lambda client: client.webhooks())
    if as_json:
        emit_json(told)
        return
    for line in endpoint_lines(told):
        emit(line)


@webhooks.command("show")
@click.argument("stands", type=click.Choice(LISTS), default="dead")
@click.option("--limit", default=50, type=click.IntRange(1, MOST), show_default=True, help="How many.")
@click.option("--after", metavar="N", default=0, type=click.IntRange(min=0), help="Go on after this position.")
@anybody_options
@_AS_JSON
def show(panel: Panel, stands: str, limit: int, after: int, as_json: bool) -> None:
    """Show deliveries that are dead letters, that wait, or that were dropped: attempts and the last answer."""
    told = panel.ask(lambda client: client.deliveries(stands, after, limit))
    if as_json:
        emit_json(told)
        return
    from holdfast.client.panel import parse_listed  # noqa: PLC0415 - the client comes with holdfast[node]

    found = parse_listed(told, "deliveries")
    if not found:
        emit("none")
    for item in found:
        for line in delivery_lines(item):
            emit(line)
    if told.get("after") is not None:
        emit()
        emit(clean_line(f"there is more: --after {told['after']}"))


@webhooks.command("replay")
@click.argument("delivery")
@person_options
@_AS_JSON
def replay(panel: Panel, delivery: str, as_json: bool) -> None:
    """Send dead letter DELIVERY again, under the same id. The gate is asked again before it leaves."""
    _delivery_act(panel, delivery, "replay", as_json=as_json)


@webhooks.command("drop")
@click.argument("delivery")
@person_options
@_AS_JSON
def drop(panel: Panel, delivery: str, as_json: bool) -> None:
    """Give dead letter DELIVERY up for good."""
    _delivery_act(panel, delivery, "drop", as_json=as_json)


@webhooks.command("enable")
@click.argument("webhook")
@person_options
@_AS_JSON
def enable(panel: Panel, webhook: str, as_json: bool) -> None:
    """Send to endpoint WEBHOOK again, which had answered that it is gone."""
    _check_id(webhook)
    told = panel.ask(lambda client: client.enable_webhook(webhook))
    if as_json:
        emit_json(told)
        return
    emit(clean_line(f"{webhook} is sent to again"))


def _delivery_act(panel: Panel, delivery: str, act: str, *, as_json: bool) -> None:
    _check_id(delivery)
    told = panel.ask(lambda client: client.delivery_act(delivery, act))
    if as_json:
        emit_json(told)
        return
    emit(clean_line(f"{delivery} is {told.get('stands')}"))


def _check_id(given: str) -> None:
    if len(given) != 64 or set(given) - set("0123456789abcdef"):
        raise UsageError("webhook.id", "an id is 64 lower-case hex digits, as 'show' and 'list' print it")


def endpoint_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Endpoints one below the other; raises ``panel.answer``."""
    from holdfast.client.panel import parse_listed  # noqa: PLC0415 - as above

    for hook in parse_listed(told, "webhooks"):
        counts, states = hook.get("deliveries"), hook.get("states")
        if not isinstance(counts, dict) or not isinstance(states, list):
            raise MalformedError("panel.answer", "an endpoint has states and counts of deliveries")
        yield clean_line(str(hook.get("id")))
        yield clean_line(f"    {hook.get('endpoint')}  queue {hook.get('queue')}")
        yield from hanging("", clean_line(f"told of {', '.join(map(str, states))}"))
        yield clean_line("    " + "  ".join(f"{name} {counts.get(name, 0)}" for name in (*LISTS, "delivered")))
        disabled = hook.get("disabled")
        if isinstance(disabled, dict):
            yield from hanging("", clean_line(f"disabled since {disabled.get('at')}: {disabled.get('note')}"))
        elif hook.get("trouble"):
            yield from hanging("", clean_line(f"the last attempt failed: {hook['trouble']}"))


def delivery_lines(item: Mapping[str, Any]) -> Iterator[str]:
    """One delivery."""
    yield clean_line(str(item.get("delivery")))
    yield clean_line(f"    {item.get('state')} of case {item.get('case')}, event {item.get('event')}")
    yield clean_line(f"    to {item.get('endpoint')}  queue {item.get('queue')}")
    when = f"next {item['next_at']}" if item.get("next_at") else f"ended {item.get('ended_at')}"
    yield clean_line(f"    attempts {item.get('attempts')}, {when}")
    yield from hanging("", clean_line(str(item.get("note") or "not sent yet")))
