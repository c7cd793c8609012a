"""What the gateway writes down of the secure layer, and from whom."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.core import rounds
from holdfast.core.encoding import b64_encode
from holdfast.errors import HoldfastError, MalformedError
from holdfast.nodes.gateway.settlement import SEARCHED, superseded_entries
from tests.helpers.gateway_world import World, play
from tests.helpers.network import ORIGIN, FullNode, Network, ed25519_signer

STRANGER = FullNode("stranger")


def kinds(world: World, number: int = 1) -> list[str]:
    """Kinds of the events that were noted of a round."""
    return [event.kind for event in world.indexer.index.events_of(number)]


# Checkpoints.


@pytest.mark.parametrize("cosigners", [0, 1, 2])
def test_a_checkpoint_with_too_few_cosignatures_is_not_noted(cosigners: int) -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        await world.cosign(cosigners)
        await world.follow()
        assert world.indexer.index.last_event("checkpoint") is None
        await world.cosign(3)
        await world.follow()
        event = world.indexer.index.last_event("checkpoint")
        assert event is not None
        assert event.size == 2

    play(story)


def test_a_checkpoint_that_another_key_signed_is_not_noted() -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        await world.cosign(4, signer=ed25519_signer("another log", "log"))
        with pytest.raises(HoldfastError):
            await world.settlement.follow_log()
        assert world.indexer.index.last_event("checkpoint") is None

    play(story)


@pytest.mark.parametrize("note", [b"", b"\n", b"garbage", b"\xff" * 100, ORIGIN.encode() + b"\n2\nAAAA\n\n"])
def test_a_checkpoint_that_is_none_costs_one_turn(note: bytes) -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        world.tree.note = note
        assert await world.settlement._step(world.settlement.follow_log)
        assert world.indexer.index.last_event("checkpoint") is None

    play(story)


def test_a_checkpoint_that_covers_nothing_new_is_not_noted_again() -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        await world.cosign(3)
        await world.follow()
        first = world.indexer.index.last_event("checkpoint")
        world.log.entries.append(b"somebody else's")
        await world.cosign(4)
        await world.follow()
        assert world.indexer.index.last_event("checkpoint") == first

    play(story)


# Votes and candidates.


def test_votes_of_strangers_are_ignored() -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        candidate = world.candidate()
        world.show(candidate)
        world.alter(0, votes=(world.vote(STRANGER, candidate),))
        await world.follow()
        assert kinds(world) == []
        world.alter(0, votes=(world.vote(STRANGER, candidate), world.vote(world.network.full_nodes[1], candidate)))
        await world.follow()
        assert kinds(world) == ["candidate", "votes"]
        [votes] = [event for event in world.indexer.index.events_of(1) if event.kind == "votes"]
        assert votes.body == {"attempt": 0, "voters": [world.network.full_nodes[1].vote.address]}

    play(story)


@pytest.mark.parametrize("change", [{"attempt": 1}, {"epoch": 2}, {"number": 2}, {"content": b"x" * 32}])
def test_a_vote_for_something_else_is_ignored(change: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        candidate = world.candidate()
        world.show(candidate)
        vote = world.vote(world.network.full_nodes[0], candidate)
        world.alter(0, votes=(dataclasses.replace(vote, **change),))
        await world.follow()
        assert kinds(world) == []

    play(story)


def test_two_candidates_of_one_round_are_both_noted_and_the_final_one_settles() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        first = world.candidate(attempt=0, codes={1: "refuted:signature"})
        world.show(first, voters=(0,))
        await world.follow()
        second = world.candidate(attempt=1)
        world.show(second, voters=(0, 1))
        await world.follow()
        world.finalise(second)
        await world.cosign(4)
        await world.follow()
        assert kinds(world).count("candidate") == 2
        assert (await world.lane(run))["state"] == "proven"

    play(story)


def test_a_member_that_signs_many_candidates_fills_no_disk() -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        for attempt in range(100):
            world.show(world.candidate(attempt=attempt), voters=(0,))
            await world.settlement.follow_rounds()
        assert kinds(world).count("candidate") == 64

    play(story)


# Finality.


def test_two_of_four_messages_finalise_nothing() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        candidate = world.candidate()
        world.show(candidate, voters=(0, 1, 2), final=(0, 1))
        await world.follow()
        assert "final" not in kinds(world)
        lane = await world.lane(run)
        assert lane["state"] == "pending"
        assert "3 of 4 full nodes" in lane["says"]

    play(story)


def forge(world: World, how: str, candidate: rounds.Candidate) -> dict[str, Any]:
    """What a lying third node shows so that two messages look like three."""
    view = world.nodes[0].views[1]
    assert view.finality is not None
    honest = view.finality
    match how:
        case "stranger":
            message = STRANGER.finality(world.network.domain, candidate)
            return {"finality": rounds.parse_finality_message(message)}
        case "copied":
            return {"finality": honest}
        case "bits":
            return {"finality": dataclasses.replace(honest, signature=bytes(31) + b"\x01" + honest.signature[32:])}
        case "other-content":
            other = dataclasses.replace(candidate, root=b"r" * 32)
            message = world.network.full_nodes[2].finality(world.network.domain, other)
            return {"finality": rounds.parse_finality_message(message)}
        case "other-chain":
            domain = rounds.ChainDomain(1, world.network.domain.contract)
            message = world.network.full_nodes[2].finality(domain, candidate)
            return {"finality": rounds.parse_finality_message(message)}
        case _:
            message = world.network.full_nodes[2].finality(
                world.network.domain, dataclasses.replace(candidate, epoch=2)
            )
            return {"finality": rounds.parse_finality_message(message)}


@pytest.mark.parametrize("how", ["stranger", "copied", "bits", "other-content", "other-chain", "other-epoch"])
def test_a_forged_finality_message_is_not_counted(how: str) -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        candidate = world.candidate()
        world.show(candidate, voters=(0, 1, 2), final=(0, 1))
        world.alter(2, **forge(world, how, candidate))
        await world.follow()
        assert "final" not in kinds(world)
        assert (await world.lane(run))["state"] == "pending"

    play(story)


@pytest.mark.parametrize(
    "change", [{"epoch": 7}, {"origin": "another.log/1"}, {"number": 2}], ids=["epoch", "origin", "number"]
)
@pytest.mark.parametrize("liar", [0, 3])
def test_one_lying_full_node_refutes_nobody_s_settlement(change: dict[str, Any], liar: int) -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        await world.cosign(4)
        candidate = world.candidate()
        world.finalise(candidate, (0, 1, 2, 3))
        world.alter(liar, candidate=dataclasses.replace(candidate, **change))
        await world.follow()
        assert (await world.lane(run))["state"] == "proven"

    play(story)


def test_members_without_a_vote_key_or_revoked_stay_in_the_total_and_do_not_count() -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        world.trust = _trust_without(world.network)
        candidate = world.candidate()
        world.show(candidate, voters=(0, 1, 2), final=(0, 1, 2))
        await world.follow()
        assert "final" not in kinds(world), "two whose word counts, of four, are no quorum"
        world.show(candidate, voters=(0, 1, 2, 3), final=(0, 1, 2, 3))
        await world.follow()
        assert "final" in kinds(world)

    play(story)


def _trust_without(network: Network) -> Any:
    """Trust that has revoked the third full node."""
    value = json.loads(network.trust_version())
    for node in value["nodes"]:
        if node["key_document"] == _document(network, 2):
            node["revoked"] = {"at": value["issued_at"], "suspect_since": value["issued_at"], "reason": "stolen"}
    return network.trust(nodes=value["nodes"])


def _document(network: Network, place: int) -> str:
    return b64_encode(network.full_nodes[place].document.raw)


def test_a_round_that_nobody_of_us_is_in_is_followed_for_what_it_supersedes_and_seldom() -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        world.finalise(world.candidate())
        await world.follow()
        for node in world.nodes:
            node.asked = 0
        for _ in range(4):
            assert not await world.settlement.follow_rounds()
        assert [node.asked for node in world.nodes] == [1, 1, 1, 1]

    play(story)


def test_a_gateway_without_runs_asks_nobody() -> None:
    async def story(world: World) -> None:
        await world.follow()
        assert [node.asked for node in world.nodes] == [0, 0, 0, 0]

    play(story)


def test_silent_full_nodes_are_named_and_heard_again() -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        world.nodes[1].silent = True
        await world.follow()
        assert world.settlement.silent == {"full-2"}
        world.nodes[1].silent = False
        await world.follow()
        assert world.settlement.silent == set()

    play(story)


def silences(world: World) -> list[dict[str, Any]]:
    """What was noted of silence, in order."""
    return [event.body for event in world.indexer.index.events_of(0) if event.kind == "silence"]


def test_full_nodes_that_do_not_answer_twice_in_a_row_are_noted_and_so_is_their_return() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        for node in world.nodes[2:]:
            node.silent = True
        await world.follow()
        assert silences(world) == []
        await world.follow()
        assert silences(world) == [{"silent": ["full-3", "full-4"], "asked": 4}]
        lane = await world.lane(run)
        assert lane["state"] == "pending"
        assert "2 of 4 full nodes do not answer the gateway: full-3, full-4" in lane["says"]
        world.nodes[2].silent = world.nodes[3].silent = False
        await world.clock.advance(10)
        await world.follow()
        assert silences(world)[1:] == [{"silent": [], "asked": 4}]
        assert "do not answer" not in (await world.lane(run))["says"]

    play(story)


def test_silence_is_noted_at_most_every_few_seconds_and_again_for_entries_logged_since() -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        world.nodes[3].silent = True
        for _ in range(30):
            await world.follow()
        assert silences(world) == [{"silent": ["full-4"], "asked": 4}]
        later = await world.answer()
        await world.deliver()
        await world.follow()
        assert len(silences(world)) == 2
        assert "full-4" in (await world.lane(later))["says"]
        for flip in range(20):
            world.nodes[3].silent = flip % 2 == 0
            await world.follow()
        assert len(silences(world)) <= 2 + 20 // 5

    play(story)


def test_a_gateway_whose_runs_are_settled_notes_no_silence() -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        world.finalise(world.candidate())
        await world.follow()
        world.nodes[3].silent = True
        for _ in range(10):
            await world.follow()
        assert silences(world) == []

    play(story)


def test_a_restart_notes_a_known_silence_no_second_time(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        world.nodes[3].silent = True
        for _ in range(3):
            await world.follow()
        await world.stop()
        await world.start()
        for _ in range(10):
            await world.follow()
        assert silences(world) == [{"silent": ["full-4"], "asked": 4}]

    play(story, tmp_path)


def test_a_restart_notes_nothing_twice(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.answer()
        await world.deliver()
        await world.cosign(4)
        candidate = world.candidate()
        world.show(candidate, voters=(0, 1))
        await world.follow()
        before = world.indexer.index.events_of(1)
        await world.stop()
        await world.start()
        await world.follow()
        assert world.indexer.index.events_of(1) == before
        world.finalise(candidate)
        await world.follow()
        assert kinds(world) == ["candidate", "votes", "votes", "votes", "final"]
        await world.stop()
        await world.start()
        await world.follow()
        assert kinds(world) == ["candidate", "votes", "votes", "votes", "final"]

    play(story, tmp_path)


# Superseding verdicts.


def test_the_entries_that_a_blob_supersedes_stand_first() -> None:
    line = "{} " + "ab" * 32 + " ok\n"
    blob = "".join(line.format(index) for index in (1, 3, 4, 5)).encode()
    assert superseded_entries(blob, 4) == [1, 3]
    assert superseded_entries(blob, 1) == superseded_entries(b"", 9) == superseded_entries(b"garbage", 9) == []
    with pytest.raises(MalformedError):
        superseded_entries(b"1 garbage\n", 4)


def test_a_statement_that_a_later_round_refutes_turns_its_settlement_refuted(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run, other = await world.answer(), await world.answer()
        await world.deliver()
        await world.cosign(4)
        world.finalise(world.candidate())
        await world.follow()
        assert (await world.lane(run))["state"] == (await world.lane(other))["state"] == "proven"
        settled = await world.journal(run)
        untouched = await world.journal(other)
        row = await world.row(run)
        world.finalise(world.candidate(2, codes={row.execution_index: "refuted:signature"}))
        await world.follow()
        lane = await world.lane(run)
        assert (lane["state"], "refuted:signature" in lane["says"], "round 2" in lane["says"]) == (
            "refuted",
            True,
            True,
        )
        assert (await world.lane(other))["state"] == "proven"
        refuted = await world.journal(run)
        assert refuted[: len(settled)] == settled
        assert refuted[len(settled)]["kind"] == "finality"
        assert await world.journal(other) == untouched
        await world.stop()
        await world.start()
        await world.follow()
        assert await world.journal(run) == refuted
        assert (await world.lane(run))["state"] == "refuted"

    play(story, tmp_path)


def test_a_later_round_may_also_take_a_refutation_back() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        await world.cosign(4)
        world.finalise(world.candidate(codes={0: "refuted:malformed"}))
        await world.follow()
        assert (await world.lane(run))["state"] == "refuted"
        world.finalise(world.candidate(2, codes={0: "ok"}))
        await world.follow()
        assert (await world.lane(run))["state"] == "proven"

    play(story)


def test_a_superseding_blob_that_nobody_serves_yet_is_asked_for_again() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        await world.cosign(4)
        world.finalise(world.candidate())
        await world.follow()
        blobs = [dict(node.blobs) for node in world.nodes]
        later = world.candidate(2, codes={0: "refuted:role"})
        served = world.nodes[0].blobs
        for node, before in zip(world.nodes, blobs, strict=True):
            node.blobs = before
        world.finalise(later)
        await world.follow()
        assert (await world.lane(run))["state"] == "proven"
        assert world.indexer.index.cursor(SEARCHED) == 1
        world.nodes[3].blobs = served
        await world.follow()
        assert (await world.lane(run))["state"] == "refuted"
        assert world.indexer.index.cursor(SEARCHED) == 2

    play(story)
