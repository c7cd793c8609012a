"""Attempts of a route: everything that a request may have reached is named, and nothing follows from it otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.attempts import MOST, SERVED, WHYS, Attempt, failed_before, parse_attempts, reached
from holdfast.errors import MalformedError

FIRST = Attempt("one", "first", "upstream.unreachable", sent=False)
AGAIN = Attempt("one", "retry", "upstream.status.503", sent=True)
OTHER = Attempt("two", "fallback", SERVED, sent=True)
NEXT = Attempt("two", "next", SERVED, sent=True)


def read(*attempts: Attempt, upstream: str = "two") -> tuple[Attempt, ...]:
    return parse_attempts([item.to_json() for item in attempts], upstream)


@pytest.mark.parametrize(
    ("attempts", "upstream"),
    [
        ([AGAIN], "one"),
        ([OTHER], "two"),
        ([NEXT], "two"),
        ([FIRST, Attempt("two", "retry", SERVED, sent=True)], "two"),
        ([FIRST, Attempt("one", "fallback", "x", sent=True)], "one"),
        ([FIRST, Attempt("one", "next", "x", sent=True)], "one"),
        ([FIRST, Attempt("one", "balance", "x", sent=True)], "one"),
        ([FIRST, OTHER, Attempt("two", "retry", SERVED, sent=True)], "two"),
        ([FIRST, OTHER, Attempt("one", "fallback", SERVED, sent=True)], "one"),
        ([FIRST, OTHER], "one"),
        ([Attempt("one", "first", SERVED, sent=True), OTHER], "two"),
        ([Attempt("one", "first", SERVED, sent=False)], "one"),
        ([FIRST] + [AGAIN] * MOST, "one"),
    ],
)
def test_an_account_that_does_not_hang_together_is_none(attempts: list[Attempt], upstream: str) -> None:
    with pytest.raises(MalformedError) as error:
        read(*attempts, upstream=upstream)
    assert error.value.code == "statement.attempts"


@pytest.mark.parametrize(
    "change", [{"upstream": "https://one"}, {"end": "It broke"}, {"why": "cheaper"}, {"sent": 1}, {"more": "x"}]
)
def test_an_attempt_has_four_members_and_no_words(change: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        parse_attempts([OTHER.to_json() | {"why": "first"} | change], "two")


@pytest.mark.parametrize("value", [None, {}, "two", [None], [[]]])
def test_attempts_are_a_list_of_objects(value: object) -> None:
    with pytest.raises(MalformedError):
        parse_attempts(value, "two")


def test_what_failed_before_follows_from_the_attempts() -> None:
    attempts = read(FIRST, AGAIN, OTHER, NEXT)
    assert failed_before(attempts) == ("one",)
    assert failed_before(()) == ()
    assert failed_before((AGAIN,)) == ()


def test_whoever_may_have_got_it_once_is_counted_as_having_got_it() -> None:
    assert reached((FIRST, AGAIN, OTHER)) == {"one": True, "two": True}
    assert reached((FIRST, OTHER)) == {"one": False, "two": True}


attempts = st.builds(
    Attempt, st.sampled_from(["one", "two"]), st.sampled_from(WHYS), st.sampled_from([SERVED, "x"]), st.booleans()
)


@given(st.lists(attempts, max_size=4), st.sampled_from(["one", "two"]))
def test_what_is_read_names_who_served_last_and_nobody_twice(found: list[Attempt], upstream: str) -> None:
    try:
        told = read(*found, upstream=upstream)
    except MalformedError:
        return
    assert all(item.upstream == upstream for item in told if item.end == SERVED)
    assert upstream not in failed_before(told)
    assert set(reached(told)) == {*failed_before(told), *([upstream] if told else [])}
