"""``holdfast config show``: every setting of every node, its value, and where the value came from.

Secrets are shown as the reference they were given by (``file:…``, ``env:…``) and never read out.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import click

from holdfast.cli.node import NODES, check_name, kind_of
from holdfast.cli.output import clean, emit, emit_json
from holdfast.errors import UsageError


@click.group()
def config() -> None:
    """Show every setting and where its value came from."""


@config.command("show")
@click.argument("node", metavar="[NODE]", required=False)
@click.option("--config", "config_file", metavar="FILE", help="Settings file.  [default: the one in --state]")
@click.option("--state", metavar="DIR", help="State folder whose holdfast.toml is read.  [default: .holdfast]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def show(node: str | None, config_file: str | None, state: str | None, as_json: bool) -> None:
    """Print every setting of NODE, or of all nodes: value, where it came from, what it is for."""
    from holdfast.adapters.settings_toml import load  # noqa: PLC0415 - the nodes' settings come with holdfast[node]

    if node is not None:
        check_name(node)
    path = find_settings(config_file, state)
    rows = load(path, os.environ, node_tables(path, node)).rows
    chosen = [row for row in rows if node in (None, row.table)]
    if as_json:
        emit_json(
            {
                "file": None if path is None else str(path),
                "settings": [
                    {"table": row.table, "name": row.name, "value": row.shown, "source": row.source, "help": row.help}
                    for row in chosen
                ],
            }
        )
        return
    emit(clean(f"file: {path}" if path is not None else "file: none; defaults and the environment"))
    table = ""
    for row in chosen:
        if row.table != table:
            table = row.table
            emit(f"\n[{table}]")
        emit(clean(f"{row.name} = {row.shown or '(none)'}"))
        emit(clean(f"    {row.source}. {row.help}."))


def find_settings(config_file: str | None, state: str | None) -> Path | None:
    """The settings file that a command line means, if there is one; raises ``settings.file``."""
    if config_file is not None:
        return Path(config_file)
    path = Path(state or ".holdfast") / "holdfast.toml"
    if path.exists():
        return path
    if state is not None:
        raise UsageError("settings.file", f"there is no settings file {path}")
    return None


def node_tables(path: Path | None, node: str | None) -> dict[str, Any]:
    """Table name to settings dataclass: every table of the file that names a node, and the node that was asked for."""
    from holdfast.cli.host import config_type  # noqa: PLC0415

    given = _tables_in(path) if path is not None else []
    numbered = {kind_of(name) for name in given if kind_of(name) != name} - {node, *given}
    names = dict.fromkeys([*([node] if node is not None else NODES), *given])
    return {name: config_type(name) for name in names if name not in numbered}


def _tables_in(path: Path) -> list[str]:
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError("settings.file", f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError("settings.syntax", f"{path}: {error}") from error
    return [name for name in given if kind_of(name) in NODES]
