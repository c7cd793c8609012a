"""A memory node's life: users who erase everything, processes that are killed, stores that somebody changed.

``HOLDFAST_KILLS`` says how often a process is killed (3 by default). What can be counted is in ``test_memory_suites``.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import crashes
from tests.helpers.memory import MemoryWorld, User
from tests.helpers.memory_suites.keeping import held, sealed_values

ROOT = Path(__file__).parents[2]


# Erasing


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
