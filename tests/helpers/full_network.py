"""A network of full nodes in one process: simulated chain, disk and clock, a log that can lie, peers that can lie.

Everything is stepped by hand and follows from the seed, so a failing schedule fails again. The nodes are the real
:class:`~holdfast.nodes.full.service.FullNode` on real signatures; only the world around them is simulated.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from holdfast.adapters.chain_simulated import SimulatedChain, SimulatedChainClient
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.signer_files import FileSigner
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.adapters.wal import WriteAheadLog
from holdfast.client.full import (
    FinalityView,
    RoundView,
    StatusView,
    parse_finality,
    parse_round,
    parse_rounds,
    parse_status,
)
from holdfast.core import canonical, evm, merkle, notes, rounds, statements, trust, witness
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.core.keys import KeyDocument, build_key_document
from holdfast.core.notes import Checkpoint, VerifierKey
from holdfast.core.rounds import Candidate
from holdfast.core.statements import Execution, Route, Tree
from holdfast.errors import HoldfastError, RefusedError, UnavailableError
from holdfast.nodes.full.service import FullNode
from holdfast.nodes.full.settle import SettleLimits
from holdfast.ports.chain import Inclusion, Member, RoundsSettings

ORIGIN = "holdfast.test/log/1"
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
STAKE = 100


def ed25519_signer(name: str, use: str) -> FileSigner:
    """A key that follows from its name."""
    seed = hashlib.sha256(f"{name}/{use}".encode()).digest()
    return FileSigner(ed25519.Ed25519PrivateKey.from_private_bytes(seed), use)


class FakeClock:
    """Moves when told to; ``sleep`` only yields."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> dt.datetime:
        return START + dt.timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


def run_id(number: int) -> str:
    """A version 4 UUID that follows from a number."""
    raw = bytearray(hashlib.sha256(b"run %d" % number).digest()[:16])
    raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))


@dataclass
class Gateway:
    """Makes statements as a gateway does."""

    clock: FakeClock
    signer: FileSigner = field(default_factory=lambda: ed25519_signer("gateway", "statement"))
    document: KeyDocument = field(init=False)

    def __post_init__(self) -> None:
        self.document = build_key_document("gateway", ["gateway"], "test", [self.signer.key])

    def seal(self, payload: bytes, signer: FileSigner | None = None) -> bytes:
        """An envelope; another signer makes a forged one."""
        signature = (signer or self.signer).sign(statements.pre_authentication_encoding(payload))
        return statements.build_envelope(payload, self.signer.key.key_id, signature)

    def route(self, number: int, *, at: dt.datetime | None = None) -> bytes:
        """The payload of a run's route statement."""
        tree = Tree(hashlib.sha256(b"request %d" % number).digest(), 3)
        route = Route(tree, tree, "chat.completions", "stub", (), (), cached=False, settlement="batch", streamed=False)
        return statements.build_payload(
            "route",
            run=run_id(number),
            attester=self.document.digest,
            claimed_at=at or self.clock.now(),
            parents=[],
            subject=("request", tree.root),
            body=statements.route_body(route),
        )

    def execution(self, number: int, parents: Sequence[str], *, at: dt.datetime | None = None, salt: str = "") -> bytes:
        """The payload of a run's closing execution statement; ``salt`` makes another one."""
        tree = Tree(hashlib.sha256(f"response {number}{salt}".encode()).digest(), 3)
        execution = Execution("generated", "complete", tree, None, "stub")
        return statements.build_payload(
            "execution",
            run=run_id(number),
            attester=self.document.digest,
            claimed_at=at or self.clock.now(),
            parents=parents,
            subject=("response", tree.root),
            body=statements.execution_body(execution),
        )

    def run(self, number: int, *, at: dt.datetime | None = None) -> list[bytes]:
        """The two entries of an ordinary run."""
        route = self.route(number, at=at)
        execution = self.execution(number, [hashlib.sha256(route).hexdigest()], at=at)
        return [self.seal(route), self.seal(execution)]


