"""The transcript: numbered, three-valued, citing the specification."""

from __future__ import annotations

import pytest

from holdfast.errors import ConflictError, MalformedError, RefusedError, UnavailableError, UndecidedError
from holdfast.verifier.transcript import Check, Transcript


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (UndecidedError("a.b", "said"), "cannot_tell"),
        (RefusedError("a.b", "said"), "no"),
        (ConflictError("a.b", "said"), "no"),
        (MalformedError("a.b", "said"), "no"),
        (UnavailableError("a.b", "said"), "no"),
    ],
)
def test_only_an_undecided_error_is_no_refusal_and_none_is_a_pass(error, answer):
    record = Transcript()
    record.error("trust.md §5", error)
    assert record.checks == [Check(1, "trust.md §5", answer, "said", "a.b")]


def test_checks_are_numbered_in_the_order_in_which_they_were_made():
    record = Transcript()
    record.note("a", "yes", "One.")
    record.note("b", "no", "Two.", "x.y")
    assert [check.to_json() for check in record.checks] == [
        {"number": 1, "spec": "a", "answer": "yes", "says": "One.", "code": None},
        {"number": 2, "spec": "b", "answer": "no", "says": "Two.", "code": "x.y"},
    ]


def test_two_transcripts_share_nothing():
    Transcript().note("a", "yes", "One.")
    assert Transcript().checks == []
