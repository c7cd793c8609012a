"""Pages of a hub's models and their JSON twins, through the ASGI app, over a hub whose answers come from the node."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import UnavailableError
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.models import ModelView
from holdfast.nodes.panel.service import PanelService
from holdfast.web.app import create_app
from tests.helpers import onnx_files as onnx
from tests.helpers.asgi import Reply, request
from tests.helpers.hub import Hub
from tests.helpers.hub_pages import Asked, filled
from tests.helpers.panel import ManualClock

HOST = ("host", "127.0.0.1:8500")
HTML = [("accept", "text/html"), HOST]


def panel(hub: Asked | None) -> PanelService:
    config = PanelConfig(gateway="http://127.0.0.1:1", log="http://127.0.0.1:1", review=False)
    return PanelService(config, ManualClock(), _Uncounted(), hub=hub)  # type: ignore[arg-type]


class _Uncounted:
    def __getattr__(self, _: str) -> Any:
        return lambda *_, **__: None


def visible(reply: Reply) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", reply.body.decode()))


def test_models_artifacts_and_differences_are_shown(tmp_path: Path) -> None:
    async def body() -> None:
        hub, one, two, declared = await filled(tmp_path)
        app = create_app(panel(Asked(hub)))
        listed = await request(app, "GET", "/models", headers=HTML)
        assert listed.status == 200
        assert "acme/risk" in visible(listed)
        assert "Big" not in visible(await request(app, "GET", "/models?q=risk", headers=HTML))
        assert "No model has these words" in visible(await request(app, "GET", "/models?q=weather", headers=HTML))
        model = await request(app, "GET", "/models/acme/risk", headers=HTML)
        assert "declared to be fine-tuned" in visible(model)
        assert b"<script>alert" not in model.body
        artifact = await request(app, "GET", f"/artifacts/{two}", headers=HTML)
        assert b"&lt;b&gt;.txt" in artifact.body
        assert "nobody checked it" in visible(artifact)
        differs = await request(app, "GET", f"/artifacts/{two}/from/{one}", headers=HTML)
        assert "Norm of the difference" in visible(differs)
        assert "added" in visible(differs)
        shown = await request(app, "GET", f"/artifacts/{declared}", headers=HTML)
        assert "only what the provider claims" in visible(shown)
        nothing = await request(app, "GET", f"/artifacts/{declared}/from/{one}", headers=HTML)
        assert "nothing to compare" in visible(nothing)
        await hub.ask("POST", f"/v1/hub/artifacts/{two}/revoke", {"reason": "poisoned"})
        assert "poisoned" in visible(await request(app, "GET", f"/artifacts/{two}", headers=HTML))
        await hub.close()

    asyncio.run(body())


def test_a_sealed_model_says_so(tmp_path: Path) -> None:
    async def body() -> None:
        hub = Hub(tmp_path)
        made = await hub.push({"sealed/readers.json": b"{}", "sealed/index": b"x"})
        page = await request(create_app(panel(Asked(hub))), "GET", f"/artifacts/{made['artifact']}", headers=HTML)
        assert "for its readers alone" in visible(page)
        await hub.close()

    asyncio.run(body())


def test_graphs_that_differ_are_shown(tmp_path: Path) -> None:
    async def body() -> None:
        hub = Hub(tmp_path)
        strange = onnx.model(onnx.graph([onnx.node("Relu", ["x"], ["<b>y"])], [onnx.value_info("x", ["n"])], []))
        one = (await hub.push({"model.onnx": onnx.linear()}))["artifact"]
        two = (await hub.push({"model.onnx": strange}))["artifact"]
        app = create_app(panel(Asked(hub)))
        page = await request(app, "GET", f"/artifacts/{two}/from/{one}", headers=HTML)
        said = visible(page)
        assert "Graph of model.onnx" in said
        assert "Input x F32 [n, 2] F32 [n]" in said
        assert "Number of Gemm 1 –" in said
        assert "Gemm(x, w, b) to y" in said
        assert b"&lt;b&gt;y" in page.body
        assert b"<b>y" not in page.body
        assert f"holdfast hub diff --probe {one} {two}" in said
        await hub.close()

    asyncio.run(body())


def test_models_in_folders_of_nodes_are_listed_beside_the_hubs(tmp_path: Path) -> None:
    async def body() -> None:
        hub, *_ = await filled(tmp_path)
        service = panel(Asked(hub))
        listed = [
            ModelView("risk", "inference-1", "inference-1", artifact="ab" * 32, task="inference"),
            ModelView("acme/risk:prod", "inference-1", "inference-1", artifact="cd" * 32, task="inference"),
            ModelView("small-1", "builtin", "holdfast"),
        ]

        async def models() -> tuple[ModelView, ...]:
            return tuple(listed)

        service.models = models  # type: ignore[method-assign]
        app = create_app(service)
        page = visible(await request(app, "GET", "/models", headers=HTML))
        assert "In folders of inference nodes" in page
        assert "inference-1" in page
        assert "small-1" not in page
        twin = (await request(app, "GET", "/models.json", headers=[HOST])).json()
        assert twin["in_folders"] == [
            {"label": "risk", "artifact": "ab" * 32, "task": "inference", "node": "inference-1"}
        ]
        for narrowed in ("q=weather", "tag=onnx", "after=acme/risk"):
            found = (await request(app, "GET", f"/models.json?{narrowed}", headers=[HOST])).json()
            assert found["in_folders"] == []
        await hub.close()

    asyncio.run(body())


def test_a_silent_gateway_takes_no_hub_page(tmp_path: Path) -> None:
    async def body() -> None:
        hub, *_ = await filled(tmp_path)
        service = panel(Asked(hub))

        async def models() -> tuple[ModelView, ...]:
            raise UnavailableError("http.unreachable", "no answer")

        service.models = models  # type: ignore[method-assign]
        page = visible(await request(create_app(service), "GET", "/models", headers=HTML))
        assert "acme/risk" in page
        assert "does not say which models" in page
        await hub.close()

    asyncio.run(body())


def test_each_page_has_a_twin(tmp_path: Path) -> None:
    async def body() -> None:
        hub, one, two, _ = await filled(tmp_path)
        app = create_app(panel(Asked(hub)))
        for path, member in (
            ("/models", "models"),
            ("/models/acme/risk", "published"),
            (f"/artifacts/{two}", "lineage"),
            (f"/artifacts/{two}/from/{one}", "tensors"),
        ):
            page = await request(app, "GET", path, headers=HTML)
            assert f'href="{path}.json"' in page.body.decode()
            assert member in (await request(app, "GET", f"{path}.json", headers=[HOST])).json()
        await hub.close()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/models/acme/nothing.json", "hub.unknown"),
        ("/artifacts/11.json", "encoding.hex"),
        ("/artifacts/" + "11" * 32 + ".json", "hub.unknown"),
        ("/models.json?q=" + "a" * 201, "panel.query"),
    ],
)
def test_what_is_not_there_is_said(path: str, code: str, tmp_path: Path) -> None:
    async def body() -> None:
        hub = Hub(tmp_path)
        assert (await request(create_app(panel(Asked(hub))), "GET", path, headers=[HOST])).code == code
        await hub.close()

    asyncio.run(body())


def test_a_panel_without_a_hub_shows_none() -> None:
    async def body() -> None:
        app = create_app(panel(None))
        found = await request(app, "GET", "/models.json", headers=[HOST])
        assert (found.status, found.code) == (404, "panel.hub")
        assert b'href="/models"' not in (await request(app, "GET", "/about", headers=HTML)).body

    asyncio.run(body())


def test_the_panel_lets_go_of_its_hub() -> None:
    async def body() -> None:
        asked = Asked.__new__(Asked)
        asked.closed = False
        service = panel(asked)
        await service.close()
        assert asked.closed

    asyncio.run(body())
