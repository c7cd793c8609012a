"""Texts as numbers of word pieces, as BERT's models take them: a ``tokenizer.json`` of the usual shape, and no other.

Rules: a text is cleaned of control characters, its case and accents are taken away where the file says so, it is
divided at spaces and at every mark of punctuation, and each word is the fewest pieces that a greedy reader finds,
longest first (Wu et al. 2016, §4.1). A word that no pieces make is the unknown one. Special tokens stand at the ends
alone: a text that spells one is text, which Hugging Face's own tokenizers see otherwise.

Not covered: pairs of texts, padding, and any other kind of tokenizer (``embedder.tokenizer``).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.errors import HoldfastError, MalformedError

LONGEST_WORD = 100
"""Characters of a word that is looked at: BERT's own bound."""
_CONTROL = frozenset({"Cc", "Cf", "Co", "Cs"})
_CJK = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
"""Ideographs are words of their own; the ranges are those of BERT's normalizer."""


@dataclass(frozen=True, slots=True)
class WordPiece:
    """A tokenizer."""

    vocabulary: Mapping[str, int]
    prefix: str
    """What a piece begins with that begins no word."""
    unknown: int
    first: int
    last: int
    """The tokens at the ends of every text."""
    lowers: bool
    strips: bool
    """Whether case and accents are taken away."""

    def encode(self, text: str, most: int) -> list[int]:
        """At most ``most`` tokens, those at the ends among them."""
        found = [self.first]
        for word in _words(self._normal(text)):
            found += self._pieces(word)
            if len(found) >= most:
                break
        return [*found[: most - 1], self.last]

    def _normal(self, text: str) -> str:
        kept = "".join(_cleaned(text))
        if self.strips:
            kept = "".join(item for item in unicodedata.normalize("NFD", kept) if unicodedata.category(item) != "Mn")
        return kept.lower() if self.lowers else kept

    def _pieces(self, word: str) -> list[int]:
        if len(word) > LONGEST_WORD:
            return [self.unknown]
        found, start = [], 0
        while start < len(word):
            lead = self.prefix if start else ""
            for end in range(len(word), start, -1):
                piece = self.vocabulary.get(lead + word[start:end])
                if piece is not None:
                    break
            else:
                return [self.unknown]
            found.append(piece)
            start = end
        return found


def _cleaned(text: str) -> Iterator[str]:
    for item in text:
        if item in "\t\n\r" or item.isspace():
            yield " "
        elif any(low <= ord(item) <= high for low, high in _CJK):
            yield f" {item} "
        elif item not in "\x00\ufffd" and unicodedata.category(item) not in _CONTROL:
            yield item


def _words(text: str) -> Iterator[str]:
    """Runs between spaces, and each mark of punctuation by itself."""
    for run in text.split():
        word = ""
        for item in run:
            if _is_punctuation(item):
                if word:
                    yield word
                yield item
                word = ""
            else:
                word += item
        if word:
            yield word


def _is_punctuation(item: str) -> bool:
    """Every printable mark of ASCII, ``$`` and ``^`` too, and what Unicode calls punctuation."""
    return (item.isascii() and item.isprintable() and not item.isalnum() and item != " ") or unicodedata.category(
        item
    ).startswith("P")


def parse_tokenizer(raw: bytes) -> WordPiece:
    """A ``tokenizer.json``. Raises ``embedder.tokenizer`` (malformed) for what is none, or another kind."""
    try:
        value = canonical.decode_object(raw)
        model, normalizer, ends = value["model"], value["normalizer"], value["post_processor"]
        kinds = model["type"], normalizer["type"], value["pre_tokenizer"]["type"], ends["type"]
        if kinds != ("WordPiece", "BertNormalizer", "BertPreTokenizer", "TemplateProcessing"):
            raise _malformed(f"its parts are {', '.join(map(str, kinds))}")
        if not (normalizer["clean_text"] and normalizer["handle_chinese_chars"]):
            raise _malformed("it does not clean texts as BERT does")
        vocabulary = _vocabulary(model["vocab"])
        first, last = _ends(ends["single"])
        lowers, strips = normalizer["lowercase"], normalizer["strip_accents"]
        return WordPiece(
            vocabulary=vocabulary,
            prefix=str(model["continuing_subword_prefix"]),
            unknown=vocabulary[model["unk_token"]],
            first=vocabulary[first],
            last=vocabulary[last],
            lowers=bool(lowers),
            strips=bool(lowers if strips is None else strips),
        )
    except (HoldfastError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, MalformedError) and error.code == "embedder.tokenizer":
            raise
        raise _malformed("it does not have the members of one") from error


def _vocabulary(value: Any) -> dict[str, int]:
    if not isinstance(value, dict) or not all(
        type(number) is int and 0 <= number < 1 << 31 for number in value.values()
    ):
        raise _malformed("its vocabulary is no table of numbers")
    return value


def _ends(single: Any) -> tuple[str, str]:
    """The special tokens around a text: one before it and one after."""
    first, text, last = single
    if "Sequence" not in text:
        raise _malformed("its template is not one token, the text, and one token")
    return first["SpecialToken"]["id"], last["SpecialToken"]["id"]


def _malformed(why: str) -> MalformedError:
    return MalformedError("embedder.tokenizer", f"this is no tokenizer.json of word pieces: {why}")
