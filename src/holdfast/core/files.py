"""Files that a caller attached: what was read in them, cut into chunks, and the blocks that stand before a model
(``spec/files.md`` §3 to §5).

Everything here is a function of the file document: whoever has it knows each chunk and each block, character by
character. ``verify_blocks`` holds blocks against each other, ``verify_spans`` against a document, ``verify_parts``
against the request that brought the files.

Not covered: reading a file's bytes (``core.file_bytes``, ``ports.extractor``), and which chunks a gateway shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.context import Block, escape
from holdfast.core.encoding import hex_decode, sha256_hex
from holdfast.core.file_bytes import data_of, is_image
from holdfast.core.statements import is_code
from holdfast.errors import MalformedError, RefusedError

FILE_TYPE = "urn:holdfast:file:v1"
"""``type`` of a file document (``files.md`` §3)."""
REWRITE = "files"
"""What a route lists where a request brought files (``files.md`` §1(3))."""
MAX_DOCUMENT_BYTES = 8 << 20
MAX_TEXT_BYTES = 2 << 20
MAX_PAGES = 10_000
MAX_NAME = 255
MAX_NOTES = 16
MOST_FILES = 16
"""Files of one request (``files.md`` §1(2))."""
CHUNK = 2000
"""Characters of a chunk at most (``files.md`` §4(1))."""
LEAST = 1000
"""Characters that a chunk has at least where its page goes on."""
_BREAKS = ("\n\n", "\n", " ")
"""What a chunk ends behind, best first."""
_SHOWN_NAME = 120
"""Characters of a name where the message has its file (``files.md`` §1(3))."""
_MEMBERS = {"type", "name", "media_type", "bytes", "extractor", "notes", "pages", "text"}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_WORD = re.compile(r"[\x21-\x7e]{1,64}\Z")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\Z")


@dataclass(frozen=True, slots=True)
class FileDocument:
    """What was read in a file."""

    name: str
    media_type: str
    digest: str
    """SHA-256 (hex) of the file's bytes."""
    size: int
    extractor: str
    version: str
    notes: tuple[str, ...]
    pages: tuple[int, ...]
    """Where in ``text`` pages begin; nothing where the kind has none."""
    text: str

    def to_bytes(self) -> bytes:
        """The document, in its one spelling."""
        return canonical.encode(
            {
                "type": FILE_TYPE,
                "name": self.name,
                "media_type": self.media_type,
                "bytes": {"digest": self.digest, "size": self.size},
                "extractor": {"name": self.extractor, "version": self.version},
                "notes": list(self.notes),
                "pages": list(self.pages),
                "text": self.text,
            }
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document's text: its number and page (from 1; no page where the kind has none), and its offsets."""

    number: int
    page: int | None
    start: int
    end: int


def parse_file_document(raw: bytes) -> FileDocument:
    """Bytes to a :class:`FileDocument`. Raises ``file_document.*``, ``json.*`` and ``encoding.hex``."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise MalformedError("file_document.size", f"a file document has at most {MAX_DOCUMENT_BYTES} bytes")
    value = canonical.decode_signed(raw)
    if value.keys() != _MEMBERS or value["type"] != FILE_TYPE:
        raise _malformed(f"not the members of a {FILE_TYPE}")
    kept, by = _object(value["bytes"], {"digest", "size"}), _object(value["extractor"], {"name", "version"})
    if not isinstance(value["name"], str) or safe_name(value["name"]) != value["name"]:
        raise _malformed(f"a name has 1 to {MAX_NAME} characters and no control character")
    if not isinstance(value["media_type"], str) or _MEDIA_TYPE.match(value["media_type"]) is None:
        raise _malformed("media_type is one, in lower case")
    if not all(isinstance(word, str) and _WORD.match(word) for word in by.values()):
        raise _malformed("an extractor has a name and a version of plain characters")
    notes = value["notes"]
    if not isinstance(notes, list) or len(notes) > MAX_NOTES or not all(map(is_code, notes)):
        raise _malformed(f"notes is a list of at most {MAX_NOTES} codes")
    if notes != sorted(set(notes)):
        raise _malformed("notes are sorted, each once")
    text = value["text"]
    if not isinstance(text, str) or not 1 <= len(text.encode()) <= MAX_TEXT_BYTES:
        raise _malformed(f"text has 1 to {MAX_TEXT_BYTES} bytes")
    return FileDocument(
        name=value["name"],
        media_type=value["media_type"],
        digest=hex_decode(kept["digest"], 32).hex(),
        size=_count(kept["size"]),
        extractor=by["name"],
        version=by["version"],
        notes=tuple(notes),
        pages=_pages(value["pages"], len(text)),
        text=text,
    )


def _pages(value: object, length: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > MAX_PAGES:
        raise _malformed(f"pages is a list of at most {MAX_PAGES}")
    pages = tuple(map(_count, value))
    if pages and (pages[0] != 0 or list(pages) != sorted(pages) or pages[-1] > length):
        raise _malformed("pages begin at offsets of the text, ascending, the first at 0")
    return pages


def _object(value: object, members: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != members:
        raise _malformed(f"expected an object of exactly {', '.join(sorted(members))}")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _malformed("expected an integer of at least 0")
    return value


def _malformed(message: str) -> MalformedError:
    return MalformedError("file_document.fields", message)


def safe_name(name: str) -> str:
    """A name as a document has it: without control characters, cut to its length; ``file`` where nothing is left."""
    return _CONTROL.sub(" ", name)[:MAX_NAME].strip() or "file"


def shown_name(name: str) -> str:
    """A name where a message has its file (``files.md`` §1(3))."""
    return escape(re.sub("[\n\t]", " ", name[:_SHOWN_NAME]))


def chunks_of(document: FileDocument) -> tuple[Chunk, ...]:
    """A document's chunks (``files.md`` §4)."""
    found: list[Chunk] = []
    starts = document.pages or (0,)
    for place, start in enumerate(starts):
        stop = starts[place + 1] if place + 1 < len(starts) else len(document.text)
        for begin, end in _cut(document.text, start, stop):
            found.append(Chunk(len(found) + 1, place + 1 if document.pages else None, begin, end))
    return tuple(found)


def _cut(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    while stop - start > CHUNK:
        end = _end(text, start)
        yield start, end
        start = end
    if start < stop:
        yield start, stop


def _end(text: str, start: int) -> int:
    """Where a chunk ends whose page goes on."""
    for mark in _BREAKS:
        place = text.rfind(mark, start + LEAST + 1 - len(mark), start + CHUNK)
        if place >= 0:
            return place + len(mark)
    return start + CHUNK


def blocks_of(document: FileDocument, digest: str, number: int, shown: Sequence[Chunk]) -> list[Block]:
    """A file's block and those of its shown chunks (``files.md`` §5(1)); ``digest`` is the document's."""
    return [
        file_block(document, digest, number, len(shown)),
        *(Block("span", _span_attributes(chunk, number), document.text[chunk.start : chunk.end]) for chunk in shown),
    ]


def file_block(document: FileDocument, digest: str, number: int, shown: int) -> Block:
    """The block of kind ``file``."""
    said = {
        "characters": str(len(document.text)),
        "chunks": str(len(chunks_of(document))),
        "digest": document.digest,
        "document": digest,
        "file": str(number),
        "shown": str(shown),
    }
    pages = {"pages": str(len(document.pages))} if document.pages else {}
    return Block("file", said | pages, document.name)


def _span_attributes(chunk: Chunk, number: int) -> dict[str, str]:
    said = {"chunk": str(chunk.number), "end": str(chunk.end), "file": str(number), "start": str(chunk.start)}
    return said if chunk.page is None else {**said, "page": str(chunk.page)}


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A file as the context message has it: its block, and the blocks of its chunks."""

    block: Block
    spans: tuple[Block, ...]

    @property
    def document(self) -> str:
        """Digest (hex) of the file document that it names."""
        return self.block.attributes["document"]


def verify_blocks(blocks: Sequence[Block]) -> tuple[ShownFile, ...]:
    """The files among a context message's blocks (``files.md`` §5(3)). Raises ``file_document.blocks``."""
    heads: list[Block] = []
    spans: list[list[Block]] = []
    for block in blocks:
        if block.kind == "file":
            if not _says(block, _FILE, "pages") or block.attributes["file"] != str(len(heads) + 1):
                raise _blocks("files are numbered from 1, and each says what it is")
            heads.append(block)
            spans.append([])
        elif block.kind == "span":
            if not heads or not _says(block, _SPAN, "page") or block.attributes["file"] != str(len(heads)):
                raise _blocks("a span stands behind the file that it is of")
            spans[-1].append(block)
        elif heads:
            raise _blocks("what is not of files stands before them")
    found = tuple(ShownFile(head, tuple(rows)) for head, rows in zip(heads, spans, strict=True))
    if len({item.document for item in found}) != len(found):
        raise _blocks("a file stands there twice")
    for item in found:
        numbers = [_number(span.attributes["chunk"]) for span in item.spans]
        if item.block.attributes["shown"] != str(len(numbers)) or numbers != sorted(set(numbers)):
            raise _blocks("a file has the spans that it says, in order, each once")
    return found


_FILE = frozenset({"characters", "chunks", "digest", "document", "file", "shown"})
_SPAN = frozenset({"chunk", "end", "file", "start"})
_NUMBER = re.compile(r"[1-9][0-9]{0,8}\Z")


def _says(block: Block, needed: frozenset[str], may: str) -> bool:
    """Whether a block has exactly its attributes, the optional one or not."""
    return block.attributes.keys() - {may} == needed


def _number(text: str) -> int:
    if _NUMBER.match(text) is None:
        raise _blocks("a chunk has a number from 1")
    return int(text)


def _blocks(message: str) -> RefusedError:
    return RefusedError("file_document.blocks", message)


def verify_spans(document: FileDocument, shown: ShownFile) -> None:
    """Whether a file's blocks are those of its document (``files.md`` §5(3)). Raises ``file_document.span``."""
    chunks = chunks_of(document)
    number = int(shown.block.attributes["file"])
    if shown.block != file_block(document, shown.document, number, len(shown.spans)):
        raise RefusedError("file_document.span", "what stands before the model of this file is not what was read")
    for span in shown.spans:
        place = int(span.attributes["chunk"]) - 1
        chunk = chunks[place] if place < len(chunks) else None
        if chunk is None or span != blocks_of(document, shown.document, number, [chunk])[1]:
            raise RefusedError("file_document.span", "a span before the model is no chunk of its file")


def file_parts(messages: object) -> Iterator[Mapping[str, Any]]:
    """The ``file`` members of a request's file parts, in order; of what is no file part nothing."""
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and part.get("type") == "file" and isinstance(part.get("file"), dict):
                yield part["file"]


def verify_parts(messages: object, shown: Sequence[ShownFile]) -> bool:
    """Hold a request's files against the blocks (``files.md`` §5(4)); whether every block's bytes were compared. Raises
    ``file_document.request``."""
    parts = list(file_parts(messages))
    inline = [data_of(part["file_data"]) for part in parts if isinstance(part.get("file_data"), str)]
    brought = {sha256_hex(data) for data in inline if data is not None and not is_image(data)}
    named = {item.block.attributes["digest"] for item in shown}
    uploads = len(parts) - len(inline)
    if not brought <= named:
        raise RefusedError("file_document.request", "the request brings a file that does not stand before the model")
    if len(named - brought) > uploads:
        raise RefusedError("file_document.request", "a file stands before the model that the request does not bring")
    return not uploads
