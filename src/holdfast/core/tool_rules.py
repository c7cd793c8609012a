"""What may be asked of a tool: rules for its arguments, and the schema of them (``spec/agent-files.md`` §3 to §5).

``parse_rules`` reads the table ``allow`` of an agent file, ``parse_schema`` a tool's JSON schema, ``parse_call`` the
arguments that a model wrote, and ``refuse_call`` says why they are not taken.

Rules: what nobody named is refused. A schema with a word that is not read here is none, because what it asks could not
be held. A value keeps the number that was written: ``1`` and ``1.0`` are two texts.

Pure. Not covered: which tool it is (``core.agent_files``), and calling one (``agents``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from holdfast.core import canonical
from holdfast.core.canonical import NumberText
from holdfast.core.quantities import format_decimal
from holdfast.errors import HoldfastError, MalformedError, RefusedError

ANY = "any"
"""The rule that leaves it to the schema (``agent-files.md`` §3)."""
MAX_ARGUMENTS_BYTES = 65_536
"""Of a call (``agent-files.md`` §4(1))."""
MOST_VALUES, MOST_CHARACTERS = 256, 65_536

_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,77})(?:\.[0-9]{1,78})?\Z")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,77})\Z")
_WRITTEN = re.compile(r"-?[0-9]{1,78}(?:\.[0-9]{1,78})?(?:[eE][+-]?[0-9]{1,2})?\Z")
"""A number whose value is cheap to have."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
_READ = frozenset(
    {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "anyOf",
    }
)
_PASSED_OVER = frozenset({"title", "description", "default", "examples", "format", "$schema"})
_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_LEADS_OUT = re.compile(r"[/\\](?:\.|%2e){1,2}(?:[/\\]|\Z)", re.IGNORECASE)
"""A piece of a path that leads elsewhere than where it stands."""
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems")


@dataclass(frozen=True, slots=True)
class Rule:
    """What one argument may be; with nothing set, whatever the schema takes."""

    values: tuple[str | int | bool, ...] | None = None
    prefix: str | None = None
    characters: int | None = None
    least: Fraction | None = None
    most: Fraction | None = None

    def refuses(self, value: object) -> str | None:
        """Why a value is not taken, or None where it is."""
        if self.values is not None and not any(_same(value, item) for item in self.values):
            return f"is none of {', '.join(map(_shown, self.values[:8]))}{', …' if len(self.values) > 8 else ''}"
        text = None if isinstance(value, NumberText) or not isinstance(value, str) else value
        if self.prefix is not None and (text is None or not text.startswith(self.prefix)):
            return f"does not begin with {self.prefix}"
        if self.prefix is not None and "://" in self.prefix and _LEADS_OUT.search(re.split("[?#]", text or "")[0]):
            return f"does not stay below {self.prefix}"
        if self.characters is not None and (text is None or len(text) > self.characters):
            return f"is no text of at most {self.characters} characters"
        if self.least is None and self.most is None:
            return None
        number = read_number(value)
        if number is None:
            return "is no number that can be compared"
        if (self.least is not None and number < self.least) or (self.most is not None and number > self.most):
            return "is not within its bounds"
        return None

    def described(self) -> str:
        """The rule in words."""
        if self.values is not None:
            return f"one of {', '.join(map(_shown, self.values))}"
        bounds = [
            f"begins with {self.prefix}" if self.prefix is not None else "",
            f"at most {self.characters} characters" if self.characters is not None else "",
            f"from {format_decimal(self.least)}" if self.least is not None else "",
            f"up to {format_decimal(self.most)}" if self.most is not None else "",
        ]
        return ", ".join(filter(None, bounds)) or "whatever its schema takes"


@dataclass(frozen=True, slots=True)
class Schema:
    """A tool's schema: the document, of which every word is read here or passed over."""

    document: Mapping[str, Any]

    def refuses(self, value: object) -> str | None:
        """Why arguments are not taken, or None where they are."""
        return _against(self.document, value, "")

    def narrowed(self, rules: Mapping[str, Rule]) -> dict[str, Any]:
        """The schema as a model is shown it: only the arguments that may be given, with the values they may have."""
        properties = self.document.get("properties", {})
        shown = {name: _narrow(about, rules[name]) for name, about in properties.items() if name in rules}
        required = [name for name in self.document.get("required", []) if name in shown]
        return {"type": "object", "properties": shown, "required": required, "additionalProperties": False}


def parse_rules(value: object, param: str) -> dict[str, Rule]:
    """The table ``allow``; raises ``agent_file.allow``."""
    if not isinstance(value, dict) or not all(_NAME.match(name) for name in value):
        raise _bad_rule(param, "allow is a table from names of arguments to rules")
    return {name: _rule(item, f"{param}.{name}") for name, item in value.items()}


