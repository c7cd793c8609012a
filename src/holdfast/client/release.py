"""What is handed on to somebody else's program, and when (``spec/client.md`` §7).

Rules: of a stream, whatever belongs to no end goes on as soon as its mark verifies; its end (everything from where all
choices have their finish reason) waits for the closing statements and for :class:`ReleaseRules`. A whole answer waits
for both. What is handed on are the members that were bound, numbers as they were written; of carriers only what was
checked (``parts.md`` §2), for a ``tee_note`` that nothing binds would look like evidence.

Not covered: who answers, which is asked before (``client.gateway``), and how refusals look on the wire.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from holdfast.client.gateway import AnswerStream, GatewayClient, WholeAnswer
from holdfast.client.turns import BoundTurn
from holdfast.core import canonical
from holdfast.core.canonical import JSON
from holdfast.core.statements import Route
from holdfast.errors import RefusedError, UndecidedError
from holdfast.verifier.policy import Requirement


@dataclass(slots=True)
class ReleaseRules:
    """What an answer that is bound must be besides. Without any, binding is all that is asked of it."""

    require: tuple[Requirement, ...] = ()
    """Lanes, appraised here with the client's own trust when the answer is whole."""
    no_fallback: bool = False
    same_upstream: bool = False
    """A model is answered by the upstream that answered it first while these rules lived."""
    same_model: bool = False
    """The answer names the model that was asked for."""
    _upstreams: dict[str, str] = field(default_factory=dict)

    async def check(self, client: GatewayClient, bound: BoundTurn) -> None:
        """Raises ``release.*``: of what the signed route tells, then of the answer, then of lanes."""
        route = bound.route.body
        asked = _model_of(canonical.decode_object(bound.turn.request))
        if isinstance(route, Route):
            self._check_route(route, asked)
        answered = _model_of(bound.turn.response)
        if self.same_model and answered != asked:
            raise RefusedError("release.model", f"model {asked} was asked for, and {answered or 'no model'} answered")
        if self.require:
            await self._check_lanes(client, bound)

    def _check_route(self, route: Route, model: str) -> None:
        if self.no_fallback and route.fallback_from:
            failed = ", ".join(route.fallback_from)
            raise RefusedError("release.fallback", f"upstream {failed} did not answer, and {route.upstream} did")
        first = self._upstreams.setdefault(model, route.upstream)
        if self.same_upstream and route.upstream != first:
            raise RefusedError("release.upstream", f"upstream {route.upstream} answered for {first}, which did before")

    async def _check_lanes(self, client: GatewayClient, bound: BoundTurn) -> None:
        lanes = (await client.appraise(bound.turn.run, bound.turn.capability)).lanes
        for requirement in self.require:
            lane = lanes[requirement.lane]
            answer = requirement.answer(lane)
            found = f"{requirement} is required, and the lane is {lane.state}" + (
                f":{lane.basis}" if lane.basis else ""
            )
            if answer == "no":
                raise RefusedError("release.lane", found)
            if answer == "cannot_tell":
                raise UndecidedError("release.undecided", found, hint="what settles later cannot be waited for here")

    def to_json(self) -> dict[str, JSON]:
        return {
            "require": [str(requirement) for requirement in self.require],
            "no_fallback": self.no_fallback,
            "same_upstream": self.same_upstream,
            "same_model": self.same_model,
        }


def _model_of(document: object) -> str:
    model = document.get("model") if isinstance(document, dict) else None
    return model if isinstance(model, str) else ""


async def release_whole(answer: WholeAnswer, rules: ReleaseRules) -> tuple[BoundTurn, bytes]:
    """Check an answer; returns what binds it, and its JSON as it may be handed on."""
    bound = await answer.check()
    await rules.check(answer.client, bound)
    return bound, canonical.encode_exact({**bound.turn.response, "holdfast": _carrier(bound)})


async def release_stream(answer: AnswerStream, rules: ReleaseRules) -> AsyncGenerator[bytes]:
    """The events of a stream that may be handed on, as JSON. What it raises takes the stream's place: nothing that was
    held back follows."""
    held: list[dict[str, Any]] = []
    async for marked in answer:
        last = len(marked.events) - 1
        for place, (event, ends) in enumerate(zip(marked.events, marked.ends, strict=True)):
            carried = {"holdfast": {"run": answer.run, "mark": marked.mark}} if place == last else {}
            held.append({**event, **carried})
            if not ends:
                for ready in held:
                    yield canonical.encode_exact(ready)
                held.clear()
    bound = answer.bound
    if bound is None or not held:
        raise UndecidedError("answer.statement", f"nothing binds the answer of run {answer.run}")
    await rules.check(answer.client, bound)
    held[-1]["holdfast"] |= _carrier(bound)
    for ready in held:
        yield canonical.encode_exact(ready)


def _carrier(bound: BoundTurn) -> dict[str, JSON]:
    """The ``holdfast`` member of an answer that was checked."""
    turn = bound.turn
    return {
        "run": turn.run,
        "attester": bound.attester.node,
        "outcome": turn.outcome,
        "capability": turn.capability,
        "statements": [{"kind": item.kind, "digest": item.digest} for item in (bound.route, bound.execution)],
    }
