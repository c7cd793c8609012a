"""Files of the caller: whether what stood before the model is what was read in them (``spec/files.md`` §5).

Blocks are held against each other, against each file's document that is shown, and against the files that the request
brought, both ways. What contradicts refutes the ``inputs`` lane; what fits never betters it, for a caller's file is no
outside fact and nobody vouches for what it says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.core import canonical
from holdfast.core.bundles import FileItem
from holdfast.core.context import REWRITE as CONTEXT
from holdfast.core.context import Block
from holdfast.core.encoding import sha256_hex
from holdfast.core.files import REWRITE, FileDocument, ShownFile, verify_blocks, verify_parts, verify_spans
from holdfast.core.statements import Route
from holdfast.errors import HoldfastError, RefusedError
from holdfast.verifier.context import shown_blocks
from holdfast.verifier.evidence import Evidence
from holdfast.verifier.transcript import Transcript

_LANES = ("inputs",)
_DIALECT = "dialect-"
"""What a route's rewrites begin with where its upstream is asked in a shape of its own."""
MOST_TOLD = 8
"""Files that the lane tells one by one."""
_MOST_NAME = 60


@dataclass(slots=True)
class Attached:
    """What is shown of a run's files."""

    brought: bool = False
    """Whether the route says that there were any."""
    files: tuple[ShownFile, ...] | None = None
    """As the context message has them; None where it is not shown."""
    documents: dict[str, FileDocument] = field(default_factory=dict)
    """By digest: those that a block names, held against it."""
    refusals: list[str] = field(default_factory=list)
    """A sentence for each thing that is wrong."""


def check_files(items: Iterable[object], evidence: Evidence, record: Transcript) -> Attached:
    """Compare what is shown of a run's files with what went before the model."""
    body = evidence.route.statement.body if evidence.route is not None else None
    rewrites = body.rewrites if isinstance(body, Route) else ()
    found = Attached(brought=REWRITE in rewrites)
    shown = list(dict.fromkeys(item for item in items if isinstance(item, FileItem)))
    if not found.brought and not shown and CONTEXT not in rewrites:
        return found
    try:
        blocks = shown_blocks(evidence) if CONTEXT in rewrites else ()
        if not blocks and any(code.startswith(_DIALECT) for code in rewrites):
            blocks = None  # another shape of document, in which no context message is looked for
        found.files = _files(blocks, brought=found.brought) if blocks is not None else None
        if found.files is not None:
            _compare_request(found.files, evidence, record)
    except HoldfastError as error:
        if not found.brought and not error.code.startswith("file_document."):
            return found  # what cannot be read holds no file; the memory lane says what it is
        code = error.code if error.code.startswith("file_document.") else "file_document.blocks"
        _refuse(found, record, code, f"What went before the model of files does not fit: {error.message}.")
        return found
    for item in shown:
        _compare(item, found, record)
    return found


def _files(blocks: Iterable[Block], *, brought: bool) -> tuple[ShownFile, ...]:
    found = verify_blocks(list(blocks))
    if found and not brought:
        raise RefusedError("file_document.request", "there are files, and the route says that none were brought")
    return found


def _compare_request(files: tuple[ShownFile, ...], evidence: Evidence, record: Transcript) -> None:
    text = evidence.documents.get("request")
    if text is None or not files:
        return
    value = canonical.decode_exact(text.encode())
    compared = verify_parts(value.get("messages") if isinstance(value, dict) else None, files)
    says = "The files before the model are those that the request brings."
    if not compared:
        says = "Files were brought by uploads: whether their bytes are those of the blocks is the gateway's word."
    record.note(_LANES, "files.md §5(4)", "yes" if compared else "cannot_tell", says, None if compared else _UPLOADED)


_UPLOADED = "file_document.uploaded"


def _compare(item: FileItem, found: Attached, record: Transcript) -> None:
    name = f"file document {item.digest[:12]}"
    if sha256_hex(item.raw) != item.digest:
        _refuse(found, record, "file_document.digest", f"What is shown as {name} has another digest.")
        return
    named = next((file for file in found.files or () if file.document == item.digest), None)
    if named is None:
        says = f"No block that is shown here names {name}."
        record.note(_LANES, "files.md §5(3)", "cannot_tell", says, "file_document.unbound")
        return
    try:
        verify_spans(item.document, named)
    except HoldfastError as error:
        _refuse(found, record, error.code, f"Of {name}: {error.message}.")
        return
    found.documents[item.digest] = item.document
    says = f"The {len(named.spans)} spans before the model of {name} are what was read in it."
    record.note(_LANES, "files.md §5(3)", "yes", says)


def _refuse(found: Attached, record: Transcript, code: str, says: str) -> None:
    found.refusals.append(says)
    record.note(_LANES, "files.md §5", "no", says, code)


def tell_files(found: Attached) -> list[str]:
    """What the ``inputs`` lane says of files; nothing where there were none."""
    if not found.brought:
        return []
    if found.files is None:
        return ["Files of the caller were attached; what went before the model of them is not shown here."]
    if not found.files:
        return ["Of the caller's files only images went to the model, as they are."]
    told = [_tell(file, found.documents.get(file.document)) for file in found.files[:MOST_TOLD]]
    if len(found.files) > MOST_TOLD:
        told.append(f"{len(found.files) - MOST_TOLD} more files are not told here.")
    return [*told, "Nobody vouches for what the caller's files say."]


def _tell(file: ShownFile, document: FileDocument | None) -> str:
    said = file.block.attributes
    name = file.block.text if len(file.block.text) <= _MOST_NAME else file.block.text[:_MOST_NAME] + "…"
    spans = f"{said['shown']} of {said['chunks']} chunks stood before the model"
    read = f"read by {document.extractor} {document.version}" if document else "what was read in it is not shown here"
    return f"File of the caller {name!r} ({said['digest'][:12]}): {spans}; {read}."
