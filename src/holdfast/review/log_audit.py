"""The journal against the log: every decision that the journal says was logged, and every one that the log holds.

A decision statement names the case, the act, and the digests of the lanes and the policy, and commits to who decided
and why (``statement.md`` §4.3), so whoever rewrites a journal has to leave all of it as it was, or the log tells. Pure:
fetching the log and what opens its commitments is the caller's.

Not covered: a decision of a run of mode ``private`` where what opens its commitment is not at hand, and acts that the
log has not seen yet. Both are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.decisions import record_of
from holdfast.core.encoding import b64_decode, hex_decode, sha256_hex
from holdfast.core.statements import DecisionBody, Statement, build_commitment, parse_envelope, parse_statement
from holdfast.errors import HoldfastError
from holdfast.ports.case_store import StoredEvent
from holdfast.review.audit import Fault
from holdfast.review.events import Event, parse_event

_KINDS = ("decided", "released", "recall_ordered")


@dataclass(frozen=True, slots=True)
class Act:
    """An act that a decision statement stands for, as the journal tells it. Digests are hex."""

    seq: int
    act: str
    case: str
    lanes: str
    policy: str
    batch: tuple[str, int] | None
    """Root (hex) and size of the cases that a recall of several reached."""
    document: bytes
    """The decision document: who, why, by which rule."""
    statement: str | None
    """The statement that the journal names for it, or None while it waits for the log."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a panel keeps beside its journal of a decision that was logged."""

    statement: Statement
    salt: bytes
    """Opens the statement's commitment to the document."""
    commitment: str | None
    """SHA-256 (hex) of the entry that stands for the statement in the log; None unless the run is private."""


@dataclass(frozen=True, slots=True)
class Logged:
    """What was read of a log: its decision statements by digest, and the digests of its private commitments."""

    decisions: Mapping[str, Statement]
    commitments: Collection[str]
    heads: tuple[Statement, ...] = ()
    """Its journal statements, each once, in the order in which the log holds them (``review.anchors``)."""


@dataclass(frozen=True, slots=True)
class LogComparison:
    """What was compared, and everything that does not hold."""

    standing: int
    """Acts whose statement stands in the log and says the same."""
    unopened: int
    """Among them those of which only the digests were compared: nothing opens what they say of who and why."""
    waiting: int
    """Acts that the journal names no statement for yet."""
    unseen: int
    """Acts that may be of private runs: nothing at hand shows what stands for them in the log."""
    faults: tuple[Fault, ...]
    panels: frozenset[str] = frozenset()
    """The attesters known to be this panel: those that were, and those of the statements that the journal names."""


def acts_of(events: Iterable[StoredEvent]) -> list[Act]:
    """The acts of a journal that has been audited: an event that cannot be read raises."""
    acts: dict[int, Event] = {}
    logged: dict[int, str] = {}
    for stored in events:
        if stored.kind in _KINDS:
            acts[stored.seq] = parse_event(stored.raw)
        elif stored.kind == "statement_logged":
            body = parse_event(stored.raw).body
            logged[int(body["event"])] = str(body["statement"])
    return [_act(event, logged.get(seq)) for seq, event in acts.items()]


def _act(event: Event, statement: str | None) -> Act:
    body = event.body
    kind = {"released": "release", "recall_ordered": "recall"}.get(event.kind) or str(body["act"])
    batch = body["cases"] if event.kind == "recall_ordered" else None
    several = (str(batch["root"]), int(batch["size"])) if batch is not None and batch["size"] > 1 else None
    case = event.case or str(body["lead"])
    document = str(body["document"]).encode()
    return Act(event.seq, kind, case, event.lanes or "", event.policy or "", several, document, statement)


def parse_opening(raw: bytes | None) -> Opening | None:
    """What a panel keeps of a logged decision (``nodes/panel/decisions.py``); None for what is not that."""
    if raw is None:
        return None
    try:
        items = {item["kind"]: item for item in canonical.decode_signed(raw)["items"]}
        statement = parse_statement(parse_envelope(canonical.encode(items["statement"]["envelope"])))
        salt = hex_decode(items["decision"]["salt"], 32)
        hidden = items.get("commitment")
        if hidden is None:
            return Opening(statement, salt, None)
        entry = b64_decode(hidden["entry"])
        if build_commitment(statement.digest, hex_decode(hidden["salt"], 32)) != entry:
            return None
        return Opening(statement, salt, sha256_hex(entry))
    except (HoldfastError, KeyError, TypeError):
        return None


