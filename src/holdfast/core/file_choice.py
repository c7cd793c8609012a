"""Which chunks of a caller's files go before a model where not all fit: those that a question's words are found in
(``spec/files.md`` §5(2)).

BM25 over the chunks of all files together (``core.retrieval``); ties, and what no word is found in, in the order of
the files. The same files, question and room give the same chunks.

Not covered: meaning. A question in other words than its file's is answered from how the file begins.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.context import escape
from holdfast.core.files import Chunk, FileDocument, chunks_of
from holdfast.core.retrieval.index import Entry, RowIndex

MOST_SPANS = 176
"""Spans of one request: a context message has room for these, 64 rows of memory and 16 files."""
_MARK_BYTES = 160
"""What the marks of a span take, about."""
_NOBODY = "00" * 32
"""The model of an index without vectors."""


def choose_chunks(documents: Sequence[FileDocument], question: str, most_bytes: int) -> list[tuple[Chunk, ...]]:
    """The chunks of each document that are shown, ascending; together at most ``most_bytes`` as they stand before the
    model, and :data:`MOST_SPANS`."""
    every = [(place, chunk) for place, document in enumerate(documents) for chunk in chunks_of(document)]
    sizes = [_size(documents[place], chunk) for place, chunk in every]
    order: Sequence[int] = range(len(every))
    if sum(sizes) > most_bytes or len(every) > MOST_SPANS:
        order = _best_first(documents, every, question)
    taken: set[int] = set()
    room = most_bytes
    for number in order:
        if sizes[number] <= room and len(taken) < MOST_SPANS:
            taken.add(number)
            room -= sizes[number]
    return [
        tuple(chunk for number, (owner, chunk) in enumerate(every) if owner == place and number in taken)
        for place in range(len(documents))
    ]


def _size(document: FileDocument, chunk: Chunk) -> int:
    return len(escape(document.text[chunk.start : chunk.end]).encode()) + _MARK_BYTES


def _best_first(documents: Sequence[FileDocument], every: Sequence[tuple[int, Chunk]], question: str) -> Sequence[int]:
    index = RowIndex(_NOBODY, 1)
    entries = [
        Entry(str(number), _NOBODY, documents[place].text[chunk.start : chunk.end])
        for number, (place, chunk) in enumerate(every)
    ]
    index.add(entries, [[0.0]] * len(entries))
    scores = {int(hit.id): hit.words for hit in index.search(question, [0.0], most=len(entries))}
    return sorted(range(len(every)), key=lambda number: (-scores.get(number, 0.0), number))
