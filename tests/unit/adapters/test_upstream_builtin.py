"""The built-in responder's OpenAI shape: refusals, whole and streamed answers, stop, limits, usage, pace."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from holdfast.adapters.builtin.corpus import fingerprint
from holdfast.adapters.builtin.words import count_tokens
from holdfast.adapters.upstream_builtin import MODEL_ID, BuiltinUpstream
from holdfast.errors import UsageError
from holdfast.ports.upstream import UpstreamStatusError, UpstreamTimeoutError, UpstreamUnreachableError
from tests.helpers.clock import FakeClock, settle

HELLO = [{"role": "user", "content": "hello"}]


def upstream(pace_tokens_s: float = 0.0, clock: FakeClock | None = None) -> BuiltinUpstream:
    numbers = itertools.count(1)
    return BuiltinUpstream(clock or FakeClock(), lambda: f"{next(numbers)}", pace_tokens_s=pace_tokens_s)


def body(messages: Any = HELLO, **fields: Any) -> bytes:
    return json.dumps({"model": MODEL_ID, "messages": messages, **fields}).encode()


def ask(data: bytes, path: str = "/chat/completions") -> Any:
    answer = asyncio.run(upstream().complete(path, data, timeout_s=5))
    assert answer.status == 200
    return json.loads(answer.body)


def ask_stream(data: bytes, path: str = "/chat/completions") -> list[Any]:
    async def read() -> list[Any]:
        return [json.loads(event) async for event in upstream().stream(path, data, timeout_s=5, idle_timeout_s=5)]

    return asyncio.run(read())


# Refusals.


@pytest.mark.parametrize(
    ("data", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'{"model":"a","model":"b"}', None),
        (b"{}", "model"),
        (json.dumps({"model": MODEL_ID}).encode(), "messages"),
        (body([]), "messages"),
        (body("hi"), "messages"),
        (body(["hi"]), "messages[0]"),
        (body([{"role": "wizard", "content": "hi"}]), "messages[0].role"),
        (body([{"role": "user"}]), "messages[0].content"),
        (body([{"role": "user", "content": 7}]), "messages[0].content"),
        (body([{"role": "user", "content": []}]), "messages[0].content"),
        (body([{"role": "user", "content": ["hi"]}]), "messages[0].content[0]"),
        (body([{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content[0].text"),
        (body(temperature="hot"), "temperature"),
        (body(temperature=3), "temperature"),
        (body(top_p=True), "top_p"),
        (body(n=0), "n"),
        (body(n=9), "n"),
        (body(n=1.5), "n"),
        (body(max_tokens=0), "max_tokens"),
        (body(max_completion_tokens=-1), "max_completion_tokens"),
        (body(stop=[1]), "stop"),
        (body(stop=[""]), "stop"),
        (body(stop=["a"] * 5), "stop"),
        (body(stream="yes"), "stream"),
        (body(stream_options=[]), "stream_options"),
        (body(stream_options={"include_usage": 1}), "include_usage"),
        (body(response_format="json"), "response_format"),
        (body(response_format={"type": "json_object"}), "response_format"),
    ],
)
def test_a_malformed_request_is_refused_as_a_provider_would(data, param):
    with pytest.raises(UpstreamStatusError) as caught:
        ask(data)
    with pytest.raises(UpstreamStatusError):
        ask_stream(data)
    error = json.loads(caught.value.body)["error"]
    assert caught.value.provider_status == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


def test_another_model_is_not_found():
    with pytest.raises(UpstreamStatusError) as caught:
        ask(json.dumps({"model": "gpt-x", "messages": HELLO}).encode())
    assert caught.value.provider_status == 404
    assert json.loads(caught.value.body)["error"]["code"] == "model_not_found"


def test_another_path_is_refused():
    with pytest.raises(UsageError):
        upstream().stream("/embeddings", body(), timeout_s=1, idle_timeout_s=1)
    with pytest.raises(UpstreamStatusError) as caught:
        ask(body(), "/embeddings")
    assert caught.value.provider_status == 404


def test_a_negative_pace_is_refused():
    with pytest.raises(UsageError):
        upstream(pace_tokens_s=-1)


def test_a_closed_upstream_answers_nothing():
    async def main() -> None:
        closed = upstream()
        await closed.close()
        with pytest.raises(UpstreamUnreachableError):
            await closed.complete("/chat/completions", body(), timeout_s=1)
        with pytest.raises(UpstreamUnreachableError):
            await closed.models()
        with pytest.raises(UpstreamUnreachableError):
            await anext(closed.stream("/chat/completions", body(), timeout_s=1, idle_timeout_s=1))

    asyncio.run(main())


# Whole answers.


def test_a_chat_answer_has_the_openai_shape_and_says_what_it_is():
    value = ask(body([{"role": "user", "content": "are you an AI?"}]))
    choice = value["choices"][0]
    assert value["object"] == "chat.completion"
    assert value["id"] == "chatcmpl-1"
    assert value["created"] == int(FakeClock().now().timestamp())
    assert value["model"] == MODEL_ID
    assert value["system_fingerprint"] == fingerprint()
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] == "stop"
    assert "no neural network" in choice["message"]["content"]


def test_usage_counts_the_documented_tokens():
    value = ask(body([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello there"}]))
    completion = count_tokens(value["choices"][0]["message"]["content"])
    assert value["usage"] == {"prompt_tokens": 5, "completion_tokens": completion, "total_tokens": 5 + completion}


def test_several_choices_are_the_same_answer():
    value = ask(body(n=3))
    assert [choice["index"] for choice in value["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in value["choices"]}) == 1
    assert value["usage"]["completion_tokens"] == 3 * count_tokens(value["choices"][0]["message"]["content"])


def test_max_tokens_cuts_with_length_and_stop_cuts_before_the_stop():
    whole = ask(body())["choices"][0]["message"]["content"]
    cut = ask(body(max_tokens=3))["choices"][0]
    stopped = ask(body(stop=["built-in", "zzz"], max_completion_tokens=500))["choices"][0]
    assert cut["finish_reason"] == "length"
    assert cut["message"]["content"] == "Hello. I"
    assert stopped["finish_reason"] == "stop"
    assert stopped["message"]["content"] == whole.partition("built-in")[0]


def test_tools_unknown_parameters_and_nulls_are_accepted_and_no_tool_is_called():
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    value = ask(body(tools=tools, tool_choice="required", made_up=1, temperature=None, stop=None, seed=7))
    assert "tool_calls" not in value["choices"][0]["message"]


def test_content_parts_are_read_and_images_are_said_to_be_unread():
    parts = [{"type": "text", "text": "what is"}, {"type": "text", "text": "2+2"}]
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]
    assert ask(body([{"role": "user", "content": parts}]))["choices"][0]["message"]["content"] == "2 + 2 = 4"
    assert "text only" in ask(body([{"role": "user", "content": image}]))["choices"][0]["message"]["content"]


def test_an_agents_messages_are_accepted():
    messages = [
        {"role": "user", "content": "what is a round"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "x", "tool_call_id": "1"},
    ]
    assert ask(body(messages))["choices"][0]["message"]["content"].startswith("A round is")


def test_a_text_completion_takes_one_prompt_or_several():
    def complete(prompt: Any, **fields: Any) -> Any:
        return ask(json.dumps({"model": MODEL_ID, "prompt": prompt, **fields}).encode(), "/completions")

    assert complete("2+2")["choices"][0]["text"] == "2 + 2 = 4"
    assert complete("2+2")["object"] == "text_completion"
    assert complete("2+2")["id"].startswith("cmpl-")
    assert complete("2+2", echo=True)["choices"][0]["text"] == "2+22 + 2 = 4"
    both = complete(["1+1", "2+2"], n=2)
    assert [choice["text"] for choice in both["choices"]] == ["1 + 1 = 2"] * 2 + ["2 + 2 = 4"] * 2
    for wrong in (None, [], 7, [1, 2], ["a"] * 17):
        with pytest.raises(UpstreamStatusError):
            complete(wrong)


def test_the_official_clients_types_take_every_answer():
    ChatCompletion.model_validate(ask(body(n=2)), strict=True)
    for frame in ask_stream(body(stream=True, stream_options={"include_usage": True})):
        ChatCompletionChunk.model_validate(frame, strict=True)
    Completion.model_validate(ask(json.dumps({"model": MODEL_ID, "prompt": "2+2"}).encode(), "/completions"))


# Streams.


@pytest.mark.parametrize("fields", [{}, {"n": 2}, {"max_tokens": 4}, {"stop": "model"}])
def test_a_stream_carries_the_same_text(fields):
    whole = ask(body(**fields))
    frames = ask_stream(body(stream=True, **fields))
    for choice in whole["choices"]:
        own = [frame["choices"][0] for frame in frames if frame["choices"][0]["index"] == choice["index"]]
        assert own[0]["delta"]["role"] == "assistant"
        assert "".join(part["delta"].get("content", "") for part in own) == choice["message"]["content"]
        assert [part["finish_reason"] for part in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1]["finish_reason"] == choice["finish_reason"]
    assert len({frame["id"] for frame in frames}) == 1
    assert all("usage" not in frame for frame in frames)


def test_usage_comes_last_when_asked_for():
    whole = ask(body())
    frames = ask_stream(body(stream=True, stream_options={"include_usage": True}))
    assert frames[-1]["choices"] == []
    assert frames[-1]["usage"] == whole["usage"]
    assert all(frame["usage"] is None for frame in frames[:-1])


def test_a_text_completion_streams_too():
    frames = ask_stream(json.dumps({"model": MODEL_ID, "prompt": "2+2"}).encode(), "/completions")
    assert "".join(frame["choices"][0]["text"] for frame in frames) == "2 + 2 = 4"
    assert frames[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_stream_keeps_its_pace():
    async def main() -> list[int]:
        clock = FakeClock()
        events = upstream(10.0, clock).stream("/chat/completions", body(stream=True), timeout_s=99, idle_timeout_s=9)
        seen: list[bytes] = []

        async def read() -> None:
            async for event in events:
                seen.append(event)  # noqa: PERF401

        task = asyncio.ensure_future(read())
        counts = []
        for _ in range(3):
            await settle()
            counts.append(len(seen))
            await clock.advance(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return counts

    assert asyncio.run(main()) == [2, 3, 4]


def test_a_stream_longer_than_its_total_time_is_a_timeout():
    async def main() -> Any:
        clock = FakeClock()
        events = upstream(1.0, clock).stream("/chat/completions", body(stream=True), timeout_s=2.5, idle_timeout_s=9)
        task = asyncio.ensure_future(_drain(events))
        for _ in range(8):
            await settle()
            await clock.advance(0.5)
        with pytest.raises(UpstreamTimeoutError) as caught:
            await task
        return caught.value.phase

    assert asyncio.run(main()) == "total"


async def _drain(events: Any) -> None:
    async for _ in events:
        pass
