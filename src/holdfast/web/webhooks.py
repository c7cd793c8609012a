"""The page of webhooks: who is told of what, what waits, and what was given up; sending again and dropping as forms.

It works without scripts. A form carries the session's token and comes from this panel's own page; whether the act goes
through is decided where it happens (``nodes/panel/webhooks.py``, ``webhook.md`` §6). Addresses are shown without their
path, and of an answer only the one line that is kept.

Not covered: settings. Endpoints are written in the panel's configuration and nowhere else.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from holdfast.core.encoding import hex_decode
from holdfast.errors import HoldfastError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.app import require_change
from holdfast.nodes.panel.people import ActRoute, caller, person_actor, person_of, require_person
from holdfast.nodes.panel.service import PanelService
from holdfast.nodes.panel.webhooks import MAX_LISTED, listing_start, require_webhooks
from holdfast.ports.webhook_store import Stands
from holdfast.review.events import Actor
from holdfast.review.webhooks import MAY
from holdfast.web.cases import Page
from holdfast.web.forms import only, read_form

LISTS: tuple[tuple[Stands, str], ...] = (("dead", "Dead letters"), ("waiting", "Waiting"), ("dropped", "Dropped"))
"""What the page lists, the most pressing first; what was delivered is counted."""
FIELDS = {"replay": "delivery", "drop": "delivery", "enable": "webhook"}
"""The forms, and what each names."""


class WebhookPages:
    """The handlers."""

    def __init__(self, service: PanelService, page: Page) -> None:
        self._service = service
        self._page = page

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        people, both = self._service.people, ("GET", "POST")
        acts = [
            ActRoute(
                people, "queue:read", f"/webhooks/{act}", self.act, name=f"webhooks-{act}", methods=both, named=True
            )
            for act in FIELDS
        ]
        return [
            ActRoute(people, "queue:read", "/webhooks", self.webhooks),
            ActRoute(people, "queue:read", "/webhooks.json", self.webhooks_json),
            *acts,
        ]

    async def webhooks(self, request: Request) -> Response:
        """``GET /webhooks?dead=&waiting=&dropped=``: each the position after which its list goes on."""
        return await self._show(request)

    async def webhooks_json(self, request: Request) -> Response:
        """``GET /webhooks.json``, the same."""
        actor = await self._reader(request)
        return json_response(await self._gather(request, actor))

    async def act(self, request: Request) -> Response:
        """``POST /webhooks/{act}``: do it, or show what stood in the way."""
        act = request.url.path.rpartition("/")[2]
        back = RedirectResponse("/webhooks", 303)
        if request.method != "POST":
            return back
        fields = await read_form(request)
        require_change(self._service, request, fields.pop("token", ""))
        actor = person_actor(await require_person(self._service.people, request, "queue:read"))
        name = hex_decode(only(fields, FIELDS[act])[FIELDS[act]], 32).hex()
        webhooks = require_webhooks(self._service.webhooks)
        try:
            await {"replay": webhooks.replay, "drop": webhooks.drop, "enable": webhooks.enable}[act](actor, name)
        except HoldfastError as error:
            return await self._show(request, error.status, trouble=error)
        return back

    async def _reader(self, request: Request) -> Actor:
        return await caller(self._service.people, request, "queue:read")

    async def _gather(self, request: Request, actor: Actor) -> dict[str, Any]:
        webhooks = require_webhooks(self._service.webhooks)
        found = await webhooks.endpoints(actor)
        for stands, _ in LISTS:
            found[stands] = await webhooks.listed(actor, stands, listing_start(request, stands), MAX_LISTED)
        return found

    async def _show(self, request: Request, status: int = 200, **values: Any) -> Response:
        actor, person = await self._reader(request), person_of(request)
        found = await self._gather(request, actor)
        held = {f"person:{role}" for role in person.roles} if person is not None else set()
        return self._page(
            request,
            "webhooks.html",
            "/queues",
            status,
            found=found,
            lists=LISTS,
            may_replay=bool(held & MAY["replay"]),
            **values,
        )
