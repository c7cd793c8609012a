"""The ``memory`` lane: which rows went before the model, and how the weakest of them stands (``spec/lanes.md`` §3(8)).

``check_recalls`` opens what is shown of a recall and compares it with what is shown of the request and of what was
sent, both ways: a row without its block and a block without its row are refused alike. The lane feeds no other.

That a kept row is still true it never says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import canonical
from holdfast.core.bundles import DocumentItem, RecallItem
from holdfast.core.context import REWRITE, Block
from holdfast.core.files import REWRITE as FILES
from holdfast.core.parts import pseudo_random_key
from holdfast.core.recalls import (
    RecallDocument,
    RecalledRow,
    recall_key,
    verify_context,
    verify_query,
    verify_recall,
)
from holdfast.core.statements import Route
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError
from holdfast.verifier import context
from holdfast.verifier.evidence import CheckedStatement, Evidence
from holdfast.verifier.lanes import Lane
from holdfast.verifier.transcript import Transcript

_DAY_S = 86_400
_WORD_OF = {
    "imported": "another system kept it",
    "model_inferred": "a model said it",
    "tool_returned": "a tool returned it",
    "data_admitted": "a data node admitted it",
    "user_said": "its owner said it",
}
"""Whose word a row is (``memory.md`` §1)."""


@dataclass(slots=True)
class Recalled:
    """What checking the recall of a run came to."""

    document: RecallDocument | None = None
    refusals: list[str] = field(default_factory=list)
    """A sentence for each thing that is wrong."""
    compared: bool = False
    """Whether the rows were held against what went before the model."""
    said: bool = False
    """Whether what each row says was, too."""


def check_recalls(items: Iterable[object], evidence: Evidence, record: Transcript) -> Recalled:
    """Open the recall that the route names, and compare it with what is shown of the run (``recall.md`` §3, §4)."""
    listed, found = list(items), Recalled()
    named = recall_of(evidence)
    for item in dict.fromkeys(item for item in listed if isinstance(item, RecallItem)):
        if named is None or item.digest != named.statement.digest:
            says = f"Recall {item.digest[:12]} is not one that the route names."
            record.note(("memory",), "recall.md §1", "cannot_tell", says, "recall_document.unbound")
            continue
        try:
            found.document = verify_recall(named.statement, item.raw, item.salt)
        except RefusedError as error:
            says = f"What is shown as recall {item.digest[:12]} is not what was signed: {error.message}."
            _refuse(found, record, error.code, says, "recall.md §3")
            continue
        says = f"The document of recall {item.digest[:12]} is what was signed."
        record.note(("memory",), "recall.md §1", "yes", says)
    _compare(listed, evidence, found, record)
    return found


def recall_of(evidence: Evidence) -> CheckedStatement | None:
    """The recall that the route names, where it is in the bundle."""
    parents = evidence.route.statement.parents if evidence.route is not None else ()
    statements = (evidence.statements.get(digest) for digest in parents)
    return next((item for item in statements if item is not None and item.statement.kind == "recall"), None)


def _refuse(found: Recalled, record: Transcript, code: str, says: str, spec: str) -> None:
    found.refusals.append(says)
    record.note(("memory",), spec, "no", says, code)


def _compare(items: list[object], evidence: Evidence, found: Recalled, record: Transcript) -> None:
    route = evidence.route.statement if evidence.route is not None else None
    body = route.body if route is not None else None
    if route is None or not isinstance(body, Route):
        return
    carried = REWRITE in body.rewrites
    unnamed = recall_of(evidence) is None and all(digest in evidence.statements for digest in route.parents)
    if found.document is None and not (carried and unnamed):
        return
    try:
        shown = shown_blocks(evidence) if carried else ()
        if found.document is None:
            if shown:
                raise RefusedError("recall_document.context", "it holds rows, and the route names no recall")
            return
        if bool(found.document.rows) != carried and (found.document.rows or FILES not in body.rewrites):
            raise RefusedError("recall_document.context", "rows were carried in exactly where the route says so")
        key = _key(items, evidence, route.run)
        if key is not None and "request" in evidence.documents:
            verify_query(found.document, _object(evidence.documents["request"]), recall_key(key))
        if shown is None:
            says = "What went before the model is not shown here."
            record.note(("memory",), "recall.md §4", "cannot_tell", says, "recall_document.unshown")
            return
        verify_context(found.document, shown, recall_key(key) if key is not None else None)
    except HoldfastError as error:
        code = error.code if isinstance(error, RefusedError) else "recall_document.context"
        says = f"What went before the model does not fit: {error.message}."
        _refuse(found, record, code, says, "recall.md §4")
        return
    found.compared, found.said = True, key is not None
    says = f"{len(found.document.rows)} rows of the recall are those before the model, and no others."
    record.note(("memory",), "recall.md §4", "yes", says)


def shown_blocks(evidence: Evidence) -> tuple[Block, ...] | None:
    """Blocks of rows before the model; None where what was sent is not shown. Raises ``context.*``."""
    blocks = context.shown_blocks(evidence)
    return None if blocks is None else tuple(block for block in blocks if block.kind == "memory")


def _object(text: str) -> Mapping[str, Any]:
    value = canonical.decode_exact(text.encode())
    return value if isinstance(value, dict) else {}


def _key(items: Iterable[object], evidence: Evidence, run: str) -> bytes | None:
    """The run's pseudo-random key, where a document was disclosed whole and is what was signed."""
    for item in items:
        if isinstance(item, DocumentItem) and evidence.documents.get(item.document) == item.text:
            return pseudo_random_key(run, item.secret)
    return None


