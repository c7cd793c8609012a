"""ONNX Runtime as the runtime, each model in a worker process that contains it (``spec/inference.md`` §4, §7).

A model is looked at first (``core.onnx_model``), then handed to a fresh ``_onnx_worker`` by pipe. The worker says which
bytes it has in memory; only when that is their digest does the model count as loaded. A worker that answers too late,
or ends, is killed and forgotten: its model has broken a limit.

The same build, level, thread count and instruction set give the same bits, which is why all of these are fixed here and
recorded. Not covered: accelerators; more than one run of a model at a time (load it twice).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
import platform
import struct
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from holdfast.core.inference import DTYPES, STRING, Tensor
from holdfast.core.onnx_model import check_model
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError
from holdfast.ports.runtime import Conditions, Declared

WORKER = Path(__file__).with_name("_onnx_worker.py")
ENVIRONMENT = {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""All that a worker knows of where it runs. Without the first of these, ONNX Runtime (from 1.32 on) keeps a file of
what it was used for in the home folder and sends it to its makers, from the moment it is imported."""
START_S = 60.0
"""Longest time for a worker to import the runtime and load a model."""
MAX_FRAME_BYTES = 1 << 30
"""Largest answer that is taken from a worker."""
_LENGTH = struct.Struct("<I")
_X86_LEVELS = (
    ("v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}),
    ("v2", {"cx16", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
)
"""Levels of the x86-64 psABI and flags of them; what a higher one needs includes what the lower ones do."""


def instruction_set() -> str:
    """The class of this processor's instructions as a code: the level of the x86-64 psABI, ``-vnni`` where integers are
    multiplied otherwise, or the machine's name."""
    machine = platform.machine().lower().replace("_", "-")
    try:
        text = Path("/proc/cpuinfo").read_text("ascii", errors="replace")
    except OSError:
        return machine or "unknown"
    line = next((item for item in text.splitlines() if item.startswith(("flags", "Features"))), "")
    flags = set(line.partition(":")[2].split())
    if machine not in ("x86-64", "amd64"):
        return f"{machine}-dotprod" if "asimddp" in flags else machine or "unknown"
    level = next((name for name, needed in _X86_LEVELS if needed <= flags), "v1")
    vnni = "-vnni" if flags & {"avx512_vnni", "avx_vnni"} else ""
    return f"x86-64-{level}{vnni}"


class OnnxRuntime:
    """Implements :class:`holdfast.ports.runtime.Runtime`."""

    def __init__(self, *, optimisation: str, threads: int, memory_bytes: int, model_bytes: int, run_s: float) -> None:
        """``memory_bytes`` is what a worker may take beyond its model's size times four; ``run_s`` bounds one call."""
        self._memory_bytes = memory_bytes
        self._model_bytes = model_bytes
        self._run_s = run_s
        try:
            version = metadata.version("onnxruntime")
        except metadata.PackageNotFoundError as error:
            raise UnavailableError(
                "infer.no_runtime", "ONNX Runtime is not installed", hint="pip install 'holdfast[node]'"
            ) from error
        self._conditions = Conditions("onnxruntime", version, optimisation, threads, instruction_set())

    @property
    def conditions(self) -> Conditions:
        return self._conditions

    async def load(self, artifact: str, model: bytes) -> _Worker:
        if len(model) > self._model_bytes:
            raise RefusedError(
                "model.size", f"the model is larger than the {self._model_bytes} bytes that are run here"
            )
        await asyncio.to_thread(check_model, model)
        worker = await _Worker.start(artifact, self._run_s)
        order = {
            "optimisation": self._conditions.optimisation,
            "threads": self._conditions.threads,
            "memory_bytes": self._memory_bytes + 4 * len(model),
        }
        try:
            await worker.take(order, model)
        except BaseException:
            await worker.close()
            raise
        return worker


class _Worker:
    """One process with one model in it. Implements :class:`holdfast.ports.runtime.LoadedModel`."""

    def __init__(
        self, artifact: str, process: asyncio.subprocess.Process, folder: tempfile.TemporaryDirectory[str], run_s: float
    ) -> None:
        self._artifact = artifact
        self._process = process
        self._folder = folder
        self._run_s = run_s
        self._turn = asyncio.Lock()
        self._inputs: tuple[Declared, ...] = ()
        self._outputs: tuple[Declared, ...] = ()

    @classmethod
    async def start(cls, artifact: str, run_s: float) -> _Worker:
        folder = tempfile.TemporaryDirectory(prefix="holdfast-model-")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(WORKER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd=folder.name,
            limit=1 << 20,
        )
        return cls(artifact, process, folder, run_s)

    @property
    def artifact(self) -> str:
        return self._artifact

    @property
    def inputs(self) -> tuple[Declared, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[Declared, ...]:
        return self._outputs

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def take(self, order: dict[str, Any], model: bytes) -> None:
        """Give the worker its model; raises ``model.load`` or ``infer.limits``."""
        header, _ = await self._exchange(order, [model], START_S)
        if "error" in header:
            raise RefusedError("model.load", f"ONNX Runtime does not load the model: {header['error']}")
        if header["digest"] != hashlib.sha256(model).hexdigest():
            raise UnavailableError("infer.worker", "the worker holds other bytes than it was given")
        self._inputs = _declared(header["inputs"])
        self._outputs = _declared(header["outputs"])

    async def run(self, items: Sequence[Mapping[str, Tensor]], outputs: Sequence[str]) -> list[Mapping[str, Tensor]]:
        known = {item.name for item in self._outputs}
        strange = [name for name in outputs if name not in known]
        if strange:
            raise MalformedError(
                "infer.outputs", f"the model has no output {strange[0][:64]!r}", hint=_listed(known), param="outputs"
            )
        orders: list[list[list[Any]]] = []
        pieces: list[bytes] = []
        for item in items:
            _check_item(item, self._inputs)
            order: list[list[Any]] = []
            for name, tensor in item.items():
                if isinstance(tensor.data, bytes):
                    order.append([name, tensor.dtype, tensor.shape, None])
                    pieces.append(tensor.data)
                else:
                    order.append([name, tensor.dtype, tensor.shape, tensor.data])
            orders.append(order)
        async with self._turn:
            header, data = await self._exchange({"items": orders, "outputs": list(outputs)}, pieces, self._run_s)
        if "error" in header:
            raise RefusedError("infer.runtime", f"the model failed on these inputs: {header['error']}")
        return _read_items(header["items"], data)

    async def _exchange(
        self, header: dict[str, Any], pieces: Sequence[bytes], timeout_s: float
    ) -> tuple[dict[str, Any], bytes]:
        """One frame out, one frame in. A worker that breaks off or takes too long is ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None or not self.alive:
            raise _broke("the worker of this model has ended")
        text = msgspec.json.encode({**header, "size": sum(map(len, pieces))})
        try:
            async with asyncio.timeout(timeout_s):
                stdin.write(b"".join((_LENGTH.pack(len(text)), text, *pieces)))
                await stdin.drain()
                (length,) = _LENGTH.unpack(await stdout.readexactly(_LENGTH.size))
                answer = json.loads(await stdout.readexactly(length))
                if answer["size"] > MAX_FRAME_BYTES:
                    raise _broke("the model's outputs are larger than anybody takes")
                return answer, await stdout.readexactly(answer["size"])
        except TimeoutError as error:
            await self._end()
            raise _broke(f"the model did not answer within {timeout_s:g} s") from error
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
            await self._end()
            raise _broke("the model took more memory than it may, or broke its process") from error
        except (HoldfastError, asyncio.CancelledError):
            # Half an answer may wait in the pipe: the next caller must not get it.
            await self._end()
            raise

    async def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.shield(self._process.wait())
        self._folder.cleanup()

    async def close(self) -> None:
        async with self._turn:
            await self._end()


def _broke(message: str) -> RefusedError:
    return RefusedError("infer.limits", message, hint="ask for less at once", status=422)


def _declared(listed: Sequence[Sequence[Any]]) -> tuple[Declared, ...]:
    found = []
    for name, dtype, shape in listed:
        if dtype not in DTYPES and dtype != STRING:
            raise RefusedError(
                "model.load", f"the model takes or gives {str(dtype)[:64]}, which is no tensor of a known type"
            )
        found.append(Declared(name, dtype, tuple(shape)))
    return tuple(found)


def _check_item(item: Mapping[str, Tensor], declared: Sequence[Declared]) -> None:
    """Inputs are those that the model declares; raises ``infer.inputs`` or ``infer.shape``."""
    wanted = {entry.name: entry for entry in declared}
    if item.keys() != wanted.keys():
        missing, extra = sorted(wanted.keys() - item.keys()), sorted(item.keys() - wanted.keys())
        said = f"no input {missing[0][:64]!r} was given" if missing else f"the model has no input {extra[0][:64]!r}"
        raise MalformedError("infer.inputs", said, hint=_listed(wanted), param="inputs")
    for name, tensor in item.items():
        shape = wanted[name].shape
        fits = len(shape) == len(tensor.shape) and all(
            want in (None, have) for want, have in zip(shape, tensor.shape, strict=True)
        )
        if not fits:
            declared_shape = ", ".join("any" if size is None else str(size) for size in shape)
            raise MalformedError(
                "infer.shape",
                f"{name[:64]!r} has the shape {list(tensor.shape)}; the model takes [{declared_shape}]",
                param=f"inputs.{name[:64]}",
            )


def _listed(names: Any) -> str:
    return f"it has {', '.join(sorted(names))}"[:200]


def _read_items(items: Sequence[Any], data: bytes) -> list[Mapping[str, Tensor]]:
    found: list[Mapping[str, Tensor]] = []
    place = 0
    for answer in items:
        read = {}
        for name, dtype, shape, strings, size in answer:
            if strings is not None:
                read[name] = Tensor(STRING, tuple(shape), tuple(strings))
                continue
            if dtype not in DTYPES or size != math.prod(shape) * DTYPES[dtype][1]:
                raise RefusedError("infer.runtime", f"the output {str(name)[:64]!r} is of a type that is not read here")
            read[name] = Tensor(dtype, tuple(shape), data[place : place + size])
            place += size
        found.append(read)
    return found
