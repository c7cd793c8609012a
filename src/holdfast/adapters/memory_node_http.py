"""A memory node over HTTP. The key of whose rows are asked for goes to the configured origin and nowhere else, and off
this machine only over TLS.

What the node refuses keeps its code: a caller has to learn that a key is wrong or lacks a scope. Not covered: checking
what is delivered.
"""

from __future__ import annotations

import http
import re
from collections.abc import Callable
from typing import TypeVar

from holdfast.adapters.upstream_openai import OpenAIUpstreamConfig, make_origin
from holdfast.core import canonical
from holdfast.core.recall_orders import RecallDelivery, RecallOrder, parse_recall_delivery
from holdfast.core.said import Kept, Saying, parse_kept
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.ports.http import HTTP

MAX_ANSWER_BYTES = 4 << 20
"""64 claims of 4 KiB as JSON, and a document."""
Answered = TypeVar("Answered")
_PASSED_ON = ("memory.", "recall.")
_KINDS: dict[str, type[HoldfastError]] = {
    kind.kind: kind for kind in (MalformedError, RefusedError, UnavailableError, UsageError)
}
_CODE = re.compile(r"[a-z0-9_.]{1,64}\Z")


class HTTPMemoryNode:
    """Implements :class:`holdfast.ports.memory_node.MemoryNode`."""

    def __init__(self, url: str, client: HTTP, *, insecure_plain_http: bool = False) -> None:
        """Raises ``upstream.config``. ``url`` is the node's base URL, without a path."""
        make_origin(OpenAIUpstreamConfig("memory", url, "a key", insecure_plain_http=insecure_plain_http))
        self._url = url.rstrip("/")
        self._client = client

    async def recall(self, order: RecallOrder, credential: str, *, timeout_s: float) -> RecallDelivery:
        return await self._ask("/v1/recall", order.to_json(), credential, timeout_s, parse_recall_delivery)

    async def remember(self, saying: Saying, credential: str, *, timeout_s: float) -> Kept:
        return await self._ask("/v1/memories", saying.to_json(), credential, timeout_s, parse_kept)

    async def _ask(
        self,
        path: str,
        body: dict[str, canonical.JSON],
        credential: str,
        timeout_s: float,
        parse: Callable[[dict[str, canonical.JSON]], Answered],
    ) -> Answered:
        try:
            answer = await self._client.request(
                "POST",
                self._url + path,
                body=canonical.encode(body),
                headers={"content-type": "application/json", "x-api-key": credential},
                timeout_s=timeout_s,
                max_bytes=MAX_ANSWER_BYTES,
            )
        except UnavailableError as error:
            raise UnavailableError(
                "memory_node.unreachable", "the memory node does not answer", hint="ask again, or without memory"
            ) from error
        try:
            value = canonical.decode_object(answer.body)
            if answer.status in (http.HTTPStatus.OK, http.HTTPStatus.CREATED):
                return parse(value)
        except MalformedError as error:
            raise UnavailableError(
                "memory_node.protocol", f"the memory node gave no such answer: {error.message}"
            ) from error
        raise _refusal(value, answer.status)


def _refusal(value: dict[str, canonical.JSON], status: int) -> HoldfastError:
    """What a node refused, in its own words where they are about what was asked."""
    found = value.get("error")
    error = found if isinstance(found, dict) else {}
    code, kind = error.get("code"), _KINDS.get(str(error.get("type")))
    if kind is None or not isinstance(code, str) or _CODE.match(code) is None or not code.startswith(_PASSED_ON):
        return UnavailableError("memory_node.protocol", f"the memory node answered with status {status}")
    hint = error.get("hint")
    return kind(code, str(error.get("message"))[:1000], hint=str(hint)[:500] if hint else "", status=status)
