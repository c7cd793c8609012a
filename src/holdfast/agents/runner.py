"""Leading one agent: its model asks, tools that read answer, acts are proposed (``spec/agent-files.md`` §4, §5).

:meth:`Runner.run` opens an agent run, asks the model under it turn by turn, and closes it over its children, whatever
happens in between: an answer without calls, a limit, an error, or whoever led it going away.

Rules:

1. What a model may call is what the file names. A call is held against the owner's rules and the tool's schema before
   anything is called; an effect, a queue or a parent that stands in any text is text.
2. A tool that acts is never called here. Its act is proposed, and no answer waits for what comes of it.
3. Calls of one turn are made side by side and recorded in the order in which the model wrote them.
4. What is said to the gateway and gets no answer is said again under the same idempotency key.

The transports, tools and the record are handed in. Not covered: whether a proposed act is carried out (``acting``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from holdfast.agents.record import Record
from holdfast.agents.runs import AgentRun, AgentRuns, RecordedRun
from holdfast.agents.tool import ActTool, ReadTool, Scope, ToolError, hide_secrets, parse_result
from holdfast.core import canonical
from holdfast.core.agent_files import AgentFile, ToolFile
from holdfast.core.agent_turns import (
    PROPOSED,
    Call,
    describe_tool,
    error_message,
    opening_messages,
    parse_said,
    result_message,
)
from holdfast.core.agents import MAX_ERROR, act_digest
from holdfast.core.encoding import sha256_hex
from holdfast.core.tool_rules import Schema, parse_call, parse_schema, refuse_call
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.settings import Secret

REFUSED = "call.refused"
"""Name of the hint that keeps a call which cannot be a step of its tool (``agent-files.md`` §4(4))."""
_AGAIN_S = (0.2, 0.5, 1.0, 2.0)
"""Pauses before what got no answer is said again."""
_CLOSE_WAITS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Pauses while a turn that was left still ends at the gateway."""
Answer = TypeVar("Answer")


class Model(Protocol):
    """Whoever answers."""

    async def ask(self, request: Mapping[str, Any], parent: str) -> tuple[str, Mapping[str, Any]]:
        """One chat under an agent run: its run, and its response document with numbers as they were written."""
        ...


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that a watcher is told as it happens."""

    what: str
    """``opened``, ``turn``, ``result``, ``refused``, ``proposed``, ``closed``."""
    run: str
    """The run that it is."""
    name: str = ""
    """The tool, or who answers."""
    text: str = ""
    """What was said, given or refused; from outside, and no more than that."""
    arguments: str = ""
    """As the model wrote them."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an agent run ended."""

    run: AgentRun
    result: str | None
    """What the model said last; None where it did not come to that."""
    error: str | None
    acts: tuple[str, ...]
    """Runs of the acts that wait."""
    closed: RecordedRun | None
    """None where the gateway did not close it."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool as its owner declared it, with what it is made of."""

    file: ToolFile
    tool: ReadTool | ActTool
    schema: Schema
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)

    @property
    def acts(self) -> bool:
        """By the file, and by nothing else."""
        return self.file.effect != "read"

    def described(self) -> dict[str, Any]:
        """As a model is offered it."""
        said = self.file.description if self.file.description is not None else self.tool.description
        return describe_tool(self.file.name, said, self.schema.narrowed(self.file.allow))


def make_offer(file: ToolFile, tool: ReadTool | ActTool, secrets: Mapping[str, Secret]) -> Offer:
    """Raises ``agent.schema`` for a tool whose schema cannot be held, ``agent.allow`` for rules of arguments that the
    tool does not have, ``agent.effect`` for a tool of the other shape than its effect asks for."""
    if not isinstance(tool, ReadTool if file.effect == "read" else ActTool):
        raise UsageError("agent.effect", f"the tool {file.name} cannot have the effect {file.effect}", param="effect")
    schema = parse_schema(tool.parameters)
    unknown = file.allow.keys() - schema.document.get("properties", {}).keys()
    if unknown:
        raise UsageError("agent.allow", f"the tool {file.name} has no argument {min(unknown)}", param="allow")
    return Offer(file, tool, schema, secrets)


