"""``holdfast registry``: a person registers a node, roles act, and anybody judges it again."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from holdfast.adapters.evm_rpc import EvmConnection
from holdfast.cli import registry as command
from holdfast.core.encoding import b64_encode
from holdfast.ports.registry import GATEWAY_KIND
from tests.cli.conftest import Outcome
from tests.helpers.chain_thread import ChainThread
from tests.helpers.chains import NEEDS_MACHINE, EvmWorld, start_epoch
from tests.helpers.network import Network
from tests.helpers.registry import MAX_AGE_S, ROOT, EvmRegistryWorld, insecure_evidence, node_keys

pytestmark = NEEDS_MACHINE
Holdfast = Callable[..., Outcome]


class Thread(ChainThread[EvmWorld]):
    """A chain with a registry on a loop of its own: each command brings another one."""

    def __init__(self) -> None:
        super().__init__(EvmWorld())
        self.world = EvmRegistryWorld(self.chain)
        self.do(self._open())

    async def _open(self) -> None:
        await self.chain.open()
        await start_epoch(self.chain)
        await self.world.open()


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Thread]:
    """A registry, the network's description in ``.holdfast``, and the files of one node."""
    thread = Thread()
    monkeypatch.setattr(command, "connect", lambda _: EvmConnection("memory:", provider=thread))
    keys, deployment = node_keys(), thread.world.deployment
    for index in range(5):
        path = tmp_path / f"account-{index}.key"
        path.write_text(bytes(_private(thread, index)).hex() + "\n")
        path.chmod(0o600)
    (tmp_path / "node.json").write_bytes(keys.document.raw)
    (tmp_path / "node.der").write_bytes(keys.certificate)
    (tmp_path / "evidence").write_bytes(insecure_evidence(keys.document))
    pem = keys.rsa.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "rsa.pem").write_bytes(pem)
    (tmp_path / "rsa.pem").chmod(0o600)
    root = {
        "kind": "insecure-dev",
        "certificate": b64_encode(ROOT.public_key().public_bytes_raw()),
        "development": True,
    }
    (tmp_path / "trust.json").write_bytes(Network().trust_file(enclave_roots=[root]))
    (tmp_path / "no-roots.json").write_bytes(Network().trust_file(enclave_roots=[]))
    (tmp_path / "other-root.json").write_bytes(Network().trust_file())
    (tmp_path / ".holdfast").mkdir()
    described = {
        "gateway": "http://127.0.0.1:1",
        "chain": "http://127.0.0.1:2",
        "trust": str(tmp_path / "trust.json"),
        "registry": deployment.registry.contract,
        "registry_views": deployment.views,
    }
    (tmp_path / ".holdfast" / "network.json").write_text(json.dumps(described))
    yield thread
    thread.close()


def _private(thread: Thread, index: int) -> bytes:
    """Keys of tests are made of small numbers (``helpers.chains``)."""
    from holdfast.adapters.signer_secp256k1 import Secp256k1Signer  # noqa: PLC0415

    wanted = thread.chain.signers[index].address
    return next(
        bytes([number]) * 32 for number in range(1, 6) if Secp256k1Signer(bytes([number]) * 32).address == wanted
    )


def account(index: int) -> list[str]:
    return ["--account", f"account-{index}.key"]


def submitted(holdfast: Holdfast, *words: str, **changes: str) -> Outcome:
    """A command that submits, with a fresh challenge."""
    told = json.loads(holdfast("registry", "challenge", "--document", "node.json", *account(3), "--json").out)
    given = {
        "document": "node.json",
        "certificate": "node.der",
        "format": "insecure-dev",
        "evidence": "evidence",
        "anchor": str(told["anchor"]),
        **changes,
    }
    options = [word for name, value in given.items() for word in (f"--{name}", value)]
    return holdfast("registry", *words, *options, *account(3))


def registered(holdfast: Holdfast, there: Thread) -> None:
    assert submitted(holdfast, "register", "--endpoint", "https://node.example").code == 0
    there.do(there.world.vote(1, (0, 1, 2)))


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_nothing_changes_without_an_account(holdfast: Holdfast, there: Thread) -> None:
    done = holdfast("registry", "revoke", "1")
    assert (done.code, "registry.account" in done.err) == (2, True)
    assert holdfast("registry", "withdraw", "1").code == 2


