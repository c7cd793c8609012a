"""Keys in files: refused when readable by others, made once, and good for signatures that core accepts."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast.adapters.signer_files import load_or_create_signer, load_signer
from holdfast.core.keys import verify_signature
from holdfast.errors import RefusedError, UnavailableError, UsageError


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o660, 0o601])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    load_or_create_signer(path, "statement")
    path.chmod(mode)
    with pytest.raises(UsageError) as caught:
        load_signer(path, "statement")
    assert caught.value.code == "signer.permissions"
    assert "chmod 600" in caught.value.hint


def test_a_missing_key_is_not_made_by_loading(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        load_signer(tmp_path / "none", "statement")
    assert caught.value.code == "signer.file"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data", [b"", b"-----BEGIN PRIVATE KEY-----\n", b"\xff\x00" * 32], ids=["empty", "cut", "noise"]
)
def test_bytes_that_are_no_key_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(UsageError) as caught:
        load_signer(path, "statement")
    assert caught.value.code == "signer.key"


def test_a_key_on_another_curve_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    pem = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem)
    path.chmod(0o600)
    with pytest.raises(UsageError) as caught:
        load_signer(path, "statement")
    assert caught.value.code == "signer.key"


def test_an_unknown_algorithm_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_or_create_signer(tmp_path / "key", "vote", "secp256k1")
    assert caught.value.code == "signer.algorithm"
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_the_other_algorithm_is_refused(tmp_path: Path) -> None:
    load_or_create_signer(tmp_path / "key", "statement", "p256")
    with pytest.raises(UsageError) as caught:
        load_or_create_signer(tmp_path / "key", "statement", "ed25519")
    assert caught.value.code == "signer.algorithm"


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError) as caught:
        load_or_create_signer(tmp_path / "file" / "key", "statement")
    assert caught.value.code == "signer.file"


@pytest.mark.parametrize("algorithm", ["ed25519", "p256"])
def test_a_key_is_made_once_private_and_signs(tmp_path: Path, algorithm: str) -> None:
    path = tmp_path / "keys" / "statement.pem"
    first = load_or_create_signer(path, "statement", algorithm)
    again = load_or_create_signer(path, "statement", algorithm)
    assert first.key == again.key
    assert (first.key.use, first.key.algorithm) == ("statement", algorithm)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["statement.pem"]
    signature = first.sign(b"message")
    assert len(signature) == 64
    verify_signature(again.key, b"message", signature)
    with pytest.raises(RefusedError):
        verify_signature(again.key, b"massage", signature)


def test_racing_creators_end_with_one_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    found: list[bytes] = []
    gate = threading.Barrier(8)

    def create() -> None:
        gate.wait()
        found.append(load_or_create_signer(path, "log").key.public)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


def test_a_signer_does_not_show_its_key(tmp_path: Path) -> None:
    signer = load_or_create_signer(tmp_path / "key", "log")
    assert "PRIVATE" not in repr(signer)
    assert not hasattr(signer, "__dict__")
