"""What a run at an inference node costs over bare ONNX Runtime: the worker's pipe, the parts, the signature.

One model of about a millisecond, batch 1, one thread, level ``basic``; every variant in turns in the same run, so
that whatever else the machine does falls on all of them alike; the median of the calmest round counts. Bare ONNX
Runtime runs in a process of its own, as a program that embeds it would, and is the peer.

Then answers a second over HTTP at 16 connections, of a node in a process of its own, and of BentoML that serves the
same file; theirs are neither bound nor signed.

Figures wanted: a run in a worker, parsed, bound and signed, at most 15 % over bare ONNX Runtime; at least as many
answers a second as BentoML.
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
from holdfast.core import canonical
from holdfast.core.inference import Tensor
from holdfast.core.keys import build_key_document
from holdfast.core.orders import Order
from holdfast.nodes.inference.models import Models
from holdfast.nodes.inference.service import Identity, InferenceService
from holdfast.nodes.inference.witness import EnclaveWitness
from holdfast.nodes.process import run_loop
from tests.helpers import onnx_files
from tests.helpers.network import ed25519_signer

HERE = Path(__file__).parent
RUN = "019b76da-a800-70c8-9215-35f11ffa1fae"
BARE = """
import json, sys, time
import numpy, onnxruntime as ort
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
x = numpy.frombuffer(bytes(4 * int(sys.argv[2])), "float32").reshape(1, -1)
for line in sys.stdin:
    took = []
    for _ in range(int(line)):
        began = time.perf_counter()
        session.run(None, {"x": x})
        took.append(time.perf_counter() - began)
    print(json.dumps(took), flush=True)
"""
"""The peer: so many runs for each line, and how long each took, in seconds."""


def order_of(width: int) -> Order:
    """A run of the model on zeros, given as bytes."""
    tensor = {"dtype": "float32", "shape": [1, width], "base64": base64.b64encode(bytes(4 * width)).decode()}
    value = {"model": "scores", "inputs": {"x": tensor}, "mode": "VANILLA"}
    text = json.dumps(value).encode()
    return Order(RUN, "inference", "request", text, bytes(32), coarse=False, nonce=None, parent_run=None)


class Bare:
    """Bare ONNX Runtime in a process of its own."""

    def __init__(self, model: Path, width: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", BARE, str(model), str(width)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )

    def run(self, count: int) -> list[float]:
        """Seconds of each of ``count`` runs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        found: list[float] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def best(took: list[float], each: int) -> float:
    """The median of the calmest round: what the work costs when nothing else runs."""
    return min(statistics.median(took[begin : begin + each]) for begin in range(0, len(took), each))


async def measure(sizes: list[int], rounds: int, each: int) -> None:
    """Print the figures of one model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores" / "model.onnx"
        path.parent.mkdir()
        path.write_bytes(onnx_files.perceptron(sizes))
        clock, metrics = SystemClock(), MemoryMetrics()
        runtime = OnnxRuntime(optimisation="basic", threads=1, memory_bytes=1 << 30, model_bytes=1 << 30, run_s=30)
        models = Models(FolderModels(Path(folder)), runtime, metrics, most=1)
        signer = ed25519_signer("inference", "statement")
        document = build_key_document("inference", ["inference"], "bench", [signer.key])
        witness = EnclaveWitness(document, None, clock, reattest_s=3600)
        service = InferenceService(
            Identity(document.digest, signer), models, runtime.conditions, witness, clock, metrics, at_once=64
        )
        width = sizes[0]
        data = bytes(4 * width)
        order = order_of(width)
        items = [{"x": Tensor("float32", (1, width), data)}]
        bare, took = Bare(path, width), {"bare": [], "worker": [], "node": []}
        try:
            async with models.lend("scores") as loan:
                for _ in range(rounds):
                    took["bare"] += bare.run(each)
                    for _ in range(each):
                        began = time.perf_counter()
                        await loan.model.run(items, ())
                        took["worker"].append(time.perf_counter() - began)
                    for _ in range(each):
                        began = time.perf_counter()
                        await service.compute(order)
                        took["node"].append(time.perf_counter() - began)
        finally:
            bare.close()
            await models.close()
    median = {name: best(values, each) * 1000 for name, values in took.items()}
    figure("bare ONNX Runtime, batch 1", median["bare"], "ms")
    figure("the same in a worker, by pipe", median["worker"], "ms")
    figure("a run at the node: parsed, run, bound, signed", median["node"], "ms")
    over = (median["node"] / median["bare"] - 1) * 100
    figure("VANILLA over bare ONNX Runtime", over, "%", at_most(15), f"{median['node'] - median['bare']:.3f} ms a run")


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


def throughput(sizes: list[int], connections: int, seconds: float) -> None:
    """Print answers a second over HTTP, of a node that binds and signs each, and of BentoML that does neither."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "models" / "scores" / "model.onnx"
        model.parent.mkdir(parents=True)
        model.write_bytes(onnx_files.perceptron(sizes))
        ours = answers_of_ours(folder, sizes[0], connections, seconds)
        figure(f"answers of a node, bound and signed, c={connections}", ours, "/s")
        try:
            theirs = answers_of_bentoml(model, sizes[0], connections, seconds)
        except peers.MissingError as error:
            no_peer("BentoML", str(error))
            return
        figure(f"answers of BentoML, c={connections}", theirs, "/s")
        ratio("BentoML", ours, theirs, at_least(1))


def answers_of_ours(folder: Path, width: int, connections: int, seconds: float) -> float:
    """Answers a second of an inference node in a process of its own."""
    keys, port = folder / "keys", free_port()
    signer = load_or_create_signer(keys / "statement.pem", "statement")
    (keys / "node.json").write_bytes(build_key_document("inference", ["inference"], "bench", [signer.key]).raw)
    (keys / "token").write_text("bench")
    settings = folder / "node.toml"
    settings.write_text(
        f"""[inference]
listen = "127.0.0.1:{port}"
signing_key = "{keys / "statement.pem"}"
key_document = "{keys / "node.json"}"
token = "file:{keys / "token"}"
models = "{folder / "models"}"
"""
    )
    url = f"http://127.0.0.1:{port}"
    body = canonical.encode(order_of(width).to_json())
    with served([sys.executable, "-m", "holdfast.nodes.inference", str(settings)], f"{url}/healthz"):
        answers(f"{url}/v1/compute", body, "bench", 1, 1)
        return answers(f"{url}/v1/compute", body, "bench", connections, seconds)


def answers_of_bentoml(model: Path, width: int, connections: int, seconds: float) -> float:
    """Answers a second of BentoML; raises :class:`peers.MissingError`."""
    python, port = peers.python_of("bentoml"), free_port()
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "HOLDFAST_BENCH_MODEL": str(model),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONPATH": "",
    }
    command = [
        str(python),
        "-m",
        "bentoml",
        "serve",
        "bentoml_service:Scores",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    url, body = f"http://127.0.0.1:{port}", json.dumps({"x": [[0.0] * width]}).encode()
    with served(command, f"{url}/livez", env=environment, cwd=HERE / "apart"):
        answers(f"{url}/predict", body, "", 1, 1)
        return answers(f"{url}/predict", body, "", connections, seconds)


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="32,3072,1536,8", help="widths of the layers")
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--each", type=int, default=12, help="runs of each variant in a round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    run_loop(measure(sizes, options.rounds, options.each))
    throughput(sizes, options.connections, options.seconds)


if __name__ == "__main__":
    main()
