"""What came of an act, its executor tells, else the gate does; and what nobody waits for is taken back."""

import asyncio

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.agents.act_journal import ActJournal
from holdfast.agents.runs import AgentRun, RecordedRun
from holdfast.agents.workflows.acts import GatedActs
from holdfast.agents.workflows.engine import Came, Refused, Waits
from holdfast.core.agents import act_digest
from holdfast.core.encoding import time_encode
from holdfast.errors import UnavailableError, UsageError
from tests.helpers.clock import START, FakeClock

AGENT = AgentRun("00000000-0000-4000-8000-000000000001", "aa" * 32, "bb" * 32, "batch")
ACT = "00000000-0000-4000-8000-000000000002"


class Runs:
    """Records what is told; refuses reservations with ``refuses``."""

    def __init__(self):
        self.told, self.refuses = [], {}

    async def step(self, agent, body, *, idempotency_key=None):
        assert len(idempotency_key) == 64
        code = self.refuses.get((agent.run, body["kind"]))
        if code is not None:
            raise UsageError(code, "no") if "." in code else UnavailableError("http.unreachable", "nobody")
        self.told.append((agent.run, agent.capability, body))
        return RecordedRun(ACT, "", {})


class Panel:
    """One case."""

    def __init__(self, events=(), **row):
        self.row, self.events = row and {"id": "c1", **row}, list(events)

    async def cases(self, states=(), **query):
        assert query == {"run": ACT}
        return {"cases": [self.row] if self.row else []}

    async def case(self, case):
        assert case == self.row["id"]
        return {**self.row, "events": self.events}


class Lines(list):
    """A record."""

    def opened(self, run, capability, gateway, agent):
        self.append(("opened", run, gateway, agent))

    def proposed(self, run, capability, agent, digest):
        self.append(("proposed", run, agent, digest))

    def closed(self, run):
        self.append(("closed", run))


def executor(*words):
    """An executor's journal that says these words of the act."""
    storage = SimulatedDisk(1).mount()
    journal = ActJournal(storage)
    bodies = {
        "taken": {"case": "c", "queue": "q", "key": "00", "capability": "cc", "agent": AGENT.run},
        "prepared": {"reserved": ACT, "tool": "wire", "effect": "pay", "digest": "d", "arguments": "{}", "bytes": ""},
        "begun": {},
        "told": {"run": None},
        "over": {"state": "CLEAR"},
    }
    for word, body in ((item, None) if isinstance(item, str) else item for item in words):
        journal.write(ACT, word, START, bodies[word] if body is None else body)
    journal.close()
    return storage


def acts(panel=None, storage=None, runs=None, record=None):
    record = Lines() if record is None else record
    return GatedActs(runs or Runs(), record, "http://gateway", panel, storage, FakeClock())


def look(found, capability="cc" * 32):
    return asyncio.run(found.look(AGENT, ACT, capability))


BEGUN = ("taken", "prepared", "begun")


def test_an_act_of_which_nobody_says_anything_waits():
    for panel in (None, Panel(), Panel(run=ACT, state="CLEAR"), Panel(run=ACT, state="HOLD")):
        assert look(acts(panel)) == Waits(ACT)


def test_a_rejected_or_recalled_case_is_why_it_is_not_carried_out():
    reasons = [{"code": "x", "says": "no"}, {"code": "y", "says": "never"}]
    assert look(acts(Panel(run=ACT, state="REJECTED", reasons=reasons))) == Refused(
        "workflow.act_rejected", "no; never"
    )
    assert look(acts(Panel(run=ACT, state="RECALLED"))).code == "workflow.act_recalled"


def test_an_act_that_a_person_amended_is_waited_for_in_its_place():
    events = [{"kind": "decided", "body": {}}, {"kind": "amended", "body": {"run": AGENT.run}}]
    assert look(acts(Panel(events, run=ACT, state="REJECTED"))) == Waits(AGENT.run)


def test_a_case_that_was_rejected_just_now_may_be_amended_still():
    now = Panel(run=ACT, state="REJECTED", changed_at=time_encode(START))
    before = Panel(run=ACT, state="REJECTED", changed_at=time_encode(START.replace(year=2025)))
    assert look(acts(now)) == Waits(ACT)
    assert look(acts(before)).code == "workflow.act_rejected"


def test_a_refused_act_is_taken_back_so_that_no_reopening_carries_it_out():
    for state, code in (("REJECTED", "workflow.act_rejected"), ("RECALLED", "workflow.act_recalled")):
        runs = Runs()
        assert look(acts(Panel(run=ACT, state=state), runs=runs)).code == code
        assert [told["kind"] for _, _, told in runs.told] == ["reserved", "outcome"]
        assert code in runs.told[1][2]["error"]


