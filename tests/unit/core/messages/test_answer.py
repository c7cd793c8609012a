"""Chat completions as messages, whole and in pieces: the same document either way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from holdfast.core import canonical
from holdfast.core.messages.answer import EventWriter, shape_messages, to_message
from holdfast.core.messages.fold import MessagesFold
from holdfast.errors import MalformedError

USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}}
BASE = {"id": "chatcmpl-1", "created": 1, "model": "small-1", "system_fingerprint": "fp"}


def exact(value: Any) -> Any:
    return canonical.decode_exact(json.dumps(value).encode())


def plain(value: Any) -> Any:
    return json.loads(canonical.encode_exact(value))


def message(said: dict[str, Any], finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **said}, "finish_reason": finish, **more}
    return to_message(exact({**BASE, "object": "chat.completion", "choices": [choice], "usage": USAGE}))


def events(*deltas: dict[str, Any], finish: str | None = "stop", usage: Any = None) -> list[dict[str, Any]]:
    writer, found = EventWriter(), []
    for delta in deltas:
        found += writer.take(exact({**BASE, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}))
    found += writer.take(exact({**BASE, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}))
    if usage is not None:
        found += writer.take(exact({**BASE, "choices": [], "usage": usage}))
    return found + writer.end()


def folded(found: list[dict[str, Any]]) -> dict[str, Any]:
    fold = MessagesFold()
    for event in found:
        fold.add(event)
    return fold.document()


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": []},
        {"choices": [{"message": {}}, {"message": {}}]},
        {"choices": [{"index": 0}]},
        {"choices": [{"index": 1, "message": {"content": "x"}}]},
        {"choices": [{"message": {"role": "user", "content": "x"}}]},
        {"choices": [{"message": {"content": 7}}]},
        {"choices": [{"message": {"content": [{"type": "image_url"}]}}]},
        {"choices": [{"message": {"tool_calls": [{"id": "t", "function": {"arguments": "{}"}}]}}]},
        {"choices": [{"message": {"tool_calls": [{"function": {"name": "f"}}]}}]},
    ],
)
def test_what_cannot_be_a_message_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(MalformedError) as refused:
        to_message(exact(answer))
    assert refused.value.code == "messages.answer"


@pytest.mark.parametrize("arguments", ['{"a":', "[]", '{"a":1,"a":2}'])
def test_a_call_whose_input_is_no_object_is_refused(arguments: str) -> None:
    with pytest.raises(MalformedError) as refused:
        message({"tool_calls": [{"id": "t", "function": {"name": "f", "arguments": arguments}}]})
    assert refused.value.code == "stream.fold"


def test_a_call_that_goes_on_after_another_began_is_refused() -> None:
    def call(index: int, **more: Any) -> dict[str, Any]:
        return {
            "tool_calls": [{"index": index, "id": f"t{index}", "function": {"name": "f", "arguments": "{"}, **more}]
        }

    with pytest.raises(MalformedError):
        events(call(0), call(1), call(0))


def test_an_upstream_that_sends_nothing_has_not_answered() -> None:
    with pytest.raises(MalformedError):
        EventWriter().end()


def test_a_whole_answer_is_a_message_with_its_counts() -> None:
    found = plain(message({"content": "It holds."}))
    assert (found["type"], found["role"], found["model"]) == ("message", "assistant", "small-1")
    assert found["content"] == [{"type": "text", "text": "It holds."}]
    assert (found["stop_reason"], found["stop_sequence"]) == ("end_turn", None)
    assert (found["usage"]["input_tokens"], found["usage"]["output_tokens"]) == (5, 3)
    assert found["usage"]["cache_read_input_tokens"] == 4
    assert found["usage"]["prompt_tokens"] == 9, "what is charged for is what the upstream told"


def test_nothing_that_the_upstream_said_is_lost() -> None:
    said = {"content": "x", "annotations": [{"url": "u"}], "audio": {"id": "a"}}
    found = plain(message(said, logprobs={"content": []}))
    assert found["provider_fields"] == {
        "created": 1,
        "system_fingerprint": "fp",
        "choice": {"logprobs": {"content": []}},
        "message": {"annotations": [{"url": "u"}], "audio": {"id": "a"}},
    }


@pytest.mark.parametrize(
    ("finish", "more", "reason"),
    [
        ("stop", {}, "end_turn"),
        ("length", {}, "max_tokens"),
        ("content_filter", {}, "refusal"),
        ("tool_calls", {}, "tool_use"),
        ("stop", {"stop_reason": "\n\n"}, "stop_sequence"),
        ("stop", {"stop_reason": 151645}, "end_turn"),
        ("strange", {}, "strange"),
        (None, {}, None),
    ],
)
def test_a_reason_has_its_name(finish: str | None, more: dict[str, Any], reason: str | None) -> None:
    assert message({"content": "x"}, finish, **more)["stop_reason"] == reason


def test_a_refusal_is_a_text_and_its_own_reason() -> None:
    found = message({"content": None, "refusal": "No."})
    assert (found["content"], found["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")


def test_calls_are_blocks_whose_numbers_keep_their_text() -> None:
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"celsius": 7.0}'}}
    found = message({"content": "I look.", "tool_calls": [call, {**call, "id": "u"}]})
    assert [block["type"] for block in found["content"]] == ["text", "tool_use", "tool_use"]
    assert found["content"][1] == {"type": "tool_use", "id": "t", "name": "f", "input": {"celsius": "7.0"}}
    assert found["stop_reason"] == "tool_use", "some servers say stop after a call"


def test_thinking_comes_with_its_signature_or_as_plain_text_and_once() -> None:
    signed = {"type": "reasoning.text", "text": "hm", "signature": "c2ln", "format": "anthropic-claude-v1"}
    found = message({"content": "x", "reasoning_content": "hm", "reasoning_details": [signed]})
    assert found["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    assert len(found["content"]) == 2
    shown = message({"content": "x", "reasoning": "hm"})
    assert shown["content"][0] == {"type": "thinking", "thinking": "hm", "signature": ""}
    other = message({"content": "x", "reasoning_details": [{"type": "reasoning.text", "format": "other"}]})
    assert other["provider_fields"]["reasoning_details"] == [{"type": "reasoning.text", "format": "other"}]
    closed = {"type": "reasoning.encrypted", "data": "xx", "format": "anthropic-claude-v1"}
    hidden = message({"content": "x", "reasoning_details": [closed]})
    assert hidden["content"][0] == {"type": "redacted_thinking", "data": "xx"}


def test_counts_that_nobody_told_are_null_and_not_nothing() -> None:
    assert folded(events({"content": "x"}))["usage"] == {"input_tokens": None, "output_tokens": None}


def test_a_stream_says_block_after_block_and_its_end_last() -> None:
    found = events(
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"content": "It "},
        {"content": "holds."},
        {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        finish="tool_calls",
        usage=USAGE,
    )
    kinds = [event["type"].removeprefix("content_block_") for event in found]
    block = ["start", "delta", "stop"]
    assert kinds == [
        "message_start",
        *block,
        "start",
        "delta",
        "delta",
        "stop",
        "start",
        "delta",
        "delta",
        "stop",
        "message_delta",
        "message_stop",
    ]
    assert plain(folded(found)) == plain(
        message(
            {
                "reasoning_content": "hm",
                "content": "It holds.",
                "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": '{"a":1}'}}],
            },
            "tool_calls",
        )
    )


def test_text_goes_on_as_it_comes() -> None:
    async def read() -> list[bytes]:
        waiting = asyncio.Event()

        async def chunks() -> AsyncGenerator[bytes]:
            yield json.dumps({**BASE, "choices": [{"index": 0, "delta": {"content": "It "}}]}).encode()
            await waiting.wait()
            yield json.dumps({**BASE, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).encode()

        shaped = shape_messages(chunks())
        first = [await anext(shaped) for _ in range(3)]
        waiting.set()
        return [*first, *[event async for event in shaped]]

    found = [json.loads(event) for event in asyncio.run(read())]
    assert found[2]["delta"] == {"type": "text_delta", "text": "It "}
    assert found[-1] == {"type": "message_stop"}
