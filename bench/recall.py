"""Recall: one refuted case and everything that relied on it, in one transaction on disk.

Figure wanted: 10,000 dependants recalled in < 1 s. Two shapes: all of them rely on the one case, and a chain in which
each relies on the one before it. No peer: nothing that pip installs recalls. ``python bench/recall.py --cases N``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from figures import at_most, figure  # beside this file

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.review.desk import Opening
from holdfast.review.events import SYSTEM
from tests.helpers.review import AUDITOR, Clinic


def open_cases(clinic: Clinic, count: int, queue: str = "default") -> list[str]:
    """Open so many cases, in transactions of a thousand."""
    found: list[str] = []
    while len(found) < count:
        batch = min(1000, count - len(found))
        openings = [Opening(str(uuid.UUID(int=len(found) + place, version=4)), queue) for place in range(batch)]
        found += [case.id for case in clinic.desk.open_many(SYSTEM, openings)]
    return found


def measure(shape: str, count: int, folder: Path) -> None:
    """Fill a store, refute the first case, and take the time."""
    clinic = Clinic(SQLCaseStore(f"sqlite:///{folder / f'{shape}.sqlite'}"))
    clinic.queue()
    began = time.perf_counter()
    first = clinic.case(stage="settled")
    cases = open_cases(clinic, count)
    figure(f"open {count:,} cases", count / (time.perf_counter() - began), "cases/s")
    bases = [first, *cases] if shape == "chain" else [first] * count
    with clinic.store.write() as writer:
        for base, target in zip(bases, cases, strict=False):
            writer.add_dependant(base, "case", target)
    clinic.pass_time(1)
    began, worked = time.perf_counter(), time.process_time()
    clinic.note(first, "refuted")
    elapsed, worked = time.perf_counter() - began, time.process_time() - worked
    states = {state: number for (_, state), number in _counts(clinic).items()}
    figure(f"recall it and its dependants ({shape})", elapsed, "s", at_most(1), f"({worked:.2f} s of one core)")
    print(f"    now {states}")
    began = time.perf_counter()
    events = clinic.desk.audit(AUDITOR).events
    figure(f"audit of {events:,} events", events / (time.perf_counter() - began), "events/s")
    clinic.store.close()


def _counts(clinic: Clinic) -> dict[tuple[str, str], int]:
    with clinic.store.read() as reader:
        return reader.counts()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hf-recall-") as folder:
        for shape in ("star", "chain"):
            measure(shape, options.cases, Path(folder))


if __name__ == "__main__":
    main()
