"""Words of a text as the index keeps them, and what a question says of time (``spec/recall.md`` §2).

English endings are taken off by a few rules, so that "runs" finds "running"; words that every text has are left out.
Other languages are found by their words as they are written.

Not covered: meaning, which vectors are for.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
import unicodedata
from dataclasses import dataclass

MOST_WORDS = 2048
"""Words of one text that are looked at."""
MOST_SENTENCES = 4
"""Sentences of a message that are asked for by themselves."""
_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+|[\r\n]+")
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")
_VOWEL = re.compile(r"[aeiouy]")
_STOP = """
a about an and any are as at be been but by can could did do does for from had has have he her hers him his how i if
in into is it its just may me my no nor not of on or our ours she should so some than that the their theirs them
then there these they this those to too us was we were what when where which who whom whose why will with would you
your yours
"""
STOP = frozenset(_STOP.split())
"""Words that say nothing of what a text is about."""


def words_of(text: str) -> list[str]:
    """The words of a text, in order and as often as they stand there."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    found = []
    for match in _WORD.finditer(plain):
        word = re.sub(r"['\u2019](?:s|re|ve|ll|d|m|t)\Z", "", match[0])
        if word and word not in STOP:
            found.append(stem(word))
            if len(found) == MOST_WORDS:
                break
    return found


def questions_of(message: str) -> list[str]:
    """What a message asks for: the whole of it, and each of its sentences that has words of its own, questions first.

    Of a message of one sentence that is the message alone. Of sentences that are no questions the last come first:
    what is asked stands at the end more often than at the beginning.
    """
    sentences = [part.strip() for part in _SENTENCE_END.split(message) if words_of(part)]
    if len(sentences) < 2:
        return [message]
    latest = list(dict.fromkeys(reversed(sentences)))
    latest.sort(key=lambda sentence: not sentence.endswith(("?", "\uff1f")))
    return [message, *latest[:MOST_SENTENCES]]


def stem(word: str) -> str:
    """A word without its English ending."""
    if len(word) <= 3 or not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed", "ly"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= 3 and _VOWEL.search(rest):
            word = rest[:-1] if len(rest) > 3 and rest[-1] == rest[-2] and rest[-1] not in "lsz" else rest
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


@dataclass(frozen=True, slots=True)
class TimeHint:
    """What a question says of when: a span of moments (seconds since 1970, the end not in it), or that it is about how
    things are now."""

    start: float | None = None
    end: float | None = None
    now: bool = False


_MONTHS = {name.casefold(): number for number, name in enumerate(calendar.month_name) if name}
_MONTH = "|".join(_MONTHS)
_DATE = re.compile(r"\b(\d{4})-(\d{2})(?:-(\d{2}))?\b")
_NAMED_DAY = re.compile(
    rf"\b(?:(\d{{1,2}})(?:st|nd|rd|th)? (?:of )?({_MONTH})|({_MONTH}) (\d{{1,2}})(?:st|nd|rd|th)?),? (\d{{4}})\b"
)
_NAMED_MONTH = re.compile(rf"\b({_MONTH}),? (?:of )?(\d{{4}})\b")
_YEAR = re.compile(r"\b(?:in|of|during|since) (\d{4})\b")
_AGO = re.compile(r"\b(\d{1,3}|a|an|one|two|three|four|five|six) (day|week|month|year)s? ago\b")
_LAST = re.compile(r"\blast (week|month|year)\b")
_NOW = re.compile(
    r"\b(?:now|currently|current|nowadays|these days|at the moment|latest|most recent|most recently|still|today)\b"
)
_NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}


def time_hint(question: str, at: dt.datetime) -> TimeHint | None:
    """What a question says of when, as asked at ``at``; None where it says nothing that is understood here."""
    text = question.casefold()
    span = _dated(text) or _relative(text, at)
    if span is not None:
        return TimeHint(span[0].timestamp(), span[1].timestamp())
    return TimeHint(now=True) if _NOW.search(text) else None


def _dated(text: str) -> tuple[dt.datetime, dt.datetime] | None:
    found = _NAMED_DAY.search(text)
    if found is not None:
        day, month = (found[1], found[2]) if found[1] else (found[4], found[3])
        return _span(int(found[5]), _MONTHS[month], int(day))
    found = _DATE.search(text)
    if found is not None:
        return _span(int(found[1]), int(found[2]), int(found[3]) if found[3] else None)
    found = _NAMED_MONTH.search(text)
    if found is not None:
        return _span(int(found[2]), _MONTHS[found[1]], None)
    found = _YEAR.search(text)
    return _span(int(found[1]), None, None) if found is not None else None


def _span(year: int, month: int | None, day: int | None) -> tuple[dt.datetime, dt.datetime] | None:
    try:
        start = dt.datetime(year, month or 1, day or 1, tzinfo=dt.UTC)
        days = 1 if day else calendar.monthrange(year, month)[1] if month else 366 if calendar.isleap(year) else 365
        return start, start + dt.timedelta(days=days)
    except (ValueError, OverflowError, calendar.IllegalMonthError):
        return None


def _relative(text: str, at: dt.datetime) -> tuple[dt.datetime, dt.datetime] | None:
    if "yesterday" in text:
        return at - dt.timedelta(days=2), at
    found = _LAST.search(text)
    if found is not None:
        days = _DAYS[found[1]]
        return at - dt.timedelta(days=2 * days), at
    found = _AGO.search(text)
    if found is None:
        return None
    days = _DAYS[found[2]]
    number = _NUMBERS.get(found[1]) or int(found[1])
    middle, slack = at - dt.timedelta(days=number * days), dt.timedelta(days=max(1, days // 2))
    return middle - slack, middle + slack
