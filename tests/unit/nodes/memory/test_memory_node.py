"""The memory node over its HTTP shape: who may do what, what becomes of rows, MemSync's surface."""

from __future__ import annotations

import asyncio
import functools

import pytest

from tests.helpers.memory import PASSPHRASE, RUNS, MemoryWorld, User


@pytest.fixture
def world(tmp_path):
    made = MemoryWorld(tmp_path)
    yield made
    made.close()


def in_loop(test):
    @functools.wraps(test)
    def run(*arguments, **more):
        asyncio.run(test(*arguments, **more))

    return run


def standings(rows):
    return {row["memory"]: row["standing"] for row in rows}


async def code(reply):
    return (await reply).code


# Refusals first


@in_loop
async def test_nobody_registers_without_the_token(world, tmp_path):
    assert (await world.send("POST", "/v1/users", {"passphrase": PASSPHRASE})).code == "auth.missing"
    closed = MemoryWorld(tmp_path, registration=None)
    wrong = [("authorization", "Bearer registration")]
    assert (await closed.send("POST", "/v1/users", {"passphrase": PASSPHRASE}, wrong)).code == "auth.wrong"
    closed.close()


@in_loop
async def test_a_passphrase_that_can_be_guessed_is_refused(world):
    headers = [("authorization", "Bearer registration")]
    assert (await world.send("POST", "/v1/users", {"passphrase": "short"}, headers)).code == "memory.passphrase"
    assert world.store.users() == 0


@in_loop
async def test_without_a_key_nothing_is_read(world):
    await world.user()
    for headers, expected in (
        ([], "auth.missing"),
        ([("x-api-key", "memsync_sk_live_1")], "memory.api_key"),
        ([("authorization", "Basic abc")], "auth.missing"),
        ([("authorization", "Bearer hfs_00")], "memory.locked"),
    ):
        reply = await world.send("GET", "/v1/memories", None, headers)
        assert (reply.status, reply.code) == (401, expected)


@in_loop
async def test_a_wrong_key_is_told_so_and_nothing_is_lost(world):
    anna, ben = await world.user(), await world.user()
    row = await anna.note("Plays the oboe.")
    wrong = User(world, anna.id, anna.key.split(".")[0] + "." + ben.key.split(".")[1])
    reply = await wrong.send("GET", "/v1/memories")
    assert (reply.status, reply.code) == (401, "memory.key")
    assert "nothing was changed or lost" in reply.json()["error"]["hint"]
    assert (await anna.row(row["id"]))["memory"] == "Plays the oboe."
    assert b"holdfast_memory_refused_keys_total 1.0" in world.metrics.render()


@in_loop
async def test_an_application_can_do_what_its_scopes_say_and_no_more(world):
    anna = await world.user()
    row = (await anna.note("Plays the oboe."))["id"]
    reader = await anna.application("memories:read")
    assert await reader.find("oboe")
    for method, path, body in (
        ("POST", "/v1/memories", {"messages": [{"role": "user", "content": "I like tea."}]}),
        ("PATCH", f"/v1/memories/{row}", {"content": "x"}),
        ("DELETE", f"/v1/memories/{row}", None),
        ("GET", "/v1/profile", None),
    ):
        assert (await reader.send(method, path, body)).code == "memory.scope"
    writer = await anna.application()
    for method, path, body in (
        ("POST", f"/v1/memories/{row}/confirm", None),
        ("POST", f"/v1/memories/{row}/withdraw", None),
        ("POST", "/v1/export", {"passphrase": "x"}),
        ("POST", "/v1/import", {"file": []}),
        ("POST", "/v1/rotate", {"passphrase": PASSPHRASE}),
        ("POST", "/v1/erase", {"user_id": anna.id}),
        ("POST", "/v1/api-keys", {"name": "more", "scopes": ["owner"]}),
        ("GET", "/v1/api-keys", None),
        ("PUT", "/v1/users/bio", {"user_bio": "I am rich."}),
    ):
        assert (await writer.send(method, path, body)).code == "memory.scope", path
    assert (await anna.row(row))["standing"] == "earned"


@in_loop
async def test_a_stored_scope_that_was_changed_opens_nothing(world, tmp_path):
    anna = await world.user()
    reader = await anna.application("memories:read")
    await anna.note("Plays the oboe.")
    world.store._plainly("UPDATE memory_wraps SET scopes='owner' WHERE scopes='memories:read'")
    assert (await reader.send("GET", "/v1/memories")).code == "memory.key"


