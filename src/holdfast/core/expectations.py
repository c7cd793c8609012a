"""What a value must be like before it is admitted (``spec/sources.md`` §7).

``parse_expectation`` reads the ``expect`` of a definition; ``admit_value`` looks at what was extracted and gives the
value in the one form that is signed, or says why it is none; ``check_times`` asks whether it is fresh and whether two
clocks agree. Numbers are decimal strings: they keep the digits that the source wrote, and no float rounds them.

Not covered: getting at the value (``core.extraction``).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from holdfast.core import canonical
from holdfast.core.canonical import NumberText
from holdfast.errors import MalformedError, RefusedError

TYPES = ("boolean", "decimal", "hex", "integer", "list", "object", "text")
MOST_DIGITS = 38
"""Most digits of a number before its point, and after it (``admission`` §4(1))."""
MOST_ITEMS = 1000
MOST_CHARACTERS = 65_536

_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,37})(?:\.[0-9]{0,37}[1-9])?\Z")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?\Z")
_HEX = re.compile(r"0x[0-9a-f]*\Z")
_MEMBERS = frozenset({"type", "minimum", "maximum", "length", "members", "item", "fresh_s", "skew_s"})


@dataclass(frozen=True, slots=True)
class Expectation:
    """One value's shape; of the outermost also how fresh it has to be, in seconds."""

    type: str
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    length: int | None = None
    """Most characters of a text or hex, most items of a list."""
    members: tuple[tuple[str, Expectation], ...] = ()
    item: Expectation | None = None
    fresh_s: int = 60
    """How long a value counts as fresh, from the time on that it is of."""
    skew_s: int = 5
    """How far the source's clock, or the time it names, may be ahead of ours, and its clock behind."""

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "type": self.type,
            "minimum": None if self.minimum is None else str(self.minimum),
            "maximum": None if self.maximum is None else str(self.maximum),
            "length": self.length,
            "members": {name: item.to_json() for name, item in self.members} if self.members else None,
            "item": None if self.item is None else self.item.to_json(),
            "fresh_s": self.fresh_s,
            "skew_s": self.skew_s,
        }


def parse_decimal(text: object) -> Decimal:
    """A decimal string like ``-12.5`` (``admission`` §4(1)); raises ``sources.decimal``."""
    if not isinstance(text, str) or _DECIMAL.match(text) is None or text == "-0":
        raise MalformedError("sources.decimal", "a number is a decimal in a string, like '12.5', in its one spelling")
    return Decimal(text)


def parse_expectation(value: Any, depth: int = 0) -> Expectation:
    """The ``expect`` of a definition. Raises ``sources.expect`` and ``sources.decimal``."""
    if not isinstance(value, dict) or not value.keys() <= _MEMBERS or value.get("type") not in TYPES or depth > 4:
        raise MalformedError("sources.expect", f"an expectation has a type, one of {', '.join(TYPES)}, and bounds")
    kind = value["type"]
    low, high, length = value.get("minimum"), value.get("maximum"), value.get("length")
    members, item = value.get("members"), value.get("item")
    if kind not in ("decimal", "integer") and (low is not None or high is not None):
        raise MalformedError("sources.expect", "only numbers have a minimum and a maximum")
    if kind not in ("text", "hex", "list") and length is not None:
        raise MalformedError("sources.expect", "only texts, hex and lists have a length")
    if (kind == "object") != (members is not None) or (kind == "list") != (item is not None):
        raise MalformedError("sources.expect", "exactly an object has members, and a list an item")
    least = None if low is None else parse_decimal(low)
    most = None if high is None else parse_decimal(high)
    if least is not None and most is not None and least > most:
        raise MalformedError("sources.expect", "nothing lies between minimum and maximum")
    if members is not None and (not isinstance(members, dict) or not 0 < len(members) <= 64):
        raise MalformedError("sources.expect", "an object has 1 to 64 members")
    fresh, skew = value.get("fresh_s", 60), value.get("skew_s", 5)
    if depth and (fresh, skew) != (60, 5):
        raise MalformedError("sources.expect", "how fresh a value is, is asked of the whole")
    _bound(length, 1, MOST_ITEMS if kind == "list" else MOST_CHARACTERS)
    _bound(fresh, 0, 31_622_400)
    _bound(skew, 0, 86_400)
    if fresh is None or skew is None:
        raise MalformedError("sources.expect", "fresh_s and skew_s are whole numbers of seconds")
    return Expectation(
        type=kind,
        minimum=least,
        maximum=most,
        length=length,
        members=tuple((name, parse_expectation(inner, depth + 1)) for name, inner in sorted((members or {}).items())),
        item=None if item is None else parse_expectation(item, depth + 1),
        fresh_s=fresh,
        skew_s=skew,
    )


