"""The panel's pages: ask, one run, rounds, one round, about. Cases are in ``web.cases``, people in ``web.people``.

Each page can be read without scripts and has a JSON twin (``nodes/panel/app.py``). Asking works without scripts too:
the form then answers with the page itself, in one piece.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from holdfast import __version__
from holdfast.core import canonical
from holdfast.errors import HoldfastError, MalformedError
from holdfast.nodes.edge import App, Scope, json_response
from holdfast.nodes.panel import views
from holdfast.nodes.panel.access import Session
from holdfast.nodes.panel.app import assemble, parse_messages, parse_round_number, require_change
from holdfast.nodes.panel.people import PROGRAMS, ActRoute
from holdfast.nodes.panel.service import PanelService, Said
from holdfast.nodes.panel.views import QUESTIONS
from holdfast.review.roles import may
from holdfast.verifier.lanes import DOES_NOT_SAY, LANES
from holdfast.web.acts import CaseActPages
from holdfast.web.agent_diff import AgentDiffPages
from holdfast.web.agents import AgentPages
from holdfast.web.assets import Assets
from holdfast.web.background import privacy_of
from holdfast.web.case_file import CaseFilePages
from holdfast.web.cases import CasePages
from holdfast.web.chat import ChatPages
from holdfast.web.forms import read_form
from holdfast.web.influence import InfluencePages
from holdfast.web.memory import ROW_WORDS, MemoryPages
from holdfast.web.models import ModelPages
from holdfast.web.openapi import document
from holdfast.web.opening import OpeningPages
from holdfast.web.people import PeoplePages, SignInPages
from holdfast.web.recall import RecallPages
from holdfast.web.render import BLANK_LANES, LEGEND, Pages
from holdfast.web.sources import SourcePages
from holdfast.web.statistics import StatisticsPages
from holdfast.web.verify import VerifyPages
from holdfast.web.webhooks import WebhookPages

TITLES = {
    "agent.none": "No agent run",
    "panel.run_id": "No such run",
    "panel.silent": "The gateway does not answer",
    "panel.queue": "No such queue",
    "case.unknown": "No such case",
    "hub.unknown": "The hub has no such thing",
    "people.denied": "Not for your roles",
    "people.session": "You are signed out",
    "people.sign_in_first": "Sign in first",
    "request.not_found": "Nothing here",
    "run.unknown": "No such run",
    "webhook.none": "No webhooks",
}
"""Headings of error pages; everything else is *That did not work*."""


def create_app(service: PanelService, sign_in: Sequence[BaseRoute] = ()) -> App:
    """The panel as one ASGI app: pages, twins, streams, static files. ``sign_in`` are a deployment's own ways of
    signing in, below ``/sign-in/`` (``docs/operate/identity.md``)."""
    site, people = Site(service), service.people
    agents = AgentPages(service, site.page)
    routes: list[BaseRoute] = [
        ActRoute(people, "run:read", "/", site.index),
        ActRoute(people, "run:ask", "/", site.ask, methods=["POST"]),
        Route("/rounds", site.rounds),
        Route("/about", site.about),
        Route("/about.json", site.about_json),
        *ModelPages(service, site.page).routes(),
        *SourcePages(service, site.page).routes(),
        *MemoryPages(service, site.page).routes(),
        *InfluencePages(service, site.page).routes(),
        *AgentDiffPages(service, site.page).routes(),
        *agents.routes(),
        *ChatPages(service, site.page, site.assets).routes(),
        *VerifyPages(service, site.page, site.assets).routes(),
        *SignInPages(service, site.page).routes(),
        *sign_in,
        Route("/static/{version}/{name:path}", site.assets.serve),
    ]
    late: list[BaseRoute] = [
        ActRoute(people, "run:read", "/runs/{run}", site.run),
        Route("/rounds/{number}", site.round),
        *agents.late_routes(),
    ]
    if people is not None:
        routes += PeoplePages(service, people, site.page).routes()
    if service.review is not None:
        acts = CaseActPages(service, service.review, site.page)
        cases, files = CasePages(service.review, site.page), CaseFilePages(service.review, site.page)
        figures = StatisticsPages(service.review, site.page)
        routes += [
            ActRoute(people, "queue:read", "/queues", cases.queues),
            ActRoute(people, "queue:read", "/queues.json", cases.queues_json),
            ActRoute(people, "queue:read", "/queues/{queue}.json", cases.queue_json),
            ActRoute(people, "queue:read", "/queues/{queue}.csv", files.rows_csv),
            ActRoute(people, "queue:read", "/statistics.json", figures.statistics_json),
            ActRoute(people, "queue:read", "/statistics", figures.statistics),
            ActRoute(people, "case:read", "/cases/{case}/at", files.moment),
            ActRoute(people, "case:read", "/cases/{case}/at/{seq}.json", files.reading_json),
            ActRoute(people, "case:read", "/cases/{case}/at/{seq}", files.reading),
            ActRoute(people, "case:read", "/cases/{case}/known/{known}.json", files.reading_json),
            ActRoute(people, "case:read", "/cases/{case}/known/{known}", files.reading),
            ActRoute(people, "case:read", "/cases/{case}/evidence/{digest}.json", files.evidence_json),
            ActRoute(people, "case:read", "/cases/{case}/evidence/{digest}", files.evidence),
            ActRoute(people, "case:read", "/cases/{case}/report.json", files.report_json),
            ActRoute(people, "case:read", "/cases/{case}/report", files.report),
            ActRoute(people, "case:read", "/cases/{case}.json", cases.case_json),
            *WebhookPages(service, site.page).routes(),
            *RecallPages(service, service.review, site.page).routes(),
        ]
        late += [
            ActRoute(people, "queue:read", "/queues/{queue}", cases.queue),
            ActRoute(people, "case:read", "/cases/{case}", acts.case),
            *OpeningPages(service, service.review, cases.show_queue).routes(),
            *acts.routes(),
        ]
    return assemble(service, routes, late, refusal=site.refusal, described=document, prepare=site.pages.compile)


VERDICTS_SHOWN = 200
"""Verdicts on the page of a round; its JSON twin has all of them."""


class Site:
    """The pages' handlers. Holds no state besides templates and static files."""

    def __init__(self, service: PanelService) -> None:
        self.service = service
        self.assets, self.pages = _load()

    def page(self, request: Request, template: str, here: str, status: int = 200, **values: Any) -> Response:
        """A template with what every page needs."""
        session: Session | None = request.scope.get("session")
        values = {"person": session.person if session else None} | values
        text = self.pages.render(
            template,
            here=here,
            token=session.token if session else "",
            signed_in=session is not None and session.signed_in,
            people_shown=self.service.people is not None,
            queues_shown=self.service.review is not None,
            webhooks_shown=self.service.webhooks is not None,
            hub_shown=self.service.hub is not None,
            memory_shown=self.service.memory is not None,
            sources_shown=self.service.sources is not None,
            **values,
        )
        return HTMLResponse(text, status)

    # ---- asking ---------------------------------------------------------------------------------------------------

    async def index(self, request: Request) -> Response:
        """``GET /``."""
        return await self._index(request)

    async def _index(self, request: Request, **more: Any) -> Response:
        """The first page stands even when the gateway does not: its parts say what is missing."""
        models, runs = await asyncio.gather(_attempt(self.service.models()), _attempt(self.service.runs()))
        trouble = more.pop("trouble", None) or (models if isinstance(models, HoldfastError) else None)
        values: dict[str, Any] = {
            "models": () if isinstance(models, HoldfastError) else [model.id for model in models],
            "runs": () if isinstance(runs, HoldfastError) else runs,
            "runs_trouble": runs if isinstance(runs, HoldfastError) and trouble is None else None,
            "trouble": trouble,
            "turns": (),
            "chosen": "",
            "history": "",
        }
        return self.page(request, "index.html", "/", **(values | more))

    async def ask(self, request: Request) -> Response:
        """``POST /`` from the form of a page without scripts: the whole answer, then the page with it."""
        form = await read_form(request)
        require_change(self.service, request, form.get("token", ""))
        prompt, model, history = form.get("prompt", ""), form.get("model", ""), form.get("history", "")
        turns = _parse_history(history)
        messages = parse_messages([*_messages(turns), {"role": "user", "content": prompt}])
        try:
            answer, run = await self.service.ask(model, messages)
            lanes = (await self.service.run(run)).lanes if run else BLANK_LANES
        except HoldfastError as error:
            return await self._index(request, trouble=error, turns=_shown(turns), chosen=model, history=history)
        choices = answer.get("choices")
        message = choices[0].get("message") if isinstance(choices, list) and choices else None
        turns = [*turns, {"question": prompt, "answer": views.message_text(message), "run": run or ""}]
        shown = [*_shown(turns[:-1]), {**turns[-1], "lanes": lanes}]
        text = json.dumps(turns, ensure_ascii=False)
        return await self._index(request, turns=shown, chosen=model, history=text)

    # ---- reading --------------------------------------------------------------------------------------------------

    async def run(self, request: Request) -> Response:
        """``GET /runs/{run}``."""
        run_id = views.parse_run_id(request.path_params["run"])
        view, paid = await asyncio.gather(self.service.run(run_id), _attempt(self.service.payment(run_id)))
        here = self.service.asked_here(run_id)
        carried = any(lane.name == "memory" and lane.state not in ("pending", "not_applicable") for lane in view.lanes)
        said = await self.service.said(run_id) if here or carried else Said()
        person = request.scope["session"].person if request.scope.get("session") else None
        paid = None if isinstance(paid, HoldfastError) else paid
        file = f"holdfast-{run_id}.json"
        verify = f"holdfast verify {file} --trust trust.json"
        shown: dict[str, Any] = {
            "run": view,
            "texts": said.texts,
            "pictures": said.pictures,
            "quoted": said.quoted,
            "privacy": privacy_of(view.lanes),
            "recalled": said.recalled,
            "files": said.files,
            "words": ROW_WORDS,
            "paid": paid,
        }
        asks_again = here and (person is None or may(person.roles, "run:ask"))
        return self.page(request, "run.html", "", file=file, verify=verify, asks_again=asks_again, **shown)

    async def rounds(self, request: Request) -> Response:
        """``GET /rounds``."""
        return self.page(request, "rounds.html", "/rounds", view=await self.service.rounds())

    async def round(self, request: Request) -> Response:
        """``GET /rounds/{number}``."""
        number = parse_round_number(request.path_params["number"])
        view = await self.service.round(number)
        found = view.rounds[0] if view.rounds else None
        status = 200 if found else 404
        values = {"view": view, "round": found, "number": number, "shown": VERDICTS_SHOWN}
        return self.page(request, "round.html", "/rounds", status, **values)

    async def about(self, request: Request) -> Response:
        """``GET /about``."""
        return self.page(request, "about.html", "/about")

    async def about_json(self, _: Request) -> Response:
        """``GET /about.json``: the words that the pages use, and where each question ends."""
        states = dict(LEGEND)
        lanes = {name: {"question": QUESTIONS[name], "does_not_say": DOES_NOT_SAY[name]} for name in LANES}
        return json_response({"version": __version__, "states": states, "lanes": lanes, "proves": "nothing by itself"})

    # ---- errors ---------------------------------------------------------------------------------------------------

    def refusal(self, scope: Scope, error: HoldfastError) -> Response | None:
        """An error as a page for people; programs (and the scripts of the pages) get JSON."""
        request, path = Request(scope), scope["path"]
        if (
            path.endswith((".json", "/bundle", "/events"))
            or path.startswith(("/static/", PROGRAMS))
            or path in {"/ask", "/events", "/metrics"}
        ):
            return None
        if "text/html" not in request.headers.get("accept", ""):
            return None
        if error.code == "panel.sign_in" or (error.code == "people.sign_in_first" and request.method == "GET"):
            return RedirectResponse(f"/sign-in?next={path}", 303)
        reads = request.method == "GET" and path == "/" and self.service.review is not None
        if error.code == "people.denied" and reads:
            return RedirectResponse("/queues", 303)  # who asks nothing has work elsewhere
        title = TITLES.get(error.code, "That did not work")
        return self.page(request, "error.html", "", error.status, error=error, title=title)


