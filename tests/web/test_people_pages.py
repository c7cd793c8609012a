"""People in the panel's pages: getting in, opening a case, acting on it, and everything that is refused."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from holdfast.cli.development import DEFAULT_QUEUE_POLICY
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.service import PanelService
from holdfast.ports.case_store import CaseFilter
from holdfast.ports.settings import Secret
from holdfast.review.events import SYSTEM
from holdfast.review.people import form_token
from holdfast.review.roles import OPERATOR
from holdfast.web.app import create_app
from tests.helpers import asgi
from tests.helpers.anchors import keeper
from tests.helpers.case_world import HOST, URL, CaseWorld, play_cases
from tests.helpers.decisions import trust_with_panel
from tests.helpers.people import PASSWORD, House

ORIGIN = ("origin", "http://localhost")
HTML = ("accept", "text/html")
FORM = ("content-type", "application/x-www-form-urlencoded")
VECTOR = re.compile(r'name="lanes" value="([0-9a-f]{64})"')
JUDGED = DEFAULT_QUEUE_POLICY + '[judgement]\nreviewers = 2\nrole = "reviewer"\nrule = "pay what was agreed"\n'


class Visitor:
    """A browser without scripts: a cookie, and the forms of the pages it was given."""

    def __init__(self, app: Any, name: str, token: str = "") -> None:
        self.app = app
        self.name = name
        self.token = token

    def headers(self, *more: tuple[str, str]) -> list[tuple[str, str]]:
        cookie = [("cookie", f"{self.name}={self.token}")] if self.token else []
        return [HOST, HTML, *cookie, *more]

    async def get(self, path: str, *more: tuple[str, str]) -> asgi.Reply:
        return await asgi.request(self.app, "GET", path, headers=self.headers(*more))

    async def text(self, path: str) -> str:
        reply = await self.get(path)
        assert reply.status == 200, (path, reply.status, reply.body[:400])
        return reply.body.decode()

    async def post(
        self, path: str, *more: tuple[str, str], token: str | None = None, origin: bool = True, **fields: str
    ) -> asgi.Reply:
        """Send a form. ``token=""`` sends none."""
        carried = form_token(self.token) if token is None else token
        body = urlencode({**fields, **({"token": carried} if carried else {})}).encode()
        sent = self.headers(FORM, *([ORIGIN] if origin else []), *more)
        return await asgi.request(self.app, "POST", path, body, sent)


class Site:
    """The panel with its pages over a case world."""

    def __init__(self, world: CaseWorld, **config: Any) -> None:
        self.world = world
        self.service = world.service
        if config:
            settings = PanelConfig(gateway=URL, **config)
            self.service = PanelService(settings, world.world.clock, world.metrics, world.review, world.house)
        self.app = create_app(self.service)
        self.cookie = self.service.access.cookie_name
        self.anybody = Visitor(self.app, self.cookie)

    async def let_in(self, name: str, *roles: str) -> Visitor:
        """Somebody who is signed in."""
        (_, cookie), *_ = await self.world.let_in(name, *roles)
        return Visitor(self.app, self.cookie, cookie.partition("=")[2])

    async def held_by_nobody(self) -> str:
        """The same while nobody was let in."""
        run = await self.world.ask()
        await self.world.pull()
        await self.world.look_at_all()
        file = await self.world.review.call(self.world.desk.cases, SYSTEM, CaseFilter(run=run))
        return str(file[0].row.case)

    async def held(self) -> str:
        """A case whose round is not final yet."""
        run = await self.world.ask()
        await self.world.pull()
        await self.world.look_at_all()
        return str((await self.world.case(run))["id"])

    async def stands(self, case: str) -> str:
        file = await self.world.review.call(self.world.desk.case, SYSTEM, case)
        return str(file.view.row.stands)

    async def kinds(self, case: str) -> list[str]:
        file = await self.world.review.call(self.world.desk.case, SYSTEM, case)
        return [event.kind for event in file.events]


Story = Callable[[Site], Awaitable[None]]


def play(story: Story, folder: Path, **config: Any) -> None:
    async def told(world: CaseWorld) -> None:
        await story(Site(world, **config))

    play_cases(told, folder)


def visible(reply: asgi.Reply | str) -> str:
    page = reply if isinstance(reply, str) else reply.body.decode()
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def vector(page: str) -> str:
    """The digest that the forms of a page carry."""
    found = set(VECTOR.findall(page))
    assert len(found) == 1
    return found.pop()


def forms(page: str) -> set[str]:
    """The acts that a case page offers."""
    return set(re.findall(r'action="/cases/[^/"]+/([a-z-]+)"', page))


# ---- what is refused -----------------------------------------------------------------------------------------------


def test_a_form_of_elsewhere_changes_nothing(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        ada, sam = await site.let_in("ada", "admin", "approver"), await site.let_in("sam", "approver")
        case = await site.held()
        lanes = vector(await ada.text(f"/cases/{case}"))
        fields = {"minutes": "5", "reason": "it is urgent", "lanes": lanes}
        before = await site.kinds(case)
        for reply in (
            await ada.post(f"/cases/{case}/release", token="", **fields),
            await ada.post(f"/cases/{case}/release", token="0" * 64, **fields),
            await ada.post(f"/cases/{case}/release", token=form_token(sam.token), **fields),
            await ada.post(f"/cases/{case}/release", origin=False, **fields),
            await ada.post(f"/cases/{case}/release", ("origin", "https://evil.example"), origin=False, **fields),
            await ada.post(f"/cases/{case}/release", ("sec-fetch-site", "cross-site"), **fields),
        ):
            assert reply.status == 403
        assert await site.kinds(case) == before

    play(story, tmp_path)


@pytest.mark.parametrize("act", ["claim", "comment", "approve", "reject", "release", "reopen", "dependants"])
def test_somebody_without_a_name_does_nothing(tmp_path: Path, act: str) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin")
        case = await site.held()
        assert (await site.anybody.get(f"/cases/{case}")).header("location") == f"/sign-in?next=/cases/{case}"
        page = await site.anybody.get("/about")
        cookie = str(page.header("set-cookie")).partition(";")[0].partition("=")[2]
        nobody = Visitor(site.app, site.cookie, cookie)
        token = re.search(r'name="holdfast-token" content="([0-9a-f]{64})"', page.body.decode())
        assert token is not None
        reply = await nobody.post(f"/cases/{case}/{act}", token=token[1], reason="x")
        assert (reply.status, "Sign in first" in visible(reply)) == (401, True)
        assert await site.kinds(case) == ["opened", "appraised", "held", "appraised", "held"]

    play(story, tmp_path)


@pytest.mark.parametrize(
    ("role", "offered"),
    [
        ("viewer", set()),
        ("auditor", {"comment"}),
        ("reviewer", {"claim", "comment", "approve", "reject", "dependants"}),
        ("approver", {"claim", "comment", "approve", "reject", "dependants", "release"}),
    ],
)
def test_a_page_offers_what_the_role_may_and_the_rest_is_refused(tmp_path: Path, role: str, offered: set[str]) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin")
        case = await site.held()
        somebody = await site.let_in("somebody", role)
        page = await somebody.text(f"/cases/{case}")
        assert forms(page) == offered
        lanes = vector(page) if offered & {"approve"} else "0" * 64
        tried = {"claim": {}, "comment": {"text": "x"}, "dependants": {"target": "ticket 7"}}
        tried |= {act: {"reason": "x", "lanes": lanes} for act in ("approve", "reject", "reopen")}
        tried["release"] = {"minutes": "5", "reason": "x", "lanes": lanes}
        for act in tried.keys() - offered:
            reply = await somebody.post(f"/cases/{case}/{act}", **tried[act])
            assert reply.status in (403, 409), act
        assert await site.stands(case) == "HOLD"

    play(story, tmp_path)


def test_there_is_no_form_and_no_path_that_clears(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        everything = await site.let_in("ada", "admin", "approver", "reviewer", "policy_owner", "auditor")
        case = await site.held()
        page = await everything.text(f"/cases/{case}")
        assert "clear" not in forms(page)
        for path in ("clear", "cleared", "decide", "state"):
            assert (await everything.post(f"/cases/{case}/{path}", reason="x")).status == 404
        await everything.post(f"/cases/{case}/approve", reason="looks calm", lanes=vector(page))
        assert await site.stands(case) == "HOLD"

    play(story, tmp_path)


def test_a_role_taken_away_and_an_account_disabled_refuse_the_next_act(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin")
        rita, sam = await site.let_in("rita", "reviewer"), await site.let_in("sam", "reviewer")
        case = await site.held()
        lanes = {name: vector(await who.text(f"/cases/{case}")) for name, who in (("rita", rita), ("sam", sam))}
        site.world.people.set_roles(OPERATOR, "rita", ["viewer"])
        site.world.people.disable(OPERATOR, "sam")
        for name, who in (("rita", rita), ("sam", sam)):
            reply = await who.post(f"/cases/{case}/reject", reason="no", lanes=lanes[name])
            assert (reply.status, "You are signed out" in visible(reply)) == (401, True)
            assert (await who.get("/account")).header("location") == "/sign-in?next=/account"
        assert await site.stands(case) == "HOLD"

    play(story, tmp_path)


def test_nobody_decides_on_lanes_that_moved(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin")
        rita = await site.let_in("rita", "reviewer")
        case = await site.held()
        lanes = vector(await rita.text(f"/cases/{case}"))
        await site.world.settle()
        await site.world.world.clock.advance(3)
        await site.world.look_at_all()
        fresh = (await rita.get(f"/cases/{case}", ("x-holdfast-fresh", "1"))).body.decode()
        assert "The lanes moved since you opened this case" in visible(fresh)
        assert forms(fresh) == {"claim", "comment", "dependants"}
        reply = await rita.post(f"/cases/{case}/reject", reason="not what was agreed", lanes=lanes)
        assert reply.status == 409
        assert "The lanes are no longer those that were seen." in visible(reply)
        page = reply.body.decode()
        assert ">not what was agreed</textarea>" in page
        assert vector(page) != lanes
        assert await site.stands(case) == "CLEAR"
        again = await rita.post(f"/cases/{case}/reject", reason="not what was agreed", lanes=vector(page))
        assert (again.status, again.header("location")) == (303, f"/cases/{case}")
        assert await site.stands(case) == "REJECTED"

    play(story, tmp_path)


def test_nobody_decides_twice(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin")
        rita = await site.let_in("rita", "reviewer")
        case = await site.held()
        lanes = vector(await rita.text(f"/cases/{case}"))
        assert (await rita.post(f"/cases/{case}/approve", reason="fine", lanes=lanes)).status == 303
        page = await rita.text(f"/cases/{case}")
        assert "You have decided this case under this policy." in visible(page)
        assert not forms(page) & {"approve", "reject"}
        reply = await rita.post(f"/cases/{case}/reject", reason="no", lanes=lanes)
        assert (reply.status, "has decided this case under this policy" in visible(reply)) == (409, True)

    play(story, tmp_path)


def test_nobody_decides_about_a_run_of_their_own_key(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin")
        rita = await site.let_in("rita", "reviewer", "approver")
        key, _ = site.world.people.add_key(OPERATOR, "first", "script", ["case:decide"], person="rita")
        run = await site.world.ask()
        case = (await site.world.review.call(site.world.desk.open, SYSTEM, run, "default", requester=key.id)).id
        page = await rita.text(f"/cases/{case}")
        assert "You asked for this run, so somebody else decides its case." in visible(page)
        assert not forms(page) & {"approve", "reject", "release"}
        lanes = (await site.world.review.call(site.world.desk.case, SYSTEM, case)).case.lanes
        reply = await rita.post(f"/cases/{case}/approve", reason="mine", lanes=lanes)
        assert (reply.status, "whoever asked for a run does not decide" in visible(reply).lower()) == (403, True)

    play(story, tmp_path)


def test_a_key_decides_nothing_and_opens_no_page(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin")
        await site.let_in("rita", "reviewer")
        case = await site.held()
        _, plain = site.world.people.add_key(OPERATOR, "first", "reads", ["case:read", "queue:read", "queue:take"])
        _, deciding = site.world.people.add_key(OPERATOR, "first", "x", ["case:decide"], person="rita")
        for secret in (plain, deciding):
            key = ("authorization", f"Bearer {secret}")
            reply = await site.anybody.post(f"/cases/{case}/approve", key, token="x" * 64, reason="x", lanes="0" * 64)
            assert reply.status == 403
            assert (await site.anybody.get("/people", key)).status == 403
        assert await site.stands(case) == "HOLD"

    play(story, tmp_path)


def test_the_cookie_of_another_panel_opens_nothing(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin", "approver")
        case = await site.held()
        other = House()
        other.people._random_bytes(64)
        code = other.people.first_code(("admin", "approver"))
        signed_in = await other.door.redeem(code, PASSWORD, "ada", "Ada")
        stranger = Visitor(site.app, site.cookie, signed_in.token[::-1])
        reply = await stranger.post(f"/cases/{case}/claim")
        assert (reply.status, "You are signed out" in visible(reply)) == (401, True)
        assert (await stranger.get("/people")).status == 303
        other.close()

    play(story, tmp_path)


def test_who_may_not_ask_is_offered_no_form_and_who_reads_no_runs_begins_at_the_queues(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        ada = await site.let_in("ada", "admin")
        assert (await ada.get("/")).header("location") == "/queues"
        assert 'href="/"' not in (await ada.text("/queues")).split("<nav")[1].split("</nav>")[0]
        vera, rita = await site.let_in("vera", "viewer"), await site.let_in("rita", "reviewer")
        page = await vera.text("/")
        assert ('id="ask"' in page, "Your roles read runs and ask nothing." in page) == (False, True)
        assert 'id="ask"' in await rita.text("/")
        assert (await vera.post("/", prompt="hi", model="x", history="")).status == 403

    play(story, tmp_path)


@pytest.mark.parametrize(
    ("role", "refused", "allowed"),
    [
        (
            "policy_owner",
            ("/cases/{case}", "/cases/{case}.json", "/cases/{case}/report"),
            ("/queues", "/queues/default"),
        ),
        ("reviewer", ("/people", "/people.json", "/audit", "/audit.json"), ("/cases/{case}", "/account")),
        ("auditor", (), ("/people", "/people.json", "/audit", "/audit.json", "/cases/{case}/report")),
        ("admin", ("/cases/{case}", "/cases/{case}.json"), ("/people", "/audit", "/queues/default.json")),
    ],
)  # fmt: skip
def test_pages_are_for_the_roles_that_may_see_them(
    tmp_path: Path, role: str, refused: tuple[str, ...], allowed: tuple[str, ...]
) -> None:
    async def story(site: Site) -> None:
        await site.let_in("first", "admin")
        somebody = await site.let_in("somebody", role)
        case = await site.held()
        for path in refused:
            assert (await somebody.get(path.format(case=case))).status == 403, path
        for path in allowed:
            assert (await somebody.get(path.format(case=case))).status == 200, path
        for path in ("/people", "/audit", "/account"):
            assert (await site.anybody.get(path)).header("location") == f"/sign-in?next={path}"
        assert (await site.anybody.get("/people.json")).code == "people.sign_in_first"

    play(story, tmp_path)


def test_a_role_on_one_page_does_not_change_people(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        ada = await site.let_in("ada", "admin")
        olga = await site.let_in("olga", "auditor")
        assert 'action="/people/' not in await olga.text("/people")
        for path, fields in (
            ("add", {"name": "eve", "display": "Eve", "role-admin": "on"}),
            ("roles", {"name": "olga", "role-admin": "on"}),
            ("disable", {"name": "ada"}),
            ("code", {"name": "ada"}),
            ("key", {"label": "x", "days": "9", "scope-queue:read": "on"}),
        ):
            assert (await olga.post(f"/people/{path}", **fields)).status == 403
        for path, fields, says in (
            ("roles", {"name": "ada", "role-approver": "on"}, "Nobody changes their own roles"),
            ("disable", {"name": "ada"}, "Nobody could change people any more"),
            ("code", {"name": "olga"}, "Whoever sets this password would be this person"),
            ("add", {"name": "Olga", "display": "", "role-viewer": "on"}, "There is an account"),
            ("add", {"name": "no name", "display": ""}, "a name has at most 64"),
            ("key", {"label": "x", "days": "9", "scope-case:decide": "on"}, "named person"),
            ("key", {"label": "x", "days": "soon", "scope-queue:read": "on"}, "whole number"),
        ):
            reply = await ada.post(f"/people/{path}", **fields)
            assert reply.status in (400, 403, 409)
            assert says.lower() in visible(reply).lower(), path
        assert [account.name for account in site.world.people.accounts(OPERATOR)] == ["ada", "olga"]

    play(story, tmp_path)


# ---- getting in ----------------------------------------------------------------------------------------------------


def test_the_first_account_is_made_with_the_operators_code_and_the_code_works_once(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        nobody = site.anybody
        assert "The first account" in await nobody.text("/sign-in")
        code = site.world.people.first_code(("admin", "approver"))
        fields = {"code": code, "name": "ada", "display": "Ada", "password": PASSWORD, "again": PASSWORD}
        for wrong, says in (
            ({"code": "aaaa-bbbb"}, "is not known"),
            ({"again": "something else entirely"}, "differ"),
            ({"password": "short", "again": "short"}, "12"),
            ({"name": "A B"}, "A name has at most"),
        ):
            reply = await nobody.post("/sign-in/code", **{**fields, **wrong})
            assert reply.status in (400, 401)
            assert says in visible(reply)
            assert PASSWORD not in reply.body.decode()
        assert (await nobody.post("/sign-in/code", origin=False, **fields)).status == 403
        reply = await nobody.post("/sign-in/code", **fields)
        assert (reply.status, reply.header("location")) == (303, "/queues")
        cookie = str(reply.header("set-cookie"))
        assert all(part in cookie for part in ("; HttpOnly", "; SameSite=Strict", "; Path=/"))
        assert (await nobody.post("/sign-in/code", **{**fields, "name": "eve"})).status == 401
        assert "One-time code" in await nobody.text("/sign-in/code")

    play(story, tmp_path)


def test_a_wrong_password_and_a_name_that_nobody_has_look_alike(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin")
        replies = [
            await site.anybody.post("/sign-in", name=name, password="not this one, no", next="/")
            for name in ("ada", "nobody-here")
        ]
        assert [reply.status for reply in replies] == [401, 401]
        first, second = (re.sub(r'value="[^"]*"', "", reply.body.decode()) for reply in replies)
        assert re.sub(r"[0-9a-f]{64}", "", first) == re.sub(r"[0-9a-f]{64}", "", second)
        right = await site.anybody.post("/sign-in", name="ADA ", password=PASSWORD, next="/rounds")
        assert (right.status, right.header("location")) == (303, "/rounds")
        away = await site.anybody.post("/sign-in", name="ada", password=PASSWORD, next="https://evil.example/")
        assert away.header("location") == "/"

    play(story, tmp_path)


def test_a_sign_in_gives_one_cookie_secure_where_people_come_by_https(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin")
        reply = await site.anybody.post("/sign-in", name="ada", password=PASSWORD, next="/")
        cookies = [value for name, value in reply.headers if name.lower() == "set-cookie"]
        assert len(cookies) == 1
        assert all(part in cookies[0] for part in ("; HttpOnly", "; SameSite=Strict", "; Secure"))

    play(story, tmp_path, public_origins=("https://holdfast.example",))


def test_signing_out_ends_the_session_where_it_is_kept(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        ada = await site.let_in("ada", "admin")
        assert (await ada.post("/sign-out", token="0" * 64)).status == 403
        assert (await ada.get("/people")).status == 200
        assert (await ada.post("/sign-out")).header("location") == "/sign-in"
        assert (await ada.get("/people")).status == 303

    play(story, tmp_path)


def test_a_new_password_ends_every_session_and_begins_one(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        ada = await site.let_in("ada", "admin")
        other = await site.anybody.post("/sign-in", name="ada", password=PASSWORD, next="/")
        elsewhere = Visitor(site.app, site.cookie, str(other.header("set-cookie")).partition(";")[0].partition("=")[2])
        new = "nine grey herons at dusk"
        wrong = await ada.post("/account/password", old="not this one, no", new=new, again=new)
        assert (wrong.status, PASSWORD in wrong.body.decode()) == (401, False)
        assert (await ada.post("/account/password", old=PASSWORD, new=new, again="x")).status == 400
        assert (await ada.post("/account/password", old=PASSWORD, new=new, again=new)).status == 303
        for gone in (ada, elsewhere):
            assert (await gone.get("/account")).status == 303
        assert (await site.anybody.post("/sign-in", name="ada", password=new, next="/")).status == 303

    play(story, tmp_path)


def test_the_access_key_reads_while_nobody_has_a_name_and_opens_the_door_alone_afterwards(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        case = await site.held_by_nobody()
        assert (await site.anybody.get(f"/cases/{case}")).status == 303
        reply = await site.anybody.post("/sign-in", key="an access key of a panel", next="/queues")
        reader = Visitor(site.app, site.cookie, str(reply.header("set-cookie")).partition(";")[0].partition("=")[2])
        page = await reader.text(f"/cases/{case}")
        assert forms(page) == set()
        assert "What was asked and answered" not in visible(page)
        key = ("authorization", "Bearer an access key of a panel")
        assert (await site.anybody.get("/v1/cases", key)).status == 200
        await site.let_in("ada", "admin", "approver")
        for path in ("/v1/cases", "/v1/queues/default/next"):
            assert (await site.anybody.get(path, key)).status == 401
        for path in (f"/cases/{case}", "/queues", "/"):
            assert (await reader.get(path)).header("location") == f"/sign-in?next={path}"
        assert (await reader.get("/about")).status == 200
        assert (await site.anybody.get("/metrics", key)).status == 200
        assert (await site.anybody.get("/v1/cases", ("authorization", "Bearer wrong"))).status == 403
        assert "viewed" not in await site.kinds(case)

    play(story, tmp_path, access_key=Secret("an access key of a panel", "env:KEY"))


# ---- opening and acting --------------------------------------------------------------------------------------------


def test_opening_a_case_is_in_its_journal_and_refreshing_the_page_is_not(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin")
        vera = await site.let_in("vera", "viewer")
        case = await site.held()
        page = await vera.text(f"/cases/{case}")
        assert (await site.kinds(case))[-1] == "viewed"
        assert "by vera" in visible(page)
        assert "parts, as they are bound" in visible(page)
        fresh = await vera.get(f"/cases/{case}", ("x-holdfast-fresh", "1"))
        assert fresh.status == 200
        await vera.get(f"/cases/{case}.json")
        await site.anybody.get(f"/cases/{case}")
        assert (await site.kinds(case)).count("viewed") == 1

    play(story, tmp_path)


def test_an_opened_case_shows_what_was_said_and_how_it_was_asked(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        ada = await site.let_in("ada", "admin", "approver")
        run = await site.world.ask(decision_rule={"threshold": "0.8"})
        await site.world.pull()
        await site.world.look_at_all()
        case = (await site.world.get(f"/v1/cases?run={run}", *ada.headers())).json()["cases"][0]["id"]
        page = visible(await ada.text(f"/cases/{case}"))
        for words in (
            "How it was asked",
            "Model asked for",
            "0.8 the request",
            "asked: hello",
            "answered: Hello there.",
        ):
            assert words in page, words
        unopened = visible((await ada.get(f"/cases/{case}", ("x-holdfast-fresh", "1"))).body.decode())
        assert "0.8 the request" in unopened
        assert "Hello there." not in unopened

    play(story, tmp_path)


def test_a_case_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        ada = await site.let_in("ada", "admin", "approver")
        run = await site.world.ask(settlement="private")
        await site.world.pull()
        await site.world.look_at_all()
        case = (await site.world.get(f"/v1/cases?run={run}", *ada.headers())).json()["cases"][0]["id"]
        page = visible(await ada.text(f"/cases/{case}"))
        assert "Nothing of the turn is disclosed to this workspace" in page
        assert "settled privately" in page

    play(story, tmp_path)


def test_a_page_that_asks_for_itself_keeps_no_session_open(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        ada = await site.let_in("ada", "admin", "approver")
        for _ in range(3):
            await site.world.world.clock.advance(25 * 60)
            await ada.get("/queues", ("x-holdfast-fresh", "1"))
        assert (await ada.get("/account")).status == 303

    play(story, tmp_path)


def test_an_approver_releases_early_for_a_time_and_the_mark_stays(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin")
        bea = await site.let_in("bea", "approver")
        case = await site.held()
        page = await bea.text(f"/cases/{case}")
        offered = re.findall(r'<option value="(\d+)"', page)
        assert offered == ["5", "15", "30", "60"]
        lanes = vector(page)
        for minutes, status in (("61", 403), ("0", 400), ("-5", 400), ("soon", 400)):
            reply = await bea.post(f"/cases/{case}/release", minutes=minutes, reason="it waits", lanes=lanes)
            assert reply.status == status, minutes
        assert (await bea.post(f"/cases/{case}/release", minutes="5", reason=" ", lanes=lanes)).status == 400
        assert (await bea.post(f"/cases/{case}/release", minutes="5", reason="x")).status == 400
        assert await site.stands(case) == "HOLD"
        lanes = vector(await bea.text(f"/cases/{case}"))
        reply = await bea.post(f"/cases/{case}/release", minutes="5", reason="the customer waits", lanes=lanes)
        assert (reply.status, reply.header("location")) == (303, f"/cases/{case}")
        text = visible(await bea.text(f"/cases/{case}"))
        assert "PROVISIONAL" in text
        assert "released early" in text
        assert "the customer waits" in text
        await site.world.world.clock.advance(301)
        await site.world.tick()
        text = visible(await bea.text(f"/cases/{case}"))
        assert await site.stands(case) == "HOLD"
        assert "released early" in text
        assert "It was released early once" in text

    play(story, tmp_path)


def test_two_people_decide_where_the_policy_asks_for_two_and_see_the_rule(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        site.world.write_policy("default", JUDGED)
        await site.world.review.call(site.world.review._read_policies, False)
        await site.let_in("ada", "admin")
        rita, sam = await site.let_in("rita", "reviewer"), await site.let_in("sam", "reviewer")
        case = await site.held()
        await site.world.settle()
        await site.world.world.clock.advance(3)
        await site.world.look_at_all()
        for who, stands in ((rita, "HOLD"), (sam, "CLEAR")):
            page = await who.text(f"/cases/{case}")
            assert "pay what was agreed" in visible(page)
            reply = await who.post(f"/cases/{case}/approve", reason="as agreed", lanes=vector(page))
            assert reply.status == 303
            assert await site.stands(case) == stands

    play(story, tmp_path)


def test_a_claim_a_comment_and_what_relied_on_it_go_through_forms(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin")
        rita, sam = await site.let_in("rita", "reviewer"), await site.let_in("sam", "reviewer")
        case = await site.held()
        assert (await rita.post(f"/cases/{case}/claim")).status == 303
        page = await sam.text(f"/cases/{case}")
        assert "rita is working on this case." in visible(page)
        assert forms(page) == {"comment", "dependants"}
        assert (await sam.post(f"/cases/{case}/claim")).status == 409
        assert (await rita.post(f"/cases/{case}/comment", text="line one\r\nline <two>")).status == 303
        assert (await rita.post(f"/cases/{case}/dependants", target="invoice 4711")).status == 303
        assert (await rita.post(f"/cases/{case}/dependants", target=case)).status == 400
        assert (await rita.post(f"/cases/{case}/let-go")).status == 303
        text = visible(await sam.text(f"/cases/{case}"))
        assert "line one line <two>" in text
        assert "invoice 4711" in text
        assert (await rita.post(f"/cases/{case}/comment", text="x", more="y")).status == 400
        assert (await rita.get(f"/cases/{case}/comment")).header("location") == f"/cases/{case}"

    play(story, tmp_path)


def test_a_rejected_case_is_reopened_by_an_approver(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.let_in("ada", "admin")
        rita, bea = await site.let_in("rita", "reviewer"), await site.let_in("bea", "approver")
        case = await site.held()
        lanes = vector(await rita.text(f"/cases/{case}"))
        await rita.post(f"/cases/{case}/reject", reason="not what was agreed", lanes=lanes)
        assert await site.stands(case) == "REJECTED"
        assert "reopen" not in forms(await rita.text(f"/cases/{case}"))
        page = await bea.text(f"/cases/{case}")
        assert forms(page) == {"claim", "comment", "dependants", "reopen"}
        await bea.post(f"/cases/{case}/reopen", reason="it was", lanes=vector(page))
        assert await site.stands(case) == "HOLD"

    play(story, tmp_path)


# ---- everybody, and the chains -------------------------------------------------------------------------------------


def test_an_admin_lets_somebody_in_and_the_code_is_shown_once(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        ada = await site.let_in("ada", "admin")
        fields = {"name": "rita", "display": "Rita R.", "role-reviewer": "on", "role-viewer": "on"}
        reply = await ada.post("/people/add", **fields)
        found = re.search(r"([a-z2-7]{4}(?:-[a-z2-7]{4}){7})", visible(reply))
        assert (reply.status, found is not None) == (200, True)
        assert found is not None
        assert found[1] not in await ada.text("/people")
        again = (await ada.post("/people/code", name="rita")).body.decode()
        assert found[1] not in again
        code = re.search(r"([a-z2-7]{4}(?:-[a-z2-7]{4}){7})", visible(again))
        assert code is not None
        old = await site.anybody.post("/sign-in/code", code=found[1], password=PASSWORD, again=PASSWORD)
        assert old.status == 401
        new = await site.anybody.post("/sign-in/code", code=code[1].upper(), password=PASSWORD, again=PASSWORD)
        assert new.status == 303
        listed = (await ada.get("/people.json")).json()
        assert [(item["name"], item["roles"]) for item in listed["people"]] == [
            ("ada", ["admin"]),
            ("rita", ["reviewer", "viewer"]),
        ]
        assert await self_contained(ada)
        assert (await ada.post("/people/roles", **{"name": "rita", "role-auditor": "on"})).status == 303
        assert (await ada.post("/people/sign-out", name="rita")).status == 303
        assert (await ada.post("/people/disable", name="rita")).status == 303
        assert (await ada.post("/people/enable", name="rita")).status == 303
        assert site.world.people.roles_of_name("rita") == {"auditor"}

    play(story, tmp_path)


async def self_contained(somebody: Visitor) -> bool:
    """No secret, no digest of one and no hash stands in what the people's pages hand out."""
    listed = (await somebody.get("/people.json")).body.decode() + await somebody.text("/people")
    return "argon2" not in listed and '"digest"' not in listed


