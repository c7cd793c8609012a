"""HTTP messages as bytes (RFC 9292), strictly and bounded (``spec/ohttp.md`` §5).

Requests and responses of known and of indeterminate length, with trailers, informational responses and padding.
:func:`parse_request` and :func:`parse_response` take whole messages, :class:`ResponseReader` one that is still
arriving. Sections that are empty may be left out at the end of a message, as the RFC says.

A message that HTTP/2 would call malformed is refused: names in upper case, field values with line ends, fields of a
connection, pseudo-fields, a length that is not the content's. What a message means is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from holdfast.core.varint import encode_varint, read_varint
from holdfast.errors import MalformedError, UsageError

MEDIA_TYPE = "message/bhttp"
MAX_CONTENT_BYTES = 20 << 20
"""Content of a message, unless the caller says otherwise; a request as OpenGradient's gateways bound it."""
MAX_SECTION_BYTES = 64 << 10
"""Names and values of one field section together."""
MAX_FIELDS = 256
"""Field lines of one section."""
MAX_CONTROL_BYTES = 8 << 10
"""Each of method, scheme, authority and path."""
MAX_PIECES = 1 << 16
"""Pieces of the content of a request: each costs a step, whatever its size."""
MAX_INFORMATIONAL = 16
"""Informational responses before the final one."""
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
"""RFC 9110 §5.1; upper case is malformed in HTTP/2 (RFC 9113 §8.2.1)."""
_BAD_VALUE = re.compile(rb"[\x00\r\n]|\A[ \t]|[ \t]\Z")
"""RFC 9113 §8.2.1."""
_SCHEME = re.compile(rb"[a-z][a-z0-9+\-.]*\Z")
_AUTHORITY = re.compile(rb"[!$&'()*+,;=\-._~%:\[\]0-9A-Za-z]*\Z")
"""Characters of RFC 3986 §3.2 without user information, which HTTP/2 forbids (RFC 9113 §8.3.1)."""
_PATH = re.compile(rb"(?:/[!-\"$-~]*|\*)\Z")
"""Visible ASCII without a fragment, or the asterisk of OPTIONS."""
_OF_A_CONNECTION = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
"""RFC 9113 §8.2.2."""

Fields: TypeAlias = tuple[tuple[str, str], ...]
"""Field lines in order: lower-case name, value (its bytes as Latin-1)."""
_T = TypeVar("_T")
_Reading: TypeAlias = Generator[None, None, _T]
"""A part of the parser: yields where it needs more bytes."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request (RFC 9292 §3.4)."""

    method: str
    scheme: str
    authority: str
    """Empty where the request has a ``host`` field instead."""
    path: str
    fields: Fields = ()
    content: bytes = b""
    trailers: Fields = ()


@dataclass(frozen=True, slots=True)
class Response:
    """A response (RFC 9292 §3.5)."""

    status: int
    """200 to 599."""
    fields: Fields = ()
    content: bytes = b""
    trailers: Fields = ()
    informational: tuple[tuple[int, Fields], ...] = ()
    """Status (100 to 199) and fields of what came before."""


# --- writing --------------------------------------------------------------------------------------------------------


def build_request(request: Request, *, indeterminate: bool = False) -> bytes:
    """A request as bytes, whole. Raises ``bhttp.*`` for what :func:`parse_request` would refuse."""
    control = [_latin(text) for text in (request.method, request.scheme, request.authority, request.path)]
    _check_control(control, request.fields)
    head = bytes((2 if indeterminate else 0,)) + b"".join(map(_prefixed, control))
    return head + _rest(request.fields, request.content, request.trailers, indeterminate=indeterminate)


def build_response(response: Response, *, indeterminate: bool = False) -> bytes:
    """A response as bytes, whole. Raises as :func:`build_request`."""
    head = _response_head(response.status, response.informational, indeterminate=indeterminate)
    return head + _rest(response.fields, response.content, response.trailers, indeterminate=indeterminate)


