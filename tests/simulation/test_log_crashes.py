"""The log over crashes at every write: nothing acknowledged is lost or doubled, and the log never forks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk, SimulatedStorage
from holdfast.core import merkle, notes, tiles
from holdfast.core.tiles import ENTRIES, Tile
from holdfast.errors import HoldfastError
from holdfast.nodes.log.entries import parse_entry
from holdfast.nodes.log.service import LogService, Offload, run_inline
from holdfast.ports.storage import Lock, Storage
from tests.helpers import crashes
from tests.helpers import log as helper
from tests.helpers.clock import FakeClock
from tests.helpers.log import commitment, entry


def make_log(storage: Storage, offload: Offload = run_inline) -> LogService:
    """A log with segments so small that old ones are dropped all the time."""
    return helper.make_service(storage, FakeClock(), helper.config(segment_bytes=4096), offload=offload)


class Promises:
    """What the log has told the outside, and the checks that it kept to it."""

    def __init__(self) -> None:
        self.acknowledged: dict[bytes, int] = {}
        """Entry to the index it was acknowledged with."""
        self.published: dict[int, bytes] = {0: merkle.EMPTY_ROOT}
        """Size to root of every checkpoint that anybody could have read."""

    def acknowledge(self, raw: bytes, index: int | None) -> None:
        assert index is not None
        assert self.acknowledged.setdefault(raw, index) == index

    def see(self, service: LogService) -> None:
        """A reader looks at the published checkpoint."""
        try:
            raw = service.checkpoint()
        except HoldfastError:
            return
        found = notes.verify_checkpoint(raw, helper.ORIGIN, helper.log_keys())
        assert self.published.setdefault(found.size, found.root) == found.root, "two roots for one size"

    def check(self, service: LogService) -> None:
        """Everything promised is there, once, in one history."""
        self.see(service)
        entries = read_all(service)
        leaves = [merkle.leaf_hash(raw) for raw in entries]
        assert len(entries) >= max(self.published), "a published checkpoint was taken back"
        for size, root in self.published.items():
            assert merkle.root(leaves[:size]) == root, f"the history before {size} has changed"
        digests = [parse_entry(raw).digest for raw in entries]
        assert len(set(digests)) == len(digests), "an entry is there twice"
        for raw, index in self.acknowledged.items():
            assert entries[index] == raw, f"entry {index} was acknowledged and is lost"
            assert service.index_of(parse_entry(raw).digest.hex()) == index


def read_all(service: LogService) -> list[bytes]:
    signed = service.signed
    assert signed is not None
    found = []
    for index in range(-(-signed.size // tiles.WIDTH)):
        tile = Tile(ENTRIES, index, tiles.width_at(ENTRIES, index, signed.size))
        found += tiles.parse_bundle(service.tile(tile.path), tile.width)
    return found


class Writer:
    """A writer that sends new entries, and old ones again."""

    def __init__(self, chance: random.Random, promises: Promises) -> None:
        self._chance = chance
        self._promises = promises
        self._sent: list[bytes] = []

    def choose(self) -> list[bytes]:
        batch = []
        for _ in range(self._chance.choice((1, 1, 2, 5, 60))):
            if self._sent and self._chance.random() < 0.2:
                batch.append(self._chance.choice(self._sent))
            else:
                make = commitment if self._chance.random() < 0.2 else entry
                batch.append(make(len(self._sent)))
                self._sent.append(batch[-1])
        return batch

    async def write(self, service: LogService) -> None:
        batch = self.choose()
        for raw, result in zip(batch, await service.append(batch), strict=True):
            self._promises.acknowledge(raw, result.index)

    async def work(self, service: LogService) -> None:
        """Some turns of writing, alone and together, and publishing."""
        for _ in range(self._chance.randint(1, 6)):
            if self._chance.random() < 0.5:
                await asyncio.gather(*(self.write(service) for _ in range(self._chance.randint(1, 4))))
            else:
                await self.write(service)
            if self._chance.random() < 0.6:
                await service.publish()
                self._promises.see(service)


@pytest.mark.parametrize("seed", crashes.seeds())
def test_no_acknowledged_entry_is_lost_or_doubled_and_the_log_never_forks(seed: int) -> None:
    story, promises = crashes.Story(seed), Promises()
    writer = Writer(story.chance, promises)

    async def life(storage: Storage) -> None:
        service = make_log(storage)
        try:
            await service.open()
            promises.check(service)
            await writer.work(service)
            if story.chance.random() < 0.3:
                await service.close()
        finally:
            promises.see(service)

    async def last(storage: Storage) -> None:
        service = make_log(storage)
        await service.open()
        promises.check(service)
        await writer.work(service)
        await service.publish()
        promises.check(service)

    for _ in range(4):
        story.live(life)
    story.live(last, crash=False)


def test_a_crash_at_every_single_write_of_one_life() -> None:
    """One fixed life, cut at its first, second, … write until it is not cut any more, by power and by kill."""
    step = crashes.stride(400)
    for kind in ("power", "kill"):
        at = 1
        while True:
            story, promises = crashes.Story(at), Promises()
            story.live(_fixed_life(promises), at=10_000)
            cut_short = story.live(_fixed_life(promises, 400), at=at, kind="power" if kind == "power" else "kill")
            story.live(_checking_life(promises), crash=False)
            if not cut_short:
                break
            at += step
        assert at > 20


def _fixed_life(promises: Promises, begin: int = 0) -> crashes.Life:
    async def life(storage: Storage) -> None:
        service = make_log(storage)
        try:
            await service.open()
            for first in range(begin, begin + 300, 100):
                batch = [entry(number) for number in range(first, first + 100)]
                for raw, result in zip(batch, await service.append(batch), strict=True):
                    promises.acknowledge(raw, result.index)
                await service.publish()
                promises.see(service)
            await service.close()
        finally:
            promises.see(service)

    return life


def _checking_life(promises: Promises) -> crashes.Life:
    async def life(storage: Storage) -> None:
        service = make_log(storage)
        await service.open()
        promises.check(service)

    return life


@pytest.mark.parametrize("seed", crashes.seeds())
def test_a_disk_that_fails_once_costs_no_acknowledged_entry(seed: int) -> None:
    story, promises = crashes.Story(seed), Promises()
    writer = Writer(story.chance, promises)

    async def life(storage: Storage) -> None:
        service = make_log(storage)
        story.disk.fail_after(story.chance.randint(1, 60))
        try:
            await service.open()
            await writer.work(service)
        except HoldfastError as error:
            assert error.code in {"log.stopped", "storage.failed", "wal.stopped"}  # noqa: PT017
        finally:
            promises.see(service)

    for _ in range(3):
        story.live(life, at=10_000)
    story.live(_checking_life(promises), crash=False)


class _NoLock:
    def release(self) -> None:
        """Nothing was held."""


class _UnlockedStorage(SimulatedStorage):
    """A file system whose locks do not exclude anybody."""

    def lock(self, name: str) -> Lock:  # type: ignore[override]
        del name
        return _NoLock()


@pytest.mark.parametrize("seed", crashes.seeds())
def test_two_sequencers_without_locks_never_publish_two_histories(seed: int) -> None:
    chance, disk, promises = random.Random(f"two {seed}"), SimulatedDisk(seed), Promises()
    writer = Writer(chance, promises)

    async def slow(call: Callable[[], None]) -> None:
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(0)
        call()

    async def sequence(delay: int) -> LogService:
        for _ in range(delay):
            await asyncio.sleep(0)
        service = make_log(_UnlockedStorage(disk, 0), offload=slow)
        try:
            await service.open()
            for _ in range(12):
                await writer.write(service)
                promises.see(service)
                await service.publish()
                promises.see(service)
        except HoldfastError as error:
            assert error.code in {"log.stopped", "log.fenced", "log.state", "wal.corrupt", "storage.missing"}  # noqa: PT017
        promises.see(service)
        return service

    async def scenario() -> None:
        await asyncio.gather(*_together(sequence, chance))

    asyncio.run(scenario())
    sizes = sorted(promises.published)
    assert sizes
    asyncio.run(_check_survivor(disk, promises))


def _together(sequence: Callable[[int], Awaitable[LogService]], chance: random.Random) -> list[Awaitable[LogService]]:
    return [sequence(0), sequence(chance.randint(1, 60))]


async def _check_survivor(disk: SimulatedDisk, promises: Promises) -> None:
    """A third sequencer either finds one history that holds every promise, or refuses to go on."""
    service = make_log(_UnlockedStorage(disk, 0))
    try:
        await service.open()
    except HoldfastError as error:
        assert error.code == "log.state"  # noqa: PT017
        return
    promises.check(service)
