"""A small network's worth of signed evidence, made with the product's own core functions: keys, trust, one run, its log
entry, cosigned checkpoint and final round.

Everything follows from names and fixed times, so a bundle made here has the same bytes in every run.
``Network.journal`` gives the evidence as JSON items that a test may change before :func:`bundle_of` puts them into a
file.
"""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from holdfast.adapters.signer_files import FileSigner
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.core import canonical, merkle, notes, rounds, statements, trust
from holdfast.core.bundles import build_bundle
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.keys import KeyDocument, build_key_document
from holdfast.core.marks import Mark
from holdfast.core.notes import Checkpoint, VerifierKey
from holdfast.core.parts import Commitment, commit, derive_salt, disclose, pseudo_random_key
from holdfast.core.statements import Execution, MarkReference, Route, Tree
from holdfast.verifier.attestation.insecure import INSECURE_ATTESTATION_DOMAIN

ORIGIN = "holdfast.test/log/1"
RUN = "019b76da-a800-70c8-9215-35f11ffa1fae"
SECRET = hashlib.sha256(b"run secret").digest()
NONCE = "a-nonce-of-the-client"
ASKED = dt.datetime(2026, 1, 1, 12, 0, 0, tzinfo=dt.UTC)
FROM, UNTIL = dt.datetime(2025, 12, 1, tzinfo=dt.UTC), dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
CHAIN_ID, CONTRACT = 31337, "0x" + "5a" * 20
STAKE = 100
REQUEST = b'{"model":"small-1","messages":[{"role":"user","content":"What is a lane?"}],"temperature":0.50}'
RESPONSE = (
    b'{"id":"chatcmpl-1","object":"chat.completion","model":"small-1","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"One question about a run."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":4,"completion_tokens":6,"total_tokens":10}}'
)


def at(seconds: float) -> dt.datetime:
    """A moment, counted from the question."""
    return ASKED + dt.timedelta(seconds=seconds)


def ed25519_signer(name: str, use: str) -> FileSigner:
    """A key that follows from its name."""
    seed = hashlib.sha256(f"{name}/{use}".encode()).digest()
    return FileSigner(ed25519.Ed25519PrivateKey.from_private_bytes(seed), use)


def p256_signer(name: str, use: str) -> FileSigner:
    """A P-256 key that follows from its name; its signatures differ each time."""
    secret = int.from_bytes(hashlib.sha256(f"{name}/{use}".encode()).digest())
    return FileSigner(ec.derive_private_key(secret, ec.SECP256R1()), use)


@dataclass
class FullNode:
    """A full node's keys."""

    name: str
    vote: Secp256k1Signer = field(init=False)
    cosignature: FileSigner = field(init=False)
    document: KeyDocument = field(init=False)

    def __post_init__(self) -> None:
        self.vote = Secp256k1Signer(hashlib.sha256(f"{self.name}/vote".encode()).digest())
        self.cosignature = ed25519_signer(self.name, "cosignature")
        self.document = build_key_document(self.name, ["full"], "test", [self.cosignature.key, self.vote.key])

    def cosign(self, text: bytes, moment: dt.datetime) -> notes.NoteSignature:
        """A cosignature line over a checkpoint's text."""
        key = VerifierKey(self.name, notes.COSIGNATURE, self.cosignature.key.public)
        return notes.sign_note(text, key, self.cosignature.sign, int(moment.timestamp()))

    def finality(self, domain: rounds.ChainDomain, candidate: rounds.Candidate) -> dict[str, Any]:
        """Its finality message."""
        digest = rounds.finality_digest(domain, candidate.origin, candidate.epoch, candidate.number, candidate.content)
        message = rounds.FinalityMessage(
            candidate.origin, candidate.epoch, candidate.number, candidate.content, self.vote.sign(digest)
        )
        return message.to_json()


