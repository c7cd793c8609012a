"""A memory node's life: many users at once, writers that meet, processes that are killed, rows that are erased.

``HOLDFAST_SCHEDULES`` says how much is tried (24 by default), ``HOLDFAST_KILLS`` how often a process is killed (3).
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.core import memory
from tests.helpers import crashes
from tests.helpers.memory import PASSPHRASE, RUNS, MemoryWorld, User

ROOT = Path(__file__).parents[2]
USERS = 12
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath")


# Isolation


def test_users_that_work_at_the_same_time_never_see_each_others_rows(tmp_path: Path) -> None:
    """Users interleave searches and every change, with few vaults to share; whatever any answer holds is their own."""
    world = MemoryWorld(tmp_path, unlocked_users=3)
    dice = random.Random(7)

    async def life(number: int, user: User) -> int:
        mark, rows, answers = f"u{number:02d}secret", [], 0
        for step in range(crashes.schedules() // 4 + 6):
            act = dice.choice(("say", "say", "find", "confirm", "correct", "erase", "list", "profile"))
            if act == "say" or not rows:
                told: Any = await user.note(f"The {dice.choice(WORDS)} of {mark} step {step}.", slot=dice.choice(WORDS))
                rows.append(told["id"])
            elif act == "find":
                told = await user.find(" ".join(WORDS), limit=100, run=RUNS[step % 16])
            elif act == "confirm":
                told = await user.send("POST", f"/v1/memories/{dice.choice(rows)}/confirm")
                told = told.json()
            elif act == "correct":
                reply = await user.send(
                    "PATCH", f"/v1/memories/{dice.choice(rows)}", {"content": f"Now {mark} {step}."}
                )
                told = reply.json()
            elif act == "erase":
                gone = rows.pop(dice.randrange(len(rows)))
                told = await user.ask("DELETE", f"/v1/memories/{gone}")
            else:
                told = await user.ask("GET", "/v1/memories" if act == "list" else "/v1/profile")
            shown = json.dumps(told)
            assert shown.count("secret") == shown.count(mark)
            answers += 1
        return answers

    async def all_lives() -> list[int]:
        users = [await world.user(f"{PASSPHRASE} {number}") for number in range(USERS)]
        found = await asyncio.gather(*(life(number, user) for number, user in enumerate(users)))
        for number, user in enumerate(users):
            other = users[(number + 1) % USERS]
            theirs = (await other.ask("GET", "/v1/memories"))["data"]
            if theirs:
                for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/confirm"), ("GET", "/history")):
                    reply = await user.send(method, f"/v1/memories/{theirs[0]['id']}{path}")
                    assert (reply.status, reply.code) == (404, "memory.unknown")
        return found

    assert sum(asyncio.run(all_lives())) >= USERS * 6
    world.close()


# Shredding


def held(folder: Path) -> bytes:
    """Every byte of every file of the store: database, write-ahead log, shared memory, journals."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def sealed_values(world: MemoryWorld, rows: list[str]) -> list[bytes]:
    """What the store holds of these rows, as it lies there: keys, events, what is beside."""
    found: list[bytes] = []
    for table in ("memory_rows", "memory_events", "memory_beside"):
        with world.store._read() as connection:  # type: ignore[attr-defined]
            for row, sealed in connection.exec_driver_sql(f"SELECT row, sealed FROM {table}"):
                if row in rows:
                    found.append(bytes(sealed))
    return found


def test_no_byte_of_an_erased_row_is_left_in_any_file_or_export(tmp_path: Path) -> None:
    """Nothing readable lies there at any time; after erasing not even what was sealed does."""
    folder = tmp_path / "store"
    folder.mkdir()
    world = MemoryWorld(folder)

    async def life() -> None:
        anna = await world.user()
        kept = [(await anna.note(f"Keeps the {word} in the garden.", slot=word))["id"] for word in WORDS]
        gone = [(await anna.note(f"Hides {word} under needle-{word}.", slot=word))["id"] for word in WORDS]
        vault = await world.vaults.read(world.keyring.open(anna.key, None))
        await world.vaults.put_beside(vault, "vector", dict.fromkeys([*kept, *gone], b"needle-vector" * 40))
        await anna.find("needle", run=RUNS[1])
        before = await anna.send("POST", "/v1/export", {"passphrase": "a passphrase for a file"})
        assert b"needle-" not in held(folder)  # nothing readable at rest, erased or not
        assert b"needle-" not in before.body
        sealed, ours = sealed_values(world, gone), sealed_values(world, kept)
        assert len(sealed) > 3 * len(gone)
        assert all(value in held(folder) for value in sealed)
        done = await anna.ask("POST", "/v1/memories/batch-delete", {"memory_ids": gone})
        assert done["scrubbed"] is True
        left = held(folder)
        for value in sealed:
            for piece in (value, value[13:45], value[-32:]):  # the whole, its beginning after the nonce, its tag
                assert piece not in left
        assert sum(value in left for value in ours) == len(ours)
        exported = await anna.send("POST", "/v1/export", {"passphrase": "a passphrase for a file"})
        second = MemoryWorld(tmp_path, name="second")
        ben = await second.user()
        body = {"export": exported.json(), "passphrase": "a passphrase for a file", "believe": world.document.digest}
        await ben.ask("POST", "/v1/import", body)
        shown = json.dumps((await ben.ask("GET", "/v1/memories?page_size=500"))["data"])
        assert "needle" not in shown
        assert shown.count("in the garden") == len(kept)
        second.close()

    asyncio.run(life())
    world.close()