def test_the_contracts_refusal_is_told(holdfast: Holdfast, there: Thread) -> None:
    registered(holdfast, there)
    for words, code in (
        (["revoke", "1", *account(3)], "registry.role"),
        (["disable", "1", *account(2)], "registry.owner"),
        (["approve", "ab" * 32, "--software", "v2", *account(4)], "registry.role"),
        (["disapprove", "ab" * 32, *account(4)], "registry.measurement"),
        (["accept-role", "admin", *account(3)], "registry.role"),
        (["endpoint", "9", "https://x.example", *account(3)], "registry.unknown"),
    ):
        done = holdfast("registry", *words)
        assert (done.code, code in done.err) == (1, True), words


def test_two_places_or_half_of_one_are_the_callers_mistake(holdfast: Holdfast, there: Thread) -> None:
    address = there.world.deployment.registry.contract
    for words in (
        ["--chain", "http://127.0.0.1:2"],
        ["--registry", address],
        ["--views", address],
        ["--state", ".holdfast", "--chain", "http://127.0.0.1:2", "--registry", address],
    ):
        done = holdfast("registry", "list", *words)
        assert (done.code, "network.which" in done.err) == (2, True), words
    assert holdfast("registry", "list", "--chain", "http://127.0.0.1:2", "--registry", address).code == 0
    Path(".holdfast/network.json").write_text('{"gateway":"http://127.0.0.1:1","chain":"http://127.0.0.1:2"}')
    done = holdfast("registry", "list")
    assert (done.code, "registry.none" in done.err) == (2, True)


def test_a_submission_is_judged_again_by_anybody(holdfast: Holdfast, there: Thread) -> None:
    registered(holdfast, there)
    done = holdfast("registry", "check", "1")
    assert (done.code, "attestation 1 holds" in done.out) == (0, True)
    done = holdfast("registry", "check", "1", "--json")
    assert json.loads(done.out)["holds"] is True
    done = holdfast("registry", "check", "1", "--trust", "other-root.json")
    assert (done.code, "attestation.signature" in done.err) == (1, True)
    done = holdfast("registry", "check", "1", "--trust", "no-roots.json")
    assert (done.code, "attestation.roots" in done.err) == (3, True)
    assert holdfast("registry", "check", "2").code == 2


