"""Spans as OpenTelemetry's exporters send them (OTLP 1.x over HTTP), in protobuf or JSON, read strictly
(``spec/agents.md`` §9).

Both encodings are read into the same values: protobuf by the table below, which has what a span's hint is made of and
steps over the rest; JSON as the protobuf mapping that OTLP lays down (lower camel case, ids in hex, 64-bit integers as
strings). What is malformed is refused as a whole; what is only more than a hint holds is said of that span alone.

Not covered: who may send (``nodes/gateway/traces.py``). Nothing here is evidence: a span is the word of whoever traced.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from holdfast.core import canonical
from holdfast.core.agents import MAX_NAME
from holdfast.core.canonical import NumberText
from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.core.statements import is_run_id
from holdfast.errors import MalformedError, UsageError

AGENT_RUN = "holdfast.agent_run"
"""The attribute, of a span or of its resource, that names the agent run (§9(2))."""
GENERATIVE = "gen_ai."
"""What at least one attribute of a span begins with (§9(2))."""
MOST_SPANS, MOST_ATTRIBUTES, MOST_EVENTS, MAX_DEPTH = 512, 128, 32, 8
"""Spans of a request; attributes of a span, an event or a resource; events of a span; values within values (§9(3))."""
MAX_HINT_BYTES = 65_536
"""Of what one span comes to (§9(3))."""
PROTOBUF, JSON = "application/x-protobuf", "application/json"
_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")
_TRACE, _SPAN = re.compile(r"[0-9a-fA-F]{32}\Z"), re.compile(r"[0-9a-fA-F]{16}\Z")
_INTEGER, _TIME = re.compile(r"-?(?:0|[1-9][0-9]{0,18})\Z"), re.compile(r"(?:0|[1-9][0-9]{0,19})\Z")
_DOUBLES = ("NaN", "Infinity", "-Infinity")

# --- protobuf ---------------------------------------------------------------------------------------------------------


class Field(NamedTuple):
    """One field of a message: its name in JSON, and how its bytes are read."""

    name: str
    kind: str
    """``text``, ``bytes``, ``hex``, ``bool``, ``int64``, ``enum``, ``fixed64``, ``double``, or a message's name."""
    many: bool = False


MESSAGES: Mapping[str, Mapping[int, Field]] = {
    "request": {1: Field("resourceSpans", "resourceSpans", many=True)},
    "resourceSpans": {1: Field("resource", "resource"), 2: Field("scopeSpans", "scopeSpans", many=True)},
    "resource": {1: Field("attributes", "attribute", many=True)},
    "scopeSpans": {2: Field("spans", "span", many=True)},
    "span": {
        1: Field("traceId", "hex"),
        2: Field("spanId", "hex"),
        4: Field("parentSpanId", "hex"),
        5: Field("name", "text"),
        6: Field("kind", "enum"),
        7: Field("startTimeUnixNano", "fixed64"),
        8: Field("endTimeUnixNano", "fixed64"),
        9: Field("attributes", "attribute", many=True),
        11: Field("events", "event", many=True),
        15: Field("status", "status"),
    },
    "event": {
        1: Field("timeUnixNano", "fixed64"),
        2: Field("name", "text"),
        3: Field("attributes", "attribute", many=True),
    },
    "status": {2: Field("message", "text"), 3: Field("code", "enum")},
    "attribute": {1: Field("key", "text"), 2: Field("value", "value")},
    "value": {
        1: Field("stringValue", "text"),
        2: Field("boolValue", "bool"),
        3: Field("intValue", "int64"),
        4: Field("doubleValue", "double"),
        5: Field("arrayValue", "array"),
        6: Field("kvlistValue", "list"),
        7: Field("bytesValue", "bytes"),
    },
    "array": {1: Field("values", "value", many=True)},
    "list": {1: Field("values", "attribute", many=True)},
}
"""``opentelemetry/proto/trace/v1``, as far as it is read."""
_WIRE = {"bool": 0, "int64": 0, "enum": 0, "fixed64": 1, "double": 1}
"""Wire types; everything else has a length (2)."""
_MOST_NESTED = 32


