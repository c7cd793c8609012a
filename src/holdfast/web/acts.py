"""The case file as somebody opens it, and the forms of what they may do with it.

Opening a case as a person is an event of its journal: it says who had which lanes before them. The page's own
refreshing is none, and shows nothing of the evidence. Every form works without scripts, carries the session's token
and, where something is decided, the digest of the lane vector that stood on the page.

Not covered: whether an act goes through (``review.desk``), and what is offered (``nodes/panel/acts.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from holdfast.core.encoding import hex_decode
from holdfast.core.statements import Route
from holdfast.errors import HoldfastError
from holdfast.nodes.panel.acts import ACTS, FIELDS, WEIGHTY, open_acts, perform
from holdfast.nodes.panel.agents import AGENT, STEP
from holdfast.nodes.panel.amending import amend
from holdfast.nodes.panel.app import require_change
from holdfast.nodes.panel.people import ANYBODY, FRESH, ActRoute, actor_of, person_of, require_person
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.service import PanelService
from holdfast.review.attached import AttachedFile, attached_of
from holdfast.review.cases import Case
from holdfast.review.contents import Content, asked_of, evidence_of
from holdfast.review.events import SYSTEM
from holdfast.review.quoted import Quotes, quoted_of
from holdfast.review.recalled import recalled_of
from holdfast.review.roles import may
from holdfast.verifier.evidence import Evidence
from holdfast.verifier.queue_policy import QueuePolicy
from holdfast.web.agents import find_child
from holdfast.web.background import privacy_of, shown_background
from holdfast.web.cases import Page, shown_file
from holdfast.web.forms import only, read_form
from holdfast.web.memory import ROW_WORDS
from holdfast.web.paid import paid_of


class CaseActPages:
    """The handlers."""

    def __init__(self, service: PanelService, review: Review, page: Page) -> None:
        self._service = service
        self._review = review
        self._page = page

    def routes(self) -> list[BaseRoute]:
        """One path for each act, below its case."""
        people, both = self._service.people, ("GET", "POST")
        return [
            ActRoute(people, needed, f"/cases/{{case}}/{act}", self.act, name=act, methods=both, named=True)
            for act, needed in ACTS.items()
        ]

    async def case(self, request: Request) -> Response:
        """``GET /cases/{case}``."""
        return await self._show(request, opened=FRESH not in request.headers)

    async def act(self, request: Request) -> Response:
        """``POST /cases/{case}/{act}``: do it and show the case again, or show what stood in the way."""
        case, act = request.path_params["case"], request.url.path.rpartition("/")[2]
        back = RedirectResponse(f"/cases/{case}", 303)
        if request.method != "POST":
            return back
        fields = await read_form(request)
        require_change(self._service, request, fields.pop("token", ""))
        person = await require_person(self._service.people, request, ACTS[act])
        fields = only(fields, *FIELDS[act])
        now = self._service.clock.now()
        try:
            if act == "amend":
                other = await amend(
                    self._review,
                    actor_of(person),
                    case,
                    fields["arguments"],
                    fields["reason"],
                    hex_decode(fields["lanes"], 32).hex(),
                )
                return RedirectResponse(f"/cases/{other}", 303)
            await self._review.call(perform, self._review.desk, actor_of(person), case, act, fields, now)
        except HoldfastError as error:
            if error.code == "case.unknown":
                raise
            return await self._show(request, opened=True, status=error.status, trouble=error, tried=act, typed=fields)
        self._review.notify()
        return back

    async def _led(self, evidence: Evidence, content: Content | None, *, opened: bool) -> dict[str, Any] | None:
        """Of an act: its tool, effect and arguments, and the agent run that proposed it. What the gateway does not
        tell is left out."""
        found = _led_by(evidence)
        if found is None:
            return None
        endpoint, run, parent = found
        led: dict[str, Any] = {"act": endpoint == STEP, "run": run, "parent": parent, "agent": None}
        led |= {"tool": None, "effect": None, "content": content.step if content is not None else None}
        led["why"] = "Its arguments cannot be read here." if opened else "Whoever opens this case reads its arguments."
        if endpoint == STEP:
            with contextlib.suppress(HoldfastError):
                tree, child, _ = await find_child(self._service, parent, run)
                led |= {"agent": tree.head.name, "tool": child.title, "effect": child.effect}
        return led

    async def _beside(self, case: Case, content: Content | None) -> dict[str, str | None]:
        """Of an act: the case of the one that was proposed in its place and, for whoever reads it, of the one in whose
        place it was."""
        replaces = content.step.replaces if content is not None and content.step is not None else None
        runs = [run for run in (case.amended, replaces) if run is not None]
        rows = await self._review.call(self._review.desk.cases_of_runs, SYSTEM, runs) if runs else {}
        first = {run: found[0].case for run, found in rows.items()}
        return {"replaced_by": first.get(case.amended or ""), "replaces": first.get(replaces or "")}

    async def _show(self, request: Request, *, opened: bool, status: int = 200, **values: Any) -> Response:
        """The page; ``opened`` is false where nobody opened anything."""
        desk, case, principal = self._review.desk, request.path_params["case"], person_of(request)
        acts = None
        if principal is None:
            file = await self._review.call(desk.case, ANYBODY, case)
        else:
            principal = await require_person(self._service.people, request, "case:read")
            actor = actor_of(principal)
            file = await self._review.call(desk.view if opened else desk.case, actor, case)
            acts = open_acts(file, actor, self._service.clock.now())
        reading = None
        if file.bundle is not None and self._review.contents is not None:
            reading = await self._review.contents.read(file.view.row.run, file.bundle)
        kept = file.bundle if file.bundle is not None else await self._review.call(desk.evidence, SYSTEM, case)
        background = await self._review.call(desk.background, SYSTEM, case)
        case_shown = shown_file(file)
        evidence = evidence_of(kept, self._service.clock.now())
        content = reading.content if reading is not None else None
        files: tuple[AttachedFile, ...] = ()
        quoted = Quotes()
        if content is not None and reading is not None:
            now = self._service.clock.now()
            files = await asyncio.to_thread(attached_of, reading.bundle, now)
            quoted = await asyncio.to_thread(quoted_of, reading.bundle, now)
        shown = {
            "case": case_shown,
            "privacy": privacy_of(case_shown["lanes"]),
            "background": shown_background(background, file),
            "paid": paid_of(background.appraisal),
            "person": principal,
            "acts": acts,
            "weighty": WEIGHTY,
            "asks": _asks(file.policy),
            "recorded": _asks(file.policy),
            "asked": asked_of(evidence),
            "led": await self._led(evidence, content, opened=reading is not None),
            "beside": await self._beside(file.case, content),
            "opened": file.bundle is not None,
            "content": content,
            "unread": reading.trouble if reading is not None else "This panel reads no runs.",
            "recalled": recalled_of(reading.bundle if reading is not None else kept, self._service.clock.now()),
            "files": files,
            "quoted": quoted,
            "words": ROW_WORDS,
            "asks_again": principal is not None
            and may(principal.roles, "run:ask")
            and reading is not None
            and reading.content is not None,
            "tried": "",
            "typed": {},
        }
        return self._page(request, "case.html", "/queues", status, **(shown | values))


def _led_by(evidence: Evidence) -> tuple[str, str, str] | None:
    """Endpoint, run and parent of a case's run, where an agent leads it or it is one."""
    route = evidence.route
    if route is None or not isinstance(route.statement.body, Route):
        return None
    endpoint, statement = route.statement.body.endpoint, route.statement
    parent = statement.run if endpoint == AGENT else statement.parent_run
    return None if endpoint not in (AGENT, STEP) or parent is None else (endpoint, statement.run, parent)


def _asks(policy: QueuePolicy) -> dict[str, str]:
    """What the queue's document says a decision follows, where it says so."""
    need = policy.judgement
    if need is None:
        return {}
    found = {"rule": need.rule, "threshold": need.threshold, "framing": need.framing}
    return {name: text for name, text in found.items() if text is not None}
