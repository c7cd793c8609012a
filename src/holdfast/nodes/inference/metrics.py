"""What the inference node counts."""

from __future__ import annotations

from holdfast.ports.metrics import Metric

METRICS = (
    Metric("holdfast_inference_orders_total", "count", "Orders, by how they ended", ("mode", "outcome")),
    Metric("holdfast_inference_run_seconds", "distribution", "From a parsed order to the model's answer"),
    Metric("holdfast_inference_loaded", "level", "Models in memory"),
    Metric("holdfast_inference_loads_total", "count", "Models loaded"),
    Metric("holdfast_inference_circuits_total", "count", "Circuits made, by how that ended", ("outcome",)),
    Metric("holdfast_inference_proofs_total", "count", "Tries to prove a run, by how they ended", ("outcome",)),
    Metric("holdfast_inference_proofs_owed", "level", "Runs whose proof is still to be made"),
    Metric("holdfast_inference_prove_seconds", "distribution", "From a job to its proof"),
)
"""Declared before use (``ports/metrics.py``). Outcomes are ``complete`` and the codes of errors."""
