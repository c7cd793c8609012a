"""Look at an ONNX file before anything loads it, and refuse what a hostile one would do (``spec/inference.md`` §7).

An ONNX file is one protocol buffer. :func:`check_model` walks it without the library that will run it: bounded, no
object made of what is only skipped, nothing looked up outside. What it lets through has all its bytes inside of it,
says of no tensor that it is larger than its bytes, calls only the standard operators, and ends.

Not covered: whether the operators' types fit, and what running it costs; the runtime says the one, and the process that
it runs in bounds the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from holdfast.errors import MalformedError, RefusedError

MAX_DEPTH = 16
"""Graphs within graphs (``inference.md`` §7)."""
MAX_NODES = 100_000
"""Operators of a model together (``inference.md`` §7)."""
MAX_DENSE = 1 << 26
"""Elements that a sparse tensor may stand for (``inference.md`` §2(1) bounds tensors likewise)."""
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""Whose operators may run (``inference.md`` §7)."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BITS = {
    1: 32,
    2: 8,
    3: 8,
    4: 16,
    5: 16,
    6: 32,
    7: 64,
    9: 8,
    10: 16,
    11: 64,
    12: 32,
    13: 64,
    14: 64,
    15: 128,
    16: 16,
    17: 8,
    18: 8,
    19: 8,
    20: 8,
    21: 4,
    22: 4,
    23: 4,
    24: 8,
}
"""Bits of an element by ``TensorProto.DataType``; strings (8) have none."""
_STRING_TYPE = 8
_TYPED_DATA = frozenset({4, 5, 6, 7, 10, 11})
"""Fields of a TensorProto that hold elements one by one."""
_EXTERNAL = 1
"""``TensorProto.DataLocation.EXTERNAL``."""
_LONGEST_VARINT = 10

_Key = tuple[str, str]
"""Domain and name of a function."""


@dataclass(slots=True)
class _Walk:
    """What is counted and collected on the way."""

    nodes: int = 0
    calls: dict[_Key, set[_Key]] = field(default_factory=dict)
    """By function: what it calls; the main graph is the function with two empty names."""
    domains: set[str] = field(default_factory=set)


def check_model(data: bytes) -> None:
    """Refuse a file that is no ONNX model or that should not be loaded; raises ``model.onnx`` (malformed) and
    ``model.external``, ``model.tensor``, ``model.operator``, ``model.recursion``, ``model.size``,
    ``model.training``."""
    walk = _Walk()
    functions: list[memoryview] = []
    graphs: list[memoryview] = []
    for number, value in fields_of(memoryview(data)):
        if number == 7:
            graphs.append(message_of(value))
        elif number == 25:
            functions.append(message_of(value))
        elif number == 20:
            raise RefusedError("model.training", "the model holds instructions to train it")
    if len(graphs) != 1:
        raise MalformedError("model.onnx", "not an ONNX model: it has exactly one graph")
    for function in functions:
        _function(function, walk)
    _graph(graphs[0], ("", ""), 1, walk)
    _refuse_recursion(walk.calls)
    known = DOMAINS | {domain for domain, _ in walk.calls}
    strange = sorted(walk.domains - known)
    if strange:
        raise RefusedError("model.operator", f"the model uses operators of {strange[0][:64]!r}, which nobody has here")


def read_names(data: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of a checked model's inputs and outputs, in its order; an input that the model brings a value for is none.
    Raises ``model.onnx``."""
    graph = next((message_of(value) for number, value in fields_of(memoryview(data)) if number == 7), memoryview(b""))
    taken: list[str] = []
    given: list[str] = []
    own: set[str] = set()
    for number, value in fields_of(graph):
        if number == 5:
            own.add(_named(message_of(value), 8))
        elif number == 11:
            taken.append(_named(message_of(value), 1))
        elif number == 12:
            given.append(_named(message_of(value), 1))
    return tuple(name for name in taken if name not in own), tuple(given)


def read_open_dimensions(data: bytes) -> tuple[str, ...]:
    """Names of the dimensions that a checked model's inputs leave open, each once, sorted. Raises ``model.onnx``."""
    found: set[str] = set()
    for graph in _all(memoryview(data), 7):
        for entry in _all(graph, 11):
            for shape in (shape for kind in _all(entry, 2) for tensor in _all(kind, 1) for shape in _all(tensor, 2)):
                found |= {_named(dimension, 2) for dimension in _all(shape, 1)}
    return tuple(sorted(found - {""}))


def _all(data: memoryview, field_number: int) -> list[memoryview]:
    return [message_of(value) for number, value in fields_of(data) if number == field_number]


def _named(data: memoryview, field_number: int) -> str:
    return next((text_of(value) for number, value in fields_of(data) if number == field_number), "")


def _function(data: memoryview, walk: _Walk) -> None:
    name, domain = "", ""
    nodes: list[memoryview] = []
    for number, value in fields_of(data):
        if number == 1:
            name = text_of(value)
        elif number == 10:
            domain = text_of(value)
        elif number == 7:
            nodes.append(message_of(value))
        elif number == 11:
            _attribute(message_of(value), ("", ""), 1, walk)
    key = (domain, name)
    if not name or key in walk.calls:
        raise MalformedError("model.onnx", "a function of the model has no name of its own")
    if domain in DOMAINS:
        raise RefusedError("model.operator", f"the model brings its own {name[:64]!r} for a standard operator")
    walk.calls[key] = set()
    for node in nodes:
        _node(node, key, 1, walk)


