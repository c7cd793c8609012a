"""``holdfast people`` and ``holdfast api-key``: who may do what in the panel of this machine.

Beside the database, so not over HTTP: whoever can read and write the panel's state may do this, and every change is an
event of the audit chain by the actor ``operator``. Rules:

1. No password is ever taken or printed. People set their own, on the panel's sign-in page, with a one-time code.
2. Codes and keys are printed once, to standard output, and kept as SHA-256.
3. ``audit`` exits 1 when anything does not fit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.config import find_settings, node_tables
from holdfast.cli.output import clean_line, emit, emit_json
from holdfast.errors import UsageError
from holdfast.review.people import DATABASE, People, PeopleConfig, fold_name
from holdfast.review.people_audit import Head
from holdfast.review.roles import OPERATOR, ROLES, SCOPES

if TYPE_CHECKING:
    from holdfast.ports.people_store import Account, Key

_HEAD = re.compile(r"(0|[1-9]\d{0,15}):([0-9a-f]{64})\Z")
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")


def panel_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--state`` and ``--config`` to a command; it receives ``where``."""

    @click.option("--state", metavar="DIR", help="State folder whose holdfast.toml is read.  [default: .holdfast]")
    @click.option("--config", "config_file", metavar="FILE", help="Settings file.  [default: the one in --state]")
    @functools.wraps(command)
    def found(*arguments: Any, state: str | None, config_file: str | None, **options: Any) -> Any:
        return command(*arguments, where=(config_file, state), **options)

    return found


def read_config(config_file: str | None, state: str | None) -> PeopleConfig:
    """What the panel's settings say about people."""
    from holdfast.adapters.settings_toml import load  # noqa: PLC0415 - the base install has no nodes

    path = find_settings(config_file, state)
    tables = node_tables(path, "panel")
    panel = load(path, os.environ, tables).table("panel", tables["panel"])
    names = [field.name for field in dataclasses.fields(PeopleConfig) if hasattr(panel, field.name)]
    return PeopleConfig(**{name: getattr(panel, name) for name in names})


@contextlib.contextmanager
def open_people(where: tuple[str | None, str | None], *, create: bool = False) -> Iterator[People]:
    """The people of a panel. Raises ``people.none`` where there are none yet, unless they may be begun."""
    from holdfast.adapters.clock_system import SystemClock  # noqa: PLC0415
    from holdfast.adapters.people_sql import SQLPeopleStore  # noqa: PLC0415

    config = read_config(*where)
    file = config.state / DATABASE
    if config.people_database is None and not create and not file.exists():
        raise UsageError(
            "people.none",
            f"nobody was let in here yet: there is no {file}",
            hint="begin with 'holdfast people first', or name the panel's settings with --state DIR or --config FILE",
            status=404,
        )
    store = SQLPeopleStore(config.people_url)
    try:
        yield People(store, config, SystemClock(), secrets.token_bytes)
    finally:
        store.close()


@click.group()
def people() -> None:
    """Let people into the panel, give and take roles, check the audit chain."""


@people.command("first")
@click.option("--role", "roles", multiple=True, type=click.Choice(ROLES), help="A role besides admin; may be repeated.")
@panel_options
@_AS_JSON
def first(roles: tuple[str, ...], where: tuple[str | None, str | None], as_json: bool) -> None:
    """Print the one-time code that makes the panel's first account.

    It works while there is no account; asking again replaces it.
    """
    with open_people(where, create=True) as house:
        code = house.first_code(roles)
        minutes, database = house.config.code_minutes, house.config.people_database
        place = database.reference if database is not None else str(house.config.state / DATABASE)
    if as_json:
        emit_json({"code": code, "minutes": minutes, "kept_in": place})
        return
    emit(f"one-time code   {code}")
    emit(clean_line(f"kept in         {place}"))
    emit(f"Within {minutes} minutes, on the panel's sign-in page, it makes the first account.")


@people.command("add")
@click.argument("name")
@click.option("--display", metavar="TEXT", help="How the person is called on pages.  [default: NAME]")
@click.option("--role", "roles", multiple=True, type=click.Choice(ROLES), help="A role; may be repeated.")
@panel_options
@_AS_JSON
def add(
    name: str, display: str | None, roles: tuple[str, ...], where: tuple[str | None, str | None], as_json: bool
) -> None:
    """Let NAME in. Prints the one-time code with which they set their password."""
    with open_people(where) as house:
        account, code = house.add(OPERATOR, name, display or name, roles)
        minutes = house.config.code_minutes
    _show_code(account, code, minutes, as_json=as_json)


