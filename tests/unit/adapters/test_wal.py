"""The write-ahead log and group commit: what may be cut, what may never be, and who is told."""

import asyncio
from pathlib import Path

import pytest

from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.storage_simulated import SimulatedCrash, SimulatedDisk
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.errors import MalformedError, UnavailableError, UsageError
from holdfast.ports.storage import RECORD_OVERHEAD_BYTES

HEADER = 28


def filled(disk: SimulatedDisk, payloads: list[bytes], segment_bytes: int = 4096) -> WriteAheadLog:
    log = WriteAheadLog(disk.mount(), "wal", segment_bytes)
    for payload in payloads:
        log.append(1, payload)
        log.sync()
    return log


def payloads(log: WriteAheadLog, after: int = 0) -> list[bytes]:
    return [record.payload for record in log.records(after)]


def newest(disk: SimulatedDisk) -> str:
    return disk.names()[-1]


def test_damage_before_the_durable_tail_is_an_error() -> None:
    disk = SimulatedDisk()
    filled(disk, [b"first", b"second", b"third"])
    disk.damage(newest(disk), HEADER + RECORD_OVERHEAD_BYTES + 1, b"X")
    with pytest.raises(MalformedError, match=r"wal\.corrupt"):
        WriteAheadLog(disk.mount(), "wal", 4096)


def test_damage_in_an_older_segment_is_an_error() -> None:
    disk = SimulatedDisk()
    filled(disk, [b"first", b"second"]).close()
    damaged = newest(disk)
    log = WriteAheadLog(disk.mount(), "wal", 4096)
    disk.damage(damaged, HEADER + 2 * RECORD_OVERHEAD_BYTES + 6, b"X")
    with pytest.raises(MalformedError, match=r"wal\.corrupt"):
        payloads(log)
    disk.damage(damaged, HEADER, bytes(4096))
    with pytest.raises(MalformedError, match=r"wal\.corrupt"):
        payloads(log)


def test_a_damaged_header_above_records_is_an_error() -> None:
    disk = SimulatedDisk()
    filled(disk, [b"first"])
    disk.damage(newest(disk), 3, b"X")
    with pytest.raises(MalformedError, match=r"wal\.corrupt"):
        WriteAheadLog(disk.mount(), "wal", 4096)


def test_a_damaged_header_of_an_older_segment_is_an_error() -> None:
    disk = SimulatedDisk()
    filled(disk, [b"first"]).close()
    damaged = newest(disk)
    WriteAheadLog(disk.mount(), "wal", 4096).close()
    disk.damage(damaged, 3, b"X")
    with pytest.raises(MalformedError, match=r"wal\.corrupt"):
        WriteAheadLog(disk.mount(), "wal", 4096)


def test_a_missing_segment_in_the_middle_is_an_error() -> None:
    disk = SimulatedDisk()
    log = filled(disk, [bytes(40)] * 10, segment_bytes=200)
    names = disk.names()
    assert len(names) > 3
    disk.mount().remove(names[1])
    with pytest.raises(MalformedError, match=r"wal\.corrupt"):
        payloads(WriteAheadLog(disk.mount(), "wal", 200))
    log.close()


def test_reading_what_was_dropped_is_an_error() -> None:
    disk = SimulatedDisk()
    log = filled(disk, [bytes([count]) * 40 for count in range(10)], segment_bytes=200)
    positions = [record.position for record in log.records()]
    log.drop_before(positions[4])
    with pytest.raises(UsageError, match=r"wal\.dropped"):
        payloads(log)
    assert payloads(log, positions[4]) == [bytes([count]) * 40 for count in range(5, 10)]
    again = WriteAheadLog(disk.mount(), "wal", 200)
    assert payloads(again, positions[6]) == [bytes([count]) * 40 for count in range(7, 10)]
    assert again.end == positions[-1]


def test_a_record_larger_than_a_segment_is_refused() -> None:
    log = WriteAheadLog(SimulatedDisk().mount(), "wal", 200)
    assert log.append(1, bytes(log.max_payload_bytes)) == 200 - HEADER
    with pytest.raises(UsageError, match=r"wal\.record_size"):
        log.append(1, bytes(log.max_payload_bytes + 1))
    with pytest.raises(UsageError, match=r"wal\.segment_size"):
        WriteAheadLog(SimulatedDisk().mount(), "wal", 30)


def test_after_a_failed_sync_nothing_is_accepted() -> None:
    disk = SimulatedDisk()
    log = filled(disk, [b"first"])
    log.append(1, b"second")
    disk.fail_after(2)
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"wal\.stopped"):
            log.sync()
    with pytest.raises(UnavailableError, match=r"wal\.stopped"):
        log.append(1, b"third")
    log.close()


