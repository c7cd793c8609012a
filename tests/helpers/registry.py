"""Nodes with every key that a registry asks for, and a registry on a chain of tests (``helpers.chains``)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.adapters.evm_rpc import EvmConnection, SendSettings, call_contract
from holdfast.adapters.registry_evm import EvmRegistry, RegistryDeployment, deploy_registry
from holdfast.adapters.registry_simulated import SimulatedRegistry, SimulatedRegistryClient
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.core import opengradient
from holdfast.core.attestation.binding import build_binding
from holdfast.core.encoding import sha256, sha256_hex
from holdfast.core.keys import KeyDocument, PublicKey, build_key_document
from holdfast.core.registry import INSECURE_MEASUREMENT, Submission, build_submission, verdict_digest
from holdfast.core.rounds import ChainDomain
from holdfast.ports.registry import GATEWAY_KIND, RegisteredKind, RegisteredNode, Registry
from holdfast.verifier.attestation.insecure import INSECURE_ATTESTATION_DOMAIN
from tests.helpers.chains import ManualClock, SimulatedWorld

INTERVAL_S, MAX_AGE_S = 86_400, 1_800
"""How long attestations and heartbeats last in these registries."""
ENDPOINT = "https://node.example"
ROOT = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
"""The throw-away root that vouches for nodes here."""
X25519_KEY = bytes(range(32))
OHTTP_CONFIGURATION = bytes.fromhex("010020") + X25519_KEY + bytes.fromhex("00080001000100010003")
"""One key, with AES-128-GCM and ChaCha20-Poly1305."""
PAYMENT = "0x" + "ab" * 20


@lru_cache(maxsize=8)
def rsa_key(number: int) -> rsa.RSAPrivateKey:
    """The same key for the same number, as long as the tests run; making one is slow."""
    del number
    return rsa.generate_private_key(65537, 2048)


def spki(key: Any) -> bytes:
    """DER SubjectPublicKeyInfo of a private key."""
    public = key.public_key()
    return bytes(public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))


def certificate(key: Any, *, authority: bool | None = False, usage: bool = False, issuer: Any = None) -> bytes:
    """DER of a certificate for a key; ``authority`` None leaves basicConstraints out, ``usage`` lets it sign others."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node.example")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2040, 1, 1, tzinfo=dt.UTC))
    )
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    if usage:
        flags = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment"), False)
        flags |= {"key_agreement": False, "crl_sign": False, "encipher_only": False, "decipher_only": False}
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, **flags), critical=True
        )
    made = builder.sign(issuer or key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


@dataclass(frozen=True)
class Keys:
    """Everything one node signs with, and its key document."""

    rsa: rsa.RSAPrivateKey
    tls: ec.EllipticCurvePrivateKey
    statement: ec.EllipticCurvePrivateKey
    document: KeyDocument
    certificate: bytes

    @property
    def tee_id(self) -> bytes:
        return opengradient.tee_id_of(spki(self.rsa))

    def sign(self, digest: bytes) -> bytes:
        """RSASSA-PSS as OpenGradient's gateways make it."""
        return pss(self.rsa, digest)

    def heartbeat(self, timestamp: int) -> bytes:
        return self.sign(opengradient.heartbeat_hash(self.tee_id, timestamp))

    def sign_statement(self, digest: bytes) -> bytes:
        """P-256 over a SHA-256 digest, r ‖ s."""
        r, s = utils.decode_dss_signature(self.statement.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()))))
        return r.to_bytes(32) + s.to_bytes(32)


def pss(key: rsa.RSAPrivateKey, digest: bytes, *, salt: int = 32) -> bytes:
    """A signature over 32 bytes; another salt length is what no verifier here accepts."""
    return key.sign(digest, padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256())


def node_keys(
    number: int = 1, *, predecessor: str | None = None, roles: Sequence[str] = ("gateway",), **changes: Any
) -> Keys:
    """A node's keys; ``changes`` go into the key document."""
    tls = ec.derive_private_key(1000 + number, ec.SECP256R1())
    statement = ec.derive_private_key(2000 + number, ec.SECP256R1())
    point = statement.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    signing = rsa_key(number)
    listed = [PublicKey("statement", "p256", point), PublicKey("opengradient", "rsa2048", spki(signing))]
    members: dict[str, Any] = {
        "tls": sha256_hex(spki(tls)),
        "ohttp": [OHTTP_CONFIGURATION],
        "payment": PAYMENT,
        "predecessor": predecessor,
        **changes,
    }
    document = build_key_document("node.example", list(roles), "test/1", listed, **members)
    return Keys(signing, tls, statement, document, certificate(tls))


def insecure_evidence(document: KeyDocument) -> bytes:
    """The throw-away root's word for a key document."""
    return ROOT.sign(INSECURE_ATTESTATION_DOMAIN + bytes.fromhex(document.digest))


def binding_of(document: KeyDocument) -> bytes:
    """The record that evidence of hardware would carry."""
    tls = None if document.tls is None else bytes.fromhex(document.tls)
    return build_binding(document.digest, tls_spki=tls, hpke=document.ohttp_digest)


