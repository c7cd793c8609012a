"""Transactions as bytes: one spelling, one sender; what a wallet library signs parses here and the other way round."""

from typing import Any

import pytest
from coincurve import PrivateKey
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import evm
from holdfast.core.transactions import (
    UnsignedTransaction,
    contract_address,
    integer_bytes,
    parse_transaction,
    rlp_decode,
    rlp_encode,
)
from holdfast.errors import HoldfastError

KEY = PrivateKey(bytes([5]) * 32)
SENDER = evm.address_of(KEY.public_key.format())
TO = "0x" + "ab" * 20
COMMON: dict[str, Any] = {"nonce": 3, "gas": 50_000, "to": "0x" + "Ab" * 20, "value": 7, "data": b"\x01\x02"}
UNSIGNED = UnsignedTransaction(31337, 3, 1, 10**9, 50_000, TO, 7, b"\x01\x02")


def sign(digest: bytes) -> bytes:
    raw = KEY.sign_recoverable(digest, hasher=None)
    return raw[:64] + bytes([raw[64] + 27])


def wallet(**fields: Any) -> bytes:
    fields = {**COMMON, "to": TO, **fields}
    fields["to"] = "0x" + "00" * 20 if fields["to"] is None else fields["to"]
    return bytes(
        Account.sign_transaction({**fields, "to": bytes.fromhex(fields["to"][2:])}, KEY.secret).raw_transaction
    )


def code(raw: bytes) -> str:
    with pytest.raises(HoldfastError) as caught:
        parse_transaction(raw)
    return caught.value.code


@pytest.mark.parametrize(
    "data",
    [
        "",
        "81",
        "8100",
        "817f",
        "b800",
        "b83700",
        "b90001",
        "bf",
        "c1",
        "c28080ff",
        "f800",
        "f90000",
        "8080",
        "c0c0",
        "c8" * 20,
    ],
)
def test_a_second_spelling_of_rlp_is_refused(data: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        rlp_decode(bytes.fromhex(data))
    assert caught.value.code == "transaction.rlp"


ITEMS = st.recursive(st.binary(max_size=80), lambda inner: st.lists(inner, max_size=5), max_leaves=12)


@given(ITEMS)
def test_rlp_round_trips_or_is_too_deep(item: Any) -> None:
    try:
        assert rlp_decode(rlp_encode(item)) == item
    except HoldfastError as error:
        assert error.code == "transaction.rlp"  # noqa: PT017 (both ends are fine, nothing else is)


@given(st.binary(max_size=64))
def test_whatever_decodes_encodes_to_the_same_bytes(data: bytes) -> None:
    try:
        item = rlp_decode(data)
    except HoldfastError:
        return
    assert rlp_encode(item) == data


def test_empty_huge_and_unknown_transactions_are_refused() -> None:
    assert code(b"") == "transaction.size"
    assert code(b"\x02" + bytes(200_000)) == "transaction.size"
    assert code(b"\x03" + bytes(5)) == "transaction.type"
    assert code(b"\x02\xc0") == "transaction.fields"
    assert code(b"\xc0") == "transaction.fields"


def test_a_transaction_without_a_chain_id_is_refused() -> None:
    fields = [b"\x03", b"\x01", b"\x01", bytes(20), b"", b"", b"\x1b", bytes([1]) * 32, bytes([1]) * 32]
    assert code(rlp_encode(fields)) == "transaction.chain_id"


def test_a_leading_zero_or_a_list_in_a_number_is_refused() -> None:
    for nonce in (b"\x00\x01", b"\x00", [b""], bytes(33)):
        fields = [b"\x01", nonce, b"", b"", b"", b"", b"", b"", [], b"", b"\x01", b"\x01"]
        assert code(b"\x02" + rlp_encode(fields)) in {"transaction.fields", "transaction.rlp"}


def test_a_priority_fee_above_the_maximum_is_refused() -> None:
    unsigned = UnsignedTransaction(1, 0, 5, 4, 21000, TO, 0, b"")
    assert code(unsigned.signed(sign(unsigned.digest()))) == "transaction.fields"


def test_a_flipped_bit_changes_the_sender_or_is_refused() -> None:
    raw = UNSIGNED.signed(sign(UNSIGNED.digest()))
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        try:
            parsed = parse_transaction(changed)
        except HoldfastError:
            continue
        assert parsed.sender != SENDER


@pytest.mark.parametrize(
    "fields",
    [
        {"chainId": 31337, "maxFeePerGas": 10**9, "maxPriorityFeePerGas": 1, "type": 2},
        {"chainId": 31337, "gasPrice": 10**9, "type": 1, "accessList": []},
        {"chainId": 31337, "gasPrice": 10**9},
        {"chainId": 31337, "maxFeePerGas": 5, "maxPriorityFeePerGas": 5, "nonce": 0, "value": 0, "data": b""},
    ],
)
def test_what_a_wallet_library_signs_parses_here(fields: dict[str, Any]) -> None:
    raw = wallet(**fields)
    parsed = parse_transaction(raw)
    expected = {**COMMON, **fields}
    assert (parsed.sender, parsed.to, parsed.chain_id) == (SENDER, TO, 31337)
    assert (parsed.nonce, parsed.gas, parsed.value, parsed.data) == tuple(
        expected[name] for name in ("nonce", "gas", "value", "data")
    )
    assert parsed.hash == evm.keccak256(raw)


def test_what_is_signed_here_is_what_a_wallet_library_signs() -> None:
    ours = UNSIGNED.signed(sign(UNSIGNED.digest()))
    theirs = wallet(chainId=31337, maxFeePerGas=10**9, maxPriorityFeePerGas=1, type=2)
    assert ours == theirs
    assert parse_transaction(ours).sender == SENDER


def test_a_creation_has_no_target_and_a_known_address() -> None:
    unsigned = UnsignedTransaction(1, 0, 0, 1, 21000, None, 0, b"\x00")
    assert parse_transaction(unsigned.signed(sign(unsigned.digest()))).to is None
    assert contract_address("0x" + "11" * 20, 7) == "0x34e0765525c4d4d837dc20bcb458edd206120e59"
    assert integer_bytes(0) == b""
