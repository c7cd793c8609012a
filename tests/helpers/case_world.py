"""A panel that reviews, over a gateway in memory (``gateway_world``): no socket, no task but those a test starts.

The panel's desk, store, follower and JSON side are the product's. The clock is the gateway's and stands still; the
follower's steps are taken by hand: :meth:`CaseWorld.pull` and :meth:`CaseWorld.look_at_all`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.passwords_argon2 import Argon2Passwords
from holdfast.adapters.people_sql import SQLPeopleStore
from holdfast.adapters.storage_files import FileStorage
from holdfast.cli.development import DEFAULT_QUEUE_POLICY
from holdfast.client.settled import SettledEntries
from holdfast.core.trust import Trust
from holdfast.errors import UnavailableError
from holdfast.nodes.panel.app import create_app
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.contents import Contents
from holdfast.nodes.panel.follower import Follower
from holdfast.nodes.panel.people import PanelPeople
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.service import PanelService
from holdfast.ports.http import Answer
from holdfast.ports.settings import Secret
from holdfast.review.desk import Desk
from holdfast.review.events import Actor
from holdfast.review.people import People, PeopleConfig, form_token
from holdfast.review.roles import OPERATOR
from holdfast.review.sign_in import SignIn
from tests.helpers import asgi
from tests.helpers.decisions import RECIPIENT, trust_with_panel
from tests.helpers.gateway_world import PANEL_KEY, World
from tests.helpers.network import ORIGIN
from tests.helpers.people import CHEAP, PASSWORD, Counted

HOST = ("host", "localhost")
URL = "http://gateway.test"


class GatewayHTTP:
    """Implements ``ports.http.HTTP`` by calling the gateway's app."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.silent = False
        self.asked: list[str] = []
        self.altered: dict[str, Answer] = {}
        """Answers given instead of the gateway's, by the beginning of a path."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> Answer:
        path = url.removeprefix(URL)
        self.asked.append(path)
        if self.silent:
            raise UnavailableError("http.unreachable", "silent")
        for beginning, answer in self.altered.items():
            if path.startswith(beginning):
                return answer
        reply = await asgi.request(self._world.app(), method, path, body, list((headers or {}).items()))
        return Answer(reply.status, reply.body)

    def bundles(self) -> int:
        """How often a bundle was asked for."""
        return sum(path.endswith("/bundle") for path in self.asked)


class CaseWorld:
    """A gateway and the panel behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.queues = folder / "queues"
        self.world = World(folder / "gateway")
        self.trust: Trust = self.world.trust
        self._random = Counted()
        self.reads = True
        """Whether the panel has a key that runs are encrypted to."""
        self.world.wrap_trust = trust_with_panel(self.world.network)
        self._reader: str | None = None

    async def start(self) -> CaseWorld:
        """Start both, on what is in the folder."""
        (self.folder / "gateway").mkdir(exist_ok=True)
        if not self.queues.exists():
            self.queues.mkdir()
            self.write_policy("default", DEFAULT_QUEUE_POLICY)
        await self.world.start()
        await self.start_panel()
        return self

    async def start_panel(self) -> None:
        """The panel alone; after :meth:`stop_panel` it is one that was started again."""
        store = SQLCaseStore(f"sqlite:///{self.folder / 'cases.sqlite'}")
        storage = FileStorage(self.folder / "panel")
        self.metrics = MemoryMetrics()
        people_store = SQLPeopleStore(f"sqlite:///{self.folder / 'people.sqlite'}")
        settings = PeopleConfig(**CHEAP, workspace="first")
        self.people = People(people_store, settings, self.world.clock, self._random)
        passwords = Argon2Passwords(8, 1, 1, self._random)
        self.house = PanelPeople(SignIn(self.people, passwords, settings, self.world.clock), people_store)
        self.desk = Desk(store, self.world.clock, lambda: self.trust, roles=self.people.roles_of_name)
        self.review = Review(self.desk, store, storage, self.queues, self.world.clock, self.metrics)
        self.http = GatewayHTTP(self.world)
        opener = RECIPIENT.open if self.reads else None
        self.review.contents = Contents(self.http, URL, Secret(PANEL_KEY, "test"), opener, self.world.clock)
        self.follower = Follower(
            self.review,
            self.http,
            URL,
            Secret(PANEL_KEY, "test"),
            self.world.clock,
            storage,
            poll_s=0.25,
            pending_s=2.0,
            at_once=4,
            verdicts=self.settled().verdicts,
        )
        self.review.find_run, self.review.fetch_run = self.follower.find_run, self.follower.ask
        self.review.ask_gateway = self.follower.send
        self.service = PanelService(PanelConfig(gateway=URL), self.world.clock, self.metrics, self.review, self.house)
        self.app = create_app(self.service)
        await self.review.call(self.review._read_policies, True)

    def settled(self) -> SettledEntries:
        """The rounds as the panel reads them from the full nodes."""
        return SettledEntries(self.world.tree, self.world.nodes, ORIGIN, lambda: self.trust)

    async def stop_panel(self) -> None:
        await self.review.call(self.review.store.close)
        self.review._worker.shutdown()
        self.house.close()

    async def stop(self) -> None:
        await self.stop_panel()
        await self.world.stop()

    def write_policy(self, queue: str, text: str) -> None:
        """Author a queue's policy."""
        (self.queues / f"{queue}.toml").write_text(text)

    # The gateway's side

    async def ask(self, queue: str = "default", **more: Any) -> str:
        """One answered run that names a queue."""
        return await self.world.answer(queue=queue, **more)

    async def settle(self, number: int = 1, **more: Any) -> None:
        """Deliver everything and make a round final over it, as the gateway sees it."""
        await self.world.deliver()
        await self.world.cosign(4)
        self.world.finalise(self.world.candidate(number, **more))
        await self.world.follow()

    # The panel's side

    async def pull(self) -> None:
        """Take in every opening there is."""
        while await self.follower.pull_once():
            pass

    async def look_at_all(self) -> int:
        """Fetch what is due, once; returns how much that was."""
        runs = self.follower._schedule.take(self.world.clock.monotonic(), 1000)
        for run in runs:
            await self.follower.look(run)
        return len(runs)

    async def tick(self) -> None:
        """Turns of the desk until nothing is due."""
        while (await self.review.call(self.desk.tick)).more:
            pass

    async def orders(self) -> list[dict[str, Any]]:
        """Bodies of the recalls that were ordered."""
        events = await self.review.call(self.desk.journal, Actor("system", "panel"), 0, 10_000)
        return [dict(event.body) for event in events if event.kind == "recall_ordered"]

    async def get(self, path: str, *headers: tuple[str, str]) -> asgi.Reply:
        """A program's GET."""
        return await asgi.request(self.app, "GET", path, headers=[HOST, *headers])

    async def post(self, path: str, body: bytes, *headers: tuple[str, str]) -> asgi.Reply:
        """A program's POST."""
        return await asgi.request(self.app, "POST", path, body, [HOST, *headers])

    # People

    async def let_in(self, name: str, *roles: str) -> tuple[tuple[str, str], ...]:
        """Somebody with an account who is signed in: the headers of their requests, the form's token among them."""
        if self.people.is_empty():
            code = self.people.first_code(roles)
            signed_in = await self.house.sign_in.redeem(code, PASSWORD, name, name.title())
        else:
            _, code = self.people.add(OPERATOR, name, name.title(), roles)
            signed_in = await self.house.sign_in.redeem(code, PASSWORD)
        cookie = f"{self.service.access.cookie_name}={signed_in.token}"
        return ("cookie", cookie), ("x-holdfast-token", form_token(signed_in.token)), ("origin", "http://localhost")

    def reader(self) -> tuple[tuple[str, str], ...]:
        """Headers of a program that reads cases and queues; none while nobody was let in."""
        if self.people.is_unused():
            return ()
        if self._reader is None:
            _, self._reader = self.people.add_key(OPERATOR, "first", "reads", ["case:read", "queue:read"])
        return (("authorization", f"Bearer {self._reader}"),)

    async def case(self, run: str) -> dict[str, Any]:
        """The one case of a run, as programs see it."""
        reply = await self.get(f"/v1/cases?run={run}", *self.reader())
        assert reply.status == 200, reply.body
        (found,) = reply.json()["cases"]
        value: dict[str, Any] = found
        return value


def play_cases(story: Callable[[CaseWorld], Awaitable[None]], folder: Path) -> None:
    """Run a story in a started world, and stop it."""

    async def main() -> None:
        world = await CaseWorld(folder).start()
        try:
            await story(world)
        finally:
            await world.stop()

    asyncio.run(main())
