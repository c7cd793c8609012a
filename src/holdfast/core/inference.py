"""Requests and answers of ``/v1/infer``: tensors as JSON, strictly (``spec/inference.md`` §1 to §3).

``parse_inference`` reads a request decoded with ``canonical.decode_exact`` into :class:`Inference`; a given value
becomes a :class:`Tensor` of the type that the model declares by :func:`make_tensor`. ``show_tensor`` is the way back.

A tensor's ``data`` are its elements in row-major order, little-endian; a bool is one byte, 0 or 1; strings are a tuple.
Not covered: running anything, and which names and types a model declares (``ports.runtime``).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.canonical import NumberText
from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.errors import MalformedError

MODES = ("VANILLA", "TEE", "ZKML")
"""How a run is to be evidenced (``inference.md`` §1)."""
DTYPES: Mapping[str, tuple[str, int]] = {
    "bool": ("?", 1),
    "float16": ("e", 2),
    "float32": ("f", 4),
    "float64": ("d", 8),
    "int8": ("b", 1),
    "int16": ("h", 2),
    "int32": ("i", 4),
    "int64": ("q", 8),
    "uint8": ("B", 1),
    "uint16": ("H", 2),
    "uint32": ("I", 4),
    "uint64": ("Q", 8),
}
"""Element types that have bytes: their format (Python ``struct``) and size (``inference.md`` §2)."""
STRING = "string"
"""The one that has none."""
MAX_ITEMS = 256
"""Items of a batch (``inference.md`` §1)."""
MAX_TENSORS = 64
"""Inputs of one item (``inference.md`` §1)."""
MAX_RANK = 8
"""Dimensions of a tensor (``inference.md`` §2)."""
MAX_ELEMENTS = 1 << 26
"""Elements of a tensor (``inference.md`` §2)."""
MAX_NAME = 256
"""Characters of a model's or tensor's name."""

_MEMBERS = frozenset({"model", "inputs", "mode", "outputs", "encoding", "holdfast"})
_FLOATS = frozenset({"float16", "float32", "float64"})
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""What JSON has no number for, as the strings that stand for it (``inference.md`` §2)."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a known type."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | tuple[str, ...]
    """Bytes of the elements, or the strings of a ``string`` tensor."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Given:
    """A value as a caller wrote it: its type, where they said so, its shape, and its elements or their bytes."""

    dtype: str | None
    shape: tuple[int, ...]
    elements: tuple[Any, ...] | bytes


@dataclass(frozen=True, slots=True)
class Inference:
    """A parsed request."""

    model: str
    mode: str
    items: tuple[Mapping[str, Given], ...]
    """One mapping of inputs for each item of the batch."""
    batched: bool
    """Whether ``inputs`` was an array, so that ``outputs`` are one too."""
    outputs: tuple[str, ...]
    """Names of the wanted outputs; empty: all."""
    encoding: str
    """``json`` or ``base64``: how outputs are written."""


def parse_inference(value: object) -> Inference:
    """A request document to an :class:`Inference`; raises ``infer.*`` and ``encoding.base64``."""
    if not isinstance(value, dict):
        raise MalformedError("infer.object", "a request is a JSON object")
    unknown = value.keys() - _MEMBERS
    if unknown:
        name = min(unknown)
        raise MalformedError(
            "infer.member", f"a request has no member {name[:64]!r}", param=name[:64], hint="leave it out"
        )
    model = value.get("model")
    if not _is_name(model):
        raise MalformedError("infer.model", f"model is a string of 1 to {MAX_NAME} characters", param="model")
    mode = value.get("mode", "VANILLA")
    if mode not in MODES:
        raise MalformedError("infer.mode", f"mode is one of {', '.join(MODES)}", param="mode")
    encoding = value.get("encoding", "json")
    if encoding not in ("json", "base64"):
        raise MalformedError("infer.encoding", "encoding is json or base64", param="encoding")
    items, batched = _items(value.get("inputs"))
    return Inference(str(model), str(mode), items, batched, _names(value.get("outputs")), str(encoding))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, NumberText) and 0 < len(value) <= MAX_NAME


