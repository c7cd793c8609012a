"""Commands of a caller's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments
from holdfast.core.files import chunks_of, parse_file_document
from holdfast.core.quotes import find_quotes


def _file_chunks(arguments: Arguments) -> Answer:
    """``files.md`` §4: where a file's text is divided."""
    chunks = chunks_of(parse_file_document(arguments.file()))
    return {"chunks": [[chunk.page, chunk.start, chunk.end] for chunk in chunks]}


def _file_quotes(arguments: Arguments) -> Answer:
    """``files.md`` §8: what an answer repeats of a file of which every chunk was shown."""
    answer = arguments.read(arguments.one("answer")).decode()
    document = parse_file_document(arguments.file())
    found = find_quotes(answer, [(document, chunks_of(document))])
    return {"quotes": [[item.answer_start, item.answer_end, item.page, item.start, item.end] for item in found]}


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "file-chunks": _file_chunks,
    "file-quotes": _file_quotes,
}
