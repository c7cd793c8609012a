"""Reading runs back: who may, what they get, and live updates.

A workspace key opens the runs of its workspace; a run's capability opens that run alone, and its stored parts too.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from holdfast.core.encoding import hex_decode
from holdfast.core.parts import pseudo_random_key
from holdfast.core.payments import explain
from holdfast.core.statements import is_run_id
from holdfast.errors import MalformedError, UsageError
from holdfast.nodes.gateway.agent_tree import AgentTrees
from holdfast.nodes.gateway.agents import AGENT, STEP
from holdfast.nodes.gateway.changes import Changes
from holdfast.nodes.gateway.disputes import Disputes
from holdfast.nodes.gateway.evidence import EvidenceDesk
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.led import Led
from holdfast.nodes.gateway.ledger import Ledger
from holdfast.nodes.gateway.turn import parse_opening, reader_of
from holdfast.ports.run_index import RunRow
from holdfast.verifier.appraisal import Appraisal
from holdfast.verifier.children import differing, side_by_side
from holdfast.verifier.policy import Requirement

_COALESCE_S = 0.1
"""Changes within this time become one update."""


class RunDesk:
    """Runs for readers."""

    def __init__(
        self,
        ledger: Ledger,
        indexer: Indexer,
        evidence: EvidenceDesk,
        changes: Changes,
        *,
        most_watchers: int,
        disputes: Disputes | None = None,
    ) -> None:
        """``disputes`` shows payments, where this gateway takes any."""
        self._led = Led(ledger, indexer, evidence)
        self._disputes = disputes
        self._ledger = ledger
        self._indexer = indexer
        self._evidence = evidence
        self._changes = changes
        self._most_watchers = most_watchers
        self.trees = AgentTrees(ledger, indexer, evidence, changes, most_watchers=most_watchers)
        """Agent runs with everything below them."""

    async def find(self, run: str, workspace: str | None, capability: str | None) -> tuple[RunRow, bytes | None]:
        """A run the reader may see, and its secret when a capability was shown.

        A run of somebody else looks like one that is not there, and so does any run to a wrong capability. Raises
        ``run.unknown``.
        """
        if not is_run_id(run):
            raise MalformedError("run.id", "a run id is a UUID of version 4 or 7")
        row = await self._indexer.run(run)
        secret = hex_decode(capability, 32) if capability is not None else None
        if row is None or not (row.workspace == workspace if secret is None else self._opens(row, secret)):
            raise UsageError("run.unknown", "there is no such run for this key or capability", status=404)
        return row, secret

    async def find_led(self, run: str, workspace: str | None, capability: str | None) -> tuple[RunRow, bytes | None]:
        """A run, and the secret that leads it: its own or, of a step, that of the agent run that it hangs below
        (``agents.md`` §4(5)). Raises ``run.unknown``."""
        try:
            return await self.find(run, workspace, capability)
        except UsageError:
            row = await self._indexer.run(run)
            if row is None or row.endpoint != STEP or row.parent_run is None:
                raise
        above, secret = await self.find(row.parent_run, workspace, capability)
        if above.endpoint != AGENT:
            raise UsageError("run.unknown", "there is no such run for this key or capability", status=404)
        return row, secret

    def _opens(self, row: RunRow, secret: bytes) -> bool:
        opening = parse_opening(self._ledger.read(row.open_place).record.header)
        return hmac.compare_digest(reader_of(pseudo_random_key(row.run, secret)), opening.reader)

    async def recent(self, workspace: str, limit: int) -> dict[str, Any]:
        """A workspace's newest runs with the state of each lane."""
        listed = []
        for row in await self._indexer.recent(workspace, limit):
            appraisal, _ = await self._evidence.view(row)
            listed.append(
                {
                    "run": row.run,
                    "created": row.opened_at,
                    "kind": row.endpoint,
                    "outcome": row.outcome,
                    "lanes": {name: lane.state for name, lane in appraisal.lanes.items()},
                }
            )
        return {"runs": listed}

    async def openings(self, workspace: str, after: int, limit: int) -> dict[str, Any]:
        """A workspace's runs that name a queue, in the order of the write-ahead log: complete, whoever asks when.

        ``position`` is where a run's opening lies; ``end`` goes into the next ``after``, and below it nothing more will
        appear. What stands beside an opening is as of now. ``round`` is the newest final round that was seen, and
        ``superseded`` grows with every verdict that was: when either does, evidence of earlier runs may have changed.
        """
        index = self._indexer.index
        final = await self._indexer.call(index.highest_final)
        superseded = await self._indexer.call(index.last_event, "superseded")
        rows, end = await self._indexer.openings(workspace, after, limit)
        listed = [
            {
                "position": row.open_place,
                "run": row.run,
                "kind": row.endpoint,
                "queue": row.queue,
                "requester": row.requester,
                "subject": row.subject,
                "opened_at": row.opened_at,
                "outcome": row.outcome,
                "closed_at": row.closed_at,
            }
            for row in rows
        ]
        position = superseded.position if superseded is not None else 0
        return {"openings": listed, "end": end, "round": final, "superseded": position}

    async def show(self, row: RunRow, secret: bytes | None = None) -> dict[str, Any]:
        """A run's lanes and chronology, as ``GET /v1/runs/{id}`` answers; with the secret, lanes of what it discloses
        too."""
        appraisal, story = await self._evidence.view(row)
        if secret is not None:
            appraisal = await self._evidence.appraised(row, secret)
        return _view(row, appraisal, story)

    async def children(self, row: RunRow) -> dict[str, Any]:
        """The runs that name this one as their parent, and their lanes side by side (``agents.md`` §6)."""
        listed, lanes = [], {}
        for child in await self._indexer.children(row.run):
            appraisal, _ = await self._evidence.view(child)
            lanes[child.run] = appraisal.lanes
            listed.append(
                {
                    "run": child.run,
                    "kind": child.endpoint,
                    "opened_at": child.opened_at,
                    "closed_at": child.closed_at,
                    "outcome": child.outcome,
                    "queue": child.queue,
                    "lanes": {
                        name: {"state": lane.state, "basis": lane.basis} for name, lane in appraisal.lanes.items()
                    },
                }
            )
        return {
            "run": row.run,
            "kind": row.endpoint,
            "outcome": row.outcome,
            "children": listed,
            "lanes": side_by_side(lanes),
            "differing": list(differing(list(lanes.values()))),
        }

    async def led(self, row: RunRow, after: int) -> dict[str, Any]:
        """What an act or an agent run came after (``agents.md`` §10)."""
        return await self._led.show(row, after)

    async def lacking(self, run: str, needs: Sequence[Requirement], within_s: float) -> list[str]:
        """Wait until a run's lanes meet every requirement: none is left then. What is left when the time is up."""
        left = [str(need) for need in needs]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while left:
                    waiter = self._changes.waiter()
                    row = await self._indexer.run(run)
                    if row is not None:
                        lanes = (await self._evidence.view(row))[0].lanes
                        left = [str(need) for need in needs if need.answer(lanes[need.lane]) != "yes"]
                    if left:
                        await waiter.wait()
        return left

    async def payment(self, row: RunRow, secret: bytes | None) -> dict[str, Any]:
        """Both sides of a run's payment (``spec/collection.md`` §6). Raises ``payment.off`` where none are taken."""
        if self._disputes is None:
            raise UsageError("payment.off", "nothing costs anything at this gateway", status=404)
        return await self._disputes.show(row, secret)

    async def bundle(self, row: RunRow, secret: bytes | None) -> bytes:
        """A run's bundle; with the secret its stored documents are disclosed in it."""
        return await self._evidence.bundle(row, secret)

    def wrap(self, row: RunRow) -> dict[str, Any]:
        """What lets the panel of the run's workspace read it (``sealed.md`` §2). Raises ``run.wrap``."""
        wrap = parse_opening(self._ledger.read(row.open_place).record.header).wrap
        if wrap is None:
            raise UsageError(
                "run.wrap",
                "no panel can read this run: it names no queue, is private, or had no panel with a key",
                status=404,
            )
        return {"run": row.run, **wrap.to_json()}

    async def events(self, run: str, secret: bytes | None = None) -> AsyncIterator[bytes]:
        """The view again whenever it changes, as JSON; a comment (empty bytes) every 15 s to keep the line alive."""
        last = b""
        with self._changes.watching(self._most_watchers):
            while True:
                waiter = self._changes.waiter()
                row = await self._indexer.run(run)
                if row is not None:
                    view = json.dumps(await self.show(row, secret), separators=(",", ":")).encode()
                    if view != last:
                        last = view
                        yield view
                try:
                    async with asyncio.timeout(15):
                        await waiter.wait()
                        await asyncio.sleep(_COALESCE_S)
                except TimeoutError:
                    yield b""


def _view(row: RunRow, appraisal: Appraisal, story: list[dict[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {"run": row.run, "created": row.opened_at, "kind": row.endpoint, "outcome": row.outcome}
    value.update(appraisal.to_json())
    value["chronology"] = story
    if appraisal.evidence.paid:
        paid = appraisal.evidence.paid.items()
        value["payments"] = [{"digest": digest, "lines": explain(document)} for digest, document in paid]
    return value