def build_response_head(status: int, fields: Fields = ()) -> bytes:
    """The beginning of a response of indeterminate length; :func:`build_content` and :data:`CONTENT_END` follow."""
    return _response_head(status, (), indeterminate=True) + _section(fields, indeterminate=True)


def build_content(data: bytes) -> bytes:
    """A piece of the content of a message of indeterminate length; nothing for no bytes, since nothing ends it."""
    return encode_varint(len(data)) + data if data else b""


CONTENT_END = b"\x00"
"""Ends the content of a message of indeterminate length; the trailer section may be left out after it."""


def pad(message: bytes, bucket_bytes: int) -> bytes:
    """A whole message with zeros up to the next multiple of ``bucket_bytes`` (RFC 9292 §3.8): whoever sees its size
    learns the bucket. Costs half a bucket on average (``ohttp.md`` §7)."""
    if bucket_bytes < 1:
        raise UsageError("bhttp.bucket", "a bucket has at least one byte")
    return message + bytes(-len(message) % bucket_bytes)


def _response_head(status: int, informational: Sequence[tuple[int, Fields]], *, indeterminate: bool) -> bytes:
    if not 200 <= status <= 599 or any(not 100 <= early <= 199 for early, _ in informational):
        raise _wrong_status()
    early = [encode_varint(code) + _section(fields, indeterminate=indeterminate) for code, fields in informational]
    return bytes((3 if indeterminate else 1,)) + b"".join(early) + encode_varint(status)


def _rest(fields: Fields, content: bytes, trailers: Fields, *, indeterminate: bool) -> bytes:
    body = build_content(content) + CONTENT_END if indeterminate else _prefixed(content)
    sections = [_section(part, indeterminate=indeterminate) for part in (fields, trailers)]
    return sections[0] + body + sections[1]


def _section(fields: Fields, *, indeterminate: bool) -> bytes:
    lines: list[bytes] = []
    for name, value in fields:
        line = _latin(name), _latin(value)
        _check_field(*line)
        lines += map(_prefixed, line)
    raw = b"".join(lines)
    return raw + b"\x00" if indeterminate else _prefixed(raw)


def _prefixed(data: bytes) -> bytes:
    return encode_varint(len(data)) + data


