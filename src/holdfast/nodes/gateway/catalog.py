"""Which upstream answers for which model label, as the upstreams themselves say.

The list is asked for at start and again when it is older than a minute, in the background: a slow provider never
delays an answer for a model that is already known. Of several upstreams that offer one label, the first in
configuration order is turned to, or by ``balance`` another; it is counted who is busy with how many runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.errors import HoldfastError, UsageError
from holdfast.nodes.gateway.opengradient import find_alias
from holdfast.ports.clock import Clock
from holdfast.ports.upstream import ModelInfo, Upstream

_LOG = logging.getLogger("holdfast.gateway.catalog")
_FRESH_S = 60.0


@dataclass(frozen=True, slots=True)
class Offer:
    """A model and who serves it."""

    upstream: Upstream
    model: ModelInfo

    @property
    def provider_model(self) -> str:
        """What the provider calls it."""
        return self.model.provider_id or self.model.id


BALANCES = ("first", "round_robin", "least_busy")
"""How one of several upstreams that offer a label is chosen."""


class Catalog:
    """Models by label."""

    def __init__(
        self, upstreams: Sequence[Upstream], fallbacks: dict[str, str], clock: Clock, balance: str = "first"
    ) -> None:
        self._upstreams = {upstream.code: upstream for upstream in upstreams}
        self._fallbacks = fallbacks
        self._clock = clock
        self._balance = balance
        self._turns: Counter[str] = Counter()
        self.busy: Counter[str] = Counter()
        """Runs that each upstream is busy with, as their gateway counts them."""
        self._listed: dict[str, list[ModelInfo]] = {}
        self._offers: dict[str, Offer] = {}
        self._asked_at: float | None = None
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def upstreams(self) -> list[Upstream]:
        return list(self._upstreams.values())

    async def refresh(self) -> None:
        """Ask every upstream for its models; those that do not answer keep what they last said."""
        self._asked_at = self._clock.monotonic()
        await asyncio.gather(*(self._list(upstream) for upstream in self._upstreams.values()))
        offers: dict[str, Offer] = {}
        for code, upstream in self._upstreams.items():
            for model in self._listed.get(code, ()):
                offers.setdefault(model.id, Offer(upstream, model))
        self._offers = offers

    async def _list(self, upstream: Upstream) -> None:
        try:
            async with asyncio.timeout(5):
                self._listed[upstream.code] = await upstream.models()
        except (HoldfastError, TimeoutError) as error:
            _LOG.warning("upstream %s does not list its models: %s", upstream.code, error)

    async def find(self, label: str, *, aliases: bool = False) -> Offer:
        """Who serves a label, or with ``aliases`` what OpenGradient's clients call it; raises ``request.unknown_model``
        or ``request.ambiguous_model``."""
        offer = self._offers.get(label)
        if offer is None and aliases:
            offer = self._alias(label)
        if offer is None:
            await self._refresh_once()
            offer = self._offers.get(label)
            if offer is None and aliases:
                offer = self._alias(label)
        elif self._asked_at is not None and self._clock.monotonic() - self._asked_at > _FRESH_S:
            self._start_refresh()
        if offer is None:
            known = ", ".join(sorted(self._offers)[:8]) or "none"
            raise UsageError(
                "request.unknown_model",
                f"no upstream here serves {label[:64]!r}",
                hint=f"GET /v1/models lists them; for example: {known}",
                param="model",
                status=404,
            )
        return offer

    def _alias(self, label: str) -> Offer | None:
        found = find_alias(label, sorted(self._offers))
        if len(found) > 1:
            raise UsageError(
                "request.ambiguous_model",
                f"{label[:64]!r} may mean {' or '.join(found[:4])}",
                hint="name one of them as it is written here",
                param="model",
            )
        return self._offers[found[0]] if found else None

    async def starts(self, label: str, *, aliases: bool = False) -> tuple[list[Offer], bool]:
        """Everybody who serves a label, the one to turn to first; and whether that was chosen among several. Raises as
        :meth:`find`."""
        found = await self.find(label, aliases=aliases)
        offers = [
            Offer(upstream, model)
            for code, upstream in self._upstreams.items()
            for model in self._listed.get(code, ())
            if model.id == found.model.id
        ]
        if self._balance == "first" or len(offers) < 2:
            return offers or [found], False
        if self._balance == "least_busy":
            return sorted(offers, key=lambda offer: self.busy[offer.upstream.code]), True
        place = self._turns[found.model.id] % len(offers)
        self._turns[found.model.id] += 1
        return offers[place:] + offers[:place], True

    def fallbacks(self, offer: Offer) -> list[Offer]:
        """Where to turn after an offer's upstream failed, and after those: as configured, nobody twice."""
        found: list[Offer] = []
        seen = {offer.upstream.code}
        following = self._fallback(offer)
        while following is not None and following.upstream.code not in seen:
            seen.add(following.upstream.code)
            found.append(following)
            following = self._fallback(following)
        return found

    def _fallback(self, offer: Offer) -> Offer | None:
        """The same label elsewhere, as configured."""
        code = self._fallbacks.get(offer.upstream.code)
        if code is None or code not in self._upstreams:
            return None
        for model in self._listed.get(code, ()):
            if model.id == offer.model.id:
                return Offer(self._upstreams[code], model)
        return None

    def models(self) -> list[Offer]:
        """Everything on offer, by label."""
        return [self._offers[label] for label in sorted(self._offers)]

    async def _refresh_once(self) -> None:
        if self._asked_at is not None and self._clock.monotonic() - self._asked_at < 2.0 and self._refreshing is None:
            return
        await self._start_refresh()

    def _start_refresh(self) -> asyncio.Task[None]:
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self.refresh())
            self._refreshing.add_done_callback(self._refreshed)
        return self._refreshing

    def _refreshed(self, _task: asyncio.Task[None]) -> None:
        self._refreshing = None

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
        for upstream in self._upstreams.values():
            await upstream.close()
