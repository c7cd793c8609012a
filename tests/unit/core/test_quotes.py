"""What an answer repeats of files, found again by anybody (``spec/files.md`` §8)."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.files import FileDocument, chunks_of
from holdfast.core.quotes import LEAST, MOST, find_quotes

SENTENCE = "The south pump ran for forty days without a stop."


def file(text, pages=(), chosen=None):
    document = FileDocument("a.txt", "text/plain", "ab" * 32, 1, "holdfast", "1", (), pages, text)
    chunks = chunks_of(document)
    return document, chunks if chosen is None else [chunks[number - 1] for number in chosen]


def test_what_is_repeated_is_found_with_its_page_and_its_offsets():
    text = "First page.\n" + SENTENCE + "\n"
    answer = f"As the report says: \u201c{SENTENCE}\u201d That is long."
    (quote,) = find_quotes(answer, [file("Nothing of it."), file(text, pages=(0, 12))])
    assert answer[quote.answer_start : quote.answer_end] == text[quote.start : quote.end] == SENTENCE
    assert (quote.file, quote.page) == (2, 2)


def test_white_space_is_evened_on_both_sides():
    text, answer = SENTENCE.replace(" ", "\n  "), SENTENCE.replace(" ", "\u00a0")
    (quote,) = find_quotes(answer, [file(text)])
    assert (quote.answer_start, quote.answer_end, quote.start, quote.end) == (0, len(answer), 0, len(text))


def test_what_is_in_no_file_or_shorter_or_not_shown_is_no_quote():
    assert find_quotes("\u201cThe north pump never ran at all, said the report.\u201d", [file(SENTENCE)]) == []
    assert find_quotes(SENTENCE[: LEAST - 1], [file(SENTENCE)]) == []
    assert len(find_quotes(SENTENCE[:LEAST], [file(SENTENCE)])) == 1
    long = "word " * 400 + SENTENCE + " more" * 400
    assert find_quotes(SENTENCE, [file(long, chosen=[1])]) == []


def test_a_quote_may_cross_shown_chunks_that_follow_on_each_other_and_no_gap():
    long = "a" * 1990 + SENTENCE + "b" * 3000
    assert find_quotes(SENTENCE, [file(long, chosen=[1, 2])])[0].start == 1990
    assert find_quotes("b" * 20 + "c" * 20, [file(long, chosen=[1, 3])]) == []


def test_the_first_of_several_places_counts():
    found = find_quotes(SENTENCE, [file("x " + SENTENCE), file(SENTENCE)])
    assert [(quote.file, quote.start) for quote in found] == [(1, 2)]


@given(st.text("ab \n", max_size=300), st.text("ab \n", min_size=1, max_size=300))
def test_every_quote_stands_in_the_answer_and_in_the_file_alike(answer, text):
    last = 0
    for quote in find_quotes(answer, [file(text)]):
        assert last <= quote.answer_start < quote.answer_end <= len(answer)
        said, read = answer[quote.answer_start : quote.answer_end], text[quote.start : quote.end]
        assert " ".join(said.split()) == " ".join(read.split())
        last = quote.answer_end


def test_an_answer_that_repeats_one_letter_costs_no_more_than_its_length():
    found = find_quotes("a" * 200_000, [file("a" * 90_000)])
    assert len(found) <= MOST
    assert found[0].answer_end == 90_000