def test_a_certificate_that_does_not_parse_is_refused_here(holdfast: Holdfast, there: Thread) -> None:
    Path("broken.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    done = submitted(holdfast, "register", "--endpoint", "https://node.example", certificate="broken.pem")
    assert (done.code, "registration.certificate" in done.err) == (1, True)


def test_another_document_is_rotated_and_not_renewed(holdfast: Holdfast, there: Thread) -> None:
    registered(holdfast, there)
    done = submitted(holdfast, "rotate", "1")
    assert (done.code, "registration.predecessor" in done.err) == (1, True)
    assert submitted(holdfast, "attest", "1").code == 0
    new = node_keys(2, predecessor=node_keys().document.digest)
    Path("node.json").write_bytes(new.document.raw)
    Path("node.der").write_bytes(new.certificate)
    Path("evidence").write_bytes(insecure_evidence(new.document))
    done = submitted(holdfast, "attest", "1")
    assert (done.code, "registration.predecessor" in done.err) == (1, True)
    assert submitted(holdfast, "rotate", "1").code == 0
    there.do(there.world.vote(3, (0, 1, 2)))
    shown = json.loads(holdfast("registry", "show", "1", "--json").out)
    assert shown["key_document"] == new.document.digest


# --- a node's life ----------------------------------------------------------------------------------------------------


def test_a_node_is_registered_shown_and_looked_after(holdfast: Holdfast, there: Thread) -> None:
    assert "no node" in holdfast("registry", "list").out
    done = submitted(holdfast, "register", "--endpoint", "https://node.example")
    assert done.out.startswith("node 1 waits for votes")
    there.do(there.world.vote(1, (0, 1)))
    shown = json.loads(holdfast("registry", "show", "1", "--json").out)
    assert (shown["active"], shown["pending"], shown["votes"]["stake_against"]) == (False, 1, 0)
    assert len(shown["votes"]["voters"]) == 2
    assert "votes" in holdfast("registry", "show", "1").out
    there.do(there.world.vote(1, (2,)))
    tee_id = node_keys().tee_id.hex()
    listed = holdfast("registry", "list")
    assert f"active      0x{tee_id}  https://node.example" in listed.out
    there.chain.clock.time += 100
    at = there.world.now - 60
    moment = dt.datetime.fromtimestamp(at, dt.UTC).isoformat()
    done = holdfast("registry", "heartbeat", "--key", "rsa.pem", "--at", moment, *account(1))
    assert (done.code, f"0x{tee_id} beat at" in done.out) == (0, True)
    done = holdfast("registry", "heartbeat", "--key", "rsa.pem", "--at", moment, *account(1))
    assert (done.code, "heartbeat.replayed" in done.err) == (1, True)
    assert holdfast("registry", "endpoint", "1", "https://new.example", *account(3)).code == 0
    assert holdfast("registry", "disable", "1", *account(3)).code == 0
    shown = json.loads(holdfast("registry", "list", "--json").out)["nodes"][0]
    assert (shown["active"], shown["endpoint"]) == (False, "https://new.example")
    assert "not active" in holdfast("registry", "list").out
    assert holdfast("registry", "enable", "1", *account(3)).code == 0
    done = holdfast("registry", "valid", tee_id, "--at", moment)
    assert (done.code, " was valid at " in done.out) == (0, True)
    done = holdfast("registry", "valid", "0x" + "00" * 32, "--at", moment, "--json")
    assert (done.code, json.loads(done.out)["valid"]) == (1, False)
    assert holdfast("registry", "withdraw", "1", *account(3)).code == 0
    assert json.loads(holdfast("registry", "show", "1", "--json").out)["withdrawn_at"] is not None
    done = holdfast("registry", "show", "2")
    assert (done.code, "registry.unknown" in done.err) == (1, True)


def test_roles_act_by_an_account_or_through_a_wallet(holdfast: Holdfast, there: Thread) -> None:
    registered(holdfast, there)
    world = there.world
    done = holdfast("registry", "kind", "2", "data", "3600", "--calldata", "--json")
    told = json.loads(done.out)
    assert told["to"] == world.deployment.registry.contract
    sender: Any = world.client(0)
    there.do(sender._account.transact(told["to"], bytes.fromhex(told["data"][2:])))
    found = there.do(world.client().kind(2))
    assert found is not None
    assert (found.name, found.interval_s) == ("data", 3600)
    assert "data  0x" in holdfast("registry", "offer-role", "guardian", "0x" + "AB" * 20, "--calldata").out
    digest = "ab" * 32
    assert holdfast("registry", "approve", "0x" + digest, "--software", "v2", *account(0)).code == 0
    assert holdfast("registry", "disapprove", digest, *account(4)).code == 0
    measured = there.do(world.client().measurement(GATEWAY_KIND, bytes.fromhex(digest)))
    assert measured is not None
    assert measured.revoked_at > 0
    heir = there.chain.signers[2].address
    assert holdfast("registry", "offer-role", "admin", heir, *account(0)).code == 0
    assert holdfast("registry", "accept-role", "admin", *account(2)).code == 0
    assert there.do(world.client().role("admin")) == heir
    assert holdfast("registry", "revoke", "1", *account(2), "--json").code == 0
    assert json.loads(holdfast("registry", "show", "1", "--json").out)["revoked_at"] is not None


def test_a_registry_is_deployed_for_others_to_hold(holdfast: Holdfast, there: Thread) -> None:
    admin, guardian = there.chain.signers[1].address, there.chain.signers[2].address
    words = ["--chain", "http://127.0.0.1:2", "--rounds", there.chain.domain.contract, *account(0)]
    done = holdfast("registry", "deploy", *words, "--admin", admin, "--guardian", guardian, "--json")
    made = json.loads(done.out)
    place = ["--chain", "http://127.0.0.1:2", "--registry", made["registry"], "--views", made["views"]]
    assert holdfast("registry", "kind", "0", "LLMProxy", str(MAX_AGE_S), *place, *account(0)).code == 1
    assert holdfast("registry", "kind", "0", "LLMProxy", str(MAX_AGE_S), *place, *account(1)).code == 0
    assert "signatures  0x" in holdfast("registry", "deploy", *words, "--admin", admin, "--guardian", guardian).out
