"""``holdfast onchain deploy-verifier`` and ``verify-proof``, with what stands in for EZKL and for the compiler."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.compiler_solc import Compiled
from holdfast.adapters.evm_rpc import EvmConnection
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.adapters.verifier_evm import MAX_CODE_BYTES, call_data, deploy_verifier
from holdfast.cli import onchain_verifier as command
from holdfast.core import canonical, evm
from holdfast.core.bundles import ProofItem, parse_bundle
from holdfast.core.proofs import ProofDocument
from tests.cli.conftest import Outcome
from tests.helpers.chain_thread import ChainThread
from tests.helpers.chains import NEEDS_MACHINE, EvmWorld
from tests.helpers.gateway_world import World, play
from tests.helpers.proving import SRS
from tests.unit.adapters.test_verifier_evm import created, only
from tests.unit.nodes.gateway.test_proving import asked_for, proving

pytestmark = NEEDS_MACHINE
Holdfast = Callable[..., Outcome]
PLACE = ("--chain", "http://127.0.0.1:2")
MAKING = ("--account", "account.key", "--srs", "srs", "--solc", "solc", *PLACE)


class Ezkl:
    """Writes, as the contract's source, what it was asked to write it of."""

    async def contract(self, settings: bytes, verification_key: bytes, srs: bytes) -> str:
        assert srs == SRS
        return f"{evm.keccak256(settings).hex()} {verification_key.hex()}"


class Chain(ChainThread[EvmWorld]):
    """A chain, a bundle with a proof, and the code that is compiled: that of a contract for this proof alone."""

    def __init__(self, folder: Path) -> None:
        super().__init__(EvmWorld())
        self.do(self.chain.open())
        bundles: list[bytes] = []

        async def story(world: World) -> None:
            run, _, secret = await asked_for(world)
            await proving(world).step()
            row = await world.row(run)
            bundles.extend([await world.desk.bundle(row, secret), await world.desk.bundle(row, None)])

        (folder / "gateway").mkdir()
        play(story, folder / "gateway")
        self.bundle, silent = bundles
        (folder / "bundle.json").write_bytes(self.bundle)
        (folder / "silent.json").write_bytes(silent)
        (self.item,) = [e.item for e in parse_bundle(self.bundle).journal if isinstance(e.item, ProofItem)]
        self.made: Compiled = created(only(call_data(self.document.proof, self.document.instances)))
        self.compiled: list[str] = []

    @property
    def document(self) -> ProofDocument:
        return self.item.document

    def compile(self, compiler: list[str], source: str) -> Compiled:
        assert compiler == ["solc"]
        self.compiled.append(source)
        return self.made

    def deploy(self, runtime: bytes) -> str:
        address, _ = self.do(deploy_verifier(self.chain.connection, self.chain.signers[0], created(runtime)))
        return address


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chain]:
    found = Chain(tmp_path)
    monkeypatch.setattr(command, "connect", lambda _: EvmConnection("memory:", provider=found))
    secrets = {Secp256k1Signer(bytes([number]) * 32).address: bytes([number]) * 32 for number in range(1, 6)}
    (tmp_path / "account.key").write_text(secrets[found.chain.signers[0].address].hex() + "\n")
    (tmp_path / "account.key").chmod(0o600)
    (tmp_path / "srs").write_bytes(SRS)
    (tmp_path / "solc").write_text("")
    yield found
    found.close()


