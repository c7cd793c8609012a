"""The event-stream parser, byte by byte."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters._sse import SSEParser


def parse(data: bytes, cuts: tuple[int, ...] = (), limit: int = 1 << 20) -> tuple[list[tuple[bytes, bytes]], bytes]:
    parser = SSEParser(limit)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    events = [event for start, end in itertools.pairwise(edges) for event in parser.feed(data[start:end])]
    return events, parser.rest


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: {}\n\n", [(b"", b"{}")]),
        (b"data:{}\n\n", [(b"", b"{}")]),
        (b"data:  {}\n\n", [(b"", b" {}")]),
        (b"data\n\n", [(b"", b"")]),
        (b"data: a\ndata: b\n\n", [(b"", b"a\nb")]),
        (b"event: error\ndata: a\n\n", [(b"error", b"a")]),
        (b"event: a\nevent: b\ndata: x\n\n", [(b"b", b"x")]),
        (b": comment\n\n", []),
        (b":\n\ndata: a\n\n", [(b"", b"a")]),
        (b"retry: 3\nid: 4\n\n", []),
        (b"unknown: field\ndata: a\n\n", [(b"", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"", b"a")]),
        (b"\n\n\n\ndata: a\n\n\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [(b"", b"a"), (b"", b"b"), (b"", b"c")]),
        (b"data: a\r\ndata: b\r\n\r\n", [(b"", b"a\nb")]),
    ],
)
def test_events_are_read_as_the_standard_says_however_they_are_cut(data, events):
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            assert parse(data, (first, second)) == (events, b"")


def test_what_is_unfinished_stays_in_the_rest():
    assert parse(b"data: a\n\ndata: b\n") == ([(b"", b"a")], b"data: b\n")


@pytest.mark.parametrize("step", [1, 7, 64, 4096])
def test_an_oversized_event_stops_the_parser_and_keeps_what_came_before(step):
    data = b"data: a\n\ndata: " + b"x" * 200 + b"\n\ndata: b\n\n"
    parser = SSEParser(100)
    events = []
    for at in range(0, len(data), step):
        events += parser.feed(data[at : at + step])
        if parser.failure is not None:
            break
    assert events == [(b"", b"a")]
    assert parser.failure is not None
    assert parser.failure.code == "upstream.protocol"


@given(
    st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b"")), max_size=8),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_what_was_written_is_what_is_read(payloads, line_end, cuts):
    data = b"".join(b"data: " + payload + line_end * 2 for payload in payloads)
    events, rest = parse(data, tuple(cuts))
    assert events == [(b"", payload) for payload in payloads]
    assert rest == b""
