"""What the facilitator counts."""

from __future__ import annotations

from holdfast.ports.metrics import Metric

METRICS = (
    Metric("holdfast_facilitator_verified_total", "count", "Payments that were found good"),
    Metric("holdfast_facilitator_refused_total", "count", "Payments that were not, by code", ("code",)),
    Metric("holdfast_facilitator_jobs_total", "count", "Jobs taken on"),
    Metric("holdfast_facilitator_ended_total", "count", "Jobs that ended", ("status",)),
    Metric("holdfast_facilitator_transactions_total", "count", "Transactions made, each nonce once", ("purpose",)),
    Metric("holdfast_facilitator_replaced_total", "count", "Transactions replaced with a higher fee"),
    Metric(
        "holdfast_facilitator_undone_total", "count", "Captures that a reorganisation took back before they counted"
    ),
    Metric("holdfast_facilitator_waiting", "level", "Jobs that are not in a transaction", ("network",)),
    Metric("holdfast_facilitator_flying", "level", "Transactions that do not count yet", ("network",)),
    Metric("holdfast_facilitator_capture_seconds", "distribution", "From a job's acknowledgement to its end"),
)
"""Declared before use (``ports/metrics.py``). Purposes: ``capture``, ``heartbeat``, ``data``, ``void``."""
