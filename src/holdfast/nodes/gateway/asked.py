"""Runs that contracts ask for: watched on the chain, run like any other, and fulfilled once they are final
(``spec/onchain.md`` §10).

Rules:

* The chain is the only memory: what is open there after a restart is run again, under the same nonce.
* A request is read under as many blocks as the settings say, served only where it pays enough, and asks for nothing
  that the settings do not allow.
* Nothing is handed over before a final round calls the whole closure ``ok``; the contract checks the same again.
* A request that names this node and cannot be served is refused with the reason's code, and its fee goes back.

What becomes of a request is a task of its own; no caller of this gateway waits for any.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.core.asks import (
    Ask,
    Ending,
    FinalRun,
    Requested,
    ShownVerdict,
    ask_nonce,
    build_fulfilment,
    build_refutation,
    document_of,
    is_closing_pair,
    pack_parts,
    unpack_parts,
)
from holdfast.core.bundles import StatementItem, VerdictItem, parse_bundle
from holdfast.core.evm import ZERO_ADDRESS
from holdfast.core.parts import Commitment, commit
from holdfast.core.statements import Execution, Statement
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UndecidedError
from holdfast.nodes.gateway.evidence import EvidenceDesk
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.request import parse_ask
from holdfast.nodes.gateway.service import Gateway
from holdfast.ports.chain import Inclusion
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics

_LOG = logging.getLogger("holdfast.gateway.asked")
WORKSPACE = "onchain"
"""The workspace of these runs; no key opens it."""
TRIES = 3
"""Runs that are begun for one request before it is refused."""
MOST_OPEN = 256
"""Requests that are looked after at once; more wait on the chain."""
LATE_S = 120
"""A run of mode ``ZKML`` waits for its proof until so long before the request's deadline."""
_WAITING = (UnavailableError, UndecidedError)
"""What passes by itself."""


class Asking(Protocol):
    """:class:`holdfast.adapters.asks_evm.EvmAsks`, as much as is used of it here."""

    @property
    def account(self) -> str:
        """Who pays for calls, and is paid."""
        ...

    async def height(self) -> int:
        """The newest block that is believed."""
        ...

    async def now(self) -> int:
        """The time of the newest block, unix seconds."""
        ...

    async def state(self, identity: bytes) -> str:
        """How a request stands."""
        ...

    async def requested(self, first: int, last: int) -> list[Requested]:
        """The requests of some blocks."""
        ...

    async def find(self, identity: bytes, first: int) -> Requested | None:
        """One request."""
        ...

    async def ending(self, identity: bytes, first: int) -> Ending | None:
        """What became of a request, as far as it is believed."""
        ...

    async def fulfil(self, arguments: Sequence[Any]) -> Inclusion:
        """Hand over a result."""
        ...

    async def refute(self, arguments: Sequence[Any]) -> Inclusion:
        """End a request whose run was refuted."""
        ...

    async def refuse(self, ask: Ask, reason: str) -> Inclusion:
        """Say that a request will not be served."""
        ...

    async def close(self) -> None:
        """Let go of the chain."""
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """Which requests are served."""

    first_block: int
    """Where the contract's events begin."""
    least_fee: int = 0
    """Base units of the chain's coin."""
    most_gas: int = 3_000_000
    """Of the call to a target."""
    anybodys: bool = False
    """Whether requests that name no node are served too."""
    at_once: int = 4
    poll_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Served:
    """A run that was made for a request: its documents as they were bound."""

    run: str
    request: Commitment
    response: Commitment


