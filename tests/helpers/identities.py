"""A gateway with a private path, and its keys as a log and a quorum of full nodes vouch for them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from holdfast.core import merkle, notes
from holdfast.core.encoding import sha256
from holdfast.core.keys import KeyDocument, build_key_document
from holdfast.core.keys_proof import ShownAttestation, build_keys_proof
from holdfast.core.notes import Checkpoint, VerifierKey
from holdfast.core.statements import build_payload, identity_body, identity_run
from holdfast.verifier.checks import identity_of
from tests.helpers.network import ASKED, ORIGIN, Network, at


def configuration(name: str, key_id: int = 1) -> bytes:
    """An RFC 9458 §3.1 key configuration with a public key made from a name; nobody holds its private half."""
    suites = bytes.fromhex("00080001000100010003")
    return bytes([key_id]) + bytes.fromhex("0020") + sha256(name.encode()) + suites


CONFIGURATION = configuration("gateway")
BESIDE = ShownAttestation("insecure-dev", b"evidence")
"""What a proof shows beside the keys, where a test asks for nothing of it."""


def sealed_document(network: Network, *configurations: bytes, **more: Any) -> KeyDocument:
    """A gateway's key document that names key configurations."""
    return build_key_document("gateway", ["gateway"], "test", [network.gateway.key], ohttp=configurations, **more)


def sealed_network(*configurations: bytes, **more: Any) -> Network:
    """A network whose gateway is reached over the private path."""
    network = Network()
    network.gateway_document = sealed_document(network, *(configurations or (CONFIGURATION,)), **more)
    return network


def identity_payload(
    document: KeyDocument, claimed_at: dt.datetime = ASKED, change: Callable[[dict[str, Any]], None] | None = None
) -> bytes:
    """What a node says of its key document; ``change`` edits the predicate's own members."""
    body = identity_body(identity_of(document))
    if change is not None:
        change(body)
    return build_payload(
        "identity",
        run=identity_run(document.digest),
        attester=document.digest,
        claimed_at=claimed_at,
        parents=(),
        subject=("key_document", bytes.fromhex(document.digest)),
        body=body,
    )


def log_of(
    network: Network,
    entries: list[bytes],
    *,
    cosigners: int = 4,
    moment: dt.datetime | None = None,
    origin: str = ORIGIN,
) -> tuple[bytes, list[bytes]]:
    """A cosigned checkpoint over these entries, and their leaf hashes."""
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    key = VerifierKey(origin, notes.ED25519, network.log.key.public)
    raw = notes.sign_checkpoint(Checkpoint(origin, len(leaves), merkle.root(leaves)), key, network.log.sign)
    note = notes.parse_note(raw)
    lines = [node.cosign(note.text, moment or at(1)) for node in network.full_nodes[:cosigners]]
    return note.with_signatures(lines).raw, leaves


def proof_for(
    network: Network,
    envelope: bytes | None = None,
    *,
    shown: ShownAttestation | None = BESIDE,
    **log: Any,
) -> bytes:
    """The keys proof of a network's gateway, with what is shown beside it."""
    document = network.gateway_document
    envelope = envelope or network.seal(identity_payload(document))
    entries = [b"an entry before", envelope, b"an entry after"]
    checkpoint, leaves = log_of(network, entries, **log)
    return build_keys_proof(
        document,
        shown,
        envelope,
        index=1,
        size=len(entries),
        proof=merkle.inclusion_proof(leaves, 1),
        checkpoint=checkpoint,
    )
