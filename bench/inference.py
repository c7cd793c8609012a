"""What a run at an inference node costs over bare ONNX Runtime: its process, the parts, the signature, HTTP.

One model that takes bare ONNX Runtime about a millisecond at batch 1, one thread, level ``basic``: as many layers as
that takes on the machine at hand, and little enough memory that it waits for the processor. Every variant in turns in
the same run, so that whatever else the machine does falls on all of them alike; the median of the calmest round counts.
The peer is bare ONNX Runtime in a process of its own that does nothing else, one run right after the other. What it
takes when it is woken for each run, by one byte through a pipe, stands beside: nothing that waits for a request and
keeps a model apart can be faster. Over that come, each with the ones before it: the worker that contains the model,
with tensors by pipe; the node, which parses an order, binds both documents and signs; and its HTTP answer.

Then answers a second over HTTP at 16 connections, of a node in a process of its own, and in turns of BentoML that
serves the same file; theirs are neither bound nor signed.

Figures wanted: a run in its worker, and one that is parsed, bound and signed too, each at most 15 % over bare ONNX
Runtime; at least as many answers a second as BentoML. The second one is out of reach for a model of a millisecond: one
Ed25519 signature, two trees of salted hashes and two passes over JSON alone take about as long as 15 % of it.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peers  # beside this file
from figures import at_least, at_most, figure, no_peer, ratio
from gateway import wait_http

sys.path.insert(0, str(Path(__file__).parents[1]))
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.models_folder import FolderModels
from holdfast.adapters.runtime_onnx import ENVIRONMENT, OnnxRuntime
from holdfast.adapters.signer_files import load_or_create_signer
from holdfast.adapters.storage_files import FileStorage
from holdfast.core import canonical
from holdfast.core.inference import Tensor
from holdfast.core.keys import build_key_document
from holdfast.core.orders import Order
from holdfast.errors import UnavailableError
from holdfast.nodes.inference.circuits import Circuits
from holdfast.nodes.inference.identity import Identity
from holdfast.nodes.inference.models import Models
from holdfast.nodes.inference.proving import Proofs
from holdfast.nodes.inference.service import InferenceService
from holdfast.nodes.process import calm_collector, run_loop
from holdfast.nodes.witness import EnclaveWitness
from tests.helpers import onnx_files
from tests.helpers.network import ed25519_signer

HERE = Path(__file__).parent
RUN = "019b76da-a800-70c8-9215-35f11ffa1fae"
TOKEN = "bench"
RUN_MS = 1.0
"""What a run of the model takes, roughly."""
ROWS = 32
"""Numbers that the model takes."""
THEIRS = json.dumps({"x": [[0.0] * ROWS]}).encode()
"""What BentoML is asked."""
WINDOWS = 5
BARE = """
import json, os, sys, time
import numpy, onnxruntime as ort
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
x = numpy.frombuffer(bytes(4 * int(sys.argv[2])), "float32").reshape(1, -1)
while order := os.read(0, 20):
    if order == b"1":
        session.run(None, {"x": x})
        os.write(1, b"1")
        continue
    took = []
    for _ in range(int(order)):
        began = time.perf_counter()
        session.run(None, {"x": x})
        took.append(time.perf_counter() - began)
    print(json.dumps(took), flush=True)
