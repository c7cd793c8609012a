"""What labels meant around a run, as a gateway puts it into bundles: only what counts, and never at a run's cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.artifacts import build_manifest
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import b64_encode, sha256_hex
from holdfast.errors import UnavailableError, UsageError
from holdfast.nodes.gateway.labels import MOST
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.artifacts import DOCUMENT, LABEL, A, B, Said, labelled
from tests.helpers.gateway_world import World, play
from tests.unit.nodes.gateway.test_computing import infer

RAN = build_manifest("model", {"model.onnx": sha256_hex(b"2.0")}).artifact
"""What the label of the world's source means."""
HOUR, AGO, AFTER = 3600.0, -3600.0, 100.0
"""Seconds from the run on."""
_CLOCK = -12 * HOUR
"""When a world begins, by the clock of its network."""


class ScriptedHub:
    """Tells the history that a test put in, or fails as a test wants it."""

    def __init__(self, *said: Said) -> None:
        self.said = list(said)
        self.error: Exception | None = None
        self.stuck = False

    async def history(self, label: str) -> dict[str, Any]:
        if self.stuck:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        if label != LABEL.name:
            raise UsageError("hub.unknown", "nothing is called so here", status=404)
        return {"changes": [told(item) for item in self.said]}


def told(said: Said, **change: Any) -> dict[str, Any]:
    return {
        "envelope": b64_encode(said.envelope),
        "document": said.document.decode(),
        "salt": said.salt.hex(),
        **change,
    }


def chain(*steps: tuple[str, float]) -> list[Said]:
    """Changes of the label, each after the one before."""
    made: list[Said] = []
    for number, (artifact, seconds) in enumerate(steps):
        before = made[-1] if made else None
        kind = {} if before is None else {"before": before.change.artifact}
        parents = [] if before is None else [before.statement.digest]
        made.append(Said(labelled(artifact, seconds=_CLOCK + seconds, **kind), parents, str(number)))
    return made


def with_hub(
    hub: ScriptedHub, story: Callable[[World, str, bytes], Awaitable[None]], folder: Path | None = None
) -> None:
    """A world whose gateway knows a hub, and a run of the label."""

    async def scene(world: World) -> None:
        world.network.others = [*world.network.others, DOCUMENT]
        world.trust = world.network.trust()
        world.hub = hub
        await world.stop()
        await world.start()
        world.models.move(LABEL.name, 2.0)
        run, body = await infer(world, {"model": LABEL.name})
        await story(world, run, bytes.fromhex(body["holdfast"]["capability"]))

    play(scene, folder)


async def judged(world: World, run: str, secret: bytes | None) -> Appraisal:
    raw = await world.desk.bundle(await world.row(run), secret)
    return appraise(parse_bundle(raw), world.trust, parse_policy(DEFAULT_POLICY), world.clock.now())


async def changes(world: World, run: str, secret: bytes | None) -> list[str]:
    return [item["digest"] for item in await world.journal(run, secret) if item["kind"] == "change"]


def test_the_change_in_force_the_one_before_and_what_followed_travel_with_the_documents() -> None:
    said = chain((A, 3 * AGO), (B, 2 * AGO), (RAN, AGO), (A, AFTER))

    async def story(world: World, run: str, secret: bytes) -> None:
        assert await changes(world, run, None) == [], "they name the label, which is part of what was asked"
        assert await changes(world, run, secret) == [item.statement.digest for item in said[1:]]
        await world.clock.advance(AFTER)
        lane = (await judged(world, run, secret)).lanes["artifact"]
        assert (lane.state, lane.basis) == ("proven", "signature")
        assert f"Label {LABEL.name!r} means it since" in lane.says
        assert f"The label has moved since: at 2026-01-01T00:01:40.000Z, to artifact {A[:12]}" in lane.says
        assert {said[2].statement.digest, said[3].statement.digest} <= set(lane.evidence)

    with_hub(ScriptedHub(*said), story)


