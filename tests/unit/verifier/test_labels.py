"""What a label can have meant when a run was computed (``lanes.md`` §3.1(3)); whole bundles are in the vectors."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest

from holdfast.core.statements import Statement
from holdfast.verifier.evidence import CheckedStatement
from holdfast.verifier.labels import Shown, computed_span, meaning
from tests.helpers.artifacts import A, B, Said, labelled

SKEW = dt.timedelta(seconds=30)
C = "33" * 32
RUN_S = 1000.25
"""When the run was computed, in seconds of the helpers' clock: in the middle of a minute."""


def shown(said: Said, index: int | None = None) -> Shown:
    checked = CheckedStatement(said.statement)
    checked.index = index
    return Shown(checked, said.change)


def computed(seconds: float = RUN_S, index: int | None = None) -> CheckedStatement:
    """Stands for the statement of an inference node: only its time and its place are read."""
    statement: Statement = dataclasses.replace(Said(labelled()).statement, claimed_at=labelled(seconds=seconds).at)
    checked = CheckedStatement(statement)
    checked.index = index
    return checked


def history(*steps: tuple[str, float], before: str | None = None, indices: Any = ()) -> list[Shown]:
    made, last = [], before
    for number, (artifact, seconds) in enumerate(steps):
        index = indices[number] if number < len(indices) else None
        made.append(shown(Said(labelled(artifact, last, seconds)), index))
        last = artifact
    return made


@pytest.mark.parametrize(
    ("steps", "before", "possible", "closed"),
    [
        ([(A, 0)], None, {A}, False),
        ([(A, 0), (B, 100)], None, {B}, False),
        ([(A, 0), (B, 2000)], None, {A}, True),
        ([(A, 0), (B, 990)], None, {A, B}, False),
        ([(A, 0), (B, 1030)], None, {A, B}, False),
        ([(A, 0), (B, 1031)], None, {A}, True),
        ([(A, 0), (B, 980), (C, 1020)], None, {A, B, C}, False),
        ([(A, 2000)], None, set(), True),
        ([(A, 1010)], None, {A}, True),
        ([(A, 2000)], C, {C}, True),
        ([(A, 1010)], C, {A, C}, False),
        ([(A, 0)], C, {A}, False),
    ],
)
def test_what_it_can_have_meant(steps: Any, before: str | None, possible: set[str], closed: bool) -> None:
    found = meaning(history(*steps, before=before), computed(), SKEW)
    assert (set(found.possible), found.closed) == (possible, closed)


def test_a_change_behind_the_run_in_the_log_may_not_have_counted_yet() -> None:
    behind = history((A, 0), (B, 100), indices=(1, 9))
    assert meaning(behind, computed(index=5), SKEW).possible == {A, B}
    assert meaning(behind, computed(index=None), SKEW).possible == {B}
    assert meaning(history((A, 0), (B, 100), indices=(1, 2)), computed(index=5), SKEW).possible == {B}


def test_a_whole_minute_stands_for_all_of_it() -> None:
    start, end = computed_span(computed(960.0))
    assert end - start == dt.timedelta(minutes=1)
    start, end = computed_span(computed(960.5))
    assert end == start
    moved = history((A, 0), (B, 960 + 80))
    assert meaning(moved, computed(960.0), SKEW).possible == {A, B}
    assert meaning(moved, computed(960.5), SKEW).possible == {A}
