"""Runs whose documents hold everything that can be seen of a turn, and every small change to what is seen.

A seed makes a run with text in several alphabets, tool calls, images, citations, usage, finish reasons and model
names, discloses all of it, and gives changed copies: one bit of a document the other way, one bit of a disclosed part,
elements in another order, members gone, documents exchanged.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
from collections.abc import Iterator
from random import Random
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import time_encode
from holdfast.core.parts import commit, disclose, pseudo_random_key
from holdfast.errors import HoldfastError
from tests.helpers.bound_answer import closing, network
from tests.helpers.network import RUN, SECRET, at, bundle_of

WORDS = ("hold", "fest", "Grüße", "日本語", "مرحبا", "🪸", "a\nb", "“quoted”", "1e400", "null")
FINISHES = ("stop", "length", "tool_calls", "content_filter")
MODELS = ("small-1", "other/model:2", "holdfast-responder")


@dataclasses.dataclass(frozen=True)
class Changed:
    """A bundle, and what was done to it."""

    what: str
    raw: bytes


def _text(source: Random) -> str:
    return " ".join(source.choice(WORDS) for _ in range(source.randint(1, 6)))


def _request(source: Random) -> dict[str, Any]:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{source.randbytes(9).hex()}"}}
    return {
        "model": source.choice(MODELS),
        "messages": [
            {"role": "system", "content": _text(source)},
            {"role": "user", "content": [{"type": "text", "text": _text(source)}, image]},
        ],
        "temperature": source.choice((0.5, 1, 2)),
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
    }


def _response(source: Random) -> dict[str, Any]:
    call = {
        "id": "call-1",
        "type": "function",
        "function": {"name": "look", "arguments": json.dumps({"at": _text(source)})},
    }
    cited = {"type": "url_citation", "url_citation": {"url": "https://a.example/1", "title": _text(source)}}
    message = {
        "role": "assistant",
        "content": _text(source),
        "tool_calls": [call],
        "annotations": [cited],
        "images": [{"url": f"https://a.example/{source.randbytes(4).hex()}.png"}],
    }
    count = source.randint(1, 999)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": source.choice(MODELS),
        "choices": [
            {"index": 0, "message": message, "finish_reason": source.choice(FINISHES)},
            {"index": 1, "message": {"role": "assistant", "content": _text(source)}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": count, "completion_tokens": 7, "total_tokens": count + 7},
    }


class VisibleRun:
    """One run with its journal; documents are compact JSON: every byte of them is seen, or holds what is seen."""

    def __init__(self, seed: int) -> None:
        self.source = Random(seed)
        asked, answered = _request(self.source), _response(self.source)
        sent = {**asked, "model": "upstream-model"}
        self.texts = {
            name: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            for name, value in (("request", asked), ("sent", sent), ("response", answered))
        }
        key = pseudo_random_key(RUN, SECRET)
        commitments = {name: commit(name, text.encode(), key) for name, text in self.texts.items()}
        trees = {name: commitment.tree for name, commitment in commitments.items()}
        payloads = closing(RUN, *trees.values(), rewrites=("model",), claimed_at=at(1))
        when = time_encode(at(2))
        self.journal: list[dict[str, Any]] = [
            {"kind": "statement", "at": when, "envelope": canonical.decode(network().seal(item))} for item in payloads
        ]
        self.journal += [
            {"kind": "document", "at": when, "document": name, "text": text, "secret": SECRET.hex()}
            for name, text in self.texts.items()
        ]
        positions = range(trees["response"].size)
        shown = [disclose("response", commitments["response"], position).to_json() for position in positions]
        self.journal.append({"kind": "parts", "at": when, "parts": shown})

    @property
    def raw(self) -> bytes:
        """The bundle as it was made."""
        return bundle_of(self.journal)

    def _with(self, what: str, change: Any) -> Changed | None:
        journal = copy.deepcopy(self.journal)
        change(journal)
        return Changed(what, bundle_of(journal)) if journal != self.journal else None

    def _flip(self) -> Changed | None:
        """One bit of one byte of a document's text, where what it says changes by it."""
        name = self.source.choice(sorted(self.texts))
        before = self.texts[name].encode()
        at_, bit = self.source.randrange(len(before)), self.source.randrange(7)
        after = bytes([*before[:at_], before[at_] ^ (1 << bit), *before[at_ + 1 :]])
        try:
            text = after.decode()
            if canonical.decode_exact(after) == canonical.decode_exact(before):
                return None  # another spelling of the same
        except UnicodeDecodeError:
            return None  # a bundle is text
        except HoldfastError:
            text = after.decode()

        def change(journal: list[dict[str, Any]]) -> None:
            next(item for item in journal if item.get("document") == name)["text"] = text

        return self._with(f"bit {bit} of byte {at_} of the {name}", change)

    def _flip_part(self) -> Changed | None:
        """One bit of one byte of a disclosed part."""
        parts = self.journal[-1]["parts"]
        position = self.source.randrange(len(parts))
        data = bytearray(base64.b64decode(parts[position]["bytes"]))
        if not data:
            return None
        data[self.source.randrange(len(data))] ^= 1 << self.source.randrange(8)

        def change(journal: list[dict[str, Any]]) -> None:
            journal[-1]["parts"][position]["bytes"] = base64.b64encode(data).decode()

        return self._with(f"part {parts[position]['label']}", change)

    def _edit(self) -> Changed | None:
        """Elements in another order, a member gone, a document in another's place."""
        name = self.source.choice(sorted(self.texts))
        value = json.loads(self.texts[name])
        kind = self.source.choice(("reversed", "gone", "exchanged"))
        if kind == "reversed":
            value["messages" if "messages" in value else "choices"].reverse()
        elif kind == "gone":
            del value[self.source.choice(sorted(value))]
        else:
            value = json.loads(self.texts["request" if name == "response" else "response"])

        def change(journal: list[dict[str, Any]]) -> None:
            next(item for item in journal if item.get("document") == name)["text"] = json.dumps(value)

        return self._with(f"{name} {kind}", change)

    def changed(self, count: int) -> Iterator[Changed]:
        """So many changed copies."""
        made = 0
        while made < count:
            pick = self.source.random()
            found = self._flip() if pick < 0.7 else self._flip_part() if pick < 0.85 else self._edit()
            if found is not None:
                made += 1
                yield found


def corpus(runs: int, each: int) -> Iterator[tuple[VisibleRun, list[Changed]]]:
    """Runs from seeds 0 on, each with its changed copies."""
    for seed in range(runs):
        run = VisibleRun(seed)
        yield run, list(run.changed(each))
