"""The ``artifact`` and ``computation`` lanes of a run that an inference node computed (``spec/lanes.md`` §3(6), §3(7)).

The node's statement says which bytes ran, on what, how. That is its word: an enclave, a proof that full nodes verified,
or another node that ran the same again can make more of it, each only as much as the run's mode can.

Not covered: verifying proofs (full nodes do, and their verdict counts here), and runs of remote providers.
"""

from __future__ import annotations

from holdfast.core.computations import Computation
from holdfast.core.statements import Execution
from holdfast.verifier.evidence import CheckedStatement, Evidence
from holdfast.verifier.lanes import Lane

_MODES = {
    "VANILLA": "signed, and nothing else",
    "TEE": "by a key that an enclave attests",
    "ZKML": "with a proof",
}


def computed_of(evidence: Evidence) -> CheckedStatement | None:
    """The statement of the inference node whose answer the closing statement names; None for other runs."""
    if evidence.closing is None:
        return None
    for digest in evidence.closing.statement.parents:
        found = evidence.statements.get(digest)
        if found is not None and _computation_of(found) is not None:
            return found
    return None


def computed_artifact_of(evidence: Evidence) -> str | None:
    """Digest (hex) of the artifact that the inference node names; None for other runs."""
    checked = computed_of(evidence)
    how = None if checked is None else _computation_of(checked)
    return None if how is None else how.artifact


def computed_artifact(evidence: Evidence) -> Lane:
    """The ``artifact`` lane; only where :func:`computed_of` finds something."""
    checked = computed_of(evidence)
    how = None if checked is None else _computation_of(checked)
    if checked is None or how is None:
        return Lane("artifact", "unknown", None, "No inference node says which bytes ran.")
    digests = (checked.statement.digest, how.artifact)
    lane = _unacceptable("artifact", checked, digests)
    if lane is not None:
        return lane
    says = (
        f"By the account of inference node {checked.statement.attester[:12]}, the artifact {how.artifact[:12]} was in "
        f"memory and ran, under {how.runtime} {how.version}."
    )
    return Lane("artifact", "proven", "signature", says, digests)


def computation(evidence: Evidence, *, development: bool) -> Lane:
    """The ``computation`` lane; only where :func:`computed_of` finds something. ``development``: trust is so marked."""
    checked = computed_of(evidence)
    how = None if checked is None else _computation_of(checked)
    if checked is None or how is None:
        return Lane("computation", "unknown", None, "No inference node says what it computed.")
    digests = (checked.statement.digest,)
    lane = _unacceptable("computation", checked, digests)
    if lane is not None:
        return lane
    if evidence.refusals["computation"]:
        return Lane("computation", "refuted", None, evidence.refusals["computation"][0][1], digests)
    again = _follow_ups(evidence, "recomputed")
    differing = [item for item in again if _body(item).comparison == "different"]
    if differing:
        other = differing[0]
        says = f"{_said(how)} {_compared(other)} One of the two is wrong."
        return Lane("computation", "refuted", "observed", says, (*digests, other.statement.digest))
    lane = _by_mode(evidence, checked, how, alone=not again, development=development)
    if not again:
        return lane
    says = f"{lane.says} {' '.join(_compared(item) for item in again)}"
    shown = (*lane.evidence, *(item.statement.digest for item in again))
    if lane.state == "proven" or how.mode != "VANILLA":
        return Lane("computation", lane.state, lane.basis, says, shown)
    return Lane("computation", "proven", "observed", says, shown)


def _by_mode(
    evidence: Evidence, checked: CheckedStatement, how: Computation, *, alone: bool, development: bool
) -> Lane:
    """What the run's own mode can say. ``alone``: nobody else ran it."""
    digests = (checked.statement.digest,)
    if how.mode == "ZKML":
        return _proof(evidence, checked, how, development=development)
    if how.mode == "TEE":
        return _enclave(evidence, checked, how)
    says = f"{_said(how)} It is the node's word{': nobody else has run it' if alone else ''}."
    return Lane("computation", "unknown", "signature", says, digests)


