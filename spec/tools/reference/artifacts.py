"""Manifests as Model Signing has them, digests of artifacts, and a hub's statements about both (artifacts.md)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from .signing import STATEMENT_PAYLOAD, Node, pae
from .text import b64, jcs, named, sha, when
from .world import START, Statement, admit, statement, trust_value, usual_trust

HUB = Node("hub.example", ["hub"], ["statement"], p256=True)
OTHER_HUB = Node("other-hub.example", ["hub"], ["statement"], p256=True)
FILES = {"config.json": sha(b"{}").hex(), "weights/a.safetensors": sha(b"a").hex(), "weights.bin": sha(b"w").hex()}
"""Ordered by parts: a folder comes before a file whose name goes on with a full stop."""
SERIALIZATION = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}


def resources(files: dict[str, str]) -> list[dict[str, str]]:
    """§1(3), in the order of the parts of the names."""
    ordered = sorted(files.items(), key=lambda item: item[0].split("/"))
    return [{"name": name, "algorithm": "sha256", "digest": digest} for name, digest in ordered]


def artifact_of(files: dict[str, str]) -> str:
    """§1(3)."""
    return hashlib.sha256(b"urn:holdfast:artifact-id:v1" + b"\x00" + jcs(resources(files))).hexdigest()


def root_of(listed: Sequence[dict[str, str]]) -> str:
    """§2(1)."""
    running = hashlib.sha256()
    for item in listed:
        running.update(bytes.fromhex(item["digest"]))
    return running.hexdigest()


def manifest(files: dict[str, str] | None = None, **change: Any) -> dict[str, Any]:
    """The in-toto statement that is signed (§2(1))."""
    listed = resources(FILES if files is None else files)
    value = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "risk", "digest": {"sha256": root_of(listed)}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": SERIALIZATION, "resources": listed},
    }
    return {**value, **change}


def pem_hint(node: Node) -> str:
    """§2(3): how the bundle names the key."""
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), node.statement_key.public)
    pem = point.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return sha(pem).hex()


def signed(
    payload: bytes, node: Node = HUB, *, hint: str | None = None, message: bytes | None = None
) -> dict[str, Any]:
    """§2(3): the bundle."""
    pair = node.statement_key.sign(message or pae(STATEMENT_PAYLOAD, payload))
    der = encode_dss_signature(int.from_bytes(pair[:32], "big"), int.from_bytes(pair[32:], "big"))
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": hint or pem_hint(node)}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": b64(payload),
            "payloadType": STATEMENT_PAYLOAD,
            "signatures": [{"sig": b64(der), "keyid": ""}],
        },
    }


def declared_artifact(upstream: str, model: str, fingerprint: str | None) -> str:
    """§3."""
    value = {
        "type": "urn:holdfast:declared-artifact:v1",
        "upstream": upstream,
        "model": model,
        "system_fingerprint": fingerprint,
    }
    return sha(jcs(value)).hex()


DECLARED = {
    "upstream": "big.provider",
    "model": "big-2026-01",
    "system_fingerprint": "fp_1",
    "first_seen": START,
    "last_seen": START,
}
DECLARED_ARTIFACT = declared_artifact("big.provider", "big-2026-01", "fp_1")
LABEL = {"name": "acme/risk:prod", "salt": named("label salt").hex()}
A, B = artifact_of(FILES), artifact_of({**FILES, "config.json": sha(b"{ }").hex()})


def label_id(label: dict[str, str]) -> str:
    """§4(3)."""
    salt = bytes.fromhex(label["salt"])
    return hashlib.sha256(b"urn:holdfast:label:v1" + b"\x00" + salt + label["name"].encode()).hexdigest()


def continuity(kind: str, **change: Any) -> dict[str, Any]:
    """§4(5)."""
    return {"kind": kind, "of": None, "how": None, "evaluation": None, **change}


def change_of(event: str = "labelled", **more: Any) -> dict[str, Any]:
    """§4(1): a change of a kind, with one thing changed."""
    value: dict[str, Any] = {
        "type": "urn:holdfast:artifact-change:v1",
        "event": event,
        "at": START,
        "artifact": A,
        "manifest": None,
        "version": None,
        "declared": None,
        "label": None,
        "before": None,
        "continuity": None,
        "by": "Ada",
        "reason": "the first that passed",
    }
    if event == "published":
        value |= {"manifest": sha(jcs(manifest())).hex(), "version": "acme/risk@1"}
    if event == "declared":
        value |= {"artifact": DECLARED_ARTIFACT, "declared": DECLARED}
    if event == "labelled":
        value |= {"label": LABEL, "continuity": continuity("first")}
    return value | more


def record(raw: bytes, salt: bytes) -> str:
    """§4(2)."""
    return hashlib.sha256(b"urn:holdfast:artifact-record:v1" + b"\x00" + salt + raw).hexdigest()


def artifact_run(attester: str) -> str:
    """§4(6)."""
    digest = hashlib.sha256(b"urn:holdfast:artifact-run:v1" + b"\x00" + bytes.fromhex(attester)).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


class Change:
    """An artifact statement, claiming the time ``at``, and what opens it, made at ``made_at``."""

    def __init__(
        self,
        event: str = "labelled",
        name: str = "change",
        *,
        after: Change | None = None,
        parents: Sequence[str] | None = None,
        node: Node = HUB,
        signer: Any = None,
        at: str | None = None,
        made_at: str = START,
        predicate: dict[str, Any] | None = None,
        edit: Any = None,
        **more: Any,
    ) -> None:
        self.value = change_of(event, **more) | {"at": made_at}
        self.raw = jcs(self.value)
        self.salt = named(f"change salt/{name}")
        digest = record(self.raw, self.salt)
        label = self.value["label"]
        body = {
            "event": event,
            "label": label_id(label) if label else None,
            "continuity": self.value["continuity"]["kind"] if self.value["continuity"] else None,
            "record": digest,
        }
        usual = [] if after is None else [after.statement.digest]
        self.statement: Statement = statement(
            "artifact",
            node,
            run=artifact_run(node.id),
            claimed_at=at or when(self.value["at"], plus_ms=5),
            parents=usual if parents is None else parents,
            subject=("artifact", bytes.fromhex(digest)),
            body={**body, **(predicate or {})},
            nonce=None,
            signer=signer,
            change=edit,
        )

    def opening(self, **change: Any) -> dict[str, Any]:
        """What opens it, with its envelope."""
        item = {"envelope": b64(self.statement.entry), "document": b64(self.raw), "salt": self.salt.hex()}
        return {**item, **change}


def trust_with_hub(**change: Any) -> dict[str, Any]:
    """The usual trust, and two hubs. ``change`` is of the first hub's admission."""
    return usual_trust(nodes=[*trust_value(2)["nodes"], admit(HUB, **change), admit(OTHER_HUB)])
