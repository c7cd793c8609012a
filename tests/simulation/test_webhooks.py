"""Webhooks under crashes and in any order of events: none lost, none listed twice, none that no longer holds.

The desk, its store and the sender are the product's; receivers, clock and the moment of a crash are the test's.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.adapters.webhooks_sql import SQLWebhookStore
from holdfast.core import canonical
from holdfast.errors import HoldfastError
from holdfast.ports.http import Answer
from holdfast.review.events import STATE_OF, SYSTEM
from holdfast.review.webhooks import Limits
from tests.helpers import crashes
from tests.helpers.network import RUN
from tests.helpers.review import APPROVER, REVIEWER, Clinic
from tests.helpers.webhooks import Office, Receivers, hook

SECOND = "https://second.test/in"


class Crash(Exception):  # noqa: N818 (it is not an error of anything)
    """The process ended here."""


class Points:
    """Counts the places at which a process can end, and ends it at one of them."""

    def __init__(self) -> None:
        self.passed = 0
        self.ends_at: int | None = None

    def reach(self) -> None:
        self.passed += 1
        if self.passed == self.ends_at:
            self.ends_at = None
            raise Crash


class CrashingWebhookStore(SQLWebhookStore):
    """Ends before or after a commit."""

    def __init__(self, points: Points) -> None:
        super().__init__("sqlite://")
        self.points = points

    def _commit(self, connection: Any) -> None:
        self.points.reach()
        super()._commit(connection)
        self.points.reach()


class CrashingCaseStore(SQLCaseStore):
    """The same for the journal."""

    points: Points | None = None

    def _commit(self, connection: Any) -> None:
        if self.points is not None:
            self.points.reach()
        super()._commit(connection)
        if self.points is not None:
            self.points.reach()


class CrashingReceivers(Receivers):
    """Ends before something was sent, or after it arrived and before anybody here knew."""

    points: Points

    async def request(self, method: str, url: str, **options: Any) -> Answer:  # type: ignore[override]
        self.points.reach()
        answer = await super().request(method, url, **options)
        self.points.reach()
        return answer


def office(folder: Path, points: Points) -> Office:
    store = CrashingCaseStore("sqlite://")
    hooks = (hook(), hook(url=SECOND, states=("CLEAR", "RECALLED")))
    found = Office(folder, hooks, CrashingWebhookStore(points), Clinic(store), Limits(at_once=3))
    receivers = CrashingReceivers()
    receivers.points = points
    found.receivers = receivers
    found.clinic.queue(max_age_s=600)
    found.clinic.queue("other", max_age_s=600)
    found.restart()
    return found


async def story(found: Office, points: Points) -> None:
    """Two cases are cleared, one runs out before it was sent, one is recalled; then time passes and all is sent."""

    async def survive(step: Callable[[], Any]) -> None:
        while True:
            try:
                await step()
            except Crash:
                found.restart()
                await survive(found.start)
                continue
            return

    await survive(found.start)
    case = found.clinic.case(stage="answered")
    found.clinic.release(case)
    await survive(found.follow)
    found.clinic.note(case, "settled")
    store = found.clinic.store
    assert isinstance(store, CrashingCaseStore)
    store.points = points
    await survive(found.work)
    found.clinic.pass_time(700)  # it is too old now, which nobody noticed yet
    await survive(found.work)
    await survive(lambda: tick(found))
    await survive(found.work)
    store.points = None
    found.clinic.note(case, "refuted")
    await survive(found.work)
    store.points = points
    await survive(found.work)


async def tick(found: Office) -> None:
    found.clinic.desk.tick()


def events(found: Office) -> list[tuple[int, str]]:
    with found.clinic.store.read() as reader:
        return [(event.seq, STATE_OF[event.kind]) for event in reader.events(0, 10_000) if event.kind in STATE_OF]


def run(folder: Path, ends_at: int | None) -> tuple[Office, Points]:
    points = Points()
    found = office(folder, points)
    points.ends_at = ends_at
    asyncio.run(story(found, points))
    return found, points


def test_a_crash_at_any_point_repeats_at_most_a_sending_and_loses_none(tmp_path: Path) -> None:
    reference, points = run(tmp_path, None)
    rows = [(state, stands) for state, stands, _, _ in reference.rows()]
    assert rows.count(("CLEAR", "delivered")) == 2
    assert rows.count(("RECALLED", "delivered")) == 2
    assert points.passed > 20
    sent = [headers["webhook-id"] for _, headers, _ in reference.receivers.got]
    assert len(sent) == len(set(sent))
    for ends_at in range(1, points.passed + 1, crashes.stride(points.passed)):
        found, _ = run(tmp_path, ends_at)
        assert [row[0] for row in found.rows()] == [row[0] for row in reference.rows()], ends_at
        assert {row[1] for row in found.rows()} == {"delivered"}, ends_at
        ids = [headers["webhook-id"] for _, headers, _ in found.receivers.got]
        assert len(set(ids)) == len(rows), ends_at
        assert len(ids) - len(set(ids)) <= 2, ends_at  # what both endpoints had in hand
        assert events(found)[-1][1] == "RECALLED"


def expected(found: Office, states: frozenset[str]) -> list[tuple[str, int]]:
    """(state, event) that an endpoint is to be told of, read from the journal without any of the product's code."""
    wanted, standing = [], {}
    with found.clinic.store.read() as reader:
        journal = [canonical.decode(event.raw) for event in reader.events(0, 10_000)]
    for event in journal:
        case, kind = event["case"], event["kind"]
        state = STATE_OF.get(kind)
        if kind == "decided" and event["body"]["act"] == "reopen":
            standing.pop(case, None)
        elif state in ("CLEAR", "PROVISIONAL") or (state is not None and standing.get(case) not in (None, state)):
            standing[case] = state
            if state in states:
                wanted.append((state, event["seq"]))
    return wanted