"""
"""The peer: so many runs for each line, and how long each took, in seconds; for a mere ``1`` one run, and no more than
a sign that it is done."""


def order_of(width: int) -> Order:
    """A run of the model on zeros, given as bytes."""
    tensor = {"dtype": "float32", "shape": [1, width], "base64": base64.b64encode(bytes(4 * width)).decode()}
    value = {"model": "scores", "inputs": {"x": tensor}, "mode": "VANILLA"}
    text = json.dumps(value).encode()
    return Order(RUN, "inference", "request", text, bytes(32), coarse=False, nonce=None, parent_run=None)


class Bare:
    """Bare ONNX Runtime in a process of its own."""

    def __init__(self, model: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", BARE, str(model), str(ROWS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **ENVIRONMENT},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders, self._answers = self._process.stdin, self._process.stdout

    def run(self, count: int) -> list[float]:
        """Seconds of each of ``count`` runs, one right after the other."""
        self._orders.write(b"%d\n" % count)
        text = b""
        while not text.endswith(b"\n"):
            text += self._answers.read(1 << 16)
        found: list[float] = json.loads(text)
        return found

    def wake(self) -> None:
        """One run, for which it waited."""
        self._orders.write(b"1")
        self._answers.read(1)

    def close(self) -> None:
        """End it."""
        self._orders.close()
        self._process.wait()


def one_of(milliseconds: float, folder: Path) -> bytes:
    """The model whose run takes about so long here."""
    path, tried = folder / "tried.onnx", 20
    path.write_bytes(onnx_files.deep(tried, ROWS))
    bare = Bare(path)
    took = best(bare.run(200), 20) * 1000
    bare.close()
    return onnx_files.deep(max(1, round(tried * milliseconds / took)), ROWS)


class Connection:
    """One connection to a node, over which one order goes again and again: no client is cheaper."""

    def __init__(self, port: int, body: bytes) -> None:
        head = f"POST /v1/compute HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {TOKEN}\r\n"
        self._request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> None:
        """Send it, and read a good answer to its end."""
        self._socket.sendall(self._request)
        answer = self._socket.recv(1 << 16)
        head, _, rest = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(answer.decode())
        missing = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]) - len(rest)
        while missing > 0:
            missing -= len(self._socket.recv(missing))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def best(took: list[float], each: int) -> float:
    """The median of the calmest round: what the work costs when nothing else runs."""
    return min(statistics.median(took[begin : begin + each]) for begin in range(0, len(took), each))


def service_over(models: Models, source: FolderModels, runtime: OnnxRuntime, folder: Path) -> InferenceService:
    """A node's service, without HTTP and a prover."""
    clock, metrics = SystemClock(), MemoryMetrics()
    signer = ed25519_signer("inference", "statement")
    document = build_key_document("inference", ["inference"], "bench", [signer.key])
    identity, witness = Identity(document.digest, signer), EnclaveWitness(document, None, clock, reattest_s=3600)
    nobody = UnavailableError("infer.no_prover", "the bench proves nothing")
    circuits = Circuits(folder / "circuits", source, nobody, clock, metrics)
    proofs = Proofs(
        FileStorage(folder / "proofs"), circuits, identity, clock, metrics, salt=lambda: bytes(32), keep_s=3600
    )
    return InferenceService(identity, models, runtime.conditions, witness, circuits, proofs, clock, metrics, at_once=64)


async def measure(folder: Path, bare: Bare, connection: Connection, rounds: int, each: int) -> None:
    """Print the figures of one run at a time."""
    runtime = OnnxRuntime(optimisation="basic", threads=1, memory_bytes=1 << 30, model_bytes=1 << 30, run_s=30)
    source = FolderModels(folder / "models")
    models = Models(source, runtime, MemoryMetrics(), most=1)
    service = service_over(models, source, runtime, folder)
    order = order_of(ROWS)
    items = [{"x": Tensor("float32", (1, ROWS), bytes(4 * ROWS))}]
    took: dict[str, list[float]] = {"bare": [], "woken": [], "worker": [], "node": [], "http": []}
    try:
        async with models.lend("scores") as loan:
            calm_collector()
            for _ in range(rounds):
                took["bare"] += bare.run(each)
                for name, ask in (("woken", bare.wake), ("http", connection.ask)):
                    for _ in range(each):
                        began = time.perf_counter()
                        ask()
                        took[name].append(time.perf_counter() - began)
                for _ in range(each):
                    began = time.perf_counter()
                    await loan.model.run(items, ())
                    took["worker"].append(time.perf_counter() - began)
                for _ in range(each):
                    began = time.perf_counter()
                    await service.compute(order)
                    took["node"].append(time.perf_counter() - began)
    finally:
        await models.close()
    median = {name: best(values, each) * 1000 for name, values in took.items()}
    figure("bare ONNX Runtime, batch 1", median["bare"], "ms")
    for name, label, wanted in (
        ("woken", "the same, woken for each run", None),
        ("worker", "in its worker, tensors by pipe", at_most(15)),
        ("node", "VANILLA at the node: parsed, run, bound, signed", at_most(15)),
        ("http", "the same over HTTP, one connection", None),
    ):
        more = median[name] - median["bare"]
        figure(label, median[name], "ms")
        figure("  over bare ONNX Runtime", 100 * more / median["bare"], "%", wanted, f"{more:.3f} ms a run")


