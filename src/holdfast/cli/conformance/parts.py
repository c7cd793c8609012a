"""Commands of what parts bind: documents, streams, dialects, marks and inferences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from holdfast.cli.conformance.arguments import Answer, Arguments, integer
from holdfast.core import canonical, parts, statements
from holdfast.core.dialects import Dialect, Speaking
from holdfast.core.dialects.anthropic import AnthropicDialect
from holdfast.core.dialects.gemini import GeminiDialect
from holdfast.core.dialects.openai import find_profile
from holdfast.core.encoding import hex_decode
from holdfast.core.fold import Fold
from holdfast.core.inference import Tensor, make_tensor, parse_inference
from holdfast.core.keys import parse_key_document
from holdfast.core.marks import MarkChain, parse_mark, verify_mark
from holdfast.core.messages.fold import fold_of
from holdfast.errors import MalformedError, UsageError

_SPEAKING: Mapping[str, Speaking] = {"anthropic": AnthropicDialect(), "gemini": GeminiDialect()}
"""Dialects that shape answers, by name."""


def _part_list(found: Sequence[parts.Part]) -> list[list[str]]:
    return [[part.label.decode(), part.data.decode()] for part in found]


def _map_parts(arguments: Arguments) -> Answer:
    document, run = arguments.one("document"), arguments.one("run")
    secret = hex_decode(arguments.one("secret"), 32)
    made = parts.commit(document, arguments.file(), parts.pseudo_random_key(run, secret))
    return {"root": made.tree.root.hex(), "size": made.tree.size, "parts": _part_list(made.parts)}


def _verify_part(arguments: Arguments) -> Answer:
    tree = statements.Tree(hex_decode(arguments.one("root"), 32), integer(arguments.one("size")))
    part = parts.verify_part(parts.parse_disclosed_part(canonical.decode(arguments.file())), tree)
    return {"label": part.label.decode()}


def _shown_tensor(tensor: Tensor) -> list[Any]:
    data = tensor.data.hex() if isinstance(tensor.data, bytes) else list(tensor.data)
    return [tensor.dtype, list(tensor.shape), data]


def _read_inference(arguments: Arguments) -> Answer:
    declared = dict(item.partition("=")[::2] for item in arguments.many("input"))
    found = parse_inference(canonical.decode_exact(arguments.file()))
    items = []
    for number, item in enumerate(found.items):
        read = {name: make_tensor(value, declared[name], f"{number}.{name}") for name, value in item.items()}
        items.append({name: _shown_tensor(tensor) for name, tensor in read.items()})
    return {"model": found.model, "mode": found.mode, "inputs": items}


def _events(raw: bytes) -> list[Any]:
    return [canonical.decode_exact(line) for line in raw.split(b"\n") if line]


def _fold(arguments: Arguments) -> Answer:
    fold = fold_of(arguments.maybe("endpoint") or "chat.completions")
    for event in _events(arguments.file()):
        fold.add(event)
    return {"parts": _part_list(parts.map_parts("response", fold.document()))}


def _dialect_request(arguments: Arguments) -> Answer:
    name = arguments.one("dialect")
    dialect: Dialect = _SPEAKING[name] if name in _SPEAKING else find_profile(name)
    try:
        prepared = dialect.prepare("chat.completions", canonical.decode_exact(arguments.file()))
    except UsageError as error:
        if error.code != "request.dialect":
            raise
        raise MalformedError(error.code, error.message) from error
    return {
        "path": prepared.path,
        "rewrites": list(prepared.rewrites),
        "ignored": list(prepared.ignored),
        "parts": _part_list(parts.map_parts("sent", prepared.document)),
    }


def _dialect_answer(arguments: Arguments) -> Answer:
    dialect, created = _SPEAKING[arguments.one("dialect")], integer(arguments.one("created"))
    document = dialect.whole(canonical.decode_exact(arguments.file()), created)
    return {"parts": _part_list(parts.map_parts("response", document))}


def _dialect_stream(arguments: Arguments) -> Answer:
    reader = _SPEAKING[arguments.one("dialect")].reader(integer(arguments.one("created")))
    fold = Fold()
    for event in _events(arguments.file()):
        for chunk in reader.take(event):
            fold.add(chunk)
    for chunk in reader.end():
        fold.add(chunk)
    return {"parts": _part_list(parts.map_parts("response", fold.document()))}


def _verify_marks(arguments: Arguments) -> Answer:
    run, secret = arguments.one("run"), hex_decode(arguments.one("secret"), 32)
    key = parse_key_document(arguments.read(arguments.one("key-document"))).key_for("statement")
    if key is None:
        raise UsageError("usage.key", "the key document has no statement key")
    chain = MarkChain(parts.pseudo_random_key(run, secret))
    answer: Answer = {"seq": 0, "parts": None, "covered": 0}
    for number, event in enumerate(_events(arguments.file()), start=1):
        chain.add(event)
        carried = event.get("holdfast")
        if isinstance(carried, dict) and "mark" in carried:
            mark, signature = parse_mark(carried["mark"])
            verify_mark(mark, signature, chain=chain, run=run, key=key)
            answer = {"seq": mark.seq, "parts": mark.parts.hex(), "covered": number}
    return answer


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "map-parts": _map_parts,
    "read-inference": _read_inference,
    "verify-part": _verify_part,
    "fold": _fold,
    "dialect-request": _dialect_request,
    "dialect-answer": _dialect_answer,
    "dialect-stream": _dialect_stream,
    "verify-marks": _verify_marks,
}
