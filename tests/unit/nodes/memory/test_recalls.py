"""Recalls of a memory node: who is refused, which rows are handed out, and that what is signed holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from holdfast.core.parts import pseudo_random_key
from holdfast.core.recall_orders import RecallDelivery, RecallOrder, parse_recall_delivery
from holdfast.core.recalls import RecallDocument, query_digest, recall_blocks, recall_key, verify_context, verify_recall
from holdfast.core.statements import Statement, parse_envelope, parse_statement
from holdfast.errors import UsageError
from tests.helpers.memory import PASSPHRASE, RUNS, MemoryWorld, User

KEY = recall_key(pseudo_random_key(RUNS[0], bytes(32)))


def play(folder: Path, story: Callable[[MemoryWorld], Awaitable[None]], **settings: Any) -> None:
    """Run a story in a world of its own."""

    async def main() -> None:
        world = MemoryWorld(folder, **settings)
        try:
            await story(world)
        finally:
            world.close()

    asyncio.run(main())


def order(asker: User, query: str = "What do I play?", **change: Any) -> dict[str, Any]:
    given = RecallOrder(RUNS[0], asker.id, query, KEY, coarse=False, nonce="n" * 16, parent_run=None)
    return {**given.to_json(), **change}


async def recalled(
    user: User, query: str = "What do I play?", **change: Any
) -> tuple[Statement, RecallDocument, RecallDelivery]:
    """A recall that holds: its statement, document, and what was handed out."""
    delivery = parse_recall_delivery(await user.ask("POST", "/v1/recall", order(user, query, **change)))
    statement = parse_statement(parse_envelope(delivery.envelope))
    document = verify_recall(statement, delivery.document, delivery.salt)
    verify_context(document, recall_blocks(document, delivery.claims), KEY)
    return statement, document, delivery


def test_what_is_no_order_and_whose_key_it_is_not_is_refused(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        user, other = await world.user(), await world.user()
        for change, status, code in (
            ({"user": other.id}, 403, "memory.owner"),
            ({"query": ""}, 400, "recall.order"),
            ({"query": "x" * 8193}, 400, "recall.order"),
            ({"run": "no run"}, 400, "recall.order"),
            ({"nonce": "short"}, 400, "recall.order"),
            ({"coarse": 1}, 400, "recall.order"),
            ({"key": "00"}, 400, "encoding.hex"),
            ({"more": 1}, 400, "recall.order"),
        ):
            reply = await user.send("POST", "/v1/recall", order(user, **change))
            assert (reply.status, reply.json()["error"]["code"]) == (status, code), change
        writes = await user.application("memories:write")
        reply = await writes.send("POST", "/v1/recall", order(user))
        assert (reply.status, reply.json()["error"]["code"]) == (403, "memory.scope")
        stranger = User(world, user.id, "hfm_nobody")
        assert (await stranger.send("POST", "/v1/recall", order(user))).status == 401
        assert world.embedder.texts == []

    play(tmp_path, story)


def test_rows_that_stand_as_facts_are_handed_out_and_the_others_are_told_of(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        owner = await world.user()
        key = await owner.application()
        cello = await owner.note("Plays the cello on Tuesdays.")
        old = await owner.note("Plays the piano badly.", type="semantic")
        await owner.ask("POST", f"/v1/memories/{old['id']}/withdraw")
        guess = await key.note("May play the harp.")
        statement, document, delivery = await recalled(owner)
        assert delivery.claims == {cello["id"]: "Plays the cello on Tuesdays."}
        assert [row.standing for row in document.rows] == ["earned"]
        told = {row.row: (row.standing, row.why) for row in document.kept_out}
        assert told == {old["id"]: ("withdrawn", "standing"), guess["id"]: ("background", "standing")}
        assert (statement.run, statement.nonce, statement.attester) == (RUNS[0], "n" * 16, world.document.digest)
        assert document.query == query_digest(KEY, "What do I play?")
        assert document.index.model == world.embedder.model
        assert document.index.rows == 3
        assert b"cello" not in delivery.document

    play(tmp_path, story)


def test_a_row_that_ages_is_marked_and_can_be_kept_out(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        user = await world.user()
        await user.note("Plays the cello.", categories=["interests"])
        world.sleep(200)
        _, document, _ = await recalled(user)
        assert [(row.standing, row.age_s // 86_400) for row in document.rows] == [("aging", 200)]
        world.sleep(400)
        _, document, delivery = await recalled(user)
        assert (delivery.claims, document.rows) == ({}, ())
        assert [row.standing for row in document.kept_out] == ["background"]

    play(tmp_path, story)


def test_a_run_into_which_a_row_was_recalled_cannot_renew_it(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        user = await world.user()
        row = await user.note("Plays the cello.")
        await recalled(user)
        assert (await user.row(row["id"]))["used"] == 1
        source = {"kind": "run", "id": RUNS[0], "lane": "user_said", "spans": ["00" * 32]}
        reply = await user.send("POST", f"/v1/memories/{row['id']}/agree", source)
        assert reply.json()["error"]["code"] == "memory.self_citation"

    play(tmp_path, story)


def test_the_index_follows_its_rows_and_goes_with_its_vault(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        user = await world.user()
        cello = await user.note("Plays the cello.")
        first = (await recalled(user))[1].index
        assert world.vaults._open[user.id].index is not None
        await user.note("Plays chess.")
        second = (await recalled(user))[1].index
        assert (first.rows, second.rows) == (1, 2)
        assert first.version != second.version
        claims = [text for text in world.embedder.texts if text.startswith("Plays")]
        assert claims == ["Plays the cello.", "Plays chess."]
        world.vaults.drop(user.id)
        assert (await recalled(user))[1].index == second
        assert [text for text in world.embedder.texts if text.startswith("Plays")] == claims
        await user.send("DELETE", f"/v1/memories/{cello['id']}")
        assert user.id not in world.vaults._open or world.vaults._open[user.id].index is None
        _, document, delivery = await recalled(user)
        assert (document.index.rows, list(delivery.claims.values())) == (1, ["Plays chess."])

    play(tmp_path, story)


def test_vectors_are_kept_sealed(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        user = await world.user()
        row = await user.note("Plays the cello.")
        await recalled(user)
        kept = world.store.beside(user.id, f"vector.{world.embedder.model[:16]}")
        assert list(kept) == [row["id"]]
        assert len(kept[row["id"]]) > 4 * 26
        assert b"\x00\x00\x80\x3f" * 2 not in kept[row["id"]]

    play(tmp_path, story)


def test_another_model_makes_another_index(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        user = await world.user()
        await user.note("Plays the cello.")
        first = (await recalled(user))[1].index
        world.embedder.model = "66" * 32
        second = (await recalled(user))[1].index
        assert (first.model, second.model) == ("55" * 32, "66" * 32)
        assert first.version != second.version

    play(tmp_path, story)


def test_a_private_run_is_told_the_minute(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        user = await world.user()
        world.clock._elapsed += 12.5
        statement, document, _ = await recalled(user, coarse=True)
        assert not statement.claimed_at.second
        assert not document.at.second
        assert document.rows == ()

    play(tmp_path, story)


def test_no_more_rows_are_handed_out_than_the_settings_allow(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        user = await world.user()
        for number in range(5):
            await user.note(f"Plays the cello, part {number}.")
        _, document, delivery = await recalled(user, "Who plays the cello?")
        assert (len(delivery.claims), document.found) == (2, 5)
        assert {row.why for row in document.kept_out} == {"room"}
        assert json.loads(delivery.document)["policy"]["most"] == 2

    play(tmp_path, story, recall_rows=2)


def test_a_passphrase_is_not_needed_to_recall(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        user = await world.user(PASSPHRASE)
        reader = await user.application("memories:read")
        await user.note("Plays the cello.")
        assert len((await recalled(reader))[2].claims) == 1

    play(tmp_path, story)


def test_a_row_that_is_erased_while_it_is_recalled_is_not_handed_out(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        user = await world.user()
        kept, gone = [(await user.note(claim))["id"] for claim in ("Plays the oboe.", "Plays the cello.")]
        use, searched = world.service.use, 0

        async def erased_first(principal: Any, rows: Any, run: Any) -> None:
            nonlocal searched
            searched += 1
            if gone in rows:
                await user.ask("DELETE", f"/v1/memories/{gone}")
            await use(principal, rows, run)

        world.service.use = erased_first  # type: ignore[method-assign]
        _, document, delivery = await recalled(user)
        assert [row.row for row in document.rows] == [kept] == list(delivery.claims)
        assert searched == 2
        gone = (await user.note("Plays the flute."))["id"]
        found = await user.find("What do I play?", run=RUNS[1])
        assert [row["id"] for row in found] == [kept]

    play(tmp_path, story)


def test_a_search_whose_rows_are_erased_again_and_again_ends(tmp_path: Path) -> None:
    async def story(world: MemoryWorld) -> None:
        user = await world.user()

        async def gone(*_: Any) -> None:
            raise UsageError("memory.unknown", "there is no such row", status=404)

        await user.note("Plays the oboe.")
        world.service.use = gone  # type: ignore[assignment]
        reply = await user.send("POST", "/v1/recall", order(user))
        assert (reply.status, reply.code) == (409, "memory.busy")

    play(tmp_path, story)
