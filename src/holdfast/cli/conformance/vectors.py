"""Commands of vectors that upstreams answer with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, exact_object, integer
from holdfast.core.vectors import parse_vectors_answer, parse_vectors_request


def _read_vectors_request(arguments: Arguments) -> Answer:
    return {"count": parse_vectors_request(exact_object(arguments.file()))}


def _read_vectors_answer(arguments: Arguments) -> Answer:
    count = integer(arguments.one("count"))
    return {"dimensions": parse_vectors_answer(exact_object(arguments.file()), count)}


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "read-vectors-request": _read_vectors_request,
    "read-vectors-answer": _read_vectors_answer,
}
