"""What a lane took from trust, and whether a trust document still stands behind it (``spec/lanes.md`` §6).

:func:`reliances_of` reads checked evidence and says, lane by lane, which keys, quorums, logs, chains and roots its
state rests on and until when. :func:`withdrawn` asks of one of them, without any evidence, whether trust has taken it
back since: whoever keeps the names of what many runs relied on finds all of them again with one question for each name.

Rules: only what an authority says takes something back (a revocation, a removal, another contract, a shortened span).
What merely runs out with time is not withdrawn: time moves lanes by itself. Pure.

Not covered: measurements of enclaves. When trust drops one, the ``enclave`` lane of what it vouched for is refuted as
soon as its evidence is appraised again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.evm import address_of
from holdfast.core.statements import Route
from holdfast.core.trust import Trust
from holdfast.errors import MalformedError
from holdfast.verifier.evidence import CheckedRound, Evidence
from holdfast.verifier.final_rounds import full_node_keys

RELIANCE_TYPE = "urn:holdfast:reliance:v1"
"""``type`` of a reliance (``lanes.md`` §6)."""
OPEN = dt.datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=dt.UTC)
"""``until`` of what no quorum dated: it relies on its key for good (``lanes.md`` §6)."""
_BEGINNING = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
_KINDS = {
    "node": ("node",),
    "log": ("origin", "node"),
    "chain": ("origin", "chain_id", "contract"),
    "quorum": ("origin", "epoch", "nodes"),
    "enclave_root": ("certificate",),
}


@dataclass(frozen=True, slots=True)
class Reliance:
    """One thing that trust vouched for. ``until`` is the last moment for which it had to be good; no part of the
    name."""

    name: str
    """SHA-256 (hex) of ``document``; of a node, the digest of its key document."""
    document: bytes = field(repr=False)
    """Canonical JSON (``lanes.md`` §6)."""
    until: dt.datetime = OPEN


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Why something can no longer be relied on, and for which moments."""

    since: dt.datetime
    """Reliance until this moment or a later one is gone."""
    dated_only: bool
    """Whether what no quorum dated is left out: that has run out, and nobody took it back."""
    says: str
    """A sentence without a full stop."""
    evidence: str
    """Digest (hex) of what was taken back: a key document, or the name of the reliance."""


# --- what lanes rest on -----------------------------------------------------------------------------------------------


def reliances_of(evidence: Evidence, trust: Trust | None) -> Mapping[str, tuple[Reliance, ...]]:
    """By lane, what its state rests on in trust; lanes that take nothing from trust are left out."""
    if trust is None:
        return {}
    closure = evidence.closure()
    signed = tuple(_node(item.statement.attester, item.trusted_time or OPEN) for item in closure)
    decided = tuple(_node(item.statement.attester, item.trusted_time or OPEN) for item in evidence.decisions())
    paid = tuple(_node(item.statement.attester, item.trusted_time or OPEN) for item in evidence.payments())
    told = tuple(_node(item.statement.attester, item.trusted_time or OPEN) for item in evidence.changes.values())
    routed = evidence.route
    found = {
        "bytes": signed,
        "artifact": (*signed, *told),
        "computation": signed,
        "inputs": (*signed, *_vouched(evidence, trust, _data_nodes(evidence))),
        "memory": signed,
        "privacy": (*signed, *_vouched(evidence, trust, _closer(evidence))) if _is_sealed(evidence) else signed,
        "payment": (*signed, *paid),
        "route": () if routed is None else (_node(routed.statement.attester, routed.trusted_time or OPEN),),
        "settlement": (*signed, *_settled(evidence, trust)),
        "enclave": _vouched(evidence, trust, _closer(evidence)),
        "judgement": decided,
    }
    return {lane: tuple(dict.fromkeys(items)) for lane, items in found.items() if items}


def _is_sealed(evidence: Evidence) -> bool:
    """Whether privacy rests on an enclave too (``lanes.md`` §3(5))."""
    body = evidence.route.statement.body if evidence.route else None
    return isinstance(body, Route) and body.path is not None


def _settled(evidence: Evidence, trust: Trust) -> Iterator[Reliance]:
    """The log that dated the statements, the quorums of the final rounds that count, and the chains of those."""
    counted = {digest for item in evidence.closure() for digest in item.evidence}
    for checked in evidence.checkpoints:
        trusted = trust.log(checked.checkpoint.origin)
        if checked.digest in counted and trusted is not None:
            until = checked.quorum_at or OPEN
            yield _build("log", until, origin=trusted.origin, node=trusted.node)
            yield _node(trusted.node, until)
    for final in evidence.final_rounds.values():
        if final.final and final.candidate.content.hex() in counted:
            yield from _final(final, trust)


def _final(final: CheckedRound, trust: Trust) -> Iterator[Reliance]:
    candidate = final.candidate
    chain, epoch = trust.chain(candidate.origin), trust.epoch(candidate.origin, candidate.number)
    if chain is None or epoch is None:  # a final round has both; this says so to the type checker
        return
    yield _build("chain", OPEN, origin=chain.origin, chain_id=chain.chain_id, contract=chain.contract)
    nodes = {address_of(key.public): node for node, key in full_node_keys(trust, epoch, "vote").items()}
    signers = tuple(sorted(nodes[signer] for signer in final.signers if signer in nodes))
    yield _build("quorum", OPEN, origin=epoch.origin, epoch=epoch.number, nodes=signers)