def _bound(value: object, least: int, most: int) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most):
        raise MalformedError("sources.expect", f"a bound is a whole number from {least} to {most}")


def admit_value(expect: Expectation, value: Any, where: str = "the value") -> canonical.JSON:
    """What was extracted, in the form that is signed. Raises ``source.schema`` and ``source.range``.

    Numbers become decimal strings. Members of an object that nobody expects are left out: they were never looked at.
    """
    match expect.type:
        case "decimal" | "integer":
            return _number(expect, value, where)
        case "boolean":
            if not isinstance(value, bool):
                raise _schema(where, "true or false")
            return value
        case "hex":
            if not isinstance(value, str) or _HEX.match(value) is None:
                raise _schema(where, "0x and lower-case hex")
            return _bounded(expect, value, where)
        case "text":
            if not isinstance(value, str) or isinstance(value, NumberText):
                raise _schema(where, "a text")
            return _bounded(expect, value, where)
        case "list":
            return _items(expect, value, where)
        case _:
            return _object(expect, value, where)


def _object(expect: Expectation, value: Any, where: str) -> canonical.JSON:
    if not isinstance(value, Mapping):
        raise _schema(where, "an object")
    missing = [name for name, _ in expect.members if name not in value]
    if missing:
        raise _schema(where, f"an object with {missing[0]}")
    return {name: admit_value(inner, value[name], name) for name, inner in expect.members}


def _items(expect: Expectation, value: Any, where: str) -> canonical.JSON:
    most = MOST_ITEMS if expect.length is None else expect.length
    if not isinstance(value, list) or len(value) > most or expect.item is None:
        raise _schema(where, f"a list of at most {most}")
    return [admit_value(expect.item, item, f"{where}[{place}]") for place, item in enumerate(value)]


def _number(expect: Expectation, value: Any, where: str) -> canonical.JSON:
    text = str(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value
    if isinstance(text, str) and expect.type == "integer" and re.match(r"0x[0-9a-f]{1,64}\Z", text):
        text = str(int(text, 16))
    if not isinstance(text, str) or len(text) > 4 * MOST_DIGITS or _NUMBER.match(text) is None:
        raise _schema(where, "a number of reasonable length")
    number = Decimal(text)  # the constructor is exact; arithmetic would round to 28 digits
    plain = _plain(number)
    if _DECIMAL.match(plain) is None:
        raise _schema(where, "a number of reasonable length")
    if expect.type == "integer" and number != number.to_integral_value():
        raise _schema(where, "a whole number")
    if (expect.minimum is not None and number < expect.minimum) or (
        expect.maximum is not None and number > expect.maximum
    ):
        raise RefusedError("source.range", f"{where} lies outside of what this source can say", status=502)
    return plain


def _plain(number: Decimal) -> str:
    """The one spelling of a number: no exponent, no zero at the end of a fraction, no minus before zero."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _bounded(expect: Expectation, value: str, where: str) -> str:
    most = MOST_CHARACTERS if expect.length is None else expect.length
    if len(value) > most:
        raise _schema(where, f"at most {most} characters")
    return value


def _schema(where: str, wanted: str) -> RefusedError:
    return RefusedError("source.schema", f"{where} is not {wanted}", status=502)


def check_times(
    expect: Expectation, observed_at: dt.datetime | None, server_date: dt.datetime | None, now: dt.datetime
) -> None:
    """Whether what came is fresh and the clocks agree. ``observed_at`` is the time that the source gives its value,
    ``server_date`` the ``Date`` of its answer. Raises ``source.stale`` and ``source.clock_skew``.

    ``Date`` counts whole seconds, so one second more of lag is no disagreement.
    """
    skew = dt.timedelta(seconds=expect.skew_s)
    if server_date is not None and not -skew - dt.timedelta(seconds=1) <= server_date - now <= skew:
        raise RefusedError(
            "source.clock_skew",
            f"the source's clock differs from ours by {abs((server_date - now).total_seconds()):.0f} s",
            hint="one of the two clocks is wrong; nothing is admitted meanwhile",
            status=502,
        )
    if observed_at is None:
        return
    if observed_at > now + skew:
        raise RefusedError("source.clock_skew", "the source's value is of a time that has not come", status=502)
    if now - observed_at > dt.timedelta(seconds=expect.fresh_s):
        age = (now - observed_at).total_seconds()
        raise RefusedError("source.stale", f"the value is {age:.0f} s old, more than {expect.fresh_s} s", status=502)
