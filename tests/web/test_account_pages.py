"""Pages of cases whose evidence names models: labels that move, cases alike, and who decided having seen what."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.storage_files import FileStorage
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.service import PanelService
from holdfast.review.events import SYSTEM
from holdfast.verifier.lanes import LANES
from holdfast.web.app import create_app
from tests.helpers import asgi
from tests.helpers.labelled import told, wide_trust
from tests.helpers.network import RUN, at
from tests.helpers.review import CONSUMER, REVIEWER, SECOND, Clinic

HEADERS = [("host", "localhost"), ("accept", "text/html")]


class Site:
    """The pages over a desk that a test works at."""

    def __init__(self, folder: Path) -> None:
        self.clinic = Clinic(SQLCaseStore(f"sqlite:///{folder / 'cases.sqlite'}"))
        self.clinic.trusted = wide_trust()
        storage = FileStorage(folder / "state")
        self.review = Review(
            self.clinic.desk, self.clinic.store, storage, folder / "queues", self.clinic.clock, MemoryMetrics()
        )
        self.app = create_app(PanelService(PanelConfig(), self.clinic.clock, MemoryMetrics(), self.review))

    def case(self, queue: str, fingerprint: str = "fp_1", *, reviewers: int = 0, **more: Any) -> str:
        """A case of the run in a queue of its own."""
        self.clinic.queue(queue, reviewers=reviewers)
        self.clinic.pass_time(1)
        case = self.clinic.desk.open(SYSTEM, RUN, queue, subject=f"Subject {queue}").id
        self.note(case, fingerprint, **more)
        return case

    def note(self, case: str, fingerprint: str = "fp_1", **more: Any) -> None:
        exported = (self.clinic.now - at(0)).total_seconds()
        self.clinic.desk.note_bundle(SYSTEM, case, told(fingerprint=fingerprint, exported=exported, **more))

    async def get(self, path: str) -> asgi.Reply:
        return await asgi.request(self.app, "GET", path, headers=HEADERS)

    async def text(self, path: str) -> str:
        reply = await self.get(path)
        assert reply.status == 200, (path, reply.status, reply.body)
        return re.sub(r"\s+", " ", reply.body.decode())

    async def twin(self, path: str) -> Any:
        return (await self.get(path + ".json")).json()


def play(story: Callable[[Site], Awaitable[None]], folder: Path) -> None:
    async def main() -> None:
        site = Site(folder)
        try:
            await story(site)
        finally:
            site.review._worker.shutdown()
            site.clinic.store.close()

    asyncio.run(main())


def test_who_decided_had_these_lanes_before_them_and_these_differ_now(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        case = site.case("one", stage="logged", reviewers=2)
        site.clinic.approve(case, REVIEWER)
        site.clinic.pass_time(1)
        site.clinic.release(case)
        site.clinic.pass_time(1)
        site.note(case)
        site.clinic.approve(case, SECOND)
        decided = (await site.twin(f"/cases/{case}"))["decided"]
        assert [(item["person"], item["role"], item["act"]) for item in decided] == [
            ("rita", "reviewer", "approve"),
            ("ada", "approver", "release"),
            ("sam", "reviewer", "approve"),
        ]
        assert [item["lanes"]["settlement"]["state"] for item in decided] == ["pending", "pending", "proven"]
        assert [item["differing_now"] for item in decided] == [["settlement"], ["settlement"], []]
        assert {item["rule"] for item in decided} == {"pay what was agreed"}
        assert {item["framing"] for item in decided} == {None}
        text = await site.text(f"/cases/{case}")
        section = text[text.index('id="decided-title"') :]
        section = section[: section.index("</section>")]
        assert re.findall(r'data-lane="([a-z]+)"', section) == list(LANES) * 3
        assert section.count('data-differs="true"') == 2
        assert "now proven" in section
        for words in ("it is as agreed", "the customer waits", "pay what was agreed", "none was recorded"):
            assert words in section

    play(story, tmp_path)


def test_a_label_that_moved_is_shown_on_what_is_open_and_on_what_is_closed(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        site.clinic.queue("one")
        closed = site.case("one")
        handed = site.clinic.desk.hand_out(CONSUMER, "one", "shop").handed
        site.clinic.desk.acknowledge(CONSUMER, closed, "shop", handed.key)
        open_ = site.case("two", stage="logged")
        for case in (open_, closed):
            assert "has come to mean another artifact" not in await site.text(f"/cases/{case}")
        newer = site.case("three", "fp_2", seconds=0.6)
        text = await site.text(f"/cases/{open_}")
        assert "has come to mean another artifact" in text
        assert "has to look again" in text
        text = await site.text(f"/cases/{closed}")
        assert "keeps the artifact that it was decided for" in text
        assert "has come to mean another artifact" not in await site.text(f"/cases/{newer}")
        assert [(await site.twin(f"/cases/{case}"))["label_moved"]["closed"] for case in (open_, closed)] == [
            False,
            True,
        ]
        assert f'href="/cases/{open_}"' in await site.text("/queues/two?stale=1")
        assert f'href="/cases/{closed}"' not in await site.text("/queues/one?stale=1")

    play(story, tmp_path)


def test_an_artifact_is_always_shown_as_the_providers_claim(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        case = site.case("one")
        artifact = (await site.twin(f"/cases/{case}"))["facts"]["artifact"]
        assert artifact["basis"] == "provider_claim"
        assert "only what the provider claims" in await site.text(f"/cases/{case}")
        assert "only what the provider claims" in await site.text("/statistics")

    play(story, tmp_path)


def test_cases_alike_are_told_apart_by_what_they_share(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        carried = {"sources": ("prices",), "rows": ("row 1",)}
        one = site.case("one", **carried)
        same = site.case("two", seconds=0.6)
        other = site.case("three", "fp_2", seconds=0.7)
        source = site.case("four", label="large-1", served="large-1", sources=("prices",))
        site.case("five", label="third", served="third")
        alike = (await site.twin(f"/cases/{one}"))["alike"]
        assert alike == {"artifact": [same], "label": [other], "source": [source]}
        text = await site.text(f"/cases/{one}")
        for title in ("Same artifact", "Same label, another artifact", "Same source"):
            assert title in text
        assert "Same memory row" not in text
        row = site.case("six", rows=("row 1",), seconds=0.8, label="fourth", served="fourth")
        assert (await site.twin(f"/cases/{row}"))["alike"] == {"row": [one]}

    play(story, tmp_path)


def test_a_series_is_split_where_its_label_moved(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        site.case("one")
        site.case("two", "fp_2", seconds=0.6)
        twin = await site.twin("/statistics")
        first, second = twin["series"]
        (move,) = twin["moves"]
        assert first["begun_by"] is None
        assert second["begun_by"] == {"event": move["event"], "at": move["at"], "from": first["artifact"]["digest"]}
        text = await site.text("/statistics")
        assert text.count("the label came to mean another artifact") == 1
        assert text.index(move["at"][:10]) > 0
        anchors = re.findall(r'<article class="sheet series" id="([a-z0-9-]+)"', text)
        assert f'href="#{anchors[0]}"' in text
        assert len(anchors) == 2
        assert "<script" not in re.sub(r"<script[^>]* src=[^>]*></script>", "", text)
        assert " style=" not in text

    play(story, tmp_path)


def test_names_from_outside_are_data(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        case = site.case("one", label="<b>free</b>", served='"><script>alert(1)</script>')
        for path in (f"/cases/{case}", "/statistics"):
            text = await site.text(path)
            assert "<b>free</b>" not in text
            assert "<script>alert" not in text
            assert "&lt;b&gt;free" in text

    play(story, tmp_path)
