"""Workflows over crashes between any two lines: no finished step is done again, and no act is proposed twice.

A life of the engine ends before or after any write of its journal and any call to the outside, which goes on as it was:
a gateway that keeps idempotency keys, data nodes, models, a gate, somebody who carries acts out. Then another life goes
on over the same journal. What SQLite does with a power failure is SQLite's; here it is what the engine does with it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from holdfast.agents.workflows.engine import Came
from holdfast.agents.workflows.journal import Journal
from holdfast.core.workflows.replays import replay
from holdfast.errors import UnavailableError
from tests.helpers import crashes
from tests.helpers.clock import FakeClock
from tests.helpers.workflows import CAUSE, Died, Fuse, FusedJournal, Outside, engine_of, reserve

LONGEST = 60
"""Breaths of a life that does everything."""


class Life:
    """One execution over as many lives as it takes."""

    def __init__(self, seed: int, journal: Journal) -> None:
        self.chance = random.Random(f"workflow {seed}")
        self.journal, self.outside, self.clock = journal, Outside(), FakeClock()
        self.definition = reserve()
        self.lives = 0

    def live(self, fuse: Fuse) -> bool:
        """One life; whether the execution ended."""
        self.lives += 1
        self.outside.fuse = fuse
        journal = FusedJournal(self.journal, fuse)
        return asyncio.run(self._live(journal))

    async def _live(self, journal: FusedJournal) -> bool:
        try:
            if self.lives > 1:
                self.journal.release_all()
            made, _ = journal.start(self.definition, CAUSE, dry=False, now=self.clock.now())
            journal.begin(self.definition, self.clock.now())
            engine = engine_of(journal, self.outside, self.clock, owner=f"life {self.lives}")
            while (until := await engine.advance(made)) is not None:
                await self.clock.advance(max((until - self.clock.now()).total_seconds(), 0.0))
                self._carry_out()
        except Died:
            return False
        return self.journal.find(made).state in ("done", "failed")

    def _carry_out(self) -> None:
        """Somebody lets acts through, after a while, and carries them out, or proposes another in their place; what is
        reserved or replaced already, nobody can."""
        outside = self.outside
        for act in [*outside.proposed, *outside.amended.values()]:
            if act in {*outside.gate, *outside.withdrawn, *outside.amended} or self.chance.random() < 0.5:
                continue
            if self.chance.random() < 0.4:
                outside.amended[act] = f"in the place of {act}"
            else:
                outside.begun.add(act)
                outside.gate[act] = Came(act, result="0xhash")


def play(seed: int) -> Life:
    journal = Journal(":memory:")
    life = Life(seed, journal)
    if life.chance.random() < 0.3:
        life.outside.answers["price"] = [UnavailableError("http.unreachable", "nobody")]
    if life.chance.random() < 0.3:
        life.outside.silent = life.chance.randint(1, 3)
    for _ in range(life.chance.randint(1, 6)):
        if life.live(Fuse(life.chance.randint(1, LONGEST))):
            break
    while not life.live(Fuse()):
        assert life.lives < 20
    return life


@pytest.mark.parametrize("seed", crashes.seeds())
def test_a_crash_anywhere_repeats_no_finished_step_and_no_act(seed: int) -> None:
    life = play(seed)
    outside = life.outside
    [listed] = life.journal.listed()
    [last] = {*outside.proposed, *outside.amended.values()} - outside.amended.keys()
    if listed.state == "failed":  # nobody let the act through in time: then nobody can carry it out, and nobody did
        assert listed.ending is not None
        assert listed.ending["code"] == "workflow.act_expired"
        assert outside.withdrawn == [last]
        assert not outside.begun
    else:
        assert outside.withdrawn == []
        assert outside.begun == {last}
        _, known = life.journal.load(listed.id)
        assert known.records["pay"].output == {"run": last, "result": "0xhash"}
    assert outside.opened == 1
    assert len(outside.acts()) == 1
    assert len(outside.closed) == 1
    assert len(outside.told("workflow")) == 1
    assert len(outside.told("rule")) == 1
    attempts = Counter(child["arguments"]["attempt"] for child in outside.told("admission"))
    assert set(attempts.values()) == {1}
    definition, known = life.journal.load(listed.id)
    assert [item.state for item in replay(definition, known)] == ["equal"] * 4
    # What is asked again is what was under way when a life ended, and nothing else.
    assert Counter(outside.asked)["advice"] <= life.lives
    life.journal.close()


def test_every_place_is_a_place_to_die() -> None:
    whole = Fuse()
    journal = Journal(":memory:")
    life = Life(0, journal)
    life.live(whole)
    for at in range(1, whole.breaths + 1, crashes.stride(whole.breaths)):
        other = Life(0, Journal(":memory:"))
        other.live(Fuse(at))
        while not other.live(Fuse()):
            assert other.lives < 20
        assert len(other.outside.acts()) == 1
        assert len(other.outside.closed) == 1
        other.journal.close()
    journal.close()


def test_a_finished_answer_is_never_asked_for_again() -> None:
    """The answer is in the journal before anything else is done: from there on no life asks for it."""
    whole = Fuse()
    life = Life(0, Journal(":memory:"))
    life.live(whole)
    for at in range(1, whole.breaths + 1):
        other = Life(0, Journal(":memory:"))
        other.live(Fuse(at))
        before = other.outside.asked.count("advice")
        found = other.journal.listed()
        records = other.journal.load(found[0].id)[1].records if found else {}
        while not other.live(Fuse()):
            assert other.lives < 20
        if "advice" in records and records["advice"].state == "done":
            assert other.outside.asked.count("advice") == before
        other.journal.close()
    life.journal.close()
