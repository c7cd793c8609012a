"""The ``artifact`` and ``computation`` lanes of computed runs: what refutes them, what they wait for, and that nothing
of a proof or a re-execution reaches another lane (``lanes.md`` §3(6), §3(7))."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import StatementItem, parse_bundle
from holdfast.core.computations import BoundTree, Circuit, Computation
from holdfast.core.encoding import sha256_hex
from holdfast.core.orders import Delivery, Order
from holdfast.core.parts import commit_parts, map_parts, pseudo_random_key
from holdfast.core.statements import Execution, build_payload, execution_body
from holdfast.nodes.gateway.request import parse_ask
from holdfast.nodes.gateway.turn import parse_opening, signed_elsewhere
from holdfast.nodes.inference.identity import Identity
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.gateway_world import World, play
from tests.helpers.inference import MemoryInferenceNode

POLICY = parse_policy(DEFAULT_POLICY)
CIRCUIT = Circuit("11" * 32, "22" * 32, "ceremony")
ARTIFACT = "33" * 32


def computing(node: MemoryInferenceNode, circuit: Circuit) -> Callable[..., Awaitable[Delivery]]:
    """What stands in for a node that proves: a computation in mode ZKML, signed with the node's key."""

    async def compute(order: Order, *, timeout_s: float) -> Delivery:
        asked = canonical.decode_exact(order.text)
        shown = {"object": "inference", "model": "scores", "artifact": ARTIFACT, "mode": "ZKML", "outputs": {}}
        request = commit_parts(order.document, map_parts(order.document, asked), order.key).tree
        response = commit_parts("response", map_parts("response", shown), order.key).tree
        how = Computation(
            ARTIFACT, "ZKML", "ezkl", "23.0.5", "none", 1, "any", 1, BoundTree(request.root, request.size), circuit
        )
        execution = Execution("computed", "complete", response, None, "ezkl", how)
        payload = build_payload(
            "execution",
            run=order.run,
            attester=node.document.digest,
            claimed_at=node.clock.now(),
            parents=(),
            subject=("response", response.root),
            body=execution_body(execution),
        )
        return Delivery(canonical.encode_exact(shown), identity_of(node).envelope(payload), None)

    return compute


def identity_of(node: MemoryInferenceNode) -> Identity:
    return Identity(node.document.digest, node.signer)


async def proved_run(world: World, circuit: Circuit = CIRCUIT) -> str:
    """A closed run in mode ZKML."""
    world.models.move("scores", 2.0)
    node = world.computers[0]
    node.compute = computing(node, circuit)  # type: ignore[method-assign]
    text = b'{"model":"scores","inputs":{"x":1},"mode":"ZKML"}'
    run = await world.gateway.open(parse_ask("inference", text, {}, default_model=None, settlement="batch"), "first")
    await world.gateway.answer(run)
    return run.id


async def prove(world: World, run: str, by: int = 0, **change: Any) -> None:
    """A ``proved`` statement about the run, kept by the gateway."""
    journal = parse_bundle(await world.desk.bundle(await world.row(run), None)).journal
    computed = next(entry.item.statement for entry in journal if isinstance(entry.item, StatementItem))
    body = computed.body
    assert isinstance(body, Execution)
    node = world.computers[by]
    made = dataclasses.replace(body, event="proved", proof=bytes(32), **change)
    assert made.response is not None
    payload = build_payload(
        "execution",
        run=run,
        attester=node.document.digest,
        claimed_at=world.clock.now(),
        parents=(computed.digest,),
        subject=("response", made.response.root),
        body=execution_body(made),
    )
    opening = parse_opening(world.ledger.read((await world.row(run)).open_place).record.header)
    envelope = identity_of(node).envelope(payload)
    signed = signed_elsewhere(envelope, sha256_hex(payload), opening, pseudo_random_key(run, bytes(32)))
    place = await world.ledger.add(run, opening.stamp(world.clock.now()), signed)
    await world.indexer.added(run, place.start)


