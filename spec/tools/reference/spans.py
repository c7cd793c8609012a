"""Spans of OpenTelemetry in both encodings (its ``trace.proto``), and the hint that one comes to (agents.md §9).

A value is a pair of its kind and what it holds: ``("string", "x")``, ``("int", 7)``, ``("double", "0.5")``,
``("bool", True)``, ``("bytes", b"")``, ``("array", [value, …])``, ``("list", [(key, value), …])`` or ``("none", None)``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from .text import Number, b64, exact_text

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")
Value = tuple[str, Any]
Pair = tuple[str, Value]


# JSON


def json_value(value: Value) -> dict[str, Any]:
    kind, held = value
    if kind == "none":
        return {}
    if kind == "array":
        return {"arrayValue": {"values": [json_value(item) for item in held]}}
    if kind == "list":
        return {"kvlistValue": {"values": json_pairs(held)}}
    written = {"int": str, "double": double_json, "bytes": b64}.get(kind, lambda same: same)
    return {kind + "Value": written(held)}


def double_json(text: str) -> Any:
    return text if text in ("NaN", "Infinity", "-Infinity") else Number(text)


def json_pairs(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    return [{"key": key, "value": json_value(value)} for key, value in pairs]


def json_span(span: dict[str, Any]) -> dict[str, Any]:
    """One span; what it does not have is left out."""
    found: dict[str, Any] = {"traceId": span["trace"], "spanId": span["span"]}
    if span.get("parent"):
        found["parentSpanId"] = span["parent"]
    found |= {
        "name": span["name"],
        "kind": Number(str(span["kind"])),
        "startTimeUnixNano": str(span["start"]),
        "endTimeUnixNano": str(span["end"]),
        "attributes": json_pairs(span["attributes"]),
    }
    if span.get("events"):
        found["events"] = [
            {"timeUnixNano": str(time), "name": name, "attributes": json_pairs(pairs)}
            for time, name, pairs in span["events"]
        ]
    if span.get("status"):
        code, message = span["status"]
        found["status"] = {"code": Number(str(code)), "message": message}
    return found


def json_request(spans: Sequence[dict[str, Any]], resource: Sequence[Pair] = ()) -> dict[str, Any]:
    scopes = [{"scope": {"name": "tracer"}, "spans": [json_span(span) for span in spans]}]
    return {"resourceSpans": [{"resource": {"attributes": json_pairs(resource)}, "scopeSpans": scopes}]}


# protobuf


def varint(number: int) -> bytes:
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80]) + varint(number >> 7)


def counted(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number % 2**64)


def fixed(field: int, number: int) -> bytes:
    return varint(field << 3 | 1) + number.to_bytes(8, "little")


def framed(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def proto_value(value: Value) -> bytes:
    kind, held = value
    match kind:
        case "string":
            return framed(1, held.encode())
        case "bool":
            return counted(2, int(held))
        case "int":
            return counted(3, held)
        case "double":
            return varint(4 << 3 | 1) + struct.pack("<d", float(held))
        case "array":
            return framed(5, b"".join(framed(1, proto_value(item)) for item in held))
        case "list":
            return framed(6, b"".join(framed(1, proto_pair(item)) for item in held))
        case "bytes":
            return framed(7, held)
    return b""


def proto_pair(pair: Pair) -> bytes:
    return framed(1, pair[0].encode()) + framed(2, proto_value(pair[1]))


def proto_span(span: dict[str, Any]) -> bytes:
    parts = [framed(1, bytes.fromhex(span["trace"])), framed(2, bytes.fromhex(span["span"]))]
    if span.get("parent"):
        parts.append(framed(4, bytes.fromhex(span["parent"])))
    parts += [framed(5, span["name"].encode()), counted(6, span["kind"])]
    parts += [fixed(7, span["start"]), fixed(8, span["end"])]
    parts += [framed(9, proto_pair(pair)) for pair in span["attributes"]]
    for time, name, pairs in span.get("events", []):
        event = fixed(1, time) + framed(2, name.encode())
        parts.append(framed(11, event + b"".join(framed(3, proto_pair(pair)) for pair in pairs)))
    if span.get("status"):
        code, message = span["status"]
        parts.append(framed(15, framed(2, message.encode()) + counted(3, code)))
    return b"".join(parts)


def proto_request(spans: Sequence[dict[str, Any]], resource: Sequence[Pair] = ()) -> bytes:
    scopes = framed(1, framed(1, b"tracer")) + b"".join(framed(2, proto_span(span)) for span in spans)
    return framed(1, framed(1, b"".join(framed(1, proto_pair(pair)) for pair in resource)) + framed(2, scopes))


# the hint


def plain(value: Value) -> Any:
    kind, held = value
    if kind == "array":
        return [plain(item) for item in held]
    if kind == "list":
        return {key: plain(item) for key, item in held}
    if kind == "bytes":
        return {"base64": b64(held)}
    return {"int": lambda number: Number(str(number)), "double": double_json}.get(kind, lambda same: same)(held)


def step(span: dict[str, Any]) -> str:
    """The step that a span becomes, in the order of names."""
    told: dict[str, Any] = {"trace": span["trace"].lower(), "span": span["span"].lower()}
    if span.get("parent"):
        told["parent"] = span["parent"].lower()
    code, message = span.get("status") or (0, "")
    status = {"code": STATUSES[code], **({"message": message} if message else {})}
    told |= {"kind": KINDS[span["kind"]], "start_unix_nano": str(span["start"]), "end_unix_nano": str(span["end"])}
    told |= {"status": status, "attributes": {key: plain(value) for key, value in span["attributes"]}}
    if span.get("events"):
        told["events"] = [
            {"name": name, "time_unix_nano": str(time), "attributes": {key: plain(value) for key, value in pairs}}
            for time, name, pairs in span["events"]
        ]
    return exact_text(ordered({"kind": "hint", "name": span["name"], "attributes": told}))


def ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: ordered(value[name]) for name in sorted(value, key=lambda name: name.encode("utf-16-be"))}
    return [ordered(item) for item in value] if isinstance(value, list) else value
