"""Artifacts: manifests that OpenSSF Model Signing reads and writes, and files held against one (``artifacts.md``)."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.artifacts import (
    MAX_FILES,
    MAX_SIGNATURE_BYTES,
    build_manifest,
    build_model_signature,
    check_name,
    declared_artifact,
    key_hint,
    key_pem,
    manifest_payload,
    order_of,
    parse_manifest,
    parse_model_signature,
    verify_files,
    verify_model_signature,
)
from holdfast.core.keys import PublicKey
from holdfast.core.statements import pre_authentication_encoding
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from tests.helpers.network import ed25519_signer, p256_signer

HUB, OTHER = p256_signer("hub", "statement"), p256_signer("other", "statement")
FILES = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("config.json", "w/a.bin", "w.bin")}
MANIFEST = build_manifest("risk", FILES)
THEIR_KEY = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEQBqjbuB064D7w4pR9BlodcKu0vgF
a2i/MQW/Yz3GKcXhSJlSniMXg8NZHFBZT7oR6Xpy7IykVT7vUtFco8RPiQ==
-----END PUBLIC KEY-----
"""
THEIR_SIGNATURE = (
    b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"h'
    b'int":"3a1d8c6afa8426484ca84605e4d515e7650934ee444fba9a7d13f7157235012a"},"tlogEntries":[]},"dsseEnve'
    b'lope":{"payload":"ewogICJfdHlwZSI6ICJodHRwczovL2luLXRvdG8uaW8vU3RhdGVtZW50L3YxIiwKICAic3ViamVjdCI6IF'
    b"sKICAgIHsKICAgICAgIm5hbWUiOiAibSIsCiAgICAgICJkaWdlc3QiOiB7CiAgICAgICAgInNoYTI1NiI6ICIyMTQzZThhZjM0Yj"
    b"dkMzRjN2EzZjA2OGZhNjQ4YzliMTAwNDc5MWJkZjc3MjVhYTI0Yzc0MzdmNWFlOGNiNzlmIgogICAgICB9CiAgICB9CiAgXSwKIC"
    b"AicHJlZGljYXRlVHlwZSI6ICJodHRwczovL21vZGVsX3NpZ25pbmcvc2lnbmF0dXJlL3YxLjAiLAogICJwcmVkaWNhdGUiOiB7Ci"
    b"AgICAic2VyaWFsaXphdGlvbiI6IHsKICAgICAgImlnbm9yZV9wYXRocyI6IFsKICAgICAgICAiLmdpdCIsCiAgICAgICAgIi5naX"
    b"RodWIiLAogICAgICAgICIuZ2l0YXR0cmlidXRlcyIsCiAgICAgICAgIi5naXRpZ25vcmUiCiAgICAgIF0sCiAgICAgICJtZXRob2"
    b"QiOiAiZmlsZXMiLAogICAgICAiaGFzaF90eXBlIjogInNoYTI1NiIsCiAgICAgICJhbGxvd19zeW1saW5rcyI6IGZhbHNlCiAgIC"
    b"B9LAogICAgInJlc291cmNlcyI6IFsKICAgICAgewogICAgICAgICJuYW1lIjogImIudHh0IiwKICAgICAgICAiYWxnb3JpdGhtIj"
    b"ogInNoYTI1NiIsCiAgICAgICAgImRpZ2VzdCI6ICI4NzQyOGZjNTIyODAzZDMxMDY1ZTdiY2UzY2YwM2ZlNDc1MDk2NjMxZTVlMD"
    b"diYmQ3YTBmZGU2MGM0Y2YyNWM3IgogICAgICB9LAogICAgICB7CiAgICAgICAgIm5hbWUiOiAiZC94IiwKICAgICAgICAiYWxnb3"
    b"JpdGhtIjogInNoYTI1NiIsCiAgICAgICAgImRpZ2VzdCI6ICJhM2E1ZTcxNWYwY2M1NzRhNzNjM2Y5YmViYjZiYzI0ZjMyZmZkNW"
    b'I2N2IzODcyNDRjMmM5MDlkYTc3OWExNDc4IgogICAgICB9CiAgICBdCiAgfQp9","payloadType":"application/vnd.in-to'
    b'to+json","signatures":[{"sig":"MEUCIQCowXQKjfsbWhT5mwAOZZm7VNkZpcguD4SVxmRoFsKUGgIgWxgnAQ819gtj1RViL'
    b'mX1L9Lpwxys3ZsB97HPn+KJw8I=","keyid":""}]}}'
)
"""Made by ``model_signing sign key`` (model-signing 1.1.1) over a folder ``m`` with ``b.txt`` and ``d/x``."""


def sign(payload, signer=HUB):
    return build_model_signature(payload, signer.key, signer.sign(pre_authentication_encoding(payload)))


def their_key():
    key = serialization.load_pem_public_key(THEIR_KEY)
    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    return PublicKey("statement", "p256", point)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"config.json": None}, "artifact.missing"),
        ({"hook.py": "11" * 32}, "artifact.extra"),
        ({"w.bin": "11" * 32}, "artifact.digest"),
    ],
)
def test_a_file_that_is_not_the_manifests_is_refused_by_its_name(change, code):
    found = {name: digest for name, digest in (FILES | change).items() if digest}
    with pytest.raises(RefusedError) as caught:
        verify_files(MANIFEST, found)
    assert caught.value.code == code
    assert caught.value.param in change
    assert caught.value.param in caught.value.message


