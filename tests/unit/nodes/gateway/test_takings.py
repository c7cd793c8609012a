"""From a paid answer to a capture that full nodes and readers can check, and what a refutation does to it."""

from __future__ import annotations

import json

from holdfast.cli.conformance.statements import EntryHistory
from holdfast.core import offers
from holdfast.core.statements import PaymentBody, parse_commitment
from holdfast.nodes.gateway.refunds import AGAIN_S
from holdfast.verifier.checks import CheckPolicy, check_entry
from tests.helpers.gateway import IDENTITY
from tests.helpers.takings import TRANSACTION, TakingWorld, play
from tests.helpers.till import AUTHORIZED


def events(world: TakingWorld) -> list[str]:
    """What the log holds of payments, in its order."""
    bodies = [statement.body for statement in world.log.statements()]
    return [body.event for body in bodies if isinstance(body, PaymentBody)]


def test_money_is_taken_once_the_run_is_final_and_not_before() -> None:
    async def story(world: TakingWorld) -> None:
        run = await world.buy()
        assert events(world) == ["charged"]
        await world.collect()
        assert (await world.lane(run, "payment"))["state"] == "pending"
        assert not world.facilitator.handed_in
        await world.settle_round(1)
        await world.collect()
        assert events(world) == ["charged", "captured"]
        lane = await world.lane(run, "payment")
        assert (lane["state"], lane["basis"]) == ("proven", "development")
        assert TRANSACTION in lane["says"]
        await world.settle_round(2)
        assert (await world.lane(run, "payment"))["state"] == "proven"

    play(story)


def test_every_full_node_accepts_what_is_told_once() -> None:
    async def story(world: TakingWorld) -> None:
        await world.buy()
        await world.buy("permit2-upto", 1)
        await world.settle_round(1)
        await world.clock.advance(100)
        await world.collect()
        await world.collect()
        assert sorted(events(world)) == ["captured", "captured", "charged", "charged"]
        log = EntryHistory()
        for index, entry in enumerate(world.log.entries):
            seen = world.clock.now()
            check = check_entry(entry, index=index, seen_at=seen, trust=world.trust, policy=CheckPolicy(), history=log)
            log.remember(check, index)
            assert check.code == "ok"

    play(story)


def test_steps_wait_for_the_statements_that_they_stand_on() -> None:
    async def story(world: TakingWorld) -> None:
        reply = await world.ask(AUTHORIZED)
        assert reply.status == 200
        await world.charged()
        assert not await world.takings.delivery.deliver()
        assert world.log.entries == []
        await world.deliver()
        await world.takings.delivery.deliver()
        assert events(world) == ["charged"]
        assert not await world.takings.delivery.deliver()

    play(story)


def test_a_silent_log_gets_everything_later_and_nothing_twice() -> None:
    async def story(world: TakingWorld) -> None:
        await world.buy_for_credit()
        cursor = f"log:{IDENTITY.attester}"
        known = len(world.log.entries)
        await world.till.books.call(world.store.logged, {}, cursor, 0)  # a crash before the cursor was kept
        await world.deliver_all()
        assert len(world.log.entries) == known
        assert await world.till.books.call(world.store.cursor, cursor) > 0

    play(story)


def test_a_bundle_opens_what_was_paid_and_holds_its_proofs() -> None:
    async def story(world: TakingWorld) -> None:
        run = await world.buy()
        await world.settle_round(1)
        await world.collect()
        before = await world.journal(run)
        await world.settle_round(2)
        journal = await world.journal(run)
        assert [item["kind"] for item in journal].count("payment") == 2
        assert journal[: len(before)] == before, "what became known once keeps its place"
        entries = {item["digest"] for item in journal if item["kind"] == "entry"}
        told = {item["digest"] for item in journal if item["kind"] == "payment"}
        assert told < entries
        assert told <= {item["digest"] for item in journal if item["kind"] == "verdict"}
        assert [item["at"] for item in journal] == sorted(item["at"] for item in journal)

    play(story)


def test_a_refuted_run_is_not_paid_and_says_so() -> None:
    async def story(world: TakingWorld) -> None:
        run = await world.buy()
        await world.settle_round(1, {1: "refuted:backdated"})
        await world.collect()
        assert events(world) == ["charged", "lapsed"]
        assert not world.facilitator.handed_in
        lane = await world.lane(run, "payment")
        assert lane["state"] == "unknown"
        assert "payment.refuted" in lane["says"]

    play(story)


