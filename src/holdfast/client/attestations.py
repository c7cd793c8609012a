"""Ask a gateway to attest its keys for a nonce (``spec/attestation.md`` §11.2). What comes back is parsed, not judged.

Not covered: whether it holds (``verifier.attestation``), and whose gateway it is (``verifier.identity``).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from holdfast.client.errors import parse_error
from holdfast.core import canonical
from holdfast.core.attestation.certificates import read_spki
from holdfast.core.attestation.evidence import FORMATS, MAX_FILE_BYTES
from holdfast.core.bundles import AttestationItem
from holdfast.core.encoding import b64_decode, sha256_hex
from holdfast.core.keys import KeyDocument, parse_key_document
from holdfast.errors import MalformedError, RefusedError
from holdfast.ports.http import HTTP

MAX_NONCE_BYTES = 64
"""Of a nonce that a gateway answers (``attestation.md`` §11.2)."""
_MEMBERS = frozenset({"node", "key_document", "format", "simulated", "nonce", "evidence"})


@dataclass(frozen=True, slots=True)
class AttestationAnswer:
    """What a gateway says of itself. Nothing of it is believed yet."""

    document: KeyDocument
    item: AttestationItem
    claimed_simulated: bool


async def ask_gateway(url: str, nonce: bytes) -> AttestationAnswer:
    """As :func:`fetch_attestation`, over a connection of its own.

    Nothing secret is sent, so any TLS certificate will do to ask; what is answered has to name its key. Raises
    ``identity.tls`` when the key document names another: somebody sits in between.
    """
    from holdfast.adapters.http_aiohttp import AiohttpHTTP  # noqa: PLC0415 - the base install has no aiohttp

    if not url.startswith("https://"):
        http = AiohttpHTTP()
        try:
            return await fetch_attestation(http, url, nonce)
        finally:
            await http.close()
    from holdfast.adapters.tls_pinning import fetch_certificate, pinned_context  # noqa: PLC0415

    parts = urlsplit(url)
    certificate = await fetch_certificate(parts.hostname or "", parts.port or 443)
    http = AiohttpHTTP(tls=pinned_context(certificate))
    try:
        answer = await fetch_attestation(http, url, nonce)
    finally:
        await http.close()
    require_tls(answer, read_spki(certificate), url)
    return answer


def require_tls(answer: AttestationAnswer, spki: bytes, url: str) -> None:
    """Refuse an answer over TLS to another key than its key document names. Raises ``identity.tls``."""
    if answer.document.tls != sha256_hex(spki):
        raise RefusedError(
            "identity.tls",
            f"the key document that {url} shows does not name the TLS key it was shown with",
            hint="ask the gateway's own TLS address; whoever ends TLS elsewhere reads every prompt",
        )


async def fetch_attestation(http: HTTP, url: str, nonce: bytes) -> AttestationAnswer:
    """Evidence made for this nonce (1 to 64 bytes).

    Raises ``gateway.attestation`` for what is no answer, or for another question's, and what the gateway answers.
    """
    answer = await http.request(
        "GET", f"{url}/v1/attestation?nonce={nonce.hex()}", timeout_s=30.0, max_bytes=3 * MAX_FILE_BYTES
    )
    if answer.status != 200:
        raise parse_error(answer.status, answer.body, url)
    return parse_answer(answer.body, url, nonce)


def parse_answer(raw: bytes, url: str, nonce: bytes) -> AttestationAnswer:
    """The JSON of an answer; raises ``gateway.attestation``."""
    value = canonical.decode_object(raw)
    form, simulated = value.get("format"), value.get("simulated")
    if value.keys() != _MEMBERS or form not in FORMATS or not isinstance(simulated, bool):
        raise MalformedError("gateway.attestation", f"{url} answers with something that is no attestation")
    document = parse_key_document(b64_decode(value["key_document"]))
    if value["node"] != document.digest:
        raise RefusedError("gateway.attestation", f"{url} names another node than its key document's")
    if value["nonce"] != nonce.hex():
        raise RefusedError("gateway.attestation", f"{url} says itself that this answers another nonce")
    return AttestationAnswer(document, AttestationItem(document.digest, form, b64_decode(value["evidence"])), simulated)
