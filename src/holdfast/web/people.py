"""The pages of people: sign in, one-time codes, one's own account, everybody's accounts, and the audit chains.

A code or a key that was just made stands on the page that answers the form, this once. Nothing here decides who may do
what: ``review.people`` does, in the transaction that acts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from holdfast.core.encoding import time_encode
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.access import Session as AccessSession
from holdfast.nodes.panel.app import require_change
from holdfast.nodes.panel.people import ActRoute, PanelPeople, actor_of, person_of, require_person
from holdfast.nodes.panel.service import PanelService
from holdfast.ports.case_store import Head as CaseHead
from holdfast.ports.people_store import Account, Key, Session
from holdfast.review.desk import Desk
from holdfast.review.events import Actor
from holdfast.review.people import SignedIn
from holdfast.review.people_audit import Head
from holdfast.review.roles import ACTS, ROLE_ACTS, ROLES, SCOPES, Principal, may
from holdfast.web.cases import Page
from holdfast.web.forms import local_path, only, read_form

NEWEST = 40
"""Newest events of each chain on the audit page."""
Change = Callable[[PanelPeople, Principal, dict[str, str]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Audited:
    """What an audit of a chain found, when, and up to which event it read."""

    at: str
    seq: int
    findings: list[dict[str, Any]]


class SignInPages:
    """Getting in and out. ``people`` is None in a panel that knows nobody by name: then there is the access key."""

    def __init__(self, service: PanelService, page: Page) -> None:
        self._service = service
        self._access = service.access
        self._people = service.people
        self._page = page

    def routes(self) -> list[BaseRoute]:
        """What is there whether or not somebody was let in."""
        return [
            Route("/sign-in", self.form),
            Route("/sign-in", self.sign_in, methods=["POST"]),
            Route("/sign-in/code", self.code_form),
            Route("/sign-in/code", self.redeem, methods=["POST"]),
            Route("/sign-out", self.sign_out, methods=["POST"]),
        ]

    async def form(self, request: Request) -> Response:
        """``GET /sign-in``."""
        if self._people is None and not self._access.required:
            return RedirectResponse("/", 303)
        return await self._show(request, local_path(request.query_params.get("next")))

    async def code_form(self, request: Request) -> Response:
        """``GET /sign-in/code``."""
        if self._people is None:
            return RedirectResponse("/sign-in", 303)
        return await self._show(request, "/", code=True)

    async def _show(self, request: Request, target: str, *, code: bool = False, **values: Any) -> Response:
        first = self._people is not None and await self._people.run(self._people.people.is_empty)
        shown = {
            "next": target,
            "people": self._people is not None,
            "first": first,
            "code": code or first,
            "access_key": self._access.required,
            "typed": {"code": "", "name": "", "display": ""} | values.pop("typed", {}),
        }
        error: HoldfastError | None = values.get("trouble")
        return self._page(request, "sign_in.html", "sign-in", error.status if error else 200, **(shown | values))

    async def sign_in(self, request: Request) -> Response:
        """``POST /sign-in``: a cookie for a name and its password, or for the access key. Same-origin only; there is no
        session yet to hold a token."""
        fields = await read_form(request)
        target = local_path(fields.get("next", ""))
        try:
            self._check_origin(request)
            if self._people is None or "key" in fields:
                return self._enter(target, self._access.sign_in(fields.get("key", "")))
            signed_in = await self._people.sign_in.sign_in(fields.get("name", ""), fields.get("password", ""))
        except HoldfastError as error:
            return await self._show(request, target, trouble=error, typed={"name": fields.get("name", "")})
        return self._enter(target, _session(signed_in))

    async def redeem(self, request: Request) -> Response:
        """``POST /sign-in/code``: set a password with a one-time code; it signs in."""
        people, fields = self._people, await read_form(request)
        if people is None:
            raise RefusedError("people.code", "this panel has no accounts", status=404)
        try:
            self._check_origin(request)
            if fields.get("password", "") != fields.get("again", ""):
                raise RefusedError("people.password", "the two passwords differ", status=400, param="again")
            name, display = fields.get("name", ""), fields.get("display", "") or fields.get("name", "")
            signed_in = await people.sign_in.redeem(fields.get("code", ""), fields["password"], name, display)
        except HoldfastError as error:
            typed = {key: fields.get(key, "") for key in ("code", "name", "display")}
            return await self._show(request, "/", code=True, trouble=error, typed=typed)
        return self._enter("/queues" if self._service.review is not None else "/", _session(signed_in))

    async def sign_out(self, request: Request) -> Response:
        """``POST /sign-out``."""
        fields = await read_form(request)
        require_change(self._service, request, fields.get("token", ""))
        session: AccessSession = request.scope["session"]
        if self._people is not None and session.person is not None:
            await self._people.run(self._people.people.sign_out, session.cookie)
        inside = self._access.required or session.person is not None
        response = RedirectResponse("/sign-in" if inside else "/", 303)
        response.headers["set-cookie"] = self._access.cookie_header(None)
        return response

    def _check_origin(self, request: Request) -> None:
        headers = request.headers
        self._access.check_origin(headers.get("host", ""), headers.get("origin"), headers.get("sec-fetch-site"))

    def _enter(self, target: str, session: AccessSession) -> Response:
        response = RedirectResponse(target, 303)
        response.headers["set-cookie"] = self._access.cookie_header(session)
        return response


class PeoplePages:
    """Accounts, keys and the audit chains, for whoever is let to see them."""

    def __init__(self, service: PanelService, people: PanelPeople, page: Page) -> None:
        self._service = service
        self._people = people
        self._page = page
        self._audited: dict[str, _Audited] = {}
        """The last audit of each chain in this process: reading them takes its time, so it is done when asked for."""
        self._changes: dict[str, tuple[Change, tuple[str, ...]]] = {
            "add": (_add, ("name", "display")),
            "roles": (_roles, ("name",)),
            "code": (_code, ("name",)),
            "disable": (_disable, ("name",)),
            "enable": (_enable, ("name",)),
            "sign-out": (_sign_out, ("name",)),
            "key": (_add_key, ("label", "days")),
            "revoke-key": (_revoke_key, ("key",)),
        }

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        people = self._people
        return [
            Route("/account", self.account),
            Route("/account.json", self.account_json),
            Route("/account/password", self.password, methods=["POST"]),
            Route("/account/sign-out", self.end_session, methods=["POST"]),
            ActRoute(people, "people:read", "/people", self.people, named=True),
            ActRoute(people, "people:read", "/people.json", self.people_json, named=True),
            ActRoute(people, "key:read", "/people/keys.json", self.keys_json, named=True),
            *(
                ActRoute(people, _needed(name), f"/people/{name}", self.change, name=name, methods=["POST"], named=True)
                for name in self._changes
            ),
            ActRoute(people, "audit:read", "/audit", self.audit, named=True),
            ActRoute(people, "audit:read", "/audit", self.audit_again, methods=["POST"], named=True),
            ActRoute(people, "audit:read", "/audit.json", self.audit_json, named=True),
        ]

    # --- one's own account ---

    async def account(self, request: Request) -> Response:
        """``GET /account``."""
        return await self._account(request)

    async def _account(self, request: Request, **values: Any) -> Response:
        person = await self._somebody(request)
        sessions = await self._people.run(self._people.people.sessions, person)
        error: HoldfastError | None = values.get("trouble")
        roles = [(role, sorted(ACTS[act] for act in ROLE_ACTS[role])) for role in sorted(person.roles)]
        return self._page(
            request, "account.html", "/account", error.status if error else 200, me=person, roles=roles,
            sessions=sessions, **values,
        )  # fmt: skip

    async def account_json(self, request: Request) -> Response:
        """``GET /account.json``: who one is here, what one may do, and where one is signed in."""
        person = await self._somebody(request)
        sessions = await self._people.run(self._people.people.sessions, person)
        return json_response(
            {
                "name": person.name,
                "display": person.display,
                "roles": {role: sorted(ROLE_ACTS[role]) for role in sorted(person.roles)},
                "session": person.session,
                "sessions": _sessions_json(sessions),
            }
        )

    async def password(self, request: Request) -> Response:
        """``POST /account/password``: ends every session and begins one."""
        fields = await self._fields(request)
        person = await self._somebody(request)
        fields = only(fields, "old", "new", "again")
        try:
            if fields["new"] != fields["again"]:
                raise RefusedError("people.password", "the two new passwords differ", status=400, param="again")
            signed_in = await self._people.sign_in.change_password(person, fields["old"], fields["new"])
        except HoldfastError as error:
            return await self._account(request, trouble=error)
        response = RedirectResponse("/account", 303)
        response.headers["set-cookie"] = self._service.access.cookie_header(_session(signed_in))
        return response

    async def end_session(self, request: Request) -> Response:
        """``POST /account/sign-out``: end one of one's own sessions."""
        fields = only(await self._fields(request), "session")
        await self._people.run(self._people.people.end_session, await self._somebody(request), fields["session"])
        return RedirectResponse("/account", 303)

    # --- everybody's ---

    async def people(self, request: Request) -> Response:
        """``GET /people``."""
        return await self._show(request, await require_person(self._people, request, "people:read"))

    async def people_json(self, request: Request) -> Response:
        """``GET /people.json``."""
        person = await require_person(self._people, request, "people:read")
        accounts, keys = await self._people.run(self._gather, person)
        listed = [{**_account_json(account), "sessions": _sessions_json(rows)} for account, rows in accounts]
        return json_response({"people": listed, "keys": None if keys is None else [_key_json(key) for key in keys]})

    async def keys_json(self, request: Request) -> Response:
        """``GET /people/keys.json``: API keys without their secrets, and the workspace that the panel serves."""
        person = await require_person(self._people, request, "key:read")
        keys = await self._people.run(self._people.people.keys, person)
        workspace = self._people.people.config.workspace
        return json_response({"workspace": workspace, "keys": [_key_json(key) for key in keys]})

    async def change(self, request: Request) -> Response:
        """``POST /people/{change}``: do it; what is shown once stands on the page that answers."""
        name = request.url.path.rpartition("/")[2]
        change, wanted = self._changes[name]
        fields = await self._fields(request)
        person = await require_person(self._people, request, _needed(name))
        chosen = {field for field in fields if field.partition("-")[0] in ("role", "scope")}
        fields = only(fields, *wanted, *sorted(chosen))
        try:
            shown = await self._people.run(change, self._people, person, fields)
        except HoldfastError as error:
            return await self._show(request, person, error.status, trouble=error, tried=name, typed=fields)
        return await self._show(request, person, **shown) if shown else RedirectResponse("/people", 303)

    async def _show(self, request: Request, person: Principal, status: int = 200, **values: Any) -> Response:
        accounts, keys = await self._people.run(self._gather, person)
        shown = {
            "me": person,
            "accounts": accounts,
            "keys": keys,
            "names": {account.id: account.name for account, _ in accounts},
            "may_change": may(person.roles, "people:change"),
            "may_give_keys": may(person.roles, "key:change"),
            "roles": ROLES,
            "scopes": [scope for scope in SCOPES if scope != "case:decide"],
            "workspace": self._people.people.config.workspace,
            "minutes": self._people.people.config.code_minutes,
            "key_days": self._people.people.config.key_days,
            "tried": "",
            "typed": {},
            "shown": None,
        }
        return self._page(request, "people.html", "/people", status, **(shown | values))

    def _gather(self, person: Principal) -> tuple[list[tuple[Account, list[Session]]], list[Key] | None]:
        """Everybody with their sessions, and the keys where they may be seen. Runs on the store's thread."""
        people = self._people.people
        accounts = [(row, people.sessions(person, row.name)) for row in people.accounts(person)]
        return accounts, people.keys(person) if may(person.roles, "key:read") else None

    # --- the chains ---

    async def audit(self, request: Request) -> Response:
        """``GET /audit``: where both chains stand, what the log holds of them, and what the last audit found."""
        person = await require_person(self._people, request, "audit:read")
        anchors = self._service.anchors
        trouble = anchors.trouble if anchors is not None else ""
        return self._page(request, "audit.html", "/audit", chains=await self._chains(person), anchors_trouble=trouble)

    async def audit_again(self, request: Request) -> Response:
        """``POST /audit``: read both chains from their first event again, and show the page."""
        await self._fields(request)
        person = await require_person(self._people, request, "audit:read")
        self._audited.clear()
        await self._chains(person)
        return RedirectResponse("/audit", 303)

    async def audit_json(self, request: Request) -> Response:
        """``GET /audit.json``."""
        person = await require_person(self._people, request, "audit:read")
        return json_response({"chains": await self._chains(person)})

    async def _chains(self, person: Principal) -> list[dict[str, Any]]:
        review = self._service.review
        found = [self._people.run(self._people_chain, person)]
        if review is not None:
            found.append(review.call(self._case_chain, review.desk, actor_of(person)))
        return list(await asyncio.gather(*found))

    def _people_chain(self, person: Principal) -> dict[str, Any]:
        people = self._people.people
        if "people" not in self._audited:
            head, findings = people.audit(person, self._known_heads("people"))
            faults = [{"code": item.code, "seq": item.seq, "says": item.says} for item in findings]
            self._audited["people"] = _Audited(time_encode(self._service.clock.now()), head.seq, faults)
        head = people.head(person)
        events = people.events(person, max(0, head.seq - NEWEST), NEWEST)
        names = {event.body["subject"]: event.body["name"] for event in events if event.kind == "account.added"}
        names |= people.names(person)
        newest = [
            {
                "seq": event.seq,
                "at": time_encode(event.at),
                "kind": event.kind,
                "actor": {"kind": event.actor.kind, "id": event.actor.id},
                "by": names.get(event.actor.id, event.actor.id),
                "about": names.get(event.account or "", event.account or ""),
                "case": None,
                "digest": event.digest,
            }
            for event in reversed(events)
        ]
        return self._chain("people", head, newest)

    def _case_chain(self, desk: Desk, actor: Actor) -> dict[str, Any]:
        if "cases" not in self._audited:
            known = next((CaseHead(head.seq, head.digest, "") for head in self._known_heads("cases")), None)
            report = desk.audit(actor, known)
            faults = [{"code": item.code, "seq": item.seq, "says": item.says} for item in report.faults]
            self._audited["cases"] = _Audited(time_encode(self._service.clock.now()), report.head.seq, faults)
        head = desk.head(actor)
        events = desk.journal(actor, max(0, head.seq - NEWEST), NEWEST)
        newest = [
            {
                "seq": event.seq,
                "at": time_encode(event.at),
                "kind": event.kind,
                "actor": event.actor.to_json(),
                "by": event.actor.id,
                "about": "",
                "case": event.case,
                "digest": event.digest,
            }
            for event in reversed(events)
        ]
        return self._chain("cases", Head(head.seq, head.digest), newest)

    def _known_heads(self, journal: str) -> list[Head]:
        """The newest head that the log holds: an audit of the page holds the chain against it."""
        anchor = self._service.anchors.newest(journal) if self._service.anchors is not None else None
        return [] if anchor is None else [Head(anchor.seq, anchor.digest)]

    def _chain(self, name: str, head: Head, newest: list[dict[str, Any]]) -> dict[str, Any]:
        audited = self._audited[name]
        anchor = self._service.anchors.newest(name) if self._service.anchors is not None else None
        logged = None
        if anchor is not None:
            logged = {
                "seq": anchor.seq,
                "digest": anchor.digest,
                "statement": anchor.statement,
                "at": time_encode(anchor.at),
                "after": max(0, head.seq - anchor.seq),
            }
        return {
            "chain": name,
            "head": {"seq": head.seq, "digest": head.digest},
            "anchor": logged,
            "audited": {"at": audited.at, "seq": audited.seq},
            "findings": audited.findings,
            "newest": newest,
        }

    # --- shared ---

    async def _fields(self, request: Request) -> dict[str, str]:
        """A form of this session."""
        fields = await read_form(request)
        require_change(self._service, request, fields.pop("token", ""))
        return fields

    async def _somebody(self, request: Request) -> Principal:
        person = person_of(request)
        if person is None:
            raise RefusedError("people.sign_in_first", "this is for people with an account", hint="sign in", status=401)
        return person


