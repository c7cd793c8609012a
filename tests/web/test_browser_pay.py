"""Paying for a turn from the chat page in a real browser, with a wallet that really signs, over contracts that run.

Every payment is verified as a facilitator verifies it, and what was signed is captured by the contracts themselves.
Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.adapters.payment_contracts import TEST_TOKEN
from holdfast.core import evm, x402
from holdfast.core.captures import capture_call
from holdfast.core.payments import NOT_EVIDENCE_OF
from holdfast.nodes.panel.faucet import Faucet
from tests.helpers import axe
from tests.helpers.browser import IN_A_BROWSER, Browser, Page, connect
from tests.helpers.panel import PanelWorld, open_panel
from tests.helpers.payments import DOMAIN, FACILITATOR, NETWORK, PAYEE, Machine, payer, requirements
from tests.helpers.selling import SellingGateway
from tests.helpers.wallet import BrowserWallet, of_machine
from tests.web.test_browser import CONTRAST
from tests.web.test_browser_chat import answered, ask

pytestmark = [*IN_A_BROWSER]

ASKED = 2 * 10**15
"""0.002 test tokens."""
EXACT = requirements(ASKED)
THROUGH_PERMIT2 = {**DOMAIN, "assetTransferMethod": "permit2"}
EXACT_PERMIT2 = requirements(ASKED, extra=THROUGH_PERMIT2)
UPTO = requirements(ASKED, scheme=x402.UPTO, extra={**THROUGH_PERMIT2, "facilitatorAddress": FACILITATOR.address})
SHOWN = "document.getElementById('pay').open"
READY = "document.getElementById('pay').open && !document.querySelector('[data-part=sign]').disabled"
TROUBLE = "document.querySelector('[data-part=trouble]').textContent"

Scene = Callable[["Sale"], Awaitable[None]]


@dataclasses.dataclass
class Sale:
    """A page in front of a gateway that sells, and the wallet in its browser."""

    panel: PanelWorld
    gateway: SellingGateway
    browser: Browser
    machine: Machine
    wallet: BrowserWallet

    async def page(self, *, connected: bool = True, **options: Any) -> Page:
        """A tab with the wallet and the chat page; ``connected``: the page may see the account already."""
        self.wallet.connected = connected
        page = await self.browser.page(**options)
        await self.wallet.install(page)
        await page.go(self.panel.url + "/chat")
        await page.wait("document.getElementById('list') && document.querySelector('#model').value")
        return page

    async def part(self, page: Page, name: str) -> str:
        """The text of a part of the dialog."""
        return str(await page.run(f"document.querySelector('#pay [data-part={name}]').textContent"))

    def capture(self, amount: int | None = None) -> bool:
        """Have the contracts carry the newest payment out; whether money moved."""
        payment = self.gateway.paid[-1]
        if amount is not None:
            payment = dataclasses.replace(payment, amount=amount)
        call = capture_call(payment)
        self.machine.time = int(time.time())
        return self.machine.send(FACILITATOR.address, call.to, call.data).success


@pytest.fixture
def sell(chromium: str) -> Callable[..., None]:
    """Runs a scene in which a gateway sells its answers in these ways."""

    def run(scene: Scene, *ways: x402.PaymentRequirements, funded: int = 10**18, **options: Any) -> None:
        async def act() -> None:
            machine, gateway = Machine(), SellingGateway(*(ways or (EXACT,)), **options)
            wallet = BrowserWallet(payer(1), of_machine(machine))
            machine.fund(wallet.signer.address, funded)
            async with open_panel(gateway) as panel, connect(chromium) as browser:
                await scene(Sale(panel, gateway, browser, machine, wallet))

        asyncio.run(act())

    return run


# ---- what is refused -----------------------------------------------------------------------------------------------


def test_who_says_no_pays_nothing_and_asks_nothing(sell):
    async def scene(sale: Sale) -> None:
        page = await sale.page()
        await ask(page, "Why?")
        await page.wait(READY)
        await page.run("document.querySelector('#pay [data-part=cancel]').click()")
        await page.wait("document.querySelector('.turn-trouble [role=alert]')")
        assert "Nothing was paid, and nothing was asked." in await page.run(
            "document.querySelector('.turn-trouble').innerText"
        )
        assert sale.wallet.signed == sale.gateway.paid == sale.gateway.asked == []
        await page.click("[data-act=retry]")
        await page.wait(READY)
        await page.press("Escape", 27)
        await page.wait(f"!{SHOWN}")
        assert sale.wallet.signed == []

    sell(scene)


def test_a_wallet_whose_owner_says_no_signs_nothing(sell):
    async def scene(sale: Sale) -> None:
        sale.wallet.refuses = True
        page = await sale.page()
        await ask(page, "Why?")
        await page.wait(READY)
        await page.click("#pay [data-part=sign]")
        await page.wait(f"{TROUBLE}.includes('You said no in the wallet')")
        assert await page.run(SHOWN)
        assert sale.gateway.paid == []

    sell(scene)


@pytest.mark.parametrize(
    ("each", "day", "says"),
    [
        ("0.001", "1", "This is more than you let one answer cost."),
        ("1", "0.001", "This would be more than you let a day cost."),
        ("", "1", "A limit is a number such as 0.5."),
        ("1e3", "1", "A limit is a number such as 0.5."),
        ("-1", "1", "A limit is a number such as 0.5."),
        ("0", "0", "This is more than you let one answer cost."),
        ("0.0000000000000000001", "1", "A limit is a number such as 0.5."),
    ],
)
def test_nothing_is_signed_above_the_limits_on_the_page(sell, each: str, day: str, says: str):
    async def scene(sale: Sale) -> None:
        page = await sale.page()
        await ask(page, "Why?")
        await page.wait(READY)
        await page.run(
            f"document.querySelector('[data-part=each]').value = '{each}';"
            f"document.querySelector('[data-part=day]').value = '{day}'"
        )
        await page.click("#pay [data-part=sign]")
        await page.wait(f"{TROUBLE} !== ''")
        assert says in await page.run(TROUBLE)
        assert sale.wallet.signed == []

    sell(scene)


def test_a_day_has_its_limit_over_several_answers(sell):
    async def scene(sale: Sale) -> None:
        page = await sale.page()
        for count in (1, 2, 3):
            await ask(page, "Again?")
            await page.wait(READY)
            await page.run("document.querySelector('[data-part=day]').value = '0.005'")
            assert (await sale.part(page, "spent")) == f"{['0', '0.002', '0.004'][count - 1]} OPG"
            await page.click("#pay [data-part=sign]")
            if count < 3:
                await answered(page, count)
        await page.wait(f"{TROUBLE}.includes('more than you let a day cost')")
        assert len(sale.gateway.paid) == 2

    sell(scene)


def test_a_server_that_asks_again_after_it_was_paid_is_not_paid_twice(sell):
    async def scene(sale: Sale) -> None:
        sale.gateway.refuses = "the wallet has too little"
        page = await sale.page()
        await ask(page, "Why?")
        await page.wait(READY)
        await page.click("#pay [data-part=sign]")
        await page.wait("document.querySelector('.turn-trouble [role=alert]')")
        text = await page.run("document.querySelector('.turn-trouble').innerText")
        assert "It was not taken: the wallet has too little." in text
        assert "does not sign twice" in text
        assert len(sale.wallet.signed) == 1
        assert not await page.run(SHOWN)

    sell(scene)


@pytest.mark.parametrize(
    "change",
    [
        {"x402Version": 1},
        {"accepts": {}},
        {"accepts": [{**EXACT.to_json(), "payTo": "0x1"}]},
        {"accepts": [{**EXACT.to_json(), "amount": "1e18"}]},
        {"accepts": [{**EXACT.to_json(), "amount": str(2**256)}]},
        {"accepts": [{**EXACT.to_json(), "maxTimeoutSeconds": "600"}]},
        {"accepts": [EXACT.to_json(), {**EXACT.to_json(), "asset": None}]},
    ],
    ids=str,
)
def test_a_server_that_cannot_say_what_it_wants_is_not_paid(sell, change: dict[str, Any]):
    async def scene(sale: Sale) -> None:
        sale.gateway.alter = lambda value: value | change
        page = await sale.page()
        await ask(page, "Why?")
        await page.wait("document.querySelector('.turn-trouble [role=alert]')")
        assert "cannot be read" in await page.run("document.querySelector('.turn-trouble').innerText")
        assert not await page.run(SHOWN)
        assert sale.wallet.asked == []

    sell(scene)


def test_what_no_wallet_here_pays_is_left_out_and_where_nothing_is_left_it_says_so(sell):
    async def scene(sale: Sale) -> None:
        others = [{**EXACT.to_json(), "network": "solana:1"}, {**EXACT.to_json(), "scheme": "deferred"}]
        others.append({**UPTO.to_json(), "extra": {}})
        sale.gateway.alter = lambda value: value | {"accepts": others}
        page = await sale.page()
        await ask(page, "Why?")
        await page.wait("document.querySelector('.turn-trouble [role=alert]')")
        assert "takes no payment that this page can make" in await page.run(
            "document.querySelector('.turn-trouble').innerText"
        )

    sell(scene)


def test_credit_that_ends_without_anything_to_sign_is_said_and_shows_no_dialog(sell):
    async def scene(sale: Sale) -> None:
        sale.gateway.ways = ()
        page = await sale.page()
        await ask(page, "Why?")
        await page.wait("document.querySelector('.turn-trouble [role=alert]')")
        assert "The credit is used up." in await page.run("document.querySelector('.turn-trouble').innerText")
        assert not await page.run(SHOWN)

    sell(scene)


def test_permit2_without_an_allowance_says_what_is_missing(sell):
    async def scene(sale: Sale) -> None:
        page = await sale.page()
        await ask(page, "Why?")
        await page.wait(READY)
        await page.click("#pay [data-part=sign]")
        await page.wait(f"{TROUBLE}.includes('Permit2 has no allowance of yours')")
        assert sale.wallet.signed == []

    sell(scene, UPTO)


# ---- what is shown before anything is signed -----------------------------------------------------------------------


def test_before_it_is_signed_a_payment_says_how_much_to_whom_for_what_and_what_it_does_not_show(sell):
    async def scene(sale: Sale) -> None:
        page = await sale.page()
        await ask(page, "What is a holdfast?")
        await page.wait(READY)
        assert await sale.part(page, "amount") == "0.002 OPG"
        assert await sale.part(page, "payee") == PAYEE
        assert "names nobody to be paid" in await sale.part(page, "payee-known")
        assert await sale.part(page, "network") == NETWORK
        assert await sale.part(page, "asset") == TEST_TOKEN
        assert await sale.part(page, "question") == "What is a holdfast?"
        assert await sale.part(page, "resource") == "http://gateway.test/v1/chat/completions"
        assert await sale.part(page, "held") == "1 OPG"
        assert await sale.part(page, "why") == "The credit is used up."
        shown = await page.run("document.getElementById('pay').innerText")
        assert f"no evidence of: {', '.join(NOT_EVIDENCE_OF)}" in shown
        assert sale.wallet.signed == []
        assert "eth_requestAccounts" not in sale.wallet.asked

    sell(scene)


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 390)], ids=str)
def test_the_dialog_can_be_read_by_everybody_on_every_screen(sell, dark: bool, width: int):
    async def scene(sale: Sale) -> None:
        sale.panel.service.faucet = faucet(sale, [])
        page = await sale.page(dark=dark, width=width, calm=True, connected=False)
        await axe.prepare(page)
        await page.go(sale.panel.url + "/chat?prepared")
        await ask(page, "What is a holdfast? " * 30)
        await page.wait(SHOWN)
        await page.click("#pay [data-part=connect]")
        await page.wait(READY)
        assert await page.run(CONTRAST) == []
        assert await axe.violations(page) == []
        assert await page.run(
            "document.getElementById('pay').scrollWidth <= document.getElementById('pay').clientWidth"
        )
        assert await page.run("document.documentElement.scrollWidth") <= width

    sell(scene, EXACT, UPTO)


def test_a_browser_without_a_wallet_is_told_how_else_to_pay(sell):
    async def scene(sale: Sale) -> None:
        page = await sale.browser.page()
        await page.go(sale.panel.url + "/chat")
        await ask(page, "Why?")
        await page.wait(SHOWN)
        assert "This browser has no wallet." in await page.run("document.getElementById('pay').innerText")
        assert await page.run("document.querySelector('[data-part=sign]').disabled")
        assert page.complaints == [
            "Failed to load resource: the server responded with a status of 402 (Payment Required)"
        ]

    sell(scene)


# ---- what is paid --------------------------------------------------------------------------------------------------


def test_the_first_answers_need_neither_account_nor_wallet(sell):
    async def scene(sale: Sale) -> None:
        page = await sale.browser.page()
        await page.go(sale.panel.url + "/chat")
        assert await page.run("document.querySelector('#credit [data-part=left]').textContent") == "0.21"
        await ask(page, "Free?")
        await answered(page)
        await page.wait("document.querySelector('#credit [data-part=left]').textContent === '0.11'")
        await page.wait("document.querySelector('.cell[data-lane=payment] .cell-short').textContent === 'from credit'")
        assert page.complaints == []

    sell(scene, free=2)


def test_an_exact_payment_is_signed_after_connecting_and_the_contract_takes_it(sell):
    async def scene(sale: Sale) -> None:
        page = await sale.page(connected=False)
        await ask(page, "What is a holdfast?")
        await page.wait(SHOWN)
        assert await sale.part(page, "account") == "none"
        assert await sale.part(page, "amount") == f"{ASKED} base units"
        await page.click("#pay [data-part=connect]")
        await page.wait(READY)
        await page.click("#pay [data-part=sign]")
        await answered(page)
        (payment,) = sale.gateway.paid
        assert (payment.method, payment.amount, payment.payer) == ("eip3009", ASKED, sale.wallet.signer.address)
        assert len(sale.wallet.signed) == 1
        short = "document.querySelector('.cell[data-lane=payment] .cell-short').textContent"
        await page.wait(f"{short} === 'signed 0.002 OPG'")
        assert sale.capture()
        assert sale.machine.balance(PAYEE) == ASKED
        assert not sale.capture()  # a nonce is used once

    sell(scene)


def test_upto_signs_the_most_and_the_contract_takes_less(sell):
    async def scene(sale: Sale) -> None:
        sale.machine.approve(sale.wallet.signer)
        page = await sale.page()
        await ask(page, "What is a holdfast?")
        await page.wait(READY)
        assert await sale.part(page, "amount") == "at most 0.002 OPG"
        await page.click("#pay [data-part=sign]")
        await answered(page)
        (payment,) = sale.gateway.paid
        assert (payment.method, payment.cap, payment.permit) == ("permit2-upto", ASKED, None)
        assert sale.capture(ASKED // 4)
        assert sale.machine.balance(PAYEE) == ASKED // 4

    sell(scene, UPTO)


@pytest.mark.parametrize("way", [UPTO, EXACT_PERMIT2], ids=["upto", "exact"])
def test_where_the_gateway_brings_the_allowance_both_are_signed(sell, way: x402.PaymentRequirements):
    async def scene(sale: Sale) -> None:
        page = await sale.page()
        await ask(page, "What is a holdfast?")
        await page.wait(READY)
        await page.click("#pay [data-part=sign]")
        await answered(page)
        (payment,) = sale.gateway.paid
        assert payment.permit is not None
        assert [typed["primaryType"] for typed in sale.wallet.signed] == ["Permit", "PermitWitnessTransferFrom"]
        assert sale.machine.allowance(sale.wallet.signer.address) == 0
        assert sale.capture()
        assert sale.machine.balance(PAYEE) == ASKED

    sell(scene, way, sponsors=True)


def test_who_pays_chooses_between_the_ways_that_are_offered(sell):
    async def scene(sale: Sale) -> None:
        sale.machine.approve(sale.wallet.signer)
        page = await sale.page()
        await ask(page, "What is a holdfast?")
        await page.wait(READY)
        assert await sale.part(page, "amount") == "0.002 OPG"
        await page.run("document.querySelectorAll('#pay input[type=radio]')[1].click()")
        await page.wait("document.querySelector('[data-part=amount]').textContent === 'at most 0.002 OPG'")
        await page.wait(READY)
        await page.click("#pay [data-part=sign]")
        await answered(page)
        assert sale.gateway.paid[0].method == "permit2-upto"

    sell(scene, EXACT, UPTO)


def test_what_takes_no_more_than_the_answer_costs_is_chosen_first(sell):
    async def scene(sale: Sale) -> None:
        page = await sale.page()
        await ask(page, "What is a holdfast?")
        await page.wait(READY)
        assert await sale.part(page, "amount") == "at most 0.002 OPG"
        checked = "[...document.querySelectorAll('#pay input[type=radio]')].map((input) => input.checked)"
        assert await page.run(checked) == [False, True]

    sell(scene, EXACT, UPTO, sponsors=True)


def test_one_signature_pays_for_later_turns_while_it_lasts(sell):
    async def scene(sale: Sale) -> None:
        sale.gateway.sessions = True
        sale.machine.approve(sale.wallet.signer)
        page = await sale.page()
        await ask(page, "First?")
        await page.wait(READY)
        await page.click("#pay [data-part=sign]")
        await answered(page)
        await ask(page, "Second?")
        await answered(page, 2)
        assert len(sale.wallet.signed) == len(sale.gateway.paid) == 1
        sale.gateway.open.clear()
        await ask(page, "Third?")
        await page.wait(READY)
        await page.click("#pay [data-part=sign]")
        await answered(page, 3)
        assert len(sale.gateway.paid) == 2

    sell(scene, UPTO)


def test_a_wallet_on_another_chain_is_brought_to_the_right_one(sell):
    async def scene(sale: Sale) -> None:
        sale.wallet.chain_id, sale.wallet.knows_chains = 1, {1}
        page = await sale.page()
        await ask(page, "Why?")
        await page.wait(f"{TROUBLE}.includes('Unrecognized chain')")
        assert sale.wallet.chain_id == 1  # no chain is added for a stranger
        await page.run("document.querySelector('#pay [data-part=cancel]').click()")
        sale.panel.service.faucet = faucet(sale, [])
        page = await sale.page()
        await ask(page, "Why?")
        await page.wait(READY)
        assert sale.wallet.chain_id == 31337
        await page.click("#pay [data-part=sign]")
        await answered(page)
        assert len(sale.gateway.paid) == 1

    sell(scene)


# ---- the faucet ----------------------------------------------------------------------------------------------------


def faucet(sale: Sale, given: list[str]) -> Faucet:
    """A faucet over the scene's contracts."""

    async def give(address: str) -> str:
        given.append(address)
        sale.machine.fund(address, 10**18)
        return "0x" + evm.keccak256(address.encode()).hex()

    async def close() -> None:
        return None

    return Faucet(NETWORK, "http://127.0.0.1:1/", give, close)


