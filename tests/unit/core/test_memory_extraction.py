"""Claims in what people say: found where they are, not found where they are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.encoding import sha256_hex
from holdfast.core.memory import FRESH_DAYS, MAX_CLAIM_BYTES
from holdfast.core.memory_extraction import Message, extract_claims


def claims(*texts, role="user"):
    return extract_claims([Message(role, text) for text in texts])


@pytest.mark.parametrize(
    "text",
    [
        "What is a lane?",
        "Do I live in Lisbon?",
        "If I lived in Porto, would I be happy?",
        "Please tell me a story.",
        "The weather is good.",
        "I know.",
        "",
        "...!?",
    ],
)
def test_what_is_no_claim_about_its_user_is_not_found(text):
    assert claims(text) == ()


@pytest.mark.parametrize("role", ["assistant", "tool", "system"])
def test_rules_take_nobodys_words_but_the_users(role):
    assert claims("I live in Lisbon.", role=role) == ()


@pytest.mark.parametrize(
    ("text", "claim", "slot"),
    [
        ("My name is Anna Lindt.", "Is called Anna Lindt.", "name"),
        ("I live in Lisbon now, by the way", None, None),
        ("I live in Lisbon now", "Lives in Lisbon.", "home"),
        ("I've just moved to Porto because it is cheaper.", "Lives in Porto.", "home"),
        ("i work for Acme", "Works at Acme.", "employer"),
        ("My favourite  tea is Assam.", "Has the favourite tea Assam.", "favourite-tea"),
        ("My favorite old film is Vertigo!", "Has the favourite old film Vertigo.", "favourite-old-film"),
        ("Remember that my time zone is CET.", "Has the time zone CET.", "time-zone"),
        ("Remember: the gate code is 4711.", "the gate code is 4711", None),
        ("I am allergic to nuts.", "I am allergic to nuts.", None),
    ],
)
def test_what_there_is_one_of_has_a_slot_and_one_spelling(text, claim, slot):
    found = claims(text)[0]
    assert found.slot == slot
    assert found.claim == (claim or text)


def test_a_claim_is_categorised_by_its_words():
    found = {item.claim: item.categories for item in claims("I am allergic to nuts. I study Greek. I have two cats.")}
    assert found == {
        "I am allergic to nuts.": ("health",),
        "I study Greek.": ("learning",),
        "I have two cats.": (),
    }


def test_what_goes_on_now_is_episodic():
    assert [item.kind for item in claims("I fly to Oslo tomorrow. I hate flying.")] == ["episodic", "semantic"]


def test_the_same_claim_is_found_once_and_names_the_bytes_of_its_span():
    (found,) = claims("I live in Lisbon. I live in Lisbon now.")
    assert found.span == sha256_hex(b"I live in Lisbon.")
    assert (found.lane, found.writer) == ("user_said", "user_said")


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "x"]), st.text()), max_size=4))
def test_anything_can_be_said(messages):
    for found in extract_claims([Message(role, text) for role, text in messages]):
        assert 0 < len(found.claim.encode()) <= MAX_CLAIM_BYTES
        assert set(found.categories) <= FRESH_DAYS.keys()


@given(st.text(alphabet="I my live in .,!? remember that\n", max_size=4000))
def test_no_text_keeps_it_busy(text):
    assert len(claims(text)) <= len(text)