class World(Protocol):
    """A chain of tests with contracts on it."""

    clock: ManualClock
    signers: list[Secp256k1Signer]
    domain: ChainDomain
    connection: EvmConnection


class RegistryWorld:
    """A registry beside a chain. Signer 0 is its admin, signer 4 its guardian."""

    chain: Any

    async def open(self) -> None:
        """Bring it up, with the kind of gateways and the measurement of development nodes."""
        raise NotImplementedError

    def client(self, index: int = 0) -> Registry:
        """The port as the signer with this index sees it."""
        raise NotImplementedError

    async def has_p256(self) -> bool:
        """Whether the chain checks P-256 signatures."""
        raise NotImplementedError

    # What all have in common

    @property
    def now(self) -> int:
        return int(self.chain.clock.time)

    async def submission(self, keys: Keys, owner: int = 3, **changes: Any) -> Submission:
        """What the signer with this index would submit of these keys now."""
        challenge = await self.client(owner).challenge(bytes.fromhex(keys.document.digest))
        made = build_submission(
            keys.document,
            keys.certificate,
            form="insecure-dev",
            evidence=insecure_evidence(keys.document),
            measurement=INSECURE_MEASUREMENT,
            anchor=challenge.anchor,
        )
        return replace(made, **changes)

    async def register(self, keys: Keys, owner: int = 3) -> tuple[int, int]:
        """Ask for a place; returns the numbers of node and attestation."""
        client = self.client(owner)
        await client.register(GATEWAY_KIND, ENDPOINT, await self.submission(keys, owner))
        node = (await client.nodes_of(self.chain.signers[owner].address))[-1]
        return node.number, node.pending

    def verdict(self, voter: int, attestation: int, evidence: bytes, *, accepted: bool = True) -> bytes:
        """A signer's verdict."""
        digest = verdict_digest(self.client().domain, attestation, evidence, accepted=accepted)
        return self.chain.signers[voter].sign(digest)

    async def vote(self, attestation: int, voters: Sequence[int], *, accepted: bool = True, relay: int = 0) -> None:
        """Send verdicts of these signers in one call."""
        record = await self.client().attestation(attestation)
        assert record is not None
        signatures = [self.verdict(voter, attestation, record.evidence, accepted=accepted) for voter in voters]
        await self.client(relay).submit_verdicts(attestation, record.evidence, signatures, accepted=accepted)

    async def admit(self, keys: Keys, owner: int = 3) -> RegisteredNode:
        """A node, registered and accepted."""
        number, attestation = await self.register(keys, owner)
        await self.vote(attestation, (0, 1, 2))
        return await self.node(number)

    async def node(self, number: int) -> RegisteredNode:
        """One node as it is now."""
        found = await self.client().node(number)
        assert found is not None
        return found


async def _prepare(world: RegistryWorld) -> None:
    admin = world.client(0)
    await admin.set_kind(RegisteredKind(GATEWAY_KIND, "LLMProxy", INTERVAL_S))
    await admin.approve_measurement(GATEWAY_KIND, INSECURE_MEASUREMENT, "development")


class EvmRegistryWorld(RegistryWorld):
    """The contracts, beside the Rounds contract of a chain."""

    def __init__(self, chain: World) -> None:
        self.chain = chain
        self.deployment: RegistryDeployment

    async def open(self) -> None:
        signers = self.chain.signers
        self.deployment = await deploy_registry(
            self.chain.connection,
            signers[0],
            self.chain.domain,
            guardian=signers[4].address,
            heartbeat_max_age_s=MAX_AGE_S,
        )
        await _prepare(self)

    def client(self, index: int = 0) -> EvmRegistry:
        return EvmRegistry(
            self.chain.connection,
            self.deployment.registry,
            self.chain.signers[index],
            views=self.deployment.views,
            send=SendSettings(poll_s=0.001, poll_max_s=0.01, receipt_timeout_s=5),
        )

    async def has_p256(self) -> bool:
        contract = self.deployment.signatures
        return bool(await call_contract(self.chain.connection, contract, "Signatures", "has_p256"))


class SimulatedRegistryWorld(RegistryWorld):
    """The registry in memory, beside a chain in memory."""

    def __init__(self, chain: SimulatedWorld) -> None:
        self.chain = chain
        signers = chain.signers
        self.registry = SimulatedRegistry(
            chain.chain, admin=signers[0].address, guardian=signers[4].address, heartbeat_max_age_s=MAX_AGE_S
        )

    async def open(self) -> None:
        await _prepare(self)

    def client(self, index: int = 0) -> SimulatedRegistryClient:
        return self.registry.client(self.chain.signers[index].address)

    async def has_p256(self) -> bool:
        return True


def message_hash(text: bytes, timestamp: int) -> tuple[bytes, bytes, bytes]:
    """Request hash, answer hash and what is signed, for made-up texts."""
    asked, answered = sha256(text), sha256(text + b"!")
    return asked, answered, opengradient.message_hash(asked, answered, timestamp)
