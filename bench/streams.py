"""Streams with marks: events per second of the gateway's own CPU, and what the first event and a mark cost.

A stub upstream sends events 20 ms apart; the gateway folds, chains, marks and passes them on. Wanted: >= 4,000 events a
second per core, first event at most 2 ms later than from the stub itself.

``python bench/streams.py [--streams 60] [--tokens 100]``
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp
from gateway import BODY, holdfast, stub  # beside this file

PACE_MS = 20.0


async def one(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[float, int, int, float]:
    """(time to the first event, events, marks, whole time) of one stream, seconds."""
    began = time.perf_counter()
    first, events, marks = 0.0, 0, 0
    async with session.post(url, data=body, headers={"content-type": "application/json"}) as answer:
        async for line in answer.content:
            if line.startswith(b"data: {"):
                first = first or time.perf_counter() - began
                events += 1
                marks += b'"mark":' in line
    return first, events, marks, time.perf_counter() - began


async def many(url: str, key: str, streams: int) -> list[tuple[float, int, int, float]]:
    """Several streams at once."""
    body = json.dumps({**BODY, "stream": True}).encode()
    headers = {"authorization": f"Bearer {key}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        return list(await asyncio.gather(*(one(session, url, body) for _ in range(streams))))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--port", type=int, default=19_500)
    options = parser.parse_args()
    pace = ("--pace-ms", str(PACE_MS), "--tokens", str(options.tokens))
    with tempfile.TemporaryDirectory() as folder, stub(*pace) as upstream:
        direct = asyncio.run(many(upstream + "/chat/completions", "none", 1))
        with holdfast(upstream, Path(folder), options.port) as server:
            asyncio.run(many(server.url, server.key, 4))
            alone = asyncio.run(many(server.url, server.key, 1))
            before = server.cpu_seconds()
            found = asyncio.run(many(server.url, server.key, options.streams))
            cpu = server.cpu_seconds() - before
    events = sum(item[1] for item in found)
    marks = sum(item[2] for item in found)
    late = statistics.median(item[3] for item in found) - direct[0][3]
    print(f"{options.streams} streams, {events} events, {marks} marks")
    print(f"events per second of the gateway's CPU   {events / cpu:8.0f}   wanted >= 4000")
    print(f"first event later than the stub's by     {(alone[0][0] - direct[0][0]) * 1000:8.2f} ms   wanted <= 2")
    print(f"a whole stream later than the stub's by  {late * 1000:8.1f} ms of {direct[0][3] * 1000:.0f} (median)")


if __name__ == "__main__":
    main()
