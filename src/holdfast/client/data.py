"""A data node as a program uses it, and what its word comes to (``spec/admission.md`` §7, ``spec/sources.md`` §9).

:func:`judge_admission` holds a presented admission against trust and against itself and says it as an ``inputs`` lane.
It is one admission alone that is looked at, with no evidence of the enclave behind the node's key: what it comes to is
``unknown`` or ``refuted``, never ``proven``. A run's bundle is appraised with everything (``verifier``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from holdfast.client.errors import parse_error
from holdfast.core import canonical
from holdfast.core.admissions import Admission, Presented, parse_presented, verify_admission, verify_observation
from holdfast.core.statements import parse_envelope, parse_statement
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError
from holdfast.ports.http import HTTP
from holdfast.ports.settings import Secret
from holdfast.verifier.checks import refuse_attester
from holdfast.verifier.lanes import Lane

MAX_ANSWER_BYTES = 16 << 20
TIMEOUT_S = 75.0
"""A source may take 60 s."""


class DataClient:
    """One data node. Raises what the node answers, and ``http.*``."""

    def __init__(
        self, http: HTTP, url: str, key: Secret | None, close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._http = http
        self._close = close
        self._url = url.rstrip("/")
        self._key = key

    async def sources(self) -> dict[str, Any]:
        """What may be asked."""
        return await self._send("GET", "/v1/sources")

    async def source(self, name: str) -> dict[str, Any]:
        """One source: its definition, and how it did lately."""
        return await self._send("GET", f"/v1/sources/{quote(name, safe='')}")

    async def admit(self, source: str, parameters: Mapping[str, Any]) -> Presented:
        """Ask a source and have what comes signed and logged."""
        return parse_presented(await self._send("POST", "/v1/admit", _question(source, parameters)))

    async def attempt(self, source: str, parameters: Mapping[str, Any]) -> bytes:
        """Ask a source; the document that would have been signed."""
        answer = await self._send("POST", "/v1/try", _question(source, parameters))
        return str(answer.get("document")).encode()

    async def replay(self, shown: Presented) -> dict[str, Any]:
        """Have the node read the body that it kept once more."""
        digest = parse_envelope(shown.envelope).digest
        return await self._send("POST", f"/v1/admissions/{digest}/replay", capability=shown.salt.hex())

    async def close(self) -> None:
        """Let go of connections, where the client owns them."""
        if self._close is not None:
            await self._close()

    async def _send(
        self, method: str, path: str, body: canonical.JSON = None, *, capability: str | None = None
    ) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key.reveal()}"
        if capability is not None:
            headers["x-holdfast-capability"] = capability
        answer = await self._http.request(
            method,
            self._url + path,
            body=b"" if body is None else canonical.encode(body),
            headers=headers,
            timeout_s=TIMEOUT_S,
            max_bytes=MAX_ANSWER_BYTES,
        )
        if answer.status != HTTPStatus.OK:
            raise parse_error(answer.status, answer.body, self._url)
        return canonical.decode_object(answer.body)


def _question(source: str, parameters: Mapping[str, Any]) -> canonical.JSON:
    return {"source": source, "parameters": dict(parameters)}


def judge_admission(shown: Presented, trust: Trust | None) -> Lane:
    """What one admission comes to, as a lane ``inputs``."""
    envelope = parse_envelope(shown.envelope)
    try:
        statement = parse_statement(envelope)
        document = verify_admission(statement, shown.document, shown.salt)
        verify_observation(document, shown.definition)
        why = "unknown-key" if trust is None else refuse_attester(statement, trust, until=statement.claimed_at)
        if trust is None or why == "unknown-key":
            says = f"{_told(document)} Nobody that is trusted here admits the node that signed it."
            return Lane("inputs", "unknown", None, says, (envelope.digest,))
        if why is not None:
            raise RefusedError("admission.attester", f"trust does not admit who signed it ({why})")
    except HoldfastError as error:
        return Lane("inputs", "refuted", "signature", f"{error.code}: {error.message}.", (envelope.digest,))
    return Lane(
        "inputs",
        "unknown",
        "signature",
        f"{_told(document)} A data node that trust admits signed it; what stands behind its key was not looked at.",
        (envelope.digest,),
    )


def _told(document: Admission) -> str:
    if document.refusal is not None:
        return f"Nothing was admitted: {document.refusal.code}."
    if document.quorum is not None:
        count = len(document.quorum.observations)
        return f"{count} observations {'agree' if document.quorum.outcome.agreed else 'disagree'}."
    over = document.observation.exchange if document.observation else None
    if over is not None:
        return f"One value was admitted, asked as {over.kind} over {over.channel}."
    pinned = document.observation is not None and document.observation.pinned
    return f"One value was admitted, over a session {'whose key is pinned' if pinned else 'without a pinned key'}."
