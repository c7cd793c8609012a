"""Contracts ask for runs of a whole network: requested on its chain, run by its nodes, called back once final."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from holdfast.adapters.asks_evm import EvmAsks
from holdfast.adapters.evm_rpc import EvmAccount, EvmConnection
from holdfast.adapters.signer_secp256k1 import load_signer
from holdfast.core import canonical
from holdfast.core.asks import Ending, Requested, document_of, pack_parts, unpack_parts
from holdfast.core.parts import map_parts
from holdfast.core.rounds import ChainDomain
from tests.helpers.asks import RECORDER, REVERTER
from tests.helpers.processes import NetworkProcess, network

pytestmark = pytest.mark.enable_socket
DOCUMENT = (
    b'{"model":"risk","mode":"VANILLA","inputs":{"features":'
    b'{"dtype":"float32","shape":[1,12],"data":[3,0.2,2,0.1,0,0,0,0,0,0,0,0]}}}'
)
Result = TypeVar("Result")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    with network(tmp_path_factory.mktemp("onchain") / "state") as found:
        yield found


class Asker:
    """An account with coin on the network's chain."""

    def __init__(self, net: NetworkProcess) -> None:
        self.net = net
        self.connection = EvmConnection(net.ready["chain"])
        signer = load_signer(net.state / "keys" / "deployer.key", "account")
        self.account = EvmAccount(self.connection, signer, 31337)
        self.asks = EvmAsks(self.connection, ChainDomain(31337, net.ready["asks"]), self.account)

    async def deploy(self, runtime: bytes) -> str:
        size = len(runtime)
        init = bytes([0x60, size, 0x60, 0x0C, 0x60, 0, 0x39, 0x60, size, 0x60, 0, 0xF3]) + runtime
        _, created = await self.account.transact(None, init)
        assert created is not None
        return created

    async def ask(self, document: bytes, target: str | None = None) -> Requested:
        packed = pack_parts(map_parts("request", canonical.decode_exact(document)))
        more = {} if target is None else {"target": target, "gas_limit": 100_000}
        return await self.asks.request(packed, node=self.net.ready["asks_node"], fee=10**15, **more)  # type: ignore[arg-type]

    async def ending(self, requested: Requested) -> Ending:
        async with asyncio.timeout(90):
            while True:
                found = await self.asks.ending(requested.identity, requested.block)
                if found is not None:
                    return found
                await asyncio.sleep(0.2)


def play(net: NetworkProcess, story: Callable[[Asker], Awaitable[Result]]) -> Result:
    async def main() -> Result:
        asker = Asker(net)
        try:
            return await story(asker)
        finally:
            await asker.connection.close()

    return asyncio.run(main())


def test_what_no_node_can_run_is_refused_and_its_fee_goes_back(net: NetworkProcess) -> None:
    async def story(asker: Asker) -> None:
        before = await asker.asks.owed(asker.account.address)
        requested = await asker.ask(DOCUMENT.replace(b'"risk"', b'"nobody"'))
        ending = await asker.ending(requested)
        assert (ending.state, ending.reason) == ("refused", "request.unknown_model")
        assert await asker.asks.owed(asker.account.address) == before + 10**15

    play(net, story)


def test_a_contract_is_called_with_a_final_result_and_one_that_reverts_loses_it(net: NetworkProcess) -> None:
    async def story(asker: Asker) -> None:
        node = net.ready["asks_node"]
        before = await asker.asks.owed(node)
        recorder, reverter = await asker.deploy(RECORDER), await asker.deploy(REVERTER)
        first, second = await asker.ask(DOCUMENT, recorder), await asker.ask(DOCUMENT, reverter)
        ended = [await asker.ending(first), await asker.ending(second)]
        assert [(item.state, item.payee, item.called) for item in ended] == [
            ("fulfilled", node, True),
            ("fulfilled", node, False),
        ]
        slot = await asker.connection.request("eth_getStorageAt", recorder, "0x0", "latest")
        assert int(slot, 16) != 0
        response = canonical.decode_exact(document_of(unpack_parts(ended[0].response), "response"))
        assert response["model"] == "risk"
        assert response["outputs"]["probabilities"]["shape"] == ["1", "3"]
        assert await asker.asks.owed(node) == before + 2 * 10**15
        rounds = ended[0].closure[3:]
        assert all(number >= 1 for number in rounds)

    play(net, story)
