"""ONNX files of a few hundred bytes, written as protocol buffers by hand: good ones, and what a hostile one looks like.

Nothing but ``struct``: tests must not need the library whose files they are about.
"""

import itertools
import struct


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    """One field: an integer as a varint, a string or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


FLOAT, INT64, STRING, DOUBLE = 1, 7, 8, 11


def tensor(name, dims, values, kind=FLOAT, **change):
    """A TensorProto with raw data."""
    letter = {FLOAT: "f", INT64: "q", DOUBLE: "d"}[kind]
    raw = change.pop("raw", struct.pack(f"<{len(values)}{letter}", *values))
    made = b"".join(field(1, size) for size in dims) + field(2, kind) + field(8, name) + field(9, raw)
    return made + change.pop("more", b"")


def value_info(name, dims, kind=FLOAT):
    """A ValueInfoProto; a dimension is a number or a name."""
    shape = b"".join(field(1, field(1, size) if isinstance(size, int) else field(2, size)) for size in dims)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def integer_attribute(name, value):
    return field(1, name) + field(3, value) + field(20, 2)


def float_attribute(name, value):
    return field(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + field(20, 1)


def graph_attribute(name, made):
    return field(1, name) + field(6, made) + field(20, 5)


def node(operator, inputs, outputs, *attributes, domain=""):
    made = b"".join(field(1, item) for item in inputs) + b"".join(field(2, item) for item in outputs)
    made += field(4, operator) + b"".join(field(5, item) for item in attributes)
    return made + (field(7, domain) if domain else b"")


def graph(nodes, inputs, outputs, initialisers=()):
    made = b"".join(field(1, item) for item in nodes) + field(2, "g")
    made += b"".join(field(5, item) for item in initialisers)
    made += b"".join(field(11, item) for item in inputs)
    return made + b"".join(field(12, item) for item in outputs)


def model(made, *, more=b"", opset=17, domains=()):
    """A ModelProto of one graph."""
    opsets = field(8, field(1, "") + field(2, opset))
    opsets += b"".join(field(8, field(1, domain) + field(2, 1)) for domain in domains)
    return field(1, 8) + field(2, "holdfast tests") + opsets + field(7, made) + more


def linear(weight=(0.5, -0.25), bias=0.125, sigmoid=False):
    """``y = x · w + b``, x of shape (n, len(w))."""
    nodes = [node("Gemm", ["x", "w", "b"], ["z" if sigmoid else "y"])]
    if sigmoid:
        nodes.append(node("Sigmoid", ["z"], ["y"]))
    initialisers = [tensor("w", [len(weight), 1], weight), tensor("b", [1], [bias])]
    made = graph(nodes, [value_info("x", ["n", len(weight)])], [value_info("y", ["n", 1])], initialisers)
    return model(made)


def perceptron(sizes, seed=1, batch="n"):
    """A perceptron with ReLU between layers, of pseudo-random weights."""
    state, nodes, initialisers, before = seed, [], [], "x"
    for number, (wide, narrow) in enumerate(itertools.pairwise(sizes)):
        weights = []
        for _ in range(wide * narrow):
            state = (state * 1103515245 + 12345) % (1 << 31)
            weights.append((state / (1 << 31) - 0.5) / wide**0.5)
        last = number == len(sizes) - 2
        after = "y" if last else f"h{number}"
        initialisers += [tensor(f"w{number}", [wide, narrow], weights), tensor(f"b{number}", [narrow], [0.01] * narrow)]
        nodes.append(node("Gemm", [before, f"w{number}", f"b{number}"], [after if last else f"z{number}"]))
        if not last:
            nodes.append(node("Relu", [f"z{number}"], [after]))
        before = after
    info = [value_info("x", [batch, sizes[0]])], [value_info("y", [batch, sizes[-1]])]
    return model(graph(nodes, *info, initialisers))


def deep(layers, rows=32, width=256):
    """``x`` of ``rows`` numbers as a column of features, through layers that share their weights: work for the
    processor, and too few weights to wait for the memory."""
    wide, column, flat = [width, width], [rows, 1], [1, rows * 8]
    weights = [(number * 7919 % 1009 / 1009 - 0.5) / width**0.5 for number in range(width * width)]
    initialisers = [
        tensor("column", [2], column, INT64),
        tensor("flat", [2], flat, INT64),
        tensor("e", [1, width], weights[:width]),
        tensor("w", wide, weights),
        tensor("b", [width], [0.01] * width),
        tensor("o", [width, 8], weights[: width * 8]),
        tensor("p", [rows * 8, 8], weights[: rows * 64]),
    ]
    nodes = [node("Reshape", ["x", "column"], ["c"]), node("MatMul", ["c", "e"], ["h0"])]
    for number in range(layers):
        nodes.append(node("Gemm", [f"h{number}", "w", "b"], [f"z{number}"]))
        nodes.append(node("Relu", [f"z{number}"], [f"h{number + 1}"]))
    nodes += [node("MatMul", [f"h{layers}", "o"], ["q"]), node("Reshape", ["q", "flat"], ["r"])]
    nodes.append(node("MatMul", ["r", "p"], ["y"]))
    return model(graph(nodes, [value_info("x", [1, rows])], [value_info("y", [1, 8])], initialisers))


def echo(kind=STRING):
    """``y = x`` of any shape of one dimension."""
    return model(
        graph([node("Identity", ["x"], ["y"])], [value_info("x", ["n"], kind)], [value_info("y", ["n"], kind)])
    )


def growing():
    """``y`` = ones of the shape that ``x`` says: as much memory as anybody asks for."""
    return model(
        graph([node("ConstantOfShape", ["x"], ["y"])], [value_info("x", [2], INT64)], [value_info("y", ["a", "b"])])
    )


def endless():
    """A loop of as many turns as ``x`` says, each of which multiplies a matrix with itself."""
    body = graph(
        [
            node("MatMul", ["before", "before"], ["squared"]),
            node("Tanh", ["squared"], ["after"]),
            node("Identity", ["go"], ["on"]),
        ],
        [value_info("turn", [], INT64), value_info("go", [], 9), value_info("before", [64, 64])],
        [value_info("on", [], 9), value_info("after", [64, 64])],
    )
    start = tensor("m", [64, 64], [0.01] * 4096)
    go = field(2, 9) + field(8, "yes") + field(9, b"\x01")
    loop = node("Loop", ["x", "yes", "m"], ["y"], graph_attribute("body", body))
    return model(graph([loop], [value_info("x", [], INT64)], [value_info("y", [64, 64])], [start, go]))