class SimulatedLog:
    """A log in memory. ``fork`` makes a second history signed by the same key; ``withhold`` stops serving entries."""

    def __init__(self, signer: FileSigner, origin: str = ORIGIN) -> None:
        self.entries_held: list[bytes] = []
        self.origin = origin
        self.key = VerifierKey(origin, notes.ED25519, signer.key.public)
        self.withhold = False
        self.silent = False
        self.serve_other: dict[int, bytes] = {}
        """Entries that are served wrongly, by index."""
        self._signer = signer

    def append(self, entries: Sequence[bytes]) -> None:
        self.entries_held.extend(entries)

    def fork(self, size: int) -> SimulatedLog:
        """Another history with the first ``size`` entries in common."""
        other = SimulatedLog(self._signer, self.origin)
        other.entries_held = self.entries_held[:size]
        return other

    def leaves(self, size: int | None = None) -> list[bytes]:
        return [merkle.leaf_hash(entry) for entry in self.entries_held[:size]]

    def note(self, size: int | None = None) -> bytes:
        """A checkpoint over the first ``size`` entries, signed."""
        leaves = self.leaves(size)
        return notes.sign_checkpoint(
            Checkpoint(self.origin, len(leaves), merkle.root(leaves)), self.key, self._signer.sign
        )

    async def checkpoint(self) -> bytes:
        await asyncio.sleep(0)
        if self.silent:
            raise UnavailableError("http.unreachable", "the log does not answer")
        return self.note()

    async def entries(self, begin: int, end: int, size: int) -> list[bytes]:
        await asyncio.sleep(0)
        if self.withhold or self.silent or end > len(self.entries_held):
            raise RefusedError("log.withheld", "the log does not serve this")
        return [self.serve_other.get(index, self.entries_held[index]) for index in range(begin, end)]

    async def hashes(self, ranges: Sequence[tuple[int, int]], size: int) -> list[bytes]:
        await asyncio.sleep(0)
        if self.withhold or self.silent or size > len(self.entries_held):
            raise RefusedError("log.withheld", "the log does not serve this")
        leaves = self.leaves(size)
        return [merkle.root(leaves[begin:end]) for begin, end in ranges]


class View:
    """What one node reads: a log that can be swapped for another history."""

    def __init__(self, log: SimulatedLog) -> None:
        self.log = log

    async def checkpoint(self) -> bytes:
        return await self.log.checkpoint()

    async def entries(self, begin: int, end: int, size: int) -> list[bytes]:
        return await self.log.entries(begin, end, size)

    async def hashes(self, ranges: Sequence[tuple[int, int]], size: int) -> list[bytes]:
        return await self.log.hashes(ranges, size)


def through_json(value: Any) -> Any:
    """As it arrives over HTTP."""
    return canonical.decode(canonical.encode(value))


