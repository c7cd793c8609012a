"""``holdfast round`` counts signatures that verify, each node once, by the stake that trust gives."""

from __future__ import annotations

import pytest

from holdfast.cli.rounds import RoundTold, _tell
from holdfast.client.full import RoundView
from holdfast.core import rounds
from holdfast.errors import UndecidedError
from tests.helpers.network import ORIGIN, STAKE, FullNode, Network

NETWORK = Network()
TRUST = NETWORK.trust()


def vote(node: FullNode, candidate: rounds.Candidate, attempt: int = 0) -> rounds.Vote:
    digest = rounds.vote_digest(
        NETWORK.domain, candidate.origin, candidate.epoch, candidate.number, attempt, candidate.content
    )
    signature = node.vote.sign(digest)
    return rounds.Vote(candidate.origin, candidate.epoch, candidate.number, attempt, candidate.content, signature)


def view(
    candidate: rounds.Candidate | None,
    votes: tuple[rounds.Vote, ...] = (),
    finality: rounds.FinalityMessage | None = None,
    state: str = "proposed",
) -> RoundView:
    return RoundView(ORIGIN, 1, state, 0, candidate, None, None, votes, (), finality)


def message(node: FullNode, candidate: rounds.Candidate) -> rounds.FinalityMessage:
    return rounds.parse_finality_message(node.finality(NETWORK.domain, candidate))


def tell(*views: RoundView) -> RoundTold:
    return _tell(ORIGIN, 1, views, TRUST)


def test_a_node_counts_once_however_many_repeat_it() -> None:
    candidate = NETWORK.candidate()
    one = vote(NETWORK.full_nodes[0], candidate)
    told = tell(view(candidate, (one, one)), view(candidate, (one,)))
    assert sum(told.votes.values()) == STAKE
    assert told.state == "proposed"


def test_signatures_of_strangers_and_for_other_contents_count_nothing() -> None:
    candidate, other = NETWORK.candidate(), NETWORK.candidate(blob_id=bytes(32))
    stranger = FullNode("stranger")
    told = tell(
        view(candidate, (vote(stranger, candidate), vote(NETWORK.full_nodes[1], other)), message(stranger, candidate))
    )
    assert told.votes == {}
    assert told.finality == {}


def test_a_round_is_final_by_messages_and_not_because_a_node_says_so() -> None:
    candidate = NETWORK.candidate()
    assert tell(view(candidate, state="final")).state == "proposed"
    two = [view(candidate, (), message(node, candidate), "final") for node in NETWORK.full_nodes[:2]]
    assert tell(*two).state == "proposed"
    three = [view(candidate, (), message(node, candidate), "final") for node in NETWORK.full_nodes[:3]]
    told = tell(*three)
    assert told.state == "final"
    assert sorted(told.names[address] for address in told.finality) == ["full-1", "full-2", "full-3"]


def test_the_candidate_with_finality_is_shown_whatever_others_propose() -> None:
    good, other = NETWORK.candidate(), NETWORK.candidate(attempt=3, blob_id=bytes(32))
    views = [view(good, (), message(node, good), "final") for node in NETWORK.full_nodes[:3]]
    told = tell(view(other, (vote(NETWORK.full_nodes[3], other, 3),)), *views)
    assert told.candidate == good


def test_without_a_chain_in_trust_nothing_can_be_told() -> None:
    with pytest.raises(UndecidedError) as undecided:
        _tell(ORIGIN, 1, [view(NETWORK.candidate())], NETWORK.trust(chains=[]))
    assert undecided.value.code == "trust.epoch"
