"""``holdfast node``: run one node by itself, with the same settings file that a whole network uses.

The file may hold tables for other nodes; only the named one is read. Full, inference and data nodes may be several in
one file: ``[full-1]``, ``[full-2]``.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from holdfast.errors import UsageError

NODES = (
    "gateway", "log", "full", "chain", "panel", "relay", "facilitator", "hub", "inference", "blobs", "memory", "data"
)  # fmt: skip
"""Nodes that start by themselves."""
NUMBERED = ("full", "inference", "data")
"""Of these there may be several in one file."""


def kind_of(node: str) -> str:
    """``full-2`` is a ``full``, ``inference-2`` an ``inference``."""
    kind, _, number = node.rpartition("-")
    return kind if kind in NUMBERED and number.isdigit() else node


@click.command()
@click.argument("name", metavar="NODE")
@click.option("--config", "config_file", metavar="FILE", help="Settings file; without it defaults and environment.")
def node(name: str, config_file: str | None) -> None:
    """Run NODE: gateway, log, full, chain, panel, relay, facilitator, hub, inference, blobs, memory or data; full-1,
    inference-2 … read the table of that name.

    Every setting is listed by 'holdfast config show NODE'. Stops with Ctrl-C.
    """
    from holdfast.adapters.logging_json import configure_logging  # noqa: PLC0415 - the base install has no nodes
    from holdfast.adapters.settings_toml import load  # noqa: PLC0415
    from holdfast.cli.config import node_tables  # noqa: PLC0415
    from holdfast.cli.host import make_node_server  # noqa: PLC0415
    from holdfast.nodes.server import make_server  # noqa: PLC0415

    check_name(name)
    path = Path(config_file) if config_file is not None else None
    tables = node_tables(path, name)
    settings = load(path, os.environ, tables).table(name, tables[name])
    server = make_node_server(name, settings)
    configure_logging(name)
    config = server.config
    alone = make_server(config.app, host=config.host, port=config.port, tls=server.tls)  # type: ignore[arg-type]
    asyncio.run(alone.serve())


def check_name(name: str) -> None:
    """Raises ``usage.node`` for what is no node."""
    if kind_of(name) not in NODES:
        raise UsageError(
            "usage.node", f"there is no node {name!r}", hint=f"one of {', '.join(NODES)}, full-1, full-2 …"
        )
