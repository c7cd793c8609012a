"""The chat page as the server makes it, and what crosses the panel so that a turn can be paid for."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from starlette.requests import Request
from starlette.responses import Response

from holdfast.core.payments import NOT_EVIDENCE_OF
from holdfast.errors import MalformedError
from holdfast.nodes.panel import paying
from holdfast.nodes.panel.faucet import Faucet
from holdfast.web.chat import CELLS
from tests.helpers.fake_gateway import FakeGateway
from tests.helpers.live_pages import live_pages
from tests.helpers.panel import open_panel
from tests.helpers.payments import PAYEE

pytestmark = pytest.mark.enable_socket
QUESTION = {"model": "holdfast-responder", "messages": [{"role": "user", "content": "Why?"}]}


class Till(FakeGateway):
    """A gateway that wants to be paid, and remembers what it was sent."""

    def __init__(self, body: bytes = b"{}", **headers: str) -> None:
        super().__init__()
        self.body = body
        self.headers = {"payment-required": "e30=", **headers}
        self.seen: list[dict[str, str]] = []

    async def _chat(self, request: Request) -> Response:
        self.seen.append(dict(request.headers))
        if "payment-signature" in request.headers:
            answer = await super()._chat(request)
            answer.headers.update({"x-upto-session": "s1", "payment-response": "e30=", "x-internal": "secret"})
            return answer
        return Response(self.body, 402, headers=self.headers, media_type="application/json")


def test_the_page_stands_while_the_gateway_is_away() -> None:
    async def check() -> None:
        gateway = FakeGateway()
        gateway.down = True
        async with open_panel(gateway) as panel:
            status, page = await panel.get("/chat")
            assert status == 200
            assert "The gateway is being restarted." in page
            twin = json.loads((await panel.get("/chat.json", accept="application/json"))[1])
            assert (twin["models"], twin["trouble"]) == ([], "the gateway is being restarted")

    asyncio.run(check())


def test_the_page_is_for_those_who_may_ask(tmp_path) -> None:
    async def check() -> None:
        async with live_pages(tmp_path) as pages:
            (_, cookie), *_ = await pages.world.let_in("vic", "viewer")
            headers = {"cookie": cookie, "accept": "text/html"}
            async with aiohttp.ClientSession(headers=headers) as http:
                async with http.get(f"{pages.url}/chat") as answer:
                    assert answer.status == 403
                async with http.get(f"{pages.url}/rounds") as answer:
                    assert 'href="/chat"' not in await answer.text()

    asyncio.run(check())


def test_each_cell_of_the_strip_is_of_one_lane() -> None:
    lanes = [cell["lane"] for cell in CELLS]
    assert lanes == ["inputs", "memory", "route", "privacy", "payment", "computation", "settlement"]


def test_the_twin_says_what_a_payment_is_no_evidence_of() -> None:
    async def check() -> None:
        async with open_panel() as panel:
            value = json.loads((await panel.get("/chat.json", accept="application/json"))[1])
            assert value["paid_is_no_evidence_of"] == list(NOT_EVIDENCE_OF)
            assert [model["id"] for model in value["models"]] == panel.gateway.models
            assert value["payee"] is None

    asyncio.run(check())


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"{}", "payment.required", "this answer has to be paid for"),
        (b"not json", "payment.required", "this answer has to be paid for"),
        (b'{"x402Version":2,"error":"it is used up","accepts":[]}', "payment.required", "it is used up"),
        (b'{"error":{"message":"no credit","code":"payment.credit"}}', "payment.credit", "no credit"),
        (b'{"error":{"message":"no credit","code":"Payment Credit!"}}', "payment.required", "no credit"),
        (b'{"error":7}', "payment.required", "this answer has to be paid for"),
    ],
)
def test_what_has_to_be_paid_reaches_the_page_with_its_header(body: bytes, code: str, message: str) -> None:
    async def check() -> None:
        async with open_panel(Till(body)) as panel:
            headers = await panel.change_headers()
            async with panel.http.post(panel.url + "/ask", json=QUESTION, headers=headers) as answer:
                assert answer.status == 402
                error = (await answer.json())["error"]
                assert (error["code"], error["message"]) == (code, message)
                assert answer.headers["payment-required"] == "e30="

    asyncio.run(check())


def test_of_headers_only_those_about_money_cross_the_panel() -> None:
    async def check() -> None:
        gateway = Till()
        async with open_panel(gateway) as panel:
            headers = await panel.change_headers()
            mine = {"payment-signature": "e30=", "x-upto-session": "s0", "x-holdfast-capability": "x", "x-payment": "y"}
            async with panel.http.post(panel.url + "/ask", json=QUESTION, headers=headers | mine) as answer:
                assert answer.status == 200
                await answer.read()
                assert answer.headers["x-upto-session"] == "s1"
                assert answer.headers["payment-response"] == "e30="
                assert "x-internal" not in answer.headers
            (seen,) = gateway.seen
            assert (seen["payment-signature"], seen["x-upto-session"]) == ("e30=", "s0")
            assert "x-payment" not in seen
            assert "x-holdfast-capability" not in seen

    asyncio.run(check())


@pytest.mark.parametrize(("name", "value"), [("payment-signature", "a" * 24_577), ("x-upto-session", "a" * 129)])
def test_a_header_that_no_payment_fits_is_refused_here(name: str, value: str) -> None:
    async def check() -> None:
        gateway = Till()
        async with open_panel(gateway) as panel:
            headers = await panel.change_headers() | {name: value}
            async with panel.http.post(panel.url + "/ask", json=QUESTION, headers=headers) as answer:
                assert answer.status == 400
                assert (await answer.json())["error"]["code"] == "x402.header"
            assert gateway.seen == []

    asyncio.run(check())


def test_a_refusal_that_is_not_about_money_is_none() -> None:
    async def check() -> None:
        gateway = FakeGateway()
        gateway.fail = True
        async with open_panel(gateway) as panel:
            headers = await panel.change_headers()
            async with panel.http.post(panel.url + "/ask", json=QUESTION, headers=headers) as answer:
                assert answer.status == 502
                assert not any(name in answer.headers for name in paying.ANSWERED)

    asyncio.run(check())


@pytest.mark.parametrize("value", [[], {}, {"left": 1, "granted": "1"}, {"left": "1"}, {"left": "-1", "granted": "1"}])
def test_an_account_that_does_not_add_up_to_amounts_is_refused(value: object) -> None:
    with pytest.raises(MalformedError):
        paying.parse_credit(value)


@pytest.mark.parametrize(
    "body", [{}, {"address": 1}, {"address": "0x1"}, {"address": PAYEE, "amount": "9"}, {"address": "0x" + "g" * 40}]
)
def test_a_faucet_is_asked_with_an_address_and_nothing_else(body: dict[str, object]) -> None:
    async def check() -> None:
        given: list[str] = []

        async def give(address: str) -> str:
            given.append(address)
            return "0x" + "11" * 32

        async def close() -> None:
            given.append("closed")

        async with open_panel() as panel:
            panel.service.faucet = Faucet("eip155:31337", "http://127.0.0.1:1/", give, close)
            headers = await panel.change_headers()
            async with panel.http.post(panel.url + "/pay/faucet", json=body, headers=headers) as answer:
                assert answer.status == 400
            assert given == []
            upper = {"address": "0x" + "EE" * 20}
            async with panel.http.post(panel.url + "/pay/faucet", json=upper, headers=headers) as answer:
                assert await answer.json() == {
                    "address": PAYEE,
                    "network": "eip155:31337",
                    "transaction": "0x" + "11" * 32,
                }
        assert given == [PAYEE, "closed"]

    asyncio.run(check())
