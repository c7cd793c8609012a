"""A gateway on storage, clock, log and upstream of the test's choice; no socket, no thread but the index's.

:class:`MemoryLog` is a log writer that outlives the gateway's crashes, as a real log would: it orders entries and
deduplicates by digest.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from holdfast.adapters.run_index_sql import SQLRunIndex
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.client.log_writer import Accepted
from holdfast.core.encoding import sha256, sha256_hex
from holdfast.core.keys import PublicKey, build_key_document
from holdfast.core.statements import Statement, parse_commitment, parse_envelope, parse_statement
from holdfast.errors import UnavailableError
from holdfast.nodes.gateway.catalog import Catalog
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.ledger import Ledger
from holdfast.nodes.gateway.outbox import Outbox
from holdfast.nodes.gateway.request import Ask, parse_ask
from holdfast.nodes.gateway.service import Gateway, Limits
from holdfast.nodes.gateway.turn import Identity
from holdfast.ports.clock import Clock
from holdfast.ports.storage import Storage
from holdfast.ports.upstream import Upstream
from tests.helpers.upstreams import MODEL


class MemorySigner:
    """An Ed25519 key made from a name: the same name, the same key."""

    def __init__(self, name: str, use: str = "statement") -> None:
        self._private = ed25519.Ed25519PrivateKey.from_private_bytes(sha256(name.encode()))
        self._key = PublicKey(use, "ed25519", self._private.public_key().public_bytes_raw())

    @property
    def key(self) -> PublicKey:
        return self._key

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


SIGNER = MemorySigner("gateway")
DOCUMENT = build_key_document("gateway.test", ["gateway"], "holdfast/test", [SIGNER.key])
IDENTITY = Identity(DOCUMENT.digest, SIGNER, SIGNER.key.key_id)


@dataclass
class MemoryLog:
    """Implements ``client.log_writer.LogWriter``."""

    entries: list[bytes] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    silent: bool = False
    _places: dict[str, int] = field(default_factory=dict)

    async def append(self, entries: Sequence[bytes]) -> list[Accepted]:
        if self.silent:
            raise UnavailableError("log.unavailable", "the log is silent")
        answers = []
        for entry in entries:
            digest = sha256_hex(entry) if parse_commitment(entry) is not None else parse_envelope(entry).digest
            if digest not in self._places:
                self._places[digest] = len(self.entries)
                self.entries.append(entry)
            answers.append(Accepted(digest, self._places[digest], None))
        return answers

    async def put_blob(self, data: bytes) -> str:
        self.blobs[sha256_hex(data)] = data
        return sha256_hex(data)

    def statements(self) -> list[Statement]:
        """Every logged statement, in log order."""
        return [parse_statement(parse_envelope(raw)) for raw in self.entries if parse_commitment(raw) is None]


@dataclass
class Assembled:
    """A gateway and its parts."""

    gateway: Gateway
    ledger: Ledger
    indexer: Indexer
    outbox: Outbox

    async def start(self) -> None:
        """Recover and index, as the node does before its first run."""
        await self.gateway.recover()
        await self.indexer.rebuild()
        await self.gateway.catalog.refresh()

    async def deliver(self) -> None:
        """Send everything that is durable to the log."""
        while await self.outbox.deliver():
            pass


def assemble(
    storage: Storage,
    log: MemoryLog,
    upstreams: Sequence[Upstream],
    clock: Clock,
    *,
    seed: int = 0,
    mark_s: float = 0.0,
    runs_at_once: int = 64,
    fallbacks: dict[str, str] | None = None,
    segment_bytes: int = 1 << 20,
    **more: Any,
) -> Assembled:
    """A gateway whose randomness is seeded; ``mark_s`` 0 marks every event; ``more`` is the gateway's."""
    wal = WriteAheadLog(storage, "wal", segment_bytes)
    ledger = Ledger(wal, GroupCommit(wal, mode="inline"))
    indexer = Indexer(SQLRunIndex("sqlite://"), ledger)
    outbox = Outbox(ledger, indexer, log, clock, batch=64, on_logged=lambda _run: None)
    chance = random.Random(f"gateway {seed}")
    gateway = Gateway(
        IDENTITY,
        ledger,
        indexer,
        Catalog(upstreams, fallbacks or {}, clock),
        clock,
        Limits(30.0, 5.0, mark_s, runs_at_once),
        random_bytes=chance.randbytes,
        on_closed=lambda _run, _outcome: None,
        **more,
    )
    return Assembled(gateway, ledger, indexer, outbox)


def ask(text: str = "hello", *, endpoint: str = "chat.completions", **more: Any) -> Ask:
    """A parsed request with one user message."""
    value: dict[str, Any] = {"model": MODEL, **more}
    value.setdefault("messages", [{"role": "user", "content": text}])
    return parse_ask(endpoint, json.dumps(value).encode(), {}, default_model=None, settlement="batch")
