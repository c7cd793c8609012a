"""A chat as Anthropic's Messages API is asked it (``spec/dialects.md`` §2)."""

from __future__ import annotations

import json

import pytest

from holdfast.core import canonical
from holdfast.core.dialects.anthropic import AnthropicDialect
from holdfast.errors import UsageError

USER = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def prepare(messages=None, model="claude-sonnet-4-6", **more):
    text = json.dumps({"model": model, "messages": [USER] if messages is None else messages, **more})
    return AnthropicDialect().prepare("chat.completions", canonical.decode_exact(text.encode()))


def sent(*arguments, **more):
    """What leaves, read as any JSON reader would."""
    return json.loads(canonical.encode_exact(prepare(*arguments, **more).document))


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "system", "content": "only that"}]}, "messages"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages.0.content.0"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc"}}]}]},
            "messages.0.content.0",
        ),
        ({"messages": [USER, {"role": "tool", "content": "x"}]}, "messages.1.tool_call_id"),
        (
            {
                "messages": [
                    USER,
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "[1]"}}],
                    },
                ]
            },
            "messages.1.tool_calls.0.function.arguments",
        ),
        ({"tools": [{"type": "web_search"}]}, "tools.0"),
        ({"tools": {}}, "tools"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_named(more, param):
    with pytest.raises(UsageError) as refusal:
        prepare(more.pop("messages", None), **more)
    assert (refusal.value.code, refusal.value.param) == ("request.dialect", param)


def test_completions_are_refused():
    with pytest.raises(UsageError, match="chats only"):
        AnthropicDialect().prepare("completions", {"model": "claude-sonnet-4-6", "prompt": "Hello"})


def test_a_plain_chat_needs_nothing_but_a_limit_which_is_said():
    prepared = prepare(max_tokens=100, temperature=0.30)
    assert prepared.path == "/messages"
    assert prepared.rewrites == ("dialect-anthropic",)
    assert prepared.ignored == ()
    assert sent(max_tokens=100)["messages"] == [USER]
    without = prepare()
    assert without.rewrites == ("dialect-anthropic", "max-tokens-added")
    assert without.document["max_tokens"] == "4096"


def test_numbers_and_characters_survive_exactly():
    text = (
        '{"model":"claude-sonnet-4-6","max_tokens":10,"temperature":0.10,"top_k":1e1,'
        '"messages":[{"role":"user","content":"é😀\\u2028"}]}'
    )
    document = AnthropicDialect().prepare("chat.completions", canonical.decode_exact(text.encode())).document
    out = canonical.encode_exact(document).decode()
    assert '"temperature":0.10' in out
    assert '"top_k":1e1' in out
    assert "é😀\u2028" in out


def test_instructions_become_the_system_and_are_said_to_have_moved_only_where_they_did():
    first = {"role": "system", "content": "Be brief."}
    then = {"role": "developer", "content": [{"type": "text", "text": "In "}, {"type": "text", "text": "French."}]}
    assert sent([first, then, USER])["system"] == [
        {"type": "text", "text": "Be brief."},
        {"type": "text", "text": "In French."},
    ]
    assert "system-moved" not in prepare([first, then, USER]).rewrites
    assert "system-moved" in prepare([first, USER, then]).rewrites


def test_images_go_as_data_or_as_addresses_and_their_detail_is_named_as_ignored():
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://images.example/cat.jpg"}},
    ]
    message = {"role": "user", "content": content}
    assert sent([message])["messages"][0]["content"][1:] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "image", "source": {"type": "url", "url": "https://images.example/cat.jpg"}},
    ]
    assert prepare([message]).ignored == ("messages.content.image_url.detail",)


def test_calls_and_their_results_go_back_results_of_one_turn_together():
    calls = [
        {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Graz","n":1.50}'}},
        {"id": "b", "type": "function", "function": {"name": "time", "arguments": ""}},
    ]
    messages = [
        USER,
        {"role": "assistant", "content": "Let me see.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": "rain"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "noon"}]},
        USER,
    ]
    out = canonical.encode_exact(prepare(messages).document).decode()
    assert '"input":{"city":"Graz","n":1.50}' in out
    turns = sent(messages)["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "user"]
    assert turns[1]["content"][0] == {"type": "text", "text": "Let me see."}
    assert turns[1]["content"][2] == {"type": "tool_use", "id": "b", "name": "time", "input": {}}
    assert turns[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "rain"},
        {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "noon"}]},
    ]


