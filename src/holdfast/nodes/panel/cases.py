"""Cases and queues for programs: JSON over ``review.desk``.

Rules:

* A row shows lanes, reasons and events, and nothing that was asked or answered; a state stands beside the digest of the
  policy it answers to.
* ``next`` hands out what the gate lets through, under a lease. What is held is shown when asked for, apart from it.
* A person's acts (view, claim, comment, decide, release, reopen, recall, change a policy) are done under a name or not
  at all (``people``). Deciding means having opened the case with its lanes as they are: the desk sees to that.

Not covered: pages, and who gets through the door (``access``).
"""

from __future__ import annotations

import contextlib
import hmac
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from holdfast.core.canonical import decode
from holdfast.core.encoding import b64_encode, hex_decode, time_decode, time_encode
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError
from holdfast.nodes.edge import json_response, read_json
from holdfast.nodes.panel import views
from holdfast.nodes.panel.access import Session
from holdfast.nodes.panel.amending import amend
from holdfast.nodes.panel.people import (
    ActRoute,
    Handler,
    PanelPeople,
    caller,
    key_of,
    person_actor,
    require_person,
)
from holdfast.nodes.panel.review import Review
from holdfast.ports.case_store import CaseFilter
from holdfast.review.acts import CLAIM_S
from holdfast.review.cases import Case
from holdfast.review.events import SYSTEM, Actor, is_case_id
from holdfast.review.hand_over import HAND_OUT_S, Next
from holdfast.review.permissions import MAX_LEASE_S
from holdfast.review.queues import PolicyChange, Queue
from holdfast.review.views import CaseFile, CaseView
from holdfast.verifier.gate import GATE_STATES
from holdfast.verifier.lanes import LANES

MAX_LISTED = 100
"""Cases in one answer; each comes with its journal."""
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,14})\Z")
_Value = TypeVar("_Value")


def case_routes(review: Review, people: PanelPeople | None) -> list[BaseRoute]:
    """The routes below ``/v1``. Without ``people`` nobody has a name, and nobody can do what takes one."""
    programs = Programs(review, people)
    post = ("POST",)
    routes: list[BaseRoute] = [
        ActRoute(people, "case:read", "/v1/cases", programs.cases),
        ActRoute(people, "case:open", "/v1/cases", programs.open, methods=post),
        ActRoute(people, "case:read", "/v1/cases/{case}", programs.case),
        ActRoute(people, "case:relate", "/v1/cases/{case}/dependants", programs.dependants, methods=post),
        ActRoute(people, "case:export", "/v1/cases/{case}/export", programs.export),
        ActRoute(people, "queue:take", "/v1/cases/{case}/done", programs.done, methods=post),
        ActRoute(people, "queue:take", "/v1/cases/{case}/give-back", programs.give_back, methods=post),
        ActRoute(people, "queue:take", "/v1/cases/{case}/unseal", programs.unseal, methods=post),
        ActRoute(people, "queue:read", "/v1/queues", programs.queues),
        ActRoute(people, "policy:read", "/v1/queues/{queue}/check", programs.check, methods=post),
        ActRoute(people, "queue:take", "/v1/queues/{queue}/next", programs.take_next),
    ]
    if people is None:
        return routes
    persons = Persons(review, people)
    acts: dict[str, tuple[str, Handler]] = {
        "/v1/cases/{case}/view": ("case:read", persons.view),
        "/v1/cases/{case}/claim": ("case:claim", persons.claim),
        "/v1/cases/{case}/let-go": ("case:claim", persons.let_go),
        "/v1/cases/{case}/comment": ("case:comment", persons.comment),
        "/v1/cases/{case}/decide": ("case:decide", persons.decide),
        "/v1/cases/{case}/amend": ("case:decide", persons.amend),
        "/v1/cases/{case}/release": ("case:release", persons.release),
        "/v1/cases/{case}/reopen": ("case:reopen", persons.reopen),
        "/v1/recall": ("case:recall", persons.recall),
        "/v1/queues/{queue}/policy": ("policy:change", persons.change_policy),
    }
    return [
        *routes,
        ActRoute(people, "case:recall", "/v1/recall", persons.recall_plan, named=True),
        *(ActRoute(people, act, path, handler, methods=post, named=True) for path, (act, handler) in acts.items()),
    ]


