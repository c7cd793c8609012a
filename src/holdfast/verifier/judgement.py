"""The ``judgement`` lane: who decided, on what, having seen which lanes (``spec/lanes.md`` §3(10)).

Fed by ``decision`` statements and the documents that open them, as ``verifier.evidence`` has checked them, and by
nothing else. It says who decided on what. Which of several decisions counts is the gate's question, and whether one was
right is nobody's.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from holdfast.core import canonical
from holdfast.core.decisions import MAX_TEXT, DecisionDocument
from holdfast.core.encoding import time_encode
from holdfast.core.metadata import DECISION_RULE, path_of
from holdfast.core.statements import DecisionBody
from holdfast.errors import HoldfastError
from holdfast.verifier.evidence import CheckedStatement, Evidence
from holdfast.verifier.lanes import Lane

MOST_TOLD = 16
"""Decisions that the lane tells one by one; the transcript holds all of them."""
MOST_QUOTED = 120
"""Characters of a recorded text that the lane quotes; the document holds the rest."""
SIGNED_LATE = dt.timedelta(minutes=1)
"""Of a statement that claims a time so long after its decision, the lane says so (``statement.md`` §4.3(4))."""
_RECORDED = ("rule", "threshold", "framing")
_DID = {
    "approve": "approved",
    "reject": "rejected",
    "release": "released early",
    "reopen": "reopened",
    "recall": "recalled",
}


def judgement(evidence: Evidence, *, trusted: bool) -> Lane:
    """The lane; ``trusted`` says whether there was a trust document to judge attesters by."""
    decisions = evidence.decisions()
    digests = tuple(item.statement.digest for item in decisions)
    refusals = [says for _, says in evidence.refusals["judgement"]] + [
        says for says in map(_refusal, decisions) if says is not None
    ]
    if refusals:
        return Lane("judgement", "refuted", None, refusals[0], digests)
    made = [item for item in decisions if not item.not_yet]
    if decisions and not made:
        says = "Nobody had decided anything about this run at the time asked about; it was decided later."
        return Lane("judgement", "not_applicable", None, says)
    decisions = made
    digests = tuple(item.statement.digest for item in decisions)
    if not decisions:
        return Lane("judgement", "not_applicable", None, "Nobody has decided anything about this run.")
    if not trusted:
        says = "Without a trust document nobody can say whose decisions these are."
        return Lane("judgement", "unknown", None, says, digests)
    if any(item.ran_out for item in decisions):
        says = "The panel's key has run out and no quorum dated its decision in time."
        return Lane("judgement", "expired", None, says, digests)
    asked = rule_in_request(evidence)
    told = " ".join(_tell(item, evidence.opened.get(item.statement.digest), asked) for item in decisions[:MOST_TOLD])
    if len(decisions) > MOST_TOLD:
        told += f" {len(decisions) - MOST_TOLD} more decisions follow."
    missing = next((why for item in decisions if (why := _missing(item, evidence)) is not None), None)
    if missing is not None:
        return Lane("judgement", "unknown", None, f"{missing} {told}", digests)
    documents = [evidence.opened[item.statement.digest] for item in decisions]
    people = [document for document in documents if document.person is not None]
    if not people:
        says = f"No person has decided anything about this run; its panel acted by itself. {told}"
        return Lane("judgement", "unknown", "operator_claim", says, digests)
    if "framing" not in asked and any(document.framing is None for document in people):
        says = f"It was not recorded how the decided question was framed. {told}"
        return Lane("judgement", "unknown", "human", says, digests)
    return Lane("judgement", "proven", "human", told, digests)


def judged_at(evidence: Evidence) -> dt.datetime | None:
    """What the lane is dated by (``gate.md`` §1): the newest decision of a person that is shown and not refused; None
    while there is none."""
    moments = [
        item.trusted_time or item.statement.claimed_at
        for item in evidence.decisions()
        if item.refusal is None
        and (document := evidence.opened.get(item.statement.digest)) is not None
        and document.person is not None
    ]
    return max(moments, default=None)


def rule_in_request(evidence: Evidence) -> Mapping[str, str]:
    """What the run's own request records of how to decide (any of ``rule``, ``threshold``, ``framing``), where it is
    disclosed, whole or in these parts (``statement.md`` §4.3(5)).

    Both hold only what matches its signed root; whoever asked may have written anything there.
    """
    found: dict[str, object] = {}
    for part in evidence.parts.get("request", ()):
        above, _, name = path_of(part.label).rpartition("/")
        if above == DECISION_RULE and part.label.split(b"|")[3] == b"s":
            found[name] = part.data.decode()
    try:
        value = canonical.decode(evidence.documents.get("request", "{}").encode())
        found |= dict(value["holdfast"]["decision_rule"])
    except (HoldfastError, KeyError, TypeError, ValueError):
        pass
    return {name: text for name in _RECORDED if isinstance(text := found.get(name), str) and 1 <= len(text) <= MAX_TEXT}


def _refusal(item: CheckedStatement) -> str | None:
    """Why a decision statement is not acceptable."""
    name = f"decision {item.statement.digest[:12]}"
    if item.refusal is not None and not item.ran_out:
        return f"Not acceptable: {name} is refused ({item.refusal})."
    if item.verdict is not None and item.verdict.startswith("refuted:"):
        return f"Final round {item.verdict_round} refuted {name}: {item.verdict}."
    return None


def _missing(item: CheckedStatement, evidence: Evidence) -> str | None:
    """What would have to be here to know who decided on what."""
    digest, body = item.statement.digest, item.statement.body
    if any(parent not in evidence.statements for parent in item.statement.parents):
        return f"What decision {digest[:12]} follows from is not in this bundle."
    if digest not in evidence.opened:
        return f"Decision {digest[:12]} was made, and its document is not shown here."
    if isinstance(body, DecisionBody) and body.cases is not None and digest not in evidence.in_batch:
        return f"Decision {digest[:12]} recalled {body.cases.size} cases; nothing here shows that this is one of them."
    return None


def _tell(item: CheckedStatement, document: DecisionDocument | None, asked: Mapping[str, str]) -> str:
    """One decision as sentences. Whatever a person typed is quoted: nothing in it can look like our own words."""
    body = item.statement.body
    if not isinstance(body, DecisionBody):  # every statement of the kind has one; this says so to the type checker
        return ""
    when = time_encode(item.statement.claimed_at)
    seen = f"having seen lane vector {body.lanes.hex()[:12]}, under policy {body.policy.hex()[:12]}"
    dated = "a quorum dated it" if item.trusted_time is not None else "its time is the panel's claim"
    if document is None:
        return f"Somebody {_DID[body.act]} at {when}, {seen}; {dated}."
    who = "The panel itself" if document.person is None else f"{_quote(document.person)} ({document.role})"
    did = _DID[body.act]
    if document.until is not None:
        did += f" until {time_encode(document.until)}"
    if body.cases is not None:
        did += f" it with {body.cases.size - 1} other cases"
    if item.statement.claimed_at - document.at >= SIGNED_LATE:
        dated = f"signed only at {when}, {dated}"
    when = time_encode(document.at)
    reason = f", saying {_quote(document.reason)}" if document.reason else ""
    return f"{who} {did} at {when}{reason}; {_followed(document, asked)}; {seen}; {dated}."


def _followed(document: DecisionDocument, asked: Mapping[str, str]) -> str:
    """By which rule, threshold and framing, or that none was recorded."""
    words = []
    for name in _RECORDED:
        text: str | None = getattr(document, name)
        if text is not None:
            words.append(f"{name} {_quote(text)}")
        elif name in asked:
            words.append(f"{name} {_quote(asked[name])} as the request has it")
        else:
            words.append(f"no {name} was recorded")
    return ", ".join(words)


def _quote(text: str) -> str:
    """In quotes, on one line, and not for ever."""
    return repr(text if len(text) <= MOST_QUOTED else text[: MOST_QUOTED - 1] + "…")
