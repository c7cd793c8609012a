"""People who sign in elsewhere: the code of docs/operate/identity.md as it stands there, over an issuer of our own."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.errors import UsageError
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.service import PanelService
from holdfast.ports.settings import Secret
from holdfast.review.people import sign_in_refused
from holdfast.review.roles import OPERATOR
from holdfast.web.app import create_app
from tests.helpers import asgi
from tests.helpers.case_world import HOST, URL, CaseWorld, play_cases

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "identity.md"
ISSUER = "https://issuer.example"


class Verified:
    """Stands for a library that checks tokens: a code is worth the claims that were put down for it, once."""

    def __init__(self) -> None:
        self.claims_of: dict[str, dict[str, Any]] = {}

    def begin(self) -> str:
        return f"{ISSUER}/authorize?client_id=panel"

    async def claims(self, request: Request) -> dict[str, Any]:
        found = self.claims_of.pop(request.query_params.get("code", ""), None)
        if found is None:
            raise sign_in_refused()
        return found


class Outside:
    """A panel that the page's code was put into."""

    def __init__(self, world: CaseWorld, **config: Any) -> None:
        self.world = world
        self.service = PanelService(
            PanelConfig(gateway=URL, **config), world.world.clock, world.metrics, world.review, world.house
        )
        self.verify = Verified()
        (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
        found: dict[str, Any] = {}
        exec(code, found)
        self.app = create_app(self.service, found["oidc_routes"](self.service, self.verify))

    async def get(self, path: str, cookie: str = "") -> asgi.Reply:
        headers = [HOST, ("accept", "text/html"), *([("cookie", cookie)] if cookie else [])]
        return await asgi.request(self.app, "GET", path, headers=headers)

    async def come_back(self, *groups: str, sub: str = "7f3a", issuer: str = ISSUER) -> tuple[asgi.Reply, str]:
        """From the issuer, with these groups: the answer and the cookie it sets."""
        self.verify.claims_of["x"] = {"iss": issuer, "sub": sub, "name": "Ann Example", "groups": list(groups)}
        reply = await self.get("/sign-in/oidc/back?code=x")
        return reply, str(reply.header("set-cookie")).partition(";")[0]


def play(story: Callable[[Outside], Awaitable[None]], folder: Path, **config: Any) -> None:
    async def told(world: CaseWorld) -> None:
        await world.let_in("ada", "admin")
        await story(Outside(world, **config))

    play_cases(told, folder)


def test_a_code_that_the_issuer_did_not_give_opens_nothing(tmp_path: Path) -> None:
    async def story(panel: Outside) -> None:
        for path in ("/sign-in/oidc/back", "/sign-in/oidc/back?code=made-up"):
            reply = await panel.get(path)
            assert reply.status == 401
            assert (await panel.get("/queues", str(reply.header("set-cookie")).partition(";")[0])).status == 303

    play(story, tmp_path)


def test_groups_that_are_not_mapped_give_no_session(tmp_path: Path) -> None:
    async def story(panel: Outside) -> None:
        for groups in ((), ("admin",), ("reviewer",), ("claims-desk ",)):
            reply, _ = await panel.come_back(*groups)
            assert reply.status == 403, groups
        assert len(panel.world.people.accounts(OPERATOR)) == 1

    play(story, tmp_path)


@pytest.mark.parametrize("config", [{}, {"access_key": Secret("an access key of a panel", "env:KEY")}])
def test_somebody_from_outside_has_the_roles_of_their_claim_and_no_others(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    async def story(panel: Outside) -> None:
        begun = await panel.get("/sign-in/oidc")
        assert (begun.status, begun.header("location")) == (303, f"{ISSUER}/authorize?client_id=panel")
        reply, cookie = await panel.come_back("claims-desk", "bowling")
        # No redirect: the cookie would not go along with one that another site began.
        assert (reply.status, reply.header("refresh")) == (200, "0; url=/queues")
        assert "SameSite=Strict" in str(reply.header("set-cookie"))
        assert (await panel.get("/queues", cookie)).status == 200
        assert (await panel.get("/people", cookie)).status == 403
        again, other = await panel.come_back("internal-audit")
        assert again.status == 200
        assert (await panel.get("/queues", cookie)).status == 303  # another role ended the first session
        assert (await panel.get("/audit", other)).status == 200
        assert len(panel.world.people.accounts(OPERATOR)) == 2

    play(story, tmp_path, **config)


def test_whoever_is_disabled_here_stays_out_whatever_the_issuer_says(tmp_path: Path) -> None:
    async def story(panel: Outside) -> None:
        _, cookie = await panel.come_back("claims-desk")
        (account,) = [row for row in panel.world.people.accounts(OPERATOR) if row.source == ISSUER]
        panel.world.people.disable(OPERATOR, account.name)
        assert (await panel.get("/queues", cookie)).status == 303
        assert (await panel.come_back("claims-desk"))[0].status == 401
        assert (await panel.come_back("claims-desk", issuer="https://other.example"))[0].status == 200

    play(story, tmp_path)


def test_a_way_of_signing_in_stands_below_sign_in_and_nowhere_else(tmp_path: Path) -> None:
    async def story(panel: Outside) -> None:
        async def leak(_: Request) -> Response:
            return Response("everything")

        for path in ("/oidc", "/sign-in-oidc", "/v1/oidc"):
            with pytest.raises(UsageError) as refused:
                create_app(panel.service, [Route(path, leak)])
            assert refused.value.code == "panel.route"

    play(story, tmp_path)
