"""A desk, its webhooks and receivers in memory: every step is taken by hand, on one clock that stands still."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.webhooks_sql import SQLWebhookStore
from holdfast.errors import UnavailableError
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.webhooks import Webhooks
from holdfast.ports.http import Answer
from holdfast.ports.webhook_store import Delivery, Stands, WebhookStore
from holdfast.review.webhooks import Hook, Limits, parse_hook
from holdfast.verifier.gate import GATE_STATES
from tests.helpers.review import Clinic

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
URL = "https://hooks.test/in"


def hook(queue: str = "default", url: str = URL, states: tuple[str, ...] = GATE_STATES, secret: str = SECRET) -> Hook:
    """An endpoint of a queue."""
    return parse_hook(queue, url, secret, states)


def check_signature(headers: Mapping[str, str], body: bytes, key: bytes = KEY) -> bool:
    """What a receiver does, written from the text of Standard Webhooks 1.0.0 and from nothing of ours."""
    signed = headers["webhook-id"].encode() + b"." + headers["webhook-timestamp"].encode() + b"." + body
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    given = [item.partition(",") for item in headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(value, expected) for version, _, value in given)


class Receivers:
    """Implements ``ports.http.HTTP``: takes what is posted, and answers by address."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: dict[str, Callable[[], Answer]] = {}
        self.hanging: dict[str, asyncio.Event] = {}

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
        assert method == "POST"
        self.got.append((url, dict(headers or {}), body))
        if url in self.hanging:
            await self.hanging[url].wait()
            raise UnavailableError("http.unreachable", f"POST {url}: it took too long")
        return self.answers.get(url, lambda: Answer(204))()

    def bodies(self, url: str = URL) -> list[dict[str, Any]]:
        """What came in at an address, in order."""
        return [json.loads(body) for address, _, body in self.got if address == url]

    def told(self, url: str = URL) -> list[str]:
        """The states, in order."""
        return [body["state"] for body in self.bodies(url)]


class AtOnce:
    """An executor without a thread: what a test wants to count and interrupt happens where it stands."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self) -> None:
        """Nothing to end."""


class Office:
    """A clinic that tells endpoints. :meth:`restart` is a process that ended and began again."""

    def __init__(
        self,
        folder: Path,
        hooks: tuple[Hook, ...] | None = None,
        store: WebhookStore | None = None,
        clinic: Clinic | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.folder = folder
        self.clinic = clinic or Clinic()
        self.hooks = (hook(),) if hooks is None else hooks
        self.store = store or SQLWebhookStore("sqlite://")
        self.receivers = Receivers()
        self.limits = limits or Limits()
        self.metrics = MemoryMetrics()
        self.restart()

    def restart(self) -> None:
        """Begin again on the same stores."""
        review = Review(
            self.clinic.reopen(),
            self.clinic.store,
            FileStorage(self.folder),
            self.folder,
            self.clinic.clock,
            self.metrics,
        )
        review._worker = AtOnce()  # type: ignore[assignment]
        self.webhooks = Webhooks(
            review,
            self.clinic.store,
            self.store,
            self.hooks,
            self.receivers,
            self.clinic.clock,
            self.limits,
            lambda: 1.0,
        )
        self.webhooks._worker = AtOnce()  # type: ignore[assignment]

    async def start(self) -> None:
        """What ``run`` does first."""
        await self.webhooks.start()

    async def follow(self) -> None:
        """Take in the whole journal."""
        while await self.webhooks.follow_once():
            pass

    async def send(self) -> int:
        """One turn of every endpoint, to its end; returns how many attempts that were."""
        attempts = 0
        for item in self.hooks:
            tasks = await self.webhooks.begin(item.id)
            outcomes = await asyncio.gather(*tasks)
            await self.webhooks.settle(item.id, outcomes)
            attempts += len(outcomes)
        return attempts

    async def work(self) -> None:
        """Follow and send until nothing is left to do at this moment."""
        await self.follow()
        while True:
            before = self.store.cursor(), self.store.counts()
            attempts = await self.send()
            await self.follow()
            if not attempts and (self.store.cursor(), self.store.counts()) == before:
                return

    def deliveries(self) -> list[Delivery]:
        """Every delivery, in order."""
        every: tuple[Stands, ...] = ("waiting", "delivered", "dropped", "dead")
        found = [item for stands in every for item in self.store.listed(stands, 0, 10_000)]
        return sorted(found, key=lambda item: item.number)

    def rows(self) -> list[tuple[str, str, str, int]]:
        """(state, where it stands, case, event) of every delivery, in order."""
        return [(item.state, item.stands, item.case, item.seq) for item in self.deliveries()]
