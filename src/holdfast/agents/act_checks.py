"""What an executor finds out for itself before it carries an act out (``spec/acts.md`` §3).

A hand-out is the panel's word. Here it is held against the agent's own record, the signed statements of the act, the
tools of the agent file, and the gate, asked again with lanes that were appraised here. An act that a person proposed in
the place of another is no act of the record: it takes the signed statements of both, and the panel's journal of each in
between (§3(6)).

Not covered: doing anything (``agents.acting``). Who approved or released is the panel's word as far as no lane that
the policy requires proves it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast.agents.record import ProposedAct, Recorded
from holdfast.agents.tool import ActTool
from holdfast.core import canonical
from holdfast.core.agent_files import AgentFile
from holdfast.core.agents import Amendment, Plan, parse_plan
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import hex_decode, time_decode
from holdfast.core.tool_rules import parse_schema, refuse_call
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from holdfast.ports.clock import Clock
from holdfast.review.cases import LET_THROUGH, Case, fold
from holdfast.review.contents import add_documents
from holdfast.review.events import Actor, Event
from holdfast.review.queues import appraisal_policy
from holdfast.verifier.acts import VerifiedAct, claimed_amendment, verify_act, verify_amended, verify_declared
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.gate import decide, vector_of
from holdfast.verifier.policy import DEFAULT_POLICY, Policy, parse_policy
from holdfast.verifier.queue_policy import QueuePolicy, parse_queue_policy_document

TAKEN_BACK = frozenset({"RECALLED", "REJECTED"})
"""States of a case that was taken back."""
LEASE_MARGIN = dt.timedelta(seconds=5)
"""A hand-out that ends sooner is not begun any more (``acts.md`` §2(4))."""
MOST_REPLACED = 16
"""Acts that may stand one in the place of the other (§3(6))."""


class Panel(Protocol):
    """What is asked of a panel (``client.panel``)."""

    async def next(self, queue: str, consumer: str, *, include_hold: bool, lease_s: int | None) -> dict[str, Any]: ...

    async def case(self, case: str) -> dict[str, Any]: ...

    async def cases(self, states: Sequence[str] = (), **query: str | int | None) -> dict[str, Any]: ...

    async def bundle(self, run: str) -> bytes: ...

    async def end_lease(self, case: str, act: str, consumer: str, key: str) -> dict[str, Any]: ...


class Bundles(Protocol):
    """What is asked of a gateway (``client.gateway``)."""

    async def bundle(self, run: str, capability: str | None = None) -> bytes: ...


@dataclass(frozen=True, slots=True)
class HandedAct:
    """What a panel handed out, in its own words."""

    case: str
    run: str
    queue: str
    key: str
    until: dt.datetime
    capability: str | None = field(default=None, repr=False)
    """Of the act, where the panel can read it."""


@dataclass(frozen=True, slots=True)
class KnownAct:
    """An act of this executor's agent: one that the record has, or an amended one."""

    run: str
    capability: str = field(repr=False)
    proposed: ProposedAct
    """As the record has it; of an amended act, the first."""

    @property
    def amended(self) -> bool:
        """Whether a person proposed it, in the place of one of the record's."""
        return self.run != self.proposed.run


def parse_hand_out(value: Mapping[str, Any], queue: str) -> HandedAct | None:
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
    capability = handed.get("capability")
    if capability is not None:
        hex_decode(capability, 32)
    return HandedAct(case, run, queue, key, time_decode(until), capability)


