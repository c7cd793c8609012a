"""Rounds of four full nodes: the happy path and everything that must be refused, outvoted, slashed or survived."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from holdfast.core import merkle, notes, rounds
from holdfast.core.encoding import time_encode
from holdfast.core.rounds import Candidate, FinalityMessage, VerdictEntry, Vote
from holdfast.errors import HoldfastError, UndecidedError
from tests.helpers.full_network import ORIGIN, START, Network, Seat, ed25519_signer

Scenario = Callable[[Network], Awaitable[None]]


def play(scenario: Scenario, **settings: Any) -> None:
    """Open a network and run a scenario on it."""

    async def run() -> None:
        network = Network(**settings)
        await network.open()
        await scenario(network)

    asyncio.run(run())


def doing(seat: Seat) -> dict[str, object]:
    return seat.up.status()["rounds"][0]


def proposer_of(network: Network, number: int, attempt: int) -> Seat:
    return network.seats[(number + attempt) % len(network.seats)]


async def propose(network: Network, seat: Seat, candidate: Candidate) -> None:
    """A candidate as a lying proposer sends it, past every rule of its own node."""
    signature = seat.vote.sign(
        rounds.vote_digest(
            network.chain.domain, ORIGIN, candidate.epoch, candidate.number, candidate.attempt, candidate.content
        )
    )
    assert seat.chain is not None
    await seat.chain.submit_candidate(candidate, signature)


def candidate_saying(network: Network, verdicts: list[VerdictEntry], seat: Seat, **changes: object) -> Candidate:
    """A well-formed first candidate with these verdicts; its blob is kept where ``seat`` serves it."""
    blob = rounds.verdict_blob(verdicts)
    seat.up.archive.save_blob(blob)
    leaves = network.log.leaves()
    candidate = Candidate(
        ORIGIN,
        1,
        1,
        0,
        rounds.NO_PREVIOUS,
        len(leaves),
        merkle.root(leaves),
        rounds.verdict_root(verdicts),
        rounds.blob_id(blob),
    )
    return replace(candidate, **changes)  # type: ignore[arg-type]


def truth(seat: Seat) -> list[VerdictEntry]:
    ledger = seat.up.journal.origins[ORIGIN].ledger
    opinions = [ledger.opinion(index) for index in range(ledger.size)]
    return [VerdictEntry(index, mine.digest, mine.code) for index, mine in enumerate(opinions)]


async def read_log(network: Network) -> None:
    """Every node verifies what is logged, and nobody touches the chain."""
    for seat in network.seats:
        while await seat.up.step_log(ORIGIN):
            pass


# Ordinary days


def test_every_entry_becomes_final_and_every_node_speaks_once():
    async def scenario(network: Network) -> None:
        network.answer(3)
        await network.until(network.all_final)
        assert network.codes() == dict.fromkeys(range(6), "ok")
        await network.steps(2)
        for seat in network.seats:
            found = [rounds.parse_finality_message(item) for item in seat.up.finality(ORIGIN, 1)["messages"]]
            stakes = {other.address: 100 for other in network.seats}
            assert rounds.verify_finality(network.chain.domain, found, stakes).stake_for == 400

    play(scenario)


def test_rounds_follow_one_another_and_each_names_the_one_before():
    async def scenario(network: Network) -> None:
        for _ in range(5):
            network.answer(2)
            await network.until(network.all_final)
        finals = [final.candidate for final in network.final_rounds()]
        assert len(finals) == 5
        assert [final.previous for final in finals[1:]] == [final.content for final in finals[:-1]]
        assert [final.size for final in finals] == [4, 8, 12, 16, 20]

    play(scenario)


def test_nothing_new_makes_no_round():
    async def scenario(network: Network) -> None:
        network.answer()
        await network.until(network.all_final)
        await network.steps(30)
        assert len(network.final_rounds()) == 1
        assert doing(network.seats[0])["attempt"] == 0

    play(scenario)


def test_a_refuted_statement_is_final_as_refuted():
    async def scenario(network: Network) -> None:
        stranger = ed25519_signer("stranger", "statement")
        route = network.gateway.route(99)
        network.log.append([network.gateway.seal(route, stranger), b"{not a statement"])
        network.answer()
        await network.until(network.all_final)
        assert network.codes() == {0: "refuted:signature", 1: "refuted:malformed", 2: "ok", 3: "ok"}

    play(scenario)


def test_a_second_closing_execution_of_a_run_is_refuted():
    async def scenario(network: Network) -> None:
        network.answer()
        route = hashlib.sha256(network.gateway.route(0)).hexdigest()
        network.log.append([network.gateway.seal(network.gateway.execution(0, [route], salt="again"))])
        await network.until(network.all_final)
        assert network.codes()[2] == "refuted:duplicate-closure"

    play(scenario)


def test_a_backdated_and_a_future_statement_are_refuted():
    async def scenario(network: Network) -> None:
        await network.steps(700)
        late, early = START, network.clock.now().replace(minute=59)
        network.log.append([network.gateway.seal(network.gateway.route(5, at=late))])
        network.log.append([network.gateway.seal(network.gateway.route(6, at=early))])
        await network.until(network.all_final)
        assert network.codes() == {0: "refuted:backdated", 1: "refuted:future"}

    play(scenario)


def test_a_long_backlog_is_settled_in_several_rounds():
    async def scenario(network: Network) -> None:
        network.limits = replace(network.limits, most_entries=10)
        for seat in network.seats:
            await network.start(seat)
        network.answer(12)
        await network.until(network.all_final)
        assert [final.candidate.size for final in network.final_rounds()] == [10, 20, 24]

    play(scenario)


def test_each_log_has_its_own_rounds():
    async def scenario(network: Network) -> None:
        other = network.logs["holdfast.test/log/2"]
        network.answer(2)
        other.append(network.gateway.run(500))
        other.append(network.gateway.run(501))
        await network.until(lambda: network.all_final() and ("holdfast.test/log/2", 1) in network.chain.state.finals)
        assert network.final_rounds()[0].candidate.size == 4
        assert network.chain.state.finals["holdfast.test/log/2", 1].candidate.size == 4
        await network.steps(3)
        node = network.seats[0].up
        assert node.finality("holdfast.test/log/2", 1)["round"]["origin"] == "holdfast.test/log/2"
        with pytest.raises(HoldfastError, match=r"full\.origin"):
            node.origin(None)

    play(scenario, origins=(ORIGIN, "holdfast.test/log/2"))


# Nodes that are down


def test_with_one_of_four_down_rounds_still_finalise():
    async def scenario(network: Network) -> None:
        network.stop(network.seats[0])
        for _ in range(4):
            network.answer()
            await network.until(network.all_final, most=80)
        assert set(network.codes().values()) == {"ok"}

    play(scenario)


def test_with_two_of_four_down_nothing_finalises_and_the_status_says_why():
    async def scenario(network: Network) -> None:
        down = [network.seats[0], network.seats[1]]
        for seat in down:
            network.stop(seat)
        network.answer(2)
        await network.steps(80)
        assert network.final_rounds() == []
        says = [doing(seat) for seat in network.seats[2:]]
        waiting = {address for status in says for address in status["waits_for"]}  # type: ignore[attr-defined]
        assert waiting == {seat.address for seat in down} or all(
            status["doing"] == "waiting for the proposer" for status in says
        )
        for seat in down:
            await network.start(seat)
        await network.until(network.all_final, most=120)
        assert set(network.codes().values()) == {"ok"}

    play(scenario)


def test_when_two_come_back_after_an_hour_what_the_others_saw_becomes_final():
    async def scenario(network: Network) -> None:
        network.answer()
        await network.until(network.all_final)
        down = [network.seats[0], network.seats[1]]
        for seat in down:
            network.stop(seat)
        for _ in range(6):
            network.answer()
            await network.steps(3)
        await network.steps(60, seconds=60)
        assert len(network.final_rounds()) == 1
        for seat in down:
            await network.start(seat)
        await network.until(network.all_final, most=400)
        assert network.codes() == dict.fromkeys(range(14), "ok")

    play(scenario)


def test_when_everybody_was_away_too_long_the_verdict_is_that_nobody_can_tell():
    async def scenario(network: Network) -> None:
        network.answer()
        await network.until(network.all_final)
        for seat in network.seats:
            network.stop(seat)
        network.answer()
        network.clock.advance(3600)
        for seat in network.seats:
            await network.start(seat)
        network.answer()
        await network.until(network.all_final, most=400)
        assert network.codes() == {0: "ok", 1: "ok", 2: "cannot_tell", 3: "cannot_tell", 4: "ok", 5: "ok"}

    play(scenario)


def test_a_node_that_was_down_for_many_rounds_speaks_on_each_of_them():
    async def scenario(network: Network) -> None:
        away = network.seats[2]
        network.stop(away)
        for _ in range(6):
            network.answer()
            await network.until(network.all_final, most=100)
        await network.start(away)
        await network.until(lambda: network.all_final(seats=[away]))
        own = [item["finality"] for item in away.up.rounds(ORIGIN, 0, 100)["rounds"]]
        assert len(own) == 6
        assert all(own)

    play(scenario)


# Proposers


def test_a_stalling_proposer_costs_one_timeout():
    async def scenario(network: Network) -> None:
        network.stop(proposer_of(network, 1, 0))
        network.answer()
        await network.until(network.all_final, most=40)
        assert network.final_rounds()[0].candidate.attempt == 1

    play(scenario)


@pytest.mark.parametrize(
    "lie",
    [
        {"root": bytes(32)},
        {"previous": b"\x01" * 32},
        {"size": 1, "root": bytes(32)},
        {"size": 9},
        {"verdict_root": bytes(32)},
        {"blob_id": bytes(32)},
    ],
    ids=["root", "previous", "smaller", "larger", "verdict-root", "withheld-blob"],
)
def test_a_candidate_that_lies_about_its_frame_gets_no_vote(lie):
    async def scenario(network: Network) -> None:
        network.answer(2)
        await read_log(network)
        liar = proposer_of(network, 1, 0)
        candidate = candidate_saying(network, truth(liar), liar, **lie)
        if "previous" in lie:  # the contract itself refuses this one
            with pytest.raises(HoldfastError, match=r"round\.previous"):
                await propose(network, liar, candidate)
            return
        await propose(network, liar, candidate)
        await network.steps(3)
        assert network.chain.state.origins[ORIGIN].voters == {liar.address: 100}
        honest = next(seat for seat in network.seats if seat is not liar)
        assert doing(honest)["abstains"]
        await network.until(network.all_final, most=80)
        assert network.final_rounds()[0].candidate.attempt == 1
        assert set(network.codes().values()) == {"ok"}

    play(scenario)


@pytest.mark.parametrize(
    ("found", "claimed"), [("forged", "ok"), ("honest", "refuted:signature"), ("forged", "refuted:parent")]
)
def test_a_proposer_that_says_what_was_not_found_is_outvoted(found, claimed):
    async def scenario(network: Network) -> None:
        signer = ed25519_signer("stranger", "statement") if found == "forged" else None
        network.log.append([network.gateway.seal(network.gateway.route(1), signer)])
        await read_log(network)
        liar = proposer_of(network, 1, 0)
        verdicts = [replace(truth(liar)[0], code=claimed)]
        await propose(network, liar, candidate_saying(network, verdicts, liar))
        await network.steps(3)
        assert network.final_rounds() == []
        honest = next(seat for seat in network.seats if seat is not liar)
        assert claimed in str(doing(honest)["abstains"])
        await network.until(network.all_final, most=80)
        assert network.codes() == {0: "refuted:signature" if found == "forged" else "ok"}

    play(scenario)


def test_a_proposer_that_cannot_tell_is_accepted_and_a_later_round_says_more():
    async def scenario(network: Network) -> None:
        network.answer()
        await read_log(network)
        shy = proposer_of(network, 1, 0)
        verdicts = [replace(verdict, code="cannot_tell") for verdict in truth(shy)]
        await propose(network, shy, candidate_saying(network, verdicts, shy))
        await network.until(lambda: len(network.final_rounds()) >= 1)
        assert network.codes() == {0: "cannot_tell", 1: "cannot_tell"}
        await network.until(lambda: network.codes() == {0: "ok", 1: "ok"}, most=80)
        second = network.final_rounds()[1].candidate
        assert (second.size, second.root) == (2, network.final_rounds()[0].candidate.root)

    play(scenario)


def test_a_blob_that_its_proposer_withholds_is_not_needed_by_those_who_agree():
    async def scenario(network: Network) -> None:
        for seat in network.seats:
            seat.withholds_blobs = True
        network.answer(2)
        await network.until(network.all_final)
        assert set(network.codes().values()) == {"ok"}

    play(scenario)


def test_nobody_votes_under_an_epoch_that_trust_does_not_admit():
    async def scenario(network: Network) -> None:
        bank = network.chain.client(network.governor)
        await bank.announce_epoch(0, [replace(network.members[0], stake=60), *network.members[1:]])
        network.answer()
        await network.steps(30)
        assert network.final_rounds() == []
        assert "round.untrusted" in str(doing(network.seats[1])["abstains"])

    play(scenario)


# Offences


def double_vote(network: Network, seat: Seat) -> list[Vote]:
    """Two votes of one node in one attempt."""
    votes = []
    for content in (b"\x01" * 32, b"\x02" * 32):
        digest = rounds.vote_digest(network.chain.domain, ORIGIN, 1, 1, 0, content)
        votes.append(Vote(ORIGIN, 1, 1, 0, content, seat.vote.sign(digest)))
    return votes


def test_a_node_that_votes_twice_in_one_attempt_is_slashed():
    async def scenario(network: Network) -> None:
        byzantine, first, second = network.seats[0], network.seats[1], network.seats[2]
        votes = double_vote(network, byzantine)
        network.answer()
        await read_log(network)
        stakes = {seat.address: 100 for seat in network.seats}
        await first.up.settlers[ORIGIN].watch.vote(network.chain.domain, votes[0], stakes)
        await second.up.settlers[ORIGIN].watch.vote(network.chain.domain, votes[1], stakes)
        assert (await network.chain.client(network.governor).stake(byzantine.address)).slashed is False
        await network.steps(3)  # each hears of the other vote from the other node
        assert (await network.chain.client(network.governor).stake(byzantine.address)).slashed is True
        assert first.up.journal.offences == {}
        await network.until(network.all_final, most=80)

    play(scenario)


def test_a_node_that_makes_two_finality_messages_is_slashed():
    async def scenario(network: Network) -> None:
        network.answer()
        await network.until(network.all_final)
        byzantine = network.seats[3]
        other = b"\x07" * 32
        digest = rounds.finality_digest(network.chain.domain, ORIGIN, 1, 1, other)
        second = FinalityMessage(ORIGIN, 1, 1, other, byzantine.vote.sign(digest))
        await network.steps(2)

        def lie(what: str, value: dict) -> dict:
            return {**value, "finality": second.to_json()} if what == "round" and value["number"] == 1 else value

        byzantine.alter = lie
        await network.steps(3)
        assert (await network.chain.client(network.governor).stake(byzantine.address)).slashed is True

    play(scenario)


def test_a_vote_or_finality_message_of_a_stranger_is_nobodys():
    async def scenario(network: Network) -> None:
        network.answer()
        await network.until(network.all_final)
        stranger = ed25519_signer("x", "statement")
        assert stranger.key.public
        outsider = Seat("outsider", 99, network.log)
        watch = network.seats[0].up.settlers[ORIGIN].watch
        stakes = {seat.address: 100 for seat in network.seats}
        assert await watch.vote(network.chain.domain, double_vote(network, outsider)[0], stakes) is False
        digest = rounds.finality_digest(network.chain.domain, ORIGIN, 1, 1, bytes(32))
        message = FinalityMessage(ORIGIN, 1, 1, bytes(32), outsider.vote.sign(digest))
        assert await watch.finality(network.chain.domain, message, stakes) is None

    play(scenario)


# Logs that lie


def test_a_split_view_is_found_out_when_the_nodes_talk_and_nothing_of_it_is_settled():
    async def scenario(network: Network) -> None:
        network.answer()
        await network.until(network.all_final)
        other = network.log.fork(2)
        network.answer()
        other.append(network.gateway.run(77))
        for seat in network.seats[2:]:
            seat.view.log = other
        await network.steps(30)
        assert len(network.final_rounds()) == 1
        for seat in network.seats:
            found = seat.up.equivocations()["equivocations"]
            assert len(found) == 1
            assert found[0]["notes"][0] != found[0]["notes"][1]
            assert doing(seat)["doing"] == "watching"
            assert "two histories" in str(doing(seat)["abstains"])

    play(scenario)


def test_a_log_that_forgets_entries_is_proven_to_have_forked_even_at_another_size():
    async def scenario(network: Network) -> None:
        network.answer(2)
        await network.until(network.all_final)
        other = network.log.fork(1)
        for number in range(50, 54):
            other.append(network.gateway.run(number))
        seat = network.seats[0]
        seat.view.log = other
        await network.step(seat)
        evidence = seat.up.journal.origins[ORIGIN].equivocations[0]
        old, new = (notes_of(note) for note in (evidence.first, evidence.second))
        merkle.verify_consistency(old.size, evidence.root, new.size, new.root, list(evidence.proof))
        assert old.root != evidence.root

    play(scenario)


def notes_of(raw: bytes) -> notes.Checkpoint:
    return notes.parse_checkpoint_text(notes.parse_note(raw).text)


def test_an_older_checkpoint_is_no_offence():
    async def scenario(network: Network) -> None:
        network.answer(2)
        await network.until(network.all_final)
        seat = network.seats[0]
        seat.view.log = network.log.fork(3)
        await network.step(seat)
        assert seat.up.equivocations() == {"equivocations": []}
        assert seat.up.journal.origins[ORIGIN].ledger.size == 4

    play(scenario)


def test_a_log_that_withholds_entries_gets_no_votes_for_them_and_the_status_says_so():
    async def scenario(network: Network) -> None:
        network.answer()
        await network.until(network.all_final)
        network.answer()
        network.log.withhold = True
        await network.steps(30)
        assert len(network.final_rounds()) == 1
        assert "log.withheld" in network.seats[0].up.status()["logs"][0]["problem"]
        network.log.withhold = False
        await network.until(network.all_final)
        assert set(network.codes().values()) == {"ok"}

    play(scenario)


def test_entries_that_are_not_those_under_the_checkpoint_are_not_looked_at():
    async def scenario(network: Network) -> None:
        network.answer()
        network.log.serve_other[1] = network.gateway.run(9)[0]
        await network.steps(3)
        assert network.seats[0].up.journal.origins[ORIGIN].ledger.size == 0
        assert "log.withheld" in network.seats[0].up.status()["logs"][0]["problem"]
        assert network.seats[0].up.equivocations() == {"equivocations": []}
        network.log.serve_other.clear()
        await network.until(network.all_final)

    play(scenario)


def test_what_the_log_does_serve_is_verified_although_a_newer_checkpoint_is_known():
    async def scenario(network: Network) -> None:
        behind = network.seats[1]
        network.answer(1)
        behind.view.log = network.log.fork(2)  # an old copy, as a slow cache serves it
        network.answer(2)
        await network.steps(1)
        await behind.up.followers[ORIGIN].notice(notes.verify_checkpoint(network.log.note(), ORIGIN, [network.log.key]))
        await network.steps(1)
        assert behind.up.journal.origins[ORIGIN].ledger.size == 2
        assert behind.up.status()["logs"][0]["seen_size"] == 6
        assert "log.withheld" in behind.up.status()["logs"][0]["problem"]

    play(scenario)


def test_a_log_withheld_from_one_node_only_makes_that_node_abstain():
    async def scenario(network: Network) -> None:
        blind = network.seats[1]
        blind.view.log = network.log.fork(0)
        network.answer(2)
        await network.until(lambda: network.all_final(seats=[s for s in network.seats if s is not blind]), most=80)
        assert blind.up.journal.origins[ORIGIN].ledger.size == 0
        assert "of which 0 are verified here" in str(doing(blind)["problems"])
        blind.view.log = network.log
        await network.until(network.all_final)

    play(scenario)


# A chain that changes its mind


def test_a_reorganisation_before_the_depth_is_voted_through_again_without_a_second_vote():
    async def scenario(network: Network) -> None:
        network.answer()
        await read_log(network)
        for seat in network.seats:
            await seat.up.step_rounds(ORIGIN)
        await network.seats[0].up.step_rounds(ORIGIN)
        assert network.final_rounds()
        before = network.final_rounds()[0].candidate
        height = network.chain.head.number
        network.chain.reorganise(min(4, height - 6), lose=1.0)
        network.chain.state.finals.pop((ORIGIN, 1), None)
        await network.until(network.all_final, most=80)
        assert network.final_rounds()[0].candidate.content == before.content
        for seat in network.seats:
            contents = {s.candidate.content for s in seat.up.journal.origins[ORIGIN].votes.values()}
            assert contents == {before.content}

    play(scenario, depth=8)


def test_after_a_reorganisation_beyond_the_depth_the_same_votes_settle_the_same_round():
    async def scenario(network: Network) -> None:
        network.answer()
        await network.until(network.all_final)
        content = network.final_rounds()[0].candidate.content
        network.chain.reorganise(network.chain.head.number - 5, lose=1.0)
        assert network.final_rounds() == []
        network.answer()
        await network.until(network.all_final, most=80)
        assert network.final_rounds()[0].candidate.content == content

    play(scenario)


def test_if_a_round_settles_otherwise_after_a_reorganisation_those_who_spoke_stay_silent():
    async def scenario(network: Network) -> None:
        network.answer()
        await network.until(network.all_final)
        said = network.final_rounds()[0].candidate.content.hex()
        network.chain.reorganise(network.chain.head.number - 5, lose=1.0)
        network.stop(proposer_of(network, 1, 0))
        network.answer()  # the round that comes now is another one
        await network.steps(60)
        assert network.final_rounds()[0].candidate.content.hex() != said
        for seat in network.seats:
            if seat.node is not None:
                assert seat.up.round(ORIGIN, 1)["finality"]["content"] == said
                assert "another tree" in str(doing(seat)["problems"]) or doing(seat)["number"] > 1
            assert (await network.chain.client(network.governor).stake(seat.address)).slashed is False

    play(scenario)


def test_a_silent_chain_stops_rounds_and_nothing_else():
    async def scenario(network: Network) -> None:
        network.chain.silent = True
        network.answer()
        await network.steps(5)
        assert network.seats[0].up.journal.origins[ORIGIN].ledger.size == 2
        assert "chain.unreachable" in str(doing(network.seats[0])["problems"])
        network.chain.silent = False
        await network.until(network.all_final)

    play(scenario)


def test_lost_answers_of_the_chain_make_no_second_vote():
    async def scenario(network: Network) -> None:
        network.chain.lost_answers = 0.5
        for _ in range(4):
            network.answer()
            await network.until(network.all_final, most=120)
        for seat in network.seats:
            assert (await network.chain.client(network.governor).stake(seat.address)).slashed is False

    play(scenario)


# Trust


def test_a_revocation_that_reaches_back_is_added_by_a_later_round():
    async def scenario(network: Network) -> None:
        network.answer()
        await network.until(network.all_final)
        await network.steps(30)
        since = network.clock.now()
        network.answer()
        await network.until(network.all_final)
        assert network.codes() == dict.fromkeys(range(4), "ok")
        network.revocations[network.gateway.document.digest] = {
            "at": time_encode(network.clock.now()),
            "suspect_since": time_encode(since),
            "reason": "stolen",
        }
        network.add_trust_version()
        for seat in network.seats:
            await seat.up.step_trust()
        expected = {0: "ok", 1: "ok", 2: "refuted:key-revoked", 3: "refuted:key-revoked"}
        await network.until(lambda: network.codes() == expected, most=80)
        await network.until(network.all_final)
        assert len(network.final_rounds()) == 3

    play(scenario)


def test_a_trust_file_that_goes_back_is_refused_and_the_newer_one_stays():
    async def scenario(network: Network) -> None:
        network.add_trust_version()
        node = network.seats[0].up
        await node.step_trust()
        assert node.trust().version == 2
        network.trust_payloads.pop()
        await node.step_trust()
        assert node.trust().version == 2
        assert "trust.rollback" in node.trust_problem
        again = await network.start(network.seats[0])
        with pytest.raises(UndecidedError, match=r"trust\.missing"):
            again.trust()
        assert "trust.rollback" in again.trust_problem

    play(scenario)