@in_loop
async def test_a_key_that_ended_opens_nothing(world):
    anna = await world.user()
    body = {"name": "short", "scopes": ["memories:read"], "expires_at": "2026-01-02T00:00:00.000Z"}
    made = await anna.ask("POST", "/v1/api-keys", body)
    application = User(world, anna.id, made["key"])
    assert (await application.send("GET", "/v1/memories")).status == 200
    world.sleep(1)
    assert (await application.send("GET", "/v1/memories")).code == "memory.key"
    ended = await anna.application()
    await anna.ask("DELETE", f"/v1/api-keys/{ended.key[4:20]}")
    assert (await ended.send("GET", "/v1/memories")).code == "memory.key"
    assert (await anna.send("DELETE", f"/v1/api-keys/{ended.key[4:20]}")).code == "memory.unknown_key"


@in_loop
async def test_what_makes_no_sense_is_refused_by_name(world):
    anna = await world.user()
    for body, param in (
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"memory": ""}, "memory"),
        ({"memory": "x", "type": "eternal"}, "type"),
        ({"memory": "x", "categories": ["secrets"]}, "categories"),
        ({"memory": "x", "slot": "Where I live"}, "slot"),
        ({"memory": "x", "derived_from": ["mem_1"]}, "derived_from"),
        ({"messages": [{"role": "user", "content": "x"}], "agent_id": 3}, "agent_id"),
        ({"messages": [{"role": "user", "content": "x"}], "run": "r"}, "run"),
    ):
        error = (await anna.send("POST", "/v1/memories", body)).json()["error"]
        assert (error["code"], error["param"]) == ("memory.request", param)
    for body in ({}, {"query": "x", "limit": 0}, {"query": "x", "limit": True}, {"query": "x", "standings": ["true"]}):
        assert (await anna.send("POST", "/v1/memories/search", body)).code == "memory.request"
    assert (await anna.send("GET", "/v1/memories?page=0")).code == "memory.request"
    assert (await anna.send("GET", f"/v1/memories/mem_{'0' * 32}")).code == "memory.unknown"
    assert (await anna.send("POST", "/v1/integrations/social", {})).code == "memory.integration"


# Remembering and standing


@in_loop
async def test_what_its_user_says_is_earned_and_what_a_model_said_is_not_kept(world):
    anna = await world.user()
    done = await anna.say("I live in Lisbon. Could you find me a flat?")
    assert [row["memory"] for row in done["memories"]] == ["Lives in Lisbon."]
    assert done["memories_created"] == 1
    row = done["memories"][0]
    assert (row["standing"], row["authority"], row["slot"]) == ("earned", "user_said", "home")
    assert (row["source"], row["agent_id"], row["thread_id"]) == ("chat", "agent", "thread")
    assert (await anna.say("I live in Rome.", role="assistant"))["memories"] == []


@in_loop
async def test_rows_age_lapse_and_stay_findable(world):
    anna = await world.user()
    await anna.note("Takes the night train to Berlin.", categories=["travel"])
    seen = []
    for days in (0, 30, 90):
        world.sleep(days)
        found = await anna.find("night train")
        seen.append(found[0]["standing"])
    assert seen == ["earned", "aging", "background"]
    assert await anna.find("night train", standings=["earned", "aging"]) == []


@in_loop
async def test_being_recalled_is_written_down_and_renews_nothing(world):
    anna = await world.user()
    row = (await anna.note("Takes the night train to Berlin.", categories=["travel"]))["id"]
    for week in range(17):
        world.sleep(7)
        await anna.find("night train", run=RUNS[week % 16])
    found = await anna.row(row)
    assert (found["used"], found["standing"]) == (17, "aging")
    world.sleep(1)
    assert (await anna.row(row))["standing"] == "background"
    history = await anna.ask("GET", f"/v1/memories/{row}/history")
    assert [event["type"] for event in history["history"]] == ["added", *["used"] * 17]


@in_loop
async def test_saying_it_again_in_another_run_renews_it(world):
    anna = await world.user()
    first = await anna.say("I work at Acme.", run=RUNS[1])
    world.sleep(200)
    assert (await anna.row(first["memories"][0]["id"]))["standing"] == "aging"
    again = await anna.say("I work at Acme.", run=RUNS[2])
    assert (again["memories_created"], again["renewed"]) == (0, [first["memories"][0]["id"]])
    assert (await anna.row(again["renewed"][0]))["standing"] == "earned"


