"""inference.md §1 and §2: requests, and values as the bytes of tensors."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from typing import Any

from .text import Number, SpecError

LETTERS = {
    "float16": "e",
    "float32": "f",
    "float64": "d",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
    "bool": "?",
}
WIDTHS = {name: struct.calcsize("<" + letter) for name, letter in LETTERS.items()}
SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def is_text(value: Any) -> bool:
    """A string of JSON, and no number."""
    return isinstance(value, str) and not isinstance(value, Number)


def read_request(document: Any, declared: dict[str, str]) -> dict[str, Any]:
    """A parsed request to its model, mode and inputs, each of the declared type."""
    if not isinstance(document, dict):
        raise SpecError("infer.object")
    if set(document) - {"model", "inputs", "mode", "outputs", "encoding", "holdfast"}:
        raise SpecError("infer.member")
    model = document.get("model")
    if not is_text(model) or not 1 <= len(model) <= 256:
        raise SpecError("infer.model")
    mode = document.get("mode", "VANILLA")
    if not is_text(mode) or mode not in {"VANILLA", "TEE", "ZKML"}:
        raise SpecError("infer.mode")
    encoding = document.get("encoding", "json")
    if not is_text(encoding) or encoding not in {"json", "base64"}:
        raise SpecError("infer.encoding")
    given = document.get("inputs")
    items = given if isinstance(given, list) else [given]
    if not 1 <= len(items) <= 256:
        raise SpecError("infer.batch")
    shaped = []
    for item in items:
        if not isinstance(item, dict) or not 1 <= len(item) <= 64 or any(not 1 <= len(name) <= 256 for name in item):
            raise SpecError("infer.inputs")
        shaped.append({name: shape_of(value) for name, value in item.items()})
    outputs = document.get("outputs")
    if outputs is not None:
        good = isinstance(outputs, list) and 1 <= len(outputs) <= 64 and all(map(is_text, outputs))
        if not good or len(set(outputs)) != len(outputs) or any(not 1 <= len(name) <= 256 for name in outputs):
            raise SpecError("infer.outputs")
    read = [{name: typed(*value, declared[name]) for name, value in item.items()} for item in shaped]
    return {"model": model, "mode": mode, "inputs": read}


def shape_of(value: Any) -> tuple[str | None, list[int], Any]:
    """A value to its own type or none, its shape, and its elements or bytes."""
    if isinstance(value, dict):
        return tensor(value)
    if not isinstance(value, list):
        return None, [], [value]
    inner = [shape_of(item) for item in value]
    if any(kind is not None for kind, _, _ in inner) or any(isinstance(item, dict) for item in value):
        raise SpecError("infer.element")
    if any(shape != inner[0][1] for _, shape, _ in inner):
        raise SpecError("infer.shape")
    shape = [len(value), *(inner[0][1] if inner else [])]
    if len(shape) > 8:
        raise SpecError("infer.shape")
    return None, shape, [element for _, _, elements in inner for element in elements]


def tensor(value: dict[str, Any]) -> tuple[str, list[int], Any]:
    """§2(1)."""
    if set(value) not in ({"dtype", "shape", "data"}, {"dtype", "shape", "base64"}):
        raise SpecError("infer.tensor")
    dtype = value["dtype"]
    if not is_text(dtype) or dtype not in {*LETTERS, "string"}:
        raise SpecError("infer.dtype")
    shape = value["shape"]
    if not isinstance(shape, list) or len(shape) > 8:
        raise SpecError("infer.shape")
    if not all(isinstance(size, Number) and size.isdigit() and len(size) <= 9 for size in shape):
        raise SpecError("infer.shape")
    sizes = [int(size) for size in shape]
    count = math.prod(sizes)
    if count > 67_108_864:
        raise SpecError("infer.shape")
    if "data" in value:
        if not isinstance(value["data"], list) or len(value["data"]) != count:
            raise SpecError("infer.shape")
        if any(isinstance(item, (list, dict)) for item in value["data"]):
            raise SpecError("infer.element")
        return dtype, sizes, value["data"]
    if dtype == "string" or not is_text(value["base64"]):
        raise SpecError("infer.tensor")
    try:
        raw = base64.b64decode(value["base64"], validate=True)
    except (binascii.Error, ValueError):
        raise SpecError("encoding.base64") from None
    if base64.b64encode(raw).decode() != value["base64"]:
        raise SpecError("encoding.base64")
    if len(raw) != count * WIDTHS[dtype]:
        raise SpecError("infer.shape")
    if dtype == "bool" and set(raw) - {0, 1}:
        raise SpecError("infer.element")
    return dtype, sizes, raw


def typed(own: str | None, shape: list[int], elements: Any, dtype: str) -> list[Any]:
    """§2: dtype, shape, and the bytes in hex or the strings."""
    if own is not None and own != dtype:
        raise SpecError("infer.dtype")
    if isinstance(elements, bytes):
        return [dtype, shape, elements.hex()]
    if dtype == "string":
        if not all(map(is_text, elements)):
            raise SpecError("infer.element")
        return [dtype, shape, list(elements)]
    return [dtype, shape, b"".join(element_bytes(item, dtype) for item in elements).hex()]


def element_bytes(item: Any, dtype: str) -> bytes:
    """One element."""
    if dtype == "bool":
        if not isinstance(item, bool):
            raise SpecError("infer.element")
        return bytes([item])
    if dtype.startswith("float"):
        if is_text(item) and item in SPECIAL:
            return struct.pack("<" + LETTERS[dtype], SPECIAL[item])
        if not isinstance(item, Number) or math.isinf(float(item)):
            raise SpecError("infer.element")
        try:
            return struct.pack("<" + LETTERS[dtype], float(item))
        except OverflowError:
            raise SpecError("infer.element") from None
    if not isinstance(item, Number) or not item.removeprefix("-").isdigit():
        raise SpecError("infer.element")
    try:
        return int(item).to_bytes(WIDTHS[dtype], "little", signed=not dtype.startswith("u"))
    except OverflowError:
        raise SpecError("infer.element") from None
