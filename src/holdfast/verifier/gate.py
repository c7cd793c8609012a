"""``decide``: a queue's policy, a lane vector, what people did, and a time in; one of five states and why out.

Pure (``spec/gate.md`` §4): the same arguments give the same result for ever. This is the one place where lanes lead to
a single word, and the word is an answer to a *named policy*, whose digest stands beside it: the same lanes are clear
under one policy and held under another, and none of the five says that an answer is right.

Rules, in the order in which they are tried (§4): what was recalled stays recalled; what was rejected stays rejected;
every requirement met is CLEAR; a valid early release is PROVISIONAL; the rest is HOLD. Nothing but the requirements
makes a case CLEAR: no decision, no release and no history does.

Not covered: who may act at all (``holdfast.review``), and whether a decision was signed and logged (the ``judgement``
lane). The caller hands in decisions in the order of its journal and keeps what :class:`History` asks for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, TypeAlias

from holdfast.core import canonical
from holdfast.core.canonical import JSON
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.errors import UsageError
from holdfast.verifier.appraisal import Appraisal
from holdfast.verifier.lanes import LANES, Lane
from holdfast.verifier.queue_policy import DECIDING_ROLES, QueuePolicy, in_words, span_in_words

LANE_VECTOR_TYPE = "urn:holdfast:lane-vector:v1"
"""``type`` of a lane vector (``gate.md`` §1)."""
State: TypeAlias = Literal["HOLD", "PROVISIONAL", "CLEAR", "REJECTED", "RECALLED"]
"""What a case is, relative to its queue's policy (``gate.md`` §4)."""
GATE_STATES = ("HOLD", "PROVISIONAL", "CLEAR", "REJECTED", "RECALLED")
"""The closed list of :data:`State`."""
Act: TypeAlias = Literal["approve", "reject", "reopen"]
"""What a person can decide about a case; releasing is a :class:`Release`."""
_LAST_MOMENT = dt.datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=dt.UTC)
"""The last time that has a spelling (``conventions.md`` §2(3))."""


@dataclass(frozen=True)
class LaneVector:
    """The eleven lanes of a run as one value that has a digest and no meaning of its own (``gate.md`` §1)."""

    run: str
    lanes: Mapping[str, Lane]
    """All eleven; :class:`UsageError` ``gate.lanes`` otherwise."""
    dated: Mapping[str, dt.datetime | None]
    """By lane: since when what it rests on is dated; None while there is nothing to date. No part of the digest."""

    def __post_init__(self) -> None:
        if len(self.lanes) != len(LANES) or any(name not in self.lanes for name in LANES):
            raise UsageError("gate.lanes", f"a lane vector has exactly these lanes: {', '.join(LANES)}")

    @cached_property
    def document(self) -> bytes:
        """Canonical JSON: states, bases and evidence, no sentences, so that wording changes nothing."""
        lanes: dict[str, JSON] = {}
        for name, lane in self.lanes.items():
            found: dict[str, JSON] = {"state": lane.state, "basis": lane.basis}
            found["evidence"] = [*sorted(set(lane.evidence))]
            if lane.deviations:
                found["deviations"] = [*lane.deviations]
            lanes[name] = found
        return canonical.encode_known({"type": LANE_VECTOR_TYPE, "run": self.run, "lanes": lanes})

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of :attr:`document`."""
        return sha256_hex(self.document)


def vector_of(appraisal: Appraisal) -> LaneVector:
    """The lane vector of an appraisal."""
    return LaneVector(appraisal.run, appraisal.lanes, appraisal.dated)


@dataclass(frozen=True, slots=True)
class Decision:
    """One act of one person, and which lanes and policy they had before them."""

    person: str
    role: str
    """The role they acted in, not all they hold."""
    act: Act
    at: dt.datetime
    lanes_digest: str
    policy_digest: str
    requester: bool = False
    """Whether their own key asked for the run: then the decision does not count."""


@dataclass(frozen=True, slots=True)
class Release:
    """A person's act of letting a case go before its proof, until ``until`` (which it no longer covers)."""

    person: str
    role: str
    at: dt.datetime
    until: dt.datetime
    policy_digest: str
    requester: bool = False
    """Whether their own key asked for the run: then the release does not count."""


@dataclass(frozen=True, slots=True)
class History:
    """What the gate has to know of the past of a case; the caller keeps it (``gate.md`` §3)."""

    relied: bool = False
    """Whether the case was ever CLEAR or PROVISIONAL since the last reopening."""
    recalled: tuple[str, ...] = ()
    """Causes, as sentences without a full stop, of every recall since the last reopening: those that came from
    outside and those that :func:`decide` found itself."""
    released_early: bool = False
    """Whether the case was ever PROVISIONAL. Never false again."""
    label_moved_at: dt.datetime | None = None
    """When the label that the case stands on last came to mean another artifact; None where it did not. Approvals that
    were not given after that do not count (``gate.md`` §4(3))."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a case is not (yet) clear: a stable code, the lane it is about, and a sentence for a reviewer."""

    code: str
    lane: str | None
    says: str

    def to_json(self) -> dict[str, JSON]:
        return {"code": self.code, "lane": self.lane, "says": self.says}


