"""Bundles: the file an offline verifier reads (``spec/bundle.md``).

``parse_bundle`` turns bytes into typed evidence items, in journal order; a malformed item makes the whole bundle
malformed. ``build_bundle`` is its inverse. Nothing here is checked beyond its shape: see ``verifier.appraisal``.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from holdfast.core import admissions, artifact_changes, canonical, evm, payments, proofs, recalls, rounds
from holdfast.core.admissions import Admission, parse_admission
from holdfast.core.artifact_changes import ArtifactChange, parse_change
from holdfast.core.decisions import SALT_BYTES, CasePath, DecisionDocument, parse_case_path, parse_decision_document
from holdfast.core.encoding import b64_decode, hex_decode, sha256_hex, time_decode, time_encode
from holdfast.core.files import FileDocument, parse_file_document
from holdfast.core.marks import Mark, parse_mark
from holdfast.core.parts import DOCUMENTS, DisclosedPart, parse_disclosed_part
from holdfast.core.payments import PaymentDocument, parse_payment_document
from holdfast.core.proofs import ProofDocument, parse_proof_document
from holdfast.core.recalls import RecallDocument, parse_recall_document
from holdfast.core.statements import Statement, is_code, is_run_id, parse_envelope, parse_statement
from holdfast.errors import MalformedError, UsageError

BUNDLE_TYPE = "urn:holdfast:bundle:v1"
"""``type`` of a bundle (``bundle.md`` §1)."""
MAX_BUNDLE_BYTES = 64 * 1024 * 1024
"""Larger bundles are refused unread (``bundle.md`` §1)."""
MAX_ITEMS = 65_536
"""Evidence items of one bundle (``bundle.md`` §2)."""
MOST_OF = {
    "statement": 1024,
    "document": 16,
    "attestation": 64,
    "checkpoint": 1024,
    "commitment": 1024,
    "candidate": 4096,
    "finality": 256,
    "decision": 1024,
    "payment": 1024,
    "proof": 4,
    "admission": 1024,
    "change": 64,
    "recall": 16,
    "file": 16,
    "policy": 4,
}
"""Most items of the kinds that cost much to check or are compared with each other (``bundle.md`` §2)."""
POLICY_SALT_BYTES = 32
"""Of the digest of a route's policies (``statement.md`` §4.1(7))."""
MAX_PROOF = 64
"""Hashes in one Merkle path: a tree has at most 2^64 leaves."""


@dataclass(frozen=True, slots=True)
class StatementItem:
    statement: Statement


@dataclass(frozen=True, slots=True)
class PartsItem:
    parts: tuple[DisclosedPart, ...]


@dataclass(frozen=True, slots=True)
class DocumentItem:
    """A full disclosure: the document's JSON text and the run secret."""

    document: str
    text: str
    secret: bytes


@dataclass(frozen=True, slots=True)
class MarkItem:
    mark: Mark
    signature: bytes


@dataclass(frozen=True, slots=True)
class AttestationItem:
    node: str
    format: str
    evidence: bytes


@dataclass(frozen=True, slots=True)
class EntryItem:
    digest: str
    index: int


@dataclass(frozen=True, slots=True)
class InclusionItem:
    digest: str
    index: int
    size: int
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class CheckpointItem:
    note: str


@dataclass(frozen=True, slots=True)
class CommitmentItem:
    entry: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class CandidateItem:
    candidate: rounds.Candidate


@dataclass(frozen=True, slots=True)
class VotesItem:
    number: int
    attempt: int
    voters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerdictItem:
    number: int
    entry: rounds.VerdictEntry
    position: int
    size: int
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class FinalityItem:
    candidate: rounds.Candidate
    messages: tuple[rounds.FinalityMessage, ...]


@dataclass(frozen=True, slots=True)
class DecisionItem:
    """What opens the record of a decision statement: its document (and the exact bytes), salt and, in a batch, path."""

    digest: str
    document: DecisionDocument
    raw: bytes
    salt: bytes
    path: CasePath | None


