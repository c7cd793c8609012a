"""How a suite counts, and what its attackers and owners do at a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.core.context import Block, parse_context, render_context
from holdfast.core.memory_extraction import Candidate, Message, parse_claims
from holdfast.core.parts import pseudo_random_key
from holdfast.core.recall_orders import RecallDelivery, RecallOrder, parse_recall_delivery
from holdfast.core.recalls import parse_recall_document, recall_blocks, recall_key
from tests.helpers.memory import User


@dataclass
class Tally:
    """What a suite tried."""

    harm: str
    """What counts as harm."""
    attempts: Counter[str] = field(default_factory=Counter)
    """By variant."""
    harmed: list[str] = field(default_factory=list)
    """Every attempt that did harm, in words."""
    controls: Counter[str] = field(default_factory=Counter)
    """What has to go on working, and how often it did."""
    missed: list[str] = field(default_factory=list)
    """Controls that did not work."""

    def tried(self, variant: str, harm: object, what: object = "") -> None:
        """One attempt."""
        self.attempts[variant] += 1
        if harm:
            self.harmed.append(f"{variant}: {what or harm}")

    def control(self, name: str, works: object) -> None:
        """Something that has to work beside the attempts."""
        self.controls[name] += 1
        if not works:
            self.missed.append(name)


Suite = Callable[[Path, int, int], Awaitable[Tally]]
"""A folder of its own, a seed, and about how many attempts."""


class Quoting:
    """Implements ``nodes.memory.extraction.Extraction`` as a model that keeps every message whole, whoever said it."""

    def __init__(self) -> None:
        self.slot: str | None = None
        """The slot that it gives to all of them."""

    async def claims(self, messages: Sequence[Message]) -> list[Candidate]:
        quotes = [{"message": place, "quote": item.content, "slot": self.slot} for place, item in enumerate(messages)]
        return parse_claims({"memories": quotes}, messages)


async def recall(user: User, query: str, run: str) -> tuple[RecallDelivery, list[Block]]:
    """What a gateway would put before a model for a question."""
    key = recall_key(pseudo_random_key(run, bytes(32)))
    order = RecallOrder(run, user.id, query, key, coarse=False, nonce=None, parent_run=None)
    delivery = parse_recall_delivery(await user.ask("POST", "/v1/recall", order.to_json()))
    return delivery, recall_blocks(parse_recall_document(delivery.document), delivery.claims)


async def prompted(user: User, query: str, run: str) -> dict[str, str]:
    """Rows before a model, by id; their marks and texts survive being written and read."""
    delivery, blocks = await recall(user, query, run)
    if blocks and list(parse_context(render_context(blocks))) != blocks:
        raise AssertionError("a block reads otherwise than it was written")
    return dict(delivery.claims)


async def facts(user: User, query: str) -> list[Any]:
    """Rows that a search finds which may be told as facts."""
    return await user.find(query, limit=100, standings=["earned", "aging"])


async def rows_of(user: User) -> list[Any]:
    """All rows that are listed."""
    found: list[Any] = (await user.ask("GET", "/v1/memories?page_size=500"))["data"]
    return found
