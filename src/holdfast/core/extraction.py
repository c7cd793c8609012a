"""From the bytes of an answer to a value; same bytes and rules, same value, for ever (``spec/sources.md`` §6).

Methods: ``json`` (a path in the subset of RFC 9535 that is below), ``feed`` (RSS 2.0 and Atom), ``css`` (a selector in
a page), ``text`` (a page's main text). What a method means never changes under its name: replaying an admission needs
the code that made it, so a better reader gets a name of its own.

``parse_extraction`` reads the ``extract`` of a definition, :func:`extract` does the work. Every reader is bounded: by
depth, by items, and by never expanding an entity.

Not covered: what the value must be like (``core.expectations``).
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.feeds import read_feed
from holdfast.core.pages import check_selector, main_text, page_title, select
from holdfast.errors import HoldfastError, MalformedError, RefusedError

METHODS = ("css", "feed", "json", "text")
TIMES = ("http_date", "rfc3339", "unix_ms", "unix_ns", "unix_s")
"""How a source writes the time of its value. ``http_date`` is the ``Date`` of the answer itself."""
NEWEST = "newest"
"""The ``time`` of a feed: that of its newest entry."""
MOST_NODES = 1000
"""Most values that a path may select."""
_FIELDS = {
    "json": ("method", "value", "time", "time_format"),
    "feed": ("method", "items", "time"),
    "css": ("method", "selector", "attribute"),
    "text": ("method",),
}
_SEGMENT = re.compile(
    r"\.(?P<name>[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*)|\[(?P<index>0|-?[1-9][0-9]{0,8})\]"
    r"|\[(?P<all>\*)\]|\['(?P<single>(?:[^'\\\x00-\x1f]|\\['\\/])*)'\]|\[\"(?P<double>(?:[^\"\\\x00-\x1f]|\\[\"\\/])*)\"\]"
    r"|\[(?P<slice>(?:0|-?[1-9][0-9]{0,8})?:(?:0|-?[1-9][0-9]{0,8})?)\]|\.(?P<every>\*)"
)


@dataclass(frozen=True, slots=True)
class Extraction:
    """Where the value stands, and where the time of it. Members that a method has no use for are None."""

    method: str
    value: str | None = None
    time: str | None = None
    time_format: str | None = None
    selector: str | None = None
    attribute: str | None = None
    items: int | None = None

    @property
    def path(self) -> str:
        """Where the value comes from, for people."""
        return self.value or self.selector or (f"{self.items} entries" if self.items else "main")

    def to_json(self) -> dict[str, canonical.JSON]:
        return {name: getattr(self, name) for name in _FIELDS[self.method]}


@dataclass(frozen=True, slots=True)
class Extracted:
    """A value as it stands in the source, and the time that the source gives it."""

    value: Any
    observed_at: dt.datetime | None


def parse_extraction(value: Any) -> Extraction:
    """The ``extract`` of a definition. Raises ``sources.extract`` and ``sources.path``."""
    method = value.get("method") if isinstance(value, dict) else None
    if method not in METHODS or not value.keys() <= set(_FIELDS[method]):
        raise MalformedError("sources.extract", f"an extraction has a method, one of {', '.join(METHODS)}, and its own")
    time, shape = value.get("time"), value.get("time_format")
    if method == "json":
        parse_path(value.get("value"))
        _check_time(time, shape)
    if method == "feed" and time not in (None, NEWEST):
        raise MalformedError("sources.extract", "the time of a feed is that of its newest entry, or none")
    items = value.get("items", 10 if method == "feed" else None)
    if method == "feed" and (not isinstance(items, int) or isinstance(items, bool) or not 1 <= items <= 100):
        raise MalformedError("sources.extract", "items is how many entries are taken, 1 to 100")
    if method == "css":
        check_selector(value.get("selector"), value.get("attribute"))
    return Extraction(method, value.get("value"), time, shape, value.get("selector"), value.get("attribute"), items)


def _check_time(time: object, shape: object) -> None:
    if shape is not None and shape not in TIMES:
        raise MalformedError("sources.extract", f"a time_format is one of {', '.join(TIMES)}")
    if (time is not None) != (shape is not None and shape != "http_date"):
        raise MalformedError("sources.extract", "a time has a format, and every format but http_date a time")
    if time is not None and not is_singular(parse_path(time)):
        raise MalformedError("sources.path", "a time stands in one place")


def extract(rules: Extraction, body: bytes, date: dt.datetime | None = None) -> Extracted:
    """The value in a body. ``date`` is the answer's ``Date``. Raises ``source.schema``."""
    try:
        return _extract(rules, body, date)
    except (MalformedError, RecursionError) as error:
        why = error.message if isinstance(error, HoldfastError) else "it is nested too deeply"
        raise RefusedError("source.schema", f"the answer does not hold the value: {why}"[:300], status=502) from error


def _extract(rules: Extraction, body: bytes, date: dt.datetime | None) -> Extracted:
    match rules.method:
        case "json":
            return _from_document(rules, canonical.decode_exact(body), date)
        case "feed":
            entries, newest = read_feed(body, rules.items or 1)
            return Extracted(entries, newest if rules.time == NEWEST else None)
        case "css":
            return Extracted(select(body, rules.selector or "", rules.attribute), None)
        case _:
            return Extracted({"title": page_title(body), "text": main_text(body)}, None)


