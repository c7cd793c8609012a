"""The sequencer: refusals first, then order, durability, tiles, checkpoints and recovery."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.storage_simulated import SimulatedDisk, SimulatedStorage
from holdfast.adapters.wal import WriteAheadLog
from holdfast.core import merkle, notes, tiles
from holdfast.core.encoding import sha256_hex
from holdfast.core.tiles import ENTRIES, Tile
from holdfast.errors import ConflictError, HoldfastError, MalformedError, UnavailableError, UsageError
from holdfast.nodes.log.service import ENTRIES_KIND, LogService
from tests.helpers import log as helper
from tests.helpers.clock import FakeClock, settle
from tests.helpers.log import commitment, digest, entry


def run(
    scenario: Callable[[LogService], Awaitable[None]], disk: SimulatedDisk | None = None, **settings: object
) -> None:
    async def life() -> None:
        service = helper.make_service((disk or SimulatedDisk()).mount(), FakeClock(), helper.config(**settings))
        await service.open()
        try:
            await scenario(service)
        finally:
            await service.close()

    asyncio.run(life())


def published(service: LogService) -> notes.VerifiedCheckpoint:
    return notes.verify_checkpoint(service.checkpoint(), helper.ORIGIN, helper.log_keys())


def stored_entries(service: LogService) -> list[bytes]:
    size = published(service).size
    found = []
    for index in range(-(-size // tiles.WIDTH)):
        tile = Tile(ENTRIES, index, tiles.width_at(ENTRIES, index, size))
        found += tiles.parse_bundle(service.tile(tile.path), tile.width)
    return found


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "json.syntax"),
        (b"{}", "envelope.fields"),
        (b"x" * 65_536, "log.entry_size"),
        (entry(1) + b" ", "json.spelling"),
        (entry(1).replace(b"in-toto", b"in-tata"), "envelope.fields"),
        (commitment(1).replace(b'"type"', b'"typo"'), "commitment.fields"),
        (b'{"commitment":"00","type":"urn:holdfast:commitment:v1"}', "encoding.hex"),
    ],
)
def test_what_is_no_entry_gets_no_index(raw: bytes, code: str) -> None:
    async def scenario(service: LogService) -> None:
        results = await service.append([entry(0), raw, entry(2)])
        assert [result.index for result in results] == [0, None, 1]
        assert results[1].error is not None
        assert results[1].error.code == code
        assert results[1].to_json()["error"]["code"] == code

    run(scenario)


def test_a_second_sequencer_is_locked_out() -> None:
    disk = SimulatedDisk()

    async def scenario(_: LogService) -> None:
        with pytest.raises(ConflictError, match=r"storage\.locked"):
            await helper.make_service(disk.mount(), FakeClock()).open()

    run(scenario, disk)


def test_a_sequencer_whose_epoch_has_passed_acknowledges_and_signs_nothing() -> None:
    disk = SimulatedDisk()

    async def scenario() -> None:
        stale = helper.make_service(disk.mount(), FakeClock())
        await stale.open()
        await stale.append([entry(0)])
        await stale.publish()
        disk.mount().remove("lock")
        disk.release_lock("lock", 1)  # a file system that forgets locks
        fresh = helper.make_service(disk.mount(), FakeClock())
        await fresh.open()
        before = disk.content("signed")
        with pytest.raises(UnavailableError, match=r"log\.stopped"):
            await stale.append([entry(1)])
        with pytest.raises(UnavailableError, match=r"log\.stopped"):
            await stale.publish()
        assert "taken over" in stale.waiting_for()["storage"]
        assert disk.content("signed") == before
        assert [result.index for result in await fresh.append([entry(2)])] == [1]
        await fresh.publish()
        assert stored_entries(fresh) == [entry(0), entry(2)]

    asyncio.run(scenario())


def test_a_checkpoint_that_somebody_else_signed_stops_the_sequencer() -> None:
    disk = SimulatedDisk()

    async def scenario(service: LogService) -> None:
        await service.append([entry(0)])
        other = notes.Checkpoint(helper.ORIGIN, 7, bytes(32))
        disk.mount().save("signed", notes.sign_checkpoint(other, service.key, helper.LOG_KEY.sign))
        with pytest.raises(UnavailableError, match=r"log\.stopped"):
            await service.publish()
        assert published(service).size == 0

    run(scenario, disk)


def test_a_failing_disk_stops_writing_and_not_reading() -> None:
    disk = SimulatedDisk()

    async def scenario(service: LogService) -> None:
        await service.append([entry(0)])
        await service.publish()
        disk.fail_after(1, for_good=True)
        results = await asyncio.gather(
            *(service.append([entry(number)]) for number in range(1, 4)), return_exceptions=True
        )
        assert [getattr(result, "code", None) for result in results] == ["log.stopped"] * 3
        with pytest.raises(UnavailableError, match=r"log\.stopped"):
            await service.append([entry(9)])
        assert published(service).size == 1
        assert service.tile("tile/entries/000.p/1") == tiles.encode_bundle([entry(0)])
        with pytest.raises(UsageError, match=r"log\.unknown_digest"):
            service.index_of(digest(1))

    run(scenario, disk)


def test_limits_are_refused_before_anything_is_sequenced() -> None:
    async def scenario(service: LogService) -> None:
        with pytest.raises(UsageError, match=r"log\.request_entries"):
            await service.append([entry(number) for number in range(4)])
        await service.append([entry(number) for number in range(3)])
        with pytest.raises(UnavailableError, match=r"log\.busy"):
            await service.append([entry(number) for number in range(3, 6)])
        await service.publish()
        assert [result.index for result in await service.append([entry(7)])] == [3]
        with pytest.raises(UsageError, match=r"log\.blob_size"):
            await service.put_blob(bytes(1025))

    run(scenario, request_entries=3, backlog_entries=5, blob_bytes=1024)


def test_a_log_that_is_not_open_answers_that_it_is_starting() -> None:
    async def scenario() -> None:
        service = helper.make_service(SimulatedDisk().mount(), FakeClock())
        assert service.waiting_for() == {"log": "no checkpoint yet"}
        with pytest.raises(UnavailableError, match=r"log\.starting"):
            await service.append([entry(0)])
        with pytest.raises(UnavailableError, match=r"log\.starting"):
            service.checkpoint()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "path", ["tile/0/000", "tile/0/000.p/2", "tile/0/001.p/1", "tile/1/000.p/1", "tile/entries/000.p/4", "tile/9/x/0"]
)
def test_a_tile_that_no_checkpoint_covers_is_not_served(path: str) -> None:
    async def scenario(service: LogService) -> None:
        await service.append([entry(number) for number in range(3)])
        await service.publish()
        with pytest.raises(UsageError) as caught:
            service.tile(path)
        assert caught.value.status == 404

    run(scenario)


def test_unknown_digests_and_blobs_are_not_found() -> None:
    async def scenario(service: LogService) -> None:
        with pytest.raises(UsageError, match=r"log\.unknown_digest"):
            service.index_of("00" * 32)
        with pytest.raises(MalformedError, match=r"encoding\.hex"):
            service.index_of("00")
        with pytest.raises(UsageError, match=r"log\.no_blob"):
            await service.blob("00" * 32)
        with pytest.raises(MalformedError, match=r"encoding\.hex"):
            await service.blob("../signed")

    run(scenario)


@pytest.mark.parametrize("damaged", ["epoch", "signed", "public/tile/0/000.p/3", "public/tile/entries/000.p/3"])
def test_damaged_state_is_not_built_upon(damaged: str) -> None:
    disk = SimulatedDisk()

    async def scenario(service: LogService) -> None:
        await service.append([entry(number) for number in range(3)])

    run(scenario, disk)
    disk.damage(damaged, 1, b"\x00")
    with pytest.raises(HoldfastError) as caught:
        run(scenario, disk)
    assert caught.value.code in {"log.state", "note.control", "tile.bundle", "json.syntax"}


@pytest.mark.parametrize("missing", ["public/tile/0/000.p/3", "public/tile/entries/000.p/3"])
def test_missing_tiles_are_not_built_upon(missing: str) -> None:
    disk = SimulatedDisk()

    async def scenario(service: LogService) -> None:
        await service.append([entry(number) for number in range(3)])

    run(scenario, disk)
    disk.mount().remove(missing)
    with pytest.raises(MalformedError, match=r"log\.state"):
        run(scenario, disk)


def test_entries_get_consecutive_indices_and_are_found_again() -> None:
    async def scenario(service: LogService) -> None:
        results = await service.append([entry(0), commitment(0), entry(1)])
        assert [result.index for result in results] == [0, 1, 2]
        assert results[0].to_json() == {"digest": digest(0), "index": 0}
        assert results[1].digest == sha256_hex(commitment(0))
        assert service.index_of(digest(1)) == 2
        assert published(service).size == 0
        await service.publish()
        assert published(service).size == 3
        assert stored_entries(service) == [entry(0), commitment(0), entry(1)]

    run(scenario)


def test_the_same_statement_is_sequenced_once() -> None:
    disk = SimulatedDisk()
    resigned = entry(1).replace(b'"sig":"', b'"sig":"AAAA')

    async def first(service: LogService) -> None:
        results = await service.append([entry(1), entry(1), resigned])
        assert [result.index for result in results] == [0, 0, 0]
        again = await asyncio.gather(service.append([entry(2), entry(1)]), service.append([entry(2)]))
        assert [[result.index for result in results] for results in again] == [[1, 0], [1]]

    async def second(service: LogService) -> None:
        assert [result.index for result in await service.append([entry(2), entry(1), entry(3)])] == [1, 0, 2]
        await service.publish()
        assert stored_entries(service) == [entry(1), entry(2), entry(3)]

    run(first, disk)
    run(second, disk)


def test_sequenced_entries_without_a_checkpoint_survive_a_restart() -> None:
    disk = SimulatedDisk()

    async def scenario() -> None:
        service = helper.make_service(disk.mount(), FakeClock())
        await service.open()
        await service.append([entry(0)])
        await service.publish()
        await service.append([entry(1), entry(2)])
        disk.crash("kill")
        again = helper.make_service(disk.mount(), FakeClock())
        await again.open()
        assert published(again).size == 3
        assert again.index_of(digest(2)) == 2
        await again.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("sizes", [[1] * 5, [255, 1, 1], [256, 256], [300, 300, 5], [1, 600]])
def test_every_checkpoint_has_its_tiles_and_extends_the_last(sizes: list[int]) -> None:
    disk = SimulatedDisk()
    seen: list[notes.VerifiedCheckpoint] = []

    async def scenario(service: LogService) -> None:
        done = published(service).size
        count = sizes[len(seen) - 1] if seen else 0
        for begin in range(done, done + count, 100):
            end = min(begin + 100, done + count)
            await service.append([entry(number) for number in range(begin, end)])
        await service.publish()
        now = published(service)
        leaves = [merkle.leaf_hash(raw) for raw in stored_entries(service)]
        assert (len(leaves), merkle.root(leaves)) == (now.size, now.root)
        for old in seen:
            notes.verify_extension(old, now, service.consistency_proof(old.size, now.size))
        for index in {0, now.size // 2, now.size - 1} & set(range(now.size)):
            ranges = merkle.inclusion_ranges(index, now.size)
            made = {
                tile: tiles.parse_hashes(service.tile(tile.path), tile.width)
                for tile in tiles.tiles_for(ranges, now.size)
            }
            proof = tiles.hashes_from(ranges, now.size, made)
            merkle.verify_inclusion(leaves[index], index, now.size, proof, now.root)
        seen.append(now)

    for _ in range(len(sizes) + 1):
        run(scenario, disk)


def test_partial_tiles_go_when_the_full_one_is_there() -> None:
    disk = SimulatedDisk()

    async def scenario(service: LogService) -> None:
        for begin in (0, 100, 200):
            await service.append([entry(number) for number in range(begin, begin + 100)])
            await service.publish()
        partial = [name for name in disk.names() if ".p/" in name]
        assert "public/tile/0/000" in disk.names()
        assert [name for name in partial if "/0/000.p/" in name or "entries/000.p/" in name] == []
        assert "public/tile/0/001.p/44" in partial

    run(scenario, disk)


def test_lost_digest_files_are_made_again_from_bundles() -> None:
    disk = SimulatedDisk()

    async def grow(service: LogService) -> None:
        begin = service.describe()["sequenced"]
        for first in range(begin, begin + 4500, 900):
            await service.append([entry(number) for number in range(first, first + 900)])

    async def look(service: LogService) -> None:
        for index in (0, 255, 256, 4095, 4096, 8999):
            assert service.index_of(digest(index)) == index

    run(grow, disk)
    assert [name for name in disk.names() if name.startswith("keys/")] == ["keys/000"]
    run(grow, disk)
    run(look, disk)
    disk.mount().remove("keys/000")
    disk.mount().save("keys/001", b"short")
    run(look, disk)


def test_write_ahead_records_are_forgotten_once_their_entries_are_under_a_checkpoint() -> None:
    disk = SimulatedDisk()

    async def scenario(service: LogService) -> None:
        for begin in range(0, 1200, 100):
            await service.append([entry(number, 500) for number in range(begin, begin + 100)])
            await service.publish()
        assert len([name for name in disk.names() if name.startswith("wal/")]) <= 3

    run(scenario, disk)


def test_a_window_or_enough_entries_bring_a_checkpoint() -> None:
    clock = FakeClock()

    async def scenario() -> None:
        service = helper.make_service(SimulatedDisk().mount(), clock, helper.config(window_ms=200, batch_entries=3))
        async with service.running():
            await service.append([entry(0)])
            await settle()
            await clock.advance(0.19)
            assert published(service).size == 0
            await clock.advance(0.01)
            assert published(service).size == 1
            await service.append([entry(1), entry(2), entry(3)])
            await settle()
            assert published(service).size == 4
            await service.append([entry(4)])
        assert published(service).size == 5

    asyncio.run(scenario())


def test_on_a_quiet_log_an_entry_waits_for_its_neighbours_only() -> None:
    clock = FakeClock()

    async def scenario() -> None:
        service = helper.make_service(SimulatedDisk().mount(), clock, helper.config(window_ms=200))
        async with service.running():
            await clock.advance(5)
            await service.append([entry(0)])
            await settle()
            await clock.advance(0.01)
            assert published(service).size == 1
            await service.append([entry(1)])
            await settle()
            await clock.advance(0.15)
            assert published(service).size == 1
            await clock.advance(0.05)
            assert published(service).size == 2

    asyncio.run(scenario())


def test_a_cancelled_writer_leaves_the_order_intact() -> None:
    async def scenario(service: LogService) -> None:
        given_up = asyncio.ensure_future(service.append([entry(0)]))
        await asyncio.sleep(0)
        given_up.cancel()
        assert [result.index for result in await service.append([entry(1)])] == [1]
        await service.publish()
        assert stored_entries(service) == [entry(0), entry(1)]

    run(scenario)


def test_blobs_are_kept_by_their_digest() -> None:
    async def scenario(service: LogService) -> None:
        name = await service.put_blob(b"disclosed")
        assert name == sha256_hex(b"disclosed")
        assert await service.put_blob(b"disclosed") == name
        assert await service.blob(name) == b"disclosed"

    run(scenario)


def test_a_log_says_what_it_is() -> None:
    async def scenario(service: LogService) -> None:
        await service.append([entry(0)])
        assert service.describe() == {
            "origin": helper.ORIGIN,
            "key": str(service.key),
            "published": 0,
            "sequenced": 1,
            "witnesses": [],
        }
        assert service.waiting_for() == {}

    run(scenario)


def test_tiles_that_are_not_what_was_signed_are_not_built_upon() -> None:
    disk = SimulatedDisk()

    async def first(service: LogService) -> None:
        await service.append([entry(number) for number in range(256)])

    run(first, disk)
    disk.damage("public/tile/1/000.p/1", 0, b"\x00\x00\x00\x00")
    with pytest.raises(MalformedError, match=r"log\.state"):
        run(first, disk)


@pytest.mark.parametrize(
    ("kind", "payload"), [(9, b""), (ENTRIES_KIND, (5).to_bytes(8) + tiles.encode_bundle([entry(5)]))]
)
def test_strange_records_are_not_built_upon(kind: int, payload: bytes) -> None:
    disk = SimulatedDisk()
    log = WriteAheadLog(disk.mount(), "wal", 1 << 18)
    log.append(kind, payload)
    log.close()

    async def nothing(_: LogService) -> None:
        raise AssertionError

    with pytest.raises(MalformedError, match=r"log\.state"):
        run(nothing, disk)


def test_an_unexpected_failure_of_publishing_stops_writing() -> None:
    clock = FakeClock()

    async def broken(_: Callable[[], None]) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        service = helper.make_service(SimulatedDisk().mount(), clock)
        async with service.running():
            service._offload = broken
            await service.append([entry(0)])
            await settle()
            await clock.advance(1)
            with pytest.raises(UnavailableError, match=r"log\.stopped"):
                await service.append([entry(1)])
            assert "ZeroDivisionError" in service.waiting_for()["storage"]

    asyncio.run(scenario())


def test_a_failing_publication_ends_the_publisher_and_readiness() -> None:
    clock, disk = FakeClock(), SimulatedDisk()

    async def scenario() -> None:
        service = helper.make_service(disk.mount(), clock)
        async with service.running():
            await service.append([entry(0)])
            await settle()
            disk.fail_after(1, for_good=True)
            await clock.advance(1)
            assert service.waiting_for().keys() == {"storage"}
            assert published(service).size == 0

    asyncio.run(scenario())


def test_partial_tiles_that_cannot_be_removed_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    remove = SimulatedStorage.remove

    def refuse(storage: SimulatedStorage, name: str) -> None:
        if ".p/" in name and not name.endswith(".tmp"):
            raise UnavailableError("storage.failed", name)
        remove(storage, name)

    async def scenario(service: LogService) -> None:
        await service.append([entry(number) for number in range(255)])
        await service.publish()
        await service.append([entry(255)])
        await service.publish()
        assert service.waiting_for() == {}
        assert published(service).size == 256

    monkeypatch.setattr(SimulatedStorage, "remove", refuse)
    run(scenario)


def test_a_proof_from_tiles_that_are_gone_is_unavailable() -> None:
    disk = SimulatedDisk()

    async def scenario(service: LogService) -> None:
        await service.append([entry(number) for number in range(300)])
        await service.publish()
        assert len(service.consistency_proof(100, 200)) > 0
        disk.mount().remove("public/tile/0/000")
        with pytest.raises(UnavailableError, match=r"log\.state"):
            service.consistency_proof(100, 200)

    run(scenario, disk)


def test_a_failed_start_lets_the_next_one_in() -> None:
    disk = SimulatedDisk()

    async def scenario(service: LogService) -> None:
        await service.append([entry(0)])

    run(scenario, disk)
    kept = disk.content("signed")
    disk.mount().save("signed", b"nonsense")
    with pytest.raises(MalformedError, match=r"note\.structure"):
        run(scenario, disk)
    disk.mount().save("signed", kept)
    run(scenario, disk)


def open_files() -> int:
    """Open file descriptors of this process; portable, unlike ``/proc``."""
    found = 0
    for descriptor in range(512):
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            found += 1
    return found


def test_a_life_leaves_no_open_files(tmp_path: Path) -> None:
    async def life() -> None:
        service = helper.make_service(FileStorage(tmp_path), FakeClock())
        async with service.running():
            await service.append([entry(number) for number in range(300)])
            await service.put_blob(b"blob")
            await service.publish()
            assert len(service.tile("tile/0/000")) == 8192

    asyncio.run(life())
    before = open_files()
    for _ in range(3):
        asyncio.run(life())
    assert open_files() == before
