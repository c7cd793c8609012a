"""A hub as the panel's pages ask it, in one process, with something on its shelf."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.hub import Hub, safetensors


class Asked:
    """``nodes.panel.service.Hub`` over a hub's service."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.closed = False

    async def models(self, **query: str) -> dict[str, Any]:
        return self._hub.service.models(query)

    async def model(self, model: str) -> dict[str, Any]:
        return self._hub.service.model_json(self._hub.shelf.find_model(model))

    async def artifact(self, digest: str) -> dict[str, Any]:
        return self._hub.service.artifact_json(self._hub.shelf.find_artifact(digest))

    async def lineage(self, digest: str) -> dict[str, Any]:
        return self._hub.service.lineage(digest)

    async def diff(self, before: str, after: str) -> dict[str, Any]:
        return await self._hub.service.diff(before, after)

    async def close(self) -> None:
        self.closed = True


async def filled(folder: Path) -> tuple[Hub, str, str, str]:
    """A hub with a model of two versions, and a declared one: their artifacts."""
    hub = Hub(folder)
    one = (await hub.push({"w.safetensors": safetensors(a=(1.0, 2.0))}))["artifact"]
    two = (await hub.push({"w.safetensors": safetensors(a=(4.0, 6.0)), "<b>.txt": b"x"}))["artifact"]
    first = (await hub.point(one, None)).json()["statement"]
    await hub.point(two, first, continuity={"kind": "derivative", "of": one, "how": "fine_tuned"})
    asked = {"upstream": "big", "model": "Big <1>", "system_fingerprint": None, "reason": "seen"}
    declared = (await hub.ask("POST", "/v1/hub/declared", asked)).json()["artifact"]
    card = {"text": "<script>alert(1)</script>", "tags": ["risk"], "licence": "MIT"}
    await hub.ask("PUT", "/v1/hub/models/acme/risk/card", card)
    return hub, one, two, declared
