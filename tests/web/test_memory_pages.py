"""The page of a memory, its twin, and what the panel passes on to the node: refusals first."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.memory import STANDINGS, WRITERS
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.memory import ACTS
from holdfast.nodes.panel.service import PanelService
from holdfast.web.app import create_app
from tests.helpers.asgi import Reply, request
from tests.helpers.memory import PASSPHRASE, MemoryWorld, User
from tests.helpers.memory_pages import asked
from tests.helpers.panel import TOKEN, ManualClock
from tests.web.test_model_pages import HOST, HTML, _Uncounted, visible

ROW = "mem_" + "0" * 32


class Reader:
    """A browser in front of a panel in front of a memory node."""

    def __init__(self, folder: Path) -> None:
        self.world = MemoryWorld(folder)
        client, self.http = asked(self.world)
        config = PanelConfig(gateway="http://127.0.0.1:1", log="http://127.0.0.1:1", review=False)
        self.app = create_app(PanelService(config, ManualClock(), _Uncounted(), memory=client))  # type: ignore[arg-type]
        self.headers: list[tuple[str, str]] = []

    async def open(self) -> Reply:
        """The page, whose cookie and token later requests carry."""
        page = await request(self.app, "GET", "/memory", headers=HTML)
        cookie, found = page.header("set-cookie"), TOKEN.search(page.body.decode())
        assert cookie is not None
        assert found is not None
        origin = [("origin", "http://127.0.0.1:8500"), ("sec-fetch-site", "same-origin")]
        self.headers = [HOST, ("cookie", cookie.partition(";")[0]), ("x-holdfast-token", found[1]), *origin]
        return page

    async def act(self, name: str, body: Any, key: str | None = None, *, without: str = "") -> Reply:
        """One act as the page's script sends it."""
        headers = [item for item in self.headers if item[0] != without]
        headers += [("x-holdfast-memory-key", key)] if key is not None else []
        return await request(self.app, "POST", f"/memory/acts/{name}", json.dumps(body).encode(), headers)


Scene = Callable[[Reader, User], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scene], None]:
    """Runs a scene with a reader whose page is open, and a user of the node."""

    def run(scene: Scene) -> None:
        async def act() -> None:
            reader = Reader(tmp_path)
            try:
                user = await reader.world.user()
                await reader.open()
                await scene(reader, user)
            finally:
                reader.world.close()

        asyncio.run(act())

    return run


@pytest.mark.parametrize("without", ["x-holdfast-token", "origin", "cookie"])
def test_nothing_is_passed_on_that_did_not_come_from_a_page_of_ours(play, without):
    async def scene(reader: Reader, user: User) -> None:
        reply = await reader.act("me", {}, user.key, without=without)
        assert reply.status in (401, 403)
        assert reply.code in ("panel.token", "panel.origin", "panel.sign_in")
        assert reader.http.sent == []

    play(scene)


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("rotate", {}),
        ("api-keys", {}),
        ("history", {}),
        ("end-key", {}),
        ("end-key", {"wrap": "../unlock"}),
        ("end-key", {"wrap": "0" * 17}),
        ("history", {"row": "mem_../../export"}),
        ("history", {"row": ROW.upper()}),
        ("history", {"row": f"{ROW}/history?"}),
        ("erase", {"row": [ROW]}),
        ("list", {"page": 0}),
        ("list", {"page": True}),
        ("list", {"page": "1&standing=earned"}),
        ("standing", {"page": 1, "standing": "earned&page=2"}),
    ],
)
def test_no_other_path_of_the_node_is_reached(play, act, body):
    async def scene(reader: Reader, user: User) -> None:
        reply = await reader.act(act, body, user.key)
        assert reply.code == "panel.memory"
        assert reader.http.sent == []

    play(scene)


@pytest.mark.parametrize("key", ["", "a b", "k" * 513])
def test_what_cannot_be_a_key_is_not_passed_on(play, key):
    async def scene(reader: Reader, _: User) -> None:
        assert (await reader.act("me", {}, key)).code == "panel.memory_key"
        assert reader.http.sent == []

    play(scene)


def test_without_a_key_the_node_refuses_and_the_page_hears_why(play):
    async def scene(reader: Reader, user: User) -> None:
        for key, code in ((None, "auth.missing"), (f"{user.key[:-2]}AA", "memory.key")):
            reply = await reader.act("me", {}, key)
            assert (reply.status, reply.code) == (401, code)

    play(scene)


def test_a_node_that_does_not_answer_is_told_apart(play):
    async def scene(reader: Reader, user: User) -> None:
        reader.http.silent = True
        reply = await reader.act("me", {}, user.key)
        assert (reply.status, reply.code) == (503, "http.unreachable")

    play(scene)


def test_without_a_memory_node_there_is_no_page_and_no_link():
    config = PanelConfig(gateway="http://127.0.0.1:1", log="http://127.0.0.1:1", review=False)

    async def body() -> None:
        app = create_app(PanelService(config, ManualClock(), _Uncounted()))  # type: ignore[arg-type]
        assert (await request(app, "GET", "/memory.json", headers=[HOST])).code == "panel.memory"
        assert b'href="/memory"' not in (await request(app, "GET", "/about", headers=HTML)).body

    asyncio.run(body())


