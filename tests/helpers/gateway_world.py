"""A gateway's whole reading side in memory: a log that is a list, full nodes that a test scripts, a real index.

The gateway may be started again over the same disk and index (:meth:`World.start`), as after a restart. Nothing opens a
socket, the clock stands still until the test moves it, and every proof is real.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.run_index_sql import SQLRunIndex
from holdfast.adapters.signer_rsa import RSASigner
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.adapters.wraps_hpke import wrap_secret
from holdfast.client.data_nodes import DataNodeClient
from holdfast.client.full import FinalityView, RoundView, StatusView
from holdfast.core import merkle, notes, rounds
from holdfast.core.encoding import sha256_hex
from holdfast.core.notes import Checkpoint, VerifierKey
from holdfast.core.statements import parse_commitment, parse_envelope
from holdfast.core.trust import Trust
from holdfast.errors import UnavailableError
from holdfast.nodes.gateway.admitting import Admitting, Intent
from holdfast.nodes.gateway.app import GatewayApp, create_app
from holdfast.nodes.gateway.attestations import Attestations
from holdfast.nodes.gateway.catalog import Catalog
from holdfast.nodes.gateway.changes import Changes
from holdfast.nodes.gateway.checkout import Checkout
from holdfast.nodes.gateway.computing import Computing
from holdfast.nodes.gateway.config import WorkspaceKey
from holdfast.nodes.gateway.desk import RunDesk
from holdfast.nodes.gateway.evidence import EvidenceDesk
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.influence import Influence
from holdfast.nodes.gateway.keys import Workspaces
from holdfast.nodes.gateway.labels import Histories, Labels
from holdfast.nodes.gateway.ledger import Ledger
from holdfast.nodes.gateway.opengradient import AnswerSigner, Signs
from holdfast.nodes.gateway.opengradient_reads import Surface
from holdfast.nodes.gateway.outbox import Outbox
from holdfast.nodes.gateway.recalling import Recalling
from holdfast.nodes.gateway.remembering import Remembering
from holdfast.nodes.gateway.rerun import Rerun
from holdfast.nodes.gateway.service import Gateway, Limits
from holdfast.nodes.gateway.settlement import Settlement
from holdfast.nodes.gateway.wraps import Wraps
from holdfast.nodes.messages import MessagesErrors
from holdfast.ports.enclave import Enclave
from holdfast.ports.settings import Secret
from holdfast.ports.upstream import Upstream
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.clock import FakeClock
from tests.helpers.data_node import ScriptedDataNode
from tests.helpers.decisions import PANEL_DOCUMENT
from tests.helpers.gateway import DOCUMENT, IDENTITY, MemoryLog, ask
from tests.helpers.inference import MemoryInferenceNode, MovingSource
from tests.helpers.network import ORIGIN, FullNode, Network
from tests.helpers.recalls import ScriptedMemoryNode
from tests.helpers.upstreams import ScriptedUpstream

KEY, OTHER_KEY = "hf_first", "hf_second"
SHARED_KEY = "hf_everybody-has-it"
PANEL_KEY, ADA_KEY = "hf_panel-of-first", "hf_ada"


@lru_cache(maxsize=1)
def rsa_signer() -> RSASigner:
    """OpenGradient's key of the gateway; one for all tests, because making one takes a while."""
    return RSASigner(rsa.generate_private_key(65537, 2048))


def digest_of(entry: bytes) -> bytes:
    """What the log and verdicts know an entry by."""
    return bytes.fromhex(sha256_hex(entry) if parse_commitment(entry) is not None else parse_envelope(entry).digest)


@dataclass
class MemoryTree:
    """Reads a :class:`MemoryLog` as tiles would be read; serves the checkpoint that a test signed."""

    log: MemoryLog
    note: bytes = b""
    silent: bool = False
    _leaves: dict[bytes, bytes] = field(default_factory=dict)
    """Leaf hashes by entry, each made once."""

    async def checkpoint(self) -> bytes:
        if self.silent or not self.note:
            raise UnavailableError("log.unavailable", "the log is silent")
        return self.note

    async def index_of(self, digest: str) -> int | None:
        if self.silent:
            raise UnavailableError("log.unavailable", "the log is silent")
        known = [digest_of(entry).hex() for entry in self.log.entries]
        return known.index(digest) if digest in known else None

    async def hashes(self, ranges: Sequence[tuple[int, int]], size: int) -> list[bytes]:
        if self.silent:
            raise UnavailableError("log.unavailable", "the log is silent")
        leaves = [self._leaf(entry) for entry in self.log.entries[:size]]
        return [merkle.root(leaves[begin:end]) for begin, end in ranges]

    def _leaf(self, entry: bytes) -> bytes:
        found = self._leaves.get(entry)
        if found is None:
            found = self._leaves[entry] = merkle.leaf_hash(entry)
        return found


