"""Heads of the panel's journals reach the log once, in order, and only while something happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.storage_files import FileStorage
from holdfast.core.statements import JournalHead, Statement
from holdfast.errors import MalformedError, RefusedError, UnavailableError
from holdfast.nodes.panel.anchors import ANCHORS_FILE
from holdfast.review.anchors import compare_heads, heads_of
from holdfast.review.roles import OPERATOR
from tests.helpers.anchors import EVERY_S, keeper
from tests.helpers.case_world import CaseWorld, play_cases
from tests.helpers.decisions import PANEL_DOCUMENT, trust_with_panel


def heads(world: CaseWorld, journal: str = "cases") -> list[Statement]:
    return heads_of(world.world.log.statements(), journal, [PANEL_DOCUMENT.digest])


def numbers(world: CaseWorld, journal: str = "cases") -> list[int]:
    return [item.body.seq for item in heads(world, journal) if isinstance(item.body, JournalHead)]


async def kinds(world: CaseWorld) -> list[str]:
    with world.review.store.read() as reader:
        return [event.kind for event in reader.events(0, 1000)]


async def comment(world: CaseWorld, headers: Any, case: str) -> None:
    reply = await world.post(f"/v1/cases/{case}/comment", b'{"text":"seen"}', *headers)
    assert reply.status == 200


async def a_case(world: CaseWorld) -> tuple[str, Any]:
    ada = await world.let_in("ada", "admin", "approver")
    run = await world.ask()
    await world.pull()
    await world.look_at_all()
    (case,) = (await world.get(f"/v1/cases?run={run}", *ada)).json()["cases"]
    return case["id"], ada


def play(story: Any, folder: Path) -> None:
    async def trusted(world: CaseWorld) -> None:
        world.trust = trust_with_panel(world.world.network)
        await story(world)

    play_cases(trusted, folder)


def test_a_panel_that_trust_does_not_admit_anchors_nothing(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        made, entries = keeper(world)
        with pytest.raises(UnavailableError, match="trust does not admit"):
            await made.turn()
        assert entries.handed_in == 0
        assert "anchored" not in await kinds(world)

    play_cases(story, tmp_path)


def test_a_journal_in_which_nothing_happens_is_not_anchored_again(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        made, entries = keeper(world)
        assert await made.turn() == 1  # the default queue's policy
        for _ in range(20):
            await world.world.clock.advance(EVERY_S)
            assert await made.turn() == 0
        assert entries.handed_in == 1
        assert numbers(world) == [2]
        assert numbers(world, "people") == []

    play(story, tmp_path)


def test_what_happens_between_is_anchored_at_most_every_few_seconds(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        case, ada = await a_case(world)
        made, _ = keeper(world)
        await made.turn()
        before = len(numbers(world))
        for _ in range(10):
            await comment(world, ada, case)
            await world.world.clock.advance(1)
            await made.turn()
        assert len(numbers(world)) - before == 2

    play(story, tmp_path)


def test_a_decision_is_anchored_at_once(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        case, ada = await a_case(world)
        made, _ = keeper(world)
        await made.turn()
        await world.post(f"/v1/cases/{case}/view", b"", *ada)
        assert await made.turn() == 0
        reply = await world.post(f"/v1/cases/{case}/decide", b'{"act":"approve","reason":"fine"}', *ada)
        assert reply.status == 200
        assert await made.turn() == 1
        decided = (await kinds(world)).index("decided") + 1
        assert numbers(world)[-1] > decided

    play(story, tmp_path)


def test_both_journals_are_anchored_and_every_head_is_an_event_of_its_own(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        case, ada = await a_case(world)
        made, _ = keeper(world)
        for _ in range(3):
            await comment(world, ada, case)
            await world.let_in(f"person{world.world.clock.monotonic():.0f}", "viewer")
            await world.world.clock.advance(EVERY_S)
            await made.turn()
        with world.review.store.read() as reader:
            cases = [(event.seq, event.digest) for event in reader.events(0, 1000)]
        people = world.people.digests(OPERATOR)
        for journal, events in (("cases", cases), ("people", people)):
            found = compare_heads(journal, events, heads(world, journal))
            assert (found.heads, found.standing, found.faults) == (3, 3, ())
            assert found.after == 0
        assert made.newest("cases") is not None
        text = b"".join(world.world.log.entries)
        assert b"ada" not in text

    play(story, tmp_path)


def test_a_silent_log_is_asked_again_with_the_same_statement(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        made, entries = keeper(world)
        entries.silent = True
        for _ in range(5):
            with pytest.raises(UnavailableError):
                await made.turn()
            await world.world.clock.advance(EVERY_S)
        assert (await kinds(world)).count("anchored") == 1
        entries.silent = False
        assert await made.turn() == 1
        assert numbers(world) == [2]

    play(story, tmp_path)


def test_a_lost_answer_gives_no_second_entry(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        made, entries = keeper(world)
        entries.forgets_to_answer = True
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await made.turn()
        entries.forgets_to_answer = False
        assert await made.turn() == 1
        assert entries.handed_in == 4
        assert numbers(world) == [2]

    play(story, tmp_path)


@pytest.mark.parametrize("logged", [False, True])
def test_a_crash_before_it_was_noted_anchors_the_same_head(tmp_path: Path, logged: bool) -> None:
    async def story(world: CaseWorld) -> None:
        made, entries = keeper(world)
        entries.silent, entries.forgets_to_answer = not logged, logged
        with pytest.raises(UnavailableError):
            await made.turn()
        again, entries = keeper(world)
        assert await again.turn() == 1
        assert numbers(world) == [2]
        assert (await kinds(world)).count("anchored") == 1
        third, entries = keeper(world)
        assert await third.turn() == 0
        assert entries.handed_in == 0

    play(story, tmp_path)


def test_a_head_that_waited_too_long_is_replaced_by_one_that_stands_for_it_too(tmp_path: Path) -> None:
    """Full nodes would call it backdated, and refuse it for good."""

    async def story(world: CaseWorld) -> None:
        made, entries = keeper(world)
        entries.silent = True
        with pytest.raises(UnavailableError):
            await made.turn()
        await world.world.clock.advance(301)
        entries.silent = False
        assert await made.turn() == 1
        assert numbers(world) == [3]

    play(story, tmp_path)


def test_an_old_head_that_the_log_has_already_is_not_replaced(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        made, entries = keeper(world)
        entries.forgets_to_answer = True
        with pytest.raises(UnavailableError):
            await made.turn()
        await world.world.clock.advance(301)
        again, entries = keeper(world)
        assert await again.turn() == 0
        assert numbers(world) == [2]
        newest = again.newest("cases")
        assert newest is not None
        assert newest.seq == 2

    play(story, tmp_path)


def test_a_journal_that_the_log_refuses_holds_up_no_other(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        await world.let_in("ada", "admin")
        made, entries = keeper(world)
        entries.refuses = True
        with pytest.raises(RefusedError, match="refused the entry"):
            await made.turn()
        assert (await kinds(world)).count("anchored") == 1
        assert [event.kind for event in world.people.events(OPERATOR)].count("chain.anchored") == 1

    play(story, tmp_path)


def test_a_journal_put_back_from_a_backup_is_read_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(world: CaseWorld) -> None:
        storage = FileStorage(world.folder / "panel")
        digest = "ab" * 32
        storage.save(
            ANCHORS_FILE,
            f'{{"cases":{{"seq":1,"digest":"{digest}","statement":"{digest}","at":"2026-01-01T00:00:00.000Z"}}}}'.encode(),
        )
        made, _ = keeper(world)
        assert await made.turn() == 1
        assert numbers(world) == [2]
        assert "has another there or none" in caplog.text

    play(story, tmp_path)


@pytest.mark.parametrize("kept", [b'{"cases":{"seq":0}}', b'{"cases":7}', b'{"cases":{"seq":"1"}}'])
def test_a_damaged_note_of_what_was_anchored_keeps_the_panel_from_starting(tmp_path: Path, kept: bytes) -> None:
    async def story(world: CaseWorld) -> None:
        FileStorage(world.folder / "panel").save(ANCHORS_FILE, kept)
        with pytest.raises(MalformedError, match="damaged"):
            keeper(world)

    play(story, tmp_path)
