"""What the gateway writes ahead, byte for byte.

One record = ``header length u32 | header JSON | (blob length u32 | blob)*``. Kinds:

======== ============================================================ =========================================
kind     header                                                       blobs
======== ============================================================ =========================================
OPEN     everything needed to close the run without its caller,       sealed request text, disclosed parts,
         the wrap of its secret                                       what was sent, admissions, files as read
MARK     run, when, the mark                                          none
CLOSE    run, times, outcome, first and last mark, private salts,     two envelopes, two log entries, sealed
         what a paid run used                                         response, published blob (``individual``),
                                                                      disclosed parts
FOLLOW   run, at                                                      envelope, entry for the log
ADDED    run, at, private salt                                        another node's envelope, entry for the log,
                                                                      its attestation as JSON
ASKED    run, at, how often the run was asked again by then           none
TURNED   run, and whom it was taken to by then, before it is taken    none
         to the last of them
======== ============================================================ =========================================

An entry that is the same bytes as its envelope, as it is except in mode ``private``, is left empty: it need not be
written, summed up and read back twice. Records from before that hold it twice, which reads the same.

Texts are sealed under a key of the run secret (``core.sealing``), which is not stored: reading them needs the
capability. Disclosed parts are JSON (``parts.md`` §8) and there only where a wrap is (``sealed.md`` §3).
Header members are ours; a record that does not parse means damage and stops the gateway.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from holdfast.errors import MalformedError

OPEN, MARK, CLOSE, FOLLOW, ADDED, ASKED, TURNED = 1, 2, 3, 4, 5, 6, 7
"""Record kinds."""
_LENGTH = struct.Struct(">I")
_decode_header = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A decoded record."""

    header: dict[str, Any]
    blobs: tuple[bytes, ...]


def encode(header: dict[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """Header and blobs to the payload of a record."""
    text = msgspec.json.encode(header)
    pieces = [_LENGTH.pack(len(text)), text]
    for blob in blobs:
        pieces += (_LENGTH.pack(len(blob)), blob)
    return b"".join(pieces)


def decode(payload: bytes) -> StoredRecord:
    """The inverse of :func:`encode`; raises ``records.damaged``."""
    pieces: list[bytes] = []
    offset = 0
    while offset < len(payload):
        if offset + 4 > len(payload):
            raise MalformedError("records.damaged", "a stored record ends within a length")
        (size,) = _LENGTH.unpack_from(payload, offset)
        offset += 4
        pieces.append(payload[offset : offset + size])
        if len(pieces[-1]) != size:
            raise MalformedError("records.damaged", "a stored record ends within a blob")
        offset += size
    if not pieces:
        raise MalformedError("records.damaged", "a stored record is empty")
    try:
        return StoredRecord(_decode_header(pieces[0]), tuple(pieces[1:]))
    except msgspec.DecodeError as error:
        raise MalformedError("records.damaged", "a stored record's header is not JSON") from error
