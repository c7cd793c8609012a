"""A memory node in one object: rows of one user, searched by their order, and recalls that are really signed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from holdfast.core.encoding import sha256_hex
from holdfast.core.keys import build_key_document
from holdfast.core.memory import Row, Source, begin, build_event, standing_of
from holdfast.core.recall_orders import RecallDelivery, RecallOrder
from holdfast.core.recalls import (
    FoundRow,
    Index,
    RecallPolicy,
    Scores,
    build_recall,
    recall_body,
    recall_record,
)
from holdfast.core.said import Kept, Saying
from holdfast.core.statements import build_envelope, build_payload, pre_authentication_encoding
from holdfast.errors import HoldfastError, RefusedError
from holdfast.ports.clock import Clock
from tests.helpers.network import ed25519_signer

MODEL = "33" * 32
USER, USER_KEY = "alice", "hfm_alice"


def memory_row(number: int, claim: str, made: dt.datetime, writer: str = "user_said", **change: Any) -> Row:
    """A row whose owner, or a model, said something at a time."""
    source = Source("messages", None, writer, (sha256_hex(claim.encode()),))
    members: dict[str, Any] = {
        "claim": claim,
        "kind": "semantic",
        "categories": [],
        "slot": None,
        "writer": writer,
        "authority": writer,
        "sources": [source.to_json()],
        "agent": None,
        "thread": None,
        "origin": None,
        "expires": None,
        "supersedes": None,
        **change,
    }
    return begin(build_event(None, "added", f"mem_{number:032x}", made, **members))


class ScriptedMemoryNode:
    """Implements ``ports.memory_node.MemoryNode``."""

    def __init__(self, clock: Clock) -> None:
        self.signer = ed25519_signer("memory", "statement")
        self.document = build_key_document("memory.test", ["memory"], "holdfast/test", [self.signer.key])
        self.clock = clock
        self.rows: list[Row] = []
        self.orders: list[RecallOrder] = []
        self.said: list[Saying] = []
        self.failure: HoldfastError | None = None
        self.change: Callable[[RecallOrder, RecallDelivery], RecallDelivery] | None = None
        """What a test does to a delivery on its way."""

    async def recall(self, order: RecallOrder, credential: str, *, timeout_s: float) -> RecallDelivery:
        if self.failure is not None:
            raise self.failure
        if credential != USER_KEY or order.user != USER:
            raise RefusedError("memory.key", "this key opens nothing", status=401)
        self.orders.append(order)
        delivery = self.sign(order)
        return delivery if self.change is None else self.change(order, delivery)

    async def remember(self, saying: Saying, credential: str, *, timeout_s: float) -> Kept:
        if self.failure is not None:
            raise self.failure
        if credential != USER_KEY or saying.user != USER:
            raise RefusedError("memory.key", "this key opens nothing", status=401)
        self.said.append(saying)
        return Kept(len(saying.said), 0)

    def sign(self, order: RecallOrder, **change: Any) -> RecallDelivery:
        """A delivery of all rows; ``change`` is of the statement's payload."""
        now = self.clock.now()
        at = now.replace(second=0, microsecond=0) if order.coarse else now
        standings = [standing_of(row, now) for row in self.rows]
        found = [
            FoundRow(
                row,
                standing,
                rank,
                Scores(0, 1, 1, 1, 1),
                ("words",),
                None if standing in ("earned", "aging") else "standing",
            )
            for rank, (row, standing) in enumerate(zip(self.rows, standings, strict=True), 1)
        ]
        index = Index("44" * 32, MODEL, len(self.rows))
        document = build_recall(order.run, at, order.key, order.query, index, RecallPolicy(), found)
        salt = bytes(32)
        members: dict[str, Any] = {
            "run": order.run,
            "attester": self.document.digest,
            "claimed_at": at,
            "parents": (),
            "subject": ("recall", recall_record(document.raw, salt)),
            "body": recall_body(document, recall_record(document.raw, salt)),
            "nonce": order.nonce,
            "parent_run": order.parent_run,
        }
        payload = build_payload("recall", **{**members, **change})
        signature = self.signer.sign(pre_authentication_encoding(payload))
        envelope = build_envelope(payload, self.signer.key.key_id, signature)
        claims = {row.id: row.claim for row in self.rows if any(row.id == told.row for told in document.rows)}
        return RecallDelivery(envelope, document.raw, salt, claims, None)
