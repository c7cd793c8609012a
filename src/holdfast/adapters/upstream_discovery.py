"""Finds model servers that already run on this machine: Ollama and the llama.cpp server, on their default ports.

Rules: only loopback addresses that are written here are tried, once, at start; all of them together take no longer than
:data:`DISCOVERY_S`; a server that is silent, slow or strange is reported as such and never an error. Nothing but
``GET /v1/models`` is sent, without a credential. What is found is a claim: anybody on this machine may listen there.

Not covered: servers on other ports or hosts (name those in the settings), and noticing one that starts later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from holdfast.adapters.upstream_openai import OpenAIUpstream, OpenAIUpstreamConfig
from holdfast.ports.upstream import UPSTREAM_ERRORS, ModelInfo, Upstream, UpstreamUnreachableError

_LOG = logging.getLogger("holdfast.upstream.discovery")

DISCOVERY_S = 0.3
"""All looking together takes no longer than this, so that a start never waits noticeably."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server that might be there."""

    code: str
    """Becomes the upstream's code."""
    name: str
    """As people call it."""
    base_url: str


CANDIDATES = (
    Candidate("ollama", "Ollama", "http://127.0.0.1:11434/v1"),
    Candidate("llama-cpp", "llama.cpp server", "http://127.0.0.1:8080/v1"),
)
"""Ollama's and llama-server's defaults, from their own documentation."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What looking at one candidate gave."""

    candidate: Candidate
    config: OpenAIUpstreamConfig | None
    """Ready to use when there is at least one model; else ``None``."""
    models: tuple[ModelInfo, ...]
    says: str
    """One line for a person: what was found, or why nothing was."""


async def discover(candidates: Sequence[Candidate] = CANDIDATES, *, timeout_s: float = DISCOVERY_S) -> list[Finding]:
    """Look at every candidate at once; one finding each, in their order. Never raises for what it meets."""
    return list(await asyncio.gather(*(_look(candidate, timeout_s) for candidate in candidates)))


def discover_sync(candidates: Sequence[Candidate] = CANDIDATES, *, timeout_s: float = DISCOVERY_S) -> list[Upstream]:
    """As :func:`discover`, for code that builds an app before its loop runs: the upstreams that can be used.

    Looks in a thread with a loop of its own, so it works inside a running loop too, and logs each finding's line.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        findings = pool.submit(lambda: asyncio.run(discover(candidates, timeout_s=timeout_s))).result()
    for found in findings:
        _LOG.info("%s", found.says)
    return [OpenAIUpstream(found.config) for found in findings if found.config is not None]


async def _look(candidate: Candidate, timeout_s: float) -> Finding:
    config = OpenAIUpstreamConfig(candidate.code, candidate.base_url, connect_timeout_s=timeout_s)
    upstream = OpenAIUpstream(config)
    models: list[ModelInfo] = []
    try:
        async with asyncio.timeout(timeout_s):
            models = await upstream.models()
    except TimeoutError:
        says = f"{candidate.name} did not answer at {candidate.base_url} within {timeout_s:g} s"
    except UpstreamUnreachableError:
        says = f"no {candidate.name} at {candidate.base_url}"
    except UPSTREAM_ERRORS as error:
        says = f"something at {candidate.base_url} answers, but not as {candidate.name} does ({error.code})"
    else:
        names = ", ".join(model.id for model in models[:8]) + (", ..." if len(models) > 8 else "")
        count = f"{len(models)} model{'' if len(models) == 1 else 's'}"
        says = f"found {candidate.name} at {candidate.base_url}: " + (
            f"{count} ({names})" if models else "no model yet"
        )
    finally:
        await upstream.close()
    return Finding(candidate, config if models else None, tuple(models), says)
