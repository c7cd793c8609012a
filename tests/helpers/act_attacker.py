"""A panel and a gateway in an attacker's hand, and the checks of an executor that is handed something by them.

The evidence is that of the vectors, made from the specification alone; the panel and the gateway are the attacker's.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from holdfast.agents.act_checks import ActChecks, HandedAct
from holdfast.agents.record import OpenedAgent, ProposedAct, Recorded
from holdfast.core import canonical
from holdfast.core.agent_files import AgentFile, parse_agent_file
from holdfast.core.encoding import time_decode, time_encode
from holdfast.core.trust import parse_trust_chain, verify_trust
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.verifier.queue_policy import QueuePolicy, parse_queue_policy
from tests.helpers.chains import ManualClock

VECTORS = Path(__file__).parents[2] / "vectors"
TRUST = verify_trust(parse_trust_chain((VECTORS / "shared" / "trust.json").read_bytes()))
EXPECTED = canonical.decode_object((VECTORS / "acts" / "proposed" / "expected.json").read_bytes())
AGENT = str(EXPECTED["agent"])
AMENDED = str(canonical.decode_object((VECTORS / "acts" / "amended-whole" / "act.json").read_bytes())["run"])
"""An act in the place of ``ACT``."""
ACT = str(canonical.decode_object((VECTORS / "acts" / "proposed" / "act.json").read_bytes())["run"])
AT = time_decode("2026-01-01T00:10:00.000Z")
CASE = "01890000-0000-4000-8000-000000000001"
KEY = "ab" * 32
HEAD = 'type = "urn:holdfast:queue-policy:v1"\nname = "treasury"\n[require]\n'
POLICY = parse_queue_policy(
    HEAD + 'bytes = {states = ["proven"], bases = ["signature"]}\n[early_release]\nroles = ["approver"]\nmax_s = 3600\n'
)
EARLY = parse_queue_policy(
    HEAD + 'enclave = {states = ["proven"], bases = ["hardware"]}\n'
    '[early_release]\nroles = ["approver"]\nmax_s = 3600\n'
)
STRICT = parse_queue_policy(HEAD + 'enclave = {states = ["proven"], bases = ["hardware"]}\n')
FILE = """
[agent]
name = "treasurer"
model = "m"
[[tools]]
name = "wire"
kind = "send"
effect = "send"
queue = "treasury"
allow = { to = ["0xabc"], amount = "any" }
"""


class Wire:
    """A tool as the executor has it; nothing of it is called here."""

    name, description, effect = "wire", "", "pay"
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {"to": {"type": "string"}, "amount": {"type": "number"}},
        "required": ["to", "amount"],
    }


def file_of(text: str = FILE) -> AgentFile:
    """The owner's file, whose tool pays as the vectors' does."""
    return parse_agent_file(
        text.replace('kind = "send"\neffect = "send"', 'kind = "mcp"\neffect = "pay"')
        .replace("allow =", 'settings = {server = "bank", tool = "wire", digest = "' + "0" * 64 + '"}\nallow =')
        .encode()
        + b'\n[[servers]]\nname = "bank"\nurl = "http://127.0.0.1:1"\n'
    )


class Attacker:
    """A panel and a gateway in one hand: shows whatever it likes."""

    def __init__(self, evidence: str = "proposed", *, policy: QueuePolicy = POLICY) -> None:
        self.evidence = evidence
        self.policy = policy
        self.state = "CLEAR"
        self.words: list[dict[str, Any]] = []
        self.until = AT + dt.timedelta(minutes=5)
        self.consumer = "first"
        self.say("opened", {"kind": "system", "id": "panel"}, queue="treasury", run=ACT, subject=None, requester=None)
        self.say_clear()
        self.hand_out()

    def say(self, kind: str, actor: dict[str, str], **body: Any) -> None:
        """One event, as a panel shows it."""
        at = AT - dt.timedelta(minutes=1) + dt.timedelta(seconds=len(self.words))
        told = {"seq": len(self.words) + 1, "digest": "00" * 32, "at": time_encode(at), "kind": kind, "actor": actor}
        self.words.append({**told, "cause": None, "lanes": None, "policy": self.policy.digest, "body": body})

    def say_gate(self, kind: str, **more: Any) -> None:
        body = {"reasons": [], "clear_until": None, "released_early": kind == "provisional", **more}
        self.say(kind, {"kind": "gate", "id": "gate"}, **body)

    def say_clear(self) -> None:
        self.say_gate("cleared")

    def hand_out(self) -> None:
        body = {"consumer": self.consumer, "key": KEY, "until": time_encode(self.until)}
        self.say("handed_out", {"kind": "key", "id": "k"}, **body)

    async def case(self, case: str) -> dict[str, Any]:
        return {"state": self.state, "events": self.words, "policy_document": canonical.decode(self.policy.document)}

    async def bundle(self, run: str, capability: str | None = None) -> bytes:
        name = "act" if run == ACT else "agent"
        folder = VECTORS / "acts" / (self.evidence if name == "act" else "declared")
        if capability is None:
            raise UnavailableError("http.unreachable", "the panel shows no evidence")
        if name == "agent" and not (VECTORS / "acts" / self.evidence / "agent.json").exists():
            return OPEN_AGENT
        folder = VECTORS / "acts" / self.evidence if name == "agent" else folder
        return (folder / f"{name}.json").read_bytes()

    async def cases(self, states: Sequence[str] = (), **query: str | int | None) -> dict[str, Any]:
        raise NotImplementedError

    async def next(self, queue: str, consumer: str, *, include_hold: bool, lease_s: int | None) -> dict[str, Any]:
        raise NotImplementedError

    async def end_lease(self, case: str, act: str, consumer: str, key: str) -> dict[str, Any]:
        raise NotImplementedError


class Amending(Attacker):
    """The same, who hands out an act that rita proposed in the place of the agent's. ``denied`` are the panel's cases
    of what it replaces, by run."""

    def __init__(self, evidence: str = "amended-whole", *, policy: QueuePolicy = POLICY, act: str = AMENDED) -> None:
        super().__init__(evidence, policy=policy)
        self.words[0]["body"] |= {"run": act, "requester": "rita"}
        self.asked: list[str] = []
        self.denied = {ACT: self.denial(ACT, act)}

    def denial(self, run: str, other: str, *, by: str = "rita", kind: str = "person") -> dict[str, Any]:
        """The case of an act that somebody denied to propose another in its place."""
        system, gate = {"kind": "system", "id": "panel"}, {"kind": "gate", "id": "gate"}
        opened = {"queue": "treasury", "run": run, "subject": None, "requester": None}
        led = {"act": {"tool": "wire", "effect": "pay"}, "under": [{"run": AGENT, "before": 1}], "children": "00" * 32}
        said = {"act": "reject", "role": "reviewer", "reason": "too much", "document": "{}"}
        gated = {"reasons": [], "clear_until": None, "released_early": False}
        told = [("opened", system, opened), ("led", system, led), ("decided", {"kind": "person", "id": by}, said)]
        told += [("rejected", gate, gated), ("amended", {"kind": kind, "id": by}, {"run": other})]
        more = {"digest": "00" * 32, "cause": None, "lanes": None, "policy": self.policy.digest}
        at = time_encode(AT - dt.timedelta(minutes=2))
        events = [
            {"seq": number, "at": at, "kind": name, "actor": actor, "body": body, **more}
            for number, (name, actor, body) in enumerate(told, 1)
        ]
        return {"id": CASE, "run": run, "state": "REJECTED", "events": events}

    async def cases(self, states: Sequence[str] = (), **query: str | int | None) -> dict[str, Any]:
        assert query["queue"] == "treasury"
        self.asked.append(str(query["run"]))
        found = self.denied.get(str(query["run"]))
        return {"cases": [] if found is None else [found]}

    async def bundle(self, run: str, capability: str | None = None) -> bytes:
        if capability is None:
            raise UnavailableError("http.unreachable", "the panel shows no evidence")
        shown = {AGENT: "agent", ACT: "first"}.get(run, "act")
        found = VECTORS / "acts" / self.evidence / f"{shown}.json"
        return found.read_bytes() if found.exists() else OPEN_AGENT


OPEN_AGENT = canonical.encode(
    {"type": "urn:holdfast:bundle:v1", "run": AGENT, "exported_at": "2026-01-01T00:01:00.000Z", "journal": []}
)
"""An agent run that is open: nothing is signed of it yet."""
RECORD = Recorded(
    {AGENT: OpenedAgent(AGENT, "c", "http://gateway", {})},
    {ACT: ProposedAct(ACT, "c", AGENT, str(EXPECTED["digest"]))},
    frozenset(),
)


def checks(
    attacker: Attacker,
    record: Recorded = RECORD,
    *,
    file: AgentFile | None = None,
    policies: Mapping[str, str] | None = None,
    consumer: str = "first",
    amended: bool = True,
) -> ActChecks:
    clock = ManualClock(AT.timestamp())
    tools: Any = {"wire": Wire()}
    return ActChecks(
        attacker,
        attacker,
        lambda: record,
        file or file_of(),
        tools,
        TRUST,
        clock,
        consumer=consumer,
        policies=policies,
        amended=amended,
    )


HANDED = HandedAct(CASE, ACT, "treasury", KEY, AT)
HANDED_AMENDED = HandedAct(CASE, AMENDED, "treasury", KEY, AT, "cd" * 32)


def refused(checking: ActChecks, handed: HandedAct = HANDED, *, again: bool = False) -> str:
    """The code with which a hand-out is not carried out."""
    with pytest.raises(HoldfastError) as caught:
        asyncio.run(checking.held(handed) if again else checking.check(handed))
    return caught.value.code


def replaced_in(evidence: str) -> str:
    """The run that the amended act of a vector replaces."""
    bundle = canonical.decode_object((VECTORS / "acts" / evidence / "act.json").read_bytes())
    [text] = [item["text"] for item in bundle["journal"] if item.get("document") == "request"]
    return str(canonical.decode_object(text.encode())["replaces"])