def _wrong(why: str) -> MalformedError:
    return MalformedError("otlp.protobuf", f"this is no protobuf of a trace request: {why}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if at >= len(data):
            raise _wrong("it ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise _wrong("a number has more than ten bytes")


def _fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and raw value of each field in a row."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire not in (1, 2, 5) or number == 0:
            raise _wrong("it has a field of a kind that is not used")
        size = {1: 8, 5: 4}.get(wire, 0)
        if wire == 2:
            size, at = _varint(data, at)
        if size > len(data) - at:
            raise _wrong("it ends within a field")
        yield number, wire, data[at : at + size]
        at += size


def _read(data: memoryview, message: str, depth: int = 0) -> dict[str, Any]:
    if depth > _MOST_NESTED:
        raise _wrong(f"messages stand within each other more than {_MOST_NESTED} deep")
    found: dict[str, Any] = {}
    for number, wire, raw in _fields(data):
        field = MESSAGES[message].get(number)
        if field is None:
            continue  # a newer exporter may say more
        if wire != _WIRE.get(field.kind, 2):
            raise _wrong(f"{field.name} is of another kind")
        value = _value(field.kind, raw, depth)
        if field.many:
            found.setdefault(field.name, []).append(value)
        else:
            found[field.name] = value
    return found


def _value(kind: str, raw: Any, depth: int) -> Any:
    match kind:
        case "text":
            try:
                return str(raw, "utf-8")
            except UnicodeDecodeError as error:
                raise _wrong("a text is not UTF-8") from error
        case "hex":
            return bytes(raw).hex()
        case "bytes":
            return b64_encode(bytes(raw))
        case "bool":
            return bool(raw)
        case "enum":
            return NumberText(str(raw))
        case "int64":
            return str(raw - (1 << 64) if raw >> 63 else raw)
        case "fixed64":
            return str(int.from_bytes(raw, "little"))
        case "double":
            (number,) = struct.unpack("<d", raw)
            if math.isfinite(number):
                return NumberText(repr(number))
            return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
        case _:
            return _read(raw, kind, depth + 1)


# --- spans ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hint:
    """What one span comes to."""

    agent_run: str
    trace: str
    span: str
    """Ids, in lower-case hex."""
    body: bytes
    """The step (§4(1)), as JSON."""

    @property
    def key(self) -> str:
        """The same for the same span, sent again (§9(5))."""
        return f"otlp-{self.trace}-{self.span}"


Refused: TypeAlias = "tuple[str, str]"
"""Why a span is no hint: a code, and a sentence."""


def read_trace(body: bytes, content_type: str) -> list[Hint | Refused]:
    """What each span of a request comes to, in order. Raises ``otlp.type``, ``otlp.protobuf``, ``otlp.json``,
    ``otlp.spans`` and ``json.*`` where the request as a whole is none."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == PROTOBUF:
        request: Any = _read(memoryview(body), "request")
    elif kind == JSON:
        request = canonical.decode_exact(body)
    else:
        hint = f"{PROTOBUF} or {JSON}"
        raise UsageError("otlp.type", "a trace is protobuf or JSON", status=415, hint=hint)
    found: list[Hint | Refused] = []
    for shared, span in _spans(request):
        if len(found) == MOST_SPANS:
            raise UsageError("otlp.spans", f"a request has at most {MOST_SPANS} spans", status=413)
        found.append(_hint(shared, span))
    return found


def once(spans: Sequence[Hint | Refused]) -> list[Hint | Refused]:
    """Of spans of one agent run under the same ids the first counts (§9(5)): the same again is left out, and another
    content is refused."""
    first: dict[tuple[str, str], bytes] = {}
    found: list[Hint | Refused] = []
    for span in spans:
        if isinstance(span, Hint):
            body = first.get((span.agent_run, span.key))
            first.setdefault((span.agent_run, span.key), span.body)
            if body == span.body:
                continue
            if body is not None:
                found.append(("agent.key", "another span of the request has these ids"))
                continue
        found.append(span)
    return found


def _spans(request: object) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each span with its resource's attributes, which are read once: one may have very many."""
    for group in _objects(request, "resourceSpans"):
        shared = _attributes(group.get("resource", {}))
        for scope in _objects(group, "scopeSpans"):
            for span in _objects(scope, "spans"):
                yield shared, span


def _hint(shared: Mapping[str, Any], span: Mapping[str, Any]) -> Hint | Refused:
    own = _attributes(span)
    ids = [span.get(name) for name in ("traceId", "spanId")]
    if not (_is_text(ids[0], _TRACE) and _is_text(ids[1], _SPAN)):
        raise MalformedError("otlp.json", "a span has a traceId of 16 bytes and a spanId of 8, in hex")
    run = own.get(AGENT_RUN, shared.get(AGENT_RUN))
    if not isinstance(run, str) or not is_run_id(run):
        return "otlp.agent_run", f"no attribute {AGENT_RUN} names an agent run"
    if not any(name.startswith(GENERATIVE) for name in own):
        return "otlp.other", f"a span without an attribute {GENERATIVE}* tells of no model"
    name = span.get("name")
    if not isinstance(name, str) or isinstance(name, NumberText) or not 0 < len(name) <= MAX_NAME:
        return "otlp.name", f"a span's name has 1 to {MAX_NAME} characters"
    trace, identity = str(ids[0]).lower(), str(ids[1]).lower()
    told: dict[str, Any] = {"trace": trace, "span": identity}
    if _is_text(span.get("parentSpanId"), _SPAN):
        told["parent"] = span["parentSpanId"].lower()
    told |= {
        "kind": _named(span.get("kind"), _KINDS, "SPAN_KIND_"),
        "start_unix_nano": _time(span.get("startTimeUnixNano", "0")),
        "end_unix_nano": _time(span.get("endTimeUnixNano", "0")),
        "status": _status(span.get("status", {})),
        "attributes": own,
    }
    events = [_event(event) for event in _objects(span, "events")]
    if len(own) > MOST_ATTRIBUTES or len(events) > MOST_EVENTS:
        return "otlp.size", f"a span has at most {MOST_ATTRIBUTES} attributes and {MOST_EVENTS} events"
    if events:
        told["events"] = events
    body = canonical.encode_exact({"kind": "hint", "name": name, "attributes": told})
    if len(body) > MAX_HINT_BYTES:
        return "otlp.size", f"a span has at most {MAX_HINT_BYTES} bytes as a hint"
    return Hint(run, trace, identity, body)


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    name = event.get("name", "")
    if not isinstance(name, str) or isinstance(name, NumberText):
        raise _odd("an event's name is a text")
    return {
        "name": name,
        "time_unix_nano": _time(event.get("timeUnixNano", "0")),
        "attributes": _attributes(event),
    }


def _status(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _odd("a status is an object")
    found = {"code": _named(value.get("code"), _STATUSES, "STATUS_CODE_")}
    message = value.get("message")
    return found | {"message": message} if isinstance(message, str) and message else found


def _named(value: object, names: tuple[str, ...], prefix: str) -> str:
    """An enum, as JSON may write it: its number, or its name."""
    if value is None:
        return names[0]
    if isinstance(value, NumberText) and str(value) in map(str, range(len(names))):
        return names[int(value)]
    if isinstance(value, str) and value.removeprefix(prefix).lower() in names:
        return value.removeprefix(prefix).lower()
    raise _odd("an enum has a number or a name that is known")


def _attributes(holder: object, depth: int = 0) -> dict[str, Any]:
    """Attributes by name; one that stands twice is refused, for nobody could say which is meant."""
    if not isinstance(holder, dict):
        raise _odd("a resource is an object")
    found: dict[str, Any] = {}
    for item in _objects(holder, "values" if depth else "attributes"):
        key = item.get("key")
        if not isinstance(key, str) or isinstance(key, NumberText) or key in found:
            raise _odd("an attribute has a key, each once")
        found[key] = _any(item.get("value", {}), depth)
    return found


def _any(value: object, depth: int) -> Any:
    """A value, as JSON has it. Integers and doubles keep their text."""
    if not isinstance(value, dict) or len(value) > 1 or depth >= MAX_DEPTH:
        raise _odd(f"a value has at most one member, {MAX_DEPTH} values deep")
    for kind, held in value.items():
        if kind == "arrayValue" and isinstance(held, dict):
            return [_any(item, depth + 1) for item in _objects(held, "values")]
        if kind == "kvlistValue":
            return _attributes(held, depth + 1)
        if kind == "boolValue" and isinstance(held, bool):
            return held
        if kind == "intValue" and _is_text(held, _INTEGER) and -(1 << 63) <= int(held) < 1 << 63:
            return NumberText(held)
        if kind == "doubleValue" and (isinstance(held, NumberText) or held in _DOUBLES):
            return held
        if isinstance(held, str) and not isinstance(held, NumberText):
            if kind == "stringValue":
                return held
            if kind == "bytesValue":
                return {"base64": _bytes(held)}
        raise _odd("a value is one of OTLP's")
    return None


def _bytes(text: str) -> str:
    try:
        return b64_encode(b64_decode(text))
    except MalformedError as error:
        raise _odd("bytes are base64") from error


def _objects(holder: object, name: str) -> list[dict[str, Any]]:
    found = holder.get(name, []) if isinstance(holder, dict) else None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise _odd(f"{name} is a list of objects")
    return found


def _time(value: object) -> str:
    """Nanoseconds since 1970, whatever they say: a clock may be wrong."""
    if isinstance(value, str) and _is_text(value, _TIME) and int(value) < 1 << 64:
        return value
    raise _odd("a time is an integer of 64 bits without a sign, as a string")


def _is_text(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and not isinstance(value, NumberText) and pattern.match(value) is not None


def _odd(why: str) -> MalformedError:
    return MalformedError("otlp.json", why)


# --- the answer -------------------------------------------------------------------------------------------------------


def build_response(content_type: str, kept: list[dict[str, Any]], refused: int, why: str) -> bytes:
    """What an exporter is told: how many spans were not taken, where any were not, and why. JSON has a member of ours
    beside OTLP's: the run and the capability of each hint (§9(6)); protobuf has no place for it."""
    if content_type.partition(";")[0].strip().lower() != PROTOBUF:
        told = {"partialSuccess": {"rejectedSpans": str(refused), "errorMessage": why}} if refused else {}
        return canonical.encode_known({**told, "holdfast": kept})
    if not refused:
        return b""
    text = why.encode()
    inner = b"\x08" + _encode(refused) + b"\x12" + _encode(len(text)) + text
    return b"\x0a" + _encode(len(inner)) + inner


def _encode(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
