"""An answer of Anthropic's Messages API as a chat completion, whole or event by event (``spec/dialects.md`` §3, §4).

Both ways give documents with the same parts but for ``object``: a stream's chunks, folded (``parts.md`` §6), say what
the whole answer says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from holdfast.core import canonical
from holdfast.core.dialects.anthropic_request import FORMAT
from holdfast.core.dialects.shared import (
    PROVIDER_FIELDS,
    as_count,
    as_list,
    as_object,
    as_text,
    fold_whole,
    is_text,
    number,
    only,
    refused,
    unreadable,
    usage,
)

FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Stop reasons that have a word of OpenAI's; any other stands as it came."""
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""HTTP statuses of errors that come inside a stream."""
_MESSAGE = {"id", "type", "role", "model", "content", "stop_reason", "usage"}
_COUNTED = {"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"}


def whole(answer: Mapping[str, Any], created: int) -> dict[str, Any]:
    """A whole message as a chat completion. Raises ``dialect.answer``."""
    reader = AnthropicReader(created)
    reader.note(answer)
    chunks = [reader.chunk({"role": "assistant", "content": None})]
    for block in as_list(answer.get("content"), "the message's content"):
        chunks += reader.block(as_object(block, "a block"))
    return fold_whole([*chunks, reader.last()])


class AnthropicReader:
    """Implements :class:`holdfast.core.dialects.Reader`."""

    def __init__(self, created: int) -> None:
        self._created = created
        self._said: dict[str, Any] = {}
        """What is known of the message beside its content."""
        self._usage: dict[str, Any] = {}
        self._events: list[Any] = []
        """Events of kinds that this text does not know."""
        self._open: dict[str, _Block] = {}
        self._calls = 0
        self._thoughts = 0
        self._over = False

    @property
    def over(self) -> bool:
        return self._over

    def take(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        kind = event.get("type")
        if kind == "ping":
            return []
        if kind == "error":
            error = as_object(event.get("error"), "an error")
            raise refused("the provider reported an error inside its stream", STATUSES.get(str(error.get("type")), 500))
        if self._over:
            raise unreadable("something follows the end of the message")
        if kind == "message_start":
            message = as_object(event.get("message"), "a message")
            self.note(message)
            if as_list(message.get("content", []), "the message's content"):
                raise unreadable("a message begins with content")
            return [self.chunk({"role": "assistant", "content": None})]
        if kind == "message_delta":
            self.note({**as_object(event.get("delta"), "a delta"), "usage": event.get("usage")})
            return []
        if kind == "message_stop":
            self._over = True
            return []
        if kind == "content_block_start":
            return self._start(event)
        if kind == "content_block_delta":
            return self._delta(event)
        if kind == "content_block_stop":
            return self._stop(event)
        self._events.append(event)
        return []

    def end(self) -> list[dict[str, Any]]:
        """The last chunk. Raises ``dialect.answer`` where the message did not end."""
        if not self._over or self._open:
            raise unreadable("the provider's stream ended before its answer did")
        return [self.last()]

    # What is said beside the content

    def note(self, message: Mapping[str, Any]) -> None:
        """Keep what a message or a delta of it says beside its content: the last word on each counts."""
        said = message.get("usage")
        if said is not None:
            self._usage |= {name: item for name, item in as_object(said, "usage").items() if item is not None}
        self._said |= {
            name: item for name, item in message.items() if name not in ("content", "usage") and item is not None
        }

    def last(self) -> dict[str, Any]:
        """The chunk that says why it ended, in OpenAI's word where there is one and in the provider's, and what was
        used."""
        reason = as_text(self._said.get("stop_reason"), "the stop reason")
        ended = {"finish_reason": FINISHES.get(reason, reason), "native_finish_reason": reason}
        return {**self._head(), "choices": [{"index": number(0), "delta": {}, **ended}], **self._tail()}

    def chunk(self, delta: dict[str, Any]) -> dict[str, Any]:
        """A chunk of the one choice."""
        return {**self._head(), "choices": [{"index": number(0), "delta": delta, "finish_reason": None}]}

    def _head(self) -> dict[str, Any]:
        return {
            "id": as_text(self._said.get("id"), "the message's id"),
            "object": "chat.completion.chunk",
            "created": number(self._created),
            "model": as_text(self._said.get("model"), "the message's model"),
        }

    def _tail(self) -> dict[str, Any]:
        """Usage, and whatever else the provider said."""
        counts = {name: as_count(self._usage.get(name), name) for name in _COUNTED}
        cached = counts["cache_read_input_tokens"] if "cache_read_input_tokens" in self._usage else None
        details = self._usage.get("output_tokens_details")
        thought = details.get("thinking_tokens") if isinstance(details, dict) else None
        prompt = counts["input_tokens"] + counts["cache_read_input_tokens"] + counts["cache_creation_input_tokens"]
        tail: dict[str, Any] = {}
        if self._usage:
            reasoning = None if thought is None else as_count(thought, "thinking_tokens")
            tail["usage"] = usage(prompt, counts["output_tokens"], cached, reasoning)
        rest: dict[str, Any] = {name: item for name, item in self._said.items() if name not in _MESSAGE}
        told = {name: item for name, item in self._usage.items() if name not in ("input_tokens", "output_tokens")}
        if told:
            rest["usage"] = told
        if self._events:
            rest["events"] = self._events
        return {**tail, PROVIDER_FIELDS: rest} if rest else tail

    # Blocks

    def block(self, block: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The chunks of a block that came whole."""
        begun = self._begin("", block)
        return [self.chunk(delta) for delta in (*begun, *self._open.pop("").close())]

    def _begin(self, place: str, block: Mapping[str, Any]) -> list[dict[str, Any]]:
        kind = block.get("type")
        made: _Block
        if kind == "text":
            made = _Text()
        elif kind == "tool_use":
            made = _Call(self._calls)
            self._calls += 1
        elif kind in ("thinking", "redacted_thinking"):
            made = _Thought(self._thoughts)
            self._thoughts += 1
        else:
            raise unreadable(f"a block of kind {str(kind)[:64]!r} has no place in a chat completion")
        self._open[place] = made
        return made.begin(block)

    def _start(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        place = str(event.get("index"))
        if place in self._open:
            raise unreadable("a block begins twice")
        return [self.chunk(delta) for delta in self._begin(place, as_object(event.get("content_block"), "a block"))]

    def _delta(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        block = self._open.get(str(event.get("index")))
        if block is None:
            raise unreadable("a delta of no block that is open")
        return [self.chunk(delta) for delta in block.add(as_object(event.get("delta"), "a delta"))]

    def _stop(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        block = self._open.pop(str(event.get("index")), None)
        if block is None:
            raise unreadable("a block ends that is not open")
        return [self.chunk(delta) for delta in block.close()]


class _Block(ABC):
    """A block as it comes: each step gives deltas of the message."""

    @abstractmethod
    def begin(self, block: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The deltas of its start."""

    def add(self, delta: Mapping[str, Any]) -> list[dict[str, Any]]:
        raise unreadable(f"a delta of kind {str(delta.get('type'))[:64]!r} does not go with its block")

    def close(self) -> list[dict[str, Any]]:
        return []


class _Text(_Block):
    def begin(self, block: Mapping[str, Any]) -> list[dict[str, Any]]:
        only(block, {"type", "text", "citations"})
        text = as_text(block.get("text"), "a text")
        cited = as_list(block.get("citations") or [], "citations")
        return [*([{"content": text}] if text else []), *([{"citations": cited}] if cited else [])]

    def add(self, delta: Mapping[str, Any]) -> list[dict[str, Any]]:
        if delta.get("type") == "text_delta":
            only(delta, {"type", "text"})
            return [{"content": as_text(delta.get("text"), "a text")}]
        if delta.get("type") == "citations_delta":
            only(delta, {"type", "citation"})
            return [{"citations": [as_object(delta.get("citation"), "a citation")]}]
        return super().add(delta)


class _Call(_Block):
    def __init__(self, place: int) -> None:
        self._place = place
        self._input: Mapping[str, Any] = {}
        self._told = False
        """Whether any of its arguments came."""

    def begin(self, block: Mapping[str, Any]) -> list[dict[str, Any]]:
        only(block, {"type", "id", "name", "input", "caller"})
        self._input = as_object(block.get("input", {}), "a call's input")
        function = {"name": as_text(block.get("name"), "a call's name"), "arguments": ""}
        told = {"id": as_text(block.get("id"), "a call's id"), "type": "function", "function": function}
        if block.get("caller") is not None:
            told["caller"] = block["caller"]
        return self._tell(told)

    def add(self, delta: Mapping[str, Any]) -> list[dict[str, Any]]:
        if delta.get("type") != "input_json_delta":
            return super().add(delta)
        only(delta, {"type", "partial_json"})
        piece = as_text(delta.get("partial_json"), "a piece of a call's input")
        self._told = self._told or bool(piece)
        return self._tell({"function": {"arguments": piece}}) if piece else []

    def close(self) -> list[dict[str, Any]]:
        if self._told:
            return []
        return self._tell({"function": {"arguments": canonical.encode_exact(self._input).decode()}})

    def _tell(self, told: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"tool_calls": [{"index": number(self._place), **told}]}]


class _Thought(_Block):
    def __init__(self, place: int) -> None:
        self._place = place

    def begin(self, block: Mapping[str, Any]) -> list[dict[str, Any]]:
        if block["type"] == "redacted_thinking":
            only(block, {"type", "data"})
            data = as_text(block.get("data"), "redacted thinking")
            return self._tell({"type": "reasoning.encrypted", "format": FORMAT, "data": data})
        only(block, {"type", "thinking", "signature"})
        text = as_text(block.get("thinking"), "thinking")
        told: dict[str, Any] = {"type": "reasoning.text", "format": FORMAT, "text": text}
        if is_text(signature := block.get("signature")) and signature:
            told["signature"] = signature
        return [*([{"reasoning_content": text}] if text else []), *self._tell(told)]

    def add(self, delta: Mapping[str, Any]) -> list[dict[str, Any]]:
        if delta.get("type") == "thinking_delta":
            text = as_text(delta.get("thinking"), "thinking")
            only(delta, {"type", "thinking", "estimated_tokens"})
            return [{"reasoning_content": text}, *self._tell({"text": text})]
        if delta.get("type") == "signature_delta":
            only(delta, {"type", "signature"})
            return self._tell({"signature": as_text(delta.get("signature"), "a signature")})
        return super().add(delta)

    def _tell(self, told: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"reasoning_details": [{"index": number(self._place), **told}]}]
