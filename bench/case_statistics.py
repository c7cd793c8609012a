"""Statistics and filters: counting by label and artifact, and pages under filters, over many cases on disk.

Figures wanted: counts over 100,000 cases in < 500 ms, those of one queue in < 150 ms; a page under a filter in
< 150 ms. ``python bench/case_statistics.py --cases N``. Filling takes minutes: facts are written as the panel writes
them.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.core.encoding import sha256_hex
from holdfast.ports.case_store import CaseFacts, CaseFilter, CaseMarks, LaneMark, StoredEvent
from holdfast.review.events import SYSTEM
from holdfast.review.facts import rounded
from holdfast.verifier.lanes import LANES
from tests.helpers.review import Clinic

LABELS = [(label, sha256_hex(f"{label}/{number}".encode())) for label in ("large", "small") for number in range(6)]
"""Two labels, each of which came to mean six artifacts."""
PROVEN = ("bytes", "route", "settlement")


def fill(clinic: Clinic, count: int) -> None:
    """Rows, facts, lanes and marks of cases in four queues."""
    chance = random.Random(1)  # the same cases in every run
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
                name = str(uuid.UUID(int=place + 2**40, version=4))
                changes = {"case": name, "run": name, "queue": f"queue-{place % 4}", "opened_seq": seq, "bundle": None}
                rows.append(dataclasses.replace(row, subject=f"Claim {place}", **changes))
            writer.append(events)
            writer.put_rows(rows)
            writer.show({item.case: shown for item in rows})
            for item in rows:
                put_facts(writer, item, chance)
            writer.put_marks({item.case: CaseMarks(cleared=chance.randint(0, 1)) for item in rows})


def put_facts(writer: Any, row: Any, chance: random.Random) -> None:
    """What the panel keeps beside a row."""
    label, artifact = chance.choice(LABELS)
    at = f"2026-01-{1 + row.opened_seq % 28:02d}T12:00:00.000Z"
    writer.put_facts(
        CaseFacts(row.case, row.queue, row.opened_seq, row.opened_at, at, label, artifact, "stub", label, None)
    )
    writer.put_lanes(
        row.case,
        [
            LaneMark(name, "proven", rounded(int(chance.lognormvariate(8, 1))))
            if name in PROVEN
            else LaneMark(name, "unknown")
            for name in LANES
        ],
    )


def worst_ms(act: Callable[[], object]) -> float:
    """The slowest of five."""
    slowest = 0.0
    for _ in range(5):
        began = time.perf_counter()
        act()
        slowest = max(slowest, time.perf_counter() - began)
    return slowest * 1000


def measure(count: int, folder: Path) -> None:
    """Fill a store and ask."""
    clinic = Clinic(SQLCaseStore(f"sqlite:///{folder / 'statistics.sqlite'}"))
    clinic.queue()
    began = time.perf_counter()
    fill(clinic, count)
    print(f"fill with {count} cases and their facts  {count / (time.perf_counter() - began):8.0f} /s")
    for queue, wanted in ((None, 500), ("queue-1", 150)):
        spent = worst_ms(lambda queue=queue: clinic.desk.statistics(SYSTEM, queue))
        print(f"statistics of {queue or 'all':38} {spent:7.1f} ms   wanted < {wanted}")
    page = CaseFilter(queue="queue-1", newest_first=True)
    filters: dict[str, dict[str, Any]] = {
        "lane and state": {"lane": "settlement", "lane_state": "proven"},
        "lane and a state that none has": {"lane": "settlement", "lane_state": "refuted"},
        "released early": {"released_early": True},
        "flagged": {"flagged": True},
        "stale": {"stale": True},
        "subject": {"subject_prefix": "Claim 99"},
        "a subject that none has": {"subject_prefix": "Loan"},
        "opened since": {"opened_since": "2026-01-01T00:00:00.000Z"},
    }
    for name, filter_ in filters.items():
        which = dataclasses.replace(page, **filter_)
        spent = worst_ms(lambda which=which: clinic.desk.cases(SYSTEM, which))
        print(f"page of 50: {name:40} {spent:7.1f} ms   wanted < 150")
    clinic.store.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hf-statistics-") as folder:
        measure(options.cases, Path(folder))


if __name__ == "__main__":
    main()
