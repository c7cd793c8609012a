"""Several memory nodes over one store hold the same rows: what one keeps or erases, every other answers by (ADR 0069).

On SQLite they are processes of one machine, on PostgreSQL nodes of several hosts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from holdfast.adapters.memory_store_sql import SQLMemoryStore
from holdfast.core import memory
from tests.helpers import crashes
from tests.helpers.memory import PASSPHRASE, RUNS, MemoryWorld, User

Story = Callable[[User, User], Awaitable[None]]
"""What somebody does who reaches one node, and another."""


@pytest.fixture(params=["sqlite", "postgresql"])
def worlds(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[MemoryWorld]]:
    url = f"sqlite:///{tmp_path / 'memory.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA public"))
        engine.dispose()
    found = [MemoryWorld(tmp_path, name=name, store=SQLMemoryStore(url)) for name in ("here", "there")]
    yield found
    for world in found:
        world.close()


def live(worlds: list[MemoryWorld], story: Story) -> None:
    async def life() -> None:
        anna = await worlds[0].user()
        await story(anna, User(worlds[1], anna.id, anna.key))

    asyncio.run(life())


def test_a_row_that_one_node_keeps_the_other_finds(worlds: list[MemoryWorld]) -> None:
    async def story(here: User, there: User) -> None:
        for step, claim in enumerate(("Plays the oboe.", "Collects old maps.", "Bakes rye bread.")):
            row = (await (here, there)[step % 2].note(claim))["id"]
            found = await (there, here)[step % 2].find(claim)  # its index is there by now, and follows
            assert found[0]["id"] == row
            assert {item["memory"] for item in await here.find(claim)} == {
                item["memory"] for item in await there.find(claim)
            }

    live(worlds, story)


def test_a_row_that_one_node_erased_the_other_neither_finds_nor_shows(worlds: list[MemoryWorld]) -> None:
    async def story(here: User, there: User) -> None:
        kept, gone = [(await here.note(claim))["id"] for claim in ("Plays the oboe.", "Hides a needle.")]
        assert {row["id"] for row in await there.find("needle")} == {kept, gone}
        done = await here.ask("DELETE", f"/v1/memories/{gone}")
        assert done["scrubbed"] is True
        assert [row["id"] for row in await there.find("needle")] == [kept]
        assert [row["id"] for row in (await there.ask("GET", "/v1/memories"))["data"]] == [kept]
        for path in ("", "/history"):
            assert (await there.send("GET", f"/v1/memories/{gone}{path}")).code == "memory.unknown"
        assert (await there.send("POST", f"/v1/memories/{gone}/confirm")).code == "memory.unknown"
        assert there.world.store.beside(there.id, f"vector.{there.world.embedder.model[:16]}").keys() == {kept}

    live(worlds, story)


def test_a_row_that_was_corrected_at_one_node_stands_at_none(worlds: list[MemoryWorld]) -> None:
    async def story(here: User, there: User) -> None:
        old = (await here.say("I live in Lisbon."))["memories"][0]["id"]
        await there.find("Lisbon")
        new = (await here.ask("POST", f"/v1/memories/{old}/correct", {"content": "Lives in Porto."}))["id"]
        assert [row["id"] for row in await there.find("lives in", standings=["earned", "aging"])] == [new]
        assert (await there.row(old))["standing"] == "withdrawn"

    live(worlds, story)


def test_nodes_that_write_and_search_at_once_lose_nothing(worlds: list[MemoryWorld]) -> None:
    """Every write follows the other node's, and every search puts vectors beside rows that the other also indexes."""
    steps = crashes.schedules() // 4

    async def story(here: User, there: User) -> None:
        shared = (await here.note("Shared by both.", slot="shared"))["id"]

        async def work(user: User, name: str) -> list[str]:
            made = []
            for step in range(steps):
                made.append((await user.note(f"Row {step} of {name}."))["id"])
                await user.ask("POST", f"/v1/memories/{shared}/confirm")
                found = await user.find(f"Row {step} of {name}.", limit=100, run=RUNS[step % 16])
                assert made[-1] in {row["id"] for row in found}
                if step % 3 == 2:
                    await user.ask("DELETE", f"/v1/memories/{made.pop(0)}")
            return made

        written = await asyncio.gather(work(here, "one"), work(there, "two"))
        histories = []
        for user in (here, there):
            vault = await user.world.vaults.read(user.world.keyring.open(user.key, None))
            assert vault.rows.keys() == {shared, *written[0], *written[1]}
            assert vault.rows[shared].confirmed == 2 * steps
            for row, events in vault.history.items():
                assert memory.parse_history(events).head == vault.rows[row].head
            histories.append(vault.history)
        assert histories[0] == histories[1]

    live(worlds, story)


def test_keys_and_passphrases_that_end_at_one_node_open_nothing_at_the_other(worlds: list[MemoryWorld]) -> None:
    async def story(here: User, there: User) -> None:
        row = (await here.note("Plays the oboe."))["id"]
        application = await here.application()
        elsewhere = User(there.world, here.id, application.key)
        body = {"user_id": here.id, "passphrase": PASSPHRASE}
        token = (await there.world.send("POST", "/v1/unlock", body)).json()["token"]

        async def in_session() -> str:
            reply = await there.world.send("GET", f"/v1/memories/{row}", None, [("authorization", f"Bearer {token}")])
            return "open" if reply.status == 200 else reply.code

        assert await in_session() == "open"
        assert (await elsewhere.row(row))["memory"] == "Plays the oboe."
        rotated = {"passphrase": PASSPHRASE, "new_passphrase": "another long passphrase"}
        await here.ask("POST", "/v1/rotate", rotated)
        assert await in_session() == "memory.locked"  # its data key is an old one: no error that looks like damage
        assert (await elsewhere.send("GET", f"/v1/memories/{row}")).code == "memory.key"
        assert [item["id"] for item in await there.find("oboe")] == [row]
        await here.ask("POST", "/v1/erase", {"user_id": here.id})
        assert (await there.send("GET", f"/v1/memories/{row}")).code == "memory.key"

    live(worlds, story)
