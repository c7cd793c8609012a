"""What was signed is remembered, and asked before anything else is signed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.adapters.storage_simulated import SimulatedCrash, SimulatedDisk
from holdfast.adapters.wal import WriteAheadLog
from holdfast.core import rounds
from holdfast.core.rounds import Candidate, ChainDomain, VerdictEntry
from holdfast.errors import ConflictError, UnavailableError
from holdfast.nodes.full.journal import VOTES_KEPT_ROUNDS, Journal, Offence
from holdfast.nodes.full.ledger import Row
from tests.helpers.full_network import ORIGIN, DirectCommitter

DOMAIN = ChainDomain(31337, "0x" + "5c" * 20)
SIGNER = Secp256k1Signer(b"\x07" * 32)
STAKES = {SIGNER.address: 1}


def candidate(number: int = 1, attempt: int = 0, *, size: int = 1) -> Candidate:
    return Candidate(ORIGIN, 1, number, attempt, bytes(32), size, bytes(32), bytes(32), bytes(32))


class Desk:
    """A journal and the disk under it."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk(1)
        self.open()

    def open(self) -> Journal:
        wal = WriteAheadLog(self.disk.mount(), "journal", 1 << 16)
        self.journal = Journal([ORIGIN], DirectCommitter(wal), SIGNER)
        self.journal.replay(wal.records())
        return self.journal

    def crash(self) -> Journal:
        self.disk.crash("power")
        return self.open()

    def vote(self, about: Candidate) -> rounds.Vote:
        return asyncio.run(self.journal.sign_vote(DOMAIN, about))

    def speak(self, about: Candidate) -> rounds.FinalityMessage | None:
        return asyncio.run(self.journal.sign_finality(DOMAIN, about))


def test_a_second_content_in_one_attempt_is_refused_also_after_a_crash():
    desk = Desk()
    first = desk.vote(candidate())
    assert rounds.verify_vote(DOMAIN, first, STAKES).signer == SIGNER.address
    for _ in range(2):
        with pytest.raises(ConflictError, match=r"round\.already_signed"):
            desk.vote(candidate(size=2))
        assert desk.vote(candidate()) == first
        desk.crash()


def test_another_attempt_or_epoch_is_another_vote():
    desk = Desk()
    contents = {desk.vote(candidate(attempt=attempt, size=attempt + 1)).content for attempt in range(3)}
    assert len(contents) == 3
    assert desk.vote(replace(candidate(size=9), epoch=2)).epoch == 2


def test_a_second_finality_message_in_one_round_is_never_made():
    desk = Desk()
    first = desk.speak(candidate())
    assert first is not None
    for _ in range(2):
        assert desk.speak(candidate()) == first
        assert desk.speak(candidate(size=2)) is None
        assert desk.speak(replace(candidate(), epoch=2)) is None
        desk.crash()


def test_a_round_passed_over_in_silence_stays_silent():
    desk = Desk()
    asyncio.run(desk.journal.stay_silent(ORIGIN, 3))
    assert desk.speak(candidate(3)) is None
    desk.crash()
    assert desk.speak(candidate(2)) is None
    assert desk.speak(candidate(4)) is not None


def test_nothing_is_returned_when_it_could_not_be_made_durable():
    desk = Desk()
    desk.disk.fail_after(1)
    with pytest.raises(UnavailableError):
        desk.vote(candidate())
    assert desk.journal.origins[ORIGIN].votes == {}
    desk.crash()
    assert desk.vote(candidate(size=5)).content == candidate(size=5).content


def test_a_crash_while_signing_releases_nothing_and_forgets_nothing():
    for operations in range(1, 4):
        desk = Desk()
        desk.disk.crash_after(operations)
        try:
            first = desk.vote(candidate())
        except SimulatedCrash:
            first = None
        desk.open()
        if first is not None:
            assert desk.vote(candidate()) == first


def test_votes_too_old_to_be_remembered_are_not_made_again():
    desk = Desk()
    desk.vote(candidate(1))
    desk.vote(candidate(VOTES_KEPT_ROUNDS + 1))
    assert len(desk.journal.origins[ORIGIN].votes) == 1
    with pytest.raises(ConflictError, match="too old"):
        desk.vote(candidate(1, size=2))


@pytest.mark.parametrize(("before", "after"), [("cannot_tell", "ok"), ("ok", "refuted:key-revoked")])
def test_an_opinion_that_changes_while_a_round_is_written_down_is_added_to_it_later(before: str, after: str) -> None:
    async def story() -> None:
        desk = Desk()
        journal = desk.journal
        ledger = journal.origins[ORIGIN].ledger
        row = Row(bytes(32), bytes(32), before, (), 0, "", "", "", "", "", "", "")
        ledger.append(row)
        await journal.record_entries(ORIGIN, 0, [row])
        commit = journal._commit.commit_many

        async def slow(records: Any) -> Any:
            ledger.revise(0, after)
            return await commit(records)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal._commit, "commit_many", slow)
            await journal.record_adopted(candidate(), [VerdictEntry(0, bytes(32), before)], [])
        await journal.record_revised(ORIGIN, [(0, after)])
        for known in (ledger, desk.crash().origins[ORIGIN].ledger):
            assert (known.final_code(0), known.superseding()) == (before, {0: after})

    asyncio.run(story())


def test_offences_are_kept_once_until_they_are_punished():
    desk = Desk()
    offence = Offence("votes", b"{}", b"[]")

    async def record() -> None:
        await desk.journal.record_offence(offence)
        await desk.journal.record_offence(offence)

    asyncio.run(record())
    desk.crash()
    assert list(desk.journal.offences.values()) == [offence]
    asyncio.run(desk.journal.record_punished(offence))
    asyncio.run(desk.journal.record_offence(offence))
    desk.crash()
    assert desk.journal.offences == {}


def test_records_of_a_newer_version_are_not_skipped():
    desk = Desk()
    wal = WriteAheadLog(desk.disk.mount(), "journal", 1 << 16)
    wal.append(200, b"from the future")
    wal.sync()
    with pytest.raises(ConflictError, match=r"journal\.kind"):
        desk.open()


def test_an_origin_that_is_not_followed_any_more_is_left_alone():
    desk = Desk()
    desk.vote(candidate())
    wal = WriteAheadLog(desk.disk.mount(), "journal", 1 << 16)
    other = Journal(["holdfast.test/log/2"], DirectCommitter(wal), SIGNER)
    other.replay(wal.records())
    assert other.origins["holdfast.test/log/2"].votes == {}
