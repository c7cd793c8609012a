"""Voting on what nodes submit to the registry (``spec/registry.md`` §5).

One step looks at the attestations that still wait for votes: it fetches what was submitted, appraises it under the
node's own trust at the time of its block, and relays the node's verdict. A verdict is in the journal before it leaves,
and is the only one this node ever gives on that attestation: what trust takes back afterwards, the registry's roles act
on. Where the node cannot tell it says nothing, and looks again when trust has changed or a pause is over.

The chain is asked afresh at each step, so votes that a reorganisation undid, and votes that a new epoch does not count
any more, are relayed again.

Not covered: what makes a submission good (``verifier/registration.py``).
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.trust import Trust
from holdfast.errors import ConflictError, HoldfastError, MalformedError, RefusedError, UndecidedError
from holdfast.nodes.full.journal import Journal, SignedVerdict
from holdfast.ports.clock import Clock
from holdfast.ports.registry import PENDING, AttestationRecord, Registry
from holdfast.verifier.registration import Circumstances, appraise_registration
from holdfast.verifier.transcript import Transcript

_LOG = logging.getLogger("holdfast.full")
LOOKED_AT_A_STEP = 64
"""New attestations that one step looks at, so that catching up does not hold the loop."""
PAUSE_S = 30.0
"""How long an attestation is left alone that the node cannot judge or whose verdict the contract refused."""


@dataclass
class _Waiting:
    """One pending attestation, as far as this node got with it."""

    problem: str = ""
    again_at: float = 0.0
    trust_version: int = 0


@dataclass
class Voter:
    """See the module."""

    registry: Registry
    address: str
    """Of the vote key."""
    journal: Journal
    clock: Clock
    trust: Callable[[], Trust]
    problem: str = ""
    """Why the registry could not be followed; empty while it can."""
    _seen: int = 0
    _waiting: dict[int, _Waiting] = field(default_factory=dict)

    async def step(self) -> bool:
        """One look at the registry; whether there is more to do at once."""
        try:
            total = await self.registry.attestations()
            until = min(total, self._seen + LOOKED_AT_A_STEP)
            self._waiting.update({number: _Waiting() for number in range(self._seen + 1, until + 1)})
            self._seen = until
            for number in list(self._waiting):
                await self._look(number)
        except HoldfastError as error:
            self.problem = f"{error.code}: {error.message}"
            raise
        self.problem = ""
        return until < total

    async def _look(self, number: int) -> None:
        waiting = self._waiting[number]
        if not self._is_time(waiting):
            return  # without asking the chain: anybody can submit what nobody can judge, as often as they pay for it
        record = await self.registry.attestation(number)
        if record is None or record.state != PENDING:
            del self._waiting[number]
            return
        if self.address in record.voters:
            return
        verdict = self.journal.verdict(self.registry.domain, number)
        if verdict is None:
            accepted = await self._judge(record, waiting)
            if accepted is None:
                return
            verdict = await self.journal.sign_verdict(self.registry.domain, number, record.evidence, accepted=accepted)
        await self._relay(number, verdict, waiting)

    def _is_time(self, waiting: _Waiting) -> bool:
        return self.clock.monotonic() >= waiting.again_at or self.trust().version != waiting.trust_version

    def _put_off(self, waiting: _Waiting, problem: str) -> None:
        waiting.problem = problem
        waiting.again_at = self.clock.monotonic() + PAUSE_S
        waiting.trust_version = self.trust().version

    async def _judge(self, record: AttestationRecord, waiting: _Waiting) -> bool | None:
        """Whether the submission holds; None where the node cannot tell."""
        try:
            found = await self.registry.evidence(record.number)
            circumstances = Circumstances(
                kind=found.kind,
                predecessor=record.predecessor,
                nonce=record.nonce,
                at=dt.datetime.fromtimestamp(record.submitted_at, dt.UTC),
            )
            appraise_registration(found.submission, circumstances, self.trust(), Transcript())
        except UndecidedError as error:
            self._put_off(waiting, f"cannot tell: {error.code}: {error.message}")
            return None
        except (MalformedError, RefusedError) as error:
            _LOG.info("attestation %d is refused: %s", record.number, error, extra={"code": error.code})
            waiting.problem = f"refused: {error.code}: {error.message}"
            return False
        waiting.problem = ""
        return True

    async def _relay(self, number: int, verdict: SignedVerdict, waiting: _Waiting) -> None:
        try:
            await self.registry.submit_verdicts(
                number, verdict.evidence, [verdict.signature], accepted=verdict.accepted
            )
        except ConflictError:
            return  # decided meanwhile; the next look forgets it
        except RefusedError as error:
            self._put_off(waiting, f"the verdict was not counted: {error.code}: {error.message}")

    def status(self) -> dict[str, Any]:
        """What ``GET /v1/status`` shows."""
        return {
            **self.registry.domain.to_json(),
            "attestations": self._seen,
            "waiting": [
                {"attestation": number, "says": waiting.problem or "it waits for votes"}
                for number, waiting in sorted(self._waiting.items())
            ],
            "problem": self.problem,
        }
