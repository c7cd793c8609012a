"""The evidence that this node presents of its key: made before the first answer, and again before it grows old.

Where no enclave attests the node there is none, and mode ``TEE`` is refused. What is made is handed out with each
delivery and judged by whoever verifies the run. Not covered: judging it (``verifier.attestation``).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from holdfast.core.attestation.binding import build_binding
from holdfast.core.encoding import b64_encode
from holdfast.core.keys import KeyDocument
from holdfast.core.orders import Evidence
from holdfast.errors import HoldfastError
from holdfast.ports.clock import Clock
from holdfast.ports.enclave import Enclave

_LOG = logging.getLogger("holdfast.enclave")
_PAUSE_S = 5.0


class EnclaveWitness:
    """See the module."""

    def __init__(self, document: KeyDocument, enclave: Enclave | None, clock: Clock, *, reattest_s: float) -> None:
        tls = None if document.tls is None else bytes.fromhex(document.tls)
        self._record = build_binding(document.digest, tls_spki=tls, hpke=document.ohttp_digest)
        self._document = document
        self._enclave = enclave
        self._clock = clock
        self._reattest_s = reattest_s
        self.current: Evidence | None = None
        """What is in force; None where nothing attests this node."""

    def introduction(self) -> dict[str, Any]:
        """Who the node is, and by what evidence: what ``GET /v1/identity`` answers."""
        return {
            "node": self._document.digest,
            "key_document": b64_encode(self._document.raw),
            "attestation": None if self.current is None else self.current.to_json(),
            "statement": None,
        }

    async def start(self) -> None:
        """Make the first evidence; raises what the enclave raises."""
        if self._enclave is not None:
            self.current = await self._make(self._enclave)

    async def work(self) -> None:
        """Make it anew, for ever. When the enclave fails, the old evidence stays and it is tried again."""
        if self._enclave is None:
            return
        while True:
            await self._clock.sleep(self._reattest_s)
            while True:
                try:
                    self.current = await self._make(self._enclave)
                    break
                except HoldfastError as error:
                    _LOG.warning("no new attestation: %s", error.message, extra={"code": error.code})
                    await self._clock.sleep(_PAUSE_S)

    async def _make(self, enclave: Enclave) -> Evidence:
        return Evidence(enclave.format, await asyncio.to_thread(enclave.attest, self._record, None))
