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
    return quotes_in(_answer(canonical.decode(text.encode())), files)


def quotes_in(answer: str, files: Sequence[tuple[FileDocument, Sequence[Chunk]]]) -> Quotes:
    """The quotes of an answer's text, with what stands around each as far as it was shown."""
    made = []
    for item in find_quotes(answer, files):
        document, chunks = files[item.file - 1]
        around = words_around(item, document, chunks)
        places = item.answer_start, item.answer_end, item.file, document.name, item.page, item.start, item.end
        made.append(Quoted(*places, *around))
    return Quotes(answer, tuple(made))


def _answer(document: Any) -> str:
    choices = document.get("choices") if isinstance(document, dict) else None
    message = choices[0].get("message") if isinstance(choices, list) and choices else None
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else ""
