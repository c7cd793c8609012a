"""Rows of memory: authority never rises, standing only falls between events, and nothing but evidence renews."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import memory
from holdfast.core.encoding import time_encode
from holdfast.core.memory import FRESH_DAYS, STANDINGS, WRITERS, Source
from holdfast.errors import HoldfastError, MalformedError

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
FALL = {name: rank for rank, name in enumerate(("earned", "aging", "background"))}
RUNS = [f"01970000-0000-7000-8000-{number:012d}" for number in range(4)]
SPAN = "5a" * 32
ROW = memory.row_id(bytes(16))


def a_source(lane):
    if lane == "imported":
        return Source("import", "1f" * 32, lane)
    if lane == "data_admitted":
        return Source("admission", "ad" * 32, lane)
    return Source("run", RUNS[0], lane, (SPAN,))


SOURCES = st.sampled_from(WRITERS).map(a_source)
DELAYS = st.integers(0, 200 * 24).map(lambda hours: dt.timedelta(hours=hours))
ACTS = st.sampled_from(
    [
        ("confirmed", {"by": "user"}),
        ("confirmed", {"by": "reviewer"}),
        ("contradicted", {"other": memory.row_id(b"\1" * 16), "authority": "user_said"}),
        ("contradicted", {"other": memory.row_id(b"\2" * 16), "authority": "imported"}),
        ("reconciled", {"other": memory.row_id(b"\1" * 16)}),
        ("used", {"run": None}),
        *[("used", {"run": run}) for run in RUNS],
        *[("agreed", {"source": Source("run", run, "user_said", (SPAN,)).to_json()}) for run in RUNS],
        ("agreed", {"source": Source("admission", "ae" * 32, "data_admitted").to_json()}),
        ("agreed", {"source": Source("run", RUNS[1], "model_inferred", (SPAN,)).to_json()}),
        ("superseded", {"other": memory.row_id(b"\3" * 16)}),
        ("withdrawn", {"by": "user"}),
    ]
)


def added(writer, sources, row=ROW, **change):
    body = {
        "claim": "Lives in Lisbon.",
        "kind": "semantic",
        "categories": ["identity"],
        "slot": "home",
        "writer": writer,
        "authority": memory.weakest(writer, sources),
        "sources": [source.to_json() for source in sources],
        "agent": None,
        "thread": None,
        "origin": None,
        "expires": None,
        "supersedes": None,
    }
    return memory.build_event(None, "added", row, AT, **{**body, **change})


@st.composite
def first_events(draw):
    expires = draw(st.none() | DELAYS.map(lambda delay: time_encode(AT + delay)))
    return added(
        draw(st.sampled_from(WRITERS)),
        draw(st.lists(SOURCES, min_size=1, max_size=3)),
        kind=draw(st.sampled_from(memory.KINDS)),
        categories=sorted(draw(st.sets(st.sampled_from(sorted(FRESH_DAYS)), max_size=3))),
        expires=expires,
    )


def play(first, acts):
    """A history of whatever of these acts is taken; every row on the way."""
    rows, raw, now = [memory.begin(first)], [first.raw], AT
    for (kind, members), delay in acts:
        now += delay
        event = memory.next_event(rows[-1], kind, now, **members)
        try:
            rows.append(memory.extend(rows[-1], event))
        except HoldfastError:
            continue
        raw.append(event.raw)
    return rows, raw


HISTORIES = st.tuples(first_events(), st.lists(st.tuples(ACTS, DELAYS), max_size=12))


@given(HISTORIES)
def test_authority_is_that_of_the_weakest_source_and_no_event_changes_it(history):
    first, acts = history
    rows, _ = play(first, acts)
    lanes = [rows[0].writer, *(source.lane for source in rows[0].sources)]
    assert {row.authority for row in rows} == {min(lanes, key=WRITERS.index)}


@given(HISTORIES, st.lists(DELAYS, min_size=2, max_size=6))
def test_standing_only_falls_without_an_event(history, delays):
    rows, _ = play(*history)
    for row in rows:
        seen = [memory.standing_of(row, row.updated + delay) for delay in sorted(delays)]
        assert set(seen) <= set(STANDINGS)
        if seen[0] in FALL:
            ranks = [FALL[name] for name in seen]
            assert ranks == sorted(ranks)
        else:
            assert set(seen) == {seen[0]}


@given(HISTORIES, DELAYS)
def test_being_recalled_changes_no_standing(history, delay):
    rows, _ = play(*history)
    used = memory.extend(rows[-1], memory.next_event(rows[-1], "used", rows[-1].updated + delay, run=RUNS[3]))
    for at in (used.updated, used.updated + delay, used.updated + 4 * delay):
        assert memory.standing_of(used, at) == memory.standing_of(rows[-1], at)
    assert used.earned == rows[-1].earned


@given(HISTORIES)
def test_only_confirmation_and_fresh_evidence_renew(history):
    rows, _ = play(*history)
    row = rows[-1]
    assert row.confirmed >= len(row.evidence)
    assert len({(source.kind, source.id) for source in (*row.evidence, *row.sources)}) == len(row.evidence) + len(
        {(source.kind, source.id) for source in row.sources}
    )
    for source in row.evidence:
        assert source.kind == "admission" or source.lane == "user_said"


@given(HISTORIES)
def test_a_history_folds_to_the_same_row_again(history):
    rows, raw = play(*history)
    assert memory.parse_history(raw) == rows[-1]


@given(HISTORIES, st.data())
def test_a_changed_byte_is_another_history(history, data):
    _, raw = play(*history)
    place = data.draw(st.integers(0, len(raw) - 1))
    index = data.draw(st.integers(0, len(raw[place]) - 1))
    flipped = bytes(
        byte ^ (1 << data.draw(st.integers(0, 7))) if at == index else byte for at, byte in enumerate(raw[place])
    )
    try:
        row = memory.parse_history([*raw[:place], flipped, *raw[place + 1 :]])
    except HoldfastError:
        return
    assert place == len(raw) - 1  # whatever follows names the digest of the event before it
    assert row.head != memory.parse_history(raw).head


@given(st.binary(max_size=200) | st.sampled_from([b"{}", b"[]", b'{"type":"added"}', b'{"type":[]}']))
def test_whatever_is_no_event_is_malformed(raw):
    with pytest.raises(MalformedError):
        memory.parse_event(raw)


@given(HISTORIES, st.integers(1, 8))
def test_a_chain_of_summaries_is_as_weak_as_its_weakest_beginning(history, length):
    rows, _ = play(*history)
    row = rows[-1]
    for number in range(length):
        source = memory.derived_source(row)
        row = memory.begin(added("user_said", [source], row=memory.row_id(bytes([number + 1]) * 16)))
        assert row.authority == rows[0].authority
