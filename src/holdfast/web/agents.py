"""The pages of agent runs: which there are, one as a tree on a common time axis, and one child of it.

Everything here is what the gateway says, child by child and lane by lane; acts stand with the state of their cases as
this panel knows them. A page opens with what the gateway has looked at by then; the rest comes while it is read.

Not covered: what moves a case (``holdfast.review``), and checking a parent's list (``holdfast verify --child``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from holdfast.errors import MalformedError, UnavailableError, UsageError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel import views
from holdfast.nodes.panel.agents import KINDS, AgentList, AgentTree, ChildRun
from holdfast.nodes.panel.app import require_change
from holdfast.nodes.panel.influence import AskedAgain, parse_asked_again, question, wanted
from holdfast.nodes.panel.people import ActRoute, actor_of, person_of, require_person
from holdfast.nodes.panel.service import PanelService
from holdfast.ports.case_store import CaseRow
from holdfast.review.events import SYSTEM
from holdfast.review.recalled import recalled_of
from holdfast.review.roles import may
from holdfast.web.cases import Page
from holdfast.web.filters import url_of
from holdfast.web.forms import only, read_form
from holdfast.web.influence import Rows, wanted_of
from holdfast.web.memory import ROW_WORDS

LISTED = 30
"""Agent runs on one page."""
WITHIN_MS = 80
"""How long a page waits for children to be looked at; the stream tells of the rest."""
LOOK_MS = 2000
"""How long the page of a turn waits where it is not known yet what the turn stood on."""
STATES = {"open": "Open", "closed": "Closed"}
_MOST_DIGITS = 18


class AgentPages:
    """The handlers."""

    def __init__(self, service: PanelService, page: Page) -> None:
        self._service = service
        self._page = page

    def routes(self) -> list[BaseRoute]:
        """Those that are matched first."""
        people, again = self._service.people, "/agents/{run}/steps/{child}/influence"
        return [
            ActRoute(people, "run:read", "/agents", self.list),
            ActRoute(people, "run:read", "/agents.json", self.list_json),
            ActRoute(people, "run:read", "/agents/{run}.json", self.tree_json),
            ActRoute(people, "run:read", "/agents/{run}/steps/{child}.json", self.child_json),
            ActRoute(people, "run:read", "/agents/{run}/steps/{child}", self.child),
            ActRoute(people, "run:ask", f"{again}.json", self.influence_json, methods=("POST",), named=True),
            ActRoute(people, "run:ask", again, self.influence, methods=("GET", "POST"), named=True),
        ]

    def late_routes(self) -> list[BaseRoute]:
        """Those that would take a twin's path."""
        return [ActRoute(self._service.people, "run:read", "/agents/{run}", self.tree)]

    # The list

    async def list(self, request: Request) -> Response:
        """``GET /agents?name=&state=&before=``."""
        asked = _parse_asked(request)
        found = await self._agents(asked)
        return self._page(
            request,
            "agents.html",
            "/agents",
            agents=found.agents,
            asked=asked,
            states=STATES,
            narrowed=any(name != "before" for name in asked),
            more=None if found.next is None else url_of("/agents", asked, before=found.next),
            first=url_of("/agents", asked, before=None) if "before" in asked else None,
            narrow={state: url_of("/agents", asked, state=state, before=None) for state in STATES},
            every=url_of("/agents", asked, state=None, before=None),
            twin=url_of("/agents.json", asked),
        )

    async def list_json(self, request: Request) -> Response:
        """``GET /agents.json``, under the same filters."""
        found = await self._agents(_parse_asked(request))
        return json_response({"agents": [row.to_json() for row in found.agents], "next": found.next})

    async def _agents(self, asked: Mapping[str, str]) -> AgentList:
        before = asked.get("before")
        return await self._service.agents(
            asked.get("name"), asked.get("state"), None if before is None else int(before), LISTED
        )

    # The tree

    async def tree(self, request: Request) -> Response:
        """``GET /agents/{run}?after=``."""
        tree = await self._service.agent(request.path_params["run"], _after(request), within_ms=WITHIN_MS)
        cases = await cases_of(self._service, tree)
        return self._page(
            request,
            "agent.html",
            "/agents",
            agent=tree.head,
            tree=tree,
            axis=tree.axis(self._service.clock.now()),
            cases=cases,
            again=self._askable(request, tree, cases),
            spent=tree.spent,
            kinds=KINDS,
            own={lane.name: lane for lane in tree.lanes or ()},
        )

    async def tree_json(self, request: Request) -> Response:
        """``GET /agents/{run}.json``: the same for programs, with every child looked at."""
        tree = await self._service.agent(request.path_params["run"], _after(request))
        cases = await cases_of(self._service, tree)
        return json_response({**tree.to_json(), "cases": {run: _case_json(row) for run, row in cases.items()}})

    # One child

    async def child(self, request: Request) -> Response:
        """``GET /agents/{run}/steps/{child}``."""
        tree, child, cases = await find_child(self._service, *_child_of(request))
        if child.what == "turn" and child.rests is None:
            tree, child, cases = await find_child(self._service, *_child_of(request), within_ms=LOOK_MS)
        view = await self._service.run(child.run)
        outcome = next((x for x in tree.every.values() if x.of == child.run and x.what == "outcome"), None)
        act = tree.every.get(child.of or "")
        return self._page(
            request,
            "agent_child.html",
            "/agents",
            agent=tree.head,
            child=child,
            lanes=view.lanes,
            bar=tree.axis(self._service.clock.now()).bars[child.run],
            case=cases.get(child.run) or (None if act is None else cases.get(act.run)),
            came=outcome,
            act=act,
            read=await self._read(request, tree, child, cases),
        )

    async def child_json(self, request: Request) -> Response:
        """``GET /agents/{run}/steps/{child}.json``."""
        tree, child, cases = await find_child(self._service, *_child_of(request))
        view = await self._service.run(child.run)
        row = cases.get(child.run)
        return json_response(
            {
                **child.to_json(),
                "agent": tree.head.run,
                "lanes": {lane.name: lane.to_json() for lane in view.lanes},
                "case": None if row is None else _case_json(row),
            }
        )

    async def influence(self, request: Request) -> Response:
        """``POST /agents/{run}/steps/{child}/influence`` with ``without``: the turn asked again without rows of memory
        or an admission, for whoever opens the case that it is read in. It makes no child."""
        run, wanted_child = _child_of(request)
        back = f"/agents/{run}/steps/{wanted_child}"
        if request.method != "POST":
            return RedirectResponse(back, 303)
        fields = await read_form(request)
        require_change(self._service, request, fields.pop("token", ""))
        found = await self._asked_again(request, wanted(only(fields, "without")["without"]))
        return self._page(request, "influence.html", "/agents", found=found, back=f"{back}?read=1")

    async def influence_json(self, request: Request) -> Response:
        """``POST /agents/{run}/steps/{child}/influence.json``: the same for programs."""
        return json_response((await self._asked_again(request, await wanted_of(self._service, request))).to_json())

    async def _asked_again(self, request: Request, without: Rows) -> AskedAgain:
        run, wanted_child = _child_of(request)
        tree, child, cases = await find_child(self._service, run, wanted_child)
        review, row = self._service.review, cases.get(child.run) or cases.get(tree.head.run)
        if review is None or review.contents is None or row is None:
            raise UnavailableError("content.key", "nobody here can read this run, so nobody has it asked again")
        actor = actor_of(await require_person(self._service.people, request, "case:read"))
        await review.call(review.desk.view, actor, row.case)
        raw = await review.contents.ask_again(child.run, question(without))
        return await asyncio.to_thread(parse_asked_again, raw)

    def _askable(self, request: Request, tree: AgentTree, cases: Mapping[str, CaseRow]) -> frozenset[str]:
        """The turns that whoever looks can have asked again: those that stood on something, and are read in a case."""
        review, person = self._service.review, person_of(request)
        reads = review is not None and review.contents is not None and person is not None
        if person is None or not reads or not all(may(person.roles, act) for act in ("case:read", "run:ask")):
            return frozenset()
        whole = tree.head.run in cases
        return frozenset(run for run, child in tree.every.items() if child.stood_on and (whole or run in cases))

    async def _read(
        self, request: Request, tree: AgentTree, child: ChildRun, cases: Mapping[str, CaseRow]
    ) -> dict[str, Any]:
        """What was said in a child, for whoever opens the case of its agent run, or its own: the journal says so
        (``sealed.md`` §4). Nothing is opened unless the page is asked for that."""
        review, row = self._service.review, cases.get(child.run) or cases.get(tree.head.run)
        found: dict[str, Any] = {"content": None, "why": "", "offer": None, "recalled": None}
        if review is None or review.contents is None:
            return {**found, "why": "This panel reads no runs."}
        if row is None:
            return {**found, "why": "It is read with its capability: neither it nor its agent run has a case here."}
        if person_of(request) is None:
            return {**found, "why": "Whoever opens the case of its agent run reads it here: sign in first."}
        if "read" not in request.query_params:
            return {**found, "offer": f"/agents/{tree.head.run}/steps/{child.run}?read=1"}
        principal = await require_person(self._service.people, request, "case:read")
        await review.call(review.desk.view, actor_of(principal), row.case)
        reading = await review.contents.read(child.run, await self._service.evidence(child.run))
        asks = reading.content is not None and child.what == "turn" and may(principal.roles, "run:ask")
        again = f"/agents/{tree.head.run}/steps/{child.run}/influence" if asks else ""
        recalled = recalled_of(reading.bundle, self._service.clock.now())
        more = {"case": row.case, "recalled": recalled, "words": ROW_WORDS, "again": again}
        return {**found, "content": reading.content, "why": reading.trouble, **more}


