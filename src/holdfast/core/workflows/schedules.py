"""Times at which something starts, in UTC (``spec/workflows.md`` §6(1)).

``every_s`` counts from 1970, so that two machines agree without having spoken; ``cron`` is a subset in which each text
has one meaning. Both are a function of the text alone: which times there were can be asked of any stretch of time.

Not covered: which of them were missed (``holdfast.agents.workflows``).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.errors import MalformedError

MOST_SECONDS = 2_678_400
"""31 days: the longest pause of ``every_s``, and the longest that is made up for."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
"""Minute, hour, day of the month, month, day of the week."""
_ITEM = re.compile(r"(?:(\*)|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?\Z")
_DAY, _HOUR, _MINUTE = dt.timedelta(days=1), dt.timedelta(hours=1), dt.timedelta(minutes=1)
_LOOKS_AHEAD = dt.timedelta(days=8 * 366)
"""Of ``29 2 *``: the longest pause between leap days is eight years."""


@dataclass(frozen=True, slots=True)
class Every:
    """Whole multiples of some seconds since 1970."""

    seconds: int

    def after(self, moment: dt.datetime) -> dt.datetime | None:
        """The first time after a moment."""
        count = (moment - _EPOCH) // dt.timedelta(seconds=self.seconds)
        return _EPOCH + dt.timedelta(seconds=self.seconds) * (count + 1)


@dataclass(frozen=True, slots=True)
class Cron:
    """Five sets of numbers; a time is one of the schedule where each field's number is in its set."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def after(self, moment: dt.datetime) -> dt.datetime | None:
        """The first time after a moment; None where there is none, as of 31 February."""
        at = moment.replace(second=0, microsecond=0) + _MINUTE
        end = at + _LOOKS_AHEAD
        while at < end:
            if not self._is_day(at):
                at = at.replace(hour=0, minute=0) + _DAY
            elif at.hour not in self.hours:
                at = at.replace(minute=0) + _HOUR
            elif at.minute not in self.minutes:
                at += _MINUTE
            else:
                return at
        return None

    def _is_day(self, at: dt.datetime) -> bool:
        return at.month in self.months and at.day in self.days and at.isoweekday() % 7 in self.weekdays


Schedule = Every | Cron


def parse_cron(text: object) -> Cron:
    """``minute hour day month weekday``; raises ``workflow.cron``."""
    fields = text.split(" ") if isinstance(text, str) else []
    if len(fields) != len(_FIELDS) or len(str(text)) > 256:
        raise MalformedError(
            "workflow.cron", "minute, hour, day of the month, month and day of the week, with a space between"
        )
    if fields[2] != "*" and fields[4] != "*":
        raise MalformedError(
            "workflow.cron", "of the day of the month and that of the week one is *: programs differ in what both mean"
        )
    found = Cron(*(_field(field, *bounds) for field, bounds in zip(fields, _FIELDS, strict=True)))
    if found.after(_EPOCH) is None:
        raise MalformedError("workflow.cron", "there is no such day")
    return found


def _field(text: str, least: int, most: int) -> frozenset[int]:
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.match(item)
        if match is None or (match[1] and "," in text):
            raise MalformedError("workflow.cron", f"{text!r} is not *, numbers and ranges, or one of these with a step")
        begin = least if match[1] else int(match[2])
        end = most if match[1] else int(match[3] or match[2])
        step = int(match[4] or 1)
        if not least <= begin <= end <= most or step < 1 or (match[4] and not match[1] and not match[3]):
            raise MalformedError("workflow.cron", f"{text!r} is not within {least} to {most}")
        found |= set(range(begin, end + 1, step))
    return frozenset(found)


def times(schedule: Schedule, after: dt.datetime, until: dt.datetime) -> Iterator[dt.datetime]:
    """The times after one moment and up to another, in order."""
    at = schedule.after(after)
    while at is not None and at <= until:
        yield at
        at = schedule.after(at)
