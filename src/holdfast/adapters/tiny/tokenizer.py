"""Text to tokens and back: byte pair encoding over words, with three signs that no text can spell.

Ids 0 to 2 are the signs, 3 to 258 are bytes, each further id joins two before it. Every text has one encoding, and
``decode(encode(text)) == text`` for all text. The file is JSON: exactly ``merges``, a list of pairs of ids.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from holdfast.core.canonical import decode_object
from holdfast.errors import MalformedError

USER, ANSWER, END = 0, 1, 2
"""Before a question, before an answer, after it."""
FIRST_BYTE = 3
"""Id of the byte zero."""
FIRST_MERGE = FIRST_BYTE + 256
"""Id of the first pair."""
MAX_TOKENS = 65_536
"""Largest vocabulary."""
WORD = re.compile(r" ?[A-Za-z]+| ?[0-9]| ?[^A-Za-z0-9\s]+|\s+", re.ASCII)
"""What is encoded by itself: a word or one digit with the blank before it, signs, white space."""


class Tokenizer:
    """Pairs of ids in the order in which they were found to be frequent; entry i makes id ``FIRST_MERGE + i``."""

    def __init__(self, merges: Sequence[tuple[int, int]]) -> None:
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._pieces = [b""] * FIRST_BYTE + [bytes([value]) for value in range(256)]
        for left, right in merges:
            self._pieces.append(self._pieces[left] + self._pieces[right])
        self._word = lru_cache(maxsize=4096)(self._encode_word)

    @property
    def merges(self) -> list[tuple[int, int]]:
        """The pairs, in order."""
        return list(self._ranks)

    @property
    def size(self) -> int:
        """How many ids there are."""
        return len(self._pieces)

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        return [token for match in WORD.finditer(text) for token in self._word(match[0])]

    def piece(self, token: int) -> bytes:
        """The bytes of one id; nothing for the signs."""
        return self._pieces[token]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of some ids; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self._pieces[token] for token in tokens).decode("utf-8", "replace")

    def _encode_word(self, word: str) -> tuple[int, ...]:
        tokens = [FIRST_BYTE + value for value in word.encode("utf-8", "replace")]
        while len(tokens) > 1:
            ranks = [self._ranks.get(pair, MAX_TOKENS) for pair in itertools.pairwise(tokens)]
            best = min(ranks)
            if best == MAX_TOKENS:
                break
            at = ranks.index(best)
            tokens[at : at + 2] = [FIRST_MERGE + best]
        return tuple(tokens)


def parse_tokenizer(raw: bytes) -> Tokenizer:
    """A tokenizer from its file. Raises ``model.tokenizer``."""
    value = decode_object(raw)
    merges = value.get("merges")
    if value.keys() != {"merges"} or not isinstance(merges, list) or FIRST_MERGE + len(merges) > MAX_TOKENS:
        raise MalformedError("model.tokenizer", "a tokenizer file has one member, a list of pairs")
    pairs: list[tuple[int, int]] = []
    for number, pair in enumerate(merges):
        known = FIRST_MERGE + number
        if not isinstance(pair, list) or len(pair) != 2 or not all(_is_id(item, known) for item in pair):
            raise MalformedError("model.tokenizer", f"pair {number} does not join two ids before it")
        pairs.append((pair[0], pair[1]))
    return Tokenizer(pairs)


def _is_id(value: object, known: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and FIRST_BYTE <= value < known
