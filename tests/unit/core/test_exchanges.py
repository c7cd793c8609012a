"""What was observed of a question that went over something else than HTTP (``admission.md`` §3(7))."""

from dataclasses import replace

import pytest

from holdfast.core.admissions import parse_admission, verify_observation
from holdfast.core.exchanges import MAX_FACTS, Exchange, parse_exchange
from holdfast.errors import MalformedError, RefusedError
from tests.helpers.admissions import admitted, digest_of, observation

ROWS = Exchange(
    "sql", "tls", digest_of("template"), digest_of("asked"), 90, (digest_of("rows"), 42), {"server": "PostgreSQL 17.2"}
)


def of_rows(**change):
    seen = observation()
    limits = replace(seen.limits, pins=())
    return replace(seen, request=None, tls=None, http=None, limits=limits, exchange=ROWS, **change)


def test_a_document_over_http_has_no_such_member_and_reads_as_before():
    seen = observation()
    assert "exchange" not in seen.to_json()
    assert parse_admission(admitted(seen).raw).observation.exchange is None
    assert (seen.template, seen.body_digest) == (seen.request.template, seen.http.body_digest)


def test_a_document_of_rows_is_read_as_it_was_written_and_holds():
    document = admitted(of_rows())
    assert parse_admission(document.raw) == document
    verify_observation(document)
    assert (document.observation.template, document.observation.body_digest) == (ROWS.template, digest_of("rows"))
    assert document.observation.as_of == document.observation.times.requested


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "http"},
        {"kind": None},
        {"kind": ["sql"]},
        {"channel": "quic"},
        {"channel": ["tls"]},
        {"facts": []},
        {"facts": {"server": ""}},
        {"facts": {"server": "x" * 257}},
        {"facts": {"Server": "x"}},
        {"facts": {f"f{place}": "x" for place in range(MAX_FACTS + 1)}},
        {"request": None},
        {"request": {"digest": digest_of("x"), "size": True}},
        {"answer": {"digest": digest_of("x"), "size": 0}},
        {"more": 1},
    ],
)
def test_a_malformed_exchange_does_not_exist(change):
    with pytest.raises(MalformedError) as caught:
        parse_exchange(ROWS.to_json() | change)
    assert caught.value.code == "admission.exchange"


@pytest.mark.parametrize("member", ["request", "tls", "http"])
def test_it_stands_beside_nothing_of_http(member):
    seen = replace(of_rows(), **{member: getattr(observation(), member)})
    with pytest.raises(MalformedError) as caught:
        parse_admission(admitted(seen).raw)
    assert caught.value.code == "admission.exchange"


def test_what_is_admitted_was_answered():
    with pytest.raises(MalformedError) as caught:
        parse_admission(admitted(replace(of_rows(), exchange=replace(ROWS, answer=None))).raw)
    assert caught.value.code == "admission.event"


def test_a_pin_is_of_a_session():
    with pytest.raises(RefusedError) as caught:
        verify_observation(admitted(replace(of_rows(), limits=observation().limits)))
    assert caught.value.code == "admission.certificate"