@in_loop
async def test_a_conversation_without_a_run_or_with_an_old_one_renews_nothing(world):
    anna = await world.user()
    row = (await anna.say("I work at Acme.", run=RUNS[1]))["memories"][0]["id"]
    world.sleep(200)
    await anna.find("Acme", run=RUNS[3])
    for run in (None, RUNS[1], RUNS[3]):
        done = await anna.say("I work at Acme.", run=run)
        assert (done["memories_created"], done["renewed"], done["known"]) == (0, [], [row])
    assert (await anna.row(row))["standing"] == "aging"


@in_loop
async def test_a_run_that_recalled_a_summary_renews_no_row_under_it(world):
    anna = await world.user()
    row = (await anna.say("I work at Acme.", run=RUNS[1]))["memories"][0]["id"]
    await anna.note("Somebody at Acme, as a summary says.", derived_from=[row])
    await anna.find("summary", limit=1, run=RUNS[2])
    assert (await anna.say("I work at Acme.", run=RUNS[2]))["known"] == [row]


@in_loop
async def test_a_summary_has_the_authority_of_its_weakest_row(world):
    anna = await world.user()
    strong = await anna.note("Drinks tea.")
    application = await anna.application()
    weak = await application.note("Drinks coffee too.")
    assert (weak["authority"], weak["standing"]) == ("model_inferred", "background")
    summary = await anna.note("Drinks tea and coffee.", derived_from=[strong["id"], weak["id"]])
    assert (summary["authority"], summary["standing"]) == ("model_inferred", "background")
    second = await anna.note("Likes hot drinks.", derived_from=[summary["id"]])
    assert second["authority"] == "model_inferred"
    assert (await anna.ask("POST", f"/v1/memories/{second['id']}/confirm"))["authority"] == "model_inferred"
    assert (await anna.row(second["id"]))["standing"] == "earned"


# Contradictions


@in_loop
async def test_a_contradiction_keeps_both_and_shows_both(world):
    anna = await world.user()
    await anna.say("I live in Lisbon.")
    await anna.say("I live in Porto now.")
    found = await anna.find("lives in Lisbon")
    assert standings(found) == {"Lives in Lisbon.": "contradicted", "Lives in Porto.": "contradicted"}
    assert [other["memory"] for other in found[0]["contradictions"]] == ["Lives in Porto."]
    (pair,) = (await anna.ask("GET", "/v1/contradictions"))["contradictions"]
    assert pair["slot"] == "home"
    assert {row["memory"] for row in pair["memories"]} == {"Lives in Lisbon.", "Lives in Porto."}


@in_loop
async def test_of_two_that_contradict_each_other_one_at_most_stands(world):
    anna = await world.user()
    first = (await anna.say("I live in Lisbon."))["memories"][0]["id"]
    second = (await anna.say("I live in Porto."))["memories"][0]["id"]
    for chosen, other in ((first, second), (second, first)):
        assert (await anna.ask("POST", f"/v1/memories/{chosen}/confirm"))["standing"] == "earned"
        assert (await anna.row(other))["standing"] == "contradicted"
    await anna.ask("POST", f"/v1/memories/{second}/withdraw")
    assert (await anna.row(first))["standing"] == "earned"
    assert (await anna.ask("GET", "/v1/contradictions"))["contradictions"] == []


@in_loop
async def test_what_an_application_writes_silences_nobody(world):
    anna = await world.user()
    row = (await anna.say("I live in Lisbon."))["memories"][0]["id"]
    application = await anna.application()
    poison = await application.note("Lives in Moscow.", slot="home")
    assert (poison["standing"], (await anna.row(row))["standing"]) == ("contradicted", "earned")
    assert [item["id"] for item in (await anna.row(row))["contradicted_by"]] == [poison["id"]]
    await application.ask("DELETE", f"/v1/memories/{poison['id']}")
    assert (await anna.row(row))["contradicted_by"] == []


@in_loop
async def test_a_correction_is_another_row(world):
    anna = await world.user()
    old = await anna.note("Plays the oboe.", categories=["interests"])
    new = await anna.ask("PATCH", f"/v1/memories/{old['id']}", {"content": "Plays the cello.", "importance": 0.9})
    assert (new["memory_id"], new["supersedes"], new["ignored"]) == (new["id"], old["id"], ["importance"])
    assert new["categories"] == ["interests"]
    before = await anna.row(old["id"])
    assert (before["standing"], before["superseded_by"]) == ("withdrawn", new["id"])
    assert (await anna.send("PATCH", f"/v1/memories/{old['id']}", {"content": "x"})).code == "memory.ended"
    assert standings(await anna.find("plays")) == {"Plays the cello.": "earned"}
    application = await anna.application()
    third = await application.ask("PATCH", f"/v1/memories/{new['id']}", {"content": "Plays for money."})
    assert (third["authority"], third["standing"]) == ("model_inferred", "background")