def _rule(value: object, param: str) -> Rule:
    if value == ANY:
        return Rule()
    if isinstance(value, list):
        if not 1 <= len(value) <= MOST_VALUES or not all(type(item) in (str, int, bool) for item in value):
            raise _bad_rule(param, f"a list of 1 to {MOST_VALUES} texts, integers and booleans")
        return Rule(values=tuple(value))
    if not isinstance(value, dict) or not value or not value.keys() <= {"prefix", "characters", "least", "most"}:
        raise _bad_rule(param, 'a rule is "any", a list, or a table of prefix, characters, least and most')
    prefix, characters = value.get("prefix"), value.get("characters")
    if "prefix" in value and (not isinstance(prefix, str) or not prefix):
        raise _bad_rule(f"{param}.prefix", "prefix is a text")
    if prefix is not None and "://" in prefix and "/" not in prefix.partition("://")[2]:
        raise _bad_rule(f"{param}.prefix", "a URL's prefix has a / behind its host: other hosts begin like it too")
    if "characters" in value and not (type(characters) is int and 1 <= characters <= MOST_CHARACTERS):
        raise _bad_rule(f"{param}.characters", f"characters is 1 to {MOST_CHARACTERS}")
    least, most = (_bound(value, name, param) for name in ("least", "most"))
    return Rule(None, prefix, characters, least, most)


def _bound(value: Mapping[str, Any], name: str, param: str) -> Fraction | None:
    if name not in value:
        return None
    number = read_number(value[name])
    if number is None:
        raise _bad_rule(f"{param}.{name}", f"{name} is an integer, or a decimal as a text")
    return number


def _bad_rule(param: str, message: str) -> MalformedError:
    return MalformedError("agent_file.allow", message, param=param)


def read_number(value: object) -> Fraction | None:
    """An integer, or a text that is a decimal, as a number (``agent-files.md`` §3); None of anything else."""
    if type(value) is int:
        return Fraction(value)
    pattern = _INTEGER if isinstance(value, NumberText) else _DECIMAL
    return Fraction(value) if isinstance(value, str) and pattern.match(value) else None


def parse_schema(value: object) -> Schema:
    """A tool's JSON schema (``agent-files.md`` §5(3)); raises ``agent.schema``."""
    _check_schema(value, "schema", 0)
    if not isinstance(value, dict) or value.get("type") != "object":
        raise _bad_schema("schema", "arguments are an object")
    return Schema(value)


def parse_call(text: object) -> dict[str, Any]:
    """The arguments that a model wrote (``agent-files.md`` §4(1)); raises ``agent.arguments``."""
    if not isinstance(text, str) or isinstance(text, NumberText):
        raise MalformedError("agent.arguments", "arguments are a text that holds a JSON object")
    try:
        raw = text.encode()
        if len(raw) > MAX_ARGUMENTS_BYTES:
            raise MalformedError("agent.arguments", f"arguments have at most {MAX_ARGUMENTS_BYTES} bytes")
        found = canonical.decode_exact(raw)
    except UnicodeEncodeError as error:
        raise MalformedError("agent.arguments", "the arguments hold half of a character") from error
    except HoldfastError as error:
        if error.code == "agent.arguments":
            raise
        raise MalformedError("agent.arguments", f"the arguments are no JSON: {error.message}") from error
    if not isinstance(found, dict):
        raise MalformedError("agent.arguments", "the arguments are no JSON object")
    if _holds_long_number(found):
        raise MalformedError("agent.arguments", "a number has at most 78 digits on either side of its point")
    return found


def _holds_long_number(value: object) -> bool:
    if isinstance(value, NumberText):
        return _WRITTEN.match(value) is None
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_holds_long_number, inner))


def refuse_call(arguments: Mapping[str, Any], rules: Mapping[str, Rule], schema: Schema) -> None:
    """Raises ``agent.allow`` where the owner's rules do not take arguments, ``agent.arguments`` where the tool's schema
    does not."""
    for name, value in arguments.items():
        rule = rules.get(name)
        if rule is None:
            known = ", ".join(rules) or "none"
            raise RefusedError("agent.allow", f"the argument {name[:64]} is not allowed; allowed: {known}")
        why = rule.refuses(value)
        if why is not None:
            raise RefusedError("agent.allow", f"the argument {name} {why}")
    why = schema.refuses(dict(arguments))
    if why is not None:
        raise MalformedError("agent.arguments", why)


def _narrow(about: Any, rule: Rule) -> Any:
    if not isinstance(about, dict) or rule.values is None:
        return about
    return {**about, "enum": list(rule.values)}


# Schemas


