"""Webhooks: what is refused in their settings, what is told and what never is, and how it is signed and tried again."""

from __future__ import annotations

import base64
import datetime as dt
import json

import pytest

from holdfast.errors import UsageError
from holdfast.ports.case_store import StoredEvent
from holdfast.review.cases import LET_THROUGH
from holdfast.review.events import SYSTEM
from holdfast.review.webhooks import (
    MAX_HOOKS,
    MAX_NOTE,
    MAX_RETRY_AFTER_S,
    Limits,
    build_deliveries,
    check_hooks,
    describe_answer,
    follow,
    headers,
    parse_hook,
    parse_secrets,
    pause_s,
    retry_after_s,
    sign,
    still_holds,
)
from holdfast.verifier.gate import GATE_STATES
from tests.helpers.review import APPROVER, REVIEWER, Clinic
from tests.helpers.webhooks import KEY, SECRET, URL, check_signature, hook

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def journal(clinic: Clinic) -> list[StoredEvent]:
    with clinic.store.read() as reader:
        return reader.events(0, 10_000)


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.test/in",
        "ftp://hooks.test/in",
        "file:///etc/passwd",
        "https://",
        "https:///in",
        "https://hooks.test:0/",
        "https://hooks.test:99999/",
        "https://hooks.test:port/",
        "https://[::1/",
        "https://hooks.test/a b",
        "https://hooks.test\\@evil.test/",
        "https://hooks.test/\r\nx-injected: 1",
        "https://h\u00f6oks.test/",
        "https://hooks.test/#fragment",
        "https://user@hooks.test/",
        "https://user:password@hooks.test/",
        "http://hooks.test/in",
        "http://10.0.0.1/in",
        "http://127.0.0.1.hooks.test/in",
        "http://localhost.hooks.test/in",
        "https://hooks.test/" + "a" * 2_000,
    ],
)
def test_an_address_that_could_lead_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_hook("default", url, SECRET, ("CLEAR",))
    assert refused.value.code == "webhook.url"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/in", "http://localhost/in", "http://[::1]:1/in", URL])
def test_https_goes_anywhere_and_plain_http_to_this_machine(url: str) -> None:
    assert parse_hook("default", url, SECRET, ("CLEAR",)).url == url


