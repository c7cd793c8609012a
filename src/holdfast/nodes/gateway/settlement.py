"""Follows the secure layer: cosigned checkpoints of the log, and rounds of the full nodes.

What it sees becomes append-only events of the run index (``SettlementEvent``); what it writes down it has checked: a
checkpoint's signatures against trust, finality messages by quorum. Votes are information and say so in the bundle.
Nothing here is on the way of an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from holdfast.client.full import FullNodeReader, RoundView
from holdfast.core import rounds
from holdfast.core.encoding import time_encode
from holdfast.core.evm import address_of
from holdfast.core.notes import COSIGNATURE, ED25519, VerifierKey, verify_checkpoint, verify_cosignatures
from holdfast.core.trust import Epoch, Trust
from holdfast.errors import HoldfastError, UndecidedError
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.ports.clock import Clock

_LOG = logging.getLogger("holdfast.gateway.settlement")


class CheckpointSource(Protocol):
    """Where the newest checkpoint note comes from."""

    async def checkpoint(self) -> bytes:
        """The bytes at ``/checkpoint``; raises :class:`HoldfastError` when there are none."""
        ...


class Settlement:
    """One log's settlement, as one gateway sees it."""

    def __init__(
        self,
        origin: str,
        trust: Callable[[], Trust],
        indexer: Indexer,
        log: CheckpointSource,
        full_nodes: Sequence[FullNodeReader],
        clock: Clock,
        *,
        poll_s: float,
        on_event: Callable[[], None],
    ) -> None:
        self._origin = origin
        self._trust = trust
        self._indexer = indexer
        self._log = log
        self._full_nodes = list(full_nodes)
        self._clock = clock
        self._poll_s = poll_s
        self._on_event = on_event
        self._final = 0
        self._voters: dict[tuple[int, int, bytes], set[str]] = {}
        self.silent: set[str] = set()
        """Names of full nodes that did not answer when last asked."""

    async def work(self) -> None:
        """Poll, for ever: often while entries wait for a final round, seldom otherwise."""
        self._final = await self._indexer.call(self._indexer.index.highest_final)
        while True:
            waiting = await self._step(self.follow_log) | await self._step(self.follow_rounds)
            await self._clock.sleep(self._poll_s if waiting else 4 * self._poll_s)

    @staticmethod
    async def _step(step: Callable[[], Awaitable[bool]]) -> bool:
        try:
            return await step()
        except HoldfastError as error:
            _LOG.info("settlement waits: %s", error, extra={"code": error.code})
            return True

    async def follow_log(self) -> bool:
        """Look at the newest checkpoint; note it when a quorum cosigned it and it covers entries of ours that no
        noted one covers. Returns whether such entries still wait."""
        index = self._indexer.index
        highest = await self._indexer.call(index.highest_entry)
        last = await self._indexer.call(index.last_event, "checkpoint", None)
        covered = last.size if last else 0
        if highest < covered:
            return False
        raw = await self._log.checkpoint()
        size, quorum = self._read_checkpoint(raw)
        if quorum and size > covered:
            await self._note("checkpoint", 0, size, {"note": raw.decode()})
            return highest >= size
        return True

    def _read_checkpoint(self, raw: bytes) -> tuple[int, bool]:
        """(size, whether a quorum of the current epoch cosigned it); raises when the log did not sign it."""
        trust = self._trust()
        trusted = trust.log(self._origin)
        admission = trust.admission(trusted.node) if trusted else None
        key = admission.key_document.key_for("log") if admission else None
        if key is None:
            raise UndecidedError("trust.unknown_log", f"trust knows no log {self._origin}")
        checkpoint = verify_checkpoint(raw, self._origin, [VerifierKey(self._origin, ED25519, key.public)])
        epoch = trust.epoch_at(self._origin, self._clock.now())
        if epoch is None:
            return checkpoint.size, False
        witnesses = {}
        for node in epoch.stakes:
            member = trust.admission(node)
            cosigner = member.key_document.key_for("cosignature") if member else None
            if member is not None and cosigner is not None:
                witnesses[VerifierKey(member.key_document.name, COSIGNATURE, cosigner.public)] = node
        signed = {witnesses[item.key] for item in verify_cosignatures(checkpoint.note, witnesses)}
        return checkpoint.size, epoch.is_quorum(signed)

    async def follow_rounds(self) -> bool:
        """Collect finality of new rounds, and how far the open one is. Returns whether entries wait for a round."""
        highest = await self._indexer.call(self._indexer.index.highest_entry)
        last = await self._indexer.call(self._indexer.index.last_event, "final", None)
        covered = last.size if last else 0
        answers = await asyncio.gather(*(self._ask(node) for node in self._full_nodes)) if highest >= covered else []
        for number in sorted({view.number for views in answers for view in views}):
            views = [view for listed in answers for view in listed if view.number == number]
            await self._follow_round(number, views)
        last = await self._indexer.call(self._indexer.index.last_event, "final", None)
        return highest >= (last.size if last else 0)

    async def _ask(self, node: FullNodeReader) -> list[RoundView]:
        """The rounds after the last final one, and the open one, as one node shows them."""
        try:
            views = list(await node.rounds(self._origin, self._final))
            open_round = await node.round(self._origin, (views[-1].number if views else self._final) + 1)
        except HoldfastError:
            self.silent.add(node.name)
            return []
        self.silent.discard(node.name)
        return [*views, *([open_round] if open_round else [])]

    async def _follow_round(self, number: int, views: list[RoundView]) -> None:
        trust = self._trust()
        chain, epoch = trust.chain(self._origin), trust.epoch(self._origin, number)
        if chain is None or epoch is None or number <= self._final:
            return
        domain = rounds.ChainDomain(chain.chain_id, chain.contract)
        stakes = _vote_stakes(trust, epoch)
        for view in views:
            if view.candidate is not None and view.candidate.number == number:
                await self._note_candidate(view.candidate)
                await self._note_votes(view, domain, stakes)
        await self._note_finality(number, views, domain, stakes)

    async def _note_candidate(self, candidate: rounds.Candidate) -> None:
        key = (candidate.number, candidate.attempt, candidate.content)
        if key in self._voters:
            return
        self._voters[key] = set()
        known = await self._indexer.call(self._indexer.index.events_of, candidate.number)
        if not any(event.kind == "candidate" and event.body == candidate.to_json() for event in known):
            await self._note("candidate", candidate.number, candidate.size, candidate.to_json())

    async def _note_votes(self, view: RoundView, domain: rounds.ChainDomain, stakes: dict[str, int]) -> None:
        candidate = view.candidate
        if candidate is None:
            return
        seen = self._voters[(candidate.number, candidate.attempt, candidate.content)]
        before = len(seen)
        for vote in view.votes:
            if vote.content != candidate.content or vote.attempt != candidate.attempt:
                continue
            try:
                seen.add(rounds.verify_vote(domain, vote, stakes).signer)
            except HoldfastError:
                continue
        if len(seen) > before:
            body = {"attempt": candidate.attempt, "voters": sorted(seen)}
            await self._note("votes", candidate.number, candidate.size, body)

    async def _note_finality(
        self, number: int, views: list[RoundView], domain: rounds.ChainDomain, stakes: dict[str, int]
    ) -> None:
        """Put a round down as final once the messages that agree hold a quorum."""
        for candidate in {view.candidate for view in views if view.candidate is not None}:
            messages = {}
            for view in views:
                message = view.finality
                if message is None or (message.content, message.number) != (candidate.content, number):
                    continue
                try:
                    signer = rounds.verify_finality_message(domain, message, stakes).signer
                except HoldfastError:
                    continue
                messages[signer] = message
            try:
                rounds.verify_finality(domain, list(messages.values()), stakes)
            except HoldfastError:
                continue
            body = {"round": candidate.to_json(), "messages": [item.to_json() for _, item in sorted(messages.items())]}
            await self._note("final", number, candidate.size, body)
            self._final = max(self._final, number)
            self._voters = {key: value for key, value in self._voters.items() if key[0] > number}
            return

    async def _note(self, kind: str, number: int, size: int, body: dict[str, Any]) -> None:
        now = time_encode(self._clock.now())
        await self._indexer.call(self._indexer.index.add_event, now, kind, number, size, body)
        self._on_event()

    async def verdict_blob(self, blob_id: bytes) -> bytes | None:
        """A verdict blob from whichever full node has it."""
        for node in self._full_nodes:
            try:
                blob = await node.verdicts(blob_id)
            except HoldfastError:
                continue
            if blob is not None:
                return blob
        return None


def _vote_stakes(trust: Trust, epoch: Epoch) -> dict[str, int]:
    """Stake by vote address for the members of an epoch."""
    stakes = {}
    for node, stake in epoch.stakes.items():
        admission = trust.admission(node)
        key = admission.key_document.key_for("vote") if admission else None
        if key is not None:
            stakes[address_of(key.public)] = stake
    return stakes
