"""A relay and the gateway behind it, in one: opens what is sealed to its key and seals what it is told to answer.

``answer_bytes`` and ``answer_pieces`` take an HTTP/1.1 answer as a server would write it and turn it into what a relay
passes on: a whole answer is sealed, one that breaks off breaks off, and what is no HTTP stays what it is.
"""

from __future__ import annotations

import os
import re

from holdfast.core.binary_http import (
    CONTENT_END,
    Request,
    Response,
    build_content,
    build_response,
    build_response_head,
    parse_request,
)
from holdfast.core.ohttp import GatewayContext, GatewayKey, decapsulate, nonce_bytes

KEY = GatewayKey(1, bytes(range(1, 33)))
CONFIGURATION = KEY.configuration


def open_request(message: bytes) -> tuple[Request, GatewayContext]:
    """What the gateway reads."""
    content, context = decapsulate({1: KEY}, message)
    return parse_request(content), context


def draw(context: GatewayContext) -> bytes:
    """A response nonce."""
    return os.urandom(nonce_bytes(context.suite))


def outer(content_type: str, body: bytes, status: str = "200 OK") -> bytes:
    """A whole answer of the relay."""
    return f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def written(request: Request) -> bytes:
    """A request as HTTP/1.1 would write it."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.fields)
    return f"{request.method} {request.path} HTTP/1.1\r\n{lines}\r\n".encode() + request.content


def _read(raw: bytes) -> tuple[int, dict[str, str], bytes] | None:
    """Status, headers and what follows; None for what is no HTTP."""
    head, found, rest = raw.partition(b"\r\n\r\n")
    match = re.match(rb"HTTP/1\.1 (\d{3})", head)
    if not found or match is None:
        return None
    pairs = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line]
    return int(match[1]), {name.lower(): value for name, value in pairs}, rest


def answer_bytes(context: GatewayContext, reply: bytes) -> bytes:
    """A whole answer, sealed; anything else as it is."""
    read = _read(reply)
    if read is None or len(read[2]) != int(read[1].get("content-length", len(read[2]))):
        return reply
    status, headers, body = read
    fields = tuple((name, value) for name, value in headers.items() if name != "content-length")
    sealed = context.seal(draw(context), build_response(Response(status, fields, body)))
    return outer("message/ohttp-res", sealed)


def answer_pieces(context: GatewayContext, pieces: list[bytes]) -> list[bytes]:
    """An answer that is written piece by piece: each piece is sealed as a chunk of its own, and so is the end, if it
    comes."""
    read = _read(pieces[0])
    if read is None:
        return pieces
    status, headers, body = read
    if "chunked" not in headers.get("transfer-encoding", ""):
        whole = body + b"".join(pieces[1:])
        return [answer_bytes(context, pieces[0] + whole)] if "content-length" in headers else pieces
    fields = tuple((name, value) for name, value in headers.items() if name != "transfer-encoding")
    sealer = context.chunks(draw(context))
    head = b"HTTP/1.1 200 OK\r\ncontent-type: message/ohttp-chunked-res\r\ntransfer-encoding: chunked\r\n\r\n"
    sent = [head + chunk(sealer.start() + sealer.seal(build_response_head(status, fields)))]
    for piece in pieces[1:]:
        size, found, rest = piece.partition(b"\r\n")
        data = rest[: int(size, 16)]
        if not found or len(data) != int(size, 16):
            sent.append(piece)
        elif data:
            sent.append(chunk(sealer.seal(build_content(data))))
        else:
            sent.append(chunk(sealer.finish(CONTENT_END)) + chunk(b""))
    return sent


def chunk(data: bytes) -> bytes:
    """A chunk of HTTP/1.1."""
    return b"%x\r\n%s\r\n" % (len(data), data)
