"""Commands of agent files, of what a model may call, of spans, and of what an act came after."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, fields_of, integer
from holdfast.client.run_views import parse_led
from holdfast.core import canonical, otlp
from holdfast.core.agent_files import parse_agent_file
from holdfast.core.agents import in_order
from holdfast.core.order import Placed, came_after
from holdfast.core.tool_rules import parse_call, parse_rules, parse_schema, refuse_call
from holdfast.errors import RefusedError, UsageError
from holdfast.review import led


def _parse_agent_file(arguments: Arguments) -> Answer:
    """``agent-files.md`` §1 to §3."""
    found = parse_agent_file(arguments.file())
    return {"agent": found.plan(), "turns": found.turns, "seconds": found.seconds}


def _check_call(arguments: Arguments) -> Answer:
    """``agent-files.md`` §4(1)."""
    value = fields_of(arguments.file(), "schema", "allow", "arguments")
    schema, rules = parse_schema(value["schema"]), parse_rules(value["allow"], "allow")
    refuse_call(parse_call(value["arguments"]), rules, schema)
    return {}


def _came_after(arguments: Arguments) -> Answer:
    """``agents.md`` §10(1) and (2): one page of what a gateway tells."""
    run, after, most = arguments.one("run"), integer(arguments.one("after")), integer(arguments.one("most"))
    rows = [Placed(**row) for row in fields_of(arguments.file(), "runs")["runs"]]
    known = {row.run: row for row in rows}
    if run not in known:
        raise UsageError("usage.file", "the run is not there")
    found = came_after(run, known, after, most)
    return {
        "under": [{"run": agent, "before": before} for agent, before in found.under],
        "children": [{"run": item.run, "under": list(item.under), "place": item.place} for item in found.children],
        "more": found.more,
    }


def _read_led(arguments: Arguments) -> Answer:
    """``agents.md`` §10(4): a gateway's answers about one run, and answers of closed agent runs below."""
    value = fields_of(arguments.file(), "run", "pages", "closed")
    run = value["run"]
    reading = led.LedPages(run, 0)
    for page in value["pages"]:
        if page["after"] != reading.after:
            raise RefusedError("led.page", "a page is asked for behind the last place of the one before")
        told, more = parse_led(run, page["answer"])
        reading.take(told, more=more)
    if reading.more:
        raise RefusedError("led.page", "there are more pages than are shown")
    led.check_closed(reading.led, value["closed"])
    return {"came_after": list(led.came_after(reading.led))}


def _read_spans(arguments: Arguments) -> Answer:
    """``agents.md`` §9: what each span of a request comes to."""
    kind, raw = arguments.one("type"), arguments.file()
    try:
        found = otlp.once(otlp.read_trace(raw, kind))
    except UsageError as error:  # its sender's mistake, and no misuse of this command
        raise RefusedError(error.code, error.message) from error
    return {"spans": [_span(item) for item in found]}


def _span(span: otlp.Hint | otlp.Refused) -> dict[str, str]:
    if not isinstance(span, otlp.Hint):
        return {"code": span[0]}
    step = canonical.encode_exact(in_order(canonical.decode_exact(span.body)))
    return {"agent_run": span.agent_run, "trace": span.trace, "span": span.span, "step": step.decode()}


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "parse-agent-file": _parse_agent_file,
    "check-call": _check_call,
    "read-spans": _read_spans,
    "came-after": _came_after,
    "read-led": _read_led,
}
