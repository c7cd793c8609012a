"""What the gateway counts."""

from __future__ import annotations

from holdfast.ports.metrics import Metric

METRICS = (
    Metric("holdfast_gateway_runs_total", "count", "Runs, by endpoint and outcome", ("endpoint", "outcome")),
    Metric("holdfast_gateway_runs_open", "level", "Runs under way"),
    Metric("holdfast_gateway_charges_total", "count", "Runs that were charged, by scheme", ("scheme",)),
    Metric("holdfast_gateway_unpaid_total", "count", "Requests answered 402, by code", ("code",)),
    Metric("holdfast_gateway_outbox_bytes", "level", "Write-ahead log that waits to be delivered to the log"),
    Metric("holdfast_gateway_commit_seconds", "level", "Moving average of one durable commit"),
    Metric("holdfast_gateway_registered", "level", "1 while the registry counts this gateway as active"),
    Metric("holdfast_gateway_registry_errors_total", "count", "Steps in the registry that failed, by kind", ("kind",)),
    Metric("holdfast_gateway_payments_total", "count", "Payments that ended, by how", ("how",)),
    Metric("holdfast_gateway_captures_open", "level", "Captures that were decided and have not ended"),
    Metric("holdfast_gateway_captures_disputed", "level", "Captures that only the facilitator says have happened"),
    Metric("holdfast_gateway_captures_undone", "level", "Captures that a reorganisation has undone"),
    Metric("holdfast_gateway_refunds_due", "level", "Debts for refuted runs that were not paid back yet"),
    Metric("holdfast_gateway_proofs_total", "count", "Proofs that nodes showed, by what came of them", ("how",)),
    Metric("holdfast_gateway_asked_total", "count", "Requests on chain, by what was done", ("how",)),
    Metric("holdfast_gateway_silent_full_nodes", "level", "Full nodes that did not answer when last asked"),
)
"""Declared metrics; labels are closed sets of codes."""
