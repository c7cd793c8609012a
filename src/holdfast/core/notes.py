"""Signed notes, verifier keys, checkpoints and cosignatures, byte for byte as C2SP has them (``spec/checkpoint.md``).

Formats: C2SP signed-note, tlog-checkpoint and tlog-cosignature (``cosignature/v1``, Ed25519). A note made by another
implementation parses here and ours parses there.

Rules: bytes are parsed once, in one spelling; the text that was signed is kept as it came. Signatures by unknown keys
are ignored; a signature by a known key that does not verify refuses the whole note; a note on which no known key's
signature verifies is refused. A key is its name, its type and its bytes together: the four-byte id alone proves
nothing.

Not covered: which keys are trusted (``core.trust``), whether a tree only grew (``core.merkle``), other signature types
(ECDSA, RFC 6962 tree heads, ML-DSA): their lines are kept, and ignored as unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from holdfast.core import merkle
from holdfast.core.encoding import b64_decode, b64_encode, sha256
from holdfast.core.keys import PublicKey, verify_signature
from holdfast.errors import ConflictError, MalformedError, RefusedError

ED25519 = 0x01
"""Signature type of plain Ed25519 over the note text (signed-note, "Signature types")."""
COSIGNATURE = 0x04
"""Signature type of a timestamped Ed25519 cosignature (tlog-cosignature)."""
MAX_NOTE_BYTES = 256 * 1024
"""Longer notes are refused unread; sixteen post-quantum signatures still fit (signed-note, "Format")."""
MAX_SIGNATURES = 100
"""More signature lines are refused; signed-note asks for at least 16."""
MAX_TIMESTAMP = 2**63 - 1
"""Largest cosignature time (tlog-cosignature)."""
_KEY_ID_BYTES = 4
_ED25519_BYTES = 32
_SIGNATURE_BYTES = 64
_TIMED_BYTES = 8 + _SIGNATURE_BYTES
_DASH = "\u2014 "
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f]")
_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")
_VKEY = re.compile(r"([^+]+)\+([0-9a-f]{8})\+(.+)\Z", re.DOTALL)

Sign = Callable[[bytes], bytes]
"""Signs a message with the Ed25519 key that belongs to the verifier key at hand; returns 64 bytes."""


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(letter.isspace() or letter < " " for letter in name)


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A note key: name, signature type (:data:`ED25519` or :data:`COSIGNATURE`) and 32 public bytes."""

    name: str
    kind: int
    public: bytes
    key_id: bytes = field(init=False)
    """First four bytes of SHA-256(name ‖ LF ‖ type ‖ public)."""

    def __post_init__(self) -> None:
        if not _is_key_name(self.name):
            raise MalformedError("note.key_name", "a key name is not empty and has no spaces and no plus")
        if self.kind not in {ED25519, COSIGNATURE}:
            raise MalformedError("note.key_type", f"signature type {self.kind:#04x} is not one we verify")
        if len(self.public) != _ED25519_BYTES:
            raise MalformedError("note.key", f"an Ed25519 key has {_ED25519_BYTES} bytes")
        digest = sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public)
        object.__setattr__(self, "key_id", digest[:_KEY_ID_BYTES])

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64_encode(bytes([self.kind]) + self.public)}"

    def verify(self, text: bytes, signature: bytes) -> int | None:
        """Check a signature of this key over a note text; raises ``note.signature``.

        Returns the time of a cosignature in seconds since the epoch, ``None`` for a plain signature.
        """
        message, timestamp = text, None
        if self.kind == COSIGNATURE:
            if len(signature) != _TIMED_BYTES:
                raise RefusedError("note.signature", f"a cosignature has {_TIMED_BYTES} bytes")
            timestamp, signature = int.from_bytes(signature[:8]), signature[8:]
            if timestamp > MAX_TIMESTAMP:
                raise RefusedError("note.signature", "a cosignature's time fits in 63 bits")
            message = cosignature_message(text, timestamp)
        if len(signature) != _SIGNATURE_BYTES:
            raise RefusedError("note.signature", f"an Ed25519 signature has {_SIGNATURE_BYTES} bytes")
        try:
            verify_signature(PublicKey("log", "ed25519", self.public), message, signature)
        except RefusedError as error:
            raise RefusedError("note.signature", f"the signature by {self.name} does not verify") from error
        return timestamp


def parse_vkey(text: str) -> VerifierKey:
    """``name+id+base64(type ‖ key)`` to a key; raises ``note.vkey``, ``note.key*`` or ``encoding.base64``."""
    match = _VKEY.match(text)
    if match is None:
        raise MalformedError("note.vkey", "a verifier key is name+id+base64")
    material = b64_decode(match[3])
    if not material:
        raise MalformedError("note.vkey", "a verifier key names its type")
    key = VerifierKey(match[1], material[0], material[1:])
    if key.key_id.hex() != match[2]:
        raise MalformedError("note.vkey", "the key id does not belong to the key")
    return key


