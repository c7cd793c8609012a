"""The transcript: numbered, three-valued, citing the specification, and saying which lanes each check is about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.cli.conformance.commands import run
from holdfast.errors import ConflictError, MalformedError, RefusedError, UnavailableError, UndecidedError
from holdfast.verifier.lanes import LANES
from holdfast.verifier.transcript import Check, Transcript

VECTORS = Path(__file__).resolve().parents[3] / "vectors"
BUNDLES = sorted(
    path.parent
    for path in VECTORS.rglob("case.json")
    if json.loads(path.read_text(encoding="utf-8"))["run"][0] == "verify-bundle"
)


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
    record.error(("bytes",), "trust.md §5", error)
    assert record.checks == [Check(1, "trust.md §5", answer, "said", "a.b", ("bytes",))]


def test_checks_are_numbered_in_the_order_in_which_they_were_made_and_name_lanes_in_theirs():
    record = Transcript()
    record.note(("bytes",), "a", "yes", "One.")
    record.note(("route", "bytes"), "b", "no", "Two.", "x.y")
    assert [check.to_json() for check in record.checks] == [
        {"number": 1, "spec": "a", "answer": "yes", "says": "One.", "code": None, "lanes": ["bytes"]},
        {"number": 2, "spec": "b", "answer": "no", "says": "Two.", "code": "x.y", "lanes": ["bytes", "route"]},
    ]


def test_a_check_of_a_lane_that_does_not_exist_cannot_be_made():
    with pytest.raises(ValueError, match="not in tuple"):
        Transcript().note(("soundness",), "a", "yes", "One.")


def test_two_transcripts_share_nothing():
    Transcript().note(("bytes",), "a", "yes", "One.")
    assert Transcript().checks == []


@pytest.mark.parametrize("folder", BUNDLES, ids=[path.relative_to(VECTORS).as_posix() for path in BUNDLES])
def test_every_check_is_about_some_lane_and_every_refuted_lane_has_one_that_says_no(folder):
    """``lanes.md`` §2, over every bundle of the vectors."""
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    _, answer = run(case["run"], folder)
    for check in answer.get("checks", []):
        assert check["lanes"] == [name for name in LANES if name in check["lanes"]] != []
    for name, (state, _) in answer.get("lanes", {}).items():
        if state == "refuted":
            assert any(name in check["lanes"] for check in answer["checks"] if check["answer"] == "no"), name