@dataclass(frozen=True, slots=True)
class GateResult:
    """The gate's answer, and what it was computed from."""

    state: State
    reasons: tuple[Reason, ...]
    """One for each unmet requirement; empty only for CLEAR."""
    clear_until: dt.datetime | None
    """The first moment at which CLEAR has to be asked for again; None when nothing runs out, or not CLEAR."""
    released_early: bool
    policy_digest: str
    lanes_digest: str

    def reword(self, reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
        """Reasons in the words of this answer, where it gives the same ones: what lanes say changes more often than
        what is unmet."""
        same = [(reason.code, reason.lane) for reason in reasons] == [
            (reason.code, reason.lane) for reason in self.reasons
        ]
        return self.reasons if same else reasons

    def to_json(self) -> dict[str, JSON]:
        return {
            "state": self.state,
            "reasons": [reason.to_json() for reason in self.reasons],
            "clear_until": None if self.clear_until is None else time_encode(self.clear_until),
            "released_early": self.released_early,
            "policy": self.policy_digest,
            "lanes": self.lanes_digest,
        }


def decide(
    policy: QueuePolicy,
    vector: LaneVector,
    decisions: Sequence[Decision],
    release: Release | None,
    history: History,
    at: dt.datetime,
) -> GateResult:
    """The state of a case at ``at`` (``gate.md`` §4). ``decisions`` come in the order of the journal, ``release`` is
    the newest. Acts later than ``at`` are not read."""
    lanes = vector.lanes
    refuted = [_refuted(lanes[name]) for name in LANES if lanes[name].state == "refuted"]
    valid = _standing(decisions, at)
    if release is not None and (release.at > at or (valid.reopened_at is not None and release.at < valid.reopened_at)):
        release = None
    reasons: list[Reason] = []
    state: State = "HOLD"
    clear_until: dt.datetime | None = None
    if history.recalled or (history.relied and refuted):
        state = "RECALLED"
        reasons = [*(_recalled(cause) for cause in history.recalled), *refuted]
    elif valid.rejected is not None:
        state = "REJECTED"
        reasons = [_rejected(valid.rejected), *refuted]
    else:
        moved_at = history.label_moved_at if history.label_moved_at is None or history.label_moved_at <= at else None
        reasons = [*refuted, *_unmet_lanes(policy, vector, at), *_unmet_judgement(policy, valid.approvals, moved_at)]
        if not reasons:
            state, clear_until = "CLEAR", _clear_until(policy, vector)
        elif release is not None:
            why_not = refuse_release(policy, release) or _over(release, at)
            if why_not is not None:
                reasons.append(why_not)
            elif not refuted and policy.require:
                state = "PROVISIONAL"
                reasons.append(_released(release))
    released_early = history.released_early or state == "PROVISIONAL"
    return GateResult(state, tuple(reasons), clear_until, released_early, policy.digest, vector.digest)


def refuse_release(policy: QueuePolicy, release: Release) -> Reason | None:
    """Why a policy does not allow an early release, whatever the time and the lanes; None when it does (§4(4))."""
    allowed = policy.early_release
    if allowed is None:
        return Reason("gate.release_not_allowed", None, "This queue releases nothing early.")
    if release.policy_digest != policy.digest:
        return Reason(
            "gate.release_policy", None, "The early release was made under another version of this queue's policy."
        )
    if release.requester:
        return Reason("gate.release_requester", None, "Whoever asked for a run cannot release it early.")
    if release.role not in allowed.roles:
        wanted = " or ".join(allowed.roles)
        return Reason(
            "gate.release_role", None, f"Only {wanted} can release early here; this was done as {release.role}."
        )
    if not _seconds(0) < release.until - release.at <= _seconds(allowed.max_s):
        return Reason(
            "gate.release_span",
            None,
            f"An early release here ends after it begins and within {span_in_words(allowed.max_s)}.",
        )
    return None


# --- what people did ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Standing:
    """Decisions that count, since the last reopening."""

    approvals: list[Decision]
    rejected: Decision | None = None
    reopened_at: dt.datetime | None = None


def _standing(decisions: Iterable[Decision], at: dt.datetime) -> _Standing:
    standing = _Standing([])
    for decision in decisions:
        if decision.at > at or decision.requester or decision.role not in DECIDING_ROLES:
            continue
        if decision.act == "reopen":
            standing = _Standing([], None, decision.at)
        elif decision.act == "reject":
            standing.rejected = decision
        elif decision.act == "approve":
            standing.approvals.append(decision)
    return standing


def _recalled(cause: str) -> Reason:
    return Reason("gate.recalled", None, f"Recalled: {cause.rstrip('.')}.")


def _rejected(decision: Decision) -> Reason:
    return Reason(
        "gate.rejected",
        None,
        f"Rejected by a person acting as {decision.role} at {time_encode(decision.at)}. "
        "Only reopening the case ends that.",
    )


def _over(release: Release, at: dt.datetime) -> Reason | None:
    if at < release.until:
        return None
    return Reason(
        "gate.release_over",
        None,
        f"The early release ran out at {time_encode(release.until)} and the proof it went ahead of is not here.",
    )


def _released(release: Release) -> Reason:
    return Reason(
        "gate.released_early",
        None,
        f"Released early by a person acting as {release.role}, until {time_encode(release.until)}, "
        "ahead of what is listed here.",
    )


def _unmet_judgement(
    policy: QueuePolicy, approvals: Sequence[Decision], moved_at: dt.datetime | None
) -> Iterator[Reason]:
    need = policy.judgement
    if need is None:
        return
    fitting = [item for item in approvals if item.role == need.role and item.policy_digest == policy.digest]
    people = {item.person for item in fitting if moved_at is None or item.at > moved_at}
    if len(people) >= need.reviewers:
        return
    before = {item.person for item in fitting} - people
    others = {item.person for item in approvals} - people - before
    says = f"{len(people)} of {need.reviewers} people acting as {need.role} have approved under this policy."
    if before and moved_at is not None:
        says += (
            f" {len(before)} approved before the label came to mean another artifact, at {time_encode(moved_at)}, "
            "which does not count any more."
        )
    if others:
        says += f" {len(others)} approved in another role or under another version of it, which does not count."
    yield Reason("gate.label_moved" if before else "gate.reviewers", None, says)


# --- what the lanes say ---------------------------------------------------------------------------------------------


def _refuted(lane: Lane) -> Reason:
    return Reason("gate.refuted", lane.name, f"{lane.name} is refuted: {lane.says}")


def _continued(says: str) -> str:
    """A lane's sentence after its state: it begins small, unless its first word is a name in capitals."""
    return says[:1].lower() + says[1:] if says[1:2] == " " or says[1:2].islower() else says


def _unmet_lanes(policy: QueuePolicy, vector: LaneVector, at: dt.datetime) -> Iterator[Reason]:
    """One reason for each requirement of a lane that does not hold; refuted lanes have theirs already."""
    if not policy.require:
        yield Reason(
            "gate.policy_empty",
            None,
            "This queue's policy asks nothing of any lane, and such a policy lets nothing go.",
        )
    for name, need in policy.require.items():
        lane = vector.lanes[name]
        if lane.state == "refuted":
            continue
        if lane.state not in need.states:
            yield Reason("gate.lane_state", name, f"{name} is {in_words(lane.state)}: {_continued(lane.says)}")
            continue
        if lane.basis not in need.bases and (lane.basis is not None or lane.state != "not_applicable"):
            wanted = " or ".join(map(in_words, need.bases)) or "no basis"
            found = f"{name} is {in_words(lane.state)} by {in_words(lane.basis or 'nothing')}"
            yield Reason("gate.lane_basis", name, f"{found}, and this queue accepts {wanted}: {lane.says}")
        refused = [item for item in need.refuse if item in lane.deviations]
        if refused:
            found = f"{name} is {in_words(lane.state)}, and this queue refuses a {' and a '.join(refused)}"
            yield Reason("gate.lane_deviates", name, f"{found}: {lane.says}")
        if need.max_age_s is not None:
            unmet = _unmet_age(lane, need.max_age_s, policy.bounds.max_skew_s, vector.dated.get(name), at)
            if unmet is not None:
                yield unmet


def _unmet_age(
    lane: Lane, max_age_s: int, max_skew_s: int, dated: dt.datetime | None, at: dt.datetime
) -> Reason | None:
    """Differences of times are compared, never sums: a signer may claim any time that a calendar can show."""
    age = None if dated is None else at - dated
    if age is not None and _seconds(-max_skew_s) <= age < _seconds(max_age_s):
        return None
    found, most = f"{lane.name} is {in_words(lane.state)}, but", span_in_words(max_age_s)
    if dated is None or age is None:
        code, why = "gate.lane_undated", f"nothing dates what it rests on, and it must be younger than {most} here"
    elif age >= _seconds(max_age_s):
        code = "gate.lane_age"
        why = f"what it rests on is from {time_encode(dated)}, and it must be younger than {most} here"
    else:
        code, why = "gate.lane_future", f"what it rests on claims {time_encode(dated)}, which has not come yet"
    return Reason(code, lane.name, f"{found} {why}: {lane.says}")


def _clear_until(policy: QueuePolicy, vector: LaneVector) -> dt.datetime | None:
    """The earliest moment at which something that was asked to be fresh no longer is."""
    first = None
    for name, need in policy.require.items():
        dated = vector.dated.get(name)
        if need.max_age_s is not None and dated is not None:
            try:
                end = dated + _seconds(need.max_age_s)
            except OverflowError:
                end = _LAST_MOMENT
            if first is None or end < first:
                first = end
    return first


@lru_cache(maxsize=256)
def _seconds(count: int) -> dt.timedelta:
    """Policies name few different spans, and each decision compares with them many times."""
    return dt.timedelta(seconds=count)
