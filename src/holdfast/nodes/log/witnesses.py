"""Collecting cosignatures: C2SP tlog-witness ``add-checkpoint``, one task a witness (``spec/checkpoint.md`` §4).

Publishing never waits for a witness. Each task sends the newest signed checkpoint with a proof from the size that its
witness cosigned last (asked for by trying: a 409 answer names it), verifies what comes back against the configured key,
and hands it to the log. While a request is under way newer checkpoints may appear; only the newest is asked for next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from holdfast.core import notes, witness
from holdfast.core.notes import Note, NoteSignature, VerifiedCheckpoint, parse_vkey
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from holdfast.nodes.log.config import LogConfig, WitnessAddress
from holdfast.ports.clock import Clock
from holdfast.ports.http import HTTP

_OK, _CONFLICT = 200, 409
_MAX_ANSWER_BYTES = 64 * 1024
_TRIES = 3
"""Requests for one checkpoint; a second one follows a 409 that names another size."""


class _Log(Protocol):
    """What a witness task needs of the log."""

    config: LogConfig

    @property
    def signed(self) -> VerifiedCheckpoint | None: ...

    @property
    def clock(self) -> Clock: ...

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]: ...

    async def add_cosignatures(self, checkpoint: VerifiedCheckpoint, lines: Sequence[NoteSignature]) -> None: ...

    def witness_ahead(self, name: str, size: int) -> None: ...

    def witness_failed(self, name: str, error: HoldfastError) -> None: ...


class Witness:
    """One witness and what is known of it."""

    def __init__(self, address: WitnessAddress, http: HTTP, log: _Log) -> None:
        self.key = parse_vkey(address.key)
        """Verifier key of its cosignatures."""
        if self.key.kind != notes.COSIGNATURE:
            raise UsageError("log.witness_key", f"{self.key.name} is not a cosignature key (type 4)")
        self._url = address.url.rstrip("/") + "/add-checkpoint"
        self._http = http
        self._log = log
        self._size = 0
        """The size it cosigned last, as far as known."""
        self._cosigned = b""
        """The note text it cosigned last."""
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There is a new checkpoint."""
        self._wake.set()

    async def run(self) -> None:
        """Ask for cosignatures for ever; failures are counted and tried again after a pause."""
        while True:
            self._wake.clear()
            checkpoint = self._log.signed
            if checkpoint is None or checkpoint.note.text == self._cosigned:
                await self._wake.wait()
                continue
            try:
                await self.ask(checkpoint)
            except HoldfastError as error:
                self._log.witness_failed(self.key.name, error)
                await self._log.clock.sleep(self._log.config.witness_retry_ms / 1000)

    async def ask(self, checkpoint: VerifiedCheckpoint) -> None:
        """Get the cosignature on one checkpoint and add it. Raises what went wrong."""
        for _ in range(_TRIES):
            old_size = min(self._size, checkpoint.size)
            proof = self._log.consistency_proof(old_size, checkpoint.size)
            answer = await self._http.request(
                "POST",
                self._url,
                body=witness.build_add_checkpoint(old_size, proof, checkpoint.raw),
                headers={"content-type": "application/octet-stream"},
                timeout_s=self._log.config.witness_timeout_ms / 1000,
                max_bytes=_MAX_ANSWER_BYTES,
            )
            if answer.status == _OK:
                await self._accept(checkpoint, answer.body)
                return
            if answer.status != _CONFLICT:
                raise UnavailableError("log.witness", f"{self.key.name} answered {answer.status}")
            named = witness.parse_size(answer.body)
            if named > checkpoint.size:
                # Each witness is asked about one checkpoint after the other, so this is a newer one than we know of.
                self._log.witness_ahead(self.key.name, named)
                raise RefusedError("log.witness", f"{self.key.name} has cosigned {named} entries already")
            if named == old_size == checkpoint.size:
                raise RefusedError("log.witness", f"{self.key.name} knows another tree of {named} entries")
            self._size = named
        raise UnavailableError("log.witness", f"{self.key.name} keeps changing its mind")

    async def _accept(self, checkpoint: VerifiedCheckpoint, body: bytes) -> None:
        found = notes.verify_cosignatures(Note(checkpoint.note.text, notes.parse_signature_lines(body)), [self.key])
        if not found:
            raise RefusedError("log.witness", f"{self.key.name} answered without its cosignature")
        self._size, self._cosigned = checkpoint.size, checkpoint.note.text
        await self._log.add_cosignatures(checkpoint, [item.line for item in found])
