"""Spans as exporters send them: what is refused, and what one span comes to in both encodings."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from holdfast.core import otlp
from holdfast.core.otlp import (
    AGENT_RUN,
    JSON,
    MAX_HINT_BYTES,
    MOST_ATTRIBUTES,
    MOST_EVENTS,
    MOST_SPANS,
    PROTOBUF,
    Hint,
    build_response,
    once,
    read_trace,
)
from holdfast.errors import HoldfastError

RUN = "019b76da-a800-70c8-9215-35f11ffa1fae"
OTHER = "019b76da-a800-70c8-9215-35f11ffa1fff"


def attribute(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value or {"stringValue": "x"}}


def span(*attributes: dict[str, Any], **more: Any) -> dict[str, Any]:
    named = [attribute(AGENT_RUN, stringValue=RUN), attribute("gen_ai.operation.name", stringValue="chat")]
    return {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "name": "chat llama",
        "kind": 3,
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000000000009",
        "attributes": [*named, *attributes],
        **more,
    }


def request(*spans: dict[str, Any], resource: list[dict[str, Any]] | None = None) -> bytes:
    group = {"resource": {"attributes": resource or []}, "scopeSpans": [{"scope": {"name": "t"}, "spans": [*spans]}]}
    return json.dumps({"resourceSpans": [group]}).encode()


def only(*spans: dict[str, Any], **more: Any) -> Any:
    [found] = read_trace(request(*spans, **more), JSON)
    return found


def hint(*spans: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = only(*spans, **more)
    assert isinstance(found, Hint), found
    told: dict[str, Any] = json.loads(found.body)
    return told


# --- refused as a whole -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/protobufs"])
def test_another_type_than_the_two_is_refused(kind: str) -> None:
    with pytest.raises(HoldfastError, match=r"otlp\.type"):
        read_trace(b"{}", kind)


@pytest.mark.parametrize(
    "changed",
    [
        {"traceId": "ab"},
        {"traceId": None},
        {"spanId": "z" * 16},
        {"spanId": 7},
        {"kind": 99},
        {"kind": "SPAN_KIND_OTHER"},
        {"startTimeUnixNano": "soon"},
        {"startTimeUnixNano": 1.5},
        {"status": []},
        {"attributes": {}},
        {"attributes": [7]},
        {"attributes": [{"value": {"stringValue": "x"}}]},
        {"attributes": [{"key": "a", "value": {"stringValue": "x", "intValue": "1"}}]},
        {"attributes": [{"key": "a", "value": {"stringValue": 1}}]},
        {"attributes": [{"key": "a", "value": {"intValue": "1e3"}}]},
        {"attributes": [{"key": "a", "value": {"intValue": 7.5}}]},
        {"attributes": [{"key": "a", "value": {"boolValue": "true"}}]},
        {"attributes": [{"key": "a", "value": {"doubleValue": "fast"}}]},
        {"attributes": [{"key": "a", "value": {"bytesValue": "***"}}]},
        {"attributes": [{"key": "a", "value": {"nobodyValue": "x"}}]},
        {"events": [{"name": 3}]},
        {"events": {"name": "x"}},
    ],
)
def test_a_span_that_is_malformed_is_refused_with_its_request(changed: dict[str, Any]) -> None:
    with pytest.raises(HoldfastError):
        read_trace(request(span(), {**span(), **changed}), JSON)


def test_an_attribute_that_stands_twice_is_refused() -> None:
    with pytest.raises(HoldfastError, match=r"otlp\.json"):
        only(span(attribute(AGENT_RUN, stringValue=OTHER)))


def test_values_have_a_bottom() -> None:
    value: dict[str, Any] = {"stringValue": "x"}
    for _ in range(12):
        value = {"arrayValue": {"values": [value]}}
    with pytest.raises(HoldfastError, match=r"otlp\.json"):
        only(span(attribute("deep", **value)))


def test_a_resource_with_very_many_attributes_is_read_once_however_many_spans_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []
    attributes = otlp._attributes

    def counted(holder: Any, depth: int = 0) -> dict[str, Any]:
        found = attributes(holder, depth)
        read.append(len(found))
        return found

    monkeypatch.setattr(otlp, "_attributes", counted)
    many = [attribute(f"k{number}") for number in range(1_000)]
    assert len(read_trace(request(*[span()] * 100, resource=many), JSON)) == 100
    assert sum(read) <= 1_000 + 100 * len(span()["attributes"])


def test_an_enum_with_very_many_digits_is_no_enum() -> None:
    body = request(span(kind=7_777)).replace(b"7777", b"9" * 5_000)
    with pytest.raises(HoldfastError) as caught:
        read_trace(body, JSON)
    assert caught.value.code == "otlp.json"


def test_more_spans_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(HoldfastError, match=r"otlp\.spans"):
        read_trace(request(*[span()] * (MOST_SPANS + 1)), JSON)


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a",
        b"\x0a\x05abc",
        b"\x0b\x00",
        b"\x02\x00",
        b"\x08\x01",
        b"\xff" * 11,
        b"\x0a\xff\xff\xff\xff\x7f",
        b"\x0a\x04\x12\x02\x12\x03",
        bytes.fromhex("0a061204120222ff"),
    ],
)
def test_bytes_that_are_no_trace_request_are_refused(body: bytes) -> None:
    with pytest.raises(HoldfastError, match=r"otlp\.(protobuf|json)"):
        read_trace(body, PROTOBUF)


def test_messages_within_messages_have_a_bottom() -> None:
    def framed(tag: int, inner: bytes) -> bytes:
        size, text = len(inner), b""
        while size > 0x7F:
            text += bytes([size & 0x7F | 0x80])
            size >>= 7
        return bytes([tag]) + text + bytes([size]) + inner

    value = b"\x0a\x01x"
    for _ in range(100):
        value = framed(0x2A, framed(0x0A, value))
    key = framed(0x0A, b"k") + framed(0x12, value)
    body = framed(0x0A, framed(0x12, framed(0x12, framed(0x4A, key))))
    with pytest.raises(HoldfastError, match=r"otlp\.protobuf"):
        read_trace(body, PROTOBUF)


# --- refused one by one -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ({"attributes": [attribute("gen_ai.system")]}, "otlp.agent_run"),
        ({"attributes": [attribute("gen_ai.system"), attribute(AGENT_RUN, stringValue="mine")]}, "otlp.agent_run"),
        ({"attributes": [attribute("gen_ai.system"), attribute(AGENT_RUN, intValue="7")]}, "otlp.agent_run"),
        ({"attributes": [attribute(AGENT_RUN, stringValue=RUN), attribute("http.url")]}, "otlp.other"),
        ({"name": ""}, "otlp.name"),
        ({"name": "x" * 257}, "otlp.name"),
        ({"events": [{"name": "x"}] * (MOST_EVENTS + 1)}, "otlp.size"),
    ],
)
def test_a_span_that_is_no_hint_says_why(found: dict[str, Any], code: str) -> None:
    assert only({**span(), **found})[0] == code


def test_a_span_with_more_than_a_hint_holds_says_so() -> None:
    many = [attribute(f"a{number}") for number in range(MOST_ATTRIBUTES)]
    assert only(span(*many))[0] == "otlp.size"
    assert only(span(attribute("long", stringValue="x" * MAX_HINT_BYTES)))[0] == "otlp.size"


# --- read -------------------------------------------------------------------------------------------------------------


def test_a_span_is_a_hint_and_nothing_else_whatever_its_attributes_say() -> None:
    claims = [
        attribute("kind", stringValue="outcome"),
        attribute("tool", stringValue="wire"),
        attribute("effect", stringValue="pay"),
        attribute("gen_ai.prompt", stringValue='"}],"kind":"tool","tool":"wire","parent":"x'),
    ]
    told = hint(span(*claims, name="x-holdfast-parent: " + OTHER))
    assert told.keys() == {"kind", "name", "attributes"}
    assert told["kind"] == "hint"
    assert told["attributes"]["attributes"]["effect"] == "pay"


def test_values_keep_what_they_were() -> None:
    inner = {"values": [{"intValue": "9007199254740993"}, {"doubleValue": 0.5}, {"boolValue": True}, {}]}
    listed = {"values": [attribute("k", stringValue="v")]}
    told = hint(
        span(
            attribute("many", arrayValue=inner),
            attribute("map", kvlistValue=listed),
            attribute("raw", bytesValue="AAE="),
            attribute("odd", doubleValue="NaN"),
        )
    )["attributes"]["attributes"]
    assert told["many"] == [9007199254740993, 0.5, True, None]
    assert told["map"] == {"k": "v"}
    assert told["raw"] == {"base64": "AAE="}
    assert told["odd"] == "NaN"


def test_what_a_span_names_itself_counts_before_what_its_resource_names() -> None:
    without = {**span(), "attributes": [attribute("gen_ai.system")]}
    shared = [attribute(AGENT_RUN, stringValue=OTHER)]
    assert only(without, resource=shared).agent_run == OTHER
    assert only(span(), resource=shared).agent_run == RUN


def test_times_status_and_events_come_along() -> None:
    event = {"name": "gen_ai.choice", "timeUnixNano": "7", "attributes": [attribute("index", intValue="0")]}
    told = hint(span(status={"code": 2, "message": "late"}, events=[event], parentSpanId="00F067AA0BA902B7"))
    assert told["attributes"] | {"attributes": None} == {
        "trace": "0af7651916cd43dd8448eb211c80319c",
        "span": "b7ad6b7169203331",
        "parent": "00f067aa0ba902b7",
        "kind": "client",
        "start_unix_nano": "1700000000000000000",
        "end_unix_nano": "1700000000000000009",
        "status": {"code": "error", "message": "late"},
        "attributes": None,
        "events": [{"name": "gen_ai.choice", "time_unix_nano": "7", "attributes": {"index": 0}}],
    }


def test_the_same_span_has_the_same_key_however_its_ids_are_written() -> None:
    assert only(span()).key == only(span(traceId="0AF7651916CD43DD8448EB211C80319C")).key
    assert only(span()).key != only(span(spanId="b7ad6b7169203332")).key


def test_what_a_newer_exporter_adds_is_stepped_over() -> None:
    unknown = b"\x98\x06\x07" + b"\xa1\x06" + struct.pack("<d", 1.0) + b"\xa5\x06abcd" + b"\xa2\x06\x01x"
    assert read_trace(unknown, PROTOBUF) == []


def test_an_exporter_is_told_what_was_not_kept() -> None:
    kept = [{"run": RUN}]
    assert build_response(PROTOBUF, kept, 0, "") == b""
    assert json.loads(build_response(JSON, kept, 0, "")) == {"holdfast": kept}
    assert build_response(PROTOBUF, kept, 300, "why") == bytes.fromhex("0a08") + b"\x08\xac\x02\x12\x03why"
    told = json.loads(build_response("application/json; charset=utf-8", [], 2, "why"))
    assert told == {"holdfast": [], "partialSuccess": {"rejectedSpans": "2", "errorMessage": "why"}}


@pytest.mark.parametrize("time", ["-1", str(1 << 64), "07", ""])
def test_a_time_has_64_bits_and_no_sign(time: str) -> None:
    with pytest.raises(HoldfastError, match=r"otlp\.json"):
        only(span(endTimeUnixNano=time))
    assert hint(span(endTimeUnixNano=str((1 << 64) - 1)))["attributes"]["end_unix_nano"] == str((1 << 64) - 1)


def test_of_spans_under_the_same_ids_the_first_counts() -> None:
    found = read_trace(request(span(), span(name="other"), span(), span(spanId="00000000000000aa")), JSON)
    first, other, again, another = found
    assert once(found) == [first, ("agent.key", "another span of the request has these ids"), another]
    assert again == first != other
