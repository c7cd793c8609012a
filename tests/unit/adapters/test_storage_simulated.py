"""The simulated disk forgets what a real one may forget, keeps what was synced, and tells one story per seed."""

from __future__ import annotations

import pytest

from holdfast.adapters.storage_simulated import SECTOR_BYTES, SimulatedCrash, SimulatedDisk
from holdfast.errors import UnavailableError

OLD, NEW = b"o" * 4 * SECTOR_BYTES, b"n" * 4 * SECTOR_BYTES


def after_crash(seed: int) -> bytes | None:
    """A durable file overwritten without a sync, after a power failure."""
    disk = SimulatedDisk(seed)
    storage = disk.mount()
    storage.save("file", OLD)
    storage.open("file").write(0, NEW)
    disk.crash("power")
    return disk.mount().load("file")


def test_after_a_crash_every_handle_is_dead() -> None:
    disk = SimulatedDisk()
    storage = disk.mount()
    file = storage.create("file")
    disk.crash_after(1)
    with pytest.raises(SimulatedCrash):
        file.write(0, b"x")
    for attempt in (file.sync, file.size, storage.list_names, lambda: storage.load("file"), storage.sync_folder):
        with pytest.raises(SimulatedCrash):
            attempt()
    disk.mount().save("file", b"next life")


def test_unsynced_writes_are_dropped_torn_scrambled_or_kept() -> None:
    outcomes = {after_crash(seed) for seed in range(200)}
    assert OLD in outcomes
    assert NEW in outcomes
    prefixes = {NEW[:size] + OLD[size:] for size in range(1, len(NEW))}
    assert outcomes & prefixes
    scrambled = [found for found in outcomes if found is not None and found not in prefixes and found not in {OLD, NEW}]
    for found in scrambled:
        sectors = [found[begin : begin + SECTOR_BYTES] for begin in range(0, len(found), SECTOR_BYTES)]
        assert all(sector in {OLD[:SECTOR_BYTES], NEW[:SECTOR_BYTES]} for sector in sectors)
    assert scrambled


def test_one_seed_tells_one_story() -> None:
    assert [after_crash(seed) for seed in range(30)] == [after_crash(seed) for seed in range(30)]


def test_synced_writes_are_kept() -> None:
    for seed in range(50):
        disk = SimulatedDisk(seed)
        storage = disk.mount()
        file = storage.create("folder/file")
        file.write(0, NEW)
        file.sync()
        storage.sync_folder("folder")
        disk.crash("power")
        assert disk.mount().load("folder/file") == NEW


def test_names_need_their_folder_synced() -> None:
    created, renamed, removed = set(), set(), set()
    for seed in range(50):
        disk = SimulatedDisk(seed)
        storage = disk.mount()
        storage.save_all({"old": b"old", "gone": b"gone"})
        storage.create("fresh").sync()
        storage.rename("old", "new")
        storage.remove("gone")
        disk.crash("power")
        names = set(disk.names())
        created.add("fresh" in names)
        removed.add("gone" in names)
        renamed.add(("old" in names, "new" in names))
    assert created == removed == {True, False}
    assert renamed == {(True, False), (False, True)}


def test_a_killed_process_leaves_what_it_wrote_visible_and_not_durable() -> None:
    found = set()
    for seed in range(50):
        disk = SimulatedDisk(seed)
        storage = disk.mount()
        storage.save("file", OLD)
        storage.open("file").write(0, NEW)
        disk.crash("kill")
        assert disk.mount().load("file") == NEW
        disk.crash("power")
        found.add(disk.mount().load("file"))
    assert {OLD, NEW} <= found


def test_unsynced_growth_and_truncation_may_be_lost() -> None:
    sizes = set()
    for seed in range(100):
        disk = SimulatedDisk(seed)
        storage = disk.mount()
        storage.save("file", b"12345678")
        file = storage.open("file")
        file.truncate(3)
        file.write(5, b"abc")
        assert file.read(0, 100) == b"123\x00\x00abc"
        disk.crash("power")
        content = disk.mount().load("file")
        assert content is not None
        sizes.add(len(content))
    assert {3, 8} <= sizes


def test_a_planned_failure_is_an_error_and_no_crash() -> None:
    disk = SimulatedDisk()
    storage = disk.mount()
    disk.fail_after(2)
    file = storage.create("file")
    with pytest.raises(UnavailableError, match=r"storage\.failed"):
        file.write(0, b"x")
    file.write(0, b"y")
    disk.fail_after(1, for_good=True)
    for _ in range(3):
        with pytest.raises(UnavailableError, match=r"storage\.failed"):
            file.sync()
    disk.crash()
    disk.mount().save("file", b"again")


def test_a_listener_hears_of_the_crash() -> None:
    disk, heard = SimulatedDisk(), []
    disk.on_crash = lambda: heard.append("crash")
    disk.crash()
    assert heard == ["crash"]
    assert disk.crashed


def test_locks_end_with_the_life_that_held_them() -> None:
    disk = SimulatedDisk()
    stale = disk.mount().lock("lock")
    disk.crash("kill")
    fresh = disk.mount().lock("lock")
    stale.release()
    with pytest.raises(Exception, match=r"storage\.locked"):
        disk.mount().lock("lock")
    fresh.release()
