"""A user's rows in memory while somebody who may has them open, and changes to them.

Rules: what is in memory came out of the store with the user's data key and follows it: a change is made from a version,
written as a whole, and made again where another came first. A change is in memory only after the store has it. Rows are
let go of when nobody asked for a while.

Not covered: who may ask (``keyring.py``), and what a change means (``service.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from holdfast.core import canonical, memory
from holdfast.core import memory_sealing as sealing
from holdfast.core.memory import Event, Row, Source
from holdfast.core.memory_extraction import Candidate
from holdfast.core.retrieval.index import RowIndex
from holdfast.errors import ConflictError, UsageError
from holdfast.nodes.memory.keyring import Principal
from holdfast.ports.clock import Clock
from holdfast.ports.memory_store import Beside, MemoryStore, SealedEvent, SealedRow, Version
from holdfast.ports.metrics import Metrics

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
ATTEMPTS = 60
"""How often a change is made again because another came first: of three that write all the time, each third goes."""
PAUSE_S = 0.05
"""The longest pause before it is: a random part of it, so that writers do not meet again and again."""


@dataclass(slots=True)
class Vault:
    """One user's rows, open."""

    user: str
    version: Version = field(default_factory=Version)
    rows: dict[str, Row] = field(default_factory=dict)
    history: dict[str, list[bytes]] = field(default_factory=dict)
    """Each row's events, as they were written."""
    keys: dict[str, bytes] = field(default_factory=dict)
    until: dt.datetime | None = None
    """When it is let go of, unless somebody asks before."""
    index: RowIndex | None = None
    """What recalls search, once one was asked for; it goes with the vault."""

    def row(self, identifier: str) -> Row:
        """Raises ``memory.unknown`` (404)."""
        found = self.rows.get(identifier)
        if found is None:
            raise UsageError("memory.unknown", "there is no such row", status=404)
        return found

    def without(self, gone: set[str], version: Version) -> Vault:
        """The same without rows that were erased."""
        rows = {row: item for row, item in self.rows.items() if row not in gone}
        history = {row: events for row, events in self.history.items() if row not in gone}
        keys = {row: key for row, key in self.keys.items() if row not in gone}
        return Vault(self.user, version, rows, history, keys, self.until)

    def kin(self, row: Row) -> list[Row]:
        """The rows that it was derived from and those that were derived from it, however far."""
        above = self._closure(row, lambda item: [source.id for source in item.sources if source.kind == "row"])
        return [*above, *self.derived(row)]

    def derived(self, row: Row) -> list[Row]:
        """The rows that were derived from it, however far."""
        below: dict[str, list[str | None]] = {}
        for item in self.rows.values():
            for source in item.sources:
                if source.kind == "row" and source.id is not None:
                    below.setdefault(source.id, []).append(item.id)
        return self._closure(row, lambda item: below.get(item.id, []))

    def _closure(self, row: Row, following: Callable[[Row], Iterable[str | None]]) -> list[Row]:
        found: dict[str, Row] = {}
        waiting = [row]
        while waiting:
            for identifier in following(waiting.pop()):
                item = self.rows.get(identifier) if identifier is not None else None
                if item is not None and item.id not in found and item.id != row.id:
                    found[item.id] = item
                    waiting.append(item)
        return list(found.values())


