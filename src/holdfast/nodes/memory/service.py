"""What can be done with rows (``spec/memory.md`` §6, §7 and §9), given a store, a clock and somebody's open key.

Rules: what a caller says is given the lane that its key allows: an application's conversation holds its user's words,
and only an owner's key confirms, corrects in its owner's words, withdraws, hands out or erases everything.

Not covered: HTTP (``app.py``), files (``transfer.py``), profiles (``profile.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import memory
from holdfast.core import memory_sealing as sealing
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.memory import Row, Source, standing_of
from holdfast.core.memory_extraction import Candidate, Message, categories_of
from holdfast.core.recalls import MILLION
from holdfast.errors import RefusedError
from holdfast.nodes.memory import profile
from holdfast.nodes.memory.extraction import Extraction
from holdfast.nodes.memory.keyring import Keyring, NewPassphrase, Principal
from holdfast.nodes.memory.search import Retrieval, memory_json, while_rows_stay
from holdfast.nodes.memory.unlocking import Unlocking
from holdfast.nodes.memory.vault import Draft, Vault, Vaults, history_json
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics

HOUSEKEEPING_S = 1.0
"""How often unlocked keys are looked at, and what could not be scrubbed is tried again."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages to be remembered, and what their client says about them."""

    messages: tuple[Message, ...]
    agent: str | None = None
    thread: str | None = None
    origin: str | None = None
    run: str | None = None
    """The run that they are of, where the client names it."""


@dataclass(frozen=True, slots=True)
class Query:
    """A search."""

    text: str
    limit: int = 10
    categories: tuple[str, ...] = ()
    standings: tuple[str, ...] = ("earned", "aging", "background", "contradicted")
    agent: str | None = None
    thread: str | None = None
    rerank: bool = False
    bio: bool = True
    run: str | None = None
    """The run into which what is found is recalled: it is written down on each row."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What became of a conversation."""

    created: tuple[Row, ...]
    renewed: tuple[Row, ...]
    known: tuple[Row, ...]
    """Rows that said the same already and were not renewed."""


