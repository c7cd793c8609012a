"""Server-sent events, incrementally, from bytes (WHATWG HTML §9.2.6), tuned for streams of small JSON payloads.

Accepted: LF, CRLF and CR line ends, also split between two reads; comments; several ``data`` lines (joined by LF);
``event``, ``id`` and ``retry`` fields; a leading byte-order mark; UTF-8 split anywhere, as nothing is decoded here.
Refused with ``upstream.protocol``: an event larger than the limit.

What it does not do: interpret a payload, decode text, reconnect.
"""

from __future__ import annotations

from holdfast.ports.upstream import UpstreamProtocolError

_BOM = b"\xef\xbb\xbf"
DEFAULT_EVENT_BYTES = 1 << 20
"""Largest event taken, 1 MiB: a whole answer of 200,000 tokens in one event still fits."""

Event = tuple[bytes, bytes]
"""(event name, ``b""`` when none was given; data payload)."""


class SSEParser:
    """Feed it what the socket gave; it returns the events that became complete."""

    __slots__ = ("_after_cr", "_buffer", "_first", "_limit", "_scanned", "failure")

    def __init__(self, max_event_bytes: int = DEFAULT_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._buffer = bytearray()
        self._scanned = 0
        """Up to here the buffer is known to hold no blank line, so a slowly dripping event costs linear time."""
        self._after_cr = False
        """The last read ended in CR: an LF at the start of the next one belongs to it."""
        self._first = True
        self.failure: UpstreamProtocolError | None = None
        """Set once an event passed the limit: nothing after it is taken, what ``feed`` returned before it stands."""

    @property
    def rest(self) -> bytes:
        """What arrived after the last complete event, with LF line ends; not empty at the end means cut short."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes, return the events that became complete; look at ``failure`` when they are used up."""
        if b"\r" in data or self._after_cr:
            data = self._unify_line_ends(data)
        buffer = self._buffer
        if not buffer and data.endswith(b"\n\n"):
            blocks = data.split(b"\n\n")
            blocks.pop()
        else:
            buffer += data
            end = buffer.rfind(b"\n\n", self._scanned)
            if end < 0:
                self._scanned = max(0, len(buffer) - 1)
                self._check_size(len(buffer))
                return []
            blocks = bytes(buffer[:end]).split(b"\n\n")
            del buffer[: end + 2]
            self._scanned = 0
        events: list[Event] = []
        limit = self._limit
        for block in blocks:
            if len(block) > limit:
                self._check_size(len(block))
                return events
            if self._first:
                self._first = False
                block = block.removeprefix(_BOM)  # noqa: PLW2901
            if block.startswith(b"data: ") and b"\n" not in block:
                events.append((b"", block[6:]))
            elif (event := _parse_block(block)) is not None:
                events.append(event)
        self._check_size(len(buffer))
        return events

    def _unify_line_ends(self, data: bytes) -> bytes:
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data.endswith(b"\r"):
            self._after_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._limit:
            self._buffer.clear()
            self.failure = UpstreamProtocolError(
                f"one event is larger than {self._limit} bytes",
                hint="raise the upstream's max_event_bytes if it is honest",
            )


def _parse_block(block: bytes) -> Event | None:
    """The lines between two blank lines; ``None`` when they hold no data (a comment, a lone ``retry``)."""
    name = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return (name, b"\n".join(data)) if data else None
