"""Who people are, what they may do and what was changed about it (``adapters/people_sql.py``).

Rows are plain values; the rules about them are ``review/people.py``. Ids are random, times RFC 3339 with milliseconds.
No row holds a password, a session's token, the secret of a key or a one-time code: only an argon2id hash of the first
and SHA-256 of the others, each of which has at least 160 random bits.

Methods block: they are called from worker threads, and several may call at once.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Account:
    """One person. ``source`` is ``local`` or the issuer that vouches for them, ``subject`` who they are to it."""

    id: str
    name: str
    display: str
    source: str
    subject: str
    roles: tuple[str, ...]
    """Sorted."""
    password: str | None
    """argon2id hash as a PHC string; None for people who have not set one, and for those from outside."""
    made_at: str
    disabled_at: str | None = None
    """Since when nobody can use it; None: it can be used."""

    @property
    def enabled(self) -> bool:
        """Whether it can be used."""
        return self.disabled_at is None


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in that has not been ended. ``digest`` is SHA-256 (hex) of its token."""

    id: str
    digest: str
    account: str
    opened_at: str
    seen_at: str
    """Last use, to within ``session_touch_s``."""
    ends_at: str


@dataclass(frozen=True, slots=True)
class Key:
    """An API key of a workspace. ``digest`` is SHA-256 (hex) of its secret."""

    id: str
    digest: str
    workspace: str
    label: str
    scopes: tuple[str, ...]
    """Sorted."""
    person: str | None
    """Account on whose behalf it decides; None for a key that decides nothing."""
    made_at: str
    expires_at: str
    revoked_at: str | None = None
    used_day: str | None = None
    """Last day of use (``YYYY-MM-DD``, UTC)."""


@dataclass(frozen=True, slots=True)
class Code:
    """A one-time code that has not been used. ``digest`` is SHA-256 (hex) of it."""

    digest: str
    account: str | None
    """Whose password it sets; None: it makes the first account."""
    roles: tuple[str, ...]
    """Roles of the first account; empty for others."""
    expires_at: str


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One link of the audit chain (``people.md`` §4): canonical JSON and its SHA-256 (hex)."""

    seq: int
    digest: str
    document: bytes


class PeopleTables(Protocol):
    """The tables inside one transaction. What is read stays so until it ends."""

    def account(self, id: str) -> Account | None:  # noqa: A002 (the column's name)
        """One account by its id."""
        ...

    def account_named(self, name: str) -> Account | None:
        """One account by its name."""
        ...

    def account_of(self, source: str, subject: str) -> Account | None:
        """The account of somebody whom a source knows as ``subject``."""
        ...

    def accounts(self) -> list[Account]:
        """All, by name."""
        ...

    def put_account(self, row: Account) -> None:
        """Add an account, or replace the row of its id."""
        ...

    def session(self, digest: str) -> Session | None:
        """One session by the digest of its token."""
        ...

    def session_by_id(self, id: str) -> Session | None:  # noqa: A002
        """One session by its id."""
        ...

    def sessions(self, account: str | None = None) -> list[Session]:
        """Sessions of one account, or all; oldest first."""
        ...

    def put_session(self, row: Session) -> None:
        """Add a session, or replace the row of its id."""
        ...

    def drop_session(self, id: str) -> None:  # noqa: A002
        """Forget a session. What it was stays in the events."""
        ...

    def key(self, id: str) -> Key | None:  # noqa: A002
        """One API key by its id."""
        ...

    def keys(self, workspace: str | None = None) -> list[Key]:
        """Keys of one workspace, or all; oldest first."""
        ...

    def keys_of(self, account: str) -> list[Key]:
        """Keys that stand for one person; oldest first."""
        ...

    def put_key(self, row: Key) -> None:
        """Add a key, or replace the row of its id."""
        ...

    def code(self, digest: str) -> Code | None:
        """One code by its digest."""
        ...

    def codes(self) -> list[Code]:
        """Every code that was not used, soonest to expire first."""
        ...

    def put_code(self, row: Code) -> None:
        """Add a code."""
        ...

    def drop_code(self, digest: str) -> None:
        """Forget a code: it was used, replaced, or has expired."""
        ...

    def last_event(self) -> StoredEvent | None:
        """The newest link of the chain."""
        ...

    def events(self, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Links with a greater ``seq``, in order."""
        ...

    def add_event(self, row: StoredEvent) -> None:
        """Append one link. Links are never changed or removed; a store that can refuses it."""
        ...


class PeopleStore(Protocol):
    """The tables of one panel."""

    def reading(self) -> AbstractContextManager[PeopleTables]:
        """One consistent view. Writing in it raises."""
        ...

    def writing(self) -> AbstractContextManager[PeopleTables]:
        """The only writer until the block ends; all of it is kept, or on an exception none."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