def _needed(change: str) -> str:
    """The act of a change on the page of people."""
    return "key:change" if change in ("key", "revoke-key") else "people:change"


def _session(signed_in: SignedIn) -> AccessSession:
    return AccessSession.of_person(signed_in.token, signed_in.principal)


# --- changes, on the store's thread; what they return is shown once -----------------------------------------------


def _chosen(fields: dict[str, str], kind: str) -> list[str]:
    """The values whose boxes were ticked."""
    return [field.partition("-")[2] for field in fields if field.startswith(f"{kind}-")]


def _add(people: PanelPeople, by: Principal, fields: dict[str, str]) -> dict[str, Any]:
    display = fields["display"].strip() or fields["name"]
    account, code = people.people.add(by, fields["name"], display, _chosen(fields, "role"))
    return {"shown": {"what": "code", "name": account.name, "value": code}}


def _roles(people: PanelPeople, by: Principal, fields: dict[str, str]) -> dict[str, Any]:
    people.people.set_roles(by, fields["name"], _chosen(fields, "role"))
    return {}


def _code(people: PanelPeople, by: Principal, fields: dict[str, str]) -> dict[str, Any]:
    code = people.people.new_code(by, fields["name"])
    return {"shown": {"what": "code", "name": fields["name"], "value": code}}


