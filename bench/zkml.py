"""What a proof costs: small circuits made, proved and verified by EZKL, each step in a worker as nodes start it.

A logistic regression of 8 inputs, and perceptrons of about a thousand and nine thousand parameters, with the arguments
that a node would choose. Each is proved several times; the calmest round counts. What is measured ends where a node has
the proof in hand, so it includes the start of the worker and its import of EZKL. A verification is what a full node
does once it has derived the verification key; the derivation, once a circuit, stands beside it.

Figures wanted: a proof within 1 s, 2.5 s and 6 s. EZKL is somebody else's and installed apart (``HOLDFAST_ZKML`` names
a Python that has it; ``python3 dev.py zkml`` makes one); without it the bench says so.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from figures import at_most, figure, no_peer

sys.path.insert(0, str(Path(__file__).parents[1]))
from holdfast.adapters.prover_ezkl import EzklChecker, EzklProver, ezkl_version
from holdfast.core.circuits import parse_settings, quantise, show_instance
from holdfast.errors import HoldfastError
from tests.helpers import onnx_files

WEIGHTS = (0.5, -0.25, 0.1, 0.7, -0.3, 0.2, 0.05, -0.6)
MODELS = (
    ("logistic regression, 9 parameters", onnx_files.linear(WEIGHTS, sigmoid=True), 1.0),
    ("perceptron 16-32-16-3, 1,123 parameters", onnx_files.perceptron([16, 32, 16, 3], batch=1), 2.5),
    ("perceptron 64-64-64-10, 8,970 parameters", onnx_files.perceptron([64, 64, 64, 10], batch=1), 6.0),
)
"""Name, model, and the seconds that a proof may take."""
LIMITS: dict[str, Any] = {"memory_bytes": 16 << 30, "run_s": 1800.0}


async def measure(python: Path | None, rounds: int, threads: int) -> None:
    """Every model in turn."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-zkml-") as own:
        folder = Path(own)
        prover = EzklProver(python, folder / "srs", ceremony=None, max_log_rows=17, threads=threads, **LIMITS)
        checker = EzklChecker(python, threads=threads, **LIMITS)
        print(f"EZKL {prover.version}, {threads} threads, {os.cpu_count()} cores, {rounds} rounds each")
        for number, (name, model, wanted) in enumerate(MODELS):
            print(f"\n{name}")
            home = folder / str(number)
            began = time.perf_counter()
            made = await prover.make(home, model, None, lambda _: None)
            settings = parse_settings(made.settings)
            print(f"  rows {settings.rows} of 2^{settings.log_rows}; made in {time.perf_counter() - began:.1f} s, "
                  f"with a reference string of its own")  # fmt: skip
            one = [show_instance(quantise(0.25, scale)) for scale in settings.input_scales]
            count = settings.instances - sum(map(_size, settings.output_shapes))
            witness_s, prove_s, verify_s = [], [], []
            srs = prover.reference_string(made.srs) or b""
            began = time.perf_counter()
            derived = await checker.derive(model, made.settings, srs)
            derive_s = time.perf_counter() - began
            for _ in range(rounds):
                began = time.perf_counter()
                witnessed = await prover.witness(home, [one * count])
                witness_s.append(time.perf_counter() - began)
                began = time.perf_counter()
                proof = await prover.prove(home, witnessed.witness)
                prove_s.append(time.perf_counter() - began)
                began = time.perf_counter()
                key = derived.verification_key
                if not await checker.verify(proof, witnessed.instances, made.settings, key, srs):
                    sys.exit("EZKL does not verify its own proof")
                verify_s.append(time.perf_counter() - began)
            figure("  prove", min(prove_s), "s", at_most(wanted))
            print(f"  slowest {max(prove_s):.2f} s; proof {len(proof)} bytes")
            print(f"  answer  {min(witness_s):.2f} s (what a caller waits for)")
            print(f"  verify  {min(verify_s):.2f} s; derive the key, once a circuit, {derive_s:.1f} s")


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for dimension in shape:
        size *= dimension
    return size


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    named = os.environ.get("HOLDFAST_ZKML")
    python = Path(named) if named else None
    try:
        ezkl_version(python)
    except HoldfastError as error:
        no_peer("EZKL", f"{error.message}; {error.hint}")
        return
    asyncio.run(measure(python, options.rounds, options.threads))


if __name__ == "__main__":
    main()
