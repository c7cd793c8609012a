"""The built-in responder as an upstream: answers without a key, a network or a model, and says that it is none.

The model id is ``holdfast-builtin``, owned by ``holdfast``; ``system_fingerprint`` changes when corpus or engine do.
A script that a conversation declares for its tools is followed (``builtin.script``). A token is a word or one other
sign, with the white space before it (``builtin.words.tokens``). Everything else of the shape is ``_local_upstream``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from holdfast.adapters._local_upstream import DEFAULT_PACE_TOKENS_S, LocalUpstream
from holdfast.adapters.builtin.corpus import fingerprint
from holdfast.adapters.builtin.responder import Turn, prepare, respond
from holdfast.adapters.builtin.script import Followed, follow
from holdfast.adapters.builtin.words import tokens
from holdfast.ports.clock import Clock

MODEL_ID = "holdfast-builtin"


class BuiltinVoice:
    """Retrieval over the written corpus."""

    model_id = MODEL_ID
    created = 1_767_225_600
    """2026-01-01T00:00:00Z, when the corpus was begun."""
    noun = "the built-in responder"
    computes = False

    def __init__(self) -> None:
        prepare()
        fingerprint()

    def fingerprint(self) -> str:
        return fingerprint()

    def say(self, turns: Sequence[Turn]) -> str:
        return respond(turns).text

    def split(self, text: str) -> list[str]:
        return tokens(text)

    def follow(self, messages: Sequence[Mapping[str, Any]], tools: Iterable[str]) -> Followed | None:
        return follow(messages, tools)


class BuiltinUpstream(LocalUpstream):
    """Implements :class:`holdfast.ports.upstream.Upstream` in this process."""

    def __init__(
        self,
        clock: Clock,
        new_id: Callable[[], str],
        *,
        code: str = "builtin",
        pace_tokens_s: float = DEFAULT_PACE_TOKENS_S,
    ) -> None:
        super().__init__(BuiltinVoice(), clock, new_id, code=code, pace_tokens_s=pace_tokens_s)
