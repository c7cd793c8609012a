"""What the development chain counts."""

from __future__ import annotations

from holdfast.ports.metrics import Metric

METRICS = (
    Metric("holdfast_chain_requests_total", "count", "JSON-RPC bodies that were answered"),
    Metric("holdfast_chain_ready", "level", "1 while the chain can do its work, else 0"),
    Metric("holdfast_chain_block_number", "level", "Newest block; embedded chain only"),
    Metric("holdfast_chain_block_time_seconds", "level", "Its time, unix seconds; embedded chain only"),
    Metric("holdfast_chain_pool_transactions", "level", "Transactions that wait; embedded chain only", ("kind",)),
)
"""Declared before use (``ports/metrics.py``). Kinds: ``executable``, and ``future`` while a nonce is missing."""
