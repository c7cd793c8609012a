"""Read a bundle's journal and check every piece of evidence in it (``spec/bundle.md`` §3).

The result, :class:`Evidence`, holds what was presented and what came out of checking it; ``verifier.appraisal`` derives
the lanes from it and looks at no bytes itself. Each check is made once, here, and noted in the transcript.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from holdfast.core import canonical, merkle, rounds
from holdfast.core.artifact_changes import ArtifactChange, verify_change
from holdfast.core.bundles import (
    AdmissionItem,
    AttestationItem,
    Bundle,
    CandidateItem,
    ChangeItem,
    CheckpointItem,
    CommitmentItem,
    DecisionItem,
    DocumentItem,
    EntryItem,
    FinalityItem,
    InclusionItem,
    MarkItem,
    PartsItem,
    PaymentItem,
    ProofItem,
    SilenceItem,
    StatementItem,
    VerdictItem,
    VotesItem,
)
from holdfast.core.decisions import DecisionDocument, verify_decision
from holdfast.core.encoding import sha256_hex
from holdfast.core.evm import address_of, recover
from holdfast.core.keys import PublicKey, verify_signature
from holdfast.core.marks import Mark
from holdfast.core.metadata import path_of
from holdfast.core.notes import (
    COSIGNATURE,
    ED25519,
    Checkpoint,
    VerifiedCheckpoint,
    VerifierKey,
    parse_checkpoint_text,
    parse_note,
    verify_checkpoint,
    verify_cosignatures,
)
from holdfast.core.parts import Part, map_parts, verify_document, verify_part
from holdfast.core.payments import (
    UNDELIVERED,
    PaymentDocument,
    verify_amounts,
    verify_authorisation,
    verify_payment_document,
    verify_terms,
    verify_usage,
)
from holdfast.core.proofs import ProofDocument, verify_proof_document
from holdfast.core.statements import (
    Execution,
    MarkReference,
    PaymentBody,
    Route,
    Statement,
    Tree,
    build_commitment,
)
from holdfast.core.trust import Admission, Epoch, Trust, TrustedLog
from holdfast.errors import HoldfastError, RefusedError
from holdfast.verifier.admitted import Admitted, check_admissions
from holdfast.verifier.attestation import insecure
from holdfast.verifier.checks import (
    CheckPolicy,
    known_of,
    refuse_attester,
    refuse_hand_over,
    refuse_time,
    refuse_trace,
    step_of,
)
from holdfast.verifier.enclaves import CheckedAttestation, Moment, check_attestation
from holdfast.verifier.transcript import Transcript

INSECURE_ATTESTATION_DOMAIN = insecure.INSECURE_ATTESTATION_DOMAIN
"""What the throw-away root signs before the 32-byte key document digest (``lanes.md`` §3(4))."""

_NOBODY = "nobody"
"""Stands in for members whose vote key trust does not give: their stake counts in the total and signs nothing."""
_SIGNED = ("bytes", "route")
"""Lanes that rest on the statements of the closure themselves."""
_TRUSTED = ("enclave", *_SIGNED, "settlement", "judgement")
"""Lanes that say nothing without trust."""
_CARRIED = {"admission": ("bytes", "inputs"), "recall": ("bytes", "memory")}
"""Lanes that a statement of a kind is about, where they are others than :data:`_SIGNED`."""
_APART = {"decision": "judgement", "payment": "payment", "artifact": "artifact"}
"""Kinds that come after a run, or are of none, and their lanes: what is wrong with one speaks against that lane
alone."""
_ASIDE = {
    "journal": ("a panel's journal", "statement.md §4.4", "trace.journal"),
    "identity": ("a node's keys", "statement.md §4.5", "trace.identity"),
    "artifact": ("an artifact", "artifacts.md §4", "trace.artifact"),
}
"""Kinds of statements that are about no run: what they tell of, where that is said, and the code of saying so."""
_LAST_SECOND = 253_402_300_799
"""9999-12-31T23:59:59Z: a cosignature's 63-bit time is cut to what a calendar can show."""


@dataclass(frozen=True, slots=True)
class CheckedCheckpoint:
    """A checkpoint with a good log signature, and when a quorum had cosigned it (None while it has not)."""

    checkpoint: Checkpoint
    digest: str
    cosigners: tuple[str, ...]
    quorum_at: dt.datetime | None


@dataclass(slots=True)
class CheckedRound:
    """A candidate with what is known of its finality: ``final`` once a quorum's messages verify."""

    candidate: rounds.Candidate
    final: bool
    stake_for: int
    stake_total: int
    signers: tuple[str, ...]


@dataclass(slots=True)
class CheckedStatement:
    """A statement of the trace with the answers about it. ``refusal`` is a verdict reason or None."""

    statement: Statement
    copies: list[Statement] = field(default_factory=list)
    """Every envelope of this payload that was presented: signing again makes no second statement."""
    refusal: str | None = None
    ran_out: bool = False
    """Whether ``refusal`` is only that the key was good at the claimed time and has run out since, undated."""
    not_yet: bool = False
    """Whether it claims a time after the one asked about: then nobody had made it (``lanes.md`` §2.1)."""
    judged: bool = False
    """False while no trust was there to judge the attester by."""
    index: int | None = None
    trusted_time: dt.datetime | None = None
    late: str | None = None
    """``backdated`` or ``future`` once a trusted time contradicts the claim."""
    sizes: set[int] = field(default_factory=set)
    """Sizes of the trees that a path leads to: a checkpoint's and a round's need not be the same."""
    verdict: str | None = None
    """The newest final verdict code."""
    verdict_round: int | None = None
    evidence: list[str] = field(default_factory=list)

    @property
    def apart(self) -> str | None:
        """The lane of a decision, a payment, a proof or a re-execution: what is wrong with one speaks against it alone
        (``trace.md`` §3)."""
        return _apart_of(self.statement)

    @property
    def lanes(self) -> tuple[str, ...]:
        """The lanes that a check of the statement itself is about (``lanes.md`` §2)."""
        return (self.apart,) if self.apart else _CARRIED.get(self.statement.kind, _SIGNED)

    @property
    def settles(self) -> str:
        """The lane that a check of where it stands in the log and its rounds is about."""
        return self.apart or "settlement"


