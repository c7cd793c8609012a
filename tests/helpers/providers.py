"""Providers of other shapes than OpenAI's, for tests: bodies and streams as their public documentation shows them, and
servers on loopback that answer with them (:class:`tests.helpers.upstreams.FaultyServer` runs those)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

from tests.helpers.upstreams import Behaviour, Request, answer, raw_stream

CLAUDE = "claude-sonnet-4-6"
GEMINI = "gemini-2.5-flash"


# Anthropic's Messages API


def claude_message(*blocks: dict[str, Any], stop_reason: str = "end_turn", **more: Any) -> dict[str, Any]:
    """A whole message; one block of text unless others are given."""
    return {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": CLAUDE,
        "content": list(blocks) or [{"type": "text", "text": "Hello there."}],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 6},
        **more,
    }


def claude_events(
    *blocks: Sequence[dict[str, Any]], stop_reason: str = "end_turn", usage: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The events of a stream: of each block its start and its deltas."""
    start = claude_message(usage={"input_tokens": 12, "output_tokens": 1}, stop_reason=None, content=[])
    found: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for place, (begin, *deltas) in enumerate(blocks or (text_block("Hello", " there."),)):
        found.append({"type": "content_block_start", "index": place, "content_block": begin})
        if place == 0:
            found.append({"type": "ping"})
        found += [{"type": "content_block_delta", "index": place, "delta": delta} for delta in deltas]
        found.append({"type": "content_block_stop", "index": place})
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    found.append({"type": "message_delta", "delta": delta, "usage": usage or {"output_tokens": 6}})
    return [*found, {"type": "message_stop"}]


def text_block(*pieces: str) -> list[dict[str, Any]]:
    """A block of text and its deltas."""
    return [{"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces)]


def call_block(call: str, name: str, *pieces: str) -> list[dict[str, Any]]:
    """A call of a tool and the pieces of its input."""
    begin = {"type": "tool_use", "id": call, "name": name, "input": {}}
    return [begin, *({"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces))]


def thinking_block(
    *pieces: str, signature: str = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk"
) -> list[dict[str, Any]]:
    """Thinking and its signature."""
    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    return [
        {"type": "thinking", "thinking": "", "signature": ""},
        *deltas,
        {"type": "signature_delta", "signature": signature},
    ]


def claude_stream(events: Iterable[dict[str, Any]] | None = None, *, clean: bool = True) -> Behaviour:
    """Streams events under their names, as the API does."""
    return raw_stream(
        [
            f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
            for event in (claude_events() if events is None else events)
        ],
        clean=clean,
    )


def claude_error(status: int, kind: str, *, retry_after: str = "") -> Behaviour:
    """A refusal as the API words it."""
    body = {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}
    return answer(body, status=status, headers=[("retry-after", retry_after)] if retry_after else [])


async def claude_server(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Well behaved: lists one model, streams when asked to."""
    if request.method == "GET" and request.path == "/v1/models?limit=1000":
        listed = {"type": "model", "id": CLAUDE, "display_name": "Sonnet", "created_at": "2026-02-17T00:00:00Z"}
        return await answer({"data": [listed], "has_more": False, "first_id": CLAUDE, "last_id": CLAUDE})(
            request, writer
        )
    if request.path != "/v1/messages" or request.headers.get("anthropic-version") != "2023-06-01":
        return await claude_error(404, "not_found_error")(request, writer)
    return await (claude_stream() if request.json().get("stream") else answer(claude_message()))(request, writer)


# Google's Gemini API


def gemini_response(*parts: dict[str, Any], finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    """A whole response of one candidate; one part of text unless others are given."""
    candidate: dict[str, Any] = {
        "content": {"parts": list(parts) or [{"text": "Hello there."}], "role": "model"},
        "index": 0,
    }
    if finish is not None:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 6, "totalTokenCount": 18},
        "modelVersion": GEMINI,
        "responseId": "mAitaLmkHPPlz7IPvtfUqQ4",
        **more,
    }


def gemini_events(*pieces: dict[str, Any], finish: str = "STOP") -> list[dict[str, Any]]:
    """The events of a stream: one for each part, the last with the finish reason."""
    parts = pieces or ({"text": "Hello"}, {"text": " there."})
    return [gemini_response(part, finish=finish if part is parts[-1] else None) for part in parts]


def gemini_stream(events: Iterable[dict[str, Any]] | None = None, *, clean: bool = True) -> Behaviour:
    """Streams events without names, with CRLF, as the API does."""
    return raw_stream(
        [
            f"data: {json.dumps(event, ensure_ascii=False)}\r\n\r\n".encode()
            for event in (gemini_events() if events is None else events)
        ],
        clean=clean,
    )


def gemini_error(status: int, word: str) -> Behaviour:
    """A refusal as the API words it."""
    return answer({"error": {"code": status, "message": "no", "status": word}}, status=status)


async def gemini_server(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Well behaved: lists one model that answers and one that does not, streams when asked to."""
    if request.method == "GET" and request.path == "/v1/models?pageSize=1000":
        listed = [
            {"name": f"models/{GEMINI}", "supportedGenerationMethods": ["generateContent", "countTokens"]},
            {"name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"]},
        ]
        return await answer({"models": listed})(request, writer)
    if request.path == f"/v1/models/{GEMINI}:generateContent":
        return await answer(gemini_response())(request, writer)
    if request.path == f"/v1/models/{GEMINI}:streamGenerateContent?alt=sse":
        return await gemini_stream()(request, writer)
    return await gemini_error(404, "NOT_FOUND")(request, writer)
