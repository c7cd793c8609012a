"""Commands of agent files, and of what a model may call."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, fields_of
from holdfast.core.agent_files import parse_agent_file
from holdfast.core.tool_rules import parse_call, parse_rules, parse_schema, refuse_call


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


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "parse-agent-file": _parse_agent_file,
    "check-call": _check_call,
}
