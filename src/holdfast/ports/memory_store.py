"""Where a memory node keeps what it cannot read by itself: wraps of data keys, sealed rows, sealed events.

Rules that every adapter keeps:

* A user's events have one order. ``append``, ``erase`` and ``replace`` name the state they were made from
  (:class:`Version`) and are refused where another came first; each is whole or not at all.
* What an ``append`` returned for survives the machine.
* Several nodes may have one store open: each ``load`` is one state, whatever others write meanwhile.
* After ``scrub`` has said yes, nothing that ``erase``, ``erase_user``, ``replace`` or ``remove_wrap`` removed is left
  in the store's files.

Not covered: what the bytes say (``core/memory``, ``core/memory_sealing``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Version:
    """A state of one user's rows."""

    seq: int = 0
    """Number of the last event."""
    epoch: int = 0
    """How often rows were erased, or everything was encrypted again."""


@dataclass(frozen=True, slots=True)
class Wrap:
    """A data key for one holder of a secret (``memory.md`` §8)."""

    id: str
    user: str
    kind: str
    """``passphrase`` or ``api_key``."""
    name: str
    scopes: tuple[str, ...]
    verifier: str
    """SHA-256 of an API key's secret, hex; empty for a passphrase."""
    salt: bytes
    memory_kib: int
    passes: int
    threads: int
    """Cost of argon2id; zeros for an API key."""
    sealed: bytes
    created_at: str
    expires_at: str | None


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A row's key, sealed."""

    row: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """One event, sealed."""

    row: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Beside:
    """Something that is kept beside a row, sealed: a vector, under its name."""

    row: str
    name: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """What there is of a user's rows beyond a version."""

    version: Version
    rows: tuple[SealedRow, ...]
    events: tuple[SealedEvent, ...]


class MemoryStore(Protocol):
    """See the module."""

    def create_user(self, user: str, wraps: Sequence[Wrap], at: str) -> None:
        """Begin a user. Raises ``memory_store.user`` where there is one of that name."""
        ...

    def version(self, user: str) -> Version | None:
        """Where a user's rows are; None where there is no such user."""
        ...

    def users(self) -> int:
        """How many users there are."""
        ...

    def wrap(self, identifier: str) -> Wrap | None:
        """One wrap by its id."""
        ...

    def wraps(self, user: str) -> list[Wrap]:
        """All of a user's, oldest first."""
        ...

    def add_wrap(self, wrap: Wrap, version: Version) -> None:
        """Another wrap for a user's data key. Raises ``memory_store.version`` where the epoch is another: the key may
        be too."""
        ...

    def remove_wrap(self, user: str, identifier: str) -> bool:
        """End one; False where there is none."""
        ...

    def load(self, user: str, after: Version) -> Loaded:
        """Rows and events beyond ``after``; all of them where the epoch is another. Raises ``memory_store.user``."""
        ...

    def append(self, user: str, before: Version, rows: Sequence[SealedRow], events: Sequence[SealedEvent]) -> Version:
        """Add events, and rows that are new. Raises ``memory_store.version`` and ``memory_store.erased``."""
        ...

    def put_beside(self, user: str, version: Version, items: Sequence[Beside]) -> None:
        """Keep something beside rows, in place of what has the same name. Of rows that are gone nothing is kept, and
        nothing at all where the epoch is another: the rows' keys may be too."""
        ...

    def beside(self, user: str, name: str) -> dict[str, bytes]:
        """What is kept under a name, by row."""
        ...

    def erase(self, user: str, before: Version, rows: Collection[str]) -> Version:
        """Remove rows with everything of theirs, and remember their ids. Raises ``memory_store.version``."""
        ...

    def erased(self, user: str) -> frozenset[str]:
        """Ids of rows that were erased."""
        ...

    def erase_user(self, user: str) -> bool:
        """Remove a user with everything; False where there is none."""
        ...

    def replace(
        self,
        user: str,
        before: Version,
        wraps: Sequence[Wrap],
        rows: Sequence[SealedRow],
        events: Sequence[SealedEvent],
    ) -> Version:
        """Put rows and wraps of a user in place of what there is: the same under new keys. What was kept beside rows
        goes; whoever kept it can make it again. Raises ``memory_store.version``."""
        ...

    def scrub(self) -> bool:
        """Make what was removed unrecoverable; False where another process's reading holds it up for now."""
        ...