def test_a_key_is_shown_once_and_taken_back_for_good(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        ada = await site.let_in("ada", "admin")
        fields = {"label": "the payments desk", "days": "30", "scope-queue:take": "on"}
        reply = await ada.post("/people/key", **fields)
        found = re.search(r"[0-9a-f]{16}\.[0-9a-f]{64}", reply.body.decode())
        assert found is not None
        assert found[0] not in await ada.text("/people")
        key = ("authorization", f"Bearer {found[0]}")
        assert (await site.anybody.get("/v1/queues/default/next", key)).status == 200
        assert (await ada.post("/people/revoke-key", key=found[0][:16])).status == 303
        assert (await site.anybody.get("/v1/queues/default/next", key)).code == "people.key"
        assert "taken back" in visible(await ada.text("/people"))

    play(story, tmp_path)


def test_the_audit_page_checks_both_chains_and_says_what_does_not_fit(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        olga = await site.let_in("olga", "admin", "auditor")
        case = await site.held()
        await olga.get(f"/cases/{case}")
        chains = (await olga.get("/audit.json")).json()["chains"]
        assert [(chain["chain"], chain["findings"]) for chain in chains] == [("people", []), ("cases", [])]
        assert chains[1]["newest"][0]["kind"] == "viewed"
        assert chains[0]["newest"][0]["digest"] == chains[0]["head"]["digest"]
        page = visible(await olga.text("/audit"))
        assert "Every event fitted the one before it" in page
        assert "Head in the log none yet" in page
        with site.world.house._store.writing() as tables:
            account = tables.account_named("olga")
            assert account is not None
            tables.put_account(type(account)(**{**{f: getattr(account, f) for f in account.__slots__}, "display": "O"}))
        site.world.world.clock._elapsed += 120
        before = (await olga.get("/audit.json")).json()["chains"][0]
        assert (before["findings"], before["audited"]["at"]) == ([], chains[0]["audited"]["at"])
        assert (await olga.post("/audit", token="0" * 64)).status == 403
        assert (await olga.post("/audit")).header("location") == "/audit"
        after = (await olga.get("/audit.json")).json()["chains"][0]
        assert after["findings"]
        assert after["audited"]["at"] > before["audited"]["at"]
        assert "not fit" in visible(await olga.text("/audit"))

    play(story, tmp_path)


def test_the_audit_page_shows_what_the_log_holds_and_finds_a_journal_that_does_not_hold_it(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        world = site.world
        world.trust = trust_with_panel(world.world.network)
        anchors, entries = keeper(world)
        site.service.anchors = anchors
        olga = await site.let_in("olga", "admin", "auditor")
        case = await site.held()
        await anchors.turn()
        await olga.get(f"/cases/{case}")
        people, cases = (await olga.get("/audit.json")).json()["chains"]
        for chain, name in ((people, "people"), (cases, "cases")):
            newest = anchors.newest(name)
            assert newest is not None
            assert (chain["anchor"]["seq"], chain["anchor"]["statement"]) == (newest.seq, newest.statement)
        assert (people["anchor"]["after"], cases["anchor"]["after"]) == (0, 1)
        page = visible(await olga.text("/audit"))
        assert f"Head in the log event {cases['anchor']['seq']}" in page
        assert "1 event that the log does not show" in page
        anchors._followed[0].anchor = dataclasses.replace(anchors._followed[0].anchor, digest="ab" * 32)  # type: ignore[type-var]
        entries.silent = True
        anchors.trouble = "the log gave no answer"
        await olga.post("/audit")
        page = visible(await olga.text("/audit"))
        assert "audit.published" in page
        assert "Heads wait for the log: The log gave no answer." in page

    play(story, tmp_path)
