"""What an ONNX file says of itself, and how two of them differ (``spec/artifacts.md`` §8).

:func:`read_graph` reads a file that :func:`holdfast.core.onnx_model.check_model` let through: operators with their
attributes, versions of operator sets, inputs, outputs, functions, and initialisers as bytes. :func:`compare_graphs`
says what differs between two. Nothing is run, and nothing that a file says is used as a size.

Not covered: graphs within graphs, which count as an attribute and are compared by their bytes, and whether two
different graphs compute the same.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.encoding import sha256_hex
from holdfast.core.formats import element_bytes, is_number
from holdfast.core.onnx_model import fields_of, integer_of, integers_of, message_of, text_of

MOST_LISTED = 1_000
"""Operators that a comparison lists one by one; the rest is counted."""
_MOST_SHOWN = 64
"""Longest value of an attribute that is shown as it is, in characters."""
TYPES: Mapping[int, str] = {
    1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 8: "STRING", 9: "BOOL", 10: "F16", 11: "F64",
    12: "U32", 13: "U64", 14: "C64", 15: "C128", 16: "BF16", 17: "F8_E4M3", 18: "F8_E4M3_UZ", 19: "F8_E5M2",
    20: "F8_E5M2_UZ", 21: "U4", 22: "I4", 23: "F4", 24: "F8_E8M0",
}  # fmt: skip
"""``TensorProto.DataType`` to the names that other formats use (``core.formats``)."""
_WIDTHS = {2: "B", 3: "b", 4: "H", 5: "h", 6: "i", 7: "q", 9: "B", 10: "H", 12: "I", 13: "Q", 16: "H"}
"""Types whose elements stand as varints, and how raw data holds them."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One node of the graph. ``name`` is its own, or its first output's, which no other node has."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, str]
    """By name: the value in words, or what its bytes hash to."""

    def to_json(self) -> dict[str, Any]:
        return {
            "operator": self.kind,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "attributes": dict(sorted(self.attributes.items())),
        }


@dataclass(frozen=True, slots=True)
class Initialiser:
    """One tensor of the file: its type by the names of :data:`TYPES`, and its bytes, little-endian."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes


@dataclass(slots=True)
class Graph:
    """One file."""

    opsets: dict[str, int] = field(default_factory=dict)
    """By domain, ``ai.onnx`` for the standard one: the version."""
    inputs: dict[str, str] = field(default_factory=dict)
    """By name: type and shape in words, in the file's order. Initialisers are none."""
    outputs: dict[str, str] = field(default_factory=dict)
    operators: dict[str, Operator] = field(default_factory=dict)
    initialisers: dict[str, Initialiser] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    """By domain and name: SHA-256 of the function's bytes."""


def read_graph(data: bytes) -> Graph:
    """A checked file to a :class:`Graph`. Raises ``model.onnx``."""
    found = Graph()
    for number, value in fields_of(memoryview(data)):
        if number == 8:
            domain, version = "", 0
            for part, inner in fields_of(message_of(value)):
                domain = text_of(inner) if part == 1 else domain
                version = integer_of(inner) if part == 2 else version
            found.opsets[domain or "ai.onnx"] = version
        elif number == 25:
            named = {part: text_of(inner) for part, inner in fields_of(message_of(value)) if part in (1, 10)}
            found.functions[f"{named.get(10, '')}:{named.get(1, '')}"] = sha256_hex(bytes(message_of(value)))
        elif number == 7:
            _read_main(message_of(value), found)
    return found


def _read_main(data: memoryview, found: Graph) -> None:
    inputs: dict[str, str] = {}
    for number, value in fields_of(data):
        if number == 1:
            operator = _operator(message_of(value))
            found.operators[_free(operator.name, found.operators)] = operator
        elif number == 5:
            tensor = _tensor(message_of(value))
            found.initialisers[_free(tensor.name, found.initialisers)] = tensor
        elif number in (11, 12):
            name, words = _value(message_of(value))
            (inputs if number == 11 else found.outputs)[name] = words
    found.inputs = {name: words for name, words in inputs.items() if name not in found.initialisers}


def _free(name: str, taken: Mapping[str, object]) -> str:
    """A name that is not taken: files that no runtime loads may use one twice."""
    return name if name not in taken else f"{name}#{len(taken)}"


def _operator(data: memoryview) -> Operator:
    inputs, outputs, name, kind, domain = [], [], "", "", ""
    attributes: dict[str, str] = {}
    for number, value in fields_of(data):
        if number == 1:
            inputs.append(text_of(value))
        elif number == 2:
            outputs.append(text_of(value))
        elif number == 3:
            name = text_of(value)
        elif number == 4:
            kind = text_of(value)
        elif number == 7:
            domain = text_of(value)
        elif number == 5:
            attribute, words = _attribute(message_of(value))
            attributes[attribute] = words
    own = next((item for item in outputs if item), name)
    return Operator(own, f"{domain}:{kind}" if domain else kind, tuple(inputs), tuple(outputs), attributes)