async def find_child(
    service: PanelService, run: str, wanted: str, *, within_ms: int = 0
) -> tuple[AgentTree, ChildRun, dict[str, CaseRow]]:
    """A run below an agent run, with the part of the tree that it stands in, looked at for so long. Raises
    ``agent.child``."""
    after: int | None = None
    while True:
        tree = await service.agent(run, after, within_ms=within_ms)
        if wanted in tree.every:
            return tree, tree.every[wanted], await cases_of(service, tree)
        if tree.next is None:
            raise UsageError("agent.child", "no such run is below this agent run", param="child", status=404)
        after = tree.next


async def cases_of(service: PanelService, tree: AgentTree) -> dict[str, CaseRow]:
    """The cases of acts and of the agent run itself, by run, as far as this panel has them."""
    queues = {child.run: child.queue for child in tree.every.values() if child.queue is not None}
    queues |= {} if tree.head.queue is None else {tree.head.run: tree.head.queue}
    if service.review is None or not queues:
        return {}
    found = await service.review.call(service.review.desk.cases_of_runs, SYSTEM, list(queues))
    rows = {run: next((row for row in rows if row.queue == queues[run]), None) for run, rows in found.items()}
    return {run: row for run, row in rows.items() if row is not None}


def _child_of(request: Request) -> tuple[str, str]:
    return request.path_params["run"], views.parse_run_id(request.path_params["child"])


def _case_json(row: CaseRow) -> dict[str, Any]:
    return {"case": row.case, "queue": row.queue, "state": row.stands}


def _parse_asked(request: Request) -> dict[str, str]:
    """The filters of a list, as they were written. Raises ``panel.filter``."""
    given = {name: value for name, value in request.query_params.items() if value}
    for name, value in given.items():
        known = name in ("name", "state", "before")
        if not known or len(value) > 64 or (name == "state" and value not in STATES):
            raise MalformedError("panel.filter", "agent runs are narrowed by name, and by state: open or closed")
    if "before" in given:
        _parse_place(given["before"], "before")
    return given


def _after(request: Request) -> int | None:
    text = request.query_params.get("after")
    return None if text is None else _parse_place(text, "after")


def _parse_place(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS:
        raise MalformedError("panel.filter", f"{name} is a number that an earlier page gave", param=name)
    return int(text)
