"""A memory node on a real store, with a clock that stands still; one world is one event loop's."""

from __future__ import annotations

import datetime as dt
import json
import secrets
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.adapters.memory_store_sql import SQLMemoryStore
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.passwords_argon2 import derive_key
from holdfast.core.keys import build_key_document
from holdfast.core.memory_extraction import Message
from holdfast.core.recalls import RecallPolicy
from holdfast.core.trust import Trust
from holdfast.nodes.edge import Limits
from holdfast.nodes.memory.app import create_app
from holdfast.nodes.memory.config import MemoryConfig
from holdfast.nodes.memory.extraction import Extraction, RuleExtraction
from holdfast.nodes.memory.keyring import Keyring
from holdfast.nodes.memory.metrics import METRICS
from holdfast.nodes.memory.portability import Portability
from holdfast.nodes.memory.recalling import Recalls
from holdfast.nodes.memory.search import Retrieval
from holdfast.nodes.memory.service import MemoryService
from holdfast.nodes.memory.transfer import Cost
from holdfast.nodes.memory.unlocking import Unlocking
from holdfast.nodes.memory.vault import Vaults
from holdfast.ports.memory_store import MemoryStore
from holdfast.ports.settings import Secret
from tests.helpers.asgi import Reply, request
from tests.helpers.clock import FakeClock
from tests.helpers.full_network import ed25519_signer

PASSPHRASE = "correct horse battery staple"
TOKEN = "registration"
RUNS = [f"01970000-0000-7000-8000-{number:012d}" for number in range(16)]


class LetterEmbedder:
    """Implements ``ports.embedder.Embedder``: how often each letter stands in a text."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        """Everything that vectors were made of."""
        self.model = "55" * 32
        self.share = 300_000

    async def embed(self, texts: Sequence[str]) -> list[tuple[float, ...]]:
        self.texts += texts
        return [tuple(float(text.casefold().count(letter)) for letter in string.ascii_lowercase) for text in texts]

    async def close(self) -> None:
        """Nothing is held."""


class MemoryWorld:
    """A node, and users with keys."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "memory",
        store: MemoryStore | None = None,
        clock: FakeClock | None = None,
        extraction: Extraction | None = None,
        trust: Trust | None = None,
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.clock = clock or FakeClock()
        usual = {"passphrase_memory_kib": 64, "passphrase_passes": 1, "registration": Secret(TOKEN, "test")}
        self.config = MemoryConfig(**{**usual, **settings})
        self.store = store or SQLMemoryStore(f"sqlite:///{folder / 'memory.sqlite'}")
        self.metrics = PrometheusMetrics(METRICS)
        self.vaults = Vaults(
            self.store,
            self.clock,
            self.metrics,
            secrets.token_bytes,
            unlock_seconds=self.config.unlock_seconds,
            most=self.config.unlocked_users,
            rows_per_user=self.config.rows_per_user,
        )
        self.keyring = Keyring(self.store, self.config, self.clock, self.metrics, secrets.token_bytes)
        self.unlocking = Unlocking(self.keyring, self.vaults.run, derive_key, self.config.unlocking_at_once)
        self.embedder = LetterEmbedder()
        self.retrieval = Retrieval(self.vaults, self.embedder)
        self.service = MemoryService(
            self.vaults,
            self.keyring,
            self.unlocking,
            extraction or RuleExtraction(),
            self.retrieval,
            self.clock,
            self.metrics,
            secrets.token_bytes,
        )
        self.signer = ed25519_signer(name, "statement")
        self.document = build_key_document(f"{name}.holdfast.test", ["memory"], "test", [self.signer.key])
        portability = Portability(
            self.service,
            self.document,
            self.signer,
            Cost(64, 1, 1),
            clock=self.clock,
            derive_key=derive_key,
            random_bytes=secrets.token_bytes,
            trust=None if trust is None else lambda: trust,
        )
        self.recalls = Recalls(
            self.service,
            self.retrieval,
            self.document,
            self.signer,
            self.clock,
            secrets.token_bytes,
            RecallPolicy(most=self.config.recall_rows, most_bytes=self.config.recall_bytes),
        )
        self.app = create_app(
            self.service,
            portability,
            self.recalls,
            identity=lambda: {"node": self.document.digest},
            registration=self.config.registration,
            limits=Limits(self.config.request_bytes, self.config.request_seconds),
            lifespan=None,  # type: ignore[arg-type]
            metrics=self.metrics.render,
        )

    def close(self) -> None:
        """End the worker and the store."""
        self.unlocking.close()
        self.vaults.close()
        self.store.close()  # type: ignore[attr-defined]

    def sleep(self, days: float) -> None:
        """Let time pass."""
        self.clock._elapsed += dt.timedelta(days=days).total_seconds()

    async def send(self, method: str, path: str, body: Any = None, headers: Sequence[tuple[str, str]] = ()) -> Reply:
        """One request as JSON."""
        raw = b"" if body is None else json.dumps(body).encode()
        return await request(self.app, method, path, raw, headers)

    async def user(self, passphrase: str = PASSPHRASE) -> User:
        """A new user."""
        reply = await self.send("POST", "/v1/users", {"passphrase": passphrase}, [("authorization", f"Bearer {TOKEN}")])
        assert reply.status == 201, reply.body
        made = reply.json()
        return User(self, made["user_id"], made["api_key"])


class User:
    """Somebody with a key at a node."""

    def __init__(self, world: MemoryWorld, user: str, key: str) -> None:
        self.world = world
        self.id = user
        self.key = key

    async def send(self, method: str, path: str, body: Any = None) -> Reply:
        """One request with the user's key."""
        return await self.world.send(method, path, body, [("x-api-key", self.key)])

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer that has to be good."""
        reply = await self.send(method, path, body)
        assert reply.status in (200, 201), reply.body
        return reply.json()

    async def say(self, *texts: str, run: str | None = None, role: str = "user") -> Any:
        """Messages of one conversation."""
        messages = [{"role": role, "content": text} for text in texts]
        body = {"messages": messages, "agent_id": "agent", "thread_id": "thread", "source": "chat"}
        return await self.ask("POST", "/v1/memories", {**body, "metadata": {"run": run} if run else {}})

    async def note(self, text: str, **members: Any) -> Any:
        """One claim, written down."""
        return await self.ask("POST", "/v1/memories", {"memory": text, **members})

    async def find(self, query: str, **members: Any) -> list[Any]:
        """Rows that a search finds."""
        found: list[Any] = (await self.ask("POST", "/v1/memories/search", {"query": query, **members}))["memories"]
        return found

    async def row(self, identifier: str) -> Any:
        """One row."""
        return await self.ask("GET", f"/v1/memories/{identifier}")

    async def application(self, *scopes: str) -> User:
        """An application with a key of its own."""
        body = {"name": "application", **({"scopes": list(scopes)} if scopes else {})}
        return User(self.world, self.id, (await self.ask("POST", "/v1/api-keys", body))["key"])


def messages(*pairs: tuple[str, str]) -> list[Message]:
    """A conversation: role and content of each message."""
    return [Message(role, content) for role, content in pairs]
