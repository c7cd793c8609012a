"""``holdfast agent``: lead an agent by its file, check a file, end what was left open (``spec/agent-files.md``).

What comes from a model, a tool or a page is shown as such, on lines of its own. The record of what was opened and
proposed lies beside the network's description, for its owner alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.agent_acts import act, acts
from holdfast.cli.children import beside_lines
from holdfast.cli.network import DEFAULT_STATE, Network, gateway_options, optional_network_options, read_key
from holdfast.cli.output import clean_line, emit, emit_json, read_file, wants_colour
from holdfast.core.agent_files import AgentFile, parse_agent_file
from holdfast.core.statements import is_run_id
from holdfast.errors import HoldfastError, UsageError
from holdfast.ports.settings import Secret

if TYPE_CHECKING:
    from holdfast.agents.runner import Ended, Happening, Offer
    from holdfast.agents.world import World
    from holdfast.client.gateway import GatewayClient
    from holdfast.core.trust import Trust
    from holdfast.ports.json_rpc import JSONRPC

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document a line instead of text.")
_RECORD = click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What was opened and proposed.  [default: agents/NAME.jsonl in the state folder]",
)
_SHOWN = 400
"""Characters of a text from outside that a line shows."""


@click.group()
def agent() -> None:
    """Lead an agent: its turns, calls and acts as runs below one, acts only proposed."""


agent.add_command(act)
agent.add_command(acts)


@agent.command("run")
@click.argument("path", metavar="FILE")
@gateway_options
@click.option("--goal", metavar="TEXT", help="What is wanted, instead of the file's goal.")
@click.option("--parent", metavar="RUN", help="The agent run that this one is below.")
@_RECORD
@_AS_JSON
@click.option("--no-color", is_flag=True, help="No colours.")
def run(
    network: Network,
    path: str,
    goal: str | None,
    parent: str | None,
    record: Path | None,
    as_json: bool,
    no_color: bool,
) -> int:
    """Lead the agent of FILE until it answers, a limit is reached, or Ctrl-C; then show its children side by side.

    Tools that do something outside are proposed: their cases wait in the queues that the file names.
    """
    from holdfast.cli.ways import choose_trust  # noqa: PLC0415 - the base install has no HTTP client

    file = read_agent_file(path)
    if parent is not None and not is_run_id(parent):
        raise UsageError("usage.run", "--parent is the id of a run", param="parent")
    view = JSONLines() if as_json else Lines(no_color=no_color)
    place = record or record_path(network, file)
    trust = choose_trust(network, None, None, private=False)
    ended, children = asyncio.run(_lead(file, network, trust, folder_of(path), goal, parent, place, view))
    view.ended(ended, children)
    return 1 if ended.error is not None or ended.closed is None else 0


@agent.command("check")
@click.argument("path", metavar="FILE")
@optional_network_options
@_AS_JSON
def check(network: Network | None, path: str, as_json: bool) -> None:
    """Read FILE, make every tool, and show what the agent may do. Nobody is asked for anything but MCP servers."""
    file = read_agent_file(path)

    async def made() -> list[dict[str, Any]]:
        async with open_world(file, network, folder_of(path), None) as world, open_tools(file, world) as offers:
            return [_shown(offer) for offer in offers.values()]

    tools = asyncio.run(made())
    if as_json:
        emit_json(
            {"agent": file.plan(), "model": file.model, "turns": file.turns, "seconds": file.seconds} | {"tools": tools}
        )
        return
    emit(clean_line(f"{file.name}  asks {file.model}, at most {file.turns} turns in {file.seconds} s"))
    for tool in tools:
        waits = f", proposed to the queue {tool['queue']}" if tool["queue"] else ""
        emit(clean_line(f"  {tool['name']}  {tool['kind']}, {tool['effect']}{waits}"))
        for name, rule in tool["allow"].items():
            emit(clean_line(f"      {name}: {rule}"))


@agent.command("close")
@click.argument("path", metavar="FILE")
@gateway_options
@_RECORD
@_AS_JSON
def close(network: Network, path: str, record: Path | None, as_json: bool) -> None:
    """Close what the agent of FILE has open by its record, as a runner leaves it that was killed."""
    from holdfast.agents.record import Record, read_record  # noqa: PLC0415 - the base install has no HTTP client
    from holdfast.agents.runs import AgentRun, AgentRuns  # noqa: PLC0415
    from holdfast.cli.ways import choose_trust, direct_way  # noqa: PLC0415

    file = read_agent_file(path)
    place = record or record_path(network, file)
    left = [item for item in read_record(place).open if item.gateway == network.gateway]
    trust = choose_trust(network, None, None, private=False) if left else None

    async def end() -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        async with direct_way(network, trust, need_key=False) as client:
            runs = AgentRuns(client.http, network.gateway)
            for item in left:
                problem = None
                try:
                    await runs.close(AgentRun(item.run, item.capability, "", ""), error="its runner ended without it")
                except HoldfastError as error:
                    problem = error.code
                if problem in (None, "agent.closed"):
                    Record(place).closed(item.run)
                told.append({"run": item.run, "closed": problem is None, "code": problem})
        return told

    told = asyncio.run(end()) if left else []
    if as_json:
        emit_json({"closed": told})
        return
    for item in told:
        emit(f"{item['run']}  {'closed' if item['closed'] else item['code']}")
    if not told:
        emit("nothing is open by this record")


@agent.command("tools")
@click.argument("path", metavar="FILE")
@optional_network_options
@_AS_JSON
def tools(network: Network | None, path: str, as_json: bool) -> None:
    """Ask the MCP servers of FILE which tools they have, and show each with the digest that a file names it by."""
    from holdfast.agents.mcp_tools import open_servers  # noqa: PLC0415 - only the extra has the SDK

    del network
    file, folder = read_agent_file(path), folder_of(path)

    async def ask() -> list[dict[str, Any]]:
        async with open_servers(file.servers, folder, lambda secrets: find_secrets(secrets, folder)) as servers:
            return [
                {"server": name, "tool": tool.name, "digest": tool.digest, "description": tool.description}
                | {"arguments": sorted(tool.schema.get("properties", {}))}
                for name, server in servers.items()
                for tool in server.tools.values()
            ]

    found = asyncio.run(ask())
    if as_json:
        emit_json({"tools": found})
        return
    for item in found:
        emit(clean_line(f"{item['server']}  {item['tool']}  {item['digest']}"))
        emit(clean_line(f"    arguments: {', '.join(item['arguments']) or 'none'}"))
        emit(clean_line(f"    says: {item['description']}"))


# Reading and making


def read_agent_file(path: str) -> AgentFile:
    """The agent file at a path; raises ``agent_file.*``."""
    return parse_agent_file(read_file(path))


def record_path(network: Network, file: AgentFile) -> Path:
    """Where the record of an agent is when nobody names a place: with the network's description."""
    described = Path(network.described_by)
    state = described.parent if described.is_file() else Path(DEFAULT_STATE)
    return state / "agents" / f"{file.name}.jsonl"


