"""An inference node's work: take an order, run the model, say in one signed statement what ran on what.

Order of things: the document is parsed; the label is looked up and its artifact lent; the items are run one after the
other, and meanwhile the request is cut into parts under the run's key; so is the response; the statement names the
artifact of the loan. In mode ZKML the circuit of the artifact gives the answer instead, and what is to be proved is
durable before it leaves; of every other run the node keeps nothing.

Not covered: HTTP (``app``), and what a gateway makes of a delivery.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from holdfast.core import canonical
from holdfast.core.computations import BoundTree, Computation
from holdfast.core.inference import Inference, Tensor, compare_answers, make_tensor, parse_inference, show_inference
from holdfast.core.orders import CheckOrder, Delivery, Evidence, Order
from holdfast.core.parts import commit_parts, map_parts
from holdfast.core.proofs import SYSTEM, circuit_outputs, instances_of, public_inputs
from holdfast.core.statements import (
    Execution,
    Tree,
    build_payload,
    execution_body,
    parse_envelope,
    parse_statement,
)
from holdfast.core.texts import parse_texts, show_classifications, show_embeddings
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.nodes.inference.circuits import Circuits, ReadyCircuit
from holdfast.nodes.inference.identity import Identity
from holdfast.nodes.inference.models import Models
from holdfast.nodes.inference.proving import Proofs
from holdfast.nodes.witness import EnclaveWitness
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics
from holdfast.ports.models import Card
from holdfast.ports.runtime import Conditions, LoadedModel

COMPLETE = "complete"
TASKS = {"embeddings": "embeddings", "classifications": "classification"}
"""What a model's card has to declare for an endpoint (``inference.md`` §8)."""
Result = TypeVar("Result")
WITNESSES_AT_ONCE = 2
"""Circuits that are run beside each other, each in a process of its own."""
_THREAD_BYTES = 64 << 10
"""Documents from here on are parsed and cut into parts off the event loop."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a run gave, bound."""

    text: bytes
    value: dict[str, Any]
    request: BoundTree
    response: Tree


