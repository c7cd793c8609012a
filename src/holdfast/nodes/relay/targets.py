"""The gateways that a relay passes requests on to: who they are, and their keys with proof (``spec/relay.md`` §4).

Rules:

* A gateway is what its key document says, once trust admits it; what it is called in the settings counts for nothing.
* Keys are shown with proof or not at all, and the same bytes to everybody, from memory, until the gateway has others
  or newer evidence for them.
  Nobody's request makes the relay ask a gateway who it is: that would let a gateway answer one caller apart.

Not covered: requests themselves (``service``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.client.log import LogReader
from holdfast.core import canonical, merkle
from holdfast.core.encoding import b64_decode
from holdfast.core.evm import keccak256
from holdfast.core.keys import KeyDocument, parse_key_document
from holdfast.core.keys_proof import ShownAttestation, build_keys_proof, parse_keys_proof
from holdfast.core.notes import parse_checkpoint_text, parse_note
from holdfast.core.statements import Envelope, parse_envelope
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.forward import Forwarder
from holdfast.ports.http import HTTP
from holdfast.verifier.keys_proof import verify_keys_proof

_LOG = logging.getLogger("holdfast.relay")
MAX_IDENTITY_BYTES = 4 << 20
"""Largest answer of a gateway to who it is."""
_SOON_S = 1.0
"""How soon a gateway is asked again whose keys are not shown yet."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a relay shows of one gateway; made once its proof verified."""

    document: KeyDocument
    keys: bytes
    """``application/ohttp-keys``."""
    proof: bytes
    """The keys proof, canonical JSON."""
    attestation: ShownAttestation | None
    """The evidence in it: it runs out within hours, so that newer evidence takes its place."""


@dataclass(slots=True)
class Target:
    """One gateway."""

    url: str
    forwarder: Forwarder
    billing_frames: bool = False
    document: KeyDocument | None = None
    """Who it is, as it said last and trust admits."""
    shown: Shown | None = None
    trouble: str = "it has not been asked yet"
    """Why its keys are not shown, or empty."""

    @property
    def tee_id(self) -> str | None:
        """By which OpenGradient's clients name it: keccak-256 (hex) of its signing key for them."""
        key = self.document.key_for("opengradient") if self.document else None
        return keccak256(key.public).hex() if key is not None else None


