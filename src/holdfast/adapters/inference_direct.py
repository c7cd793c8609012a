"""An inference node over HTTP, by the pooled client that upstreams use.

What the node refuses keeps its code: a caller has to learn that a shape is wrong or a model unknown. Every other
failure is an upstream's. Not covered: checking what is delivered.
"""

from __future__ import annotations

import http
import re
from typing import Any

from holdfast.adapters._http_direct import DirectClient
from holdfast.adapters.upstream_openai import OpenAIUpstreamConfig, make_origin
from holdfast.core import canonical
from holdfast.core.encoding import hex_decode
from holdfast.core.orders import CheckOrder, Delivery, Order, ProofDelivery, parse_delivery, parse_proof_delivery
from holdfast.core.proofs import MAX_DOCUMENT_BYTES
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.ports.inference import NodeModel
from holdfast.ports.upstream import UpstreamProtocolError

MODELS_TIMEOUT_S = 10.0
PROOF_TIMEOUT_S = 30.0
MAX_MODELS_BYTES = 8 << 20
_PASSED_ON = ("infer.", "model.", "models.", "parts.", "encoding.", "json.", "order.")
"""Codes of a node that speak of what a caller asked."""
_KINDS: dict[str, type[HoldfastError]] = {
    kind.kind: kind for kind in (MalformedError, RefusedError, UnavailableError, UsageError)
}
_CODE = re.compile(r"[a-z0-9_.]{1,64}\Z")


class DirectInferenceNode:
    """Implements :class:`holdfast.ports.inference.InferenceNode`."""

    def __init__(
        self, code: str, url: str, token: str, *, max_answer_bytes: int, insecure_plain_http: bool = False
    ) -> None:
        """Raises ``upstream.config``. ``url`` is the node's base URL, without a path."""
        config = OpenAIUpstreamConfig(code, url, token, insecure_plain_http=insecure_plain_http)
        origin, self._prefix = make_origin(config)
        self._code = code
        self._client = DirectClient(origin, max_stream_bytes=max_answer_bytes)
        self._max_bytes = max_answer_bytes

    @property
    def code(self) -> str:
        return self._code

    async def models(self) -> list[NodeModel]:
        value = await self._ask("GET", "/v1/models", b"", MODELS_TIMEOUT_S, MAX_MODELS_BYTES)
        try:
            return [NodeModel(item["label"], item["artifact"], item["task"]) for item in value["models"]]
        except (KeyError, TypeError) as error:
            raise UpstreamProtocolError("the node's list of models is none") from error

    async def compute(self, order: Order, *, timeout_s: float) -> Delivery:
        return await self._deliver("/v1/compute", canonical.encode(order.to_json()), timeout_s)

    async def recompute(self, check: CheckOrder, *, timeout_s: float) -> Delivery:
        return await self._deliver("/v1/recompute", canonical.encode(check.to_json()), timeout_s)

    async def proofs(self) -> list[tuple[str, str]]:
        value = await self._ask("GET", "/v1/proofs", b"", MODELS_TIMEOUT_S, MAX_MODELS_BYTES)
        try:
            return [(str(item["run"]), hex_decode(item["statement"], 32).hex()) for item in value["waiting"]]
        except (KeyError, TypeError, MalformedError) as error:
            raise UpstreamProtocolError("the node's list of proofs is none") from error

    async def proof(self, statement: str) -> ProofDelivery:
        limit = 2 * MAX_DOCUMENT_BYTES
        value = await self._ask("GET", f"/v1/proofs/{statement}", b"", PROOF_TIMEOUT_S, limit)
        try:
            return parse_proof_delivery(value)
        except MalformedError as error:
            raise UpstreamProtocolError(f"the node handed over no proof: {error.message}") from error

    async def taken(self, statement: str) -> None:
        await self._ask("POST", f"/v1/proofs/{statement}/taken", b"{}", MODELS_TIMEOUT_S, MAX_MODELS_BYTES)

    async def _deliver(self, path: str, body: bytes, timeout_s: float) -> Delivery:
        value = await self._ask("POST", path, body, timeout_s, self._max_bytes)
        try:
            return parse_delivery(value)
        except MalformedError as error:
            raise UpstreamProtocolError(f"the node delivered no answer: {error.message}") from error

    async def _ask(self, method: str, path: str, body: bytes, timeout_s: float, max_bytes: int) -> dict[str, Any]:
        answer = await self._client.whole(
            method, self._prefix + path, body, timeout_s=timeout_s, max_bytes=max_bytes, accept="application/json"
        )
        try:
            value = canonical.decode_object(answer.body)
        except MalformedError as error:
            raise UpstreamProtocolError("the node answered with something else than a JSON object") from error
        if answer.status != http.HTTPStatus.OK:
            raise _refusal(value, answer.status)
        return value

    async def close(self) -> None:
        await self._client.close()


def _refusal(value: dict[str, Any], status: int) -> HoldfastError:
    """What a node refused, in its own words where they are about the request."""
    found = value.get("error")
    error = found if isinstance(found, dict) else {}
    code, kind = error.get("code"), _KINDS.get(str(error.get("type")))
    if kind is None or not isinstance(code, str) or _CODE.match(code) is None or not code.startswith(_PASSED_ON):
        return UpstreamProtocolError(f"the node answered with status {status}")
    param, hint = error.get("param"), error.get("hint")
    return kind(
        code,
        str(error.get("message"))[:1000],
        hint=str(hint)[:500] if isinstance(hint, str) else "",
        param=param[:300] if isinstance(param, str) else None,
        status=status,
    )