def test_a_user_who_erases_everything_leaves_no_key_and_no_row(tmp_path: Path) -> None:
    world = MemoryWorld(tmp_path)

    async def life() -> None:
        anna, ben = await world.user(), await world.user()
        row = (await anna.note("Hides a needle."))["id"]
        theirs = (await ben.note("Plays the oboe."))["id"]
        sealed = sealed_values(world, [row]) + [wrap.sealed for wrap in world.store.wraps(anna.id)]
        assert (await anna.send("POST", "/v1/erase", {"user_id": ben.id})).code == "memory.erase"
        done = await anna.ask("POST", "/v1/erase", {"user_id": anna.id})
        assert done == {"erased": True, "scrubbed": True}
        left = held(tmp_path)
        assert not [value for value in sealed if value in left or value[-32:] in left]
        assert anna.id.encode() not in left
        assert (await anna.send("GET", "/v1/memories")).code == "memory.key"
        assert (await ben.row(theirs))["memory"] == "Plays the oboe."

    asyncio.run(life())
    world.close()


# Writers that meet


def test_writers_on_several_hosts_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """Nodes over one store, one user: every acknowledged row is there once, and histories fold everywhere alike."""
    worlds = [MemoryWorld(tmp_path) for _ in range(3)]
    per_writer = crashes.schedules() // 6 + 4

    async def life() -> None:
        anna = await worlds[0].user()
        users = [User(world, anna.id, anna.key) for world in worlds]
        shared = (await anna.note("Shared by all.", slot="shared"))["id"]

        async def write(user: User, name: int) -> list[str]:
            made = []
            for step in range(per_writer):
                made.append((await user.note(f"Row {step} of writer {name}."))["id"])
                await user.ask("POST", f"/v1/memories/{shared}/confirm")
            return made

        written = await asyncio.gather(*(write(user, name) for name, user in enumerate(users)))
        made = [row for rows in written for row in rows]
        assert len(made) == len(set(made)) == 3 * per_writer
        shown = []
        for world, user in zip(worlds, users, strict=True):
            assert (await user.row(shared))["confirmed"] == 3 * per_writer
            vault = await world.vaults.read(world.keyring.open(user.key, None))
            assert set(made) | {shared} == vault.rows.keys()
            assert {row: memory.parse_history(events).head for row, events in vault.history.items()} == {
                row: item.head for row, item in vault.rows.items()
            }
            shown.append(vault.history)
        assert shown[0] == shown[1] == shown[2]

    asyncio.run(life())
    for world in worlds:
        world.close()


# Crashes


WRITER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.helpers.memory import MemoryWorld, User

async def life():
    world = MemoryWorld(Path({folder!r}))
    anna = User(world, {user!r}, {key!r})
    step = 0
    while True:
        row = await anna.note(f"Life {life} wrote {{step}}.", slot="last")
        print(row["id"], flush=True)
        if step % 3 == 2:
            await anna.ask("POST", "/v1/memories/batch-delete", {{"memory_ids": [row["id"]]}})
            print("-" + row["id"], flush=True)
        step += 1

asyncio.run(life())
"""


def test_a_writer_that_is_killed_loses_nothing_that_it_said_was_kept(tmp_path: Path) -> None:
    """Real processes, killed while they write and erase: what was acknowledged is there, and what was erased is not."""
    first = MemoryWorld(tmp_path)
    anna = asyncio.run(first.user())
    first.close()
    kept: set[str] = set()
    gone: set[str] = set()
    dice = random.Random(3)
    for life in range(crashes.kills()):
        text = WRITER.format(root=str(ROOT), folder=str(tmp_path), user=anna.id, key=anna.key, life=life)
        process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(dice.randrange(3, 14)):
            line = process.stdout.readline().strip()
            assert line
            (gone if line.startswith("-") else kept).add(line.lstrip("-"))
        process.kill()
        for line in process.stdout.read().split():  # what it still said before it died
            if len(line.lstrip("-")) == len("mem_") + 32:
                (gone if line.startswith("-") else kept).add(line.lstrip("-"))
        process.wait()
        process.stdout.close()
        world = MemoryWorld(tmp_path)
        listed = asyncio.run(User(world, anna.id, anna.key).ask("GET", "/v1/memories?page_size=500"))["data"]
        found = {row["id"] for row in listed}
        assert gone.isdisjoint(found)
        in_doubt = kept - gone - found  # the last one may have been erased without its having been said
        assert len(in_doubt) <= life + 1
        assert in_doubt <= world.store.erased(anna.id)
        assert len(found - kept) <= life + 1  # and the last one written without its having been said
        world.close()
    assert len(kept) >= 2 * crashes.kills()


@pytest.mark.parametrize("place", ["rows", "events", "wraps"])
def test_a_store_that_was_changed_is_refused_and_nothing_else_is_lost(tmp_path: Path, place: str) -> None:
    world = MemoryWorld(tmp_path)

    async def life() -> None:
        anna, ben = await world.user(), await world.user()
        await anna.note("Plays the oboe.")
        theirs = (await ben.note("Plays the cello."))["id"]
        row = f"WHERE user='{anna.id}'"
        world.store._plainly(  # type: ignore[attr-defined]
            f"UPDATE memory_{place} SET sealed=CAST(substr(sealed,1,40)||x'00000000'||substr(sealed,45) AS BLOB) {row}"
        )
        world.vaults.drop(anna.id)
        reply = await anna.send("GET", "/v1/memories")
        assert reply.code == ("memory.key" if place == "wraps" else "memory.sealed")
        assert (await ben.row(theirs))["standing"] == "earned"

    asyncio.run(life())
    world.close()
