"""What a final round refuted, from the round itself (``spec/round.md`` §5): no run's evidence is needed for it.

Whoever keeps many runs learns from one verdict blob which statements of all of them a round spoke against. The round is
believed by its finality messages under the trust handed in, and the blob by the candidate's two digests. Pure.

Not covered: which round to look at, and where its blob comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.core import rounds
from holdfast.core.bundles import FinalityItem
from holdfast.core.trust import Trust
from holdfast.errors import RefusedError, UndecidedError
from holdfast.verifier.evidence import Evidence
from holdfast.verifier.final_rounds import check_finality
from holdfast.verifier.transcript import Transcript


def refuted_statements(
    candidate: rounds.Candidate, messages: Sequence[rounds.FinalityMessage], blob: bytes, trust: Trust
) -> Mapping[str, str]:
    """The verdict code by digest (hex) of every statement that a final round refuted.

    Raises ``round.not_final`` where trust does not call the round final, ``round.blob_id`` or ``round.verdict_root``
    for another round's verdicts, and what :func:`~holdfast.core.rounds.parse_verdict_blob` raises.
    """
    evidence = Evidence()
    check_finality(FinalityItem(candidate, tuple(messages)), evidence, trust, Transcript())
    checked = evidence.final_rounds.get(candidate.number)
    if checked is None or not checked.final:
        raise UndecidedError("round.not_final", f"nothing here shows that round {candidate.number} is final")
    if rounds.blob_id(blob) != candidate.blob_id:
        raise RefusedError("round.blob_id", "these bytes are not the candidate's verdict blob")
    entries = rounds.parse_verdict_blob(blob)
    if rounds.verdict_root(entries) != candidate.verdict_root:
        raise RefusedError("round.verdict_root", "the verdicts do not hash to the candidate's verdict root")
    return {entry.statement_digest.hex(): entry.code for entry in entries if entry.code.startswith("refuted:")}
