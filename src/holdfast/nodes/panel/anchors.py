"""Heads of the panel's journals, into the log (``spec/case.md`` §9, ``spec/people.md`` §4, ``spec/statement.md`` §4.4).

Rules:

* After a decision at once, otherwise at most every few seconds, and only while a journal moves: a panel in which
  nothing happens logs nothing.
* What is told to the log is the digest of an event that holds random bytes, written for that. So the journal itself
  says what is on its way, and a crash at any point signs the same statement again, which the log keeps once.
* A head that waited too long for a silent log is not signed any more: full nodes would call it backdated. The next one
  stands for it too.
* A panel that trust does not admit signs nothing: full nodes would refute its statements for good.
* Nobody waits for this. Signing and asking the log happen on a thread of their own.

Not covered: what the heads show (``review.anchors``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.core import canonical
from holdfast.core.encoding import hex_decode, time_decode, time_encode
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, MalformedError, UnavailableError
from holdfast.nodes.panel.decisions import FIRST_PAUSE_S, LONGEST_PAUSE_S, TURN_S, require_admission
from holdfast.nodes.panel.people import PanelPeople
from holdfast.nodes.panel.review import Review
from holdfast.ports.clock import Clock
from holdfast.ports.storage import Storage
from holdfast.review.anchors import ANCHORED, NONCE_BYTES, HeadSigner, Link
from holdfast.review.decisions import SIGNED_AT_ONCE_S, EntryLog
from holdfast.review.roles import OPERATOR

_LOG = logging.getLogger("holdfast.panel.anchors")
ANCHORS_FILE = "anchors.json"
"""The newest head of each journal that stands in the log."""
AT_ONCE = 1_000
"""Events of a journal read in one go."""
AT_ONCE_KINDS = frozenset({"decided", "released", "recall_ordered"})
"""What is anchored without waiting: somebody's decisions."""


class Chain(Protocol):
    """A journal, as far as its heads go."""

    name: str
    """``cases`` or ``people`` (``statement.md`` §4.4)."""

    async def links(self, after: int) -> list[Link]:
        """The events after a number, in order; at most :data:`AT_ONCE`."""
        ...

    async def anchor(self, nonce: bytes) -> Link:
        """Append an event that holds this nonce."""
        ...


class CaseChain:
    """The journal of cases."""

    name = "cases"

    def __init__(self, review: Review) -> None:
        self._review = review

    async def links(self, after: int) -> list[Link]:
        """See :class:`Chain`."""
        return await self._review.call(self._links, after)

    def _links(self, after: int) -> list[Link]:
        with self._review.store.read() as reader:
            found = reader.events(after, AT_ONCE)
        return [Link(event.seq, event.digest, event.kind, time_decode(event.at)) for event in found]

    async def anchor(self, nonce: bytes) -> Link:
        """See :class:`Chain`."""
        event = await self._review.call(self._review.desk.anchor, nonce)
        return Link(event.seq, event.digest, event.kind, event.at)


