"""Two runs of one agent beside each other: choosing the other one, and the pages of the difference.

Outputs are compared where whoever looks may read both runs and asks for it: that opens the cases of both.

Not covered: how children are aligned (``nodes/panel/agent_diff.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from holdfast.core.differences import Piece, compare_words
from holdfast.errors import UsageError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.agent_diff import Pair, align, lanes_apart
from holdfast.nodes.panel.agents import AgentHead, AgentRow, AgentTree, ChildRun
from holdfast.nodes.panel.people import ActRoute, actor_of, person_of, require_person
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.service import PanelService
from holdfast.review.contents import Content
from holdfast.web.agents import cases_of
from holdfast.web.cases import Page

WITHIN_MS = 3_000
"""How long a comparison waits for children to be looked at."""
MOST_READ = 24
"""Pairs whose outputs are read at once."""
_AT_ONCE = 6
_CHOICE = 30
_MOST_TEXT = 20_000
"""Characters of an output that are compared."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What both sides of a pair gave, word by word; or why that is not shown."""

    pieces: tuple[Piece, ...] = ()
    why: str = ""

    @property
    def same(self) -> bool:
        """Whether every word is the same on both sides."""
        return all(piece.same for piece in self.pieces)


class AgentDiffPages:
    """The handlers."""

    def __init__(self, service: PanelService, page: Page) -> None:
        self._service = service
        self._page = page

    def routes(self) -> list[BaseRoute]:
        """A choice, a comparison and its twin."""
        people = self._service.people
        return [
            ActRoute(people, "run:read", "/agents/{run}/with", self.choose),
            ActRoute(people, "run:read", "/agents/{run}/with.json", self.choose_json),
            ActRoute(people, "run:read", "/agents/{run}/with/{other}.json", self.diff_json),
            ActRoute(people, "run:read", "/agents/{run}/with/{other}", self.diff),
        ]

    async def choose(self, request: Request) -> Response:
        """``GET /agents/{run}/with``: the other runs of the same agent."""
        agent, others = await self._others(request)
        return self._page(request, "agent_choice.html", "/agents", agent=agent, others=others)

    async def choose_json(self, request: Request) -> Response:
        """``GET /agents/{run}/with.json``."""
        agent, others = await self._others(request)
        return json_response({"run": agent.run, "name": agent.name, "others": [row.to_json() for row in others]})

    async def _others(self, request: Request) -> tuple[AgentHead, list[AgentRow]]:
        tree = await self._service.agent(request.path_params["run"], within_ms=0)
        found = await self._service.agents(tree.head.name, None, None, _CHOICE)
        return tree.head, [row for row in found.agents if row.head.run != tree.head.run]

    async def diff(self, request: Request) -> Response:
        """``GET /agents/{run}/with/{other}?read=1``."""
        one, other, pairs = await self._aligned(request)
        outputs = await self._outputs(request, one, other, pairs)
        return self._page(
            request,
            "agent_diff.html",
            "/agents",
            one=one.head,
            other=other.head,
            pairs=pairs,
            own=lanes_apart(one.lanes, other.lanes),
            outputs=outputs,
            reading=outputs is not None,
            may_read=await self._cases_of_both(one, other) is not None and person_of(request) is not None,
            parts_only=one.next is not None or other.next is not None,
        )

    async def diff_json(self, request: Request) -> Response:
        """``GET /agents/{run}/with/{other}.json``, without outputs."""
        one, other, pairs = await self._aligned(request)
        return json_response(
            {"one": one.head.to_json(), "other": other.head.to_json(), "pairs": [pair.to_json() for pair in pairs]}
        )

    async def _aligned(self, request: Request) -> tuple[AgentTree, AgentTree, tuple[Pair, ...]]:
        one, other = await asyncio.gather(
            *(self._service.agent(request.path_params[side], within_ms=WITHIN_MS) for side in ("run", "other"))
        )
        if one.head.name != other.head.name:
            raise UsageError(
                "agent.other", "only runs of one agent are put beside each other", hint="choose one of the same name"
            )
        return one, other, await asyncio.to_thread(align, one, other)

    async def _cases_of_both(self, one: AgentTree, other: AgentTree) -> tuple[str, str] | None:
        cases = [(await cases_of(self._service, tree)).get(tree.head.run) for tree in (one, other)]
        return None if cases[0] is None or cases[1] is None else (cases[0].case, cases[1].case)

    async def _outputs(
        self, request: Request, one: AgentTree, other: AgentTree, pairs: Sequence[Pair]
    ) -> dict[int, Outputs] | None:
        """Outputs by pair, for a person who opens both cases; None where nobody asks for them."""
        review = self._service.review
        if "read" not in request.query_params or review is None or review.contents is None:
            return None
        principal = await require_person(self._service.people, request, "case:read")
        cases = await self._cases_of_both(one, other)
        if cases is None:
            return None
        for case in cases:
            await review.call(review.desk.view, actor_of(principal), case)
        room = asyncio.Semaphore(_AT_ONCE)

        async def read(child: ChildRun) -> tuple[str | None, str]:
            async with room:
                return await self._output(review, child)

        wanted = [(n, p.one, p.other) for n, p in enumerate(pairs) if p.one is not None and p.other is not None]
        found = {}
        for number, left, right in wanted[:MOST_READ]:
            (a, why), (b, why_not) = await asyncio.gather(read(left), read(right))
            if a is None or b is None:
                found[number] = Outputs(why=why or why_not)
            else:
                found[number] = Outputs(await asyncio.to_thread(compare_words, a, b))
        return found

    async def _output(self, review: Review, child: ChildRun) -> tuple[str | None, str]:
        """The text that a child gave, and why there is none."""
        if review.contents is None:
            return None, "This panel reads no runs."
        reading = await review.contents.read(child.run, await self._service.evidence(child.run))
        return (None if reading.content is None else _given(reading.content)[:_MOST_TEXT]), reading.trouble


def _given(content: Content) -> str:
    """What came out of a run, as one text."""
    if content.step is not None:
        step: Any = content.step
        return str(step.came or step.asked)
    return "\n".join(text for who, text in content.said if who == "assistant")
