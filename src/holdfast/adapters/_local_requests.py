"""Requests as OpenAI-shaped providers read them, for upstreams in this process: what is wrong with one is told as a
provider would tell it, with a status and an error body (``upstream.status``).

Not covered: what a request asks, which each of them reads itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from holdfast.adapters.builtin.responder import Turn
from holdfast.core.canonical import decode
from holdfast.errors import MalformedError
from holdfast.ports.upstream import UpstreamStatusError

_MAX_MESSAGES = 4096
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
Job = TypeVar("Job")


class BadRequestError(Exception):
    """A request that a provider would answer with an error of its own."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status


def refusing(noun: str, body: bytes, parse: Callable[[dict[str, Any]], Job]) -> Job:
    """The checked request; a bad one raises what a provider's refusal would raise. ``noun`` is who refuses."""
    try:
        return parse(_decoded(body))
    except BadRequestError as error:
        refusal = {
            "error": {
                "message": error.message,
                "type": "invalid_request_error",
                "param": error.param,
                "code": error.code,
            }
        }
        raise UpstreamStatusError(
            f"{noun} answered {error.status}: {error.message}",
            provider_status=error.status,
            body=json.dumps(refusal, ensure_ascii=False, separators=(",", ":")).encode(),
            content_type="application/json",
        ) from None


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        request = decode(body)
    except MalformedError as error:
        raise BadRequestError(f"We could not parse the JSON body of your request: {error.message}.") from error
    if not isinstance(request, dict):
        raise BadRequestError("The request body is a JSON object.")
    return request


class Fields:
    """Typed reading of a JSON object's optional members; ``null`` counts as absent."""

    def __init__(self, value: dict[str, Any]) -> None:
        self._value = value

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self._value.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BadRequestError(f"'{name}' is an integer from {low} to {high}.", param=name)
        return value

    def number(self, name: str, low: float, high: float) -> None:
        value = self._value.get(name)
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise BadRequestError(f"'{name}' is a number from {low} to {high}.", param=name)

    def boolean(self, name: str) -> bool:
        value = self._value.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise BadRequestError(f"'{name}' is true or false.", param=name)
        return value


def read_messages(value: Any) -> tuple[Turn, ...]:
    """The turns of a conversation."""
    if not isinstance(value, list) or not value:
        raise BadRequestError("'messages' is a list with at least one message.", param="messages")
    if len(value) > _MAX_MESSAGES:
        raise BadRequestError(f"'messages' has at most {_MAX_MESSAGES} messages.", param="messages")
    return tuple(_message(number, item) for number, item in enumerate(value))


def _message(number: int, item: Any) -> Turn:
    where = f"messages[{number}]"
    if not isinstance(item, dict):
        raise BadRequestError(f"'{where}' is an object.", param=where)
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise BadRequestError(f"'{where}.role' is one of {', '.join(sorted(_ROLES))}.", param=f"{where}.role")
    content = item.get("content")
    if content is None:
        if role == "assistant":
            return Turn(role, "")
        raise BadRequestError(f"'{where}.content' is missing.", param=f"{where}.content")
    if isinstance(content, str):
        return Turn(role, content)
    if not isinstance(content, list) or not content:
        raise BadRequestError(f"'{where}.content' is a string or a list of parts.", param=f"{where}.content")
    texts: list[str] = []
    unread = False
    for at, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise BadRequestError(f"'{where}.content[{at}]' is a part with a type.", param=f"{where}.content[{at}]")
        if part["type"] != "text":
            unread = True
        elif isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            raise BadRequestError(f"'{where}.content[{at}].text' is a string.", param=f"{where}.content[{at}].text")
    return Turn(role, "\n".join(texts), unread)


def last_said(messages: Any) -> str:
    """The last message of the user; empty where there is none."""
    return next((turn.text for turn in reversed(read_messages(messages)) if turn.role == "user"), "")