def test_an_empty_wallet_is_filled_on_a_development_chain(sell):
    async def scene(sale: Sale) -> None:
        given: list[str] = []
        sale.panel.service.faucet = faucet(sale, given)
        page = await sale.page(connected=False)
        await ask(page, "Why?")
        await page.wait(SHOWN)
        await page.click("#pay [data-part=faucet]")
        await page.wait(f"{TROUBLE}.includes('They are worth nothing.')")
        await page.wait("document.querySelector('#pay [data-part=held]').textContent === '1 OPG'")
        assert given == [sale.wallet.signer.address]
        await page.click("#pay [data-part=sign]")
        await answered(page)
        assert sale.capture()

    sell(scene, funded=0)


def test_on_other_chains_there_is_no_faucet(sell):
    async def scene(sale: Sale) -> None:
        page = await sale.page()
        await ask(page, "Why?")
        await page.wait(READY)
        assert await page.run("document.querySelector('[data-part=faucet]').hidden")
        headers = await sale.panel.change_headers()
        url = sale.panel.url + "/pay/faucet"
        async with sale.panel.http.post(url, json={"address": PAYEE}, headers=headers) as answer:
            assert answer.status == 404
        del headers["x-holdfast-token"]
        async with sale.panel.http.post(url, json={"address": PAYEE}, headers=headers) as answer:
            assert answer.status == 403

    sell(scene)
