"""Any OpenAI-compatible server as an upstream: hosted providers, vLLM, llama.cpp, Ollama, Ray Serve, another gateway.

The rules are the port's and those of ``_upstream``. An error event inside a stream, in any of the shapes seen in the
wild (``event: error``, or a payload with an ``error`` member), is the provider's refusal and ends the stream as
``upstream.status``.

What it does not do: retry, fall back, or check what an answer says.
"""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.adapters._http import HTTPClient
from holdfast.adapters._upstream import (
    MAX_ERROR_BYTES,
    Events,
    OpenAIUpstreamConfig,
    UpstreamClient,
    make_origin,
    named,
    offered,
    require_success,
)
from holdfast.core.dialects.openai import PLAIN, Profile
from holdfast.errors import UsageError
from holdfast.ports.upstream import ModelInfo, UpstreamAnswer, UpstreamProtocolError, UpstreamStatusError

__all__ = ["PATHS", "OpenAIEvents", "OpenAIUpstream", "OpenAIUpstreamConfig", "make_origin"]

MAX_OUTPUTS = 8
"""Of what a provider says a model can give, so many words are kept."""
PATHS = frozenset({"/chat/completions", "/completions", "/images/generations", "/embeddings"})
"""The only paths a body is sent to."""

_NO_LISTING = frozenset({404, 405, 501})


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None


class _Frame(msgspec.Struct):
    """What the adapter itself needs of an event; every other member is skipped but must be valid JSON."""

    choices: list[_Choice] | None = None
    error: Any = None


class _Listed(msgspec.Struct):
    id: str
    owned_by: str | None = None
    created: int | float | None = None
    architecture: dict[str, Any] | None = None
    """OpenRouter's: among it ``output_modalities``, a list of words."""


class _Listing(msgspec.Struct):
    data: list[_Listed]


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_listing = msgspec.json.Decoder(_Listing).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class OpenAIUpstream(UpstreamClient):
    """Implements :class:`holdfast.ports.upstream.Upstream`."""

    def __init__(self, config: OpenAIUpstreamConfig, profile: Profile = PLAIN) -> None:
        super().__init__(config)
        self.dialect = profile

    async def models(self) -> list[ModelInfo]:
        response = await self._get("/models")
        labels = self._config.models
        if labels and response.status in _NO_LISTING:
            return [named(label, ModelInfo(name, "", 0)) for label, name in labels.items()]
        require_success(response)
        try:
            listed = _decode_listing(response.body).data
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UpstreamProtocolError("the provider's list of models is not OpenAI-shaped") from error
        return offered(labels, map(_model, listed))

    async def complete(self, path: str, body: bytes, *, timeout_s: float) -> UpstreamAnswer:
        _check_path(path)
        response = await self._post(path, body, timeout_s)
        try:
            _decode_object(response.body)
            if not response.body.isascii():
                response.body.decode("utf-8")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UpstreamProtocolError("the provider's answer is not a JSON object") from error
        return UpstreamAnswer(response.status, response.headers.get("content-type", ""), response.body)

    def stream(self, path: str, body: bytes, *, timeout_s: float, idle_timeout_s: float) -> OpenAIEvents:
        _check_path(path)
        return OpenAIEvents(
            self._client,
            self._prefix + path,
            body,
            timeout_s=timeout_s,
            idle_timeout_s=idle_timeout_s,
            max_event_bytes=self._config.max_event_bytes,
        )


def _check_path(path: str) -> None:
    if path not in PATHS:
        raise UsageError("upstream.path", "a body goes to /chat/completions or /completions", param="path")


class OpenAIEvents(Events):
    """The events of one streamed answer; see :class:`holdfast.ports.upstream.EventStream`."""

    __slots__ = ("_finished", "_open_choices")

    def __init__(
        self,
        client: HTTPClient,
        target: str,
        body: bytes,
        *,
        timeout_s: float,
        idle_timeout_s: float,
        max_event_bytes: int,
    ) -> None:
        super().__init__(
            client,
            target,
            body,
            timeout_s=timeout_s,
            idle_timeout_s=idle_timeout_s,
            max_event_bytes=max_event_bytes,
        )
        self._open_choices: set[int] = set()
        self._finished: set[int] = set()
        """Choices that have carried a ``finish_reason``."""

    async def __anext__(self) -> bytes:
        while True:
            if self._ready:
                name, payload = self._ready.popleft()
                if payload == b"[DONE]":
                    self._end()
                    raise StopAsyncIteration
                try:
                    self._check(name, payload)
                except BaseException:
                    await self.aclose()
                    raise
                return payload
            if self._done:
                raise StopAsyncIteration
            try:
                if not await self._read():
                    self._ended()
            except BaseException:
                await self.aclose()
                raise

    def _ended(self) -> None:
        """Decide whether the stream's end was a clean one."""
        rest = self._parser.rest.strip(b"\n")
        if rest in {b"data: [DONE]", b"data:[DONE]"}:
            self._end()
        elif rest or not self._finished or self._open_choices:
            raise UpstreamProtocolError("the provider's stream ended before its answer did")
        else:
            self._end()

    def _check(self, name: bytes, payload: bytes) -> None:
        try:
            frame = _decode_frame(payload)
            if not payload.isascii():
                payload.decode("utf-8")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            if name == b"error":
                raise _error_event(payload, None) from None
            raise UpstreamProtocolError("an event's data is not an OpenAI-shaped JSON object") from error
        if frame.error is not None or name == b"error":
            raise _error_event(payload, frame.error)
        if frame.choices:
            for choice in frame.choices:
                if choice.finish_reason:
                    self._finished.add(choice.index)
                    self._open_choices.discard(choice.index)
                elif choice.index not in self._finished:
                    self._open_choices.add(choice.index)


def _error_event(payload: bytes, error: Any) -> UpstreamStatusError:
    code = error.get("code") if isinstance(error, dict) else None
    return UpstreamStatusError(
        "the provider reported an error inside its stream",
        provider_status=code if isinstance(code, int) and 400 <= code <= 599 else 500,
        body=payload[:MAX_ERROR_BYTES],
        content_type="application/json",
    )


def _model(item: _Listed) -> ModelInfo:
    words = (item.architecture or {}).get("output_modalities")
    outputs = tuple(word for word in words if isinstance(word, str)) if isinstance(words, list) else ()
    return ModelInfo(item.id, item.owned_by or "", int(item.created or 0), outputs=outputs[:MAX_OUTPUTS])
