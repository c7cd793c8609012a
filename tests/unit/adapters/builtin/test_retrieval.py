"""How often the built-in responder finds the right topic, and how often it claims to know what it does not."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from holdfast.adapters.builtin.corpus import fingerprint, load_topics, parse_topics
from holdfast.adapters.builtin.responder import DONT_KNOW, Turn, respond
from holdfast.adapters.builtin.retrieval import Index
from holdfast.errors import MalformedError

HELD_OUT = tomllib.loads((Path(__file__).parent / "held_out.toml").read_text())


def topic_of(question: str) -> str:
    return respond([Turn("user", question)]).topic


def test_every_written_question_finds_its_own_topic():
    wrong = [(topic.id, ask, got) for topic in load_topics() for ask in topic.ask if (got := topic_of(ask)) != topic.id]
    assert wrong == []


@pytest.mark.parametrize("name", ["tuning", "unseen"])
def test_unwritten_questions_find_the_right_topic_in_85_of_100(name):
    asked = [(topic, question) for topic, questions in HELD_OUT[name]["questions"].items() for question in questions]
    right = sum(topic_of(question) == topic for topic, question in asked)
    assert right / len(asked) >= 0.85, f"{right} of {len(asked)}"


@pytest.mark.parametrize("name", ["tuning", "unseen"])
def test_questions_about_something_else_are_not_known_in_95_of_100(name):
    questions = HELD_OUT[name]["off_topic"]["questions"]
    claimed = [(question, topic) for question in questions if (topic := topic_of(question)) != DONT_KNOW]
    assert len(questions) >= 60
    assert len(claimed) / len(questions) <= 0.05, claimed


def test_the_corpus_is_large_enough_and_consistent():
    topics = load_topics()
    ids = [topic.id for topic in topics]
    asks = [ask.lower() for topic in topics for ask in topic.ask]
    assert len(topics) >= 60
    assert len(set(ids)) == len(ids)
    assert len(set(asks)) == len(asks)
    assert all(10 <= len(topic.ask) <= 25 for topic in topics)
    assert all(topic.next in {*ids, ""} for topic in topics)
    assert all(topic.answer and len(topic.answer) <= 1200 for topic in topics)


def test_no_held_out_question_stands_in_the_corpus():
    written = {ask.lower().strip(" ?!.") for topic in load_topics() for ask in topic.ask}
    unseen = {
        question.lower().strip(" ?!.")
        for questions in HELD_OUT["unseen"]["questions"].values()
        for question in questions
    }
    assert written & unseen == set()


def test_every_topic_has_held_out_questions():
    assert set(HELD_OUT["unseen"]["questions"]) == {topic.id for topic in load_topics()}


def test_a_misspelled_word_is_understood():
    assert topic_of("what is the setlement lane") == "lane.settlement"
    assert topic_of("how do I conect olama") == "connect.ollama"


@pytest.mark.parametrize("question", ["???", "1998", "xyzzy plugh", "\x00", "é", "😀", "a" * 5000])
def test_noise_is_not_known(question):
    assert topic_of(question) == DONT_KNOW


def test_searching_an_empty_question_finds_nothing():
    assert Index(load_topics()).search("") == []


def test_the_fingerprint_is_stable_and_short():
    assert fingerprint() == fingerprint()
    assert fingerprint().startswith("hf_")
    assert len(fingerprint()) == 19


def test_a_topic_with_an_unknown_field_is_refused():
    with pytest.raises(MalformedError) as caught:
        parse_topics(b'[[topic]]\nid = "a"\ntitle = "a"\nanswer = "a"\nask = "a"\ncolour = "green"\n')
    assert caught.value.code == "corpus.topic"