@dataclass(slots=True)
class Evidence:
    """Everything that was presented up to ``known``, checked."""

    statements: dict[str, CheckedStatement] = field(default_factory=dict)
    route: CheckedStatement | None = None
    closing: CheckedStatement | None = None
    follow_ups: list[CheckedStatement] = field(default_factory=list)
    bytes_refusals: list[tuple[str, str]] = field(default_factory=list)
    """(code, sentence) of each disclosed byte that does not fit, and of each trace rule that is broken."""
    settlement_refusals: list[tuple[str, str]] = field(default_factory=list)
    judgement_refusals: list[tuple[str, str]] = field(default_factory=list)
    """(code, sentence) of everything that is wrong with a decision, wherever it was found."""
    payment_refusals: list[tuple[str, str]] = field(default_factory=list)
    """The same of payments."""
    computation_refusals: list[tuple[str, str]] = field(default_factory=list)
    """The same of proofs and of re-executions."""
    artifact_refusals: list[tuple[str, str]] = field(default_factory=list)
    """The same of changes of labels."""
    changes: dict[str, CheckedStatement] = field(default_factory=dict)
    """Changes of labels that are shown with what opens them; no part of the trace (``lanes.md`` §3.1)."""
    changed: dict[str, ArtifactChange] = field(default_factory=dict)
    """By digest of such a statement: the change."""
    paid: dict[str, PaymentDocument] = field(default_factory=dict)
    """By digest of a payment statement: the document that opens its record."""
    usage_compared: set[str] = field(default_factory=set)
    """Digests of payment statements whose charge was held against the usage that the answer reports."""
    proofs: dict[str, ProofDocument] = field(default_factory=dict)
    """By digest of a ``proved`` statement: the document that opens its record, all but the proof itself checked."""
    admitted: Admitted = field(default_factory=Admitted)
    """What opens the admissions that the route names, and what the model saw of them."""
    opened: dict[str, DecisionDocument] = field(default_factory=dict)
    """By digest of a decision statement: the document that opens its record."""
    in_batch: set[str] = field(default_factory=set)
    """Digests of decision statements whose case was shown to be among those recalled together."""
    disclosed: list[str] = field(default_factory=list)
    documents: dict[str, str] = field(default_factory=dict)
    """By name: the text of each document that was disclosed whole and is what was signed."""
    parts: dict[str, list[Part]] = field(default_factory=dict)
    """By name of their document: parts that were disclosed one by one and are what was signed."""
    checkpoints: list[CheckedCheckpoint] = field(default_factory=list)
    final_rounds: dict[int, CheckedRound] = field(default_factory=dict)
    proposed: dict[int, rounds.Candidate] = field(default_factory=dict)
    votes: dict[tuple[int, int], set[str]] = field(default_factory=dict)
    silence: SilenceItem | None = None
    """What the exporter last said of full nodes that did not answer it: information, like votes."""
    attestations: dict[str, list[CheckedAttestation]] = field(default_factory=dict)
    """By node: what was presented for its key, and what it comes to."""
    commitments: dict[str, str] = field(default_factory=dict)
    """Statement digest to the digest of the commitment entry that stands for it."""
    entries: dict[str, int] = field(default_factory=dict)
    overturned: set[str] = field(default_factory=set)
    """Contents (hex) of rounds that a quorum called final against each other: neither stands for anything now."""

    def named(self, document: str, member: str) -> str | None:
        """A top-level member of a document that names a model, where the document or that part of it was disclosed
        and is what was signed; None where it is not shown, or is no text."""
        label = f"model|-|-|s|/{member}".encode()
        for part in self.parts.get(document, ()):
            if part.label == label:
                return part.data.decode()
        text = self.documents.get(document)
        try:
            value = canonical.decode(text.encode()) if text is not None else None
        except HoldfastError:  # a number that this reader takes no part of; its parts were checked as they are
            return None
        found = value.get(member) if isinstance(value, dict) else None
        return found if isinstance(found, str) else None

    def decisions(self) -> list[CheckedStatement]:
        """The decision statements, in order of the times they claim."""
        return self._of_kind("decision")

    def payments(self) -> list[CheckedStatement]:
        """The payment statements, in order of the times they claim."""
        return self._of_kind("payment")

    def _of_kind(self, kind: str) -> list[CheckedStatement]:
        found = [item for item in self.follow_ups if item.statement.kind == kind]
        return sorted(found, key=lambda item: (item.statement.claimed_at, item.statement.digest))

    def refuse(self, lane: str, code: str, says: str) -> None:
        """Keep a refusal for the lane that it speaks against."""
        kept = {
            "bytes": self.bytes_refusals,
            "settlement": self.settlement_refusals,
            "judgement": self.judgement_refusals,
            "payment": self.payment_refusals,
            "computation": self.computation_refusals,
            "artifact": self.artifact_refusals,
            "inputs": self.admitted.refusals,
        }
        kept[lane].append((code, says))

    def reported(self) -> dict[str, Any]:
        """What the response document tells of usage: it, or as much as is shown of it."""
        found: dict[str, Any] = {}
        for part in self.parts.get("response", ()):
            above, _, name = path_of(part.label).rpartition("/")
            if above == "/usage" and part.label.split(b"|")[3] == b"n":
                found[name] = part.data.decode()
        try:
            response = canonical.decode_exact(self.documents.get("response", "{}").encode())
        except HoldfastError:
            response = None
        if not isinstance(response, dict):  # nothing is reported by it
            return {"usage": found}
        usage = response.get("usage")
        return {**response, "usage": found | (usage if isinstance(usage, dict) else {})}

    def checked(self) -> dict[str, CheckedStatement]:
        """By digest: the statements of the trace, and the changes of labels beside it."""
        return self.statements | self.changes

    def shown(self, document: str) -> tuple[list[Part], bool]:
        """What is shown of a document and is what was signed: its parts, and whether they are all of them."""
        text = self.documents.get(document)
        if text is None:
            return self.parts.get(document, []), False
        return map_parts(document, canonical.decode_exact(text.encode())), True

    @property
    def sent(self) -> str:
        """Which document went to the upstream: what was asked, where nothing was rewritten."""
        body = self.route.statement.body if self.route else None
        return "sent" if isinstance(body, Route) and body.rewrites else "request"

    def admissions(self) -> list[CheckedStatement | None]:
        """What the route says was admitted, in the order of digests; None for what is not in the bundle. The route's
        other parents are left out as far as they are here."""
        parents = self.route.statement.parents if self.route else ()
        found = [self.statements.get(digest) for digest in parents]
        return [item for item in found if item is None or item.statement.kind == "admission"]

    def closure(self) -> list[CheckedStatement]:
        """The closing statement and its ancestors among what was presented (``trace.md`` §3)."""
        found: dict[str, CheckedStatement] = {}
        start = self.closing or self.route
        waiting = [start.statement.digest] if start else []
        while waiting:
            digest = waiting.pop()
            item = self.statements.get(digest)
            if item is not None and digest not in found:
                found[digest] = item
                waiting.extend(item.statement.parents)
        return list(found.values())

    def missing_parents(self) -> list[str]:
        """Digests of ancestors that the bundle does not hold."""
        return sorted(
            {parent for item in self.closure() for parent in item.statement.parents if parent not in self.statements}
        )


