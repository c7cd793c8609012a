"""``get``: HTTP GET of a URL through a data node, which signs what it saw.

Settings: ``sources`` (ids of the node's registry); ``url`` of another data node, with its key as the secret ``key``.
A URL is fetched only where one of these sources would fetch exactly it: the node's registry says which hosts, paths and
answers there are, so that no text makes a model reach anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.agents.tool import Scope, ToolError
from holdfast.agents.tools.admission import told
from holdfast.agents.world import World, describe_arguments, list_setting, only_settings
from holdfast.client.data import DataClient
from holdfast.core import canonical
from holdfast.core.agent_files import ToolFile
from holdfast.core.canonical import JSON
from holdfast.core.sources import Definition, match_url, parse_source
from holdfast.errors import UsageError


class GetTool:
    """See the module."""

    description = "Fetches a URL through a data node, which signs what it saw. Only URLs of known sources are fetched."
    parameters: Mapping[str, Any] = describe_arguments(url={"type": "string", "maxLength": 2048})

    def __init__(self, file: ToolFile, world: World) -> None:
        only_settings(file, "sources", "url")
        self.name = file.name
        self._file, self._world = file, world
        self._sources, self._url = list_setting(file, "sources"), world.node(file, "data")
        self._known: list[Definition] | None = None

    async def call(self, arguments: Mapping[str, Any], scope: Scope) -> JSON:
        """As ``admission`` does. Raises what the node answers."""
        client = DataClient(self._world.http, self._url, self._world.key_for(self._file, scope.secrets))
        if self._known is None:
            shown = [(await client.source(name)).get("definition") for name in self._sources]
            self._known = [parse_source(canonical.encode(item)) for item in shown]
        try:
            source, parameters = match_url(self._known, arguments["url"])
        except UsageError as error:
            raise ToolError(f"no source of this tool takes this URL; there are: {', '.join(self._sources)}") from error
        return told(await client.admit(source, parameters))
