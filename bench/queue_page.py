"""Queues: a page over many cases, and a case's way from opening to hand-over, each commit on disk.

Figures wanted: a page over 100,000 cases in < 150 ms; evidence to CLEAR and handed out at 200 cases/s.
``python bench/queue_page.py --cases N --through N``.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.core.encoding import sha256_hex
from holdfast.ports.case_store import CaseFilter, StoredEvent
from holdfast.review.events import SYSTEM
from tests.helpers.network import RUN
from tests.helpers.review import CONSUMER, Clinic, evidence

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
                changes = {
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


def worst_ms(clinic: Clinic, which: CaseFilter) -> float:
    """The slowest of five, pages that follow on one another."""
    slowest, after = 0.0, which.after
    for _ in range(5):
        began = time.perf_counter()
        found = clinic.desk.cases(SYSTEM, dataclasses.replace(which, after=after))
        slowest = max(slowest, time.perf_counter() - began)
        after = found[-1].row.opened_seq if found else which.after
    return slowest * 1000


def pages(count: int, folder: Path) -> None:
    """Pages of fifty, as the panel asks for them."""
    clinic = Clinic(SQLCaseStore(f"sqlite:///{folder / 'pages.sqlite'}"))
    clinic.queue()
    fill(clinic, count)
    middle = count // 2
    asked = {
        "newest of all": CaseFilter(newest_first=True),
        "one queue": CaseFilter(queue="default"),
        "one queue, one state, from the middle": CaseFilter(queue="default", stands=("HOLD",), after=middle),
        "one queue, three states": CaseFilter(queue="default", stands=STATES[:3], newest_first=True),
        "a rare queue": CaseFilter(queue="queue-50", stands=("CLEAR",)),
        "one state of all": CaseFilter(stands=("RECALLED",), newest_first=True),
    }
    for name, which in asked.items():
        print(f"page of 50 of {count}: {name:40} {worst_ms(clinic, which):7.1f} ms   wanted < 150")
    began = time.perf_counter()
    clinic.desk.queues(SYSTEM)
    print(f"all queues with their counts {'':33} {(time.perf_counter() - began) * 1000:7.1f} ms")
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
        print(f"take in evidence: {stage:10}                    {count / (time.perf_counter() - began):8.0f} /s")
    began = time.perf_counter()
    for name in names:
        handed = clinic.desk.hand_out(CONSUMER, name, "shop").handed
        if handed is None:
            raise SystemExit("nothing was let through")
        clinic.desk.acknowledge(CONSUMER, handed.view.row.case, "shop", handed.key)
    print(f"hand out and acknowledge                        {count / (time.perf_counter() - began):8.0f} /s")
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
