"""A gateway as an agent's model and as whoever runs models of the hub for it (``spec/client.md``).

Every answer is held back until the run's signed statements bind it (:class:`~holdfast.client.gateway.GatewayClient`):
what a runner puts before its model next, and what it calls, is what was signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.client.gateway import GatewayClient
from holdfast.errors import UsageError


class GatewayModel:
    """Chats and inferences under an agent run."""

    def __init__(self, client: GatewayClient) -> None:
        self._client = client

    async def ask(self, request: Mapping[str, Any], parent: str) -> tuple[str, Mapping[str, Any]]:
        """One chat; raises what the gateway answers, and ``answer.*``."""
        bound = await self._client.ask(request, parent_run=parent)
        return bound.turn.run, bound.turn.response

    async def infer(self, request: Mapping[str, Any], parent: str) -> tuple[str, Mapping[str, Any]]:
        """One run of a model of the hub; raises as :meth:`ask`."""
        bound = await self._client.ask(request, endpoint="inference", parent_run=parent)
        return bound.turn.run, bound.turn.response


class NoModel:
    """Nobody: tools are made to be looked at, and not called."""

    async def infer(self, request: Mapping[str, Any], parent: str) -> tuple[str, Mapping[str, Any]]:
        """Raises ``agent.idle``."""
        del request, parent
        raise UsageError("agent.idle", "no agent is led here")
