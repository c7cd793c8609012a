"""Providers whose documents have another shape than OpenAI's: what leaves is sent as it is, what comes is shaped.

The body is the provider's own document, made before (``core.dialects``) so that it could be bound: it leaves byte for
byte. Answers are shaped by the dialect and nothing else, whole or event by event as they come.

An answer that cannot be shaped is ``upstream.protocol``; an error that the provider reports inside a stream is
``upstream.status``, as is one that comes with a status.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from holdfast.adapters._http import HTTPClient
from holdfast.adapters._upstream import MAX_ERROR_BYTES, Events, OpenAIUpstreamConfig, UpstreamClient
from holdfast.core import canonical
from holdfast.core.dialects import Reader, Speaking
from holdfast.errors import MalformedError, RefusedError, UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.upstream import UpstreamAnswer, UpstreamProtocolError, UpstreamStatusError


class DialectUpstream(UpstreamClient):
    """Implements :class:`holdfast.ports.upstream.Upstream` but for ``models``. ``paths`` are those that a body may go
    to; ``clock`` says when an answer came, as providers of this kind do not."""

    def __init__(
        self,
        config: OpenAIUpstreamConfig,
        clock: Clock,
        dialect: Speaking,
        paths: re.Pattern[str],
        *,
        key_field: tuple[str, str],
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(config, key_field=key_field, fields=fields)
        self.dialect = dialect
        self._paths = paths
        self._clock = clock

    async def complete(self, path: str, body: bytes, *, timeout_s: float) -> UpstreamAnswer:
        response = await self._post(self._checked(path), body, timeout_s)
        try:
            shaped = self.dialect.whole(_object(response.body), self._now())
        except (MalformedError, RefusedError) as error:
            raise _fault(error, response.body) from error
        return UpstreamAnswer(response.status, "application/json", canonical.encode_exact(shaped))

    def stream(self, path: str, body: bytes, *, timeout_s: float, idle_timeout_s: float) -> DialectEvents:
        return DialectEvents(
            self._client,
            self._prefix + self._checked(path),
            body,
            self.dialect.reader(self._now()),
            timeout_s=timeout_s,
            idle_timeout_s=idle_timeout_s,
            max_event_bytes=self._config.max_event_bytes,
        )

    def _now(self) -> int:
        return int(self._clock.now().timestamp())

    def _checked(self, path: str) -> str:
        if self._paths.match(path) is None:
            raise UsageError("upstream.path", "a body goes where its dialect says", param="path")
        return path


class DialectEvents(Events):
    """The chunks of one streamed answer; see :class:`holdfast.ports.upstream.EventStream`."""

    __slots__ = ("_chunks", "_reader")

    def __init__(
        self,
        client: HTTPClient,
        target: str,
        body: bytes,
        reader: Reader,
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
        self._reader = reader
        self._chunks: deque[dict[str, Any]] = deque()

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self._done:
                raise StopAsyncIteration
            try:
                if self._ready:
                    self._take(self._ready.popleft()[1])
                elif not await self._read():
                    self._finish()
            except BaseException:
                await self.aclose()
                raise
        return canonical.encode_exact(self._chunks.popleft())

    async def aclose(self) -> None:
        self._chunks.clear()
        await super().aclose()

    def _take(self, payload: bytes) -> None:
        try:
            self._chunks.extend(self._reader.take(_object(payload)))
        except (MalformedError, RefusedError) as error:
            raise _fault(error, payload) from error
        if self._reader.over:
            self._finish()

    def _finish(self) -> None:
        """The provider said that this is all, or closed the stream."""
        if self._parser.rest.strip(b"\n") and not self._reader.over:
            raise UpstreamProtocolError("the provider's stream ended before its answer did")
        try:
            self._chunks.extend(self._reader.end())
        except MalformedError as error:
            raise _fault(error, b"") from error
        self._end()


def _object(data: bytes) -> dict[str, Any]:
    value = canonical.decode_exact(data)
    if not isinstance(value, dict):
        raise MalformedError("json.object", "expected a JSON object")
    return value


def _fault(error: MalformedError | RefusedError, body: bytes) -> UpstreamProtocolError | UpstreamStatusError:
    """What a dialect says of an answer, as an upstream's error."""
    if isinstance(error, MalformedError):
        return UpstreamProtocolError(f"the provider's answer cannot be shaped: {error.message}")
    return UpstreamStatusError(
        error.message, provider_status=error.status, body=body[:MAX_ERROR_BYTES], content_type="application/json"
    )
