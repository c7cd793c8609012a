"""The people of a panel on the event loop: whose request it is, and as whom the desk hears of it.

Rules:

* Who asks is looked up for every request, and what they may do again where the act happens (``People.check``, and the
  desk's own look at somebody's roles). Nothing of it is remembered here.
* While nobody was let in, neither a person nor a program, whoever reaches the panel's own door may read and take work,
  as a network on a laptop needs it. From the first account or key on, somebody without a name reads, and no more.
* A key that is shown and not known is refused; it never falls back to being nobody.
* The journal names people by their account's name, which nobody else is ever given.

Not covered: passwords and sessions themselves (``review.people``, ``review.sign_in``), and the door (``access.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from starlette.requests import Request

from holdfast.errors import RefusedError
from holdfast.nodes.panel.access import Session
from holdfast.ports.people_store import PeopleStore
from holdfast.review.events import Actor
from holdfast.review.roles import Principal
from holdfast.review.sign_in import SignIn

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
ANYBODY = Actor("key", "panel-access", frozenset({"queue:read", "case:read", "queue:take"}))
"""Whoever the door let in, without a name, while nobody has one. It can take work and read; it decides nothing."""
READER = Actor("key", "panel-access", frozenset({"queue:read", "case:read"}))
"""The same once somebody was let in by name."""
FRESH = "x-holdfast-fresh"
"""Header of a page that asks for itself again: nobody opened anything."""
_SESSION = re.compile(r"[0-9a-f]{64}\Z")
_KEY = re.compile(r"[0-9a-f]{16}\.[0-9a-f]{64}\Z")


class PanelPeople:
    """Accounts, sessions and keys of this panel. ``store`` is closed at the end."""

    def __init__(self, sign_in: SignIn, store: PeopleStore) -> None:
        self.sign_in = sign_in
        self.people = sign_in.people
        self._store = store
        self._unused = True

    async def run(
        self, function: Callable[Parameters, Result], *arguments: Parameters.args, **named: Parameters.kwargs
    ) -> Result:
        """Run something on the thread of the people's store."""
        return await self.sign_in.run(function, *arguments, **named)

    async def is_unused(self) -> bool:
        """Whether nobody was let in yet. Accounts and keys are never removed, so that a no is for good."""
        if self._unused:
            self._unused = await self.run(self.people.is_unused)
        return self._unused

    async def session(self, cookie: str | None, *, used: bool) -> Session | None:
        """The session of a person's cookie, None for another's. Raises ``people.session`` when it is over."""
        if cookie is None or _SESSION.match(cookie) is None:
            return None
        return Session.of_person(cookie, await self.run(self.people.who, cookie, used=used))

    async def key_holder(self, token: str) -> Principal | None:
        """Who an API key speaks for; None for what has not the shape of one. Raises ``people.key`` for any other."""
        return await self.run(self.people.key_holder, token) if _KEY.match(token) else None

    def close(self) -> None:
        """End the threads and let go of the database."""
        self.sign_in.close()
        self._store.close()


def actor_of(principal: Principal) -> Actor:
    """As whom the desk hears of somebody: a person by name and with the keys that stand for them, a key by its id."""
    if principal.kind == "person":
        return Actor("person", principal.name, principal.roles, principal.keys)
    return Actor("key", principal.id, principal.scopes)


def person_of(request: Request) -> Principal | None:
    """The person who is signed in, as the guard found them."""
    session: Session | None = request.scope.get("session")
    return session.person if session is not None else None


async def caller(people: PanelPeople | None, request: Request, act: str) -> Actor:
    """Who asks, once it is certain that they may do this now. Raises ``people.denied``, ``people.session`` or
    ``people.key``; acts are those of ``review.roles``."""
    principal: Principal | None = request.scope.get("key") or person_of(request)
    if people is not None and principal is not None:
        return actor_of(await people.run(people.people.check, principal, act))
    nameless = ANYBODY if people is None or await people.is_unused() else READER
    if act not in nameless.roles:
        hint = "send Authorization: Bearer ID.SECRET; 'holdfast api-key add' makes one"
        raise RefusedError("people.key", "this needs an API key", hint=hint, status=401)
    return nameless


async def require_person(people: PanelPeople | None, request: Request, act: str) -> Principal:
    """The person who is signed in, as they are now, if they may do this. Raises ``people.sign_in_first`` for nobody."""
    person = person_of(request)
    if people is None or person is None:
        raise RefusedError("people.sign_in_first", "this is for people with an account", hint="sign in", status=401)
    return await people.run(people.people.check, person, act)
