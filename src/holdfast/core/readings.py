"""What a body says under a definition, and whether that is believable: admitting and replaying are this one function.

``read_body`` is pure: the same definition, bytes and ``Date`` give the same reading for ever (``spec/sources.md`` §6,
§8). ``limits_of`` and ``value_of`` say the same in the words of an admission document.

Not covered: freshness and clocks, which depend on when it is asked (``core.expectations.check_times``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from holdfast.core import canonical
from holdfast.core.admissions import Extraction, Limits
from holdfast.core.chain_reads import read_batch
from holdfast.core.dns_reads import DnsRead, read_answer
from holdfast.core.expectations import admit_value
from holdfast.core.extraction import extract, extract_from
from holdfast.core.quantities import Value
from holdfast.core.sources import Definition
from holdfast.errors import HoldfastError, MalformedError, RefusedError

_VALUE_TYPES = {"decimal": "decimal", "integer": "decimal", "text": "text", "hex": "text"}
"""What an expectation's type is in an admission; the rest is ``json`` (``sources.md`` §7(2))."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A value as it is signed, how it was taken, and the time that the source gives it."""

    extraction: Extraction
    observed_at: dt.datetime | None


def read_body(definition: Definition, body: bytes, date: dt.datetime | None) -> Reading:
    """The value in a body. Raises ``source.schema`` and ``source.range``."""
    try:
        document = _document(definition, body)
    except MalformedError as error:
        raise RefusedError("source.schema", error.message, status=502) from error
    rules = definition.extract
    found = extract(rules, body, date) if document is None else extract_from(rules, document, date)
    value = value_of(definition, admit_value(definition.expect, found.value))
    return Reading(Extraction(definition.extract.method, definition.extract.path, value), found.observed_at)


def _document(definition: Definition, body: bytes) -> dict[str, Any] | None:
    """What the answer of a chain or a resolver means; None where the body is read as it is."""
    if isinstance(definition.reach, DnsRead):
        return read_answer(definition.reach, body)
    return None if definition.query is None else read_batch(definition.query, body)


def value_of(definition: Definition, value: canonical.JSON) -> Value:
    """A value in the form that is signed. Raises ``source.schema`` for one that no admission can hold."""
    kind = _VALUE_TYPES.get(definition.expect.type, "json")
    text = str(value) if kind != "json" else _canonical(value)
    if not 1 <= len(text) <= 65_536:
        raise RefusedError("source.schema", "the value is empty, or longer than 65536 characters", status=502)
    return Value(kind, text, definition.unit or None)


def _canonical(value: canonical.JSON) -> str:
    return canonical.encode(value).decode()


def limits_of(definition: Definition) -> Limits:
    """What a definition asks of an answer, as an admission repeats it."""
    expect = definition.expect
    numeric = expect.type in ("decimal", "integer") and (expect.minimum is not None or expect.maximum is not None)
    least, most = (None if item is None else format(item, "f") for item in (expect.minimum, expect.maximum))
    return Limits(expect.fresh_s, expect.skew_s, (least, most) if numeric else None, definition.pins)


def date_of(headers: Mapping[str, str]) -> dt.datetime | None:
    """The ``Date`` of an answer (RFC 9110 §6.6.1); None where there is none that is one."""
    try:
        found = parsedate_to_datetime(headers["date"])
        return found.replace(tzinfo=found.tzinfo or dt.UTC).astimezone(dt.UTC)
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return None


def refusal_code(error: HoldfastError) -> str:
    """The code of an admission's refusal (``admission.md`` §6) for what a source did."""
    return error.code.removeprefix("source.")
