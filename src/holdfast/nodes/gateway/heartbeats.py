"""This gateway's place in the registry, kept up in the background: registered, attested again in time, and beating.

Two ways, alone or together: by an account of this gateway's own (:class:`Membership`, ``spec/registry.md`` §8), or by a
facilitator that relays heartbeats, as OpenGradient's gateways do it (:class:`FacilitatorHeartbeats`).

Rules: nobody waits for either. What fails is tried again, later each time, shown at ``/heartbeat/status`` and in the
metrics by its code, and told in words in the node's log. Whoever has no place in the registry answers all the same:
clients that look for gateways there do not find this one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.client.registry import Status
from holdfast.core import canonical
from holdfast.core.encoding import b64_encode
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.gateway.opengradient import AnswerSigner
from holdfast.ports.clock import Clock
from holdfast.ports.http import HTTP
from holdfast.ports.metrics import Metrics

_LOG = logging.getLogger("holdfast.gateway.heartbeats")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Pauses while something fails or votes are waited for, doubled each time."""
STEADY_S = 15.0
"""Pause between two looks at a registry where this gateway is active."""
TRIES, TRY_AGAIN_S, ANSWER_S = 3, 10.0, 20.0
"""How a heartbeat is handed to a facilitator: as OpenGradient's gateways do."""


class Registering(Protocol):
    """:class:`holdfast.client.registry.Registrar`, as much as is used of it here."""

    tee_id: bytes
    total_sent: int
    last_heartbeat: int
    last_transaction: str

    async def step(self) -> Status:
        """Look at the registry, and do the one next thing."""
        ...


@dataclass(slots=True)
class Beats:
    """What came of heartbeats so far."""

    sent: int = 0
    errors: int = 0
    last_success: int | None = None
    """Unix seconds, as signed."""
    last_transaction: str | None = None
    last_error: str | None = None
    """A code; the node's log has the words."""


class Membership:
    """Keeps this gateway registered through an account of its own."""

    def __init__(
        self,
        registrar: Registering,
        clock: Clock,
        metrics: Metrics,
        *,
        contract: str,
        account: str,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self.close = close
        """Lets go of the connection to the chain."""
        self.contract = contract
        self.account = account
        self.beats = Beats()
        self.active = False
        self.waits_for = "the registry was not looked at yet"
        """Why it is not active, in words; empty when it is."""
        self._registrar = registrar
        self._clock = clock
        self._metrics = metrics

    async def work(self) -> None:
        """Step after step, for ever."""
        pause = FIRST_PAUSE_S
        while True:
            steady = await self.step()
            await self._clock.sleep(STEADY_S if steady else pause)
            pause = FIRST_PAUSE_S if steady else min(2 * pause, LONGEST_PAUSE_S)

    async def step(self) -> bool:
        """One step; whether the gateway is active and nothing was to be done."""
        try:
            status = await self._registrar.step()
        except HoldfastError as error:
            if error.code != self.beats.last_error:
                _LOG.warning("no step in the registry: %s", error, extra={"code": error.code})
            self.beats.errors += 1
            self.beats.last_error = error.code
            self._metrics.count("holdfast_gateway_registry_errors_total", error.code.split(".")[0])
            return False
        self.beats.last_error = None
        self.beats.sent = self._registrar.total_sent
        if self._registrar.last_heartbeat:
            self.beats.last_success = self._registrar.last_heartbeat
            self.beats.last_transaction = self._registrar.last_transaction
        active = status.node is not None and status.node.active
        if active != self.active:
            _LOG.info("in the registry: %s", "active" if active else status.waits_for)
        self.active, self.waits_for = active, status.waits_for
        self._metrics.level("holdfast_gateway_registered", float(active))
        return active and status.did == "nothing"


class FacilitatorHeartbeats:
    """Hands heartbeats to a facilitator, which pays for them."""

    def __init__(
        self,
        signer: AnswerSigner,
        http: HTTP,
        url: str,
        clock: Clock,
        metrics: Metrics,
        *,
        contract: str,
        interval_s: int,
        behind_s: int,
    ) -> None:
        self.url = url.rstrip("/")
        self.contract = contract
        self.interval_s = interval_s
        self.beats = Beats()
        self._signer = signer
        self._http = http
        self._clock = clock
        self._metrics = metrics
        self._behind_s = behind_s

    @property
    def endpoint(self) -> str:
        """Where heartbeats go."""
        return f"{self.url}/heartbeat"

    async def work(self) -> None:
        """A heartbeat at once, and one each interval."""
        while True:
            await self.beat()
            await self._clock.sleep(self.interval_s)

    async def beat(self) -> None:
        """One heartbeat, in as many tries as it has. The clock of a chain lags, so it is signed for a moment before."""
        timestamp = int(self._clock.now().timestamp()) - self._behind_s
        for number in range(TRIES):
            try:
                transaction = await self._hand_over(timestamp)
            except HoldfastError as error:
                _LOG.warning("a heartbeat was not taken: %s", error, extra={"code": error.code})
                self.beats.errors += 1
                self.beats.last_error = error.code
                self._metrics.count("holdfast_gateway_registry_errors_total", error.code.split(".")[0])
                if number + 1 < TRIES:
                    await self._clock.sleep(TRY_AGAIN_S)
                continue
            self.beats.sent += 1
            self.beats.last_success, self.beats.last_transaction = timestamp, transaction
            self.beats.last_error = None
            return

    async def _hand_over(self, timestamp: int) -> str:
        """The transaction. Raises ``http.*`` or ``heartbeat.facilitator``."""
        body = {
            "teeId": "0x" + self._signer.tee_id.hex(),
            "timestamp": str(timestamp),
            "signature": b64_encode(await self._signer.sign_heartbeat(timestamp)),
            "contractAddress": self.contract,
        }
        answer = await self._http.request(
            "POST",
            self.endpoint,
            body=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
            timeout_s=ANSWER_S,
            max_bytes=1 << 16,
        )
        try:
            found = canonical.decode_object(answer.body).get("txHash") if answer.status < 300 else None
        except HoldfastError:
            found = None
        if not isinstance(found, str) or not found:
            raise UnavailableError("heartbeat.facilitator", f"the facilitator answered {answer.status} and no txHash")
        return found


def show_status(
    tee_id: bytes, membership: Membership | None, facilitator: FacilitatorHeartbeats | None
) -> Mapping[str, Any]:
    """``/heartbeat/status``: OpenGradient's shape, and whether the registry counts this gateway as active."""
    if membership is None and facilitator is None:
        return {"enabled": False}
    beats = facilitator.beats if facilitator is not None else membership.beats if membership is not None else Beats()
    shown: dict[str, Any] = {
        "enabled": True,
        "running": True,
        "tee_id": "0x" + tee_id.hex(),
        "registry": facilitator.contract if facilitator is not None else membership.contract if membership else None,
        "wallet": membership.account if membership is not None else None,
        "relay_mode": "registry" if facilitator is None else "facilitator",
        "facilitator_url": facilitator.url if facilitator is not None else None,
        "heartbeat_endpoint": facilitator.endpoint if facilitator is not None else None,
        "interval_seconds": facilitator.interval_s if facilitator is not None else None,
        "total_sent": beats.sent,
        "total_errors": beats.errors,
        "last_success_timestamp": beats.last_success,
        "last_tx_hash": beats.last_transaction,
        "last_error": beats.last_error,
    }
    if membership is not None:
        shown |= {"active": membership.active, "waits_for": membership.waits_for}
    return shown
