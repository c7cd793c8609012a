"""The messages of C2SP tlog-witness ``add-checkpoint`` (``spec/checkpoint.md`` §4).

A log sends its newest checkpoint with a proof that it extends the last one the witness cosigned; the witness answers
with cosignature lines, or says with 409 which size it cosigned last. Both ends use this module; neither socket is
here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.core import merkle
from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.core.notes import MAX_NOTE_BYTES, NoteSignature
from holdfast.errors import MalformedError

MAX_PROOF_LINES = 63
"""Most consistency proof lines (tlog-witness)."""
MAX_REQUEST_BYTES = MAX_NOTE_BYTES + 64 * 64
"""Largest ``add-checkpoint`` request: old size and proof lines, then a note."""
SIZE_TYPE = "text/x.tlog.size"
"""Content type of the 409 answer that names the size the witness cosigned last."""
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})\Z")
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n\Z")


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A parsed request: nothing in it is verified."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes


def build_add_checkpoint(old_size: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """The request body."""
    lines = "".join(b64_encode(value) + "\n" for value in proof)
    return f"old {old_size}\n{lines}\n".encode() + note


def parse_add_checkpoint(raw: bytes) -> AddCheckpoint:
    """A request body to its parts; raises ``witness.request`` or ``encoding.base64``."""
    if len(raw) > MAX_REQUEST_BYTES:
        raise MalformedError("witness.request", f"a request has at most {MAX_REQUEST_BYTES} bytes")
    head, separator, note = raw.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedError("witness.request", "the proof lines are ASCII") from error
    match = _OLD.match(lines[0])
    if not separator or match is None or int(match[1]) > merkle.MAX_SIZE:
        raise MalformedError("witness.request", "a request is an old size line, proof lines, an empty line and a note")
    if len(lines) - 1 > MAX_PROOF_LINES:
        raise MalformedError("witness.request", f"a proof has at most {MAX_PROOF_LINES} lines")
    return AddCheckpoint(int(match[1]), tuple(b64_decode(line, merkle.HASH_BYTES) for line in lines[1:]), note)


def build_cosignatures(signatures: Iterable[NoteSignature]) -> bytes:
    """The body of a 200 answer; :func:`holdfast.core.notes.parse_signature_lines` reads it."""
    return "".join(signature.line for signature in signatures).encode()


def build_size(size: int) -> bytes:
    """The body of a 409 answer, of type :data:`SIZE_TYPE`."""
    return b"%d\n" % size


def parse_size(raw: bytes) -> int:
    """The size in a 409 answer; raises ``witness.size``."""
    match = _SIZE.match(raw)
    if match is None or int(match[1]) > merkle.MAX_SIZE:
        raise MalformedError("witness.size", "expected a decimal size and a newline")
    return int(match[1])
