"""What a bundle's journal presents, with what came out of checking it (``spec/bundle.md`` §3).

``verifier.reading`` fills it; ``verifier.appraisal`` derives the lanes from it and looks at no bytes itself.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import canonical, rounds
from holdfast.core.artifact_changes import ArtifactChange
from holdfast.core.bundles import SilenceItem
from holdfast.core.decisions import DecisionDocument
from holdfast.core.metadata import path_of
from holdfast.core.notes import Checkpoint
from holdfast.core.parts import Part, map_parts
from holdfast.core.payments import PaymentDocument
from holdfast.core.proofs import ProofDocument
from holdfast.core.statements import Execution, Route, Statement
from holdfast.errors import HoldfastError
from holdfast.verifier.admitted import Admitted
from holdfast.verifier.enclaves import CheckedAttestation
from holdfast.verifier.transcript import Transcript

SIGNED = ("bytes", "route")
"""Lanes that rest on the statements of the closure themselves."""
_CARRIED = {"admission": ("bytes", "inputs"), "recall": ("bytes", "memory")}
"""Lanes that a statement of a kind is about, where they are others than :data:`SIGNED`."""
_APART = {"decision": "judgement", "payment": "payment", "artifact": "artifact"}
"""Kinds that come after a run, or are of none, and their lanes: what is wrong with one speaks against that lane
alone."""


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
        return apart_of(self.statement)

    @property
    def lanes(self) -> tuple[str, ...]:
        """The lanes that a check of the statement itself is about (``lanes.md`` §2)."""
        return (self.apart,) if self.apart else _CARRIED.get(self.statement.kind, SIGNED)

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
    refusals: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """By lane: (code, sentence) of everything that is wrong with what it rests on, wherever that was found. Under
    ``bytes`` stand disclosed bytes that do not fit and rules of the trace that are broken."""
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
        self.refusals[lane].append((code, says))

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


def apart_of(statement: Statement) -> str | None:
    """The lane that a statement which comes after a run is about alone; None for the statements of the run itself."""
    body = statement.body
    if isinstance(body, Execution) and body.event in ("proved", "recomputed"):
        return "computation"
    return _APART.get(statement.kind)


def refuse_and_note(evidence: Evidence, record: Transcript, lane: str, code: str, says: str, spec: str) -> None:
    """Refuse a lane, and put the check that did into the transcript."""
    evidence.refuse(lane, code, says)
    record.note((lane,), spec, "no", says, code)


def refuse_settlement(
    evidence: Evidence, record: Transcript, code: str, says: str, about: CheckedStatement | None = None
) -> None:
    """Refuse the settlement of the run, or, where it is ``about`` a decision or a payment, that one."""
    lane = about.settles if about is not None else "settlement"
    refuse_and_note(evidence, record, lane, code, says, "bundle.md §3")
