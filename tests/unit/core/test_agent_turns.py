"""What a model said is read as text and calls and nothing more, whatever it wrote."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.agent_turns import MAX_SHOWN, Call, Said, error_message, parse_said, result_message
from holdfast.core.canonical import NumberText
from holdfast.errors import MalformedError

JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("id", "function", "name", "x")), inner)
    ),
    max_leaves=6,
)


def answer(message: Any) -> dict[str, Any]:
    return {"choices": [{"message": message}]}


@pytest.mark.parametrize(
    "response", [{}, {"choices": []}, {"choices": [1]}, answer(None), answer("hi"), answer({"tool_calls": [{}] * 65})]
)
def test_what_is_no_answer_is_refused(response: Any) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_said(response)
    assert caught.value.code == "agent.turn"


@given(st.lists(JSON, max_size=4))
def test_every_call_has_an_id_of_its_own_and_can_go_before_the_model_again(listed: list[Any]) -> None:
    said = parse_said(answer({"content": None, "tool_calls": listed}))
    assert len(said.calls) == len(listed) == len({call.id for call in said.calls})
    for call in said.echoed().get("tool_calls", []):
        assert call["type"] == "function"
        assert call["function"].keys() == {"name", "arguments"}


def test_other_members_of_an_answer_are_not_read() -> None:
    call = {"id": "c", "function": {"name": "wire", "arguments": "{}", "effect": "read"}, "parent_run": "x"}
    said = parse_said(answer({"content": "Hm.", "tool_calls": [call], "effect": "read", "queue": "default"}))
    assert said == Said("Hm.", (Call("c", "wire", "{}"),))
    assert said.echoed()["tool_calls"] == [
        {"id": "c", "type": "function", "function": {"name": "wire", "arguments": "{}"}}
    ]


def test_arguments_as_an_object_are_none() -> None:
    said = parse_said(
        answer({"tool_calls": [{"id": NumberText("1"), "function": {"name": "a b", "arguments": {"a": 1}}}]})
    )
    assert said.calls == (Call("call_0", "a b", ""),)
    assert said.calls[0].name == "-"


@given(st.text())
def test_no_text_ends_its_marks(text: str) -> None:
    call = Call("c", "look", "{}")
    for message, mark in ((result_message(call, "run", text), "result"), (error_message(call, "run", text), "error")):
        content = message["content"]
        assert content.startswith(f'<{mark} tool="look" step="run"')
        assert content.endswith(f"\n</{mark}>")
        assert content.count("<") == 2


def test_a_long_result_says_how_much_is_not_there() -> None:
    content = result_message(Call("c", "look", "{}"), "run", "x" * (MAX_SHOWN + 7))["content"]
    assert content.startswith('<result tool="look" step="run" cut="7">\n')
    assert content.count("x") == MAX_SHOWN
