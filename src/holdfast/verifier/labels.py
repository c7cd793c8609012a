"""What a label meant when a run was computed (``spec/lanes.md`` §3.1).

A bundle can show changes of a label, each an ``artifact`` statement of a hub with the document that opens it.
:func:`check_histories` holds those of one label and hub together, :func:`add_history` holds them against the artifact
that an inference node says it ran, and lets the ``artifact`` lane tell both.

Rules: a history is compared only where the name that was asked for is shown, and is the label's. That the label meant
something else refutes only where nothing can have been left out; what was left out makes nothing better.

Not covered: whether one change is acceptable and what it commits to (``verifier.evidence``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from holdfast.core.artifact_changes import ArtifactChange, explain_continuity, verify_history
from holdfast.core.encoding import time_encode
from holdfast.core.trust import Trust
from holdfast.errors import RefusedError
from holdfast.verifier.computation import computed_artifact_of, computed_of
from holdfast.verifier.evidence import CheckedStatement, Evidence, refuse_and_note
from holdfast.verifier.lanes import Lane
from holdfast.verifier.transcript import Transcript

LATEST = ":latest"
"""What the name of a model without a label stands for (``artifacts.md`` §7)."""
_MINUTE = dt.timedelta(minutes=1)
_SPEC = "lanes.md §3.1"


@dataclass(frozen=True, slots=True)
class Shown:
    """A change of a label: what is known of its statement, and what its document says."""

    checked: CheckedStatement
    change: ArtifactChange

    @property
    def digest(self) -> str:
        return self.checked.statement.digest


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a label can have meant when a run was computed."""

    possible: frozenset[str]
    """Artifacts, in hex; empty where it meant nothing yet."""
    closed: bool
    """Whether no change can have been left out between the last that is taken and the run."""


# --- changes as histories ---------------------------------------------------------------------------------------------


def check_histories(evidence: Evidence, record: Transcript) -> None:
    """Refuse changes that are unacceptable, or that do not follow each other (§3.1(1))."""
    for checked in evidence.changes.values():
        digest, verdict = checked.statement.digest, checked.verdict
        if checked.refusal is not None and not checked.ran_out:  # the transcript has it already
            evidence.refuse("artifact", f"statement.{checked.refusal}", f"Change {digest[:12]} of a label is refused.")
        if verdict is not None and verdict.startswith("refuted:"):
            says = f"Final round {checked.verdict_round} refuted change {digest[:12]}: {verdict}."
            evidence.refuse("artifact", "round.refuted", says)
    for history in _histories(evidence):
        label = history[0].change.label
        try:
            verify_history([(item.checked.statement, item.change) for item in history])
        except RefusedError as error:
            says = f"The changes that are shown are no history of one label: {error.message}."
            refuse_and_note(evidence, record, "artifact", error.code, says, _SPEC)
            continue
        if label is not None:
            record.note(("artifact",), _SPEC, "yes", "What is shown of a label's changes is without a gap or a fork.")


def _histories(evidence: Evidence) -> list[list[Shown]]:
    """The changes that had been made, by hub and label, each in the order in which they say they were made."""
    found: dict[tuple[str, str], list[Shown]] = {}
    for digest, change in evidence.changed.items():
        checked = evidence.changes[digest]
        if not checked.not_yet:
            name = change.label.id if change.label is not None else change.event
            found.setdefault((checked.statement.attester, name), []).append(Shown(checked, change))
    return [_in_order(items) for items in found.values()]


def _in_order(items: Sequence[Shown]) -> list[Shown]:
    """Each behind the one it names; by their times where that says nothing."""
    waiting = sorted(items, key=lambda item: (item.change.at, item.digest))
    digests = {item.digest for item in items}
    ordered = [item for item in waiting if not digests.intersection(item.checked.statement.parents)][:1]
    while ordered:
        following = [item for item in waiting if item.checked.statement.parents == (ordered[-1].digest,)][:1]
        if not following:
            break
        ordered += following
    taken = {item.digest for item in ordered}
    return [*ordered, *(item for item in waiting if item.digest not in taken)]


# --- what the label meant ---------------------------------------------------------------------------------------------