def check_evidence(
    bundle: Bundle, trust: Trust | None, bounds: CheckPolicy, at: dt.datetime, known: int | None, record: Transcript
) -> Evidence:
    """Check everything in the journal up to ``known`` (``bundle.md`` §3)."""
    items = [entry.item for entry in bundle.until(known)]
    evidence = Evidence()
    _collect_changes(items, evidence, record)
    _collect_statements(bundle.run, [item for item in items if isinstance(item, StatementItem)], evidence, record)
    _check_made(evidence, bounds, at, record)
    _check_disclosures(items, evidence, record)
    _check_decisions([item for item in items if isinstance(item, DecisionItem)], evidence, bounds, record)
    _check_payments([item for item in items if isinstance(item, PaymentItem)], evidence, bounds, record)
    _check_proofs([item for item in items if isinstance(item, ProofItem)], evidence, record)
    statements = {digest: checked.statement for digest, checked in evidence.statements.items()}
    route = evidence.route.statement if evidence.route else None
    shown = [item for item in items if isinstance(item, AdmissionItem)]
    evidence.admitted = check_admissions(shown, statements, route, *evidence.shown(evidence.sent), record)
    _check_mark([item for item in items if isinstance(item, MarkItem)], evidence, trust, record)
    if trust is None:
        says = "No trust document was given, so no attester can be judged."
        record.note(_TRUSTED, "trust.md §5", "cannot_tell", says, "trust.missing")
        return evidence
    _check_checkpoints([item for item in items if isinstance(item, CheckpointItem)], evidence, trust, at, record)
    _check_rounds(items, evidence, trust, record)
    _check_origins(items, evidence, record)
    _check_inclusion(items, evidence, record)
    _check_attesters(evidence, trust, bounds, at, record)
    _check_payers_side(evidence, trust, record)
    _check_verdicts([item for item in items if isinstance(item, VerdictItem)], evidence, record)
    given = [item for item in items if isinstance(item, AttestationItem)]
    _check_attestations(given, evidence, trust, bounds, at, record)
    return evidence


def _collect_statements(run: str, items: Iterable[StatementItem], evidence: Evidence, record: Transcript) -> None:
    listed = list(items)
    named = _admissions_named([item.statement for item in listed if item.statement.run == run], listed)
    for item in listed:
        statement = item.statement
        if statement.digest in evidence.changes:
            continue
        if statement.kind == "admission":
            if statement.digest in named:
                evidence.statements.setdefault(statement.digest, CheckedStatement(statement)).copies.append(statement)
            else:
                says = f"Admission {statement.digest[:12]} is one that this run does not name."
                record.note(("inputs",), "trace.md §2(3)", "cannot_tell", says, "trace.admission")
            continue
        if statement.kind in _ASIDE:
            about, spec, code = _ASIDE[statement.kind]
            says = f"Statement {statement.digest[:12]} tells of {about} and of no run."
            record.note(("bytes", "route"), spec, "cannot_tell", says, code)
            continue
        if statement.run != run:
            apart = _apart_of(statement)
            told = f"A {statement.kind} statement of another run stands in this trace."
            evidence.refuse(apart or "bytes", "trace.run", told)
            lanes = (apart,) if apart else _SIGNED
            says = f"Statement {statement.digest[:12]} is of another run."
            record.note(lanes, "trace.md §2(1)", "no", says, "trace.run")
            continue
        evidence.statements.setdefault(statement.digest, CheckedStatement(statement)).copies.append(statement)
    for checked in evidence.statements.values():
        body = checked.statement.body
        if isinstance(body, Route):
            if evidence.route is not None:
                _refuse_trace(evidence, record, "trace.routes", "The run has two route statements.", "trace.md §2(4)")
            evidence.route = checked
        elif isinstance(body, Execution) and body.closing:
            if evidence.closing is not None:
                _refuse_trace(
                    evidence,
                    record,
                    "trace.closures",
                    "The run has two closing execution statements.",
                    "trace.md §2(7)",
                )
            evidence.closing = checked
        else:
            evidence.follow_ups.append(checked)
    _check_trace(evidence, record)


def _admissions_named(of_run: Iterable[Statement], items: Iterable[StatementItem]) -> set[str]:
    """Digests of the admissions that the routes of a run name, and of those that these combine: they are of no run."""
    parents = {item.statement.digest: item.statement.parents for item in items if item.statement.kind == "admission"}
    named: set[str] = set()
    waiting = [digest for statement in of_run if isinstance(statement.body, Route) for digest in statement.parents]
    while waiting:
        digest = waiting.pop()
        if digest in parents and digest not in named:
            named.add(digest)
            waiting.extend(parents[digest])
    return named


def _collect_changes(items: Iterable[object], evidence: Evidence, record: Transcript) -> None:
    """The changes of labels that are shown with what opens them (``lanes.md`` §3.1)."""
    listed = list(items)
    found: dict[str, list[Statement]] = {}
    for item in listed:
        if isinstance(item, StatementItem) and item.statement.kind == "artifact":
            found.setdefault(item.statement.digest, []).append(item.statement)
    for item in dict.fromkeys(each for each in listed if isinstance(each, ChangeItem)):
        copies = found.get(item.digest)
        if copies is None:
            says = f"The change {item.digest[:12]} is not here."
            record.note(("artifact",), "artifacts.md §4", "cannot_tell", says, "artifact_change.unbound")
            continue
        evidence.changes.setdefault(item.digest, CheckedStatement(copies[0], copies))
        try:
            evidence.changed[item.digest] = verify_change(copies[0], item.raw, item.salt)
        except RefusedError as error:
            says = f"What is shown as change {item.digest[:12]} is not what was signed: {error.message}."
            refuse_artifact(evidence, record, error.code, says, "artifacts.md §4")
            continue
        says = f"The document of change {item.digest[:12]} is what was signed."
        record.note(("artifact",), "artifacts.md §4", "yes", says)


def refuse_artifact(evidence: Evidence, record: Transcript, code: str, says: str, spec: str) -> None:
    """Something about a label's changes speaks against the ``artifact`` lane."""
    evidence.refuse("artifact", code, says)
    record.note(("artifact",), spec, "no", says, code)


def _check_made(evidence: Evidence, bounds: CheckPolicy, at: dt.datetime, record: Transcript) -> None:
    """Which statements had not been made at the time asked about (``lanes.md`` §2.1)."""
    for checked in evidence.checked().values():
        statement = checked.statement
        early_us = (statement.claimed_at - at) // dt.timedelta(microseconds=1)
        checked.not_yet = early_us > bounds.max_skew_s * 1_000_000
        if checked.not_yet:
            says = f"The {statement.kind} statement {statement.digest[:12]} claims a time after the one asked about."
            lanes = {*checked.lanes, checked.settles}
            record.note(lanes, "lanes.md §2.1", "cannot_tell", says, "statement.not_yet")


def _refuse_trace(evidence: Evidence, record: Transcript, code: str, says: str, spec: str) -> None:
    evidence.bytes_refusals.append((code, says))
    record.note(_SIGNED if code.startswith("trace.") else ("bytes",), spec, "no", says, code)


def _refuse_judgement(evidence: Evidence, record: Transcript, code: str, says: str, spec: str) -> None:
    evidence.refuse("judgement", code, says)
    record.note(("judgement",), spec, "no", says, code)


