"""Runs several nodes in one process, each on its own port, talking HTTP like any others.

As a worker of ``holdfast up``: ``python -m holdfast.cli.host SETTINGS NODE…``. It imports, waits for a line on standard
input (the supervisor's word that trust and contracts are there), builds, serves, and ends when standard input ends: a
supervisor that dies, however it dies, leaves no worker behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import signal
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from holdfast.adapters.logging_json import configure_logging
from holdfast.adapters.settings_toml import load
from holdfast.cli.node import kind_of
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.edge import App
from holdfast.nodes.process import calm_collector, run_loop, tls_of
from holdfast.nodes.server import Server, make_server, split_listen

MODULES = {
    "chain": ("holdfast.nodes.chain.__main__", "holdfast.nodes.chain.config", "ChainConfig"),
    "log": ("holdfast.nodes.log.__main__", "holdfast.nodes.log.config", "LogConfig"),
    "gateway": ("holdfast.nodes.gateway.__main__", "holdfast.nodes.gateway.config", "GatewayConfig"),
    "relay": ("holdfast.nodes.relay.__main__", "holdfast.nodes.relay.config", "RelayConfig"),
    "facilitator": (
        "holdfast.nodes.facilitator.__main__",
        "holdfast.nodes.facilitator.config",
        "FacilitatorConfig",
    ),
    "hub": ("holdfast.nodes.hub.__main__", "holdfast.nodes.hub.config", "HubConfig"),
    "inference": (
        "holdfast.nodes.inference.__main__",
        "holdfast.nodes.inference.config",
        "InferenceConfig",
    ),
    "data": ("holdfast.nodes.data.__main__", "holdfast.nodes.data.config", "DataConfig"),
    "blobs": ("holdfast.nodes.blobs.__main__", "holdfast.nodes.blobs.config", "BlobsConfig"),
    "memory": ("holdfast.nodes.memory.__main__", "holdfast.nodes.memory.config", "MemoryConfig"),
    "panel": ("holdfast.web.__main__", "holdfast.nodes.panel.config", "PanelConfig"),
    "full": ("holdfast.nodes.full.__main__", "holdfast.nodes.full.config", "FullConfig"),
}
"""Kind of node to the module that builds it and its settings."""


def config_type(node: str) -> type:
    """The settings dataclass of a node."""
    _, module, name = MODULES[kind_of(node)]
    found: type = getattr(importlib.import_module(module), name)
    return found


def load_configs(settings: Path, nodes: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings of each node from one TOML file and the environment."""
    tables = {name: config_type(name) for name in known_tables(settings)}
    loaded = load(settings, environment, tables)
    return {node: loaded.table(node, tables[node]) for node in nodes}


def known_tables(settings: Path) -> list[str]:
    """Tables of a settings file that name nodes."""
    return [name for name in tomllib.loads(settings.read_text()) if kind_of(name) in MODULES]


class NodeServer(Server):
    """A server that leaves signals alone: whoever hosts it decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_node_server(node: str, config: Any) -> NodeServer:
    """Build a node and the server for it."""
    module = importlib.import_module(MODULES[kind_of(node)][0])
    tls = tls_of(config)
    app: App = module.build(config)
    host, port = split_listen(config.listen)
    made = make_server(app, host=host, port=port, tls=tls, kind=NodeServer)
    return cast("NodeServer", made)


async def serve(servers: Mapping[str, NodeServer], stop: asyncio.Event) -> None:
    """Serve until told to stop. When one ends by itself, all do, and ``node.ended`` names it."""
    tasks = {asyncio.create_task(_serve_one(name, server, stop)): server for name, server in servers.items()}
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        failed = [error for task in tasks if task.done() and (error := task.exception()) is not None]
        for server in tasks.values():
            server.should_exit = True
        await asyncio.gather(*tasks, return_exceptions=True)
    if failed:
        raise failed[0]


async def _serve_one(name: str, server: NodeServer, stop: asyncio.Event) -> None:
    """One server; raises ``node.ended`` unless it was told to stop."""
    hint = "its reason is in the log above; 'holdfast doctor' looks for what is wrong"
    why = "it did not start, or was closed from inside"
    try:
        await server.serve()
    except SystemExit:  # how uvicorn gives up on an address; it would end this process without a word
        why = f"it cannot listen on {server.config.host}:{server.config.port}"
    if not stop.is_set():
        raise UnavailableError("node.ended", f"the {name} node ended by itself: {why}", hint=hint)


def _say(word: str, **more: Any) -> None:
    sys.stdout.write(json.dumps({"worker": word, **more}) + "\n")
    sys.stdout.flush()


async def _work(settings: Path, nodes: Sequence[str], environment: Mapping[str, str]) -> None:
    running = asyncio.get_running_loop()
    stop, lines = asyncio.Event(), asyncio.StreamReader()
    await running.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    for node in nodes:
        importlib.import_module(MODULES[kind_of(node)][0])
    _say("imported")
    if not await lines.readline():
        return

    async def watch() -> None:
        await lines.read()
        stop.set()

    watcher = asyncio.create_task(watch())
    running.add_signal_handler(signal.SIGTERM, stop.set)
    configs = load_configs(settings, nodes, environment)
    servers = {node: make_node_server(node, configs[node]) for node in nodes}
    calm_collector()
    _say("built")
    await serve(servers, stop)
    watcher.cancel()


def main() -> None:
    """``python -m holdfast.cli.host SETTINGS NODE…``."""
    settings, *nodes = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logging(",".join(nodes))
    try:
        run_loop(_work(Path(settings), nodes, os.environ))
    except HoldfastError as error:
        _say("failed", code=error.code, message=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
