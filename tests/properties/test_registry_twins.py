"""The simulated registry answers as the contract does: random calls to both, every answer and the state compared.

What differs on purpose: challenges, block numbers and hashes.
"""

import asyncio
import dataclasses
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.core.registry import INSECURE_MEASUREMENT
from holdfast.errors import HoldfastError
from holdfast.ports.registry import ADMIN, GATEWAY_KIND, GUARDIAN, RegisteredKind
from tests.helpers.chains import NEEDS_MACHINE, EvmWorld, SimulatedWorld, start_epoch
from tests.helpers.registry import (
    ENDPOINT,
    INTERVAL_S,
    MAX_AGE_S,
    EvmRegistryWorld,
    Keys,
    RegistryWorld,
    SimulatedRegistryWorld,
    node_keys,
)

pytestmark = NEEDS_MACHINE
KEYS = [node_keys(number) for number in (1, 2, 3)]
OTHER = bytes([5]) * 32
WHO, KEY, NODE = st.integers(0, 4), st.integers(0, 2), st.integers(0, 3)
MEASUREMENTS = st.sampled_from([INSECURE_MEASUREMENT, INSECURE_MEASUREMENT, OTHER])
WHEN = st.sampled_from([0, 0, -500, -5, 5, 500])
STEPS = st.one_of(
    st.tuples(st.just("register"), WHO, KEY, MEASUREMENTS),
    st.tuples(st.just("attest"), WHO, NODE, KEY, MEASUREMENTS),
    st.tuples(st.just("vote"), st.integers(1, 4), st.sets(WHO, min_size=1), st.booleans()),
    st.tuples(st.just("vote"), st.integers(1, 4), st.just({0, 1, 2}), st.just(True)),
    st.tuples(st.just("heartbeat"), KEY, KEY, WHEN),
    st.tuples(st.just("wait"), st.sampled_from([1, MAX_AGE_S, INTERVAL_S // 2, INTERVAL_S])),
    st.tuples(st.just("disable"), WHO, NODE, WHEN),
    st.tuples(st.just("enable"), WHO, NODE),
    st.tuples(st.just("withdraw"), WHO, NODE),
    st.tuples(st.just("revoke"), WHO, NODE, WHEN),
    st.tuples(st.just("approve"), WHO, MEASUREMENTS, WHEN),
    st.tuples(st.just("disapprove"), WHO, MEASUREMENTS, WHEN, WHEN),
    st.tuples(st.just("kind"), WHO, st.sampled_from([0, 60, INTERVAL_S])),
    st.tuples(st.just("offer"), WHO, st.sampled_from([ADMIN, GUARDIAN]), WHO),
    st.tuples(st.just("accept"), WHO, st.sampled_from([ADMIN, GUARDIAN])),
)


def moment(world: RegistryWorld, when: int) -> int:
    """A time beside now; 0 stays 0."""
    return world.now + when if when else 0


async def step(world: RegistryWorld, action: tuple[Any, ...]) -> str:
    """Do one thing; ``ok`` or the code of the refusal."""
    try:
        await _do(world, *action)
    except HoldfastError as error:
        return error.code
    return "ok"


async def _do(world: RegistryWorld, what: str, *more: Any) -> None:
    if what == "wait":
        world.chain.clock.time += more[0]
        return
    if what == "vote":
        number, voters, accepted = more
        record = await world.client().attestation(number)
        evidence = record.evidence if record is not None else bytes(32)
        signatures = [world.verdict(voter, number, evidence, accepted=accepted) for voter in sorted(voters)]
        await world.client().submit_verdicts(number, evidence, signatures, accepted=accepted)
        return
    if what == "heartbeat":
        named, signed, when = more
        timestamp = world.now + when
        await world.client().heartbeat(KEYS[named].tee_id, timestamp, KEYS[signed].heartbeat(timestamp))
        return
    who, *rest = more
    client = world.client(who)
    match what, *rest:
        case "register", key, measurement:
            submission = await world.submission(KEYS[key], who, measurement=measurement)
            await client.register(GATEWAY_KIND, ENDPOINT, submission)
        case "attest", node, key, measurement:
            await client.attest(node, await world.submission(KEYS[key], who, measurement=measurement))
        case "disable", node, when:
            await client.disable(node, moment(world, when))
        case "enable", node:
            await client.enable(node)
        case "withdraw", node:
            await client.withdraw(node)
        case "revoke", node, when:
            await client.revoke(node, moment(world, when))
        case "approve", measurement, when:
            await client.approve_measurement(GATEWAY_KIND, measurement, "v", moment(world, when))
        case "disapprove", measurement, when, suspect:
            await client.revoke_measurement(GATEWAY_KIND, measurement, moment(world, when), moment(world, suspect))
        case "kind", interval_s:
            await client.set_kind(RegisteredKind(GATEWAY_KIND, "LLMProxy", interval_s))
        case "offer", role, candidate:
            await client.offer_role(role, world.chain.signers[candidate].address)
        case "accept", role:
            await client.accept_role(role)


async def picture(world: RegistryWorld) -> dict[str, Any]:
    """All that both can tell."""
    client = world.client()
    records = [await client.attestation(number) for number in range(1, await client.attestations() + 1)]
    return {
        "nodes": [await client.node(number) for number in range(1, 5)],
        "in force": [node.number for node in await client.nodes(GATEWAY_KIND)],
        "attestations": [
            record and dataclasses.replace(record, nonce=b"", block=0, evidence=record.evidence) for record in records
        ],
        "measurements": [await client.measurement(GATEWAY_KIND, digest) for digest in (INSECURE_MEASUREMENT, OTHER)],
        "roles": [await client.role(role) for role in (ADMIN, GUARDIAN)],
        "valid": [await _valid(world, keys) for keys in KEYS],
    }


async def _valid(world: RegistryWorld, keys: Keys) -> list[bool]:
    return [
        await world.client().valid_at(keys.tee_id, world.now - back) for back in (-1, 0, 1, 500, MAX_AGE_S, INTERVAL_S)
    ]


@given(st.lists(STEPS, max_size=14))
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_both_give_the_same_answers_and_hold_the_same(actions: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        simulated, chain = SimulatedWorld(), EvmWorld()
        worlds: list[RegistryWorld] = [SimulatedRegistryWorld(simulated), EvmRegistryWorld(chain)]
        for each in (simulated, chain):
            await each.open()
            await start_epoch(each)
        try:
            for world in worlds:
                await world.open()
            first: list[tuple[Any, ...]] = [("register", 3, 0, INSECURE_MEASUREMENT), ("vote", 1, {0, 1, 2}, True)]
            for action in [*first, *actions]:
                answers = [await step(world, action) for world in worlds]
                assert answers[0] == answers[1], action
                pictures = [await picture(world) for world in worlds]
                assert pictures[0] == pictures[1], action
        finally:
            await chain.close()

    asyncio.run(main())