# The lane


def memory(evidence: Evidence, recalled: Recalled, trust: Trust | None) -> Lane:
    """The lane (``lanes.md`` §3(8))."""
    if evidence.route is None:
        return Lane("memory", "pending", None, "The route of this run is not known yet.")
    checked = recall_of(evidence)
    digests = (checked.statement.digest,) if checked is not None else ()
    refusal = _refusal(checked) or next(iter(recalled.refusals), None)
    if refusal is not None:
        return Lane("memory", "refuted", None, refusal, digests)
    if any(digest not in evidence.statements for digest in evidence.route.statement.parents):
        return Lane("memory", "unknown", None, "A statement that the route names is not in this bundle.", digests)
    if checked is None:
        return Lane("memory", "not_applicable", None, "No memory was carried into this run.")
    if trust is None:
        says = "Without a trust document nobody can say whose word on these rows it is."
        return Lane("memory", "unknown", None, says, digests)
    if checked.ran_out:
        says = "The key of the memory node has run out and no quorum dated its statement in time."
        return Lane("memory", "expired", None, says, digests)
    document = recalled.document
    if document is None:
        says = "A memory node signed what it gave for this run; which rows those were is not shown here."
        return Lane("memory", "unknown", "signature", says, digests)
    if not recalled.compared:
        says = (
            f"{_tell(document)} What went before the model is not shown here, so nobody can say that it was these rows."
        )
        return Lane("memory", "unknown", "signature", says, digests)
    said = "" if recalled.said or not document.rows else " What each row says is not compared."
    return Lane("memory", "proven", "signature", _tell(document) + said, digests)


def _refusal(checked: CheckedStatement | None) -> str | None:
    if checked is None:
        return None
    if checked.refusal is not None and not checked.ran_out:
        return f"Not acceptable: the recall statement is refused ({checked.refusal})."
    if checked.late is not None:
        return f"The recall statement claims a time that its log entry contradicts ({checked.late})."
    if checked.verdict is not None and checked.verdict.startswith("refuted:"):
        return f"Final round {checked.verdict_round} refuted the recall: {checked.verdict}."
    return None


def _tell(document: RecallDocument) -> str:
    weakest = document.weakest
    if weakest is None:
        told = "Memory was searched, and no row was carried in."
    else:
        many = "One row was carried in" if len(document.rows) == 1 else f"{len(document.rows)} rows were carried in"
        told = f"{many}. The weakest is {_tell_row(weakest)}."
    why = Counter("no room" if row.why == "room" else row.standing for row in document.kept_out)
    more = document.found - len(document.rows) - len(document.kept_out)
    kept = ", ".join(f"{count} {word}" for word, count in sorted(why.items()))
    out = f" Kept out: {kept}{f', {more} further down' if more else ''}." if kept else ""
    return told + out


def _tell_row(row: RecalledRow) -> str:
    earned = "never earned" if row.earned_s is None else f"last earned {_days(row.earned_s)} before"
    return f"{row.standing}: {_WORD_OF[row.authority]}, {_days(row.age_s)} old, {earned}, rank {row.rank}"


def _days(seconds: int) -> str:
    days = seconds // _DAY_S
    return "less than a day" if days == 0 else "1 day" if days == 1 else f"{days} days"
