"""Settling one log's rounds on chain: proposing, voting, speaking once (``spec/round.md``).

One step looks at the chain and does what is due, in this order:

1. **Speak.** For every round that is final with the finality depth and not spoken on yet: sign the one finality message
   (durable first), keep the round, serve it. A node that was no member of the round's epoch stays silent for ever.
2. **Adopt.** Take the verdicts of final rounds into the ledger, in order. Their blobs come from the own disk or from
   peers.
3. **Move.** ``decide.next_move`` says whose move the open round is; propose, judge and vote, or open the next attempt.

Everything the chain shows can be undone except what has the finality depth, so steps 1 and 2 use nothing else, and
step 3 reads the chain afresh each time. What was signed is asked from the journal, never from memory of doing it.

The order of writing before a signature leaves: verdict blob, journal record, then the call.

Not covered: following the log (``follow.py``), watching peers (``watch.py`` is fed by :meth:`Settler.listen`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.client.full import MAX_PAGE, FullNodeReader, ask_all
from holdfast.core import evm, notes, rounds
from holdfast.core.rounds import Candidate, FinalityMessage, Vote
from holdfast.core.trust import Trust
from holdfast.errors import ConflictError, HoldfastError, RefusedError, UnavailableError, UndecidedError
from holdfast.nodes.full import decide
from holdfast.nodes.full.archive import Archive, RoundRecord
from holdfast.nodes.full.decide import Answer, Judgement, Move, Proposal, Settled, Situation
from holdfast.nodes.full.follow import Follower, TrustSource, log_key
from holdfast.nodes.full.journal import Journal, SignedVote
from holdfast.nodes.full.watch import Watch, parse_offence
from holdfast.ports.chain import Chain, Epoch, OpenRound
from holdfast.ports.clock import Clock

_LOG = logging.getLogger("holdfast.full")
ROUNDS_A_STEP = 32
"""Final rounds spoken on or adopted in one step, so that catching up does not hold the loop."""
OPENING_STAGGER_S = 0.5
"""How much longer each further node waits before it opens the next attempt."""
VOTES_READ = 512
"""Votes of one round that are read from one peer at a time."""
MOST_PATIENCE = 4
"""Attempts get longer by one timeout with each whole rotation, up to this many: while too few nodes are up, opening
attempts only costs gas."""


@dataclass(frozen=True, slots=True)
class SettleLimits:
    """What can be set about settling."""

    interval_s: float = 2.0
    """How long a proposer gathers entries before it proposes."""
    most_entries: int = 4096
    """Entries in one round at most."""


@dataclass
class Progress:
    """What the status shows about one origin's rounds; sentences are for people."""

    number: int = 0
    attempt: int = 0
    move: str = "starting"
    abstains: str = ""
    problems: dict[str, str] = field(default_factory=dict)
    """By step: ``chain``, ``adopt``, ``trust``, ``vote``, ``peers``."""


