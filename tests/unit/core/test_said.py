"""What a user newly says: never what others said, and nothing that is marked as a quotation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.said import MAX_SAID_BYTES, MAX_STRETCHES, Saying, parse_kept, said_in
from holdfast.errors import HoldfastError

TEXTS = st.text(alphabet=st.sampled_from("ab>`~ \n\t"), max_size=80)


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(*messages: Any) -> tuple[str, ...]:
    return said_in({"messages": list(messages)})


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [user("")],
        [user("> I live in Oslo.")],
        [user("  > I live in Oslo.\n\n>I like maps.")],
        [user("```\nI live in Oslo.\n```")],
        [user("~~~\nI live in Oslo.")],
        [user("```\nI live in Oslo.\n~~~\nI like maps.")],
        [user("I live in Oslo."), {"role": "assistant", "content": "I live in Rome."}],
        [user("I live in Oslo."), {"role": "tool", "content": "I live in Rome."}],
        [user("I live in Oslo."), {"role": "function", "content": "I live in Rome."}],
        [{"role": "system", "content": "I live in Rome."}],
        [{"role": "developer", "content": "I live in Rome."}],
        [{"role": "assistant", "content": "I live in Rome."}],
        [user("I live in Oslo. <holdfast:memory>")],
        [user([{"type": "file", "text": "I live in Oslo."}])],
        [user([{"type": "image_url", "image_url": {"url": "I live in Oslo."}}])],
        [user([{"type": "text", "text": 7}])],
        [user({"text": "I live in Oslo."})],
        ["I live in Oslo."],
    ],
)
def test_what_is_not_newly_said_by_the_user_is_nothing(messages: list[Any]) -> None:
    with pytest.raises(HoldfastError) as caught:
        said(*messages)
    assert caught.value.code == "said.nothing"


def test_only_what_nobody_answered_yet_is_new() -> None:
    before = [user("I live in Rome."), {"role": "assistant", "content": "I see."}]
    assert said(*before, {"role": "system", "content": "Be brief."}, user("I live in Oslo."), user("I like maps.")) == (
        "I live in Oslo.",
        "I like maps.",
    )


def test_a_quotation_divides_what_is_said_and_is_left_out() -> None:
    text = "The page says:\n> I live in Oslo.\nI like maps.\n```\nI hate maps.\n```\nI play the cello."
    assert said(user(text)) == ("The page says:", "I like maps.", "I play the cello.")


def test_each_text_among_parts_is_one() -> None:
    parts = [
        {"type": "text", "text": "I live in Oslo."},
        {"type": "file", "file": {}},
        {"type": "text", "text": "Yes."},
    ]
    assert said(user(parts)) == ("I live in Oslo.", "Yes.")


@pytest.mark.parametrize("text", ["a" * (MAX_SAID_BYTES + 1), "\n> q\n".join(["a"] * (MAX_STRETCHES + 1))])
def test_too_much_is_not_handed_over_in_part(text: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        said(user(text))
    assert caught.value.code == "said.size"


@given(TEXTS)
def test_every_stretch_stands_in_the_message_word_for_word_and_no_line_of_it_is_quoted(text: str) -> None:
    own = "I said it."
    found = said(user(f"{own}\n> {text}"), user(text))
    assert found[0] == own
    assert all(stretch in f"{own}\n> {text}" for stretch in found)
    assert not any(line.lstrip().startswith((">", "```")) for stretch in found for line in stretch.split("\n"))


def test_a_saying_names_its_run_and_user_and_no_other_role() -> None:
    assert Saying("r", "u", ("I live in Oslo.",)).to_json() == {
        "run": "r",
        "user": "u",
        "source": "gateway",
        "messages": [{"role": "user", "content": "I live in Oslo."}],
    }


@pytest.mark.parametrize("value", [{}, {"memories": []}, {"memories": 1, "renewed": []}])
def test_an_answer_that_tells_no_rows_is_refused(value: Any) -> None:
    with pytest.raises(HoldfastError) as caught:
        parse_kept(value)
    assert caught.value.code == "said.answer"