class InferenceService:
    """Runs orders."""

    def __init__(
        self,
        identity: Identity,
        models: Models,
        conditions: Conditions,
        enclave: EnclaveWitness,
        circuits: Circuits,
        proofs: Proofs,
        clock: Clock,
        metrics: Metrics,
        *,
        at_once: int,
    ) -> None:
        self._identity = identity
        self._models = models
        self._conditions = conditions
        self._enclave = enclave
        self._circuits = circuits
        self._proofs = proofs
        self._witnessing = asyncio.Semaphore(WITNESSES_AT_ONCE)
        self._clock = clock
        self._metrics = metrics
        self._at_once = at_once
        self._under_way = 0

    async def compute(self, order: Order) -> Delivery:
        """Run an order. Raises ``infer.*``, ``models.*``, ``model.*``, ``json.*`` and ``parts.*``."""
        mode = "none"
        outcome = COMPLETE
        if self._under_way >= self._at_once:
            raise UnavailableError("infer.busy", "too many orders are under way", hint="try again in a moment")
        self._under_way += 1
        try:
            inference, value = await self._parse(order)
            mode = inference.mode
            attestation = self._evidence(mode)
            if mode == "ZKML":
                return await self._compute_circuit(order, inference, value, attestation)
            async with self._models.lend(inference.model) as loan:
                answer = await self._run(order, inference, value, loan.model, loan.card)
                computation = self._computation(loan.model.artifact, inference, answer)
            execution = Execution("computed", COMPLETE, answer.response, None, computation.runtime, computation)
            return Delivery(answer.text, self._sign(order, execution, ()), attestation)
        except HoldfastError as error:
            outcome = error.code
            raise
        finally:
            self._under_way -= 1
            self._metrics.count("holdfast_inference_orders_total", mode, outcome)

    async def recompute(self, check: CheckOrder) -> Delivery:
        """Run again what another node computed, and say how its answer compares (``inference.md`` §6).

        Raises as :meth:`compute`; ``order.computed`` where what is shown is no computation of this order.
        """
        order = check.order
        inference, value = await self._parse(order)
        first = parse_statement(parse_envelope(check.envelope))
        body = first.body
        if not isinstance(body, Execution) or body.event != "computed" or body.computation is None:
            raise RefusedError("order.computed", "only what another node computed is run again")
        if body.computation.mode == "ZKML":
            raise RefusedError("infer.mode", "a run in mode ZKML is proved, not run again", hint="wait for its proof")
        async with self._models.lend_artifact(body.computation.artifact, inference.model) as loan:
            answer = await self._run(order, inference, value, loan.model, loan.card)
            computation = self._computation(loan.model.artifact, inference, answer)
        shown = canonical.decode_exact(check.text)
        bound = commit_parts("response", map_parts("response", shown), order.key).tree
        if first.run != order.run or bound != body.response or answer.request != body.computation.request:
            raise RefusedError("order.computed", "what is shown is not what that node's statement binds")
        comparison = compare_answers(shown, answer.value)
        if comparison == "equal" and answer.response != body.response:
            comparison = "within"  # the same values in another order of members
        execution = Execution(
            "recomputed", COMPLETE, answer.response, None, computation.runtime, computation, None, comparison
        )
        return Delivery(answer.text, self._sign(order, execution, (first.digest,)), self._enclave.current)

    async def _parse(self, order: Order) -> tuple[Inference, dict[str, Any]]:
        def parse() -> tuple[Inference, dict[str, Any]]:
            value = canonical.decode_exact(order.text)
            if order.endpoint in TASKS:
                return parse_texts(order.endpoint, value), value
            return parse_inference(value), value

        return await _aside(len(order.text) > _THREAD_BYTES, parse)

    def _evidence(self, mode: str) -> Evidence | None:
        """What is presented of the key that signs. Raises ``infer.mode`` for modes that this node does not serve."""
        if mode == "TEE" and self._enclave.current is None:
            raise RefusedError(
                "infer.mode", "this node runs in no enclave", hint="ask for VANILLA, or ask another node", param="mode"
            )
        return self._enclave.current

    async def _compute_circuit(
        self, order: Order, inference: Inference, value: dict[str, Any], attestation: Evidence | None
    ) -> Delivery:
        """Mode ZKML: what the circuit gives is the answer, and its proof is owed before it leaves (``inference.md``
        §5(2))."""
        prover = self._circuits.prover
        if order.endpoint in TASKS:
            raise RefusedError("infer.mode", "texts go through no circuit", hint="ask for VANILLA or TEE", param="mode")
        circuit = await self._circuits.find(inference.model)
        names = inference.outputs or circuit.made.outputs
        strange = sorted(set(names) - set(circuit.made.outputs))
        if strange:
            known = ", ".join(circuit.made.outputs)[:200]
            raise MalformedError(
                "infer.outputs", f"the model has no output {strange[0][:64]!r}", hint=f"it has {known}", param="outputs"
            )
        given = instances_of(public_inputs(circuit.made.inputs, circuit.settings, value))
        began = self._clock.monotonic()
        async with self._witnessing:
            witnessed = await prover.witness(circuit.folder, given)
        self._metrics.observe("holdfast_inference_run_seconds", self._clock.monotonic() - began)
        if [item for tensor in given for item in tensor] != list(witnessed.instances[: sum(map(len, given))]):
            raise UnavailableError("infer.prover", "the circuit took other numbers than it was given")
        outputs = circuit_outputs(circuit.made.outputs, circuit.settings, witnessed.instances)
        shown = show_inference(inference, circuit.artifact, [{name: outputs[name] for name in names}])
        request = _bind(order.document, value, order.key)
        response = _bind("response", shown, order.key)
        computation = self._proved_by(circuit, prover.version, BoundTree(request.root, request.size))
        text = canonical.encode_exact(shown)
        envelope = self._sign(order, Execution("computed", COMPLETE, response, None, SYSTEM, computation), ())
        self._proofs.owe(order, envelope, text, circuit.artifact, witnessed)
        return Delivery(text, envelope, attestation)

    def _proved_by(self, circuit: ReadyCircuit, version: str, request: BoundTree) -> Computation:
        return Computation(
            artifact=circuit.artifact,
            mode="ZKML",
            runtime=SYSTEM,
            version=version,
            optimisation="none",
            threads=self._conditions.threads,
            instructions=self._conditions.instructions,
            batch=1,
            request=request,
            circuit=circuit.named,
        )

    async def _run(
        self, order: Order, inference: Inference, value: dict[str, Any], model: LoadedModel, card: Card
    ) -> _Answer:
        if order.endpoint in TASKS:
            if card.task != TASKS[order.endpoint]:
                raise UsageError(
                    "infer.task", f"the model's card does not declare {TASKS[order.endpoint]}", param="model"
                )
            inference = parse_texts(order.endpoint, value, source=card.input, target=card.output)
        items = _tensors(inference, model)
        large = len(order.text) > _THREAD_BYTES
        binding = asyncio.create_task(_aside(large, lambda: _bind(order.document, value, order.key)))
        began = self._clock.monotonic()
        try:
            outputs = await model.run(items, inference.outputs)  # the request is bound while the model computes
        except BaseException:
            await asyncio.gather(binding, return_exceptions=True)
            raise
        self._metrics.observe("holdfast_inference_run_seconds", self._clock.monotonic() - began)
        request = await binding

        def answer() -> _Answer:
            shown = _shown(order.endpoint, inference, model.artifact, outputs, card)
            response = _bind("response", shown, order.key)
            return _Answer(canonical.encode_exact(shown), shown, BoundTree(request.root, request.size), response)

        size = sum(_size_of(tensor) for item in outputs for tensor in item.values())
        return await _aside(large or size > _THREAD_BYTES, answer)

    def _computation(self, artifact: str, inference: Inference, answer: _Answer) -> Computation:
        conditions = self._conditions
        return Computation(
            artifact=artifact,
            mode=inference.mode,
            runtime=conditions.runtime,
            version=conditions.version,
            optimisation=conditions.optimisation,
            threads=conditions.threads,
            instructions=conditions.instructions,
            batch=len(inference.items),
            request=answer.request,
        )

    def _sign(self, order: Order, execution: Execution, parents: tuple[str, ...]) -> bytes:
        if execution.response is None:
            raise MalformedError("order.computed", "nothing was computed")
        now = self._clock.now()
        payload = build_payload(
            "execution",
            run=order.run,
            attester=self._identity.attester,
            claimed_at=_minute(now) if order.coarse else now,
            parents=parents,
            subject=("response", execution.response.root),
            body=execution_body(execution),
            nonce=order.nonce,
            parent_run=order.parent_run,
        )
        return self._identity.envelope(payload)


