"""Taking a file in (``holdfast.client.intake``): in order, durably, and whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.client import intake as module
from holdfast.client.intake import Intake, take_behind
from holdfast.errors import UnavailableError


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


async def pieces(*given):
    for piece in given:
        yield piece


def test_a_piece_that_was_not_written_changes_neither_digest_nor_place(threads):
    disk = SimulatedDisk()
    file = disk.mount().create("file")
    intake = Intake(file, threads)
    intake.take(b"one")
    disk.fail_after(1)
    with pytest.raises(UnavailableError):
        intake.take(b"two")
    assert (intake.offset, intake.digest()) == (3, hashlib.sha256(b"one").hexdigest())
    intake.take(b"two")
    assert intake.digest() == hashlib.sha256(b"onetwo").hexdigest()
    assert file.read(0, 10) == b"onetwo"


def test_a_sync_that_failed_beside_the_writing_is_never_forgotten(threads, monkeypatch):
    monkeypatch.setattr(module, "SYNC_BYTES", 1)
    tried = threading.Event()

    class Failing:
        def read(self, offset, size):
            return b""

        def write(self, offset, data):
            pass

        def sync(self):
            if not tried.is_set():
                tried.set()
                raise UnavailableError("storage.failed", "no")

    intake = Intake(Failing(), threads)
    intake.take(b"one")
    for _ in range(2):
        with pytest.raises(UnavailableError):
            intake.sync()


def test_a_file_goes_on_where_it_ends(threads):
    storage = SimulatedDisk().mount()
    storage.create("file").write(0, b"one")
    intake = Intake(storage.open("file"), threads)
    assert intake.offset == 3
    intake.take(b"two")
    assert intake.digest() == hashlib.sha256(b"onetwo").hexdigest()


def test_what_was_synced_outlives_the_power(threads, monkeypatch):
    monkeypatch.setattr(module, "SYNC_BYTES", 4)
    disk = SimulatedDisk()
    storage = disk.mount()
    intake = Intake(storage.create("file"), threads)
    storage.sync_folder()
    for _ in range(8):
        intake.take(b"abc")
    intake.sync()
    intake.close()
    disk.crash()
    assert disk.mount().load("file") == b"abc" * 8


def test_pieces_are_gathered_and_taken_in_order(monkeypatch):
    monkeypatch.setattr(module, "TAKEN_BYTES", 4)
    taken = []
    asyncio.run(take_behind(pieces(b"abc", b"de", b"f", b"ghij", b"k"), taken.append))
    assert taken == [b"abcde", b"fghij", b"k"]


def test_nothing_is_taken_once(monkeypatch):
    taken = []
    asyncio.run(take_behind(pieces(), taken.append))
    assert taken == [b""]


def test_what_is_being_taken_ends_before_a_failure_is_told(monkeypatch):
    monkeypatch.setattr(module, "TAKEN_BYTES", 1)
    begun, ended = threading.Event(), threading.Event()
    go_on = threading.Event()

    def take(_piece):
        begun.set()
        go_on.wait()
        ended.set()

    async def breaking():
        yield b"a"
        await asyncio.to_thread(begun.wait)
        asyncio.get_running_loop().call_soon(go_on.set)
        raise UnavailableError("http.unreachable", "gone")

    with pytest.raises(UnavailableError):
        asyncio.run(take_behind(breaking(), take))
    assert ended.is_set()


def test_a_refusal_of_what_was_taken_ends_the_taking(monkeypatch):
    monkeypatch.setattr(module, "TAKEN_BYTES", 1)

    def take(_piece):
        raise UnavailableError("storage.failed", "full")

    with pytest.raises(UnavailableError, match="full"):
        asyncio.run(take_behind(pieces(b"a", b"b", b"c"), take))