@dataclass
class ScriptedFullNode:
    """Implements ``client.full.FullNodeReader`` from what a test put in."""

    name: str
    views: dict[int, RoundView] = field(default_factory=dict)
    blobs: dict[bytes, bytes] = field(default_factory=dict)
    silent: bool = False
    asked: int = 0

    async def status(self) -> StatusView:
        raise AssertionError("nobody asks for this")

    async def finality(self, origin: str, number: int) -> FinalityView | None:
        raise AssertionError("nobody asks for this")

    async def round(self, origin: str, number: int) -> RoundView | None:
        self._note()
        return self.views.get(number)

    async def rounds(self, origin: str, after: int) -> tuple[RoundView, ...]:
        self._note()
        return tuple(
            view for number, view in sorted(self.views.items()) if number > after and view.finality is not None
        )

    async def verdicts(self, blob_id: bytes) -> bytes | None:
        self._note()
        return self.blobs.get(blob_id)

    def _note(self) -> None:
        self.asked += 1
        if self.silent:
            raise UnavailableError("full.unavailable", "silent")


class World:
    """Everything around one gateway; make it inside a running loop and :meth:`start` it."""

    def __init__(self, folder: Path | None = None, upstream: Upstream | None = None) -> None:
        self.network = Network()
        self.network.gateway_document = DOCUMENT
        self.clock = FakeClock()
        self.log = MemoryLog()
        self.tree = MemoryTree(self.log)
        self.nodes = [ScriptedFullNode(node.name) for node in self.network.full_nodes]
        self.models = MovingSource()
        self.computers = [MemoryInferenceNode(self.clock, self.models, f"inference-{number}") for number in (1, 2)]
        """Inference nodes; the second runs again what the first computed."""
        self.memory = ScriptedMemoryNode(self.clock)
        """The memory node; it keeps no rows unless a test gives it some."""
        self.data = ScriptedDataNode()
        """A data node that answers what a test put in."""
        self.intents: list[Intent] = []
        """Which facts chats are given by what they are about."""
        self.network.others = [
            *(node.document for node in self.computers),
            self.memory.document,
            self.data.node.document,
        ]
        self.trust: Trust = self.network.trust()
        self.upstream: Upstream = upstream or ScriptedUpstream()
        self.finals: list[rounds.Candidate] = []
        self.disk = SimulatedDisk(1)
        self._url = f"sqlite:///{folder / 'runs.sqlite'}" if folder else "sqlite://"
        self._life = 0
        self.signs: Signs = "never"
        """For whom the gateway signs in OpenGradient's format."""
        self.enclave: Enclave | None = None
        self.attestations: Attestations | None = None
        """What attests the gateway, where a test wants it attested."""
        self.checkout: Checkout | None = None
        """Who sees to it that answers are paid, where they cost something."""
        self.hub: Histories | None = None
        """Who tells what labels meant, where a test wants a hub."""
        self.wrap_trust: Trust | None = None
        """Trust by which a panel may be encrypted to, where it is another one: the usual one knows no panel."""

    async def start(self, *, most_watchers: int = 8, runs_at_once: int = 64) -> World:
        """Assemble and recover, on the disk and the index as they are."""
        self._life += 1
        self.wal = WriteAheadLog(self.disk.mount(), "wal", 1 << 20)
        self.ledger = Ledger(self.wal, GroupCommit(self.wal, mode="inline"))
        self.indexer = Indexer(SQLRunIndex(self._url), self.ledger)
        self.changes = Changes()
        self.outbox = Outbox(self.ledger, self.indexer, self.log, self.clock, batch=64, on_logged=self._changed)
        self.settlement = Settlement(
            ORIGIN,
            lambda: self.trust,
            self.indexer,
            self.tree,
            self.nodes,
            self.clock,
            poll_s=0.4,
            on_event=self.changes.notify,
        )
        self.settlement._final = self.indexer.index.highest_final()
        self.evidence = EvidenceDesk(
            self.ledger,
            self.indexer,
            self.settlement,
            self.tree,  # type: ignore[arg-type]
            lambda: self.trust,
            parse_policy(DEFAULT_POLICY),
            self.clock,
            attestation_at=self.attestations.at if self.attestations is not None else lambda _: None,
            labels=Labels(self.hub, self.tree, lambda: self.trust) if self.hub is not None else None,
        )
        count = iter(range(1, 1 << 30))
        self.gateway = Gateway(
            IDENTITY,
            self.ledger,
            self.indexer,
            Catalog([self.upstream], {}, self.clock),
            self.clock,
            Limits(30.0, 5.0, 0.0, runs_at_once),
            random_bytes=lambda size: sha256_hex(b"%d/%d" % (self._life, next(count))).encode()[:size],
            on_closed=lambda run, _outcome: self._changed(run),
            answer_signer=AnswerSigner(rsa_signer(), self.clock),
            computing=Computing(self.computers, lambda: self.trust, self.clock),
            remembering=Remembering(self.memory),
            recalling=Recalling(self.memory, lambda: self.trust, self.clock),
            admitting=Admitting(
                [DataNodeClient("data", "http://data.test", Secret("data-key", "test"), self.data)],
                lambda: self.trust,
                clock=self.clock,
                intents=self.intents,
            ),
            wraps=Wraps({"first": PANEL_DOCUMENT}, lambda: self.wrap_trust or self.trust, self.clock, wrap_secret),
        )
        self.desk = RunDesk(self.ledger, self.indexer, self.evidence, self.changes, most_watchers=most_watchers)
        await self.gateway.recover()
        await self.indexer.rebuild()
        await self.gateway.catalog.refresh()
        self.outbox._sent = self.indexer.index.cursor("delivered")
        return self

    def _changed(self, _run: str) -> None:
        self.changes.notify()

    async def _attest(self, nonce: bytes | None) -> Any:
        assert self.attestations is not None
        return await self.attestations.answer(nonce)

    async def stop(self) -> None:
        """Let go of the index and the write-ahead log."""
        if self.gateway._answer_signer is not None:
            self.gateway._answer_signer.close()
        await self.indexer.close()
        await self.ledger.close()

    def app(self, **more: Any) -> MessagesErrors:
        """The gateway's ASGI app with two workspaces."""
        return create_app(self.inner(), **({"request_bytes": 1 << 20, "request_seconds": 1.0} | more))

    def inner(self) -> GatewayApp:
        """The same without its edge."""
        return GatewayApp(
            self.gateway,
            self.desk,
            self.workspaces,
            MemoryMetrics(),
            identity=dict,
            network=dict,
            default_model=None,
            settlement="batch",
            readiness=dict,
            lifespan=_no_lifespan,
            opengradient=self.surface() if self.signs != "never" else None,
            attest=self._attest,
            rerun=self.rerun(),
            influence=self.influence(),
            checkout=self.checkout,
        )

    @property
    def workspaces(self) -> Workspaces:
        """Two of one each, the first with a panel's key and Ada's too, and one whose key everybody has."""
        keys = [
            WorkspaceKey("first", Secret(KEY, "test")),
            WorkspaceKey("second", Secret(OTHER_KEY, "test")),
            WorkspaceKey("first", Secret(PANEL_KEY, "test"), asks_for_others=True),
            WorkspaceKey("first", Secret(ADA_KEY, "test"), person="ada"),
            WorkspaceKey("many", Secret(SHARED_KEY, "test"), shared=True),
        ]
        return Workspaces(keys)

    def influence(self) -> Influence:
        """Asks runs again without rows of memory."""
        return Influence(self.ledger, self.indexer, self.gateway.catalog, self.clock, timeout_s=5.0)

    def rerun(self) -> Rerun:
        """Runs computed runs again."""
        return Rerun(
            self.ledger, self.indexer, self.gateway.computing, self.clock, timeout_s=5.0, on_added=self.changes.notify
        )

    def surface(self) -> Surface:
        """OpenGradient's side of the gateway."""
        signer = self.gateway._answer_signer
        assert signer is not None
        return Surface(
            signer,
            self.signs,
            self.clock,
            0.0,
            lambda: [self.upstream.code],
            lambda: {"enabled": False},
            certificate=b"certificate",
            enclave=self.enclave,
        )

    # Runs

    async def answer(self, **options: Any) -> str:
        """One whole answer; returns the run."""
        more: dict[str, Any] = {"holdfast": options} if options else {}
        run = await self.gateway.open(ask(**more), "first")
        await self.gateway.answer(run)
        return run.id

    async def deliver(self) -> None:
        """Everything that is durable, to the log."""
        while await self.outbox.deliver():
            pass

    async def row(self, run: str) -> Any:
        found = await self.indexer.run(run)
        assert found is not None
        return found

    async def lane(self, run: str, name: str = "settlement") -> Any:
        """One lane of a run, as its readers see it."""
        return (await self.desk.show(await self.row(run)))["lanes"][name]

    async def journal(self, run: str, secret: bytes | None = None) -> list[dict[str, Any]]:
        """The journal of a run's bundle."""
        value = json.loads(await self.desk.bundle(await self.row(run), secret))
        found: list[dict[str, Any]] = value["journal"]
        return found

    # The secure layer

    async def follow(self) -> None:
        """One turn of the settlement follower, as its task takes it."""
        await self.clock.advance(1)
        await self.settlement._step(self.settlement.follow_log)
        await self.settlement._step(self.settlement.follow_rounds)

    async def cosign(self, count: int, *, signer: Any = None) -> None:
        """The log signs its whole tree, and so many full nodes cosign."""
        leaves = [merkle.leaf_hash(entry) for entry in self.log.entries]
        log = signer or self.network.log
        key = VerifierKey(ORIGIN, notes.ED25519, log.key.public)
        raw = notes.sign_checkpoint(Checkpoint(ORIGIN, len(leaves), merkle.root(leaves)), key, log.sign)
        note = notes.parse_note(raw)
        lines = [node.cosign(note.text, self.clock.now()) for node in self.network.full_nodes[:count]]
        self.tree.note = note.with_signatures(lines).raw

    def candidate(
        self,
        number: int = 1,
        *,
        attempt: int = 0,
        size: int | None = None,
        codes: dict[int, str] | None = None,
        serve: bool = True,
    ) -> rounds.Candidate:
        """A candidate over the log as it is. ``codes`` are verdicts other than ``ok``; those on earlier entries
        supersede. Every full node serves its blob unless ``serve`` is false."""
        covered = self.finals[-1].size if self.finals else 0
        size = len(self.log.entries) if size is None else size
        codes = codes or {}
        indices = sorted({*codes, *range(covered, size)})
        entries = [
            rounds.VerdictEntry(index, digest_of(self.log.entries[index]), codes.get(index, self._code(index)))
            for index in indices
        ]
        blob = rounds.verdict_blob(entries)
        for node in self.nodes if serve else ():
            node.blobs[rounds.blob_id(blob)] = blob
        leaves = [merkle.leaf_hash(entry) for entry in self.log.entries[:size]]
        previous = self.finals[-1].content if self.finals else rounds.NO_PREVIOUS
        root = rounds.verdict_root(entries)
        return rounds.Candidate(
            ORIGIN, 1, number, attempt, previous, size, merkle.root(leaves), root, rounds.blob_id(blob)
        )

    def _code(self, index: int) -> str:
        return "cannot_tell" if parse_commitment(self.log.entries[index]) is not None else "ok"

    def show(self, candidate: rounds.Candidate, *, voters: Sequence[int] = (), final: Sequence[int] = ()) -> None:
        """Full nodes show a candidate; those in ``voters`` with their vote, those in ``final`` with their message."""
        for place, (node, keys) in enumerate(zip(self.nodes, self.network.full_nodes, strict=True)):
            votes = (self.vote(keys, candidate),) if place in voters else ()
            message = rounds.parse_finality_message(keys.finality(self.network.domain, candidate))
            node.views[candidate.number] = RoundView(
                origin=candidate.origin,
                number=candidate.number,
                state="final" if place in final else "proposed",
                attempt=candidate.attempt,
                candidate=candidate,
                block=None,
                final_at=None,
                votes=votes,
                voters=(),
                finality=message if place in final else None,
            )

    def vote(self, keys: FullNode, candidate: rounds.Candidate) -> rounds.Vote:
        """A node's signed vote."""
        about = (candidate.origin, candidate.epoch, candidate.number, candidate.attempt, candidate.content)
        return rounds.Vote(*about, keys.vote.sign(rounds.vote_digest(self.network.domain, *about)))

    def finalise(self, candidate: rounds.Candidate, final: Sequence[int] = (0, 1, 2)) -> None:
        """A round that is over: three of four say so unless told otherwise."""
        self.show(candidate, voters=final, final=final)
        self.finals.append(candidate)

    def alter(self, place: int, number: int = 1, **changes: Any) -> None:
        """Let one full node show something else."""
        self.nodes[place].views[number] = replace(self.nodes[place].views[number], **changes)


class _NoLifespan:
    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


def _no_lifespan() -> Any:
    return _NoLifespan()


def play(story: Callable[[World], Awaitable[None]], folder: Path | None = None, **more: Any) -> None:
    """Run a story in a started world, and stop the world."""

    async def main() -> None:
        world = await World(folder, **more).start()
        try:
            await story(world)
        finally:
            await world.stop()

    asyncio.run(main())
