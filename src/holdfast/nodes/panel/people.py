"""The people of a panel on the event loop: whose request it is, what it asks for, and as whom the desk hears of it.

Rules:

* Every route is an :class:`ActRoute`, which asks for exactly one act of ``review.roles`` before its handler runs, or is
  in one of two short lists: what anybody may see (:data:`PUBLIC`), and what is everybody's own (:data:`OWN`). A panel
  with any other route does not start (:func:`check_routes`).
* Who asks is looked up for every request, and what they may do again where the act happens (``People.check``, and the
  desk's own look at somebody's roles). Nothing of it is remembered here.
* While nobody was let in, neither a person nor a program, whoever reaches the panel's own door may read, ask and take
  work, as a network on a laptop needs it. From the first account or key on, somebody without a name does nothing.
* A key that is shown and not known is refused; it never falls back to being nobody, nor to the session beside it.
* The journal names people by their account's name, which nobody else is ever given. Of somebody who acts by an API key
  it names the key as well.

Not covered: passwords and sessions themselves (``review.people``, ``review.sign_in``), and the door (``access.py``).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import ParamSpec, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from holdfast.errors import RefusedError, UsageError
from holdfast.nodes.panel.access import Session
from holdfast.ports.people_store import PeopleStore
from holdfast.review.events import Actor
from holdfast.review.roles import ACTS, NAMELESS_ACTS, Principal
from holdfast.review.sign_in import SignIn

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Handler = Callable[[Request], Awaitable[Response]]
ANYBODY = Actor("key", "panel-access", NAMELESS_ACTS)
"""Whoever the door let in, without a name, while nobody has one. It reads, asks and takes work; it decides nothing."""
PUBLIC = frozenset(
    {
        "/healthz",
        "/readyz",
        "/metrics",
        "/static/{version}/{name:path}",
        "/about",
        "/about.json",
        "/openapi.json",
        "/rounds",
        "/rounds.json",
        "/rounds/{number}",
        "/rounds/{number}.json",
        "/sign-in",
        "/sign-in/code",
        "/sign-out",
        "/v1/session",
        "/v1/session/end",
    }
)
"""What anybody may ask for whom the door lets in: no case, no run and nobody's name is in it. Counts are."""
SIGN_IN_PREFIX = "/sign-in/"
"""Below it a deployment has its own ways of signing in (``docs/operate/identity.md``), open as signing in is."""
OWN = frozenset({"/account", "/account.json", "/account/password", "/account/sign-out"})
"""What is of one's own account, and of nobody else's; its handlers ask for a session."""
PROGRAMS = "/v1/"
"""What programs ask begins with this."""
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


class ActRoute(Route):
    """A route for whoever may do one act now. ``named`` asks for a person: one who is signed in, or whose key it is."""

    def __init__(
        self,
        people: PanelPeople | None,
        act: str,
        path: str,
        handler: Handler,
        *,
        methods: Sequence[str] = ("GET",),
        name: str | None = None,
        named: bool = False,
    ) -> None:
        if act not in ACTS:
            raise UsageError("people.act", f"there is no act {act!r}", status=500)
        self.act = act

        async def guarded(request: Request) -> Response:
            if named:
                await require_person(people, request, act)
            else:
                await caller(people, request, act)
            return await handler(request)

        super().__init__(path, guarded, methods=list(methods), name=name)


def check_routes(routes: Iterable[BaseRoute]) -> None:
    """Refuse a panel with a route that asks for no act and is in neither list (``panel.route``)."""
    for route in routes:
        path = getattr(route, "path", "")
        open_to_all = path in PUBLIC | OWN or path.startswith(SIGN_IN_PREFIX)
        if not isinstance(route, ActRoute) and not open_to_all:
            raise UsageError(
                "panel.route", f"the route {path!r} asks for no act, and is none of the open ones", status=500
            )


def actor_of(principal: Principal) -> Actor:
    """As whom the desk hears of somebody: a person by name and with the keys that stand for them, a key by its id."""
    if principal.kind == "person":
        return Actor("person", principal.name, principal.roles, principal.keys)
    return Actor("key", principal.id, principal.scopes)


def person_actor(principal: Principal) -> Actor:
    """The person behind somebody whom :func:`require_person` found, and the key by which they act."""
    if principal.kind == "key" and principal.person_name is not None:
        return Actor("person", principal.person_name, principal.roles, principal.keys, via=principal.id)
    return actor_of(principal)


def person_of(request: Request) -> Principal | None:
    """The person who is signed in, as the guard found them."""
    session: Session | None = request.scope.get("session")
    return session.person if session is not None else None


def key_of(request: Request) -> Principal | None:
    """Whose API key was shown. It goes before a session: what comes with it was no form of a page."""
    key: Principal | None = request.scope.get("key")
    return key


async def caller(people: PanelPeople | None, request: Request, act: str) -> Actor:
    """Who asks, once it is certain that they may do this now. Raises ``people.denied``, ``people.session``,
    ``people.key`` or ``people.sign_in_first``; acts are those of ``review.roles``. Asked again in one request, it
    answers the same."""
    found: dict[str, Actor] = request.scope.setdefault("allowed", {})
    if act not in found:
        found[act] = await _caller(people, request, act)
    return found[act]


async def _caller(people: PanelPeople | None, request: Request, act: str) -> Actor:
    principal = key_of(request) or person_of(request)
    if people is not None and principal is not None:
        return actor_of(await people.run(people.people.check, principal, act))
    if act in NAMELESS_ACTS and (people is None or await people.is_unused()):
        return ANYBODY
    raise _who_is_it(request)


async def require_person(people: PanelPeople | None, request: Request, act: str) -> Principal:
    """The person who acts, as they are now, if they may do this: signed in, or by an API key that stands for them.
    Raises ``people.sign_in_first`` for nobody."""
    key = key_of(request)
    principal = person_of(request) if key is None else key
    if people is None or principal is None:
        raise RefusedError("people.sign_in_first", "this is for people with an account", hint="sign in", status=401)
    if key is not None and key.person is None:
        hint = "a key with the scope case:decide stands for a person"
        raise RefusedError("people.key_person", "this API key stands for nobody, and this is done by name", hint=hint)
    return await people.run(people.people.check, principal, act)


def _who_is_it(request: Request) -> RefusedError:
    """What somebody without a name is told: nothing of what is there."""
    if request.scope["path"].startswith(PROGRAMS):
        hint = "send Authorization: Bearer ID.SECRET; 'holdfast api-key add' makes one"
        return RefusedError("people.key", "this needs an API key", hint=hint, status=401)
    return RefusedError("people.sign_in_first", "this is for people with an account", hint="sign in", status=401)
