"""OpenGradient's inference hub over our contract: their layout in, the parts of one request document out (§11)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from eth_abi.abi import decode

from holdfast.adapters.asks_evm import deploy_alpha
from holdfast.adapters.chain_evm import EvmChain
from holdfast.adapters.evm_rpc import contract_interface
from holdfast.core import canonical
from holdfast.core.alpha import parse_inference_id
from holdfast.core.asks import Requested, document_of, unpack_parts
from holdfast.core.inference import parse_inference
from holdfast.core.parts import map_parts
from holdfast.errors import RefusedError
from tests.helpers.asks import AskWorld
from tests.helpers.chains import NEEDS_MACHINE

pytestmark = NEEDS_MACHINE
RESULT_TOPIC = "0xc1396ff68bc2d8630100df29ce5561fa99078c602e8676ab72a53e37095d7168"
"""Of ``InferenceResult`` in their interface."""
ASKED_TOPIC = "0x1b283af3452f3718585ce100f80d9aa81fc60924db4a582a36db6aae3b109d87"
"""Of ``ModelInferenceEvent``."""
OUTPUT = "((string,(int128,int128)[],uint32[])[],(string,string[])[],(string,string)[],bool)"
INPUT = "((string,(int128,int128)[],uint32[])[],(string,string[])[])"


class Alpha:
    """Their hub on a chain of its own."""

    def __init__(self, world: AskWorld, contract: str) -> None:
        self.world = world
        self.contract = contract

    async def run(self, *arguments: Any) -> dict[str, Any]:
        """The receipt of one call."""
        client = self.world.client(4)
        assert isinstance(client, EvmChain)
        data = contract_interface("Alpha").call_data("run", arguments)
        included, _ = await client.sender.transact(self.contract, data)
        receipt: dict[str, Any] = await self.world.connection.request(
            "eth_getTransactionReceipt", "0x" + included.transaction
        )
        return receipt

    async def requested(self, receipt: dict[str, Any]) -> Requested:
        """The request that a call made."""
        block = int(receipt["blockNumber"], 16)
        (found,) = await self.world.user(0).requested(block, block)
        return found


def with_alpha(scenario: Callable[[Alpha], Awaitable[None]]) -> None:
    async def main() -> None:
        world = AskWorld()
        await world.open()
        try:
            node = world.signers[0].address
            await scenario(Alpha(world, await deploy_alpha(world.connection, world.signers[0], world.asks, node)))
        finally:
            await world.close()

    asyncio.run(main())


def numbers(name: str, *values: tuple[int, int], shape: list[int]) -> tuple[Any, ...]:
    return name, list(values), shape


def test_what_is_no_tensor_of_a_name_is_refused() -> None:
    async def scenario(alpha: Alpha) -> None:
        one = [(1, 0)]
        wrong: list[tuple[str, tuple[Any, ...]]] = [
            ("alpha.model", ("", 0, ([], []))),
            ("alpha.mode", ("m", 3, ([], []))),
            ("alpha.name", ("m", 0, ([("", one, [1])], []))),
            ("alpha.name", ("m", 0, ([("a/b", one, [1])], []))),
            ("alpha.name", ("m", 0, ([("a~b", one, [1])], []))),
            ("alpha.name", ("m", 0, ([("a\x00", one, [1])], []))),
            ("alpha.name", ("m", 0, ([("12", one, [1])], []))),
            ("alpha.name", ("m", 0, ([], [("0", ["text"])]))),
            ("alpha.shape", ("m", 0, ([("x", one, [2])], []))),
            ("alpha.shape", ("m", 0, ([("x", [], [0])], []))),
            ("alpha.shape", ("m", 0, ([("x", one * 2, [])], []))),
            ("alpha.shape", ("m", 0, ([], [("x", [])]))),
            ("alpha.decimals", ("m", 0, ([("x", [(1, -1)], [1])], []))),
            ("alpha.decimals", ("m", 0, ([("x", [(1, 65)], [1])], []))),
            ("alpha.size", ("m", 0, ([("x" * 64, [(10**30, 10)] * 120, [120])], [("y", ["t" * 256] * 16)]))),
        ]
        for code, arguments in wrong:
            with pytest.raises(RefusedError) as caught:
                await alpha.run(*arguments)
            assert caught.value.code == code, arguments

    with_alpha(scenario)


@pytest.mark.parametrize(
    ("mode", "given", "document"),
    [
        (
            0,
            ([numbers("x", (15, 1), (-2, 7), (3, 0), shape=[1, 3])], []),
            b'{"model":"m","mode":"VANILLA","inputs":{"x":[[15e-1,-2e-7,3]]}}',
        ),
        (
            2,
            ([numbers("b", (1, 0), shape=[1]), numbers("a", (0, 0), shape=[])], [("words", ["one", "t\u00f6"])]),
            '{"model":"m","mode":"TEE","inputs":{"b":[1],"a":0,"words":["one","t\u00f6"]}}'.encode(),
        ),
        (
            1,
            ([numbers("x", *((number, 0) for number in range(12)), shape=[2, 3, 2])], []),
            b'{"model":"m","mode":"ZKML","inputs":{"x":[[[0,1],[2,3],[4,5]],[[6,7],[8,9],[10,11]]]}}',
        ),
        (
            0,
            ([numbers("x", *((-(2**127), 64) for _ in range(11)), shape=[11])], []),
            b'{"model":"m","mode":"VANILLA","inputs":{"x":[%s]}}' % b",".join([b"-%de-64" % 2**127] * 11),
        ),
    ],
)
def test_their_input_becomes_the_parts_of_one_request(mode: int, given: tuple[Any, ...], document: bytes) -> None:
    async def scenario(alpha: Alpha) -> None:
        requested = await alpha.requested(await alpha.run("m", mode, given))
        parts = unpack_parts(requested.packed)
        assert sorted(parts) == map_parts("request", canonical.decode_exact(document))
        parse_inference(canonical.decode_exact(document_of(parts)))
        ask = requested.ask
        assert (ask.asker, ask.node, ask.fee) == (alpha.contract, alpha.world.signers[0].address, 0)

    with_alpha(scenario)


def test_events_are_in_their_layout_and_name_the_request_and_no_result() -> None:
    async def scenario(alpha: Alpha) -> None:
        given = ([numbers("x", (15, 1), shape=[1])], [("y", ["text"])])
        receipt = await alpha.run("m", 0, given)
        events = {entry["topics"][0]: entry for entry in receipt["logs"] if entry["address"] == alpha.contract}
        assert events.keys() == {RESULT_TOPIC, ASKED_TOPIC}
        empty = ((), (), (), True)
        assert decode([OUTPUT], bytes.fromhex(events[RESULT_TOPIC]["data"][2:])) == (empty,)
        name, request, response = decode(
            ["string", f"(uint8,string,{INPUT})", OUTPUT], bytes.fromhex(events[ASKED_TOPIC]["data"][2:])
        )
        assert request == (0, "m", ((("x", ((15, 1),), (1,)),), (("y", ("text",)),)))
        assert response == empty
        assert parse_inference_id(name) == (await alpha.requested(receipt)).identity

    with_alpha(scenario)


def test_it_is_called_by_the_selector_that_their_client_computes() -> None:
    assert contract_interface("Alpha").selector("run").hex() == "cbf09d80"