def add_history(lane: Lane, evidence: Evidence, trust: Trust | None, skew_s: int, record: Transcript) -> Lane:
    """The ``artifact`` lane, with what the label meant (§3.1); as it came where no change is shown."""
    if not evidence.changes:
        return lane
    if evidence.refusals["artifact"]:
        digests = (*lane.evidence, *evidence.changes)
        return replace(lane, state="refuted", basis=None, says=evidence.refusals["artifact"][0][1], evidence=digests)
    checked, artifact = computed_of(evidence), computed_artifact_of(evidence)
    if checked is None or artifact is None or trust is None or lane.state != "proven":
        return replace(lane, says=f"{lane.says} What a label meant is shown, and nothing here to compare it with.")
    asked = _asked(evidence)
    if asked is None:
        return replace(lane, says=f"{lane.says} The history of a label is shown; which was asked for is not.")
    histories = [
        [item for item in history if item.checked.judged and not item.checked.ran_out]
        for history in _histories(evidence)
        if history[0].change.label is not None and history[0].change.label.name == asked
    ]
    histories = [history for history in histories if history]
    if not histories:
        says = f"{lane.says} Of the label that was asked for, {asked!r}, no history is shown that counts."
        return replace(lane, says=says)
    skew = dt.timedelta(seconds=skew_s)
    for history in histories:
        if artifact in meaning(history, checked, skew).possible:
            record.note(("artifact",), _SPEC, "yes", f"Label {asked!r} meant the artifact that ran.")
            return _same(lane, history, checked, artifact, asked)
    history = histories[0]
    found = meaning(history, checked, skew)
    hub = history[0].checked.statement.attester
    meant = " or ".join(f"artifact {item[:12]}" for item in sorted(found.possible)) or "nothing yet"
    told = f"Label {asked!r} meant {meant} then, by the word of hub {hub[:12]}, and not what ran."
    shown = (*lane.evidence, *(item.digest for item in history))
    if found.closed and not _another_hub(hub, trust, checked.statement.claimed_at):
        refuse_and_note(evidence, record, "artifact", "artifact_change.meant", told, _SPEC)
        return replace(lane, state="refuted", basis=None, says=f"{told} {lane.says}", evidence=shown)
    why = "another hub may have been asked" if found.closed else "a later change may be missing here"
    record.note(("artifact",), _SPEC, "cannot_tell", told, "artifact_change.meant")
    says = f"{told} It is open: {why}. {lane.says}"
    return replace(lane, state="unknown", basis="signature", says=says, evidence=shown)


def _asked(evidence: Evidence) -> str | None:
    """The label that was asked for by its whole name, where it is shown."""
    name = evidence.named("response", "model") or evidence.named("request", "model")
    return name if name is None or ":" in name else name + LATEST


def computed_span(checked: CheckedStatement) -> tuple[dt.datetime, dt.datetime]:
    """From when to when a run can have been computed by its own claim: a whole minute is one that was rounded down."""
    start = checked.statement.claimed_at
    coarse = not start.second and not start.microsecond
    return start, start + _MINUTE if coarse else start


def meaning(history: Sequence[Shown], checked: CheckedStatement, skew: dt.timedelta) -> Meaning:
    """What a label can have meant when ``checked`` was computed (§3.1(3)). Pure."""
    start, end = computed_span(checked)
    before = [item for item in history if item.change.at <= start - skew and not _behind(item, checked)]
    known = {item.digest for item in before}
    near = [item for item in history if item.digest not in known and item.change.at <= end + skew]
    possible = {item.change.artifact for item in (*before[-1:], *near)}
    oldest = history[0].change
    if not before and oldest.before is not None:
        possible.add(oldest.before)
    later = any(item.change.at > end + skew for item in history)
    return Meaning(frozenset(possible), later or (not before and oldest.before is None))


def _behind(item: Shown, checked: CheckedStatement) -> bool:
    """Whether a change stands behind the run in the log, as far as both places are shown."""
    return item.checked.index is not None and checked.index is not None and item.checked.index > checked.index


def _same(lane: Lane, history: Sequence[Shown], checked: CheckedStatement, artifact: str, name: str) -> Lane:
    """The label can have meant what ran: since when, and where it went."""
    _, end = computed_span(checked)
    places = [place for place, item in enumerate(history) if item.change.artifact == artifact]
    hub = history[0].checked.statement.attester[:12]
    if not places:
        told = f"Label {name!r} meant it before the first change that is shown, by the word of hub {hub}."
        later, told_by = list(history), []
    else:
        place = max((place for place in places if history[place].change.at <= end), default=places[0])
        found = history[place]
        told = (
            f"Label {name!r} means it since {time_encode(found.change.at)}, by the word of hub {hub} "
            f"({_place(found)}). {explain_continuity(found.change)}"
        )
        later, told_by = list(history[place + 1 :]), [found.digest]
    moves = [item for item in later if item.change.artifact != item.change.before]
    ends = dict.fromkeys(item.digest for item in (*moves[:1], *moves[-1:]))
    return replace(lane, says=f"{lane.says} {told} {_moved(moves)}", evidence=(*lane.evidence, *told_by, *ends))


def _another_hub(hub: str, trust: Trust, at: dt.datetime) -> bool:
    return any(
        "hub" in admission.key_document.roles
        and admission.key_document.digest != hub
        and admission.refusal(at, at) is None
        for admission in trust.current.nodes
    )


def _place(item: Shown) -> str:
    index = item.checked.index
    if index is None:
        return "its place in the log is not shown"
    return f"entry {index} of the log{', which full nodes accepted' if item.checked.verdict == 'ok' else ''}"


def _moved(moves: Sequence[Shown]) -> str:
    """Where the label went since."""
    if not moves:
        return "No later move of the label is shown."
    first, last = moves[0].change, moves[-1].change
    says = f"The label has moved since: at {time_encode(first.at)}, to artifact {first.artifact[:12]}."
    says += f" {explain_continuity(first)}"
    if len(moves) > 1:
        says += f" {len(moves)} moves are shown; by the last, at {time_encode(last.at)}, it means {last.artifact[:12]}."
    return says