def _closer(evidence: Evidence) -> list[str]:
    source = evidence.closing or evidence.route
    return [source.statement.attester] if source is not None else []


def _data_nodes(evidence: Evidence) -> list[str]:
    return [item.statement.attester for item in evidence.closure() if item.statement.kind == "admission"]


def _vouched(evidence: Evidence, trust: Trust, nodes: Iterable[str]) -> tuple[Reliance, ...]:
    """The roots that vouch for the keys of these nodes. Which of several did is not asked: each could have."""
    answers = [item for node in nodes for item in evidence.attestations.get(node, [])]
    kinds = {item.form for item in answers if item.answer in ("hardware", "development")}
    return tuple(
        _build("enclave_root", OPEN, certificate=sha256_hex(root.certificate))
        for root in trust.current.enclave_roots
        if root.kind in kinds
    )


@lru_cache(maxsize=4096)
def _node(node: str, until: dt.datetime) -> Reliance:
    return Reliance(node, _document("node", {"node": node}), until)


def _build(kind: str, until: dt.datetime, **members: Any) -> Reliance:
    return _cached(kind, until, tuple(sorted(members.items())))


@lru_cache(maxsize=4096)
def _cached(kind: str, until: dt.datetime, members: tuple[tuple[str, Any], ...]) -> Reliance:
    value = {name: list(item) if isinstance(item, tuple) else item for name, item in members}
    document = _document(kind, value)
    return Reliance(sha256_hex(document), document, until)


def _document(kind: str, members: Mapping[str, Any]) -> bytes:
    return canonical.encode_known({"type": RELIANCE_TYPE, "kind": kind, **members})


# --- what trust takes back --------------------------------------------------------------------------------------------


def withdrawn(document: bytes, trust: Trust) -> Withdrawal | None:
    """Whether trust no longer stands behind something that was relied on; None while it does. Raises ``reliance.*``
    for bytes that are no reliance."""
    value = _parse(document)
    name = value["node"] if value["kind"] == "node" else sha256_hex(document)
    if value["kind"] == "node":
        return _lost_node(value["node"], trust)
    if value["kind"] == "log":
        trusted = trust.log(value["origin"])
        if trusted is None or trusted.node != value["node"]:
            return _gone(f"trust no longer admits the log {value['origin']} of node {value['node'][:12]}", name)
        return Withdrawal(trusted.valid_until, True, f"trust admits the log {trusted.origin} for a shorter time", name)
    if value["kind"] == "chain":
        chain = trust.chain(value["origin"])
        if chain is None or (chain.chain_id, chain.contract) != (value["chain_id"], value["contract"]):
            says = f"trust no longer names contract {value['contract']} on chain {value['chain_id']}"
            return _gone(f"{says} for the rounds of {value['origin']}", name)
        return None
    if value["kind"] == "quorum":
        return _lost_quorum(value["origin"], value["epoch"], value["nodes"], trust, name)
    if value["certificate"] not in {sha256_hex(root.certificate) for root in trust.current.enclave_roots}:
        return _gone(f"trust no longer names enclave root {value['certificate'][:12]}", name)
    return None


def _parse(document: bytes) -> Mapping[str, Any]:
    value = canonical.decode_signed(document)
    if value.get("type") != RELIANCE_TYPE or value.get("kind") not in _KINDS:
        raise MalformedError("reliance.kind", f"not a {RELIANCE_TYPE} of a known kind")
    if value.keys() != {"type", "kind", *_KINDS[value["kind"]]}:
        raise MalformedError("reliance.fields", f"a reliance of kind {value['kind']} has other members")
    return value


def _gone(says: str, evidence: str) -> Withdrawal:
    return Withdrawal(_BEGINNING, False, says, evidence)


def _lost_node(node: str, trust: Trust) -> Withdrawal | None:
    admission = trust.admission(node)
    if admission is None:
        return _gone(f"trust no longer admits node {node[:12]}", node)
    name = f"{admission.key_document.name} ({node[:12]})"
    revoked = admission.revoked
    if revoked is not None:
        says = f"the keys of {name} were revoked: {revoked.reason}, suspect since {time_encode(revoked.suspect_since)}"
        return Withdrawal(revoked.suspect_since, False, says, node)
    return Withdrawal(admission.valid_until, True, f"trust admits {name} for a shorter time", node)


def _lost_quorum(origin: str, number: int, nodes: Iterable[str], trust: Trust, name: str) -> Withdrawal | None:
    epoch = next((item for item in trust.current.epochs if (item.origin, item.number) == (origin, number)), None)
    if epoch is None:
        return _gone(f"trust no longer knows epoch {number} of {origin}", name)
    voting = full_node_keys(trust, epoch, "vote")
    gone = sorted(node for node in epoch.stakes if not _counts(node, trust) or node not in voting)
    if epoch.is_quorum({node for node in nodes if node not in gone}):
        return None
    admissions = {node: trust.admission(node) for node in gone}
    told = [f"{found.key_document.name} ({node[:12]})" if found else node[:12] for node, found in admissions.items()]
    if not told:
        return _gone(f"by the stakes of epoch {number} of {origin} no quorum stands behind its rounds", name)
    says = f"the keys of {', '.join(told)} were revoked or removed, and without them no quorum stands behind a round"
    return _gone(f"{says} of epoch {number} of {origin}", gone[0])


def _counts(node: str, trust: Trust) -> bool:
    """A finality message carries no time, so a member that was ever revoked does not count (``trust.md`` §4)."""
    admission = trust.admission(node)
    return admission is not None and admission.revoked is None