def _latin(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise UsageError("bhttp.text", "fields and control data hold bytes, written as Latin-1") from error


# --- reading --------------------------------------------------------------------------------------------------------


def parse_request(data: bytes, max_content_bytes: int = MAX_CONTENT_BYTES) -> Request:
    """A whole request. Raises ``bhttp.*``."""
    source = _Source(data)
    return replace(_whole(_request(source, max_content_bytes)), content=source.content())


def parse_response(data: bytes, max_content_bytes: int = MAX_CONTENT_BYTES) -> Response:
    """A whole response. Raises ``bhttp.*``."""
    source = _Source(data)
    return replace(_whole(_response(source, max_content_bytes)), content=source.content())


class ResponseReader:
    """Reads a response while it arrives: :meth:`feed` hands out content, :attr:`head` stands once the fields are there,
    :meth:`finish` says that the whole message was one. After an error nothing more is read."""

    __slots__ = ("_reading", "_response", "_source")

    def __init__(self, max_content_bytes: int = MAX_CONTENT_BYTES) -> None:
        self._source = _Source(ended=False)
        self._reading = _response(self._source, max_content_bytes)
        self._response: Response | None = None

    @property
    def head(self) -> Response | None:
        """The response without content and trailers; None until its fields have arrived."""
        return self._source.head

    def feed(self, data: bytes) -> bytes:
        """Take bytes, return the content among them. Raises ``bhttp.*``."""
        self._source.add(data)
        self._step()
        return self._source.content()

    def finish(self) -> Response:
        """Nothing more comes: the response with its trailers, and the content that :meth:`feed` has not handed out."""
        self._source.ended = True
        self._step()
        if self._response is None:
            raise _truncated()
        return replace(self._response, content=self._source.content())

    def _step(self) -> None:
        try:
            next(self._reading)
        except StopIteration as done:
            self._response = done.value or self._response


class _Source:
    """The bytes of one message as far as they have come, and the content that was read from them."""

    __slots__ = ("_pieces", "at", "buffer", "ended", "head")

    def __init__(self, data: bytes = b"", *, ended: bool = True) -> None:
        self.buffer = bytearray(data)
        self.at = 0
        self.ended = ended
        self.head: Response | None = None
        self._pieces: list[bytes] = []

    def add(self, data: bytes) -> None:
        """More bytes; those that were read are dropped."""
        del self.buffer[: self.at]
        self.at = 0
        self.buffer += data

    def content(self) -> bytes:
        """The content that nobody has taken yet."""
        content = b"".join(self._pieces)
        self._pieces.clear()
        return content

    def more(self) -> _Reading[None]:
        """Wait for bytes; at the end of the message there are none."""
        if self.ended:
            raise _truncated()
        yield

    def at_end(self) -> _Reading[bool]:
        """Whether the message ends here: a section that is empty may be left out then."""
        while self.at == len(self.buffer) and not self.ended:
            yield
        return self.at == len(self.buffer)

    def number(self) -> _Reading[int]:
        """A variable-length integer."""
        while (found := read_varint(self.buffer, self.at)) is None:
            yield from self.more()
        value, self.at = found
        return value

    def take(self, size: int, limit: int) -> _Reading[bytes]:
        """So many bytes, of at most ``limit``."""
        if size > limit:
            raise _too_large(limit)
        while self.at + size > len(self.buffer):
            yield from self.more()
        start = self.at
        self.at += size
        return bytes(self.buffer[start : self.at])

    def pass_on(self, size: int) -> _Reading[None]:
        """So many bytes of content, handed out as they come."""
        while size:
            piece = bytes(self.buffer[self.at : self.at + size])
            if not piece:
                yield from self.more()
                continue
            self._pieces.append(piece)
            self.at += len(piece)
            size -= len(piece)


def _truncated() -> MalformedError:
    return MalformedError("bhttp.truncated", "the message ends inside one of its parts")


def _too_large(limit: int) -> MalformedError:
    return MalformedError("bhttp.size", f"a part of the message is larger than {limit:,}", status=413)


def _whole(reading: _Reading[_T]) -> _T:
    """Run a parser over a message that is all there: it never waits."""
    try:
        next(reading)
    except StopIteration as done:
        value: _T = done.value
        return value
    raise _truncated()


def _request(source: _Source, max_content_bytes: int) -> _Reading[Request]:
    framing = yield from source.number()
    if framing not in {0, 2}:
        raise MalformedError("bhttp.framing", f"a request begins with 0 or 2, not with {framing}")
    control = []
    for _ in range(4):
        size = yield from source.number()
        control.append((yield from source.take(size, MAX_CONTROL_BYTES)))
    fields = yield from _fields(source, indeterminate=framing == 2)
    _check_control(control, fields)
    size = yield from _content(source, max_content_bytes, indeterminate=framing == 2, most_pieces=MAX_PIECES)
    _check_length(fields, size)
    trailers = yield from _fields(source, indeterminate=framing == 2)
    yield from _padding(source)
    method, scheme, authority, path = (text.decode("ascii") for text in control)
    return Request(method, scheme, authority, path, fields, b"", trailers)


def _response(source: _Source, max_content_bytes: int) -> _Reading[Response]:
    framing = yield from source.number()
    if framing not in {1, 3}:
        raise MalformedError("bhttp.framing", f"a response begins with 1 or 3, not with {framing}")
    early: list[tuple[int, Fields]] = []
    while 100 <= (status := (yield from source.number())) <= 199:
        if len(early) == MAX_INFORMATIONAL:
            raise _too_large(MAX_INFORMATIONAL)
        early.append((status, (yield from _fields(source, indeterminate=framing == 3))))
    if not 200 <= status <= 599:
        raise _wrong_status()
    fields = yield from _fields(source, indeterminate=framing == 3)
    source.head = Response(status, fields, informational=tuple(early))
    size = yield from _content(source, max_content_bytes, indeterminate=framing == 3)
    if size:  # an answer to HEAD, and a 304, give a length and have no content
        _check_length(fields, size)
    trailers = yield from _fields(source, indeterminate=framing == 3)
    yield from _padding(source)
    return replace(source.head, trailers=trailers)


def _fields(source: _Source, *, indeterminate: bool) -> _Reading[Fields]:
    """A field section, which may be left out at the end of the message."""
    if (yield from source.at_end()):
        return ()
    found: list[tuple[str, str]] = []
    left = MAX_SECTION_BYTES
    inside = source
    if not indeterminate:
        size = yield from source.number()
        inside = _Source((yield from source.take(size, MAX_SECTION_BYTES)))
    while indeterminate or inside.at < len(inside.buffer):
        size = yield from inside.number()
        if size == 0 and indeterminate:
            break
        name = yield from inside.take(size, left)
        size = yield from inside.number()
        value = yield from inside.take(size, left - len(name))
        left -= len(name) + len(value)
        _check_field(name, value)
        if len(found) == MAX_FIELDS:
            raise _too_large(MAX_FIELDS)
        found.append((name.decode("ascii"), value.decode("latin-1")))
    return tuple(found)


def _content(source: _Source, limit: int, *, indeterminate: bool, most_pieces: int | None = None) -> _Reading[int]:
    """The content, which may be left out at the end of the message; returns its size."""
    if (yield from source.at_end()):
        return 0
    total = pieces = 0
    while size := (yield from source.number()):
        total += size
        pieces += 1
        if most_pieces is not None and pieces > most_pieces:
            raise _too_large(most_pieces)
        if total > limit:
            raise _too_large(limit)
        yield from source.pass_on(size)
        if not indeterminate:
            break
    return total


def _padding(source: _Source) -> _Reading[None]:
    """Zeros up to the end of the message (RFC 9292 §3.8)."""
    while not (yield from source.at_end()):
        if any(source.buffer[source.at :]):
            raise MalformedError("bhttp.padding", "something other than zeros follows the message")
        source.at = len(source.buffer)


# --- what both sides check ------------------------------------------------------------------------------------------


def _wrong_status() -> MalformedError:
    return MalformedError("bhttp.status", "a status is 200 to 599, of an informational response 100 to 199")


def _check_field(name: bytes, value: bytes) -> None:
    if _NAME.match(name) is None:
        raise MalformedError("bhttp.field", "a field name is a token in lower case")
    if _BAD_VALUE.search(value) is not None:
        raise MalformedError("bhttp.field", f"the value of {name.decode()} has line ends, or blanks at its edges")
    if name in _OF_A_CONNECTION or (name == b"te" and value != b"trailers"):
        raise MalformedError("bhttp.field", f"{name.decode()} is a field of a connection, not of a message")


def _check_control(control: Sequence[bytes], fields: Fields) -> None:
    """RFC 9113 §8.3.1."""
    method, scheme, authority, path = control
    shapes = ((_TOKEN, method), (_SCHEME, scheme), (_AUTHORITY, authority), (_PATH, path))
    if any(shape.match(text) is None for shape, text in shapes) or (path == b"*" and method != b"OPTIONS"):
        raise MalformedError("bhttp.control", "not the method, scheme, authority and path of a request")
    hosts = [value.lower() for name, value in fields if name == "host"]
    if len(hosts) > 1 or (hosts and authority and hosts[0] != authority.decode("ascii").lower()):
        raise MalformedError("bhttp.control", "the host field names another authority than the request does")


def _check_length(fields: Fields, size: int) -> None:
    """RFC 9113 §8.1.1."""
    if any(name == "content-length" and value != str(size) for name, value in fields):
        raise MalformedError("bhttp.content_length", f"content-length is not {size}, which the content has")
