"""What people decided, into the log and into the evidence (``spec/case.md`` §9, ``spec/statement.md`` §4.3).

Rules:

* An act waits in the journal until its signed statement stands in the log, over restarts and silent logs. Nobody waits
  for that: the act counted when it was done.
* Acts of one case are logged in order. A case whose run is open, or whose entry the log refuses, holds up no other.
* Signing and asking the log happen on threads of their own, so a log that is silent holds up no desk.
* A panel that trust does not admit signs nothing: full nodes would refute its statements for good.
* A decision is in its case's evidence before the journal says that it was logged: first its statement alone, so that
  the ``judgement`` lane says that somebody decided; and once a final round has judged that statement, what opens it and
  what proves it. A crash in between does it again and adds nothing twice.
* What is added moves no lane but ``judgement``. Where it would, it is left out and said.

Not covered: what a statement says (``review.decisions``), and whether it was right to decide so.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.core import canonical
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError
from holdfast.nodes.panel.review import Review
from holdfast.ports.clock import Clock
from holdfast.ports.storage import Storage
from holdfast.review.decisions import (
    DecisionSigner,
    EntryLog,
    LoggedDecisions,
    SignedDecision,
    add_items,
    check_settled,
    entry_of,
)
from holdfast.review.events import SYSTEM
from holdfast.review.outbox import WaitingAct
from holdfast.review.queues import appraisal_policy

_LOG = logging.getLogger("holdfast.panel.decisions")
CURSOR_FILE = "decisions.json"
"""Up to which event of the journal every logged decision is in the evidence with its proof."""
AT_ONCE = 50
"""Acts, or events of the journal, looked at in one go."""
TURN_S = 0.5
"""Between two turns."""
AGAIN_S, REFUSED_S = 2.0, 15.0
"""How long a case rests whose run is open, and one whose decision the log or the evidence refuses."""
UNDATED_TURNS = 20
"""So often a quorum's date on a decision that is final already is waited for."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Pauses while the log is silent or trust does not admit this panel."""


class Settled(Protocol):
    """Finds out how an entry became final (``client.settled``)."""

    async def find(self, digest: str) -> list[dict[str, Any]] | None:
        """Journal items that show it, each without its time; None while no final round covers it."""
        ...


@dataclass(slots=True)
class _Logged:
    """A decision whose statement stands in the log and whose proof is still to come."""

    seq: int
    """Number of its ``statement_logged`` event."""
    case: str
    digest: str
    rest_until: float = 0.0
    undated: int = 0