class Settler:
    """Settles one log. :meth:`step` and :meth:`listen` are each called by one task."""

    def __init__(
        self,
        follower: Follower,
        *,
        address: str,
        chain: Chain,
        journal: Journal,
        archive: Archive,
        peers: Sequence[FullNodeReader],
        clock: Clock,
        trust: TrustSource,
        limits: SettleLimits | None = None,
    ) -> None:
        self.origin = follower.origin
        self.progress = Progress()
        self.watch = Watch(journal)
        self.open: OpenRound | None = None
        """The open round as last seen."""
        self._follower = follower
        self._address = address
        self._chain = chain
        self._journal = journal
        self._state = journal.origins[self.origin]
        self._archive = archive
        self._peers = peers
        self._clock = clock
        self._trust = trust
        self._limits = limits or SettleLimits()
        self._epochs: dict[int, Epoch] = {}
        self._timeout_s: int | None = None
        self._judged: tuple[tuple[int, int, bytes], str] | None = None
        """The candidate this node abstains on, and why."""
        self._round_since: tuple[int, int] | None = None
        """The open round's number, and at which attempt this node first saw it."""
        self._contested: dict[int, set[int]] = {}
        """By round: entries of which a candidate said what this node cannot vote for."""
        self._differing: dict[int, set[int]] = {}
        """By round: entries of which a candidate said anything else than this node."""
        self._adding: tuple[int, tuple[int, ...]] | None = None
        self._since: tuple[tuple[int, int, bool], float] | None = None
        self._cursors: dict[str, int] = {}
        self._repaired = False

    # The step

    async def step(self) -> None:
        """See the module. What the world refuses is kept in :attr:`progress`; a failing disk is raised."""
        try:
            before, self.open = self.open, await self._chain.open_round(self.origin)
            if before is None or before.number != self.open.number:
                self._epochs.clear()  # an epoch may have been announced anew after a reorganisation
            self.progress.number, self.progress.attempt = self.open.number, self.open.attempt
            self.progress.problems.pop("chain", None)
            if not self._repaired:
                await self._repair()
            await self._speak(self.open)
            await self._adopt()
            await self._move(self.open)
        except ConflictError as error:
            _LOG.debug("the chain moved on: %s", error.code, extra={"code": error.code, "origin": self.origin})
        except HoldfastError as error:
            _raise_disk(error)
            self.progress.problems["chain"] = f"{error.code}: {error.message}"

    # 1. Speak

    async def _speak(self, now: OpenRound) -> None:
        for number in range(self._state.spoken + 1, min(now.number, self._state.spoken + 1 + ROUNDS_A_STEP)):
            final = await self._chain.final_round(self.origin, number)
            if final is None:
                return
            epoch = await self._epoch(final.candidate.epoch)
            record = self._archive.load_round(self.origin, number)
            if record is None or record.candidate != final.candidate:
                record = RoundRecord(final.candidate, final.block, final.final_at)
            if self._address in epoch.stakes:
                message = await self._journal.sign_finality(self._chain.domain, final.candidate)
                if message is not None:
                    record.messages[self._address] = message
            self._archive.save_round(record)
            await self._journal.stay_silent(self.origin, number)
            self._say("round %d is final: %d entries", number, final.candidate.size)

    async def _repair(self) -> None:
        """Once after a start: the newest round's file may lack the message that the journal holds."""
        message = self._state.last_finality
        if message is not None:
            record = self._archive.load_round(self.origin, message.number)
            if record is None:
                final = await self._chain.final_round(self.origin, message.number)
                if final is not None:
                    record = RoundRecord(final.candidate, final.block, final.final_at)
            about = None if record is None else (record.candidate.epoch, record.candidate.content)
            if record is not None and about == (message.epoch, message.content):
                record.messages[self._address] = message
                self._archive.save_round(record)
        self._repaired = True

    async def _epoch(self, number: int) -> Epoch:
        epoch = self._epochs.get(number)
        if epoch is None:
            epoch = self._epochs[number] = await self._chain.epoch(number)
        return epoch

    # 2. Adopt

    async def _adopt(self) -> None:
        self.progress.problems.pop("adopt", None)
        for number in range(self._state.adopted.number + 1, self._state.adopted.number + 1 + ROUNDS_A_STEP):
            if number > self._state.spoken:
                return
            record = self._archive.load_round(self.origin, number)
            if record is None:
                final = await self._chain.final_round(self.origin, number)
                if final is None:
                    return
                record = RoundRecord(final.candidate, final.block, final.final_at)
                self._archive.save_round(record)
            problem = await self._adopt_one(record.candidate)
            if problem:
                self.progress.problems["adopt"] = f"final round {number}: {problem}"
                return

    async def _adopt_one(self, final: Candidate) -> str:
        """Take in one final round; why not, or nothing."""
        ledger, before = self._state.ledger, self._state.adopted
        if final.size > ledger.size:
            return f"covers {final.size} entries, of which {ledger.size} are verified here"
        mine = before.root if final.size == before.size else ledger.root_at(final.size)
        if mine != final.root or final.previous != before.content:
            return "names another tree than the log shows this node; the log or two thirds of the nodes lie"
        blob = self._own_blob(final, before) or await self._blob(final.blob_id)
        if blob is None:
            return "its verdict blob is nowhere to be found"
        try:
            verdicts = rounds.verify_verdicts(final, before.size, blob)
        except HoldfastError as error:
            return f"its verdict blob is wrong: {error.code}"
        contested = self._contested.get(final.number, set())
        await self._journal.record_adopted(final, verdicts, sorted(contested))
        self._clean_up(final)
        return ""

    def _clean_up(self, final: Candidate) -> None:
        """Forget what only the finished round needed."""
        for signed in list(self._state.votes.values()):
            candidate = signed.candidate
            if candidate.number == final.number and candidate.blob_id != final.blob_id:
                self._archive.drop_blob(candidate.blob_id)
        for kept in (self._contested, self._differing):
            for number in [number for number in kept if number <= final.number]:
                del kept[number]

    def _own_blob(self, candidate: Candidate, settled: Settled) -> bytes | None:
        """The candidate's verdict blob, if it says exactly what this node would; kept and served from then on."""
        own = decide.build_proposal(
            self._state.ledger,
            settled,
            origin=self.origin,
            epoch=candidate.epoch,
            attempt=candidate.attempt,
            size=candidate.size,
        )
        if own is None or own.candidate != candidate:
            return None
        self._archive.save_blob(own.blob)
        return own.blob

    async def _blob(self, blob_id: bytes) -> bytes | None:
        """A verdict blob, from the own disk or from whoever has it."""
        blob = self._archive.load_blob(blob_id)
        if blob is not None:
            return blob
        for answer in await ask_all(*(peer.verdicts(blob_id) for peer in self._peers)):
            if isinstance(answer, bytes) and rounds.blob_id(answer) == blob_id:
                self._archive.save_blob(answer)
                return answer
        return None

    # 3. Move

    async def _move(self, now: OpenRound) -> None:
        self.progress.abstains = ""
        settled = Settled(now.number - 1, now.previous_size, now.previous_root, now.previous)
        why_not = await self._why_not_take_part(now)
        if why_not:
            self.progress.move, self.progress.abstains = "watching", why_not
            return
        epoch = await self._epoch(now.epoch if now.candidate is None else now.candidate.epoch)
        situation = await self._situation(now, settled, epoch)
        move = decide.next_move(situation)
        if move is Move.JUDGE and now.candidate is not None:
            judgement = await self._judge(now.candidate, settled, epoch, now.stake_for)
            if judgement.answer is Answer.VOTE:
                self.progress.move = "voting"
                await self._vote(now.candidate)
                return
            self.progress.abstains = judgement.reason
            situation = await self._situation(now, settled, epoch, answered=True)
            move = decide.next_move(situation)
        self.progress.move = move.value
        if move is Move.PROPOSE:
            await self._propose(now, settled, epoch)
        elif move is Move.OPEN_ATTEMPT:
            await self._open_attempt(now)

    async def _why_not_take_part(self, now: OpenRound) -> str:
        """Why this node neither proposes nor votes in the open round, or nothing."""
        if self._state.stopped:
            return "this log signed two histories; nothing of it is settled with this node's voice"
        if now.epoch == 0:
            return "no epoch of stake has started on chain"
        epoch = await self._epoch(now.epoch if now.candidate is None else now.candidate.epoch)
        if self._address not in epoch.stakes:
            return f"this node is no member of epoch {epoch.number}"
        known_root = self._state.ledger.root_at(now.previous_size) if now.previous_size else None
        if known_root is not None and known_root != now.previous_root:
            return "the round before settled another tree than the log shows this node"
        try:
            refuse_untrusted_epoch(self._trust(), self.origin, now.number, epoch, self._chain)
        except HoldfastError as error:
            return f"{error.code}: {error.message}"
        return ""

    async def _situation(
        self, now: OpenRound, settled: Settled, epoch: Epoch, *, answered: bool | None = None
    ) -> Situation:
        ledger = self._state.ledger
        adding = ledger.superseding() if self._state.adopted.number == settled.number else {}
        fresh = ledger.size > settled.size
        unsettled = fresh or bool(adding)
        candidate = now.candidate
        if answered is None:
            answered = self._address in now.voters or self._abstains_on(candidate)
        signed = self._state.votes.get((epoch.number, now.number, now.attempt))
        repeatable = signed is not None and self._is_own(signed, epoch) and signed.candidate.previous == settled.content
        gathered_s = self._limits.interval_s
        if fresh and not adding:
            gathered_s = self._clock.now().timestamp() - ledger.seen_ms(settled.size) / 1000
        size = min(ledger.size, settled.size + self._limits.most_entries)
        return Situation(
            unsettled=unsettled,
            gathered_s=gathered_s,
            interval_s=self._limits.interval_s,
            candidate=candidate is not None,
            answered=answered,
            my_turn=rounds.proposer(epoch.addresses, now.number, now.attempt) == self._address,
            spoken=repeatable,
            silenced=signed is not None and not repeatable,
            late=ledger.late_within(settled.size, size),
            first_rotation=now.attempt < self._first_attempt(now) + len(epoch.members),
            timeout=await self._timed_out(now, epoch, unsettled=unsettled),
        )

    def _first_attempt(self, now: OpenRound) -> int:
        """At which attempt this node joined the open round."""
        if self._round_since is None or self._round_since[0] != now.number:
            self._round_since = (now.number, now.attempt)
        return self._round_since[1]

    def _is_own(self, signed: SignedVote, epoch: Epoch) -> bool:
        candidate = signed.candidate
        return rounds.proposer(epoch.addresses, candidate.number, candidate.attempt) == self._address

    async def _timed_out(self, now: OpenRound, epoch: Epoch, *, unsettled: bool) -> bool:
        """Whether the attempt has had its time, on the chain's clock and on ours."""
        if self._timeout_s is None:
            self._timeout_s = (await self._chain.settings()).timeout_s
        key = (now.number, now.attempt, now.candidate is not None)
        at = self._clock.monotonic()
        if not unsettled:
            self._since = None
            return False
        if self._since is None or self._since[0] != key:
            self._since = (key, at)
        rank = decide.opening_rank(epoch.addresses, self._address, now.number, now.attempt)
        rotations = min(1 + now.attempt // len(epoch.members), MOST_PATIENCE)
        patience_s = rotations * self._timeout_s + rank * OPENING_STAGGER_S
        return at - self._since[1] >= patience_s and self._clock.now().timestamp() >= now.next_attempt_at

    def _abstain(self, candidate: Candidate, reason: str) -> None:
        """Remember for as long as this candidate is open; an abstention is not a message."""
        self._judged = ((candidate.number, candidate.attempt, candidate.content), reason)
        self.progress.abstains = reason

    def _abstains_on(self, candidate: Candidate | None) -> bool:
        if candidate is None or self._judged is None:
            return False
        if self._judged[0] != (candidate.number, candidate.attempt, candidate.content):
            return False
        self.progress.abstains = self._judged[1]
        return True

    async def _judge(self, candidate: Candidate, settled: Settled, epoch: Epoch, stake_for: int) -> Judgement:
        """The answer to a candidate; an abstention is remembered for the attempt."""
        judgement = decide.judge_frame(candidate, settled, self._state.ledger)
        if judgement is None:
            judgement = await self._judge_verdicts(candidate, settled, epoch, stake_for)
        self._contested.setdefault(candidate.number, set()).update(judgement.contested)
        self._differing.setdefault(candidate.number, set()).update(judgement.differing)
        if judgement.answer is Answer.ABSTAIN:
            self._abstain(candidate, judgement.reason)
            self._say("abstains in round %d attempt %d: %s", candidate.number, candidate.attempt, judgement.reason)
        return judgement

    async def _judge_verdicts(self, candidate: Candidate, settled: Settled, epoch: Epoch, stake_for: int) -> Judgement:
        if self._own_blob(candidate, settled) is not None:
            return Judgement(Answer.VOTE, "it is exactly what this node would say")
        blob = await self._blob(candidate.blob_id)
        if blob is None:
            return Judgement(Answer.WAIT, "the verdict blob is withheld: no full node serves it")
        try:
            verdicts = rounds.verify_verdicts(candidate, settled.size, blob)
        except HoldfastError as error:
            return Judgement(Answer.ABSTAIN, f"its verdict blob is wrong: {error.code}")
        backed = decide.more_than_a_third(stake_for, epoch.total)
        return decide.judge(candidate, verdicts, settled, self._state.ledger, backed=backed)

    async def _vote(self, candidate: Candidate) -> None:
        """Sign (durable first) and send the vote. Having signed another content here, stay silent."""
        try:
            vote = await self._journal.sign_vote(self._chain.domain, candidate)
        except ConflictError as error:
            self._abstain(candidate, error.message)
            return
        self._say("votes in round %d attempt %d", candidate.number, candidate.attempt)
        await self._chain.submit_votes(
            self.origin, candidate.number, candidate.attempt, candidate.content, [vote.signature]
        )

    async def _propose(self, now: OpenRound, settled: Settled, epoch: Epoch) -> None:
        """Publish the blob, then the candidate; or exactly what was signed in this attempt before."""
        signed = self._state.votes.get((epoch.number, now.number, now.attempt))
        if signed is not None:
            await self._chain.submit_candidate(signed.candidate, signed.vote.signature)
            return
        proposal = self._build(now, settled, epoch)
        if proposal is None:
            self.progress.move = Move.REST.value
            return
        self._archive.save_blob(proposal.blob)
        vote = await self._journal.sign_vote(self._chain.domain, proposal.candidate)
        self._say("proposes round %d attempt %d: %d entries", now.number, now.attempt, proposal.candidate.size)
        await self._chain.submit_candidate(proposal.candidate, vote.signature)

    def _build(self, now: OpenRound, settled: Settled, epoch: Epoch) -> Proposal | None:
        ledger = self._state.ledger
        withdrawn: set[int] = set()
        if now.attempt >= len(epoch.members):
            withdrawn |= self._differing.get(now.number, set())
        if self._state.adopted.number != settled.number:
            withdrawn |= set(ledger.superseding())  # what the rounds in between said of them is not known yet
        elif self._adding is not None and self._adding[0] == now.number:
            # Proposed before in this round, and the round is still open: not everybody shares it.
            ledger.give_up_adding(self._adding[1])
        self._adding = (now.number, tuple(ledger.superseding()))
        return decide.build_proposal(
            ledger,
            settled,
            origin=self.origin,
            epoch=epoch.number,
            attempt=now.attempt,
            size=min(ledger.size, settled.size + self._limits.most_entries),
            withdrawn=withdrawn,
        )

    async def _open_attempt(self, now: OpenRound) -> None:
        try:
            await self._chain.open_attempt(self.origin, now.number, now.attempt + 1)
        except RefusedError as error:
            if error.code != "round.timeout" and not isinstance(error, ConflictError):
                raise

    # Listening to the other nodes

    async def listen(self) -> None:
        """Ask every peer for its votes, finality messages and view of the log; compare; submit offences."""
        problems = []
        for peer in self._peers:
            try:
                await self._listen_to(peer)
            except HoldfastError as error:
                _raise_disk(error)
                problems.append(f"{peer.name}: {error.code}")
        self.progress.problems.pop("peers", None)
        if problems:
            self.progress.problems["peers"] = "; ".join(problems)
        await self._submit_offences()

    async def _listen_to(self, peer: FullNodeReader) -> None:
        after = self._cursors.get(peer.name, max(0, self._state.spoken - MAX_PAGE))
        for view in await peer.rounds(self.origin, after):
            if view.number > self._state.spoken:
                break
            if view.finality is not None:  # without one, the peer has chosen to be silent on this round for ever
                await self._take_finality(view.finality)
            self._cursors[peer.name] = view.number
        if self.open is not None:
            await self._listen_round(peer, self.open.number)
            if self.open.number > 1:
                await self._listen_round(peer, self.open.number - 1)
        await self._compare_notes(peer)

    async def _listen_round(self, peer: FullNodeReader, number: int) -> None:
        view = await peer.round(self.origin, number)
        if view is None:
            return
        for vote in view.votes[:VOTES_READ]:
            if (vote.origin, vote.number) == (self.origin, number) and not self.watch.knows(vote):
                await self.watch.vote(self._chain.domain, vote, await self._stakes(vote.epoch))
                await asyncio.sleep(0)
        if view.finality is not None:
            await self._take_finality(view.finality)

    async def _stakes(self, epoch: int) -> dict[str, int]:
        """Stakes of an epoch; none for one that has not begun, so that its messages are nobody's."""
        if self.open is None or not 0 < epoch <= self.open.epoch:
            return {}
        try:
            return (await self._epoch(epoch)).stakes
        except UnavailableError:
            raise
        except HoldfastError:
            return {}

    async def _take_finality(self, message: FinalityMessage) -> None:
        """Keep a peer's finality message with its round, if it agrees with the chain; compare it in any case."""
        if message.origin != self.origin:
            return
        signer = await self.watch.finality(self._chain.domain, message, await self._stakes(message.epoch))
        if signer is None:
            return
        record = self._archive.load_round(self.origin, message.number)
        if record is None or signer in record.messages:
            return
        if (record.candidate.epoch, record.candidate.content) == (message.epoch, message.content):
            record.messages[signer] = message
            self._archive.save_round(record)

    async def _compare_notes(self, peer: FullNodeReader) -> None:
        """A log that shows another history to a peer is found out here."""
        for log in (await peer.status()).logs:
            if log.origin == self.origin and log.note and not self._state.stopped:
                key = log_key(self._trust(), self.origin, self._clock.now())
                await self._follower.notice(notes.verify_checkpoint(log.note, self.origin, [key]))

    async def _submit_offences(self) -> None:
        for offence in list(self._journal.offences.values()):
            first, second = parse_offence(offence)
            if first.origin != self.origin:
                continue
            try:
                if isinstance(first, Vote) and isinstance(second, Vote):
                    await self._chain.submit_double_vote(first, second)
                elif isinstance(first, FinalityMessage) and isinstance(second, FinalityMessage):
                    await self._chain.submit_double_finality(first, second)
            except UnavailableError as error:
                self.progress.problems["peers"] = f"an offence waits to be submitted: {error.code}"
                return
            except RefusedError as error:  # punished by somebody else, or nothing left to punish
                _LOG.info("the chain refused evidence: %s", error.code, extra={"code": error.code})
            await self._journal.record_punished(offence)

    def _say(self, text: str, *values: object) -> None:
        _LOG.info(text, *values, extra={"origin": self.origin, "address": self._address})

    # What it shows

    def votes(self, number: int, voters: Iterable[str] = ()) -> list[dict[str, Any]]:
        """Votes of a round as they are served: signed ones, then voters of whom only the chain tells."""
        signed: dict[tuple[str, int, int], Vote] = {
            (self._address, item.vote.attempt, item.vote.epoch): item.vote
            for key, item in sorted(self._state.votes.items())
            if key[1] == number
        }
        for voter, vote in self.watch.votes_in(number):
            signed.setdefault((voter, vote.attempt, vote.epoch), vote)
        shown: list[dict[str, Any]] = [
            {"voter": voter, "vote": vote.to_json()} for (voter, _, _), vote in signed.items()
        ]
        known = {voter for voter, _, _ in signed}
        shown += [{"voter": voter, "vote": None} for voter in sorted(voters) if voter not in known]
        return shown

    def missing_votes(self) -> list[str]:
        """Members whose vote for the open round's candidate has not been counted; none while there is no candidate."""
        now = self.open
        if now is None or now.candidate is None:
            return []
        epoch = self._epochs.get(now.candidate.epoch)
        return [] if epoch is None else [address for address in epoch.addresses if address not in now.voters]


def refuse_untrusted_epoch(trust: Trust, origin: str, number: int, epoch: Epoch, chain: Chain) -> None:
    """The chain proposes, trust admits: raise ``round.untrusted`` unless both name the same contract and stakes."""
    trusted_chain, trusted = trust.chain(origin), trust.epoch(origin, number)
    if trusted_chain is None or trusted is None:
        raise UndecidedError("round.untrusted", f"trust names no chain or no epoch for {origin!r}")
    if (trusted_chain.chain_id, trusted_chain.contract) != (chain.domain.chain_id, chain.domain.contract):
        raise RefusedError("round.untrusted", "this is not the contract that trust names")
    stakes: dict[str, int] = {}
    for digest, stake in trusted.stakes.items():
        admission = trust.admission(digest)
        key = admission.key_document.key_for("vote") if admission is not None else None
        if key is None:
            raise RefusedError("round.untrusted", "trust gives stake to a node without a vote key")
        stakes[evm.address_of(key.public)] = stake
    same_shares = stakes.keys() == epoch.stakes.keys() and all(
        stake * epoch.total == epoch.stakes[address] * trusted.total for address, stake in stakes.items()
    )
    if epoch.number != trusted.number or not same_shares:
        raise RefusedError("round.untrusted", f"the chain's epoch {epoch.number} is not the one that trust admits")


def _raise_disk(error: HoldfastError) -> None:
    """A node whose disk fails stops; everything else it survives."""
    if error.code.startswith(("wal.", "storage.")):
        raise error
