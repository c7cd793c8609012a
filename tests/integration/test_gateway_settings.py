"""Settings that a gateway refuses to start with: what it names in bundles has to be nameable there."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from holdfast.adapters.signer_rsa import load_or_create_rsa_signer
from holdfast.adapters.signer_secp256k1 import load_or_create_signer as load_or_create_account
from holdfast.adapters.tls_files import load_or_create_certificate
from holdfast.errors import HoldfastError, UsageError
from holdfast.nodes.gateway.__main__ import build
from holdfast.nodes.gateway.config import FullNodeReader
from tests.helpers.live_gateway import make_state, settings

CONTRACT = "0x" + "11" * 20


@pytest.mark.parametrize("names", [["Full 1"], ["full-1", "full-1"], [""], [f"full-{number}" for number in range(65)]])
def test_full_nodes_without_a_usable_name_of_their_own_are_refused(tmp_path: Path, names: list[str]) -> None:
    nodes = tuple(FullNodeReader(name, "http://127.0.0.1:9") for name in names)
    with pytest.raises(UsageError) as caught:
        build(settings(make_state(tmp_path), full_nodes=nodes))
    assert caught.value.code == "gateway.full_node"
    assert "full-1" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"tls_certificate": "other.pem"}, "gateway.tls"),
        ({"opengradient_key": "other.rsa.pem"}, "gateway.key"),
        ({"registry": CONTRACT, "registry_account": "account.key"}, "gateway.registry"),
        ({"registry_account": "account.key", "endpoint": "https://gateway.test"}, "gateway.registry"),
        ({"heartbeat_facilitator": "https://facilitator.test"}, "gateway.registry"),
        ({"asks": CONTRACT}, "gateway.asks"),
        ({"asks": CONTRACT, "asks_account": "account.key", "asks_fee": "1,5"}, "gateway.asks"),
        ({"asks": "0xABC", "asks_account": "account.key"}, "evm.address"),
        ({"heartbeat_facilitator": "https://facilitator.test", "registry": "0xABC"}, "evm.address"),
        (
            {"heartbeat_facilitator": "https://facilitator.test", "registry": CONTRACT, "opengradient_key": None},
            "gateway.registry",
        ),
    ],
)
def test_what_the_key_document_does_not_name_or_the_registry_needs_is_refused(
    tmp_path: Path, change: dict[str, str | None], code: str
) -> None:
    layout = make_state(tmp_path / "state")
    load_or_create_certificate(tmp_path / "other.key", tmp_path / "other.pem", ["a"], dt.datetime.now(dt.UTC))
    load_or_create_rsa_signer(tmp_path / "other.rsa.pem")
    load_or_create_account(tmp_path / "account.key", "account")
    files = {
        name: tmp_path / value
        for name, value in change.items()
        if value is not None and "." in value and "/" not in value
    }
    with pytest.raises(HoldfastError) as caught:
        build(settings(layout, **({"enclave": "none", "enclave_root": None} | change | files)))
    assert caught.value.code == code
