"""Honest nodes that differ still end a round, and a minority of liars never gets its way."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import rounds
from holdfast.core.rounds import VerdictEntry
from holdfast.nodes.full import decide
from holdfast.nodes.full.decide import CANNOT_TELL, NOTHING_SETTLED, Answer, Opinion

ORIGIN = "holdfast.test/log/1"
CODES = ("ok", "refuted:signature", "refuted:backdated")
MEMBERS = 4


def digest(index: int) -> bytes:
    return index.to_bytes(32)


@dataclass
class Node:
    """What one honest node thinks; the trees agree, the opinions need not."""

    opinions: list[Opinion]
    differing: set[int] = field(default_factory=set)

    @property
    def size(self) -> int:
        return len(self.opinions)

    def root_at(self, size: int) -> bytes:
        return b"%032d" % size

    def opinion(self, index: int) -> Opinion:
        return self.opinions[index]

    def final_code(self, index: int) -> str:
        return self.opinions[index].code

    def superseding(self) -> dict[int, str]:
        return {}

    def propose(self, attempt: int) -> decide.Proposal | None:
        withdrawn = self.differing if attempt >= MEMBERS else set()
        if attempt < MEMBERS and any(mine.late for mine in self.opinions):
            return None
        return decide.build_proposal(
            self, NOTHING_SETTLED, origin=ORIGIN, epoch=1, attempt=attempt, size=self.size, withdrawn=withdrawn
        )

    def judge(self, proposal: decide.Proposal, votes: int) -> decide.Judgement:
        verdicts = rounds.parse_verdict_blob(proposal.blob)
        judgement = decide.judge(
            proposal.candidate, verdicts, NOTHING_SETTLED, self, backed=decide.more_than_a_third(votes, MEMBERS)
        )
        self.differing |= set(judgement.differing)
        return judgement


def opinions(count: int) -> st.SearchStrategy[list[Opinion]]:
    definite = st.sampled_from([*CODES, CANNOT_TELL]).map(lambda code: (code, ()))
    late = st.just((CANNOT_TELL, ("ok", "refuted:backdated")))
    one = st.one_of(definite, definite, late)
    return st.lists(one, min_size=count, max_size=count).map(
        lambda items: [Opinion(digest(index), code, possible) for index, (code, possible) in enumerate(items)]
    )


def play(
    nodes: list[Node | None], lie: list[VerdictEntry] | None = None
) -> tuple[int, tuple[VerdictEntry, ...]] | None:
    """Attempts in turn until one has more than two thirds; None is a node that proposes and votes for ``lie`` only."""
    for attempt in range(4 * MEMBERS):
        proposer = nodes[(1 + attempt) % MEMBERS]
        if proposer is None:
            if lie is None:
                continue
            blob = rounds.verdict_blob(lie)
            size = len(lie)
            candidate = rounds.Candidate(
                ORIGIN, 1, 1, attempt, bytes(32), size, b"%032d" % size, rounds.verdict_root(lie), rounds.blob_id(blob)
            )
            proposal: decide.Proposal | None = decide.Proposal(candidate, blob)
        else:
            proposal = proposer.propose(attempt)
        if proposal is None:
            continue
        votes = {(1 + attempt) % MEMBERS}
        for _ in range(2):  # those who wait for others look again
            for place, node in enumerate(nodes):
                if node is not None and node.judge(proposal, len(votes)).answer is Answer.VOTE:
                    votes.add(place)
        if 3 * len(votes) > 2 * MEMBERS:
            return attempt, rounds.parse_verdict_blob(proposal.blob)
    return None


@given(st.integers(1, 4).flatmap(lambda count: st.lists(opinions(count), min_size=MEMBERS, max_size=MEMBERS)))
def test_four_honest_nodes_that_differ_about_anything_end_the_round(views):
    ended = play([Node(view) for view in views])
    assert ended is not None


@given(st.integers(1, 4).flatmap(lambda count: st.lists(opinions(count), min_size=3, max_size=3)))
def test_three_honest_nodes_end_the_round_without_the_fourth(views):
    assert play([*(Node(view) for view in views), None]) is not None


@given(
    st.integers(1, 4).flatmap(
        lambda count: st.tuples(
            st.lists(opinions(count), min_size=3, max_size=3),
            st.lists(st.sampled_from([*CODES, CANNOT_TELL]), min_size=count, max_size=count),
        )
    )
)
def test_whatever_one_liar_proposes_every_final_claim_was_found_by_an_honest_node(case):
    views, lies = case
    lie = [VerdictEntry(index, digest(index), code) for index, code in enumerate(lies)]
    ended = play([*(Node(view) for view in views), None], lie)
    assert ended is not None
    for entry in ended[1]:
        if entry.code != CANNOT_TELL:
            found = [view[entry.index] for view in views]
            assert any(entry.code == mine.code or entry.code in mine.possible for mine in found)
            assert sum(entry.code not in {mine.code, *mine.possible} for mine in found) <= 1
