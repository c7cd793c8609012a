"""What starts executions: times, blocks, deliveries, new admissions (``spec/workflows.md`` §6).

Each trigger is asked again and again what has come since; how far it was followed lies in the journal, and moves only
once what came before is there too. So nothing that was seen is lost in a crash, and nothing starts twice.

Not covered: listening for deliveries (``hooks``).
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from holdfast.agents.workflows.journal import Journal
from holdfast.client.chain import parse_quantity
from holdfast.core.encoding import time_decode, time_encode
from holdfast.core.workflows.definitions import Definition
from holdfast.core.workflows.moves import Cause
from holdfast.core.workflows.schedules import times
from holdfast.errors import MalformedError
from holdfast.ports.json_rpc import JSONRPC

CURSOR = "trigger"
MOST_MADE_UP = 10_000
"""Most missed times that are made up for at once."""
MOST_BLOCKS = 256
"""Most blocks that are looked at in one go: a workflow that was away for long catches up step by step."""
LOOK_S = 2.0
"""Between looks at a chain or a data node."""


class Trigger(Protocol):
    """Where causes come from."""

    async def look(self, now: dt.datetime) -> dt.datetime:
        """Start what came since the last look; when to look again."""
        ...


Start = Callable[[Cause], None]
"""Starts one execution, unless it was started before."""


class ScheduleTrigger:
    """Times. What was missed while nobody looked is made up for as far as the definition says."""

    def __init__(self, definition: Definition, journal: Journal, start: Start, say: Callable[[str], None]) -> None:
        self._definition = definition
        self._journal = journal
        self._start = start
        self._say = say
        self._looking = False

    async def look(self, now: dt.datetime) -> dt.datetime:
        schedule, trigger = self._definition.trigger.schedule, self._definition.trigger
        if schedule is None:
            raise MalformedError("workflow.trigger", "this workflow has no schedule")
        known = self._journal.cursor(self._definition.name, CURSOR)
        after = now if known is None else time_decode(known)
        if not self._looking:
            after = self._after_missed(after, now, trigger.backfill_s)
        for at in times(schedule, after, now):
            self._start(Cause("schedule", time_encode(at), at))
        self._journal.move_cursor(self._definition.name, CURSOR, time_encode(now))
        self._looking = True
        following = schedule.after(now)
        return now + dt.timedelta(days=1) if following is None else following

    def _after_missed(self, after: dt.datetime, now: dt.datetime, backfill_s: int) -> dt.datetime:
        """From when on times count after nobody looked; the others are said."""
        schedule = self._definition.trigger.schedule
        if schedule is None:
            return now
        missed = list(itertools.islice(times(schedule, after, now), MOST_MADE_UP + 1))
        since = max(after, now - dt.timedelta(seconds=backfill_s))
        lost = [at for at in missed if at <= since]
        if lost:
            first, last = time_encode(lost[0]), time_encode(lost[-1])
            self._say(f"{len(lost)} times from {first} to {last} were missed; --backfill {first} makes up for them")
        return since


def backfill(definition: Definition, start: Start, since: dt.datetime, now: dt.datetime) -> int:
    """Start every time since a moment, oldest first, unless it was started before; how many times there are. Raises
    ``workflow.backfill``."""
    schedule = definition.trigger.schedule
    if schedule is None:
        raise MalformedError("workflow.backfill", "only a workflow with a schedule has times that can be made up for")
    found = list(itertools.islice(times(schedule, since - dt.timedelta(milliseconds=1), now), MOST_MADE_UP + 1))
    if len(found) > MOST_MADE_UP:
        raise MalformedError("workflow.backfill", f"that is more than {MOST_MADE_UP} times")
    for at in found:
        start(Cause("schedule", time_encode(at), at))
    return len(found)


class BlockTrigger:
    """Blocks of a chain, once enough others are above them. A number starts one execution, whatever block it was."""

    def __init__(self, definition: Definition, journal: Journal, start: Start, chain: JSONRPC) -> None:
        self._definition = definition
        self._journal = journal
        self._start = start
        self._chain = chain

    async def look(self, now: dt.datetime) -> dt.datetime:
        name, trigger = self._definition.name, self._definition.trigger
        chain_id = _number(await self._chain.request("eth_chainId"), "chain id")
        head = _number(await self._chain.request("eth_blockNumber"), "block number")
        top = head - trigger.behind
        known = self._journal.cursor(name, CURSOR)
        first = top + 1 if known is None else int(known) + 1
        last = min(top, first + MOST_BLOCKS - 1)
        for number in range(first, last + 1):
            if number % trigger.every == 0:
                self._start(await self._cause(chain_id, number))
        if last >= first or known is None:
            self._journal.move_cursor(name, CURSOR, str(max(last, top if known is None else last)))
        return now + dt.timedelta(seconds=0 if last < top else LOOK_S)

    async def _cause(self, chain_id: int, number: int) -> Cause:
        block = await self._chain.request("eth_getBlockByNumber", hex(number), False)
        if not isinstance(block, dict) or not isinstance(block.get("hash"), str):
            raise MalformedError("workflow.block", f"the chain shows no block {number}")
        try:
            at = dt.datetime.fromtimestamp(_number(block.get("timestamp"), "block time"), dt.UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise MalformedError("workflow.block", f"the time of block {number} is none") from error
        data = {"chain_id": chain_id, "number": number, "hash": block["hash"]}
        return Cause("block", f"{chain_id}/{number}", at, data)


class AdmissionTrigger:
    """New admissions of one source at one data node, as the node lists its newest ones."""

    def __init__(
        self, definition: Definition, journal: Journal, start: Start, listed: Callable[[str], Awaitable[Any]]
    ) -> None:
        """``listed`` asks the node for a source (``client.data.DataClient.source``)."""
        self._definition = definition
        self._journal = journal
        self._start = start
        self._listed = listed

    async def look(self, now: dt.datetime) -> dt.datetime:
        name, source = self._definition.name, self._definition.trigger.source or ""
        told = await self._listed(source)
        items = told.get("admissions") if isinstance(told, dict) else None
        if not isinstance(items, list):
            raise MalformedError("workflow.admission", "the data node lists no admissions of the source")
        glances = sorted((_glance(item) for item in reversed(items)), key=lambda item: item[0])  # newest come first
        known = self._journal.cursor(name, CURSOR)
        since = time_encode(now) if known is None else known
        for at, digest, outcome in glances:
            if outcome == "admitted" and at >= since:
                cause = Cause("admission", digest, time_decode(at), {"digest": digest, "source": source})
                self._start(cause)
        newest = max([since, *(at for at, _, _ in glances)])
        if newest != known:
            self._journal.move_cursor(name, CURSOR, newest)
        return now + dt.timedelta(seconds=LOOK_S)


def _glance(item: Any) -> tuple[str, str, str]:
    found = tuple(item.get(name) if isinstance(item, dict) else None for name in ("at", "digest", "outcome"))
    if not all(isinstance(value, str) for value in found):
        raise MalformedError("workflow.admission", "an admission is listed with at, digest and outcome")
    at, digest, outcome = (str(value) for value in found)
    time_decode(at)
    return at, digest, outcome


def _number(value: object, what: str) -> int:
    found = parse_quantity(value, what)
    if found >= 2**63:
        raise MalformedError("workflow.block", f"the chain's {what} is larger than any is")
    return found
