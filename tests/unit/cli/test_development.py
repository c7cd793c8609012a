"""A development network's folder: what is made for a new one, and that an older gateway stays who it is."""

from __future__ import annotations

from pathlib import Path

from holdfast.adapters.payment_contracts import TEST_TOKEN, TestToken, token_code
from holdfast.adapters.signer_files import load_or_create_signer
from holdfast.cli import development
from holdfast.cli.development import FACILITATOR, GATEWAY_TLS, OPENGRADIENT_KEY, OPENGRADIENT_WORKSPACE, Layout
from holdfast.core import x402
from holdfast.core.keys import build_key_document
from holdfast.nodes.chain.service import load_genesis


def test_a_folder_whose_gateway_is_older_keeps_its_identity_and_gets_no_new_surface(tmp_path: Path) -> None:
    layout = Layout(tmp_path, 9000)
    statement = load_or_create_signer(layout.key("gateway.statement.pem"), "statement")
    old = build_key_document("gateway.holdfast.local", ["gateway"], "holdfast/0", [statement.key])
    development.write_private(layout.key("gateway.json"), old.raw)
    keys = development.make_keys(layout)
    assert keys.documents["gateway"] == old
    assert not development.speaks_opengradient(old)
    settings = development.settings_of(layout, keys)["gateway"]
    assert not {"opengradient_key", "listen_tls", "tls_certificate", "tls_key", "registry_account"} & settings.keys()
    assert development.network_json(layout)["gateway_tls"] is None


def test_a_new_gateway_names_its_keys_and_takes_the_placeholder_of_opengradients_clients(tmp_path: Path) -> None:
    layout = Layout(tmp_path, 9000)
    keys = development.make_keys(layout)
    document = keys.documents["gateway"]
    assert development.speaks_opengradient(document)
    assert document.payment == keys.gateway_account
    settings = development.settings_of(layout, keys)["gateway"]
    assert settings["listen_tls"] == f"127.0.0.1:{layout.port(GATEWAY_TLS)}"
    [workspace] = [item for item in settings["workspaces"] if item["name"] == OPENGRADIENT_WORKSPACE]
    assert Path(workspace["key"].removeprefix("file:")).read_text().strip() == OPENGRADIENT_KEY
    assert development.network_json(layout)["gateway_tls"] == f"https://127.0.0.1:{layout.port(GATEWAY_TLS)}"
    assert development.make_keys(layout).documents == keys.documents


def test_a_gateway_registers_once_there_is_a_registry(tmp_path: Path) -> None:
    layout = Layout(tmp_path, 9000)
    keys = development.make_keys(layout)
    assert "registry" not in development.settings_of(layout, keys)["gateway"]
    development.write_private(tmp_path / development.REGISTRY_FILE, b'{"registry":"0x%s"}' % (b"11" * 20))
    settings = development.settings_of(layout, keys)["gateway"]
    assert (settings["registry"], settings["endpoint"]) == (
        "0x" + "11" * 20,
        f"https://127.0.0.1:{layout.port(GATEWAY_TLS)}",
    )


def test_a_new_chain_begins_with_the_payment_contracts_and_an_old_one_stays_as_it_is(tmp_path: Path) -> None:
    old, new = Layout(tmp_path / "old", 9000), Layout(tmp_path / "new", 9000)
    (old.state / "chain").mkdir(parents=True)
    for layout, pays in ((old, False), (new, True)):
        keys = development.make_keys(layout)
        development.make_genesis(layout, keys)
        settings = development.settings_of(layout, keys)
        assert layout.pays is pays
        assert ("genesis" in settings["chain"]) is pays
        assert (FACILITATOR in settings) is pays
        assert (development.network_json(layout)["facilitator"] is not None) is pays
    genesis = new.state / development.GENESIS_FILE
    accounts, before = load_genesis(genesis.read_bytes()), genesis.read_bytes()
    assert accounts[x402.UPTO_PROXY].code
    assert accounts[keys.facilitator_account].balance == development.PAYMENT_COIN
    assert accounts[TEST_TOKEN].code == token_code(TestToken(keys.faucet))
    (new.state / "chain").mkdir()
    development.make_genesis(new, keys)
    assert genesis.read_bytes() == before


def test_the_facilitator_relays_heartbeats_once_there_is_a_registry(tmp_path: Path) -> None:
    layout = Layout(tmp_path, 9000)
    keys = development.make_keys(layout)
    development.make_genesis(layout, keys)
    assert "registry" not in development.settings_of(layout, keys)[FACILITATOR]["networks"][0]
    development.write_private(tmp_path / development.REGISTRY_FILE, b'{"registry":"0x%s"}' % (b"11" * 20))
    assert development.settings_of(layout, keys)[FACILITATOR]["networks"][0]["registry"] == "0x" + "11" * 20
