"""Numbers about a running node: counters, levels and distributions, declared before use.

A node declares its metrics as a tuple of :class:`Metric`, so that the list in the documentation is the list in the code
and a misspelt name is an error. Names are ``holdfast_<node>_<what>_<unit>`` as Prometheus asks. Labels are closed sets
(codes, kinds, node names): never a caller, a run, a model text or anything else without bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

DEFAULT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds, from a fast local answer to a slow upstream."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One declared metric. ``count`` only rises, ``level`` goes both ways, ``distribution`` counts into buckets."""

    name: str
    kind: Literal["count", "level", "distribution"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = DEFAULT_BUCKETS


class Metrics(Protocol):
    """Where a node puts its numbers. Each call names a declared metric and gives its labels in declared order."""

    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        """Add to a counter."""
        ...

    def level(self, name: str, value: float, *labels: str) -> None:
        """Set a level."""
        ...

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add one observation to a distribution."""
        ...

    def render(self) -> bytes:
        """Everything in Prometheus text format, for ``/metrics``."""
        ...