class Targets:
    """All of them; the first is the default."""

    def __init__(
        self,
        targets: Sequence[Target],
        http: HTTP,
        log: LogReader,
        trust: Callable[[], Trust],
        clock: Clock,
        *,
        every_s: float,
    ) -> None:
        self._targets = list(targets)
        self._http = http
        self._log = log
        self._trust = trust
        self._clock = clock
        self._every_s = every_s
        self._stopped = False

    @property
    def shown(self) -> int:
        """Of how many gateways the keys are shown."""
        return sum(target.shown is not None for target in self._targets)

    def find(self, name: str | None) -> Target:
        """The gateway that a caller names (``relay.md`` §2(2)), or the default. Raises ``relay.gateway``."""
        if name is None:
            if not self._targets:
                raise UnavailableError("relay.gateways", "this relay has no gateway", hint="name one in its settings")
            return self._targets[0]
        wanted = name.lower().removeprefix("0x")
        for target in self._targets:
            if wanted in (target.document.digest if target.document else None, target.tee_id):
                return target
        raise UsageError(
            "relay.gateway",
            "this relay passes nothing on to that gateway",
            hint="GET /v1/gateways lists them",
            status=404,
        )

    def keys_of(self, target: Target) -> Shown:
        """What is shown of a gateway's keys. Raises ``relay.keys``."""
        if target.shown is None:
            message = f"the gateway's keys cannot be shown with proof yet: {target.trouble}"
            raise UnavailableError("relay.keys", message, hint="full nodes cosign within seconds; ask again")
        return target.shown

    def describe(self) -> list[dict[str, Any]]:
        """``GET /v1/gateways``."""
        return [
            {"node": target.document.digest, "tee_id": target.tee_id, "default": place == 0}
            for place, target in enumerate(self._targets)
            if target.document is not None
        ]

    def readiness(self) -> Mapping[str, str]:
        """What stands in the way of passing on. Keys that cannot be shown yet do not: callers are told, and ask on."""
        return {"keys": "asking gateways who they are stopped; see the log of this node"} if self._stopped else {}

    async def work(self) -> None:
        """Ask each gateway who it is, for ever."""
        try:
            while True:
                await asyncio.gather(*(self.ask(target) for target in self._targets))
                waiting = any(target.shown is None for target in self._targets)
                await self._clock.sleep(min(_SOON_S, self._every_s) if waiting else self._every_s)
        except Exception:
            self._stopped = True
            _LOG.exception("asking gateways who they are stopped")
            raise

    async def ask(self, target: Target) -> None:
        """Ask one gateway, and gather the proof of its keys if they are others than those shown. What goes wrong is
        said in the log of this node; what was shown before stays."""
        try:
            await self._ask(target)
            target.trouble = ""
        except HoldfastError as error:
            if error.message != target.trouble:
                _LOG.warning("keys of a gateway wait: %s", error, extra={"code": error.code})
            target.trouble = error.message

    async def _ask(self, target: Target) -> None:
        answer = await self._http.request("GET", target.url + "/v1/identity", max_bytes=MAX_IDENTITY_BYTES)
        if answer.status != 200:
            raise UnavailableError("relay.identity", f"a gateway answered {answer.status} to who it is")
        identity = _parse_identity(answer.body)
        now = self._clock.now()
        self._require_admission(identity.document, now)
        if target.document is None or target.document.digest != identity.document.digest:
            target.document, target.shown = identity.document, None
        shown = target.shown
        if shown is not None and shown.attestation == identity.attestation:
            return
        raw = await self._prove(identity)
        verify_keys_proof(parse_keys_proof(raw), self._trust(), now)
        target.shown = Shown(identity.document, identity.document.ohttp_keys, raw, identity.attestation)

    def _require_admission(self, document: KeyDocument, now: dt.datetime) -> None:
        admission = self._trust().admission(document.digest)
        why = "unknown-key" if admission is None else admission.refusal(now, now)
        if why is None and "gateway" not in document.roles:
            why = "role"
        if why is not None:
            raise RefusedError("relay.not_admitted", f"trust does not admit a gateway of this relay: {why}")

    async def _prove(self, identity: _Identity) -> bytes:
        """The proof of a gateway's keys, gathered from its log; nothing in it is believed yet."""
        if not identity.document.ohttp:
            raise UnavailableError("relay.no_keys", "the gateway has no private path")
        if identity.statement is None or identity.index is None:
            raise UnavailableError("relay.untold", "the gateway has not told the log its keys yet")
        checkpoint = await self._log.checkpoint()
        size = parse_checkpoint_text(parse_note(checkpoint).text).size
        if not identity.index < size:
            raise UnavailableError("relay.untold", "the log has no checkpoint over the gateway's keys yet")
        proof = await self._log.hashes(merkle.inclusion_ranges(identity.index, size), size)
        return build_keys_proof(
            identity.document,
            identity.attestation,
            identity.statement.raw,
            index=identity.index,
            size=size,
            proof=proof,
            checkpoint=checkpoint,
        )


@dataclass(frozen=True, slots=True)
class _Identity:
    """What a gateway says it is."""

    document: KeyDocument
    attestation: ShownAttestation | None
    statement: Envelope | None
    index: int | None


def _parse_identity(raw: bytes) -> _Identity:
    """``GET /v1/identity`` of a gateway; raises ``relay.identity`` or the code of what it holds."""
    value = canonical.decode_object(raw)
    shown, told = value.get("attestation"), value.get("statement")
    attestation = None
    if shown is not None:
        if not isinstance(shown, dict) or not isinstance(shown.get("format"), str):
            raise MalformedError("relay.identity", "a gateway shows an attestation without a format", status=502)
        attestation = ShownAttestation(shown["format"], b64_decode(shown.get("evidence")))
    statement, index = None, None
    if told is not None:
        if not isinstance(told, dict) or not _is_index(told.get("index")):
            raise MalformedError("relay.identity", "a gateway shows a statement without its place", status=502)
        statement, index = parse_envelope(b64_decode(told.get("envelope"))), told.get("index")
    return _Identity(parse_key_document(b64_decode(value.get("key_document"))), attestation, statement, index)


def _is_index(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= merkle.MAX_SIZE)
