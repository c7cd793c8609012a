"""Recalling what relied on evidence: a page that first says what would be reached, and a form that then does it.

It works without scripts. Asking changes nothing; ordering carries the session's token and a cause that stays in the
journal for good. What comes to rely on the evidence between the two is recalled as well (``case.md`` §8).
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from holdfast.core.encoding import hex_decode
from holdfast.errors import HoldfastError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.app import require_change
from holdfast.nodes.panel.people import ActRoute, person_actor, require_person
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.service import PanelService
from holdfast.review.events import Actor
from holdfast.review.recall import RecallPlan
from holdfast.web.cases import Page
from holdfast.web.forms import only, read_form

SHOWN = 200
"""Cases of each kind on the page; its JSON twin has all of them."""


class RecallPages:
    """The handlers."""

    def __init__(self, service: PanelService, review: Review, page: Page) -> None:
        self._service = service
        self._review = review
        self._page = page

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        people = self._service.people
        return [
            ActRoute(people, "case:recall", "/recall", self.ask, named=True),
            ActRoute(people, "case:recall", "/recall", self.order, methods=("POST",), named=True),
            ActRoute(people, "case:recall", "/recall.json", self.ask_json, named=True),
        ]

    async def ask(self, request: Request) -> Response:
        """``GET /recall?evidence=``: what would be recalled. Without ``evidence`` the page asks for it."""
        actor, evidence = await self._actor(request), request.query_params.get("evidence", "").strip()
        if not evidence:
            return self._page(request, "recall.html", "/queues", **_blank())
        return await self._show(request, actor, evidence)

    async def ask_json(self, request: Request) -> Response:
        """``GET /recall.json?evidence=``."""
        actor = await self._actor(request)
        return json_response((await self._plan(actor, request.query_params.get("evidence", "").strip())).to_json())

    async def order(self, request: Request) -> Response:
        """``POST /recall`` with ``evidence`` and ``cause``: recall, and show what was reached."""
        fields = await read_form(request)
        require_change(self._service, request, fields.pop("token", ""))
        actor = await self._actor(request)
        fields = only(fields, "evidence", "cause")
        evidence = hex_decode(fields["evidence"], 32).hex()
        try:
            done = await self._review.call(self._review.desk.recall, actor, evidence, fields["cause"])
        except HoldfastError as error:
            return await self._show(request, actor, evidence, error.status, trouble=error, cause=fields["cause"])
        self._review.notify()
        return await self._show(request, actor, evidence, done=done)

    async def _actor(self, request: Request) -> Actor:
        return person_actor(await require_person(self._service.people, request, "case:recall"))

    async def _plan(self, actor: Actor, evidence: str) -> RecallPlan:
        return await self._review.call(self._review.desk.plan_recall, actor, hex_decode(evidence, 32).hex())

    async def _show(self, request: Request, actor: Actor, evidence: str, status: int = 200, **more: Any) -> Response:
        plan = await self._plan(actor, evidence)
        shown = {"evidence": plan.evidence, "plan": plan}
        return self._page(request, "recall.html", "/queues", status, **(_blank() | shown | more))


def _blank() -> dict[str, Any]:
    return {"evidence": "", "plan": None, "done": None, "cause": "", "most": SHOWN}
