"""Public keys, signatures and the key document that names a node (``spec/statement.md`` §5).

A node *is* the SHA-256 of its key document's exact bytes; statements call that digest ``attester``. A key document
lists public keys by use, so that a statement key can never stand in for a log key or a vote key. It also names what
else is the node's own and is bound with it by an attestation: its TLS key, its OHTTP key configurations, where it is
paid, and the document that it replaces (``core.rotation``).

Rules: one encoding per algorithm; unknown fields are refused; keys of an unknown algorithm or use are refused, and so
is a key that stands there for two uses.
Not covered here: whether a key is trusted (``core.trust``) or where it lives (attestation).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode, sha256, sha256_hex
from holdfast.core.evm import address_of, parse_address
from holdfast.errors import MalformedError, RefusedError

KEY_DOCUMENT_TYPE = "urn:holdfast:key-document:v1"
"""``type`` of a key document (``spec/statement.md`` §5)."""
ALGORITHM_SIZES = {"ed25519": 32, "p256": 33, "secp256k1": 33, "x25519": 32, "rsa2048": 294}
"""Algorithm to public key size in bytes: raw Ed25519 (RFC 8032) and X25519 (RFC 7748), compressed SEC 1 points, and DER
SubjectPublicKeyInfo of RSA-2048 with exponent 65537 (RFC 8017)."""
USES = ("statement", "log", "cosignature", "vote", "hpke", "opengradient")
"""What a key may sign, or, for ``hpke``, what may be encrypted to; one use per key."""
ALGORITHMS_BY_USE = {
    "statement": ("ed25519", "p256"),
    "log": ("ed25519",),
    "cosignature": ("ed25519",),
    "vote": ("secp256k1",),
    "hpke": ("x25519",),
    "opengradient": ("rsa2048",),
}
"""Algorithms that fit a use (``spec/statement.md`` §5): notes are Ed25519, contracts recover secp256k1."""
ROLES = ("gateway", "inference", "data", "memory", "hub", "facilitator", "log", "full", "panel", "relay")
"""The processes of the network; a node may hold several roles."""
NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?\Z")
"""Node names: lower-case letters, digits, dots and hyphens, at most 63 bytes."""
MAX_KEY_DOCUMENT_BYTES = 8192
"""Larger key documents are refused unread."""
MAX_OHTTP = 8
"""Most key configurations of one node."""
LEAST_CONFIGURATION, MOST_CONFIGURATION = 41, 512
"""Sizes of a key configuration in bytes: an X25519 key with one symmetric suite is the smallest."""
_MEMBERS = frozenset({"type", "name", "roles", "software", "keys"})
_OPTIONAL = frozenset({"tls", "ohttp", "payment", "predecessor"})
_RSA_PREFIX = bytes.fromhex("30820122300d06092a864886f70d01010105000382010f003082010a0282010100")
"""DER up to the modulus of an RSA-2048 SubjectPublicKeyInfo (RFC 8017 §A.1.1); behind the modulus stands 65537."""
_RSA_SUFFIX = bytes.fromhex("0203010001")


@dataclass(frozen=True)
class PublicKey:
    """One public key and the single use it has."""

    use: str
    algorithm: str
    public: bytes

    @cached_property
    def key_id(self) -> str:
        """SHA-256 of ``algorithm ‖ 0x00 ‖ public`` in hex; the DSSE ``keyid``."""
        return sha256_hex(self.algorithm.encode() + b"\x00" + self.public)

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"use": self.use, "algorithm": self.algorithm, "public": b64_encode(self.public)}


@dataclass(frozen=True, slots=True)
class KeyDocument:
    """A parsed key document; ``raw`` are its exact bytes and ``digest`` their SHA-256 in hex (the attester)."""

    raw: bytes
    digest: str
    name: str
    roles: tuple[str, ...]
    software: str
    keys: tuple[PublicKey, ...]
    tls: str | None = None
    """SHA-256 (hex) of the DER SubjectPublicKeyInfo of the key that the node's TLS certificate is for."""
    ohttp: tuple[bytes, ...] = ()
    """OHTTP key configurations (RFC 9458 §3.1), each under a key id of its own."""
    payment: str | None = None
    """The EVM address (0x, lower-case hex) at which the node is paid."""
    predecessor: str | None = None
    """Digest (hex) of the key document that this one replaces."""

    @property
    def ohttp_keys(self) -> bytes:
        """The configurations as ``application/ohttp-keys`` (RFC 9458 §3.2): each with its length before it."""
        return b"".join(len(item).to_bytes(2) + item for item in self.ohttp)

    @property
    def ohttp_digest(self) -> bytes | None:
        """SHA-256 of :attr:`ohttp_keys`, as a binding record names it; None where there is no configuration."""
        return sha256(self.ohttp_keys) if self.ohttp else None

    def key_for(self, use: str) -> PublicKey | None:
        """The key with this use, if the document has one."""
        return next((key for key in self.keys if key.use == use), None)

    def key_by_id(self, key_id: str) -> PublicKey | None:
        """The key with this DSSE ``keyid``, if the document has it."""
        return next((key for key in self.keys if key.key_id == key_id), None)


