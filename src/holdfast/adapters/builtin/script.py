"""A declared script of tool calls, so that agents can be led without a model: deterministic, and said to be none.

In a message of role ``system`` or ``developer``, behind a line ``script:``, stand lines of these forms, up to an empty
one::

    call NAME {"argument": "text with $OTHER or $OTHER.member.0"}
    call NAME {…} when OTHER says WORD
    call NAME {…} unless OTHER says WORD
    then
    say TEXT with $OTHER

Calls up to a ``then`` are one answer; a step whose conditions all fail is passed over. ``$OTHER`` is the last result of
the tool OTHER, with a way into it where that is JSON; WORD is looked for in it, whatever its case. An error is none.
What stands in any other message is never read as a script: a page or a result cannot write one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.canonical import decode
from holdfast.errors import MalformedError

_HEAD = "script:"
_CALL = re.compile(r"call ([A-Za-z0-9_-]{1,64}) (\{.*\})(?: (when|unless) ([A-Za-z0-9_-]{1,64}) says (.+))?\Z")
_PLACE = re.compile(r"\$([A-Za-z0-9_-]{1,64})((?:\.[A-Za-z0-9_/-]{1,64})*)")
_MARKED = re.compile(r"<result [^>]*>\n(.*)\n</result>\Z", re.DOTALL)
_ERROR = "<error "
_ENTITY = re.compile("&(amp|lt|gt);")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">"}
_MAX_TEXT = 4_000


class ScriptError(Exception):
    """A script that cannot be followed, for this reason."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the script."""

    name: str
    arguments: str
    """A JSON object."""


@dataclass(frozen=True, slots=True)
class Followed:
    """Where a conversation is in its script: calls, or what is said at the end."""

    calls: tuple[Call, ...]
    text: str


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    arguments: Mapping[str, Any]
    sense: str | None
    of: str
    word: str

    def holds(self, results: Mapping[str, str]) -> bool:
        if self.sense is None:
            return True
        return (self.word.casefold() in results.get(self.of, "").casefold()) == (self.sense == "when")


def follow(messages: Sequence[Mapping[str, Any]], offered: Iterable[str]) -> Followed | None:
    """What comes next by a conversation's script; None where it has none. Raises :class:`ScriptError`."""
    lines = _find(messages)
    if lines is None:
        return None
    steps, said = _read(lines)
    known, results = set(offered), dict[str, str]()
    answered = [number for number, item in enumerate(messages) if item.get("tool_calls") and _is_answer(item)]
    for step in steps:
        calls = tuple(Call(line.name, _filled(line.arguments, results)) for line in step if line.holds(results))
        if not calls:
            continue
        strangers = [call.name for call in calls if call.name not in known]
        if strangers:
            raise ScriptError(f"the script calls {strangers[0]}, which is not among the tools")
        if not answered:
            return Followed(calls, "")
        results |= _results(messages, answered.pop(0))
    return Followed((), _PLACE.sub(lambda found: _text_at(found, results), said))


def _is_answer(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "assistant" and isinstance(message["tool_calls"], list)


def _find(messages: Sequence[Mapping[str, Any]]) -> list[str] | None:
    for message in messages:
        content = message.get("content")
        if message.get("role") not in ("system", "developer") or not isinstance(content, str):
            continue
        lines = [line.strip() for line in content.splitlines()]
        if _HEAD in lines:
            rest = lines[lines.index(_HEAD) + 1 :]
            return rest[: rest.index("")] if "" in rest else rest
    return None


def _read(lines: Iterable[str]) -> tuple[list[list[_Line]], str]:
    steps: list[list[_Line]] = [[]]
    said = "The script is over."
    for line in lines:
        found = _CALL.match(line)
        if line == "then":
            steps.append([])
        elif line.startswith("say "):
            said = line.removeprefix("say ")
        elif found is None:
            raise ScriptError(f"the script has a line that is none: {line[:80]}")
        else:
            steps[-1].append(_Line(found[1], _object(found[2]), found[3], found[4] or "", found[5] or ""))
    return steps, said


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = decode(text.encode())
    except MalformedError as error:
        raise ScriptError(f"arguments that are no JSON: {text[:80]}") from error
    if not isinstance(value, dict):
        raise ScriptError(f"arguments that are no object: {text[:80]}")
    return value


def _results(messages: Sequence[Mapping[str, Any]], answer: int) -> dict[str, str]:
    """What the calls of one answer gave, by tool."""
    names, found = dict[str, str](), dict[str, str]()
    for call in messages[answer]["tool_calls"]:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            names[str(call.get("id"))] = str(function.get("name"))
    for message in messages[answer + 1 :]:
        if message.get("role") != "tool":
            break
        name, content = names.get(str(message.get("tool_call_id"))), message.get("content")
        if name is not None and isinstance(content, str) and not content.startswith(_ERROR):
            found[name] = _unmarked(content)
    return found


def _unmarked(content: str) -> str:
    marked = _MARKED.match(content)
    return content if marked is None else _ENTITY.sub(lambda found: _ENTITIES[found[1]], marked[1])


def _filled(value: Any, results: Mapping[str, str]) -> str:
    return json.dumps(_fill(value, results), ensure_ascii=False, separators=(",", ":"))


def _fill(value: Any, results: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _PLACE.sub(lambda found: _text_at(found, results), value)
    if isinstance(value, list):
        return [_fill(item, results) for item in value]
    return {name: _fill(item, results) for name, item in value.items()} if isinstance(value, dict) else value


def _text_at(found: re.Match[str], results: Mapping[str, str]) -> str:
    """A result, or what stands at a way into it; the place itself where there is no such thing."""
    text = results.get(found[1])
    if text is None:
        return found[0]
    if not found[2]:
        return text[:_MAX_TEXT]
    try:
        value = decode(text.encode())
    except MalformedError:
        return found[0]
    for name in found[2][1:].split("."):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return found[0]
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[:_MAX_TEXT]
