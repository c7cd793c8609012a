"""What an auditor asks of a case: what was shown at an event, a report to print, and a queue's rows as CSV.

A reading (``review.reading``) shows two columns of lanes and says which differ; it draws nothing together.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from holdfast.core import canonical
from holdfast.core.bundles import CandidateItem, Entry, FinalityItem, StatementItem, parse_bundle
from holdfast.core.encoding import time_encode
from holdfast.errors import MalformedError, UsageError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.people import ANYBODY
from holdfast.nodes.panel.review import Review
from holdfast.review.background import entries_of, evidence_words
from holdfast.review.events import SYSTEM
from holdfast.review.reading import Reading, Stop
from holdfast.review.views import CaseView
from holdfast.verifier.lanes import LANES, Lane
from holdfast.web.background import lane_view, shown_background
from holdfast.web.cases import Page, asked_rows, shown_event, shown_file

EXPORTED = 10_000
"""Most cases of one CSV file; it says so when there are more."""
_PAGE = 500
_COLUMNS = (
    *("case", "queue", "run", "subject", "state", "policy", "opened_at", "changed_at"),
    *("released_early", "flagged", "label_moved", "reasons"),
)
"""Columns before those of the lanes."""


class CaseFilePages:
    """The handlers."""

    def __init__(self, review: Review, page: Page) -> None:
        self._review = review
        self._page = page

    async def reading(self, request: Request) -> Response:
        """``GET /cases/{case}/at/{seq}`` and ``GET /cases/{case}/known/{known}``."""
        reading = await self._reading(request)
        stops = [
            {"path": _path(stop), "code": stop.code, "at": time_encode(stop.at), "event": stop.seq}
            for stop in reading.stops
        ]
        here = reading.place
        return self._page(
            request,
            "reading.html",
            "/queues",
            case=request.path_params["case"],
            event=shown_event(reading.event),
            stop=stops[here],
            state=reading.state,
            reasons=reading.reasons,
            policy=reading.policy,
            trust=reading.trust,
            known=reading.known,
            arrived=reading.arrived is not None,
            triples=_triples(reading),
            differing=reading.differing,
            retold=reading.retold,
            shown=reading.then is not None,
            stops=stops,
            place=here,
            before=stops[here - 1]["path"] if here else None,
            after=stops[here + 1]["path"] if here + 1 < len(stops) else None,
        )

    async def reading_json(self, request: Request) -> Response:
        """The same for programs."""
        reading = await self._reading(request)
        return json_response(
            {
                "at": time_encode(reading.stop.at),
                "code": reading.stop.code,
                "event": reading.event.to_json(),
                "state": reading.state,
                "policy": reading.policy,
                "trust": reading.trust,
                "known": reading.known,
                "reasons": [reason.to_json() for reason in reading.reasons],
                "then": None if reading.then is None else _lanes_json(reading.then),
                "arrived": None if reading.arrived is None else _lanes_json(reading.arrived),
                "now": _lanes_json(reading.now),
                "differing": list(reading.differing),
                "stops": [
                    {"path": _path(stop), "code": stop.code, "at": time_encode(stop.at)} for stop in reading.stops
                ],
            }
        )

    async def moment(self, request: Request) -> Response:
        """``GET /cases/{case}/at?time=``: the last moment that is not later, as a page of its own."""
        case, text = request.path_params["case"], request.query_params.get("time", "")
        stop = await self._review.call(self._review.desk.stop_at, SYSTEM, case, _parse_moment(text))
        return RedirectResponse(f"/cases/{case}/{_path(stop)}", 303)

    async def evidence(self, request: Request) -> Response:
        """``GET /cases/{case}/evidence/{digest}``: what a digest that a lane names stands for."""
        case, digest = request.path_params["case"], request.path_params["digest"]
        items = await self._items(case, digest)
        shown = (await self._review.call(self._review.desk.case, SYSTEM, case)).view.lanes
        lanes = [name for name in LANES if digest in shown[name].evidence]
        return self._page(
            request, "evidence.html", "/queues", case=case, digest=digest, items=items, lanes=lanes,
            title=items[0]["words"], number=_round_of(items),
        )  # fmt: skip

    async def evidence_json(self, request: Request) -> Response:
        """``GET /cases/{case}/evidence/{digest}.json``: the raw items."""
        case, digest = request.path_params["case"], request.path_params["digest"]
        items = await self._items(case, digest)
        members = ("position", "words", "item", "statement")
        return json_response({"digest": digest, "items": [{name: item[name] for name in members} for item in items]})

    async def _items(self, case: str, digest: str) -> list[dict[str, Any]]:
        """Items of the case's evidence by digest, without what was asked and answered. Raises ``case.unknown``."""
        raw = await self._review.call(self._review.desk.evidence, ANYBODY, case)
        bundle, journal = parse_bundle(raw), canonical.decode_object(raw)["journal"]
        found = [
            {
                "position": entry.position,
                "at": time_encode(entry.at),
                "words": evidence_words(entry),
                "kind": journal[entry.position - 1]["kind"],
                "item": journal[entry.position - 1],
                "statement": _statement(entry),
                "number": entry.item.candidate.number if isinstance(entry.item, CandidateItem | FinalityItem) else None,
            }
            for entry in entries_of(bundle, digest)
        ]
        if not found:
            raise UsageError("case.unknown", "no evidence of this case has that digest", param="digest", status=404)
        return found

    async def report(self, request: Request) -> Response:
        """``GET /cases/{case}/report``: the case on paper."""
        file = await self._review.call(self._review.desk.case, SYSTEM, request.path_params["case"])
        background = await self._review.call(self._review.desk.background, SYSTEM, file.case.id)
        head = await self._review.call(self._review.desk.head, SYSTEM)
        document = file.policy.document.decode()
        known = file.view.known
        return self._page(
            request,
            "report.html",
            "/queues",
            case=shown_file(file),
            background=shown_background(background, file),
            transcript=background.appraisal.transcript,
            known=known,
            document=document,
            head=head,
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
                "policy_document": canonical.decode(file.policy.document),
                "head": {"seq": head.seq, "digest": head.digest},
            }
        )

    async def rows_csv(self, request: Request) -> Response:
        """``GET /queues/{queue}.csv``: one line a case, one column a lane, under the filters of the page."""
        queue, asked = await asked_rows(self._review, request)
        which = asked.which
        found: list[CaseView] = []
        after = which.after
        while len(found) < EXPORTED:
            part = replace(which, after=after, limit=_PAGE)
            rows = await self._review.call(self._review.desk.cases, SYSTEM, part)
            found += rows
            if len(rows) < _PAGE:
                break
            after = rows[-1].row.opened_seq
        headers = {"content-disposition": f'attachment; filename="{queue.name}.csv"'}
        return Response(_csv(found), media_type="text/csv; charset=utf-8", headers=headers)

    async def _reading(self, request: Request) -> Reading:
        desk, path = self._review.desk, request.path_params
        name = "seq" if "seq" in path else "known"
        number = path[name]
        if not (number.isascii() and number.isdigit() and len(number) <= 18):
            raise UsageError("case.unknown", "a case has no such moment", param=name, status=404)
        read = desk.reading if name == "seq" else desk.reading_known
        return await self._review.call(read, SYSTEM, path["case"], int(number))


