"""Events have one spelling, one chain, and only the actors that their kind allows."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import canonical
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from holdfast.review.cases import apply_event, fold
from holdfast.review.events import (
    ACTOR_KINDS,
    GATE,
    KIND_OF,
    KINDS,
    NO_PREVIOUS,
    STATE_OF,
    SYSTEM,
    Actor,
    Event,
    build_event,
    is_case_id,
    parse_event,
    parse_text,
)
from holdfast.verifier.gate import GATE_STATES
from tests.helpers.network import RUN, at

CASE = "00000000-0000-4000-8000-000000000001"
OPENED = {"queue": "default", "run": RUN, "subject": None, "requester": None}


def event(kind: str = "opened", **changes: Any) -> Event:
    given_: dict[str, Any] = {"case": CASE, "body": OPENED} | changes
    actor = given_.pop("actor", SYSTEM if kind == "opened" else GATE)
    return build_event(given_.pop("seq", 1), given_.pop("previous", NO_PREVIOUS), at(0), kind, actor, **given_)


def changed(**changes: Any) -> bytes:
    return canonical.encode(canonical.decode(event().raw) | changes)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "json.syntax"),
        (b"[]", "json.object"),
        (b"{}", "case_event.fields"),
        (event().raw + b" ", "json.spelling"),
        (changed(extra=1), "case_event.fields"),
        (changed(type="urn:holdfast:case-event:v2"), "case_event.fields"),
        (changed(seq=0), "case_event.fields"),
        (changed(seq=True), "case_event.fields"),
        (changed(seq="1"), "case_event.fields"),
        (changed(kind="verified"), "case_event.kind"),
        (changed(kind=None), "case_event.kind"),
        (changed(kind="cleared"), "case_event.actor"),
        (changed(actor={"kind": "gate", "id": "gate"}), "case_event.actor"),
        (changed(actor={"kind": "system"}), "case_event.fields"),
        (changed(actor={"kind": "system", "id": 1}), "case_event.fields"),
        (changed(case=None), "case_event.case"),
        (changed(case="1"), "case_event.case"),
        (changed(kind="policy_changed"), "case_event.case"),
        (changed(cause="Because I say so"), "case_event.fields"),
        (changed(body=[]), "case_event.fields"),
        (changed(previous="0"), "encoding.hex"),
        (changed(lanes="A" * 64), "encoding.hex"),
        (changed(policy="a" * 63), "encoding.hex"),
        (changed(at="2026-01-01T00:00:00Z"), "encoding.time"),
    ],
)
def test_what_is_no_event_is_refused(raw: bytes, code: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        parse_event(raw)
    assert caught.value.code == code


@pytest.mark.parametrize("kind", sorted(STATE_OF))
@pytest.mark.parametrize("actor", [kind for kind in ACTOR_KINDS if kind != "gate"])
def test_only_the_gate_says_where_a_case_stands(kind: str, actor: str) -> None:
    raw = event(kind, actor=Actor(actor, "x"), body={}).raw
    with pytest.raises(MalformedError) as caught:
        parse_event(raw)
    assert caught.value.code == "case_event.actor"


def test_there_is_a_kind_for_each_word_of_the_gate() -> None:
    assert set(KIND_OF) == set(GATE_STATES)
    assert set(STATE_OF) < set(KINDS)


@given(
    st.integers(1, 2**53 - 1),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC)),
)
def test_what_was_built_is_read_back(seq: int, text: str, moment: dt.datetime) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    person = Actor("person", text)
    made = build_event(seq, "a" * 64, moment, "commented", person, case=CASE, body={"text": text}, lanes="b" * 64)
    found = parse_event(made.raw)
    assert found == made
    assert found.to_json()["body"] == {"text": text}


@given(st.data())
def test_flipping_any_byte_changes_the_digest_or_the_event_is_none(data: st.DataObject) -> None:
    raw = bytearray(event().raw)
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    try:
        found = parse_event(bytes(raw))
    except HoldfastError:
        return
    assert found.digest != event().digest


@pytest.mark.parametrize("value", [None, 1, "", " \n", "a\tb", "a\x7f", "x" * 4001, "\ud800"])
def test_text_that_cannot_be_shown_is_refused(value: object) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_text(value, "reason")
    assert (caught.value.code, caught.value.param) == ("case.text", "reason")


def test_text_may_have_lines() -> None:
    assert parse_text("first\nsecond é", "reason") == "first\nsecond é"


@pytest.mark.parametrize("value", [None, "", CASE.upper().replace("0", "A"), CASE + "\n", CASE.replace("4000", "1000")])
def test_a_case_id_has_one_spelling(value: object) -> None:
    assert is_case_id(CASE)
    assert not is_case_id(value)


# --- the fold -----------------------------------------------------------------------------------------------------


def test_no_events_are_no_case() -> None:
    assert fold([]) is None


HELD = {"reasons": [], "clear_until": None, "released_early": False}


@pytest.mark.parametrize(
    "following",
    [
        event("opened", seq=2),
        event("held", seq=1, body=HELD),
        event("held", seq=2, body=HELD, case="00000000-0000-4000-8000-000000000002"),
        event("held", seq=2, body={}),
        event("recalled", seq=2, body=HELD),
        event("appraised", seq=2, body={"bundle": "a"}),
        event("policy_changed", seq=2, case=None, body={}),
    ],
    ids=lambda item: f"{item.kind}-{item.seq}",
)
def test_an_event_that_cannot_follow_is_refused(following: Event) -> None:
    case = apply_event(None, event())
    with pytest.raises(RefusedError) as caught:
        apply_event(case, following)
    assert caught.value.code == "case.history"


def test_a_case_begins_with_its_opening() -> None:
    with pytest.raises(RefusedError) as caught:
        fold([event("held", body=HELD)])
    assert caught.value.code == "case.history"
    assert apply_event(None, event()).state == "HOLD"
