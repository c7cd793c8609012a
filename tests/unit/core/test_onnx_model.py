"""What a hostile ONNX file would do, and the code it is refused with before anything loads it (``inference.md`` §7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.onnx_model import MAX_DEPTH, MAX_NODES, check_model
from holdfast.errors import HoldfastError
from tests.helpers import onnx_files as onnx

LINEAR = onnx.linear()


def with_initialiser(made):
    return onnx.model(onnx.graph([onnx.node("Identity", ["x"], ["y"])], [], [], [made]))


def with_node(made, more=b""):
    return onnx.model(onnx.graph([made], [], []), more=more)


def function(name, calls, domain="mine"):
    nodes = b"".join(onnx.field(7, onnx.node(item, ["x"], ["y"], domain=domain)) for item in calls)
    return onnx.field(25, onnx.field(1, name) + onnx.field(10, domain) + nodes)


def nested(depth):
    made = onnx.graph([onnx.node("Identity", ["x"], ["y"])], [], [])
    for _ in range(depth - 1):
        made = onnx.graph([onnx.node("If", ["c"], ["y"], onnx.graph_attribute("then_branch", made))], [], [])
    return onnx.model(made)


EXTERNAL = onnx.field(13, onnx.field(1, "location") + onnx.field(2, "../../keys/gateway.statement.pem"))
HOSTILE = {
    "a tensor outside of the file": (with_initialiser(onnx.tensor("w", [1], [1.0], more=EXTERNAL)), "model.external"),
    "the flag alone": (with_initialiser(onnx.tensor("w", [1], [1.0], more=onnx.field(14, 1))), "model.external"),
    "outside, in an attribute of a nested graph": (
        with_node(
            onnx.node(
                "If",
                ["c"],
                ["y"],
                onnx.graph_attribute(
                    "then_branch", onnx.graph([], [], [], [onnx.tensor("w", [1], [1.0], more=EXTERNAL)])
                ),
            )
        ),
        "model.external",
    ),
    "outside, in a constant": (
        with_node(
            onnx.node(
                "Constant",
                [],
                ["y"],
                onnx.field(1, "value") + onnx.field(5, onnx.tensor("", [1], [1.0], more=EXTERNAL)),
            )
        ),
        "model.external",
    ),
    "a huge tensor of few bytes": (with_initialiser(onnx.tensor("w", [1 << 40], [], raw=b"\0" * 8)), "model.tensor"),
    "a huge tensor of no bytes": (
        with_initialiser(onnx.field(1, 1 << 40) + onnx.field(2, 1) + onnx.field(8, "w")),
        "model.tensor",
    ),
    "dimensions that overflow": (with_initialiser(onnx.tensor("w", [1 << 33, 1 << 33], [], raw=b"")), "model.tensor"),
    "a negative dimension": (with_initialiser(onnx.tensor("w", [-1], [1.0])), "model.tensor"),
    "a type that nobody knows": (with_initialiser(onnx.tensor("w", [1], [1.0]) + onnx.field(2, 99)), "model.tensor"),
    "a sparse tensor that is dense nowhere": (
        onnx.model(onnx.graph([], [], []) + onnx.field(15, onnx.field(3, 1 << 30) + onnx.field(3, 1 << 30))),
        "model.tensor",
    ),
    "custom operators": (with_node(onnx.node("Run", ["x"], ["y"], domain="com.example")), "model.operator"),
    "operators of the runtime's own": (
        with_node(onnx.node("FusedConv", ["x"], ["y"], domain="com.microsoft")),
        "model.operator",
    ),
    "a standard operator of its own": (
        with_node(onnx.node("Relu", ["x"], ["y"]), function("Relu", [], "")),
        "model.operator",
    ),
    "a function that calls itself": (
        with_node(onnx.node("F", ["x"], ["y"], domain="mine"), function("F", ["F"])),
        "model.recursion",
    ),
    "two functions that call each other": (
        with_node(onnx.node("F", ["x"], ["y"], domain="mine"), function("F", ["G"]) + function("G", ["F"])),
        "model.recursion",
    ),
    "graphs nested too deep": (nested(MAX_DEPTH + 1), "model.recursion"),
    "training": (onnx.model(onnx.graph([], [], []), more=onnx.field(20, b"")), "model.training"),
    "too many operators": (
        onnx.model(onnx.field(1, onnx.node("Identity", ["x"], ["y"])) * (MAX_NODES + 1)),
        "model.size",
    ),
    "two graphs": (onnx.model(onnx.graph([], [], []), more=onnx.field(7, b"")), "model.onnx"),
    "no graph": (onnx.field(1, 8), "model.onnx"),
    "nothing": (b"", "model.onnx"),
    "text": (b"#!/bin/sh\nexit 0\n", "model.onnx"),
    "half a file": (LINEAR[:-3], "model.onnx"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_model_is_refused_before_it_is_loaded(name):
    data, code = HOSTILE[name]
    with pytest.raises(HoldfastError) as refused:
        check_model(data)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "data",
    [
        LINEAR,
        onnx.perceptron([4, 8, 2]),
        onnx.echo(),
        onnx.endless(),
        nested(MAX_DEPTH),
        with_node(onnx.node("F", ["x"], ["y"], domain="mine"), function("F", ["G", "G"]) + function("G", [])),
    ],
)
def test_an_honest_model_is_let_through(data):
    check_model(data)


@given(st.integers(0, len(LINEAR) - 1), st.integers(0, 255))
def test_a_changed_byte_is_let_through_or_refused_and_never_breaks_the_check(place, byte):
    changed = LINEAR[:place] + bytes([byte]) + LINEAR[place + 1 :]
    code = "model."
    try:
        check_model(changed)
    except HoldfastError as error:
        code = error.code
    assert code.startswith("model.")
