"""ohttp.md: RFC 9180 base mode with contexts, RFC 9458, the chunked draft and RFC 9292, from their sections.

Only writing: whoever runs the vectors reads. Everything can be written wrongly on purpose.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from reference.sealed import public_of

KEM, KDF = 0x0020, 0x0001
KEY_SIZES = {1: 16, 3: 32}
"""RFC 9180 §7.3: Nk of AES-128-GCM and of ChaCha20-Poly1305."""
NAMES = {1: "aes-128-gcm", 3: "chacha20-poly1305"}


def number(value: int, *, size: int | None = None) -> bytes:
    """A variable-length integer (RFC 9000 §16), in so many bytes or the fewest."""
    if size is None:
        size = next(width for width in (1, 2, 4, 8) if value < 1 << (8 * width - 2))
    return (value | {1: 0, 2: 1, 4: 2, 8: 3}[size] << (8 * size - 2)).to_bytes(size)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, "sha256").digest()


def hkdf_extract(salt: bytes, ikm: bytes) -> bytes:
    """RFC 5869 §2.2."""
    return hmac_sha256(salt or bytes(32), ikm)


def hkdf_expand(prk: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869 §2.3."""
    blocks = [b""]
    while sum(map(len, blocks)) < size:
        blocks.append(hmac_sha256(prk, blocks[-1] + info + bytes([len(blocks)])))
    return b"".join(blocks)[:size]


class Context:
    """A sender's context (RFC 9180 §5.1, §5.2, §5.3)."""

    def __init__(self, recipient: bytes, ephemeral: bytes, aead: int, info: bytes) -> None:
        self.aead = aead
        self.enc = public_of(ephemeral)
        exchanged = X25519PrivateKey.from_private_bytes(ephemeral).exchange(
            X25519PublicKey.from_public_bytes(recipient)
        )
        kem = b"KEM" + KEM.to_bytes(2)
        prk = self.extract(kem, b"", b"eae_prk", exchanged)
        shared = self.expand(kem, prk, b"shared_secret", self.enc + recipient, 32)
        self.suite = b"HPKE" + KEM.to_bytes(2) + KDF.to_bytes(2) + aead.to_bytes(2)
        psk_id_hash = self.extract(self.suite, b"", b"psk_id_hash", b"")
        info_hash = self.extract(self.suite, b"", b"info_hash", info)
        schedule = bytes([0]) + psk_id_hash + info_hash
        secret = self.extract(self.suite, shared, b"secret", b"")
        self.key = self.expand(self.suite, secret, b"key", schedule, KEY_SIZES[aead])
        self.nonce = self.expand(self.suite, secret, b"base_nonce", schedule, 12)
        self.exporter = self.expand(self.suite, secret, b"exp", schedule, 32)
        self.sequence = 0

    @staticmethod
    def extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hkdf_extract(salt, b"HPKE-v1" + suite + label + ikm)

    @staticmethod
    def expand(suite: bytes, prk: bytes, label: bytes, info: bytes, size: int) -> bytes:
        return hkdf_expand(prk, size.to_bytes(2) + b"HPKE-v1" + suite + label + info, size)

    def seal(self, plaintext: bytes, aad: bytes = b"") -> bytes:
        sealed = seal(self.aead, self.key, self.nonce, self.sequence, plaintext, aad)
        self.sequence += 1
        return sealed

    def export(self, context: bytes, size: int) -> bytes:
        return self.expand(self.suite, self.exporter, b"sec", context, size)


def seal(aead: int, key: bytes, nonce: bytes, sequence: int, plaintext: bytes, aad: bytes) -> bytes:
    """One message at its place: the nonce is the base nonce with the place XORed into it."""
    at = bytes(one ^ two for one, two in zip(nonce, sequence.to_bytes(12), strict=True))
    cipher = AESGCM(key) if aead == 1 else ChaCha20Poly1305(key)
    return cipher.encrypt(at, plaintext, aad)


def configuration(key_id: int, public: bytes, pairs: list[tuple[int, int]], *, kem: int = KEM) -> bytes:
    """RFC 9458 §3.1."""
    suites = b"".join(kdf.to_bytes(2) + aead.to_bytes(2) for kdf, aead in pairs)
    return bytes([key_id]) + kem.to_bytes(2) + public + len(suites).to_bytes(2) + suites


