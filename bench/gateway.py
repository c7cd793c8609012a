"""The gateway with all evidence on, beside its peers, in one run on one machine.

Evidence on means: parts, two signed statements, two durable commits, and delivery to a real log node. Peers: a bare
pass-through of uvicorn and aiohttp, LiteLLM's proxy, and ourselves with less: without signatures, and with nothing
bound at all. What counts is requests per second of the server's own CPU ("per core"), since load generator, stub
upstream and log share the machine; the wall-clock rate stands beside it.

Wanted: >= 1,200 req/s per core at 64 connections (aim: 5,000), >= 0.4 of the pass-through, >= 25 times LiteLLM,
>= 0.6 of our own unsigned throughput; added p50 <= 1 ms and p99 <= 5 ms at one connection; memory (aim: 50 MB idle).

``python bench/gateway.py [--seconds 5]``
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peers  # beside this file
from figures import at_least, at_most, figure, no_peer, ratio

from holdfast.adapters.chain_evm import Deployment
from holdfast.cli import development
from holdfast.core.rounds import ChainDomain

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
OURS = "holdfast, evidence on"
UNSIGNED, BARE = "holdfast, without signatures", "holdfast, nothing bound"
PASSTHROUGH, LITELLM = "uvicorn + aiohttp pass-through", "LiteLLM proxy"
_WORKER: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
BODY = {
    "model": "stub",
    "messages": [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "Is this transaction unusual for this customer? " * 4},
    ],
    "temperature": 0.2,
    "max_tokens": 200,
}


@dataclass
class Server:
    """A process under test."""

    name: str
    url: str
    key: str
    pid: int

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0


@contextlib.contextmanager
def process(*command: str, env: dict[str, str] | None = None, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A child that is ended with the block."""
    child = subprocess.Popen(command, env={**os.environ, **(env or {})}, stderr=subprocess.DEVNULL, **more)
    try:
        yield child
    finally:
        if child.stdin is not None:
            child.stdin.close()
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_http(url: str, seconds: float = 90) -> None:
    """Until something answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=2).read()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{url} did not answer")


def wait_port(port: int, seconds: float = 30) -> None:
    """Until something listens."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise SystemExit(f"nothing listens on {port}")


