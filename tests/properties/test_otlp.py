"""Whatever is sent as a trace is read or refused, and a span that is read is a hint and nothing else."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.otlp import JSON, MAX_HINT_BYTES, PROTOBUF, Hint, read_trace
from holdfast.errors import MalformedError, UsageError
from tests.unit.core.test_otlp import RUN, attribute, request, span

VALUES = st.recursive(
    st.one_of(
        st.text(max_size=20).map(lambda text: {"stringValue": text}),
        st.booleans().map(lambda value: {"boolValue": value}),
        st.integers(-(2**63), 2**63 - 1).map(lambda number: {"intValue": str(number)}),
        st.floats(allow_nan=False, allow_infinity=False).map(lambda number: {"doubleValue": number}),
        st.just({}),
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: {"arrayValue": {"values": items}}),
    max_leaves=8,
)


def read(body: bytes, kind: str) -> None:
    with contextlib.suppress(MalformedError, UsageError):
        for found in read_trace(body, kind):
            if isinstance(found, Hint):
                told = json.loads(found.body)
                assert told.keys() == {"kind", "name", "attributes"}
                assert told["kind"] == "hint"
                assert len(found.body) <= MAX_HINT_BYTES


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for kind in (PROTOBUF, JSON):
        read(body, kind)


@given(st.binary(max_size=40), st.lists(st.sampled_from([0x0A, 0x12, 0x4A, 0x2A, 0x32]), max_size=20))
def test_any_nesting_of_messages_is_read_or_refused(inner: bytes, tags: list[int]) -> None:
    for tag in tags:
        inner = bytes([tag, len(inner)]) + inner if len(inner) < 128 else inner
    read(inner, PROTOBUF)


@given(st.dictionaries(st.text(min_size=1, max_size=12), VALUES, max_size=6), st.text(max_size=300))
def test_any_attributes_make_a_hint_and_nothing_else(values: dict[str, Any], name: str) -> None:
    read(request(span(*(attribute(f"x.{key}", **value) for key, value in values.items() if value), name=name)), JSON)
    [found] = read_trace(request(span(name="n")), JSON)
    assert isinstance(found, Hint)
    assert found.agent_run == RUN
