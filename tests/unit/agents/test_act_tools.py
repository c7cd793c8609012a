"""Tools that act: what their owner does not allow is never prepared, and what was begun is found again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.payment_contracts import TEST_TOKEN
from holdfast.agents.tool import Act, Fate, Happened, ToolError
from holdfast.agents.tools.evm_transaction import EvmTransactionTool
from holdfast.agents.tools.kinds import make_tool
from holdfast.agents.tools.purchase import MARGIN_S, PurchaseTool
from holdfast.agents.tools.send import SendTool
from holdfast.agents.world import World
from holdfast.core import canonical
from holdfast.core.agent_files import ToolFile, parse_agent_file
from holdfast.core.transactions import parse_transaction
from holdfast.core.x402 import SettleResponse
from holdfast.errors import HoldfastError, UnavailableError, UsageError
from holdfast.ports.http import Answer
from holdfast.ports.settings import Secret
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.facilitator import PaymentWorld, silence
from tests.helpers.paying import Shop, StandingClock
from tests.helpers.payments import NETWORK, PAYEE, payer

RUN = "01890000-0000-7000-8000-000000000001"
AGENT = "01890000-0000-7000-8000-00000000aaaa"
THERE = "0x" + "11" * 20
HEX = {number: payer(number)._private.secret.hex() for number in (1, 2)}


def tool_file(kind: str, effect: str, settings: str, secrets: str = "{}") -> ToolFile:
    text = f'[agent]\nname = "a"\nmodel = "m"\n[[tools]]\nname = "it"\nkind = "{kind}"\neffect = "{effect}"\n'
    text += f'queue = "q"\nsettings = {settings}\nsecrets = {secrets}\n'
    return parse_agent_file(text.encode()).tools["it"]


class Never:
    async def infer(self, request: Mapping[str, Any], parent: str) -> Any:
        raise NotImplementedError


@dataclass
class FakeHTTP:
    """Answers with what a test says."""

    answers: Callable[[str, Mapping[str, str]], Answer]
    asked: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    async def request(self, method: str, url: str, **more: Any) -> Answer:
        del method
        headers = dict(more.get("headers") or {})
        self.asked.append((url, more.get("body", b""), headers))
        return self.answers(url, headers)


def world_of(http: Any = None, rpc: Any = None, folder: Path = Path()) -> World:
    return World(http, folder, {"chain": "http://chain.test"}, Never(), lambda _: rpc)


def act_of(arguments: Mapping[str, Any], **secrets: str) -> Act:
    return Act(AGENT, RUN, "it", arguments, {name: Secret(text, "test") for name, text in secrets.items()})


# send


def sender(http: FakeHTTP, *, keeps: bool = False, fields: str = "") -> SendTool:
    extra = f', fields = ["{fields}"]' if fields else ""
    file = tool_file("send", "send", f'{{ to = "http://there.test/hook", idempotent = {str(keeps).lower()}{extra} }}')
    return SendTool(file, world_of(http))


def test_a_message_goes_where_its_owner_says_with_the_run_of_its_act_as_key() -> None:
    http = FakeHTTP(lambda *_: Answer(200, b"thanks"))

    async def story() -> None:
        tool, act = sender(http), act_of({"text": "hello"}, authorization="Bearer x")
        prepared = await tool.prepare(act)
        assert http.asked == []
        assert await tool.carry_out(act, prepared) == {"status": 200, "answer": "thanks"}
        [(url, body, headers)] = http.asked
        assert (url, headers["idempotency-key"]) == ("http://there.test/hook", f'"{RUN}"')
        assert headers["authorization"] == "Bearer x"
        assert canonical.decode(body) == {"text": "hello", "act": RUN, "agent": AGENT}
        assert b"Bearer" not in prepared

    asyncio.run(story())


@pytest.mark.parametrize(("status", "certain"), [(400, True), (403, True), (409, False), (429, False), (503, False)])
def test_only_a_refusal_says_that_nothing_happened(status: int, certain: bool) -> None:
    tool, act = sender(FakeHTTP(lambda *_: Answer(status))), act_of({"text": "hello"})
    with pytest.raises(ToolError if certain else UnavailableError):
        asyncio.run(tool.carry_out(act, b"{}"))


def test_only_a_receiver_that_keeps_keys_is_asked_again() -> None:
    http = FakeHTTP(lambda *_: Answer(200))
    assert asyncio.run(sender(http, keeps=True).look(act_of({}), b"{}")) is Fate.NOT_YET
    assert asyncio.run(sender(http).look(act_of({}), b"{}")) is Fate.UNKNOWN


def test_settings_that_make_no_sense_make_no_tool() -> None:
    for settings in (
        '{ to = "ftp://there" }',
        '{ to = "http://there", fields = ["act"] }',
        '{ to = "http://a", more = 1 }',
    ):
        with pytest.raises(UsageError) as caught:
            make_tool(tool_file("send", "send", settings), world_of())
        assert caught.value.code == "tool.settings"


# evm_transaction


SETTINGS = f'{{ chain_id = 31337, to = ["{THERE}", "{TEST_TOKEN}"], max_value = "1000", selectors = ["a9059cbb"] }}'


class Chain:
    """The development chain in this process, and the tool on it."""

    def __init__(self, settings: str = SETTINGS) -> None:
        self.world = PaymentWorld()
        self.settings = settings
        self.waits: Callable[[], Awaitable[Any]] = self._mine

    async def _mine(self) -> None:
        await self.world.mine()

    async def _sleep(self, _: float) -> None:
        await self.waits()

    def tool(self) -> EvmTransactionTool:
        file = tool_file("evm_transaction", "pay", self.settings, '{ key = "env:KEY" }')
        return EvmTransactionTool(file, world_of(rpc=self.world.rpc), sleep=self._sleep)

    async def balance(self) -> int:
        return int(await self.world.rpc.request("eth_getBalance", THERE, "latest"), 16)


def on_chain(story: Callable[[Chain], Awaitable[None]], settings: str = SETTINGS) -> None:
    async def whole() -> None:
        chain = Chain(settings)
        await chain.world.open()
        try:
            await story(chain)
        finally:
            await chain.world.close()

    asyncio.run(whole())


def wire(value: str = "7", **more: str) -> Act:
    return act_of({"to": THERE, "value": value, **more}, key=HEX[1])


@NEEDS_MACHINE
@pytest.mark.parametrize(
    "arguments",
    [
        {"to": "0x" + "22" * 20},
        {"to": THERE, "value": "1001"},
        {"to": THERE, "value": "-1"},
        {"to": THERE, "value": "1.0"},
        {"to": THERE, "data": "0x12345678"},
        {"to": THERE, "data": "0xa9"},
        {"to": TEST_TOKEN, "data": "0xa9059cbb" + "00" * 12 + "11" * 20 + "ff" * 32},
    ],
)
def test_a_transaction_that_its_owner_or_the_chain_refuses_is_never_signed(arguments: dict[str, str]) -> None:
    async def story(chain: Chain) -> None:
        with pytest.raises(ToolError):
            await chain.tool().prepare(act_of(arguments, key=HEX[1]))
        assert "eth_sendRawTransaction" not in chain.world.rpc.asked

    on_chain(story)


@NEEDS_MACHINE
def test_a_transaction_on_another_chain_or_for_too_much_gas_waits() -> None:
    for change, code in (("31337", "chain.other"), (", max_value", "chain.fee")):
        settings = (
            SETTINGS.replace("31337", "1")
            if change == "31337"
            else SETTINGS.replace(change, ', max_fee = "1"' + change)
        )

        async def story(chain: Chain, code: str = code) -> None:
            with pytest.raises(HoldfastError) as caught:
                await chain.tool().prepare(wire())
            assert caught.value.code == code

        on_chain(story, settings)


@NEEDS_MACHINE
def test_a_transaction_that_is_sent_again_after_a_crash_happens_once() -> None:
    async def story(chain: Chain) -> None:
        tool, act = chain.tool(), wire()
        prepared = await tool.prepare(act)
        assert await tool.look(act, prepared) is Fate.NOT_YET
        assert await chain.balance() == 0
        first = await tool.carry_out(act, prepared)
        assert isinstance(first, dict)
        assert (first["succeeded"], first["transaction"]) == (True, "0x" + parse_transaction(prepared).hash.hex())
        assert await tool.look(act, prepared) == Happened(first)
        assert await tool.carry_out(act, prepared) == first
        assert await chain.balance() == 7
        assert HEX[1] not in prepared.hex()

    on_chain(story)


@NEEDS_MACHINE
def test_an_answer_that_is_lost_leaves_it_open_until_the_chain_tells() -> None:
    async def story(chain: Chain) -> None:
        tool, act = chain.tool(), wire()
        prepared = await tool.prepare(act)

        async def cut() -> None:
            chain.world.rpc.fault = silence

        chain.waits = cut
        with pytest.raises(UnavailableError):
            await tool.carry_out(act, prepared)
        with pytest.raises(UnavailableError):
            await tool.look(act, prepared)
        chain.world.rpc.fault = lambda _: None
        assert await tool.look(act, prepared) is Fate.NOT_YET
        await chain.world.mine()
        assert isinstance(await tool.look(act, prepared), Happened)
        assert await chain.balance() == 7

    on_chain(story)


@NEEDS_MACHINE
def test_a_nonce_that_another_transaction_took_means_that_it_never_will() -> None:
    async def story(chain: Chain) -> None:
        tool, act = chain.tool(), wire()
        prepared = await tool.prepare(act)
        await chain.world.send(payer(1), THERE, b"")
        await chain.world.mine()
        assert await tool.look(act, prepared) is Fate.DID_NOT
        with pytest.raises(UnavailableError):
            await tool.carry_out(act, prepared)
        assert await chain.balance() == 0

    on_chain(story)


@NEEDS_MACHINE
def test_what_lies_not_deep_enough_is_not_told_yet() -> None:
    async def story(chain: Chain) -> None:
        tool, act = chain.tool(), wire()
        prepared = await tool.prepare(act)
        await chain.world.chain.submit(prepared)
        await chain.world.mine()
        with pytest.raises(UnavailableError) as caught:
            await tool.look(act, prepared)
        assert caught.value.code == "chain.depth"
        await chain.world.mine(2)
        assert isinstance(await tool.look(act, prepared), Happened)

    on_chain(story, SETTINGS.replace("max_value", "confirmations = 3, max_value"))


# purchase


class Market:
    """A shop, a wallet file, and a tool between them."""

    def __init__(self, folder: Path, per_request: str = "5000", rpc: Any = None) -> None:
        self.clock = StandingClock()
        self.shop = Shop()
        self.http = FakeHTTP(lambda _, headers: Answer(*_order(self.shop.answer(headers))))
        endpoint = 'rpc = "http://chain.test"\n' if rpc is not None else ""
        (folder / "wallet.key").write_text(HEX[1] + "\n")
        (folder / "wallet.key").chmod(0o600)
        (folder / "wallet.toml").write_text(
            f'[wallet]\nkey = "file:{folder / "wallet.key"}"\nrecord = "{folder / "spent.sqlite"}"\n'
            f'payees = ["{PAYEE}"]\n'
            f'[[wallet.assets]]\nnetwork = "{NETWORK}"\nasset = "{TEST_TOKEN}"\nname = "OPG"\ndecimals = 0\n'
            f'per_request = "{per_request}"\nper_day = "9000"\n{endpoint}'
        )
        file = tool_file("purchase", "pay", '{ wallet = "wallet.toml" }')
        self.tool = PurchaseTool(file, world_of(self.http, rpc, folder), clock=self.clock)


def _order(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, bytes, dict[str, str]]:
    status, headers, body = answer
    return status, body, headers


def test_what_a_wallet_does_not_pay_is_never_bought(tmp_path: Path) -> None:
    market, act = Market(tmp_path, "999"), act_of({"url": "http://shop.test/v1/chat/completions"})
    with pytest.raises(ToolError) as caught:
        asyncio.run(market.tool.prepare(act))
    assert "the wallet does not pay this" in caught.value.text
    with pytest.raises(ToolError):
        asyncio.run(market.tool.prepare(act_of({"url": "file:///etc/passwd"})))
    assert market.shop.paid == []


def test_a_purchase_is_signed_before_anything_is_sent_and_the_same_is_asked_again(tmp_path: Path) -> None:
    async def story() -> None:
        market, act = Market(tmp_path), act_of({"url": "http://shop.test/v1/chat/completions"})
        prepared = await market.tool.prepare(act)
        assert market.shop.paid == []
        assert HEX[1].encode() not in prepared
        assert await market.tool.look(act, prepared) is Fate.NOT_YET
        market.shop.respond = lambda payment: SettleResponse(
            success=True, transaction="0x" + "ab" * 32, network=NETWORK, payer=payer(1).address
        )
        came = await market.tool.carry_out(act, prepared)
        assert isinstance(came, dict)
        assert (came["status"], came["payee"], came["amount"]) == (200, PAYEE, "1000")
        assert came["transaction"] == "0x" + "ab" * 32
        again = await market.tool.carry_out(act, prepared)
        assert isinstance(again, dict)
        assert len({canonical.encode(dict(payload)) for payload in market.shop.payloads}) == 1
        assert again["identity"] == came["identity"]

    asyncio.run(story())


def test_an_authorisation_that_ran_out_is_looked_up_on_its_chain_or_is_not_known(tmp_path: Path) -> None:
    class Rpc:
        def __init__(self) -> None:
            self.used = 0

        async def request(self, method: str, *parameters: Any) -> Any:
            del method, parameters
            return "0x" + self.used.to_bytes(32).hex()

    async def story() -> None:
        rpc = Rpc()
        act = act_of({"url": "http://shop.test/v1/chat/completions"})
        for number, chain in enumerate((rpc, None)):
            folder = tmp_path / str(number)
            folder.mkdir()
            market = Market(folder, rpc=chain)
            prepared = await market.tool.prepare(act)
            expires_at = canonical.decode_object(prepared)["expires_at"]
            market.clock.at = expires_at + MARGIN_S
            assert await market.tool.look(act, prepared) is Fate.NOT_YET
            market.clock.at += 1
            if chain is None:
                assert await market.tool.look(act, prepared) is Fate.UNKNOWN
                continue
            assert await market.tool.look(act, prepared) is Fate.DID_NOT
            rpc.used = 1
            assert isinstance(await market.tool.look(act, prepared), Happened)

    asyncio.run(story())
