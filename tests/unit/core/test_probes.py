"""Probes are the same for ever, and answers are held against each other element by element (``artifacts.md`` §9)."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import struct
from typing import Any

import pytest

from holdfast.core import canonical
from holdfast.core.inference import Tensor, read_elements
from holdfast.core.probes import (
    ITEMS,
    MAX_ELEMENTS,
    WORDS,
    Compared,
    Wanted,
    build_evaluation,
    compare_outputs,
    generate_probe,
    parse_probe,
)
from holdfast.errors import HoldfastError

X = Wanted("x", "float32", (None, 3))


def floats(*values: float, shape: tuple[int, ...] | None = None) -> Tensor:
    return Tensor("float32", (len(values),) if shape is None else shape, struct.pack(f"<{len(values)}f", *values))


def test_a_generated_probe_is_what_the_specification_says() -> None:
    probe = generate_probe([X])
    assert (len(probe.items), [item["x"].shape for item in probe.items[:5]]) == (
        ITEMS, [(1, 3), (2, 3), (3, 3), (4, 3), (1, 3)],
    )  # fmt: skip
    block = hashlib.sha256(b"urn:holdfast:probe:v1\0" + struct.pack("<I", 2) + b"x\0" + struct.pack("<I", 0)).digest()
    words = struct.unpack("<9H", block[:18])
    assert read_elements(probe.items[2]["x"]) == tuple(word / 16384 - 2 for word in words)
    declared = b'[{"dtype":"float32","name":"x","shape":[null,3]}]'
    assert probe.digest == hashlib.sha256(b"urn:holdfast:probe:v1\0" + declared).hexdigest()


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "int64", "uint8", "uint64", "bool"])
def test_every_type_gets_small_values(dtype: str) -> None:
    values = read_elements(generate_probe([Wanted("x", dtype, (40,))]).items[0]["x"])
    assert len(values) == 40
    assert all(-2 <= value < 8 for value in values)
    assert len(set(values)) > 1


def test_texts_are_words() -> None:
    item = generate_probe([Wanted("x", "string", (2,))]).items[0]["x"]
    assert isinstance(item.data, tuple)
    assert all(set(text.split()) <= set(WORDS) and len(text.split()) == 6 for text in item.data)
    assert item.data[0] != item.data[1]


def code(raw: bytes) -> str:
    with pytest.raises(HoldfastError) as refused:
        parse_probe(raw, "before", [X])
    return refused.value.code


def test_what_is_too_large_is_not_made_up() -> None:
    with pytest.raises(HoldfastError, match=r"probe\.inputs"):
        generate_probe([Wanted("x", "float32", (MAX_ELEMENTS + 1,))])


def test_a_probe_file_is_read_strictly() -> None:
    raw = b'{"inputs": [{"x": [[1, 2, 3]]}, {"x": {"dtype":"float32","shape":[1,3],"data":[0,0,1]}}]}'
    probe = parse_probe(raw, "after", [X])
    assert (probe.source, probe.digest, len(probe.items)) == ("after", hashlib.sha256(raw).hexdigest(), 2)
    assert read_elements(probe.items[1]["x"]) == (0.0, 0.0, 1.0)
    for wrong in (b"[]", b"{}", b'{"inputs":{}}', b'{"inputs":[],"more":1}', b'{"inputs":[{"y":[1]}]}'):
        assert code(wrong) == "probe.file"
    assert code(b'{"inputs":[{"x":[[1,2],[3]]}]}') == "infer.shape"
    assert code(b'{"inputs":[{"x":["a"]}]}') == "infer.element"
    assert code(b'{"inputs":[]}') == "infer.batch"


def compared(one: Any, other: Any) -> dict[str, Any]:
    (found,) = compare_outputs([{"y": one}], [{"y": other}])
    return found


def test_floats_are_apart_by_so_much() -> None:
    found = compared(floats(0, 1, 2, 3, shape=(2, 2)), floats(0, 1, 2.5, 2, shape=(2, 2)))
    assert (found["elements"], found["equal"], found["max_abs"], found["mean_abs"]) == (4, "0.5", "1", "0.375")
    assert found["same_label"] == "0.5", "the second row has its greatest element elsewhere"


def test_one_number_a_row_is_no_label_and_nan_equals_itself() -> None:
    found = compared(floats(float("nan"), float("inf"), shape=(2, 1)), floats(float("nan"), 1.0, shape=(2, 1)))
    assert (found["equal"], found["max_abs"], found["same_label"]) == ("0.5", "inf", None)


def test_other_types_and_shapes_are_not_compared() -> None:
    found = compared(floats(1, 2), floats(1, 2, 3))
    assert (found["elements"], found["other_shape"], found["equal"], found["max_abs"]) == (0, 1, None, None)
    found = compared(Tensor("int64", (1,), bytes(8)), floats(1))
    assert found["other_shape"] == 1
    (lost,) = compare_outputs([{"y": floats(1)}], [{}])
    assert lost["other_shape"] == 1


def test_labels_are_compared_as_they_are() -> None:
    found = compared(Tensor("string", (2,), ("a", "b")), Tensor("string", (2,), ("a", "c")))
    assert (found["equal"], found["same_label"], found["max_abs"]) == ("0.5", "0.5", None)


def test_an_evaluation_has_one_spelling_and_names_what_failed() -> None:
    run = Compared(
        "model.onnx", "11" * 32, "22" * 32, generate_probe([X]), {"runtime": "onnxruntime", "threads": 1},
        [{"y": floats(1)}, "infer.limits"], [{"y": floats(1)}, {"y": floats(2)}],
    )  # fmt: skip
    made = build_evaluation("aa" * 32, "bb" * 32, run, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    assert made["failed"] == [{"item": 1, "before": "infer.limits", "after": None}]
    assert made["outputs"][0]["elements"] == 1
    raw = canonical.encode(made)
    assert canonical.decode_signed(raw) == json.loads(raw)
