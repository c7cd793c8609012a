"""Queues: a page over many cases, and a case's way from opening to hand-over, each commit on disk.

A page is measured as a browser gets it, through the panel's ASGI app: the door, the questions to the store, the counts
of every state, and rendering. Figures wanted: over 100,000 cases in < 150 ms; evidence to CLEAR and handed out at 200
cases/s. No peer: nothing that pip installs keeps such queues.

``python bench/queue_page.py --cases N --through N``.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import html
import re
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from figures import at_least, at_most, figure  # beside this file

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.storage_files import FileStorage
from holdfast.core.encoding import sha256_hex
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.service import PanelService
from holdfast.ports.case_store import StoredEvent
from holdfast.review.events import SYSTEM
from holdfast.web.app import create_app
from tests.helpers import asgi
from tests.helpers.network import RUN
from tests.helpers.review import CONSUMER, Clinic, evidence

BROWSER = [("host", "127.0.0.1:8700"), ("accept", "text/html")]
NEXT = re.compile(r'href="([^"]+)" rel="next"')
"""The link to the following page."""
TIMES = 15
STATES = ("HOLD", "CLEAR", "PROVISIONAL", "REJECTED", "RECALLED")


def fill(clinic: Clinic, count: int) -> None:
    """Rows like that of one real case, in ten queues; their events are stand-ins, for nothing here reads them."""
    case = clinic.case(stage="logged")
    with clinic.store.read() as reader:
        row, shown = reader.row(case), reader.shown([case])[case]
    if row is None:
        raise SystemExit("the case is gone")
    for begin in range(0, count, 5000):
        with clinic.store.write() as writer:
            seq, rows, events = writer.head().seq, [], []
            for place in range(begin, min(begin + 5000, count)):
                seq += 1
                events.append(StoredEvent(seq, sha256_hex(b"%d" % seq), None, "stand-in", row.opened_at, b"{}"))
                changes: dict[str, Any] = {
                    "case": str(uuid.UUID(int=place + 2**40, version=4)),
                    "run": str(uuid.UUID(int=place + 2**40, version=4)),
                    "queue": "default" if place % 10 else f"queue-{place % 100}",
                    "stands": STATES[place % 7 % 5],
                    "opened_seq": seq,
                    "bundle": None,
                }
                rows.append(dataclasses.replace(row, **changes))
            writer.append(events)
            writer.put_rows(rows)
            writer.show({item.case: shown for item in rows})


class Site:
    """The panel's own app with its pages, asked without a socket: what it takes is what a browser waits for."""

    def __init__(self, clinic: Clinic, folder: Path) -> None:
        metrics = MemoryMetrics()
        review = Review(
            clinic.desk, clinic.store, FileStorage(folder / "state"), folder / "queues", clinic.clock, metrics
        )
        self._app = create_app(PanelService(PanelConfig(), clinic.clock, metrics, review))
        self._runner = asyncio.Runner()
        self._review = review

    def close(self) -> None:
        """End its threads."""
        self._runner.close()
        self._review._worker.shutdown()  # noqa: SLF001 (its tasks never ran, so nobody else ends it)

    def show(self, name: str, path: str) -> None:
        """Fifteen whole answers, after one that loads templates; each page leads to the next."""
        self._page(path)
        times, busy = [], time.process_time()
        for _ in range(TIMES):
            began = time.perf_counter()
            body = self._page(path)
            times.append((time.perf_counter() - began) * 1000)
            further = NEXT.search(body)
            path = html.unescape(further[1]) if further else path
        busy = (time.process_time() - busy) / TIMES * 1000
        note = f"(median of {TIMES}; slowest {max(times):.0f} ms; {busy:.0f} ms of processor)"
        figure(name, statistics.median(times), "ms", at_most(150), note)

    def _page(self, path: str) -> str:
        reply = self._runner.run(asgi.request(self._app, "GET", path, headers=BROWSER))
        if reply.status != 200 or not reply.complete:
            raise SystemExit(f"{path}: {reply.status} {reply.body[:300]!r}")
        return reply.body.decode()


def pages(count: int, folder: Path) -> None:
    """Pages of fifty, as a browser gets them."""
    clinic = Clinic(SQLCaseStore(f"sqlite:///{folder / 'pages.sqlite'}"))
    clinic.queue()
    fill(clinic, count)
    site = Site(clinic, folder)
    asked = {
        "all queues with their counts": "/queues",
        "one queue": "/queues/default",
        "one queue from the middle": f"/queues/default?after={count // 2}",
        "one queue, one state, from the middle": f"/queues/default?state=HOLD&after={count // 2}",
        "a rare queue, one state": "/queues/queue-50?state=CLEAR",
        "the same for programs": "/queues/default.json",
    }
    for name, path in asked.items():
        site.show(f"page over {count:,} cases: {name}", path)
    site.close()
    clinic.store.close()


def through(count: int, folder: Path) -> None:
    """Opening, three kinds of evidence, CLEAR, hand-out, acknowledgement: one case after the other."""
    clinic = Clinic(SQLCaseStore(f"sqlite:///{folder / 'through.sqlite'}"))
    names = [f"queue-{number}" for number in range(count)]
    for name in names:
        clinic.queue(name)
    bundles = [evidence(stage, 20) for stage in ("answered", "logged", "settled")]
    cases = [clinic.desk.open(SYSTEM, RUN, name).id for name in names]
    clinic.pass_time(10)
    for raw, stage in zip(bundles, ("answered", "logged", "settled"), strict=True):
        began = time.perf_counter()
        for case in cases:
            clinic.desk.note_bundle(SYSTEM, case, raw)
        figure(f"take in evidence: {stage}", count / (time.perf_counter() - began), "cases/s", at_least(200))
    began = time.perf_counter()
    for name in names:
        handed = clinic.desk.hand_out(CONSUMER, name, "shop").handed
        if handed is None:
            raise SystemExit("nothing was let through")
        clinic.desk.acknowledge(CONSUMER, handed.view.row.case, "shop", handed.key)
    figure("hand out and acknowledge", count / (time.perf_counter() - began), "cases/s", at_least(200))
    clinic.store.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--through", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hf-queues-") as folder:
        pages(options.cases, Path(folder))
        through(options.through, Path(folder))


if __name__ == "__main__":
    main()
