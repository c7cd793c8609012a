"""Policy files, and the desk's own turns."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from holdfast.cli.development import DEFAULT_QUEUE_POLICY, Layout, make_queues
from holdfast.errors import HoldfastError, UsageError
from holdfast.review.events import SYSTEM
from holdfast.verifier.queue_policy import parse_queue_policy
from tests.helpers.case_world import CaseWorld, play_cases

STRICTER = DEFAULT_QUEUE_POLICY.replace('bases = ["proof", "development"]', 'bases = ["proof"]')


def write(world: CaseWorld, queue: str, text: str, later_s: int) -> None:
    """Author a policy, so many seconds later than the last time."""
    world.write_policy(queue, text)
    path = world.queues / f"{queue}.toml"
    found = path.stat()
    os.utime(path, (found.st_atime, found.st_mtime + later_s))


@pytest.mark.parametrize(
    "text", ["", "type = 1", DEFAULT_QUEUE_POLICY + "extra = 1\n", DEFAULT_QUEUE_POLICY.replace('"default"', '"other"')]
)
def test_a_policy_file_that_cannot_be_read_keeps_the_panel_from_starting(tmp_path: Path, text: str) -> None:
    async def story(world: CaseWorld) -> None:
        await world.stop_panel()
        world.write_policy("default", text)
        with pytest.raises(UsageError) as refused:
            await world.start_panel()
        assert refused.value.code == "panel.queues"
        assert "default.toml" in refused.value.message

    play_cases(story, tmp_path)


def test_without_a_folder_of_policies_the_panel_does_not_start(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        await world.stop_panel()
        (world.queues / "default.toml").unlink()
        world.queues.rmdir()
        with pytest.raises(UsageError, match="cannot read"):
            await world.start_panel()

    play_cases(story, tmp_path)


@pytest.mark.parametrize("raw", [b"type = 1", b"\xff\xfe", b"#" * 70_000])
def test_a_file_that_breaks_later_leaves_the_policy_in_force_and_says_so(tmp_path: Path, raw: bytes) -> None:
    async def story(world: CaseWorld) -> None:
        before = (await world.get("/v1/queues")).json()["queues"]
        (world.queues / "default.toml").write_bytes(raw)
        for _ in range(2):
            assert not await world.review.call(world.review._read_policies, False)
        value = (await world.get("/v1/queues")).json()
        assert value["queues"] == before
        assert list(value["trouble"]) == ["default"]
        write(world, "default", DEFAULT_QUEUE_POLICY, 10)
        await world.review.call(world.review._read_policies, False)
        assert (await world.get("/v1/queues")).json() == {"queues": before, "trouble": {}}

    play_cases(story, tmp_path)


def test_the_shipped_policy_is_what_its_comments_say_and_is_written_once(tmp_path: Path) -> None:
    layout = Layout(tmp_path, 19000)
    make_queues(layout)
    path = layout.queues / "default.toml"
    policy = parse_queue_policy(path.read_text())
    assert {lane: (need.states, need.bases) for lane, need in policy.require.items()} == {
        "bytes": (("proven",), ("signature",)),
        "settlement": (("proven",), ("development", "proof")),
    }
    assert policy.early_release is not None
    assert (policy.early_release.roles, policy.early_release.max_s) == (("approver",), 3600)
    assert policy.judgement is None
    path.write_text(STRICTER)
    make_queues(layout)
    assert path.read_text() == STRICTER


def test_a_changed_file_moves_the_cases_of_its_queue(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.settle()
        await world.pull()
        await world.look_at_all()
        assert (await world.case(run))["state"] == "CLEAR"
        write(world, "default", STRICTER, 10)
        assert await world.review.call(world.review._read_policies, False)
        await world.tick()
        held = await world.case(run)
        assert held["state"] == "HOLD"
        assert [reason["code"] for reason in held["reasons"]] == ["gate.lane_basis"]
        assert held["policy"] == parse_queue_policy(STRICTER).digest

    play_cases(story, tmp_path)


def test_what_a_person_changed_stays_until_the_file_changes(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        await world.review.call(world.desk.change_policy, SYSTEM, "default", STRICTER)
        await world.stop_panel()
        await world.start_panel()
        (queue,) = (await world.get("/v1/queues")).json()["queues"]
        assert queue["policy"] == parse_queue_policy(STRICTER).digest
        later = DEFAULT_QUEUE_POLICY.replace("max_s = 3600", "max_s = 60")
        write(world, "default", later, 10)
        await world.review.call(world.review._read_policies, False)
        (queue,) = (await world.get("/v1/queues")).json()["queues"]
        assert queue["policy"] == parse_queue_policy(later).digest

    play_cases(story, tmp_path)


def test_a_queue_gets_its_policy_when_its_file_appears_and_its_cases_follow(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask("other")
        await world.settle()
        await world.pull()
        await world.look_at_all()
        assert (await world.case(run))["state"] == "HOLD"
        world.write_policy("other", DEFAULT_QUEUE_POLICY.replace('"default"', '"other"'))
        assert await world.review.call(world.review._read_policies, False)
        await world.tick()
        assert (await world.case(run))["state"] == "CLEAR"

    play_cases(story, tmp_path)


def test_tasks_run_while_the_panel_does_and_one_that_fails_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        world = CaseWorld(tmp_path)
        await world.start()
        ended: list[str] = []

        async def fails() -> None:
            raise RuntimeError("a bug")

        async def lives() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("lives")

        async def later() -> None:
            ended.append("later")

        world.review.add_task("fails", fails)
        world.review.add_task("lives", lives)
        world.review.at_end(later)
        world.review.at_end(lambda: ended.append("now"))
        assert "cases" in world.review.readiness()
        reply = await world.get("/readyz")
        assert (reply.status, reply.code) == (503, "node.not_ready")
        async with world.review.running():
            for _ in range(200):
                if "fails" in world.review.readiness():
                    break
                await asyncio.sleep(0.01)
            assert list(world.review.readiness()) == ["fails"]
            changed = world.review.changed
            world.review.notify()
            assert changed.is_set()
            assert not world.review.changed.is_set()
        assert ended == ["lives", "later", "now"]
        await world.world.stop()

    asyncio.run(main())


def test_a_store_is_let_go_of_when_the_panel_cannot_start(tmp_path: Path) -> None:
    async def main() -> None:
        world = CaseWorld(tmp_path)
        await world.start()
        write(world, "default", "type = 1", 10)
        with pytest.raises(HoldfastError):
            async with world.review.running():
                pass
        with pytest.raises(RuntimeError):  # its thread has ended
            await world.review.call(world.desk.queues, SYSTEM)
        await world.world.stop()

    asyncio.run(main())


def test_whoever_watches_hears_of_every_commit_and_of_no_refusal(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        run = await world.ask()
        await world.pull()
        await world.look_at_all()
        case = (await world.case(run))["id"]
        with world.review.watching(case) as one, world.review.watching("queue default") as queue:
            changed = world.review.changed
            with pytest.raises(HoldfastError):
                await world.review.call(world.desk.note_bundle, SYSTEM, case, b"{}")
            await asyncio.sleep(0)
            assert not any(event.is_set() for event in (one, queue, changed))
            await world.review.call(world.desk.add_dependant, SYSTEM, case, reference="a note")
            await asyncio.wait_for(one.wait(), 5)
            assert queue.is_set()
            assert changed.is_set()
            one.clear()
            await world.review.call(world.desk.head, SYSTEM)  # reading tells nobody anything
            await asyncio.sleep(0)
            assert not one.is_set()
        assert world.review._watches == {}

    play_cases(story, tmp_path)


def test_a_policy_is_told_to_its_queue_and_to_no_case_that_it_leaves_alone(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        with world.review.watching("queue default") as one, world.review.watching("queue other") as other:
            await world.review.call(world.desk.change_policy, SYSTEM, "default", STRICTER)
            await asyncio.wait_for(one.wait(), 5)
            assert not other.is_set()

    play_cases(story, tmp_path)
