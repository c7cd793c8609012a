"""What a log entry is (``spec/log.md`` §1): an envelope, or the commitment of a private one.

The log orders entries and never judges them: it checks that the bytes have one of the two shapes and takes the digest
by which the same statement is recognised. Whether an envelope's signature holds is for full nodes to say.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core import statements, tiles
from holdfast.core.encoding import sha256
from holdfast.errors import MalformedError


@dataclass(frozen=True, slots=True)
class Entry:
    """The exact bytes and the digest that names them: of the statement, or of the commitment entry itself."""

    raw: bytes
    digest: bytes


def parse_entry(raw: bytes) -> Entry:
    """Bytes to an :class:`Entry`; raises ``log.entry_size``, ``commitment.*``, ``envelope.*``, ``json.*``."""
    if len(raw) > tiles.MAX_ENTRY_BYTES:
        raise MalformedError("log.entry_size", f"a log entry has at most {tiles.MAX_ENTRY_BYTES} bytes")
    if statements.parse_commitment(raw) is not None:
        return Entry(raw, sha256(raw))
    return Entry(raw, sha256(statements.parse_envelope(raw).payload))