def _parse_public_key(value: object) -> PublicKey:
    if not isinstance(value, dict) or set(value) != {"use", "algorithm", "public"}:
        raise MalformedError("keys.fields", "a key has exactly use, algorithm and public")
    use, algorithm = value["use"], value["algorithm"]
    if use not in USES:
        raise MalformedError("keys.use", f"unknown key use {use!r}")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHM_SIZES:
        raise MalformedError("keys.algorithm", f"unknown algorithm {algorithm!r}")
    if algorithm not in ALGORITHMS_BY_USE[use]:
        raise MalformedError("keys.algorithm", f"a {use} key is not {algorithm}")
    public = b64_decode(value["public"], ALGORITHM_SIZES[algorithm])
    if use == "vote":
        address_of(public)  # a vote key has an address, or it is no point and no key
    if algorithm == "rsa2048" and not _is_rsa_2048(public):
        raise MalformedError("keys.algorithm", "an rsa2048 key is a SubjectPublicKeyInfo of 2,048 bits and 65537")
    return PublicKey(use, algorithm, public)


def _is_rsa_2048(public: bytes) -> bool:
    modulus = public[len(_RSA_PREFIX) : -len(_RSA_SUFFIX)]
    framed = public.startswith(_RSA_PREFIX) and public.endswith(_RSA_SUFFIX)
    return framed and modulus[0] >= 0x80 and modulus[-1] % 2 == 1


def _digest(value: object, code: str) -> str | None:
    """A member that is absent or SHA-256 in hex."""
    if value is None:
        return None
    try:
        return hex_decode(value, 32).hex()
    except MalformedError as error:
        raise MalformedError(code, "expected a SHA-256 digest in lower-case hex") from error