def cosignature_message(text: bytes, timestamp: int) -> bytes:
    """What a cosigner signs: header line, time line, the whole note text (tlog-cosignature)."""
    return b"cosignature/v1\ntime %d\n%s" % (timestamp, text)


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line, unverified: who it says it is by, four bytes of key id, and the rest."""

    claimed_name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line with its newline."""
        return f"{_DASH}{self.claimed_name} {b64_encode(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A well-formed note: the signed text (with its last newline) and its signature lines. Nothing is verified."""

    text: bytes
    signatures: tuple[NoteSignature, ...]

    @property
    def raw(self) -> bytes:
        """The note's one spelling."""
        return self.text + b"\n" + "".join(signature.line for signature in self.signatures).encode()

    def with_signatures(self, more: Iterable[NoteSignature]) -> Note:
        """The same note with further lines; one that is there already is not repeated."""
        return Note(self.text, tuple(dict.fromkeys((*self.signatures, *more))))


def parse_signature_lines(raw: bytes) -> tuple[NoteSignature, ...]:
    """Signature lines (the end of a note, or a witness's answer); raises ``note.signature_line``."""
    lines = _text(raw).split("\n")
    if len(lines) < 2 or lines.pop():
        raise MalformedError("note.signature_line", "signature lines end in a newline, and there is at least one")
    if len(lines) > MAX_SIGNATURES:
        raise MalformedError("note.signature_line", f"more than {MAX_SIGNATURES} signatures")
    return tuple(_parse_signature_line(line) for line in lines)