@pytest.fixture
def tools(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Chain:
    """EZKL and the compiler are here."""
    monkeypatch.setattr(command, "open_ezkl", lambda document, python: Ezkl())
    monkeypatch.setattr(command, "compile_solidity", chain.compile)
    return chain


def code_of(outcome: Outcome) -> tuple[int, str]:
    return outcome.code, outcome.err.rpartition("error: ")[2].partition(":")[0]


def told(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def test_what_holds_no_proof_is_asked_about_nowhere(holdfast: Holdfast, chain: Chain, tmp_path: Path) -> None:
    before = len(chain.chain.provider.asked)
    value = canonical.decode(chain.bundle)
    (entry,) = [entry for entry in value["journal"] if entry["kind"] == "proof"]
    entry["salt"] = "11" * 32
    (tmp_path / "altered.json").write_bytes(canonical.encode(value))
    verifier = ("--verifier", "0x" + "11" * 20, *PLACE)
    for arguments in (
        ("deploy-verifier", "silent.json", *MAKING),
        ("verify-proof", "silent.json", *verifier),
        ("verify-proof", "altered.json", *verifier),
        ("verify-proof", "bundle.json", *verifier, "--proof", "00" * 32),
    ):
        assert code_of(holdfast("onchain", *arguments)) == (1, "onchain.proof")
    both = ("verify-proof", "bundle.json", *verifier, "--state", "net")
    assert code_of(holdfast("onchain", *both)) == (2, "network.which")
    assert len(chain.chain.provider.asked) == before


def test_without_ezkl_a_compiler_or_the_string_nothing_is_created(
    holdfast: Holdfast, chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = chain.chain.chain.head.number
    making = ("onchain", "deploy-verifier", "bundle.json", *MAKING)
    assert code_of(holdfast(*making, "--ezkl", "nowhere/bin/python")) == (1, "infer.no_prover")
    monkeypatch.setattr(command, "open_ezkl", lambda document, python: Ezkl())
    assert code_of(holdfast(*making, "--solc", "nowhere")) == (2, "onchain.solc")
    (tmp_path / "srs").write_bytes(b"another")
    assert code_of(holdfast(*making)) == (3, "proof.srs")
    assert chain.chain.chain.head.number == before


def test_a_contract_that_is_too_large_is_not_created(holdfast: Holdfast, tools: Chain) -> None:
    before = tools.chain.chain.head.number
    tools.made = created(bytes(MAX_CODE_BYTES + 1))
    outcome = holdfast("onchain", "deploy-verifier", "bundle.json", *MAKING)
    assert code_of(outcome) == (1, "onchain.verifier_size")
    assert "hint:" in outcome.err
    assert tools.chain.chain.head.number == before


def test_a_verifier_is_created_and_accepts_the_proof(holdfast: Holdfast, tools: Chain, tmp_path: Path) -> None:
    made = told(holdfast("onchain", "deploy-verifier", "bundle.json", *MAKING, "--source", "v.sol", "--json"))
    assert made["code_keccak256"] == evm.keccak256(tools.made.code).hex()
    assert (made["code_bytes"], made["srs_kind"]) == (len(tools.made.code), "development")
    assert made["srs"] == tools.document.srs
    assert tools.document.verification_key.hex() in (tmp_path / "v.sol").read_text()
    assert tools.compiled == [(tmp_path / "v.sol").read_text()]

    asking = ("onchain", "verify-proof", "bundle.json", "--verifier", made["contract"], *PLACE)
    shown = told(holdfast(*asking, "--json", "--proof", tools.item.digest))
    assert (shown["accepted"], shown["code_keccak256"]) == (True, made["code_keccak256"])
    assert (shown["run"], shown["statement"]) == (tools.document.run, tools.item.digest)
    outcome = holdfast(*asking)
    assert (outcome.code, outcome.out.split("\n")[0]) == (0, "true")
    assert made["code_keccak256"] in outcome.out
    text = holdfast("onchain", "deploy-verifier", "bundle.json", *MAKING)
    assert made["verification_key"] in text.out
    assert "writing the contract" in text.err


@pytest.mark.parametrize("place", ["proof", "instances"])
def test_a_contract_for_a_proof_that_differs_by_one_bit_says_no(holdfast: Holdfast, chain: Chain, place: str) -> None:
    proof, instances = chain.document.proof, list(chain.document.instances)
    if place == "proof":
        proof = bytes([proof[0] ^ 1]) + proof[1:]
    else:
        instances[-1] = f"{int(instances[-1][:2], 16) ^ 1:02x}" + instances[-1][2:]
    address = chain.deploy(only(call_data(proof, instances)))
    outcome = holdfast("onchain", "verify-proof", "bundle.json", "--verifier", address, *PLACE)
    assert (outcome.code, outcome.out.split("\n")[0]) == (1, "false")
    nowhere = holdfast("onchain", "verify-proof", "bundle.json", "--verifier", "0x" + "11" * 20, *PLACE)
    assert code_of(nowhere) == (3, "chain.contract")
