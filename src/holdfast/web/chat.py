"""``/chat``: conversations, each turn with its route strip. The shell is made here; what is said stays in the browser.

The strip is a row of cells, each of one lane; which cells there are and what each asks stands here, once. Scripts fill
them from the same views as everywhere (``static/chat/``). Not covered: asking itself (``nodes/panel/app.py``).
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from holdfast.errors import HoldfastError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel import paying
from holdfast.nodes.panel.models import ModelView
from holdfast.nodes.panel.people import ActRoute
from holdfast.nodes.panel.service import PanelService
from holdfast.web.assets import Assets
from holdfast.web.cases import Page

CELLS = (
    {"lane": "inputs", "name": "Admitted data"},
    {"lane": "memory", "name": "Memory"},
    {"lane": "route", "name": "Provider, model"},
    {"lane": "privacy", "name": "Could see it"},
    {"lane": "payment", "name": "Paid"},
    {"lane": "computation", "name": "Proof"},
    {"lane": "settlement", "name": "Settlement"},
)
"""The cells of a turn's strip in their order, each of one lane."""
TRIES = (
    "What can you prove about this answer, and what not?",
    "Why does a name not say which model ran?",
    "What does it mean that a round is final?",
)
"""What somebody may ask who is here for the first time."""
SCRIPT = "chat/page.js"
"""What the page begins with."""


class ChatPages:
    """The handlers."""

    def __init__(self, service: PanelService, page: Page, assets: Assets) -> None:
        self._service = service
        self._page = page
        self._modules = assets.imported(SCRIPT)

    def routes(self) -> list[BaseRoute]:
        """The page and its twin."""
        people = self._service.people
        return [
            ActRoute(people, "run:ask", "/chat", self.chat),
            ActRoute(people, "run:ask", "/chat.json", self.chat_json),
        ]

    async def chat(self, request: Request) -> Response:
        """``GET /chat``. It stands even when the gateway does not."""
        models, trouble, payee, credit = await self._found()
        values: dict[str, Any] = {"models": models, "trouble": trouble, "payee": payee, "credit": credit}
        values["faucet"] = self._service.faucet
        values["private_shown"] = self._service.relay is not None
        values |= {"cells": CELLS, "modules": self._modules, "tries": TRIES, "not_evidence_of": paying.scope()}
        return self._page(request, "chat.html", "/chat", **values)

    async def chat_json(self, _: Request) -> Response:
        """``GET /chat.json``; like the page it stands without the gateway, and says so."""
        models, trouble, payee, credit = await self._found()
        return json_response(
            {
                "models": [model.to_json() for model in models],
                "strip": [dict(cell) for cell in CELLS],
                "payee": payee or None,
                "credit": None if credit is None else credit.to_json(),
                "faucet": None if self._service.faucet is None else self._service.faucet.network,
                "private_path": self._service.relay is not None,
                "paid_is_no_evidence_of": paying.scope(),
                "trouble": None if trouble is None else trouble.message,
            }
        )

    async def _found(self) -> tuple[tuple[ModelView, ...], HoldfastError | None, str, paying.Credit | None]:
        """Models, or why there are none; who is paid; the credit that is left."""
        service = self._service
        (models, trouble), payee, credit = await asyncio.gather(self._models(), service.payee(), service.credit())
        return models, trouble, payee, credit

    async def _models(self) -> tuple[tuple[ModelView, ...], HoldfastError | None]:
        try:
            found = await self._service.models()
            return tuple(model for model in found if not model.artifact), None  # the others hold no conversations
        except HoldfastError as error:
            return (), error
