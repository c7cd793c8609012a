"""Spans of somebody's tracing, kept as hints below the agent runs that they name (``spec/agents.md`` §9).

A hint is a step like any other, told under an idempotency key that is the span's own: an exporter that sends a batch
again adds nothing. What is no hint is counted back, with the reason of the first.

Not covered: reading the two encodings (``core.otlp``).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from typing import Any

from holdfast.core.otlp import Hint, Refused, build_response, once, read_trace
from holdfast.errors import HoldfastError, MalformedError, UnavailableError, UsageError
from holdfast.nodes.gateway.agents import Agents
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.retries import HEADER as KEY

PATH = "/v1/traces"
MAX_BYTES = 4 << 20
"""Of a request, as it comes and as it is inflated (§9(3))."""
_AT_ONCE = 32
"""Hints that are being written at once; they share a sync."""


class Traces:
    """See the module."""

    def __init__(self, agents: Agents, indexer: Indexer) -> None:
        self._agents = agents
        self._indexer = indexer

    async def take(self, body: bytes, headers: Mapping[bytes, bytes], workspace: str) -> tuple[bytes, str]:
        """Keep what a request tells; the answer and its type. Raises ``otlp.*``, ``json.*``, and what an exporter tries
        again after (:class:`UnavailableError`)."""
        kind = headers.get(b"content-type", b"").decode("latin-1")
        inflated = _inflated(body, headers.get(b"content-encoding", b"").lower())
        spans = once(await asyncio.to_thread(read_trace, inflated, kind))  # others are answered meanwhile
        authority = headers.get(b"authorization", b"")
        kept: list[dict[str, Any]] = []
        refused: list[Refused] = []
        for start in range(0, len(spans), _AT_ONCE):
            chunk = spans[start : start + _AT_ONCE]
            told = await asyncio.gather(*(self._keep(span, workspace, authority) for span in chunk))
            refused += [item for item in told if isinstance(item, tuple)]
            kept += [item for item in told if isinstance(item, dict)]
        codes = ", ".join(dict.fromkeys(code for code, _ in refused))
        why = f"{codes}; the first: {refused[0][1]}" if refused else ""
        return build_response(kind, kept, len(refused), why), kind.partition(";")[0].strip().lower()

    async def _keep(self, span: Hint | Refused, workspace: str, authority: bytes) -> dict[str, Any] | Refused:
        """The hint's run and capability, kept now or before; or why it is none."""
        if not isinstance(span, Hint):
            return span
        row = await self._indexer.run(span.agent_run)
        if row is None or row.workspace != workspace:
            return "agent.workspace", "there is no such agent run for this key"
        try:
            told = await self._agents.step(row, authority, span.body, {KEY: span.key.encode()})
        except UnavailableError:
            raise
        except HoldfastError as error:
            return error.code, error.message
        own = {"trace": span.trace, "span": span.span}
        return {**own, "run": told["run"], "capability": told["capability"]}


def _inflated(body: bytes, encoding: bytes) -> bytes:
    """Raises ``otlp.encoding`` and ``request.size``."""
    if encoding in (b"", b"identity"):
        return body
    if encoding != b"gzip":
        raise UsageError("otlp.encoding", "a trace comes as it is or with gzip", status=415)
    inflater = zlib.decompressobj(wbits=31)
    try:
        found = inflater.decompress(body, MAX_BYTES)
    except zlib.error as error:
        raise MalformedError("otlp.encoding", "this is no gzip") from error
    if inflater.unconsumed_tail or not inflater.eof:
        raise UsageError("otlp.encoding", f"a trace has at most {MAX_BYTES} bytes, all of them there", status=413)
    return found
