"""Watching the other full nodes: their votes, their finality messages, and two where one is allowed.

Messages come from the nodes themselves and from each other, so a node that tells one half of the network this and the
other half that is found out as soon as two of them talk. A pair that proves it is durable before it is submitted, and
is submitted until the chain has punished it.

Rules: only messages whose signature names a member of the message's epoch are kept; of each signer one message an
attempt (a round) is kept, the first that came. Memory is bounded by forgetting rounds far behind.

Not covered: asking the others (``settle.py``) and the chain's own rule (``contracts/Rounds.vy``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.core import canonical, rounds
from holdfast.core.rounds import ChainDomain, FinalityMessage, Vote
from holdfast.errors import HoldfastError, MalformedError
from holdfast.nodes.full.journal import Journal, Offence

ROUNDS_WATCHED = 256
"""Votes and finality messages of rounds further behind are not compared any more."""


class Watch:
    """What the full nodes of one origin have signed, as far as this node has seen it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._votes: dict[tuple[int, int, int], dict[str, Vote]] = {}
        self._finality: dict[int, dict[str, FinalityMessage]] = {}

    def knows(self, vote: Vote) -> bool:
        """Whether exactly this vote was taken in before; spares recovering its signer."""
        return vote in self._votes.get((vote.number, vote.attempt, vote.epoch), {}).values()

    async def vote(self, domain: ChainDomain, vote: Vote, stakes: Mapping[str, int]) -> bool:
        """Take in a vote; False when it is nobody's. A second, different one becomes an offence."""
        try:
            signer = rounds.verify_vote(domain, vote, stakes).signer
        except HoldfastError:
            return False
        first = self._votes.setdefault((vote.number, vote.attempt, vote.epoch), {}).setdefault(signer, vote)
        if first.content != vote.content:
            await self._journal.record_offence(_offence("votes", first, vote))
        self._forget(vote.number)
        return True

    async def finality(self, domain: ChainDomain, message: FinalityMessage, stakes: Mapping[str, int]) -> str | None:
        """Take in a finality message; its signer, or None when it is nobody's. A second one becomes an offence."""
        try:
            signer = rounds.verify_finality_message(domain, message, stakes).signer
        except HoldfastError:
            return None
        first = self._finality.setdefault(message.number, {}).setdefault(signer, message)
        if (first.epoch, first.content) != (message.epoch, message.content):
            await self._journal.record_offence(_offence("finality", first, message))
        self._forget(message.number)
        return signer

    def votes_in(self, number: int) -> list[tuple[str, Vote]]:
        """Every vote seen in a round, with its signer, by attempt and signer."""
        keys = sorted(key for key in self._votes if key[0] == number)
        return [item for key in keys for item in sorted(self._votes[key].items())]

    def _forget(self, newest: int) -> None:
        floor = newest - ROUNDS_WATCHED
        if len(self._votes) + len(self._finality) > 8 * ROUNDS_WATCHED or any(n < floor for n in self._finality):
            self._votes = {key: value for key, value in self._votes.items() if key[0] >= floor}
            self._finality = {number: value for number, value in self._finality.items() if number >= floor}


def _offence(kind: str, first: Vote | FinalityMessage, second: Vote | FinalityMessage) -> Offence:
    """The same pair in the same order, whichever came first, so that it is kept once."""
    one, other = sorted(canonical.encode(item.to_json()) for item in (first, second))
    return Offence(kind, one, other)


def parse_offence(offence: Offence) -> tuple[Vote, Vote] | tuple[FinalityMessage, FinalityMessage]:
    """The two messages of an offence."""
    one: Any = canonical.decode_object(offence.first)
    other: Any = canonical.decode_object(offence.second)
    if offence.kind == "votes":
        return rounds.parse_vote(one), rounds.parse_vote(other)
    if offence.kind == "finality":
        return rounds.parse_finality_message(one), rounds.parse_finality_message(other)
    raise MalformedError("journal.offence", f"unknown kind of offence {offence.kind!r}")
