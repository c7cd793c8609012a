"""What a data node takes from its settings: registries that somebody signed, and credentials that open."""

import pytest

from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wraps_hpke import load_or_create_recipient, seal_credential
from holdfast.core.encoding import b64_encode
from holdfast.core.keys import build_key_document
from holdfast.core.sources import build_signed_registry, parse_registry_toml, registry_message
from holdfast.errors import HoldfastError
from holdfast.nodes.data.__main__ import load_credentials, load_registry
from holdfast.nodes.data.config import CredentialConfig, DataConfig
from holdfast.ports.settings import Secret
from tests.helpers.network import ed25519_signer
from tests.unit.core.test_sources import REGISTRY

SIGNER = ed25519_signer("owner", "statement")


def code_of(call, *arguments):
    with pytest.raises(HoldfastError) as caught:
        call(*arguments)
    return caught.value.code


def written(folder, version):
    registry = parse_registry_toml(REGISTRY.replace("version = 7", f"version = {version}", 1))
    path = folder / "sources.json"
    path.write_bytes(build_signed_registry(registry, SIGNER.key, SIGNER.sign(registry_message(registry))))
    return path


def test_a_registry_goes_forward_and_never_back_also_after_a_restart(tmp_path):
    storage = FileStorage(tmp_path / "state")
    keys = (f"ed25519:{SIGNER.key.public.hex()}",)
    for version in (7, 9):
        config = DataConfig(sources=written(tmp_path, version), sources_keys=keys)
        assert load_registry(config, storage).version == version
    config = DataConfig(sources=written(tmp_path, 8), sources_keys=keys)
    assert code_of(load_registry, config, FileStorage(tmp_path / "state")) == "sources.version"


def test_without_a_key_no_registry_is_taken(tmp_path):
    storage = FileStorage(tmp_path / "state")
    assert code_of(load_registry, DataConfig(sources=written(tmp_path, 7)), storage) == "sources.signature"
    assert code_of(load_registry, DataConfig(sources=tmp_path / "none"), storage) == "data.sources"
    wrong = DataConfig(sources=written(tmp_path, 7), sources_keys=("rsa:00",))
    assert code_of(load_registry, wrong, storage) == "sources.key"


def test_credentials_are_given_or_sealed_to_this_node(tmp_path):
    key = tmp_path / "hpke.pem"
    recipient = load_or_create_recipient(key)
    document = build_key_document("data.test", ["data"], "test", [SIGNER.key, recipient.key])
    sealed = tmp_path / "rates.sealed"
    sealed.write_text(b64_encode(seal_credential(recipient.key.public, "rates-key", b"hunter2")) + "\n")
    plain = CredentialConfig("plain", Secret("x", "env:X"))
    given = CredentialConfig("rates-key", None, sealed)
    found = load_credentials(DataConfig(hpke_key=key, credentials=(plain, given)), document)
    assert {name: secret.reveal() for name, secret in found.items()} == {"plain": "x", "rates-key": "hunter2"}
    assert "hunter2" not in repr(found)
    moved = CredentialConfig("other-key", None, sealed)
    assert code_of(load_credentials, DataConfig(hpke_key=key, credentials=(moved,)), document) == "credential.open"
    assert code_of(load_credentials, DataConfig(credentials=(given,)), document) == "data.credential"
    both = CredentialConfig("rates-key", Secret("x", "env:X"), sealed)
    assert code_of(load_credentials, DataConfig(hpke_key=key, credentials=(both,)), document) == "data.credential"
    stranger = build_key_document("data.test", ["data"], "test", [SIGNER.key])
    assert code_of(load_credentials, DataConfig(hpke_key=key), stranger) == "data.key_document"