def test_an_act_in_whose_place_another_stands_that_no_case_names_yet_is_waited_for():
    runs = Runs()
    runs.refuses[ACT, "reserved"] = "agent.replaced"
    assert look(acts(Panel(run=ACT, state="REJECTED"), runs=runs)) == Waits(ACT)
    runs.refuses[ACT, "reserved"] = "agent.reserved"
    assert look(acts(Panel(run=ACT, state="REJECTED"), runs=runs)).code == "workflow.act_rejected"
    assert runs.told == []


def test_an_act_that_is_amended_or_may_be_still_is_not_taken_back():
    events = [{"kind": "amended", "body": {"run": AGENT.run}}]
    for panel in (
        Panel(events, run=ACT, state="REJECTED"),
        Panel(run=ACT, state="REJECTED", changed_at=time_encode(START)),
        Panel(run=ACT, state="HOLD"),
    ):
        runs = Runs()
        look(acts(panel, runs=runs))
        assert runs.told == []


def test_an_amended_act_is_taken_back_by_its_agent_run():
    runs = Runs()
    assert asyncio.run(acts(runs=runs).withdraw(AGENT, ACT, "", "too late"))
    assert [(run, capability) for run, capability, _ in runs.told] == [
        (ACT, AGENT.capability),
        (AGENT.run, AGENT.capability),
    ]


def test_a_case_of_another_run_says_nothing():
    assert look(acts(Panel(run=AGENT.run, state="REJECTED"))) == Waits(ACT)


def test_what_came_of_it_counts_once_the_gateway_has_it():
    ended = ("ended", {"result": '{"transaction":"0x01"}'})
    assert look(acts(storage=executor(*BEGUN, ended))) == Waits(ACT)
    assert look(acts(storage=executor(*BEGUN, ended, "told"))) == Came(ACT, result={"transaction": "0x01"})
    failed = ("ended", {"error": '"no funds"'})
    assert look(acts(storage=executor(*BEGUN, failed, "told", "over"))) == Came(ACT, error="no funds")


def test_an_act_of_which_it_is_not_known_whether_it_happened_is_an_error():
    found = look(acts(storage=executor(*BEGUN, ("unknown", {"why": "no answer"}), "told")))
    assert found == Came(ACT, error="not known whether it happened: no answer")


def test_a_recall_after_it_was_begun_comes_too_late():
    assert look(acts(Panel(run=ACT, state="RECALLED"), executor(*BEGUN))) == Waits(ACT)
    assert look(acts(Panel(run=ACT, state="RECALLED"), executor("taken"))).code == "workflow.act_recalled"


def test_what_is_opened_and_proposed_is_recorded_for_the_executor():
    record = Lines()
    found = acts(record=record)

    async def story():
        await found.opened(AGENT, {"name": "w"})
        await found.proposed(AGENT, RecordedRun(ACT, "cc", {}), "wire", {"b": "1", "a": 2})
        await found.closed(AGENT)

    asyncio.run(story())
    digest = act_digest({"kind": "tool", "tool": "wire", "arguments": {"a": 2, "b": "1"}})
    opened = ("opened", AGENT.run, "http://gateway", {"name": "w"})
    assert record == [opened, ("proposed", ACT, AGENT.run, digest), ("closed", AGENT.run)]


def withdraw(runs):
    return asyncio.run(acts(runs=runs).withdraw(AGENT, ACT, "cc" * 32, "workflow.act_expired: too late"))


def test_what_is_taken_back_is_reserved_and_then_told():
    runs = Runs()
    assert withdraw(runs)
    told = {"kind": "outcome", "of": ACT, "error": "it was not carried out: workflow.act_expired: too late"}
    assert runs.told == [(ACT, "cc" * 32, {"kind": "reserved", "of": ACT}), (AGENT.run, AGENT.capability, told)]


@pytest.mark.parametrize("code", ["agent.reserved", "agent.outcome", "agent.replaced"])
def test_an_act_that_an_executor_has_is_not_taken_back(code):
    runs = Runs()
    runs.refuses[ACT, "reserved"] = code
    assert not withdraw(runs)
    assert runs.told == []


def test_an_outcome_that_the_agent_run_cannot_take_is_told_to_the_act():
    runs = Runs()
    runs.refuses[AGENT.run, "outcome"] = "agent.steps"
    assert withdraw(runs)
    assert [run for run, _, _ in runs.told] == [ACT, ACT]


def test_a_silent_gateway_takes_nothing_back():
    runs = Runs()
    runs.refuses[ACT, "reserved"] = "silent"
    with pytest.raises(UnavailableError):
        withdraw(runs)