@dataclass(frozen=True, slots=True)
class PaymentItem:
    """What opens the record of a payment statement: its document (and the exact bytes) and salt."""

    digest: str
    document: PaymentDocument
    raw: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class ProofItem:
    """What opens the record of a ``proved`` statement: its document (and the exact bytes) and salt."""

    digest: str
    document: ProofDocument
    raw: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class AdmissionItem:
    """What opens the record of an admission: its document (and the exact bytes), its salt, and, where it is shown, the
    definition of its source as bytes."""

    digest: str
    document: Admission
    raw: bytes
    salt: bytes
    definition: bytes | None


@dataclass(frozen=True, slots=True)
class ChangeItem:
    """What opens the record of an artifact statement: its document (and the exact bytes) and salt."""

    digest: str
    change: ArtifactChange
    raw: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class RecallItem:
    """What opens the record of a recall: its document (and the exact bytes) and salt."""

    digest: str
    document: RecallDocument
    raw: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class FileItem:
    """What was read in a file that was attached: the digest that it is shown by, the document and its exact bytes."""

    digest: str
    document: FileDocument
    raw: bytes


@dataclass(frozen=True, slots=True)
class PolicyItem:
    """What opens the policies that a route names: the exact bytes of their document, and the salt."""

    digest: str
    raw: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class SilenceItem:
    """Which of the full nodes that the exporter asked did not answer. Its word, and information only."""

    silent: tuple[str, ...]
    """Names as the exporter calls them, ascending; empty once all answered."""
    asked: int


@dataclass(frozen=True, slots=True)
class NoteItem:
    code: str


