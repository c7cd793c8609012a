"""Sources of a data node: what may be asked, and how each did lately, over time.

Everything is the data node's word. Pages show values and outcomes, never parameters or who asked; the digests name
statements in the log. The plots are points over time: nothing is drawn between two questions, for nobody asked there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from holdfast.core.encoding import time_decode
from holdfast.core.statements import is_code
from holdfast.errors import UsageError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.people import ActRoute
from holdfast.nodes.panel.service import PanelService, Sources
from holdfast.web.cases import Page

WIDTH, HEIGHT, MARGIN = 640.0, 120.0, 8.0
"""Of a plot, in its own units."""
ROWS = 30
"""Admissions in the table; the twin has all that the node shows."""


@dataclass(frozen=True, slots=True)
class Point:
    """One question on a plot; ``says`` is its whole story in words."""

    x: float
    y: float
    says: str
    refused: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """Points over time, with the ends of both axes in words."""

    points: tuple[Point, ...]
    least: str
    most: str
    begin: str
    end: str
    label: str


class SourcePages:
    """The handlers."""

    def __init__(self, service: PanelService, page: Page) -> None:
        self._service = service
        self._page = page

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        people, act = self._service.people, "run:read"
        return [
            ActRoute(people, act, "/sources", self.sources),
            ActRoute(people, act, "/sources.json", self.sources_json),
            ActRoute(people, act, "/sources/{source}.json", self.source_json),
            ActRoute(people, act, "/sources/{source}", self.source),
        ]

    async def sources(self, request: Request) -> Response:
        """``GET /sources``: what may be asked."""
        return self._page(request, "sources.html", "/sources", found=await self._sources.sources())

    async def sources_json(self, _: Request) -> Response:
        """``GET /sources.json``."""
        return json_response(await self._sources.sources())

    async def source(self, request: Request) -> Response:
        """``GET /sources/{source}``: definition, values and ages over time, the newest admissions."""
        found = await self._sources.source(_name(request))
        admissions = found["admissions"]
        return self._page(
            request,
            "source.html",
            "/sources",
            source=found,
            rows=admissions[:ROWS],
            values=plot_values(admissions, found["unit"]),
            ages=plot_ages(admissions, found["fresh_s"]),
        )

    async def source_json(self, request: Request) -> Response:
        """``GET /sources/{source}.json``."""
        return json_response(await self._sources.source(_name(request)))

    @property
    def _sources(self) -> Sources:
        found = self._service.sources
        if found is None:
            raise UsageError("panel.data", "this panel knows no data node", hint="set data in its settings", status=404)
        return found


def _name(request: Request) -> str:
    name = str(request.path_params["source"])
    if not is_code(name):
        raise UsageError("panel.data", "a source is named by a code", status=404)
    return name


def plot_values(admissions: Sequence[Mapping[str, Any]], unit: str) -> Plot | None:
    """Values that are numbers; None where fewer than two are."""
    found = []
    for item in reversed(admissions):
        try:
            found.append((time_decode(item["at"]), Decimal(item["value"] or ""), item))
        except InvalidOperation:
            continue
    return _plot(found, lambda number: f"{number} {unit}".strip(), "Values over time")


def plot_ages(admissions: Sequence[Mapping[str, Any]], fresh_s: int) -> Plot | None:
    """How old values were when they were admitted; what is fresh for ``fresh_s`` seconds fills the plot."""
    found = [
        (time_decode(item["at"]), Decimal(str(round(item["age_s"], 3))), item)
        for item in reversed(admissions)
        if item["age_s"] is not None
    ]
    bounds = (Decimal(0), Decimal(max(1, fresh_s)))
    return _plot(found, lambda number: f"{number} s", "Age when it was admitted, over time", bounds)


def _plot(
    found: Sequence[tuple[dt.datetime, Decimal, Mapping[str, Any]]],
    words: Any,
    label: str,
    bounds: tuple[Decimal, Decimal] | None = None,
) -> Plot | None:
    if len(found) < 2:
        return None
    times, numbers = [at for at, _, _ in found], [number for _, number, _ in found]
    least, most = bounds or (min(numbers), max(numbers))
    begin, end = min(times), max(times)
    span, height = (end - begin).total_seconds() or 1.0, (most - least) or Decimal(1)
    points = []
    for at, number, item in found:
        x = MARGIN + (WIDTH - 2 * MARGIN) * ((at - begin).total_seconds() / span)
        share = float(min(max((number - least) / height, Decimal(0)), Decimal(1)))
        y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share
        says = f"{item['at']}: {words(number)}, {item['outcome']}"
        points.append(Point(round(x, 1), round(y, 1), says, item["outcome"] != "admitted"))
    ends = f"{begin:%Y-%m-%d %H:%M:%S}", f"{end:%Y-%m-%d %H:%M:%S}"
    return Plot(tuple(points), words(least), words(most), *ends, label)