@people.command("code")
@click.argument("name")
@panel_options
@_AS_JSON
def code(name: str, where: tuple[str | None, str | None], as_json: bool) -> None:
    """Print a new one-time code for NAME: for a first or a forgotten password."""
    with open_people(where) as house:
        given = house.new_code(OPERATOR, name)
        [account] = [row for row in house.accounts(OPERATOR) if row.name == fold_name(name)]
        minutes = house.config.code_minutes
    _show_code(account, given, minutes, as_json=as_json)


@people.command("list")
@panel_options
@_AS_JSON
def list_people(where: tuple[str | None, str | None], as_json: bool) -> None:
    """List everybody: name, roles, whether they can sign in."""
    with open_people(where) as house:
        rows = house.accounts(OPERATOR)
        sessions = {row.name: len(house.sessions(OPERATOR, row.name)) for row in rows}
    if as_json:
        emit_json({"people": [{**_account_json(row), "sessions": sessions[row.name]} for row in rows]})
        return
    if not rows:
        emit("nobody was let in yet")
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        emit(f"{row.name:<{width}}  {clean_line(row.display)}")
        emit(
            f"{'':<{width}}  roles: {', '.join(row.roles) or 'none'}; {_standing(row)}; sessions: {sessions[row.name]}"
        )


@people.command("role")
@click.argument("name")
@click.option("--add", "added", multiple=True, type=click.Choice(ROLES), help="Give this role; may be repeated.")
@click.option("--remove", "removed", multiple=True, type=click.Choice(ROLES), help="Take this role; may be repeated.")
@panel_options
@_AS_JSON
def role(
    name: str,
    added: tuple[str, ...],
    removed: tuple[str, ...],
    where: tuple[str | None, str | None],
    as_json: bool,
) -> None:
    """Give and take roles of NAME. Ends their sessions if anything changes."""
    if not added and not removed:
        raise UsageError("usage.arguments", "give --add ROLE or --remove ROLE")
    if set(added) & set(removed):
        raise UsageError(
            "usage.arguments", f"{', '.join(sorted(set(added) & set(removed)))}: added and removed at once"
        )
    with open_people(where) as house:
        account = house.change_roles(OPERATOR, name, added, removed)
    _show_account(account, as_json=as_json)


@people.command("revoke")
@click.argument("name")
@panel_options
@_AS_JSON
def revoke(name: str, where: tuple[str | None, str | None], as_json: bool) -> None:
    """Disable NAME: ends their sessions, stops their codes and keys. Nothing they did is removed."""
    with open_people(where) as house:
        account = house.disable(OPERATOR, name)
    _show_account(account, as_json=as_json)


@people.command("restore")
@click.argument("name")
@panel_options
@_AS_JSON
def restore(name: str, where: tuple[str | None, str | None], as_json: bool) -> None:
    """Let a disabled NAME in again, with the roles and the password they had."""
    with open_people(where) as house:
        account = house.enable(OPERATOR, name)
    _show_account(account, as_json=as_json)


@people.command("sign-out")
@click.argument("name")
@panel_options
@_AS_JSON
def sign_out(name: str, where: tuple[str | None, str | None], as_json: bool) -> None:
    """End every session of NAME."""
    with open_people(where) as house:
        ended = house.sessions(OPERATOR, name)
        for session in ended:
            house.end_session(OPERATOR, session.id)
    if as_json:
        emit_json({"name": name, "ended": [session.id for session in ended]})
        return
    emit(f"{len(ended)} sessions ended")


@people.command("audit")
@click.option("--head", "heads", multiple=True, metavar="SEQ:DIGEST", help="A head kept elsewhere; may be repeated.")
@panel_options
@_AS_JSON
def audit(heads: tuple[str, ...], where: tuple[str | None, str | None], as_json: bool) -> int:
    """Check every event and every row. Keep the head it prints elsewhere: it shows a chain that was cut off."""
    known = [_parse_head(text) for text in heads]
    with open_people(where) as house:
        head, findings = house.audit(OPERATOR, known)
    if as_json:
        emit_json(
            {
                "head": {"seq": head.seq, "digest": head.digest},
                "findings": [{"code": item.code, "seq": item.seq, "says": item.says} for item in findings],
            }
        )
    else:
        emit(f"head      {head.seq}:{head.digest}")
        emit(f"findings  {len(findings)}")
        for item in findings:
            emit(f"  {item.code}  {clean_line(item.says)}")
    return 1 if findings else 0


