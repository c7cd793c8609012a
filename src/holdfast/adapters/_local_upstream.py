"""Something in this process that answers, as an upstream: what the built-in responder and the tiny chat model share.

It takes the OpenAI shapes for chat and text completions, whole or streamed, and gives the same text either way.

* A stream carries one piece of the answer a chunk; ``usage`` counts pieces in the text of all messages and in the
  answer, and ``max_tokens`` limits them. What a piece is, the voice says.
* ``n`` choices are ``n`` times the same answer, because there is only one. ``tools`` are accepted, and called where the
  voice follows a script (``builtin.script``).
  ``response_format`` other than text is refused, because it could not be kept.
* Sampling parameters are checked as a provider would and change nothing. Unknown parameters are accepted.
* A malformed request is refused with the status and error body that a provider would send (``upstream.status``).

Not covered: log probabilities, images and audio (said so when asked), token-id prompts, suffixes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.adapters._local_requests import BadRequestError, Fields, read_messages, refusing
from holdfast.adapters.builtin.responder import Turn
from holdfast.adapters.builtin.script import Call, Followed, ScriptError
from holdfast.core.dialects.openai import LOCAL, Profile
from holdfast.errors import UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.upstream import (
    EventStream,
    ModelInfo,
    UpstreamAnswer,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)

OWNER = "holdfast"
DEFAULT_PACE_TOKENS_S = 60.0
"""About as fast as a small hosted model; 0 streams without pauses."""

_MAX_CHOICES = 8
_MAX_PROMPTS = 16
_MAX_STOPS = 4


class Voice(Protocol):
    """What answers."""

    model_id: str
    created: int
    """Unix seconds; a fixed claim, not a measurement."""
    noun: str
    """What it is called in a message, for example ``the built-in responder``."""
    computes: bool
    """Whether it takes so long that it must leave the event loop."""

    def fingerprint(self) -> str:
        """Changes whenever an answer can."""
        ...

    def say(self, turns: Sequence[Turn]) -> str:
        """The answer to a conversation."""
        ...

    def split(self, text: str) -> list[str]:
        """A text in pieces that a stream carries; together they are the text."""
        ...

    def follow(self, messages: Sequence[Mapping[str, Any]], tools: Iterable[str]) -> Followed | None:
        """The next step of a script that a conversation declares; None where there is none. Raises
        :class:`ScriptError`."""
        ...


@dataclass(frozen=True, slots=True)
class _Job:
    """A checked request: what to answer and how."""

    chat: bool
    prompts: tuple[tuple[Turn, ...], ...]
    echo: bool
    n: int
    stop: tuple[str, ...]
    max_tokens: int | None
    include_usage: bool
    prompt_tokens: int
    followed: Followed | None = None
    """What a script says next, instead of the voice."""


@dataclass(frozen=True, slots=True)
class _Choice:
    index: int
    pieces: tuple[str, ...]
    finish_reason: str
    counted: int
    """Tokens of the answer, without an echoed prompt."""
    calls: tuple[dict[str, Any], ...] = ()

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class LocalUpstream:
    """Implements :class:`holdfast.ports.upstream.Upstream` in this process.

    ``new_id`` gives a fresh identifier for every answer's ``id``; ``clock`` gives ``created`` and the pace.
    """

    def __init__(
        self,
        voice: Voice,
        clock: Clock,
        new_id: Callable[[], str],
        *,
        code: str,
        pace_tokens_s: float = DEFAULT_PACE_TOKENS_S,
    ) -> None:
        if pace_tokens_s < 0:
            raise UsageError("upstream.config", "a pace is zero or more tokens a second", param="pace_tokens_s")
        self._voice = voice
        self._clock = clock
        self._new_id = new_id
        self._code = code
        self._pace = pace_tokens_s
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._code!r}, {self._voice.fingerprint()})"

    @property
    def code(self) -> str:
        return self._code

    @property
    def dialect(self) -> Profile:
        return LOCAL

    async def models(self) -> list[ModelInfo]:
        self._check_open()
        return [ModelInfo(self._voice.model_id, OWNER, self._voice.created)]

    async def complete(self, path: str, body: bytes, *, timeout_s: float) -> UpstreamAnswer:  # noqa: ARG002 - never waits
        self._check_open()
        job = refusing(self._voice.noun, body, lambda request: _parse(self._voice, path, request))
        choices = await self._answer(job)
        whole = self._frame(job, "chat.completion" if job.chat else "text_completion")
        whole["choices"] = [
            {
                "index": choice.index,
                **({"message": _message(choice)} if job.chat else {"text": choice.text}),
                "logprobs": None,
                "finish_reason": choice.finish_reason,
            }
            for choice in choices
        ]
        whole["usage"] = _usage(job, choices)
        return UpstreamAnswer(200, "application/json", _dump(whole))

    def stream(self, path: str, body: bytes, *, timeout_s: float, idle_timeout_s: float) -> EventStream:  # noqa: ARG002 - never idle
        if path not in {"/chat/completions", "/completions"}:
            raise UsageError("upstream.path", "a body goes to /chat/completions or /completions", param="path")
        return self._events(path, body, timeout_s)

    async def close(self) -> None:
        self._closed = True

    async def _events(self, path: str, body: bytes, timeout_s: float) -> AsyncGenerator[bytes, None]:
        self._check_open()
        job = refusing(self._voice.noun, body, lambda request: _parse(self._voice, path, request))
        choices = await self._answer(job)
        frame = self._frame(job, "chat.completion.chunk" if job.chat else "text_completion")
        if job.include_usage:
            frame["usage"] = None
        started = self._clock.monotonic()
        sent = 0
        for choice in choices:
            if job.chat:
                yield _chunk(frame, choice.index, {"role": "assistant", "content": "", "refusal": None})
            for number, call in enumerate(choice.calls):
                yield _chunk(frame, choice.index, {"tool_calls": [{"index": number, **call}]})
            for piece in choice.pieces:
                await self._keep_pace(started, sent, timeout_s)
                sent += 1
                yield _chunk(frame, choice.index, {"content": piece} if job.chat else piece)
            yield _chunk(frame, choice.index, {} if job.chat else "", choice.finish_reason)
        if job.include_usage:
            yield _dump({**frame, "choices": [], "usage": _usage(job, choices)})

    async def _keep_pace(self, started: float, sent: int, timeout_s: float) -> None:
        """Wait until the next token is due; tokens that are late are sent at once."""
        if not self._pace:
            return
        now = self._clock.monotonic()
        due = started + sent / self._pace
        if due > started + timeout_s:
            await self._clock.sleep(max(0.0, started + timeout_s - now))
            raise UpstreamTimeoutError("the answer takes longer than its total time (total)", phase="total")
        if due > now:
            await self._clock.sleep(due - now)
        else:
            await asyncio.sleep(0)
        self._check_open()

    def _frame(self, job: _Job, kind: str) -> dict[str, Any]:
        return {
            "id": ("chatcmpl-" if job.chat else "cmpl-") + self._new_id(),
            "object": kind,
            "created": int(self._clock.now().timestamp()),
            "model": self._voice.model_id,
            "system_fingerprint": self._voice.fingerprint(),
        }

    async def _answer(self, job: _Job) -> list[_Choice]:
        if self._voice.computes:
            return await asyncio.to_thread(_answer, self._voice, job)
        if job.followed is not None and job.followed.calls:
            return [self._calling(job.followed.calls, number) for number in range(job.n)]
        return _answer(self._voice, job)

    def _calling(self, calls: Sequence[Call], index: int) -> _Choice:
        shown = tuple(
            {
                "id": f"call_{self._new_id()}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        )
        counted = sum(len(self._voice.split(call.arguments)) for call in calls)
        return _Choice(index, (), "tool_calls", counted, shown)

    def _check_open(self) -> None:
        if self._closed:
            raise UpstreamUnreachableError("this upstream was closed", sent=False)


# Answering.


def _answer(voice: Voice, job: _Job) -> list[_Choice]:
    choices: list[_Choice] = []
    for turns in job.prompts:
        said = turns[-1].text if job.echo else ""
        whole = voice.say(turns) if job.followed is None else job.followed.text
        text, finish_reason = _cut_at_stop(whole, job.stop)
        pieces = voice.split(text)
        if job.max_tokens is not None and len(pieces) > job.max_tokens:
            pieces, finish_reason = pieces[: job.max_tokens], "length"
        shown = ([said] if said else []) + pieces
        choices += [_Choice(len(choices) + number, tuple(shown), finish_reason, len(pieces)) for number in range(job.n)]
    return choices


def _cut_at_stop(text: str, stops: tuple[str, ...]) -> tuple[str, str]:
    ends = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    return (text[: min(ends)] if ends else text), "stop"


def _message(choice: _Choice) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
    return said if not choice.calls else {**said, "content": None, "tool_calls": list(choice.calls)}


def _usage(job: _Job, choices: list[_Choice]) -> dict[str, int]:
    completion = sum(choice.counted for choice in choices)
    return {
        "prompt_tokens": job.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": job.prompt_tokens + completion,
    }


def _chunk(frame: dict[str, Any], index: int, said: dict[str, Any] | str, finish_reason: str | None = None) -> bytes:
    content = {"delta": said} if isinstance(said, dict) else {"text": said}
    choice = {"index": index, **content, "logprobs": None, "finish_reason": finish_reason}
    return _dump({**frame, "choices": [choice]})


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


# Reading the request.


def _parse(voice: Voice, path: str, request: dict[str, Any]) -> _Job:
    if path not in {"/chat/completions", "/completions"}:
        raise BadRequestError("Unknown request path.", status=404)
    fields = Fields(request)
    model = request.get("model")
    if not isinstance(model, str):
        raise BadRequestError("You must provide a model parameter.", param="model")
    if model != voice.model_id:
        raise BadRequestError(
            f"The model '{model[:64]}' does not exist here; this upstream serves '{voice.model_id}'.",
            param="model",
            code="model_not_found",
            status=404,
        )
    chat = path == "/chat/completions"
    if chat:
        turns = read_messages(request.get("messages"))
        prompts: tuple[tuple[Turn, ...], ...] = (turns,)
        prompt_tokens = sum(len(voice.split(turn.text)) for turn in turns)
    else:
        texts = _prompts(request.get("prompt"))
        prompts = tuple((Turn("user", text),) for text in texts)
        prompt_tokens = sum(len(voice.split(text)) for text in texts)
    fields.number("temperature", 0, 2)
    fields.number("top_p", 0, 1)
    fields.number("presence_penalty", -2, 2)
    fields.number("frequency_penalty", -2, 2)
    fields.boolean("stream")
    _check_response_format(voice, request.get("response_format"))
    options = request.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise BadRequestError("'stream_options' is an object.", param="stream_options")
    followed = _follow(voice, request) if chat else None
    limits = [fields.integer(name, 1, 1 << 31) for name in ("max_completion_tokens", "max_tokens")]
    return _Job(
        chat=chat,
        prompts=prompts,
        echo=not chat and fields.boolean("echo"),
        n=fields.integer("n", 1, _MAX_CHOICES) or 1,
        stop=_stops(request.get("stop")),
        max_tokens=min((limit for limit in limits if limit is not None), default=None),
        include_usage=Fields(options or {}).boolean("include_usage"),
        prompt_tokens=prompt_tokens,
        followed=followed,
    )


def _follow(voice: Voice, request: Mapping[str, Any]) -> Followed | None:
    tools = request.get("tools")
    listed = [item.get("function") for item in tools if isinstance(item, dict)] if isinstance(tools, list) else []
    names = [str(item.get("name")) for item in listed if isinstance(item, dict)]
    try:
        return voice.follow(request["messages"], names)
    except ScriptError as error:
        raise BadRequestError(f"The script cannot be followed: {error}.", param="messages") from error


def _prompts(value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not 1 <= len(texts) <= _MAX_PROMPTS:
        raise BadRequestError(f"'prompt' is a string or a list of 1 to {_MAX_PROMPTS} strings.", param="prompt")
    if not all(isinstance(text, str) for text in texts):
        raise BadRequestError("'prompt' as token ids is not supported by this model.", param="prompt")
    return texts


def _stops(value: Any) -> tuple[str, ...]:
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if (
        not isinstance(stops, list)
        or len(stops) > _MAX_STOPS
        or not all(isinstance(stop, str) and stop for stop in stops)
    ):
        raise BadRequestError(f"'stop' is a string or a list of up to {_MAX_STOPS} strings.", param="stop")
    return tuple(stops)


def _check_response_format(voice: Voice, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise BadRequestError("'response_format' is an object with a type.", param="response_format")
    if value["type"] != "text":
        raise BadRequestError(
            f"'{voice.model_id}' answers in prose only; it cannot keep to a response format.", param="response_format"
        )
