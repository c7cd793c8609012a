"""What a run cost and both sides of its payment, on the page of the run and in its twin."""

from __future__ import annotations

import asyncio
import html
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from holdfast.core.bundles import build_bundle
from holdfast.core.payments import NOT_EVIDENCE_OF
from holdfast.review.events import SYSTEM
from tests.helpers.browser import IN_A_BROWSER, Browser, connect, launch
from tests.helpers.fake_gateway import FakeGateway
from tests.helpers.network import RUN, Network, at
from tests.helpers.paid_run import COST, payment_view
from tests.helpers.panel import PanelWorld, open_panel
from tests.helpers.payment_documents import CHARGE, Paid, document, following, trust_with_facilitator
from tests.web.test_account_pages import Site, play
from tests.web.test_browser import CONTRAST
from tests.web.test_browser_chat import answered, ask, opened
from tests.web.test_pages import parse, visible

pytestmark = pytest.mark.enable_socket
TAKEN = {"amount": "500", "transaction": "0x" + "d4" * 32, "network": "eip155:31337", "receipt": None}
"""All that was signed, of which 70 were charged."""


def test_a_run_without_a_payment_has_no_section_and_no_twin() -> None:
    async def check() -> None:
        async with open_panel() as panel:
            run = panel.gateway.add_run()
            assert "What it cost" not in visible((await panel.get(f"/runs/{run.run}"))[1])
            status, text = await panel.get(f"/runs/{run.run}/payment.json", accept="application/json")
            assert (status, json.loads(text)["error"]["code"]) == (404, "panel.unpaid")
            run.payment = payment_view(run.run)  # nothing has happened yet
            assert (await panel.get(f"/runs/{run.run}/payment.json"))[0] == 404

    asyncio.run(check())


def test_a_view_that_is_damaged_takes_nothing_else_of_the_page_away() -> None:
    async def check() -> None:
        async with open_panel() as panel:
            run = panel.gateway.add_run()
            run.payment = payment_view(run.run, "charged") | {"checks": "all good"}
            status, page = await panel.get(f"/runs/{run.run}")
            assert (status, "What it cost" in page) == (200, False)
            assert (await panel.get(f"/runs/{run.run}/payment.json"))[0] == 400

    asyncio.run(check())


def test_what_was_taken_above_what_it_cost_is_said() -> None:
    async def check() -> None:
        async with open_panel() as panel:
            run = panel.gateway.add_run()
            run.payment = payment_view(run.run, "charged", "captured")
            page = visible((await panel.get(f"/runs/{run.run}"))[1])
            assert "Taken: 0.00007 USD: 0.00007 of" in page
            assert "more than it cost" not in page
            run.payment = payment_view(run.run, "charged", "captured", captured=TAKEN)
            page = visible((await panel.get(f"/runs/{run.run}"))[1])
            assert "Taken: 0.0005 USD: 0.0005 of" in page
            assert "That is more than it cost" in page

    asyncio.run(check())


def test_the_page_of_a_run_shows_what_it_cost_and_both_sides() -> None:
    async def check() -> None:
        async with open_panel() as panel:
            run = panel.gateway.add_run()
            run.payment = payment_view(run.run, "charged", "captured", trouble="the facilitator is silent")
            page = (await panel.get(f"/runs/{run.run}"))[1]
            parse(page)
            text = visible(page)
            for words in (
                COST,
                "input tokens 4 2.5 USD for 1000000",
                "What the seller offered",
                "What the payer signed",
                "completion tokens 6",
                "Of the payer's artefacts",
                "cannot tell",
                "The facilitator is silent.",
                f"None of it is evidence of: {', '.join(NOT_EVIDENCE_OF)}.",
                "Who is right is for people to say.",
            ):
                assert words in text, words
            assert "<script>hit()" not in page
            assert html.escape("<script>hit()</script>") in page
            twin = json.loads((await panel.get(f"/runs/{run.run}/payment.json"))[1])
            assert twin["charged"]["amount"] == "70"

    asyncio.run(check())


