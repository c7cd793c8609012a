"""The registry port: the simulated registry and the contracts keep the same rules, refusals first."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from holdfast.core import evm
from holdfast.core.encoding import sha256
from holdfast.core.registry import INSECURE_MEASUREMENT, verdict_digest
from holdfast.errors import ConflictError, HoldfastError, RefusedError, UsageError
from holdfast.ports.chain import Member
from holdfast.ports.registry import (
    ACCEPTED,
    ADMIN,
    GATEWAY_KIND,
    GUARDIAN,
    PENDING,
    REFUSED,
    REPLACED,
    RegisteredKind,
)
from tests.helpers.chains import (
    COIN,
    NEEDS_MACHINE,
    ChainWorld,
    EvmWorld,
    SimulatedWorld,
    next_candidate,
    sign_vote,
    start_epoch,
)
from tests.helpers.registry import (
    ENDPOINT,
    INTERVAL_S,
    MAX_AGE_S,
    EvmRegistryWorld,
    RegistryWorld,
    SimulatedRegistryWorld,
    message_hash,
    node_keys,
    pss,
)

Scenario = Callable[[RegistryWorld], Awaitable[None]]
Run = Callable[..., None]
Make = Callable[[], tuple[ChainWorld, RegistryWorld]]


def simulated() -> tuple[ChainWorld, RegistryWorld]:
    """Chain and registry in memory."""
    chain = SimulatedWorld()
    return chain, SimulatedRegistryWorld(chain)


def embedded() -> tuple[ChainWorld, RegistryWorld]:
    """The contracts on the development chain."""
    chain = EvmWorld()
    return chain, EvmRegistryWorld(chain)


@pytest.fixture(params=[simulated, pytest.param(embedded, marks=NEEDS_MACHINE)], ids=["simulated", "evm"])
def make(request: pytest.FixtureRequest) -> Make:
    """What the suite runs on; ``tests/integration`` brings another chain."""
    made: Make = request.param
    return made


@pytest.fixture
def run(make: Make) -> Run:
    """Run a scenario with a fresh registry and an epoch of four equal members (signers 0 to 3)."""

    def runner(scenario: Scenario, *, epoch: bool = True) -> None:
        async def main() -> None:
            chain, world = make()
            await chain.open()
            try:
                if epoch:
                    await start_epoch(chain)
                await world.open()
                await scenario(world)
            finally:
                await chain.close()

        asyncio.run(main())

    return runner


@contextmanager
def refused(code: str, kind: type[HoldfastError] = RefusedError) -> Iterator[None]:
    with pytest.raises(kind) as caught:
        yield
    assert caught.value.code == code


# --- submissions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"document": b""}, "registry.document"),
        ({"evidence": b""}, "registry.evidence"),
        ({"form": ""}, "registry.evidence"),
        ({"certificate": b""}, "registry.certificate"),
        ({"signing_key": bytes(294)}, "registry.signing_key"),
        ({"signing_key": b""}, "registry.signing_key"),
        ({"statement_key": bytes(63)}, "registry.statement_key"),
        ({"measurement": bytes([1]) * 32}, "registry.measurement"),
        ({"anchor": 2**255}, "registry.anchor"),
    ],
)
def test_a_submission_with_a_wrong_part_is_refused(run: Run, changes: dict[str, Any], code: str) -> None:
    async def scenario(world: RegistryWorld) -> None:
        wrong = await world.submission(node_keys(), **changes)
        with refused(code):
            await world.client(3).register(GATEWAY_KIND, ENDPOINT, wrong)
        assert await world.client().attestations() == 0

    run(scenario)


def test_a_node_is_of_a_known_kind_and_can_be_reached(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        submission = await world.submission(node_keys())
        with refused("registry.kind"):
            await world.client(3).register(9, ENDPOINT, submission)
        with refused("registry.endpoint"):
            await world.client(3).register(GATEWAY_KIND, "", submission)
        assert await world.client().kind(9) is None
        assert await world.client().node(1) is None

    run(scenario)


def test_a_challenge_runs_out_and_is_the_accounts_and_the_documents_own(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys, others = node_keys(1), node_keys(2)
        digest = bytes.fromhex(keys.document.digest)
        first = await world.client(3).challenge(digest)
        assert first != await world.client(2).challenge(digest)
        assert first.nonce != (await world.client(3).challenge(bytes.fromhex(others.document.digest))).nonce
        old = await world.submission(keys)
        await world.chain.mine(300)  # type: ignore[attr-defined]
        with refused("registry.anchor"):
            await world.client(3).register(GATEWAY_KIND, ENDPOINT, old)
        submission = await world.submission(keys)
        await world.client(3).register(GATEWAY_KIND, ENDPOINT, submission)
        record = await world.client().attestation(1)
        assert record is not None
        assert record.nonce not in (bytes(32), first.nonce)

    run(scenario)


def test_what_was_submitted_can_be_read_again_by_anyone(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        submission = await world.submission(keys)
        await world.client(3).register(GATEWAY_KIND, ENDPOINT, submission)
        found = await world.client(1).evidence(1)
        assert found.submission == submission
        assert (found.owner, found.kind, found.endpoint) == (world.chain.signers[3].address, GATEWAY_KIND, ENDPOINT)
        assert found.record.document.hex() == keys.document.digest
        assert found.record.evidence == sha256(submission.evidence)
        assert found.record.state == PENDING
        with refused("registry.unknown", UsageError):
            await world.client().evidence(2)

    run(scenario)


# --- votes ------------------------------------------------------------------------------------------------------------


def test_a_pending_node_is_nowhere_to_be_found(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        number, attestation = await world.register(keys)
        await world.vote(attestation, (0, 1))
        node = await world.node(number)
        assert (node.active, node.attestation, node.pending) == (False, 0, attestation)
        assert await world.client().nodes(GATEWAY_KIND) == ()
        assert await world.client().node_by_key(keys.tee_id) is None
        with refused("heartbeat.unknown"):
            await world.client().heartbeat(keys.tee_id, world.now, keys.heartbeat(world.now))
        assert not await world.client().valid_at(keys.tee_id, world.now)

    run(scenario)


def test_more_than_two_thirds_of_the_stake_put_a_node_into_force(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        number, attestation = await world.register(keys)
        submitted_at = world.now
        world.chain.clock.time += 60
        await world.vote(attestation, (0, 1, 2))
        node = await world.node(number)
        assert node.active
        assert (node.attestation, node.pending, node.tee_id) == (attestation, 0, keys.tee_id)
        assert (node.attested_at, node.attested_until) == (submitted_at, submitted_at + INTERVAL_S)
        assert node.registered_at == submitted_at + 60
        record = await world.client().attestation(attestation)
        assert record is not None
        assert record.state == ACCEPTED
        assert record.voters == {signer.address for signer in world.chain.signers[:3]}
        assert await world.client().nodes(GATEWAY_KIND) == (node,)
        assert await world.client().node_by_key(keys.tee_id) == node

    run(scenario)


def test_more_than_a_third_of_the_stake_refuse(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        number, attestation = await world.register(node_keys())
        await world.vote(attestation, (0,), accepted=False)
        assert (await world.node(number)).pending == attestation
        await world.vote(attestation, (1,), accepted=False)
        record = await world.client().attestation(attestation)
        assert record is not None
        assert record.state == REFUSED
        assert (await world.node(number)).pending == 0
        with refused("registry.decided", ConflictError):
            await world.vote(attestation, (2, 3))
        assert not (await world.node(number)).active

    run(scenario)


def test_a_stranger_does_not_vote(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        _, attestation = await world.register(node_keys())
        with refused("registry.member"):
            await world.vote(attestation, (4,))
        with refused("registry.member"):
            await world.vote(attestation, (0, 1, 2, 4))
        record = await world.client().attestation(attestation)
        assert record is not None
        assert record.stake_for == 0

    run(scenario)


def test_a_second_verdict_of_a_member_counts_nothing(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        _, attestation = await world.register(node_keys())
        await world.vote(attestation, (0, 0, 0, 1))
        await world.vote(attestation, (0, 1))
        await world.vote(attestation, (0, 1), accepted=False)
        record = await world.client().attestation(attestation)
        assert record is not None
        assert (record.state, record.stake_for, record.stake_against) == (PENDING, 2 * COIN, 0)

    run(scenario)


def test_a_verdict_counts_for_no_other_submission_and_no_other_evidence(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        _, first = await world.register(node_keys(1), owner=3)
        _, second = await world.register(node_keys(2), owner=2)
        client = world.client()
        records = [await client.attestation(number) for number in (first, second)]
        assert records[0] is not None
        assert records[1] is not None
        mine = [world.verdict(voter, first, records[0].evidence) for voter in (0, 1, 2)]
        # Another signer is recovered from a signature over something else: a stranger.
        with refused("registry.member"):
            await client.submit_verdicts(second, records[1].evidence, mine, accepted=True)
        with refused("registry.evidence"):
            await client.submit_verdicts(second, records[0].evidence, mine, accepted=True)
        with refused("registry.member"):
            await client.submit_verdicts(first, records[0].evidence, mine, accepted=False)
        with refused("registry.unknown"):
            await client.submit_verdicts(7, records[0].evidence, mine, accepted=True)
        other = replace(world.client().domain, chain_id=1)
        elsewhere = [
            world.chain.signers[voter].sign(verdict_digest(other, first, records[0].evidence, accepted=True))
            for voter in (0, 1, 2)
        ]
        with refused("registry.member"):
            await client.submit_verdicts(first, records[0].evidence, elsewhere, accepted=True)

    run(scenario)


def test_a_malformed_signature_is_refused(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        _, attestation = await world.register(node_keys())
        record = await world.client().attestation(attestation)
        assert record is not None
        good = world.verdict(0, attestation, record.evidence)
        high = evm.SECP256K1_ORDER - int.from_bytes(good[32:64])
        for wrong in (
            good[:64],
            good[:64] + b"\x00",
            bytes(65),
            good[:32] + high.to_bytes(32) + bytes([55 - good[64]]),
        ):
            with refused("registry.signature"):
                await world.client().submit_verdicts(attestation, record.evidence, [wrong], accepted=True)

    run(scenario)


def test_nothing_is_decided_before_an_epoch_has_started(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        _, attestation = await world.register(node_keys())
        with refused("registry.epoch"):
            await world.vote(attestation, (0, 1, 2))

    run(scenario, epoch=False)


def test_a_new_epoch_counts_from_the_beginning_by_its_own_stakes(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        number, attestation = await world.register(node_keys())
        await world.vote(attestation, (0, 1))
        chain: Any = world.chain
        members = sorted(
            (Member(chain.signers[index].address, COIN) for index in (1, 2, 3)), key=lambda each: each.address
        )
        await chain.client(0).announce_epoch(0, members)
        with refused("registry.member"):
            await world.vote(attestation, (0,))
        await world.vote(attestation, (2, 3))
        record = await world.client().attestation(attestation)
        assert record is not None
        assert (record.state, record.epoch, record.stake_for) == (PENDING, 2, 2 * COIN)
        # The same signature as before: a verdict is about evidence, not about an epoch.
        await world.vote(attestation, (1,))
        assert (await world.node(number)).active

    run(scenario)


def test_a_slashed_members_verdict_counts_nothing(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        chain: Any = world.chain
        candidate = await next_candidate(chain)
        pair = sign_vote(chain, 2, candidate), sign_vote(chain, 2, candidate, bytes(32))
        await chain.client().submit_double_vote(*pair)
        number, attestation = await world.register(node_keys())
        await world.vote(attestation, (0, 1, 2))
        assert (await world.node(number)).pending == attestation
        await world.vote(attestation, (3,))
        assert (await world.node(number)).active

    run(scenario)


# --- heartbeats -------------------------------------------------------------------------------------------------------


def test_a_heartbeat_is_good_once_and_at_its_time(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys, others = node_keys(1), node_keys(2)
        node = await world.admit(keys)
        await world.admit(others, owner=2)
        relay, then = world.client(1), world.now
        with refused("heartbeat.future"):
            await relay.heartbeat(keys.tee_id, then + 1, keys.heartbeat(then + 1))
        with refused("heartbeat.future"):
            await relay.heartbeat(keys.tee_id, 2**256 - 1, keys.heartbeat(2**256 - 1))
        with refused("heartbeat.old"):
            await relay.heartbeat(keys.tee_id, then - MAX_AGE_S, keys.heartbeat(then - MAX_AGE_S))
        with refused("heartbeat.signature"):
            await relay.heartbeat(keys.tee_id, then, others.heartbeat(then))
        with refused("heartbeat.signature"):
            await relay.heartbeat(others.tee_id, then, keys.heartbeat(then))
        with refused("heartbeat.signature"):
            await relay.heartbeat(keys.tee_id, then, keys.heartbeat(then - 1))
        with refused("heartbeat.unknown"):
            await relay.heartbeat(bytes(32), then, keys.heartbeat(then))
        await relay.heartbeat(keys.tee_id, then, keys.heartbeat(then))
        with refused("heartbeat.replayed"):
            await relay.heartbeat(keys.tee_id, then, keys.heartbeat(then))
        with refused("heartbeat.replayed"):
            await relay.heartbeat(keys.tee_id, then - 5, keys.heartbeat(then - 5))
        assert (await world.node(node.number)).heartbeat_at == then

    run(scenario)


def test_a_node_is_active_until_its_last_heartbeat_is_too_old_by_its_own_time(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        node = await world.admit(keys)
        world.chain.clock.time += 1000
        signed = world.now - 300
        await world.client(2).heartbeat(keys.tee_id, signed, keys.heartbeat(signed))
        world.chain.clock.time = signed + MAX_AGE_S - 1
        assert (await world.node(node.number)).active
        world.chain.clock.time += 1
        assert not (await world.node(node.number)).active
        # A heartbeat that was kept back does not bring it to life again.
        held = signed + 60
        world.chain.clock.time = held + MAX_AGE_S
        with refused("heartbeat.old"):
            await world.client(2).heartbeat(keys.tee_id, held, keys.heartbeat(held))
        await world.client(2).heartbeat(keys.tee_id, world.now, keys.heartbeat(world.now))
        assert (await world.node(node.number)).active

    run(scenario)


@pytest.mark.parametrize("salt", [0, 20, 31, 33])
def test_a_signature_with_another_salt_is_none(run: Run, salt: int) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        await world.admit(keys)
        asked, answered, digest = message_hash(b"hello", world.now)
        wrong = pss(keys.rsa, digest, salt=salt)
        assert not await world.client().verify_signature(keys.tee_id, asked, answered, world.now, wrong)

    run(scenario)


# --- disputes ---------------------------------------------------------------------------------------------------------


def test_a_signature_in_opengradients_format_is_checked_on_chain(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys, client, now = node_keys(), world.client(), world.now
        await world.admit(keys)
        asked, answered, digest = message_hash(b"hello", now)
        good = keys.sign(digest)
        assert await client.verify_signature(keys.tee_id, asked, answered, now, good)
        assert not await client.verify_signature(keys.tee_id, answered, asked, now, good)
        assert not await client.verify_signature(bytes(32), asked, answered, now, good)
        assert not await client.verify_signature(keys.tee_id, asked, answered, now - 1, good)
        assert not await client.verify_signature(keys.tee_id, asked, answered, now, good[:255])
        assert not await client.verify_signature(keys.tee_id, asked, answered, now, bytes(256))
        assert not await client.verify_signature(keys.tee_id, asked, answered, now, b"\xff" * 256)
        for place in (0, 1, 100, 222, 223, 254, 255):
            flipped = bytes(byte ^ (place == at) for at, byte in enumerate(good))
            assert not await client.verify_signature(keys.tee_id, asked, answered, now, flipped)
        # The same number plus the modulus is the same signature to arithmetic, and none here.
        modulus = keys.rsa.public_key().public_numbers().n
        second = int.from_bytes(good) + modulus
        if second < 2**2048:
            assert not await client.verify_signature(keys.tee_id, asked, answered, now, second.to_bytes(256))
        world.chain.clock.time += 3601
        assert await client.verify_signature(keys.tee_id, asked, answered, now, good)

    run(scenario)


def test_a_statement_of_a_p256_key_is_checked_on_chain_or_the_absence_is_said(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys, client, now = node_keys(), world.client(), world.now
        await world.admit(keys)
        digest = sha256(b"a statement")
        good = keys.sign_statement(digest)
        if not await world.has_p256():
            with refused("signature.p256_absent"):
                await client.verify_statement(keys.tee_id, digest, good, now)
            return
        assert await client.verify_statement(keys.tee_id, digest, good, now)
        assert not await client.verify_statement(keys.tee_id, sha256(b"another"), good, now)
        assert not await client.verify_statement(keys.tee_id, digest, bytes(64), now)
        assert not await client.verify_statement(keys.tee_id, digest, good, now - 1)

    run(scenario)


def test_a_node_without_a_p256_key_has_no_such_disputes(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys, client = node_keys(), world.client()
        await client.register(GATEWAY_KIND, ENDPOINT, await world.submission(keys, 0, statement_key=b""))
        await world.vote(1, (0, 1, 2))
        with refused("registry.statement_key"):
            await client.verify_statement(keys.tee_id, bytes(32), bytes(64), world.now)

    run(scenario)


# --- renewal, rotation, validity --------------------------------------------------------------------------------------


def test_an_attestation_runs_out_and_is_renewed(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        node = await world.admit(keys)
        first = world.now
        world.chain.clock.time = first + INTERVAL_S
        await world.client(2).heartbeat(keys.tee_id, world.now, keys.heartbeat(world.now))
        assert not (await world.node(node.number)).active
        assert await world.client().valid_at(keys.tee_id, first + INTERVAL_S - 1)
        assert not await world.client().valid_at(keys.tee_id, first + INTERVAL_S)
        with refused("registry.owner"):
            await world.client(2).attest(node.number, await world.submission(keys, 2))
        world.chain.clock.time += 100
        await world.client(3).attest(node.number, await world.submission(keys))
        renewed_at = world.now
        pending = (await world.node(node.number)).pending
        await world.vote(pending, (0, 1, 2))
        assert (await world.node(node.number)).active
        # The gap stays a gap.
        assert not await world.client().valid_at(keys.tee_id, renewed_at - 50)
        assert await world.client().valid_at(keys.tee_id, renewed_at)
        assert await world.client().valid_at(keys.tee_id, first)

    run(scenario)


def test_a_new_submission_replaces_the_one_that_waits(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        number, first = await world.register(keys)
        await world.client(3).attest(number, await world.submission(keys))
        record = await world.client().attestation(first)
        assert record is not None
        assert record.state == REPLACED
        with refused("registry.decided", ConflictError):
            await world.vote(first, (0, 1, 2))
        await world.vote((await world.node(number)).pending, (0, 1, 2))
        assert (await world.node(number)).active

    run(scenario)


def test_a_rotated_node_keeps_its_number_and_the_old_key_its_past(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        old = node_keys(1)
        new = node_keys(2, predecessor=old.document.digest)
        node = await world.admit(old)
        began = world.now
        world.chain.clock.time += 500
        await world.client(3).attest(node.number, await world.submission(new))
        pending = await world.client().attestation((await world.node(node.number)).pending)
        assert pending is not None
        assert pending.predecessor.hex() == old.document.digest
        # Until it is accepted the old key serves.
        assert (await world.node(node.number)).tee_id == old.tee_id
        await world.vote(pending.number, (0, 1, 2))
        changed = world.now
        rotated = await world.node(node.number)
        assert (rotated.tee_id, rotated.active) == (new.tee_id, True)
        client = world.client()
        for key in (old.tee_id, new.tee_id):
            found = await client.node_by_key(key)
            assert found is not None
            assert found.number == node.number
        assert await client.valid_at(old.tee_id, began)
        assert not await client.valid_at(old.tee_id, changed)
        assert await client.valid_at(new.tee_id, changed)
        assert not await client.valid_at(new.tee_id, began)
        with refused("heartbeat.unknown"):
            await client.heartbeat(old.tee_id, world.now, old.heartbeat(world.now))
        with refused("registry.key_retired"):
            await world.client(3).attest(node.number, await world.submission(old))
        asked, answered, digest = message_hash(b"hello", began)
        assert await client.verify_signature(old.tee_id, asked, answered, began, old.sign(digest))

    run(scenario)


def test_a_retired_key_is_valid_no_longer_under_any_measurement(run: Run) -> None:
    """Attested under one measurement and an hour later under another, a key has two spans that overlap."""

    async def scenario(world: RegistryWorld) -> None:
        other = bytes([7]) * 32
        await world.client(0).approve_measurement(GATEWAY_KIND, other, "2")
        old = node_keys(1)
        node = await world.admit(old)
        world.chain.clock.time += 100
        await world.client(3).attest(node.number, replace(await world.submission(old), measurement=other))
        await world.vote((await world.node(node.number)).pending, (0, 1, 2))
        world.chain.clock.time += 100
        before = world.now
        world.chain.clock.time += 10
        await world.client(3).attest(node.number, await world.submission(node_keys(2, predecessor=old.document.digest)))
        await world.vote((await world.node(node.number)).pending, (0, 1, 2))
        world.chain.clock.time += 1
        retired = world.now
        assert await world.client().valid_at(old.tee_id, before)
        world.chain.clock.time += 100
        assert not await world.client().valid_at(old.tee_id, retired)

    run(scenario)


def test_two_nodes_never_share_a_key(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        number, first = await world.register(keys, owner=3)
        copied, second = await world.register(keys, owner=2)
        await world.vote(first, (0, 1, 2))
        await world.vote(second, (0, 1, 2))
        assert (await world.node(number)).active
        assert not (await world.node(copied)).active
        record = await world.client().attestation(second)
        assert record is not None
        assert record.state == REFUSED
        with refused("registry.key_taken"):
            await world.register(keys, owner=1)

    run(scenario)


def test_no_key_is_valid_in_the_future(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        await world.admit(keys)
        assert await world.client().valid_at(keys.tee_id, world.now)
        assert not await world.client().valid_at(keys.tee_id, world.now + 1)
        assert not await world.client().valid_at(bytes(32), world.now)

    run(scenario)


# --- measurements and roles -------------------------------------------------------------------------------------------


def test_a_revoked_measurement_disables_its_nodes_and_keeps_their_past(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        node = await world.admit(keys)
        began = world.now
        world.chain.clock.time += 100
        with refused("registry.role"):
            await world.client(3).revoke_measurement(GATEWAY_KIND, INSECURE_MEASUREMENT)
        with refused("registry.measurement"):
            await world.client(4).revoke_measurement(GATEWAY_KIND, bytes([1]) * 32)
        later = world.now + 50
        await world.client(4).revoke_measurement(GATEWAY_KIND, INSECURE_MEASUREMENT, effective_at=later)
        assert (await world.node(node.number)).active
        world.chain.clock.time = later
        assert not (await world.node(node.number)).active
        assert await world.client().valid_at(keys.tee_id, later - 1)
        assert not await world.client().valid_at(keys.tee_id, later)
        # It turns out to have been bad for longer.
        await world.client(4).revoke_measurement(GATEWAY_KIND, INSECURE_MEASUREMENT, suspect_since=began + 10)
        found = await world.client().measurement(GATEWAY_KIND, INSECURE_MEASUREMENT)
        assert found is not None
        assert (found.revoked_at, found.suspect_since) == (later, began + 10)
        assert await world.client().valid_at(keys.tee_id, began + 9)
        assert not await world.client().valid_at(keys.tee_id, began + 10)
        with refused("registry.measurement"):
            await world.client(3).attest(node.number, await world.submission(keys))
        with refused("registry.revoked"):
            await world.client(0).approve_measurement(GATEWAY_KIND, INSECURE_MEASUREMENT, "again")

    run(scenario)


def test_a_measurement_is_approved_by_the_admin_from_a_time_on(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        digest, client = bytes([5]) * 32, world.client(3)
        for index in (3, 4):
            with refused("registry.role"):
                await world.client(index).approve_measurement(GATEWAY_KIND, digest, "v2")
        with refused("registry.kind"):
            await world.client(0).approve_measurement(9, digest, "v2")
        with refused("registry.measurement"):
            await world.client(0).approve_measurement(GATEWAY_KIND, bytes(32), "v2")
        start = world.now + 100
        await world.client(0).approve_measurement(GATEWAY_KIND, digest, "v2", effective_at=start)
        submission = await world.submission(node_keys(), measurement=digest)
        with refused("registry.measurement"):
            await client.register(GATEWAY_KIND, ENDPOINT, submission)
        world.chain.clock.time = start
        await client.register(GATEWAY_KIND, ENDPOINT, submission)
        found = await client.measurement(GATEWAY_KIND, digest)
        assert found is not None
        assert (found.version, found.effective_at, found.revoked_at) == ("v2", start, 0)
        assert await client.measurement(GATEWAY_KIND, bytes([6]) * 32) is None

    run(scenario)


def test_roles_change_hands_in_two_steps(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        one, two = world.chain.signers[1].address, world.chain.signers[2].address
        with refused("registry.role"):
            await world.client(4).offer_role(ADMIN, one)
        with refused("registry.role"):
            await world.client(1).accept_role(ADMIN)
        await world.client(0).offer_role(ADMIN, one)
        with refused("registry.role"):
            await world.client(2).accept_role(ADMIN)
        assert await world.client().role(ADMIN) == world.chain.signers[0].address
        await world.client(1).accept_role(ADMIN)
        assert await world.client().role(ADMIN) == one
        with refused("registry.role"):
            await world.client(0).set_heartbeat_max_age(60)
        with refused("registry.role"):
            await world.client(1).accept_role(ADMIN)
        # The admin replaces a guardian that is lost; the guardian hands itself on.
        await world.client(1).offer_role(GUARDIAN, two)
        await world.client(2).accept_role(GUARDIAN)
        assert await world.client().role(GUARDIAN) == two
        with refused("registry.role", UsageError):
            await world.client(1).offer_role("king", two)

    run(scenario)


def test_settings_are_the_admins(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        kind = RegisteredKind(2, "data", 3600)
        for index in (3, 4):
            with refused("registry.role"):
                await world.client(index).set_kind(kind)
            with refused("registry.role"):
                await world.client(index).set_heartbeat_max_age(60)
        for wrong in (RegisteredKind(2, "", 3600), RegisteredKind(2, "data", 0), RegisteredKind(2, "data", 2**40)):
            with refused("registry.kind"):
                await world.client(0).set_kind(wrong)
        with refused("registry.max_age"):
            await world.client(0).set_heartbeat_max_age(0)
        await world.client(0).set_kind(kind)
        assert await world.client().kind(2) == kind
        await world.client(0).set_heartbeat_max_age(60)
        assert await world.client().heartbeat_max_age_s() == 60

    run(scenario)


# --- a node's life ----------------------------------------------------------------------------------------------------


def test_a_node_is_disabled_from_a_time_on_and_enabled_by_whom_it_was_disabled(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        number = (await world.admit(keys)).number
        with refused("registry.owner"):
            await world.client(2).disable(number)
        await world.client(3).disable(number, effective_at=world.now + 10)
        assert (await world.node(number)).active
        world.chain.clock.time += 10
        assert not (await world.node(number)).active
        assert await world.client().valid_at(keys.tee_id, world.now)
        with refused("registry.owner"):
            await world.client(2).enable(number)
        await world.client(3).enable(number)
        assert (await world.node(number)).active
        await world.client(4).disable(number)
        node = await world.node(number)
        assert (node.active, node.disabled_by_owner) == (False, False)
        for act in (world.client(3).enable(number), world.client(3).disable(number, world.now + 10**6)):
            with refused("registry.role"):
                await act
        await world.client(0).enable(number)
        assert (await world.node(number)).active

    run(scenario)


def test_a_revoked_node_is_out_for_good_and_suspect_since_a_time(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys = node_keys()
        number, began = (await world.admit(keys)).number, world.now
        world.chain.clock.time += 100
        with refused("registry.role"):
            await world.client(3).revoke(number)
        with refused("registry.unknown"):
            await world.client(4).revoke(99)
        await world.client(4).revoke(number)
        revoked_at = world.now
        node = await world.node(number)
        assert (node.active, node.revoked_at, node.suspect_since) == (False, revoked_at, revoked_at)
        assert await world.client().nodes(GATEWAY_KIND) == ()
        # A key revoked today was still good a moment ago, unless the revocation says since when it is suspect.
        assert await world.client().valid_at(keys.tee_id, revoked_at - 1)
        world.chain.clock.time += 100
        await world.client(4).revoke(number, suspect_since=began + 10)
        assert await world.client().valid_at(keys.tee_id, began + 9)
        assert not await world.client().valid_at(keys.tee_id, began + 10)
        assert (await world.node(number)).revoked_at == revoked_at
        owner = world.client(3)
        for act in (
            owner.enable(number),
            owner.withdraw(number),
            owner.set_endpoint(number, ENDPOINT),
            owner.attest(number, await world.submission(keys)),
            owner.heartbeat(keys.tee_id, world.now, keys.heartbeat(world.now)),
        ):
            with pytest.raises(RefusedError) as caught:
                await act
            assert caught.value.code in ("registry.revoked", "heartbeat.unknown")

    run(scenario)


def test_an_owner_withdraws_and_what_was_signed_stays_good(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        keys, others = node_keys(1), node_keys(2)
        number, began = (await world.admit(keys)).number, world.now
        other = (await world.admit(others, owner=2)).number
        world.chain.clock.time += 100
        with refused("registry.owner"):
            await world.client(2).withdraw(number)
        await world.client(3).attest(number, await world.submission(keys))
        await world.client(3).withdraw(number)
        assert [node.number for node in await world.client().nodes(GATEWAY_KIND)] == [other]
        assert await world.client().valid_at(keys.tee_id, began)
        assert not await world.client().valid_at(keys.tee_id, world.now)
        with refused("registry.withdrawn"):
            await world.client(3).withdraw(number)
        with refused("registry.decided", ConflictError):
            await world.vote(3, (0, 1, 2))
        with refused("registry.key_taken"):
            await world.register(keys)

    run(scenario)


def test_an_owner_moves_its_endpoint(run: Run) -> None:
    async def scenario(world: RegistryWorld) -> None:
        number = (await world.admit(node_keys())).number
        with refused("registry.owner"):
            await world.client(2).set_endpoint(number, "https://elsewhere.example")
        with refused("registry.endpoint"):
            await world.client(3).set_endpoint(number, "")
        with refused("registry.unknown"):
            await world.client(3).set_endpoint(99, "https://elsewhere.example")
        await world.client(3).set_endpoint(number, "https://elsewhere.example")
        assert (await world.node(number)).endpoint == "https://elsewhere.example"

    run(scenario)
