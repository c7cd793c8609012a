"""What the hub counts."""

from __future__ import annotations

from holdfast.ports.metrics import Metric

METRICS = (
    Metric("holdfast_hub_changes_total", "count", "Changes that stand in the log", ("event",)),
    Metric("holdfast_hub_conflicts_total", "count", "Changes of a label that had moved meanwhile"),
    Metric("holdfast_hub_received_bytes_total", "count", "Bytes of files that were taken in"),
    Metric("holdfast_hub_uploads_dropped_total", "count", "Uploads that nobody went on with, thrown away"),
    Metric("holdfast_hub_sent_bytes_total", "count", "Bytes of files that were handed out"),
    Metric(
        "holdfast_hub_refused_files_total", "count", "Files that were not what they were said to be, by code", ("code",)
    ),
    Metric("holdfast_hub_waiting", "level", "Changes that wait for the log"),
)
"""Declared before use (``ports/metrics.py``)."""
