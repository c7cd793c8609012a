"""Whether presented paths lead from statements to known roots of one log (``spec/bundle.md`` §3)."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.core import merkle
from holdfast.core.bundles import CandidateItem, CommitmentItem, EntryItem, FinalityItem, InclusionItem
from holdfast.core.encoding import sha256_hex
from holdfast.core.statements import build_commitment
from holdfast.errors import RefusedError
from holdfast.verifier.evidence import CheckedStatement, Evidence, refuse_settlement
from holdfast.verifier.transcript import Transcript


def check_origins(items: Iterable[object], evidence: Evidence, record: Transcript) -> None:
    """A bundle speaks of one log (``bundle.md`` §3): rounds and sizes of two logs must not answer for each other."""
    origins = {item.candidate.origin for item in items if isinstance(item, CandidateItem | FinalityItem)}
    origins |= {checked.checkpoint.origin for checked in evidence.checkpoints}
    if len(origins) > 1:
        refuse_settlement(evidence, record, "bundle.origins", "The bundle mixes evidence of several logs.")


def check_inclusion(items: Iterable[object], evidence: Evidence, record: Transcript) -> None:
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
            refuse_settlement(evidence, record, "log.inclusion", says, owner)
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
    refuse_settlement(evidence, record, "commitment.opening", "A commitment does not open to any statement here.")


def _check_log_order(evidence: Evidence, record: Transcript) -> None:
    shown = evidence.checked()
    for checked in shown.values():
        for digest in checked.statement.parents:
            parent = shown.get(digest)
            if parent is None or parent.index is None or checked.index is None:
                continue
            if parent.index >= checked.index:
                says = "A statement stands before its parent in the log."
                refuse_settlement(evidence, record, "trace.order", says, checked)
