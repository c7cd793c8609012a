"""An answer of Google's Gemini API as a chat completion, whole or event by event (``spec/dialects.md`` §6).

A stream's events are whole responses with a piece of the answer each, and nothing but the end of the connection says
that there are no more: finish reasons and usage wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.core import canonical
from holdfast.core.dialects.gemini_request import FORMAT, MADE
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
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
"""Finish reasons that have a word of OpenAI's; any other stands as it came."""
_RESPONSE = {"candidates", "modelVersion", "responseId"}
_CANDIDATE = {"content", "finishReason", "index"}


def whole(answer: Mapping[str, Any], created: int) -> dict[str, Any]:
    """A whole response as a chat completion. Raises ``dialect.answer`` and ``dialect.refused``."""
    reader = GeminiReader(created)
    return fold_whole([*reader.take(answer), *reader.end()])


class GeminiReader:
    """Implements :class:`holdfast.core.dialects.Reader`."""

    over = False
    """The end of the connection says it."""

    def __init__(self, created: int) -> None:
        self._created = created
        self._id = ""
        self._model = ""
        self._rest: dict[str, Any] = {}
        """What was said beside candidates: the last word on each counts."""
        self._choices: dict[int, _Choice] = {}

    def take(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        if event.get("error") is not None:
            code = as_object(event["error"], "an error").get("code")
            status = as_count(code, "an error's code") if code is not None else 500
            raise refused("the provider reported an error", status if 400 <= status <= 599 else 500)
        if event.get("responseId") is not None:
            self._id = as_text(event["responseId"], "the response's id")
        if event.get("modelVersion") is not None:
            self._model = as_text(event["modelVersion"], "the model's version")
        self._rest |= {name: item for name, item in event.items() if name not in _RESPONSE and item is not None}
        deltas = []
        for candidate in as_list(event.get("candidates") or [], "candidates"):
            place = as_count(as_object(candidate, "a candidate").get("index"), "a candidate's index")
            choice = self._choices.get(place)
            if choice is None:
                choice = self._choices[place] = _Choice(place, self._id)
                deltas.append(choice.delta({"role": "assistant", "content": None}))
            deltas += [choice.delta(delta) for delta in choice.take(candidate)]
        return [{**self._head(), "choices": [delta]} for delta in deltas]

    def end(self) -> list[dict[str, Any]]:
        if not self._choices:
            return [self._blocked()]
        if any(choice.finish is None for choice in self._choices.values()):
            raise unreadable("the provider's stream ended before its answer did")
        choices = [self._choices[place].last() for place in sorted(self._choices)]
        return [{**self._head(), "choices": choices, **self._tail()}]

    def _blocked(self) -> dict[str, Any]:
        """What a response without candidates comes to: the question was refused."""
        feedback = self._rest.get("promptFeedback")
        reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
        if not is_text(reason):
            raise unreadable("the provider's answer holds no candidate and does not say why")
        choice = {
            "index": number(0),
            "delta": {"role": "assistant", "content": None},
            "finish_reason": "content_filter",
            "native_finish_reason": reason,
        }
        return {**self._head(), "choices": [choice], **self._tail()}

    def _head(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": number(self._created),
            "model": self._model,
        }

    def _tail(self) -> dict[str, Any]:
        tail: dict[str, Any] = {}
        if "usageMetadata" in self._rest:
            said = as_object(self._rest["usageMetadata"], "usage")
            asked = as_count(said.get("promptTokenCount"), "a count")
            asked += as_count(said.get("toolUsePromptTokenCount"), "a count")
            thought, cached = said.get("thoughtsTokenCount"), said.get("cachedContentTokenCount")
            answered = as_count(said.get("candidatesTokenCount"), "a count") + as_count(thought, "a count")
            tail["usage"] = usage(
                asked,
                answered,
                None if cached is None else as_count(cached, "a count"),
                None if thought is None else as_count(thought, "a count"),
            )
        return {**tail, PROVIDER_FIELDS: self._rest} if self._rest else tail


class _Choice:
    """One candidate as it comes."""

    def __init__(self, place: int, response: str) -> None:
        self._place = place
        self._response = response
        self._calls = 0
        self._signatures = 0
        self._images = 0
        self._rest: dict[str, Any] = {}
        self.finish: str | None = None
        """Its finish reason, in the provider's word."""

    def delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"index": number(self._place), "delta": delta, "finish_reason": None}

    def take(self, candidate: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The deltas of a piece. Raises ``dialect.answer``."""
        self._rest |= {name: item for name, item in candidate.items() if name not in _CANDIDATE and item is not None}
        content = as_object(candidate.get("content") or {}, "a content")
        only(content, {"role", "parts"})
        parts = as_list(content.get("parts") or [], "parts")
        if parts and self.finish is not None:
            raise unreadable("something follows the end of a candidate")
        deltas = [delta for part in parts for delta in self._part(as_object(part, "a part"))]
        if candidate.get("finishReason") is not None:
            self.finish = as_text(candidate["finishReason"], "a finish reason")
        return deltas

    def last(self) -> dict[str, Any]:
        """Why it ended."""
        native = self.finish or ""
        reason = "tool_calls" if native == "STOP" and self._calls else FINISHES.get(native, native)
        choice = {
            "index": number(self._place),
            "delta": {},
            "finish_reason": reason,
            "native_finish_reason": native,
        }
        return {**choice, PROVIDER_FIELDS: self._rest} if self._rest else choice

    def _part(self, part: Mapping[str, Any]) -> list[dict[str, Any]]:
        signature = part.get("thoughtSignature")
        if signature is not None:
            as_text(signature, "a signature")
        if part.get("functionCall") is not None:
            only(part, {"functionCall", "thoughtSignature"})
            return [self._call(as_object(part["functionCall"], "a call"), signature)]
        if part.get("inlineData") is not None:
            only(part, {"inlineData", "thoughtSignature"})
            return [*self._image(as_object(part["inlineData"], "data")), *self._signed(signature)]
        if part.get("text") is None:
            names = ", ".join(sorted(part))[:64]
            raise unreadable(f"a part of {names!r} has no place in a chat completion")
        only(part, {"text", "thought", "thoughtSignature"})
        text = as_text(part["text"], "a text")
        name = "reasoning_content" if part.get("thought") is True else "content"
        return [*([{name: text}] if text else []), *self._signed(signature)]

    def _call(self, call: Mapping[str, Any], signature: object) -> dict[str, Any]:
        only(call, {"id", "name", "args"})
        text = canonical.encode_exact(as_object(call.get("args") or {}, "a call's arguments")).decode()
        place = self._calls
        self._calls += 1
        made = f"{MADE}{self._response}_{self._place}_{place}"
        told: dict[str, Any] = {
            "index": number(place),
            "id": as_text(call["id"], "a call's id") if call.get("id") else made,
            "type": "function",
            "function": {"name": as_text(call.get("name"), "a call's name"), "arguments": text},
        }
        if signature is not None:
            told["extra_content"] = {"google": {"thought_signature": signature}}
        return {"tool_calls": [told]}

    def _image(self, data: Mapping[str, Any]) -> list[dict[str, Any]]:
        only(data, {"mimeType", "data"})
        kind, text = as_text(data.get("mimeType"), "a media type"), as_text(data.get("data"), "data")
        if not kind.startswith("image/"):
            raise unreadable(f"data of type {kind[:64]!r} has no place in a chat completion")
        place = self._images
        self._images += 1
        return [
            {
                "images": [
                    {
                        "index": number(place),
                        "type": "image_url",
                        "image_url": {"url": f"data:{kind};base64,{text}"},
                    }
                ]
            }
        ]

    def _signed(self, signature: object) -> list[dict[str, Any]]:
        if signature is None:
            return []
        place = self._signatures
        self._signatures += 1
        told = {"index": number(place), "type": "reasoning.encrypted", "format": FORMAT, "data": signature}
        return [{"reasoning_details": [told]}]
