"""Where an answer repeats what stood before the model of a caller's files (``spec/files.md`` §8).

A function of the answer's text and the shown spans alone, so that whoever has both finds the same quotes. What is in no
file is no quote, however it is punctuated. Linear in the lengths of both: of each run of characters only its first
place counts.

Not covered: what is said in other words, and whether a quote means in the answer what it meant in its file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.core.files import Chunk, FileDocument

LEAST = 32
"""Characters of a quote at least, white space counted as one (``files.md`` §8(2))."""
MOST = 64
"""Quotes of one answer that are told."""
AROUND = 160
"""Characters of its file that are told on each side of a quote."""
_SPACE = re.compile("[ \t\n\r\xa0]+")


@dataclass(frozen=True, slots=True)
class Quote:
    """One quote: where it stands in the answer, and where in which file (offsets in characters; files from 1)."""

    answer_start: int
    answer_end: int
    file: int
    page: int | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Plain:
    """A text with its white space evened, and where each character stood."""

    text: str
    places: list[int]


def _plain(text: str, offset: int = 0) -> _Plain:
    pieces: list[str] = []
    places: list[int] = []
    last = 0
    for found in _SPACE.finditer(text):
        pieces += (text[last : found.start()], " ")
        places += range(offset + last, offset + found.start() + 1)
        last = found.end()
    pieces.append(text[last:])
    places += range(offset + last, offset + len(text))
    return _Plain("".join(pieces), places)


def find_quotes(answer: str, files: Sequence[tuple[FileDocument, Sequence[Chunk]]]) -> list[Quote]:
    """The quotes of an answer's text, in order (``files.md`` §8). ``files`` are the documents and their shown chunks,
    in the order of their numbers."""
    runs = [
        (number, document, _plain(document.text[start:end], start))
        for number, (document, chunks) in enumerate(files, 1)
        for start, end in _runs(chunks)
    ]
    first: dict[str, tuple[int, int]] = {}
    for place, (_, _, run) in enumerate(runs):
        for at in range(len(run.text) - LEAST + 1):
            first.setdefault(run.text[at : at + LEAST], (place, at))
    said, at = _plain(answer), 0
    found: list[Quote] = []
    while at + LEAST <= len(said.text) and len(found) < MOST:
        hit = first.get(said.text[at : at + LEAST])
        if hit is None:
            at += 1
            continue
        number, document, run = runs[hit[0]]
        length = _alike(said.text, at, run.text, hit[1])
        start, end = run.places[hit[1]], run.places[hit[1] + length - 1] + 1
        page = sum(begin <= start for begin in document.pages) or None
        found.append(Quote(said.places[at], said.places[at + length - 1] + 1, number, page, start, end))
        at += length
    return found


def _runs(chunks: Sequence[Chunk]) -> list[tuple[int, int]]:
    """Shown chunks that follow on each other, as one."""
    found: list[tuple[int, int]] = []
    for chunk in chunks:
        if found and found[-1][1] == chunk.start:
            found[-1] = (found[-1][0], chunk.end)
        else:
            found.append((chunk.start, chunk.end))
    return found


def words_around(quote: Quote, document: FileDocument, chunks: Sequence[Chunk]) -> tuple[str, str, str]:
    """What stands in the file before a quote, the quote, and what stands behind it, as far as it was shown."""
    first, last = (_run_around(chunks, place) for place in (quote.start, quote.end - 1))
    text = document.text
    before = text[max(first[0], quote.start - AROUND) : quote.start]
    return before, text[quote.start : quote.end], text[quote.end : min(last[1], quote.end + AROUND)]


def _run_around(chunks: Sequence[Chunk], place: int) -> tuple[int, int]:
    """The run of shown text that a place of a file is in."""
    return next(((start, end) for start, end in _runs(chunks) if start <= place < end), (place, place))


def _alike(one: str, at: int, other: str, begin: int) -> int:
    """How far two texts go on alike from these places."""
    length = LEAST
    most = min(len(one) - at, len(other) - begin)
    while length < most and one[at + length] == other[begin + length]:
        length += 1
    return length
