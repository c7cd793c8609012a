"""The proofs that this node owes: a durable queue of jobs, and what came of them (``spec/inference.md`` §5(3), §5(7)).

Rules:

* A job is on the disk before the answer that it is to prove leaves the node. It goes away only when its proof is on the
  disk, signed. A prover or a node that is killed meanwhile leaves the job, and it is done again from its beginning.
* A prover that fails on a job :data:`TRIES` times gives it up, loudly: its run stays without a proof.
* A proof is kept for full nodes for as long as the settings say. A gateway says when it has its statement.

Jobs and proofs hold inputs, outputs and keys of runs in the clear: the folder is as secret as they are. Not covered:
what full nodes find (``nodes.full.proofs``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, b64_encode, sha256_hex, time_decode, time_encode
from holdfast.core.orders import Order, ProofDelivery, parse_order
from holdfast.core.proofs import ProofDocument, record_of, verify_proof_document
from holdfast.core.statements import (
    Execution,
    Statement,
    build_payload,
    execution_body,
    parse_envelope,
    parse_statement,
)
from holdfast.errors import HoldfastError, RefusedError
from holdfast.nodes.inference.circuits import Circuits, ReadyCircuit
from holdfast.nodes.inference.identity import Identity
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics
from holdfast.ports.prover import Witnessed
from holdfast.ports.storage import Storage

TRIES = 5
"""How often a prover may fail on one job."""
JOBS, PROOFS, FAILED = "jobs", "proofs", "failed"
"""Folders of the queue's storage."""
_PAUSE_S = 2.0
_LOG = logging.getLogger("holdfast.inference.proving")


@dataclass(slots=True)
class _Kept:
    """A proof that is on the disk, as far as it is kept in memory."""

    run: str
    at: dt.datetime
    taken: bool


