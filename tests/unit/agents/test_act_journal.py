"""The journal of acts: what may follow on what, and what a crash may leave of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.agents.act_journal import FILE, ActJournal, ActState, follow, read_journal
from holdfast.errors import ConflictError, HoldfastError, MalformedError, RefusedError

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ACT = "01890000-0000-7000-8000-000000000001"
OTHER = "01890000-0000-7000-8000-000000000002"
TAKEN = {"case": "c", "queue": "treasury", "key": "k", "capability": "s", "agent": "a"}
PREPARED = {"reserved": "r", "tool": "wire", "effect": "pay", "digest": "d", "arguments": "{}", "bytes": "AAE="}
BODIES = {
    "taken": TAKEN,
    "prepared": PREPARED,
    "begun": {},
    "ended": {"result": "1"},
    "unknown": {"why": "the answer was lost"},
    "told": {"run": OTHER},
    "over": {"state": "CLEAR"},
    "dropped": {"code": "act.held", "says": "held"},
}
WHOLE = ("taken", "prepared", "begun", "ended", "told", "over")


def journal_of(*words: str, act: str = ACT) -> tuple[SimulatedDisk, ActJournal]:
    disk = SimulatedDisk(1)
    journal = ActJournal(disk.mount())
    say(journal, words, act)
    return disk, journal


def say(journal: ActJournal, words: Iterable[str], act: str = ACT) -> None:
    for word in words:
        journal.write(act, word, NOW, BODIES[word])


# Refusals


@pytest.mark.parametrize(
    "words",
    [
        ("prepared",),
        ("taken", "begun"),
        ("taken", "prepared", "ended"),
        ("taken", "prepared", "begun", "begun"),
        ("taken", "prepared", "begun", "dropped"),
        ("taken", "prepared", "begun", "taken"),
        ("taken", "prepared", "begun", "told"),
        ("taken", "prepared", "begun", "unknown", "ended"),
        (*WHOLE, "taken"),
        ("taken", "ended"),
    ],
)
def test_a_word_that_cannot_follow_is_refused_and_leaves_no_line(words: tuple[str, ...]) -> None:
    disk, journal = journal_of(*words[:-1])
    before = disk.mount().load(FILE)
    with pytest.raises(RefusedError) as caught:
        journal.write(ACT, words[-1], NOW, BODIES[words[-1]])
    assert caught.value.code == "acts.history"
    assert disk.mount().load(FILE) == before


@pytest.mark.parametrize(
    ("word", "body"),
    [
        ("taken", {**TAKEN, "more": "1"}),
        ("taken", {name: value for name, value in TAKEN.items() if name != "key"}),
        ("taken", {**TAKEN, "case": 1}),
        ("ended", {"result": "1", "error": "2"}),
        ("ended", {}),
        ("else", {}),
    ],
)
def test_a_word_has_exactly_its_members(word: str, body: dict[str, object]) -> None:
    state = ActState(ACT) if word == "taken" else ActState(ACT, "begun")
    with pytest.raises(RefusedError) as caught:
        follow(state, word, "2026", body)
    assert caught.value.code == "acts.history"


def test_only_one_executor_writes_a_journal() -> None:
    disk, journal = journal_of("taken")
    storage = disk.mount()
    with pytest.raises(ConflictError) as caught:
        ActJournal(storage)
    assert caught.value.code == "storage.locked"
    journal.close()
    ActJournal(storage).close()


def test_damage_before_a_good_line_stops_the_executor() -> None:
    disk, journal = journal_of(*WHOLE)
    journal.close()
    storage = disk.mount()
    raw = bytearray(storage.load(FILE) or b"")
    raw[12] ^= 1
    storage.save(FILE, bytes(raw))
    with pytest.raises(MalformedError) as caught:
        ActJournal(storage)
    assert caught.value.code == "acts.corrupt"


def test_after_the_disk_refused_a_line_nothing_is_written_any_more() -> None:
    disk, journal = journal_of("taken")
    disk.fail_after(1)
    with pytest.raises(HoldfastError) as caught:
        say(journal, ["prepared"])
    assert caught.value.code == "storage.failed"
    with pytest.raises(RefusedError) as stopped:
        say(journal, ["prepared"])
    assert stopped.value.code == "acts.stopped"


# What is kept


def test_what_was_written_is_read_again_in_the_order_in_which_acts_were_taken() -> None:
    disk, journal = journal_of(*WHOLE)
    say(journal, ["taken", "dropped", "taken", "prepared"], OTHER)
    own = journal.id
    journal.close()
    again = ActJournal(disk.mount())
    assert [(state.act, state.word) for state in again.acts()] == [(ACT, "over"), (OTHER, "prepared")]
    assert again.state(OTHER).prepared == b"\x00\x01"
    assert [state.act for state in again.open_acts()] == [OTHER]
    assert again.id == own
    assert again.key("reserved", ACT) != again.key("outcome", ACT) != again.key("outcome", OTHER)


def test_a_torn_last_line_is_cut_and_the_next_one_stands_in_its_place() -> None:
    disk, journal = journal_of("taken")
    journal.close()
    storage = disk.mount()
    whole = storage.load(FILE) or b""
    for cut in range(1, len(whole)):
        storage.save(FILE, whole + whole[:cut])
        again = ActJournal(storage)
        say(again, ["prepared"])
        again.close()
        assert read_journal(storage)[ACT].word == "prepared"


def test_a_list_is_read_while_an_executor_writes() -> None:
    disk, journal = journal_of("taken", "prepared")
    assert read_journal(disk.mount())[ACT].word == "prepared"
    say(journal, ["begun"])
    assert read_journal(disk.mount())[ACT].word == "begun"


def test_an_act_is_to_be_taken_back_only_where_it_may_have_happened_and_was_recalled() -> None:
    state = ActState(ACT, "told", came={"result": "1"})
    assert follow(state, "over", "t", {"state": "RECALLED"}).to_take_back
    assert not follow(state, "over", "t", {"state": "CLEAR"}).to_take_back
    assert not follow(ActState(ACT, "told", came={"error": "1"}), "over", "t", {"state": "RECALLED"}).to_take_back
    assert follow(ActState(ACT, "told", why="lost"), "over", "t", {"state": "RECALLED"}).to_take_back


def test_a_list_shows_neither_what_was_prepared_nor_what_reads_the_act() -> None:
    _, journal = journal_of(*WHOLE)
    [state] = journal.acts()
    assert not {"capability", "arguments", "prepared", "key"} & state.to_json().keys()
    assert "capability" not in repr(state)


def test_only_taken_may_say_in_whose_place_an_act_stands() -> None:
    at = "2026-01-01T00:00:00.000Z"
    found = follow(ActState(ACT), "taken", at, {**TAKEN, "amends": OTHER})
    assert (found.amends, found.proposed, found.to_json()["amends"]) == (OTHER, OTHER, OTHER)
    own = follow(ActState(ACT), "taken", at, TAKEN)
    assert (own.amends, own.proposed, own.to_json()["amends"]) == ("", ACT, None)
    for state, word, body in (
        (ActState(ACT), "taken", {**TAKEN, "amends": None}),
        (own, "dropped", {**BODIES["dropped"], "amends": OTHER}),
    ):
        with pytest.raises(RefusedError) as caught:
            follow(state, word, at, body)
        assert caught.value.code == "acts.history"
