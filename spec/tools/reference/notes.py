"""Signed notes, checkpoints and cosignatures (checkpoint.md; C2SP signed-note, tlog-checkpoint, tlog-cosignature)."""

from __future__ import annotations

from typing import Any

from .text import b64, sha

LOG_SIGNATURE = 1
"""Signature type byte of plain Ed25519."""
COSIGNATURE = 4
"""Signature type byte of cosignature/v1."""


def key_hash(name: str, kind: int, public: bytes) -> bytes:
    """The four bytes that stand before a signature."""
    return sha(name.encode() + b"\n" + bytes([kind]) + public)[:4]


def vkey(name: str, kind: int, public: bytes) -> str:
    """A verifier key as text."""
    return f"{name}+{key_hash(name, kind, public).hex()}+{b64(bytes([kind]) + public)}"


def checkpoint_text(origin: str, size: int, root: bytes, *extensions: str) -> str:
    """The text of a checkpoint, up to the empty line."""
    return "".join(line + "\n" for line in (origin, str(size), b64(root), *extensions))


def line(name: str, kind: int, public: bytes, signature: bytes) -> str:
    """One signature line."""
    return f"\u2014 {name} {b64(key_hash(name, kind, public) + signature)}\n"


def log_line(name: str, key: Any, text: str) -> str:
    """The log's own signature."""
    return line(name, LOG_SIGNATURE, key.public, key.sign(text.encode()))


def cosignature_line(name: str, key: Any, text: str, posix_seconds: int) -> str:
    """A witness's cosignature/v1: it says the log was consistent with all it saw before, at that time."""
    message = f"cosignature/v1\ntime {posix_seconds}\n{text}".encode()
    return line(name, COSIGNATURE, key.public, posix_seconds.to_bytes(8, "big") + key.sign(message))


def note(text: str, *lines: str) -> str:
    """Text, empty line, signatures."""
    return text + "\n" + "".join(lines)