def listed(*configurations: bytes) -> bytes:
    """RFC 9458 §3.2."""
    return b"".join(len(one).to_bytes(2) + one for one in configurations)


def header(key_id: int, aead: int, *, kem: int = KEM, kdf: int = KDF) -> bytes:
    """RFC 9458 §4.1: the first seven bytes of a request."""
    return bytes([key_id]) + kem.to_bytes(2) + kdf.to_bytes(2) + aead.to_bytes(2)


def request_context(
    public: bytes, ephemeral: bytes, key_id: int, aead: int, *, chunked: bool = False, label: bytes | None = None
) -> Context:
    """RFC 9458 §4.3; chunked draft §6.1."""
    label = label or (b"message/bhttp chunked request" if chunked else b"message/bhttp request")
    return Context(public, ephemeral, aead, label + b"\0" + header(key_id, aead))


def request(context: Context, key_id: int, content: bytes) -> bytes:
    """RFC 9458 §4.3."""
    return header(key_id, context.aead) + context.enc + context.seal(content)


def chunked_request(context: Context, key_id: int, chunks: list[bytes]) -> list[bytes]:
    """Chunked draft §6.1: what stands before the chunks, then each chunk as it is sent."""
    pieces = [header(key_id, context.aead) + context.enc]
    for chunk in chunks[:-1]:
        sealed = context.seal(chunk)
        pieces.append(number(len(sealed)) + sealed)
    return [*pieces, number(0) + context.seal(chunks[-1], b"final")]


def response_key(context: Context, nonce: bytes, label: bytes) -> tuple[bytes, bytes]:
    """RFC 9458 §4.4."""
    secret = context.export(label, max(12, KEY_SIZES[context.aead]))
    prk = hkdf_extract(context.enc + nonce, secret)
    return hkdf_expand(prk, b"key", KEY_SIZES[context.aead]), hkdf_expand(prk, b"nonce", 12)


def response(context: Context, nonce: bytes, content: bytes) -> bytes:
    """RFC 9458 §4.4."""
    key, base = response_key(context, nonce, b"message/bhttp response")
    return nonce + seal(context.aead, key, base, 0, content, b"")


def chunked_response(context: Context, nonce: bytes, chunks: list[bytes]) -> list[bytes]:
    """Chunked draft §6.2: the nonce, then each chunk as it is sent."""
    key, base = response_key(context, nonce, b"message/bhttp chunked response")
    pieces = [nonce]
    for place, chunk in enumerate(chunks[:-1]):
        sealed = seal(context.aead, key, base, place, chunk, b"")
        pieces.append(number(len(sealed)) + sealed)
    return [*pieces, number(0) + seal(context.aead, key, base, len(chunks) - 1, chunks[-1], b"final")]


# RFC 9292

Lines = list[tuple[bytes, bytes]]


def prefixed(data: bytes) -> bytes:
    return number(len(data)) + data


def section(lines: Lines, *, known: bool) -> bytes:
    """RFC 9292 §3.1, §3.2, §3.6: a field section."""
    raw = b"".join(prefixed(name) + prefixed(value) for name, value in lines)
    return prefixed(raw) if known else raw + number(0)


def body(content: list[bytes], *, known: bool) -> bytes:
    """RFC 9292 §3.7: the content, in pieces where its length is not known."""
    if known:
        return prefixed(b"".join(content))
    return b"".join(prefixed(piece) for piece in content) + number(0)


def http_request(
    control: tuple[bytes, bytes, bytes, bytes], lines: Lines, content: list[bytes], trailers: Lines, *, known: bool
) -> bytes:
    """RFC 9292 §3.4."""
    start = number(0 if known else 2) + b"".join(map(prefixed, control))
    return start + section(lines, known=known) + body(content, known=known) + section(trailers, known=known)


def http_response(
    status: int,
    lines: Lines,
    content: list[bytes],
    trailers: Lines,
    *,
    known: bool,
    early: list[tuple[int, Lines]] | None = None,
) -> bytes:
    """RFC 9292 §3.5."""
    start = number(1 if known else 3)
    for code, fields in early or []:
        start += number(code) + section(fields, known=known)
    start += number(status) + section(lines, known=known)
    return start + body(content, known=known) + section(trailers, known=known)
