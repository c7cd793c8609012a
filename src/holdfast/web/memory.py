"""``/memory``: an owner's rows at a memory node. The shell is made here; rows and keys stay in the browser.

What a standing and a writer mean stands here, once, for the page and its twin. Scripts fill the shell
(``static/memory/``) from what the node answers (``nodes/panel/memory.py``).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from holdfast.core.memory import STANDINGS
from holdfast.errors import UsageError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.memory import ACTS
from holdfast.nodes.panel.people import ActRoute
from holdfast.nodes.panel.service import PanelService
from holdfast.web.cases import Page

STANDS = {
    "earned": "Said, confirmed or admitted lately enough: it may be told as a fact.",
    "aging": "Earned once, and not lately: it may still be told as a fact, with its age.",
    "background": "Never earned, or too long ago: yours, found by you, told to no model as a fact.",
    "contradicted": "A row of at least its authority says otherwise: told to no model until you confirm one.",
    "withdrawn": "Not to be used: you took it back or put a correction in its place.",
}
"""What each standing comes to (``spec/memory.md`` §5)."""
WRITERS = {
    "imported": "another system kept it",
    "model_inferred": "a model said or derived it",
    "tool_returned": "a tool gave it",
    "data_admitted": "a data node admitted it",
    "user_said": "you said it",
}
"""Whose words a claim is (``spec/memory.md`` §1)."""
SOURCES = {
    "run": "a run",
    "messages": "a conversation whose run nobody named",
    "owner": "you wrote it down",
    "admission": "an admission",
    "row": "another row",
    "import": "an imported file",
}
"""Where a claim came from (``spec/memory.md`` §2)."""
EVENTS = {
    "added": "added",
    "confirmed": "confirmed",
    "agreed": "fresh evidence agreed",
    "contradicted": "another row said otherwise",
    "reconciled": "what said otherwise is gone",
    "used": "recalled",
    "superseded": "corrected by another row",
    "withdrawn": "withdrawn",
}
"""What can happen to a row (``spec/memory.md`` §3)."""
ROW_WORDS = {
    "writers": {**WRITERS, "user_said": "its owner said it"},
    "sources": {**SOURCES, "owner": "its owner wrote it down"},
}
"""The same to others than its owner."""
MODULES = ("memory/node.js", "memory/passkey.js", "memory/rows.js", "parts.js", "stream.js")
"""What the page's script needs."""


class MemoryPages:
    """The handlers."""

    def __init__(self, service: PanelService, page: Page) -> None:
        self._service = service
        self._page = page

    def routes(self) -> list[BaseRoute]:
        """The page and its twin."""
        people = self._service.people
        return [
            ActRoute(people, "run:ask", "/memory", self.memory),
            ActRoute(people, "run:ask", "/memory.json", self.memory_json),
        ]

    async def memory(self, request: Request) -> Response:
        """``GET /memory``. It says nothing of anybody's rows: those come when their owner gives a key."""
        self._require_node()
        words = {"writers": WRITERS, "sources": SOURCES, "events": EVENTS}
        return self._page(request, "memory.html", "/memory", stands=STANDS, words=words, modules=MODULES)

    async def memory_json(self, _: Request) -> Response:
        """``GET /memory.json``."""
        self._require_node()
        standings = {name: STANDS[name] for name in STANDINGS}
        words = {"standings": standings, "writers": WRITERS, "sources": SOURCES, "events": EVENTS}
        return json_response({**words, "acts": [*ACTS], "key_kept_by": "the browser"})

    def _require_node(self) -> None:
        if self._service.memory is None:
            raise UsageError(
                "panel.memory", "this panel knows no memory node", hint="set memory in its settings", status=404
            )
