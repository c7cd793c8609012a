"""The pages of queues and case files.

A row of a queue shows where a case stands, why, and its lanes in separate cells: nothing that was asked or answered.
A case file shows the same with its journal. Pages ask for themselves again while they are looked at; that is no opening
of a case, so it leaves no ``viewed`` event.

Not covered: what moves a case (``holdfast.review``), and the JSON for programs (``nodes/panel/cases.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from holdfast.core.encoding import time_encode
from holdfast.errors import MalformedError, UsageError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.views import QUESTIONS, LaneView
from holdfast.ports.case_store import CaseFilter
from holdfast.review.desk import CaseFile, CaseView
from holdfast.review.events import SYSTEM, Event
from holdfast.review.queues import Queue
from holdfast.verifier.gate import GATE_STATES
from holdfast.verifier.lanes import LANES
from holdfast.verifier.queue_policy import QueuePolicy

ROWS = 50
"""Cases on one page of a queue."""


class Page(Protocol):
    """Renders a template for a request."""

    def __call__(self, request: Request, template: str, here: str, status: int = 200, **values: Any) -> Response:
        """The page."""
        ...


class CasePages:
    """The handlers."""

    def __init__(self, review: Review, page: Page) -> None:
        self._review = review
        self._page = page

    async def queues(self, request: Request) -> Response:
        """``GET /queues``."""
        found = await self._queues()
        shown = [_shown_queue(queue) for queue in found]
        return self._page(request, "queues.html", "/queues", queues=shown, words=GATE_STATES)

    async def queues_json(self, _: Request) -> Response:
        """``GET /queues.json``."""
        return json_response({"queues": [_queue_json(queue) for queue in await self._queues()]})

    async def queue(self, request: Request) -> Response:
        """``GET /queues/{queue}?state=&after=``."""
        return await self.show_queue(request)

    async def show_queue(self, request: Request, status: int = 200, **more_values: Any) -> Response:
        """The page of a queue; ``more_values`` say what became of a form on it."""
        queue, which = await asked_rows(self._review, request)
        listed = await self._review.call(self._review.desk.cases, SYSTEM, which)
        chosen = which.stands[0] if which.stands else ""
        here, query = f"/queues/{queue.name}", {"state": chosen} if chosen else {}
        more = f"{here}?{urlencode({**query, 'after': listed[-1].row.opened_seq})}" if len(listed) == ROWS else None
        first = f"{here}?{urlencode(query)}" if which.after is not None else None
        return self._page(
            request,
            "queue.html",
            "/queues",
            status,
            queue=_shown_queue(queue),
            words=GATE_STATES,
            chosen=chosen,
            listed=[_shown_row(view) for view in listed],
            more=more,
            first=first,
            query=f"?{request.url.query}" if request.url.query else "",
            **({"typed": None} | more_values),
        )

    async def queue_json(self, request: Request) -> Response:
        """``GET /queues/{queue}.json?state=&after=``."""
        queue, which = await asked_rows(self._review, request)
        listed = await self._review.call(self._review.desk.cases, SYSTEM, which)
        return json_response({**_queue_json(queue), "cases": [view.to_json() for view in listed]})

    async def case(self, request: Request) -> Response:
        """``GET /cases/{case}``."""
        file = await self._file(request)
        return self._page(request, "case.html", "/queues", case=shown_file(file))

    async def case_json(self, request: Request) -> Response:
        """``GET /cases/{case}.json``."""
        file = await self._file(request)
        events = [event.to_json() for event in file.events]
        dependants = [{"kind": kind, "target": target} for kind, target in file.case.dependants]
        return json_response({**file.view.to_json(), "dependants": dependants, "events": events})

    async def _queues(self) -> list[Queue]:
        return await self._review.call(self._review.desk.queues, SYSTEM)

    async def _file(self, request: Request) -> CaseFile:
        return await self._review.call(self._review.desk.case, SYSTEM, request.path_params["case"])


async def asked_rows(review: Review, request: Request) -> tuple[Queue, CaseFilter]:
    """The queue and the rows that a URL asks for. Raises ``panel.queue`` or ``panel.filter``."""
    name = request.path_params["queue"]
    queues = await review.call(review.desk.queues, SYSTEM)
    found = next((queue for queue in queues if queue.name == name), None)
    if found is None:
        raise UsageError("panel.queue", "there is no such queue", status=404)
    state, after = request.query_params.get("state"), request.query_params.get("after")
    if state is not None and state not in GATE_STATES:
        raise MalformedError("panel.filter", f"state is one of {', '.join(GATE_STATES)}", param="state")
    if after is not None and not (after.isascii() and after.isdigit() and len(after) <= 18):
        raise MalformedError("panel.filter", "after is the position of a case", param="after")
    stands = (state,) if state else ()
    position = None if after is None else int(after)
    return found, CaseFilter(queue=name, stands=stands, after=position, limit=ROWS, newest_first=True)


# --- what the templates show ------------------------------------------------------------------------------------------


def _shown_queue(queue: Queue) -> dict[str, Any]:
    policy = queue.policy
    return {
        "name": queue.name,
        "policy": policy.digest,
        "empty": not policy.require,
        "counts": dict(queue.counts),
        "require": _needs(policy),
        "judgement": _judgement(policy),
        "early_release": _early_release(policy),
    }


def _needs(policy: QueuePolicy) -> list[tuple[str, str]]:
    """What a policy asks of each lane, in words."""
    needs = []
    for lane, need in policy.require.items():
        words = " or ".join(_words(state) for state in need.states)
        if need.bases:
            words += " by " + " or ".join(_words(basis) for basis in need.bases)
        if need.max_age_s is not None:
            words += f", no older than {_span(need.max_age_s)}"
        if need.refuse:
            words += f", without a {' or a '.join(need.refuse)}"
        needs.append((lane, words))
    return needs


def _judgement(policy: QueuePolicy) -> str | None:
    need = policy.judgement
    return f"{need.reviewers} acting as {need.role}" if need is not None and need.reviewers else None


def _early_release(policy: QueuePolicy) -> str | None:
    allowed = policy.early_release
    return None if allowed is None else f"{' or '.join(allowed.roles)}, up to {_span(allowed.max_s)}"


def _shown_row(view: CaseView) -> dict[str, Any]:
    row = view.row
    return {
        "id": row.case,
        "queue": row.queue,
        "run": row.run,
        "subject": row.subject,
        "state": row.stands,
        "reasons": view.reasons,
        "lanes": _lanes(view),
        "released_early": bool(row.released_early),
        "holder": row.claimed_by,
        "flags": row.flags,
        "opened_at": row.opened_at,
        "policy": row.policy,
        "vector": row.vector,
        "clear_until": row.clear_until,
        "handed_at": row.handed_at,
    }


def shown_file(file: CaseFile) -> dict[str, Any]:
    """A case file for a template."""
    dependants = [{"kind": kind, "target": target} for kind, target in file.case.dependants]
    return {**_shown_row(file.view), "dependants": dependants, "events": [shown_event(event) for event in file.events]}


def _lanes(view: CaseView) -> Sequence[LaneView]:
    return [
        LaneView(name, QUESTIONS[name], lane.state, lane.basis, lane.says, lane.does_not_say, lane.evidence)
        for name in LANES
        for lane in (view.lanes[name],)
    ]


def shown_event(event: Event) -> dict[str, Any]:
    """An event for a template."""
    return {
        "seq": event.seq,
        "kind": event.kind,
        "at": time_encode(event.at),
        "actor": event.actor.to_json(),
        "says": _says(event.kind, event.body),
        "lanes": event.lanes,
        "policy": event.policy,
        "digest": event.digest,
    }


def _says(kind: str, body: Mapping[str, Any]) -> str:
    """What an event tells beyond its kind, in words."""
    if kind == "opened":
        return f"Run {body['run'][:8]}… in the queue {body['queue']}."
    if kind == "appraised":
        return f"From evidence with {body['known']} items."
    if kind in ("claimed", "handed_out"):
        consumer = f"To {body['consumer']}, until" if kind == "handed_out" else "Until"
        return f"{consumer} {body['until']}."
    if kind == "commented":
        return str(body["text"])
    if kind == "decided":
        return f"{body['act'].capitalize()}, as {body['role']}: {body['reason']}"
    if kind == "released":
        return f"As {body['role']}, until {body['until']}: {body['reason']}"
    if kind == "dependant_added":
        return f"{body['kind'].capitalize()} {body['target']}."
    if kind == "statement_logged":
        return f"The act of event {body['event']} stands in the log as statement {body['statement'][:12]}…."
    return " ".join(reason["says"] for reason in body.get("reasons", ()))


def _queue_json(queue: Queue) -> dict[str, Any]:
    return {
        "name": queue.name,
        "policy": queue.policy.digest,
        "document": queue.policy.document.decode(),
        "authored": queue.authored,
        "counts": dict(queue.counts),
    }


def _words(code: str) -> str:
    return code.replace("_", " ")


def _span(seconds: int) -> str:
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds % size == 0 and seconds:
            return f"{seconds // size} {unit}{'' if seconds == size else 's'}"
    return f"{seconds} s"
