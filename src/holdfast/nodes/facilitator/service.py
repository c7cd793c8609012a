"""What the facilitator answers, given ports (``spec/payments.md`` §5, §7).

Verifying is a function of the request, the time and, where asked for, the chain; nothing is kept of it. Settling takes
an authorization on, once: the job is durable before it is answered, and from then on its network sees to its end.

Three kinds of answers are kept apart: a payment that is not good is an answer (``payment.*``, with x402's reason); a
chain that is silent is an error of its own (``chain.*``); everything else is a bug and leaves as one.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from holdfast.core import x402
from holdfast.core.captures import Call, selector
from holdfast.core.encoding import b64_decode
from holdfast.core.opengradient_settlement import build_batch, parse_row
from holdfast.core.x402 import (
    PaymentPayload,
    PaymentRequirements,
    SettleResponse,
    VerifiedPayment,
    VerifyResponse,
    method_of,
    reason_of,
)
from holdfast.errors import ConflictError, HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.nodes.facilitator.config import FacilitatorConfig
from holdfast.nodes.facilitator.jobs import DataJob, Ending, Job
from holdfast.nodes.facilitator.ledger import Ledger
from holdfast.nodes.facilitator.network import Network
from holdfast.ports.blobs import Blobs
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics

_LOG = logging.getLogger(__name__)

HEARTBEAT = selector("heartbeat(bytes32,uint256,bytes)")
HEARTBEAT_GAS = 500_000
"""As OpenGradient's facilitator sends."""
SETTLEMENTS = {
    "private": "private",
    "pivate": "private",
    "batch": "batch",
    "individual": "individual",
    "inidvidual": "individual",
}
"""Values of ``x-settlement-type`` and what they mean; two are spelled as some clients spell them."""
_TEE_ID = re.compile(r"(?:0x)?([0-9a-fA-F]{64})\Z")
_TIMESTAMP = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")


def _bare(payment: VerifiedPayment) -> VerifiedPayment:
    """A payment without what nobody needs for its capture: which resource it is for, and what else stood beside it."""
    extensions = payment.payload.extensions or {}
    kept = {x402.SPONSORING: extensions[x402.SPONSORING]} if payment.permit is not None else None
    return dataclasses.replace(payment, payload=dataclasses.replace(payment.payload, resource=None, extensions=kept))


