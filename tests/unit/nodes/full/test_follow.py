"""When an entry was first seen, and what depends on it."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from holdfast.core.encoding import time_encode
from holdfast.core.trust import parse_trust_chain, verify_trust
from holdfast.errors import UndecidedError
from holdfast.nodes.full.follow import examine, log_key
from holdfast.nodes.full.ledger import Ledger
from holdfast.verifier.checks import CheckPolicy
from tests.helpers.full_network import ORIGIN, START, Network, Seat

MINUTE_MS = 60_000
START_MS = int(START.timestamp() * 1000)


def examined(earliest_ms: int, latest_ms: int, *, claimed_ms: int = 0) -> tuple[str, tuple[str, ...]]:
    network = Network(1)
    trust = verify_trust(parse_trust_chain(network.trust_file()))
    at = START + dt.timedelta(milliseconds=claimed_ms)
    entry = network.gateway.seal(network.gateway.route(1, at=at))
    check, possible = examine(
        entry,
        index=0,
        earliest_ms=START_MS + earliest_ms,
        latest_ms=START_MS + latest_ms,
        trust=trust,
        policy=CheckPolicy(),
        history=Ledger(ORIGIN),
    )
    return check.code, possible


def test_an_entry_seen_at_once_has_one_verdict():
    assert examined(0, 1000) == ("ok", ())
    assert examined(11 * MINUTE_MS, 11 * MINUTE_MS + 500) == ("refuted:backdated", ())


def test_an_entry_that_may_have_come_in_time_has_two_possible_verdicts():
    assert examined(0, 60 * MINUTE_MS) == ("refuted:backdated", ("ok", "refuted:backdated"))
    assert examined(-60 * MINUTE_MS, 60 * MINUTE_MS) == ("refuted:backdated", ("ok", "refuted:backdated"))


def test_an_entry_that_was_too_late_at_any_moment_is_refuted():
    assert examined(11 * MINUTE_MS, 60 * MINUTE_MS) == ("refuted:backdated", ())


def test_a_claim_that_lies_in_the_future_even_now_is_refuted():
    assert examined(-60 * MINUTE_MS, 0, claimed_ms=MINUTE_MS) == ("refuted:future", ())


def test_an_untrusted_origin_has_no_key():
    network = Network(1)
    trust = verify_trust(parse_trust_chain(network.trust_file()))
    assert log_key(trust, ORIGIN, START).public == network.log_signer.key.public
    with pytest.raises(UndecidedError, match=r"log\.untrusted"):
        log_key(trust, "holdfast.test/log/2", START)
    with pytest.raises(UndecidedError, match=r"log\.untrusted"):
        log_key(trust, ORIGIN, START + dt.timedelta(days=400))


def play(scenario) -> None:
    async def run() -> None:
        network = Network(1)
        await network.open()
        await scenario(network, network.seats[0])

    asyncio.run(run())


def test_a_backlog_is_worked_off_in_chunks_each_bound_to_the_checkpoint():
    async def scenario(network: Network, seat: Seat) -> None:
        network.answer(600)
        steps = 0
        while await seat.up.step_log(ORIGIN):
            steps += 1
        state = seat.up.journal.origins[ORIGIN]
        assert (steps, state.ledger.size) == (2, 1200)
        assert state.note == network.log.note()

    play(scenario)


def test_a_wrong_entry_in_the_middle_of_a_backlog_is_found_before_the_end():
    async def scenario(network: Network, seat: Seat) -> None:
        network.answer(600)
        network.log.serve_other[700] = network.gateway.run(9999)[0]
        while await seat.up.step_log(ORIGIN):
            pass
        assert seat.up.journal.origins[ORIGIN].ledger.size == 512
        assert "log.withheld" in seat.up.followers[ORIGIN].problem

    play(scenario)


def test_after_a_restart_the_ledger_is_what_it_was():
    async def scenario(network: Network, seat: Seat) -> None:
        network.answer(200)
        await network.until(network.all_final)
        before = seat.up.journal.origins[ORIGIN]
        network.stop(seat)
        await network.start(seat)
        after = seat.up.journal.origins[ORIGIN]
        assert after.ledger.root_at(400) == before.ledger.root_at(400)
        assert [after.ledger.opinion(i) for i in range(400)] == [before.ledger.opinion(i) for i in range(400)]
        assert (after.spoken, after.adopted, after.last_finality) == (
            before.spoken,
            before.adopted,
            before.last_finality,
        )
        assert after.ledger.final_size == 400

    play(scenario)


def test_a_log_that_does_not_answer_is_a_sentence_in_the_status():
    async def scenario(network: Network, seat: Seat) -> None:
        network.log.silent = True
        await seat.up.step_log(ORIGIN)
        assert "http.unreachable" in seat.up.status()["logs"][0]["problem"]
        network.log.silent = False
        await seat.up.step_log(ORIGIN)
        assert seat.up.status()["logs"][0]["problem"] == ""

    play(scenario)


def test_trust_that_changes_while_a_chunk_is_checked_misses_none_of_its_entries():
    async def scenario(network: Network, seat: Seat) -> None:
        network.answer(100)
        moment = time_encode(START)
        network.revocations[network.gateway.document.digest] = {
            "at": moment,
            "suspect_since": moment,
            "reason": "stolen",
        }
        network.add_trust_version()
        ledger = seat.up.journal.origins[ORIGIN].ledger
        following = asyncio.create_task(seat.up.step_log(ORIGIN))
        while not ledger.size:  # noqa: ASYNC110 - it tells nobody how far it is
            await asyncio.sleep(0)
        assert ledger.size < 200
        await asyncio.gather(following, seat.up.step_trust())
        for _ in range(2):
            ledger = seat.up.journal.origins[ORIGIN].ledger
            assert [ledger.opinion(index).code for index in range(200)] == ["refuted:key-revoked"] * 200
            network.stop(seat)
            await network.start(seat)

    play(scenario)
