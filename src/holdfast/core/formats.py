"""What lies in files of models: safetensors and GGUF, by strict parsers of their own (``spec/artifacts.md`` §6).

``read_safetensors`` and ``read_gguf`` take the head of a file and its size, and say which tensors it holds: name, type,
shape, and where their bytes lie. Nothing is allocated by a number that a file names, nothing outside of the file is
reached, and a header that could be read in two ways is refused.

Not covered: ONNX (``core.onnx_model``), pickles, which are programs and no data (:func:`refuse_program`), and whether a
model is any good.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.errors import MalformedError, RefusedError

MAX_HEADER_BYTES = 32 << 20
"""Longest header that is read: names, shapes and metadata of a file, without its tensors."""
MAX_TENSORS = 100_000
"""Most tensors of one file."""
MAX_DIMENSIONS = 8
"""Most dimensions of a tensor."""
MAX_ELEMENTS = 1 << 48
"""Most elements of a tensor, before a product of dimensions is believed."""
MAX_NAME_BYTES = 1024
"""Longest name of a tensor or of an item of metadata."""
PROGRAMS = (".bin", ".ckpt", ".joblib", ".keras", ".pickle", ".pkl", ".pt", ".pth")
"""Endings of files that are usually loaded by running them."""
_PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_ZIP = b"PK\x03\x04"
SAFETENSORS_BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip
"""Bits of an element by type (safetensors 0.5)."""
_GGUF_MAGIC = b"GGUF"
_GGUF_TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8), 30: ("BF16", 1, 2),
}  # fmt: skip
"""GGML type to its name, elements of a block, and bytes of a block (ggml.h)."""
_GGUF_VALUES: Mapping[int, str] = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_GGUF_STRING, _GGUF_ARRAY, _GGUF_BOOL = 8, 9, 7
_MAX_ARRAY_DEPTH = 2
_MAX_ALIGNMENT = 1 << 16


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file. ``offset`` counts from the beginning of the file; both numbers are bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


def _elements(shape: tuple[int, ...], name: str, code: str) -> int:
    count = math.prod(shape) if len(shape) <= MAX_DIMENSIONS else MAX_ELEMENTS + 1
    if count > MAX_ELEMENTS:
        raise MalformedError(code, f"tensor {name[:64]!r} has more elements than any file holds")
    return count


def refuse_program(name: str, head: bytes) -> None:
    """Raise ``model.program`` for a file that is a pickle, whatever it is called: loading it would run it."""
    ending = "." + name.rsplit(".", 1)[-1].lower()
    if head.startswith(_PICKLE) or (ending in PROGRAMS and head.startswith(_ZIP)):
        raise RefusedError(
            "model.program",
            f"{name!r} is a pickle: loading it would run what it says",
            hint="save the weights as safetensors or export the model to ONNX",
            param=name,
        )


# --- safetensors ------------------------------------------------------------------------------------------------------


def safetensors_header_bytes(head: bytes, file_bytes: int) -> int:
    """How many bytes of a file its header takes, from its first 8 bytes. Raises ``model.safetensors``."""
    if len(head) < 8:
        raise MalformedError("model.safetensors", "too short to be a safetensors file")
    size = int.from_bytes(head[:8], "little")
    if not 2 <= size <= min(MAX_HEADER_BYTES, file_bytes - 8):
        raise MalformedError("model.safetensors", f"its header would take {size} bytes of {file_bytes}")
    return 8 + size


def read_safetensors(head: bytes, file_bytes: int) -> list[TensorInfo]:
    """The tensors of a file whose first bytes, at least its header, are given. Raises ``model.safetensors`` or
    ``json.*``.

    Their bytes follow each other without gap or overlap and end with the file, as the format wants it: nothing can be
    hidden between them.
    """
    begin = safetensors_header_bytes(head, file_bytes)
    if len(head) < begin:
        raise MalformedError("model.safetensors", "its header ends before it is over")
    header = canonical.decode_object(head[8:begin].rstrip(b" "))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise MalformedError("model.safetensors", "its metadata are strings")
    if len(header) > MAX_TENSORS:
        raise MalformedError("model.safetensors", f"it names more than {MAX_TENSORS} tensors")
    found = sorted((_safetensor(name, value, begin) for name, value in header.items()), key=lambda item: item.offset)
    place = begin
    for tensor in found:
        if tensor.offset != place:
            raise MalformedError(
                "model.safetensors", f"before tensor {tensor.name[:64]!r} there is a gap or an overlap"
            )
        place += tensor.size
    if place != file_bytes:
        raise MalformedError("model.safetensors", f"its tensors end at {place}, and the file at {file_bytes}")
    return found


def _safetensor(name: str, value: object, begin: int) -> TensorInfo:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise MalformedError("model.safetensors", f"tensor {name[:64]!r} has exactly dtype, shape and data_offsets")
    shape, offsets = value["shape"], value["data_offsets"]
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise MalformedError("model.safetensors", f"tensor {name[:64]!r} has a shape or a place of other numbers")
    bits = SAFETENSORS_BITS.get(value["dtype"]) if isinstance(value["dtype"], str) else None
    if bits is None or len(name.encode()) > MAX_NAME_BYTES:
        raise MalformedError("model.safetensors", f"tensor {name[:64]!r} has a type or a name that nobody knows")
    dimensions = tuple(shape)
    if _elements(dimensions, name, "model.safetensors") * bits != (offsets[1] - offsets[0]) * 8:
        raise MalformedError("model.safetensors", f"tensor {name[:64]!r} has other bytes than its shape says")
    return TensorInfo(name, value["dtype"], dimensions, begin + offsets[0], offsets[1] - offsets[0])


def _naturals(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= MAX_ELEMENTS for item in value)


# --- GGUF -------------------------------------------------------------------------------------------------------------


class _Reader:
    """Little-endian values from the head of a file; never further than it goes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self.place:
            raise MalformedError("model.gguf", f"its header goes on behind {len(self._data)} bytes")
        self.place += size
        return self._data[self.place - size : self.place]

    def number(self, form: str) -> int | float:
        value: int | float = struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]
        return value

    def count(self, form: str, most: int, what: str) -> int:
        value = int(self.number(form))
        if value > most:
            raise MalformedError("model.gguf", f"it names {value} {what}, and {most} are read")
        return value

    def text(self) -> str:
        size = self.count("Q", MAX_HEADER_BYTES, "bytes of a text")
        try:
            return self.take(size).decode()
        except UnicodeDecodeError as error:
            raise MalformedError("model.gguf", "a text of it is not UTF-8") from error


