"""Embeddings and classifications: what is refused, and the shapes that OpenAI's and vLLM's clients read."""

import base64
import json
import struct

import pytest

from holdfast.core import canonical
from holdfast.core.inference import Tensor
from holdfast.core.texts import parse_texts, show_classifications, show_embeddings
from holdfast.errors import HoldfastError

ARTIFACT = "ab" * 32


def request(text, endpoint="embeddings"):
    value = canonical.decode_exact(text.encode())
    return parse_texts(endpoint, value, source="text", target="vector")


def floats(*values):
    return {"vector": Tensor("float32", (1, len(values)), struct.pack(f"<{len(values)}f", *values))}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[]", "infer.object"),
        ('{"input":"a"}', "infer.model"),
        ('{"model":7,"input":"a"}', "infer.model"),
        ('{"model":"m"}', "infer.inputs"),
        ('{"model":"m","input":[]}', "infer.inputs"),
        ('{"model":"m","input":[1,2]}', "infer.inputs"),
        ('{"model":"m","input":"a","dimensions":3}', "infer.dimensions"),
        ('{"model":"m","input":"a","encoding_format":"hex"}', "infer.encoding"),
        ('{"model":"m","input":"a","mode":"tee"}', "infer.mode"),
        ('{"model":"m","input":"a","stop":"x"}', "infer.member"),
    ],
)
def test_what_is_no_request_is_refused(text, code):
    with pytest.raises(HoldfastError) as refused:
        request(text)
    assert refused.value.code == code


def test_a_classification_has_no_encoding():
    with pytest.raises(HoldfastError) as refused:
        request('{"model":"m","input":"a","encoding_format":"float"}', "classifications")
    assert refused.value.code == "infer.member"


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("int64", (1,), bytes(8)),
        Tensor("float32", (1,), struct.pack("<f", float("nan"))),
        Tensor("float32", (0,), b""),
    ],
)
def test_an_output_that_is_no_vector_is_refused(tensor):
    with pytest.raises(HoldfastError) as refused:
        show_embeddings(request('{"model":"m","input":"a"}'), ARTIFACT, [{"vector": tensor}])
    assert refused.value.code == "model.output"


def test_scores_without_labels_are_refused():
    with pytest.raises(HoldfastError) as refused:
        show_classifications(request('{"model":"m","input":"a"}', "classifications"), ARTIFACT, [floats(1, 2)], ["one"])
    assert refused.value.code == "model.output"


def test_texts_become_items_of_their_own():
    found = request('{"model":"m","input":["a","b"]}')
    assert [item["text"].elements for item in found.items] == [("a",), ("b",)]
    assert found.outputs == ("vector",)


def test_vectors_as_numbers_and_as_bytes():
    shown = json.loads(
        canonical.encode_exact(show_embeddings(request('{"model":"m","input":"a"}'), ARTIFACT, [floats(0.5, -1)]))
    )
    assert shown["data"] == [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}]
    assert (shown["object"], shown["artifact"], shown["mode"]) == ("list", ARTIFACT, "VANILLA")
    asked = request('{"model":"m","input":"a","encoding_format":"base64"}')
    coded = show_embeddings(asked, ARTIFACT, [floats(0.5, -1)])["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(coded)) == (0.5, -1.0)


def test_the_first_of_equal_scores_is_the_label():
    asked = request('{"model":"m","input":"a"}', "classifications")
    shown = json.loads(
        canonical.encode_exact(show_classifications(asked, ARTIFACT, [floats(0.5, 0.5)], ["good", "bad"]))
    )
    assert shown["data"] == [
        {"object": "classification", "index": 0, "label": "good", "probs": [0.5, 0.5], "num_classes": 2}
    ]
