"""Messages requests as chats: what has a place goes there, what has none is named or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.core import canonical
from holdfast.core.messages.request import Chat, to_chat
from holdfast.errors import UsageError


def chat(**members: Any) -> Chat:
    asked = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}], **members}
    return to_chat(canonical.decode_exact(json.dumps(asked).encode()))


def sent(**members: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(canonical.encode_exact(chat(**members).document))
    return found


def turns(*blocks: Any, role: str = "user") -> Any:
    return sent(messages=[{"role": role, "content": list(blocks)}])["messages"]


@pytest.mark.parametrize(
    ("members", "code", "param"),
    [
        ({"container": "c"}, "messages.parameter", "container"),
        ({"mcp_servers": []}, "messages.parameter", "mcp_servers"),
        ({"system": [{"type": "image"}]}, "messages.block", "system.0"),
        ({"system": 7}, "messages.shape", "system"),
        ({"messages": "Hi"}, "messages.shape", "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.role", "messages.0.role"),
        ({"messages": [{"role": "user", "content": "x", "name": "n"}]}, "messages.parameter", "messages.0.name"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages.block", "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages.block", None),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "messages.block", None),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "citations": [1]}]}]},
            "messages.parameter",
            None,
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                ]
            },
            "messages.block",
            "messages.0.content.0.source",
        ),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t"}]}]}, "messages.block", None),
        ({"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]}, "messages.block", None),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "messages.tool", "tools.0"),
        ({"tools": [{"name": "f"}]}, "messages.shape", "tools.0.input_schema"),
        ({"tools": [{"name": "f", "input_schema": {}, "defer_loading": True}]}, "messages.parameter", None),
        ({"tool_choice": {"type": "some"}}, "messages.tool", "tool_choice"),
        ({"tool_choice": {"type": "tool"}}, "messages.tool", "tool_choice"),
        ({"metadata": {"team": "x"}}, "messages.parameter", "metadata.team"),
        ({"output_config": {"format": {"type": "xml"}}}, "messages.parameter", "output_config.format"),
        ({"output_config": {"loud": True}}, "messages.parameter", "output_config.loud"),
    ],
)
def test_what_has_no_place_and_would_change_the_answer_is_refused(
    members: dict[str, Any], code: str, param: str | None
) -> None:
    with pytest.raises(UsageError) as refused:
        chat(**members)
    assert refused.value.code == code
    assert param is None or refused.value.param == param


def test_hints_for_caches_and_marks_of_failed_tools_are_named() -> None:
    cached = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    found = chat(system=[cached], messages=[{"role": "user", "content": [cached]}])
    assert found.ignored == ("cache_control",)
    assert b"cache_control" not in canonical.encode_exact(found.document)
    failed = {"type": "tool_result", "tool_use_id": "t", "content": "no", "is_error": True}
    assert chat(messages=[{"role": "user", "content": [failed]}]).ignored == ("messages.content.is_error",)
    assert chat().ignored == ()


def test_parameters_go_where_a_chat_has_them_and_numbers_keep_their_text() -> None:
    document = chat(
        temperature=1.0,
        top_p=0.5,
        top_k=3,
        stop_sequences=["\n"],
        metadata={"user_id": "u"},
        service_tier="standard_only",
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    ).document
    assert (document["temperature"], document["max_tokens"], document["top_k"]) == ("1.0", "64", "3")
    assert (document["stop"], document["user"], document["service_tier"]) == (["\n"], "u", "default")
    assert document["reasoning_effort"] == "low"
    assert document["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_a_stream_asks_for_the_counts_that_a_message_ends_with() -> None:
    assert sent(stream=True)["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent()


def test_thinking_is_passed_on_where_it_is_wanted() -> None:
    assert sent(thinking={"type": "enabled", "budget_tokens": 2048})["thinking"]["budget_tokens"] == 2048
    assert "thinking" not in sent(thinking={"type": "disabled"})


def test_instructions_come_first() -> None:
    assert sent(system="Be brief.")["messages"][0] == {"role": "system", "content": "Be brief."}
    parts = sent(system=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])["messages"][0]["content"]
    assert [part["text"] for part in parts] == ["a", "b"]


def test_instructions_between_turns_stay_where_they_stand() -> None:
    turn = {"role": "user", "content": "Hi"}
    made = sent(messages=[turn, {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, turn])
    assert made["messages"] == [turn, {"role": "system", "content": "Be brief."}, turn]


def test_blocks_of_a_user_are_parts_and_results_of_tools_come_before_them() -> None:
    made = turns(
        {"type": "text", "text": "What is it?"},
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "rain"}]},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}},
    )
    assert made[0] == {"role": "tool", "tool_call_id": "t1", "content": "rain"}
    assert [part["type"] for part in made[1]["content"]] == ["text", "image_url", "image_url"]
    assert made[1]["content"][1]["image_url"]["url"] == "data:image/png;base64,AAAA"


def test_a_result_alone_makes_no_empty_turn_beside_it() -> None:
    made = turns({"type": "tool_result", "tool_use_id": "t1"})
    assert made == [{"role": "tool", "tool_call_id": "t1", "content": ""}]


def test_what_the_model_said_is_texts_calls_and_signed_thinking() -> None:
    [made] = turns(
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "xx"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "t1", "name": "weather", "input": {"celsius": 7.0}},
        role="assistant",
    )
    assert made["content"] == "Let me see."
    assert made["tool_calls"] == [
        {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"celsius":7.0}'}}
    ]
    assert [detail["type"] for detail in made["reasoning_details"]] == ["reasoning.text", "reasoning.encrypted"]
    assert turns({"type": "tool_use", "id": "t", "name": "f", "input": {}}, role="assistant")[0]["content"] is None


def test_tools_are_functions_and_choices_have_their_names() -> None:
    tool = {"name": "f", "description": "d", "input_schema": {"type": "object"}}
    made = sent(tools=[tool, {**tool, "type": "custom", "strict": True}])["tools"]
    assert made[0] == {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
    }
    assert made[1]["function"]["strict"] is True
    assert [sent(tool_choice={"type": kind})["tool_choice"] for kind in ("auto", "any", "none")] == [
        "auto",
        "required",
        "none",
    ]
    forced = sent(tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True})
    assert forced["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert forced["parallel_tool_calls"] is False
