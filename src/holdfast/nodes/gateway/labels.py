"""What a label meant around a run, from the hub that this gateway knows (``spec/artifacts.md`` §5(3)).

Rules: nothing goes into a bundle that is no acceptable change of that label, opened by its document; where one is not,
the whole history is left out. Which place a change has is asked of this gateway's own log. A hub that does not answer
in time costs a run its history and nothing else.

Not covered: what follows for the lane (``verifier.labels``), and proofs (``evidence.py``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.client.hub_changes import ToldChange, open_change
from holdfast.core.artifact_changes import is_label, verify_history
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.verifier.labels import LATEST

_LOG = logging.getLogger("holdfast.gateway.labels")
HUB_S = 3.0
"""How long a bundle waits for the hub, and for the log's places."""
MOST = 16
"""Changes of one label in a bundle: the one before the run, the one in force, and those that follow."""


class Histories(Protocol):
    """The changes of a label (``client.hub.HubClient``)."""

    async def history(self, label: str) -> dict[str, Any]:
        """The changes of a label by its whole name, in order, with what opens them."""
        ...


class Places(Protocol):
    """Where a log has what (``client.log.LogReader``)."""

    async def index_of(self, digest: str) -> int | None:
        """Where the log put a statement; None where it does not know it."""
        ...


@dataclass(frozen=True, slots=True)
class PlacedChange:
    """A change of a label, and where the log has it; None where it does not."""

    told: ToldChange
    index: int | None


class Labels:
    """Histories of labels, from one hub."""

    def __init__(self, hub: Histories, log: Places, trust: Callable[[], Trust]) -> None:
        self._hub = hub
        self._log = log
        self._trust = trust

    async def around(self, model: str, at: dt.datetime) -> list[PlacedChange]:
        """The changes of the label that ``model`` names around a time, in order; none where the hub has no such label.
        Raises ``hub.silent`` where the hub does not answer, or not with a history."""
        label = model if ":" in model else model + LATEST
        if not is_label(label):
            return []
        try:
            async with asyncio.timeout(HUB_S):
                told = (await self._hub.history(label)).get("changes")
                return await self._placed(_around(self._read(label, told), at))
        except UsageError as error:
            if error.code == "hub.unknown":
                return []
            raise UnavailableError("hub.silent", f"the hub tells no history: {error.message}") from error
        except (HoldfastError, TimeoutError) as error:
            _LOG.warning("the history of a label is left out of a bundle: %s", error)
            raise UnavailableError("hub.silent", f"the hub tells no history that counts: {error}") from error

    def _read(self, label: str, told: object) -> list[ToldChange]:
        if not isinstance(told, list):
            raise MalformedError("hub.answer", "a hub answers with a list of changes")
        trust = self._trust()
        found = [open_change(item, trust) for item in told]
        verify_history([(item.statement, item.change) for item in found])
        if any(item.change.label is None or item.change.label.name != label for item in found):
            raise RefusedError("hub.answer", "the hub tells of another label than was asked for")
        return found

    async def _placed(self, changes: Sequence[ToldChange]) -> list[PlacedChange]:
        places = await asyncio.gather(*(self._log.index_of(item.statement.digest) for item in changes))
        return [PlacedChange(item, place) for item, place in zip(changes, places, strict=True)]


def _around(changes: list[ToldChange], at: dt.datetime) -> list[ToldChange]:
    """From the change before the one in force at a time on, as many as there is room for."""
    in_force = sum(item.change.at <= at for item in changes) - 1
    begin = max(in_force - 1, 0)
    return changes[begin : begin + MOST]
