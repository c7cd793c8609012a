"""DER, keys and certificates for throw-away vendors (attestation.md §3), written by hand so that they can be wrong on purpose.

Every key comes from a name; ECDSA takes RFC 6979 nonces, and the salt of RSA-PSS comes from a name too.
"""

from __future__ import annotations

import base64
import hashlib
import math
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from .text import named

SMALL = math.prod(number for number in range(3, 2000) if all(number % other for other in range(2, number)))
"""The product of all small odd primes: what shares a factor with it is not prime."""
BASIC, USAGE = "2.5.29.19", "2.5.29.15"


def tlv(tag: int, *parts: bytes) -> bytes:
    """One element."""
    content = b"".join(parts)
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def seq(*parts: bytes) -> bytes:
    """SEQUENCE."""
    return tlv(0x30, *parts)


def integer(number: int) -> bytes:
    """INTEGER."""
    return tlv(2, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER."""
    first, second, *rest = map(int, dotted.split("."))
    out = b""
    for arc in (40 * first + second, *rest):
        groups = [arc & 127]
        while arc := arc >> 7:
            groups.append(arc & 127 | 128)
        out += bytes(reversed(groups))
    return tlv(6, out)


def bits(content: bytes, unused: int = 0) -> bytes:
    """BIT STRING."""
    return tlv(3, bytes([unused]), content)


def octets(content: bytes) -> bytes:
    """OCTET STRING."""
    return tlv(4, content)


TRUE = tlv(1, b"\xff")
NULL = tlv(5)


def utc(moment: str) -> bytes:
    """UTCTime of a time as the vectors write it."""
    return tlv(
        23, (moment[2:4] + moment[5:7] + moment[8:10] + moment[11:13] + moment[14:16] + moment[17:19]).encode() + b"Z"
    )


def name_of(common: str) -> bytes:
    """A name with one attribute."""
    return seq(tlv(0x31, seq(oid("2.5.4.3"), tlv(12, common.encode()))))


class EC:
    """A key on P-256 or P-384 that depends on its name."""

    def __init__(self, name: str, size: int = 384) -> None:
        self.size = size
        curve: Any = ec.SECP384R1() if size == 384 else ec.SECP256R1()
        self._hash: Any = hashes.SHA384() if size == 384 else hashes.SHA256()
        scalar = int.from_bytes(named(f"p{size}/{name}", size // 8 - 1), "big") + 1
        self._key = ec.derive_private_key(scalar, curve)
        numbers = self._key.public_key().public_numbers()
        width = size // 8
        self.point = b"\x04" + numbers.x.to_bytes(width, "big") + numbers.y.to_bytes(width, "big")
        curve_oid = "1.3.132.0.34" if size == 384 else "1.2.840.10045.3.1.7"
        self.spki = seq(seq(oid("1.2.840.10045.2.1"), oid(curve_oid)), bits(self.point))
        self.algorithm = seq(oid("1.2.840.10045.4.3.3" if size == 384 else "1.2.840.10045.4.3.2"))

    def sign(self, message: bytes) -> bytes:
        """As X.509 writes it."""
        return self._key.sign(message, ec.ECDSA(self._hash, deterministic_signing=True))

    def sign_raw(self, message: bytes) -> bytes:
        """r ‖ s."""
        r, s = decode_dss_signature(self.sign(message))
        return r.to_bytes(self.size // 8, "big") + s.to_bytes(self.size // 8, "big")


def _is_prime(number: int) -> bool:
    if math.gcd(number, SMALL) != 1:
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19):
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def _prime(name: str) -> int:
    number = int.from_bytes(named(name, 128), "big") | (3 << 1022) | 1
    while number % 65537 == 1 or not _is_prime(number):
        number += 2
    return number


class RSA:
    """An RSA key of 2048 bits that depends on its name; signs with PSS and a salt as long as the hash."""

    def __init__(self, name: str) -> None:
        p, q = _prime(f"rsa/{name}/p"), _prime(f"rsa/{name}/q")
        self.name, self.modulus = name, p * q
        self._private = pow(65537, -1, (p - 1) * (q - 1))
        self.spki = seq(seq(oid("1.2.840.113549.1.1.1"), NULL), bits(seq(integer(self.modulus), integer(65537))))
        sha384 = seq(oid("2.16.840.1.101.3.4.2.2"), NULL)
        mgf = seq(oid("1.2.840.113549.1.1.8"), sha384)
        parameters = seq(tlv(0xA0, sha384), tlv(0xA1, mgf), tlv(0xA2, integer(48)))
        self.algorithm = seq(oid("1.2.840.113549.1.1.10"), parameters)

    def sign(self, message: bytes, algorithm: str = "sha384") -> bytes:
        """EMSA-PSS (RFC 8017 §9.1.1) and the private operation."""

        def hashed(data: bytes) -> bytes:
            return hashlib.new(algorithm, data).digest()

        length = len(hashed(b""))
        salt = named(f"salt/{self.name}/{hashlib.sha256(message).hexdigest()}", length)
        digest = hashed(bytes(8) + hashed(message) + salt)
        size = (self.modulus.bit_length() + 6) // 8
        block = bytes(size - length - length - 2) + b"\x01" + salt
        mask = b"".join(hashed(digest + count.to_bytes(4, "big")) for count in range(size // length + 1))
        masked = bytearray(left ^ right for left, right in zip(block, mask, strict=False))
        masked[0] &= 0xFF >> (8 * size - (self.modulus.bit_length() - 1))
        encoded = int.from_bytes(bytes(masked) + digest + b"\xbc", "big")
        return pow(encoded, self._private, self.modulus).to_bytes(256, "big")


_MADE: dict[str, RSA] = {}


def rsa(name: str) -> RSA:
    """An RSA key, made once."""
    return _MADE.setdefault(name, _MADE.get(name) or RSA(name))


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    """One extension."""
    return seq(oid(dotted), TRUE if critical else b"", octets(value))


def authority_extensions(path: int | None = None, *, authority: bool = True, signs: bool = True) -> list[bytes]:
    """basicConstraints and keyUsage of an authority; ``signs`` is keyCertSign and cRLSign."""
    basic = seq(*([TRUE] if authority else []), *([integer(path)] if path is not None else []))
    usage = bits(b"\x06", 1) if signs else bits(b"\x80", 7)
    return [extension(BASIC, basic, critical=True), extension(USAGE, usage, critical=True)]


def leaf_extensions() -> list[bytes]:
    """basicConstraints and keyUsage of a signing key."""
    return [extension(BASIC, seq(), critical=True), extension(USAGE, bits(b"\x80", 7), critical=True)]


def certificate(
    subject: str,
    key: Any,
    issuer: str,
    signer: Any,
    extensions: list[bytes],
    *,
    start: str,
    end: str,
    serial: int = 1,
    version: bytes | None = None,
    outer_algorithm: bytes | None = None,
) -> bytes:
    """A certificate of one key by another."""
    signed = seq(
        tlv(0xA0, integer(2)) if version is None else version,
        integer(serial),
        signer.algorithm,
        name_of(issuer),
        seq(utc(start), utc(end)),
        name_of(subject),
        key.spki,
        tlv(0xA3, seq(*extensions)),
    )
    return seq(signed, outer_algorithm or signer.algorithm, bits(signer.sign(signed)))


def revocations(issuer: str, signer: Any, *, start: str, end: str, serials: tuple[int, ...] = ()) -> bytes:
    """A revocation list."""
    entries = [seq(*(seq(integer(serial), utc(start)) for serial in serials))] if serials else []
    signed = seq(
        integer(1),
        signer.algorithm,
        name_of(issuer),
        utc(start),
        utc(end),
        *entries,
        tlv(0xA0, seq(extension("2.5.29.20", integer(1)))),
    )
    return seq(signed, signer.algorithm, bits(signer.sign(signed)))


def pem(*certificates: bytes) -> bytes:
    """PEM with lines of 64 letters."""
    out = b""
    for raw in certificates:
        text = base64.b64encode(raw)
        lines = b"".join(text[at : at + 64] + b"\n" for at in range(0, len(text), 64))
        out += b"-----BEGIN CERTIFICATE-----\n" + lines + b"-----END CERTIFICATE-----\n"
    return out
