"""Vectors of texts from providers of OpenAI's shape: what may be asked, and what an answer has to hold
(``spec/embeddings.md``).

Not covered: vectors that an inference node computes (``core.texts``), and what vectors mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from holdfast.core.canonical import NumberText
from holdfast.core.encoding import b64_decode
from holdfast.errors import MalformedError, UsageError

ENDPOINT = "embeddings"
MOST_INPUTS = 2048
"""Texts of one request (``embeddings.md`` §1(1))."""
MOST_TOKENS = 65_536
"""Numbers in one list of tokens."""
MOST_DIMENSIONS = 65_536
_TOKEN = re.compile(r"(?:0|[1-9][0-9]{0,8})\Z")
_FLOAT_BYTES = 4


def parse_vectors_request(value: Mapping[str, Any]) -> int:
    """How many vectors a request asks for, numbers as text. Raises ``infer.inputs``, ``infer.encoding`` and
    ``infer.dimensions``."""
    if value.get("encoding_format") not in (None, "float", "base64"):
        raise MalformedError("infer.encoding", "encoding_format is float or base64", param="encoding_format")
    wanted = value.get("dimensions")
    if wanted is not None and not (
        isinstance(wanted, NumberText) and _TOKEN.match(wanted) and 0 < int(wanted) <= MOST_DIMENSIONS
    ):
        raise MalformedError("infer.dimensions", f"dimensions is 1 to {MOST_DIMENSIONS}", param="dimensions")
    given = value.get("input")
    if _is_text(given) or _is_tokens(given):
        return 1
    texts = given if isinstance(given, list) else []
    if 0 < len(texts) <= MOST_INPUTS and (all(map(_is_text, texts)) or all(map(_is_tokens, texts))):
        return len(texts)
    raise MalformedError(
        "infer.inputs",
        f"input is a text, a list of token numbers, or a list of at most {MOST_INPUTS} of one of them",
        param="input",
    )


def refuse_for_upstream(value: Mapping[str, Any], label: str) -> None:
    """What only a node that runs models understands is not asked of a provider. Raises ``infer.mode``."""
    if "mode" in value:
        raise UsageError(
            "infer.mode",
            f"{label[:64]!r} is a provider's model, and modes are for models that an inference node runs",
            hint="leave mode out",
            param="mode",
        )


def parse_vectors_answer(value: Mapping[str, Any], count: int) -> int:
    """How many numbers each of the ``count`` vectors of a response document has. Raises ``infer.answer`` where it does
    not hold exactly those, each once, all of one length."""
    data = value.get("data")
    if not isinstance(data, list) or len(data) != count or not all(isinstance(item, dict) for item in data):
        raise _wrong(f"data is a list of {count} objects, one for each input")
    if sorted(str(item.get("index")) for item in data) != sorted(map(str, range(count))):
        raise _wrong("each vector says which input it is of, and each input has one")
    lengths = {_length(item.get("embedding")) for item in data}
    if len(lengths) != 1 or 0 in lengths:
        raise _wrong("vectors are lists of numbers, or base64 of four bytes each, all of one length")
    return lengths.pop()


def _length(vector: object) -> int:
    """Numbers of a vector; 0 for what is none."""
    if isinstance(vector, list):
        return len(vector) if all(isinstance(item, NumberText) for item in vector) else 0
    if not _is_text(vector):
        return 0
    try:
        size = len(b64_decode(str(vector)))
    except MalformedError:
        return 0
    return 0 if size % _FLOAT_BYTES else size // _FLOAT_BYTES


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, NumberText)


def _is_tokens(value: object) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= MOST_TOKENS
        and all(isinstance(item, NumberText) and _TOKEN.match(item) for item in value)
    )


def _wrong(message: str) -> MalformedError:
    return MalformedError("infer.answer", message)
