"""Passphrases that are tried at a memory node: bounded, counted by address, and in nobody's way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from holdfast.errors import HoldfastError
from holdfast.nodes.memory.app import _caller
from tests.helpers.memory import PASSPHRASE, MemoryWorld

HERE, ELSEWHERE = "127.0.0.1", "192.0.2.7"


class Slow:
    """A derivation that waits until it is let go."""

    def __init__(self, derive_key: Callable[..., bytes]) -> None:
        self.derive_key = derive_key
        self.go = threading.Event()
        self.begun = 0

    def __call__(self, *given: Any) -> bytes:
        self.begun += 1
        assert self.go.wait(30)
        return self.derive_key(*given)


def play(folder: Path, story: Callable[[MemoryWorld], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        world = MemoryWorld(folder, **settings)
        try:
            await story(world)
        finally:
            world.close()

    asyncio.run(main())


async def code(trying: Awaitable[Any]) -> str:
    """What it came to: a code, or that it opened."""
    try:
        await trying
    except HoldfastError as error:
        return f"{error.code} {error.status}"
    return "open"


def test_one_address_takes_a_quarter_of_the_places_and_all_of_them_are_bounded(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        anna = await world.user()
        slow = world.unlocking._derive_key = Slow(world.unlocking._derive_key)  # type: ignore[assignment]
        waiting = [
            asyncio.create_task(
                code(world.unlocking.unlock("usr_nobody", "wrong wrong wrong", f"192.0.2.{number // 2}"))
            )
            for number in range(8)
        ]
        await asyncio.sleep(0)
        assert await code(world.unlocking.unlock(anna.id, PASSPHRASE, HERE)) == "memory.unlocking_busy 503"
        reply = await world.send("POST", "/v1/unlock", {"user_id": anna.id, "passphrase": PASSPHRASE})
        assert (reply.status, reply.code) == (503, "memory.unlocking_busy")
        slow.go.set()
        assert set(await asyncio.gather(*waiting)) == {"memory.key 401"}
        assert slow.begun == 8
        slow.go.clear()
        two = [asyncio.create_task(code(world.unlocking.unlock(anna.id, PASSPHRASE, HERE))) for _ in range(2)]
        await asyncio.sleep(0)
        assert await code(world.unlocking.unlock(anna.id, PASSPHRASE, HERE)) == "memory.unlocking_busy 503"
        other = asyncio.create_task(code(world.unlocking.unlock(anna.id, PASSPHRASE, ELSEWHERE)))
        slow.go.set()
        assert [*await asyncio.gather(*two), await other] == ["open"] * 3
        assert not world.unlocking._callers

    play(tmp_path, story, unlocking_at_once=8)


def test_rows_do_not_wait_for_passphrases(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        anna = await world.user()
        slow = world.unlocking._derive_key = Slow(world.unlocking._derive_key)  # type: ignore[assignment]
        waiting = asyncio.create_task(code(world.unlocking.unlock("usr_nobody", "wrong wrong wrong", ELSEWHERE)))
        await anna.note("Plays the oboe.")
        assert [row["memory"] for row in await anna.find("oboe")] == ["Plays the oboe."]
        assert (slow.begun, waiting.done()) == (1, False)
        slow.go.set()
        assert await waiting == "memory.key 401"

    play(tmp_path, story)


def test_wrong_passphrases_close_unlocking_for_the_address_that_they_came_from_alone(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        anna = await world.user()
        for _ in range(3):
            assert await code(world.unlocking.unlock(anna.id, "wrong wrong wrong", ELSEWHERE)) == "memory.key 401"
        assert await code(world.unlocking.unlock(anna.id, PASSPHRASE, ELSEWHERE)) == "memory.too_often 429"
        assert await code(world.unlocking.unlock(anna.id, PASSPHRASE, HERE)) == "open"
        world.sleep(1)
        assert await code(world.unlocking.unlock(anna.id, PASSPHRASE, ELSEWHERE)) == "open"
        world.keyring.forget()
        assert not world.keyring._wrong

    play(tmp_path, story, wrong_passphrases=3)


def test_of_many_wrong_passphrases_at_once_no_more_are_tried_than_one_after_the_other(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        anna = await world.user()
        slow = world.unlocking._derive_key = Slow(world.unlocking._derive_key)  # type: ignore[assignment]
        slow.go.set()
        tries = [code(world.unlocking.unlock(anna.id, "wrong wrong wrong", ELSEWHERE)) for _ in range(6)]
        found = await asyncio.gather(*tries)
        assert sorted(found) == ["memory.key 401"] * 2 + ["memory.too_often 429"] * 4
        assert slow.begun == 2

    play(tmp_path, story, wrong_passphrases=2)


def test_a_right_passphrase_is_never_counted(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        anna = await world.user()
        for _ in range(5):
            assert await code(world.unlocking.unlock(anna.id, PASSPHRASE, HERE)) == "open"
        body = {"passphrase": PASSPHRASE, "new_passphrase": "another long passphrase"}
        assert (await anna.send("POST", "/v1/rotate", body)).status == 200

    play(tmp_path, story, wrong_passphrases=1)


@pytest.mark.parametrize(
    ("host", "caller"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a name", "a name"),
        (None, ""),
    ],
)
def test_addresses_of_one_ipv6_network_are_one_caller(host: str | None, caller: str) -> None:
    client = None if host is None else (host, 1)
    assert _caller(Request({"type": "http", "client": client, "headers": []})) == caller