def test_a_failed_new_segment_stops_the_log() -> None:
    disk = SimulatedDisk()
    log = filled(disk, [bytes(100)], segment_bytes=200)
    disk.fail_after(1)
    with pytest.raises(UnavailableError, match=r"wal\.stopped"):
        log.append(1, bytes(100))
    with pytest.raises(UnavailableError, match=r"wal\.stopped"):
        log.sync()


def test_a_torn_tail_is_cut() -> None:
    for seed in range(200):
        disk = SimulatedDisk(seed)
        log = filled(disk, [b"first", b"second"])
        for count in range(4):
            log.append(1, bytes([count]) * 700)
        disk.crash_after(1 + seed % 2)
        with pytest.raises(SimulatedCrash):
            log.sync()
        again = payloads(WriteAheadLog(disk.mount(), "wal", 4096))
        assert again[:2] == [b"first", b"second"]
        assert again[2:] == [bytes([count]) * 700 for count in range(len(again) - 2)]


def test_what_one_recovery_showed_no_later_crash_takes_away() -> None:
    for seed in range(100):
        disk = SimulatedDisk(seed)
        log = filled(disk, [b"first"])
        log.append(1, b"second")
        disk.crash_after(2, "kill")
        with pytest.raises(SimulatedCrash):
            log.sync()
        assert payloads(WriteAheadLog(disk.mount(), "wal", 4096)) == [b"first", b"second"]
        disk.crash("power")
        assert payloads(WriteAheadLog(disk.mount(), "wal", 4096)) == [b"first", b"second"]


def test_an_unfinished_segment_is_removed() -> None:
    for operation in range(1, 12):
        for seed in range(20):
            disk = SimulatedDisk(seed)
            filled(disk, [b"first"]).close()
            disk.crash_after(operation)
            try:
                log = WriteAheadLog(disk.mount(), "wal", 4096)
                log.append(1, b"second")
                log.sync()
                log.append(1, b"third")
                log.sync()
            except SimulatedCrash:
                log = WriteAheadLog(disk.mount(), "wal", 4096)
            seen = payloads(log)
            assert seen == [b"first", b"second", b"third"][: len(seen)]
            assert seen


def test_bytes_in_flight_to_an_old_segment_never_become_records() -> None:
    disk = SimulatedDisk()
    stale = filled(disk, [b"first"])
    fresh = WriteAheadLog(disk.mount(), "wal", 4096)
    stale.append(1, b"from the dead")
    stale.sync()
    fresh.append(1, b"second")
    fresh.sync()
    assert payloads(fresh) == [b"first", b"second"]
    assert payloads(WriteAheadLog(disk.mount(), "wal", 4096)) == [b"first", b"second"]


def test_positions_grow_and_survive(tmp_path: Path) -> None:
    log = WriteAheadLog(FileStorage(tmp_path), "wal", 4096)
    positions = [log.append(count % 256, bytes([count % 256]) * (count * 7 % 300)) for count in range(400)]
    assert list(log.records()) == list(log.records(0))
    log.sync()
    assert positions == sorted(set(positions))
    assert (log.end, log.durable) == (positions[-1], positions[-1])
    log.close()
    again = WriteAheadLog(FileStorage(tmp_path), "wal", 4096)
    records = list(again.records())
    assert [record.position for record in records] == positions
    assert [record.kind for record in records] == [count % 256 for count in range(400)]
    assert [record.payload for record in again.records(positions[299])] == [
        bytes([count % 256]) * (count * 7 % 300) for count in range(300, 400)
    ]
    assert again.end == positions[-1]
    again.close()


def test_openings_leave_no_empty_segments_behind(tmp_path: Path) -> None:
    for _ in range(5):
        WriteAheadLog(FileStorage(tmp_path), "wal", 4096).close()
    assert len(FileStorage(tmp_path).list_names("wal")) == 1


def test_files_that_are_no_segments_are_left_alone() -> None:
    disk = SimulatedDisk()
    disk.mount().save("wal/README", b"hello")
    disk.mount().save("wal/12.wal", b"hello")
    filled(disk, [b"first"]).close()
    assert payloads(WriteAheadLog(disk.mount(), "wal", 4096)) == [b"first"]


