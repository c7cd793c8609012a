"""A ``tokenizer.json`` of word pieces is read as it is meant, and nothing else is.

Expected tokens are those of Hugging Face's tokenizers 0.23 for the same file, but where a text spells a special token.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.core.wordpiece import parse_tokenizer
from holdfast.errors import MalformedError
from tests.helpers.sentence_model import IDS, WORDS, tokenizer

EXPECTED = [
    ("", []),
    ("plays the oboe", ["plays", "the", "obo", "##e"]),
    ("PLAYS The Oboes.", ["plays", "the", "obo", "##e", "##s", "."]),
    ("Don't play, Lisbon!", ["don", "'", "t", "play", ",", "lis", "##bon", "!"]),
    ("Café cafe\u0301", ["cafe", "cafe"]),
    ("in\tLisbon\n\u00a0the", ["in", "lis", "##bon", "the"]),
    ("the\x00 ob\u200boe\x07", ["the", "obo", "##e"]),
    ("北京the", ["北", "京", "the"]),
    ("$the$", ["$", "the", "$"]),
    ("zebra play", ["[UNK]", "play"]),
    ("a" * 100, ["a", *["##a"] * 99]),
    ("a" * 101, ["[UNK]"]),
    ("«the»", ["[UNK]", "the", "[UNK]"]),
]


@pytest.mark.parametrize(("text", "pieces"), EXPECTED)
def test_a_text_is_the_pieces_that_its_model_was_made_with(text: str, pieces: list[str]) -> None:
    found = parse_tokenizer(tokenizer()).encode(text, 256)
    assert [WORDS[token] for token in found] == ["[CLS]", *pieces, "[SEP]"]


def test_a_text_that_spells_a_special_token_is_text() -> None:
    found = parse_tokenizer(tokenizer()).encode("[SEP]", 256)
    assert [WORDS[token] for token in found] == ["[CLS]", "[", "sep", "]", "[SEP]"]


@pytest.mark.parametrize("most", [2, 3, 8, 256])
def test_a_long_text_is_cut_and_keeps_its_ends(most: int) -> None:
    found = parse_tokenizer(tokenizer()).encode("the " * 500, most)
    assert found == [IDS["[CLS]"], *[IDS["the"]] * (most - 2), IDS["[SEP]"]]


def test_case_and_accents_stay_where_the_file_says_so() -> None:
    cased = parse_tokenizer(tokenizer(lowercase=False))
    assert [WORDS[token] for token in cased.encode("The the café", 9)][1:-1] == ["[UNK]", "the", "[UNK]"]
    stripped = parse_tokenizer(tokenizer(lowercase=False, strip_accents=True))
    assert [WORDS[token] for token in stripped.encode("The café", 9)][1:-1] == ["[UNK]", "cafe"]


def changed(*path: Any, value: Any) -> bytes:
    whole = json.loads(tokenizer())
    place = whole
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return json.dumps(whole).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{}", b"[]", b"not json",
        changed("model", "type", value="BPE"),
        changed("model", "vocab", value=[]),
        changed("model", "vocab", value={"[UNK]": 1.5}),
        changed("model", "vocab", value={"[UNK]": -1}),
        changed("model", "vocab", value={"[UNK]": True}),
        changed("model", "unk_token", value="[NONE]"),
        changed("normalizer", value=None),
        changed("normalizer", "type", value="Lowercase"),
        changed("normalizer", "clean_text", value=False),
        changed("pre_tokenizer", "type", value="Metaspace"),
        changed("post_processor", "type", value="RobertaProcessing"),
        changed("post_processor", "single", value=[]),
        changed("post_processor", "single", 1, value={"SpecialToken": {"id": "[SEP]", "type_id": 0}}),
        changed("post_processor", "single", 0, value={"Sequence": {"id": "A", "type_id": 0}}),
    ],
)  # fmt: skip
def test_another_kind_of_tokenizer_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_tokenizer(raw)
    assert caught.value.code == "embedder.tokenizer"
