"""Commands that decode one thing by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments
from holdfast.core import canonical, notes, quilt, rounds, walrus
from holdfast.core.admissions import parse_admission, verify_observation, verify_quorum
from holdfast.core.artifact_changes import parse_change
from holdfast.core.context import parse_context
from holdfast.core.decisions import parse_decision_document
from holdfast.core.encoding import b64_decode, hex_decode, time_decode
from holdfast.core.files import parse_file_document
from holdfast.core.keys import parse_key_document
from holdfast.core.payments import parse_payment_document, verify_amounts
from holdfast.core.proofs import parse_proof_document
from holdfast.core.recalls import parse_recall_document
from holdfast.core.witness import parse_add_checkpoint
from holdfast.errors import UsageError


def _hold_admission(raw: bytes) -> None:
    """A document, and whether it holds by itself (``admission.md`` §3(6), §5(4))."""
    document = parse_admission(raw)
    verify_observation(document)
    verify_quorum(document, {})


def _decode(arguments: Arguments) -> Answer:
    if not arguments.rest:
        raise UsageError("usage.kind", "what should be decoded?")
    kind = arguments.rest.pop(0)
    raw = arguments.file()
    decoders: dict[str, Callable[[bytes], object]] = {
        "json": canonical.decode,
        "canonical": canonical.decode_signed,
        "hex": lambda value: hex_decode(value.decode("utf-8", "replace")),
        "base64": lambda value: b64_decode(value.decode("utf-8", "replace")),
        "time": lambda value: time_decode(value.decode("utf-8", "replace")),
        "vkey": lambda value: notes.parse_vkey(value.decode("utf-8", "replace")),
        "key-document": parse_key_document,
        "walrus-id": lambda value: walrus.parse_id(value.decode("utf-8", "replace")),
        "walrus-patch-id": lambda value: quilt.parse_patch_id(value.decode("utf-8", "replace")),
        "decision-document": parse_decision_document,
        "payment-document": lambda value: verify_amounts(parse_payment_document(value)),
        "proof-document": parse_proof_document,
        "admission-document": _hold_admission,
        "artifact-change": parse_change,
        "recall-document": parse_recall_document,
        "file-document": parse_file_document,
        "context": lambda value: parse_context(value.decode("utf-8", "replace")),
        "add-checkpoint": parse_add_checkpoint,
        "verdict-blob": rounds.parse_verdict_blob,
    }
    if kind not in decoders:
        raise UsageError("usage.kind", f"unknown kind {kind}")
    decoders[kind](raw)
    return {}


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "decode": _decode,
}
