"""What the memory node counts. Never whose rows they are, nor what they say."""

from __future__ import annotations

from holdfast.ports.metrics import Metric

METRICS = (
    Metric("holdfast_memory_events_total", "count", "Events of rows that were written", ("type",)),
    Metric("holdfast_memory_searches_total", "count", "Searches"),
    Metric("holdfast_memory_conflicts_total", "count", "Changes that were made again since another came first"),
    Metric("holdfast_memory_erased_total", "count", "Rows that were erased"),
    Metric("holdfast_memory_refused_keys_total", "count", "Keys and passphrases that opened nothing"),
    Metric("holdfast_memory_unlocked", "level", "Users whose rows are in memory"),
    Metric("holdfast_memory_unscrubbed", "level", "1 while something removed may still be in the store's files"),
)
"""Declared before use (``ports/metrics.py``)."""
