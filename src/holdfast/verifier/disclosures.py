"""Whether documents, parts and marks that a bundle discloses are what was signed (``spec/parts.md`` §4, §7, §8)."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.core.bundles import DocumentItem, MarkItem, PartsItem
from holdfast.core.keys import verify_signature
from holdfast.core.marks import Mark
from holdfast.core.parts import verify_document, verify_part
from holdfast.core.statements import Execution, MarkReference, Route, Tree
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError
from holdfast.verifier.evidence import Evidence, refuse_and_note
from holdfast.verifier.transcript import Transcript


def check_disclosures(items: Iterable[object], evidence: Evidence, record: Transcript) -> None:
    for item in items:
        if isinstance(item, DocumentItem):
            tree = _tree_of(item.document, evidence)
            run = evidence.route or evidence.closing or next(iter(evidence.statements.values()), None)
            if tree is None or run is None:
                says = f"Nothing here binds the {item.document}."
                record.note(_about(item.document), "parts.md §8", "cannot_tell", says, "parts.unbound")
                continue
            try:
                verify_document(item.document, item.text.encode(), run.statement.run, item.secret, tree)
            except (HoldfastError, UnicodeEncodeError) as error:
                _refuse_bytes(evidence, record, error, f"The disclosed {item.document} is not what was signed.")
                continue
            evidence.documents[item.document] = item.text
            evidence.disclosed.append(tree.root.hex())
            says = f"The whole {item.document} ({tree.size} parts) is what was signed."
            record.note(_about(item.document), "parts.md §4", "yes", says)
        elif isinstance(item, PartsItem):
            for shown in item.parts:
                tree = _tree_of(shown.document, evidence)
                if tree is None:
                    says = f"Nothing here binds the {shown.document}."
                    record.note(("bytes",), "parts.md §8", "cannot_tell", says, "parts.unbound")
                    continue
                try:
                    part = verify_part(shown, tree)
                except HoldfastError as error:
                    _refuse_bytes(evidence, record, error, "A disclosed part is not what was signed.")
                    continue
                evidence.parts.setdefault(shown.document, []).append(part)
                evidence.disclosed.append(tree.root.hex())
                # Its path is not named: the member names of a document can be content.
                kind = shown.part.label.decode().partition("|")[0]
                says = f"Part {shown.position} of the {shown.document} ({kind}) is what was signed."
                lanes = _about(shown.document) if kind == "model" else ("bytes",)
                record.note(lanes, "parts.md §4", "yes", says)


def _tree_of(document: str, evidence: Evidence) -> Tree | None:
    route = evidence.route.statement.body if evidence.route else None
    closing = evidence.closing.statement.body if evidence.closing else None
    if document == "response":
        return closing.response if isinstance(closing, Execution) else None
    if not isinstance(route, Route):
        return None
    if document == "request" or not route.rewrites:
        return route.request if document == "request" else None
    return route.sent


def _about(document: str) -> tuple[str, ...]:
    """The lanes that a disclosed document has a part in: the answer names the model that is claimed."""
    return ("bytes", "artifact") if document == "response" else ("bytes",)


def _refuse_bytes(evidence: Evidence, record: Transcript, error: Exception, says: str) -> None:
    code = error.code if isinstance(error, HoldfastError) else "parts.document"
    refuse_and_note(evidence, record, "bytes", code, says, "parts.md §4")


def check_marks(items: Iterable[MarkItem], evidence: Evidence, trust: Trust | None, record: Transcript) -> None:
    """Marks are signed by the gateway's key; the last one is the one that the closing statement names."""
    for item in items:
        source = evidence.closing or evidence.route
        if source is None:
            says = "There is no statement to compare the mark with."
            record.note(("bytes",), "parts.md §7", "cannot_tell", says, "mark.unbound")
            continue
        admission = trust.admission(source.statement.attester) if trust else None
        key = admission.key_document.key_for("statement") if admission else None
        body = source.statement.body
        named = body.marks if isinstance(body, Execution) else None
        if isinstance(body, Execution) and not _mark_fits(item.mark, named):
            says = "The mark is not the one that was signed last."
            refuse_and_note(evidence, record, "bytes", "mark.chain", says, "parts.md §7")
        elif key is None:
            says = "The key that signed the mark is not known."
            record.note(("bytes",), "parts.md §7", "cannot_tell", says, "trust.unknown_key")
        else:
            try:
                verify_signature(key, item.mark.message(source.statement.run), item.signature)
                record.note(("bytes",), "parts.md §7", "yes", f"Mark {item.mark.seq} is signed by the gateway's key.")
            except RefusedError:
                says = "A mark has a bad signature."
                refuse_and_note(evidence, record, "bytes", "mark.signature", says, "parts.md §7")


def _mark_fits(mark: Mark, named: MarkReference | None) -> bool:
    """Whether a closing statement that names ``named`` allows a mark: an earlier one, or exactly the last."""
    if named is None or mark.seq > named.seq:
        return False
    return mark.seq < named.seq or mark.parts == named.parts
