"""Pages of a data node's sources and their JSON twins, over answers that come from the node's own app."""

import asyncio
import json

import pytest

from holdfast.core.encoding import time_encode
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.service import PanelService
from holdfast.web.app import create_app
from holdfast.web.sources import plot_ages, plot_values
from tests.helpers.asgi import request
from tests.helpers.panel import ManualClock
from tests.helpers.source_pages import GLANCES, AskedSources
from tests.web.test_model_pages import HOST, HTML, _Uncounted, visible


def panel(tmp_path, glances):
    config = PanelConfig(gateway="http://127.0.0.1:1", log="http://127.0.0.1:1", review=False)
    sources = AskedSources(tmp_path, glances)
    return PanelService(config, ManualClock(), _Uncounted(), sources=sources)


def test_sources_their_values_and_their_refusals_are_shown(tmp_path):
    async def body():
        app = create_app(panel(tmp_path, GLANCES))
        listed = await request(app, "GET", "/sources", headers=HTML)
        assert listed.status == 200
        assert b"<b>Rates" not in listed.body
        assert "rates" in visible(listed)
        one = await request(app, "GET", "/sources/rates", headers=HTML)
        text = visible(one)
        assert "refused: stale" in text
        assert "25.0 %" in text
        assert "no key: any certificate that verifies will do" in text
        assert b"<script>alert" not in one.body
        assert b"&lt;script&gt;" in one.body
        assert one.body.count(b'<svg class="chart"') == 2
        twin = json.loads((await request(app, "GET", "/sources/rates.json", headers=[HOST])).body)
        assert [item["outcome"] for item in twin["admissions"]] == ["admitted", "stale", "admitted", "admitted"]
        assert json.loads((await request(app, "GET", "/sources.json", headers=[HOST])).body)["sources"]

    asyncio.run(body())


@pytest.mark.parametrize("path", ["/sources/nothing.json", "/sources/UPPER.json", "/sources/..%2fv1.json"])
def test_a_source_that_there_is_not_is_an_error_in_the_one_shape(tmp_path, path):
    async def body():
        return await request(create_app(panel(tmp_path, [])), "GET", path, headers=[HOST])

    reply = asyncio.run(body())
    assert reply.status == 404
    assert json.loads(reply.body)["error"]["code"] in ("sources.unknown", "panel.data", "request.not_found")


def test_without_a_data_node_there_is_no_page_and_no_link():
    config = PanelConfig(gateway="http://127.0.0.1:1", log="http://127.0.0.1:1", review=False)

    async def body():
        app = create_app(PanelService(config, ManualClock(), _Uncounted()))
        found = await request(app, "GET", "/sources.json", headers=[HOST])
        about = await request(app, "GET", "/about", headers=HTML)
        return found, about

    found, about = asyncio.run(body())
    assert json.loads(found.body)["error"]["code"] == "panel.data"
    assert b'href="/sources"' not in about.body


def test_a_plot_shows_what_was_asked_and_draws_nothing_between():
    rows = [
        {"at": time_encode(item.at), "value": item.value, "outcome": item.outcome, "age_s": item.age_s}
        for item in reversed(GLANCES)
    ]
    values = plot_values(rows, "USD")
    assert [(point.x, point.y) for point in values.points] == [(8.0, 112.0), (632.0, 8.0)]
    assert (values.least, values.most) == ("1.25 USD", "1.5 USD")
    assert len(plot_ages(rows, 30).points) == 3
    assert plot_values(rows[:1], "USD") is None
