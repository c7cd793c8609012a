"""Collecting over real books, a real facilitator and a real chain: what is never taken comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.till_store_sql import SQLTillStore
from holdfast.core import evm, x402
from holdfast.core.captures import selector
from holdfast.core.x402 import address_word
from holdfast.errors import MalformedError
from holdfast.nodes.gateway.books import Books
from holdfast.nodes.gateway.collector import NOT_CAPTURED, WATCHED_S
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.collecting import Shop, silent
from tests.helpers.facilitator import EACH
from tests.helpers.payments import TEST_TOKEN, payer

pytestmark = NEEDS_MACHINE
TRANSFER = selector("transfer(address,uint256)")
CANCEL = selector("invalidateUnorderedNonces(uint256,uint256)")


def tell(story: Callable[[Shop], Awaitable[Any]], **options: Any) -> None:
    """Run a story in a fresh shop."""

    async def run() -> None:
        shop = Shop(**options)
        await shop.open()
        try:
            await story(shop)
            assert shop.store.faults() == []
        finally:
            await shop.close()

    asyncio.run(run())


# --- what is never taken ----------------------------------------------------------------------------------------------


def test_nothing_is_taken_for_a_run_that_is_refuted_when_it_is_decided() -> None:
    async def story(shop: Shop) -> None:
        identity, (good, wrong) = shop.sell(100, 50)
        shop.judge.say(wrong, "refuted")
        await shop.collecting(idle_s=0).turns()
        assert await shop.earned() == 100
        assert shop.stands(identity) == "captured"
        assert shop.events(good) == ["charged", "captured"]
        assert shop.events(wrong) == ["charged", "lapsed"]
        assert shop.told(wrong)[-1].reason == "payment.refuted"

    tell(story)


def test_a_refuted_run_alone_is_never_shown_to_the_facilitator() -> None:
    async def story(shop: Shop) -> None:
        identity, (wrong,) = shop.sell(50, scheme=x402.EXACT)
        shop.judge.say(wrong, "refuted")
        await shop.collecting().turns()
        assert shop.stands(identity) == "lapsed"
        assert shop.events(wrong) == ["charged", "lapsed"]
        assert shop.wire.asked == []
        assert await shop.earned() == 0

    tell(story)
    tell(story, timing="on_answer")


def test_on_proof_what_is_not_final_in_time_lapses_and_says_so() -> None:
    async def story(shop: Shop) -> None:
        identity, (slow,) = shop.sell(50)
        shop.judge.say(slow, "pending")
        collecting = shop.collecting(idle_s=0)
        await collecting.turns(3)
        assert shop.stands(identity) == "closed"
        shop.clock.time += 600 - 30 - 3 - 2
        await collecting.turn()
        assert shop.stands(identity) == "closed"
        shop.clock.time += 2
        await collecting.turn()
        assert shop.stands(identity) == "lapsed"
        assert [document.reason for document in shop.told(slow)] == [None, "payment.unproved"]
        assert shop.wire.asked == []

    tell(story)


def test_a_private_run_is_not_captured_on_proof_whoever_let_it_in() -> None:
    async def story(shop: Shop) -> None:
        _, (hidden,) = shop.sell(50)
        shop.judge.say(hidden, "silent")
        await shop.collecting(idle_s=0).turns(2)
        assert [document.reason for document in shop.told(hidden)] == [None, "payment.unprovable"]

    tell(story)


def test_after_the_deadline_nothing_is_taken_any_more() -> None:
    async def story(shop: Shop) -> None:
        identity, (run,) = shop.sell(50)
        shop.clock.time += 598
        await shop.collecting().turns(2)
        assert shop.stands(identity) == "lapsed"
        assert shop.told(run)[-1].reason == "payment.too_late"

    tell(story)


def test_a_run_under_way_at_the_last_moment_costs_nothing() -> None:
    async def story(shop: Shop) -> None:
        payload = shop.signed()
        done, long = shop.hold(payload, 100), shop.hold(payload, 200, first=False)
        shop.charge(done, 70)
        shop.clock.time += 571
        collecting = shop.collecting()
        await collecting.turns()
        assert await shop.earned() == 70
        assert [hold.stands for hold in shop.holds(shop.accept(payload).identity)] == ["captured", "released"]
        assert shop.events(long) == []

    tell(story)


def test_a_run_that_cannot_be_judged_keeps_no_other_from_being_paid() -> None:
    async def story(shop: Shop) -> None:
        poisoned, (strange,) = shop.sell(70)
        shop.clock.time += 1
        sound, _ = shop.sell(50)
        judge = shop.judge.of

        async def of(run: str) -> Any:
            if run == strange:
                raise MalformedError("bundle.journal", "nobody can read this")
            return await judge(run)

        shop.judge.of = of  # type: ignore[method-assign]
        await shop.collecting(idle_s=0).turns()
        assert (shop.stands(poisoned), shop.stands(sound)) == ("closed", "captured")
        assert await shop.earned() == 50

    tell(story)


def test_another_gateways_runs_are_left_to_it() -> None:
    async def story(shop: Shop) -> None:
        identity, (run,) = shop.sell(50, scheme=x402.EXACT)
        shop.judge.say(run, None)
        await shop.collecting().turns(3)
        assert shop.stands(identity) == "closed"

    tell(story)


# --- what is taken ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", [True, False])
def test_one_capture_takes_what_all_runs_of_an_authorization_cost(chain: bool) -> None:
    async def story(shop: Shop) -> None:
        identity, runs = shop.sell(100, 0, 50)
        collecting = shop.collecting(chain=chain, idle_s=0)
        await collecting.turns()
        assert await shop.earned() == 150
        found = shop.authorization(identity)
        assert (found.stands, found.capture) == ("captured", 150)
        taken = [shop.told(run)[-1] for run in runs]
        assert [document.captured for document in taken] == [100, None, 50]
        assert taken[1].reason == "payment.nothing_due"
        assert {document.transaction for document in taken} == {found.transaction, None}
        assert shop.wire.asked.count("POST /settle") == 1
        assert sorted(collecting.told) == sorted(runs)
        shop.clock.time += WATCHED_S + 1
        await collecting.turns(2)
        assert await shop.earned() == 150

    tell(story)


def test_exact_takes_all_that_was_signed() -> None:
    async def story(shop: Shop) -> None:
        identity, (run,) = shop.sell(40, scheme=x402.EXACT, cap=100)
        await shop.collecting().turns()
        assert await shop.earned() == 100
        assert shop.told(run)[-1].captured == 100
        assert shop.stands(identity) == "captured"

    tell(story)


def test_on_answer_waits_for_no_proof() -> None:
    async def story(shop: Shop) -> None:
        _, (run,) = shop.sell(40, scheme=x402.EXACT, cap=40)
        shop.judge.say(run, "pending")
        await shop.collecting().turns()
        assert shop.events(run) == ["charged", "captured"]

    tell(story, timing="on_answer")


def test_on_proof_takes_as_soon_as_the_last_run_is_final() -> None:
    async def story(shop: Shop) -> None:
        identity, (first, last) = shop.sell(40, 2)
        shop.judge.say(last, "pending")
        collecting = shop.collecting(idle_s=0)
        await collecting.turns(3)
        assert shop.stands(identity) == "closed"
        shop.judge.say(last, "final")
        await collecting.turns()
        assert [shop.events(run)[-1] for run in (first, last)] == ["captured", "captured"]

    tell(story)


def test_an_authorization_serves_until_it_is_idle() -> None:
    async def story(shop: Shop) -> None:
        payload = shop.signed()
        identity, run = shop.accept(payload).identity, shop.hold(payload, 100)
        collecting = shop.collecting(idle_s=50)
        await collecting.turns(2, seconds=100)
        assert shop.stands(identity) == "open"
        shop.charge(run, 100)
        await collecting.turn(49)
        await collecting.turn()
        assert shop.stands(identity) == "open"
        await collecting.turns()
        assert shop.stands(identity) == "captured"

    tell(story)


# --- silence, loss and lies -------------------------------------------------------------------------------------------


def test_a_lost_answer_a_lost_job_and_a_new_process_lead_to_the_same_capture() -> None:
    async def story(shop: Shop) -> None:
        identity, _ = shop.sell(100, scheme=x402.EXACT, cap=100)
        shop.wire.lost = silent
        await shop.collecting().turns(3)
        assert shop.stands(identity) == "capturing"
        shop.wire.lost = lambda _: None
        again = shop.collecting()
        await again.turn(5)
        fresh = type(shop.facilitator)(shop.world, depth=shop.depth)  # it lost everything, after it had captured
        await shop.facilitator.finish()
        shop.wire.facilitator = shop.facilitator = fresh
        await shop.collecting().turns(4, seconds=5)
        assert await shop.earned() == 100
        assert shop.stands(identity) == "captured"

    tell(story)


def test_a_silent_facilitator_costs_time_and_is_said() -> None:
    async def story(shop: Shop) -> None:
        identity, _ = shop.sell(100, scheme=x402.EXACT, cap=100)
        shop.wire.fault = silent
        collecting = shop.collecting()
        await collecting.turns(3)
        assert collecting.collector.trouble_of(identity) == "no answer"
        assert collecting.metrics.levels["holdfast_gateway_captures_open",] == 1
        shop.wire.fault = lambda _: None
        await collecting.turns(20, seconds=5)
        assert shop.stands(identity) == "captured"
        assert collecting.collector.trouble_of(identity) == ""

    tell(story)


def test_a_payer_who_empties_the_account_is_told_as_failed_and_stays_exposed() -> None:
    async def story(shop: Shop) -> None:
        identity, (run,) = shop.sell(100, scheme=x402.EXACT, cap=100)
        await shop.world.send(payer(0), TEST_TOKEN, TRANSFER + address_word(payer(1).address) + evm.word(EACH))
        await shop.world.mine()
        await shop.collecting().turns()
        assert shop.events(run) == ["charged", "failed"]
        assert shop.told(run)[-1].reason == "payment.balance"
        assert shop.stands(identity) == "failed"
        new = shop.authorization(identity).new
        assert shop.store.exposure(new.payer, new.network, new.asset) == 100
        assert await shop.earned() == 0

    tell(story)


def lying(shop: Shop, said: dict[str, Any]) -> None:
    """A facilitator that says how every capture ended, and does nothing."""

    def garble(path: str, value: Any) -> Any:
        job = value.get("paymentJob", value)
        if "jobId" not in job:
            return value
        ended = "succeeded" if said["success"] else "failed"
        return (
            {**job, "status": ended, "result": said}
            if path != "/settle"
            else {"paymentJob": {**job, "status": ended, "result": said}}
        )

    shop.wire.garble = garble


SUCCESS = {"success": True, "transaction": "0x" + "ab" * 32, "network": "eip155:31337"}
FAILURE = {"success": False, "transaction": "", "network": "eip155:31337", "errorReason": "of its own"}


def test_a_facilitator_that_lies_about_success_is_noticed_by_who_reads_the_chain() -> None:
    async def story(shop: Shop) -> None:
        identity, (run,) = shop.sell(100, scheme=x402.EXACT, cap=100)
        lying(shop, SUCCESS)
        collecting = shop.collecting()
        for _ in range(20):
            await collecting.collector.step()
            shop.clock.time += 20
        assert shop.stands(identity) == "capturing"
        assert "the chain does not show it" in collecting.collector.trouble_of(identity)
        assert collecting.metrics.levels["holdfast_gateway_captures_disputed",] == 1
        shop.clock.time += 600
        await collecting.collector.step()
        assert shop.told(run)[-1].reason == NOT_CAPTURED
        assert shop.stands(identity) == "failed"

    tell(story)


def test_without_a_chain_the_facilitators_word_is_all_there_is() -> None:
    async def story(shop: Shop) -> None:
        _, (run,) = shop.sell(100, scheme=x402.EXACT, cap=100)
        lying(shop, SUCCESS)
        await shop.collecting(chain=False).turns(2)
        assert shop.told(run)[-1].transaction == "0x" + "ab" * 32

    tell(story)


def test_a_facilitator_that_names_another_amount_is_not_believed() -> None:
    async def story(shop: Shop) -> None:
        identity, _ = shop.sell(100, scheme=x402.EXACT, cap=100)
        lying(shop, SUCCESS | {"amount": "99"})
        collecting = shop.collecting(chain=False)
        await collecting.turns(2)
        assert shop.stands(identity) == "capturing"
        assert "another amount" in collecting.collector.trouble_of(identity)

    tell(story)


@pytest.mark.parametrize("scheme", [x402.EXACT, x402.UPTO])
def test_a_facilitator_that_lies_about_failure_is_noticed_by_who_reads_the_chain(scheme: str) -> None:
    async def story(shop: Shop) -> None:
        identity, (run,) = shop.sell(100, scheme=scheme, cap=100)
        other, _ = shop.sell(100, scheme=scheme, cap=100)  # looks the same, and is another payment
        collecting = shop.collecting(idle_s=0)
        await collecting.collector.step()
        await shop.facilitator.finish()
        await shop.world.mine()
        lying(shop, FAILURE)
        shop.clock.time += 5
        await collecting.turns(3, seconds=5)
        assert shop.events(run) == ["charged", "captured"]
        assert shop.stands(identity) == shop.stands(other) == "captured"
        assert shop.authorization(identity).transaction != "" != shop.authorization(other).transaction
        assert await shop.earned() == 200

    tell(story)


def test_a_payment_that_its_payer_took_back_has_failed() -> None:
    async def story(shop: Shop) -> None:
        payload = shop.signed(100)
        run = shop.hold(payload, 100)
        shop.charge(run, 100)
        nonce = payload.authorization.nonce
        assert isinstance(nonce, int)
        data = CANCEL + evm.word(nonce >> 8) + evm.word(1 << (nonce & 0xFF))
        await shop.world.send(payer(0), x402.PERMIT2, data)
        await shop.world.mine()
        await shop.collecting(idle_s=0).turns()
        assert shop.told(run)[-1].reason == "payment.replayed"

    tell(story)


def test_a_capture_that_a_reorganisation_undoes_is_noticed_and_taken_once() -> None:
    async def story(shop: Shop) -> None:
        identity, _ = shop.sell(100, scheme=x402.EXACT, cap=100)
        collecting = shop.collecting()
        await collecting.turns(6)
        assert shop.stands(identity) == "captured"
        await shop.world.chain.reorganise(6, drop=True)
        shop.world.chain.set_automine(automine=False)
        await shop.world.mine(8)
        assert await shop.earned() == 0
        await collecting.collector.step()
        assert "undone" in collecting.collector.trouble_of(identity)
        assert collecting.metrics.levels["holdfast_gateway_captures_undone",] == 1
        shop.clock.time += WATCHED_S + 1
        await collecting.collector.step()
        assert "undone" in collecting.collector.trouble_of(identity)

    tell(story)


def test_two_gateways_over_one_store_decide_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'till.sqlite'}"

    async def story(shop: Shop) -> None:
        identity, _ = shop.sell(100, scheme=x402.EXACT, cap=100)
        lives = [shop.collecting(books=Books(SQLTillStore(url))) for _ in range(2)]
        await asyncio.gather(*(life.collector.step() for life in lives))
        for _ in range(6):
            for life in lives:
                await life.turn()
        assert shop.stands(identity) == "captured"
        assert await shop.earned() == 100
        assert len([item for item in shop.steps() if item.step.event == "captured"]) == 1

    tell(story, url=url)
