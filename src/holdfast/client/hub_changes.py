"""A hub's changes as whoever follows it takes them: checked against trust, and opened (``spec/artifacts.md`` §4)."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.artifact_changes import ArtifactChange, verify_change
from holdfast.core.encoding import b64_decode, hex_decode
from holdfast.core.statements import Statement, parse_envelope, parse_statement
from holdfast.core.trust import Trust
from holdfast.errors import MalformedError, RefusedError
from holdfast.verifier.checks import refuse_attester


@dataclass(frozen=True, slots=True)
class ToldChange:
    """A change as a hub that trust admits signed it, and what opens it."""

    envelope: bytes
    statement: Statement
    change: ArtifactChange
    salt: bytes


def open_change(item: object, trust: Trust) -> ToldChange:
    """A change as the hub tells it, checked against trust. Raises ``hub.answer``, ``hub.attester``,
    ``artifact_change.*``, ``statement.*``, ``envelope.*``, ``json.*`` or ``encoding.*``."""
    if not isinstance(item, dict) or not isinstance(item.get("document"), str):
        raise MalformedError("hub.answer", "a change has a document")
    envelope, salt = b64_decode(item.get("envelope")), hex_decode(item.get("salt"))
    statement = parse_statement(parse_envelope(envelope))
    why = refuse_attester(statement, trust, until=statement.claimed_at)
    if why is not None:
        raise RefusedError("hub.attester", f"a change is by no hub that trust admits: {why}")
    return ToldChange(envelope, statement, verify_change(statement, item["document"].encode(), salt), salt)
