"""``holdfast pay``: what a wallet has, may spend, has signed away, and what a run cost (``spec/client.md`` §6).

Amounts are shown in whole units of an asset, or in US dollars of a workspace's credit. What a gateway or a chain says
is theirs; the record of what was signed is the wallet's own.

Not covered: asking (``holdfast chat --pay``) and the till's side (``spec/payments.md``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.signer_secp256k1 import load_signer
from holdfast.adapters.spending_sqlite import SpendingRecord, Spent
from holdfast.cli.development import WALLET_FOLDER
from holdfast.cli.network import DEFAULT_STATE, Network, find_network, optional_network_options, with_http
from holdfast.cli.output import clean, clean_line, emit, emit_json, read_file
from holdfast.cli.runs import ask_gateway, capability_option
from holdfast.cli.wallets import (
    FILE,
    TOKEN_DECIMALS,
    TOKEN_NAME,
    find_wallet,
    make_development_wallet,
    require_payments,
    state_of,
    wallet_option,
)
from holdfast.client.wallet_file import WalletAsset, WalletFile, open_tokens, parse_key
from holdfast.core import canonical, evm, payments
from holdfast.core.bundles import Bundle, DocumentItem, PaymentItem, StatementItem, parse_bundle
from holdfast.core.encoding import time_encode
from holdfast.core.paying import DAY_S, AssetLimit
from holdfast.core.pricing import format_decimal, parse_decimal
from holdfast.core.x402 import PERMIT2, chain_id_of
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError

_ADDRESS = re.compile(r"(?:0x)?[0-9a-fA-F]{40}\Z")
_UNLIMITED = 2**256 - 1


@click.group()
def pay() -> None:
    """Look after a wallet, and see what runs cost."""


# --- what there is ----------------------------------------------------------------------------------------------------


@pay.command("balance")
@optional_network_options
@wallet_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def balance(network: Network | None, wallet_path: Path | None, as_json: bool) -> None:
    """Show what the wallet has and may still sign today, and the workspace's credit.

    A wallet that is not there, or a gateway that sells nothing, is left out; where there is neither it is an error.
    """
    credit, wallet, why = _credit(network), None, None
    try:
        wallet = find_wallet(network, wallet_path)
    except UsageError as error:
        if error.code != "wallet.none" or wallet_path is not None or credit is None:
            raise
        why = error
    shown: dict[str, Any] = {"credit": credit, "wallet": None}
    if wallet is not None:
        address = wallet.signer().address
        shown["wallet"] = {"address": address, "assets": asyncio.run(_holdings(wallet, address))}
    if as_json:
        emit_json(shown)
        return
    if credit is not None:
        emit(clean_line(f"credit    {credit['left']} USD left of {credit['granted']}, {credit['held']} held"))
    if wallet is None:
        emit(f"wallet    none: {why.message if why else ''}")
        return
    emit(f"wallet    {shown['wallet']['address']}")
    for item in shown["wallet"]["assets"]:
        emit(clean_line(f"          {item['balance']} on {item['network']}"))
        emit(clean_line(f"          Permit2 may move {item['allowance']}"))
        emit(clean_line(f"          signed away in 24 hours: {item['signed']} of {item['per_day']}"))


def _credit(network: Network | None) -> dict[str, str] | None:
    """The workspace's credit as its gateway tells it; None without a key, or where nothing is sold."""
    if network is None or network.key is None:
        return None
    url, headers = f"{network.gateway}/v1/account", {"authorization": f"Bearer {network.key.reveal()}"}
    try:
        answer = with_http(lambda http: http.request("GET", url, headers=headers))
    except UnavailableError:
        return None
    if answer.status != 200:
        return None
    told = canonical.decode_object(answer.body)
    return {name: str(told.get(name, "?"))[:40] for name in ("account", "granted", "spent", "held", "left")}


