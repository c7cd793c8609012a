"""``/private/…``: questions that a page sealed to the gateway, passed on to a relay (``spec/relay.md`` §2).

Rules:

* What passes is ciphertext. It is not kept, not logged, and not looked into; its size and time are the relay's to see.
* The relay gets the panel's own key there and nothing of the caller's: no cookie, no address, no workspace key.
* Keys come with their proof (``relay.md`` §4), unchanged: the page checks it, by trust, before it seals anything.

Not covered: what the page makes of it (``web/static/seal``), and that a panel which lies about its own code could read
what is typed: whoever does not trust a panel asks with ``holdfast chat --private`` or ``holdfast proxy``.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

import aiohttp
from starlette.requests import Request
from starlette.responses import Response

from holdfast.core import canonical
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.ports.settings import Secret

REQUEST_TYPE = "message/ohttp-req"
ANSWER_TYPES = ("message/ohttp-res", "message/ohttp-chunked-res")
MAX_REQUEST_BYTES = 20 << 20
MAX_PROOF_BYTES = 1 << 20
MAX_REFUSAL_BYTES = 64 << 10


class RelayPass:
    """One relay, seen from a panel."""

    def __init__(
        self,
        url: str,
        key: Secret | None,
        http: Callable[[], aiohttp.ClientSession],
        *,
        connect_s: float,
        silence_s: float,
    ) -> None:
        """``key`` is the panel's account at the relay; ``silence_s`` the longest wait between two pieces."""
        self._url = url.rstrip("/")
        self._key = key
        self._http = http
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=silence_s)

    async def keys(self) -> bytes:
        """The gateway's keys with proof, as the relay shows them to everybody. Raises ``panel.relay``."""
        async with self._open("GET", "/v1/ohttp/keys/proof", {}) as answer:
            raw = await _bounded(answer, MAX_PROOF_BYTES)
            if answer.status != 200:
                _refuse(answer.status, raw)
            return raw

    @contextlib.asynccontextmanager
    async def ask(
        self, sealed: bytes, accept: str, *, streamed: bool
    ) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """Pass a sealed request on: the media type of the sealed answer, and its pieces as they come. Raises
        ``panel.relay`` where none comes."""
        headers = {"content-type": REQUEST_TYPE, "accept": accept}
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key.reveal()}"
        if streamed:
            headers |= {"x-ohttp-stream": "true", "incremental": "?1"}
        async with self._open("POST", "/v1/ohttp", headers, sealed) as answer:
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            if answer.status != 200 or kind not in ANSWER_TYPES:
                _refuse(answer.status, await _bounded(answer, MAX_REFUSAL_BYTES))
            yield kind, answer.content.iter_any()

    @contextlib.asynccontextmanager
    async def _open(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            answer = await self._http().request(
                method, self._url + path, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError("panel.relay", "the relay does not answer", hint="is it running?") from error
        try:
            yield answer
        finally:
            answer.close()


async def _bounded(answer: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    raw = bytearray()
    try:
        async for chunk in answer.content.iter_any():
            raw += chunk
            if len(raw) > limit_bytes:
                raise UnavailableError("panel.relay", f"the relay answers with more than {limit_bytes} bytes")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UnavailableError("panel.relay", "the relay stopped in the middle of an answer") from error
    return bytes(raw)


def _refuse(status: int, raw: bytes) -> NoReturn:
    """What the relay says of a request, as this panel's error: it is never the gateway's word."""
    try:
        error = canonical.decode_object(raw).get("error")
    except HoldfastError:
        error = None
    told = error if isinstance(error, dict) else {}
    says = str(told.get("message", ""))[:300] or f"it answered {status}"
    code = str(told.get("code", ""))[:64]
    hint = (
        "fetch the keys again"
        if code in ("ohttp.key_id", "ohttp.open", "ohttp.suite")
        else "nothing was asked in the clear"
    )
    if status >= 500 or status == 429:
        raise UnavailableError("panel.relay", f"the relay passed nothing back: {says}", hint=hint)
    raise RefusedError("panel.relay", f"the relay refused: {says}", hint=hint, status=502)


def require(relay: RelayPass | None) -> RelayPass:
    """Raises ``panel.no_relay`` (404) where the panel knows none."""
    if relay is None:
        raise UsageError("panel.no_relay", "this panel knows no relay", hint="set relay in its settings", status=404)
    return relay


async def read_sealed(request: Request) -> tuple[bytes, str, bool]:
    """A sealed request of a page: its bytes, which answers it takes, whether it streams. Raises ``panel.sealed``."""
    headers = request.headers
    if headers.get("content-type", "").partition(";")[0].strip().lower() != REQUEST_TYPE:
        raise MalformedError("panel.sealed", f"what is passed to the relay is {REQUEST_TYPE}", status=415)
    accept = headers.get("accept", "")
    if accept not in ANSWER_TYPES:
        raise MalformedError("panel.sealed", f"accept is {' or '.join(ANSWER_TYPES)}")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_REQUEST_BYTES:
            raise UsageError("panel.sealed", f"a sealed request has at most {MAX_REQUEST_BYTES} bytes", status=413)
    return bytes(body), accept, headers.get("x-ohttp-stream") == "true"


def keys_answer(raw: bytes) -> Response:
    """The proof as it came."""
    return Response(raw, headers={"cache-control": "no-store"}, media_type="application/json")