class Programs:
    """Reading, and work that is handed out."""

    def __init__(self, review: Review, people: PanelPeople | None) -> None:
        self._review = review
        self._desk = review.desk
        self._people = people

    async def _actor(self, request: Request, act: str) -> Actor:
        return await caller(self._people, request, act)

    async def cases(self, request: Request) -> Response:
        """``GET /v1/cases?run=&queue=&state=&after=&limit=``."""
        actor = await self._actor(request, "case:read")
        query = _query(request, {"run", "queue", "state", "after", "limit"})
        states = tuple(request.query_params.getlist("state"))
        if any(state not in GATE_STATES for state in states):
            raise MalformedError("request.state", f"a state is one of {', '.join(GATE_STATES)}", param="state")
        run = query.get("run")
        which = CaseFilter(
            run=None if run is None else views.parse_run_id(run),
            queue=query.get("queue"),
            stands=states,
            after=_number(query, "after", None, 0),
            limit=_number(query, "limit", 20, 1, MAX_LISTED),
        )
        listed = await self._review.call(self._list, actor, which)
        end = listed[-1].view.row.opened_seq if len(listed) == which.limit else None
        return json_response({"cases": [_case_json(file) for file in listed], "after": end})

    def _list(self, actor: Actor, which: CaseFilter) -> list[CaseFile]:
        return [self._desk.case(actor, view.row.case) for view in self._desk.cases(actor, which)]

    async def open(self, request: Request) -> Response:
        """``POST /v1/cases`` with ``run``, ``queue`` and optionally ``subject``: a case for a run whose caller named no
        queue; 201 where it is new."""
        refuse_other_sites(request)
        refuse_forgery(request)
        actor = await self._actor(request, "case:open")
        body = await _body(request, {"run": str, "queue": str}, {"subject": str})
        case, new = await open_by_hand(self._review, actor, body["run"], body["queue"], body.get("subject"))
        file = await self._review.call(self._desk.case, SYSTEM, case)
        return json_response(_case_json(file), HTTPStatus.CREATED if new else HTTPStatus.OK)

    async def case(self, request: Request) -> Response:
        """``GET /v1/cases/{case}``."""
        actor = await self._actor(request, "case:read")
        _query(request, set())
        file = await self._review.call(self._desk.case, actor, _case_id(request))
        return json_response({**_case_json(file), "policy_document": decode(file.policy.document)})

    async def export(self, request: Request) -> Response:
        """``GET /v1/cases/{case}/export``: its events as they lie in the journal, and what they name (``case.md`` §11).
        Its evidence is where it always is."""
        actor = await self._actor(request, "case:export")
        _query(request, set())
        return json_response(await self._review.call(self._desk.export, actor, _case_id(request)))

    async def queues(self, request: Request) -> Response:
        """``GET /v1/queues``."""
        actor = await self._actor(request, "queue:read")
        _query(request, set())
        found = await self._review.call(self._desk.queues, actor)
        shown = [_queue_json(queue) for queue in found]
        return json_response({"queues": shown, "trouble": self._review.trouble()})

    async def take_next(self, request: Request) -> Response:
        """``GET /v1/queues/{queue}/next?consumer=&include=hold&lease_s=``. It hands something out, so it comes from
        no other site's page."""
        refuse_other_sites(request)
        actor = await self._actor(request, "queue:take")
        query = _query(request, {"consumer", "include", "lease_s"})
        if query.get("include", "hold") != "hold":
            raise MalformedError("request.include", "include is hold", param="include")
        include_hold = "include" in query
        found = await self._review.call(
            self._desk.hand_out,
            actor,
            request.path_params["queue"],
            query.get("consumer", "anybody"),
            include_hold=include_hold,
            lease_s=_number(query, "lease_s", HAND_OUT_S, 1, MAX_LEASE_S),
        )
        capability = None
        if found.handed is not None:
            self._review.notify()
            capability = await self._capability(found.handed.view.row.run)
        shown = _next_json(request.path_params["queue"], found, include_hold=include_hold, capability=capability)
        return json_response(shown)

    async def _capability(self, run: str) -> str | None:
        """The run's secret for whoever takes its case, where this panel can read the run."""
        if self._review.contents is None:
            return None
        with contextlib.suppress(HoldfastError):
            return (await self._review.contents.secret(run)).hex()
        return None

    async def unseal(self, request: Request) -> Response:
        """``POST /v1/cases/{case}/unseal``: the run's secret, for a caller that was given its answer sealed."""
        refuse_other_sites(request)
        actor, case = await self._actor(request, "queue:take"), _case_id(request)
        await _body(request, {})
        if self._review.contents is None:
            raise UnavailableError("content.key", "this panel reads no runs")
        file = await self._review.call(self._desk.case, SYSTEM, case)
        secret = await self._review.contents.secret(file.view.row.run)
        found = await self._review.call(self._desk.unseal, actor, case)
        self._review.notify()
        return json_response(
            {
                "case": found.id,
                "run": found.run,
                "state": found.state,
                "policy": found.policy,
                "capability": secret.hex(),
            }
        )

    async def check(self, request: Request) -> Response:
        """``POST /v1/queues/{queue}/check`` with a policy as TOML: what it would move, and why. Nothing is changed."""
        refuse_other_sites(request)
        actor = await self._actor(request, "policy:read")
        text = await _toml(request)
        change = await self._review.call(self._desk.what_if, actor, request.path_params["queue"], text)
        return json_response(_change_json(change))

    async def done(self, request: Request) -> Response:
        """``POST /v1/cases/{case}/done`` with ``consumer`` and ``key``: the work is done."""
        return await self._end_lease(request, self._desk.acknowledge)

    async def give_back(self, request: Request) -> Response:
        """``POST /v1/cases/{case}/give-back``, the same: somebody else may do it."""
        return await self._end_lease(request, self._desk.give_back)

    async def _end_lease(self, request: Request, end: Callable[[Actor, str, str, str], Case]) -> Response:
        refuse_other_sites(request)
        actor = await self._actor(request, "queue:take")
        body = await _body(request, {"consumer": str, "key": str})
        found = await self._review.call(end, actor, _case_id(request), body["consumer"], body["key"])
        self._review.notify()
        return json_response({"case": found.id, "state": found.state, "policy": found.policy})

    async def dependants(self, request: Request) -> Response:
        """``POST /v1/cases/{case}/dependants`` with ``case`` or ``reference``: what relied on it."""
        refuse_other_sites(request)
        refuse_forgery(request)
        actor = await self._actor(request, "case:relate")
        body = await _body(request, {}, {"case": str, "reference": str})
        found = await self._review.call(
            self._desk.add_dependant,
            actor,
            _case_id(request),
            dependant=body.get("case"),
            reference=body.get("reference"),
        )
        self._review.notify()
        listed = [{"kind": name, "target": target} for name, target in found.dependants]
        return json_response({"case": found.id, "dependants": listed})