def compare_with_log(
    acts: Iterable[Act],
    logged: Logged,
    *,
    opening: Callable[[Act], Opening | None],
    is_private: Callable[[str], bool | None],
    refuse: Callable[[Statement], str | None],
    panels: Iterable[str] = (),
) -> LogComparison:
    """Compare a journal's acts with what a log holds.

    ``opening`` gives what is kept of a logged act. ``is_private`` says of a case whether its run is, None where nothing
    shows it. ``refuse`` says why trust does not believe a statement, None when it does. ``panels`` are the attesters
    known to be this panel; those of the statements that the journal names are too.
    """
    known = list(acts)
    faults: list[Fault] = []
    standing = unopened = unseen = 0
    named: list[Statement] = []
    for act in known:
        if act.statement is None:
            continue
        kept = opening(act)
        found = _find(act.statement, logged, kept)
        if found is None:
            if kept is None and is_private(act.case) is not False:
                unseen += 1
                continue
            says = f"event {act.seq} was logged as statement {act.statement[:12]}, and the log holds no such statement"
            faults.append(Fault("audit.log_missing", act.seq, act.case, says))
            continue
        named.append(found)
        why_not = _mismatch(act, found, kept) or refuse(found)
        if why_not is not None:
            says = f"event {act.seq} and the statement that was logged for it do not go together: {why_not}"
            faults.append(Fault("audit.log_differs", act.seq, act.case, says))
            continue
        standing += 1
        unopened += kept is None
    faults += _unnamed(known, named, logged, set(panels), refuse)
    waiting = sum(act.statement is None for act in known)
    mine = frozenset(panels) | {statement.attester for statement in named}
    return LogComparison(standing, unopened, waiting, unseen, tuple(faults), mine)


def _find(digest: str, logged: Logged, kept: Opening | None) -> Statement | None:
    """The statement that stands in the log, in clear or behind a commitment that was opened."""
    if digest in logged.decisions:
        return logged.decisions[digest]
    if kept is None or kept.statement.digest != digest or kept.commitment not in logged.commitments:
        return None
    return kept.statement


def _mismatch(act: Act, statement: Statement, kept: Opening | None) -> str | None:
    """Why a statement is not about this act; None when nothing shows that."""
    body = statement.body
    if not isinstance(body, DecisionBody):
        return "it is no decision"
    differs = _differing(act, body)
    if differs:
        return f"they name another {differs}"
    if kept is not None and record_of(act.document, kept.salt) != body.record:
        return "it commits to another document of who decided and why"
    return None


def _unnamed(
    acts: list[Act],
    named: list[Statement],
    logged: Logged,
    panels: set[str],
    refuse: Callable[[Statement], str | None],
) -> list[Fault]:
    """Decisions of this panel that stand in the log and that its journal does not know."""
    mine = panels | {statement.attester for statement in named}
    digests = {statement.digest for statement in named}
    records = {statement.body.record for statement in named if isinstance(statement.body, DecisionBody)}
    waiting = [act for act in acts if act.statement is None]
    faults = []
    for digest, statement in logged.decisions.items():
        body = statement.body
        if statement.attester not in mine or digest in digests or not isinstance(body, DecisionBody):
            continue
        if body.record in records or any(not _differing(act, body) for act in waiting):
            continue  # signed a second time; or the log has it and the journal has not been told yet
        if refuse(statement) is not None:
            continue  # anybody may put anything into a log
        says = f"the log holds a decision ({body.act}, statement {digest[:12]}) that the journal does not know"
        faults.append(Fault("audit.log_unknown", None, body.case, says))
    return faults


def _differing(act: Act, body: DecisionBody) -> str:
    """What an act and a statement do not say alike; empty when they do."""
    batch = None if body.cases is None else (body.cases.root.hex(), body.cases.size)
    pairs = {
        "act": (act.act, body.act),
        "case": (act.case, body.case),
        "lanes": (act.lanes, body.lanes.hex()),
        "policy": (act.policy, body.policy.hex()),
        "batch of cases": (act.batch, batch),
    }
    return ", ".join(name for name, (told, logged) in pairs.items() if told != logged)