@click.group("api-key")
def api_key() -> None:
    """Give out and take back API keys of the panel."""


@api_key.command("add")
@click.argument("workspace", required=False)
@click.option("--label", metavar="TEXT", required=True, help="What uses the key.")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="May be repeated.")
@click.option("--person", metavar="NAME", help="For whom it decides; needed for case:decide and only there.")
@click.option("--days", type=click.IntRange(1, 3_650), help="How long it lasts.  [default: the setting key_days]")
@panel_options
@_AS_JSON
def add_key(
    workspace: str | None,
    label: str,
    scopes: tuple[str, ...],
    person: str | None,
    days: int | None,
    where: tuple[str | None, str | None],
    as_json: bool,
) -> None:
    """Make a key of WORKSPACE and print it, this once. A panel serves one workspace, which is the default."""
    with open_people(where) as house:
        workspace = house.config.workspace if workspace is None else workspace
        key, shown = house.add_key(OPERATOR, workspace, label, scopes, person=person, days=days)
    if as_json:
        emit_json({"key": shown, **_key_json(key)})
        return
    emit(f"key      {shown}")
    emit(f"scopes   {', '.join(key.scopes)}")
    emit(f"expires  {key.expires_at}")
    emit("It is not kept and cannot be shown again.")


@api_key.command("list")
@click.option("--workspace", metavar="NAME", help="Only keys of this workspace.")
@panel_options
@_AS_JSON
def list_keys(workspace: str | None, where: tuple[str | None, str | None], as_json: bool) -> None:
    """List keys: id, scopes, expiry, last day of use. Never the secrets."""
    with open_people(where) as house:
        rows, serves = house.keys(OPERATOR, workspace), house.config.workspace
    if as_json:
        emit_json({"keys": [_key_json(row) for row in rows]})
        return
    if not rows:
        emit("no keys")
    for row in rows:
        ends = f"revoked {row.revoked_at}" if row.revoked_at else f"expires {row.expires_at}"
        other = "" if row.workspace == serves else " (opens nothing: the panel serves another workspace)"
        emit(clean_line(f"{row.id}  {row.workspace}{other}  {row.label}"))
        emit(f"{'':16}  {', '.join(row.scopes)}; {ends}; last used: {row.used_day or 'never'}")


@api_key.command("revoke")
@click.argument("id")
@panel_options
@_AS_JSON
def revoke_key(id: str, where: tuple[str | None, str | None], as_json: bool) -> None:  # noqa: A002 (shown as ID)
    """Take the key ID back, for ever."""
    with open_people(where) as house:
        key = house.revoke_key(OPERATOR, id)
    if as_json:
        emit_json(_key_json(key))
        return
    emit(f"{key.id}  revoked {key.revoked_at}")


def _show_code(account: Account, given: str, minutes: int, *, as_json: bool) -> None:
    if as_json:
        emit_json({**_account_json(account), "code": given, "minutes": minutes})
        return
    emit(f"name            {account.name}")
    emit(f"roles           {', '.join(account.roles) or 'none'}")
    emit(f"one-time code   {given}")
    emit(f"Within {minutes} minutes, on the panel's sign-in page, it sets their password.")


def _show_account(account: Account, *, as_json: bool) -> None:
    if as_json:
        emit_json(_account_json(account))
        return
    emit(f"{account.name}  roles: {', '.join(account.roles) or 'none'}; {_standing(account)}")


def _standing(account: Account) -> str:
    if account.disabled_at is not None:
        return f"disabled {account.disabled_at}"
    if account.source != "local":
        return f"vouched for by {clean_line(account.source)}"
    return "has not set a password" if account.password is None else "can sign in"


def _account_json(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "display": account.display,
        "source": account.source,
        "roles": list(account.roles),
        "has_password": account.password is not None,
        "made_at": account.made_at,
        "disabled_at": account.disabled_at,
    }


def _key_json(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "workspace": key.workspace,
        "label": key.label,
        "scopes": list(key.scopes),
        "person": key.person,
        "made_at": key.made_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "used_day": key.used_day,
    }


def _parse_head(text: str) -> Head:
    found = _HEAD.match(text)
    if found is None:
        raise UsageError("people.head", "a head is SEQ:DIGEST, as 'holdfast people audit' prints it", param="head")
    return Head(int(found[1]), found[2])