def _configurations(value: object) -> tuple[bytes, ...]:
    """OHTTP key configurations: their key ids differ; what else they say, ``core.ohttp`` reads."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_OHTTP:
        raise MalformedError("keys.ohttp", f"ohttp is a list of 1 to {MAX_OHTTP} key configurations")
    try:
        found = tuple(b64_decode(item) for item in value)
    except MalformedError as error:
        raise MalformedError("keys.ohttp", "a key configuration is base64") from error
    if any(not LEAST_CONFIGURATION <= len(item) <= MOST_CONFIGURATION for item in found):
        raise MalformedError("keys.ohttp", "a key configuration has the form of RFC 9458 §3.1")
    if len({item[0] for item in found}) != len(found):
        raise MalformedError("keys.ohttp", "each key configuration has a key id of its own")
    return found


def _payment(value: object) -> str | None:
    if value is None:
        return None
    try:
        return parse_address(value)
    except MalformedError as error:
        raise MalformedError("keys.payment", "payment is an EVM address: 0x and 40 lower-case hex digits") from error


def parse_key_document(raw: bytes) -> KeyDocument:
    """Exact bytes to a :class:`KeyDocument`. Raises ``keys.*`` or ``json.*``; checks no signature."""
    if len(raw) > MAX_KEY_DOCUMENT_BYTES:
        raise MalformedError("keys.size", f"a key document has at most {MAX_KEY_DOCUMENT_BYTES} bytes")
    value = canonical.decode_signed(raw)
    if value.keys() - _OPTIONAL != _MEMBERS or value["type"] != KEY_DOCUMENT_TYPE:
        raise MalformedError("keys.fields", f"not a {KEY_DOCUMENT_TYPE}")
    if any(value[name] is None for name in value.keys() & _OPTIONAL):
        raise MalformedError("keys.fields", "a member that says nothing is left out")
    name, roles, software, keys = value["name"], value["roles"], value["software"], value["keys"]
    if not isinstance(name, str) or NAME.match(name) is None:
        raise MalformedError("keys.name", "a node name is lower-case letters, digits, dots and hyphens")
    if (
        not isinstance(roles, list)
        or not roles
        or any(role not in ROLES for role in roles)
        or roles != sorted(set(roles))
    ):
        raise MalformedError("keys.roles", "roles are a sorted, non-empty list of known roles")
    if not isinstance(software, str) or len(software) > 128:
        raise MalformedError("keys.software", "software is a string of at most 128 characters")
    if not isinstance(keys, list) or not keys:
        raise MalformedError("keys.fields", "a key document lists at least one key")
    parsed = tuple(_parse_public_key(key) for key in keys)
    if len({key.use for key in parsed}) != len(parsed):
        raise MalformedError("keys.use", "one key per use")
    if len({key.key_id for key in parsed}) != len(parsed):
        raise MalformedError("keys.use", "one use per key")
    return KeyDocument(
        raw,
        sha256_hex(raw),
        name,
        tuple(roles),
        software,
        parsed,
        tls=_digest(value.get("tls"), "keys.tls"),
        ohttp=_configurations(value["ohttp"]) if "ohttp" in value else (),
        payment=_payment(value.get("payment")),
        predecessor=_digest(value.get("predecessor"), "keys.predecessor"),
    )


def build_key_document(
    name: str,
    roles: list[str],
    software: str,
    keys: list[PublicKey],
    *,
    tls: str | None = None,
    ohttp: Sequence[bytes] = (),
    payment: str | None = None,
    predecessor: str | None = None,
) -> KeyDocument:
    """Make a key document from its values; the result went through :func:`parse_key_document`."""
    value: dict[str, canonical.JSON] = {
        "type": KEY_DOCUMENT_TYPE,
        "name": name,
        "roles": list[canonical.JSON](sorted(set(roles))),
        "software": software,
        "keys": [key.to_json() for key in keys],
    }
    if ohttp:
        value["ohttp"] = [b64_encode(item) for item in ohttp]
    given = {"tls": tls, "payment": payment, "predecessor": predecessor}
    value.update({name: item for name, item in given.items() if item is not None})
    return parse_key_document(canonical.encode(value))


@lru_cache(maxsize=1024)
def _ed25519(public: bytes) -> ed25519.Ed25519PublicKey:
    return ed25519.Ed25519PublicKey.from_public_bytes(public)


@lru_cache(maxsize=1024)
def _p256(public: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)


MOST_REMEMBERED = 4096
"""Good signatures that are remembered, and the longest message (bytes) of one: what a round or a checkpoint signs
comes again in the evidence of every run it covers."""


@lru_cache(maxsize=MOST_REMEMBERED)
def _good_ed25519(public: bytes, message: bytes, signature: bytes) -> None:
    """Raises for a bad one, and nothing is remembered of it."""
    _ed25519(public).verify(signature, message)


def verify_signature(key: PublicKey, message: bytes, signature: bytes) -> None:
    """Check one Ed25519 (RFC 8032) or P-256 (SHA-256, ``r ‖ s``, 64 bytes) signature; raises ``signature.invalid``."""
    try:
        if key.algorithm == "ed25519" and len(message) <= MOST_REMEMBERED:
            _good_ed25519(key.public, message, signature)
        elif key.algorithm == "ed25519":
            _ed25519(key.public).verify(signature, message)
        elif key.algorithm == "p256" and len(signature) == 64:
            point = _p256(key.public)
            der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
            point.verify(der, message, ec.ECDSA(hashes.SHA256()))
        else:
            raise RefusedError("signature.invalid", f"{key.algorithm} keys make no such signature")
    except (InvalidSignature, ValueError) as error:
        raise RefusedError("signature.invalid", "the signature does not match the key and the bytes") from error
