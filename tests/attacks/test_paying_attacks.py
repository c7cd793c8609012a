"""What a server, or whoever stands between, tries with a client that pays; see README.md."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.spending_sqlite import SpendingRecord
from holdfast.client.paying import Payer
from holdfast.core import canonical
from holdfast.core.x402 import SettleResponse
from holdfast.errors import HoldfastError
from tests.helpers.network import ed25519_signer
from tests.helpers.paying import FixedTokens, SellingGateway, Shop, buy, make_wallet, signed_offers, upto
from tests.helpers.payments import NETWORK, PAYEE, requirements

SELLER = ed25519_signer("gateway", "statement")
THIEF = "0x" + "dd" * 20
REQUEST = {"model": "small-1", "messages": [{"role": "user", "content": "What is a lane?"}]}


def code_of(shop: Shop, payer: Payer | None = None, **options: Any) -> str:
    """The code that buying is refused with; empty where it goes through."""
    try:
        asyncio.run(buy(payer or Payer(make_wallet()), shop, **options))
    except HoldfastError as error:
        return error.code
    return ""


def asking(**members: Any) -> Shop:
    """A shop whose first way to pay says something else on the wire than was meant."""
    return Shop(required=lambda value: {**value, "accepts": [{**value["accepts"][0], **members}]})


def test_a_server_that_takes_the_payment_and_asks_again_gets_no_second_one() -> None:
    shop, payer = Shop(), Payer(make_wallet())
    shop.refuses = True
    assert code_of(shop, payer) == "paying.loop"
    assert len(shop.payloads) == len(payer.wallet.record.history()) == 1


def test_terms_that_change_between_the_attempts_are_not_signed() -> None:
    amounts = iter(("1000", "1"))
    shop = Shop(required=lambda value: {**value, "accepts": [{**value["accepts"][0], "amount": next(amounts)}]})
    shop.refuses = True
    assert code_of(shop) == "paying.altered"
    assert len(shop.payloads) == 1

    def other_body(body: bytes) -> bytes:
        return body.replace(PAYEE.encode(), THIEF.encode())

    assert code_of(Shop(body=other_body)) == "paying.altered"


def test_money_goes_nowhere_but_where_trust_says_that_the_gateway_is_paid() -> None:
    """Whoever answers on the gateway's way can name any address; its admitted key document names one."""
    shop = Shop(requirements(pay_to=THIEF))
    gateway = SellingGateway(shop)
    client = gateway.client(gateway.network.trust(), payer=Payer(make_wallet()))
    with pytest.raises(HoldfastError) as error:
        asyncio.run(client.ask(REQUEST))
    assert error.value.code == "paying.payee"
    assert shop.payloads == []


def test_a_server_cannot_ask_for_more_than_it_signed_in_its_offer() -> None:
    ways = (requirements(1000),)
    cheaper = signed_offers(ways, SELLER, amount="10")
    assert code_of(Shop(*ways, extensions=cheaper), key=SELLER.key) == "paying.offer"
    of_a_thief = signed_offers(ways, ed25519_signer("thief", "statement"))
    assert code_of(Shop(*ways, extensions=of_a_thief), key=SELLER.key) == "paying.offer"


def test_a_wallet_is_not_emptied_by_small_amounts_or_by_restarts(tmp_path: Path) -> None:
    """A server that never says that it took anything has the day's limit, and no more."""
    signed = 0
    for _ in range(12):
        shop = Shop(requirements(900))
        record = SpendingRecord(tmp_path / "spent.sqlite")
        code = code_of(shop, Payer(make_wallet(record=record)))
        record.close()
        signed += sum(payment.amount for payment in shop.paid)
    assert code == "paying.per_day"
    assert signed == 4500
    assert code_of(Shop(requirements(1001))) == "paying.per_request"


def test_another_asset_or_chain_is_not_what_the_owner_allowed() -> None:
    assert code_of(asking(asset=THIEF)) == "paying.asset"
    assert code_of(asking(network="eip155:1")) == "paying.asset"
    assert code_of(asking(network="solana:mainnet")) == "paying.nothing"


def test_a_payment_that_would_hold_for_years_is_not_signed() -> None:
    assert code_of(asking(maxTimeoutSeconds=10 * 365 * 86_400)) == "paying.longest"


@pytest.mark.parametrize(
    "header",
    [
        "%%%",
        "AA",
        base64.b64encode(b"{").decode(),
        base64.b64encode(b"[1]").decode(),
        base64.b64encode(b'{"x402Version":2,"accepts":[],"accepts":[]}').decode(),
        base64.b64encode(b'{"x402Version":2.0,"accepts":[]}').decode(),
        "A" * 100_000,
    ],
)
def test_a_402_of_broken_base64_or_json_is_refused_in_words(header: str) -> None:
    payer = Payer(make_wallet())
    assert code_of(Shop(header=lambda _: header), payer)
    assert payer.wallet.record.history() == []


@pytest.mark.parametrize(
    "amount", ["1e3", "01000", "+1000", " 1000", "0x3e8", "1000.0", "-1", "", 1000, 1e3, None, True, str(2**256)]
)
def test_an_amount_has_one_spelling(amount: Any) -> None:
    payer = Payer(make_wallet())
    assert code_of(asking(amount=amount), payer) == "x402.number"
    assert payer.wallet.record.history() == []


def test_a_session_that_was_paid_is_not_told_elsewhere_and_not_asked_for_twice() -> None:
    shop, payer = Shop(upto(), sessions=True), Payer(make_wallet(tokens=FixedTokens(1000)))
    assert code_of(shop, payer) == ""
    shop.known.clear()
    shop.refuses = True
    assert code_of(shop, payer) == "paying.loop"
    assert len(payer.wallet.record.history()) == 2


def test_a_server_that_says_it_took_more_is_written_down() -> None:
    shop, payer = Shop(), Payer(make_wallet())
    shop.respond = lambda payment: SettleResponse(True, NETWORK, "0x" + "d4" * 32, payment.payer, 10**6)
    assert code_of(shop, payer) == ""
    [entry] = payer.wallet.record.history()
    assert entry.trouble == "paying.other_amount"
    assert canonical.decode_object(entry.told or b"")["amount"] == "1000000"
