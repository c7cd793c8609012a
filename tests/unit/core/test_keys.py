"""Key documents: one use per key, one key per use, and each use with the algorithms that fit it."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.core import canonical
from holdfast.core.encoding import b64_encode, sha256_hex
from holdfast.core.keys import (
    KEY_DOCUMENT_TYPE,
    MAX_KEY_DOCUMENT_BYTES,
    PublicKey,
    build_key_document,
    parse_key_document,
    verify_signature,
)
from holdfast.errors import MalformedError, RefusedError
from tests.helpers.network import ed25519_signer, p256_signer

ED = ed25519_signer("keys", "statement")
LOG = ed25519_signer("keys", "log")
VOTE = Secp256k1Signer(hashlib.sha256(b"keys/vote").digest())
P256 = p256_signer("keys", "statement")


def document(**changes):
    value = {
        "type": KEY_DOCUMENT_TYPE,
        "name": "node-1.example",
        "roles": ["gateway"],
        "software": "",
        "keys": [ED.key.to_json()],
    }
    return canonical.encode(value | changes)


def refusal(**changes):
    with pytest.raises(MalformedError) as refused:
        parse_key_document(document(**changes))
    return refused.value.code


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", ".a", "a.", "a b", "a+b", "a\n", "é", "a" * 64, None, 1, ["a"]])
def test_a_name_is_lower_case_letters_digits_dots_and_hyphens(name):
    assert refusal(name=name) == "keys.name"


@pytest.mark.parametrize("name", ["a", "0", "a" * 63, "a.b-c"])
def test_names_that_pass(name):
    assert parse_key_document(document(name=name)).name == name


@pytest.mark.parametrize(
    "roles", [[], ["log", "gateway"], ["log", "log"], ["king"], "gateway", [1], [["gateway"]], None, {"gateway": 1}]
)
def test_roles_are_sorted_distinct_and_known(roles):
    assert refusal(roles=roles) == "keys.roles"


@pytest.mark.parametrize("software", ["x" * 129, None, 1, ["x"]])
def test_software_is_a_short_string(software):
    assert refusal(software=software) == "keys.software"


@pytest.mark.parametrize("keys", [[], {}, "x", None])
def test_a_document_lists_at_least_one_key(keys):
    assert refusal(keys=keys) == "keys.fields"


@pytest.mark.parametrize(
    "key",
    [None, "x", [], {}, {"use": "log", "algorithm": "ed25519"}, {**ED.key.to_json(), "more": 1}],
)
def test_a_key_has_exactly_its_members(key):
    assert refusal(keys=[key]) == "keys.fields"


@pytest.mark.parametrize("use", ["root", "", None, 1, ["log"], {"log": 1}])
def test_an_unknown_use_is_refused(use):
    assert refusal(keys=[{**ED.key.to_json(), "use": use}]) == "keys.use"


@pytest.mark.parametrize("algorithm", ["rsa", "", None, 1, ["ed25519"], {"ed25519": 1}])
def test_an_unknown_algorithm_is_refused_whatever_its_type(algorithm):
    assert refusal(keys=[{**ED.key.to_json(), "algorithm": algorithm}]) == "keys.algorithm"


@pytest.mark.parametrize(
    ("use", "key"),
    [
        ("statement", VOTE.key),
        ("log", P256.key),
        ("log", VOTE.key),
        ("cosignature", P256.key),
        ("cosignature", VOTE.key),
        ("vote", ED.key),
        ("vote", P256.key),
    ],
)
def test_a_use_has_the_algorithms_that_fit_it(use, key):
    assert refusal(keys=[{**key.to_json(), "use": use}]) == "keys.algorithm"


def test_a_vote_key_is_a_point():
    key = {"use": "vote", "algorithm": "secp256k1", "public": b64_encode(b"\x02" + b"\xff" * 32)}
    assert refusal(keys=[key]) == "evm.public_key"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_has_its_algorithms_size(size):
    assert refusal(keys=[{**ED.key.to_json(), "public": b64_encode(bytes(size))}]) == "encoding.base64"


def test_two_keys_for_one_use_are_refused():
    assert refusal(keys=[ED.key.to_json(), P256.key.to_json()]) == "keys.use"


def test_one_key_for_two_uses_is_refused():
    both = [ED.key.to_json(), {**ED.key.to_json(), "use": "log"}]
    assert refusal(keys=both) == "keys.use"


@pytest.mark.parametrize("other", ["urn:holdfast:key-document:v2", "", None])
def test_another_type_is_refused(other):
    assert refusal(type=other) == "keys.fields"


def test_an_unknown_member_is_refused():
    assert refusal(trusted=True) == "keys.fields"


def test_a_document_that_is_too_large_is_refused_unread():
    with pytest.raises(MalformedError) as refused:
        parse_key_document(b"x" * (MAX_KEY_DOCUMENT_BYTES + 1))
    assert refused.value.code == "keys.size"


def test_a_document_is_its_bytes():
    made = build_key_document("n", ["log", "gateway", "log"], "s", [ED.key, LOG.key, VOTE.key])
    assert made == parse_key_document(made.raw)
    assert made.digest == sha256_hex(made.raw)
    assert made.roles == ("gateway", "log")
    assert made.key_for("statement") == ED.key
    assert made.key_for("cosignature") is None
    assert made.key_by_id(LOG.key.key_id) == LOG.key
    assert made.key_by_id("00" * 32) is None


def test_a_key_id_tells_algorithms_apart():
    assert PublicKey("statement", "p256", b"\x02" * 33).key_id != PublicKey("vote", "secp256k1", b"\x02" * 33).key_id


@pytest.mark.parametrize("signer", [ED, P256], ids=["ed25519", "p256"])
def test_a_signature_is_for_one_message_and_one_key(signer):
    signature = signer.sign(b"message")
    verify_signature(signer.key, b"message", signature)
    other = ed25519_signer("other", "statement") if signer is ED else p256_signer("other", "statement")
    for key, message, given in [
        (signer.key, b"messagf", signature),
        (other.key, b"message", signature),
        (signer.key, b"message", signature[:-1]),
        (signer.key, b"message", signature + b"\x00"),
        (signer.key, b"message", b""),
        (signer.key, b"message", bytes(64)),
        (signer.key, b"message", b"\xff" * 64),
    ]:
        with pytest.raises(RefusedError) as refused:
            verify_signature(key, message, given)
        assert refused.value.code == "signature.invalid"


def test_a_p256_key_that_is_no_point_verifies_nothing():
    with pytest.raises(RefusedError) as refused:
        verify_signature(PublicKey("statement", "p256", b"\x02" + b"\xff" * 32), b"m", bytes(64))
    assert refused.value.code == "signature.invalid"


def test_a_vote_key_signs_no_statement():
    with pytest.raises(RefusedError, match="secp256k1 keys make no such signature"):
        verify_signature(VOTE.key, b"m", bytes(64))


@pytest.mark.parametrize(("left", "right"), [(ED, P256), (P256, ED)])
def test_a_signature_of_one_algorithm_is_none_of_the_other(left, right):
    with pytest.raises(RefusedError):
        verify_signature(left.key, b"m", right.sign(b"m"))


# What else is the node's own


CONFIGURATION = bytes([1, 0, 32]) + bytes(32) + bytes([0, 4, 0, 1, 0, 3])
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def spki(key):
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("name", ["tls", "predecessor"])
@pytest.mark.parametrize("value", ["", "ab", "AB" * 32, "0x" + "ab" * 31, 1, ["ab" * 32]])
def test_digests_in_a_key_document_are_sha_256_in_hex(name, value):
    assert refusal(**{name: value}) == f"keys.{name}"


@pytest.mark.parametrize("value", ["0x", "ab" * 20, "0x" + "AB" * 20, "0x" + "ab" * 19, 1, {}])
def test_a_payment_address_has_one_spelling(value):
    assert refusal(payment=value) == "keys.payment"


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        "",
        [1],
        ["=="],
        [b64_encode(CONFIGURATION[:-1])],
        [b64_encode(CONFIGURATION + bytes(600))],
        [b64_encode(CONFIGURATION)] * 2,
        [b64_encode(bytes([number]) + CONFIGURATION[1:]) for number in range(9)],
    ],
)
def test_key_configurations_are_a_short_list_with_ids_of_their_own(value):
    assert refusal(ohttp=value) == "keys.ohttp"


@pytest.mark.parametrize("name", ["tls", "ohttp", "payment", "predecessor"])
def test_a_member_that_says_nothing_is_left_out(name):
    assert refusal(**{name: None}) == "keys.fields"


def rsa_entry(public):
    return {"use": "opengradient", "algorithm": "rsa2048", "public": b64_encode(public)}


def test_an_opengradient_key_is_rsa_2048_with_65537_in_der():
    good = spki(RSA)
    assert parse_key_document(document(keys=[ED.key.to_json(), rsa_entry(good)])).key_for("opengradient") is not None
    for place in (0, 10, 32, 33, 289, 293):
        bent = bytearray(good)
        bent[place] ^= 0xFF if place != 33 else 0x80
        assert refusal(keys=[rsa_entry(bytes(bent))]) == "keys.algorithm", place
    even = bytearray(good)
    even[-6] &= 0xFE
    assert refusal(keys=[rsa_entry(bytes(even))]) == "keys.algorithm"
    assert refusal(keys=[{**rsa_entry(good), "use": "statement"}]) == "keys.algorithm"


def test_a_document_says_what_else_is_the_nodes_own():
    made = build_key_document(
        "n",
        ["gateway"],
        "s",
        [ED.key],
        tls="ab" * 32,
        ohttp=[CONFIGURATION],
        payment="0x" + "cd" * 20,
        predecessor="ef" * 32,
    )
    assert made == parse_key_document(made.raw)
    assert (made.tls, made.ohttp, made.payment) == ("ab" * 32, (CONFIGURATION,), "0x" + "cd" * 20)
    assert made.predecessor == "ef" * 32
    assert made.ohttp_keys == len(CONFIGURATION).to_bytes(2) + CONFIGURATION
    assert made.ohttp_digest == hashlib.sha256(made.ohttp_keys).digest()


def test_a_document_without_them_reads_as_before():
    made = build_key_document("n", ["gateway"], "s", [ED.key])
    assert set(canonical.decode_signed(made.raw)) == {"type", "name", "roles", "software", "keys"}
    assert (made.tls, made.ohttp, made.payment, made.predecessor) == (None, (), None, None)
    assert made.ohttp_digest is None
