"""The order of rows, and what a policy keeps out (``spec/recall.md`` §2, §3)."""

import datetime as dt

import numpy as np
import pytest

from holdfast.core.encoding import sha256_hex
from holdfast.core.retrieval.index import Entry, Hit, RowIndex
from holdfast.core.retrieval.ranking import MILLION, Facts, choose, rank
from holdfast.core.retrieval.search import find_for_message, find_rows
from holdfast.core.retrieval.words import TimeHint, questions_of

AT = dt.datetime(2026, 6, 15, tzinfo=dt.UTC)
NOW = AT.timestamp()
DAY = 86_400


def ranked(known, hint=None):
    hits = [Hit(row, 0.8, 0.5) for row in known]
    return rank(hits, known.get, at=NOW, hint=hint)


def facts(standing="earned", days=0, text="text"):
    return Facts(standing, NOW - days * DAY, text)


def test_standing_decides_between_rows_that_say_the_same():
    order = ["earned", "aging", "background", "contradicted", "withdrawn"]
    known = {f"row-{standing}": facts(standing) for standing in reversed(order)}
    assert [item.facts.standing for item in ranked(known)] == order


def test_newer_rows_come_first_and_more_so_where_a_question_is_about_now():
    known = {"old": facts(days=720), "new": facts(days=1)}
    usual, now = ranked(known), ranked(known, TimeHint(now=True))
    assert [item.id for item in usual] == [item.id for item in now] == ["new", "old"]
    assert now[1].scores.total < usual[1].scores.total


def test_a_row_of_the_time_that_is_asked_about_comes_first():
    known = {"then": facts(days=100), "later": facts(days=1)}
    hint = TimeHint(NOW - 110 * DAY, NOW - 90 * DAY)
    assert [item.id for item in ranked(known, hint)] == ["then", "later"]


def test_a_row_that_is_gone_or_says_too_little_is_left_out():
    assert rank([Hit("gone", 1.0, 1.0)], {}.get, at=NOW) == []
    assert rank([Hit("row", 0.05, 0.05)], {"row": facts()}.get, at=NOW) == []


def test_scores_multiply_to_their_total():
    [item] = ranked({"row": facts("aging", days=180)})
    scores = item.scores
    assert (scores.vector, scores.words, scores.standing) == (800_000, 500_000, 850_000)
    assert scores.time == MILLION - 50_000
    assert scores.total == 680_000 * scores.time // MILLION * scores.standing // MILLION
    assert item.path == ("vector", "words")


@pytest.mark.parametrize("standing", ["background", "contradicted", "withdrawn"])
def test_what_does_not_stand_as_a_fact_is_kept_out_and_takes_no_room(standing):
    known = {"good": facts(), "bad": facts(standing)}
    choice = choose(ranked(known), most=1, most_bytes=100)
    assert [item.id for _, item in choice.rows] == ["good"]
    assert [(kept.ranked.id, kept.why) for kept in choice.kept_out] == [("bad", "standing")]


def test_room_is_counted_in_rows_and_in_bytes():
    known = {f"row{number}": facts(days=number, text="x" * 10) for number in range(4)}
    order = ranked(known)
    assert [kept.why for kept in choose(order, most=3, most_bytes=1000).kept_out] == ["room"]
    few = choose(order, most=3, most_bytes=25)
    assert [number for number, _ in few.rows] == [1, 2]
    assert [kept.rank for kept in few.kept_out] == [3, 4]


def test_a_row_that_another_names_is_found():
    texts = {
        "a": "Maria has a sister called Elena",
        "b": "Elena repairs violins in Porto",
        "c": "Tom repairs bicycles in Ghent",
    }
    texts |= {f"other{number}": f"Visitor {number} drinks tea" for number in range(20)}
    index = RowIndex("11" * 32, 2)
    index.add([Entry(row, sha256_hex(row.encode()), text) for row, text in texts.items()], np.zeros((len(texts), 2)))
    known = {row: facts(text=text) for row, text in texts.items()}
    found = {
        item.id: item
        for item in find_rows(index, known.get, "What does the sister of Maria repair?", np.zeros(2), at=AT)
    }
    assert "hop" in found["b"].path
    assert found["b"].scores.total > found["c"].scores.total
    assert find_rows(RowIndex("11" * 32, 2), known.get, "Maria", np.zeros(2), at=AT) == []


def test_what_a_sentence_asks_is_found_whatever_else_a_message_says():
    texts = {"home": "I live in Lisbon", "work": "I repair violins"}
    texts |= {f"other{number}": f"Visitor {number} drinks tea" for number in range(20)}
    index = RowIndex("11" * 32, 2)
    index.add([Entry(row, sha256_hex(row.encode()), text) for row, text in texts.items()], np.zeros((len(texts), 2)))
    known = {row: facts(text=text) for row, text in texts.items()}
    message = "Where do I live? " + "Yesterday an orange balloon crossed seven quiet harbours before breakfast. " * 3
    assert "home" not in [item.id for item in find_rows(index, known.get, message, np.zeros(2), at=AT)]
    asked = [(question, np.zeros(2)) for question in questions_of(message)]
    found = find_for_message(index, known.get, asked, at=AT)
    assert found[0].id == "home"
    assert len({item.id for item in found}) == len(found)
