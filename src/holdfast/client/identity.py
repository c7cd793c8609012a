"""Who a gateway says it is, parsed and not judged (``client.md`` §1); ``verifier.identity`` judges."""

from __future__ import annotations

from holdfast.core.bundles import AttestationItem
from holdfast.core.encoding import b64_decode
from holdfast.core.keys import KeyDocument, parse_key_document
from holdfast.core.statements import is_code
from holdfast.errors import MalformedError, RefusedError


def parse_identity(value: object, where: str) -> tuple[KeyDocument, AttestationItem | None]:
    """The answer of ``GET /v1/identity``: a gateway's key document and its attestation, if it shows one.

    Raises ``gateway.identity`` for a document that is not the node's that is named or not a gateway's, and ``keys.*``.
    """
    shown = value if isinstance(value, dict) else {}
    document = parse_key_document(b64_decode(shown.get("key_document")))
    if document.digest != shown.get("node") or "gateway" not in document.roles:
        raise RefusedError("gateway.identity", f"{where} shows a key document that is not a gateway's own")
    attestation = shown.get("attestation")
    return document, None if attestation is None else parse_attestation(attestation, document)


def parse_attestation(value: object, document: KeyDocument) -> AttestationItem:
    """``{"format","evidence"}`` as a gateway shows it; raises ``gateway.attestation``."""
    form = value.get("format") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(form, str) or not is_code(form):
        raise MalformedError("gateway.attestation", "an attestation has a format and evidence")
    return AttestationItem(document.digest, form, b64_decode(value.get("evidence")))
