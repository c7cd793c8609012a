"""What the panel counts."""

from __future__ import annotations

from holdfast.ports.metrics import Metric

METRICS = (
    Metric("holdfast_panel_questions_total", "count", "Questions passed on, by how they went", ("outcome",)),
    Metric("holdfast_panel_streams", "level", "Live streams open now"),
    Metric("holdfast_panel_node_read_seconds", "distribution", "Reading one answer of a node", ("node",)),
    Metric("holdfast_panel_node_failures_total", "count", "Reads of a node that failed", ("node", "code")),
    Metric("holdfast_panel_openings_total", "count", "Openings taken in from the gateway; some more than once"),
    Metric("holdfast_panel_bundles_total", "count", "Bundles fetched for cases, by how it went", ("outcome",)),
    Metric("holdfast_panel_cases_waiting", "level", "Runs whose evidence is still to come"),
    Metric("holdfast_panel_webhooks_total", "count", "Attempts at webhooks, by how they went", ("outcome",)),
    Metric("holdfast_panel_webhook_seconds", "distribution", "From an event of the journal to its webhook's delivery"),
    Metric("holdfast_panel_webhooks_waiting", "level", "Webhooks that wait to be delivered"),
    Metric("holdfast_panel_webhooks_dead", "level", "Webhooks that were given up and not replayed"),
    Metric("holdfast_panel_webhooks_disabled", "level", "Endpoints that said that they are gone"),
    Metric("holdfast_panel_refusals_total", "count", "Requests refused at the door", ("code",)),
)
"""Declared before use (``ports/metrics.py``)."""
