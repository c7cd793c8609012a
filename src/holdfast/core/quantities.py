"""Values that data nodes admit, and the rules by which several of them agree (``spec/admission.md`` §4, §5).

``parse_value`` and ``parse_rule`` turn JSON into values that cannot exist malformed; ``apply_rule`` says whether
values agree, and on what. Arithmetic is exact, on decimals in strings; there are no floats.

Rules: disagreement has no value. A value that was refused counts for nothing and against nothing but the number that
is asked for.

Not covered: who observed a value, and when (``core.admissions``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from holdfast.core import canonical
from holdfast.errors import HoldfastError, MalformedError

VALUE_TYPES = ("decimal", "text", "json")
"""What a value can be (``admission.md`` §3(3))."""
RULE_KINDS = ("exact", "spread", "median")
"""How values can agree (``admission.md`` §5(1))."""
MAX_VALUE_TEXT = 65_536
"""Most characters of a value."""
MAX_UNIT = 32
"""Most characters of a unit."""
MAX_OBSERVATIONS = 64
"""Most observations of one quorum."""

_DECIMAL = re.compile(r"(?!-0\Z)-?(?:0|[1-9][0-9]{0,37})(?:\.[0-9]{0,37}[1-9])?\Z")


def parse_decimal(value: object) -> Fraction:
    """A decimal in its one spelling (``admission.md`` §4(1)); raises ``admission.decimal``."""
    if not isinstance(value, str) or _DECIMAL.match(value) is None:
        raise MalformedError(
            "admission.decimal", "a decimal is a string such as -0.25, of at most 38 digits on either side of the point"
        )
    return Fraction(value)


def format_decimal(value: Fraction) -> str:
    """The one spelling of a number that has a finite decimal expansion. Exact."""
    whole, rest = divmod(abs(value.numerator), value.denominator)
    digits = []
    while rest:
        digit, rest = divmod(rest * 10, value.denominator)
        digits.append(str(digit))
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{''.join(digits)}" if digits else f"{sign}{whole}"


@dataclass(frozen=True, slots=True)
class Value:
    """What was taken from an answer: a decimal, a text, or canonical JSON as text."""

    type: str
    text: str
    unit: str | None = None

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"type": self.type, "text": self.text, "unit": self.unit}

    @property
    def number(self) -> Fraction:
        """Of a decimal, the number it is."""
        return parse_decimal(self.text)


def parse_value(value: object) -> Value:
    """``{"type","text","unit"}`` to a :class:`Value`; raises ``admission.value`` or ``admission.decimal``."""
    if not isinstance(value, dict) or value.keys() != {"type", "text", "unit"} or value["type"] not in VALUE_TYPES:
        raise MalformedError("admission.value", f"a value has exactly type ({', '.join(VALUE_TYPES)}), text and unit")
    text, unit = value["text"], value["unit"]
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_VALUE_TEXT:
        raise MalformedError("admission.value", f"a value's text has 1 to {MAX_VALUE_TEXT} characters")
    if unit is not None and (not isinstance(unit, str) or not 1 <= len(unit) <= MAX_UNIT):
        raise MalformedError("admission.value", f"a unit has 1 to {MAX_UNIT} characters, or is null")
    if value["type"] == "decimal":
        parse_decimal(text)
    if value["type"] == "json" and not _is_canonical(text):
        raise MalformedError("admission.value", "a value of type json is canonical JSON")
    return Value(value["type"], text, unit)


def _is_canonical(text: str) -> bool:
    """Whether a text is canonical JSON of anything (``conventions.md`` §3)."""
    try:
        found = canonical.decode_signed(b'{"":' + text.encode() + b"}")
    except (HoldfastError, UnicodeEncodeError):
        return False
    return found.keys() == {""}


@dataclass(frozen=True, slots=True)
class Rule:
    """How values have to lie to agree (``admission.md`` §5(1)). ``spread`` is a decimal, absolute or, where
    ``relative``, a share of the median's magnitude."""

    kind: str
    least: int
    spread: str | None = None
    relative: bool = False

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"kind": self.kind, "least": self.least, "spread": self.spread, "relative": self.relative}


def parse_rule(value: object) -> Rule:
    """``{"kind","least","spread","relative"}`` to a :class:`Rule`; raises ``admission.rule`` or
    ``admission.decimal``."""
    if not isinstance(value, dict) or value.keys() != {"kind", "least", "spread", "relative"}:
        raise MalformedError("admission.rule", "a rule has exactly kind, least, spread and relative")
    kind, least, spread, relative = value["kind"], value["least"], value["spread"], value["relative"]
    if kind not in RULE_KINDS or type(least) is not int or not 1 <= least <= MAX_OBSERVATIONS:
        raise MalformedError(
            "admission.rule", f"a rule is one of {', '.join(RULE_KINDS)}, of at least 1 to {MAX_OBSERVATIONS} values"
        )
    if not isinstance(relative, bool) or (kind == "exact") != (spread is None) or (kind == "exact" and relative):
        raise MalformedError("admission.rule", "every rule but exact has a spread, which may be relative")
    if spread is not None and parse_decimal(spread) < 0:
        raise MalformedError("admission.rule", "a spread is at least 0")
    return Rule(kind, least, spread, relative)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule makes of values: whether they agree, how far they lie apart (a decimal, where they are numbers of
    one unit), and what they agree on."""

    agreed: bool
    spread: str | None
    value: Value | None


def apply_rule(rule: Rule, values: Sequence[Value]) -> Outcome:
    """Whether the values that count agree (``admission.md`` §5(1) and (2)), and on what."""
    alike = len({(item.type, item.unit) for item in values}) == 1
    numbers = sorted(item.number for item in values) if alike and values[0].type == "decimal" else []
    spread = _written(numbers[-1] - numbers[0]) if numbers else None
    nothing = Outcome(agreed=False, spread=spread, value=None)
    if not alike or len(values) < rule.least:
        return nothing
    if rule.kind == "exact":
        same = len({item.text for item in values}) == 1
        return Outcome(agreed=True, spread=spread, value=values[0]) if same else nothing
    if not numbers:
        return nothing
    middle = median(numbers)
    bound = parse_decimal(rule.spread) * (abs(middle) if rule.relative else 1)
    if rule.kind == "spread":
        near = numbers[-1] - numbers[0] <= bound
    else:
        near = sum(abs(number - middle) <= bound for number in numbers) >= rule.least
    text = _written(middle)
    if not near or text is None:
        return nothing
    return Outcome(agreed=True, spread=spread, value=Value("decimal", text, values[0].unit))


def _written(number: Fraction) -> str | None:
    """A number as a decimal, or None where it has more digits than one may have."""
    text = format_decimal(number)
    return text if _DECIMAL.match(text) else None


def median(numbers: Sequence[Fraction]) -> Fraction:
    """The median of sorted numbers, at least one; of an even number of them, the mean of the two in the middle."""
    half = len(numbers) // 2
    return numbers[half] if len(numbers) % 2 else (numbers[half - 1] + numbers[half]) / 2


def in_range(number: Fraction, bounds: Mapping[str, Any]) -> bool:
    """Whether a number lies within ``least`` and ``most``, decimals or None, both included."""
    least, most = bounds["least"], bounds["most"]
    return (least is None or parse_decimal(least) <= number) and (most is None or number <= parse_decimal(most))
