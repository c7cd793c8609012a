"""What full nodes read of an inference node that proves (``inference.md`` §9(6)). Nothing of it is believed."""

from __future__ import annotations

import http
from collections.abc import Callable, Mapping
from typing import TypeVar

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, hex_decode
from holdfast.core.orders import ProofDelivery, parse_proof_delivery
from holdfast.errors import HoldfastError, MalformedError, UnavailableError
from holdfast.ports.http import HTTP
from holdfast.ports.settings import Secret

Read = TypeVar("Read")
MAX_BYTES = 1 << 30
"""Largest answer: a reference string of ``2^23`` rows."""


class ProverClient:
    """One inference node. Raises ``prover.unreachable``, ``prover.answer`` and ``proof.unknown``, all unavailable."""

    def __init__(self, client: HTTP, url: str, token: Secret | None, *, timeout_s: float) -> None:
        self._http = client
        self._url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s

    async def proof(self, statement: str) -> ProofDelivery:
        """What opens the record of a ``proved`` statement (digest, hex)."""
        raw = await self._get(f"/v1/proofs/{statement}")
        return self._read(lambda: parse_proof_delivery(canonical.decode_object(raw)))

    async def artifact(self, artifact: str) -> tuple[Mapping[str, str], bytes]:
        """Digests of an artifact's files by name, and the bytes of its model."""
        raw = await self._get(f"/v1/artifacts/{artifact}")

        def read() -> tuple[Mapping[str, str], bytes]:
            value = canonical.decode_object(raw)
            if value.keys() != {"files", "model"} or not isinstance(value["files"], dict):
                raise MalformedError("prover.answer", "an artifact has exactly files and model")
            return {name: hex_decode(item, 32).hex() for name, item in value["files"].items()}, b64_decode(
                value["model"]
            )

        return self._read(read)

    async def reference_string(self, digest: str) -> bytes:
        """The bytes of a reference string."""
        return await self._get(f"/v1/srs/{digest}")

    async def _get(self, path: str) -> bytes:
        headers = {} if self._token is None else {"authorization": f"Bearer {self._token.reveal()}"}
        try:
            answer = await self._http.request(
                "GET", self._url + path, headers=headers, timeout_s=self._timeout_s, max_bytes=MAX_BYTES
            )
        except HoldfastError as error:
            raise UnavailableError("prover.unreachable", f"{self._url}: {error.message}") from error
        if answer.status == http.HTTPStatus.NOT_FOUND:
            raise UnavailableError("proof.unknown", f"{self._url} has no {path}")
        if answer.status != http.HTTPStatus.OK:
            raise UnavailableError("prover.answer", f"{self._url} answered {path} with status {answer.status}")
        return answer.body

    def _read(self, read: Callable[[], Read]) -> Read:
        try:
            return read()
        except MalformedError as error:
            raise UnavailableError("prover.answer", f"{self._url} answered otherwise: {error.message}") from error
