"""Which files of the caller went before a run's model, as its evidence shows them (``spec/files.md`` §5): each with the
chunks that stood there.

Nothing is shown where a block is not the one of its document. What a file says nobody vouches for.

Pure. Not covered: what the ``inputs`` lane makes of them (``verifier.files``).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.files import FileDocument, ShownFile
from holdfast.review.contents import evidence_of
from holdfast.verifier.files import check_files
from holdfast.verifier.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Span:
    """One chunk that stood before the model, character by character."""

    chunk: str
    page: str | None
    start: str
    """Its first character's offset in the file's text, as its block says."""
    text: str


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """One file, as its block tells of it; what only its document tells is None where that is not shown."""

    name: str
    digest: str
    characters: str
    chunks: str
    pages: str | None
    media_type: str | None
    size_bytes: int | None
    extractor: str | None
    spans: tuple[Span, ...]

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "name": self.name,
            "digest": self.digest,
            "characters": self.characters,
            "chunks": self.chunks,
            "pages": self.pages,
            "media_type": self.media_type,
            "size": self.size_bytes,
            "extractor": self.extractor,
            "spans": [{"chunk": span.chunk, "page": span.page, "text": span.text} for span in self.spans],
        }


def attached_of(raw: bytes, at: dt.datetime) -> tuple[AttachedFile, ...]:
    """The files of a bundle; none where there were none, or where what went before the model is not shown or is not
    what its statements and documents say."""
    bundle, evidence = parse_bundle(raw), evidence_of(raw, at)
    found = check_files([entry.item for entry in bundle.journal], evidence, Transcript())
    if found.refusals:
        return ()
    return tuple(_file(file, found.documents.get(file.document)) for file in found.files or ())


def _file(file: ShownFile, document: FileDocument | None) -> AttachedFile:
    said = file.block.attributes
    return AttachedFile(
        name=file.block.text,
        digest=said["digest"],
        characters=said["characters"],
        chunks=said["chunks"],
        pages=said.get("pages"),
        media_type=document.media_type if document is not None else None,
        size_bytes=document.size if document is not None else None,
        extractor=f"{document.extractor} {document.version}" if document is not None else None,
        spans=tuple(
            Span(span.attributes["chunk"], span.attributes.get("page"), span.attributes["start"], span.text)
            for span in file.spans
        ),
    )
