"""What an executor finds out for itself before it carries an act out (``spec/acts.md`` §3).

A hand-out is the panel's word. Here it is held against the agent's own record, the signed statements of the act, the
tools of the agent file, and the gate, asked again with lanes that were appraised here.

Not covered: doing anything (``agents.acting``). Who approved or released is the panel's word as far as no lane that
the policy requires proves it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.agents.record import ProposedAct, Recorded
from holdfast.agents.tool import ActTool
from holdfast.core import canonical
from holdfast.core.agent_files import AgentFile
from holdfast.core.agents import Plan, parse_plan
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import time_decode
from holdfast.core.tool_rules import parse_schema, refuse_call
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from holdfast.ports.clock import Clock
from holdfast.review.cases import LET_THROUGH, Case, fold
from holdfast.review.contents import add_documents
from holdfast.review.events import Actor, Event
from holdfast.review.queues import appraisal_policy
from holdfast.verifier.acts import VerifiedAct, verify_act, verify_declared
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.gate import decide, vector_of
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from holdfast.verifier.queue_policy import QueuePolicy, parse_queue_policy_document

TAKEN_BACK = frozenset({"RECALLED", "REJECTED"})
"""States of a case that was taken back."""
LEASE_MARGIN = dt.timedelta(seconds=5)
"""A hand-out that ends sooner is not begun any more (``acts.md`` §2(4))."""


class Panel(Protocol):
    """What is asked of a panel (``client.panel``)."""

    async def next(self, queue: str, consumer: str, *, include_hold: bool, lease_s: int | None) -> dict[str, Any]: ...

    async def case(self, case: str) -> dict[str, Any]: ...

    async def bundle(self, run: str) -> bytes: ...

    async def end_lease(self, case: str, act: str, consumer: str, key: str) -> dict[str, Any]: ...


class Bundles(Protocol):
    """What is asked of a gateway (``client.gateway``)."""

    async def bundle(self, run: str, capability: str | None = None) -> bytes: ...


@dataclass(frozen=True, slots=True)
class TakenAct:
    """What a panel handed out, in its own words."""

    case: str
    run: str
    queue: str
    key: str
    until: dt.datetime


def parse_hand_out(value: Mapping[str, Any], queue: str) -> TakenAct | None:
    """The answer of a queue; None where it has nothing now. Raises ``panel.answer``."""
    handed = value.get("handed")
    if handed is None:
        return None
    row = handed.get("case") if isinstance(handed, dict) else None
    if not isinstance(row, dict):
        raise MalformedError("panel.answer", "a hand-out names its case")
    texts = row.get("id"), row.get("run"), handed.get("key"), handed.get("until")
    if not all(isinstance(text, str) for text in texts):
        raise MalformedError("panel.answer", "a hand-out has a case, a run, a key and an end")
    case, run, key, until = (str(text) for text in texts)
    return TakenAct(case, run, queue, key, time_decode(until))


class ActChecks:
    """The checks of one agent's executor.

    ``policies`` fixes the digest (hex) of a queue's policy, where the owner wants no other. ``record`` reads the record
    as it is at that moment.
    """

    def __init__(
        self,
        panel: Panel,
        gateway: Bundles,
        record: Callable[[], Recorded],
        file: AgentFile,
        tools: Mapping[str, ActTool],
        trust: Trust | None,
        clock: Clock,
        *,
        consumer: str,
        policies: Mapping[str, str] | None = None,
    ) -> None:
        self._panel = panel
        self._gateway = gateway
        self._record = record
        self._file = file
        self._tools = tools
        self._trust = trust
        self._clock = clock
        self._consumer = consumer
        self._policies = policies or {}
        self._plan: Plan = parse_plan(file.plan())

    def known(self, run: str) -> ProposedAct:
        """The act as the record has it, of an agent run that it has; raises ``act.unknown``."""
        kept = self._record()
        found = kept.acts.get(run)
        if found is None or found.agent not in kept.agents:
            raise RefusedError("act.unknown", f"the agent's own record has no act {run}")
        return found

    def agent_capability(self, agent: str) -> str | None:
        """What leads an agent run, where the record has it."""
        found = self._record().agents.get(agent)
        return None if found is None else found.capability

    async def check(self, handed: TakenAct) -> VerifiedAct:
        """All of §3, for a hand-out that is under way. Raises ``act.*``, ``children.*`` and what a node refuses."""
        known = self.known(handed.run)
        case, policy = await self._case(handed)
        act = await self._appraise(handed.run, known.capability, policy)
        self._gate(case, policy, act)
        verified = verify_act(act, known.agent, self._plan, handed.queue, known.digest)
        self._allowed(verified)
        above = await self._agent(known.agent)
        if above is not None:
            verify_declared(act, verified, above)
        return verified

    async def held(self, handed: TakenAct, *, begun: bool = False) -> None:
        """Look once more: raises ``act.held`` or ``act.recalled`` where the gate does not let it through at this
        moment, whatever it said before, and ``act.lease`` where it may be somebody else's by now. What was ``begun`` is
        nobody else's, whatever became of its lease."""
        known = self.known(handed.run)
        case, policy = await self._case(handed)
        if not begun:
            self._ours(case, handed)
        self._gate(case, policy, await self._appraise(handed.run, known.capability, policy))

    def _ours(self, case: Case, handed: TakenAct) -> None:
        lease = case.lease
        held = lease is not None and (lease.key, lease.consumer) == (handed.key, self._consumer)
        if lease is None or not held or case.handed_over_at is not None:
            raise RefusedError("act.lease", "the hand-out is somebody else's by now, or was taken back")
        if self._clock.now() + LEASE_MARGIN > lease.until:
            raise RefusedError("act.lease", "the hand-out is over, or nearly")

    # What the panel tells

    async def _case(self, handed: TakenAct) -> tuple[Case, QueuePolicy]:
        told = await self._panel.case(handed.case)
        case = _fold(told, handed.case)
        if case.run != handed.run or case.queue != handed.queue or told.get("state") != case.state:
            raise RefusedError("act.held", "the panel tells this case in two ways")
        return case, self._policy(told.get("policy_document"), case)

    def _policy(self, document: object, case: Case) -> QueuePolicy:
        try:
            policy = parse_queue_policy_document(canonical.encode(document))  # type: ignore[arg-type]
        except HoldfastError as error:
            raise RefusedError("act.policy", f"the policy of {case.queue} cannot be read: {error.message}") from error
        if policy.digest != case.policy or policy.name != case.queue:
            raise RefusedError("act.policy", "the case was judged under another policy than the panel shows")
        fixed = self._policies.get(case.queue)
        if fixed is not None and fixed != policy.digest:
            raise RefusedError("act.policy", f"the policy of {case.queue} is another than this executor's owner fixed")
        return policy

    # What is found here

    async def _appraise(self, run: str, capability: str, policy: QueuePolicy) -> Appraisal:
        """The run's evidence, of panel and gateway together, judged under this executor's own trust."""
        raw = await self._gateway.bundle(run, capability)
        with contextlib.suppress(HoldfastError):  # the gateway's alone is evidence too: what it lacks, no lane says
            raw = add_documents(await self._panel.bundle(run), raw, self._clock.now())
        bundle = parse_bundle(raw)
        if bundle.run != run:
            raise RefusedError("act.bytes", "this is the evidence of another run")
        return appraise(bundle, self._trust, appraisal_policy(policy), max(self._clock.now(), bundle.exported_at))

    def _gate(self, case: Case, policy: QueuePolicy, act: Appraisal) -> None:
        """The panel's word and ours, which have to let it through both (§3(5))."""
        at = max(act.at, case.changed_at)
        found = decide(policy, vector_of(act), case.decisions, case.release, case.history, at)
        if case.state not in LET_THROUGH or found.state not in LET_THROUGH:
            here = case.state in LET_THROUGH
            says = " ".join(reason.says for reason in (found.reasons if here else case.reasons)[:1])
            state = f"{found.state} by the evidence as it is here" if here else case.state
            why = f"the gate does not let this act through: it is {state}. {says}".strip()
            if {found.state, case.state} & TAKEN_BACK:
                raise RefusedError("act.recalled", why)
            raise RefusedError("act.held", why)
        if found.state == "PROVISIONAL" and not (case.release and case.release.person):
            raise RefusedError("act.held", "it was released early by nobody")

    async def _agent(self, agent: str) -> Appraisal | None:
        """The agent run, once it is closed."""
        bundle = parse_bundle(await self._gateway.bundle(agent, self.agent_capability(agent)))
        policy = parse_policy(DEFAULT_POLICY)
        found = appraise(bundle, self._trust, policy, max(self._clock.now(), bundle.exported_at))
        return found if found.evidence.closing is not None else None

    def _allowed(self, act: VerifiedAct) -> None:
        """The owner's rules and the tool's schema, held once more (§3(3)). Raises ``act.tool``, ``agent.allow`` and
        ``agent.arguments``."""
        tool, kept = self._tools.get(act.tool.name), self._file.tools.get(act.tool.name)
        if tool is None or kept is None:
            raise RefusedError("act.tool", f"this executor has no tool {act.tool.name}")
        refuse_call(act.arguments, kept.allow, parse_schema(tool.parameters))


def _fold(told: Mapping[str, Any], name: str) -> Case:
    """A case as the events that a panel shows leave it; raises ``panel.answer`` and ``case.history``."""
    try:
        case = fold(_event(item, name) for item in told["events"])
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedError("panel.answer", "a case has events") from error
    if case is None:
        raise MalformedError("panel.answer", "a case has events")
    return case


def _event(item: Mapping[str, Any], case: str) -> Event:
    """An event as it is shown. Its digest is the panel's word: only a whole journal shows more (``case.md`` §10)."""
    actor = Actor(str(item["actor"]["kind"]), str(item["actor"]["id"]), via=item["actor"].get("key"))
    return Event(
        item["seq"],
        "",
        time_decode(item["at"]),
        case,
        item["kind"],
        actor,
        item["cause"],
        item["lanes"],
        item["policy"],
        item["body"],
        b"",
        item["digest"],
    )
