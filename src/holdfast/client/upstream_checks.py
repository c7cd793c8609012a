"""What an upstream does when it is really asked: one probe a question, each with its own outcome, and no sum of them.

Every probe goes the way that a gateway's request goes: through the upstream's dialect and adapter. A request is small
and its answer is limited to :data:`MOST_TOKENS` tokens, so that a check costs next to nothing; it is not free.

A probe says that this one question was answered so this once. It does not say that the model is the one that was named,
that its answers are right, or that the next will be alike.
"""

from __future__ import annotations

import json
import struct
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.core import canonical
from holdfast.core.canonical import NumberText
from holdfast.core.dialects import Prepared
from holdfast.errors import HoldfastError
from holdfast.ports.upstream import (
    ModelInfo,
    Upstream,
    UpstreamStatusError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)

State = Literal["works", "refused", "ignored", "differs", "silent", "skipped"]
"""``differs``: it answered, and not what was asked for. ``silent``: nothing came, so nobody can tell."""
PROBES = ("models", "chat", "usage", "stream", "stream-usage", "tools", "schema", "image")
MOST_TOKENS = 256
"""Of an answer; models that think before they speak need some of them for that."""
REQUESTS = 5
"""That cost something, of one check."""
_TOOL = {
    "type": "function",
    "function": {
        "name": "report",
        "description": "Report a word.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}
_SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one probe."""

    probe: str
    state: State
    says: str
    by: str = ""
    """Who refused: ``upstream``, or ``gateway`` where it cannot be asked at all."""
    code: str = ""

    def to_json(self) -> dict[str, str]:
        return {"probe": self.probe, "state": self.state, "says": self.says, "by": self.by, "code": self.code}


async def check_upstream(upstream: Upstream, label: str | None, *, timeout_s: float) -> AsyncIterator[Outcome]:
    """The outcomes of :data:`PROBES`, each as soon as it is known. ``label`` is the model to ask; else the first that
    is offered."""
    try:
        offered = await upstream.models()
    except HoldfastError as error:
        yield _failed("models", error)
        for probe in PROBES[1:]:
            yield Outcome(probe, "skipped", "no model is known to ask")
        return
    model = next((item for item in offered if label in (None, item.id)), None)
    if model is None:
        says = f"{len(offered)} models, and none is called {label!r}" if offered else "it offers no model"
        yield Outcome("models", "differs", says)
        for probe in PROBES[1:]:
            yield Outcome(probe, "skipped", "no model is known to ask")
        return
    yield Outcome("models", "works", f"{len(offered)} offered; {model.id!r} is asked")
    asking = _Asking(upstream, model, timeout_s)
    for outcome in await asking.chat():
        yield outcome
    for outcome in await asking.stream():
        yield outcome
    yield await asking.tools()
    yield await asking.schema()
    yield await asking.image()


class _Asking:
    """One model, asked."""

    def __init__(self, upstream: Upstream, model: ModelInfo, timeout_s: float) -> None:
        self._upstream = upstream
        self._model = model.provider_id or model.id
        self._timeout_s = timeout_s

    def _prepare(self, content: object, **more: Any) -> Prepared:
        document = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": NumberText(str(MOST_TOKENS)),
            **more,
        }
        return self._upstream.dialect.prepare("chat.completions", document)

    async def _ask(self, prepared: Prepared) -> Mapping[str, Any]:
        body = canonical.encode_exact(prepared.document)
        answer = await self._upstream.complete(prepared.path, body, timeout_s=self._timeout_s)
        value: Mapping[str, Any] = canonical.decode_exact(answer.body)
        return value

    async def chat(self) -> list[Outcome]:
        try:
            answer = await self._ask(self._prepare("Reply with the word ready."))
            message, finish = _first(answer)
        except HoldfastError as error:
            return [_failed("chat", error), Outcome("usage", "skipped", "there is no answer to count")]
        text = message.get("content")
        said = f"answered {len(text)} characters" if isinstance(text, str) and text else "answered without a text"
        claimed = str(answer.get("model"))[:64]
        told = Outcome(
            "chat", "works" if finish else "differs", f"{said}, ended by {finish!r}, calls itself {claimed!r}"
        )
        return [told, _usage("usage", answer.get("usage"))]

    async def stream(self) -> list[Outcome]:
        prepared = self._prepare("Reply with the word ready.", stream=True, stream_options={"include_usage": True})
        body = canonical.encode_exact(prepared.document)
        events = self._upstream.stream(prepared.path, body, timeout_s=self._timeout_s, idle_timeout_s=self._timeout_s)
        count, finish, used = 0, None, None
        try:
            async for payload in events:
                value = canonical.decode_exact(payload)
                count += 1
                used = value.get("usage") or used
                for choice in value.get("choices") or ():
                    finish = choice.get("finish_reason") or finish
        except HoldfastError as error:
            return [_failed("stream", error), Outcome("stream-usage", "skipped", "there is no answer to count")]
        finally:
            await events.aclose()
        state: State = "works" if finish else "differs"
        return [
            Outcome("stream", state, f"{count} events, ended by {finish!r}"),
            _usage("stream-usage", used),
        ]

    async def tools(self) -> Outcome:
        return await self._tried(
            "tools", "Report the word ready.", _called, "tools", "tool_choice", tools=[_TOOL], tool_choice="required"
        )

    async def schema(self) -> Outcome:
        wanted = {"type": "json_schema", "json_schema": {"name": "report", "strict": True, "schema": _SCHEMA}}
        return await self._tried(
            "schema", "Give the word ready as JSON.", _fitting, "response_format", response_format=wanted
        )

    async def image(self) -> Outcome:
        url = "data:image/png;base64," + b64encode(red_square()).decode()
        content = [
            {"type": "text", "text": "Which colour is this? One word."},
            {"type": "image_url", "image_url": {"url": url}},
        ]
        return await self._tried("image", content, _spoken)

    async def _tried(self, probe: str, content: object, look: Any, *names: str, **more: Any) -> Outcome:
        """Ask for something; ``names`` are the parameters that it takes."""
        try:
            prepared = self._prepare(content, **more)
            if ignored := sorted(set(prepared.ignored) & set(names)):
                return Outcome(probe, "ignored", f"it does not heed {', '.join(ignored)}; nothing was asked")
            message, _ = _first(await self._ask(prepared))
        except HoldfastError as error:
            return _failed(probe, error)
        fits, says = look(message)
        return Outcome(probe, "works" if fits else "differs", says)


def _first(answer: Mapping[str, Any]) -> tuple[Mapping[str, Any], str | None]:
    """Message and finish reason of the first choice; empty where there is none."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    finish = choice.get("finish_reason")
    return message if isinstance(message, dict) else {}, str(finish) if finish else None


def _usage(probe: str, used: object) -> Outcome:
    if not isinstance(used, dict):
        return Outcome(probe, "differs", "no usage is reported")
    counts = ", ".join(f"{name} {used.get(name)}" for name in ("prompt_tokens", "completion_tokens"))
    return Outcome(probe, "works", counts)


def _called(message: Mapping[str, Any]) -> tuple[bool, str]:
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and function.get("name") == "report":
            fits = _has_word(function.get("arguments"))
            return fits, "called it with the arguments it takes" if fits else "called it with other arguments"
    return False, "answered without calling the tool that it had to"


def _fitting(message: Mapping[str, Any]) -> tuple[bool, str]:
    fits = _has_word(message.get("content"))
    return fits, "the answer fits the schema" if fits else "the answer does not fit the schema"


def _spoken(message: Mapping[str, Any]) -> tuple[bool, str]:
    text = message.get("content")
    fits = isinstance(text, str) and bool(text.strip())
    return fits, f"of a red square it says {str(text)[:40]!r}" if fits else "answered without a text"


def _has_word(text: object) -> bool:
    try:
        value = canonical.decode(str(text).encode()) if isinstance(text, str) else None
    except HoldfastError:
        return False
    return isinstance(value, dict) and isinstance(value.get("word"), str)


def _failed(probe: str, error: HoldfastError) -> Outcome:
    if isinstance(error, UpstreamStatusError):
        says = f"answered {error.provider_status}: {_words(error.body)}"
        return Outcome(probe, "refused", says, "upstream", error.code)
    if isinstance(error, UpstreamUnreachableError | UpstreamTimeoutError):
        return Outcome(probe, "silent", error.message, "", error.code)
    if error.code == "request.dialect":
        return Outcome(probe, "refused", error.message, "gateway", error.code)
    return Outcome(probe, "differs", error.message, "", error.code)


def _words(body: bytes) -> str:
    """What an error body says, in one line."""
    try:
        value = json.dumps(canonical.decode(body), ensure_ascii=False)
    except HoldfastError:
        value = body.decode("utf-8", "replace")
    return value[:200]


def red_square(side: int = 16) -> bytes:
    """A small red PNG (ISO/IEC 15948): 8-bit truecolour, no filter."""
    rows = (b"\x00" + b"\xff\x00\x00" * side) * side

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
