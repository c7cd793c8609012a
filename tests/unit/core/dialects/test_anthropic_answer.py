"""Answers of Anthropic's Messages API as chat completions (``spec/dialects.md`` §3, §4)."""

from __future__ import annotations

import json

import pytest

from holdfast.core import canonical
from holdfast.core.dialects.anthropic import AnthropicDialect
from holdfast.core.fold import Fold
from holdfast.core.parts import map_parts
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from tests.helpers.providers import call_block, claude_events, claude_message, text_block, thinking_block

AT = 1_767_225_600
DIALECT = AnthropicDialect()


def exact(value):
    return canonical.decode_exact(json.dumps(value).encode())


def whole(message):
    return json.loads(canonical.encode_exact(DIALECT.whole(exact(message), AT)))


def chunks(events):
    reader = DIALECT.reader(AT)
    found = [chunk for event in events for chunk in reader.take(exact(event))]
    return [*found, *reader.end()]


def folded(events):
    fold = Fold()
    for chunk in chunks(events):
        fold.add(chunk)
    return json.loads(canonical.encode_exact(fold.document()))


def test_a_whole_answer():
    answer = whole(claude_message())
    assert answer == {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "object": "chat.completion",
        "created": AT,
        "model": "claude-sonnet-4-6",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "native_finish_reason": "end_turn",
                "message": {"role": "assistant", "content": "Hello there."},
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18},
    }


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"type": "server_tool_use", "id": "1", "name": "web_search", "input": {}}, "server_tool_use"),
        ({"type": "hologram"}, "hologram"),
        ({"type": "text", "text": "x", "colour": "red"}, "colour"),
        ({"type": "text"}, "not a string"),
        ({"type": "tool_use", "id": "1", "name": "f", "input": "x"}, "not an object"),
        ("x", "not an object"),
    ],
)
def test_a_block_that_has_no_place_is_refused(block, says):
    with pytest.raises(MalformedError, match=says) as refusal:
        whole(claude_message(block))
    assert refusal.value.code == "dialect.answer"


@pytest.mark.parametrize("counts", [{"input_tokens": -1}, {"input_tokens": 1.5}, {"output_tokens": "6"}])
def test_usage_that_is_no_count_is_refused(counts):
    with pytest.raises(MalformedError, match="not a count"):
        whole(claude_message(usage=counts))


@pytest.mark.parametrize("gone", ["id", "model", "content", "stop_reason"])
def test_an_answer_without_what_every_answer_has_is_refused(gone):
    message = claude_message()
    del message[gone]
    with pytest.raises(MalformedError):
        whole(message)


