"""The pages of queues and case files.

A row of a queue shows where a case stands, why, and its lanes in separate cells: nothing that was asked or answered.
A case file shows the same with its journal. Pages ask for themselves again while they are looked at; that is no opening
of a case, so it leaves no ``viewed`` event.

Not covered: what moves a case (``holdfast.review``), and the JSON for programs (``nodes/panel/cases.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from holdfast.core.encoding import time_encode
from holdfast.errors import UsageError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.people import person_of
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.views import LaneView
from holdfast.review.events import SYSTEM, Event
from holdfast.review.queues import Queue
from holdfast.review.recalled import recalled_of
from holdfast.review.views import CaseFile, CaseView
from holdfast.verifier.gate import GATE_STATES
from holdfast.verifier.lanes import LANES, STATES
from holdfast.verifier.queue_policy import QueuePolicy
from holdfast.web.background import background_json, lane_view
from holdfast.web.filters import MARKS, Asked, parse_filters

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
        """``GET /queues/{queue}``; ``filters`` says under which."""
        return await self.show_queue(request)

    async def show_queue(self, request: Request, status: int = 200, **more_values: Any) -> Response:
        """The page of a queue; ``more_values`` say what became of a form on it."""
        queue, asked = await asked_rows(self._review, request)
        listed = await self._review.call(self._review.desk.cases, SYSTEM, asked.which)
        chosen = asked.given.get("state", "")
        here = f"/queues/{queue.name}"
        more = asked.url(here, after=listed[-1].row.opened_seq) if len(listed) == ROWS else None
        return self._page(
            request,
            "queue.html",
            "/queues",
            status,
            queue=_shown_queue(queue),
            words={word: asked.url(here, state=word) for word in GATE_STATES},
            everything=asked.url(here, state=None),
            chosen=chosen,
            asked=asked.fields,
            narrowed=asked.narrowed,
            lanes=LANES,
            states=STATES,
            marks=MARKS,
            listed=[_shown_row(view) for view in listed],
            more=more,
            first=asked.url(here) if asked.which.after is not None else None,
            csv=asked.url(f"{here}.csv"),
            twin=asked.url(f"{here}.json", after=asked.which.after),
            **({"typed": None} | more_values),
        )

    async def queue_json(self, request: Request) -> Response:
        """``GET /queues/{queue}.json``, under the same filters."""
        queue, asked = await asked_rows(self._review, request)
        listed = await self._review.call(self._review.desk.cases, SYSTEM, asked.which)
        return json_response({**_queue_json(queue), "cases": [view.to_json() for view in listed]})

    async def case_json(self, request: Request) -> Response:
        """``GET /cases/{case}.json``."""
        file = await self._review.call(self._review.desk.case, SYSTEM, request.path_params["case"])
        background = await self._review.call(self._review.desk.background, SYSTEM, file.case.id)
        events = [event.to_json() for event in file.events]
        dependants = [{"kind": kind, "target": target} for kind, target in file.case.dependants]
        whole = {**file.view.to_json(), "dependants": dependants, "events": events}
        kept = await self._review.call(self._review.desk.evidence, SYSTEM, file.case.id)
        recalled = recalled_of(kept, self._review.now())
        memory = None if recalled is None else recalled.to_json()
        return json_response({**whole, **background_json(background, file), "recalled": memory})

    async def _queues(self) -> list[Queue]:
        return await self._review.call(self._review.desk.queues, SYSTEM)


async def asked_rows(review: Review, request: Request) -> tuple[Queue, Asked]:
    """The queue and the rows that a URL asks for. Raises ``panel.queue`` or ``panel.filter``."""
    name = request.path_params["queue"]
    queues = await review.call(review.desk.queues, SYSTEM)
    found = next((queue for queue in queues if queue.name == name), None)
    if found is None:
        raise UsageError("panel.queue", "there is no such queue", status=404)
    person = person_of(request)
    asked = parse_filters(name, request.query_params, person.name if person else None, review.now(), ROWS)
    return found, asked


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
        "stale": view.stale,
        "opened_at": row.opened_at,
        "policy": row.policy,
        "vector": row.vector,
        "clear_until": row.clear_until,
        "handed_at": row.handed_at,
    }


def shown_file(file: CaseFile) -> dict[str, Any]:
    """A case file for a template."""
    dependants = [{"kind": kind, "target": target} for kind, target in file.case.dependants]
    events = [shown_event(event) for event in file.events]
    told = {event["seq"]: event for event in events}
    return {**_shown_row(file.view), "dependants": dependants, "events": events, "told": told}


def _lanes(view: CaseView) -> Sequence[LaneView]:
    return [lane_view(view.lanes[name]) for name in LANES]


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
        "cause": event.cause,
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
    if kind == "label_moved":
        return f"The label {body['label']} came to mean artifact {body['to'][:12]}…."
    if kind == "marked_stale":
        return (
            f"The label {body['label']} came to mean artifact {body['to'][:12]}…; this case stands on "
            f"{body['from'][:12]}…. Approvals from before do not count any more."
        )
    if kind == "amended":
        return f"Run {body['run'][:8]}… was proposed in its place."
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
