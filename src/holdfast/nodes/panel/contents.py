"""Reads what was asked and answered in a run under review (``spec/sealed.md`` §4, §6).

Rules: the run's secret comes out of its wrap when somebody opens the case or takes it, and is kept nowhere. A document
is shown only when it matches the roots in the statements that the desk has appraised; what does not match is not shown
and said. Where nothing can be read, the reason is one that a reviewer understands.

Not covered: who may read (``review.desk``), and that reading is noted there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from holdfast.client.errors import parse_error
from holdfast.core import canonical
from holdfast.core.bundles import MAX_BUNDLE_BYTES
from holdfast.core.encoding import b64_decode
from holdfast.errors import HoldfastError, MalformedError, UnavailableError
from holdfast.ports.clock import Clock
from holdfast.ports.http import HTTP
from holdfast.ports.settings import Secret
from holdfast.review.contents import Content, add_documents, content_of

_MAX_WRAP_BYTES = 4_096
AGAIN_S = 300.0
"""How long two answers of a model may take."""
_WHY = {
    "run.wrap": "Nobody else than whoever asked can read this run: it was settled privately, or when it was asked the "
    "gateway knew no panel of this workspace that it could encrypt to.",
    "run.expired": "What the gateway stored of this run has passed its retention.",
    "wrap.open": "This run was encrypted to another panel, or to a key that this one no longer has.",
    "content.key": "This panel has no key that runs could be encrypted to.",
}
"""What a reviewer is told, by code; every other error has its own words."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read of a run: its bundle with the documents, and what they show; or why there is nothing."""

    bundle: bytes
    content: Content | None
    trouble: str = ""


class Contents:
    """Reads with one workspace's key at one gateway. ``opener`` opens a wrap (run, bytes) to the run's secret; None
    where this panel has no key for that."""

    def __init__(
        self, http: HTTP, gateway: str, key: Secret | None, opener: Callable[[str, bytes], bytes] | None, clock: Clock
    ) -> None:
        self._http = http
        self._gateway = gateway.rstrip("/")
        self._key = key
        self._opener = opener
        self._clock = clock

    async def secret(self, run: str) -> bytes:
        """The run's secret (32 bytes). Raises ``content.key``, ``run.wrap``, ``wrap.*`` or what the gateway says."""
        if self._opener is None:
            raise UnavailableError(
                "content.key", _WHY["content.key"], hint="give the panel an hpke key and put it into its key document"
            )
        headers = {} if self._key is None else {"authorization": f"Bearer {self._key.reveal()}"}
        raw = await self._get(f"/v1/runs/{run}/wrap", headers, _MAX_WRAP_BYTES)
        value = canonical.decode_object(raw)
        if value.get("run") != run or not isinstance(value.get("wrap"), str):
            raise MalformedError("panel.shape", "the gateway's answer is no wrap of this run")
        return self._opener(run, b64_decode(value["wrap"]))

    async def read(self, run: str, kept: bytes) -> Reading:
        """What was asked and answered, beside the evidence ``kept`` of the case; says why when it cannot be read."""
        try:
            secret = await self.secret(run)
            whole = await self._get(f"/v1/runs/{run}/bundle", {"x-holdfast-capability": secret.hex()}, MAX_BUNDLE_BYTES)
            raw = add_documents(kept, whole, self._clock.now())
            content = content_of(raw, self._clock.now())
        except HoldfastError as error:
            return Reading(kept, None, _WHY.get(error.code, f"It cannot be read now: {error.message}."))
        if content is None:
            return Reading(kept, None, "The gateway keeps no documents of this run.")
        return Reading(raw, content)

    async def ask_again(self, run: str, asked: bytes) -> bytes:
        """Have a run asked again without rows of memory; the gateway's answer (``nodes/gateway/influence.py``). Raises
        as :meth:`secret` does, and what the gateway refuses."""
        headers = {"x-holdfast-capability": (await self.secret(run)).hex(), "content-type": "application/json"}
        return await self._ask("POST", f"/v1/runs/{run}/influence", headers, MAX_BUNDLE_BYTES, asked, AGAIN_S)

    async def _get(self, path: str, headers: dict[str, str], max_bytes: int) -> bytes:
        return await self._ask("GET", path, headers, max_bytes)

    async def _ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        max_bytes: int,
        body: bytes = b"",
        timeout_s: float = 10.0,
    ) -> bytes:
        url = self._gateway + path
        answer = await self._http.request(
            method, url, headers=headers, body=body, max_bytes=max_bytes, timeout_s=timeout_s
        )
        if answer.status != HTTPStatus.OK:
            raise parse_error(answer.status, answer.body, "the gateway")
        return answer.body
