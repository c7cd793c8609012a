"""Files that a request brings, on their way before a model (``spec/files.md`` §1, §5, §7).

Rules:

* A file that cannot be read is refused with a code before an upstream is called; nothing is half read.
* What was read is data: it stands in escaped blocks of the context message and nowhere else, and changes no option,
  tool or role of the request.
* Bytes decide what a file is. What needs a program to be read is read by a contained one (``ports.extractor``).

Not covered: keeping uploads (``uploads``), and when what was read becomes durable (``service``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.core import canonical
from holdfast.core.canonical import NumberText
from holdfast.core.context import Block, holds_marks
from holdfast.core.encoding import b64_encode, sha256_hex
from holdfast.core.file_bytes import data_of, decode_text, image_size, image_type, kind_of, text_type
from holdfast.core.file_choice import choose_chunks
from holdfast.core.files import (
    MAX_PAGES,
    MAX_TEXT_BYTES,
    MOST_FILES,
    Chunk,
    FileDocument,
    blocks_of,
    chunks_of,
    safe_name,
    shown_name,
)
from holdfast.core.quotes import Quote, find_quotes, words_around
from holdfast.errors import MalformedError, RefusedError, UsageError
from holdfast.nodes.gateway.admitting import question_of
from holdfast.ports.extractor import Extracted, Extractor

_OWN = ("holdfast", "1")
"""What reads texts: this program, and how it does."""
CONTEXT_BYTES = 96 << 10
FILE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Image:
    """An image as it came."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Read:
    """A file that was read: its document, and that document's exact bytes and digest (hex)."""

    document: FileDocument
    raw: bytes
    digest: str

    @classmethod
    def of(cls, document: FileDocument) -> Read:
        raw = document.to_bytes()
        return cls(document, raw, sha256_hex(raw))


@dataclass(frozen=True, slots=True)
class Shown:
    """A file of a request, and which of its chunks stand before the model."""

    read: Read
    chunks: tuple[Chunk, ...]

    def to_json(self, number: int) -> dict[str, canonical.JSON]:
        """A member of ``files`` in the carrier (``files.md`` §7)."""
        left = len(chunks_of(self.read.document)) - len(self.chunks)
        return {
            "file": number,
            **tell_read(self.read),
            "shown": [
                {"chunk": chunk.number, "page": chunk.page, "start": chunk.start, "end": chunk.end}
                for chunk in self.chunks
            ],
            "left_out": left,
            "why": "room" if left else None,
        }


@dataclass(frozen=True, slots=True)
class Attached:
    """What a request's files come to."""

    messages: list[Any]
    """The request's messages with something readable in the place of each file."""
    files: tuple[Shown, ...]

    @property
    def blocks(self) -> list[Block]:
        """What stands before the model of them."""
        return [
            block
            for number, item in enumerate(self.files, 1)
            for block in blocks_of(item.read.document, item.read.digest, number, item.chunks)
        ]

    def to_json(self) -> list[canonical.JSON]:
        return [item.to_json(number) for number, item in enumerate(self.files, 1)]

    def quotes(self, answer: Mapping[str, Any]) -> list[canonical.JSON]:
        """What an answer repeats of the files (``files.md`` §8(4))."""
        choices = answer.get("choices")
        message = choices[0].get("message") if isinstance(choices, list) and choices else None
        content = message.get("content") if isinstance(message, dict) else None
        if not _is_text(content) or not self.files:
            return []
        found = find_quotes(str(content), [(item.read.document, item.chunks) for item in self.files])
        return [_tell_quote(quote, self.files[quote.file - 1]) for quote in found]

    def annotations(self, quotes: Iterable[canonical.JSON]) -> list[canonical.JSON]:
        """The same as OpenAI's clients know citations of files (``files.md`` §8(6))."""
        return [_annotation(quote, self.files) for quote in quotes if isinstance(quote, dict)]


