"""What a run's bundle holds, in which order, and that a position in it keeps its meaning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import b64_decode, hex_decode
from holdfast.core.statements import build_commitment
from holdfast.errors import UnavailableError
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.lanes import LANES
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.gateway import ask
from tests.helpers.gateway_world import World, play

POLICY = parse_policy(DEFAULT_POLICY)


def test_what_settles_a_run_only_ever_adds_to_its_journal(tmp_path: Path) -> None:
    """``known`` names the same evidence before and after: through every step, a restart, and disclosure."""

    async def story(world: World) -> None:
        run = await world.answer()
        seen: list[list[dict[str, object]]] = [await world.journal(run)]

        async def look() -> None:
            journal = await world.journal(run)
            for before in seen:
                assert journal[: len(before)] == before
            seen.append(journal)

        await world.deliver()
        await look()
        await world.cosign(4)
        await world.follow()
        await look()
        world.nodes[2].silent = world.nodes[3].silent = True
        for _ in range(3):
            await world.follow()
        await look()
        assert [item["silent"] for item in seen[-1] if item["kind"] == "silence"] == [["full-3", "full-4"]]
        world.nodes[2].silent = world.nodes[3].silent = False
        for _ in range(6):
            await world.follow()
        await look()
        too_large = world.candidate(attempt=0)
        world.show(too_large, voters=(0,))
        await world.follow()
        await look()
        await world.stop()
        await world.start()
        await look()
        smaller = world.candidate(attempt=1, size=1)
        world.show(smaller, voters=(0, 1))
        await world.follow()
        await look()
        world.finalise(smaller)
        await world.follow()
        await look()
        second = world.candidate(2)
        world.show(second, voters=(2,))
        await world.follow()
        await look()
        await world.answer()
        await world.deliver()
        world.finalise(second)
        await world.follow()
        await look()
        assert (await world.lane(run))["state"] == "proven"
        world.finalise(world.candidate(3))
        await world.follow()
        await world.stop()
        await world.start()
        await world.follow()
        await look()
        assert seen[-1] == seen[-2]
        bundle = parse_bundle(await world.desk.bundle(await world.row(run), None))
        for step in seen:
            appraise(bundle, world.trust, POLICY, bundle.exported_at, len(step))

    play(story, tmp_path)


def test_a_follow_up_stands_where_it_became_known() -> None:
    async def story(world: World) -> None:
        run = await world.gateway.open(ask(), "first")
        await world.gateway.answer(run)
        await world.deliver()
        await world.cosign(4)
        await world.follow()
        before = await world.journal(run.id)
        await world.clock.advance(1)
        await world.gateway.disconnected(run)
        after = await world.journal(run.id)
        assert after[: len(before)] == before
        assert [item["kind"] for item in after[len(before) :]] == ["statement"]
        world.finalise(world.candidate())
        await world.follow()
        later = await world.journal(run.id)
        assert later[: len(after)] == after

    play(story)


def test_a_statement_delivered_twice_keeps_the_time_it_was_first_logged(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        before = await world.journal(run)
        await world.stop()
        await world.start()
        await world.clock.advance(60)
        world.outbox._sent = 0
        await world.deliver()
        assert await world.journal(run) == before

    play(story, tmp_path)


def test_a_missing_verdict_blob_is_an_unavailable_error_and_no_lane() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        await world.cosign(4)
        world.finalise(world.candidate())
        await world.follow()
        blobs = [node.blobs for node in world.nodes]
        for node in world.nodes:
            node.blobs = {}
        for ask_for in (world.desk.show, lambda row: world.desk.bundle(row, None)):
            with pytest.raises(UnavailableError) as missing:
                await ask_for(await world.row(run))
            assert missing.value.code == "round.verdicts"
        world.nodes[2].blobs = blobs[2]
        assert (await world.lane(run))["state"] == "proven"

    play(story)


def test_other_bytes_under_a_blob_s_name_are_not_taken() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        await world.cosign(4)
        candidate = world.candidate()
        true = world.nodes[3].blobs[candidate.blob_id]
        for node in world.nodes[:3]:
            node.blobs[candidate.blob_id] = true.replace(b"ok", b"cannot_tell")
        world.finalise(candidate)
        await world.follow()
        assert (await world.lane(run))["state"] == "proven"

    play(story)


def test_a_silent_log_gives_an_error_and_no_lane_for_what_needs_its_tiles() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        await world.cosign(4)
        await world.follow()
        world.tree.silent = True
        with pytest.raises(UnavailableError):
            await world.lane(run)
        world.tree.silent = False
        assert (await world.lane(run))["state"] == "pending"
        world.tree.silent = True
        assert (await world.lane(run))["state"] == "pending", "a path that was seen once is kept"

    play(story)


@pytest.mark.parametrize("code", ["refuted:signature", "cannot_tell"])
def test_the_covering_round_s_verdict_decides(code: str) -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        await world.cosign(4)
        world.finalise(world.candidate(codes={0: code}))
        await world.follow()
        assert (await world.lane(run))["state"] == ("refuted" if code.startswith("refuted") else "unknown")

    play(story)


def test_a_settled_view_is_kept_until_trust_changes() -> None:
    async def story(world: World) -> None:
        run = await world.answer()
        await world.deliver()
        await world.cosign(4)
        world.finalise(world.candidate())
        await world.follow()
        assert (await world.lane(run))["state"] == "proven"
        for node in world.nodes:
            node.asked = 0
        assert (await world.lane(run))["state"] == "proven"
        assert not any(node.asked for node in world.nodes)
        world.trust = world.network.trust(nodes=[])
        assert (await world.lane(run))["state"] != "proven"

    play(story)


# Settlement modes, from the question to the end.


def test_a_private_run_ends_as_logged_and_never_checked_and_its_capability_opens_it() -> None:
    async def story(world: World) -> None:
        run = await world.gateway.open(ask(holdfast={"settlement": "private"}), "first")
        body = await world.gateway.answer(run)
        assert canonical.decode_object(body)["holdfast"]["settlement"] == "private"
        assert (await world.lane(run.id))["state"] == "pending"
        await world.deliver()
        await world.cosign(4)
        world.finalise(world.candidate())
        await world.follow()
        lane = await world.lane(run.id)
        assert (lane["state"], lane["basis"]) == ("unknown", None)
        assert "Existence logged, never checked" in lane["says"]
        assert (await world.lane(run.id, "bytes"))["state"] == "proven"
        journal = await world.journal(run.id, run.secret)
        assert {item["kind"] for item in journal}.isdisjoint({"document", "parts"})
        statements = {entry["commitment"] for entry in map(canonical.decode_object, world.log.entries)}
        opened = [item for item in journal if item["kind"] == "commitment"]
        assert len(opened) == len(statements) == 2
        for item, signed in zip(opened, run.closed or (), strict=True):
            assert build_commitment(signed.digest, hex_decode(item["salt"], 32)) == b64_decode(item["entry"])
        assert all(envelope.encode() not in b"".join(world.log.entries) for envelope in [run.id, run.secret.hex()])

    play(story)


def test_an_individual_run_can_be_read_by_anybody_at_the_log() -> None:
    async def story(world: World) -> None:
        run = await world.gateway.open(ask("a public question", holdfast={"settlement": "individual"}), "first")
        answer = canonical.decode_object(await world.gateway.answer(run))
        await world.deliver()
        blob = canonical.decode_object(world.log.blobs[answer["holdfast"]["blob"]])
        assert (blob["run"], blob["secret"]) == (run.id, run.secret.hex())
        assert json.loads(blob["request"])["messages"][0]["content"] == "a public question"
        assert json.loads(blob["response"])["choices"] == answer["choices"]
        await world.cosign(4)
        world.finalise(world.candidate())
        await world.follow()
        assert (await world.lane(run.id))["state"] == "proven"

    play(story)


def test_a_batch_run_shows_its_documents_to_its_capability_only_and_all_lanes_to_its_key() -> None:
    async def story(world: World) -> None:
        run = await world.gateway.open(ask("between us"), "first")
        await world.gateway.answer(run)
        await world.deliver()
        shut, opened = await world.journal(run.id), await world.journal(run.id, run.secret)
        assert opened[: len(shut)] == shut
        assert [item["document"] for item in opened[len(shut) :]] == ["request", "response"]
        assert "between us" not in json.dumps(shut)
        assert world.log.blobs == {}
        assert list((await world.desk.show(await world.row(run.id)))["lanes"]) == list(LANES)

    play(story)
