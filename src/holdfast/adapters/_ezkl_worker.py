"""Drives EZKL for one order: a program of its own, started by ``prover_ezkl`` and by nobody else.

It is started by its path with ``python -I``, by a Python that has EZKL, imports nothing of Holdfast, and reads one
order as JSON from standard input: ``{"do","memory_bytes",…}`` and paths. It answers with lines of JSON: ``{"step":N}``
while it works, and at last ``{"done":{…}}`` or ``{"error":TEXT}``. EZKL holds Python's lock while it works and prints
tables, which is why it is alone in a process, with everything it prints going to standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import resource
import sys
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _SIGKILL = 1, 38, 9
_VISIBLE = {"input_visibility": "public", "output_visibility": "public", "param_visibility": "fixed"}
_ARGUMENTS = (
    "input_scale",
    "param_scale",
    "scale_rebase_multiplier",
    "lookup_range",
    "logrows",
    "num_inner_cols",
    "decomp_base",
    "decomp_legs",
    "rebase_frac_zero_constants",
    "bounded_log_lookup",
    "disable_freivalds",
    "epsilon",
)
"""Members of ``run_args`` that settings are made from; everything else stays as EZKL has it."""


class _Worker:
    def __init__(self, ezkl: Any, out: Any) -> None:
        self.ezkl = ezkl
        self._out = out

    def tell(self, **what: Any) -> None:
        self._out.write((json.dumps(what, separators=(",", ":")) + "\n").encode())
        self._out.flush()

    def arguments(self, given: dict[str, Any]) -> Any:
        made = self.ezkl.PyRunArgs()
        for name, value in _VISIBLE.items():
            setattr(made, name, value)
        for name in _ARGUMENTS:
            if given.get(name) is not None:
                setattr(made, name, tuple(given[name]) if name == "lookup_range" else given[name])
        if given.get("variables"):
            made.variables = [(str(name), int(size)) for name, size in given["variables"]]
        return made

    def measure(self, order: dict[str, Any]) -> dict[str, Any]:
        """How large a circuit would be, under each of several arguments until one is possible."""
        self.tell(step=0)
        self.ezkl.gen_settings(order["model"], order["settings"], py_run_args=self.arguments(order["arguments"]))
        made = _load(order["settings"])
        return {"rows": made["num_rows"], "shapes": made["model_instance_shapes"], "types": made["input_types"]}

    def calibrate(self, order: dict[str, Any]) -> dict[str, Any]:
        self.tell(step=1)
        self.ezkl.calibrate_settings(
            order["samples"],
            order["model"],
            order["settings"],
            "resources",
            scales=[order["arguments"]["input_scale"]],
            scale_rebase_multiplier=[1],
            max_logrows=order["max_log_rows"],
        )
        return {"log_rows": _load(order["settings"])["run_args"]["logrows"]}

    def setup(self, order: dict[str, Any]) -> dict[str, Any]:
        self.tell(step=2)
        self.ezkl.compile_circuit(order["model"], order["circuit"], order["settings"])
        if order.get("new_srs"):
            self.tell(step=3)
            self.ezkl.gen_srs(order["new_srs"], _load(order["settings"])["run_args"]["logrows"])
            os.replace(order["new_srs"], order["srs"])  # noqa: PTH105
        self.tell(step=4)
        self.ezkl.setup(order["circuit"], order["verification_key"], order["proving_key"], order["srs"])
        return {}

    def witness(self, order: dict[str, Any]) -> dict[str, Any]:
        made = self.ezkl.gen_witness(order["input"], order["circuit"], order["witness"])
        names = ("inputs", "outputs", "max_lookup_inputs", "min_lookup_inputs")
        return {name: made[name] for name in names}

    def prove(self, order: dict[str, Any]) -> dict[str, Any]:
        self.ezkl.prove(order["witness"], order["circuit"], order["proving_key"], order["proof"], order["srs"])
        return {"proof": _load(order["proof"])["hex_proof"]}

    def derive(self, order: dict[str, Any]) -> dict[str, Any]:
        given = _load(order["settings"])["run_args"]
        self.ezkl.gen_settings(order["model"], order["derived"], py_run_args=self.arguments(given))
        self.ezkl.compile_circuit(order["model"], order["circuit"], order["settings"])
        self.ezkl.setup(order["circuit"], order["verification_key"], order["proving_key"], order["srs"])
        return {}

    def verify(self, order: dict[str, Any]) -> dict[str, Any]:
        try:
            good = self.ezkl.verify(order["proof"], order["settings"], order["verification_key"], order["srs"])
        except RuntimeError as error:  # a proof that does not verify is an answer, and EZKL's word for it is this
            self.tell(why=str(error)[:500])
            return {"holds": False}
        return {"holds": bool(good)}

    def contract(self, order: dict[str, Any]) -> dict[str, Any]:
        """Write the verifier's Solidity. EZKL then goes on to fetch a compiler and to run it, which nobody asked for:
        it is led nowhere, and fails after the source is there."""
        os.environ["HTTPS_PROXY"] = os.environ["HTTP_PROXY"] = "http://127.0.0.1:9"

        async def write() -> None:
            await self.ezkl.create_evm_verifier(
                order["verification_key"], order["settings"], order["source"], order["abi"], order["srs"], False
            )

        try:
            asyncio.run(write())
        except RuntimeError:
            if not os.path.exists(order["source"]):  # noqa: PTH110
                raise
        return {}


def _load(path: str) -> Any:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return json.load(file)


def _give_up(memory_bytes: int) -> None:
    """End with the parent, gain nothing, and take no more memory than is allowed."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for kind, bound in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (bound, bound))


def main() -> None:
    """One order."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever EZKL prints must not stand between two answers
    order = json.loads(sys.stdin.buffer.read())
    _give_up(order["memory_bytes"])
    import ezkl  # noqa: PLC0415 (after the bounds: it is somebody else's program)

    worker = _Worker(ezkl, out)
    try:
        done = getattr(worker, order["do"])(order)
    except BaseException as error:
        worker.tell(error=f"{type(error).__name__}: {error}"[:1000])
        raise SystemExit(1) from error
    worker.tell(done=done)


if __name__ == "__main__":
    main()
