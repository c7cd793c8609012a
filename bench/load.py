"""A closed-loop HTTP load generator: each connection sends its next request when the last answer is whole.

``python bench/load.py URL --body FILE --key KEY --connections 64 --seconds 5`` prints one JSON line with requests per
second, latency percentiles and failures. Loopback only, bounded in time. A separate process, so that its cost is not
the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop


class Connection(asyncio.Protocol):
    """One connection's loop of request and answer."""

    def __init__(self, request: bytes, until: float, times: list[float], done: asyncio.Future[None]) -> None:
        self._request = request
        self._until = until
        self._times = times
        self._done = done
        self._parser = httptools.HttpResponseParser(self)
        self._began = 0.0
        self.failures = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() != 200:
            self.failures += 1
        now = time.perf_counter()
        self._times.append(now - self._began)
        if now >= self._until:
            self._transport.close()
            return
        self._parser = httptools.HttpResponseParser(self)
        self._send()

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def run(url: str, body: bytes, key: str, connections: int, seconds: float) -> dict[str, float]:
    """Load one URL for some seconds."""
    parts = urlsplit(url)
    request = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    loop = asyncio.get_running_loop()
    times: list[float] = []
    began = time.perf_counter()
    made = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        connection = Connection(request, began + seconds, times, done)
        await loop.create_connection(lambda one=connection: one, parts.hostname or "", parts.port or 80)  # type: ignore[misc]
        made.append((connection, done))
    async with asyncio.timeout(seconds + 30):
        await asyncio.gather(*(done for _, done in made))
    took = time.perf_counter() - began
    times.sort()
    return {
        "requests": len(times),
        "per_second": len(times) / took,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[min(len(times) - 1, len(times) * 99 // 100)] * 1000,
        "failures": sum(connection.failures for connection, _ in made),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--body", type=Path, required=True)
    parser.add_argument("--key", default="none")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    result = uvloop.run(run(options.url, options.body.read_bytes(), options.key, options.connections, options.seconds))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