def _graph(data: memoryview, within: _Key, depth: int, walk: _Walk) -> None:
    if depth > MAX_DEPTH:
        raise RefusedError("model.recursion", f"graphs are nested deeper than {MAX_DEPTH} levels")
    for number, value in fields_of(data):
        if number == 1:
            _node(message_of(value), within, depth, walk)
        elif number == 5:
            _tensor(message_of(value))
        elif number == 15:
            _sparse(message_of(value))


def _node(data: memoryview, within: _Key, depth: int, walk: _Walk) -> None:
    walk.nodes += 1
    if walk.nodes > MAX_NODES:
        raise RefusedError("model.size", f"the model has more than {MAX_NODES} operators")
    name, domain = "", ""
    for number, value in fields_of(data):
        if number == 4:
            name = text_of(value)
        elif number == 7:
            domain = text_of(value)
        elif number == 5:
            _attribute(message_of(value), within, depth, walk)
    walk.domains.add(domain)
    walk.calls.setdefault(within, set()).add((domain, name))


def _attribute(data: memoryview, within: _Key, depth: int, walk: _Walk) -> None:
    for number, value in fields_of(data):
        if number in (6, 11):
            _graph(message_of(value), within, depth + 1, walk)
        elif number in (5, 10):
            _tensor(message_of(value))
        elif number in (22, 23):
            _sparse(message_of(value))


def _tensor(data: memoryview) -> None:
    dims: list[int] = []
    kind, raw_bytes, typed_bytes, strings = 0, None, 0, 0
    for number, value in fields_of(data):
        if number == 1:
            dims += integers_of(value)
        elif number == 2:
            kind = integer_of(value)
        elif number == 9:
            raw_bytes = len(message_of(value))
        elif number == 6:
            strings += 1
            typed_bytes += len(message_of(value))
        elif number in _TYPED_DATA:
            typed_bytes += len(value) if isinstance(value, memoryview) else 1
        elif number == 13 or (number == 14 and integer_of(value) == _EXTERNAL):
            raise RefusedError("model.external", "a tensor of the model lies outside of its file")
    elements = _product(dims)
    if kind == _STRING_TYPE:
        fits = strings == elements
    elif kind not in _BITS:
        fits = False
    elif raw_bytes is not None:
        fits = raw_bytes == -(-elements * _BITS[kind] // 8)
    else:
        fits = typed_bytes * 2 >= elements
    if not fits:
        raise RefusedError("model.tensor", f"a tensor says that it has {elements} elements and does not bring them")


def _sparse(data: memoryview) -> None:
    dims: list[int] = []
    for number, value in fields_of(data):
        if number in (1, 2):
            _tensor(message_of(value))
        elif number == 3:
            dims += integers_of(value)
    if _product(dims) > MAX_DENSE:
        raise RefusedError("model.tensor", f"a sparse tensor stands for more than {MAX_DENSE} elements")


def _product(dims: list[int]) -> int:
    if any(size < 0 for size in dims):
        raise RefusedError("model.tensor", "a tensor has a negative dimension")
    if len(dims) > 64:
        raise RefusedError("model.tensor", "a tensor has more than 64 dimensions")
    return math.prod(dims)


def _refuse_recursion(calls: Mapping[_Key, set[_Key]]) -> None:
    """A function that calls itself, by whatever way, would be written out for ever by whoever loads it."""
    done: set[_Key] = set()
    for start in calls:
        path: list[tuple[_Key, Iterator[_Key]]] = [(start, iter(sorted(calls[start])))]
        above = {start}
        while path:
            key, waiting = path[-1]
            called = next((item for item in waiting if item in calls and item not in done), None)
            if called is None:
                done.add(key)
                above.discard(key)
                path.pop()
            elif called in above:
                raise RefusedError("model.recursion", f"the function {called[1][:64]!r} calls itself")
            else:
                above.add(called)
                path.append((called, iter(sorted(calls[called]))))


# --- protocol buffers -------------------------------------------------------------------------------------------------


def fields_of(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values of one message; raises ``model.onnx``."""
    place, size = 0, len(data)
    while place < size:
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise _broken()
        if wire == _VARINT:
            integer, place = _varint(data, place)
            yield number, integer
        elif wire == _BYTES:
            length, place = _varint(data, place)
            if length > size - place:
                raise _broken()
            yield number, data[place : place + length]
            place += length
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
            if length > size - place:
                raise _broken()
            yield number, int.from_bytes(data[place : place + length], "little")
            place += length
        else:
            raise _broken()


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    for place_now in range(place, min(place + _LONGEST_VARINT, len(data))):
        byte = data[place_now]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place_now + 1
        shift += 7
    raise _broken()


def _broken() -> MalformedError:
    return MalformedError("model.onnx", "not an ONNX model: its bytes are no protocol buffer")


def message_of(value: int | memoryview) -> memoryview:
    """A message, a string or bytes within another; raises ``model.onnx``."""
    if isinstance(value, int):
        raise _broken()
    return value


def text_of(value: int | memoryview) -> str:
    """A string; raises ``model.onnx``."""
    try:
        return str(message_of(value), "utf-8")
    except UnicodeDecodeError as error:
        raise _broken() from error


def integer_of(value: int | memoryview) -> int:
    """An integer as it stands, unsigned; raises ``model.onnx``."""
    if not isinstance(value, int):
        raise _broken()
    return value


def integers_of(value: int | memoryview) -> list[int]:
    """One element of a repeated integer field, or a packed run of them; two's complement of 64 bits."""
    if isinstance(value, int):
        found = [value]
    else:
        found, place = [], 0
        while place < len(value):
            item, place = _varint(value, place)
            found.append(item)
    return [item - (1 << 64) if item >> 63 else item for item in found]
