"""Recall documents: made of rows, held against what stands before a model (``spec/recall.md``)."""

import datetime as dt
from dataclasses import replace

import pytest

from holdfast.core.context import Block
from holdfast.core.encoding import sha256_hex
from holdfast.core.memory import Source, begin, build_event, extend, next_event, standing_of
from holdfast.core.parts import pseudo_random_key
from holdfast.core.recalls import (
    MAX_KEPT_OUT,
    MAX_QUERY,
    FoundRow,
    Index,
    RecallPolicy,
    Scores,
    build_recall,
    claim_digest,
    head_digest,
    parse_recall_document,
    query_digest,
    query_of,
    recall_blocks,
    recall_key,
    verify_context,
    verify_query,
)
from holdfast.errors import MalformedError, RefusedError

RUN = "01890000-0000-7000-8000-000000000001"
AT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
KEY = recall_key(pseudo_random_key(RUN, bytes(32)))
INDEX = Index("11" * 32, "22" * 32, 5)
SCORES = Scores(1, 2, 3, 4, 5)


def row(number, claim="Plays the cello.", days=3, writer="user_said", **more):
    source = (
        Source("owner", None, "user_said") if writer == "user_said" else Source("messages", None, writer, ("00" * 32,))
    )
    members = {
        "claim": claim,
        "kind": "semantic",
        "categories": [],
        "slot": None,
        "writer": writer,
        "authority": writer,
        "sources": [source.to_json()],
        "agent": None,
        "thread": None,
        "origin": None,
        "expires": None,
        "supersedes": None,
        **more,
    }
    return begin(build_event(None, "added", f"mem_{number:032x}", AT - dt.timedelta(days=days), **members))


def found(*rows, why=None):
    return [
        FoundRow(item, standing_of(item, AT), rank, SCORES, ("words",), why and why(item))
        for rank, item in enumerate(rows, 1)
    ]


def made(*rows, policy=None, why=None):
    return build_recall(RUN, AT, KEY, "cello?", INDEX, policy or RecallPolicy(), found(*rows, why=why))


def code(caught):
    return caught.value.code


@pytest.mark.parametrize("change", ["background", "contradicted", "withdrawn"])
def test_nothing_but_facts_can_be_told_as_carried_in(change):
    one = row(1, writer="model_inferred") if change == "background" else row(1)
    if change == "contradicted":
        one = extend(one, next_event(one, "contradicted", AT, other=row(2).id, authority="user_said"))
    if change == "withdrawn":
        one = extend(one, next_event(one, "withdrawn", AT, by="user"))
    assert standing_of(one, AT) == change
    with pytest.raises(MalformedError) as caught:
        made(one)
    assert code(caught) == "recall_document.policy"
    assert made(one, why=lambda _: "standing").kept_out[0].standing == change


def test_a_document_says_how_each_row_stands_and_nothing_that_it_says():
    earned, aging = row(1, days=3), row(2, "Lives in Lisbon.", days=200)
    document = made(earned, aging)
    assert [item.standing for item in document.rows] == ["earned", "aging"]
    assert document.rows[1].age_s == 200 * 86_400
    assert document.weakest is document.rows[1]
    assert b"Lisbon" not in document.raw
    assert aging.digest.encode() not in document.raw
    assert parse_recall_document(document.raw) == document


def test_the_weakest_of_rows_that_stand_alike_is_by_the_weakest_word_then_the_oldest():
    said, admitted, older = row(1, days=80), row(2, writer="user_said", days=3), row(3, days=89)
    assert made(said, admitted, older).weakest.row == older.id


def test_no_more_rows_are_told_as_kept_out_than_there_is_room_for():
    rows = [row(number, writer="model_inferred") for number in range(MAX_KEPT_OUT + 20)] + [row(999)]
    document = build_recall(
        RUN, AT, KEY, "q", INDEX, RecallPolicy(),
        [replace(item, why="standing" if item.standing == "background" else None) for item in found(*rows)],
    )  # fmt: skip
    assert (len(document.kept_out), document.rows, document.found) == (MAX_KEPT_OUT, (), len(rows))


def test_rows_and_blocks_are_compared_both_ways():
    rows = [row(1), row(2, "Lives in <Lisbon>.", days=200)]
    document = made(*rows)
    blocks = recall_blocks(document, {item.id: item.claim for item in rows})
    verify_context(document, blocks, KEY)
    verify_context(document, blocks, None)
    for wrong in (blocks[:1], [*blocks, blocks[0]], blocks[::-1], [Block("memory", {}, "x"), blocks[1]]):
        with pytest.raises(RefusedError) as caught:
            verify_context(document, wrong, None)
        assert code(caught) == "recall_document.context"
    other = [replace(blocks[0], text="Plays the trumpet."), blocks[1]]
    verify_context(document, other, None)
    with pytest.raises(RefusedError) as caught:
        verify_context(document, other, KEY)
    assert code(caught) == "recall_document.claim"


def test_the_query_is_the_last_that_its_user_said():
    messages = [
        {"role": "user", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}, {"text": "b"}]},
    ]
    assert query_of({"messages": [*messages, {"role": "assistant", "content": "c"}]}) == "a\nb"
    assert query_of({"messages": [{"role": "user", "content": "x" * MAX_QUERY + "y"}]}) == "x" * (MAX_QUERY - 1) + "y"
    for nothing in (
        {},
        {"messages": "text"},
        {"messages": [{"role": "system", "content": "x"}]},
        {"messages": [{"role": "user", "content": None}]},
    ):
        assert query_of(nothing) is None


def test_another_question_is_refused():
    document = made(row(1))
    verify_query(document, {"messages": [{"role": "user", "content": "cello?"}]}, KEY)
    for other in ({"messages": [{"role": "user", "content": "trumpet?"}]}, {}):
        with pytest.raises(RefusedError) as caught:
            verify_query(document, other, KEY)
        assert code(caught) == "recall_document.query"


def test_the_same_words_of_two_runs_are_two_digests():
    other = recall_key(pseudo_random_key(RUN, bytes([1] * 32)))
    assert query_digest(KEY, "q") != query_digest(other, "q")
    assert claim_digest(KEY, "mem_a", "q") != claim_digest(KEY, "mem_b", "q")
    assert head_digest(KEY, "mem_a", sha256_hex(b"q")) != claim_digest(KEY, "mem_a", "q")
