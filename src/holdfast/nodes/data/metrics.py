"""What the data node counts. No label names who asked or what."""

from __future__ import annotations

from holdfast.ports.metrics import Metric

METRICS = (
    Metric(
        "holdfast_data_admissions_total", "count", "Questions by source and what became of them", ("source", "outcome")
    ),
    Metric("holdfast_data_replays_total", "count", "Replays, by outcome", ("outcome",)),
    Metric("holdfast_data_fetch_seconds", "distribution", "From question to the end of the source's answer"),
    Metric("holdfast_data_bodies", "level", "Bodies kept"),
    Metric("holdfast_data_waiting", "level", "Statements that wait for the log"),
)
"""Declared before use (``ports/metrics.py``)."""
