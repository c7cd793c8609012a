"""A wallet as its owner writes it down: a TOML file with a key by reference, limits and endpoints.

``[wallet]`` names the key, the record and payees; one ``[[wallet.assets]]`` for each asset says how much of it may be
signed away. Amounts in the file are decimals of whole units; everything else counts base units.

Rules: an asset that is not there is not spent; a payee that neither trust nor the file names is not paid.
:func:`connect_paying` asks a gateway with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.settings_toml import load
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.adapters.spending_sqlite import SpendingRecord
from holdfast.client.gateway import GatewayClient, connect
from holdfast.client.paying import Payer, Wallet
from holdfast.client.tokens import ChainTokens
from holdfast.core.encoding import hex_decode
from holdfast.core.evm import parse_address
from holdfast.core.paying import DAY_S, AssetLimit, Limits
from holdfast.core.pricing import format_decimal, parse_decimal
from holdfast.core.trust import Trust
from holdfast.core.x402 import chain_id_of
from holdfast.errors import MalformedError, UsageError
from holdfast.ports.settings import Secret, setting


@dataclass(frozen=True, slots=True)
class WalletAsset:
    """One asset and what may be spent of it."""

    network: str = setting(help="Network as x402 writes it, like eip155:8453")
    asset: str = setting(help="Address of the token")
    name: str = setting(help="What people call it")
    decimals: int = setting(help="Decimals of the token", minimum=0, maximum=36)
    per_request: str = setting(help="Most of it for one request, a decimal of whole units")
    per_day: str = setting(help="Most of it that is signed away in any 24 hours")
    rpc: str | None = setting(None, "JSON-RPC endpoint of the network, for balances and allowances")

    def parse(self, text: str) -> int:
        """A decimal of whole units in base units; raises ``wallet.amount`` or ``pricing.decimal``."""
        units = parse_decimal(text) * 10**self.decimals
        if units.denominator != 1:
            raise UsageError("wallet.amount", f"{self.name} has {self.decimals} decimals, and {text} has more")
        return int(units)

    def show(self, amount: int) -> str:
        """Base units as a decimal of whole units, with the asset's name."""
        return f"{format_decimal(Fraction(amount, 10**self.decimals))} {self.name}"

    @property
    def key(self) -> tuple[str, str]:
        """Network and address, as they are compared."""
        return self.network, self.asset.lower()


@dataclass(frozen=True, slots=True)
class WalletFile:
    """The table ``[wallet]``."""

    key: Secret = setting(help="Private key, 64 hex digits, as file:… or env:…")
    record: Path = setting(help="SQLite file that remembers what was signed")
    assets: tuple[WalletAsset, ...] = setting((), "Assets that may be spent")
    payees: tuple[str, ...] = setting((), "Addresses that may be paid beside those that trust admits")
    longest_s: int = setting(DAY_S, "Longest time for which an authorization may hold", minimum=1)
    offer_required: bool = setting(default=False, help="Whether a server must sign what it offers")

    def signer(self) -> Secp256k1Signer:
        """The key; raises ``wallet.key``."""
        return parse_key(self.key.reveal())

    def limits(self) -> Limits:
        """What may be signed; raises ``wallet.*``, ``evm.address`` or ``x402.network``."""
        found = []
        for item in self.assets:
            chain_id_of(item.network)
            network, asset = item.key
            found.append(
                AssetLimit(network, parse_address(asset), item.parse(item.per_request), item.parse(item.per_day))
            )
        payees = frozenset(parse_address(payee.lower()) for payee in self.payees)
        return Limits(tuple(found), payees, self.longest_s, self.offer_required)

    def at_most(self, text: str) -> WalletFile:
        """The same with no request above ``text``, a decimal of whole units of each asset."""
        lowered = (
            replace(item, per_request=text) if item.parse(text) < item.parse(item.per_request) else item
            for item in self.assets
        )
        return replace(self, assets=tuple(lowered))

    def asset(self, network: str, asset: str) -> WalletAsset | None:
        """One asset as it is written down."""
        return next((item for item in self.assets if item.key == (network, asset.lower())), None)


def parse_key(text: str) -> Secp256k1Signer:
    """64 hex digits, with or without 0x, to a key that holds money; raises ``wallet.key``."""
    try:
        return Secp256k1Signer(hex_decode(text.strip().removeprefix("0x").lower(), 32), "account")
    except (MalformedError, UsageError) as error:
        raise UsageError("wallet.key", "a wallet's key is 64 hex digits") from error


def load_wallet_file(path: Path, environment: Mapping[str, str]) -> WalletFile:
    """Read one; raises ``wallet.none`` where there is none, ``settings.*`` and what :meth:`WalletFile.limits` does."""
    if not path.exists():
        raise UsageError(
            "wallet.none",
            f"there is no wallet at {path}",
            hint="'holdfast pay faucet' makes one for a development network; else see docs/howto/pay.md",
        )
    found = load(path, environment, {"wallet": WalletFile}).table("wallet", WalletFile)
    found.limits()
    return found


@contextlib.asynccontextmanager
async def open_tokens(file: WalletFile) -> AsyncGenerator[ChainTokens]:
    """The chains that a wallet's file names; connections close at the end."""
    from holdfast.adapters.json_rpc_aiohttp import BatchingJSONRPC  # noqa: PLC0415 - the base install has no aiohttp

    endpoints = {item.network: BatchingJSONRPC(item.rpc) for item in file.assets if item.rpc is not None}
    try:
        yield ChainTokens(endpoints)
    finally:
        for endpoint in endpoints.values():
            await endpoint.close()


@contextlib.asynccontextmanager
async def open_wallet(file: WalletFile) -> AsyncGenerator[Wallet]:
    """A wallet that signs. Where an asset has no endpoint, allowances are taken to be there."""
    record = SpendingRecord(file.record)
    try:
        async with open_tokens(file) as tokens:
            reads = tokens if all(item.rpc is not None for item in file.assets) else None
            yield Wallet(file.signer(), file.limits(), record, SystemClock(), tokens=reads)
    finally:
        record.close()


@contextlib.asynccontextmanager
async def connect_paying(
    url: str, file: WalletFile, *, key: str | None = None, trust: Trust | None = None, **options: Any
) -> AsyncGenerator[GatewayClient]:
    """A client that pays from a wallet; ``key`` is only for a workspace whose credit is to be used first. The other
    arguments are those of :func:`holdfast.client.gateway.connect`."""
    async with open_wallet(file) as wallet, connect(url, key, trust=trust, payer=Payer(wallet), **options) as client:
        yield client