def _attribute(data: memoryview) -> tuple[str, str]:
    """Name and value: numbers and short texts as they are, the rest by what its bytes hash to."""
    name, values, large = "", [], False
    for number, value in fields_of(data):
        if number == 1:
            name = text_of(value)
        elif number == 2 and isinstance(value, int):
            values.append(f"{struct.unpack('<f', struct.pack('<I', value))[0]:.9g}")
        elif number in (3, 8):
            values += [str(item) for item in integers_of(value)]
        elif number == 7:
            values += _floats(value)
        elif number in (4, 9):
            values.append(bytes(message_of(value)).decode("utf-8", "replace"))
        elif number in (5, 6, 10, 11, 22, 23):
            large = True
    words = ", ".join(values)
    if large or len(words) > _MOST_SHOWN or not words.isprintable():
        words = f"sha256 {sha256_hex(bytes(data))[:16]}"
    return name, words


def _floats(value: int | memoryview) -> list[str]:
    raw = value.to_bytes(4, "little") if isinstance(value, int) else bytes(value)
    return [f"{item:.9g}" for (item,) in struct.iter_unpack("<f", raw[: len(raw) // 4 * 4])]


def _value(data: memoryview) -> tuple[str, str]:
    name, words = "", "?"
    for number, value in fields_of(data):
        if number == 1:
            name = text_of(value)
        elif number == 2:
            for part, inner in fields_of(message_of(value)):
                words = _tensor_type(message_of(inner)) if part == 1 else words
    return name, words


def _tensor_type(data: memoryview) -> str:
    kind, dimensions = "?", None
    for number, value in fields_of(data):
        if number == 1:
            kind = TYPES.get(integer_of(value), "?")
        elif number == 2:
            dimensions = [_dimension(message_of(inner)) for part, inner in fields_of(message_of(value)) if part == 1]
    return kind if dimensions is None else f"{kind} [{', '.join(dimensions)}]"


def _dimension(data: memoryview) -> str:
    found = "?"
    for number, value in fields_of(data):
        if number == 1:
            found = str(integers_of(integer_of(value))[0])
        elif number == 2:
            found = text_of(value)
    return found


def _tensor(data: memoryview) -> Initialiser:
    shape: list[int] = []
    name, kind = "", 0
    raw: bytes | None = None
    pieces: list[bytes] = []
    numbers: list[int] = []
    for number, value in fields_of(data):
        if number == 1:
            shape += integers_of(value)
        elif number == 2:
            kind = integer_of(value)
        elif number == 8:
            name = text_of(value)
        elif number == 9:
            raw = bytes(message_of(value))
        elif number == 6:
            text = bytes(message_of(value))
            pieces += [len(text).to_bytes(8, "little"), text]
        elif number in (4, 10):
            width = 4 if number == 4 else 8
            pieces.append(value.to_bytes(width, "little") if isinstance(value, int) else bytes(value))
        elif number in (5, 7, 11):
            numbers += integers_of(value)
    if raw is None:
        raw = b"".join(pieces) + _narrow(kind, numbers)
    return Initialiser(name, TYPES.get(kind, "?"), tuple(shape), raw)


def _narrow(kind: int, numbers: Sequence[int]) -> bytes:
    """Elements that stand as varints, as raw data would hold them; by 64 bits where that does not fit."""
    letter = _WIDTHS.get(kind, "q")
    try:
        return struct.pack(f"<{len(numbers)}{letter}", *numbers)
    except struct.error:
        return b"".join((item & (1 << 64) - 1).to_bytes(8, "little") for item in numbers)


# --- comparing --------------------------------------------------------------------------------------------------------


def compare_graphs(before: Graph | None, after: Graph | None) -> dict[str, Any]:
    """What differs between two graphs, as JSON: ``opsets``, ``inputs``, ``outputs``, ``functions`` as lists of
    ``{"name","before","after"}``; ``counts``, how many of each operator; ``operators``, at most :data:`MOST_LISTED` of
    ``{"name","change","before","after"}``; and ``left_out``, how many more there are. Pure."""
    one, other = before or Graph(), after or Graph()
    listed = []
    for name in dict.fromkeys((*one.operators, *other.operators)):
        left, right = one.operators.get(name), other.operators.get(name)
        if left != right:
            change = "added" if left is None else "removed" if right is None else "changed"
            listed.append({"name": name, "change": change, "before": _json(left), "after": _json(right)})
    return {
        "opsets": _differing(one.opsets, other.opsets),
        "inputs": _differing(one.inputs, other.inputs),
        "outputs": _differing(one.outputs, other.outputs),
        "functions": _differing(one.functions, other.functions),
        "counts": _differing(_counts(one), _counts(other)),
        "operators": listed[:MOST_LISTED],
        "left_out": max(0, len(listed) - MOST_LISTED),
    }


def _json(operator: Operator | None) -> dict[str, Any] | None:
    return None if operator is None else operator.to_json()


def _counts(graph: Graph) -> Mapping[str, int]:
    return Counter(operator.kind for operator in graph.operators.values())


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "before": one.get(name), "after": other.get(name)}
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]


def elements_fit(tensor: Initialiser) -> bool:
    """Whether an initialiser's bytes are those of its shape, so that two of them can be compared element by element."""
    return is_number(tensor.dtype) and len(tensor.data) == element_bytes(tensor.dtype) * math.prod(tensor.shape)
