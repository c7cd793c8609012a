"""Builds a run's bundle from what is stored and what was seen of its settlement, and appraises it.

The journal's order is the order in which this gateway came to know things. It only grows at its end while a run
settles, so a position keeps its meaning. Disclosures come last: whoever does not hold the capability sees the same
positions.

The attestation is the one that was in force when the run was opened, whenever the bundle is made.

Steps of its payment stand where they were told, each with the document that opens it: a bundle is handed to the run's
workspace and to whoever has its capability, and both may see what was paid. They may come long after the run is final.

What a label meant around the run names the label, so it is shown with the run's documents, behind them.

Proofs are made from the log's own tiles and the full nodes' verdict blobs when somebody asks, and kept for a while.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.client.log import LogReader
from holdfast.core import canonical, merkle, rounds
from holdfast.core.bundles import build_bundle, change_item, file_item, parse_bundle, payment_item, policy_item
from holdfast.core.encoding import b64_encode, sha256_hex, time_decode, time_encode
from holdfast.core.parts import pseudo_random_key
from holdfast.core.payments import parse_payment_document
from holdfast.core.proofs import SALT_BYTES
from holdfast.core.sealing import open_document
from holdfast.core.statements import Execution, Statement, parse_envelope, parse_statement
from holdfast.core.trust import Trust
from holdfast.errors import UnavailableError
from holdfast.nodes.gateway.admitting import open_kept
from holdfast.nodes.gateway.attaching import read_documents
from holdfast.nodes.gateway.attestations import Attestation
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.labels import Labels, PlacedChange
from holdfast.nodes.gateway.ledger import FILES_READ, SENT_LAST, Added, Closing, Ledger, parse_added, parse_closing
from holdfast.nodes.gateway.settlement import Settlement
from holdfast.nodes.gateway.turn import Opening, parse_opening
from holdfast.ports.clock import Clock
from holdfast.ports.run_index import RunRow, SettlementEvent
from holdfast.ports.till_store import Step, StoredStep
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.chronology import chronology
from holdfast.verifier.policy import Policy

_KEPT = 4096
"""Settled views kept in memory."""


@dataclass(frozen=True, slots=True)
class _Logged:
    """An entry of a run that stands in the log: its deduplication digest, where, and since when."""

    digest: str
    index: int
    at: str


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """A round's verdicts with what leads from each of them to their root; many runs are in one round."""

    entries: tuple[rounds.VerdictEntry, ...]
    levels: list[Sequence[bytes]]
    places: dict[bytes, list[int]]
    """Of each statement's digest, where its verdicts stand."""

    @classmethod
    def of(cls, blob: bytes) -> _Verdicts:
        entries = rounds.parse_verdict_blob(blob)
        places: dict[bytes, list[int]] = {}
        for position, entry in enumerate(entries):
            places.setdefault(entry.statement_digest, []).append(position)
        return cls(entries, merkle.levels([merkle.leaf_hash(entry.leaf) for entry in entries]), places)