@pytest.mark.parametrize(
    ("native", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_stop_reasons_have_openais_word_or_stand_as_they_came(native, finish):
    choice = whole(claude_message(stop_reason=native))["choices"][0]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == (finish, native)


def test_what_is_said_beside_the_answer_stands_in_provider_fields():
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 5,
        "cache_read_input_tokens": 7,
        "output_tokens": 11,
        "output_tokens_details": {"thinking_tokens": 4},
        "service_tier": "standard",
    }
    answer = whole(claude_message(usage=usage, stop_sequence="END", container={"id": "c1"}))
    assert answer["usage"] == {
        "prompt_tokens": 15,
        "completion_tokens": 11,
        "total_tokens": 26,
        "prompt_tokens_details": {"cached_tokens": 7},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    told = {name: item for name, item in usage.items() if name not in ("input_tokens", "output_tokens")}
    assert answer["provider_fields"] == {"stop_sequence": "END", "container": {"id": "c1"}, "usage": told}


def test_calls_thinking_and_text_of_a_whole_answer():
    answer = whole(
        claude_message(
            {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
            {"type": "redacted_thinking", "data": "xyz"},
            {"type": "text", "text": "Let me", "citations": [{"type": "char_location", "cited_text": "x"}]},
            {"type": "text", "text": " see."},
            {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Graz"}},
            {"type": "tool_use", "id": "b", "name": "time", "input": {}},
            stop_reason="tool_use",
        )
    )
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Let me see.",
        "citations": [{"type": "char_location", "cited_text": "x"}],
        "reasoning_content": "Hm.",
        "reasoning_details": [
            {
                "index": 0,
                "type": "reasoning.text",
                "format": "anthropic-claude-v1",
                "text": "Hm.",
                "signature": "sig",
            },
            {"index": 1, "type": "reasoning.encrypted", "format": "anthropic-claude-v1", "data": "xyz"},
        ],
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Graz"}'}},
            {"id": "b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
        ],
    }


def test_a_stream_gives_each_piece_as_it_comes_and_ends_with_reason_and_usage():
    found = [json.loads(canonical.encode_exact(chunk)) for chunk in chunks(claude_events())]
    assert [chunk["choices"][0]["delta"] for chunk in found] == [
        {"role": "assistant", "content": None},
        {"content": "Hello"},
        {"content": " there."},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in found] == [None, None, None, "stop"]
    assert found[-1]["usage"] == {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
    assert {chunk["object"] for chunk in found} == {"chat.completion.chunk"}


def test_a_stream_says_what_the_whole_answer_says():
    blocks = (
        thinking_block("Let ", "me", signature="sig"),
        text_block("See", " é😀"),
        call_block("a", "weather", '{"ci', 'ty":"Graz"}'),
        call_block("b", "time"),
    )
    streamed = folded(claude_events(*blocks, stop_reason="tool_use"))
    message = claude_message(
        {"type": "thinking", "thinking": "Let me", "signature": "sig"},
        {"type": "text", "text": "See é😀"},
        {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Graz"}},
        {"type": "tool_use", "id": "b", "name": "time", "input": {}},
        stop_reason="tool_use",
    )
    for call in streamed["choices"][0]["message"]["tool_calls"]:
        del call["index"]
    assert streamed == whole(message)


def test_pieces_of_two_calls_may_take_turns():
    events = claude_events(call_block("a", "f", '{"x":', "1}"), call_block("b", "g", '{"y":', "2}"))
    starts = [event for event in events if event["type"] == "content_block_start"]
    deltas = [event for event in events if event["type"] == "content_block_delta"]
    stops = [event for event in events if event["type"] == "content_block_stop"]
    mixed = [events[0], *starts, *sorted(deltas, key=lambda item: item["delta"]["partial_json"]), *stops, *events[-2:]]
    calls = folded(mixed)["choices"][0]["message"]["tool_calls"]
    assert {call["id"] for call in calls} == {"a", "b"}
    assert [call["function"]["name"] for call in calls] == ["f", "g"]


def test_counts_of_a_stream_are_those_of_its_last_word():
    usage = {"input_tokens": 20, "cache_read_input_tokens": 2, "output_tokens": 9}
    assert folded(claude_events(usage=usage))["usage"]["total_tokens"] == 31


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("overloaded_error", 529),
        ("rate_limit_error", 429),
        ("authentication_error", 401),
        ("invalid_request_error", 400),
        ("unheard_of", 500),
    ],
)
def test_an_error_in_the_stream_is_the_providers_refusal(kind, status):
    reader = DIALECT.reader(AT)
    reader.take(exact(claude_events()[0]))
    with pytest.raises(RefusedError) as refusal:
        reader.take(exact({"type": "error", "error": {"type": kind, "message": "no"}}))
    assert (refusal.value.code, refusal.value.status) == ("dialect.refused", status)


def test_events_of_unknown_kinds_are_passed_on_whole():
    events = claude_events()
    strange = {"type": "weather_report", "sky": "blue"}
    assert folded([*events[:2], strange, *events[2:]])["provider_fields"] == {"events": [strange]}


@pytest.mark.parametrize("kept", range(len(claude_events()) - 1))
def test_a_stream_that_is_cut_anywhere_is_no_answer(kept):
    with pytest.raises(MalformedError):
        chunks(claude_events()[:kept])


@pytest.mark.parametrize(
    "change",
    [
        lambda events: [*events, {"type": "content_block_start", "index": 9, "content_block": {"type": "text"}}],
        lambda events: [events[0], events[1], events[1], *events[2:]],
        lambda events: [event for event in events if event["type"] != "content_block_start"],
        lambda events: [event for event in events if event["type"] != "content_block_stop"],
        lambda events: events[1:],
        lambda events: [
            *events[:2],
            {"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta"}},
            *events[2:],
        ],
        lambda events: [
            *events[:2],
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "x"}},
            *events[2:],
        ],
    ],
)
def test_events_out_of_order_are_refused(change):
    with pytest.raises(HoldfastError) as refusal:
        chunks(change(claude_events()))
    assert refusal.value.code == "dialect.answer"


def test_every_visible_character_is_in_a_part():
    shaped = DIALECT.whole(exact(claude_message({"type": "thinking", "thinking": "Hm.", "signature": "s"})), AT)
    data = b"|".join(part.data for part in map_parts("response", shaped))
    for seen in (b"Hm.", b"end_turn", b"claude-sonnet-4-6", b"msg_01"):
        assert seen in data
