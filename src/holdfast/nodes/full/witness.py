"""Cosigning checkpoints: this node as a C2SP tlog-witness (``spec/checkpoint.md`` §4).

A cosignature says that the log's tree only grew since this node's last cosignature; it says nothing about entries. The
steps and their answers are those of tlog-witness, in this order:

=====  =================================================================================
400    the request does not parse, or its old size is larger than the checkpoint's
404    this node follows no log of that origin
403    no signature by the log's trusted key, or the log has contradicted itself before
409    the old size is not the one cosigned last (the body says which one is), or the same
       size comes with another root (and that is evidence against the log)
422    the consistency proof does not verify
200    cosignature lines; the size is durable before they leave
=====  =================================================================================

Beyond the protocol, a checkpoint that contradicts the entries this node has verified is not cosigned, whatever its
proof.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from holdfast.core import merkle, notes, witness
from holdfast.core.notes import VerifiedCheckpoint, VerifierKey
from holdfast.errors import ConflictError, HoldfastError, MalformedError, RefusedError, UsageError
from holdfast.nodes.full.follow import Follower, TrustSource, log_key
from holdfast.nodes.full.journal import Equivocation, Journal
from holdfast.ports.clock import Clock
from holdfast.ports.signer import Signer


class OldSizeError(ConflictError):
    """``witness.old_size``: the request builds on another size than the one cosigned last."""

    def __init__(self, size: int) -> None:
        super().__init__("witness.old_size", f"the last size cosigned here is {size}", hint="send a proof from there")
        self.size = size


class Witness:
    """Cosigns for the logs that are followed. Safe for many tasks of one loop: one at a time for each log."""

    def __init__(
        self,
        name: str,
        signer: Signer,
        *,
        followers: Mapping[str, Follower],
        journal: Journal,
        clock: Clock,
        trust: TrustSource,
    ) -> None:
        self._key = VerifierKey(name, notes.COSIGNATURE, signer.key.public)
        self._signer = signer
        self._followers = followers
        self._journal = journal
        self._clock = clock
        self._trust = trust
        self._locks = {origin: asyncio.Lock() for origin in followers}

    @property
    def vkey(self) -> str:
        """This witness's verifier key, as logs are configured with it."""
        return str(self._key)

    async def add_checkpoint(self, body: bytes) -> bytes:
        """The answer's body for a request's body; raises as the table above says."""
        request = witness.parse_add_checkpoint(body)
        claimed = notes.parse_checkpoint_text(notes.parse_note(request.note).text)
        follower = self._followers.get(claimed.origin)
        if follower is None:
            raise UsageError("witness.origin", "this node does not follow a log of that origin", status=404)
        checkpoint = self._verify(request.note, claimed.origin)
        if request.old_size > checkpoint.size:
            raise MalformedError("witness.request", "the old size is larger than the checkpoint's")
        async with self._locks[claimed.origin]:
            await self._refuse_other_tree(checkpoint)
            await follower.notice(checkpoint)
            return await self._cosign(request, checkpoint)

    def _verify(self, note: bytes, origin: str) -> VerifiedCheckpoint:
        try:
            key = log_key(self._trust(), origin, self._clock.now())
            return notes.verify_checkpoint(note, origin, [key])
        except MalformedError:
            raise
        except HoldfastError as error:
            raise RefusedError(error.code, error.message, hint=error.hint, status=403) from error

    async def _refuse_other_tree(self, checkpoint: VerifiedCheckpoint) -> None:
        """The size cosigned last with another root: keep both notes, answer 409."""
        state = self._journal.origins[checkpoint.origin]
        if checkpoint.size == state.cosigned_size > 0 and checkpoint.root != state.cosigned_root:
            now = self._clock.now()
            found = Equivocation(checkpoint.origin, now, state.cosigned_note, checkpoint.raw)
            await self._journal.record_equivocation(found)
            raise ConflictError("log.equivocation", "another tree of this size was cosigned here before")

    async def _cosign(self, request: witness.AddCheckpoint, checkpoint: VerifiedCheckpoint) -> bytes:
        origin = checkpoint.origin
        state = self._journal.origins[origin]
        if state.stopped:
            raise RefusedError("log.equivocation", "this log signed two histories", hint="see /v1/equivocations")
        if request.old_size != state.cosigned_size:
            raise OldSizeError(state.cosigned_size)
        old_root = state.cosigned_root if state.cosigned_size else merkle.EMPTY_ROOT
        try:
            merkle.verify_consistency(request.old_size, old_root, checkpoint.size, checkpoint.root, list(request.proof))
        except RefusedError as error:
            raise RefusedError(error.code, error.message, status=422) from error
        known_root = state.ledger.root_at(checkpoint.size)
        if known_root is not None and known_root != checkpoint.root:
            raise RefusedError("log.contradiction", "the checkpoint does not match the entries", status=422)
        if checkpoint.size > state.cosigned_size:
            await self._journal.record_cosigned(origin, checkpoint.size, checkpoint.root, checkpoint.raw)
        timestamp = int(self._clock.now().timestamp())
        line = notes.sign_note(checkpoint.note.text, self._key, self._signer.sign, timestamp)
        return witness.build_cosignatures([line])