class SimulatedPeer:
    """How one node reads another: through the same JSON as over HTTP. Subclass it to lie."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat

    @property
    def name(self) -> str:
        return self.seat.name

    def _node(self) -> FullNode:
        if self.seat.node is None or self.seat.mute:
            raise UnavailableError("http.unreachable", f"{self.name} does not answer")
        return self.seat.node

    async def status(self) -> StatusView:
        return parse_status(through_json(self._node().status()))

    async def round(self, origin: str, number: int) -> RoundView | None:
        try:
            value = self._node().round(origin, number)
        except HoldfastError as error:
            if error.status == 404:
                return None
            raise
        return parse_round(through_json(self.seat.alter("round", value)))

    async def rounds(self, origin: str, after: int) -> tuple[RoundView, ...]:
        value = self._node().rounds(origin, after, 100)
        return parse_rounds(through_json(self.seat.alter("rounds", value)))

    async def finality(self, origin: str, number: int) -> FinalityView | None:
        try:
            return parse_finality(through_json(self._node().finality(origin, number)))
        except HoldfastError as error:
            if error.status == 404:
                return None
            raise

    async def verdicts(self, blob_id: bytes) -> bytes | None:
        if self.seat.withholds_blobs:
            return None
        return self._node().archive.load_blob(blob_id)


class DirectCommitter:
    """Appends and syncs at once, so that a crash of the simulated disk reaches whoever commits."""

    def __init__(self, wal: WriteAheadLog) -> None:
        self._wal = wal

    async def commit(self, kind: int, payload: bytes) -> int:
        return (await self.commit_many(((kind, payload),)))[0]

    async def commit_many(self, records: Iterable[tuple[int, bytes]]) -> list[int]:
        positions = [self._wal.append(kind, payload) for kind, payload in records]
        self._wal.sync()
        return positions


class Audit:
    """Everything that ever left any life of any node under its signature. Raises when a promise is broken."""

    def __init__(self) -> None:
        self.votes: dict[tuple[str, str, int, int, int], bytes] = {}
        self.finality: dict[tuple[str, int], tuple[int, bytes]] = {}
        self.cosigned: dict[str, tuple[int, bytes]] = {}

    def vote(self, signer: str, origin: str, epoch: int, number: int, attempt: int, content: bytes) -> None:
        first = self.votes.setdefault((signer, origin, epoch, number, attempt), content)
        if first != content:
            raise AssertionError(f"{signer} voted twice in round {number} attempt {attempt}")

    def finality_message(self, signer: str, message: dict[str, Any]) -> None:
        said = (message["epoch"], bytes.fromhex(message["content"]))
        if self.finality.setdefault((signer, message["number"]), said) != said:
            raise AssertionError(f"{signer} made two finality messages in round {message['number']}")

    def cosignature(self, name: str, size: int, root: bytes) -> None:
        before = self.cosigned.get(name, (0, b""))
        if size < before[0] or (size == before[0] > 0 and root != before[1]):
            raise AssertionError(f"{name} cosigned {size} after {before[0]}")
        self.cosigned[name] = (size, root)


class AuditedChain:
    """A node's view of the chain; every signature that passes is told to the audit before it can have an effect."""

    def __init__(self, seat: Seat, chain: SimulatedChainClient, audit: Audit) -> None:
        self._seat = seat
        self._chain = chain
        self._audit = audit
        self._domain = chain.domain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    async def submit_candidate(self, candidate: Candidate, signature: bytes) -> Inclusion:
        digest = rounds.vote_digest(
            self._domain,
            candidate.origin,
            candidate.epoch,
            candidate.number,
            candidate.attempt,
            candidate.content,
        )
        attempt = (candidate.origin, candidate.epoch, candidate.number, candidate.attempt)
        self._audit.vote(evm.recover(digest, signature), *attempt, candidate.content)
        self._seat.on_the_wire("before")
        found = await self._chain.submit_candidate(candidate, signature)
        self._seat.on_the_wire("after")
        return found

    async def submit_votes(
        self, origin: str, number: int, attempt: int, content: bytes, signatures: Sequence[bytes]
    ) -> Inclusion:
        for signature in signatures:
            digest = rounds.vote_digest(self._domain, origin, 1, number, attempt, content)
            self._audit.vote(evm.recover(digest, signature), origin, 1, number, attempt, content)
        self._seat.on_the_wire("before")
        found = await self._chain.submit_votes(origin, number, attempt, content, signatures)
        self._seat.on_the_wire("after")
        return found


class Seat:
    """One full node's place in the network: keys and disk, which outlive the processes that use them."""

    def __init__(self, name: str, seed: int, log: SimulatedLog) -> None:
        self.name = name
        self.vote = Secp256k1Signer(hashlib.sha256(f"{name}/vote".encode()).digest())
        self.cosignature = ed25519_signer(name, "cosignature")
        self.document = build_key_document(name, ["full"], "test", [self.cosignature.key, self.vote.key])
        self.disk = SimulatedDisk(seed)
        self.view = View(log)
        self.node: FullNode | None = None
        self.mute = False
        self.withholds_blobs = False
        self.alter: Callable[[str, Any], Any] = lambda _, value: value
        self.on_the_wire: Callable[[str], None] = lambda _: None
        """Called when a signature has left the node, before and after it reaches the chain; may raise."""
        self.chain: SimulatedChainClient | None = None
        self.starts = 0

    @property
    def address(self) -> str:
        return self.vote.address

    @property
    def up(self) -> FullNode:
        if self.node is None:
            raise AssertionError(f"{self.name} is down")
        return self.node


