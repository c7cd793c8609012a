"""The full node as a whole: its parts, its background work, and what it shows.

One :class:`FullNode` follows any number of logs. For each there is a follower, a settler and a listener, each stepped
by its own task (:meth:`FullNode.run`) or by a simulation that calls the ``step`` methods itself. They share the
journal, which is the only thing that decides about signing.

Rules:

* Trust is read from a file, accepted only forward (``spec/trust.md`` §2), and durable before it is used. When
  admissions change, the entries they touch are checked again.
* Whatever the world does (silent log, silent chain, lying peers) is a sentence in the status, and work goes on. A
  failing disk ends the work: the node goes on answering, not ready, until it is restarted.

Not covered: HTTP (``app.py``) and where the parts come from (``__main__.py``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.client.full import MAX_PAGE, FullNodeReader
from holdfast.client.prover import ProverClient
from holdfast.core import evm
from holdfast.core.encoding import sha256_hex
from holdfast.core.keys import KeyDocument
from holdfast.core.trust import Trust, TrustVersion, parse_trust_chain, verify_trust
from holdfast.errors import HoldfastError, UndecidedError, UsageError
from holdfast.nodes.full.archive import Archive, RoundRecord
from holdfast.nodes.full.follow import Follower, LogSource
from holdfast.nodes.full.journal import Journal
from holdfast.nodes.full.proofs import ProofDesk
from holdfast.nodes.full.registry import Voter
from holdfast.nodes.full.settle import SettleLimits, Settler
from holdfast.nodes.full.witness import Witness
from holdfast.ports.chain import Chain
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics
from holdfast.ports.prover import ProofChecker
from holdfast.ports.registry import Registry
from holdfast.ports.signer import Signer
from holdfast.ports.storage import Committer, Record, Storage
from holdfast.verifier.checks import CheckPolicy

_LOG = logging.getLogger("holdfast.full")
_PAUSE_AFTER_BUG_S = 1.0

TrustFile = Callable[[], bytes | None]
"""Reads the trust file; None when there is none."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Pauses between two steps of each kind, in seconds."""

    log_s: float = 0.25
    chain_s: float = 0.4
    peers_s: float = 1.0
    trust_s: float = 2.0
    registry_s: float = 1.0
    proofs_s: float = 0.5


@dataclass(frozen=True, slots=True)
class ProofSettings:
    """What proofs are checked with: whom to ask for them, a verifier where there is one, and reference strings of
    ceremonies by digest."""

    provers: Sequence[ProverClient]
    checker: ProofChecker | None
    ceremonies: Callable[[str], bytes | None]


