"""What a node submits to the registry, and what full nodes sign about it (``spec/registry.md``).

A verdict says of one attestation, and of exactly the evidence that was submitted with it, whether a full node accepts
it. It is an EIP-712 message under the registry's own domain, so that it counts in no other registry and for no other
submission.

Not covered: judging evidence (``verifier.registration``), and who may vote (``contracts/Registry.vy``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from holdfast.core import evm
from holdfast.core.attestation.dcap import TDReport, parse_quote
from holdfast.core.attestation.evidence import parse_evidence
from holdfast.core.attestation.nitro import parse_nitro
from holdfast.core.attestation.snp import parse_snp
from holdfast.core.keys import KeyDocument
from holdfast.core.rounds import ChainDomain
from holdfast.errors import MalformedError, RefusedError

DOMAIN_NAME = "Holdfast Registry"
"""EIP-712 domain name (``registry.md`` §5)."""
DOMAIN_VERSION = "1"
"""EIP-712 domain version."""
VERDICT_TYPE = b"Verdict(uint256 attestation,bytes32 evidence,bool accepted)"
"""EIP-712 type of a verdict (``registry.md`` §5)."""
CHALLENGE_DOMAIN = b"urn:holdfast:registry-challenge:v1\x00"
"""First bytes of the nonce of evidence that answers a challenge (``registry.md`` §4(3))."""
MEASUREMENT_TAG = b"urn:holdfast:measurement:v1\x00"
"""First bytes under a measurement hash that is not Nitro's (``registry.md`` §3)."""
REGISTERS = {
    ("aws-nitro", "nitro"): ("pcr0", "pcr1", "pcr2"),
    ("intel-dcap", "tdx"): ("mr_td", "rt_mr1", "rt_mr2"),
    ("intel-dcap", "sgx"): ("mr_enclave",),
    ("amd-sev-snp", "snp"): ("measurement",),
    ("insecure-dev", "software"): (),
}
"""Format and TEE to the registers that a measurement hash covers, in this order (``registry.md`` §3)."""
KIND_ROLES = {0: "gateway", 1: "full", 2: "data", 3: "relay", 4: "memory", 5: "inference"}
"""Kinds of nodes by number, and the role that a key document of the kind has (``registry.md`` §2)."""
_X25519, _CHACHA20 = b"\x00\x20", b"\x00\x01\x00\x03"
"""DHKEM(X25519, HKDF-SHA256); HKDF-SHA256 with ChaCha20-Poly1305 (RFC 9180 §7)."""
_VERDICT_TYPE_HASH = evm.keccak256(VERDICT_TYPE)


@lru_cache(maxsize=16)
def _separator(domain: ChainDomain) -> bytes:
    return evm.domain_separator(DOMAIN_NAME, DOMAIN_VERSION, domain.chain_id, domain.contract)


def verdict_digest(domain: ChainDomain, attestation: int, evidence: bytes, *, accepted: bool) -> bytes:
    """The 32 bytes that a verdict signs (``registry.md`` §5); ``evidence`` is SHA-256 of the evidence."""
    if len(evidence) != 32:
        raise MalformedError("registry.fields", "a digest of evidence has 32 bytes")
    words = evm.word(attestation) + evidence + evm.word(int(accepted))
    return evm.typed_data_digest(_separator(domain), evm.keccak256(_VERDICT_TYPE_HASH + words))


def measurement_hash(form: str, tee: str, measurements: Mapping[str, bytes]) -> bytes:
    """What the registry knows measured software by, 32 bytes. Raises ``registry.measurement`` where a register is
    missing or the format has none that could be approved."""
    names = REGISTERS.get((form, tee))
    if names is None or any(name not in measurements for name in names):
        raise RefusedError(
            "registry.measurement", f"{form} evidence of {tee} has no measurement that the registry knows"
        )
    registers = b"".join(measurements[name] for name in names)
    if form == "aws-nitro":
        return evm.keccak256(registers)
    return evm.keccak256(MEASUREMENT_TAG + form.encode() + b"\x00" + tee.encode() + b"\x00" + registers)


def challenge_nonce(challenge: bytes) -> bytes:
    """The nonce of evidence that answers a challenge (32 bytes): 67 bytes, more than a node answers strangers
    (``attestation.md`` §11.2). Otherwise they could have any node attest itself for a place that they own."""
    return CHALLENGE_DOMAIN + challenge


