"""``hub``: a run of a model of the hub. It is a child of the agent run itself, with lanes of its own, and the step
names its run.

Settings: ``model`` (a label), ``mode`` (``VANILLA``, ``TEE`` or ``ZKML``; ``VANILLA`` unless said).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.agents.tool import Scope, ToolError
from holdfast.agents.world import World, describe_arguments, only_settings, text_setting
from holdfast.core import canonical
from holdfast.core.agent_files import ToolFile
from holdfast.core.canonical import JSON

_MODES = ("VANILLA", "TEE", "ZKML")


class HubTool:
    """See the module."""

    parameters: Mapping[str, Any] = describe_arguments(inputs={"type": "object"})

    def __init__(self, file: ToolFile, world: World) -> None:
        only_settings(file, "model", "mode")
        self.name = file.name
        self._world = world
        self._model, self._mode = text_setting(file, "model"), text_setting(file, "mode", _MODES[0])
        self.description = f"Runs the model {self._model} of the hub; inputs go by the names that the model has."

    async def call(self, arguments: Mapping[str, Any], scope: Scope) -> JSON:
        """The model's outputs and the run that they are of. Raises what the gateway answers."""
        request = {"model": self._model, "mode": self._mode, "inputs": arguments["inputs"]}
        run, response = await self._world.infers.infer(request, scope.agent)
        outputs, artifact = response.get("outputs"), response.get("artifact")
        if outputs is None:
            raise ToolError("the gateway answered without outputs")
        told: JSON = canonical.decode_exact(canonical.encode_exact({"outputs": outputs, "artifact": artifact}))
        return {**told, "run": run} if isinstance(told, dict) else None
