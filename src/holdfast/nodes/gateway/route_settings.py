"""How a gateway routes, as its settings say it (``spec/routes.md``). Read once, at start: a policy that cannot be read
keeps the gateway from starting, for without it a workspace would be less bound than its operator wants."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

from holdfast.core import pricing
from holdfast.core.pricing import parse_decimal
from holdfast.errors import HoldfastError, UsageError
from holdfast.nodes.gateway.config import GatewayConfig, WorkspaceKey
from holdfast.nodes.gateway.prices import Selling, credit_rate
from holdfast.nodes.gateway.request import Ask
from holdfast.nodes.gateway.routing import Routing
from holdfast.ports.clock import Clock
from holdfast.verifier.route_policy import RoutePolicy, parse_route_policy

HARDWARE = ("nitro", "tdx", "snp")
"""Settings of ``enclave`` under which a gateway is in real hardware, once that attests it."""


def build_routing(
    config: GatewayConfig,
    clock: Clock,
    *,
    local: frozenset[str],
    attested: Callable[[], bool],
    selling: Selling | None,
) -> Routing:
    """``local`` are the upstreams in the gateway's own process, ``attested`` says whether something attests it now.
    Raises ``settings.route``."""
    places = {item.code: item.jurisdiction for item in config.upstreams}
    places |= {item.code: item.jurisdiction for item in config.inference}
    return Routing(
        workspaces=load_policies(config.workspaces),
        retries=config.retries,
        pause_s=config.retry_ms / 1000,
        jurisdictions={code: place for code, place in places.items() if place is not None},
        local=local,
        attested=lambda: config.enclave in HARDWARE and attested(),
        most_usd=lambda ask, label: most_usd(selling, clock, ask, label),
    )


def load_policies(workspaces: Sequence[WorkspaceKey]) -> dict[str, RoutePolicy]:
    """The policy of each workspace that has one. Keys of one workspace name one file. Raises ``settings.route``."""
    files: dict[str, set[Path | None]] = {}
    for item in workspaces:
        files.setdefault(item.name, set()).add(item.route)
    found = {}
    for name, named in files.items():
        if len(named) > 1:
            raise _unset(f"the keys of workspace {name} name different route policies")
        [path] = named
        if path is not None:
            found[name] = _load(path)
    return found


def most_usd(selling: Selling | None, clock: Clock, ask: Ask, label: str) -> Fraction | None:
    """What a request costs at most, by the price card; None where it has no price."""
    if selling is None:
        return None
    try:
        quote = selling.quote(ask, label)
    except HoldfastError:
        return None
    return parse_decimal(pricing.charge(quote.prices, quote.most, credit_rate(clock.now())).usd)


def _load(path: Path) -> RoutePolicy:
    try:
        return parse_route_policy(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise _unset(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _unset(f"{path} is no TOML: {error}") from error
    except HoldfastError as error:
        raise _unset(f"{path}: {error.message}") from error


def _unset(message: str) -> UsageError:
    return UsageError("settings.route", message, hint="see docs/howto/choose-routes.md", param="workspaces.route")