class Persons:
    """What a person does."""

    def __init__(self, review: Review, people: PanelPeople) -> None:
        self._review = review
        self._desk = review.desk
        self._people = people

    async def _person(self, request: Request, act: str) -> Actor:
        refuse_other_sites(request)
        refuse_forgery(request)
        return person_actor(await require_person(self._people, request, act))

    async def _done(self, actor: Actor, case: str) -> Response:
        """The case as the act left it."""
        self._review.notify()
        return json_response(_case_json(await self._review.call(self._desk.case, actor, case)))

    async def view(self, request: Request) -> Response:
        """Open a case: its file with the newest evidence (base64). The journal keeps who saw which lanes."""
        actor, case = await self._person(request, "case:read"), _case_id(request)
        await _body(request, {})
        file = await self._review.call(self._desk.view, actor, case)
        self._review.notify()
        document, bundle, trouble = decode(file.policy.document), file.bundle or b"", "this panel reads no runs"
        if self._review.contents is not None:
            reading = await self._review.contents.read(file.view.row.run, bundle)
            bundle, trouble = reading.bundle, reading.trouble
        return json_response(
            {
                **_case_json(file),
                "policy_document": document,
                "bundle": b64_encode(bundle),
                "unread": trouble or None,
            }
        )

    async def claim(self, request: Request) -> Response:
        """Take a case on; ``lease_s`` is optional."""
        actor, case = await self._person(request, "case:claim"), _case_id(request)
        body = await _body(request, {}, {"lease_s": int})
        await self._review.call(self._desk.claim, actor, case, lease_s=body.get("lease_s", CLAIM_S))
        return await self._done(actor, case)

    async def let_go(self, request: Request) -> Response:
        """Give a claim back."""
        actor, case = await self._person(request, "case:claim"), _case_id(request)
        await _body(request, {})
        await self._review.call(self._desk.let_go, actor, case)
        return await self._done(actor, case)

    async def comment(self, request: Request) -> Response:
        """Say something about a case."""
        actor, case = await self._person(request, "case:comment"), _case_id(request)
        body = await _body(request, {"text": str})
        await self._review.call(self._desk.comment, actor, case, body["text"])
        return await self._done(actor, case)

    async def decide(self, request: Request) -> Response:
        """``act`` (approve or reject) and ``reason``; ``role`` and ``lanes`` (the digest decided on) are optional."""
        actor, case = await self._person(request, "case:decide"), _case_id(request)
        body = await _body(request, {"act": str, "reason": str}, {"role": str, "lanes": str})
        act = body.pop("act")
        await self._review.call(self._desk.decide, actor, case, act, **body)
        return await self._done(actor, case)

    async def amend(self, request: Request) -> Response:
        """``arguments`` (the text of a JSON object) and ``reason``; ``lanes`` is optional. Answers with the case of the
        act that is proposed in the place of this one."""
        actor, case = await self._person(request, "case:decide"), _case_id(request)
        body = await _body(request, {"arguments": str, "reason": str}, {"lanes": str})
        other = await amend(self._review, actor, case, body["arguments"], body["reason"], body.get("lanes"))
        return await self._done(actor, other)

    async def release(self, request: Request) -> Response:
        """``until`` and ``reason``; ``role`` and ``lanes`` are optional."""
        actor, case = await self._person(request, "case:release"), _case_id(request)
        body = await _body(request, {"until": str, "reason": str}, {"role": str, "lanes": str})
        until = time_decode(body.pop("until"))
        await self._review.call(self._desk.release, actor, case, until=until, **body)
        return await self._done(actor, case)

    async def reopen(self, request: Request) -> Response:
        """``reason``; ``lanes`` is optional."""
        actor, case = await self._person(request, "case:reopen"), _case_id(request)
        body = await _body(request, {"reason": str}, {"lanes": str})
        await self._review.call(self._desk.reopen, actor, case, **body)
        return await self._done(actor, case)

    async def recall_plan(self, request: Request) -> Response:
        """``GET /v1/recall?evidence=``: what a recall would reach if it were ordered now. Nothing is changed."""
        actor = person_actor(await require_person(self._people, request, "case:recall"))
        query = _query(request, {"evidence"})
        evidence = hex_decode(query.get("evidence", ""), 32).hex()
        return json_response((await self._review.call(self._desk.plan_recall, actor, evidence)).to_json())

    async def recall(self, request: Request) -> Response:
        """``evidence`` (a digest) and ``cause``: everything that was let through on it, and what relied on that."""
        actor = await self._person(request, "case:recall")
        body = await _body(request, {"evidence": str, "cause": str})
        evidence = hex_decode(body["evidence"], 32).hex()
        found = await self._review.call(self._desk.recall, actor, evidence, body["cause"])
        self._review.notify()
        references = [{"case": case, "reference": reference} for case, reference in found.references]
        acts = [act.to_json() for act in found.acts]
        return json_response({"cases": list(found.cases), "references": references, "acts": acts})

    async def change_policy(self, request: Request) -> Response:
        """A policy as TOML: from now on the queue's. What it moves is in the answer."""
        actor = await self._person(request, "policy:change")
        text = await _toml(request)
        change = await self._review.call(self._desk.change_policy, actor, request.path_params["queue"], text)
        self._review.notify()
        return json_response(_change_json(change))


