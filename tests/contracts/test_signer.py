"""The signer port: whatever holds the key, core accepts its signatures and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.adapters.signer_files import load_or_create_signer
from holdfast.core.keys import ALGORITHM_SIZES, verify_signature
from holdfast.errors import RefusedError
from holdfast.ports.signer import Signer


@pytest.fixture(params=["ed25519", "p256"])
def signer(request: pytest.FixtureRequest, tmp_path: Path) -> Signer:
    return load_or_create_signer(tmp_path / "key.pem", "statement", request.param)


def test_a_changed_message_or_signature_is_refused(signer: Signer) -> None:
    signature = signer.sign(b"message")
    wrong = bytes([signature[0] ^ 1]) + signature[1:]
    for message, bytes_ in (
        (b"other", signature),
        (b"message", wrong),
        (b"message", signature[:-1]),
        (b"message", b""),
    ):
        with pytest.raises(RefusedError) as caught:
            verify_signature(signer.key, message, bytes_)
        assert caught.value.code == "signature.invalid"


def test_a_signature_verifies_under_the_shown_key(signer: Signer) -> None:
    for message in (b"", b"message", b"x" * 100_000):
        verify_signature(signer.key, message, signer.sign(message))


def test_the_key_names_its_use_and_has_its_algorithm_size(signer: Signer) -> None:
    assert signer.key.use == "statement"
    assert len(signer.key.public) == ALGORITHM_SIZES[signer.key.algorithm]
