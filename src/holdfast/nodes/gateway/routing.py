"""Where a run may go: the plan before a byte is sent, and whether it goes on after something failed (``routes.md`` §4).

:meth:`Router.plan` holds every upstream that offers the model against the policies in force and gives the only order
in which they may be turned to. :meth:`Router.goes_on` says, before the first event of an answer, what follows a
failure: the same upstream after a pause, the next of the plan, or nothing. Neither reaches anybody outside of the plan.

Not covered: sending (``service``), and writing down what was done (``way``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from holdfast.core.texts import parse_texts
from holdfast.core.vectors import ENDPOINT as VECTORS
from holdfast.core.vectors import refuse_for_upstream
from holdfast.nodes.gateway.catalog import Catalog, Offer
from holdfast.nodes.gateway.computing import Computing, NodeOffer
from holdfast.nodes.gateway.request import COMPUTED, Ask
from holdfast.nodes.gateway.way import Way
from holdfast.ports.clock import Clock
from holdfast.ports.upstream import (
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from holdfast.verifier.route_policy import Candidate, RoutePolicies, RoutePolicy, decide_route

_ASK_AGAIN = (429, 503, 529)
"""Statuses that say: later."""
_OF_THE_REQUEST = (400, 404, 409, 413, 415, 422)
"""Statuses that say something of what was asked: another upstream is no answer to them."""
_MOST_PAUSE_S = 30.0
"""A longer ``Retry-After`` is not waited for."""


@dataclass(frozen=True, slots=True)
class Routing:
    """How a gateway routes, by its settings."""

    workspaces: Mapping[str, RoutePolicy] = field(default_factory=dict)
    retries: int = 0
    """How often one upstream is asked again."""
    pause_s: float = 0.5
    """Before that, where the upstream says nothing; doubled each time."""
    jurisdictions: Mapping[str, str] = field(default_factory=dict)
    """By upstream, as their operator declares them."""
    local: frozenset[str] = frozenset()
    """Upstreams that run in the gateway's own process."""
    attested: Callable[[], bool] = lambda: False
    """Whether the gateway is in attested hardware now."""
    most_usd: Callable[[Ask, str], Fraction | None] = lambda _ask, _label: None
    """What a request for a label costs at most; None where it has no price."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom one run may be taken to, in order, under which policies."""

    order: tuple[Offer | NodeOffer, ...]
    force: RoutePolicies
    retries: int
    balanced: bool = False
    """Whether the first was chosen among several that offer the same."""

    @property
    def first(self) -> Offer | NodeOffer:
        return self.order[0]

    def after(self, code: str) -> tuple[Offer | NodeOffer, ...]:
        """Those that follow an upstream."""
        codes = [offer.upstream.code for offer in self.order]
        return self.order[codes.index(code) + 1 :]


class Router:
    """See the module."""

    def __init__(self, catalog: Catalog, computing: Computing, clock: Clock, routing: Routing) -> None:
        self._catalog = catalog
        self._computing = computing
        self._clock = clock
        self._routing = routing

    async def plan(self, ask: Ask, workspace: str) -> Plan:
        """Raises ``request.unknown_model``, ``request.task`` and ``route.policy``."""
        own = self._routing.workspaces.get(workspace)
        given = [*([("workspace", own)] if own is not None else []), *ask.options.route]
        force = RoutePolicies(tuple(given))
        retries = self._routing.retries if force.retries is None else min(force.retries, self._routing.retries)
        if ask.endpoint == VECTORS and not await self._computing.runs(ask.model):
            refuse_for_upstream(ask.value, ask.model)
        elif ask.endpoint in COMPUTED:
            if ask.endpoint == VECTORS:
                parse_texts(ask.endpoint, ask.value)
            node = await self._computing.find(ask.model, ask.endpoint)
            decide_route(force, [self._of_node(ask, node)], lambda _start: ())
            return Plan((node,), force, retries)
        starts, balanced = await self._catalog.starts(ask.model, aliases=ask.signed is not None)
        offers: dict[str, Offer] = {}

        def candidates(found: Sequence[Offer]) -> list[Candidate]:
            offers.update({offer.upstream.code: offer for offer in found})
            return [self._of_upstream(ask, offer) for offer in found]

        order = decide_route(
            force, candidates(starts), lambda start: candidates(self._catalog.fallbacks(offers[start.code]))
        )
        first = offers[order[0].code]
        # What is sent is bound before anybody is turned to: only those that take the very same bytes can follow.
        same = [offers[item.code] for item in order if offers[item.code].provider_model == first.provider_model]
        return Plan(tuple(same), force, retries, balanced)

    async def goes_on(
        self, plan: Plan, way: Way, error: Exception, left_s: float, takes: Callable[[Offer | NodeOffer], bool]
    ) -> Offer | NodeOffer | None:
        """Who is turned to after a failure, once it may be; ``left_s`` is what the run has left, ``takes`` says who
        takes what is sent as it is."""
        if way.served or way.full or not way.made:
            return None
        code = way.made[-1].upstream
        here = next(offer for offer in plan.order if offer.upstream.code == code)
        times = sum(attempt.upstream == code for attempt in way.made)
        pause_s = self._pause(error, times)
        if pause_s is not None and times <= plan.retries and pause_s < left_s:
            await self._clock.sleep(pause_s)
            return here
        if not _another_may(error) or left_s <= 0:
            return None
        return next((offer for offer in plan.after(code) if takes(offer)), None)

    def _pause(self, error: Exception, times: int) -> float | None:
        """How long to wait before the same upstream is asked again; None where that is no use."""
        pause_s = self._routing.pause_s * 2 ** (times - 1)
        if isinstance(error, UpstreamStatusError):
            if error.provider_status not in _ASK_AGAIN:
                return None
            said = error.retry_after_s
            return pause_s if said is None else said if said <= _MOST_PAUSE_S else None
        return pause_s if isinstance(error, UpstreamUnreachableError) else None

    def _of_upstream(self, ask: Ask, offer: Offer) -> Candidate:
        code = offer.upstream.code
        return Candidate(
            code,
            offer.model.id,
            offer.provider_model,
            enclave=code in self._routing.local and self._routing.attested(),
            jurisdiction=self._routing.jurisdictions.get(code),
            most_usd=self._routing.most_usd(ask, offer.model.id),
        )

    def _of_node(self, ask: Ask, offer: NodeOffer) -> Candidate:
        label, code = offer.model.label, offer.upstream.code
        return Candidate(
            code,
            label,
            label,
            artifact=offer.model.artifact,
            jurisdiction=self._routing.jurisdictions.get(code),
            most_usd=self._routing.most_usd(ask, label),
        )


def _another_may(error: Exception) -> bool:
    """Whether a failure speaks of its upstream, so that another one may do better."""
    if isinstance(error, UpstreamStatusError):
        return error.provider_status not in _OF_THE_REQUEST
    return isinstance(error, UpstreamUnreachableError | UpstreamTimeoutError | UpstreamProtocolError)
