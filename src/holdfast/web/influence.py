"""What rows of memory did to an answer: asked for from a run's page or a case file, shown beside the original.

Each re-run is labelled as one and proves nothing; where the control differs as well, the page says that differences
show nothing of the rows. It works without scripts: the form then answers with a page of its own. In a case only
somebody who opens it may ask, and having asked is having opened it: the journal says so.

Not covered: asking the model (``nodes/gateway/influence.py``), and how often (the gateway counts).
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from holdfast.errors import MalformedError, UnavailableError
from holdfast.nodes.edge import json_response, read_json
from holdfast.nodes.panel import views
from holdfast.nodes.panel.app import require_change
from holdfast.nodes.panel.influence import AskedAgain, parse_asked_again, question, wanted
from holdfast.nodes.panel.people import ActRoute, actor_of, require_person
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.service import PanelService
from holdfast.web.cases import Page
from holdfast.web.forms import only, read_form

Rows = tuple[str, ...] | None
"""Which rows are left out; None for all."""


class InfluencePages:
    """The handlers."""

    def __init__(self, service: PanelService, page: Page) -> None:
        self._service = service
        self._page = page

    def routes(self) -> list[BaseRoute]:
        """A form and a program's way for a run and, where this panel keeps cases, for a case."""
        people, post = self._service.people, ("POST",)
        found: list[BaseRoute] = [
            ActRoute(people, "run:ask", "/runs/{run}/influence.json", self.run_json, methods=post),
            ActRoute(people, "run:ask", "/runs/{run}/influence", self.run, methods=("GET", "POST")),
            ActRoute(people, "run:read", "/runs/{run}/memory.json", self.memory_json),
        ]
        if self._service.review is not None:
            found += [
                ActRoute(people, "run:ask", "/cases/{case}/influence.json", self.case_json, methods=post, named=True),
                ActRoute(people, "run:ask", "/cases/{case}/influence", self.case, methods=("GET", "POST"), named=True),
            ]
        return found

    async def memory_json(self, request: Request) -> Response:
        """``GET /runs/{run}/memory.json``: the rows that went before a run's model, as far as the gateway shows."""
        run = views.parse_run_id(request.path_params["run"])
        said = await self._service.said(run)
        rows = None if said.recalled is None else said.recalled.to_json()
        asks_again = self._service.asked_here(run)
        return json_response({"run": run, "recalled": rows, "asks_again": asks_again, "trouble": said.trouble or None})

    async def run(self, request: Request) -> Response:
        """``POST /runs/{run}/influence`` with ``without``, from a page."""
        back = f"/runs/{views.parse_run_id(request.path_params['run'])}"
        if request.method != "POST":
            return RedirectResponse(back, 303)
        return await self._show(request, back, await self._of_run(request, await self._form(request)))

    async def run_json(self, request: Request) -> Response:
        """The same for programs."""
        return json_response((await self._of_run(request, await wanted_of(self._service, request))).to_json())

    async def case(self, request: Request) -> Response:
        """``POST /cases/{case}/influence`` with ``without``, from a page."""
        back = f"/cases/{request.path_params['case']}"
        if request.method != "POST":
            return RedirectResponse(back, 303)
        return await self._show(request, back, await self._of_case(request, await self._form(request)))

    async def case_json(self, request: Request) -> Response:
        """The same for programs."""
        return json_response((await self._of_case(request, await wanted_of(self._service, request))).to_json())

    async def _of_run(self, request: Request, without: Rows) -> AskedAgain:
        raw = await self._service.ask_again(request.path_params["run"], question(without))
        return await asyncio.to_thread(parse_asked_again, raw)

    async def _of_case(self, request: Request, without: Rows) -> AskedAgain:
        review = self._require_review()
        actor = actor_of(await require_person(self._service.people, request, "case:read"))
        file = await review.call(review.desk.view, actor, request.path_params["case"])
        if review.contents is None:
            raise UnavailableError("content.key", "this panel reads no runs, so it asks none again")
        raw = await review.contents.ask_again(file.view.row.run, question(without))
        return await asyncio.to_thread(parse_asked_again, raw)

    def _require_review(self) -> Review:
        if self._service.review is None:
            raise UnavailableError("content.key", "this panel keeps no cases")
        return self._service.review

    async def _form(self, request: Request) -> Rows:
        fields = await read_form(request)
        require_change(self._service, request, fields.pop("token", ""))
        return wanted(only(fields, "without")["without"])

    async def _show(self, request: Request, back: str, found: AskedAgain) -> Response:
        return self._page(request, "influence.html", "", found=found, back=back)


async def wanted_of(service: PanelService, request: Request) -> Rows:
    """What a program's request leaves out. Raises ``panel.rows`` and as :func:`require_change` does."""
    require_change(service, request, request.headers.get("x-holdfast-token"))
    body = await read_json(request)
    if body.keys() != {"without"}:
        raise MalformedError("panel.rows", "say what is left out", param="without")
    return wanted(body["without"])
