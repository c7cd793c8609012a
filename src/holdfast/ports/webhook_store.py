"""Where deliveries of webhooks live: how far the journal of cases was followed, and one row for each thing to send.

What was committed survives a crash of the process and of the machine. Every method is one transaction. Deliveries
follow from the journal (``spec/webhook.md`` §4): :meth:`WebhookStore.add` writes them together with the cursor, so that
none is lost and none is made twice.

Methods block; one worker thread calls them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

Stands: TypeAlias = Literal["waiting", "delivered", "dropped", "dead"]
"""Where a delivery stands (``webhook.md`` §4)."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last event of the journal that was followed: its number and digest (hex); 0 and zeros before the first."""

    seq: int = 0
    digest: str = "0" * 64


@dataclass(frozen=True, slots=True)
class HookRow:
    """An endpoint as the store knows it."""

    hook: str
    begins_after: int
    """Number of the journal's last event when it was first configured: it is told what came later."""
    disabled_at: str | None = None
    note: str = ""
    """Why it is disabled."""


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """Something to send. Times are RFC 3339 (``conventions.md`` §2(3))."""

    delivery: str
    """Its ``webhook-id``."""
    hook: str
    case: str
    seq: int
    """Number of the event that it tells of."""
    state: str
    lets_through: bool
    at: str
    """When the event happened."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of the list of deliveries."""

    number: int
    """Its place in the list: rises, with gaps."""
    delivery: str
    hook: str
    case: str
    seq: int
    state: str
    lets_through: bool
    at: str
    body: bytes
    stands: Stands
    attempts: int
    next_at: str
    """When it is sent next, while it waits."""
    give_up_at: str
    ended_at: str | None
    note: str
    """What happened last, in words."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one delivery."""

    number: int
    stands: Stands
    attempts: int
    next_at: str
    ended_at: str | None
    note: str


class WebhookStore(Protocol):
    """The tables of one panel's webhooks."""

    def cursor(self) -> Cursor:
        """How far the journal was followed."""
        ...

    def told(self, cases: Collection[str]) -> dict[str, str]:
        """By case: where it stood last, of those that were let through since their last reopening."""
        ...

    def add(
        self,
        before: Cursor,
        after: Cursor,
        deliveries: Sequence[NewDelivery],
        told: Mapping[str, str | None],
        at: str,
        give_up_at: str,
    ) -> None:
        """Move the cursor, with everything that the events between say; None in ``told`` forgets a case.

        What waits for a case that is taken back becomes due at ``at``. Raises ``webhook_store.cursor`` when somebody
        else has moved the cursor.
        """
        ...

    def due(self, hook: str, at: str, limit: int) -> list[Delivery]:
        """What waits for an endpoint and may be sent at ``at``: of each case the oldest that waits, and no other."""
        ...

    def next_at(self, hook: str, after: str) -> str | None:
        """The first moment beyond ``after`` at which something waits for its turn."""
        ...

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Note what became of deliveries."""
        ...

    def listed(self, stands: Stands, after: int, limit: int) -> list[Delivery]:
        """One page of deliveries that stand so, in order, beyond a number."""
        ...

    def delivery(self, delivery: str) -> Delivery | None:
        """One delivery by its id."""
        ...

    def overtaken(self, number: int) -> bool:
        """Whether something later of the same case was delivered to the same endpoint."""
        ...

    def replay(self, delivery: str, at: str, give_up_at: str, note: str) -> bool:
        """Let one that is dead wait again, from the beginning; False when it is not dead."""
        ...

    def drop(self, delivery: str, at: str, note: str) -> bool:
        """Give one that is dead up for good: it is dropped then. False when it is not dead."""
        ...

    def register(self, hook: str, begins_after: int) -> HookRow:
        """Make an endpoint known; what is known of it already when it was."""
        ...

    def disable(self, hook: str, at: str, note: str) -> None:
        """Send it nothing any more."""
        ...

    def enable(self, hook: str) -> bool:
        """Send to it again; False when it was not disabled."""
        ...

    def counts(self) -> dict[tuple[str, str], int]:
        """Deliveries by (endpoint, where they stand)."""
        ...

    def prune(self, before: str, limit: int) -> int:
        """Remove up to ``limit`` deliveries that were delivered or dropped before a moment; returns how many."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