def test_files_that_are_the_manifests_pass():
    verify_files(MANIFEST, FILES)


@pytest.mark.parametrize(
    "name", ["", "a//b", "/a", "a/", ".", "..", "a/../b", "a\\b", "c:a", "a\nb", "a\u202eb", "e\u0301"]
)
def test_names_that_mean_something_else_somewhere_are_refused(name):
    with pytest.raises(MalformedError) as caught:
        check_name(name)
    assert caught.value.code == "artifact.name"


@pytest.mark.parametrize("names", [("A", "a"), ("a", "a/b"), ("D/x", "d"), ("d/a", "D/b"), ("straße", "strasse")])
def test_names_that_are_one_somewhere_are_refused(names):
    with pytest.raises(MalformedError) as caught:
        build_manifest("risk", dict.fromkeys(names, "11" * 32))
    assert caught.value.code == "artifact.name"


@pytest.mark.parametrize(("model", "count", "code"), [("", 1, "artifact.model"), ("m\n", 1, "artifact.model"),
                                                      ("m" * 129, 1, "artifact.model"), ("m", 0, "artifact.files"),
                                                      ("m", MAX_FILES + 1, "artifact.files")])  # fmt: skip
def test_a_manifest_is_of_a_model_with_files(model, count, code):
    with pytest.raises(MalformedError) as caught:
        build_manifest(model, {f"{number}": "11" * 32 for number in range(count)})
    assert caught.value.code == code


def test_files_are_ordered_by_the_parts_of_their_names():
    assert [file.name for file in MANIFEST.files] == ["config.json", "w/a.bin", "w.bin"]


def test_the_artifact_is_its_files_and_their_names_alone():
    assert build_manifest("other", FILES).artifact == MANIFEST.artifact
    renamed = {"settings.json" if name == "config.json" else name: digest for name, digest in FILES.items()}
    assert min(renamed, key=order_of) == "settings.json"
    assert build_manifest("risk", renamed).root == MANIFEST.root
    assert build_manifest("risk", renamed).artifact != MANIFEST.artifact


def test_a_signed_manifest_is_read_back():
    signed = parse_model_signature(sign(manifest_payload(MANIFEST)))
    assert verify_model_signature(signed, HUB.key) == MANIFEST == parse_manifest(signed.payload)


def test_a_manifest_that_their_tool_signed_is_read():
    signed = parse_model_signature(THEIR_SIGNATURE)
    found = verify_model_signature(signed, their_key())
    assert [(file.name, file.digest[:8]) for file in found.files] == [("b.txt", "87428fc5"), ("d/x", "a3a5e715")]
    assert build_manifest("renamed", {file.name: file.digest for file in found.files}).artifact == found.artifact
    assert key_pem(their_key()) == THEIR_KEY


def test_another_key_is_refused():
    raw = sign(manifest_payload(MANIFEST), OTHER)
    with pytest.raises(RefusedError) as caught:
        verify_model_signature(parse_model_signature(raw), HUB.key)
    assert caught.value.code == "artifact.key"
    forged = raw.replace(key_hint(OTHER.key).encode(), key_hint(HUB.key).encode())
    with pytest.raises(RefusedError) as caught:
        verify_model_signature(parse_model_signature(forged), HUB.key)
    assert caught.value.code == "signature.invalid"


def test_only_p256_keys_sign_manifests():
    with pytest.raises(UsageError) as caught:
        key_hint(ed25519_signer("hub", "statement").key)
    assert caught.value.code == "artifact.key"


def test_a_bundle_is_bounded():
    with pytest.raises(MalformedError) as caught:
        parse_model_signature(b" " * (MAX_SIGNATURE_BYTES + 1))
    assert caught.value.code == "artifact.size"


SIGNED = sign(manifest_payload(MANIFEST))
"""Made once: another signature of the same may be a byte shorter."""


@given(st.data())
def test_no_altered_bit_passes(data):
    raw = bytearray(SIGNED)
    place = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[place // 8] ^= 1 << place % 8
    try:
        found = verify_model_signature(parse_model_signature(bytes(raw)), HUB.key)
    except HoldfastError:
        return
    assert found == MANIFEST  # what changed is no part of what is signed, like the spelling of an empty list


@given(st.binary(max_size=300))
def test_any_bytes_give_only_our_errors(raw):
    for read in (parse_model_signature, parse_manifest):
        with pytest.raises(HoldfastError):
            read(raw)


def test_a_declared_artifact_is_what_a_provider_says():
    one = declared_artifact("stub", "small-1", "fp_1")
    assert one != declared_artifact("stub", "small-1", None)
    assert one == declared_artifact("stub", "small-1", "fp_1")


def test_their_key_is_on_the_curve():
    assert isinstance(serialization.load_pem_public_key(THEIR_KEY).curve, ec.SECP256R1)
