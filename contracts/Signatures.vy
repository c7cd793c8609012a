# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Signatures: the two checks that an EVM does not offer as an instruction (spec/registry.md §6)
@license Apache-2.0
@notice
    RSASSA-PSS by the modular exponentiation precompile, and P-256 by the precompile of RIP-7212 and EIP-7951. No state,
    no roles: anyone may ask, and the same question gets the same answer for ever.
@dev
    A chain without the P-256 precompile answers a call to its address with nothing, as it does for a bad signature. So
    presence is found out with a signature that is known to be good, and absence is a reason of its own.
"""

MODEXP: constant(address) = 0x0000000000000000000000000000000000000005  # EIP-198
P256: constant(address) = 0x0000000000000000000000000000000000000100  # EIP-7951

# DER of an RSA-2048 SubjectPublicKeyInfo up to the modulus (RFC 8017 §A.1.1), and what stands behind it: 65537.
SPKI_HEAD: constant(Bytes[33]) = x"30820122300d06092a864886f70d01010105000382010f003082010a0282010100"
SPKI_TAIL: constant(Bytes[5]) = x"0203010001"
SPKI_BYTES: constant(uint256) = 294

# RFC 6979 §A.2.5, message "sample" with SHA-256: a signature that every P-256 verifier accepts.
KNOWN_DIGEST: constant(bytes32) = 0xaf2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf
KNOWN_R: constant(bytes32) = 0xefd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716
KNOWN_S: constant(bytes32) = 0xf7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8
KNOWN_X: constant(bytes32) = 0x60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6
KNOWN_Y: constant(bytes32) = 0x7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299


@external
@pure
def is_rsa_key(spki: Bytes[294]) -> bool:
    """
    @notice Whether this is an RSA-2048 SubjectPublicKeyInfo with exponent 65537 and an odd modulus of full length
    """
    return self._is_rsa_key(spki)


@internal
@pure
def _is_rsa_key(spki: Bytes[294]) -> bool:
    if len(spki) != SPKI_BYTES:
        return False
    if slice(spki, 0, 33) != SPKI_HEAD or slice(spki, 289, 5) != SPKI_TAIL:
        return False
    first: uint256 = convert(slice(spki, 33, 1), uint256)
    last: uint256 = convert(slice(spki, 288, 1), uint256)
    return first >= 128 and last % 2 == 1


@external
@view
def verify_rsa_pss(spki: Bytes[294], message: bytes32, signature: Bytes[256]) -> bool:
    """
    @notice RSASSA-PSS (RFC 8017 §8.1.2) with SHA-256, MGF1-SHA-256 and a salt of 32 bytes
    @param message The 32 bytes that were signed; they are hashed once more here, as every RSA library does
    """
    if not self._is_rsa_key(spki) or len(signature) != 256:
        return False
    modulus: Bytes[256] = slice(spki, 33, 256)
    if not self._is_less(signature, modulus):
        return False
    done: bool = False
    encoded: Bytes[256] = b""
    done, encoded = raw_call(
        MODEXP,
        concat(
            convert(256, bytes32), convert(3, bytes32), convert(256, bytes32), signature, x"010001", modulus
        ),
        max_outsize=256,
        is_static_call=True,
        revert_on_failure=False,
    )
    if not done or len(encoded) != 256:
        return False
    return self._is_encoding(encoded, sha256(message))


@internal
@pure
def _is_less(first: Bytes[256], second: Bytes[256]) -> bool:
    for word: uint256 in range(8):
        left: uint256 = convert(extract32(first, word * 32), uint256)
        right: uint256 = convert(extract32(second, word * 32), uint256)
        if left != right:
            return left < right
    return False


@internal
@pure
def _is_encoding(encoded: Bytes[256], digest: bytes32) -> bool:
    """
    @dev EMSA-PSS-VERIFY (RFC 8017 §9.1.2) for 2047 bits: masked block (223 bytes), hash (32), 0xbc. The unmasked block
        is 190 zeros, a one, and the salt, which begins with the last byte of the sixth word.
    """
    if convert(slice(encoded, 255, 1), uint256) != 188:
        return False
    hash: bytes32 = extract32(encoded, 223)
    words: uint256[7] = empty(uint256[7])
    for word: uint256 in range(7):
        mask: uint256 = convert(sha256(concat(hash, slice(convert(word, bytes32), 28, 4))), uint256)
        words[word] = convert(extract32(encoded, word * 32), uint256) ^ mask
    if convert(extract32(encoded, 0), uint256) >> 255 != 0:
        return False
    if words[0] & (2**255 - 1) != 0 or words[1] != 0 or words[2] != 0 or words[3] != 0 or words[4] != 0:
        return False
    if words[5] >> 8 != 1:
        return False
    salt: bytes32 = convert(((words[5] & 255) << 248) | (words[6] >> 8), bytes32)
    return hash == sha256(concat(x"0000000000000000", digest, salt))


@internal
@view
def _p256(digest: bytes32, r: bytes32, s: bytes32, x: bytes32, y: bytes32) -> bool:
    done: bool = False
    answer: Bytes[32] = b""
    done, answer = raw_call(
        P256, concat(digest, r, s, x, y), max_outsize=32, is_static_call=True, revert_on_failure=False
    )
    return done and len(answer) == 32 and convert(answer, uint256) == 1


@external
@view
def has_p256() -> bool:
    """
    @notice Whether this chain has the P-256 precompile
    """
    return self._p256(KNOWN_DIGEST, KNOWN_R, KNOWN_S, KNOWN_X, KNOWN_Y)


@external
@view
def verify_p256(digest: bytes32, r: bytes32, s: bytes32, x: bytes32, y: bytes32) -> bool:
    """
    @notice ECDSA over P-256; `digest` is what was hashed before it was signed
    """
    if self._p256(digest, r, s, x, y):
        return True
    assert self._p256(KNOWN_DIGEST, KNOWN_R, KNOWN_S, KNOWN_X, KNOWN_Y), "signature.p256_absent"
    return False
