"""Requests on chain for tests: the contract over a settled round, with statements made as nodes make them.

A :class:`AskWorld` makes the request document, its answer and the three statements of a run, and settles rounds with
whatever verdicts a test wants on them. Targets are a few bytes of code each.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any

from holdfast.adapters.asks_evm import EvmAsks, deploy_asks
from holdfast.adapters.chain_evm import EvmChain
from holdfast.core import evm, merkle, rounds
from holdfast.core.asks import FinalRun, Requested, ShownVerdict, ask_nonce, pack_parts
from holdfast.core.canonical import decode_exact
from holdfast.core.computations import BoundTree, Circuit, Computation
from holdfast.core.parts import Commitment, commit, map_parts
from holdfast.core.rounds import ChainDomain, VerdictEntry
from holdfast.core.statements import (
    Execution,
    Route,
    Statement,
    build_envelope,
    build_payload,
    execution_body,
    parse_envelope,
    parse_statement,
    route_body,
)
from tests.helpers.chains import ORIGIN, EvmWorld, next_candidate, propose, start_epoch, vote

RUN = "00000000-0000-4000-8000-000000000007"
KEY = b"\x07" * 32
ARTIFACT = "ab" * 32
REQUEST = b'{"model":"m","inputs":{"x":{"dtype":"float32","shape":[1,2],"data":[1,2.5]}}}'
RESPONSE = (
    b'{"object":"inference","model":"m","artifact":"%s","mode":"VANILLA",'
    b'"outputs":{"y":{"dtype":"float32","shape":[1],"data":[3.5]}}}' % ARTIFACT.encode()
)
AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

RECORDER = bytes.fromhex("365f5f37365f205f5500")
"""Keeps the Keccak-256 of what it is called with in slot 0."""
REVERTER = bytes.fromhex("5f5ffd")
EATER = bytes.fromhex("5b5f56")
"""Jumps in a circle until its gas is used up."""
BOMB = bytes.fromhex("620f42405ff3")
"""Returns a million bytes."""


def statement_of(payload: bytes) -> Statement:
    """A payload with a signature that nobody checks here."""
    return parse_statement(parse_envelope(build_envelope(payload, "00" * 32, b"\x00" * 64)))


@dataclasses.dataclass
class MadeRun:
    """A run as its statements tell it; tests change what they like before it is settled."""

    nonce: str
    request: Commitment
    response: Commitment
    computed: Statement
    route: Statement
    closing: Statement
    proved: Statement


def make_run(nonce: str, *, request: bytes = REQUEST, response: bytes = RESPONSE, **changes: Any) -> MadeRun:
    """The statements of one computed run. ``changes`` replace members of closing or computed bodies, and ``key``."""
    key = changes.get("key", KEY)
    asked, answered = commit("request", request, key), commit("response", response, key)
    how = Computation(
        ARTIFACT, "VANILLA", "onnxruntime", "1.2", "basic", 1, "x86-64-v3", 1,
        BoundTree(asked.tree.root, asked.tree.size),
    )  # fmt: skip
    circuit = Circuit("55" * 32, "66" * 32, "development")
    if changes.get("mode") == "ZKML":
        how = dataclasses.replace(how, mode="ZKML", circuit=circuit)
    ran = Execution("computed", "complete", answered.tree, None, "onnxruntime", how)
    about: dict[str, Any] = {"run": RUN, "attester": "11" * 32, "claimed_at": AT, "nonce": nonce}
    subject = ("response", answered.tree.root)
    computed = build_payload("execution", parents=(), subject=subject, body=execution_body(ran), **about)
    parent = statement_of(computed).digest
    way = Route(asked.tree, asked.tree, "inference", "inference", (), (), cached=False, settlement="batch",
                streamed=False)  # fmt: skip
    route = build_payload(
        "route",
        parents=[parent, *changes.get("admitted", ())],
        subject=("request", asked.tree.root),
        body=route_body(way),
        **about,
    )
    end = Execution("generated", "complete", changes.get("closing_response", answered).tree, None, "inference")
    parents = changes.get("parents", (statement_of(route).digest, parent))
    closing = build_payload(
        "execution",
        parents=parents,
        subject=("response", changes.get("closing_response", answered).tree.root),
        body=execution_body(end),
        **about,
    )
    shown = dataclasses.replace(
        ran, event="proved", computation=dataclasses.replace(how, mode="ZKML", circuit=circuit), proof=b"\x77" * 32
    )
    proved = build_payload(
        "execution", parents=[changes.get("proof_of", parent)], subject=subject, body=execution_body(shown), **about
    )
    return MadeRun(nonce, asked, answered, *map(statement_of, (computed, route, closing, proved)))


class AskWorld(EvmWorld):
    """``Rounds`` and ``Inference`` on the development chain. Signers 0 to 3 vote, 4 asks, 0 serves."""

    asks: ChainDomain

    async def open(self) -> None:
        await super().open()
        await self.set_up()

    async def set_up(self) -> None:
        """Begin an epoch and deploy ``Inference`` on a chain that is there."""
        await start_epoch(self)
        self.asks, self.first_block = await deploy_asks(self.connection, self.signers[0], self.domain, ORIGIN)
        self._seen = 0

    def user(self, index: int) -> EvmAsks:
        """The contract as this signer uses it."""
        client = self.client(index)
        assert isinstance(client, EvmChain)
        return EvmAsks(self.connection, self.asks, client.sender)

    async def deploy_code(self, runtime: bytes) -> str:
        """An account with this code."""
        client = self.client(0)
        assert isinstance(client, EvmChain)
        size = len(runtime)
        init = bytes([0x60, size, 0x60, 0x0C, 0x60, 0, 0x39, 0x60, size, 0x60, 0, 0xF3]) + runtime
        _, created = await client.sender.transact(None, init)
        assert created is not None
        return created

    async def ask(self, index: int = 4, document: bytes = REQUEST, **more: Any) -> Requested:
        """A request for a document."""
        packed = pack_parts(map_parts("request", decode_exact(document)))
        return await self.user(index).request(packed, **{"fee": 1000, **more})

    def run_for(self, requested: Requested, payee: int = 0, **changes: Any) -> MadeRun:
        """A run that a signer had made for a request."""
        return make_run(ask_nonce(requested.identity, self.signers[payee].address), **changes)

    async def settle_run(
        self, run: MadeRun, codes: Sequence[str] = ("ok", "ok", "ok"), *, final: bool = True, among: int = 0
    ) -> FinalRun:
        """A round with these verdicts on computed, route, closing and, if there are four, on proved; ``among`` more are
        on other entries."""
        statements = (run.computed, run.route, run.closing, run.proved)[: len(codes)]
        entries = [
            VerdictEntry(self._seen + place, bytes.fromhex(statement.digest), code)
            for place, (statement, code) in enumerate(zip(statements, codes, strict=True))
        ]
        first = self._seen + len(entries)
        entries += [VerdictEntry(first + more, evm.keccak256(b"%d" % more), "ok") for more in range(among)]
        self._seen += len(entries)
        candidate = await next_candidate(
            self,
            grow=len(entries),
            root=evm.keccak256(b"root %d" % self._seen),
            verdict_root=rounds.verdict_root(entries),
            blob_id=rounds.blob_id(rounds.verdict_blob(entries)),
        )
        await propose(self, candidate)
        if final:
            await vote(self, candidate, range(4))
        leaves = [merkle.leaf_hash(entry.leaf) for entry in entries]
        verdicts = {}
        for place, entry in enumerate(entries):
            digest, path = entry.statement_digest.hex(), tuple(merkle.inclusion_proof(leaves, place))
            shown = ShownVerdict(candidate.number, entry.index, digest, entry.code, place, len(entries), path)
            verdicts[digest] = shown
        proved = run.proved if len(codes) == 4 else None
        return FinalRun(run.computed, run.route, run.closing, verdicts, proved)
