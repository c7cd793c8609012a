"""secp256k1 keys in files: careless copies and wrong content are refused; signatures recover to the key's address."""

from pathlib import Path

import pytest

from holdfast.adapters.signer_secp256k1 import Secp256k1Signer, load_or_create_signer, load_signer
from holdfast.core import evm
from holdfast.errors import HoldfastError
from holdfast.ports.signer import Signer

DIGEST = evm.keccak256(b"something")


def code(path: Path) -> str:
    with pytest.raises(HoldfastError) as caught:
        load_signer(path)
    return caught.value.code


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o601])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "vote.key"
    load_or_create_signer(path)
    path.chmod(mode)
    assert code(path) == "signer.permissions"


@pytest.mark.parametrize("text", ["", "11" * 31, "zz" * 32, "00" * 32, "ff" * 32, "é"])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "vote.key"
    path.write_text(text)
    path.chmod(0o600)
    assert code(path) == "signer.key"


def test_a_missing_file_or_folder_is_an_unavailable_key(tmp_path: Path) -> None:
    assert code(tmp_path / "none.key") == "signer.file"
    (tmp_path / "file").touch()
    with pytest.raises(HoldfastError) as caught:
        load_or_create_signer(tmp_path / "file" / "vote.key")
    assert caught.value.code == "signer.file"


def test_only_a_32_byte_digest_is_signed() -> None:
    for message in (b"", bytes(31), bytes(33)):
        with pytest.raises(HoldfastError) as caught:
            Secp256k1Signer(bytes([1]) * 32).sign(message)
        assert caught.value.code == "signer.digest"


def test_a_key_is_made_once_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "vote.key"
    first, second = load_or_create_signer(path), load_or_create_signer(path)
    assert first.address == second.address
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in path.parent.iterdir()) == ["vote.key"]
    prefixed = tmp_path / "prefixed.key"
    prefixed.write_text("0x" + path.read_text())
    prefixed.chmod(0o600)
    assert load_signer(prefixed).address == first.address


def test_a_signature_recovers_to_the_address_and_is_deterministic() -> None:
    signer = Secp256k1Signer(bytes([7]) * 32)
    shown: Signer = signer
    assert evm.recover(DIGEST, signer.sign(DIGEST)) == signer.address == evm.address_of(shown.key.public)
    assert signer.sign(DIGEST) == signer.sign(DIGEST)
    assert (signer.key.use, signer.key.algorithm, len(signer.key.public)) == ("vote", "secp256k1", 33)


def test_a_signer_does_not_show_its_key() -> None:
    signer = Secp256k1Signer(bytes([7]) * 32)
    assert "0707" not in repr(signer)
    assert signer.address in repr(signer)
