"""Executions lie in one file, one of an id, and begin as far as limits go."""

import datetime as dt
import stat
from dataclasses import replace

import pytest

from holdfast.agents.workflows.journal import Journal
from holdfast.core.workflows.moves import End, Record
from holdfast.errors import UnavailableError, UsageError
from tests.helpers.clock import START
from tests.helpers.workflows import CAUSE, reserve, started


@pytest.fixture
def journal(tmp_path):
    found = Journal(tmp_path / "own" / "journal.sqlite")
    yield found
    found.close()


def later(seconds):
    return START + dt.timedelta(seconds=seconds)


def causes(count):
    return [replace(CAUSE, key=f"{number:02x}") for number in range(count)]


def test_the_file_is_its_owners_alone(journal, tmp_path):
    assert stat.S_IMODE((tmp_path / "own" / "journal.sqlite").stat().st_mode) == 0o600
    assert journal.live() == 0


def test_a_file_that_is_none_is_said(tmp_path):
    (tmp_path / "file").write_bytes(b"no database, and long enough to be looked at" * 100)
    with pytest.raises(UnavailableError, match=r"workflow\.journal"):
        Journal(tmp_path / "file")


def test_the_same_trigger_starts_nothing_again(journal):
    first, new = journal.start(reserve(), CAUSE, dry=False, now=START)
    again, newer = journal.start(reserve(), replace(CAUSE, data="other"), dry=False, now=later(9))
    assert (first, new, newer) == (again, True, False)
    assert journal.load(first)[1].cause.data == {"limit": "5"}


def test_an_execution_goes_on_under_the_definition_it_began_with(journal):
    made = started(journal, reserve())
    journal.start(reserve(goal="another"), replace(CAUSE, key="01"), dry=False, now=START)
    assert journal.load(made)[0].digest == reserve().digest


def test_so_many_are_there_at_once_and_the_others_wait(journal):
    definition = reserve(limits={"concurrency": 2})
    ids = [journal.start(definition, cause, dry=False, now=START)[0] for cause in causes(3)]
    assert journal.begin(definition, START) == (ids[:2], [])
    assert journal.begin(definition, START) == ([], [])
    journal.ended(ids[0], End(), later(1))
    assert journal.begin(definition, later(1)) == (ids[2:], [])


def test_what_does_not_wait_is_skipped_and_says_so(journal):
    definition = reserve(limits={"concurrency": 1, "overlap": "skip"})
    ids = [journal.start(definition, cause, dry=False, now=START)[0] for cause in causes(3)]
    assert journal.begin(definition, START) == (ids[:1], ids[1:])
    assert [journal.find(item).state for item in ids] == ["open", "skipped", "skipped"]
    assert journal.find(ids[1]).ending["code"] == "workflow.overlap"


def test_so_many_begin_in_so_long(journal):
    definition = reserve(limits={"rate": {"executions": 2, "seconds": 60}})
    ids = [journal.start(definition, cause, dry=False, now=START)[0] for cause in causes(3)]
    assert journal.begin(definition, START)[0] == ids[:2]
    assert journal.begin(definition, later(59))[0] == []
    assert journal.begin(definition, later(61))[0] == ids[2:]


def test_a_lease_is_one_process_and_ends_by_itself(journal):
    made = started(journal, reserve())
    assert journal.lease(made, "one", START, later(10))
    assert journal.lease(made, "one", START, later(20))
    assert not journal.lease(made, "two", later(19), later(30))
    assert journal.due(later(19), 9) == []
    assert journal.next_due(later(19)) == later(20)
    assert journal.lease(made, "two", later(20), later(30))
    journal.release(made, "one")
    assert journal.due(later(21), 9) == []
    journal.release_all()
    assert journal.due(later(21), 9) == [made]


def test_who_starts_looks_at_once_at_what_waits_for_the_gate_and_at_nothing_else(journal):
    waits, sleeps = (journal.start(reserve(), cause, dry=False, now=START)[0] for cause in causes(2))
    journal.begin(reserve(), START)
    journal.write(waits, "price", Record("waiting", 1, None, next_at=later(600), until=later(900), looks=7))
    journal.sleep(waits, later(600), "one")
    journal.write(sleeps, "price", Record("trying", 2, None, next_at=later(600)))
    journal.sleep(sleeps, later(600), "one")
    assert journal.due(later(1), 9) == []
    journal.look_again(later(1))
    assert journal.due(later(1), 9) == [waits]
    records = {made: journal.load(made)[1].records["price"] for made in (waits, sleeps)}
    assert (records[waits].next_at, records[waits].looks, records[waits].until) == (later(1), 0, later(900))
    assert records[sleeps].next_at == later(600)


def test_what_was_written_is_read_again_with_its_digits(journal, tmp_path):
    made = started(journal, reserve())
    record = Record(
        "waiting", 2, {"n": 1}, {"x": None}, told=False, next_at=later(1), until=later(2), run="r", shown="s"
    )
    journal.write(made, "price", record)
    journal.opened(made, "run", "cc")
    journal.begun(made)
    other = Journal(tmp_path / "own" / "journal.sqlite")
    _, known = other.load(made)
    assert replace(known.records["price"], input={"n": 1}) == record
    assert str(known.records["price"].input["n"]) == "1"
    assert (known.run, known.begun, known.deadline) == ("run", True, later(86_400))
    assert other.capability(made) == "cc"
    other.close()


def test_an_end_is_decided_before_it_is_said(journal):
    made = started(journal, reserve())
    end = End(code="x.y", says="why", step="price")
    assert journal.ending(made) is None
    journal.closing(made, end)
    assert journal.ending(made) == end
    assert journal.due(later(1), 9) == [made]
    journal.ended(made, end, later(2))
    assert journal.due(later(3), 9) == []
    assert journal.next_due(later(3)) is None
    assert journal.live() == 0


def test_an_execution_is_found_by_the_beginning_of_its_id(journal):
    made = started(journal, reserve())
    assert journal.find(made[:8]).id == made
    for prefix in ("", "zz"):
        with pytest.raises(UsageError, match=r"workflow\.unknown"):
            journal.find(prefix)
    assert [item.id for item in journal.listed(workflow="reserve", state="open")] == [made]
    assert journal.listed(workflow="other") == []