def _refuse_payment(evidence: Evidence, record: Transcript, code: str, says: str, spec: str) -> None:
    evidence.refuse("payment", code, says)
    record.note(("payment",), spec, "no", says, code)


def _refuse_computation(evidence: Evidence, record: Transcript, code: str, says: str, spec: str) -> None:
    evidence.refuse("computation", code, says)
    record.note(("computation",), spec, "no", says, code)


def _apart_of(statement: Statement) -> str | None:
    """The lane that a statement which comes after a run is about alone; None for the statements of the run itself."""
    body = statement.body
    if isinstance(body, Execution) and body.event in ("proved", "recomputed"):
        return "computation"
    return _APART.get(statement.kind)


def _check_trace(evidence: Evidence, record: Transcript) -> None:
    """The rules of ``trace.md`` §2: those of the whole trace, and for every statement whose parents are all present."""
    if len({item.statement.nonce for item in evidence.statements.values() if not item.apart} - {None}) > 1:
        says = "The statements of the run answer to two nonces."
        _refuse_trace(evidence, record, "trace.rules", says, "trace.md §2(1)")
    route, closing = evidence.route, evidence.closing
    if route is not None and closing is not None and route.statement.digest not in closing.statement.parents:
        says = "The closing statement does not follow from the route that is shown."
        _refuse_trace(evidence, record, "trace.rules", says, "trace.md §2(4)")
    for checked in evidence.statements.values():
        statement = checked.statement
        parents = [evidence.statements.get(digest) for digest in statement.parents]
        if any(parent is None for parent in parents):
            says = f"A parent of {statement.digest[:12]} is not here."
            record.note(checked.lanes, "trace.md §2", "cannot_tell", says, "trace.parent")
            continue
        known = [known_of(parent.statement, parent.index or 0, "ok") for parent in parents if parent is not None]
        if refuse_trace(statement, known) is not None:
            says = f"The {statement.kind} statement {statement.digest[:12]} does not follow from its parents."
            refuse = {
                "judgement": _refuse_judgement,
                "payment": _refuse_payment,
                "computation": _refuse_computation,
            }.get(checked.apart or "", _refuse_trace)
            refuse(evidence, record, "trace.rules", says, "trace.md §2")
        else:
            says = f"The {statement.kind} statement {statement.digest[:12]} fits its parents."
            record.note(checked.lanes, "trace.md §2", "yes", says)


def _tree_of(document: str, evidence: Evidence) -> Tree | None:
    route = evidence.route.statement.body if evidence.route else None
    closing = evidence.closing.statement.body if evidence.closing else None
    if document == "response":
        return closing.response if isinstance(closing, Execution) else None
    if not isinstance(route, Route):
        return None
    if document == "request" or not route.rewrites:
        return route.request if document == "request" else None
    return route.sent


def _check_disclosures(items: Iterable[object], evidence: Evidence, record: Transcript) -> None:
    for item in items:
        if isinstance(item, DocumentItem):
            tree = _tree_of(item.document, evidence)
            run = evidence.route or evidence.closing or next(iter(evidence.statements.values()), None)
            if tree is None or run is None:
                says = f"Nothing here binds the {item.document}."
                record.note(_about(item.document), "parts.md §8", "cannot_tell", says, "parts.unbound")
                continue
            try:
                verify_document(item.document, item.text.encode(), run.statement.run, item.secret, tree)
            except (HoldfastError, UnicodeEncodeError) as error:
                _refuse_bytes(evidence, record, error, f"The disclosed {item.document} is not what was signed.")
                continue
            evidence.documents[item.document] = item.text
            evidence.disclosed.append(tree.root.hex())
            says = f"The whole {item.document} ({tree.size} parts) is what was signed."
            record.note(_about(item.document), "parts.md §4", "yes", says)
        elif isinstance(item, PartsItem):
            for shown in item.parts:
                tree = _tree_of(shown.document, evidence)
                if tree is None:
                    says = f"Nothing here binds the {shown.document}."
                    record.note(("bytes",), "parts.md §8", "cannot_tell", says, "parts.unbound")
                    continue
                try:
                    part = verify_part(shown, tree)
                except HoldfastError as error:
                    _refuse_bytes(evidence, record, error, "A disclosed part is not what was signed.")
                    continue
                evidence.parts.setdefault(shown.document, []).append(part)
                evidence.disclosed.append(tree.root.hex())
                evidence.parts.setdefault(shown.document, []).append(shown.part)
                # Its path is not named: the member names of a document can be content.
                kind = shown.part.label.decode().partition("|")[0]
                says = f"Part {shown.position} of the {shown.document} ({kind}) is what was signed."
                lanes = _about(shown.document) if kind == "model" else ("bytes",)
                record.note(lanes, "parts.md §4", "yes", says)


def _about(document: str) -> tuple[str, ...]:
    """The lanes that a disclosed document has a part in: the answer names the model that is claimed."""
    return ("bytes", "artifact") if document == "response" else ("bytes",)


def _refuse_bytes(evidence: Evidence, record: Transcript, error: Exception, says: str) -> None:
    code = error.code if isinstance(error, HoldfastError) else "parts.document"
    evidence.bytes_refusals.append((code, says))
    record.note(("bytes",), "parts.md §4", "no", says, code)


def _check_decisions(
    items: Iterable[DecisionItem], evidence: Evidence, bounds: CheckPolicy, record: Transcript
) -> None:
    """Open the records of decisions, and refuse a decision that is older than what it judges (``lanes.md`` §3(10))."""
    closing = evidence.closing.statement if evidence.closing else None
    for checked in evidence.decisions():
        statement = checked.statement
        if closing is None:
            continue
        early_us = (closing.claimed_at - statement.claimed_at) // dt.timedelta(microseconds=1)
        if early_us <= bounds.max_skew_s * 1_000_000:
            continue
        says = f"Decision {statement.digest[:12]} claims a time before the run was closed."
        _refuse_judgement(evidence, record, "decision.early", says, "lanes.md §3(10)")
    for item in dict.fromkeys(items):
        found = evidence.statements.get(item.digest)
        if found is None:
            says = f"Decision {item.digest[:12]} is not here."
            record.note(("judgement",), "statement.md §4.3", "cannot_tell", says, "decision.unbound")
            continue
        try:
            document = verify_decision(found.statement, item.raw, item.salt, item.path)
        except RefusedError as error:
            says = f"What is shown as decision {item.digest[:12]} is not what was signed: {error.message}."
            _refuse_judgement(evidence, record, error.code, says, "statement.md §4.3")
            continue
        evidence.opened[item.digest] = document
        if item.path is not None:
            evidence.in_batch.add(item.digest)
        says = f"The document of decision {item.digest[:12]} is what was signed."
        record.note(("judgement",), "statement.md §4.3", "yes", says)


