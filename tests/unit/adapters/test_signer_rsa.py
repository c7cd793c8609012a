"""RSA keys in files: what is no such key is refused, and what one signs verifies."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from holdfast.adapters.key_files import create_private_key
from holdfast.adapters.signer_rsa import load_or_create_rsa_signer, load_rsa_signer
from holdfast.core.keys import build_key_document
from holdfast.core.opengradient import verify_hash
from holdfast.errors import HoldfastError


@pytest.mark.parametrize(
    "private",
    [
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 1024),
        rsa.generate_private_key(3, 2048),
    ],
    ids=["Ed25519", "1024 bits", "exponent 3"],
)
def test_a_key_of_another_kind_is_refused(tmp_path: Path, private: rsa.RSAPrivateKey) -> None:
    create_private_key(tmp_path / "key.pem", private)
    with pytest.raises(HoldfastError, match="no RSA key of 2048 bits") as refused:
        load_rsa_signer(tmp_path / "key.pem")
    assert refused.value.code == "signer.key"


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_or_create_rsa_signer(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o640)
    with pytest.raises(HoldfastError) as refused:
        load_rsa_signer(tmp_path / "key.pem")
    assert refused.value.code == "signer.permissions"


def test_a_missing_key_is_not_made_by_loading(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError) as refused:
        load_rsa_signer(tmp_path / "key.pem")
    assert refused.value.code == "signer.file"
    assert not list(tmp_path.iterdir())


def test_what_it_signs_verifies_and_it_stays_the_same_key(tmp_path: Path) -> None:
    signer = load_or_create_rsa_signer(tmp_path / "key.pem")
    verify_hash(signer.key.public, b"\x01" * 32, signer.sign(b"\x01" * 32))
    assert load_or_create_rsa_signer(tmp_path / "key.pem").key == signer.key
    document = build_key_document("gateway.test", ["gateway"], "test", [signer.key])
    assert document.key_for("opengradient") == signer.key
