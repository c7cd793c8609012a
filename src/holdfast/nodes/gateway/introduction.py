"""The gateway says in the log under which keys it is reached, once for each key document (``spec/statement.md`` §4.5).

Rules:

* What is told is made durable before it is sent, so that a crash sends the same statement again, which the log keeps
  once. What waited too long for a silent log is signed anew: full nodes would call it backdated.
* A gateway that trust does not admit tells nothing: full nodes would refute it for good.
* Nobody waits for this but callers of the private path, who are shown where it stands.

Not covered: comparing what is told (``holdfast log identities``), and proofs of it (``nodes.relay``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.client.log_writer import LogWriter
from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.core.keys import KeyDocument
from holdfast.core.statements import (
    Envelope,
    build_payload,
    identity_body,
    identity_run,
    parse_envelope,
    parse_statement,
)
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError, UnavailableError
from holdfast.nodes.gateway.turn import Identity
from holdfast.ports.clock import Clock
from holdfast.ports.storage import Storage
from holdfast.verifier.checks import identity_of

_LOG = logging.getLogger("holdfast.gateway.introduction")
KEPT_FILE = "identity.json"
"""The statement of the key document in force, and where it stands in the log."""
STALE_S = 300
"""A statement that waited longer is made anew: the default policy calls it backdated after twice that."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 30.0


@dataclass(frozen=True, slots=True)
class Told:
    """An ``identity`` statement: its envelope, and its index in the log once it has one."""

    envelope: Envelope
    index: int | None

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"envelope": b64_encode(self.envelope.raw), "index": self.index}


class Introduction:
    """Puts the key document of this gateway into the log."""

    def __init__(
        self,
        identity: Identity,
        document: KeyDocument,
        writer: LogWriter,
        trust: Callable[[], Trust],
        storage: Storage,
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._document = document
        self._writer = writer
        self._trust = trust
        self._storage = storage
        self._clock = clock
        self._told = self._load()
        self.trouble = ""
        """Why it is not in the log yet, or empty."""

    @property
    def told(self) -> Told | None:
        """What was told of the key document in force; None before it was signed."""
        return self._told

    async def work(self) -> None:
        """Tell it, however long that takes."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                await self.tell()
            except HoldfastError as error:
                if error.message != self.trouble:
                    _LOG.warning("the identity waits: %s", error, extra={"code": error.code})
                self.trouble = error.message
                await self._clock.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                continue
            self.trouble = ""
            await asyncio.Event().wait()

    async def tell(self) -> Told:
        """One try; returns what stands in the log. Raises ``gateway.not_admitted``, ``log.*`` or ``http.*``."""
        told = self._told
        if told is not None and told.index is not None:
            return told
        now = self._clock.now()
        self._require_admission(now)
        if told is None or now - _claimed(told) > dt.timedelta(seconds=STALE_S):
            told = Told(parse_envelope(self._sign(now)), None)
            self._keep(told)
        [answer] = await self._writer.append([told.envelope.raw])
        if answer.index is None:
            raise RefusedError("log.refused", f"the log refused an entry: {answer.refusal}")
        told = Told(told.envelope, answer.index)
        self._keep(told)
        return told

    def _sign(self, now: dt.datetime) -> bytes:
        attester = self._document.digest
        payload = build_payload(
            "identity",
            run=identity_run(attester),
            attester=attester,
            claimed_at=now,
            parents=(),
            subject=("key_document", bytes.fromhex(attester)),
            body=identity_body(identity_of(self._document)),
        )
        return self._identity.envelope(payload)

    def _require_admission(self, now: dt.datetime) -> None:
        admission = self._trust().admission(self._document.digest)
        why = "unknown-key" if admission is None else admission.refusal(now, now)
        if why is not None:
            raise UnavailableError(
                "gateway.not_admitted",
                f"trust does not admit this gateway's key document ({why}), so nothing is said of it in the log",
                hint="put the gateway's key document into trust",
            )

    def _keep(self, told: Told) -> None:
        self._storage.save(KEPT_FILE, json.dumps(told.to_json()).encode())
        self._told = told

    def _load(self) -> Told | None:
        """What was kept of this key document; of an earlier one nothing counts."""
        raw = self._storage.load(KEPT_FILE)
        if raw is None:
            return None
        value = canonical.decode_object(raw)
        envelope = parse_envelope(b64_decode(value.get("envelope")))
        index = value.get("index")
        if parse_statement(envelope).attester != self._document.digest:
            return None
        return Told(envelope, index if isinstance(index, int) else None)


def _claimed(told: Told) -> dt.datetime:
    return parse_statement(told.envelope).claimed_at
