"""What only the contracts and their adapter do: OpenGradient's reads in both layouts, and chains that do not tell."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from eth_abi.abi import decode, encode

from holdfast.adapters.evm_rpc import contract_interface
from holdfast.core import evm
from holdfast.core.registry import INSECURE_MEASUREMENT
from holdfast.errors import UndecidedError, UsageError
from tests.contracts.test_registry import refused
from tests.helpers.chains import NEEDS_MACHINE, EvmWorld, start_epoch
from tests.helpers.registry import (
    ENDPOINT,
    MAX_AGE_S,
    PAYMENT,
    EvmRegistryWorld,
    message_hash,
    node_keys,
    rsa_key,
    spki,
)

pytestmark = NEEDS_MACHINE
Run = Callable[[Callable[[EvmRegistryWorld], Awaitable[None]]], None]


@pytest.fixture
def make_chain() -> Callable[[], Any]:
    """The chain under the registry; ``tests/integration`` brings another one."""
    return EvmWorld


@pytest.fixture
def run(make_chain: Callable[[], Any]) -> Run:
    """Run a scenario on the contracts."""

    def runner(scenario: Callable[[EvmRegistryWorld], Awaitable[None]]) -> None:
        async def main() -> None:
            chain = make_chain()
            await chain.open()
            try:
                await start_epoch(chain)
                world = EvmRegistryWorld(chain)
                await world.open()
                await scenario(world)
            finally:
                await chain.close()

        asyncio.run(main())

    return runner


def test_opengradients_check_of_a_signature_has_a_window(run: Run) -> None:
    async def scenario(world: EvmRegistryWorld) -> None:
        keys, client, now = node_keys(), world.client(), world.now
        await world.admit(keys)
        asked, answered, digest = message_hash(b"hello", now)
        about = (keys.tee_id, asked, answered)
        good = keys.sign(digest)
        assert await client._ask_views("verifySignature", *about, now, good)
        assert not await client._ask_views("verifySignature", *about, 2**256 - 1, good)
        world.chain.clock.time += 3601
        assert not await client._ask_views("verifySignature", *about, now, good)
        assert await client._ask_views("verifySignatureNoTimestamp", *about, now, good)
        assert await client._ask_views("computeMessageHash", asked, answered, now) == digest

    run(scenario)


def test_views_that_nobody_configured_are_the_callers_mistake(run: Run) -> None:
    async def scenario(world: EvmRegistryWorld) -> None:
        client = world.client()
        client._views = None
        with refused("registry.views", UsageError):
            await client.verify_statement(bytes(32), bytes(32), bytes(64), world.now)

    run(scenario)


def test_an_event_that_the_chain_does_not_tell_leaves_it_undecided(run: Run) -> None:
    async def scenario(world: EvmRegistryWorld) -> None:
        await world.register(node_keys())
        client: Any = world.client()
        asked = client._connection.request

        async def silent(method: str, *parameters: Any) -> Any:
            return [] if method == "eth_getLogs" else await asked(method, *parameters)

        client._connection.request = silent
        with refused("registry.evidence", UndecidedError):
            await client.evidence(1)
        client._connection.request = asked

    run(scenario)


# --- OpenGradient's reads ---------------------------------------------------------------------------------------------

TEN = "(address,address,string,bytes,bytes,bytes32,uint8,bool,uint256,uint256)"
OHTTP = "(uint8,uint16,uint16,uint16,bytes,bytes,uint256)"
ELEVEN = f"{TEN[:-1]},{OHTTP})"
"""The documented layouts of a ``TEEInfo`` (``spec/registry.md`` §10)."""


async def eth_call(world: EvmRegistryWorld, to: str, data: bytes) -> bytes:
    answer = await world.chain.connection.request("eth_call", {"to": to, "data": "0x" + data.hex()}, "latest")
    return bytes.fromhex(answer[2:])


def test_active_nodes_are_told_in_both_layouts(run: Run) -> None:
    async def scenario(world: EvmRegistryWorld) -> None:
        registry, views = world.deployment.registry.contract, world.deployment.views
        data = bytes.fromhex("4b6014da") + encode(["uint8"], [0])
        assert await eth_call(world, registry, data) == encode([f"{ELEVEN}[]"], [[]])
        keys = [node_keys(1), node_keys(2)]
        began = world.now
        for owner, each in ((3, keys[0]), (2, keys[1])):
            await world.admit(each, owner=owner)
        await world.client().heartbeat(keys[0].tee_id, began, keys[0].heartbeat(began))
        answer = await eth_call(world, registry, data)
        (listed,) = decode([f"{ELEVEN}[]"], answer, strict=True)
        blob = bytes.fromhex("010020") + bytes(range(32)) + bytes.fromhex("000400010003")
        expected = tuple(
            (
                world.chain.signers[owner].address,
                PAYMENT,
                ENDPOINT,
                spki(each.rsa),
                each.certificate,
                INSECURE_MEASUREMENT,
                0,
                True,
                began,
                began,
                (1, 0x20, 1, 3, bytes(range(32)), blob, began),
            )
            for owner, each in ((3, keys[0]), (2, keys[1]))
        )
        assert listed == expected
        assert answer == encode([f"{ELEVEN}[]"], [expected])
        answer = await eth_call(world, views, data)
        (listed,) = decode([f"{TEN}[]"], answer, strict=True)
        assert listed == tuple(item[:10] for item in expected)
        await world.client(3).disable(1)
        (listed,) = decode([f"{ELEVEN}[]"], await eth_call(world, registry, data))
        assert [item[3] for item in listed] == [spki(keys[1].rsa)]

    run(scenario)


@pytest.mark.parametrize(
    ("call", "selector"),
    [
        ("getTEE(bytes32)", "418b207d"),
        ("getEnabledTEEs(uint8)", "63b86b89"),
        ("getActiveTEEs(uint8)", "4b6014da"),
        ("getTEEsByType(uint8)", "b82644b7"),
        ("getTEEsByOwner(address)", "e44cc482"),
        ("isTEEEnabled(bytes32)", "927d3c95"),
        ("isTEEActive(bytes32)", "a3bf31f1"),
        ("getTEEPublicKey(bytes32)", "2cbe7552"),
        ("computeTEEId(bytes)", "f33d2c00"),
        ("heartbeat(bytes32,uint256,bytes)", "42830ad8"),
        ("heartbeatMaxAge()", "87267aca"),
        ("isValidTEEType(uint8)", "e10a2ea4"),
        ("isPCRApproved(uint8,bytes32)", "9831ced5"),
    ],
)
def test_the_registry_answers_opengradients_calls(call: str, selector: str) -> None:
    assert evm.keccak256(call.encode())[:4].hex() == selector
    assert contract_interface("Registry").selector(call.partition("(")[0]).hex() == selector


def test_opengradients_reads_say_what_ours_say(run: Run) -> None:
    async def scenario(world: EvmRegistryWorld) -> None:
        keys = node_keys()
        client, key = world.client(), keys.tee_id
        for function in ("getTEE", "getTEEPublicKey"):
            with refused("registry.unknown"):
                await client._call(function, key)
        assert not await client._call("isTEEEnabled", key)
        number = (await world.admit(keys)).number
        owner = world.chain.signers[3].address
        assert await client._call("getTEEPublicKey", key) == spki(keys.rsa)
        assert await client._call("computeTEEId", spki(rsa_key(1))) == key
        assert (await client._call("getTEE", key))[3] == spki(keys.rsa)
        assert (await client._ask_views("getTEE", key))[3] == spki(keys.rsa)
        assert await client._ask_views("isTEEActive", key)
        assert await client._call("isValidTEEType", 0)
        assert not await client._call("isValidTEEType", 1)
        assert await client._call("isPCRApproved", 0, INSECURE_MEASUREMENT)
        for function, asked in (("getEnabledTEEs", 0), ("getTEEsByType", 0), ("getTEEsByOwner", owner)):
            assert list(await client._call(function, asked)) == [key]
        assert await client._call("isTEEActive", key)
        world.chain.clock.time += MAX_AGE_S
        assert not await client._call("isTEEActive", key)
        assert await client._call("isTEEEnabled", key)
        await world.client(3).disable(number)
        assert not await client._call("isTEEEnabled", key)
        assert list(await client._call("getEnabledTEEs", 0)) == []
        assert list(await client._call("getTEEsByType", 0)) == [key]

    run(scenario)
