"""Answers that are given again to whoever asks the very same (``spec/routes.md`` §8).

Kept in memory, for a time, by the workspace that asked, the upstream that answered and every byte that it was sent.
Only a request that asks for it is looked up or kept, and only one that asks for the same answer every time. An answer
that is given again is bound anew, and its route says that it is one, and of which run.

Not covered: answers that are alike but not the same request's, and keeping anything on disk.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.canonical import NumberText
from holdfast.core.encoding import sha256
from holdfast.core.vectors import ENDPOINT as VECTORS
from holdfast.errors import UsageError
from holdfast.nodes.gateway.catalog import Offer
from holdfast.nodes.gateway.computing import NodeOffer
from holdfast.nodes.gateway.request import IMAGES, Ask, BoundRequest
from holdfast.ports.clock import Clock

ENDPOINTS = ("chat.completions", IMAGES, VECTORS)
_OF_THE_STREAM = frozenset({"stream", "stream_options"})
"""Say how an answer comes and not which."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that is kept."""

    run: str
    """Of which run it was first."""
    text: bytes
    """As the upstream sent it."""
    kept_at: float
    """Monotonic time, seconds."""


class Cache:
    """The answers of one gateway."""

    def __init__(self, clock: Clock, *, seconds: float = 0, most_bytes: int = 0) -> None:
        """Nothing is kept where ``seconds`` is 0."""
        self._clock = clock
        self._seconds = seconds
        self._most = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    def require(self, ask: Ask, *, hidden: bool, paid: bool) -> None:
        """Raises ``request.cache`` where an answer from a cache is asked for and there can be none. ``hidden`` where a
        run is private or came sealed, ``paid`` where answers cost something."""
        if not ask.options.cache:
            return
        why = None
        if self._seconds <= 0:
            why = "this gateway keeps no answers"
        elif ask.endpoint not in ENDPOINTS or ask.signed is not None:
            why = "answers of this kind are not kept"
        elif hidden or paid or ask.options.sealed:
            why = "no answer is kept of a run that is private, that is or came sealed, or that is paid for"
        elif ask.options.memory is not None or ask.options.admissions or ask.options.admit is not None:
            why = "what memory or data nodes are asked has an answer of its own time"
        elif not _is_settled(ask):
            why = "only a request that asks for the same answer every time has one: temperature 0, or a seed"
        if why is not None:
            raise UsageError("request.cache", why, hint="leave holdfast.cache out", param="holdfast.cache")

    def key(self, ask: Ask, workspace: str, bound: BoundRequest, offer: Offer | NodeOffer) -> bytes | None:
        """What an answer is kept under: everything that makes two requests the same. None where none is to be."""
        if not ask.options.cache or isinstance(offer, NodeOffer):
            return None
        asked = {name: value for name, value in bound.sent_value.items() if name not in _OF_THE_STREAM}
        names = [workspace, ask.endpoint, offer.upstream.code, bound.path]
        return sha256(canonical.encode_known([*names]) + canonical.encode_exact(asked))

    def find(self, key: bytes | None) -> Kept | None:
        """The answer that is kept under a key and is not too old."""
        found = self._kept.get(key) if key is not None else None
        if key is None or found is None:
            return None
        if self._clock.monotonic() - found.kept_at > self._seconds:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found

    def keep(self, key: bytes | None, run: str, text: bytes) -> None:
        """Keep a complete answer; those that nobody asked for the longest go."""
        if key is None or len(text) > self._most // 8:
            return
        if key in self._kept:
            self._drop(key)
        self._kept[key] = Kept(run, text, self._clock.monotonic())
        self._bytes += len(text)
        while self._bytes > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: bytes) -> None:
        self._bytes -= len(self._kept.pop(key).text)


def _is_settled(ask: Ask) -> bool:
    """Whether a request asks for the same answer every time, as far as its upstream can give it."""
    if ask.endpoint == VECTORS:
        return True
    seed, temperature = ask.value.get("seed"), ask.value.get("temperature")
    cold = isinstance(temperature, NumberText) and float(temperature) == 0
    return isinstance(seed, NumberText) or (cold and ask.endpoint != IMAGES)