def claimed_measurement(form: str, evidence: bytes) -> bytes:
    """The measurement hash that evidence, as it travels, claims: what its maker puts into a submission.

    Raises what parsing raises, and ``registry.measurement``.
    """
    file = parse_evidence(form, evidence)
    if form == "aws-nitro":
        pcrs = parse_nitro(file.evidence).pcrs
        return measurement_hash(form, "nitro", {f"pcr{number}": value for number, value in pcrs.items()})
    if form == "amd-sev-snp":
        return measurement_hash(form, "snp", {"measurement": parse_snp(file.evidence).measurement})
    if form == "intel-dcap":
        body = parse_quote(file.evidence).body
        if isinstance(body, TDReport):
            registers = {"mr_td": body.mr_td, "rt_mr1": body.rt_mr[1], "rt_mr2": body.rt_mr[2]}
            return measurement_hash(form, "tdx", registers)
        return measurement_hash(form, "sgx", {"mr_enclave": body.mr_enclave})
    return measurement_hash(form, "software", {})


INSECURE_MEASUREMENT = measurement_hash("insecure-dev", "software", {})
"""What stands for the measurement of a node without an enclave; approved on development networks alone."""


def p256_coordinates(document: KeyDocument) -> bytes:
    """x ‖ y of the document's P-256 statement key, 64 bytes; empty where its statement key is of another kind."""
    key = document.key_for("statement")
    if key is None or key.algorithm != "p256":
        return b""
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.public)
    except ValueError as error:
        raise MalformedError("registry.statement_key", "the statement key is no point of P-256") from error
    return point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


@dataclass(frozen=True, slots=True)
class OhttpConfig:
    """One OHTTP key with one symmetric suite, in the fields of OpenGradient's registry."""

    key_id: int
    kem_id: int
    kdf_id: int
    aead_id: int
    public_key: bytes
    """32 bytes (X25519)."""
    key_config: bytes
    """RFC 9458 §3.1 with exactly this suite: 41 bytes."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What a node says of itself and proves with evidence. All but the evidence follows from the key document."""

    document: bytes
    """The key document's exact bytes."""
    signing_key: bytes
    """Its ``opengradient`` key: 294 bytes of DER SubjectPublicKeyInfo."""
    certificate: bytes
    """DER of the TLS certificate: a leaf, never an authority."""
    payment: str
    """Where the node is paid; the zero address for nowhere."""
    measurement: bytes
    """Measurement hash (§3)."""
    form: str
    """Format of the evidence (``attestation.md`` §2)."""
    evidence: bytes
    """As it travels: what a bundle holds as ``evidence``."""
    anchor: int
    """Block of the challenge that the evidence answers."""
    ohttp: OhttpConfig | None = None
    statement_key: bytes = b""
    """Coordinates x ‖ y of the document's P-256 statement key, 64 bytes; empty for another algorithm."""

    @property
    def tee_id(self) -> bytes:
        """Keccak-256 of the signing key: how the registry names it, 32 bytes."""
        return evm.keccak256(self.signing_key)


def ohttp_config(document: KeyDocument) -> OhttpConfig | None:
    """The document's X25519 key configuration as OpenGradient's clients take it: with ChaCha20-Poly1305 alone (§4).

    None where the document has no configuration of that kind with that suite.
    """
    for blob in document.ohttp:
        suites = {blob[at : at + 4] for at in range(37, len(blob), 4)}
        if blob[1:3] == _X25519 and len(blob) == 37 + int.from_bytes(blob[35:37]) and _CHACHA20 in suites:
            narrowed = blob[:35] + len(_CHACHA20).to_bytes(2) + _CHACHA20
            kem, kdf, aead = (int.from_bytes(item) for item in (_X25519, _CHACHA20[:2], _CHACHA20[2:]))
            return OhttpConfig(blob[0], kem, kdf, aead, blob[3:35], narrowed)
    return None


def build_submission(
    document: KeyDocument, certificate: bytes, *, form: str, evidence: bytes, measurement: bytes, anchor: int
) -> Submission:
    """A submission of a key document. Raises ``registry.signing_key`` for one without an ``opengradient`` key."""
    key = document.key_for("opengradient")
    if key is None:
        raise RefusedError("registry.signing_key", f"{document.name} has no key that the registry could know it by")
    return Submission(
        document=document.raw,
        signing_key=key.public,
        certificate=certificate,
        payment=document.payment or evm.ZERO_ADDRESS,
        measurement=measurement,
        form=form,
        evidence=evidence,
        anchor=anchor,
        ohttp=ohttp_config(document),
        statement_key=p256_coordinates(document),
    )
