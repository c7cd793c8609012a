"""Nobody uses a relay without a key; nobody uses more than their share, and nobody else pays for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.errors import RefusedError
from holdfast.nodes.relay.admission import AccountAdmission, OverQuotaError, Quota
from holdfast.nodes.relay.config import RelayKey
from holdfast.ports.settings import Secret

KEY, OTHER = {b"authorization": b"Bearer hf_one"}, {b"authorization": b"Bearer hf_two"}
QUOTA = Quota(window_s=60, requests=2, size_bytes=100, at_once=2)


class Hands:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


def made(quota: Quota = QUOTA) -> tuple[AccountAdmission, Hands]:
    hands = Hands()
    keys = [RelayKey("one", Secret("hf_one", "test")), RelayKey("two", Secret("hf_two", "test"))]
    return AccountAdmission(keys, quota, hands), hands


def test_without_a_configured_key_nobody_is_admitted() -> None:
    with pytest.raises(RefusedError) as found:
        AccountAdmission([], QUOTA, Hands()).admit(KEY)
    assert found.value.code == "auth.wrong"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "auth.missing"),
        ({b"authorization": b"Basic hf_one"}, "auth.missing"),
        ({b"authorization": b"Bearer hf_onE"}, "auth.wrong"),
        ({b"authorization": b"Bearer one"}, "auth.wrong"),
    ],
)
def test_another_key_is_refused(headers: dict[bytes, bytes], code: str) -> None:
    with pytest.raises(RefusedError) as found:
        made()[0].admit(headers)
    assert (found.value.code, found.value.status) == (code, 401)


def test_requests_over_the_quota_wait_for_the_next_window() -> None:
    admission, hands = made()
    for _ in range(2):
        admission.admit(KEY).close()
    with pytest.raises(OverQuotaError) as found:
        admission.admit(KEY)
    assert (found.value.code, found.value.status, found.value.retry_after_s) == ("relay.requests", 429, 55)
    hands.now = 60.0
    admission.admit(KEY).close()


def test_the_requests_of_a_day_are_counted_by_account() -> None:
    """The relay pays for them, whatever the windows let through."""
    hands = Hands()
    keys = [RelayKey("one", Secret("hf_one", "test")), RelayKey("two", Secret("hf_two", "test"), day_requests=1)]
    admission = AccountAdmission(keys, replace(QUOTA, requests=100, day_requests=3), hands)
    for _ in range(3):
        admission.admit(KEY).close()
        hands.now += 60
    admission.admit(OTHER).close()
    for headers in (KEY, OTHER):
        with pytest.raises(OverQuotaError) as found:
            admission.admit(headers)
        assert (found.value.code, found.value.status) == ("relay.day", 429)
        assert found.value.retry_after_s == 86_400 - 185
    hands.now = 86_400.0
    for headers in (KEY, OTHER):
        admission.admit(headers).close()


def test_requests_at_once_are_counted_while_they_are_under_way() -> None:
    admission, _ = made(replace(QUOTA, requests=100))
    first, second = admission.admit(KEY), admission.admit(KEY)
    with pytest.raises(OverQuotaError) as found:
        admission.admit(KEY)
    assert found.value.code == "relay.at_once"
    first.close()
    first.close()
    admission.admit(KEY)
    with pytest.raises(OverQuotaError):
        admission.admit(KEY)
    second.close()


def test_a_request_that_would_pass_the_bytes_is_refused_and_costs_none() -> None:
    admission, _ = made()
    ticket = admission.admit(KEY)
    with pytest.raises(OverQuotaError) as found:
        ticket.take_request(101)
    assert found.value.code == "relay.bytes"
    ticket.take_request(100)


def test_an_answer_is_not_cut_off_and_the_next_request_waits() -> None:
    admission, hands = made()
    ticket = admission.admit(KEY)
    ticket.take_request(90)
    ticket.take_answer(5_000)
    ticket.close()
    with pytest.raises(OverQuotaError) as found:
        admission.admit(KEY)
    assert found.value.code == "relay.bytes"
    hands.now = 61.0
    admission.admit(KEY)


def test_one_account_does_not_use_up_another() -> None:
    admission, _ = made()
    for _ in range(2):
        admission.admit(KEY)
    with pytest.raises(OverQuotaError):
        admission.admit(KEY)
    admission.admit(OTHER)


def test_what_is_kept_of_an_account_is_numbers() -> None:
    """And no key, address, gateway or time of a request."""
    admission, _ = made()
    admission.admit(KEY).take_request(10)
    kept = admission._accounts["one"]
    assert {name: getattr(kept, name) for name in kept.__slots__} == {
        "window": 0,
        "requests": 1,
        "size_bytes": 10,
        "open": 1,
        "day": 0,
        "in_day": 1,
        "day_requests": None,
    }
    assert b"hf_one" not in repr(vars(admission)).encode()