async def open_by_hand(review: Review, actor: Actor, run: str, queue: str, subject: str | None) -> tuple[str, bool]:
    """Open a case for a run that the gateway has; its id, and whether it is new (``case.md`` §4(7))."""
    await review.find_run(views.parse_run_id(run))
    case, new = await review.call(review.desk.open_by_hand, actor, run, queue, subject=subject)
    review.fetch_run(run)
    review.notify()
    return case.id, new


def refuse_other_sites(request: Request) -> None:
    """A program sends neither of these headers; a browser does, and from another site's page it may change nothing
    (``panel.origin``). A GET that hands something out changes something."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    host = request.headers.get("host", "").lower()
    ours = origin is None or origin in {f"http://{host}", f"https://{host}"}
    if not ours or site not in (None, "same-origin", "none"):
        raise RefusedError("panel.origin", "this request did not come from a page of this panel")


def refuse_forgery(request: Request) -> None:
    """What changes something in a person's name carries their session's token (``panel.token``). A browser sends no API
    key by itself, so what comes with one needs no token."""
    session: Session | None = request.scope.get("session")
    if session is None or session.person is None or key_of(request) is not None:
        return
    if not hmac.compare_digest(request.headers.get("x-holdfast-token", "").encode(), session.token.encode()):
        raise RefusedError("panel.token", "this does not come from this session's pages", hint="reload and try again")


def _case_id(request: Request) -> str:
    case: str = request.path_params["case"]
    if not is_case_id(case):
        raise MalformedError("case.id", "a case id is a UUID of version 4 or 7, in lower case", param="case")
    return case


def _query(request: Request, known: set[str]) -> dict[str, str]:
    """The query's values; raises ``request.query`` for names nobody reads and for a name that comes twice."""
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in known:
            raise MalformedError("request.query", f"there is no {name[:64]!r} here", param=name[:64])
        if names.count(name) > 1 and name != "state":
            raise MalformedError("request.query", f"{name} comes twice", param=name)
    return dict(request.query_params)


