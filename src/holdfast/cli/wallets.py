"""How a command finds a wallet: ``--wallet FILE``, else the one in the state folder of ``holdfast up``.

A development network's wallet is made by ``holdfast pay faucet``: a key, and a file with small limits for the test
token. Everywhere else its owner writes the file (``docs/howto/pay.md``). A key is never an argument by itself, but for
the faucet of a development network, where there is nothing to steal.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from holdfast.adapters.signer_secp256k1 import load_or_create_signer
from holdfast.cli.development import WALLET_FOLDER, write_private
from holdfast.cli.network import DEFAULT_STATE, Network
from holdfast.client.wallet_file import WalletFile, load_wallet_file
from holdfast.errors import RefusedError, UsageError

FILE, KEY, RECORD = "wallet.toml", "wallet.key", "spent.sqlite"
"""Of a development network's wallet, in its state folder."""
PER_REQUEST, PER_DAY = "10", "100"
"""Its limits, in whole test tokens."""
TOKEN_NAME, TOKEN_DECIMALS = "OPG", 18
"""The test token's (``adapters.payment_contracts.TestToken``)."""


def wallet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--wallet`` to a command; it receives ``wallet_path`` or None."""
    return click.option(
        "--wallet",
        "wallet_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=f"Wallet file.  [default: {WALLET_FOLDER}/{FILE} in the state folder]",
    )(command)


def state_of(network: Network | None) -> Path:
    """The state folder that a network was described by; the default one for a gateway's URL or for none."""
    return Path(network.described_by).parent if network is not None and network.given else Path(DEFAULT_STATE)


def find_wallet(network: Network | None, path: Path | None) -> WalletFile:
    """The wallet that a command line names; raises ``wallet.none`` and as :func:`load_wallet_file` does."""
    return load_wallet_file(path or state_of(network) / WALLET_FOLDER / FILE, os.environ)


def require_payments(network: Network) -> tuple[str, str, str]:
    """Payment network, token and chain URL of a development network. Raises ``pay.development`` for another one, and
    ``pay.none`` where its chain has no token."""
    given = network.given
    if given.get("development") is not True:
        raise RefusedError(
            "pay.development",
            f"{network.described_by} is no development network: nobody gives money away there",
            hint="send the token to the wallet's address in the usual way",
        )
    found = given.get("payment_network"), given.get("token"), network.chain
    if not all(isinstance(item, str) for item in found):
        raise UsageError(
            "pay.none", f"the chain of {network.described_by} has no test token", hint="'holdfast up --fresh' makes one"
        )
    return str(found[0]), str(found[1]), str(found[2])


def make_development_wallet(network: Network) -> WalletFile:
    """The wallet of a development network's state folder, made where there is none."""
    payment_network, token, chain = require_payments(network)
    folder = (state_of(network) / WALLET_FOLDER).absolute()
    load_or_create_signer(folder / KEY, "account")
    if not (folder / FILE).exists():
        text = f"""\
# The wallet of a development network. Change the limits as you like; docs/howto/pay.md says what each line means.
[wallet]
key = "file:{folder / KEY}"
record = "{folder / RECORD}"

[[wallet.assets]]
network = "{payment_network}"
asset = "{token}"
name = "{TOKEN_NAME}"
decimals = {TOKEN_DECIMALS}
per_request = "{PER_REQUEST}"
per_day = "{PER_DAY}"
rpc = "{chain}"
"""
        write_private(folder / FILE, text.encode())
    return load_wallet_file(folder / FILE, os.environ)
