"""Probes: inputs that two models are both asked, and what their answers have in common (``spec/artifacts.md`` §9).

``generate_probe`` makes inputs from what a model declares, the same ones for ever; ``parse_probe`` reads those that a
model brings in a file of its own. ``compare_outputs`` says how far answers are apart, and ``build_evaluation`` puts all
of it into a document that a change of a label can name. Pure: running models is the caller's.

Rules: the same probe for both; an item that one of the two refuses counts as failed and is compared with nothing; no
number is a float of JSON, so that a document has one spelling.

Not covered: whether a probe is a good one. A generated one says how two models differ on numbers out of a hat.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.inference import DTYPES, STRING, Tensor, make_tensor, parse_inference, read_elements
from holdfast.errors import MalformedError, RefusedError

EVALUATION_TYPE = "urn:holdfast:evaluation:v1"
"""``type`` of an evaluation (``artifacts.md`` §9(4))."""
PROBE_FILE = "probe.json"
"""The file of an artifact that holds a probe of its own."""
PROBE_DOMAIN = b"urn:holdfast:probe:v1\x00"
"""What every number of a generated probe is hashed from, before item, input and place (``artifacts.md`` §9(2))."""
ITEMS = 16
"""Items of a generated probe."""
MAX_ELEMENTS = 1 << 20
"""Most elements of one generated input."""
WORDS = ("good", "bad", "card", "late", "payment", "never", "please", "lost", "account", "thanks", "urgent", "hello")
"""What generated texts are made of."""
_FLOATS = {"float16": "e", "float32": "f", "float64": "d"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """An input or output as a model declares it; None where a dimension is open."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """Inputs for both models. ``source`` is ``generated``, or ``before`` or ``after``: whose file it is."""

    source: str
    digest: str
    """SHA-256 (hex) of the file, or of what a generated probe is made from."""
    items: tuple[Mapping[str, Tensor], ...]


# --- probes -----------------------------------------------------------------------------------------------------------


def generate_probe(inputs: Sequence[Wanted]) -> Probe:
    """The generated probe of declared inputs (§9(2)). Raises ``probe.inputs`` for what is too large to make."""
    declared = canonical.encode([{"name": one.name, "dtype": one.dtype, "shape": list(one.shape)} for one in inputs])
    items = tuple({one.name: _tensor(one, number) for one in inputs} for number in range(ITEMS))
    return Probe("generated", sha256_hex(PROBE_DOMAIN + declared), items)


def _tensor(wanted: Wanted, number: int) -> Tensor:
    open_size = 1 + number % 4
    shape = tuple(open_size if size is None else size for size in wanted.shape)
    count = math.prod(shape)
    if count > MAX_ELEMENTS:
        raise RefusedError(
            "probe.inputs", f"the input {wanted.name[:64]!r} is too large to make up: bring a probe.json"
        )
    seed = PROBE_DOMAIN + struct.pack("<I", number) + wanted.name.encode() + b"\0"
    if wanted.dtype == STRING:
        return Tensor(STRING, shape, tuple(_text(seed, place) for place in range(count)))
    return Tensor(wanted.dtype, shape, b"".join(_element(wanted.dtype, word) for word in _draw(seed, count)))


def _draw(seed: bytes, count: int) -> list[int]:
    """So many numbers below 2^16, of SHA-256 over the seed and a counter."""
    blocks = [hashlib.sha256(seed + struct.pack("<I", place)).digest() for place in range(-(-count // 16))]
    return [word for block in blocks for (word,) in struct.iter_unpack("<H", block)][:count]


def _text(seed: bytes, place: int) -> str:
    return " ".join(WORDS[word % len(WORDS)] for word in _draw(seed + b"text" + struct.pack("<I", place), 6))


def _element(dtype: str, word: int) -> bytes:
    """A float in [-2, 2), an integer below 8, a truth value."""
    if dtype in _FLOATS:
        return struct.pack("<" + _FLOATS[dtype], word / 16384 - 2)
    width = DTYPES[dtype][1]
    return (word % (2 if dtype == "bool" else 8)).to_bytes(width, "little")


def parse_probe(raw: bytes, source: str, inputs: Sequence[Wanted]) -> Probe:
    """A probe file: ``{"inputs": [...]}`` with items as in ``inference.md`` §1. Raises ``probe.file``,
    ``infer.*`` or ``json.*``."""
    value = canonical.decode_exact(raw)
    if not isinstance(value, dict) or value.keys() != {"inputs"} or not isinstance(value["inputs"], list):
        raise MalformedError("probe.file", f"{PROBE_FILE} has exactly inputs, a list of items")
    asked = parse_inference({"model": "probe", "inputs": value["inputs"]})
    types = {one.name: one.dtype for one in inputs}
    items = []
    for item in asked.items:
        if item.keys() != types.keys():
            raise MalformedError("probe.file", f"an item of {PROBE_FILE} has other inputs than the model")
        items.append({name: make_tensor(given, types[name], name) for name, given in item.items()})
    return Probe(source, sha256_hex(raw), tuple(items))


# --- comparing --------------------------------------------------------------------------------------------------------

Answers = Sequence[Mapping[str, Tensor] | str]
"""For each item the outputs, or the code of the refusal."""


def compare_outputs(before: Answers, after: Answers) -> list[dict[str, Any]]:
    """Output by output, over the items that both answered (§9(3)). Pure."""
    pairs = [
        (one, other)
        for one, other in zip(before, after, strict=True)
        if not isinstance(one, str) and not isinstance(other, str)
    ]
    names = dict.fromkeys(name for one, other in pairs for name in (*one, *other))
    return [_compare(name, [(one.get(name), other.get(name)) for one, other in pairs]) for name in names]


def _compare(name: str, pairs: Sequence[tuple[Tensor | None, Tensor | None]]) -> dict[str, Any]:
    unlike, elements, equal, labels, same = 0, 0, 0, 0, 0
    apart: list[float] = []
    for one, other in pairs:
        if one is None or other is None or (one.dtype, one.shape) != (other.dtype, other.shape):
            unlike += 1
            continue
        first, second = read_elements(one), read_elements(other)
        elements += len(first)
        equal += sum(_is_equal(a, b) for a, b in zip(first, second, strict=True))
        if one.dtype in _FLOATS:
            apart += [_apart(a, b) for a, b in zip(first, second, strict=True)]
            rows = _labels(first, one.shape), _labels(second, other.shape)
        else:
            rows = list(first), list(second)
        labels += len(rows[0])
        same += sum(_is_equal(a, b) for a, b in zip(*rows, strict=True))
    return {
        "name": name,
        "elements": elements,
        "other_shape": unlike,
        "equal": _share(equal, elements),
        "max_abs": f"{max(apart):.6g}" if apart else None,
        "mean_abs": f"{math.fsum(apart) / len(apart):.6g}" if apart else None,
        "same_label": _share(same, labels),
    }


def _is_equal(one: object, other: object) -> bool:
    return one == other or (one != one and other != other)  # noqa: PLR0124 - what is not a number is equal to itself


def _apart(one: float, other: float) -> float:
    return 0.0 if _is_equal(one, other) else abs(one - other)


def _labels(elements: Sequence[float], shape: tuple[int, ...]) -> list[int]:
    """For each row of scores the place of the greatest, the first of equals; nothing where a row is one number."""
    wide = shape[-1] if shape else 1
    if wide < 2:
        return []
    rows = (elements[place : place + wide] for place in range(0, len(elements), wide))
    return [max(range(wide), key=lambda place, row=row: (row[place], -place)) for row in rows]  # type: ignore[misc]


def _share(part: int, whole: int) -> str | None:
    return None if not whole else f"{part / whole:.6g}"


@dataclass(frozen=True, slots=True)
class Compared:
    """One file of two artifacts, run on one probe."""

    file: str
    before: str
    after: str
    """SHA-256 (hex) of the file in each."""
    probe: Probe
    conditions: Mapping[str, str | int]
    answers_before: Answers
    answers_after: Answers


def build_evaluation(before: str, after: str, compared: Compared, at: dt.datetime) -> dict[str, Any]:
    """The evaluation of two artifacts (hex digests) as a value of canonical JSON (§9(4))."""
    failed = [
        {
            "item": number,
            "before": one if isinstance(one, str) else None,
            "after": other if isinstance(other, str) else None,
        }
        for number, (one, other) in enumerate(zip(compared.answers_before, compared.answers_after, strict=True))
        if isinstance(one, str) or isinstance(other, str)
    ]
    return {
        "type": EVALUATION_TYPE,
        "at": time_encode(at),
        "before": before,
        "after": after,
        "file": {"name": compared.file, "before": compared.before, "after": compared.after},
        "probe": {"source": compared.probe.source, "sha256": compared.probe.digest, "items": len(compared.probe.items)},
        "conditions": dict(compared.conditions),
        "failed": failed,
        "outputs": compare_outputs(compared.answers_before, compared.answers_after),
    }
