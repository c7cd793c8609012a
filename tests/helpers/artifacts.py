"""A hub's word in the log: artifact statements with what opens them, and the trust that admits the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from holdfast.core import canonical
from holdfast.core.artifact_changes import ArtifactChange, Continuity, Label, build_change
from holdfast.core.artifacts import build_manifest
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.core.keys import build_key_document
from holdfast.core.statements import (
    artifact_body,
    artifact_run,
    build_envelope,
    build_payload,
    parse_envelope,
    parse_statement,
    pre_authentication_encoding,
)
from tests.helpers.network import FROM, UNTIL, Network, at, p256_signer

SIGNER = p256_signer("hub", "statement")
DOCUMENT = build_key_document("hub.holdfast.test", ["hub"], "test", [SIGNER.key])
A, B = (build_manifest("risk", {"weights": hashlib.sha256(name).hexdigest()}).artifact for name in (b"a", b"b"))
LABEL = Label("acme/risk:prod", hashlib.sha256(b"label").digest())
FIRST = Continuity("first")
SAME_NAME = Continuity("same_name")


def trust_with_hub(network: Network | None = None) -> Any:
    """The network's trust, and the hub."""
    network = network or Network()
    span = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL), "revoked": None}
    nodes = canonical.decode(network.trust_version())["nodes"]
    return network.trust(nodes=[*nodes, {"key_document": b64_encode(DOCUMENT.raw), **span}])


def labelled(artifact: str = A, before: str | None = None, seconds: float = 0.0, **more: Any) -> ArtifactChange:
    """A change of the label; the first where nothing came before."""
    given = {"label": LABEL, "before": before, "continuity": FIRST if before is None else SAME_NAME, **more}
    return build_change(ArtifactChange("labelled", at(seconds), artifact, "Ada", "because", **given))


class Said:
    """A change as a hub says it: the statement in its envelope, the document and the salt."""

    def __init__(self, change: ArtifactChange, parents: Sequence[str] = (), name: str = "said") -> None:
        self.change = change
        self.document = change.raw
        self.salt = hashlib.sha256(name.encode()).digest()
        body = change.body(self.salt)
        payload = build_payload(
            "artifact",
            run=artifact_run(DOCUMENT.digest),
            attester=DOCUMENT.digest,
            claimed_at=change.at,
            parents=parents,
            subject=("artifact", body.record),
            body=artifact_body(body),
        )
        signature = SIGNER.sign(pre_authentication_encoding(payload))
        self.envelope = build_envelope(payload, SIGNER.key.key_id, signature)
        self.statement = parse_statement(parse_envelope(self.envelope))
