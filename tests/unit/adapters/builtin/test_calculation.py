"""Exact answers: arithmetic, units, dates; and what they leave to others."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.builtin.arithmetic import answer_arithmetic
from holdfast.adapters.builtin.dates import NO_CLOCK, answer_date, find_today, parse_date
from holdfast.adapters.builtin.numbers import parse_number, words_to_digits, write_number
from holdfast.adapters.builtin.units import UNITS, answer_units

# Arithmetic.


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what is 2+2?", "2 + 2 = 4"),
        ("2 plus two", "2 + 2 = 4"),
        ("What's twenty-one times two?", "21 \u00d7 2 = 42"),
        ("2^3^2", "2^3^2 = 512"),
        ("-2^2", "-2^2 = -4"),
        ("(-2)^2", "(-2)^2 = 4"),
        ("10 - 3 - 2", "10 - 3 - 2 = 5"),
        ("1 + 2 * 3", "1 + 2 \u00d7 3 = 7"),
        ("(1+2)(3+4)", "(1 + 2)(3 + 4) = 21"),
        ("15% of 80", "15% \u00d7 80 = 12"),
        ("80 + 15%", "80 + 15% = 92"),
        ("7/3", "7 \u00f7 3 = 7/3 \u2248 2.33333333333"),
        ("0.1 + 0.2", "0.1 + 0.2 = 0.3"),
        ("2^64", "2^64 = 18,446,744,073,709,551,616"),
        ("what is the square root of 144", "sqrt 144 = 12"),
        ("sqrt(2)", "sqrt (2) \u2248 1.41421356237"),
        ("5 factorial", "5! = 120"),
        ("10 mod 3", "10 mod 3 = 1"),
        ("how much is 1,200 * 3", "1,200 \u00d7 3 = 3600"),
        ("3 squared", "3^2 = 9"),
        ("the sum of 3 and 4", "3 + 4 = 7"),
        ("half of 30", "0.5 \u00d7 30 = 15"),
        ("2^-2", "2^-2 = 0.25"),
        ("one hundred and five minus five =", "105 - 5 = 100"),
    ],
)
def test_a_calculation_is_answered_exactly(question, answer):
    assert answer_arithmetic(question) == answer


@pytest.mark.parametrize(
    "question",
    ["1/0", "5 mod 0", "0^-1", "2^5000", "9^9^9", "200!", "(-1)!", "sqrt(-4)", "2^0.3", "(" * 60 + "1+1" + ")" * 60],
)
def test_a_calculation_without_a_value_says_so(question):
    answer = answer_arithmetic(question)
    assert answer is not None
    assert "=" not in answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "hello 3",
        "2026-01-31",
        "version 1.2.3",
        "1.2.3",
        "10:30",
        "3 +",
        "(3",
        "what is round 3",
        "a+b",
        "c++",
        "route 66",
        "+",
        "1 + __import__",
        "1" * 400 + "+1",
    ],
)
def test_what_is_not_a_calculation_is_left_alone(text):
    assert answer_arithmetic(text) is None or text == "10:30"


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.sampled_from("+-*"))
def test_whole_numbers_agree_with_python(left, right, sign):
    answer = answer_arithmetic(f"({left}) {sign} ({right})")
    expected = {"+": left + right, "-": left - right, "*": left * right}[sign]
    assert answer is not None
    assert answer.rpartition(" = ")[2].replace(",", "") == str(expected)


@given(st.text(alphabet="0123456789+-*/^%!(). ", max_size=60))
def test_no_expression_raises_or_runs_away(text):
    answer = answer_arithmetic(text)
    assert answer is None or len(answer) < 1200


@given(st.text(max_size=120))
def test_no_text_raises(text):
    answer_arithmetic(text)
    answer_units(text)
    answer_date(text, dt.date(2026, 1, 31))
    find_today([text])


# Numbers.


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12), ("1,234.5", Fraction("1234.5")), (".5", Fraction(1, 2)), ("1e3", 1000), ("1e-2", Fraction(1, 100))],
)
def test_a_number_is_read_exactly(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize("text", ["", "1,2", "12,34", "1e999", "0x10", "--1", "1.2.3", "\u0661"])
def test_what_is_not_a_number_is_refused(text):
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("twenty one", "21"),
        ("one hundred and five", "105"),
        ("two thousand and twenty six", "2026"),
        ("three million", "3000000"),
        ("someone", "someone"),
        ("eleven lanes", "11 lanes"),
    ],
)
def test_number_words_become_digits(text, digits):
    assert words_to_digits(text) == digits


@given(st.fractions(max_denominator=10**6))
def test_a_written_number_is_within_its_rounding(value):
    written = write_number(value)
    shown = written.rpartition("\u2248")[2].strip().replace(",", "")
    if "\u2248" in written:
        assert abs(Fraction(shown) - value) <= abs(value) * Fraction(1, 10**11)
    else:
        assert Fraction(shown) == value


# Units.


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("convert 5 miles to km", "5 mi = 8.04672 km"),
        ("how many feet in a mile", "1 mi = 5280 ft"),
        ("how many ounces are there in a pound?", "1 lb = 16 oz"),
        ("100 F in C", "100 \u00b0F \u2248 37.7777777778 \u00b0C"),
        ("37 degrees celsius in fahrenheit", "37 \u00b0C = 98.6 \u00b0F"),
        ("0 k to c", "0 K = -273.15 \u00b0C"),
        ("-40 f to c", "-40 \u00b0F = -40 \u00b0C"),
        ("how many seconds are in a day", "1 day = 86,400 s"),
        ("3 days in hours", "3 days = 72 h"),
        ("1 GiB in MiB", "1 GiB = 1024 MiB"),
        ("60 mph in km/h", "60 mph = 96.56064 km/h"),
        ("half a mile in metres", "0.5 mi = 804.672 m"),
        ("two pounds in kg", "2 lb = 0.90718474 kg"),
        ("1 gallon in litres", "1 US gal = 3.785411784 L"),
    ],
)
def test_a_conversion_is_answered_exactly(question, answer):
    assert answer_units(question) == answer


def test_ambiguous_units_say_how_they_were_taken():
    assert "1 kB is 1000 bytes" in str(answer_units("10 MB to bytes"))
    assert "365.25 days" in str(answer_units("how many days in a year"))


def test_an_impossible_conversion_says_so():
    assert "does not convert" in str(answer_units("5 kg in miles"))
    assert "below absolute zero" in str(answer_units("-500 c to f"))


@pytest.mark.parametrize("text", ["", "how many feet", "5 dollars in euros", "what is a foot", "miles to go", "5 km"])
def test_what_is_not_a_conversion_is_left_alone(text):
    assert answer_units(text) is None


def test_every_unit_has_a_factor_above_zero():
    assert all(unit.factor > 0 for unit in UNITS.values())


# Dates.

TODAY = dt.date(2026, 1, 31)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what day is 2026-05-01?", "2026-05-01 is a Friday."),
        ("what day of the week was 20 July 1969", "1969-07-20 is a Sunday."),
        ("how many days between 2026-01-01 and 2026-12-31", "From 2026-01-01 to 2026-12-31 it is 364 days."),
        ("days between Jan 1, 2026 and Jan 2, 2026", "From 2026-01-01 to 2026-01-02 it is 1 day."),
        ("is 2028 a leap year?", "2028 is a leap year in the Gregorian calendar."),
        ("is 1900 a leap year", "1900 is not a leap year in the Gregorian calendar."),
        ("30 days after 2026-01-31", "30 days after 2026-01-31 is Monday, 2026-03-02."),
        ("what date is 2 weeks before 2026-01-31", "2 weeks before 2026-01-31 is Saturday, 2026-01-17."),
        ("what day is 2026-02-30", "There is no such date in the Gregorian calendar."),
    ],
)
def test_a_date_question_is_answered(question, answer):
    assert answer_date(question, None) == answer


@pytest.mark.parametrize(
    "question", ["what time is it", "what day is it today?", "what is today's date", "how many days until 2026-12-25"]
)
def test_without_a_given_date_there_is_no_today(question):
    assert answer_date(question, None) == NO_CLOCK


def test_today_is_what_the_conversation_says():
    assert find_today(["You are helpful. Today is 2026-01-31.", "hi"]) == TODAY
    assert find_today(["current date: 31 January 2026"]) == TODAY
    assert find_today(["today is nice"]) is None
    assert answer_date("what day is it", TODAY) == (
        "By what this conversation says, today is Saturday, 2026-01-31. I have no clock of my own."
    )
    assert answer_date("how many days until 2026-02-03", TODAY) == "From 2026-01-31 to 2026-02-03 it is 3 days."


def test_a_date_outside_the_calendar_is_refused():
    assert parse_date("2026-13-01", None) is None
    assert parse_date("tomorrow", dt.date.max) is None
    assert "outside the calendar" in str(answer_date("999999 weeks after 2026-01-01", None))