def _disable(people: PanelPeople, by: Principal, fields: dict[str, str]) -> dict[str, Any]:
    people.people.disable(by, fields["name"])
    return {}


def _enable(people: PanelPeople, by: Principal, fields: dict[str, str]) -> dict[str, Any]:
    people.people.enable(by, fields["name"])
    return {}


def _sign_out(people: PanelPeople, by: Principal, fields: dict[str, str]) -> dict[str, Any]:
    for session in people.people.sessions(by, fields["name"]):
        people.people.end_session(by, session.id)
    return {}


def _add_key(people: PanelPeople, by: Principal, fields: dict[str, str]) -> dict[str, Any]:
    if not (fields["days"].isascii() and fields["days"].isdigit() and len(fields["days"]) <= 4):
        raise MalformedError("people.key_days", "a key lasts a whole number of days", param="days")
    key, shown = people.people.add_key(
        by, people.people.config.workspace, fields["label"], _chosen(fields, "scope"), days=int(fields["days"])
    )
    return {"shown": {"what": "key", "name": key.label, "value": shown}}


def _revoke_key(people: PanelPeople, by: Principal, fields: dict[str, str]) -> dict[str, Any]:
    people.people.revoke_key(by, fields["key"])
    return {}


# --- twins ------------------------------------------------------------------------------------------------------------


def _account_json(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "display": account.display,
        "source": account.source,
        "roles": list(account.roles),
        "has_password": account.password is not None,
        "made_at": account.made_at,
        "disabled_at": account.disabled_at,
    }


def _sessions_json(sessions: list[Session]) -> list[dict[str, Any]]:
    return [
        {"id": row.id, "opened_at": row.opened_at, "seen_at": row.seen_at, "ends_at": row.ends_at} for row in sessions
    ]


def _key_json(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "workspace": key.workspace,
        "label": key.label,
        "scopes": list(key.scopes),
        "person": key.person,
        "made_at": key.made_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "used_day": key.used_day,
    }
