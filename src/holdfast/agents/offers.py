"""Every tool of an agent file, made and held against what its owner declared.

MCP servers are started or reached for as long as the tools are there, and end with them.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping

from holdfast.agents.runner import Offer, make_offer
from holdfast.agents.tools.kinds import make_tool
from holdfast.agents.world import World
from holdfast.core.agent_files import AgentFile
from holdfast.ports.settings import Secret


@contextlib.asynccontextmanager
async def open_offers(
    file: AgentFile, world: World, find_secrets: Callable[[Mapping[str, str]], Mapping[str, Secret]]
) -> AsyncGenerator[dict[str, Offer]]:
    """The tools by name. Raises ``tool.*``, ``agent.*`` and ``mcp.*``."""
    found: dict[str, Offer] = {}
    for name, tool in file.tools.items():
        found[name] = make_offer(tool, make_tool(tool, world), find_secrets(tool.secrets))
    yield found
