"""``appraise``: a bundle, trust, a policy, a time and a position in; eleven lanes and a transcript out.

Pure (``spec/lanes.md`` §2): the same arguments give the same result for ever, offline. ``verifier.evidence`` makes
every check once; the functions here read its findings and say, lane by lane, what follows (``lanes.md`` §3). No
function in this module or elsewhere turns the vector into one value.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from holdfast.core import canonical
from holdfast.core.bundles import Bundle
from holdfast.core.encoding import time_encode
from holdfast.core.statements import OWN_ENDPOINTS, Execution, Route
from holdfast.core.trust import Trust
from holdfast.verifier.computation import computation, computed_artifact, computed_of
from holdfast.verifier.enclaves import CheckedAttestation, EnclaveAnswer
from holdfast.verifier.evidence import CheckedStatement, Evidence
from holdfast.verifier.files import check_files
from holdfast.verifier.final_rounds import voters_of
from holdfast.verifier.inputs import inputs
from holdfast.verifier.judgement import judged_at, judgement
from holdfast.verifier.kept_policy import KeptPolicy, check_policy, tell_policy
from holdfast.verifier.labels import add_history, check_histories
from holdfast.verifier.lanes import LANES, Lane
from holdfast.verifier.memory import check_recalls, memory
from holdfast.verifier.payment import paid_at, payment
from holdfast.verifier.policy import Policy
from holdfast.verifier.privacy import doubted, privacy
from holdfast.verifier.reading import check_evidence
from holdfast.verifier.reliance import Reliance, reliances_of
from holdfast.verifier.routes import describe_route, deviations
from holdfast.verifier.transcript import Check, Transcript

_MOST_NAMED = 8
"""Full nodes that a sentence names one by one."""
_UNTRUSTED = ("artifact", "computation", "privacy")
"""Lanes that do not rest on trust, and so do not run out with it: unless ``privacy`` is proven, which does."""


@dataclass(frozen=True, slots=True)
class Appraisal:
    """The attestation result: the lane vector, how it came about, and the digests of what it was made from."""

    run: str
    lanes: Mapping[str, Lane]
    """All eleven, in their fixed order."""
    transcript: tuple[Check, ...]
    at: dt.datetime
    known: int
    bundle_digest: str
    policy_name: str
    policy_digest: str
    trust_digest: str | None
    trust_pin: str | None
    trust_development: bool | None
    dated: Mapping[str, dt.datetime | None]
    """By lane: since when what it rests on is dated (``gate.md`` §1). Ages are counted from it; no part of the JSON."""
    relied: Mapping[str, tuple[Reliance, ...]]
    """By lane: what its state rests on in trust (``lanes.md`` §6). No part of the JSON."""
    overturned: frozenset[str]
    """Contents (hex) of rounds that are final against each other by this evidence. No part of the JSON."""
    evidence: Evidence = field(repr=False, compare=False)
    """What the checks found: for whoever needs more than the lanes say. No part of the JSON."""

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "run": self.run,
            "lanes": {name: lane.to_json() for name, lane in self.lanes.items()},
            "known": self.known,
            "policy": {"name": self.policy_name, "digest": self.policy_digest},
            "trust": {"digest": self.trust_digest, "pinned": self.trust_pin, "development": self.trust_development},
        }


def appraise(
    bundle: Bundle, trust: Trust | None, policy: Policy, at: dt.datetime, known: int | None = None
) -> Appraisal:
    """Judge a parsed bundle (``lanes.md`` §2). Never raises for what the evidence says: every answer is a lane.

    ``at`` is the time validity is judged for; ``known`` a position in the bundle's journal beyond which nothing is
    read.
    """
    record = Transcript()
    evidence = check_evidence(bundle, trust, policy.bounds, at, known, record)
    check_histories(evidence, record)
    items = [entry.item for entry in bundle.until(known)]
    recalled = check_recalls(items, evidence, record)
    attached = check_files(items, evidence, record)
    kept = check_policy(items, evidence, record)
    expired = trust is not None and trust.current.expires_at <= at
    sealed = _is_sealed(evidence)
    if expired:
        says = "The trust document has run out at the time asked about."
        about = [name for name in LANES if name not in _UNTRUSTED or (name == "privacy" and sealed)]
        record.note(about, "trust.md §2(6)", "cannot_tell", says, "trust.expired")
    enclave = _enclave(evidence, trust)
    lanes = {
        "enclave": enclave,
        "bytes": _bytes(evidence),
        "artifact": add_history(_artifact(evidence), evidence, trust, policy.bounds.max_skew_s, record),
        "computation": _computation(evidence, development=trust is not None and trust.development),
        "inputs": inputs(evidence, trust, attached),
        "memory": memory(evidence, recalled, trust),
        "route": _route(evidence, kept),
        "privacy": privacy(evidence, trust, enclave, record),
        "payment": payment(evidence, trust),
        "settlement": _settlement(evidence, trust),
        "judgement": judgement(evidence, trusted=trust is not None),
    }
    unmade = _unmade(evidence)
    lanes = {name: _not_yet(lane, unmade[name]) if name in unmade else lane for name, lane in lanes.items()}
    if expired:
        lanes = {name: _expire(lane) for name, lane in lanes.items()}
    return Appraisal(
        run=bundle.run,
        lanes={name: lanes[name] for name in LANES},
        transcript=tuple(record.checks),
        at=at,
        known=len(bundle.until(known)),
        bundle_digest=bundle.digest,
        policy_name=policy.name,
        policy_digest=policy.digest,
        trust_digest=trust.digest if trust else None,
        trust_pin=trust.pin if trust else None,
        trust_development=trust.development if trust else None,
        dated={
            **dict.fromkeys(LANES, _dated(evidence)),
            "payment": paid_at(evidence) or _dated(evidence),
            "judgement": judged_at(evidence),
        },
        relied=reliances_of(evidence, trust),
        overturned=frozenset(evidence.overturned),
        evidence=evidence,
    )


def _unmade(evidence: Evidence) -> dict[str, CheckedStatement]:
    """By lane, where there is one: a statement it rests on that had not been made at the time asked about."""
    found = {}
    if evidence.route is not None and evidence.route.not_yet:
        resting = ("inputs", "memory", "route", *(("privacy",) if _is_sealed(evidence) else ()))
        found = dict.fromkeys(resting, evidence.route)
    missing = next((item for item in evidence.closure() if item.not_yet), None)
    if missing is not None:
        found |= dict.fromkeys(("bytes", "settlement"), missing)
        if computed_of(evidence) is not None:
            found |= dict.fromkeys(("artifact", "computation"), missing)
    return found


def _not_yet(lane: Lane, missing: CheckedStatement) -> Lane:
    """A lane asked about a time at which what it rests on was still to come (``lanes.md`` §2.1). Refuted stays so."""
    if lane.state == "refuted":
        return lane
    claimed = time_encode(missing.statement.claimed_at)
    says = f"Not made yet at the time asked about: the {missing.statement.kind} statement claims {claimed}."
    return Lane(lane.name, "pending", None, says, lane.evidence)


def _dated(evidence: Evidence) -> dt.datetime | None:
    """The earliest time at which a quorum had cosigned a tree with the closing statement, else the time it claims."""
    if evidence.closing is None:
        return None
    return evidence.closing.trusted_time or evidence.closing.statement.claimed_at


def _expire(lane: Lane) -> Lane:
    """A lane that stood on trust which has run out; what is refuted or does not apply stays so."""
    stands = lane.name not in _UNTRUSTED or lane.state == "proven"
    if lane.state in ("refuted", "not_applicable") or not stands:
        return lane
    says = f"The trust document has run out. Before: {lane.says}"
    return Lane(lane.name, "expired", lane.basis, says, lane.evidence, hops=doubted(lane.hops))


def _digests(evidence: Evidence) -> tuple[str, ...]:
    return tuple(item.statement.digest for item in reversed(evidence.closure()))


def _attester(evidence: Evidence) -> str | None:
    source = evidence.closing or evidence.route
    return source.statement.attester if source else None


def _enclave(evidence: Evidence, trust: Trust | None) -> Lane:
    if trust is None:
        return Lane("enclave", "unknown", None, "Without a trust document no attestation can be judged.")
    attester = _attester(evidence)
    found = evidence.attestations.get(attester, []) if attester else []
    answers = {item.answer: item for item in reversed(found)}
    digests = (attester, *(item.digest for item in found)) if attester else ()
    if "bad" in answers:
        says = f"An attestation of the signing key was presented and is refused. {answers['bad'].says}"
        return Lane("enclave", "refuted", None, says)
    if "development" in answers:
        return _development_enclave(answers["development"], attester or "")
    for answer, state, basis in _ENCLAVE_STATES:
        if answer in answers:
            return Lane("enclave", state, basis, answers[answer].says, digests if state == "proven" else ())
    return Lane("enclave", "unknown", None, "No attestation of the signing key was presented.")


_ENCLAVE_STATES: tuple[tuple[EnclaveAnswer, str, str | None], ...] = (
    ("hardware", "proven", "hardware"),
    ("expired", "expired", None),
    ("undated", "pending", None),
    ("unread", "unknown", None),
)
"""What follows from the best answer that nothing speaks against, best first (``lanes.md`` §3(4))."""


def _development_enclave(found: CheckedAttestation, attester: str) -> Lane:
    says = found.says
    if found.form == "insecure-dev":
        says = (
            "The signing key is a software key under a throw-away development root: a simulated enclave, "
            "not a real one."
        )
    return Lane("enclave", "unknown", "development", says, (attester,))


def _refusals(items: list[CheckedStatement]) -> tuple[list[str], list[str]]:
    """(refused, run out): reasons of statements that are refused, and of those whose key has run out undated."""
    refused, run_out = [], []
    for item in items:
        if item.ran_out:
            run_out.append(item.statement.kind)
        elif item.refusal is not None:
            refused.append(f"the {item.statement.kind} statement is refused ({item.refusal})")
    return refused, run_out


def _bytes(evidence: Evidence) -> Lane:
    closure, digests = evidence.closure(), _digests(evidence)
    if evidence.refusals["bytes"]:
        return Lane("bytes", "refuted", None, evidence.refusals["bytes"][0][1], digests)
    if not closure:
        return Lane("bytes", "pending", None, "No statement of this run is here yet.")
    if not all(item.judged for item in closure):
        return Lane(
            "bytes", "unknown", None, "Without a trust document nobody can say whose signatures these are.", digests
        )
    refused, run_out = _refusals(closure)
    if refused:
        return Lane("bytes", "refuted", None, f"Not acceptable: {'; '.join(refused)}.", digests)
    if run_out:
        return Lane(
            "bytes", "expired", None, "The key has run out and no quorum dated its statements in time.", digests
        )
    if evidence.closing is None:
        return Lane("bytes", "pending", None, "The request is bound; the answer has not been closed yet.", digests)
    if evidence.missing_parents():
        return Lane("bytes", "unknown", None, "A statement that the closing one names is not in this bundle.", digests)
    body = evidence.closing.statement.body
    if isinstance(body, Execution) and body.response is None:
        says = f"The request is bound by signature. There is no whole answer: {body.event} ({body.outcome})."
    elif isinstance(body, Execution) and body.outcome != "complete":
        says = f"Request and answer are bound by signature, as far as it was generated ({body.outcome})."
    else:
        says = "Request and answer are bound, part by part, by signature."
    shown = f" {len(evidence.disclosed)} disclosures match." if evidence.disclosed else " Nothing was disclosed here."
    return Lane("bytes", "proven", "signature", says + shown + _unattested(evidence), digests)


def _unattested(evidence: Evidence) -> str:
    attester = _attester(evidence) or ""
    found = {item.answer for item in evidence.attestations.get(attester, [])}
    if "hardware" in found and not found & {"bad", "development"}:
        return f" The key {attester[:12]} is attested by hardware."
    return f" The key {attester[:12]} is not attested by hardware."


def _artifact(evidence: Evidence) -> Lane:
    model = evidence.named("response", "model")
    if evidence.closing is None:
        return Lane("artifact", "unknown", None, "Nothing has been answered, so no model is claimed.")
    if computed_of(evidence) is not None:
        return computed_artifact(evidence)
    if _is_own(evidence):
        return Lane("artifact", "not_applicable", None, "No model ran in this run: its caller tells what it did.")
    name = f"calls it {model!r}" if model else "has not been disclosed here"
    asked = evidence.named("sent", "model") or evidence.named("request", "model")
    if model and asked and asked != model:
        name += f", and {asked!r} was asked for"
    return Lane(
        "artifact",
        "unknown",
        "provider_claim",
        f"Which model bytes ran is only the provider's word: the answer {name}.",
        _digests(evidence)[-1:],
    )


def _computation(evidence: Evidence, *, development: bool) -> Lane:
    if evidence.closing is None:
        return Lane("computation", "unknown", None, "Nothing has been computed that could be checked.")
    if computed_of(evidence) is not None:
        return computation(evidence, development=development)
    if _is_own(evidence):
        says = "What was done here is the word of whoever ran it. The gateway signed that it was told so, and when."
        return Lane("computation", "unknown", "operator_claim", says, _digests(evidence)[-1:])
    says = "The gateway signed what its upstream returned. Nothing here shows how the upstream made it."
    return Lane("computation", "unknown", "provider_claim", says, _digests(evidence)[-1:])


def _is_own(evidence: Evidence) -> bool:
    """Whether nothing was sent to anybody: an agent run, or a step of one (``agents.md`` §2(2))."""
    body = evidence.route.statement.body if evidence.route is not None else None
    return isinstance(body, Route) and body.endpoint in OWN_ENDPOINTS


def _route(evidence: Evidence, kept: KeptPolicy) -> Lane:
    body = evidence.route.statement.body if evidence.route is not None else None
    return replace(_route_lane(evidence, kept), deviations=deviations(body) if isinstance(body, Route) else ())


def _route_lane(evidence: Evidence, kept: KeptPolicy) -> Lane:
    checked = evidence.route
    if checked is None:
        return Lane("route", "pending", None, "No route statement is here yet.")
    digests = (checked.statement.digest,)
    body = checked.statement.body
    if kept.refusals:
        return Lane("route", "refuted", None, kept.refusals[0], digests)
    if not checked.judged or not isinstance(body, Route):
        return Lane("route", "unknown", None, "Without a trust document nobody can say who signed the route.", digests)
    if any(code.startswith("trace.") for code, _ in evidence.refusals["bytes"]):
        return Lane("route", "refuted", None, "The route and the execution contradict each other.", digests)
    refused, run_out = _refusals([checked])
    if refused:
        return Lane("route", "refuted", None, f"Not acceptable: {refused[0]}.", digests)
    if run_out:
        return Lane("route", "expired", None, "The key has run out and no quorum dated its statement in time.", digests)
    return Lane("route", "proven", "signature", describe_route(body) + tell_policy(kept), digests)


def _settlement(evidence: Evidence, trust: Trust | None) -> Lane:
    closure = evidence.closure()
    seen = tuple(dict.fromkeys(digest for item in closure for digest in item.evidence))
    if trust is None:
        says = "Without a trust document no log, full node or chain can be judged."
        return Lane("settlement", "unknown", None, says) if closure else _unanswered()
    refuted = [item for item in closure if item.verdict is not None and item.verdict.startswith("refuted:")]
    if refuted:
        first = refuted[0]
        says = f"Final round {first.verdict_round} refuted the {first.statement.kind} statement: {first.verdict}."
        return Lane("settlement", "refuted", _settlement_basis(evidence, trust), says, seen)
    if evidence.refusals["settlement"]:
        return Lane("settlement", "refuted", None, evidence.refusals["settlement"][0][1], seen)
    if not closure:
        return _unanswered()
    if _is_private(evidence):
        return _private_settlement(evidence, seen)
    if any(item.verdict == "cannot_tell" for item in closure):
        return Lane("settlement", "unknown", None, "A final round could not tell whether the statements hold.", seen)
    settled = evidence.closing is not None and not evidence.missing_parents()
    if settled and all(item.verdict == "ok" and _in_final_round(item, evidence) for item in closure):
        numbers = sorted({item.verdict_round for item in closure if item.verdict_round is not None})
        last = evidence.final_rounds[numbers[-1]]
        says = (
            f"All {len(closure)} statements are in round {', '.join(map(str, numbers))} with verdict ok; final by "
            f"{last.stake_for} of {last.stake_total} units of stake ({len(last.signers)} full nodes)."
        )
        basis = _settlement_basis(evidence, trust)
        if basis == "development":
            says += " The chain is a development chain."
        return Lane("settlement", "proven", basis, says, seen)
    return Lane("settlement", "pending", None, _progress(evidence, closure, trust) + _silence(evidence), seen)


def _unanswered() -> Lane:
    return Lane("settlement", "pending", None, "Nothing has been answered yet.")


def _is_sealed(evidence: Evidence) -> bool:
    """Whether the route says that the request came sealed."""
    body = evidence.route.statement.body if evidence.route else None
    return isinstance(body, Route) and body.path is not None


def _is_private(evidence: Evidence) -> bool:
    body = evidence.route.statement.body if evidence.route else None
    return isinstance(body, Route) and body.settlement == "private"


def _private_settlement(evidence: Evidence, seen: tuple[str, ...]) -> Lane:
    logged = [item for item in evidence.closure() if item.sizes]
    if evidence.closing is not None and len(logged) == len(evidence.closure()):
        says = "Existence logged, never checked: only salted commitments are in the log."
        return Lane("settlement", "unknown", None, says, seen)
    return Lane("settlement", "pending", None, "Answered; the commitments are not in the log yet.", seen)


def _in_final_round(item: CheckedStatement, evidence: Evidence) -> bool:
    """The entry is included in the tree of a final round that covers it."""
    return any(checked.final and checked.candidate.size in item.sizes for checked in evidence.final_rounds.values())


def _settlement_basis(evidence: Evidence, trust: Trust) -> str:
    origins = {checked.candidate.origin for checked in evidence.final_rounds.values()}
    chains = [trust.chain(origin) for origin in origins]
    return "development" if trust.development or any(chain and chain.development for chain in chains) else "proof"


def _progress(evidence: Evidence, closure: list[CheckedStatement], trust: Trust) -> str:
    """How far the secure layer has come, in words."""
    if evidence.closing is None:
        return "Asked; not answered yet."
    digest = evidence.closing.statement.digest
    index = evidence.closing.index if evidence.closing.index is not None else evidence.entries.get(digest)
    if index is None:
        return "Answered; not in the log yet."
    words = f"Answered and logged as entry {index}"
    covering = [item for item in evidence.checkpoints if item.checkpoint.size > index]
    if covering:
        most = max(len(item.cosigners) for item in covering)
        words += f"; cosigned by {most} full nodes"
    open_rounds = [
        item for item in evidence.proposed.values() if item.size > index and item.number not in evidence.final_rounds
    ]
    for candidate in sorted(open_rounds, key=lambda item: item.number)[:1]:
        epoch = trust.epoch(candidate.origin, candidate.number)
        members = voters_of(trust, epoch) if epoch else {}
        votes = evidence.votes.get((candidate.number, candidate.attempt), set())
        missing = sorted(name for address, name in members.items() if address not in votes)
        voted = f"In round {candidate.number}, {len(members) - len(missing)} of {len(members)} full nodes have voted"
        again = f" (attempt {candidate.attempt})" if candidate.attempt else ""
        not_yet = f", not yet {_listed(missing)}" if missing else ""
        return f"{voted}{again}{not_yet}, by the gateway's account; {words[0].lower()}{words[1:]}."
    waiting = [item for item in evidence.final_rounds.values() if not item.final and item.candidate.size > index]
    if waiting:
        item = waiting[0]
        return (
            f"{words}; round {item.candidate.number} has finality messages from {len(item.signers)} full nodes, "
            f"{item.stake_for} of {item.stake_total} units of stake: not more than two thirds."
        )
    undecided = [item.statement.kind for item in closure if item.verdict is None]
    return f"{words}; waiting for a final round that covers {' and '.join(sorted(undecided)) or 'it'}."


def _silence(evidence: Evidence) -> str:
    """What the exporter says of full nodes that do not answer it (``bundle.md`` §2); changes no state."""
    found = evidence.silence
    if found is None or not found.silent:
        return ""
    many = len(found.silent) > 1
    return (
        f" {len(found.silent)} of {found.asked} full nodes {'do' if many else 'does'} not answer the gateway: "
        f"{_listed(found.silent)}; more than two thirds of the stake has to vote."
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
