"""Where two texts differ, word by word.

What comes back, joined, is both texts again, byte for byte. Comparing takes time that grows with the words that both
have; where that would be too much, all between what both begin and end with is one difference.

Not covered: what a difference means.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import takewhile

MOST_WORK = 50_000_000
"""Pairs of equal words in two texts, times the words of the shorter one: what comparing them takes at most."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What stands in both texts in one place: the same words, or others."""

    same: bool
    one: str
    other: str


def compare_words(one: str, other: str) -> tuple[Piece, ...]:
    """Both texts cut where they begin and cease to differ. Words are the same whatever space is around them."""
    first, second = _words(one), _words(other)
    bare, beside = [word.strip() for word in first], [word.strip() for word in second]
    return tuple(
        Piece(kind == "equal", "".join(first[start:end]), "".join(second[begin:stop]))
        for kind, start, end, begin, stop in compare_items(bare, beside)
    )


def _words(text: str) -> list[str]:
    """The text's words, each with the space before it; the last with what is behind it."""
    found = re.findall(r"\s*\S+", text)
    rest = text[sum(map(len, found)) :]
    if not found:
        return [rest] if rest else []
    return [*found[:-1], found[-1] + rest]


def compare_items(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[tuple[str, int, int, int, int]]:
    """What makes the second of the first, as ``difflib`` says it: (kind, begin and end in one, begin and end in the
    other). The same bound on work holds."""
    repeated = Counter(other)
    work = sum(count * repeated[word] for word, count in Counter(one).items()) * min(len(one), len(other))
    if work <= MOST_WORK:
        return list(difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes())
    begin = _alike(one, other)
    end = _alike(one[begin:][::-1], other[begin:][::-1])
    return [
        ("equal", 0, begin, 0, begin),
        ("replace", begin, len(one) - end, begin, len(other) - end),
        ("equal", len(one) - end, len(one), len(other) - end, len(other)),
    ]


def _alike(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """How many words two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
