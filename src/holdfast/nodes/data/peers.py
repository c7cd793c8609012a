"""Other data nodes, asked for a quorum (``spec/admission.md`` §5).

What a peer answers counts only with the signature of the key in its configured key document, and when its document
holds against itself. A peer that does not answer is not in the quorum; nothing is made up for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.client.data_nodes import is_about
from holdfast.core import canonical
from holdfast.core.admissions import Admission, Presented, parse_presented, verify_admission, verify_observation
from holdfast.core.keys import KeyDocument, verify_signature
from holdfast.core.statements import Statement, parse_envelope, parse_statement, pre_authentication_encoding
from holdfast.errors import RefusedError, UnavailableError
from holdfast.ports.http import HTTP
from holdfast.ports.settings import Secret

TIMEOUT_S = 70.0
"""A source has up to 60 s."""
MAX_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Peer:
    """How a node is reached, and whose word counts as its own."""

    url: str
    key: Secret
    document: KeyDocument


class Peers:
    """By name."""

    def __init__(self, http: HTTP, peers: Mapping[str, Peer]) -> None:
        self._http = http
        self._peers = peers

    def __contains__(self, name: str) -> bool:
        return name in self._peers

    async def admit(self, name: str, source: str, parameters: Mapping[str, Any]) -> Presented:
        """Have a peer ask a source. Raises ``http.*``, ``source.peer`` and what its answer is refused for."""
        peer = self._peers[name]
        answer = await self._http.request(
            "POST",
            f"{peer.url.rstrip('/')}/v1/admit",
            body=canonical.encode({"source": source, "parameters": dict(parameters)}),
            headers={"content-type": "application/json", "authorization": f"Bearer {peer.key.reveal()}"},
            timeout_s=TIMEOUT_S,
            max_bytes=MAX_ANSWER_BYTES,
        )
        if answer.status != 200:
            raise UnavailableError("source.peer", f"the data node {name} answers with status {answer.status}")
        shown = parse_presented(canonical.decode_object(answer.body))
        statement, document = open_presented(shown, peer.document)
        if not is_about(document, source, parameters) or statement.attester != peer.document.digest:
            raise RefusedError("source.peer", f"the data node {name} answers another question", status=502)
        return shown


def open_presented(shown: Presented, node: KeyDocument) -> tuple[Statement, Admission]:
    """A presented admission's statement and document, when this node signed it and it holds. Raises ``source.peer``,
    ``admission.*``, ``signature.*``."""
    envelope = parse_envelope(shown.envelope)
    statement = parse_statement(envelope)
    key = node.key_for("statement")
    if key is None or key.key_id != envelope.key_id or statement.attester != node.digest:
        raise RefusedError("source.peer", "another key than the node's signed this", status=502)
    verify_signature(key, pre_authentication_encoding(envelope.payload), envelope.signature)
    document = verify_admission(statement, shown.document, shown.salt)
    verify_observation(document, shown.definition)
    return statement, document
