"""The tiny chat language model as an upstream: about a million weights, a transformer in numpy, in this process.

The model id is ``holdfast-tiny``, owned by ``holdfast``; ``system_fingerprint`` is the beginning of the digest of its
artifact (``artifacts.md`` §1(3)), so it names the bytes that answer. A token is one of its tokenizer's. It always
says what is most likely, so the same question has the same answer; it reads the last message of the user and nothing
before it.

Not covered: being right. Its card (``shipped/chat/card.json``) says how often it is.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from holdfast.adapters._local_upstream import DEFAULT_PACE_TOKENS_S, LocalUpstream
from holdfast.adapters.builtin.responder import Turn
from holdfast.adapters.shipped import shipped_files
from holdfast.adapters.tiny.network import Network
from holdfast.adapters.tiny.tokenizer import ANSWER, END, USER, parse_tokenizer
from holdfast.adapters.tiny.weights import parse_safetensors
from holdfast.core.artifacts import build_manifest
from holdfast.core.encoding import sha256_hex
from holdfast.errors import MalformedError
from holdfast.ports.clock import Clock

MODEL_ID = "holdfast-tiny"
ROOM_FOR_ANSWER = 72
"""Places that are kept free for an answer; a longer question loses its beginning."""


class TinyVoice:
    """The model over the files of its artifact."""

    model_id = MODEL_ID
    created = 1_796_000_000
    """In November 2026, when the model was trained."""
    noun = "the tiny chat model"
    computes = True

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        given = shipped_files("chat") if files is None else files
        digests = {name: sha256_hex(data) for name, data in given.items()}
        self.artifact = build_manifest("chat", digests).artifact
        try:
            self._tokenizer = parse_tokenizer(given["tokenizer.json"])
            self._network = Network(parse_safetensors(given["model.safetensors"]))
        except KeyError as error:
            raise MalformedError("model.weights", f"the model has no file {error}") from None
        if self._network.vocabulary != self._tokenizer.size:
            raise MalformedError("model.weights", "tokenizer and weights are of two models")

    def fingerprint(self) -> str:
        return f"hf_{self.artifact[:16]}"

    def say(self, turns: Sequence[Turn]) -> str:
        asked = next((turn.text for turn in reversed(turns) if turn.role == "user"), "")
        network = self._network
        cache = network.cache()
        question = self._tokenizer.encode(asked.strip())[-(network.places - ROOM_FOR_ANSWER - 2) :]
        scores = network.logits([USER, *question, ANSWER], cache)
        said: list[int] = []
        while cache.used < network.places:
            token = int(scores.argmax())
            if token in (USER, ANSWER, END):
                break
            said.append(token)
            scores = network.logits([token], cache)
        return self._tokenizer.decode(said)

    def split(self, text: str) -> list[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pieces = [decoder.decode(self._tokenizer.piece(token)) for token in self._tokenizer.encode(text)]
        return [piece for piece in [*pieces, decoder.decode(b"", final=True)] if piece]

    def follow(self, messages: Sequence[Mapping[str, Any]], tools: Iterable[str]) -> None:
        """It calls no tools: it has learnt to answer questions, and nothing else."""
        del messages, tools


class TinyUpstream(LocalUpstream):
    """Implements :class:`holdfast.ports.upstream.Upstream` in this process."""

    def __init__(
        self,
        clock: Clock,
        new_id: Callable[[], str],
        *,
        code: str = "tiny",
        pace_tokens_s: float = DEFAULT_PACE_TOKENS_S,
    ) -> None:
        super().__init__(TinyVoice(), clock, new_id, code=code, pace_tokens_s=pace_tokens_s)