class PeopleChain:
    """The audit chain of people."""

    name = "people"

    def __init__(self, people: PanelPeople) -> None:
        self._people = people

    async def links(self, after: int) -> list[Link]:
        """See :class:`Chain`."""
        found = await self._people.run(self._people.people.events, OPERATOR, after, AT_ONCE)
        return [Link(event.seq, event.digest, event.kind, event.at) for event in found]

    async def anchor(self, nonce: bytes) -> Link:
        """See :class:`Chain`."""
        event = await self._people.run(self._people.people.anchor, nonce)
        return Link(event.seq, event.digest, event.kind, event.at)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A head that stands in the log."""

    seq: int
    digest: str
    statement: str
    at: dt.datetime


@dataclass(slots=True)
class _Followed:
    """How far one journal was read, and what of it the log holds."""

    chain: Chain
    read: int = 0
    newest: Link | None = None
    """The newest event that was written to be a head."""
    moved: bool = False
    """Whether something happened after it."""
    at_once: bool = False
    """Whether that was a decision."""
    written: float | None = None
    """When that event was written, in this process; None: not in this one."""
    anchor: Anchor | None = None

    @property
    def waits(self) -> bool:
        """Whether the newest head is on its way."""
        return self.newest is not None and (self.anchor is None or self.anchor.seq < self.newest.seq)


class Anchors:
    """Keeps the log up with the heads of the journals. ``attester`` is the digest of the panel's key document;
    ``entries`` makes the log's blocking side for an event loop."""

    def __init__(
        self,
        review: Review,
        chains: tuple[Chain, ...],
        signer: HeadSigner,
        attester: str,
        entries: Callable[[asyncio.AbstractEventLoop], EntryLog],
        trust: Callable[[], Trust],
        clock: Clock,
        storage: Storage,
        random_bytes: Callable[[int], bytes],
        *,
        every_s: float,
    ) -> None:
        self._review = review
        self._signer = signer
        self._attester = attester
        self._entries = entries
        self._trust = trust
        self._clock = clock
        self._storage = storage
        self._random_bytes = random_bytes
        self._every_s = every_s
        kept = _parse_anchors(storage.load(ANCHORS_FILE))
        self._followed = [
            _Followed(chain, anchor=kept.get(chain.name), read=kept[chain.name].seq if chain.name in kept else 0)
            for chain in chains
        ]
        self._unsure = set(kept)
        """Journals of which it was not looked yet whether they still hold the head that was kept."""
        self.trouble = ""
        """Why heads wait, or empty."""

    def newest(self, journal: str) -> Anchor | None:
        """The newest head of a journal that stands in the log, as far as this panel knows."""
        return next((item.anchor for item in self._followed if item.chain.name == journal), None)

    async def work(self) -> None:
        """Anchor what moves, for ever."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self.turn()
            except HoldfastError as error:
                if self.trouble != error.message:
                    _LOG.warning("heads of journals wait: %s", error, extra={"code": error.code})
                self.trouble = error.message
                await self._clock.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            self.trouble, pause = "", FIRST_PAUSE_S
            await self._clock.sleep(TURN_S)

    async def turn(self) -> int:
        """Anchor what is to be anchored now; returns how many heads that were. Raises :class:`UnavailableError` while
        nothing can be, and what the log says to a head that it refuses."""
        done, refused = 0, None
        for item in self._followed:
            try:
                done += await self._anchor(item)
            except UnavailableError:
                raise
            except HoldfastError as error:  # of one journal; the other goes on
                refused = refused or error
        if refused is not None:
            raise refused
        return done

    async def _anchor(self, item: _Followed) -> bool:
        """Whether a head of this journal was logged now."""
        await self._read(item)
        if item.waits and await self._is_over(item):
            item.newest, item.moved = None, True
        if not item.waits and item.moved and self._is_due(item):
            await self._review.call(self._require_admission)
            await self._write(item)
        if item.waits:
            await self._log(item)
            return True
        return False

    async def _read(self, item: _Followed) -> None:
        """Take note of what happened since."""
        if item.chain.name in self._unsure:
            await self._make_sure(item)
        while links := await item.chain.links(item.read):
            for link in links:
                if link.kind == ANCHORED[item.chain.name]:
                    item.newest, item.moved, item.at_once = link, False, False
                else:
                    item.moved, item.at_once = True, item.at_once or link.kind in AT_ONCE_KINDS
            item.read = links[-1].seq
            if len(links) < AT_ONCE:
                return

    async def _make_sure(self, item: _Followed) -> None:
        """A journal that was put back to an older state does not hold the head that was kept: then it is read anew."""
        kept = item.anchor
        if kept is not None:
            links = await item.chain.links(kept.seq - 1)
            if not links or (links[0].seq, links[0].digest) != (kept.seq, kept.digest):
                _LOG.error(
                    "the log holds event %d of the journal of %s, and the journal has another there or none",
                    kept.seq,
                    item.chain.name,
                    extra={"code": "audit.anchor"},
                )
                item.anchor, item.read = None, 0
        self._unsure.discard(item.chain.name)

    def _is_due(self, item: _Followed) -> bool:
        waited = None if item.written is None else self._clock.monotonic() - item.written
        return item.at_once or waited is None or waited >= self._every_s

    async def _write(self, item: _Followed) -> None:
        """Write the event that the next head is made of. What somebody else appends meanwhile lies before it."""
        await item.chain.anchor(self._random_bytes(NONCE_BYTES))
        item.written = self._clock.monotonic()
        await self._read(item)

    async def _is_over(self, item: _Followed) -> bool:
        """Whether the head on its way waited too long: unless the log has it already, another one has to be written."""
        link = item.newest
        if link is None or self._clock.now() - link.at <= dt.timedelta(seconds=SIGNED_AT_ONCE_S):
            return False
        signed = self._signer.sign(item.chain.name, link)
        log = self._entries(asyncio.get_running_loop())
        if await asyncio.to_thread(log.index_of, signed.digest) is None:
            return True
        await self._keep(item, link, signed.digest)
        return False

    async def _log(self, item: _Followed) -> None:
        link = item.newest
        if link is None:
            return
        await self._review.call(self._require_admission)
        signed = await asyncio.to_thread(self._signer.sign, item.chain.name, link)
        log = self._entries(asyncio.get_running_loop())
        await asyncio.to_thread(log.append, signed.envelope)
        await self._keep(item, link, signed.digest)

    async def _keep(self, item: _Followed, link: Link, statement: str) -> None:
        """Remember what the log holds; a crash before this says it to the log again."""
        item.anchor = Anchor(link.seq, link.digest, statement, link.at)
        kept = {one.chain.name: _anchor_json(one.anchor) for one in self._followed if one.anchor is not None}
        await self._review.call(self._storage.save, ANCHORS_FILE, json.dumps(kept).encode())

    def _require_admission(self) -> None:
        """On the desk's thread, which owns the trust file."""
        require_admission(self._trust(), self._attester, self._clock.now())


def _anchor_json(anchor: Anchor) -> dict[str, Any]:
    return {
        "seq": anchor.seq,
        "digest": anchor.digest,
        "statement": anchor.statement,
        "at": time_encode(anchor.at),
    }


def _parse_anchors(raw: bytes | None) -> dict[str, Anchor]:
    """What was kept; nothing where there is none. Raises ``panel.anchors``."""
    value = canonical.decode_object(raw) if raw is not None else {}
    try:
        return {name: _parse_anchor(item) for name, item in value.items() if name in ANCHORED}
    except (HoldfastError, KeyError, TypeError) as error:
        hint = "remove it: heads are then looked for from the beginning of each journal"
        raise MalformedError("panel.anchors", f"{ANCHORS_FILE} is damaged", hint=hint) from error


def _parse_anchor(value: dict[str, Any]) -> Anchor:
    seq = value["seq"]
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 1:
        raise TypeError("seq is a number")
    digest, statement = hex_decode(value["digest"], 32).hex(), hex_decode(value["statement"], 32).hex()
    return Anchor(seq, digest, statement, time_decode(value["at"]))
