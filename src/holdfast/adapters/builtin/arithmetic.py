"""Arithmetic, exactly: a small grammar over fractions, nothing evaluated that was not parsed.

::

    sum     = product { ("+" | "-") product }
    product = signed { ("*" | "/" | "mod") signed | "(" … }      a number before "(" multiplies
    signed  = { "-" | "+" } power                                -2^2 is -4
    power   = postfix [ "^" signed ]                             to the right: 2^3^2 is 2^9
    postfix = atom { "!" | "%" }
    atom    = number | "(" sum ")" | "sqrt" atom

``80 + 15%`` reads as a pocket calculator does, fifteen percent of the eighty; ``15% of 80`` as it is said. Bounds:
:data:`MAX_INPUT` characters, whole exponents up to :data:`MAX_EXPONENT`, results up to 400 digits, factorials to 150.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from holdfast.adapters.builtin.numbers import MAX_DIGITS, approximate, parse_number, words_to_digits, write_number

MAX_INPUT = 300
MAX_EXPONENT = 1000
_MAX_FACTORIAL = 150
_MAX_DEPTH = 40
_MAX_BITS = int(MAX_DIGITS * 3.33)

_TOKEN = re.compile(r"\s*(?:([0-9][0-9,]*(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,2}\b)?|\.[0-9]+)|(sqrt|mod)|([-+*/^%!()]))")
_LEAD = re.compile(
    r"\A(?:(?:hey|hi|hello|ok|okay|so|and|now|please|can you|could you|would you|tell me|do you know|i need)[\s,:]+)*"
    r"(?:what is|what are|what does|what do|how much is|how much are|how much does|calculate|compute|evaluate|work out"
    r"|solve|add up|answer|eval|find)?[\s:]*"
    r"(?:(?:the )?(?:value|result|answer) (?:of|to)\s)?"
)
_TAIL = re.compile(r"(?:\s*(?:please|thanks|thank you|equals?|equal to|make|makes|come to|give|=))*[\s?.!=]*\Z")
_SAID = (
    (re.compile(r"\b(?:the )?square root of\b|√"), " sqrt "),
    (re.compile(r"\b(?:raised )?to the power (?:of )?|\*\*"), "^"),
    (re.compile(r"\bsquared\b|²"), "^2"),
    (re.compile(r"\bcubed\b|³"), "^3"),
    (re.compile(r"\bmultiplied by\b|\btimes\b|[\u00d7\u00b7]|(?<=[0-9)])\s*x\s*(?=[0-9(.])"), "*"),
    (re.compile(r"\bdivided by\b|\bover\b|[\u00f7:]"), "/"),
    (re.compile(r"\bplus\b"), "+"),
    (re.compile(r"\bminus\b|\bless\b|[\u2212\u2013]"), "-"),
    (re.compile(r"\bmodulo\b"), " mod "),
    (re.compile(r"\bper ?cent\b"), "%"),
    (re.compile(r"%\s*of\b"), "% *"),
    (re.compile(r"\bfactorial of\s*([0-9]+)|\b([0-9]+) factorial\b"), r"\1\2!"),
    (re.compile(r"\bhalf of\b"), "0.5 *"),
    (re.compile(r"\ba (?:third) of\b"), "1/3 *"),
    (re.compile(r"\ba quarter of\b"), "0.25 *"),
    (re.compile(r"\b(?:the )?sum of\s*([0-9.]+)\s*and\s*([0-9.]+)"), r"\1+\2"),
    (re.compile(r"\b(?:the )?product of\s*([0-9.]+)\s*and\s*([0-9.]+)"), r"\1*\2"),
)


class _NoExpressionError(Exception):
    """The text is not arithmetic; somebody else may know what it is."""


class _NoValueError(Exception):
    """It is arithmetic, and has no value we can give; the message says why."""


def answer_arithmetic(text: str) -> str | None:
    """The answer if ``text`` is a calculation and nothing else, otherwise ``None``."""
    if len(text) > MAX_INPUT:
        return None
    expression = _expression(text)
    if expression is None:
        return None
    try:
        parser = _Parser(expression)
        value = parser.whole()
    except _NoExpressionError:
        return None
    except _NoValueError as error:
        return str(error)
    if parser.operators == 0:
        return None
    shown = re.sub(r"\s+", " ", parser.shown()).strip()
    written = f"≈ {approximate(value)}" if parser.rounded else write_number(value)
    return f"{shown} {written}" if written.startswith("≈") else f"{shown} = {written}"


def _expression(text: str) -> str | None:
    folded = words_to_digits(text.lower().replace("\u2019", "'").replace("what's", "what is").strip())
    folded = _LEAD.sub("", folded, count=1)
    factorial = re.search(r"[0-9)]\s*!\s*[?]*\Z", folded)
    folded = folded.rstrip("? ") if factorial else _TAIL.sub("", folded, count=1)
    for pattern, sign in _SAID:
        folded = pattern.sub(sign, folded)
    if re.search(r"[0-9]", folded) is None or re.search(r"[-+*/^%!(]|sqrt|mod", folded) is None:
        return None
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]+([-/.][0-9]+){2,}", folded.strip()):
        return None  # A date or a version, not a subtraction.
    return folded


class _Parser:
    """Recursive descent with a depth bound; :meth:`shown` is the expression as it was understood."""

    def __init__(self, text: str) -> None:
        self._items: list[str] = []
        at = 0
        text = text.strip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise _NoExpressionError
            self._items.append(match[0].strip())
            at = match.end()
        self._at = 0
        self._depth = 0
        self.operators = 0
        self.rounded = False
        """A square root was not exact."""

    def shown(self) -> str:
        out = ""
        names = {"*": " \u00d7 ", "/": " \u00f7 ", "+": " + ", "-": " - ", "mod": " mod ", "sqrt": "sqrt "}
        before = ""
        for item in self._items:
            unary = item in "+-" and (before == "" or before in "(+-*/^" or before in {"mod", "sqrt"})
            out += item if unary or item not in names else names[item]
            before = item
        return out

    def whole(self) -> Fraction:
        value = self._sum()
        if self._peek():
            raise _NoExpressionError
        return value

    def _peek(self) -> str:
        return self._items[self._at] if self._at < len(self._items) else ""

    def _take(self) -> str:
        item = self._peek()
        self._at += 1
        return item

    def _sum(self) -> Fraction:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _NoValueError("That is nested too deeply for me.")
        value = self._product()
        while self._peek() in {"+", "-"}:
            sign = self._take()
            start = self._at
            right = self._product()
            if self._items[start : self._at] == [self._items[start], "%"]:
                right *= value
            self.operators += 1
            value = _bounded(value + right if sign == "+" else value - right)
        self._depth -= 1
        return value

    def _product(self) -> Fraction:
        value = self._signed()
        while True:
            sign = self._peek()
            if sign in {"(", "sqrt"}:
                sign = "*"
            elif sign in {"*", "/", "mod"}:
                self._take()
            else:
                return value
            right = self._signed()
            self.operators += 1
            if sign == "*":
                value = _bounded(value * right)
            elif right == 0:
                raise _NoValueError("Division by zero has no value.")
            else:
                value = _bounded(value / right) if sign == "/" else value % right

    def _signed(self) -> Fraction:
        negative = False
        while self._peek() in {"+", "-"}:
            negative ^= self._take() == "-"
        value = self._power()
        return -value if negative else value

    def _power(self) -> Fraction:
        base = self._postfix()
        if self._peek() != "^":
            return base
        self._take()
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _NoValueError("That is nested too deeply for me.")
        exponent = self._signed()
        self._depth -= 1
        self.operators += 1
        return self._raise(base, exponent)

    def _raise(self, base: Fraction, exponent: Fraction) -> Fraction:
        if exponent == Fraction(1, 2):
            return self._root(base)
        if exponent.denominator != 1:
            raise _NoValueError("I only raise to whole powers, and to one half.")
        power = exponent.numerator
        if base == 0 and power < 0:
            raise _NoValueError("Zero to a negative power has no value.")
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(power) > MAX_EXPONENT or bits * abs(power) > _MAX_BITS:
            raise _NoValueError(f"That is too large for me: I stop at {MAX_DIGITS} digits.")
        return base**power

    def _postfix(self) -> Fraction:
        value = self._atom()
        while self._peek() in {"!", "%"}:
            sign = self._take()
            if sign == "%":
                value /= 100
                continue
            self.operators += 1
            if value.denominator != 1 or value < 0:
                raise _NoValueError("A factorial needs a whole number that is not negative.")
            if value > _MAX_FACTORIAL:
                raise _NoValueError(f"That is too large for me: I stop at {_MAX_FACTORIAL}!.")
            value = Fraction(math.factorial(value.numerator))
        return value

    def _atom(self) -> Fraction:
        item = self._take()
        if item == "(":
            value = self._sum()
            if self._take() != ")":
                raise _NoExpressionError
            return value
        if item == "sqrt":
            self.operators += 1
            return self._root(self._postfix())
        number = parse_number(item)
        if number is None:
            raise _NoExpressionError
        return number

    def _root(self, value: Fraction) -> Fraction:
        if value < 0:
            raise _NoValueError("A negative number has no real square root.")
        top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if top * top == value.numerator and bottom * bottom == value.denominator:
            return Fraction(top, bottom)
        self.rounded = True
        scale = 10**40
        return Fraction(math.isqrt(value.numerator * scale * scale // value.denominator), scale)


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise _NoValueError(f"That is too large for me: I stop at {MAX_DIGITS} digits.")
    return value
