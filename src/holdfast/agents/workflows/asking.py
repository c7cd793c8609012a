"""Asking data nodes and models for a step (``spec/workflows.md`` §3), with what comes back held against itself.

An admission is taken as an output only where its document, its salt and its statement belong together; an answer only
once the run's signed statements bind it (``client.gateway``). Whether trust admits who signed an admission, the gateway
asks when it is put before a model, and whoever reads the run's lanes.

Not covered: when something is asked, and how often (``engine``, ``core.workflows.moves``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from holdfast.agents.workflows.engine import Given
from holdfast.client.gateway import GatewayClient
from holdfast.client.turns import Question, text_of
from holdfast.core import canonical
from holdfast.core.admissions import Presented, verify_admission, verify_observation
from holdfast.core.encoding import time_encode
from holdfast.core.expectations import admit_value
from holdfast.core.statements import parse_envelope, parse_statement
from holdfast.core.workflows.definitions import AdmissionStep, InferenceStep
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError

_ENDPOINTS = {"chat": "chat.completions", "infer": "inference"}


class Admits(Protocol):
    """A data node (``client.data.DataClient``)."""

    async def admit(self, source: str, parameters: Mapping[str, Any]) -> Presented: ...


class NodesAsker:
    """One gateway, and data nodes by name; the one without a name is ``None``."""

    def __init__(self, gateway: GatewayClient, data: Mapping[str | None, Admits]) -> None:
        self._gateway = gateway
        self._data = data

    async def admit(self, step: AdmissionStep, question: Any) -> Given:
        """Raises ``workflow.not_admitted`` for what the node refused, and ``admission.*`` for what does not hold."""
        node = self._data.get(step.node)
        if node is None:
            raise UsageError("workflow.node", f"no data node is known here as {step.node or 'the usual one'}")
        shown = await node.admit(question["source"], question["parameters"])
        return given_of(step.source, shown)

    async def infer(self, step: InferenceStep, question: Any, run: str, facts: list[Any]) -> Given:
        """Raises what the gateway answers, and ``workflow.answer`` for a text that is not as expected."""
        request: dict[str, Any] = dict(question["request"])
        if facts:
            request["holdfast"] = {"admissions": [canonical.decode_exact(item.encode()) for item in facts]}
        body = canonical.encode_exact(request)
        asked = Question(request, _ENDPOINTS[step.endpoint], run, None, None, None, body=body)
        answer = await self._gateway.put(asked, timeout_s=float(step.seconds))
        turn = (await answer.check()).turn
        if step.endpoint == "infer":
            outputs = turn.response.get("outputs")
            return Given({"run": turn.run, "outputs": outputs}, run=turn.run, shown=turn.capability)
        text = text_of(turn.response)
        value = None if step.answer is None else value_of(step, text)
        return Given({"run": turn.run, "text": text, "value": value}, run=turn.run, shown=turn.capability)


def given_of(source: str, shown: Presented) -> Given:
    """What an admission gives a step; raises ``workflow.not_admitted`` and ``admission.*``."""
    envelope = parse_envelope(shown.envelope)
    document = verify_admission(parse_statement(envelope), shown.document, shown.salt)
    verify_observation(document, shown.definition)
    if document.refusal is not None or document.value is None:
        why = f"{document.refusal.code}: {document.refusal.says}" if document.refusal else "sources disagree"
        raise RefusedError("workflow.not_admitted", why, status=502)
    output = {
        "digest": envelope.digest,
        "source": source,
        "value": document.value.to_json(),
        "as_of": None if document.as_of is None else time_encode(document.as_of),
    }
    return Given(output, shown=canonical.encode(shown.to_json()).decode())


def value_of(step: InferenceStep, text: str) -> canonical.JSON:
    """What a text says as JSON, as its step expects; raises ``workflow.answer``. It is data: nothing in it is read as
    anything else."""
    try:
        if step.answer is None:
            raise MalformedError("workflow.answer", "nothing is expected")
        return admit_value(step.answer, canonical.decode_exact(text.strip().encode()))
    except (HoldfastError, UnicodeEncodeError) as error:
        why = error.message if isinstance(error, HoldfastError) else "it holds a lone surrogate"
        raise RefusedError("workflow.answer", f"{step.name} was not answered as expected: {why}", status=502) from error
