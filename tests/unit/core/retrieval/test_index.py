"""An index over words and vectors: what it finds, what it forgets, and what its version names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.encoding import sha256_hex
from holdfast.core.retrieval import index as module
from holdfast.core.retrieval.index import Entry, RowIndex
from holdfast.errors import MalformedError, UsageError

MODEL = "11" * 32
TEXTS = ["plays the cello", "lives in Lisbon", "plays chess in Lisbon", "has a sister Elena", "drinks tea"]


def entry(number, text=None):
    text = TEXTS[number % len(TEXTS)] if text is None else text
    return Entry(f"mem_{number:032x}", sha256_hex(text.encode()), text)


def vector(number, size=8):
    return np.random.default_rng(number).standard_normal(size).astype(np.float32)


def made(numbers):
    index = RowIndex(MODEL, 8)
    index.add([entry(number) for number in numbers], np.array([vector(number) for number in numbers]).reshape(-1, 8))
    return index


def found(index, question, about):
    hits = index.search(question, about)
    return {hit.id: (round(hit.vector, 4), round(hit.words, 4)) for hit in hits}


@pytest.mark.parametrize("wrong", [np.zeros((1, 7)), np.zeros(8), np.full((1, 8), np.nan), np.full((1, 8), np.inf)])
def test_a_vector_has_its_length_and_is_finite(wrong):
    index = RowIndex(MODEL, 8)
    with pytest.raises(UsageError) as caught:
        index.add([entry(1)], wrong)
    assert caught.value.code == "recall.vector"
    assert len(index) == 0


@pytest.mark.parametrize("wrong", [np.zeros(7), np.full(8, np.nan)])
def test_a_question_has_such_a_vector_too(wrong):
    with pytest.raises(UsageError) as caught:
        made([1]).search("cello", wrong)
    assert caught.value.code == "recall.vector"


def test_a_model_is_named_by_its_digest():
    with pytest.raises(MalformedError):
        RowIndex("short", 8)


def test_words_find_what_vectors_do_not_and_the_other_way():
    index = made(range(5))
    by_words = found(index, "cello", np.zeros(8))
    assert list(by_words) == [entry(0).id]
    near = index.search("nothing that is there", vector(3))
    assert max(near, key=lambda hit: hit.vector).id == entry(3).id
    assert max(hit.vector for hit in near) == pytest.approx(1, abs=1e-5)


def test_an_empty_index_finds_nothing():
    index = RowIndex(MODEL, 8)
    assert index.search("cello", vector(1)) == []
    assert index.search_naming(["cello"], ["play"], vector(1), most=5) == []


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=25))
def test_what_is_found_depends_on_the_rows_alone(steps):
    index, there = RowIndex(MODEL, 8), {}
    for adds, number in steps:
        if adds:
            index.add([entry(number)], vector(number)[np.newaxis])
            there[number] = True
        else:
            index.remove([entry(number).id])
            there.pop(number, None)
    fresh = made(sorted(there))
    assert len(index) == len(there)
    assert index.version == fresh.version
    assert found(index, "who plays in Lisbon", vector(2)) == found(fresh, "who plays in Lisbon", vector(2))


def test_the_version_names_the_model_and_what_each_row_says():
    rows = made([1, 2])
    other_model = RowIndex("22" * 32, 8)
    other_model.add([entry(1), entry(2)], np.array([vector(1), vector(2)]))
    other_text = made([1])
    other_text.add([entry(2, "says something else")], vector(2)[np.newaxis])
    assert len({rows.version, other_model.version, other_text.version, made([1]).version}) == 4
    assert rows.version == made([2, 1]).version


def test_a_row_that_is_added_again_is_replaced():
    index = made([0, 1])
    index.add([entry(0, "plays the harp")], vector(7)[np.newaxis])
    assert len(index) == 2
    assert found(index, "cello", np.zeros(8)) == {}
    assert list(found(index, "harp", np.zeros(8))) == [entry(0).id]


def test_places_of_rows_that_are_gone_are_given_up():
    index = made(range(2000))
    index.remove(entry(number).id for number in range(1500))
    fresh = made(range(1500, 2000))
    assert index.version == fresh.version
    assert len(index._ids) == 500
    assert found(index, "cello Lisbon", vector(1999)) == found(fresh, "cello Lisbon", vector(1999))


def test_a_closed_index_holds_nothing():
    index = made(range(5))
    vectors = index._vectors
    index.close()
    assert len(index) == 0
    assert not vectors.any()
    assert index.search("cello", vector(0)) == []
    assert index.version == RowIndex(MODEL, 8).version


def test_a_sketch_finds_the_nearest(monkeypatch):
    monkeypatch.setattr(module, "EXACT_ELEMENTS", 1000)
    monkeypatch.setattr(module, "SKETCHED", 200)
    index = made(range(1000))
    for number in (3, 400, 999):
        best = max(index.search("", vector(number)), key=lambda hit: hit.vector)
        assert best.id == entry(number).id
    index.remove([entry(3).id])
    assert entry(3).id not in found(index, "", vector(3))
    index.add([entry(3)], vector(3)[np.newaxis])
    assert found(index, "", vector(3))[entry(3).id][0] == 1


def test_rows_that_name_a_word_are_scored_as_all_are(monkeypatch):
    index = made(range(40))
    index.remove([entry(2).id])
    all_hits = found(index, "lisbon play", np.zeros(8))
    naming = index.search_naming(["lisbon"], ["play"], np.zeros(8), most=40)
    assert {hit.id: round(hit.words, 4) for hit in naming} == {
        row: words for row, (_, words) in all_hits.items() if "Lisbon" in TEXTS[int(row[4:], 16) % len(TEXTS)]
    }
    assert len(index.search_naming(["lisbon"], ["play"], np.zeros(8), most=3)) == 3
    assert index.search_naming(["harp"], ["play"], np.zeros(8), most=3) == []
    monkeypatch.setattr(module, "MOST_NAMED", 3)
    assert index.search_naming(["lisbon"], ["play"], np.zeros(8), most=3) == []
