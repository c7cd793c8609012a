"""Streaming marks: a signed chain over what has been shown so far (``spec/parts.md`` §7).

:class:`MarkChain` is used by both sides: the gateway seals windows and signs them, a reader rebuilds the same chain
from the events it received and compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical, merkle
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode, sha256
from holdfast.core.keys import PublicKey, verify_signature
from holdfast.core.parts import derive_salt, leaf_hash, map_parts
from holdfast.errors import MalformedError, RefusedError

MARK_TYPE = "urn:holdfast:mark:v1"
"""``type`` in what a mark's signature covers (``parts.md`` §7)."""
_MAX_DIGITS = 16
"""Digits of the largest integer that signed JSON holds (``conventions.md`` §3)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark without its signature: number, chain value before and after (32 bytes each), events in its window."""

    seq: int
    previous: bytes
    parts: bytes
    events: int

    def message(self, run: str) -> bytes:
        """What the signature covers."""
        return canonical.encode_known(
            {
                "type": MARK_TYPE,
                "run": run,
                "seq": self.seq,
                "previous": self.previous.hex(),
                "parts": self.parts.hex(),
                "events": self.events,
            }
        )

    def to_json(self, signature: bytes) -> dict[str, canonical.JSON]:
        return {
            "seq": self.seq,
            "previous": self.previous.hex(),
            "parts": self.parts.hex(),
            "events": self.events,
            "signature": b64_encode(signature),
        }


class MarkChain:
    """The chain of marks of one run. ``key`` is ``parts.pseudo_random_key`` of the run."""

    def __init__(self, key: bytes) -> None:
        self._salt = derive_salt(key, "mark")
        self._chain = sha256(b"\x02" + self._salt)
        self._window: list[bytes] = []
        self.seq = 0
        """Number of the last sealed mark; 0 before the first."""

    @property
    def value(self) -> bytes:
        """The current chain value, 32 bytes."""
        return self._chain

    @property
    def open_events(self) -> int:
        """Events since the last mark."""
        return len(self._window)

    def add(self, event: dict[str, Any]) -> None:
        """Take in one event, decoded with ``canonical.decode_exact``."""
        leaves = [leaf_hash(part, self._salt) for part in map_parts("response", event)]
        self._window.append(merkle.root(leaves))

    def seal(self) -> Mark:
        """Close the window into the next mark."""
        previous = self._chain
        self._chain = sha256(b"\x02" + previous + merkle.root(self._window))
        self.seq += 1
        mark = Mark(self.seq, previous, self._chain, len(self._window))
        self._window = []
        return mark


def parse_mark(value: object) -> tuple[Mark, bytes]:
    """The ``holdfast.mark`` object to a mark and its signature; raises ``mark.fields``."""
    if not isinstance(value, dict) or value.keys() != {"seq", "previous", "parts", "events", "signature"}:
        raise MalformedError("mark.fields", "not the members of a mark")
    numbers = [_positive(value["seq"]), _positive(value["events"])]
    return (
        Mark(numbers[0], hex_decode(value["previous"], 32), hex_decode(value["parts"], 32), numbers[1]),
        b64_decode(value["signature"]),
    )


def _positive(value: object) -> int:
    """An integer from 1, also when the decoder kept numbers as text."""
    if isinstance(value, canonical.NumberText) and value.isdigit() and len(value) <= _MAX_DIGITS:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise MalformedError("mark.fields", "seq and events are integers from 1")
    return value


def verify_mark(mark: Mark, signature: bytes, *, chain: MarkChain, run: str, key: PublicKey) -> None:
    """Seal the reader's window and compare with a received mark; raises ``mark.chain`` or ``mark.signature``."""
    expected = chain.seal()
    if expected != mark:
        raise RefusedError("mark.chain", f"mark {mark.seq} does not cover the events that were received")
    try:
        verify_signature(key, mark.message(run), signature)
    except RefusedError as error:
        raise RefusedError("mark.signature", f"mark {mark.seq} is not signed by the gateway's key") from error
