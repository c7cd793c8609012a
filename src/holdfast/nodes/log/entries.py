"""What a log entry is (``spec/log.md`` §1): an envelope, or the commitment of a private one.

The log orders entries and never judges them: it checks that the bytes have one of the two shapes and takes the digest
by which the same statement is recognised. Whether an envelope's signature holds is for full nodes to say.

Canonical JSON gives an envelope exactly one spelling, so a pattern over its bytes accepts what the parser accepts
(``tests/properties/test_log_entries.py``) at a fifth of the cost. Everything else goes to the parser, for its reasons.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass

from holdfast.core import statements, tiles
from holdfast.core.encoding import sha256
from holdfast.errors import MalformedError

_BASE64 = rb"((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)"
_ENVELOPE = re.compile(
    rb'\{"payload":"%s","payloadType":"%s","signatures":\[\{"keyid":"[0-9a-f]{64}","sig":"%s"\}\]\}\Z'
    % (_BASE64, re.escape(statements.PAYLOAD_TYPE.encode()), _BASE64)
)


@dataclass(frozen=True, slots=True)
class Entry:
    """The exact bytes and the digest that names them: of the statement, or of the commitment entry itself."""

    raw: bytes
    digest: bytes


def parse_entry(raw: bytes) -> Entry:
    """Bytes to an :class:`Entry`; raises ``log.entry_size``, ``commitment.*``, ``envelope.*``, ``json.*``."""
    if len(raw) > tiles.MAX_ENTRY_BYTES:
        raise MalformedError("log.entry_size", f"a log entry has at most {tiles.MAX_ENTRY_BYTES} bytes")
    match = _ENVELOPE.match(raw)
    if match is not None:
        payload = a2b_base64(match[1])
        if b2a_base64(payload, newline=False) == match[1] and _is_base64(match[2]):
            return Entry(raw, sha256(payload))
    if statements.parse_commitment(raw) is not None:
        return Entry(raw, sha256(raw))
    return Entry(raw, sha256(statements.parse_envelope(raw).payload))


def _is_base64(text: bytes) -> bool:
    """Whether text of base64 digits is the one spelling of some bytes."""
    return b2a_base64(a2b_base64(text), newline=False) == text
