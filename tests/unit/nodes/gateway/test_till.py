"""Answers that cost something: what is refused before the upstream hears of it, what is held, and what is charged."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.core import offers, x402
from holdfast.core.encoding import b64_encode, sha256_hex
from holdfast.core.opengradient import PLACEHOLDER_KEY
from holdfast.core.payments import verify_amounts
from holdfast.core.statements import SealedPath, parse_envelope, parse_statement
from holdfast.core.x402 import PaymentPayload
from holdfast.errors import UnavailableError
from holdfast.nodes.gateway.checkout import SELLER_REASONS, show_coarsely
from holdfast.nodes.gateway.collector import payment_of
from holdfast.nodes.gateway.keys import Caller
from holdfast.nodes.gateway.oblivious import ORIGIN, SealedOrigin
from holdfast.ports.till_store import Account
from holdfast.ports.upstream import ModelInfo, UpstreamUnreachableError
from tests.helpers import asgi
from tests.helpers.gateway import SIGNER
from tests.helpers.gateway_world import OTHER_KEY
from tests.helpers.payments import FACILITATOR, NETWORK, OWNER, PAYEE, START, payer
from tests.helpers.till import AUTHORIZED, PaidWorld, body, header, play, sign
from tests.helpers.upstreams import MODEL, ScriptedUpstream, chat_chunk, chat_chunks, chat_completion

INPUT, OUTPUT = 10**12, 10**13
"""Base units for an input and an output token."""
CAP = len(body()) * INPUT + 20 * OUTPUT
COST = 3 * INPUT + 2 * OUTPUT
"""What the scripted answer costs: three tokens in, two out."""


def asked_nothing(world: PaidWorld) -> bool:
    """Whether the upstream heard of no request."""
    assert isinstance(world.upstream, ScriptedUpstream)
    return not world.upstream.sent


def refusal(reply: asgi.Reply) -> tuple[int, str, str | None]:
    """Status, our code, and the reason in PAYMENT-REQUIRED."""
    required = reply.header("payment-required")
    reason = None if required is None else x402.parse_payment_required(x402.parse_header(required)).error
    return reply.status, reply.json()["error"]["code"], reason


# --- refusals -------------------------------------------------------------------------------------------------------


def test_without_a_key_or_a_payment_it_says_what_to_sign() -> None:
    async def story(world: PaidWorld) -> None:
        reply = await world.ask()
        assert refusal(reply) == (402, "payment.required", "payment_required")
        assert asked_nothing(world)
        said = x402.parse_header(reply.header("payment-required") or "")
        shown = reply.json()
        error = shown.pop("error")
        assert set(error) == {"message", "type", "param", "code", "hint"}
        assert {**said, "error": None} == {**shown, "error": None}
        assert reply.header("payment-response") is None
        assert await world.charged() == []

    play(story)


def test_what_is_asked_for_is_signed_by_the_gateway_and_covers_the_most_that_it_can_cost() -> None:
    async def story(world: PaidWorld) -> None:
        reply = await world.ask()
        said = x402.parse_payment_required(x402.parse_header(reply.header("payment-required") or ""))
        exact, upto, permit = said.accepts
        assert (exact.scheme, exact.amount, exact.pay_to, exact.network) == ("exact", CAP, PAYEE, NETWORK)
        assert (upto.scheme, upto.amount) == ("upto", 5 * 10**17)
        assert upto.extra["facilitatorAddress"] == FACILITATOR.address
        assert (permit.scheme, permit.extra["assetTransferMethod"], permit.amount) == ("exact", "permit2", CAP)
        extensions = said.extensions or {}
        assert x402.SPONSORING in extensions
        listed = extensions[offers.EXTENSION]["info"]["offers"]
        for number, (entry, signed) in enumerate(zip(said.accepts, listed, strict=True)):
            offer = offers.parse_offer(signed)
            offers.verify_key(offer, SIGNER.key)
            assert isinstance(offer.content, offers.Offer)
            assert (offer.content.amount, offer.content.scheme) == (str(entry.amount), entry.scheme)
            assert offer.content.valid_until == START + 600
            assert signed["acceptIndex"] == number

    play(story)


def test_the_cap_grows_with_everything_that_a_request_can_use() -> None:
    async def story(world: PaidWorld) -> None:
        async def cap(**more: Any) -> int:
            amount: int = (await world.asked(**more))["eip3009"].amount
            return amount - len(body(**more)) * INPUT

        assert await cap() == 20 * OUTPUT
        assert await cap(max_tokens=None) == 100 * OUTPUT
        assert await cap(max_completion_tokens=7) == 20 * OUTPUT
        assert await cap(max_tokens=None, max_completion_tokens=7) == 7 * OUTPUT
        assert await cap(n=3) == 60 * OUTPUT

    play(story)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("%%%", "encoding.base64"),
        (b64_encode(b"{"), "json.syntax"),
        (b64_encode(b"[]"), "json.object"),
        (b64_encode(b'{"x402Version":1}'), "x402.version"),
        (b64_encode(b'{"x402Version":2,"x402Version":2}'), "json.duplicate_key"),
        (b64_encode(b'{"x402Version":2}'), "x402.members"),
        ("A" * (x402.MAX_HEADER_CHARACTERS + 4), "x402.header"),
    ],
)
@pytest.mark.parametrize("name", ["payment-signature", "x-payment"])
def test_a_payment_that_does_not_parse_is_refused_as_such(name: str, value: str, code: str) -> None:
    async def story(world: PaidWorld) -> None:
        reply = await world.ask((name, value), AUTHORIZED)
        assert (reply.status, reply.code) == (400, code)
        assert asked_nothing(world)

    play(story)


def test_two_payments_are_not_chosen_from() -> None:
    async def story(world: PaidWorld) -> None:
        payment = await world.signed()
        reply = await world.ask(payment, payment)
        assert (reply.status, reply.code) == (400, "x402.header")

    play(story)


def _changed(payload: PaymentPayload, **changes: Any) -> PaymentPayload:
    return dataclasses.replace(payload, authorization=dataclasses.replace(payload.authorization, **changes))


@pytest.mark.parametrize("method", ["eip3009", "permit2-upto", "permit2-exact"])
@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("payment.payee", {"to": "0x" + "9" * 40}),
        ("payment.amount", {"less": 1}),
        ("payment.amount", {"less": -1}),
        ("payment.expired", {"until": START + 5}),
        ("payment.early", {"valid_after": START + 1}),
        ("payment.deadline", {"until": START + 178}),
    ],
)
def test_a_payment_that_is_not_what_was_asked_is_refused_with_its_reason(
    method: str, code: str, change: dict[str, Any]
) -> None:
    async def story(world: PaidWorld) -> None:
        asked = (await world.asked())[method]
        names = (
            {"less": "value", "until": "valid_before"}
            if method == "eip3009"
            else {"less": "amount", "until": "deadline"}
        )
        changes = {names.get(name, name): value for name, value in change.items()}
        if "less" in change:
            changes[names["less"]] = asked.amount - change["less"]
        payload = sign(asked, payer(0), **changes)
        reply = await world.ask(header(payload))
        reason = SELLER_REASONS.get(code) or x402.reason_of(code, x402.method_of(payload))
        assert refusal(reply) == (402, code, reason)
        assert asked_nothing(world)
        assert world.facilitator.verified == []
        assert await world.charged() == []

    play(story)


@pytest.mark.parametrize("method", ["eip3009", "permit2-upto", "permit2-exact"])
def test_what_was_signed_by_somebody_else_or_changed_afterwards_is_refused(method: str) -> None:
    async def story(world: PaidWorld) -> None:
        asked = (await world.asked())[method]
        payload = sign(asked, payer(0))
        forged = _changed(payload, payer=payer(1).address)
        for wrong in (forged, _changed(payload, nonce=b"\1" * 32 if method == "eip3009" else 7)):
            status, code, reason = refusal(await world.ask(header(wrong)))
            assert (status, code) == (402, "payment.signature")
            assert reason == x402.reason_of("payment.signature", x402.method_of(payload))
        assert asked_nothing(world)

    play(story)


def test_a_payment_of_another_chain_token_or_scheme_is_refused() -> None:
    async def story(world: PaidWorld) -> None:
        asked = await world.asked()
        other_chain = sign(dataclasses.replace(asked["eip3009"], network="eip155:1"), payer(0))
        other_token = sign(dataclasses.replace(asked["permit2-upto"], asset="0x" + "7" * 40), payer(0))
        other_owner = sign(asked["permit2-upto"], payer(0), facilitator=OWNER.address)
        assert refusal(await world.ask(header(other_chain)))[1] == "payment.network"
        assert refusal(await world.ask(header(other_token)))[1] == "payment.asset"
        assert refusal(await world.ask(header(other_owner)))[1] == "payment.facilitator"
        assert asked_nothing(world)

    play(story)


def test_a_method_that_is_not_offered_is_not_taken() -> None:
    async def story(world: PaidWorld) -> None:
        asked = (await world.asked())["eip3009"]
        permit = dataclasses.replace(asked, extra={**asked.extra, "assetTransferMethod": "permit2"})
        assert refusal(await world.ask(header(sign(permit, payer(0)))))[:2] == (402, "payment.scheme")

    play(story, payment_methods=("eip3009",))


def test_a_payment_pays_once() -> None:
    async def story(world: PaidWorld) -> None:
        payment = await world.signed()
        assert (await world.ask(payment)).status == 200
        assert refusal(await world.ask(payment)) == (402, "payment.replayed", "invalid_exact_evm_nonce_already_used")
        assert refusal(await world.ask(("x-payment", payment[1])))[1] == "payment.replayed"
        (hold,) = await world.charged()
        assert hold.amount == COST

    play(story)


def test_of_a_payment_that_comes_twice_at_once_one_is_answered() -> None:
    async def story(world: PaidWorld) -> None:
        payment = await world.signed("permit2-upto")
        replies = await asyncio.gather(*(world.ask(payment) for _ in range(5)))
        assert sorted(reply.status for reply in replies) == [200, 402, 402, 402, 402]
        assert len(await world.charged()) == 1

    play(story)


def test_a_payment_that_says_that_it_is_for_another_address_is_refused() -> None:
    async def story(world: PaidWorld) -> None:
        asked = (await world.asked())["eip3009"]
        payload = dataclasses.replace(sign(asked, payer(0)), resource={"url": "http://x.test/v1/completions"})
        assert refusal(await world.ask(header(payload))) == (402, "payment.resource", "resource_mismatch")
        fits = dataclasses.replace(payload, resource={"url": "https://elsewhere.test/v1/chat/completions?x=1"})
        assert (await world.ask(header(fits))).status == 200

    play(story)


def test_a_facilitators_refusal_is_passed_on() -> None:
    async def story(world: PaidWorld) -> None:
        world.facilitator.refusal = "invalid_exact_evm_insufficient_balance"
        reply = await world.ask(await world.signed())
        assert refusal(reply) == (402, "payment.balance", "invalid_exact_evm_insufficient_balance")
        world.facilitator.refusal = "something_new"
        reply = await world.ask(await world.signed(nonce=1))
        assert refusal(reply) == (402, "payment.refused", "facilitator_refused")
        assert asked_nothing(world)
        assert await world.charged() == []

    play(story)


@pytest.mark.parametrize("code", ["facilitator.chain", "facilitator.fault"])
def test_a_facilitator_that_cannot_say_is_no_refusal(code: str) -> None:
    async def story(world: PaidWorld) -> None:
        payment = await world.signed()
        world.facilitator.error = UnavailableError(code, "silent")
        reply = await world.ask(payment)
        assert (reply.status, reply.code) == (503, code)
        world.facilitator.error = None
        assert (await world.ask(payment)).status == 200

    play(story)


def test_nothing_private_is_paid_on_proof() -> None:
    async def story(world: PaidWorld) -> None:
        more = {"holdfast": {"settlement": "private"}}
        reply = await world.ask(await world.signed(**more), **more)
        assert (reply.status, reply.code) == (400, "payment.unprovable")
        assert asked_nothing(world)
        assert world.facilitator.verified == []
        assert (await world.ask(AUTHORIZED, **more)).status == 200

    play(story)


def test_something_private_is_paid_on_the_answer() -> None:
    async def story(world: PaidWorld) -> None:
        more = {"holdfast": {"settlement": "private"}}
        assert (await world.ask(await world.signed(**more), **more)).status == 200
        await world.charged()
        (document,) = await world.documents()
        assert (document.timing, document.at.second, document.charge is not None) == ("on_answer", 0, True)
        (stored,) = await world.till.books.call(world.store.steps_after, 0, 9)
        assert stored.step.entry != stored.step.envelope
        assert stored.step.commitment_salt is not None

    play(story, capture="on_answer")


def test_a_payer_who_owes_too_much_is_told_to_wait() -> None:
    async def story(world: PaidWorld) -> None:
        assert (await world.ask(await world.signed())).status == 200
        await world.charged()
        reply = await world.ask(await world.signed(nonce=1))
        assert refusal(reply) == (402, "payment.exposure", "payer_exposure_exceeded")
        assert (await world.ask(await world.signed(number=1))).status == 200

    play(story, exposure_usd="0.0003")


def test_credit_that_is_used_up_says_what_to_do() -> None:
    async def story(world: PaidWorld) -> None:
        reply = await world.ask(AUTHORIZED)
        assert (reply.status, reply.header("x-holdfast-payment")) == (200, "credit")
        await world.charged()
        reply = await world.ask(AUTHORIZED)
        assert refusal(reply) == (402, "payment.credit", "insufficient_credit")
        assert "holdfast credit grant" in reply.json()["error"]["hint"]
        assert (await world.ask(AUTHORIZED, await world.signed())).status == 200
        await world.till.books.call(world.store.grant, "first", 10**9, "invoice 1", "2026-01-01T00:00:00.000Z")
        assert (await world.ask(AUTHORIZED)).status == 200

    play(story, free_credit="0.0003")


def test_where_payments_are_required_credit_has_to_be_bought() -> None:
    async def story(world: PaidWorld) -> None:
        assert refusal(await world.ask(AUTHORIZED))[1] == "payment.credit"
        await world.till.books.call(world.store.grant, "first", 10**9, "invoice 1", "2026-01-01T00:00:00.000Z")
        assert (await world.ask(AUTHORIZED)).status == 200

    play(story, payments="required")


def test_where_no_facilitator_is_only_credit_pays() -> None:
    async def story(world: PaidWorld) -> None:
        assert refusal(await world.ask()) == (402, "payment.required", None)
        assert (await world.ask(AUTHORIZED)).status == 200
        foreign = sign(
            x402.PaymentRequirements("exact", NETWORK, PAYEE, 1, PAYEE, 600, {"name": "", "version": "1"}), payer(0)
        )
        assert refusal(await world.ask(header(foreign)))[1] == "payment.scheme"

    play(story, facilitator=None)


def test_a_key_that_is_wrong_is_not_taken_for_none() -> None:
    async def story(world: PaidWorld) -> None:
        reply = await world.ask(("authorization", "Bearer hf_wrong"))
        assert (reply.status, reply.code) == (401, "auth.wrong")
        reply = await world.ask(("authorization", f"Bearer {PLACEHOLDER_KEY}"))
        assert refusal(reply)[1] == "payment.required"

    play(story)


def test_a_model_without_a_price_is_not_sold() -> None:
    async def story(world: PaidWorld) -> None:
        reply = await world.ask(AUTHORIZED, model="unpriced")
        assert (reply.status, reply.code) == (404, "pricing.model")
        assert asked_nothing(world)
        assert world.gateway.under_way == 0

    play(story, upstream=ScriptedUpstream(offered=[ModelInfo("unpriced", "tests", 1)]))


def test_what_is_wrong_with_a_request_is_said_before_what_it_costs() -> None:
    async def story(world: PaidWorld) -> None:
        reply = await world.ask(messages=[])
        assert (reply.status, reply.code) == (400, "request.messages")
        reply = await world.ask(model="nobody-serves-it")
        assert (reply.status, reply.code) == (404, "request.unknown_model")

    play(story)


# --- what is held and charged ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["eip3009", "permit2-upto", "permit2-exact"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_authorised_held_and_charged_by_what_it_used(method: str, stream: bool) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    script: list[bytes | Exception | float] = [*chat_chunks(), json.dumps({"choices": [], "usage": usage}).encode()]

    async def story(world: PaidWorld) -> None:
        more = {"stream": True} if stream else {}
        payment = await world.signed(method, **more)
        reply = await world.ask(payment, **more)
        assert (reply.status, reply.header("x-holdfast-payment")) == (200, "authorised")
        assert reply.header("payment-response") is None
        assert (reply.header("x-upto-session") is not None) == (method == "permit2-upto")
        (hold,) = await world.charged()
        assert (hold.stands, hold.amount) == ("charged", COST)
        (found,) = await world.authorizations()
        assert found.charged == COST
        assert found.stands == ("open" if method == "permit2-upto" else "closed")
        assert world.facilitator.handed_in == []
        (document,) = await world.documents()
        verify_amounts(document)
        assert (document.event, document.payer, document.payee) == ("charged", payer(0).address, PAYEE)
        assert (document.asked, document.authorised) == (hold.cap, found.new.cap)
        assert document.charge is not None
        assert [(line.what, line.quantity) for line in document.charge.lines] == [
            ("input_tokens", 3),
            ("output_tokens", 2),
        ]
        raw = x402.parse_header(payment[1])
        assert document.authorisation == sha256_hex(found.new.payload)
        assert json.loads(found.new.payload) == raw

    play(story, upstream=ScriptedUpstream(streams=[script]))


def test_the_charge_is_bound_to_the_run_and_its_answer() -> None:
    async def story(world: PaidWorld) -> None:
        reply = await world.ask(AUTHORIZED)
        run = reply.json()["holdfast"]["run"]
        await world.charged()
        (document,) = await world.documents()
        opening = (await world.journal(run))[0]
        assert document.run == run
        assert (document.scheme, document.payer, document.network, document.asset) == (
            "credit",
            "first",
            "account",
            "credit",
        )
        (stored,) = await world.till.books.call(world.store.steps_of, run)
        statement = parse_statement(parse_envelope(stored.step.envelope))
        closing = reply.json()["holdfast"]["statements"][1]["digest"]
        assert statement.parents == (closing,)
        assert opening is not None
        account = await world.till.account("first")
        assert (account.spent, account.held) == (23_000, 0)

    play(story)


def test_a_stream_that_is_paid_reports_what_it_used_without_an_event_of_its_own() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    script: list[bytes | Exception | float] = [*chat_chunks(), json.dumps({"choices": [], "usage": usage}).encode()]

    async def story(world: PaidWorld) -> None:
        reply = await world.ask(AUTHORIZED, stream=True)
        events = [json.loads(line[6:]) for line in reply.body.split(b"\n\n") if line.startswith(b"data: {")]
        assert all(event["choices"] for event in events)
        assert events[-1]["usage"] == usage
        assert isinstance(world.upstream, ScriptedUpstream)
        assert json.loads(world.upstream.sent[0][1])["stream_options"] == {"include_usage": True}
        (hold,) = await world.charged()
        assert hold.amount == 23_000

    play(story, upstream=ScriptedUpstream(streams=[script]))


def test_an_answer_that_reports_nothing_costs_nothing_and_says_so() -> None:
    silent = chat_completion()
    del silent["usage"]

    async def story(world: PaidWorld) -> None:
        assert (await world.ask(await world.signed())).status == 200
        (hold,) = await world.charged()
        assert (hold.stands, hold.amount) == ("charged", 0)
        (document,) = await world.documents()
        assert document.charge is not None
        assert document.charge.lines[0].what == "pricing.unknown_usage"

    play(story, upstream=ScriptedUpstream(answers=[json.dumps(silent).encode()]))


def test_an_upstream_that_reports_more_than_was_agreed_is_charged_at_the_cap() -> None:
    lies = chat_completion()
    lies["usage"] = {"prompt_tokens": 10**30, "completion_tokens": 5}

    async def story(world: PaidWorld) -> None:
        assert (await world.ask(await world.signed())).status == 200
        (hold,) = await world.charged()
        assert hold.amount == CAP
        (document,) = await world.documents()
        assert document.charge is not None
        assert document.charge.capped is not None
        verify_amounts(document)

    play(story, upstream=ScriptedUpstream(answers=[json.dumps(lies).encode()]))


def test_an_upstream_that_fails_costs_nothing() -> None:
    async def story(world: PaidWorld) -> None:
        reply = await world.ask(await world.signed())
        assert reply.status >= 500
        (hold,) = await world.charged()
        assert (hold.stands, hold.amount) == ("charged", 0)
        (document,) = await world.documents()
        assert document.response == "undelivered"

    play(story, upstream=ScriptedUpstream(answers=[UpstreamUnreachableError("gone")]))


def test_a_stream_that_breaks_off_is_charged_by_what_it_reported() -> None:
    script: list[bytes | Exception | float] = [
        chat_chunk({"role": "assistant", "content": "Hel"}, usage={"prompt_tokens": 3, "completion_tokens": 1}),
        ZeroDivisionError("a bug"),
    ]

    async def story(world: PaidWorld) -> None:
        reply = await world.ask(AUTHORIZED, stream=True, stream_options={"include_usage": True})
        assert not reply.complete
        (hold,) = await world.charged()
        assert hold.amount == 13_000

    play(story, upstream=ScriptedUpstream(streams=[script]))


def test_a_run_that_cannot_be_charged_holds_no_other_up() -> None:
    async def story(world: PaidWorld) -> None:
        whole, seen = world.till.charge, []

        async def charge(closing: Any) -> bool:
            seen.append(closing.run)
            if closing.run == seen[0]:
                raise ZeroDivisionError("a bug")
            return await whole(closing)

        world.till.charge = charge  # type: ignore[method-assign]
        first = (await world.ask(AUTHORIZED)).header("x-holdfast-run")
        second = (await world.ask(AUTHORIZED)).header("x-holdfast-run")
        for _ in range(400):
            stands = [(await world.till.books.call(world.store.hold_of, run)).stands for run in (first, second)]
            if stands == ["held", "charged"]:
                break
            await asyncio.sleep(0.005)
        assert stands == ["held", "charged"]
        assert seen[0] == first

    play(story)


# --- sessions -------------------------------------------------------------------------------------------------------


def test_a_session_pays_for_further_requests_with_what_is_left() -> None:
    async def story(world: PaidWorld) -> None:
        first = await world.ask(await world.signed("permit2-upto"))
        session = first.header("x-upto-session") or ""
        await world.charged()
        verified = len(world.facilitator.verified)
        again = await world.ask(("x-upto-session", session))
        assert (again.status, again.header("x-upto-session")) == (200, session)
        assert again.header("x-holdfast-payment") == "authorised"
        assert len(world.facilitator.verified) == verified
        await world.charged()
        (found,) = await world.authorizations()
        assert found.charged == 2 * COST
        documents = await world.documents()
        assert {document.authorisation for document in documents} == {sha256_hex(found.new.payload)}

    play(story)


def test_a_session_that_is_unknown_exhausted_or_too_old_says_so_and_what_to_sign() -> None:
    async def story(world: PaidWorld) -> None:
        for name in ("nonsense", "00000000-0000-4000-8000-000000000000"):
            assert refusal(await world.ask(("x-upto-session", name)))[:2] == (402, "payment.session")
        first = await world.ask(await world.signed("permit2-upto"))
        named = ("x-upto-session", first.header("x-upto-session") or "")
        await world.charged()
        reply = await world.ask(named, max_tokens=20_000)
        assert refusal(reply) == (402, "payment.session", "session_expired_or_exhausted")
        assert (await world.ask(named)).status == 200
        await world.clock.advance(421)
        assert refusal(await world.ask(named))[1] == "payment.session"
        await world.charged()

    play(story, session_usd="0.1")


def test_a_session_that_was_closed_serves_no_more() -> None:
    async def story(world: PaidWorld) -> None:
        first = await world.ask(await world.signed("permit2-upto"))
        await world.charged()
        (found,) = await world.authorizations()
        await world.till.books.call(world.store.close_authorization, found.new.identity)
        reply = await world.ask(("x-upto-session", first.header("x-upto-session") or ""))
        assert refusal(reply)[1] == "payment.session"

    play(story)


def test_requests_of_one_session_never_hold_more_than_was_signed() -> None:
    async def story(world: PaidWorld) -> None:
        first = await world.ask(await world.signed("permit2-upto"))
        named = ("x-upto-session", first.header("x-upto-session") or "")
        await world.charged()
        replies = await asyncio.gather(*(world.ask(named) for _ in range(8)))
        statuses = [reply.status for reply in replies]
        assert 200 in statuses
        assert 402 in statuses
        await world.charged()
        (found,) = await world.authorizations()
        assert found.charged == COST * (1 + statuses.count(200))

    play(story, session_usd="0.001")


def test_opengradients_clients_are_offered_one_way() -> None:
    async def story(world: PaidWorld) -> None:
        reply = await world.ask(("x-settlement-type", "batch"))
        said = x402.parse_payment_required(x402.parse_header(reply.header("payment-required") or ""))
        assert [entry.scheme for entry in said.accepts] == ["upto"]
        assert x402.SPONSORING not in (said.extensions or {})

    play(story)


# --- crashes --------------------------------------------------------------------------------------------------------


async def _life(folder: Path, **more: Any) -> PaidWorld:
    return await PaidWorld(folder, **more).start()


def test_what_closed_without_its_charge_is_charged_from_its_record(tmp_path: Path) -> None:
    async def main() -> None:
        world = await _life(tmp_path)
        payment = await world.signed()
        world.task.cancel()
        await asyncio.gather(world.task, return_exceptions=True)
        assert (await world.ask(payment)).status == 200
        (hold,) = await world.till.books.call(world.store.held)
        disk = world.disk
        await world.stop()
        again = PaidWorld(tmp_path)
        again.disk = disk
        await again.start()
        (found,) = await again.charged()
        assert (found.run, found.stands, found.amount) == (hold.run, "charged", COST)
        (document,) = await again.documents()
        assert document.response != "undelivered"
        await again.stop()

    asyncio.run(main())


def test_a_hold_whose_run_never_opened_is_given_up(tmp_path: Path) -> None:
    async def main() -> None:
        world = await _life(tmp_path)
        payment = await world.signed()

        async def die(*_: Any) -> Any:
            raise asyncio.CancelledError

        world.ledger.open_run = die  # type: ignore[method-assign]
        world.till.abandon = lambda _run: None  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await world.ask(payment)
        assert len(await world.till.books.call(world.store.held)) == 1
        await world.stop()
        again = await _life(tmp_path)
        (found,) = await again.charged()
        assert (found.stands, found.amount) == ("released", None)
        assert await again.documents() == []
        await again.stop()

    asyncio.run(main())


def test_a_run_that_was_open_when_the_process_ended_costs_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        world = await _life(tmp_path)
        payment = await world.signed()

        asked = asyncio.Event()

        async def hang(*_: Any, **__: Any) -> Any:
            asked.set()
            await asyncio.Event().wait()

        world.upstream.complete = hang  # type: ignore[method-assign]
        asking = asyncio.create_task(world.ask(payment))
        await asked.wait()
        disk = world.disk
        world.gateway._close = hang  # type: ignore[method-assign]
        asking.cancel()
        await world.stop()
        again = PaidWorld(tmp_path)
        again.disk = disk
        await again.start()
        (found,) = await again.charged()
        assert (found.stands, found.amount) == ("charged", 0)
        (document,) = await again.documents()
        assert document.charge is not None
        assert document.charge.lines[0].what == "pricing.unknown_usage"
        await again.stop()

    asyncio.run(main())


def test_a_run_that_does_not_open_gives_its_hold_back() -> None:
    async def story(world: PaidWorld) -> None:
        async def full(*_: Any) -> Any:
            raise UnavailableError("wal.stopped", "the disk is full")

        world.ledger.open_run = full  # type: ignore[method-assign]
        reply = await world.ask(AUTHORIZED)
        assert reply.code == "wal.stopped"
        (hold,) = await world.charged()
        assert hold.stands == "released"
        assert world.gateway.under_way == 0
        assert (await world.till.account("first")).left == 10_000_000

    play(story)


# --- what is shown --------------------------------------------------------------------------------------------------


def test_prices_and_credit_are_shown() -> None:
    async def story(world: PaidWorld) -> None:
        models = (await asgi.request(world.app(), "GET", "/v1/models")).json()
        assert models["data"][0]["holdfast"]["prices"] == {"input": "1", "output": "10"}
        prices = (await asgi.request(world.app(), "GET", "/v1/prices")).json()
        assert prices["price_card_digest"] == world.till.selling.card.digest
        assert prices["x402"]["timing"] == "on_proof"
        assert prices["submitter"] == FACILITATOR.address
        reply = await asgi.request(world.app(), "GET", "/v1/account", headers=[AUTHORIZED])
        assert reply.json() == {
            "account": "first",
            "unit": "USD",
            "granted": "0.01",
            "spent": "0",
            "held": "0",
            "left": "0.01",
        }
        other = [("authorization", f"Bearer {OTHER_KEY}")]
        assert (await asgi.request(world.app(), "GET", "/v1/account", headers=other)).json()["account"] == "second"
        assert (await asgi.request(world.app(), "GET", "/v1/account")).status == 401

    play(story)


def test_a_request_that_is_paid_is_asked_for_the_model_that_is_priced() -> None:
    async def story(world: PaidWorld) -> None:
        assert (await world.ask(await world.signed())).status == 200
        (hold,) = await world.charged()
        assert json.loads(hold.terms)["model"] == MODEL

    play(story)


@pytest.mark.parametrize(
    ("left", "shown"), [(25 * 10**9 - 1, "24.9"), (10**8, "0.1"), (10**8 - 1, "0"), (0, "0"), (-5, "0")]
)
def test_a_relay_is_told_its_credit_in_steps_that_tell_no_request(left: int, shown: str) -> None:
    """What it knows of who asked must not be laid beside what the question cost."""
    account = Account("relay", 25 * 10**9, 25 * 10**9 - left, 0)
    assert show_coarsely(account) == {
        "account": "relay",
        "unit": "USD",
        "granted": "25",
        "spent": None,
        "held": None,
        "left": shown,
    }


def test_the_key_of_a_relay_is_told_coarsely_and_no_other() -> None:
    async def story(world: PaidWorld) -> None:
        told = [await world.checkout.account(Caller("first", None, relay)) for relay in ("ab" * 32, None)]
        assert [item["spent"] for item in told] == [None, "0"]

    play(story)


# --- what came sealed -----------------------------------------------------------------------------------------------


def sealed(world: PaidWorld) -> asgi.App:
    """The app as the private path calls it: every request came through one relay, whose workspace is ``first``."""
    path = SealedPath("cd" * 32, "aes-128-gcm", "binary-http", None)
    origin = SealedOrigin(Caller("first", None, "ab" * 32), path, json_profile=False)
    inner = world.app()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope[ORIGIN] = origin
        await inner(scope, receive, send)

    return app


def test_what_comes_sealed_is_paid_by_whoever_forwards_it_and_documents_name_nobody() -> None:
    async def story(world: PaidWorld) -> None:
        await world.clock.advance(17.5)
        reply = await asgi.request(sealed(world), "POST", "/v1/chat/completions", body())
        assert (reply.status, reply.header("x-holdfast-payment")) == (200, "credit")
        (hold,) = await world.charged()
        assert (hold.account, hold.amount) == ("first", 23_000)
        (document,) = await world.documents()
        assert document.payer is None
        assert document.rate is not None
        for moment in (document.at, document.rate.at):
            assert (moment.second, moment.microsecond) == (0, 0)
        assert hold.at.endswith(":00.000Z")

    play(story)


def test_a_payment_inside_pays_for_what_comes_sealed() -> None:
    async def story(world: PaidWorld) -> None:
        app = sealed(world)
        await world.clock.advance(17.5)
        payment = await world.signed()
        reply = await asgi.request(app, "POST", "/v1/chat/completions", body(), [payment])
        assert (reply.status, reply.header("x-holdfast-payment")) == (200, "authorised")
        (hold,) = await world.charged()
        assert (hold.account, hold.amount) == (None, COST)
        (document,) = await world.documents()
        assert document.payer == payer(0).address
        assert document.at.second == 0

    play(story, capture="on_answer")


def test_a_relay_whose_credit_is_used_up_gets_a_402_and_what_may_be_signed_inside() -> None:
    async def story(world: PaidWorld) -> None:
        reply = await asgi.request(sealed(world), "POST", "/v1/chat/completions", body())
        assert refusal(reply) == (402, "payment.credit", "insufficient_credit")
        assert asked_nothing(world)

    play(story, free_credit="0.0001")


# --- who wants answers for nothing ------------------------------------------------------------------------------------


def test_a_payment_that_runs_out_under_a_run_is_not_taken() -> None:
    """Its run would be cut off when the capture is decided, and cost nothing."""

    async def story(world: PaidWorld) -> None:
        asked = (await world.asked())["eip3009"]
        token = world.till.selling.token
        assert token is not None
        assert token.run_s == 315
        soon = START + 60 + 120 + token.run_s
        reply = await world.ask(header(sign(asked, payer(0), valid_before=soon - 1)))
        assert refusal(reply) == (402, "payment.deadline", "authorization_too_short")
        assert asked_nothing(world)
        assert (await world.ask(header(sign(asked, payer(0), valid_before=soon)))).status == 200

    play(story)


def test_a_session_begins_no_run_that_it_may_not_outlast() -> None:
    async def story(world: PaidWorld) -> None:
        first = await world.ask(await world.signed("permit2-upto"))
        named = ("x-upto-session", first.header("x-upto-session") or "")
        await world.clock.advance(100)
        assert (await world.ask(named)).status == 200
        await world.clock.advance(10)
        assert refusal(await world.ask(named))[1] == "payment.session"
        await world.charged()

    play(story)


@pytest.mark.parametrize(
    ("limit", "status", "code"),
    [
        ("100000", 402, "payment.credit"),
        ("1" + "0" * 20, 402, "payment.credit"),
        ("1e5", 400, "pricing.count"),
        ("100000.0", 400, "pricing.count"),
        ('"100000"', 400, "pricing.count"),
        ("-1", 400, "pricing.count"),
        ("true", 400, "pricing.count"),
    ],
)
def test_no_spelling_of_a_limit_makes_an_answer_cheaper(limit: str, status: int, code: str) -> None:
    """An upstream may read as a limit what is none here, or obey the larger one of two."""

    async def story(world: PaidWorld) -> None:
        text = body(max_tokens=None)[:-1] + b', "max_tokens": ' + limit.encode() + b', "max_completion_tokens": 1}'
        app = world.app()
        reply = await asgi.request(app, "POST", "/v1/chat/completions", text, [AUTHORIZED])
        assert (reply.status, reply.json()["error"]["code"]) == (status, code)
        assert asked_nothing(world)

    play(story)


@pytest.mark.parametrize("method", ["eip3009", "permit2-upto"])
def test_what_comes_sealed_and_is_valid_only_since_this_second_can_be_captured(method: str) -> None:
    """Of what comes sealed only the minute is kept, which lies before that second."""

    async def story(world: PaidWorld) -> None:
        app = sealed(world)
        await world.clock.advance(17.5)
        asked = (await world.asked())[method]
        payment = header(sign(asked, payer(0), valid_after=START + 17))
        assert (await asgi.request(app, "POST", "/v1/chat/completions", body(), [payment])).status == 200
        await world.charged()
        (found,) = await world.authorizations()
        assert payment_of(found).payer == payer(0).address

    play(story, capture="on_answer")
