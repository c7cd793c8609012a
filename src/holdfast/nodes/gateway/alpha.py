"""Results of requests on chain where OpenGradient's Alpha client asks for them (``spec/onchain.md`` §11).

Their client asks once and waits as long as bytes keep coming; the result is there when the request is fulfilled. So
the answer begins with blanks, which mean nothing in JSON, one for each look at the chain, and ends with the result.
Nobody needs a key: what is told stands on the chain for everybody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from holdfast.core.alpha import parse_inference_id, show_nothing, show_result
from holdfast.core.asks import Requested, document_of, unpack_parts
from holdfast.errors import HoldfastError, UnavailableError, UsageError
from holdfast.nodes.gateway.asked import Asked
from holdfast.ports.clock import Clock

PREFIX = "/artela-network/artela-rollkit/inference/tx/"
"""Where their client asks: a route of the chain that it was written for."""
MOST_WAITING = 64
"""Answers that are waited for at once."""


class AlphaResults:
    """See the module."""

    def __init__(self, asked: Asked, clock: Clock) -> None:
        self._asked = asked
        self._clock = clock
        self._waiting = 0

    async def find(self, path: str) -> Requested:
        """The request that a path names. Raises ``alpha.id``, ``alpha.unknown``, ``gateway.watchers``, ``chain.*``."""
        identity = parse_inference_id(path.removeprefix(PREFIX))
        if self._waiting >= MOST_WAITING:
            raise UnavailableError("gateway.watchers", "too many results are waited for", hint="ask again in a moment")
        found = await self._asked.asks.find(identity, self._asked.terms.first_block)
        if found is None:
            raise UsageError("alpha.unknown", "the contract knows no such request", status=404)
        return found

    async def result(self, requested: Requested) -> AsyncIterator[bytes]:
        """Pieces of the answer: blanks while the request is open, then the result, or that there is none."""
        self._waiting += 1
        try:
            while (answer := await self._answer(requested)) is None:
                yield b" "
                await self._clock.sleep(self._asked.terms.poll_s)
            yield answer
        finally:
            self._waiting -= 1

    async def _answer(self, requested: Requested) -> bytes | None:
        """None while the request is open, or the chain silent."""
        asks = self._asked.asks
        try:
            ending = await asks.ending(requested.identity, requested.block)
            if ending is None:
                return show_nothing() if await asks.now() > requested.ask.deadline else None
        except HoldfastError:
            return None
        if ending.state != "fulfilled":
            return show_nothing()
        try:
            return show_result(document_of(unpack_parts(ending.response), "response"))
        except HoldfastError:  # a result that their shape cannot say
            return show_nothing()
