"""embeddings: requests for vectors of upstreams, and answers (embeddings.md). One change in each case."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

from reference.cases import Writer


def write(out: Writer) -> None:
    """Write the suite."""
    requests(out)
    answers(out)


def requests(out: Writer) -> None:
    """embeddings.md §1."""

    def case(name: str, why: str, value: Any, count: int | None, code: str | None = None) -> None:
        text = value if isinstance(value, str) else json.dumps({"model": "m", **value})
        out.case(
            f"embeddings/request-{name}",
            why,
            spec="embeddings.md §1",
            run=["read-vectors-request", "request.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="MALFORMED_REQUEST" if code else None,
            result={"count": count} if count else None,
            files={"request.json": text.encode()},
        )

    case("text", "One text is one vector.", {"input": "a text"}, 1)
    case("empty-text", "Whether it is too short is the provider's to say.", {"input": ""}, 1)
    case("texts", "As many vectors as texts.", {"input": ["a", "b", "a"]}, 3)
    case("tokens", "A list of numbers is one text, in tokens.", {"input": [1, 2, 999_999_999]}, 1)
    case("lists-of-tokens", "As many vectors as lists.", {"input": [[1], [2, 3]]}, 2)
    case("most-texts", "2,048 of them.", {"input": ["a"] * 2048}, 2048)
    case("base64", "Vectors as base64.", {"input": "a", "encoding_format": "base64", "dimensions": 256}, 1)
    case(
        "nulls",
        "A member that is null is as one that is absent.",
        {"input": "a", "encoding_format": None, "dimensions": None},
        1,
    )
    case("more-members", "What is not named is passed on.", {"input": "a", "user": "x", "task": "query"}, 1)
    why = "A gateway that guesses how many vectors were asked for cannot tell a whole answer from a cut one."
    for name, value in {
        "without-input": {},
        "null-input": {"input": None},
        "no-texts": {"input": []},
        "a-number": {"input": 7},
        "an-object": {"input": {"text": "a"}},
        "texts-and-tokens": {"input": ["a", 1]},
        "an-empty-list-of-tokens": {"input": [[1], []]},
        "texts-in-lists": {"input": [["a"]]},
        "a-negative-token": {"input": [-1]},
        "half-a-token": {"input": [1.5]},
        "a-token-of-ten-digits": {"input": [1_000_000_000]},
        "too-many-texts": {"input": ["a"] * 2049},
    }.items():
        case(name, why, value, None, "infer.inputs")
    case(
        "other-encoding",
        "Neither floats nor base64.",
        {"input": "a", "encoding_format": "int8"},
        None,
        "infer.encoding",
    )
    for name, value in {"no": 0, "too-many": 65_537, "half": 1.5, "text-for": "256"}.items():
        case(
            f"{name}-dimensions",
            "No number of dimensions.",
            {"input": "a", "dimensions": value},
            None,
            "infer.dimensions",
        )


def answers(out: Writer) -> None:
    """embeddings.md §2."""

    def packed(*numbers: float) -> str:
        return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()

    def listed(*vectors: Any, **more: Any) -> dict[str, Any]:
        data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
        return {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3}, **more}

    def case(name: str, why: str, value: Any, count: int, dimensions: int | None) -> None:
        out.case(
            f"embeddings/answer-{name}",
            why,
            spec="embeddings.md §2",
            run=["read-vectors-answer", "--count", str(count), "answer.json"],
            expect="accept" if dimensions else "malformed",
            code=None if dimensions else "infer.answer",
            bug=None if dimensions else "SUBSTITUTION",
            result={"dimensions": dimensions} if dimensions else None,
            files={"answer.json": json.dumps(value).encode()},
        )

    case("floats", "A vector of three numbers.", listed([0.5, -1, 2e-3]), 1, 3)
    case("base64", "The same as float32.", listed(packed(0.5, -1, 2)), 1, 3)
    case("both", "One of each, of one length.", listed([1, 2], packed(1, 2)), 2, 2)
    turned = listed([1, 2], [3, 4])
    turned["data"].reverse()
    case("in-another-order", "Each says which input it is of.", turned, 2, 2)
    why = "Somebody would take a vector for that of another text, or a cut answer for a whole one."
    case("of-too-few", why, listed([1, 2]), 2, None)
    case("of-too-many", why, listed([1, 2], [3, 4]), 1, None)
    case("of-none", why, listed(), 1, None)
    case("without-data", why, {"object": "list"}, 1, None)
    case("of-texts", why, {"data": ["a"]}, 1, None)
    case("one-index-twice", why, {"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}, 2, None)
    case("without-index", why, {"data": [{"embedding": [1]}]}, 1, None)
    case("index-beyond", why, {"data": [{"index": 1, "embedding": [1]}]}, 1, None)
    case("of-two-lengths", why, listed([1, 2], [3]), 2, None)
    case("empty-vector", why, listed([]), 1, None)
    case("null-in-a-vector", why, listed([1, None]), 1, None)
    case("text-in-a-vector", why, listed(["1"]), 1, None)
    case("loose-base64", why, listed(packed(1).rstrip("=")), 1, None)
    case("base64-of-five-bytes", why, listed(base64.b64encode(b"12345").decode()), 1, None)
    case("empty-base64", why, listed(""), 1, None)
    case("without-vector", why, {"data": [{"index": 0}]}, 1, None)