class EvidenceDesk:
    """Answers "what is known of this run?"."""

    def __init__(
        self,
        ledger: Ledger,
        indexer: Indexer,
        settlement: Settlement,
        log: LogReader,
        trust: Callable[[], Trust],
        policy: Policy,
        clock: Clock,
        *,
        attestation_at: Callable[[dt.datetime], Attestation | None],
        steps_of: Callable[[str], Awaitable[Sequence[StoredStep]]] | None = None,
        labels: Labels | None = None,
    ) -> None:
        """``steps_of`` gives what was told of a run's payment, where this gateway takes any; ``labels`` what a label
        meant, where it knows a hub."""
        self._labels = labels
        self._steps_of = steps_of
        self._ledger = ledger
        self._indexer = indexer
        self._settlement = settlement
        self._log = log
        self._trust = trust
        self._policy = policy
        self.clock = clock
        self._attestation_at = attestation_at
        self._blobs: OrderedDict[bytes, _Verdicts] = OrderedDict()
        self._settled: OrderedDict[str, tuple[tuple[str, int, RunRow], Appraisal, list[dict[str, Any]]]] = OrderedDict()
        self._proofs: OrderedDict[tuple[int, int], list[str]] = OrderedDict()

    async def bundle(self, row: RunRow, secret: bytes | None = None) -> bytes:
        """The bundle of a run. With the run's secret it discloses the stored documents; raises ``run.capability``."""
        opening_record = self._ledger.read(row.open_place)
        opening = parse_opening(opening_record.record.header)
        journal: list[dict[str, Any]] = [{"kind": "note", "at": opening.opened_at, "code": "asked"}]
        shown = self._attestation_at(time_decode(opening.opened_at))
        if shown is not None:
            journal.append({"kind": "attestation", "at": opening.opened_at, "node": shown.node, **shown.to_json()})
        closing: Closing | None = None
        computed: Statement | None = None
        if row.close_place is not None and row.closed_at is not None:
            closing = parse_closing(self._ledger.read(row.close_place).record)
            journal += [{"kind": "mark", **shown.to_json()} for shown in closing.marks]
            added = [(place, parse_added(self._ledger.read(place).record)) for place, _, _ in row.additions]
            before = [item for place, item in added if place < row.close_place]
            computed = _computed(before)
            journal += _attested(before)
            journal += [_statement(item.envelope, row.closed_at) for item in before]
            journal += _recalled(before, row.closed_at)
            journal += [_statement(envelope, row.closed_at) for envelope in closing.envelopes]
            journal += _disclosed(opening_record.record.blobs[1:2], closing, row.closed_at)
            opened = [(item.entry, item.salt) for item in before if item.salt is not None]
            for entry, salt in (*opened, *zip(closing.entries, closing.salts, strict=False)):
                commitment = {"entry": b64_encode(entry), "salt": salt.hex()}
                journal.append({"kind": "commitment", "at": row.closed_at, **commitment})
            steps = await self.steps(row.run)
            settled = await self._settled_items(row, closing, dict(added), steps)
            for item in (item for place, item in added if place > row.close_place):
                _insert(settled, [*_attested([item]), _statement(item.envelope, item.at)])
            if row.follow_place is not None:
                follow = self._ledger.read(row.follow_place).record
                _insert(settled, [_statement(follow.blobs[0], follow.header["at"])])
            for told in steps:
                _insert(settled, _step_items(told.step))
            journal += settled
        if secret is not None:
            at = time_encode(self.clock.now())
            journal += self._records_shown(row, secret, at)
            disclosed = self._disclosures(opening, opening_record.record.blobs, closing, secret, at)
            journal += disclosed
            journal += await self._history(computed, disclosed, at)
        return build_bundle(row.run, self.clock.now(), journal)

    def _records_shown(self, row: RunRow, secret: bytes, at: str) -> list[dict[str, Any]]:
        """What opens the records of a run's proofs and admissions, for whoever holds its capability."""
        found = []
        for place, _, _ in row.additions:
            item = parse_added(self._ledger.read(place).record)
            if item.proof:
                salt, sealed = item.proof[:SALT_BYTES], item.proof[SALT_BYTES:]
                statement = parse_statement(parse_envelope(item.envelope))
                digest, key = statement.digest, pseudo_random_key(row.run, secret)
                if statement.kind == "admission":
                    found.append({"kind": "admission", "at": at, **open_kept(item.proof, digest, key)})
                    continue
                text = open_document(key, f"proof/{digest}", sealed).decode()
                found.append({"kind": "proof", "at": at, "digest": digest, "document": text, "salt": salt.hex()})
        return found

    async def steps(self, run: str) -> Sequence[StoredStep]:
        """What was told of a run's payment so far, in order."""
        return await self._steps_of(run) if self._steps_of is not None else ()

    async def _settled_items(
        self, row: RunRow, closing: Closing, added: dict[int, Added], steps: Sequence[StoredStep]
    ) -> list[dict[str, Any]]:
        """Entries, the first cosigned checkpoints, the rounds: in the order in which they became known."""
        if row.route_index is None or row.execution_index is None or row.logged_at is None or row.close_place is None:
            return []
        own = list(zip(closing.entries, (row.route_index, row.execution_index), strict=True))
        others = [
            (place, _Logged(_entry_digest(added[place].entry), index, at))
            for place, index, at in row.additions
            if index is not None and at is not None
        ]
        first = [_Logged(item.digest, item.index, row.logged_at) for place, item in others if place < row.close_place]
        first += [_Logged(_entry_digest(entry), index, row.logged_at) for entry, index in own]
        late = [item for place, item in others if place > row.close_place]
        entries = [*first, *late]
        paid = [
            _Logged(_entry_digest(told.step.entry), told.log_index, _told_at(told.step))
            for told in steps
            if told.log_index is not None
        ]
        named = [(item.digest, item.index) for item in entries]
        items: list[dict[str, Any]] = [
            {"kind": "entry", "at": item.at, "digest": item.digest, "index": item.index} for item in first
        ]
        last = max(item.index for item in first)
        events = await self._indexer.call(
            self._events,
            (last, *(step.index for step in paid)),
            [(entry.index, entry.at) for entry in (*entries, *paid)],
        )
        paths: set[tuple[str, int]] = set()
        for event in sorted({event.position: event for event in events}.values(), key=lambda event: event.position):
            while paid and paid[0].index < event.size:  # when the log took a step is not kept: it is known by now
                step = paid.pop(0)
                named.append((step.digest, step.index))
                items.append({"kind": "entry", "at": event.at, "digest": step.digest, "index": step.index})
            for item in await self._event_items(event, named):
                path = (item["digest"], item["size"]) if item["kind"] == "inclusion" else None
                if path is None or path not in paths:
                    items.append(item)
                    paths |= {path} if path else set()
        for entry in late:
            _insert(items, [{"kind": "entry", "at": entry.at, "digest": entry.digest, "index": entry.index}])
        return items

    def _events(self, places: Sequence[int], entries: Sequence[tuple[int, str]]) -> list[SettlementEvent]:
        """Everything that the index has of a run's settlement, in one call on its thread: the first checkpoints that
        cover ``places``, and what reached each of ``entries`` since it was logged."""
        checkpoints = [self._indexer.index.first_covering("checkpoint", place) for place in places]
        found = [event for event in checkpoints if event is not None]
        for place, logged_at in entries:
            found += self._events_of(place, logged_at)
        return found

    def _events_of(self, place: int, logged_at: str) -> list[SettlementEvent]:
        """Rounds that reached one entry since it was logged, and silence, up to its final one; then those that
        superseded its verdict. Nothing that was in this list once leaves it, so positions keep their meaning."""
        index = self._indexer.index
        final = index.first_covering("final", place)
        until = final.at if final is not None else None
        seen = index.events_since(logged_at, until, place)
        if final is not None:
            seen = [event for event in seen if event.position < final.position] + [final]
        return seen + index.superseding(place)

    async def _event_items(self, event: SettlementEvent, named: list[tuple[str, int]]) -> list[dict[str, Any]]:
        """One event with the proofs that lead from this run's entries to it."""
        if event.kind == "checkpoint":
            paths = await self._inclusions(event, named)
            return [{"kind": "checkpoint", "at": event.at, "note": event.body["note"]}, *paths]
        if event.kind == "candidate":
            return [{"kind": "candidate", "at": event.at, "round": event.body}]
        if event.kind == "votes":
            return [{"kind": "votes", "at": event.at, "number": event.number, **event.body}]
        if event.kind == "silence":
            return [{"kind": "silence", "at": event.at, **event.body}]
        if event.kind == "superseded":
            later = await self._indexer.call(self._indexer.index.last_event, "final", event.number)
            if later is None:
                return []
            event = replace(later, at=event.at)
        final = {"kind": "finality", "at": event.at, **event.body}
        return [final, *await self._inclusions(event, named), *await self._verdicts(event, named)]

    async def _inclusions(self, event: SettlementEvent, named: list[tuple[str, int]]) -> list[dict[str, Any]]:
        items = []
        for digest, index in named:
            if index < event.size:
                proof = await self._proof(index, event.size)
                items.append(
                    {
                        "kind": "inclusion",
                        "at": event.at,
                        "digest": digest,
                        "index": index,
                        "size": event.size,
                        "proof": proof,
                    }
                )
        return items

    async def _proof(self, index: int, size: int) -> list[str]:
        """An inclusion path from the log's tiles, as hex. The verifier checks it; a wrong one refutes."""
        found = self._proofs.get((index, size))
        if found is None:
            hashes = await self._log.hashes(merkle.inclusion_ranges(index, size), size)
            found = self._proofs[index, size] = [item.hex() for item in hashes]
            while len(self._proofs) > _KEPT:
                self._proofs.popitem(last=False)
        return found

    async def _verdicts(self, event: SettlementEvent, named: list[tuple[str, int]]) -> list[dict[str, Any]]:
        candidate = rounds.parse_candidate(event.body["round"])
        verdicts = await self._verdicts_of(candidate.blob_id)
        wanted = {bytes.fromhex(digest) for digest, _ in named}
        items: list[dict[str, Any]] = []
        for position in sorted(place for digest in wanted for place in verdicts.places.get(digest, ())):
            entry, proof = verdicts.entries[position], merkle.path(verdicts.levels, position)
            items.append(
                {
                    "kind": "verdict",
                    "at": event.at,
                    "number": event.number,
                    "index": entry.index,
                    "digest": entry.statement_digest.hex(),
                    "code": entry.code,
                    "position": position,
                    "size": len(verdicts.entries),
                    "proof": [item.hex() for item in proof],
                }
            )
        return items

    async def _verdicts_of(self, blob_id: bytes) -> _Verdicts:
        found = self._blobs.get(blob_id)
        if found is None:
            blob = await self._settlement.verdict_blob(blob_id)
            if blob is None:
                raise UnavailableError("round.verdicts", "no full node serves this round's verdicts", hint="try again")
            found = self._blobs[blob_id] = await asyncio.to_thread(_Verdicts.of, blob)
            while len(self._blobs) > 16:
                self._blobs.popitem(last=False)
        return found

    def _disclosures(
        self, opening: Opening, kept: Sequence[bytes], closing: Closing | None, secret: bytes, at: str
    ) -> list[dict[str, Any]]:
        key = pseudo_random_key(opening.run, secret)
        items: list[dict[str, Any]] = []
        first = kept[2] if len(kept) > 2 else b""
        last = closing.sealed_sent if closing else b""
        sent, name = (last, SENT_LAST) if last else (first, "sent")
        response = closing.sealed if closing else b""
        for document, sealed, kept_as in (
            ("request", kept[0], "request"),
            ("sent", sent, name),
            ("response", response, "response"),
        ):
            if sealed:
                text = open_document(key, kept_as, sealed).decode()
                items.append({"kind": "document", "at": at, "document": document, "text": text, "secret": secret.hex()})
        if len(kept) > FILES_READ:
            now = time_decode(at)
            documents = read_documents(open_document(key, "files", kept[FILES_READ]))
            items += [file_item(now, document=document) for document in documents]
        policy = opening.policy
        if policy is not None and policy.salt is not None and policy.document is not None:
            opened = {"document": policy.document.encode(), "salt": bytes.fromhex(policy.salt)}
            items.append(policy_item(time_decode(at), digest=policy.digest, **opened))
        return items

    async def _history(
        self, computed: Statement | None, disclosed: Sequence[dict[str, Any]], at: str
    ) -> list[dict[str, Any]]:
        """What the label meant that a computed run was asked for, with where the log has it."""
        texts = [item["text"] for item in disclosed if item["document"] == "response"]
        if self._labels is None or computed is None or not texts:
            return []
        model = canonical.decode_exact(texts[0].encode()).get("model")
        items: list[dict[str, Any]] = []
        try:
            told = await self._labels.around(model, computed.claimed_at) if isinstance(model, str) else []
            for change in told:
                items += [*_opened(change, at), *await self._logged(change, at)]
        except UnavailableError:
            return [{"kind": "note", "at": at, "code": "label-history.unavailable"}]
        return items

    async def _logged(self, change: PlacedChange, at: str) -> list[dict[str, Any]]:
        """The first checkpoint and the first final round of this gateway's that cover a change, and the paths there."""
        if change.index is None:
            return []
        digest, index = change.told.statement.digest, self._indexer.index
        items: list[dict[str, Any]] = [{"kind": "entry", "at": at, "digest": digest, "index": change.index}]
        for kind in ("checkpoint", "final"):
            event = await self._indexer.call(index.first_covering, kind, change.index)
            if event is not None:
                items += [{**item, "at": at} for item in await self._event_items(event, [(digest, change.index)])]
        return items

    async def appraised(self, row: RunRow, secret: bytes | None = None) -> Appraisal:
        """The appraisal of a run as of now; with its secret, of what that discloses too."""
        bundle = parse_bundle(await self.bundle(row, secret))
        return appraise(bundle, self._trust(), self._policy, bundle.exported_at)

    @property
    def noted(self) -> int:
        """Grows with everything that this gateway notes of the secure layer."""
        return self._settlement.noted

    @property
    def known(self) -> tuple[str, int]:
        """What every appraisal depends on beside its run: trust's digest, and how many verdicts were superseded."""
        return self._trust().digest, self._settlement.superseded

    async def view(self, row: RunRow) -> tuple[Appraisal, list[dict[str, Any]]]:
        """Lanes and chronology of a run, as of now. Kept once nothing of it waits for a final round any more."""
        trust = self._trust()
        kept = self._settled.get(row.run)
        known = (*self.known, row)
        if kept is not None and kept[0] == known and trust.current.expires_at > self.clock.now():
            self._settled.move_to_end(row.run)
            return kept[1], kept[2]
        steps = await self.steps(row.run)
        settled = await self._is_final(row, steps)  # asked first: what becomes final later may not be in the view
        bundle = parse_bundle(await self.bundle(row))
        appraisal = appraise(bundle, trust, self._policy, bundle.exported_at)
        story = [dict(item) for item in chronology(bundle)]
        settled = settled and appraisal.lanes["settlement"].state in ("proven", "refuted")
        if settled and len(await self.steps(row.run)) == len(steps):
            self._settled[row.run] = (known, appraisal, story)
            while len(self._settled) > _KEPT:
                self._settled.popitem(last=False)
        return appraisal, story

    def forget(self, run: str) -> None:
        """More was told of a run than what its kept view shows."""
        self._settled.pop(run, None)

    async def _is_final(self, row: RunRow, steps: Sequence[StoredStep]) -> bool:
        """Whether everything that was added to a run (proofs, reruns) and told of its payment so far is in a final
        round. That its closing is, its settlement lane says."""
        indices = [index for _, index, _ in row.additions] + [told.log_index for told in steps]
        logged = [index for index in indices if index is not None]
        if len(logged) < len(indices):
            return False
        final = self._indexer.index.first_covering
        return not logged or await self._indexer.call(final, "final", max(logged)) is not None