def _check_payments(items: Iterable[PaymentItem], evidence: Evidence, bounds: CheckPolicy, record: Transcript) -> None:
    """Open the records of payments, and hold what they say against each other and the run (``lanes.md`` §3(9))."""
    closing = evidence.closing.statement if evidence.closing else None
    for checked in evidence.payments():
        statement, body = checked.statement, checked.statement.body
        if closing is None or not isinstance(body, PaymentBody) or body.event in ("offered", "authorised"):
            continue
        early_us = (closing.claimed_at - statement.claimed_at) // dt.timedelta(microseconds=1)
        if early_us > bounds.max_skew_s * 1_000_000:
            says = f"Payment {statement.digest[:12]} claims a time before the run was closed."
            _refuse_payment(evidence, record, "payment_document.early", says, "lanes.md §3(9)")
    for item in dict.fromkeys(items):
        found = evidence.statements.get(item.digest)
        if found is None:
            says = f"Payment {item.digest[:12]} is not here."
            record.note(("payment",), "statement.md §4.6", "cannot_tell", says, "payment_document.unbound")
            continue
        try:
            document = verify_payment_document(found.statement, item.raw, item.salt)
        except RefusedError as error:
            says = f"What is shown as payment {item.digest[:12]} is not what was signed: {error.message}."
            _refuse_payment(evidence, record, error.code, says, "statement.md §4.6")
            continue
        evidence.paid[item.digest] = document
        says = f"The document of payment {item.digest[:12]} is what was signed."
        record.note(("payment",), "statement.md §4.6", "yes", says)
    for digest, document in evidence.paid.items():
        try:
            verify_amounts(document)
            _verify_bound(document, evidence)
            if verify_usage(document, evidence.reported()):
                evidence.usage_compared.add(digest)
        except RefusedError as error:
            says = f"Payment {digest[:12]} does not hold: {error.message}."
            _refuse_payment(evidence, record, error.code, says, "statement.md §4.6")
            continue
        compared = ", and charges no more than the answer reports" if digest in evidence.usage_compared else ""
        says = f"Payment {digest[:12]} adds up and is for this request{compared}."
        record.note(("payment",), "statement.md §4.6(5)", "yes", says)
    _check_steps(evidence, record)


def _check_proofs(items: Iterable[ProofItem], evidence: Evidence, record: Transcript) -> None:
    """Open the records of proofs, and hold what they prove against the documents that were signed (``inference.md``
    §5(5)). Whether a proof verifies is for whoever has a verifier: full nodes do, and their verdict counts."""
    for item in dict.fromkeys(items):
        proved = evidence.statements.get(item.digest)
        parents = proved.statement.parents if proved is not None else ()
        computed = next((evidence.statements[digest] for digest in parents if digest in evidence.statements), None)
        if proved is None or computed is None:
            says = f"What is proved by document {item.digest[:12]} is not here."
            record.note(("computation",), "inference.md §5(5)", "cannot_tell", says, "proof.unbound")
            continue
        try:
            document = verify_proof_document(proved.statement, computed.statement, item.raw, item.salt)
        except HoldfastError as error:
            says = f"What is shown as proof {item.digest[:12]} does not hold: {error.message}."
            evidence.refuse("computation", error.code, says)
            record.note(("computation",), "inference.md §5(5)", "no", says, error.code)
            continue
        evidence.proofs[item.digest] = document
        says = (
            f"Proof {item.digest[:12]} is about this request and this response; whether it verifies is another check."
        )
        record.note(("computation",), "inference.md §5(5)", "yes", says)


def _verify_bound(document: PaymentDocument, evidence: Evidence) -> None:
    """Whether a payment is for the request and the response that the run's statements bind."""
    route = evidence.route.statement.body if evidence.route else None
    closing = evidence.closing.statement.body if evidence.closing else None
    if isinstance(route, Route) and document.request != route.request:
        raise RefusedError("payment_document.request", "it is for another request")
    if isinstance(closing, Execution) and document.response not in (UNDELIVERED, closing.response):
        raise RefusedError("payment_document.response", "it is for another response")


def _check_steps(evidence: Evidence, record: Transcript) -> None:
    """Each step fits the one before it, and none is told in two ways (``statement.md`` §4.6(6), (8), §7(11))."""
    told: dict[str, list[CheckedStatement]] = {}
    for checked in evidence.payments():
        step, document = step_of(checked.statement), evidence.paid.get(checked.statement.digest)
        if step is not None:
            told.setdefault(step, []).append(checked)
        for digest in checked.statement.parents:
            before = evidence.paid.get(digest)
            if document is None or before is None:
                continue
            try:
                verify_terms(document, before)
            except RefusedError as error:
                says = f"Payment {checked.statement.digest[:12]} does not follow: {error.message}."
                _refuse_payment(evidence, record, error.code, says, "statement.md §4.6(6)")
    for same in told.values():
        _check_told_once(same, evidence, record)
    try:
        captures = {(item.run, item.transaction, item.captured): item for item in evidence.paid.values()}
        verify_authorisation(captures.values())
    except RefusedError as error:
        _refuse_payment(evidence, record, error.code, f"{error.message.capitalize()}.", "statement.md §4.6(8)")


def _check_told_once(same: list[CheckedStatement], evidence: Evidence, record: Transcript) -> None:
    """Two attesters may tell of one step where they tell the same; one attester tells of it once."""
    attesters = {checked.statement.attester for checked in same}
    shown = [evidence.paid[checked.statement.digest] for checked in same if checked.statement.digest in evidence.paid]
    if len(attesters) == len(same) and len({(item.event, item.captured, item.transaction) for item in shown}) <= 1:
        return
    says = f"{len(same)} payment statements tell of one step."
    _refuse_payment(evidence, record, "payment_document.twice", says, "statement.md §7(11)")


def _check_payers_side(evidence: Evidence, trust: Trust, record: Transcript) -> None:
    """A payment goes on by the word of who charged or of a facilitator (``statement.md`` §7(11))."""
    for checked in evidence.payments():
        parents = [evidence.statements[digest] for digest in checked.statement.parents if digest in evidence.statements]
        nodes = [parent.statement.attester for parent in parents if parent.statement.kind == "payment"]
        if refuse_hand_over(checked.statement.attester, nodes, trust) is not None:
            says = f"Payment {checked.statement.digest[:12]} is told by a node that has no part in it."
            _refuse_payment(evidence, record, "statement.payment", says, "statement.md §7(11)")


def _check_mark(items: Iterable[MarkItem], evidence: Evidence, trust: Trust | None, record: Transcript) -> None:
    """Marks are signed by the gateway's key; the last one is the one that the closing statement names."""
    for item in items:
        source = evidence.closing or evidence.route
        if source is None:
            says = "There is no statement to compare the mark with."
            record.note(("bytes",), "parts.md §7", "cannot_tell", says, "mark.unbound")
            continue
        admission = trust.admission(source.statement.attester) if trust else None
        key = admission.key_document.key_for("statement") if admission else None
        body = source.statement.body
        named = body.marks if isinstance(body, Execution) else None
        if isinstance(body, Execution) and not _mark_fits(item.mark, named):
            _refuse_trace(
                evidence, record, "mark.chain", "The mark is not the one that was signed last.", "parts.md §7"
            )
        elif key is None:
            says = "The key that signed the mark is not known."
            record.note(("bytes",), "parts.md §7", "cannot_tell", says, "trust.unknown_key")
        else:
            try:
                verify_signature(key, item.mark.message(source.statement.run), item.signature)
                record.note(("bytes",), "parts.md §7", "yes", f"Mark {item.mark.seq} is signed by the gateway's key.")
            except RefusedError:
                _refuse_trace(evidence, record, "mark.signature", "A mark has a bad signature.", "parts.md §7")