def read_gguf(head: bytes, file_bytes: int) -> list[TensorInfo]:
    """The tensors of a GGUF file (version 2 or 3) whose first bytes, at least its header, are given. Raises
    ``model.gguf``. Tensors lie inside of the file and do not overlap."""
    reader = _Reader(head)
    if reader.take(4) != _GGUF_MAGIC or reader.number("I") not in (2, 3):
        raise MalformedError("model.gguf", "not a GGUF file of version 2 or 3")
    tensors = reader.count("Q", MAX_TENSORS, "tensors")
    alignment = 32
    names: set[str] = set()
    for _ in range(reader.count("Q", MAX_TENSORS, "items of metadata")):
        name = reader.text()
        if name in names or len(name.encode()) > MAX_NAME_BYTES:
            raise MalformedError("model.gguf", f"the item {name[:64]!r} stands there twice, or is too long")
        names.add(name)
        value = _skip(reader, int(reader.number("I")), 0)
        if name == "general.alignment":
            alignment = int(value or 0)
    if not 8 <= alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
        raise MalformedError("model.gguf", "its alignment is no power of two from 8 on")
    listed = [_gguf_tensor(reader) for _ in range(tensors)]
    begin = -(-reader.place // alignment) * alignment
    return _placed(listed, begin, alignment, file_bytes)


def _skip(reader: _Reader, kind: int, depth: int) -> int | float | None:
    """One value of metadata; its number, where it is one."""
    if kind == _GGUF_STRING:
        reader.text()
        return None
    if kind == _GGUF_ARRAY:
        if depth >= _MAX_ARRAY_DEPTH:
            raise MalformedError("model.gguf", "its lists stand within lists within lists")
        inner = int(reader.number("I"))
        count = reader.count("Q", MAX_HEADER_BYTES, "elements of a list")
        if inner in _GGUF_VALUES:
            reader.take(count * struct.calcsize("<" + _GGUF_VALUES[inner]))
            return None
        for _ in range(count):
            _skip(reader, inner, depth + 1)
        return None
    if kind not in _GGUF_VALUES:
        raise MalformedError("model.gguf", f"a value of the unknown kind {kind}")
    value = reader.number(_GGUF_VALUES[kind])
    if kind == _GGUF_BOOL and value not in (0, 1):
        raise MalformedError("model.gguf", "a truth value is 0 or 1")
    return value


def _gguf_tensor(reader: _Reader) -> TensorInfo:
    name = reader.text()
    shape = tuple(int(reader.number("Q")) for _ in range(reader.count("I", MAX_DIMENSIONS, "dimensions")))
    kind, offset = int(reader.number("I")), int(reader.number("Q"))
    if kind not in _GGUF_TYPES or not name or len(name.encode()) > MAX_NAME_BYTES:
        raise MalformedError("model.gguf", f"tensor {name[:64]!r} has a type or a name that nobody knows")
    dtype, block, block_bytes = _GGUF_TYPES[kind]
    count = _elements(shape, name, "model.gguf")
    if (shape[0] if shape else 1) % block:
        raise MalformedError("model.gguf", f"tensor {name[:64]!r} has rows that are no whole blocks of {dtype}")
    return TensorInfo(name, dtype, shape, offset, count // block * block_bytes)


def _placed(listed: list[TensorInfo], begin: int, alignment: int, file_bytes: int) -> list[TensorInfo]:
    if len({tensor.name for tensor in listed}) != len(listed):
        raise MalformedError("model.gguf", "two tensors have one name")
    place = 0
    found = []
    for tensor in sorted(listed, key=lambda item: item.offset):
        if tensor.offset < place or tensor.offset % alignment or begin + tensor.offset + tensor.size > file_bytes:
            raise MalformedError("model.gguf", f"tensor {tensor.name[:64]!r} overlaps another, or leaves the file")
        place = tensor.offset + tensor.size
        found.append(TensorInfo(tensor.name, tensor.dtype, tensor.shape, begin + tensor.offset, tensor.size))
    return found


# --- comparing --------------------------------------------------------------------------------------------------------

_FLOATS = {"F32": "f", "F64": "d", "F16": "e"}
_WHOLE = {"I8": "b", "U8": "B", "I16": "h", "U16": "H", "I32": "i", "U32": "I", "I64": "q", "U64": "Q", "BOOL": "B"}


def is_number(dtype: str) -> bool:
    """Whether elements of a type can be told as numbers here."""
    return dtype in _FLOATS or dtype in _WHOLE or dtype == "BF16"


def element_bytes(dtype: str) -> int:
    """Bytes of one element of such a type."""
    return 2 if dtype == "BF16" else struct.calcsize("<" + (_FLOATS.get(dtype) or _WHOLE[dtype]))


def numbers(dtype: str, data: bytes) -> Iterator[float]:
    """The elements of little-endian bytes of a type (:func:`is_number`)."""
    if dtype == "BF16":
        padded = b"".join(b"\0\0" + data[place : place + 2] for place in range(0, len(data), 2))
        return iter(struct.unpack(f"<{len(data) // 2}f", padded))
    form = _FLOATS.get(dtype) or _WHOLE[dtype]
    return iter(struct.unpack(f"<{len(data) // struct.calcsize('<' + form)}{form}", data))


def distance_squared(dtype: str, one: bytes, other: bytes) -> float:
    """Sum of the squared differences of two pieces of tensors of one type and size."""
    return float(sum((a - b) ** 2 for a, b in zip(numbers(dtype, one), numbers(dtype, other), strict=True)))
