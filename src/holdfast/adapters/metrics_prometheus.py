"""``ports/metrics.py`` over ``prometheus_client``, with a registry of its own per node.

Children (one per combination of labels) are kept in a dict, so that the hot path costs one look-up and one addition.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from holdfast.errors import UsageError
from holdfast.ports.metrics import Metric

MAX_SERIES = 1000
"""Combinations of labels per metric; more means that somebody used a label without bound."""


class PrometheusMetrics:
    """Declared metrics in one registry. Raises ``metrics.name`` and ``metrics.labels`` for what was not declared."""

    def __init__(self, declared: Sequence[Metric], *, process: bool = True) -> None:
        self._registry = CollectorRegistry()
        self._declared = {metric.name: metric for metric in declared}
        self._parents: dict[str, Counter | Gauge | Histogram] = {
            metric.name: _make(metric, self._registry) for metric in declared
        }
        self._children: dict[tuple[str, ...], Counter | Gauge | Histogram] = {}
        self._series = dict.fromkeys(self._declared, 0)
        if process:
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)
            GCCollector(registry=self._registry)

    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        """Add to a counter."""
        child = self._child(name, "count", labels)
        if isinstance(child, Counter):
            child.inc(amount)

    def level(self, name: str, value: float, *labels: str) -> None:
        """Set a level."""
        child = self._child(name, "level", labels)
        if isinstance(child, Gauge):
            child.set(value)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add one observation to a distribution."""
        child = self._child(name, "distribution", labels)
        if isinstance(child, Histogram):
            child.observe(value)

    def render(self) -> bytes:
        """Prometheus text format 0.0.4."""
        return generate_latest(self._registry)

    def _child(self, name: str, kind: str, labels: tuple[str, ...]) -> Counter | Gauge | Histogram:
        found = self._children.get((kind, name, *labels))
        if found is not None:
            return found
        metric = self._declared.get(name)
        if metric is None or metric.kind != kind:
            raise UsageError("metrics.name", f"no {kind} metric is declared as {name}")
        if len(labels) != len(metric.labels):
            raise UsageError("metrics.labels", f"{name} has the labels ({', '.join(metric.labels)})")
        if self._series[name] >= MAX_SERIES:
            raise UsageError("metrics.labels", f"{name} has more than {MAX_SERIES} series")
        parent = self._parents[name]
        child = parent.labels(*labels) if labels else parent
        self._series[name] += 1
        self._children[(kind, name, *labels)] = child
        return child


def _make(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    match metric.kind:
        case "count":
            return Counter(metric.name, metric.help, metric.labels, registry=registry)
        case "level":
            return Gauge(metric.name, metric.help, metric.labels, registry=registry)
        case "distribution":
            return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)
