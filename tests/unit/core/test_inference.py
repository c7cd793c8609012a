"""What ``core.inference`` does beyond what the vectors show: the way back, and limits."""

import struct

import pytest

from holdfast.core import canonical
from holdfast.core.inference import Tensor, make_tensor, parse_inference, show_inference, show_tensor
from holdfast.errors import MalformedError

ARTIFACT = "ab" * 32


def request(text):
    return parse_inference(canonical.decode_exact(text.encode()))


def test_a_request_without_objects_is_refused():
    with pytest.raises(MalformedError) as refused:
        request('{"model":"m","inputs":7}')
    assert refused.value.code == "infer.inputs"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_float_comes_back_as_it_was(dtype):
    values = [0.1, -0.0, 65504.0, 6e-8, float("inf"), float("-inf"), float("nan")]
    letter = {"float16": "e", "float32": "f", "float64": "d"}[dtype]
    data = struct.pack(f"<7{letter}", *values)
    shown = canonical.encode_exact(show_tensor(Tensor(dtype, (7,), data), "json"))
    given = request('{"model":"m","inputs":{"x":' + shown.decode() + "}}").items[0]["x"]
    assert make_tensor(given, dtype, "x").data == data


def test_outputs_as_bytes_and_as_strings():
    assert show_tensor(Tensor("uint8", (2,), b"\x01\xff"), "base64")["base64"] == "Af8="
    assert show_tensor(Tensor("string", (1,), ("a",)), "base64")["data"] == ["a"]


def test_the_answer_to_a_batch_is_an_array_also_of_one():
    answers = [{"y": Tensor("int64", (), struct.pack("<q", 7))}]
    one = show_inference(request('{"model":"m","inputs":{"x":1}}'), ARTIFACT, answers)
    many = show_inference(request('{"model":"m","inputs":[{"x":1}]}'), ARTIFACT, answers)
    assert canonical.encode_exact(one) == (
        b'{"object":"inference","model":"m","artifact":"' + ARTIFACT.encode() + b'","mode":"VANILLA",'
        b'"outputs":{"y":{"dtype":"int64","shape":[],"data":[7]}}}'
    )
    assert many["outputs"] == [one["outputs"]]
