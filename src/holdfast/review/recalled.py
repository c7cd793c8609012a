"""Which rows of memory went before a run's model, as its evidence shows them (``spec/recall.md`` §3, §4).

What a row says is there only where what was sent is shown, and only where blocks and rows are the same. Everything else
comes from the recall document, which holds digests alone.

Pure. Not covered: who signed it and whether that counts (the ``memory`` lane), and a row's history, which its owner's
key opens at the memory node.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.bundles import parse_bundle
from holdfast.core.recalls import RecallDocument
from holdfast.review.contents import evidence_of
from holdfast.verifier.memory import check_recalls, shown_blocks
from holdfast.verifier.transcript import Transcript


@dataclass(frozen=True, slots=True)
class RecalledRows:
    """The rows, and what they say where that is shown."""

    document: RecallDocument
    claims: Mapping[str, str] = field(default_factory=dict)
    """By row: the text that went before the model."""
    compared: bool = False
    """Whether those texts were held against the digests that the memory node signed."""

    def to_json(self) -> dict[str, Any]:
        rows = [{**row.to_json(), "says": self.claims.get(row.row)} for row in self.document.rows]
        return {**self.document.to_json(), "rows": rows, "compared": self.compared}


def recalled_of(raw: bytes, at: dt.datetime) -> RecalledRows | None:
    """The rows of a bundle's recall; None where no recall is opened that its route names and that fits."""
    bundle, evidence = parse_bundle(raw), evidence_of(raw, at)
    found = check_recalls([entry.item for entry in bundle.journal], evidence, Transcript())
    if found.document is None or found.refusals:
        return None
    blocks = (shown_blocks(evidence) or ()) if found.compared else ()
    claims = {block.attributes["row"]: block.text for block in blocks}
    return RecalledRows(found.document, claims, found.said)
