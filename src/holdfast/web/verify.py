"""``/verify``: a bundle, checked in the reader's browser by an implementation of its own (``static/verify/``).

The shell is made here. What was dropped never leaves the page; once it is loaded it needs no network. The panel hands
out its trust file and the gateway's key document for it, and answers for neither.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from holdfast.core.trust import parse_trust_chain, verify_trust
from holdfast.errors import HoldfastError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.people import ActRoute
from holdfast.nodes.panel.service import PanelService
from holdfast.nodes.panel.views import QUESTIONS
from holdfast.verifier.lanes import LANES
from holdfast.web.assets import Assets
from holdfast.web.cases import Page

ICONS = ("chevron", "copied", "copy", "expired", "not_applicable", "pending", "proven", "refuted", "unknown")
"""Pictures that a result may need, loaded with the page: afterwards it asks for nothing."""
LARGEST_TRUST = 16_777_216
"""Bytes of a trust file that are handed out; as many as ``static/verify/trust.js`` reads."""


class VerifyPages:
    """The handlers."""

    def __init__(self, service: PanelService, page: Page, assets: Assets) -> None:
        self._service = service
        self._page = page
        self._modules = assets.imported("verify/page.js")

    def routes(self) -> list[BaseRoute]:
        """The page, its twin, and what it loads at its beginning."""
        people = self._service.people
        return [
            ActRoute(people, "run:read", "/verify", self.verify),
            ActRoute(people, "run:read", "/verify.json", self.verify_json),
            ActRoute(people, "run:read", "/verify/trust.json", self.trust),
            ActRoute(people, "run:read", "/verify/gateway.json", self.gateway),
        ]

    async def verify(self, request: Request) -> Response:
        """``GET /verify``."""
        lanes = [{"name": name, "question": QUESTIONS[name]} for name in LANES]
        return self._page(request, "verify.html", "/verify", lane_cells=lanes, modules=self._modules, icons=ICONS)

    async def verify_json(self, _: Request) -> Response:
        """``GET /verify.json``."""
        return json_response({"judged": [*LANES]})

    async def trust(self, _: Request) -> Response:
        """``GET /verify/trust.json``: the panel's trust file as it lies there; null where none verifies."""
        text = await asyncio.to_thread(self._read_trust)
        return json_response({"trust": text, "pinned": "first use" if text else None})

    def _read_trust(self) -> str | None:
        try:
            raw = self._service.config.trust.read_bytes()
            if len(raw) > LARGEST_TRUST:
                return None
            verify_trust(parse_trust_chain(raw))
            return raw.decode("utf-8")
        except (OSError, HoldfastError):
            return None

    async def gateway(self, _: Request) -> Response:
        """``GET /verify/gateway.json``: the key document that the gateway shows, in base64, or null."""
        try:
            return json_response({"key_document": await self._service.key_document()})
        except HoldfastError:
            return json_response({"key_document": None})