class Asked:
    """See the module."""

    def __init__(
        self,
        asks: Asking,
        gateway: Gateway,
        evidence: EvidenceDesk,
        indexer: Indexer,
        clock: Clock,
        metrics: Metrics,
        terms: Terms,
    ) -> None:
        self.asks = asks
        self.terms = terms
        self._gateway = gateway
        self._evidence = evidence
        self._indexer = indexer
        self._clock = clock
        self._metrics = metrics
        self._next = terms.first_block
        self._turns = asyncio.Semaphore(terms.at_once)
        self._open = 0
        self._trouble = ""

    async def work(self) -> None:
        """Look for requests, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                for requested in await self.look():
                    group.create_task(self.serve(requested))
                await self._clock.sleep(self.terms.poll_s)

    async def look(self) -> list[Requested]:
        """Requests that were not seen yet and that are for this gateway. Nothing while the chain is silent."""
        if self._open >= MOST_OPEN:
            return []
        try:
            height = await self.asks.height()
            found = await self.asks.requested(self._next, height) if height >= self._next else []
        except HoldfastError as error:
            self._say(error)
            return []
        self._next = max(self._next, height + 1)
        mine = [item for item in found if self._is_mine(item.ask)]
        self._open += len(mine)
        return mine

    def _is_mine(self, ask: Ask) -> bool:
        return ask.node == self.asks.account or (self.terms.anybodys and ask.node == ZERO_ADDRESS)

    async def serve(self, requested: Requested) -> None:
        """Everything about one request, until it ends."""
        served: Served | None = None
        tries = 0
        try:
            while await self._is_open(requested):
                try:
                    if served is None:
                        tries += 1
                        served = await self._run(requested)
                    if await self._finish(requested, served):
                        return None
                except _WAITING as error:
                    self._say(error)
                    if served is None and tries >= TRIES:
                        return await self._refuse(requested, error)
                except HoldfastError as error:
                    return await self._refuse(requested, error)
                await self._clock.sleep(self.terms.poll_s)
        finally:
            self._open -= 1

    async def _is_open(self, requested: Requested) -> bool:
        """Whether it can still be fulfilled. Asked again while the chain is silent."""
        while True:
            try:
                if await self.asks.now() > requested.ask.deadline:
                    return False
                return await self.asks.state(requested.identity) == "open"
            except HoldfastError as error:
                self._say(error)
            await self._clock.sleep(self.terms.poll_s)

    async def _run(self, requested: Requested) -> Served:
        """Have the run made. Raises ``ask.*``, what the gateway refuses and what its inference nodes do."""
        ask = requested.ask
        if ask.fee < self.terms.least_fee or ask.gas_limit > self.terms.most_gas:
            raise RefusedError("ask.terms", "the request pays too little, or wants too much gas for its target")
        text = document_of(unpack_parts(requested.packed))
        nonce = ask_nonce(requested.identity, self.asks.account)
        headers = {b"x-holdfast-nonce": nonce.encode()}
        wanted = parse_ask("inference", text, headers, default_model=None, settlement="batch")
        if "holdfast" in wanted.value:
            raise RefusedError("ask.member", "on chain a request has no member holdfast")
        async with self._turns:
            run = await self._gateway.open(wanted, WORKSPACE)
            body = await self._gateway.answer(run)
        response = commit("response", body, run.bound.key)
        pack_parts(response.parts)
        self._metrics.count("holdfast_gateway_asked_total", "run")
        return Served(run.id, run.bound.request, response)

    async def _finish(self, requested: Requested, served: Served) -> bool:
        """Fulfil or refute, once the run is final; whether that was done."""
        final = await self._final(served.run)
        if final is None:
            return False
        refuted = final.refuted
        if refuted is not None:
            if requested.ask.node == self.asks.account:
                await self.asks.refute(build_refutation(requested.ask, self.asks.account, *refuted))
            self._ended(requested, "refuted")
            return True
        if not final.settled or await self._awaits_proof(requested, final):
            return False
        given = build_fulfilment(
            requested.ask, self.asks.account, requested.packed, served.request, served.response, final
        )
        await self.asks.fulfil(given)
        self._ended(requested, "fulfilled")
        return True

    async def _awaits_proof(self, requested: Requested, final: FinalRun) -> bool:
        body = final.computed.body
        provable = isinstance(body, Execution) and body.computation is not None and body.computation.mode == "ZKML"
        return provable and not final.is_proved and await self.asks.now() < requested.ask.deadline - LATE_S

    async def _final(self, run: str) -> FinalRun | None:
        """The closure of a run with the newest final verdicts on it; None before there is one on each."""
        row = await self._indexer.run(run)
        if row is None or row.execution_index is None:
            return None
        if await self._indexer.call(self._indexer.index.first_covering, "final", row.execution_index) is None:
            return None
        bundle = parse_bundle(await self._evidence.bundle(row))
        items = [entry.item for entry in bundle.journal]
        statements = [item.statement for item in items if isinstance(item, StatementItem)]
        return closure(statements, [item for item in items if isinstance(item, VerdictItem)])

    async def _refuse(self, requested: Requested, error: HoldfastError) -> None:
        """A request that names nobody is left to others."""
        _LOG.info("a request on chain is not served: %s", error, extra={"code": error.code})
        if requested.ask.node != self.asks.account:
            return
        try:
            await self.asks.refuse(requested.ask, error.code)
        except HoldfastError as trouble:  # ended meanwhile, or silent: then it expires
            self._say(trouble)
            return
        self._ended(requested, "refused")

    def _ended(self, requested: Requested, how: str) -> None:
        self._trouble = ""
        self._metrics.count("holdfast_gateway_asked_total", how)
        _LOG.info("request %s on chain was %s", requested.identity.hex()[:16], how)

    def _say(self, error: HoldfastError) -> None:
        """Once for each trouble in a row."""
        if error.code != self._trouble:
            _LOG.warning("a request on chain waits: %s", error, extra={"code": error.code})
        self._trouble = error.code


def closure(statements: Sequence[Statement], verdicts: Sequence[VerdictItem]) -> FinalRun | None:
    """The execution closure of a computed run (``trace.md`` §3) with the newest verdict on each statement; None while
    one has none."""
    computed = next((item for item in statements if _event(item) == "computed"), None)
    route = next((item for item in statements if item.kind == "route"), None)
    closing = next((item for item in statements if _event(item) in ("generated", "failed", "interrupted")), None)
    if computed is None or route is None or closing is None:
        return None
    newest: dict[str, ShownVerdict] = {}
    for item in sorted(verdicts, key=lambda item: item.number):
        digest = item.entry.statement_digest.hex()
        newest[digest] = ShownVerdict(
            item.number, item.entry.index, digest, item.entry.code, item.position, item.size, item.proof
        )
    proved = next((item for item in statements if _event(item) == "proved" and item.digest in newest), None)
    final = FinalRun(computed, route, closing, newest, proved)
    if any(statement.digest not in newest for statement in final.statements):
        return None
    if final.settled and not is_closing_pair(computed, closing):
        raise RefusedError("ask.statement", "the run was closed by another statement than a fulfilment takes")
    return final


def _event(statement: Statement) -> str:
    return statement.body.event if isinstance(statement.body, Execution) else ""
