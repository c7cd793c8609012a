"""What a relay adds: one stub gateway asked directly and through a relay, request by request in turn, over loopback.

Three processes: this one asks, one is a gateway that answers at once, one is the relay as its node assembles it. A
request is 1 KiB, a whole answer 2 KiB, a streamed one 50 pieces. What is compared is medians of the same run.

Figures wanted: whole answers p50 at most 1 ms more, first piece of a stream p50 at most 1 ms more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

from figures import at_most, figure

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.forward_direct import DirectForwarder, ForwardConfig
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.client.log import LogReader
from holdfast.core.trust import Trust
from holdfast.nodes.edge import App, Receive, Scope, Send
from holdfast.nodes.process import calm_collector, run_loop
from holdfast.nodes.relay.admission import AccountAdmission, Quota
from holdfast.nodes.relay.app import RelayApp, create_app
from holdfast.nodes.relay.batches import Batch, Tick
from holdfast.nodes.relay.config import RelayKey
from holdfast.nodes.relay.service import Passages
from holdfast.nodes.relay.targets import Target, Targets
from holdfast.nodes.server import make_server
from holdfast.ports.settings import Secret

KEY = "hf_bench"
REQUEST = bytes.fromhex("01002000010001") + bytes(1017)
ANSWER = bytes(2048)
PIECES = 50
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "message/ohttp-req"}
STREAM = {**HEADERS, "accept": "message/ohttp-chunked-res", "x-ohttp-stream": "true"}


async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers whole, or in pieces where a stream is asked for."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    streamed = dict(scope["headers"]).get(b"x-ohttp-stream") == b"true"
    kind = b"message/ohttp-chunked-res" if streamed else b"message/ohttp-res"
    headers = [(b"content-type", kind)]
    if not streamed:
        headers.append((b"content-length", b"%d" % len(ANSWER)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(PIECES if streamed else 0):
        await send({"type": "http.response.body", "body": ANSWER[:100], "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"" if streamed else ANSWER})


def relay(port: int) -> App:
    """A relay in front of the gateway at this port, without quotas that a bench would meet."""
    clock, http_client = SystemClock(), AiohttpHTTP()
    target = Target("", DirectForwarder(ForwardConfig(f"http://127.0.0.1:{port}", token=KEY)))
    nobody = cast("Trust", None)
    targets = Targets([target], http_client, LogReader(http_client, ""), lambda: nobody, clock, every_s=60)
    quota = Quota(3600, 1 << 40, 1 << 60, 1 << 20)

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        await target.forwarder.close()

    app = RelayApp(
        targets,
        AccountAdmission([RelayKey("bench", Secret(KEY, "bench"))], quota, clock.monotonic),
        Passages(
            Batch(Tick(clock, 0), list[Any].reverse), Tick(clock, 0), timeout_s=60, idle_timeout_s=60, at_once=1024
        ),
        MemoryMetrics(),
        identity={},
        readiness=targets.readiness,
        lifespan=lifespan,
    )
    return create_app(app, request_bytes=20 << 20, request_seconds=30)


def serve(kind: str, port: int, behind: int) -> None:
    """One of the two servers, until it is ended."""
    app = cast("App", gateway) if kind == "gateway" else relay(behind)
    calm_collector()
    run_loop(make_server(app, port=port).serve())


@contextlib.contextmanager
def server(kind: str, behind: int = 0) -> Iterator[int]:
    """A server in a process of its own; its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, "--serve", kind, "--port", str(port), "--behind", str(behind)]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def one(connection: http.client.HTTPConnection, headers: dict[str, str]) -> tuple[float, float]:
    """Milliseconds to the first byte of the body, and to its end."""
    began = time.perf_counter()
    connection.request("POST", "/v1/ohttp", REQUEST, headers)
    answer = connection.getresponse()
    answer.read(1)
    first = time.perf_counter()
    answer.read()
    assert answer.status == 200
    return (first - began) * 1e3, (time.perf_counter() - began) * 1e3


def compare(ports: dict[str, int], headers: dict[str, str], count: int) -> dict[str, list[tuple[float, float]]]:
    """Each way in turn, so that what else the machine does meets both alike."""
    connections = {name: http.client.HTTPConnection("127.0.0.1", port) for name, port in ports.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ports}
    for turn in range(count + 50):
        for name, connection in connections.items():
            taken = one(connection, headers)
            if turn >= 50:
                found[name].append(taken)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=2000, help="requests each way")
    parser.add_argument("--serve", choices=("gateway", "relay"), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--behind", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.port, given.behind)
        return
    with server("gateway") as behind, server("relay", behind) as front:
        ports = {"direct": behind, "relay": front}
        for name, headers, place in (("whole answers", HEADERS, 1), ("first piece of a stream", STREAM, 0)):
            found = compare(ports, headers, given.count if headers is HEADERS else given.count // 4)
            p50 = {way: statistics.median(taken[place] for taken in times) for way, times in found.items()}
            note = json.dumps({way: round(value, 3) for way, value in p50.items()})
            figure(f"{name}: what the relay adds, p50", p50["relay"] - p50["direct"], "ms", at_most(1.0), note)
            p99: dict[str, Any] = {
                way: sorted(taken[place] for taken in times)[int(len(times) * 0.99)] for way, times in found.items()
            }
            figure(f"{name}: what the relay adds, p99", p99["relay"] - p99["direct"], "ms")


if __name__ == "__main__":
    main()