@contextlib.contextmanager
def stub(*options: str) -> Iterator[str]:
    """The stub upstream; gives its base URL."""
    command = (sys.executable, str(HERE / "stub_upstream.py"), *options)
    with process(*command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield json.loads(child.stdout.readline())["url"]


@contextlib.contextmanager
def holdfast(
    upstream: str, folder: Path, port: int, extra: str = "", *, name: str = OURS, unsigned: bool = False
) -> Iterator[Server]:
    """A gateway and a log, each in its own process, with all evidence on; ``unsigned``: with worthless signatures."""
    layout = development.Layout(folder, port)
    keys = development.make_keys(layout)
    nowhere = Deployment(ChainDomain(31337, "0x" + "11" * 20), 0)
    development.make_trust(layout, keys, nowhere, dt.datetime.now(dt.UTC))
    own = folder / "own.toml"
    own.write_text(
        "[gateway]\ndiscover = false\nbuiltin = false\nfull_nodes = []\nruns_at_once = 4096\n"
        f'upstreams = [{{code = "stub", base_url = "{upstream}"}}]\n{extra}\n[log]\nwitnesses = []\n'
    )
    settings = str(development.write_settings(layout, development.settings_of(layout, keys), own))
    host = ("-m", "holdfast.cli.host")
    ours = (str(HERE / "unsigned_host.py"),) if unsigned else host
    with (
        process(sys.executable, *host, settings, "log", **_WORKER) as log,
        process(sys.executable, *ours, settings, "gateway", **_WORKER) as gateway,
    ):
        for child in (log, gateway):
            assert child.stdin is not None
            child.stdin.write(b"go\n")
            child.stdin.flush()
        wait_http(layout.url("log") + "/readyz")
        wait_http(layout.url("gateway") + "/readyz")
        key = layout.key("workspace.token").read_text().strip()
        yield Server(name, layout.url("gateway") + "/v1/chat/completions", key, gateway.pid)


@contextlib.contextmanager
def simple(name: str, script: str, upstream: str, port: int) -> Iterator[Server]:
    """A reference beside this file: ``passthrough.py`` or ``bare.py``."""
    command = (sys.executable, str(HERE / script), "--upstream", upstream, "--port", str(port))
    with process(*command, stdout=subprocess.DEVNULL) as child:
        wait_port(port)
        yield Server(name, f"http://127.0.0.1:{port}/v1/chat/completions", "none", child.pid)


@contextlib.contextmanager
def litellm(upstream: str, folder: Path, port: int) -> Iterator[Server]:
    """LiteLLM's proxy, one worker, in front of the same stub; raises :class:`peers.MissingError`."""
    binary = peers.python_of("litellm").with_name("litellm")
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: stub\n    litellm_params:\n      model: openai/stub\n"
        f"      api_base: {upstream}\n      api_key: none\n"
    )
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    env["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"  # it refuses to start without a key otherwise
    command = (str(binary), "--config", str(config), "--port", str(port), "--host", "127.0.0.1", "--num_workers", "1")
    with process(*command, env=env, stdout=subprocess.DEVNULL) as child:
        try:
            wait_http(f"http://127.0.0.1:{port}/health/liveliness", 120)
        except SystemExit as error:
            raise peers.MissingError("it was installed and did not start within 120 s") from error
        yield Server(LITELLM, f"http://127.0.0.1:{port}/v1/chat/completions", "none", child.pid)


def load(url: str, key: str, body: Path, connections: int, seconds: float) -> dict[str, Any]:
    """One run of the load generator."""
    command = [sys.executable, str(HERE / "load.py"), url, "--body", str(body), "--key", key]
    options = ["--connections", str(connections), "--seconds", str(seconds)]
    found: dict[str, Any] = json.loads(subprocess.run([*command, *options], check=True, capture_output=True).stdout)
    return found


def measure(server: Server, body: Path, seconds: float) -> dict[str, float]:
    """Throughput at 64 connections per core of the server's own CPU, and latency at one."""
    idle = server.memory_mb()
    load(server.url, server.key, body, 16, 1.0)
    before = server.cpu_seconds()
    many = load(server.url, server.key, body, 64, seconds)
    cpu = server.cpu_seconds() - before
    one = load(server.url, server.key, body, 1, seconds)
    failures = many["failures"] + one["failures"]
    if failures:
        raise SystemExit(f"{server.name}: {failures} failed requests")
    return {
        "per_core": many["requests"] / cpu,
        "wall": many["per_second"],
        "cpu_ms": cpu / many["requests"] * 1000,
        "p50": one["p50_ms"],
        "p99": one["p99_ms"],
        "idle": idle,
        "memory": server.memory_mb(),
    }


def sync_ms(folder: Path) -> float:
    """Median time to make a kilobyte durable here, written over itself: an answer waits for two of these."""
    times = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(60):
            began = time.perf_counter()
            os.pwrite(file.fileno(), bytes(1024), 0)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def report(found: dict[str, dict[str, float]], direct: dict[str, Any], missing: dict[str, str]) -> None:
    """A table of everybody, then our figures and ratios with what is wanted of them."""
    print(f"{'':32}{'req/s/core':>11}{'req/s wall':>11}{'CPU ms/req':>11}{'+p50 ms':>9}{'+p99 ms':>9}{'MB':>6}")
    for name, row in found.items():
        added = row["p50"] - direct["p50_ms"], row["p99"] - direct["p99_ms"]
        print(
            f"{name:32}{row['per_core']:11.0f}{row['wall']:11.0f}{row['cpu_ms']:11.3f}"
            f"{added[0]:9.2f}{added[1]:9.2f}{row['memory']:6.0f}"
        )
    ours = found[OURS]
    figure("evidence on, 64 connections", ours["per_core"], "req/s/core", at_least(1_200), "(aim: 5,000)")
    figure("added p50, one connection", ours["p50"] - direct["p50_ms"], "ms", at_most(1))
    figure("added p99, one connection", ours["p99"] - direct["p99_ms"], "ms", at_most(5))
    figure("memory of the gateway, idle", ours["idle"], "MB", at_most(50), "(an aim)")
    bounds = {PASSTHROUGH: 0.4, LITELLM: 25.0, UNSIGNED: 0.6}
    for name, row in found.items():
        if name != OURS:
            ratio(name, ours["per_core"], row["per_core"], at_least(bounds[name]) if name in bounds else None)
    for name, why in missing.items():
        no_peer(name, why)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--port", type=int, default=19_400)
    options = parser.parse_args()
    seconds, port = options.seconds, options.port
    found: dict[str, dict[str, float]] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name, stub() as upstream:
        folder = Path(name)
        body = folder / "body.json"
        body.write_text(json.dumps(BODY))
        figure("this disk makes a kilobyte durable in (an answer waits for two)", sync_ms(folder), "ms")
        direct = load(upstream + "/chat/completions", "none", body, 1, 2.0)
        servers = (
            holdfast(upstream, folder / "signed", port),
            holdfast(upstream, folder / "unsigned", port + 20, name=UNSIGNED, unsigned=True),
            simple(BARE, "bare.py", upstream, port + 40),
            simple(PASSTHROUGH, "passthrough.py", upstream, port + 41),
            litellm(upstream, folder, port + 42),
        )
        for starting in servers:
            try:
                with starting as server:
                    found[server.name] = measure(server, body, seconds)
            except peers.MissingError as error:
                missing[LITELLM] = str(error)
    report(found, direct, missing)


if __name__ == "__main__":
    main()
