"""Carries out acts that the gate let through: each at most once, over crashes at any point (``spec/acts.md``).

An :class:`Executor` takes acts from the queues of one agent's tools. What it is about to do is in its journal before it
does it, so that whatever ends it, the next one knows what may have happened. Rules:

* An act goes from word to word of ``act_journal``; nothing is sent before *begun* is durable, and *begun* is written
  only right after the gate was asked, here and at the panel.
* What was begun is never begun again. After a crash or an error the tool is asked what became of it; only where sending
  the same bytes again does no more than sending them once are they sent again.
* An act's outcome is told once; the hand-out is acknowledged after it.

Not covered: what a hand-out is held against (``act_checks``), and what a tool does.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast.agents.act_checks import HandedAct, KnownAct, Panel, parse_hand_out
from holdfast.agents.act_journal import ActJournal, ActState
from holdfast.agents.runs import AgentRun, AgentRuns
from holdfast.agents.tool import Act, ActTool, Fate, Happened, ToolError, hide_secrets, parse_result
from holdfast.core import canonical
from holdfast.core.agents import MAX_ERROR
from holdfast.core.encoding import b64_encode, time_decode
from holdfast.errors import HoldfastError, RefusedError, UnavailableError
from holdfast.ports.clock import Clock
from holdfast.ports.settings import Secret
from holdfast.verifier.acts import VerifiedAct

LEASE_S = 600
"""How long a hand-out is asked for."""
AT_ONCE = 4
"""Acts under way at one time, unless the owner says otherwise."""
MOST_LEFT_BEHIND = 50
"""Hand-outs that a round may leave to wait before it leaves a queue."""
AGAIN_S, MOST_AGAIN_S = 5.0, 3_600.0
"""How long an act that was not carried out is left alone: the first time, and at most."""
PATIENCE = dt.timedelta(hours=1)
"""How long what was begun waits for its case to be let through again, to be sent once more."""
NOT_KNOWN = "not known whether it happened"
CONFLICT = 409
BROKEN = "act.broken"
"""The code of a tool that failed without saying why."""


class Checks(Protocol):
    """What a hand-out is held against (``act_checks.ActChecks``)."""

    async def known(self, handed: HandedAct) -> KnownAct: ...

    def agent_capability(self, agent: str) -> str | None: ...

    async def check(self, handed: HandedAct) -> VerifiedAct: ...

    async def held(self, handed: HandedAct, *, begun: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Told:
    """Something that was done with an act, for whoever watches."""

    act: str
    word: str
    says: str


@dataclass(frozen=True, slots=True)
class Tooling:
    """A tool with what its owner gives it."""

    tool: ActTool
    queue: str
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)

    @property
    def spends(self) -> str:
        """What its acts spend from; acts that share it are carried out one after another."""
        return getattr(self.tool, "spends", None) or f"tool {self.tool.name}"


class Executor:
    """See the module. ``runs`` speaks to the gateway that keeps the acts."""

    def __init__(
        self,
        panel: Panel,
        runs: AgentRuns,
        checks: Checks,
        journal: ActJournal,
        tools: Mapping[str, Tooling],
        clock: Clock,
        *,
        consumer: str,
        lease_s: int = LEASE_S,
        at_once: int = AT_ONCE,
        tell: Callable[[Told], None] = lambda _: None,
    ) -> None:
        self._panel = panel
        self._runs = runs
        self._checks = checks
        self._journal = journal
        self._tools = tools
        self._clock = clock
        self._consumer = consumer
        self._lease_s = lease_s
        self._room = asyncio.Semaphore(at_once)
        self._spending: dict[str, asyncio.Lock] = {}
        self._left: dict[str, tuple[float, float]] = {}
        """Acts that were not carried out: until when they are left alone, and for how long."""
        self._under_way: set[str] = set()
        self._tell = tell

    # Rounds

    async def round(self) -> int:
        """Go on with what stands in the journal, then take from each queue until it has nothing; how many acts ended.
        A node that is silent is asked again in the next round. Raises ``acts.stopped`` where the journal cannot be
        written: what is begun has to be known."""
        self._journal.require_whole()
        before = self._ended()
        async with self._leaving_behind() as behind:
            async with _ending([asyncio.ensure_future(self._go_on(state)) for state in self._journal.open_acts()]):
                pass
            for queue in sorted({tooling.queue for tooling in self._tools.values()}):
                await self._empty(queue, behind)
        self._journal.require_whole()
        return self._ended() - before

    def _ended(self) -> int:
        return sum(state.word == "over" for state in self._journal.acts())

    async def _empty(self, queue: str, behind: list[HandedAct]) -> None:
        """Take what a queue has."""
        tasks: list[asyncio.Task[None]] = []
        async with _ending(tasks):
            while len(behind) < MOST_LEFT_BEHIND:
                await self._room.acquire()
                try:
                    handed = await self._take(queue)
                except HoldfastError as error:
                    self._say("", "waiting", f"queue {queue}: {error.message}")
                    handed = None
                if handed is None:
                    self._room.release()
                    return
                tasks.append(asyncio.ensure_future(self._handed(handed, behind)))

    async def _take(self, queue: str) -> HandedAct | None:
        told = await self._panel.next(queue, self._consumer, include_hold=False, lease_s=self._lease_s)
        return parse_hand_out(told, queue)

    @contextlib.asynccontextmanager
    async def _leaving_behind(self) -> AsyncIterator[list[HandedAct]]:
        """Hand-outs that are not carried out now are kept until the round ends, so that it comes to the others, and
        then given back."""
        behind: list[HandedAct] = []
        try:
            yield behind
        finally:
            for handed in behind:
                await self._give_back(handed)

    async def _give_back(self, handed: HandedAct) -> None:
        with contextlib.suppress(HoldfastError):  # its lease ends by itself
            await self._panel.end_lease(handed.case, "give-back", self._consumer, handed.key)

    # One hand-out

    async def _handed(self, handed: HandedAct, behind: list[HandedAct]) -> None:
        try:
            if handed.run in self._under_way or self._is_left(handed.run):
                behind.append(handed)
                return
            async with self._following(handed.run):
                state = self._journal.state(handed.run)
                if state.begun or state.word in ("ended", "told", "over"):
                    await self._again(state, handed)
                elif not await self._begin(handed):
                    behind.append(handed)
        finally:
            self._room.release()

    @contextlib.asynccontextmanager
    async def _following(self, act: str) -> AsyncIterator[None]:
        """An act is under way once at a time, however often it is handed out."""
        self._under_way.add(act)
        try:
            yield
        finally:
            self._under_way.discard(act)

    def _is_left(self, act: str) -> bool:
        return self._clock.monotonic() < self._left.get(act, (0.0, 0.0))[0]

    def _leave(self, act: str) -> None:
        """Leave an act alone for a while, and twice as long the next time."""
        span = min(2 * self._left[act][1], MOST_AGAIN_S) if act in self._left else AGAIN_S
        self._left[act] = (self._clock.monotonic() + span, span)

    async def _again(self, state: ActState, handed: HandedAct) -> None:
        """A hand-out of what was begun here before: it is gone on with where it was left, never begun again."""
        if state.word == "over":
            self._say(state.act, "over", "handed out again: it is acknowledged again and not carried out")
            with contextlib.suppress(HoldfastError):
                await self._panel.end_lease(handed.case, "done", self._consumer, handed.key)
            return
        await self._settled(state)

    async def _settled(self, state: ActState) -> None:
        """Go on with what was begun, as far as it goes now."""
        try:
            await self._settle(state)
        except HoldfastError as error:
            self._say(state.act, "waiting", error.message)

    async def _begin(self, handed: HandedAct) -> bool:
        """From hand-out to outcome; False where it is left to wait."""
        try:
            known = await self._checks.known(handed)
        except HoldfastError as error:
            self._say(handed.run, "passed-over", error.message)
            self._leave(handed.run)
            return False
        said = {"case": handed.case, "queue": handed.queue, "key": handed.key, "capability": known.capability}
        said |= {"agent": known.proposed.agent} | ({"amends": known.proposed.run} if known.amended else {})
        state = self._write(handed.run, "taken", said)
        try:
            verified = await self._checks.check(handed)
            tooling = self._tools[verified.tool.name]
            async with self._alone(tooling.spends):
                self._require_free(tooling.spends)
                return await self._carry(state, handed, verified, tooling)
        except Exception as error:  # noqa: BLE001 - a tool that breaks holds up no other act
            return self._drop(handed.run, error)

    @contextlib.asynccontextmanager
    async def _alone(self, spends: str) -> AsyncIterator[None]:
        async with self._spending.setdefault(spends, asyncio.Lock()):
            yield

    def _require_free(self, spends: str) -> None:
        """Raises ``act.waits`` while an act that spends from the same is begun and not known to have ended (§5(5))."""
        for state in self._journal.acts():
            if state.word == "begun" and self._spends(state) == spends:
                raise UnavailableError("act.waits", f"act {state.act} spends from the same, and is not over")

    def _require_only(self, state: ActState) -> None:
        """Raises ``act.replaced`` where an act was begun in whose place this one stands, or that stands in this one's
        (§4(5)): a gateway lets no such two be reserved, and this one does not take its word."""
        for other in self._journal.acts():
            if other.begun and other.act != state.act and other.proposed == state.proposed:
                raise RefusedError("act.replaced", f"act {other.act} was begun already, and only one of them may be")

    def _spends(self, state: ActState) -> str:
        tooling = self._tools.get(state.tool)
        return tooling.spends if tooling is not None else f"tool {state.tool}"

    async def _carry(self, state: ActState, handed: HandedAct, verified: VerifiedAct, tooling: Tooling) -> bool:
        """An act that was checked, alone with what it spends from."""
        kept = await self._reserve(state)
        act = Act(verified.agent, verified.run, verified.tool.name, verified.arguments, tooling.secrets)
        try:
            prepared = await tooling.tool.prepare(act)
        except ToolError as error:
            await self._finish(self._write(handed.run, "ended", {"error": _refusal(error, act)}))
            return True
        arguments = canonical.encode_exact(dict(verified.arguments)).decode()
        said = {"tool": verified.tool.name, "effect": verified.tool.effect, "digest": verified.digest}
        body = {**said, "reserved": kept, "arguments": arguments, "bytes": b64_encode(prepared)}
        self._write(handed.run, "prepared", body)
        await self._checks.held(handed)
        self._require_only(state)
        state = self._write(handed.run, "begun", {})
        await self._finish(await self._send(state, act, tooling, first=True))
        return True

    async def _reserve(self, state: ActState) -> str:
        """The run of the step that says that nobody else carries it out; raises ``agent.reserved`` where somebody
        does."""
        told = {"kind": "reserved", "of": state.act}
        key = self._journal.key("reserved", state.act)
        return (await self._runs.step(_itself(state), told, idempotency_key=key)).run

    def _drop(self, act: str, error: Exception) -> bool:
        """Not carried out: it waits as any other, and this executor leaves it alone for a while. Of what was begun, or
        is over, nothing is dropped: the journal says what was done."""
        code, says = (error.code, error.message) if isinstance(error, HoldfastError) else (BROKEN, repr(error))
        if self._journal.state(act).word not in ("taken", "prepared"):
            self._say(act, "waiting", says)
            return True
        self._write(act, "dropped", {"code": code, "says": _text(says)})
        self._leave(act)
        return False

    # What was begun

    async def _send(self, state: ActState, act: Act, tooling: Tooling, *, first: bool) -> ActState:
        """Carry out, or find out what became of it. Only a refusal of the ``first`` sending says that nothing
        happened."""
        try:
            result = await tooling.tool.carry_out(act, state.prepared)
        except ToolError as error:
            if first:
                return self._write(state.act, "ended", {"error": _refusal(error, act)})
            why = f"sent again, it was refused: {hide_secrets(error.text, act.secrets)}"
            return self._write(state.act, "unknown", {"why": _text(why)})
        except Exception as error:  # noqa: BLE001 - whatever broke: it may have happened, and is looked for
            self._say(state.act, "looking", f"{type(error).__name__}: {error}")
            return await self._look(state, act, tooling, again=False)
        return self._write(state.act, "ended", {"result": _kept(result, act)})

    async def _look(self, state: ActState, act: Act, tooling: Tooling, *, again: bool) -> ActState:
        """What became of an act that was begun, as far as its tool can tell now; it stays begun where that is silent.
        With ``again`` the same bytes are sent once more, where the tool says that this does no more than sending them
        once and the gate still lets them (§5(4))."""
        try:
            fate = await tooling.tool.look(act, state.prepared)
        except Exception as error:  # noqa: BLE001 - asked again in the next round
            self._say(state.act, "looking", f"{type(error).__name__}: {error}")
            return state
        if isinstance(fate, Happened):
            return self._write(state.act, "ended", {"result": _kept(fate.result, act)})
        if fate is Fate.DID_NOT:
            return self._write(state.act, "ended", {"error": _json(f"it {Fate.DID_NOT.value}")})
        if fate is Fate.UNKNOWN:
            return self._write(state.act, "unknown", {"why": "it was begun, and nothing tells what became of it"})
        if not again:
            return state
        try:
            await self._checks.held(self._handed_as(state), begun=True)
        except RefusedError as error:
            waited = self._clock.now() - time_decode(state.at)
            if error.code != "act.recalled" and waited < PATIENCE:
                raise
            return self._write(state.act, "unknown", {"why": "its case is not let through any more since it was begun"})
        return await self._send(state, act, tooling, first=False)

    async def _go_on(self, state: ActState) -> None:
        """Take up what an earlier life or round left."""
        async with self._room, self._following(state.act):
            if state.word in ("taken", "prepared"):
                self._write(state.act, "dropped", {"code": "act.interrupted", "says": "the executor ended before it"})
                await self._give_back(self._handed_as(state))
                return
            await self._settled(state)

    def _handed_as(self, state: ActState) -> HandedAct:
        """A hand-out, as the journal has it."""
        return HandedAct(state.case, state.act, state.queue, state.key, self._clock.now(), state.capability)

    async def _settle(self, state: ActState) -> None:
        """Go on with what was begun."""
        if state.word != "begun":
            await self._finish(state)
            return
        tooling = self._tools.get(state.tool)
        if tooling is None:
            self._say(state.act, "waiting", f"this executor has no tool {state.tool} any more")
            return
        async with self._alone(tooling.spends):
            state = self._journal.state(state.act)
            if state.word != "begun":
                return
            arguments = canonical.decode_exact(state.arguments.encode())
            act = Act(state.agent, state.act, state.tool, arguments, tooling.secrets)
            state = await self._look(state, act, tooling, again=True)
        await self._finish(state)

    # Telling

    async def _finish(self, state: ActState) -> None:
        """Tell what came of it, and acknowledge the hand-out. What is not answered is done in the next round."""
        try:
            if state.word in ("ended", "unknown"):
                state = self._write(state.act, "told", {"run": await self._outcome(state)})
            if state.word == "told":
                state = self._write(state.act, "over", {"state": await self._acknowledge(state)})
        except HoldfastError as error:
            self._say(state.act, "waiting", error.message)
            return
        if state.to_take_back:
            self._say(state.act, "take-back", f"its case is {state.stands}: what was done has to be taken back")

    async def _outcome(self, state: ActState) -> str | None:
        """The run of the outcome; None where it was told before."""
        told: dict[str, Any] = {"kind": "outcome", "of": state.act}
        if state.why is not None:
            told["error"] = f"{NOT_KNOWN}: {state.why}"
        else:
            told |= {name: canonical.decode_exact(text.encode()) for name, text in state.came.items()}
        key, capability = self._journal.key("outcome", state.act), self._checks.agent_capability(state.agent)
        above = None if capability is None else AgentRun(state.agent, capability, "", "")
        for whom in (above, _itself(state)):
            if whom is None:
                continue
            try:
                return (await self._runs.step(whom, told, idempotency_key=key)).run
            except HoldfastError as error:
                if error.code == "agent.outcome" and error.status == CONFLICT:
                    return None  # told before
                if whom is not above or error.code not in ("agent.closed", "agent.steps"):
                    raise
        return None

    async def _acknowledge(self, state: ActState) -> str:
        """How the case stands now that the hand-out is over."""
        try:
            told = await self._panel.end_lease(state.case, "done", self._consumer, state.key)
        except HoldfastError as error:
            if error.code != "case.lease":
                raise
            told = await self._panel.case(state.case)  # taken back meanwhile: its state says why
        stands = told.get("state")
        if not isinstance(stands, str):
            raise UnavailableError("panel.answer", "the panel does not say where the case stands")
        return stands

    def _write(self, act: str, word: str, body: Mapping[str, Any]) -> ActState:
        state = self._journal.write(act, word, self._clock.now(), body)
        self._say(act, word, _says(state))
        return state

    def _say(self, act: str, word: str, says: str) -> None:
        self._tell(Told(act, word, says))


@contextlib.asynccontextmanager
async def _ending(tasks: list[asyncio.Task[None]]) -> AsyncIterator[None]:
    """Wait for tasks; where one fails, the others are cut off and its error is raised as it is."""
    try:
        yield
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _itself(state: ActState) -> AgentRun:
    """An act, as whom something of it is told to."""
    return AgentRun(state.act, state.capability, "", "")


def _json(value: Any) -> str:
    return canonical.encode_exact(value).decode()


def _refusal(error: ToolError, act: Act) -> str:
    """Why a tool did nothing, as it is told."""
    return _json(_text(hide_secrets(error.text, act.secrets)))


def _kept(result: Any, act: Act) -> str:
    """What came of an act, as it is kept and told. Of what no step can hold it is said that it came: the act happened,
    whatever a receiver answers."""
    try:
        return _json(parse_result(hide_secrets(result, act.secrets)))
    except ToolError as error:
        return _json({"not_kept": error.text})


def _text(text: str) -> str:
    """An error, no longer than an outcome may be."""
    return text[:MAX_ERROR] or "it failed and said nothing"


def _says(state: ActState) -> str:
    if state.word == "dropped":
        return f"not carried out: {state.dropped['says']}"
    if state.word == "ended":
        return "it failed" if "error" in state.came else "it is done"
    if state.word == "over":
        return f"acknowledged; its case stands {state.stands}"
    return {"taken": "taken from its queue", "prepared": "prepared", "begun": "begun"}.get(state.word, state.why or "")