class ActChecks:
    """The checks of one agent's executor.

    ``policies`` fixes the digest (hex) of a queue's policy, where the owner wants no other. ``record`` reads the record
    as it is at that moment. ``amended`` False: what a person proposed in an act's place is nobody's here.
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
        amended: bool = True,
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
        self._amended_too = amended
        self._plan: Plan = parse_plan(file.plan())

    async def known(self, handed: HandedAct) -> KnownAct:
        """The act, where the record has it or its first one, of an agent run that it has (§3(1)). Raises
        ``act.unknown``, and of an amended act what its evidence does."""
        kept = self._record()
        found, capability = kept.acts.get(handed.run), ""
        if found is not None:
            capability = found.capability
        elif self._amended_too and handed.capability is not None:
            found, capability = await self._first(handed.run, handed.capability, kept), handed.capability
        if found is None or found.agent not in kept.agents:
            raise RefusedError("act.unknown", f"the agent's own record has no act {handed.run}")
        return KnownAct(handed.run, capability, found)

    async def _first(self, run: str, capability: str, kept: Recorded) -> ProposedAct | None:
        """What the record has of an amended act: the one with which it began, where its agent run is the same."""
        act = await self._appraise(run, capability, parse_policy(DEFAULT_POLICY))
        agent, amends = claimed_amendment(act)
        found = None if amends is None else kept.acts.get(amends.first)
        return found if found is not None and found.agent == agent else None

    def agent_capability(self, agent: str) -> str | None:
        """What leads an agent run, where the record has it."""
        found = self._record().agents.get(agent)
        return None if found is None else found.capability

    async def check(self, handed: HandedAct) -> VerifiedAct:
        """All of §3, for a hand-out that is under way. Raises ``act.*``, ``children.*`` and what a node refuses."""
        known = await self.known(handed)
        policy, act = await self._let_through(handed, known)
        first = known.proposed
        own = act if not known.amended else await self._appraise(first.run, first.capability, appraisal_policy(policy))
        verified = verify_act(own, first.agent, self._plan, handed.queue, first.digest)
        above = await self._agent(first.agent)
        if above is not None:
            verify_declared(own, verified, above)
        if known.amended:
            verified = verify_amended(act, verified, self._plan, handed.queue)
            if above is not None:
                verify_declared(act, verified, above)
        self._allowed(verified)
        return verified

    async def held(self, handed: HandedAct, *, begun: bool = False) -> None:
        """Look once more: raises ``act.held`` or ``act.recalled`` where the gate does not let it through at this
        moment, whatever it said before, and ``act.lease`` where it may be somebody else's by now. What was ``begun`` is
        nobody else's, whatever became of its lease."""
        await self._let_through(handed, await self.known(handed), anybodys=begun)

    async def _let_through(
        self, handed: HandedAct, known: KnownAct, *, anybodys: bool = True
    ) -> tuple[QueuePolicy, Appraisal]:
        """The queue's policy and the act's evidence, where the gate lets it through at this moment (§3(5), (6)); unless
        it is ``anybodys``, while the hand-out is this executor's."""
        case, policy = await self._case(handed)
        if not anybodys:
            self._ours(case, handed)
        act = await self._appraise(handed.run, known.capability, appraisal_policy(policy))
        state = self._gate(case, policy, act)
        if known.amended:
            if state != "CLEAR" or case.state != "CLEAR":
                raise RefusedError("act.held", "an amended act is carried out on CLEAR alone, and by no early release")
            asked = await self._denied(known, claimed_amendment(act)[1], handed.queue)
            if any(item.act == "approve" and item.person in asked for item in case.decisions):
                raise RefusedError("act.held", "somebody who asked for this act approved it")
        return policy, act

    def _ours(self, case: Case, handed: HandedAct) -> None:
        lease = case.lease
        held = lease is not None and (lease.key, lease.consumer) == (handed.key, self._consumer)
        if lease is None or not held or case.handed_over_at is not None:
            raise RefusedError("act.lease", "the hand-out is somebody else's by now, or was taken back")
        if self._clock.now() + LEASE_MARGIN > lease.until:
            raise RefusedError("act.lease", "the hand-out is over, or nearly")

    # What the panel tells

    async def _case(self, handed: HandedAct) -> tuple[Case, QueuePolicy]:
        told = await self._panel.case(handed.case)
        case = _fold(told, handed.case)
        if case.run != handed.run or case.queue != handed.queue or told.get("state") != case.state:
            raise RefusedError("act.held", "the panel tells this case in two ways")
        return case, self._policy(told.get("policy_document"), case)

    async def _denied(self, known: KnownAct, amends: Amendment | None, queue: str) -> set[str]:
        """Who asked for an amended act and for those between it and the first, each of which was denied by that
        (§3(6)). Raises ``act.replaces``."""
        act, asked = known.proposed.run, dict[str, str]()
        while act != known.run and act not in asked and len(asked) < MOST_REPLACED:
            other, asked[act] = await self._amended(act, queue)
            act = other
        if act != known.run or amends is None or amends.replaces != next(reversed(asked)):
            raise RefusedError("act.replaces", "the panel's cases do not lead from the agent's own act to this one")
        return set(asked.values())

    async def _amended(self, run: str, queue: str) -> tuple[str, str]:
        """The act that a person proposed in the place of a denied one, and who that was."""
        told = await self._panel.cases(run=run, queue=queue)
        listed = told.get("cases")
        if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
            raise RefusedError("act.replaces", f"the panel has not one case of act {run} in this queue")
        case = _fold(listed[0], str(listed[0].get("id")))
        who = [item["actor"] for item in listed[0]["events"] if item["kind"] == "amended"]
        if case.run != run or case.queue != queue or {case.state, listed[0].get("state")} != {"REJECTED"}:
            raise RefusedError("act.replaces", f"act {run}, which was to be replaced, is not denied")
        if case.amended is None or who[0]["kind"] != "person":
            raise RefusedError("act.replaces", f"nobody proposed another act in the place of {run}")
        return case.amended, str(who[0]["id"])

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

    async def _appraise(self, run: str, capability: str, policy: Policy) -> Appraisal:
        """The run's evidence, of panel and gateway together, judged under this executor's own trust."""
        raw = await self._gateway.bundle(run, capability)
        with contextlib.suppress(HoldfastError):  # the gateway's alone is evidence too: what it lacks, no lane says
            raw = add_documents(await self._panel.bundle(run), raw, self._clock.now())
        bundle = parse_bundle(raw)
        if bundle.run != run:
            raise RefusedError("act.bytes", "this is the evidence of another run")
        return appraise(bundle, self._trust, policy, max(self._clock.now(), bundle.exported_at))

    def _gate(self, case: Case, policy: QueuePolicy, act: Appraisal) -> str:
        """The panel's word and ours, which have to let it through both (§3(5)); ours is returned."""
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
        return found.state

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
