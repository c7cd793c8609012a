"""A node as a process of its own: read its table of the settings, build it, listen, serve until it is told to end."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from holdfast.adapters.logging_json import configure_logging
from holdfast.adapters.settings_toml import load
from holdfast.adapters.tls_files import server_context
from holdfast.errors import HoldfastError, UnavailableError, UsageError
from holdfast.nodes.edge import App
from holdfast.nodes.server import TLSAddress, make_server, split_listen

Result = TypeVar("Result")
COLLECT_AFTER = 20_000
"""Containers that may be made and kept before the cycle collector looks at them. Python's own 700 is less than what 64
answers under way hold, so that it looked all the time and found nothing: a tenth of the gateway's processor time."""


class NodeConfig(Protocol):
    """What every node's settings have."""

    @property
    def listen(self) -> str:
        """``HOST:PORT``."""
        ...


@runtime_checkable
class TLSNodeConfig(Protocol):
    """What the settings of a node that can serve TLS itself have besides."""

    @property
    def listen_tls(self) -> str | None:
        """``HOST:PORT``."""
        ...

    @property
    def tls_certificate(self) -> Path | None:
        """PEM."""
        ...

    @property
    def tls_key(self) -> Path | None:
        """PEM, mode 0600."""
        ...


Config = TypeVar("Config", bound=NodeConfig)


def run_node(
    name: str,
    config_type: type[Config],
    build: Callable[[Config], App],
    arguments: Sequence[str],
    environment: Mapping[str, str],
) -> int:
    """Run the node ``name``, with the TOML file named in ``arguments`` (or none); returns the exit code.

    What is wrong with settings, keys or stores is said on standard error, with exit code 2.
    """
    try:
        path = Path(arguments[0]) if arguments else None
        config = load(path, environment, {name: config_type}).table(name, config_type)
        host, port = split_listen(config.listen)
        tls = tls_of(config)
        app = build(config)
    except HoldfastError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure_logging(name)
    calm_collector()
    try:
        run_loop(make_server(app, host=host, port=port, tls=tls).serve())
    except UnavailableError as error:  # an address is taken: nothing else of the sort leaves a server
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def tls_of(config: NodeConfig) -> TLSAddress | None:
    """Where a node listens under TLS as well, for those whose settings have it; None where ``listen_tls`` is not set.
    Raises ``settings.*``, ``tls.files`` and ``signer.*``."""
    if not isinstance(config, TLSNodeConfig) or config.listen_tls is None:
        return None
    if config.tls_certificate is None or config.tls_key is None:
        raise UsageError(
            "settings.tls",
            "listen_tls needs tls_certificate and tls_key",
            hint="holdfast up makes both",
            param="listen_tls",
        )
    return TLSAddress(*split_listen(config.listen_tls), server_context(config.tls_key, config.tls_certificate))


def calm_collector() -> None:
    """Once a node is built: what is there now is there to stay, so the cycle collector need never walk it again (tens
    of milliseconds in which nothing is answered), and it looks for new cycles less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def run_loop(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a program's main coroutine: on uvloop where there is a build of it, else on asyncio's own loop."""
    try:
        import uvloop  # noqa: PLC0415 (absent on some platforms)
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)
