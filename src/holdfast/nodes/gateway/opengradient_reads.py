"""What OpenGradient's clients and operators read of a gateway, in their shapes: ``/health``, ``/signing-key``,
``/enclave/attestation`` and ``/heartbeat/status``. Nobody needs a key for them, and none of them tells of a run.

``/enclave/attestation`` binds what their registry checks: the TLS certificate and the signing key (``opengradient.md``
§8). What our own verifiers ask for, evidence of the whole key document, stands at ``/v1/identity``.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization

from holdfast import __version__
from holdfast.core import opengradient as og
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.errors import MalformedError, UnavailableError
from holdfast.nodes.gateway.opengradient import AnswerSigner, Signs
from holdfast.ports.clock import Clock
from holdfast.ports.enclave import Enclave

HEALTH, SIGNING_KEY, ATTESTATION, HEARTBEAT = "/health", "/signing-key", "/enclave/attestation", "/heartbeat/status"
PATHS = frozenset({HEALTH, SIGNING_KEY, ATTESTATION, HEARTBEAT})
JSON_TYPE, TEXT_TYPE = b"application/json", b"text/plain; charset=utf-8"
_NONCE = re.compile(r"[0-9a-fA-F]{40}\Z")
NITRO = "aws-nitro"
"""The only format that holds user data of their shape."""


@dataclass(frozen=True, slots=True)
class Surface:
    """OpenGradient's side of a gateway."""

    signer: AnswerSigner
    signs: Signs
    clock: Clock
    started: float
    """Monotonic time of the start, seconds."""
    providers: Callable[[], Sequence[str]]
    """Codes of the upstreams."""
    heartbeat: Callable[[], Mapping[str, Any]]
    """What ``/heartbeat/status`` says."""
    facilitator: str | None = None
    payment: str | None = None
    """Where this node is paid: an EVM address."""
    certificate: bytes | None = None
    """DER of the certificate that this gateway's own TLS listener shows."""
    enclave: Enclave | None = None
    key_configuration: Callable[[], Awaitable[Mapping[str, Any] | None]] | None = None
    """What ``/v1/ohttp/config`` says, where there is an oblivious path."""

    async def read(self, path: str, query: bytes) -> tuple[bytes, bytes]:
        """Body and content type of one of :data:`PATHS`. Raises ``request.nonce`` or ``opengradient.attestation``."""
        if path == ATTESTATION:
            return await self._attestation(query), TEXT_TYPE
        if path == HEALTH:
            value = self._health()
        elif path == SIGNING_KEY:
            value = await self._signing_key()
        else:
            value = dict(self.heartbeat())
        return json.dumps(value, separators=(",", ":")).encode(), JSON_TYPE

    def _health(self) -> dict[str, Any]:
        """Their shape; this gateway asks no price feed, searches nothing and moderates nothing."""
        feed = {
            "price_usd": None,
            "last_success": None,
            "last_error": None,
            "consecutive_failures": 0,
            "total_fetches": 0,
            "total_errors": 0,
            "refresh_interval": 0,
        }
        return {
            "status": "OK",
            "version": __version__,
            "tee_enabled": self.enclave is not None and not self.enclave.simulated,
            "uptime_seconds": int(self.clock.monotonic() - self.started),
            "providers": list(self.providers()),
            "facilitator_url": self.facilitator,
            "price_feed": feed,
            "web_search_enabled": False,
            "moderation_enabled": False,
        }

    async def _signing_key(self) -> dict[str, Any]:
        key = og.parse_signing_key(self.signer.public)
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return {
            "public_key": key.public_bytes(serialization.Encoding.PEM, form).decode("ascii"),
            "tee_id": "0x" + self.signer.tee_id.hex(),
            "wallet_address": self.payment,
            "hpke": await self.key_configuration() if self.key_configuration is not None else None,
            "timestamp": time_encode(self.clock.now()),
            "enclave_info": {
                "platform": self.enclave.format if self.enclave is not None else None,
                "instance_type": self._instance_type(),
                "version": __version__,
            },
            "measurements": None,
        }

    def _instance_type(self) -> str:
        if self.enclave is None:
            return "no enclave"
        return "simulated, no enclave" if self.enclave.simulated else "tee-enabled"

    async def _attestation(self, query: bytes) -> bytes:
        values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("nonce", [])
        if len(values) != 1 or _NONCE.match(values[0]) is None:
            raise MalformedError("request.nonce", "nonce is 40 hex digits, given once", param="nonce")
        enclave, certificate = self.enclave, self.certificate
        if enclave is None or certificate is None or enclave.format != NITRO:
            raise UnavailableError(
                "opengradient.attestation",
                "this gateway runs in no enclave that makes such a document for a TLS certificate of its own",
                hint="GET /v1/identity shows what it has",
                status=404,
            )
        user_data = og.attestation_data(certificate, self.signer.public)
        document = await asyncio.to_thread(enclave.attest, user_data, bytes.fromhex(values[0]))
        return b64_encode(document).encode()
