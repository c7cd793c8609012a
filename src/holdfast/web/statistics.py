"""``/statistics``: counts over cases, kept apart by label and artifact (``review.statistics``).

Counts stand as counts, with what they are counted out of; times as times, lane by lane. Nothing here is a score, and no
figure stands for all of it. The charts are drawn here as numbers; the templates place them, and no script runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from holdfast.core.encoding import time_decode, time_encode
from holdfast.errors import UsageError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.review import Review
from holdfast.review.events import SYSTEM
from holdfast.review.facts import artifact_basis
from holdfast.review.statistics import Series, Span, Statistics
from holdfast.web.cases import Page

WIDTH = 240
"""Units that a chart is wide."""
_LEAST_MS, _MOST_MS = 10, 86_400_000
"""Ends of the time axis of a span: ten milliseconds and a day, in powers of ten between."""
_NARROWEST = 3


class StatisticsPages:
    """The handlers."""

    def __init__(self, review: Review, page: Page) -> None:
        self._review = review
        self._page = page

    async def statistics(self, request: Request) -> Response:
        """``GET /statistics?queue=``."""
        found = await self._found(request)
        return self._page(request, "statistics.html", "/statistics", found=found, labels=_shown_labels(found))

    async def statistics_json(self, request: Request) -> Response:
        """``GET /statistics.json?queue=``."""
        found = await self._found(request)
        return json_response(
            {
                "queue": found.queue,
                "queues": list(found.queues),
                "series": [_series_json(series) for series in found.series],
                "moves": [
                    {"event": move.seq, "label": move.label, "at": move.at, "from": move.before, "to": move.after}
                    for move in found.moves
                ],
            }
        )

    async def _found(self, request: Request) -> Statistics:
        queue = request.query_params.get("queue") or None
        found = await self._review.call(self._review.desk.statistics, SYSTEM, queue)
        if queue is not None and queue not in found.queues:
            raise UsageError("panel.queue", "there is no such queue", status=404)
        return found


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of a chart, in its units."""

    x: float
    width: float

    @property
    def end(self) -> float:
        return self.x + self.width


def span_words(span_ms: int) -> str:
    """A span to read: two digits are all it has."""
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if span_ms >= size:
            return f"{span_ms / size:.2g} {unit}" if span_ms < 100 * size else f"{round(span_ms / size)} {unit}"
    return f"{span_ms} ms"


def _place(span_ms: int) -> float:
    """Where a span lies on an axis of powers of ten."""
    inside = min(max(span_ms, _LEAST_MS), _MOST_MS)
    return round(WIDTH * math.log(inside / _LEAST_MS) / math.log(_MOST_MS / _LEAST_MS), 1)


def _span_bar(span: Span) -> Bar:
    """From the median to within which nine of ten lie."""
    begin = _place(span.median_ms)
    return Bar(begin, max(_place(span.most_ms) - begin, _NARROWEST))


TICKS = tuple((_place(ms), words) for ms, words in ((1000, "1 s"), (60_000, "1 min"), (3_600_000, "1 h")))
"""Marks on the axis of spans."""


def _shown_labels(found: Statistics) -> list[dict[str, Any]]:
    """By label: its series in order of time, and the chart of how they follow on each other."""
    labels: dict[str | None, list[Series]] = {}
    for series in found.series:
        labels.setdefault(series.label, []).append(series)
    return [
        {
            "label": label,
            "anchor": f"label-{number}",
            "series": [_shown_series(one, number, place) for place, one in enumerate(series)],
            "moves": [move for move in found.moves if move.label == label],
            "split": _split(series),
        }
        for number, (label, series) in enumerate(labels.items())
    ]


def _shown_series(series: Series, number: int, place: int) -> dict[str, Any]:
    return {
        "it": series,
        "anchor": f"series-{number}-{place}",
        "before": f"series-{number}-{place - 1}" if place else None,
        "spans": [
            {
                "lane": lane,
                "cases": span.cases,
                "median": span_words(span.median_ms),
                "most": span_words(span.most_ms),
                "bar": _span_bar(span),
            }
            for lane, span in series.spans.items()
        ],
        "ticks": TICKS,
    }


def _split(series: Sequence[Series]) -> list[Bar]:
    """Each series as a stretch of the time between the first case of the label and the last."""
    times = [(time_decode(one.first_at), time_decode(one.last_at)) for one in series]
    begin, end = min(first for first, _ in times), max(last for _, last in times)
    whole = max((end - begin).total_seconds(), 1e-3)
    bars = []
    for first, last in times:
        x = (first - begin).total_seconds() / whole * (WIDTH - _NARROWEST)
        bars.append(Bar(round(x, 1), round(max((last - first).total_seconds() / whole * WIDTH, _NARROWEST), 1)))
    return bars


def _series_json(series: Series) -> dict[str, Any]:
    move = series.begun
    return {
        "label": series.label,
        "artifact": None
        if series.artifact is None
        else {"digest": series.artifact, "basis": artifact_basis(series.upstream)},
        "upstream": series.upstream,
        "model": series.served,
        "first_at": time_encode(time_decode(series.first_at)),
        "last_at": series.last_at,
        "begun_by": None if move is None else {"event": move.seq, "at": move.at, "from": move.before},
        "cases": series.cases,
        "cleared": series.cleared,
        "released_early": series.released_early,
        "rejected": series.rejected,
        "rejected_after_let_through": series.rejected_late,
        "recalled": series.recalled,
        "label_moved_while_open": series.stale,
        "time_to_proof": {
            lane: {"cases": span.cases, "median_ms": span.median_ms, "nine_of_ten_ms": span.most_ms}
            for lane, span in series.spans.items()
        },
    }