def test_rows_are_found_judged_and_erased_through_the_panel(play):
    async def scene(reader: Reader, user: User) -> None:
        row = await user.note("I like old maps.")
        assert (await reader.act("me", {}, user.key)).json()["user_id"] == user.id
        found = (await reader.act("search", {"query": "maps", "limit": 50}, user.key)).json()["memories"]
        assert [item["id"] for item in found] == [row["id"]]
        assert (await reader.act("list", {"page": 1}, user.key)).json()["pagination"]["total_items"] == 1
        confirmed = (await reader.act("confirm", {"row": row["id"]}, user.key)).json()
        assert confirmed["confirmed"] == 1
        better = {"row": row["id"], "content": "I like old sea charts."}
        new = (await reader.act("correct", better, user.key)).json()
        assert new["supersedes"] == row["id"]
        gone = (await reader.act("standing", {"page": 1, "standing": "withdrawn"}, user.key)).json()["data"]
        assert [item["id"] for item in gone] == [row["id"]]
        history = (await reader.act("history", {"row": row["id"]}, user.key)).json()["history"]
        assert [event["type"] for event in history] == ["added", "confirmed", "superseded"]
        assert (await reader.act("withdraw", {"row": new["id"]}, user.key)).json()["standing"] == "withdrawn"
        assert (await reader.act("contradictions", {}, user.key)).json() == {"contradictions": []}
        export = await reader.act("export", {"passphrase": PASSPHRASE}, user.key)
        assert (export.header("content-type"), export.header("cache-control")) == ("application/json", "no-store")
        assert export.json()["rows"] == 2
        assert (await reader.act("erase", {"row": row["id"]}, user.key)).json()["erased"] == [row["id"]]
        assert (await reader.act("erase-everything", {"user_id": "usr_other"}, user.key)).code == "memory.erase"
        assert (await reader.act("erase-everything", {"user_id": user.id}, user.key)).json()["erased"] is True
        assert (await reader.act("me", {}, user.key)).code == "memory.key"

    play(scene)


def test_a_passphrase_opens_a_session_and_locking_ends_it(play):
    async def scene(reader: Reader, user: User) -> None:
        wrong = await reader.act("unlock", {"user_id": user.id, "passphrase": "no"})
        assert wrong.code == "memory.key"
        token = (await reader.act("unlock", {"user_id": user.id, "passphrase": PASSPHRASE})).json()["token"]
        assert (await reader.act("me", {}, token)).json()["user_id"] == user.id
        await reader.act("lock", {}, token)
        assert (await reader.act("me", {}, token)).status == 401

    play(scene)


def test_a_key_goes_to_the_node_alone_and_stands_in_no_log_line_and_no_page(play, caplog):
    async def scene(reader: Reader, user: User) -> None:
        with caplog.at_level(0):
            good = await reader.act("me", {}, user.key)
            bad = await reader.act("history", {"row": ROW}, user.key)
            page = await reader.open()
        assert [headers["x-api-key"] for _, _, headers in reader.http.sent] == [user.key, user.key]
        assert not any(user.key in target for _, target, _ in reader.http.sent)
        secret = user.key.partition(".")[2]
        for reply in (good, bad, page):
            assert secret not in reply.body.decode() + repr(reply.headers)
        assert bad.status == 404
        assert secret not in caplog.text

    play(scene)


def test_the_shell_says_nothing_of_anybodys_rows_and_its_twin_has_the_words(play):
    async def scene(reader: Reader, user: User) -> None:
        await user.note("I like old maps.")
        page = await reader.open()
        assert "old maps" not in visible(page)
        assert user.id.encode() not in page.body
        assert not re.search(rb"<script(?![^>]*\bsrc=)", page.body)
        twin = (await request(reader.app, "GET", "/memory.json", headers=[HOST])).json()
        assert [*twin["standings"]] == [*STANDINGS]
        assert {*twin["writers"]} == {*WRITERS}
        assert twin["acts"] == [*ACTS]

    play(scene)


@pytest.mark.parametrize(
    ("member", "key", "status", "code"),
    [
        ("usr_0", None, 401, "panel.memory_key"),
        ("usr_0", "a b", 400, "panel.memory_key"),
        ("", "hfm_0", 400, "panel.memory"),
        (["usr_0"], "hfm_0", 400, "panel.memory"),
        ("u" * 257, "hfm_0", 400, "panel.memory"),
    ],
)
def test_a_question_carries_no_rows_without_a_user_and_a_key(play, member, key, status, code):
    async def scene(reader: Reader, _: User) -> None:
        body = {"model": "m", "messages": [{"role": "user", "content": "Where do I live?"}], "memory": member}
        headers = [*reader.headers, *([("x-holdfast-memory-key", key)] if key else [])]
        reply = await request(reader.app, "POST", "/ask", json.dumps(body).encode(), headers)
        assert (reply.status, reply.code) == (status, code)

    play(scene)


def test_every_act_is_a_path_of_the_node(tmp_path):
    """The table names what the node serves: with a key, none of them is answered with 404 or 405."""

    async def body() -> None:
        world = MemoryWorld(tmp_path)
        try:
            user = await world.user()
            row = (await user.note("I like old maps."))["id"]
            for method, path in [act for name, act in ACTS.items() if name != "erase-everything"]:
                target = path.format(row=row, page=1, standing="earned", wrap=user.key[4:20])
                reply = await user.send(method, f"/v1{target}", {} if method == "POST" else None)
                assert reply.status not in (404, 405), path
        finally:
            world.close()

    asyncio.run(body())
