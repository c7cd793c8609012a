"""What only the contracts do: proofs on chain, governor. Shipped artifacts are what the sources say."""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.evm_rpc import call_contract
from holdfast.core import evm, merkle, rounds
from holdfast.core.rounds import VerdictEntry
from holdfast.errors import RefusedError, UndecidedError
from tests.helpers.chains import (
    COIN,
    NEEDS_MACHINE,
    ORIGIN,
    EvmWorld,
    next_candidate,
    propose,
    sign_vote,
    start_epoch,
    vote,
)

pytestmark = NEEDS_MACHINE
ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "src" / "holdfast" / "adapters" / "contracts"
NAMES = (
    "Rounds",
    "Signatures",
    "Registry",
    "Views",
    "TestToken",
    "ExactProxy",
    "UptoProxy",
    "PermitTransfers",
    "Captures",
    "Settlement",
    "Inference",
    "Alpha",
)
ENTRIES = [b"entry %d" % index for index in range(37)]
HASHES = [merkle.leaf_hash(entry) for entry in ENTRIES]
VERDICTS = [
    VerdictEntry(index, evm.keccak256(b"%d" % index), code)
    for index, code in enumerate(["ok"] * 35 + ["refuted:statement.signature", "cannot_tell"])
]
ORIGIN_ID = rounds.origin_id(ORIGIN)


def in_world(scenario: Callable[[EvmWorld], Awaitable[None]], *, settled: bool = True) -> None:
    """Run with the contracts deployed and, if asked, one final round over :data:`ENTRIES`."""

    async def main() -> None:
        world = EvmWorld()
        await world.open()
        try:
            if settled:
                await start_epoch(world)
                candidate = await next_candidate(
                    world,
                    grow=len(ENTRIES),
                    root=merkle.root(HASHES),
                    verdict_root=rounds.verdict_root(VERDICTS),
                    blob_id=rounds.blob_id(rounds.verdict_blob(VERDICTS)),
                )
                await propose(world, candidate)
                await vote(world, candidate, range(4))
            await scenario(world)
        finally:
            await world.close()

    asyncio.run(main())


async def ask(world: EvmWorld, function: str, *arguments: Any) -> Any:
    client: Any = world.client()
    return await client._call(function, *arguments)


async def send(world: EvmWorld, index: int, function: str, *arguments: Any) -> None:
    client: Any = world.client(index)
    await client._transact(function, *arguments)


