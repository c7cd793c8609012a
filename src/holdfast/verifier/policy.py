"""Appraisal policies and command-line requirements (``spec/lanes.md`` §4, §5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
from holdfast.core.statements import is_code
from holdfast.errors import MalformedError, UsageError
from holdfast.verifier.checks import CheckPolicy
from holdfast.verifier.lanes import BASES, LANES, STATES, Lane

POLICY_TYPE = "urn:holdfast:policy:v1"
"""``type`` of a policy (``lanes.md`` §4)."""


def build_policy(name: str, *, max_span_s: int = 600, max_skew_s: int = 30) -> bytes:
    """Bytes of a policy with the bounds of ``statement.md`` §8 and no requirement."""
    return canonical.encode_known(
        {"type": POLICY_TYPE, "name": name, "max_span_s": max_span_s, "max_skew_s": max_skew_s, "require": {}}
    )


DEFAULT_POLICY = build_policy("default")
"""What applies when nobody names a policy."""


@dataclass(frozen=True, slots=True)
class LaneRequirement:
    """States and bases that a policy accepts for one lane."""

    states: tuple[str, ...]
    bases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy; ``digest`` is the SHA-256 of its bytes."""

    name: str
    bounds: CheckPolicy
    require: Mapping[str, LaneRequirement]
    digest: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """``LANE=STATE[:BASIS]`` from a command line."""

    lane: str
    state: str
    basis: str | None

    def __str__(self) -> str:
        return f"{self.lane}={self.state}" + (f":{self.basis}" if self.basis else "")

    def answer(self, lane: Lane) -> Literal["yes", "no", "cannot_tell"]:
        """Whether a lane meets it; *cannot tell* while the lane is pending or unknown (``lanes.md`` §5)."""
        if lane.state == self.state and self.basis in (None, lane.basis):
            return "yes"
        return "cannot_tell" if lane.state in ("pending", "unknown") else "no"


def _names(value: object, known: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(value, list) or any(item not in known for item in value) or len(set(value)) != len(value):
        raise MalformedError("policy.require", f"expected a list of distinct names among {', '.join(known)}")
    return tuple(value)


def parse_policy(raw: bytes) -> Policy:
    """Canonical JSON bytes to a :class:`Policy`; raises ``policy.*`` or ``json.*``."""
    value = canonical.decode_signed(raw)
    if value.keys() != {"type", "name", "max_span_s", "max_skew_s", "require"} or value["type"] != POLICY_TYPE:
        raise MalformedError("policy.fields", f"not a {POLICY_TYPE}")
    bounds = value["max_span_s"], value["max_skew_s"]
    if any(not isinstance(bound, int) or isinstance(bound, bool) or bound < 0 for bound in bounds):
        raise MalformedError("policy.fields", "bounds are whole seconds")
    if not is_code(value["name"]) or not isinstance(value["require"], dict):
        raise MalformedError("policy.fields", "name is a code and require an object")
    require = {}
    for lane, entry in value["require"].items():
        if lane not in LANES or not isinstance(entry, dict) or entry.keys() != {"states", "bases"}:
            raise MalformedError("policy.require", "require maps lanes to states and bases")
        require[lane] = LaneRequirement(_names(entry["states"], STATES), _names(entry["bases"], BASES))
    return Policy(value["name"], CheckPolicy(*bounds), require, sha256_hex(raw))


def parse_requirement(text: str) -> Requirement:
    """``LANE=STATE[:BASIS]`` to a :class:`Requirement`; raises ``require.syntax`` (:class:`UsageError`)."""
    lane, equals, rest = text.partition("=")
    state, colon, basis = rest.partition(":")
    if not equals or lane not in LANES or state not in STATES or (colon and basis not in BASES):
        raise UsageError(
            "require.syntax",
            f"{text!r} is not LANE=STATE[:BASIS]",
            hint=f"lanes: {', '.join(LANES)}; states: {', '.join(STATES)}; bases: {', '.join(BASES)}",
        )
    return Requirement(lane, state, basis or None)
