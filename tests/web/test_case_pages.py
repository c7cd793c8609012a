"""The pages of queues and case files, over a gateway in memory: what they show, and what they must not."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.service import PanelService
from holdfast.review.desk import Opening
from holdfast.review.events import SYSTEM
from holdfast.verifier.lanes import LANES
from holdfast.web.app import create_app
from tests.helpers import asgi
from tests.helpers.case_world import HOST, URL, CaseWorld, play_cases

HTML = ("accept", "text/html")
ANSWER = "Hello there."
UNKNOWN = "01900000-0000-4000-8000-000000000001"


class Site:
    """The panel with its pages over a case world."""

    def __init__(self, world: CaseWorld) -> None:
        service = PanelService(PanelConfig(gateway=URL), world.world.clock, world.metrics, world.review)
        self._app = create_app(service)

    async def get(self, path: str) -> asgi.Reply:
        return await asgi.request(self._app, "GET", path, headers=[HOST, HTML])

    async def text(self, path: str) -> str:
        reply = await self.get(path)
        assert reply.status == 200, (path, reply.status, reply.body)
        return reply.body.decode()


Story = Callable[[CaseWorld, Site], Awaitable[None]]


def play(story: Story, folder: Path) -> None:
    async def told(world: CaseWorld) -> None:
        await story(world, Site(world))

    play_cases(told, folder)


async def held(world: CaseWorld) -> dict[str, Any]:
    """A case whose round is not final yet."""
    run = await world.ask()
    await world.pull()
    await world.look_at_all()
    return await world.case(run)


async def cleared(world: CaseWorld) -> dict[str, Any]:
    """The same, with its round final."""
    case = await held(world)
    await world.settle()
    await world.world.clock.advance(3)
    await world.look_at_all()
    return await world.case(case["run"])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/queues/none", 404),
        ("/queues/default?state=GREEN", 400),
        ("/queues/default?state=hold", 400),
        ("/queues/default?after=-1", 400),
        ("/queues/default?after=x", 400),
        ("/queues/none.csv", 404),
        (f"/cases/{UNKNOWN}", 404),
        (f"/cases/{UNKNOWN}.json", 404),
        (f"/cases/{UNKNOWN}/report", 404),
        (f"/cases/{UNKNOWN}/at/1", 404),
        ("/cases/..%2f", 404),
    ],
)
def test_what_is_not_there_is_refused_with_a_page(path: str, status: int, tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        await held(world)
        reply = await site.get(path)
        assert reply.status == status

    play(story, tmp_path)


def test_an_event_of_another_case_is_not_shown(tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        first, second = await held(world), await held(world)
        other = second["events"][-1]["seq"]
        for number in (other, 0, 999, "x", "1e3"):
            assert (await site.get(f"/cases/{first['id']}/at/{number}")).status == 404
        assert (await site.get(f"/cases/{second['id']}/at/{other}")).status == 200

    play(story, tmp_path)


def test_a_queue_shows_lanes_in_separate_cells_and_why_and_no_answer(tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        case = await held(world)
        text = await site.text("/queues/default")
        assert re.findall(r'class="cell" data-lane="([a-z]+)"', text) == list(LANES)
        assert "settlement is pending" in text
        assert len(re.findall('class="cell-word"', text)) == len(LANES)
        file = await site.text(f"/cases/{case['id']}")
        assert "Why it is not clear" in file
        for page in (text, file):
            assert ANSWER not in page
            assert "✓" not in page
            assert not re.search(r"\b(verified|approved by|all good|passed)\b", page, re.IGNORECASE)

    play(story, tmp_path)


def test_a_filter_is_in_the_url_and_shows_only_what_it_names(tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        first = await cleared(world)
        second = await held(world)
        assert (first["state"], second["state"]) == ("CLEAR", "HOLD")
        shown = {
            state: re.findall(r'href="/cases/([0-9a-f-]{36})"', await site.text(f"/queues/default?state={state}"))
            for state in ("HOLD", "CLEAR", "RECALLED")
        }
        assert shown == {"HOLD": [second["id"]], "CLEAR": [first["id"]], "RECALLED": []}

    play(story, tmp_path)


def test_pages_of_a_long_queue_hold_every_case_once(tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        runs = [f"01900000-0000-4000-8000-{number:012d}" for number in range(120)]
        openings = [Opening(run, "default") for run in runs]
        await world.review.call(world.desk.open_many, SYSTEM, openings)
        seen: list[str] = []
        path = "/queues/default"
        while path:
            text = await site.text(path)
            seen += re.findall(r'class="case-link" href="/cases/([0-9a-f-]{36})"', text)
            more = re.search(r'href="([^"]+)" rel="next"', text)
            path = more[1].replace("&amp;", "&") if more else ""
        assert (len(seen), len(set(seen))) == (120, 120)

    play(story, tmp_path)


def test_a_case_is_read_as_it_was_shown_and_as_is_known_now(tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        case = await cleared(world)
        then = [event["seq"] for event in case["events"] if event["kind"] == "held"][-1]
        twin = (await site.get(f"/cases/{case['id']}/at/{then}.json")).json()
        assert twin["state"] == "HOLD"
        assert twin["then"]["settlement"]["state"] == "pending"
        assert twin["differing"] == ["settlement"]
        assert twin["now"]["settlement"]["state"] == "proven"
        text = await site.text(f"/cases/{case['id']}/at/{then}")
        assert "settlement differs" in text
        last = (await site.get(f"/cases/{case['id']}/at/{case['events'][-1]['seq']}.json")).json()
        assert (last["state"], last["differing"]) == ("CLEAR", [])

    play(story, tmp_path)


def test_a_report_names_every_digest_whole(tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        case = await cleared(world)
        text = await site.text(f"/cases/{case['id']}/report")
        head = await world.review.call(world.desk.head, SYSTEM)
        for digest in (case["policy"], head.digest, *(event["digest"] for event in case["events"])):
            assert digest in text

    play(story, tmp_path)


def test_rows_as_csv_have_a_column_for_each_lane_and_no_formula(tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        run = f"01900000-0000-4000-8000-{7:012d}"
        await world.review.call(world.desk.open, SYSTEM, run, "default", subject='=HYPERLINK("x")')
        rows = list(csv.DictReader(io.StringIO(await site.text("/queues/default.csv"))))
        assert [name.removeprefix("lane ") for name in rows[0] if name.startswith("lane ")] == list(LANES)
        assert rows[0]["subject"].startswith("'=")
        assert (rows[0]["state"], rows[0]["lane bytes"]) == ("HOLD", "pending")

    play(story, tmp_path)
