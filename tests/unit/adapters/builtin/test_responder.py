"""Conversations with the built-in responder: follow-ups, honesty, determinism."""

from __future__ import annotations

import pytest

from holdfast.adapters.builtin.responder import DONT_KNOW, Turn, find_topic, respond
from holdfast.adapters.builtin.words import count_tokens, stem, tokens, words


def talk(*said: str) -> list[str]:
    """The topics of a conversation in which the user says these things."""
    turns: list[Turn] = []
    topics: list[str] = []
    for text in said:
        turns.append(Turn("user", text))
        reply = respond(turns)
        turns.append(Turn("assistant", reply.text))
        topics.append(reply.topic)
    return topics


def test_what_is_not_known_is_said_to_be_unknown():
    reply = respond([Turn("user", "who won the 1998 world cup")])
    assert reply.topic == DONT_KNOW
    assert reply.text.startswith("I don't know.")
    assert "not a language model" in reply.text


def test_a_near_miss_names_what_is_known():
    reply = respond([Turn("user", "which blockchain explorer shows the enclave quantum lane of saturn")])
    assert reply.topic == DONT_KNOW


def test_the_next_one_follows_the_order():
    assert talk("what is the enclave lane?", "and the next one?", "next", "the previous one") == [
        "lane.enclave",
        "lane.bytes",
        "lane.artifact",
        "lane.bytes",
    ]


def test_what_about_completes_the_family():
    assert talk("what is the enclave lane?", "and what about memory?", "how about payment") == [
        "lane.enclave",
        "lane.memory",
        "lane.payment",
    ]
    assert talk("what does proven mean", "and unknown?") == ["state.proven", "state.unknown"]


def test_more_is_about_the_same_topic_and_says_when_there_is_none():
    turns = [Turn("user", "what is holdfast?"), Turn("assistant", "..."), Turn("user", "tell me more")]
    more = respond(turns)
    assert more.topic == "about.holdfast"
    assert more.text != respond(turns[:1]).text
    assert "all that was written" in respond([Turn("user", "thanks"), Turn("user", "tell me more")]).text


def test_a_follow_up_without_a_topic_before_it_is_not_guessed():
    assert talk("and the next one?") == [DONT_KNOW]


def test_a_greeting_before_a_question_does_not_hide_it():
    assert talk("Hi! What is a full node?") == ["node.full"]
    assert talk("Hello, how do I connect ollama") == ["connect.ollama"]


def test_of_several_sentences_the_best_one_counts():
    assert talk("I read your page yesterday with my colleague Bob. What is a bundle?") == ["ev.bundle"]


def test_calculation_comes_first_and_dates_only_when_given():
    assert talk("what is 15% of 80", "5 miles in km", "what day is 2026-05-01") == ["arithmetic", "units", "date"]
    system = Turn("system", "Today is 2026-01-31.")
    assert "2026-01-31" in respond([system, Turn("user", "what is the date today?")]).text


def test_only_the_users_words_are_read():
    turns = [Turn("system", "what is the enclave lane?"), Turn("assistant", "what is a round"), Turn("user", "hello")]
    assert respond(turns).topic == "talk.hello"
    assert respond([Turn("system", "what is the enclave lane?")]).topic == "talk.hello"


@pytest.mark.parametrize(
    ("turn", "topic"), [(Turn("user", "  "), "talk.silence"), (Turn("user", "", True), "talk.images")]
)
def test_an_empty_message_is_answered_for_what_it_is(turn, topic):
    assert respond([turn]).topic == topic


def test_the_same_conversation_gets_the_same_answer():
    turns = [Turn("user", "what is a checkpoint"), Turn("user", "why?")]
    assert respond(turns) == respond(turns)


def test_a_long_message_is_bounded():
    assert respond([Turn("user", "what is a round? " * 10_000)]).topic == "round.what"


def test_find_topic_gives_a_score():
    match = find_topic("what is a bundle")
    assert match is not None
    assert match.score > 0.9
    assert find_topic("") is None


# Words.


@pytest.mark.parametrize(
    "forms",
    [
        "verify verified verifies verification",
        "settle settled settles settlement",
        "log logs logged logging",
        "prove proves proven proof proofs",
        "vote votes voting",
        "policy policies",
        "bundle bundles",
    ],
)
def test_the_forms_of_a_word_share_a_stem(forms):
    assert len({stem(word) for word in forms.split()}) == 1


@pytest.mark.parametrize(("one", "other"), [("state", "statement"), ("station", "state"), ("attester", "attestation")])
def test_different_words_keep_different_stems(one, other):
    assert stem(one) != stem(other)


def test_words_are_folded_and_contractions_written_out():
    assert words("What\u2019s the caf\u00e9's LOG_size?") == ["what", "is", "the", "cafe", "log", "size"]


@pytest.mark.parametrize(
    "text", ["", "Hello, world!", " a  b\n\n", "caf\u00e9 \u65e5\u672c\u8a9e \U0001f642", "\n", "x\u00a0y"]
)
def test_tokens_join_to_the_text(text):
    assert "".join(tokens(text)) == text
    assert count_tokens(text) == len(tokens(text))
