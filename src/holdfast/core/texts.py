"""Embeddings and classifications as OpenAI's clients and vLLM's shape them (``spec/inference.md`` §8).

Each text of a request becomes one item, a string tensor of one element; what the model's card calls its output becomes
a vector, or the scores of the card's labels. Not covered: words and tokens, which are the model's own.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.core.canonical import NumberText
from holdfast.core.encoding import b64_encode
from holdfast.core.inference import MAX_ITEMS, MODES, STRING, Given, Inference, Tensor, read_elements
from holdfast.errors import MalformedError, RefusedError, UsageError

_MEMBERS = {
    "embeddings": frozenset({"model", "input", "encoding_format", "dimensions", "user", "mode", "holdfast"}),
    "classifications": frozenset({"model", "input", "user", "mode", "holdfast"}),
}
"""Members of a request, by endpoint (``statement.md`` §4.1)."""
_FLOATS = frozenset({"float16", "float32", "float64"})


def parse_texts(endpoint: str, value: object, *, source: str = "", target: str = "") -> Inference:
    """A request to an :class:`Inference` whose items hold one text each, as the input ``source``, of which the output
    ``target`` is wanted. Raises ``infer.*``."""
    if not isinstance(value, dict):
        raise MalformedError("infer.object", "a request is a JSON object")
    unknown = value.keys() - _MEMBERS[endpoint]
    if unknown:
        name = min(unknown)
        raise MalformedError("infer.member", f"a request has no member {name[:64]!r}", param=name[:64])
    if value.get("dimensions") is not None:
        raise UsageError(
            "infer.dimensions", "a vector has as many dimensions as its model gives it", param="dimensions"
        )
    model, mode = value.get("model"), value.get("mode", "VANILLA")
    if not _is_text(model) or not model:
        raise MalformedError("infer.model", "model is a string", param="model")
    if mode not in MODES:
        raise MalformedError("infer.mode", f"mode is one of {', '.join(MODES)}", param="mode")
    encoding = value.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise MalformedError("infer.encoding", "encoding_format is float or base64", param="encoding_format")
    given = value.get("input")
    texts = given if isinstance(given, list) else [given]
    if not 0 < len(texts) <= MAX_ITEMS or not all(map(_is_text, texts)):
        raise MalformedError("infer.inputs", f"input is a text, or a list of at most {MAX_ITEMS} texts", param="input")
    items = tuple({source: Given(STRING, (1,), (text,))} for text in texts)
    return Inference(str(model), str(mode), items, True, (target,), "base64" if encoding == "base64" else "json")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, NumberText)


def show_embeddings(inference: Inference, artifact: str, answers: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
    """The response document of ``embeddings``; raises ``model.output`` where a model gives no vector."""
    data = []
    for number, answer in enumerate(answers):
        values = _numbers(answer[inference.outputs[0]])
        shown: Any = [NumberText(repr(item)) for item in values]
        if inference.encoding == "base64":
            shown = b64_encode(struct.pack(f"<{len(values)}f", *values))
        data.append({"object": "embedding", "index": NumberText(number), "embedding": shown})
    return _list(inference, artifact, data)


def show_classifications(
    inference: Inference, artifact: str, answers: Sequence[Mapping[str, Tensor]], labels: Sequence[str]
) -> dict[str, Any]:
    """The response document of ``classifications``; raises ``model.output`` where scores and labels do not match."""
    data = []
    for number, answer in enumerate(answers):
        values = _numbers(answer[inference.outputs[0]])
        if len(values) != len(labels):
            raise RefusedError("model.output", f"the model gives {len(values)} scores, its card {len(labels)} labels")
        best = max(range(len(values)), key=values.__getitem__)
        data.append(
            {
                "object": "classification",
                "index": NumberText(number),
                "label": labels[best],
                "probs": [NumberText(repr(item)) for item in values],
                "num_classes": NumberText(len(labels)),
            }
        )
    return _list(inference, artifact, data)


def _numbers(tensor: Tensor) -> tuple[float, ...]:
    """The finite floats of one text's output."""
    values = read_elements(tensor) if tensor.dtype in _FLOATS else ()
    if not values or not all(abs(item) < float("inf") for item in values):
        raise RefusedError("model.output", "the model's output is no vector of finite numbers")
    return values


def _list(inference: Inference, artifact: str, data: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "object": "list",
        "model": inference.model,
        "artifact": artifact,
        "mode": inference.mode,
        "data": data,
    }
