"""An upstream's chat completion, whole or in chunks, as a message or its events (``spec/messages.md`` §3).

Rules: texts, thinking and calls become blocks in the order in which they came; counts and whatever else the upstream
said stay in the answer (``usage``, ``provider_fields``), for it is bound as the caller gets it. What cannot be a
message is refused (``messages.answer``), never bent.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from holdfast.core import canonical
from holdfast.core.canonical import NumberText
from holdfast.core.messages import THINKING
from holdfast.core.messages.fold import MessagesFold
from holdfast.errors import MalformedError

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_TOP = {"id", "model", "choices", "usage", "object"}
_CHOICE = {"index", "delta", "message", "finish_reason", "stop_reason"}
_SAID = {"role", "content", "reasoning_content", "reasoning", "reasoning_details", "refusal", "tool_calls"}


def to_message(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A whole chat completion (numbers as text) as a message. Raises ``messages.answer``."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise _unreadable("a message is made of one choice")
    message = choices[0].get("message")
    if not isinstance(message, dict):
        raise _unreadable("the choice has no message")
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        calls = [{"index": NumberText(str(place)), **_object(call, "a call")} for place, call in enumerate(calls)]
    rest = {name: item for name, item in choices[0].items() if name != "message"}
    chunk = {**answer, "choices": [{**rest, "delta": {**message, "tool_calls": calls}}]}
    writer, fold = EventWriter(), MessagesFold()
    for event in [*writer.take(chunk), *writer.end()]:
        fold.add(event)
    return fold.document()


async def shape_messages(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The events of a message, for the chunks of a chat completion."""
    writer = EventWriter()
    try:
        async for payload in chunks:
            for event in writer.take(_object(canonical.decode_exact(payload), "an event")):
                yield canonical.encode_exact(event)
        for event in writer.end():
            yield canonical.encode_exact(event)
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


