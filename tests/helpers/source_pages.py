"""A data node as the panel's pages ask it, in one process, with admissions that it remembers."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from holdfast.errors import UsageError
from holdfast.nodes.data.app import Caller, create_app
from holdfast.nodes.data.keeping import Glance
from holdfast.ports.settings import Secret
from tests.helpers.sources import SourceServer, authority, data_world, definition_of, registry_of
from tests.helpers.tls import certificate

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def glance(seconds: float, value: str | None, outcome: str = "admitted", age: float = 1.5) -> Glance:
    """An admission as a source's page shows it."""
    moment = AT + dt.timedelta(seconds=seconds)
    return Glance("ab" * 32, moment, outcome, value, age if value is not None else None)


GLANCES = (glance(0, "1.25"), glance(60, "1.5"), glance(120, None, "stale"), glance(180, "<script>"))


class AskedSources:
    """``nodes.panel.service.Sources`` over a data node's app with one source, ``rates``."""

    def __init__(self, folder: Path, glances: Iterable[Glance] = GLANCES) -> None:
        folder.mkdir(exist_ok=True)
        root = authority()
        source = SourceServer(certificate(issuer=root), folder, port=4433)
        definition = definition_of(source, root, title="<b>Rates</b>", unit="USD")
        world = data_world(folder / "node", registry_of(definition))
        world.service.kept.recent.setdefault("rates", []).extend(glances)  # type: ignore[arg-type]
        app = create_app(
            world.service,
            identity=dict,
            callers=[Caller("alpha", Secret("key", "env:K"))],
            readiness=dict,
            lifespan=None,  # type: ignore[arg-type]
            metrics=lambda: b"",
        )
        self._client = TestClient(app, headers={"authorization": "Bearer key"})

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._client.get(path)
        if answer.status_code != 200:
            raise UsageError(answer.json()["error"]["code"], "no", status=answer.status_code)
        found: dict[str, Any] = answer.json()
        return found

    async def sources(self) -> dict[str, Any]:
        return await asyncio.to_thread(self._get, "/v1/sources")

    async def source(self, name: str) -> dict[str, Any]:
        return await asyncio.to_thread(self._get, f"/v1/sources/{name}")

    async def close(self) -> None:
        self._client.close()
