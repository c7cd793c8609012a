"""Calendar questions, only about dates that were given: this responder has no clock.

"Today" is known only if the conversation says it ("today is 2026-01-31", for instance in a system message); otherwise
the answer says that it is not. Dates are proleptic Gregorian, ISO 8601 or written out in English.
"""

from __future__ import annotations

import datetime as dt
import re

from holdfast.adapters.builtin.numbers import words_to_digits

MAX_INPUT = 200
_MONTH_NAMES = "january february march april may june july august september october november december"
_MONTHS = _MONTH_NAMES.split()
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTH = "|".join([*_MONTHS, *(month[:3] for month in _MONTHS), "sept"])
_DATE = (
    rf"(?:[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}|[0-9]{{1,2}}(?:st|nd|rd|th)? (?:of )?(?:{_MONTH})\.?,? [0-9]{{4}}"
    rf"|(?:{_MONTH})\.? [0-9]{{1,2}}(?:st|nd|rd|th)?,? [0-9]{{4}}|today|tomorrow|yesterday)"
)
_TODAY = re.compile(
    rf"\b(?:today(?:'s date)? is|current date(?: is|:)|the date is|date:)\s*(?:[a-z]+day,?\s+)?(?P<date>{_DATE})"
)
_WEEKDAY = re.compile(
    rf"\A(?:what|which) (?:day(?: of the week)?|weekday) (?:is|was|will|did|does|falls?)(?: it| be)*(?: on)?\s*"
    rf"(?P<date>{_DATE})(?: (?:fall on|fall|be|a))?[\s?.!]*\Z"
)
_BETWEEN = re.compile(
    rf"\Ahow (?:many days|long)(?: are there| is it| are| is there)?(?: between| from) (?P<a>{_DATE})"
    rf" (?:and|to|until|till) (?P<b>{_DATE})[\s?.!]*\Z"
    rf"|\A(?:the )?(?:number of )?days between (?P<c>{_DATE}) and (?P<d>{_DATE})[\s?.!]*\Z"
    rf"|\Ahow many days (?:until|till|to|since) (?P<e>{_DATE})[\s?.!]*\Z"
)
_SHIFT = re.compile(
    rf"\A(?:what (?:date|day) (?:is|was|will be|comes) (?:it )?|what is |which date is )?(?:the date )?"
    rf"(?P<count>[0-9]{{1,6}}) (?P<unit>days?|weeks?) (?P<way>after|before|from) (?P<date>{_DATE})[\s?.!]*\Z"
)
_LEAP = re.compile(r"\A(?:is|was|will)(?: the year)? (?P<year>[0-9]{1,4})(?: be)? a leap year[\s?.!]*\Z")
_NOW = re.compile(
    r"\A(?:please )?(?:(?:can|could) you )?(?:tell me |do you know )?(?:what(?: is)?|which)? ?(?:the )?"
    r"(?:current |today's |exact )?(?:time|date|day|year|month|hour)(?: of the week)?"
    r"(?: (?:is it|it is|is today|are we in|is it now|is it today|today|now|right now))*[\s?.!]*\Z"
    r"|\Awhat (?:is )?today(?: is)?[\s?.!]*\Z"
)

NO_CLOCK = (
    "I have no clock: I am given nothing but the conversation, so I do not know the time or the date. Tell me "
    '("today is 2026-01-31") and I can count from there.'
)


def find_today(texts: list[str]) -> dt.date | None:
    """The last date that the conversation calls today."""
    for text in reversed(texts):
        found = _TODAY.search(_fold(text))
        if found is not None:
            return parse_date(found["date"], None)
    return None


def parse_date(text: str, today: dt.date | None) -> dt.date | None:
    """``2026-01-31``, ``31 January 2026``, ``Jan 31, 2026``; ``today`` and its neighbours if today is known."""
    words = {"today": 0, "tomorrow": 1, "yesterday": -1}
    try:
        if text in words:
            return None if today is None else today + dt.timedelta(days=words[text])
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return dt.date.fromisoformat(text)
        year = re.search(r"[0-9]{4}\Z", text)
        month = re.search(_MONTH, text)
        day = re.search(r"\b([0-9]{1,2})(?:st|nd|rd|th)?\b", text)
        if year is None or month is None or day is None:
            return None
        number = next(at for at, name in enumerate(_MONTHS, start=1) if name.startswith(month[0][:3]))
        return dt.date(int(year[0]), number, int(day[1]))
    except (ValueError, OverflowError):
        return None


def answer_date(text: str, today: dt.date | None) -> str | None:
    """The answer if ``text`` asks about the calendar and nothing else, otherwise ``None``."""
    if len(text) > MAX_INPUT:
        return None
    folded = _fold(text)
    if _NOW.match(folded):
        if today is None:
            return NO_CLOCK
        return f"By what this conversation says, today is {_say(today)}. I have no clock of my own."
    if (match := _LEAP.match(folded)) is not None:
        return _leap(int(match["year"]))
    if (match := _WEEKDAY.match(folded)) is not None:
        date = parse_date(match["date"], today)
        return _unknown(folded, today) if date is None else f"{date.isoformat()} is a {_DAYS[date.weekday()]}."
    if (match := _BETWEEN.match(folded)) is not None:
        first = parse_date(match["a"] or match["c"] or "today", today)
        second = parse_date(match["b"] or match["d"] or match["e"], today)
        if first is None or second is None:
            return _unknown(folded, today)
        days = abs((second - first).days)
        return f"From {first.isoformat()} to {second.isoformat()} it is {days:,} day{'' if days == 1 else 's'}."
    if (match := _SHIFT.match(folded)) is not None:
        date = parse_date(match["date"], today)
        if date is None:
            return _unknown(folded, today)
        count = int(match["count"]) * (7 if match["unit"].startswith("week") else 1)
        try:
            moved = date + dt.timedelta(days=-count if match["way"] == "before" else count)
        except OverflowError:
            return "That is outside the calendar that I count with (the years 1 to 9999)."
        return f"{match['count']} {match['unit']} {match['way']} {date.isoformat()} is {_say(moved)}."
    return None


def _fold(text: str) -> str:
    folded = text.lower().replace("\u2019", "'").replace("what's", "what is").strip()
    return re.sub(r"\s+", " ", words_to_digits(folded))


def _say(date: dt.date) -> str:
    return f"{_DAYS[date.weekday()]}, {date.isoformat()}"


def _leap(year: int) -> str:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return f"{year} is {'a' if leap else 'not a'} leap year in the Gregorian calendar."


def _unknown(folded: str, today: dt.date | None) -> str:
    if today is None and re.search(r"\b(?:today|tomorrow|yesterday|until|till|since)\b", folded):
        return NO_CLOCK
    return "There is no such date in the Gregorian calendar."