def _mark_fits(mark: Mark, named: MarkReference | None) -> bool:
    """Whether a closing statement that names ``named`` allows a mark: an earlier one, or exactly the last."""
    if named is None or mark.seq > named.seq:
        return False
    return mark.seq < named.seq or mark.parts == named.parts


def full_node_keys(trust: Trust, epoch: Epoch, use: str) -> Mapping[str, PublicKey]:
    """Keys of one use by node digest, for the members of an epoch."""
    return _full_node_keys(trust, tuple(epoch.stakes), use)


@lru_cache(maxsize=64)
def _full_node_keys(trust: Trust, nodes: tuple[str, ...], use: str) -> Mapping[str, PublicKey]:
    keys = {}
    for node in nodes:
        admission = trust.admission(node)
        key = admission.key_document.key_for(use) if admission and "full" in admission.key_document.roles else None
        if key is not None:
            keys[node] = key
    return keys


def voters_of(trust: Trust, epoch: Epoch) -> dict[str, str]:
    """Who may vote in an epoch: the name in its key document, by vote address."""
    names = {}
    for node, key in full_node_keys(trust, epoch, "vote").items():
        admission = trust.admission(node)
        names[address_of(key.public)] = admission.key_document.name if admission else node
    return names


def _check_checkpoints(
    items: Iterable[CheckpointItem], evidence: Evidence, trust: Trust, at: dt.datetime, record: Transcript
) -> None:
    seen: dict[tuple[str, int], bytes] = {}
    for item in dict.fromkeys(items):
        try:
            origin, read = read_checkpoint(item.note, trust)
        except HoldfastError as error:
            evidence.settlement_refusals.append((error.code, "A checkpoint is not signed by its log."))
            record.error(("settlement",), "checkpoint.md", error)
            continue
        if read is None:
            says = f"No log {origin} in trust."
            record.note(("settlement",), "trust.md §1", "cannot_tell", says, "trust.unknown_log")
            continue
        trusted, admission, verified = read
        checkpoint = verified.checkpoint
        try:
            checked = cosign_times(verified, trust)
        except RefusedError as error:
            _refuse_settlement(evidence, record, error.code, "A cosignature on a checkpoint does not verify.")
            continue
        if not _speaks_at(trusted, admission, checked.quorum_at or _open_end(admission, at)):
            says = f"Trust admits no log {origin} at that time."
            record.note(("settlement",), "trust.md §3", "cannot_tell", says, "trust.unknown_log")
            continue
        if seen.setdefault((checkpoint.origin, checkpoint.size), checkpoint.root) != checkpoint.root:
            evidence.settlement_refusals.append(
                ("log.equivocation", f"The log signed two different trees of size {checkpoint.size}.")
            )
            says = "Two checkpoints of one size differ: a split view."
            record.note(("settlement",), "checkpoint.md", "no", says, "log.equivocation")
        evidence.checkpoints.append(checked)
        record.note(
            ("settlement",),
            "checkpoint.md",
            "yes",
            f"Checkpoint of size {checkpoint.size} is signed by {checkpoint.origin} and cosigned by "
            f"{len(checked.cosigners)} full nodes{'' if checked.quorum_at is None else ', a quorum'}.",
        )


@lru_cache(maxsize=256)
def read_checkpoint(note: str, trust: Trust) -> tuple[str, tuple[TrustedLog, Admission, VerifiedCheckpoint] | None]:
    """A checkpoint's origin, and, where trust names its log, the checkpoint with a good log signature. Kept, because
    every run that a checkpoint covers brings it."""
    raw = note.encode("utf-8", "surrogatepass")
    origin = parse_checkpoint_text(parse_note(raw).text).origin
    trusted = trust.log(origin)
    admission = trust.admission(trusted.node) if trusted else None
    key = admission.key_document.key_for("log") if admission else None
    if trusted is None or admission is None or key is None:
        return origin, None
    return origin, (trusted, admission, verify_checkpoint(raw, origin, [VerifierKey(origin, ED25519, key.public)]))


def _speaks_at(log: TrustedLog, admission: Admission, moment: dt.datetime) -> bool:
    """Whether the log's key counts at the moment when a quorum cosigned, or else at the one asked about."""
    return log.valid_from <= moment < log.valid_until and admission.refusal(moment, moment) is None


@lru_cache(maxsize=256)
def cosign_times(verified: VerifiedCheckpoint, trust: Trust) -> CheckedCheckpoint:
    """When cosignatures by members of the epoch reached a quorum (``statement.md`` §8)."""
    witnesses: dict[VerifierKey, Admission] = {}
    for admission in trust.current.nodes:
        key = admission.key_document.key_for("cosignature")
        if key is not None and "full" in admission.key_document.roles:
            witnesses[VerifierKey(admission.key_document.name, COSIGNATURE, key.public)] = admission
    stamps: list[tuple[dt.datetime, str]] = []
    for signed in verify_cosignatures(verified.note, witnesses):
        moment = dt.datetime.fromtimestamp(min(signed.time or 0, _LAST_SECOND), dt.UTC)
        admission = witnesses[signed.key]
        if admission.refusal(moment, moment) is None:
            stamps.append((moment, admission.key_document.digest))
    stamps.sort()
    spoken: set[str] = set()
    quorum_at = None
    for moment, node in stamps:
        spoken.add(node)
        epoch = trust.epoch_at(verified.origin, moment)
        if quorum_at is None and epoch is not None and epoch.is_quorum(spoken):
            quorum_at = moment
    return CheckedCheckpoint(verified.checkpoint, sha256_hex(verified.raw), tuple(sorted(spoken)), quorum_at)


def _check_rounds(items: Iterable[object], evidence: Evidence, trust: Trust, record: Transcript) -> None:
    seen: set[FinalityItem] = set()
    for item in items:
        if isinstance(item, CandidateItem):
            evidence.proposed[item.candidate.number] = item.candidate
        elif isinstance(item, VotesItem):
            evidence.votes.setdefault((item.number, item.attempt), set()).update(item.voters)  # not proof: unsigned
        elif isinstance(item, SilenceItem):
            evidence.silence = item  # not proof either: the exporter's word
        elif isinstance(item, FinalityItem) and item not in seen:
            seen.add(item)
            check_finality(item, evidence, trust, record)


