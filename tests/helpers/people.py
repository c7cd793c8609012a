"""A small house of people: a store in memory, a clock that stands still, counted randomness and cheap password hashes.

The hashes are argon2id at the least cost the algorithm has, through the same settings a deployment uses; the loader
refuses such settings (``tests/unit/review/test_people.py``).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from holdfast.adapters.passwords_argon2 import Argon2Passwords
from holdfast.adapters.people_sql import SQLPeopleStore
from holdfast.ports.people_store import PeopleStore
from holdfast.review.people import People, PeopleConfig, SignedIn
from holdfast.review.roles import OPERATOR, Principal
from holdfast.review.sign_in import SignIn
from tests.helpers.clock import FakeClock

Result = TypeVar("Result")
CHEAP: dict[str, Any] = {"password_memory_kib": 8, "password_passes": 1, "password_lanes": 1}
"""The least that argon2 can do."""
PASSWORD = "seven brown boats at noon"
"""Of everybody in the house."""


class Counted:
    """Bytes that look random, are never the same twice, and are the same in every test run."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    def __call__(self, size: int) -> bytes:
        value = hashlib.shake_256(len(self.given).to_bytes(8, "big")).digest(size)
        self.given.append(value)
        return value


@dataclass
class House:
    """People over a store. ``shown`` keeps every secret that was ever shown to anybody."""

    config: PeopleConfig = field(default_factory=lambda: PeopleConfig(**CHEAP, workspace="w"))
    store: PeopleStore = field(default_factory=lambda: SQLPeopleStore("sqlite://"))

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.random = Counted()
        self.people = People(self.store, self.config, self.clock, self.random)
        config = self.config
        self.passwords = Argon2Passwords(
            config.password_memory_kib, config.password_passes, config.password_lanes, self.random
        )
        self.door = SignIn(self.people, self.passwords, config, self.clock)
        self.shown: list[str] = []

    def wait(self, seconds: float) -> None:
        """Time goes on."""
        asyncio.run(self.clock.advance(seconds))

    @staticmethod
    def run(work: Coroutine[Any, Any, Result]) -> Result:
        """Something asynchronous, to its end."""
        return asyncio.run(work)

    def first(self, roles: Iterable[str] = ("admin",), name: str = "ada") -> SignedIn:
        """The first account, by the operator's code."""
        code = self.people.first_code(roles)
        self.shown.append(code)
        return self.keep(self.run(self.door.redeem(code, PASSWORD, name, name.title())))

    def person(self, name: str, *roles: str, by: Principal = OPERATOR) -> SignedIn:
        """Somebody who was let in, has set a password and is signed in."""
        _, code = self.people.add(by, name, name.title(), roles)
        self.shown.append(code)
        return self.keep(self.run(self.door.redeem(code, PASSWORD)))

    def sign_in(self, name: str, password: str = PASSWORD) -> SignedIn:
        """A session by name and password."""
        return self.keep(self.run(self.door.sign_in(name, password)))

    def keep(self, signed_in: SignedIn) -> SignedIn:
        """Remember what was shown."""
        self.shown.append(signed_in.token)
        return signed_in

    def kinds(self) -> list[str]:
        """Kinds of all events, in order."""
        return [event.kind for event in self.people.events(OPERATOR)]

    def close(self) -> None:
        """End threads and store."""
        self.door.close()
        self.store.close()