class Draft:
    """A change to a user's rows that is being made: events in order, and the rows as they are after them."""

    def __init__(self, vault: Vault, now: dt.datetime, random_bytes: Callable[[int], bytes]) -> None:
        self.vault = vault
        self.now = now
        self.events: list[Event] = []
        self._random = random_bytes
        self._rows: dict[str, Row] = {}

    @property
    def rows(self) -> dict[str, Row]:
        """All rows, as this change leaves them."""
        return {**self.vault.rows, **self._rows}

    @property
    def changed(self) -> list[Row]:
        """The rows that this change adds to or makes."""
        return list(self._rows.values())

    def row(self, identifier: str) -> Row:
        """Raises ``memory.unknown`` (404)."""
        found = self._rows.get(identifier)
        return self.vault.row(identifier) if found is None else found

    def event(self, row: Row, kind: str, /, **members: canonical.JSON) -> Row:
        """Add an event to a row that is there. Raises what :func:`memory.extend` raises."""
        return self.take(memory.next_event(self.row(row.id), kind, self.now, **members))

    def take(self, event: Event) -> Row:
        """Add an event that is there already."""
        known = self._rows.get(event.row) or self.vault.rows.get(event.row)
        row = memory.begin(event) if known is None else memory.extend(known, event)
        self.events.append(event)
        self._rows[row.id] = row
        return row

    def add(
        self,
        claim: str,
        *,
        writer: str,
        sources: Sequence[Source],
        identifier: str | None = None,
        kind: str = "semantic",
        categories: Sequence[str] = (),
        slot: str | None = None,
        agent: str | None = None,
        thread: str | None = None,
        origin: str | None = None,
        expires: str | None = None,
        supersedes: str | None = None,
    ) -> Row:
        """Add a row; what contradicts it is told so, and so is it (``memory.md`` §7)."""
        event = memory.build_event(
            None,
            "added",
            identifier or memory.row_id(self._random(16)),
            self.now,
            claim=claim,
            kind=kind,
            categories=[*sorted(categories)],
            slot=slot,
            writer=writer,
            authority=memory.weakest(writer, sources),
            sources=[source.to_json() for source in sources],
            agent=agent,
            thread=thread,
            origin=origin,
            expires=expires,
            supersedes=supersedes,
        )
        row = self.take(event)
        if slot is not None:
            for other in [item for item in self.rows.values() if memory.contradicts(row, item)]:
                self.contradict(row, other)
        return self.row(row.id)

    def add_candidate(self, found: Candidate, source: Source, **labels: str | None) -> Row:
        """Add a row for a claim that was found in a conversation."""
        return self.add(
            found.claim,
            writer=found.writer,
            sources=[source],
            kind=found.kind,
            categories=found.categories,
            slot=found.slot,
            **labels,
        )

    def contradict(self, one: Row, other: Row) -> None:
        """Write down on both that they contradict each other, where it does not stand there."""
        for row, against in ((one, other), (other, one)):
            if against.id not in dict(self.row(row.id).contradicted_by):
                self.event(row, "contradicted", other=against.id, authority=against.authority)

    def reconcile(self, gone: str) -> None:
        """A row was withdrawn, corrected or erased: it contradicts nothing any more."""
        for row in list(self.rows.values()):
            if gone != row.id and gone in dict(row.contradicted_by):
                self.event(row, "reconciled", other=gone)


