"""How a bench says what it found: every figure beside the value that is wanted, every peer as a ratio.

A figure that misses says NOT MET, and a peer that could not be measured says why: nothing vanishes from a report. What
counts is the ratio to a peer of the same run, for absolute figures drift with whatever else the machine does.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wanted:
    """A bound that a figure should keep."""

    sign: str
    bound: float

    def met(self, value: float) -> bool:
        """Whether a value keeps it."""
        return value >= self.bound if self.sign == ">=" else value <= self.bound

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:,g}"


def at_least(bound: float) -> Wanted:
    """The figure should not be smaller."""
    return Wanted(">=", bound)


def at_most(bound: float) -> Wanted:
    """The figure should not be larger."""
    return Wanted("<=", bound)


def figure(name: str, value: float, unit: str, wanted: Wanted | None = None, note: str = "") -> bool:
    """Print one figure; returns whether it is as wanted."""
    line = f"{name:64} {_number(value):>12} {unit:10}"
    met = wanted is None or wanted.met(value)
    if wanted is not None:
        line += f" wanted {wanted!s:12} {'met' if met else 'NOT MET'}"
    print(f"{line}   {note}".rstrip(), flush=True)
    return met


def ratio(peer: str, ours: float, theirs: float, wanted: Wanted | None = None, note: str = "") -> bool:
    """Print how many times a peer's figure ours is (larger is better in both); returns whether it is as wanted."""
    return figure(f"holdfast / {peer}", ours / theirs, "x", wanted, note)


def no_peer(peer: str, why: str) -> None:
    """Print that a peer is missing from this run, and why."""
    print(f"{peer}: peer not measured: {why}", flush=True)


def _number(value: float) -> str:
    """Three digits that mean something."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
