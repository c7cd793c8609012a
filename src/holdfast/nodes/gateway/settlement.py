"""Follows the secure layer: cosigned checkpoints of the log, and rounds of the full nodes.

What it sees becomes append-only events of the run index (``SettlementEvent``); what it writes down it has checked: a
checkpoint's signatures against trust, votes by their signatures, finality messages by quorum. A candidate counts once a
member has voted for it. Votes are information and say so in the bundle. A full node that lies can stay silent, and no
more. Which full nodes do not answer while entries wait is noted (``bundle.md`` §2, ``silence``), so that a lane that
stays pending can say why: when it changes, and again for entries that were logged since. Verdict blobs of final rounds
are searched for verdicts that supersede earlier ones (``round.md`` §5).
Nothing here is on the way of an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from holdfast.client.full import FullNodeReader, RoundView
from holdfast.core import rounds
from holdfast.core.encoding import time_decode, time_encode
from holdfast.core.evm import address_of
from holdfast.core.notes import COSIGNATURE, ED25519, VerifierKey, verify_checkpoint, verify_cosignatures
from holdfast.core.trust import Epoch, Trust
from holdfast.errors import HoldfastError, UndecidedError
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.ports.clock import Clock

_LOG = logging.getLogger("holdfast.gateway.settlement")
SEARCHED = "superseded"
"""Name of the cursor: final rounds up to here were searched for superseding verdicts."""
_MOST_CANDIDATES = 64
"""Candidates of one round that are noted: information, so a member that signs many gains nothing."""
_SILENCE_EVERY = dt.timedelta(seconds=5)
"""Silence is noted at most so often: a node that comes and goes must not fill the index, nor anybody's journal."""
_FIRST_INDEX = re.compile(rb"(0|[1-9][0-9]{0,19}) ")


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
        self._turn = 0
        self.superseded = 0
        """How many superseding verdicts this process has noted."""
        self.noted = 0
        """How much it has noted of anything."""
        self._voters: dict[tuple[int, int, bytes], set[str]] = {}
        self.silent: set[str] = set()
        """Names of full nodes that did not answer when last asked."""
        self._silent_before: set[str] = set()
        """Those that did not answer when all were asked the time before."""

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
        highest = await self._indexer.highest_entry()
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
        highest = await self._indexer.highest_entry()
        last = await self._indexer.call(self._indexer.index.last_event, "final", None)
        asking = highest >= (last.size if last else 0) or (highest >= 0 and await self._has_news())
        answers = await asyncio.gather(*(self._ask(node) for node in self._full_nodes)) if asking else []
        if asking:
            await self._note_silence(highest)
        for number in sorted({view.number for views in answers for view in views}):
            views = [view for listed in answers for view in listed if view.number == number]
            await self._follow_round(number, views)
        await self._find_superseded()
        last = await self._indexer.call(self._indexer.index.last_event, "final", None)
        return highest >= (last.size if last else 0)

    async def _has_news(self) -> bool:
        """Whether one full node, another one each time, shows a final round that is not noted."""
        self._turn += 1
        for node in self._full_nodes[self._turn % max(1, len(self._full_nodes)) :][:1]:
            try:
                return bool(await node.rounds(self._origin, self._final))
            except HoldfastError:
                self.silent.add(node.name)
        return False

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

    async def _note_silence(self, highest: int) -> None:
        """Put down who did not answer twice in a row, and that all answer again. ``highest`` is the newest entry."""
        silent = sorted(self.silent & self._silent_before)
        self._silent_before = set(self.silent)
        last = await self._indexer.call(self._indexer.index.last_event, "silence", None)
        if last is None and not silent:
            return
        if last is not None:
            said_all = last.body["silent"] == silent and (not silent or last.size > highest)
            if said_all or self._clock.now() - time_decode(last.at) < _SILENCE_EVERY:
                return
        await self._note("silence", 0, highest + 1, {"silent": silent, "asked": len(self._full_nodes)})

    async def _follow_round(self, number: int, views: list[RoundView]) -> None:
        trust = self._trust()
        chain, epoch = trust.chain(self._origin), trust.epoch(self._origin, number)
        if chain is None or epoch is None or number <= self._final:
            return
        domain = rounds.ChainDomain(chain.chain_id, chain.contract)
        stakes = _vote_stakes(trust, epoch)
        about = (self._origin, epoch.number, number)
        believable = [
            view
            for view in views
            if view.candidate is not None
            and (view.candidate.origin, view.candidate.epoch, view.candidate.number) == about
        ]
        for view in believable:
            if view.candidate is not None:
                await self._note_votes(view.candidate, view.votes, domain, stakes)
        await self._note_finality(number, believable, domain, stakes)

    async def _note_votes(
        self,
        candidate: rounds.Candidate,
        votes: Sequence[rounds.Vote],
        domain: rounds.ChainDomain,
        stakes: dict[str, int],
    ) -> None:
        """Put down a candidate with its first vote, and who votes for it."""
        about = (candidate.origin, candidate.epoch, candidate.number, candidate.attempt, candidate.content)
        found = set()
        for vote in votes:
            if (vote.origin, vote.epoch, vote.number, vote.attempt, vote.content) == about:
                with contextlib.suppress(HoldfastError):
                    found.add(rounds.verify_vote(domain, vote, stakes).signer)
        key = (candidate.number, candidate.attempt, candidate.content)
        seen = self._voters.get(key)
        if seen is None and found:
            seen = await self._noted_voters(candidate)
            if seen is None:
                if len(self._voters) >= _MOST_CANDIDATES:
                    return
                seen = set()
                await self._note("candidate", candidate.number, candidate.size, candidate.to_json())
            self._voters[key] = seen
        if seen is not None and not found <= seen:
            seen |= found
            body = {"attempt": candidate.attempt, "voters": sorted(seen)}
            await self._note("votes", candidate.number, candidate.size, body)

    async def _noted_voters(self, candidate: rounds.Candidate) -> set[str] | None:
        """The voters that an earlier process noted for a candidate; None when it did not note the candidate."""
        known = await self._indexer.call(self._indexer.index.events_of, candidate.number)
        voters: set[str] | None = None
        for event in known:
            if event.kind == "candidate" and event.body["attempt"] == candidate.attempt:
                voters = set() if event.body == candidate.to_json() else None
            elif event.kind == "votes" and event.body["attempt"] == candidate.attempt and voters is not None:
                voters.update(event.body["voters"])
        return voters

    async def _note_finality(
        self, number: int, views: list[RoundView], domain: rounds.ChainDomain, stakes: dict[str, int]
    ) -> None:
        """Put a round down as final once the messages that agree hold a quorum."""
        for candidate in {view.candidate.content: view.candidate for view in views if view.candidate}.values():
            about = (candidate.origin, candidate.epoch, candidate.number, candidate.content)
            messages = {}
            for view in views:
                message = view.finality
                if message is None or (message.origin, message.epoch, message.number, message.content) != about:
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
        self.noted += 1
        self._on_event()

    async def _find_superseded(self) -> None:
        """Look through the verdict blobs of rounds that became final for verdicts on entries of earlier rounds."""
        index = self._indexer.index
        searched = await self._indexer.call(index.cursor, SEARCHED)
        for number in range(searched + 1, self._final + 1):
            final = await self._indexer.call(index.last_event, "final", number)
            before = await self._indexer.call(index.last_event, "final", number - 1)
            if final is not None and before is not None:
                blob = await self.verdict_blob(bytes.fromhex(final.body["round"]["blob_id"]))
                if blob is None:
                    return
                for place in superseded_entries(blob, before.size):
                    self.superseded += 1
                    await self._note("superseded", number, place + 1, {})
            await self._indexer.call(index.update_runs, [], {SEARCHED: number})

    async def verdict_blob(self, blob_id: bytes) -> bytes | None:
        """A verdict blob from whichever full node has it."""
        for node in self._full_nodes:
            try:
                blob = await node.verdicts(blob_id)
            except HoldfastError:
                continue
            if blob is not None and rounds.blob_id(blob) == blob_id:
                return blob
        return None


def superseded_entries(blob: bytes, covered: int) -> list[int]:
    """Log indices below ``covered`` on which a verdict blob has a verdict; they stand first (``round.md`` §5).

    Looks at the first line alone when there are none. Raises ``round.blob`` or ``round.verdict_*``.
    """
    first = _FIRST_INDEX.match(blob)
    if first is None or int(first[1]) >= covered:
        return []
    return [entry.index for entry in rounds.parse_verdict_blob(blob) if entry.index < covered]


def _vote_stakes(trust: Trust, epoch: Epoch) -> dict[str, int]:
    """Stake by vote address for the members of an epoch. Those whose word does not count (no vote key, revoked) stay
    in the total, under names that no signature leads to."""
    stakes = {}
    for node, stake in epoch.stakes.items():
        admission = trust.admission(node)
        key = admission.key_document.key_for("vote") if admission else None
        counts = admission is not None and admission.revoked is None and "full" in admission.key_document.roles
        stakes[address_of(key.public) if key is not None and counts else node] = stake
    return stakes
