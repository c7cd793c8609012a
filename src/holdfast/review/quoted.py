"""Which words of an answer stand in its caller's files, as a run's evidence shows them (``spec/files.md`` §8).

Computed from what is signed: the disclosed answer, the context message that went before the model, and the file
documents that its blocks name, each held against the others first. Where one of them is not shown or does not fit there
are no quotes.

Pure. Not covered: whether a file is right, and what the answer means by its words.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.files import Chunk, FileDocument, chunks_of
from holdfast.core.quotes import find_quotes, words_around
from holdfast.review.contents import evidence_of
from holdfast.verifier.files import check_files
from holdfast.verifier.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Quoted:
    """One quote, with what stands around it in its file. Offsets count characters."""

    answer_start: int
    answer_end: int
    file: int
    name: str
    page: int | None
    start: int
    end: int
    before: str
    text: str
    after: str


@dataclass(frozen=True, slots=True)
class Quotes:
    """The quotes of one answer."""

    answer: str = ""
    """The text that they stand in."""
    found: tuple[Quoted, ...] = ()
    choices: int = 0
    """How many lines the answer makes among what was said: one a choice. The text is that of the first."""

    def pieces(self) -> list[tuple[str, int]]:
        """The answer in order, each piece with the number of its quote, from 1; 0 for what is none."""
        made, at = [], 0
        for number, item in enumerate(self.found, 1):
            made += [
                (self.answer[at : item.answer_start], 0),
                (self.answer[item.answer_start : item.answer_end], number),
            ]
            at = item.answer_end
        return [piece for piece in (*made, (self.answer[at:], 0)) if piece[0]]

    def place(self, said: Sequence[tuple[str, str]]) -> int | None:
        """Which line of what was said (who, text) is the one that the quotes stand in; None where there are none, or
        the line has more than that text."""
        at = len(said) - self.choices
        return at if self.found and 0 <= at < len(said) and said[at] == ("assistant", self.answer) else None

    def within(self, file: int, start: int, text: str) -> list[tuple[str, int | None]]:
        """A shown chunk of a file (its number, the chunk's offset and text) in order: each piece with its offset in
        the file's text where quotes hold it; None for what no quote holds. Each quote's first character begins one."""
        end = start + len(text)
        held = [
            (max(item.start, start), min(item.end, end))
            for item in self.found
            if item.file == file and item.start < end and start < item.end
        ]
        cuts = sorted({start, end, *(place for pair in held for place in pair)})
        return [
            (text[at - start : until - start], at if any(first <= at < last for first, last in held) else None)
            for at, until in pairwise(cuts)
        ]


def quoted_of(raw: bytes, at: dt.datetime) -> Quotes:
    """The quotes that a bundle with documents shows."""
    bundle, evidence = parse_bundle(raw), evidence_of(raw, at)
    text = evidence.documents.get("response")
    shown = check_files([entry.item for entry in bundle.journal], evidence, Transcript())
    if text is None or shown.refusals or not shown.files or evidence.refusals["bytes"]:
        return Quotes()
    if any(file.document not in shown.documents for file in shown.files):
        return Quotes()  # the numbers of files would not be theirs
    files = []
    for file in shown.files:
        document = shown.documents[file.document]
        chunks = chunks_of(document)
        files.append((document, [chunks[int(span.attributes["chunk"]) - 1] for span in file.spans]))
    choices = _choices(canonical.decode(text.encode()))
    return quotes_in(_answer(choices), files, sum(isinstance(choice, dict) for choice in choices))


def quotes_in(answer: str, files: Sequence[tuple[FileDocument, Sequence[Chunk]]], choices: int = 1) -> Quotes:
    """The quotes of an answer's text, with what stands around each as far as it was shown."""
    made = []
    for item in find_quotes(answer, files):
        document, chunks = files[item.file - 1]
        around = words_around(item, document, chunks)
        places = item.answer_start, item.answer_end, item.file, document.name, item.page, item.start, item.end
        made.append(Quoted(*places, *around))
    return Quotes(answer, tuple(made), choices)


def _choices(document: Any) -> list[Any]:
    choices = document.get("choices") if isinstance(document, dict) else None
    return choices if isinstance(choices, list) else []


def _answer(choices: Sequence[Any]) -> str:
    first = choices[0] if choices else None
    message = first.get("message") if isinstance(first, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else ""
