"""The models that the gateway offers: who serves each, what it costs, and what its answers can prove.

What a model can prove is not its own to say: it follows from how it is asked (``spec/lanes.md`` §3). A provider that is
asked over the network tells its model's name and hands back an answer, so both stay its word, whatever it is called.

Not covered: whether any of it is true of one answer; a turn's lanes say that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.canonical import JSON
from holdfast.core.encoding import hex_decode
from holdfast.core.pricing import KINDS, parse_decimal
from holdfast.errors import MalformedError

CEILINGS = (
    ("bytes", True, "the signed statements bind every byte that was asked and answered."),
    ("route", True, "the gateway signs whom it asked, and what it changed on the way."),
    ("settlement", True, "full nodes check the statements, and a round that is final says so."),
    ("artifact", False, "which model ran is its provider's word; a name is no model."),
    ("computation", False, "the gateway sees what comes back, not how it was made."),
)
"""Of a model behind a provider: lane, whether a turn can prove it, and why (``lanes.md`` §3(1) to (7))."""
_WORDS = {
    "input": "a million tokens in",
    "output": "a million tokens out",
    "image": "an image",
    "search": "a search",
}


@dataclass(frozen=True, slots=True)
class Price:
    """One price of a model: ``usd`` is a decimal in a string, for so much of ``kind`` (``pricing.md`` §2)."""

    kind: str
    usd: str

    @property
    def words(self) -> str:
        """What one price is for."""
        return _WORDS[self.kind]


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model on offer."""

    id: str
    upstream: str
    """Code of who serves it; empty where the gateway does not say."""
    owned_by: str
    """Who the upstream says owns it."""
    prices: tuple[Price, ...] = ()
    """Empty where none is named."""
    proves: tuple[tuple[str, bool, str], ...] = CEILINGS
    artifact: str = ""
    """Of what an inference node runs: the digest (hex) that it says the label means now; else empty."""
    task: str = ""
    """Of such a model: what its card declares, or ``inference``."""

    @property
    def in_a_folder(self) -> bool:
        """Whether it lies in an inference node's own folder: labels of a hub name organisation and model."""
        return bool(self.artifact) and "/" not in self.id

    @property
    def price_words(self) -> str:
        """The prices of tokens in a few characters, for a list of models; empty where there are none."""
        tokens = [price.usd for price in self.prices if price.kind in ("input", "output")]
        return f"${' / $'.join(tokens)} per million" if tokens else ""

    def to_json(self) -> dict[str, JSON]:
        return {
            "id": self.id,
            "upstream": self.upstream,
            "owned_by": self.owned_by,
            "prices": {price.kind: price.usd for price in self.prices},
            "proves": {lane: can for lane, can, _ in self.proves},
        }


def parse_models(value: object) -> tuple[ModelView, ...]:
    """``GET /v1/models`` of the gateway, in its order. Raises ``panel.shape``, ``encoding.hex`` or
    ``pricing.decimal``."""
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, list):
        raise MalformedError("panel.shape", "the models are not a list")
    return tuple(_model(item) for item in data)


def _model(value: object) -> ModelView:
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise MalformedError("panel.shape", "a model has an id")
    more = value.get("holdfast", {})
    if not isinstance(more, dict):
        raise MalformedError("panel.shape", "what the gateway says of a model is an object")
    upstream, owner = more.get("upstream", ""), value.get("owned_by", "")
    if not isinstance(upstream, str) or not isinstance(owner, str):
        raise MalformedError("panel.shape", "who serves and who owns a model are names")
    artifact, task = more.get("artifact"), more.get("task", "")
    digest = "" if artifact is None else hex_decode(artifact, 32).hex()
    if not isinstance(task, str):
        raise MalformedError("panel.shape", "what a model is for is a word")
    return ModelView(value["id"], upstream, owner, _prices(more.get("prices")), artifact=digest, task=task)


def _prices(value: object) -> tuple[Price, ...]:
    """Prices of kinds that are known here, in the order of a charge."""
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise MalformedError("panel.shape", "the prices of a model are an object")
    prices: Mapping[str, Any] = value
    for usd in prices.values():
        parse_decimal(usd)
    return tuple(Price(kind, prices[kind]) for kind in KINDS if kind in prices)
