"""Words of a text, and what a question says of time (``spec/recall.md`` §2)."""

import datetime as dt

import pytest

from holdfast.core.retrieval.words import MOST_SENTENCES, MOST_WORDS, questions_of, stem, time_hint, words_of

AT = dt.datetime(2026, 6, 15, 12, tzinfo=dt.UTC)


def test_words_lose_their_endings_and_what_every_text_has():
    assert words_of("She's RUNNING the studies; they were planned, quickly!") == ["run", "study", "plan", "quick"]
    assert words_of("Maria’s caf\u00e9 — \u6771\u4eac") == ["maria", "caf\u00e9", "\u6771\u4eac"]
    assert words_of("the of and") == []


def test_a_text_of_any_length_has_so_many_words():
    assert len(words_of("word " * (MOST_WORDS + 5))) == MOST_WORDS


@pytest.mark.parametrize(
    "message", ["Where do I live?", "Hi! Where do I live", "It costs 3.50, e.g.", "", "?!", "\n\n"]
)
def test_a_message_of_one_sentence_is_asked_as_it_is(message):
    assert questions_of(message)[0] == message
    assert len(questions_of("Where do I live?")) == 1


def test_each_sentence_is_asked_by_itself_and_questions_first():
    message = "Where do I live? I have a cat called Tom.\nShe likes fish! The and of. Where do I live?"
    assert questions_of(message) == [message, "Where do I live?", "She likes fish!", "I have a cat called Tom."]


def test_of_a_long_message_so_many_sentences_are_asked():
    message = "What is the first? " + " ".join(f"Number {number} came." for number in range(500))
    asked = questions_of(message)
    assert len(asked) == 1 + MOST_SENTENCES
    assert asked[1] == "What is the first?"
    assert asked[2] == "Number 499 came."


@pytest.mark.parametrize(
    ("one", "other"), [("make", "making"), ("live", "lives"), ("adopt", "adopted"), ("city", "cities")]
)
def test_forms_of_a_word_meet(one, other):
    assert stem(one) == stem(other)


@pytest.mark.parametrize(
    ("question", "start", "days"),
    [
        ("Where was she on 2026-03-04?", "2026-03-04", 1),
        ("What happened in 2026-02?", "2026-02-01", 28),
        ("What did he buy on March 4, 2026?", "2026-03-04", 1),
        ("What did he buy on the 4th of March 2026?", "2026-03-04", 1),
        ("Where did she go in February 2024?", "2024-02-01", 29),
        ("What did she learn in 2024?", "2024-01-01", 366),
    ],
)
def test_a_date_is_a_span(question, start, days):
    hint = time_hint(question, AT)
    begin = dt.datetime.fromisoformat(f"{start}T00:00:00+00:00").timestamp()
    assert (hint.start, hint.end) == (begin, begin + days * 86_400)


@pytest.mark.parametrize("question", ["yesterday", "last week", "two weeks ago", "3 months ago", "a year ago"])
def test_a_span_before_now_ends_by_now(question):
    hint = time_hint(f"What did I do {question}?", AT)
    assert hint.start < hint.end <= AT.timestamp()


@pytest.mark.parametrize("question", ["Where does she live now?", "What is my current job?", "Does he still smoke?"])
def test_a_question_can_be_about_now(question):
    assert time_hint(question, AT).now


@pytest.mark.parametrize("question", ["What does she play?", "On 2026-13-45?", "On February 31, 2026?", "In 0000-00?"])
def test_what_names_no_time_hints_at_none(question):
    assert time_hint(question, AT) is None
