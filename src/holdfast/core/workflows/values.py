"""Paths and templates: how steps take values of earlier ones (``spec/workflows.md`` §4).

A template is a value in which objects of one member, ``from``, ``number``, ``text`` or ``literal``, stand for something
else. What is filled in is a value and never a template: nothing that comes from outside is read again.

Not covered: whether a value is any good (``core.workflows.rules``, ``core.expectations``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from holdfast.core import canonical
from holdfast.core.canonical import NumberText
from holdfast.core.extraction import find, is_singular, parse_path
from holdfast.errors import MalformedError, RefusedError

FORMS = ("from", "literal", "number", "text")
"""Members that make an object of one a form (§4(2))."""
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,76})(?:\.[0-9]{1,77})?(?:[eE][+-]?[0-9]{1,3})?\Z")


def parse_reference(value: object) -> str:
    """A path that selects one place in the outputs (§4(1)); raises ``workflow.path``."""
    try:
        path = parse_path(value)
    except MalformedError as error:
        raise MalformedError("workflow.path", error.message) from error
    if not path or path[0][0] != "name" or not is_singular(path):
        raise MalformedError("workflow.path", "a path begins with a step's name and selects one place: $.price.value")
    return str(value)


def step_of(path: str) -> str:
    """The step that a path begins with."""
    return str(parse_path(path)[0][1])


def look_up(path: str, outputs: Mapping[str, Any]) -> list[Any]:
    """What stands at a path: one value, or none."""
    return find(dict(outputs), parse_path(path))


def parse_template(value: Any) -> Any:
    """A template, unchanged; raises ``workflow.value`` and ``workflow.path``."""
    form = _form(value)
    if form == "from":
        parse_reference(value["from"])
    elif form == "number":
        if not isinstance(value["number"], str) and _form(value["number"]) not in ("from", "text"):
            raise MalformedError("workflow.value", 'a number is {"number": "0.2"}, or what its text is')
        if isinstance(value["number"], str):
            _number(value["number"])
        parse_template(value["number"])
    elif form == "text":
        if not isinstance(value["text"], list):
            raise MalformedError("workflow.value", "a text is a list of what stands in it, one after another")
        parse_template(value["text"])
    elif form == "literal":
        _plain(value["literal"])
    elif isinstance(value, dict):
        for name, item in value.items():
            _plain(name)
            parse_template(item)
    elif isinstance(value, list):
        for item in value:
            parse_template(item)
    else:
        _plain(value)
    return value


def references(value: Any) -> Iterator[str]:
    """The paths that a template takes values from."""
    if _form(value) == "from":
        yield value["from"]
    elif _form(value) != "literal" and isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from references(item)


def fill(value: Any, outputs: Mapping[str, Any], *, lenient: bool = False) -> Any:
    """What a template comes to; raises ``workflow.reference``, unless ``lenient``: then null stands for what is not
    there. Raises ``workflow.value``."""
    form = _form(value)
    if form == "from":
        found = look_up(value["from"], outputs)
        if not found and not lenient:
            raise RefusedError("workflow.reference", f"nothing stands at {value['from']}")
        return found[0] if found else None
    if form == "literal":
        return value["literal"]
    if form == "number":
        return _number(fill(value["number"], outputs, lenient=lenient))
    if form == "text":
        return "".join(_text(fill(item, outputs, lenient=lenient)) for item in value["text"])
    if isinstance(value, dict):
        return {name: fill(item, outputs, lenient=lenient) for name, item in value.items()}
    return [fill(item, outputs, lenient=lenient) for item in value] if isinstance(value, list) else value


def _form(value: Any) -> str | None:
    name = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else None
    return name if name in FORMS else None


def ordered(value: Any) -> Any:
    """A value with its members in the order of canonical JSON; its numbers stay as they were written."""
    if isinstance(value, dict):
        return {name: ordered(value[name]) for name in sorted(value, key=lambda name: name.encode("utf-16-be"))}
    return [ordered(item) for item in value] if isinstance(value, list) else value


def _number(text: Any) -> NumberText:
    written = str(text) if isinstance(text, str | int) and not isinstance(text, bool) else ""
    if _NUMBER.match(written) is None:
        raise MalformedError("workflow.value", "a number is written as JSON writes one, in a text")
    return NumberText(written)


def _text(value: Any) -> str:
    if isinstance(value, NumberText) or not isinstance(value, str):
        return canonical.encode_exact(ordered(value)).decode()
    return value


def _plain(value: Any) -> None:
    """Refuse what has no canonical form: floats, times, large numbers, lone surrogates."""
    if isinstance(value, dict | list):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            _plain(item)
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise MalformedError("workflow.value", "a text holds a lone surrogate") from error
    elif not (value is None or isinstance(value, bool | int)) or abs(int(value or 0)) > canonical.MAX_INTEGER:
        raise MalformedError(
            "workflow.value", "there are no floats and no times here", hint='write a number as {number = "0.2"}'
        )
