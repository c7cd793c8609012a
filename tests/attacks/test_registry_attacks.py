"""Attacks on the registry of attested nodes, through the chain's RPC, on a whole network that votes by itself.

The attacker has coin and any keys it likes, and sees every transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from holdfast.adapters.evm_rpc import EvmConnection
from holdfast.adapters.registry_evm import EvmRegistry
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer, load_signer
from holdfast.core.registry import verdict_digest
from holdfast.core.rounds import ChainDomain
from holdfast.core.trust import parse_trust_chain, verify_trust
from holdfast.errors import HoldfastError
from holdfast.ports.registry import GATEWAY_KIND, PENDING, REFUSED, RegisteredNode, SubmittedEvidence
from holdfast.verifier.registration import Circumstances, appraise_registration
from holdfast.verifier.transcript import Transcript
from tests.helpers.processes import NetworkProcess, network
from tests.helpers.registry import node_keys

pytestmark = pytest.mark.enable_socket
Result = TypeVar("Result")
WAIT_S = 20.0
"""Longest wait for four full nodes that vote."""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkProcess]:
    """A whole network to attack; its gateway is registered and active."""
    with network(tmp_path_factory.mktemp("attacked")) as found:
        deadline = time.monotonic() + WAIT_S
        while not found.get("/heartbeat/status").get("last_tx_hash"):
            assert time.monotonic() < deadline, "the gateway did not come to beat"
            time.sleep(0.1)
        yield found


def attack(net: NetworkProcess, work: Callable[[EvmRegistry], Awaitable[Result]]) -> Result:
    """Do something on the registry from an account with coin that owns nothing there."""

    async def main() -> Result:
        connection = EvmConnection(net.ready["chain"])
        try:
            domain = ChainDomain(31337, net.ready["registry"])
            return await work(EvmRegistry(connection, domain, load_signer(net.state / "keys" / "full-1.vote.key")))
        finally:
            await connection.close()

    return asyncio.run(main())


@contextlib.contextmanager
def stopped_by(code: str) -> Iterator[None]:
    """The attack ends in an error of ours with this code."""
    with pytest.raises(HoldfastError) as refused:
        yield
    assert refused.value.code == code


async def victim(registry: EvmRegistry) -> tuple[RegisteredNode, SubmittedEvidence]:
    """The network's gateway, and what it submitted, as everybody can read it."""
    (node,) = await registry.nodes(GATEWAY_KIND)
    return node, await registry.evidence(node.attestation)


async def refused_by_vote(registry: EvmRegistry) -> SubmittedEvidence:
    """Wait until full nodes have said no to what was submitted last."""
    number = await registry.attestations()
    async with asyncio.timeout(WAIT_S):
        while True:
            record = await registry.attestation(number)
            assert record is not None
            if record.state != PENDING:
                assert record.state == REFUSED
                return await registry.evidence(number)
            await asyncio.sleep(0.1)


def judged(net: NetworkProcess, found: SubmittedEvidence) -> None:
    """What a full node finds; raises its reason."""
    trust = verify_trust(parse_trust_chain(Path(net.ready["trust"]).read_bytes()))
    at = dt.datetime.fromtimestamp(found.record.submitted_at, dt.UTC)
    circumstances = Circumstances(found.kind, found.record.predecessor, found.record.nonce, at)
    appraise_registration(found.submission, circumstances, trust, Transcript())


# --- submissions ------------------------------------------------------------------------------------------------------


def test_evidence_that_somebody_else_submitted_is_no_evidence_for_a_thief(net: NetworkProcess) -> None:
    async def work(registry: EvmRegistry) -> SubmittedEvidence:
        _, theirs = await victim(registry)
        with stopped_by("registry.key_taken"):
            await registry.register(GATEWAY_KIND, "https://attacker.example", theirs.submission)
        # Under a key of the thief's own the contract takes it; the full nodes do not.
        mine = node_keys(8)
        challenge = await registry.challenge(bytes.fromhex(mine.document.digest))
        key = mine.document.key_for("opengradient")
        assert key is not None
        stolen = replace(theirs.submission, signing_key=key.public, anchor=challenge.anchor)
        await registry.register(GATEWAY_KIND, "https://attacker.example", stolen)
        return await refused_by_vote(registry)

    with stopped_by("registration.signing_key"):
        judged(net, attack(net, work))


def test_evidence_that_was_good_once_is_not_good_again(net: NetworkProcess) -> None:
    async def work(registry: EvmRegistry) -> SubmittedEvidence:
        node, theirs = await victim(registry)
        owner = load_signer(net.state / "keys" / "gateway.account.key")
        own = EvmRegistry(registry._connection, registry.domain, owner)
        challenge = await own.challenge(node.document)
        # The owner itself, with the enclave gone, has nothing but what it submitted before.
        await own.attest(node.number, replace(theirs.submission, anchor=challenge.anchor))
        found = await refused_by_vote(registry)
        assert (await victim(registry))[0].active
        return found

    with stopped_by("attestation.nonce"):
        judged(net, attack(net, work))


# --- votes and roles --------------------------------------------------------------------------------------------------


def test_a_stranger_votes_for_nobody_and_a_verdict_is_not_carried_over(net: NetworkProcess) -> None:
    stranger = Secp256k1Signer(b"\x42" * 32)

    async def work(registry: EvmRegistry) -> None:
        # Evidence that nobody can judge stays pending: trust has no root of this format.
        mine = node_keys(9)
        _, theirs = await victim(registry)
        key = mine.document.key_for("opengradient")
        assert key is not None
        challenge = await registry.challenge(bytes.fromhex(mine.document.digest))
        hopeless = replace(theirs.submission, signing_key=key.public, anchor=challenge.anchor, evidence=b"\x00")
        await registry.register(GATEWAY_KIND, "https://attacker.example", hopeless)
        number = await registry.attestations()
        record = await registry.attestation(number)
        assert record is not None
        forged = stranger.sign(verdict_digest(registry.domain, number, record.evidence, accepted=True))
        with pytest.raises(HoldfastError) as refused:
            await registry.submit_verdicts(number, record.evidence, [forged], accepted=True)
        assert refused.value.code in ("registry.member", "registry.decided")
        # A member's signature about another attestation recovers to a stranger here.
        vote_key = load_signer(net.state / "keys" / "full-2.vote.key")
        elsewhere = vote_key.sign(verdict_digest(registry.domain, 1, record.evidence, accepted=True))
        with pytest.raises(HoldfastError) as refused:
            await registry.submit_verdicts(number, record.evidence, [elsewhere], accepted=True)
        assert refused.value.code in ("registry.member", "registry.decided")

    attack(net, work)


def test_roles_and_nodes_of_others_are_out_of_reach(net: NetworkProcess) -> None:
    async def work(registry: EvmRegistry) -> None:
        node, _ = await victim(registry)
        for act, code in (
            (registry.revoke(node.number), "registry.role"),
            (registry.approve_measurement(GATEWAY_KIND, bytes([1]) * 32, "mine"), "registry.role"),
            (registry.accept_role("admin"), "registry.role"),
            (registry.disable(node.number), "registry.owner"),
            (registry.withdraw(node.number), "registry.owner"),
            (registry.set_endpoint(node.number, "https://attacker.example"), "registry.owner"),
        ):
            with stopped_by(code):
                await act
        assert (await victim(registry))[0] == node

    attack(net, work)
