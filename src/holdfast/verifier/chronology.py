"""What happened to a run, in the order in which it happened (``spec/bundle.md`` §2).

Times are of two kinds and say so: what a signer claimed, and when the exporter came to know something.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

from holdfast.core.bundles import (
    Bundle,
    CandidateItem,
    CheckpointItem,
    Entry,
    EntryItem,
    FinalityItem,
    Item,
    MarkItem,
    NoteItem,
    SilenceItem,
    StatementItem,
    VerdictItem,
    VotesItem,
)
from holdfast.core.canonical import JSON
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.statements import ArtifactBody, DecisionBody, Execution, PaymentBody, Route, Statement

_SIZE = re.compile(r"[0-9]{1,19}\Z")


def chronology(bundle: Bundle, known: int | None = None) -> list[dict[str, JSON]]:
    """Entries ``{"at","code","says","time","evidence","known"}`` in journal order of time.

    ``time`` is ``claimed`` (by the signer) or ``observed`` (by the exporter); ``known`` is the journal position.
    """
    rows: list[tuple[dt.datetime, int, dict[str, JSON]]] = []
    read = bundle.until(known)
    answered, final_at = _answered(read)
    for entry in read:
        described = _describe(entry.item)
        if described is None:
            continue
        code, says, evidence, claimed_at = described
        if isinstance(entry.item, StatementItem) and isinstance(entry.item.statement.body, PaymentBody):
            says += f" {_lies(entry.item.statement, answered, final_at)}"
        at = claimed_at or entry.at
        row: dict[str, JSON] = {
            "at": time_encode(at),
            "code": code,
            "says": says,
            "time": "claimed" if claimed_at else "observed",
            "evidence": evidence,
            "known": entry.position,
        }
        rows.append((at, entry.position, row))
    rows.sort(key=lambda row: row[:2])
    return [row for _, _, row in rows]


def _describe(item: Item) -> tuple[str, str, str | None, dt.datetime | None] | None:
    """(code, sentence, evidence digest, claimed time) of an item, or None for items that are not events."""
    if isinstance(item, StatementItem):
        statement = item.statement
        body = statement.body
        if isinstance(body, Route):
            says = f"The request was bound and sent to upstream {body.upstream}."
            return "routed", says, statement.digest, statement.claimed_at
        if isinstance(body, Execution):
            code = "answered" if body.event == "generated" and body.outcome == "complete" else body.event
            says = {
                "generated": f"The answer was generated and bound ({body.outcome}).",
                "failed": f"There was no answer ({body.outcome}).",
                "interrupted": f"The gateway was interrupted; what was acknowledged is bound ({body.outcome}).",
                "disconnected": "The client went away before the end was written.",
                "computed": "An inference node signed what it computed.",
                "proved": "The inference node signed that it has a proof of what it computed.",
                "recomputed": f"Another inference node ran it again: {body.comparison}.",
            }[body.event]
            return code, says, statement.digest, statement.claimed_at
        if isinstance(body, DecisionBody):
            says = f"A decision was signed: {body.act}."
            return "decision", says, statement.digest, statement.claimed_at
        if isinstance(body, PaymentBody):
            return body.event, _PAID[body.event], statement.digest, statement.claimed_at
        if isinstance(body, ArtifactBody):
            return body.event, _CHANGED[body.event], statement.digest, statement.claimed_at
        return statement.kind, f"A {statement.kind} statement was made.", statement.digest, statement.claimed_at
    if isinstance(item, MarkItem):
        return "marked", f"Mark {item.mark.seq} was signed.", item.mark.parts.hex(), None
    if isinstance(item, EntryItem):
        return "logged", f"The log took it as entry {item.index}.", item.digest, None
    if isinstance(item, CheckpointItem):
        return "cosigned", _checkpoint_words(item.note), sha256_hex(item.note.encode()), None
    if isinstance(item, CandidateItem):
        candidate = item.candidate
        says = f"Round {candidate.number}, attempt {candidate.attempt} was proposed: {candidate.size} entries."
        return "proposed", says, candidate.content.hex(), None
    if isinstance(item, VotesItem):
        return "voted", f"Round {item.number}: {len(item.voters)} full nodes have voted.", None, None
    if isinstance(item, VerdictItem):
        says = f"Round {item.number} says {item.entry.code} of entry {item.entry.index}."
        return "verdict", says, item.entry.statement_digest.hex(), None
    if isinstance(item, FinalityItem):
        says = f"Round {item.candidate.number}: {len(item.messages)} full nodes call it final."
        return "final", says, item.candidate.content.hex(), None
    if isinstance(item, SilenceItem):
        names = ", ".join(item.silent)
        says = f"{len(item.silent)} of {item.asked} full nodes did not answer: {names}." if names else ""
        return "silence", says or f"All {item.asked} full nodes answered again.", None, None
    if isinstance(item, NoteItem):
        return item.code, item.code.replace(".", " ").replace("-", " ").replace("_", " ").capitalize() + ".", None, None
    return None


_CHANGED = {
    "published": "A hub published an artifact.",
    "declared": "A hub noted what a provider declares.",
    "labelled": "A hub let a label mean an artifact from then on.",
    "revoked": "A hub revoked an artifact.",
}
_PAID = {
    "offered": "A payment was offered.",
    "authorised": "A payment was authorised.",
    "charged": "The run was charged.",
    "captured": "Money was taken.",
    "lapsed": "Nothing was taken: the authorisation lapsed.",
    "failed": "Nothing was taken: taking it failed.",
    "refund_due": "Money is owed back.",
    "refunded": "Money was given back.",
}


def _answered(read: Sequence[Entry]) -> tuple[Statement | None, dt.datetime | None]:
    """The closing statement, and when the exporter first knew of a final round that covers it."""
    closing = next(
        (
            entry.item.statement
            for entry in read
            if isinstance(entry.item, StatementItem)
            and isinstance(entry.item.statement.body, Execution)
            and entry.item.statement.body.closing
        ),
        None,
    )
    if closing is None:
        return None, None
    places = [
        entry.item.index for entry in read if isinstance(entry.item, EntryItem) and entry.item.digest == closing.digest
    ]
    finals = [
        entry.at
        for entry in read
        if isinstance(entry.item, FinalityItem) and places and entry.item.candidate.size > places[-1]
    ]
    return closing, min(finals, default=None)


def _lies(statement: Statement, closing: Statement | None, final_at: dt.datetime | None) -> str:
    """Where a payment lies relative to the answer and to its final round, each by the time that it stands with."""
    if closing is None:
        return "No answer is bound here."
    apart = statement.claimed_at - closing.claimed_at
    answer = "with" if not apart else "after" if apart > dt.timedelta() else "before"
    if final_at is None:
        return f"That is {answer} the answer; no round that covers the answer is final here."
    proof = "after" if statement.claimed_at >= final_at else "before"
    return f"That is {answer} the answer, and {proof} a round that covers the answer was known here to be final."


def _checkpoint_words(note: str) -> str:
    lines = note.split("\n")
    signatures = max(0, sum(line.startswith("— ") for line in lines) - 1)
    size = lines[1] if len(lines) > 1 and _SIZE.match(lines[1]) else "?"  # the note is not verified here: no free text
    return f"A checkpoint of {size} entries carries {signatures} cosignatures."
