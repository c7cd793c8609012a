"""Suites about whose rows they are and what is left of them: isolation, erasing, keys, crashes, writers that meet."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from holdfast.core import memory
from tests.helpers.memory import PASSPHRASE, RUNS, MemoryWorld, User
from tests.helpers.memory_suites.tally import Tally, prompted, rows_of

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath")
AT_ONCE = 64
"""Users whose requests interleave at one time."""


def new_folder(path: Path) -> Path:
    """A folder that is made."""
    path.mkdir()
    return path


# Isolation


async def isolation(folder: Path, seed: int, count: int) -> Tally:
    """``count`` users live at one node with few vaults, their requests interleaved.

    Each notes, searches, recalls, confirms, corrects, erases, lists, reads a profile, contradictions and an export, and
    tries the rows of the user before it: to read, change, erase, confirm, derive from and recall them. Of many users a
    hundred erase: each time the whole store is written anew.
    Harm: an answer holds a word of somebody else's, or reaches their row.
    """
    told = Tally("an answer held or reached a row of somebody else")
    world = MemoryWorld(folder, unlocked_users=max(3, min(48, count // 4)))
    world.store._plainly("PRAGMA synchronous=OFF")  # type: ignore[attr-defined]  # nothing is cut off here: the disk may lag
    users = [await world.user(f"{PASSPHRASE} {number}") for number in range(count)]
    turn, first = asyncio.Semaphore(AT_ONCE), {}

    async def live(number: int) -> None:
        async with turn:
            acts = ACTS if number % max(1, count // ERASERS) == 0 else ACTS[:-1]
            dice = random.Random(f"isolation {seed} {number}")
            await _life(told, dice, users[number], f"u{number:04d}secret", first, acts)

    await asyncio.gather(*(live(number) for number in range(count)))

    async def pry(number: int) -> None:
        async with turn:
            await _pry(told, users[number], users[number - 1], first[users[number - 1].id])

    await asyncio.gather(*(pry(number) for number in range(count)))
    for user in users:
        vault = await world.vaults.read(world.keyring.open(user.key, None))
        told.control(
            "the owner's row is as it was", first[user.id] in vault.rows and not vault.rows[first[user.id]].ended
        )
    world.close()
    return told


ERASERS = 100
ACTS = ("say", "find", "recall", "confirm", "correct", "list", "profile", "contradictions", "export", "erase")


async def _life(
    told: Tally, dice: random.Random, user: User, mark: str, first: dict[str, str], acts: tuple[str, ...]
) -> None:
    rows: list[str] = []
    first[user.id] = (await user.note(f"The first of {mark}.", slot="first"))["id"]
    for step, act in enumerate(["say", "find", *dice.sample(acts, 6)]):
        if act == "say" or (act in ("confirm", "correct", "erase") and not rows):
            answer: Any = await user.note(f"The {dice.choice(WORDS)} of {mark} step {step}.", slot=dice.choice(WORDS))
            rows.append(answer["id"])
        elif act == "find":
            answer = await user.find(" ".join(WORDS), limit=100, run=RUNS[step])
            told.control("a search finds the user's own", mark in json.dumps(answer))
        elif act == "recall":
            answer = await prompted(user, " ".join(WORDS), RUNS[step])
        elif act in ("confirm", "correct", "erase"):
            row = rows.pop(dice.randrange(len(rows)))
            method, path, body = {
                "confirm": ("POST", "/confirm", None),
                "correct": ("PATCH", "", {"content": f"Now {mark} {step}."}),
                "erase": ("DELETE", "", None),
            }[act]
            answer = (await user.send(method, f"/v1/memories/{row}{path}", body)).json()
        elif act == "export":
            answer = (await user.send("POST", "/v1/export", {"passphrase": "a passphrase for a file"})).json()
        else:
            path = {"list": "memories", "profile": "profile", "contradictions": "contradictions"}[act]
            answer = await user.ask("GET", f"/v1/{path}")
        shown = json.dumps(answer)
        told.tried(act, shown.count("secret") != shown.count(mark), f"{mark} was shown {shown[:200]}")


async def _pry(told: Tally, user: User, other: User, row: str) -> None:
    tries: tuple[tuple[str, str, str, Any], ...] = (
        ("read theirs", "GET", f"/v1/memories/{row}", None),
        ("read theirs", "GET", f"/v1/memories/{row}/history", None),
        ("change theirs", "PATCH", f"/v1/memories/{row}", {"content": "Mine now."}),
        ("change theirs", "POST", f"/v1/memories/{row}/confirm", None),
        ("change theirs", "POST", f"/v1/memories/{row}/withdraw", None),
        ("erase theirs", "DELETE", f"/v1/memories/{row}", None),
        ("erase theirs", "POST", "/v1/memories/batch-delete", {"memory_ids": [row], "cascade": True}),
        ("derive from theirs", "POST", "/v1/memories", {"memory": "Copied.", "derived_from": [row]}),
    )
    for variant, method, path, body in tries:
        reply = await user.send(method, path, body)
        told.tried(variant, (reply.status, reply.code) != (404, "memory.unknown"), f"{method} {path}: {reply.status}")
    order = {"run": RUNS[0], "user": other.id, "query": "first", "key": "11" * 32, "coarse": False, "nonce": None,
             "parent_run": None}  # fmt: skip
    reply = await user.send("POST", "/v1/recall", order)
    told.tried("recall theirs", reply.code != "memory.owner", reply.body)
    reply = await user.send("POST", "/v1/erase", {"user_id": other.id})
    told.tried("erase everything of theirs", reply.code != "memory.erase", reply.body)


# Shredding


def held(folder: Path) -> bytes:
    """Every byte of every file of a store: database, write-ahead log, shared memory, journals."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def sealed_values(world: MemoryWorld, rows: list[str]) -> list[bytes]:
    """What the store holds of these rows, as it lies there: keys, events, what is beside (vectors)."""
    found: list[bytes] = []
    for table in ("memory_rows", "memory_events", "memory_beside"):
        with world.store._read() as connection:  # type: ignore[attr-defined]
            for row, sealed in connection.exec_driver_sql(f"SELECT row, sealed FROM {table}"):
                if row in rows:
                    found.append(bytes(sealed))
    return found


