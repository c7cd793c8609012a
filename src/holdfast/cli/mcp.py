"""``holdfast mcp``: agents of others ask Holdfast over the Model Context Protocol (``docs/howto/use-over-mcp.md``).

``serve`` speaks on standard input and output, as hosts start it, or over HTTP on this machine alone. Keys come from
the state folder, from files or from the environment, and never over the protocol; which workspace asks, under which
agent run and for which queue is said here and nowhere else.

Not covered: what the tools do (``agents.mcp_desk``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import click

from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.agents.mcp_desk import Desk
from holdfast.cli.listening import open_listener
from holdfast.cli.memory import KEY_FILE
from holdfast.cli.network import Network, network_options, parse_url, read_key
from holdfast.cli.output import emit, emit_json
from holdfast.cli.panel import KEY_VARIABLE as PANEL_KEY_VARIABLE
from holdfast.cli.panel import Panel, find_panel
from holdfast.cli.ways import choose_trust, direct_way
from holdfast.client.channels import is_loopback
from holdfast.client.data import DataClient
from holdfast.client.memory import MemoryClient
from holdfast.client.panel import PanelClient
from holdfast.core.statements import is_code, is_run_id
from holdfast.errors import UsageError
from holdfast.nodes.edge import App
from holdfast.nodes.server import make_server, split_listen
from holdfast.ports.settings import Secret


@click.group("mcp")
def mcp() -> None:
    """Let agents that speak the Model Context Protocol ask, verify, admit and recall here."""


@mcp.command("serve")
@network_options
@click.option("--panel", "panel_url", metavar="URL", help="A panel, for the tool 'case'.  [default: the network's]")
@click.option("--api-key", metavar="REF", help=f"Key of the panel: file:PATH or env:NAME; else ${PANEL_KEY_VARIABLE}.")
@click.option("--data", "data_url", metavar="URL", help="A data node, for 'admit'.  [default: the network's]")
@click.option("--memory", "memory_url", metavar="URL", help="A memory node, for 'recall'.  [default: the network's]")
@click.option("--memory-key", metavar="REF", help="Key of the rows: file:PATH or env:NAME.  [default: the state folder's]")  # noqa: E501  # fmt: skip
@click.option("--model", metavar="NAME", help="Model that is asked where none is named.  [default: the first]")
@click.option("--parent", metavar="RUN", help="Agent run that everything asked here is a child of.")
@click.option("--queue", metavar="NAME", help="Review queue that everything asked here goes to.")
@click.option("--trust", "trust_file", metavar="FILE", help="Trust file.  [default: the network's own]")
@click.option("--trust-pin", metavar="HEX", help="SHA-256 that the first trust version must have.")
@click.option("--listen", metavar="HOST:PORT", help="Streamable HTTP on this machine, instead of standard input and output.")  # noqa: E501  # fmt: skip
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="With --listen: callers have to show this token.")  # noqa: E501  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="With --listen: say where, as one JSON document.")
def serve(
    network: Network,
    panel_url: str | None,
    api_key: str | None,
    data_url: str | None,
    memory_url: str | None,
    memory_key: str | None,
    model: str | None,
    parent: str | None,
    queue: str | None,
    trust_file: str | None,
    trust_pin: str | None,
    listen: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Serve MCP: the tools ask, verify, case, admit and recall, and bundles as resources.

    A tool is offered where there is something behind it: 'case' with a panel, 'admit' with a data node, 'recall' with a
    memory node and a key to its rows.
    """
    if parent is not None and not is_run_id(parent):
        raise UsageError("mcp.parent", "a parent is the id of an agent run", param="parent")
    if queue is not None and not is_code(queue):
        raise UsageError("mcp.queue", f"{queue!r} is no name of a queue: a code is", param="queue")
    if listen is None and token_file is not None:
        raise UsageError("mcp.listen", "--token-file belongs to --listen")
    at = None if listen is None else _address(listen)
    panel = _panel(network, panel_url, api_key)
    data = _node(network, "data", data_url)
    rows = _node(network, "memory", memory_url)
    rows_key = _memory_key(network, memory_key)

    @asynccontextmanager
    async def open_desk() -> AsyncGenerator[Desk]:
        trust = await asyncio.to_thread(choose_trust, network, trust_file, trust_pin, private=False)
        http = AiohttpHTTP()
        try:
            async with direct_way(network, trust) as gateway:
                yield Desk(
                    gateway,
                    panel=None if panel is None else PanelClient(http, panel.url, panel.key),
                    data=None if data is None else DataClient(http, data, network.key),
                    memory=None if rows is None or rows_key is None else (MemoryClient(http, rows), rows_key),
                    model=model,
                    parent=parent,
                    queue=queue,
                )
        finally:
            await http.close()

    async def run() -> None:
        from holdfast.agents.mcp_server import make_app, serve_stdio  # noqa: PLC0415 - the SDK is an extra

        async with open_desk() as desk:
            if at is None:
                await serve_stdio(desk)
            else:
                token = None if token_file is None else read_key(f"file:{token_file}")
                await _serve_http(make_app(desk, token), at, as_json=as_json)

    asyncio.run(run())


async def _serve_http(app: App, address: tuple[str, int], *, as_json: bool) -> None:
    listener, url = open_listener(*address)
    if as_json:
        emit_json({"url": f"{url}/mcp"})
    else:
        emit(f"listening: {url}/mcp")
    await make_server(app).serve(sockets=[listener])


def _address(listen: str) -> tuple[str, int]:
    """Raises ``mcp.listen``: whoever reaches this asks with its owner's key."""
    host, port = split_listen(listen)
    if not is_loopback(host):
        raise UsageError(
            "mcp.listen",
            f"{host} is not this machine alone: whoever reaches it asks on your account, without TLS",
            hint="listen on 127.0.0.1",
            param="listen",
        )
    return host, port


def _node(network: Network, name: str, given: str | None) -> str | None:
    """A node's URL: as given, else as the network's description has it; None where there is none."""
    url = given or network.given.get(name)
    return parse_url(url, f"--{name}") if isinstance(url, str) else None


def _panel(network: Network, url: str | None, key: str | None) -> Panel | None:
    """A program's way to the panel: with a key, and never as the person who signed in here."""
    where = _node(network, "panel", url)
    if where is None:
        return None
    return find_panel(None, where, key)


def _memory_key(network: Network, given: str | None) -> Secret | None:
    """The key to the rows: as given, else the one that ``holdfast memory key new`` left in the state folder."""
    if given is not None:
        return read_key(given)
    kept = Path(network.described_by).parent / "keys" / KEY_FILE
    return read_key(f"file:{kept}") if network.given and kept.exists() else None
