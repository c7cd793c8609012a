"""``holdfast credit``: what workspaces have paid for in advance at the gateway of this machine (``payments.md`` §12).

Beside the till's database, so not over HTTP: whoever can write it may do this, also while the gateway runs. A grant has
a reference and counts once: the same command again changes nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from holdfast.cli.config import find_settings, node_tables
from holdfast.cli.output import clean_line, emit, emit_json
from holdfast.cli.people import panel_options
from holdfast.core.pricing import parse_decimal
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.ports.till_store import Account, TillStore

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")


@contextlib.contextmanager
def open_till(config_file: str | None, state: str | None) -> Iterator[tuple[TillStore, frozenset[str]]]:
    """The books of the gateway that settings name, and its workspaces. Raises ``credit.off`` where nothing costs
    anything there."""
    from holdfast.adapters.settings_toml import load  # noqa: PLC0415 - the base install has no nodes
    from holdfast.adapters.till_store_sql import SQLTillStore  # noqa: PLC0415

    path = find_settings(config_file, state)
    tables = node_tables(path, "gateway")
    gateway = load(path, os.environ, tables).table("gateway", tables["gateway"])
    if gateway.payments == "off":
        raise UsageError("credit.off", "nothing costs anything here", hint="set payments of [gateway] first")
    gateway.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = SQLTillStore(gateway.till_url)
    try:
        yield store, frozenset(item.name for item in gateway.workspaces)
    finally:
        store.close()


def _shown(account: Account) -> dict[str, str]:
    from holdfast.nodes.gateway.prices import format_nano  # noqa: PLC0415

    names = ("granted", "spent", "held", "left")
    return {"account": account.name, "unit": "USD", **{name: format_nano(getattr(account, name)) for name in names}}


@click.group()
def credit() -> None:
    """Show and add credit of workspaces at a gateway that takes payments."""


@credit.command("grant")
@click.argument("workspace")
@click.argument("dollars")
@click.option("--reference", required=True, metavar="TEXT", help="What it is for, an invoice say; it counts once.")
@panel_options
@_AS_JSON
def grant(workspace: str, dollars: str, reference: str, where: tuple[str | None, str | None], as_json: bool) -> None:
    """Add DOLLARS of credit to WORKSPACE."""
    from holdfast.adapters.clock_system import SystemClock  # noqa: PLC0415
    from holdfast.core.encoding import time_encode  # noqa: PLC0415
    from holdfast.nodes.gateway.prices import nano  # noqa: PLC0415

    amount = nano(parse_decimal(dollars))
    if not 1 <= len(reference) <= 100:
        raise UsageError("credit.reference", "a reference has 1 to 100 characters", param="reference")
    with open_till(*where) as (store, workspaces):
        if workspace not in workspaces:
            raise UsageError(
                "credit.workspace",
                f"no key here speaks for {workspace[:64]!r}",
                hint=f"workspaces: {', '.join(sorted(workspaces)) or 'none'}",
            )
        fresh = store.grant(workspace, amount, f"grant:{reference}", time_encode(SystemClock().now()))
        account = store.account(workspace)
    if as_json:
        emit_json({"granted_now": fresh, **_shown(account)})
        return
    if not fresh:
        emit("That reference was used before: nothing was added.")
    _say(account)


@credit.command("show")
@panel_options
@_AS_JSON
def show(where: tuple[str | None, str | None], as_json: bool) -> None:
    """Show the credit of every workspace that ever had any."""
    with open_till(*where) as (store, _):
        accounts = store.accounts()
    if as_json:
        emit_json({"accounts": [_shown(account) for account in accounts]})
        return
    if not accounts:
        emit("No workspace has had any credit yet.")
    for account in accounts:
        _say(account)


def _say(account: Account) -> None:
    shown = _shown(account)
    emit(
        clean_line(
            f"{account.name}: {shown['left']} USD left "
            f"({shown['granted']} granted, {shown['spent']} spent, {shown['held']} held)"
        )
    )