@dataclass
class Network:
    """Keys of every node, and what they sign. Change a field before asking for evidence to get another story."""

    development: bool = True
    request: bytes = REQUEST
    response: bytes = RESPONSE
    settlement: str = "batch"
    verdict: str = "ok"
    expires_at: dt.datetime = UNTIL
    gateway: FileSigner = field(default_factory=lambda: ed25519_signer("gateway", "statement"))
    log: FileSigner = field(default_factory=lambda: ed25519_signer("log", "log"))
    roots: tuple[FileSigner, ...] = field(
        default_factory=lambda: (ed25519_signer("root-1", "root"), ed25519_signer("root-2", "root"))
    )
    full_nodes: tuple[FullNode, ...] = field(
        default_factory=lambda: tuple(FullNode(f"full-{number}") for number in range(1, 5))
    )

    def __post_init__(self) -> None:
        self.gateway_document = build_key_document("gateway", ["gateway"], "test", [self.gateway.key])
        self.log_document = build_key_document("log", ["log"], "test", [self.log.key])
        self.domain = rounds.ChainDomain(CHAIN_ID, CONTRACT)
        self.enclave_root = ed25519_signer("enclave-root", "root")
        self.key = pseudo_random_key(RUN, SECRET)
        self.others: list[KeyDocument] = []
        """Nodes that trust admits beside those of every network."""

    # Trust

    def trust_version(self, number: int = 1, **changes: Any) -> bytes:
        """The payload of one trust version; ``changes`` replace members."""
        documents = [
            self.gateway_document,
            self.log_document,
            *(node.document for node in self.full_nodes),
            *self.others,
        ]
        span = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL)}
        value: dict[str, Any] = {
            "type": trust.TRUST_TYPE,
            "version": number,
            "issued_at": time_encode(FROM),
            "expires_at": time_encode(self.expires_at),
            "development": self.development,
            "root": {
                "threshold": 2,
                "keys": [
                    {"algorithm": signer.key.algorithm, "public": b64_encode(signer.key.public)}
                    for signer in self.roots
                ],
            },
            "nodes": [{"key_document": b64_encode(item.raw), "revoked": None, **span} for item in documents],
            "logs": [{"origin": ORIGIN, "node": self.log_document.digest, **span}],
            "epochs": [
                {
                    "origin": ORIGIN,
                    "number": 1,
                    "first_round": 1,
                    "stakes": [{"node": node.document.digest, "stake": STAKE} for node in self.full_nodes],
                    **span,
                }
            ],
            "chains": [
                {
                    "origin": ORIGIN,
                    "chain_id": CHAIN_ID,
                    "contract": CONTRACT,
                    "finality_depth": 2,
                    "development": self.development,
                }
            ],
            "enclave_roots": [
                {
                    "kind": "insecure-dev",
                    "certificate": b64_encode(self.enclave_root.key.public),
                    "development": True,
                }
            ],
            "measurements": [],
        }
        return canonical.encode(value | changes)

    def sign_trust(self, payload: bytes, signers: Sequence[FileSigner] | None = None) -> tuple[bytes, list[Any]]:
        """A payload with its root signatures, as ``trust.build_trust_chain`` takes it."""
        message = statements.pre_authentication_encoding(payload, trust.TRUST_PAYLOAD_TYPE)
        return payload, [(item.key.key_id, item.sign(message)) for item in (signers or self.roots)]

    def trust_file(self, **changes: Any) -> bytes:
        """A trust file of one version."""
        return trust.build_trust_chain([self.sign_trust(self.trust_version(**changes))])

    def trust(self, **changes: Any) -> trust.Trust:
        """The same, verified."""
        return trust.verify_trust(trust.parse_trust_chain(self.trust_file(**changes)))

    # Statements

    def seal(self, payload: bytes, signer: FileSigner | None = None) -> bytes:
        """An envelope around a payload."""
        signature = (signer or self.gateway).sign(statements.pre_authentication_encoding(payload))
        return statements.build_envelope(payload, self.gateway.key.key_id, signature)

    @property
    def request_parts(self) -> Commitment:
        return commit("request", self.request, self.key)

    @property
    def response_parts(self) -> Commitment:
        return commit("response", self.response, self.key)

    def route(self, **changes: Any) -> bytes:
        """The route's payload; ``changes`` replace what :func:`statements.build_payload` is given."""
        tree = self.request_parts.tree
        body = Route(
            tree, tree, "chat.completions", "stub", (), (), cached=False, settlement=self.settlement, streamed=False
        )
        given: dict[str, Any] = {
            "run": RUN,
            "attester": self.gateway_document.digest,
            "claimed_at": at(0.5),
            "parents": [],
            "subject": ("request", tree.root),
            "body": statements.route_body(body) | changes.pop("body", {}),
            "nonce": NONCE,
        }
        return statements.build_payload("route", **(given | changes))

    def execution(self, **changes: Any) -> bytes:
        """The closing execution's payload."""
        tree: Tree = self.response_parts.tree
        mark = MarkReference(self.mark().seq, self.mark().parts)
        body = Execution("generated", "complete", tree, mark, "stub")
        given: dict[str, Any] = {
            "run": RUN,
            "attester": self.gateway_document.digest,
            "claimed_at": at(0.5),
            "parents": [sha256_hex(self.route())],
            "subject": ("response", tree.root),
            "body": statements.execution_body(body),
            "nonce": NONCE,
        }
        return statements.build_payload("execution", **(given | changes))

    def mark(self) -> Mark:
        """A last mark, its values taken from nowhere: offline only its signature and its name count."""
        return Mark(3, hashlib.sha256(b"two").digest(), hashlib.sha256(b"three").digest(), 4)

    # Log and rounds

    def entries(self) -> list[bytes]:
        """What is in the log: two strangers, then this run."""
        strangers = [statements.build_commitment(sha256_hex(b"%d" % number), bytes(32)) for number in range(2)]
        own = [self.seal(self.route()), self.seal(self.execution())]
        if self.settlement == "private":
            own = [entry for entry, _ in self.commitments()]
        return [*strangers, *own]

    def commitments(self) -> list[tuple[bytes, bytes]]:
        """(entry, salt) of the run's private commitments."""
        found = []
        for payload in (self.route(), self.execution()):
            digest = sha256_hex(payload)
            salt = derive_salt(self.key, f"commitment/{digest}", 32)
            found.append((statements.build_commitment(digest, salt), salt))
        return found

    def digests(self) -> list[str]:
        """What the log knows the run's two entries by."""
        if self.settlement == "private":
            return [sha256_hex(entry) for entry, _ in self.commitments()]
        return [sha256_hex(self.route()), sha256_hex(self.execution())]

    def checkpoint(self, cosigners: int = 4, moment: dt.datetime | None = None) -> str:
        """A cosigned checkpoint over all entries."""
        leaves = [merkle.leaf_hash(entry) for entry in self.entries()]
        key = VerifierKey(ORIGIN, notes.ED25519, self.log.key.public)
        raw = notes.sign_checkpoint(Checkpoint(ORIGIN, len(leaves), merkle.root(leaves)), key, self.log.sign)
        note = notes.parse_note(raw)
        lines = [node.cosign(note.text, moment or at(1)) for node in self.full_nodes[:cosigners]]
        return note.with_signatures(lines).raw.decode()

    def verdicts(self) -> list[rounds.VerdictEntry]:
        """Verdicts on every entry."""
        codes = ["cannot_tell", "cannot_tell", "ok", self.verdict]
        if self.settlement == "private":
            codes = ["cannot_tell"] * 4
        digests = [sha256_hex(entry) for entry in self.entries()[:2]] + self.digests()
        return [
            rounds.VerdictEntry(index, bytes.fromhex(digest), code)
            for index, (digest, code) in enumerate(zip(digests, codes, strict=True))
        ]

    def candidate(self, **changes: Any) -> rounds.Candidate:
        """Round 1 over all entries."""
        leaves = [merkle.leaf_hash(entry) for entry in self.entries()]
        entries = self.verdicts()
        given: dict[str, Any] = {
            "origin": ORIGIN,
            "epoch": 1,
            "number": 1,
            "attempt": 0,
            "previous": rounds.NO_PREVIOUS,
            "size": len(leaves),
            "root": merkle.root(leaves),
            "verdict_root": rounds.verdict_root(entries),
            "blob_id": rounds.blob_id(rounds.verdict_blob(entries)),
        }
        return rounds.Candidate(**(given | changes))

    # The bundle

    def journal(self, *, finality: int = 4, cosigners: int = 4, disclosed: bool = True) -> list[dict[str, Any]]:
        """Evidence items of the whole story, in the order in which a gateway learns them."""
        items = [_item("note", 0, code="asked"), self.attestation()]
        items += [
            _item("statement", 0.5, envelope=canonical.decode(self.seal(payload)))
            for payload in (self.route(), self.execution())
        ]
        mark = self.mark()
        items.append(_item("mark", 0.5, mark=mark.to_json(self.gateway.sign(mark.message(RUN)))))
        if self.settlement == "private":
            items += [
                _item("commitment", 0.5, entry=b64_encode(entry), salt=salt.hex()) for entry, salt in self.commitments()
            ]
        if disclosed:
            items.append(_item("document", 0.6, document="request", text=self.request.decode(), secret=SECRET.hex()))
            shown = [disclose("response", self.response_parts, position).to_json() for position in (0, 3)]
            items.append(_item("parts", 0.6, parts=shown))
        named = list(zip(self.digests(), (2, 3), strict=True))
        items += [_item("entry", 0.7, digest=digest, index=index) for digest, index in named]
        if cosigners:
            items.append(_item("checkpoint", 1, note=self.checkpoint(cosigners)))
            items += self._inclusions(1)
        candidate = self.candidate()
        items.append(_item("candidate", 2, round=candidate.to_json()))
        voters = sorted(node.vote.address for node in self.full_nodes[:3])
        items.append(_item("votes", 2.5, number=1, attempt=0, voters=voters))
        if finality:
            messages = [node.finality(self.domain, candidate) for node in self.full_nodes[:finality]]
            items.append(_item("finality", 4, round=candidate.to_json(), messages=messages))
            items += self._inclusions(4) if not cosigners else []
            items += self._verdict_items(4)
        return items

    def attestation(self) -> dict[str, Any]:
        """The gateway's key vouched for by the throw-away root."""
        node = self.gateway_document.digest
        evidence = self.enclave_root.sign(INSECURE_ATTESTATION_DOMAIN + bytes.fromhex(node))
        return _item("attestation", 0, node=node, format="insecure-dev", evidence=b64_encode(evidence))

    def _inclusions(self, seconds: float) -> list[dict[str, Any]]:
        leaves = [merkle.leaf_hash(entry) for entry in self.entries()]
        return [
            _item(
                "inclusion",
                seconds,
                digest=digest,
                index=index,
                size=len(leaves),
                proof=[item.hex() for item in merkle.inclusion_proof(leaves, index)],
            )
            for digest, index in zip(self.digests(), (2, 3), strict=True)
        ]

    def _verdict_items(self, seconds: float) -> list[dict[str, Any]]:
        entries = self.verdicts()
        leaves = [merkle.leaf_hash(entry.leaf) for entry in entries]
        return [
            _item(
                "verdict",
                seconds,
                number=1,
                index=entry.index,
                digest=entry.statement_digest.hex(),
                code=entry.code,
                position=entry.index,
                size=len(entries),
                proof=[item.hex() for item in merkle.inclusion_proof(leaves, entry.index)],
            )
            for entry in entries[2:]
        ]

    def bundle(self, **options: Any) -> bytes:
        """A bundle of :meth:`journal`."""
        return bundle_of(self.journal(**options))


def _item(kind: str, seconds: float, **members: Any) -> dict[str, Any]:
    return {"kind": kind, "at": time_encode(at(seconds)), **members}


def bundle_of(journal: Sequence[Mapping[str, Any]], run: str = RUN) -> bytes:
    """A bundle of these items."""
    return build_bundle(run, at(10), copy.deepcopy(list(journal)))
