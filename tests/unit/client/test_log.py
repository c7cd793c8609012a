"""The verifying reader against logs that lie, withhold, fork and forget; then against an honest one."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.client.log import LogClient, LogReader
from holdfast.core import merkle, notes, tiles
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError
from holdfast.nodes.edge import Message, Receive, Scope, Send
from holdfast.nodes.log.app import create_app
from holdfast.nodes.log.service import LogService
from holdfast.ports.http import Answer
from tests.helpers import log as helper
from tests.helpers.clock import FakeClock
from tests.helpers.log import AppHTTP, digest, entry

URL = "http://log"


class Log:
    """An honest log and a client; what the log answers may be tampered with by path."""

    def __init__(self, service: LogService) -> None:
        self.service = service
        self.lies: dict[str, Answer] = {}
        self._app = create_app(service)
        self.http = AppHTTP({URL: self._serve})
        self.reader = LogReader(self.http, URL)
        self.client = LogClient(self.reader, helper.ORIGIN, helper.log_keys())

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        lie = self.lies.get(scope["path"])
        if lie is None:
            await self._app(scope, receive, send)
            return
        start: Message = {"type": "http.response.start", "status": lie.status, "headers": []}
        await send(start)
        await send({"type": "http.response.body", "body": lie.body})

    async def grow(self, count: int) -> notes.VerifiedCheckpoint:
        begin = self.service.describe()["sequenced"]
        for first in range(begin, begin + count, 1000):
            await self.service.append([entry(number) for number in range(first, min(first + 1000, begin + count))])
        await self.service.publish()
        signed = self.service.signed
        assert signed is not None
        return signed

    def sign(self, size: int, root: bytes) -> Answer:
        checkpoint = notes.Checkpoint(helper.ORIGIN, size, root)
        return Answer(200, notes.sign_checkpoint(checkpoint, self.service.key, helper.LOG_KEY.sign))


def run(scenario: Callable[[Log], Awaitable[None]]) -> None:
    async def life() -> None:
        service = helper.make_service(SimulatedDisk().mount(), FakeClock())
        await service.open()
        await scenario(Log(service))

    asyncio.run(life())


def test_two_roots_for_one_size_are_reported_with_both_notes() -> None:
    async def scenario(log: Log) -> None:
        await log.grow(3)
        first = await log.client.latest()
        log.lies["/checkpoint"] = log.sign(3, bytes(32))
        with pytest.raises(notes.EquivocationError) as caught:
            await log.client.latest()
        assert caught.value.evidence == (first.raw, log.lies["/checkpoint"].body)
        assert log.client.known == first

    run(scenario)


def test_a_checkpoint_that_does_not_extend_the_known_one_is_refused() -> None:
    async def scenario(log: Log) -> None:
        await log.grow(3)
        await log.client.latest()
        await log.grow(300)
        log.lies["/checkpoint"] = log.sign(303, bytes(32))
        with pytest.raises(RefusedError, match=r"log\.consistency"):
            await log.client.latest()

    run(scenario)


def test_a_split_view_with_honest_tiles_of_its_own_is_refused() -> None:
    async def scenario(log: Log) -> None:
        await log.grow(5)
        known = await log.client.latest()
        other = helper.make_service(SimulatedDisk().mount(), FakeClock())
        await other.open()
        forked = Log(other)
        await other.append([entry(number) for number in (0, 1, 2, 99, 4, 5, 6)])
        await other.publish()
        forked.client.known = known
        with pytest.raises(RefusedError, match=r"log\.consistency"):
            await forked.client.latest()

    run(scenario)


def test_an_older_answer_does_not_move_the_known_checkpoint_back() -> None:
    async def scenario(log: Log) -> None:
        old = await log.grow(3)
        await log.client.latest()
        new = await log.grow(3)
        assert (await log.client.latest()).size == 6
        log.lies["/checkpoint"] = Answer(200, old.raw)
        assert (await log.client.latest()).raw == new.raw
        log.lies["/checkpoint"] = log.sign(3, bytes(32))
        with pytest.raises(RefusedError, match=r"log\.consistency"):
            await log.client.latest()

    run(scenario)


def test_a_withheld_tile_is_named() -> None:
    async def scenario(log: Log) -> None:
        checkpoint = await log.grow(300)
        log.lies["/tile/entries/000"] = Answer(404)
        log.lies["/tile/entries/001.p/44"] = Answer(404)
        for index in (0, 299):
            with pytest.raises(RefusedError, match=r"log\.withheld"):
                await log.client.entry(index, checkpoint)
        log.lies["/tile/0/000"] = Answer(404)
        with pytest.raises(RefusedError, match=r"log\.withheld"):
            await log.client.inclusion(3, checkpoint)

    run(scenario)


async def read_everything(client: LogClient, checkpoint: notes.VerifiedCheckpoint) -> None:
    await client.entries(0, checkpoint.size, checkpoint)
    for index in (0, checkpoint.size - 1):
        await client.inclusion(index, checkpoint)


@pytest.mark.parametrize("path", ["/tile/entries/000", "/tile/0/001.p/44", "/tile/1/000.p/1", "/tile/entries/001.p/44"])
def test_altered_tiles_are_refused(path: str) -> None:
    async def scenario(log: Log) -> None:
        checkpoint = await log.grow(300)
        honest = await log.http.request("GET", URL + path)
        for place in (0, 5, len(honest.body) // 2, len(honest.body) - 1):
            body = bytearray(honest.body)
            body[place] ^= 1
            log.lies[path] = Answer(200, bytes(body))
            reader = LogClient(LogReader(log.http, URL), helper.ORIGIN, helper.log_keys())
            with pytest.raises(HoldfastError) as caught:
                await read_everything(reader, checkpoint)
            assert caught.value.code in {"log.inclusion", "tile.bundle"}

    run(scenario)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(200, b"nonsense"), "note.structure"),
        (Answer(404), "log.unavailable"),
        (Answer(500, b"oops"), "log.unavailable"),
    ],
)
def test_an_answer_that_is_no_checkpoint_is_refused(answer: Answer, code: str) -> None:
    async def scenario(log: Log) -> None:
        log.lies["/checkpoint"] = answer
        with pytest.raises(HoldfastError) as caught:
            await log.client.latest()
        assert caught.value.code == code

    run(scenario)


def test_another_logs_key_is_not_accepted() -> None:
    async def scenario(log: Log) -> None:
        other = notes.VerifierKey(helper.ORIGIN, notes.ED25519, bytes(32))
        with pytest.raises(RefusedError, match=r"note\.unsigned"):
            await LogClient(log.reader, helper.ORIGIN, [other]).latest()

    run(scenario)


@pytest.mark.parametrize("body", [b"{}", b'{"index":-1}', b'{"index":true}', b'{"index":1.5}', b'{"index":"1"}'])
def test_an_index_is_a_number(body: bytes) -> None:
    async def scenario(log: Log) -> None:
        log.lies[f"/v1/index/{digest(0)}"] = Answer(200, body)
        with pytest.raises(MalformedError):
            await log.client.index_of(digest(0))

    run(scenario)


def test_nothing_outside_the_tree_is_asked_for() -> None:
    async def scenario(log: Log) -> None:
        checkpoint = await log.grow(3)
        for attempt in (log.client.inclusion(3, checkpoint), log.client.entries(2, 4, checkpoint)):
            with pytest.raises(RefusedError, match=r"log\.inclusion"):
                await attempt
        with pytest.raises(MalformedError, match=r"log\.index_range"):
            await log.reader.entries(2, 4, 3)
        old = await log.grow(1)
        with pytest.raises(RefusedError, match=r"log\.consistency"):
            await log.client.consistency(old, checkpoint)

    run(scenario)


def test_a_silent_log_is_unavailable() -> None:
    async def scenario() -> None:
        client = LogClient(LogReader(AppHTTP({}), URL), helper.ORIGIN, helper.log_keys())
        with pytest.raises(UnavailableError, match=r"http\.unreachable"):
            await client.latest()

    asyncio.run(scenario())


def test_the_first_failure_of_many_fetches_is_told() -> None:
    async def scenario(log: Log) -> None:
        checkpoint = await log.grow(1100)
        log.lies["/tile/entries/002"] = Answer(500)
        with pytest.raises(UnavailableError, match=r"log\.unavailable"):
            await log.client.entries(0, 1100, checkpoint)

    run(scenario)


def test_everything_of_an_honest_log_verifies() -> None:
    async def scenario(log: Log) -> None:
        seen = [await log.client.latest()]
        for count in (1, 254, 1, 1, 300, 1000):
            await log.grow(count)
            seen.append(await log.client.latest())
        newest = seen[-1]
        assert newest.size == 1557
        assert await log.client.entries(0, newest.size, newest) == [entry(number) for number in range(newest.size)]
        assert await log.client.entries(250, 520, newest) == [entry(number) for number in range(250, 520)]
        assert await log.client.entries(7, 7, newest) == []
        assert await log.reader.entries(255, 258, newest.size) == [entry(255), entry(256), entry(257)]
        for index in (0, 255, 256, 1535, 1536, 1556):
            found = await log.client.inclusion(index, newest)
            assert found.leaf == merkle.leaf_hash(entry(index))
            merkle.verify_inclusion(found.leaf, index, found.size, found.proof, newest.root)
            assert await log.client.entry(index, newest) == entry(index)
        for old in seen:
            proof = await log.client.consistency(old, newest)
            merkle.verify_consistency(old.size, old.root, newest.size, newest.root, proof)
        assert await log.client.index_of(digest(300)) == 300
        assert await log.client.index_of(digest(99_999)) is None

    run(scenario)


def test_an_older_checkpoint_is_served_from_full_tiles_once_partial_ones_are_gone() -> None:
    async def scenario(log: Log) -> None:
        old = await log.grow(100)
        await log.grow(400)
        assert await log.client.entries(0, 100, old) == [entry(number) for number in range(100)]
        assert (await log.client.inclusion(99, old)).size == 100
        assert ("GET", f"{URL}/tile/0/000") in log.http.requests

    run(scenario)


def test_full_tiles_are_fetched_once() -> None:
    async def scenario(log: Log) -> None:
        checkpoint = await log.grow(600)
        for index in (1, 2, 3):
            await log.client.inclusion(index, checkpoint)
        assert [url for _, url in log.http.requests].count(f"{URL}/tile/0/000") == 1
        assert tiles.WIDTH == 256

    run(scenario)
