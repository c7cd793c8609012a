"""Fold a stream of events into the one ``response`` document that is bound (``spec/parts.md`` §6).

A :class:`Fold` is fed decoded events (``canonical.decode_exact``) and gives the document at any moment. The rules are
total: what they cannot merge is refused with ``stream.fold``, never guessed.
"""

from __future__ import annotations

from typing import Any

from holdfast.core.canonical import NumberText
from holdfast.core.parts import strip_carriers
from holdfast.errors import MalformedError

_SET_ONCE = frozenset({"role", "id", "type", "name"})
"""Strings in a delta that replace instead of growing (``parts.md`` §6(3))."""
_SAID_ONCE = frozenset({"role", "name"})
"""Those of them that clients show or act on, some by the first value, some by the last, some by both together."""
MAX_INDEX = 1023
"""Largest ``index`` of a choice or of a merged array element (``parts.md`` §6)."""


class _Text:
    """A growing string: joined once, at the end, so that long answers stay linear."""

    __slots__ = ("pieces",)

    def __init__(self, first: str) -> None:
        self.pieces = [first]


class _Indexed:
    """Array elements merged by their ``index``."""

    __slots__ = ("elements",)

    def __init__(self) -> None:
        self.elements: dict[int, dict[str, Any]] = {}


class Fold:
    """Accumulates the events of one stream."""

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] | None = None
        self._grown: set[int] = set()
        """Indices of the choices whose message grows from deltas."""
        self.finished: set[int] = set()
        """Indices of the choices that have a finish reason."""

    def add(self, event: object) -> bool:
        """Merge one event; return whether it carried content. Raises ``stream.fold``."""
        if not isinstance(event, dict):
            raise MalformedError("stream.fold", "an event is a JSON object")
        carried = False
        for key, value in strip_carriers("response", event).items():
            if key == "choices":
                carried = self._add_choices(value)
            elif value is not None or key not in self._top:
                self._top[key] = value
        return carried

    def _add_choices(self, value: object) -> bool:
        if not isinstance(value, list):
            raise MalformedError("stream.fold", "choices is an array")
        if self._choices is None:
            self._choices = {}
        carried = False
        for choice in value:
            if not isinstance(choice, dict):
                raise MalformedError("stream.fold", "a choice is an object")
            number = _index(choice.get("index", NumberText("0")))
            target = self._choices.setdefault(number, {})
            for key, item in choice.items():
                if key == "delta":
                    carried = self._add_delta(number, target, item) or carried
                elif key in ("text", "logprobs"):
                    _merge_member(target, key, item)
                    carried = carried or (key == "text" and bool(item))
                elif key == "message" and item is not None and number in self._grown:
                    raise MalformedError("stream.fold", "a choice has both a message and a delta")
                elif key != "index" and (item is not None or key not in target):
                    target[key] = item
            if target.get("finish_reason") is not None:
                self.finished.add(number)
        return carried

    def _add_delta(self, number: int, target: dict[str, Any], delta: object) -> bool:
        if delta is None:
            return False
        if not isinstance(delta, dict):
            raise MalformedError("stream.fold", "a delta is an object")
        if number not in self._grown:
            if target.get("message") is not None:
                raise MalformedError("stream.fold", "a choice has both a message and a delta")
            target["message"] = {}
            self._grown.add(number)
        _merge_object(target["message"], delta)
        return any(value not in (None, "") for key, value in delta.items() if key != "role")

    @property
    def all_finished(self) -> bool:
        """Whether at least one choice began and every one that did has a finish reason."""
        return bool(self._choices) and self._choices is not None and self.finished >= self._choices.keys()

    def document(self) -> dict[str, Any]:
        """The folded document, numbers as :class:`NumberText`."""
        result = dict(self._top)
        if result.get("object") == "chat.completion.chunk":
            result["object"] = "chat.completion"
        if self._choices is not None:
            result["choices"] = [
                {"index": NumberText(str(number)), **_settle(self._choices[number])} for number in sorted(self._choices)
            ]
        return result


def _index(value: object) -> int:
    # Long digit strings are refused before they become integers, which Python refuses to make of them.
    if not isinstance(value, NumberText) or len(value) > 4 or not value.isdigit() or int(value) > MAX_INDEX:
        raise MalformedError("stream.fold", f"an index is an integer from 0 to {MAX_INDEX}")
    return int(value)


def _grow(target: dict[str, Any], key: str, piece: str) -> None:
    present = target.get(key)
    if isinstance(present, _Text):
        present.pieces.append(piece)
    elif present is None:
        target[key] = _Text(piece)
    else:
        raise MalformedError("stream.fold", f"{key} changes its kind within the stream")


def _merge_object(target: dict[str, Any], update: dict[str, Any]) -> None:
    for key, value in update.items():
        _merge_member(target, key, value)


def _merge_member(target: dict[str, Any], key: str, value: Any) -> None:
    present = target.get(key)
    if value is None:
        target.setdefault(key, None)
    elif isinstance(value, str) and not isinstance(value, NumberText):
        if key in _SET_ONCE:
            _require_kind(key, present, str)
            if present and value and present != value and key in _SAID_ONCE:
                raise MalformedError("stream.fold", f"{key} changes within the stream")
            target[key] = value or present or ""
        else:
            _grow(target, key, value)
    elif isinstance(value, dict):
        _require_kind(key, present, dict)
        if present is None:
            present = target[key] = {}
        _merge_object(present, value)
    elif isinstance(value, list):
        _merge_array(target, key, value)
    else:
        _require_kind(key, present, type(value))
        target[key] = value


def _merge_array(target: dict[str, Any], key: str, value: list[Any]) -> None:
    present = target.get(key)
    indexed = bool(value) and all(isinstance(item, dict) and "index" in item for item in value)
    if isinstance(present, _Indexed) and (indexed or not value):
        pass
    elif present is None and indexed:
        present = target[key] = _Indexed()
    elif present is None:
        target[key] = list(value)
        return
    elif isinstance(present, list) and not present and indexed:
        present = target[key] = _Indexed()
    elif isinstance(present, list) and not indexed:
        present.extend(value)
        return
    else:
        raise MalformedError("stream.fold", f"{key} changes its kind within the stream")
    for item in value:
        element = present.elements.setdefault(_index(item["index"]), {})
        _merge_object(element, {name: inner for name, inner in item.items() if name != "index"})


def _require_kind(key: str, present: object, kind: type) -> None:
    if present is not None and (type(present) is not kind):
        raise MalformedError("stream.fold", f"{key} changes its kind within the stream")


def _settle(value: Any) -> Any:
    """Join growing strings and order merged arrays."""
    if isinstance(value, _Text):
        return "".join(value.pieces)
    if isinstance(value, _Indexed):
        return [
            {"index": NumberText(str(number)), **_settle(value.elements[number])} for number in sorted(value.elements)
        ]
    if isinstance(value, dict):
        return {key: _settle(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_settle(item) for item in value]
    return value
