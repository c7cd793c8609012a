"""A place that answers chats: a hosted provider, vLLM, Ollama, llama.cpp, the built-in responder.

How it wants to be asked is its ``dialect``: a pure function that the caller applies before it binds what leaves.

Rules every adapter keeps, and the contract suite checks:

1. The request body is sent exactly as given: no adapter rewrites. What an OpenAI-shaped provider answers is handed back
   exactly as it came; what another answers, as its dialect shapes it (``spec/dialects.md``), by a pure function.
2. ``complete`` returns only for a 2xx answer whose body arrived whole; every other outcome is one of the errors below.
3. ``stream`` yields the payload of each SSE event in order. It ends normally only when the provider said ``[DONE]``, or
   closed the stream cleanly after every choice it had begun carried a ``finish_reason``. Whatever was yielded before an
   error really arrived; an error never takes it back.
4. Closing the iterator (``aclose``, or cancelling the task that waits on it) drops the connection to the provider, so
   that a client that went away does not keep a model busy.
5. No error, log line or ``repr`` of an adapter holds a credential, and no error holds the provider's address: errors
   reach the caller, who may know an upstream by its code only.

What this port does not do: choose a provider, retry, count tokens, or judge what the answer says. A payload is known to
be one UTF-8 JSON object; its fields are the caller's to parse, strictly.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from holdfast.core.dialects import Dialect
from holdfast.errors import RefusedError, UnavailableError

TimeoutPhase = Literal["connect", "first_byte", "idle", "total"]
"""Which wait ran out: for the connection, for the answer's first byte, between two events, or for the whole."""

_HTTP_TOO_MANY_REQUESTS = 429
_PASSED_ON = frozenset({400, 404, 409, 413, 415, 422, _HTTP_TOO_MANY_REQUESTS})
"""Provider statuses that tell the *caller* something. 401, 402 and 403 speak of our own credential: they become 502."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that an upstream offers, as it claims it to be."""

    id: str
    """The label a caller writes in a request's ``model`` field."""
    owned_by: str
    """Who the upstream says owns it; ``""`` when it says nothing."""
    created: int
    """Unix seconds as claimed; 0 when the upstream says nothing."""
    provider_id: str = ""
    """What the provider calls it; ``""`` when that is ``id``. Where it differs, the caller rewrites the body's
    ``model`` before it calls ``complete`` or ``stream``, and says so in the run's ``route``."""
    outputs: tuple[str, ...] = ()
    """What it says it can give (``text``, ``image``, …), as claimed; empty when the upstream says nothing."""


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """A whole non-streaming answer, as it came."""

    status: int
    """200 to 299; anything else is raised as :class:`UpstreamStatusError`."""
    content_type: str
    body: bytes


class UpstreamUnreachableError(UnavailableError):
    """``upstream.unreachable``: no connection, or it broke before the answer began. Nothing was answered."""

    def __init__(self, message: str, *, hint: str = "", sent: bool = True) -> None:
        super().__init__("upstream.unreachable", message, hint=hint, status=502)
        self.sent = sent
        """Whether bytes of the request may have left for it: False only where it is known that none did."""


class UpstreamTimeoutError(UnavailableError):
    """``upstream.timeout``: a wait ran out; ``phase`` says which."""

    def __init__(self, message: str, *, phase: TimeoutPhase, hint: str = "") -> None:
        super().__init__("upstream.timeout", message, hint=hint, status=504)
        self.phase = phase
        self.sent = phase != "connect"


class UpstreamProtocolError(UnavailableError):
    """``upstream.protocol``: broken HTTP or SSE, invalid JSON, an oversized event, or an answer cut short."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__("upstream.protocol", message, hint=hint, status=502)


class UpstreamStatusError(RefusedError):
    """``upstream.status``: the provider refused, by its HTTP status or by an error event inside its stream."""

    def __init__(
        self,
        message: str,
        *,
        provider_status: int,
        body: bytes = b"",
        content_type: str = "",
        retry_after_s: float | None = None,
        hint: str = "",
    ) -> None:
        status = provider_status if provider_status in _PASSED_ON else 502
        super().__init__("upstream.status", message, hint=hint, status=status)
        self.provider_status = provider_status
        """The HTTP status the provider answered with; for an error event, the code inside it, or 500."""
        self.body = body
        """The provider's own error body, cut to 64 KiB."""
        self.content_type = content_type
        self.retry_after_s = retry_after_s
        """The provider's ``Retry-After`` in seconds, if it sent one as a number."""


class UpstreamTooLargeError(RefusedError):
    """``upstream.too_large``: the answer passed the configured total; what came before stays valid."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__("upstream.too_large", message, hint=hint, status=502)


UPSTREAM_ERRORS = (
    UpstreamUnreachableError,
    UpstreamTimeoutError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTooLargeError,
)
"""The same as a tuple, for ``except UPSTREAM_ERRORS``."""


def may_have_sent(error: BaseException) -> bool:
    """Whether bytes of the request may have left before this went wrong; where nobody can tell, they may."""
    return error.sent if isinstance(error, UpstreamUnreachableError | UpstreamTimeoutError) else True


class EventStream(Protocol):
    """The events of one streamed answer, an ``AsyncIterator[bytes]``; close it when you stop before its end."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Itself; there is only one pass."""
        ...

    async def __anext__(self) -> bytes:
        """The next payload. Raises ``StopAsyncIteration`` at a proper end, and the errors above."""
        ...

    async def aclose(self) -> None:
        """Stop, and drop the connection unless the answer had ended. Never raises; a second call does nothing."""
        ...


class Upstream(Protocol):
    """One place that answers. Safe to use from many tasks of one event loop at once."""

    @property
    def code(self) -> str:
        """Short id, ``[a-z0-9-]{1,32}``; may be logged and may stand in a statement."""
        ...

    @property
    def dialect(self) -> Dialect:
        """What turns an OpenAI-shaped document into the body that leaves, and the path it goes to."""
        ...

    async def models(self) -> list[ModelInfo]:
        """What the upstream offers right now, in its own order."""
        ...

    async def complete(self, path: str, body: bytes, *, timeout_s: float) -> UpstreamAnswer:
        """Send ``body`` (a JSON object, bytes as they shall arrive) to ``path`` and wait for the whole answer.

        ``path`` is that of the dialect; ``timeout_s`` bounds everything together.
        """
        ...

    def stream(self, path: str, body: bytes, *, timeout_s: float, idle_timeout_s: float) -> EventStream:
        """Send ``body`` (which asks for a stream) and yield each event's exact ``data`` payload, without ``[DONE]``.

        Nothing is sent before the first ``__anext__``. ``timeout_s`` bounds the whole stream, ``idle_timeout_s`` the
        wait for the first byte and between any two reads.
        """
        ...

    async def close(self) -> None:
        """Close every connection; calls under way fail with ``upstream.unreachable``."""
        ...