def _names(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not value or len(value) > MAX_TENSORS or not all(map(_is_name, value)):
        raise MalformedError("infer.outputs", "outputs is a list of names of the model's outputs", param="outputs")
    if len(set(value)) != len(value):
        raise MalformedError("infer.outputs", "an output is named twice", param="outputs")
    return tuple(str(name) for name in value)


def _items(value: object) -> tuple[tuple[Mapping[str, Given], ...], bool]:
    if isinstance(value, list):
        if not 0 < len(value) <= MAX_ITEMS:
            raise MalformedError("infer.batch", f"a batch has 1 to {MAX_ITEMS} items", param="inputs")
        return tuple(_item(item, f"inputs.{number}") for number, item in enumerate(value)), True
    return (_item(value, "inputs"),), False


def _item(value: object, place: str) -> Mapping[str, Given]:
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_TENSORS:
        raise MalformedError("infer.inputs", f"inputs are an object of 1 to {MAX_TENSORS} named values", param=place)
    found = {}
    for name, item in value.items():
        if not _is_name(name):
            raise MalformedError("infer.inputs", f"a name has 1 to {MAX_NAME} characters", param=place)
        found[name] = _given(item, f"{place}.{name[:64]}")
    return found


def _given(value: object, place: str) -> Given:
    if isinstance(value, dict):
        return _typed(value, place)
    shape, elements = _nested(value, place)
    return Given(None, shape, elements)


def _typed(value: dict[str, Any], place: str) -> Given:
    if value.keys() not in ({"dtype", "shape", "data"}, {"dtype", "shape", "base64"}):
        raise MalformedError("infer.tensor", "a tensor has dtype, shape and either data or base64", param=place)
    dtype = value["dtype"]
    if dtype not in DTYPES and dtype != STRING:
        known = ", ".join((*DTYPES, STRING))
        raise MalformedError("infer.dtype", f"dtype is one of {known}", param=f"{place}.dtype")
    shape = _shape(value["shape"], f"{place}.shape")
    size = math.prod(shape)
    if "base64" in value:
        if dtype == STRING or not isinstance(value["base64"], str):
            raise MalformedError("infer.tensor", "base64 is a string, and strings have no bytes", param=place)
        raw = b64_decode(value["base64"])
        if len(raw) != size * DTYPES[dtype][1]:
            raise MalformedError("infer.shape", f"{len(raw)} bytes are not {size} of {dtype}", param=place)
        if dtype == "bool" and raw.strip(b"\x00\x01"):
            raise MalformedError("infer.element", "a bool is a byte 0 or 1", param=place)
        return Given(dtype, shape, raw)
    data = value["data"]
    if not isinstance(data, list) or len(data) != size:
        raise MalformedError("infer.shape", f"data is a flat list of the {size} elements of the shape", param=place)
    if any(isinstance(item, list | dict) for item in data):
        raise MalformedError("infer.element", "data holds no lists and no objects", param=place)
    return Given(dtype, shape, tuple(data))


def _shape(value: object, place: str) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > MAX_RANK:
        raise MalformedError("infer.shape", f"shape is a list of at most {MAX_RANK} dimensions", param=place)
    found = []
    for item in value:
        if not isinstance(item, NumberText) or not item.isdigit() or len(item) > 9:
            raise MalformedError("infer.shape", "a dimension is an integer from 0 on", param=place)
        found.append(int(item))
    if math.prod(found) > MAX_ELEMENTS:
        raise MalformedError("infer.shape", f"a tensor has at most {MAX_ELEMENTS} elements", param=place)
    return tuple(found)


def _nested(value: object, place: str) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """Nested lists to their shape and elements; a scalar has the shape ``()``."""
    shape: list[int] = []
    level: list[Any] = [value]
    while any(isinstance(item, list) for item in level):
        if len(shape) == MAX_RANK:
            raise MalformedError("infer.shape", f"nested deeper than {MAX_RANK} lists", param=place)
        lengths = {len(item) if isinstance(item, list) else -1 for item in level}
        if len(lengths) != 1 or -1 in lengths:
            raise MalformedError("infer.shape", "the lists of a value are not all of one length", param=place)
        shape.append(lengths.pop())
        level = [inner for item in level for inner in item]
    if any(isinstance(item, dict) for item in level):
        raise MalformedError("infer.element", "an element is a number, a boolean or a string", param=place)
    return tuple(shape), tuple(level)


def make_tensor(given: Given, dtype: str, place: str) -> Tensor:
    """A given value as a tensor of the declared type; raises ``infer.dtype`` or ``infer.element``."""
    if given.dtype is not None and given.dtype != dtype:
        raise MalformedError("infer.dtype", f"the model declares {dtype}, not {given.dtype}", param=place)
    if isinstance(given.elements, bytes):
        return Tensor(dtype, given.shape, given.elements)
    if dtype == STRING:
        return Tensor(dtype, given.shape, tuple(_strings(given.elements, place)))
    read = {"bool": _boolean}.get(dtype, _float if dtype in _FLOATS else _integer)
    values = [read(item, place) for item in given.elements]
    try:
        return Tensor(dtype, given.shape, struct.pack(f"<{len(values)}{DTYPES[dtype][0]}", *values))
    except (struct.error, OverflowError) as error:
        raise MalformedError("infer.element", f"a number does not fit into {dtype}", param=place) from error


def _strings(elements: Sequence[Any], place: str) -> Iterator[str]:
    for item in elements:
        if not isinstance(item, str) or isinstance(item, NumberText):
            raise MalformedError("infer.element", "this input takes strings", param=place)
        yield item


def _boolean(item: object, place: str) -> bool:
    if not isinstance(item, bool):
        raise MalformedError("infer.element", "this input takes true and false", param=place)
    return item


def _integer(item: object, place: str) -> int:
    if not isinstance(item, NumberText) or not item.removeprefix("-").isdigit() or len(item) > 20:
        raise MalformedError("infer.element", "this input takes integers, written as such", param=place)
    return int(item)


def _float(item: object, place: str) -> float:
    if isinstance(item, NumberText):
        value = float(item)
        if math.isinf(value):
            raise MalformedError("infer.element", "a number is beyond every float", param=place)
        return value
    if isinstance(item, str) and item in _NOT_FINITE:
        return _NOT_FINITE[item]
    raise MalformedError("infer.element", "this input takes numbers", param=place)


def show_tensor(tensor: Tensor, encoding: str) -> dict[str, Any]:
    """A tensor as ``{"dtype","shape","data"}`` or with ``base64`` (``inference.md`` §3); numbers as their texts, for
    ``canonical.encode_exact``."""
    shape = [NumberText(item) for item in tensor.shape]
    if isinstance(tensor.data, tuple):
        return {"dtype": tensor.dtype, "shape": shape, "data": list(tensor.data)}
    if encoding == "base64":
        return {"dtype": tensor.dtype, "shape": shape, "base64": b64_encode(tensor.data)}
    return {"dtype": tensor.dtype, "shape": shape, "data": [_shown(item) for item in read_elements(tensor)]}


def read_elements(tensor: Tensor) -> tuple[Any, ...]:
    """The elements of a tensor as Python values."""
    if isinstance(tensor.data, tuple):
        return tensor.data
    return struct.unpack(f"<{tensor.size}{DTYPES[tensor.dtype][0]}", tensor.data)


def _shown(item: object) -> object:
    """A number as the shortest decimal that reads as the same double; what is not finite as its string."""
    if isinstance(item, bool):
        return item
    if isinstance(item, float) and not math.isfinite(item):
        return "NaN" if math.isnan(item) else "Infinity" if item > 0 else "-Infinity"
    return NumberText(repr(item))


def show_inference(inference: Inference, artifact: str, answers: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
    """The response document of a run: which artifact (hex) answered, in which mode, with which outputs."""
    shown = [{name: show_tensor(tensor, inference.encoding) for name, tensor in answer.items()} for answer in answers]
    return {
        "object": "inference",
        "model": inference.model,
        "artifact": artifact,
        "mode": inference.mode,
        "outputs": shown if inference.batched else shown[0],
    }


ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE = 1e-5, 1e-4
"""How far two nodes' floats may differ and still count as the same answer (``inference.md`` §6(2))."""


def compare_answers(first: object, second: object) -> str:
    """Two response documents, decoded with ``canonical.decode_exact``: ``equal`` in every text, ``within`` the
    tolerance, or ``different`` (``inference.md`` §6(2))."""
    if first == second:
        return "equal"
    return "within" if _alike(first, second, floats=False) else "different"


def _alike(first: object, second: object, *, floats: bool) -> bool:
    if isinstance(first, dict) and isinstance(second, dict):
        if "base64" in first or "base64" in second:
            return _alike_bytes(first, second)
        floats = first.get("dtype") in _FLOATS
        same = first.keys() == second.keys()
        return same and all(_alike(first[name], second[name], floats=floats and name == "data") for name in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(
            _alike(one, other, floats=floats) for one, other in zip(first, second, strict=True)
        )
    if floats and isinstance(first, NumberText) and isinstance(second, NumberText):
        return _close(float(first), float(second))
    return type(first) is type(second) and first == second


def _alike_bytes(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Two tensors whose elements are given as bytes."""
    if first.keys() != second.keys() or any(first[name] != second[name] for name in ("dtype", "shape")):
        return False
    if first["dtype"] not in _FLOATS:
        return bool(first["base64"] == second["base64"])
    shape = tuple(int(size) for size in first["shape"])
    pair = (read_elements(Tensor(first["dtype"], shape, b64_decode(item["base64"]))) for item in (first, second))
    return all(_close(one, other) for one, other in zip(*pair, strict=True))


def _close(one: float, other: float) -> bool:
    if not (math.isfinite(one) and math.isfinite(other)):
        return one == other or (math.isnan(one) and math.isnan(other))
    return abs(one - other) <= ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * abs(one)
