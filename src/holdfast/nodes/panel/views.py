"""What the pages show, parsed once from what the nodes said.

Rules:
* Parsing is strict about what a page shows and silent about the rest, so a newer node can say more.
* A run has exactly the eleven lanes; an answer without them is refused, never filled in.
* Nothing here reduces lanes to one value, and no lane changes because of another.
* Times stay the node's times; the offsets and the two marks of the time axis (``ahead``, ``proof``) are computed here.

The marks: a *proof* moment is one at which the secure layer said something; a moment is *ahead of its proof* when
something became visible, was paid or was decided before the round with its statements was final.

Not covered: whether any of it is true. ``holdfast verify`` is for that.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from holdfast.client.lanes import parse_hops
from holdfast.core.canonical import JSON, decode
from holdfast.core.encoding import sha256_hex, time_decode
from holdfast.core.notes import parse_checkpoint_text, parse_note
from holdfast.core.rounds import parse_verdict_blob
from holdfast.errors import MalformedError
from holdfast.nodes.panel.shape import as_count, as_list, as_object, as_text
from holdfast.verifier.lanes import BASES, LANES, STATES, Hop

RUN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
"""A run id (``conventions.md`` §4): UUID version 7, or 4 on the private path."""

QUESTIONS = {
    "enclave": "Was the signing key held by a genuine, measured, approved environment at that time?",
    "bytes": "Are these exactly the bytes that were asked and answered?",
    "artifact": "Which model bytes ran, and are they what the label meant last time?",
    "computation": "Does the output follow from that artifact and input?",
    "inputs": "Which outside facts were admitted, from where, when, through which trust path?",
    "memory": "Which rows were carried in, how old, from what source, with what standing?",
    "route": "Which provider and hops served this turn, and did it differ from what was asked?",
    "privacy": "Who could see identity, plaintext and timing, at each hop of this turn?",
    "payment": "What was offered, authorised, captured or refunded, and for which bytes?",
    "settlement": "How far has the secure layer come, and with which verdict?",
    "judgement": "Who decided, under which policy, having seen which lanes?",
}
"""The question that each lane answers, in the fixed order of the lanes."""
WORDS = {
    "proven": "proven",
    "refuted": "refuted",
    "pending": "pending",
    "unknown": "unknown",
    "expired": "expired",
    "not_applicable": "n/a",
}
"""State to the word on the page."""

MOVES = frozenset(
    {
        "answered",
        "generated",
        "interrupted",
        "disconnected",
        "payment",
        "captured",
        "refunded",
        "released",
        "decision",
        "recalled",
    }
)
"""Chronology codes (first word) at which something moved: became visible, was paid or was decided."""
PROOFS = frozenset({"logged", "cosigned", "proposed", "voted", "verdict", "final"})
"""Chronology codes (first word) at which the secure layer said something."""
FINAL = "final"
"""The chronology code (first word) after which nothing is ahead of its proof any more."""
BLANK_MOMENT_AT = "1970-01-01T00:00:00.000Z"
"""Stands in the markup that scripts clone; never shown."""
COLLAPSE_AT = 3
"""This many moments of one code in a row become one line that opens."""


def parse_run_id(value: object) -> str:
    """A run id as it stands in a URL. Raises ``panel.run_id``."""
    if not isinstance(value, str) or RUN_ID.match(value) is None:
        raise MalformedError("panel.run_id", "a run id is a lower-case UUID, version 4 or 7", status=404)
    return value


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane of one run, as the gateway's appraisal gave it."""

    name: str
    question: str
    state: str
    basis: str | None
    says: str
    does_not_say: str
    evidence: tuple[str, ...]
    hops: tuple[Hop, ...] = ()
    """Of ``privacy``: what each hop could see."""

    @property
    def word(self) -> str:
        """The state as a word on the page."""
        return WORDS[self.state]

    @property
    def basis_word(self) -> str:
        """The basis as words, or nothing."""
        return (self.basis or "").replace("_", " ")

    def to_json(self) -> dict[str, JSON]:
        found: dict[str, JSON] = {
            "state": self.state,
            "basis": self.basis,
            "says": self.says,
            "does_not_say": self.does_not_say,
            "evidence": list(self.evidence),
        }
        if self.hops:
            found["hops"] = [hop.to_json() for hop in self.hops]
        return found


