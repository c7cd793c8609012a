"""Commands of rounds: candidates, votes, finality, verdicts and offences."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, fields_of, integer
from holdfast.cli.conformance.trusted import read_trust
from holdfast.core import canonical, rounds, trust
from holdfast.core.encoding import hex_decode
from holdfast.core.evm import address_of
from holdfast.errors import RefusedError, UndecidedError


def _domain_and_stakes(
    believed: trust.Trust | None, origin: str, number: int
) -> tuple[rounds.ChainDomain, dict[str, int]]:
    """Where votes of a round are recorded, and the stake of each vote key's address, as trust says."""
    chain = believed.chain(origin) if believed else None
    epoch = believed.epoch(origin, number) if believed else None
    if believed is None or chain is None or epoch is None:
        raise UndecidedError("trust.epoch", "trust names no chain or no epoch for this round")
    stakes = {}
    for node, stake in epoch.stakes.items():
        admission = believed.admission(node)
        key = admission.key_document.key_for("vote") if admission else None
        if key is not None:
            stakes[address_of(key.public)] = stake
    return rounds.ChainDomain(chain.chain_id, chain.contract), stakes


def _verify_candidate(arguments: Arguments) -> Answer:
    previous_size, blob = integer(arguments.one("previous-size")), arguments.read(arguments.one("blob"))
    candidate = rounds.parse_candidate(canonical.decode(arguments.file()))
    rounds.verify_verdicts(candidate, previous_size, blob)
    return {"content": candidate.content.hex()}


def _verify_vote(arguments: Arguments) -> Answer:
    believed = read_trust(arguments)
    vote = rounds.parse_vote(canonical.decode(arguments.file()))
    domain, stakes = _domain_and_stakes(believed, vote.origin, vote.number)
    return {"signer": rounds.verify_vote(domain, vote, stakes).signer}


def _verify_finality(arguments: Arguments) -> Answer:
    believed = read_trust(arguments)
    value = fields_of(arguments.file(), "round", "messages")
    candidate = rounds.parse_candidate(value["round"])
    messages = [rounds.parse_finality_message(item) for item in value["messages"]]
    domain, stakes = _domain_and_stakes(believed, candidate.origin, candidate.number)
    final = rounds.verify_finality(domain, messages, stakes)
    if (final.origin, final.epoch, final.number, final.content) != (
        candidate.origin,
        candidate.epoch,
        candidate.number,
        candidate.content,
    ):
        raise RefusedError("round.mixed", "the messages are about another content")
    return {"content": final.content.hex(), "stake_for": final.stake_for, "stake_total": final.stake_total}


def _verify_verdict(arguments: Arguments) -> Answer:
    value = fields_of(arguments.file(), "index", "digest", "code", "position", "size", "proof", "verdict_root")
    code = rounds.parse_verdict_code(value["code"])
    entry = rounds.VerdictEntry(value["index"], hex_decode(value["digest"], 32), code)
    proof = [hex_decode(step) for step in value["proof"]]
    root = hex_decode(value["verdict_root"], 32)
    rounds.verify_verdict_inclusion(entry, value["position"], value["size"], proof, root)
    return {}


def _verify_offence(arguments: Arguments) -> Answer:
    believed = read_trust(arguments)
    value = fields_of(arguments.file(), "offence", "first", "second")
    if value["offence"] == "vote":
        first, second = rounds.parse_vote(value["first"]), rounds.parse_vote(value["second"])
        domain, _ = _domain_and_stakes(believed, first.origin, first.number)
        return {"signer": rounds.verify_double_vote(domain, first, second)}
    one, other = rounds.parse_finality_message(value["first"]), rounds.parse_finality_message(value["second"])
    domain, _ = _domain_and_stakes(believed, one.origin, one.number)
    return {"signer": rounds.verify_double_finality(domain, one, other)}


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "verify-candidate": _verify_candidate,
    "verify-vote": _verify_vote,
    "verify-finality": _verify_finality,
    "verify-verdict": _verify_verdict,
    "verify-offence": _verify_offence,
}