def find_secrets(references: Mapping[str, str], folder: Path) -> dict[str, Secret]:
    """What references of an agent file refer to, files from its own folder; raises ``network.key``."""
    found = {}
    for name, reference in references.items():
        kind, _, where = reference.partition(":")
        place = folder / Path(where).expanduser()
        found[name] = read_key(f"file:{place}" if kind == "file" else reference)
    return found


def folder_of(path: str) -> Path:
    """The folder that paths in an agent file are meant from."""
    return Path.cwd() if path == "-" else Path(path).resolve().parent


def _nodes(file: AgentFile, network: Network | None) -> dict[str, str]:
    if network is None:
        return dict(file.nodes)
    known = {"gateway": network.gateway, "panel": network.panel, "chain": network.chain}
    known |= {name: network.given.get(name) for name in ("data", "memory", "hub")}
    return {name: url for name, url in known.items() if isinstance(url, str)} | dict(file.nodes)


@contextlib.asynccontextmanager
async def open_world(
    file: AgentFile, network: Network | None, folder: Path, client: GatewayClient | None
) -> AsyncGenerator[World]:
    """What the tools of a file are made of; connections close at the end."""
    from holdfast.adapters.http_aiohttp import AiohttpHTTP  # noqa: PLC0415 - picked where it is wanted
    from holdfast.adapters.json_rpc_aiohttp import BatchingJSONRPC  # noqa: PLC0415
    from holdfast.agents.gateway import GatewayModel, NoModel  # noqa: PLC0415
    from holdfast.agents.world import World  # noqa: PLC0415

    async with contextlib.AsyncExitStack() as stack:
        http = AiohttpHTTP()
        stack.push_async_callback(http.close)

        def ask_chain(url: str) -> JSONRPC:
            made = BatchingJSONRPC(url)
            stack.push_async_callback(made.close)
            return made

        infers = NoModel() if client is None else GatewayModel(client)
        key = None if network is None else network.key
        yield World(http, folder, _nodes(file, network), infers, ask_chain, key)