def left_of(values: list[bytes], there: bytes) -> list[bytes]:
    """Pieces of sealed values that lie there still: the whole, its beginning after the nonce, its tag."""
    return [piece for value in values for piece in (value, value[13:45], value[-32:]) if piece in there]


async def shredding(folder: Path, seed: int, count: int) -> Tally:
    """Rows are erased: one by one, many at once, with what was derived from them; or their user, or by a rotation.

    Harm: a piece of what the store held of them (row key, history, vector) is left in any file of it, their words are
    in any file at any time, or in an export that is made afterwards. What was not erased has to be there, byte by byte.
    """
    told = Tally("a piece of what was erased was left in a file or an export")
    dice = random.Random(f"shredding {seed}")
    ways = ("one by one", "many at once", "with what was derived", "everything", "rotated away")
    for number in range(max(len(ways), count // 8)):
        way, place = ways[number % len(ways)], new_folder(folder / str(number))
        world = MemoryWorld(place)
        user, other = await world.user(), await world.user()
        theirs = [(await other.note(f"Keeps the {word} in the garden."))["id"] for word in WORDS[:3]]
        gone = [(await user.note(f"Hides {word} under needle-{number}."))["id"] for word in WORDS]
        gone.append((await user.note(f"In short: needle-{number}.", derived_from=gone[:2]))["id"])
        stays = [] if way in ("everything", "rotated away") else [(await user.note("Plays the oboe."))["id"]]
        await user.find("needle", run=RUNS[1])
        await other.find("garden")
        sealed, kept = sealed_values(world, gone), sealed_values(world, theirs)
        told.control("each row has a key, a history and a vector", len(sealed) >= 4 * len(gone))
        told.control("it lay there before", len(left_of(sealed, held(place))) == 3 * len(sealed))
        told.tried("readable at rest", b"needle-" in held(place))
        match way:
            case "one by one":
                dice.shuffle(gone)
                done = [await user.ask("DELETE", f"/v1/memories/{row}") for row in gone]
            case "many at once":
                done = [await user.ask("POST", "/v1/memories/batch-delete", {"memory_ids": gone})]
            case "with what was derived":
                body = {"memory_ids": gone[:-1], "cascade": True}
                done = [await user.ask("POST", "/v1/memories/batch-delete", body)]
            case "everything":
                sealed += [wrap.sealed for wrap in world.store.wraps(user.id)]
                done = [await user.ask("POST", "/v1/erase", {"user_id": user.id})]
            case _:
                await user.ask("POST", "/v1/rotate", {"passphrase": PASSPHRASE})
                done = [{"scrubbed": await world.service.scrub()}]
        told.control("it said that every byte was gone", all(item["scrubbed"] for item in done))
        left = held(place)
        for value in sealed:
            told.tried(way, left_of([value], left), "a sealed value was left")
        told.control("what was not erased is there", all(value in left for value in kept))
        if stays:
            told.tried("exported afterwards", await _exported_words(world, user, folder / f"second {number}"))
        world.close()
    return told


async def _exported_words(world: MemoryWorld, user: User, folder: Path) -> bool:
    """Whether words of what was erased come out of an export of today."""
    export = (await user.send("POST", "/v1/export", {"passphrase": "a passphrase for a file"})).json()
    second = MemoryWorld(new_folder(folder), name="second")
    ben = await second.user()
    body = {"export": export, "passphrase": "a passphrase for a file", "believe": world.document.digest}
    await ben.ask("POST", "/v1/import", body)
    shown = json.dumps(await rows_of(ben))
    second.close()
    return "needle" in shown or "oboe" not in shown


# Wrong keys


async def wrong_key(folder: Path, seed: int, count: int) -> Tally:
    """Somebody presents a key that is none: of nobody, with a changed byte, another user's, ended, expired, widened in
    the store; a wrong passphrase; a session after it was locked; a wrong passphrase for a file.

    Harm: it opens something, is answered without a code of its own, or any row is another afterwards.
    """
    told = Tally("a wrong key opened something, had no clear code, or lost a row")
    world, dice = MemoryWorld(folder, wrong_passphrases=10_000), random.Random(f"wrong key {seed}")
    user, other = await world.user(), await world.user()
    for word in WORDS:
        await user.note(f"Keeps the {word}.", slot=word)
    export = (await user.send("POST", "/v1/export", {"passphrase": "a passphrase for a file"})).json()
    before = [row["head"] for row in await rows_of(user)]
    variants = ("nobody's", "a changed byte", "ended", "expired", "widened", "wrong passphrase", "locked", "wrong file")
    for number in range(count):
        match variants[number % len(variants)]:
            case "nobody's":
                key, codes = f"hfm_{dice.randbytes(8).hex()}.{user.key.partition('.')[2]}", ("memory.key",)
                reply = await User(world, user.id, key).send("GET", "/v1/memories")
            case "a changed byte":
                place = dice.randrange(len(user.key))
                key = user.key[:place] + dice.choice("AZaz09_-.") + user.key[place + 1 :]
                if key == user.key:
                    continue
                codes = ("memory.key", "memory.api_key")
                reply = await User(world, user.id, key).send("GET", "/v1/memories")
            case "ended":
                made = await user.ask("POST", "/v1/api-keys", {"name": "short"})
                await user.ask("DELETE", f"/v1/api-keys/{made['api_key_id']}")
                reply, codes = await User(world, user.id, made["key"]).send("GET", "/v1/memories"), ("memory.key",)
            case "expired":
                now = world.clock.now().strftime("%Y-%m-%dT%H:%M:%S.001Z")
                made = await user.ask("POST", "/v1/api-keys", {"name": "short", "expires_at": now})
                world.sleep(0.1)
                reply, codes = await User(world, user.id, made["key"]).send("GET", "/v1/memories"), ("memory.key",)
                await user.ask("DELETE", f"/v1/api-keys/{made['api_key_id']}")
            case "widened":
                made = await user.ask("POST", "/v1/api-keys", {"name": "short", "scopes": ["memories:read"]})
                wider = f"UPDATE memory_wraps SET scopes='owner' WHERE id='{made['api_key_id']}'"
                world.store._plainly(wider)  # type: ignore[attr-defined]
                reply, codes = await User(world, user.id, made["key"]).send("GET", "/v1/memories"), ("memory.key",)
                await user.ask("DELETE", f"/v1/api-keys/{made['api_key_id']}")
            case "wrong passphrase":
                body = {"user_id": user.id, "passphrase": f"{PASSPHRASE} {number}"}
                reply, codes = await world.send("POST", "/v1/unlock", body), ("memory.key",)
            case "locked":
                body = {"user_id": user.id, "passphrase": PASSPHRASE}
                token = (await world.send("POST", "/v1/unlock", body)).json()["token"]
                bearer = [("authorization", f"Bearer {token}")]
                told.control("a session opens", (await world.send("GET", "/v1/memories", None, bearer)).status == 200)
                await world.send("POST", "/v1/lock", None, bearer)
                reply, codes = await world.send("GET", "/v1/memories", None, bearer), ("memory.locked",)
            case _:
                body = {"export": export, "passphrase": f"a wrong one {number}"}
                reply, codes = await other.send("POST", "/v1/import", body), ("memory.export_key",)
        found = "opened" if reply.status < 400 else reply.code
        told.tried(variants[number % len(variants)], found not in codes, found)
        told.tried("rows afterwards", [row["head"] for row in await rows_of(user)] != before)
    told.control("the right key opens", len(before) == len(WORDS))
    world.close()
    return told


# Crashes


async def crashes(folder: Path, seed: int, count: int) -> Tally:
    """A node is cut off before each statement of each change, and after its commit: notes, confirmations, corrections,
    contradictions, erasures of one and of many, imports, new keys, rotations, and the erasing of a user.

    What lies on the disk at that moment is copied, opened by another node, and compared with what there was before and
    what there was to be; so is what an acknowledged change leaves when the end of the write-ahead log is torn off
    anywhere. Harm: it is neither, does not open, or a change that was acknowledged is not there.
    """
    told = Tally("what a crash left is neither the state before nor the state after, or an acknowledged change is lost")
    dice = random.Random(f"crashes {seed}")
    for number in range(max(1, count // 64)):
        for name, change in CHANGES.items():
            await _cut(told, dice, new_folder(folder / f"{number} {name}"), name, change)
    return told


Change = Callable[[User, list[str]], Awaitable[Any]]


async def _cut(told: Tally, dice: random.Random, folder: Path, name: str, change: Change) -> None:
    live = new_folder(folder / "live")
    world = MemoryWorld(live)
    user = await world.user()
    rows = [(await user.note(f"Keeps the {word}.", slot=word))["id"] for word in dice.sample(WORDS, 4)]
    await user.note("In short.", derived_from=rows[:1])
    await user.find("keeps")
    before = await _state(world, user)
    cuts: list[bytes] = []
    copies: dict[bytes, Path] = {}

    def copy(*_: Any) -> None:
        cuts.append(_on_disk(live))
        if cuts[-1] not in copies:
            copies[cuts[-1]] = shutil.copytree(live, folder / f"cut {len(cuts)}")

    engine = world.store._engine  # type: ignore[attr-defined]
    sa.event.listen(engine, "before_cursor_execute", copy)
    sa.event.listen(engine, "commit", copy)
    await change(user, rows)
    sa.event.remove(engine, "before_cursor_execute", copy)
    sa.event.remove(engine, "commit", copy)
    acknowledged = shutil.copytree(live, folder / "acknowledged")
    after = await _state(world, user)
    world.close()
    known = [before, after]
    torn = [_torn(dice, copies[cuts[0]], acknowledged, folder / f"torn {number}") for number in range(3)]
    survived = {key: await _survived(cut, user) for key, cut in copies.items()}  # alike on disk, alike afterwards
    for number, cut in enumerate(cuts):
        found = survived[cut]
        if found not in known and name in STEPWISE:  # such a change is several commits, each of them a state of its own
            known.append(found)
        told.tried(name, found not in known or isinstance(found, str), f"cut {number}: {found}")
    for copy_of in filter(None, torn):
        found = await _survived(copy_of, user)
        told.tried(f"{name}, torn", found not in known or isinstance(found, str), found)
    told.tried(f"{name}, acknowledged", await _survived(acknowledged, user) != after)
    told.control("a change changes something", before != after or name in ("key", "rotate"))
    told.control("it was cut more than twice", len(cuts) > 2)


def _on_disk(folder: Path) -> bytes:
    """What a store's database and its write-ahead log are at a moment."""
    return hashlib.sha256(
        b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.endswith("-shm"))
    ).digest()


def _torn(dice: random.Random, before: Path, after: Path, folder: Path) -> Path | None:
    """The files of a change with a write-ahead log that ends somewhere within what it wrote; None where it wrote none
    that is left."""
    begin, end = ((path / "memory.sqlite-wal").stat().st_size for path in (before, after))
    if begin >= end:
        return None
    shutil.copytree(after, folder)
    with (folder / "memory.sqlite-wal").open("r+b") as log:
        log.truncate(dice.randrange(begin, end))
    return folder


STEPWISE = ("erase", "erase many")
"""What is erased stops contradicting first, and goes then; histories stay whole in between."""


async def _state(world: MemoryWorld, user: User) -> dict[str, list[bytes]] | str:
    """Every history as it folds, or the code with which it does not open."""
    reply = await user.send("GET", "/v1/me")
    if reply.status != 200:
        return {} if world.store.version(user.id) is None else f"does not open: {reply.code}"
    vault = await world.vaults.read(world.keyring.open(user.key, None))
    for events in vault.history.values():
        memory.parse_history(events)
    return {row: list(events) for row, events in vault.history.items()}


async def _survived(folder: Path, user: User) -> dict[str, list[bytes]] | str:
    world = MemoryWorld(folder)
    try:
        again = User(world, user.id, user.key)
        found = await _state(world, again)
        if isinstance(found, dict) and found:  # it goes on from there
            await again.note("Written after the crash.")
            if len(await rows_of(again)) <= len([row for row in found.values() if b"withdrawn" not in row[-1]]) - 1:
                return "does not go on"
        return found
    finally:
        world.close()


CHANGES: dict[str, Change] = {
    "note": lambda user, _: user.note("Plays the oboe."),
    "contradiction": lambda user, _: user.note("Keeps nothing.", slot="amber"),
    "confirm": lambda user, rows: user.ask("POST", f"/v1/memories/{rows[0]}/confirm"),
    "correct": lambda user, rows: user.ask("PATCH", f"/v1/memories/{rows[0]}", {"content": "Keeps it no more."}),
    "erase": lambda user, rows: user.ask("DELETE", f"/v1/memories/{rows[0]}"),
    "erase many": lambda user, rows: user.ask(
        "POST", "/v1/memories/batch-delete", {"memory_ids": rows[:3], "cascade": True}
    ),
    "import": lambda user, _: user.ask("POST", "/v1/import", {"file": [{"memory": f"Claim {n}."} for n in range(20)]}),
    "key": lambda user, _: user.application(),
    "rotate": lambda user, _: user.ask("POST", "/v1/rotate", {"passphrase": PASSPHRASE}),
    "erase everything": lambda user, _: user.ask("POST", "/v1/erase", {"user_id": user.id}),
}


# Writers that meet


async def writers(folder: Path, seed: int, count: int) -> Tally:
    """Three nodes over one store, one user: each notes, confirms a row that all share, corrects, erases, searches and
    recalls, in an order of dice.

    Harm: a row that was acknowledged is missing or there twice, one that was erased is there, a confirmation is lost,
    or two nodes hold different histories.
    """
    told = Tally("an acknowledged change was lost or doubled, or two nodes hold different histories")
    worlds = [MemoryWorld(folder) for _ in range(3)]
    anna = await worlds[0].user()
    users = [User(world, anna.id, anna.key) for world in worlds]
    shared = (await anna.note("Shared by all.", slot="shared"))["id"]
    steps, alive, gone, confirmed = max(4, count // 3), set[str](), set[str](), 0

    async def work(number: int) -> None:
        nonlocal confirmed
        dice, user, mine = random.Random(f"writers {seed} {number}"), users[number], list[str]()
        for step in range(steps):
            act = dice.choice(("note", "note", "confirm", "correct", "erase", "find", "recall"))
            if act == "note" or (act in ("correct", "erase") and not mine):
                mine.append((await user.note(f"Row {step} of writer {number}."))["id"])
                alive.add(mine[-1])
            elif act == "confirm":
                await user.ask("POST", f"/v1/memories/{shared}/confirm")
                confirmed += 1
            elif act == "correct":
                row = mine.pop(dice.randrange(len(mine)))
                done = await user.ask("PATCH", f"/v1/memories/{row}", {"content": f"Corrected {step} by {number}."})
                alive.add(done["id"])
            elif act == "erase":
                row = mine.pop(dice.randrange(len(mine)))
                await user.ask("DELETE", f"/v1/memories/{row}")
                alive.discard(row)
                gone.add(row)
            elif act == "find":
                told.control("a search answers", await user.find("row shared", limit=5, run=RUNS[step % 16]))
            else:
                told.control("a recall answers", await prompted(user, "row shared", RUNS[step % 16]))

    await asyncio.gather(*(work(number) for number in range(3)))
    histories = []
    for user in users:
        vault = await user.world.vaults.read(user.world.keyring.open(user.key, None))
        for row in alive:
            told.tried("a row that was kept", row not in vault.rows)
        for row in gone:
            told.tried("a row that was erased", row in vault.rows)
        told.tried("rows that nobody wrote", vault.rows.keys() - alive - {shared})
        told.tried("confirmations", vault.rows[shared].confirmed != confirmed)
        for row, events in vault.history.items():
            told.tried("a history", memory.parse_history(events).head != vault.rows[row].head)
        histories.append(vault.history)
    told.tried("nodes side by side", not histories[0] == histories[1] == histories[2])
    for world in worlds:
        world.close()
    return told