def _disclosed(request: Sequence[bytes], closing: Closing, at: str) -> list[dict[str, Any]]:
    """What the workspace is shown of a run that is to be reviewed (``sealed.md`` §3), as one item."""
    parts = [part for raw in (*request, closing.disclosed) if raw for part in canonical.decode(raw)]
    return [{"kind": "parts", "at": at, "parts": parts}] if parts else []


def _attested(added: Sequence[Added]) -> list[dict[str, Any]]:
    """What other nodes presented of the keys that they signed with, as items."""
    found = []
    for item in added:
        if item.attestation:
            node = parse_statement(parse_envelope(item.envelope)).attester
            found.append({"kind": "attestation", "at": item.at, "node": node, **canonical.decode(item.attestation)})
    return found


def _recalled(added: Sequence[Added], at: str) -> list[dict[str, Any]]:
    """What opens the recall of a run, as an item."""
    return [
        {
            "kind": "recall",
            "at": at,
            "digest": parse_envelope(item.envelope).digest,
            **item.recall,
        }
        for item in added
        if item.recall is not None
    ]


def _computed(added: Sequence[Added]) -> Statement | None:
    """What the inference node of a run signed, among what was added before its end."""
    for item in added:
        statement = parse_statement(parse_envelope(item.envelope))
        if isinstance(statement.body, Execution) and statement.body.event == "computed":
            return statement
    return None