def test_a_verdict_that_is_superseded_after_the_capture_leaves_a_debt() -> None:
    async def story(world: TakingWorld) -> None:
        run = await world.buy()
        await world.settle_round(1)
        await world.collect()
        await world.settle_round(2, {1: "refuted:backdated"})
        await world.collect()
        assert events(world) == ["charged", "captured", "refund_due"]
        lane = await world.lane(run, "payment")
        assert (lane["state"], lane["basis"]) == ("unknown", "signature")
        assert (await world.lane(run))["state"] == "refuted"
        (debt,) = await world.till.books.call(world.store.debts)
        assert debt.run == run

    play(story)


def test_credit_for_a_run_that_is_refuted_is_given_back() -> None:
    async def story(world: TakingWorld) -> None:
        run = await world.buy_for_credit()
        await world.settle_round(1, {1: "refuted:backdated"})
        await world.collect()
        await world.collect()
        assert events(world) == ["charged", "captured", "refund_due", "refunded"]
        assert (await world.till.books.call(world.store.account, "first")).spent == 0
        assert "Given back" in (await world.lane(run, "payment"))["says"]

    play(story)


def test_a_private_run_pays_on_answer_and_shows_the_log_commitments_alone() -> None:
    async def story(world: TakingWorld) -> None:
        signed = await world.signed(holdfast={"settlement": "private"})
        reply = await world.ask(signed, holdfast={"settlement": "private"})
        assert reply.status == 200, reply.body
        await world.charged()
        await world.deliver_all()
        await world.collect()
        assert all(parse_commitment(entry) is not None for entry in world.log.entries)
        assert len(world.log.entries) == 4
        run = reply.json()["holdfast"]["run"]
        world.capability = reply.header("x-holdfast-capability") or ""
        view = (await world.payment(run)).json()
        assert [step["event"] for step in view["steps"]] == ["charged", "captured"]

    play(story, capture="on_answer")


def test_both_sides_see_the_payment_and_nobody_else_does() -> None:
    async def story(world: TakingWorld) -> None:
        run = await world.buy()
        await world.settle_round(1)
        await world.collect()
        assert (await world.payment(run, capability="00" * 32)).status == 404
        reply = await world.payment(run)
        assert reply.status == 200, reply.body
        view = reply.json()
        assert view["stands"] == {"run": "captured", "authorization": "captured"}
        assert view["captured"]["transaction"] == TRANSACTION
        assert json.loads(view["signed"]["payload"])["payload"]["authorization"]["to"] == view["offered"]["payee"]
        by = {
            about: [item["answer"] for item in view["checks"] if item["about"] == about] for about in ("payer", "chain")
        }
        assert by == {"payer": ["yes"], "chain": ["cannot_tell"]}
        assert not [item for item in view["checks"] if item["answer"] == "no"]
        receipt = offers.parse_receipt(view["captured"]["receipt"])
        offers.verify_key(receipt, IDENTITY.signer.key)
        assert isinstance(receipt.content, offers.Receipt)
        assert receipt.content.transaction == TRANSACTION

    play(story)


def test_what_can_still_be_handed_in_is_checked_and_shown_to_nobody() -> None:
    """Whoever may read a run could take all of an ``upto`` payment with it, or be paid for a refuted run."""

    async def story(world: TakingWorld) -> None:
        run = await world.buy("permit2-upto")

        async def signed() -> tuple[str | None, list[str]]:
            view = (await world.payment(run)).json()
            checks = [item["answer"] for item in view["checks"] if item["about"] == "payer"]
            return view["signed"]["payload"], checks

        assert await signed() == (None, ["yes"])
        await world.settle_round(1, {1: "refuted:backdated"})
        await world.clock.advance(100)
        await world.collect()
        assert (await world.payment(run)).json()["stands"]["authorization"] == "lapsed"
        assert await signed() == (None, ["yes"])
        await world.clock.advance(600)
        shown, checks = await signed()
        assert shown is not None
        assert checks == ["yes"]

    play(story)


def test_a_run_that_cost_nothing_has_no_payment_to_show() -> None:
    async def story(world: TakingWorld) -> None:
        run = await world.answer()
        world.capability = ""
        row = await world.row(run)
        assert (await world.desk.payment(row, None))["steps"] == []

    play(story)


def test_a_verdict_that_could_not_be_fetched_is_looked_at_again_without_another_round() -> None:
    async def story(world: TakingWorld) -> None:
        run = await world.buy_for_credit()
        kept = [node.blobs for node in world.nodes]
        await world.settle_round(1, {1: "refuted:backdated"})
        for node in world.nodes:
            node.blobs = {}
        world.evidence._blobs.clear()
        await world.collect()
        await world.collect()
        assert events(world) == ["charged"]
        for node, blobs in zip(world.nodes, kept, strict=True):
            node.blobs = blobs
        await world.clock.advance(AGAIN_S)
        await world.collect()
        await world.collect()
        assert events(world) == ["charged", "captured", "refund_due", "refunded"]
        assert "Given back" in (await world.lane(run, "payment"))["says"]

    play(story)