Item: TypeAlias = (
    StatementItem
    | PartsItem
    | DocumentItem
    | MarkItem
    | AttestationItem
    | EntryItem
    | InclusionItem
    | CheckpointItem
    | CommitmentItem
    | CandidateItem
    | VotesItem
    | VerdictItem
    | FinalityItem
    | DecisionItem
    | PaymentItem
    | ProofItem
    | AdmissionItem
    | ChangeItem
    | PolicyItem
    | RecallItem
    | FileItem
    | SilenceItem
    | NoteItem
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal entry: its position (from 1), when the exporter came to know it, and what it is."""

    position: int
    at: dt.datetime
    item: Item


@dataclass(frozen=True, slots=True)
class Bundle:
    """A well-formed bundle; ``digest`` is the SHA-256 of its bytes."""

    run: str
    exported_at: dt.datetime
    journal: tuple[Entry, ...]
    digest: str

    def until(self, known: int | None) -> tuple[Entry, ...]:
        """What is read: the journal up to position ``known``, all of it when None (``bundle.md`` §4)."""
        return self.journal if known is None else self.journal[: max(known, 0)]


def _members(value: Mapping[str, Any], names: str) -> None:
    if value.keys() != {"kind", "at", *names.split()}:
        raise MalformedError("bundle.fields", f"a {value['kind']} item has exactly kind, at, {names}")


def _count(value: object, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise MalformedError("bundle.number", f"expected an integer of at least {least}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise MalformedError("bundle.text", "expected a string")
    return value


def _array(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedError("bundle.array", "expected an array")
    return value


def _proof(value: object) -> tuple[bytes, ...]:
    path = _array(value)
    if len(path) > MAX_PROOF:
        raise MalformedError("bundle.proof", f"a path has at most {MAX_PROOF} hashes")
    return tuple(hex_decode(item, 32) for item in path)


def _digest(value: object) -> str:
    return hex_decode(value, 32).hex()


def _statement(value: Mapping[str, Any]) -> Item:
    _members(value, "envelope")
    envelope = value["envelope"]
    if not isinstance(envelope, dict):
        raise MalformedError("bundle.fields", "an envelope is an object")
    return StatementItem(parse_statement(parse_envelope(canonical.encode(envelope))))


def _parts(value: Mapping[str, Any]) -> Item:
    _members(value, "parts")
    return PartsItem(tuple(parse_disclosed_part(item) for item in _array(value["parts"])))


def _document(value: Mapping[str, Any]) -> Item:
    _members(value, "document text secret")
    if value["document"] not in DOCUMENTS:
        raise MalformedError("bundle.fields", "unknown document")
    return DocumentItem(value["document"], _text(value["text"]), hex_decode(value["secret"], 32))


def _mark(value: Mapping[str, Any]) -> Item:
    _members(value, "mark")
    return MarkItem(*parse_mark(value["mark"]))


def _attestation(value: Mapping[str, Any]) -> Item:
    _members(value, "node format evidence")
    if not is_code(value["format"]):
        raise MalformedError("bundle.fields", "an attestation format is a code")
    return AttestationItem(_digest(value["node"]), value["format"], b64_decode(value["evidence"]))


def _entry(value: Mapping[str, Any]) -> Item:
    _members(value, "digest index")
    return EntryItem(_digest(value["digest"]), _count(value["index"]))


def _inclusion(value: Mapping[str, Any]) -> Item:
    _members(value, "digest index size proof")
    return InclusionItem(
        _digest(value["digest"]), _count(value["index"]), _count(value["size"], 1), _proof(value["proof"])
    )


def _checkpoint(value: Mapping[str, Any]) -> Item:
    _members(value, "note")
    return CheckpointItem(_text(value["note"]))


def _commitment(value: Mapping[str, Any]) -> Item:
    _members(value, "entry salt")
    return CommitmentItem(b64_decode(value["entry"]), hex_decode(value["salt"], 32))


def _candidate(value: Mapping[str, Any]) -> Item:
    _members(value, "round")
    return CandidateItem(rounds.parse_candidate(value["round"]))


def _votes(value: Mapping[str, Any]) -> Item:
    _members(value, "number attempt voters")
    voters = tuple(evm.parse_address(item) for item in _array(value["voters"]))
    return VotesItem(_count(value["number"], 1), _count(value["attempt"]), voters)


def _verdict(value: Mapping[str, Any]) -> Item:
    _members(value, "number index digest code position size proof")
    verdict = rounds.VerdictEntry(
        _count(value["index"]), hex_decode(value["digest"], 32), rounds.parse_verdict_code(value["code"])
    )
    return VerdictItem(
        _count(value["number"], 1),
        verdict,
        _count(value["position"]),
        _count(value["size"], 1),
        _proof(value["proof"]),
    )


def _finality(value: Mapping[str, Any]) -> Item:
    _members(value, "round messages")
    listed = _array(value["messages"])
    if len(listed) > rounds.MAX_MEMBERS:
        raise MalformedError("bundle.count", f"an epoch has at most {rounds.MAX_MEMBERS} members")
    messages = tuple(rounds.parse_finality_message(item) for item in listed)
    return FinalityItem(rounds.parse_candidate(value["round"]), messages)


def _record(value: Mapping[str, Any], salt_bytes: int, *more: str) -> tuple[str, bytes, bytes]:
    """Digest, document and salt of what opens a record; ``more`` are the members that stand beside them."""
    _members(value, " ".join(("digest", "document", "salt", *more)))
    return _digest(value["digest"]), _text(value["document"]).encode(), hex_decode(value["salt"], salt_bytes)


def _decision(value: Mapping[str, Any]) -> Item:
    digest, raw, salt = _record(value, SALT_BYTES, "path")
    path = None if value["path"] is None else parse_case_path(value["path"])
    return DecisionItem(digest, parse_decision_document(raw), raw, salt, path)


def _payment(value: Mapping[str, Any]) -> Item:
    digest, raw, salt = _record(value, payments.SALT_BYTES)
    return PaymentItem(digest, parse_payment_document(raw), raw, salt)


def _proof_document(value: Mapping[str, Any]) -> Item:
    digest, raw, salt = _record(value, proofs.SALT_BYTES)
    return ProofItem(digest, parse_proof_document(raw), raw, salt)


def _admission(value: Mapping[str, Any]) -> Item:
    digest, raw, salt = _record(value, admissions.SALT_BYTES, "definition")
    definition = None if value["definition"] is None else _text(value["definition"]).encode()
    return AdmissionItem(digest, parse_admission(raw), raw, salt, definition)


def _change(value: Mapping[str, Any]) -> Item:
    digest, raw, salt = _record(value, artifact_changes.SALT_BYTES)
    return ChangeItem(digest, parse_change(raw), raw, salt)


def _recall(value: Mapping[str, Any]) -> Item:
    digest, raw, salt = _record(value, recalls.SALT_BYTES)
    return RecallItem(digest, parse_recall_document(raw), raw, salt)


def _file(value: Mapping[str, Any]) -> Item:
    _members(value, "digest document")
    raw = _text(value["document"]).encode()
    return FileItem(_digest(value["digest"]), parse_file_document(raw), raw)


def _policy(value: Mapping[str, Any]) -> Item:
    return PolicyItem(*_record(value, POLICY_SALT_BYTES))


def _silence(value: Mapping[str, Any]) -> Item:
    _members(value, "silent asked")
    silent, asked = _array(value["silent"]), _count(value["asked"], 1)
    if not all(is_code(name) for name in silent) or silent != sorted(set(silent)):
        raise MalformedError("bundle.fields", "silent full nodes are named by codes, ascending, each once")
    if not len(silent) <= asked <= rounds.MAX_MEMBERS:
        raise MalformedError(
            "bundle.count", f"at most {rounds.MAX_MEMBERS} full nodes are asked, and no more are silent"
        )
    return SilenceItem(tuple(silent), asked)


def _note(value: Mapping[str, Any]) -> Item:
    _members(value, "code")
    if not is_code(value["code"]):
        raise MalformedError("bundle.fields", "a note is a code")
    return NoteItem(value["code"])


_PARSERS: dict[str, Callable[[Mapping[str, Any]], Item]] = {
    "statement": _statement,
    "parts": _parts,
    "document": _document,
    "mark": _mark,
    "attestation": _attestation,
    "entry": _entry,
    "inclusion": _inclusion,
    "checkpoint": _checkpoint,
    "commitment": _commitment,
    "candidate": _candidate,
    "votes": _votes,
    "verdict": _verdict,
    "finality": _finality,
    "decision": _decision,
    "payment": _payment,
    "proof": _proof_document,
    "admission": _admission,
    "change": _change,
    "recall": _recall,
    "file": _file,
    "policy": _policy,
    "silence": _silence,
    "note": _note,
}
"""Evidence kinds and how each is read (``bundle.md`` §2)."""


def parse_item(position: int, value: object) -> Entry:
    """One journal element to an :class:`Entry`; raises ``bundle.*`` and whatever its content raises."""
    if not isinstance(value, dict) or "kind" not in value or "at" not in value:
        raise MalformedError("bundle.fields", "an evidence item has a kind and a time")
    parser = _PARSERS.get(value["kind"]) if isinstance(value["kind"], str) else None
    if parser is None:
        raise MalformedError("bundle.kind", f"unknown kind of evidence: {value['kind']!r}")
    return Entry(position, time_decode(value["at"]), parser(value))


def parse_bundle(raw: bytes) -> Bundle:
    """Bytes to a :class:`Bundle`; raises ``bundle.*``, ``json.*`` and whatever an item raises."""
    if len(raw) > MAX_BUNDLE_BYTES:
        raise MalformedError("bundle.size", f"a bundle has at most {MAX_BUNDLE_BYTES} bytes")
    value = canonical.decode_object(raw)
    if value.keys() != {"type", "run", "exported_at", "journal"} or value["type"] != BUNDLE_TYPE:
        raise MalformedError("bundle.fields", f"not a {BUNDLE_TYPE}")
    if not is_run_id(value["run"]):
        raise MalformedError("bundle.run", "run is a run id")
    items = _array(value["journal"])
    _refuse_too_many(items)
    journal = tuple(parse_item(number, item) for number, item in enumerate(items, start=1))
    return Bundle(value["run"], time_decode(value["exported_at"]), journal, sha256_hex(raw))


def _refuse_too_many(items: list[Any]) -> None:
    """A bundle comes from anybody, and must not cost its reader minutes."""
    if len(items) > MAX_ITEMS:
        raise MalformedError("bundle.count", f"a journal has at most {MAX_ITEMS} items")
    kinds = Counter(item["kind"] for item in items if isinstance(item, dict) and isinstance(item.get("kind"), str))
    for kind, most in MOST_OF.items():
        if kinds[kind] > most:
            raise MalformedError("bundle.count", f"a journal has at most {most} items of kind {kind}")


def build_bundle(run: str, exported_at: dt.datetime, journal: Sequence[Mapping[str, Any]]) -> bytes:
    """Make bundle bytes from journal items as JSON values (each with ``kind`` and ``at``)."""
    value = {"type": BUNDLE_TYPE, "run": run, "exported_at": time_encode(exported_at), "journal": list(journal)}
    return canonical.encode_known(value)


def _opening(kind: str, at: dt.datetime, digest: str, document: bytes, salt: bytes) -> dict[str, canonical.JSON]:
    return {"kind": kind, "at": time_encode(at), "digest": digest, "document": document.decode(), "salt": salt.hex()}


def decision_item(
    at: dt.datetime, *, digest: str, document: bytes, salt: bytes, path: CasePath | None
) -> dict[str, canonical.JSON]:
    """The journal item that opens a decision's record (``bundle.md`` §2)."""
    return {**_opening("decision", at, digest, document, salt), "path": path.to_json() if path else None}


def payment_item(at: dt.datetime, *, digest: str, document: bytes, salt: bytes) -> dict[str, canonical.JSON]:
    """The journal item that opens a payment's record (``bundle.md`` §2)."""
    return _opening("payment", at, digest, document, salt)


def recall_item(at: dt.datetime, *, digest: str, document: bytes, salt: bytes) -> dict[str, canonical.JSON]:
    """The journal item that opens a recall's record (``bundle.md`` §2)."""
    return _opening("recall", at, digest, document, salt)


def file_item(at: dt.datetime, *, document: bytes) -> dict[str, canonical.JSON]:
    """The journal item that shows what was read in a file (``bundle.md`` §2)."""
    return {"kind": "file", "at": time_encode(at), "digest": sha256_hex(document), "document": document.decode()}


def policy_item(at: dt.datetime, *, digest: str, document: bytes, salt: bytes) -> dict[str, canonical.JSON]:
    """The journal item that opens the policies that a route names (``bundle.md`` §2)."""
    return _opening("policy", at, digest, document, salt)


def admission_item(
    at: dt.datetime, *, digest: str, document: bytes, salt: bytes, definition: bytes | None
) -> dict[str, canonical.JSON]:
    """The journal item that opens an admission's record (``bundle.md`` §2)."""
    shown = None if definition is None else definition.decode()
    return {**_opening("admission", at, digest, document, salt), "definition": shown}


def change_item(at: dt.datetime, *, digest: str, document: bytes, salt: bytes) -> dict[str, canonical.JSON]:
    """The journal item that opens an artifact statement's record (``bundle.md`` §2)."""
    return _opening("change", at, digest, document, salt)


def extend_bundle(raw: bytes, items: Sequence[Mapping[str, Any]], exported_at: dt.datetime) -> bytes:
    """A bundle with items appended to its journal (``bundle.md`` §5), for whoever comes to know more about a run.

    What stands there keeps its content, position and time. Raises ``bundle.order`` when an item, or the new
    ``exported_at``, is older than what stands there, and what :func:`parse_bundle` raises when the old or the new
    bundle is malformed.
    """
    before = parse_bundle(raw)
    value = canonical.decode_object(raw)
    journal = [*value["journal"], *items]
    made = build_bundle(before.run, exported_at, journal)
    after = parse_bundle(made)
    newest = max((entry.at for entry in before.journal), default=None)
    added = after.journal[len(before.journal) :]
    if exported_at < before.exported_at or any(newest is not None and entry.at < newest for entry in added):
        raise UsageError("bundle.order", "what is added to a bundle became known after what stands there")
    return made
