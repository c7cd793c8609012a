"""Models of a hub: what there is, what each label means and meant, what an artifact is made of, what differs.

Everything is the hub's word but the digests, which name what they name; names, cards and reasons are what somebody
wrote. The pages work without scripts and each has a JSON twin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from holdfast.core.encoding import hex_decode
from holdfast.errors import HoldfastError, UsageError
from holdfast.nodes.edge import json_response
from holdfast.nodes.panel.people import ActRoute
from holdfast.nodes.panel.service import Hub, PanelService
from holdfast.web.cases import Page

QUERY = ("q", "tag", "licence", "organisation", "after")
"""What narrows the list of models."""
MAX_QUERY = 200
"""Longest of these, in characters."""


class ModelPages:
    """The handlers."""

    def __init__(self, service: PanelService, page: Page) -> None:
        self._service = service
        self._page = page

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        people, act = self._service.people, "run:read"
        model, artifact = "/models/{organisation}/{model}", "/artifacts/{artifact}"
        return [
            ActRoute(people, act, "/models", self.models),
            ActRoute(people, act, "/models.json", self.models_json),
            ActRoute(people, act, f"{model}.json", self.model_json),
            ActRoute(people, act, model, self.model),
            ActRoute(people, act, f"{artifact}/from/{{before}}.json", self.diff_json),
            ActRoute(people, act, f"{artifact}/from/{{before}}", self.diff),
            ActRoute(people, act, f"{artifact}.json", self.artifact_json),
            ActRoute(people, act, artifact, self.artifact),
        ]

    async def models(self, request: Request) -> Response:
        """``GET /models``: what there is, narrowed down by words."""
        query = _query(request)
        return self._page(request, "models.html", "/models", found=await self._models(query), query=query.get("q", ""))

    async def models_json(self, request: Request) -> Response:
        """``GET /models.json``."""
        return json_response(await self._models(_query(request)))

    async def _models(self, query: Mapping[str, str]) -> dict[str, Any]:
        """A page of the hub's models, and, where that is the first one and words alone narrow it, those that lie in
        folders of inference nodes: ``in_folders``, null where the gateway does not say."""
        found = await self._hub.models(**query)
        if query.keys() - {"q"}:
            return {**found, "in_folders": []}
        try:
            listed = [model for model in await self._service.models() if model.in_a_folder]
        except HoldfastError:
            return {**found, "in_folders": None}
        words = query.get("q", "").lower().split()
        kept = [model for model in listed if all(word in model.id.lower() for word in words)]
        shown = [{"label": one.id, "artifact": one.artifact, "task": one.task, "node": one.upstream} for one in kept]
        return {**found, "in_folders": shown}

    async def model(self, request: Request) -> Response:
        """``GET /models/{organisation}/{model}``: versions, labels with their history, the card."""
        return self._page(request, "model.html", "/models", model=await self._hub.model(_model(request)))

    async def model_json(self, request: Request) -> Response:
        """``GET /models/{organisation}/{model}.json``."""
        return json_response(await self._hub.model(_model(request)))

    async def artifact(self, request: Request) -> Response:
        """``GET /artifacts/{artifact}``: files, what it was declared to be made of, whether it was revoked."""
        return self._page(request, "artifact.html", "/models", **await self._artifact(request))

    async def artifact_json(self, request: Request) -> Response:
        """``GET /artifacts/{artifact}.json``."""
        return json_response(await self._artifact(request))

    async def _artifact(self, request: Request) -> dict[str, Any]:
        digest = _digest(request, "artifact")
        return {"artifact": await self._hub.artifact(digest), "lineage": await self._hub.lineage(digest)}

    async def diff(self, request: Request) -> Response:
        """``GET /artifacts/{artifact}/from/{before}``: what differs from another artifact."""
        return self._page(request, "diff.html", "/models", found=await self._diff(request))

    async def diff_json(self, request: Request) -> Response:
        """``GET /artifacts/{artifact}/from/{before}.json``."""
        return json_response(await self._diff(request))

    async def _diff(self, request: Request) -> dict[str, Any]:
        return await self._hub.diff(_digest(request, "before"), _digest(request, "artifact"))

    @property
    def _hub(self) -> Hub:
        hub = self._service.hub
        if hub is None:
            raise UsageError("panel.hub", "this panel follows no hub", hint="set hub in its settings", status=404)
        return hub


def _query(request: Request) -> dict[str, str]:
    found = {name: request.query_params[name] for name in QUERY if request.query_params.get(name)}
    if any(len(text) > MAX_QUERY for text in found.values()):
        raise UsageError("panel.query", f"at most {MAX_QUERY} characters are searched for")
    return found


def _model(request: Request) -> str:
    return f"{request.path_params['organisation']}/{request.path_params['model']}"


def _digest(request: Request, name: str) -> str:
    return hex_decode(request.path_params[name], 32).hex()
