"""A worker thread waits for a log that lives on an event loop, and for no longer than it said."""

from __future__ import annotations

import asyncio
import threading

import pytest

from holdfast.client.entry_log import BlockingEntryLog, logged_items
from holdfast.client.log_writer import Accepted
from holdfast.core.merkle import leaf_hash
from holdfast.errors import RefusedError, UnavailableError
from tests.helpers.network import at


class Log:
    """Answers what a test says, on the loop."""

    def __init__(self, answer=None, *, silent=False):
        self.answer = answer
        self.silent = silent
        self.threads = []

    async def append(self, entries):
        self.threads.append(threading.current_thread())
        if self.silent:
            await asyncio.Event().wait()
        return [self.answer] * len(entries)

    async def put_blob(self, data):
        raise AssertionError(data)

    async def index_of(self, digest):
        self.threads.append(threading.current_thread())
        return {"aa": 7}.get(digest)


def ask(log, question, timeout_s=5.0):
    """Ask from a worker thread while the loop runs in this one."""

    async def run():
        entries = BlockingEntryLog(log, log, asyncio.get_running_loop(), timeout_s=timeout_s)
        return await asyncio.to_thread(question, entries)

    return asyncio.run(run())


def test_a_silent_log_does_not_hold_the_worker_for_ever():
    with pytest.raises(UnavailableError, match=r"log\.unavailable"):
        ask(Log(silent=True), lambda entries: entries.append(b"x"), timeout_s=0.01)


@pytest.mark.parametrize(
    ("refusal", "error", "code"),
    [
        ("log.busy", UnavailableError, "log.unavailable"),
        ("log.full", UnavailableError, "log.unavailable"),
        ("log.entry", RefusedError, "log.refused"),
        (None, RefusedError, "log.refused"),
    ],
)
def test_a_refused_entry_is_not_taken_for_logged(refusal, error, code):
    with pytest.raises(error) as refused:
        ask(Log(Accepted("aa", None, refusal)), lambda entries: entries.append(b"x"))
    assert refused.value.code == code


def test_answers_come_back_from_the_loop():
    log = Log(Accepted("aa", 3, None))
    assert ask(log, lambda entries: (entries.append(b"x"), entries.index_of("aa"), entries.index_of("bb"))) == (
        3,
        7,
        None,
    )
    assert set(log.threads) == {threading.main_thread()}


class Found:
    """A log client that has verified what it returns."""

    raw = b"a note"
    size = 5
    proof = (bytes(32),)

    def __init__(self, index, leaf=None):
        self.index = index
        self.leaf = leaf

    async def index_of(self, digest):
        return self.index

    async def latest(self):
        return self

    async def inclusion(self, index, checkpoint):
        return self


@pytest.mark.parametrize("index", [None, 5, 9])
def test_an_entry_under_no_checkpoint_yet_shows_nothing(index):
    assert asyncio.run(logged_items(Found(index), b"entry", "aa" * 32, at(1))) == []


def test_another_entry_in_its_place_is_refused():
    with pytest.raises(RefusedError, match=r"log\.inclusion"):
        asyncio.run(logged_items(Found(3, leaf_hash(b"another")), b"entry", "aa" * 32, at(1)))


def test_an_entry_is_shown_with_its_place_its_path_and_the_checkpoint():
    items = asyncio.run(logged_items(Found(3, leaf_hash(b"entry")), b"entry", "aa" * 32, at(1)))
    assert [item["kind"] for item in items] == ["entry", "inclusion", "checkpoint"]
    assert {item["at"] for item in items} == {"2026-01-01T12:00:01.000Z"}
    assert (items[1]["index"], items[1]["size"], items[1]["proof"]) == (3, 5, ["00" * 32])
    assert items[2]["note"] == "a note"
