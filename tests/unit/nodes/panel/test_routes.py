"""Everything a panel serves asks for one act, or is in the short list of what anybody may see (people.md §1(5))."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from starlette.responses import Response
from starlette.routing import Route

from holdfast.errors import UsageError
from holdfast.nodes.edge import App
from holdfast.nodes.panel import app as panel_app
from holdfast.nodes.panel.people import ANYBODY, OWN, PUBLIC, ActRoute, check_routes
from holdfast.review import people as book
from holdfast.review import roles
from holdfast.review.roles import ACTS, NAMELESS_ACTS, OPERATOR, ROLE_ACTS
from holdfast.web.app import create_app
from tests.helpers import asgi
from tests.helpers.case_world import HOST, CaseWorld, play_cases

FILLED = {
    "{run}": "0190c0de-0000-7000-8000-000000000001",
    "{case}": "00000000-0000-4000-8000-000000000001",
    "{queue}": "default",
    "{seq}": "1",
    "{known}": "1",
    "{digest}": "0" * 64,
    "{delivery}": "0" * 64,
    "{webhook}": "0" * 64,
}


def routes_of(world: CaseWorld) -> list[Any]:
    """Every route of the panel with its pages, as the router has them."""
    found: list[Any] = []
    real = panel_app.check_routes

    def keep(routes: Any) -> None:
        found.extend(routes)
        real(routes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panel_app, "check_routes", keep)
        create_app(world.service)
    return found


def asking(world: CaseWorld) -> Iterator[tuple[str, str, str]]:
    """Method, path and act of every route that asks for one."""
    for route in routes_of(world):
        if isinstance(route, ActRoute):
            path = route.path
            for name, value in FILLED.items():
                path = path.replace(name, value)
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield method, path, route.act


async def send(app: App, method: str, path: str, *headers: tuple[str, str]) -> asgi.Reply:
    """A stream has no end: whoever asks for one hangs up once it is answered."""
    stream = path.endswith("/events")
    return await asgi.request(app, method, path, b"" if method == "GET" else b"{}", [HOST, *headers], disconnect=stream)


def test_every_route_asks_for_one_act_or_is_in_a_short_list(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        routes = routes_of(world)
        open_ones = {route.path for route in routes if not isinstance(route, ActRoute)}
        assert open_ones == PUBLIC | OWN
        assert {route.act for route in routes if isinstance(route, ActRoute)} == ACTS.keys()
        assert len(PUBLIC | OWN) == 20  # whoever makes it longer has thought about it

    play_cases(story, tmp_path)


def test_a_panel_with_a_route_that_asks_for_nothing_does_not_start() -> None:
    async def leak(_: Any) -> Response:
        return Response("everything")

    for path in ("/everything", "/v1/everything", "/about/everything"):
        with pytest.raises(UsageError) as refused:
            check_routes([Route(path, leak)])
        assert refused.value.code == "panel.route"
    with pytest.raises(UsageError, match="there is no act"):
        ActRoute(None, "case:everything", "/everything", leak)


def test_once_somebody_was_let_in_somebody_without_a_name_gets_nothing(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        app = create_app(world.service)
        await world.let_in("ada", "admin")
        for method, path, act in asking(world):
            reply = await send(app, method, path)
            assert (reply.status, reply.code) in ((401, "people.sign_in_first"), (401, "people.key")), (
                method,
                path,
                act,
            )
            assert b"default" not in reply.body
            assert b"hint" in reply.body
        for path in OWN - {"/account/password", "/account/sign-out"}:
            assert (await send(app, "GET", path)).status == 401, path
        for path in ("/healthz", "/metrics", "/about", "/sign-in"):
            assert (await send(app, "GET", path)).status == 200, path

    play_cases(story, tmp_path)


def test_a_route_is_for_whoever_holds_its_act_and_for_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One person holds everything but the act that is asked for, one holds that act alone."""

    async def story(world: CaseWorld) -> None:
        app = create_app(world.service)
        await world.let_in("first", "admin")
        without, alone = await world.let_in("without", "viewer"), await world.let_in("alone", "reviewer")
        for method, path, act in asking(world):
            offices = {"admin": frozenset(ACTS), "viewer": frozenset(ACTS) - {act}, "reviewer": frozenset({act})}
            for module in (roles, book):
                monkeypatch.setattr(module, "ROLE_ACTS", MappingProxyType({**ROLE_ACTS, **offices}))
            refused = await send(app, method, path, *without)
            assert (refused.status, refused.code) == (403, "people.denied"), (method, path, act)
            reply = await send(app, method, path, *alone)
            wanted = {"people.denied", "people.key", "people.sign_in_first"}
            assert reply.status < 400 or reply.code not in wanted, (method, path, act, reply.code)

    play_cases(story, tmp_path)