class Vaults:
    """The vaults that are open, and the store behind them. One worker thread asks the store."""

    def __init__(
        self,
        store: MemoryStore,
        clock: Clock,
        metrics: Metrics,
        random_bytes: Callable[[int], bytes],
        *,
        unlock_seconds: int,
        most: int,
        rows_per_user: int,
    ) -> None:
        self.store = store
        self._clock = clock
        self._metrics = metrics
        self._random = random_bytes
        self._idle = dt.timedelta(seconds=unlock_seconds)
        self._most = most
        self._rows_per_user = rows_per_user
        self._open: OrderedDict[str, Vault] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="memory-store")

    async def run(
        self, call: Callable[Arguments, Result], *arguments: Arguments.args, **more: Arguments.kwargs
    ) -> Result:
        """Call something that blocks, on the worker."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, lambda: call(*arguments, **more))

    def close(self) -> None:
        """Let go of every vault and end the worker."""
        self._open.clear()
        self._worker.shutdown()

    def lock(self, user: str) -> asyncio.Lock:
        """Held while a user's rows are read into memory or changed here."""
        return self._locks.setdefault(user, asyncio.Lock())

    def drop(self, user: str) -> None:
        """Let go of a user's rows."""
        self._open.pop(user, None)
        self._count()

    def forget(self) -> None:
        """Let go of what nobody asked for in a while."""
        now = self._clock.now()
        for user in [user for user, vault in self._open.items() if vault.until is None or vault.until <= now]:
            del self._open[user]
        for user in [user for user, lock in self._locks.items() if user not in self._open and not lock.locked()]:
            del self._locks[user]
        self._count()

    def _count(self) -> None:
        self._metrics.level("holdfast_memory_unlocked", len(self._open))

    async def read(self, principal: Principal) -> Vault:
        """A user's rows as the store has them now. Raises ``memory.sealed`` and ``memory_store.*``."""
        async with self.hold(principal) as vault:
            return vault

    @contextlib.asynccontextmanager
    async def hold(self, principal: Principal) -> AsyncIterator[Vault]:
        """A user's rows as the store has them now, and nobody here changes them meanwhile."""
        async with self.lock(principal.user):
            yield await self._fresh(principal)

    async def _fresh(self, principal: Principal) -> Vault:
        """With the lock held."""
        vault = self._open.pop(principal.user, None) or Vault(principal.user)
        vault = await self.run(self._follow, vault, principal.data_key)
        vault.until = self._clock.now() + self._idle
        self._open[principal.user] = vault
        while len(self._open) > self._most:
            self._open.popitem(last=False)
        self._count()
        return vault

    def _follow(self, vault: Vault, data_key: bytes) -> Vault:
        """The vault with what was written since; a new one where rows were erased or encrypted again."""
        loaded = self.store.load(vault.user, vault.version)
        if loaded.version.epoch != vault.version.epoch:
            vault = Vault(vault.user)
        for item in loaded.rows:
            vault.keys[item.row] = sealing.open_sealed(data_key, sealing.key_place(vault.user, item.row), item.sealed)
        for sealed in loaded.events:
            known = vault.rows.get(sealed.row)
            place = sealing.event_place(vault.user, sealed.row, None if known is None else known.head)
            event = memory.parse_event(sealing.open_sealed(vault.keys[sealed.row], place, sealed.sealed))
            _take(vault, event)
        vault.version = loaded.version
        return vault

    async def change(self, principal: Principal, work: Callable[[Draft], Result]) -> Result:
        """Make a change and write it as a whole; ``work`` is called again where another change came first.

        Raises what ``work`` raises, ``memory.full`` and ``memory.busy``.
        """
        async with self.lock(principal.user):
            for _ in range(ATTEMPTS):
                vault = await self._fresh(principal)
                draft = Draft(vault, self._clock.now(), self._random)
                result = work(draft)
                if await self._write(vault, draft, principal.data_key):
                    return result
                self._metrics.count("holdfast_memory_conflicts_total")
                await asyncio.sleep(PAUSE_S * self._random(1)[0] / 255)
        raise ConflictError("memory.busy", "others change these rows all the time", hint="try again")

    async def erase(self, principal: Principal, choose: Callable[[Vault], set[str]]) -> set[str]:
        """Remove rows; ``choose`` is asked again where another change came first. Raises what it raises."""
        for _ in range(ATTEMPTS):
            async with self.hold(principal) as vault:
                chosen = choose(vault)
                try:
                    version = await self.run(self.store.erase, principal.user, vault.version, chosen)
                except ConflictError:
                    continue
                self._open[principal.user] = vault.without(chosen, version)
                return chosen
        raise ConflictError("memory.busy", "others change these rows all the time", hint="try again")

    async def _write(self, vault: Vault, draft: Draft, data_key: bytes) -> bool:
        """Write what a draft holds and take it into memory; False where another change came first."""
        if not draft.events:
            return True
        if len(draft.rows) > self._rows_per_user:
            raise UsageError("memory.full", f"a user has at most {self._rows_per_user} rows", hint="erase some")
        rows, events, keys = self.seal(vault.user, data_key, draft.events, vault.keys)
        try:
            version = await self.run(self.store.append, vault.user, vault.version, rows, events)
        except ConflictError as error:
            if error.code != "memory_store.version":
                raise
            return False
        vault.keys |= keys
        for event in draft.events:
            _take(vault, event)
            self._metrics.count("holdfast_memory_events_total", event.type)
        vault.version = version
        return True

    def seal(
        self, user: str, data_key: bytes, events: Sequence[Event], known: dict[str, bytes]
    ) -> tuple[list[SealedRow], list[SealedEvent], dict[str, bytes]]:
        """Events for the store, with keys for the rows that have none yet; those keys."""
        rows: list[SealedRow] = []
        sealed: list[SealedEvent] = []
        keys: dict[str, bytes] = {}
        for event in events:
            key = known.get(event.row) or keys.get(event.row)
            if key is None:
                key = keys[event.row] = self._random(sealing.KEY_BYTES)
                rows.append(SealedRow(event.row, self._seal(data_key, sealing.key_place(user, event.row), key)))
            place = sealing.event_place(user, event.row, event.previous)
            sealed.append(SealedEvent(event.row, self._seal(key, place, event.raw)))
        return rows, sealed, keys

    def _seal(self, key: bytes, place: str, data: bytes) -> bytes:
        return sealing.seal(key, self._random(sealing.NONCE_BYTES), place, data)

    # Beside rows

    async def put_beside(self, vault: Vault, name: str, values: dict[str, bytes]) -> None:
        """Keep something beside rows (a vector), sealed with their keys."""
        items = [
            Beside(row, name, self._seal(vault.keys[row], sealing.beside_place(vault.user, row, name), value))
            for row, value in values.items()
            if row in vault.keys
        ]
        if items:
            await self.run(self.store.put_beside, vault.user, vault.version, items)

    async def beside(self, vault: Vault, name: str) -> dict[str, bytes]:
        """What is kept under a name, opened, by row."""
        found: dict[str, bytes] = await self.run(self.store.beside, vault.user, name)
        return {
            row: sealing.open_sealed(vault.keys[row], sealing.beside_place(vault.user, row, name), sealed)
            for row, sealed in found.items()
            if row in vault.keys
        }


def _take(vault: Vault, event: Event) -> None:
    known = vault.rows.get(event.row)
    vault.rows[event.row] = memory.begin(event) if known is None else memory.extend(known, event)
    vault.history.setdefault(event.row, []).append(event.raw)


def history_json(events: Iterable[bytes]) -> list[Any]:
    """A history as JSON: each event as it was written."""
    return [canonical.decode_signed(raw) for raw in events]