# Keys


@in_loop
async def test_an_unlocked_session_ends_when_nobody_uses_it(world):
    anna = await world.user()
    await anna.note("Plays the oboe.")
    token = (await anna.ask("POST", "/v1/unlock", {"user_id": anna.id, "passphrase": PASSPHRASE}))["token"]
    session = [("authorization", f"Bearer {token}")]
    assert len((await world.send("GET", "/v1/memories", None, session)).json()["data"]) == 1
    world.sleep(1)
    assert (await world.send("GET", "/v1/memories", None, session)).code == "memory.locked"
    world.vaults.forget()
    world.keyring.forget()
    assert (len(world.vaults._open), len(world.keyring._sessions)) == (0, 0)


@in_loop
async def test_wrong_passphrases_are_counted_and_tell_nothing(world):
    anna = await world.user()
    for user in (anna.id, "usr_nobody"):
        for _ in range(10):
            reply = await world.send("POST", "/v1/unlock", {"user_id": user, "passphrase": "wrong wrong wrong"})
            assert (reply.status, reply.code) == (401, "memory.key")
        reply = await world.send("POST", "/v1/unlock", {"user_id": user, "passphrase": PASSPHRASE})
        assert (reply.status, reply.code) == (429, "memory.too_often")
    world.sleep(1)
    assert (await world.send("POST", "/v1/unlock", {"user_id": anna.id, "passphrase": PASSPHRASE})).status == 200


@in_loop
async def test_rotation_changes_every_key_and_no_row(world):
    anna = await world.user()
    row = await anna.note("Plays the oboe.")
    application = await anna.application()
    before = await anna.ask("GET", f"/v1/memories/{row['id']}/history")
    assert (await anna.send("POST", "/v1/rotate", {"passphrase": "wrong wrong wrong"})).code == "memory.key"
    done = await anna.ask("POST", "/v1/rotate", {"passphrase": PASSPHRASE, "new_passphrase": "another one entirely"})
    assert done["ended"] == [application.key[4:20]]
    assert (await application.send("GET", "/v1/memories")).code == "memory.key"
    assert await anna.ask("GET", f"/v1/memories/{row['id']}/history") == before
    await anna.note("Plays the cello.")
    unlocked = {"user_id": anna.id, "passphrase": PASSPHRASE}
    assert (await world.send("POST", "/v1/unlock", unlocked)).code == "memory.key"
    unlocked["passphrase"] = "another one entirely"
    assert (await world.send("POST", "/v1/unlock", unlocked)).status == 200


@in_loop
async def test_locking_lets_go_of_everything(world):
    anna = await world.user()
    token = (await anna.ask("POST", "/v1/unlock", {"user_id": anna.id, "passphrase": PASSPHRASE}))["token"]
    assert (await anna.ask("POST", "/v1/lock"))["sessions"] == 1
    assert len(world.vaults._open) == 0
    session = [("authorization", f"Bearer {token}")]
    assert (await world.send("GET", "/v1/memories", None, session)).code == "memory.locked"


@in_loop
async def test_locking_lets_go_of_rows_that_are_being_read_as_well(world):
    anna = await world.user()
    await anna.note("Plays the oboe.")
    world.vaults.drop(anna.id)
    reply, _ = await asyncio.gather(anna.send("GET", "/v1/memories"), anna.ask("POST", "/v1/lock"))
    assert reply.status == 200
    assert len(world.vaults._open) == 0


# MemSync's surface


