"""Which rounds a quorum called final, and their verdicts (``spec/round.md`` §4.3, §5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from holdfast.core import rounds
from holdfast.core.bundles import CandidateItem, FinalityItem, SilenceItem, VerdictItem, VotesItem
from holdfast.core.evm import address_of, recover
from holdfast.core.keys import PublicKey
from holdfast.core.trust import Epoch, Trust
from holdfast.errors import HoldfastError, RefusedError
from holdfast.verifier.evidence import CheckedRound, Evidence, refuse_settlement
from holdfast.verifier.transcript import Transcript

_NOBODY = "nobody"
"""Stands in for members whose vote key trust does not give: their stake counts in the total and signs nothing."""


def full_node_keys(trust: Trust, epoch: Epoch, use: str) -> Mapping[str, PublicKey]:
    """Keys of one use by node digest, for the members of an epoch."""
    return _full_node_keys(trust, tuple(epoch.stakes), use)


@lru_cache(maxsize=64)
def _full_node_keys(trust: Trust, nodes: tuple[str, ...], use: str) -> Mapping[str, PublicKey]:
    keys = {}
    for node in nodes:
        admission = trust.admission(node)
        key = admission.key_document.key_for(use) if admission and "full" in admission.key_document.roles else None
        if key is not None:
            keys[node] = key
    return keys


def voters_of(trust: Trust, epoch: Epoch) -> dict[str, str]:
    """Who may vote in an epoch: the name in its key document, by vote address."""
    names = {}
    for node, key in full_node_keys(trust, epoch, "vote").items():
        admission = trust.admission(node)
        names[address_of(key.public)] = admission.key_document.name if admission else node
    return names


def check_rounds(items: Iterable[object], evidence: Evidence, trust: Trust, record: Transcript) -> None:
    seen: set[FinalityItem] = set()
    for item in items:
        if isinstance(item, CandidateItem):
            evidence.proposed[item.candidate.number] = item.candidate
        elif isinstance(item, VotesItem):
            evidence.votes.setdefault((item.number, item.attempt), set()).update(item.voters)  # not proof: unsigned
        elif isinstance(item, SilenceItem):
            evidence.silence = item  # not proof either: the exporter's word
        elif isinstance(item, FinalityItem) and item not in seen:
            seen.add(item)
            check_finality(item, evidence, trust, record)


def check_finality(item: FinalityItem, evidence: Evidence, trust: Trust, record: Transcript) -> None:
    """Whether a quorum called a round final (``round.md`` §4.3); what follows is in ``evidence``."""
    candidate = item.candidate
    chain, epoch = trust.chain(candidate.origin), trust.epoch(candidate.origin, candidate.number)
    if chain is None or epoch is None:
        says = f"Trust knows no chain or epoch for round {candidate.number}."
        record.note(("settlement",), "trust.md §1", "cannot_tell", says, "trust.epoch")
        return
    if epoch.number != candidate.epoch:
        refuse_settlement(evidence, record, "trust.epoch", f"Round {candidate.number} names epoch {candidate.epoch}.")
        return
    keys = full_node_keys(trust, epoch, "vote")
    stakes = {address_of(key.public): epoch.stakes[node] for node, key in keys.items()}
    silent = epoch.total - sum(stakes.values())
    if silent:
        stakes[_NOBODY] = silent
        says = "A member of the epoch has no vote key of its own."
        record.note(("settlement",), "trust.md §4", "cannot_tell", says, "trust.epoch")
    revoked = {address_of(key.public) for node, key in keys.items() if _is_revoked(trust, node)}
    try:
        domain = rounds.ChainDomain(chain.chain_id, chain.contract)
        for message in item.messages:
            if message.content != candidate.content or (message.origin, message.number, message.epoch) != (
                candidate.origin,
                candidate.number,
                candidate.epoch,
            ):
                raise RefusedError("round.mixed", "a finality message is about another content")
        counted = [
            one for one in item.messages if not revoked or recover(one.digest(domain), one.signature) not in revoked
        ]
        final = rounds.verify_finality(domain, counted, stakes)
    except HoldfastError as error:
        record.error(("settlement",), "round.md §4.3", error)
        if isinstance(error, RefusedError):
            evidence.refuse("settlement", error.code, f"The finality of round {candidate.number} does not hold.")
        else:
            signers = {rounds.verify_finality_message(domain, message, stakes).signer for message in counted}
            stake_for = sum(stakes[signer] for signer in signers)
            evidence.final_rounds.setdefault(
                candidate.number, CheckedRound(candidate, False, stake_for, epoch.total, tuple(sorted(signers)))
            )
        return
    before = evidence.final_rounds.get(candidate.number)
    same_round = before is not None and before.final and before.candidate.origin == candidate.origin
    if before is not None and same_round and before.candidate.content != candidate.content:
        says = f"A quorum called two contents of round {candidate.number} final."
        evidence.overturned |= {before.candidate.content.hex(), candidate.content.hex()}
        refuse_settlement(evidence, record, "round.equivocation", says)
        return
    evidence.final_rounds[candidate.number] = CheckedRound(
        candidate, True, final.stake_for, final.stake_total, final.signers
    )
    record.note(
        ("settlement",),
        "round.md §4.3",
        "yes",
        f"Round {candidate.number} is final: {final.stake_for} of {final.stake_total} units of stake signed it.",
    )


def _is_revoked(trust: Trust, node: str) -> bool:
    """A finality message carries no time, so a member that was ever revoked does not count (``trust.md`` §4)."""
    admission = trust.admission(node)
    return admission is not None and admission.revoked is not None


def check_verdicts(items: Iterable[VerdictItem], evidence: Evidence, record: Transcript) -> None:
    """Verdict leaves under final verdict roots; the newest round's verdict counts (``round.md`` §5)."""
    owners = {entry: digest for digest, entry in evidence.commitments.items()}
    for item in sorted(items, key=lambda item: item.number):
        checked_round = evidence.final_rounds.get(item.number)
        if checked_round is None or not checked_round.final:
            says = f"Round {item.number} is not final here."
            record.note(("settlement",), "round.md §5", "cannot_tell", says, "round.not_final")
            continue
        digest = item.entry.statement_digest.hex()
        owner = evidence.checked().get(owners.get(digest, digest))
        try:
            rounds.verify_verdict_inclusion(
                item.entry, item.position, item.size, item.proof, checked_round.candidate.verdict_root
            )
        except RefusedError as error:
            refuse_settlement(evidence, record, error.code, "A verdict is not under its round's verdict root.", owner)
            continue
        if owner is None:
            continue
        if owner.index is not None and owner.index != item.entry.index:
            refuse_settlement(evidence, record, "round.verdict_index", "A verdict names another log entry.", owner)
            continue
        owner.verdict, owner.verdict_round = item.entry.code, item.number
        owner.evidence.append(checked_round.candidate.content.hex())
        answer = "yes" if item.entry.code == "ok" else "cannot_tell" if item.entry.code == "cannot_tell" else "no"
        record.note(
            (owner.settles,),
            "round.md §5",
            answer,  # type: ignore[arg-type]
            f"Final round {item.number} says {item.entry.code} of {owner.statement.kind} {digest[:12]}.",
            "round.refuted" if answer == "no" else None,
        )
