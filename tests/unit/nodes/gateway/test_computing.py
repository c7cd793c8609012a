"""Runs that an inference node computes: what the gateway checks of them, what it signs, and what readers see."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.bundles import parse_bundle
from holdfast.core.statements import parse_envelope, parse_statement
from holdfast.errors import HoldfastError, MalformedError
from holdfast.nodes.gateway.computing import OLD_S
from holdfast.nodes.gateway.request import parse_ask
from holdfast.nodes.gateway.rerun import MOST
from holdfast.ports.inference import NodeModel
from holdfast.ports.upstream import UpstreamUnreachableError
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers import asgi
from tests.helpers.gateway_world import World, play


def ask(value: dict[str, Any] | None = None, settlement: str = "batch") -> Any:
    text = json.dumps({"model": "scores", "inputs": {"x": [1, 2]}, **(value or {})}).encode()
    return parse_ask("inference", text, {}, default_model=None, settlement=settlement)


async def infer(world: World, value: dict[str, Any] | None = None, **more: Any) -> tuple[str, dict[str, Any]]:
    """One answer; returns the run and the body."""
    if not world.models.labels:
        world.models.move("scores", 2.0)
    run = await world.gateway.open(ask(value, **more), "first")
    return run.id, json.loads(await world.gateway.answer(run))


async def statements(world: World, run: str) -> list[Any]:
    items = await world.journal(run)
    found = [item["envelope"] for item in items if item["kind"] == "statement"]
    return [
        parse_statement(parse_envelope(json.dumps(item, separators=(",", ":"), sort_keys=True).encode()))
        for item in found
    ]


def test_a_run_binds_what_both_nodes_signed() -> None:
    async def story(world: World) -> None:
        run, body = await infer(world)
        assert body["outputs"]["y"]["data"] == [2.0, 4.0]
        computed, route, execution = await statements(world, run)
        assert [item.kind for item in (computed, route, execution)] == ["execution", "route", "execution"]
        assert [item["digest"] for item in body["holdfast"]["statements"]] == [
            computed.digest,
            route.digest,
            execution.digest,
        ]
        assert route.parents == (computed.digest,)
        assert execution.parents == tuple(sorted([computed.digest, route.digest]))
        assert (route.body.endpoint, route.body.upstream) == ("inference", "inference-1")
        assert computed.attester == world.computers[0].document.digest
        assert computed.body.computation.request.root == route.body.sent.root
        assert computed.body.response == execution.body.response

    play(story)


def test_it_settles_as_one_closure(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run, _ = await infer(world)
        await world.deliver()
        assert len(world.log.entries) == 3
        await world.cosign(4)
        await world.follow()
        world.finalise(world.candidate())
        await world.follow()
        lane = await world.lane(run)
        assert (lane["state"], lane["says"][:18]) == ("proven", "All 3 statements a")
        assert (await world.lane(run, "bytes"))["state"] == "proven"
        journal = await world.journal(run)
        await world.stop()
        await world.start()
        assert (await world.journal(run)) == journal

    play(story, tmp_path)


def test_a_private_run_logs_three_commitments() -> None:
    async def story(world: World) -> None:
        run, _ = await infer(world, settlement="private")
        await world.deliver()
        assert all(entry.startswith(b'{"commitment":') for entry in world.log.entries)
        await world.cosign(4)
        await world.follow()
        journal = await world.journal(run)
        assert sum(item["kind"] == "commitment" for item in journal) == 3
        lane = await world.lane(run)
        assert (lane["state"], lane["says"]) == (
            "unknown",
            "Existence logged, never checked: only salted commitments are in the log.",
        )

    play(story)


def test_a_disclosed_run_verifies_part_by_part() -> None:
    async def story(world: World) -> None:
        run, body = await infer(world, {"holdfast": {"nonce": "nonce-of-a-client-1"}})
        raw = await world.desk.bundle(await world.row(run), bytes.fromhex(body["holdfast"]["capability"]))
        found = appraise(parse_bundle(raw), world.trust, parse_policy(DEFAULT_POLICY), world.clock.now())
        assert found.lanes["bytes"].state == "proven"
        assert "2 disclosures" in found.lanes["bytes"].says
        computed, route, _ = await statements(world, run)
        assert route.body.rewrites == ("holdfast-removed",)
        assert computed.body.computation.request.root == route.body.sent.root != route.body.request.root

    play(story)


def test_what_the_node_refuses_reaches_the_caller_and_closes_the_run() -> None:
    async def story(world: World) -> None:
        with pytest.raises(MalformedError) as refused:
            await infer(world, {"inputs": {"z": [1]}})
        assert refused.value.code == "infer.inputs"
        row = (await world.indexer.recent("first", 1))[0]
        assert row.outcome == "infer.inputs"

    play(story)


def test_a_silent_node_closes_the_run_as_failed() -> None:
    async def story(world: World) -> None:
        world.models.move("scores", 2.0)
        await world.gateway.computing.models()
        world.computers[0].failure = UpstreamUnreachableError("gone")
        with pytest.raises(UpstreamUnreachableError):
            await infer(world)
        row = (await world.indexer.recent("first", 1))[0]
        assert row.outcome == "upstream.unreachable"

    play(story)


def other_text(order: Any, delivery: Any) -> Any:
    return dataclasses.replace(delivery, text=delivery.text.replace(b"4.0", b"5.0"))


def no_statement(order: Any, delivery: Any) -> Any:
    return dataclasses.replace(delivery, envelope=b"{}")


@pytest.mark.parametrize("change", [other_text, no_statement])
def test_a_delivery_that_its_statement_does_not_bind_is_refused(change: Any) -> None:
    async def story(world: World) -> None:
        world.computers[0].change = change
        with pytest.raises(HoldfastError) as refused:
            await infer(world)
        assert refused.value.code == "upstream.protocol"

    play(story)


def test_the_statement_of_another_run_is_refused() -> None:
    async def story(world: World) -> None:
        kept: list[Any] = []

        def replay(_order: Any, delivery: Any) -> Any:
            kept.append(delivery)
            return kept[0]

        world.computers[0].change = replay
        await infer(world)
        with pytest.raises(HoldfastError) as refused:
            await infer(world)
        assert refused.value.code == "upstream.protocol"

    play(story)


def test_a_node_that_trust_does_not_admit_is_refused() -> None:
    async def story(world: World) -> None:
        world.network.others = []
        world.trust = world.network.trust()
        with pytest.raises(HoldfastError) as refused:
            await infer(world)
        assert (refused.value.code, "unknown-key" in refused.value.message) == ("upstream.protocol", True)

    play(story)


@pytest.mark.parametrize(
    ("value", "settlement", "code"),
    [
        ({"model": "other"}, "batch", "request.unknown_model"),
        ({"stream": True}, "batch", "infer.member"),
        ({"mode": "ZKML"}, "private", "infer.private"),
        ({"mode": "secret"}, "batch", "infer.mode"),
        ({"model": ""}, "batch", "request.model"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_run_is_opened(value: Any, settlement: str, code: str) -> None:
    async def story(world: World) -> None:
        with pytest.raises(HoldfastError) as refused:
            await infer(world, value, settlement=settlement)
        assert refused.value.code == code
        assert await world.indexer.recent("first", 1) == []

    play(story)


# Running again


async def settle(world: World) -> None:
    """Everything that is durable is logged, cosigned and final."""
    await world.deliver()
    await world.cosign(4)
    await world.follow()
    world.finalise(world.candidate(len(world.finals) + 1))
    await world.follow()


async def again(world: World, body: dict[str, Any], node: str | None = None) -> Any:
    held = body["holdfast"]
    return await world.rerun().run(await world.row(held["run"]), bytes.fromhex(held["capability"]), node)


def test_a_run_that_was_run_again_shows_it_and_grows_only_at_its_end(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run, body = await infer(world, {"holdfast": {"nonce": "nonce-of-a-client-1"}})
        await settle(world)
        lane = await world.lane(run, "computation")
        assert (lane["state"], lane["basis"]) == ("unknown", "signature")
        before = await world.journal(run)
        told = await again(world, body)
        assert (told["comparison"], told["node"]) == ("equal", "inference-2")
        await settle(world)
        after = await world.journal(run)
        assert after[: len(before)] == before
        assert [item["code"] for item in after if item["kind"] == "verdict"] == ["ok"] * 4
        lane = await world.lane(run, "computation")
        assert (lane["state"], lane["basis"]) == ("proven", "observed")
        assert "every bit is equal" in lane["says"]
        assert "nobody else" not in lane["says"]
        assert (await world.lane(run))["state"] == "proven"
        await world.stop()
        await world.start()
        assert await world.journal(run) == after

    play(story, tmp_path)


@pytest.mark.parametrize(
    ("off", "state", "says"), [(1e-5, "proven", "not in every bit"), (0.5, "refuted", "got another answer")]
)
def test_the_lane_says_how_far_another_node_is_off(off: float, state: str, says: str) -> None:
    async def story(world: World) -> None:
        run, body = await infer(world)
        world.computers[1].runtime.off = off
        await again(world, body)
        lane = await world.lane(run, "computation")
        assert (lane["state"], lane["basis"]) == (state, "observed")
        assert says in lane["says"]
        assert (await world.lane(run, "bytes"))["state"] == "proven"

    play(story)


def test_a_run_is_run_again_over_http_for_its_capability_alone() -> None:
    async def story(world: World) -> None:
        run, body = await infer(world)
        app, path = world.app(), f"/v1/runs/{run}/recompute"
        key = [("authorization", "Bearer hf_first")]
        refused = await asgi.request(app, "POST", path, headers=key)
        assert (refused.status, refused.json()["error"]["code"]) == (401, "auth.capability")
        wrong = await asgi.request(app, "POST", path, headers=[("x-holdfast-capability", "00" * 32)])
        assert (wrong.status, wrong.json()["error"]["code"]) == (404, "run.unknown")
        capability = [("x-holdfast-capability", body["holdfast"]["capability"])]
        other = await asgi.request(app, "POST", path, headers=capability, body=b'{"node":"inference-1"}')
        assert (other.status, other.json()["error"]["code"]) == (400, "infer.another")
        odd = await asgi.request(app, "POST", path, headers=capability, body=b'{"nodes":[]}')
        assert (odd.status, odd.json()["error"]["code"]) == (400, "infer.rerun")
        got = await asgi.request(app, "GET", path, headers=capability)
        assert got.status == 405
        told = await asgi.request(app, "POST", path, headers=capability, body=b'{"node":"inference-2"}')
        assert (told.status, told.json()["comparison"]) == (200, "equal")

    play(story)


def test_one_paid_run_is_not_run_again_without_end() -> None:
    """Each time is work of a node and an entry of the log that nobody pays for."""

    async def story(world: World) -> None:
        run, body = await infer(world)
        secret = bytes.fromhex(body["holdfast"]["capability"])
        row, rerun = await world.row(run), world.rerun()
        both = await asyncio.gather(*(rerun.run(row, secret, None) for _ in range(2)), return_exceptions=True)
        assert [item.code for item in both if isinstance(item, HoldfastError)] == ["infer.often"]
        for _ in range(MOST - 1):
            await rerun.run(row, secret, None)
        with pytest.raises(HoldfastError) as refused:
            await rerun.run(row, secret, None)
        assert (refused.value.code, refused.value.status) == ("infer.often", 429)

    play(story)


def test_what_no_node_computed_or_nobody_keeps_is_not_run_again() -> None:
    async def story(world: World) -> None:
        _, private = await infer(world, settlement="private")
        with pytest.raises(HoldfastError) as refused:
            await again(world, private)
        assert refused.value.code == "run.kept"
        run = await world.answer()
        with pytest.raises(HoldfastError) as refused:
            await world.rerun().run(await world.row(run), bytes(32), None)
        assert refused.value.code == "infer.not_computed"

    play(story)


def test_a_node_that_attests_itself_is_shown_in_the_run() -> None:
    async def story(world: World) -> None:
        for node in world.computers:
            node.attest()
        run, _ = await infer(world, {"mode": "TEE"})
        journal = await world.journal(run)
        shown = [item for item in journal if item["kind"] == "attestation"]
        assert [item["node"] for item in shown] == [world.computers[0].document.digest]
        lane = await world.lane(run, "computation")
        assert (lane["state"], lane["basis"]) == ("unknown", None), "trust admits no root of this format"
        assert (await world.lane(run, "enclave"))["state"] == "unknown"

    play(story)


def test_a_model_whose_card_declares_nothing_is_not_asked_for_vectors() -> None:
    async def story(world: World) -> None:
        world.models.move("scores", 2.0)
        text = b'{"model":"scores","input":"a"}'
        asked = parse_ask("embeddings", text, {}, default_model=None, settlement="batch")
        with pytest.raises(HoldfastError) as refused:
            await world.gateway.open(asked, "first")
        assert refused.value.code == "request.task"

    play(story)


def test_a_label_that_moved_to_another_node_is_found_there_without_a_listing() -> None:
    async def story(world: World) -> None:
        world.models.move("scores", 2.0)
        computing = world.gateway.computing
        assert (await computing.find("scores")).upstream.code == "inference-1"

        async def nothing() -> list[NodeModel]:
            return []

        world.computers[0].models = nothing  # type: ignore[method-assign]
        await world.clock.advance(OLD_S + 1)
        await computing.find("scores")  # an answer does not wait for the nodes
        await asyncio.gather(*computing._looking)
        assert (await computing.find("scores")).upstream.code == "inference-2"

    play(story)
