"""How a gateway takes proofs of its runs: what it refuses, that it loses none, and what it shows to whom."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.core import canonical
from holdfast.core.bundles import ProofItem, parse_bundle
from holdfast.core.orders import ProofDelivery
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.gateway.proving import Proving
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.gateway_world import World, play
from tests.helpers.inference import MemoryInferenceNode
from tests.unit.nodes.gateway.test_computing import ask, infer

ZKML = {"mode": "ZKML"}
POLICY = parse_policy(DEFAULT_POLICY)


def proving(world: World) -> Proving:
    return Proving(
        world.gateway.computing.nodes,
        world.ledger,
        world.indexer,
        lambda: world.trust,
        world.clock,
        MemoryMetrics(),
        on_added=lambda _: None,
    )


async def asked(world: World) -> tuple[str, MemoryInferenceNode]:
    """A closed run in mode ZKML, its proof made."""
    run, node, _ = await asked_for(world)
    return run, node


async def asked_for(world: World) -> tuple[str, MemoryInferenceNode, bytes]:
    """The same, and the run's capability."""
    world.models.move("scores", 2.0)
    node = world.computers[0]
    await node.circuits.prepare("scores")
    await asyncio.gather(*node.circuits._tasks)
    run, body = await infer(world, ZKML)
    assert (body["mode"], body["outputs"]["y"]["data"]) == ("ZKML", [2.0, 4.0])
    for name in list(node.owed._jobs):
        await node.owed.prove(name)
    return run, node, bytes.fromhex(body["holdfast"]["capability"])


async def bundle_of(world: World, run: str, secret: bytes | None = None) -> Any:
    return parse_bundle(await world.desk.bundle(await world.row(run), secret))


async def lane(world: World, run: str, secret: bytes | None = None) -> tuple[str, str | None]:
    found = appraise(await bundle_of(world, run, secret), world.trust, POLICY, world.clock.now()).lanes["computation"]
    return found.state, found.basis


def test_an_answer_in_mode_zkml_waits_for_its_proof(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run, node = await asked(world)
        assert await lane(world, run) == ("pending", None)
        await proving(world).step()
        assert await lane(world, run) == ("pending", None)
        assert node.owed.waiting() == []

    play(story, tmp_path)


def test_a_proof_is_taken_once_whatever_is_lost_in_between(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run, node = await asked(world)
        taken = node.owed.taken

        def lost(statement: str) -> bool:
            raise UnavailableError("upstream.unreachable", "the answer was lost")

        node.owed.taken = lost  # type: ignore[method-assign]
        await proving(world).step()
        node.owed.taken = taken  # type: ignore[method-assign]
        await proving(world).step()
        assert node.owed.waiting() == []
        journal = (await bundle_of(world, run)).journal
        assert sum(getattr(entry.item, "statement", None) is not None for entry in journal) == 4
        assert len((await world.row(run)).additions) == 2

    play(story, tmp_path)


@pytest.mark.parametrize("answer", ["ok", "refuted:proof"])
def test_what_a_round_says_of_a_proof_is_seen_by_whoever_looked_at_the_settled_run_before(
    answer: str, tmp_path: Path
) -> None:
    async def settle(world: World, number: int, codes: dict[int, str]) -> None:
        await world.deliver()
        await world.cosign(4)
        world.finalise(world.candidate(number, codes=codes))
        await world.follow()

    async def story(world: World) -> None:
        run, _ = await asked(world)
        await settle(world, 1, {})
        await proving(world).step()
        await world.deliver()
        assert await world.indexer.highest_entry() == len(world.log.entries) - 1
        for name, state in (("settlement", "proven"), ("computation", "pending"), ("computation", "pending")):
            assert (await world.lane(run, name))["state"] == state
        await settle(world, 2, {len(world.log.entries) - 1: answer})
        assert (await world.lane(run, "computation"))["state"] == ("proven" if answer == "ok" else "refuted")

    play(story, tmp_path)


def test_only_the_capability_shows_what_a_proof_is_about(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run, _, secret = await asked_for(world)
        await proving(world).step()
        assert not [entry for entry in (await bundle_of(world, run)).journal if isinstance(entry.item, ProofItem)]
        shown = [entry.item for entry in (await bundle_of(world, run, secret)).journal]
        (item,) = [item for item in shown if isinstance(item, ProofItem)]
        assert item.document.run == run
        assert await lane(world, run, secret) == ("pending", None)

    play(story, tmp_path)


def swapped(delivery: ProofDelivery) -> ProofDelivery:
    return dataclasses.replace(delivery, salt=b"\x01" * 32)


def garbled(delivery: ProofDelivery) -> ProofDelivery:
    return dataclasses.replace(delivery, document=b"{}")


def another(delivery: ProofDelivery) -> ProofDelivery:
    value = canonical.decode(delivery.envelope)
    value["payload"] = value["payload"][:-8] + "AAAAAAA="
    return dataclasses.replace(delivery, envelope=canonical.encode(value))


@pytest.mark.parametrize("change", [swapped, garbled, another])
def test_a_proof_that_does_not_hold_never_reaches_the_log(change: Any, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run, node = await asked(world)
        read = node.owed.read

        def changed(statement: str) -> ProofDelivery | None:
            found = read(statement)
            return None if found is None else change(found)

        node.owed.read = changed  # type: ignore[method-assign]
        desk = proving(world)
        for _ in range(2):
            await desk.step()
        assert len((await world.row(run)).additions) == 1
        assert await lane(world, run) == ("pending", None)

    play(story, tmp_path)


def test_a_node_that_trust_takes_back_proves_nothing_more(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run, _ = await asked(world)
        world.network.others = []
        world.trust = world.network.trust()
        await proving(world).step()
        assert len((await world.row(run)).additions) == 1

    play(story, tmp_path)


def test_a_node_that_trust_admits_again_has_its_proof_taken(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run, node = await asked(world)
        desk, admitted = proving(world), world.network.others
        world.network.others = []
        world.trust = world.network.trust()
        await desk.step()
        world.network.others = admitted
        world.trust = world.network.trust()
        await desk.step()
        assert len((await world.row(run)).additions) == 2
        assert node.owed.waiting() == []

    play(story, tmp_path)


def test_a_proof_that_cannot_be_had_keeps_no_other_one_waiting(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first, node = await asked(world)
        second, _ = await asked(world)
        read, lost = node.owed.read, (await node.proofs())[0][1]
        node.owed.read = lambda statement: None if statement == lost else read(statement)  # type: ignore[method-assign]
        await proving(world).step()
        assert [len((await world.row(run)).additions) for run in (first, second)] == [1, 2]

    play(story, tmp_path)


def test_a_private_run_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        with pytest.raises(HoldfastError) as refused:
            ask(ZKML, settlement="private")
        assert refused.value.code == "infer.private"

    play(story, tmp_path)