class Proofs:
    """See the module. ``salt`` makes 32 random bytes; ``keep_s`` is how long proofs are kept."""

    def __init__(
        self,
        storage: Storage,
        circuits: Circuits,
        identity: Identity,
        clock: Clock,
        metrics: Metrics,
        *,
        salt: Callable[[], bytes],
        keep_s: float,
    ) -> None:
        self._storage = storage
        self._circuits = circuits
        self._identity = identity
        self._clock = clock
        self._metrics = metrics
        self._salt = salt
        self._keep = dt.timedelta(seconds=keep_s)
        self._wake = asyncio.Event()
        self._jobs = sorted(storage.list_names(JOBS))
        self._kept: dict[str, _Kept] = {}
        for name in storage.list_names(PROOFS):
            value = canonical.decode(storage.load(f"{PROOFS}/{name}") or b"{}")
            self._remember(name, value)
            if value["computed"] in self._jobs:  # it ended between the proof and the end of its job
                self._drop(value["computed"])
        self._level()

    def owe(self, order: Order, computed: bytes, response: bytes, artifact: str, witnessed: Witnessed) -> None:
        """Make it durable that a proof is owed for what an envelope says was computed."""
        digest = parse_statement(parse_envelope(computed)).digest
        job: dict[str, canonical.JSON] = {
            "order": order.to_json(),
            "computed": b64_encode(computed),
            "response": response.decode(),
            "artifact": artifact,
            "instances": list(witnessed.instances),
            "witness": b64_encode(witnessed.witness),
            "failures": 0,
        }
        self._storage.save(f"{JOBS}/{digest}", canonical.encode(job))
        self._jobs.append(digest)
        self._level()
        self._wake.set()

    # What came of it

    def waiting(self) -> list[dict[str, str]]:
        """Proofs that no gateway has taken."""
        return [{"run": kept.run, "statement": digest} for digest, kept in self._kept.items() if not kept.taken]

    def read(self, statement: str) -> ProofDelivery | None:
        """A proof by the digest of its ``proved`` statement."""
        if statement not in self._kept:
            return None
        value = canonical.decode(self._storage.load(f"{PROOFS}/{statement}") or b"{}")
        return ProofDelivery(b64_decode(value["envelope"]), value["document"].encode(), bytes.fromhex(value["salt"]))

    def taken(self, statement: str) -> bool:
        """A gateway has the statement; whether there is such a proof."""
        kept = self._kept.get(statement)
        if kept is None:
            return False
        if not kept.taken:
            value = canonical.decode(self._storage.load(f"{PROOFS}/{statement}") or b"{}")
            self._storage.save(f"{PROOFS}/{statement}", canonical.encode({**value, "taken": True}))
            kept.taken = True
        return True

    # The work

    async def work(self) -> None:
        """Prove what is owed, for ever, one after the other; and forget what was kept long enough."""
        while True:
            self._wake.clear()
            again = [name for name in list(self._jobs) if not await self.prove(name)]
            self._forget()
            if again:
                await self._clock.sleep(_PAUSE_S)
            elif not self._jobs:
                await self._wake.wait()

    async def prove(self, name: str) -> bool:
        """Do one job; False where it is still owed."""
        job = canonical.decode(self._storage.load(f"{JOBS}/{name}") or b"{}")
        began = self._clock.monotonic()
        outcome = "complete"
        try:
            order, computed = parse_order(job["order"]), parse_statement(parse_envelope(b64_decode(job["computed"])))
            circuit = self._circuits.at(job["artifact"])
            if circuit is None:
                raise RefusedError("infer.circuit", "the circuit that it was computed with is not here any more")
            proof = await self._circuits.prover.prove(circuit.folder, b64_decode(job["witness"]))
            document = _document(order, job, circuit, self._circuits.prover.version, proof)
            self._finish(name, order, computed, document)
        except HoldfastError as error:
            outcome = error.code
            return self._failed(name, job, error)
        else:
            self._metrics.observe("holdfast_inference_prove_seconds", self._clock.monotonic() - began)
            return True
        finally:
            self._metrics.count("holdfast_inference_proofs_total", outcome)
            self._level()

    def _finish(self, name: str, order: Order, computed: Statement, document: ProofDocument) -> None:
        """Sign a proof, hold it against what was computed as everybody else will, and keep it."""
        raw, salt = document.raw, self._salt()
        body = computed.body
        if not isinstance(body, Execution) or body.response is None:
            raise RefusedError("order.computed", "nothing was computed")
        execution = Execution(
            "proved", body.outcome, body.response, None, body.upstream, body.computation, record_of(raw, salt)
        )
        now = self._clock.now()
        payload = build_payload(
            "execution",
            run=order.run,
            attester=self._identity.attester,
            claimed_at=now.replace(second=0, microsecond=0) if order.coarse else now,
            parents=(computed.digest,),
            subject=("response", body.response.root),
            body=execution_body(execution),
            nonce=order.nonce,
            parent_run=order.parent_run,
        )
        envelope = self._identity.envelope(payload)
        verify_proof_document(parse_statement(parse_envelope(envelope)), computed, raw, salt)
        digest = sha256_hex(payload)
        value: dict[str, canonical.JSON] = {
            "run": order.run,
            "computed": name,
            "at": time_encode(now),
            "envelope": b64_encode(envelope),
            "document": raw.decode(),
            "salt": salt.hex(),
            "taken": False,
        }
        self._storage.save(f"{PROOFS}/{digest}", canonical.encode(value))
        self._remember(digest, value)
        self._drop(name)

    def _failed(self, name: str, job: dict[str, Any], error: HoldfastError) -> bool:
        failures = job["failures"] + 1
        _LOG.warning(
            "proof of %s: %s (%d of %d)", name[:12], error.message, failures, TRIES, extra={"code": error.code}
        )
        text = canonical.encode({**job, "failures": failures})
        if failures < TRIES:
            self._storage.save(f"{JOBS}/{name}", text)
            return False
        _LOG.error("proof of %s is given up: its run stays without one", name[:12], extra={"code": error.code})
        self._storage.save(f"{FAILED}/{name}", text)
        self._drop(name)
        return True

    def _drop(self, name: str) -> None:
        self._storage.remove(f"{JOBS}/{name}")
        self._storage.sync_folder(JOBS)
        self._jobs.remove(name)

    def _remember(self, digest: str, value: dict[str, Any]) -> None:
        self._kept[digest] = _Kept(value["run"], time_decode(value["at"]), value["taken"])

    def _forget(self) -> None:
        now = self._clock.now()
        for digest, kept in list(self._kept.items()):
            if now - kept.at > self._keep:
                del self._kept[digest]
                self._storage.remove(f"{PROOFS}/{digest}")

    def _level(self) -> None:
        self._metrics.level("holdfast_inference_proofs_owed", len(self._jobs))


def _document(order: Order, job: dict[str, Any], circuit: ReadyCircuit, version: str, proof: bytes) -> ProofDocument:
    return ProofDocument(
        run=order.run,
        version=version,
        proof=proof,
        instances=tuple(job["instances"]),
        inputs=circuit.made.inputs,
        outputs=circuit.made.outputs,
        settings=circuit.settings,
        verification_key=circuit.made.verification_key,
        srs=circuit.made.srs,
        document=order.document,
        request=order.text.decode(),
        response=job["response"],
        key=order.key,
    )
