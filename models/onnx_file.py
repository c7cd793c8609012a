"""Writes ONNX files: the few messages of the format that our models need, with nothing but the standard library and numpy.

Field numbers are those of ``onnx.proto`` (IR version 10). Only operators of ``ai.onnx`` and ``ai.onnx.ml`` are
written, and all tensors stand inside of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

IR_VERSION = 10
FLOAT, INT64, STRING = 1, 7, 8
TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64}
Attribute = int | float | str | Sequence[int] | Sequence[str]


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _attribute(name: str, value: Attribute) -> bytes:
    out = _bytes(1, name)
    if isinstance(value, float):
        return out + _varint(2 << 3 | 5) + np.float32(value).tobytes() + _number(20, 1)
    if isinstance(value, int):
        return out + _number(3, value) + _number(20, 2)
    if isinstance(value, str):
        return out + _bytes(4, value) + _number(20, 3)
    if isinstance(value[0], str):
        return out + b"".join(_bytes(9, item) for item in value) + _number(20, 8)
    return out + b"".join(_number(8, item) for item in value) + _number(20, 7)


def node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: Attribute
) -> bytes:
    """One node of a graph."""
    out = b"".join(_bytes(1, name) for name in inputs) + b"".join(_bytes(2, name) for name in outputs)
    out += _bytes(3, outputs[0]) + _bytes(4, operator)
    out += b"".join(_bytes(5, _attribute(name, value)) for name, value in attributes.items())
    return out + (_bytes(7, domain) if domain else b"")


def _tensor(name: str, value: np.ndarray) -> bytes:
    out = b"".join(_number(1, size) for size in value.shape) + _number(2, TYPES[value.dtype])
    return out + _bytes(8, name) + _bytes(9, value.tobytes())


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    sizes = b"".join(_bytes(1, _number(1, size) if isinstance(size, int) else _bytes(2, size)) for size in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, sizes)))


def model(
    name: str,
    nodes: Sequence[bytes],
    tensors: Mapping[str, np.ndarray],
    inputs: Mapping[str, tuple[int, Sequence[int | str]]],
    outputs: Mapping[str, tuple[int, Sequence[int | str]]],
    *,
    opset: int = 17,
    opset_ml: int = 0,
) -> bytes:
    """A whole file."""
    graph = b"".join(_bytes(1, item) for item in nodes) + _bytes(2, name)
    graph += b"".join(_bytes(5, _tensor(key, value)) for key, value in tensors.items())
    graph += b"".join(_bytes(11, _value(key, *what)) for key, what in inputs.items())
    graph += b"".join(_bytes(12, _value(key, *what)) for key, what in outputs.items())
    sets = _bytes(8, _bytes(1, "") + _number(2, opset))
    if opset_ml:
        sets += _bytes(8, _bytes(1, "ai.onnx.ml") + _number(2, opset_ml))
    return _number(1, IR_VERSION) + _bytes(2, "holdfast models") + _bytes(7, graph) + sets
