"""What commands over a chain share: the option that names who sends, and who asks when nobody was named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from holdfast.adapters.evm_rpc import TransactionSigner
from holdfast.adapters.signer_secp256k1 import load_signer
from holdfast.core import evm
from holdfast.errors import UsageError

Command = Callable[..., Any]


def account_option(command: Command) -> Command:
    """Add ``--account``; the command receives ``account``."""
    return click.option(
        "--account",
        metavar="FILE",
        type=click.Path(path_type=Path),
        required=True,
        help="Key of the account that sends and pays.",
    )(command)


class Nobody:
    """Reads without an account; raises ``refusal`` when it is to send."""

    address = evm.ZERO_ADDRESS

    def __init__(self, refusal: UsageError) -> None:
        self._refusal = refusal

    def sign(self, message: bytes) -> bytes:
        del message
        raise self._refusal


def load_account(path: Path | None, refusal: UsageError) -> TransactionSigner:
    """The account in a key file, or nobody."""
    return Nobody(refusal) if path is None else load_signer(path, "account")