def _number(query: dict[str, str], name: str, default: _Value, least: int, most: int = 10**15) -> int | _Value:
    if name not in query:
        return default
    if _NUMBER.match(query[name]) is None or not least <= int(query[name]) <= most:
        raise MalformedError(f"request.{name}", f"{name} is an integer from {least} to {most}", param=name)
    return int(query[name])


async def _body(
    request: Request, required: Mapping[str, type], optional: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """A JSON object with these members and no other; raises ``request.members``. No body is an empty object."""
    body = await read_json(request) if required or await request.body() else {}
    known = {**required, **(optional or {})}
    right = required.keys() <= body.keys() <= known.keys()
    if not right or any(type(value) is not known[name] for name, value in body.items()):
        words = {str: "a text", int: "a number"}
        listed = [f"{name} ({words[kind]})" for name, kind in required.items()]
        listed += [f"{name} ({words[kind]}, optional)" for name, kind in (optional or {}).items()]
        wanted = ", ".join(listed) or "nothing"
        raise MalformedError("request.members", f"this takes {wanted}, and nothing else")
    return body


async def _toml(request: Request) -> str:
    """The body as a text; raises ``queue_policy.toml``. What it has to say, ``parse_queue_policy`` knows."""
    try:
        return (await request.body()).decode()
    except UnicodeDecodeError as error:
        raise MalformedError("queue_policy.toml", "a policy is UTF-8") from error


def _case_json(file: CaseFile) -> dict[str, Any]:
    return {**_view_json(file.view), "events": [event.to_json() for event in file.events]}


def _queue_json(queue: Queue) -> dict[str, Any]:
    return {
        "name": queue.name,
        "policy": queue.policy.digest,
        "policy_document": decode(queue.policy.document),
        "authored": queue.authored,
        "counts": dict(queue.counts),
    }


def _next_json(queue: str, found: Next, *, include_hold: bool, capability: str | None) -> dict[str, Any]:
    """What was handed out, or null; what is held stands in a list of its own, each with its state. ``capability`` reads
    the run that was handed out."""
    value: dict[str, Any] = {"queue": queue, "handed": None}
    if found.handed is not None:
        handed = found.handed
        value["handed"] = {
            "case": _row_json(handed.view),
            "consumer": handed.consumer,
            "key": handed.key,
            "until": time_encode(handed.until),
            "capability": capability,
        }
    if include_hold:
        value["held"] = [_row_json(view) for view in found.held]
    return value


def _row_json(view: CaseView) -> dict[str, Any]:
    """A row without its journal, and where its evidence is."""
    return {**_view_json(view), "evidence": f"/runs/{view.row.run}/bundle"}


def _view_json(view: CaseView) -> dict[str, Any]:
    """A row with its lanes in their fixed order."""
    value = view.to_json()
    return {**value, "lanes": {name: value["lanes"][name] for name in LANES}}


def _change_json(change: PolicyChange) -> dict[str, Any]:
    moves = [
        {
            "case": move.case,
            "run": move.run,
            "before": move.before,
            "after": move.after,
            "reasons": [reason.to_json() for reason in move.reasons],
        }
        for move in change.moves
    ]
    return {
        "queue": change.queue,
        "before": change.before,
        "after": change.digest,
        "moves": moves,
        "seen": change.seen,
        "left": change.left,
    }