async def settle(world: World, **codes: str) -> None:
    """The log is cosigned and a round is final; ``codes`` are verdicts by index."""
    await world.deliver()
    await world.cosign(4)
    await world.follow()
    given = {int(index.removeprefix("at_")): code for index, code in codes.items()}
    world.finalise(world.candidate(len(world.finals) + 1, codes=given))
    await world.follow()


async def lanes(world: World, run: str) -> dict[str, tuple[str, str | None]]:
    bundle = parse_bundle(await world.desk.bundle(await world.row(run), None))
    found = appraise(bundle, world.trust, POLICY, world.clock.now()).lanes
    return {name: (lane.state, lane.basis) for name, lane in found.items()}


CODES = {
    "ok": ("proven", "development"),
    "cannot_tell": ("unknown", None),
    "refuted:proof": ("refuted", "proof"),
}


@pytest.mark.parametrize("code", CODES)
def test_a_proof_counts_for_what_full_nodes_found(code: str, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = await proved_run(world)
        await settle(world)
        before = await lanes(world, run)
        assert before["computation"] == ("pending", None)
        await prove(world, run)
        assert (await lanes(world, run))["computation"] == ("pending", None)
        await settle(world, at_3=code)
        after = await lanes(world, run)
        assert after["computation"] == CODES[code]
        assert {name: lane for name, lane in after.items() if name != "computation"} == {
            name: lane for name, lane in before.items() if name != "computation"
        }

    play(story, tmp_path)


def test_a_proof_under_a_reference_string_of_the_nodes_own_is_development() -> None:
    async def story(world: World) -> None:
        run = await proved_run(world, dataclasses.replace(CIRCUIT, srs="development"))
        await prove(world, run)
        await settle(world, at_3="ok")
        row = await world.row(run)
        lane = (await world.desk.show(row))["lanes"]["computation"]
        assert (lane["state"], lane["basis"]) == ("proven", "development")
        assert "could forge proofs" in lane["says"]

    play(story)


def test_a_proof_by_another_node_speaks_against_itself_alone() -> None:
    async def story(world: World) -> None:
        run = await proved_run(world)
        await settle(world)
        before = await lanes(world, run)
        await prove(world, run, by=1)
        after = await lanes(world, run)
        assert after["computation"] == ("refuted", None)
        assert after["bytes"] == before["bytes"] == ("proven", "signature")
        assert after["settlement"] == before["settlement"]

    play(story)


def test_without_trust_nobody_says_who_computed() -> None:
    async def story(world: World) -> None:
        run = await proved_run(world)
        bundle = parse_bundle(await world.desk.bundle(await world.row(run), None))
        found = appraise(bundle, None, POLICY, world.clock.now()).lanes
        assert [found[name].state for name in ("artifact", "computation")] == ["unknown", "unknown"]

    play(story)


def test_a_node_that_trust_takes_back_supports_nothing() -> None:
    async def story(world: World) -> None:
        run = await proved_run(world)
        assert (await lanes(world, run))["artifact"] == ("proven", "signature")
        world.network.others = []
        world.trust = world.network.trust()
        after = await lanes(world, run)
        assert after["artifact"] == after["computation"] == ("refuted", None)

    play(story)


def test_a_node_that_answers_in_another_mode_is_refused() -> None:
    async def story(world: World) -> None:
        world.models.move("scores", 2.0)
        node = world.computers[0]
        node.compute = computing(node, CIRCUIT)  # type: ignore[method-assign]
        text = b'{"model":"scores","inputs":{"x":1},"mode":"TEE"}'
        asked = parse_ask("inference", text, {}, default_model=None, settlement="batch")
        run = await world.gateway.open(asked, "first")
        with pytest.raises(Exception, match="another mode"):
            await world.gateway.answer(run)

    play(story)