def test_signed_thinking_goes_back_first_and_other_thinking_is_named_as_ignored():
    details = [
        {"index": 0, "type": "reasoning.text", "format": "anthropic-claude-v1", "text": "hm", "signature": "sig"},
        {"index": 1, "type": "reasoning.encrypted", "format": "anthropic-claude-v1", "data": "xyz"},
    ]
    said = {"role": "assistant", "content": "Yes.", "reasoning_content": "hm", "reasoning_details": details}
    assert sent([USER, said, USER])["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": "Yes."},
    ]
    assert prepare([USER, said, USER]).ignored == ()
    foreign = {"role": "assistant", "content": "Yes.", "reasoning_content": "hm", "reasoning_details": [{"type": "x"}]}
    assert prepare([USER, foreign, USER]).ignored == ("messages.reasoning_content", "messages.reasoning_details")
    assert sent([USER, foreign, USER])["messages"][1] == {"role": "assistant", "content": "Yes."}


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, {"type": "tool", "name": "weather"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"parallel_tool_calls": False, "tool_choice": "required"},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"parallel_tool_calls": False, "tool_choice": "none"}, {"type": "none"}),
        ({"parallel_tool_calls": True}, None),
    ],
)
def test_the_choice_of_tools(given, choice):
    document = sent(tools=[TOOL], **given)
    assert document.get("tool_choice") == choice
    assert document["tools"] == [{"name": "weather", "input_schema": {"type": "object", "properties": {}}}]


def test_a_schema_is_an_output_format_and_any_json_is_named_as_ignored():
    wanted = {"name": "answer", "strict": True, "description": "An answer.", "schema": {"type": "object"}}
    asked = {"response_format": {"type": "json_schema", "json_schema": wanted}}
    assert sent(**asked)["output_config"] == {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert prepare(**asked).ignored == ("response_format.json_schema.description",)
    assert prepare(response_format={"type": "json_object"}).ignored == ("response_format",)
    assert prepare(response_format={"type": "text"}).ignored == ()


@pytest.mark.parametrize(
    ("model", "given", "thinking", "limit"),
    [
        ("claude-sonnet-4-6", {}, {"type": "adaptive", "display": "summarized"}, 16_384),
        ("claude-sonnet-4-5-20250929", {}, {"type": "enabled", "budget_tokens": 8192}, 12_288),
        ("claude-opus-4-20250514", {"max_tokens": 3000}, {"type": "enabled", "budget_tokens": 2999}, 3000),
        ("claude-3-7-sonnet-latest", {"max_tokens": 9000}, {"type": "enabled", "budget_tokens": 8192}, 9000),
    ],
)
def test_effort_becomes_a_budget_or_adaptive_thinking_by_the_model(model, given, thinking, limit):
    document = sent(model=model, reasoning_effort="medium", **given)
    assert (document["thinking"], document["max_tokens"]) == (thinking, limit)
    adaptive = thinking["type"] == "adaptive"
    assert document.get("output_config") == ({"effort": "medium"} if adaptive else None)


@pytest.mark.parametrize(
    ("model", "given"),
    [
        ("claude-3-haiku-20240307", {"reasoning_effort": "high"}),
        ("claude-sonnet-4-5", {"reasoning_effort": "high", "max_tokens": 1000}),
        ("claude-sonnet-4-5", {"reasoning_effort": "high", "max_tokens": 1e3}),
        ("claude-opus-4-7", {"reasoning_effort": "colossal"}),
        ("claude-opus-4-7", {"reasoning_effort": "high", "thinking": {"type": "disabled"}}),
    ],
)
def test_effort_that_cannot_be_asked_for_is_named_as_ignored(model, given):
    assert prepare(model=model, **given).ignored == ("reasoning_effort",)


def test_an_effort_of_none_switches_thinking_off():
    assert sent(reasoning_effort="none")["thinking"] == {"type": "disabled"}
    assert "thinking" not in sent(model="claude-3-haiku-20240307", reasoning_effort="none")


def test_effort_and_schema_share_the_output_configuration():
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    document = sent(reasoning_effort="minimal", response_format=wanted)
    assert document["output_config"] == {"format": {"type": "json_schema", "schema": {}}, "effort": "low"}


def test_every_parameter_without_a_place_is_named_and_none_is_left_out_silently():
    given = {
        "seed": 1,
        "logprobs": True,
        "top_logprobs": 2,
        "logit_bias": {},
        "presence_penalty": 1,
        "n": 2,
        "store": True,
        "metadata": {},
        "made_up": "x",
        "service_tier": "flex",
        "frequency_penalty": None,
    }
    assert prepare(**given).ignored == tuple(sorted(given.keys() - {"frequency_penalty"}))


def test_parameters_that_have_a_place():
    document = sent(
        stop="END",
        user="u1",
        service_tier="default",
        n=1,
        stream=True,
        stream_options={"include_usage": True},
        max_completion_tokens=5,
        max_tokens=7,
    )
    assert document["stop_sequences"] == ["END"]
    assert document["metadata"] == {"user_id": "u1"}
    assert document["service_tier"] == "standard_only"
    assert document["max_tokens"] == 5
    assert document["stream"] is True
    assert set(document) == {"model", "stream", "messages", "stop_sequences", "metadata", "service_tier", "max_tokens"}
