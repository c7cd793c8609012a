"""On Celery the same definition does the same: a real worker over a broker in memory, the journal in a file."""

import asyncio
import contextlib
import threading
import time
import warnings

import pytest

from holdfast.adapters.clock_system import SystemClock
from holdfast.agents.workflows.engine import Came, Engine
from holdfast.agents.workflows.journal import Journal
from holdfast.agents.workflows.service import Service
from holdfast.errors import UnavailableError
from tests.helpers.workflows import CAUSE, Gate, Outside, reserve

celery = pytest.importorskip("celery")

from holdfast.agents.workflows.on_celery import ADVANCE, LOOK, register  # noqa: E402 - it needs Celery


class Both:
    """A journal and what is outside, for one engine or the other."""

    def __init__(self, folder):
        self.journal, self.outside, self.clock = Journal(folder / "journal.sqlite"), Outside(), SystemClock()
        self.definition = reserve()
        self.outside.answers["price"] = [UnavailableError("http.unreachable", "nobody")]

    def make(self):
        engine = Engine(self.journal, self.outside, self.outside, lambda _: Gate(self.outside), self.clock, owner="w")
        return engine, Service(self.journal, engine, self.clock, [self.definition], say=lambda _: None)

    @contextlib.asynccontextmanager
    async def world(self):
        yield self.make()

    def let_through(self):
        for act in list(self.outside.proposed):
            self.outside.gate[act] = Came(act, result="0xhash")

    @property
    def state(self):
        return [item.state for item in self.journal.listed()]

    def wait_for(self, ended):
        deadline = time.monotonic() + 60
        while not ended():
            assert time.monotonic() < deadline, (self.state, self.outside.children)
            self.let_through()
            time.sleep(0.02)


def on_our_own(folder):
    both = Both(folder)

    async def story():
        _, service = both.make()
        service.starter(both.definition)(CAUSE)
        task = asyncio.ensure_future(service.run(until_idle=True))
        while not task.done():
            both.let_through()
            await asyncio.sleep(0.02)
        await task

    asyncio.run(story())
    return both


def on_celery(folder):
    both = Both(folder)
    app = celery.Celery("workflows", broker="memory://", backend="cache+memory://")
    app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)
    loop = register(app, both.journal, both.clock, both.world)
    assert app.conf.beat_schedule[LOOK]["task"] == LOOK
    both.journal.start(both.definition, CAUSE, dry=False, now=both.clock.now())
    stop = threading.Event()

    def beat():
        while not stop.wait(0.1):
            app.send_task(LOOK)

    from celery.contrib.testing.worker import start_worker  # noqa: PLC0415 - it warns when it is imported

    ticking = threading.Thread(target=beat)
    try:
        with start_worker(app, pool="threads", concurrency=2, perform_ping_check=False, shutdown_timeout=30):
            ticking.start()
            both.wait_for(lambda: both.state == ["done"])
            app.send_task(ADVANCE, (both.journal.listed()[0].id,))  # a message that comes again
            stop.set()
            ticking.join()
    finally:
        stop.set()
        loop.close()
    return both


@pytest.mark.slow
def test_the_same_definition_does_the_same_on_both_engines(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = on_our_own(tmp_path / "ours"), on_celery(tmp_path / "theirs")
    for both in (ours, theirs):
        assert both.state == ["done"]
    assert theirs.outside.children == ours.outside.children
    assert theirs.outside.closed == ours.outside.closed
    assert theirs.outside.asked == ours.outside.asked
    records = [item.journal.load(item.journal.listed()[0].id)[1].records for item in (ours, theirs)]
    for name in records[0]:
        one, other = (found[name] for found in records)
        assert (one.state, one.attempt, one.input) == (other.state, other.attempt, other.input)
    ours.journal.close()
    theirs.journal.close()
