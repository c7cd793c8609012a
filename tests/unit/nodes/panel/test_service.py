"""Cutting and cleaning the gateway's streams, without a network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.errors import MalformedError, UsageError
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.service import PanelService, SSELines, parse_event
from tests.helpers.panel import ManualClock


@pytest.mark.parametrize("url", ["", "127.0.0.1:8500", "ftp://x", "http://", "http://x?y=1", "http://x/#z"])
def test_a_base_url_that_is_none_stops_the_start(url):
    with pytest.raises(UsageError) as refusal:
        PanelService(PanelConfig(gateway=url), ManualClock(), MemoryMetrics())
    assert refusal.value.code == "panel.url"


EVENTS = [b": still here", b'data: {"a":1}', b"event: run\ndata: {}", b"data: one\ndata: two", b"data: [DONE]"]


@given(st.lists(st.integers(1, 9), max_size=60))
def test_events_come_out_whole_however_the_bytes_were_cut(sizes):
    stream, lines, found = b"".join(event + b"\n\n" for event in EVENTS), SSELines(), []
    for size in sizes:
        found += lines.feed(stream[:size])
        stream = stream[size:]
    assert [*found, *lines.feed(stream)] == EVENTS


@given(st.lists(st.integers(1, 9), max_size=60))
def test_carriage_returns_may_be_cut_anywhere(sizes):
    stream = b"".join(event.replace(b"\n", b"\r\n") + b"\r\n\r\n" for event in EVENTS)
    lines, found = SSELines(), []
    for size in sizes:
        found += lines.feed(stream[:size])
        stream = stream[size:]
    assert [*found, *lines.feed(stream)] == EVENTS


def test_an_event_without_end_is_refused_at_the_limit():
    lines = SSELines(limit_bytes=100)
    lines.feed(b"data: " + b"x" * 90)
    with pytest.raises(MalformedError) as refusal:
        lines.feed(b"x" * 10)
    assert refusal.value.code == "panel.event"


def test_an_events_name_and_data_are_read_as_browsers_read_them():
    assert parse_event(b"event: run\ndata:one\ndata: two") == ("run", b"one\ntwo")
    assert parse_event(b"data: x") == ("message", b"x")
    assert parse_event(b": comment") == ("message", b"")
