"""Vectors by any server with OpenAI's ``/embeddings``: a hosted provider, vLLM, llama.cpp, a gateway of these nodes.

Texts are sent to the configured origin and nowhere else; a credential only over TLS or on this machine. What the server
calls its model is what recalls name: which bytes that is, is its word.
"""

from __future__ import annotations

import http
import math
from collections.abc import Sequence
from typing import Any

from holdfast.adapters.upstream_openai import OpenAIUpstreamConfig, make_origin
from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
from holdfast.errors import MalformedError, UnavailableError
from holdfast.ports.http import HTTP

SHARE = 600_000
"""What vectors of a model that is made for this are worth."""
BATCH = 128
"""Texts of one request; vLLM and hosted providers take more."""
MAX_ANSWER_BYTES = 64 << 20
DOMAIN = b"urn:holdfast:embedding-endpoint:v1\x00"
"""What the preimage of a model's digest begins with (``recall.md`` §1)."""


class OpenAIEmbedder:
    """Implements :class:`holdfast.ports.embedder.Embedder`."""

    def __init__(
        self,
        client: HTTP,
        base_url: str,
        model: str,
        api_key: str = "",
        *,
        timeout_s: float = 60.0,
        insecure_plain_http: bool = False,
    ) -> None:
        """Raises ``upstream.config``. ``base_url`` goes up to and including the version."""
        make_origin(OpenAIUpstreamConfig("embedder", base_url, api_key, insecure_plain_http=insecure_plain_http))
        self._client = client
        self._url = base_url.rstrip("/")
        self._name = model
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._timeout_s = timeout_s

    @property
    def model(self) -> str:
        return sha256_hex(DOMAIN + f"{self._url}\x00{self._name}".encode())

    @property
    def share(self) -> int:
        return SHARE

    async def embed(self, texts: Sequence[str]) -> list[tuple[float, ...]]:
        found: list[tuple[float, ...]] = []
        for start in range(0, len(texts), BATCH):
            found += await self._ask(texts[start : start + BATCH])
        if len({len(vector) for vector in found}) > 1:
            raise _protocol("vectors of several lengths")
        return found

    async def _ask(self, texts: Sequence[str]) -> list[tuple[float, ...]]:
        body = canonical.encode({"model": self._name, "input": list(texts), "encoding_format": "float"})
        try:
            answer = await self._client.request(
                "POST",
                f"{self._url}/embeddings",
                body=body,
                headers=self._headers,
                timeout_s=self._timeout_s,
                max_bytes=MAX_ANSWER_BYTES,
            )
        except UnavailableError as error:
            raise UnavailableError(
                "embedder.unreachable", "what makes vectors does not answer", hint="search again"
            ) from error
        if answer.status != http.HTTPStatus.OK:
            raise _protocol(f"status {answer.status}")
        try:
            data = canonical.decode_exact(answer.body)["data"]
            vectors = {int(item["index"]): _vector(item["embedding"]) for item in data}
        except (MalformedError, KeyError, TypeError, ValueError) as error:
            raise _protocol("something else than embeddings") from error
        if vectors.keys() != set(range(len(texts))):
            raise _protocol("other texts' vectors")
        return [vectors[number] for number in range(len(texts))]

    async def close(self) -> None:
        """The client is its owner's."""


def _vector(value: Any) -> tuple[float, ...]:
    numbers = tuple(float(item) for item in value)
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ValueError("no vector of finite numbers")
    return numbers


def _protocol(message: str) -> UnavailableError:
    return UnavailableError("embedder.protocol", f"what makes vectors answered with {message}")
