"""Changes into the log, one at a time (``spec/artifacts.md`` §4).

Rules:

* A change is signed, written down, and handed to the log; it counts once the log has it. Whoever asked waits for that.
* Where the log does not answer, the change stays on its way, no other is begun, and it is asked for again until it is
  known. So a crash at any point neither loses nor doubles a change, and there is one order.
* What waited so long that full nodes would call it backdated is not handed in any more: the log is asked whether it
  ever took it, and if not it is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from holdfast.client.log_writer import LogWriter
from holdfast.core.artifact_changes import SALT_BYTES, ArtifactChange, build_change
from holdfast.core.statements import (
    artifact_body,
    artifact_run,
    build_envelope,
    build_payload,
    parse_envelope,
    parse_statement,
    pre_authentication_encoding,
)
from holdfast.errors import HoldfastError, RefusedError, UnavailableError
from holdfast.nodes.hub.shelf import Entry, Shelf
from holdfast.ports.clock import Clock
from holdfast.ports.signer import Signer

_LOG = logging.getLogger("holdfast.hub.clerk")
SIGNED_AT_ONCE_S = 300.0
"""Older changes are not handed in any more: half of what policies allow between claim and first sight."""
_LATER = frozenset({"log.busy", "log.full"})
"""Refusals of a log that mean: not now."""
RETRY_S = 1.0
"""Pause between two questions to a log that does not answer."""


class Positions(Protocol):
    """Where the log has what (``client.log.LogReader``)."""

    async def index_of(self, digest: str) -> int | None:
        """The index of an entry, by its deduplication digest (hex), or None. Raises ``http.*`` or ``log.*``."""
        ...


class Clerk:
    """Signs changes and hands them to the log."""

    def __init__(
        self,
        shelf: Shelf,
        signer: Signer,
        node: str,
        clock: Clock,
        randomness: Callable[[int], bytes],
        log: LogWriter | None = None,
        positions: Positions | None = None,
    ) -> None:
        self._shelf = shelf
        self._signer = signer
        self.node = node
        self._clock = clock
        self._randomness = randomness
        self._log = log
        self._positions = positions
        self._turn = asyncio.Lock()
        self.told = asyncio.Condition()
        """Notified when a change counts."""

    @property
    def logs(self) -> bool:
        """Whether there is a log."""
        return self._log is not None

    def salt(self) -> bytes:
        """A new salt."""
        return self._randomness(SALT_BYTES)

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[None]:
        """For whoever looks at what is so and changes it: nobody else does meanwhile, and nothing is on its way. Raises
        ``hub.log``."""
        async with self._turn:
            await self.settle()
            yield

    async def change(
        self,
        made: ArtifactChange,
        parents: tuple[str, ...],
        *,
        signature: bytes | None = None,
        sizes: tuple[int, ...] = (),
    ) -> Entry:
        """Make a change count, within :meth:`begin`. Raises ``hub.log`` where the log does not say that it has
        it, and ``artifact_change.*``."""
        made, salt = build_change(made), self.salt()
        body = made.body(salt)
        payload = build_payload(
            "artifact",
            run=artifact_run(self.node),
            attester=self.node,
            claimed_at=made.at,
            parents=parents,
            subject=("artifact", body.record),
            body=artifact_body(body),
        )
        signed = self._signer.sign(pre_authentication_encoding(payload))
        envelope = build_envelope(payload, self._signer.key.key_id, signed)
        entry = Entry(envelope, parse_statement(parse_envelope(envelope)), made, salt, signature, sizes)
        await self._shelf.propose(entry)
        await self.settle()
        if not entry.number:
            raise RefusedError("hub.log_refused", "the log refuses what this hub signs", hint="look at the hub's log")
        return entry

    async def settle(self) -> None:
        """Find out about a change that is on its way. Raises ``hub.log``."""
        entry = self._shelf.pending
        if entry is None:
            return
        index = await self._hand_in(entry)
        if index is not None or self._log is None:
            await self._shelf.accept(index)
        else:
            _LOG.error("change %s was dropped: the log does not have it", entry.digest[:12])
            await self._shelf.drop()
        async with self.told:
            self.told.notify_all()

    async def _hand_in(self, entry: Entry) -> int | None:
        if self._log is None or self._positions is None:
            return None
        try:
            if self._clock.now() - entry.change.at > dt.timedelta(seconds=SIGNED_AT_ONCE_S):
                return await self._positions.index_of(entry.digest)
            [answer] = await self._log.append([entry.envelope])
            if answer.refusal in _LATER:
                raise UnavailableError("log.unavailable", f"it takes nothing now: {answer.refusal}")
        except HoldfastError as error:
            says = f"the log does not say whether it has the change: {error.message}"
            raise UnavailableError(
                "hub.log", says, hint="it is asked again until it does; look at the label before you repeat the change"
            ) from error
        return answer.index

    async def run(self) -> None:
        """Settle what is on its way, for as long as the node runs."""
        while True:
            if self._shelf.pending is not None:
                try:
                    async with self.begin():
                        pass
                except UnavailableError as error:
                    _LOG.warning("%s", error.message, extra={"code": error.code})
            await asyncio.sleep(RETRY_S)