class Runner:
    """Leads the agent of one file."""

    def __init__(
        self,
        file: AgentFile,
        offers: Mapping[str, Offer],
        runs: AgentRuns,
        model: Model,
        clock: Clock,
        *,
        record: Record | None = None,
        gateway: str = "",
        watch: Callable[[Happening], None] = lambda _: None,
    ) -> None:
        self._file = file
        self._offers = offers
        self._runs = runs
        self._model = model
        self._clock = clock
        self._record = record
        self._gateway = gateway
        self._watch = watch

    async def run(self, goal: str | None = None, *, parent: str | None = None, nonce: str = "") -> Ended:
        """Lead it to its end. ``nonce`` tells one attempt from another where the gateway has to be asked twice.

        Raises ``agent.goal`` where nobody says what is wanted, and what the gateway answers to the opening. Cancelled,
        it closes the agent run with an error first.
        """
        wanted = goal if goal is not None else self._file.goal
        if wanted is None:
            raise UsageError("agent.goal", "nobody says what is wanted", hint="--goal TEXT, or goal in the agent file")
        plan = self._file.plan(wanted)
        opening = sha256_hex(f"open/{nonce}".encode()) if nonce else None
        agent = await self._said_again(
            lambda: self._runs.open(plan, parent=parent, idempotency_key=opening), repeatable=bool(nonce)
        )
        if self._record is not None:
            self._record.opened(agent.run, agent.capability, self._gateway, plan)
        self._watch(Happening("opened", agent.run, self._file.name, wanted))
        led, deadline = _Led(agent), asyncio.timeout(self._file.seconds)
        try:
            async with deadline:
                result = await self._turns(led, wanted)
        except asyncio.CancelledError:
            await asyncio.shield(self._end(led, None, "interrupted: whoever led it went away"))
            raise
        except TimeoutError:
            if not deadline.expired():
                raise
            return await self._end(led, None, f"limit: {self._file.seconds} seconds are over")
        except HoldfastError as error:
            return await self._end(led, None, f"{error.code}: {error.message}")
        except Exception:
            await self._end(led, None, "the runner broke off")
            raise
        if result is None:
            return await self._end(led, None, f"limit: {self._file.turns} turns, and it still calls tools")
        return await self._end(led, result, None)

    async def _turns(self, led: _Led, goal: str) -> str | None:
        """What the model says last; None where its turns are used up."""
        messages = opening_messages(self._file.instructions, goal)
        tools = [offer.described() for offer in self._offers.values()]
        for _ in range(self._file.turns):
            request = {"model": self._file.model, "messages": messages} | ({"tools": tools} if tools else {})
            run, response = await self._model.ask(request, led.agent.run)
            said = parse_said(response)
            self._watch(Happening("turn", run, self._file.model, said.text))
            if not said.calls:
                return said.text
            messages.append(said.echoed())
            messages += await self._answers(led, said.calls)
        return None

    # Calls

    async def _answers(self, led: _Led, calls: tuple[Call, ...]) -> list[dict[str, Any]]:
        """What each call comes to, in the order of the calls; tools are asked side by side."""
        begun = [asyncio.create_task(self._begin(led, call)) for call in calls]
        try:
            return [await self._finish(led, call, await task) for call, task in zip(calls, begun, strict=True)]
        finally:
            for task in begun:
                task.cancel()
            await asyncio.gather(*begun, return_exceptions=True)

    async def _begin(self, led: _Led, call: Call) -> _Came:
        """Hold a call against what is allowed; where it reads, make it."""
        offer = self._offers.get(call.claimed_name)
        if offer is None:
            known = ", ".join(self._offers) or "none"
            return _Came(None, None, error=f"agent.tool: there is no such tool; there are: {known}")
        arguments: dict[str, Any] | None = None
        try:
            arguments = parse_call(call.arguments)
            refuse_call(arguments, offer.file.allow, offer.schema)
        except HoldfastError as error:
            return _Came(offer, arguments, error=f"{error.code}: {error.message}")
        if offer.acts:
            return _Came(offer, arguments)
        try:
            result = await self._call(offer, arguments, led.agent.run)
        except ToolError as error:
            return _Came(offer, arguments, error=hide_secrets(error.text, offer.secrets))
        except HoldfastError as error:
            return _Came(offer, arguments, error=f"{error.code}: {hide_secrets(error.message, offer.secrets)}")
        return _Came(offer, arguments, result=result, made=True)

    @staticmethod
    async def _call(offer: Offer, arguments: Mapping[str, Any], agent: str) -> Any:
        tool = offer.tool
        if not isinstance(tool, ReadTool):
            raise RefusedError("agent.act", f"{offer.file.name} does something outside, and is not called")
        plain = canonical.decode(canonical.encode_exact(dict(arguments)))
        result = await tool.call(plain, Scope(agent, offer.secrets))
        return parse_result(hide_secrets(result, offer.secrets))

    async def _finish(self, led: _Led, call: Call, came: _Came) -> dict[str, Any]:
        """Record what a call came to; the message that tells the model."""
        offer = came.offer
        if offer is None or came.arguments is None or (offer.acts and came.error is not None):
            return await self._refuse(led, call, came.error or "")
        if offer.acts:
            return await self._propose(led, call, offer, came.arguments)
        key = led.next_key()
        step = await self._said_again(
            lambda: self._runs.call(
                led.agent,
                offer.file.name,
                came.arguments or {},
                result=came.result,
                error=None if came.made else _shortened(came.error or ""),
                idempotency_key=key,
            )
        )
        if not came.made:
            return self._told_error(call, step.run, came.error or "")
        message = result_message(call, step.run, came.result)
        text = came.result if isinstance(came.result, str) else canonical.encode_exact(came.result).decode()
        self._watch(Happening("result", step.run, call.name, text, call.arguments))
        return message

    async def _refuse(self, led: _Led, call: Call, error: str) -> dict[str, Any]:
        attributes = {
            "tool": call.claimed_name[:256],
            "arguments": call.arguments[:65_536],
            "error": _shortened(error),
        }
        body = {"kind": "hint", "name": REFUSED, "attributes": attributes}
        key = led.next_key()
        step = await self._said_again(lambda: self._runs.step(led.agent, body, idempotency_key=key))
        return self._told_error(call, step.run, error)

    def _told_error(self, call: Call, step: str, error: str) -> dict[str, Any]:
        self._watch(Happening("refused", step, call.name, error, call.arguments))
        return error_message(call, step, error)

    async def _propose(self, led: _Led, call: Call, offer: Offer, arguments: Mapping[str, Any]) -> dict[str, Any]:
        key = led.next_key()
        act = await self._said_again(
            lambda: self._runs.propose(led.agent, offer.file.name, arguments, idempotency_key=key)
        )
        led.acts.append(act.run)
        if self._record is not None:
            digest = act_digest({"kind": "tool", "tool": offer.file.name, "arguments": dict(arguments)})
            self._record.proposed(act.run, act.capability, led.agent.run, digest)
        self._watch(Happening("proposed", act.run, call.name, act.queue or "", call.arguments))
        return result_message(call, act.run, {"status": PROPOSED, "act": act.run})

    # The end

    async def _end(self, led: _Led, result: str | None, error: str | None) -> Ended:
        """Close it; a turn that was left may take a moment to end at the gateway."""
        closed = None
        said = None if error is None else _shortened(error)
        for pause in (*_CLOSE_WAITS_S, None):
            try:
                closed = await self._runs.close(led.agent, result=result, error=said)
                break
            except HoldfastError as problem:
                if pause is None or not (problem.code == "agent.open" or isinstance(problem, UnavailableError)):
                    error = f"{error or ''} (and it stays open: {problem.code}: {problem.message})".strip()
                    break
                await self._clock.sleep(pause)
        if closed is not None and self._record is not None:
            self._record.closed(led.agent.run)
        self._watch(Happening("closed", led.agent.run, self._file.name, error or result or ""))
        return Ended(led.agent, result, error, tuple(led.acts), closed)

    async def _said_again(self, say: Callable[[], Awaitable[Answer]], *, repeatable: bool = True) -> Answer:
        for pause in _AGAIN_S if repeatable else ():
            try:
                return await say()
            except UnavailableError as error:
                if error.code != "http.unreachable":
                    raise
                await self._clock.sleep(pause)
        return await say()


@dataclass(slots=True)
class _Led:
    """An agent run that is being led."""

    agent: AgentRun
    acts: list[str] = field(default_factory=list)
    said: int = 0

    def next_key(self) -> str:
        """The idempotency key of the next step: another one for each, the same when it is said again."""
        self.said += 1
        return sha256_hex(f"{self.agent.run}/{self.said}".encode())


@dataclass(frozen=True, slots=True)
class _Came:
    """What a call came to before it is recorded."""

    offer: Offer | None
    arguments: Mapping[str, Any] | None
    result: Any = None
    error: str | None = None
    made: bool = False
    """Whether the tool was called and gave something."""


def _shortened(error: str) -> str:
    return error[:MAX_ERROR] or "no reason was given"