class EventWriter:
    """Writes the events of one message. What stands at its end waits for the end: reason, counts, the rest."""

    def __init__(self) -> None:
        self._started = False
        self._open: tuple[str, str] | None = None
        """Kind of the open block, and the index of its call."""
        self._blocks = 0
        self._calls: set[str] = set()
        self._reason: str | None = None
        self._matched: str | None = None
        self._refused = False
        self._usage: Mapping[str, Any] | None = None
        self._rest: dict[str, Any] = {}

    def take(self, chunk: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The events that a chunk comes to. Raises ``messages.answer``."""
        events = [] if self._started else [self._start(chunk)]
        for name, value in chunk.items():
            if name not in _TOP and value is not None:
                self._rest[name] = value
        if chunk.get("usage") is not None:
            self._usage = _object(chunk["usage"], "usage")
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            events += self._choice(_object(choice, "a choice"))
        return events

    def end(self) -> list[dict[str, Any]]:
        """The last events. Raises ``messages.answer`` where there was no answer."""
        if not self._started:
            raise _unreadable("the upstream sent nothing")
        ending: dict[str, Any] = {
            "type": "message_delta",
            "delta": {"stop_reason": self._stop_reason(), "stop_sequence": self._matched},
            "usage": _counts(self._usage),
        }
        if self._rest:
            ending["provider_fields"] = self._rest
        return [*self._close(), ending, {"type": "message_stop"}]

    def _start(self, chunk: Mapping[str, Any]) -> dict[str, Any]:
        self._started = True
        zero = NumberText("0")
        message: dict[str, Any] = {
            "id": chunk.get("id"),
            "type": "message",
            "role": "assistant",
            "model": chunk.get("model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": zero, "output_tokens": zero},
        }
        return {"type": "message_start", "message": message}

    def _choice(self, choice: Mapping[str, Any]) -> list[dict[str, Any]]:
        if choice.get("index", "0") != "0":
            raise _unreadable("a message is made of one choice")
        self._keep("choice", choice, _CHOICE)
        if isinstance(choice.get("finish_reason"), str):
            self._reason = choice["finish_reason"]
        matched = choice.get("stop_reason")
        if isinstance(matched, str) and not isinstance(matched, NumberText):
            self._matched = matched
        delta = choice.get("delta")
        return [] if delta is None else self._delta(_object(delta, "a delta"))

    def _delta(self, delta: Mapping[str, Any]) -> list[dict[str, Any]]:
        self._keep("message", delta, _SAID)
        if delta.get("role") not in (None, "", "assistant"):
            raise _unreadable("the answer is not the assistant's")
        events = self._think(delta)
        events += self._write_content(delta.get("content"))
        if delta.get("refusal"):
            self._refused = True
            events += self._write("text", "text_delta", "text", _string(delta["refusal"], "a refusal"))
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            events += self._call(_object(call, "a call"))
        return events

    def _write_content(self, content: object) -> list[dict[str, Any]]:
        if isinstance(content, list):
            texts = [_object(part, "a part") for part in content]
            if any(part.keys() != {"type", "text"} or part["type"] != "text" for part in texts):
                raise _unreadable("a part of the answer is no text")
            return [event for part in texts for event in self._write_content(part["text"])]
        if content is None or content == "":
            return []
        return self._write("text", "text_delta", "text", _string(content, "content"))

    def _think(self, delta: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Thinking, from where it came with its signature, else from where it is plain text."""
        details = delta.get("reasoning_details")
        signed = [item for item in details if _is_signed(item)] if isinstance(details, list) else []
        if isinstance(details, list) and len(signed) < len(details):
            self._rest.setdefault("reasoning_details", []).extend(item for item in details if not _is_signed(item))
        if signed:
            return [event for item in signed for event in self._signed(item)]
        text = delta.get("reasoning_content") or delta.get("reasoning")
        return [] if not text else self._write("thinking", "thinking_delta", "thinking", _string(text, "reasoning"))

    def _signed(self, detail: Mapping[str, Any]) -> list[dict[str, Any]]:
        if detail.get("type") == "reasoning.encrypted":
            block = {"type": "redacted_thinking", "data": detail.get("data")}
            return [*self._close(), self._begin(("redacted", ""), block), *self._close()]
        events = []
        if detail.get("text"):
            events += self._write("thinking", "thinking_delta", "thinking", _string(detail["text"], "thinking"))
        if detail.get("signature"):
            text = _string(detail["signature"], "a signature")
            events += self._write("thinking", "signature_delta", "signature", text)
        return events

    def _call(self, call: Mapping[str, Any]) -> list[dict[str, Any]]:
        index = str(call.get("index", "0"))
        function = _object(call.get("function") or {}, "a function")
        events = []
        if self._open != ("tool_use", index):
            if index in self._calls:
                raise _unreadable("a call goes on after another one began")
            self._calls.add(index)
            name, made = _string(function.get("name"), "a call's name"), _string(call.get("id"), "a call's id")
            block = {"type": "tool_use", "id": made, "name": name, "input": {}}
            events += [*self._close(), self._begin(("tool_use", index), block)]
        if function.get("arguments"):
            text = _string(function["arguments"], "arguments")
            events.append(self._piece({"type": "input_json_delta", "partial_json": text}))
        return events

    def _write(self, kind: str, delta: str, member: str, text: str) -> list[dict[str, Any]]:
        events = []
        if self._open != (kind, ""):
            empty = {"type": kind, kind: ""} if kind == "text" else {"type": kind, kind: "", "signature": ""}
            events += [*self._close(), self._begin((kind, ""), empty)]
        return [*events, self._piece({"type": delta, member: text})]

    def _begin(self, which: tuple[str, str], block: dict[str, Any]) -> dict[str, Any]:
        self._open, self._blocks = which, self._blocks + 1
        return {"type": "content_block_start", "index": self._index(), "content_block": block}

    def _piece(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._index(), "delta": delta}

    def _close(self) -> list[dict[str, Any]]:
        if self._open is None:
            return []
        self._open = None
        return [{"type": "content_block_stop", "index": self._index()}]

    def _index(self) -> NumberText:
        return NumberText(str(self._blocks - 1))

    def _keep(self, where: str, value: Mapping[str, Any], known: set[str]) -> None:
        """What has no place in a message stays beside it: of texts all, of the rest the last."""
        for name, item in value.items():
            if name in known or item is None or item == []:
                continue
            kept = self._rest.setdefault(where, {})
            kept[name] = kept[name] + item if isinstance(item, list) and isinstance(kept.get(name), list) else item

    def _stop_reason(self) -> str | None:
        if self._refused:
            return "refusal"
        if self._matched is not None and self._reason == "stop":
            return "stop_sequence"
        if self._calls and self._reason == "stop":
            return "tool_use"
        return None if self._reason is None else _REASONS.get(self._reason, self._reason)


def _is_signed(detail: object) -> bool:
    return isinstance(detail, dict) and detail.get("format") == THINKING


def _counts(usage: Mapping[str, Any] | None) -> dict[str, Any]:
    """Anthropic's counts beside those that the upstream told; null where it told none."""
    told = usage or {}
    details = told.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    prompt = told.get("prompt_tokens")
    fresh = prompt
    if isinstance(cached, NumberText) and isinstance(prompt, NumberText) and cached.isdigit() and prompt.isdigit():
        fresh = NumberText(str(max(int(prompt) - int(cached), 0)))
    counts = {"input_tokens": fresh, "output_tokens": told.get("completion_tokens")}
    if cached is not None:
        counts["cache_read_input_tokens"] = cached
    return {**told, **counts}


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unreadable(f"{what} is not an object")
    return value


def _string(value: object, what: str) -> str:
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise _unreadable(f"{what} is not a string")
    return value


def _unreadable(message: str) -> MalformedError:
    return MalformedError("messages.answer", message)
