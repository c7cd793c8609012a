"""What an upstream does when it is really asked: each probe has an outcome of its own."""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from typing import Any

from holdfast.client.upstream_checks import MOST_TOKENS, PROBES, Outcome, check_upstream, red_square
from holdfast.core.dialects.anthropic import AnthropicDialect
from holdfast.core.dialects.openai import find_profile
from holdfast.ports.upstream import (
    ModelInfo,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from tests.helpers.upstreams import ScriptedUpstream, chat_chunk, chat_completion

CALL = {"id": "1", "type": "function", "function": {"name": "report", "arguments": '{"word":"ready"}'}}


def said(content: object = None, **message: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": "stop"}
    return json.dumps({**chat_completion(), "choices": [choice]}).encode()


def check(upstream: ScriptedUpstream, label: str | None = None) -> dict[str, Outcome]:
    async def main() -> list[Outcome]:
        return [outcome async for outcome in check_upstream(upstream, label, timeout_s=5)]

    found = {outcome.probe: outcome for outcome in asyncio.run(main())}
    assert tuple(found) == PROBES
    return found


def test_every_probe_of_an_upstream_that_does_it_all():
    used = json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}).encode()
    upstream = ScriptedUpstream(
        answers=[said("Ready."), said(tool_calls=[CALL]), said('{"word":"ready"}'), said("Red.")],
        streams=[[chat_chunk({"content": "Ready."}), chat_chunk({}, finish_reason="stop"), used]],
    )
    found = check(upstream)
    assert {outcome.state for outcome in found.values()} == {"works"}
    assert "'test-model'" in found["chat"].says
    bodies = [json.loads(body) for _, body in upstream.sent]
    assert [body["max_tokens"] for body in bodies] == [MOST_TOKENS] * 5


def test_an_upstream_that_cannot_be_reached_is_silent_and_the_rest_is_skipped():
    class Gone(ScriptedUpstream):
        async def models(self) -> list[ModelInfo]:
            raise UpstreamUnreachableError("cannot connect")

    found = check(Gone())
    assert (found["models"].state, found["models"].code) == ("silent", "upstream.unreachable")
    assert {outcome.state for name, outcome in found.items() if name != "models"} == {"skipped"}


def test_a_model_that_is_not_offered_is_not_asked():
    upstream = ScriptedUpstream()
    assert check(upstream, "another")["models"].state == "differs"
    assert check(ScriptedUpstream(offered=[]))["models"].says == "it offers no model"
    assert upstream.sent == []


def test_refusals_say_who_refused_and_in_which_words():
    refusal = UpstreamStatusError("no", provider_status=401, body=b'{"error":"bad key"}')
    found = check(ScriptedUpstream(answers=[refusal], streams=[[refusal]]))
    for probe in ("chat", "stream", "tools", "schema", "image"):
        assert (found[probe].state, found[probe].by, found[probe].code) == ("refused", "upstream", "upstream.status")
        assert "401" in found[probe].says
        assert "bad key" in found[probe].says
    assert found["usage"].state == found["stream-usage"].state == "skipped"


def test_what_is_answered_otherwise_than_asked_differs():
    bare = {name: item for name, item in chat_completion().items() if name != "usage"}
    wrong = {**CALL, "function": {"name": "report", "arguments": "{"}}
    answers = [json.dumps(bare).encode(), said(tool_calls=[wrong]), said("ready"), said("")]
    found = check(ScriptedUpstream(answers=answers, streams=[[chat_chunk({"content": "x"})]]))
    states = {name: outcome.state for name, outcome in found.items()}
    assert states == {"models": "works", "chat": "works"} | dict.fromkeys(PROBES[2:], "differs")
    assert check(ScriptedUpstream(answers=[said("no call")]))["tools"].state == "differs"


def test_broken_answers_and_silence_are_told_apart():
    broken = ScriptedUpstream(answers=[UpstreamProtocolError("not JSON")], streams=[[UpstreamProtocolError("cut")]])
    assert check(broken)["chat"].state == check(broken)["stream"].state == "differs"
    slow = ScriptedUpstream(answers=[UpstreamTimeoutError("too slow", phase="total")])
    assert check(slow)["chat"].state == "silent"


def test_what_a_profile_ignores_is_not_asked_at_all():
    upstream = ScriptedUpstream(answers=[said("Ready.")])
    upstream.dialect = find_profile("ollama")
    found = check(upstream)
    assert (found["tools"].state, found["tools"].says) == (
        "ignored",
        "it does not heed tool_choice; nothing was asked",
    )


def test_what_cannot_be_asked_is_refused_by_the_gateway():
    upstream = ScriptedUpstream()
    upstream.dialect = AnthropicDialect()
    upstream.offered = [ModelInfo("claude-sonnet-4-6", "", 0)]
    assert check(upstream)["image"].state == "works"
    assert json.loads(upstream.sent[-1][1])["messages"][0]["content"][1]["type"] == "image"


def test_the_picture_is_a_whole_png_of_one_colour():
    data = red_square(4)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (4, 4)
    length = struct.unpack(">I", data[33:37])[0]
    rows = zlib.decompress(data[41 : 41 + length])
    assert rows == (b"\x00" + b"\xff\x00\x00" * 4) * 4
