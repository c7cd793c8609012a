"""Opening a case by hand: the form on a queue's page, for a run whose caller named no queue.

Whoever opens a case of a run that nobody is known to have asked for counts as who did, and so does not decide it
(``case.md`` §4(7)). Nothing is opened for a run that the gateway does not have.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from holdfast.errors import HoldfastError
from holdfast.nodes.panel.app import require_change
from holdfast.nodes.panel.cases import open_by_hand
from holdfast.nodes.panel.people import ActRoute, person_actor, require_person
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.service import PanelService
from holdfast.web.forms import only, read_form


class QueuePage(Protocol):
    """Shows the page of a queue with something said on it."""

    def __call__(self, request: Request, status: int = 200, **more: Any) -> Awaitable[Response]:
        """The page."""
        ...


class OpeningPages:
    """The handler. ``queue_page`` is the page that the form stands on."""

    def __init__(self, service: PanelService, review: Review, queue_page: QueuePage) -> None:
        self._service = service
        self._review = review
        self._queue_page = queue_page

    def routes(self) -> list[Route]:
        """One."""
        people, both = self._service.people, ("GET", "POST")
        return [ActRoute(people, "case:open", "/queues/{queue}/open", self.open, methods=both, named=True)]

    async def open(self, request: Request) -> Response:
        """``POST /queues/{queue}/open`` with ``run`` and ``subject`` (which may be empty): on to the case, or back to
        the queue with what stood in the way."""
        queue = request.path_params["queue"]
        if request.method != "POST":
            return RedirectResponse(f"/queues/{queue}", 303)
        fields = await read_form(request)
        require_change(self._service, request, fields.pop("token", ""))
        actor = person_actor(await require_person(self._service.people, request, "case:open"))
        fields = {name: value.strip() for name, value in only(fields, "run", "subject").items()}
        try:
            case, _ = await open_by_hand(self._review, actor, fields["run"], queue, fields["subject"] or None)
        except HoldfastError as error:
            return await self._queue_page(request, error.status, trouble=error, typed=fields)
        return RedirectResponse(f"/cases/{case}", 303)