def check_finality(item: FinalityItem, evidence: Evidence, trust: Trust, record: Transcript) -> None:
    """Whether a quorum called a round final (``round.md`` §4.3); what follows is in ``evidence``."""
    candidate = item.candidate
    chain, epoch = trust.chain(candidate.origin), trust.epoch(candidate.origin, candidate.number)
    if chain is None or epoch is None:
        says = f"Trust knows no chain or epoch for round {candidate.number}."
        record.note(("settlement",), "trust.md §1", "cannot_tell", says, "trust.epoch")
        return
    if epoch.number != candidate.epoch:
        _refuse_settlement(evidence, record, "trust.epoch", f"Round {candidate.number} names epoch {candidate.epoch}.")
        return
    keys = full_node_keys(trust, epoch, "vote")
    stakes = {address_of(key.public): epoch.stakes[node] for node, key in keys.items()}
    silent = epoch.total - sum(stakes.values())
    if silent:
        stakes[_NOBODY] = silent
        says = "A member of the epoch has no vote key of its own."
        record.note(("settlement",), "trust.md §4", "cannot_tell", says, "trust.epoch")
    revoked = {address_of(key.public) for node, key in keys.items() if _is_revoked(trust, node)}
    try:
        domain = rounds.ChainDomain(chain.chain_id, chain.contract)
        for message in item.messages:
            if message.content != candidate.content or (message.origin, message.number, message.epoch) != (
                candidate.origin,
                candidate.number,
                candidate.epoch,
            ):
                raise RefusedError("round.mixed", "a finality message is about another content")
        counted = [
            one for one in item.messages if not revoked or recover(one.digest(domain), one.signature) not in revoked
        ]
        final = rounds.verify_finality(domain, counted, stakes)
    except HoldfastError as error:
        record.error(("settlement",), "round.md §4.3", error)
        if isinstance(error, RefusedError):
            evidence.settlement_refusals.append(
                (error.code, f"The finality of round {candidate.number} does not hold.")
            )
        else:
            signers = {rounds.verify_finality_message(domain, message, stakes).signer for message in counted}
            stake_for = sum(stakes[signer] for signer in signers)
            evidence.final_rounds.setdefault(
                candidate.number, CheckedRound(candidate, False, stake_for, epoch.total, tuple(sorted(signers)))
            )
        return
    before = evidence.final_rounds.get(candidate.number)
    same_round = before is not None and before.final and before.candidate.origin == candidate.origin
    if before is not None and same_round and before.candidate.content != candidate.content:
        says = f"A quorum called two contents of round {candidate.number} final."
        evidence.overturned |= {before.candidate.content.hex(), candidate.content.hex()}
        _refuse_settlement(evidence, record, "round.equivocation", says)
        return
    evidence.final_rounds[candidate.number] = CheckedRound(
        candidate, True, final.stake_for, final.stake_total, final.signers
    )
    record.note(
        ("settlement",),
        "round.md §4.3",
        "yes",
        f"Round {candidate.number} is final: {final.stake_for} of {final.stake_total} units of stake signed it.",
    )


def _is_revoked(trust: Trust, node: str) -> bool:
    """A finality message carries no time, so a member that was ever revoked does not count (``trust.md`` §4)."""
    admission = trust.admission(node)
    return admission is not None and admission.revoked is not None


def _check_origins(items: Iterable[object], evidence: Evidence, record: Transcript) -> None:
    """A bundle speaks of one log (``bundle.md`` §3): rounds and sizes of two logs must not answer for each other."""
    origins = {item.candidate.origin for item in items if isinstance(item, CandidateItem | FinalityItem)}
    origins |= {checked.checkpoint.origin for checked in evidence.checkpoints}
    if len(origins) > 1:
        _refuse_settlement(evidence, record, "bundle.origins", "The bundle mixes evidence of several logs.")


def _refuse_settlement(
    evidence: Evidence, record: Transcript, code: str, says: str, about: CheckedStatement | None = None
) -> None:
    """Refuse the settlement of the run, or, where it is ``about`` a decision or a payment, that one."""
    lane = about.settles if about is not None else "settlement"
    evidence.refuse(lane, code, says)
    record.note((lane,), "bundle.md §3", "no", says, code)


def _check_inclusion(items: Iterable[object], evidence: Evidence, record: Transcript) -> None:
    """Each presented path must lead to a root that is known; a path that leads elsewhere refutes."""
    listed = list(items)
    for item in listed:
        if isinstance(item, CommitmentItem):
            _open_commitment(item, evidence, record)
    leaves = {
        digest: [merkle.leaf_hash(copy.envelope.raw) for copy in checked.copies]
        for digest, checked in evidence.checked().items()
    }
    by_commitment = {entry: digest for digest, entry in evidence.commitments.items()}
    for item in listed:
        if isinstance(item, CommitmentItem):
            leaves[sha256_hex(item.entry)] = [merkle.leaf_hash(item.entry)]
    roots: dict[int, set[bytes]] = {}
    for checked in evidence.checkpoints:
        roots.setdefault(checked.checkpoint.size, set()).add(checked.checkpoint.root)
    for checked_round in evidence.final_rounds.values():
        if checked_round.final:
            roots.setdefault(checked_round.candidate.size, set()).add(checked_round.candidate.root)
    seen: set[InclusionItem] = set()
    for item in listed:
        if isinstance(item, EntryItem):
            evidence.entries[item.digest] = item.index
        if not isinstance(item, InclusionItem) or item in seen:
            continue
        seen.add(item)
        candidates = leaves.get(item.digest)
        if not candidates or item.size not in roots:
            says = f"Nothing to check a path of size {item.size} against."
            record.note(("settlement",), "bundle.md §3", "cannot_tell", says, "log.unanchored")
            continue
        fits = next((leaf for leaf in candidates if _leads_to_all(leaf, item, roots[item.size])), None)
        # One payload is one entry: further paths are tried with the copy that fitted, and after a refusal with none.
        leaves[item.digest] = [] if fits is None else [fits]
        owner = evidence.checked().get(by_commitment.get(item.digest, item.digest))
        if fits is None:
            says = "An inclusion proof does not lead to its checkpoint."
            _refuse_settlement(evidence, record, "log.inclusion", says, owner)
            continue
        lane = owner.settles if owner is not None else "settlement"
        says = f"{item.digest[:12]} is entry {item.index} of the log at size {item.size}."
        record.note((lane,), "log.md", "yes", says)
        if owner is None:
            continue
        owner.index = item.index
        owner.sizes.add(item.size)
        _take_trusted_time(owner, item, evidence)
    _check_log_order(evidence, record)


def _leads_to_all(leaf: bytes, item: InclusionItem, roots: Iterable[bytes]) -> bool:
    """Whether a path leads from this leaf to every root known at its size."""
    try:
        for root in roots:
            merkle.verify_inclusion(leaf, item.index, item.size, list(item.proof), root)
    except RefusedError:
        return False
    return True