def _parse_signature_line(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not _is_key_name(name):
        raise MalformedError("note.signature_line", "a signature line is an em dash, a key name and base64")
    value = b64_decode(encoded)
    if len(value) <= _KEY_ID_BYTES:
        raise MalformedError("note.signature_line", "a signature follows its four-byte key id")
    return NoteSignature(name, value[:_KEY_ID_BYTES], value[_KEY_ID_BYTES:])


def _text(raw: bytes) -> str:
    if len(raw) > MAX_NOTE_BYTES:
        raise MalformedError("note.size", f"a note has at most {MAX_NOTE_BYTES} bytes")
    if _CONTROL.search(raw) is not None:
        raise MalformedError("note.control", "a note holds no control characters but newlines")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("note.utf8", "a note is UTF-8") from error


def parse_note(raw: bytes) -> Note:
    """Bytes to a :class:`Note`; raises ``note.*`` or ``encoding.base64``. The last empty line ends the text."""
    _text(raw)
    middle = raw.rfind(b"\n\n")
    if middle < 0:
        raise MalformedError("note.structure", "a note is text, an empty line and signatures")
    return Note(raw[: middle + 1], parse_signature_lines(raw[middle + 2 :]))


@dataclass(frozen=True, slots=True)
class VerifiedSignature:
    """A signature that verified: by which key, and when for a cosignature (seconds since the epoch)."""

    key: VerifierKey
    line: NoteSignature
    time: int | None


def verified_signatures(note: Note, keys: Iterable[VerifierKey]) -> tuple[VerifiedSignature, ...]:
    """The signatures by ``keys``, possibly none; one by a known key that does not verify raises ``note.signature``."""
    known = {(key.name, key.key_id): key for key in keys}
    found = []
    for line in note.signatures:
        key = known.get((line.claimed_name, line.key_id))
        if key is not None:
            found.append(VerifiedSignature(key, line, key.verify(note.text, line.signature)))
    return tuple(found)


def verify_note(note: Note, keys: Iterable[VerifierKey]) -> tuple[VerifiedSignature, ...]:
    """As :func:`verified_signatures`, and at least one there must be (``note.unsigned``)."""
    found = verified_signatures(note, keys)
    if not found:
        raise RefusedError("note.unsigned", "no known key signed this note")
    return found


def sign_note(text: bytes, key: VerifierKey, sign: Sign, timestamp: int | None = None) -> NoteSignature:
    """One signature line over ``text``; ``timestamp`` (seconds since the epoch) belongs to a cosignature key."""
    if (timestamp is not None) != (key.kind == COSIGNATURE):
        raise MalformedError("note.key_type", "exactly a cosignature carries a time")
    if timestamp is None:
        return NoteSignature(key.name, key.key_id, sign(text))
    if not 0 <= timestamp <= MAX_TIMESTAMP:
        raise MalformedError("note.signature", "a cosignature's time fits in 63 bits")
    signature = timestamp.to_bytes(8) + sign(cosignature_message(text, timestamp))
    return NoteSignature(key.name, key.key_id, signature)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint's text says: origin, number of entries, root over them, and extension lines."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> bytes:
        """The note text, its one spelling."""
        lines = (self.origin, str(self.size), b64_encode(self.root), *self.extensions)
        return "".join(line + "\n" for line in lines).encode()


def parse_checkpoint_text(text: bytes) -> Checkpoint:
    """Note text to a :class:`Checkpoint`; raises ``checkpoint.*``, ``note.*`` or ``encoding.base64``."""
    lines = _text(text).split("\n")
    if lines.pop() or len(lines) < 3 or not all(lines):
        raise MalformedError("checkpoint.lines", "a checkpoint has at least three lines, none of them empty")
    if _SIZE.match(lines[1]) is None or int(lines[1]) > merkle.MAX_SIZE:
        raise MalformedError("checkpoint.size", "a tree size is a decimal number without leading zeroes")
    root = b64_decode(lines[2], merkle.HASH_BYTES)
    size = int(lines[1])
    if size == 0 and root != merkle.EMPTY_ROOT:
        raise MalformedError("checkpoint.root", "the tree without entries has one root only")
    return Checkpoint(lines[0], size, root, tuple(lines[3:]))


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint whose log signature was verified; made by :func:`verify_checkpoint` alone."""

    checkpoint: Checkpoint
    note: Note
    key: VerifierKey

    @property
    def origin(self) -> str:
        """The log it is about."""
        return self.checkpoint.origin

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.checkpoint.size

    @property
    def root(self) -> bytes:
        """RFC 9162 root over the entries."""
        return self.checkpoint.root

    @property
    def raw(self) -> bytes:
        """The whole note."""
        return self.note.raw


def verify_checkpoint(raw: bytes, origin: str, keys: Iterable[VerifierKey]) -> VerifiedCheckpoint:
    """Parse a checkpoint of ``origin`` and verify the log's signature on it.

    ``keys`` are the log's own (plain Ed25519) keys. Raises ``note.*``, ``checkpoint.*`` or ``encoding.base64`` for
    bytes that do not parse, ``checkpoint.origin`` for another log's, ``note.unsigned`` and ``note.signature``.
    """
    note = parse_note(raw)
    checkpoint = parse_checkpoint_text(note.text)
    if checkpoint.origin != origin:
        raise RefusedError("checkpoint.origin", f"a checkpoint of {checkpoint.origin!r}, not of {origin!r}")
    signed = verify_note(note, (key for key in keys if key.kind == ED25519))
    return VerifiedCheckpoint(checkpoint, note, signed[0].key)


def sign_checkpoint(checkpoint: Checkpoint, key: VerifierKey, sign: Sign) -> bytes:
    """A whole checkpoint note with the log's signature."""
    text = checkpoint.text
    parse_checkpoint_text(text)
    return Note(text, (sign_note(text, key, sign),)).raw


def verify_cosignatures(note: Note, keys: Iterable[VerifierKey]) -> tuple[VerifiedSignature, ...]:
    """The cosignatures by the given witnesses; one that does not verify raises ``note.signature``."""
    return verified_signatures(note, (key for key in keys if key.kind == COSIGNATURE))


class EquivocationError(ConflictError):
    """``log.equivocation``: one log signed two histories; ``evidence`` are the two notes, for anyone to check."""

    def __init__(self, message: str, evidence: tuple[bytes, bytes]) -> None:
        super().__init__("log.equivocation", message, hint="keep both notes: together they prove it")
        self.evidence = evidence


def refuse_equivocation(first: VerifiedCheckpoint, second: VerifiedCheckpoint) -> None:
    """Raise :class:`EquivocationError` for two roots at one size of one log. Other pairs need a consistency proof."""
    if first.origin == second.origin and first.size == second.size and first.root != second.root:
        message = f"{first.origin} signed two different trees of {first.size} entries"
        raise EquivocationError(message, (first.raw, second.raw))


def verify_extension(old: VerifiedCheckpoint, new: VerifiedCheckpoint, proof: Sequence[bytes]) -> None:
    """Check that ``new`` extends ``old`` by a consistency proof; raises ``log.equivocation`` or ``log.consistency``.

    ``new`` must not be smaller: a smaller tree may be an old answer and proves nothing against the log.
    """
    refuse_equivocation(old, new)
    if old.origin != new.origin:
        raise RefusedError("checkpoint.origin", "two logs have no common history")
    merkle.verify_consistency(old.size, old.root, new.size, new.root, proof)
