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
from holdfast.review.events import SYSTEM
from holdfast.review.intake import Opening
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


# --- the case file ----------------------------------------------------------------------------------------------------


def test_a_case_is_told_on_one_axis_with_what_moved_ahead_of_its_proof(tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        case = await cleared(world)
        twin = (await site.get(f"/cases/{case['id']}.json")).json()
        times = [step["at"] for step in twin["chronology"]]
        assert times == sorted(times)
        codes = [step["code"] for step in twin["chronology"]]
        assert {"answered", "opened", "held", "final", "cleared"} <= set(codes)
        assert {step["event"] for step in twin["chronology"]} >= {event["seq"] for event in case["events"]}
        assert [step["ahead"] for step in twin["chronology"] if step["code"] == "answered"] == [True]
        assert [step["ahead"] for step in twin["chronology"] if step["code"] == "cleared"] == [False]
        text = await site.text(f"/cases/{case['id']}")
        axis = text[text.index('id="axis"') : text.index("</section>", text.index('id="axis"'))]
        assert re.findall(r'data-event="([a-z_]+)"', axis) == [event["kind"] for event in case["events"]]
        assert axis.count("ahead of its proof") >= 1
        for event in case["events"]:
            assert event["digest"] in axis

    play(story, tmp_path)


def test_every_lane_opens_to_what_it_says_does_not_say_rests_on_and_was_checked_by(tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        case = await cleared(world)
        text = await site.text(f"/cases/{case['id']}")
        twin = (await site.get(f"/cases/{case['id']}.json")).json()
        lanes = re.findall(r'<details class="lane" data-lane="([a-z]+)".*?</details>', text, re.DOTALL)
        assert lanes == list(LANES)
        for name in LANES:
            part = text[text.index(f'<details class="lane" data-lane="{name}"') :]
            part = part[: part.index("</details>")]
            assert all(f"<dt>{title}</dt>" in part for title in ("Says", "Does not say", "Evidence", "Transcript"))
            checks = [check for check in twin["transcript"] if name in check["lanes"]]
            assert re.findall(r'class="check-number">(\d+)<', part) == [str(check["number"]) for check in checks]
            assert re.findall(r"<cite>([^<]+)</cite>", part) == [check["spec"] for check in checks]
            for digest in case["lanes"][name]["evidence"]:
                assert f'href="/cases/{case["id"]}/evidence/{digest}"' in part
        assert {check["answer"] for check in twin["transcript"]} <= {"yes", "no", "cannot_tell"}

    play(story, tmp_path)


def test_evidence_is_shown_as_what_it_is_with_the_raw_item_and_nothing_that_was_said(tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        case = await cleared(world)
        seen = set()
        for lane in case["lanes"].values():
            for digest in lane["evidence"]:
                text = await site.text(f"/cases/{case['id']}/evidence/{digest}")
                twin = (await site.get(f"/cases/{case['id']}/evidence/{digest}.json")).json()
                assert twin["items"]
                assert digest in text
                assert ANSWER not in text
                seen.add(twin["items"][0]["words"])
        assert {"route statement", "execution statement", "checkpoint"} <= seen
        assert any(words.startswith("round ") for words in seen)
        for digest in ("0" * 64, "x", "../" * 3):
            assert (await site.get(f"/cases/{case['id']}/evidence/{digest}")).status == 404

    play(story, tmp_path)


def test_an_arrival_is_a_moment_and_any_time_leads_to_one(tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        case = await cleared(world)
        last = case["events"][-1]["seq"]
        stops = (await site.get(f"/cases/{case['id']}/at/{last}.json")).json()["stops"]
        known = [stop for stop in stops if stop["path"].startswith("known/")]
        assert known
        for stop in known:
            twin = (await site.get(f"/cases/{case['id']}/{stop['path']}.json")).json()
            assert (twin["at"], twin["code"]) == (stop["at"], stop["code"])
            assert set(twin["arrived"]) == set(LANES)
        text = await site.text(f"/cases/{case['id']}/{known[-1]['path']}")
        assert "As the evidence by then shows" in text
        reply = await site.get(f"/cases/{case['id']}/at?time={known[-1]['at']}")
        assert reply.status == 303
        assert (reply.header("location") or "").startswith(f"/cases/{case['id']}/")
        for wrong in ("", "?time=soon"):
            assert (await site.get(f"/cases/{case['id']}/at{wrong}")).status == 400
        assert (await site.get(f"/cases/{case['id']}/known/999")).status == 404

    play(story, tmp_path)


# --- filters ----------------------------------------------------------------------------------------------------------


def test_csv_and_json_honour_the_filters_of_the_page(tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        first, second = await cleared(world), await held(world)
        run = f"01900000-0000-4000-8000-{7:012d}"
        third = await world.review.call(world.desk.open, SYSTEM, run, "default", subject="Claim 7")
        for query, cases in (
            ("lane=settlement&is=pending", [third.id, second["id"]]),
            ("lane=settlement&is=proven", [first["id"]]),
            ("lane=settlement&is=pending&state=CLEAR", []),
            ("subject=Claim", [third.id]),
            ("early=1", []),
            ("flagged=1", []),
            ("stale=1", []),
            ("since=2020-01-01", [third.id, second["id"], first["id"]]),
            ("since=2999-01-01", []),
        ):
            text = await site.text(f"/queues/default?{query}")
            assert re.findall(r'class="case-link" href="/cases/([0-9a-f-]{36})"', text) == cases, query
            twin = (await site.get(f"/queues/default.json?{query}")).json()
            assert [case["id"] for case in twin["cases"]] == cases, query
            rows = csv.DictReader(io.StringIO(await site.text(f"/queues/default.csv?{query}")))
            assert [row["case"] for row in rows] == cases, query
            assert f"/queues/default.csv?{query.replace('&', '&amp;')}" in text or "state" in query
        for wrong in ("lane=settlement", "is=pending", "lane=x&is=proven", "early=2", "since=x"):
            for path in ("/queues/default", "/queues/default.json", "/queues/default.csv"):
                assert (await site.get(f"{path}?{wrong}")).status == 400
        assert (await site.get("/queues/default.json?claimed=me")).status == 401

    play(story, tmp_path)


# --- statistics -------------------------------------------------------------------------------------------------------


def test_statistics_are_counts_by_artifact_and_hold_no_score(tmp_path: Path) -> None:
    async def story(world: CaseWorld, site: Site) -> None:
        await cleared(world)
        await held(world)
        text = await site.text("/statistics")
        twin = (await site.get("/statistics.json")).json()
        (series,) = twin["series"]
        assert (series["cases"], series["cleared"]) == (2, 1)
        assert set(series["time_to_proof"]) <= set(LANES)
        assert "settlement" in series["time_to_proof"]
        assert re.search(r"<dt>Reached CLEAR</dt><dd>1 <span class=\"note\">of 2", text)
        assert not re.search(r"\d\s*%|score|quality|rating", text, re.IGNORECASE)
        one = (await site.get("/statistics.json?queue=default")).json()
        assert (one["queue"], one["queues"], one["series"]) == ("default", ["default"], twin["series"])
        assert (await site.get("/statistics?queue=none")).status == 404

    play(story, tmp_path)
