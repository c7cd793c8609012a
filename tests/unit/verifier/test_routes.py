"""What the route lane says of attempts, and of what was not done as asked."""

from __future__ import annotations

from dataclasses import replace

from holdfast.core.attempts import SERVED, Attempt
from holdfast.core.statements import Route, Tree
from holdfast.verifier.routes import describe_route, deviations

TREE = Tree(b"\x01" * 32, 1)
PLAIN = Route(TREE, TREE, "chat.completions", "two", (), (), cached=False, settlement="batch", streamed=False)
GONE = Attempt("one", "first", "upstream.unreachable", sent=False)
BUSY = Attempt("one", "first", "upstream.status.503", sent=True)
FELL = Attempt("two", "fallback", SERVED, sent=True)


def test_every_attempt_is_told_with_whether_anything_was_sent() -> None:
    says = describe_route(replace(PLAIN, attempts=(BUSY, FELL), fallback_from=("one",)))
    assert "upstream two served this turn; after one failed" in says
    assert "one first (upstream.status.503, the request sent); two as a fallback (served)" in says
    assert "nothing sent" in describe_route(replace(PLAIN, attempts=(GONE, FELL), fallback_from=("one",)))


def test_who_did_not_serve_is_not_said_to_have_served() -> None:
    says = describe_route(replace(PLAIN, upstream="one", attempts=(BUSY,)))
    assert "served this turn" not in says
    assert "upstream one was turned to last" in says
    assert "no upstream was turned to" in describe_route(replace(PLAIN, attempts=()))


def test_one_that_served_at_once_needs_no_list() -> None:
    served = Attempt("two", "first", SERVED, sent=True)
    assert describe_route(replace(PLAIN, attempts=(served,))) == describe_route(PLAIN)


def test_what_is_ignored_is_said_and_is_a_deviation() -> None:
    body = replace(PLAIN, ignored=("logit_bias", "seed"))
    assert "is known not to honour logit_bias, seed" in describe_route(body)
    assert deviations(body) == ("ignored",)
    assert deviations(PLAIN) == ()
    assert deviations(replace(PLAIN, fallback_from=("one",), cached=True, rewrites=("model",))) == (
        "cache",
        "fallback",
        "rewrite",
    )