class Uploaded(Protocol):
    """Where uploads are."""

    async def find(self, file_id: str, workspace: str) -> Read | Image:
        """What was read in an upload. Raises ``file.unknown``."""
        ...


class Attaching:
    """Reads the files of requests."""

    def __init__(
        self,
        extractor: Extractor | None = None,
        uploads: Uploaded | None = None,
        *,
        context_bytes: int = CONTEXT_BYTES,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        """``context_bytes`` is how much of a request's files may stand before a model, ``file_bytes`` the largest."""
        self._extractor = extractor
        self._uploads = uploads
        self._context_bytes = context_bytes
        self._file_bytes = file_bytes

    async def take(self, value: Mapping[str, Any], workspace: str, *, sealed: bool) -> Attached | None:
        """What a request's files come to; None where it brings none. Raises ``file.*`` and ``request.context``."""
        messages = value.get("messages")
        if not isinstance(messages, list) or not _brings(messages):
            return None
        places = list(_places(messages))
        if len(places) > MOST_FILES:
            raise UsageError("file.count", f"a request brings at most {MOST_FILES} files", param="messages")
        found = [await self._open(messages[at]["content"][part], workspace, sealed=sealed) for at, part in places]
        reads = list({item.digest: item for item in found if isinstance(item, Read)}.values())
        numbers = {item.digest: number for number, item in enumerate(reads, 1)}
        changed = [dict(message) if isinstance(message, dict) else message for message in messages]
        for (at, part), item in zip(places, found, strict=True):
            content = changed[at]["content"] = list(changed[at]["content"])
            content[part] = _stands_for(item, numbers)
        if holds_marks(changed):
            raise UsageError("request.context", "a message looks like what a gateway puts before a model")
        documents = [item.document for item in reads]
        chosen = await asyncio.to_thread(choose_chunks, documents, question_of(value), self._context_bytes)
        return Attached(changed, tuple(Shown(read, chunks) for read, chunks in zip(reads, chosen, strict=True)))

    async def _open(self, part: Mapping[str, Any], workspace: str, *, sealed: bool) -> Read | Image:
        file = part.get("file")
        if part.keys() != {"type", "file"} or not isinstance(file, dict):
            raise _no_part()
        if file.keys() == {"file_id"} and _is_text(file["file_id"]):
            if sealed:
                raise UsageError("file.sealed", "a sealed request brings its files inline", param="messages")
            if self._uploads is None:
                raise RefusedError("file.unknown", "this gateway keeps no uploads", status=404)
            return await self._uploads.find(file["file_id"], workspace)
        if not file.keys() <= {"filename", "file_data"} or not all(map(_is_text, file.values())):
            raise _no_part()
        data = data_of(file.get("file_data", ""))
        if data is None or "file_data" not in file:
            raise _no_part()
        return await self.read(file.get("filename", "file"), data)

    async def read(self, name: str, data: bytes) -> Read | Image:
        """Read one file. Raises ``file.*``."""
        if len(data) > self._file_bytes:
            raise RefusedError("file.too_large", f"a file has at most {self._file_bytes} bytes", status=413)
        kind = await asyncio.to_thread(kind_of, data)
        name = safe_name(name)
        if kind == "image":
            image_size(data)
            return Image(name, image_type(data) or "", data)
        if kind == "text":
            text, notes = await asyncio.to_thread(decode_text, data)
            found = Extracted((text,), False, text_type(name), *_OWN, notes)
        elif self._extractor is None:
            raise RefusedError("file.type", f"this gateway has nothing that reads {kind}", status=415)
        else:
            found = await self._extractor.extract(kind, data)
        return await asyncio.to_thread(_document, name, data, found)


def _document(name: str, data: bytes, found: Extracted) -> Read:
    pages = tuple(_plain(page) for page in found.pages)
    text = "".join(pages)
    if not text.strip():
        raise RefusedError(
            "file.empty", "there is no text in the file", hint="a scan has none: send its pages as images", status=422
        )
    if len(text.encode()) > MAX_TEXT_BYTES or len(pages) > MAX_PAGES:
        raise RefusedError(
            "file.too_large", f"more than {MAX_TEXT_BYTES} bytes of text or {MAX_PAGES} pages", status=413
        )
    starts, place = [], 0
    for page in pages:
        starts.append(place)
        place += len(page)
    empty = found.paged and not all(page.strip() for page in pages)
    notes = tuple(sorted({*found.notes, *(["pages-empty"] if empty else [])}))
    document = FileDocument(
        name=name,
        media_type=found.media_type,
        digest=sha256_hex(data),
        size=len(data),
        extractor=found.name,
        version=found.version,
        notes=notes,
        pages=tuple(starts) if found.paged else (),
        text=text,
    )
    return Read.of(document)


def _plain(text: str) -> str:
    """A text of whole characters."""
    return text.encode("utf-8", "replace").decode()


def tell_read(read: Read) -> dict[str, canonical.JSON]:
    """What was read in a file, without its text."""
    document = read.document
    return {
        "name": document.name,
        "media_type": document.media_type,
        "digest": document.digest,
        "size": document.size,
        "document": read.digest,
        "characters": len(document.text),
        "chunks": len(chunks_of(document)),
        "pages": len(document.pages) or None,
        "notes": list(document.notes),
        "extractor": {"name": document.extractor, "version": document.version},
    }


def _tell_quote(quote: Quote, shown: Shown) -> dict[str, canonical.JSON]:
    before, text, after = words_around(quote, shown.read.document, shown.chunks)
    return {
        "start": quote.answer_start,
        "end": quote.answer_end,
        "file": quote.file,
        "page": quote.page,
        "file_start": quote.start,
        "file_end": quote.end,
        "before": before,
        "text": text,
        "after": after,
    }


def _annotation(quote: Mapping[str, Any], files: Sequence[Shown]) -> dict[str, canonical.JSON]:
    read = files[quote["file"] - 1].read
    return {
        "type": "file_citation",
        "text": quote["text"],
        "start_index": quote["start"],
        "end_index": quote["end"],
        "file_citation": {
            "file_id": read.digest,
            "filename": read.document.name,
            "quote": quote["text"],
            "page": quote["page"],
            "start_index": quote["file_start"],
            "end_index": quote["file_end"],
        },
    }


def _brings(messages: Sequence[Any]) -> bool:
    return any(
        isinstance(part, dict) and part.get("type") == "file"
        for message in messages
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for part in message["content"]
    )


def _places(messages: Sequence[Any]) -> list[tuple[int, int]]:
    """Where the file parts are. Raises ``file.part`` for one in a message of another role."""
    found = []
    for at, message in enumerate(messages):
        content = message.get("content") if isinstance(message, dict) else None
        for number, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and part.get("type") == "file":
                if message.get("role") != "user":
                    raise UsageError("file.part", "files stand in messages of the user", param=f"messages.{at}")
                found.append((at, number))
    return found


def _stands_for(item: Read | Image, numbers: Mapping[str, int]) -> dict[str, Any]:
    """What goes upstream in a file part's place (``files.md`` §1(3))."""
    if isinstance(item, Image):
        url = f"data:{item.media_type};base64,{b64_encode(item.data)}"
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "text", "text": f"[file {numbers[item.digest]}: {shown_name(item.document.name)}]"}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, NumberText)


def _no_part() -> MalformedError:
    hint = '{"type":"file","file":{"filename":…,"file_data":"data:…;base64,…"}} or {"file_id":…}'
    return MalformedError("file.part", "this is no file part", hint=hint, param="messages")


def write_documents(files: Sequence[Shown]) -> bytes:
    """What was read, for an OPEN record; :func:`read_documents` reads it."""
    return canonical.encode([item.read.raw.decode() for item in files])


def read_documents(raw: bytes) -> list[bytes]:
    """The inverse of :func:`write_documents`."""
    return [item.encode() for item in canonical.decode(raw)]