@contextlib.contextmanager
def served(command: list[str], url: str, **more: Any) -> Iterator[None]:
    """A server, from when it answers until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    try:
        wait_http(url)
        yield
    finally:
        process.terminate()
        process.wait()


def answers(url: str, body: bytes, key: str, connections: int, seconds: float) -> float:
    """Good answers a second, by the load generator in a process of its own."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(body)
        command = [sys.executable, str(HERE / "load.py"), url, "--body", file.name, "--key", key or "none"]
        command += ["--connections", str(connections), "--seconds", str(seconds)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if found["failures"]:
        raise SystemExit(f"{found['failures']} of {found['requests']} answers of {url} were none")
    return float(found["per_second"])


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def throughput(folder: Path, url: str, connections: int, seconds: float) -> None:
    """Print answers a second over HTTP, of a node that binds and signs each, and of BentoML that does neither: both in
    turns, in :data:`WINDOWS` windows each, of which the median counts."""
    body = canonical.encode(order_of(ROWS).to_json())
    ours, theirs = [], []
    with contextlib.ExitStack() as stack:
        try:
            other = stack.enter_context(bentoml(folder / "models" / "scores" / "model.onnx"))
        except peers.MissingError as error:
            other = None
            no_peer("BentoML", str(error))
        for number in range(WINDOWS + 1):
            window = seconds / WINDOWS if number else 1  # the first one warms up
            ours.append(answers(url, body, TOKEN, connections if number else 1, window))
            if other is not None:
                theirs.append(answers(other, THEIRS, "", connections if number else 1, window))
    our_rate = statistics.median(ours[1:])
    figure(f"answers of a node, bound and signed, c={connections}", our_rate, "/s")
    if theirs:
        their_rate = statistics.median(theirs[1:])
        figure(f"answers of BentoML, c={connections}", their_rate, "/s")
        ratio("BentoML", our_rate, their_rate, at_least(1))


@contextlib.contextmanager
def node(folder: Path) -> Iterator[int]:
    """An inference node in a process of its own, over the models in a folder; its port."""
    keys, port = folder / "keys", free_port()
    signer = load_or_create_signer(keys / "statement.pem", "statement")
    (keys / "node.json").write_bytes(build_key_document("inference", ["inference"], "bench", [signer.key]).raw)
    (keys / "token").write_text(TOKEN)
    settings = folder / "node.toml"
    settings.write_text(
        f"""[inference]
listen = "127.0.0.1:{port}"
signing_key = "{keys / "statement.pem"}"
key_document = "{keys / "node.json"}"
token = "file:{keys / "token"}"
models = "{folder / "models"}"
state = "{folder / "state"}"
"""
    )
    command = [sys.executable, "-m", "holdfast.nodes.inference", str(settings)]
    with served(command, f"http://127.0.0.1:{port}/healthz"):
        yield port


@contextlib.contextmanager
def bentoml(model: Path) -> Iterator[str]:
    """BentoML over a model, in processes of its own; where it answers. Raises :class:`peers.MissingError`."""
    python, port = peers.python_of("bentoml"), free_port()
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "HOLDFAST_BENCH_MODEL": str(model),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONPATH": "",
    }
    command = [str(python), "-m", "bentoml", "serve", "bentoml_service:Scores"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with served(command, f"{url}/livez", env=environment, cwd=HERE / "apart"):
        yield f"{url}/predict"


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--each", type=int, default=12, help="runs of each variant in a round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10, help="of each server, all windows together")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "models" / "scores" / "model.onnx"
        model.parent.mkdir(parents=True)
        model.write_bytes(one_of(RUN_MS, folder))
        body = canonical.encode(order_of(ROWS).to_json())
        with node(folder) as port:
            bare, connection = Bare(model), Connection(port, body)
            run_loop(measure(folder, bare, connection, options.rounds, options.each))
            bare.close()
            connection.close()
            throughput(folder, f"http://127.0.0.1:{port}/v1/compute", options.connections, options.seconds)


if __name__ == "__main__":
    main()
