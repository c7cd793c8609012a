"""Streams with marks, beside their peers: events per second of the server's own CPU, and what the first event costs.

A stub upstream sends events 20 ms apart; the gateway folds, chains, marks and passes them on. Peers in the same run: a
pass-through of uvicorn and aiohttp, LiteLLM's proxy, and our own server and client with nothing bound. Wanted: >= 4,000
events a second per core that keep pace (aim: 400 streams of 50 events a second), >= 6 times LiteLLM, and the first
event at most 2 ms later than from the stub itself.

``python bench/streams.py [--streams 60] [--tokens 100]``
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import peers  # beside this file
from figures import at_least, at_most, figure, no_peer, ratio
from gateway import BARE, BODY, LITELLM, OURS, PASSTHROUGH, Server, holdfast, litellm, simple, stub

PACE_MS = 20.0
ALONE = 5
"""Streams one after the other, for the first event of an idle server."""
SLOW_PEERS = {LITELLM: 8}
"""Streams at once for those that cannot keep pace with more; per second of CPU it is the same question."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What one stream was like, seconds."""

    first: float
    events: int
    marks: int
    whole: float


@dataclass(frozen=True, slots=True)
class Found:
    """What one server did."""

    streams: int
    events: int
    marks: int
    cpu: float
    first: float
    """Median time to the first event of a stream that is alone."""
    whole: float
    """Median time of a whole stream, all at once."""

    @property
    def per_core(self) -> float:
        return self.events / self.cpu


async def one(session: aiohttp.ClientSession, url: str, body: bytes) -> Stream:
    """Ask once and read to the end."""
    began = time.perf_counter()
    first, events, marks = 0.0, 0, 0
    async with session.post(url, data=body, headers={"content-type": "application/json"}) as answer:
        async for line in answer.content:
            if line.startswith(b"data: {"):
                first = first or time.perf_counter() - began
                events += 1
                marks += b'"mark":' in line
    return Stream(first, events, marks, time.perf_counter() - began)


async def many(url: str, key: str, streams: int) -> list[Stream]:
    """Several streams at once."""
    body = json.dumps({**BODY, "stream": True}).encode()
    headers = {"authorization": f"Bearer {key}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        return list(await asyncio.gather(*(one(session, url, body) for _ in range(streams))))


def measure(server: Server, streams: int) -> Found:
    """Some streams alone, then all at once."""
    asyncio.run(many(server.url, server.key, 4))
    first = alone(server.url, server.key)
    before = server.cpu_seconds()
    found = asyncio.run(many(server.url, server.key, streams))
    cpu = server.cpu_seconds() - before
    events, marks = sum(item.events for item in found), sum(item.marks for item in found)
    return Found(streams, events, marks, cpu, first, statistics.median(item.whole for item in found))


def alone(url: str, key: str) -> float:
    """Median time to the first event of streams that come one after the other."""
    return statistics.median(asyncio.run(many(url, key, 1))[0].first for _ in range(ALONE))


def report(found: dict[str, Found], first: float, whole: float, missing: dict[str, str]) -> None:
    """A table of everybody, then our figures and ratios with what is wanted of them."""
    print(f"{'':32}{'streams':>8}{'events':>8}{'marks':>7}{'events/s/core':>15}{'+first ms':>11}{'+whole ms':>11}")
    for name, row in found.items():
        later = (row.first - first) * 1000, (row.whole - whole) * 1000
        print(
            f"{name:32}{row.streams:8}{row.events:8}{row.marks:7}{row.per_core:15,.0f}{later[0]:11.2f}{later[1]:11.1f}"
        )
    ours = found[OURS]
    figure("events per second, marks on", ours.per_core, "/s/core", at_least(4_000))
    figure("paced streams of 50 events a second", ours.per_core / 50, "/core", at_least(400), "(an aim)")
    figure("first event later than the stub's", (ours.first - first) * 1000, "ms", at_most(2))
    figure("a whole stream later than the stub's", (ours.whole - whole) / whole * 100, "%", note=f"of {whole:.1f} s")
    for name, row in found.items():
        if name != OURS:
            ratio(name, ours.per_core, row.per_core, at_least(6) if name == LITELLM else None)
    for name, why in missing.items():
        no_peer(name, why)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--port", type=int, default=19_500)
    options = parser.parse_args()
    pace = ("--pace-ms", str(PACE_MS), "--tokens", str(options.tokens))
    found: dict[str, Found] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name, stub(*pace) as upstream:
        folder, port = Path(name), options.port
        first = alone(upstream + "/chat/completions", "none")
        whole = asyncio.run(many(upstream + "/chat/completions", "none", 1))[0].whole
        servers = (
            holdfast(upstream, folder / "own", port),
            simple(BARE, "bare.py", upstream, port + 20),
            simple(PASSTHROUGH, "passthrough.py", upstream, port + 21),
            litellm(upstream, folder, port + 22),
        )
        for starting in servers:
            try:
                with starting as server:
                    found[server.name] = measure(server, SLOW_PEERS.get(server.name, options.streams))
            except peers.MissingError as error:
                missing[LITELLM] = str(error)
    report(found, first, whole, missing)


if __name__ == "__main__":
    main()