def extract_from(rules: Extraction, document: Any, date: dt.datetime | None = None) -> Extracted:
    """The value in a document that was read already. Raises ``source.schema``."""
    try:
        return _from_document(rules, document, date)
    except MalformedError as error:
        raise RefusedError(
            "source.schema", f"the answer does not hold the value: {error.message}", status=502
        ) from error


def _from_document(rules: Extraction, document: Any, date: dt.datetime | None) -> Extracted:
    path = parse_path(rules.value)
    found = find(document, path)
    value = _one(found) if is_singular(path) else found
    return Extracted(value, _time(rules, document, date))


def _one(found: list[Any]) -> Any:
    if len(found) != 1:
        raise MalformedError("source.schema", "nothing stands at the path of the value")
    return found[0]


def _time(rules: Extraction, document: Any, date: dt.datetime | None) -> dt.datetime | None:
    if rules.time_format == "http_date":
        return date
    if rules.time is None or rules.time_format is None:
        return None
    return parse_time(_one(find(document, parse_path(rules.time))), rules.time_format)


_UNIX = {"unix_s": 1, "unix_ms": 1_000, "unix_ns": 1_000_000_000}
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})\Z"
)


def parse_time(value: Any, shape: str) -> dt.datetime:
    """A time as a source writes it, down to the millisecond; raises ``source.schema``."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    try:
        if shape == "rfc3339" and _RFC3339.match(text):
            whole, _, rest = text.replace(" ", "T").upper().partition(".")
            digits = re.match(r"[0-9]*", rest)
            fraction = digits[0] if digits else ""
            zone = rest[len(fraction) :] if rest else ""
            moment = dt.datetime.fromisoformat(f"{whole}{zone}").astimezone(dt.UTC)
            return moment + dt.timedelta(milliseconds=int(fraction.ljust(3, "0")[:3]))
        if shape in _UNIX and re.match(r"(?:0x[0-9a-f]{1,16}|[0-9]{1,20})(?:\.[0-9]{1,9})?\Z", text):
            number = int(text, 16) if text.startswith("0x") else int(text.partition(".")[0])
            milliseconds = number * 1000 // _UNIX[shape]
            if shape == "unix_s" and "." in text:
                milliseconds += int(text.partition(".")[2].ljust(3, "0")[:3])
            return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=milliseconds)
    except (ValueError, OverflowError):
        pass
    raise MalformedError("source.schema", f"a time is not written as {shape}")


# --- paths ------------------------------------------------------------------------------------------------------------


Step = tuple[str, str | int | tuple[int | None, int | None]]
"""``name``, ``index``, ``all`` or ``slice``, and what it is about."""


def parse_path(text: object) -> tuple[Step, ...]:
    """A JSONPath of names, indices, slices without a step and wildcards (RFC 9535 §2.3.1 to §2.3.4, child segments
    only); raises ``sources.path``. Filters, functions and descendants are not read: what a definition selects shows
    from its text."""
    if not isinstance(text, str) or not text.startswith("$") or len(text) > 256:
        raise MalformedError("sources.path", "a path is $ followed by .name, ['name'], [0], [1:3] or [*]")
    steps: list[Step] = []
    place = 1
    while place < len(text):
        match = _SEGMENT.match(text, place)
        if match is None:
            raise MalformedError("sources.path", f"the path is not read from character {place + 1} on")
        place = match.end()
        steps.append(_step(match))
    if len(steps) > 32:
        raise MalformedError("sources.path", "a path has at most 32 segments")
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["all"] or match["every"]:
        return "all", "*"
    if match["index"] is not None:
        return "index", int(match["index"])
    if match["slice"] is not None:
        begin, _, end = match["slice"].partition(":")
        return "slice", (int(begin) if begin else None, int(end) if end else None)
    quoted = match["single"] if match["single"] is not None else match["double"]
    return "name", match["name"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)


def is_singular(path: tuple[Step, ...]) -> bool:
    """Whether a path selects one place at most (RFC 9535 §2.3.5.1)."""
    return all(kind in ("name", "index") for kind, _ in path)


def find(document: Any, path: tuple[Step, ...]) -> list[Any]:
    """What a path selects, in order. Raises ``source.schema`` for more than ``MOST_NODES``."""
    nodes = [document]
    for step in path:
        nodes = [inner for node in nodes for inner in _children(node, step)]
        if len(nodes) > MOST_NODES:
            raise MalformedError("source.schema", f"the path selects more than {MOST_NODES} values")
    return nodes


def _children(node: Any, step: Step) -> list[Any]:
    kind, about = step
    if kind == "name":
        return [node[about]] if isinstance(node, dict) and about in node else []
    if kind == "all":
        return list(node.values()) if isinstance(node, dict) else list(node) if isinstance(node, list) else []
    if not isinstance(node, list):
        return []
    if isinstance(about, tuple):
        return node[about[0] : about[1]]
    place = about if isinstance(about, int) else 0
    return [node[place]] if -len(node) <= place < len(node) else []
