"""Reading a stream so that nothing is handed out before a mark covers it (``parts.md`` §7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.client.errors import parse_error
from holdfast.core import canonical
from holdfast.core.encoding import hex_decode
from holdfast.core.keys import PublicKey
from holdfast.core.marks import MarkChain, parse_mark, verify_mark
from holdfast.core.messages.fold import fold_of
from holdfast.core.parts import pseudo_random_key, strip_carriers
from holdfast.errors import HoldfastError, MalformedError, RefusedError


@dataclass(frozen=True, slots=True)
class Marked:
    """A window of a stream whose mark verified."""

    seq: int
    events: tuple[Mapping[str, Any], ...]
    """The events of the window, numbers kept as text."""
    text: str
    """What they add to the first choice's text."""
    mark: Mapping[str, canonical.JSON] = field(default_factory=dict)
    """The mark itself, as it stood in the window's last event."""
    ends: tuple[bool, ...] = ()
    """Whether each event belongs to the end of the answer: every choice that began has its finish reason by then, or
    the event names the closing statements."""


def _delta_text(event: Mapping[str, Any]) -> str:
    """What an event adds to the first choice's text."""
    if event.get("type") == "content_block_delta":
        piece = event["delta"].get("text") if isinstance(event.get("delta"), dict) else None
        return piece if isinstance(piece, str) else ""
    choices, found = event.get("choices"), ""
    for choice in choices if isinstance(choices, list) else []:
        if not isinstance(choice, dict) or str(choice.get("index", "0")) != "0":
            continue
        delta = choice.get("delta")
        piece = delta.get("content") if isinstance(delta, dict) else choice.get("text")
        found += piece if isinstance(piece, str) else ""
    return found


class StreamReader:
    """Reads one stream's events, and holds each back until a mark covers it. Pure: hand it what arrived."""

    def __init__(self, run: str, capability: str, key: PublicKey, endpoint: str = "chat.completions") -> None:
        self._run = run
        self._key = key
        self._chain = MarkChain(pseudo_random_key(run, hex_decode(capability, 32)))
        self._fold = fold_of(endpoint)
        self._held: list[tuple[dict[str, Any], bool]] = []
        self.last: tuple[int, bytes] | None = None
        """Number and chain value of the last mark that verified."""
        self.carrier: Mapping[str, Any] = {}
        """The ``holdfast`` member of the terminal frame."""
        self.error: HoldfastError | None = None
        """What the gateway said went wrong in the middle."""

    def add(self, data: bytes) -> Marked | None:
        """Take one event. Returns the window that it closes, if any; raises ``mark.*``, ``json.*``, ``parts.*``,
        ``stream.fold`` or ``answer.run``."""
        event = canonical.decode_exact(data)
        if not isinstance(event, dict):
            raise MalformedError("stream.fold", "an event is a JSON object")
        carrier = event.get("holdfast")
        carried: Mapping[str, Any] = carrier if isinstance(carrier, dict) else {}
        if "run" in carried and carried["run"] != self._run:
            raise RefusedError("answer.run", "an event of another run stands in this stream")
        closes = "statements" in carried or "outcome" in carried
        if closes:
            self.carrier = carried
        if isinstance(event.get("error"), dict) and "choices" not in event:
            self.error = parse_error(0, canonical.encode_exact(event), "the gateway")
            return None
        self._chain.add(event)
        self._held.append((strip_carriers("response", event), closes))
        if "mark" not in carried:
            return None
        mark, signature = parse_mark(carried["mark"])
        verify_mark(mark, signature, chain=self._chain, run=self._run, key=self._key)
        self.last = (mark.seq, mark.parts)
        window, self._held = tuple(self._held), []
        ends = []
        for covered, closes in window:
            self._fold.add(covered)
            ends.append(closes or self._fold.all_finished)
        events = tuple(covered for covered, _ in window)
        return Marked(mark.seq, events, "".join(map(_delta_text, events)), mark.to_json(signature), tuple(ends))

    @property
    def unmarked(self) -> int:
        """Events that arrived and that no mark covers."""
        return len(self._held)

    def document(self) -> dict[str, Any]:
        """The folded response, as far as marks cover it."""
        return self._fold.document()
