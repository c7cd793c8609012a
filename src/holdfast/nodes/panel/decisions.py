"""What people decided, into the log and into the evidence (``spec/case.md`` §9, ``spec/statement.md`` §4.3).

Rules:

* An act waits in the journal until its signed statement stands in the log, over restarts and silent logs. Nobody waits
  for that: the act counted when it was done.
* Signing and asking the log happen on threads of their own, so a log that is silent holds up no desk.
* A panel that trust does not admit signs nothing: full nodes would refute its statements for good.
* Evidence from the gateway knows nothing of decisions. Before it is taken in, those of its case that stand in the log
  are added, so that the ``judgement`` lane speaks of them.

Not covered: what a statement says (``review.decisions``), and whether it was right to decide so.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable

from holdfast.core import canonical
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.panel.review import Review
from holdfast.ports.case_store import CaseReader, CaseRow
from holdfast.ports.clock import Clock
from holdfast.review.decisions import DecisionSigner, EntryLog, LoggedDecisions, SignedDecision, with_decisions
from holdfast.review.events import SYSTEM, parse_event
from holdfast.review.outbox import WaitingAct

_LOG = logging.getLogger("holdfast.panel.decisions")
AT_ONCE = 50
"""Acts looked at in one turn."""
TURN_S = 0.5
"""Between two turns."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Pauses while the log is silent or trust does not admit this panel."""


class Decisions:
    """Keeps the log up with the journal. ``attester`` is the digest of the panel's key document; ``entries`` makes the
    log's blocking side for an event loop."""

    def __init__(
        self,
        review: Review,
        signer: DecisionSigner,
        attester: str,
        entries: Callable[[asyncio.AbstractEventLoop], EntryLog],
        trust: Callable[[], Trust],
        clock: Clock,
    ) -> None:
        self._review = review
        self._signer = signer
        self._attester = attester
        self._entries = entries
        self._trust = trust
        self._clock = clock
        self.on_logged: Callable[[str], None] = lambda _run: None
        """Told the run of each act that stands in the log now."""
        self.trouble = ""
        """Why decisions wait, or empty."""

    async def work(self) -> None:
        """Log what waits, for ever."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self.turn()
            except UnavailableError as error:
                if not self.trouble:
                    _LOG.warning("decisions wait: %s", error, extra={"code": error.code})
                self.trouble = error.message
                await self._clock.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            self.trouble, pause = "", FIRST_PAUSE_S
            await self._clock.sleep(TURN_S)

    async def turn(self) -> int:
        """Log what can be logged now; returns how much that was. Raises :class:`UnavailableError` while nothing can."""
        acts = await self._review.call(self._review.desk.waiting, SYSTEM, limit=AT_ONCE)
        if not acts:
            return 0
        await self._review.call(self._require_admission)
        log = LoggedDecisions(self._signer, self._entries(asyncio.get_running_loop()), self._clock)
        logged = 0
        for act in acts:
            try:
                signed = await asyncio.to_thread(log.log, act)
            except UnavailableError:
                raise
            except HoldfastError as error:
                _LOG.error("event %d cannot be logged: %s", act.seq, error, extra={"code": error.code})
                continue
            if signed is not None:
                await self._review.call(self._note, act, signed)
                self.on_logged(act.run)
                self._review.notify()
                logged += 1
        return logged

    def _note(self, act: WaitingAct, signed: SignedDecision) -> None:
        """On the desk's thread: keep what opens the statement, and note that it stands in the log. A crash before that
        finds the same statement in the log again."""
        with self._review.store.write() as writer:
            writer.put_blobs([(act.case, signed.digest, _kept(signed, self._clock.now()))])
        self._review.desk.note_statement(act.seq, signed.digest)

    def _require_admission(self) -> None:
        """On the desk's thread, which owns the trust file."""
        admission, now = self._trust().admission(self._attester), self._clock.now()
        why = "unknown-key" if admission is None else admission.refusal(now, now)
        if why is not None:
            raise UnavailableError(
                "panel.not_admitted",
                f"trust does not admit this panel's key ({why}); decisions stand in the journal and in no log",
                hint="put the panel's key document into trust",
            )

    def added(self, reader: CaseReader, row: CaseRow, raw: bytes) -> bytes:
        """A run's bundle with the decisions about a case that stand in the log. On the desk's thread."""
        statements = [
            parse_event(stored.raw).body["statement"]
            for stored in reader.events_of(row.case)
            if stored.kind == "statement_logged"
        ]
        kept = [blob for blob in (reader.blob(row.case, digest) for digest in statements) if blob is not None]
        items = [item for blob in kept for item in canonical.decode_signed(blob)["items"]]
        return with_decisions(raw, (), self._clock.now(), items) if items else raw


def _kept(signed: SignedDecision, at: dt.datetime) -> bytes:
    """What a bundle needs of a statement, as it is kept beside the journal."""
    return canonical.encode_known({"items": signed.items(at)})