def test_a_label_that_meant_another_artifact_shows() -> None:
    said = chain((A, AGO), (B, AFTER))

    async def story(world: World, run: str, secret: bytes) -> None:
        await world.clock.advance(AFTER)
        found = await judged(world, run, secret)
        assert found.lanes["artifact"].state == "refuted"
        assert f"meant artifact {A[:12]} then" in found.lanes["artifact"].says
        assert found.lanes["bytes"].state == "proven", "it takes nothing from the run"
        assert [check.code for check in found.transcript if check.answer == "no"] == ["artifact_change.meant"]

    with_hub(ScriptedHub(*said), story)


def test_places_in_the_log_come_with_paths_and_verdicts(tmp_path: Path) -> None:
    said = chain((RAN, AGO))

    async def story(world: World, run: str, secret: bytes) -> None:
        world.log.entries.insert(0, said[0].envelope)
        await world.deliver()
        await world.cosign(4)
        await world.follow()
        world.finalise(world.candidate())
        await world.follow()
        found = await judged(world, run, secret)
        says = found.lanes["artifact"].says
        assert "(entry 0 of the log, which full nodes accepted)" in says
        assert found.evidence.changes[said[0].statement.digest].trusted_time is not None
        assert found.lanes["settlement"].state == "proven"

    with_hub(ScriptedHub(*said), story, tmp_path)


def test_no_more_changes_than_there_is_room_for() -> None:
    steps = [(RAN, AGO), *(((A, B)[number % 2], AFTER + number) for number in range(MOST + 4))]
    said = chain(*steps)

    async def story(world: World, run: str, secret: bytes) -> None:
        assert len(await changes(world, run, secret)) == MOST
        await world.clock.advance(AFTER * 2)
        lane = (await judged(world, run, secret)).lanes["artifact"]
        assert f"{MOST - 1} moves are shown" in lane.says

    with_hub(ScriptedHub(*said), story)


def _gap(hub: ScriptedHub) -> None:
    del hub.said[1]


def _fails(hub: ScriptedHub) -> None:
    hub.error = UnavailableError("http.unreachable", "no answer")


def _refuses(hub: ScriptedHub) -> None:
    hub.error = UsageError("auth.wrong", "this key is not known here", status=401)


def _altered(hub: ScriptedHub) -> None:
    hub.said[0].salt = bytes(32)


@pytest.mark.parametrize("spoil", [_gap, _fails, _refuses, _altered])
def test_a_history_that_does_not_count_is_left_out_whole(spoil: Callable[[ScriptedHub], None]) -> None:
    hub = ScriptedHub(*chain((A, 2 * AGO), (B, AGO - 1), (RAN, AGO)))
    spoil(hub)

    async def story(world: World, run: str, secret: bytes) -> None:
        journal = await world.journal(run, secret)
        assert journal[-1]["code"] == "label-history.unavailable"
        assert await changes(world, run, secret) == []
        assert (await judged(world, run, secret)).lanes["artifact"].state == "proven"

    with_hub(hub, story)


def test_a_hub_that_trust_does_not_admit_is_not_passed_on() -> None:
    async def story(world: World, run: str, secret: bytes) -> None:
        world.network.others = [item for item in world.network.others if item != DOCUMENT]
        world.trust = world.network.trust()
        assert (await world.journal(run, secret))[-1]["code"] == "label-history.unavailable"

    with_hub(ScriptedHub(*chain((RAN, AGO))), story)


def test_a_hub_that_is_stuck_costs_a_bundle_its_history_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.nodes.gateway.labels.HUB_S", 0.01)
    hub = ScriptedHub()
    hub.stuck = True

    async def story(world: World, run: str, secret: bytes) -> None:
        assert (await world.journal(run, secret))[-1]["code"] == "label-history.unavailable"

    with_hub(hub, story)


def test_a_label_that_no_hub_has_is_no_trouble() -> None:
    hub = ScriptedHub()
    hub.error = UsageError("hub.unknown", "nothing is called so here", status=404)

    async def story(world: World, run: str, secret: bytes) -> None:
        journal = await world.journal(run, secret)
        assert journal[-1]["kind"] == "document"

    with_hub(hub, story)