@functools.cache
def _load() -> tuple[Assets, Pages]:
    """Files and templates, read and compiled once in a process."""
    assets = Assets()
    return assets, Pages(assets.prefix)


async def _attempt(work: Any) -> Any:
    """The result, or the error as a value."""
    try:
        return await work
    except HoldfastError as error:
        return error


def _parse_history(text: str) -> list[dict[str, str]]:
    """The turns that a page without scripts carries in its form."""
    if not text:
        return []
    value = canonical.decode(text.encode("utf-8", "replace"))
    if not isinstance(value, list):
        raise MalformedError("panel.history", "the conversation in the form is damaged")
    for item in value:
        if not isinstance(item, dict) or set(item) != {"question", "answer", "run"}:
            raise MalformedError("panel.history", "the conversation in the form is damaged")
        if not all(isinstance(part, str) for part in item.values()):
            raise MalformedError("panel.history", "the conversation in the form is damaged")
        if item["run"]:
            views.parse_run_id(item["run"])
    return value


def _messages(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    messages = []
    for turn in turns:
        messages.append({"role": "user", "content": turn["question"]})
        messages.append({"role": "assistant", "content": turn["answer"]})
    return messages


def _shown(turns: list[dict[str, str]]) -> list[dict[str, Any]]:
    return [{**turn, "lanes": ()} for turn in turns]
