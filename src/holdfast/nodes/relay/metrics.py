"""What the relay counts. No label is a caller, an account, a gateway or anything by which one request can be told."""

from __future__ import annotations

from holdfast.ports.metrics import Metric

METRICS = (
    Metric("holdfast_relay_requests_total", "count", "Requests, by how they ended", ("outcome",)),
    Metric("holdfast_relay_open", "level", "Requests under way"),
    Metric(
        "holdfast_relay_credit_usd", "level", "The least that is left of the relay's credit at a gateway, US dollars"
    ),
    Metric("holdfast_relay_gateways", "level", "Gateways whose keys are shown with proof"),
)
"""Declared metrics; labels are closed sets of codes."""
