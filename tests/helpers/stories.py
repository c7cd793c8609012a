"""Evidence of several runs at every stage, and of what can go wrong with it later; all under one network's trust."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from holdfast.core import rounds
from holdfast.core.bundles import build_bundle
from tests.helpers.network import RUN, Network, _item, at

RUNS = (RUN, "019b7651-c000-7000-8000-0123456789ab", "019b7651-c000-7000-8000-0123456789ac")
"""Runs that can have a case."""
CUTS = {"asked": 2, "answered": 4}
"""Items of the journal that are known by then."""


@dataclass
class RunNetwork(Network):
    """The network as one run of several meets it. Nothing is disclosed of it."""

    run: str = RUN

    def route(self, **changes: Any) -> bytes:
        """The route's payload, of this run."""
        return super().route(**({"run": self.run} | changes))

    def execution(self, **changes: Any) -> bytes:
        """The closing execution's payload, of this run."""
        return super().execution(**({"run": self.run} | changes))

    def story(self, stage: str) -> list[dict[str, Any]]:
        """The journal at a stage: ``asked``, ``answered``, ``logged``, ``settled``, ``refuted`` (by its first round),
        ``superseded`` (by a later one) or ``forked`` (two contents of its round were called final)."""
        waits = stage in {"asked", "answered", "logged"}
        items = [item for item in self.journal(disclosed=False, finality=0 if waits else 4) if item["kind"] != "mark"]
        if stage == "superseded":
            items += self._superseding()
        if stage == "forked":
            twin = self.candidate(previous=bytes.fromhex("11" * 32))
            items.append(self._final(twin))
        return items[: CUTS.get(stage)]

    def _final(self, candidate: rounds.Candidate) -> dict[str, Any]:
        messages = [node.finality(self.domain, candidate) for node in self.full_nodes]
        return _item("finality", 6, round=candidate.to_json(), messages=messages)

    def _superseding(self) -> list[dict[str, Any]]:
        """A second round that says otherwise of the execution."""
        candidate, entry, _ = self.superseding_round()
        about = {"index": entry.index, "digest": entry.statement_digest.hex(), "code": entry.code}
        verdict = _item("verdict", 6, number=2, position=0, size=1, proof=[], **about)
        return [self._final(candidate), verdict]

    def superseding_round(self) -> tuple[rounds.Candidate, rounds.VerdictEntry, bytes]:
        """Round 2 with one verdict, against the execution; the verdict, and the round's blob."""
        entry = rounds.VerdictEntry(3, bytes.fromhex(self.digests()[1]), "refuted:late")
        blob = rounds.verdict_blob([entry])
        digests = {"verdict_root": rounds.verdict_root([entry]), "blob_id": rounds.blob_id(blob)}
        return self.candidate(number=2, **digests), entry, blob

    def messages(self, candidate: rounds.Candidate) -> list[rounds.FinalityMessage]:
        """What every full node says of a round, as a reader has it."""
        return [rounds.parse_finality_message(node.finality(self.domain, candidate)) for node in self.full_nodes]


@functools.cache
def network_of(run: str, verdict: str = "ok") -> RunNetwork:
    """The network of one run."""
    return RunNetwork(verdict=verdict, run=run)


@functools.lru_cache(maxsize=512)
def evidence_of(run: str, stage: str, seconds: float) -> bytes:
    """A bundle of a run at a stage, exported ``seconds`` after the question."""
    network = network_of(run, "refuted:signature" if stage == "refuted" else "ok")
    return build_bundle(run, at(seconds), network.story(stage))
