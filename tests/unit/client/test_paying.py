"""What a client does not pay, and what it pays: each refusal comes before anything is signed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.payment_contracts import TEST_TOKEN
from holdfast.adapters.spending_sqlite import SpendingRecord
from holdfast.client.gateway import GatewayClient
from holdfast.client.paying import Paid, Payer
from holdfast.client.sync import SyncGatewayClient
from holdfast.client.turns import Turn
from holdfast.core import canonical, x402
from holdfast.core.paying import AssetLimit, Limits
from holdfast.core.x402 import SettleResponse
from holdfast.errors import HoldfastError, RefusedError
from tests.helpers.network import ed25519_signer
from tests.helpers.paying import (
    LIMIT,
    UPTO_EXTRA,
    FixedTokens,
    SellingGateway,
    Shop,
    StandingClock,
    buy,
    make_wallet,
    signed_offers,
    upto,
)
from tests.helpers.payments import FACILITATOR, NETWORK, PAYEE, payer, requirements
from tests.helpers.signed_gateway import PIECES

REQUEST = {"model": "small-1", "messages": [{"role": "user", "content": "What is a lane?"}]}
SELLER = ed25519_signer("gateway", "statement")
STRANGER = "0x" + "dd" * 20
TRANSACTION = "0x" + "d4" * 32


def refused(shop: Shop, code: str, payer_: Payer | None = None, **options: Any) -> Payer:
    """The code it is refused with; nothing was taken by the shop then."""
    payer_ = payer_ or Payer(make_wallet())
    before = len(shop.paid)
    with pytest.raises(HoldfastError) as error:
        asyncio.run(buy(payer_, shop, **options))
    assert error.value.code == code, str(error.value)
    assert len(shop.paid) == before
    return payer_


def unsigned(shop: Shop, code: str, payer_: Payer | None = None, **options: Any) -> None:
    """As :func:`refused`, and nothing was entered or sent at all."""
    payer_ = refused(shop, code, payer_, **options)
    assert not shop.payloads
    assert payer_.wallet.record.history() == []


def paid(shop: Shop, payer_: Payer | None = None, **options: Any) -> tuple[int, Paid]:
    return asyncio.run(buy(payer_ or Payer(make_wallet()), shop, **options))


# What is asked is not within the limits


def test_a_wallet_without_limits_signs_nothing() -> None:
    unsigned(Shop(), "paying.asset", Payer(make_wallet(Limits())))


def test_an_asset_or_network_that_has_no_limit_is_not_spent() -> None:
    unsigned(Shop(requirements(asset=STRANGER)), "paying.asset")
    unsigned(Shop(requirements(network="eip155:1")), "paying.asset")


def test_a_payee_that_neither_trust_nor_the_owner_knows_gets_nothing() -> None:
    unsigned(Shop(), "paying.payee", payee=None)
    unsigned(Shop(requirements(pay_to=STRANGER)), "paying.payee")


def test_a_payee_that_the_owner_named_is_paid() -> None:
    limits = Limits((LIMIT,), frozenset({PAYEE}))
    assert paid(Shop(), Payer(make_wallet(limits)), payee=None)[1].payee == PAYEE


def test_a_request_above_its_limit_is_not_paid() -> None:
    unsigned(Shop(requirements(1001)), "paying.per_request")


def test_an_authorization_that_would_hold_too_long_is_not_signed() -> None:
    unsigned(Shop(requirements(max_timeout_s=86_401)), "paying.longest")
    unsigned(Shop(requirements(max_timeout_s=0)), "paying.longest")


def test_terms_that_cannot_be_signed_are_refused() -> None:
    unsigned(Shop(requirements(extra={})), "paying.incomplete")
    unsigned(Shop(upto().__class__(**{**_members(upto()), "extra": {}})), "paying.incomplete")
    extra = {**UPTO_EXTRA, "facilitatorAddress": "somebody"}
    unsigned(Shop(upto().__class__(**{**_members(upto()), "extra": extra})), "paying.incomplete")


def _members(way: Any) -> dict[str, Any]:
    return {name: getattr(way, name) for name in way.__dataclass_fields__}


def test_the_limit_of_a_day_counts_what_was_signed_and_not_what_was_taken(tmp_path: Path) -> None:
    record, clock = SpendingRecord(tmp_path / "spent.sqlite"), StandingClock()
    shop = Shop()
    for _ in range(5):
        paid(shop, Payer(make_wallet(record=record, clock=clock)))
    for again in (record, SpendingRecord(tmp_path / "spent.sqlite")):  # and after a restart
        refused(shop, "paying.per_day", Payer(make_wallet(record=again, clock=clock)))
    assert len(record.history()) == 5
    clock.at += 86_401
    with pytest.raises(HoldfastError, match=r"payment\.expired|early"):
        paid(shop, Payer(make_wallet(record=record, clock=clock)))  # it is signed again; the shop's clock stands still
    assert len(record.history()) == 6


def test_two_programs_with_one_record_keep_the_limit_together(tmp_path: Path) -> None:
    """Each judges the day in the transaction that enters the authorization."""
    records = [SpendingRecord(tmp_path / "spent.sqlite") for _ in range(2)]

    async def all_at_once() -> list[Any]:
        buys = (buy(Payer(make_wallet(record=records[n % 2])), Shop()) for n in range(8))
        return await asyncio.gather(*buys, return_exceptions=True)

    found = asyncio.run(all_at_once())
    codes = [item.code for item in found if isinstance(item, HoldfastError)]
    assert len(codes) == 3
    assert set(codes) == {"paying.per_day"}
    assert sum(item.entry.amount for item in records[0].history()) == LIMIT.per_day


# What the server says does not hold together


def test_a_server_that_asks_again_after_a_payment_gets_no_second_one() -> None:
    shop = Shop()
    shop.refuses = True
    payer_ = refused(shop, "paying.loop")
    assert len(shop.payloads) == 1
    assert [item.entry.amount for item in payer_.wallet.record.history()] == [1000], (
        "it may still be taken, so it counts"
    )


def test_a_server_that_asks_for_more_after_a_payment_gets_no_second_one() -> None:
    amounts = iter((1000, 900))

    def dearer(value: dict[str, Any]) -> dict[str, Any]:
        amount = str(next(amounts))
        return {**value, "accepts": [{**entry, "amount": amount} for entry in value["accepts"]]}

    shop = Shop(required=dearer)
    shop.refuses = True
    refused(shop, "paying.altered")
    assert len(shop.payloads) == 1


def test_header_and_body_have_to_ask_for_the_same() -> None:
    def cheaper(body: bytes) -> bytes:
        value = canonical.decode_object(body)
        value["accepts"][0]["amount"] = "1"
        return canonical.encode_exact(value)

    unsigned(Shop(body=cheaper), "paying.altered")


def test_a_body_that_says_more_than_the_header_and_asks_for_the_same_is_fine() -> None:
    def beside(body: bytes) -> bytes:
        return canonical.encode_exact({**canonical.decode_object(body), "error": {"code": "payment.required"}})

    assert paid(Shop(body=beside))[1].authorised == 1000


def test_a_server_that_does_not_say_what_it_wants_is_refused() -> None:
    class Silent(Shop):
        def answer(self, headers: Any) -> Any:
            return 402, {}, b"{}"

    unsigned(Silent(), "paying.unsaid")


def test_an_offer_that_names_another_amount_than_is_asked_is_found_out() -> None:
    ways = (requirements(1000),)
    for change in ({"amount": "999"}, {"pay_to": STRANGER}, {"asset": STRANGER}, {"network": "eip155:1"}):
        shop = Shop(*ways, extensions=signed_offers(ways, SELLER, **change))
        unsigned(shop, "paying.offer", key=SELLER.key)


def test_an_offer_of_another_resource_or_of_yesterday_is_none() -> None:
    ways = (requirements(1000),)
    other = signed_offers(ways, SELLER, resource_url="http://gateway.test/v1/completions")
    unsigned(Shop(*ways, extensions=other), "paying.offer", key=SELLER.key)
    late = signed_offers(ways, SELLER, valid_until=1)
    unsigned(Shop(*ways, extensions=late), "paying.offer", key=SELLER.key)


def test_an_offer_by_another_key_is_none() -> None:
    ways = (requirements(1000),)
    shop = Shop(*ways, extensions=signed_offers(ways, ed25519_signer("somebody", "statement")))
    unsigned(shop, "paying.offer", key=SELLER.key)
    unsigned(shop, "paying.offer", key=None)


def test_offers_that_are_no_offers_are_none() -> None:
    for extension in (7, {}, {"info": {"offers": 7}}, {"info": {"offers": [{}, 7, None]}}):
        unsigned(Shop(extensions={"offer-receipt": extension}), "paying.offer", key=SELLER.key)


def test_where_an_offer_is_required_there_has_to_be_one() -> None:
    limits = Limits((LIMIT,), offer_required=True)
    unsigned(Shop(), "paying.offer", Payer(make_wallet(limits)), key=SELLER.key)
    ways = (requirements(1000),)
    shop = Shop(*ways, extensions=signed_offers(ways, SELLER))
    assert paid(shop, Payer(make_wallet(limits)), key=SELLER.key)[1].authorised == 1000


def test_a_way_that_is_offered_is_taken_though_another_is_not() -> None:
    ways = (requirements(1000), requirements(500))
    shop = Shop(*ways, extensions=signed_offers(ways[1:], SELLER))
    assert paid(shop, key=SELLER.key)[1].authorised == 500


@pytest.mark.parametrize(
    "change",
    [
        lambda value: {**value, "x402Version": 1},
        lambda value: {**value, "accepts": {}},
        lambda value: {name: item for name, item in value.items() if name != "accepts"},
        lambda value: {**value, "accepts": [7]},
        lambda value: {**value, "accepts": [{**value["accepts"][0], "amount": 1000}]},
        lambda value: {**value, "accepts": [{**value["accepts"][0], "amount": "01000"}]},
        lambda value: {**value, "accepts": [{**value["accepts"][0], "amount": "-1"}]},
        lambda value: {**value, "accepts": [{**value["accepts"][0], "amount": "1e3"}]},
        lambda value: {**value, "accepts": [{**value["accepts"][0], "amount": str(2**256)}]},
        lambda value: {**value, "accepts": [{**value["accepts"][0], "payTo": "0x12"}]},
        lambda value: {**value, "accepts": [{**value["accepts"][0], "maxTimeoutSeconds": "600"}]},
        lambda value: {**value, "accepts": [{**value["accepts"][0], "extra": []}]},
        lambda value: {**value, "resource": "http://gateway.test"},
    ],
)
def test_what_is_asked_is_read_strictly(change: Callable[[Any], Any]) -> None:
    payer_ = Payer(make_wallet())
    shop = Shop(required=change)
    with pytest.raises(HoldfastError) as error:
        asyncio.run(buy(payer_, shop))
    assert error.value.code.startswith("x402.")
    assert not shop.payloads
    assert payer_.wallet.record.history() == []


@pytest.mark.parametrize(
    "header",
    [
        "",
        "e",
        "e30",
        "e30=\n",
        "not base64!",
        "A" * 30_000,
        *(
            base64.b64encode(text).decode()
            for text in (b"[]", b'{"a":NaN}', b'{"x402Version":2,"x402Version":2,"accepts":[]}')
        ),
    ],
)
def test_a_header_that_is_none_is_refused(header: str) -> None:
    payer_ = Payer(make_wallet())
    with pytest.raises(HoldfastError) as error:
        asyncio.run(buy(payer_, Shop(header=lambda _: header)))
    assert error.value.code.partition(".")[0] in ("x402", "encoding", "json")
    assert payer_.wallet.record.history() == []


def test_nothing_that_can_be_paid_here_is_said_so() -> None:
    def solana(value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "accepts": [{**value["accepts"][0], "network": "solana:mainnet"}]}

    unsigned(Shop(required=solana), "paying.nothing")


def test_the_reason_told_is_the_one_of_the_way_that_came_furthest() -> None:
    unsigned(
        Shop(requirements(asset=STRANGER), requirements(5000), requirements(pay_to=STRANGER)), "paying.per_request"
    )


def test_permit2_without_an_allowance_is_not_signed() -> None:
    unsigned(Shop(upto()), "paying.allowance", Payer(make_wallet(tokens=FixedTokens(999))))


# What a server says of a transfer


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        (SettleResponse(True, NETWORK, TRANSACTION, payer(1).address, 1001), "paying.other_amount"),
        (SettleResponse(True, "eip155:1", TRANSACTION, payer(1).address, 1000), "paying.other_payment"),
        (SettleResponse(True, NETWORK, TRANSACTION, STRANGER, 1000), "paying.other_payment"),
        (SettleResponse(False, NETWORK, "", error_reason="permit2_invalid_nonce"), "paying.not_moved"),
        (SettleResponse(True, NETWORK, TRANSACTION, payer(1).address, 1000), None),
        (SettleResponse(True, NETWORK, TRANSACTION), None),
    ],
)
def test_what_a_server_says_of_a_transfer_is_held_against_what_was_signed(
    said: SettleResponse, trouble: str | None
) -> None:
    """The answer is there and is handed out; the record says what is wrong."""
    shop, payer_ = Shop(), Payer(make_wallet())
    shop.respond = lambda _: said
    _, found = paid(shop, payer_, run="run-1")
    assert (found.said, found.trouble) == (said, trouble)
    [entry] = payer_.wallet.record.history()
    assert (entry.trouble, entry.runs) == (trouble, ("run-1",))
    assert json.loads(entry.told or b"") == said.to_json()


def test_a_response_that_is_none_is_noted() -> None:
    shop, payer_ = Shop(response=lambda _: "nonsense"), Payer(make_wallet())
    shop.respond = lambda payment: SettleResponse(True, NETWORK, TRANSACTION, payment.payer, 1000)
    assert paid(shop, payer_)[1].trouble == "json.utf8"
    assert payer_.wallet.record.history()[0].trouble == "json.utf8"


# What is paid


def test_what_is_signed_is_entered_before_it_is_sent() -> None:
    class Watching(Shop):
        def answer(self, headers: Any) -> Any:
            if "payment-signature" in headers:
                seen.append([item.entry.amount for item in payer_.wallet.record.history()])
            return super().answer(headers)

    seen: list[Any] = []
    payer_ = Payer(make_wallet())
    count, found = paid(Watching(), payer_)
    assert (count, found.new, found.authorised, found.scheme) == (2, True, 1000, "exact")
    assert seen == [[1000]]


def test_every_method_is_signed_as_it_is_verified() -> None:
    for way, method in (
        (requirements(1000), "eip3009"),
        (requirements(1000, extra={"assetTransferMethod": "permit2"}), "permit2-exact"),
        (upto(), "permit2-upto"),
    ):
        shop = Shop(way)
        _, found = paid(shop, Payer(make_wallet(tokens=FixedTokens(1000))))
        assert shop.paid[0].method == method
        assert shop.paid[0].identity.hex() == found.identity
        assert shop.paid[0].permit is None
        assert shop.payloads[0]["resource"]["url"].endswith("/v1/chat/completions")


def test_of_two_ways_the_one_that_takes_the_charge_alone_is_taken() -> None:
    shop = Shop(requirements(1000), upto())
    assert paid(shop, Payer(make_wallet(tokens=FixedTokens(1000))))[1].scheme == "upto"
    assert paid(shop, Payer(make_wallet(tokens=FixedTokens(0))))[1].scheme == "exact", "no allowance is needed for it"


def test_an_allowance_is_signed_along_where_the_server_submits_it() -> None:
    shop = Shop(upto(), extensions={x402.SPONSORING: {"info": {}, "schema": {}}})
    paid(shop, Payer(make_wallet(tokens=FixedTokens(0, nonce=3))))
    assert shop.paid[0].permit is not None
    assert shop.paid[0].permit.value == 1000
    info = shop.payloads[0]["extensions"][x402.SPONSORING]["info"]
    assert (info["nonce"], info["spender"], info["from"]) == ("3", x402.PERMIT2, payer(1).address)


def test_a_session_is_paid_once_and_asked_on() -> None:
    shop, payer_ = Shop(upto(), sessions=True), Payer(make_wallet(tokens=FixedTokens(1000)))
    counts = [paid(shop, payer_, run=f"run-{number}") for number in range(4)]
    assert [count for count, _ in counts] == [2, 1, 1, 1]
    assert [found.new for _, found in counts] == [True, False, False, False]
    assert len(shop.paid) == 1
    [entry] = payer_.wallet.record.history()
    assert entry.runs == ("run-0", "run-1", "run-2", "run-3")


def test_a_session_that_is_over_is_paid_anew_once() -> None:
    shop, payer_ = Shop(upto(), sessions=True), Payer(make_wallet(tokens=FixedTokens(1000)))
    paid(shop, payer_)
    shop.known.clear()
    count, found = paid(shop, payer_)
    assert (count, found.new, len(shop.paid)) == (3, True, 2)
    shop.known.clear()
    shop.refuses = True
    refused(shop, "paying.loop", payer_)


def test_a_session_is_not_used_beyond_its_authorization() -> None:
    clock = StandingClock()
    shop, payer_ = Shop(upto(), sessions=True), Payer(make_wallet(tokens=FixedTokens(1000), clock=clock))
    paid(shop, payer_)
    clock.at += 590
    attempt = payer_.attempt("http://gateway.test/v1/chat/completions", None)  # type: ignore[arg-type]
    assert attempt.headers == {}
    assert attempt.paid is None


def test_a_session_is_not_told_to_another_address() -> None:
    shop, payer_ = Shop(upto(), sessions=True), Payer(make_wallet(tokens=FixedTokens(1000)))
    paid(shop, payer_)
    assert payer_.attempt("http://other.test/v1/chat/completions", None).headers == {}  # type: ignore[arg-type]


def test_a_facilitator_is_named_in_what_is_signed() -> None:
    shop = Shop(upto())
    paid(shop)
    assert shop.payloads[0]["payload"]["permit2Authorization"]["witness"]["facilitator"] == FACILITATOR.address


def test_an_answer_that_costs_nothing_enters_nothing() -> None:
    class Free(Shop):
        def answer(self, headers: Any) -> Any:
            return 200, {}, b"{}"

    payer_ = Payer(make_wallet())
    assert asyncio.run(buy(payer_, Free())) == (1, None)
    assert payer_.wallet.record.history() == []


def test_limits_are_by_asset_and_network() -> None:
    other = AssetLimit("eip155:1", TEST_TOKEN, 10**9, 10**9)
    unsigned(Shop(), "paying.asset", Payer(make_wallet(Limits((other,)))))
    assert Limits((LIMIT, other)).of(NETWORK, TEST_TOKEN) == LIMIT


# The client of gateways


def gateway_turn(gateway: SellingGateway, payer_: Payer | None, *, streamed: bool, trust: Any = "its own") -> Turn:
    """One question to a gateway that sells its answers."""
    client = gateway.client(gateway.network.trust() if trust == "its own" else trust, payer=payer_)

    async def ask() -> Turn:
        if not streamed:
            return (await client.ask(REQUEST)).turn
        async with client.stream(REQUEST) as answer:
            async for _ in answer:
                pass
            assert answer.bound is not None
            return answer.bound.turn

    return asyncio.run(ask())


@pytest.mark.parametrize("streamed", [False, True])
def test_a_gateway_that_wants_money_is_an_error_to_a_client_that_pays_nothing(streamed: bool) -> None:
    with pytest.raises(RefusedError) as error:
        gateway_turn(SellingGateway(Shop()), None, streamed=streamed)
    assert (error.value.code, error.value.status) == ("paying.asked", 402)
    assert "1000 of 0x" in error.value.message


@pytest.mark.parametrize("streamed", [False, True])
def test_a_gateway_is_paid_where_its_admitted_key_document_says_and_nowhere_else(streamed: bool) -> None:
    gateway, payer_ = SellingGateway(Shop()), Payer(make_wallet())
    turn = gateway_turn(gateway, payer_, streamed=streamed)
    assert turn.paid is not None
    assert (turn.paid.authorised, turn.paid.payee, turn.text) == (1000, PAYEE, "".join(PIECES))
    assert payer_.wallet.record.history()[0].runs == (turn.run,)
    for other in (SellingGateway(Shop(), payment=STRANGER), SellingGateway(Shop(), payment=None)):
        with pytest.raises(RefusedError) as error:
            gateway_turn(other, Payer(make_wallet()), streamed=streamed)
        assert error.value.code == "paying.payee"
        assert other.shop.payloads == []


def test_a_gateway_that_was_taken_on_first_use_is_not_paid_by_its_own_word() -> None:
    with pytest.raises(RefusedError) as error:
        gateway_turn(SellingGateway(Shop()), Payer(make_wallet()), streamed=False, trust=None)
    assert error.value.code == "paying.payee"


@pytest.mark.parametrize("streamed", [False, True])
def test_an_offer_is_the_gateways_own(streamed: bool) -> None:
    ways = (requirements(1000),)
    shop = Shop(*ways, extensions=signed_offers(ways, SELLER))
    assert gateway_turn(SellingGateway(shop), Payer(make_wallet()), streamed=streamed).paid is not None
    shop = Shop(*ways, extensions=signed_offers(ways, SELLER, amount="999"))
    with pytest.raises(RefusedError) as error:
        gateway_turn(SellingGateway(shop), Payer(make_wallet()), streamed=streamed)
    assert error.value.code == "paying.offer"


def test_streams_and_whole_answers_share_a_session() -> None:
    shop, payer_ = Shop(upto(), sessions=True), Payer(make_wallet(tokens=FixedTokens(1000)))
    gateway = SellingGateway(shop)
    for streamed in (True, False, True):
        gateway_turn(gateway, payer_, streamed=streamed)
    assert len(shop.paid) == 1
    posts = [headers for method, _, headers in gateway.requests if method == "POST"]
    assert ["payment-signature" in headers for headers in posts] == [False, True, False, False]
    assert [headers.get("x-upto-session") for headers in posts] == [None, None, "session-1", "session-1"]


def test_a_stream_that_is_asked_for_money_twice_ends_there() -> None:
    shop = Shop()
    shop.refuses = True
    with pytest.raises(RefusedError) as error:
        gateway_turn(SellingGateway(shop), Payer(make_wallet()), streamed=True)
    assert error.value.code == "paying.loop"
    assert len(shop.payloads) == 1


def test_the_client_without_an_event_loop_pays_as_well() -> None:
    gateway, payer_ = SellingGateway(Shop()), Payer(make_wallet())

    @contextlib.asynccontextmanager
    async def made() -> AsyncGenerator[GatewayClient]:
        yield gateway.client(gateway.network.trust(), payer=payer_)

    with SyncGatewayClient("http://gateway.test", None, make=made) as client:
        assert client.ask(REQUEST).turn.paid is not None
        with client.stream(REQUEST) as answer:
            assert "".join(marked.text for marked in answer) == "".join(PIECES)
    assert len(gateway.shop.paid) == 2