def _take_trusted_time(owner: CheckedStatement, item: InclusionItem, evidence: Evidence) -> None:
    for checked in evidence.checkpoints:
        if checked.checkpoint.size == item.size:
            owner.evidence.append(checked.digest)
            moment = checked.quorum_at
            if moment is not None and (owner.trusted_time is None or moment < owner.trusted_time):
                owner.trusted_time = moment


def _open_commitment(item: CommitmentItem, evidence: Evidence, record: Transcript) -> None:
    for digest in evidence.statements:
        if build_commitment(digest, item.salt) == item.entry:
            evidence.commitments[digest] = sha256_hex(item.entry)
            lane = evidence.statements[digest].settles
            record.note((lane,), "statement.md §9", "yes", f"The commitment opens to statement {digest[:12]}.")
            return
    _refuse_settlement(evidence, record, "commitment.opening", "A commitment does not open to any statement here.")


def _check_log_order(evidence: Evidence, record: Transcript) -> None:
    shown = evidence.checked()
    for checked in shown.values():
        for digest in checked.statement.parents:
            parent = shown.get(digest)
            if parent is None or parent.index is None or checked.index is None:
                continue
            if parent.index >= checked.index:
                says = "A statement stands before its parent in the log."
                _refuse_settlement(evidence, record, "trace.order", says, checked)


def _check_attesters(
    evidence: Evidence, trust: Trust, bounds: CheckPolicy, at: dt.datetime, record: Transcript
) -> None:
    for checked in evidence.checked().values():
        until = checked.trusted_time or _open_end(trust.admission(checked.statement.attester), at)
        refusals = [refuse_attester(copy, trust, until=until) for copy in checked.copies]
        best = refusals.index(None) if None in refusals else 0
        checked.statement, checked.refusal = checked.copies[best], refusals[best]
        statement = checked.statement
        if checked.refusal == "key-expired" and checked.trusted_time is None:
            checked.ran_out = _only_ran_out(statement, trust)
        checked.judged = True
        name = f"{statement.kind} statement {statement.digest[:12]}"
        if checked.refusal is None:
            says = f"The {name} is signed by an admitted node that may make it."
            record.note(checked.lanes, "statement.md §7", "yes", says)
        else:
            says = f"The {name} is refused: {checked.refusal}."
            record.note(checked.lanes, "statement.md §7", "no", says, f"statement.{checked.refusal}")
        if checked.trusted_time is None:
            says = f"No quorum has dated the {name} yet."
            record.note((checked.settles,), "statement.md §8", "cannot_tell", says, "statement.undated")
            continue
        checked.late = refuse_time(statement, checked.trusted_time, bounds)
        aside = statement.digest in evidence.changes
        if aside and checked.late == "backdated":
            checked.late = None  # its first checkpoint may be long before the one that is shown (lanes.md §3.1(1))
        if checked.late is None:
            says = f"The {name} was seen by a quorum{'' if aside else ' within the bound after its claimed time'}."
            record.note((checked.settles,), "statement.md §8", "yes", says)
        else:
            _refuse_settlement(
                evidence,
                record,
                f"statement.{checked.late}",
                f"The {name} claims a time that its log entry contradicts.",
                checked,
            )


def _open_end(admission: Admission | None, at: dt.datetime) -> dt.datetime:
    """Where the span of what no quorum dated ends: nobody has seen that it was made before the key became suspect, and
    ``at`` is often the word of whoever made the bundle (``lanes.md`` §3)."""
    revoked = admission.revoked if admission else None
    return at if revoked is None else max(at, revoked.suspect_since)


def _only_ran_out(statement: Statement, trust: Trust) -> bool:
    """Whether the key was good at the claimed time and nothing but the calendar speaks against it now."""
    admission = trust.admission(statement.attester)
    if admission is not None and admission.revoked is not None:
        return False
    return refuse_attester(statement, trust, until=statement.claimed_at) is None


def _check_verdicts(items: Iterable[VerdictItem], evidence: Evidence, record: Transcript) -> None:
    """Verdict leaves under final verdict roots; the newest round's verdict counts (``round.md`` §5)."""
    owners = {entry: digest for digest, entry in evidence.commitments.items()}
    for item in sorted(items, key=lambda item: item.number):
        checked_round = evidence.final_rounds.get(item.number)
        if checked_round is None or not checked_round.final:
            says = f"Round {item.number} is not final here."
            record.note(("settlement",), "round.md §5", "cannot_tell", says, "round.not_final")
            continue
        digest = item.entry.statement_digest.hex()
        owner = evidence.checked().get(owners.get(digest, digest))
        try:
            rounds.verify_verdict_inclusion(
                item.entry, item.position, item.size, item.proof, checked_round.candidate.verdict_root
            )
        except RefusedError as error:
            _refuse_settlement(evidence, record, error.code, "A verdict is not under its round's verdict root.", owner)
            continue
        if owner is None:
            continue
        if owner.index is not None and owner.index != item.entry.index:
            _refuse_settlement(evidence, record, "round.verdict_index", "A verdict names another log entry.", owner)
            continue
        owner.verdict, owner.verdict_round = item.entry.code, item.number
        owner.evidence.append(checked_round.candidate.content.hex())
        answer = "yes" if item.entry.code == "ok" else "cannot_tell" if item.entry.code == "cannot_tell" else "no"
        record.note(
            (owner.settles,),
            "round.md §5",
            answer,  # type: ignore[arg-type]
            f"Final round {item.number} says {item.entry.code} of {owner.statement.kind} {digest[:12]}.",
            "round.refuted" if answer == "no" else None,
        )


def _check_attestations(
    items: Iterable[AttestationItem],
    evidence: Evidence,
    trust: Trust,
    bounds: CheckPolicy,
    at: dt.datetime,
    record: Transcript,
) -> None:
    closure = evidence.closure()
    seen: set[AttestationItem] = set()
    for item in items:
        if item in seen:
            continue
        seen.add(item)
        own = [checked for checked in closure if checked.statement.attester == item.node]
        found = check_attestation(item, _moment(own, trust, bounds, at) if own else None, trust, record)
        evidence.attestations.setdefault(item.node, []).append(found)


def _moment(own: list[CheckedStatement], trust: Trust, bounds: CheckPolicy, at: dt.datetime) -> Moment:
    """When a node's statements were made (``attestation.md`` §3, ``lanes.md`` §3(4)): from the first claim to the last
    trusted time, or to the end that is open."""
    start = min(checked.statement.claimed_at for checked in own)
    open_end = _open_end(trust.admission(own[0].statement.attester), at)
    end = max([start, *(checked.trusted_time or open_end for checked in own)])
    doubt = next(
        (f"{one.statement.kind} is refused ({one.refusal or one.late})." for one in own if one.refusal or one.late),
        None,
    )
    undated = any(checked.trusted_time is None for checked in own)
    span_us = (end - start) // dt.timedelta(microseconds=1)
    return Moment(start, end, doubt, late=undated and span_us > bounds.max_span_s * 1_000_000)
