"""What an executor holds a handed-out act against before it does anything (``spec/acts.md`` §3).

Pure. An act is what a signed step says it is, of a tool that the executor's owner declared, with the digest that the
owner's own record has of it. What a panel says of a case is no part of it.

Not covered: whether the gate lets it through (``verifier.gate``), and what arguments a tool takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.agents import Amendment, Plan, Tool, act_digest, amendment_of, parse_agent_request, parse_step
from holdfast.core.statements import Route
from holdfast.errors import HoldfastError, RefusedError
from holdfast.verifier.appraisal import Appraisal
from holdfast.verifier.children import verify_children

STEP = "step"
"""The endpoint of an act's route (``agents.md`` §1(3))."""
_AMENDS = frozenset({"replaces", "first"})
"""Members of an amended act's request document (``agents.md`` §4(6))."""


@dataclass(frozen=True, slots=True)
class VerifiedAct:
    """An act as its own statements and the record say. Only :func:`verify_act` and :func:`verify_amended` make one."""

    run: str
    agent: str
    """The agent run that proposed it."""
    tool: Tool
    arguments: Mapping[str, Any]
    """As :func:`~holdfast.core.canonical.decode_exact` reads them."""
    digest: str
    amends: Amendment | None = None
    """In whose place a person proposed it."""


def verify_act(act: Appraisal, agent: str, plan: Plan, queue: str, digest: str) -> VerifiedAct:
    """Hold an appraised step against what its executor knows: the agent run ``agent``, the tools of ``plan``, the
    ``queue`` that it was handed out of, and the ``digest`` that the record has (§3(2)).

    Raises ``act.bytes``, ``act.document``, ``act.step``, ``act.parent``, ``act.tool``, ``act.effect``, ``act.queue``
    and ``act.arguments``.
    """
    document = _step_of(act, agent)
    tool, arguments = _proposed(document, plan, queue)
    found = act_digest(document)
    if found != digest:
        raise RefusedError("act.arguments", f"run {act.run} has other arguments than the agent's own record says")
    return VerifiedAct(act.run, agent, tool, arguments, found)


def verify_amended(act: Appraisal, first: VerifiedAct, plan: Plan, queue: str) -> VerifiedAct:
    """Hold an appraised step that a person proposed in the place of an act against the ``first`` act, which is the
    agent's own (§3(6)). That the acts in between were denied, it does not say.

    Raises ``act.replaces``, and what :func:`verify_act` raises.
    """
    document = _step_of(act, first.agent)
    amends = amendment_of(document)
    if amends is None or amends.first != first.run or act.run in (amends.first, amends.replaces):
        raise RefusedError("act.replaces", f"run {act.run} was not proposed in the place of act {first.run}")
    tool, arguments = _proposed({name: document[name] for name in document.keys() - _AMENDS}, plan, queue)
    if tool != first.tool:
        raise RefusedError(
            "act.replaces", f"an act of {tool.name} does not stand in the place of one of {first.tool.name}"
        )
    return VerifiedAct(act.run, first.agent, tool, arguments, act_digest(document), amends)


def claimed_amendment(act: Appraisal) -> tuple[str | None, Amendment | None]:
    """The agent run that an appraised step names, and in whose place it was proposed: to find out what to hold it
    against. Raises ``act.bytes``, ``act.document`` and ``act.replaces``."""
    document, route = _document(act, "request"), act.evidence.route
    return None if route is None else route.statement.parent_run, amendment_of(document)


def verify_declared(act: Appraisal, verified: VerifiedAct, agent: Appraisal) -> None:
    """Hold an act against its agent run, once that is closed (§3(4)): what it declared, and which children it lists.
    Raises ``act.bytes``, ``act.document``, ``act.effect`` and ``children.*``."""
    plan = parse_agent_request(_document(agent, "request"))
    if plan.tools.get(verified.tool.name) != verified.tool:
        raise RefusedError("act.effect", f"the agent run declared {verified.tool.name} otherwise, or not at all")
    closing, answer = agent.evidence.closing, _document(agent, "response")
    own = act.evidence.closing
    if agent.run != verified.agent or closing is None or own is None:
        raise RefusedError("act.parent", "this is not the closed agent run of the act")
    verify_children(closing.statement, answer, {act.run: own.statement})


def _document(appraisal: Appraisal, name: str) -> Any:
    """A document that is bound by the signed statements of its run."""
    if appraisal.lanes["bytes"].state != "proven":
        says = appraisal.lanes["bytes"].says
        raise RefusedError("act.bytes", f"the bytes of run {appraisal.run} are not proven: {says}")
    text = appraisal.evidence.documents.get(name)
    if text is None:
        raise RefusedError("act.document", f"the {name} of run {appraisal.run} is not shown")
    return canonical.decode_exact(text.encode())


def _step_of(act: Appraisal, agent: str) -> Any:
    """The request document of a step of this agent run."""
    document, route = _document(act, "request"), act.evidence.route
    if route is None or not isinstance(route.statement.body, Route) or route.statement.body.endpoint != STEP:
        raise RefusedError("act.step", f"run {act.run} is no step of an agent run")
    if route.statement.parent_run != agent:
        raise RefusedError("act.parent", f"run {act.run} was proposed by another agent run than the record says")
    return document


def _proposed(document: object, plan: Plan, queue: str) -> tuple[Tool, Mapping[str, Any]]:
    """The tool and arguments of a proposal, as the owner's plan has the tool, out of the tool's queue."""
    try:
        asked = parse_step(document, plan)
    except HoldfastError as error:
        if error.code == "agent.tool":
            raise RefusedError("act.tool", "this act is of a tool that the agent file does not have") from error
        if isinstance(document, dict) and document.get("kind") == "tool" and _reads(document, plan):
            raise RefusedError("act.effect", "this tool only reads: nothing of it is carried out") from error
        raise RefusedError("act.step", f"this is no proposal of an act: {error.message}") from error
    if asked.act is None:
        raise RefusedError("act.step", "this step proposes no act")
    if asked.act.queue != queue:
        raise RefusedError(
            "act.queue", f"an act of {asked.act.name} goes to the queue {asked.act.queue}, and came out of {queue}"
        )
    return asked.act, asked.request["arguments"]


def _reads(document: Mapping[str, Any], plan: Plan) -> bool:
    tool = plan.tools.get(document.get("tool", ""))
    return tool is not None and tool.effect == "read"