class MemoryService:
    """See the module. ``random_bytes`` gives that many random bytes."""

    def __init__(
        self,
        vaults: Vaults,
        keyring: Keyring,
        unlocking: Unlocking,
        extraction: Extraction,
        retrieval: Retrieval,
        clock: Clock,
        metrics: Metrics,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.vaults = vaults
        self.keyring = keyring
        self.unlocking = unlocking
        self.clock = clock
        self._extraction = extraction
        self._retrieval = retrieval
        self._metrics = metrics
        self._random = random_bytes
        self._unscrubbed = False

    # Keys

    async def open(self, api_key: str | None, authorization: str | None) -> Principal:
        """Who asks."""
        return await self.vaults.run(self.keyring.open, api_key, authorization)

    async def work(self) -> None:
        """Let go of what was unlocked too long ago, and finish erasing; until it is cancelled."""
        while True:
            self.keyring.forget()
            self.vaults.forget()
            if self._unscrubbed:
                await self.scrub()
            await asyncio.sleep(HOUSEKEEPING_S)

    def waiting_for(self) -> Mapping[str, str]:
        """Nothing: the store is there, or the node would not have started."""
        return {}

    # Remembering

    async def remember(self, principal: Principal, said: Conversation) -> Remembered:
        """Find claims in a conversation and keep them. Raises ``memory.extraction``."""
        principal.require("memories:write")
        found = await self._extraction.claims(said.messages)

        def keep(draft: Draft) -> Remembered:
            created, renewed, known = [], [], []
            stands = _strongest(draft.rows.values())
            for candidate in found:
                kind = "messages" if said.run is None else "run"
                source = Source(kind, said.run, candidate.lane, (candidate.span,))
                row = stands.get(candidate.claim)
                if row is None or _speaks_louder(candidate, row, said.run):
                    labels = {"agent": said.agent, "thread": said.thread, "origin": said.origin}
                    row = draft.add_candidate(candidate, source, **labels)
                    stands[row.claim] = row
                    created.append(row.id)
                elif _renews(draft, row, source):
                    renewed.append(draft.event(row, "agreed", source=source.to_json()).id)
                else:
                    known.append(row.id)
            rows = draft.rows
            return Remembered(
                tuple(rows[item] for item in created),
                tuple(rows[item] for item in renewed),
                tuple(rows[item] for item in known),
            )

        return await self.vaults.change(principal, keep)

    async def write(self, principal: Principal, claim: str, members: Mapping[str, Any]) -> Row:
        """Write one claim down as it is: in its owner's words, or as what a model said where an application does.
        ``members`` may have ``kind``, ``categories``, ``slot``, ``expires``, ``agent``, ``thread``, ``origin`` and
        ``derived_from`` (ids of rows)."""
        principal.require("memories:write")
        given = dict(members)
        derived = tuple(given.pop("derived_from", ()))
        given.setdefault("categories", categories_of(claim))

        def keep(draft: Draft) -> Row:
            sources = [memory.derived_source(draft.row(item)) for item in derived]
            if principal.is_owner:
                return draft.add(
                    claim, writer="user_said", sources=sources or [Source("owner", None, "user_said")], **given
                )
            span = Source("messages", None, "model_inferred", (sha256_hex(claim.encode()),))
            return draft.add(claim, writer="model_inferred", sources=[*sources, span], **given)

        return await self.vaults.change(principal, keep)

    # Finding

    async def vault(self, principal: Principal, scope: str = "memories:read") -> Vault:
        """The rows, for a key that may read them."""
        principal.require(scope)
        return await self.vaults.read(principal)

    async def search(self, principal: Principal, query: Query) -> dict[str, Any]:
        """MemSync's answer: what was found, closest first, each row with its standing and with what contradicts it."""
        self._metrics.count("holdfast_memory_searches_total")
        return await while_rows_stay(lambda: self._search(principal, query))

    async def _search(self, principal: Principal, query: Query) -> dict[str, Any]:
        vault, now = await self.vault(principal), self.clock.now()
        _, ranked = await self._retrieval.find(vault, query.text, now, lambda row: _fits(row, query, now))
        ranked = ranked[: query.limit]
        if query.run is not None:
            await self.use(principal, [item.id for item in ranked], query.run)
            vault = await self.vaults.read(principal)
        shown = []
        for item in ranked:
            row = vault.row(item.id)
            others = [vault.rows[other] for other, _ in row.contradicted_by if other in vault.rows]
            shown.append(
                {
                    **memory_json(row, now),
                    "vector_distance": 1 - item.scores.vector / MILLION,
                    "rerank_score": item.scores.total / MILLION if query.rerank else None,
                    "scores": item.scores.to_json(),
                    "path": list(item.path),
                    "contradictions": [memory_json(other, now) for other in others],
                }
            )
        bio = profile.bio_text(list(vault.rows.values()), now) if query.bio else None
        return {"user_bio": bio, "memories": shown, "at": time_encode(now)}

    async def use(self, principal: Principal, rows: Sequence[str], run: str | None) -> None:
        """Write down that rows were recalled into a run. It renews none of them. Raises ``memory.unknown`` where one is
        gone by now: then none is told."""

        def note(draft: Draft) -> None:
            for identifier in rows:
                draft.event(draft.row(identifier), "used", run=run)

        await self.vaults.change(principal, note)

    async def history(self, principal: Principal, identifier: str) -> dict[str, Any]:
        """Everything that happened to a row, and how it stands now."""
        vault, now = await self.vault(principal), self.clock.now()
        row = vault.row(identifier)
        return {"memory": memory_json(row, now), "history": history_json(vault.history[identifier])}

    async def contradictions(self, principal: Principal) -> list[dict[str, Any]]:
        """Pairs of rows that contradict each other, each once."""
        vault, now = await self.vault(principal), self.clock.now()
        pairs: dict[tuple[str, ...], tuple[Row, Row]] = {}
        for row in vault.rows.values():
            for other, _ in row.contradicted_by:
                if other in vault.rows and not row.ended:
                    pairs.setdefault(tuple(sorted((row.id, other))), (row, vault.rows[other]))
        return [
            {"slot": one.slot, "memories": [memory_json(one, now), memory_json(other, now)]}
            for one, other in pairs.values()
        ]

    # Judging

    async def confirm(self, principal: Principal, identifier: str, by: str = "user") -> Row:
        """A person says that a row holds; what it contradicts is contradicted anew, with that person's word
        (``memory.md`` §6(4))."""
        principal.require("owner")

        def confirm(draft: Draft) -> Row:
            row = draft.event(draft.row(identifier), "confirmed", by=by)
            for other in [item for item in draft.rows.values() if memory.contradicts(row, item)]:
                if dict(other.contradicted_by).get(row.id) != "user_said":
                    draft.event(other, "contradicted", other=row.id, authority="user_said")
            return draft.row(identifier)

        return await self.vaults.change(principal, confirm)

    async def agree(self, principal: Principal, identifier: str, source: Source) -> Row:
        """Fresh evidence agrees with a row. Raises what :func:`memory.require_renewal` raises."""
        principal.require("owner")

        def agree(draft: Draft) -> Row:
            row = draft.row(identifier)
            memory.require_renewal(row, source, draft.vault.kin(row))
            return draft.event(row, "agreed", source=source.to_json())

        return await self.vaults.change(principal, agree)

    async def correct(self, principal: Principal, identifier: str, change: Mapping[str, Any]) -> Row:
        """Another row in place of this one; ``change`` may have ``claim``, ``categories`` and ``kind``. In its owner's
        words with an owner's key, else as what a model said."""
        principal.require("memories:write")

        def correct(draft: Draft) -> Row:
            row = draft.row(identifier)
            writer, sources = "user_said", [Source("owner", None, "user_said")]
            if not principal.is_owner:
                writer, sources = "model_inferred", [memory.derived_source(row)]
            given = {"claim": row.claim, "categories": row.categories, "kind": row.kind, **change}
            # The old row ends first: a correction does not contradict what it corrects.
            new = memory.row_id(self._random(16))
            draft.event(row, "superseded", other=new)
            draft.reconcile(row.id)
            return draft.add(
                given["claim"],
                identifier=new,
                writer=writer,
                sources=sources,
                kind=given["kind"],
                categories=given["categories"],
                slot=row.slot,
                agent=row.agent,
                thread=row.thread,
                origin=row.origin,
                supersedes=row.id,
            )

        return await self.vaults.change(principal, correct)

    async def write_bio(self, principal: Principal, text: str) -> Row:
        """What its owner says about themselves, in place of what they said before."""
        principal.require("owner")

        def keep(draft: Draft) -> Row:
            new = memory.row_id(self._random(16))
            before = [row for row in draft.rows.values() if row.slot == profile.BIO_SLOT and not row.ended]
            for row in before:
                draft.event(row, "superseded", other=new)
                draft.reconcile(row.id)
            return draft.add(
                text,
                identifier=new,
                writer="user_said",
                sources=[Source("owner", None, "user_said")],
                categories=["identity"],
                slot=profile.BIO_SLOT,
                supersedes=before[0].id if before else None,
            )

        return await self.vaults.change(principal, keep)

    async def withdraw(self, principal: Principal, identifier: str, by: str = "user") -> Row:
        """A row is not to be used any more; it and its history stay."""
        principal.require("owner")

        def withdraw(draft: Draft) -> Row:
            draft.event(draft.row(identifier), "withdrawn", by=by)
            draft.reconcile(identifier)
            return draft.row(identifier)

        return await self.vaults.change(principal, withdraw)

    # Erasing

    async def erase(self, principal: Principal, identifiers: Sequence[str], *, cascade: bool) -> dict[str, Any]:
        """Remove rows so that nobody can read them again; with ``cascade`` what was derived from them as well."""
        principal.require("memories:write")

        def choose(vault: Vault) -> set[str]:
            rows = [vault.row(identifier) for identifier in identifiers]
            derived = [item.id for row in rows for item in vault.derived(row)] if cascade else []
            return {row.id for row in rows} | set(derived)

        def reconcile(draft: Draft) -> None:
            for identifier in gone:
                draft.reconcile(identifier)

        gone = choose(await self.vaults.read(principal))
        await self.vaults.change(principal, reconcile)  # first: what is erased must not go on contradicting
        gone = await self.vaults.erase(principal, choose)
        await self.vaults.change(principal, reconcile)  # and what came to contradict it meanwhile
        self._metrics.count("holdfast_memory_erased_total", amount=len(gone))
        return {
            "erased": sorted(gone),
            "derived": sorted(gone - set(identifiers)),
            "scrubbed": await self.scrub(),
        }

    async def erase_everything(self, principal: Principal) -> bool:
        """Remove a user: keys first of all. Whether every byte is gone already."""
        principal.require("owner")
        async with self.vaults.lock(principal.user):
            await self.vaults.run(self.vaults.store.erase_user, principal.user)
            self.keyring.lock(principal.user)
            self.vaults.drop(principal.user)
        return await self.scrub()

    async def scrub(self) -> bool:
        """Make what was removed unrecoverable; False where that has to be tried again, which :meth:`work` does."""
        done = await self.vaults.run(self.vaults.store.scrub)
        self._unscrubbed = not done
        self._metrics.level("holdfast_memory_unscrubbed", 0 if done else 1)
        return done

    # Rotation

    async def rotate(
        self, principal: Principal, passphrase: str, new_passphrase: str | None, api_key: str | None, caller: str
    ) -> list[str]:
        """New keys for everything; returns the ids of the keys that have ended by it. Raises what
        :meth:`Unlocking.admit` and :meth:`Unlocking.new_passphrase` raise."""
        principal.require("owner")
        await self.unlocking.admit(principal.user, passphrase, caller)
        new = await self.unlocking.new_passphrase(new_passphrase or passphrase, caller)
        async with self.vaults.hold(principal) as vault:
            return await self.vaults.run(self._rotate, vault, new, api_key)

    def _rotate(self, vault: Vault, passphrase: NewPassphrase, api_key: str | None) -> list[str]:
        user, store = vault.user, self.vaults.store
        data_key = self._random(sealing.KEY_BYTES)
        before = store.wraps(user)
        wraps = [self.keyring.passphrase_wrap(user, data_key, passphrase)]
        if api_key is not None:
            identifier, secret = sealing.parse_api_key(api_key)
            wraps += [self.keyring.rewrap(wrap, data_key, secret) for wrap in before if wrap.id == identifier]
        events = [memory.parse_event(raw) for raw in _in_order(vault)]
        rows, sealed, _ = self.vaults.seal(user, data_key, events, {})
        store.replace(user, vault.version, wraps, rows, sealed)
        self.keyring.lock(user)
        self.vaults.drop(user)
        kept = {wrap.id for wrap in wraps}
        return [wrap.id for wrap in before if wrap.kind == "api_key" and wrap.id not in kept]


def _in_order(vault: Vault) -> list[bytes]:
    """All events; each row's in its order."""
    return [raw for events in vault.history.values() for raw in events]


def _strongest(rows: Iterable[Row]) -> dict[str, Row]:
    """By claim the row of most authority that has not ended; the oldest of equals."""
    found: dict[str, Row] = {}
    for row in rows:
        known = found.get(row.claim)
        if not row.ended and (known is None or not memory.is_as_strong(known.authority, row.authority)):
            found[row.claim] = row
    return found


def _speaks_louder(candidate: Candidate, row: Row, run: str | None) -> bool:
    """Whether a claim is said with more authority than the row has that says the same, and not by a run that had the
    row before it."""
    spoken = memory.weakest(candidate.writer, [Source("messages", None, candidate.lane)])
    return not memory.is_as_strong(row.authority, spoken) and (run is None or run not in row.used_by)


def _renews(draft: Draft, row: Row, source: Source) -> bool:
    with contextlib.suppress(RefusedError):
        memory.require_renewal(row, source, draft.vault.kin(row) if row.id in draft.vault.rows else ())
        return True
    return False


def _fits(row: Row, query: Query, now: dt.datetime) -> bool:
    return (
        standing_of(row, now) in query.standings
        and (not query.categories or bool(set(query.categories) & set(row.categories)))
        and query.agent in (None, row.agent)
        and query.thread in (None, row.thread)
    )
