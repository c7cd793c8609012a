"""What tools are made of besides their file: where nodes are, how to reach them, and the agent file's own place.

Rules: a path in an agent file is meant from the folder of that file. A secret is read when tools are made, from the one
place that its reference names, and travels as a :class:`Secret`, which shows itself to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from holdfast.core.agent_files import Setting, ToolFile
from holdfast.errors import UsageError
from holdfast.ports.http import HTTP
from holdfast.ports.json_rpc import JSONRPC
from holdfast.ports.settings import Secret


class Infers(Protocol):
    """Whoever runs models of the hub for a workspace."""

    async def infer(self, request: Mapping[str, Any], parent: str) -> tuple[str, Mapping[str, Any]]:
        """One run of a model under an agent run: its run, and its response document."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """See the module."""

    http: HTTP
    folder: Path
    """Where the agent file lies."""
    nodes: Mapping[str, str]
    """Base URLs by role (``agent-files.md`` §1(4))."""
    infers: Infers
    json_rpc: Callable[[str], JSONRPC]
    """A client of one EVM endpoint, by its URL."""
    key: Secret | None = field(default=None, repr=False)
    """The workspace key: for nodes of the network that the runner was pointed at, and for nobody else."""

    def node(self, file: ToolFile, role: str) -> str:
        """Where a tool's node is: its own setting ``url``, or the one of that role. Raises ``tool.node``."""
        url = text_setting(file, "url", self.nodes.get(role, ""))
        if not url.startswith(("http://", "https://")):
            raise UsageError("tool.node", f"nobody says where the {role} node of {file.name} is", param="settings.url")
        return url.rstrip("/")

    def key_for(self, file: ToolFile, secrets: Mapping[str, Secret]) -> Secret | None:
        """What a node is shown: the tool's own secret ``key``; the workspace key only where the tool names no node of
        its own, so that no file sends it elsewhere."""
        return secrets.get("key", None if "url" in file.settings else self.key)


def only_settings(file: ToolFile, *names: str) -> None:
    """Raises ``tool.settings`` for a setting that the kind does not know."""
    unknown = sorted(file.settings.keys() - set(names))
    if unknown:
        hint = f"there are: {', '.join(names)}" if names else "there are none"
        raise UsageError("tool.settings", f"{file.kind} has no setting {unknown[0]}", param=file.name, hint=hint)


def text_setting(file: ToolFile, name: str, default: str | None = None) -> str:
    """A setting that is a text; raises ``tool.settings``."""
    return str(_setting(file, name, str, default))


def count_setting(file: ToolFile, name: str, default: int) -> int:
    """A setting that is an integer; raises ``tool.settings``."""
    found = _setting(file, name, int, default)
    return found if type(found) is int else default


def list_setting(file: ToolFile, name: str) -> tuple[str, ...]:
    """A setting that is a list of texts; raises ``tool.settings``."""
    found = _setting(file, name, tuple, None)
    return found if isinstance(found, tuple) else ()


def _setting(file: ToolFile, name: str, kind: type, default: Setting | None) -> Setting:
    found = file.settings.get(name, default)
    if found is None or type(found) is not kind:
        message = f"{file.name}: the setting {name} is missing, or is not what it should be"
        raise UsageError("tool.settings", message, param=f"{file.name}.{name}")
    return found


def describe_arguments(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of these arguments, all of which have to be given but those with a ``default``."""
    needed = [name for name, about in properties.items() if "default" not in about]
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}
