"""``admission``: a fact from outside, as a data node admits it. Its arguments are the parameters of the source.

Settings: ``source`` (an id of the node's registry); ``url`` of another data node, with its key as the secret ``key``.
What comes back names the node's signed statement; a refusal of the source is a result, and no error of the tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.agents.tool import Scope
from holdfast.agents.world import World, only_settings, text_setting
from holdfast.client.data import DataClient
from holdfast.core.admissions import Presented, parse_admission
from holdfast.core.agent_files import ToolFile
from holdfast.core.canonical import JSON
from holdfast.core.encoding import time_encode
from holdfast.core.statements import parse_envelope


class AdmissionTool:
    """See the module."""

    def __init__(self, file: ToolFile, world: World) -> None:
        only_settings(file, "source", "url")
        self.name = file.name
        self._file, self._world = file, world
        self._source, self._url = text_setting(file, "source"), world.node(file, "data")
        self.description = f"Asks the source {self._source} through a data node, which signs what it saw."
        self.parameters: Mapping[str, Any] = {
            "type": "object",
            "properties": {name: {"type": "string"} for name in file.allow},
        }

    async def call(self, arguments: Mapping[str, Any], scope: Scope) -> JSON:
        """Value, time and statement of the admission. Raises what the node answers."""
        client = DataClient(self._world.http, self._url, self._world.key_for(self._file, scope.secrets))
        return told(await client.admit(self._source, arguments))


def told(shown: Presented) -> JSON:
    """An admission as a tool's result: what was admitted, of when, and under which statement."""
    document = parse_admission(shown.document)
    return {
        "value": None if document.value is None else document.value.to_json(),
        "refused": None if document.refusal is None else document.refusal.code,
        "as_of": time_encode(document.as_of) if document.as_of else None,
        "admission": parse_envelope(shown.envelope).digest,
    }