def test_while_nobody_was_let_in_whoever_comes_through_the_door_reads_asks_and_takes(tmp_path: Path) -> None:
    """A network that somebody has just started on a laptop, and every automated check of it."""

    async def story(world: CaseWorld) -> None:
        app = create_app(world.service)
        run = await world.ask()
        await world.pull()
        await world.look_at_all()
        reply = await send(app, "GET", f"/v1/cases?run={run}")
        assert [case["run"] for case in reply.json()["cases"]] == [run]
        for path in ("/v1/queues", "/v1/queues/default/next", "/queues", f"/cases/{reply.json()['cases'][0]['id']}"):
            assert (await send(app, "GET", path)).status == 200, path
        assert ANYBODY.roles == NAMELESS_ACTS
        for method, path, act in asking(world):
            reply = await send(app, method, path)
            if act not in NAMELESS_ACTS or path.endswith(("/view", "/replay", "/enable")):
                assert (reply.status, reply.code) in ((401, "people.sign_in_first"), (401, "people.key")), (path, act)

    play_cases(story, tmp_path)


@pytest.mark.parametrize("made", ["an account", "a key"])
def test_the_first_account_or_key_ends_that_at_once(tmp_path: Path, made: str) -> None:
    async def story(world: CaseWorld) -> None:
        app = create_app(world.service)
        assert (await send(app, "GET", "/v1/cases")).status == 200
        if made == "an account":
            await world.let_in("ada", "admin")
        else:
            world.people.add_key(OPERATOR, "first", "a machine", ["queue:take"])
        for path in ("/v1/cases", "/v1/queues", "/v1/queues/default/next"):
            assert (await send(app, "GET", path)).code == "people.key", path
        assert (await send(app, "GET", "/queues.json")).code == "people.sign_in_first"

    play_cases(story, tmp_path)


def test_an_export_is_for_auditors(tmp_path: Path) -> None:
    """It holds who decided and what they wrote."""

    async def story(world: CaseWorld) -> None:
        app = create_app(world.service)
        run = await world.ask()
        await world.pull()
        await world.look_at_all()
        path = f"/v1/cases/{(await world.case(run))['id']}/export"
        rest = {"admin", "approver", "policy_owner", "reviewer", "viewer"}
        for role in sorted(rest):
            reply = await send(
                app,
                "GET",
                path,
                *(
                    await world.let_in(
                        role.replace("_", "-"), role, *({"admin"} - {role} if world.people.is_empty() else ())
                    )
                ),
            )
            assert (reply.status, reply.code) == (403, "people.denied"), role
        assert (await send(app, "GET", path)).status == 401
        _, secret = world.people.add_key(OPERATOR, "first", "reads", ["case:read", "queue:read", "queue:take"])
        assert (await send(app, "GET", path, ("authorization", f"Bearer {secret}"))).code == "people.denied"
        auditor = await world.let_in("augusta", "auditor")
        assert (await send(app, "GET", path, *auditor)).json()["type"] == "urn:holdfast:case-export:v1"

    play_cases(story, tmp_path)
