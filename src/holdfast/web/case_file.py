"""What an auditor asks of a case: what was shown at an event, a report to print, and a queue's rows as CSV.

A reading (``review.reading``) shows two columns of lanes and says which differ; it draws nothing together.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from holdfast.core.canonical import decode
from holdfast.core.encoding import time_encode
from holdfast.errors import UsageError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.views import QUESTIONS, LaneView
from holdfast.ports.case_store import CaseFilter
from holdfast.review.desk import CaseView
from holdfast.review.events import SYSTEM
from holdfast.review.reading import Reading
from holdfast.verifier.lanes import DOES_NOT_SAY, LANES, Lane
from holdfast.web.cases import Page, asked_rows, shown_event, shown_file

EXPORTED = 10_000
"""Most cases of one CSV file; it says so when there are more."""
_PAGE = 500


class CaseFilePages:
    """The handlers."""

    def __init__(self, review: Review, page: Page) -> None:
        self._review = review
        self._page = page

    async def reading(self, request: Request) -> Response:
        """``GET /cases/{case}/at/{seq}``."""
        reading = await self._reading(request)
        seqs = [event.seq for event in reading.events]
        here = seqs.index(reading.event.seq)
        return self._page(
            request,
            "reading.html",
            "/queues",
            case=request.path_params["case"],
            event=shown_event(reading.event),
            state=reading.state,
            reasons=reading.reasons,
            policy=reading.policy,
            pairs=_pairs(reading),
            differing=reading.differing,
            retold=reading.retold,
            shown=reading.then is not None,
            stops=[{"seq": event.seq, "kind": event.kind, "at": time_encode(event.at)} for event in reading.events],
            place=here,
            before=seqs[here - 1] if here else None,
            after=seqs[here + 1] if here + 1 < len(seqs) else None,
        )

    async def reading_json(self, request: Request) -> Response:
        """``GET /cases/{case}/at/{seq}.json``."""
        reading = await self._reading(request)
        return json_response(
            {
                "event": reading.event.to_json(),
                "state": reading.state,
                "policy": reading.policy,
                "reasons": [reason.to_json() for reason in reading.reasons],
                "then": None if reading.then is None else _lanes_json(reading.then),
                "now": _lanes_json(reading.now),
                "differing": list(reading.differing),
            }
        )

    async def report(self, request: Request) -> Response:
        """``GET /cases/{case}/report``: the case on paper."""
        file = await self._review.call(self._review.desk.case, SYSTEM, request.path_params["case"])
        head = await self._review.call(self._review.desk.head, SYSTEM)
        document = file.policy.document.decode()
        known = file.view.known
        return self._page(
            request, "report.html", "/queues", case=shown_file(file), known=known, document=document, head=head
        )

    async def report_json(self, request: Request) -> Response:
        """``GET /cases/{case}/report.json``: what the report is made of, and where the journal's head was."""
        file = await self._review.call(self._review.desk.case, SYSTEM, request.path_params["case"])
        head = await self._review.call(self._review.desk.head, SYSTEM)
        return json_response(
            {
                **file.view.to_json(),
                "dependants": [{"kind": kind, "target": target} for kind, target in file.case.dependants],
                "events": [event.to_json() for event in file.events],
                "policy_document": decode(file.policy.document),
                "head": {"seq": head.seq, "digest": head.digest},
            }
        )

    async def rows_csv(self, request: Request) -> Response:
        """``GET /queues/{queue}.csv?state=``: one line a case, one column a lane."""
        queue, which = await asked_rows(self._review, request)
        found: list[CaseView] = []
        after = which.after
        while len(found) < EXPORTED:
            part = CaseFilter(queue=queue.name, stands=which.stands, after=after, limit=_PAGE, newest_first=True)
            rows = await self._review.call(self._review.desk.cases, SYSTEM, part)
            found += rows
            if len(rows) < _PAGE:
                break
            after = rows[-1].row.opened_seq
        headers = {"content-disposition": f'attachment; filename="{queue.name}.csv"'}
        return Response(_csv(found), media_type="text/csv; charset=utf-8", headers=headers)

    async def _reading(self, request: Request) -> Reading:
        seq = request.path_params["seq"]
        if not (seq.isascii() and seq.isdigit() and len(seq) <= 18):
            raise UsageError("case.unknown", "no case has such an event", param="seq", status=404)
        return await self._review.call(self._review.desk.reading, SYSTEM, request.path_params["case"], int(seq))


def _pairs(reading: Reading) -> list[dict[str, Any]]:
    """Lane by lane: as shown then, as known now, and whether they differ."""
    then = reading.then or {}
    return [
        {
            "name": name,
            "then": _lane(then[name]) if name in then else None,
            "now": _lane(reading.now[name]),
            "differs": name in reading.differing,
        }
        for name in LANES
    ]


def _lane(lane: Lane) -> LaneView:
    name = lane.name
    return LaneView(name, QUESTIONS[name], lane.state, lane.basis, lane.says, DOES_NOT_SAY[name], lane.evidence)


def _lanes_json(lanes: Mapping[str, Lane]) -> dict[str, Any]:
    return {name: lanes[name].to_json() for name in LANES}


def _csv(cases: Sequence[CaseView]) -> str:
    """RFC 4180. Each lane is a column of its own, ``state`` or ``state:basis``."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(
        ["case", "queue", "run", "subject", "state", "policy", "opened_at", "changed_at", "released_early", "reasons"]
        + [f"lane {name}" for name in LANES]
    )
    for view in cases:
        row = view.row
        reasons = " ".join(reason.says for reason in view.reasons)
        cells = [view.lanes[name] for name in LANES]
        writer.writerow(
            _harmless(str(value))
            for value in (
                row.case,
                row.queue,
                row.run,
                row.subject or "",
                row.stands,
                row.policy,
                row.opened_at,
                row.changed_at,
                "yes" if row.released_early else "no",
                reasons,
                *(lane.state + (f":{lane.basis}" if lane.basis else "") for lane in cells),
            )
        )
    return text.getvalue()


def _harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