class Decisions:
    """Keeps the log up with the journal, and the evidence with the log. ``attester`` is the digest of the panel's key
    document; ``entries`` makes the log's blocking side for an event loop."""

    def __init__(
        self,
        review: Review,
        signer: DecisionSigner,
        attester: str,
        entries: Callable[[asyncio.AbstractEventLoop], EntryLog],
        settled: Settled,
        trust: Callable[[], Trust],
        clock: Clock,
        storage: Storage,
    ) -> None:
        self._review = review
        self._signer = signer
        self._attester = attester
        self._entries = entries
        self._settled = settled
        self._trust = trust
        self._clock = clock
        self._storage = storage
        self._read = self._done = _parse_cursor(storage.load(CURSOR_FILE))
        self._open: dict[str, _Logged] = {}
        self._resting: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self.trouble = ""
        """Why decisions wait, or empty."""

    async def work(self) -> None:
        """Log what waits and show what is final, for ever."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self.turn()
            except UnavailableError as error:
                self._say(error)
                await self._clock.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            self.trouble, pause = next(iter(self._refused.values()), ""), FIRST_PAUSE_S
            self._review.decisions_wait = self.trouble
            await self._clock.sleep(TURN_S)

    def _say(self, error: HoldfastError) -> None:
        if self.trouble != error.message:
            _LOG.warning("decisions wait: %s", error, extra={"code": error.code})
        self.trouble = self._review.decisions_wait = error.message

    async def turn(self) -> int:
        """Log what can be logged now, and show what has become final since; returns how much that was. Raises
        :class:`UnavailableError` while nothing can be done."""
        try:
            return await self.log_waiting()
        finally:
            await self.show_settled()

    # Into the log

    async def log_waiting(self) -> int:
        """Log every act that can be logged now; returns how many that were."""
        logged, after = 0, 0
        held_up: set[str] = set()
        log: LoggedDecisions | None = None
        while acts := await self._review.call(self._review.desk.waiting, SYSTEM, limit=AT_ONCE, after=after):
            if log is None:
                await self._review.call(self._require_admission)
                log = LoggedDecisions(self._signer, self._entries(asyncio.get_running_loop()), self._clock)
            for act in acts:
                resting = self._resting.get(act.case, 0.0) > self._clock.monotonic()
                if resting or act.case in held_up or not await self._log(log, act):
                    held_up.add(act.case)
                else:
                    logged += 1
            after = acts[-1].seq
        return logged

    async def _log(self, log: LoggedDecisions, act: WaitingAct) -> bool:
        """Whether an act stands in the log now."""
        try:
            signed = await asyncio.to_thread(log.log, act)
            if signed is not None:
                await self._review.call(self._note, act, signed)
        except UnavailableError:
            raise
        except HoldfastError as error:
            _LOG.error("event %d is not logged: %s", act.seq, error, extra={"code": error.code})
            self._refused[act.case] = error.message
            self._resting[act.case] = self._clock.monotonic() + REFUSED_S
            return False
        if signed is None:
            self._resting[act.case] = self._clock.monotonic() + AGAIN_S
            return False
        self._refused.pop(act.case, None)
        self._resting.pop(act.case, None)
        self._review.notify()
        return True

    def _note(self, act: WaitingAct, signed: SignedDecision) -> None:
        """On the desk's thread: keep what opens the statement, show that it stands in the log, and note it. A crash
        before the last of these finds the same statement in the log again."""
        desk, now = self._review.desk, self._clock.now()
        with self._review.store.write() as writer:
            writer.put_blobs([(act.case, signed.digest, _kept(signed, self._clock.now()))])
        shown = add_items(desk.evidence(SYSTEM, act.case), signed.closed_items(now), now)
        desk.note_bundle(SYSTEM, act.case, shown)
        desk.note_statement(act.seq, signed.digest)

    def _require_admission(self) -> None:
        """On the desk's thread, which owns the trust file."""
        require_admission(self._trust(), self._attester, self._clock.now())

    # Into the evidence

    async def show_settled(self) -> int:
        """Put what opens and proves logged decisions into the evidence of their cases, as soon as a final round covers
        them; returns how many that were."""
        await self._read_journal()
        shown, now = 0, self._clock.monotonic()
        for logged in [one for one in self._open.values() if one.rest_until <= now]:
            try:
                if await self._show(logged):
                    del self._open[logged.digest]
                    shown += 1
            except UnavailableError as error:
                _LOG.info("decision %s is not seen settled: %s", logged.digest, error, extra={"code": error.code})
                logged.rest_until = now + AGAIN_S
            except HoldfastError as error:
                _LOG.error("decision %s is not shown: %s", logged.digest, error, extra={"code": error.code})
                logged.rest_until = now + REFUSED_S
        if shown:
            self._review.notify()
        done = min((one.seq - 1 for one in self._open.values()), default=self._read)
        if done != self._done:
            self._done = done
            await self._review.call(self._storage.save, CURSOR_FILE, json.dumps({"after": done}).encode())
        return shown

    async def _read_journal(self) -> None:
        """Take note of the decisions that were logged since."""
        while events := await self._review.call(self._review.desk.journal, SYSTEM, self._read, AT_ONCE * 10):
            for event in events:
                if event.kind == "statement_logged" and event.case is not None:
                    logged = _Logged(event.seq, event.case, str(event.body["statement"]))
                    self._open[logged.digest] = logged
            self._read = events[-1].seq

    async def _show(self, logged: _Logged) -> bool:
        """Whether a decision is proven in its case's evidence now, or never will be."""
        entry = await self._review.call(self._entry, logged)
        if entry is None:
            return True
        found = await self._settled.find(entry)
        return found is not None and await self._review.call(self._open_up, logged, found)

    def _entry(self, logged: _Logged) -> str | None:
        """On the desk's thread: how the log knows a statement; None when the evidence does not hold it."""
        digest = entry_of(self._review.desk.evidence(SYSTEM, logged.case), logged.digest)
        if digest is None:
            _LOG.error("the evidence of case %s does not show decision %s", logged.case, logged.digest)
        return digest

    def _open_up(self, logged: _Logged, found: list[dict[str, Any]]) -> bool:
        """On the desk's thread: add what was found, when it proves the decision and speaks of nothing else."""
        desk, now = self._review.desk, self._clock.now()
        with self._review.store.read() as reader:
            kept = reader.blob(logged.case, logged.digest)
        if kept is None:
            raise RefusedError("decision.evidence", "what opens it was not kept")
        opening = [item for item in canonical.decode_signed(kept)["items"] if item["kind"] == "decision"]
        before = desk.evidence(SYSTEM, logged.case)
        after = add_items(before, [*(_undated(item) for item in opening), *found], now)
        policy = appraisal_policy(desk.case(SYSTEM, logged.case).policy)
        final, dated = check_settled(before, after, logged.digest, self._trust(), policy, now)
        if not final:
            return False
        if not dated and logged.undated < UNDATED_TURNS:
            logged.undated += 1
            return False
        desk.note_bundle(SYSTEM, logged.case, after)
        return True


def require_admission(trust: Trust, attester: str, now: dt.datetime) -> None:
    """Refuse to sign as a panel that trust does not admit now (``panel.not_admitted``)."""
    admission = trust.admission(attester)
    why = "unknown-key" if admission is None else admission.refusal(now, now)
    if why is None and admission is not None and "panel" not in admission.key_document.roles:
        why = "wrong-role"
    if why is not None:
        raise UnavailableError(
            "panel.not_admitted",
            f"trust does not admit this panel's key ({why}); what it does stands in its journals and in no log",
            hint="put the panel's key document into trust",
        )


def _kept(signed: SignedDecision, at: Any) -> bytes:
    """What a bundle needs of a statement, as it is kept beside the journal."""
    return canonical.encode_known({"items": signed.items(at)})


def _undated(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "at"}


def _parse_cursor(raw: bytes | None) -> int:
    """The stored cursor; the beginning where there is none. Raises ``panel.cursor``."""
    after = canonical.decode_object(raw).get("after") if raw is not None else 0
    if not isinstance(after, int) or isinstance(after, bool) or after < 0:
        raise MalformedError("panel.cursor", f"{CURSOR_FILE} is damaged: it says which decisions are proven")
    return after
