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
from holdfast.nodes.panel.views import WORDS


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a lane can come to at best for a turn of a chat, asked as a page asks (``lanes.md`` §3)."""

    lane: str
    state: str
    basis: str | None
    says: str

    @property
    def word(self) -> str:
        """The state in words."""
        return WORDS[self.state]

    def to_json(self) -> dict[str, JSON]:
        return {"state": self.state, "basis": self.basis, "says": self.says}


CEILINGS = (
    Ceiling(
        "enclave",
        "proven",
        "hardware",
        "only where the gateway runs in an attested enclave. Of the provider's machines it says nothing.",
    ),
    Ceiling("bytes", "proven", "signature", "the signed statements bind every byte that was asked and answered."),
    Ceiling("artifact", "unknown", "provider_claim", "which model ran is its provider's word; a name is no model."),
    Ceiling("computation", "unknown", None, "the gateway sees what comes back, not how it was made."),
    Ceiling("inputs", "proven", "hardware", "only of facts that an attested data node admitted; n/a where none were."),
    Ceiling(
        "memory",
        "proven",
        "signature",
        "a memory node's word on the rows it gave, held against what was sent; n/a where none were.",
    ),
    Ceiling("route", "proven", "signature", "the gateway signs whom it asked, and what it changed on the way."),
    Ceiling(
        "privacy",
        "unknown",
        None,
        "this page asks through the panel: it sees what is asked, and so does the provider.",
    ),
    Ceiling(
        "payment",
        "proven",
        "signature",
        "the word of whoever captured it that money moved; n/a where nothing costs anything.",
    ),
    Ceiling(
        "settlement",
        "proven",
        "proof",
        "full nodes check the statements, and a round that is final says so; by development on a chain that is one.",
    ),
    Ceiling("judgement", "not_applicable", None, "nobody decides about what is asked here."),
)
"""Of a model behind a provider, in the order of lanes."""
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
    at_best: tuple[Ceiling, ...] = CEILINGS
    artifact: str = ""
    """Of what an inference node runs: the digest (hex) that it says the label means now; else empty."""
    task: str = ""
    """Of such a model: what its card declares, or ``inference``."""
    outputs: tuple[str, ...] = ()
    """What its upstream says it gives; empty where it says nothing."""

    @property
    def draws(self) -> bool:
        """Whether it is said to give images."""
        return "image" in self.outputs

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
            "outputs": list(self.outputs),
            "prices": {price.kind: price.usd for price in self.prices},
            "at_best": {ceiling.lane: ceiling.to_json() for ceiling in self.at_best},
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
    outputs = more.get("outputs", [])
    if not isinstance(outputs, list) or not all(isinstance(word, str) for word in outputs):
        raise MalformedError("panel.shape", "what a model gives is a list of words")
    prices = _prices(more.get("prices"))
    return ModelView(value["id"], upstream, owner, prices, artifact=digest, task=task, outputs=tuple(outputs))


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