def open_tools(file: AgentFile, world: World) -> contextlib.AbstractAsyncContextManager[dict[str, Offer]]:
    """Every tool of a file, made."""
    from holdfast.agents.offers import open_offers  # noqa: PLC0415 - the base install has no HTTP client

    return open_offers(file, world, lambda secrets: find_secrets(secrets, world.folder))


async def _lead(
    file: AgentFile,
    network: Network,
    trust: Trust | None,
    folder: Path,
    goal: str | None,
    parent: str | None,
    record: Path,
    view: Lines | JSONLines,
) -> tuple[Ended, Mapping[str, Any]]:
    from holdfast.adapters.clock_system import SystemClock  # noqa: PLC0415 - picked where it is wanted
    from holdfast.agents.gateway import GatewayModel  # noqa: PLC0415
    from holdfast.agents.record import Record  # noqa: PLC0415
    from holdfast.agents.runner import Runner  # noqa: PLC0415
    from holdfast.agents.runs import AgentRuns  # noqa: PLC0415
    from holdfast.cli.ways import direct_way  # noqa: PLC0415

    async with (
        direct_way(network, trust) as client,
        open_world(file, network, folder, client) as world,
        open_tools(file, world) as offers,
    ):
        runs = AgentRuns(client.http, network.gateway, network.require_key())
        runner = Runner(
            file,
            offers,
            runs,
            GatewayModel(client),
            SystemClock(),
            record=Record(record),
            gateway=network.gateway,
            watch=view.happened,
        )
        with view.watching():
            ended = await runner.run(goal, parent=parent, nonce=secrets.token_hex(16))
        return ended, await runs.children(ended.run)


def _shown(offer: Offer) -> dict[str, Any]:
    rules = {name: rule.described() for name, rule in offer.file.allow.items()}
    own = offer.file
    return {"name": own.name, "kind": own.kind, "effect": own.effect, "queue": own.queue, "allow": rules}


# Showing


class Lines:
    """What happens as lines of text, with a sign of life below them on a terminal."""

    def __init__(self, *, no_color: bool) -> None:
        self._colour = wants_colour(no_color=no_color)
        self._live: Any = None

    @contextlib.contextmanager
    def watching(self) -> Any:
        """While it is led."""
        from rich.console import Console  # noqa: PLC0415 - the base install has no rich

        console = Console(no_color=self._colour is False, highlight=False)
        if not console.is_terminal:
            yield
            return
        with console.status("the model is asked") as self._live:
            yield
        self._live = None

    def happened(self, told: Happening) -> None:
        """One line for each."""
        text = clean_line(told.text[:_SHOWN]) + ("…" if len(told.text) > _SHOWN else "")
        called = clean_line(f"{told.name} {told.arguments[:_SHOWN]}")
        lines = {
            "opened": f"agent     {told.run}  {clean_line(told.name)}: {text}",
            "turn": f"turn      {told.run}  {text or 'calls tools'}",
            "result": f"result    {told.run}  {called}\n          {text}",
            "refused": f"refused   {told.run}  {called}\n          {text}",
            "proposed": f"proposed  {told.run}  {called}\n          waits in the queue {text}",
            "closed": f"closed    {told.run}",
        }
        if self._live is not None:
            self._live.update("tools are called" if told.what == "turn" else "the model is asked")
        emit(lines[told.what], colour=self._colour)

    def ended(self, ended: Ended, children: Mapping[str, Any]) -> None:
        """How it ended, and the children beside each other."""
        emit()
        emit(f"ended     {clean_line(ended.error) if ended.error else 'it answered'}")
        emit(f"children  {len(children.get('children', []))}, side by side as the gateway tells it")
        for line in beside_lines(children.get("lanes", {})):
            emit(clean_line(line), colour=self._colour)
        if ended.acts:
            one = len(ended.acts) == 1
            waits = "1 act waits for its case" if one else f"{len(ended.acts)} acts wait for their cases"
            emit(f"{waits}: 'holdfast queue list' shows where")


class JSONLines:
    """The same as one JSON document a line."""

    @contextlib.contextmanager
    def watching(self) -> Any:
        """Nothing stands below JSON."""
        yield

    def happened(self, told: Happening) -> None:
        """One document for each."""
        shown = {"what": told.what, "run": told.run, "name": told.name, "text": told.text, "arguments": told.arguments}
        _line(shown)

    def ended(self, ended: Ended, children: Mapping[str, Any]) -> None:
        """The last one."""
        _line(
            {
                "what": "ended",
                "run": ended.run.run,
                "result": ended.result,
                "error": ended.error,
                "acts": list(ended.acts),
                "closed": ended.closed is not None,
                "children": children.get("children", []),
                "lanes": children.get("lanes", {}),
            }
        )


def _line(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()
