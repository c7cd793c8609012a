"""A full node votes once on each submission, for what it judged itself (``spec/registry.md`` §5)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.adapters.wal import WriteAheadLog
from holdfast.core.encoding import b64_encode
from holdfast.core.trust import Trust
from holdfast.errors import ConflictError, RefusedError, UnavailableError, UndecidedError
from holdfast.nodes.full.journal import Journal
from holdfast.nodes.full.registry import PAUSE_S, Voter
from holdfast.ports.chain import Member
from holdfast.ports.registry import ACCEPTED, GATEWAY_KIND, REFUSED
from tests.helpers.chains import COIN, NEEDS_MACHINE, EvmWorld, SimulatedWorld, start_epoch
from tests.helpers.full_network import DirectCommitter
from tests.helpers.network import Network
from tests.helpers.registry import (
    ENDPOINT,
    ROOT,
    EvmRegistryWorld,
    RegistryWorld,
    SimulatedRegistryWorld,
    node_keys,
)


def trust(*, version: int = 1, roots: bool = True) -> Trust:
    """Development trust; without roots nobody can tell."""
    root = {
        "kind": "insecure-dev",
        "certificate": b64_encode(ROOT.public_key().public_bytes_raw()),
        "development": True,
    }
    assert version == 1
    return Network().trust(enclave_roots=[root] if roots else [])


class Node:
    """The voting part of one full node, on a disk of its own."""

    def __init__(self, world: RegistryWorld, index: int) -> None:
        self.world, self.index = world, index
        self.disk = SimulatedDisk(index)
        self.believed: Trust | None = trust()
        self.open()

    def open(self) -> None:
        signer = self.world.chain.signers[self.index]
        log = WriteAheadLog(self.disk.mount(), "journal", 1 << 16)
        self.journal = Journal([], DirectCommitter(log), signer)
        self.journal.replay(log.records())
        self.voter = Voter(
            self.world.client(self.index), signer.address, self.journal, self.world.chain.clock, self.trust
        )

    def trust(self) -> Trust:
        if self.believed is None:
            raise UndecidedError("trust.missing", "no trust file was read yet")
        return self.believed

    def crash(self) -> None:
        self.disk.crash("power")
        self.open()


def in_world(scenario: Callable[[Any, list[Node]], Awaitable[None]], *, contracts: bool = False) -> None:
    """Four full nodes beside a registry in memory, or beside the contracts."""

    async def main() -> None:
        chain: Any = EvmWorld() if contracts else SimulatedWorld()
        await chain.open()
        try:
            await start_epoch(chain)
            world = EvmRegistryWorld(chain) if contracts else SimulatedRegistryWorld(chain)
            await world.open()
            await scenario(world, [Node(world, index) for index in range(4)])
        finally:
            await chain.close()

    asyncio.run(main())


async def state(world: RegistryWorld, number: int) -> str:
    record = await world.client().attestation(number)
    assert record is not None
    return record.state


def test_what_does_not_hold_is_refused_by_votes() -> None:
    async def scenario(world: RegistryWorld, nodes: list[Node]) -> None:
        keys = node_keys()
        wrong = await world.submission(keys, evidence=bytes(64))
        await world.client(3).register(GATEWAY_KIND, ENDPOINT, wrong)
        await nodes[0].voter.step()
        (waiting,) = nodes[0].voter.status()["waiting"]
        assert waiting["says"].startswith("refused: attestation.signature")
        await nodes[1].voter.step()
        assert await state(world, 1) == REFUSED
        await nodes[0].voter.step()
        assert nodes[0].voter.status()["waiting"] == []

    in_world(scenario)


def test_what_holds_is_accepted_by_more_than_two_thirds() -> None:
    async def scenario(world: RegistryWorld, nodes: list[Node]) -> None:
        number, attestation = await world.register(node_keys())
        for node in nodes[:2]:
            await node.voter.step()
        assert not (await world.node(number)).active
        await nodes[2].voter.step()
        assert await state(world, attestation) == ACCEPTED
        assert (await world.node(number)).active
        # One that comes late has nothing to say.
        await nodes[3].voter.step()
        assert nodes[3].journal.verdict(world.client().domain, attestation) is None

    in_world(scenario)


def test_a_node_that_cannot_tell_says_nothing_until_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: RegistryWorld, nodes: list[Node]) -> None:
        await world.register(node_keys())
        node = nodes[0]
        node.believed = trust(roots=False)
        await node.voter.step()
        (waiting,) = node.voter.status()["waiting"]
        assert waiting["says"].startswith("cannot tell: attestation.roots")
        asked: list[int] = []
        ask = node.voter.registry.attestation
        monkeypatch.setattr(node.voter.registry, "attestation", lambda number: (asked.append(number), ask(number))[1])
        await node.voter.step()
        assert asked == []
        node.believed = trust()
        await node.voter.step()
        assert node.journal.verdict(world.client().domain, 1) is None
        world.chain.clock.time += PAUSE_S
        await node.voter.step()
        verdict = node.journal.verdict(world.client().domain, 1)
        assert verdict is not None
        assert verdict.accepted

    in_world(scenario)


def test_a_node_without_trust_follows_nothing() -> None:
    async def scenario(world: RegistryWorld, nodes: list[Node]) -> None:
        await world.register(node_keys())
        nodes[0].believed = None
        with pytest.raises(UndecidedError, match=r"trust\.missing"):
            await nodes[0].voter.step()
        assert nodes[0].voter.status()["problem"].startswith("trust.missing")

    in_world(scenario)


def test_one_verdict_is_given_and_remembered_through_a_crash() -> None:
    async def scenario(world: RegistryWorld, nodes: list[Node]) -> None:
        _, attestation = await world.register(node_keys())
        node, registry = nodes[0], world.client().domain
        client: Any = node.voter.registry

        async def silent(*_: Any, **__: Any) -> None:
            raise UnavailableError("chain.unreachable", "no answer")

        client.submit_verdicts = silent
        with pytest.raises(UnavailableError):
            await node.voter.step()
        first = node.journal.verdict(registry, attestation)
        assert first is not None
        node.crash()
        assert node.journal.verdict(registry, attestation) == first
        # Trust has changed its mind meanwhile; the word that was given stays.
        node.believed = Network().trust()
        await node.voter.step()
        record = await world.client().attestation(attestation)
        assert record is not None
        assert record.voters == {node.voter.address}
        for evidence, accepted in ((record.evidence, False), (bytes(32), True)):
            with pytest.raises(ConflictError, match=r"registry\.already_signed"):
                await node.journal.sign_verdict(registry, attestation, evidence, accepted=accepted)
        assert await node.journal.sign_verdict(registry, attestation, record.evidence, accepted=True) == first

    in_world(scenario)


def test_a_verdict_that_a_new_epoch_does_not_count_is_relayed_again() -> None:
    async def scenario(world: RegistryWorld, nodes: list[Node]) -> None:
        number, _ = await world.register(node_keys())
        await nodes[1].voter.step()
        chain: Any = world.chain
        members = sorted(
            (Member(chain.signers[index].address, COIN) for index in (1, 2)), key=lambda each: each.address
        )
        await chain.client(0).announce_epoch(0, members)
        # No member any more: its verdict stays in the drawer.
        await nodes[0].voter.step()
        (waiting,) = nodes[0].voter.status()["waiting"]
        assert "registry.member" in waiting["says"]
        await nodes[2].voter.step()
        assert not (await world.node(number)).active
        await nodes[1].voter.step()
        assert (await world.node(number)).active

    in_world(scenario)


def test_many_submissions_are_looked_at_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: RegistryWorld, nodes: list[Node]) -> None:
        for owner in (1, 2, 3):
            await world.register(node_keys(owner), owner=owner)
        assert await nodes[0].voter.step()
        assert nodes[0].voter.status()["attestations"] == 2
        assert not await nodes[0].voter.step()
        assert [world_verdict(nodes[0], world, number) for number in (1, 2, 3)] == [True, True, True]

    monkeypatch.setattr("holdfast.nodes.full.registry.LOOKED_AT_A_STEP", 2)
    in_world(scenario)


def world_verdict(node: Node, world: RegistryWorld, number: int) -> bool | None:
    found = node.journal.verdict(world.client().domain, number)
    return found.accepted if found else None


@NEEDS_MACHINE
def test_an_endpoint_that_tells_of_another_submission_is_noticed() -> None:
    async def scenario(world: RegistryWorld, nodes: list[Node]) -> None:
        await world.register(node_keys(1), owner=3)
        await world.register(node_keys(2), owner=2)
        client: Any = nodes[0].voter.registry
        asked = client._connection.request

        async def lying(method: str, *parameters: Any) -> Any:
            if method == "eth_getLogs":
                parameters[0]["topics"][1] = "0x" + (2).to_bytes(32).hex()
                parameters[0]["toBlock"] = "latest"
            return await asked(method, *parameters)

        client._connection.request = lying
        try:
            with pytest.raises(UnavailableError, match=r"chain\.rpc"):
                await nodes[0].voter.step()
        finally:
            client._connection.request = asked
        assert world_verdict(nodes[0], world, 1) is None
        with pytest.raises(RefusedError):
            await world.vote(1, (4,))

    in_world(scenario, contracts=True)
