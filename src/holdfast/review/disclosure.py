"""Evidence without what was asked and answered (``spec/case.md`` §5(6)).

A bundle may disclose parts and documents of its run. Whoever wants to read those opens the case and is in its journal
for it; everybody else gets the evidence closed: every statement, path, checkpoint and finality message, and no content.
The lanes say the same, but for how much was disclosed.
"""

from __future__ import annotations

from holdfast.core import canonical
from holdfast.core.bundles import build_bundle, parse_bundle

CONTENT = frozenset({"parts", "document"})
"""Kinds of evidence that hold content of the run (``bundle.md`` §2)."""


def closed_bundle(raw: bytes) -> bytes:
    """A bundle without its disclosures; itself when it has none."""
    bundle = parse_bundle(raw)
    items = canonical.decode_object(raw)["journal"]
    kept = [item for item in items if item["kind"] not in CONTENT]
    return raw if len(kept) == len(items) else build_bundle(bundle.run, bundle.exported_at, kept)