def _enclave(evidence: Evidence, checked: CheckedStatement, how: Computation) -> Lane:
    node = checked.statement.attester
    answers = {item.answer: item for item in reversed(evidence.attestations.get(node, []))}
    digests = (checked.statement.digest, node)
    for answer, state, basis in (
        ("bad", "refuted", None),
        ("development", "unknown", "development"),
        ("hardware", "proven", "hardware"),
        ("expired", "expired", None),
        ("undated", "pending", None),
        ("unread", "unknown", None),
    ):
        for found in (item for name, item in answers.items() if name == answer):
            shown = (*digests, found.digest) if state == "proven" else digests
            return Lane("computation", state, basis, f"{_said(how)} Of the node's key: {found.says}", shown)
    says = f"{_said(how)} No attestation of the node's key was presented."
    return Lane("computation", "unknown", None, says, digests)


def _proof(evidence: Evidence, checked: CheckedStatement, how: Computation, *, development: bool) -> Lane:
    proofs = _follow_ups(evidence, "proved")
    digests = (checked.statement.digest, *(item.statement.digest for item in proofs))
    if not proofs:
        return Lane("computation", "pending", None, f"{_said(how)} The proof is not here yet.", digests)
    newest = proofs[0]
    own = how.circuit is not None and how.circuit.srs == "development"
    srs = " The reference string is the node's own: whoever made it could forge proofs." if own else ""
    verdict = newest.verdict
    if verdict == "ok":
        says = f"{_said(how)} Full nodes verified the proof, in final round {newest.verdict_round}.{srs}"
        return Lane("computation", "proven", "development" if own or development else "proof", says, digests)
    if verdict == "cannot_tell":
        says = f"{_said(how)} Full nodes could not verify the proof: they cannot get at it, or have no verifier."
        return Lane("computation", "unknown", None, says + srs, digests)
    if verdict is not None:
        says = f"{_said(how)} Full nodes refused the proof ({verdict}), in final round {newest.verdict_round}."
        return Lane("computation", "refuted", "proof", says, digests)
    says = f"{_said(how)} The proof is signed; no final round has a verdict on it yet."
    return Lane("computation", "pending", None, says + srs, digests)


def _unacceptable(name: str, checked: CheckedStatement, digests: tuple[str, ...]) -> Lane | None:
    """A lane that rests on a statement which cannot be judged, is refused, or has run out; None where it stands."""
    if not checked.judged:
        return Lane(name, "unknown", None, "Without a trust document nobody can say who computed this.", digests)
    if checked.ran_out:
        return Lane(name, "expired", None, "The node's key has run out and no quorum dated its statement.", digests)
    why = checked.refusal or checked.late
    if why is None and checked.verdict is not None and checked.verdict.startswith("refuted:"):
        why = checked.verdict
    if why is not None:
        return Lane(name, "refuted", None, f"What the inference node signed is not acceptable ({why}).", digests)
    return None


def _follow_ups(evidence: Evidence, event: str) -> list[CheckedStatement]:
    """Acceptable follow-ups of an event, in order of the times they claim."""
    found = [
        item
        for item in evidence.follow_ups
        if isinstance(item.statement.body, Execution)
        and item.statement.body.event == event
        and item.judged
        and not item.not_yet
        and item.refusal is None
        and item.late is None
        and (event == "proved" or item.verdict is None or not item.verdict.startswith("refuted:"))
    ]
    return sorted(found, key=lambda item: (item.statement.claimed_at, item.statement.digest))


def _said(how: Computation) -> str:
    return (
        f"Mode {how.mode}: {_MODES[how.mode]}. Run by {how.runtime} {how.version}, optimisation {how.optimisation}, "
        f"threads {how.threads}, {how.instructions}."
    )


def _compared(item: CheckedStatement) -> str:
    body = _body(item)
    node = item.statement.attester[:12]
    how = f" ({body.computation.instructions})" if body.computation is not None else ""
    return {
        "equal": f"Inference node {node}{how} ran it again: every bit is equal.",
        "within": f"Inference node {node}{how} ran it again: equal within the tolerance, not in every bit.",
        "different": f"Inference node {node}{how} ran it again and got another answer.",
    }[body.comparison or "different"]


def _body(item: CheckedStatement) -> Execution:
    body = item.statement.body
    if not isinstance(body, Execution):
        raise TypeError("only executions are compared")
    return body


def _computation_of(checked: CheckedStatement) -> Computation | None:
    body = checked.statement.body
    return body.computation if isinstance(body, Execution) and body.event == "computed" else None
