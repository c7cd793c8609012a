"""Reading and writing exact numbers: digits and small English number words in, exact decimals or fractions out."""

from __future__ import annotations

import re
from decimal import Context, Decimal, localcontext
from fractions import Fraction

MAX_DIGITS = 400
"""Longer results are not written out."""
_APPROXIMATE_DIGITS = 12
_PLAIN_DIGITS = 30

_SMALL_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: number for number, word in enumerate(_SMALL_WORDS.split())}
_TENS = {word: 10 * number for number, word in enumerate(_TENS_WORDS.split(), start=2)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000}
_NUMBER_WORD = "|".join([*_SMALL, *_TENS, *_SCALES])
_PHRASE = re.compile(rf"\b(?:{_NUMBER_WORD})(?:(?:[ -]|\s+and\s+)(?:{_NUMBER_WORD}))*\b")
_DIGITS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+")


def parse_number(text: str) -> Fraction | None:
    """``12``, ``1,234.5``, ``.5``, ``1e6`` (exponent at most 99) as an exact value, else ``None``."""
    match = re.fullmatch(rf"({_DIGITS.pattern})(?:e([+-]?[0-9]{{1,2}}))?", text)
    if match is None or len(text) > MAX_DIGITS:
        return None
    exponent = int(match[2] or 0)
    value = Fraction(match[1].replace(",", ""))
    return value * Fraction(10) ** exponent


def words_to_digits(text: str) -> str:
    """Lower-case text with number words written as digits: ``twenty one`` gives ``21``."""
    return _PHRASE.sub(lambda match: str(_read_phrase(re.split(r"[\s-]+", match[0]))), text)


def _read_phrase(spoken: list[str]) -> int:
    total = current = 0
    for word in spoken:
        if word in _SMALL:
            current += _SMALL[word]
        elif word in _TENS:
            current += _TENS[word]
        elif word == "hundred":
            current = max(current, 1) * 100
        elif word in _SCALES:
            total += max(current, 1) * _SCALES[word]
            current = 0
    return total + current


def write_number(value: Fraction) -> str:
    """Exactly where that is short (``0.375``), else as a fraction with an approximation (``1/3 ≈ 0.333333333333``)."""
    if value.denominator == 1:
        return _group(str(value.numerator)) if abs(value.numerator) < 10**MAX_DIGITS else approximate(value)
    if (digits := _decimal_places(value.denominator)) is not None and digits <= _PLAIN_DIGITS:
        scaled = abs(value.numerator) * 10**digits // value.denominator
        text = str(scaled).rjust(digits + 1, "0")
        sign = "-" if value < 0 else ""
        return _group(f"{sign}{text[:-digits]}.{text[-digits:]}")
    if len(str(value.denominator)) <= _APPROXIMATE_DIGITS and len(str(value.numerator)) <= _PLAIN_DIGITS:
        return f"{value.numerator}/{value.denominator} ≈ {approximate(value)}"
    return f"≈ {approximate(value)}"


def approximate(value: Fraction, digits: int = _APPROXIMATE_DIGITS) -> str:
    """``digits`` significant decimal digits, rounded half to even, without trailing zeros."""
    with localcontext(Context(prec=digits)):
        decimal = (Decimal(value.numerator) / Decimal(value.denominator)).normalize()
    text = f"{decimal:f}" if -7 <= decimal.adjusted() < 16 else f"{decimal:e}"
    return _group(text) if "e" not in text else text.replace("e+", "e")


def _decimal_places(denominator: int) -> int | None:
    twos = fives = 0
    while denominator % 2 == 0:
        denominator //= 2
        twos += 1
    while denominator % 5 == 0:
        denominator //= 5
        fives += 1
    return max(twos, fives) if denominator == 1 else None


def _group(text: str) -> str:
    """Thousands separators from five digits on."""
    sign = "-" if text.startswith("-") else ""
    whole, dot, rest = text.removeprefix("-").partition(".")
    if len(whole) > 4:
        whole = f"{int(whole):,}" if len(whole) < 4000 else whole
    return f"{sign}{whole}{dot}{rest}"
