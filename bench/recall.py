"""Recall: everything that relied on what turned out wrong, in one transaction on disk.

Figures wanted, each for 10,000 cases in < 1 s, from the moment it is known to the last case that says RECALLED: the
dependants of one refuted case, all of them on the one case or each on the one before it; the cases that a revoked key
reaches, and those that no quorum stands behind any more; the cases whose statements one superseding round refuted.

``python bench/recall.py --cases N``.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.core import canonical, rounds
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.trust import Trust
from holdfast.review.events import SYSTEM
from holdfast.review.intake import Opening
from tests.helpers.network import Network, at
from tests.helpers.review import AUDITOR, Clinic


def open_cases(clinic: Clinic, count: int, queue: str = "default") -> list[str]:
    """Open so many cases, in transactions of a thousand."""
    found: list[str] = []
    while len(found) < count:
        batch = min(1000, count - len(found))
        openings = [Opening(str(uuid.UUID(int=len(found) + place, version=4)), queue) for place in range(batch)]
        found += [case.id for case in clinic.desk.open_many(SYSTEM, openings)]
    return found


def dependants(clinic: Clinic, shape: str, count: int) -> Callable[[], object]:
    """A case and those that rely on it; returns what refutes it."""
    first, cases = clinic.case(stage="settled"), open_cases(clinic, count)
    bases = [first, *cases] if shape == "chain" else [first] * count
    with clinic.store.write() as writer:
        for base, target in zip(bases, cases, strict=False):
            writer.add_dependant(base, "case", target)
    clinic.pass_time(1)
    return lambda: clinic.note(first, "refuted")


def let_through(clinic: Clinic, count: int) -> None:
    """Cases that stand as one real one does: CLEAR, resting on the same in trust, each on statements of its own. Their
    rows are copies, and nothing here reads a journal of theirs but the first event."""
    real = clinic.case(stage="settled")
    cases = open_cases(clinic, count)
    with clinic.store.read() as reader:
        row, shown, reliances = reader.row(real), reader.shown([real])[real], reader.reliances()
    if row is None or row.stands != "CLEAR":
        raise SystemExit("the case should be clear")
    alike = {name: getattr(row, name) for name in ("stands", "reasons", "policy", "vector", "trust", "clear_until")}
    alike |= {"relied": 1, "due_at": row.due_at}
    until = {name: time_encode(at(1)) if name in nodes() else "9999-12-31T23:59:59.999Z" for name in reliances}
    with clinic.store.write() as writer:
        writer.update_rows([{"case": case, **alike} for case in cases])
        writer.show(dict.fromkeys(cases, shown))
        writer.rest(reliances, dict.fromkeys(cases, until))
        writer.index_evidence([(case, statement_of(place)) for place, case in enumerate(cases)])


def statement_of(place: int) -> str:
    """Digest of a stand-in for the statement of one case."""
    return sha256_hex(b"statement %d" % place)


def nodes() -> set[str]:
    """Digests of the key documents whose word was dated."""
    network = Network()
    return {network.gateway_document.digest, network.log_document.digest}


def revoking(*places: int) -> Trust:
    """Trust in which nodes were revoked: 0 is the gateway, 2 to 5 are full nodes."""
    network, moment = Network(), time_encode(at(0.5))
    listed: list[dict[str, Any]] = canonical.decode(network.trust_version())["nodes"]
    for place in places:
        listed[place]["revoked"] = {"at": moment, "suspect_since": moment, "reason": "stolen"}
    return network.trust(nodes=listed)


def revoked(clinic: Clinic, count: int, *places: int) -> Callable[[], object]:
    """Cases that are let through; returns the turn in which the panel finds another trust."""
    let_through(clinic, count)
    clinic.desk.tick(limit=1)
    clinic.trusted = revoking(*places)
    return lambda: clinic.desk.tick(limit=1)


def superseded(clinic: Clinic, count: int) -> Callable[[], object]:
    """Cases that are let through; returns a round that refutes the statement of each."""
    let_through(clinic, count)
    network = Network()
    listed = [rounds.VerdictEntry(place, bytes.fromhex(statement_of(place)), "refuted:late") for place in range(count)]
    blob = rounds.verdict_blob(listed)
    digests = {"verdict_root": rounds.verdict_root(listed), "blob_id": rounds.blob_id(blob)}
    candidate = dataclasses.replace(network.candidate(), number=2, **digests)
    final = [rounds.parse_finality_message(node.finality(network.domain, candidate)) for node in network.full_nodes]
    return lambda: clinic.desk.take_verdicts(SYSTEM, candidate, final, blob)


STORIES: dict[str, Callable[[Clinic, int], Callable[[], object]]] = {
    "dependants of one refuted case, side by side": lambda clinic, count: dependants(clinic, "star", count),
    "the same, each relying on the one before": lambda clinic, count: dependants(clinic, "chain", count),
    "cases that rested on one revoked key": lambda clinic, count: revoked(clinic, count, 0),
    "cases left without a quorum by two revoked keys": lambda clinic, count: revoked(clinic, count, 2, 3),
    "cases whose statements one round refuted": superseded,
}


def measure(name: str, count: int, folder: Path, number: int) -> bool:
    """One story; returns whether the figure is met."""
    clinic = Clinic(SQLCaseStore(f"sqlite:///{folder / f'{number}.sqlite'}"))
    clinic.queue()
    act = STORIES[name](clinic, count)
    began, worked = time.perf_counter(), time.process_time()
    act()
    elapsed, worked = time.perf_counter() - began, time.process_time() - worked
    with clinic.store.read() as reader:
        states = {state: found for (_, state), found in reader.counts().items()}
    if states.get("RECALLED", 0) < count:
        raise SystemExit(f"{name}: not every case was recalled: {states}")
    met = "met" if elapsed < 1 else "missed"
    core = f"({worked:.2f} s of one core)"
    print(f"{count} {name:48} {elapsed:6.2f} s   wanted < 1: {met:6} {core}", flush=True)
    if "refuted case" in name:
        began = time.perf_counter()
        events = clinic.desk.audit(AUDITOR).events
        print(f"    audit of the {events} events after it {events / (time.perf_counter() - began):8.0f} /s")
    clinic.store.close()
    return elapsed < 1


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hf-recall-") as folder:
        for number, name in enumerate(STORIES):
            measure(name, options.cases, Path(folder), number)


if __name__ == "__main__":
    main()
