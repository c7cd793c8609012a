"""A person's session for programs that act as that person, such as ``holdfast case``.

Rules:

* ``POST /v1/session`` with a name and a password begins one: the cookie that a browser would get, and the token that
  goes along with every change (``x-holdfast-token``). ``POST /v1/session/end`` ends it.
* A page of another site begins and ends nothing.
* Who signs in elsewhere gets the same session from :func:`begin_session` (``docs/operate/identity.md``).

Not covered: passwords, their limits and what a session may do (``review.sign_in``, ``people.py``); pages.
"""

from __future__ import annotations

import html
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from holdfast.errors import MalformedError
from holdfast.nodes.edge import json_response, read_json
from holdfast.nodes.panel.access import Access, Session
from holdfast.nodes.panel.cases import refuse_forgery, refuse_other_sites
from holdfast.nodes.panel.people import PanelPeople, person_of
from holdfast.review.people import Subject


async def begin_session(people: PanelPeople, access: Access, subject: Subject, target: str) -> Response:
    """Begin a session for somebody whom an issuer outside vouches for, and show the page ``target`` of this panel.

    Raises ``people.sign_in`` (401) for somebody disabled here and ``people.no_role`` for somebody without a role. The
    answer is a page that goes on by itself and no redirect: whoever comes from the issuer's site would come to a
    redirect's target without the cookie, which goes along with what our own pages ask for alone (``SameSite=Strict``).
    """
    signed_in = await people.run(people.people.open_session, subject)
    onward = target if target.startswith("/") and not target.startswith(("//", "/\\")) else "/"
    link = html.escape(quote(onward, safe="/?&=%-._~"), quote=True)
    page = f'<!doctype html><html lang="en"><title>Signed in</title><p>Signed in. <a href="{link}">Go on</a></p></html>'
    response = HTMLResponse(page, headers={"refresh": f"0; url={link}"})
    session = Session.of_person(signed_in.token, signed_in.principal)
    response.headers["set-cookie"] = access.cookie_header(session)
    return response


def session_routes(people: PanelPeople, access: Access) -> list[BaseRoute]:
    """The routes below ``/v1/session``."""

    async def begin(request: Request) -> Response:
        refuse_other_sites(request)
        body = await read_json(request)
        if body.keys() != {"name", "password"} or not all(isinstance(value, str) for value in body.values()):
            raise MalformedError("request.members", "this takes name (a text), password (a text), and nothing else")
        signed_in = await people.sign_in.sign_in(body["name"], body["password"])
        session = Session.of_person(signed_in.token, signed_in.principal)
        who = signed_in.principal
        shown = {"id": who.id, "name": who.name, "display": who.display, "roles": sorted(who.roles)}
        response = json_response({"who": shown, "token": session.token})
        response.headers["set-cookie"] = access.cookie_header(session)
        return response

    async def end(request: Request) -> Response:
        refuse_other_sites(request)
        refuse_forgery(request)
        session: Session | None = request.scope.get("session")
        if session is not None and person_of(request) is not None:
            await people.run(people.people.sign_out, session.cookie)
        response = json_response({"who": None, "token": None})
        response.headers["set-cookie"] = access.cookie_header(None)
        return response

    return [
        Route("/v1/session", begin, methods=["POST"]),
        Route("/v1/session/end", end, methods=["POST"]),
    ]