class TestInABrowser:
    """The same with scripts."""

    pytestmark: ClassVar = [*IN_A_BROWSER]

    def play(self, scene, gateway: FakeGateway | None = None) -> None:
        async def act() -> None:
            with launch() as address:
                async with open_panel(gateway) as panel, connect(address) as browser:
                    await scene(panel, browser)

        asyncio.run(act())

    def test_a_charge_appears_on_the_page_of_its_run_when_it_is_made(self) -> None:
        async def scene(panel: PanelWorld, browser: Browser) -> None:
            run = panel.gateway.add_run()
            page = await browser.page()
            await page.go(f"{panel.url}/runs/{run.run}")
            run.payment = payment_view(run.run, "charged")
            run.lanes["payment"].update(state="pending", says="Charged; nothing is taken yet.")
            await panel.gateway.changed(run)
            await page.wait(f"document.querySelector('.paid-cost')?.textContent === '{COST}'")
            await page.run("document.querySelector('.paid-sides').open = true")
            run.payment = payment_view(run.run, "charged", "captured")
            run.lanes["payment"].update(state="proven", basis="development", says="Paid on a development chain.")
            await panel.gateway.changed(run)
            await page.wait("document.querySelectorAll('.paid-step').length === 2")
            assert await page.run("document.querySelector('.paid-sides').open")
            assert page.complaints == []

        self.play(scene)

    def test_the_strip_of_a_turn_says_what_it_cost_once_it_is_charged(self) -> None:
        async def scene(panel: PanelWorld, browser: Browser) -> None:
            page = await opened(panel, browser)
            await ask(page, "Why?")
            await answered(page)
            await page.wait("document.querySelector('.cell[data-lane=payment]').dataset.state === 'not_applicable'")
            (run,) = panel.gateway.runs.values()
            run.payment = payment_view(run.run, "charged")
            run.lanes["payment"].update(state="pending", says="Charged; nothing is taken yet.")
            await panel.gateway.changed(run)
            await page.wait(
                "document.querySelector('.cell[data-lane=payment] .cell-short').textContent === 'charged 0.00007 USD'"
            )
            run.payment = payment_view(run.run, "charged", "captured", captured=TAKEN)
            run.lanes["payment"].update(state="proven", basis="development", says="Paid on a development chain.")
            await panel.gateway.changed(run)
            await page.wait(
                "document.querySelector('.cell[data-lane=payment] .cell-short').textContent === 'taken 0.0005 USD'"
            )
            assert page.complaints == []

        self.play(scene)

    @pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 390)], ids=str)
    def test_both_sides_can_be_read_on_every_screen(self, dark: bool, width: int) -> None:
        async def scene(panel: PanelWorld, browser: Browser) -> None:
            run = panel.gateway.add_run()
            run.payment = payment_view(run.run, "charged", "captured")
            page = await browser.page(dark=dark, width=width, calm=True)
            await page.go(f"{panel.url}/runs/{run.run}")
            await page.run("document.querySelectorAll('#paid details').forEach((node) => node.open = true)")
            assert await page.run(CONTRAST) == []
            assert await page.run("document.documentElement.scrollWidth") <= width

        self.play(scene)


class TestOfACase:
    """The same in a case file: from the case's own evidence."""

    def play(self, folder: Path, *steps: Paid) -> tuple[str, Any]:
        """Page and twin of a case whose evidence has these steps."""
        shown: list[Any] = []

        async def story(site: Site) -> None:
            site.clinic.trusted = trust_with_facilitator()
            site.clinic.queue("paid")
            site.clinic.pass_time(1)
            case = site.clinic.desk.open(SYSTEM, RUN, "paid").id
            items = [item for step in steps for item in step.items()]
            bundle = build_bundle(RUN, at(20), [*Network().journal(disclosed=False), *items])
            site.clinic.desk.note_bundle(SYSTEM, case, bundle)
            shown.extend([await site.text(f"/cases/{case}"), await site.twin(f"/cases/{case}")])

        play(story, folder)
        return shown[0], shown[1]

    def test_a_case_without_a_payment_has_no_section(self, tmp_path: Path) -> None:
        page, twin = self.play(tmp_path)
        assert "What it cost" not in page
        assert twin["payment"] is None

    def test_a_case_shows_what_its_run_cost_by_what_was_checked_here(self, tmp_path: Path) -> None:
        charged = Paid(document("charged"))
        page, twin = self.play(tmp_path, charged, following(charged, "captured"))
        text = visible(page)
        assert COST in text
        assert "Put together and checked here, from the case's own evidence." in text
        assert "Nobody looked at the chain" in text
        assert [step["event"] for step in twin["payment"]["steps"]] == ["charged", "captured"]
        answers = {check["about"]: check["answer"] for check in twin["payment"]["checks"]}
        assert answers["payer"] == answers["chain"] == "cannot_tell"

    def test_a_charge_that_does_not_add_up_is_told_as_that_and_by_whose_artefact(self, tmp_path: Path) -> None:
        wrong = replace(document("charged"), charge=replace(CHARGE, usd="0.5"))
        page, twin = self.play(tmp_path, Paid(wrong))
        assert any(check["answer"] == "no" and check["about"] == "seller" for check in twin["payment"]["checks"])
        assert 'data-answer="no"' in page[page.index('id="payment"') :]
