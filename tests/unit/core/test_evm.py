"""Keccak, EIP-712 and recovery: malleable, malformed and misplaced signatures are refused; known values agree."""

import pytest
from coincurve import PrivateKey
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from holdfast.core import evm
from holdfast.errors import HoldfastError

KEY = PrivateKey((7).to_bytes(32))
ADDRESS = evm.address_of(KEY.public_key.format())
DIGEST = evm.keccak256(b"something")


def sign(digest: bytes) -> bytes:
    raw = KEY.sign_recoverable(digest, hasher=None)
    return raw[:64] + bytes([raw[64] + 27])


@pytest.mark.parametrize(
    "text", ["", "0x", "0X" + "00" * 20, "0x" + "AB" * 20, "0x" + "00" * 19, "0x" + "00" * 21, 5, "00" * 20]
)
def test_an_address_has_one_spelling(text: object) -> None:
    with pytest.raises(HoldfastError) as caught:
        evm.parse_address(text)
    assert caught.value.code == "evm.address"


def test_a_signature_of_another_length_or_recovery_byte_is_refused() -> None:
    signature = sign(DIGEST)
    for bad in (b"", signature[:64], signature + b"\0", signature[:64] + b"\x00", signature[:64] + b"\x1d"):
        with pytest.raises(HoldfastError) as caught:
            evm.recover(DIGEST, bad)
        assert caught.value.code == "evm.signature"


def test_the_upper_half_twin_of_a_signature_is_refused() -> None:
    signature = sign(DIGEST)
    s = evm.SECP256K1_ORDER - int.from_bytes(signature[32:64])
    twin = signature[:32] + s.to_bytes(32) + bytes([55 - signature[64]])
    with pytest.raises(HoldfastError) as caught:
        evm.recover(DIGEST, twin)
    assert caught.value.code == "evm.signature"


@pytest.mark.parametrize("r", [0, evm.SECP256K1_ORDER, 2**256 - 1])
def test_r_out_of_range_is_refused(r: int) -> None:
    with pytest.raises(HoldfastError) as caught:
        evm.recover(DIGEST, r.to_bytes(32) + sign(DIGEST)[32:])
    assert caught.value.code == "evm.signature"


def recovered(digest: bytes, signature: bytes) -> str:
    """The recovered address, or the code of the refusal."""
    try:
        return evm.recover(digest, signature)
    except HoldfastError as error:
        return error.code


def test_r_without_a_point_is_refused() -> None:
    results = [recovered(DIGEST, r.to_bytes(32) + (1).to_bytes(32) + b"\x1b") for r in range(1, 40)]
    assert results.count("evm.signature") > 5
    assert all(result.startswith("0x") or result == "evm.signature" for result in results)


def test_a_changed_bit_recovers_to_somebody_else_or_is_refused() -> None:
    signature = sign(DIGEST)
    assert recovered(DIGEST, signature) == ADDRESS
    for at in range(65):
        changed = signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :]
        assert recovered(DIGEST, changed) != ADDRESS


def test_a_digest_has_32_bytes() -> None:
    with pytest.raises(HoldfastError) as caught:
        evm.recover(b"short", sign(DIGEST))
    assert caught.value.code == "evm.digest"


def test_a_public_key_off_the_curve_has_no_address() -> None:
    with pytest.raises(HoldfastError) as caught:
        evm.address_of(b"\x05" + bytes(32))
    assert caught.value.code == "evm.public_key"


@pytest.mark.parametrize("value", [-1, 2**256])
def test_a_word_is_an_unsigned_256_bit_integer(value: int) -> None:
    with pytest.raises(HoldfastError) as caught:
        evm.word(value)
    assert caught.value.code == "evm.word"


def test_address_bytes_round_trip_and_have_20_bytes() -> None:
    assert evm.address_from_bytes(evm.address_bytes(ADDRESS)) == ADDRESS
    with pytest.raises(HoldfastError):
        evm.address_from_bytes(bytes(19))


def test_the_address_of_the_first_key_is_the_well_known_one() -> None:
    one = PrivateKey((1).to_bytes(32)).public_key
    assert evm.address_of(one.format()) == "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"
    assert evm.address_of(one.format(compressed=False)) == evm.address_of(one.format())


def test_keccak_is_the_one_of_ethereum() -> None:
    assert evm.keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert evm.keccak256(b"a" * 300) == keccak(b"a" * 300)


def test_hand_packed_typed_data_equals_the_librarys() -> None:
    message = encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                "Thing": [{"name": "number", "type": "uint64"}],
            },
            "primaryType": "Thing",
            "domain": {"name": "N", "version": "2", "chainId": 9, "verifyingContract": ADDRESS},
            "message": {"number": 77},
        }
    )
    separator = evm.domain_separator("N", "2", 9, ADDRESS)
    struct = evm.keccak256(evm.keccak256(b"Thing(uint64 number)") + evm.word(77))
    assert (message.header, message.body) == (separator, struct)
    assert evm.typed_data_digest(separator, struct) == keccak(b"\x19\x01" + separator + struct)
