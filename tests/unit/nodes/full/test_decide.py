"""The full node's decisions, without a node."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from holdfast.core import rounds
from holdfast.core.rounds import VerdictEntry
from holdfast.nodes.full import decide
from holdfast.nodes.full.decide import NOTHING_SETTLED, Answer, Move, Opinion, Settled, Situation

ORIGIN = "holdfast.test/log/1"


def digest(index: int) -> bytes:
    return index.to_bytes(32)


@dataclass
class FakeView:
    codes: list[Opinion]
    finals: dict[int, str] = field(default_factory=dict)
    adding: dict[int, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.codes)

    def root_at(self, size: int) -> bytes | None:
        return b"%032d" % size if size <= self.size else None

    def opinion(self, index: int) -> Opinion:
        return self.codes[index]

    def final_code(self, index: int) -> str:
        return self.finals.get(index, self.codes[index].code)

    def superseding(self) -> dict[int, str]:
        return self.adding


def view(*codes: str) -> FakeView:
    return FakeView([Opinion(digest(index), code) for index, code in enumerate(codes)])


def late(index: int, *possible: str) -> Opinion:
    return Opinion(digest(index), "cannot_tell", possible)


def judge(mine: FakeView, *claimed: str, settled: Settled = NOTHING_SETTLED, backed: bool = False) -> decide.Judgement:
    """Judge an honest-looking candidate that claims these codes for the newest entries."""
    first = len(mine.codes) - len(claimed)
    verdicts = [VerdictEntry(first + place, digest(first + place), code) for place, code in enumerate(claimed)]
    return decide.judge(candidate(mine, settled, verdicts), verdicts, settled, mine, backed=backed)


def candidate(mine: FakeView, settled: Settled, verdicts: list[VerdictEntry]) -> rounds.Candidate:
    blob = rounds.verdict_blob(verdicts)
    root = settled.root if mine.size == settled.size else mine.root_at(mine.size)
    assert root is not None
    return rounds.Candidate(
        ORIGIN,
        1,
        settled.number + 1,
        0,
        settled.content,
        mine.size,
        root,
        rounds.verdict_root(verdicts),
        rounds.blob_id(blob),
    )


# What may be voted for


@pytest.mark.parametrize(
    ("found", "claimed"),
    [
        ("refuted:signature", "ok"),
        ("ok", "refuted:signature"),
        ("refuted:signature", "refuted:parent"),
        ("cannot_tell", "ok"),
        ("cannot_tell", "refuted:signature"),
    ],
)
def test_what_was_not_found_is_not_voted_for(found, claimed):
    judgement = judge(view("ok", found), "ok", claimed)
    assert judgement.answer is Answer.ABSTAIN
    assert judgement.contested == (1,)
    assert claimed in judgement.reason


@pytest.mark.parametrize("code", ["ok", "refuted:signature", "cannot_tell"])
def test_equal_verdicts_are_voted_for(code):
    assert judge(view(code), code).answer is Answer.VOTE


@pytest.mark.parametrize("found", ["ok", "refuted:signature"])
def test_a_proposer_that_claims_nothing_is_voted_for(found):
    assert judge(view(found), "cannot_tell").answer is Answer.VOTE


def test_who_came_late_waits_for_those_who_were_there_and_then_follows_a_possible_verdict():
    mine = FakeView([late(0, "ok", "refuted:backdated")])
    assert judge(mine, "ok", backed=False).answer is Answer.WAIT
    assert judge(mine, "ok", backed=True).answer is Answer.VOTE
    assert judge(mine, "refuted:backdated", backed=True).answer is Answer.VOTE
    assert judge(mine, "refuted:signature", backed=True).answer is Answer.ABSTAIN
    assert judge(mine, "cannot_tell", backed=False).answer is Answer.VOTE


def test_another_statement_at_an_index_is_not_voted_for():
    mine = view("ok")
    verdicts = [VerdictEntry(0, digest(7), "ok")]
    judgement = decide.judge(candidate(mine, NOTHING_SETTLED, verdicts), verdicts, NOTHING_SETTLED, mine, backed=True)
    assert judgement.answer is Answer.ABSTAIN


@pytest.mark.parametrize(
    ("lie", "answer"),
    [
        ({"number": 2}, Answer.WAIT),
        ({"previous": b"\x01" * 32}, Answer.ABSTAIN),
        ({"root": bytes(32)}, Answer.ABSTAIN),
        ({"size": 3}, Answer.WAIT),
        ({"size": 1}, Answer.ABSTAIN),
    ],
)
def test_the_frame_of_a_candidate_is_checked_before_its_verdicts(lie, answer):
    mine = view("ok", "ok")
    honest = candidate(mine, NOTHING_SETTLED, [VerdictEntry(index, digest(index), "ok") for index in range(2)])
    judgement = decide.judge_frame(replace(honest, **lie), NOTHING_SETTLED, mine)
    assert judgement is not None
    assert judgement.answer is answer


def test_a_candidate_smaller_than_the_round_before_is_refused():
    settled = Settled(1, 2, b"%032d" % 2, b"\x05" * 32)
    mine = view("ok", "ok", "ok")
    smaller = replace(candidate(mine, settled, [VerdictEntry(2, digest(2), "ok")]), size=1)
    judgement = decide.judge_frame(smaller, settled, mine)
    assert judgement is not None
    assert "smaller" in judgement.reason


SETTLED_ALL = Settled(1, 1, b"%032d" % 1, b"\x05" * 32)


@pytest.mark.parametrize(
    ("mine", "final", "claimed", "answer"),
    [
        (Opinion(digest(0), "ok"), "cannot_tell", "ok", Answer.VOTE),
        (Opinion(digest(0), "refuted:key-revoked"), "ok", "refuted:key-revoked", Answer.VOTE),
        (Opinion(digest(0), "ok"), "ok", "ok", Answer.ABSTAIN),  # says nothing new
        (Opinion(digest(0), "ok"), "ok", "refuted:role", Answer.ABSTAIN),
        (Opinion(digest(0), "ok"), "ok", "cannot_tell", Answer.ABSTAIN),  # would take back what is known
        (late(0, "ok", "refuted:backdated"), "cannot_tell", "ok", Answer.WAIT),
    ],
)
def test_a_superseding_verdict_needs_the_same_newer_opinion(mine, final, claimed, answer):
    known = FakeView([mine], {0: final})
    assert judge(known, claimed, settled=SETTLED_ALL).answer is answer


# What is proposed


def test_a_proposal_says_what_was_found_and_names_the_round_before():
    proposal = decide.build_proposal(
        view("ok", "refuted:role", "ok"), SETTLED_ALL, origin=ORIGIN, epoch=3, attempt=2, size=3
    )
    assert proposal is not None
    assert proposal.candidate.previous == SETTLED_ALL.content
    assert (proposal.candidate.number, proposal.candidate.attempt, proposal.candidate.epoch) == (2, 2, 3)
    entries = rounds.verify_verdicts(proposal.candidate, 1, proposal.blob)
    assert [(entry.index, entry.code) for entry in entries] == [(1, "refuted:role"), (2, "ok")]


def test_nothing_to_say_is_no_proposal():
    assert decide.build_proposal(view("ok"), SETTLED_ALL, origin=ORIGIN, epoch=1, attempt=0, size=1) is None


def test_what_is_withdrawn_becomes_cannot_tell_and_is_not_added_again():
    mine = view("ok", "ok", "ok")
    mine.adding = {0: "ok"}
    mine.finals = {0: "cannot_tell"}
    proposal = decide.build_proposal(mine, SETTLED_ALL, origin=ORIGIN, epoch=1, attempt=4, size=3, withdrawn={0, 2})
    assert proposal is not None
    entries = rounds.parse_verdict_blob(proposal.blob)
    assert [(entry.index, entry.code) for entry in entries] == [(1, "ok"), (2, "cannot_tell")]


def test_superseding_verdicts_come_first_and_alone_keep_size_and_root():
    mine = view("ok")
    mine.adding = {0: "ok"}
    proposal = decide.build_proposal(mine, SETTLED_ALL, origin=ORIGIN, epoch=1, attempt=0, size=1)
    assert proposal is not None
    assert (proposal.candidate.size, proposal.candidate.root) == (SETTLED_ALL.size, SETTLED_ALL.root)


# Whose move it is

IDLE = Situation(
    unsettled=True,
    gathered_s=5.0,
    interval_s=2.0,
    candidate=False,
    answered=False,
    my_turn=False,
    spoken=False,
    silenced=False,
    late=False,
    first_rotation=True,
    timeout=False,
)


@pytest.mark.parametrize(
    ("change", "move"),
    [
        ({"unsettled": False, "my_turn": True}, Move.REST),
        ({"unsettled": False, "timeout": True}, Move.REST),
        ({"unsettled": False, "candidate": True}, Move.JUDGE),
        ({"candidate": True}, Move.JUDGE),
        ({"candidate": True, "answered": True}, Move.AWAIT_VOTES),
        ({"candidate": True, "answered": True, "timeout": True}, Move.OPEN_ATTEMPT),
        ({}, Move.AWAIT_PROPOSER),
        ({"timeout": True}, Move.OPEN_ATTEMPT),
        ({"my_turn": True}, Move.PROPOSE),
        ({"my_turn": True, "timeout": True}, Move.PROPOSE),
        ({"my_turn": True, "gathered_s": 1.0}, Move.GATHER),
        ({"my_turn": True, "gathered_s": 1.0, "spoken": True}, Move.PROPOSE),
        ({"my_turn": True, "silenced": True}, Move.AWAIT_VOTES),
        ({"my_turn": True, "silenced": True, "timeout": True}, Move.OPEN_ATTEMPT),
        ({"my_turn": True, "late": True}, Move.HOLD_BACK),
        ({"my_turn": True, "late": True, "timeout": True}, Move.OPEN_ATTEMPT),
        ({"my_turn": True, "late": True, "first_rotation": False}, Move.PROPOSE),
        ({"my_turn": True, "late": True, "spoken": True}, Move.PROPOSE),
    ],
)
def test_the_first_row_that_fits_decides_the_move(change, move):
    assert decide.next_move(replace(IDLE, **change)) is move


def test_one_third_is_not_more_than_a_third():
    assert not decide.more_than_a_third(1, 3)
    assert decide.more_than_a_third(2, 5)
    assert not decide.more_than_a_third(0, 0)


def test_each_member_has_another_rank_and_the_next_proposer_opens_first():
    members = ["0xa", "0xb", "0xc", "0xd"]
    ranks = [decide.opening_rank(members, me, 6, 3) for me in members]
    assert sorted(ranks) == [0, 1, 2, 3]
    assert ranks[(6 + 4) % 4] == 0
