"""How an entry of the log became final, as journal items of a bundle: for whoever adds an entry to somebody else's run.

:class:`SettledEntries` asks the log for the entry's place, the full nodes for the first final round over it, and both
for the paths that lead there. Nothing it returns is believed here: the bundle that it goes into is checked as a whole
(``review.decisions.check_settled``), and a node that lies can only make an entry look unsettled a while longer.

Not covered: verdicts that supersede the first one, and following rounds for everything (``nodes.gateway.settlement``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from holdfast.client.full import MAX_PAGE, FullNodeReader, RoundView, ask_all
from holdfast.core import merkle, rounds
from holdfast.core.notes import parse_checkpoint_text, parse_note
from holdfast.core.rounds import Candidate, FinalityMessage
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.verifier.final_rounds import voters_of


class LogTree(Protocol):
    """What is read of a log (``client.log.LogReader``)."""

    async def index_of(self, digest: str) -> int | None:
        """Where the log says it put an entry, by its deduplication digest (hex)."""
        ...

    async def checkpoint(self) -> bytes:
        """The newest checkpoint note."""
        ...

    async def hashes(self, ranges: Sequence[tuple[int, int]], size: int) -> list[bytes]:
        """Subtree hashes of the tree of ``size`` entries; ranges as ``core.merkle`` plans them."""
        ...


class SettledEntries:
    """Reads one log and its full nodes. ``trust`` says who may call a round final."""

    def __init__(
        self, log: LogTree, full_nodes: Sequence[FullNodeReader], origin: str, trust: Callable[[], Trust]
    ) -> None:
        self._log = log
        self._full_nodes = list(full_nodes)
        self._origin = origin
        self._trust = trust
        self._known = (0, 0)
        """(number, size) of a final round: where the search for a later one begins."""

    async def find(self, digest: str) -> list[dict[str, Any]] | None:
        """Journal items that show an entry (deduplication digest, hex) in the newest cosigned tree and in the first
        final round over it, with its verdict; each still needs its ``at``. None while there is no such round. Raises
        ``http.*``, ``log.*`` or ``full.*`` while nobody answers."""
        index = await self._log.index_of(digest)
        if index is None:
            return None
        number = await self._first_over(index)
        final = await self._finality(number) if number is not None else None
        if final is None:
            return None
        candidate, messages = final
        verdict = await self._verdict(candidate, index)
        if verdict is None:
            return None
        note = await self._log.checkpoint()
        size = parse_checkpoint_text(parse_note(note).text).size
        items: list[dict[str, Any]] = [{"kind": "entry", "digest": digest, "index": index}]
        if size > index:
            items += [{"kind": "checkpoint", "note": note.decode()}, await self._path(digest, index, size)]
        shown = [message.to_json() for message in messages]
        items.append({"kind": "finality", "round": candidate.to_json(), "messages": shown})
        if candidate.size != size:
            items.append(await self._path(digest, index, candidate.size))
        return [*items, {"kind": "verdict", "number": candidate.number, "digest": digest, **verdict}]

    async def verdicts(self, number: int) -> tuple[Candidate, list[FinalityMessage], bytes] | None:
        """A round with the messages that call it final and all its verdicts (``round.md`` §5), as whoever answers has
        them; None while nobody does. Whether they hold is for ``verifier.overturned``."""
        final = await self._finality(number)
        if final is None:
            return None
        for node in self._full_nodes:
            with contextlib.suppress(HoldfastError):
                blob = await node.verdicts(final[0].blob_id)
                if blob is not None:
                    return *final, blob
        return None

    async def _path(self, digest: str, index: int, size: int) -> dict[str, Any]:
        hashes = await self._log.hashes(merkle.inclusion_ranges(index, size), size)
        proof = [item.hex() for item in hashes]
        return {"kind": "inclusion", "digest": digest, "index": index, "size": size, "proof": proof}

    async def _first_over(self, index: int) -> int | None:
        """Number of the first final round whose tree holds entry ``index``, as the first full node that answers has it.
        Raises ``full.unavailable`` when none does."""
        trouble: HoldfastError | None = None
        for node in self._full_nodes:
            try:
                return await self._first_of(node, index)
            except HoldfastError as error:
                trouble = error
        raise UnavailableError("full.unavailable", f"no full node answers: {trouble or 'none is configured'}")

    async def _first_of(self, node: FullNodeReader, index: int) -> int | None:
        number, jump = (self._known[0] if self._known[1] <= index else 0), MAX_PAGE
        while True:
            page = [view for view in await node.rounds(self._origin, number) if view.candidate is not None]
            for view in page:
                if _size(view) > index:
                    return view.number
                self._known = (view.number, _size(view))
            if not page:
                return None
            number = page[-1].number
            ahead = await node.rounds(self._origin, number + jump) if len(page) == MAX_PAGE else ()
            if ahead and _size(ahead[0]) <= index:
                number, jump = ahead[0].number, 2 * jump

    async def _finality(self, number: int) -> tuple[Candidate, list[FinalityMessage]] | None:
        """The content that most members of the epoch have signed as final, and their messages."""
        trust = self._trust()
        chain, epoch = trust.chain(self._origin), trust.epoch(self._origin, number)
        if chain is None or epoch is None:
            return None
        domain = rounds.ChainDomain(chain.chain_id, chain.contract)
        members = dict.fromkeys(voters_of(trust, epoch), 1)
        found: dict[bytes, tuple[Candidate, dict[str, FinalityMessage]]] = {}
        for view in await ask_all(*(node.round(self._origin, number) for node in self._full_nodes)):
            if isinstance(view, HoldfastError) or view is None or view.candidate is None or view.finality is None:
                continue
            candidate, message = view.candidate, view.finality
            about = (self._origin, epoch.number, number)
            if (candidate.origin, candidate.epoch, candidate.number) != about:
                continue
            if (message.origin, message.epoch, message.number, message.content) != (*about, candidate.content):
                continue
            with contextlib.suppress(HoldfastError):
                signer = rounds.verify_finality_message(domain, message, members).signer
                found.setdefault(candidate.content, (candidate, {}))[1][signer] = message
        if not found:
            return None
        candidate, messages = max(found.values(), key=lambda item: len(item[1]))
        return candidate, [message for _, message in sorted(messages.items())]

    async def _verdict(self, candidate: Candidate, index: int) -> dict[str, Any] | None:
        """The verdict on entry ``index`` in a round, with its path."""
        for answer in await ask_all(*(node.verdicts(candidate.blob_id) for node in self._full_nodes[:1])):
            if isinstance(answer, bytes):
                return await asyncio.to_thread(_verdict_in, answer, index)
        for node in self._full_nodes[1:]:
            with contextlib.suppress(HoldfastError):
                blob = await node.verdicts(candidate.blob_id)
                if blob is not None:
                    return await asyncio.to_thread(_verdict_in, blob, index)
        return None


def _size(view: RoundView) -> int:
    return 0 if view.candidate is None else view.candidate.size


def _verdict_in(blob: bytes, index: int) -> dict[str, Any] | None:
    entries = rounds.parse_verdict_blob(blob)
    leaves = [merkle.leaf_hash(entry.leaf) for entry in entries]
    for position, entry in enumerate(entries):
        if entry.index == index:
            proof = [item.hex() for item in merkle.inclusion_proof(leaves, position)]
            return {
                "index": index,
                "code": entry.code,
                "position": position,
                "size": len(entries),
                "proof": proof,
            }
    return None