class FacilitatorService:
    """One facilitator over the networks it serves."""

    def __init__(
        self,
        config: FacilitatorConfig,
        *,
        ledger: Ledger,
        networks: Mapping[str, Network],
        clock: Clock,
        metrics: Metrics,
        blobs: Blobs,
    ) -> None:
        self.config = config
        self._blobs = blobs
        self._data_at = clock.monotonic()
        """When a row was last taken on, monotonic seconds."""
        self._ledger = ledger
        self._networks = dict(networks)
        self._clock = clock
        self._metrics = metrics
        self._failure: BaseException | None = None

    # --- life ---------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Capture until the block ends. What is not done then is taken up by the next start."""
        tasks = [asyncio.create_task(self._run(network), name=f"captures-{network.name}") for network in self._list()]
        if self._settling() is not None:
            tasks.append(asyncio.create_task(self._close_batches(), name="batches"))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, network: Network) -> None:
        try:
            await network.run()
        except Exception as error:
            self._failure = error
            _LOG.exception("captures on %s stopped", network.name)
            raise

    def _list(self) -> list[Network]:
        return list(self._networks.values())

    def waiting_for(self) -> dict[str, str]:
        """Why this node cannot do its work, by name; empty when it can."""
        waiting = {network.name: network.trouble.message for network in self._list() if network.trouble is not None}
        if self._failure is not None:
            waiting["captures"] = "stopped; look at the log and restart"
        if not self._networks:
            waiting["networks"] = "none is configured"
        return waiting

    # --- verifying ----------------------------------------------------------------------------------------------------

    async def verify(self, value: object) -> VerifyResponse:
        """The body of a request to the answer. Raises ``x402.*`` for what does not parse, ``chain.*`` for silence."""
        payload, asked = x402.parse_facilitator_request(value)
        payer = payload.authorization.payer
        try:
            network = self._network(asked)
            payment = self._check(network, payload, asked, settling=False)
            self._refuse_used(payment)
            if network.config.simulate:
                await network.simulate(payment)
        except RefusedError as error:
            return VerifyResponse(False, payer, self._refusal(error, payload), error.message)
        self._metrics.count("holdfast_facilitator_verified_total")
        return VerifyResponse(True, payer)

    def _refuse_used(self, payment: VerifiedPayment) -> None:
        if payment.identity in self._ledger.jobs:
            raise RefusedError("payment.replayed", "this authorization was handed in for its capture before")

    def _network(self, asked: PaymentRequirements) -> Network:
        network = self._networks.get(asked.network)
        if network is None:
            raise RefusedError("payment.unserved_network", "payments on this network are not taken here")
        return network

    def _check(
        self, network: Network, payload: PaymentPayload, asked: PaymentRequirements, *, settling: bool
    ) -> VerifiedPayment:
        config = network.config
        if "*" not in config.assets and asked.asset not in config.assets:
            raise RefusedError("payment.unserved_asset", "payments in this token are not taken here")
        if "*" not in config.payees and asked.pay_to not in config.payees:
            raise RefusedError("payment.unserved_payee", "captures for this receiver are not paid for here")
        at = int(self._clock.now().timestamp())
        return x402.verify_payment(payload, asked, at=at, facilitator=network.account, settling=settling)

    def _refusal(self, error: RefusedError, payload: PaymentPayload) -> str:
        """x402's reason of a refusal; an error that is none of a payment's travels on."""
        if error.code not in x402.REASONS:
            raise error
        self._metrics.count("holdfast_facilitator_refused_total", error.code)
        return reason_of(error.code, method_of(payload))

    # --- settling -----------------------------------------------------------------------------------------------------

    async def settle(self, value: object) -> Job | SettleResponse:
        """The body of a request to its job, or to why there is none. Raises ``x402.*``, ``wal.stopped``,
        ``facilitator.busy``."""
        payload, asked = x402.parse_facilitator_request(value)
        try:
            return await self._settle(payload, asked)
        except RefusedError as error:
            reason = self._refusal(error, payload)
            payer = payload.authorization.payer
            return SettleResponse(False, asked.network, "", payer, None, reason, error.message)

    async def _settle(self, payload: PaymentPayload, asked: PaymentRequirements) -> Job:
        network = self._network(asked)
        identity = x402.identity_of(payload.authorization, chain_id=asked.chain_id, asset=asked.asset)
        known = self._ledger.jobs.get(identity)
        if known is not None:
            return await self._again(known, payload, asked)
        payment = self._check(network, payload, asked, settling=True)
        if self._failure is not None:
            raise UnavailableError("facilitator.stopped", "captures have stopped", hint="look at the log and restart")
        if sum(each.waiting for each in self._list()) >= self.config.jobs_waiting:
            raise UnavailableError("facilitator.busy", "too many payments wait for their capture", hint="try later")
        job = Job(_bare(payment), self._clock.now())
        job.kept = asyncio.get_running_loop().create_future()
        self._ledger.remember(job)
        # From here on the job goes its way whether or not the caller is still there to hear of it.
        await asyncio.shield(asyncio.ensure_future(self._take_on(network, job)))
        return job

    async def _take_on(self, network: Network, job: Job) -> None:
        ending = None
        if job.payment.amount == 0:
            ending = Ending(job, "succeeded", "", None, job.created_at)
        kept = job.kept
        try:
            await self._ledger.add(job, network.account, ending)
        except HoldfastError as error:
            if kept is not None and not kept.done():
                kept.set_exception(error)
                kept.exception()  # somebody may wait for it, or nobody
            raise
        job.kept = None
        if kept is not None:
            kept.set_result(None)
        self._metrics.count("holdfast_facilitator_jobs_total")
        if ending is None:
            network.submit(job)

    async def _again(self, job: Job, payload: PaymentPayload, asked: PaymentRequirements) -> Job:
        """The same authorization once more: the same job, or a replay for something else."""
        before = job.payment
        same = (
            before.payload.authorization == payload.authorization
            and before.requirements.scheme == asked.scheme
            and before.requirements.pay_to == asked.pay_to
            and before.requirements.asset == asked.asset
            and before.amount == asked.amount
        )
        if not same:
            raise ConflictError("payment.replayed", "this authorization was handed in for another capture before")
        if job.kept is not None:
            await asyncio.shield(job.kept)
        return job

    def job(self, name: str) -> Job | DataJob:
        """A job by its id, of a payment or of a row; raises ``facilitator.unknown_job`` (404)."""
        data = self._ledger.data.get(name)
        if data is not None:
            return data
        job = self._ledger.by_id.get(name)
        if job is None or job.kept is not None:
            raise UsageError("facilitator.unknown_job", "there is no such job", status=404)
        return job

    async def settle_and_wait(self, value: object) -> SettleResponse:
        """As x402's own facilitators answer: once the capture counts, or has failed."""
        found = await self.settle(value)
        if isinstance(found, SettleResponse):
            return found
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.settle_wait_s):
                await found.ended.wait()
        requirements = found.payment.requirements
        pending = SettleResponse(
            False, requirements.network, found.transaction, found.payment.payer, None, "settlement_pending"
        )
        return found.result or pending

    # --- what is offered ----------------------------------------------------------------------------------------------

    def supported(self) -> dict[str, Any]:
        """Kinds of payments, extensions and the addresses that submit them."""
        kinds: list[dict[str, Any]] = []
        for network in self._list():
            for scheme in (x402.EXACT, x402.UPTO):
                extra = {"facilitatorAddress": network.account}
                kinds.append({"x402Version": x402.VERSION, "scheme": scheme, "network": network.name, "extra": extra})
        accounts = list(dict.fromkeys(network.account for network in self._list()))
        return {"kinds": kinds, "extensions": [x402.SPONSORING], "signers": {"eip155:*": accounts}}

    def health(self) -> dict[str, Any]:
        """The same with a status, as OpenGradient's facilitator shows it."""
        offered = self.supported()
        kinds = offered.pop("kinds")
        return {"status": "ok" if not self.waiting_for() else "degraded", "supportedKinds": kinds, **offered}

    # --- on behalf of others ------------------------------------------------------------------------------------------

    async def heartbeat(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Relay a node's heartbeat to the registry. Raises ``heartbeat.*`` or ``chain.*``."""
        network = next((each for each in self._list() if each.config.registry), None)
        if network is None or network.config.registry is None:
            raise UnavailableError("heartbeat.unset", "no registry is configured", hint="set registry of a network")
        registry = network.config.registry.lower()
        wanted = value.get("contractAddress")
        if wanted is not None and (not isinstance(wanted, str) or wanted.lower() != registry):
            raise RefusedError("heartbeat.contract", "heartbeats are relayed to another contract", status=400)
        tee_id, timestamp = value.get("teeId"), value.get("timestamp")
        named = _TEE_ID.match(tee_id) if isinstance(tee_id, str) else None
        if named is None or not isinstance(timestamp, str) or _TIMESTAMP.match(timestamp) is None:
            raise MalformedError("heartbeat.members", "a heartbeat has teeId (32 bytes) and timestamp (decimal)")
        signature = b64_decode(value.get("signature"))
        if not 0 < len(signature) <= 1024:
            raise MalformedError("heartbeat.members", "a signature has 1 to 1,024 bytes", param="signature")
        data = HEARTBEAT + bytes.fromhex(named[1]) + int(timestamp).to_bytes(32) + (96).to_bytes(32)
        data += len(signature).to_bytes(32) + signature + bytes(-len(signature) % 32)
        try:
            async with asyncio.timeout(self.config.heartbeat_wait_s):
                digest = await network.relay(Call(registry, data), HEARTBEAT_GAS)
        except TimeoutError as error:
            raise UnavailableError("chain.timeout", "the heartbeat is in no block yet") from error
        return {
            "success": True,
            "txHash": "0x" + digest.hex(),
            "teeId": "0x" + named[1].lower(),
            "timestamp": timestamp,
            "relayer": network.account,
            "contract": registry,
        }

    async def settle_data(self, kind: str, header: str) -> dict[str, Any]:
        """OpenGradient's data settlement: nothing to do for ``private``; a row of a batch for ``batch``. Raises
        ``settlement.*``, ``encoding.base64``, ``json.*`` or ``wal.stopped``."""
        meant = SETTLEMENTS.get(kind.strip().lower() or "batch")
        if meant is None:
            raise MalformedError("settlement.type", "settlement types are private, batch and individual")
        if meant == "private":
            return {"settlementJob": None, "notes": "private: nothing is settled"}
        if meant == "individual" or self._settling() is None:
            raise UnavailableError(
                "settlement.unset",
                f"no contract is configured for {meant} settlement",
                hint="statements of a run settle through the log (spec/round.md)",
            )
        job = DataJob(parse_row(header), self._clock.now())
        known = self._ledger.data.get(job.id)
        if known is None:
            self._ledger.data[job.id] = job
            await asyncio.shield(asyncio.ensure_future(self._ledger.add_data(job)))
            self._data_at = self._clock.monotonic()
        else:
            await self._ledger.durable()
        return {"settlementJob": (known or job).to_json()}

    def _settling(self) -> Network | None:
        return next((each for each in self._list() if each.config.settlement), None)

    async def close_batch(self) -> bool:
        """Close a batch if one is due: enough rows, none for a while, or one that waits long. Its document is published
        before its root is named. Returns whether there was one."""
        network, rows = self._settling(), self._ledger.open_data()[: self.config.data_rows]
        if network is None or not rows:
            return False
        idle = self._clock.monotonic() - self._data_at >= self.config.data_idle_s
        age = (self._clock.now() - rows[0].created_at).total_seconds()
        if len(rows) < self.config.data_rows and not idle and age < self.config.data_age_s:
            return False
        batch = build_batch([job.row for job in rows])
        await self._blobs.put(batch.document)
        for job in rows:
            job.status = "processing"
        network.settle(batch, rows)
        return True

    async def _close_batches(self) -> None:
        while True:
            while await self.close_batch():
                pass
            await self._clock.sleep(1.0)

    async def published(self, blob: str) -> bytes:
        """The document of a batch; raises ``settlement.no_blob`` (404)."""
        data = await self._blobs.get(blob)
        if data is None:
            raise UsageError("settlement.no_blob", "no batch has this document", status=404)
        return data
