"""How ``POST /v1/messages`` looks on the wire (``spec/messages.md`` §1, §4): keys, events by name, errors.

Not covered: what is asked and answered (``core.messages``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from holdfast.core import canonical
from holdfast.core.messages import VERSIONS
from holdfast.errors import HoldfastError, UsageError
from holdfast.nodes.edge import App, Message, Receive, Scope, Send

PREFIX = "/v1/messages"
_TYPE = re.compile(rb'\{"type":"([a-z_]+)"')
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Anthropic's words by HTTP status; any other of the caller's making is ``invalid_request_error``, any other
``api_error``."""


def key_of(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The caller's key as a bearer token: Anthropic's clients send it as ``x-api-key``."""
    key = headers.get(b"x-api-key")
    return headers.get(b"authorization", None if key is None else b"Bearer " + key)


def check_version(headers: Mapping[bytes, bytes]) -> None:
    """Refuse another version of the API, and what is in no version yet. Raises ``messages.version``."""
    version = headers.get(b"anthropic-version", VERSIONS[-1].encode()).decode("latin-1")
    if version not in VERSIONS:
        raise UsageError(
            "messages.version",
            f"anthropic-version is {' or '.join(VERSIONS)}",
            param="anthropic-version",
            hint="or leave it out",
        )


def named_event(payload: bytes) -> bytes:
    """One event under its name, which is its ``type``."""
    found = _TYPE.match(payload)
    name = found[1] if found is not None else b"error"
    return b"event: " + name + b"\ndata: " + payload + b"\n\n"


def error_type(status: int) -> str:
    """Anthropic's word for a status."""
    return _ERRORS.get(status, "invalid_request_error" if 400 <= status < 500 else "api_error")


def error_of(error: HoldfastError) -> dict[str, Any]:
    """An error in Anthropic's shape, with our members inside."""
    return shape_error(error.status, error.to_json())


def shape_error(status: int, value: Mapping[str, Any]) -> dict[str, Any]:
    """Our error as Anthropic's clients read it (§4): our ``type`` is ``kind`` there, everything else stays."""
    inner = value.get("error")
    told = dict(inner) if isinstance(inner, dict) else {}
    told["kind"] = told.get("type")
    rest = {name: item for name, item in value.items() if name != "error"}
    return {"type": "error", "error": {**told, "type": error_type(status)}, **rest}


class MessagesErrors:
    """An ASGI wrapper that gives every error below :data:`PREFIX` Anthropic's shape, whoever made it."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await self.app(scope, receive, _Reshaping(send))
        else:
            await self.app(scope, receive, send)


class _Reshaping:
    """``send`` that holds an error's head back until its body is there."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._head: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._head = message
            return
        if self._head is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        head, self._head = self._head, None
        value = canonical.decode(message["body"])
        body = json.dumps(shape_error(head["status"], value), ensure_ascii=False, separators=(",", ":")).encode()
        length = (b"content-length", str(len(body)).encode())
        headers = [item for item in head["headers"] if item[0] != b"content-length"]
        await self._send({**head, "headers": [*headers, length]})
        await self._send({**message, "body": body})
