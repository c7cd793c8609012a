"""Clients that others wrote, unchanged, in a Python of their own: which ``HOLDFAST_CLIENTS`` names
(``requirements/clients.txt``); tests never fetch it. And the scripted upstream that they are answered from: it calls
tools, looks at images, keeps to schemas and thinks.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from typing import Any

import pytest

from tests.helpers import upstreams as fake
from tests.helpers.live_gateway import KEY, LiveGateway

PYTHON = os.environ.get("HOLDFAST_CLIENTS", "")
NEEDS_CLIENTS = pytest.mark.skipif(not PYTHON, reason="HOLDFAST_CLIENTS names no Python with clients of others")
ARGUMENTS = '{"city": "Oslo", "celsius": 7.0}'
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}


def say(asked: dict[str, Any]) -> dict[str, Any]:
    """What the scripted model answers, as the message of a chat."""
    last = asked["messages"][-1]
    if last["role"] == "tool":
        return {"role": "assistant", "content": f"The tool says {last['content']}."}
    if asked.get("response_format", {}).get("type") == "json_schema":
        return {"role": "assistant", "content": '{"city":"Oslo"}'}
    if isinstance(last["content"], list) and last["content"][0]["type"] == "image_url":
        return {"role": "assistant", "content": "I see " + last["content"][0]["image_url"]["url"][:22]}
    if asked.get("tools"):
        return {"role": "assistant", "content": None, "tool_calls": [CALL]}
    return {"role": "assistant", "content": "It holds.", "reasoning_content": "Does it?"}


async def scripted(request: fake.Request, writer: asyncio.StreamWriter) -> bool:
    if request.method == "GET":
        return await fake.chat_server(request, writer)
    asked = request.json()
    message = say(asked)
    calls = message.get("tool_calls")
    finish = "tool_calls" if calls else "stop"
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    base = {"id": "chatcmpl-1", "created": 1, "model": fake.MODEL}
    if not asked.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return await fake.answer({**base, "object": "chat.completion", "choices": [choice], "usage": usage})(
            request, writer
        )
    deltas: list[dict[str, Any]] = [{"role": "assistant"}]
    if message.get("reasoning_content"):
        deltas.append({"reasoning_content": message["reasoning_content"]})
    deltas += [{"content": piece} for piece in (message["content"] or "").split(" ") if piece]
    for place, call in enumerate(calls or ()):
        function = call["function"]
        deltas.append({"tool_calls": [{**call, "index": place, "function": {**function, "arguments": ""}}]})
        for half in (ARGUMENTS[:9], ARGUMENTS[9:]):
            deltas.append({"tool_calls": [{"index": place, "function": {"arguments": half}}]})
    chunk = {**base, "object": "chat.completion.chunk"}
    frames = [{**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    frames.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if asked.get("stream_options", {}).get("include_usage"):
        frames.append({**chunk, "choices": [], "usage": usage})
    return await fake.events([json.dumps(frame).encode() for frame in frames])(request, writer)


class Server(fake.Server):
    """The scripted upstream on loopback, in a thread of its own."""

    def __init__(self) -> None:
        super().__init__(scripted)


def ask(gateway: LiveGateway, program: str, *more: str) -> dict[str, Any]:
    """What a program of another Python found out; it gets URL, key, model and whatever ``more`` there is."""
    done = subprocess.run(
        [PYTHON, "-c", program, gateway.url, KEY, fake.MODEL, *more],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found
