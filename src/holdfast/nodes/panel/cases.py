"""Cases and queues for programs: JSON over ``review.desk``.

Rules:

* A row shows lanes, reasons and events, and nothing that was asked or answered; a state stands beside the digest of the
  policy it answers to.
* ``next`` hands out what the gate lets through, under a lease. What is held is shown when asked for, apart from it.
* Whoever the door lets in (``access``) may read, take work, say that it is done and what relied on it. A person's acts
  (claim, comment, decide, release, reopen) need to say whose they are, and nothing here lets anybody do that.

Not covered: pages, and who gets through the door.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from holdfast.core.canonical import decode
from holdfast.core.encoding import time_encode
from holdfast.errors import MalformedError, RefusedError
from holdfast.nodes.edge import json_response, read_json
from holdfast.nodes.panel import views
from holdfast.nodes.panel.review import Review
from holdfast.ports.case_store import CaseFilter
from holdfast.review.cases import Case
from holdfast.review.desk import HAND_OUT_S, MAX_LEASE_S, CaseFile, CaseView, Next
from holdfast.review.events import Actor, is_case_id
from holdfast.review.queues import Queue
from holdfast.verifier.gate import GATE_STATES
from holdfast.verifier.lanes import LANES

ANYBODY = Actor("key", "panel-access", frozenset({"queue:read", "case:read", "queue:take"}))
"""Whoever the door let in, without a name. It can take work and read; it is nobody who could decide."""
MAX_LISTED = 100
"""Cases in one answer; each comes with its journal."""
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,14})\Z")
_Value = TypeVar("_Value")


def case_routes(review: Review) -> list[BaseRoute]:
    """The routes below ``/v1``."""
    desk = review.desk

    async def cases(request: Request) -> Response:
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
        listed = await review.call(_list, which)
        end = listed[-1].view.row.opened_seq if len(listed) == which.limit else None
        return json_response({"cases": [_case_json(file) for file in listed], "after": end})

    def _list(which: CaseFilter) -> list[CaseFile]:
        return [desk.case(ANYBODY, view.row.case) for view in desk.cases(ANYBODY, which)]

    async def case(request: Request) -> Response:
        _query(request, set())
        file = await review.call(desk.case, ANYBODY, _case_id(request))
        document = decode(file.policy.document)
        return json_response({**_case_json(file), "policy_document": document})

    async def queues(request: Request) -> Response:
        _query(request, set())
        found = await review.call(desk.queues, ANYBODY)
        return json_response({"queues": [_queue_json(queue) for queue in found], "trouble": review.trouble()})

    async def take_next(request: Request) -> Response:
        refuse_other_sites(request)
        query = _query(request, {"consumer", "include", "lease_s"})
        if query.get("include", "hold") != "hold":
            raise MalformedError("request.include", "include is hold", param="include")
        include_hold = "include" in query
        found = await review.call(
            desk.hand_out,
            ANYBODY,
            request.path_params["queue"],
            query.get("consumer", "anybody"),
            include_hold=include_hold,
            lease_s=_number(query, "lease_s", HAND_OUT_S, 1, MAX_LEASE_S),
        )
        if found.handed is not None:
            review.notify()
        return json_response(_next_json(request.path_params["queue"], found, include_hold=include_hold))

    async def done(request: Request) -> Response:
        return await end_lease(request, desk.acknowledge)

    async def give_back(request: Request) -> Response:
        return await end_lease(request, desk.give_back)

    async def end_lease(request: Request, end: Callable[[Actor, str, str, str], Case]) -> Response:
        refuse_other_sites(request)
        body = await _body(request, {"consumer", "key"})
        found = await review.call(end, ANYBODY, _case_id(request), body["consumer"], body["key"])
        review.notify()
        return json_response({"case": found.id, "state": found.state, "policy": found.policy})

    async def dependants(request: Request) -> Response:
        refuse_other_sites(request)
        body = await _body(request, {"case"}, {"reference"})
        kind, target = next(iter(body.items()))
        given: dict[str, Any] = {"dependant": target} if kind == "case" else {"reference": target}
        found = await review.call(desk.add_dependant, ANYBODY, _case_id(request), **given)
        review.notify()
        listed = [{"kind": name, "target": target} for name, target in found.dependants]
        return json_response({"case": found.id, "dependants": listed})

    return [
        Route("/v1/cases", cases),
        Route("/v1/cases/{case}", case),
        Route("/v1/cases/{case}/dependants", dependants, methods=["POST"]),
        Route("/v1/cases/{case}/done", done, methods=["POST"]),
        Route("/v1/cases/{case}/give-back", give_back, methods=["POST"]),
        Route("/v1/queues", queues),
        Route("/v1/queues/{queue}/next", take_next),
    ]


def refuse_other_sites(request: Request) -> None:
    """A program sends neither of these headers; a browser does, and from another site's page it may change nothing
    (``panel.origin``). A GET that hands something out changes something."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    host = request.headers.get("host", "").lower()
    ours = origin is None or origin in {f"http://{host}", f"https://{host}"}
    if not ours or site not in (None, "same-origin", "none"):
        raise RefusedError("panel.origin", "this request did not come from a page of this panel")


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


async def _body(request: Request, *known: set[str]) -> dict[str, str]:
    """A JSON object with exactly one of these sets of members, each a text; raises ``request.members``."""
    body = await read_json(request)
    if body.keys() not in known or not all(isinstance(value, str) for value in body.values()):
        wanted = " or ".join(", ".join(sorted(names)) for names in known)
        raise MalformedError("request.members", f"this takes {wanted}, as texts, and nothing else")
    return body


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


def _next_json(queue: str, found: Next, *, include_hold: bool) -> dict[str, Any]:
    """What was handed out, or null; what is held stands in a list of its own, each with its state."""
    value: dict[str, Any] = {"queue": queue, "handed": None}
    if found.handed is not None:
        handed = found.handed
        value["handed"] = {
            "case": _row_json(handed.view),
            "consumer": handed.consumer,
            "key": handed.key,
            "until": time_encode(handed.until),
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
