"""Weights from a safetensors file: 8 bytes of length, a header in JSON, the tensors one after the other.

Rules: strict. Tensors fill the rest of the file, in order, without gaps and overlaps, and nothing but float16 and
float32 is taken. ``__metadata__`` may be there and is for people.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.core.canonical import decode_object
from holdfast.errors import MalformedError

MAX_HEADER_BYTES = 1 << 20
"""Largest header that is read."""
DTYPES = {"F16": "<f2", "F32": "<f4"}


def parse_safetensors(raw: bytes) -> dict[str, NDArray[np.floating[Any]]]:
    """Tensors by name. Raises ``model.weights``."""
    size = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or size > min(MAX_HEADER_BYTES, len(raw) - 8):
        raise MalformedError("model.weights", "the header of a safetensors file is longer than the file")
    header = decode_object(raw[8 : 8 + size].rstrip(b" "))
    header.pop("__metadata__", None)
    data = memoryview(raw)[8 + size :]
    found: dict[str, NDArray[np.floating[Any]]] = {}
    at = 0
    for name, entry in sorted(header.items(), key=lambda item: _offsets(item[1])):
        begin, end = _offsets(entry)
        kind, shape = DTYPES.get(entry.get("dtype")), entry.get("shape")
        if kind is None or not isinstance(shape, list) or not all(isinstance(part, int) and part > 0 for part in shape):
            raise MalformedError("model.weights", f"the tensor {name!r} has another type or shape than is read here")
        if begin != at or end - begin != math.prod(shape) * np.dtype(kind).itemsize or end > len(data):
            raise MalformedError("model.weights", f"the tensor {name!r} does not follow the one before it")
        found[name] = np.frombuffer(data[begin:end], kind).reshape(shape)
        at = end
    if at != len(data):
        raise MalformedError("model.weights", "bytes follow the last tensor")
    return found


def _offsets(entry: object) -> tuple[int, int]:
    value = entry.get("data_offsets") if isinstance(entry, dict) else None
    if isinstance(value, list) and len(value) == 2 and all(type(part) is int and part >= 0 for part in value):
        return value[0], value[1]
    raise MalformedError("model.weights", "a tensor has two offsets")
