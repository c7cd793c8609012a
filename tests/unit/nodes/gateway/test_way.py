"""What is written down of a run's way always fits into its route."""

from __future__ import annotations

from holdfast.core.attempts import SERVED, parse_attempts
from holdfast.nodes.gateway.admit_tool import MOST_CALLS
from holdfast.nodes.gateway.way import Way
from holdfast.ports.upstream import UpstreamUnreachableError


def test_however_often_upstreams_fail_the_turns_of_an_answer_fit_behind() -> None:
    way, number = Way(), 0
    while not way.full:
        way.turn_to(f"upstream-{number // 6}")
        way.failed(UpstreamUnreachableError("gone"), "upstream.unreachable")
        number += 1
    way.made.pop()  # the last that is turned to serves
    way.turn_to("last")
    for _ in range(MOST_CALLS):
        way.turn_to("last")
    told = way.told(SERVED)
    assert parse_attempts([attempt.to_json() for attempt in told], "last") == told