def _opened(change: PlacedChange, at: str) -> list[dict[str, Any]]:
    told = change.told
    opening = change_item(time_decode(at), digest=told.statement.digest, document=told.change.raw, salt=told.salt)
    return [_statement(told.envelope, at), opening]


def _told_at(step: Step) -> str:
    return time_encode(parse_payment_document(step.document).at)


def _step_items(step: Step) -> list[dict[str, Any]]:
    """One step of a payment: its statement, what opens it, and in mode ``private`` what opens its commitment."""
    document = parse_payment_document(step.document)
    at = time_encode(document.at)
    items = [
        _statement(step.envelope, at),
        payment_item(document.at, digest=step.digest, document=step.document, salt=step.salt),
    ]
    if step.commitment_salt is not None:
        opened = {"entry": b64_encode(step.entry), "salt": step.commitment_salt.hex()}
        items.append({"kind": "commitment", "at": at, **opened})
    return items


def _insert(items: list[dict[str, Any]], more: Sequence[dict[str, Any]]) -> None:
    """Put items among others by the time at which they became known; behind those of the same time."""
    for item in more:
        place = next((place for place, other in enumerate(items) if other["at"] > item["at"]), len(items))
        items.insert(place, item)


def _statement(envelope: bytes, at: str) -> dict[str, Any]:
    return {"kind": "statement", "at": at, "envelope": canonical.decode_object(envelope)}


def _entry_digest(entry: bytes) -> str:
    """What the log deduplicates by: the statement digest, or the SHA-256 of a commitment (``log.md``)."""
    if entry.startswith(b'{"commitment":'):
        return sha256_hex(entry)
    return parse_envelope(entry).digest