async def refused(call: Awaitable[Any], code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await call
    assert caught.value.code == code


# --- proofs -----------------------------------------------------------------------------------------------------------


def test_nothing_is_proven_from_a_round_that_is_not_final() -> None:
    async def scenario(world: EvmWorld) -> None:
        proof = merkle.inclusion_proof(HASHES, 3)
        await refused(ask(world, "verify_entry", ORIGIN_ID, 2, 3, HASHES[3], proof), "round.open")
        await refused(ask(world, "verify_entry", ORIGIN_ID, 0, 3, HASHES[3], proof), "round.open")
        await refused(ask(world, "final_round", ORIGIN_ID, 2), "round.open")
        await refused(
            ask(world, "verify_verdict", ORIGIN_ID, 2, 3, VERDICTS[3].statement_digest, "ok", 3, 37, proof),
            "round.open",
        )
        await propose(world)
        await refused(ask(world, "verify_entry", ORIGIN_ID, 2, 3, HASHES[3], proof), "round.open")

    in_world(scenario)


def test_a_changed_leaf_index_or_path_proves_nothing() -> None:
    async def scenario(world: EvmWorld) -> None:
        for index in (0, 1, 20, 36):
            proof = merkle.inclusion_proof(HASHES, index)
            wrong: list[tuple[int, bytes, list[bytes]]] = [
                (index, HASHES[(index + 1) % 37], proof),
                (index + 1, HASHES[index], proof),
                (index, HASHES[index], proof[:-1]),
                (index, HASHES[index], [*proof, bytes(32)]),
                (index, HASHES[index], [*proof[:-1], bytes(32)]),
                (37, HASHES[index], proof),
                (2**64, HASHES[index], proof),
                (index, merkle.root(HASHES), []),
            ]
            for claimed, leaf, path in wrong:
                assert await ask(world, "verify_entry", ORIGIN_ID, 1, claimed, leaf, path) is False
            assert await ask(world, "verify_entry", ORIGIN_ID, 1, index, HASHES[index], proof) is True

    in_world(scenario)


def test_every_entry_and_verdict_proves_on_chain() -> None:
    async def scenario(world: EvmWorld) -> None:
        leaves = [merkle.leaf_hash(verdict.leaf) for verdict in VERDICTS]
        for index in range(37):
            proof = merkle.inclusion_proof(HASHES, index)
            assert await ask(world, "verify_entry", ORIGIN_ID, 1, index, HASHES[index], proof) is True
            verdict, path = VERDICTS[index], merkle.inclusion_proof(leaves, index)
            asked = (index, verdict.statement_digest, verdict.code, index, 37, path)
            assert await ask(world, "verify_verdict", ORIGIN_ID, 1, *asked) is True

    in_world(scenario)


def test_another_verdict_index_or_statement_proves_nothing() -> None:
    async def scenario(world: EvmWorld) -> None:
        leaves = [merkle.leaf_hash(verdict.leaf) for verdict in VERDICTS]
        path, digest = merkle.inclusion_proof(leaves, 35), VERDICTS[35].statement_digest
        for index, statement, code in (
            (35, digest, "ok"),
            (34, digest, VERDICTS[35].code),
            (35, bytes(32), VERDICTS[35].code),
            (2**64 + 35, digest, VERDICTS[35].code),
        ):
            assert await ask(world, "verify_verdict", ORIGIN_ID, 1, index, statement, code, 35, 37, path) is False
        for position, count in ((34, 37), (35, 36), (35, 35), (35, 64)):
            asked = (35, digest, VERDICTS[35].code, position, count, path)
            assert await ask(world, "verify_verdict", ORIGIN_ID, 1, *asked) is False

    in_world(scenario)


# --- governor ---------------------------------------------------------------------------------------------------------


def test_the_governor_changes_hands_in_two_steps() -> None:
    async def scenario(world: EvmWorld) -> None:
        first, second = world.signers[0].address, world.signers[1].address
        await refused(send(world, 1, "offer_governor", second), "epoch.governor")
        await refused(send(world, 1, "accept_governor"), "epoch.governor")
        await send(world, 0, "offer_governor", second)
        await refused(send(world, 2, "accept_governor"), "epoch.governor")
        assert (await ask(world, "governor")).lower() == first
        await send(world, 1, "accept_governor")
        assert (await ask(world, "governor")).lower() == second
        await refused(send(world, 0, "offer_governor", first), "epoch.governor")
        await refused(send(world, 1, "accept_governor"), "epoch.governor")

    in_world(scenario, settled=False)


def test_a_wrong_contract_address_is_noticed() -> None:
    async def scenario(world: EvmWorld) -> None:
        with pytest.raises(UndecidedError) as caught:
            await call_contract(world.connection, "0x" + "99" * 20, "Rounds", "timeout")
        assert caught.value.code == "chain.contract"

    in_world(scenario, settled=False)


def test_slashed_stake_stays_in_the_contract_for_ever() -> None:
    async def scenario(world: EvmWorld) -> None:
        candidate = await next_candidate(world)
        pair = sign_vote(world, 1, candidate), sign_vote(world, 1, candidate, bytes(32))
        await world.client().submit_double_vote(*pair)
        assert await ask(world, "burned") == COIN
        assert await world.chain.balance(world.domain.contract) == 4 * COIN

    in_world(scenario)


# --- artifacts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_artifact_names_its_source(name: str) -> None:
    artifact = json.loads((SHIPPED / f"{name}.json").read_text())
    source = (ROOT / "contracts" / f"{name}.vy").read_bytes()
    assert artifact["source_sha256"] == hashlib.sha256(source).hexdigest()
    assert artifact["compiler"] == "vyper 0.4.3"
    assert len(artifact["runtime_bytecode"]) // 2 < 24_576 - 3 * 32


@pytest.mark.slow
def test_the_sources_compile_to_the_shipped_artifacts() -> None:
    done = subprocess.run(
        [sys.executable, "contracts/compile.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_typed_data_hashes_of_the_contract_are_the_specifications() -> None:
    source = (ROOT / "contracts" / "Rounds.vy").read_text()
    for text in (rounds.VOTE_TYPE.decode(), rounds.FINALITY_TYPE.decode(), rounds.DOMAIN_NAME):
        assert f'"{text}"' in source
    assert str(evm.SECP256K1_ORDER // 2) in source
