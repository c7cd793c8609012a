"""Filters of a queue page: all in the URL, closed lists, and nothing that is not asked for."""

from __future__ import annotations

import datetime as dt

import pytest

from holdfast.errors import HoldfastError, RefusedError
from holdfast.ports.case_store import CaseFilter
from holdfast.web.filters import parse_filters

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def parse(person=None, **query):
    return parse_filters("default", query, person, NOW, 50)


@pytest.mark.parametrize(
    "query",
    [
        {"state": "GREEN"},
        {"state": "hold"},
        {"lane": "soundness", "is": "proven"},
        {"lane": "bytes", "is": "good"},
        {"lane": "bytes"},
        {"is": "proven"},
        {"early": "yes"},
        {"stale": "0"},
        {"claimed": "rita"},
        {"after": "-1"},
        {"after": "1e3"},
        {"since": "yesterday"},
        {"since": "0001-01-01T00:00:00+23:00"},
        {"subject": "x" * 4001},
        {"subject": "a\x00"},
    ],
)
def test_what_is_no_filter_is_refused(query):
    with pytest.raises(HoldfastError) as caught:
        parse("rita", **query)
    assert caught.value.code == "panel.filter"


def test_nobody_has_claimed_cases_without_being_somebody():
    with pytest.raises(RefusedError) as caught:
        parse(claimed="me")
    assert caught.value.code == "people.sign_in_first"


def test_without_filters_a_queue_is_shown_the_newest_first():
    assert parse().which == CaseFilter(queue="default", limit=50, newest_first=True)
    assert parse(state="", lane="", **{"is": ""}, subject="").which == parse().which
    assert not parse(state="HOLD").narrowed


def test_filters_narrow_together():
    asked = parse("rita", **{"is": "pending"}, lane="settlement", claimed="me", early="1", flagged="1", stale="1")
    which = asked.which
    assert (which.lane, which.lane_state) == ("settlement", "pending")
    assert (which.claimed_by, which.claimed_at) == ("rita", "2026-01-01T12:00:00.000Z")
    assert which.released_early and which.flagged and which.stale  # noqa: PT018 (three marks, one filter)
    assert asked.narrowed


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-01", "2026-01-01T00:00:00.000Z"),
        ("2026-01-01T10:00", "2026-01-01T10:00:00.000Z"),
        ("2026-01-01T10:00:00+02:00", "2026-01-01T08:00:00.000Z"),
    ],
)
def test_a_time_without_a_zone_means_utc(text, meant):
    assert parse(since=text).which.opened_since == meant


def test_the_rest_of_a_view_stays_when_one_part_changes():
    asked = parse(state="HOLD", subject="a b", after="7")
    assert asked.url("/queues/default", state="CLEAR") == "/queues/default?state=CLEAR&subject=a+b"
    assert asked.url("/queues/default", state=None) == "/queues/default?subject=a+b"
    assert asked.url("/q", after=3) == "/q?state=HOLD&subject=a+b&after=3"
    assert parse().url("/q") == "/q"