@pytest.mark.parametrize("mode", ["inline", "thread", "auto"])
def test_many_commits_share_syncs(tmp_path: Path, mode: str) -> None:
    async def scenario() -> None:
        committer = GroupCommit(WriteAheadLog(FileStorage(tmp_path), "wal"), mode=mode)  # type: ignore[arg-type]
        singles = await asyncio.gather(*(committer.commit(1, bytes([count])) for count in range(100)))
        several = await committer.commit_many([(2, b"a"), (3, b"b")])
        assert [*singles, *several] == sorted({*singles, *several})
        assert committer.end == several[-1]
        assert committer.average_us > 0
        assert await committer.commit_many([]) == []
        last = asyncio.ensure_future(committer.commit(4, b"last"))
        await asyncio.sleep(0)
        await committer.close()
        assert await last == committer.end
        with pytest.raises(UsageError, match=r"wal\.closed"):
            await committer.commit(1, b"late")

    asyncio.run(scenario())
    records = list(WriteAheadLog(FileStorage(tmp_path), "wal").records())
    assert [record.kind for record in records] == [1] * 100 + [2, 3, 4]


@pytest.mark.parametrize("mode", ["inline", "thread"])
def test_a_failed_disk_fails_every_waiter_and_all_later_commits(mode: str) -> None:
    disk = SimulatedDisk()

    async def scenario() -> None:
        committer = GroupCommit(WriteAheadLog(disk.mount(), "wal"), mode=mode)  # type: ignore[arg-type]
        await committer.commit(1, b"good")
        disk.fail_after(2)
        results = await asyncio.gather(*(committer.commit(1, b"bad") for _ in range(5)), return_exceptions=True)
        assert [getattr(result, "code", None) for result in results] == ["wal.stopped"] * 5
        with pytest.raises(UnavailableError, match=r"wal\.stopped"):
            await committer.commit(1, b"later")
        await committer.close()

    asyncio.run(scenario())


def test_a_record_too_large_fails_alone() -> None:
    async def scenario() -> None:
        committer = GroupCommit(WriteAheadLog(SimulatedDisk().mount(), "wal", 4096), mode="inline")
        with pytest.raises(UsageError, match=r"wal\.record_size"):
            await committer.commit(1, bytes(5000))
        assert await committer.commit(1, b"good") > 0

    asyncio.run(scenario())


def test_a_cancelled_waiter_disturbs_nobody() -> None:
    async def scenario() -> None:
        committer = GroupCommit(WriteAheadLog(SimulatedDisk().mount(), "wal"), mode="inline")
        given_up = asyncio.ensure_future(committer.commit(1, b"given up"))
        waiting = asyncio.ensure_future(committer.commit(1, b"waiting"))
        await asyncio.sleep(0)
        given_up.cancel()
        assert await waiting > 0

    asyncio.run(scenario())


def test_slow_syncs_move_to_the_thread() -> None:
    async def scenario() -> None:
        committer = GroupCommit(WriteAheadLog(SimulatedDisk().mount(), "wal"), mode="auto", inline_limit_us=0)
        for count in range(3):
            assert await committer.commit(1, bytes([count])) > 0
        first = asyncio.ensure_future(committer.commit(1, b"a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = asyncio.ensure_future(committer.commit(1, b"b"))
        assert await first < await second
        await committer.close()

    asyncio.run(scenario())


def test_a_crash_reaches_every_waiter() -> None:
    disk = SimulatedDisk()

    async def scenario() -> None:
        committer = GroupCommit(WriteAheadLog(disk.mount(), "wal"), mode="inline")
        disk.crash_after(1)
        with pytest.raises(SimulatedCrash):
            await committer.commit(1, b"x")

    asyncio.run(scenario())


def test_one_record_is_read_by_its_position() -> None:
    disk = SimulatedDisk()
    log = filled(disk, [bytes([count]) * 40 for count in range(10)], segment_bytes=200)
    starts = [0, *(record.position for record in log.records())]
    for count, start in enumerate(starts[:-1]):
        found = log.record_at(start)
        assert (found.position, found.kind, found.payload) == (starts[count + 1], 1, bytes([count]) * 40)
        assert start == found.position - RECORD_OVERHEAD_BYTES - len(found.payload)
    for wrong in (starts[1] + 1, starts[-1], starts[-1] + 100):
        with pytest.raises(MalformedError, match=r"wal\.corrupt"):
            log.record_at(wrong)
    log.drop_before(starts[5])
    with pytest.raises(UsageError, match=r"wal\.dropped"):
        log.record_at(starts[0])
    assert log.record_at(starts[8]).payload == bytes([8]) * 40


def test_reading_goes_on_behind_a_position() -> None:
    log = filled(SimulatedDisk(), [bytes([count]) * 40 for count in range(10)], segment_bytes=200)
    records = list(log.records())
    for count, record in enumerate(records):
        assert list(log.records(record.position)) == records[count + 1 :]
