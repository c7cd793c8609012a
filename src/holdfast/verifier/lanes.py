"""The eleven lanes and what one of them is (``spec/lanes.md`` §1). There is no type for all of them as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.canonical import JSON

LANES = (
    "enclave",
    "bytes",
    "artifact",
    "computation",
    "inputs",
    "memory",
    "route",
    "privacy",
    "payment",
    "settlement",
    "judgement",
)
"""The closed list, in its fixed order (``lanes.md`` §1)."""
STATES = ("proven", "refuted", "pending", "unknown", "expired", "not_applicable")
"""What a lane can be (``lanes.md`` §1)."""
BASES = (
    "hardware",
    "proof",
    "signature",
    "observed",
    "development",
    "provider_claim",
    "operator_claim",
    "human",
)
"""What a state can rest on (``lanes.md`` §1)."""
DEVIATIONS = ("cache", "fallback", "ignored", "rewrite")
"""How a turn can have gone otherwise than it was asked for, which a policy can refuse (``lanes.md`` §1, §3(2))."""
DOES_NOT_SAY = {
    "enclave": "That the answer is any good.",
    "bytes": "That what was asked or answered is true.",
    "artifact": "That a same name is a same model.",
    "computation": "More than its mode can: a provider's own word is only that.",
    "inputs": "That a source was right.",
    "memory": "That a kept row is still true.",
    "route": "That another route would agree.",
    "privacy": "What a hop's operator did with what it saw.",
    "payment": "That anything was proved.",
    "settlement": "That the answer is right, or that waiting is failing.",
    "judgement": "Anything about the machinery.",
}
"""The sentence each lane owes its reader (design of the lanes, ``lanes.md`` §1)."""


HOPS = ("client", "relay", "gateway", "upstream", "log", "panel")
"""Where a turn comes by, in order (``lanes.md`` §3(5)): full nodes see what the log holds."""
SIGHTS = ("yes", "no", "unknown")
"""Whether a hop could see something."""


@dataclass(frozen=True, slots=True)
class Hop:
    """What one hop of a turn could see."""

    hop: str
    node: str | None
    """Which one, where that is said: the digest (hex) of its key document, or an upstream's code."""
    identity: str
    """The caller's address or account."""
    plaintext: str
    sizes: str
    timing: str

    def to_json(self) -> dict[str, JSON]:
        return {
            "hop": self.hop,
            "node": self.node,
            "identity": self.identity,
            "plaintext": self.plaintext,
            "sizes": self.sizes,
            "timing": self.timing,
        }


@dataclass(frozen=True, slots=True)
class Lane:
    """One question about a run with one answer."""

    name: str
    state: str
    basis: str | None
    says: str
    evidence: tuple[str, ...] = ()
    """Digests (hex) of what the state rests on."""
    deviations: tuple[str, ...] = ()
    """Of ``route``: how the turn went otherwise than it was asked for, as far as its account says; sorted."""
    hops: tuple[Hop, ...] = ()
    """Of ``privacy``: what each hop could see, in order."""

    @property
    def does_not_say(self) -> str:
        return DOES_NOT_SAY[self.name]

    def to_json(self) -> dict[str, JSON]:
        found: dict[str, JSON] = {
            "state": self.state,
            "basis": self.basis,
            "says": self.says,
            "does_not_say": self.does_not_say,
            "evidence": list(self.evidence),
        }
        if self.hops:
            found["hops"] = [hop.to_json() for hop in self.hops]
        return found


def restore_lane(name: str, value: Mapping[str, Any]) -> Lane:
    """A lane from what :meth:`Lane.to_json` made of it and its maker kept. Nothing is checked, and its deviations,
    which do not stand there, are not told."""
    hops = tuple(Hop(**hop) for hop in value.get("hops", ()))
    return Lane(name, value["state"], value["basis"], value["says"], tuple(value["evidence"]), hops=hops)
