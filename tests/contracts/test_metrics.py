"""The metrics port, against each adapter."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.metrics_prometheus import MAX_SERIES, PrometheusMetrics
from holdfast.errors import UsageError
from holdfast.ports.metrics import Metric, Metrics

DECLARED = (
    Metric("holdfast_log_entries_total", "count", "Entries", ("result",)),
    Metric("holdfast_log_size", "level", "Size"),
    Metric("holdfast_log_append_seconds", "distribution", "Append", buckets=(0.1, 1.0)),
)


@pytest.fixture(
    params=[MemoryMetrics, lambda: PrometheusMetrics(DECLARED, process=False)], ids=["memory", "prometheus"]
)
def metrics(request: pytest.FixtureRequest) -> Metrics:
    make: Callable[[], Metrics] = request.param
    return make()


def test_counts_add_up_per_label(metrics: Metrics) -> None:
    metrics.count("holdfast_log_entries_total", "new")
    metrics.count("holdfast_log_entries_total", "new", amount=2)
    metrics.count("holdfast_log_entries_total", "known")
    text = metrics.render().decode()
    assert [line.rsplit(" ", 1)[1] for line in text.splitlines() if "new" in line and "created" not in line] in (
        ["3"],
        ["3.0"],
    )


def test_a_level_is_the_last_one(metrics: Metrics) -> None:
    metrics.level("holdfast_log_size", 5)
    metrics.level("holdfast_log_size", 4)
    assert any(line.startswith("holdfast_log_size 4") for line in metrics.render().decode().splitlines())


def test_observing_raises_nothing(metrics: Metrics) -> None:
    metrics.observe("holdfast_log_append_seconds", 0.5)
    assert isinstance(metrics.render(), bytes)


def test_memory_keeps_observations() -> None:
    metrics = MemoryMetrics()
    metrics.observe("x", 1.0, "a")
    metrics.observe("x", 2.0, "a")
    assert metrics.observations == {("x", "a"): [1.0, 2.0]}


def test_prometheus_counts_into_declared_buckets() -> None:
    metrics = PrometheusMetrics(DECLARED)
    metrics.observe("holdfast_log_append_seconds", 0.5)
    text = metrics.render().decode()
    assert 'holdfast_log_append_seconds_bucket{le="0.1"} 0.0' in text
    assert 'holdfast_log_append_seconds_bucket{le="1.0"} 1.0' in text
    assert "process_" in text


@pytest.mark.parametrize("name", ["holdfast_log_entry_total", "holdfast_log_size"])
def test_prometheus_refuses_what_was_not_declared_as_that(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        PrometheusMetrics(DECLARED, process=False).count(name)
    assert caught.value.code == "metrics.name"


def test_prometheus_refuses_other_labels_than_declared() -> None:
    metrics = PrometheusMetrics(DECLARED, process=False)
    with pytest.raises(UsageError) as caught:
        metrics.count("holdfast_log_entries_total")
    assert caught.value.code == "metrics.labels"


def test_prometheus_refuses_labels_without_bound() -> None:
    metrics = PrometheusMetrics(DECLARED, process=False)
    for number in range(MAX_SERIES):
        metrics.count("holdfast_log_entries_total", str(number))
    with pytest.raises(UsageError) as caught:
        metrics.count("holdfast_log_entries_total", "one more")
    assert caught.value.code == "metrics.labels"