async def _aside(large: bool, work: Callable[[], Result]) -> Result:
    """What ``work`` gives; large work is done off the event loop."""
    return await asyncio.to_thread(work) if large else work()


def _bind(document: str, value: dict[str, Any], key: bytes) -> Tree:
    """The tree over a document's parts. Raises ``parts.*``."""
    return commit_parts(document, map_parts(document, value), key).tree


def _shown(
    endpoint: str, inference: Inference, artifact: str, outputs: list[Mapping[str, Tensor]], card: Card
) -> dict[str, Any]:
    """The response document, as its endpoint shapes it."""
    if endpoint == "embeddings":
        return show_embeddings(inference, artifact, outputs)
    if endpoint == "classifications":
        return show_classifications(inference, artifact, outputs, card.labels)
    return show_inference(inference, artifact, outputs)


def _minute(now: dt.datetime) -> dt.datetime:
    return now.replace(second=0, microsecond=0)


def _size_of(tensor: Tensor) -> int:
    return len(tensor.data)


def _tensors(inference: Inference, model: LoadedModel) -> list[Mapping[str, Tensor]]:
    """Every item's inputs as the model declares them; raises ``infer.inputs``, ``infer.dtype``, ``infer.element``."""
    declared = {entry.name: entry.dtype for entry in model.inputs}
    items: list[Mapping[str, Tensor]] = []
    for item in inference.items:
        strange = sorted(item.keys() - declared.keys())
        if strange:
            raise MalformedError(
                "infer.inputs",
                f"the model has no input {strange[0][:64]!r}",
                hint=f"it has {', '.join(declared)}"[:200],
                param="inputs",
            )
        items.append({name: make_tensor(given, declared[name], f"inputs.{name[:64]}") for name, given in item.items()})
    return items
