"""Fold the events of a message into the ``response`` document that is bound (``spec/parts.md`` §9)."""

from __future__ import annotations

from typing import Any

from holdfast.core import canonical
from holdfast.core.canonical import NumberText
from holdfast.core.fold import MAX_INDEX, Fold
from holdfast.core.messages import ENDPOINT
from holdfast.core.parts import strip_carriers
from holdfast.errors import MalformedError

_PIECES = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
    "input_json_delta": ("tool_use", "partial_json"),
}
"""Type of a piece to the type of its block and the member that has its text (§9(3))."""
_MEMBERS = {
    "message_start": {"type", "message"},
    "content_block_start": {"type", "index", "content_block"},
    "content_block_delta": {"type", "index", "delta"},
    "content_block_stop": {"type", "index"},
    "message_delta": {"type", "delta", "usage"},
    "message_stop": {"type"},
    "ping": {"type"},
}
_OPEN_ENDED = ("message_start", "message_delta")
"""Whose other members are the document's (§9(5))."""


class MessagesFold:
    """Accumulates the events of one stream of a message. Raises ``stream.fold``."""

    def __init__(self) -> None:
        self._document: dict[str, Any] | None = None
        self._open: dict[str, Any] | None = None
        """The block that is growing."""
        self._pieces: dict[str, list[str]] = {}
        self._over = False

    def add(self, event: object) -> bool:
        """Merge one event; return whether it carried content."""
        if not isinstance(event, dict):
            raise _refuse("an event is a JSON object")
        shown = strip_carriers("response", event)
        kind = str(shown.get("type"))
        known = _MEMBERS.get(kind)
        if known is None or (kind not in _OPEN_ENDED and not shown.keys() <= known):
            raise _refuse("an event of a message is of a type, and has the members, that are listed")
        if kind == "ping":
            return False
        if (self._document is None) is not (kind == "message_start") or self._over:
            raise _refuse("a message starts once, and nothing follows its end")
        if kind == "message_start":
            self._start(shown)
        elif kind == "message_delta":
            self._change(shown)
        elif kind == "message_stop":
            self._close_nothing()
            self._over = True
        else:
            return self._block(kind, shown)
        return False

    @property
    def all_finished(self) -> bool:
        """Whether the message has its reason to stop."""
        return self._document is not None and self._document.get("stop_reason") is not None

    def document(self) -> dict[str, Any]:
        """The document as far as it has come; a block that is still open has what arrived of it."""
        document = dict(self._document or {})
        if self._open is not None:
            document["content"] = [*document["content"][:-1], self._settled()]
        return document

    def _start(self, event: dict[str, Any]) -> None:
        message = event.get("message")
        if not isinstance(message, dict) or message.get("content") != []:
            raise _refuse("a message starts empty")
        self._document = {**message, "content": []}
        self._more(event, _MEMBERS["message_start"])

    def _change(self, event: dict[str, Any]) -> None:
        self._close_nothing()
        delta, usage = event.get("delta"), event.get("usage")
        if not isinstance(delta, dict) or not (usage is None or isinstance(usage, dict)):
            raise _refuse("a change of a message is an object, and so is its usage")
        if {"content", "role", "id", "type"} & delta.keys():
            raise _refuse("what a message is does not change")
        document = self._known()
        document |= delta
        if usage is not None:
            before = document.get("usage")
            document["usage"] = {**(before if isinstance(before, dict) else {}), **usage}
        self._more(event, _MEMBERS["message_delta"])

    def _more(self, event: dict[str, Any], known: set[str]) -> None:
        document = self._known()
        for name, value in event.items():
            if name in known:
                continue
            if name in ("content", "role", "id", "model", "stop_reason", "stop_sequence"):
                raise _refuse(f"{name} stands in the message itself")
            if value is not None or name not in document:
                document[name] = value

    def _block(self, kind: str, event: dict[str, Any]) -> bool:
        blocks = self._known()["content"]
        begins = kind == "content_block_start"
        place = len(blocks) - (0 if begins else 1)
        index = event.get("index")
        if place > MAX_INDEX:
            raise _refuse(f"a message has at most {MAX_INDEX + 1} blocks")
        if (self._open is None) is not begins or index != str(place) or not isinstance(index, NumberText):
            raise _refuse("blocks come one after the other, each with its place")
        if begins:
            block = event.get("content_block")
            if not isinstance(block, dict) or "partial_json" in block:
                raise _refuse("a block is an object, and its input has no text yet")
            self._open, self._pieces = dict(block), {}
            blocks.append(self._open)
            return False
        if kind == "content_block_stop":
            blocks[-1] = self._settled(whole=True)
            self._open = None
            return False
        return self._piece(event.get("delta"))

    def _piece(self, delta: object) -> bool:
        kind = delta.get("type") if isinstance(delta, dict) else None
        of, member = _PIECES.get(str(kind), ("", ""))
        text = delta.get(member) if isinstance(delta, dict) else None
        fits = isinstance(delta, dict) and delta.keys() == {"type", member} and self._open is not None
        if not fits or self._open is None or self._open.get("type") != of:
            raise _refuse("a piece of a block is of the block's own kind")
        if not isinstance(text, str) or isinstance(text, NumberText):
            raise _refuse("a piece is a string")
        self._pieces.setdefault(member, []).append(text)
        return bool(text)

    def _settled(self, *, whole: bool = False) -> dict[str, Any]:
        """The open block with its pieces joined; a call's input is what its text says once it is whole."""
        block = dict(self._open or {})
        for member, pieces in self._pieces.items():
            text = "".join(pieces)
            if member != "partial_json":
                before = block.get(member)
                if not (before is None or isinstance(before, str)):
                    raise _refuse(f"{member} changes its kind within the stream")
                block[member] = (before or "") + text
            elif not whole:
                block[member] = text
            elif text:
                block["input"] = _input_of(text)
        return block

    def _close_nothing(self) -> None:
        if self._open is not None:
            raise _refuse("a block is still open")

    def _known(self) -> dict[str, Any]:
        if self._document is None:
            raise _refuse("the message has not started")
        return self._document


def fold_of(endpoint: str) -> Fold | MessagesFold:
    """What folds the streams of an endpoint (``parts.md`` §6, §9)."""
    return MessagesFold() if endpoint == ENDPOINT else Fold()


def _input_of(text: str) -> dict[str, Any]:
    try:
        value = canonical.decode_exact(text.encode())
    except MalformedError as error:
        raise _refuse("the input of a call is no JSON") from error
    if not isinstance(value, dict):
        raise _refuse("the input of a call is an object")
    return value


def _refuse(message: str) -> MalformedError:
    return MalformedError("stream.fold", message)
