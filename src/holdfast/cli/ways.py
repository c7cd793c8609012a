"""How commands that ask a gateway reach it: directly, sealed through a relay, or paying from a wallet."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager

from holdfast.cli.network import Network, missing_trust, parse_url, read_key
from holdfast.cli.trust import open_trust
from holdfast.client.gateway import GatewayClient, connect
from holdfast.client.private import Direct, connect_private
from holdfast.client.wallet_file import WalletFile, connect_paying
from holdfast.core.trust import Trust
from holdfast.errors import UsageError
from holdfast.verifier.identity import Requirements

RELAY_KEY_VARIABLE = "HOLDFAST_RELAY_KEY"
"""Holds the relay's key itself."""


def choose_trust(network: Network, trust_file: str | None, trust_pin: str | None, *, private: bool) -> Trust | None:
    """The trust that a command line means; None where there is none. A gateway that is to see no address is not asked
    for its trust."""
    if trust_file is not None:
        return open_trust(trust_file, trust_pin)
    if not private and (network.key is not None or network.trust_path is not None):
        return network.find_trust()
    return None if network.trust_path is None else network.load_trust()


def sealed_way(
    network: Network, trust: Trust | None, relay: str, *, relay_key: str | None, or_direct: bool
) -> AbstractAsyncContextManager[GatewayClient]:
    """Through a relay; raises ``trust.missing`` or ``network.key``."""
    if trust is None:
        raise missing_trust()
    given = read_key(relay_key) if relay_key is not None else network.relay_key
    key = os.environ.get(RELAY_KEY_VARIABLE, "").strip() if given is None else given.reveal()
    if not key:
        raise UsageError(
            "network.key",
            f"{relay} wants a key of its own and none was given: the workspace key is not for it",
            hint=f"--relay-key file:PATH or env:NAME, or set {RELAY_KEY_VARIABLE}",
        )
    return connect_private(
        parse_url(relay, "--relay"),
        key,
        trust=trust,
        requirements=Requirements(network.attested),
        direct=Direct(network.gateway, network.require_key()) if or_direct else None,
        insecure_plain_http=network.insecure_plain_http,
    )


def direct_way(
    network: Network, trust: Trust | None, wallet: WalletFile | None = None, *, need_key: bool = True
) -> AbstractAsyncContextManager[GatewayClient]:
    """Without a relay: with the workspace key, or paying from a wallet. Who only shows capabilities needs no key, and
    shows none. Raises ``network.key``."""
    required, plain = Requirements(network.attested), network.insecure_plain_http
    if wallet is not None:
        return connect_paying(network.gateway, wallet, trust=trust, requirements=required, insecure_plain_http=plain)
    key = network.require_key() if need_key else None
    return connect(network.gateway, key, trust=trust, requirements=required, insecure_plain_http=plain)
