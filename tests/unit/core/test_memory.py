"""Rows of memory: what the vectors do not reach, because it is between rows."""

from __future__ import annotations

import datetime as dt

import pytest

from holdfast.core import memory
from holdfast.core.memory import Source
from holdfast.errors import MalformedError, RefusedError

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
RUN, LATER = "01970000-0000-7000-8000-000000000001", "01970000-0000-7000-8000-000000000002"
SPAN = "5a" * 32
SAID = Source("run", RUN, "user_said", (SPAN,))
AGAIN = Source("run", LATER, "user_said", (SPAN,))


def a_row(number, claim="Lives in Lisbon.", sources=(SAID,), slot="home", writer="user_said"):
    event = memory.build_event(
        None,
        "added",
        memory.row_id(bytes([number]) * 16),
        AT,
        claim=claim,
        kind="semantic",
        categories=[],
        slot=slot,
        writer=writer,
        authority=memory.weakest(writer, sources),
        sources=[source.to_json() for source in sources],
        agent=None,
        thread=None,
        origin=None,
        expires=None,
        supersedes=None,
    )
    return memory.begin(event)


def extended(row, kind, at=AT, **members):
    return memory.extend(row, memory.next_event(row, kind, at, **members))


def test_a_run_that_recalled_a_relative_renews_no_row():
    row = a_row(1)
    summary = extended(a_row(2, sources=(memory.derived_source(row),)), "used", run=LATER)
    memory.require_renewal(row, AGAIN)
    with pytest.raises(RefusedError) as caught:
        memory.require_renewal(row, AGAIN, kin=[summary])
    assert caught.value.code == "memory.self_citation"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (a_row(1), a_row(1, claim="Lives in Porto.")),
        (a_row(1), a_row(2)),
        (a_row(1, slot=None), a_row(2, claim="Lives in Porto.", slot=None)),
        (a_row(1, slot="work"), a_row(2, claim="Lives in Porto.")),
        (extended(a_row(1), "withdrawn", by="user"), a_row(2, claim="Lives in Porto.")),
        (a_row(1), extended(a_row(2, claim="Lives in Porto."), "withdrawn", by="user")),
    ],
    ids=["itself", "the same claim", "no slot", "another slot", "it ended", "the other ended"],
)
def test_rows_that_do_not_contradict_each_other(one, other):
    assert not memory.contradicts(one, other)


def test_another_claim_in_the_same_slot_contradicts():
    assert memory.contradicts(a_row(1), a_row(2, claim="Lives in Porto."))


def test_a_clock_that_went_back_makes_no_history_that_does():
    row = extended(a_row(1), "used", AT + dt.timedelta(days=2), run=RUN)
    later = extended(row, "confirmed", AT - dt.timedelta(days=1), by="user")
    assert later.earned == AT + dt.timedelta(days=2)


def test_an_event_that_is_too_large_is_not_read():
    with pytest.raises(MalformedError) as caught:
        memory.parse_event(b" " * (memory.MAX_EVENT_BYTES + 1))
    assert caught.value.code == "memory.event"


def test_an_event_by_itself_is_no_history():
    row = a_row(1)
    with pytest.raises(MalformedError) as caught:
        memory.begin(memory.next_event(row, "confirmed", AT, by="user"))
    assert caught.value.code == "memory.history"
