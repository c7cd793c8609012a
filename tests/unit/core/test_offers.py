"""Signed offers and receipts of x402, in its published form (``payments.md`` §9)."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import replace

import pytest
from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.core import canonical, evm
from holdfast.core.offers import (
    MAX_JWS_CHARACTERS,
    Offer,
    Receipt,
    build_jws,
    build_typed,
    jws_input,
    key_id_of,
    offers_extension,
    parse_offer,
    parse_receipt,
    receipt_extension,
    typed_data,
    verify_key,
    verify_signer,
)
from holdfast.core.x402 import PaymentRequired, parse_payment_required
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from tests.helpers.network import ed25519_signer, p256_signer

URL = "https://gateway.example/v1/chat/completions"
OFFER = Offer(URL, "upto", "eip155:8453", "0x" + "c3" * 20, "0x" + "b2" * 20, "500", 1_767_225_600)
RECEIPT = Receipt("eip155:8453", URL, "0x" + "a1" * 20, 1_767_225_603, "0x" + "d4" * 32)
SIGNER = Secp256k1Signer(b"\x07" * 32)
KEY = ed25519_signer("gateway", "statement")
PARSE = {Offer: parse_offer, Receipt: parse_receipt}
KINDS = {
    "Offer": "version uint256,resourceUrl string,scheme string,network string,asset string,payTo string,amount string,"
    "validUntil uint256",
    "Receipt": "version uint256,network string,resourceUrl string,payer string,issuedAt uint256,transaction string",
}


def refusal(kind, function, *arguments):
    with pytest.raises(kind) as refused:
        function(*arguments)
    return refused.value.code


def typed(content):
    return build_typed(content, SIGNER.sign(typed_data(content)))


def jws(content):
    signing_input = jws_input(content, KEY.key)
    return build_jws(signing_input, KEY.sign(signing_input))


@pytest.mark.parametrize("content", [OFFER, replace(OFFER, valid_until=0), RECEIPT, replace(RECEIPT, transaction="")])
def test_what_is_signed_is_what_an_ethereum_library_signs(content):
    name = type(content).__name__
    members = [dict(zip(("name", "type"), item.split(), strict=True)) for item in KINDS[name].split(",")]
    domain = [("name", "string"), ("version", "string"), ("chainId", "uint256")]
    message = encode_typed_data(
        full_message={
            "primaryType": name,
            "types": {"EIP712Domain": [{"name": key, "type": kind} for key, kind in domain], name: members},
            "domain": {"name": f"x402 {name.lower()}", "version": "1", "chainId": 1},
            "message": content.payload,
        }
    )
    assert typed_data(content) == bytes(_hash_eip191_message(message))


@pytest.mark.parametrize("content", [OFFER, replace(OFFER, valid_until=0), RECEIPT, replace(RECEIPT, transaction="")])
def test_both_formats_read_back_as_they_were_made(content):
    read = PARSE[type(content)]
    by_address, by_key = read(typed(content)), read(jws(content))
    assert by_address.content == by_key.content == content
    verify_signer(by_address, SIGNER.address)
    verify_key(by_key, KEY.key)
    assert refusal(RefusedError, verify_signer, by_address, "0x" + "00" * 20) == "offer.signature"
    assert refusal(RefusedError, verify_signer, by_key, SIGNER.address) == "offer.signature"
    assert refusal(RefusedError, verify_key, by_address, KEY.key) == "offer.signature"
    stranger = ed25519_signer("stranger", "statement")
    assert refusal(RefusedError, verify_key, by_key, stranger.key) == "offer.signature"


@pytest.mark.parametrize(
    "change",
    [
        {"resourceUrl": URL + "/"},
        {"scheme": "exact"},
        {"network": "eip155:1"},
        {"asset": "0x" + "c4" * 20},
        {"payTo": "0x" + "b3" * 20},
        {"amount": "501"},
        {"validUntil": 0},
    ],
)
def test_a_changed_offer_is_signed_by_somebody_else(change):
    made = typed(OFFER)
    changed = parse_offer(made | {"payload": made["payload"] | change})
    assert refusal(RefusedError, verify_signer, changed, SIGNER.address) == "offer.signature"


def test_a_changed_jws_is_signed_by_nobody():
    header, _, signature = jws(OFFER)["signature"].split(".")
    payload = jws_input(replace(OFFER, amount="501"), KEY.key).decode().split(".")[1]
    changed = parse_offer({"format": "jws", "signature": f"{header}.{payload}.{signature}"})
    assert refusal(RefusedError, verify_key, changed, KEY.key) == "offer.signature"


def test_an_offer_is_no_receipt():
    assert refusal(MalformedError, parse_receipt, typed(OFFER)) == "offer.members"
    assert refusal(MalformedError, parse_offer, jws(RECEIPT)) == "offer.members"
    assert typed_data(OFFER) != typed_data(RECEIPT)


def encoded(value):
    return base64.urlsafe_b64encode(canonical.encode_exact(value)).decode().rstrip("=")


def jws_of(header=None, payload=None, signature="AA"):
    head = header or {"alg": "EdDSA", "kid": key_id_of(KEY.key)}
    return {"format": "jws", "signature": f"{encoded(head)}.{encoded(payload or OFFER.payload)}.{signature}"}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "offer.format"),
        ([], "offer.format"),
        (typed(OFFER) | {"format": "cose"}, "offer.format"),
        (typed(OFFER) | {"more": 1}, "offer.members"),
        (typed(OFFER) | {"signature": 1}, "offer.members"),
        ({"format": "eip712", "signature": "0x"}, "offer.members"),
        (jws(OFFER) | {"payload": OFFER.payload}, "offer.members"),
        (typed(OFFER) | {"payload": []}, "offer.members"),
        (typed(OFFER) | {"payload": OFFER.payload | {"tip": 1}}, "offer.members"),
        (typed(OFFER) | {"payload": OFFER.payload | {"amount": 500}}, "offer.members"),
        (typed(OFFER) | {"payload": OFFER.payload | {"validUntil": -1}}, "offer.members"),
        (typed(OFFER) | {"payload": OFFER.payload | {"validUntil": True}}, "offer.members"),
        (typed(OFFER) | {"payload": OFFER.payload | {"validUntil": 2**53}}, "offer.members"),
        (typed(OFFER) | {"payload": OFFER.payload | {"scheme": "a" * 2049}}, "offer.members"),
        (typed(OFFER) | {"payload": OFFER.payload | {"version": 2}}, "offer.version"),
        (typed(OFFER) | {"payload": OFFER.payload | {"version": True}}, "offer.version"),
        (typed(OFFER) | {"signature": "0x" + "00" * 64}, "offer.encoding"),
        (typed(OFFER) | {"signature": "00" * 65}, "offer.encoding"),
        (typed(OFFER) | {"signature": "0x" + "AA" * 65}, "offer.encoding"),
        (typed(OFFER) | {"signature": "0x" + "zz" * 65}, "offer.encoding"),
        ({"format": "jws", "signature": "a.b"}, "offer.encoding"),
        ({"format": "jws", "signature": "a" * (MAX_JWS_CHARACTERS + 1)}, "offer.encoding"),
        ({"format": "jws", "signature": "a!.b.c"}, "offer.encoding"),
        (jws_of(signature="AB"), "offer.encoding"),
        (jws_of(header={"alg": "none", "kid": "x"}), "offer.header"),
        (jws_of(header={"alg": "EdDSA"}), "offer.header"),
        (jws_of(header={"alg": "EdDSA", "kid": 1}), "offer.header"),
        (jws_of(header={"alg": "EdDSA", "kid": "x", "crit": ["b64"]}), "offer.header"),
        (jws_of(payload={"version": 1}), "offer.members"),
    ],
)
def test_an_offer_is_read_strictly(value, code):
    assert refusal(MalformedError, parse_offer, value) == code


def test_only_ed25519_keys_sign_a_jws():
    assert refusal(UsageError, jws_input, OFFER, p256_signer("gateway", "statement").key) == "offer.key"
    assert key_id_of(KEY.key).startswith("did:jwk:")


def test_a_signature_that_recovers_to_nobody_is_refused():
    broken = typed(OFFER) | {"signature": "0x" + "ff" * 64 + "1b"}
    with pytest.raises(HoldfastError):
        verify_signer(parse_offer(broken), SIGNER.address)


def test_they_stand_where_the_extension_says():
    placed = offers_extension([typed(OFFER), jws(OFFER)])
    info = placed["offer-receipt"]["info"]
    assert [item["acceptIndex"] for item in info["offers"]] == [0, 1]
    assert [parse_offer(item).content for item in info["offers"]] == [OFFER, OFFER]
    assert receipt_extension(typed(RECEIPT))["offer-receipt"]["info"] == {"receipt": typed(RECEIPT)}
    asked = {
        "scheme": "upto", "network": "eip155:8453", "asset": OFFER.asset, "amount": "500", "payTo": OFFER.pay_to,
        "maxTimeoutSeconds": 600, "extra": {},
    }  # fmt: skip
    found = parse_payment_required({"x402Version": 2, "accepts": [asked], "extensions": placed})
    assert isinstance(found, PaymentRequired)


MEMBERS = st.sampled_from(["format", "payload", "signature", "acceptIndex", "version", "x"])
LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["jws", "eip712", "0x", "a.b.c"])


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(MEMBERS, inner), max_leaves=8))
def test_only_our_errors_come_out(value):
    for read in (parse_offer, parse_receipt):
        with contextlib.suppress(HoldfastError):
            read(value)


@given(st.sampled_from([OFFER, RECEIPT]), st.data())
def test_any_changed_character_of_a_jws_is_refused(content, data):
    text = jws(content)["signature"]
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABab01-_."))
    if text[place] == other:
        return
    try:
        verify_key(
            PARSE[type(content)]({"format": "jws", "signature": text[:place] + other + text[place + 1 :]}), KEY.key
        )
    except HoldfastError:
        return
    raise AssertionError("a changed JWS was taken")


def test_addresses_are_recovered_as_everywhere():
    assert evm.recover(typed_data(OFFER), SIGNER.sign(typed_data(OFFER))) == SIGNER.address
