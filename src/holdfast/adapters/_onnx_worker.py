"""Loads one ONNX model and runs it: a program of its own, started by ``runtime_onnx`` and by nobody else.

It is started by its path with ``python -I`` and an empty environment, imports nothing of Holdfast, gets the model's
bytes and every input through standard input, and answers on standard output. It has no key, no path of a file, and no
configuration. Before the model comes, the process gives up what a model has no use for: memory beyond its bound, files,
core dumps, children, and new privileges.

A frame is ``header length u32 | header JSON | bytes``, the number of bytes being in the header's ``size``. The end of
standard input ends the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import resource
import struct
import sys
from typing import Any, BinaryIO

_LENGTH = struct.Struct("<I")
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _SIGKILL = 1, 38, 9
"""Linux ``prctl``: end with the parent; nothing run from here may gain privileges."""
_NAMES = {
    "float16": "float16",
    "float": "float32",
    "double": "float64",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "int64": "int64",
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "uint64": "uint64",
    "bool": "bool",
    "string": "string",
}
"""ONNX Runtime's names of element types to ours."""


def _read(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    header = json.loads(stream.read(_LENGTH.unpack(head)[0]))
    return header, stream.read(header["size"])


def _write(stream: BinaryIO, header: dict[str, Any], pieces: list[bytes]) -> None:
    text = json.dumps({**header, "size": sum(map(len, pieces))}, separators=(",", ":")).encode()
    stream.write(b"".join((_LENGTH.pack(len(text)), text, *pieces)))
    stream.flush()


def _give_up(memory_bytes: int) -> None:
    """Bound this process. What the system does not know, it does without; the parent's clock bounds the time."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    in_use = 0
    with contextlib.suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        in_use = int(file.read().split()[0]) * resource.getpagesize()
    for kind, bound in (
        (resource.RLIMIT_AS, in_use + memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (bound, bound))


def _give_up_children() -> None:
    """Once the runtime has its threads: no process and no thread comes after them."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


class _Session:
    """One model in memory."""

    def __init__(self, ort: Any, numpy: Any, order: dict[str, Any], model: bytes) -> None:
        levels = ort.GraphOptimizationLevel
        options = ort.SessionOptions()
        options.graph_optimization_level = {
            "none": levels.ORT_DISABLE_ALL,
            "basic": levels.ORT_ENABLE_BASIC,
            "extended": levels.ORT_ENABLE_EXTENDED,
            "all": levels.ORT_ENABLE_ALL,
        }[order["optimisation"]]
        options.intra_op_num_threads = order["threads"]
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        # A run that failed for want of memory must not leave an arena behind that the next one inherits.
        options.enable_cpu_mem_arena = False
        self._numpy = numpy
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._names = [item.name for item in self._session.get_outputs()]

    def describe(self) -> dict[str, Any]:
        return {
            "inputs": [_describe(item) for item in self._session.get_inputs()],
            "outputs": [_describe(item) for item in self._session.get_outputs()],
        }

    def run(self, header: dict[str, Any], data: bytes) -> tuple[list[Any], list[bytes]]:
        place, items, pieces = 0, [], []
        wanted = header["outputs"] or self._names
        for tensors in header["items"]:
            feeds = {}
            for name, dtype, shape, strings in tensors:
                if strings is not None:
                    feeds[name] = self._numpy.array(strings, dtype=object).reshape(shape)
                    continue
                kind = self._numpy.dtype(dtype)
                size = kind.itemsize
                for dimension in shape:
                    size *= dimension
                feeds[name] = self._numpy.frombuffer(data, kind, size // kind.itemsize, place).reshape(shape)
                place += size
            answer = []
            for name, value in zip(wanted, self._session.run(wanted, feeds), strict=True):
                if not isinstance(value, self._numpy.ndarray):
                    raise TypeError(f"the output {name} is no tensor")
                if value.dtype == object:
                    answer.append([name, "string", list(value.shape), [str(item) for item in value.flat], 0])
                else:
                    piece = self._numpy.ascontiguousarray(value).tobytes()
                    answer.append([name, value.dtype.name, list(value.shape), None, len(piece)])
                    pieces.append(piece)
            items.append(answer)
        return items, pieces


def _describe(item: Any) -> list[Any]:
    kind = item.type.removeprefix("tensor(").removesuffix(")")
    shape = [size if isinstance(size, int) and size >= 0 else None for size in item.shape]
    return [item.name, _NAMES.get(kind, item.type), shape]


def main() -> None:
    """Load what comes first, run what comes then."""
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not stand between two frames
    import numpy as np  # noqa: PLC0415 (before the bounds: what they load is ours, not the model's)
    import onnxruntime  # noqa: PLC0415

    onnxruntime.set_default_logger_severity(4)
    first = _read(source)
    if first is None:
        return
    order, model = first
    _give_up(order["memory_bytes"])
    try:
        session = _Session(onnxruntime, np, order, model)
    except Exception as error:  # noqa: BLE001 (whatever the runtime raises, the answer is that it does not load)
        _write(target, {"error": f"{type(error).__name__}: {error}"[:500]}, [])
        return
    _give_up_children()
    _write(target, {**session.describe(), "digest": hashlib.sha256(model).hexdigest()}, [])
    del model
    while (frame := _read(source)) is not None:
        try:
            items, pieces = session.run(*frame)
        except MemoryError:
            return  # nothing is sure any more; the parent sees the end
        except Exception as error:  # noqa: BLE001 (the model's own failure on these inputs)
            _write(target, {"error": f"{type(error).__name__}: {error}"[:500]}, [])
        else:
            _write(target, {"items": items}, pieces)


if __name__ == "__main__":
    main()