async def _holdings(wallet: WalletFile, address: str) -> list[dict[str, str]]:
    """Each asset: what is there, what Permit2 may move, what was signed away."""
    found = []
    record = SpendingRecord(wallet.record)
    try:
        async with open_tokens(wallet) as tokens:
            for item, limit in zip(wallet.assets, wallet.limits().assets, strict=True):
                shown = {"network": item.network, "asset": limit.asset}
                shown |= {"balance": "unknown (no rpc)", "allowance": "unknown (no rpc)"}
                if item.rpc is not None:
                    holds = await tokens.balance(item.network, limit.asset, address)
                    moves = await tokens.allowance(item.network, limit.asset, address)
                    shown |= {"balance": item.show(holds), "allowance": _allowed(item, moves)}
                since = int(SystemClock().now().timestamp()) - DAY_S
                signed = record.spent_since(address, limit, since)
                found.append(shown | {"signed": item.show(signed), "per_day": item.show(limit.per_day)})
    finally:
        record.close()
    return found


def _allowed(item: WalletAsset, amount: int) -> str:
    return f"any amount of {item.name}" if amount == _UNLIMITED else item.show(amount)


@pay.command("history")
@optional_network_options
@wallet_option
@click.option("--limit", default=20, type=click.IntRange(1, 1000), show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, with what was asked and sent.")
def history(network: Network | None, wallet_path: Path | None, limit: int, as_json: bool) -> None:
    """List what the wallet signed, newest first: the most that each could take, and the runs that it paid for.

    What was really taken stands on the chain, and in 'holdfast pay explain RUN'.
    """
    wallet = find_wallet(network, wallet_path)
    record = SpendingRecord(wallet.record)
    try:
        entries = record.history(limit, wallet.signer().address)
    finally:
        record.close()
    if as_json:
        emit_json({"payer": wallet.signer().address, "signed": [_entry_json(item) for item in entries]})
        return
    if not entries:
        emit("nothing was signed yet")
    for item in entries:
        for line in _entry_lines(wallet, item):
            emit(clean_line(line))


def _moment(seconds: int) -> str:
    return time_encode(dt.datetime.fromtimestamp(seconds, dt.UTC))


def _amount(wallet: WalletFile, network: str, asset: str, amount: int) -> str:
    item = wallet.asset(network, asset)
    return f"{amount} base units of {asset}" if item is None else item.show(amount)


def _entry_lines(wallet: WalletFile, item: Spent) -> Iterator[str]:
    entry = item.entry
    most = "at most " if entry.scheme == "upto" else ""
    yield f"{_moment(entry.at)}  {most}{_amount(wallet, entry.network, entry.asset, entry.amount)} to {entry.payee}"
    yield f"    {entry.scheme} on {entry.network}, holds until {_moment(entry.expires_at)}"
    for run in item.runs:
        yield f"    paid for run {run}"
    if not item.runs:
        yield "    no answer came for it; until it runs out it may still be taken"
    if item.trouble is not None:
        yield f"    not right: {item.trouble}"


def _entry_json(item: Spent) -> dict[str, Any]:
    entry = item.entry
    members = ("identity", "network", "asset", "scheme", "payee", "resource")
    return {
        **{name: getattr(entry, name) for name in members},
        "at": _moment(entry.at),
        "expires_at": _moment(entry.expires_at),
        "amount": str(entry.amount),
        "runs": list(item.runs),
        "trouble": item.trouble,
        "asked": json.loads(entry.asked),
        "sent": None if item.sent is None else json.loads(item.sent),
        "told": None if item.told is None else json.loads(item.told),
    }


# --- what a run cost --------------------------------------------------------------------------------------------------


@pay.command("explain")
@click.argument("run_id", metavar="RUN")
@optional_network_options
@capability_option
@wallet_option
@click.option("--bundle", metavar="FILE", help="The run's bundle as a file, instead of asking its gateway.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def explain(
    network: Network | None,
    run_id: str,
    capability: str | None,
    wallet_path: Path | None,
    bundle: str | None,
    as_json: bool,
) -> None:
    """Tell line by line what RUN cost: what was asked, authorised, charged and taken, and what none of it shows.

    It is told from the run's own signed documents, each held against the statement that commits to it, and added up
    again here. Exits 1 when one of them does not hold. A run that the wallet paid for is asked for with the capability
    that the wallet keeps; another one with --capability or the workspace's key.
    """
    mine = _signed_for(network, wallet_path, run_id)
    raw = read_file(bundle) if bundle is not None else _fetch(network, run_id, capability or _shown_to(network, mine))
    found = parse_bundle(raw)
    if found.run != run_id:
        raise RefusedError("answer.run", f"this is the bundle of run {found.run}")
    steps = _steps(found)
    if as_json:
        emit_json({"run": run_id, "steps": steps, "signed": [_entry_json(item) for item in mine.entries]})
    else:
        for line in _explained(run_id, steps, mine):
            emit(clean(line))
    if any(step["trouble"] is not None for step in steps):
        click.get_current_context().exit(1)


def _fetch(network: Network | None, run_id: str, capability: str | None) -> bytes:
    if network is None:
        raise UsageError("network.none", "there is no network here", hint="--state, --gateway, or --bundle FILE")
    raw: bytes = ask_gateway(network, capability, lambda client: client.bundle(run_id, capability))
    return raw


def _steps(bundle: Bundle) -> list[dict[str, Any]]:
    """Each payment document of a bundle, opened and told."""
    statements, documents, response = {}, [], None
    for entry in bundle.journal:
        if isinstance(entry.item, StatementItem):
            statements[entry.item.statement.digest] = entry.item.statement
        elif isinstance(entry.item, PaymentItem):
            documents.append(entry.item)
        elif isinstance(entry.item, DocumentItem) and entry.item.document == "response":
            response = canonical.decode_exact(entry.item.text.encode())
    steps = []
    for item in documents:
        trouble, compared = None, False
        try:
            statement = statements.get(item.digest)
            if statement is None:
                raise RefusedError("payment_document.record", "no statement commits to this document")
            document = payments.verify_payment_document(statement, item.raw, item.salt)
            payments.verify_amounts(document)
            compared = isinstance(response, dict) and payments.verify_usage(document, response)
        except HoldfastError as error:
            trouble = {"code": error.code, "message": error.message}
        steps.append(
            {
                "event": item.document.event,
                "statement": item.digest,
                "document": item.document.to_json(),
                "says": payments.explain(item.document),
                "usage_compared": compared,
                "trouble": trouble,
            }
        )
    return steps


@dataclass(frozen=True, slots=True)
class _Mine:
    """What a wallet signed for a run, by its own record."""

    wallet: WalletFile | None = None
    entries: tuple[Spent, ...] = ()
    capability: str | None = None
    """Of the run, as it came with the answer."""


def _signed_for(network: Network | None, wallet_path: Path | None, run_id: str) -> _Mine:
    try:
        wallet = find_wallet(network, wallet_path)
    except UsageError:
        if wallet_path is not None:
            raise
        return _Mine()
    record = SpendingRecord(wallet.record)
    try:
        return _Mine(wallet, tuple(record.of_run(run_id)), record.capability_of(run_id))
    finally:
        record.close()


def _shown_to(network: Network | None, mine: _Mine) -> str | None:
    """The capability that the wallet keeps, for the gateway that was paid; no other one is shown it."""
    paid = network is not None and any(item.entry.resource.startswith(network.gateway + "/") for item in mine.entries)
    return mine.capability if paid else None


def _explained(run_id: str, steps: list[dict[str, Any]], mine: _Mine) -> Iterator[str]:
    if not steps:
        yield f"The bundle of run {run_id} has no payment document: nothing was charged, or not yet."
    for step in steps:
        yield from step["says"]
        if step["usage_compared"]:
            yield "What is charged for is what the answer itself reports as used."
        if step["trouble"] is not None:
            yield f"This does not hold: {step['trouble']['code']}: {step['trouble']['message']}."
        yield ""
    if mine.wallet is not None and mine.entries:
        yield "This wallet's own record of what it signed:"
        for item in mine.entries:
            yield from _entry_lines(mine.wallet, item)


# --- what changes something -------------------------------------------------------------------------------------------


@pay.command("approve")
@optional_network_options
@wallet_option
@click.option("--asset", metavar="ADDRESS", help="Which asset, where the wallet has several.")
@click.option(
    "--amount", metavar="DECIMAL", help="How much Permit2 may move in all; 0 takes it back.  [default: a day's limit]"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def approve(
    network: Network | None, wallet_path: Path | None, asset: str | None, amount: str | None, as_json: bool
) -> None:
    """Let Permit2 move some of an asset, so that what is signed for it can be taken.

    One transaction, paid by the wallet's own key in the chain's coin. Permit2 moves nothing without a signature.
    """
    wallet = find_wallet(network, wallet_path)
    item = _one_asset(wallet, asset)
    limit = next(found for found in wallet.limits().assets if (found.network, found.asset) == item.key)
    wanted = limit.per_day if amount is None else item.parse(amount)
    transaction = asyncio.run(_approve(wallet, item, limit, wanted))
    if as_json:
        emit_json({"asset": limit.asset, "network": limit.network, "amount": str(wanted), "transaction": transaction})
        return
    emit(clean_line(f"Permit2 may move {item.show(wanted)} of {wallet.signer().address} on {item.network}"))
    emit(f"transaction {transaction}")


def _one_asset(wallet: WalletFile, asset: str | None) -> WalletAsset:
    found = [item for item in wallet.assets if asset is None or item.asset.lower() == asset.lower()]
    if len(found) != 1:
        raise UsageError("pay.asset", "the wallet has none or several of this asset", hint="--asset names one of them")
    if found[0].rpc is None:
        raise UsageError(
            "chain.endpoint", f"no endpoint is named for {found[0].network}", hint="set rpc in the wallet's file"
        )
    return found[0]


async def _approve(wallet: WalletFile, item: WalletAsset, limit: AssetLimit, amount: int) -> str:
    from holdfast.adapters.evm_rpc import EvmAccount, EvmConnection, contract_interface  # noqa: PLC0415 - slow to import

    connection = EvmConnection(str(item.rpc))
    try:
        async with open_tokens(wallet) as tokens:  # it is the chain that is meant, before anything is sent
            await tokens.balance(limit.network, limit.asset, wallet.signer().address)
        account = EvmAccount(connection, wallet.signer(), chain_id_of(limit.network))
        data = contract_interface("TestToken").call_data("approve", [PERMIT2, amount])
        included, _ = await account.transact(limit.asset, data)
        return "0x" + included.transaction
    finally:
        await connection.close()


@pay.command("faucet")
@click.option("--state", metavar="DIR", help=f"State folder of 'holdfast up'.  [default: {DEFAULT_STATE}]")
@click.option(
    "--key",
    metavar="HEX",
    help="Whom to fund: a private key, or an address.  [default: the state folder's wallet, made where there is none]",
)
@click.option("--amount", default="1000", show_default=True, metavar="DECIMAL", help="How many test tokens.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def faucet(state: str | None, key: str | None, amount: str, as_json: bool) -> None:
    """Give a wallet test tokens of a development network, and coin for its own transactions.

    A private key on a command line can be read by every program of this machine; an address does as well.
    """
    network = find_network(state, None, None)
    payment_network, token, chain = require_payments(network)
    wallet = make_development_wallet(network) if key is None else None
    address = wallet.signer().address if wallet is not None else _address_of(key or "")
    units = parse_decimal(amount) * 10**TOKEN_DECIMALS
    if units.denominator != 1:
        raise UsageError("wallet.amount", f"the test token has {TOKEN_DECIMALS} decimals")
    from holdfast.adapters.faucet_evm import give_once  # noqa: PLC0415 - slow to import

    signer = load_signer(state_of(network) / "keys" / "faucet.key", "account")
    given = asyncio.run(give_once(chain, payment_network, token, signer, address, int(units)))
    shown = format_decimal(Fraction(given.holds, 10**TOKEN_DECIMALS))
    if as_json:
        where = None if wallet is None else str(state_of(network) / WALLET_FOLDER / FILE)
        made = {"address": address, "token": token, "network": payment_network, "balance": shown}
        emit_json({**made, "transaction": given.transaction, "wallet": where})
        return
    emit(f"{address} has {shown} {TOKEN_NAME} on {payment_network} now (test tokens: worth nothing elsewhere)")
    if wallet is not None:
        emit(f"its key and limits are in {state_of(network) / WALLET_FOLDER}; 'holdfast chat --pay' pays from it")


def _address_of(key: str) -> str:
    """The address that a private key or an address names; raises ``wallet.key``."""
    if _ADDRESS.match(key.strip()):
        return evm.parse_address("0x" + key.strip().removeprefix("0x").lower())
    return parse_key(key).address
