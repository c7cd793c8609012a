"""Read a bundle's journal and check every piece of evidence in it (``spec/bundle.md`` §3).

Each check is made once, in the module named after what it is about, and noted in the transcript.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TypeVar

from holdfast.core.bundles import (
    AdmissionItem,
    AttestationItem,
    Bundle,
    CheckpointItem,
    DecisionItem,
    MarkItem,
    PaymentItem,
    ProofItem,
    StatementItem,
    VerdictItem,
)
from holdfast.core.trust import Trust
from holdfast.verifier.admitted import check_admissions
from holdfast.verifier.attesters import check_attestations, check_attesters
from holdfast.verifier.checkpoints import check_checkpoints
from holdfast.verifier.checks import CheckPolicy
from holdfast.verifier.disclosures import check_disclosures, check_marks
from holdfast.verifier.evidence import SIGNED, Evidence
from holdfast.verifier.final_rounds import check_rounds, check_verdicts
from holdfast.verifier.inclusion import check_inclusion, check_origins
from holdfast.verifier.records import check_decisions, check_payers_side, check_payments, check_proofs
from holdfast.verifier.trace import collect_changes, collect_statements, note_unmade
from holdfast.verifier.transcript import Transcript

Item = TypeVar("Item")
_TRUSTED = ("enclave", *SIGNED, "settlement", "judgement")
"""Lanes that say nothing without trust."""


def check_evidence(
    bundle: Bundle, trust: Trust | None, bounds: CheckPolicy, at: dt.datetime, known: int | None, record: Transcript
) -> Evidence:
    """Check everything in the journal up to ``known`` (``bundle.md`` §3)."""
    items = [entry.item for entry in bundle.until(known)]
    evidence = Evidence()
    collect_changes(items, evidence, record)
    collect_statements(bundle.run, _of(StatementItem, items), evidence, record)
    note_unmade(evidence, bounds, at, record)
    check_disclosures(items, evidence, record)
    check_decisions(_of(DecisionItem, items), evidence, bounds, record)
    check_payments(_of(PaymentItem, items), evidence, bounds, record)
    check_proofs(_of(ProofItem, items), evidence, record)
    statements = {digest: checked.statement for digest, checked in evidence.statements.items()}
    route = evidence.route.statement if evidence.route else None
    sent = evidence.shown(evidence.sent)
    evidence.admitted = check_admissions(_of(AdmissionItem, items), statements, route, *sent, record)
    check_marks(_of(MarkItem, items), evidence, trust, record)
    if trust is None:
        says = "No trust document was given, so no attester can be judged."
        record.note(_TRUSTED, "trust.md §5", "cannot_tell", says, "trust.missing")
        return evidence
    check_checkpoints(_of(CheckpointItem, items), evidence, trust, at, record)
    check_rounds(items, evidence, trust, record)
    check_origins(items, evidence, record)
    check_inclusion(items, evidence, record)
    check_attesters(evidence, trust, bounds, at, record)
    check_payers_side(evidence, trust, record)
    check_verdicts(_of(VerdictItem, items), evidence, record)
    check_attestations(_of(AttestationItem, items), evidence, trust, bounds, at, record)
    return evidence


def _of(kind: type[Item], items: Iterable[object]) -> list[Item]:
    return [item for item in items if isinstance(item, kind)]
