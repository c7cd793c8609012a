"""The chat page over a whole development network: a first turn on free credit, others from a wallet in the browser.

Skipped when there is no Chromium on the PATH (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.helpers.browser import IN_A_BROWSER, Page, open_browser
from tests.helpers.payments import payer
from tests.helpers.processes import NetworkProcess, network
from tests.helpers.wallet import BrowserWallet, of_chain

pytestmark = [*IN_A_BROWSER]
PAID = "document.querySelector('.talk:last-child .cell[data-lane=payment]')"
READY = "document.getElementById('pay').open && !document.querySelector('[data-part=sign]').disabled"


@pytest.fixture(scope="module")
def selling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    with network(tmp_path_factory.mktemp("selling"), "--payments", "required") as found:
        yield found


@pytest.fixture(scope="module")
def generous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    with network(tmp_path_factory.mktemp("generous")) as found:
        yield found


async def ask(page: Page, text: str, turns: int = 1) -> None:
    await page.click("#prompt")
    await page.type(text)
    await page.press("Enter", 13, "\r")
    await page.wait(f"document.querySelectorAll('.talk').length === {turns}")


async def answered(page: Page) -> None:
    await page.wait("!document.querySelector('[data-busy]') && document.querySelector('.answer').textContent", 30)


async def fund_and_sign(page: Page) -> None:
    """Take what the faucet gives, then sign."""
    await page.click("#pay [data-part=faucet]")
    await page.wait("document.querySelector('[data-part=trouble]').textContent.includes('worth nothing')", 30)
    await page.wait(READY)
    await page.click("#pay [data-part=sign]")


def test_a_first_visit_asks_on_free_credit_and_sees_what_it_cost(generous: NetworkProcess) -> None:
    async def act() -> None:
        async with open_browser() as browser:
            page = await browser.page()
            await page.go(generous.ready["panel"] + "/chat")
            before = float(await page.run("document.querySelector('#credit [data-part=left]').textContent"))
            assert "USD for a million tokens out" in await page.run(
                "document.querySelector('.model-about').textContent"
            )
            await ask(page, "What is Holdfast?")
            await answered(page)
            await page.wait(f"{PAID}.dataset.state === 'proven'", 30)
            assert await page.run(f"{PAID}.querySelector('.cell-basis').textContent") == "operator claim"
            settlement = "document.querySelector('.cell[data-lane=settlement]')"
            await page.wait(f"{settlement}.dataset.state === 'proven'", 60)
            assert await page.run(f"{settlement}.querySelector('.cell-basis').textContent") == "development"
            await page.wait(f"document.querySelector('#credit [data-part=left]').textContent < {before}")
            assert page.complaints == []

    asyncio.run(act())


def test_a_wallet_in_the_browser_pays_for_a_turn(selling: NetworkProcess) -> None:
    async def act() -> None:
        wallet = BrowserWallet(payer(5), of_chain(selling.ready["chain"]))
        async with open_browser() as browser:
            page = await browser.page()
            await wallet.install(page)
            await page.go(selling.ready["panel"] + "/chat")
            await ask(page, "What is Holdfast?")
            await page.wait("document.getElementById('pay').open")
            known = "document.querySelector('#pay [data-part=payee-known]').textContent"
            assert await page.run(known) == "the address in the gateway's key document"
            await page.run("document.querySelectorAll('#pay input[type=radio]')[0].click()")
            await fund_and_sign(page)
            await answered(page)
            assert [typed["primaryType"] for typed in wallet.signed] == ["TransferWithAuthorization"]
            await page.wait(f"{PAID}.dataset.state === 'proven'", 60)
            assert await page.run(f"{PAID}.querySelector('.cell-basis').textContent") == "development"
            await page.wait(f"{PAID}.querySelector('.cell-short').textContent.startsWith('taken 0.0')")
            run = await page.run("document.querySelector('.talk').dataset.run")
            assert page.complaints == [
                "Failed to load resource: the server responded with a status of 402 (Payment Required)"
            ]
            await page.go(f"{selling.ready['panel']}/runs/{run}")
            text = await page.run("document.getElementById('paid').textContent")
            assert "That is more than it cost: exact takes all that was signed." in text
            assert f"{wallet.signer.address} signed for at most" in text
            assert "The token's own event of exactly this transfer lies deep enough in the chain." in text

    asyncio.run(act())


@pytest.mark.parametrize("way", [1, 2], ids=["upto", "exact over Permit2"])
def test_the_gateway_brings_the_allowance_that_the_page_signed(selling: NetworkProcess, way: int) -> None:
    async def act() -> None:
        wallet = BrowserWallet(payer(5 + way), of_chain(selling.ready["chain"]))
        async with open_browser() as browser:
            page = await browser.page()
            await wallet.install(page)
            await page.go(selling.ready["panel"] + "/chat")
            await ask(page, "What is Holdfast?")
            await page.wait("document.getElementById('pay').open")
            await page.run(f"document.querySelectorAll('#pay input[type=radio]')[{way}].click()")
            await fund_and_sign(page)
            await answered(page)
            assert [typed["primaryType"] for typed in wallet.signed] == ["Permit", "PermitWitnessTransferFrom"]

    asyncio.run(act())