def parse_lane(name: str, value: object) -> LaneView:
    """One lane from a run view. Raises ``panel.lane``."""
    fields = as_object(value, f"lane {name}")
    state, basis = fields.get("state"), fields.get("basis")
    if state not in STATES or (basis is not None and basis not in BASES):
        raise MalformedError("panel.lane", f"lane {name} has no known state and basis")
    evidence = tuple(as_text(item, "evidence") for item in as_list(fields.get("evidence", []), "evidence"))
    return LaneView(
        name,
        QUESTIONS[name],
        state,
        basis,
        as_text(fields.get("says", ""), "says"),
        as_text(fields.get("does_not_say", ""), "does_not_say"),
        evidence,
        parse_hops(fields.get("hops", []), "panel.lane"),
    )


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the time axis. ``parts`` holds the lines it stands for when several were folded into one."""

    at: str
    offset_ms: int
    """Since the first moment of the run."""
    wait_ms: int
    """Since the line before."""
    code: str
    says: str
    evidence: str | None
    kind: str
    """``move``, ``proof`` or ``step``."""
    ahead: bool
    """Something moved here before its proof."""
    final: bool
    """From here on nothing is ahead of its proof."""
    time: str
    """``claimed`` by the signer or ``observed`` by the gateway; empty where the gateway does not tell."""
    parts: tuple[Moment, ...] = ()

    def to_json(self) -> dict[str, JSON]:
        value: dict[str, JSON] = {
            "at": self.at,
            "offset_ms": self.offset_ms,
            "wait_ms": self.wait_ms,
            "code": self.code,
            "says": self.says,
            "evidence": self.evidence,
            "kind": self.kind,
            "ahead": self.ahead,
            "final": self.final,
            "time": self.time,
        }
        if self.parts:
            value["parts"] = [part.to_json() for part in self.parts]
        return value


def first_word(code: str) -> str:
    """What a chronology code is about: ``upstream.timeout`` is about the upstream."""
    return re.split(r"[._-]", code, maxsplit=1)[0]


def kind_of(code: str) -> str:
    """``move``, ``proof`` or ``step``: what a chronology code does on the time axis."""
    word = first_word(code)
    if word in MOVES:
        return "move"
    return "proof" if word in PROOFS else "step"


def parse_chronology(value: object) -> tuple[Moment, ...]:
    """The gateway's chronology to the time axis, in its order. Raises ``panel.shape`` or ``encoding.time``."""
    rows: list[tuple[dt.datetime, str, str, str, str | None, str]] = []
    for item in as_list(value, "chronology"):
        fields = as_object(item, "a moment")
        at, evidence = as_text(fields.get("at"), "at"), fields.get("evidence")
        rows.append(
            (
                time_decode(at),
                at,
                as_text(fields.get("code"), "code"),
                as_text(fields.get("says", ""), "says"),
                as_text(evidence, "evidence") if evidence else None,
                as_text(fields.get("time", ""), "time"),
            )
        )
    final_at = next((index for index, row in enumerate(rows) if first_word(row[2]) == FINAL), len(rows))
    moments: list[Moment] = []
    for index, (moment, at, code, says, evidence, time) in enumerate(rows):
        offset = round((moment - rows[0][0]).total_seconds() * 1000)
        before = round((rows[index - 1][0] - rows[0][0]).total_seconds() * 1000) if index else 0
        kind = kind_of(code)
        moments.append(
            Moment(
                at,
                offset,
                offset - before,
                code,
                says,
                evidence,
                kind,
                ahead=kind == "move" and index < final_at,
                final=index >= final_at,
                time=time,
            )
        )
    return fold_moments(moments)


def fold_moments(moments: list[Moment]) -> tuple[Moment, ...]:
    """Put runs of the same code into one line that opens; marks come by the hundred."""
    folded: list[Moment] = []
    start = 0
    while start < len(moments):
        end = start
        while end < len(moments) and moments[end].code == moments[start].code:
            end += 1
        group = moments[start:end]
        if len(group) < COLLAPSE_AT:
            folded += group
        else:
            first, last = group[0], group[-1]
            says = f"{len(group)} in a row, until +{last.offset_ms / 1000:.3f} s. Last: {last.says}"
            folded.append(
                Moment(
                    first.at,
                    first.offset_ms,
                    first.wait_ms,
                    first.code,
                    says,
                    last.evidence,
                    first.kind,
                    any(part.ahead for part in group),
                    first.final,
                    first.time,
                    tuple(group),
                )
            )
        start = end
    return tuple(folded)


