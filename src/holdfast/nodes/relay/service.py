"""The relay's work: one sealed request in, one to a gateway, and its answer back as it comes (``spec/relay.md``).

What it knows of a request is split on purpose. Admission knows the account and the sizes; :class:`Passage` knows the
gateway and the sizes; nothing that is kept, logged or counted knows both. Not covered: HTTP (``app``).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from holdfast.errors import HoldfastError, UnavailableError, UsageError
from holdfast.nodes.relay.batches import Batch, Tick
from holdfast.nodes.relay.billing import FrameStripper, nonce_bytes
from holdfast.nodes.relay.targets import Target
from holdfast.ports.forward import Forwarded

_LOG = logging.getLogger("holdfast.relay")
GATEWAY_PATH = "/v1/ohttp"
"""Where a gateway takes encapsulated requests."""
REQUEST_TYPES = ("message/ohttp-req", "message/ohttp-chunked-req")
"""Media types of what is passed on."""
CHUNKED_ANSWER = "message/ohttp-chunked-res"
ANSWER_TYPES = ("message/ohttp-res", CHUNKED_ANSWER)
"""Media types that a caller may ask for, and those of sealed answers."""
_PLAIN_TYPES = ("application/json", "text/plain")
"""Media types of what a gateway may say unsealed: errors."""
UNKNOWN_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Sealed:
    """One encapsulated request as it is passed on: nothing of its caller's is left but these."""

    body: bytes
    content_type: str
    accept: str
    streamed: bool


def parse_sealed(headers: Mapping[bytes, bytes], body: bytes) -> Sealed:
    """The closed list of what goes to a gateway (``relay.md`` §2(3)), in one spelling each: no caller can be told by
    how its client writes them. Raises ``relay.media_type`` (415) or ``relay.empty``."""
    content_type = _media_type(headers.get(b"content-type", b""))
    if content_type not in REQUEST_TYPES:
        raise UsageError(
            "relay.media_type", f"a relay passes on {' and '.join(REQUEST_TYPES)}", status=415, hint="set content-type"
        )
    if not body:
        raise UsageError("relay.empty", "there is no encapsulated request in the body")
    wanted = [_media_type(item) for item in headers.get(b"accept", b"").split(b",")]
    accept = next((item for item in wanted if item in ANSWER_TYPES), ANSWER_TYPES[0])
    return Sealed(body, content_type, accept, headers.get(b"x-ohttp-stream", b"").lower() == b"true")


def _media_type(value: bytes) -> str:
    return value.partition(b";")[0].strip().lower().decode("latin-1")


class Passages:
    """Passes requests on."""

    def __init__(self, batch: Batch, tick: Tick, *, timeout_s: float, idle_timeout_s: float, at_once: int) -> None:
        self._batch = batch
        self._tick = tick
        self._timeout_s = timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._at_once = at_once
        self.open = 0
        """Requests under way."""

    async def begin(self, target: Target, sealed: Sealed) -> Passage:
        """Hand a request on; returns when the gateway begins to answer. Raises ``relay.busy`` or ``forward.*``."""
        if self.open >= self._at_once:
            raise UnavailableError("relay.busy", "too many requests are under way", hint="try again in a moment")
        self.open += 1
        try:
            await self._batch.wait()
            answer = await target.forwarder.post(
                GATEWAY_PATH,
                sealed.body,
                content_type=sealed.content_type,
                accept=sealed.accept,
                fields=(("x-ohttp-stream", "true"),) if sealed.streamed else (),
                timeout_s=self._timeout_s,
                idle_timeout_s=self._idle_timeout_s,
            )
        except BaseException as error:
            self.open -= 1
            if isinstance(error, HoldfastError):  # of the gateway, not of whoever asked
                _LOG.warning("a gateway fails: %s", error.code, extra={"code": error.code})
            raise
        return Passage(self, answer, _stripper(target, sealed, answer), self._tick)


def _stripper(target: Target, sealed: Sealed, answer: Forwarded) -> FrameStripper | None:
    """What takes billing frames out, where there can be any."""
    if not target.billing_frames or _answer_type(answer) != CHUNKED_ANSWER:
        return None
    size = nonce_bytes(sealed.body)
    return None if size is None else FrameStripper(size)


def _answer_type(answer: Forwarded) -> str:
    return _media_type(answer.headers.get("content-type", "").encode("latin-1", "replace"))


class Passage:
    """One answer under way."""

    def __init__(self, passages: Passages, answer: Forwarded, stripper: FrameStripper | None, tick: Tick) -> None:
        self._passages = passages
        self._answer = answer
        self._stripper = stripper
        self._tick = tick
        self._over = False

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def content_type(self) -> str:
        """One of a closed list (``relay.md`` §2(4))."""
        found = _answer_type(self._answer)
        return found if found in ANSWER_TYPES or found in _PLAIN_TYPES else UNKNOWN_TYPE

    @property
    def length(self) -> int | None:
        """Size of the body where the gateway said it and nothing is taken out of it."""
        said = self._answer.headers.get("content-length", "")
        return int(said) if said.isascii() and said.isdigit() and self._stripper is None else None

    @property
    def retry_after(self) -> bytes | None:
        """Seconds, where the gateway said so."""
        said = self._answer.headers.get("retry-after", "")
        return said.encode() if said.isascii() and said.isdigit() and len(said) <= 6 else None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes, or at ticks. Raises ``forward.*`` where it breaks off."""
        while piece := await self._answer.read():
            if self._stripper is not None:
                piece = self._stripper.feed(piece)
            if piece:
                await self._tick.wait()
                yield piece
        if self._stripper is not None and (rest := self._stripper.end()):
            yield rest

    def close(self) -> None:
        """The request is over; an answer that has not ended is dropped, and the gateway sees that."""
        if not self._over:
            self._over = True
            self._passages.open -= 1
            self._answer.abort()
