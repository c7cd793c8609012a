"""What is owed back: a debt for whatever was taken and is refuted afterwards, once, and for nothing else."""

from __future__ import annotations

import pytest

from holdfast.core import x402
from holdfast.errors import UsageError
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.collecting import Shop
from tests.unit.nodes.gateway.test_collector import tell

pytestmark = NEEDS_MACHINE
PAID_BACK = "0x" + "e5" * 32


def test_nothing_is_owed_for_what_was_never_taken() -> None:
    async def story(shop: Shop) -> None:
        _, (wrong, free) = shop.sell(50, 0)
        shop.judge.say(wrong, "refuted")
        life = shop.collecting(idle_s=0)
        await life.turns()
        life.refunds.watch(wrong)
        life.refunds.watch(free)
        await life.refunds.step()
        assert shop.store.debts() == []
        with pytest.raises(UsageError) as refused:
            await life.refunds.repay(wrong, PAID_BACK)
        assert refused.value.code == "refund.unknown"

    tell(story)


@pytest.mark.parametrize(("scheme", "taken"), [(x402.UPTO, 50), (x402.EXACT, 100)])
@pytest.mark.parametrize("timing", ["on_proof", "on_answer"])
def test_a_refutation_after_the_capture_leaves_a_signed_debt_of_what_was_taken(
    scheme: str, taken: int, timing: str
) -> None:
    async def story(shop: Shop) -> None:
        _, (run,) = shop.sell(50, scheme=scheme, cap=100)
        life = shop.collecting(idle_s=0)
        await life.turns()
        assert shop.events(run) == ["charged", "captured"]
        shop.judge.say(run, "refuted")
        await life.turns(2)
        assert shop.events(run) == ["charged", "captured", "refund_due"]
        (debt,) = shop.store.debts()
        assert (debt.run, debt.amount, debt.reason) == (run, taken, "payment.refuted")
        owed = shop.told(run)[-1]
        assert (owed.captured, owed.transaction) == (taken, shop.told(run)[1].transaction)
        assert life.metrics.levels["holdfast_gateway_refunds_due",] == 1
        shop.judge.say(run, "final")
        await life.turns(2)
        assert len(shop.store.debts()) == 1
        assert await life.refunds.repay(run, PAID_BACK)
        assert not await life.refunds.repay(run, PAID_BACK)
        assert shop.told(run)[-1].transaction == PAID_BACK
        assert shop.store.debts() == []

    tell(story, timing=timing)


def test_on_answer_a_run_is_watched_until_it_is_final() -> None:
    async def story(shop: Shop) -> None:
        _, (run,) = shop.sell(50, scheme=x402.EXACT, cap=50)
        shop.judge.say(run, "pending")
        life = shop.collecting()
        await life.turns()
        assert shop.events(run)[-1] == "captured"
        shop.judge.say(run, "refuted")
        await life.turns(2)
        assert shop.events(run)[-1] == "refund_due"

    tell(story, timing="on_answer")


def test_a_refutation_while_the_process_was_down_is_found_by_the_next() -> None:
    async def story(shop: Shop) -> None:
        _, (run,) = shop.sell(50, scheme=x402.EXACT, cap=50)
        await shop.collecting().turns()
        shop.judge.say(run, "refuted")
        await shop.collecting().turns(1)
        assert shop.events(run)[-1] == "refund_due"

    tell(story)


def test_credit_for_a_refuted_run_is_given_back_at_once() -> None:
    async def story(shop: Shop) -> None:
        run = shop.sell_for_credit(70)
        life = shop.collecting()
        life.refunds.watch(run)
        await life.turn()
        spent = shop.store.account("tests").spent
        assert spent > 0
        shop.judge.say(run, "refuted")
        await life.turns(2)
        assert shop.events(run) == ["charged", "captured", "refund_due", "refunded"]
        assert shop.store.account("tests").spent == 0
        assert shop.store.debts() == []

    tell(story)


def test_a_crash_between_a_debt_of_credit_and_its_payment_is_made_good() -> None:
    async def story(shop: Shop) -> None:
        run = shop.sell_for_credit(70)
        life = shop.collecting()
        shop.judge.say(run, "refuted")

        async def cut(*_: object) -> bool:
            raise OSError("the process ends here")

        life.refunds.repay = cut  # type: ignore[method-assign, assignment]
        with pytest.raises(OSError, match="ends here"):
            await life.refunds.step()
        assert shop.events(run)[-1] == "refund_due"
        await shop.collecting().turn()
        assert shop.events(run)[-1] == "refunded"
        assert shop.store.account("tests").spent == 0

    tell(story)


def test_a_start_looks_again_at_what_is_young_alone_while_verdicts_and_trust_are_the_same() -> None:
    async def story(shop: Shop) -> None:
        _, (old,) = shop.sell(50, scheme=x402.EXACT, cap=50)
        life = shop.collecting()
        await life.turns()
        await life.refunds.step()
        shop.clock.time += 2 * 86_400
        _, (young,) = shop.sell(40, scheme=x402.EXACT, cap=40)
        await shop.collecting().turns()
        shop.judge.said |= {old: "refuted", young: "refuted"}  # no verdict was superseded: only who looks sees it
        await shop.collecting().turn()
        assert [debt.run for debt in shop.store.debts()] == [young]
        shop.judge.superseded += 1
        await shop.collecting().turn()
        assert {debt.run for debt in shop.store.debts()} == {old, young}

    tell(story)
