"""OpenGradient's format where the vectors say nothing: the published hashes of the empty text, keys of other kinds, and
what our own signatures look like when they are sent."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from holdfast.core import canonical
from holdfast.core import opengradient as og
from holdfast.core.evm import keccak256
from holdfast.errors import HoldfastError

MESSAGES = [{"role": "user", "content": "hello"}]


def der(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),
        rsa.generate_private_key(3, 2048),
        ec.generate_private_key(ec.SECP256R1()),
    ],
    ids=["1024 bits", "exponent 3", "P-256"],
)
def test_a_key_of_another_kind_is_no_signing_key(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(HoldfastError) as refused:
        og.parse_signing_key(der(key))
    assert refused.value.code == "opengradient.key"


def test_a_signing_key_has_one_spelling() -> None:
    good = der(rsa.generate_private_key(65537, 2048))
    changed = bytearray(good)
    changed[22] ^= 0x80  # the unused bits of the bit string
    og.parse_signing_key(good)
    with pytest.raises(HoldfastError, match="SubjectPublicKeyInfo"):
        og.parse_signing_key(bytes(changed))


@pytest.mark.parametrize("value", [None, 7, "", "0x", "11" * 31, "0X" + "11" * 32, "11" * 32 + "\n", "g1" * 32])
def test_what_is_no_hash_is_refused(value: object) -> None:
    with pytest.raises(HoldfastError) as refused:
        og.parse_hash(value)
    assert refused.value.code == "opengradient.hash"


@pytest.mark.parametrize("value", ["ab" * 32, "0x" + "ab" * 32, "0x" + "AB" * 32])
def test_either_spelling_of_a_hash_is_read(value: str) -> None:
    assert og.parse_hash(value) == b"\xab" * 32


def test_the_published_hashes_of_short_outputs() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    answer = {"choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": calls}}]}
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    text = og.output_text("chat.completions", answer)
    assert keccak256(text.encode()).hex() == "9d4cb0f94da4fd74b23b51b96b06274f1a9b5b79e6c35033e4f14b35a4510167"


def test_a_signature_is_sent_with_the_spellings_of_the_original() -> None:
    signature = og.AnswerSignature(bytes(256), b"\x01" * 32, b"\x02" * 32, 1_700_000_000, b"\x03" * 32)
    sent = signature.to_json()
    assert sent["tee_id"] == "0x" + "03" * 32
    assert (sent["tee_request_hash"], sent["tee_output_hash"]) == ("01" * 32, "02" * 32)
    read = canonical.decode_exact(canonical.encode(dict(sent)))
    assert og.parse_answer_signature(read) == signature
