"""The little of Ethereum that offline verification needs: Keccak-256, EIP-712 packing, addresses, signer recovery.

Rules: addresses are ``0x`` and 40 lower-case hex digits (one spelling; no EIP-55 mixed case); a signature is 65 bytes
``r ‖ s ‖ v`` with ``v`` 27 or 28 and ``s`` in the lower half of the order (EIP-2), so one message has one signature
per nonce and nobody can make a second one out of it. Struct hashes are packed by hand (``spec/round.md`` §4).
Not covered: making signatures (``adapters.signer_secp256k1``), transactions, ABI decoding (``adapters.chain_evm``).
"""

from __future__ import annotations

import re
from functools import lru_cache

from coincurve import PublicKey
from Crypto.Hash import keccak

from holdfast.errors import MalformedError, RefusedError

SIGNATURE_BYTES = 65
"""``r`` (32) ‖ ``s`` (32) ‖ ``v`` (1)."""
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Order of the curve's base point (SEC 2 §2.4.1)."""
ZERO_ADDRESS = "0x" + "00" * 20
"""The address nobody holds a key for."""
_ADDRESS = re.compile(r"0x[0-9a-f]{40}\Z")
_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


def keccak256(data: bytes) -> bytes:
    """Keccak-256 with the original padding, 32 bytes (what Ethereum calls SHA-3)."""
    return keccak.new(digest_bits=256, data=data).digest()


_DOMAIN_TYPE_HASH = keccak256(_DOMAIN_TYPE)


def parse_address(value: object) -> str:
    """A lower-case ``0x`` address; any other spelling raises ``evm.address``."""
    if not isinstance(value, str) or _ADDRESS.match(value) is None:
        raise MalformedError("evm.address", "an address is 0x and 40 lower-case hex digits")
    return value


def address_bytes(address: str) -> bytes:
    """The 20 bytes of an address; raises ``evm.address``."""
    return bytes.fromhex(parse_address(address)[2:])


def address_from_bytes(value: bytes) -> str:
    """20 bytes to the one spelling of an address; raises ``evm.address``."""
    if len(value) != 20:
        raise MalformedError("evm.address", "an address has 20 bytes")
    return "0x" + value.hex()


@lru_cache(maxsize=1024)
def address_of(public_key: bytes) -> str:
    """The address of a SEC 1 secp256k1 public key (33 or 65 bytes); raises ``evm.public_key``."""
    try:
        point = PublicKey(public_key).format(compressed=False)
    except ValueError as error:
        raise MalformedError("evm.public_key", "not a point of secp256k1") from error
    return "0x" + keccak256(point[1:])[12:].hex()


def word(value: int) -> bytes:
    """An unsigned integer as one 32-byte big-endian ABI word; raises ``evm.word`` outside 0..2^256-1."""
    try:
        return value.to_bytes(32)
    except OverflowError as error:
        raise MalformedError("evm.word", "an ABI word is an unsigned 256-bit integer") from error


def domain_separator(name: str, version: str, chain_id: int, contract: str) -> bytes:
    """EIP-712 domain separator over (name, version, chainId, verifyingContract), 32 bytes."""
    return keccak256(
        _DOMAIN_TYPE_HASH
        + keccak256(name.encode())
        + keccak256(version.encode())
        + word(chain_id)
        + bytes(12)
        + address_bytes(contract)
    )


def typed_data_digest(separator: bytes, struct_hash: bytes) -> bytes:
    """EIP-712: ``keccak256(0x19 0x01 ‖ domain separator ‖ struct hash)``, the 32 bytes that are signed."""
    return keccak256(b"\x19\x01" + separator + struct_hash)


def check_signature_form(signature: bytes) -> None:
    """65 bytes, ``v`` 27 or 28, ``r`` and ``s`` in range, ``s`` low (EIP-2); raises ``evm.signature``."""
    if len(signature) != SIGNATURE_BYTES or signature[64] not in (27, 28):
        raise MalformedError("evm.signature", "a signature is r, s and v: 65 bytes, v 27 or 28")
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64])
    if not 0 < r < SECP256K1_ORDER or not 0 < s <= SECP256K1_ORDER // 2:
        raise MalformedError("evm.signature", "r or s is out of range, or s is in the upper half")


@lru_cache(maxsize=4096)
def recover(digest: bytes, signature: bytes) -> str:
    """The address whose key signed this 32-byte digest. Raises ``evm.signature``, malformed or refused.

    Recovery alone proves nothing: any well-formed signature recovers to *some* address. The caller compares it.
    """
    if len(digest) != 32:
        raise MalformedError("evm.digest", "a signed digest has 32 bytes")
    check_signature_form(signature)
    try:
        key = PublicKey.from_signature_and_message(signature[:64] + bytes([signature[64] - 27]), digest, hasher=None)
    except ValueError as error:
        raise RefusedError("evm.signature", "no key makes this signature") from error
    return "0x" + keccak256(key.format(compressed=False)[1:])[12:].hex()