MOST_PAYMENTS, MOST_LINES = 64, 64
"""Payments of a run that a page shows, and lines of each."""


@dataclass(frozen=True, slots=True)
class PaymentView:
    """A payment whose document is shown, as the gateway tells it line by line (``core.payments.explain``)."""

    digest: str
    lines: tuple[str, ...]

    def to_json(self) -> dict[str, JSON]:
        return {"digest": self.digest, "lines": list(self.lines)}


def parse_payments(value: object) -> tuple[PaymentView, ...]:
    """Member ``payments`` of a run, which is absent where none is shown. Raises ``panel.shape``."""
    found = []
    for item in as_list(value, "payments")[:MOST_PAYMENTS]:
        fields = as_object(item, "a payment")
        lines = as_list(fields.get("lines"), "lines of a payment")[:MOST_LINES]
        digest = as_text(fields.get("digest"), "digest of a payment")
        found.append(PaymentView(digest, tuple(as_text(line, "a line of a payment") for line in lines)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class RunView:
    """One run: its lanes, its time axis, and the trust and policy they were appraised under."""

    run: str
    lanes: tuple[LaneView, ...]
    chronology: tuple[Moment, ...]
    created: str
    kind: str
    outcome: str
    """How the run closed, as a code; empty while it is open."""
    trust_digest: str
    """Empty when the gateway has no trust; then nothing that needs it is decided."""
    trust_pinned: str
    trust_development: bool
    policy_name: str
    policy_digest: str
    known: int
    """Position in the evidence journal up to which the gateway read."""
    payments: tuple[PaymentView, ...] = ()
    """Those whose documents are shown."""

    @property
    def evidence(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Every digest that some lane rests on, with the lanes that name it, in order of first use."""
        lanes: dict[str, list[str]] = {}
        for lane in self.lanes:
            for digest in lane.evidence:
                lanes.setdefault(digest, []).append(lane.name)
        return tuple((digest, tuple(names)) for digest, names in lanes.items())

    def to_json(self) -> dict[str, JSON]:
        shown: dict[str, JSON] = {"payments": [item.to_json() for item in self.payments]} if self.payments else {}
        return {
            **shown,
            "run": self.run,
            "created": self.created,
            "kind": self.kind,
            "outcome": self.outcome,
            "lanes": {lane.name: lane.to_json() for lane in self.lanes},
            "chronology": [moment.to_json() for moment in self.chronology],
            "trust": {
                "digest": self.trust_digest,
                "pinned": self.trust_pinned,
                "development": self.trust_development,
            },
            "policy": {"name": self.policy_name, "digest": self.policy_digest},
            "known": self.known,
        }


def parse_run(value: object) -> RunView:
    """``GET /v1/runs/{id}`` of the gateway to a view. Raises ``panel.shape``, ``panel.lane`` or ``panel.run_id``."""
    fields = as_object(value, "a run")
    lanes = as_object(fields.get("lanes"), "lanes")
    if set(lanes) != set(LANES):
        raise MalformedError("panel.lanes", "a run has exactly the eleven lanes")
    trust, policy = as_object(fields.get("trust", {}), "trust"), as_object(fields.get("policy", {}), "policy")
    return RunView(
        run=parse_run_id(fields.get("run")),
        lanes=tuple(parse_lane(name, lanes[name]) for name in LANES),
        chronology=parse_chronology(fields.get("chronology", [])),
        created=as_text(fields.get("created") or "", "created"),
        kind=as_text(fields.get("kind") or "", "kind"),
        outcome=as_text(fields.get("outcome") or "", "outcome"),
        trust_digest=as_text(trust.get("digest") or "", "trust digest"),
        trust_pinned=as_text(trust.get("pinned") or "", "trust pinned"),
        trust_development=trust.get("development") is True,
        policy_name=as_text(policy.get("name", ""), "policy name"),
        policy_digest=as_text(policy.get("digest", ""), "policy digest"),
        known=as_count(fields.get("known", 0), "known"),
        payments=parse_payments(fields.get("payments", [])),
    )


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of the list of recent runs."""

    run: str
    created: str
    kind: str
    outcome: str
    lanes: tuple[tuple[str, str], ...]
    """(lane, state) for all eleven."""

    def to_json(self) -> dict[str, JSON]:
        return {
            "run": self.run,
            "created": self.created,
            "kind": self.kind,
            "outcome": self.outcome,
            "lanes": dict(self.lanes),
        }


def parse_summaries(value: object) -> tuple[RunSummary, ...]:
    """``GET /v1/runs`` of the gateway. Raises ``panel.shape`` or ``panel.lane``."""
    summaries = []
    for item in as_list(as_object(value, "the runs").get("runs"), "runs"):
        fields = as_object(item, "a run")
        lanes = as_object(fields.get("lanes"), "lanes")
        if set(lanes) != set(LANES) or any(state not in STATES for state in lanes.values()):
            raise MalformedError("panel.lanes", "a run has exactly the eleven lanes")
        summaries.append(
            RunSummary(
                parse_run_id(fields.get("run")),
                as_text(fields.get("created"), "created"),
                as_text(fields.get("kind", ""), "kind"),
                as_text(fields.get("outcome") or "", "outcome"),
                tuple((name, cast("str", lanes[name])) for name in LANES),
            )
        )
    return tuple(summaries)


def message_text(message: object) -> str:
    """The readable text of one chat message; parts that are no text are named in brackets."""
    fields = message if isinstance(message, dict) else {}
    content = fields.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        pieces = []
        for part in content:
            part_fields = part if isinstance(part, dict) else {}
            text = part_fields.get("text")
            pieces.append(text if isinstance(text, str) else f"[{part_fields.get('type', 'part')}]")
        return "\n".join(pieces)
    return "[tool calls]" if fields.get("tool_calls") else ""


def bundle_documents(bundle: object) -> dict[str, Any]:
    """The disclosed documents of a bundle (``bundle.md`` §2) by name. Raises ``panel.shape`` or ``json.*``."""
    documents = {}
    for item in as_list(as_object(bundle, "a bundle").get("journal"), "journal"):
        if isinstance(item, dict) and item.get("kind") == "document":
            documents[str(item.get("document"))] = decode(as_text(item.get("text"), "document text").encode())
    return documents


def document_texts(documents: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """(who, text) from the request and response of a run, in their order; nothing where there are none."""
    texts: list[tuple[str, str]] = []
    request = documents.get("request")
    if isinstance(request, dict):
        if "prompt" in request:
            texts.append(("user", str(request["prompt"])))
        messages = request.get("messages")
        for message in messages if isinstance(messages, list) else []:
            who = message.get("role") if isinstance(message, dict) else None
            texts.append((who if isinstance(who, str) else "message", message_text(message)))
    response = documents.get("response")
    choices = response.get("choices") if isinstance(response, dict) else None
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, dict):
            text = choice.get("text")
            texts.append(("assistant", text if isinstance(text, str) else message_text(choice.get("message"))))
    return tuple(texts)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a round is about: the log up to ``size`` and the verdicts, as one node reports it (``round.md``)."""

    number: int
    attempt: int
    size: int
    root: str
    verdict_root: str
    blob_id: str
    previous: str
    epoch: int

    def to_json(self) -> dict[str, JSON]:
        return {
            "number": self.number,
            "attempt": self.attempt,
            "size": self.size,
            "root": self.root,
            "verdict_root": self.verdict_root,
            "blob_id": self.blob_id,
            "previous": self.previous,
            "epoch": self.epoch,
        }


@dataclass(frozen=True, slots=True)
class RoundReport:
    """One full node's account of one round."""

    node: str
    number: int
    attempt: int
    state: str
    candidate: Candidate | None
    voters: tuple[str, ...]
    """Vote addresses this node has seen votes from in the current attempt."""
    finality: bool
    """Whether the node has signed its finality message."""

    def to_json(self) -> dict[str, JSON]:
        return {
            "attempt": self.attempt,
            "state": self.state,
            "candidate": self.candidate.to_json() if self.candidate else None,
            "voters": list(self.voters),
            "finality": self.finality,
        }


def parse_report(node: str, value: object) -> RoundReport:
    """One round from one full node. Raises ``panel.shape``."""
    fields = as_object(value, "a round")
    number = as_count(fields.get("number"), "number")
    attempt = as_count(fields.get("attempt", 0), "attempt")
    candidate = None
    if fields.get("candidate") is not None:
        inner = as_object(fields["candidate"], "candidate")
        candidate = Candidate(
            number,
            as_count(inner.get("attempt", attempt), "attempt"),
            as_count(inner.get("size"), "size"),
            as_text(inner.get("root"), "root"),
            as_text(inner.get("verdict_root", ""), "verdict_root"),
            as_text(inner.get("blob_id", ""), "blob_id"),
            as_text(inner.get("previous", ""), "previous"),
            as_count(inner.get("epoch", 0), "epoch"),
        )
    voters = []
    for item in as_list(fields.get("votes", []), "votes"):
        entry = as_object(item, "a vote")
        vote = entry.get("vote")
        if vote is None or as_object(vote, "a vote").get("attempt") == attempt:
            voters.append(as_text(entry.get("voter"), "voter"))
    state = as_text(fields.get("state", "unknown"), "state")
    return RoundReport(
        node, number, attempt, state, candidate, tuple(dict.fromkeys(voters)), bool(fields.get("finality"))
    )


def parse_reports(node: str, value: object) -> tuple[RoundReport, ...]:
    """``GET /v1/rounds`` of one full node. Raises ``panel.shape``."""
    rounds = as_list(as_object(value, "the rounds").get("rounds"), "rounds")
    return tuple(parse_report(node, item) for item in rounds)


@dataclass(frozen=True, slots=True)
class RoundView:
    """One round as the full nodes tell it, side by side. No account outranks another."""

    number: int
    reports: tuple[RoundReport, ...]

    @property
    def candidates(self) -> tuple[tuple[Candidate, tuple[str, ...]], ...]:
        """The different candidates reported, each with the nodes that report it. Normally one."""
        groups: dict[Candidate, list[str]] = {}
        for report in self.reports:
            if report.candidate is not None:
                groups.setdefault(report.candidate, []).append(report.node)
        return tuple((candidate, tuple(nodes)) for candidate, nodes in groups.items())

    @property
    def attempt(self) -> int:
        """The highest attempt any node reports."""
        return max((report.attempt for report in self.reports), default=0)

    @property
    def voters(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """(voter, nodes that have seen that vote), in order of first sight."""
        seen: dict[str, list[str]] = {}
        for report in self.reports:
            for voter in report.voters:
                seen.setdefault(voter, []).append(report.node)
        return tuple((voter, tuple(nodes)) for voter, nodes in seen.items())

    @property
    def states(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The different states reported, each with the nodes that report it."""
        groups: dict[str, list[str]] = {}
        for report in self.reports:
            groups.setdefault(report.state, []).append(report.node)
        return tuple((state, tuple(nodes)) for state, nodes in groups.items())

    def voted(self, voter: str) -> bool:
        """Whether some node has seen a vote from this address."""
        return bool(voter) and any(voter in report.voters for report in self.reports)

    def report(self, node: str) -> RoundReport | None:
        """The account of one node, if it gave one."""
        return next((report for report in self.reports if report.node == node), None)

    def to_json(self) -> dict[str, JSON]:
        return {
            "number": self.number,
            "attempt": self.attempt,
            "reports": {report.node: report.to_json() for report in self.reports},
            "votes": {voter: list(nodes) for voter, nodes in self.voters},
        }


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """Whether one full node answered the panel just now, and what it says of itself."""

    name: str
    answered: bool
    says: str
    """What went wrong in asking it."""
    doing: str
    """What it says it is doing about the open round."""
    voter: str
    """Vote address, where the node tells it."""

    def to_json(self) -> dict[str, JSON]:
        return {
            "name": self.name,
            "answered": self.answered,
            "says": self.says,
            "doing": self.doing,
            "voter": self.voter,
        }


@dataclass(frozen=True, slots=True)
class LogView:
    """The log's newest checkpoint as the log serves it. No signature was checked."""

    size: int
    root: str
    cosigners: tuple[str, ...]
    """Names on the cosignature lines."""
    says: str
    """What went wrong in asking, or nothing."""

    def to_json(self) -> dict[str, JSON]:
        return {"size": self.size, "root": self.root, "cosigners": list(self.cosigners), "says": self.says}


def parse_log(origin: str, raw: bytes) -> LogView:
    """``GET /checkpoint`` of the log to what it claims. Raises ``note.*``, ``checkpoint.*`` or ``panel.shape``."""
    note = parse_note(raw)
    checkpoint = parse_checkpoint_text(note.text)
    if checkpoint.origin != origin:
        raise MalformedError("panel.shape", "the checkpoint is of another log")
    names = (signature.claimed_name for signature in note.signatures)
    return LogView(checkpoint.size, checkpoint.root.hex(), tuple(name for name in names if name != origin), "")


@dataclass(frozen=True, slots=True)
class VerdictLine:
    """One line of a round's verdict blob (``round.md`` §5.2)."""

    index: int
    digest: str
    code: str

    def to_json(self) -> dict[str, JSON]:
        return {"index": self.index, "digest": self.digest, "code": self.code}


def parse_verdicts(blob_id: str, blob: bytes) -> tuple[VerdictLine, ...]:
    """A verdict blob to its lines, after comparing its SHA-256 with its name. Raises ``panel.blob`` or ``round.*``."""
    if sha256_hex(blob) != blob_id:
        raise MalformedError("panel.blob", "the verdicts are not the candidate's")
    return tuple(
        VerdictLine(entry.index, entry.statement_digest.hex(), entry.code) for entry in parse_verdict_blob(blob)
    )


@dataclass(frozen=True, slots=True)
class RoundsView:
    """All rounds shown, newest first, and the nodes that were asked."""

    origin: str
    nodes: tuple[NodeStatus, ...]
    rounds: tuple[RoundView, ...]
    log: LogView | None = None
    verdicts: tuple[VerdictLine, ...] = ()
    """Of the one round asked for, from the first node whose blob has the candidate's digest."""

    @property
    def final_size(self) -> int:
        """The largest log size that some node calls final."""
        sizes = (
            report.candidate.size
            for round_ in self.rounds
            for report in round_.reports
            if report.state == "final" and report.candidate is not None
        )
        return max(sizes, default=0)

    def known_voter(self, voter: str) -> bool:
        """Whether the address belongs to one of the nodes shown."""
        return any(node.voter == voter for node in self.nodes)

    def voter_names(self, voters: tuple[str, ...]) -> list[str]:
        """The nodes with these vote addresses in the order of the nodes, then the shortened addresses of others."""
        known = [node.name for node in self.nodes if node.voter in voters]
        return known + [f"{voter[:10]}…" for voter in voters if not self.known_voter(voter)]

    def to_json(self) -> dict[str, JSON]:
        return {
            "origin": self.origin,
            "nodes": [node.to_json() for node in self.nodes],
            "rounds": [round_.to_json() for round_ in self.rounds],
            **({"log": self.log.to_json()} if self.log else {}),
            **({"verdicts": [line.to_json() for line in self.verdicts]} if self.verdicts else {}),
        }


def merge_rounds(origin: str, nodes: tuple[NodeStatus, ...], reports: list[RoundReport], limit: int) -> RoundsView:
    """Put the accounts of one round side by side; the ``limit`` newest rounds, newest first."""
    numbers = sorted({report.number for report in reports}, reverse=True)[:limit]
    rounds = (RoundView(number, tuple(report for report in reports if report.number == number)) for number in numbers)
    return RoundsView(origin, nodes, tuple(rounds))


def parse_status(origin: str, status: object) -> tuple[str, str]:
    """``GET /v1/status`` of a full node to (vote address, what it is doing about this origin's rounds).

    Raises ``panel.shape``. The second is a sentence without its full stop; it is empty where the node says nothing.
    """
    fields = as_object(status, "a status")
    doing: list[str] = []
    for item in as_list(fields.get("rounds", []), "rounds"):
        about = as_object(item, "rounds")
        if about.get("origin") == origin:
            doing.append(as_text(about.get("doing", ""), "doing"))
            doing.append(as_text(about.get("abstains", ""), "abstains"))
            doing += [as_text(text, "problem") for text in as_object(about.get("problems", {}), "problems").values()]
    return as_text(fields.get("address", ""), "address"), "; ".join(part for part in doing if part)