def test_plain_http_goes_further_only_by_a_setting() -> None:
    assert parse_hook("default", "http://10.0.0.1/in", SECRET, ("CLEAR",), plain_http=True).url == "http://10.0.0.1/in"
    with pytest.raises(UsageError, match="credentials"):
        parse_hook("default", "http://a:b@10.0.0.1/in", SECRET, ("CLEAR",), plain_http=True)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        " ",
        KEY.hex(),
        base64.b64encode(KEY).decode(),
        "whsec_",
        "whsec_" + base64.b64encode(KEY[:23]).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        SECRET.rstrip("="),
        SECRET + "!",
        f"{SECRET} {SECRET}",
        " ".join("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in range(3)),
        "whpk_" + base64.b64encode(KEY).decode(),
    ],
)
def test_a_secret_has_one_spelling_and_enough_of_it(secret: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_secrets(secret)
    assert refused.value.code == "webhook.secret"
    assert len(secret) < 10 or secret not in str(refused.value)


@pytest.mark.parametrize("states", [(), ("clear",), ("CLEAR", "CLEAR"), ("GREEN",), ("HOLD",), ("HOLD", "REJECTED")])
def test_states_are_of_the_gate_and_hold_alone_is_told_to_nobody(states: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as refused:
        parse_hook("default", URL, SECRET, states)
    assert refused.value.code == "webhook.states"


def test_a_queue_is_a_code_and_an_address_is_told_once() -> None:
    with pytest.raises(UsageError) as refused:
        parse_hook("The Queue", URL, SECRET, ("CLEAR",))
    assert refused.value.code == "webhook.queue"
    with pytest.raises(UsageError) as refused:
        check_hooks([hook(), hook(states=("CLEAR",))])
    assert refused.value.code == "webhook.twice"
    with pytest.raises(UsageError) as refused:
        check_hooks([hook(url=f"{URL}/{number}") for number in range(MAX_HOOKS + 1)])
    assert refused.value.code == "webhook.many"


def test_what_is_shown_of_an_endpoint_is_neither_its_path_nor_its_secret() -> None:
    found = hook(url="https://hooks.test:8443/services/T0/secret-path?token=1")
    assert found.endpoint == "https://hooks.test:8443"
    assert "secret-path" not in repr(found)
    assert "token" not in repr(found)
    assert repr(KEY) not in repr(found)


# --- what is told ---------------------------------------------------------------------------------------------------


def test_a_case_that_was_only_ever_held_is_never_told() -> None:
    clinic = Clinic()
    clinic.queue()
    case = clinic.case(stage="answered")
    clinic.desk.view(REVIEWER, case)
    clinic.desk.decide(REVIEWER, case, "reject", reason="no")
    assert {event.kind for event in journal(clinic)} >= {"held", "rejected"}
    assert follow(journal(clinic), {}) == ([], {})


def test_a_refuted_case_that_nobody_relied_on_is_not_told() -> None:
    clinic = Clinic()
    clinic.queue()
    clinic.case(stage="refuted")
    assert follow(journal(clinic), {})[0] == []


def test_what_takes_back_is_told_once_and_says_what_it_takes_back() -> None:
    clinic = Clinic()
    clinic.queue(max_age_s=60)
    case = clinic.case(stage="settled")
    clinic.pass_time(120)
    clinic.desk.tick()
    clinic.note(case, "refuted")
    told, changed = follow(journal(clinic), {})
    assert [(item.state, item.before) for item in told] == [
        ("CLEAR", None),
        ("HOLD", "CLEAR"),
        ("RECALLED", "HOLD"),
    ]
    assert changed == {case: "RECALLED"}


def test_after_a_reopening_what_is_held_is_nobodys_business_again() -> None:
    clinic = Clinic()
    clinic.queue()
    case = clinic.case(stage="settled")
    clinic.desk.recall(SYSTEM, "0" * 64, "nothing")
    clinic.desk.view(REVIEWER, case)
    clinic.desk.decide(REVIEWER, case, "reject", reason="it is not as agreed")
    clinic.trusted = None
    clinic.desk.view(APPROVER, case)
    clinic.desk.reopen(APPROVER, case, reason="a mistake")
    told, changed = follow(journal(clinic), {})
    assert [item.state for item in told] == ["CLEAR", "REJECTED"]
    assert changed[case] is None


def test_following_in_pieces_says_the_same_as_following_at_once() -> None:
    clinic = Clinic()
    clinic.queue(max_age_s=60)
    case = clinic.case(stage="answered")
    clinic.release(case)
    clinic.note(case, "settled")
    clinic.pass_time(700)
    clinic.desk.tick()
    clinic.note(case, "refuted")
    events = journal(clinic)
    whole, _ = follow(events, {})
    assert {item.state for item in whole} >= {"PROVISIONAL", "CLEAR", "HOLD", "RECALLED"}
    told: dict[str, str] = {}
    found = []
    for event in events:
        items, changed = follow([event], told)
        found += items
        told = {name: state for name, state in {**told, **changed}.items() if state is not None}
    assert found == whole


def test_every_cleared_and_provisional_event_is_told() -> None:
    clinic = Clinic()
    clinic.queue()
    case = clinic.case(stage="answered")
    clinic.release(case)
    clinic.note(case, "settled")
    told, _ = follow(journal(clinic), {})
    kinds = [event.seq for event in journal(clinic) if event.kind in ("cleared", "provisional")]
    assert [item.event.seq for item in told if item.lets_through] == kinds


def test_an_endpoint_hears_of_its_queue_and_its_states_and_of_nothing_else() -> None:
    clinic = Clinic()
    clinic.queue()
    clinic.case(stage="settled")
    (item,), _ = follow(journal(clinic), {})
    hooks = [hook(), hook("other"), hook(url=f"{URL}/2", states=("RECALLED",))]
    (found,) = build_deliveries(item, hooks, "default", "run", None)
    assert found.hook == hooks[0].id


def test_what_is_sent_holds_lanes_apart_and_nothing_that_was_asked_or_answered() -> None:
    clinic = Clinic()
    clinic.queue()
    case = clinic.case(stage="settled")
    (item,), _ = follow(journal(clinic), {})
    vector = clinic.desk.lanes_then(SYSTEM, case, item.event.lanes or "")
    (found,) = build_deliveries(item, [hook()], "default", "the run", vector)
    value = json.loads(found.body)
    assert set(value) == {
        "type", "delivery", "queue", "case", "run", "state", "before", "policy", "lanes", "lanes_digest", "reasons",
        "clear_until", "released_early", "act", "event", "at",
    }  # fmt: skip
    assert value["type"] == "urn:holdfast:webhook:v1"
    assert value["lanes"]["settlement"] == {"state": "proven", "basis": "development"}
    assert len(value["lanes"]) == 11
    assert value["delivery"] == found.delivery
    assert value["event"] == {"seq": item.event.seq, "digest": item.event.digest}
    assert b"One question" not in found.body
    assert b"What is a lane" not in found.body


def test_a_delivery_is_named_after_its_endpoint_and_its_event() -> None:
    clinic = Clinic()
    clinic.queue()
    clinic.case(stage="settled")
    (item,), _ = follow(journal(clinic), {})
    names = {
        build_deliveries(item, [one], "default", "run", None)[0].delivery for one in (hook(), hook(url=f"{URL}/2"))
    }
    assert len(names) == 2
    assert build_deliveries(item, [hook()], "default", "run", None)[0].delivery in names


@pytest.mark.parametrize("state", LET_THROUGH)
@pytest.mark.parametrize("now", GATE_STATES)
def test_only_what_still_holds_is_said(state: str, now: str) -> None:
    assert still_holds(state, now) is (
        (state, now) in {("CLEAR", "CLEAR"), ("PROVISIONAL", "PROVISIONAL"), ("PROVISIONAL", "CLEAR")}
    )


# --- signatures -----------------------------------------------------------------------------------------------------


def test_the_signature_is_the_one_that_standard_webhooks_describes() -> None:
    sent = headers(hook(), "a" * 64, b'{"a":1}', NOW)
    assert sent["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert check_signature(sent, b'{"a":1}')
    assert not check_signature(sent, b'{"a":2}')
    assert not check_signature(sent | {"webhook-id": "b" * 64}, b'{"a":1}')
    assert not check_signature(sent | {"webhook-timestamp": "1"}, b'{"a":1}')
    assert not check_signature(sent, b'{"a":1}', bytes(32))


def test_the_signature_of_a_known_message_is_known() -> None:
    """Worked out with ``openssl dgst -sha256 -hmac`` over ``msg_1.1674087231.{}``, key of 24 letters k."""
    assert sign((b"k" * 24,), "msg_1", 1674087231, b"{}") == "v1,G1doHG0ujFtlhHA+ZGJu/UzP6aXfo87GDP2VtWSggoI="


def test_while_a_secret_changes_both_sign() -> None:
    other = bytes(reversed(KEY))
    both = hook(secret=f"whsec_{base64.b64encode(other).decode()} {SECRET}")
    sent = headers(both, "a" * 64, b"{}", NOW)
    assert check_signature(sent, b"{}", KEY)
    assert check_signature(sent, b"{}", other)


# --- trying again ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("1.5", 0),
        ("120", 120),
        ("0", 0),
        ("99999999999999", MAX_RETRY_AFTER_S),
        ("Thu, 01 Jan 2026 12:02:00 GMT", 120),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("Thu, 01 Jan 2030 11:00:00 GMT", MAX_RETRY_AFTER_S),
        ("Thu, 99 Jan 2026 11:00:00 GMT", 0),
    ],
)
def test_an_endpoint_can_ask_for_a_pause_of_bounded_length(value: str | None, seconds: float) -> None:
    assert retry_after_s(value, NOW) == seconds


def test_pauses_double_up_to_the_longest_and_never_come_together() -> None:
    limits = Limits(first_retry_s=1, longest_retry_s=100)
    assert [pause_s(limits, attempt, 1.0) for attempt in range(1, 10)] == [1, 2, 4, 8, 16, 32, 64, 100, 100]
    assert [pause_s(limits, attempt, 0.0) for attempt in (1, 9, 10_000)] == [0.5, 50, 50]


def test_what_an_endpoint_wrote_is_kept_as_one_short_line() -> None:
    note = describe_answer(500, b"<h1>\x00\x1b[31mOops\n\n\xff" + b"x" * 100_000)
    assert note.startswith("answered 500: <h1> [31mOops x")
    assert len(note) <= MAX_NOTE
    assert describe_answer(204, b"") == "answered 204"
