"""``recall``: what a person's memory holds about something, each row with how it stands.

Secrets: ``key``, the owner's key of the memory node. Settings: ``url`` of another memory node; ``most`` rows (10).
Only rows that may be put before a model are found: those that have earned it, and those that age. Each is marked at its
node as used in the agent run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.agents.tool import Scope, ToolError
from holdfast.agents.world import World, count_setting, describe_arguments, only_settings
from holdfast.client.memory import MemoryClient
from holdfast.core import canonical
from holdfast.core.agent_files import ToolFile
from holdfast.core.canonical import JSON

MOST = 10
_SHOWN = ("id", "memory", "standing", "authority", "created_at", "contradicted_by", "digest")


class RecallTool:
    """See the module."""

    description = "Searches a person's memory. Each row says on whose word it rests and how it stands."
    parameters: Mapping[str, Any] = describe_arguments(query={"type": "string", "minLength": 1, "maxLength": 2048})

    def __init__(self, file: ToolFile, world: World) -> None:
        only_settings(file, "url", "most")
        self.name = file.name
        self._most = count_setting(file, "most", MOST)
        self._client = MemoryClient(world.http, world.node(file, "memory"))

    async def call(self, arguments: Mapping[str, Any], scope: Scope) -> JSON:
        """Rows, closest first. Raises what the node answers."""
        key = scope.secrets.get("key")
        if key is None:
            raise ToolError("this tool has no key of the memory that it should ask")
        body: JSON = {
            "query": arguments["query"],
            "limit": self._most,
            "standings": ["earned", "aging"],
            "include_bio": False,
            "run": scope.agent,
        }
        told = canonical.decode_object(await self._client.send("POST", "/memories/search", key.reveal(), body))
        rows = told.get("memories")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ToolError("the memory node answered otherwise than a memory node does")
        return {"rows": [{name: row.get(name) for name in _SHOWN} for row in rows], "at": told.get("at")}
