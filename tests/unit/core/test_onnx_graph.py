"""What an ONNX file says of itself, and what differs between two (``artifacts.md`` §8)."""

from __future__ import annotations

import struct

import pytest

from holdfast.core.formats import distance_squared
from holdfast.core.onnx_graph import MOST_LISTED, Graph, compare_graphs, elements_fit, read_graph
from holdfast.core.onnx_model import check_model
from tests.helpers import onnx_files as onnx

PLAIN = onnx.linear()


def graph(data: bytes) -> Graph:
    check_model(data)
    return read_graph(data)


def test_a_graph_is_read() -> None:
    found = graph(PLAIN)
    assert (found.opsets, found.inputs, found.outputs) == (
        {"ai.onnx": 17}, {"x": "F32 [n, 2]"}, {"y": "F32 [n, 1]"},
    )  # fmt: skip
    (operator,) = found.operators.values()
    assert (operator.name, operator.kind, operator.inputs) == ("y", "Gemm", ("x", "w", "b"))
    assert found.initialisers["w"].data == struct.pack("<2f", 0.5, -0.25)
    assert (found.initialisers["w"].shape, found.initialisers["w"].dtype) == ((2, 1), "F32")


def test_a_graph_differs_from_itself_in_nothing() -> None:
    found = compare_graphs(graph(PLAIN), graph(PLAIN))
    assert {name: value for name, value in found.items() if value} == {}


def test_operators_opsets_inputs_and_counts_that_differ_are_told() -> None:
    other = onnx.linear(weight=(0.5, -0.25, 1.0), sigmoid=True)
    found = compare_graphs(graph(PLAIN), graph(other))
    assert found["inputs"] == [{"name": "x", "before": "F32 [n, 2]", "after": "F32 [n, 3]"}]
    assert found["counts"] == [{"name": "Sigmoid", "before": None, "after": 1}]
    assert [(item["name"], item["change"]) for item in found["operators"]] == [("y", "changed"), ("z", "added")]
    newer = onnx.model(onnx.graph([], [], []), opset=21)
    assert compare_graphs(graph(onnx.model(onnx.graph([], [], []))), graph(newer))["opsets"] == [
        {"name": "ai.onnx", "before": 17, "after": 21}
    ]


def test_attributes_are_told_by_their_values_and_large_ones_by_a_hash() -> None:
    def with_attribute(*attributes: bytes) -> Graph:
        return graph(onnx.model(onnx.graph([onnx.node("Gemm", ["x"], ["y"], *attributes)], [], [])))

    def attributes(found: Graph) -> dict[str, str]:
        return dict(found.operators["y"].attributes)

    assert attributes(with_attribute(onnx.integer_attribute("axis", -1), onnx.float_attribute("alpha", 0.25))) == {
        "axis": "-1",
        "alpha": "0.25",
    }
    floats = onnx.field(1, "scales") + onnx.field(7, struct.pack("<2f", 1.5, -2.0))
    texts = onnx.field(1, "keys") + onnx.field(9, "a") + onnx.field(9, "b")
    assert attributes(with_attribute(floats, texts)) == {"scales": "1.5, -2", "keys": "a, b"}
    nested = onnx.graph_attribute("body", onnx.graph([onnx.node("Relu", ["a"], ["b"])], [], []))
    assert attributes(with_attribute(nested))["body"].startswith("sha256 ")
    assert attributes(with_attribute(onnx.field(1, "t") + onnx.field(4, "x" * 65)))["t"].startswith("sha256 ")
    assert attributes(with_attribute(onnx.field(1, "t") + onnx.field(4, b"\x1b[2J")))["t"].startswith("sha256 ")


def test_functions_are_told_by_their_bytes() -> None:
    def with_function(name: str) -> Graph:
        made = onnx.field(
            25, onnx.field(1, name) + onnx.field(10, "mine") + onnx.field(7, onnx.node("Relu", ["x"], ["y"]))
        )
        return graph(onnx.model(onnx.graph([], [], []), more=made))

    found = compare_graphs(with_function("f"), with_function("g"))
    assert [item["name"] for item in found["functions"]] == ["mine:f", "mine:g"]


@pytest.mark.parametrize(
    ("kind", "number", "value", "dtype", "data"),
    [
        (1, 4, struct.pack("<2f", 1.0, -1.0), "F32", struct.pack("<2f", 1.0, -1.0)),
        (11, 10, struct.pack("<2d", 1.0, -1.0), "F64", struct.pack("<2d", 1.0, -1.0)),
        (7, 7, onnx.varint(5) + onnx.varint(-5), "I64", struct.pack("<2q", 5, -5)),
        (3, 5, onnx.varint(5) + onnx.varint(-5), "I8", struct.pack("<2b", 5, -5)),
        (10, 5, onnx.varint(0x3C00) + onnx.varint(0xBC00), "F16", struct.pack("<2e", 1.0, -1.0)),
        (13, 11, onnx.varint(1) + onnx.varint(1 << 63), "U64", None),
    ],
)
def test_elements_one_by_one_are_the_bytes_that_raw_data_would_have(
    kind: int, number: int, value: bytes, dtype: str, data: bytes | None
) -> None:
    made = onnx.field(1, 2) + onnx.field(2, kind) + onnx.field(8, "w") + onnx.field(number, value)
    tensor = graph(onnx.model(onnx.graph([], [], [], [made]))).initialisers["w"]
    assert tensor.dtype == dtype
    if data is not None:
        assert (tensor.data, elements_fit(tensor)) == (data, True)
        assert distance_squared(dtype, tensor.data, tensor.data) == 0


def test_names_that_occur_twice_are_told_apart() -> None:
    nodes = [onnx.node("Relu", ["x"], ["y"]), onnx.node("Abs", ["x"], ["y"])]
    tensors = [onnx.tensor("w", [1], [1.0]), onnx.tensor("w", [1], [2.0])]
    found = graph(onnx.model(onnx.graph(nodes, [], [], tensors)))
    assert (len(found.operators), len(found.initialisers)) == (2, 2)


def test_no_more_operators_are_listed_than_there_is_room_for() -> None:
    nodes = [onnx.node("Relu", ["x"], [f"y{number}"]) for number in range(MOST_LISTED + 5)]
    found = compare_graphs(None, graph(onnx.model(onnx.graph(nodes, [], []))))
    assert (len(found["operators"]), found["left_out"]) == (MOST_LISTED, 5)


def test_what_is_an_input_and_an_initialiser_is_no_input() -> None:
    made = onnx.graph([], [onnx.value_info("x", ["n"]), onnx.value_info("w", [1])], [], [onnx.tensor("w", [1], [1.0])])
    assert list(graph(onnx.model(made)).inputs) == ["x"]
