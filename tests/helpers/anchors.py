"""What anchors a case world's journals, as the panel's main module makes it, over the world's log."""

from __future__ import annotations

import asyncio

from holdfast.adapters.storage_files import FileStorage
from holdfast.errors import RefusedError, UnavailableError
from holdfast.nodes.panel.anchors import Anchors, CaseChain, PeopleChain
from holdfast.review.anchors import HeadSigner
from tests.helpers.case_world import CaseWorld
from tests.helpers.decisions import PANEL, PANEL_DOCUMENT
from tests.helpers.gateway import MemoryLog
from tests.helpers.gateway_world import digest_of
from tests.helpers.people import Counted

EVERY_S = 5


class Entries:
    """Implements ``review.decisions.EntryLog`` over a log that keeps each statement once, as real ones do."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.silent = False
        self.refuses = False
        self.forgets_to_answer = False
        self.handed_in = 0

    def index_of(self, digest: str) -> int | None:
        if self.silent:
            raise UnavailableError("http.unreachable", "silent")
        digests = [digest_of(entry).hex() for entry in self._log.entries]
        return digests.index(digest) if digest in digests else None

    def append(self, entry: bytes) -> int:
        if self.silent:
            raise UnavailableError("http.unreachable", "silent")
        if self.refuses:
            raise RefusedError("log.refused", "the log refused the entry")
        self.handed_in += 1
        (answer,) = asyncio.run(self._log.append([entry]))
        assert answer.index is not None
        if self.forgets_to_answer:
            raise UnavailableError("http.timeout", "the answer was lost")
        return answer.index


def keeper(world: CaseWorld, entries: Entries | None = None) -> tuple[Anchors, Entries]:
    """What anchors the world's journals, as the panel's main module makes it."""
    entries = entries or Entries(world.world.log)
    shared = entries
    made = Anchors(
        world.review,
        (CaseChain(world.review), PeopleChain(world.house)),
        HeadSigner(PANEL, PANEL_DOCUMENT.digest),
        PANEL_DOCUMENT.digest,
        lambda _: shared,
        lambda: world.trust,
        world.world.clock,
        FileStorage(world.folder / "panel"),
        Counted(),
        every_s=EVERY_S,
    )
    return made, entries
