"""Templates are compiled before anybody asks for a page of theirs."""

import asyncio
import threading

from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.nodes.panel.app import assemble
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.metrics import METRICS
from holdfast.nodes.panel.service import PanelService
from holdfast.web.render import FOLDER, Pages
from tests.helpers.clock import FakeClock


def test_every_template_is_compiled_at_once():
    pages = Pages("/static/x")
    pages.compile()
    known = {name for _, name in pages._templates.cache.copy()}
    assert known == {path.name for path in FOLDER.glob("*.html")}


def test_a_panel_prepares_its_pages_when_it_starts_and_answers_meanwhile():
    begun, over = threading.Event(), threading.Event()

    def prepare() -> None:
        begun.set()
        assert over.wait(30)

    async def main() -> list[str]:
        service = PanelService(PanelConfig(), FakeClock(), PrometheusMetrics(METRICS))
        app = assemble(service, prepare=prepare)
        told: list[str] = []
        asked = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive():
            if "lifespan.startup.complete" in told:
                assert await asyncio.to_thread(begun.wait, 30)
                over.set()
            return {"type": next(asked)}

        async def send(message):
            told.append(message["type"])

        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
        return told

    assert asyncio.run(main()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