def _check_schema(value: object, where: str, depth: int) -> None:
    if not isinstance(value, dict) or depth > 16:
        raise _bad_schema(where, "is an object, nested a few times")
    unknown = value.keys() - _READ - _PASSED_OVER
    if unknown:
        raise _bad_schema(where, f"uses {', '.join(sorted(map(str, unknown)))}, which is not read here")
    kinds = value.get("type", "object")
    if not all(isinstance(kind, str) and kind in _TYPES for kind in (kinds if isinstance(kinds, list) else [kinds])):
        raise _bad_schema(where, "has a type that is none")
    if not all(type(value.get(name, 0)) is int for name in _COUNTS):
        raise _bad_schema(where, "counts in integers")
    if not all(type(value.get(name, 0)) in (int, float) for name in ("minimum", "maximum")):
        raise _bad_schema(where, "has bounds that are numbers")
    required = value.get("required", [])
    if not isinstance(value.get("enum", []), list) or not isinstance(required, list):
        raise _bad_schema(where, "lists in lists")
    if not all(isinstance(name, str) for name in required):
        raise _bad_schema(where, "requires members by their names")
    properties, choices = value.get("properties", {}), value.get("anyOf", [])
    if not isinstance(properties, dict) or not isinstance(choices, list):
        raise _bad_schema(where, "has properties in an object and choices in a list")
    for name, inner in properties.items():
        _check_schema(inner, f"{where}.{name}", depth + 1)
    for inner in [*choices, *([value["items"]] if "items" in value else [])]:
        _check_schema(inner, where, depth + 1)
    if not isinstance(value.get("additionalProperties", False), bool | dict):
        raise _bad_schema(where, "has additionalProperties that are none")


def _bad_schema(where: str, message: str) -> MalformedError:
    return MalformedError("agent.schema", f"{where[:200]} {message}")


def _against(schema: Mapping[str, Any], value: object, where: str) -> str | None:
    """Why ``value`` is not what ``schema`` takes; ``where`` is the way there."""
    place = where or "the arguments"
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in (kinds if isinstance(kinds, list) else [kinds])):
        return f"{place}: {' or '.join(kinds) if isinstance(kinds, list) else kinds} is wanted"
    if "enum" in schema and not any(_same(value, item) for item in schema["enum"]):
        return f"{place}: none of the values that there are"
    if "const" in schema and not _same(value, schema["const"]):
        return f"{place}: not the one value that there is"
    if "anyOf" in schema and all(_against(choice, value, where) for choice in schema["anyOf"]):
        return f"{place}: none of the forms that there are"
    if isinstance(value, NumberText):
        return _bounds(schema, Fraction(value), place, "minimum", "maximum")
    if isinstance(value, str):
        return _bounds(schema, len(value), f"the length of {place}", "minLength", "maxLength")
    if isinstance(value, list):
        return _bounds(schema, len(value), f"the length of {place}", "minItems", "maxItems") or _items(
            schema, value, where
        )
    return _members(schema, value, where) if isinstance(value, dict) else None


def _items(schema: Mapping[str, Any], value: Sequence[Any], where: str) -> str | None:
    if "items" not in schema:
        return None
    found = (_against(schema["items"], item, f"{where}[{number}]") for number, item in enumerate(value))
    return next((why for why in found if why), None)


def _members(schema: Mapping[str, Any], value: Mapping[str, Any], where: str) -> str | None:
    if "properties" not in schema and "required" not in schema and where:
        return None  # an object of which the schema says nothing else
    properties = schema.get("properties", {})
    missing = [name for name in schema.get("required", []) if name not in value]
    if missing:
        return f"{where or 'the arguments'}: {missing[0]} is missing"
    for name, item in value.items():
        if name not in properties:
            return f"{where or 'the arguments'}: {name[:64]} is not known"
        why = _against(properties[name], item, f"{where}.{name}" if where else name)
        if why:
            return why
    return None


def _bounds(schema: Mapping[str, Any], size: Fraction | int, what: str, least: str, most: str) -> str | None:
    if least in schema and size < schema[least]:
        return f"{what}: at least {schema[least]}"
    if most in schema and size > schema[most]:
        return f"{what}: at most {schema[most]}"
    return None


def _is(value: object, kind: str) -> bool:
    if isinstance(value, NumberText):
        return kind == "number" or (kind == "integer" and _INTEGER.match(value) is not None)
    types: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return kind in types and isinstance(value, types[kind])


def _same(value: object, item: object) -> bool:
    """Whether a written value is one that was named: the same type, and of integers the one spelling."""
    if isinstance(value, NumberText):
        return type(item) is int and value == str(item)
    return type(value) is type(item) and value == item


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:64]
