"""What a full node counts."""

from __future__ import annotations

from holdfast.ports.metrics import Metric

METRICS = (
    Metric("holdfast_full_entries_total", "count", "Log entries checked", ("origin",)),
    Metric("holdfast_full_check_seconds", "distribution", "Fetching and checking one chunk of entries", ("origin",)),
    Metric("holdfast_full_log_size_entries", "level", "Entries of the log that are verified", ("origin",)),
    Metric("holdfast_full_round_number", "level", "The open round", ("origin",)),
    Metric("holdfast_full_spoken_round_number", "level", "Newest round with an own finality message", ("origin",)),
    Metric("holdfast_full_cosignatures_total", "count", "Answers to add-checkpoint", ("outcome",)),
    Metric("holdfast_full_proofs_total", "count", "Tries to check a proof, by what came of them", ("outcome",)),
)
"""Declared before use (``ports/metrics.py``)."""