class Network:
    """Full nodes with equal stake, one log, one gateway, one chain."""

    def __init__(
        self,
        count: int = 4,
        *,
        seed: int = 0,
        depth: int = 1,
        timeout_s: int = 10,
        interval_s: float = 0.0,
        origins: Sequence[str] = (ORIGIN,),
    ) -> None:
        self.clock = FakeClock()
        self.audit = Audit()
        self.gateway = Gateway(self.clock)
        self.log_signer = ed25519_signer("log", "log")
        self.log_document = build_key_document("log", ["log"], "test", [self.log_signer.key])
        self.logs = {origin: SimulatedLog(self.log_signer, origin) for origin in origins}
        self.log = self.logs[ORIGIN]
        seats = [Seat(f"full-{place}", seed * 1000 + place, self.log) for place in range(1, count + 1)]
        self.seats = sorted(seats, key=lambda seat: seat.address)
        self.governor = "0x" + "11" * 20
        self.chain = SimulatedChain(
            self.clock,
            seed=seed,
            governor=self.governor,
            balances={self.governor: 10**6},
            settings=RoundsSettings(timeout_s, 3600, 0),
        )
        self.depth = depth
        self.limits = SettleLimits(interval_s=interval_s)
        self.root_signer = ed25519_signer("root", "statement")
        self.trust_payloads: list[bytes] = []
        self.revocations: dict[str, dict[str, str]] = {}
        self.guests: list[KeyDocument] = []
        """Further nodes that the next trust version admits."""
        self.add_trust_version()
        self.runs = 0

    # The world

    @property
    def members(self) -> list[Member]:
        return [Member(seat.address, STAKE) for seat in self.seats]

    async def open(self) -> None:
        """Deposit stakes, announce the epoch, start every node."""
        bank = self.chain.client(self.governor)
        for seat in self.seats:
            await bank.deposit(seat.address, STAKE)
        await bank.announce_epoch(0, self.members)
        for seat in self.seats:
            await self.start(seat)

    def trust_file(self) -> bytes:
        """The trust file with every version so far."""
        key_id = self.root_signer.key.key_id
        versions = []
        for payload in self.trust_payloads:
            message = statements.pre_authentication_encoding(payload, trust.TRUST_PAYLOAD_TYPE)
            versions.append((payload, [(key_id, self.root_signer.sign(message))]))
        return trust.build_trust_chain(versions)

    def add_trust_version(self) -> None:
        """A new version that says what holds now; ``revocations`` maps node digests to revocations."""
        begin, end = time_encode(START - dt.timedelta(days=1)), time_encode(START + dt.timedelta(days=365))
        seated = [seat.document for seat in self.seats]
        documents = [self.gateway.document, self.log_document, *seated, *self.guests]
        key = self.root_signer.key
        value: dict[str, Any] = {
            "type": trust.TRUST_TYPE,
            "version": len(self.trust_payloads) + 1,
            "issued_at": begin,
            "expires_at": end,
            "development": True,
            "root": {"threshold": 1, "keys": [{"algorithm": key.algorithm, "public": b64_encode(key.public)}]},
            "nodes": [
                {
                    "key_document": b64_encode(document.raw),
                    "valid_from": begin,
                    "valid_until": end,
                    "revoked": self.revocations.get(document.digest),
                }
                for document in documents
            ],
            "logs": [
                {"origin": origin, "node": self.log_document.digest, "valid_from": begin, "valid_until": end}
                for origin in self.logs
            ],
            "epochs": [
                {
                    "origin": origin,
                    "number": 1,
                    "first_round": 1,
                    "stakes": [{"node": seat.document.digest, "stake": STAKE} for seat in self.seats],
                    "valid_from": begin,
                    "valid_until": end,
                }
                for origin in self.logs
            ],
            "chains": [
                {
                    "origin": origin,
                    "chain_id": self.chain.domain.chain_id,
                    "contract": self.chain.domain.contract,
                    "finality_depth": self.depth,
                    "development": True,
                }
                for origin in self.logs
            ],
            "enclave_roots": [],
            "measurements": [],
        }
        self.trust_payloads.append(canonical.encode(value))

    # Nodes

    async def start(self, seat: Seat) -> FullNode:
        """A new process on the seat's disk."""
        storage = seat.disk.mount()
        wal = WriteAheadLog(storage, "journal", 1 << 18)
        seat.chain = self.chain.client(seat.address, finality_depth=self.depth)
        seat.starts += 1
        node = FullNode(
            seat.document,
            vote_signer=seat.vote,
            cosignature_signer=seat.cosignature,
            logs={**self.logs, ORIGIN: seat.view},
            chain=AuditedChain(seat, seat.chain, self.audit),  # type: ignore[arg-type]
            storage=storage,
            committer=DirectCommitter(wal),
            records=wal.records,
            peers=[SimulatedPeer(other) for other in self.seats if other is not seat],
            clock=self.clock,
            trust_file=self.trust_file,
            metrics=MemoryMetrics(),
            limits=self.limits,
        )
        await node.start()
        seat.node = node
        return node

    def stop(self, seat: Seat) -> None:
        """Kill a node; what it had not synced may be lost."""
        seat.node = None
        seat.disk.crash("power")

    async def cosign(self, seat: Seat, log: SimulatedLog | None = None) -> None:
        """The log asks a node for a cosignature, as the log node does; the answer is audited."""
        log = log or self.log
        size = seat.up.journal.origins[ORIGIN].cosigned_size
        leaves = log.leaves()
        proof = merkle.consistency_proof(leaves, size) if size else []
        answer = await seat.up.add_checkpoint(witness.build_add_checkpoint(size, proof, log.note()))
        notes.parse_signature_lines(answer)
        self.audit.cosignature(seat.name, len(leaves), merkle.root(leaves))

    def listen_to(self, seat: Seat) -> None:
        """Read every finality message a node serves, and audit its own."""
        state = seat.up.journal.origins[ORIGIN]
        for view in seat.up.rounds(ORIGIN, max(0, state.spoken - 100), 100)["rounds"]:
            if view["finality"] is not None:
                self.audit.finality_message(seat.address, view["finality"])

    async def step(self, seat: Seat) -> None:
        """One turn of everything a node does."""
        node = seat.node
        if node is None:
            return
        for origin in self.logs:
            while await node.step_log(origin):
                pass
            await node.step_rounds(origin)
            await node.step_peers(origin)

    async def steps(self, count: int = 1, *, seconds: float = 1.0) -> None:
        """``count`` turns of every node, with time passing and blocks coming."""
        for _ in range(count):
            for seat in self.seats:
                await self.step(seat)
            self.clock.advance(seconds)
            self.chain.mine()

    async def until(self, done: Callable[[], bool], *, most: int = 60) -> None:
        """Turns until ``done``, or the test fails."""
        for _ in range(most):
            if done():
                return
            await self.steps()
        states = [seat.node.status()["rounds"] for seat in self.seats if seat.node is not None]
        raise AssertionError(f"not done after {most} turns: {states}")

    # What it did

    def answer(self, count: int = 1) -> None:
        """Ordinary runs are logged."""
        for _ in range(count):
            self.log.append(self.gateway.run(self.runs))
            self.runs += 1

    def final_rounds(self) -> list[Any]:
        """Every final round on chain, newest block's view."""
        finals = self.chain.state.finals
        return [finals[key] for key in sorted(finals) if key[0] == ORIGIN]

    def codes(self) -> dict[int, str]:
        """What final rounds say of each entry, superseded by later rounds, from any node's blobs."""
        from holdfast.core.rounds import parse_verdict_blob  # noqa: PLC0415

        said: dict[int, str] = {}
        for final in self.final_rounds():
            blobs = (
                seat.node.archive.load_blob(final.candidate.blob_id) for seat in self.seats if seat.node is not None
            )
            blob = next((blob for blob in blobs if blob is not None), None)
            if blob is None:
                raise AssertionError(f"nobody has the verdicts of round {final.candidate.number}")
            said.update({entry.index: entry.code for entry in parse_verdict_blob(blob)})
        return said

    def all_final(self, *, seats: Sequence[Seat] | None = None) -> bool:
        """Whether every log entry is covered and every node that is up has spoken on and adopted everything."""
        finals = self.final_rounds()
        covered = finals[-1].candidate.size if finals else 0
        if covered < len(self.log.entries_held):
            return False
        for seat in seats or self.seats:
            if seat.node is not None:
                state = seat.node.journal.origins[ORIGIN]
                if state.spoken < len(finals) or state.adopted.number < len(finals):
                    return False
        return True
