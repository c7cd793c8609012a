"""A registrar keeps its node registered and active, and does nothing twice (``spec/registry.md`` §8)."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from holdfast.client.registry import Identity, Registrar
from holdfast.core.keys import build_key_document
from holdfast.core.registry import CHALLENGE_DOMAIN
from holdfast.errors import RefusedError, UnavailableError, UndecidedError, UsageError
from holdfast.ports.registry import GATEWAY_KIND
from tests.helpers.chains import SimulatedWorld, start_epoch
from tests.helpers.registry import (
    ENDPOINT,
    INTERVAL_S,
    MAX_AGE_S,
    Keys,
    RegistryWorld,
    SimulatedRegistryWorld,
    certificate,
    insecure_evidence,
    node_keys,
)


def in_world(scenario: Callable[[RegistryWorld], Awaitable[None]]) -> None:
    async def main() -> None:
        chain = SimulatedWorld()
        await chain.open()
        try:
            await start_epoch(chain)
            world = SimulatedRegistryWorld(chain)
            await world.open()
            await scenario(world)
        finally:
            await chain.close()

    asyncio.run(main())


def identity(keys: Keys, **changes: Any) -> Identity:
    """What these keys register as, with evidence of a throw-away root."""

    async def attest(nonce: bytes) -> bytes:
        assert nonce[:-32] == CHALLENGE_DOMAIN
        return insecure_evidence(keys.document)

    async def sign(digest: bytes) -> bytes:
        return keys.sign(digest)

    return replace(Identity(keys.document, keys.certificate, ENDPOINT, "insecure-dev", attest, sign), **changes)


def registrar(world: RegistryWorld, keys: Keys, **changes: Any) -> Registrar:
    return Registrar(world.client(3), identity(keys, **changes), world.chain.clock)


async def accept(world: RegistryWorld) -> None:
    """Votes for the newest submission."""
    await world.vote(await world.client().attestations(), (0, 1, 2))


def test_a_document_without_an_rsa_key_cannot_be_registered() -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        bare = build_key_document("node.example", ["gateway"], "test/1", list(keys.document.keys[:1]))
        with pytest.raises(UsageError) as caught:
            Registrar(world.client(3), replace(identity(keys), document=bare), world.chain.clock)
        assert caught.value.code == "registry.no_key"

    in_world(scenario)


def test_a_refused_call_is_tried_again_and_a_silent_chain_is_not_asked_twice() -> None:
    async def scenario(world: RegistryWorld) -> None:
        made = registrar(world, node_keys(), kind=7)
        for _ in range(2):
            with pytest.raises(RefusedError) as caught:
                await made.step()
            assert caught.value.code == "registry.kind"
        made = registrar(world, node_keys())
        silent: Any = made._registry
        register = silent.register

        async def lost(*arguments: Any) -> None:
            await register(*arguments)
            raise UnavailableError("chain.timeout", "it may have landed")

        silent.register = lost
        with pytest.raises(UnavailableError):
            await made.step()
        assert (await made.step()).did == "nothing"
        assert await world.client().attestations() == 1

    in_world(scenario)


def test_a_node_registers_once_is_voted_in_and_beats() -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        made = registrar(world, keys)
        assert (await made.step()).did == "registered"
        status = await made.step()
        assert (status.did, status.waits_for) == ("nothing", "full nodes vote on attestation 1")
        await accept(world)
        status = await made.step()
        assert status.did == "heartbeat"
        assert (made.total_sent, made.last_heartbeat) == (1, world.now - MAX_AGE_S // 6)
        status = await made.step()
        assert (status.did, status.waits_for) == ("nothing", "")
        # Another start of the same node finds it.
        again = registrar(world, keys)
        assert (await again.step()).did == "nothing"
        world.chain.clock.time += MAX_AGE_S // 2
        assert (await again.step()).did == "heartbeat"
        assert await world.client().attestations() == 1

    in_world(scenario)


def test_a_node_that_only_beats_stays_active_until_its_renewal_and_beats_meanwhile() -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        made = registrar(world, keys)
        await made.step()
        await accept(world)
        began = world.now
        while world.now < began + INTERVAL_S // 2:
            assert (await world.node(1)).active
            await made.step()
            world.chain.clock.time += 300
        assert made.total_sent > INTERVAL_S // MAX_AGE_S // 2
        assert (await made.step()).did == "attested"
        world.chain.clock.time += MAX_AGE_S // 2
        assert (await made.step()).did == "heartbeat"
        assert (await world.node(1)).pending == 2
        await accept(world)
        assert (await world.node(1)).attested_until > began + INTERVAL_S

    in_world(scenario)


def test_a_refused_submission_is_tried_again_as_the_same_node_and_not_at_once() -> None:
    async def scenario(world: RegistryWorld) -> None:
        made = registrar(world, node_keys())
        await made.step()
        await world.vote(1, (0, 1), accepted=False)
        status = await made.step()
        assert (status.did, status.waits_for) == ("nothing", "no attestation of it was accepted")
        world.chain.clock.time += 600
        assert (await made.step()).did == "attested"
        await accept(world)
        assert (await world.node(1)).active
        assert await world.client().node(2) is None

    in_world(scenario)


def test_new_keys_and_a_new_certificate_are_put_into_force_as_the_same_node() -> None:
    async def scenario(world: RegistryWorld) -> None:
        old = node_keys(1)
        await registrar(world, old).step()
        await accept(world)
        new = node_keys(2, predecessor=old.document.digest)
        made = registrar(world, new)
        assert (await made.step()).did == "attested"
        assert (await made.step()).did == "nothing"
        await accept(world)
        node = await world.node(1)
        assert (node.tee_id, node.document.hex()) == (new.tee_id, new.document.digest)
        assert (await made.step()).did == "heartbeat"
        renewed = registrar(world, new, certificate=certificate(new.tls, authority=None))
        assert (await renewed.step()).did == "attested"
        moved = registrar(world, new, endpoint="https://elsewhere.example")
        assert (await moved.step()).did == "endpoint"
        assert (await world.node(1)).endpoint == "https://elsewhere.example"

    in_world(scenario)


def test_a_chain_that_forgot_what_was_submitted_makes_nobody_submit_again() -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        await registrar(world, keys).step()
        await accept(world)
        made = registrar(world, keys, certificate=certificate(keys.tls, authority=None))
        forgetful: Any = made._registry

        async def forgotten(number: int) -> None:
            raise UndecidedError("registry.evidence", f"the chain does not tell of {number}")

        forgetful.evidence = forgotten
        assert (await made.step()).did == "heartbeat"

    in_world(scenario)


def test_a_node_says_what_it_waits_for() -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        made = registrar(world, keys)
        await made.step()
        await accept(world)
        await made.step()
        await world.client(4).disable(1)
        assert (await made.step()).waits_for == "it is disabled"
        await world.client(4).enable(1)
        world.chain.clock.time += INTERVAL_S
        assert "ran out" in (await made.step()).waits_for
        await world.client(4).revoke(1)
        with pytest.raises(RefusedError) as caught:
            await registrar(world, keys).step()
        assert caught.value.code == "registry.key_taken"
        assert [node.number for node in await world.client().nodes_of(world.chain.signers[3].address)] == [1]
        assert await world.client().nodes(GATEWAY_KIND) == ()

    in_world(scenario)