def _path(stop: Stop) -> str:
    """Where a moment of a case has its page, below the case."""
    return f"at/{stop.seq}" if stop.seq is not None else f"known/{stop.known}"


def _parse_moment(text: str) -> dt.datetime:
    """A time as a person or program gives it: RFC 3339, or what a form's field sends, which means UTC. Raises
    ``panel.filter``."""
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedError("panel.filter", "time is a moment like 2026-01-01T12:00:00Z", param="time") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)


def _statement(entry: Entry) -> Any:
    """What a statement says, apart from its envelope."""
    return canonical.decode(entry.item.statement.envelope.payload) if isinstance(entry.item, StatementItem) else None


def _round_of(items: Sequence[Mapping[str, Any]]) -> int | None:
    return next((item["number"] for item in items if item["number"] is not None), None)


def _triples(reading: Reading) -> list[dict[str, Any]]:
    """Lane by lane: as shown then, as the evidence that had arrived shows, as known now, and whether they differ."""
    then, arrived = reading.then or {}, reading.arrived or {}
    return [
        {
            "name": name,
            "then": lane_view(then[name]) if name in then else None,
            "arrived": lane_view(arrived[name]) if name in arrived else None,
            "now": lane_view(reading.now[name]),
            "differs": name in reading.differing,
        }
        for name in LANES
    ]


def _lanes_json(lanes: Mapping[str, Lane]) -> dict[str, Any]:
    return {name: lanes[name].to_json() for name in LANES}


def _csv(cases: Sequence[CaseView]) -> str:
    """RFC 4180. Each lane is a column of its own, ``state`` or ``state:basis``."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*_COLUMNS, *(f"lane {name}" for name in LANES)])
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
                "yes" if row.flags else "no",
                "yes" if view.stale else "no",
                reasons,
                *(lane.state + (f":{lane.basis}" if lane.basis else "") for lane in cells),
            )
        )
    return text.getvalue()


def _harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
