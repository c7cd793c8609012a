"""Hand entries to a log node and learn where they went (``spec/log.md``).

Rules: an entry counts as logged only when the answer names its index. Sending an entry again is harmless: the log
deduplicates. Not covered: reading the log and checking its proofs (``client.log``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.core import canonical
from holdfast.core.encoding import b64_encode, sha256_hex
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError
from holdfast.ports.http import HTTP
from holdfast.ports.settings import Secret

MAX_ANSWER_BYTES = 8 << 20
"""Largest answer that is read."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Where the log put an entry: its deduplication digest (hex) and index; or why it did not."""

    digest: str
    index: int | None
    refusal: str | None


class LogWriter(Protocol):
    """Somewhere that entries can be handed to."""

    async def append(self, entries: Sequence[bytes]) -> list[Accepted]:
        """Hand in entries, in order; returns one answer each. Raises ``http.*`` or ``log.*``."""
        ...

    async def put_blob(self, data: bytes) -> str:
        """Store a public blob; returns its SHA-256 in hex."""
        ...


class HTTPLogWriter:
    """A log node behind a base URL."""

    def __init__(self, http: HTTP, url: str, token: Secret | None, *, timeout_s: float = 10.0) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s

    async def append(self, entries: Sequence[bytes]) -> list[Accepted]:
        listed = ",".join([f'"{b64_encode(entry)}"' for entry in entries])  # base64 needs no escaping
        body = f'{{"entries":[{listed}]}}'.encode()
        value = canonical.decode_object(await self._send("POST", "/v1/entries", body, "application/json"))
        results = value.get("results")
        if not isinstance(results, list) or len(results) != len(entries):
            raise MalformedError("log.answer", "the log answered for another number of entries")
        return [_accepted(item) for item in results]

    async def put_blob(self, data: bytes) -> str:
        value = canonical.decode_object(await self._send("PUT", "/v1/blobs", data, "application/octet-stream"))
        blob = value.get("blob")
        if blob != sha256_hex(data):
            raise MalformedError("log.answer", "the log did not name the blob that it was given")
        return sha256_hex(data)

    async def _send(self, method: str, path: str, body: bytes, content_type: str) -> bytes:
        headers = {"content-type": content_type}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token.reveal()}"
        answer = await self._http.request(
            method, self._url + path, body=body, headers=headers, timeout_s=self._timeout_s, max_bytes=MAX_ANSWER_BYTES
        )
        if answer.status >= 500 or answer.status == 429:
            raise UnavailableError("log.unavailable", f"the log answered {answer.status}: {_reason(answer.body)}")
        if answer.status >= 300:
            raise RefusedError("log.refused", f"the log answered {answer.status}: {_reason(answer.body)}")
        return answer.body


def _reason(answer: bytes) -> str:
    try:
        error = canonical.decode_object(answer).get("error")
    except HoldfastError:
        return "no reason given"
    return str(error.get("code")) if isinstance(error, dict) else "no reason given"


def _accepted(item: Any) -> Accepted:
    if not isinstance(item, dict) or not isinstance(item.get("digest"), str):
        raise MalformedError("log.answer", "the log's answer names no digest")
    index, error = item.get("index"), item.get("error")
    if isinstance(index, int) and not isinstance(index, bool) and index >= 0:
        return Accepted(item["digest"], index, None)
    code = error.get("code") if isinstance(error, dict) else None
    return Accepted(item["digest"], None, str(code or "log.refused"))