@in_loop
async def test_memsyncs_calls_are_answered_in_memsyncs_shapes(world):
    anna = await world.user()
    for text in (
        "I live in Lisbon.",
        "I work at Acme.",
        "I like old maps.",
        "I am allergic to nuts.",
        "I study Greek.",
    ):
        await anna.say(text)
    found = (await anna.ask("POST", "/memories/search", {"query": "maps", "rerank": True, "limit": 2}))["memories"][0]
    assert found["memory"] == "I like old maps."
    assert 0 <= found["vector_distance"] <= 1
    assert 0 <= found["rerank_score"] <= 1
    listed = await anna.ask("GET", "/v1/memories?page=2&page_size=2")
    assert listed["pagination"] == {
        "page": 2,
        "page_size": 2,
        "total_items": 5,
        "total_pages": 3,
        "has_next": True,
        "has_previous": True,
    }
    assert len(listed["data"]) == 2
    profile = await anna.ask("GET", "/v1/profile")
    assert (profile["user_id"], profile["stats"]["total_memories"]) == (anna.id, 5)
    assert "Lives in Lisbon." in (await anna.ask("GET", "/users/profile"))["user_bio"]
    bio = await anna.ask("GET", "/profile/bio?format=bullets&exclude_categories=health")
    assert "nuts" not in bio["bio"]
    assert (await anna.send("GET", "/profile/bio?format=song")).code == "memory.bio_form"
    written = await anna.ask("PUT", "/v1/users/bio", {"user_bio": "I collect maps."})
    assert written["is_manual"]
    assert (await anna.ask("POST", "/v1/memories/search", {"query": "maps"}))["user_bio"] == "I collect maps."
    await anna.ask("PATCH", "/v1/profile/bio", {"bio": "I draw maps."})
    assert (await anna.ask("GET", "/profile/bio"))["bio"] == "I draw maps."
    assert (await anna.send("PUT", "/v1/users/bio", {"user_bio": "x" * 501})).code == "memory.bio_too_long"
    chat = {"platform": "chatgpt", "chat_data": [{"role": "user", "content": "My name is Anna."}]}
    assert (await anna.ask("POST", "/v1/integrations/chat", chat))["memories"][0]["memory"] == "Is called Anna."
    ids = [row["id"] for row in listed["data"]]
    assert (await anna.ask("POST", "/v1/memories/batch-delete", {"memory_ids": ids}))["deleted"] == 2


@in_loop
async def test_a_bio_needs_something_to_say(world):
    anna = await world.user()
    assert (await anna.send("GET", "/v1/profile/bio")).code == "memory.no_bio"
    assert (await anna.ask("GET", "/v1/profile"))["bio"]["summary"] == ""


@in_loop
async def test_a_bio_tells_nothing_private_and_nothing_that_lapsed(world):
    anna = await world.user()
    await anna.note("Has a secret.", categories=["private"])
    await anna.note("Was in Rome.", categories=["travel"])
    world.sleep(120)
    await anna.note("Plays the oboe.", categories=["interests"])
    assert (await anna.ask("POST", "/v1/memories/search", {"query": "x"}))["user_bio"] == "Plays the oboe."
    assert set((await anna.ask("GET", "/users/profile"))["profiles"]) == {"interests"}


# Moving


@in_loop
async def test_what_comes_in_with_its_history_contradicts_what_is_here(world, tmp_path):
    (tmp_path / "other").mkdir()
    other = MemoryWorld(tmp_path / "other", name="other")
    anna, there = await world.user(), await other.user()
    await there.say("I live in Porto.")
    mine = (await anna.say("I live in Lisbon."))["memories"][0]["id"]
    passphrase = {"passphrase": "a passphrase for a file"}
    export = (await there.send("POST", "/v1/export", passphrase)).json()
    body = {"export": export, **passphrase, "believe": other.document.digest}
    assert (await anna.ask("POST", "/v1/import", body))["added"] == 1
    assert standings((await anna.ask("GET", "/v1/memories"))["data"]) == {
        "Lives in Lisbon.": "contradicted",
        "Lives in Porto.": "contradicted",
    }
    await anna.ask("POST", f"/v1/memories/{mine}/confirm")
    assert (await anna.ask("POST", "/v1/import", body))["known"] == 1
    assert (await anna.row(mine))["standing"] == "earned"
    other.close()


@in_loop
async def test_an_export_goes_and_comes_back_with_what_happened_meanwhile(world, tmp_path):
    (tmp_path / "other").mkdir()
    other = MemoryWorld(tmp_path / "other", name="other")
    anna, there = await world.user(), await other.user()
    row = (await anna.note("Plays the oboe."))["id"]
    passphrase = {"passphrase": "a passphrase for a file"}

    async def carry(one, two, digest):
        export = (await one.send("POST", "/v1/export", passphrase)).json()
        return await two.ask("POST", "/v1/import", {"export": export, **passphrase, "believe": digest})

    assert (await carry(anna, there, world.document.digest))["added"] == 1
    await there.ask("POST", f"/v1/memories/{row}/confirm")
    assert (await carry(there, anna, other.document.digest))["extended"] == 1
    assert (await anna.row(row))["confirmed"] == 1
    await anna.ask("POST", f"/v1/memories/{row}/confirm")
    await there.ask("POST", f"/v1/memories/{row}/withdraw")
    assert (await carry(there, anna, other.document.digest))["differs"] == 1
    assert (await anna.row(row))["standing"] == "earned"
    other.close()
