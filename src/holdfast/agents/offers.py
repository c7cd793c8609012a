"""Every tool of an agent file, made and held against what its owner declared.

MCP servers are started or reached for as long as the tools are there, and end with them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Callable, Mapping

from holdfast.agents.runner import Offer, make_offer
from holdfast.agents.tool import ActTool, ReadTool
from holdfast.agents.tools.kinds import make_tool
from holdfast.agents.world import World
from holdfast.core.agent_files import AgentFile, ToolFile
from holdfast.ports.settings import Secret


@contextlib.asynccontextmanager
async def open_offers(
    file: AgentFile, world: World, find_secrets: Callable[[Mapping[str, str]], Mapping[str, Secret]]
) -> AsyncGenerator[dict[str, Offer]]:
    """The tools by name. Raises ``tool.*``, ``agent.*`` and ``mcp.*``."""
    make: Callable[[ToolFile, World], ReadTool | ActTool] = make_tool
    async with contextlib.AsyncExitStack() as stack:
        if any(tool.kind == "mcp" for tool in file.tools.values()):
            from holdfast.agents import mcp_tools  # noqa: PLC0415 - only the extra has the SDK

            opened = mcp_tools.open_servers(file.servers, world.folder, find_secrets)
            make = _with_servers(
                functools.partial(mcp_tools.make_remote_tool, servers=await stack.enter_async_context(opened))
            )
        yield {
            name: make_offer(tool, make(tool, world), find_secrets(_secrets(file, tool)))
            for name, tool in file.tools.items()
        }


def _secrets(file: AgentFile, tool: ToolFile) -> Mapping[str, str]:
    """References of what a tool shows to whom it asks: its own, and those of its server."""
    server = file.servers.get(str(tool.settings.get("server"))) if tool.kind == "mcp" else None
    return tool.secrets if server is None else {**server.secrets, **tool.secrets}


def _with_servers(remote: Callable[[ToolFile], ReadTool | ActTool]) -> Callable[[ToolFile, World], ReadTool | ActTool]:
    """As :func:`make_tool`, with tools of servers too."""
    return lambda tool, world: remote(tool) if tool.kind == "mcp" else make_tool(tool, world)
