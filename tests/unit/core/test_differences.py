"""Comparing two texts word by word: what comes back is both texts, whatever they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.differences import MOST_WORK, compare_words

TEXTS = st.text(alphabet=st.sampled_from("ab \n\t.é"), max_size=60)


@given(TEXTS, TEXTS)
def test_the_pieces_are_both_texts_again(one: str, other: str) -> None:
    pieces = compare_words(one, other)
    assert "".join(piece.one for piece in pieces) == one
    assert "".join(piece.other for piece in pieces) == other
    assert all(piece.one.split() == piece.other.split() for piece in pieces if piece.same)


def test_a_word_that_changed_is_the_only_difference() -> None:
    pieces = compare_words("You live in\nLisbon now.", "You live in Porto now.")
    assert [(piece.one, piece.other) for piece in pieces if not piece.same] == [("\nLisbon", " Porto")]


def test_texts_that_would_take_too_long_differ_in_one_piece_between_their_ends() -> None:
    one, other = "So " + "a " * 4000 + "it is", "So " + "a b " * 4000 + "it is"
    assert MOST_WORK < 4000 * 4000 * 4003
    pieces = compare_words(one, other)
    assert [piece.same for piece in pieces] == [True, False, True]
    assert "".join(piece.other for piece in pieces) == other
