"""One time axis for a case: what happened to its run, and what happened to the case, in the order of their times.

A moment is *ahead of its proof* when something moved at it (an answer was seen, a decision made, the case let go or
handed out, a payment made) before a round with the run's statements was final. That is said of the moment, and of
nothing else: a queue may let cases go on less than a final round.

Not covered: a run without a case (``nodes/panel/views.py``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.core.encoding import time_decode, time_encode
from holdfast.nodes.panel.views import FINAL, Moment, first_word, fold_moments, kind_of
from holdfast.review.events import Event

MOVING = frozenset({"viewed", "decided", "released", "provisional", "cleared", "handed_out", "handed_over"})
"""Kinds of events at which something moved: an answer was seen, a case decided or let go."""


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the axis: a moment of the run, or, where there is an ``event``, of the case."""

    moment: Moment
    event: Event | None = None


def axis_of(moments: Iterable[Mapping[str, Any]], events: Sequence[Event]) -> tuple[Step, ...]:
    """The axis. ``moments`` are those of ``verifier.chronology``; what is simultaneous stands with the run first."""
    found: list[tuple[dt.datetime, int, Mapping[str, Any] | Event]] = []
    found += [(time_decode(item["at"]), 0, item) for item in moments]
    found += [(event.at, 1, event) for event in events]
    found.sort(key=lambda item: item[:2])
    begin, before, final = found[0][0] if found else None, 0, False
    steps: list[Step] = []
    for at, _, item in found:
        offset = round((at - begin).total_seconds() * 1000) if begin is not None else 0
        if isinstance(item, Event):
            kind = "move" if item.kind in MOVING else "step"
            row = (item.kind, "", None, kind, "observed")
        else:
            final = final or first_word(item["code"]) == FINAL
            row = (item["code"], item["says"], item["evidence"], kind_of(item["code"]), item["time"])
        code, says, evidence, kind, time = row
        ahead = kind == "move" and not final
        moment = Moment(
            time_encode(at), offset, offset - before, code, says, evidence, kind, ahead=ahead, final=final, time=time
        )
        steps.append(Step(moment, item if isinstance(item, Event) else None))
        before = offset
    return tuple(_folded(steps))


def _folded(steps: Sequence[Step]) -> Iterable[Step]:
    """Moments of the run that follow on each other become one line where there are many; events never do."""
    waiting: list[Moment] = []
    for step in steps:
        if step.event is None:
            waiting.append(step.moment)
            continue
        yield from map(Step, fold_moments(waiting))
        waiting = []
        yield step
    yield from map(Step, fold_moments(waiting))


def step_json(step: Step) -> dict[str, Any]:
    """A line for programs; the event by its number."""
    value: dict[str, Any] = replace(step.moment, parts=()).to_json()
    if step.moment.parts:
        value["parts"] = [part.to_json() for part in step.moment.parts]
    return {**value, "event": None if step.event is None else step.event.seq}