class Watching(Receivers):
    """Looks at the case at the moment at which something is said about it."""

    def __init__(self, clinic: Clinic) -> None:
        super().__init__()
        self.clinic = clinic
        self.status = 204

    async def request(self, method: str, url: str, **options: Any) -> Answer:  # type: ignore[override]
        await super().request(method, url, **options)
        value: Mapping[str, Any] = canonical.decode(options["body"])
        now = self.clinic.desk.confirm(SYSTEM, [value["case"]])[value["case"]]
        if value["state"] == "CLEAR":
            assert now == "CLEAR"
        if value["state"] == "PROVISIONAL":
            assert now in ("CLEAR", "PROVISIONAL")
        return Answer(self.status)


ACTS = st.sampled_from(
    [
        "answered", "logged", "settled", "refuted", "time", "long", "tick", "release", "reject", "reopen", "recall",
        "policy", "trust", "follow", "send", "fail", "restart", "work",
    ]
)  # fmt: skip


async def act(found: Office, what: str, queue: str) -> None:
    """One thing that happens; what the desk refuses does not happen."""
    clinic, receivers = found.clinic, found.receivers
    assert isinstance(receivers, Watching)
    case = clinic.desk.open(SYSTEM, RUN, queue).id
    if what in ("answered", "logged", "settled", "refuted"):
        clinic.note(case, what)
    elif what in ("time", "long"):
        clinic.pass_time(30 if what == "time" else 700)
    elif what == "tick":
        clinic.desk.tick()
    elif what == "release":
        clinic.release(case)
    elif what in ("reject", "reopen"):
        clinic.desk.view(APPROVER if what == "reopen" else REVIEWER, case)
        if what == "reopen":
            clinic.desk.reopen(APPROVER, case, reason="again")
        else:
            clinic.desk.decide(REVIEWER, case, "reject", reason="no")
    elif what == "recall":
        clinic.desk.recall(SYSTEM, "0" * 64, "it was withdrawn")
    elif what == "policy":
        clinic.queue(queue, max_age_s=60 if found.clinic.now.second % 2 else 600)
    elif what == "trust":
        clinic.trusted = None if clinic.trusted else Clinic().trusted
    elif what == "follow":
        await found.follow()
    elif what in ("send", "fail"):
        receivers.status = 204 if what == "send" else 503
        await found.send()
        receivers.status = 204
    elif what == "restart":
        found.restart()
        await found.start()
    else:
        await found.work()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(ACTS, st.sampled_from(["default", "other"])), max_size=30))
def test_every_event_that_matters_has_one_delivery_and_none_says_what_does_not_hold(
    acts: list[tuple[str, str]],
) -> None:
    async def play(folder: Path) -> None:
        hooks = (hook(), hook("other", SECOND, ("CLEAR", "RECALLED")))
        clinic = Clinic()
        found = Office(folder, hooks, clinic=clinic)
        found.receivers = Watching(clinic)
        found.restart()
        await found.start()
        clinic.queue(max_age_s=600)
        clinic.queue("other", max_age_s=600)
        for what, queue in acts:
            try:
                await act(found, what, queue)
            except HoldfastError:
                continue
        clinic.pass_time(7_200)  # whatever pause there was is over
        await found.work()
        for item in hooks:
            rows = [row for row in found.deliveries() if row.hook == item.id]
            cases = {case.row.case for case in clinic.desk.cases(SYSTEM) if case.row.queue == item.queue}
            told = [(row.state, row.seq) for row in rows]
            with clinic.store.read() as reader:
                ours = {event.seq for case in cases for event in reader.events_of(case)}
            assert told == [(state, seq) for state, seq in expected(found, item.states) if seq in ours]
            assert {row.stands for row in rows} <= {"delivered", "dropped"}
            assert all(row.stands == "delivered" for row in rows if not row.lets_through)
            arrived = [body["event"]["seq"] for body in found.receivers.bodies(item.url)]
            firsts = list(dict.fromkeys(arrived))
            assert firsts == sorted(firsts)  # one case in each queue: in order
            assert {row.seq for row in rows if row.stands == "delivered"} <= set(firsts)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))


@pytest.mark.parametrize("stage", ["answered", "logged"])
def test_nothing_is_told_before_the_proof_is_there(tmp_path: Path, stage: str) -> None:
    async def play() -> None:
        found = Office(tmp_path)
        found.clinic.queue()
        await found.start()
        found.clinic.case(stage=stage)
        await found.work()
        assert found.receivers.got == []
        assert found.rows() == []

    asyncio.run(play())
