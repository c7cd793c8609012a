"""How far runs have come in the secure layer, as whoever takes money for them has to know (``spec/collection.md`` §2).

It is this gateway's own appraisal of its own runs, with its trust, at the time of asking: the same that it shows to
whoever may read them. A run of another gateway is not judged here.
"""

from __future__ import annotations

from typing import TypeAlias

from holdfast.core.collection import Standing
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.gateway.evidence import EvidenceDesk
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.ledger import Ledger
from holdfast.nodes.gateway.turn import parse_opening
from holdfast.verifier.appraisal import Appraisal

Generation: TypeAlias = tuple[int, int, str]
"""What has to change before a run's standing can: entries in final rounds, the newest superseding verdict, trust. The
same in every process."""
_ASIDE = ("payment", "judgement")
"""Lanes that say nothing of whether the run is as it was told."""


class Standings:
    """Judges runs."""

    def __init__(self, evidence: EvidenceDesk, indexer: Indexer, ledger: Ledger) -> None:
        self._evidence = evidence
        self._indexer = indexer
        self._ledger = ledger

    async def generation(self) -> Generation:
        """Changes whenever the standing of any run may have."""
        trust, _ = self._evidence.known
        superseded = await self._indexer.call(self._indexer.index.last_event, "superseded", None)
        return await self._covered(), superseded.position if superseded is not None else 0, trust

    async def _covered(self) -> int:
        final = await self._indexer.call(self._indexer.index.last_event, "final", None)
        return final.size if final is not None else 0

    async def of(self, run: str) -> Standing | None:
        """The standing of a run; None where it is not this gateway's."""
        row = await self._indexer.run(run)
        if row is None:
            return None
        try:
            opening = parse_opening(self._ledger.read(row.open_place).record.header)
            if opening.settlement == "private":
                return "silent"
            if row.execution_index is None or await self._covered() <= row.execution_index:
                return "pending"
            appraisal, _ = await self._evidence.view(row)
        except UnavailableError:
            return "pending"  # a proof or a verdict could not be fetched: nothing is known that was not before
        except HoldfastError as error:
            if error.code != "run.expired":
                raise
            return "pending"
        return standing_of(appraisal)


def standing_of(appraisal: Appraisal) -> Standing:
    """What an appraisal says about whether money may be taken for its run."""
    if any(lane.state == "refuted" for name, lane in appraisal.lanes.items() if name not in _ASIDE):
        return "refuted"
    return "final" if appraisal.lanes["settlement"].state == "proven" else "pending"