class FullNode:
    """See the module. Make it, :meth:`start` it, then :meth:`run` it or step it."""

    def __init__(
        self,
        document: KeyDocument,
        *,
        vote_signer: Signer,
        cosignature_signer: Signer,
        logs: Mapping[str, LogSource],
        chain: Chain,
        storage: Storage,
        committer: Committer,
        records: Callable[[], Iterable[Record]],
        peers: Sequence[FullNodeReader],
        clock: Clock,
        trust_file: TrustFile,
        metrics: Metrics,
        trust_pin: str | None = None,
        policy: CheckPolicy | None = None,
        limits: SettleLimits | None = None,
        intervals: Intervals | None = None,
        registry: Registry | None = None,
        proofs: ProofSettings | None = None,
    ) -> None:
        _require_key(document, vote_signer)
        _require_key(document, cosignature_signer)
        self.document = document
        self.address = evm.address_of(vote_signer.key.public)
        self.journal = Journal(logs, committer, vote_signer)
        self.archive = Archive(storage)
        self.failure = ""
        """Why the work has ended; empty while it goes on."""
        self.trust_problem = "no trust file was read yet"
        self._records = records
        self._chain = chain
        self._clock = clock
        self._metrics = metrics
        self._trust_file = trust_file
        self._trust_pin = trust_pin
        self._trust: Trust | None = None
        self._trust_seen = ""
        self._versions: tuple[TrustVersion, ...] = ()
        self._intervals = intervals or Intervals()
        self.followers = {
            origin: Follower(origin, log=log, journal=self.journal, clock=clock, trust=self.trust, policy=policy)
            for origin, log in logs.items()
        }
        self.settlers = {
            origin: Settler(
                follower,
                address=self.address,
                chain=chain,
                journal=self.journal,
                archive=self.archive,
                peers=peers,
                clock=clock,
                trust=self.trust,
                limits=limits,
            )
            for origin, follower in self.followers.items()
        }
        self.proofs = {
            origin: ProofDesk(
                origin,
                log,
                self.journal,
                proofs.provers,
                proofs.checker,
                proofs.ceremonies,
                clock,
                metrics,
            )
            for origin, log in logs.items()
            if proofs is not None
        }
        self.voter = Voter(registry, self.address, self.journal, clock, self.trust) if registry is not None else None
        self.witness = Witness(
            document.name,
            cosignature_signer,
            followers=self.followers,
            journal=self.journal,
            clock=clock,
            trust=self.trust,
        )

    # Work

    async def start(self) -> None:
        """Read what earlier lives left, then the trust file."""
        self.journal.replay(self._records())
        await self.step_trust()

    def trust(self) -> Trust:
        """The trust accepted now; raises ``trust.missing`` or ``trust.expired`` (undecided)."""
        if self._trust is None:
            raise UndecidedError("trust.missing", self.trust_problem, hint="give the node a trust file")
        if self._trust.current.expires_at <= self._clock.now():
            raise UndecidedError("trust.expired", "the last trust version has run out", hint="ask for a newer one")
        return self._trust

    async def step_trust(self) -> None:
        """Look at the trust file; accept a newer version, and check again what it touches."""
        try:
            raw = self._trust_file()
            if raw is None or sha256_hex(raw) == self._trust_seen:
                if self._trust is not None:
                    await self._recheck(self._trust)
                return
            versions = parse_trust_chain(raw)
            trust = verify_trust(versions, pin=self._trust_pin, accepted=self.journal.trust_accepted)
            await self.journal.record_trust(trust.version, trust.digest)
        except HoldfastError as error:
            _raise_disk(error)
            self.trust_problem = f"{error.code}: {error.message}"
            return
        self._versions, self._trust, self._trust_seen, self.trust_problem = versions, trust, sha256_hex(raw), ""
        await self._recheck(trust)

    async def _recheck(self, trust: Trust) -> None:
        """Check again what differs from the trust that all opinions are based on; tried until it worked."""
        applied = self.journal.trust_applied
        if applied == trust.version:
            return
        before = verify_trust(self._versions[:applied], pin=self._trust_pin) if applied else trust
        for follower in self.followers.values():
            try:
                changed = await follower.recheck(before, trust)
            except HoldfastError as error:
                _raise_disk(error)
                self.trust_problem = f"entries are still to be checked against new trust: {error.code}"
                return
            _LOG.info("trust changed: %d opinions with it", changed, extra={"origin": follower.origin})
        self.trust_problem = ""
        await self.journal.record_trust_applied(trust.version)

    async def step_log(self, origin: str) -> bool:
        """One look at a log; whether there is more to do at once."""
        follower, before = self.followers[origin], self.journal.origins[origin].ledger.size
        started = self._clock.monotonic()
        more = await follower.step()
        size = self.journal.origins[origin].ledger.size
        if size > before:
            self._metrics.count("holdfast_full_entries_total", origin, amount=size - before)
            self._metrics.observe("holdfast_full_check_seconds", self._clock.monotonic() - started, origin)
        self._metrics.level("holdfast_full_log_size_entries", size, origin)
        return more

    async def step_rounds(self, origin: str) -> None:
        """One look at the chain for a log's rounds."""
        settler, state = self.settlers[origin], self.journal.origins[origin]
        await settler.step()
        self._metrics.level("holdfast_full_round_number", settler.progress.number, origin)
        self._metrics.level("holdfast_full_spoken_round_number", state.spoken, origin)

    async def step_peers(self, origin: str) -> None:
        """One round of questions to the other full nodes."""
        await self.settlers[origin].listen()

    async def step_proofs(self, origin: str) -> bool:
        """Check the next proof that is due, where this node has a verifier; whether there was one."""
        desk = self.proofs.get(origin)
        return desk is not None and await desk.step()

    async def step_registry(self) -> bool:
        """One look at the registry of nodes, where there is one; whether there is more to do at once."""
        return self.voter is not None and await self.voter.step()

    async def run(self) -> None:
        """Every background task, until cancelled or until the disk fails."""
        if not self.followers:
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._every(self._intervals.trust_s, self.step_trust))
                if self.voter is not None:
                    tasks.create_task(self._every(self._intervals.registry_s, self.step_registry))
                for origin in self.followers:
                    tasks.create_task(self._every(self._intervals.log_s, _bind(self.step_log, origin)))
                    tasks.create_task(self._every(self._intervals.chain_s, _bind(self.step_rounds, origin)))
                    if origin in self.proofs:
                        tasks.create_task(self._every(self._intervals.proofs_s, _bind(self.step_proofs, origin)))
                    tasks.create_task(self._every(self._intervals.peers_s, _bind(self.step_peers, origin)))
        except BaseExceptionGroup as errors:
            failed = [error for error in errors.exceptions if isinstance(error, HoldfastError)]
            if not failed:
                raise
            self.failure = f"{failed[0].code}: {failed[0].message}"
            _LOG.critical("the full node stopped: %s", self.failure, extra={"code": failed[0].code})

    async def _every(self, pause_s: float, step: Callable[[], Awaitable[Any]]) -> None:
        while True:
            pause = pause_s
            try:
                pause = 0.0 if await step() else pause_s
            except HoldfastError as error:
                _raise_disk(error)
                _LOG.warning("a step was not finished: %s", error, extra={"code": error.code})
            except Exception:  # noqa: BLE001 (a bug in one task must not silence the others; the journal keeps us honest)
                _LOG.exception("unexpected error in a background task")
                pause = max(pause_s, _PAUSE_AFTER_BUG_S)
            await self._clock.sleep(pause)

    async def add_checkpoint(self, body: bytes) -> bytes:
        """``POST /add-checkpoint``; see ``witness.py``."""
        try:
            answer = await self.witness.add_checkpoint(body)
        except HoldfastError as error:
            self._metrics.count("holdfast_full_cosignatures_total", error.code)
            raise
        self._metrics.count("holdfast_full_cosignatures_total", "cosigned")
        return answer

    # What it shows

    def readiness(self) -> dict[str, str]:
        """What the node still waits for, by name."""
        waiting = {}
        if self.failure:
            waiting["disk"] = self.failure
        if self.trust_problem:
            waiting["trust"] = self.trust_problem
        for origin, settler in self.settlers.items():
            if settler.open is None:
                waiting[f"rounds of {origin}"] = settler.progress.problems.get("chain", "the chain was not asked yet")
            if self.followers[origin].seen is None:
                waiting[f"log {origin}"] = self.followers[origin].problem or "it was not asked yet"
        return waiting

    def metrics(self) -> bytes:
        """Prometheus text."""
        return self._metrics.render()

    def status(self) -> dict[str, Any]:
        """``GET /v1/status``."""
        return {
            "node": self.document.digest,
            "name": self.document.name,
            "address": self.address,
            "account": self._chain.account,
            "witness": self.witness.vkey,
            "development": self._trust.development if self._trust else None,
            "trust": {
                "version": self._trust.version if self._trust else None,
                "digest": self._trust.digest if self._trust else None,
                "problem": self.trust_problem,
            },
            "chain": self._chain.domain.to_json(),
            "failure": self.failure,
            "registry": self.voter.status() if self.voter is not None else None,
            "proofs": [self._proof_status(origin) for origin in self.proofs],
            "logs": [self._log_status(origin) for origin in self.followers],
            "rounds": [self._round_status(origin) for origin in self.followers],
        }

    def _log_status(self, origin: str) -> dict[str, Any]:
        follower, state = self.followers[origin], self.journal.origins[origin]
        return {
            "origin": origin,
            "size": state.ledger.size,
            "seen_size": follower.seen.size if follower.seen else None,
            "cosigned_size": state.cosigned_size,
            "stopped": state.stopped,
            "problem": follower.problem,
            "note": state.note.decode(),
        }

    def _proof_status(self, origin: str) -> dict[str, Any]:
        desk = self.proofs[origin]
        waiting = [{"index": index, "why": item.why} for index, item in sorted(desk.waiting.items())]
        return {
            "origin": origin,
            "verifier": desk.checker.version if desk.checker is not None else None,
            "unchecked": len(self.journal.origins[origin].ledger.unproved()),
            "waiting": waiting[:16],
        }

    def _round_status(self, origin: str) -> dict[str, Any]:
        settler, state = self.settlers[origin], self.journal.origins[origin]
        progress, now = settler.progress, settler.open
        return {
            "origin": origin,
            "number": progress.number,
            "attempt": progress.attempt,
            "doing": progress.move,
            "abstains": progress.abstains,
            "waits_for": settler.missing_votes(),
            "stake_for": now.stake_for if now else 0,
            "final": state.spoken,
            "adopted": state.adopted.number,
            "problems": dict(progress.problems),
        }

    def origin(self, given: str | None) -> str:
        """The origin a caller means; it may be left out when only one log is followed."""
        if given is None and len(self.followers) == 1:
            return next(iter(self.followers))
        if given not in self.followers:
            raise UsageError("full.origin", "this node follows no log of that origin", param="origin", status=404)
        return given

    def round(self, origin: str, number: int) -> dict[str, Any]:
        """``GET /v1/rounds/{number}``; raises ``full.round`` when nothing is known of it."""
        settler = self.settlers[origin]
        record = self.archive.load_round(origin, number)
        if record is not None and number <= self.journal.origins[origin].spoken:
            return self._final_round(record, votes=True)
        now = settler.open
        if now is None or number != now.number:
            raise UsageError("full.round", f"this node knows nothing of round {number}", status=404)
        return {
            "origin": origin,
            "number": number,
            "state": "open" if now.candidate is None else "proposed",
            "attempt": now.attempt,
            "candidate": now.candidate.to_json() if now.candidate else None,
            "block": None,
            "final_at": None,
            "votes": settler.votes(number, now.voters),
            "finality": None,
        }

    def _final_round(self, record: RoundRecord, *, votes: bool) -> dict[str, Any]:
        candidate = record.candidate
        own = record.messages.get(self.address)
        return {
            "origin": candidate.origin,
            "number": candidate.number,
            "state": "final",
            "attempt": candidate.attempt,
            "candidate": candidate.to_json(),
            "block": record.block,
            "final_at": record.final_at,
            "votes": self.settlers[candidate.origin].votes(candidate.number) if votes else [],
            "finality": own.to_json() if own else None,
        }

    def rounds(self, origin: str, after: int | None, limit: int) -> dict[str, Any]:
        """``GET /v1/rounds``: final rounds after a number; without one the newest, and the open round."""
        limit = min(limit, MAX_PAGE)
        spoken = self.journal.origins[origin].spoken
        first = max(0, spoken - limit) if after is None else after
        records = self.archive.rounds_after(origin, first, min(limit, max(0, spoken - first)))
        found = [self._final_round(record, votes=after is None) for record in records]
        now = self.settlers[origin].open
        if after is None and now is not None and now.number > spoken:
            found.append(self.round(origin, now.number))
        return {"origin": origin, "rounds": found}

    def finality(self, origin: str, number: int) -> dict[str, Any]:
        """``GET /v1/finality/{number}``: every message known here; raises ``full.round`` for a round not final."""
        record = self.archive.load_round(origin, number)
        if record is None or number > self.journal.origins[origin].spoken:
            raise UsageError("full.round", f"round {number} is not final here", status=404)
        messages = [message.to_json() for _, message in sorted(record.messages.items())]
        return {"round": record.candidate.to_json(), "messages": messages}

    def verdicts(self, blob_id: bytes) -> bytes:
        """``GET /v1/verdicts/{blob_id}``; raises ``full.blob``."""
        blob = self.archive.load_blob(blob_id)
        if blob is None:
            raise UsageError("full.blob", "this node has no such verdict blob", status=404)
        return blob

    def equivocations(self) -> dict[str, Any]:
        """``GET /v1/equivocations``."""
        found = [item.to_json() for state in self.journal.origins.values() for item in state.equivocations]
        return {"equivocations": found}


def _bind(step: Callable[[str], Awaitable[Any]], origin: str) -> Callable[[], Awaitable[Any]]:
    return lambda: step(origin)


def _require_key(document: KeyDocument, signer: Signer) -> None:
    """The node signs with the keys its document names, or not at all."""
    named = document.key_for(signer.key.use)
    if named is None or named.public != signer.key.public:
        raise UsageError("full.key", f"the {signer.key.use} key is not the one in the key document")


def _raise_disk(error: HoldfastError) -> None:
    if error.code.startswith(("wal.", "storage.")):
        raise error
