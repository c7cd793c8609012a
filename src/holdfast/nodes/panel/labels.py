"""Following a hub: labels that move mark open cases, artifacts that are revoked recall (``spec/artifacts.md`` §5).

Rules:

* Nothing is taken from a hub that is not a statement of a node that trust admits as one, opened by its document, and
  following the change of that label that was seen last. What is not is logged, and following stops there until it is.
* The hub is asked and answers when there is something new, so a move arrives at once. What had happened before the
  panel began to follow is taken as it stands: the last meaning of each label, in one go.
* A revoked artifact is looked for again and again: whatever is let through on it later is recalled too.
* ``organisation/model:latest`` is asked for as ``organisation/model`` as well, and both mean the same.

Not covered: what is marked and recalled (``review.labels``, ``review.recall``).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast.client.hub_changes import open_change
from holdfast.core import canonical
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError
from holdfast.nodes.panel.review import Review
from holdfast.ports.clock import Clock
from holdfast.ports.storage import Storage
from holdfast.review.events import SYSTEM

_LOG = logging.getLogger("holdfast.panel.labels")
CURSOR_FILE = "hub.json"
"""How far the hub was read, and the last change of each label."""
WAIT_S = 1
"""How long the hub may wait with its answer. As often revoked artifacts are looked for."""
PAUSE_S = 1.0
"""Pause after an answer that did not come, or cannot be taken."""
PAGE = 200
"""Changes of one answer."""
LATEST = ":latest"


class Changes(Protocol):
    """A hub's changes (``client.hub.HubClient``)."""

    async def changes(self, after: int, *, wait_s: int = 0, limit: int = 200) -> dict[str, Any]:
        """Changes after a number, in order, with what opens them."""
        ...


@dataclass(slots=True)
class HubCursor:
    """What is remembered over restarts."""

    after: int = 0
    heads: dict[str, str] = field(default_factory=dict)
    """By hub and label's id: digest of the last change."""
    revoked: dict[str, str] = field(default_factory=dict)
    """By artifact (hex): why."""

    def to_bytes(self) -> bytes:
        return json.dumps({"after": self.after, "heads": self.heads, "revoked": self.revoked}).encode()


def parse_hub_cursor(raw: bytes | None) -> HubCursor:
    """The stored cursor; the beginning where there is none. Raises ``panel.cursor``."""
    if raw is None:
        return HubCursor()
    value = canonical.decode_object(raw)
    after, heads, revoked = value.get("after"), value.get("heads"), value.get("revoked")
    if type(after) is not int or not isinstance(heads, dict) or not isinstance(revoked, dict):
        raise MalformedError("panel.cursor", f"{CURSOR_FILE} is damaged: it says how far the hub was read")
    return HubCursor(after, heads, revoked)


class HubFollower:
    """Follows one hub; :meth:`work` runs for as long as the panel."""

    def __init__(
        self, review: Review, hub: Changes, trust: Callable[[], Trust], clock: Clock, storage: Storage
    ) -> None:
        self._review = review
        self._hub = hub
        self._trust = trust
        self._clock = clock
        self._storage = storage
        self._cursor = parse_hub_cursor(storage.load(CURSOR_FILE))
        self._meant: dict[str, str] = {}
        """What labels mean by now, as far as the desk was not told."""
        self.trouble = ""
        """Why the hub cannot be followed, or empty."""

    async def work(self) -> None:
        """Follow, for ever."""
        while True:
            try:
                await self.turn()
                self.trouble = ""
            except HoldfastError as error:
                if error.message != self.trouble:
                    level = logging.WARNING if isinstance(error, UnavailableError) else logging.ERROR
                    _LOG.log(level, "the hub is not followed: %s", error.message, extra={"code": error.code})
                self.trouble = error.message
                await self._clock.sleep(PAUSE_S)

    async def turn(self) -> None:
        """Take in what there is, or wait a little for it; what was taken in before something that cannot be is acted
        on all the same."""
        try:
            await self._read()
        finally:
            await self._act()

    async def _read(self) -> None:
        wait_s, more = WAIT_S, True
        while more:
            told = await self._hub.changes(self._cursor.after, wait_s=wait_s, limit=PAGE)
            items = told.get("changes")
            if not isinstance(items, list):
                raise MalformedError("hub.answer", "a hub answers with a list of changes")
            for item in items:
                self._take(item)
            wait_s, more = 0, len(items) >= PAGE

    async def _act(self) -> None:
        """Tell the desk, and only then remember how far the hub was read."""
        news = bool(self._meant)
        while self._meant:
            label, artifact = next(iter(self._meant.items()))
            moved = await self._review.call(self._review.desk.note_label, SYSTEM, label, artifact)
            if moved:
                _LOG.info("the label %s moved: %d cases are asked about again", label, len(moved))
            del self._meant[label]
        for artifact, why in self._cursor.revoked.items():
            cause = f"artifact {artifact[:12]}… was revoked by its hub: {why}"
            recalled = await self._review.call(self._review.desk.recall, SYSTEM, artifact, cause[:1000])
            if recalled.cases:
                _LOG.warning("%d cases are recalled: artifact %s was revoked", len(recalled.cases), artifact[:12])
        if news:
            self._review.notify()
        self._save()

    def _take(self, item: object) -> None:
        if not isinstance(item, dict) or item.get("number") != self._cursor.after + 1:
            raise MalformedError("hub.answer", "a hub tells its changes one after the other")
        told = open_change(item, self._trust())
        statement, change = told.statement, told.change
        if change.event == "labelled" and change.label is not None:
            name = f"{statement.attester} {change.label.id}"
            last = self._cursor.heads.get(name)
            if statement.parents != (() if last is None else (last,)):
                raise RefusedError("hub.fork", f"the hub tells another history of {change.label.name} than before")
            self._cursor.heads[name] = statement.digest
            self._meant[change.label.name] = change.artifact
            if change.label.name.endswith(LATEST):
                self._meant[change.label.name.removesuffix(LATEST)] = change.artifact
        elif change.event == "revoked":
            self._cursor.revoked[change.artifact] = change.reason
        self._cursor.after += 1

    def _save(self) -> None:
        raw = self._cursor.to_bytes()
        if raw != self._storage.load(CURSOR_FILE):
            self._storage.save(CURSOR_FILE, raw)
